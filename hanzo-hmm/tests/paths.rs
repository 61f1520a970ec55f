//! Several paths, sampled paths, labels, delayed smoothing, learning in parts and learning online.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use hanzo_hmm::{
    BaumWelch, Categorical, CategoricalPrior, Error, Expectations, GaussianDiag, Hmm, Initial, Kernel, Labelled,
    Labels, Learn, Memory, OnlineEm, Posterior, Rows, Transitions, Workspace,
};
use proptest::prelude::*;
use rand::rngs::Xoshiro256PlusPlus;
use rand::{RngExt, SeedableRng};
use serde_json::Value;

#[path = "support/data.rs"]
mod data;

use data::{difference, flat, floats, load, matrix, number, relative, usizes};

type Random = Xoshiro256PlusPlus;

fn categorical(file: &Value) -> Hmm<Categorical> {
    Hmm::new(
        Initial::Free(floats(&file["startprob"])),
        Transitions::new(matrix(&file["transmat"])).unwrap(),
        Categorical::new(matrix(&file["emissionprob"])).unwrap(),
    )
    .unwrap()
}

fn row(rng: &mut Random, n: usize, zeros: f64) -> Vec<f64> {
    let mut row: Vec<f64> =
        (0..n).map(|_| if rng.random::<f64>() < zeros { 0.0 } else { rng.random::<f64>() }).collect();
    row[rng.random_range(0..n)] += 0.1;
    let sum: f64 = row.iter().sum();
    row.into_iter().map(|p| p / sum).collect()
}

fn random_model(rng: &mut Random, n: usize, symbols: usize, zeros: f64) -> Hmm<Categorical> {
    Hmm::new(
        Initial::Free(row(rng, n, zeros)),
        Transitions::new((0..n).map(|_| row(rng, n, zeros)).collect()).unwrap(),
        Categorical::new((0..n).map(|_| row(rng, symbols, zeros)).collect()).unwrap(),
    )
    .unwrap()
}

/// ln P(path, observations), by the additions of the Viterbi recursion.
fn score(model: &Hmm<Categorical>, path: &[usize], sequence: &[Option<usize>]) -> f64 {
    let mut sum = 0.0;
    for (t, (&state, o)) in path.iter().zip(sequence).enumerate() {
        let step = if t == 0 {
            model.initial_probabilities()[state].ln()
        } else {
            model.transitions().row(path[t - 1])[state].ln()
        };
        sum = sum + step + o.map_or(0.0, |o| model.emission().row(state)[o].ln());
    }
    sum
}

/// Every path, best first, ties by the lower index at the last difference.
fn ranking(model: &Hmm<Categorical>, sequence: &[Option<usize>]) -> Vec<(Vec<usize>, f64)> {
    let (n, steps) = (model.n_states(), sequence.len());
    let mut all: Vec<(Vec<usize>, f64)> = (0..n.pow(steps as u32))
        .map(|mut code| {
            let path: Vec<usize> = (0..steps)
                .map(|_| {
                    let state = code % n;
                    code /= n;
                    state
                })
                .collect();
            let score = score(model, &path, sequence);
            (path, score)
        })
        .filter(|(_, score)| *score > f64::NEG_INFINITY)
        .collect();
    all.sort_by(|a, b| b.1.total_cmp(&a.1).then_with(|| a.0.iter().rev().cmp(b.0.iter().rev())));
    all
}

