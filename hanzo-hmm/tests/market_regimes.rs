//! Markets of any number of regimes, with names of the caller's.
#![expect(clippy::unwrap_used, reason = "helpers of tests")]

use hanzo_hmm::market::{
    Classes, LabelledOutcome, Likelihood, Load, ModelSpec, Outcome, Quote, QuoteRequest, Regime, RegimeConstants,
    RegimeModel, RouteOptions, SignTable, SplitMix64, TenantAdapter,
};
use hanzo_hmm::{Config, Error, GaussianDiag, Hmm, Initial, MarketMaker, RoutingRequest, Transitions};

fn config(regimes: usize) -> Config {
    let models = (0..3).map(|i| ModelSpec::new(format!("m{i}"), 0.001 * f64::from(i + 1))).collect();
    Config::default().num_regimes(regimes).models(models).buckets(16)
}

fn market(regimes: usize, likelihood: Likelihood) -> MarketMaker {
    MarketMaker::builder(config(regimes)).likelihood(likelihood).build().unwrap()
}

const CRISIS: [f64; 4] = [0.9, 1.0, 0.3, 0.8];
const CALM: [f64; 4] = [0.5, 0.0, 0.02, 0.0];

fn ask(market: &MarketMaker, observations: &[f64]) -> hanzo_hmm::market::RoutingDecision {
    let request =
        RoutingRequest { input: "a request".into(), observations: observations.to_vec(), ..RoutingRequest::default() };
    market.route("tenant", &request, &RouteOptions::default()).unwrap()
}

/// A full round with each likelihood: decisions, outcomes, prices, a trade, a warm start, and a snapshot that goes on byte for byte.
#[test]
fn every_part_works_with_any_number_of_regimes() {
    for regimes in [1, 2, 3, 4, 9, 30] {
        for likelihood in [Likelihood::Linear, Likelihood::Categorical(Classes::Given(2))] {
            let m = market(regimes, likelihood);
            let rows: Vec<LabelledOutcome> = (0..20)
                .map(|i| LabelledOutcome {
                    input: format!("row {i}"),
                    observations: if i < 10 { CALM.to_vec() } else { CRISIS.to_vec() },
                    scores: vec![Some(0.3), Some(0.6), None],
                    ..LabelledOutcome::default()
                })
                .collect();
            let report = m.calibrate(&rows).unwrap();
            assert_eq!(report.transitions.len(), regimes * regimes);
            let mut rng = SplitMix64::new(regimes as u64);
            for t in 0..60 {
                let d = ask(&m, if t % 20 < 10 { &CALM } else { &CRISIS });
                assert_eq!(d.regime_posterior.len(), regimes);
                assert!((d.regime_posterior.iter().sum::<f64>() - 1.0).abs() < 1e-12);
                assert_eq!(Regime::of(regimes, d.regime.index()), Some(d.regime));
                let identity = d.efe.risk + d.efe.ambiguity + d.efe.pragmatic + d.efe.epistemic;
                assert!(identity.abs() < 1e-9, "{:?}", d.efe);
                m.record_outcome(d.id, &Outcome::success(rng.unit(), 300, d.estimated_cost_usd)).unwrap();
            }
            m.tick(30.0, &[Load::new(0.9); 3]).unwrap();
            assert!(m.prices().iter().zip(m.models()).all(|(p, spec)| *p > spec.output_usd_per_1k));
            let quote = m.quote(&QuoteRequest { model: "m0".into(), units: 100, worker: 1 }, 10).unwrap();
            assert_eq!((quote.regime, Quote::from_bytes(&quote.to_bytes())), (m.regime().0, Ok(quote.clone())));
            m.swap(&quote, 20, quote.worst_price).unwrap();
            let bytes = m.snapshot();
            let restore =
                |n: usize| MarketMaker::builder(config(n)).likelihood(likelihood).restore(&bytes).map(|m| m.snapshot());
            assert_eq!(restore(regimes), Ok(bytes.clone()));
            assert_eq!(restore(regimes + 1), Err(Error::BadSnapshot { what: "regimes" }));
        }
    }
}

