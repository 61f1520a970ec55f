//! Arbitrary parameters and observations through every operation: a number or a typed error, never NaN, never a panic.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use hanzo_hmm::{
    BaumWelch, Categorical, Emission, GaussianDiag, GaussianFull, GaussianMixture, GaussianSpherical, GaussianTied,
    Hmm, Initial, Kernel, Labelled, Labels, Memory, Observations, OnlineEm, Pairs, Path, Poisson, Posterior, Product,
    Rows, Transitions, Workspace,
};
use proptest::prelude::*;
use rand::rngs::Xoshiro256PlusPlus;
use rand::{RngExt, SeedableRng};

type Random = Xoshiro256PlusPlus;

/// Any bit pattern now and then, extreme numbers often, ordinary ones mostly.
fn number(rng: &mut Random) -> f64 {
    match rng.random_range(0..20) {
        0 => f64::from_bits(rng.random()),
        1 => [0.0, -0.0, f64::MIN_POSITIVE, 5e-324, f64::MAX, -f64::MAX, 1e-300, 1e150, -1e150][rng.random_range(0..9)],
        2 => 10f64.powf(rng.random_range(-200.0..200.0)),
        _ => rng.random_range(-5.0..5.0),
    }
}

fn positive(rng: &mut Random) -> f64 {
    match rng.random_range(0..10) {
        0 => number(rng),
        1 => 10f64.powf(rng.random_range(-300.0..300.0)),
        _ => rng.random_range(0.05..5.0),
    }
}

fn distribution(rng: &mut Random, n: usize) -> Vec<f64> {
    let tiny = rng.random_range(0..4);
    let weight = |rng: &mut Random| match (tiny, rng.random_range(0..4)) {
        (0, 0) => 0.0,
        (1, 0) => 10f64.powf(rng.random_range(-320.0..0.0)),
        _ => rng.random::<f64>(),
    };
    let mut row: Vec<f64> = (0..n).map(|_| weight(rng)).collect();
    let sum: f64 = row.iter().sum();
    if sum > 0.0 {
        row.iter_mut().for_each(|p| *p /= sum);
    } else {
        row[0] = 1.0;
    }
    row
}

fn table(rng: &mut Random, n: usize, width: usize, f: fn(&mut Random) -> f64) -> Vec<Vec<f64>> {
    (0..n).map(|_| (0..width).map(|_| f(rng)).collect()).collect()
}

fn chain(rng: &mut Random, n: usize) -> (Initial, Transitions) {
    let initial = match rng.random_range(0..3) {
        0 => Initial::Fixed(distribution(rng, n)),
        _ => Initial::Free(distribution(rng, n)),
    };
    (initial, Transitions::new((0..n).map(|_| distribution(rng, n)).collect()).unwrap())
}

fn proper(row: &[f64]) {
    assert!(row.iter().all(|p| (0.0..=1.0 + 1e-12).contains(p)), "{row:?}");
    assert!((row.iter().sum::<f64>() - 1.0).abs() < 1e-9, "{row:?}");
}

