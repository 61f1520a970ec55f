//! The associative scan gives what the ordinary recursions give, for every number of threads.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::num::NonZeroUsize;

use hanzo_hmm::{
    BaumWelch, Categorical, Emission, GaussianDiag, Hmm, Initial, Labelled, Labels, Observations, Path, Posterior,
    Rows, Strategy, Transitions, Workspace,
};
use rand::rngs::Xoshiro256PlusPlus;
use rand::{RngExt, SeedableRng};

type Random = Xoshiro256PlusPlus;

fn scan(chunk: usize) -> Strategy {
    Strategy::Scan { chunk: NonZeroUsize::new(chunk).unwrap() }
}

/// Distributions; with zeros, each row keeps its own entry.
fn rows(rng: &mut Random, n: usize, width: usize, zeros: bool) -> Vec<Vec<f64>> {
    let row = |i: usize, rng: &mut Random| -> Vec<f64> {
        let entry = |j: usize, rng: &mut Random| {
            let weight = 1e-3_f64.powf(rng.random::<f64>());
            if zeros && j != i % width && rng.random::<f64>() < 0.5 { 0.0 } else { weight }
        };
        let row: Vec<f64> = (0..width).map(|j| entry(j, rng)).collect();
        let sum: f64 = row.iter().sum();
        row.into_iter().map(|p| p / sum).collect()
    };
    (0..n).map(|i| row(i, rng)).collect()
}

fn chain(rng: &mut Random, n: usize, zeros: bool) -> (Initial, Transitions) {
    (Initial::Free(rows(rng, 1, n, false).remove(0)), Transitions::new(rows(rng, n, n, zeros)).unwrap())
}

fn close(a: &[f64], b: &[f64], tolerance: f64) {
    assert_eq!(a.len(), b.len());
    for (k, (a, b)) in a.iter().zip(b).enumerate() {
        assert!((a - b).abs() <= tolerance, "{k}: {a} {b}");
    }
}

/// Everything that a strategy may change.
fn compare<'a, E, Q>(model: &Hmm<E>, data: Q, chunk: usize)
where
    E: Emission + Clone + PartialEq + std::fmt::Debug,
    Q: Observations<E::Obs<'a>> + Copy,
{
    let mut spaces = [Workspace::new(), Workspace::new().with_strategy(scan(chunk))];
    let values = spaces.each_mut().map(|space| model.log_likelihood_with(space, data).unwrap());
    let scale = values[0].abs().max(1.0);
    assert!((values[0] - values[1]).abs() <= 1e-12 * scale, "{values:?} chunk {chunk}");
    let [plain, scanned] = spaces.each_mut().map(|space| {
        let mut posterior = Posterior::default();
        model.posterior_with(space, data, &mut posterior).unwrap();
        posterior
    });
    assert!((plain.log_likelihood - scanned.log_likelihood).abs() <= 1e-12 * scale);
    close(plain.gamma.as_slice(), scanned.gamma.as_slice(), 1e-12);
    let [plain, scanned] = spaces.each_mut().map(|space| {
        let mut path = Path::default();
        model.viterbi_with(space, data, &mut path).unwrap();
        path
    });
    assert!((plain.log_prob - scanned.log_prob).abs() <= 1e-12 * scale);
    // Random scores have no ties.
    assert_eq!(plain.states, scanned.states);
    let [plain, scanned] = [Strategy::Ends, scan(chunk)]
        .map(|strategy| BaumWelch::new().strategy(strategy).expect(model, &[data]).unwrap());
    close(plain.initial(), scanned.initial(), 1e-12);
    close(plain.transitions(), scanned.transitions(), 1e-12 * data.len() as f64);
}

#[test]
fn scanned_categorical_models_agree() {
    let rng = &mut Random::seed_from_u64(1);
    for n in (1..=9).chain([16, 17]) {
        for zeros in [false, true] {
            let (initial, transitions) = chain(rng, n, zeros);
            let model = Hmm::new(initial, transitions, Categorical::new(rows(rng, n, 5, false)).unwrap()).unwrap();
            for (steps, chunk) in [(1, 1), (2, 1), (30, 1), (100, 7), (513, 64), (600, 599), (600, 600), (600, 10_000)]
            {
                let data: Vec<Option<usize>> =
                    (0..steps).map(|_| (rng.random::<f64>() > 0.1).then(|| rng.random_range(0..5))).collect();
                compare(&model, &data, chunk);
            }
        }
    }
}

