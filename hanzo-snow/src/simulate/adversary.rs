//! What Byzantine nodes of a [`Simulation`](super::Simulation) do.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use core::fmt::Debug;

use super::Id;
use crate::snowman::Snowman;

/// Decides what a Byzantine node says. It sees the state of every honest node; it cannot speak for others.
pub trait Adversary: Debug {
    /// The answers to a query, each with the time it is held back; none is silence, two are equivocation.
    fn answer(&mut self, view: &View<'_>, query: &Query) -> Vec<Answer>;

    /// What it sends where a block is asked of it.
    fn serve(&mut self, _view: &View<'_>, _id: &Id) -> Service {
        Service::Honest
    }

    /// How many conflicting blocks it proposes when it is its turn, each to its share of the nodes.
    fn conflicting_blocks(&mut self) -> usize {
        0
    }

    /// Queries with made-up blocks that it sends to whoever asks it something.
    fn flood(&mut self) -> usize {
        0
    }
}

/// A question to a Byzantine node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Query {
    /// The node that was asked.
    pub node: usize,
    /// Who asks.
    pub from: usize,
    /// What the asker prefers.
    pub block: Id,
}

/// One vote.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Answer {
    /// The vote.
    pub preferred: Id,
    /// Nanoseconds it is held back.
    pub delay: u64,
}

/// What a node sends that was asked for a block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Service {
    /// The block, if any honest node has it.
    Honest,
    /// Nothing.
    Silence,
    /// A block nobody asked for, invalid and without known ancestors.
    Garbage,
}

/// What an adversary sees.
#[derive(Debug)]
pub struct View<'a> {
    /// Nanoseconds since the start.
    pub now: u64,
    /// After how many nanoseconds an answer is too late.
    pub query_timeout: u64,
    pub(super) chains: &'a dyn Chains,
}

/// The chains of honest nodes that are up.
pub(super) trait Chains: Debug {
    fn nodes(&self) -> usize;
    fn chain(&self, node: usize) -> Option<&Snowman<Id>>;
}

impl View<'_> {
    /// Number of nodes.
    #[must_use]
    pub fn nodes(&self) -> usize {
        self.chains.nodes()
    }

    /// The chain of an honest node that is up.
    #[must_use]
    pub fn chain(&self, node: usize) -> Option<&Snowman<Id>> {
        self.chains.chain(node)
    }

    /// The tips of honest nodes with how many prefer each, in ascending order of ids.
    #[must_use]
    pub fn preferences(&self) -> Vec<(Id, usize)> {
        let mut counts: BTreeMap<Id, usize> = BTreeMap::new();
        for chain in (0..self.nodes()).filter_map(|node| self.chain(node)) {
            *counts.entry(chain.preference()).or_insert(0) += 1;
        }
        counts.into_iter().collect()
    }

    /// The tip that the most honest nodes prefer, the smallest id at a tie.
    #[must_use]
    pub fn majority(&self) -> Option<Id> {
        self.preferences().into_iter().reduce(|best, next| if next.1 > best.1 { next } else { best }).map(|(id, _)| id)
    }

    /// The tip that the fewest honest nodes prefer, the smallest id at a tie.
    #[must_use]
    pub fn minority(&self) -> Option<Id> {
        self.preferences().into_iter().reduce(|best, next| if next.1 < best.1 { next } else { best }).map(|(id, _)| id)
    }
}

/// The strategies that come with the simulator.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Byzantine {
    /// Answers nothing.
    Silent,
    /// Votes for the tip that the fewest honest nodes prefer at the moment: adaptive, against convergence.
    Minority,
    /// Tells each asker what keeps it where it is: its own preference.
    Split,
    /// Votes with the majority, just before the deadline.
    Withhold,
    /// Answers every query with two votes and proposes two blocks.
    Equivocate,
    /// Votes for blocks that do not exist and serves garbage.
    Lie,
    /// Votes with the majority and sends fifty made-up queries for each one it gets.
    Flood,
}

impl Byzantine {
    fn made_up(view: &View<'_>, query: &Query) -> Id {
        let mut id = [0xee; 32];
        id[..8].copy_from_slice(&view.now.to_be_bytes());
        id[8..16].copy_from_slice(&((query.node as u64) << 32 | query.from as u64).to_be_bytes());
        id
    }
}

impl Adversary for Byzantine {
    fn answer(&mut self, view: &View<'_>, query: &Query) -> Vec<Answer> {
        let now = |preferred| Answer { preferred, delay: 0 };
        let majority = || view.majority().unwrap_or(query.block);
        match self {
            Self::Silent => Vec::new(),
            Self::Minority => view.minority().map(now).into_iter().collect(),
            Self::Split => alloc::vec![now(query.block)],
            Self::Withhold => {
                alloc::vec![Answer { preferred: majority(), delay: view.query_timeout - view.query_timeout / 8 }]
            }
            Self::Equivocate => [view.minority(), view.majority()].into_iter().flatten().map(now).collect(),
            Self::Lie => alloc::vec![now(Self::made_up(view, query))],
            Self::Flood => alloc::vec![now(majority())],
        }
    }

    fn serve(&mut self, _: &View<'_>, _: &Id) -> Service {
        match self {
            Self::Silent => Service::Silence,
            Self::Lie => Service::Garbage,
            _ => Service::Honest,
        }
    }

    fn conflicting_blocks(&mut self) -> usize {
        if *self == Self::Equivocate { 2 } else { 0 }
    }

    fn flood(&mut self) -> usize {
        if *self == Self::Flood { 50 } else { 0 }
    }
}
