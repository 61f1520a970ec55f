//! Whole networks in one process, reproducible from a seed.
//!
//! A [`Simulation`] plays every message between [`Engine`](crate::Engine)s: latency, loss, partitions, crashes and
//! Byzantine nodes. A [`Network`] is poll by poll instead and takes many thousand nodes: in lock-step rounds, where every
//! node polls on the preferences that all nodes had at the start of the round, or
//! [over links with latency](Network::run_over). A [`FlatNetwork`] has no blocks: every node decides one choice.
//!
//! A [`DualSimulation`] plays every message between nodes of both tracks, a [`FaultSchedule`] is one of those under faults that
//! follow from a number, and a [`Scenario`] names settings of either kind. Times are nanoseconds since the start, and shares
//! of links are thousandths, where 1,000 and more is always.

mod adversary;
mod agenda;
mod builder;
mod dual;
mod flat;
mod links;
mod scenario;
mod simulation;
mod timed;

use alloc::boxed::Box;
use alloc::collections::{BTreeMap, VecDeque};
use alloc::vec::Vec;

use rand_chacha::ChaCha8Rng;
use sha2::{Digest, Sha256};

pub use adversary::{Adversary, Answer, Byzantine, Query, Service, View};
pub use builder::NetworkBuilder;
pub use dual::{DualReport, DualSimulation, DualSimulationBuilder, FaultSchedule, SimulatedKeys, Weakness};
pub use flat::{FlatEnd, FlatNetwork};
pub use links::{Fault, Faults, Latency};
pub use scenario::{REGIONS_RTT_MS, Scenario};
pub use simulation::{Simulation, SimulationBuilder, SimulationReport};
pub use timed::TimedFinality;

use crate::block::BlockRef;
use crate::params::{ParamError, Params};
use crate::sampler::units::up_to;
use crate::sampler::{SampleError, SetError, StakeTable};
use crate::snowman::{AddError, Decision, Snowman};
use crate::votes::VoteBag;

/// Id of a simulated block.
pub type Id = [u8; 32];

/// Nodes that each run a [`Snowman`] and poll each other by stake.
///
/// The same stakes, settings, calls and seed give the same events on every platform.
///
/// ```
/// use hanzo_snow::BlockRef;
/// use hanzo_snow::simulate::Network;
///
/// let mut network = Network::builder([1_000; 10]).seed(7).build()?;
/// let (parent, height) = network.last_accepted();
/// let block = |id| BlockRef { id: [id; 32], parent, height: height + 1 };
/// network.propose(&[block(1), block(2)])?;
///
/// let finality = network.run_to_finality(1_000)?;
/// let winner = finality.accepted[0].0;
/// assert!(winner == [1; 32] || winner == [2; 32]);
/// assert_eq!(network.last_accepted(), (winner, 1));
/// # Ok::<(), hanzo_snow::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct Network {
    params: Params,
    include_self: bool,
    nodes: Vec<Node>,
    honest: usize,
    sampler: StakeTable<usize>,
    byzantine_stake: u64,
    /// Proposed blocks that some honest node may still decide, by parent, in ascending order.
    children: BTreeMap<(u64, Id), Vec<Id>>,
    genesis_height: u64,
    /// What was accepted above genesis, in order, and by how many honest nodes; the first of them.
    accepted: Vec<Accepted>,
    /// How many of those were accepted by every honest node.
    everywhere: usize,
    genesis: Id,
    round: u64,
    broken: Option<SimulateError>,
    events: VecDeque<Event>,
    trace: Sha256,
    sampling: ChaCha8Rng,
    delivery: ChaCha8Rng,
    // Working memory of a round.
    answers: Vec<Option<Id>>,
    positions: Vec<usize>,
    votes: VoteBag<Id>,
    decisions: Vec<Decision<Id>>,
}

#[derive(Debug, Clone)]
enum Node {
    Honest(Box<Snowman<Id>>),
    Byzantine(Strategy),
}

#[derive(Debug, Clone, Copy)]
struct Accepted {
    id: Id,
    first: usize,
    count: usize,
}

/// What a Byzantine node answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Strategy {
    /// Nothing.
    Silent,
    /// At the lowest height that is contested, the block that the fewest honest nodes prefer at the start of the round
    /// (the smallest id at a tie); nothing where no block is contested.
    VoteMinority,
}

/// What happened in a network.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Event {
    /// An honest node accepted a block.
    Accepted {
        /// Round of the poll that decided, from 1.
        round: u64,
        /// Position of the node.
        node: usize,
        /// The block.
        id: Id,
        /// Its height.
        height: u64,
    },
    /// An honest node rejected a block.
    Rejected {
        /// Round of the poll that decided, from 1.
        round: u64,
        /// Position of the node.
        node: usize,
        /// The block.
        id: Id,
        /// Its height.
        height: u64,
    },
    /// The last honest node accepted a block.
    AcceptedByAll {
        /// Round of the poll that decided, from 1.
        round: u64,
        /// The block.
        id: Id,
        /// Its height.
        height: u64,
    },
}

