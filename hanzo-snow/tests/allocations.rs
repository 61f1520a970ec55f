//! A running chain, tree and sampler ask for no memory.

#![expect(unsafe_code, reason = "a counting allocator has to forward to the system's")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use hanzo_snow::{
    BlockRef, Decision, Params, Snowman, StakeTable, Tree, ValidatorSampler, ValidatorSet, Variant, VoteBag,
};
use rand::SeedableRng;
use rand::rngs::SmallRng;

struct Counting;

thread_local! {
    static COUNT: Cell<usize> = const { Cell::new(0) };
}

// SAFETY: forwards every call unchanged to the system allocator.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        COUNT.with(|count| count.set(count.get() + 1));
        // SAFETY: the caller keeps the contract of `alloc`.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        // SAFETY: `at` came from `System`, as every call is forwarded.
        unsafe { System.dealloc(at, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn allocations(work: impl FnOnce()) -> usize {
    let before = COUNT.with(Cell::get);
    work();
    COUNT.with(Cell::get) - before
}

fn id(n: u64) -> [u8; 32] {
    let mut id = [0; 32];
    id[..8].copy_from_slice(&n.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_le_bytes());
    id
}

#[test]
fn a_linear_chain_allocates_nothing_once_it_runs() {
    let genesis = BlockRef { id: id(0), parent: id(0), height: 0 };
    let mut chain = Snowman::new(Params::AVALANCHE, Variant::Snowflake, genesis, 1);
    let mut votes = VoteBag::new();
    let mut decisions: Vec<Decision<[u8; 32]>> = Vec::with_capacity(8);
    let mut run = |heights: core::ops::Range<u64>| {
        for height in heights {
            chain.add(BlockRef { id: id(height), parent: id(height - 1), height }).unwrap();
            votes.clear();
            (0..20).for_each(|_| votes.add(id(height), 1));
            decisions.clear();
            chain.record_poll(&votes, &mut decisions).unwrap();
            assert_eq!(decisions.len(), usize::from(height >= 20));
        }
    };
    assert_ne!(allocations(|| run(1..500)), 0, "the counter works");
    assert_eq!(allocations(|| run(500..3_000)), 0);
}

#[test]
fn tree_polls_and_samples_allocate_nothing() {
    let params = Params::builder().conditions([(15, u32::MAX)]).build().unwrap();
    let mut tree = Tree::new(params, Variant::Snowball, id(0));
    (1..10).for_each(|n| tree.add(id(n)));
    let polls: Vec<VoteBag<[u8; 32]>> = (0..10).map(|n| (0..5).map(id).chain([id(n); 15]).collect()).collect();
    let mut run = || polls.iter().for_each(|votes| assert!(tree.record_poll(votes).unwrap()));
    run();
    assert_eq!(allocations(run), 0);

    let set = ValidatorSet::new((0_u32..1_000).map(|node| (node, 100))).unwrap();
    let table = StakeTable::new(&set);
    let mut rng = SmallRng::seed_from_u64(1);
    let mut positions = Vec::with_capacity(20);
    assert_eq!(allocations(|| table.sample_positions(20, Some(3), &mut rng, &mut positions).unwrap()), 0);
    let mut sample = Vec::with_capacity(20);
    assert_eq!(allocations(|| table.sample(20, &mut rng, &mut sample).unwrap()), 0);
}
