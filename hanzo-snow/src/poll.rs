//! Polls in flight: who was asked, who answered, and when the rest can no longer matter.

use alloc::collections::{BTreeMap, VecDeque};
use alloc::vec::Vec;

use crate::block::BlockId;
use crate::params::Params;
use crate::snowman::Snowman;
use crate::votes::VoteBag;

/// The open polls of one node; results leave in the order the polls were opened.
///
/// A validator sampled `c` times answers with weight `c`. A poll ends when every answer is in, when
/// `alpha_preference` is out of reach, or when no outstanding answer can carry any count across a threshold: not that
/// of a block with its descendants, nor that of siblings which share a bit prefix. Whatever the outstanding answers
/// would have been, the result then moves a [`Snowman`] the same way.
///
/// ```
/// use hanzo_snow::{Params, PollSet};
///
/// let params = Params::builder().k(3).alpha_preference(2).conditions([(2, 2)]).concurrent_repolls(1).build()?;
/// let mut polls = PollSet::new(params);
/// let poll = polls.open(["ann", "bob", "cat"])?;
/// let no_parents = |_: &[u8; 1]| None;
/// polls.vote(poll, &"ann", [1], &no_parents);
/// assert!(polls.next_result().is_none());
/// polls.vote(poll, &"bob", [1], &no_parents);
/// let result = polls.next_result().expect("the third answer cannot matter");
/// assert_eq!(result.votes.count(&[1]), 2);
/// # Ok::<(), hanzo_snow::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct PollSet<Id, N> {
    params: Params,
    /// Ascending by id.
    polls: VecDeque<Poll<Id, N>>,
    next_id: u64,
    ignored: Ignored,
}

impl<Id: BlockId, N: Ord> PollSet<Id, N> {
    /// No polls.
    #[must_use]
    pub const fn new(params: Params) -> Self {
        Self { params, polls: VecDeque::new(), next_id: 0, ignored: Ignored { unknown_poll: 0, late: 0, unsampled: 0 } }
    }

    /// Opens a poll of the sampled validators, one entry for each unit drawn. Ids ascend and never return.
    ///
    /// # Errors
    /// [`PollError::SampleSize`] unless the sample has `k` entries, [`PollError::Busy`] where
    /// [`Params::max_outstanding`] polls are held; nothing changes.
    pub fn open(&mut self, sample: impl IntoIterator<Item = N>) -> Result<PollId, PollError> {
        let (open, k) = (self.polls.len(), self.params.k());
        if open as u64 >= u64::from(self.params.max_outstanding()) {
            return Err(PollError::Busy { open });
        }
        let mut waiting = BTreeMap::new();
        let mut size = 0;
        for node in sample.into_iter().take(usize::from(k) + 1) {
            *waiting.entry(node).or_insert(0) += 1;
            size += 1;
        }
        if size != usize::from(k) {
            return Err(PollError::SampleSize { size, k });
        }
        // At one poll a nanosecond the ids last 500 years.
        let id = PollId(self.next_id);
        self.next_id = self.next_id.wrapping_add(1);
        self.polls.push_back(Poll { id, waiting, outstanding: u32::from(k), votes: VoteBag::new(), finished: false });
        Ok(id)
    }

    /// Takes a validator's vote. `blocks` says how the ids that are being decided hang together.
    ///
    /// O(votes * depth) look-ups. A second or late answer, and one to an unknown poll or from a stranger, is ignored and
    /// counted in [`ignored`](Self::ignored). True unless it was ignored.
    pub fn vote(&mut self, poll: PollId, node: &N, vote: Id, blocks: &impl Ancestry<Id>) -> bool {
        self.answer(poll, node, Some(vote), blocks)
    }

    /// Notes that a validator will not answer; its weight is gone.
    ///
    /// Ignored and counted where [`vote`](Self::vote) would be. True unless it was ignored.
    pub fn drop_voter(&mut self, poll: PollId, node: &N, blocks: &impl Ancestry<Id>) -> bool {
        self.answer(poll, node, None, blocks)
    }

