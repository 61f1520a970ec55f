//! Budgets behind [`Admission`]: never overspent, whatever the order, and never leaked.
#![expect(clippy::unwrap_used, reason = "helpers of tests")]

use std::cell::Cell;
use std::collections::HashMap;
use std::sync::{Arc, Condvar, Mutex};

use hanzo_hmm::market::{Admission, AdmissionRequest, Denial, ModelSpec, Outcome, RouteOptions, SignTable, Status};
use hanzo_hmm::{Config, Error, MarketMaker, RoutingRequest};

/// A budget in millionths of a dollar with everything that is set aside.
#[derive(Debug, Default)]
struct Account {
    left: i64,
    spent: i64,
    held: HashMap<u64, i64>,
    next: u64,
}

#[derive(Debug, Clone, Default)]
struct Budget(Arc<Mutex<Account>>);

impl Budget {
    fn of(micros: i64) -> Self {
        Self(Arc::new(Mutex::new(Account { left: micros, ..Account::default() })))
    }

    fn state(&self) -> (i64, i64, usize) {
        let a = self.0.lock().unwrap();
        (a.left, a.spent, a.held.len())
    }
}

impl Admission for Budget {
    fn reserve(&self, request: &AdmissionRequest<'_>) -> Result<u64, Denial> {
        let mut a = self.0.lock().unwrap();
        let worst = (request.usd * 1e6).ceil() as i64;
        if worst > a.left {
            return Err(Denial::Budget);
        }
        a.left -= worst;
        a.next += 1;
        let id = a.next;
        a.held.insert(id, worst);
        Ok(id)
    }

    fn commit(&self, reservation: u64, usd: f64) {
        let mut a = self.0.lock().unwrap();
        let held = a.held.remove(&reservation).expect("committed once, and only what was reserved");
        let used = ((usd * 1e6).ceil() as i64).min(held);
        a.left += held - used;
        a.spent += used;
    }

    fn release(&self, reservation: u64) {
        let mut a = self.0.lock().unwrap();
        let held = a.held.remove(&reservation).expect("released once, and only what was reserved");
        a.left += held;
    }
}

/// One model at 1,000 micro-dollars for the 200 output tokens of a request without text.
fn market(budget: &Budget, decisions: usize) -> MarketMaker {
    let config = Config::default().models(vec![ModelSpec::new("m", 0.005)]).max_decisions(decisions);
    MarketMaker::builder(config).admission(budget.clone()).build().unwrap()
}

fn ask(market: &MarketMaker) -> Result<hanzo_hmm::market::RoutingDecision, Error> {
    market.route("t", &RoutingRequest::default(), &RouteOptions::default())
}

#[derive(Clone, Copy, PartialEq)]
enum End {
    Spend,
    Fail,
}

/// Every order in which three clients can decide and settle, with every way of settling, on a budget for two.
#[test]
fn no_interleaving_overspends() {
    let mut orders = 0;
    let mut denied = 0;
    // A word over {0, 1, 2} with each letter twice: first a client's decision, then its outcome.
    for code in 0..3usize.pow(6) {
        let word: Vec<usize> = (0..6).map(|i| code / 3usize.pow(i) % 3).collect();
        if (0..3).any(|c| word.iter().filter(|w| **w == c).count() != 2) {
            continue;
        }
        orders += 1;
        for ends in 0..8 {
            let budget = Budget::of(2_000);
            let market = market(&budget, 16);
            let mut open = [None; 3];
            let mut moved = [0; 3];
            for &c in &word {
                moved[c] += 1;
                if moved[c] == 1 {
                    match ask(&market) {
                        Ok(d) => open[c] = Some(d.id),
                        Err(Error::NotAdmitted { denial: Denial::Budget }) => denied += 1,
                        Err(other) => panic!("{other}"),
                    }
                } else if let Some(id) = open[c].take() {
                    let end = if ends >> c & 1 == 1 { End::Spend } else { End::Fail };
                    let outcome = match end {
                        End::Spend => Outcome::success(0.5, 10, 0.001),
                        End::Fail => Outcome::failure(Status::BadRequest, 10),
                    };
                    market.record_outcome(id, &outcome).unwrap();
                }
                let (left, spent, _) = budget.state();
                assert!(left >= 0 && spent <= 2_000);
            }
            let (left, spent, held) = budget.state();
            assert_eq!((left + spent, held), (2_000, 0), "nothing leaks");
        }
    }
    assert_eq!(orders, 90);
    assert!(denied > 0);
}

