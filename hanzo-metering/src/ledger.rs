//! Double-entry ledger in process: accounts, transfers in one or two phases, linked chains, holds and an audit.

mod account;
mod apply;
mod audit;
mod error;
mod index;
mod record;
mod state;
mod transfer;

pub use account::{AccountFlag, AccountHandle, AccountState, Balance, NewAccount, Opened};
pub use audit::{Audit, LedgerTotals};
pub use error::{Field, LedgerError, LinkedError};
pub use index::IdMode;
pub use transfer::{Applied, Entry, Pending, PendingState, Transfer, TransferKind};

use crate::{AccountId, Status, Timestamp, TransferId};
use account::Account;
use alloc::collections::BinaryHeap;
use alloc::vec::Vec;
use core::cmp::Reverse;
use foldhash::fast::FixedState;
use hashbrown::HashMap;
use index::{IdIndex, Known};
use record::{Kind, Record};

/// A double-entry ledger with the semantics of TigerBeetle's two-phase transfers, held in memory.
///
/// Every transfer debits one account and credits another of the same asset by the same amount, so nothing is ever
/// made or lost; [`audit`](Self::audit) proves it from the journal. A transfer is identified by its id: sent twice it
/// is applied once. Time comes in with each call and never goes back; pending transfers whose time is up are
/// released before anything else is looked at, so a reader never sees an expired reservation.
///
/// Costs: O(1) a transfer, O(log n) an expiry; 96 bytes a transfer and a few for its id, and what vectors keep free.
///
/// ```
/// use hanzo_metering::{AccountFlag, AccountId, Ledger, NewAccount, Timestamp, Transfer, TransferId};
/// # fn main() -> Result<(), hanzo_metering::LedgerError> {
/// let now = Timestamp::from_nanos(1);
/// let (bank, ann, bob) = (AccountId::new(1), AccountId::new(2), AccountId::new(3));
/// let mut ledger = Ledger::new();
/// ledger.open(now, NewAccount::new(bank, 1))?;
/// for id in [ann, bob] {
///     ledger.open(now, NewAccount { flag: AccountFlag::DebitsLeCredits, ..NewAccount::new(id, 1) })?;
/// }
/// ledger.apply(now, &Transfer::new(TransferId::new(1), bank, ann, 100))?;
/// ledger.apply(now, &Transfer::pending(TransferId::new(2), ann, bob, 70, 1_000))?;
/// ledger.apply(now, &Transfer::post(TransferId::new(3), TransferId::new(2), Some(60)))?;
/// assert_eq!(ledger.balance_of(bob).map(|b| b.available()), Some(60));
/// assert_eq!(ledger.audit()?.open_pendings, 0);
/// # Ok(()) }
/// ```
#[derive(Debug, Clone)]
pub struct Ledger {
    now: u64,
    accounts: Vec<Account>,
    /// Beside `accounts`.
    opened: Vec<NewAccount>,
    by_id: HashMap<u128, u32, FixedState>,
    records: Vec<Record>,
    index: IdIndex,
    /// Deadlines of pendings in order; entries of pendings settled meanwhile are skipped when they come up.
    deadlines: BinaryHeap<Reverse<(u64, u32)>>,
    /// Pendings that are open or held, in no order.
    open: Vec<u32>,
}

impl Default for Ledger {
    fn default() -> Self {
        Self::new()
    }
}

impl Ledger {
    /// Most legs of a linked chain.
    pub const MAX_CHAIN: usize = 8_190;

    /// An empty ledger at time 0.
    pub fn new() -> Self {
        Self::with_hash_seed(0)
    }

    /// An empty ledger whose hash tables are keyed by `seed`. Give a secret one where strangers choose ids, so
    /// that they cannot choose colliding ones; no result depends on it.
    pub fn with_hash_seed(seed: u64) -> Self {
        Self::with_ids(IdMode::Any, seed)
    }

    /// An empty ledger with transfer ids of this mode, whose hash tables are keyed by `seed`.
    ///
    /// ```
    /// use hanzo_metering::{AccountId, IdMode, Ledger, LedgerError, NewAccount, Timestamp, Transfer, TransferId};
    /// # fn main() -> Result<(), LedgerError> {
    /// let (now, a, b) = (Timestamp::from_nanos(1), AccountId::new(1), AccountId::new(2));
    /// let mut ledger = Ledger::with_ids(IdMode::Sequenced, 0);
    /// ledger.open(now, NewAccount::new(a, 1))?;
    /// ledger.open(now, NewAccount::new(b, 1))?;
    /// ledger.apply(now, &Transfer::new(TransferId::sequenced(7, 1), a, b, 5))?;
    /// let skipped = ledger.apply(now, &Transfer::new(TransferId::sequenced(7, 3), a, b, 5));
    /// assert_eq!(skipped, Err(LedgerError::SequenceGap { expected: 2 }));
    /// # Ok(()) }
    /// ```
    pub fn with_ids(mode: IdMode, seed: u64) -> Self {
        let state = FixedState::with_seed(seed);
        Self {
            now: 0,
            accounts: Vec::new(),
            opened: Vec::new(),
            by_id: HashMap::with_hasher(state.clone()),
            records: Vec::new(),
            index: IdIndex::new(mode, state),
            deadlines: BinaryHeap::new(),
            open: Vec::new(),
        }
    }

