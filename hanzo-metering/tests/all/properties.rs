//! Laws that hold for any input, against plain oracles in big integers.

use hanzo_metering::*;
use num_bigint::BigInt;
use num_rational::BigRational;
use proptest::prelude::*;
use std::collections::BTreeMap;

fn config() -> ProptestConfig {
    ProptestConfig { cases: 96, failure_persistence: None, ..ProptestConfig::default() }
}

fn t(nanos: u64) -> Timestamp {
    Timestamp::from_nanos(nanos)
}

fn big(n: impl Into<BigInt>) -> BigInt {
    n.into()
}

fn floor(n: &BigInt, d: &BigInt) -> BigInt {
    BigRational::new(n.clone(), d.clone()).floor().to_integer()
}

fn runtimes() -> impl Strategy<Value = RuntimeKind> {
    prop_oneof![
        Just(RuntimeKind::Docker),
        Just(RuntimeKind::Kubernetes),
        Just(RuntimeKind::Wasm),
        Just(RuntimeKind::Firecracker)
    ]
}

fn multiplier(rt: RuntimeKind) -> u32 {
    match rt {
        RuntimeKind::Docker => 10_000,
        RuntimeKind::Kubernetes => 11_000,
        RuntimeKind::Wasm => 5_000,
        _ => 11_500,
    }
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn any_cut_of_a_stream_bills_the_floor_of_the_whole(
        parts in prop::collection::vec((0u128..1 << 100, any::<bool>()), 1..40),
        price in 0u128..1 << 90,
        rt in runtimes(),
    ) {
        let tariff = Tariff::hanzo(price);
        let (mut carry, mut total, mut n) = (Carry::default(), big(0), big(0));
        for (q, negative) in parts {
            let q = SignedQuanta::new(Quanta::new(q), negative);
            let before = carry;
            match tariff.price(q, rt, TeeKind::None, &mut carry) {
                Ok(amount) => {
                    total += amount;
                    let part = big(q.magnitude().get()) * multiplier(rt) * 10_000u32 * price;
                    if negative { n -= part } else { n += part }
                }
                Err(e) => {
                    prop_assert_eq!(e, UnitError::Overflow);
                    prop_assert_eq!(carry, before);
                }
            }
            prop_assert!(carry.raw() < tariff.denominator());
        }
        let b = big(tariff.denominator());
        prop_assert_eq!(&total, &floor(&n, &b));
        prop_assert_eq!(n - total * b, big(carry.raw()));
    }

    #[test]
    fn quanta_are_linear_and_exact(
        w in (0u32.., 0u32.., 1u32..), a in (0u64..1 << 56, 0u64..1 << 56, 0u64..1 << 56), ns in 0u64..1 << 50, cut in 0.0f64..1.0,
    ) {
        let weights = Weights::new(w.0, w.1, w.2).unwrap();
        let r = Resources::new(a.0, a.1, a.2).unwrap();
        let first = (ns as f64 * cut) as u64;
        let (c, m, g, d) = weights.constants();
        let exact = (big(c) * a.0 + big(m) * a.1 + big(g) * a.2) * ns;
        match weights.quanta(&r.over(ns)) {
            Ok(q) => {
                prop_assert_eq!(big(q.get()), exact.clone());
                let parts = [r.over(first), r.over(ns - first)].map(|u| weights.quanta(&u).unwrap());
                prop_assert_eq!(parts[0].checked_add(parts[1]), Some(q));
                // In lowest terms the constants still stand for the weights: w_core CU-ns per core-ns.
                let cu = BigRational::new(exact, big(d));
                let nominal = BigRational::new(big(w.0) * a.0 * ns, big(1_000_000))
                    + BigRational::new(big(w.1) * a.1 * ns, big(1_000) * big(1u64 << 30))
                    + BigRational::new(big(w.2) * a.2 * ns, big(1_000_000));
                prop_assert_eq!(cu, nominal);
            }
            Err(e) => {
                prop_assert_eq!(e, UnitError::Overflow);
                prop_assert!(exact > big(u128::MAX));
            }
        }
    }

    #[test]
    fn tariffs_survive_their_encoding(
        w in (any::<u32>(), any::<u32>(), 1u32..), rt in any::<[u32; 4]>(), tee in any::<[u32; 3]>(),
        price in any::<u128>(), mint in any::<u128>(), asset in any::<u32>(), codes in (0u8..4, 0u8..4, 0u8..5),
    ) {
        let tariff = Tariff::hanzo(price)
            .with_weights(Weights::new(w.0, w.1, w.2).unwrap())
            .with_runtime_bps(rt).with_tee_bps(tee).with_mint(mint).with_asset(asset);
        let mut bytes = tariff.to_bytes();
        prop_assert_eq!(Tariff::from_bytes(&bytes), Ok(tariff));
        bytes[42..45].copy_from_slice(&[codes.0, codes.1, codes.2]);
        match Tariff::from_bytes(&bytes) {
            Ok(read) => prop_assert_eq!(read.to_bytes(), bytes),
            Err(e) => {
                let unknown = matches!(e, UnitError::UnknownKind { .. });
                prop_assert!(unknown && (codes.0 > 1 || codes.1 > 1 || codes.2 > 2));
            }
        }
    }

    #[test]
    fn splits_sum_and_stay_within_one_unit(amount in any::<u128>(), weights in prop::collection::vec(0u128..1 << 120, 1..12)) {
        let sum: u128 = weights.iter().sum();
        match distribute(amount, &weights) {
            Err(e) => prop_assert!(e == FeeError::NoWeight && sum == 0),
            Ok(parts) => {
                prop_assert_eq!(parts.iter().map(|&p| big(p)).sum::<BigInt>(), big(amount));
                for (p, w) in parts.iter().zip(&weights) {
                    let low = floor(&(big(amount) * *w), &big(sum));
                    prop_assert!(big(*p) == low || big(*p) == low + 1u8);
                }
            }
        }
    }

    #[test]
    fn accrued_fees_stay_within_one_unit_of_the_exact_share(
        payments in prop::collection::vec((prop_oneof![0u128..50, any::<u64>().prop_map(u128::from)], 0u128..3), 1..200),
    ) {
        // Three workers take turns: each has carries of its own.
        let mut fees = FeeAccrual::new(FeeSchedule::aci());
        let roles = [Role::Worker, Role::Validator, Role::Verifier, Role::LiquidityProvider];
        let mut paid: BTreeMap<(usize, Option<AccountId>), (BigInt, BigInt)> = BTreeMap::new();
        let (mut taken, mut given) = (big(0), big(0));
        for (amount, worker) in payments {
            let recipients: Vec<_> = roles.iter().zip(0..)
                .map(|(&role, i)| (role, AccountId::new(10 + i + if i == 0 { 100 * worker } else { 0 }))).collect();
            taken += amount;
            let bps: Vec<u16> = fees.schedule().shares().iter().map(|s| s.bps).collect();
            for (i, (to, part)) in fees.pay(amount, &recipients).unwrap().into_iter().enumerate() {
                let (exact, sum) = paid.entry((i, to)).or_default();
                *exact += big(amount) * bps[i];
                *sum += part;
                given += part;
            }
            prop_assert_eq!(&taken, &(&given + fees.suspense()));
        }
        for (exact, sum) in paid.values() {
            let short = exact - sum * 10_000;
            prop_assert!(big(0) <= short && short < big(10_000));
        }
        given += fees.finish().into_iter().map(|(_, n)| n).sum::<u128>();
        prop_assert_eq!(taken, given);
    }

    #[test]
    fn grants_keep_within_the_room(
        cap in 0u128..1000, max in 0u128..2000, rounds in prop::collection::vec((prop::collection::vec(0u128..400, 0..6), 0u64..3), 1..20),
    ) {
        let mut emission = Emission::new(Some(cap), Some(max));
        let (mut epoch, mut per_epoch, mut total) = (0, BTreeMap::new(), 0);
        for (requests, step) in rounds {
            epoch += step;
            let grants = emission.grant(&requests, epoch).unwrap();
            prop_assert!(grants.iter().zip(&requests).all(|(g, r)| g <= r));
            let granted: u128 = grants.iter().sum();
            let room = (cap - *per_epoch.get(&epoch).unwrap_or(&0)).min(max - total);
            prop_assert_eq!(granted, room.min(requests.iter().sum()));
            *per_epoch.entry(epoch).or_insert(0u128) += granted;
            total += granted;
        }
        prop_assert_eq!(emission.minted(), total);
    }
}

