//! What the market maker of `hanzo-hmm` takes from elsewhere: quotes, snapshots, calls, configurations, amounts of trades and texts.

use hanzo_hmm::market::{
    Classes, ConstantProduct, Curve, Featuriser, HashedText, LabelledOutcome, Likelihood, ModelSpec, Outcome, Quote,
    QuoteRequest, Regime, Reserves, RouteCall, RouteOptions, SignTable, TenantAdapter, WeightedProduct,
};
use hanzo_hmm::{Config, MarketMaker, RoutingRequest};

use crate::{canonical, json};

pub(crate) fn quotes() -> Vec<Vec<u8>> {
    let quote = Quote {
        id: 1,
        pool_version: 2,
        model: [3; 32],
        worker: 4,
        units: 5,
        price: 1_000,
        worst_price: 1_100,
        fee: 3,
        eta_ms: 250,
        regime: Regime::Exploitation,
        issued_at: 1_000,
        expires_at: 31_000,
        nonce: 9,
    };
    vec![quote.to_bytes(), Quote { regime: Regime::Numbered(17), ..quote }.to_bytes()]
}

pub(crate) fn quote(bytes: &[u8]) -> bool {
    canonical(bytes, Quote::from_bytes(bytes), Quote::to_bytes)
}

fn market(likelihood: Likelihood) -> hanzo_hmm::market::MarketMakerBuilder {
    let models = vec![ModelSpec::new("small", 0.001), ModelSpec::new("large", 0.004)];
    let config = Config::default().models(models).buckets(8).num_regimes(2).max_decisions(8).max_tenants(4);
    MarketMaker::builder(config).likelihood(likelihood)
}

const LIKELIHOODS: [Likelihood; 2] = [Likelihood::Linear, Likelihood::Categorical(Classes::Given(2))];

/// Snapshots without their sum, which would refuse every change; the first byte names the likelihood.
pub(crate) fn snapshots() -> Vec<Vec<u8>> {
    let taught = |(i, likelihood): (u8, Likelihood)| {
        let market = market(likelihood).build().expect("a valid market");
        for t in 0..6 {
            let request = RoutingRequest { input: format!("request {t}"), ..RoutingRequest::default() };
            let tenant = ["a", "b"][t % 2];
            let decision = market.route(tenant, &request, &RouteOptions::default()).expect("a model");
            if t < 4 {
                market.record_outcome(decision.id, &Outcome::success(0.5, 300, 0.001)).expect("one outcome");
            }
        }
        market.tick(1.0, &[]).expect("a tick");
        let ask = QuoteRequest { model: "large".into(), units: 50, worker: 1 };
        let quote = market.quote(&ask, 5).expect("liquidity");
        market.swap(&quote, 6, u128::MAX).expect("a fresh quote");
        let snapshot = market.snapshot();
        [&[i][..], &snapshot[..snapshot.len() - 8]].concat()
    };
    (0..).zip(LIKELIHOODS).map(taught).collect()
}

/// A snapshot with its sum.
fn sealed(body: &[u8]) -> Vec<u8> {
    let sum = body.iter().fold(0xcbf2_9ce4_8422_2325u64, |h, &b| (h ^ u64::from(b)).wrapping_mul(0x100_0000_01b3));
    [body, &sum.to_be_bytes()].concat()
}

/// Tables of signs, without their sum.
pub(crate) fn signs() -> Vec<Vec<u8>> {
    let table = SignTable::with_regimes(2, 1, 3, 1).expect("a valid table");
    for tenant in ["b", "a", "c"] {
        table.learn(tenant, 1, 0, &[0.5, -0.5, 1.0]).expect("a known row");
    }
    let snapshot = table.snapshot();
    vec![snapshot[..snapshot.len() - 8].to_vec()]
}

pub(crate) fn sign_table(bytes: &[u8]) -> bool {
    let bytes = sealed(bytes);
    let restored = SignTable::restore(&bytes);
    if let Ok(table) = &restored {
        let mut habit = [0.0; 3];
        table.adjust("a", &[0.5, 0.5], 0, &mut habit);
        assert!(habit.iter().all(|h| h.abs() <= 8.0), "{habit:?}");
    }
    canonical(&bytes, restored, SignTable::snapshot)
}

pub(crate) fn snapshot(bytes: &[u8]) -> bool {
    let Some((which, body)) = bytes.split_first() else { return false };
    let Some(likelihood) = LIKELIHOODS.get(usize::from(*which)) else { return false };
    let sealed = sealed(body);
    let restored = market(*likelihood).restore(&sealed);
    if let Ok(market) = &restored {
        // What was believed must serve.
        assert_eq!(market.snapshot(), sealed, "a restored market is another one");
        let _ = market.route("a", &RoutingRequest::default(), &RouteOptions::default()).map(|d| {
            assert!(d.efe.total.is_finite() && (0.0..=1.0).contains(&d.probability), "no decision: {d:?}");
        });
        let _ = market.tick(1.0, &[]).map(|_| assert!(market.prices().iter().all(|p| p.is_finite() && *p > 0.0)));
    }
    restored.is_ok()
}

