//! Laws that hold for every model, checked by enumeration of all paths and against the log kernel.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use hanzo_hmm::{
    BaumWelch, Categorical, CategoricalPrior, Error, GaussianDiag, Hmm, Initial, Kernel, Posterior, Rows, Transitions,
    VarianceFloor, Workspace,
};
use proptest::prelude::*;
use rand::rngs::Xoshiro256PlusPlus;
use rand::{RngExt, SeedableRng};

type Random = Xoshiro256PlusPlus;

/// A distribution over `n` items, each zero with probability `zeros`, but never all.
fn distribution(rng: &mut Random, n: usize, zeros: f64) -> Vec<f64> {
    let mut row: Vec<f64> =
        (0..n).map(|_| if rng.random::<f64>() < zeros { 0.0 } else { rng.random::<f64>() }).collect();
    row[rng.random_range(0..n)] += 0.1;
    let sum: f64 = row.iter().sum();
    row.iter_mut().for_each(|p| *p /= sum);
    row
}

fn rows(rng: &mut Random, n: usize, width: usize, zeros: f64) -> Vec<Vec<f64>> {
    (0..n).map(|_| distribution(rng, width, zeros)).collect()
}

fn random_model(rng: &mut Random, n: usize, symbols: usize, zeros: f64) -> Hmm<Categorical> {
    Hmm::new(
        Initial::Free(distribution(rng, n, zeros)),
        Transitions::new(rows(rng, n, n, zeros)).unwrap(),
        Categorical::new(rows(rng, n, symbols, zeros)).unwrap(),
    )
    .unwrap()
}

fn random_sequence(rng: &mut Random, symbols: usize, steps: usize, missing: f64) -> Vec<Option<usize>> {
    (0..steps).map(|_| (rng.random::<f64>() >= missing).then(|| rng.random_range(0..symbols))).collect()
}

/// All state paths with their probabilities together with the observations.
fn paths(model: &Hmm<Categorical>, sequence: &[Option<usize>]) -> Vec<(Vec<usize>, f64)> {
    let n = model.n_states();
    let emission = |state: usize, o: Option<usize>| o.map_or(1.0, |o| model.emission().row(state)[o]);
    let mut all = vec![(vec![], 1.0)];
    for (t, &o) in sequence.iter().enumerate() {
        let step = |(path, p): (Vec<usize>, f64)| {
            (0..n).map(move |j| {
                let moved = match path.last() {
                    None => model.initial_probabilities()[j],
                    Some(&i) => model.transitions().row(i)[j],
                };
                let mut longer = path.clone();
                longer.push(j);
                (longer, p * moved * emission(j, o))
            })
        };
        all = all.into_iter().flat_map(step).collect();
        assert_eq!(all.len(), n.pow(t as u32 + 1));
    }
    all
}