    /// Opens an account.
    ///
    /// # Errors
    /// In this order: `ClockBackwards`, `ZeroId`, `MaxId`, `OwnerMismatch` or `IdConflict` where the id is open with
    /// other fields, `LedgerFull`.
    pub fn open(&mut self, now: Timestamp, account: NewAccount) -> Result<Opened, LedgerError> {
        self.advance(now)?;
        check_id(account.id.get())?;
        if let Some(&handle) = self.by_id.get(&account.id.get()) {
            let old = &self.opened[handle as usize];
            let field = if old.owner != account.owner {
                return Err(LedgerError::OwnerMismatch);
            } else if old.ledger != account.ledger {
                Field::Ledger
            } else if old.code != account.code {
                Field::Code
            } else if old.flag != account.flag {
                Field::Flag
            } else if old.credit_limit != account.credit_limit {
                Field::CreditLimit
            } else {
                return Ok(Opened { status: Status::Existing, handle: AccountHandle(handle) });
            };
            return Err(LedgerError::IdConflict { field });
        }
        let handle = u32::try_from(self.accounts.len()).map_err(|_| LedgerError::LedgerFull)?;
        self.accounts.push(Account::new(&account, AccountState::Active));
        self.opened.push(account);
        self.by_id.insert(account.id.get(), handle);
        Ok(Opened { status: Status::New, handle: AccountHandle(handle) })
    }

    /// Applies one transfer.
    ///
    /// # Errors
    /// `ClockBackwards`, then the first of: `ZeroId`, `MaxId`, `SameAccount`, `ZeroAmount`; with sequenced ids `SourceRange` or
    /// `SequenceGap`; `IdConflict` or
    /// `IdAlreadyFailed`; for a post or void `PendingNotFound`, `NotPending`, `AlreadyPosted`, `AlreadyVoided`,
    /// `Expired`, `Held`, `ExceedsPending`, `DebitFrozen`, `CreditFrozen` (a void is not stopped by a frozen account);
    /// else `DebitNotFound`, `CreditNotFound`, `LedgerMismatch`, `DebitClosed`, `CreditClosed`, `DebitFrozen`,
    /// `CreditFrozen`, `ExceedsCredits` (balancing, no room at all), `Overflow`, `TimeoutOverflow`, `ExceedsCredits`,
    /// `ExceedsDebits`; `LedgerFull`. Those that [depend on the state](LedgerError::depends_on_state) use up the id.
    pub fn apply(&mut self, now: Timestamp, transfer: &Transfer) -> Result<Applied, LedgerError> {
        self.advance(now)?;
        self.apply_now(transfer)
    }

    /// Applies transfers one by one, as [`apply`](Self::apply) would, and appends each answer to `out`.
    ///
    /// # Errors
    /// `ClockBackwards`, before anything is applied.
    pub fn apply_batch(
        &mut self,
        now: Timestamp,
        transfers: &[Transfer],
        out: &mut Vec<Result<Applied, LedgerError>>,
    ) -> Result<(), LedgerError> {
        self.advance(now)?;
        out.reserve(transfers.len());
        out.extend(transfers.iter().map(|t| self.apply_now(t)));
        Ok(())
    }

    /// Applies a chain of transfers wholly or not at all; later legs see earlier ones.
    ///
    /// # Errors
    /// The first leg that is refused, and why; a leg that is known with the same content is `PartlyExists` unless all
    /// are. Only the id of the refused leg is used up. `ChainTooLong`, `EmptyChain` and `ClockBackwards` come first, as leg 0.
    pub fn apply_linked(&mut self, now: Timestamp, legs: &[Transfer]) -> Result<Status, LinkedError> {
        let result = self.chain(now, legs);
        if let Err(LinkedError { index, error }) = result
            && error.depends_on_state()
        {
            // The error came from this leg's content, so its id is valid and unknown.
            self.index.push_refused(&self.records, legs[index].id.get());
        }
        result
    }

