//! Which jobs are audited: an integer threshold on a keyed hash, which anyone can replay.

use alloc::vec::Vec;

use crate::beacon::Beacon;
use crate::error::{Error, Result};
use crate::hash::{JobId, Tag};

/// A probability as a Q0.64 threshold; the largest value means always.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Probability(u64);

impl Probability {
    /// Never.
    pub const NEVER: Self = Self(0);
    /// Always.
    pub const ALWAYS: Self = Self(u64::MAX);

    /// The probability of that threshold.
    pub const fn from_threshold(threshold: u64) -> Self {
        Self(threshold)
    }

    /// `floor(n 2^64 / d)`, and always for `n = d`.
    ///
    /// # Errors
    /// [`Error::InvalidProbability`] for `d = 0` or `n > d`.
    pub const fn from_ratio(n: u64, d: u64) -> Result<Self> {
        if d == 0 || n > d {
            return Err(Error::InvalidProbability);
        }
        if n == d {
            return Ok(Self::ALWAYS);
        }
        Ok(Self((((n as u128) << 64) / d as u128) as u64))
    }

    /// The threshold.
    pub const fn threshold(self) -> u64 {
        self.0
    }

    /// The probability as a Q0.64 number for sums, in which always counts as `2^64`.
    pub const fn as_q64(self) -> u128 {
        if self.0 == u64::MAX { 1 << 64 } else { self.0 as u128 }
    }
}

/// The draws of one epoch.
///
/// ```
/// use hanzo_poai::{Beacon, Epoch, JobId, Probability, Sampler};
///
/// let sampler = Sampler::new(&Beacon::new(Epoch::new(7), [9; 32]));
/// let p = Probability::from_ratio(3, 1_000)?;
/// let audited = (0..10_000u32).filter(|i| sampler.draw(&JobId::new([1; 32]), *i, p).selected()).count();
/// assert!((10..60).contains(&audited));
/// # Ok::<(), hanzo_poai::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct Sampler {
    key: Tag,
}

impl Sampler {
    /// The sampler of a beacon; holds the midstate of its key.
    pub fn new(beacon: &Beacon) -> Self {
        Self { key: Tag::keyed(&Tag::new("sample").hash(&[beacon.value()])) }
    }

    /// Draws one assignment of a job. One SHA-256 compression.
    pub fn draw(&self, job: &JobId, assignment: u32, p: Probability) -> Draw {
        let u = self.value(job, assignment);
        Draw { u, selected: p == Probability::ALWAYS || u < p.0 }
    }

    /// The `k` assignments with the smallest `(u, job, assignment)`, in that order; all of them when there
    /// are no more than `k`. On budget exactly, where [`Sampler::draw`] is on budget on average.
    pub fn fixed_size(&self, jobs: &[(JobId, u32)], k: usize) -> Vec<(JobId, u32)> {
        let mut drawn: Vec<_> = jobs.iter().map(|(job, at)| (self.value(job, *at), *job, *at)).collect();
        if k < drawn.len() {
            drawn.select_nth_unstable(k);
            drawn.truncate(k);
        }
        drawn.sort_unstable();
        drawn.into_iter().map(|(_, job, at)| (job, at)).collect()
    }

    fn value(&self, job: &JobId, assignment: u32) -> u64 {
        self.key.draw(job.as_bytes(), assignment)
    }
}

/// The outcome of one draw.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub struct Draw {
    u: u64,
    selected: bool,
}

impl Draw {
    /// The drawn number, uniform in u64.
    pub const fn u(&self) -> u64 {
        self.u
    }

    /// Whether it fell below the threshold.
    pub const fn selected(&self) -> bool {
        self.selected
    }
}
