//! The ways of learning that a caller may ask for: what ages, what models share, what neighbours say, and where the regimes lie.
#![expect(clippy::unwrap_used, reason = "helpers of tests")]

use hanzo_hmm::market::{
    Classes, Discount, LabelledOutcome, Likelihood, ModelSpec, Outcome, RegimeModel, RouteOptions, SignTable,
    SplitMix64,
};
use hanzo_hmm::{Config, Error, GaussianDiag, Hmm, Initial, MarketMaker, RoutingRequest, Transitions};

const DAY: [f64; 1] = [0.2];
const RUSH: [f64; 1] = [0.9];

/// Two regimes of one observation, that are told apart at once.
fn regimes() -> RegimeModel {
    let hmm = Hmm::new(
        Initial::Free(vec![0.5, 0.5]),
        Transitions::new(vec![vec![0.9, 0.1], vec![0.1, 0.9]]).unwrap(),
        GaussianDiag::new(vec![DAY.to_vec(), RUSH.to_vec()], vec![vec![0.01], vec![0.01]]).unwrap(),
    );
    RegimeModel::new(hmm.unwrap(), 0.15).unwrap()
}

fn config(models: usize) -> Config {
    let models = (0..models).map(|i| ModelSpec { quality: 0.5, ..ModelSpec::new(format!("m{i}"), 0.001) });
    Config::default().models(models.collect()).buckets(16).tenant_cap(1.0)
}

fn ask(
    market: &MarketMaker,
    input: &str,
    observations: &[f64],
    only: Option<usize>,
) -> (hanzo_hmm::market::DecisionId, f64) {
    let denied = market.models().iter().enumerate().filter(|(i, _)| only.is_some_and(|o| o != *i));
    let options =
        RouteOptions { denied_models: denied.map(|(_, m)| m.id.clone()).collect(), ..RouteOptions::default() };
    let request =
        RoutingRequest { input: input.into(), observations: observations.to_vec(), ..RoutingRequest::default() };
    let d = market.route("t", &request, &options).unwrap();
    (d.id, d.expected_quality)
}

fn teach(market: &MarketMaker, input: &str, observations: &[f64], only: usize, score: f64) {
    let (id, _) = ask(market, input, observations, Some(only));
    market.record_outcome(id, &Outcome::success(score, 100, 0.0)).unwrap();
}

/// A rush, in which the model is bad, then a long day, in which it is good: what was learned of the rush is kept where regimes age apart, and lost where
/// everything ages. Within one regime both forget.
#[test]
fn a_regime_ages_by_its_own_outcomes() {
    for likelihood in [Likelihood::Linear, Likelihood::Categorical(Classes::Given(1))] {
        let run = |forgetting: f64, discount| {
            let config = config(1).forgetting(forgetting).discount(discount);
            let market = MarketMaker::builder(config).regime_model(regimes()).likelihood(likelihood).build().unwrap();
            let rows = |n, observations: [f64; 1], score: f64| {
                for _ in 0..n {
                    teach(&market, "a", &observations, 0, score);
                }
            };
            rows(150, RUSH, 0.1);
            rows(1_500, DAY, 0.9);
            let rush = ask(&market, "a", &RUSH, None).1;
            rows(700, RUSH, 0.7);
            (rush, ask(&market, "a", &RUSH, None).1)
        };
        let (kept, now) = run(0.995, Discount::Regime);
        let (lost, also_now) = run(0.995, Discount::All);
        let (never, mean) = run(1.0, Discount::Regime);
        println!(
            "{likelihood:?}: rush .1 after a day: {never:.3} unaged, {kept:.3} by regime, {lost:.3} by all; then .7: {mean:.3} {now:.3} {also_now:.3}"
        );
        assert!(kept < 0.3 && lost > kept + 0.1, "{likelihood:?} {kept} {lost}");
        assert!((kept - never).abs() < 0.1, "{likelihood:?} {kept} {never}");
        assert!(now > 0.6 && also_now > 0.6 && now > mean, "{likelihood:?} {now} {also_now} {mean}");
    }
}