#[test]
fn numbers_of_regimes_that_do_not_exist_are_refused() {
    for bad in [0, Regime::MOST + 1] {
        let refused = MarketMaker::builder(config(bad)).build().map(|_| ());
        assert_eq!(refused, Err(Error::InvalidConfig { field: "num_regimes" }));
    }
    let calm = RegimeConstants::of(Regime::Exploitation);
    let build = |constants| MarketMaker::builder(config(2)).regime_constants(constants).build().map(|_| ());
    let mismatch = Error::DimensionMismatch { what: "regime constants", expected: 2, found: 1 };
    assert_eq!(build(vec![calm]), Err(mismatch));
    let bad = RegimeConstants { stiffness: f64::NAN, ..calm };
    assert_eq!(build(vec![calm, bad]), Err(Error::InvalidConfig { field: "regime_constants" }));
}

/// Two regimes of a caller's: the model brings their number, and its own observations and names.
#[test]
fn a_model_of_the_callers_brings_its_regimes() {
    let hmm = Hmm::new(
        Initial::Free(vec![1.0, 0.0]),
        Transitions::new(vec![vec![0.98, 0.02], vec![0.1, 0.9]]).unwrap(),
        GaussianDiag::new(vec![vec![0.2], vec![0.9]], vec![vec![0.01], vec![0.01]]).unwrap(),
    )
    .unwrap();
    let model = RegimeModel::new(hmm, 0.2).unwrap().with_labels(vec!["day".into(), "rush".into()]).unwrap();
    let (calm, rush) = (RegimeConstants::of(Regime::Exploitation), RegimeConstants::of(Regime::Crisis));
    let table = SignTable::with_regimes(2, 1, 3, 10).unwrap();
    // In the rush this tenant wants the third model.
    table.learn("tenant", 1, 0, &[-8.0, -8.0, 8.0]).unwrap();
    let m = MarketMaker::builder(config(4).gamma(0.1))
        .regime_model(model)
        .regime_constants(vec![calm, rush])
        .adapter(table)
        .build()
        .unwrap();
    let (mut before, mut after) = (String::new(), String::new());
    for _ in 0..3 {
        before = ask(&m, &[0.22]).model;
    }
    assert_eq!(m.regime_model().label(m.regime().0), Some("day"));
    m.tick(20.0, &[Load::new(0.9); 3]).unwrap();
    let quiet = m.prices()[0];
    for _ in 0..3 {
        after = ask(&m, &[0.91]).model;
    }
    assert_eq!(m.regime().0, Regime::Numbered(1));
    assert_eq!(m.regime_model().label(m.regime().0), Some("rush"));
    m.tick(20.0, &[]).unwrap();
    assert!(m.prices()[0] > 2.0 * quiet, "the rush has a larger gain");
    assert_ne!(before, "m2");
    assert_eq!(after, "m2");
    let wrong = RoutingRequest { observations: CALM.to_vec(), ..RoutingRequest::default() };
    let mismatch = Error::DimensionMismatch { what: "observations", expected: 1, found: 4 };
    assert_eq!(m.route("tenant", &wrong, &RouteOptions::default()), Err(mismatch));
}

/// An adapter that was made for another number of regimes changes what it knows and leaves the rest.
#[test]
fn an_adapter_for_fewer_regimes_does_no_harm() {
    let table = SignTable::with_regimes(1, 1, 3, 10).unwrap();
    table.learn("tenant", 0, 0, &[1.0, -1.0, 1.0]).unwrap();
    let mut habit = [0.0; 3];
    table.adjust("tenant", &[0.25, 0.75], 0, &mut habit);
    assert!((habit[0] - 0.25).abs() < 1e-6);
}

/// Where nobody observes anything, outcomes do not make up regimes; once somebody does, they count.
#[test]
fn outcomes_alone_tell_no_regimes_apart() {
    for likelihood in [Likelihood::Linear, Likelihood::Categorical(Classes::Given(1))] {
        let m = market(4, likelihood);
        let mut rng = SplitMix64::new(1);
        let mut tell = |observations: &[f64]| {
            let d = ask(&m, observations);
            m.record_outcome(d.id, &Outcome::success(rng.unit(), 300, d.estimated_cost_usd)).unwrap();
            d.regime_posterior
        };
        for _ in 0..200 {
            for q in tell(&[]) {
                assert!((q - 0.25).abs() < 1e-12);
            }
        }
        assert_eq!(m.regime().1, [0.25; 4]);
        for t in 0..40 {
            tell(if t % 20 < 10 { &CALM } else { &CRISIS });
        }
        let after = tell(&[]);
        assert!(after.iter().any(|q| (q - 0.25).abs() > 0.1), "{after:?}");
    }
}
