//! What audits may cost, and the rates that follow. All integers.

use crate::error::{Error, Result};
use crate::sampling::Probability;

/// A share of all compute for audits, and what one check costs beside one job.
///
/// ```
/// use hanzo_poai::{AuditBudget, Probability};
///
/// // 0.3 % of compute; a check costs a hundredth of a job: three jobs in ten are audited.
/// let budget = AuditBudget::new(Probability::from_ratio(3, 1_000)?, Probability::from_ratio(1, 100)?)?;
/// assert!(budget.rate().threshold().abs_diff(Probability::from_ratio(3, 10)?.threshold()) < 1_000);
/// assert_eq!(budget.escalated_rate(), Probability::ALWAYS);
/// // Of 1,000,000 units of compute, nine tenths of the share go to the plan and a tenth is kept for escalation; the share
/// // itself is rounded down.
/// assert_eq!(budget.split(1_000_000), (2_699, 300));
/// # Ok::<(), hanzo_poai::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub struct AuditBudget {
    share: Probability,
    check_cost: Probability,
}

impl AuditBudget {
    /// Audits may cost `share` of all compute (3/1000 by default); one check costs `check_cost` of a job.
    ///
    /// # Errors
    /// [`Error::InvalidProbability`] for 0.
    pub const fn new(share: Probability, check_cost: Probability) -> Result<Self> {
        if share.threshold() == 0 || check_cost.threshold() == 0 {
            return Err(Error::InvalidProbability);
        }
        Ok(Self { share, check_cost })
    }

    /// The audit rate the share pays for: `min(1, share / check_cost)`.
    pub const fn rate(&self) -> Probability {
        let (share, cost) = (self.share.as_q64(), self.check_cost.as_q64());
        if share >= cost {
            return Probability::ALWAYS;
        }
        // share < cost <= 2^64, so the shift keeps every bit.
        Probability::from_threshold(((share << 64) / cost) as u64)
    }

    /// The rate at which an escalated worker is audited: always where a check costs at most 3 % of a job,
    /// else 33 times the rate, at most always.
    pub const fn escalated_rate(&self) -> Probability {
        let raised = self.rate().as_q64() * 33;
        if self.check_cost.threshold() <= CHEAP || raised >= 1 << 64 {
            return Probability::ALWAYS;
        }
        Probability::from_threshold(raised as u64)
    }

    /// The least floor of a plan: half the rate, rounded up. Below it, discounts for value or reputation
    /// can be farmed.
    pub const fn least_floor(&self) -> Probability {
        Probability::from_threshold(self.rate().threshold().div_ceil(2))
    }

    /// Units of an epoch's compute for the plan and for escalation. A tenth is kept back, a fifth where a
    /// check costs 3 % of a job or more; together they are the share, rounded down.
    pub const fn split(&self, epoch_cost: u64) -> (u64, u64) {
        let all = (epoch_cost as u128 * self.share.as_q64()) >> 64;
        let part = if self.check_cost.threshold() >= CHEAP { 5 } else { 10 };
        let kept = all.div_ceil(part);
        let plan = all - kept;
        (plan as u64, kept as u64)
    }
}

/// `floor(3/100 2^64)`.
const CHEAP: u64 = 553_402_322_211_286_548;

#[cfg(test)]
mod tests {
    use super::*;

    fn ratio(n: u64, d: u64) -> Probability {
        Probability::from_ratio(n, d).unwrap()
    }

    #[test]
    fn rates_by_check_cost() {
        let at = |n, d| AuditBudget::new(ratio(3, 1_000), ratio(n, d)).unwrap();
        assert_eq!(at(1, 1).rate(), ratio(3, 1_000));
        assert_eq!(at(3, 1_000).rate(), Probability::ALWAYS);
        assert_eq!(at(1, 1_000).rate(), Probability::ALWAYS);
        assert_eq!(at(3, 100).escalated_rate(), Probability::ALWAYS);
        assert!(at(1, 10).escalated_rate().threshold().abs_diff(ratio(99, 100).threshold()) < 1 << 10);
        assert!(at(1, 1).escalated_rate().threshold().abs_diff(ratio(99, 1_000).threshold()) < 64);
        for (n, d, part) in [(1, 100, 10), (3, 100, 5), (1, 1, 5)] {
            let (plan, kept) = at(n, d).split(1 << 40);
            // The share itself is rounded down to Q0.64.
            assert!((plan + kept).abs_diff((1 << 40) * 3 / 1_000) <= 1);
            assert!(kept.abs_diff((plan + kept) / part) <= 1);
        }
        assert_eq!(at(1, 1).least_floor().threshold(), ratio(3, 1_000).threshold() / 2);
        assert!(AuditBudget::new(Probability::NEVER, ratio(1, 2)).is_err());
        assert!(AuditBudget::new(ratio(1, 2), Probability::NEVER).is_err());
        let (plan, kept) = at(1, 1).split(u64::MAX);
        assert!((plan + kept).abs_diff(u64::MAX / 1_000 * 3) < 1 << 10);
    }
}