/// Lets threads pass one at a time, in a given order, wherever the market maker calls its admission: between these calls it holds no lock of its own, so
/// the orders of these calls are all the interleavings that can matter to a budget.
#[derive(Debug, Clone)]
struct Turnstile(Arc<(Mutex<Turns>, Condvar)>);

#[derive(Debug)]
struct Turns {
    word: Vec<usize>,
    at: usize,
    done: [bool; 3],
}

thread_local! {
    static CLIENT: Cell<usize> = const { Cell::new(usize::MAX) };
}

impl Turnstile {
    fn new(word: Vec<usize>) -> Self {
        Self(Arc::new((Mutex::new(Turns { word, at: 0, done: [false; 3] }), Condvar::new())))
    }

    fn pass(&self) {
        let me = CLIENT.get();
        let (turns, changed) = &*self.0;
        let mut t = turns.lock().unwrap();
        loop {
            while t.at < t.word.len() && t.done[t.word[t.at]] {
                t.at += 1;
            }
            // Past the end of the word everyone may go.
            if t.at >= t.word.len() || t.word[t.at] == me {
                break;
            }
            t = changed.wait(t).unwrap();
        }
        t.at += 1;
        changed.notify_all();
    }

    fn leave(&self) {
        let (turns, changed) = &*self.0;
        turns.lock().unwrap().done[CLIENT.get()] = true;
        changed.notify_all();
    }
}

/// A budget behind a turnstile.
struct Slow(Budget, Turnstile);

impl Admission for Slow {
    fn reserve(&self, request: &AdmissionRequest<'_>) -> Result<u64, Denial> {
        self.1.pass();
        self.0.reserve(request)
    }

    fn commit(&self, reservation: u64, usd: f64) {
        self.1.pass();
        self.0.commit(reservation, usd);
    }

    fn release(&self, reservation: u64) {
        self.1.pass();
        self.0.release(reservation);
    }
}

/// Three threads on a budget for two, each deciding and settling, with the admission's calls in every order; also where only one decision is remembered, so
/// that the others' reservations are given back by whoever pushes them out.
#[test]
fn no_interleaving_of_threads_overspends() {
    let mut orders = 0;
    for code in 0..3usize.pow(6) {
        let word: Vec<usize> = (0..6).map(|i| code / 3usize.pow(i) % 3).collect();
        if (0..3).any(|c| word.iter().filter(|w| **w == c).count() != 2) {
            continue;
        }
        orders += 1;
        for remembered in [16, 1] {
            let (budget, gate) = (Budget::of(2_000), Turnstile::new(word.clone()));
            let config =
                Config::default().buckets(16).models(vec![ModelSpec::new("m", 0.005)]).max_decisions(remembered);
            let market = MarketMaker::builder(config).admission(Slow(budget.clone(), gate.clone())).build().unwrap();
            let settled: usize = std::thread::scope(|scope| {
                let client = |c: usize| {
                    let (market, gate, budget) = (&market, gate.clone(), budget.clone());
                    move || {
                        CLIENT.set(c);
                        let mut settled = 0;
                        match ask(market) {
                            Ok(d) => match market.record_outcome(d.id, &Outcome::success(0.5, 10, 0.001)) {
                                Ok(()) => settled = 1,
                                Err(error) => assert!(remembered == 1, "{error}"),
                            },
                            Err(Error::NotAdmitted { denial: Denial::Budget }) => {}
                            Err(other) => panic!("{other}"),
                        }
                        let (left, spent, _) = budget.state();
                        assert!(left >= 0 && spent <= 2_000);
                        gate.leave();
                        settled
                    }
                };
                let threads = [0, 1, 2].map(|c| scope.spawn(client(c)));
                threads.into_iter().map(|t| t.join().unwrap()).sum()
            });
            let (left, spent, held) = budget.state();
            assert_eq!((left + spent, held), (2_000, 0), "{word:?}: nothing leaks");
            assert_eq!(spent, 1_000 * settled as i64, "{word:?}: who was served has paid, once");
        }
    }
    assert_eq!(orders, 90);
}

