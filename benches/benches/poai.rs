//! `hanzo-poai` beside raw SHA-256 over the same number of blocks.

use std::hint::black_box;
use std::sync::Arc;

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use hanzo_poai::{
    Attestation, AttestationHash, AuditPlan, Batch, BatchHash, Beacon, Candidate, ChainId, Comparator as _,
    ConvictionPolicy, EProcess, ElementWise, Epoch, Exposure, Fingerprint, GumbelSampler, JobId, JobSpec, Kl, Logits,
    Margin, ModelHash, Observation, Outcome, PartyId, Probability, Record, RungId, Sampler, SamplingPolicy, StateHash,
    StepExecutor, StepFault, StepFraud, StepResult, Suite, TokenSampler, TopK, Trace, assign_verifiers,
};
use rand::{Rng as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;
use sha2::{Digest as _, Sha256};

fn bytes(rng: &mut ChaCha8Rng) -> [u8; 32] {
    let mut out = [0; 32];
    rng.fill_bytes(&mut out);
    out
}

fn chain(count: u64) -> Vec<Attestation> {
    let mut rng = ChaCha8Rng::seed_from_u64(1);
    let mut done: Vec<Attestation> = Vec::with_capacity(count as usize);
    for seq in 0..count {
        let next = Attestation::builder()
            .suite(Suite::ML_DSA_65)
            .chain(ChainId::new([1; 32]))
            .epoch(Epoch::new(1))
            .seq(seq)
            .worker(PartyId::new([2; 32]))
            .job(JobId::new(bytes(&mut rng)))
            .input(bytes(&mut rng))
            .output(bytes(&mut rng))
            .model(ModelHash::new([3; 32]))
            .environment([4; 32])
            .prev(done.last().map(Attestation::hash))
            .build();
        done.push(next.expect("a valid attestation"));
    }
    done
}

/// SHA-256 of one message for each attestation and each node, padded to the blocks that the tagged hashes
/// add after their cached midstate: 8 for a leaf, 2 for a node.
fn raw_tree(messages: &[[u8; 480]]) -> [u8; 32] {
    let mut level: Vec<[u8; 32]> = messages.iter().map(|message| Sha256::digest(message).into()).collect();
    while level.len() > 1 {
        let pair = |pair: &[[u8; 32]]| match pair {
            [left, right] => Sha256::digest([*left, *right].concat()).into(),
            rest => rest[0],
        };
        level = level.chunks(2).map(pair).collect();
    }
    level[0]
}

fn merkle(c: &mut Criterion) {
    for count in [1_000u64, 100_000] {
        let mut group = c.benchmark_group("merkle::batch");
        group.throughput(Throughput::Elements(count)).sample_size(10);
        let claims = chain(count);
        let wire: Vec<[u8; 480]> = claims.iter().map(Attestation::encode).collect();
        group.bench_function(format!("n={count} impl=hanzo"), |b| {
            b.iter(|| Batch::new(black_box(&claims), BatchHash::new([0; 32])));
        });
        group.bench_function(format!("n={count} impl=hanzo-decode"), |b| {
            b.iter(|| {
                let decoded: Result<Vec<_>, _> = wire.iter().map(|bytes| Attestation::decode(bytes)).collect();
                Batch::new(&decoded.expect("valid bytes"), BatchHash::new([0; 32]))
            });
        });
        let flat: Vec<u8> = wire.concat();
        let header = Batch::from_wire(&flat, BatchHash::new([0; 32])).expect("valid bytes").header().clone();
        group.bench_function(format!("n={count} impl=hanzo-verify-wire"), |b| {
            b.iter(|| header.verify_wire(black_box(&flat)));
        });
        group.bench_function(format!("n={count} impl=raw-sha2"), |b| b.iter(|| raw_tree(black_box(&wire))));
        group.finish();
    }
}

fn sampling(c: &mut Criterion) {
    let mut rng = ChaCha8Rng::seed_from_u64(2);
    let sampler = Sampler::new(&Beacon::new(Epoch::new(1), [5; 32]));
    let p = Probability::from_ratio(3, 1_000).expect("a valid ratio");
    let jobs: Vec<(JobId, u32)> = (0..1_000_000).map(|_| (JobId::new(bytes(&mut rng)), 0)).collect();
    let mut group = c.benchmark_group("sampling::draw");
    group.throughput(Throughput::Elements(jobs.len() as u64)).sample_size(10);
    group.bench_function("n=1000000 impl=hanzo", |b| {
        b.iter(|| jobs.iter().filter(|(job, at)| sampler.draw(job, *at, p).selected()).count());
    });
    group.bench_function("n=1000000 impl=raw-sha2", |b| {
        b.iter(|| {
            let drawn = |(job, at): &&(JobId, u32)| {
                let mut hasher = Sha256::new();
                hasher.update(job.as_bytes());
                hasher.update(at.to_be_bytes());
                hasher.finalize()[0] == 0
            };
            jobs.iter().filter(drawn).count()
        });
    });
    group.bench_function("n=1000000 op=fixed-size k=3000", |b| b.iter(|| sampler.fixed_size(&jobs, 3_000)));
    group.finish();

    let mut group = c.benchmark_group("sampling::plan");
    for count in [1_000u64, 100_000] {
        let exposures: Vec<Exposure> = (0..count)
            .map(|i| Exposure {
                attestation: AttestationHash::new(bytes(&mut rng)),
                gain: rng.next_u32().into(),
                stake: u128::from(rng.next_u64()) << (i % 8),
                cost: 1 + u64::from(rng.next_u32() % 1_000),
                screen: (i % 100 == 0).then(|| rng.next_u64()),
                clean: 0,
            })
            .collect();
        let policy = SamplingPolicy::new(Probability::from_ratio(1, 1_000).expect("a valid ratio"));
        group.throughput(Throughput::Elements(count));
        group.bench_function(format!("n={count}"), |b| b.iter(|| AuditPlan::new(&policy, &exposures, count)));
    }
    group.finish();
}

fn assignment(c: &mut Criterion) {
    let mut group = c.benchmark_group("assignment::verifiers");
    for count in [100u32, 10_000] {
        let mut rng = ChaCha8Rng::seed_from_u64(3);
        let candidates: Vec<Candidate> = (0..count)
            .map(|_| Candidate {
                id: PartyId::new(bytes(&mut rng)),
                owner: PartyId::new(bytes(&mut rng)),
                weight: rng.next_u32().into(),
            })
            .collect();
        let beacon = Beacon::new(Epoch::new(1), [5; 32]);
        group.bench_function(format!("candidates={count} slots=3"), |b| {
            b.iter(|| assign_verifiers(&beacon, &JobId::new([1; 32]), 0, &PartyId::new([0; 32]), &candidates, 3));
        });
    }
    group.finish();
}

fn conviction(c: &mut Criterion) {
    let mut group = c.benchmark_group("conviction");
    let process = EProcess::new(10_000).expect("a valid rate");
    let table = process.convicts(1_000_000, 64).expect("a valid level");
    group.bench_function("op=look-up", |b| b.iter(|| black_box(&table).contains(black_box(5_000), black_box(4))));
    group.bench_function("op=build rows=64", |b| b.iter(|| process.convicts(black_box(1_000_000), 64)));
    let policy = Arc::new(ConvictionPolicy::default());
    group.bench_function("op=observe runs=1", |b| {
        b.iter_batched_ref(
            || Record::new(Arc::clone(&policy), Epoch::new(0)),
            |record| record.observe(RungId::new(0), Outcome::Match),
            BatchSize::SmallInput,
        );
    });
    group.finish();
}

/// Two passes and one exponential an element: the least that a softmax takes.
fn log_sum_exp(row: &[f32]) -> f64 {
    let top = f64::from(row.iter().fold(f32::NEG_INFINITY, |top, x| top.max(*x)));
    top + row.iter().map(|x| libm::exp(f64::from(*x) - top)).sum::<f64>().ln()
}

fn compare(c: &mut Criterion) {
    let mut rng = ChaCha8Rng::seed_from_u64(4);
    for vocabulary in [4_096usize, 131_072] {
        let mut group = c.benchmark_group("compare");
        group.sample_size(10);
        let tokens = 64;
        let reference: Vec<f32> =
            (0..tokens * vocabulary).map(|_| (rng.next_u32() as f32 / u32::MAX as f32 - 0.5) * 20.0).collect();
        let claimed: Vec<f32> =
            reference.iter().map(|x| x + 1e-3 * (rng.next_u32() as f32 / u32::MAX as f32)).collect();
        let [a, b] = [&reference, &claimed].map(|values| Logits::new(values, vocabulary).expect("whole rows"));
        let top = TopK::from_logits(&b, 40).expect("a valid k");
        let (want, got) = (Observation::Logits(a), Observation::Logits(b));
        group.throughput(Throughput::Elements(tokens as u64));
        let id = |op: &str| format!("op={op} vocabulary={vocabulary} tokens={tokens}");
        group.bench_function(id("kl impl=two-log-sum-exps"), |bench| {
            bench.iter(|| a.rows().chain(b.rows()).map(log_sum_exp).sum::<f64>());
        });
        group.bench_function(id("kl"), |bench| bench.iter(|| Kl::new().compare(black_box(&want), black_box(&got))));
        group.bench_function(id("kl-top-40"), |bench| {
            bench.iter(|| Kl::new().compare(black_box(&want), black_box(&Observation::TopK(&top))));
        });
        let near = ElementWise::new(1e-4, 0.0).expect("valid tolerances");
        group.bench_function(id("element-wise"), |bench| {
            bench.iter(|| {
                near.compare(&Observation::F32(black_box(&reference)), &Observation::F32(black_box(&claimed)))
            });
        });
        for top_k in [0, 40] {
            let spec = JobSpec::builder(ModelHash::new([1; 32]), [2; 32])
                .sampler(TokenSampler::GumbelV1)
                .temperature_q16(1 << 16)
                .top_k(top_k)
                .build()
                .expect("a valid spec");
            let sampler = GumbelSampler::new(&spec, &JobId::new([3; 32]).seed());
            let drawn: Vec<u32> =
                (0u32..).zip(b.rows()).map(|(at, row)| sampler.sample(at, row).expect("finite logits")).collect();
            let margin = Margin::new(sampler);
            group.bench_function(id(&format!("margin-top-{top_k}")), |bench| {
                bench.iter(|| margin.compare(black_box(&want), &Observation::Tokens(black_box(&drawn))));
            });
        }
        group.finish();
    }
    let hidden: Vec<f32> = (0..4_096).map(|_| rng.next_u32() as f32 / u32::MAX as f32 - 0.5).collect();
    c.bench_function("compare::fingerprint/width=4096 windows=1", |bench| {
        bench.iter(|| Fingerprint::new(&JobId::new([3; 32]).seed(), black_box(&hidden), 4_096));
    });
}

/// A referee whose step costs nothing, so that what is left is the proof.
struct Free;

impl StepExecutor for Free {
    fn ops(&self, _: &JobSpec) -> u64 {
        1 << 20
    }

    fn initial(&self, _: &JobSpec) -> StateHash {
        StateHash::new([0; 32])
    }

    fn binds_output(&self, _: &StateHash, _: &[u8; 32]) -> bool {
        true
    }

    fn step(&self, _: u64, _: &StateHash, _: &[u8], _: &StateHash) -> StepResult {
        StepResult::Differs
    }
}

fn dispute(c: &mut Criterion) {
    let states = (0..=1u64 << 20).map(|i| {
        let mut state = [0; 32];
        state[..8].copy_from_slice(&i.to_be_bytes());
        StateHash::new(state)
    });
    let trace = Trace::new(states.collect()).expect("a valid trace");
    let spec = JobSpec::builder(ModelHash::new([3; 32]), [9; 32]).build().expect("a valid spec");
    let attestation = Attestation::builder()
        .suite(Suite::ML_DSA_65)
        .chain(ChainId::new([1; 32]))
        .epoch(Epoch::new(1))
        .worker(PartyId::new([2; 32]))
        .job(JobId::new([5; 32]))
        .input([9; 32])
        .output([7; 32])
        .model(ModelHash::new([3; 32]))
        .environment([4; 32])
        .trace(Some(trace.hash().into()))
        .build()
        .expect("a valid attestation");
    let [before, after] = [777_777, 777_778].map(|at| trace.open(at).expect("a state of the trace"));
    let fraud = StepFraud { attestation, fault: StepFault::Step { before, after, operands: vec![1; 64] } };
    let wire = fraud.encode();
    c.bench_function(&format!("dispute::step-fraud/ops=2^20 bytes={}", wire.len()), |bench| {
        bench.iter(|| StepFraud::decode(black_box(&wire)).and_then(|fraud| fraud.verify(&spec, &Free)));
    });
}

criterion_group!(benches, merkle, sampling, assignment, conviction, compare, dispute);
criterion_main!(benches);
