use core::cmp::Reverse;

use crate::{Error, ExperienceId, Result};

/// How votes, usage and confidence make one number Q of 0..=1,000,000 parts per million.
///
/// Q = (a V + b U + g C) / 10^6 with floor division throughout, V from votes ([`VoteScore`]), U from usage relative to
/// the most used ([`UsageScale`]), C the confidence. The weights sum to 10^6 exactly. All integers, so that every
/// replica ranks alike.
///
/// ```
/// use hanzo_experience::{Evidence, Quality};
///
/// let evidence = Evidence { up: 3, down: 1, usage: 5, max_usage: 10, confidence_ppm: 900_000 };
/// // V = (3 + 2 * 0.5) / (4 + 2) = 0.666666, U = 0.5, C = 0.9.
/// assert_eq!(Quality::default().score(&evidence), 333_333 + 150_000 + 180_000);
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Quality {
    votes: u32,
    usage: u32,
    confidence: u32,
    vote_score: VoteScore,
    usage_scale: UsageScale,
}

/// How votes make a score in parts per million.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum VoteScore {
    /// (up 10^6 + strength prior) / (up + down + strength); the prior where that is 0/0.
    Smoothed {
        /// Votes that the prior is worth.
        strength: u32,
        /// Score before any vote, in ppm; above 10^6 counts as 10^6.
        prior_ppm: u32,
    },
    /// Lower bound of the Wilson interval; 0 without votes.
    Wilson {
        /// Normal quantile in thousandths, such as 1960 for 95 %; at most 10,000, more counts as that.
        z_milli: u32,
    },
}

/// How usage relates to the greatest usage.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum UsageScale {
    /// usage / max.
    Linear,
    /// log(1 + usage) / log(1 + max), by [`log2_q32`].
    Log2,
}

/// What is known of one experience.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Evidence {
    /// Votes for.
    pub up: u32,
    /// Votes against.
    pub down: u32,
    /// Uses; counted as `max_usage` where greater.
    pub usage: u64,
    /// Greatest usage of any experience compared with.
    pub max_usage: u64,
    /// Confidence in ppm; above 10^6 counts as 10^6.
    pub confidence_ppm: u32,
}

impl Quality {
    /// Weights of votes, usage and confidence, in ppm.
    ///
    /// # Errors
    /// [`Error::OutOfRange`] unless they sum to 1,000,000.
    pub fn new(votes: u32, usage: u32, confidence: u32) -> Result<Self> {
        if u64::from(votes) + u64::from(usage) + u64::from(confidence) != PPM {
            return Err(Error::OutOfRange { field: "weights" });
        }
        Ok(Self {
            votes,
            usage,
            confidence,
            vote_score: VoteScore::Smoothed { strength: 2, prior_ppm: 500_000 },
            usage_scale: UsageScale::Linear,
        })
    }

    /// Sets how votes count; default smoothed by two votes of one half.
    pub fn vote_score(mut self, score: VoteScore) -> Self {
        self.vote_score = score;
        self
    }

    /// Sets how usage counts; default linear.
    pub fn usage_scale(mut self, scale: UsageScale) -> Self {
        self.usage_scale = scale;
        self
    }

    /// Q in parts per million.
    pub fn score(&self, evidence: &Evidence) -> u32 {
        let votes = self.vote_score.score(evidence.up, evidence.down);
        let usage = self.usage_scale.score(evidence.usage, evidence.max_usage);
        let confidence = u64::from(evidence.confidence_ppm).min(PPM);
        let sum = u64::from(self.votes) * u64::from(votes)
            + u64::from(self.usage) * u64::from(usage)
            + u64::from(self.confidence) * confidence;
        ppm((sum / PPM).into())
    }
}

/// Weights 500,000, 300,000 and 200,000.
impl Default for Quality {
    fn default() -> Self {
        Self {
            votes: 500_000,
            usage: 300_000,
            confidence: 200_000,
            vote_score: VoteScore::Smoothed { strength: 2, prior_ppm: 500_000 },
            usage_scale: UsageScale::Linear,
        }
    }
}

impl VoteScore {
    /// The score of `up` votes for and `down` against, in ppm.
    pub fn score(self, up: u32, down: u32) -> u32 {
        let (up, down) = (u128::from(up), u128::from(down));
        let (n, one) = (up + down, u128::from(PPM));
        match self {
            Self::Smoothed { strength, prior_ppm } => {
                let (strength, prior) = (u128::from(strength), u128::from(prior_ppm).min(one));
                ppm((up * one + strength * prior).checked_div(n + strength).unwrap_or(prior))
            }
            Self::Wilson { .. } if n == 0 => 0,
            Self::Wilson { z_milli } => {
                // Greatest intermediate: 4 * 10^6 * 10^8 * 2^64 < 2^113.
                let z2 = u128::from(z_milli.min(10_000)).pow(2);
                let square = z2 * z2 + (4 * one * z2 * up * down).div_ceil(n);
                let floor = square.isqrt();
                let root = floor + u128::from(floor * floor < square);
                let over = (2 * up * one + z2).saturating_sub(root);
                ppm(one * over / (2 * (n * one + z2)))
            }
        }
    }
}

impl UsageScale {
    /// The score of `usage` where the greatest is `max`, in ppm; 0 if that is 0.
    pub fn score(self, usage: u64, max: u64) -> u32 {
        if max == 0 {
            return 0;
        }
        let usage = usage.min(max);
        let (part, whole) = match self {
            Self::Linear => (usage, max),
            Self::Log2 => (log2_q32(usage.saturating_add(1)), log2_q32(max.saturating_add(1))),
        };
        ppm(u128::from(part) * u128::from(PPM) / u128::from(whole))
    }
}

