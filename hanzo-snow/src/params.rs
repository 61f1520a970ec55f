//! Validated parameters of the Snow family and their presets.

use alloc::vec::Vec;
use core::time::Duration;

/// The most termination conditions a parameter set may carry.
pub const MAX_CONDITIONS: usize = 8;

/// One termination condition: `beta` successive polls of at least `alpha_confidence` votes finalize.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Condition {
    /// Votes a poll needs to raise this condition's counter.
    pub alpha_confidence: u16,
    /// Successive such polls that finalize.
    pub beta: u32,
}

/// A checked parameter set; see [`Params::builder`] for the rules.
///
/// With `alpha` 15 of `k` 20 the protocol does not live through large outages: the expected number of polls until
/// 20 succeed in a row is 22.6 when a share of 0.10 of the stake is silent, 45 at 0.15, 394 at 0.20, 40,600 at 0.25 and
/// 2.4e10 at 0.33. [`crate::analysis`] gives the figures for other settings.
///
/// ```
/// use hanzo_snow::Params;
///
/// let params = Params::builder().k(10).alpha_preference(6).conditions([(7, 12), (9, 6)]).build()?;
/// assert_eq!(params.k(), 10);
/// assert_eq!(params.conditions()[1].beta, 6);
/// assert!(Params::builder().k(10).alpha_preference(5).build().is_err(), "5 of 10 is no majority");
/// # Ok::<(), hanzo_snow::ParamError>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Params {
    thresholds: Thresholds,
    concurrent_repolls: u16,
    optimal_processing: u32,
    max_outstanding: u32,
    max_item_time: Duration,
    query_timeout: Duration,
    confirmation_depth: u32,
}

impl Params {
    /// The production setting of the Avalanche primary network: k 20, both alphas 15, beta 20, 4 concurrent repolls.
    pub const AVALANCHE: Self = Self {
        thresholds: Thresholds::single(20, 15, 15, 20),
        concurrent_repolls: 4,
        optimal_processing: 10,
        max_outstanding: 256,
        max_item_time: Duration::from_secs(30),
        query_timeout: Duration::from_secs(2),
        confirmation_depth: 0,
    };

    /// One validator that polls itself: k, both alphas, beta and repolls are 1. Sample with the own stake included.
    pub const SINGLE: Self =
        Self { thresholds: Thresholds::single(1, 1, 1, 1), concurrent_repolls: 1, ..Self::AVALANCHE };

    /// [`Params::AVALANCHE`] with `alpha_preference` 11: preferences follow a smaller majority, confidence does not.
    ///
    /// Use it with [`Variant::Snowflake`](crate::Variant::Snowflake) only: under Snowball a split alpha can backfire
    /// (avalanchego#3403).
    #[must_use]
    pub const fn fast() -> Self {
        Self { thresholds: Thresholds::single(20, 11, 15, 20), ..Self::AVALANCHE }
    }

    /// [`Params::AVALANCHE`] with six conditions: the larger the majority of a poll, the fewer polls are needed,
    /// each pair bounded by about the same failure probability as (15, 20) when votes are split evenly.
    #[must_use]
    pub const fn error_driven() -> Self {
        let mut thresholds = Thresholds::single(20, 15, 15, 20);
        let pairs = [(15, 20), (16, 16), (17, 12), (18, 10), (19, 8), (20, 6)];
        let mut i = 0;
        while i < pairs.len() {
            thresholds.conditions[i] = Condition { alpha_confidence: pairs[i].0, beta: pairs[i].1 };
            i += 1;
        }
        thresholds.len = pairs.len();
        Self { thresholds, ..Self::AVALANCHE }
    }

    /// For a set of `n` validators, `2 <= n < 20`: k = n, both alphas `floor(2n/3) + 1`, beta 20.
    ///
    /// Sample with the own stake included: k is the whole set.
    ///
    /// # Errors
    /// [`ParamError::SmallSet`] for any other `n`.
    pub const fn for_small_set(n: u16) -> Result<Self, ParamError> {
        if n < 2 || n >= 20 {
            return Err(ParamError::SmallSet { n });
        }
        let alpha = 2 * n / 3 + 1;
        Ok(Self { thresholds: Thresholds::single(n, alpha, alpha, 20), ..Self::AVALANCHE })
    }

