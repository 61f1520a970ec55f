//! The comparator ladder: exact bytes, element-wise tolerance, projection fingerprint, seeded-token margin and
//! KL divergence. Each gives a [`Score`]; [`Thresholds`] turn it into a judgement.

mod calibration;
mod default;
mod element_wise;
mod exponential;
mod fingerprint;
mod gumbel;
mod half;
mod kl;
mod logits;
mod margin;
mod thresholds;

use crate::error::{Error, Result};
use crate::hash::{Hash, sha256};

pub use calibration::{Calibration, Curve, CurvePoint};
pub use default::DefaultComparator;
pub use element_wise::ElementWise;
pub use fingerprint::{Fingerprint, FingerprintDistance};
pub use gumbel::GumbelSampler;
pub use kl::Kl;
pub use logits::{Logits, TopK};
pub use margin::Margin;
pub use thresholds::{Judgement, Thresholds};

/// Which comparator a verdict used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(rename_all = "snake_case"))]
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
    /// Rows of logits.
    Logits(Logits<'a>),
    /// The likeliest tokens of each position.
    TopK(&'a TopK),
    /// Token ids.
    Tokens(&'a [u32]),
    /// Projections of hidden states.
    Fingerprint(&'a Fingerprint),
}

impl Observation<'_> {
    fn digest(&self) -> Option<Hash> {
        match self {
            Self::Bytes(bytes) => Some(sha256(bytes)),
            Self::Digest(hash) => Some(*hash),
            _ => None,
        }
    }

    fn len(&self) -> u64 {
        match self {
            Self::Bytes(bytes) => bytes.len() as u64,
            Self::Digest(hash) => hash.len() as u64,
            Self::F32(values) => values.len() as u64,
            Self::F64(values) => values.len() as u64,
            Self::Logits(logits) => logits.len(),
            Self::TopK(top) => top.rows().len() as u64,
            Self::Tokens(tokens) => tokens.len() as u64,
            Self::Fingerprint(print) => print.len() as u64,
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
    /// A score of a comparator of one's own.
    ///
    /// # Errors
    /// [`Error::NonFinite`] for NaN or a negative value.
    pub fn new(value: f64) -> Result<Self> {
        if value.is_nan() || value < 0.0 {
            return Err(Error::NonFinite);
        }
        Ok(Self { value, violations: 0, first: None })
    }

    /// The distance.
    pub const fn value(&self) -> f64 {
        self.value
    }

    /// Elements past their tolerance, or tokens off their draw.
    pub const fn violations(&self) -> u64 {
        self.violations
    }

    /// Index of the first element past its tolerance, of the first token off its draw, or of the window that is
    /// farthest off.
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
/// ```
/// use hanzo_poai::{Comparator, Decision, Exact, Observation, Thresholds};
///
/// let (reference, claimed) = (Observation::Bytes(b"four"), Observation::Bytes(b"five"));
/// let judgement = Thresholds::new(0.0, 0.0)?.judge(Exact.compare(&reference, &claimed))?;
/// assert_eq!(judgement.decision, Decision::Mismatch);
/// # Ok::<(), hanzo_poai::Error>(())
/// ```
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