    /// Whether an answer of this validator to this poll would be taken.
    #[must_use]
    pub fn awaits(&self, poll: PollId, node: &N) -> bool {
        let poll = self.position(poll).map(|at| &self.polls[at]).filter(|poll| !poll.finished);
        poll.and_then(|poll| poll.waiting.get(node)).is_some_and(|&weight| weight > 0)
    }

    /// The oldest poll's result, once it has ended.
    pub fn next_result(&mut self) -> Option<PollResult<Id>> {
        self.polls.front().filter(|poll| poll.finished)?;
        let poll = self.polls.pop_front()?;
        Some(PollResult { poll: poll.id, votes: poll.votes })
    }

    /// Polls opened whose result was not taken.
    #[must_use]
    pub fn len(&self) -> usize {
        self.polls.len()
    }

    /// Whether no poll is held.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.polls.is_empty()
    }

    /// Whether a held poll has ended; `None` for one that is not held.
    #[must_use]
    pub fn is_finished(&self, poll: PollId) -> Option<bool> {
        self.position(poll).map(|at| self.polls[at].finished)
    }

    /// Votes that a held poll has so far; 0 for one that is not held.
    #[must_use]
    pub fn votes_of(&self, poll: PollId) -> u32 {
        self.position(poll).map_or(0, |at| self.polls[at].votes.total())
    }

    /// Answers ignored so far.
    #[must_use]
    pub const fn ignored(&self) -> Ignored {
        self.ignored
    }

    fn position(&self, poll: PollId) -> Option<usize> {
        self.polls.binary_search_by(|other| other.id.cmp(&poll)).ok()
    }

    fn answer(&mut self, poll: PollId, node: &N, vote: Option<Id>, blocks: &impl Ancestry<Id>) -> bool {
        let Some(at) = self.position(poll) else {
            self.ignored.unknown_poll += 1;
            return false;
        };
        let poll = &mut self.polls[at];
        let Some(weight) = poll.waiting.get_mut(node) else {
            self.ignored.unsampled += 1;
            return false;
        };
        // An answered validator stays with weight 0, to tell it from a stranger.
        let weight = core::mem::take(weight);
        if poll.finished || weight == 0 {
            self.ignored.late += 1;
            return false;
        }
        poll.outstanding -= weight;
        if let Some(vote) = vote {
            poll.votes.add(vote, weight);
        }
        poll.finished = is_decided(&self.params, &poll.votes, poll.outstanding, blocks);
        true
    }
}

#[derive(Debug, Clone)]
struct Poll<Id, N> {
    id: PollId,
    waiting: BTreeMap<N, u32>,
    outstanding: u32,
    votes: VoteBag<Id>,
    finished: bool,
}

/// Whether none of the `outstanding` answers can change what the votes do.
fn is_decided<Id: BlockId>(params: &Params, votes: &VoteBag<Id>, outstanding: u32, blocks: &impl Ancestry<Id>) -> bool {
    answers_needed(params, votes, outstanding, blocks) == 0
}