#[test]
fn exact_files() {
    for name in ["20_exact_S3_M4_T6", "21_exact_zeros_S3_M5_T6"] {
        let Some(case) = load(&format!("hmm/exact/{name}.json")) else { return };
        let model = categorical(&case["initial"]);
        let n = model.n_states();
        let symbols = usizes(&case["observations"]);

        let wanted = case["k_best"].as_array().unwrap();
        let paths = model.k_best(&symbols, wanted.len()).unwrap();
        assert_eq!(paths.len(), wanted.len());
        for (own, file) in paths.iter().zip(wanted) {
            assert_eq!(own.states, usizes(&file["path"]));
            assert!(relative(own.log_prob, number(&file["log_prob"])) < 1e-14);
        }
        let possible = case["n_possible_paths"].as_u64().unwrap() as usize;
        assert_eq!(model.k_best(&symbols, 10_000).unwrap().len(), possible);

        let lag = case["fixed_lag"]["lag"].as_u64().unwrap() as usize;
        let wanted = flat(&case["fixed_lag"]["posterior"]);
        let mut smoother = model.fixed_lag(lag);
        let mut own = Vec::new();
        for &symbol in &symbols {
            own.extend(smoother.push(Some(symbol)).unwrap().into_iter().flatten());
        }
        assert_eq!(own.len(), (symbols.len() - lag) * n);
        own.extend_from_slice(smoother.flush().unwrap().as_slice());
        assert!(difference(&own, &wanted) < 1e-14, "{name}");

        let labelled = &case["labelled"];
        let mut labels = Labels::free(n, symbols.len()).unwrap();
        for (t, states) in labelled["allowed_states"].as_array().unwrap().iter().enumerate() {
            labels.allow(t, &usizes(states)).unwrap();
        }
        let sequence = Labelled::new(&symbols, &labels);
        for kernel in [Kernel::Auto, Kernel::Log] {
            let mut workspace = Workspace::with_kernel(kernel);
            let ll = model.log_likelihood_with(&mut workspace, sequence).unwrap();
            assert!(relative(ll, number(&labelled["log_likelihood"])) < 1e-14);
            let mut posterior = Posterior::default();
            model.posterior_with(&mut workspace, sequence, &mut posterior).unwrap();
            assert!(difference(posterior.gamma.as_slice(), &flat(&labelled["posterior"])) < 1e-14);
        }
        let path = model.viterbi(sequence).unwrap();
        assert_eq!(path.states, usizes(&labelled["viterbi"]));
        assert!(relative(path.log_prob, number(&labelled["viterbi_log_prob"])) < 1e-14);
        let predictive: f64 = model.log_predictive(sequence).unwrap().iter().sum();
        assert!(relative(predictive, number(&labelled["log_likelihood"])) < 1e-14);
        for memory in [Memory::Linear, Memory::SquareRoot] {
            let expected = BaumWelch::new().memory(memory).expect(&model, &[sequence]).unwrap();
            assert!(difference(expected.transitions(), &flat(&labelled["expected_transitions"])) < 1e-14);
        }
    }
}

#[test]
fn exact_online() {
    let Some(file) = load("hmm/exact/24_online_em_S2_M3.json") else { return };
    let symbols = usizes(&file["observations"]);
    for run in file["runs"].as_array().unwrap() {
        let mut learner = OnlineEm::new(categorical(&file)).with_pseudocount(number(&run["pseudocount"])).unwrap();
        for (t, &symbol) in symbols.iter().enumerate() {
            learner.update(Some(symbol)).unwrap();
            let Some(state) = run["after_observations"].get((t + 1).to_string()) else { continue };
            let model = learner.model();
            let n = t + 1;
            assert!(difference(model.transitions().probabilities(), &flat(&state["transmat"])) < 1e-11, "A after {n}");
            assert!(difference(model.emission().probabilities(), &flat(&state["emissionprob"])) < 1e-11, "B after {n}");
            assert!(difference(learner.belief(), &floats(&state["filter"])) < 1e-11, "filter after {n}");
            assert!(relative(learner.log_likelihood(), number(&state["cumulative_log_likelihood"])) < 1e-11);
        }
    }
}

