//! hanzo-experience beside raw SHA-256 (the limit of a scalar tree builder), ct-merkle and rs_merkle.

use std::hint::black_box;

use criterion::{BatchSize, BenchmarkId, Criterion, criterion_group, criterion_main};
use ct_merkle::mem_backed_tree::MemoryBackedTree;
use hanzo_experience::aggregate::{Aggregator, Fixed, Prior, Weighted, WeightedMedian};
use hanzo_experience::crdt::{Record, SignedVote, Vote};
use hanzo_experience::grpo::{Aliases, parse_operations};
use hanzo_experience::merkle::{Hash, Log, StateTree, leaf_hash, verify_consistency, verify_inclusion, verify_multi};
use hanzo_experience::{
    Account, Content, Draft, ExperienceId, Library, LibraryConfig, Mode, Operation, Search, Stamp, Text, VectorIndex,
};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use sha2::{Digest, Sha256};

fn leaves(n: usize) -> Vec<Hash> {
    (0..n).map(|index| leaf_hash(&index.to_be_bytes())).collect()
}

/// RFC 6962 hashing for rs_merkle: a node without a sibling is promoted.
#[derive(Clone)]
struct Rfc6962;

impl rs_merkle::Hasher for Rfc6962 {
    type Hash = [u8; 32];

    fn hash(data: &[u8]) -> [u8; 32] {
        leaf_hash(data).into()
    }

    fn concat_and_hash(left: &[u8; 32], right: Option<&[u8; 32]>) -> [u8; 32] {
        let Some(right) = right else { return *left };
        let mut node = [1; 65];
        node[1..33].copy_from_slice(left);
        node[33..].copy_from_slice(right);
        Sha256::digest(node).into()
    }
}

fn build(c: &mut Criterion) {
    let mut group = c.benchmark_group("merkle::build");
    for n in [1_000, 100_000] {
        let leaves = leaves(n);
        group.bench_with_input(BenchmarkId::new("impl=hanzo", format!("n={n}")), &leaves, |b, leaves| {
            b.iter_batched(|| leaves.clone(), |leaves| Log::from_leaves(leaves).root(), BatchSize::LargeInput);
        });
        group.bench_with_input(BenchmarkId::new("impl=sha2", format!("n={n}")), &leaves, |b, leaves| {
            b.iter(|| {
                let mut last = [1; 65];
                for pair in leaves.windows(2) {
                    last[1..33].copy_from_slice(pair[0].as_bytes());
                    last[33..].copy_from_slice(pair[1].as_bytes());
                    black_box(Sha256::digest(last));
                }
            });
        });
        let plain: Vec<[u8; 32]> = leaves.iter().map(|leaf| (*leaf).into()).collect();
        group.bench_with_input(BenchmarkId::new("impl=rs_merkle", format!("n={n}")), &plain, |b, plain| {
            b.iter(|| rs_merkle::MerkleTree::<Rfc6962>::from_leaves(plain).root());
        });
    }
    group.finish();
}

fn append_root(c: &mut Criterion) {
    let mut group = c.benchmark_group("merkle::append_root");
    let n = 4_000_usize;
    group.bench_function(BenchmarkId::new("impl=hanzo", format!("n={n}")), |b| {
        b.iter(|| {
            let mut log = Log::new();
            for index in 0..n {
                log.append_data(&index.to_be_bytes());
                black_box(log.root());
            }
        });
    });
    group.bench_function(BenchmarkId::new("impl=ct-merkle", format!("n={n}")), |b| {
        b.iter(|| {
            let mut tree = MemoryBackedTree::<Sha256, [u8; 8]>::new();
            for index in 0..n {
                tree.push(index.to_be_bytes());
                black_box(tree.root());
            }
        });
    });
    group.finish();
}

