//! Products of experts against normalization by brute force.

use crate::support::data::{data, list, number};
use hanzo_experience::Error;
use hanzo_experience::product_of_experts::{Factor, HeldOut, ProductOfExperts, Zero, calibrate};
use proptest::prelude::*;

/// By the formula, in products of powers.
fn brute(p: &[f64], factors: &[(f64, Vec<(u32, f64)>)]) -> Vec<f64> {
    let mut weights = p.to_vec();
    for (alpha, phi) in factors {
        for (token, phi) in phi {
            weights[*token as usize] *= phi.powf(*alpha);
        }
    }
    let total: f64 = weights.iter().sum();
    weights.into_iter().map(|weight| weight / total).collect()
}

fn logs(p: &[f64]) -> Vec<f64> {
    p.iter().map(|p| p.ln()).collect()
}

fn experts(factors: &[(f64, Vec<(u32, f64)>)], zero: Zero) -> Result<ProductOfExperts, Error> {
    let factors: Result<Vec<_>, Error> =
        factors.iter().map(|(alpha, phi)| Ok((*alpha, Factor::new(phi.iter().copied())?))).collect();
    ProductOfExperts::new(factors?, zero)
}

#[test]
fn shared_vectors() {
    let Some(file) = data("computed/poe.json") else { return };
    let cases = list(&file, "cases");
    assert!(!cases.is_empty());
    for case in cases {
        let ratio = |pair: &serde_json::Value| pair[0].as_f64().unwrap() / pair[1].as_f64().unwrap();
        let p: Vec<f64> = list(case, "p").iter().map(ratio).collect();
        let factor = |factor: &serde_json::Value| {
            let phi = factor["phi"].as_object().unwrap();
            (
                number(factor, "alpha") as f64,
                phi.iter().map(|(token, phi)| (token.parse().unwrap(), ratio(phi))).collect(),
            )
        };
        let factors: Vec<(f64, Vec<(u32, f64)>)> = list(case, "factors").iter().map(factor).collect();
        let got = experts(&factors, Zero::default()).unwrap().posterior(&logs(&p)).unwrap();
        for (got, want) in got.iter().zip(list(case, "posterior")) {
            let want = want.as_f64().unwrap();
            assert!((got - want).abs() <= 1e-12 * want, "{got} {want}");
        }
    }
}

/// Weights with phi by token.
type Factors = Vec<(f64, Vec<(u32, f64)>)>;