fn close(a: f64, b: f64, tolerance: f64) -> bool {
    a == b || (a - b).abs() <= tolerance * a.abs().max(b.abs())
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(200) })]

    #[test]
    fn enumeration_agrees(seed: u64, n in 1_usize..=3, steps in 0_usize..=8, zeros in prop_oneof![Just(0.0), Just(0.4)]) {
        let rng = &mut Random::seed_from_u64(seed);
        let model = random_model(rng, n, 3, zeros);
        let sequence = random_sequence(rng, 3, steps, 0.2);
        let all = paths(&model, &sequence);
        let total: f64 = all.iter().map(|(_, p)| p).sum();
        let ll = model.log_likelihood(&sequence).unwrap();
        prop_assert!(close(ll.exp(), total, 1e-13), "{} {}", ll.exp(), total);
        if total == 0.0 {
            prop_assert_eq!(ll, f64::NEG_INFINITY);
            let impossible = |result: Result<(), Error>| matches!(result, Err(Error::ImpossibleSequence { sequence: 0, .. }));
            prop_assert!(impossible(model.viterbi(&sequence).map(|_| ())));
            prop_assert!(impossible(model.posterior(&sequence).map(|_| ())));
            prop_assert!(impossible(model.log_predictive(&sequence).map(|_| ())));
            // The position is the first prefix that no path survives.
            let dead = (1..=steps).find(|&k| paths(&model, &sequence[..k]).iter().all(|(_, p)| *p == 0.0)).unwrap() - 1;
            prop_assert_eq!(model.viterbi(&sequence), Err(Error::ImpossibleSequence { sequence: 0, position: dead }));
            prop_assert_eq!(model.posterior(&sequence), Err(Error::ImpossibleSequence { sequence: 0, position: dead }));
            return Ok(());
        }
        let path = model.viterbi(&sequence).unwrap();
        let best = all.iter().map(|(_, p)| *p).fold(0.0, f64::max);
        prop_assert!(close(path.log_prob.exp(), best, 1e-13));
        let own = all.iter().find(|(states, _)| *states == path.states).unwrap().1;
        prop_assert!(close(path.log_prob.exp(), own, 1e-13));
        let mut gamma = vec![0.0; steps * n];
        let mut xi = vec![0.0; n * n];
        let mut beta = vec![0.0; steps * n];
        for (states, p) in &all {
            for (t, &state) in states.iter().enumerate() {
                gamma[t * n + state] += p / total;
            }
            for pair in states.windows(2) {
                xi[pair[0] * n + pair[1]] += p / total;
            }
        }
        let posterior = model.posterior(&sequence).unwrap();
        for (a, b) in posterior.gamma.as_slice().iter().zip(&gamma) {
            prop_assert!((a - b).abs() < 1e-13);
        }
        for t in 0..steps {
            // beta by its definition, over the paths of the rest of the sequence.
            for i in 0..n {
                let rest = &sequence[t + 1..];
                let from = Hmm::new(
                    Initial::Free(model.transitions().row(i).to_vec()),
                    model.transitions().clone(),
                    model.emission().clone(),
                ).unwrap();
                beta[t * n + i] = paths(&from, rest).iter().map(|(_, p)| p).sum();
            }
        }
        let lattice = model.backward(&sequence).unwrap();
        prop_assert_eq!(lattice.len(), steps);
        for (a, b) in lattice.as_slice().iter().zip(&beta) {
            prop_assert!(close(*a, *b, 1e-12));
        }
        if sequence.iter().any(Option::is_some) {
            let mut trained = model.clone();
            BaumWelch::new().max_iters(1).fit(&mut trained, &[&sequence]).unwrap();
            for (i, counts) in xi.chunks_exact(n).enumerate() {
                let sum: f64 = counts.iter().sum();
                for (j, count) in counts.iter().enumerate() {
                    let expected = if sum > 1e-290 { count / sum } else { model.transitions().row(i)[j] };
                    prop_assert!((trained.transitions().row(i)[j] - expected).abs() < 1e-12);
                }
            }
        }
    }

    #[test]
    fn filter_and_posterior_agree(seed: u64, n in 1_usize..=5, steps in 1_usize..=30) {
        let rng = &mut Random::seed_from_u64(seed);
        let model = random_model(rng, n, 4, 0.2);
        let sequence = random_sequence(rng, 4, steps, 0.1);
        let ll = model.log_likelihood(&sequence).unwrap();
        prop_assume!(ll > f64::NEG_INFINITY);
        let posterior = model.posterior(&sequence).unwrap();
        let mut filter = model.filter();
        let mut sum = 0.0;
        for o in &sequence {
            sum += model.update(&mut filter, *o).unwrap();
            prop_assert!((filter.belief().iter().sum::<f64>() - 1.0).abs() < 1e-12);
        }
        prop_assert!((sum - ll).abs() < 1e-12 * ll.abs().max(1.0));
        prop_assert_eq!(filter.log_likelihood(), sum);
        prop_assert_eq!(filter.steps(), steps as u64);
        for (a, b) in filter.belief().iter().zip(posterior.gamma.step(steps - 1)) {
            prop_assert!((a - b).abs() < 1e-12);
        }
        for row in posterior.gamma.steps() {
            prop_assert!((row.iter().sum::<f64>() - 1.0).abs() < 1e-12);
        }
        prop_assert!((posterior.log_likelihood - ll).abs() <= 1e-12 * ll.abs().max(1.0));
        prop_assert!(model.viterbi(&sequence).unwrap().log_prob <= ll + 1e-12);
        // Steps without observation at the end change nothing.
        let mut longer = sequence.clone();
        longer.extend([None; 5]);
        prop_assert!((model.log_likelihood(&longer).unwrap() - ll).abs() < 1e-12 * ll.abs().max(1.0));
    }

    #[test]
    fn training_never_loses_and_keeps_zeros(seed: u64, n in 1_usize..=4, pseudocount in prop_oneof![Just(0.0), Just(0.5)]) {
        let rng = &mut Random::seed_from_u64(seed);
        let mut model = random_model(rng, n, 4, 0.25);
        let sequences: Vec<Vec<usize>> =
            (0..3).map(|k| model.sample(rng, 20 * k + 5).into_iter().map(|(_, o)| o).collect()).collect();
        let start = model.clone();
        let prior = CategoricalPrior::new(pseudocount).unwrap();
        let objective = |model: &Hmm<Categorical>| {
            let entries = model
                .initial_probabilities()
                .iter()
                .chain(model.transitions().probabilities())
                .chain(model.emission().probabilities());
            let prior: f64 = entries.filter(|p| **p > 0.0).map(|p| p.ln()).sum();
            let ll: f64 = sequences.iter().map(|s| model.log_likelihood(s).unwrap()).sum();
            ll + if pseudocount > 0.0 { pseudocount * prior } else { 0.0 }
        };
        let mut before = objective(&model);
        for _ in 0..15 {
            BaumWelch::new().max_iters(1).pseudocount(pseudocount).emission_prior(prior).fit(&mut model, &sequences).unwrap();
            let after = objective(&model);
            prop_assert!(after >= before - 1e-9 * before.abs() - 1e-13, "{} after {}", after, before);
            before = after;
        }
        let zeros = |model: &Hmm<Categorical>| -> Vec<bool> {
            [model.initial_probabilities(), model.transitions().probabilities(), model.emission().probabilities()]
                .concat()
                .iter()
                .map(|p| *p == 0.0)
                .collect()
        };
        for (old, new) in zeros(&start).into_iter().zip(zeros(&model)) {
            prop_assert!(new || !old, "a zero came alive");
        }
        for row in model.transitions().probabilities().chunks(n).chain(model.emission().probabilities().chunks(4)) {
            prop_assert!((row.iter().sum::<f64>() - 1.0).abs() < 1e-12);
        }
    }

    #[test]
    fn relabelling_states_permutes_the_results(seed: u64, n in 2_usize..=6) {
        let rng = &mut Random::seed_from_u64(seed);
        let model = random_model(rng, n, 4, 0.15);
        let sequence = random_sequence(rng, 4, 25, 0.1);
        prop_assume!(model.log_likelihood(&sequence).unwrap() > f64::NEG_INFINITY);
        let mut order: Vec<usize> = (0..n).collect();
        for i in (1..n).rev() {
            order.swap(i, rng.random_range(0..=i));
        }
        let pick = |row: &[f64]| order.iter().map(|&i| row[i]).collect::<Vec<_>>();
        let renamed = Hmm::new(
            Initial::Free(pick(model.initial_probabilities())),
            Transitions::new(order.iter().map(|&i| pick(model.transitions().row(i))).collect()).unwrap(),
            Categorical::new(order.iter().map(|&i| model.emission().row(i).to_vec()).collect()).unwrap(),
        ).unwrap();
        let (a, b) = (model.posterior(&sequence).unwrap(), renamed.posterior(&sequence).unwrap());
        prop_assert!(close(a.log_likelihood, b.log_likelihood, 1e-12));
        for t in 0..sequence.len() {
            for (new, &old) in order.iter().enumerate() {
                prop_assert!((a.gamma[(old, t)] - b.gamma[(new, t)]).abs() < 1e-11);
            }
        }
        let (a, b) = (model.viterbi(&sequence).unwrap(), renamed.viterbi(&sequence).unwrap());
        prop_assert!(close(a.log_prob, b.log_prob, 1e-12));
    }

    #[test]
    fn missing_coordinates_are_integrated_out(seed: u64, n in 1_usize..=4) {
        let rng = &mut Random::seed_from_u64(seed);
        let means: Vec<Vec<f64>> = (0..n).map(|_| (0..2).map(|_| rng.random_range(-3.0..3.0)).collect()).collect();
        let variances: Vec<Vec<f64>> = (0..n).map(|_| (0..2).map(|_| rng.random_range(0.1..4.0)).collect()).collect();
        let initial = Initial::Free(distribution(rng, n, 0.0));
        let transitions = Transitions::new(rows(rng, n, n, 0.0)).unwrap();
        let first = |table: &[Vec<f64>]| table.iter().map(|row| vec![row[0]]).collect::<Vec<_>>();
        let narrow = GaussianDiag::new(first(&means), first(&variances)).unwrap();
        let model = Hmm::new(initial.clone(), transitions.clone(), GaussianDiag::new(means, variances).unwrap()).unwrap();
        let narrow = Hmm::new(initial, transitions, narrow).unwrap();
        // A second coordinate that is never seen leaves the model of the first one.
        let data: Vec<f64> = (0..20).map(|_| rng.random_range(-4.0..4.0)).collect();
        let wide: Vec<f64> = data.iter().flat_map(|x| [*x, f64::NAN]).collect();
        let wide = Rows::new(&wide, 2).unwrap();
        prop_assert_eq!(model.log_likelihood(wide), Err(Error::NonFiniteObservation { position: 0 }));
        let (a, b) = (
            model.posterior(wide.with_missing()).unwrap(),
            narrow.posterior(Rows::new(&data, 1).unwrap()).unwrap(),
        );
        prop_assert!(close(a.log_likelihood, b.log_likelihood, 1e-12));
        for (a, b) in a.gamma.as_slice().iter().zip(b.gamma.as_slice()) {
            prop_assert!((a - b).abs() < 1e-12);
        }
        let (mut model, mut narrow) = (model, narrow);
        let second = model.emission().means().to_vec();
        BaumWelch::new().max_iters(2).fit(&mut model, &[wide.with_missing()]).unwrap();
        BaumWelch::new().max_iters(2).fit(&mut narrow, &[Rows::new(&data, 1).unwrap()]).unwrap();
        for i in 0..n {
            prop_assert!((model.emission().means()[2 * i] - narrow.emission().means()[i]).abs() < 1e-10);
            prop_assert!((model.emission().variances()[2 * i] - narrow.emission().variances()[i]).abs() < 1e-10);
            prop_assert_eq!(model.emission().means()[2 * i + 1], second[2 * i + 1]);
        }
    }
}