fn prove_and_verify(c: &mut Criterion) {
    let n = 1_000_usize;
    let mut log = Log::new();
    let mut tree = MemoryBackedTree::<Sha256, [u8; 8]>::new();
    for index in 0..n {
        log.append_data(&index.to_be_bytes());
        tree.push(index.to_be_bytes());
    }
    let (index, data, root) = (321_usize, 321_usize.to_be_bytes(), log.root());

    let mut group = c.benchmark_group("merkle::prove");
    group.bench_function(BenchmarkId::new("impl=hanzo", format!("n={n}")), |b| {
        b.iter(|| log.prove_inclusion(black_box(index as u64), n as u64));
    });
    group.bench_function(BenchmarkId::new("impl=ct-merkle", format!("n={n}")), |b| {
        b.iter(|| tree.prove_inclusion(black_box(index)));
    });
    group.finish();

    let ours = log.prove_inclusion(index as u64, n as u64).expect("index in range");
    let theirs = tree.prove_inclusion(index);
    let their_root = tree.root();
    let mut group = c.benchmark_group("merkle::verify");
    group.bench_function(BenchmarkId::new("impl=hanzo", format!("n={n}")), |b| {
        b.iter(|| verify_inclusion(index as u64, n as u64, &leaf_hash(black_box(&data)), &ours, &root));
    });
    group.bench_function(BenchmarkId::new("impl=ct-merkle", format!("n={n}")), |b| {
        b.iter(|| their_root.verify_inclusion(black_box(&data), index as u64, &theirs));
    });
    group.bench_function(BenchmarkId::new("impl=sha2-of-11-hashes", format!("n={n}")), |b| {
        b.iter(|| {
            black_box(leaf_hash(black_box(&data)));
            for _ in 0..10 {
                black_box(Sha256::digest(black_box([1_u8; 65])));
            }
        });
    });
    group.finish();

    let (old, new) = (700_u64, n as u64);
    let proof = log.prove_consistency(old, new).expect("sizes in range");
    let old_root = log.root_at(old).expect("size in range");
    c.bench_function(&format!("merkle::consistency/old={old} new={new}"), |b| {
        b.iter(|| verify_consistency(black_box(old), &old_root, new, &root, &proof));
    });
    let ids: Vec<ExperienceId> = log.leaves().iter().map(|leaf| (*leaf).into()).collect();
    c.bench_function(&format!("merkle::state_root/n={n}"), |b| {
        b.iter(|| StateTree::new(black_box(&ids).iter().copied()).root());
    });
}

fn multiproof(c: &mut Criterion) {
    let n = 1_000_usize;
    let log = Log::from_leaves(leaves(n));
    let plain: Vec<[u8; 32]> = log.leaves().iter().map(|leaf| (*leaf).into()).collect();
    let theirs = rs_merkle::MerkleTree::<Rfc6962>::from_leaves(&plain);
    let picks: Vec<usize> = (0..n).step_by(10).collect();
    let indices: Vec<u64> = picks.iter().map(|index| *index as u64).collect();
    let chosen: Vec<Hash> = picks.iter().map(|index| log.leaves()[*index]).collect();
    let chosen_plain: Vec<[u8; 32]> = chosen.iter().map(|leaf| (*leaf).into()).collect();
    let (root, their_root) = (log.root(), theirs.root().expect("leaves"));
    let (ours, their_proof) = (log.prove_many(&indices, n as u64).expect("indices in range"), theirs.proof(&picks));

    let mut group = c.benchmark_group("merkle::multiproof");
    let name = format!("n={n} k={}", picks.len());
    group.bench_function(BenchmarkId::new("prove impl=hanzo", &name), |b| {
        b.iter(|| log.prove_many(black_box(&indices), n as u64));
    });
    group.bench_function(BenchmarkId::new("prove impl=rs_merkle", &name), |b| {
        b.iter(|| theirs.proof(black_box(&picks)))
    });
    group.bench_function(BenchmarkId::new("verify impl=hanzo", &name), |b| {
        b.iter(|| verify_multi(black_box(&indices), &chosen, n as u64, &ours, &root));
    });
    group.bench_function(BenchmarkId::new("verify impl=rs_merkle", &name), |b| {
        b.iter(|| their_proof.verify(black_box(their_root), &picks, &chosen_plain, n));
    });
    group.finish();
}

fn join(c: &mut Criterion) {
    let record = |replica: &str| {
        let mut record = Record::new(ExperienceId::from_bytes([7; 32]));
        record.record_use(replica, 5).expect("a small count");
        for voter in 0..20_u64 {
            let vote = SignedVote::new(voter, Vote::Up, vec![replica.len() as u8; 64]).expect("a small vote");
            record.record_vote(&format!("{replica}-{}", voter % 12), vote).expect("a name");
        }
        record
    };
    let (a, b) = (record("first"), record("second"));
    c.bench_function("crdt::join/votes=12", |bench| bench.iter(|| black_box(&a).join(black_box(&b))));
}