fn problem() -> impl Strategy<Value = (Vec<f64>, Factors)> {
    (2..9_usize).prop_flat_map(|vocabulary| {
        let phi = prop::collection::btree_map(0..vocabulary as u32, 0.01..9.0_f64, 0..=vocabulary);
        let factor = (0.0..3.0_f64, phi.prop_map(|phi| phi.into_iter().collect::<Vec<_>>()));
        (prop::collection::vec(0.001..1.0_f64, vocabulary), prop::collection::vec(factor, 0..4))
    })
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    /// Normalized or not, in `f64` or added to `f32` logits: the distribution is that of the formula.
    #[test]
    fn equals_brute_force((p, factors) in problem(), shift in -50.0..50.0_f64) {
        let want = brute(&p, &factors);
        let experts = experts(&factors, Zero::default()).unwrap();
        let shifted: Vec<f64> = logs(&p).iter().map(|log| log + shift).collect();
        for (got, want) in experts.posterior(&shifted).unwrap().iter().zip(&want) {
            prop_assert!((got - want).abs() <= 1e-11 * want, "{} {}", got, want);
        }
        let mut logits: Vec<f32> = logs(&p).iter().map(|log| *log as f32).collect();
        experts.apply(&mut logits).unwrap();
        let total: f64 = logits.iter().map(|logit| f64::from(*logit).exp()).sum();
        for (logit, want) in logits.iter().zip(&want) {
            prop_assert!((f64::from(*logit).exp() / total - want).abs() <= 1e-5 * want.max(1e-3));
        }
    }

    /// No weights near those found do better, by brute force over the whole vocabulary.
    #[test]
    fn calibration_is_a_minimum(
        places in prop::collection::vec((
            prop::collection::vec(0.01..1.0_f64, 5),
            prop::collection::vec(prop::collection::btree_map(0..5_u32, 0.1..4.0_f64, 0..=3), 2),
            0..5_u32,
        ), 1..6),
    ) {
        let factors: Vec<Vec<Factor>> = places.iter()
            .map(|(_, factors, _)| factors.iter().map(|phi| Factor::new(phi.clone()).unwrap()).collect()).collect();
        let log_p: Vec<Vec<f64>> = places.iter().map(|(p, ..)| logs(p)).collect();
        let held: Vec<HeldOut<'_>> = places.iter().zip(&factors).zip(&log_p)
            .map(|(((_, _, target), factors), log_p)| HeldOut { log_p, factors, target: *target }).collect();
        let found = calibrate(&held, Zero::default()).unwrap();
        let objective = |alpha: &[f64]| {
            let nll: f64 = places.iter().map(|(p, factors, target)| {
                let factors: Vec<_> = alpha.iter().zip(factors)
                    .map(|(alpha, phi)| (*alpha, phi.iter().map(|(token, phi)| (*token, *phi)).collect())).collect();
                -brute(p, &factors)[*target as usize].ln()
            }).sum::<f64>() / places.len() as f64;
            nll + 1e-3 * alpha.iter().map(|a| a * a).sum::<f64>()
        };
        prop_assert!(found.converged, "{:?}", found);
        let best = objective(&found.alpha);
        prop_assert!((found.nll + 1e-3 * found.alpha.iter().map(|a| a * a).sum::<f64>() - best).abs() < 1e-9);
        prop_assert!((found.base_nll - objective(&[0.0, 0.0])).abs() < 1e-9);
        for step in [[1e-3, 0.0], [-1e-3, 0.0], [0.0, 1e-3], [0.0, -1e-3], [1e-3, 1e-3], [-1e-3, 1e-3], [1.0, 1.0]] {
            let near: Vec<f64> = found.alpha.iter().zip(step).map(|(a, s)| (a + s).max(0.0)).collect();
            prop_assert!(objective(&near) >= best - 1e-7, "{:?} {:?} {} {}", found, near, objective(&near), best);
        }
    }
}

/// An expert that is right gets weight, one that is wrong none.
#[test]
fn calibration_tells_experts_apart() {
    let p = vec![0.25_f64.ln(); 4];
    let right: Vec<Vec<Factor>> = (0..4_u32)
        .map(|target| vec![Factor::new([(target, 2.0)]).unwrap(), Factor::new([((target + 1) % 4, 2.0)]).unwrap()])
        .collect();
    let held: Vec<HeldOut<'_>> =
        right.iter().zip(0..).map(|(factors, target)| HeldOut { log_p: &p, factors, target }).collect();
    let found = calibrate(&held, Zero::default()).unwrap();
    assert!(found.converged && found.alpha[0] > 1.0 && found.alpha[1] == 0.0, "{found:?}");
    assert!(found.nll < found.base_nll && (found.base_nll - 4_f64.ln()).abs() < 1e-12);
}

#[test]
fn zeros_are_floored_or_veto() {
    let p = logs(&[0.5, 0.5]);
    let zero = [(2.0, vec![(0, 0.0)])];
    let floored = experts(&zero, Zero::default()).unwrap().posterior(&p).unwrap();
    assert!((floored[0] - 1e-12).abs() < 1e-15);
    let veto = experts(&zero, Zero::Veto).unwrap();
    assert_eq!(veto.posterior(&p), Ok(vec![0.0, 1.0]));
    let mut logits = [0.5, f32::NEG_INFINITY];
    assert_eq!(veto.apply(&mut logits), Err(Error::AllVetoed));
    assert_eq!(logits, [0.5, f32::NEG_INFINITY]);
    // A weight of zero silences a veto, rather than giving NaN.
    let silent = experts(&[(0.0, vec![(0, 0.0)])], Zero::Veto).unwrap();
    assert_eq!(silent.posterior(&p), Ok(vec![0.5, 0.5]));
    let all = experts(&[(1.0, vec![(0, 0.0), (1, 0.0)])], Zero::Veto).unwrap();
    assert_eq!(all.posterior(&p), Err(Error::AllVetoed));
    assert_eq!(all.apply(&mut [0.0; 2]), Err(Error::AllVetoed));
    assert_eq!(all.apply(&mut [0.0; 3]), Ok(()));
}

