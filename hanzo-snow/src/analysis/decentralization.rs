//! How many parties it takes.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;

/// Shares of a whole, in integers: stake, tokens or compute by owner and region.
///
/// ```
/// use hanzo_snow::analysis::decentralization;
///
/// let of = decentralization([("ann", "eu", 30), ("bob", "us", 40), ("ann", "us", 30)]);
/// assert_eq!((of.nodes, of.owners, of.regions, of.largest_bps), (3, 2, 2, Some(6_000)));
/// assert_eq!((of.nakamoto(5_100), of.nakamoto(6_001)), (Some(1), Some(2)));
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decentralization {
    /// Entries given.
    pub nodes: u64,
    /// Different owners.
    pub owners: u64,
    /// Different regions.
    pub regions: u64,
    /// Share of the heaviest owner in basis points, rounded up; `None` where nothing has weight.
    pub largest_bps: Option<u32>,
    /// Weights of the owners, heaviest first.
    weights: Vec<u128>,
    total: u128,
}

/// Measures `(owner, region, weight)` of each node; the weights of one owner are added first. O(n log n).
#[must_use]
pub fn decentralization<O: Ord, R: Ord>(nodes: impl IntoIterator<Item = (O, R, u64)>) -> Decentralization {
    let mut owners: BTreeMap<O, u128> = BTreeMap::new();
    let mut regions = BTreeSet::new();
    let mut count = 0_u64;
    for (owner, region, weight) in nodes {
        count += 1;
        // At most 2^64 weights below 2^64.
        *owners.entry(owner).or_insert(0) += u128::from(weight);
        regions.insert(region);
    }
    let mut weights: Vec<u128> = owners.into_values().collect();
    weights.sort_unstable_by(|a, b| b.cmp(a));
    let total = weights.iter().sum();
    let largest = weights.first().copied().unwrap_or(0);
    Decentralization {
        nodes: count,
        owners: weights.len() as u64,
        regions: regions.len() as u64,
        // No memory holds so many nodes that the product leaves 128 bits.
        largest_bps: (total > 0).then(|| (largest * 10_000).div_ceil(total) as u32),
        weights,
        total,
    }
}

impl Decentralization {
    /// The least number of owners that together hold at least `threshold_bps` of the whole; `None` where nothing has
    /// weight or the threshold lies above 10,000. `nakamoto(3_334)` owners can stop a settlement by BFT quorum,
    /// `nakamoto(5_100)` hold the majority.
    #[must_use]
    pub fn nakamoto(&self, threshold_bps: u32) -> Option<u64> {
        if self.total == 0 || threshold_bps > 10_000 {
            return None;
        }
        // Compared as sum >= ceil(threshold * total / 10^4), without leaving 128 bits.
        let (whole, part) = (self.total / 10_000, self.total % 10_000);
        let needed = whole * u128::from(threshold_bps) + (part * u128::from(threshold_bps)).div_ceil(10_000);
        let mut held = 0;
        let mut owners = 0;
        for weight in &self.weights {
            if held >= needed {
                break;
            }
            held += weight;
            owners += 1;
        }
        Some(owners)
    }

    /// Weight of all nodes together.
    #[must_use]
    pub const fn total(&self) -> u128 {
        self.total
    }
}

/// Goals of decentralisation; compared by [`met`](Self::met), never enforced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Targets {
    /// Least number of nodes.
    pub nodes: u64,
    /// Least number of regions.
    pub regions: u64,
    /// Greatest share of one owner of tokens, in basis points.
    pub largest_bps: u32,
    /// Least number of owners that hold a majority (5,100 basis points) of compute.
    pub majority_owners: u64,
}

/// Which [`Targets`] are met.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TargetsMet {
    /// Enough nodes.
    pub nodes: bool,
    /// Enough regions.
    pub regions: bool,
    /// No owner holds too many tokens.
    pub largest: bool,
    /// A majority of compute takes enough owners.
    pub majority: bool,
}

impl Targets {
    /// Those of the Zoo network (paper 004, section 12.2): 100 nodes, 20 regions, no owner above 5 % of the tokens, 20 owners
    /// for a majority of the compute.
    pub const ZOO: Self = Self { nodes: 100, regions: 20, largest_bps: 500, majority_owners: 20 };

    /// Compares; nodes and regions are counted by compute.
    #[must_use]
    pub fn met(&self, tokens: &Decentralization, compute: &Decentralization) -> TargetsMet {
        TargetsMet {
            nodes: compute.nodes >= self.nodes,
            regions: compute.regions >= self.regions,
            largest: tokens.largest_bps.is_some_and(|bps| bps <= self.largest_bps),
            majority: compute.nakamoto(5_100).is_some_and(|owners| owners >= self.majority_owners),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_round_up_and_thresholds_are_met_exactly() {
        let thirds = decentralization([(1, 0, 1), (2, 0, 1), (3, 1, 1)]);
        assert_eq!(thirds.largest_bps, Some(3_334));
        assert_eq!(
            [0, 3_333, 3_334, 6_666, 6_667, 10_000].map(|bps| thirds.nakamoto(bps).unwrap()),
            [0, 1, 2, 2, 3, 3]
        );
        assert_eq!((thirds.nakamoto(10_001), thirds.regions, thirds.total()), (None, 2, 3));
        let none = decentralization([(1, 1, 0), (2, 1, 0)]);
        assert_eq!((none.nodes, none.largest_bps, none.nakamoto(1)), (2, None, None));
        let huge = decentralization((0..1_000).map(|owner| (owner, (), u64::MAX)));
        assert_eq!((huge.largest_bps, huge.nakamoto(5_000), huge.nakamoto(5_001)), (Some(10), Some(500), Some(501)));
    }

    #[test]
    fn zoo_targets() {
        let fair = decentralization((0..100).map(|n| (n, n % 25, 10)));
        let met = Targets::ZOO.met(&fair, &fair);
        assert_eq!(met, TargetsMet { nodes: true, regions: true, largest: true, majority: true });
        let whale = decentralization((0..100).map(|n| (n, n % 5, if n == 0 { 1_100 } else { 10 })));
        let met = Targets::ZOO.met(&whale, &whale);
        assert_eq!(met, TargetsMet { nodes: true, regions: false, largest: false, majority: false });
    }
}
