//! Rungs of the comparator ladder: exact bytes and element-wise tolerance.

use crate::clopper_pearson::clopper_pearson;
use crate::environment::{DType, Environment};
use crate::error::{Error, Result};
use crate::hash::{Hash, sha256};
use crate::verdict::Decision;

/// Which comparator a verdict used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum ComparatorKind {
    /// Equal SHA-256.
    Exact = 1,
    /// Absolute and relative tolerance for each element.
    ElementWise = 2,
    /// Distance of projection fingerprints.
    Fingerprint = 3,
    /// Mean margin of the claimed tokens.
    Margin = 4,
    /// Kullback-Leibler divergence of the token distributions.
    Kl = 5,
}

impl ComparatorKind {
    pub(crate) fn from_code(code: u8) -> Result<Self> {
        Ok(match code {
            1 => Self::Exact,
            2 => Self::ElementWise,
            3 => Self::Fingerprint,
            4 => Self::Margin,
            5 => Self::Kl,
            other => {
                return Err(Error::UnknownVariant { field: "comparator", value: other.into() });
            }
        })
    }
}

/// One side of a comparison.
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
pub enum Observation<'a> {
    /// Output bytes.
    Bytes(&'a [u8]),
    /// SHA-256 of output bytes, as an attestation carries it.
    Digest(Hash),
    /// Single-precision values.
    F32(&'a [f32]),
    /// Double-precision values.
    F64(&'a [f64]),
}

impl Observation<'_> {
    fn digest(&self) -> Option<Hash> {
        match self {
            Self::Bytes(bytes) => Some(sha256(bytes)),
            Self::Digest(hash) => Some(*hash),
            Self::F32(_) | Self::F64(_) => None,
        }
    }

    const fn len(&self) -> u64 {
        match self {
            Self::Bytes(bytes) => bytes.len() as u64,
            Self::Digest(hash) => hash.len() as u64,
            Self::F32(values) => values.len() as u64,
            Self::F64(values) => values.len() as u64,
        }
    }
}

/// Distance of a claim from its reference: 0 is equal. Never NaN, never negative; may be infinite.
#[derive(Debug, Clone, Copy, PartialEq, PartialOrd)]
pub struct Score {
    value: f64,
    violations: u64,
    first: Option<u64>,
}

impl Score {
    /// The distance.
    pub const fn value(&self) -> f64 {
        self.value
    }

    /// Elements past their tolerance.
    pub const fn violations(&self) -> u64 {
        self.violations
    }

    /// Index of the first element past its tolerance.
    pub const fn first(&self) -> Option<u64> {
        self.first
    }

    /// Q32.32 for the wire: floor, saturating.
    pub const fn q32(&self) -> u64 {
        (self.value * 4_294_967_296.0) as u64
    }
}

/// Compares a claim with a re-executed reference.
///
/// # Guarantees
/// An implementor is deterministic and never gives NaN. Closures implement this trait.
pub trait Comparator {
    /// The distance of `claimed` from `reference`.
    ///
    /// # Errors
    /// [`Error::ShapeMismatch`] for another length or element type and [`Error::NonFinite`] for NaN or
    /// infinity, which [`Thresholds::judge`] turns into a mismatch; other errors give no verdict.
    fn compare(&self, reference: &Observation<'_>, claimed: &Observation<'_>) -> Result<Score>;
}

impl<F> Comparator for F
where
    F: Fn(&Observation<'_>, &Observation<'_>) -> Result<Score>,
{
    fn compare(&self, reference: &Observation<'_>, claimed: &Observation<'_>) -> Result<Score> {
        self(reference, claimed)
    }
}

/// Equal bytes, by SHA-256: score 0 or 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Exact;

impl Comparator for Exact {
    fn compare(&self, reference: &Observation<'_>, claimed: &Observation<'_>) -> Result<Score> {
        let (Some(want), Some(got)) = (reference.digest(), claimed.digest()) else {
            return Err(Error::ShapeMismatch { want: reference.len(), got: claimed.len() });
        };
        let differs = want != got;
        Ok(Score { value: u8::from(differs).into(), violations: differs.into(), first: differs.then_some(0) })
    }
}

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
    atol: f64,
    rtol: f64,
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

/// The comparator a network uses for an environment until it calibrates its own.
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
pub enum DefaultComparator {
    /// Integers, or both determinism flags.
    Exact(Exact),
    /// f64 with atol = rtol = 1e-9; f32 with atol = 1e-4.
    ElementWise(ElementWise),
}

impl DefaultComparator {
    /// The default for an environment.
    ///
    /// # Errors
    /// [`Error::Uncalibrated`] for f16, tf32, bf16 and f8, which need a calibrated comparator.
    pub const fn new(environment: &Environment) -> Result<Self> {
        if environment.is_reproducible() {
            return Ok(Self::Exact(Exact));
        }
        match environment.dtype {
            DType::F64 => Ok(Self::ElementWise(ElementWise { atol: 1e-9, rtol: 1e-9 })),
            DType::F32 => Ok(Self::ElementWise(ElementWise { atol: 1e-4, rtol: 0.0 })),
            other => Err(Error::Uncalibrated(other)),
        }
    }

    /// Its code in a verdict.
    pub const fn kind(&self) -> ComparatorKind {
        match self {
            Self::Exact(_) => ComparatorKind::Exact,
            Self::ElementWise(_) => ComparatorKind::ElementWise,
        }
    }

    /// Its thresholds: 0 for exact, 1 for a ratio.
    pub const fn thresholds(&self) -> Thresholds {
        match self {
            Self::Exact(_) => Thresholds { flag: 0.0, mismatch: 0.0 },
            Self::ElementWise(_) => Thresholds { flag: 1.0, mismatch: 1.0 },
        }
    }
}

impl Comparator for DefaultComparator {
    fn compare(&self, reference: &Observation<'_>, claimed: &Observation<'_>) -> Result<Score> {
        match self {
            Self::Exact(exact) => exact.compare(reference, claimed),
            Self::ElementWise(near) => near.compare(reference, claimed),
        }
    }
}

/// Where a score turns into suspicion and into a mismatch.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Thresholds {
    flag: f64,
    mismatch: f64,
}

