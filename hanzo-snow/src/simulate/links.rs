//! How long messages take, and what becomes of them on the way.

use alloc::vec::Vec;

use rand_core::Rng;

use super::SimulateError;
use crate::sampler::units::below;

/// One-way delay of messages, in nanoseconds. One of 0 counts as 1, so that time passes.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Latency {
    /// Always the same.
    Constant(u64),
    /// Any of a range, ends included, all alike.
    Uniform {
        /// The shortest.
        min: u64,
        /// The longest.
        max: u64,
    },
    /// Quantiles at equal steps from the shortest to the longest delay, ascending, two or more; linear between them.
    Empirical(Vec<u64>),
    /// Between regions.
    Regions {
        /// The region of each node.
        of: Vec<usize>,
        /// Delay from a region (row) to another, without jitter.
        one_way: Vec<Vec<u64>>,
        /// Added at random, up to this many thousandths of the delay.
        jitter_per_mille: u32,
    },
}

impl Latency {
    /// Regions from a matrix of round trips in milliseconds, the nodes dealt out in turn.
    #[must_use]
    pub fn regions(nodes: usize, round_trips_ms: &[Vec<u64>], jitter_per_mille: u32) -> Self {
        let regions = round_trips_ms.len().max(1);
        let one_way = |row: &Vec<u64>| row.iter().map(|ms| ms.saturating_mul(500_000)).collect();
        Self::Regions {
            of: (0..nodes).map(|node| node % regions).collect(),
            one_way: round_trips_ms.iter().map(one_way).collect(),
            jitter_per_mille,
        }
    }

    /// Whether a network of `nodes` nodes can use it.
    pub(super) fn check(&self, nodes: usize) -> Result<(), SimulateError> {
        let valid = match self {
            Self::Constant(_) => true,
            Self::Uniform { min, max } => min <= max,
            Self::Empirical(table) => table.len() >= 2 && table.is_sorted(),
            Self::Regions { of, one_way, jitter_per_mille } => {
                let regions = one_way.len();
                of.len() == nodes
                    && of.iter().all(|&region| region < regions)
                    && one_way.iter().all(|row| row.len() == regions)
                    && *jitter_per_mille <= 1_000_000
            }
        };
        valid.then_some(()).ok_or(SimulateError::Latency)
    }

    /// The delay of one message: at least a nanosecond, so that time passes.
    pub(super) fn draw<R: Rng + ?Sized>(&self, from: usize, to: usize, rng: &mut R) -> u64 {
        let delay = match self {
            Self::Constant(delay) => *delay,
            Self::Uniform { min, max } => min + within(max - min, rng),
            Self::Empirical(table) => {
                let word = rng.next_u64();
                let steps = table.len() as u64 - 1;
                // 32 bits choose the step, the rest the place in it.
                let scaled = u128::from(word) * u128::from(steps);
                let (step, within) = ((scaled >> 64) as usize, (scaled as u64) >> 32);
                let (low, high) = (table[step], table[step + 1]);
                low + ((u128::from(high - low) * u128::from(within)) >> 32) as u64
            }
            Self::Regions { of, one_way, jitter_per_mille } => {
                let delay = one_way[of[from]][of[to]];
                let most = u128::from(delay) * u128::from(*jitter_per_mille) / 1_000;
                delay.saturating_add(within(u64::try_from(most).unwrap_or(u64::MAX), rng))
            }
        };
        delay.max(1)
    }
}

/// A uniform number of `0..=most`.
fn within<R: Rng + ?Sized>(most: u64, rng: &mut R) -> u64 {
    match most.checked_add(1) {
        Some(n) => below(n, rng),
        None => rng.next_u64(),
    }
}

/// What links do to messages besides delaying them; nothing unless set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Faults {
    /// Lost, of a thousand.
    pub drop_per_mille: u32,
    /// Sent twice, of a thousand.
    pub duplicate_per_mille: u32,
    /// Held back by up to three more delays, of a thousand.
    pub reorder_per_mille: u32,
    /// Bytes a node sends in a second; 0 is no limit.
    pub uplink_bytes_per_second: u64,
}

pub(super) fn happens<R: Rng + ?Sized>(per_mille: u32, rng: &mut R) -> bool {
    per_mille > 0 && below(1_000, rng) < u64::from(per_mille)
}

/// Something that befalls a network at a moment.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Fault {
    /// A node ends; what was not yet durable is lost.
    Crash(usize),
    /// It begins again from its store.
    Restart(usize),
    /// It begins again with nothing.
    RestartEmpty(usize),
    /// Only nodes with the same number reach each other: one number a node, missing ones are 0.
    Partition(Vec<usize>),
    /// Everybody reaches everybody.
    Heal,
    /// Messages from and to a node take this many thousandths of their time: 1,000 is as before.
    Slow(usize, u32),
    /// A node's clock jumps by this many nanoseconds.
    ClockJump(usize, i64),
}