/// log2(x) in Q32.32, rounded down by bits, for x >= 1; 0 for 0. Integer, hence equal everywhere.
pub fn log2_q32(x: u64) -> u64 {
    let Some(exponent) = x.checked_ilog2() else {
        return 0;
    };
    let mut mantissa = u128::from(x) << (63 - exponent);
    let mut fraction = 0;
    for bit in (0..32).rev() {
        mantissa = (mantissa * mantissa) >> 63;
        if mantissa >= 1 << 64 {
            fraction |= 1 << bit;
            mantissa >>= 1;
        }
    }
    u64::from(exponent) << 32 | fraction
}

/// ln(x) in Q32.32, rounded down, for x >= 1; 0 for 0: [`log2_q32`] times ln 2 (2977044471 / 2^32).
pub fn ln_q32(x: u64) -> u64 {
    const LN_2: u128 = 2_977_044_471;
    // Less than log2, which fits.
    ((u128::from(log2_q32(x)) * LN_2) >> 32) as u64
}

/// Which experiences are kept longer when a library is pruned.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct PrunePolicy {
    /// Experiences younger than this many seconds go last.
    pub min_age: u64,
    /// Experiences used less often than this go last: they had no chance yet.
    pub min_uses: u64,
}

/// What pruning looks at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PruneItem {
    /// The id.
    pub id: ExperienceId,
    /// Quality in ppm.
    pub quality_ppm: u32,
    /// Unix seconds.
    pub created_at: u64,
    /// Uses.
    pub usage: u64,
}

/// Ids in the order in which they are pruned at `now` (Unix seconds): protected ones last, then by quality ascending,
/// older first, id ascending. `O(n log n)`.
///
/// ```
/// use hanzo_experience::{ExperienceId, PruneItem, PrunePolicy, prune_order};
///
/// let item = |i, quality_ppm, created_at, usage| {
///     PruneItem { id: ExperienceId::from_bytes([i; 32]), quality_ppm, created_at, usage }
/// };
/// // The third has the least quality, but was made ten seconds ago.
/// let items = [item(1, 700_000, 0, 9), item(2, 400_000, 0, 9), item(3, 100_000, 990, 0)];
/// let policy = PrunePolicy { min_age: 60, min_uses: 0 };
/// let order: Vec<u8> = prune_order(&items, policy, 1_000).iter().map(|id| id.as_bytes()[0]).collect();
/// assert_eq!(order, [2, 1, 3]);
/// ```
pub fn prune_order(items: &[PruneItem], policy: PrunePolicy, now: u64) -> Vec<ExperienceId> {
    let mut items = items.to_vec();
    items.sort_unstable_by_key(|item| {
        let age = now.saturating_sub(item.created_at);
        let protected = age < policy.min_age || item.usage < policy.min_uses;
        (protected, item.quality_ppm, item.created_at, item.id)
    });
    items.into_iter().map(|item| item.id).collect()
}

/// The best of `candidates` by quality, ties to the lower id.
pub(crate) fn best(candidates: impl IntoIterator<Item = (ExperienceId, u32)>) -> Option<ExperienceId> {
    let best = candidates.into_iter().min_by_key(|(id, quality)| (Reverse(*quality), *id));
    best.map(|(id, _)| id)
}

/// A value that is at most 10^6 by construction, as `u32`.
fn ppm(value: u128) -> u32 {
    value.min(PPM.into()) as u32
}

const PPM: u64 = 1_000_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weights_must_sum() {
        assert!(Quality::new(1, 2, 999_997).is_ok());
        assert_eq!(Quality::new(1, 2, 3), Err(Error::OutOfRange { field: "weights" }));
        assert!(Quality::new(u32::MAX, u32::MAX, u32::MAX).is_err());
    }

    #[test]
    fn extremes_stay_in_range() {
        let evidence =
            Evidence { up: u32::MAX, down: u32::MAX, usage: u64::MAX, max_usage: u64::MAX, confidence_ppm: u32::MAX };
        for vote_score in [
            VoteScore::Smoothed { strength: u32::MAX, prior_ppm: u32::MAX },
            VoteScore::Smoothed { strength: 0, prior_ppm: 0 },
            VoteScore::Wilson { z_milli: u32::MAX },
            VoteScore::Wilson { z_milli: 0 },
        ] {
            for usage_scale in [UsageScale::Linear, UsageScale::Log2] {
                let quality = Quality::default().vote_score(vote_score).usage_scale(usage_scale);
                assert!(quality.score(&evidence) <= 1_000_000);
            }
        }
        assert_eq!(log2_q32(1 << 63), 63 << 32);
    }

    #[test]
    fn protected_items_go_last() {
        let item = |byte, quality_ppm, created_at, usage| PruneItem {
            id: ExperienceId::from_bytes([byte; 32]),
            quality_ppm,
            created_at,
            usage,
        };
        let items = [item(1, 5, 95, 9), item(2, 9, 10, 9), item(3, 7, 10, 0), item(4, 9, 9, 9)];
        let order = |policy| -> Vec<u8> {
            let ids = prune_order(&items, policy, 100);
            ids.iter().map(|id| id.as_bytes()[0]).collect()
        };
        assert_eq!(order(PrunePolicy::default()), [1, 3, 4, 2]);
        let policy = PrunePolicy { min_age: 10, min_uses: 1 };
        assert_eq!(order(policy), [4, 2, 1, 3]);
    }
}