/// How many more answers it takes at least until none of the rest can change what the votes do; 0 where that is so now.
///
/// A lower bound, as long as `blocks` stays: what arrives raises a count by one at most, and each count that may still cross a threshold
/// has to reach it or to lose what it would take.
pub(crate) fn answers_needed<Id: BlockId>(
    params: &Params,
    votes: &VoteBag<Id>,
    outstanding: u32,
    blocks: &impl Ancestry<Id>,
) -> u32 {
    let preference = u32::from(params.alpha_preference());
    // Answers without vote that put the preference out of reach.
    let hopeless = (votes.total() + outstanding + 1).saturating_sub(preference);
    if outstanding == 0 || hopeless == 0 {
        return 0;
    }
    if votes.is_empty() {
        return 1;
    }
    let needed = |count: u32| {
        let thresholds = params.conditions().iter().map(|condition| condition.alpha_confidence);
        let thresholds = thresholds.chain([params.alpha_preference()]).map(u32::from);
        let open = thresholds.filter(|&threshold| count < threshold && threshold <= count + outstanding);
        open.map(|threshold| (threshold - count).min(count + outstanding + 1 - threshold)).max().unwrap_or(0)
    };
    // Votes for one block count alike for it and all its ancestors.
    if votes.iter().len() == 1 {
        return needed(votes.total()).min(hopeless);
    }
    // All votes together are those of the last accepted block with its descendants.
    let together = needed(votes.total());
    if together > 0 && votes.iter().all(|(id, _)| blocks.parent(&id).is_some()) {
        return together.min(hopeless);
    }
    // Votes of each block with those of its descendants.
    let mut counts: BTreeMap<Id, u32> = BTreeMap::new();
    for (vote, count) in votes.iter() {
        let mut at = Some(vote);
        while let Some(id) = at {
            *counts.entry(id).or_insert(0) += count;
            at = blocks.parent(&id);
        }
    }
    let most = counts.values().map(|&count| needed(count)).max().unwrap_or(0);
    if most > 0 {
        return most.min(hopeless);
    }
    let mut siblings: BTreeMap<Id, Vec<(Id, u32)>> = BTreeMap::new();
    for (&id, &count) in &counts {
        if let Some(parent) = blocks.parent(&id) {
            siblings.entry(parent).or_default().push((id, count));
        }
    }
    let shared = siblings.into_values().flat_map(shared_prefixes);
    shared.map(needed).max().unwrap_or(0).min(hopeless)
}

/// The votes of each group of ids that shares a non-empty bit prefix and then splits.
fn shared_prefixes<Id: BlockId>(ids: Vec<(Id, u32)>) -> Vec<u32> {
    let mut sums = Vec::new();
    let mut groups = alloc::vec![ids];
    while let Some(group) = groups.pop() {
        let Some(&(first, _)) = group.first() else { continue };
        let Some(split) = group.iter().filter_map(|(id, _)| first.first_difference(id, 0, Id::BITS)).min() else {
            continue;
        };
        if split > 0 {
            sums.push(group.iter().map(|(_, count)| count).sum());
        }
        let (ones, zeros) = group.into_iter().partition(|(id, _)| id.bit(split));
        groups.extend([ones, zeros]);
    }
    sums
}

/// How the blocks that are being decided hang together.
///
/// # Guarantees
/// Following parents ends: there is no cycle.
pub trait Ancestry<Id> {
    /// Parent of a processing block; `None` for the last accepted block and for ids that are not processing.
    fn parent(&self, id: &Id) -> Option<Id>;
}

impl<Id, F: Fn(&Id) -> Option<Id>> Ancestry<Id> for F {
    fn parent(&self, id: &Id) -> Option<Id> {
        self(id)
    }
}

impl<Id: BlockId> Ancestry<Id> for Snowman<Id> {
    fn parent(&self, id: &Id) -> Option<Id> {
        Self::parent(self, id)
    }
}

/// Names a poll of one [`PollSet`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PollId(u64);

impl PollId {
    /// The id a peer sent back; one that names no poll is harmless.
    #[must_use]
    pub const fn from_u64(id: u64) -> Self {
        Self(id)
    }

    /// The number to send along with the query.
    #[must_use]
    pub const fn to_u64(self) -> u64 {
        self.0
    }
}

/// The votes of a poll that has ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PollResult<Id> {
    /// The poll.
    pub poll: PollId,
    /// Its votes, for [`Snowman::record_poll`].
    pub votes: VoteBag<Id>,
}

/// Answers a [`PollSet`] has ignored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Ignored {
    /// To polls that are not held.
    pub unknown_poll: u64,
    /// Second answers, and answers to polls that had ended.
    pub late: u64,
    /// From validators that were not sampled.
    pub unsampled: u64,
}

/// Why a poll was not opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PollError {
    /// The sample does not have `k` entries.
    #[error("sample of {size} for a poll of {k}")]
    SampleSize {
        /// Entries given (counting stops at `k + 1`).
        size: usize,
        /// Entries expected.
        k: u16,
    },
    /// As many polls as may be outstanding are held.
    #[error("{open} polls are open")]
    Busy {
        /// Polls held.
        open: usize,
    },
}