/// Entries down to 1e-300, symbols down to 1e-300 or impossible, left-right shapes.
fn hostile(rng: &mut Random) -> (Hmm<Categorical>, Vec<Option<usize>>) {
    let n = rng.random_range(1..=9);
    let left_right = rng.random_bool(0.3);
    let depth = [0.0, 20.0, 300.0][rng.random_range(0..3)];
    let row = |rng: &mut Random, width: usize, from: usize, zeros: f64| {
        let mut row: Vec<f64> =
            (0..width)
                .map(|j| {
                    if j < from || rng.random::<f64>() < zeros { 0.0 } else { 10f64.powf(-depth * rng.random::<f64>()) }
                })
                .collect();
        if row.iter().all(|p| *p == 0.0) {
            row[from.max(rng.random_range(from..width))] = 1.0;
        }
        let sum: f64 = row.iter().sum();
        row.iter_mut().for_each(|p| *p /= sum);
        row
    };
    let zeros = [0.0, 0.15, 0.6][rng.random_range(0..3)];
    let initial = row(rng, n, 0, zeros);
    let transitions = (0..n).map(|i| row(rng, n, if left_right { i } else { 0 }, zeros)).collect();
    let emissions = (0..n).map(|_| row(rng, 5, 0, 0.15)).collect();
    let model =
        Hmm::new(Initial::Free(initial), Transitions::new(transitions).unwrap(), Categorical::new(emissions).unwrap())
            .unwrap();
    let steps = rng.random_range(1..60);
    // Half of the sequences are drawn from the model, so that many of them are possible.
    let sequence = if rng.random_bool(0.5) {
        model.sample(rng, steps).into_iter().map(|(_, o)| Some(o)).collect()
    } else {
        random_sequence(rng, 5, steps, 0.1)
    };
    (model, sequence)
}