/// How a run came to its end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finality {
    /// Rounds this run took.
    pub rounds: u32,
    /// Id and height of each block that became accepted by all honest nodes, in order of height.
    pub accepted: Vec<(Id, u64)>,
}

impl Network {
    /// A network of one node for each stake; node `i` is the validator with the `i`th stake.
    #[must_use]
    pub fn builder(stakes: impl IntoIterator<Item = u64>) -> NetworkBuilder {
        NetworkBuilder::new(stakes.into_iter().collect())
    }

    /// Delivers blocks to every honest node, to each in an order of its own, drawn from the seed.
    ///
    /// Blocks of one call compete or stand apart; a chain takes one call a height. A node that has decided against a
    /// block ignores it.
    ///
    /// # Errors
    /// [`SimulateError::Add`] if a block repeats in the call or no honest node would take it; nothing is delivered.
    pub fn propose(&mut self, blocks: &[BlockRef<Id>]) -> Result<(), SimulateError> {
        self.check(blocks)?;
        let mut order: Vec<usize> = (0..blocks.len()).collect();
        for node in 0..self.nodes.len() {
            if matches!(self.nodes[node], Node::Honest(_)) {
                for i in (1..order.len()).rev() {
                    order.swap(i, up_to(i as u64, &mut self.delivery) as usize);
                }
                self.deliver(node, order.iter().map(|&at| blocks[at]));
            }
        }
        self.remember(blocks);
        Ok(())
    }

    /// Delivers blocks like [`propose`](Self::propose), to node `i` the one at `first(i)` first, then the rest in the
    /// order given. A position beyond the blocks leaves the order as it is.
    ///
    /// # Errors
    /// Those of [`propose`](Self::propose).
    pub fn propose_split(
        &mut self,
        blocks: &[BlockRef<Id>],
        first: impl Fn(usize) -> usize,
    ) -> Result<(), SimulateError> {
        self.check(blocks)?;
        for node in 0..self.nodes.len() {
            let first = first(node);
            let rest = (0..blocks.len()).filter(|&at| at != first);
            self.deliver(node, blocks.get(first).into_iter().copied().chain(rest.map(|at| blocks[at])));
        }
        self.remember(blocks);
        Ok(())
    }

    /// Runs one round: every honest node with something to decide polls once.
    ///
    /// # Errors
    /// [`SimulateError::Disagreement`] once two honest nodes have accepted different blocks at a height; the round is
    /// finished, and every later call returns the same.
    pub fn step(&mut self) -> Result<(), SimulateError> {
        if let Some(broken) = self.broken {
            return Err(broken);
        }
        self.round += 1;
        let minority = self.minority();
        let mut answers = core::mem::take(&mut self.answers);
        answers.clear();
        answers.extend(self.nodes.iter().map(|node| match node {
            Node::Honest(chain) => Some(chain.preference()),
            Node::Byzantine(Strategy::Silent) => None,
            Node::Byzantine(Strategy::VoteMinority) => minority,
        }));
        let polled = (0..self.nodes.len()).try_for_each(|node| self.poll(node, &answers));
        self.answers = answers;
        polled?;
        self.prune();
        self.broken.map_or(Ok(()), Err)
    }

    /// Runs rounds until no honest node has anything left to decide.
    ///
    /// # Errors
    /// [`SimulateError::NotFinal`] if that takes more than `max_rounds`; the network stays where it is and may be run
    /// on. [`SimulateError::Disagreement`] as in [`step`](Self::step).
    pub fn run_to_finality(&mut self, max_rounds: u32) -> Result<Finality, SimulateError> {
        let before = self.everywhere;
        let mut rounds = 0;
        loop {
            if let Some(broken) = self.broken {
                return Err(broken);
            }
            let undecided = self.honest().filter(|chain| chain.processing_len() > 0).count();
            if undecided == 0 {
                break;
            }
            if rounds == max_rounds {
                return Err(SimulateError::NotFinal { rounds, undecided });
            }
            self.step()?;
            rounds += 1;
        }
        let accepted = self.accepted[before..self.everywhere].iter().enumerate();
        let accepted = accepted.map(|(i, block)| (block.id, self.height_at(before + i))).collect();
        Ok(Finality { rounds, accepted })
    }

    /// The last block that every honest node has accepted, and its height.
    #[must_use]
    pub fn last_accepted(&self) -> (Id, u64) {
        match self.everywhere.checked_sub(1) {
            Some(at) => (self.accepted[at].id, self.height_at(at)),
            None => (self.genesis, self.genesis_height),
        }
    }

