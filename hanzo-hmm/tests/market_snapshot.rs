//! Snapshots: a restored market goes on as the other would have, and no damaged bytes are taken.
#![expect(clippy::unwrap_used, reason = "helpers of tests")]

use std::collections::{BTreeMap, HashMap};

use hanzo_hmm::market::{Load, ModelSpec, Outcome, QuoteRequest, RouteOptions, SplitMix64, Status, Store, StoreError};
use hanzo_hmm::{Config, Error, MarketMaker, RoutingRequest};

fn config() -> Config {
    let models = (0..3).map(|i| ModelSpec::new(format!("m{i}"), 0.001 * f64::from(i + 1))).collect();
    Config::default().models(models).buckets(16).max_decisions(20)
}

/// One call of each kind, decided by the step alone; what came of it as text.
fn step(market: &MarketMaker, t: u64) -> String {
    let mut rng = SplitMix64::new(t);
    let request = RoutingRequest {
        input: format!("request {} of {}", rng.below(9), rng.below(5)),
        observations: if t.is_multiple_of(3) {
            vec![rng.unit(), rng.unit(), 0.1 * rng.unit(), rng.unit()]
        } else {
            vec![]
        },
        ..RoutingRequest::default()
    };
    let options =
        RouteOptions { now: Some(1_000 * t), seed: t.is_multiple_of(2).then_some(t), ..RouteOptions::default() };
    let decision = market.route(&format!("tenant {}", rng.below(4)), &request, &options);
    if let (Ok(d), true) = (&decision, !t.is_multiple_of(4)) {
        let outcome = if rng.unit() < 0.8 {
            Outcome::success(rng.unit(), 100 + t, 0.001)
        } else {
            Outcome::failure(Status::ServerError, 9)
        };
        market.record_outcome(d.id, &outcome).unwrap();
    }
    let report = market.tick(0.5, &[Load::new(rng.unit()), Load::new(0.5), Load::new(rng.unit())]);
    let quote = market.quote(&QuoteRequest { model: "m1".into(), units: 100, worker: t }, 1_000 * t).unwrap();
    let receipt = t.is_multiple_of(2).then(|| market.swap(&quote, 1_000 * t + 5, u128::MAX));
    format!("{decision:?} {report:?} {quote:?} {receipt:?} {:?} {:?}", market.service(), market.prices())
}

#[test]
fn a_restored_market_goes_on_byte_for_byte() {
    let market = MarketMaker::builder(config()).build().unwrap();
    for t in 1..60 {
        step(&market, t);
    }
    let bytes = market.snapshot();
    let again = MarketMaker::builder(config()).restore(&bytes).unwrap();
    assert_eq!(again.snapshot(), bytes);
    for t in 60..120 {
        assert_eq!(step(&market, t), step(&again, t), "step {t}");
    }
    assert_eq!(again.snapshot(), market.snapshot());
}

#[test]
fn the_same_log_replays_to_the_same_bytes() {
    let play = || {
        let market = MarketMaker::builder(config()).build().unwrap();
        let log: Vec<String> = (1..80).map(|t| step(&market, t)).collect();
        (log, market.snapshot())
    };
    assert_eq!(play(), play());
}

/// Saved and opened again, under the key of the configuration and no other.
#[test]
fn a_market_is_kept_in_a_store() {
    fn keep(store: &mut impl Store<Error: std::fmt::Debug>) {
        let open = |store: &mut _, path: &str| MarketMaker::builder(config().db_path(path.into())).open(store).unwrap();
        let market = open(store, "a");
        (1..30).for_each(|t| drop(step(&market, t)));
        market.save(store).unwrap();
        let again = open(store, "a");
        assert_eq!(again.snapshot(), market.snapshot());
        assert_eq!(step(&again, 30), step(&market, 30));
        let other = open(store, "b");
        assert_ne!(other.snapshot(), market.snapshot());
        other.save(store).unwrap();
        again.save(store).unwrap();
        assert_eq!(open(store, "a").snapshot(), again.snapshot());
        assert_eq!(open(store, "b").snapshot(), other.snapshot());
    }
    keep(&mut HashMap::<String, Vec<u8>>::new());
    keep(&mut BTreeMap::<String, Vec<u8>>::new());
}

#[test]
fn a_store_that_fails_or_holds_something_else_is_told_apart() {
    #[derive(Debug, Clone, Copy, PartialEq)]
    struct Broken;
    impl Store for Broken {
        type Error = u8;
        fn load(&mut self, _: &str) -> Result<Option<Vec<u8>>, u8> {
            Err(7)
        }
        fn save(&mut self, _: &str, _: &[u8]) -> Result<(), u8> {
            Err(8)
        }
    }
    let open = || MarketMaker::builder(config()).open(&mut Broken).map(|_| ());
    assert_eq!(open(), Err(StoreError::Store(7)));
    let market = MarketMaker::builder(config()).build().unwrap();
    let before = market.snapshot();
    assert_eq!(market.save(&mut Broken), Err(8));
    assert_eq!(market.snapshot(), before);
    let mut store = BTreeMap::new();
    store.insert("./hllm_storage.db".to_owned(), b"something else".to_vec());
    let refused = MarketMaker::builder(config()).open(&mut store).map(|_| ());
    assert!(matches!(refused, Err(StoreError::Refused(Error::BadSnapshot { .. }))));
    assert_eq!(store.len(), 1, "what was there stays");
}

