//! Packed habits: equal to the dense computation, harmless where they do not fit, and felt by a market maker.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking, its helpers too")]

use hanzo::bitdelta::{Granularity, MatRef, PackOptions, PackedDelta, PackedSpec};
use hanzo::glue::{HabitError, HabitShape, TenantHabits};
use hanzo::hmm::market::{Regime, RouteOptions, RoutingDecision, TenantAdapter};
use hanzo::hmm::{Config, MarketMaker, RoutingRequest};
use proptest::collection::vec;
use proptest::prelude::*;

fn pack(table: &[f32], rows: usize, cols: usize, planes: usize) -> PackedDelta {
    let options = PackOptions::new().granularity(Granularity::Row).planes(planes);
    PackedDelta::from_delta(MatRef::new(table, rows, cols).unwrap(), &options).unwrap()
}

fn adjusted(habits: &TenantHabits, tenant: &str, regime: &[f64], class: usize, start: &[f64]) -> Vec<f64> {
    let mut log_habit = start.to_vec();
    habits.adjust(tenant, regime, class, &mut log_habit);
    log_habit
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, failure_persistence: None, ..ProptestConfig::default() })]

    /// Bit for bit, over word boundaries and several planes.
    #[test]
    fn equals_the_dense_table(
        regimes in 1..5_usize,
        classes in 1..4_usize,
        models in 1..140_usize,
        planes in 1..4_usize,
        class in 0..4_usize,
        seed in vec(-4.0_f32..4.0, 1..64),
        posterior in vec(0.0_f64..1.0, 4),
    ) {
        let rows = regimes * classes;
        let table: Vec<f32> = (0..rows * models).map(|i| seed[i % seed.len()] * (1 + i % 7) as f32).collect();
        let delta = pack(&table, rows, models, planes);
        let mut habits = TenantHabits::new(HabitShape { regimes, classes, models });
        habits.insert("a", &delta).unwrap();

        let (dense, posterior) = (delta.to_dense(), &posterior[..regimes]);
        let start: Vec<f64> = (0..models).map(|m| m as f64 / 8.0).collect();
        let cell = |r: usize, m: usize| f64::from(dense[(r * classes + class) * models + m]);
        let sum = |m: usize| (0..regimes).map(|r| posterior[r] * cell(r, m)).sum::<f64>();
        let known = class < classes;
        let expected: Vec<f64> = (0..models).map(|m| if known { start[m] + sum(m) } else { start[m] }).collect();
        prop_assert_eq!(adjusted(&habits, "a", posterior, class, &start), expected);
        prop_assert_eq!(adjusted(&habits, "b", posterior, class, &start), start);
    }
}

#[test]
fn what_does_not_fit_changes_nothing() {
    let shape = HabitShape { regimes: 2, classes: 3, models: 2 };
    let mut habits = TenantHabits::new(shape);
    assert_eq!(habits.shape(), shape);
    habits.insert("a", &pack(&[1.0; 12], 6, 2, 1)).unwrap();
    let start = [0.5, -0.5];
    let same = |regime: &[f64], class| adjusted(&habits, "a", regime, class, &start) == start;
    assert!(!same(&[1.0, 0.0], 2));
    assert!(same(&[1.0, 0.0], 3) && same(&[1.0, 0.0], usize::MAX), "class");
    assert!(same(&[1.0], 0) && same(&[1.0, 0.0, 0.0], 0) && same(&[], 0), "posterior");
    assert!(same(&[f64::NAN, 0.0], 0) && same(&[f64::INFINITY, 0.0], 0), "not finite");
    assert!(same(&[f64::MAX, f64::MAX], 0), "overflow");
    assert_eq!(adjusted(&habits, "a", &[1.0, 0.0], 0, &[0.5; 3]), [0.5; 3], "models");
    assert_eq!(adjusted(&habits, "a", &[1.0, 0.0], 0, &[0.5]), [0.5]);
    assert!(habits.remove("a") && !habits.remove("a"));
    assert_eq!(adjusted(&habits, "a", &[1.0, 0.0], 2, &start), start);
}

