//! hanzo-metering beside a plain double-entry ledger on `std::collections::HashMap`, and its exact arithmetic.
#![allow(clippy::unwrap_used, reason = "a bench fails by panicking")]

#[path = "metering/std_ledger.rs"]
mod std_ledger;

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use governor::RateLimiter;
use governor::clock::FakeRelativeClock;
use hanzo_metering::{
    AccountFlag, AccountId, Carry, Cluster, Demand, FeeAccrual, FeeSchedule, GasSchedule, Gcra, IdMode, Journaled,
    Ledger, MemoryStore, Meter, MeterConfig, NewAccount, NodeId, NodeSpec, PlanRules, Quanta, QueuedJob, Reading,
    Resources, Role, RuntimeKind, Selection, SlidingWindow, Tariff, TeeKind, Timestamp, Transfer, TransferId,
    TransferKind, Value,
};
use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};
use rust_decimal::{Decimal, RoundingStrategy};
use std::collections::{BTreeMap, HashMap};
use std::hint::black_box;
use std::num::NonZeroU32;
use std::time::Duration;
use std_ledger::{StdAccount, StdLedger};

const ACCOUNTS: u64 = 10_000;
const N: usize = 65_536;
const NOW: Timestamp = Timestamp::from_nanos(1);

fn funding(accounts: u64) -> impl Iterator<Item = Transfer> {
    (0..u128::from(accounts))
        .map(|i| Transfer::new(TransferId::new((1 << 100) + i), AccountId::new(1), AccountId::new(1_000 + i), 1 << 60))
}

fn ours(mode: IdMode, accounts: u64) -> Ledger {
    let mut ledger = Ledger::with_ids(mode, 7);
    ledger.open(NOW, NewAccount::new(AccountId::new(1), 1)).unwrap();
    for t in funding(accounts) {
        let TransferKind::Transfer { credit, .. } = t.kind else { continue };
        let flag = AccountFlag::DebitsLeCredits;
        ledger.open(NOW, NewAccount { flag, ..NewAccount::new(credit, 1) }).unwrap();
        let id = match mode {
            IdMode::Any => t.id,
            IdMode::Sequenced => TransferId::sequenced(1, ledger.len() as u64 + 1),
        };
        ledger.apply(NOW, &Transfer { id, ..t }).unwrap();
    }
    ledger
}

/// The same transfers with the ids 1, 2, 3.. of one source.
fn sequenced(transfers: &[Transfer]) -> Vec<Transfer> {
    let ids: HashMap<TransferId, TransferId> =
        transfers.iter().zip(1..).map(|(t, n)| (t.id, TransferId::sequenced(2, n))).collect();
    let renamed = |t: &Transfer| {
        let kind = match t.kind {
            TransferKind::Post { pending, amount } => TransferKind::Post { pending: ids[&pending], amount },
            TransferKind::Void { pending } => TransferKind::Void { pending: ids[&pending] },
            kind => kind,
        };
        Transfer { id: ids[&t.id], kind, ..*t }
    };
    transfers.iter().map(renamed).collect()
}

fn plain(accounts: u64) -> StdLedger {
    let mut ledger = StdLedger::default();
    ledger.accounts.insert(1, StdAccount::default());
    for t in funding(accounts) {
        let TransferKind::Transfer { credit, .. } = t.kind else { continue };
        ledger.accounts.insert(credit.get(), StdAccount { limited: true, ..StdAccount::default() });
        ledger.apply(&t).unwrap();
    }
    ledger
}

fn pair(rng: &mut SmallRng, accounts: u64) -> (AccountId, AccountId) {
    let a = rng.random_range(0..accounts);
    let b = (a + rng.random_range(1..accounts)) % accounts;
    (AccountId::new(1_000 + u128::from(a)), AccountId::new(1_000 + u128::from(b)))
}

fn singles(rng: &mut SmallRng, accounts: u64) -> Vec<Transfer> {
    let one = |_| {
        let (debit, credit) = pair(rng, accounts);
        Transfer::new(TransferId::new(rng.random()), debit, credit, rng.random_range(1..1_000))
    };
    (0..N).map(one).collect()
}

