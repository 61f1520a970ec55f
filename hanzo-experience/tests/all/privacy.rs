//! Differential privacy: distributions of the noise, calibration, budgets, and what is left of a vector.

use crate::support::data::{data, list};
use hanzo_experience::Error;
use hanzo_experience::privacy::{
    Accountant, Adjacency, DiscreteGaussian, DiscreteLaplace, GaussianMechanism, gaussian_sigma,
};
use hanzo_experience::rand_core::Rng;
use rand_chacha::ChaCha20Rng;
use rand_chacha::rand_core::SeedableRng;

fn rng(seed: u64) -> ChaCha20Rng {
    ChaCha20Rng::seed_from_u64(seed)
}

fn free() -> Accountant {
    Accountant::concentrated(1e9).unwrap()
}

#[test]
fn shared_vectors() {
    let Some(file) = data("computed/gaussian.json") else { return };
    for case in list(&file, "cases") {
        let member = |name: &str| case[name].as_f64().unwrap();
        let sigma = gaussian_sigma(member("epsilon"), member("delta"), 1.0).unwrap();
        let want = member("sigma");
        assert!((sigma - want).abs() <= 1e-6 * want, "{sigma} {want}");
        let tenfold = gaussian_sigma(member("epsilon"), member("delta"), 10.0).unwrap();
        assert!((tenfold - 10.0 * sigma).abs() < 1e-9 * tenfold);
    }
}

/// The delta of Gaussian noise by its definition, the integral of what exceeds exp(epsilon) times the neighbour's
/// density, is the one asked for: not more, and not much less.
#[test]
fn calibration_is_tight() {
    for (epsilon, delta) in [(0.1, 1e-5), (1.0, 1e-6), (3.0, 1e-3), (8.0, 1e-5)] {
        let sigma = gaussian_sigma(epsilon, delta, 1.0).unwrap();
        let density = |x: f64, mean: f64| {
            (-0.5 * ((x - mean) / sigma).powi(2)).exp() / (sigma * (2.0 * std::f64::consts::PI).sqrt())
        };
        let steps = 400_000;
        let width = 40.0 * sigma / f64::from(steps);
        let excess: f64 = (0..steps)
            .map(|i| {
                let x = (f64::from(i) + 0.5) * width - 20.0 * sigma;
                (density(x, 1.0) - epsilon.exp() * density(x, 0.0)).max(0.0) * width
            })
            .sum();
        assert!(excess <= delta * (1.0 + 1e-6) && excess >= delta * (1.0 - 1e-4), "{epsilon}: {excess} {delta}");
    }
}

/// Pearson's statistic of draws against probabilities, tails as one cell each; and its degrees of freedom.
fn chi_square(draws: &[i64], weight: impl Fn(i64) -> f64, reach: i64) -> (f64, f64) {
    let total: f64 = (-50 * reach..=50 * reach).map(&weight).sum();
    let cells = (-reach..=reach).map(|x| (draws.iter().filter(|draw| **draw == x).count() as f64, weight(x) / total));
    let mut cells: Vec<(f64, f64)> = cells.collect();
    let inside: (f64, f64) = cells.iter().fold((0.0, 0.0), |sum, cell| (sum.0 + cell.0, sum.1 + cell.1));
    cells.push((draws.len() as f64 - inside.0, 1.0 - inside.1));
    let n = draws.len() as f64;
    (cells.iter().map(|(seen, p)| (seen - n * p).powi(2) / (n * p)).sum(), cells.len() as f64 - 1.0)
}

