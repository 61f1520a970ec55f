//! A flat instance: the mode of the votes goes to one n-ary Snowflake or Snowball.

use crate::params::Params;
use crate::snowball::Snowball;
use crate::snowflake::{PollOutcome, Snowflake, Variant};
use crate::votes::{TooManyVotes, VoteBag};

/// Any number of choices decided at once, without the shared prefixes of a [`Tree`](crate::Tree).
///
/// ```
/// use hanzo_snow::{Flat, Params, Variant};
///
/// let mut node = Flat::new(Params::for_small_set(4)?, Variant::Snowflake, 1);
/// assert!(node.record_poll(&[2, 2, 2, 1].into_iter().collect())?.is_some());
/// assert_eq!(node.preference(), 2);
/// # Ok::<(), hanzo_snow::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Flat<Id> {
    k: u16,
    instance: Instance<Id>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Instance<Id> {
    Snowflake(Snowflake<Id>),
    Snowball(Snowball<Id>),
}

impl<Id: Copy + Ord> Flat<Id> {
    /// A fresh instance that prefers `initial`.
    #[must_use]
    pub const fn new(params: Params, variant: Variant, initial: Id) -> Self {
        let instance = match variant {
            Variant::Snowflake => Instance::Snowflake(Snowflake::new(params, initial)),
            Variant::Snowball => Instance::Snowball(Snowball::new(params, initial)),
        };
        Self { k: params.k(), instance }
    }

    /// Polls the mode of the votes, the smallest id at a tie. `None` for an empty bag, which clears the confidence.
    ///
    /// # Errors
    /// [`TooManyVotes`] if the bag holds more than `k` votes; nothing changes.
    pub fn record_poll(&mut self, votes: &VoteBag<Id>) -> Result<Option<PollOutcome>, TooManyVotes> {
        votes.check(self.k)?;
        Ok(self.record_mode(votes.mode()))
    }

    /// Takes the choice with the most votes, and how many those are.
    pub(crate) fn record_mode(&mut self, mode: Option<(Id, u32)>) -> Option<PollOutcome> {
        let Some((choice, count)) = mode else {
            match &mut self.instance {
                Instance::Snowflake(instance) => instance.record_unsuccessful(),
                Instance::Snowball(instance) => instance.record_unsuccessful(),
            }
            return None;
        };
        Some(match &mut self.instance {
            Instance::Snowflake(instance) => instance.record_poll(count, choice),
            Instance::Snowball(instance) => instance.record_poll(count, choice),
        })
    }

    /// The current choice; the decision once final.
    #[must_use]
    pub const fn preference(&self) -> Id {
        match &self.instance {
            Instance::Snowflake(instance) => *instance.preference(),
            Instance::Snowball(instance) => *instance.preference(),
        }
    }

    /// Whether the choice is decided for good.
    #[must_use]
    pub const fn is_finalized(&self) -> bool {
        match &self.instance {
            Instance::Snowflake(instance) => instance.is_finalized(),
            Instance::Snowball(instance) => instance.is_finalized(),
        }
    }
}
