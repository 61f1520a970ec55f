//! The daemon over a runtime that fails and books that are torn from it: nothing is billed twice, nothing runs unbilled.

use hanzo_metering::*;
use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};
use std::collections::BTreeMap;

const BLOCK: u64 = 1_000;

fn t(ns: u64) -> Timestamp {
    Timestamp::from_nanos(ns)
}

fn resources(millicores: u64) -> Resources {
    Resources::new(millicores, millicores << 20, 0).unwrap()
}

fn books_config() -> BooksConfig {
    BooksConfig { interval_blocks: 5, ..BooksConfig::new(TreasuryConfig::new(1, [])) }
}

fn driver_config() -> DriverConfig {
    let capacity = Demand { resources: resources(4_000), slots: 8 };
    let nodes = (0..3).map(|id| NodeSpec::new(NodeId::new(id), capacity)).collect();
    let scheduler = SchedulerConfig { interval_blocks: 5, max_attempts: 50, ..SchedulerConfig::cluster(nodes) };
    DriverConfig { scheduler, epoch_blocks: 100 }
}

fn tariff() -> Tariff {
    Tariff::hanzo(1 << 50)
}

fn terms(job: u128, payer: AccountId, operator: AccountId, deposit: Option<u128>) -> JobTerms {
    let config = DeploymentConfig::new(DeploymentId::new(job), RuntimeKind::Docker, "app:1", resources(1));
    // Readings hold until the next one.
    let meter = MeterConfig { retention_ns: u64::MAX, ..MeterConfig::default() };
    JobTerms { config, payer, operator, tariff: tariff(), tee: TeeKind::None, meter, deposit }
}

struct World {
    driver: Driver<FakeRuntime, MemoryStore>,
    terms: Vec<JobTerms>,
    specs: BTreeMap<u128, JobSpec>,
    payer: AccountId,
    operator: AccountId,
}

impl World {
    fn new(seed: u64, faults: Faults) -> Self {
        let mut books = Journaled::new(Books::new(books_config()).unwrap(), MemoryStore::default());
        let payer = books.open_party(t(0), &[1; 32]).unwrap();
        let operator = books.open_party(t(0), &[2; 32]).unwrap();
        books.apply(t(0), &Effect::Mint { id: 1, to: payer.get(), amount: 1 << 60 }).unwrap();
        let driver = Driver::new(driver_config(), books, FakeRuntime::new(seed, faults)).unwrap();
        Self { driver, terms: Vec::new(), specs: BTreeMap::new(), payer, operator }
    }

    fn submit(&mut self, spec: JobSpec, deposit: Option<u128>) {
        let terms = terms(spec.id, self.payer, self.operator, deposit);
        let config = terms.config.clone();
        self.driver.submit(spec, terms.clone()).unwrap();
        let mut config = config;
        (config.resources, config.replicas) = (spec.request, spec.replicas);
        self.terms.push(JobTerms { config, ..terms });
        self.specs.insert(spec.id, spec);
    }

    fn step(&mut self, now: u64, events: &[Event]) -> StepReport {
        self.driver.runtime().set_now(t(now));
        let report = self.driver.step_blocking(t(now), events).unwrap();
        assert_eq!(report.refused, []);
        report
    }

    /// The process ends; the runtime and what is on disk stay. Jobs that only waited are submitted again.
    fn crash(self, keep: usize) -> Self {
        let Self { driver, terms, specs, payer, operator, .. } = self;
        let (books, runtime) = driver.into_parts();
        let bytes = books.store().bytes();
        let store = MemoryStore::from_bytes(bytes[..keep.min(bytes.len())].to_vec(), None);
        let (books, _) = Journaled::recover(Books::new(books_config()).unwrap(), store).unwrap();
        let mut driver = Driver::recover(driver_config(), books, runtime, terms.clone()).unwrap();
        for (job, spec) in &specs {
            if driver.scheduler().state(*job).is_none() {
                let own = terms.iter().find(|t| t.config.id.get() == *job).unwrap().clone();
                driver.submit(*spec, own).unwrap();
            }
        }
        Self { driver, terms, specs, payer, operator }
    }
}

