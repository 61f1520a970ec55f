//! Instruction sets and numbers of threads: the portable twin agrees with the fast kernels, and threads change no bit.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

#[cfg(feature = "rayon")]
use hanzo_hmm::Rows;
use hanzo_hmm::{
    BaumWelch, Categorical, Emission, GaussianDiag, Hmm, Initial, Kernel, Path, Posterior, Transitions, Workspace,
};
use rand::rngs::Xoshiro256PlusPlus;
use rand::{RngExt, SeedableRng};

type Random = Xoshiro256PlusPlus;

fn rows(rng: &mut Random, n: usize, width: usize, smallest: f64) -> Vec<Vec<f64>> {
    (0..n)
        .map(|_| {
            let row: Vec<f64> = (0..width).map(|_| smallest.powf(rng.random::<f64>())).collect();
            let sum: f64 = row.iter().sum();
            row.into_iter().map(|p| p / sum).collect()
        })
        .collect()
}

fn model(rng: &mut Random, n: usize, symbols: usize, smallest: f64) -> Hmm<Categorical> {
    let initial = rows(rng, 1, n, smallest).remove(0);
    let transitions = Transitions::new(rows(rng, n, n, smallest)).unwrap();
    Hmm::new(Initial::Free(initial), transitions, Categorical::new(rows(rng, n, symbols, smallest)).unwrap()).unwrap()
}

fn difference(a: &[f64], b: &[f64]) -> f64 {
    assert_eq!(a.len(), b.len());
    a.iter().zip(b).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max)
}

/// Every width of the kernels, sequences short and long, entries down to 1e-150: portable, fast and log kernels agree.
#[test]
fn portable_and_fast_and_log_kernels_agree() {
    let rng = &mut Random::seed_from_u64(1);
    let mut spaces = [Kernel::Auto, Kernel::Portable, Kernel::Log].map(Workspace::with_kernel);
    for n in (1..=20).chain([31, 32, 33, 40, 41, 64, 65, 70]) {
        for steps in [1, 2, 7, 8, 9, 30, 257, 600] {
            let smallest = [0.3, 1e-20, 1e-150][steps % 3];
            let model = model(rng, n, 5, smallest);
            let sequence: Vec<Option<usize>> =
                (0..steps).map(|_| (rng.random::<f64>() > 0.05).then(|| rng.random_range(0..5))).collect();
            let values = spaces.each_mut().map(|space| model.log_likelihood_with(space, &sequence).unwrap());
            let posteriors = spaces.each_mut().map(|space| {
                let mut posterior = Posterior::default();
                model.posterior_with(space, &sequence, &mut posterior).unwrap();
                posterior
            });
            let expected = [Kernel::Auto, Kernel::Portable, Kernel::Log]
                .map(|kernel| BaumWelch::new().kernel(kernel).expect(&model, &[&sequence]).unwrap());
            for k in 0..3 {
                let scale = values[2].abs().max(1.0);
                assert!((values[k] - values[2]).abs() < 1e-12 * scale, "{n} {steps} {k}");
                assert!((posteriors[k].log_likelihood - values[2]).abs() < 1e-12 * scale);
                // The log kernel's own rounding grows with the logs.
                let tolerance = 1e-13 * scale.max(100.0);
                let gammas = [&posteriors[k], &posteriors[2]].map(|p| p.gamma.as_slice());
                assert!(difference(gammas[0], gammas[1]) < tolerance, "{n} {steps} {k}");
                assert!(difference(expected[k].transitions(), expected[2].transitions()) < tolerance * steps as f64);
            }
            let mut paths = [Path::default(), Path::default()];
            model.viterbi_with(&mut spaces[0], &sequence, &mut paths[0]).unwrap();
            model.viterbi_with(&mut spaces[1], &sequence, &mut paths[1]).unwrap();
            // Sums and maxima are the same with every instruction set.
            assert_eq!(paths[0], paths[1]);
            assert_eq!(paths[0], model.k_best(&sequence, 1).unwrap()[0]);
        }
    }
}

