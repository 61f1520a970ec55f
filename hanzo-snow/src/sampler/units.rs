//! Uniform draws of units without replacement.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;

use rand_core::Rng;

use super::{SampleError, SetError, ValidatorSampler, ValidatorSet};

/// Draws `count` different numbers of `0..n`, in random order, and replaces `out` by them.
///
/// One word a number (more if a word must be redrawn), in the order of the production sampler. O(count log count) time,
/// O(count) space.
///
/// ```
/// use rand::{SeedableRng, rngs::SmallRng};
///
/// let (mut units, mut rng) = (Vec::new(), SmallRng::seed_from_u64(1));
/// hanzo_snow::sample_units(4, 4, &mut rng, &mut units)?;
/// units.sort();
/// assert_eq!(units, [0, 1, 2, 3]);
/// assert!(hanzo_snow::sample_units(3, 4, &mut rng, &mut units).is_err());
/// # Ok::<(), hanzo_snow::SampleError>(())
/// ```
///
/// # Errors
/// [`SampleError::SampleTooLarge`] if `count > n`; nothing is drawn and `out` stays.
pub fn sample_units<R: Rng + ?Sized>(n: u64, count: u16, rng: &mut R, out: &mut Vec<u64>) -> Result<(), SampleError> {
    let mut units = Units::new(n, count)?;
    out.clear();
    out.extend((0..count).map(|_| units.draw(rng)));
    Ok(())
}

/// Every validator with stake alike, whatever its stake, and none twice in a sample. O(k log k) a sample.
///
/// ```
/// use hanzo_snow::{Uniform, ValidatorSampler, ValidatorSet};
/// use rand::{SeedableRng, rngs::SmallRng};
///
/// # fn main() -> Result<(), hanzo_snow::Error> {
/// let set = ValidatorSet::new([("ann", 1_000), ("bob", 1), ("cat", 0), ("dan", 5)])?;
/// let mut sample = Vec::new();
/// Uniform::new(&set).excluding(&"dan")?.sample(2, &mut SmallRng::seed_from_u64(1), &mut sample)?;
/// sample.sort();
/// assert_eq!(sample, ["ann", "bob"]);
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Uniform<N> {
    nodes: Vec<N>,
}

impl<N: Clone + Ord> Uniform<N> {
    /// A sampler over the validators of a set that have stake.
    #[must_use]
    pub fn new(set: &ValidatorSet<N>) -> Self {
        let with_stake = set.nodes().iter().zip(set.stakes()).filter(|&(_, &stake)| stake > 0);
        Self { nodes: with_stake.map(|(node, _)| node.clone()).collect() }
    }

    /// The same without one validator, the node itself. O(n).
    ///
    /// # Errors
    /// [`SetError::UnknownValidator`] if it is not there, as one without stake is not.
    pub fn excluding(mut self, own: &N) -> Result<Self, SetError> {
        let at = self.nodes.iter().position(|node| node == own).ok_or(SetError::UnknownValidator)?;
        self.nodes.remove(at);
        Ok(self)
    }
}

impl<N: Clone> ValidatorSampler for Uniform<N> {
    type Node = N;

    fn sample<R: Rng + ?Sized>(&self, k: u16, rng: &mut R, out: &mut Vec<N>) -> Result<(), SampleError> {
        let mut units = Units::new(self.nodes.len() as u64, k)?;
        out.clear();
        out.extend((0..k).map(|_| self.nodes[units.draw(rng) as usize].clone()));
        Ok(())
    }
}

/// The identity `0..n`, shuffled from the front as numbers are drawn.
#[derive(Debug)]
pub(super) struct Units {
    n: u64,
    drawn: u64,
    /// Where the shuffled identity differs from the identity, at positions not yet drawn.
    moved: BTreeMap<u64, u64>,
}

impl Units {
    /// For up to `count` draws.
    pub(super) const fn new(n: u64, count: u16) -> Result<Self, SampleError> {
        if count as u64 > n {
            return Err(SampleError::SampleTooLarge { total_stake: n, k: count });
        }
        Ok(Self { n, drawn: 0, moved: BTreeMap::new() })
    }

    /// The next number; the caller draws no more than it announced.
    pub(super) fn draw<R: Rng + ?Sized>(&mut self, rng: &mut R) -> u64 {
        let front = self.drawn;
        let at = front + up_to(self.n - 1 - front, rng);
        self.drawn += 1;
        let value = self.moved.get(&at).copied().unwrap_or(at);
        let front_value = self.moved.remove(&front).unwrap_or(front);
        if at != front {
            self.moved.insert(at, front_value);
        }
        value
    }
}

/// Replaces `out` by what `name` makes of `k` different units of `0..total`, each ordered choice alike.
///
/// One word a unit while less than a quarter of the units is drawn (more if one is drawn again), without allocating for
/// `k` up to 64.
pub(super) fn distinct_units<T, R: Rng + ?Sized>(
    total: u64,
    k: u16,
    rng: &mut R,
    out: &mut Vec<T>,
    name: impl Fn(u64) -> T,
) -> Result<(), SampleError> {
    const FEW: usize = 64;
    let mut units = Units::new(total, k)?;
    out.clear();
    let k = usize::from(k);
    if k as u64 > total / 4 {
        out.extend((0..k).map(|_| name(units.draw(rng))));
        return Ok(());
    }
    let mut few = [0; FEW];
    let mut many = BTreeSet::new();
    let mut drawn = 0;
    while drawn < k {
        let unit = below(total, rng);
        if few[..drawn.min(FEW)].contains(&unit) || (drawn >= FEW && !many.insert(unit)) {
            continue;
        }
        if let Some(slot) = few.get_mut(drawn) {
            *slot = unit;
        } else {
            out.push(name(unit));
        }
        drawn += 1;
    }
    // Looked up together, so that the look-ups overlap.
    let rest = out.len();
    out.extend(few[..k.min(FEW)].iter().map(|&unit| name(unit)));
    out.rotate_left(rest);
    Ok(())
}

/// A uniform number of `0..n`, for `n > 0` (Lemire, ACM TOMACS 29, 2019).
pub(crate) fn below<R: Rng + ?Sized>(n: u64, rng: &mut R) -> u64 {
    let mut product = u128::from(rng.next_u64()) * u128::from(n);
    if (product as u64) < n {
        let least = n.wrapping_neg() % n;
        while (product as u64) < least {
            product = u128::from(rng.next_u64()) * u128::from(n);
        }
    }
    (product >> 64) as u64
}

/// A uniform number of `0..=n`, by the words of the production sampler.
pub(crate) fn up_to<R: Rng + ?Sized>(n: u64, rng: &mut R) -> u64 {
    const HALF: u64 = u64::MAX >> 1;
    if n & n.wrapping_add(1) == 0 {
        return rng.next_u64() & n;
    }
    if n > HALF {
        loop {
            let word = rng.next_u64();
            if word <= n {
                return word;
            }
        }
    }
    let most = HALF - (HALF + 1) % (n + 1);
    loop {
        let word = rng.next_u64() & HALF;
        if word <= most {
            return word % (n + 1);
        }
    }
}
