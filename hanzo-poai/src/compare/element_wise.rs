//! Element-wise tolerance.

use super::{Comparator, Observation, Score};
use crate::error::{Error, Result};

/// `|a - b| <= atol + rtol |reference|` for each element; the score is the largest ratio of the two sides.
///
/// ```
/// use hanzo_poai::{Comparator, ElementWise, Observation};
///
/// let near = ElementWise::new(1e-4, 0.0)?;
/// let score = near.compare(&Observation::F32(&[1.0, 2.0]), &Observation::F32(&[1.0, 2.1]))?;
/// assert_eq!((score.violations(), score.first()), (1, Some(1)));
/// # Ok::<(), hanzo_poai::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ElementWise {
    pub(super) atol: f64,
    pub(super) rtol: f64,
}

impl ElementWise {
    /// Absolute tolerance `atol >= 0` and relative tolerance `rtol` in [0, 1].
    ///
    /// # Errors
    /// [`Error::NonFinite`] for NaN or infinity; [`Error::InvalidField`] for a value out of range.
    pub fn new(atol: f64, rtol: f64) -> Result<Self> {
        if !atol.is_finite() || !rtol.is_finite() {
            return Err(Error::NonFinite);
        }
        if atol < 0.0 {
            return Err(Error::InvalidField("atol"));
        }
        if !(0.0..=1.0).contains(&rtol) {
            return Err(Error::InvalidField("rtol"));
        }
        Ok(Self { atol, rtol })
    }

    fn ratio(&self, reference: f64, claimed: f64) -> f64 {
        let tolerance = self.atol + self.rtol * reference.abs();
        let difference = (claimed - reference).abs();
        if difference == 0.0 {
            return 0.0;
        }
        if !difference.is_finite() || !tolerance.is_finite() {
            // Values near the end of the range: the same ratio of halves does not overflow.
            let half = self.atol / 2.0 + self.rtol * (reference.abs() / 2.0);
            return (claimed / 2.0 - reference / 2.0).abs() / half;
        }
        let ratio = difference / tolerance;
        // The rounded quotient must fall on the side of 1 that the comparison fell on.
        if difference <= tolerance { ratio.min(1.0) } else { ratio.max(1.0_f64.next_up()) }
    }

    fn score(&self, pairs: impl Iterator<Item = (f64, f64)>) -> Result<Score> {
        let mut score = Score { value: 0.0, violations: 0, first: None };
        for ((reference, claimed), index) in pairs.zip(0u64..) {
            if !reference.is_finite() || !claimed.is_finite() {
                return Err(Error::NonFinite);
            }
            let ratio = self.ratio(reference, claimed);
            if ratio > 1.0 {
                score.violations += 1;
                score.first = score.first.or(Some(index));
            }
            score.value = score.value.max(ratio);
        }
        Ok(score)
    }
}

impl Comparator for ElementWise {
    fn compare(&self, reference: &Observation<'_>, claimed: &Observation<'_>) -> Result<Score> {
        match (reference, claimed) {
            (Observation::F32(a), Observation::F32(b)) if a.len() == b.len() => {
                self.score(a.iter().zip(*b).map(|(a, b)| ((*a).into(), (*b).into())))
            }
            (Observation::F64(a), Observation::F64(b)) if a.len() == b.len() => {
                self.score(a.iter().copied().zip(b.iter().copied()))
            }
            _ => Err(Error::ShapeMismatch { want: reference.len(), got: claimed.len() }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn score_is_above_one_exactly_where_the_tolerance_is_broken() {
        let near = ElementWise::new(1e-4, 1e-5).unwrap();
        for (reference, step) in [(1.0f64, 1.1e-4), (3.0, 1.3e-4), (0.0, 1e-4)] {
            for ulps in -3i64..=3 {
                let claimed = f64::from_bits(((reference + step).to_bits() as i64 + ulps) as u64);
                let tolerance = 1e-4 + 1e-5 * reference;
                let over = (claimed - reference).abs() > tolerance;
                assert_eq!(near.ratio(reference, claimed) > 1.0, over);
            }
        }
    }

    #[test]
    fn ends_of_the_range_do_not_overflow() {
        let near = ElementWise::new(f64::MAX, 1.0).unwrap();
        assert_eq!(near.ratio(f64::MAX, -f64::MAX), 1.0);
        assert_eq!(ElementWise::new(0.0, 0.0).unwrap().ratio(1.0, 2.0), f64::INFINITY);
        assert_eq!(ElementWise::new(0.0, 0.0).unwrap().ratio(0.0, -0.0), 0.0);
    }
}
