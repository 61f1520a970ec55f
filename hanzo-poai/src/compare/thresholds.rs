//! From a score to a judgement.

use super::Score;
use crate::error::{Error, Result};
use crate::verdict::Decision;

/// Where a score turns into suspicion and into a mismatch.
#[derive(Debug, Clone, Copy, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub struct Thresholds {
    pub(super) flag: f64,
    pub(super) mismatch: f64,
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
