use crate::{
    BillingError, BooksError, EmissionError, FeeError, GasError, JournalError, LedgerError, LinkedError, MeterError,
    QuotaError, ScheduleError, StakeError, TreasuryError, UnitError,
};

/// Any error of this crate, for callers that use several of its parts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Of units and tariffs.
    #[error(transparent)]
    Unit(#[from] UnitError),
    /// Of meters.
    #[error(transparent)]
    Meter(#[from] MeterError),
    /// Of invoices.
    #[error(transparent)]
    Billing(#[from] BillingError),
    /// Of the ledger.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    /// Of a linked chain of the ledger.
    #[error(transparent)]
    Linked(#[from] LinkedError),
    /// Of fee splits.
    #[error(transparent)]
    Fee(#[from] FeeError),
    /// Of stakes.
    #[error(transparent)]
    Stake(#[from] StakeError),
    /// Of emission.
    #[error(transparent)]
    Emission(#[from] EmissionError),
    /// Of the treasury.
    #[error(transparent)]
    Treasury(#[from] TreasuryError),
    /// Of books.
    #[error(transparent)]
    Books(#[from] BooksError),
    /// Of a journal.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// Of quotas.
    #[error(transparent)]
    Quota(#[from] QuotaError),
    /// Of gas.
    #[error(transparent)]
    Gas(#[from] GasError),
    /// Of the pool and the scheduler.
    #[error(transparent)]
    Schedule(#[from] ScheduleError),
}

/// `Result` with this crate's [`Error`].
pub type Result<T, E = Error> = core::result::Result<T, E>;
