//! Comparators: the shared vectors, the measured noise of honest runs, and claims that must never match.

use crate::support::common;

use std::collections::BTreeMap;

use crate::support::common::{data, hash, json, number};
use hanzo_poai::*;
use proptest::prelude::*;
use serde_json::Value;

fn rows(value: &Value) -> &[Value] {
    value.as_array().unwrap()
}

fn f32s(value: &Value) -> Vec<f32> {
    rows(value).iter().map(|x| number::<f64>(x) as f32).collect()
}

fn near(got: f64, want: f64, tolerance: f64) {
    assert!((got - want).abs() <= tolerance, "{got} is not {want}");
}

fn sampler(seed: &Seed, temperature_q16: u32, top_k: u32) -> GumbelSampler {
    let spec = JobSpec::builder(ModelHash::new([1; 32]), [2; 32])
        .sampler(TokenSampler::GumbelV1)
        .temperature_q16(temperature_q16)
        .top_k(top_k)
        .build()
        .unwrap();
    GumbelSampler::new(&spec, seed)
}

#[test]
fn gumbel_words_and_noise() {
    let Some(json) = json("computed/comparators.json") else { return };
    for case in rows(&json["gumbel"]) {
        let sampler = sampler(&hash(&case["seed"]), 1 << 16, 0);
        let position = number(&case["position"]);
        for draw in rows(&case["draws"]) {
            let token = number(&draw["token"]);
            assert_eq!(sampler.word(position, token), number::<u64>(&draw["word"]));
            near(sampler.noise(position, token), number(&draw["gumbel"]), 1e-12);
        }
    }
}

#[test]
fn margins() {
    let Some(json) = json("computed/comparators.json") else { return };
    assert_eq!(rows(&json["margin"]).len(), 2);
    for case in rows(&json["margin"]) {
        let (position, logits) = (number(&case["position"]), f32s(&case["logits"]));
        let (argmax, claimed): (u32, u32) = (number(&case["argmax"]), number(&case["claimed"]));
        let sampler = sampler(&hash(&case["seed"]), number(&case["temperature_q16"]), 0);
        assert_eq!(sampler.sample(position, &logits), Ok(argmax));
        assert_eq!(sampler.margin(position, &logits, argmax), Ok(0.0));
        near(sampler.margin(position, &logits, claimed).unwrap(), number(&case["margin"]), 1e-9);
        let margin = Margin::new(sampler).first_position(position).least_tokens(1);
        let reference = Observation::Logits(Logits::new(&logits, logits.len()).unwrap());
        let score = margin.compare(&reference, &Observation::Tokens(&[claimed])).unwrap();
        near(score.value(), number(&case["margin"]), 1e-9);
        assert_eq!((score.violations(), score.first()), (1, Some(0)));
    }
}

#[test]
fn divergences() {
    let Some(json) = json("computed/comparators.json") else { return };
    for case in rows(&json["kl"]) {
        let (reference, claimed) = (f32s(&case["reference"]), f32s(&case["claimed"]));
        let [a, b] = [&reference, &claimed].map(|row| Logits::new(row, row.len()).unwrap());
        let kl = Kl::new().least_tokens(1);
        let full = kl.compare(&Observation::Logits(a), &Observation::Logits(b)).unwrap();
        near(full.value(), number(&case["kl_nats"]), 1e-9);
        let top = TopK::from_logits(&b, number(&case["top_k"])).unwrap();
        let listed: Vec<u32> = top.rows().next().unwrap().iter().map(|(token, _)| *token).collect();
        let want: Vec<u32> = rows(&case["top_k_tokens"]).iter().map(number).collect();
        assert_eq!(listed, want);
        // The list travels as f32, so 1e-7 instead of 1e-9.
        let lumped = kl.compare(&Observation::Logits(a), &Observation::TopK(&top)).unwrap();
        near(lumped.value(), number(&case["kl_top_k_lumped"]), 1e-7);
        assert_eq!(TopK::decode(&top.encode()).unwrap(), top);
    }
}

#[test]
fn projections() {
    let Some(json) = json("computed/comparators.json") else { return };
    assert_eq!(rows(&json["projection"]).len(), 2);
    for case in rows(&json["projection"]) {
        let (x, window): (_, u32) = (f32s(&case["x"]), number(&case["window"]));
        // Windows before it hold zeros.
        let mut hidden = vec![0.0; window as usize * x.len()];
        hidden.extend(&x);
        let print = Fingerprint::new(&hash(&case["seed"]), &hidden, x.len()).unwrap();
        let got = print.projections(window as usize).unwrap();
        for (got, want) in got.iter().zip(rows(&case["exact_projection"])) {
            // Kept as f16: half a unit of its last place, and 1e-5 for the sum.
            let want: f64 = number(want);
            near(f64::from(*got), want, want.abs() / 2_048.0 + 1e-5);
        }
    }
}

