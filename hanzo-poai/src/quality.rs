//! A running score of a worker's audits.

use crate::error::{Error, Result};

/// Exponentially weighted mean of audit results, Q0.32 with `1.0 = 2^32`.
///
/// ```
/// use hanzo_poai::{Quality, QualityPolicy};
///
/// let (policy, mut quality) = (QualityPolicy::default(), Quality::default());
/// for _ in 0..20 {
///     quality.update(&policy, 0)?; // a mismatch
/// }
/// assert!(quality.is_low(&policy));
/// # Ok::<(), hanzo_poai::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub struct Quality {
    value_q32: u64,
    audits: u64,
}

impl Quality {
    /// A perfect result, and a worker's score before its first audit.
    pub const ONE: u64 = 1 << 32;

    /// A score from its parts.
    ///
    /// # Errors
    /// [`Error::AboveLimit`] for a value above 2^32.
    pub const fn new(value_q32: u64, audits: u64) -> Result<Self> {
        if value_q32 > Self::ONE {
            return Err(Error::AboveLimit { amount: value_q32 as u128, limit: Self::ONE as u128 });
        }
        Ok(Self { value_q32, audits })
    }

    /// Takes the result of one audit: `q + floor(eta (r - q) / 2^32)`.
    ///
    /// # Errors
    /// [`Error::AboveLimit`] for a result above 2^32.
    pub fn update(&mut self, policy: &QualityPolicy, result_q32: u64) -> Result<()> {
        if result_q32 > Self::ONE {
            return Err(Error::AboveLimit { amount: result_q32.into(), limit: Self::ONE.into() });
        }
        let change = i128::from(result_q32) - i128::from(self.value_q32);
        let step = (i128::from(policy.eta_q32) * change) >> 32;
        let value = i128::from(self.value_q32) + step;
        // eta is at most 1, so the mean stays between the old value and the result.
        self.value_q32 = u64::try_from(value).map_err(|_| Error::Overflow)?;
        self.audits = self.audits.saturating_add(1);
        Ok(())
    }

    /// The score, Q0.32.
    pub const fn value_q32(&self) -> u64 {
        self.value_q32
    }

    /// Audits taken.
    pub const fn audits(&self) -> u64 {
        self.audits
    }

    /// Whether the score is below the threshold after the grace of the first audits.
    pub const fn is_low(&self, policy: &QualityPolicy) -> bool {
        self.audits >= policy.grace && self.value_q32 < policy.threshold_q32
    }
}

impl Default for Quality {
    fn default() -> Self {
        Self { value_q32: Self::ONE, audits: 0 }
    }
}

/// How quality is averaged and when it is too low.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub struct QualityPolicy {
    eta_q32: u64,
    threshold_q32: u64,
    grace: u64,
}

impl QualityPolicy {
    /// Rate `eta` and `threshold` in Q0.32, and the number of audits before a score can be low.
    ///
    /// # Errors
    /// [`Error::InvalidField`] for a rate of 0, or a rate or threshold above 2^32.
    pub const fn new(eta_q32: u64, threshold_q32: u64, grace: u64) -> Result<Self> {
        if eta_q32 == 0 || eta_q32 > Quality::ONE {
            return Err(Error::InvalidField("eta"));
        }
        if threshold_q32 > Quality::ONE {
            return Err(Error::InvalidField("threshold"));
        }
        Ok(Self { eta_q32, threshold_q32, grace })
    }
}

impl Default for QualityPolicy {
    /// Rate 0.05 (a half-life of 13.5 audits), threshold 0.5, grace of 20 audits.
    fn default() -> Self {
        Self { eta_q32: 214_748_365, threshold_q32: 1 << 31, grace: 20 }
    }
}