#[test]
fn what_ran_is_what_was_billed_whatever_fails() {
    for seed in 0..12 {
        eprintln!("seed {seed}");
        let mut rng = SmallRng::seed_from_u64(seed);
        let faults = Faults { deploy_fails: 2_000, reply_lost: 2_500, call_fails: 2_500 };
        let mut world = World::new(seed, faults);
        let (mut now, mut height) = (0, 0);
        let (mut started, mut crashes) = (0, 0);
        for job in 1..=40u128 {
            let spec = JobSpec {
                replicas: rng.random_range(1..4),
                max_duration_ns: Some(rng.random_range(3..12) * BLOCK),
                ..JobSpec::new(job, job % 3, resources(rng.random_range(200..2_500)))
            };
            world.submit(spec, (job % 2 == 0).then_some(1_000));
        }
        for step in 0..600 {
            now += rng.random_range(1..700);
            let mut events = Vec::new();
            if now / BLOCK > height {
                height = now / BLOCK;
                events.push(Event::Block { height });
            }
            if rng.random_range(0..25) == 0 {
                events.push(Event::Cancel { job: rng.random_range(1..=40) });
            }
            if rng.random_range(0..25) == 0 {
                // One ends by itself; someone notices.
                let job = rng.random_range(1..=40u128);
                if world.driver.scheduler().state(job) == Some(JobState::Running) {
                    world.driver.runtime().set_now(t(now));
                    world.driver.runtime().exit(DeploymentId::new(job));
                    events.push(Event::Finished { job });
                }
            }
            started += world.step(now, &events).started.len();
            if step % 40 == 39 {
                crashes += 1;
                let keep = world.driver.books().store().bytes().len();
                world = world.crash(keep);
                world.step(now, &[Event::Block { height }]);
            }
        }
        // All is well again, and everything ends.
        world.driver.runtime().set_faults(Faults::default());
        for _ in 0..30 {
            now += 2 * BLOCK;
            height = now / BLOCK;
            let cancels = (1..=40).map(|job| Event::Cancel { job });
            world.step(now, &cancels.chain([Event::Block { height }]).collect::<Vec<_>>());
        }
        for job in 1..=40 {
            let state = world.driver.scheduler().state(job);
            assert!(matches!(state, None | Some(JobState::Done | JobState::Dead)), "job {job} is {state:?}");
        }
        assert!(started > 20 && crashes == 15, "{started} started");
        assert_eq!(world.driver.books().state().biller().len(), 0);
        // By deployment: all that ran, priced once.
        let mut usage = BTreeMap::<u128, Usage>::new();
        for (id, r, from, to) in world.driver.runtime().history() {
            let ran = r.over(to.saturating_since(from));
            let sum = usage.entry(id.get()).or_default();
            *sum = sum.checked_add(&ran).unwrap();
        }
        let price = |usage: &Usage| {
            let quanta = tariff().quanta(usage).unwrap();
            tariff().price(quanta, RuntimeKind::Docker, TeeKind::None, &mut Carry::default()).unwrap()
        };
        let due: i128 = usage.values().map(price).sum();
        let treasury = world.driver.books().state().treasury();
        let paid = treasury.ledger().balance_of(world.operator).unwrap();
        // Attempts that ended and began again may be billed by two carries: a base unit each.
        let minted = world.driver.books().state().emission().minted();
        let billed = (paid.credits_posted - paid.debits_posted - minted) as i128;
        assert!((billed - due).abs() <= usage.len() as i128, "billed {billed}, due {due}");
        assert!(due > 1_000_000);
        // Every deposit is back.
        let wallet = treasury.ledger().balance_of(world.payer).unwrap();
        let spent = wallet.debits_posted as i128 - (wallet.credits_posted as i128 - (1 << 60));
        assert_eq!((wallet.debits_pending, spent), (0, billed));
        treasury.audit().unwrap();
    }
}

/// A cut of the journal anywhere after the set-up: what is on disk decides, and no job is left running without a bill.
#[test]
fn a_crash_between_any_two_records_leaves_no_job_behind() {
    let mut world = World::new(1, Faults::default());
    let begin = world.driver.books().store().bytes().len();
    for job in 1..=3 {
        let spec = JobSpec { max_duration_ns: Some(6 * BLOCK), ..JobSpec::new(job, 1, resources(1_000)) };
        world.submit(spec, Some(500));
    }
    for n in 0..4 {
        world.step(n * BLOCK, &[Event::Block { height: n }]);
    }
    let end = world.driver.books().store().bytes().len();
    for keep in (begin..=end).step_by(7) {
        let mut world = World::new(1, Faults::default());
        for job in 1..=3 {
            let spec = JobSpec { max_duration_ns: Some(6 * BLOCK), ..JobSpec::new(job, 1, resources(1_000)) };
            world.submit(spec, Some(500));
        }
        for n in 0..4 {
            world.step(n * BLOCK, &[Event::Block { height: n }]);
        }
        world = world.crash(keep);
        for n in 4..30 {
            world.step(n * BLOCK, &[Event::Block { height: n }]);
        }
        let ran: u64 = world.driver.runtime().history().iter().map(|h| h.3.saturating_since(h.2)).sum();
        let quanta = tariff().quanta(&resources(1_000).over(ran)).unwrap();
        let due = tariff().price(quanta, RuntimeKind::Docker, TeeKind::None, &mut Carry::default()).unwrap();
        let treasury = world.driver.books().state().treasury();
        let paid = treasury.ledger().balance_of(world.payer).unwrap();
        assert!((paid.debits_posted as i128 - due).abs() <= 3, "cut at {keep}: {} of {due}", paid.debits_posted);
        assert_eq!(paid.debits_pending, 0);
        assert!(world.driver.runtime().history().iter().all(|h| h.3 < t(29 * BLOCK)), "one still runs");
    }
}