/// Model 1 is never asked about the hard requests; what model 0 found there counts for it only where they share a part.
#[test]
fn what_models_share_is_learned_from_all() {
    let run = |share: bool| {
        let market = MarketMaker::builder(config(2).shared_quality(share).num_regimes(1)).build().unwrap();
        let mut rng = SplitMix64::new(3);
        for _ in 0..300 {
            let hard = rng.unit() < 0.5;
            let input = if hard { "prove the lemma of the theorem" } else { "hi" };
            teach(&market, input, &[], 0, if hard { 0.1 } else { 0.9 });
            if !hard {
                teach(&market, input, &[], 1, 0.9);
            }
        }
        [0, 1].map(|u| ask(&market, "prove the lemma of the theorem", &[], Some(u)).1)
    };
    let (alone, shared) = (run(false), run(true));
    println!("hard requests: {alone:?} alone, {shared:?} with a shared part");
    assert!(alone[0] < 0.2 && shared[0] < 0.2);
    assert!(alone[1] > 0.45 && shared[1] < alone[1] - 0.1, "{alone:?} {shared:?}");
}

/// Requests that lie too close for 32 kinds to tell apart, where the nearest outcomes can.
#[test]
fn neighbours_tell_apart_what_kinds_do_not() {
    let error = |neighbours: usize| {
        let market = MarketMaker::builder(config(1).neighbours(neighbours).num_regimes(1)).build().unwrap();
        let mut rng = SplitMix64::new(8);
        let (mut sum, mut n) = (0.0, 0.0);
        for t in 0..2_000 {
            // A chessboard of 8 by 8 fields in the first two of 24 features.
            let place = [rng.unit(), rng.unit()].map(|v| 8.0 * v);
            let good = (place[0].floor() + place[1].floor()) % 2.0 == 0.0;
            let score = if good { 0.9 } else { 0.1 };
            let mut features = vec![0.0; 24];
            features[..2].copy_from_slice(&place);
            features[16] = 1.0;
            let options = RouteOptions { features: Some(features), ..RouteOptions::default() };
            let d = market.route("t", &RoutingRequest::default(), &options).unwrap();
            market.record_outcome(d.id, &Outcome::success(score, 100, 0.0)).unwrap();
            if t >= 1_000 {
                sum += (d.expected_quality - score).abs();
                n += 1.0;
            }
        }
        sum / n
    };
    let (without, with) = (error(0), error(16_384));
    println!("mean error on a chessboard: {without:.3} without neighbours, {with:.3} with them");
    assert!(with < 0.8 * without, "{without} {with}");
}

/// Observations that lie elsewhere than the model says: the means go there, but only those of regimes that are seen, and only where that is asked for.
#[test]
fn means_of_regimes_are_learned_where_that_is_asked_for() {
    let run = |learn: bool, n: usize| {
        let hmm = Hmm::new(
            Initial::Free(vec![1.0 / 3.0; 3]),
            Transitions::new(vec![vec![0.9, 0.05, 0.05], vec![0.05, 0.9, 0.05], vec![0.05, 0.05, 0.9]]).unwrap(),
            GaussianDiag::new(vec![vec![0.2], vec![0.9], vec![9.0]], vec![vec![0.04]; 3]).unwrap(),
        );
        let model = RegimeModel::new(hmm.unwrap(), 0.15).unwrap();
        let market = MarketMaker::builder(config(1).learn_regimes(learn)).regime_model(model).build().unwrap();
        let mut rng = SplitMix64::new(4);
        for t in 0..n {
            let centre = if t / 20 % 2 == 0 { 0.35 } else { 1.3 };
            ask(&market, "a", &[centre + 0.1 * rng.normal()], None);
        }
        market.regime_model().hmm().emission().means().to_vec()
    };
    assert_eq!(run(false, 300), [0.2, 0.9, 9.0]);
    assert_eq!(run(true, 10), [0.2, 0.9, 9.0], "too early");
    let (some, many) = (run(true, 300), run(true, 6_000));
    println!("means after 300 and 6,000 observations: {some:?} {many:?}");
    assert!((many[0] - 0.35).abs() < 0.03 && (many[1] - 1.3).abs() < 0.08, "{many:?}");
    assert!(some[0] > 0.25 && some[0] < 0.35 && some[1] > 1.0);
    assert!((many[2] - 9.0).abs() < 1e-3, "a regime that is never seen stays");
}