#[test]
fn online_learning_refuses_and_goes_on() {
    let model = random_model(&mut Random::seed_from_u64(3), 2, 3, 0.0);
    let mut learner = OnlineEm::new(model.clone());
    for t in 0..50 {
        learner.update((t % 7 > 0).then_some(t % 3)).unwrap();
    }
    let (before, ll) = (learner.model().clone(), learner.log_likelihood());
    assert_eq!(learner.update(Some(3)), Err(Error::UnknownObservation { position: 50 }));
    assert_eq!((learner.model(), learner.log_likelihood(), learner.steps()), (&before, ll, 50));
    assert!(OnlineEm::new(model).with_pseudocount(f64::NAN).is_err());
    // Gaussians follow a level that moves.
    let start = Hmm::new(
        Initial::Free(vec![0.5, 0.5]),
        Transitions::new(vec![vec![0.9, 0.1], vec![0.1, 0.9]]).unwrap(),
        GaussianDiag::new(vec![vec![-1.0], vec![1.0]], vec![vec![1.0]; 2]).unwrap(),
    )
    .unwrap();
    let mut learner = OnlineEm::new(start);
    let rng = &mut Random::seed_from_u64(8);
    for t in 0..6000 {
        let level = if t / 5 % 2 == 0 { -5.0 } else { 5.0 };
        learner.update(Some(&[level + rng.random_range(-1.0..1.0)])).unwrap();
    }
    assert!(difference(learner.model().emission().means(), &[-5.0, 5.0]) < 0.3);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(120))]

    #[test]
    fn k_best_is_the_ranking_of_all_paths(seed: u64, n in 1_usize..=3, steps in 1_usize..=6, k in 0_usize..40) {
        let rng = &mut Random::seed_from_u64(seed);
        let mut model = random_model(rng, n, 3, 0.25);
        if seed % 3 == 0 {
            // Many exact ties.
            model = Hmm::new(
                Initial::Free(vec![1.0 / n as f64; n]),
                Transitions::new(vec![vec![1.0 / n as f64; n]; n]).unwrap(),
                Categorical::new(vec![vec![0.25, 0.25, 0.5]; n]).unwrap(),
            ).unwrap();
        }
        let sequence: Vec<Option<usize>> =
            (0..steps).map(|_| (rng.random::<f64>() > 0.1).then(|| rng.random_range(0..3))).collect();
        let all = ranking(&model, &sequence);
        if all.is_empty() && k > 0 {
            prop_assert!(model.k_best(&sequence, k).is_err());
            return Ok(());
        }
        let best = model.k_best(&sequence, k).unwrap();
        prop_assert_eq!(best.len(), k.min(all.len()));
        let ties = seed % 3 == 0;
        for (k, (own, (states, wanted))) in best.iter().zip(&all).enumerate() {
            prop_assert_eq!((own.log_prob, score(&model, &own.states, &sequence)), (*wanted, *wanted));
            prop_assert!(best[..k].iter().all(|other| other.states != own.states));
            // Elsewhere rounding may make ties of what is not equally likely.
            prop_assert!(!ties || own.states == *states);
        }
        if let Some(first) = best.first() {
            let path = model.viterbi(&sequence).unwrap();
            prop_assert_eq!(first.log_prob, path.log_prob);
            prop_assert!(!ties || first.states == path.states);
        }
    }

    #[test]
    fn fixed_lag_of_the_whole_sequence_is_the_posterior(seed: u64, n in 1_usize..=5, steps in 1_usize..=20, lag in 0_usize..25) {
        let rng = &mut Random::seed_from_u64(seed);
        let model = random_model(rng, n, 4, [0.0, 0.3][seed as usize % 2]);
        let sequence: Vec<Option<usize>> = model
            .sample(rng, steps)
            .into_iter()
            .map(|(_, o)| (rng.random::<f64>() > 0.1).then_some(o))
            .collect();
        let mut smoother = model.fixed_lag(lag);
        let mut rows = Vec::new();
        for o in &sequence {
            rows.extend(smoother.push(*o).unwrap());
        }
        let rest = smoother.flush().unwrap();
        rows.extend(rest.steps().map(<[f64]>::to_vec));
        prop_assert_eq!(rows.len(), steps);
        for (t, row) in rows.iter().enumerate() {
            let seen = (t + lag + 1).min(steps);
            let posterior = model.posterior(&sequence[..seen]).unwrap();
            for (a, b) in row.iter().zip(posterior.gamma.step(t)) {
                prop_assert!((a - b).abs() < 1e-12);
            }
        }
    }

    #[test]
    fn labels_restrict_the_paths(seed: u64, n in 1_usize..=3, steps in 1_usize..=6) {
        let rng = &mut Random::seed_from_u64(seed);
        let model = random_model(rng, n, 3, [0.0, 0.25][seed as usize % 2]);
        let sequence: Vec<Option<usize>> =
            (0..steps).map(|_| (rng.random::<f64>() > 0.2).then(|| rng.random_range(0..3))).collect();
        let mut labels = Labels::free(n, steps).unwrap();
        for t in 0..steps {
            let some: Vec<usize> = (0..n).filter(|_| rng.random::<f64>() < 0.6).collect();
            if !some.is_empty() {
                labels.allow(t, &some).unwrap();
            }
        }
        let mut all = ranking(&model, &sequence);
        all.retain(|(path, _)| path.iter().enumerate().all(|(t, state)| labels.allows(t, *state)));
        let labelled = Labelled::new(&sequence, &labels);
        let total: f64 = all.iter().map(|(_, score)| score.exp()).sum();
        let ll = model.log_likelihood(labelled).unwrap();
        if all.is_empty() {
            prop_assert_eq!(ll, f64::NEG_INFINITY);
            prop_assert!(model.posterior(labelled).is_err() && model.viterbi(labelled).is_err());
            return Ok(());
        }
        prop_assert!((ll - total.ln()).abs() < 1e-12 * ll.abs().max(1.0));
        let mut gamma = vec![0.0; n * steps];
        for (path, score) in &all {
            for (t, state) in path.iter().enumerate() {
                gamma[t * n + state] += score.exp() / total;
            }
        }
        prop_assert!(difference(model.posterior(labelled).unwrap().gamma.as_slice(), &gamma) < 1e-12);
        prop_assert_eq!(&model.viterbi(labelled).unwrap().states, &all[0].0);
        let sum: f64 = model.log_predictive(labelled).unwrap().iter().sum();
        prop_assert!((sum - ll).abs() < 1e-12 * ll.abs().max(1.0));
        let sampled = model.sample_posterior(labelled, rng).unwrap();
        prop_assert!(sampled.iter().enumerate().all(|(t, state)| labels.allows(t, *state)));
    }

    #[test]
    fn the_square_root_form_gives_the_same_expectations(seed: u64, n in 1_usize..=6, steps in 1_usize..=900) {
        let rng = &mut Random::seed_from_u64(seed);
        let model = random_model(rng, n, 4, [0.0, 0.3][seed as usize % 2]);
        let sequence: Vec<Option<usize>> = model
            .sample(rng, steps)
            .into_iter()
            .map(|(_, o)| (rng.random::<f64>() > 0.1).then_some(o))
            .collect();
        for kernel in [Kernel::Auto, Kernel::Log, Kernel::Portable] {
            let training = BaumWelch::new().kernel(kernel);
            let whole = training.expect(&model, &[&sequence]).unwrap();
            let parts = training.memory(Memory::SquareRoot).expect(&model, &[&sequence]).unwrap();
            let size = steps as f64;
            prop_assert!((whole.log_likelihood() - parts.log_likelihood()).abs() < 1e-12 * size);
            prop_assert!(difference(whole.transitions(), parts.transitions()) < 1e-11 * size);
            prop_assert!(difference(whole.initial(), parts.initial()) < 1e-11);
            let mut models = [model.clone(), model.clone()];
            BaumWelch::new().maximize(&mut models[0], &whole).unwrap();
            BaumWelch::new().maximize(&mut models[1], &parts).unwrap();
            prop_assert!(difference(models[0].emission().probabilities(), models[1].emission().probabilities()) < 1e-9);
        }
    }
}

