use crate::{AccountId, Status, Timestamp, TransferId};

/// One movement of money, or one step of a two-phase movement.
///
/// ```
/// use hanzo_metering::{AccountId, Transfer, TransferId};
/// let (a, b) = (AccountId::new(1), AccountId::new(2));
/// let reserve = Transfer::pending(TransferId::new(7), a, b, 100, 60_000_000_000);
/// let take_80 = Transfer::post(TransferId::new(8), reserve.id, Some(80));
/// assert_ne!(reserve, take_80);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Transfer {
    /// Id chosen by the caller; 0 and `u128::MAX` are refused.
    pub id: TransferId,
    /// What is to be done.
    pub kind: TransferKind,
    /// A number for the caller's own use.
    pub code: u16,
}

/// What a [`Transfer`] does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum TransferKind {
    /// Moves `amount` from `debit` to `credit` at once.
    Transfer {
        /// Account the amount leaves.
        debit: AccountId,
        /// Account the amount enters.
        credit: AccountId,
        /// Base units; more than 0.
        amount: u128,
        /// Move only what the debit account has room for, if that is less.
        balancing: bool,
    },
    /// Reserves `amount` on both accounts until it is posted, voided or expires.
    Pending {
        /// Account the amount will leave.
        debit: AccountId,
        /// Account the amount will enter.
        credit: AccountId,
        /// Base units; more than 0.
        amount: u128,
        /// Reserve only what the debit account has room for, if that is less.
        balancing: bool,
        /// Nanoseconds until it expires; 0 never does.
        timeout_ns: u64,
    },
    /// Moves what a pending transfer reserved.
    Post {
        /// The pending transfer.
        pending: TransferId,
        /// What to move (more than 0); the rest is released. `None` moves all.
        amount: Option<u128>,
    },
    /// Releases what a pending transfer reserved.
    Void {
        /// The pending transfer.
        pending: TransferId,
    },
}

impl Transfer {
    /// A movement of `amount` base units from `debit` to `credit`.
    pub const fn new(id: TransferId, debit: AccountId, credit: AccountId, amount: u128) -> Self {
        Self { id, kind: TransferKind::Transfer { debit, credit, amount, balancing: false }, code: 0 }
    }

    /// A reservation that expires after `timeout_ns` (0: never).
    pub const fn pending(id: TransferId, debit: AccountId, credit: AccountId, amount: u128, timeout_ns: u64) -> Self {
        Self { id, kind: TransferKind::Pending { debit, credit, amount, balancing: false, timeout_ns }, code: 0 }
    }

    /// The posting of a pending transfer: all of it, or less.
    pub const fn post(id: TransferId, pending: TransferId, amount: Option<u128>) -> Self {
        Self { id, kind: TransferKind::Post { pending, amount }, code: 0 }
    }

    /// The voiding of a pending transfer.
    pub const fn void(id: TransferId, pending: TransferId) -> Self {
        Self { id, kind: TransferKind::Void { pending }, code: 0 }
    }

    /// The same with the caller's own `code`.
    pub const fn with_code(mut self, code: u16) -> Self {
        self.code = code;
        self
    }

    /// The same, moving at most what the debit account has room for; a post or void is unchanged.
    pub const fn balancing(mut self) -> Self {
        match &mut self.kind {
            TransferKind::Transfer { balancing, .. } | TransferKind::Pending { balancing, .. } => *balancing = true,
            TransferKind::Post { .. } | TransferKind::Void { .. } => {}
        }
        self
    }
}

/// Where a pending transfer stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum PendingState {
    /// Reserved, the clock running.
    Open,
    /// Reserved, the clock stopped.
    Held,
    /// Posted, wholly or in part.
    Posted,
    /// Voided.
    Voided,
    /// Released by its timeout.
    Expired,
}

impl PendingState {
    /// Whether the amount is still reserved.
    pub const fn is_open(self) -> bool {
        matches!(self, Self::Open | Self::Held)
    }
}

/// A pending transfer that is still reserved.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pending {
    /// Its id.
    pub id: TransferId,
    /// Account the amount will leave.
    pub debit: AccountId,
    /// Account the amount will enter.
    pub credit: AccountId,
    /// Base units reserved.
    pub amount: u128,
    /// When it expires; `None` if never, or while it is held.
    pub expires: Option<Timestamp>,
    /// Whether its clock is stopped.
    pub held: bool,
}

/// A transfer that was applied, as the ledger remembers it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Entry {
    /// The transfer as it was asked for.
    pub transfer: Transfer,
    /// Base units it moved, reserved or released; less than asked for where it was balancing.
    pub amount: u128,
    /// Ledger time at which it was applied.
    pub created: Timestamp,
    /// Where it stands, for a pending transfer.
    pub pending: Option<PendingState>,
}

/// The answer to an accepted transfer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Applied {
    /// `Existing` where the same transfer had been applied before.
    pub status: Status,
    /// Base units moved, reserved or released.
    pub amount: u128,
}
