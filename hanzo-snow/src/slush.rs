//! Slush: repeated polls without memory (arXiv:1906.08936 section 2.2).

use core::num::NonZeroU32;

use crate::params::Params;
use crate::snowflake::PollOutcome;

/// One Slush instance: a choice, perhaps none yet, and a fixed number of rounds.
///
/// It keeps no confidence, so a Byzantine minority can hold a network in balance until the rounds are over and leave nodes
/// with different choices: Slush is the mechanism that the others build on, not a consensus.
///
/// ```
/// use core::num::NonZeroU32;
/// use hanzo_snow::{Params, PollOutcome, Slush};
///
/// let mut node = Slush::new(Params::AVALANCHE, NonZeroU32::new(2).expect("not zero"), None);
/// node.hear("red");
/// assert_eq!(node.record_poll(15, "blue"), PollOutcome::Preferred);
/// assert_eq!(node.record_poll(9, "red"), PollOutcome::Finalized);
/// assert_eq!(node.preference(), Some(&"blue"));
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Slush<C> {
    params: Params,
    preference: Option<C>,
    rounds_left: u32,
}

impl<C> Slush<C> {
    /// A fresh instance. Without a choice it waits for the first query it hears.
    #[must_use]
    pub const fn new(params: Params, rounds: NonZeroU32, initial: Option<C>) -> Self {
        Self { params, preference: initial, rounds_left: rounds.get() }
    }

    /// Notes the choice that a query carried: a node without one takes it.
    pub fn hear(&mut self, choice: C) {
        self.preference.get_or_insert(choice);
    }

    /// Takes the result of a poll: `count` votes for `choice`, the choice with the most votes. O(1).
    ///
    /// Each poll is a round, whether it succeeds or not; [`PollOutcome::Finalized`] marks the last one and every later
    /// call. A node without a choice has not begun: its poll counts for nothing and is `Failed`. `count` is taken as it is:
    /// that it is at most `k` is the caller's to see to.
    pub fn record_poll(&mut self, count: u32, choice: C) -> PollOutcome {
        if self.preference.is_none() {
            return PollOutcome::Failed;
        }
        if self.rounds_left == 0 {
            return PollOutcome::Finalized;
        }
        self.rounds_left -= 1;
        let moves = self.params.thresholds().moves_preference(count);
        if moves {
            self.preference = Some(choice);
        }
        match (self.rounds_left, moves) {
            (0, _) => PollOutcome::Finalized,
            (_, true) => PollOutcome::Preferred,
            (_, false) => PollOutcome::Failed,
        }
    }

    /// The current choice; what the node ends with once the rounds are over.
    #[must_use]
    pub const fn preference(&self) -> Option<&C> {
        self.preference.as_ref()
    }

    /// Whether all rounds are over.
    #[must_use]
    pub const fn is_finalized(&self) -> bool {
        self.rounds_left == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rounds_end_it_whatever_the_polls_say() {
        let mut node = Slush::new(Params::AVALANCHE, NonZeroU32::new(3).unwrap(), None);
        assert_eq!(node.record_poll(20, 1), PollOutcome::Failed, "nothing to ask about yet");
        node.hear(7);
        node.hear(8);
        assert_eq!(node.preference(), Some(&7));
        assert_eq!(node.record_poll(14, 1), PollOutcome::Failed);
        assert_eq!((node.record_poll(15, 1), node.preference()), (PollOutcome::Preferred, Some(&1)));
        assert_eq!((node.record_poll(15, 2), node.preference()), (PollOutcome::Finalized, Some(&2)));
        assert_eq!((node.record_poll(20, 3), node.preference()), (PollOutcome::Finalized, Some(&2)));
        assert!(node.is_finalized());
    }
}
