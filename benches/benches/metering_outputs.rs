//! What hanzo-metering writes, beside the plain writers below it: FOCUS files beside `csv`, OpenMetrics beside
//! `prometheus-client`, durable commits beside `redb`, the chain of the journal beside BLAKE3; and an idle tick.
#![allow(clippy::unwrap_used, reason = "a bench fails by panicking")]

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use hanzo_metering::{
    AccountId, Biller, Demand, Deployment, Event, FocusConfig, FocusDeployment, FocusVersion, FrameKind, JobSpec,
    Journal, JournalStore, Meter, MeterConfig, Metrics, NodeId, NodeSpec, Reading, RedbStore, Resources, RuntimeKind,
    Scheduler, SchedulerConfig, Tariff, TeeKind, Timestamp, Value, write_focus,
};
use prometheus_client::encoding::text;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::registry::Registry;
use redb::{Database, TableDefinition};
use std::hint::black_box;

/// 2026-01-01T00:00:00Z.
const NEW_YEAR: u64 = 1_767_225_600;

fn second(n: u64) -> Timestamp {
    Timestamp::from_nanos((NEW_YEAR + n) * 1_000_000_000)
}

/// Invoices of an hour for 1,000 deployments as FOCUS files, beside `csv` given the same fields as ready strings.
fn focus(c: &mut Criterion) {
    const DEPLOYMENTS: u16 = 1_000;
    let tariff = Tariff::hanzo(1_250_000);
    let mut config = FocusConfig::new("USD", (1, 1)).unwrap();
    config.token_columns = false;
    let mut biller = Biller::new(100, 0).unwrap();
    for n in 0..DEPLOYMENTS {
        let mut meter = Meter::new(MeterConfig::default(), second(0));
        let value = Value::Reserved(Resources::new(1_000 + u64::from(n), 4 << 30, 0).unwrap());
        meter.record(second(0), Reading { source: b"node", id: b"1", at: second(0), value }).unwrap();
        let (mut id, account) = ([0; 32], AccountId::new(1 + u128::from(n % 100)));
        id[..2].copy_from_slice(&n.to_be_bytes());
        let (runtime, tee) = (RuntimeKind::Kubernetes, TeeKind::None);
        biller.add(id, Deployment { account, tariff, runtime, tee, meter }).unwrap();
        let mut deployment = FocusDeployment::new(tariff, runtime, tee);
        deployment.name = Some(format!("service {n}"));
        deployment.namespace = Some(format!("team-{}", n % 20));
        config.deployments.insert(id, deployment);
    }
    let invoices = biller.bill_through(100, second(3_600)).unwrap().1;
    let mut group = c.benchmark_group("metering::export");
    group.sample_size(20).throughput(Throughput::Elements(u64::from(DEPLOYMENTS)));
    for version in [FocusVersion::V1_0, FocusVersion::V1_2] {
        let mut file = Vec::new();
        write_focus(&mut file, version, &config, &invoices, &[]).unwrap();
        let rows: Vec<Vec<String>> = csv::Reader::from_reader(&file[..])
            .records()
            .map(|row| row.unwrap().iter().map(str::to_owned).collect())
            .collect();
        let id = format!("focus/version={} rows={DEPLOYMENTS} columns={}", version.name(), rows[0].len());
        group.bench_function(&id, |b| {
            b.iter(|| {
                let mut out = Vec::with_capacity(file.len());
                write_focus(&mut out, version, black_box(&config), black_box(&invoices), &[]).unwrap();
                out.len()
            });
        });
        group.bench_function(format!("{id} impl=csv"), |b| {
            b.iter(|| {
                let mut out = csv::Writer::from_writer(Vec::with_capacity(file.len()));
                black_box(&rows).iter().for_each(|row| out.write_record(row).unwrap());
                out.into_inner().unwrap().len()
            });
        });
    }
    group.finish();
}

/// 1,000 series of one family, and the same in a registry without this crate.
fn open_metrics(c: &mut Criterion) {
    let kinds: Vec<&'static str> = (0..500).map(|n| &*Box::leak(format!("kind-{n}").into_boxed_str())).collect();
    let mut metrics = Metrics::new();
    let (mut registry, family) = (Registry::with_prefix("plain"), Family::<Vec<(&str, &str)>, Counter>::default());
    registry.register("transfers", "Transfers by kind and outcome", family.clone());
    for kind in kinds {
        for (accepted, outcome) in [(true, "accepted"), (false, "refused")] {
            metrics.transfer(kind, accepted);
            family.get_or_create(&vec![("kind", kind), ("outcome", outcome)]).inc();
        }
    }
    let mut group = c.benchmark_group("metering::export");
    group.throughput(Throughput::Elements(1_000));
    group.bench_function("openmetrics/series=1000", |b| b.iter(|| metrics.render().len()));
    group.bench_function("openmetrics/series=1000 impl=prometheus-client", |b| {
        b.iter(|| {
            let mut out = String::new();
            text::encode(&mut out, &registry).unwrap();
            out.len()
        });
    });
    group.finish();
}

