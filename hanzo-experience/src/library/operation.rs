use crate::merkle::Checkpoint;
use crate::{Draft, Error, ExperienceId};

/// A change asked of a [`Library`](crate::Library).
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum Operation {
    /// Adds a new experience. One that is active already stays unchanged; a near copy is merged or skipped, as
    /// [`Dedup`](crate::Dedup) says.
    Add(Draft),
    /// Replaces an experience. The new one names the old as its parent and inherits its usage, not its votes.
    Modify {
        /// The experience to replace.
        id: ExperienceId,
        /// What replaces it.
        draft: Draft,
    },
    /// Replaces at least two experiences by one.
    ///
    /// Text, domain, author, model and time come from the draft, else from the experience of highest quality (ties to
    /// the lowest id). Examples are those of the draft and then of the experiences in id order, each once, the first
    /// eight. Confidence is the greatest of all, inherited usage the sum.
    Merge {
        /// The experiences to replace, in any order.
        ids: Vec<ExperienceId>,
        /// What replaces them; needed if they are of different domains.
        draft: Option<Draft>,
    },
    /// Archives an experience.
    Delete {
        /// The experience to archive.
        id: ExperienceId,
    },
    /// Changes nothing.
    Keep,
}

impl Operation {
    /// The draft that it brings, if it brings one.
    pub fn draft(&self) -> Option<&Draft> {
        match self {
            Self::Add(draft) | Self::Modify { draft, .. } => Some(draft),
            Self::Merge { draft, .. } => draft.as_ref(),
            Self::Delete { .. } | Self::Keep => None,
        }
    }
}

/// What a refused operation does to its batch.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Mode {
    /// Refuses the whole batch.
    #[default]
    Atomic,
    /// Is reported; the others are applied. For the output of a model.
    Lenient,
}

/// When, by whom and why a batch is applied: the part of its log entries that the caller gives.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stamp {
    /// Unix seconds, not before the last entry.
    pub at: u64,
    /// 1..=128 bytes of printable ASCII.
    pub by: String,
    /// At most 128 bytes of printable ASCII, such as `proposal/7`.
    pub reference: String,
}

impl Stamp {
    /// A stamp without reference.
    pub fn new(at: u64, by: impl Into<String>) -> Self {
        Self { at, by: by.into(), reference: String::new() }
    }

    /// Sets the reference.
    pub fn reference(mut self, reference: impl Into<String>) -> Self {
        self.reference = reference.into();
        self
    }
}

/// What became of one operation.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum Outcome {
    /// A new experience is active.
    Added {
        /// Its id.
        id: ExperienceId,
    },
    /// One replaced another.
    Modified {
        /// The archived one.
        from: ExperienceId,
        /// The active one.
        into: ExperienceId,
    },
    /// One replaced several; also an `Add` that hit a near copy.
    Merged {
        /// The archived ones, ascending.
        from: Vec<ExperienceId>,
        /// The active one.
        into: ExperienceId,
    },
    /// One was archived.
    Deleted {
        /// Its id.
        id: ExperienceId,
    },
    /// What was to be added is active already, or merged into this.
    Unchanged {
        /// The active id.
        id: ExperienceId,
    },
    /// Nothing was asked.
    Kept,
    /// Valid, but not applied.
    Skipped(SkipReason),
    /// Refused; only with [`Mode::Lenient`].
    Rejected(Error),
}

/// Why a valid operation was not applied.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum SkipReason {
    /// Another operation of the batch has its target: delete goes before merge before modify, then the first given.
    Superseded {
        /// Index of that operation.
        by: usize,
    },
    /// A near copy is active, and merging is off.
    Duplicate {
        /// That copy.
        of: ExperienceId,
    },
}

/// What a batch did.
#[derive(Debug, Clone, PartialEq)]
pub struct Applied {
    /// One outcome an operation, in their order.
    pub outcomes: Vec<Outcome>,
    /// Indices of the new log entries; none if nothing changed.
    pub entries: Vec<u64>,
    /// Ids that became active by the batch as a whole, ascending.
    pub added: Vec<ExperienceId>,
    /// Ids that were archived by the batch as a whole, ascending.
    pub removed: Vec<ExperienceId>,
    /// Ids that were archived for lack of room, in the order of pruning.
    pub pruned: Vec<ExperienceId>,
    /// The log after the batch.
    pub checkpoint: Checkpoint,
}

impl Applied {
    /// Index and error of each refused operation.
    pub fn rejected(&self) -> impl Iterator<Item = (usize, &Error)> {
        self.outcomes.iter().enumerate().filter_map(|(index, outcome)| match outcome {
            Outcome::Rejected(error) => Some((index, error)),
            _ => None,
        })
    }

    /// Index and reason of each operation that was valid but not applied.
    pub fn skipped(&self) -> impl Iterator<Item = (usize, SkipReason)> {
        self.outcomes.iter().enumerate().filter_map(|(index, outcome)| match outcome {
            Outcome::Skipped(reason) => Some((index, *reason)),
            _ => None,
        })
    }
}
