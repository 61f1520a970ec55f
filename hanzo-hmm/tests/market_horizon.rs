//! Plans over a session: what one request gains against what leaving its model costs later.
#![expect(clippy::unwrap_used, reason = "helpers of tests")]

use hanzo_hmm::market::{Classes, Likelihood, ModelSpec, Outcome, RouteOptions, RoutingDecision};
use hanzo_hmm::{Config, Error, MarketMaker, RoutingRequest};

const CRISIS: [f64; 4] = [0.9, 1.0, 0.3, 0.8];
const CALM: [f64; 4] = [0.5, 0.0, 0.02, 0.0];
const GAMMA: f64 = 0.4;

fn config(switch: f64) -> Config {
    let models = [("a", 0.55), ("b", 0.5), ("c", 0.6)];
    let models = models.map(|(id, quality)| ModelSpec { quality, ..ModelSpec::new(id, 0.001) });
    Config::default().models(models.to_vec()).buckets(16).gamma(GAMMA).efe_precision(0.0).switch_cost(switch)
}

fn request(observations: &[f64]) -> RoutingRequest {
    let mut request =
        RoutingRequest { input: "the same".into(), observations: observations.to_vec(), ..RoutingRequest::default() };
    request.preferences.preferred_models = vec!["b".into()];
    request.preferences.quality_threshold = 0.5;
    request
}

/// In a crisis "a" is good and "c" bad, in calm it is the other way round.
fn taught(likelihood: Likelihood) -> MarketMaker {
    let market = MarketMaker::builder(config(0.0).tenant_cap(1.0)).likelihood(likelihood).build().unwrap();
    for t in 0..90 {
        let crisis = t / 10 % 2 == 0;
        let wanted = ["a", "b", "c"][t % 3];
        let others: Vec<String> = ["a", "b", "c"].iter().filter(|m| **m != wanted).map(|m| (*m).to_owned()).collect();
        let options = RouteOptions { denied_models: others, ..RouteOptions::default() };
        let d = market.route("t", &request(if crisis { &CRISIS } else { &CALM }), &options).unwrap();
        let score = match (wanted, crisis) {
            ("a", true) | ("c", false) => 0.9,
            ("b", _) => 0.5,
            _ => 0.1,
        };
        market.record_outcome(d.id, &Outcome::success(score, 300, d.estimated_cost_usd)).unwrap();
    }
    market
}

/// Free energy of every model by name, and without what can be learned.
fn energies(d: &RoutingDecision) -> Vec<(f64, f64)> {
    let all = d.fallbacks.iter().map(|c| (&c.model, c.efe)).chain([(&d.model, d.efe)]);
    let mut all: Vec<_> = all.map(|(m, efe)| (m.clone(), efe.total, efe.risk + efe.ambiguity)).collect();
    all.sort_by(|a, b| a.0.cmp(&b.0));
    all.into_iter().map(|(_, total, known)| (total, known)).collect()
}

/// Every course, listed. What later requests cost is read off decisions that a copy of the market maker takes one after the other, without outcomes.
#[test]
fn a_horizon_equals_the_listing_of_all_courses() {
    let names = ["a", "b", "c"];
    let mut turned = 0;
    for likelihood in [Likelihood::Linear, Likelihood::Categorical(Classes::Given(1))] {
        let bytes = taught(likelihood).snapshot();
        let cases = [(&CRISIS, None), (&CRISIS, Some(1)), (&CALM, Some(0)), (&CALM, None), (&CRISIS, Some(2))];
        for (switch, (observations, session)) in
            [0.0, 0.7, 3.0, 6.0, 12.0].into_iter().flat_map(|s| cases.map(|c| (s, c)))
        {
            let copy =
                || MarketMaker::builder(config(switch).tenant_cap(1.0)).likelihood(likelihood).restore(&bytes).unwrap();
            let options = |horizon| RouteOptions {
                horizon,
                session_model: session.map(|s: usize| names[s].to_owned()),
                ..RouteOptions::default()
            };
            let single = copy();
            let mut steps = Vec::new();
            for t in 0..4 {
                let request = request(if t == 0 { observations } else { &[] });
                steps.push(energies(&single.route("t", &request, &options(1)).unwrap()));
            }
            let mut alone = String::new();
            for horizon in 1..=4 {
                let (mut best, mut first, mut weights) = (f64::INFINITY, 0, [0.0; 3]);
                for code in 0..3usize.pow(horizon as u32) {
                    let (mut g, mut before) = (0.0, session);
                    for (t, step) in steps.iter().enumerate().take(horizon) {
                        let u = code / 3usize.pow(t as u32) % 3;
                        let (total, known) = step[u];
                        g += if t == 0 { total } else { known } - if u == 1 { 0.5 / GAMMA } else { 0.0 };
                        g += if before.is_some_and(|b| b != u) { switch } else { 0.0 };
                        before = Some(u);
                    }
                    if g < best - 1e-12 {
                        (best, first) = (g, code % 3);
                    }
                    weights[code % 3] += (-GAMMA * g).exp();
                }
                let d = copy().route("t", &request(observations), &options(horizon)).unwrap();
                assert_eq!(d.model, names[first], "{likelihood:?} {switch} {horizon} {session:?}");
                let sum: f64 = weights.iter().sum();
                let found = d.fallbacks.iter().map(|c| (&c.model, c.probability)).chain([(&d.model, d.probability)]);
                for (model, probability) in found {
                    let u = names.iter().position(|n| n == model).unwrap();
                    assert!(
                        (probability - weights[u] / sum).abs() < 1e-9,
                        "{likelihood:?} {switch} {horizon} {session:?}"
                    );
                }
                if horizon == 1 {
                    alone = d.model;
                } else {
                    turned += usize::from(alone != d.model);
                }
            }
        }
    }
    assert!(turned > 3, "the horizon mattered {turned} times");
}

#[test]
fn a_session_moves_where_what_it_gains_over_the_horizon_outweighs_one_switch() {
    let models = vec![
        ModelSpec { quality: 0.60, ..ModelSpec::new("a", 0.001) },
        ModelSpec { quality: 0.62, ..ModelSpec::new("b", 0.001) },
    ];
    let route = |cost: f64, horizon| {
        let market = MarketMaker::builder(Config::default().models(models.clone()).switch_cost(cost)).build().unwrap();
        let options = RouteOptions { session_model: Some("a".into()), horizon, ..RouteOptions::default() };
        market.route("t", &RoutingRequest::default(), &options).unwrap()
    };
    let stays = route(1e3, 1);
    let lead = stays.efe.total - stays.fallbacks[0].efe.total;
    assert_eq!((stays.model.as_str(), lead > 0.01), ("a", true));
    assert_eq!(route(3.5 * lead, 3).model, "a");
    assert_eq!(route(3.5 * lead, 4).model, "b");
}

#[test]
fn horizons_that_cannot_be_are_refused() {
    let market = MarketMaker::builder(config(0.5)).build().unwrap();
    for horizon in [0, 65, usize::MAX] {
        let options = RouteOptions { horizon, ..RouteOptions::default() };
        assert_eq!(market.route("t", &request(&[]), &options), Err(Error::OutOfRange { what: "horizon" }));
    }
    let options = RouteOptions { horizon: 64, ..RouteOptions::default() };
    let d = market.route("t", &request(&[]), &options).unwrap();
    let sum: f64 = d.probability + d.fallbacks.iter().map(|c| c.probability).sum::<f64>();
    assert!((sum - 1.0).abs() < 1e-12);
}