#[test]
fn a_job_that_cannot_pay_is_stopped() {
    let mut world = World::new(1, Faults::default());
    let all = world.driver.books().state().treasury().available(world.payer);
    let (payer, operator) = (world.payer, world.operator);
    world.driver.books_mut().apply(t(0), &Effect::Burn { id: 2, from: payer.get(), amount: all - 1_000 }).unwrap();
    world.submit(JobSpec::new(1, 1, resources(3_000)), None);
    // One that has no cover for its deposit never runs.
    world.submit(JobSpec::new(2, 1, resources(1_000)), Some(5_000));
    world.step(0, &[]);
    assert_eq!(world.driver.scheduler().state(2), Some(JobState::Dead));
    assert_eq!(world.driver.scheduler().state(1), Some(JobState::Running));
    let report = world.step(5 * BLOCK, &[Event::Block { height: 5 }]);
    assert!(!report.bills[0].paid);
    assert_eq!(world.driver.scheduler().state(1), Some(JobState::Done));
    assert_eq!(world.driver.runtime().history().len(), 1);
    assert_eq!(report.minted, []);
    assert_eq!(world.driver.books().state().treasury().available(operator), 0);
}

/// What any runtime must do; a runtime crate would run the same.
#[test]
fn the_fake_runtime_keeps_the_rules_of_runtimes() {
    let rt = FakeRuntime::new(1, Faults::default());
    rt.set_now(t(10));
    let id = DeploymentId::new(7);
    let config = DeploymentConfig::new(id, RuntimeKind::Wasm, "app", resources(100)).replicas(2).namespace("a");
    assert_eq!(BlockingRuntime::probe(&rt, id), Ok(None));
    assert_eq!(BlockingRuntime::stop(&rt, id), Ok(None));
    assert_eq!(BlockingRuntime::deploy(&rt, &config), Ok(id));
    rt.set_now(t(20));
    // Again: the same deployment, since then.
    assert_eq!(BlockingRuntime::deploy(&rt, &config), Ok(id));
    assert_eq!(BlockingRuntime::probe(&rt, id), Ok(Some(t(10))));
    BlockingRuntime::scale(&rt, id, 0).unwrap();
    rt.set_now(t(50));
    let values: Vec<Value> = BlockingRuntime::metrics(&rt, id).unwrap().iter().map(|s| s.value).collect();
    let zero = Value::Reserved(Resources::default());
    assert_eq!(values, [Value::Reserved(resources(200)), zero, zero]);
    assert_eq!(BlockingRuntime::stop(&rt, id), Ok(Some(t(50))));
    assert_eq!(BlockingRuntime::metrics(&rt, id), Err(FakeError::NotRunning));
    assert_eq!(BlockingRuntime::scale(&rt, id, 1), Err(FakeError::NotRunning));
    assert_eq!(rt.history().len(), 2);
    // Lost in the middle: it may have happened, and a probe tells.
    rt.set_faults(Faults { reply_lost: 10_000, ..Faults::default() });
    assert_eq!(BlockingRuntime::deploy(&rt, &config), Err(FakeError::NoAnswer));
    assert_eq!(BlockingRuntime::probe(&rt, id), Ok(Some(t(50))));
    rt.set_faults(Faults { deploy_fails: 10_000, ..Faults::default() });
    let other = DeploymentConfig::new(DeploymentId::new(8), RuntimeKind::Wasm, "app", resources(1));
    assert_eq!(BlockingRuntime::deploy(&rt, &other), Err(FakeError::Failed));
    assert_eq!(BlockingRuntime::probe(&rt, DeploymentId::new(8)), Ok(None));

    // The three forms of the trait are one.
    rt.set_faults(Faults::default());
    let boxed: &dyn DynRuntime<FakeError> = &rt;
    let mut future = boxed.probe_boxed(id);
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    assert_eq!(future.as_mut().poll(&mut context), std::task::Poll::Ready(Ok(Some(t(50)))));
    assert!(boxed.is_transient_dyn(&FakeError::Failed));
}
