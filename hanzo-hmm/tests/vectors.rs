//! Published and shared test vectors. `SOURCE.md` beside the data says where each file comes from.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use hanzo_hmm::{
    BaumWelch, Categorical, Emission, GaussianDiag, Hmm, Initial, Kernel, Observations, Path, Posterior, Rows,
    Transitions, VarianceFloor, Workspace,
};
use serde_json::Value;

#[path = "support/data.rs"]
mod data;
#[path = "support/reference.rs"]
mod reference;

use data::{difference, flat, floats, load, matrix, number, relative, usizes};
use reference::{check_reference, parameters, split};

fn categorical(parameters: &Value) -> Hmm<Categorical> {
    Hmm::new(
        Initial::Free(floats(&parameters["startprob"])),
        Transitions::new(matrix(&parameters["transmat"])).unwrap(),
        Categorical::new(matrix(&parameters["emissionprob"])).unwrap(),
    )
    .unwrap()
}

fn gaussian(parameters: &Value) -> Hmm<GaussianDiag> {
    Hmm::new(
        Initial::Free(floats(&parameters["startprob"])),
        Transitions::new(matrix(&parameters["transmat"])).unwrap(),
        GaussianDiag::new(matrix(&parameters["means"]), matrix(&parameters["covars"])).unwrap(),
    )
    .unwrap()
}

#[test]
fn reference_categorical() {
    for name in [
        "01_cat_seed_dice_T5",
        "02_cat_S3_M4_T1",
        "03_cat_S4_M16_T1000",
        "04_cat_leftright_zero_S8_M10_T500",
        "05_cat_sparse_S16_M64_T2000",
        "06_cat_S3_M4_T50000",
        "07_cat_multiseq_zeroemit_S4_M8",
        "14_cat_S64_M32_T300",
    ] {
        let Some(case) = load(&format!("hmm/reference/{name}.json")) else { return };
        let model = categorical(&case["initial"]);
        let symbols = usizes(&case["observations"]);
        check_reference(
            &case,
            &model,
            &split(&symbols, &case, 1),
            Default::default,
            |model| model.emission().probabilities().to_vec(),
            |file| flat(&file["emissionprob"]),
        );
    }
}

#[test]
fn reference_gaussian_diagonal() {
    for name in ["08_gauss_diag_S2_D1_T300", "09_gauss_diag_S4_D4_T2000", "12_gauss_diag_S2_D1_T50000"] {
        let Some(case) = load(&format!("hmm/reference/{name}.json")) else { return };
        let model = gaussian(&case["initial"]);
        let dim = model.emission().dim();
        let data = flat(&case["observations"]);
        let sequences: Vec<Rows<'_>> =
            split(&data, &case, dim).into_iter().map(|rows| Rows::new(rows, dim).unwrap()).collect();
        check_reference(
            &case,
            &model,
            &sequences,
            || VarianceFloor::new(0.0, 0.0).unwrap(),
            |model| [model.emission().means(), model.emission().variances()].concat(),
            |file| [flat(&file["means"]), flat(&file["covars"])].concat(),
        );
    }
}

/// A sequence with missing steps, from numbers and nulls.
fn optional(value: &Value) -> Vec<Option<usize>> {
    value.as_array().unwrap().iter().map(|v| v.as_u64().map(|k| k as usize)).collect()
}

/// Expected transitions of one sequence, through one step of training that keeps everything but the transitions.
fn trained_transitions<Q: Observations<usize>>(model: &Hmm<Categorical>, sequence: Q) -> Vec<f64> {
    let mut trained = model.clone();
    BaumWelch::new().max_iters(1).fit(&mut trained, &[sequence]).unwrap();
    trained.transitions().probabilities().to_vec()
}

/// Rows normalised by their sums; rows without mass from `old`.
fn normalised(counts: &[f64], old: &[f64], n: usize) -> Vec<f64> {
    let rows = counts.chunks_exact(n).zip(old.chunks_exact(n));
    rows.flat_map(|(row, old)| {
        let sum: f64 = row.iter().sum();
        if sum > 0.0 { row.iter().map(|x| x / sum).collect() } else { old.to_vec() }
    })
    .collect()
}

