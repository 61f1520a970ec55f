//! Outcomes of a decision whose model failed and whose fallbacks were called.

use std::sync::{Arc, Mutex};

use hanzo_hmm::market::{
    Admission, AdmissionRequest, Classes, CooldownPolicy, Denial, Likelihood, ModelSpec, Outcome, RouteOptions,
    RoutingDecision, ServiceState, Status,
};
use hanzo_hmm::{Config, Error, MarketMaker, RoutingRequest};

fn models() -> Vec<ModelSpec> {
    ["a", "b", "c"].map(|id| ModelSpec::new(id, 0.002)).to_vec()
}

fn market(likelihood: Likelihood) -> MarketMaker {
    let cooldown = CooldownPolicy { failures: 1, ..CooldownPolicy::default() };
    let config = Config::default().models(models()).cooldown(cooldown);
    MarketMaker::builder(config).likelihood(likelihood).build().expect("a valid configuration")
}

fn ask(market: &MarketMaker) -> RoutingDecision {
    let request = RoutingRequest {
        input: "a question".into(),
        observations: vec![0.5, 0.1, 0.02, 0.1],
        ..RoutingRequest::default()
    };
    market
        .route("t", &request, &RouteOptions { now: Some(1_000), ..RouteOptions::default() })
        .expect("an eligible model")
}

/// Chosen model and fallbacks by name.
fn order(decision: &RoutingDecision) -> Vec<&str> {
    std::iter::once(&decision.model).chain(decision.fallbacks.iter().map(|f| &f.model)).map(String::as_str).collect()
}

const BOTH: [Likelihood; 2] = [Likelihood::Linear, Likelihood::Categorical(Classes::Given(1))];

#[test]
fn one_call_is_an_outcome() {
    for likelihood in BOTH {
        let [one, other] = [market(likelihood), market(likelihood)];
        for score in [0.2, 0.9, 0.6] {
            let outcome = Outcome::success(score, 400, 0.001);
            let decision = ask(&one);
            one.record_outcome(decision.id, &outcome).expect("a first outcome");
            other.record_calls(ask(&other).id, &[(&decision.model, outcome)]).expect("a first outcome");
        }
        assert_eq!(one.snapshot(), other.snapshot());
    }
}

#[test]
fn every_call_teaches_its_model() {
    for likelihood in BOTH {
        let market = market(likelihood);
        let decision = ask(&market);
        let names = order(&decision);
        let quality = |model: &str| {
            let again = ask(&market);
            let found = again.fallbacks.iter().find(|f| f.model == model).map(|f| f.expected_quality);
            found.unwrap_or(again.expected_quality)
        };
        let before = quality(names[2]);
        let calls = [
            (names[0], Outcome::failure(Status::Timeout, 2_000)),
            (names[1], Outcome::failure(Status::ServerError, 100)),
            (names[2], Outcome::success(1.0, 300, 0.001)),
        ];
        market.record_calls(decision.id, &calls).expect("a first outcome");
        assert!(quality(names[2]) > before, "{likelihood:?}");
        let service = market.service();
        let of = |model: &str| service.iter().find(|s| s.model == model).expect("a model of the table");
        // Each call begins when the one before has ended.
        assert_eq!(of(names[0]).state, ServiceState::Cooling { until: 1_000 + 2_000 + 5_000 });
        assert_eq!(of(names[1]).state, ServiceState::Cooling { until: 1_000 + 2_100 + 5_000 });
        assert_eq!(of(names[2]).state, ServiceState::Healthy);
        assert_eq!(names.iter().map(|model| of(model).outcomes).collect::<Vec<_>>(), [1, 1, 1]);
        assert_eq!(of(names[2]).mean_score, Some(1.0));
        assert_eq!(
            market.record_outcome(decision.id, &Outcome::success(1.0, 1, 0.0)),
            Err(Error::DuplicateOutcome { id: decision.id.get() })
        );
    }
}

#[test]
fn bad_calls_change_nothing() {
    let market = market(Likelihood::Linear);
    let decision = ask(&market);
    let names = order(&decision);
    let (good, before) = (Outcome::success(0.5, 10, 0.0), market.snapshot());
    let out = |what| Err(Error::OutOfRange { what });
    let bad = Outcome::success(1.5, 10, 0.0);
    assert_eq!(market.record_calls(decision.id, &[]), out("calls"));
    assert_eq!(market.record_calls(decision.id, &[(names[1], good)]), out("calls"));
    assert_eq!(market.record_calls(decision.id, &[(names[0], good), (names[1], good), (names[0], good)]), out("calls"));
    assert_eq!(market.record_calls(decision.id, &[(names[0], good), ("nobody", good)]), out("model"));
    assert_eq!(market.record_calls(decision.id, &[(names[0], good), (names[1], bad)]), out("score"));
    let dear = Outcome::success(0.5, 10, -1.0);
    assert!(market.record_calls(decision.id, &[(names[0], good), (names[1], dear)]).is_err());
    assert_eq!(market.snapshot(), before);
    assert_eq!(market.record_calls(decision.id, &[(names[0], good), (names[1], good)]), Ok(()));
}

/// What was committed last, in dollars.
#[derive(Debug, Clone, Default)]
struct Ledger(Arc<Mutex<Vec<f64>>>);

impl Admission for Ledger {
    fn reserve(&self, _: &AdmissionRequest<'_>) -> Result<u64, Denial> {
        Ok(1)
    }

    fn commit(&self, _: u64, usd: f64) {
        self.0.lock().expect("no panic elsewhere").push(usd);
    }

    fn release(&self, _: u64) {}
}

#[test]
fn what_all_calls_cost_is_committed_once() {
    let ledger = Ledger::default();
    let market = MarketMaker::builder(Config::default().models(models())).admission(ledger.clone()).build();
    let market = market.expect("a valid configuration");
    let decision = ask(&market);
    let names = order(&decision);
    let failed = Outcome { usd: 0.25, ..Outcome::failure(Status::ContentFiltered, 10) };
    let calls = [(names[0], failed), (names[1], Outcome::success(0.5, 10, 0.5))];
    market.record_calls(decision.id, &calls).expect("a first outcome");
    assert_eq!(*ledger.0.lock().expect("no panic elsewhere"), [0.75]);
}