pub(crate) fn calls() -> Vec<Vec<u8>> {
    let call = br#"{"user_id":"u1","input":"Summarise.","context":["a page"],"preferences":{"max_cost_usd":0.01,"min_quality":0.7}}"#;
    vec![call.to_vec(), br#"{"user_id":"","input":"?"}"#.to_vec()]
}

/// A call that can be read is routed or refused with an error.
pub(crate) fn call(bytes: &[u8]) -> bool {
    let Ok(call) = serde_json::from_slice::<RouteCall>(bytes) else { return false };
    let (tenant, request, options) = call.into_parts();
    let market = market(Likelihood::Linear).build().expect("a valid market");
    let _ = market.route(&tenant, &request, &options).map(|d| assert!(d.efe.total.is_finite()));
    json::<RouteCall>(bytes)
}

pub(crate) fn configs() -> Vec<Vec<u8>> {
    let written = serde_json::to_vec(&Config::default()).expect("a configuration can be written");
    vec![
        written,
        br#"{"num_regimes":3,"transition_threshold":0.15,"quantization_bits":1,"efe_precision":0.01}"#.to_vec(),
    ]
}

pub(crate) fn labelled() -> Vec<Vec<u8>> {
    vec![br#"{"input":"a","class":1,"observations":[0.5,0.0,0.02,0.0],"scores":[0.25,null]}"#.to_vec()]
}

/// A row of a labelled table is learned whole or refused.
pub(crate) fn label(bytes: &[u8]) -> bool {
    let Ok(row) = serde_json::from_slice::<LabelledOutcome>(bytes) else { return false };
    let market = market(Likelihood::Linear).build().expect("a valid market");
    let before = market.snapshot();
    match market.calibrate(std::slice::from_ref(&row)) {
        Ok(report) => assert!(report.error_after.is_finite(), "{report:?}"),
        Err(_) => assert_eq!(market.snapshot(), before, "a refused row was learned"),
    }
    true
}

/// Two reserves, an amount and a fee.
pub(crate) fn trades() -> Vec<Vec<u8>> {
    let trade = |x: u128, y: u128, dx: u128, fee: u32| {
        [&x.to_be_bytes()[..], &y.to_be_bytes(), &dx.to_be_bytes(), &fee.to_be_bytes()].concat()
    };
    vec![trade(1_000_000, 2_000_000, 500, 30), trade(1 << 100, 1 << 90, u128::from(u64::MAX), 0)]
}

/// No trade that a curve allows lowers its invariant or pays out a whole reserve.
pub(crate) fn trade(bytes: &[u8]) -> bool {
    let Ok(bytes) = <&[u8; 52]>::try_from(bytes) else { return false };
    let word = |i: usize| u128::from_be_bytes(std::array::from_fn(|j| bytes[16 * i + j]));
    let fee = u32::from_be_bytes(std::array::from_fn(|j| bytes[48 + j]));
    let (r, dx) = (Reserves::new(word(0), word(1)), word(2));
    let curves = (ConstantProduct::new(fee, 10_000), WeightedProduct::new(3, 1, fee, 10_000));
    let (Ok(product), Ok(weighted)) = curves else { return false };
    allowed(&product, &r, dx);
    allowed(&weighted, &r, dx);
    true
}

fn allowed(curve: &impl Curve, r: &Reserves, dx: u128) {
    let Ok(out) = curve.amount_out(r, dx) else { return };
    assert!(out < r.output, "a reserve is paid out");
    if let Some(x) = r.input.checked_add(dx) {
        assert!(curve.invariant(&Reserves::new(x, r.output - out)) >= curve.invariant(r), "the invariant fell");
    }
    if let Ok(Ok(bought)) = curve.amount_in(r, dx).map(|paid| curve.amount_out(r, paid)) {
        assert!(bought >= dx, "what was asked for the amount does not buy it");
    }
}

pub(crate) fn texts() -> Vec<Vec<u8>> {
    vec![b"Prove that 2 is irrational.".to_vec(), "\u{1F600}\u{0} \t?Zahl 17\n".as_bytes().to_vec()]
}

/// Any text has finite features: the hashed ones of length 1 or 0.
pub(crate) fn features(bytes: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(bytes) else { return false };
    let featuriser = HashedText::new(16).expect("a power of two");
    let mut x = vec![0.0; featuriser.dim()];
    featuriser.features_into(text, &mut x).expect("room for the features");
    assert!(x.iter().all(|v| v.is_finite()), "a feature is not finite");
    let square: f64 = x[..16].iter().map(|v| v * v).sum();
    assert!(square < 1e-9 || (square - 1.0).abs() < 1e-9, "hashed features of length {}", square.sqrt());
    true
}