#[test]
fn exact_enumeration() {
    for name in ["20_exact_S3_M4_T6", "21_exact_zeros_S3_M5_T6"] {
        let Some(case) = load(&format!("hmm/exact/{name}.json")) else { return };
        let model = categorical(&case["initial"]);
        let n = model.n_states();
        let symbols = usizes(&case["observations"]);
        for kernel in [Kernel::Auto, Kernel::Log] {
            let mut workspace = Workspace::with_kernel(kernel);
            let ll = model.log_likelihood_with(&mut workspace, &symbols).unwrap();
            assert!(relative(ll, number(&case["log_likelihood"])) < 1e-14, "{name} {kernel:?}");
            assert!(relative(ll.exp(), number(&case["probability"])) < 1e-13);
            let mut posterior = Posterior::default();
            model.posterior_with(&mut workspace, &symbols, &mut posterior).unwrap();
            assert!(difference(posterior.gamma.as_slice(), &flat(&case["posterior"])) < 1e-14, "{name} {kernel:?}");
        }
        let counts = normalised(&flat(&case["expected_transitions"]), model.transitions().probabilities(), n);
        assert!(difference(&trained_transitions(&model, &symbols), &counts) < 1e-14);
        let predictive = model.log_predictive(&symbols).unwrap();
        assert!(difference(&predictive, &floats(&case["log_predictive"])) < 1e-14);

        let mut filter = model.filter();
        for (&symbol, row) in symbols.iter().zip(flat(&case["filtered"]).chunks_exact(n)) {
            model.update(&mut filter, Some(symbol)).unwrap();
            assert!(difference(filter.belief(), row) < 1e-14, "{name} filter");
        }
        for ahead in case["ahead"].as_array().unwrap() {
            let steps = ahead["h"].as_u64().unwrap() as usize;
            assert!(difference(&model.predict(&filter, steps).unwrap(), &floats(&ahead["state"])) < 1e-14);
            assert!(difference(&model.predict_symbols(&filter, steps).unwrap(), &floats(&ahead["symbol"])) < 1e-14);
        }
        let best = &case["k_best"][0];
        let path = model.viterbi(&symbols).unwrap();
        assert_eq!(path.states, usizes(&best["path"]));
        assert!(relative(path.log_prob, number(&best["log_prob"])) < 1e-14);

        let missing = &case["missing"];
        let gaps = optional(&missing["observations"]);
        assert!(gaps.contains(&None));
        assert!(relative(model.log_likelihood(&gaps).unwrap(), number(&missing["log_likelihood"])) < 1e-14);
        let posterior = model.posterior(&gaps).unwrap();
        assert!(difference(posterior.gamma.as_slice(), &flat(&missing["posterior"])) < 1e-14);
        let counts = normalised(&flat(&missing["expected_transitions"]), model.transitions().probabilities(), n);
        assert!(difference(&trained_transitions(&model, &gaps), &counts) < 1e-14);
        let path = model.viterbi(&gaps).unwrap();
        assert_eq!(path.states, usizes(&missing["viterbi"]));
        assert!(relative(path.log_prob, number(&missing["viterbi_log_prob"])) < 1e-14);
    }
}

fn check_range<'a, E: Emission, Q: Observations<E::Obs<'a>> + Copy>(case: &Value, model: &Hmm<E>, sequence: Q) {
    let what = case["what"].as_str().unwrap();
    let expected = number(&case["log_likelihood_40digits"]);
    let ll = model.log_likelihood(sequence).unwrap();
    assert!(relative(ll, expected) < 1e-13, "{what}: {ll} {expected}");
    let posterior = model.posterior(sequence).unwrap();
    assert!(relative(posterior.log_likelihood, expected) < 1e-13, "{what}");
    // The file's own posteriors carry the rounding of logs of this size.
    let tolerance = 1e-15 * expected.abs().max(1e4);
    assert!(difference(posterior.gamma.as_slice(), &flat(&case["posterior"])) < tolerance, "{what}");
    for row in posterior.gamma.steps() {
        assert!((row.iter().sum::<f64>() - 1.0).abs() < 1e-12, "{what}");
    }
    let path: Path = model.viterbi(sequence).unwrap();
    assert!(relative(path.log_prob, number(&case["viterbi_score"])) < 1e-12, "{what}");
    assert_eq!(path.states, usizes(&case["viterbi_path"]), "{what}");
    let predictive: f64 = model.log_predictive(sequence).unwrap().iter().sum();
    assert!(relative(predictive, expected) < 1e-12, "{what}: filter {predictive}");
}

#[test]
fn exact_dynamic_range() {
    let Some(file) = load("hmm/exact/22_dynamic_range.json") else { return };
    let cases = file["cases"].as_array().unwrap();
    assert_eq!(cases.len(), 6);
    for case in cases {
        if case["emission"] == "categorical" {
            let symbols = usizes(&case["observations"]);
            check_range(case, &categorical(&case["initial"]), symbols.as_slice());
        } else {
            let data = floats(&case["observations"]);
            check_range(case, &gaussian(&case["initial"]), Rows::new(&data, 1).unwrap());
        }
    }
}

