//! Stake sampling in constant time a unit.

use alloc::collections::BTreeSet;
use alloc::vec::Vec;
use core::fmt;

use rand_core::Rng;
use rand_distr::Distribution;
use rand_distr::weighted::WeightedAliasIndex;

use super::units::{Units, up_to};
use super::{SampleError, SetError, ValidatorSampler, ValidatorSet};

/// Samples units of stake by an alias table: O(1) a unit and no allocation for `k` up to 64, whatever the size of the set.
///
/// Equal in law to [`StakeHeap`](super::StakeHeap). Where the table does not fit 64 bits (`n` times the largest stake), or
/// the own stake or the sample is a large part of the whole, units are drawn one by one and found by binary search.
///
/// ```
/// use hanzo_snow::{StakeAlias, ValidatorSampler, ValidatorSet};
/// use rand::{SeedableRng, rngs::SmallRng};
///
/// # fn main() -> Result<(), hanzo_snow::Error> {
/// let set = ValidatorSet::new((0..1000).map(|node| (node, 2_000)))?;
/// let sampler = StakeAlias::excluding(&set, &7)?;
/// let mut sample = Vec::new();
/// sampler.sample(20, &mut SmallRng::seed_from_u64(1), &mut sample)?;
/// assert_eq!(sample.len(), 20);
/// assert!(!sample.contains(&7));
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct StakeAlias<N> {
    set: ValidatorSet<N>,
    own: Option<usize>,
    table: Option<WeightedAliasIndex<u64>>,
    /// Sum of the stakes up to and including each position.
    sums: Vec<u64>,
}

impl<N: Clone + Ord> StakeAlias<N> {
    /// A sampler over the whole set. O(n).
    #[must_use]
    pub fn new(set: &ValidatorSet<N>) -> Self {
        let mut sum = 0;
        let sums = set.stakes().iter().map(|stake| {
            sum += stake;
            sum
        });
        Self {
            sums: sums.collect(),
            table: WeightedAliasIndex::new(set.stakes().to_vec()).ok(),
            set: set.clone(),
            own: None,
        }
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

impl<N> StakeAlias<N> {
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
        let own = own.filter(|&own| own < self.set.len());
        let own_stake = own.map_or(0, |own| self.set.stakes()[own]);
        let left = self.set.total_stake() - own_stake;
        let mut units = Units::new(left, k)?;
        out.clear();
        // The share of draws that are thrown away stays below 3/4.
        if let Some(table) = &self.table
            && own_stake <= left
            && u64::from(k) <= left / 4
        {
            let mut drawn = Drawn::default();
            while out.len() < usize::from(k) {
                let at = table.sample(rng);
                if Some(at) == own {
                    continue;
                }
                let stake = self.set.stakes()[at];
                let offset = if stake > 1 { up_to(stake - 1, rng) } else { 0 };
                if drawn.insert(at, offset) {
                    out.push(name(at));
                }
            }
        } else {
            out.extend((0..k).map(|_| name(self.owner(units.draw(rng), own))));
        }
        Ok(())
    }

    /// Owner of a unit of the stake without that at `own`.
    fn owner(&self, mut unit: u64, own: Option<usize>) -> usize {
        if let Some(own) = own {
            let stake = self.set.stakes()[own];
            if unit >= self.sums[own] - stake {
                unit += stake;
            }
        }
        self.sums.partition_point(|&sum| sum <= unit)
    }
}

impl<N: Clone> ValidatorSampler for StakeAlias<N> {
    type Node = N;

    fn sample<R: Rng + ?Sized>(&self, k: u16, rng: &mut R, out: &mut Vec<N>) -> Result<(), SampleError> {
        self.draw(k, self.own, rng, out, |at| self.set.nodes()[at].clone())
    }
}

impl<N: fmt::Debug> fmt::Debug for StakeAlias<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StakeAlias").field("set", &self.set).field("own", &self.own).finish_non_exhaustive()
    }
}

/// The units drawn so far.
struct Drawn {
    owners: [usize; Self::FEW],
    offsets: [u64; Self::FEW],
    len: usize,
    more: BTreeSet<(usize, u64)>,
}

impl Drawn {
    const FEW: usize = 64;

    /// False if the unit was there.
    fn insert(&mut self, owner: usize, offset: u64) -> bool {
        let mut few = self.owners[..self.len].iter().zip(&self.offsets[..self.len]);
        if few.any(|(&other, &at)| other == owner && at == offset) {
            return false;
        }
        if self.len == Self::FEW {
            return self.more.insert((owner, offset));
        }
        self.owners[self.len] = owner;
        self.offsets[self.len] = offset;
        self.len += 1;
        true
    }
}

impl Default for Drawn {
    fn default() -> Self {
        Self { owners: [0; Self::FEW], offsets: [0; Self::FEW], len: 0, more: BTreeSet::new() }
    }
}
