//! Checks everything that a file of reference results states about a model.
#![allow(dead_code, reason = "each test file uses its part")]

use hanzo_hmm::{BaumWelch, Emission, Hmm, Kernel, Observations, Posterior, Workspace};
use serde_json::Value;

use super::data::{difference, flat, floats, mixed, number, relative, usizes};

pub(crate) fn parameters<E: Emission>(model: &Hmm<E>, emission: &[f64]) -> Vec<f64> {
    [model.initial_probabilities(), model.transitions().probabilities(), emission].concat()
}

/// Checks everything a reference file states; `emission` reads the emission parameters of a model, `expected` those of
/// a file.
pub(crate) fn check_reference<'a, E, Q>(
    case: &Value,
    model: &Hmm<E>,
    sequences: &[Q],
    prior: impl Fn() -> E::Prior,
    emission: impl Fn(&Hmm<E>) -> Vec<f64>,
    expected: impl Fn(&Value) -> Vec<f64>,
) where
    E: Emission + Clone,
    Q: Observations<E::Obs<'a>> + Clone,
{
    let name = case["name"].as_str().unwrap();
    let n = model.n_states();
    for kernel in [Kernel::Auto, Kernel::Log] {
        let mut workspace = Workspace::with_kernel(kernel);
        let lls: Vec<f64> =
            sequences.iter().map(|s| model.log_likelihood_with(&mut workspace, s.clone()).unwrap()).collect();
        // The log kernel's own rounding grows with the length (spec section 2).
        let tolerance = if kernel == Kernel::Auto { 1e-12 } else { 1e-11 };
        let total: f64 = lls.iter().sum();
        assert!(relative(total, number(&case["log_likelihood_40digits"])) < tolerance, "{name} {kernel:?} ll");
        for (ll, expected) in lls.iter().zip(floats(&case["log_likelihood_per_sequence"])) {
            assert!(relative(*ll, expected) < 1e-11, "{name} ll of a sequence");
        }

        let mut posterior = Posterior::default();
        let mut gamma = Vec::new();
        for (sequence, ll) in sequences.iter().zip(&lls) {
            model.posterior_with(&mut workspace, sequence.clone(), &mut posterior).unwrap();
            assert!(relative(posterior.log_likelihood, *ll) < 1e-12, "{name} ll of the posterior");
            gamma.extend_from_slice(posterior.gamma.as_slice());
        }
        let first = flat(&case["posterior_first_rows"]);
        let last = flat(&case["posterior_last_rows"]);
        assert!(difference(&gamma[..first.len()], &first) < 1e-9, "{name} first posteriors");
        assert!(difference(&gamma[gamma.len() - last.len()..], &last) < 1e-9, "{name} last posteriors");
        let mut sums = vec![0.0; n];
        let mut counts = vec![0; n];
        for row in gamma.chunks_exact(n) {
            let best = (0..n).rev().max_by(|&i, &j| row[i].total_cmp(&row[j])).unwrap();
            counts[best] += 1;
            sums.iter_mut().zip(row).for_each(|(sum, g)| *sum += g);
        }
        let steps = gamma.len() / n;
        assert!(difference(&sums, &floats(&case["posterior_column_sums"])) < 1e-9 * steps as f64, "{name} sums");
        assert_eq!(counts, usizes(&case["map_posterior_state_count"]), "{name} argmax counts");
    }

    for (i, sequence) in sequences.iter().enumerate() {
        let path = model.viterbi(sequence.clone()).unwrap();
        assert!(relative(path.log_prob, number(&case["viterbi_score"][i])) < 1e-12, "{name} viterbi score");
        assert_eq!(path.states, usizes(&case["viterbi_path"][i]), "{name} viterbi path");
    }

    for (iterations, key, tolerance) in [(1, "em1", 1e-9), (5, "em5", 1e-7)] {
        let mut trained = model.clone();
        let fit = BaumWelch::new()
            .max_iters(iterations)
            .tolerance(0.0)
            .emission_prior(prior())
            .fit(&mut trained, sequences)
            .unwrap();
        assert!(!fit.floored, "{name}: no floor is active");
        let own = parameters(&trained, &emission(&trained));
        let initial = floats(&case[key]["startprob"]);
        let wanted = [initial, flat(&case[key]["transmat"]), expected(&case[key])].concat();
        assert!(difference(&own, &wanted) < tolerance, "{name} {key}: {}", difference(&own, &wanted));
        let history = floats(&case["em_loglik_before_each_iteration"]);
        for (ll, expected) in fit.log_likelihoods.iter().zip(&history) {
            assert!(mixed(*ll, *expected) < 1e-9, "{name} {key} history");
        }
        if key == "em5" {
            let ll: f64 = sequences.iter().map(|s| trained.log_likelihood(s.clone()).unwrap()).sum();
            assert!(mixed(ll, number(&case["em5_log_likelihood"])) < 1e-7, "{name} ll after five");
        }
    }
}

/// Splits a concatenation by the lengths in the file.
pub(crate) fn split<'a, T>(values: &'a [T], case: &Value, width: usize) -> Vec<&'a [T]> {
    let mut rest = values;
    usizes(&case["lengths"])
        .into_iter()
        .map(|length| {
            let (head, tail) = rest.split_at(length * width);
            rest = tail;
            head
        })
        .collect()
}