/// Frequencies of sampled paths are the posterior probabilities of the paths.
#[test]
fn sampled_paths_follow_the_posterior() {
    let rng = &mut Random::seed_from_u64(6);
    for zeros in [0.0, 0.3] {
        let model = random_model(rng, 3, 3, zeros);
        let sequence: Vec<Option<usize>> = model.sample(rng, 3).into_iter().map(|(_, o)| Some(o)).collect();
        let all = ranking(&model, &sequence);
        let total: f64 = all.iter().map(|(_, score)| score.exp()).sum();
        let draws = 20_000;
        let mut counts = vec![0.0; all.len()];
        for _ in 0..draws {
            let path = model.sample_posterior(&sequence, rng).unwrap();
            counts[all.iter().position(|(states, _)| *states == path).unwrap()] += 1.0;
        }
        for (count, (_, score)) in counts.iter().zip(&all) {
            let p = score.exp() / total;
            let error = (p * (1.0 - p) * f64::from(draws)).sqrt();
            assert!((count - p * f64::from(draws)).abs() < 4.5 * error + 1.0, "{count} {p}");
        }
    }
    let dead = Hmm::new(
        Initial::Free(vec![1.0]),
        Transitions::new(vec![vec![1.0]]).unwrap(),
        Categorical::new(vec![vec![1.0, 0.0]]).unwrap(),
    )
    .unwrap();
    let refused = dead.sample_posterior([0, 1], rng);
    assert_eq!(refused, Err(Error::ImpossibleSequence { sequence: 0, position: 1 }));
    assert_eq!(dead.sample_posterior(&[] as &[usize], rng), Ok(vec![]));
}