    /// Takes the events since the last call, oldest first. They are kept until taken.
    pub fn drain_events(&mut self) -> impl Iterator<Item = Event> + '_ {
        self.events.drain(..)
    }

    /// SHA-256 over all events so far: equal for equal runs.
    #[must_use]
    pub fn trace_hash(&self) -> [u8; 32] {
        self.trace.clone().finalize().into()
    }

    /// Rounds run so far.
    #[must_use]
    pub const fn round(&self) -> u64 {
        self.round
    }

    /// The chain of an honest node; `None` for a Byzantine one or none at all.
    #[must_use]
    pub fn chain(&self, node: usize) -> Option<&Snowman<Id>> {
        match self.nodes.get(node)? {
            Node::Honest(chain) => Some(chain),
            Node::Byzantine(_) => None,
        }
    }

    /// The parameters of every node.
    #[must_use]
    pub const fn params(&self) -> &Params {
        &self.params
    }

    /// Stake of the Byzantine nodes.
    #[must_use]
    pub const fn byzantine_stake(&self) -> u64 {
        self.byzantine_stake
    }

    fn honest(&self) -> impl Iterator<Item = &Snowman<Id>> {
        (0..self.nodes.len()).filter_map(|node| self.chain(node))
    }

    fn height_at(&self, position: usize) -> u64 {
        self.genesis_height + 1 + position as u64
    }

    /// Whether some honest node takes each block, and none repeats.
    fn check(&self, blocks: &[BlockRef<Id>]) -> Result<(), SimulateError> {
        for (i, block) in blocks.iter().enumerate() {
            if blocks[..i].iter().any(|other| other.id == block.id) {
                return Err(AddError::Duplicate.into());
            }
            let mut refused = None;
            let taken = self.honest().any(|chain| match chain.check(block) {
                Ok(()) => true,
                Err(error) => {
                    refused.get_or_insert(error);
                    false
                }
            });
            if let Some(error) = refused.filter(|_| !taken) {
                return Err(error.into());
            }
        }
        Ok(())
    }

    fn deliver(&mut self, node: usize, blocks: impl Iterator<Item = BlockRef<Id>>) {
        if let Node::Honest(chain) = &mut self.nodes[node] {
            for block in blocks {
                // A node that has decided against the block needs it no more.
                let _ = chain.add(block);
            }
        }
    }

    fn remember(&mut self, blocks: &[BlockRef<Id>]) {
        for block in blocks {
            let siblings = self.children.entry((block.height - 1, block.parent)).or_default();
            siblings.push(block.id);
            siblings.sort_unstable();
        }
    }

    fn poll(&mut self, node: usize, answers: &[Option<Id>]) -> Result<(), SimulateError> {
        let Node::Honest(chain) = &mut self.nodes[node] else { return Ok(()) };
        if chain.processing_len() == 0 {
            return Ok(());
        }
        let own = (!self.include_self).then_some(node);
        self.sampler.sample_positions(self.params.k(), own, &mut self.sampling, &mut self.positions)?;
        self.votes.clear();
        for vote in self.positions.iter().filter_map(|&at| answers[at]) {
            self.votes.add(vote, 1);
        }
        // A sample holds k units, so the bag is never too large.
        let _ = chain.record_poll(&self.votes, &mut self.decisions);
        let mut decisions = core::mem::take(&mut self.decisions);
        for decision in decisions.drain(..) {
            self.note(node, decision);
        }
        self.decisions = decisions;
        Ok(())
    }

    fn note(&mut self, node: usize, decision: Decision<Id>) {
        let round = self.round;
        match decision {
            Decision::Accepted { id, height } => {
                self.emit(Event::Accepted { round, node, id, height });
                let at = (height - self.genesis_height - 1) as usize;
                if at == self.accepted.len() {
                    self.accepted.push(Accepted { id, first: node, count: 0 });
                }
                let accepted = &mut self.accepted[at];
                if accepted.id != id {
                    let disagreement = SimulateError::Disagreement { height, first: accepted.first, second: node };
                    self.broken.get_or_insert(disagreement);
                    return;
                }
                accepted.count += 1;
                if accepted.count == self.honest {
                    self.everywhere = at + 1;
                    self.emit(Event::AcceptedByAll { round, id, height });
                }
            }
            Decision::Rejected { id, height } => self.emit(Event::Rejected { round, node, id, height }),
            Decision::Confirmed { .. } => {}
        }
    }

    fn emit(&mut self, event: Event) {
        let (kind, round, node, id, height) = match event {
            Event::Accepted { round, node, id, height } => (0_u8, round, node as u64, id, height),
            Event::Rejected { round, node, id, height } => (1, round, node as u64, id, height),
            Event::AcceptedByAll { round, id, height } => (2, round, u64::MAX, id, height),
        };
        self.trace.update([kind]);
        for number in [round, node, height] {
            self.trace.update(number.to_be_bytes());
        }
        self.trace.update(id);
        self.events.push_back(event);
    }

    /// The lowest height that is contested, and its blocks, ascending.
    fn contested(&self) -> Option<(u64, &[Id])> {
        let (mut at, mut height) = self.last_accepted();
        loop {
            let siblings = self.children.get(&(height, at))?;
            height += 1;
            let &[only] = siblings.as_slice() else { return Some((height, siblings)) };
            at = only;
        }
    }

    /// The block that a minority voter names this round.
    fn minority(&self) -> Option<Id> {
        let (height, siblings) = self.contested()?;
        let mut counts = alloc::vec![0_usize; siblings.len()];
        for chain in self.honest() {
            let preferred = chain.preference_at(height).or_else(|| self.accepted_at(height));
            if let Some(at) = siblings.iter().position(|&id| Some(id) == preferred) {
                counts[at] += 1;
            }
        }
        fewest(siblings, &counts)
    }

    fn accepted_at(&self, height: u64) -> Option<Id> {
        let above = height.checked_sub(self.genesis_height + 1)?;
        self.accepted.get(usize::try_from(above).ok()?).map(|block| block.id)
    }

    /// Forgets proposals below what is accepted everywhere.
    fn prune(&mut self) {
        let (_, height) = self.last_accepted();
        while self.children.first_key_value().is_some_and(|(&(parent, _), _)| parent < height) {
            self.children.pop_first();
        }
    }
}

