use std::collections::{BTreeMap, BTreeSet};

use crate::merkle::{Hash, StateRoot};
use crate::{Account, Cid, Error, Result, Snapshot};

/// What a submitter vouches for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Submission {
    /// Who submits.
    pub submitter: Account,
    /// 32 bytes that stand for the state, [`StateRoot::commitment`].
    pub commitment: Hash,
    /// The state.
    pub state: StateRoot,
    /// CID of the snapshot file, at most 128 bytes.
    pub cid: String,
    /// Name of the schema that priors of the entry follow.
    pub schema: u64,
    /// Digest of an attestation of how it was learned; zeros if there is none.
    pub attestation: [u8; 32],
    /// Base units.
    pub bond: u128,
}

/// Where an entry stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Status {
    /// Too few have voted.
    Pending,
    /// Enough have voted.
    Active,
    /// A challenge waits for its verdict.
    Challenged,
    /// A challenge was upheld. Final.
    Slashed,
    /// Its submitter took it back. Final.
    Withdrawn,
}

impl Status {
    /// Its name in lower case.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Active => "active",
            Self::Challenged => "challenged",
            Self::Slashed => "slashed",
            Self::Withdrawn => "withdrawn",
        }
    }

    /// Whether nothing can happen to it any more.
    pub const fn is_final(self) -> bool {
        matches!(self, Self::Slashed | Self::Withdrawn)
    }
}

/// A challenge that waits for its verdict.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Challenge {
    pub(super) challenger: Account,
    pub(super) bond: u128,
    pub(super) evidence: [u8; 32],
    pub(super) deadline: u64,
}

/// An entry of the registry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listing {
    pub(super) submission: Submission,
    pub(super) status: Status,
    pub(super) submitted: u64,
    /// Score and stake of each voter.
    pub(super) votes: BTreeMap<Account, (u16, u128)>,
    pub(super) quality: Option<u16>,
    pub(super) challenge: Option<Challenge>,
    /// How many challenges there were.
    pub(super) challenges: u64,
    pub(super) refused: BTreeSet<[u8; 32]>,
}

impl Listing {
    /// What was submitted.
    pub fn submission(&self) -> &Submission {
        &self.submission
    }

    /// Where it stands.
    pub fn status(&self) -> Status {
        self.status
    }

    /// When it was submitted, in Unix seconds.
    pub fn submitted(&self) -> u64 {
        self.submitted
    }

    /// Stake-weighted lower median of the votes, 0..=1000; none before the first.
    pub fn quality(&self) -> Option<u16> {
        self.quality
    }

    /// Score and stake of a voter.
    pub fn vote(&self, voter: &Account) -> Option<(u16, u128)> {
        self.votes.get(voter).copied()
    }

    /// Reads a fetched file as the one that was submitted: its CID, and its root and size, must be those of the entry.
    ///
    /// # Errors
    /// [`Error::RootMismatch`] for another file or state; [`Error::MalformedSnapshot`].
    pub fn check_file(&self, file: &[u8]) -> Result<Snapshot> {
        if Cid::raw(file).to_string() != self.submission.cid {
            return Err(Error::RootMismatch);
        }
        let snapshot = Snapshot::from_bytes(file)?;
        if snapshot.state_root().commitment() == self.submission.commitment {
            Ok(snapshot)
        } else {
            Err(Error::RootMismatch)
        }
    }
}

/// What a submitter has done so far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct History {
    /// Entries submitted.
    pub entries: u64,
    /// Of these slashed.
    pub slashed: u64,
    /// Mean quality of those that have one, rounded down.
    pub mean_quality: Option<u16>,
}