/// Blocks of 4,096 pendings, then 90 % posted and the rest voided.
fn two_phase(rng: &mut SmallRng) -> Vec<Transfer> {
    let mut all = Vec::with_capacity(N);
    for _ in 0..N / 8_192 {
        let block: Vec<Transfer> = (0..4_096)
            .map(|_| {
                let (debit, credit) = pair(rng, ACCOUNTS);
                Transfer::pending(TransferId::new(rng.random()), debit, credit, 100, 1_000_000)
            })
            .collect();
        all.extend(&block);
        all.extend(block.iter().map(|p| {
            let id = TransferId::new(rng.random());
            if rng.random_range(0..10) > 0 { Transfer::post(id, p.id, None) } else { Transfer::void(id, p.id) }
        }));
    }
    all
}

fn ledger(c: &mut Criterion) {
    let mut rng = SmallRng::seed_from_u64(7);
    let mut group = c.benchmark_group("metering::ledger");
    group.sample_size(10).throughput(Throughput::Elements(N as u64));
    let (singles, two_phase) = (singles(&mut rng, ACCOUNTS), two_phase(&mut rng));
    let (sequenced_ours, ours) = (ours(IdMode::Sequenced, ACCOUNTS), ours(IdMode::Any, ACCOUNTS));
    let plain = plain(ACCOUNTS);
    for (op, transfers) in [("transfer", &singles), ("two_phase", &two_phase)] {
        let renamed = sequenced(transfers);
        group.bench_function(format!("{op}/ids=sequenced accounts={ACCOUNTS}"), |b| {
            let apply = |mut l: Ledger| {
                for t in &renamed {
                    l.apply(NOW, t).unwrap();
                }
                l
            };
            b.iter_batched(|| sequenced_ours.clone(), apply, BatchSize::LargeInput);
        });
        group.bench_function(format!("{op}/accounts={ACCOUNTS}"), |b| {
            let apply = |mut l: Ledger| {
                for t in transfers {
                    l.apply(NOW, t).unwrap();
                }
                l
            };
            b.iter_batched(|| ours.clone(), apply, BatchSize::LargeInput);
        });
        group.bench_function(format!("{op}/accounts={ACCOUNTS} impl=std"), |b| {
            let apply = |mut l: StdLedger| {
                for t in transfers {
                    l.apply(t).unwrap();
                }
                l
            };
            b.iter_batched(|| plain.clone(), apply, BatchSize::LargeInput);
        });
    }
    group.bench_function(format!("linked6/accounts={ACCOUNTS}"), |b| {
        let apply = |mut l: Ledger| {
            for chain in singles.chunks(6) {
                l.apply_linked(NOW, chain).unwrap();
            }
            l
        };
        b.iter_batched(|| ours.clone(), apply, BatchSize::LargeInput);
    });
    let mut full = ours.clone();
    let mut full_plain = plain.clone();
    for t in &singles {
        full.apply(NOW, t).unwrap();
        full_plain.apply(t).unwrap();
    }
    group.bench_function(format!("replay/accounts={ACCOUNTS}"), |b| {
        b.iter(|| singles.iter().filter(|t| full.apply(NOW, t).is_ok()).count());
    });
    group.bench_function(format!("replay/accounts={ACCOUNTS} impl=std"), |b| {
        b.iter(|| singles.iter().filter(|t| full_plain.apply(t).is_some()).count());
    });
    group.finish();
}

/// Escrows that all run out, in the order of their deadlines, which is not that of their locks.
fn expire(c: &mut Criterion) {
    let mut rng = SmallRng::seed_from_u64(8);
    let mut group = c.benchmark_group("metering::ledger");
    group.sample_size(10).throughput(Throughput::Elements(N as u64));
    let pendings: Vec<Transfer> = (0..N)
        .map(|_| {
            let (debit, credit) = pair(&mut rng, ACCOUNTS);
            Transfer::pending(TransferId::new(rng.random()), debit, credit, 100, rng.random_range(1..1_000_000))
        })
        .collect();
    let end = Timestamp::from_nanos(10_000_000);
    let renamed = sequenced(&pendings);
    for (mode, name, pendings) in [(IdMode::Sequenced, "ids=sequenced ", &renamed), (IdMode::Any, "", &pendings)] {
        let before = ours(mode, ACCOUNTS);
        group.bench_function(format!("expire/{name}accounts={ACCOUNTS}"), |b| {
            let run = |mut l: Ledger| {
                for t in pendings {
                    l.apply(NOW, t).unwrap();
                }
                l.advance(end).unwrap();
                l
            };
            b.iter_batched(|| before.clone(), run, BatchSize::LargeInput);
        });
    }
    let before = plain(ACCOUNTS);
    group.bench_function(format!("expire/accounts={ACCOUNTS} impl=std"), |b| {
        let run = |mut l: StdLedger| {
            for t in &pendings {
                l.apply(t).unwrap();
            }
            l.advance(end);
            l
        };
        b.iter_batched(|| before.clone(), run, BatchSize::LargeInput);
    });
    group.finish();
}