#[test]
fn threads_never_spend_more_than_there_is() {
    let budget = Budget::of(25_000);
    let market = market(&budget, 1_024);
    let served: usize = std::thread::scope(|scope| {
        let work = || {
            (0..20)
                .filter(|_| {
                    let Ok(d) = ask(&market) else { return false };
                    market.record_outcome(d.id, &Outcome::success(0.5, 10, 0.001)).unwrap();
                    true
                })
                .count()
        };
        let threads: Vec<_> = (0..4).map(|_| scope.spawn(work)).collect();
        threads.into_iter().map(|t| t.join().unwrap()).sum()
    });
    assert_eq!(budget.state(), (0, 25_000, 0));
    assert_eq!(served, 25);
}

#[test]
fn what_is_not_decided_or_forgotten_is_given_back() {
    let budget = Budget::of(10_000);
    let market = market(&budget, 2);
    let denied = RouteOptions { denied_models: vec!["m".into()], ..RouteOptions::default() };
    assert!(market.route("t", &RoutingRequest::default(), &denied).is_err());
    assert_eq!(budget.state(), (10_000, 0, 0));
    for _ in 0..7 {
        ask(&market).unwrap();
    }
    assert_eq!(budget.state(), (8_000, 0, 2), "only the two decisions still known hold money");
}

#[test]
fn a_closure_limits_and_a_cost_limit_caps_what_is_set_aside() {
    let config = Config::default().models(vec![ModelSpec::new("m", 0.005)]);
    let market = MarketMaker::builder(config)
        .admission(|r: &AdmissionRequest<'_>| if r.tenant == "bad" { Err(Denial::Refused) } else { Ok(()) })
        .build()
        .unwrap();
    assert!(ask(&market).is_ok());
    let refused = market.route("bad", &RoutingRequest::default(), &RouteOptions::default());
    assert!(matches!(refused, Err(Error::NotAdmitted { denial: Denial::Refused })));
    let budget = Budget::of(1_000);
    let config = Config::default().models(vec![ModelSpec::new("m", 0.005), ModelSpec::new("dear", 5.0)]);
    let market = MarketMaker::builder(config).admission(budget.clone()).build().unwrap();
    assert!(ask(&market).is_err(), "the dearest model would not fit");
    let capped = RouteOptions { max_cost_usd: Some(0.001), ..RouteOptions::default() };
    assert_eq!(market.route("t", &RoutingRequest::default(), &capped).unwrap().model, "m");
}

#[test]
fn a_sign_table_steers_its_tenant_only() {
    let table = Arc::new(SignTable::new(1, 2, 1).unwrap());
    let models = || vec![ModelSpec::new("a", 0.005), ModelSpec::new("b", 0.005)];
    let shared = table.clone();
    let market = MarketMaker::builder(Config::default().models(models()))
        .adapter(move |tenant: &str, regime: &[f64], class: usize, out: &mut [f64]| {
            hanzo_hmm::market::TenantAdapter::adjust(&*shared, tenant, regime, class, out);
        })
        .build()
        .unwrap();
    for regime in 0..4 {
        table.learn("x", regime, 0, &[-4.0, 4.0]).unwrap();
        table.learn("y", regime, 0, &[0.1, -0.1]).unwrap(); // packs x
    }
    let model =
        |tenant: &str| market.route(tenant, &RoutingRequest::default(), &RouteOptions::default()).unwrap().model;
    assert_eq!((model("x"), model("y"), model("z")), ("b".into(), "a".into(), "a".into()));
}
