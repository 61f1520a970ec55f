//! Snowball: Snowflake whose preference is the choice with the most successful polls.

use alloc::collections::BTreeMap;

use crate::params::Params;
use crate::snowflake::{PollOutcome, SnowflakeState};

/// One Snowball instance over any number of choices.
///
/// Its preference moves only to a choice with strictly more successful polls than every other; confidence is counted
/// by the Snowflake layer below, whose last choice may differ.
///
/// ```
/// use hanzo_snow::{Params, Snowball};
///
/// let mut node = Snowball::new(Params::AVALANCHE, 0);
/// node.record_poll(15, 1);
/// node.record_poll(15, 2);
/// assert_eq!(*node.preference(), 1, "a tie keeps the preference");
/// node.record_poll(15, 2);
/// assert_eq!(*node.preference(), 2);
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Snowball<C> {
    params: Params,
    state: SnowflakeState<C>,
    preference: C,
    /// Successful polls of each choice, and the most any has.
    strengths: BTreeMap<C, u32>,
    greatest: u32,
}

impl<C: Copy + Ord> Snowball<C> {
    /// A fresh instance that prefers `initial`.
    #[must_use]
    pub const fn new(params: Params, initial: C) -> Self {
        Self {
            params,
            state: SnowflakeState::new(initial),
            preference: initial,
            strengths: BTreeMap::new(),
            greatest: 0,
        }
    }

    /// Takes the result of a poll: `count` votes for `choice`, the choice with the most votes. O(log choices).
    ///
    /// A final instance counts strength on; its decision does not move. `count` is taken as it is: that it is at most `k` is
    /// the caller's to see to. Each choice that ever reaches `alpha_preference` is remembered.
    pub fn record_poll(&mut self, count: u32, choice: C) -> PollOutcome {
        if self.params.thresholds().moves_preference(count) {
            let strength = self.strengths.entry(choice).or_insert(0);
            *strength = strength.saturating_add(1);
            // Above the greatest so far is the same as above every other: one choice grows by one at a time.
            if *strength > self.greatest {
                self.greatest = *strength;
                self.preference = choice;
            }
        }
        self.state.record_poll(self.params.thresholds(), count, choice)
    }

    /// A poll in which no choice got enough votes: confidence is lost, strengths and a decision stay.
    pub const fn record_unsuccessful(&mut self) {
        self.state.confidence.clear();
    }

    /// The strongest choice; the decision once final.
    #[must_use]
    pub const fn preference(&self) -> &C {
        if self.is_finalized() { &self.state.preference } else { &self.preference }
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