/// A million accounts, which no cache holds; the ledgers grow as the bench goes on.
fn large(c: &mut Criterion) {
    const MANY: u64 = 1_000_000;
    let mut rng = SmallRng::seed_from_u64(10);
    let mut group = c.benchmark_group("metering::ledger");
    group.sample_size(10).throughput(Throughput::Elements(N as u64));
    let mut next = 0;
    for (mode, name) in [(IdMode::Sequenced, "ids=sequenced "), (IdMode::Any, "")] {
        let mut ledger = ours(mode, MANY);
        group.bench_function(format!("transfer/{name}accounts={MANY}"), |b| {
            let fresh = || {
                let mut transfers = singles(&mut rng, MANY);
                if mode == IdMode::Sequenced {
                    for t in &mut transfers {
                        next += 1;
                        t.id = TransferId::sequenced(2, next);
                    }
                }
                transfers
            };
            b.iter_batched(
                fresh,
                |transfers| {
                    for t in &transfers {
                        ledger.apply(NOW, t).unwrap();
                    }
                },
                BatchSize::LargeInput,
            );
        });
    }
    let mut ledger = plain(MANY);
    group.bench_function(format!("transfer/accounts={MANY} impl=std"), |b| {
        b.iter_batched(
            || singles(&mut rng, MANY),
            |transfers| transfers.iter().for_each(|t| ledger.apply(t).unwrap()),
            BatchSize::LargeInput,
        );
    });
    group.finish();
}

fn arithmetic(c: &mut Criterion) {
    let mut rng = SmallRng::seed_from_u64(9);
    let mut group = c.benchmark_group("metering::arithmetic");
    let tariff = Tariff::hanzo(1_250_000);
    // The product of quanta and multipliers stays in 128 bits, or passes them.
    for (path, bits) in [("128", 70), ("256", 100)] {
        let quanta: Vec<Quanta> = (0..1_024).map(|_| Quanta::new(rng.random::<u128>() >> (128 - bits))).collect();
        group.throughput(Throughput::Elements(quanta.len() as u64));
        group.bench_function(format!("price/bits={path}"), |b| {
            b.iter(|| {
                let mut carry = Carry::default();
                let price = |&q| tariff.price(q, RuntimeKind::Kubernetes, TeeKind::None, &mut carry).unwrap();
                black_box(&quanta).iter().map(price).sum::<i128>()
            });
        });
    }
    let decimals: Vec<Decimal> = (0..1_024).map(|_| Decimal::new(i64::from(rng.random::<u32>()), 6)).collect();
    let (runtime, price) = (Decimal::new(11_000, 4), Decimal::new(1_250_000, 9));
    group.bench_function("price/impl=rust_decimal", |b| {
        b.iter(|| black_box(&decimals).iter().map(|q| (q * runtime * price).floor()).sum::<Decimal>());
    });
    let amounts: Vec<u128> = (0..1_024).map(|_| u128::from(rng.random::<u64>())).collect();
    let roles = [Role::Worker, Role::Validator, Role::Verifier, Role::LiquidityProvider];
    let recipients: Vec<_> = roles.into_iter().zip((10..).map(AccountId::new)).collect();
    group.throughput(Throughput::Elements(amounts.len() as u64));
    group.bench_function("split/rule=carry shares=5", |b| {
        let mut fees = FeeAccrual::new(FeeSchedule::aci());
        b.iter(|| black_box(&amounts).iter().map(|&a| fees.pay(a, &recipients).unwrap()[0].1).sum::<u128>());
    });
    group.bench_function("split/rule=stateless shares=5", |b| {
        let fees = FeeSchedule::aci();
        b.iter(|| black_box(&amounts).iter().map(|&a| fees.split(a)[0]).sum::<u128>());
    });
    // Rounded down to the ninth decimal and no carry, like `FeeSchedule::split`; what is left goes to one of them.
    let shares = [8_000, 800, 500, 400].map(|bps| Decimal::new(bps, 4));
    let tokens: Vec<Decimal> = amounts.iter().map(|a| Decimal::from_i128_with_scale((a >> 8) as i128, 9)).collect();
    group.bench_function("split/rule=stateless shares=5 impl=rust_decimal", |b| {
        b.iter(|| {
            let split = |amount: &Decimal| {
                let parts = shares.map(|share| (amount * share).round_dp_with_strategy(9, RoundingStrategy::ToZero));
                (amount - parts.iter().sum::<Decimal>(), parts)
            };
            black_box(&tokens).iter().map(|amount| black_box(split(amount)).0).sum::<Decimal>()
        });
    });
    let gas = GasSchedule::MATMUL;
    group.throughput(Throughput::Elements(1_000));
    group.bench_function("gas/op=matmul charge", |b| {
        b.iter(|| {
            let charge = |n: u64| gas.matmul(n, 256, 256).and_then(|gas| gas.charge(7)).unwrap();
            (1..=1_000).map(|n| charge(black_box(n))).sum::<u128>()
        });
    });
    group.finish();
}