// --- meter ---

#[derive(Debug, Clone, Copy)]
struct Read {
    at: u64,
    kind: u8,
    value: (u64, u64, u64),
}

fn reads() -> impl Strategy<Value = Vec<Read>> {
    let read = (0u64..400, 0u8..3, (0u64..9, 0u64..9, 0u64..3));
    prop::collection::vec(read.prop_map(|(at, kind, value)| Read { at, kind, value }), 0..30)
}

fn reading(r: &Read, id: &[u8; 1]) -> (u64, Value, [u8; 1]) {
    let resources = Resources::new(r.value.0, r.value.1, r.value.2).unwrap();
    let value = match r.kind {
        0 => Value::Reserved(resources),
        1 => Value::Used(resources),
        _ => Value::CpuTime(r.value.0 * 7 + r.value.1),
    };
    (r.at, value, *id)
}

/// Usage nanosecond by nanosecond.
fn slow_usage(config: &MeterConfig, sorted: &[(u64, Value, [u8; 1])], end: u64) -> Usage {
    let mut usage = Usage::default();
    let gauge = |now: u64, reserved: bool| {
        let pick = |v: &Value| match v {
            Value::Reserved(r) if reserved => Some(*r),
            Value::Used(r) if !reserved => Some(*r),
            _ => None,
        };
        let last = sorted.iter().filter(|r| r.0 <= now).filter_map(|r| Some((r.0, pick(&r.1)?))).next_back();
        let policy = if reserved { config.reserved_gap } else { config.used_gap };
        match last {
            Some((at, _)) if policy == GapPolicy::Zero && now >= at + config.max_gap_ns => Resources::default(),
            Some((_, r)) => r,
            None => Resources::default(),
        }
    };
    let mut floor_since = 0u128;
    let mut counter = None;
    for now in 0..end {
        if config.cpu_source == CpuSource::Counter && config.basis != Basis::Reserved {
            for r in sorted.iter().filter(|r| r.0 == now) {
                if let Value::CpuTime(c) = r.1 {
                    let step = counter.map_or(0, |old| if c < old { c } else { c - old });
                    let step = u128::from(step) * 1_000;
                    usage.cpu += if config.basis == Basis::MaxOfBoth { step.max(floor_since) } else { step };
                    counter = Some(c);
                    floor_since = 0;
                }
            }
        }
        let (reserved, used) = (gauge(now, true), gauge(now, false));
        floor_since += u128::from(reserved.millicores());
        let billed = match config.basis {
            Basis::Reserved => reserved,
            Basis::Used => used,
            Basis::MaxOfBoth => reserved.max(&used),
        };
        if config.basis == Basis::Reserved || config.cpu_source == CpuSource::Gauge {
            usage.cpu += u128::from(billed.millicores());
        }
        usage.memory += u128::from(billed.bytes());
        usage.gpu += u128::from(reserved.milli_gpus());
    }
    usage
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn order_and_windows_never_change_the_total(
        reads in reads(),
        keys in Just((0u8..30).collect::<Vec<_>>()).prop_shuffle(),
        cuts in prop::collection::vec((0usize..30, 0u64..500), 0..8),
        basis in prop_oneof![Just(Basis::Reserved), Just(Basis::Used), Just(Basis::MaxOfBoth)],
        counter in any::<bool>(),
        gaps in (any::<bool>(), any::<bool>(), 1u64..200),
    ) {
        let policy = |zero| if zero { GapPolicy::Zero } else { GapPolicy::Hold };
        let config = MeterConfig {
            basis,
            cpu_source: if counter { CpuSource::Counter } else { CpuSource::Gauge },
            max_gap_ns: gaps.2,
            reserved_gap: policy(gaps.0),
            used_gap: policy(gaps.1),
            ..MeterConfig::default()
        };
        let end = 600;
        let mut sorted: Vec<_> = reads.iter().zip(&keys).map(|(r, &k)| reading(r, &[k])).collect();
        let arrival = sorted.clone();
        sorted.sort_by_key(|r| (r.0, r.2));
        let exact = slow_usage(&config, &sorted, end);

        let mut meter = Meter::new(config, Timestamp::ZERO);
        let mut total = [0i128; 3];
        let mut add = |a, b, c| { total[0] += a; total[1] += b; total[2] += c; };
        let mut cuts = cuts;
        cuts.sort_unstable();
        let mut cuts = cuts.into_iter().peekable();
        for (i, (at, value, id)) in arrival.iter().enumerate() {
            while cuts.peek().is_some_and(|c| c.0 <= i) {
                let until = t(cuts.next().unwrap().1).max(meter.closed_to());
                let w = meter.close(until).unwrap();
                add(w.usage.cpu as i128, w.usage.memory as i128, w.usage.gpu as i128);
                if i % 2 == 0 {
                    for c in meter.corrections().unwrap() {
                        add(c.delta.cpu, c.delta.memory, c.delta.gpu);
                    }
                }
            }
            let r = Reading { source: b"s", id, at: t(*at), value: *value };
            let late = t(*at) < meter.closed_to();
            prop_assert_eq!(meter.record(t(600), r), Ok(if late { Recorded::Late } else { Recorded::New }));
            prop_assert_eq!(meter.record(t(600), r), Ok(Recorded::Duplicate));
        }
        let w = meter.close(t(end)).unwrap();
        add(w.usage.cpu as i128, w.usage.memory as i128, w.usage.gpu as i128);
        for c in meter.corrections().unwrap() {
            add(c.delta.cpu, c.delta.memory, c.delta.gpu);
        }
        prop_assert!(meter.corrections().unwrap().is_empty());
        prop_assert_eq!(total, [exact.cpu as i128, exact.memory as i128, exact.gpu as i128]);
    }

    #[test]
    fn forgetting_changes_no_total_of_a_stream_in_order(
        reads in reads(), retention in 0u64..300, basis in prop_oneof![Just(Basis::Reserved), Just(Basis::MaxOfBoth)], counter in any::<bool>(),
    ) {
        let cpu_source = if counter { CpuSource::Counter } else { CpuSource::Gauge };
        let config = MeterConfig { basis, cpu_source, retention_ns: retention, max_gap_ns: 50, ..MeterConfig::default() };
        let mut sorted: Vec<_> = reads.iter().zip(0u8..).map(|(r, k)| reading(r, &[k])).collect();
        sorted.sort_by_key(|r| (r.0, r.2));
        let exact = slow_usage(&config, &sorted, 600);
        let mut meter = Meter::new(config, Timestamp::ZERO);
        let mut sum = Usage::default();
        let mut rest = sorted.iter().peekable();
        for until in (25..=600).step_by(25) {
            while let Some((at, value, id)) = rest.next_if(|r| r.0 < until) {
                meter.record(t(*at), Reading { source: b"s", id, at: t(*at), value: *value }).unwrap();
            }
            sum = sum.checked_add(&meter.close(t(until)).unwrap().usage).unwrap();
        }
        prop_assert_eq!(sum, exact);
    }
}

