//! Who leads a view.

use alloc::collections::BTreeSet;

use crate::committee::Committee;

/// How leaders rotate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum LeaderRule {
    /// All in turn.
    RoundRobin,
    /// All in turn, but passing over leaders of views that were skipped in the last `2n` views of the chain, the latest
    /// first and at most as much stake as may be faulty. Computed from the chain under a proposal, so that all agree.
    #[default]
    Reputation,
}

/// The leader of a view, passing over `left_out`: the next one that is not.
pub(super) fn leader(committee: &Committee, view: u64, left_out: &BTreeSet<u32>) -> u32 {
    let n = committee.len() as u64;
    let start = view % n;
    let mut turn = (start..n).chain(0..start).filter_map(|at| u32::try_from(at).ok());
    turn.find(|at| !left_out.contains(at)).unwrap_or(0)
}