fn lesson(number: usize) -> Draft {
    let text = Text::new(&format!(
        "in case {number} complete the square before factoring and verify that the discriminant {number} decides"
    ));
    let domain = "math.algebra".parse().expect("a domain");
    let author = "0x742d35Cc6634C0532925a3b844Bc454e4438f44e";
    Draft::new(text.expect("a text"), domain, author, 1_760_702_400)
        .confidence_ppm(870_000)
        .model("qwen3-32b")
        .example("x^2 + 2x + 5 = 0", "No real solutions")
        .example("x^2 + 2x - 3 = 0", "x = 1 or x = -3")
}

fn content(c: &mut Criterion) {
    let content = Content::new(lesson(1), vec![]).expect("a valid draft");
    let bytes = content.to_canonical();
    let mut group = c.benchmark_group("content::canonical");
    let mut out = Vec::with_capacity(1024);
    group.bench_function(BenchmarkId::new("write", format!("bytes={}", bytes.len())), |b| {
        b.iter(|| {
            out.clear();
            black_box(&content).write_canonical(&mut out);
            out.len()
        });
    });
    // The same object, which serde_json writes as it is.
    let plain: serde_json::Value = serde_json::from_slice(&bytes).expect("JSON");
    group.bench_function(BenchmarkId::new("write impl=serde_json-value", format!("bytes={}", bytes.len())), |b| {
        b.iter(|| {
            out.clear();
            serde_json::to_writer(&mut out, black_box(&plain)).expect("a vector takes all");
            out.len()
        });
    });
    group.bench_function(BenchmarkId::new("read", format!("bytes={}", bytes.len())), |b| {
        b.iter(|| Content::from_canonical(black_box(&bytes)));
    });
    group.bench_function(BenchmarkId::new("id", format!("bytes={}", bytes.len())), |b| {
        b.iter(|| black_box(&content).id());
    });
    group.bench_function(BenchmarkId::new("impl=sha2", format!("bytes={}", bytes.len())), |b| {
        b.iter(|| leaf_hash(black_box(&bytes)));
    });
    group.finish();
}

/// Row-major matrix times vector.
#[allow(unsafe_code, reason = "the peer takes pointers")]
fn matrix_vector(matrix: &[f32], x: &[f32], y: &mut [f32]) {
    let (rows, columns) = (y.len(), x.len());
    assert_eq!(matrix.len(), rows * columns);
    let (tall, wide, threads) = (rows as isize, columns as isize, gemm::Parallelism::None);
    // SAFETY: the lengths are those of a product of rows x columns and columns x 1, written to rows x 1.
    unsafe {
        let (y, a, x) = (y.as_mut_ptr(), matrix.as_ptr(), x.as_ptr());
        gemm::gemm(rows, 1, columns, y, tall, 1, false, a, 1, wide, x, wide, 1, 0.0, 1.0, false, false, false, threads);
    }
}

fn top_k(c: &mut Criterion) {
    let mut group = c.benchmark_group("retrieval::top_k");
    let d = 768;
    for n in [1_000_usize, 10_000] {
        let mut rng = ChaCha8Rng::seed_from_u64(7);
        let mut random = || (0..d).map(|_| rng.random_range(-1.0_f32..1.0)).collect::<Vec<f32>>();
        let mut index = VectorIndex::new("random", d).expect("a dimension");
        let ids = leaves(n);
        for id in &ids {
            index.insert((*id).into(), &random()).expect("a finite vector");
        }
        let query = random();
        let search = Search::new(10);
        group.bench_function(BenchmarkId::new("impl=hanzo", format!("n={n} d={d}")), |b| {
            b.iter(|| index.search(black_box(&query), &search));
        });
        // The scores alone, by a product of a matrix and a vector.
        let matrix: Vec<f32> = (0..n * d).map(|at| (at % 1_013) as f32 / 1_013.0 - 0.5).collect();
        let mut scores = vec![0.0_f32; n];
        group.bench_function(BenchmarkId::new("impl=gemm", format!("n={n} d={d}")), |b| {
            b.iter(|| matrix_vector(black_box(&matrix), black_box(&query), &mut scores));
        });
        // The time to read the rows once.
        let rows: Vec<u64> = vec![1; n * d / 2];
        group.bench_function(BenchmarkId::new("impl=memory-read", format!("n={n} d={d}")), |b| {
            b.iter(|| black_box(&rows).iter().fold(0_u64, |sum, x| sum ^ x));
        });
    }
    group.finish();
}