impl Thresholds {
    /// Scores up to `flag` match, up to `mismatch` match with suspicion, above that they do not.
    ///
    /// # Errors
    /// [`Error::NonFinite`] for NaN or infinity; [`Error::InvalidField`] for `flag < 0` or `flag > mismatch`.
    pub fn new(flag: f64, mismatch: f64) -> Result<Self> {
        if !flag.is_finite() || !mismatch.is_finite() {
            return Err(Error::NonFinite);
        }
        if flag < 0.0 || flag > mismatch {
            return Err(Error::InvalidField("flag"));
        }
        Ok(Self { flag, mismatch })
    }

    /// Turns the result of a comparison into a judgement. A different shape, NaN and infinity are a
    /// mismatch with the largest score, and the judgement says which it was.
    ///
    /// # Errors
    /// Any other error of the comparator: it gives no verdict.
    pub fn judge(&self, compared: Result<Score>) -> Result<Judgement> {
        let score = match compared {
            Ok(score) => score,
            Err(cause @ (Error::ShapeMismatch { .. } | Error::NonFinite)) => {
                return Ok(Judgement {
                    decision: Decision::Mismatch,
                    suspect: false,
                    score_q32: u64::MAX,
                    cause: Some(cause),
                });
            }
            Err(other) => return Err(other),
        };
        let matches = score.value <= self.mismatch;
        Ok(Judgement {
            decision: if matches { Decision::Match } else { Decision::Mismatch },
            suspect: matches && score.value > self.flag,
            score_q32: score.q32(),
            cause: None,
        })
    }
}

/// What a comparison comes to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Judgement {
    /// Match or mismatch.
    pub decision: Decision,
    /// A match close to the threshold: raises the screen score, and one more audit is due.
    pub suspect: bool,
    /// The score for the verdict.
    pub score_q32: u64,
    /// Why the two could not be compared, for a mismatch that is not a matter of distance.
    pub cause: Option<Error>,
}

/// False-positive rate of a comparator, measured on honest work.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
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