/// The block with the lowest count, the smallest id at a tie.
fn fewest(siblings: &[Id], counts: &[usize]) -> Option<Id> {
    siblings.iter().zip(counts).min_by_key(|&(id, count)| (count, id)).map(|(&id, _)| id)
}

/// Why a network could not be built or run on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SimulateError {
    /// The stakes are refused.
    #[error(transparent)]
    Set(#[from] SetError),
    /// The default parameters for the number of nodes are refused.
    #[error(transparent)]
    Param(#[from] ParamError),
    /// Some node cannot draw its sample.
    #[error(transparent)]
    Sample(#[from] SampleError),
    /// A block was refused.
    #[error(transparent)]
    Add(#[from] AddError),
    /// A node that is not in the network, or is made Byzantine twice.
    #[error("node {node} is not an honest one of {nodes}")]
    UnknownNode {
        /// The position given.
        node: usize,
        /// Number of nodes.
        nodes: usize,
    },
    /// Every node is Byzantine.
    #[error("no node is honest")]
    NoHonestNode,
    /// Two honest nodes accepted different blocks at a height.
    #[error("nodes {first} and {second} accepted different blocks at height {height}")]
    Disagreement {
        /// The height.
        height: u64,
        /// A node that accepted one block.
        first: usize,
        /// A node that accepted another.
        second: usize,
    },
    /// A latency that does not fit the network: no delays, not ascending, or not one region a node.
    #[error("the latency does not fit the network")]
    Latency,
    /// An honest node has told of an acceptance that was not durable.
    #[error("node {node} has told of height {height} before it was durable")]
    NotDurable {
        /// The node.
        node: usize,
        /// The height.
        height: u64,
    },
    /// A node has told of a settled checkpoint, but not of the one before.
    #[error("node {node} has left out a checkpoint before {sequence} of epoch {epoch}")]
    Skipped {
        /// The node.
        node: usize,
        /// The epoch.
        epoch: u64,
        /// The sequence of what it has told of.
        sequence: u64,
    },
    /// The network was whole, and yet nodes did not go on committing, or something certified was not settled.
    #[error("no progress beyond height {height} in epoch {epoch}, {unsettled} certified and not settled")]
    NoProgress {
        /// The height that every node has committed.
        height: u64,
        /// Transactions certified and not settled.
        unsettled: usize,
        /// Epochs begun, the first not counted.
        epoch: u64,
    },
    /// Two honest nodes committed different settlement blocks, or settled different checkpoints.
    #[error("settlement differs at height {height}")]
    Settlement {
        /// The height.
        height: u64,
    },
    /// Two transactions with a common key were both certified.
    #[error("two transactions with a common key were certified in epoch {epoch}")]
    Conflict {
        /// The epoch.
        epoch: u64,
    },
    /// What was kept does not fit together.
    #[error("node {node} cannot begin again from its store")]
    Store {
        /// The node.
        node: usize,
    },
    /// The rounds allowed were not enough.
    #[error("{undecided} nodes are undecided after {rounds} rounds")]
    NotFinal {
        /// Rounds run.
        rounds: u32,
        /// Honest nodes with something left to decide.
        undecided: usize,
    },
}
