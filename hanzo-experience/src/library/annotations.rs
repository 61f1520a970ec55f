use std::collections::BTreeMap;

use crate::content::check_printable;
use crate::json::MAX_INTEGER;
use crate::{Content, Error, Evidence, Result};

/// What is known of an experience outside its hash: votes and usage. Changing it changes no id and no root.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Annotations {
    votes: BTreeMap<String, Vote>,
    up: u32,
    down: u32,
    uses: u64,
    inherited: u64,
}

/// A vote on an experience.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Vote {
    /// It helps.
    Up,
    /// It harms.
    Down,
    /// No opinion; takes an earlier vote back.
    Abstain,
}

impl Annotations {
    /// The vote of this voter, if it voted.
    pub fn vote(&self, voter: &str) -> Option<Vote> {
        self.votes.get(voter).copied()
    }

    /// Votes for.
    pub fn up(&self) -> u32 {
        self.up
    }

    /// Votes against.
    pub fn down(&self) -> u32 {
        self.down
    }

    /// Uses, with those inherited from what it replaces; at most 2^53 - 1.
    pub fn usage(&self) -> u64 {
        self.uses.saturating_add(self.inherited).min(MAX_INTEGER)
    }

    /// Uses inherited from the experiences it replaces.
    pub fn inherited(&self) -> u64 {
        self.inherited
    }

    /// What quality is computed from.
    pub(super) fn evidence(&self, content: &Content, max_usage: u64) -> Evidence {
        Evidence {
            up: self.up,
            down: self.down,
            usage: self.usage(),
            max_usage,
            confidence_ppm: content.confidence_ppm(),
        }
    }

    pub(super) fn record_vote(&mut self, voter: &str, vote: Vote) -> Result<()> {
        check_printable("voter", voter, 1)?;
        let old = self.vote(voter);
        let count = |count: u32, kind| {
            let without = count - u32::from(old == Some(kind));
            without.checked_add(u32::from(vote == kind)).ok_or(Error::Overflow)
        };
        let (up, down) = (count(self.up, Vote::Up)?, count(self.down, Vote::Down)?);
        self.votes.insert(voter.to_owned(), vote);
        (self.up, self.down) = (up, down);
        Ok(())
    }

    pub(super) fn record_use(&mut self, times: u64) -> Result<()> {
        let uses = self.uses.checked_add(times).filter(|uses| *uses <= MAX_INTEGER);
        self.uses = uses.ok_or(Error::Overflow)?;
        Ok(())
    }

    /// Takes over the usage of what it replaces; what it inherited before is never lost.
    pub(super) fn inherit(&mut self, usage: u64) {
        self.inherited = self.inherited.max(usage.min(MAX_INTEGER));
    }
}