/// Readings of 1,000 deployments in turn, 1 % of them late; beside the same readings pushed to vectors.
fn meter(c: &mut Criterion) {
    let mut rng = SmallRng::seed_from_u64(11);
    let mut group = c.benchmark_group("metering::meter");
    const READINGS: u64 = 100_000;
    let rate = Resources::new(2_000, 4 << 30, 0).unwrap();
    let readings: Vec<(usize, [u8; 8], u64)> = (0..READINGS)
        .map(|n| {
            let at = 1_000_000 + n * 1_000;
            let late = if rng.random_range(0..100) == 0 { rng.random_range(0..900_000) } else { 0 };
            ((n % 1_000) as usize, n.to_be_bytes(), at - late)
        })
        .collect();
    group.sample_size(10).throughput(Throughput::Elements(READINGS));
    group.bench_function("record/late=1%", |b| {
        let meters = || (0..1_000).map(|_| Meter::new(MeterConfig::default(), Timestamp::ZERO)).collect::<Vec<_>>();
        let record = |mut meters: Vec<Meter>| {
            for (d, id, at) in &readings {
                let at = Timestamp::from_nanos(*at);
                let reading = Reading { source: b"node", id, at, value: Value::Reserved(rate) };
                meters[*d].record(at, reading).unwrap();
            }
            meters
        };
        b.iter_batched(meters, record, BatchSize::LargeInput);
    });
    group.bench_function("record/late=1% impl=vector-push", |b| {
        let push = |mut vectors: Vec<Vec<(u64, [u8; 8], Resources)>>| {
            for (d, id, at) in &readings {
                vectors[*d].push((*at, *id, rate));
            }
            vectors
        };
        b.iter_batched(|| vec![Vec::new(); 1_000], push, BatchSize::LargeInput);
    });
    group.finish();
}

/// A quota a key: 100 in a window, 100,000 keys in random order.
fn quota(c: &mut Criterion) {
    let mut rng = SmallRng::seed_from_u64(12);
    let mut group = c.benchmark_group("metering::quota");
    const KEYS: u64 = 100_000;
    let requests: Vec<u64> = (0..400_000).map(|_| rng.random_range(0..KEYS)).collect();
    group.sample_size(10).throughput(Throughput::Elements(requests.len() as u64));
    let mut now = 0;
    let mut window = SlidingWindow::new(100, 100_000_000).unwrap().with_keys(200_000, 1).unwrap();
    group.bench_function("check/rule=window keys=100000", |b| {
        b.iter(|| {
            let check = |key: &&u64| {
                now += 100;
                window.check(Timestamp::from_nanos(now), *key, 1).is_ok()
            };
            requests.iter().filter(check).count()
        });
    });
    let mut gcra = Gcra::new(100, 100_000_000, 100).unwrap().with_keys(200_000, 1).unwrap();
    let mut now = 0;
    group.bench_function("check/rule=gcra keys=100000", |b| {
        b.iter(|| {
            let check = |key: &&u64| {
                now += 100;
                gcra.check(Timestamp::from_nanos(now), *key, 1).is_ok()
            };
            requests.iter().filter(check).count()
        });
    });
    let clock = FakeRelativeClock::default();
    let quota =
        governor::Quota::with_period(Duration::from_millis(1)).unwrap().allow_burst(NonZeroU32::new(100).unwrap());
    let governor = RateLimiter::hashmap_with_clock(quota, clock.clone());
    group.bench_function("check/rule=gcra keys=100000 impl=governor", |b| {
        b.iter(|| {
            let check = |key: &&u64| {
                clock.advance(Duration::from_nanos(100));
                governor.check_key(*key).is_ok()
            };
            requests.iter().filter(check).count()
        });
    });
    // What one writes first: a map of queues of times.
    let mut plain: HashMap<u64, std::collections::VecDeque<u64>> = HashMap::new();
    let mut now = 0;
    group.bench_function("check/rule=window keys=100000 impl=queues", |b| {
        b.iter(|| {
            let check = |key: &&u64| {
                now += 100;
                let times = plain.entry(**key).or_default();
                while times.front().is_some_and(|&t| t + 100_000_000 <= now) {
                    times.pop_front();
                }
                let fits = times.len() < 100;
                if fits {
                    times.push_back(now);
                }
                fits
            };
            requests.iter().filter(check).count()
        });
    });
    group.finish();
}