/// Every operation on one model and sequence.
fn exercise<'a, E, Q>(rng: &mut Random, parts: (Initial, Transitions), emission: E, sequence: Q)
where
    E: Emission + Clone + PartialEq + std::fmt::Debug,
    Q: Observations<E::Obs<'a>> + Copy,
{
    let Ok(model) = Hmm::new(parts.0, parts.1, emission) else { return };
    let n = model.n_states();
    for kernel in [Kernel::Auto, Kernel::Portable, Kernel::Log] {
        let mut workspace = Workspace::with_kernel(kernel);
        let Ok(ll) = model.log_likelihood_with(&mut workspace, sequence) else { return };
        assert!(!ll.is_nan() && ll < f64::INFINITY, "{ll}");
        let mut posterior = Posterior::default();
        match model.posterior_with(&mut workspace, sequence, &mut posterior) {
            Ok(()) => posterior.gamma.steps().for_each(proper),
            Err(_) => assert_eq!(ll, f64::NEG_INFINITY),
        }
        let mut path = Path::default();
        match model.viterbi_with(&mut workspace, sequence, &mut path) {
            Ok(()) => assert!(path.log_prob <= ll + 1e-9 * ll.abs() + 1e-9, "{} {ll}", path.log_prob),
            Err(_) => assert_eq!(ll, f64::NEG_INFINITY),
        }
        for memory in [Memory::Linear, Memory::SquareRoot] {
            let mut trained = model.clone();
            let fit = BaumWelch::new().kernel(kernel).memory(memory).max_iters(3).fit(&mut trained, &[sequence]);
            match fit {
                Ok(fit) => assert!(fit.log_likelihoods.iter().all(|ll| ll.is_finite())),
                Err(_) => assert_eq!(trained, model),
            }
            proper(trained.initial_probabilities());
            (0..n).for_each(|i| proper(trained.transitions().row(i)));
            let after = trained.log_likelihood(sequence).unwrap();
            assert!(!after.is_nan());
        }
    }
    if let Ok(best) = model.k_best(sequence, 5) {
        assert!(best.windows(2).all(|pair| pair[1].log_prob <= pair[0].log_prob && pair[0].states != pair[1].states));
    }
    if let Ok(path) = model.sample_posterior(sequence, rng) {
        assert!(path.len() == sequence.len() && path.iter().all(|state| *state < n));
    }
    if let Ok(beta) = model.backward_log(sequence) {
        assert!(beta.as_slice().iter().all(|b| !b.is_nan()));
    }
    let mut filter = model.filter();
    let mut smoother = model.fixed_lag(3);
    let mut learner = OnlineEm::new(model.clone());
    for t in 0..sequence.len() {
        let o = sequence.get(t);
        if let Some(o) = o
            && let Ok(residual) = model.pseudo_residual(&filter, o)
        {
            assert!(residual.is_finite());
        }
        let gain = model.update(&mut filter, o);
        assert_ne!(gain.map(f64::is_nan), Ok(true));
        proper(filter.belief());
        if let Ok(Some(row)) = smoother.push(o) {
            proper(&row);
        }
        if learner.update(o).is_ok() {
            proper(learner.belief());
            (0..n).for_each(|i| proper(learner.model().transitions().row(i)));
        }
    }
    if let Ok(rest) = smoother.flush() {
        rest.steps().for_each(proper);
    }
    proper(&model.predict(&filter, 4).unwrap());
    let labels = Labels::known(n, &vec![(n > 1).then_some(n - 1); sequence.len()]).unwrap();
    let ll = model.log_likelihood(Labelled::new(sequence, &labels)).unwrap();
    assert!(!ll.is_nan());
    assert!(!model.bic(&[sequence]).is_ok_and(f64::is_nan));
    assert_eq!(model.sample(rng, 5).len(), 5);
    let mut restarted = model.clone();
    let _ = BaumWelch::new().restarts(2, 1).max_iters(2).fit(&mut restarted, &[sequence]);
    assert!(!restarted.log_likelihood(sequence).unwrap().is_nan());
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn categorical(seed: u64, n in 1_usize..6, m in 1_usize..5, steps in 0_usize..40) {
        let rng = &mut Random::seed_from_u64(seed);
        let parts = chain(rng, n);
        let emission = Categorical::new((0..n).map(|_| distribution(rng, m)).collect()).unwrap();
        let data: Vec<Option<usize>> =
            (0..steps).map(|_| (rng.random::<f64>() > 0.1).then(|| rng.random_range(0..m))).collect();
        exercise(rng, parts, emission, data.as_slice());
    }

    #[test]
    fn gaussians(seed: u64, n in 1_usize..5, d in 1_usize..4, steps in 0_usize..30) {
        let rng = &mut Random::seed_from_u64(seed);
        let data: Vec<f64> = (0..steps * d).map(|_| number(rng)).collect();
        let rows = Rows::new(&data, d).unwrap();
        let means = table(rng, n, d, number);
        let parts = chain(rng, n);
        if let Ok(emission) = GaussianDiag::new(means.clone(), table(rng, n, d, positive)) {
            exercise(rng, parts.clone(), emission.clone(), rows);
            exercise(rng, parts.clone(), emission, rows.with_missing());
        }
        let single: Vec<f64> = (0..n).map(|_| positive(rng)).collect();
        if let Ok(emission) = GaussianSpherical::new(means.clone(), single) {
            exercise(rng, parts.clone(), emission, rows);
        }
        // L L' of a random L is positive definite up to rounding.
        let mut covariance = || -> Vec<Vec<f64>> {
            let l = table(rng, d, d, positive);
            (0..d).map(|i| (0..d).map(|j| (0..=i.min(j)).map(|k| l[i][k] * l[j][k]).sum()).collect()).collect()
        };
        let covariances: Vec<_> = (0..n).map(|_| covariance()).collect();
        if let Ok(emission) = GaussianTied::new(means.clone(), covariances[0].clone()) {
            exercise(rng, parts.clone(), emission, rows);
        }
        if let Ok(emission) = GaussianFull::new(means, covariances) {
            exercise(rng, parts, emission, rows);
        }
    }

    #[test]
    fn mixtures_and_products(seed: u64, n in 1_usize..4, k in 1_usize..3, steps in 0_usize..25) {
        let rng = &mut Random::seed_from_u64(seed);
        let data: Vec<f64> = (0..steps).map(|_| number(rng)).collect();
        let counts: Vec<u64> = (0..steps)
            .map(|_| if rng.random_range(0..10) == 0 { rng.random() } else { rng.random_range(0..9) })
            .collect();
        let (left, right) = (Rows::new(&data, 1).unwrap(), Rows::new(&counts, 1).unwrap());
        let parts = chain(rng, n);
        let weights = (0..n).map(|_| distribution(rng, k)).collect();
        let means = (0..n).map(|_| table(rng, k, 1, number)).collect();
        let variances = (0..n).map(|_| table(rng, k, 1, positive)).collect();
        if let Ok(emission) = GaussianMixture::diag(weights, means, variances) {
            exercise(rng, parts.clone(), emission, left);
        }
        if let Ok(rates) = Poisson::new(table(rng, n, 1, positive)) {
            exercise(rng, parts.clone(), rates.clone(), right);
            if let Ok(gaussian) = GaussianDiag::new(table(rng, n, 1, number), table(rng, n, 1, positive)) {
                let emission = Product::new(gaussian, rates).unwrap();
                exercise(rng, parts, emission, Pairs::new(left, right));
            }
        }
    }

    /// Constructors on anything at all: an error or a valid value.
    #[test]
    fn constructors(bits in proptest::collection::vec(any::<u64>(), 0..12), width in 1_usize..4) {
        let rows: Vec<Vec<f64>> =
            bits.chunks(width).map(|row| row.iter().map(|b| f64::from_bits(*b)).collect()).collect();
        if let Ok(transitions) = Transitions::new(rows.clone()) {
            (0..transitions.n_states()).for_each(|i| proper(transitions.row(i)));
        }
        if let Ok(symbols) = Categorical::new(rows.clone()) {
            proper(symbols.row(0));
        }
        let _ = Poisson::new(rows.clone());
        let _ = GaussianDiag::new(rows.clone(), rows.clone());
        let _ = GaussianTied::new(rows.clone(), rows.clone());
        let _ = GaussianFull::new(rows.clone(), vec![rows.clone(); rows.len()]);
        let _ = GaussianMixture::diag(rows.clone(), vec![rows.clone(); rows.len()], vec![rows.clone(); rows.len()]);
    }
}
