//! Snow: blocks, polls, samples and whole networks, beside a bare hash-map insert in the same run.

use std::hash::{BuildHasherDefault, Hasher};
use std::hint::black_box;

use criterion::{BatchSize, BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use hanzo_snow::analysis::{Answers, LumpedChain, LumpedRuns};
use hanzo_snow::simulate::{FlatNetwork, Latency, Network, Strategy};
use hanzo_snow::{
    BlockRef, Decision, Params, Snowman, StakeHeap, StakeTable, Tree, ValidatorSampler, ValidatorSet, Variant, VoteBag,
};
use hashbrown::HashMap;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

type Id = [u8; 32];

const BLOCKS: usize = 10_000;

fn ids(count: usize) -> Vec<Id> {
    let mut rng = ChaCha8Rng::seed_from_u64(7);
    let mut ids = vec![[0; 32]; count];
    ids.iter_mut().for_each(|id| rng.fill_bytes(id));
    ids
}

fn chain(params: Params, genesis: Id) -> Snowman<Id> {
    let genesis = BlockRef { id: genesis, parent: genesis, height: 0 };
    Snowman::new(params, Variant::Snowflake, genesis, 0x5eed)
}

/// Adds each block of a linear chain and takes one unanimous poll for it, vote by vote.
fn run(chain: &mut Snowman<Id>, ids: &[Id], decisions: &mut Vec<Decision<Id>>) {
    let k = chain.params().k();
    let mut votes = VoteBag::new();
    for (at, pair) in ids.windows(2).enumerate() {
        let block = BlockRef { id: pair[1], parent: pair[0], height: at as u64 + 1 };
        chain.add(block).expect("a linear chain");
        votes.clear();
        for _ in 0..k {
            votes.add(block.id, 1);
        }
        chain.record_poll(&votes, decisions).expect("k votes");
    }
}

fn snowman(c: &mut Criterion) {
    let ids = ids(BLOCKS + 1);
    let mut group = c.benchmark_group("snow::snowman");
    group.throughput(Throughput::Elements(BLOCKS as u64));
    for (name, params) in [("linear/k=20 beta=20", Params::AVALANCHE), ("single/k=1 beta=1", Params::SINGLE)] {
        group.bench_function(name, |b| {
            b.iter_batched(
                || (chain(params, ids[0]), Vec::with_capacity(BLOCKS)),
                |(mut chain, mut decisions)| {
                    run(&mut chain, &ids, &mut decisions);
                    (chain, decisions)
                },
                BatchSize::LargeInput,
            );
        });
    }
    group.bench_function("impl=hash-map-insert", |b| {
        b.iter_batched(
            HashMap::<Id, u32, BuildHasherDefault<Fold>>::default,
            |mut map| {
                for (at, id) in ids[1..].iter().enumerate() {
                    map.insert(*id, at as u32);
                }
                map
            },
            BatchSize::LargeInput,
        );
    });
    group.finish();
}

/// A folded multiply of all words, much like the hash of the chain's own index.
#[derive(Default)]
struct Fold(u64);

impl Hasher for Fold {
    fn write(&mut self, bytes: &[u8]) {
        for word in bytes.chunks_exact(8) {
            let word = u64::from_le_bytes(word.try_into().expect("8 bytes"));
            let product = u128::from(self.0 ^ word).wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835);
            self.0 = product as u64 ^ (product >> 64) as u64;
        }
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

fn tree_poll(c: &mut Criterion) {
    let endless = Params::builder().conditions([(15, u32::MAX)]).build().expect("valid");
    let mut group = c.benchmark_group("snow::tree_poll");
    for colours in [1, 2, 10] {
        let ids = ids(colours);
        let mut tree = Tree::new(endless, Variant::Snowflake, ids[0]);
        ids.iter().for_each(|&id| tree.add(id));
        // Fifteen votes for one colour, the rest in turn for all.
        let votes: VoteBag<Id> = ids.iter().copied().cycle().take(5).chain([ids[0]; 15]).collect();
        group.bench_function(BenchmarkId::from_parameter(format!("votes=20 colours={colours}")), |b| {
            b.iter(|| tree.record_poll(black_box(&votes)));
        });
    }
    group.finish();
}

fn sample_stake(c: &mut Criterion) {
    let mut rng = ChaCha8Rng::seed_from_u64(3);
    let set =
        ValidatorSet::new((0_u32..100_000).map(|node| (node, 2_000 + rng.next_u64() % 1_000_000))).expect("valid");
    let (table, heap) = (StakeTable::new(&set), StakeHeap::new(&set));
    let mut sample = Vec::new();
    let mut group = c.benchmark_group("snow::sample_stake");
    let mut positions = Vec::new();
    group.bench_function("table/k=20 n=100000", |b| {
        b.iter(|| table.sample_positions(20, None, &mut rng, &mut positions));
    });
    group.bench_function("heap/k=20 n=100000", |b| b.iter(|| heap.sample(20, &mut rng, &mut sample)));
    group.finish();
}

fn network(c: &mut Criterion) {
    let mut group = c.benchmark_group("snow::network");
    group.sample_size(10);
    for (n, siblings) in [(10, 2_u8), (1_000, 2)] {
        let network = Network::builder(vec![1_000; n]).seed(1).build().expect("valid");
        let blocks: Vec<_> = (1..=siblings).map(|id| BlockRef { id: [id; 32], parent: [0; 32], height: 1 }).collect();
        group.bench_function(format!("to_finality/n={n} siblings={siblings}"), |b| {
            b.iter_batched(
                || network.clone(),
                |mut network| {
                    network.propose(&blocks).expect("new blocks");
                    network.run_to_finality(100_000)
                },
                BatchSize::LargeInput,
            );
        });
    }
    group.finish();
}

/// Ten thousand nodes that decide between two colours, from an even split; elements are votes.
fn network_binary(c: &mut Criterion) {
    const NODES: u64 = 10_000;
    let params = Params::fast();
    let mut group = c.benchmark_group("snow::network_binary");
    group.sample_size(10);
    for (name, variant) in [("snowflake", Variant::Snowflake), ("snowball", Variant::Snowball)] {
        let colours = (0..NODES).map(|node| (node % 2) as u8);
        let network = FlatNetwork::new(params, variant, colours, 1).expect("valid");
        let polls = network.clone().run_to_finality(10_000).polls;
        group.throughput(Throughput::Elements(polls * u64::from(params.k())));
        group.bench_function(format!("to_finality/n={NODES} {name}"), |b| {
            b.iter_batched(|| network.clone(), |mut network| network.run_to_finality(10_000), BatchSize::LargeInput);
        });
    }
    group.finish();
}

/// Ten thousand nodes over links, a fifth of them Byzantine, three heights with rivals at the first.
fn network_over_links(c: &mut Criterion) {
    const MS: u64 = 1_000_000;
    let live = Params::builder().alpha_preference(11).conditions([(13, 20)]).build().expect("valid");
    let latency = Latency::Uniform { min: 10 * MS, max: 60 * MS };
    let mut group = c.benchmark_group("snow::network_over_links");
    group.sample_size(10);
    for (name, strategy) in [("silent", Strategy::Silent), ("minority", Strategy::VoteMinority)] {
        let network = blocks_to_decide(live, strategy);
        group.bench_function(format!("to_finality/n=10000 {name}=2000 heights=3"), |b| {
            b.iter_batched(
                || network.clone(),
                |mut network| network.run_over(&latency, 60_000 * MS),
                BatchSize::LargeInput,
            );
        });
    }
    group.finish();
}

fn blocks_to_decide(params: Params, strategy: Strategy) -> Network {
    let builder = Network::builder(vec![1_000; 10_000]).params(params).byzantine(8_000..10_000, strategy);
    let mut network = builder.seed(1).build().expect("valid");
    let block = |id: u8, parent: u8, height| BlockRef { id: [id; 32], parent: [parent; 32], height };
    network.propose_split(&[block(1, 0, 1), block(2, 0, 1)], |node| usize::from(node % 4 == 0)).expect("new blocks");
    network.propose(&[block(3, 1, 2)]).expect("a new block");
    network.propose(&[block(4, 3, 3)]).expect("a new block");
    network
}

/// Whole networks by their classes, from an even split.
fn lumped(c: &mut Criterion) {
    let mut rng = ChaCha8Rng::seed_from_u64(5);
    let mut group = c.benchmark_group("snow::lumped");
    for n in [1_000_u64, 10_000, 1_000_000] {
        let chain = LumpedChain::new(&Params::fast(), n, 0, Answers::Silent).expect("valid");
        let mut runs = LumpedRuns::new(&chain);
        group.bench_function(format!("run/n={n}"), |b| b.iter(|| runs.sample(n / 2, 10_000, &mut rng)));
    }
    group.finish();
}

criterion_group!(benches, snowman, tree_poll, sample_stake, network, network_binary, network_over_links, lumped);
criterion_main!(benches);
