//! What goes into an engine and what comes out.

use alloc::vec::Vec;
use core::time::Duration;

use crate::poll::PollId;
use crate::sampler::{SampleError, SetError, ValidatorSet};
use crate::store::{Block, Record};

/// Nanoseconds since any fixed moment, the same for all calls of one engine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Timestamp(u64);

impl Timestamp {
    /// From nanoseconds.
    #[must_use]
    pub const fn from_nanos(nanos: u64) -> Self {
        Self(nanos)
    }

    /// As nanoseconds.
    #[must_use]
    pub const fn as_nanos(self) -> u64 {
        self.0
    }

    /// Later by a duration; saturates.
    #[must_use]
    pub fn after(self, duration: Duration) -> Self {
        Self(self.0.saturating_add(u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)))
    }

    /// Whether this moment has come. The end of time, where later moments saturate, never comes.
    pub(crate) const fn is_due(self, now: Self) -> bool {
        self.0 <= now.0 && self.0 < u64::MAX
    }

    /// Time since an earlier moment; zero for a later one.
    #[must_use]
    pub const fn since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }
}

/// What happens to an engine. `from` is the authenticated sender; a message to another chain goes to another engine. How
/// outputs of one node become inputs of another: see [`Engine`](crate::Engine).
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum Input<Id, N> {
    /// A block: pushed or fetched from a peer, or built here (`from: None`), which needs no verification.
    Block {
        /// The block. Its id must be the hash of what it says; check that before.
        block: Block<Id>,
        /// Who sent it.
        from: Option<N>,
    },
    /// A peer asks what this node prefers, naming the block it prefers itself.
    Query {
        /// The peer.
        from: N,
        /// The peer's number of the question, sent back: its [`Output::Query`]'s `poll`.
        request: u64,
        /// What the peer prefers.
        block: Id,
    },
    /// The answer to a [`Output::Query`].
    Vote {
        /// The poll, as sent.
        poll: PollId,
        /// The peer.
        from: N,
        /// What it prefers.
        preferred: Id,
        /// What it accepted last: counts where the block it prefers does not come.
        accepted: Id,
        /// The height of that; not used yet.
        accepted_height: u64,
    },
    /// A peer will not answer a query.
    QueryFailed {
        /// The poll.
        poll: PollId,
        /// The peer.
        from: N,
    },
    /// A peer says which block it accepted last: its [`Output::Gossip`].
    Tip {
        /// The peer.
        from: N,
        /// The block.
        id: Id,
        /// Its height.
        height: u64,
    },
    /// A block that was to be fetched does not come.
    FetchFailed {
        /// The block.
        id: Id,
    },
    /// The application has looked at a block.
    Verified {
        /// The block.
        id: Id,
        /// Whether it is valid.
        ok: bool,
    },
    /// A peer can be reached.
    Connected(N),
    /// A peer can no longer be reached.
    Disconnected(N),
    /// Validators from now on; open polls keep theirs. Give the same set to all nodes, at about the same time.
    Validators(ValidatorSet<N>),
    /// All records up to this token are durable.
    Persisted(u64),
    /// The application has something to put into a block. [`Output::BuildBlock`] comes once, as soon as fewer than
    /// [`optimal_processing`](crate::Params::optimal_processing) blocks are undecided; say it again for the next.
    Pending,
    /// The application or the store has failed: nothing further is safe.
    Failed(Failure),
    /// Time has passed.
    Tick,
}