#[test]
fn scanned_gaussians_and_labels_agree() {
    let rng = &mut Random::seed_from_u64(2);
    for n in [2, 4, 7] {
        let (initial, transitions) = chain(rng, n, false);
        let means = (0..n).map(|_| vec![rng.random_range(-3.0..3.0), rng.random_range(-3.0..3.0)]).collect();
        let model = Hmm::new(initial, transitions, GaussianDiag::new(means, vec![vec![1.0, 2.0]; n]).unwrap()).unwrap();
        let data: Vec<f64> = model.sample(rng, 500).into_iter().flat_map(|step| step.1).collect();
        let data = Rows::new(&data, 2).unwrap();
        compare(&model, data, 50);
        let mut labels = Labels::free(n, 500).unwrap();
        for t in (0..500).step_by(9) {
            labels.allow(t, &[rng.random_range(0..n)]).unwrap();
        }
        compare(&model, Labelled::new(data, &labels), 50);
    }
}

/// An impossible sequence is named as without the scan, and an outlier beyond all scaling does not harm.
#[test]
fn impossible_and_extreme_sequences() {
    let model = Hmm::new(
        Initial::Free(vec![0.5, 0.5]),
        Transitions::new(vec![vec![0.9, 0.1], vec![0.2, 0.8]]).unwrap(),
        Categorical::new(vec![vec![0.5, 0.5, 0.0], vec![0.25, 0.75, 0.0]]).unwrap(),
    )
    .unwrap();
    let mut data = vec![1; 100];
    data[70] = 2;
    let mut space = Workspace::new().with_strategy(scan(10));
    assert_eq!(model.log_likelihood_with(&mut space, &data), Ok(f64::NEG_INFINITY));
    let dead = Err(hanzo_hmm::Error::ImpossibleSequence { sequence: 0, position: 70 });
    assert_eq!(model.posterior_with(&mut space, &data, &mut Posterior::default()), dead);
    assert_eq!(model.viterbi_with(&mut space, &data, &mut Path::default()), dead);
    let gaussian = Hmm::new(
        Initial::Free(vec![0.5, 0.5]),
        Transitions::new(vec![vec![0.9, 0.1], vec![0.2, 0.8]]).unwrap(),
        GaussianDiag::new(vec![vec![0.0], vec![1.0]], vec![vec![1e-4]; 2]).unwrap(),
    )
    .unwrap();
    let mut data = vec![0.5; 100];
    data[33] = 1e4;
    compare(&gaussian, Rows::new(&data, 1).unwrap(), 10);
}

#[cfg(feature = "rayon")]
#[test]
fn threads_change_no_bit_of_a_scan() {
    let rng = &mut Random::seed_from_u64(3);
    let (initial, transitions) = chain(rng, 4, false);
    let model = Hmm::new(initial, transitions, Categorical::new(rows(rng, 4, 5, false)).unwrap()).unwrap();
    let data: Vec<usize> = (0..20_000).map(|_| rng.random_range(0..5)).collect();
    let run = |threads: usize| {
        rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap().install(|| {
            let mut space = Workspace::new().with_strategy(scan(1000));
            let (mut posterior, mut path, mut trained) = (Posterior::default(), Path::default(), model.clone());
            let ll = model.log_likelihood_with(&mut space, &data).unwrap();
            model.posterior_with(&mut space, &data, &mut posterior).unwrap();
            model.viterbi_with(&mut space, &data, &mut path).unwrap();
            BaumWelch::new().strategy(scan(1000)).max_iters(2).fit(&mut trained, &[&data]).unwrap();
            (ll, posterior, path, trained)
        })
    };
    let one = run(1);
    for threads in 2..=8 {
        assert_eq!(run(threads), one, "{threads} threads");
    }
}
