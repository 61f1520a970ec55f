//! Stake sampling in constant expected time a unit.

use alloc::vec::Vec;

use rand_core::Rng;

use super::units::distinct_units;
use super::{SampleError, SetError, ValidatorSampler, ValidatorSet};

/// Samples units of stake through a guide table: O(1) expected a unit, O(log n) at worst, no allocation for `k` up to 64.
///
/// A unit is drawn uniformly and found by its leading bits, which name a short stretch of validators, then by search in
/// that stretch (Chen and Asau, "On generating random variates from an empirical distribution", AIIE Transactions 6,
/// 1974). One word a unit, where an alias table takes two for the validator and one for the unit. Equal in law to
/// [`StakeHeap`](super::StakeHeap), for every stake and every own share.
///
/// ```
/// use hanzo_snow::{StakeTable, ValidatorSampler, ValidatorSet};
/// use rand::{SeedableRng, rngs::SmallRng};
///
/// # fn main() -> Result<(), hanzo_snow::Error> {
/// let set = ValidatorSet::new((0..1000).map(|node| (node, 2_000)))?;
/// let sampler = StakeTable::excluding(&set, &7)?;
/// let mut sample = Vec::new();
/// sampler.sample(20, &mut SmallRng::seed_from_u64(1), &mut sample)?;
/// assert_eq!(sample.len(), 20);
/// assert!(!sample.contains(&7));
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StakeTable<N> {
    nodes: Vec<N>,
    own: Option<usize>,
    /// Sum of the stakes up to and including each position.
    sums: Vec<u64>,
    /// A unit lies in stretch `unit >> shift`.
    shift: u32,
    /// For each stretch the first position whose sum lies above the stretch's first unit; one more at the end.
    guide: Vec<u32>,
}

impl<N: Clone + Ord> StakeTable<N> {
    /// A sampler over the whole set. O(n) time, 8 to 24 bytes a validator beside its name.
    #[must_use]
    pub fn new(set: &ValidatorSet<N>) -> Self {
        let mut sum = 0;
        let sums: Vec<u64> = set
            .stakes()
            .iter()
            .map(|stake| {
                sum += stake;
                sum
            })
            .collect();
        // One to four stretches a validator, as long as there are units enough.
        let wanted = 64 - (2 * sums.len() as u64).leading_zeros();
        let shift = (64 - (sum - 1).leading_zeros()).saturating_sub(wanted);
        let stretches = ((sum - 1) >> shift) + 1;
        let mut at = 0_usize;
        let mut guide: Vec<u32> = (0..stretches)
            .map(|stretch| {
                while sums[at] <= stretch << shift {
                    at += 1;
                }
                at as u32
            })
            .collect();
        guide.push(sums.len() as u32 - 1);
        Self { nodes: set.nodes().to_vec(), own: None, sums, shift, guide }
    }

    /// A sampler over the set without the stake of one validator, the node itself.
    ///
    /// # Errors
    /// [`SetError::UnknownValidator`] if it is not in the set.
    pub fn excluding(set: &ValidatorSet<N>, own: &N) -> Result<Self, SetError> {
        let own = set.position(own).ok_or(SetError::UnknownValidator)?;
        Ok(Self { own: Some(own), ..Self::new(set) })
    }
}

impl<N> StakeTable<N> {
    /// Replaces `out` by the positions in the set of a sample of `k`, without the stake of the validator at `own`.
    ///
    /// Lets many nodes share one table. An `own` beyond the set leaves out nobody.
    ///
    /// # Errors
    /// [`SampleError::SampleTooLarge`] if less than `k` stake is left; nothing is drawn and `out` stays.
    pub fn sample_positions<R: Rng + ?Sized>(
        &self,
        k: u16,
        own: Option<usize>,
        rng: &mut R,
        out: &mut Vec<usize>,
    ) -> Result<(), SampleError> {
        self.draw(k, own, rng, out, |at| at)
    }

    fn draw<T, R: Rng + ?Sized>(
        &self,
        k: u16,
        own: Option<usize>,
        rng: &mut R,
        out: &mut Vec<T>,
        name: impl Fn(usize) -> T,
    ) -> Result<(), SampleError> {
        let total = self.sums.last().copied().unwrap_or(0);
        // The own stake is cut out of the line of units.
        let (own_start, own_stake) = match own.filter(|&own| own < self.sums.len()) {
            Some(own) => {
                let start = own.checked_sub(1).map_or(0, |below| self.sums[below]);
                (start, self.sums[own] - start)
            }
            None => (total, 0),
        };
        distinct_units(total - own_stake, k, rng, out, |unit| {
            name(self.owner(if unit >= own_start { unit + own_stake } else { unit }))
        })
    }

    /// Position of the owner of a unit below the total.
    fn owner(&self, unit: u64) -> usize {
        let stretch = (unit >> self.shift) as usize;
        let (mut low, high) = (self.guide[stretch] as usize, self.guide[stretch + 1] as usize);
        if high - low > 8 {
            return low + self.sums[low..high].partition_point(|&sum| sum <= unit);
        }
        while self.sums[low] <= unit {
            low += 1;
        }
        low
    }
}

impl<N: Clone> ValidatorSampler for StakeTable<N> {
    type Node = N;

    fn sample<R: Rng + ?Sized>(&self, k: u16, rng: &mut R, out: &mut Vec<N>) -> Result<(), SampleError> {
        self.draw(k, self.own, rng, out, |at| self.nodes[at].clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_unit_has_its_owner() {
        let uneven: Vec<u64> = (0..40).map(|i| if i % 3 == 0 { 0 } else { i * i }).collect();
        let whale: Vec<u64> = (0..50).map(|i| if i == 20 { 1 << 20 } else { 1 }).collect();
        for stakes in [alloc::vec![1], alloc::vec![3, 0, 4], alloc::vec![0, 0, 5, 0], uneven, whale] {
            let set = ValidatorSet::new(stakes.iter().copied().enumerate()).unwrap();
            let table = StakeTable::new(&set);
            let mut unit = 0;
            for (at, &stake) in stakes.iter().enumerate() {
                for within in (0..stake).step_by(1 + stake as usize / 1_000).chain(stake.checked_sub(1)) {
                    assert_eq!(table.owner(unit + within), at, "unit {} of {stakes:?}", unit + within);
                }
                unit += stake;
            }
        }
        let set = ValidatorSet::new([(0, 1), (1, u64::MAX - 2), (2, 1)]).unwrap();
        let table = StakeTable::new(&set);
        assert_eq!([0, 1, u64::MAX - 2, u64::MAX - 1].map(|unit| table.owner(unit)), [0, 1, 1, 2]);
    }
}