/// Fully labelled training is counting.
#[test]
fn labelled_training_counts() {
    let rng = &mut Random::seed_from_u64(12);
    let truth = random_model(rng, 3, 4, 0.0);
    let steps = truth.sample(rng, 400);
    let symbols: Vec<usize> = steps.iter().map(|step| step.1).collect();
    let known: Vec<Option<usize>> = steps.iter().map(|step| Some(step.0)).collect();
    let labels = Labels::known(3, &known).unwrap();
    let mut model = random_model(rng, 3, 4, 0.0);
    BaumWelch::new().max_iters(1).fit(&mut model, &[Labelled::new(&symbols, &labels)]).unwrap();
    let mut counts = [[0.0; 3]; 3];
    let mut emitted = [[0.0; 4]; 3];
    steps.windows(2).for_each(|pair| counts[pair[0].0][pair[1].0] += 1.0);
    steps.iter().for_each(|(state, symbol)| emitted[*state][*symbol] += 1.0);
    for i in 0..3 {
        let total: f64 = counts[i].iter().sum();
        let wanted: Vec<f64> = counts[i].iter().map(|c| c / total).collect();
        assert!(difference(model.transitions().row(i), &wanted) < 1e-12);
        let total: f64 = emitted[i].iter().sum();
        let wanted: Vec<f64> = emitted[i].iter().map(|c| c / total).collect();
        assert!(difference(model.emission().row(i), &wanted) < 1e-12);
    }
    // Labels of the wrong size are an error, and leave the model alone.
    let before = model.clone();
    let short = Labels::free(3, 5).unwrap();
    assert!(matches!(model.viterbi(Labelled::new(&symbols, &short)), Err(Error::DimensionMismatch { .. })));
    let narrow = Labels::free(2, 400).unwrap();
    let refused = BaumWelch::new().fit(&mut model, &[Labelled::new(&symbols, &narrow)]);
    assert!(matches!(refused, Err(Error::DimensionMismatch { .. })));
    assert_eq!(model, before);
}

#[test]
fn expectations_merge_and_refuse_strangers() {
    let rng = &mut Random::seed_from_u64(21);
    let model = random_model(rng, 3, 4, 0.0);
    let sequences: Vec<Vec<usize>> =
        (0..70).map(|k| model.sample(rng, k % 9).into_iter().map(|(_, o)| o).collect()).collect();
    let training = BaumWelch::new().pseudocount(0.5);
    let mut whole = model.clone();
    training.clone().max_iters(1).fit(&mut whole, &sequences).unwrap();
    let mut all = Expectations::new(&model);
    for part in sequences.chunks(13) {
        all.merge(&model, &training.expect(&model, part).unwrap()).unwrap();
    }
    assert_eq!(all.sequences(), 62);
    let mut merged = model.clone();
    training.maximize(&mut merged, &all).unwrap();
    assert!(difference(merged.transitions().probabilities(), whole.transitions().probabilities()) < 1e-12);
    assert!(difference(merged.emission().probabilities(), whole.emission().probabilities()) < 1e-12);
    let other = random_model(rng, 3, 5, 0.0);
    let before = all.clone();
    assert!(matches!(all.merge(&other, &Expectations::new(&other)), Err(Error::DimensionMismatch { .. })));
    assert!(matches!(all.merge(&model, &Expectations::new(&other)), Err(Error::DimensionMismatch { .. })));
    assert_eq!(all, before);
    let mut stranger = other.clone();
    assert!(training.maximize(&mut stranger, &all).is_err());
    assert_eq!(stranger, other);
}

