//! Snowflake: a preference and counters of successive polls (arXiv:1906.08936 section 2.3; several thresholds as in
//! avalanchego#2978).

use crate::params::{MAX_CONDITIONS, Params, Thresholds};

/// Which member of the family orders the choices.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Variant {
    /// The preference is the last choice that reached `alpha_preference`.
    #[default]
    Snowflake,
    /// The preference is the choice with the most successful polls so far.
    Snowball,
}

/// What one poll did to an instance.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum PollOutcome {
    /// Fewer than `alpha_preference` votes: confidence is lost.
    Failed,
    /// The preference was set or kept, no confidence was gained.
    Preferred,
    /// At least one counter went up.
    Confident,
    /// The instance is final.
    Finalized,
}

/// One Snowflake instance over any number of choices.
///
/// ```
/// use hanzo_snow::{Params, PollOutcome, Snowflake};
///
/// let mut node = Snowflake::new(Params::AVALANCHE, "red");
/// assert_eq!(node.record_poll(15, "blue"), PollOutcome::Confident);
/// assert_eq!(*node.preference(), "blue");
/// for _ in 0..19 {
///     node.record_poll(16, "blue");
/// }
/// assert!(node.is_finalized());
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Snowflake<C> {
    params: Params,
    state: SnowflakeState<C>,
}

impl<C: PartialEq> Snowflake<C> {
    /// A fresh instance that prefers `initial`.
    #[must_use]
    pub const fn new(params: Params, initial: C) -> Self {
        Self { params, state: SnowflakeState::new(initial) }
    }

    /// Takes the result of a poll: `count` votes for `choice`, the choice with the most votes. O(conditions).
    ///
    /// A final instance ignores it. `count` is taken as it is: that it is at most `k` is the caller's to see to.
    pub fn record_poll(&mut self, count: u32, choice: C) -> PollOutcome {
        self.state.record_poll(self.params.thresholds(), count, choice)
    }

    /// A poll in which no choice got enough votes: confidence is lost, a decision stays.
    pub const fn record_unsuccessful(&mut self) {
        self.state.confidence.clear();
    }

    /// The current choice; the decision once final.
    #[must_use]
    pub const fn preference(&self) -> &C {
        &self.state.preference
    }

    /// Whether the choice is decided for good.
    #[must_use]
    pub const fn is_finalized(&self) -> bool {
        self.state.confidence.is_finalized()
    }

    /// Successive polls counted for each condition, in the order of [`Params::conditions`].
    #[must_use]
    pub fn confidence(&self) -> &[u32] {
        self.state.confidence.counters(self.params.thresholds())
    }
}

/// A Snowflake without its parameters, which its owner passes to each poll.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct SnowflakeState<C> {
    pub(crate) confidence: Confidence,
    pub(crate) preference: C,
}

impl<C: PartialEq> SnowflakeState<C> {
    pub(crate) const fn new(preference: C) -> Self {
        Self { confidence: Confidence::new(), preference }
    }

    pub(crate) fn record_poll(&mut self, thresholds: &Thresholds, count: u32, choice: C) -> PollOutcome {
        if self.confidence.is_finalized() {
            return PollOutcome::Finalized;
        }
        if !thresholds.moves_preference(count) {
            self.confidence.clear();
            return PollOutcome::Failed;
        }
        if choice != self.preference {
            self.confidence.clear();
            self.preference = choice;
        }
        self.confidence.record(thresholds, count)
    }
}

/// Counters of successive polls, one a condition, and whether one of them has reached its beta.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Confidence {
    counters: [u32; MAX_CONDITIONS],
    finalized: bool,
}

impl Confidence {
    pub(crate) const fn new() -> Self {
        Self { counters: [0; MAX_CONDITIONS], finalized: false }
    }

    pub(crate) const fn clear(&mut self) {
        self.counters = [0; MAX_CONDITIONS];
    }

    /// Counts a poll that reached `alpha_preference`; goes on counting after the decision.
    pub(crate) fn record(&mut self, thresholds: &Thresholds, count: u32) -> PollOutcome {
        for (i, condition) in thresholds.conditions().iter().enumerate() {
            if count < u32::from(condition.alpha_confidence) {
                self.counters[i..].fill(0);
                return if i == 0 { PollOutcome::Preferred } else { PollOutcome::Confident };
            }
            self.counters[i] = self.counters[i].saturating_add(1);
            if self.counters[i] >= condition.beta {
                self.finalized = true;
                return PollOutcome::Finalized;
            }
        }
        PollOutcome::Confident
    }

    pub(crate) const fn is_finalized(&self) -> bool {
        self.finalized
    }

    pub(crate) fn counters(&self, thresholds: &Thresholds) -> &[u32] {
        &self.counters[..thresholds.conditions().len()]
    }
}