/// Draws have the distributions by name: the statistic lies within five deviations of its mean, and a wrong scale is
/// seen at once.
#[test]
fn counts_have_the_distributions_by_name() {
    let mut rng = rng(1);
    let mut budget = free();
    for (numerator, denominator, sensitivity) in [(1, 2, 1), (3, 2, 2), (1, 1, 1)] {
        let noise = DiscreteLaplace::new(numerator, denominator, sensitivity).unwrap();
        let draws: Vec<i64> = (0..40_000).map(|_| noise.release(&mut budget, 0, &mut rng).unwrap()).collect();
        let rate = f64::from(numerator) / f64::from(denominator * sensitivity);
        let law = |rate: f64| move |x: i64| (-rate * x.abs() as f64).exp();
        let (right, df) = chi_square(&draws, law(rate), (6.0 / rate) as i64);
        let (wrong, _) = chi_square(&draws, law(rate * 1.1), (6.0 / rate) as i64);
        assert!((right - df).abs() < 5.0 * (2.0 * df).sqrt(), "{right} {df}");
        assert!(wrong > df + 10.0 * (2.0 * df).sqrt(), "{wrong} {df}");
    }
    for sigma in [1, 3, 10] {
        let noise = DiscreteGaussian::new(sigma, 1, 1e-6).unwrap();
        let draws: Vec<i64> = (0..40_000).map(|_| noise.release(&mut budget, 7, &mut rng).unwrap() - 7).collect();
        let law = |sigma: f64| move |x: i64| (-0.5 * (x as f64 / sigma).powi(2)).exp();
        let (right, df) = chi_square(&draws, law(f64::from(sigma)), 3 * i64::from(sigma));
        let (wrong, _) = chi_square(&draws, law(f64::from(sigma) * 1.1), 3 * i64::from(sigma));
        assert!((right - df).abs() < 5.0 * (2.0 * df).sqrt(), "{right} {df}");
        assert!(wrong > df + 10.0 * (2.0 * df).sqrt(), "{wrong} {df}");
    }
}

/// Noise of vectors is normal with the sigma stated (Kolmogorov and Smirnov), centred on the clipped vector.
#[test]
fn vectors_get_normal_noise() {
    let dimension = 20_000;
    let mechanism = GaussianMechanism::new(1.0, 1e-5, 1.0, Adjacency::AddRemove, dimension).unwrap();
    let exact = gaussian_sigma(1.0, 1e-5, 1.0).unwrap();
    assert!(mechanism.sigma() >= exact && mechanism.sigma() < exact * 1.001, "{} {exact}", mechanism.sigma());
    let mut vector = vec![0.0_f32; dimension];
    vector[0] = 1e9;
    let noisy = mechanism.release(&mut free(), &vector, &mut rng(2)).unwrap();
    assert!(noisy[0].abs() < 40.0, "clipped to 1");
    let mut noise: Vec<f64> = noisy[1..].iter().map(|x| f64::from(*x) / mechanism.sigma()).collect();
    noise.sort_by(f64::total_cmp);
    let n = noise.len() as f64;
    let law = |x: f64| 0.5 * libm_erfc(-x / std::f64::consts::SQRT_2);
    let gap = |scale: f64| {
        let gaps = noise.iter().enumerate().map(|(i, x)| {
            let p = law(x * scale);
            (p - i as f64 / n).abs().max((p - (i + 1) as f64 / n).abs())
        });
        gaps.fold(0.0, f64::max) * n.sqrt()
    };
    // Above 1.95 with a probability of 0.001.
    assert!(gap(1.0) < 1.95, "{}", gap(1.0));
    assert!(gap(1.1) > 1.95, "{}", gap(1.1));
}

/// Abramowitz and Stegun 7.1.26, to 1.5e-7: enough for the test above, and not the code under test.
fn libm_erfc(x: f64) -> f64 {
    let t = 1.0 / (1.0 + 0.327_591_1 * x.abs());
    let series = [0.254_829_592, -0.284_496_736, 1.421_413_741, -1.453_152_027, 1.061_405_429];
    let tail = series.iter().rev().fold(0.0, |sum, a| (sum + a) * t) * (-x * x).exp();
    if x >= 0.0 { tail } else { 2.0 - tail }
}