/// By variant: honest or cheat, and the KL and margin of each response.
type Variants = BTreeMap<String, (String, Vec<[f64; 2]>)>;

/// Scores of 24 variants of a small transformer, 128 responses of 64 tokens each.
fn responses() -> Option<Variants> {
    let text = data("nondeterminism_per_response.csv")?;
    let mut variants = Variants::new();
    for line in text.lines().skip(1) {
        let cells: Vec<&str> = line.split(',').collect();
        let scores = [cells[4].parse().unwrap(), cells[6].parse().unwrap()];
        variants.entry(cells[0].into()).or_insert_with(|| (cells[1].into(), Vec::new())).1.push(scores);
    }
    Some(variants)
}

#[test]
fn bf16_thresholds_on_measured_runs() {
    let Some(variants) = responses() else { return };
    let scores = |name: &str, column: usize| -> Vec<f64> { variants[name].1.iter().map(|row| row[column]).collect() };
    let honest = |column| {
        ["bf16 batch1", "bf16 batch7", "bf16 splitK32", "bf16 splitK48 rev"].map(|name| scores(name, column)).concat()
    };
    let low = Environment { dtype: DType::Bf16, ..common::reproducible() };
    let low = Environment { batch_invariant: false, ..low };
    let kl = DefaultComparator::new(&low).unwrap().thresholds();
    let judge = |thresholds: Thresholds, score: f64| {
        let judged = thresholds.judge(Score::new(score)).unwrap();
        (judged.decision == Decision::Mismatch, judged.suspect)
    };
    // No honest response is even flagged; int6 and worse are all flagged; int4 and worse are all mismatches.
    assert!(honest(0).iter().all(|score| judge(kl, *score) == (false, false)));
    assert!(scores("int6 g32 bf16", 0).iter().all(|score| judge(kl, *score) == (false, true)));
    for name in ["int4 g32 bf16", "int3 g32 bf16", "early ckpt bf16", "drop last layer bf16"] {
        assert!(scores(name, 0).iter().all(|score| judge(kl, *score).0), "{name}");
        assert_eq!(Curve::new(&honest(0), &scores(name, 0)).unwrap().auc(), 1.0);
    }
    // What cannot be told apart: int8 weights under bf16.
    let int8 = Curve::new(
        &[scores("bf16 splitK32", 0), scores("bf16 splitK48 rev", 0)].concat(),
        &scores("int8 perrow bf16", 0),
    );
    let int8 = int8.unwrap();
    assert!((0.4..0.7).contains(&int8.auc()), "AUC {}", int8.auc());
    assert_eq!(int8.at(3e-4).detections, 0);

    // Tokens only: int4 is seen more often than not, and not always.
    let spec = JobSpec::builder(ModelHash::new([1; 32]), [2; 32]).build().unwrap();
    let margin = DefaultComparator::tokens(&low, &spec, &JobId::new([1; 32]).seed()).unwrap().thresholds();
    assert!(honest(1).iter().all(|score| judge(margin, *score) == (false, false)));
    let seen = scores("int4 g32 bf16", 1).iter().filter(|score| judge(margin, **score).0).count();
    assert_eq!((seen * 100).div_ceil(128), 69 + usize::from(seen * 100 % 128 != 0 && seen * 100 / 128 == 69));
    let disturbed = [scores("bf16 splitK32", 1), scores("bf16 splitK48 rev", 1)].concat();
    near(Curve::new(&disturbed, &scores("int4 g32 bf16", 1)).unwrap().auc(), 0.977, 0.02);
}

#[test]
fn f32_thresholds_on_measured_runs() {
    let Some(variants) = responses() else { return };
    let plain = Environment { dtype: DType::F32, batch_invariant: false, ..common::reproducible() };
    let thresholds = DefaultComparator::logits(&plain).unwrap().thresholds();
    for (name, (kind, scores)) in variants.iter().filter(|(name, _)| !name.contains("bf16") && !name.contains("f16")) {
        for [kl, _] in scores {
            let decision = thresholds.judge(Score::new(*kl)).unwrap().decision;
            let want = if kind == "honest" { Decision::Match } else { Decision::Mismatch };
            assert_eq!(decision, want, "{name}");
        }
    }
}

#[test]
fn toploc_proofs_parse() {
    let Some(json) = json("toploc_readme_vectors.json") else { return };
    // Big-endian u16: the modulus, then the coefficients. Parsing is all that is checked: the inputs that made
    // these proofs are not public.
    for case in rows(&json) {
        let text = case["proof_b64"].as_str().unwrap();
        let bytes = base64(text);
        let words: Vec<u64> = bytes.chunks(2).map(|pair| u64::from(pair[0]) << 8 | u64::from(pair[1])).collect();
        assert_eq!(words[0], number::<u64>(&case["modulus"]));
        let coefficients: Vec<u64> = rows(&case["coeffs"]).iter().map(number).collect();
        assert_eq!(words[1..], coefficients);
    }
}