#[test]
fn densities_are_the_same_with_every_instruction_set() {
    let rng = &mut Random::seed_from_u64(2);
    for n in [1, 3, 4, 7, 16] {
        let mut table = |low: f64, high: f64| -> Vec<Vec<f64>> {
            (0..n).map(|_| (0..3).map(|_| rng.random_range(low..high)).collect()).collect()
        };
        let family = GaussianDiag::new(table(-3.0, 3.0), table(0.1, 4.0)).unwrap();
        let data = [0.1, -2.0, 3.5, f64::NAN, 1.0, 2.0];
        let run = [Some(&data[..3]), None, Some(&data[3..])];
        let (mut together, mut alone) = (vec![1.0; 3 * n], vec![0.0; 3 * n]);
        family.log_prob_run(&run, &mut together);
        family.log_prob_into(&data[..3], &mut alone[..n]);
        family.log_prob_into(&data[3..], &mut alone[2 * n..]);
        assert_eq!(together, alone);
    }
}

/// Log-likelihood of a long sequence against the sum of its parts in twice the precision of the kernel's own sum.
#[test]
fn a_long_sequence_keeps_its_digits() {
    let rng = &mut Random::seed_from_u64(3);
    let model = model(rng, 4, 6, 0.05);
    let sequence: Vec<usize> = model.sample(rng, 200_000).into_iter().map(|step| step.1).collect();
    let values = [Kernel::Auto, Kernel::Portable]
        .map(|kernel| model.log_likelihood_with(&mut Workspace::with_kernel(kernel), &sequence).unwrap());
    let mut sum = 0.0;
    let mut lost = 0.0;
    for x in model.log_predictive(&sequence).unwrap() {
        let next: f64 = sum + x;
        lost += (sum - next) + x;
        sum = next;
    }
    let exact = sum + lost;
    for value in values {
        assert!((value - exact).abs() < 1e-13 * exact.abs(), "{value} {exact}");
    }
}

#[cfg(feature = "rayon")]
#[test]
fn threads_change_no_bit() {
    let rng = &mut Random::seed_from_u64(4);
    let categorical = model(rng, 5, 6, 0.01);
    let mut sequences: Vec<Vec<usize>> =
        (0..300).map(|k| categorical.sample(rng, k % 37).into_iter().map(|step| step.1).collect()).collect();
    // Long enough for two threads on one sequence.
    sequences.push(categorical.sample(rng, 30_000).into_iter().map(|step| step.1).collect());
    let gaussian = Hmm::new(
        Initial::Free(vec![0.5, 0.5]),
        Transitions::new(vec![vec![0.9, 0.1], vec![0.2, 0.8]]).unwrap(),
        GaussianDiag::new(vec![vec![0.0], vec![2.0]], vec![vec![1.0]; 2]).unwrap(),
    )
    .unwrap();
    let data: Vec<f64> = gaussian.sample(rng, 20_000).into_iter().flat_map(|step| step.1).collect();
    let run = |threads: usize| {
        rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap().install(|| {
            let (mut a, mut b) = (categorical.clone(), gaussian.clone());
            let first = BaumWelch::new().max_iters(3).fit(&mut a, &sequences).unwrap();
            let parts: Vec<Rows<'_>> = data.chunks(700).map(|part| Rows::new(part, 1).unwrap()).collect();
            let second = BaumWelch::new().max_iters(3).fit(&mut b, &parts).unwrap();
            let posterior = categorical.posterior(&sequences[300]).unwrap();
            let ll = categorical.log_likelihood(&sequences[300]).unwrap();
            (a, b, first, second, posterior, ll)
        })
    };
    let one = run(1);
    for threads in 2..=8 {
        assert_eq!(run(threads), one, "{threads} threads");
    }
    // The first bad sequence is named, whichever thread meets another one first.
    let mut bad = sequences.clone();
    (bad[40], bad[250]) = (vec![9], vec![9]);
    let refused = BaumWelch::new().fit(&mut categorical.clone(), &bad);
    assert_eq!(refused.err(), Some(hanzo_hmm::Error::UnknownObservation { position: 0 }));
}