#[test]
fn regimes_that_are_learned_are_calibrated_too() {
    let market = MarketMaker::builder(config(1).learn_regimes(true)).regime_model(regimes()).build().unwrap();
    for t in 0..100 {
        ask(&market, "a", &[if t % 2 == 0 { 0.3 } else { 0.8 }], None);
    }
    let means = market.regime_model().hmm().emission().means().to_vec();
    assert!(means[0] > 0.22 && means[1] < 0.88, "{means:?}");
    let rows: Vec<LabelledOutcome> = (0..60)
        .map(|t| LabelledOutcome {
            observations: vec![if t % 2 == 0 { 0.3 } else { 0.8 }],
            scores: vec![Some(0.5)],
            ..LabelledOutcome::default()
        })
        .collect();
    let report = market.calibrate(&rows).unwrap();
    assert!(report.transitions[1] > 0.9, "they take turns: {:?}", report.transitions);
    assert_eq!(market.regime_model().hmm().emission().means(), means, "calibration leaves the means");
    ask(&market, "a", &[0.3], None);
    assert!(market.regime_model().hmm().transitions().probabilities()[1] > 0.9, "and learning the transitions");
}

/// All ways at once: a restored market maker goes on byte for byte, and one that learns in another way does not take over the state.
#[test]
fn every_way_of_learning_survives_a_snapshot() {
    let all = || config(3).forgetting(0.995).shared_quality(true).neighbours(100).learn_regimes(true);
    let build = |config: Config| MarketMaker::builder(config).regime_model(regimes());
    let market = build(all()).build().unwrap();
    let step = |m: &MarketMaker, t: u64| {
        let mut rng = SplitMix64::new(t);
        let (input, observation) = (format!("request {} of {}", rng.below(9), rng.below(5)), [rng.unit()]);
        teach(m, &input, &observation, (t % 3) as usize, rng.unit());
        let means = m.regime_model().hmm().emission().means().to_vec();
        format!("{:?} {means:?}", ask(m, &input, &observation, None))
    };
    for t in 0..150 {
        step(&market, t);
    }
    let bytes = market.snapshot();
    let again = build(all()).restore(&bytes).unwrap();
    assert_eq!(again.snapshot(), bytes);
    for t in 150..300 {
        assert_eq!(step(&market, t), step(&again, t), "step {t}");
    }
    assert_eq!(again.snapshot(), market.snapshot());
    for other in [
        all().forgetting(1.0),
        all().discount(Discount::All),
        all().shared_quality(false),
        all().neighbours(0),
        all().learn_regimes(false),
    ] {
        let refused = build(other).restore(&bytes).map(|_| ());
        assert_eq!(refused, Err(Error::BadSnapshot { what: "way of learning" }));
    }
}

#[test]
fn ways_of_learning_that_do_not_exist_are_refused() {
    let refused = |config: Config| MarketMaker::builder(config).build().map(|_| ()).unwrap_err();
    assert_eq!(refused(config(1).neighbours(16_385)), Error::InvalidConfig { field: "neighbours" });
    assert_eq!(refused(config(1).num_regimes(17).learn_regimes(true)), Error::InvalidConfig { field: "learn_regimes" });
    let model = RegimeModel::with_regimes(17, 0.15).unwrap();
    let built = MarketMaker::builder(config(1).learn_regimes(true)).regime_model(model).build().map(|_| ());
    assert_eq!(built, Err(Error::InvalidConfig { field: "learn_regimes" }));
}

/// One tenant likes what the others do not: its own habits learn it, and theirs stay.
#[test]
fn a_tenants_habits_learn_from_its_outcomes() {
    let market = MarketMaker::builder(config(2).num_regimes(4).gamma(4.0).novelty_weight(0.0))
        .adapter(SignTable::new(1, 2, 100).unwrap().learning(0.05, 40.0).unwrap())
        .build()
        .unwrap();
    let request = RoutingRequest { input: "a request".into(), ..RoutingRequest::default() };
    let probability = |tenant: &str| {
        let d = market.route(tenant, &request, &RouteOptions::default()).unwrap();
        if d.model == "m1" { d.probability } else { 1.0 - d.probability }
    };
    for t in 0..600 {
        // In the mean both models are as good.
        let (tenant, taste) = if t % 4 == 0 { ("one", 0.9) } else { ("other", 0.367) };
        let only = RouteOptions { denied_models: vec![format!("m{}", t / 4 % 2)], ..RouteOptions::default() };
        let d = market.route(tenant, &request, &only).unwrap();
        let score = if d.model == "m1" { taste } else { 1.0 - taste };
        market.record_outcome(d.id, &Outcome::success(score, 100, 0.0)).unwrap();
    }
    let (one, other) = (probability("one"), probability("other"));
    println!("q(m1): {one:.3} for the tenant that likes it, {other:.3} for the others");
    assert!(one > 0.9 && other < 0.5 * one, "{one} {other}");
}