#[test]
fn hostile_models_agree_with_the_log_kernel() {
    let rng = &mut Random::seed_from_u64(7);
    let (mut auto, mut log) = (Workspace::new(), Workspace::with_kernel(Kernel::Log));
    let mut possible = 0;
    for case in 0..4000 {
        let (model, sequence) = hostile(rng);
        let a = model.log_likelihood_with(&mut auto, &sequence).unwrap();
        let b = model.log_likelihood_with(&mut log, &sequence).unwrap();
        assert!(close(a, b, 1e-11) || (a - b).abs() < 1e-13, "case {case}: {a} {b}");
        let (mut p, mut q) = (Posterior::default(), Posterior::default());
        let (first, second) =
            (model.posterior_with(&mut auto, &sequence, &mut p), model.posterior_with(&mut log, &sequence, &mut q));
        assert_eq!(first, second, "case {case}");
        let mut filter = model.filter();
        let filtered: Result<Vec<f64>, _> = sequence.iter().map(|o| model.update(&mut filter, *o)).collect();
        if b == f64::NEG_INFINITY {
            assert!(first.is_err() && filtered.is_err());
            assert_eq!(model.viterbi(&sequence).map(|_| ()), first);
            continue;
        }
        possible += 1;
        let sum: f64 = filtered.unwrap().iter().sum();
        assert!(close(sum, b, 1e-11) || (sum - b).abs() < 1e-13, "case {case}: filter {sum} {b}");
        for (x, y) in p.gamma.as_slice().iter().zip(q.gamma.as_slice()) {
            assert!((x - y).abs() < 1e-10, "case {case}: {x} {y}");
        }
        let (mut first, mut second) = (model.clone(), model.clone());
        if sequence.iter().any(Option::is_some) {
            BaumWelch::new().max_iters(1).fit(&mut first, &[&sequence]).unwrap();
            BaumWelch::new().max_iters(1).kernel(Kernel::Log).fit(&mut second, &[&sequence]).unwrap();
            // Rows of states that are next to never visited hold quotients of rounding errors.
            let mut visits = vec![0.0; model.n_states()];
            q.gamma.steps().for_each(|row| visits.iter_mut().zip(row).for_each(|(v, g)| *v += g));
            for (i, visits) in visits.iter().enumerate().filter(|(_, v)| **v > 1e-3) {
                for (x, y) in first.emission().row(i).iter().zip(second.emission().row(i)) {
                    assert!((x - y).abs() < 1e-7, "case {case}: state {i} visits {visits}");
                }
            }
        }
    }
    assert!(possible > 1500, "only {possible} possible sequences");
}

