//! The votes of one poll.

use alloc::vec::Vec;

/// Votes of one poll: how much sampled stake names each id, in ascending order of ids.
///
/// ```
/// use hanzo_snow::VoteBag;
///
/// let mut votes: VoteBag<u8> = [7, 3, 7].into_iter().collect();
/// votes.add(9, 2);
/// assert_eq!(votes.total(), 5);
/// assert_eq!(votes.iter().collect::<Vec<_>>(), [(3, 1), (7, 2), (9, 2)]);
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct VoteBag<Id> {
    /// Ascending by id, counts above zero.
    entries: Vec<(Id, u32)>,
    total: u32,
}

impl<Id: Copy + Ord> VoteBag<Id> {
    /// No votes.
    #[must_use]
    pub const fn new() -> Self {
        Self { entries: Vec::new(), total: 0 }
    }

    /// Adds `count` votes for `id`; O(different ids) at worst. Sums saturate; a bag that large is refused by every instance, as it exceeds `k`.
    pub fn add(&mut self, id: Id, count: u32) {
        if count == 0 {
            return;
        }
        match self.entries.binary_search_by(|(other, _)| other.cmp(&id)) {
            Ok(at) => self.entries[at].1 = self.entries[at].1.saturating_add(count),
            Err(at) => self.entries.insert(at, (id, count)),
        }
        self.total = self.total.saturating_add(count);
    }

    /// Removes all votes and keeps the memory.
    pub fn clear(&mut self) {
        self.entries.clear();
        self.total = 0;
    }

    /// All votes together.
    #[must_use]
    pub const fn total(&self) -> u32 {
        self.total
    }

    /// Whether no vote is held.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.total == 0
    }

    /// Votes for `id`.
    #[must_use]
    pub fn count(&self, id: &Id) -> u32 {
        self.entries.binary_search_by(|(other, _)| other.cmp(id)).map_or(0, |at| self.entries[at].1)
    }

    /// Ids and their votes, ascending by id.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (Id, u32)> + '_ {
        self.entries.iter().copied()
    }

    /// The id with the most votes, the smallest of them at a tie.
    #[must_use]
    pub fn mode(&self) -> Option<(Id, u32)> {
        self.iter().reduce(|best, next| if next.1 > best.1 { next } else { best })
    }

    pub(crate) fn check(&self, k: u16) -> Result<(), TooManyVotes> {
        if self.total > u32::from(k) { Err(TooManyVotes { votes: self.total, k }) } else { Ok(()) }
    }
}

impl<Id: Copy + Ord> Default for VoteBag<Id> {
    fn default() -> Self {
        Self::new()
    }
}

impl<Id: Copy + Ord> Extend<(Id, u32)> for VoteBag<Id> {
    fn extend<T: IntoIterator<Item = (Id, u32)>>(&mut self, votes: T) {
        for (id, count) in votes {
            self.add(id, count);
        }
    }
}

impl<Id: Copy + Ord> FromIterator<(Id, u32)> for VoteBag<Id> {
    fn from_iter<T: IntoIterator<Item = (Id, u32)>>(votes: T) -> Self {
        let mut bag = Self::new();
        bag.extend(votes);
        bag
    }
}

impl<Id: Copy + Ord> FromIterator<Id> for VoteBag<Id> {
    fn from_iter<T: IntoIterator<Item = Id>>(votes: T) -> Self {
        votes.into_iter().map(|id| (id, 1)).collect()
    }
}

/// More votes than a poll samples.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{votes} votes in a poll of {k}")]
pub struct TooManyVotes {
    /// Votes given.
    pub votes: u32,
    /// The most a poll can hold.
    pub k: u16,
}