/// 100 submitters of different weights; beside a selection of the middle of as many `f64`, in columns that are ready.
fn weighted_median(c: &mut Criterion) {
    let mut group = c.benchmark_group("aggregate::weighted_median");
    let (n, d) = (100_usize, 100_000_usize);
    group.sample_size(10);
    let mut rng = ChaCha8Rng::seed_from_u64(9);
    let rows: Vec<Prior> = (0..n)
        .map(|_| Prior::dense(7, (0..d).map(|_| Fixed::from_raw(rng.random())).collect()).expect("a prior"))
        .collect();
    let names: Vec<Account> = (0..n).map(|who| format!("node-{who:03}").parse().expect("an account")).collect();
    let weights: Vec<u128> = (0..n).map(|_| rng.random_range(1..1_000_000)).collect();
    let submissions = |wide: u32| -> Vec<Weighted<'_>> {
        let parts = names.iter().zip(&rows).zip(&weights);
        parts.map(|((submitter, prior), weight)| Weighted { submitter, prior, weight: weight << wide }).collect()
    };
    for (bits, wide) in [(64, 0), (128, 60)] {
        let submissions = submissions(wide);
        group.bench_function(BenchmarkId::new(format!("impl=hanzo weights={bits}"), format!("n={n} d={d}")), |b| {
            b.iter(|| WeightedMedian::default().aggregate(black_box(&submissions)));
        });
    }
    let columns: Vec<f64> = (0..n * d).map(|_| rng.random()).collect();
    let mut column = vec![0.0; n];
    group.bench_function(BenchmarkId::new("impl=f64-select", format!("n={n} d={d}")), |b| {
        b.iter(|| {
            let mut middle = |values: &[f64]| {
                column.copy_from_slice(values);
                *column.select_nth_unstable_by(n / 2, f64::total_cmp).1
            };
            black_box(&columns).chunks_exact(n).map(&mut middle).sum::<f64>()
        });
    });
    group.finish();
}

/// A reply of three operations, behind a page of reasons.
fn parse(c: &mut Criterion) {
    let list = r#"[{"option": "add", "experience": "When counting, try small cases first."},
        {"option": "modify", "modified_from": "G1", "experience": "When stuck, draw a picture and label it."},
        {"option": "merge", "merged_from": ["G0", "G2"], "experience": "When done, test the extremes."}]"#;
    let reply = format!("{}\n```json\n{list}\n```", "The better attempts checked each step. ".repeat(50));
    let aliases = Aliases::from_ids((0..100).map(|byte| ExperienceId::from_bytes([byte; 32])));
    c.bench_function(&format!("grpo::parse/bytes={}", reply.len()), |b| {
        b.iter(|| parse_operations(black_box(&reply), &aliases));
    });
}

fn apply(c: &mut Criterion) {
    let mut group = c.benchmark_group("library::apply_add");
    for n in [100_usize, 900] {
        let operations: Vec<Operation> = (0..n).map(|number| Operation::Add(lesson(number))).collect();
        let config = LibraryConfig::new("example.com/bench".parse().expect("an origin")).dedup(None);
        let mut library = Library::new(config).expect("a configuration");
        let stamp = Stamp::new(1_760_702_400, "bench");
        library.apply(&stamp, Mode::Atomic, &operations).expect("valid drafts");
        let one = [Operation::Add(lesson(n))];
        group.bench_function(format!("size={n}"), |b| {
            b.iter_batched_ref(
                || library.clone(),
                |library| library.apply(&stamp, Mode::Atomic, &one),
                BatchSize::LargeInput,
            );
        });
    }
    group.finish();
}

criterion_group!(
    benches,
    build,
    append_root,
    prove_and_verify,
    multiproof,
    join,
    content,
    top_k,
    weighted_median,
    parse,
    apply,
);
criterion_main!(benches);
