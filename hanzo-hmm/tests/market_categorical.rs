//! The categorical likelihood, calibration, and the parts a builder takes, through the market maker.
#![expect(clippy::unwrap_used, reason = "helpers of tests")]

use hanzo_hmm::market::{
    Classes, ConstantProduct, Integrator, LabelledOutcome, Likelihood, Load, ModelSpec, Outcome, PoolCurve,
    QuoteRequest, RouteOptions, RoutingDecision, SplitMix64, Status, Suzuki4, WeightedProduct, YieldSpace, Yoshida4,
};
use hanzo_hmm::{Config, Error, MarketMaker, RoutingRequest};

fn models(n: usize) -> Vec<ModelSpec> {
    (0..n).map(|i| ModelSpec::new(format!("m{i}"), 0.0005)).collect()
}

fn market(likelihood: Likelihood, n: usize) -> MarketMaker {
    MarketMaker::builder(Config::default().buckets(16)).models(models(n)).likelihood(likelihood).build().unwrap()
}

fn class(class: usize) -> RouteOptions {
    RouteOptions { class, ..RouteOptions::default() }
}

fn identity(d: &RoutingDecision) {
    let parts = std::iter::once(&d.efe).chain(d.fallbacks.iter().map(|f| &f.efe));
    for e in parts {
        assert!((e.risk + e.ambiguity + e.pragmatic + e.epistemic).abs() < 1e-10, "{e:?}");
        assert!((e.total - (e.risk + e.ambiguity - e.novelty)).abs() < 1e-10);
        assert!(e.risk >= 0.0 && e.ambiguity >= 0.0 && e.epistemic >= 0.0 && e.novelty >= 0.0);
    }
    let sum = d.probability + d.fallbacks.iter().map(|f| f.probability).sum::<f64>();
    assert!((sum - 1.0).abs() < 1e-9);
}

/// Three classes, three models, each good at one class.
#[test]
fn each_class_finds_its_model() {
    let market = market(Likelihood::Categorical(Classes::Given(3)), 3);
    let mut rng = SplitMix64::new(1);
    let (mut right, mut late) = (0, 0);
    for t in 0..900 {
        let c = rng.below(3);
        let d = market.route("t", &RoutingRequest::default(), &class(c)).unwrap();
        identity(&d);
        let good = d.model == format!("m{c}");
        let score = f64::from(rng.unit() < if good { 0.9 } else { 0.3 });
        market.record_outcome(d.id, &Outcome::success(score, 300, d.estimated_cost_usd)).unwrap();
        if t >= 600 {
            late += 1;
            right += usize::from(good);
        }
    }
    assert!(right as f64 > 0.9 * late as f64, "{right} of {late}");
    let unknown = market.route("t", &RoutingRequest::default(), &class(3));
    assert_eq!(unknown.unwrap_err(), Error::OutOfRange { what: "class" });
}

/// The class is not given but found in features that lie apart.
#[test]
fn classes_are_found_in_the_features() {
    let market = market(Likelihood::Categorical(Classes::Found(2)), 2);
    let mut rng = SplitMix64::new(2);
    let mut right = 0;
    for t in 0..800 {
        let side = rng.below(2);
        let mut features = vec![0.0; 24];
        features[side] = 3.0;
        features[5] = 0.2 * rng.normal();
        let options = RouteOptions { features: Some(features), ..RouteOptions::default() };
        let d = market.route("t", &RoutingRequest::default(), &options).unwrap();
        let good = d.model == format!("m{side}");
        let score = f64::from(rng.unit() < if good { 0.9 } else { 0.2 });
        market.record_outcome(d.id, &Outcome::success(score, 300, 0.0)).unwrap();
        right += usize::from(t >= 500 && good);
    }
    assert!(right > 270, "{right} of 300");
}

