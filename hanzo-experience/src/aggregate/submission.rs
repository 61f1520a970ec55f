use super::{Fixed, Prior};
use crate::merkle::Hash;
use crate::registry::aggregate_root;
use crate::rewards::mul_div;
use crate::{Account, Error, Result};

/// One submission.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Weighted<'a> {
    /// Who sent it; each submitter at most once.
    pub submitter: &'a Account,
    /// What was sent.
    pub prior: &'a Prior,
    /// What it counts, from a source that the submitter does not control, such as
    /// [`Registry::aggregate`](crate::registry::Registry::aggregate).
    pub weight: u128,
}

/// Makes one prior of many.
///
/// # Guarantees
/// The result depends on the set of submissions alone, not on their order, and is equal on every machine.
pub trait Aggregator {
    /// The aggregate.
    ///
    /// # Errors
    /// [`Error::TooFew`], [`Error::SchemaMismatch`] (of schema or dimension), [`Error::DuplicateSubmitter`],
    /// [`Error::NoWeight`], [`Error::Overflow`], [`Error::NotDense`]: each rule says which.
    fn aggregate(&self, submissions: &[Weighted<'_>]) -> Result<Aggregate>;
}

/// A prior made of many, bound to the schema by its [root](Self::root).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Aggregate {
    pub(super) schema: u64,
    pub(super) values: Vec<Option<Fixed>>,
}

impl Aggregate {
    /// The schema.
    pub fn schema(&self) -> u64 {
        self.schema
    }

    /// One value an element; none where too few took part.
    pub fn values(&self) -> &[Option<Fixed>] {
        &self.values
    }

    /// The root that a registry stores: see [`aggregate_root`].
    pub fn root(&self) -> Hash {
        aggregate_root(self.schema, self.values.iter().map(|value| value.map(Fixed::to_raw)))
    }

    /// As a prior.
    ///
    /// # Errors
    /// None for aggregates made here; those of [`Prior::new`].
    pub fn to_prior(&self) -> Result<Prior> {
        // At most 2^24 elements.
        let present = (0..).zip(&self.values).filter_map(|(index, value)| Some((index, (*value)?)));
        Prior::new(self.schema, self.values.len() as u32, present)
    }
}

/// How much of the weight must take part, and how much of it one submitter may have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    min_participation_bps: u16,
    max_weight_bps: u16,
}

impl Limits {
    /// An element whose weight present is below `min_participation_bps` of the total is absent in the result. Weights are
    /// cut to `max_weight_bps` of their sum before, once.
    ///
    /// # Errors
    /// [`Error::OutOfRange`] above 10,000.
    pub fn new(min_participation_bps: u16, max_weight_bps: u16) -> Result<Self> {
        if min_participation_bps > 10_000 {
            return Err(Error::OutOfRange { field: "min_participation_bps" });
        }
        if max_weight_bps > 10_000 {
            return Err(Error::OutOfRange { field: "max_weight_bps" });
        }
        Ok(Self { min_participation_bps, max_weight_bps })
    }
}

/// One half must take part; no cut.
impl Default for Limits {
    fn default() -> Self {
        Self { min_participation_bps: 5_000, max_weight_bps: 10_000 }
    }
}

/// Submissions by ascending submitter, checked, with their weights.
pub(super) struct Batch<'a> {
    pub(super) schema: u64,
    pub(super) dimension: u32,
    pub(super) priors: Vec<&'a Prior>,
    pub(super) weights: Vec<u128>,
    /// Sum of the weights; fits.
    pub(super) total: u128,
    pub(super) min_participation_bps: u16,
}

impl<'a> Batch<'a> {
    /// Those with a positive weight, cut to the limit.
    pub(super) fn weighted(submissions: &[Weighted<'a>], limits: Limits) -> Result<Self> {
        let mut batch = Self::checked(submissions, limits, |submission| submission.weight)?;
        let cap = mul_div(batch.total, limits.max_weight_bps.into(), 10_000)?;
        let kept = batch.priors.into_iter().zip(batch.weights);
        let kept = kept.map(|(prior, weight)| (prior, weight.min(cap))).filter(|(_, weight)| *weight > 0);
        (batch.priors, batch.weights) = kept.unzip();
        batch.total = batch.weights.iter().sum();
        if batch.total == 0 { Err(Error::NoWeight) } else { Ok(batch) }
    }

    /// All of them, each counting one.
    pub(super) fn counted(submissions: &[Weighted<'a>], limits: Limits) -> Result<Self> {
        Self::checked(submissions, limits, |_| 1)
    }

    fn checked(submissions: &[Weighted<'a>], limits: Limits, weight: fn(&Weighted<'a>) -> u128) -> Result<Self> {
        let mut sorted: Vec<&Weighted<'a>> = submissions.iter().collect();
        sorted.sort_unstable_by_key(|submission| submission.submitter);
        if sorted.windows(2).any(|pair| pair[0].submitter == pair[1].submitter) {
            return Err(Error::DuplicateSubmitter);
        }
        let first = sorted.first().ok_or(Error::TooFew { need: 1, got: 0 })?.prior;
        let (schema, dimension) = (first.schema(), first.dimension());
        if sorted.iter().any(|other| other.prior.schema() != schema || other.prior.dimension() != dimension) {
            return Err(Error::SchemaMismatch);
        }
        let weights: Vec<u128> = sorted.iter().map(|submission| weight(submission)).collect();
        let total = weights.iter().try_fold(0_u128, |sum, weight| sum.checked_add(*weight)).ok_or(Error::Overflow)?;
        let priors = sorted.iter().map(|submission| submission.prior).collect();
        let min_participation_bps = limits.min_participation_bps;
        Ok(Self { schema, dimension, priors, weights, total, min_participation_bps })
    }

    pub(super) fn need(&self, need: usize) -> Result<()> {
        let got = self.priors.len();
        if got < need { Err(Error::TooFew { need, got }) } else { Ok(()) }
    }
}
