//! One node: what it asks, tells, keeps and refuses.

mod hostile;
mod node;

use hanzo_snow::{
    Block, BlockRef, Engine, EngineConfig, Input, Outcome, Output, Params, PollId, Timestamp, ValidatorSet,
};
use rand::SeedableRng;
use rand::rngs::SmallRng;

type Id = [u8; 32];
type Node = Engine<Id, u32, SmallRng>;
type Out = Output<Id, u32>;

const SECOND: u64 = 1_000_000_000;

fn id(n: u64) -> Id {
    let mut id = [0; 32];
    id[..8].copy_from_slice(&n.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_le_bytes());
    id
}

fn block(n: u64, parent: u64, height: u64) -> Block<Id> {
    Block { header: BlockRef { id: id(n), parent: id(parent), height }, bytes: (*b"x").into() }
}

fn at(seconds: u64) -> Timestamp {
    Timestamp::from_nanos(seconds * SECOND)
}

fn params(beta: u32) -> Params {
    Params::builder()
        .k(5)
        .alpha_preference(4)
        .conditions([(4, beta)])
        .concurrent_repolls(1)
        .max_outstanding(40)
        .build()
        .unwrap()
}

fn genesis() -> BlockRef<Id> {
    BlockRef { id: id(0), parent: id(0), height: 0 }
}

/// Node 0 of `n` alike, all others connected.
fn node_with(params: Params, n: u32) -> Node {
    let validators = ValidatorSet::new((0..n).map(|node| (node, 1_000))).unwrap();
    let mut node =
        Engine::new(EngineConfig::new(0, params), validators, genesis(), SmallRng::seed_from_u64(7)).unwrap();
    for peer in 1..n {
        node.handle(at(0), Input::Connected(peer)).unwrap();
    }
    node
}

fn node(beta: u32) -> Node {
    node_with(params(beta), 12)
}

fn drain(node: &mut Node) -> Vec<Out> {
    std::iter::from_fn(|| node.poll_output()).collect()
}

fn own(node: &mut Node, block: Block<Id>) {
    assert_eq!(node.handle(at(0), Input::Block { block, from: None }), Ok(Outcome::Taken));
}

fn vote(node: &mut Node, now: Timestamp, poll: PollId, from: u32, preferred: u64) -> Outcome {
    node.handle(now, Input::Vote { poll, from, preferred: id(preferred), accepted: id(0), accepted_height: 0 }).unwrap()
}

/// Answers every query with one preference until no more come; everything else that came out.
fn answer_all(node: &mut Node, preferred: u64) -> Vec<Out> {
    let mut rest = Vec::new();
    for _ in 0..10_000 {
        let Some(output) = node.poll_output() else { return rest };
        match output {
            Output::Query { poll, to, .. } => {
                vote(node, at(0), poll, to, preferred);
            }
            other => rest.push(other),
        }
    }
    panic!("no end of queries")
}

fn queries(outputs: &[Out]) -> Vec<(PollId, u32)> {
    outputs
        .iter()
        .filter_map(|output| match output {
            Output::Query { poll, to, .. } => Some((*poll, *to)),
            _ => None,
        })
        .collect()
}