/// A model that times out in a crisis is left in a crisis, and taken again when it is over.
#[test]
fn regimes_have_their_own_counts() {
    let market = market(Likelihood::Categorical(Classes::Given(1)), 2);
    let mut rng = SplitMix64::new(3);
    let (calm, crisis) = (vec![0.5, 0.0, 0.02, 0.0], vec![0.92, 1.1, 0.3, 0.8]);
    let mut share = [[0.0; 2]; 2];
    for t in 0..2_000u64 {
        let storm = t / 100 % 2 == 1;
        let request = RoutingRequest {
            observations: if storm { crisis.clone() } else { calm.clone() },
            ..RoutingRequest::default()
        };
        let options = RouteOptions { now: Some(400_000 * t), seed: Some(t), ..RouteOptions::default() };
        let d = market.route("t", &request, &options).unwrap();
        let first = d.model == "m0";
        // The first is the better one but for crises, in which it gives nothing good.
        let chance = match (first, storm) {
            (true, false) => 0.95,
            (true, true) => 0.1,
            (false, _) => 0.6,
        };
        market.record_outcome(d.id, &Outcome::success(f64::from(rng.unit() < chance), 300, 0.0)).unwrap();
        if t >= 1_000 && t % 100 >= 10 {
            share[usize::from(storm)][0] += f64::from(u8::from(first)) / 450.0;
        }
    }
    assert!(share[0][0] > 0.9 && share[1][0] < 0.1, "{share:?}");
}

/// Late outcomes are counted where their decision was made, so their order does not matter.
#[test]
fn late_outcomes_in_any_order_give_equal_counts() {
    let learn = |order: &[usize]| {
        let config = Config::default().buckets(16).max_lag(0).tenant_cap(1.0);
        let likelihood = Likelihood::Categorical(Classes::Given(2));
        let market = MarketMaker::builder(config).models(models(2)).likelihood(likelihood).build().unwrap();
        let ids: Vec<_> = (0..6)
            .map(|i| {
                let request =
                    RoutingRequest { observations: vec![0.1 * i as f64, 0.1, 0.1, 0.3], ..RoutingRequest::default() };
                let only = RouteOptions { denied_models: vec!["m1".into()], ..class(i % 2) };
                market.route("t", &request, &only).unwrap().id
            })
            .collect();
        for &i in order {
            let outcome = if i == 3 {
                Outcome::failure(Status::Timeout, 9)
            } else {
                Outcome::success(0.15 * i as f64, 100 * i as u64, 0.1)
            };
            market.record_outcome(ids[i], &outcome).unwrap();
        }
        (0..2).map(|c| market.route("u", &RoutingRequest::default(), &class(c)).unwrap()).collect::<Vec<_>>()
    };
    let (a, b) = (learn(&[0, 1, 2, 3, 4, 5]), learn(&[5, 3, 1, 0, 4, 2]));
    for (a, b) in a.iter().zip(&b) {
        assert_eq!(a.model, b.model);
        assert!((a.efe.total - b.efe.total).abs() < 1e-12 && (a.expected_quality - b.expected_quality).abs() < 1e-12);
    }
}

#[test]
fn snapshots_carry_the_counts_and_know_their_likelihood() {
    for likelihood in [Likelihood::Categorical(Classes::Given(3)), Likelihood::Categorical(Classes::Found(3))] {
        let build = |l| MarketMaker::builder(Config::default().buckets(16)).models(models(3)).likelihood(l);
        let one = build(likelihood).build().unwrap();
        let step = |m: &MarketMaker, t: u64| {
            let request = RoutingRequest {
                input: format!("text {}", t % 7),
                observations: vec![0.1 * (t % 10) as f64, 0.0, 0.0, 0.1],
                ..RoutingRequest::default()
            };
            let d = m.route(&format!("tenant {}", t % 2), &request, &class((t % 3) as usize)).unwrap();
            if !t.is_multiple_of(4) {
                m.record_outcome(d.id, &Outcome::success((t % 5) as f64 / 4.0, 80 * t, 0.001)).unwrap();
            }
            d
        };
        for t in 0..50 {
            step(&one, t);
        }
        let bytes = one.snapshot();
        let other = build(likelihood).restore(&bytes).unwrap();
        assert_eq!(other.snapshot(), bytes);
        for t in 50..90 {
            assert_eq!(step(&one, t), step(&other, t));
        }
        let foreign = build(Likelihood::Linear).restore(&bytes).unwrap_err();
        assert!(matches!(foreign, Error::BadSnapshot { .. }), "{foreign:?}");
        for (i, _) in bytes.iter().enumerate().step_by(97) {
            let mut cut = bytes.clone();
            cut.truncate(i);
            assert!(build(likelihood).restore(&cut).is_err());
        }
    }
}