#[test]
fn bad_input() {
    for phi in [-1.0, f64::NAN, f64::INFINITY] {
        assert_eq!(Factor::new([(0, phi)]), Err(Error::OutOfRange { field: "phi" }));
    }
    assert_eq!(Factor::new([(0, 1.0), (0, 2.0)]), Err(Error::IndexOrder));
    for alpha in [-1e-9, f64::NAN, f64::INFINITY] {
        assert_eq!(experts(&[(1.0, vec![]), (alpha, vec![])], Zero::Veto), Err(Error::NegativeAlpha { index: 1 }));
    }
    for floor in [0.0, -1.0, 1.5, f64::NAN] {
        assert_eq!(experts(&[], Zero::Floor(floor)), Err(Error::OutOfRange { field: "floor" }));
    }
    let two = experts(&[(1.0, vec![(2, 2.0)])], Zero::Veto).unwrap();
    assert_eq!(two.apply(&mut [0.0; 2]), Err(Error::IndexOutOfRange { index: 2, size: 2 }));
    assert_eq!(two.posterior(&[0.0, 0.0, f64::NAN]), Err(Error::NonFinite { index: 2 }));
    let held = |log_p, target| calibrate(&[HeldOut { log_p, factors: &[], target }], Zero::default());
    assert_eq!(calibrate(&[], Zero::default()), Err(Error::TooFew { need: 1, got: 0 }));
    assert_eq!(held(&[0.0], 1), Err(Error::IndexOutOfRange { index: 1, size: 1 }));
    assert_eq!(held(&[0.0, f64::NEG_INFINITY], 1), Err(Error::AllVetoed));
    assert_eq!(calibrate(&[], Zero::Veto), Err(Error::OutOfRange { field: "floor" }));
    assert_eq!(Factor::from_advantages(&[]), Err(Error::TooFew { need: 1, got: 0 }));
    assert_eq!(Factor::from_advantages(&[(&[1], f64::NAN)]), Err(Error::NonFinite { index: 0 }));
}

#[test]
fn factors_from_advantages() {
    let attempts: [(&[u32], f64); 3] = [(&[1, 2, 1], 1.5), (&[2, 3], -0.75), (&[4], -9.0)];
    let factor = Factor::from_advantages(&attempts).unwrap();
    assert_eq!(factor.iter().collect::<Vec<_>>(), [(1, 0.5), (2, 0.25), (3, -0.25), (4, -1.0)]);
}

/// Applying costs what the factors hold: a vocabulary a thousand times as large is not touched.
#[test]
fn cost_is_that_of_the_factors() {
    let small = experts(&[(1.0, (0..64).map(|token| (token, 2.0)).collect())], Zero::default()).unwrap();
    let time = |vocabulary: usize| {
        let mut logits = vec![0.0_f32; vocabulary];
        small.apply(&mut logits).unwrap();
        let rounds = 2_000;
        (0..5)
            .map(|_| {
                let start = std::time::Instant::now();
                (0..rounds).for_each(|_| small.apply(std::hint::black_box(&mut logits)).unwrap());
                start.elapsed().as_nanos() / rounds
            })
            .min()
            .unwrap()
    };
    let (near, far) = (time(256), time(256_000));
    println!("64 tokens applied to 256: {near} ns; to 256,000: {far} ns");
    // A pass over 256,000 logits would take at least a hundred times as long.
    assert!(far < 20 * near.max(20), "{near} ns {far} ns");
}