/// A deployment that is billed at heights missed at random, with late readings, owes what one bill of everything would.
#[test]
fn missed_boundaries_and_late_readings_bill_the_same_total() {
    use rand::{RngExt, SeedableRng};
    let mut rng = rand::rngs::SmallRng::seed_from_u64(5);
    for _ in 0..50 {
        let tariff = Tariff::hanzo(rng.random::<u64>().into());
        let deployment = || Deployment {
            account: AccountId::new(9),
            tariff,
            runtime: RuntimeKind::Kubernetes,
            tee: TeeKind::Cpu,
            meter: Meter::new(MeterConfig::default(), t(0)),
        };
        let (mut often, mut once) = (Biller::new(10, 0).unwrap(), Biller::new(10, 0).unwrap());
        often.add([1; 32], deployment()).unwrap();
        once.add([1; 32], deployment()).unwrap();
        assert_eq!(often.add([1; 32], deployment()), Err(BillingError::KnownDeployment));
        let (mut total, mut mint, mut corrected) = (0, 0, 0);
        const BLOCK: u64 = 2_000_000_000;
        for height in 0..500u64 {
            if rng.random_range(0..3) == 0 {
                let back = rng.random_range(0..40).min(height);
                let value = Value::Reserved(
                    Resources::new(rng.random_range(0..9_000), rng.random_range(0..1 << 40), 0).unwrap(),
                );
                let at = t((height - back) * BLOCK + 1);
                let r = Reading { source: b"s", id: &height.to_be_bytes(), at, value };
                often.meter(&[1; 32]).unwrap().record(t(height * BLOCK), r).unwrap();
                once.meter(&[1; 32]).unwrap().record(t(height * BLOCK), r).unwrap();
            }
            if let Some(boundary) = often.due(height).filter(|_| rng.random_range(0..12) == 0) {
                let from = often.billed_to();
                let (status, invoices) = often.bill_through(boundary, t(boundary * BLOCK)).unwrap();
                assert_eq!((status, invoices.len(), often.due(height)), (Status::New, 1, None));
                assert_eq!(often.bill_through(boundary, t(boundary * BLOCK)), Ok((Status::Existing, invoices.clone())));
                assert_eq!(often.bill_through(from, t(0)), Err(BillingError::AlreadyBilled { watermark: boundary }));
                assert_eq!(
                    often.bill_through(boundary + 1, t(0)),
                    Err(BillingError::NotABoundary { interval_blocks: 10 })
                );
                assert_eq!((invoices[0].from_height, invoices[0].to_height), (from, boundary));
                total += invoices[0].total;
                mint += invoices[0].mint;
                corrected += invoices[0].lines.len() - 1;
            }
        }
        let last = |b: &mut Biller| b.bill_through(500, t(500 * BLOCK)).unwrap().1.remove(0);
        let (end, whole) = (last(&mut often), last(&mut once));
        assert_eq!((total + end.total, mint + end.mint), (whole.total, whole.mint));
        assert!(corrected > 0 && whole.lines.len() == 1);
    }
    assert!(Biller::new(0, 0).is_err() && Biller::new(1, 0).unwrap().meter(&[0; 32]).is_err());
}