#[test]
fn hostile_gaussians_agree_with_the_log_kernel() {
    let rng = &mut Random::seed_from_u64(8);
    let (mut auto, mut log) = (Workspace::new(), Workspace::with_kernel(Kernel::Log));
    for case in 0..2000 {
        let n = rng.random_range(1..=5);
        let spread = [1.0, 30.0, 400.0][rng.random_range(0..3)];
        let zeros = [0.0, 0.3][rng.random_range(0..2)];
        let mut vector =
            |low: f64, high: f64| -> Vec<Vec<f64>> { (0..n).map(|_| vec![rng.random_range(low..high)]).collect() };
        let emission = GaussianDiag::new(vector(-spread, spread), vector(0.05, 2.0)).unwrap();
        let model = Hmm::new(
            Initial::Free(distribution(rng, n, zeros)),
            Transitions::new(rows(rng, n, n, zeros)).unwrap(),
            emission,
        )
        .unwrap();
        let data: Vec<f64> = (0..rng.random_range(1..40)).map(|_| rng.random_range(-spread..spread)).collect();
        let data = Rows::new(&data, 1).unwrap();
        let a = model.log_likelihood_with(&mut auto, data).unwrap();
        let b = model.log_likelihood_with(&mut log, data).unwrap();
        assert!(close(a, b, 1e-11), "case {case}: {a} {b}");
        let sum: f64 = model.log_predictive(data).unwrap().iter().sum();
        assert!(close(sum, b, 1e-11), "case {case}: filter {sum} {b}");
        let (mut p, mut q) = (Posterior::default(), Posterior::default());
        model.posterior_with(&mut auto, data, &mut p).unwrap();
        model.posterior_with(&mut log, data, &mut q).unwrap();
        for (x, y) in p.gamma.as_slice().iter().zip(q.gamma.as_slice()) {
            // The log kernel's own rounding grows with the size of the logs.
            assert!((x - y).abs() < 1e-9, "case {case}: {x} {y}");
        }
    }
}