#[test]
fn deltas_of_another_form_are_refused() {
    let mut habits = TenantHabits::new(HabitShape { regimes: 2, classes: 2, models: 3 });
    let rows = HabitError::Rows { regimes: 2, classes: 2, got: 3 };
    assert_eq!(habits.insert("a", &pack(&[1.0; 9], 3, 3, 1)), Err(rows));
    assert_eq!(habits.insert("a", &pack(&[1.0; 8], 4, 2, 1)), Err(HabitError::Columns { want: 3, got: 2 }));
    for got in [Granularity::Tensor, Granularity::Col, Granularity::RowCol, Granularity::block(32).unwrap()] {
        let options = PackOptions::new().granularity(got);
        let delta = PackedDelta::from_delta(MatRef::new(&[1.0_f32; 12], 4, 3).unwrap(), &options).unwrap();
        assert_eq!(habits.insert("a", &delta), Err(HabitError::Granularity { got }));
    }
    // Two planes whose scales are finite and whose sum is not.
    let spec = PackedSpec { planes: 2, ..PackedSpec::new(4, 3, Granularity::Row) };
    let scales = [1.0, 1.0, f32::MAX, 1.0, 1.0, 1.0, f32::MAX, 1.0];
    let delta = PackedDelta::from_rowmajor64(&[0; 8], &spec, &scales).unwrap();
    assert_eq!(habits.insert("a", &delta), Err(HabitError::NotFinite { row: 2 }));
    assert_eq!(adjusted(&habits, "a", &[0.5, 0.5], 0, &[0.0; 3]), [0.0; 3], "a refused table is not kept");

    // No delta has as many rows as this shape, whose product wraps to 0.
    let mut endless = TenantHabits::new(HabitShape { regimes: usize::MAX / 2 + 1, classes: 2, models: 3 });
    assert!(matches!(endless.insert("a", &pack(&[], 0, 3, 1)), Err(HabitError::Rows { got: 0, .. })));
}

/// `q(u)` is proportional to `E(u) exp(-gamma G(u))`: against a tenant without habits, a habit of +1 for one model and
/// -1 for the rest multiplies its odds by e^2, in the class the table names.
#[test]
fn a_habit_moves_the_choice_of_a_market_maker_by_its_odds() {
    let config = || Config::default().buckets(16);
    let models: Vec<String> =
        MarketMaker::builder(config()).build().unwrap().models().iter().map(|m| m.id.clone()).collect();
    let (regimes, classes, favourite) = (Regime::COUNT, 2, 3);
    let mut table = vec![0.0_f32; regimes * classes * models.len()];
    for cells in table.chunks_exact_mut(models.len()).skip(1).step_by(classes) {
        cells.fill(-1.0);
        cells[favourite] = 1.0;
    }
    let mut habits = TenantHabits::new(HabitShape { regimes, classes, models: models.len() });
    habits.insert("regular", &pack(&table, regimes * classes, models.len(), 1)).unwrap();

    // A new market for each question: answering one changes it.
    let odds = |tenant: &str, class| {
        let market = MarketMaker::builder(config()).adapter(habits.clone()).build().unwrap();
        let request = RoutingRequest { input: "What is the capital of France?".into(), ..RoutingRequest::default() };
        let options = RouteOptions { class, ..RouteOptions::default() };
        let p = probability(&market.route(tenant, &request, &options).unwrap(), &models[favourite]);
        p / (1.0 - p)
    };
    let ratio = odds("regular", 1) / odds("stranger", 1);
    assert!((ratio - f64::exp(2.0)).abs() < 1e-6, "{ratio}");
    assert!((odds("regular", 0) / odds("stranger", 0) - 1.0).abs() < 1e-9, "a row of zeros changes nothing");
}

fn probability(decision: &RoutingDecision, model: &str) -> f64 {
    let all = decision.fallbacks.iter().map(|c| (&c.model, c.probability));
    all.chain([(&decision.model, decision.probability)]).filter(|(id, _)| *id == model).map(|(_, p)| p).sum()
}
