use crate::Timestamp;

/// Why the ledger refused a call. The state is as before, save that time may have moved on to the call's `now`
/// and that an error which [depends on the state](Self::depends_on_state) uses up the id of the transfer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
#[non_exhaustive]
pub enum LedgerError {
    /// The call's time is before the ledger's.
    #[error("clock went backwards: {now:?} is before ledger time {ledger_time:?}")]
    ClockBackwards {
        /// Time of the call.
        now: Timestamp,
        /// Time of the ledger.
        ledger_time: Timestamp,
    },
    /// An id is 0.
    #[error("id is zero")]
    ZeroId,
    /// An id is `u128::MAX`.
    #[error("id is the maximum")]
    MaxId,
    /// Debit and credit are one account.
    #[error("debit and credit account are the same")]
    SameAccount,
    /// The amount is 0.
    #[error("amount is zero")]
    ZeroAmount,
    /// The id is known with other content.
    #[error("id is known with another {field:?}")]
    IdConflict {
        /// The first field that differs.
        field: Field,
    },
    /// The account id is open for another owner.
    #[error("account belongs to another owner")]
    OwnerMismatch,
    /// The id was used by a transfer that was refused.
    #[error("id was used by a refused transfer")]
    IdAlreadyFailed,
    /// No pending transfer has that id.
    #[error("pending transfer not found")]
    PendingNotFound,
    /// The transfer of that id is not a pending one.
    #[error("transfer is not a pending one")]
    NotPending,
    /// The pending transfer was posted.
    #[error("pending transfer was posted")]
    AlreadyPosted,
    /// The pending transfer was voided.
    #[error("pending transfer was voided")]
    AlreadyVoided,
    /// The pending transfer timed out.
    #[error("pending transfer expired")]
    Expired,
    /// The pending transfer is held.
    #[error("pending transfer is held")]
    Held,
    /// The pending transfer is not held.
    #[error("pending transfer is not held")]
    NotHeld,
    /// More was to be posted than is pending.
    #[error("posting more than the {pending} pending")]
    ExceedsPending {
        /// Base units pending.
        pending: u128,
    },
    /// No such account (for calls on one account).
    #[error("account not found")]
    AccountNotFound,
    /// The account is closed (for calls on one account).
    #[error("account is closed")]
    AccountClosed,
    /// No such debit account.
    #[error("debit account not found")]
    DebitNotFound,
    /// No such credit account.
    #[error("credit account not found")]
    CreditNotFound,
    /// The accounts count in different assets.
    #[error("debit ledger {debit} is not credit ledger {credit}")]
    LedgerMismatch {
        /// Asset of the debit account.
        debit: u32,
        /// Asset of the credit account.
        credit: u32,
    },
    /// The debit account is closed.
    #[error("debit account is closed")]
    DebitClosed,
    /// The credit account is closed.
    #[error("credit account is closed")]
    CreditClosed,
    /// The debit account is frozen.
    #[error("debit account is frozen")]
    DebitFrozen,
    /// The credit account is frozen.
    #[error("credit account is frozen")]
    CreditFrozen,
    /// A sum of an account would pass `u128`.
    #[error("account sum overflows")]
    Overflow,
    /// Now plus the timeout passes the clock.
    #[error("timeout overflows the clock")]
    TimeoutOverflow,
    /// The debit account has not enough room.
    #[error("debit account has room for {room} only")]
    ExceedsCredits {
        /// Base units it has room for.
        room: u128,
    },
    /// The credit account has not enough room.
    #[error("credit account has room for {room} only")]
    ExceedsDebits {
        /// Base units it has room for.
        room: u128,
    },
    /// The account to be closed has pending transfers.
    #[error("account has pending transfers")]
    PendingRemain,
    /// The account to be closed has a balance.
    #[error("account has a balance")]
    NotEmpty,
    /// A sequenced id that leaves out others of its source; nothing is used up.
    #[error("sequence number leaves a gap, {expected} is next")]
    SequenceGap {
        /// The next number of the source.
        expected: u64,
    },
    /// The source of a sequenced id is 2^63 or more.
    #[error("source of the id is 2^63 or more")]
    SourceRange,
    /// Too many legs in one linked chain.
    #[error("chain of {len} legs passes the limit of {max}")]
    ChainTooLong {
        /// Legs given.
        len: usize,
        /// Legs allowed.
        max: usize,
    },
    /// A linked chain without legs.
    #[error("chain has no legs")]
    EmptyChain,
    /// A leg is known already while others are not.
    #[error("leg exists already, the chain as a whole does not")]
    PartlyExists,
    /// The ledger holds as many accounts or transfers as it can number.
    #[error("ledger is full")]
    LedgerFull,
    /// Stored sums differ from those recomputed: a defect of this crate.
    #[error("audit found a difference")]
    AuditMismatch,
}

impl LedgerError {
    /// Whether the same transfer could be accepted later. Such an error uses up the id of the transfer,
    /// so that a late retry cannot turn an answer that was already given.
    pub const fn depends_on_state(&self) -> bool {
        matches!(
            self,
            Self::PendingNotFound
                | Self::Held
                | Self::DebitNotFound
                | Self::CreditNotFound
                | Self::DebitClosed
                | Self::CreditClosed
                | Self::DebitFrozen
                | Self::CreditFrozen
                | Self::Overflow
                | Self::ExceedsCredits { .. }
                | Self::ExceedsDebits { .. }
        )
    }
}

/// A linked chain was refused as a whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
#[error("leg {index}: {error}")]
pub struct LinkedError {
    /// The first leg that was refused.
    pub index: usize,
    /// Why.
    pub error: LedgerError,
}

/// The field in which two uses of one id differ.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Field {
    /// What the transfer does.
    Kind,
    /// The debit account.
    Debit,
    /// The credit account.
    Credit,
    /// The amount.
    Amount,
    /// The balancing flag.
    Balancing,
    /// The timeout.
    Timeout,
    /// The pending transfer named.
    Pending,
    /// The caller's code.
    Code,
    /// The asset of an account.
    Ledger,
    /// The limit rule of an account.
    Flag,
    /// The credit limit of an account.
    CreditLimit,
}
