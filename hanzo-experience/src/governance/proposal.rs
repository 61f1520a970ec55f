use std::collections::BTreeMap;

use super::machine::GovernanceConfig;
use crate::merkle::StateRoot;
use crate::{Account, Error, Operation, Result};

/// What a proposal would do.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum ProposalKind {
    /// Change the library.
    Experience {
        /// The operations, applied as one batch.
        operations: Vec<Operation>,
        /// The state they are meant for.
        base: StateRoot,
    },
    /// Change a parameter, for proposals and libraries after it.
    Parameter {
        /// Which.
        parameter: Parameter,
        /// Its new value.
        value: u64,
    },
    /// Pay out of the treasury. The ledger refuses what is not there.
    Treasury {
        /// Who gets it.
        to: Account,
        /// Base units.
        amount: u128,
    },
    /// Adopt a release, named by its digest.
    Upgrade {
        /// The digest.
        digest: [u8; 32],
    },
}

/// What a parameter proposal may change.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Parameter {
    /// Seconds of voting, at least 1.
    Period,
    /// Votes cast of all power, in basis points.
    Quorum,
    /// Yes of yes and no, in basis points.
    Approval,
    /// Share of the stake that a malicious proposal loses, in basis points.
    Slash,
    /// Seconds after the vote in which a proposal can be found malicious.
    ChallengeWindow,
    /// The most words of an experience, 1..=32.
    MaxWords,
    /// The most active experiences, at least 1.
    MaxItems,
}

/// A vote on a proposal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Choice {
    /// For it.
    Yes,
    /// Against it.
    No,
    /// Neither; counts for the quorum.
    Abstain,
}

/// Where a proposal stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Status {
    /// Votes are taken from its start to its end.
    Voting,
    /// Enough voted, and enough of them yes.
    Approved,
    /// Enough voted, too few of them yes.
    Rejected,
    /// Too few voted, or all abstained.
    NotQuorate,
    /// It was approved, and done.
    Executed,
    /// It was approved, and found to do harm.
    Malicious,
}

impl Status {
    /// Its name in lower case.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Voting => "voting",
            Self::Approved => "approved",
            Self::Rejected => "rejected",
            Self::NotQuorate => "not quorate",
            Self::Executed => "executed",
            Self::Malicious => "malicious",
        }
    }
}

/// Voting power at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PowerSnapshot {
    pub(super) supply: u128,
    pub(super) power: BTreeMap<Account, u128>,
}

impl PowerSnapshot {
    /// The supply, and what of it can vote; an account given twice has the sum.
    ///
    /// # Errors
    /// [`Error::PowerExceedsSupply`] if the sum of all power is greater than the supply.
    pub fn new(supply: u128, power: impl IntoIterator<Item = (Account, u128)>) -> Result<Self> {
        let (mut map, mut sum) = (BTreeMap::new(), 0_u128);
        for (account, power) in power {
            sum = sum.checked_add(power).filter(|sum| *sum <= supply).ok_or(Error::PowerExceedsSupply)?;
            *map.entry(account).or_insert(0) += power;
        }
        Ok(Self { supply, power: map })
    }

    /// The supply.
    pub fn supply(&self) -> u128 {
        self.supply
    }

    /// Power of an account; 0 if it has none.
    pub fn of(&self, account: &Account) -> u128 {
        self.power.get(account).copied().unwrap_or(0)
    }
}

/// Sums of a vote, in units of power.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Tally {
    /// For.
    pub yes: u128,
    /// Against.
    pub no: u128,
    /// Neither.
    pub abstain: u128,
    /// Votes cast of the supply, in basis points, rounded down.
    pub turnout_bps: u16,
}

/// A proposal and its votes.
#[derive(Debug, Clone, PartialEq)]
pub struct Proposal {
    pub(super) proposer: Account,
    pub(super) kind: ProposalKind,
    pub(super) start: u64,
    pub(super) end: u64,
    pub(super) stake: u128,
    /// The rules when it was made, which stay its own.
    pub(super) rules: GovernanceConfig,
    pub(super) power: PowerSnapshot,
    pub(super) votes: BTreeMap<Account, Choice>,
    pub(super) status: Status,
    pub(super) tally: Tally,
    /// When the vote was counted.
    pub(super) decided: u64,
    /// Whether the stake is still held.
    pub(super) held: bool,
}

impl Proposal {
    /// Who made it.
    pub fn proposer(&self) -> &Account {
        &self.proposer
    }

    /// What it would do.
    pub fn kind(&self) -> &ProposalKind {
        &self.kind
    }

    /// First second of voting.
    pub fn start(&self) -> u64 {
        self.start
    }

    /// First second after voting.
    pub fn end(&self) -> u64 {
        self.end
    }

    /// Base units staked on it.
    pub fn stake(&self) -> u128 {
        self.stake
    }

    /// Whether the stake is still held.
    pub fn is_stake_held(&self) -> bool {
        self.held
    }

    /// The vote of an account.
    pub fn vote(&self, voter: &Account) -> Option<Choice> {
        self.votes.get(voter).copied()
    }

    /// Where it stands.
    pub fn status(&self) -> Status {
        self.status
    }

    /// The votes as of now.
    pub fn tally(&self) -> Tally {
        self.tally
    }
}
