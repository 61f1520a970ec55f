//! Many nodes that decide one choice, in lock-step.

use alloc::vec::Vec;

use rand_chacha::ChaCha8Rng;
use rand_core::Rng;

use super::builder::stream;
use super::{SimulateError, Strategy};
use crate::flat::Flat;
use crate::params::Params;
use crate::sampler::{SampleError, SetError};
use crate::snowflake::Variant;

/// Most nodes of a network.
const MOST: usize = 1 << 24;

fn check(nodes: usize) -> Result<(), SetError> {
    if nodes > MOST { Err(SetError::TooMany { limit: MOST }) } else { Ok(()) }
}

/// Nodes of equal stake that each run one [`Flat`] instance: no blocks, no links, the fastest way to see a whole network decide.
///
/// In a round every node that is not final polls `k` others, drawn without replacement, on the colours that all had at the
/// start of the round, as in [`LumpedChain`](crate::analysis::LumpedChain), but node by node and over any colours. The
/// same settings and seed give the same run on every platform.
///
/// ```
/// use hanzo_snow::simulate::{FlatNetwork, Strategy};
/// use hanzo_snow::{Params, Variant};
///
/// let colours = (0..1_000).map(|node| node % 2);
/// let mut network = FlatNetwork::new(Params::fast(), Variant::Snowflake, colours.map(|colour| colour as u8), 7)?
///     .with_faulty(50, Strategy::VoteMinority)?;
/// let end = network.run_to_finality(1_000);
/// assert!(!end.disagrees() && end.undecided == 0);
/// assert_eq!(end.decided.iter().map(|(_, nodes)| nodes).sum::<u64>(), 1_000);
/// # Ok::<(), hanzo_snow::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct FlatNetwork {
    params: Params,
    nodes: Vec<Flat<u16>>,
    faulty: usize,
    strategy: Strategy,
    /// The colours that nodes began with, ascending; nodes know a colour by its place here.
    colours: Vec<u8>,
    undecided: usize,
    rounds: u32,
    polls: u64,
    sampling: ChaCha8Rng,
    // Working memory of a round.
    /// What each node answers, the faulty last; beyond the colours: nothing.
    answers: Vec<u16>,
    /// Votes for each colour; the last for none.
    counts: Vec<u32>,
    /// The last poll that drew a node.
    drawn: Vec<u32>,
    poll: u32,
}

/// Where a run of a [`FlatNetwork`] ended.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct FlatEnd {
    /// Rounds since the network was made.
    pub rounds: u32,
    /// Honest nodes that decided each colour, colours ascending, only those of some node.
    pub decided: Vec<(u8, u64)>,
    /// Honest nodes without a decision.
    pub undecided: u64,
    /// Polls since the network was made, each of `k` answers.
    pub polls: u64,
}

impl FlatEnd {
    /// Whether two honest nodes decided differently.
    #[must_use]
    pub const fn disagrees(&self) -> bool {
        self.decided.len() > 1
    }
}

impl FlatNetwork {
    /// A network of one honest node for each colour, which it prefers.
    ///
    /// # Errors
    /// [`SimulateError::NoHonestNode`] for no colour; [`SetError::TooMany`] for more than 2^24;
    /// [`SampleError::SampleTooLarge`] where a node has less than `k` others.
    pub fn new(
        params: Params,
        variant: Variant,
        colours: impl IntoIterator<Item = u8>,
        seed: u64,
    ) -> Result<Self, SimulateError> {
        let begin: Vec<u8> = colours.into_iter().take(MOST + 1).collect();
        check(begin.len())?;
        let others = begin.len().checked_sub(1).ok_or(SimulateError::NoHonestNode)? as u64;
        if others < u64::from(params.k()) {
            return Err(SampleError::SampleTooLarge { total_stake: others, k: params.k() }.into());
        }
        let mut colours = begin.clone();
        colours.sort_unstable();
        colours.dedup();
        let place = |colour: &u8| colours.partition_point(|other| other < colour) as u16;
        let nodes: Vec<_> = begin.iter().map(|colour| Flat::new(params, variant, place(colour))).collect();
        Ok(Self {
            params,
            faulty: 0,
            strategy: Strategy::Silent,
            undecided: nodes.len(),
            rounds: 0,
            polls: 0,
            sampling: stream(seed, "flat sampling"),
            answers: Vec::new(),
            counts: alloc::vec![0; colours.len() + 1],
            drawn: alloc::vec![0; nodes.len()],
            poll: 0,
            nodes,
            colours,
        })
    }

