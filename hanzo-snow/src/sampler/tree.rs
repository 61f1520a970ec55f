//! Stake sampling with stakes that change.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use rand_core::Rng;

use super::units::distinct_units;
use super::{SampleError, SetError, ValidatorSampler, ValidatorSet};

/// Samples units of stake from sums in a binary indexed tree (Fenwick 1994): O(log n) a unit and O(log n) a change.
///
/// Equal in law to [`StakeHeap`](super::StakeHeap) over the present stakes. For a set that rarely changes
/// [`StakeTable`](super::StakeTable) draws faster.
///
/// ```
/// use hanzo_snow::{StakeTree, ValidatorSampler, ValidatorSet};
/// use rand::{SeedableRng, rngs::SmallRng};
///
/// # fn main() -> Result<(), hanzo_snow::Error> {
/// let set = ValidatorSet::new([("ann", 3), ("bob", 2)])?;
/// let mut sampler = StakeTree::new(&set);
/// assert_eq!(sampler.set_stake("bob", 0)?, 2);
/// assert_eq!(sampler.set_stake("cat", 1)?, 0);
/// let mut sample = Vec::new();
/// sampler.sample(4, &mut SmallRng::seed_from_u64(1), &mut sample)?;
/// sample.sort();
/// assert_eq!(sample, ["ann", "ann", "ann", "cat"]);
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StakeTree<N> {
    /// Names by position; `None` for a free one.
    nodes: Vec<Option<N>>,
    positions: BTreeMap<N, usize>,
    free: Vec<usize>,
    stakes: Vec<u64>,
    /// `sums[i]` is the stake of positions `i + 1 - lowest_bit(i + 1)..=i`.
    sums: Vec<u64>,
    total: u64,
    own: Option<N>,
}

impl<N: Clone + Ord> StakeTree<N> {
    /// A sampler over the whole set. O(n log n).
    #[must_use]
    pub fn new(set: &ValidatorSet<N>) -> Self {
        let mut tree = Self {
            nodes: Vec::new(),
            positions: BTreeMap::new(),
            free: Vec::new(),
            stakes: Vec::new(),
            sums: Vec::new(),
            total: 0,
            own: None,
        };
        for (node, &stake) in set.nodes().iter().zip(set.stakes()).filter(|&(_, &stake)| stake > 0) {
            tree.insert(node.clone(), stake);
        }
        tree
    }

    /// A sampler over the set without the stake of one validator, the node itself, however that stake changes.
    ///
    /// # Errors
    /// [`SetError::UnknownValidator`] if it is not in the set.
    pub fn excluding(set: &ValidatorSet<N>, own: &N) -> Result<Self, SetError> {
        let own = set.position(own).map(|_| own.clone()).ok_or(SetError::UnknownValidator)?;
        Ok(Self { own: Some(own), ..Self::new(set) })
    }

    /// Sets the stake of a validator, known or new, and returns what it was; 0 removes it. O(log n).
    ///
    /// # Errors
    /// [`SetError::StakeOverflow`] if the stakes would sum to more than `u64::MAX`; nothing changes. The last stake may go:
    /// a sample of an empty tree is refused when it is drawn.
    pub fn set_stake(&mut self, node: N, stake: u64) -> Result<u64, SetError> {
        let position = self.positions.get(&node).copied();
        let old = position.map_or(0, |at| self.stakes[at]);
        (self.total - old).checked_add(stake).ok_or(SetError::StakeOverflow)?;
        match position {
            Some(at) => {
                self.change(at, stake);
                if stake == 0 {
                    self.positions.remove(&node);
                    self.nodes[at] = None;
                    self.free.push(at);
                }
            }
            None if stake > 0 => self.insert(node, stake),
            None => {}
        }
        Ok(old)
    }

    /// Present stake of a validator, 0 for a stranger. O(log n).
    #[must_use]
    pub fn stake(&self, node: &N) -> u64 {
        self.positions.get(node).map_or(0, |&at| self.stakes[at])
    }

    /// Sum of all stakes.
    #[must_use]
    pub const fn total_stake(&self) -> u64 {
        self.total
    }

    /// Adds a validator that is not there, with stake that fits.
    fn insert(&mut self, node: N, stake: u64) {
        let at = self.free.pop().unwrap_or_else(|| {
            let at = self.nodes.len();
            self.nodes.push(None);
            self.stakes.push(0);
            // The new sum covers the positions of its lowest bit, all but the last of which are there.
            let from = (at + 1) & at;
            let mut covered = 0;
            let mut below = at;
            while below > from {
                covered += self.sums[below - 1];
                below &= below - 1;
            }
            self.sums.push(covered);
            at
        });
        self.positions.insert(node.clone(), at);
        self.nodes[at] = Some(node);
        self.change(at, stake);
    }

    fn change(&mut self, at: usize, stake: u64) {
        let old = core::mem::replace(&mut self.stakes[at], stake);
        self.total = self.total - old + stake;
        let mut i = at + 1;
        while i <= self.sums.len() {
            self.sums[i - 1] = self.sums[i - 1] - old + stake;
            i += i & i.wrapping_neg();
        }
    }

    /// Stake of the positions below `at`.
    fn below(&self, at: usize) -> u64 {
        let mut sum = 0;
        let mut i = at;
        while i > 0 {
            sum += self.sums[i - 1];
            i &= i - 1;
        }
        sum
    }

    /// Owner of a unit below the total.
    fn owner(&self, mut unit: u64) -> Option<&N> {
        let mut at = 0;
        let mut step = self.sums.len().checked_ilog2().map_or(0, |bits| 1_usize << bits);
        while step > 0 {
            if let Some(&sum) = self.sums.get(at + step - 1)
                && sum <= unit
            {
                unit -= sum;
                at += step;
            }
            step >>= 1;
        }
        self.nodes.get(at)?.as_ref()
    }
}

impl<N: Clone + Ord> ValidatorSampler for StakeTree<N> {
    type Node = N;

    fn sample<R: Rng + ?Sized>(&self, k: u16, rng: &mut R, out: &mut Vec<N>) -> Result<(), SampleError> {
        let own = self.own.as_ref().and_then(|own| self.positions.get(own)).copied();
        let own_stake = own.map_or(0, |at| self.stakes[at]);
        let own_start = own.map_or(self.total, |at| self.below(at));
        let mut owners = Vec::new();
        distinct_units(self.total - own_stake, k, rng, &mut owners, |unit| {
            self.owner(if unit >= own_start { unit + own_stake } else { unit })
        })?;
        out.clear();
        // Every unit below the total has an owner.
        out.extend(owners.into_iter().flatten().cloned());
        Ok(())
    }
}
