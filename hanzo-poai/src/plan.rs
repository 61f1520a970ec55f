//! How likely each job of an epoch is audited, inside a compute budget. All integers.

use alloc::vec::Vec;
use core::num::NonZeroU64;

use crate::error::{Error, Result};
use crate::hash::AttestationHash;
use crate::sampling::Probability;

/// A job as the plan sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(deny_unknown_fields))]
pub struct Exposure {
    /// The attestation.
    pub attestation: AttestationHash,
    /// What the worker gains if it cheated and is not caught, base units.
    pub gain: u128,
    /// Stake the worker loses if caught, base units.
    pub stake: u128,
    /// Cost of one audit, 0 to 2^40, in the units of the budget.
    pub cost: u64,
    /// Score of a cheap screen that flagged the job, Q32.32.
    pub screen: Option<u64>,
    /// Clean audits of the worker, where the policy knows reputation.
    pub clean: u64,
}

/// Floor and strength of an audit plan.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub struct SamplingPolicy {
    floor: Probability,
    kappa_q16: u32,
    reputation: Option<Reputation>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
struct Reputation {
    halving: NonZeroU64,
    least_q32: u32,
}

impl SamplingPolicy {
    /// Every job is audited at least with probability `floor`; strength 1.
    pub const fn new(floor: Probability) -> Self {
        Self { floor, kappa_q16: 1 << 16, reputation: None }
    }

    /// Factor on the deterrent probability, Q16.16.
    #[must_use]
    pub const fn kappa_q16(self, kappa_q16: u32) -> Self {
        Self { kappa_q16, ..self }
    }

    /// Discounts the deterrent probability of workers with clean audits: weight
    /// `max(least, halving / (halving + clean))`, so half after `halving` clean audits. A discount below the
    /// deterrent probability no longer deters by itself; keep the floor at
    /// [`AuditBudget::least_floor`](crate::AuditBudget::least_floor) or above.
    #[must_use]
    pub const fn reputation(self, halving: NonZeroU64, least_q32: u32) -> Self {
        Self { reputation: Some(Reputation { halving, least_q32 }), ..self }
    }

    /// The weight of a worker with that many clean audits, Q0.32 with `1.0 = 2^32`, rounded down.
    pub fn weight_q32(&self, clean: u64) -> u64 {
        let Some(Reputation { halving, least_q32 }) = self.reputation else { return 1 << 32 };
        let halving = u128::from(halving.get());
        // halving <= halving + clean, so the quotient is at most 2^32.
        let weight = ((halving << 32) / (halving + u128::from(clean))) as u64;
        weight.max(least_q32.into())
    }

    /// The probability at which cheating for `gain` against `stake` does not pay,
    /// `ceil(kappa gain / (stake + gain))`: 0 for no gain, always for no stake.
    ///
    /// # Errors
    /// [`Error::Overflow`] for `stake + gain >= 2^127`.
    pub fn deterrence(&self, gain: u128, stake: u128) -> Result<Probability> {
        let sum = stake.checked_add(gain).filter(|sum| *sum < 1 << 127).ok_or(Error::Overflow)?;
        if gain == 0 {
            return Ok(Probability::NEVER);
        }
        if stake == 0 {
            return Ok(Probability::ALWAYS);
        }
        let (floor, rest) = div_q64(gain, sum);
        let ratio = floor + u128::from(rest != 0);
        let scaled = (u128::from(self.kappa_q16) * ratio).div_ceil(1 << 16);
        Ok(Probability::from_threshold(u64::try_from(scaled).unwrap_or(u64::MAX)))
    }
}

/// The audit probabilities of all jobs of an epoch.
///
/// ```
/// use hanzo_poai::{AttestationHash, AuditPlan, Exposure, Probability, SamplingPolicy};
///
/// let job = |gain| Exposure {
///     attestation: AttestationHash::new([gain as u8; 32]), gain, stake: 100_000, cost: 1, screen: None, clean: 0,
/// };
/// let jobs: Vec<_> = (0..100).map(job).collect();
/// let plan = AuditPlan::new(&SamplingPolicy::new(Probability::from_ratio(1, 1_000)?), &jobs, 1)?;
/// assert!(plan.expected_cost_q64() <= 1 << 64);
/// assert!(plan.probabilities()[0] >= Probability::from_ratio(1, 1_000)?);
/// # Ok::<(), hanzo_poai::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditPlan {
    probabilities: Vec<Probability>,
    expected_cost_q64: u128,
}

