use super::{OperationError, Rejection, Stage};

/// Why a group taught nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum SkipCause {
    /// All rewards are equal; no call was made for it.
    EqualRewards,
    /// Fewer than two attempts, or fewer than two summaries.
    TooFewAttempts,
    /// The summaries left have equal rewards.
    EqualRewardsLeft,
    /// No list of operations came, also after the request for repair.
    NoOperations,
}

/// An operation of a reply that was not applied.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rejected {
    /// The stage of the reply: extract or consolidate.
    pub stage: Stage,
    /// The group, for extract.
    pub group: Option<usize>,
    /// Place in the reply's list.
    pub index: usize,
    /// Why.
    pub error: OperationError,
}

impl Rejected {
    pub(super) fn new(stage: Stage, group: Option<usize>, rejection: &Rejection) -> Self {
        Self { stage, group, index: rejection.index, error: rejection.error.clone() }
    }
}

/// What a round did, and what became of everything it did not use.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Report {
    /// Calls made.
    pub calls: u64,
    /// Of them, those that failed.
    pub failed_calls: u64,
    /// Of them, requests for repair.
    pub repairs: u64,
    /// Tokens read.
    pub prompt_tokens: u64,
    /// Tokens written.
    pub completion_tokens: u64,
    /// Attempts left out because they got no summary: group and place in it.
    pub dropped: Vec<(usize, usize)>,
    /// Groups that taught nothing, and why.
    pub skipped: Vec<(usize, SkipCause)>,
    /// Operations that were refused, in the order of groups, then those of the consolidation.
    pub rejected: Vec<Rejected>,
    /// Whether the model's consolidation failed, so that the operations of the groups were taken as they are, under the
    /// library's own rules (delete before merge before modify, and the gate against copies).
    pub fallback: bool,
}

/// What happens while a model learns, for those who watch.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event {
    /// Attempts at a batch of questions are in.
    Rollouts {
        /// Epoch, from 0.
        epoch: u32,
        /// Batch of the epoch, from 0.
        batch: u32,
        /// Groups.
        groups: usize,
    },
    /// A call to the model ended.
    Called {
        /// What for.
        stage: Stage,
        /// Whether there is a reply.
        ok: bool,
        /// Calls that can be made now.
        waiting: usize,
    },
    /// A group teaches nothing.
    Skipped {
        /// The group.
        group: usize,
        /// Why.
        cause: SkipCause,
    },
    /// A reply has errors and goes back once more.
    Repair {
        /// Stage of the reply.
        stage: Stage,
        /// The group, for extract.
        group: Option<usize>,
    },
    /// The model's consolidation failed.
    Fallback,
    /// A batch was applied.
    Applied {
        /// Operations.
        operations: usize,
        /// Experiences active after it.
        size: usize,
    },
    /// The library was scored on questions held out.
    Scored {
        /// Epoch, from 0.
        epoch: u32,
        /// Parts per million.
        score_ppm: u32,
        /// Whether it is the best so far.
        best: bool,
    },
    /// The library went back to its best state.
    Restored {
        /// Score of that state, in parts per million.
        score_ppm: u32,
    },
}