// --- planner and scheduler ---

proptest! {
    #![proptest_config(config())]

    /// With limits of at most L on every job, no job waits longer than the wait limit, plus L for each time
    /// an older job is served first.
    #[test]
    fn no_job_starves_and_the_pool_is_never_over_capacity(
        jobs in prop::collection::vec((1u64..9, 1u64..20, 0u8..3, 0u128..3, 0u64..60), 1..40),
    ) {
        const MAX_WAIT: u64 = 30;
        const L: u64 = 20;
        let one = |cores| Demand { resources: Resources::new(cores, 0, 0).unwrap(), slots: 1 };
        let planner = Planner { capacity: Demand { slots: 100, ..one(8) }, max_wait_ns: MAX_WAIT, weights: BTreeMap::new() };
        let mut queue: Vec<QueuedJob> = Vec::new();
        let mut running: Vec<RunningJob> = Vec::new();
        // The oldest job past the wait limit, and since when it is that.
        let mut oldest: Option<(u128, u64)> = None;
        for now in 0..2_000 {
            running.retain(|j| j.end != Some(t(now)));
            for (i, &(cores, limit, priority, tenant, at)) in jobs.iter().enumerate().filter(|(_, j)| j.4 == now) {
                let (id, seq) = (i as u128, i as u64);
                let submitted = t(at);
                let max_duration_ns = Some(limit);
                queue.push(QueuedJob { id, seq, tenant, priority, submitted, demand: one(cores.min(8)), replicas: 1, max_duration_ns });
            }
            let plan = planner.plan(t(now), &running, &queue);
            for id in &plan.started {
                let at = queue.iter().position(|j| j.id == *id).unwrap();
                let j = queue.remove(at);
                let end = j.max_duration_ns.map(|d| t(now + d));
                running.push(RunningJob { id: j.id, tenant: j.tenant, demand: j.demand, end });
            }
            prop_assert!(running.iter().map(|j| j.demand.resources.millicores()).sum::<u64>() <= 8);
            let due = queue.iter().filter(|j| now >= j.submitted.as_nanos() + MAX_WAIT).min_by_key(|j| (j.submitted, j.seq));
            oldest = due.map(|j| match oldest { Some((id, since)) if id == j.id => (id, since), _ => (j.id, now) });
            if let Some((id, since)) = oldest {
                prop_assert!(now < since + L, "job {id} waits since {since}");
            }
        }
        prop_assert!(queue.is_empty());
    }

    /// A world that loses the scheduler at any moment: no job runs twice at once, and none is forgotten.
    #[test]
    fn a_crash_between_any_two_steps_neither_repeats_nor_forgets(
        jobs in prop::collection::vec((1u64..5, 1u64..30), 1..12), choices in prop::collection::vec(any::<u8>(), 50..400),
    ) {
        let demand = |n| Resources::new(n, 0, 0).unwrap();
        let capacity = Demand { resources: demand(6), slots: 4 };
        let config = SchedulerConfig { interval_blocks: 3, ..SchedulerConfig::new(capacity) };
        let specs: Vec<JobSpec> = jobs.iter().zip(0..)
            .map(|(&(n, limit), id)| JobSpec { max_duration_ns: Some(limit), ..JobSpec::new(id, 0, demand(n)) }).collect();
        let mut scheduler = Scheduler::new(config.clone()).unwrap();
        let (mut log, mut world, mut ran) = (Vec::new(), BTreeMap::new(), BTreeMap::<u128, u32>::new());
        let (mut now, mut height, mut billed) = (0, 0, 0);
        let mut inbox: Vec<Event> = specs.iter().map(|&s| Event::Submit(s)).collect();
        for choice in choices.iter().copied().chain(std::iter::repeat_n(7, 600)) {
            now += 1;
            height += u64::from(choice % 3 == 0 || choice == 7);
            let mut events = std::mem::take(&mut inbox);
            events.push(Event::Block { height });
            for action in scheduler.tick(t(now), &events).unwrap() {
                match action {
                    Action::RecordIntent(intent) => {
                        log.push(JobRecord::Intent(intent.clone()));
                        inbox.push(Event::IntentRecorded { job: intent.spec.id });
                    }
                    Action::Deploy { job, .. } if choice % 5 == 1 => inbox.push(Event::DeployFailed { job, retry: true }),
                    Action::Deploy { job, attempt } => {
                        prop_assert!(world.insert(job, attempt).is_none(), "job {} runs twice", job);
                        *ran.entry(job).or_default() += 1;
                        inbox.push(Event::Deployed { job });
                    }
                    Action::RecordOutcome { job, attempt, outcome } => log.push(JobRecord::Outcome { job, attempt, outcome }),
                    Action::Stop { job, .. } => { world.remove(&job); inbox.push(Event::Finished { job }); }
                    Action::Probe { job } => inbox.push(Event::Probed { job, running: world.contains_key(&job) }),
                    Action::Bill { boundary } => { prop_assert!(boundary > billed && boundary % 3 == 0); billed = boundary; }
                    Action::Refused { event, error } => prop_assert!(false, "{:?}: {error}", events[event]),
                    _ => {}
                }
                let used: u64 = world.keys().map(|&j| specs[j as usize].request.millicores()).sum();
                prop_assert!(used <= 6 && world.len() <= 4);
            }
            if choice % 11 == 10 {
                let config = SchedulerConfig { billed_to: billed, ..config.clone() };
                scheduler = Scheduler::recover(config, log.iter().cloned()).unwrap();
                // What only waited is submitted again; the rest is known.
                inbox = specs.iter().map(|&s| Event::Submit(s)).collect();
            }
        }
        prop_assert!(world.is_empty());
        for s in &specs {
            let state = scheduler.state(s.id).unwrap();
            let tries = ran.get(&s.id).copied().unwrap_or(0);
            prop_assert!(state == JobState::Dead || (state == JobState::Done && tries == 1), "{state:?} after {tries}");
        }
        prop_assert_eq!(scheduler.cluster().free(), [6, 0, 0, 4]);
    }
}