    /// A builder that starts from [`Params::AVALANCHE`].
    #[must_use]
    pub fn builder() -> ParamsBuilder {
        ParamsBuilder::default()
    }

    /// Units of stake a poll samples.
    #[must_use]
    pub const fn k(&self) -> u16 {
        self.thresholds.k
    }

    /// Votes a poll needs to move or confirm the preference.
    #[must_use]
    pub const fn alpha_preference(&self) -> u16 {
        self.thresholds.alpha_preference
    }

    /// The termination conditions, `alpha_confidence` ascending; never empty.
    #[must_use]
    pub fn conditions(&self) -> &[Condition] {
        self.thresholds.conditions()
    }

    /// Polls an engine keeps open at the same time.
    #[must_use]
    pub const fn concurrent_repolls(&self) -> u16 {
        self.concurrent_repolls
    }

    /// A node that processes at least this many blocks builds no further one.
    #[must_use]
    pub const fn optimal_processing(&self) -> u32 {
        self.optimal_processing
    }

    /// The most fetches, orphan blocks and open polls that an engine holds, of each.
    #[must_use]
    pub const fn max_outstanding(&self) -> u32 {
        self.max_outstanding
    }

    /// Age of the oldest processing block at which a node reports a stall.
    #[must_use]
    pub const fn max_item_time(&self) -> Duration {
        self.max_item_time
    }

    /// Time after which an unanswered query counts as dropped.
    #[must_use]
    pub const fn query_timeout(&self) -> Duration {
        self.query_timeout
    }

    /// Blocks that must be accepted on top of one before [`Decision::Confirmed`](crate::Decision::Confirmed); 0 is off.
    #[must_use]
    pub const fn confirmation_depth(&self) -> u32 {
        self.confirmation_depth
    }

    /// Whether `connected` of `total` stake is enough for polls to keep succeeding:
    /// `connected * 5k >= total * (4 * alpha_confidence_0 + k)`, which is 0.80 of the stake at 15 of 20: the first condition's
    /// share of the sample, and a fifth of the rest.
    #[must_use]
    pub fn has_enough_stake(&self, connected: u64, total: u64) -> bool {
        let k = u128::from(self.k());
        let alpha = u128::from(self.thresholds.conditions[0].alpha_confidence);
        u128::from(connected) * 5 * k >= u128::from(total) * (4 * alpha + k)
    }

    pub(crate) const fn thresholds(&self) -> &Thresholds {
        &self.thresholds
    }
}

impl Default for Params {
    /// [`Params::AVALANCHE`].
    fn default() -> Self {
        Self::AVALANCHE
    }
}

/// Collects parameters and checks them together; see [`Params::builder`].
///
/// Starts from [`Params::AVALANCHE`]; a changed `k` or alpha usually needs new conditions as well.
#[derive(Debug, Clone, PartialEq)]
pub struct ParamsBuilder {
    base: Params,
    conditions: Vec<Condition>,
}

impl Default for ParamsBuilder {
    fn default() -> Self {
        let base = Params::AVALANCHE;
        Self { base, conditions: base.conditions().to_vec() }
    }
}

impl ParamsBuilder {
    /// Units of stake a poll samples; at least 1.
    #[must_use]
    pub const fn k(mut self, k: u16) -> Self {
        self.base.thresholds.k = k;
        self
    }

    /// Votes that move the preference; more than half of `k`, at most the first `alpha_confidence`.
    #[must_use]
    pub const fn alpha_preference(mut self, alpha: u16) -> Self {
        self.base.thresholds.alpha_preference = alpha;
        self
    }

    /// The termination conditions as `(alpha_confidence, beta)`: 1 to 8, alphas strictly ascending up to `k`,
    /// betas at least 1 and not ascending.
    #[must_use]
    pub fn conditions(mut self, conditions: impl IntoIterator<Item = (u16, u32)>) -> Self {
        self.conditions = conditions
            .into_iter()
            .take(MAX_CONDITIONS + 1)
            .map(|(alpha_confidence, beta)| Condition { alpha_confidence, beta })
            .collect();
        self
    }