#[test]
fn a_million_steps_do_not_underflow() {
    let rng = &mut Random::seed_from_u64(3);
    for (n, zeros) in [(3, 0.0), (4, 0.3)] {
        let model = random_model(rng, n, 4, zeros);
        let sequence: Vec<usize> = model.sample(rng, 1_000_000).into_iter().map(|(_, o)| o).collect();
        let ll = model.log_likelihood(&sequence).unwrap();
        assert!(ll.is_finite() && ll < -100_000.0);
        // The log-likelihood of a long sequence is the sum of its one-step predictions.
        let sum: f64 = model.log_predictive(&sequence).unwrap().iter().sum();
        assert!(close(ll, sum, 1e-11));
        let posterior = model.posterior(&sequence).unwrap();
        assert!(close(posterior.log_likelihood, ll, 1e-13));
        assert!(posterior.gamma.steps().all(|row| (row.iter().sum::<f64>() - 1.0).abs() < 1e-12));
        assert!(model.viterbi(&sequence).unwrap().log_prob <= ll);
    }
}

#[test]
fn gaussian_training_never_loses_without_an_active_floor() {
    let rng = &mut Random::seed_from_u64(5);
    let truth = Hmm::new(
        Initial::Free(vec![0.5, 0.5]),
        Transitions::new(vec![vec![0.9, 0.1], vec![0.2, 0.8]]).unwrap(),
        GaussianDiag::new(vec![vec![0.0, 1.0], vec![3.0, -1.0]], vec![vec![1.0, 0.5], vec![2.0, 1.0]]).unwrap(),
    )
    .unwrap();
    let data: Vec<f64> = truth.sample(rng, 20_000).into_iter().flat_map(|(_, x)| x).collect();
    let rows = Rows::new(&data, 2).unwrap();
    let mut model = Hmm::new(
        Initial::Free(vec![0.5, 0.5]),
        Transitions::new(vec![vec![0.6, 0.4], vec![0.4, 0.6]]).unwrap(),
        GaussianDiag::new(vec![vec![-1.0, 0.0], vec![1.0, 0.5]], vec![vec![4.0, 4.0]; 2]).unwrap(),
    )
    .unwrap();
    let fit = BaumWelch::new().max_iters(100).tolerance(1e-10).fit(&mut model, &[rows]).unwrap();
    assert!(fit.converged && !fit.floored);
    assert!(fit.log_likelihoods.windows(2).all(|pair| pair[1] >= pair[0] - 1e-9 * pair[0].abs()));
    // Within about four standard errors of the truth.
    for (a, b) in model.emission().means().iter().zip(truth.emission().means()) {
        assert!((a - b).abs() < 0.1, "{a} {b}");
    }
    for (a, b) in model.transitions().probabilities().iter().zip(truth.transitions().probabilities()) {
        assert!((a - b).abs() < 0.02, "{a} {b}");
    }
}

#[test]
fn a_collapsing_gaussian_meets_the_floor() {
    let data = [0.0, 0.0, 0.0, 1.0, 2.0, 3.0, 1.5, 0.5];
    let rows = Rows::new(&data, 1).unwrap();
    let start = Hmm::new(
        Initial::Free(vec![0.5, 0.5]),
        Transitions::new(vec![vec![0.5, 0.5]; 2]).unwrap(),
        GaussianDiag::new(vec![vec![0.0], vec![2.0]], vec![vec![1e-8], vec![1.0]]).unwrap(),
    )
    .unwrap();
    let mut model = start.clone();
    let fit = BaumWelch::new().max_iters(30).fit(&mut model, &[rows]).unwrap();
    assert!(fit.floored);
    let mean = data.iter().sum::<f64>() / 8.0;
    let variance = data.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / 8.0;
    assert!((model.emission().variances()[0] - (1e-6 * variance + 1e-12)).abs() < 1e-18);
    let mut model = start.clone();
    let floor = VarianceFloor::new(0.0, 0.01).unwrap();
    BaumWelch::new().max_iters(30).emission_prior(floor).fit(&mut model, &[rows]).unwrap();
    assert_eq!(model.emission().variances()[0], 0.01);
}