#[test]
fn budgets_are_never_exceeded() {
    let mut rng = rng(3);
    let noise = DiscreteLaplace::new(1, 10, 1).unwrap();
    let mut budget = Accountant::basic(1.0, 0.0).unwrap();
    for _ in 0..10 {
        noise.release(&mut budget, 5, &mut rng).unwrap();
    }
    let before = (budget.clone(), rng.clone());
    assert_eq!(noise.release(&mut budget, 5, &mut rng), Err(Error::BudgetExhausted));
    assert_eq!((budget.clone(), rng.next_u64()), (before.0, before.1.clone().next_u64()));
    assert_eq!(budget.epsilon(1e-9), Ok(1.0));
    assert_eq!(budget.left(), (0.0, 0.0));

    // Deltas add up as well, and refuse on their own.
    let gaussian = DiscreteGaussian::new(1_000, 1, 1e-6).unwrap();
    let mut budget = Accountant::basic(1e6, 2.5e-6).unwrap();
    let spent = (0..9).take_while(|_| gaussian.release(&mut budget, 0, &mut rng).is_ok()).count();
    assert_eq!(spent, 2);
    assert_eq!(budget.epsilon(1e-6), Err(Error::BudgetExhausted));

    // Whatever is spent in whatever order, the sum stays within.
    for seed in 0..50 {
        let mut draw = ChaCha20Rng::seed_from_u64(seed);
        let mut budget = Accountant::concentrated(0.5).unwrap();
        let mut sum = 0.0;
        for _ in 0..200 {
            let noise = DiscreteLaplace::new(1 + draw.next_u32() % 5, 7, 1).unwrap();
            if budget.spend(&noise.loss()).is_ok() {
                sum += noise.loss().rho();
            }
        }
        assert!(sum <= 0.5 && sum > 0.45, "{sum}");
        assert!((budget.left().0 - (0.5 - sum)).abs() < 1e-6);
    }
    // Concentrated composition of a hundred releases costs less than the sum.
    let mut budget = free();
    for _ in 0..100 {
        budget.spend(&noise.loss()).unwrap();
    }
    assert!(budget.epsilon(1e-6).unwrap() < 6.0);
}

#[test]
fn bad_input() {
    let out = |field| Err(Error::OutOfRange { field });
    for epsilon in [0.0, -1.0, 65.0, f64::NAN] {
        assert_eq!(gaussian_sigma(epsilon, 1e-5, 1.0), out("epsilon"));
    }
    for delta in [0.0, 0.6, -1e-5, f64::NAN] {
        assert_eq!(gaussian_sigma(1.0, delta, 1.0), out("delta"));
    }
    for sensitivity in [0.0, -1.0, f64::NAN, f64::INFINITY] {
        assert_eq!(gaussian_sigma(1.0, 1e-5, sensitivity), out("sensitivity"));
    }
    let new = |clip, dimension| GaussianMechanism::new(1.0, 1e-5, clip, Adjacency::ReplaceOne, dimension).map(|_| 0.0);
    assert_eq!(new(0.0, 4), out("clip"));
    assert_eq!(new(f64::NAN, 4), out("clip"));
    assert_eq!(new(1.0, 0), out("dimension"));
    let both = |adjacency| GaussianMechanism::new(1.0, 1e-5, 1.0, adjacency, 4).unwrap();
    assert!((both(Adjacency::ReplaceOne).sigma() / both(Adjacency::AddRemove).sigma() - 2.0).abs() < 1e-4);
    let mechanism = both(Adjacency::AddRemove);
    let mut budget = Accountant::basic(9.0, 0.1).unwrap();
    let full = budget.clone();
    let mut release = |vector: &[f32]| mechanism.release(&mut budget, vector, &mut rng(4)).unwrap_err();
    assert_eq!(release(&[0.0; 3]), Error::DimensionMismatch { got: 3, want: 4 });
    assert_eq!(release(&[0.0, f32::NAN, 0.0, 0.0]), Error::NonFinite { index: 1 });
    assert_eq!(budget, full);
    assert!(
        DiscreteLaplace::new(0, 1, 1).is_err()
            && DiscreteLaplace::new(1, 0, 1).is_err()
            && DiscreteLaplace::new(1, 1, 0).is_err()
    );
    assert!(DiscreteGaussian::new(0, 1, 0.1).is_err() && DiscreteGaussian::new(1 << 24, 1, 0.1).is_err());
    assert!(DiscreteGaussian::new(1, 0, 0.1).is_err() && DiscreteGaussian::new(1, 1, 0.0).is_err());
    assert!(
        Accountant::basic(-1.0, 0.0).is_err()
            && Accountant::basic(1.0, 1.0).is_err()
            && Accountant::concentrated(f64::NAN).is_err()
    );
    let one = DiscreteLaplace::new(1, 1_000_000, 1).unwrap();
    let near = (0..64).map(|_| one.release(&mut free(), i64::MAX, &mut rng(5))).collect::<Vec<_>>();
    assert!(near.iter().all(|count| count.is_ok() || *count == Err(Error::Overflow)));
}

