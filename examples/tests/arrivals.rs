//! The embedded arrival model, alone and against the traces that it was fitted to.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::path::PathBuf;

use hanzo::hmm::{BaumWelch, Rows};
use hanzo_examples::arrivals::{Arrivals, ArrivalsError, FEATURES, features, stationary};
use hanzo_examples::trace::{Request, Trace};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

/// Requests of a run.
const N: usize = 20_000;
/// Runs that are averaged: in one the chain changes between code and conversation only a few times.
const RUNS: u64 = 16;

#[test]
fn the_embedded_file_is_what_it_writes() {
    let arrivals = Arrivals::embedded().unwrap();
    assert_eq!(arrivals.to_json().unwrap(), include_str!("../arrivals.json"));
    assert_eq!(arrivals.traces().iter().map(|trace| trace.requests).collect::<Vec<_>>(), [8_819, 19_366]);
    for part in ["AzurePublicDataset", "Patel et al.", "CC-BY 4.0"] {
        assert_eq!(arrivals.source().matches(part).count(), 1, "{part}");
    }
    assert!(arrivals.command().ends_with("azure_llm_2023_code.csv.gz azure_llm_2023_conv.csv.gz"));
    assert!(!arrivals.command().contains('/'));
}

#[test]
fn requests_are_ordered_bounded_and_repeat_with_the_seed() {
    let arrivals = Arrivals::embedded().unwrap();
    let (limits, requests) = (arrivals.limits(), arrivals.generate(N, 1));
    assert_eq!((requests.len(), requests[0].at_ms), (N, 0));
    assert!(requests.is_sorted_by_key(|request| request.at_ms));
    assert!(requests.iter().all(|r| (1..=limits.tokens_in).contains(&r.tokens_in)));
    assert!(requests.iter().all(|r| (1..=limits.tokens_out).contains(&r.tokens_out)));
    assert!(requests.windows(2).all(|pair| pair[1].at_ms - pair[0].at_ms <= limits.gap_ms));
    assert_eq!(requests, arrivals.generate(N, 1));
    assert_ne!(requests, arrivals.generate(N, 2));
    // A shorter run is the start of a longer one.
    assert_eq!(arrivals.generate(100, 1), requests[..100]);
    assert!(arrivals.generate(0, 1).is_empty());
}

/// The mean of `n` steps of a stationary chain has variance (c_0 + 2 sum (1 - k/n) c_k) / n with the autocovariances c_k.
#[test]
fn generated_features_have_the_means_of_the_model() {
    let arrivals = Arrivals::embedded().unwrap();
    let model = arrivals.model();
    let (share, states) = (stationary(model), model.n_states());
    let mut rng = ChaCha8Rng::seed_from_u64(4);
    let data: Vec<f64> = (0..RUNS).flat_map(|seed| features(&arrivals.generate(N, seed), &mut rng)).collect();
    for d in 0..FEATURES.len() {
        let of = |table: &[f64]| -> Vec<f64> { (0..states).map(|i| table[i * FEATURES.len() + d]).collect() };
        let (means, variances) = (of(model.emission().means()), of(model.emission().variances()));
        let mean: f64 = share.iter().zip(&means).map(|(p, m)| p * m).sum();
        let centred: Vec<f64> = means.iter().map(|m| m - mean).collect();
        let mut sum: f64 = share.iter().zip(&centred).zip(&variances).map(|((p, c), v)| p * (c * c + v)).sum();
        // Expected deviation k steps on, from each state.
        let mut ahead = centred.clone();
        for k in 1..N {
            let next = (0..states).map(|i| model.transitions().row(i).iter().zip(&ahead).map(|(q, a)| q * a).sum());
            ahead = next.collect();
            let covariance: f64 = share.iter().zip(&centred).zip(&ahead).map(|((p, c), a)| p * c * a).sum();
            sum += 2.0 * (1.0 - k as f64 / N as f64) * covariance;
        }
        // Four standard deviations; 0.03 for draws below 0 or above a limit.
        let tolerance = 4.0 * (sum / (N as f64 * RUNS as f64)).sqrt() + 0.03;
        let column: Vec<f64> = data.iter().skip(d).step_by(FEATURES.len()).copied().filter(|x| !x.is_nan()).collect();
        let found = column.iter().sum::<f64>() / column.len() as f64;
        println!("{}: {found:.4} generated, {mean:.4} expected, within {tolerance:.4}", FEATURES[d]);
        assert!((found - mean).abs() < tolerance, "{}: {found} against {mean}", FEATURES[d]);
    }
}

