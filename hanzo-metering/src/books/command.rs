use crate::wire::{wire_enum, wire_struct};
use crate::{
    AccountId, BillingError, Deployment, Effect, EmissionError, Intent, Invoice, LedgerError, MeterError, Outcome,
    Posting, Receipt, Recorded, Status, Timestamp, TreasuryError, Value,
};
use alloc::vec::Vec;

/// A call on [`Books`](crate::Books).
#[derive(Debug, Clone)]
#[non_exhaustive]
#[expect(missing_docs, reason = "the fields are explained at their variants")]
#[expect(clippy::large_enum_variant, reason = "a command is made, run and dropped")]
pub enum Command {
    /// Opens a wallet; answers `Done`.
    OpenWallet { id: AccountId, owner: [u8; 32] },
    /// Freezes a wallet or lets it go; answers `Done`.
    SetFrozen { account: AccountId, frozen: bool },
    /// Applies an effect; answers `Receipt`.
    Apply(Effect),
    /// Moves `amount` into a stake; answers `Done`.
    BondStake { id: u128, account: AccountId, amount: u128 },
    /// Begins to take `amount` out of a stake; answers `At` with when it can be withdrawn.
    UnbondStake { id: u128, account: AccountId, amount: u128 },
    /// Pays out what has matured of a stake; answers `Amount`.
    WithdrawStake { id: u128, account: AccountId },
    /// Begins an epoch of the stakes; answers `Done`.
    BeginEpoch { epoch: u64 },
    /// Pays out the suspense of a fee schedule; answers `Postings`.
    FinishFees { id: u128, schedule: u32 },
    /// Bills a deployment from now on; answers `Done`.
    AddDeployment { id: [u8; 32], operator: AccountId, deployment: Deployment },
    /// Bills a deployment no more; answers `Done`.
    RemoveDeployment { id: [u8; 32] },
    /// Takes a reading; answers `Recorded`.
    Record { deployment: [u8; 32], source: Vec<u8>, id: Vec<u8>, at: Timestamp, value: Value },
    /// Bills everything up to a boundary and pays; answers `Bills`.
    Bill { boundary: u64 },
    /// Mints what was earned; answers `Minted`.
    Mint { epoch: u64 },
    /// Records that a job is about to be deployed, and locks its deposit; answers `Done`.
    RecordIntent { intent: Intent, deposit: Option<Deposit> },
    /// Records how that went; a deposit is given back unless the job runs; answers `Done`.
    RecordOutcome { job: u128, attempt: u32, outcome: Outcome },
}

/// What is locked of a client's wallet while a job runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Deposit {
    /// Whose wallet.
    pub account: AccountId,
    /// Base units.
    pub amount: u128,
    /// How long; 0 is the treasury's default.
    pub timeout_ns: u64,
}

/// What a [`Command`] did.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Answer {
    /// It was done; `Existing` where it had been before.
    Done(Status),
    /// Of an effect.
    Receipt(Receipt),
    /// A time.
    At(Timestamp),
    /// Base units.
    Amount(u128),
    /// Movements.
    Postings(Vec<Posting>),
    /// Of a reading.
    Recorded(Recorded),
    /// Of a bill.
    Bills(Vec<BilledInvoice>),
    /// Of a mint.
    Minted(Vec<Minted>),
}

/// An invoice, and whether it was paid.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BilledInvoice {
    /// The invoice.
    pub invoice: Invoice,
    /// Whether it was; where not, its deployment is to be stopped.
    pub paid: bool,
}

/// What was minted for an operator.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Minted {
    /// The operator.
    pub operator: AccountId,
    /// Base units.
    pub amount: u128,
}

/// Why a command was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
#[non_exhaustive]
pub enum BooksError {
    /// Of the treasury.
    #[error(transparent)]
    Treasury(#[from] TreasuryError),
    /// Of the ledger.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    /// Of the bills.
    #[error(transparent)]
    Billing(#[from] BillingError),
    /// Of a meter.
    #[error(transparent)]
    Meter(#[from] MeterError),
    /// Of the emission.
    #[error(transparent)]
    Emission(#[from] EmissionError),
    /// The operator or the payer of a deployment has no wallet.
    #[error("operator or payer has no wallet")]
    UnknownWallet,
    /// Source or id of a reading are too long.
    #[error("source or id of {len} bytes pass {max}")]
    ReadingTooLong {
        /// Bytes given.
        len: usize,
        /// Bytes allowed.
        max: usize,
    },
    /// A deployment whose meter holds more readings than one frame of a journal takes.
    #[error("deployment of {len} bytes passes {max}")]
    DeploymentTooLong {
        /// Bytes of the command.
        len: usize,
        /// Bytes allowed.
        max: usize,
    },
    /// The job is known with another intent, or the outcome does not follow from what is recorded.
    #[error("record does not follow from those before")]
    RecordConflict,
    /// The answer does not belong to the command: a defect of this crate.
    #[error("answer does not belong to the command")]
    Mismatch,
}

wire_struct!(Deposit { account, amount, timeout_ns });
wire_enum!(Command {
    0 => OpenWallet { id, owner },
    1 => SetFrozen { account, frozen },
    2 => Apply(effect),
    3 => BondStake { id, account, amount },
    4 => UnbondStake { id, account, amount },
    5 => WithdrawStake { id, account },
    6 => BeginEpoch { epoch },
    7 => FinishFees { id, schedule },
    8 => AddDeployment { id, operator, deployment },
    9 => RemoveDeployment { id },
    10 => Record { deployment, source, id, at, value },
    11 => Bill { boundary },
    12 => Mint { epoch },
    13 => RecordIntent { intent, deposit },
    14 => RecordOutcome { job, attempt, outcome },
});