    /// The same with this many faulty nodes beside the honest ones. Those that vote with the minority name the colour that the
    /// fewest honest nodes prefer at the start of the round, the smallest at a tie.
    ///
    /// # Errors
    /// [`SetError::TooMany`] for more than 2^24 nodes in all.
    pub fn with_faulty(mut self, faulty: usize, strategy: Strategy) -> Result<Self, SimulateError> {
        let all = self.nodes.len().saturating_add(faulty);
        check(all)?;
        self.drawn.resize(all, 0);
        (self.faulty, self.strategy) = (faulty, strategy);
        Ok(self)
    }

    /// Runs one round. O(honest nodes * k).
    pub fn step(&mut self) {
        self.rounds += 1;
        let none = self.colours.len() as u16;
        self.answers.clear();
        self.answers.extend(self.nodes.iter().map(Flat::preference));
        let named = match self.strategy {
            Strategy::Silent => none,
            Strategy::VoteMinority => self.minority(),
        };
        self.answers.resize(self.nodes.len() + self.faulty, named);
        for node in 0..self.nodes.len() {
            if self.nodes[node].is_finalized() {
                continue;
            }
            self.ask(node);
            let votes = self.counts[..usize::from(none)].iter();
            let best = (0..none).zip(votes).reduce(|best, next| if next.1 > best.1 { next } else { best });
            let mode = best.filter(|(_, count)| **count > 0).map(|(colour, count)| (colour, *count));
            self.nodes[node].record_mode(mode);
            self.undecided -= usize::from(self.nodes[node].is_finalized());
        }
    }

    /// Runs rounds until every honest node has decided, `max_rounds` at most since the network was made.
    pub fn run_to_finality(&mut self, max_rounds: u32) -> FlatEnd {
        while self.undecided > 0 && self.rounds < max_rounds {
            self.step();
        }
        let mut decided = alloc::vec![0_u64; self.colours.len()];
        for node in self.nodes.iter().filter(|node| node.is_finalized()) {
            decided[usize::from(node.preference())] += 1;
        }
        let decided = self.colours.iter().copied().zip(decided).filter(|(_, nodes)| *nodes > 0).collect();
        FlatEnd { rounds: self.rounds, decided, undecided: self.undecided as u64, polls: self.polls }
    }

    /// Counts the answers of `k` others.
    fn ask(&mut self, node: usize) {
        self.polls += 1;
        self.poll = self.poll.wrapping_add(1);
        if self.poll == 0 {
            // Numbers begin anew.
            self.drawn.fill(0);
            self.poll = 1;
        }
        self.counts.fill(0);
        let others = (self.answers.len() - 1) as u32;
        let mut left = self.params.k();
        while left > 0 {
            let peer = below_32(others, &mut self.sampling) as usize;
            let peer = peer + usize::from(peer >= node);
            if self.drawn[peer] != self.poll {
                self.drawn[peer] = self.poll;
                self.counts[usize::from(self.answers[peer])] += 1;
                left -= 1;
            }
        }
    }

    /// The colour that the fewest honest nodes prefer.
    fn minority(&mut self) -> u16 {
        self.counts.fill(0);
        for colour in &self.answers {
            self.counts[usize::from(*colour)] += 1;
        }
        let colours = (0..self.colours.len() as u16).zip(&self.counts);
        colours.min_by_key(|(_, count)| **count).map_or(0, |(colour, _)| colour)
    }
}

/// A uniform number of `0..n`, for `n > 0` (Lemire, ACM TOMACS 29, 2019), from words of 32 bits.
fn below_32<R: Rng + ?Sized>(n: u32, rng: &mut R) -> u32 {
    let mut product = u64::from(rng.next_u32()) * u64::from(n);
    if (product as u32) < n {
        let least = n.wrapping_neg() % n;
        while (product as u32) < least {
            product = u64::from(rng.next_u32()) * u64::from(n);
        }
    }
    (product >> 32) as u32
}