fn capacity(cores: u64) -> Demand {
    Demand { resources: Resources::new(cores * 1_000, cores << 32, 0).unwrap(), slots: 64 }
}

fn waiting(rng: &mut SmallRng, jobs: u64) -> Vec<QueuedJob> {
    let job = |n| {
        let cores = rng.random_range(1..9);
        let resources = Resources::new(cores * 500, cores << 30, 0).unwrap();
        QueuedJob {
            id: u128::from(n) + 1,
            seq: n,
            tenant: rng.random_range(0..100),
            priority: [100, 128, 128, 200][rng.random_range(0..4)],
            submitted: Timestamp::from_nanos(n),
            demand: Demand { resources, slots: 1 },
            replicas: if rng.random_range(0..20) == 0 { 4 } else { 1 },
            max_duration_ns: (rng.random_range(0..4) > 0).then(|| rng.random_range(1..1_000) * 1_000_000),
        }
    };
    (0..jobs).map(job).collect()
}

/// The naive way: order all that wait anew for each start, and look at every node. Stops after so many starts.
fn naive(nodes: &[[u64; 4]], queued: &[QueuedJob], most: usize) -> usize {
    let (mut free, mut left) = (nodes.to_vec(), queued.to_vec());
    let mut used = HashMap::<u128, u64>::new();
    let mut started = 0;
    'start: while started < most {
        left.sort_by_key(|j| (255 - j.priority, used.get(&j.tenant).copied().unwrap_or(0), j.seq));
        for (i, job) in left.iter().enumerate() {
            let (r, need) = (job.demand.resources, job.replicas);
            let v = [r.millicores(), r.bytes(), r.milli_gpus(), 1];
            let fits = |f: &[u64; 4]| f.iter().zip(v).all(|(f, d)| *f >= d);
            let mut trial = free.clone();
            let placed = (0..need).all(|_| {
                let best = (0..trial.len()).filter(|&n| fits(&trial[n])).min_by_key(|&n| trial[n][0] - v[0]);
                best.is_some_and(|n| {
                    trial[n].iter_mut().zip(v).for_each(|(f, d)| *f -= d);
                    true
                })
            });
            if placed {
                free = trial;
                *used.entry(job.tenant).or_default() += v[0] * u64::from(need);
                left.remove(i);
                started += 1;
                continue 'start;
            }
        }
        return started;
    }
    started
}