fn base64(text: &str) -> Vec<u8> {
    const ALPHABET: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut out = Vec::new();
    for group in text.as_bytes().chunks(4) {
        let known: Vec<usize> = group.iter().filter_map(|c| ALPHABET.iter().position(|a| a == c)).collect();
        let bits = known.iter().fold(0usize, |bits, six| bits << 6 | six) << (6 * (4 - known.len()));
        out.extend(&(bits as u32).to_be_bytes()[1..known.len()]);
    }
    out
}

#[test]
fn too_little_and_ill_formed_claims() {
    let values = vec![0.5f32; 31 * 4];
    let logits = Logits::new(&values, 4).unwrap();
    let reference = Observation::Logits(logits);
    assert_eq!(Kl::new().compare(&reference, &reference), Err(Error::TooFewTokens { need: 32, got: 31 }));
    let margin = Margin::new(sampler(&JobId::new([1; 32]).seed(), 1 << 16, 0));
    let tokens = [0u32; 31];
    let few = Err(Error::TooFewTokens { need: 64, got: 31 });
    assert_eq!(margin.compare(&reference, &Observation::Tokens(&tokens)), few);
    // Too few tokens give no verdict; ill-formed ones a mismatch.
    let thresholds = Thresholds::new(1e-3, 1e-3).unwrap();
    assert!(thresholds.judge(few).is_err());
    let shape = |compared| {
        matches!(thresholds.judge(compared), Ok(Judgement { decision: Decision::Mismatch, cause: Some(_), .. }))
    };
    assert!(shape(margin.compare(&reference, &Observation::Tokens(&tokens[1..]))));
    assert!(shape(margin.compare(&Observation::Tokens(&tokens), &reference)));
    let alien = [9u32; 31];
    assert!(shape(margin.clone().least_tokens(1).compare(&reference, &Observation::Tokens(&alien))));
    assert!(shape(Kl::new().compare(&reference, &Observation::Tokens(&tokens))));
    let other = Logits::new(&values, 2).unwrap();
    assert!(shape(Kl::new().compare(&reference, &Observation::Logits(other))));
    let mut nan = values.clone();
    nan[7] = f32::NAN;
    let nan = Logits::new(&nan, 4).unwrap();
    assert!(shape(Kl::new().least_tokens(1).compare(&reference, &Observation::Logits(nan))));
    let print = Fingerprint::new(&JobId::new([1; 32]).seed(), &values, 4).unwrap();
    assert!(shape(FingerprintDistance.compare(&Observation::Fingerprint(&print), &reference)));
    assert!(Logits::new(&values, 0).is_err() && Logits::new(&values, 5).is_err());
    // A list of tokens that is no list of tokens.
    let good = TopK::from_logits(&logits, 2).unwrap().encode();
    let with = |at: usize, byte: u8| {
        let mut bytes = good.clone();
        bytes[at] = byte;
        TopK::decode(&bytes)
    };
    assert_eq!(with(1, 0), Err(Error::InvalidField("k")));
    assert_eq!(with(13, 0), Err(Error::Duplicate("token")));
    assert_eq!(with(6, 0x40), Err(Error::InvalidField("log-probability")));
    assert_eq!(with(6, 0x7f), Err(Error::NonFinite));
    assert!(TopK::decode(&good[..good.len() - 1]).is_err() && TopK::decode(&[]).is_err());
    assert!(TopK::from_logits(&logits, 5).is_err());
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn scores_are_distances(rows in proptest::collection::vec(proptest::collection::vec(-30.0f32..30.0, 5), 1..6), at in any::<u32>()) {
        let flat: Vec<f32> = rows.concat();
        let logits = Logits::new(&flat, 5).unwrap();
        let kl = Kl::new().least_tokens(1);
        let same = kl.compare(&Observation::Logits(logits), &Observation::Logits(logits)).unwrap();
        prop_assert_eq!(same.value(), 0.0);
        let shifted: Vec<f32> = flat.iter().rev().copied().collect();
        let other = Observation::Logits(Logits::new(&shifted, 5).unwrap());
        prop_assert!(kl.compare(&Observation::Logits(logits), &other).unwrap().value() >= 0.0);
        for top_k in [0, 3] {
            let sampler = sampler(&JobId::new([4; 32]).seed(), 1 << 15, top_k);
            for row in &rows {
                let token = sampler.sample(at, row).unwrap();
                prop_assert_eq!(sampler.margin(at, row, token), Ok(0.0));
                for claimed in 0..5 {
                    prop_assert!(sampler.margin(at, row, claimed).unwrap() >= 0.0);
                }
            }
        }
    }

    #[test]
    fn evidence_decoders_take_any_bytes(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        if let Ok(top) = TopK::decode(&bytes) {
            prop_assert_eq!(top.encode(), bytes.clone());
        }
        if let Ok(print) = Fingerprint::decode(&bytes) {
            prop_assert_eq!(print.encode(), bytes);
        }
    }
}