/// What privacy costs: the cosine of a unit vector with its private self, and how often its nearest of 200 stays the
/// nearest, for one vector and for the mean of a thousand.
#[test]
fn utility_lost() {
    let (dimension, many) = (768, 1_000.0);
    let mut rng = rng(6);
    let mut unit = || {
        let vector: Vec<f64> = (0..dimension).map(|_| f64::from(rng.next_u32()) / f64::from(u32::MAX) - 0.5).collect();
        let norm = vector.iter().map(|x| x * x).sum::<f64>().sqrt();
        vector.into_iter().map(|x| (x / norm) as f32).collect::<Vec<f32>>()
    };
    let corpus: Vec<Vec<f32>> = (0..200).map(|_| unit()).collect();
    let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| f64::from(a * b)).sum::<f64>();
    println!("768 dimensions, norm 1, delta 1e-5, add/remove");
    println!("epsilon    sigma   cosine  nearest of 200   of a mean of 1,000: cosine  nearest");
    let mut cosines = Vec::new();
    for epsilon in [0.1, 1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0] {
        let mechanism = GaussianMechanism::new(epsilon, 1e-5, 1.0, Adjacency::AddRemove, dimension).unwrap();
        let mut noise_rng = self::rng(7);
        let (mut sums, mut nearest) = ([0.0; 2], [0; 2]);
        for (own, vector) in corpus.iter().enumerate().take(40) {
            let single = mechanism.release(&mut free(), vector, &mut noise_rng).unwrap();
            // The sum of a thousand records that agree, less its noise shared by all of them.
            let mean: Vec<f32> = single.iter().zip(vector).map(|(x, v)| v + (x - v) / many as f32).collect();
            for (place, noisy) in [single, mean].iter().enumerate() {
                sums[place] += dot(noisy, vector) / dot(noisy, noisy).sqrt() / 40.0;
                let best = (0..corpus.len()).max_by(|a, b| dot(noisy, &corpus[*a]).total_cmp(&dot(noisy, &corpus[*b])));
                nearest[place] += usize::from(best == Some(own));
            }
        }
        println!(
            "{epsilon:>7} {:>8.3} {:>8.3} {:>12} of 40 {:>26.3} {:>5} of 40",
            mechanism.sigma(),
            sums[0],
            nearest[0],
            sums[1],
            nearest[1]
        );
        cosines.push(sums);
    }
    assert!(cosines[1][0].abs() < 0.05, "at epsilon 1 nothing is left of one vector");
    assert!(cosines[1][1] > 0.99, "and all of a mean of a thousand");
    assert!(cosines.windows(2).all(|pair| pair[0][0] < pair[1][0] + 0.02));
}