fn scheduler(c: &mut Criterion) {
    let mut rng = SmallRng::seed_from_u64(13);
    let mut group = c.benchmark_group("metering::scheduler");
    group.sample_size(10);
    let weights = BTreeMap::new();
    let rules = PlanRules { max_wait_ns: u64::MAX, weights: &weights };
    for (pending, count, cores) in [(100, 1, 16), (10_000, 1_000, 64), (10_000, 1_000, 8)] {
        let queued = waiting(&mut rng, pending);
        let nodes = (0..count).map(|id| NodeSpec::new(NodeId::new(id), capacity(cores)));
        let cluster = Cluster::new(nodes, Selection::BestFit).unwrap();
        group.throughput(Throughput::Elements(cluster.plan(NOW, &rules, |_| None, &queued).started.len() as u64));
        let name = format!("pending={pending} nodes={count} cores={cores}");
        group.bench_function(format!("plan/{name}"), |b| {
            b.iter(|| cluster.plan(NOW, &rules, |_| None, black_box(&queued)).started.len());
        });
        // All of a short queue, the first ten starts of a long one.
        let most = if pending == 100 { usize::MAX } else { 10 };
        let free: Vec<[u64; 4]> = cluster.nodes().map(|n| n.1).collect();
        group.throughput(Throughput::Elements(naive(&free, &queued, most) as u64));
        group.bench_function(format!("plan/{name} impl=naive"), |b| b.iter(|| naive(&free, black_box(&queued), most)));
    }
    // A full cluster, in which a few jobs have ended.
    let queued = waiting(&mut rng, 20_000);
    let nodes = (0..1_000).map(|id| NodeSpec::new(NodeId::new(id), capacity(16)));
    let mut cluster = Cluster::new(nodes, Selection::BestFit).unwrap();
    let plan = cluster.plan(NOW, &rules, |_| None, &queued);
    for start in &plan.started {
        let job = &queued[start.id as usize - 1];
        cluster.start(job.id, job.tenant, job.demand, start.placement.clone()).unwrap();
    }
    let running: Vec<u128> = plan.started.iter().map(|s| s.id).collect();
    let left: Vec<QueuedJob> = queued.iter().filter(|j| !running.contains(&j.id)).take(10_000).copied().collect();
    for job in running.iter().step_by(running.len() / 50) {
        cluster.finish(*job).unwrap();
    }
    let end = |id: u128| queued[id as usize - 1].max_duration_ns.map(Timestamp::from_nanos);
    group.throughput(Throughput::Elements(left.len() as u64));
    group.bench_function(format!("replan/pending={} nodes=1000 running={}", left.len(), running.len() - 50), |b| {
        b.iter(|| cluster.plan(NOW, &rules, end, black_box(&left)).started.len());
    });
    group.finish();
}

/// Commits of 64 transfers, beside the hash of the same bytes; and replay beside live calls.
fn journal(c: &mut Criterion) {
    let mut rng = SmallRng::seed_from_u64(14);
    let mut group = c.benchmark_group("metering::journal");
    let transfers = &singles(&mut rng, ACCOUNTS)[..16_384];
    group.sample_size(10).throughput(Throughput::Elements(transfers.len() as u64));
    let open = || {
        let mut ledger = Journaled::new(Ledger::with_hash_seed(7), MemoryStore::default());
        for id in (1_000..1_000 + u128::from(ACCOUNTS)).map(AccountId::new) {
            ledger.open(NOW, NewAccount::new(id, 1)).unwrap();
        }
        ledger
    };
    let apply = |mut ledger: Journaled<Ledger, MemoryStore>| {
        let mut out = Vec::with_capacity(64);
        for batch in transfers.chunks(64) {
            out.clear();
            ledger.apply_batch(NOW, batch, &mut out).unwrap();
        }
        ledger
    };
    group.bench_function("apply/batch=64", |b| b.iter_batched(open, apply, BatchSize::LargeInput));
    let before = open().store().bytes().len();
    let ledger = apply(open());
    let bytes = ledger.store().bytes()[before..].to_vec();
    group
        .bench_function("apply/batch=64 impl=blake3-of-the-same-bytes", |b| b.iter(|| blake3::hash(black_box(&bytes))));
    let commit = bytes.len() / (transfers.len() / 64);
    let chain =
        |hash: [u8; 32], commit: &[u8]| *blake3::Hasher::new().update(&hash).update(commit).finalize().as_bytes();
    group.bench_function("apply/batch=64 impl=blake3-of-the-same-commits", |b| {
        b.iter(|| black_box(&bytes).chunks(commit).fold([0; 32], chain));
    });
    group.bench_function("replay/batch=64", |b| {
        let store = || MemoryStore::from_bytes(ledger.store().bytes().to_vec(), None);
        b.iter_batched(store, |s| Journaled::recover(Ledger::with_hash_seed(7), s).unwrap().1, BatchSize::LargeInput);
    });
    group.finish();
}

criterion_group!(benches, ledger, expire, large, arithmetic, meter, quota, scheduler, journal);
criterion_main!(benches);