#[test]
fn frozen_and_dense_options() {
    let rng = &mut Random::seed_from_u64(31);
    let start = random_model(rng, 3, 4, 0.0);
    let sequences = [start.sample(rng, 300).into_iter().map(|(_, o)| o).collect::<Vec<_>>()];
    let mut model = start.clone();
    let training = BaumWelch::new().max_iters(10).freeze([(0, 1), (2, 2)]);
    let fit = training.fit(&mut model, &sequences).unwrap();
    assert!(fit.log_likelihoods.windows(2).all(|w| w[1] >= w[0] - 1e-9));
    assert_eq!(model.transitions().row(0)[1], start.transitions().row(0)[1]);
    assert_eq!(model.transitions().row(2)[2], start.transitions().row(2)[2]);
    assert_ne!(model.transitions().row(0)[0], start.transitions().row(0)[0]);
    assert!((0..3).all(|i| (model.transitions().row(i).iter().sum::<f64>() - 1.0).abs() < 1e-12));
    assert_eq!(training.n_free_parameters(&model), 2 + 6 - 2 + 9);
    assert_eq!(training.learn(Learn::ALL.keep_emissions()).n_free_parameters(&model), 2 + 6 - 2);
    let refused = BaumWelch::new().freeze([(0, 3)]).fit(&mut model, &sequences);
    assert_eq!(refused.err(), Some(Error::InvalidOption { name: "frozen transitions" }));
    // A prior everywhere revives zeros.
    let zeros = || Transitions::new(vec![vec![0.5, 0.5, 0.0], vec![0.2, 0.8, 0.0], vec![0.0, 0.5, 0.5]]).unwrap();
    let mut model = Hmm::new(start.initial().clone(), zeros(), start.emission().clone()).unwrap();
    BaumWelch::new().max_iters(2).pseudocount(0.5).fit(&mut model, &sequences).unwrap();
    assert_eq!(model.transitions().row(0)[2], 0.0);
    let prior = CategoricalPrior::new(0.5).unwrap().everywhere();
    BaumWelch::new().max_iters(2).dense_prior(0.5).emission_prior(prior).fit(&mut model, &sequences).unwrap();
    assert!(model.transitions().probabilities().iter().all(|p| *p > 0.0));
}

#[test]
fn progress_is_reported_and_can_stop() {
    let rng = &mut Random::seed_from_u64(41);
    let mut model = random_model(rng, 2, 3, 0.0);
    let sequences = [model.sample(rng, 200).into_iter().map(|(_, o)| o).collect::<Vec<_>>()];
    let mut seen = Vec::new();
    let fit = BaumWelch::new().tolerance(0.0).restarts(5, 1).fit_with(&mut model, &sequences, |progress| {
        seen.push((progress.start, progress.iteration, progress.log_likelihood));
        seen.len() < 7
    });
    let fit = fit.unwrap();
    assert_eq!((fit.iterations, seen.len()), (7, 7));
    assert!(
        seen.iter().enumerate().all(|(k, step)| step.0 == 0 && step.1 == k + 1 && step.2 == fit.log_likelihoods[k])
    );
}

/// A collapsed far-away mean does not cancel: data with an offset that dwarfs its spread.
#[test]
fn offsets_do_not_cost_digits() {
    let rng = &mut Random::seed_from_u64(51);
    let near: Vec<f64> = (0..2000).map(|t| f64::from(t / 50 % 2) * 4.0 + rng.random_range(-1.0..1.0)).collect();
    let far: Vec<f64> = near.iter().map(|x| x + 1e8).collect();
    let fit = |data: &[f64], offset: f64| {
        let mut model = Hmm::new(
            Initial::Free(vec![0.5, 0.5]),
            Transitions::new(vec![vec![0.9, 0.1], vec![0.1, 0.9]]).unwrap(),
            GaussianDiag::new(vec![vec![offset], vec![offset + 3.0]], vec![vec![1.0]; 2]).unwrap(),
        )
        .unwrap();
        BaumWelch::new().max_iters(20).fit(&mut model, &[Rows::new(data, 1).unwrap()]).unwrap();
        model.emission().variances().to_vec()
    };
    assert!(difference(&fit(&near, 0.0), &fit(&far, 1e8)) < 1e-6);
}
