//! Stake sampling through an implicit heap, identical word for word to the production sampler.

use alloc::vec::Vec;
use core::cmp::Reverse;

use rand_core::Rng;

use super::units::Units;
use super::{SampleError, SetError, ValidatorSampler, ValidatorSet};

/// Samples units of stake: a uniform draw of a unit, then its owner, O(log n) each.
///
/// The heaviest validators lie at the top, so most walks are short. [`StakeTable`](super::StakeTable) is faster on
/// large sets and follows the same law with other words.
///
/// ```
/// use hanzo_snow::{StakeHeap, ValidatorSampler, ValidatorSet};
/// use rand::{SeedableRng, rngs::SmallRng};
///
/// # fn main() -> Result<(), hanzo_snow::Error> {
/// let set = ValidatorSet::new([('a', 2), ('b', 0), ('c', 1)])?;
/// let mut sample = Vec::new();
/// StakeHeap::new(&set).sample(3, &mut SmallRng::seed_from_u64(1), &mut sample)?;
/// sample.sort();
/// assert_eq!(sample, ['a', 'a', 'c']);
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StakeHeap<N> {
    /// Ascending by (stake descending, position in the set); children of `i` at `2i + 1` and `2i + 2`.
    entries: Vec<Entry<N>>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Entry<N> {
    node: N,
    stake: u64,
    /// Own stake and that of everything below.
    sum: u64,
}

impl<N: Clone + Ord> StakeHeap<N> {
    /// A sampler over the whole set. O(n log n).
    #[must_use]
    pub fn new(set: &ValidatorSet<N>) -> Self {
        Self::build(set.nodes().iter().cloned().zip(set.stakes().iter().copied()).collect())
    }

    /// A sampler over the set without the stake of one validator, the node itself.
    ///
    /// # Errors
    /// [`SetError::UnknownValidator`] if it is not in the set.
    pub fn excluding(set: &ValidatorSet<N>, own: &N) -> Result<Self, SetError> {
        let own = set.position(own).ok_or(SetError::UnknownValidator)?;
        let mut validators: Vec<(N, u64)> = set.nodes().iter().cloned().zip(set.stakes().iter().copied()).collect();
        validators[own].1 = 0;
        Ok(Self::build(validators))
    }

    fn build(mut validators: Vec<(N, u64)>) -> Self {
        // A stable sort keeps equal stakes in the order of the set.
        validators.sort_by_key(|&(_, stake)| Reverse(stake));
        let mut entries: Vec<Entry<N>> =
            validators.into_iter().map(|(node, stake)| Entry { node, stake, sum: stake }).collect();
        for i in (1..entries.len()).rev() {
            entries[(i - 1) / 2].sum += entries[i].sum;
        }
        Self { entries }
    }

    fn total(&self) -> u64 {
        self.entries.first().map_or(0, |entry| entry.sum)
    }

    /// Owner of a unit below the total.
    fn owner(&self, mut unit: u64) -> &N {
        let mut i = 0;
        loop {
            let entry = &self.entries[i];
            if unit < entry.stake {
                return &entry.node;
            }
            unit -= entry.stake;
            i = 2 * i + 1;
            let left = self.entries[i].sum;
            if unit >= left {
                unit -= left;
                i += 1;
            }
        }
    }
}

impl<N: Clone + Ord> ValidatorSampler for StakeHeap<N> {
    type Node = N;

    fn sample<R: Rng + ?Sized>(&self, k: u16, rng: &mut R, out: &mut Vec<N>) -> Result<(), SampleError> {
        let mut units = Units::new(self.total(), k)?;
        out.clear();
        out.extend((0..k).map(|_| self.owner(units.draw(rng)).clone()));
        Ok(())
    }
}