#[test]
fn bad_likelihoods_are_refused() {
    for (classes, field) in
        [(Classes::Given(0), "classes"), (Classes::Found(0), "classes"), (Classes::Given(1 << 40), "classes")]
    {
        let found = MarketMaker::builder(Config::default()).likelihood(Likelihood::Categorical(classes)).build();
        assert_eq!(found.err(), Some(Error::InvalidConfig { field }));
    }
    for bad in [0.9, 1.1, f64::NAN] {
        let found = MarketMaker::builder(Config::default().forgetting(bad)).build();
        assert_eq!(found.err(), Some(Error::InvalidConfig { field: "forgetting" }));
    }
}

fn row(kind: usize, scores: [f64; 2], observations: Vec<f64>) -> LabelledOutcome {
    LabelledOutcome {
        input: ["the area of a circle", "a poem about rain and wind"][kind].into(),
        class: kind,
        observations,
        scores: scores.map(Some).to_vec(),
        ..LabelledOutcome::default()
    }
}

#[test]
fn a_calibrated_market_decides_well_at_once() {
    for likelihood in
        [Likelihood::Linear, Likelihood::Categorical(Classes::Given(2)), Likelihood::Categorical(Classes::Found(2))]
    {
        let market = market(likelihood, 2);
        let rows: Vec<LabelledOutcome> =
            (0..300).map(|i| row(i % 2, if i % 2 == 0 { [0.9, 0.2] } else { [0.1, 0.8] }, vec![])).collect();
        let report = market.calibrate(&rows).unwrap();
        assert_eq!((report.rows, report.scores, report.log_likelihoods.len()), (300, 600, 0));
        assert!(report.error_after < 0.2 * report.error_before, "{likelihood:?} {report:?}");
        for (kind, row) in rows[..2].iter().enumerate() {
            let request = RoutingRequest { input: row.input.clone(), ..RoutingRequest::default() };
            let d = market.route("t", &request, &class(kind)).unwrap();
            assert_eq!(d.model, format!("m{kind}"), "{likelihood:?}");
            assert!((d.expected_quality - if kind == 0 { 0.9 } else { 0.8 }).abs() < 0.15, "{likelihood:?} {d:?}");
        }
        let again = MarketMaker::builder(Config::default().buckets(16)).models(models(2)).likelihood(likelihood);
        assert_eq!(again.restore(&market.snapshot()).unwrap().snapshot(), market.snapshot());
    }
}

/// Regimes that last ten times as long as the default says: Baum-Welch finds it in the observations.
#[test]
fn transitions_are_calibrated_from_observations() {
    let market = market(Likelihood::Linear, 2);
    let mut rng = SplitMix64::new(5);
    let means = [[0.3, 0.2, 0.05, 0.3], [0.5, 0.0, 0.02, 0.0], [0.9, 1.0, 0.3, 0.8], [0.6, 0.5, 0.1, 0.5]];
    let sd = [0.2, 0.3, 0.08, 0.3];
    let mut regime = 1;
    let rows: Vec<LabelledOutcome> = (0..6_000)
        .map(|_| {
            if rng.unit() < 0.006 {
                regime = rng.below(4);
            }
            let observations = (0..4).map(|d| means[regime][d] + sd[d] * rng.normal()).collect();
            row(0, [0.5, 0.5], observations)
        })
        .collect();
    let report = market.calibrate(&rows).unwrap();
    assert!(report.log_likelihoods.windows(2).all(|w| w[1] >= w[0] - 1e-6) && report.log_likelihoods.len() > 1);
    for i in 0..4 {
        let stay = report.transitions[5 * i];
        assert!((0.985..0.9995).contains(&stay), "regime {i} stays with {stay}");
        assert!((report.transitions[4 * i..4 * i + 4].iter().sum::<f64>() - 1.0).abs() < 1e-9);
    }
}