impl AuditPlan {
    /// Plans the audits of `jobs` inside `budget`, in units of cost: the floor for all, then flagged jobs
    /// in order of their score, then each job's deterrent probability, scaled down together where it does
    /// not fit. `O(n log n)` in flagged jobs, `O(n)` in the others.
    ///
    /// # Errors
    /// [`Error::AboveLimit`] for a cost above 2^40, [`Error::BudgetBelowFloor`], [`Error::Overflow`].
    pub fn new(policy: &SamplingPolicy, jobs: &[Exposure], budget: u64) -> Result<Self> {
        let floor = policy.floor.as_q64();
        let mut total_cost = 0u64;
        for job in jobs {
            if job.cost > MAX_COST {
                return Err(Error::AboveLimit { amount: job.cost.into(), limit: MAX_COST.into() });
            }
            total_cost = total_cost.checked_add(job.cost).ok_or(Error::Overflow)?;
        }
        let floor_cost = floor.checked_mul(total_cost.into()).ok_or(Error::Overflow)?;
        let mut rest = (u128::from(budget) << 64).checked_sub(floor_cost).ok_or(Error::BudgetBelowFloor { budget })?;

        let mut wanted = jobs
            .iter()
            .map(|job| {
                let p = policy.deterrence(job.gain, job.stake)?;
                Ok(discounted(p, policy.weight_q32(job.clean)).max(policy.floor))
            })
            .collect::<Result<Vec<_>>>()?;
        let mut flagged: Vec<_> = jobs
            .iter()
            .enumerate()
            .filter_map(|(at, job)| job.screen.map(|score| (score, job.attestation, at)))
            .collect();
        flagged.sort_unstable_by(|a, b| b.0.cmp(&a.0).then(a.1.cmp(&b.1)).then(a.2.cmp(&b.2)));
        let mut certain = alloc::vec![false; jobs.len()];
        for (_, _, at) in flagged {
            let (Some(job), Some(slot)) = (jobs.get(at), certain.get_mut(at)) else { continue };
            let extra = u128::from(job.cost) * ((1 << 64) - floor);
            if let Some(left) = rest.checked_sub(extra) {
                rest = left;
                *slot = true;
            }
        }

        let mut asked = 0u128;
        for ((job, p), certain) in jobs.iter().zip(&mut wanted).zip(&certain) {
            if *certain {
                *p = Probability::ALWAYS;
                continue;
            }
            let extra = u128::from(job.cost) * (p.as_q64() - floor);
            asked = asked.checked_add(extra).ok_or(Error::Overflow)?;
        }
        if asked > rest {
            let (scale, _) = div_q64(rest, asked);
            for (p, _) in wanted.iter_mut().zip(&certain).filter(|(_, certain)| !**certain) {
                let scaled = floor + (((p.as_q64() - floor) * scale) >> 64);
                // The top value means always and would cost more than was scaled to.
                let below = u64::try_from(scaled).unwrap_or(u64::MAX).min(u64::MAX - 1);
                *p = Probability::from_threshold(below).max(policy.floor);
            }
        }
        let mut expected_cost_q64 = 0u128;
        for (job, p) in jobs.iter().zip(&wanted) {
            let cost = u128::from(job.cost) * p.as_q64();
            expected_cost_q64 = expected_cost_q64.checked_add(cost).ok_or(Error::Overflow)?;
        }
        Ok(Self { probabilities: wanted, expected_cost_q64 })
    }

    /// One probability a job, in the order given.
    pub fn probabilities(&self) -> &[Probability] {
        &self.probabilities
    }

    /// Expected cost of the plan, Q64.64; at most the budget.
    pub const fn expected_cost_q64(&self) -> u128 {
        self.expected_cost_q64
    }
}

/// `ceil(p weight / 2^32)`, and `p` itself at weight 1.
fn discounted(p: Probability, weight_q32: u64) -> Probability {
    if weight_q32 >= 1 << 32 {
        return p;
    }
    let scaled = (p.as_q64() * u128::from(weight_q32)).div_ceil(1 << 32);
    Probability::from_threshold(u64::try_from(scaled).unwrap_or(u64::MAX))
}

/// `floor(n 2^64 / d)` and whether a remainder is left, for `n <= d`, `d > 0`.
pub(crate) const fn div_q64(n: u128, d: u128) -> (u128, u128) {
    if d <= u64::MAX as u128 {
        let wide = n << 64;
        return (wide / d, wide % d);
    }
    if n == d {
        return (1 << 64, 0);
    }
    let (mut quotient, mut rest, mut bit) = (0u128, n, 0);
    while bit < 64 {
        let carry = rest >> 127 != 0;
        rest <<= 1;
        quotient <<= 1;
        if carry || rest >= d {
            rest = rest.wrapping_sub(d);
            quotient |= 1;
        }
        bit += 1;
    }
    (quotient, rest)
}

const MAX_COST: u64 = 1 << 40;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_division_agrees_with_the_short_one() {
        // Scaling both by a power of two leaves the quotient and takes the slow path.
        for (n, d) in [(1u128, 3u128), (2, 3), (999, 1_000), (1, u64::MAX.into()), (7, 7)] {
            let (fast, _) = div_q64(n, d);
            assert_eq!(div_q64(n << 64, d << 64).0, fast);
        }
        assert_eq!(div_q64(u128::MAX - 1, u128::MAX).0, (1 << 64) - 1);
        assert_eq!(div_q64(1 << 127, u128::MAX).0, 1 << 63);
    }

    #[test]
    fn reputation_discounts_down_to_its_least_weight() {
        let plain = SamplingPolicy::new(Probability::NEVER);
        let known = plain.reputation(NonZeroU64::new(30).unwrap(), 1 << 30);
        assert_eq!(plain.weight_q32(u64::MAX), 1 << 32);
        assert_eq!(
            [0, 30, 60, 90, u64::MAX].map(|clean| known.weight_q32(clean)),
            [1 << 32, 1 << 31, 1_431_655_765, 1 << 30, 1 << 30]
        );
        let job = |clean| Exposure {
            attestation: AttestationHash::new([0; 32]),
            gain: 1,
            stake: 3,
            cost: 1,
            screen: None,
            clean,
        };
        let plan = AuditPlan::new(&known, &[job(0), job(30)], 1).unwrap();
        assert_eq!(plan.probabilities(), [1 << 62, 1 << 61].map(Probability::from_threshold));
        assert_eq!(discounted(Probability::ALWAYS, u64::MAX), Probability::ALWAYS);
    }

    #[test]
    fn deterrence_edges() {
        let policy = SamplingPolicy::new(Probability::NEVER);
        assert_eq!(policy.deterrence(0, 0), Ok(Probability::NEVER));
        assert_eq!(policy.deterrence(1, 0), Ok(Probability::ALWAYS));
        assert_eq!(policy.deterrence(1, 1), Ok(Probability::from_threshold(1 << 63)));
        assert_eq!(policy.deterrence(1 << 126, 1 << 126), Err(Error::Overflow));
    }
}