/// Frames of 108 bytes, as transfers have them: chained in commits of 1 and of 64, and put on disk.
fn journal(c: &mut Criterion) {
    let bodies: Vec<[u8; 108]> =
        (0..16_384_u32).map(|n| core::array::from_fn(|at| (n >> (at % 4 * 8)) as u8)).collect();
    let now = Timestamp::from_nanos(1);
    let commits = |batch: usize| -> Vec<Vec<u8>> {
        let mut journal = Journal::new();
        bodies
            .chunks(batch)
            .map(|chunk| journal.write(chunk.iter().map(|body| (FrameKind::Transfer, now, &body[..])), now))
            .collect()
    };
    let mut group = c.benchmark_group("metering::journal");
    group.sample_size(20).throughput(Throughput::Elements(bodies.len() as u64));
    for batch in [1, 64] {
        group.bench_function(format!("chain/batch={batch}"), |b| b.iter(|| commits(black_box(batch)).len()));
        let written = commits(batch);
        // The same bytes with a hash a commit: what a chain cannot do without.
        group.bench_function(format!("chain/batch={batch} impl=blake3"), |b| {
            b.iter(|| {
                black_box(&written).iter().fold([0; 32], |previous, commit| {
                    *blake3::Hasher::new().update(&previous).update(commit).finalize().as_bytes()
                })
            });
        });
    }
    group.finish();

    const TABLE: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("commits");
    let written = commits(64);
    let folder = std::env::temp_dir().join(format!("hanzo-metering-bench-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let fresh = |name: &str| {
        let path = folder.join(name);
        let _ = std::fs::remove_file(&path);
        path
    };
    let some = &written[..32];
    let mut group = c.benchmark_group("metering::durable");
    group.sample_size(10).throughput(Throughput::Elements(some.len() as u64));
    group.bench_function("append/batch=64", |b| {
        b.iter_batched_ref(
            || RedbStore::open(fresh("ours.redb")).unwrap(),
            |store| some.iter().for_each(|commit| store.append(commit).unwrap()),
            BatchSize::PerIteration,
        );
    });
    group.bench_function("append/batch=64 impl=redb", |b| {
        b.iter_batched_ref(
            || Database::create(fresh("plain.redb")).unwrap(),
            |database| {
                for (n, commit) in (0..).zip(some) {
                    let write = database.begin_write().unwrap();
                    write.open_table(TABLE).unwrap().insert(n, &commit[..]).unwrap();
                    write.commit().unwrap();
                }
            },
            BatchSize::PerIteration,
        );
    });
    group.finish();
    let _ = std::fs::remove_dir_all(&folder);
}

/// A tick in which nothing happens: 10,000 jobs wait for 1,000 full nodes.
fn idle_tick(c: &mut Criterion) {
    let room = |cores: u64| Resources::new(cores * 1_000, cores << 32, 0).unwrap();
    let nodes = (0..1_000).map(|id| NodeSpec::new(NodeId::new(id), Demand { resources: room(8), slots: 64 }));
    let mut scheduler = Scheduler::new(SchedulerConfig::cluster(nodes.collect())).unwrap();
    // 1,000 jobs take all there is, 10,000 wait.
    let submits: Vec<Event> = (1..=11_000).map(|id| Event::Submit(JobSpec::new(id, id % 100, room(8)))).collect();
    let mut now = 1;
    let started = scheduler.tick(Timestamp::from_nanos(now), &submits).unwrap();
    assert_eq!((started.len(), scheduler.queued()), (1_000, 10_000));
    let mut group = c.benchmark_group("metering::scheduler");
    group.bench_function("idle_tick/pending=10000 nodes=1000", |b| {
        b.iter(|| {
            now += 1;
            scheduler.tick(Timestamp::from_nanos(now), black_box(&[])).unwrap().len()
        });
    });
    group.finish();
}

criterion_group!(benches, focus, open_metrics, journal, idle_tick);
criterion_main!(benches);