#[test]
fn bad_rows_teach_nothing() {
    let market = market(Likelihood::Categorical(Classes::Given(2)), 2);
    let before = market.snapshot();
    let good = row(0, [0.5, 0.5], vec![]);
    for (bad, error) in [
        (
            LabelledOutcome { scores: vec![Some(0.5)], ..good.clone() },
            Error::DimensionMismatch { what: "scores", expected: 2, found: 1 },
        ),
        (LabelledOutcome { scores: vec![None, Some(1.5)], ..good.clone() }, Error::OutOfRange { what: "score" }),
        (LabelledOutcome { scores: vec![None, Some(f64::NAN)], ..good.clone() }, Error::NotFinite { what: "score" }),
        (LabelledOutcome { class: 2, ..good.clone() }, Error::OutOfRange { what: "class" }),
        (
            LabelledOutcome { observations: vec![0.5; 3], ..good.clone() },
            Error::DimensionMismatch { what: "observations", expected: 4, found: 3 },
        ),
        (
            LabelledOutcome { observations: vec![f64::INFINITY; 4], ..good.clone() },
            Error::NotFinite { what: "observation" },
        ),
    ] {
        assert_eq!(market.calibrate(&[good.clone(), bad]).unwrap_err(), error);
        assert_eq!(market.snapshot(), before);
    }
    assert_eq!(market.calibrate(&[]).unwrap().rows, 0);
}

#[test]
fn every_curve_and_integrator_serves() {
    let curves: [PoolCurve; 3] = [
        ConstantProduct::default().into(),
        WeightedProduct::new(1, 2, 30, 10_000).unwrap().into(),
        YieldSpace::new(1, 2, 30, 10_000).unwrap().into(),
    ];
    for curve in curves {
        let market =
            MarketMaker::builder(Config::default()).curve(curve).integrator(Suzuki4::default()).build().unwrap();
        let ask = QuoteRequest { model: "Qwen3-7B".into(), units: 5_000, worker: 1 };
        let quote = market.quote(&ask, 0).unwrap();
        let receipt = market.swap(&quote, 1, quote.price).unwrap();
        assert!(receipt.k_after >= receipt.k_before && receipt.got == 5_000);
        assert_eq!(market.pool("Qwen3-7B").unwrap().curve(), &curve);
    }
    // All integrators find the same prices; those of order 4 agree more closely.
    let prices = |integrator: &dyn Fn() -> MarketMaker| {
        let market = integrator();
        let loads = [0.9, 0.2, 0.5, 0.7, 0.4, 0.6].map(Load::new);
        for _ in 0..30 {
            market.tick(0.7, &loads).unwrap();
        }
        market.prices()
    };
    let build = || MarketMaker::builder(Config::default());
    let verlet = prices(&|| build().build().unwrap());
    let yoshida = prices(&|| build().integrator(Yoshida4::default()).build().unwrap());
    let suzuki = prices(&|| build().integrator(Suzuki4::default()).build().unwrap());
    assert_eq!((Yoshida4::ORDER, Suzuki4::ORDER), (4, 4));
    for ((v, y), s) in verlet.iter().zip(&yoshida).zip(&suzuki) {
        assert!((v / s - 1.0).abs() < 0.05 && (y / s - 1.0).abs() < 0.02, "{v} {y} {s}");
    }
    assert_ne!(verlet, yoshida);
}
