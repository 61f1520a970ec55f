use super::column::Column;
use super::submission::Batch;
use super::{Aggregate, Aggregator, Fixed, Limits, Weighted};
use crate::{Error, Result};

/// The mean of each element without its `b` lowest and `b` highest values, rounded half to even. Every submitter counts
/// one, whatever its weight. Elements where no more than 2b are present are absent in the result. O(n log n) an element.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TrimmedMean {
    b: usize,
    limits: Limits,
}

impl TrimmedMean {
    /// Withstands `b` submitters.
    pub fn new(b: usize) -> Self {
        Self { b, limits: Limits::default() }
    }

    /// Sets participation.
    pub fn limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }
}

/// # Errors
/// [`Error::TooFew`] unless n > 2b; [`Error::SchemaMismatch`], [`Error::DuplicateSubmitter`].
impl Aggregator for TrimmedMean {
    fn aggregate(&self, submissions: &[Weighted<'_>]) -> Result<Aggregate> {
        let batch = Batch::counted(submissions, self.limits)?;
        let need = self.b.checked_mul(2).and_then(|both| both.checked_add(1)).ok_or(Error::Overflow)?;
        batch.need(need)?;
        let ones = vec![1_u64; batch.priors.len()];
        batch.by_element(&ones, |column| {
            if column.cells.len() < need {
                return Ok(None);
            }
            column.cells.sort_unstable_by_key(|(value, _)| *value);
            let kept = &column.cells[self.b..column.cells.len() - self.b];
            let sum = kept.iter().map(|(value, _)| i128::from(value.to_raw())).sum();
            Fixed::mean(sum, kept.len() as u128).map(Some)
        })
    }
}

/// The weighted mean of each element without a share of the weight at either end, rounded half to even; a value on the
/// edge counts in part. O(n log n) an element.
///
/// Weights are shifted right together until their sum is below 2^62; those that become zero do not count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WeightedTrimmedMean {
    trim_bps: u16,
    limits: Limits,
}

impl WeightedTrimmedMean {
    /// Removes `trim_bps` of the weight at each end.
    ///
    /// # Errors
    /// [`Error::OutOfRange`] for 5,000 or more, which would leave nothing.
    pub fn new(trim_bps: u16) -> Result<Self> {
        if trim_bps >= 5_000 {
            return Err(Error::OutOfRange { field: "trim_bps" });
        }
        Ok(Self { trim_bps, limits: Limits::default() })
    }

    /// Sets participation and the cut of weights.
    pub fn limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }
}

/// # Errors
/// As [`WeightedMedian`](super::WeightedMedian).
impl Aggregator for WeightedTrimmedMean {
    fn aggregate(&self, submissions: &[Weighted<'_>]) -> Result<Aggregate> {
        let mut batch = Batch::weighted(submissions, self.limits)?;
        let shift = (128 - batch.total.leading_zeros()).saturating_sub(62);
        let kept = batch.priors.into_iter().zip(batch.weights);
        let kept = kept.map(|(prior, weight)| (prior, weight >> shift)).filter(|(_, weight)| *weight > 0);
        (batch.priors, batch.weights) = kept.unzip();
        batch.total = batch.weights.iter().sum();
        if batch.total == 0 {
            return Err(Error::NoWeight);
        }
        // Below 2^62.
        let weights = batch.narrow().ok_or(Error::Overflow)?;
        batch.by_element(&weights, |column| self.mean(column).map(Some))
    }
}

impl WeightedTrimmedMean {
    fn mean(&self, column: Column<'_, u64>) -> Result<Fixed> {
        let total = u128::from(column.total);
        // Below 2^62 * 2^13.
        let trim = total * u128::from(self.trim_bps) / 10_000;
        column.cells.sort_unstable_by_key(|(value, _)| *value);
        let (low, high) = (trim, total - trim);
        let (mut through, mut sum) = (0_u128, 0_i128);
        for (value, weight) in column.cells.iter() {
            let from = through.max(low);
            through += u128::from(*weight);
            let part = through.min(high).saturating_sub(from);
            // Parts sum to less than 2^62, values are below 2^63.
            sum += i128::from(value.to_raw()) * part as i128;
        }
        Fixed::mean(sum, high - low)
    }
}
