//! Expected free energy against an independent dense formula, term by term.
#![expect(clippy::unwrap_used, reason = "helpers of tests")]

use std::path::PathBuf;

use hanzo_hmm::Error;
use hanzo_hmm::market::{EfeWorkspace, Evaluation, Gain, GenerativeModel, Policies, SwitchCost};
use serde_json::Value;

fn flat(v: &Value) -> Vec<f64> {
    match v {
        Value::Array(items) => items.iter().flat_map(flat).collect(),
        _ => vec![v.as_f64().unwrap()],
    }
}

fn tables(v: &Value) -> Vec<Vec<f64>> {
    v.as_array().unwrap().iter().map(flat).collect()
}

fn cases() -> Option<Vec<Value>> {
    let Some(root) = std::env::var_os("HANZO_TEST_DATA") else {
        eprintln!("skipped: market/efe_cases.json; set HANZO_TEST_DATA to the folder of the SDK's test data");
        return None;
    };
    let bytes = std::fs::read(PathBuf::from(root).join("market/efe_cases.json")).unwrap();
    let all: Value = serde_json::from_slice(&bytes).unwrap();
    Some(all["cases"].as_array().unwrap().clone())
}

fn model(case: &Value) -> GenerativeModel {
    let states: Vec<usize> = flat(&case["num_states"]).into_iter().map(|n| n as usize).collect();
    GenerativeModel::new(&states, tables(&case["A"]), tables(&case["B"]), &tables(&case["C"]), tables(&case["D"]))
        .unwrap()
        .gamma(case["gamma"].as_f64().unwrap())
        .unwrap()
}

fn policies(case: &Value) -> Policies {
    let factors = case["num_states"].as_array().unwrap().len();
    let controls = flat(&case["policies"]).into_iter().map(|u| u as usize).collect();
    let all = Policies::new(controls, factors, case["policy_len"].as_u64().unwrap() as usize).unwrap();
    assert_eq!(all.len(), case["policies"].as_array().unwrap().len());
    if case["E"].is_null() { all } else { all.habit(&flat(&case["E"])).unwrap() }
}

fn close(found: impl Iterator<Item = f64>, wanted: &Value, what: &str) {
    let wanted = flat(wanted);
    let found: Vec<f64> = found.collect();
    assert_eq!(found.len(), wanted.len());
    for (i, (f, w)) in found.iter().zip(&wanted).enumerate() {
        assert!((f - w).abs() <= 1e-12, "{what}[{i}]: {f} is not {w}");
    }
}

fn identity(found: &Evaluation) {
    for g in &found.efe {
        assert!((g.risk + g.ambiguity + g.pragmatic + g.epistemic).abs() < 1e-12);
        assert!((g.total - (g.risk + g.ambiguity - g.novelty)).abs() < 1e-12);
        assert!(g.total >= -1e-12, "without novelty G is not negative");
    }
    assert!((found.probabilities.iter().sum::<f64>() - 1.0).abs() < 1e-12);
}

#[test]
fn every_policy_of_every_case() {
    let Some(cases) = cases() else { return };
    assert_eq!(cases.len(), 6);
    let mut ws = EfeWorkspace::default();
    for case in &cases {
        let (model, policies) = (model(case), policies(case));
        let joint = model.evaluate(&policies, Gain::Joint, &mut ws).unwrap();
        close(joint.efe.iter().map(|g| g.total), &case["G_joint"], "G joint");
        close(joint.probabilities.iter().copied(), &case["q_pi_joint"], "q joint");
        close(joint.efe.iter().map(|g| g.epistemic), &case["epistemic_joint"], "epistemic joint");
        identity(&joint);
        let single = model.evaluate(&policies, Gain::PerModality, &mut ws).unwrap();
        close(single.efe.iter().map(|g| g.total), &case["G_per_modality"], "G");
        close(single.probabilities.iter().copied(), &case["q_pi_per_modality"], "q");
        close(single.efe.iter().map(|g| g.risk), &case["risk"], "risk");
        close(single.efe.iter().map(|g| g.ambiguity), &case["ambiguity"], "ambiguity");
        close(single.efe.iter().map(|g| -g.pragmatic), &case["neg_pragmatic"], "pragmatic");
        close(single.efe.iter().map(|g| g.epistemic), &case["epistemic"], "epistemic");
        identity(&single);
        for (a, b) in joint.efe.iter().zip(&single.efe) {
            assert!(a.epistemic <= b.epistemic + 1e-12, "the sum over modalities is an upper bound");
        }
    }
}