    /// Moves ledger time on to `now`, releasing pendings whose time is up in order of (expiry, creation).
    /// Returns how many.
    ///
    /// # Errors
    /// `ClockBackwards`.
    pub fn advance(&mut self, now: Timestamp) -> Result<usize, LedgerError> {
        let mut expired = 0;
        self.expire(now, |_| expired += 1)?;
        Ok(expired)
    }

    /// The same, telling which pendings expired.
    pub(crate) fn expire(&mut self, now: Timestamp, mut each: impl FnMut(TransferId)) -> Result<(), LedgerError> {
        let now_ns = now.as_nanos();
        if now_ns < self.now {
            return Err(LedgerError::ClockBackwards { now, ledger_time: self.now() });
        }
        self.now = now_ns;
        while let Some(&Reverse((deadline, at))) = self.deadlines.peek()
            && deadline <= now_ns
        {
            self.deadlines.pop();
            if self.is_due(deadline, at) {
                self.release(at, PendingState::Expired);
                each(TransferId::new(self.records[at as usize].id));
            }
        }
        // Settled pendings leave their deadlines behind; keep those a minority.
        if self.deadlines.len() > 64 && self.deadlines.len() > 2 * self.open.len() {
            let mut kept = core::mem::take(&mut self.deadlines).into_vec();
            kept.retain(|&Reverse((deadline, at))| self.is_due(deadline, at));
            kept.sort_unstable();
            kept.dedup();
            self.deadlines = kept.into();
        }
        Ok(())
    }

    /// Stops the clock of a pending transfer; it can be neither posted nor voided until it is released.
    ///
    /// # Errors
    /// `ClockBackwards`, `PendingNotFound`, `NotPending`, `AlreadyPosted`, `AlreadyVoided`, `Expired`, `Held`.
    pub fn hold(&mut self, now: Timestamp, pending: TransferId) -> Result<(), LedgerError> {
        self.advance(now)?;
        let at = self.open_pending(pending)?;
        let record = &mut self.records[at as usize];
        record.state = PendingState::Held;
        // An open pending is not due, so its deadline lies after now.
        record.clock = record.clock.saturating_sub(self.now);
        Ok(())
    }

    /// Starts the clock of a held pending transfer again, with the time it had left.
    ///
    /// # Errors
    /// `ClockBackwards`, `PendingNotFound`, `NotHeld`, `TimeoutOverflow`.
    pub fn release_hold(&mut self, now: Timestamp, pending: TransferId) -> Result<(), LedgerError> {
        self.advance(now)?;
        let at = self.record_of(pending).ok_or(LedgerError::PendingNotFound)?;
        let now_ns = self.now;
        let record = &mut self.records[at as usize];
        if record.kind != Kind::Pending || record.state != PendingState::Held {
            return Err(LedgerError::NotHeld);
        }
        if record.timeout > 0 {
            record.clock = now_ns.checked_add(record.clock).ok_or(LedgerError::TimeoutOverflow)?;
            self.deadlines.push(Reverse((record.clock, at)));
        }
        record.state = PendingState::Open;
        Ok(())
    }

    /// Keeps an account out of transfers; a frozen account stays as it is.
    ///
    /// # Errors
    /// `ClockBackwards`, `AccountNotFound`, `AccountClosed`.
    pub fn freeze(&mut self, now: Timestamp, account: AccountId) -> Result<(), LedgerError> {
        self.set_state(now, account, AccountState::Frozen)
    }

    /// Lets a frozen account take part again; an active account stays as it is.
    ///
    /// # Errors
    /// `ClockBackwards`, `AccountNotFound`, `AccountClosed`.
    pub fn unfreeze(&mut self, now: Timestamp, account: AccountId) -> Result<(), LedgerError> {
        self.set_state(now, account, AccountState::Active)
    }

    /// Closes an account for good; a closed account stays as it is.
    ///
    /// # Errors
    /// `ClockBackwards`, `AccountNotFound`, `PendingRemain`, `NotEmpty` where posted debits and credits differ.
    pub fn close(&mut self, now: Timestamp, account: AccountId) -> Result<(), LedgerError> {
        self.advance(now)?;
        let at = self.account_at(account).ok_or(LedgerError::AccountNotFound)?;
        let account = &mut self.accounts[at as usize];
        let b = &account.balance;
        if b.debits_pending != 0 || b.credits_pending != 0 {
            return Err(LedgerError::PendingRemain);
        }
        if b.debits_posted != b.credits_posted {
            return Err(LedgerError::NotEmpty);
        }
        account.state = AccountState::Closed;
        Ok(())
    }

    /// Ledger time: the latest time any call brought.
    pub const fn now(&self) -> Timestamp {
        Timestamp::from_nanos(self.now)
    }