    /// Polls kept open at the same time; at least 1, at most the smallest beta.
    #[must_use]
    pub const fn concurrent_repolls(mut self, count: u16) -> Self {
        self.base.concurrent_repolls = count;
        self
    }

    /// Processing blocks at which a node stops building; at least 1.
    #[must_use]
    pub const fn optimal_processing(mut self, count: u32) -> Self {
        self.base.optimal_processing = count;
        self
    }

    /// Fetches, orphan blocks and open polls held at most, of each; at least 1.
    #[must_use]
    pub const fn max_outstanding(mut self, count: u32) -> Self {
        self.base.max_outstanding = count;
        self
    }

    /// Age of a stalled block; more than zero.
    #[must_use]
    pub const fn max_item_time(mut self, time: Duration) -> Self {
        self.base.max_item_time = time;
        self
    }

    /// Deadline of a query; more than zero.
    #[must_use]
    pub const fn query_timeout(mut self, time: Duration) -> Self {
        self.base.query_timeout = time;
        self
    }

    /// Depth of `Confirmed`; 0 turns it off. A [`Snowman`](crate::Snowman) remembers this many accepted ids.
    #[must_use]
    pub const fn confirmation_depth(mut self, depth: u32) -> Self {
        self.base.confirmation_depth = depth;
        self
    }

    /// Checks the whole set.
    ///
    /// # Errors
    /// A [`ParamError`] for the first rule that does not hold: `k >= 1`;
    /// `floor(k/2) < alpha_preference <= alpha_confidence_0`; 1 to 8 conditions, their alphas strictly ascending
    /// and at most `k`, their betas at least 1 and not ascending; `1 <= concurrent_repolls <=` the smallest beta;
    /// every other count and time above 0.
    pub fn build(self) -> Result<Params, ParamError> {
        let mut params = self.base;
        let Thresholds { k, alpha_preference, .. } = params.thresholds;
        if k == 0 {
            return Err(ParamError::Zero { field: "k" });
        }
        if alpha_preference <= k / 2 {
            return Err(ParamError::AlphaPreference { alpha_preference, k });
        }
        let count = self.conditions.len();
        if count == 0 || count > MAX_CONDITIONS {
            return Err(ParamError::ConditionCount { count });
        }
        let mut floor = Condition { alpha_confidence: alpha_preference - 1, beta: u32::MAX };
        for (index, &condition) in self.conditions.iter().enumerate() {
            let Condition { alpha_confidence, beta } = condition;
            if alpha_confidence <= floor.alpha_confidence || alpha_confidence > k {
                let least = floor.alpha_confidence.saturating_add(1);
                return Err(ParamError::AlphaConfidence { index, alpha_confidence, least, k });
            }
            if beta == 0 || beta > floor.beta {
                return Err(ParamError::Beta { index, beta, most: floor.beta });
            }
            params.thresholds.conditions[index] = condition;
            floor = condition;
        }
        params.thresholds.conditions[count..].fill(Thresholds::UNUSED);
        params.thresholds.len = count;
        if u32::from(params.concurrent_repolls) > floor.beta {
            return Err(ParamError::ConcurrentRepolls {
                concurrent_repolls: params.concurrent_repolls,
                beta: floor.beta,
            });
        }
        for (field, is_zero) in [
            ("concurrent_repolls", params.concurrent_repolls == 0),
            ("optimal_processing", params.optimal_processing == 0),
            ("max_outstanding", params.max_outstanding == 0),
            ("max_item_time", params.max_item_time.is_zero()),
            ("query_timeout", params.query_timeout.is_zero()),
        ] {
            if is_zero {
                return Err(ParamError::Zero { field });
            }
        }
        Ok(params)
    }
}

/// The part of the parameters a Snow instance reads at each poll.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Thresholds {
    pub(crate) k: u16,
    pub(crate) alpha_preference: u16,
    conditions: [Condition; MAX_CONDITIONS],
    len: usize,
}

