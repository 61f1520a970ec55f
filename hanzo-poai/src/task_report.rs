//! What a job was worth beyond its price: a score, not money.

use alloc::vec::Vec;

use crate::encoding::{Reader, Writer};
use crate::error::{Error, Result};
use crate::hash::{Hash, JobId, PartyId, tagged};
use crate::signing::{Signable, SignedKind};

/// A claimed contribution of one job (152 bytes). Differences are Q32.32 with sign.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(deny_unknown_fields))]
pub struct TaskReport {
    /// Schema of the evaluation, a code of the network.
    pub schema: u16,
    /// The worker.
    pub worker: PartyId,
    /// The job.
    pub job: JobId,
    /// Change of information, Q32.32.
    pub delta_i_q32: i64,
    /// Change of utility, Q32.32.
    pub delta_u_q32: i64,
    /// Hash of the evaluation.
    #[cfg_attr(feature = "serde", serde(with = "crate::serde_forms::hex32"))]
    pub evaluation: Hash,
    /// Hash of the prior it was measured against.
    #[cfg_attr(feature = "serde", serde(with = "crate::serde_forms::hex32"))]
    pub prior: Hash,
}

impl TaskReport {
    /// Length of the encoding.
    pub const LEN: usize = 152;

    /// The 152 canonical bytes.
    pub fn encode(&self) -> [u8; Self::LEN] {
        Writer::versioned(MAGIC)
            .u16(self.schema)
            .put(self.worker.as_bytes())
            .put(self.job.as_bytes())
            .put(&self.delta_i_q32.to_be_bytes())
            .put(&self.delta_u_q32.to_be_bytes())
            .put(&self.evaluation)
            .put(&self.prior)
            .finish()
    }

    /// Strict decoding of [`TaskReport::encode`].
    ///
    /// # Errors
    /// [`Error::Length`], [`Error::BadMagic`], [`Error::UnknownVersion`].
    pub fn decode(bytes: &[u8]) -> Result<Self> {
        let mut reader = Reader::versioned(bytes, Self::LEN, MAGIC)?;
        Ok(Self {
            schema: reader.u16()?,
            worker: reader.hash()?,
            job: reader.hash()?,
            delta_i_q32: reader.i64()?,
            delta_u_q32: reader.i64()?,
            evaluation: reader.array()?,
            prior: reader.array()?,
        })
    }

    /// Hash of the encoding; what [`Attestation::report`](crate::Attestation::report) carries.
    pub fn hash(&self) -> Hash {
        tagged("task report", &[&self.encode()])
    }
}

impl Signable for TaskReport {
    const KIND: SignedKind = SignedKind::TaskReport;

    fn signing_hash(&self) -> Hash {
        self.hash()
    }

    fn to_bytes(&self) -> Vec<u8> {
        self.encode().to_vec()
    }

    fn from_bytes(bytes: &[u8]) -> Result<Self> {
        Self::decode(bytes)
    }
}

/// Three measurements of a job, or three amounts of the same units.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(deny_unknown_fields))]
pub struct TaskMetrics {
    /// Floating-point operations.
    pub flops: u128,
    /// Bytes over the network.
    pub net_bytes: u64,
    /// Energy, millijoules.
    pub energy_mj: u64,
}

/// How a verified report becomes a score.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub struct ScorePolicy {
    gamma_q32: u64,
    beta_q32: u64,
    lambda_q32: u64,
    weights_q32: [u64; 3],
    units: TaskMetrics,
}

impl ScorePolicy {
    /// Weights gamma 1, beta 1/2, lambda 1/10 and a third for each cost, in the network's units.
    ///
    /// # Errors
    /// [`Error::InvalidField`] for a unit of zero.
    pub const fn new(units: TaskMetrics) -> Result<Self> {
        if units.flops == 0 || units.net_bytes == 0 || units.energy_mj == 0 {
            return Err(Error::InvalidField("units"));
        }
        Ok(Self {
            gamma_q32: 1 << 32,
            beta_q32: 1 << 31,
            lambda_q32: 429_496_730,
            weights_q32: [1_431_655_765; 3],
            units,
        })
    }

    /// Other weights, all Q32.32: gamma, beta, lambda, and those of flops, bytes and energy.
    #[must_use]
    pub const fn weights(self, gamma: u64, beta: u64, lambda: u64, costs: [u64; 3]) -> Self {
        let Self { units, .. } = self;
        Self { gamma_q32: gamma, beta_q32: beta, lambda_q32: lambda, weights_q32: costs, units }
    }

    /// Cost of the work, Q32.32: the sum over the metrics of `floor(weight * metric / unit)`.
    ///
    /// # Errors
    /// [`Error::Overflow`] past 2^127.
    pub fn cost_q32(&self, metrics: &TaskMetrics) -> Result<u128> {
        let terms = [
            (metrics.flops, self.units.flops),
            (metrics.net_bytes.into(), self.units.net_bytes.into()),
            (metrics.energy_mj.into(), self.units.energy_mj.into()),
        ];
        self.weights_q32.iter().zip(terms).try_fold(0u128, |sum, (&weight, (metric, unit))| {
            let product = u128::from(weight).checked_mul(metric).ok_or(Error::Overflow)?;
            let term = product.checked_div(unit).ok_or(Error::Overflow)?;
            sum.checked_add(term).ok_or(Error::Overflow)
        })
    }

    /// The score of a verified report, Q32.32, never negative:
    /// `max(0, floor(gamma dI) + floor(beta dU) - floor(lambda cost))`. Only meaningful for a job that
    /// was verified and whose attestation carries the hash of this report.
    ///
    /// # Errors
    /// [`Error::Overflow`] past 2^127.
    pub fn score_q32(&self, report: &TaskReport, metrics: &TaskMetrics) -> Result<u128> {
        let cost = i128::try_from(self.cost_q32(metrics)?).map_err(|_| Error::Overflow)?;
        let gain = scaled(self.gamma_q32, report.delta_i_q32.into())?
            .checked_add(scaled(self.beta_q32, report.delta_u_q32.into())?)
            .ok_or(Error::Overflow)?;
        let raw = gain.checked_sub(scaled(self.lambda_q32, cost)?).ok_or(Error::Overflow)?;
        Ok(u128::try_from(raw).unwrap_or(0))
    }
}

/// `floor(weight * value / 2^32)`; the shift rounds towards minus infinity.
fn scaled(weight_q32: u64, value: i128) -> Result<i128> {
    Ok(i128::from(weight_q32).checked_mul(value).ok_or(Error::Overflow)? >> 32)
}

const MAGIC: &[u8; 4] = b"PoAT";