    /// The handle of an account.
    pub fn handle(&self, account: AccountId) -> Option<AccountHandle> {
        self.account_at(account).map(AccountHandle)
    }

    /// The sums of an account; `None` for a handle of another ledger.
    pub fn balance(&self, account: AccountHandle) -> Option<Balance> {
        self.accounts.get(account.0 as usize).map(|a| a.balance)
    }

    /// The sums of the account of this id.
    pub fn balance_of(&self, account: AccountId) -> Option<Balance> {
        self.balance(self.handle(account)?)
    }

    /// What may still leave the account, with its credit limit; `None` where the account is unknown or nothing limits it.
    pub fn debit_room(&self, account: AccountId) -> Option<u128> {
        self.accounts[self.account_at(account)? as usize].debit_room()
    }

    /// The account as it was opened, and whether it takes part in transfers.
    pub fn account(&self, account: AccountId) -> Option<(NewAccount, AccountState)> {
        self.account_at(account).map(|at| (self.opened[at as usize], self.accounts[at as usize].state))
    }

    /// All accounts in order of opening, with their sums.
    pub fn accounts(&self) -> impl Iterator<Item = (AccountHandle, &NewAccount, Balance)> {
        (0..)
            .zip(self.opened.iter().zip(&self.accounts))
            .map(|(at, (opened, a))| (AccountHandle(at), opened, a.balance))
    }

    /// The pendings that still reserve something of an account, in order of creation. O(p log p) for p open pendings.
    pub fn pending(&self, account: AccountHandle) -> impl Iterator<Item = Pending> {
        let mut open: Vec<u32> = self.open.clone();
        open.retain(|&at| {
            let r = &self.records[at as usize];
            r.debit == account.0 || r.credit == account.0
        });
        open.sort_unstable();
        open.into_iter().map(|at| self.records[at as usize].pending(|a| self.id_of(a)))
    }

    /// The applied transfer of an id.
    pub fn transfer(&self, id: TransferId) -> Option<Entry> {
        self.record_of(id).map(|at| self.entry(&self.records[at as usize]))
    }

    /// Whether an id was used up by a transfer that was refused.
    pub fn is_refused(&self, id: TransferId) -> bool {
        self.index.peek(&self.records, id.get()) == Some(Known::Refused)
    }

    /// All applied transfers, in order.
    pub fn transfers(&self) -> impl ExactSizeIterator<Item = Entry> {
        self.records.iter().map(|r| self.entry(r))
    }

    /// The last applied transfers, so many of them.
    pub(crate) fn latest(&self, count: usize) -> impl Iterator<Item = Entry> {
        self.records[self.records.len().saturating_sub(count)..].iter().map(|r| self.entry(r))
    }

    /// How many pendings reserve something.
    pub fn open_pendings(&self) -> usize {
        self.open.len()
    }

    /// How the ids of its transfers are made.
    pub const fn id_mode(&self) -> IdMode {
        self.index.mode()
    }

    /// How many transfers were applied.
    pub fn len(&self) -> usize {
        self.records.len()
    }

    /// Whether no transfer was applied yet.
    pub fn is_empty(&self) -> bool {
        self.records.is_empty()
    }

    fn set_state(&mut self, now: Timestamp, account: AccountId, state: AccountState) -> Result<(), LedgerError> {
        self.advance(now)?;
        let at = self.account_at(account).ok_or(LedgerError::AccountNotFound)?;
        let account = &mut self.accounts[at as usize];
        if account.state == AccountState::Closed {
            return Err(LedgerError::AccountClosed);
        }
        account.state = state;
        Ok(())
    }

    fn account_at(&self, account: AccountId) -> Option<u32> {
        self.by_id.get(&account.get()).copied()
    }

    fn record_of(&self, id: TransferId) -> Option<u32> {
        match self.index.peek(&self.records, id.get())? {
            Known::Record(at) => Some(at),
            Known::Refused => None,
        }
    }

    fn id_of(&self, account: u32) -> AccountId {
        self.opened[account as usize].id
    }

    /// The id of the pending a post or void names; for others any id, which nobody reads.
    fn linked_id(&self, record: &Record) -> TransferId {
        TransferId::new(self.records.get(record.link as usize).map_or(0, |r| r.id))
    }

    fn entry(&self, record: &Record) -> Entry {
        record.entry(|a| self.id_of(a), self.linked_id(record))
    }
}

fn check_id(id: u128) -> Result<(), LedgerError> {
    match id {
        0 => Err(LedgerError::ZeroId),
        u128::MAX => Err(LedgerError::MaxId),
        _ => Ok(()),
    }
}