#[test]
fn bad_files_are_refused() {
    let good = include_str!("../arrivals.json");
    let refused = |from: &str, to: &str| {
        assert!(good.contains(from), "{from}");
        let error = Arrivals::from_json(&good.replacen(from, to, 1)).unwrap_err();
        assert!(!error.to_string().contains('\n'));
        error
    };
    assert!(matches!(Arrivals::from_json(""), Err(ArrivalsError::Json { line: 1, column: 0, .. })));
    assert!(matches!(Arrivals::from_json(&good[..good.len() / 2]), Err(ArrivalsError::Json { .. })));
    assert!(matches!(refused("\"limits\"", "\"limit\""), ArrivalsError::Json { .. }));
    assert!(matches!(refused("\"free\": [", "\"free\": [1.5, "), ArrivalsError::Json { .. }));
    assert!(matches!(refused("\"gap_ms\": ", "\"gap_ms\": -"), ArrivalsError::Json { .. }));
    assert_eq!(refused("gap_ms + u", "gap_s + u"), ArrivalsError::Features);
    let tokens_out = format!("\"tokens_out\": {}", Arrivals::embedded().unwrap().limits().tokens_out);
    assert_eq!(refused(&tokens_out, "\"tokens_out\": 0"), ArrivalsError::Limit { what: "tokens_out" });

    let mut flat: serde_json::Value = serde_json::from_str(good).unwrap();
    flat["model"] = serde_json::json!({
        "initial": { "free": [1.0] }, "transitions": [[1.0]], "emission": { "means": [[0.0]], "variances": [[1.0]] },
    });
    assert_eq!(Arrivals::from_json(&flat.to_string()), Err(ArrivalsError::Coordinates { found: 1 }));
}

#[test]
fn generated_quantiles_are_those_of_the_traces() {
    let Some(traces) = azure() else { return };
    let arrivals = Arrivals::embedded().unwrap();
    let generated = columns(&(0..RUNS).map(|seed| arrivals.generate(N, seed)).collect::<Vec<_>>());
    let real = columns(&traces);
    for ((name, generated), real) in ["gap", "tokens in", "tokens out"].iter().zip(generated).zip(real) {
        for percent in [25, 50, 75, 90] {
            let at = |column: &[u64]| column[column.len() * percent / 100] as f64;
            let (found, expected) = (at(&generated), at(&real));
            println!("{name}, {percent} %: {found} generated, {expected} in the traces");
            // Regimes are log-normal pieces, not the distribution itself: a factor of 2 is what a load model needs.
            assert!(found <= 2.0 * expected && expected <= 2.0 * found, "{name} at {percent} %");
        }
        let mean = |column: &[u64]| column.iter().sum::<u64>() as f64 / column.len() as f64;
        println!("{name}, mean: {:.0} generated, {:.0} in the traces", mean(&generated), mean(&real));
    }
}

#[test]
fn training_on_from_the_embedded_model_does_not_lower_the_likelihood() {
    let Some(traces) = azure() else { return };
    let mut model = Arrivals::embedded().unwrap().model().clone();
    let mut rng = ChaCha8Rng::seed_from_u64(6);
    let data: Vec<Vec<f64>> = traces.iter().map(|trace| features(trace, &mut rng)).collect();
    let sequences: Vec<Rows<'_>> = data.iter().map(|data| Rows::new(data, 3).unwrap().with_missing()).collect();
    let fit = BaumWelch::new().max_iters(3).tolerance(0.0).fit(&mut model, &sequences).unwrap();
    // Three values, each before its step.
    assert!(fit.log_likelihoods.is_sorted(), "{:?}", fit.log_likelihoods);
    assert!(!fit.floored);
}

/// The two traces, or a line that says why not.
fn azure() -> Option<Vec<Vec<Request>>> {
    let names = ["azure_llm_2023_code.csv.gz", "azure_llm_2023_conv.csv.gz"];
    let Some(root) = std::env::var_os("HANZO_TEST_DATA").map(PathBuf::from) else {
        eprintln!(
            "skipped: market/{} and {}; set HANZO_TEST_DATA to the folder of the SDK's test data \
             (published at github.com/Azure/AzurePublicDataset, data/AzureLLMInferenceTrace_{{code,conv}}.csv)",
            names[0], names[1]
        );
        return None;
    };
    let read = |name| Trace::read(&root.join("market").join(name)).unwrap().requests().to_vec();
    Some(names.map(read).to_vec())
}

/// Gaps, tokens in and tokens out of all traces, each sorted.
fn columns(traces: &[Vec<Request>]) -> [Vec<u64>; 3] {
    let gaps = traces.iter().flat_map(|trace| trace.windows(2).map(|pair| pair[1].at_ms - pair[0].at_ms)).collect();
    let tokens_in = traces.iter().flatten().map(|request| request.tokens_in.into()).collect();
    let tokens_out = traces.iter().flatten().map(|request| request.tokens_out.into()).collect();
    let mut columns: [Vec<u64>; 3] = [gaps, tokens_in, tokens_out];
    columns.iter_mut().for_each(|column| column.sort_unstable());
    columns
}