impl Thresholds {
    const UNUSED: Condition = Condition { alpha_confidence: 0, beta: 0 };

    const fn single(k: u16, alpha_preference: u16, alpha_confidence: u16, beta: u32) -> Self {
        let mut conditions = [Self::UNUSED; MAX_CONDITIONS];
        conditions[0] = Condition { alpha_confidence, beta };
        Self { k, alpha_preference, conditions, len: 1 }
    }

    pub(crate) fn conditions(&self) -> &[Condition] {
        self.conditions.get(..self.len).unwrap_or(&self.conditions)
    }

    pub(crate) fn moves_preference(&self, count: u32) -> bool {
        count >= u32::from(self.alpha_preference)
    }
}

/// Why a parameter set was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ParamError {
    /// A field that must be above zero is zero.
    #[error("{field} must be above zero")]
    Zero {
        /// Name of the field.
        field: &'static str,
    },
    /// `alpha_preference` is not a majority of the sample.
    #[error("alpha_preference {alpha_preference} is not more than half of k {k}")]
    AlphaPreference {
        /// The refused value.
        alpha_preference: u16,
        /// The sample size.
        k: u16,
    },
    /// No condition, or more than [`MAX_CONDITIONS`].
    #[error("{count} conditions, expected 1 to 8")]
    ConditionCount {
        /// How many were given (counting stops at 9).
        count: usize,
    },
    /// The alphas do not ascend, lie below `alpha_preference` or above `k`.
    #[error("alpha_confidence {alpha_confidence} of condition {index} is not in {least}..={k}")]
    AlphaConfidence {
        /// Position of the condition.
        index: usize,
        /// The refused value.
        alpha_confidence: u16,
        /// The least value allowed at this position.
        least: u16,
        /// The sample size, the most allowed.
        k: u16,
    },
    /// A beta is zero or larger than the one before.
    #[error("beta {beta} of condition {index} is not in 1..={most}")]
    Beta {
        /// Position of the condition.
        index: usize,
        /// The refused value.
        beta: u32,
        /// The beta before it, the most allowed.
        most: u32,
    },
    /// More polls at a time than the smallest beta.
    #[error("concurrent_repolls {concurrent_repolls} is above the smallest beta {beta}")]
    ConcurrentRepolls {
        /// The refused value.
        concurrent_repolls: u16,
        /// The smallest beta.
        beta: u32,
    },
    /// [`Params::for_small_set`] is for 2 to 19 validators.
    #[error("{n} validators are no small set of 2 to 19")]
    SmallSet {
        /// The refused size.
        n: u16,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn presets_pass_their_own_check() {
        let mut presets = alloc::vec![Params::AVALANCHE, Params::SINGLE, Params::fast(), Params::error_driven()];
        presets.extend((2..20).map(|n| Params::for_small_set(n).unwrap()));
        for preset in presets {
            let pairs: Vec<_> = preset.conditions().iter().map(|c| (c.alpha_confidence, c.beta)).collect();
            let rebuilt = Params::builder()
                .k(preset.k())
                .alpha_preference(preset.alpha_preference())
                .conditions(pairs)
                .concurrent_repolls(preset.concurrent_repolls())
                .build();
            assert_eq!(rebuilt, Ok(preset));
        }
    }

    #[test]
    fn health_is_four_fifths_at_15_of_20() {
        let p = Params::AVALANCHE;
        assert!(p.has_enough_stake(80, 100));
        assert!(!p.has_enough_stake(79, 100));
        assert!(p.has_enough_stake(u64::MAX, u64::MAX));
        assert!(!p.has_enough_stake(u64::MAX / 5 * 4 - 1, u64::MAX));
    }

    #[test]
    fn thirds_of_small_sets() {
        for (n, alpha) in [(2, 2), (3, 3), (4, 3), (6, 5), (7, 5), (10, 7), (19, 13)] {
            assert_eq!(Params::for_small_set(n).unwrap().alpha_preference(), alpha, "n {n}");
        }
    }
}