#[test]
fn public_textbook() {
    let Some(file) = load("hmm/public/textbook.json") else { return };
    let cases = file["cases"].as_array().unwrap();
    assert_eq!(cases.len(), 5);
    for case in cases {
        let model = categorical(case);
        let symbols = usizes(&case["observations"]);
        let ll = model.log_likelihood(&symbols).unwrap();
        assert!(relative(ll, number(&case["log_likelihood_40digits"])) < 1e-14, "{}", case["name"]);
        assert!(relative(ll.exp(), number(&case["probability"])) < 1e-12);
        let path = model.viterbi(&symbols).unwrap();
        assert_eq!(path.states, usizes(&case["viterbi_path"]));
        assert!(relative(path.log_prob.exp(), number(&case["viterbi_probability"])) < 1e-12);
        let posterior = model.posterior(&symbols).unwrap();
        assert!(difference(posterior.gamma.as_slice(), &flat(&case["posterior"])) < 1e-12);
        let mut filter = model.filter();
        for (&symbol, row) in symbols.iter().zip(flat(&case["filtered"]).chunks_exact(model.n_states())) {
            model.update(&mut filter, Some(symbol)).unwrap();
            assert!(difference(filter.belief(), row) < 1e-12);
        }
    }
}

/// Figures as printed in the literature, without any file.
#[test]
fn published_figures() {
    let model = |initial: [f64; 2], rows: [[f64; 2]; 2], emissions: [&[f64]; 2]| {
        Hmm::new(
            Initial::Free(initial.to_vec()),
            Transitions::new(rows.iter().map(|row| row.to_vec()).collect()).unwrap(),
            Categorical::new(emissions.iter().map(|row| row.to_vec()).collect()).unwrap(),
        )
        .unwrap()
    };
    // Fever: P = 0.03628, best path healthy, healthy, fever with 0.01512.
    let fever = model([0.6, 0.4], [[0.7, 0.3], [0.4, 0.6]], [&[0.5, 0.4, 0.1], &[0.1, 0.3, 0.6]]);
    assert!((fever.log_likelihood([0, 1, 2]).unwrap().exp() - 0.03628).abs() < 1e-15);
    let path = fever.viterbi([0, 1, 2]).unwrap();
    assert_eq!(path.states, [0, 0, 1]);
    assert!((path.log_prob.exp() - 0.01512).abs() < 1e-15);
    // Umbrella world (Russell and Norvig): smoothed probabilities of rain.
    let umbrella = model([0.5, 0.5], [[0.7, 0.3], [0.3, 0.7]], [&[0.9, 0.1], &[0.2, 0.8]]);
    let posterior = umbrella.posterior([0, 0, 1, 0, 0]).unwrap();
    for (t, rain) in [0.8673, 0.8204, 0.3075, 0.8204, 0.8673].into_iter().enumerate() {
        assert!((posterior.gamma[(0, t)] - rain).abs() < 5e-5);
    }
    // CpG-like DNA model (Borodovsky and Ekisheva 2006, p. 80): GGCACTGAA.
    let dna = model([0.5, 0.5], [[0.5, 0.5], [0.4, 0.6]], [&[0.2, 0.3, 0.3, 0.2], &[0.3, 0.2, 0.2, 0.3]]);
    let path = dna.viterbi([2, 2, 1, 0, 1, 3, 2, 0, 0]).unwrap();
    assert_eq!(path.states, [0, 0, 0, 1, 1, 1, 1, 1, 1]);
    assert!((path.log_prob / std::f64::consts::LN_2 + 24.487).abs() < 5e-4);
    assert!((dna.log_likelihood([2, 2, 1, 0]).unwrap().exp() - 0.003_843_15).abs() < 1e-12);
}

/// Eisner's diary with an absorbing END state: ten iterations, and END's own row stays as it is.
#[test]
fn public_ice_cream_diary() {
    let Some(file) = load("hmm/public/ice_cream_diary.json") else { return };
    let sequences = [usizes(&file["observations"])];
    let iterations = file["iterations"].as_array().unwrap();
    assert_eq!(iterations.len(), 11);
    let start = categorical(&iterations[0]);
    for (k, expected) in iterations.iter().enumerate() {
        let mut model = start.clone();
        let fit = BaumWelch::new().max_iters(k).tolerance(0.0).fit(&mut model, &sequences).unwrap();
        assert_eq!(fit.iterations, k);
        let wanted =
            [floats(&expected["startprob"]), flat(&expected["transmat"]), flat(&expected["emissionprob"])].concat();
        let own = parameters(&model, model.emission().probabilities());
        assert!(difference(&own, &wanted) < 1e-9, "iteration {k}: {}", difference(&own, &wanted));
        assert_eq!(model.transitions().row(2), [0.0, 0.0, 1.0]);
        let ll = model.log_likelihood(&sequences[0]).unwrap();
        assert!(relative(ll, number(&expected["log_likelihood"])) < 1e-10);
        let perplexity = (-ll / sequences[0].len() as f64).exp();
        assert!(relative(perplexity, number(&expected["perplexity_per_symbol"])) < 1e-10);
        let posterior = model.posterior(&sequences[0]).unwrap();
        let hot: Vec<f64> = (0..33).map(|t| posterior.gamma[(1, t)]).collect();
        assert!(difference(&hot, &floats(&expected["p_hot"])) < 1e-9);
        assert_eq!(model.viterbi(&sequences[0]).unwrap().states, usizes(&expected["viterbi_path"]));
    }
}