#[test]
fn plans_equal_enumeration() {
    let Some(cases) = cases() else { return };
    let case = cases.iter().find(|c| c["name"] == "routing_4x8_h2").unwrap();
    let model = model(case);
    let actions: Vec<Vec<usize>> = (0..8).map(|u| vec![0, u]).collect();
    let mut ws = EfeWorkspace::default();
    for steps in 1..=3 {
        for gain in [Gain::Joint, Gain::PerModality] {
            let all = model.evaluate(&Policies::enumerate(&actions, steps).unwrap(), gain, &mut ws).unwrap();
            let plan = model.plan(&actions, steps, gain, None, &mut ws).unwrap();
            let mut first = [0.0; 8];
            for (i, (g, q)) in all.efe.iter().zip(&all.probabilities).enumerate() {
                let digits: Vec<usize> = (0..steps as u32).rev().map(|t| i / 8usize.pow(t) % 8).collect();
                let sum: f64 = digits.iter().zip(&plan.steps).map(|(&u, row)| row[u].total).sum();
                assert!((sum - g.total).abs() < 1e-12);
                first[digits[0]] += q;
            }
            let best = all.efe.iter().map(|g| g.total).fold(f64::INFINITY, f64::min);
            assert!((plan.total - best).abs() < 1e-12);
            for (a, b) in plan.first.iter().zip(first) {
                assert!((a - b).abs() < 1e-12);
            }
        }
    }
}

#[test]
fn a_session_stays_where_switching_costs_more_than_it_brings() {
    let Some(cases) = cases() else { return };
    let model = model(cases.iter().find(|c| c["name"] == "routing_4x8_h2").unwrap());
    let actions: Vec<Vec<usize>> = (0..8).map(|u| vec![0, u]).collect();
    let mut ws = EfeWorkspace::default();
    let mut plan = |switch| model.plan(&actions, 3, Gain::Joint, switch, &mut ws).unwrap();
    let free = plan(None);
    for last in 0..8 {
        assert_eq!(plan(Some(SwitchCost { nats: 1e3, last: Some(last) })).actions, [last; 3]);
        let some = plan(Some(SwitchCost { nats: 0.05, last: Some(last) }));
        assert!(some.total >= free.total - 1e-12 && some.total <= free.total + 0.15 + 1e-12);
    }
}

#[test]
fn controls_that_build_on_the_past_are_not_planned_step_by_step() {
    let Some(cases) = cases() else { return };
    let model = model(&cases[0]);
    let found = model.plan(&[vec![0], vec![1]], 2, Gain::Joint, None, &mut EfeWorkspace::default());
    assert_eq!(found, Err(Error::NotSeparable { factor: 0 }));
}

#[test]
fn novelty_lowers_the_free_energy_of_what_is_unknown() {
    let tables = |a: [f64; 4]| vec![a.to_vec()];
    let make = || {
        GenerativeModel::new(
            &[2],
            tables([0.5, 0.5, 0.5, 0.5]),
            vec![vec![1.0, 0.0, 1.0, 0.0, 0.0, 1.0, 0.0, 1.0]],
            &[vec![0.0, 0.0]],
            vec![vec![1.0, 0.0]],
        )
        .unwrap()
    };
    let policies = Policies::enumerate(&[vec![0], vec![1]], 1).unwrap();
    let mut ws = EfeWorkspace::default();
    let plain = make().evaluate(&policies, Gain::Joint, &mut ws).unwrap();
    assert_eq!(plain.probabilities, [0.5, 0.5]);
    // State 0 has been seen a hundred times, state 1 twice.
    let curious = make().novelty(1.0, &tables([50.0, 1.0, 50.0, 1.0])).unwrap();
    let found = curious.evaluate(&policies, Gain::Joint, &mut ws).unwrap();
    assert!(found.probabilities[1] > 0.9 && found.efe[1].novelty > 10.0 * found.efe[0].novelty);
}

#[test]
fn bad_models_are_refused() {
    let ok =
        || (vec![vec![0.9, 0.2, 0.1, 0.8]], vec![vec![1.0, 0.0, 0.0, 1.0]], vec![vec![0.0, 0.0]], vec![vec![0.5, 0.5]]);
    let (a, b, c, d) = ok();
    assert!(GenerativeModel::new(&[2], a, b, &c, d).is_ok());
    let (mut a, b, c, d) = ok();
    a[0][0] = 0.8;
    assert!(matches!(GenerativeModel::new(&[2], a, b, &c, d), Err(Error::RowSum { .. })));
    let (a, mut b, c, d) = ok();
    b[0][0] = f64::NAN;
    assert!(matches!(GenerativeModel::new(&[2], a, b, &c, d), Err(Error::NotAProbability { .. })));
    let (a, b, mut c, d) = ok();
    c[0][1] = f64::INFINITY;
    assert!(matches!(GenerativeModel::new(&[2], a, b, &c, d), Err(Error::NotFinite { .. })));
    let (a, b, c, d) = ok();
    assert!(matches!(GenerativeModel::new(&[3], a, b, &c, d), Err(Error::DimensionMismatch { .. })));
    let (a, b, c, d) = ok();
    assert!(GenerativeModel::new(&[], a, b, &c, d).is_err());
    let (a, b, c, d) = ok();
    let model = GenerativeModel::new(&[2], a, b, &c, d).unwrap();
    let mut ws = EfeWorkspace::default();
    let wrong = Policies::enumerate(&[vec![7]], 1).unwrap();
    assert_eq!(model.evaluate(&wrong, Gain::Joint, &mut ws), Err(Error::OutOfRange { what: "control" }));
    assert!(Policies::enumerate(&[vec![0]], 1).unwrap().habit(&[0.0]).is_err());
    assert!(Policies::enumerate(&[], 1).is_err());
    assert!(Policies::enumerate(&[vec![0], vec![0, 1]], 1).is_err());
}
