//! Error rates of a comparator, measured on work whose honesty is known.

use alloc::vec::Vec;

use crate::clopper_pearson::clopper_pearson;
use crate::error::{Error, Result};

/// False-positive rate of a comparator, measured on honest work.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub struct Calibration {
    p0_ppb: u32,
}

impl Calibration {
    /// The upper end of the two-sided 95 % Clopper-Pearson interval, rounded up to parts per billion.
    ///
    /// # Errors
    /// [`Error::InvalidProbability`] for no trial, more mismatches than trials, or a rate above 0.1;
    /// [`Error::Overflow`] for more than 2^32 trials.
    pub fn from_counts(false_mismatches: u64, honest_trials: u64) -> Result<Self> {
        let (_, upper) = clopper_pearson(false_mismatches, honest_trials, 0.95)?;
        if upper > 0.1 {
            return Err(Error::InvalidProbability);
        }
        Ok(Self { p0_ppb: libm::ceil(upper * 1e9) as u32 })
    }

    /// The rate in parts per billion, 1 to 10^8.
    pub const fn p0_ppb(&self) -> u32 {
        self.p0_ppb
    }
}

/// Scores of honest and of cheating runs under one comparator: the rates of error at every threshold.
///
/// ```
/// use hanzo_poai::Curve;
///
/// let curve = Curve::new(&[1.0, 2.0, 3.0, 4.0], &[3.5, 5.0, 6.0, 7.0])?;
/// assert_eq!(curve.auc(), 15.0 / 16.0);
/// let at = curve.at(4.0);
/// assert_eq!((at.false_positives, at.detections), (0, 3));
/// assert_eq!(curve.threshold_for(0), 4.0);
/// # Ok::<(), hanzo_poai::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct Curve {
    honest: Vec<f64>,
    cheating: Vec<f64>,
}

/// The rates of error at one threshold: a score above it is a mismatch.
#[derive(Debug, Clone, Copy, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(deny_unknown_fields))]
pub struct CurvePoint {
    /// The threshold.
    pub threshold: f64,
    /// Honest runs above it.
    pub false_positives: u64,
    /// Honest runs.
    pub honest: u64,
    /// Cheating runs above it.
    pub detections: u64,
    /// Cheating runs.
    pub cheating: u64,
}

impl CurvePoint {
    /// Share of honest runs above the threshold.
    pub fn false_positive_rate(&self) -> f64 {
        self.false_positives as f64 / self.honest as f64
    }

    /// Share of cheating runs above the threshold.
    pub fn detection_rate(&self) -> f64 {
        self.detections as f64 / self.cheating as f64
    }

    /// The false-positive rate as a bound, for a [`Rung`](crate::Rung).
    ///
    /// # Errors
    /// Those of [`Calibration::from_counts`].
    pub fn calibration(&self) -> Result<Calibration> {
        Calibration::from_counts(self.false_positives, self.honest)
    }
}

impl Curve {
    /// The curve of at least one score of each kind. `O(n log n)`.
    ///
    /// # Errors
    /// [`Error::BatchSize`] for none of a kind; [`Error::NonFinite`] for NaN.
    pub fn new(honest: &[f64], cheating: &[f64]) -> Result<Self> {
        let ordered = |scores: &[f64]| {
            if scores.is_empty() {
                return Err(Error::BatchSize { got: 0, max: u64::MAX });
            }
            if scores.iter().any(|score| score.is_nan()) {
                return Err(Error::NonFinite);
            }
            let mut scores = scores.to_vec();
            scores.sort_unstable_by(f64::total_cmp);
            Ok(scores)
        };
        Ok(Self { honest: ordered(honest)?, cheating: ordered(cheating)? })
    }

    /// How many scores lie above a threshold. `O(log n)` in the scores of either side.
    pub fn at(&self, threshold: f64) -> CurvePoint {
        let above = |scores: &[f64]| (scores.len() - scores.partition_point(|score| *score <= threshold)) as u64;
        CurvePoint {
            threshold,
            false_positives: above(&self.honest),
            honest: self.honest.len() as u64,
            detections: above(&self.cheating),
            cheating: self.cheating.len() as u64,
        }
    }

    /// The counts at every score that occurs, by rising threshold. `O(n log n)`.
    pub fn points(&self) -> Vec<CurvePoint> {
        let mut thresholds = [self.honest.as_slice(), &self.cheating].concat();
        thresholds.sort_unstable_by(f64::total_cmp);
        thresholds.dedup();
        thresholds.into_iter().map(|threshold| self.at(threshold)).collect()
    }

    /// The least threshold above which at most `most` honest scores lie: one of them, or 0 where all may.
    pub fn threshold_for(&self, most: usize) -> f64 {
        let last = self.honest.len().checked_sub(1).and_then(|last| last.checked_sub(most));
        last.and_then(|last| self.honest.get(last)).copied().unwrap_or(0.0)
    }

    /// Area under the curve: the probability that a cheating run scores above an honest one, ties counting
    /// half (Mann and Whitney). 1/2 means that the comparator cannot tell them apart. `O(n log n)`.
    pub fn auc(&self) -> f64 {
        let mut wins = 0.0f64;
        for score in &self.cheating {
            let below = self.honest.partition_point(|honest| honest < score);
            let ties = self.honest.partition_point(|honest| honest <= score) - below;
            wins += below as f64 + 0.5 * ties as f64;
        }
        wins / (self.honest.len() as f64 * self.cheating.len() as f64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn curves_of_small_samples() {
        assert!(Curve::new(&[], &[1.0]).is_err());
        assert_eq!(Curve::new(&[f64::NAN], &[1.0]), Err(Error::NonFinite));
        let same = Curve::new(&[1.0, 2.0], &[1.0, 2.0]).unwrap();
        assert_eq!(same.auc(), 0.5);
        assert_eq!(same.threshold_for(0), 2.0);
        assert_eq!(same.threshold_for(1), 1.0);
        assert_eq!(same.threshold_for(2), 0.0);
        let rates: Vec<_> =
            same.points().iter().map(|at| (at.threshold, at.false_positive_rate(), at.detection_rate())).collect();
        assert_eq!(rates, [(1.0, 0.5, 0.5), (2.0, 0.0, 0.0)]);
        let apart = Curve::new(&[0.0; 50], &[f64::INFINITY; 3]).unwrap();
        assert_eq!(apart.auc(), 1.0);
        // No failure in 50 trials: a p0 of 7.1 % at most, no better.
        assert!(apart.at(0.0).calibration().unwrap().p0_ppb().abs_diff(71_121_737) < 2);
    }
}