/// What an engine wants done.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Output<Id, N> {
    /// Ask a validator what it prefers.
    Query {
        /// The poll, to be sent along.
        poll: PollId,
        /// Whom to ask.
        to: N,
        /// What this node prefers.
        block: Id,
        /// The block itself, where the validator cannot know it yet.
        push: Option<Block<Id>>,
    },
    /// Answer a query.
    Respond {
        /// Who asked.
        to: N,
        /// The peer's number of the question.
        request: u64,
        /// What this node prefers.
        preferred: Id,
        /// What it accepted last, durably.
        accepted: Id,
        /// The height of that.
        accepted_height: u64,
    },
    /// Ask a peer for a block; end with [`Input::Block`] or [`Input::FetchFailed`].
    Fetch {
        /// The peer.
        from: N,
        /// The block.
        id: Id,
    },
    /// Check a block whose parent is known; end with [`Input::Verified`].
    Verify(Id),
    /// Keep these records, then say [`Input::Persisted`]. Tokens ascend.
    Persist {
        /// The number to give back.
        token: u64,
        /// What to keep, all or nothing.
        records: Vec<Record<Id>>,
    },
    /// A block is accepted for good, and durable.
    Accepted {
        /// The block.
        id: Id,
        /// Its height.
        height: u64,
    },
    /// A block is rejected for good.
    Rejected {
        /// The block.
        id: Id,
        /// Its height.
        height: u64,
    },
    /// An accepted block has [`confirmation_depth`](crate::Params::confirmation_depth) blocks on it.
    Confirmed {
        /// The block.
        id: Id,
        /// Its height.
        height: u64,
    },
    /// Build a block on this one.
    BuildBlock {
        /// The parent.
        parent: Id,
        /// The height of the new block.
        height: u64,
    },
    /// Tell some peers what was accepted last.
    Gossip {
        /// The block.
        id: Id,
        /// Its height.
        height: u64,
    },
    /// Nothing was decided for too long.
    Stalled(StallReport<Id>),
}

/// Why an engine has stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Failure {
    /// The application could not apply an accepted block.
    #[error("the application failed")]
    Application,
    /// The store could not keep a record.
    #[error("the store failed")]
    Store,
}

/// What became of an input that is no error of the caller.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Outcome {
    /// It was taken.
    Taken,
    /// It changed nothing.
    Ignored(Reason),
}

/// Why an input was ignored; counted by [`Engine::ignored`](crate::Engine::ignored).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Reason {
    /// The sender is not connected.
    NotConnected,
    /// The sender has too many queries open.
    TooManyQueries,
    /// The sender has brought too many undecided blocks.
    TooManyBlocks,
    /// The block is held already.
    Known,
    /// The block is decided, or stands against a decided one.
    Decided,
    /// The height is not the parent's plus one.
    WrongHeight,
    /// The answer is to no open poll, repeated, late, or from a node that was not asked.
    UnexpectedVote,
    /// Nothing was waiting for it.
    Unexpected,
}

/// Why nothing was decided for [`max_item_time`](crate::Params::max_item_time). Several reasons may hold, or none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct StallReport<Id> {
    /// The block that has been undecided longest.
    pub oldest: Id,
    /// Its height.
    pub height: u64,
    /// For how long.
    pub age: Duration,
    /// Stake of the connected validators, the own included.
    pub connected_stake: u64,
    /// Stake of all.
    pub total_stake: u64,
    /// Polls looked at: the last ones, at most eight.
    pub polls: u32,
    /// Votes in all of them together.
    pub votes: u32,
    /// Too little stake is connected for polls to succeed
    /// ([`Params::has_enough_stake`](crate::Params::has_enough_stake)).
    pub too_little_stake: bool,
    /// In more than half of the polls enough votes came, but not for one choice.
    pub split_votes: bool,
    /// In at least half of the polls too few votes came, though the stake is connected. Also where there was no poll.
    pub no_answers: bool,
    /// More blocks than [`optimal_processing`](crate::Params::optimal_processing) are undecided.
    pub too_many_processing: bool,
}

/// How much an engine holds. Every count is bounded by the parameters, the number of connected peers and the own blocks given,
/// as long as outputs are taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Load {
    /// Undecided blocks in the chain.
    pub processing: usize,
    /// Blocks that wait for their parent or for verification.
    pub waiting: usize,
    /// Votes that wait for their block.
    pub held_votes: usize,
    /// Blocks asked for.
    pub fetches: usize,
    /// Open polls.
    pub polls: usize,
    /// Acceptances that wait to be durable.
    pub persisting: usize,
    /// Outputs not yet taken.
    pub outputs: usize,
}

/// Why an engine refused a call; nothing has changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum EngineError {
    /// The engine has been told of a failure and does nothing further.
    #[error("poisoned: {0}")]
    Poisoned(Failure),
    /// The validators hold too little stake for a sample.
    #[error(transparent)]
    Sample(#[from] SampleError),
    /// The validators are refused. No call returns it at present: a [`ValidatorSet`] is checked when it is made.
    #[error(transparent)]
    Set(#[from] SetError),
    /// The chain given to [`Engine::adopt`](crate::Engine::adopt) does not extend the last accepted block.
    #[error("block {index} does not extend the one before")]
    NotAChain {
        /// Position of the block.
        index: usize,
    },
}