#[test]
fn a_spent_quote_stays_spent() {
    let market = MarketMaker::builder(config()).build().unwrap();
    let quote = market.quote(&QuoteRequest { model: "m0".into(), units: 10, worker: 0 }, 5).unwrap();
    market.swap(&quote, 6, u128::MAX).unwrap();
    let again = MarketMaker::builder(config()).restore(&market.snapshot()).unwrap();
    assert_eq!(again.swap(&quote, 7, u128::MAX), Err(Error::QuoteReplayed));
}

#[test]
fn damaged_or_foreign_bytes_are_refused() {
    let market = MarketMaker::builder(config()).build().unwrap();
    for t in 1..8 {
        step(&market, t);
    }
    let bytes = market.snapshot();
    let restore = |bytes: &[u8]| MarketMaker::builder(config()).restore(bytes).map(|_| ());
    assert_eq!(restore(&bytes), Ok(()));
    assert_eq!(restore(&[]), Err(Error::BadSnapshot { what: "length" }));
    assert_eq!(restore(&bytes[..bytes.len() - 1]), Err(Error::BadSnapshot { what: "checksum" }));
    let mut rng = SplitMix64::new(1);
    for _ in 0..50 {
        let mut other = bytes.clone();
        let at = rng.below(other.len());
        other[at] ^= 1 << rng.below(8);
        assert!(restore(&other).is_err());
    }
    let fewer = config().models(vec![ModelSpec::new("m0", 0.001)]);
    assert!(matches!(MarketMaker::builder(fewer).restore(&bytes), Err(Error::BadSnapshot { what: "models" })));
    let wider = config().buckets(32);
    assert!(matches!(MarketMaker::builder(wider).restore(&bytes), Err(Error::BadSnapshot { what: "features" })));
}

/// Bytes with the sum that belongs to them.
fn seal(body: &[u8]) -> Vec<u8> {
    let sum = body.iter().fold(0xcbf2_9ce4_8422_2325u64, |h, &b| (h ^ u64::from(b)).wrapping_mul(0x100_0000_01b3));
    [body, &sum.to_be_bytes()].concat()
}

/// With them, costs would be infinite and choice probabilities no numbers.
#[test]
fn prices_that_no_market_reaches_are_refused() {
    let market = MarketMaker::builder(config()).build().unwrap();
    let bytes = market.snapshot();
    let body = &bytes[..bytes.len() - 8];
    // Multipliers of 1, before the first tick, all models in a row.
    let ones = 1f64.to_be_bytes().repeat(market.models().len());
    let at = body.windows(ones.len()).rposition(|w| w == ones).unwrap();
    for bad in [f64::MAX, 1e300, 0.0] {
        let mut forged = body.to_vec();
        forged[at..at + 8].copy_from_slice(&bad.to_be_bytes());
        let found = MarketMaker::builder(config()).restore(&seal(&forged)).map(|_| ());
        assert_eq!(found, Err(Error::BadSnapshot { what: "prices" }));
    }
}

/// With a right sum, any other byte may still be wrong: the state is checked, and nothing panics.
#[test]
fn forged_states_never_panic() {
    let every_way = config().forgetting(0.995).shared_quality(true).neighbours(100).learn_regimes(true);
    for config in [config(), every_way] {
        let market = MarketMaker::builder(config.clone()).build().unwrap();
        for t in 1..40 {
            step(&market, t);
        }
        let bytes = market.snapshot();
        let body = &bytes[..bytes.len() - 8];
        assert_eq!(seal(body), bytes);
        let mut rng = SplitMix64::new(2);
        let mut refused = 0;
        for _ in 0..400 {
            let mut forged = body.to_vec();
            match rng.below(3) {
                0 => forged.truncate(rng.below(body.len())),
                1 => {
                    let at = rng.below(forged.len() - 8);
                    forged[at..at + 8].fill(0xff);
                }
                _ => {
                    let at = rng.below(forged.len());
                    forged[at] = rng.next_u64() as u8;
                }
            }
            match MarketMaker::builder(config.clone()).restore(&seal(&forged)) {
                Ok(market) => drop(market.route("x", &RoutingRequest::default(), &RouteOptions::default())),
                Err(_) => refused += 1,
            }
        }
        assert!(refused > 100, "{refused}");
    }
}
