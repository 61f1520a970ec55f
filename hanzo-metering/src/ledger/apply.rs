//! The application of transfers, one by one or in chains, and its undoing.

use super::account::AccountState;
use super::index::{Known, MAX_RECORDS};
use super::record::{Kind, Record};
use super::{Applied, Ledger, LedgerError, LinkedError, PendingState, Transfer, TransferKind, check_id};
use crate::{AccountId, Status, Timestamp, TransferId};
use core::cmp::Reverse;

impl Ledger {
    /// A chain that uses up no id when refused: for callers that keep their own record of what they refused.
    pub(crate) fn chain(&mut self, now: Timestamp, legs: &[Transfer]) -> Result<Status, LinkedError> {
        let first = |error| LinkedError { index: 0, error };
        self.advance(now).map_err(first)?;
        if legs.is_empty() {
            return Err(first(LedgerError::EmptyChain));
        }
        if legs.len() > Self::MAX_CHAIN {
            return Err(first(LedgerError::ChainTooLong { len: legs.len(), max: Self::MAX_CHAIN }));
        }
        let mark = self.records.len();
        let mut known = 0;
        for (index, leg) in legs.iter().enumerate() {
            let error = match self.attempt(leg) {
                Ok(applied) if applied.status == Status::New && known == 0 => continue,
                // Known from the start of the chain on: all may be.
                Ok(applied) if applied.status == Status::Existing && known == index => {
                    known += 1;
                    continue;
                }
                Ok(applied) if applied.status == Status::Existing => LedgerError::PartlyExists,
                // A new leg after known ones: the first error in order is the first known leg.
                Ok(_) => {
                    self.undo_to(mark);
                    return Err(first(LedgerError::PartlyExists));
                }
                Err(error) => error,
            };
            self.undo_to(mark);
            return Err(if known > 0 { first(LedgerError::PartlyExists) } else { LinkedError { index, error } });
        }
        Ok(if known > 0 { Status::Existing } else { Status::New })
    }

    pub(super) fn apply_now(&mut self, transfer: &Transfer) -> Result<Applied, LedgerError> {
        let result = self.attempt(transfer);
        if let Err(error) = result
            && error.depends_on_state()
        {
            self.index.push_refused(&self.records, transfer.id.get());
        }
        result
    }

    /// Applies a transfer at ledger time, or says why not and changes nothing.
    fn attempt(&mut self, t: &Transfer) -> Result<Applied, LedgerError> {
        check_id(t.id.get())?;
        match t.kind {
            TransferKind::Transfer { debit, credit, amount, .. }
            | TransferKind::Pending { debit, credit, amount, .. } => {
                if debit == credit {
                    return Err(LedgerError::SameAccount);
                }
                if amount == 0 {
                    return Err(LedgerError::ZeroAmount);
                }
            }
            TransferKind::Post { amount: Some(0), .. } => return Err(LedgerError::ZeroAmount),
            TransferKind::Post { .. } | TransferKind::Void { .. } => {}
        }
        match self.index.get(&self.records, t.id.get())? {
            Some(Known::Record(at)) => {
                let record = &self.records[at as usize];
                return match record.difference(t, |a| self.id_of(a), self.linked_id(record)) {
                    Some(field) => Err(LedgerError::IdConflict { field }),
                    None => Ok(Applied { status: Status::Existing, amount: record.applied }),
                };
            }
            Some(Known::Refused) => return Err(LedgerError::IdAlreadyFailed),
            None => {}
        }
        let record = match t.kind {
            TransferKind::Transfer { debit, credit, amount, balancing } => {
                let record = self.movement(debit, credit, amount, balancing, 0)?;
                self.accounts[record.debit as usize].balance.debits_posted += record.applied;
                self.accounts[record.credit as usize].balance.credits_posted += record.applied;
                record
            }
            TransferKind::Pending { debit, credit, amount, balancing, timeout_ns } => {
                let record = self.movement(debit, credit, amount, balancing, timeout_ns)?;
                let at = self.records.len() as u32;
                self.accounts[record.debit as usize].balance.debits_pending += record.applied;
                self.accounts[record.credit as usize].balance.credits_pending += record.applied;
                if timeout_ns > 0 {
                    self.deadlines.push(Reverse((record.clock, at)));
                }
                let link = self.open.len() as u32;
                self.open.push(at);
                Record { kind: Kind::Pending, link, ..record }
            }
            TransferKind::Post { pending, amount } => {
                let at = self.open_pending(pending)?;
                let reserved = &self.records[at as usize];
                let posted = amount.unwrap_or(reserved.applied);
                if posted > reserved.applied {
                    return Err(LedgerError::ExceedsPending { pending: reserved.applied });
                }
                let (debit, credit) = (reserved.debit, reserved.credit);
                self.check_not_frozen(debit, credit)?;
                self.check_not_full()?;
                self.release(at, PendingState::Posted);
                self.accounts[debit as usize].balance.debits_posted += posted;
                self.accounts[credit as usize].balance.credits_posted += posted;
                let requested = amount.unwrap_or(0);
                Record { requested, applied: posted, link: at, kind: Kind::Post, ..self.blank(debit, credit) }
            }
            TransferKind::Void { pending } => {
                let at = self.open_pending(pending)?;
                self.check_not_full()?;
                let Record { debit, credit, applied, .. } = self.records[at as usize];
                self.release(at, PendingState::Voided);
                Record { applied, link: at, kind: Kind::Void, ..self.blank(debit, credit) }
            }
        };
        let amount = record.applied;
        self.records.push(Record { id: t.id.get(), code: t.code, ..record });
        self.index.push_record(&self.records);
        Ok(Applied { status: Status::New, amount })
    }

    /// Checks a movement between two accounts and gives its record, with the amount that will move.
    fn movement(
        &self,
        debit: AccountId,
        credit: AccountId,
        requested: u128,
        balancing: bool,
        timeout: u64,
    ) -> Result<Record, LedgerError> {
        let debit_at = self.account_at(debit).ok_or(LedgerError::DebitNotFound)?;
        let credit_at = self.account_at(credit).ok_or(LedgerError::CreditNotFound)?;
        let (d, c) = (&self.accounts[debit_at as usize], &self.accounts[credit_at as usize]);
        if d.ledger != c.ledger {
            return Err(LedgerError::LedgerMismatch { debit: d.ledger, credit: c.ledger });
        }
        if d.state == AccountState::Closed {
            return Err(LedgerError::DebitClosed);
        }
        if c.state == AccountState::Closed {
            return Err(LedgerError::CreditClosed);
        }
        self.check_not_frozen(debit_at, credit_at)?;
        let mut applied = requested;
        if balancing && let Some(room) = d.debit_room() {
            applied = applied.min(room);
            if applied == 0 {
                return Err(LedgerError::ExceedsCredits { room });
            }
        }
        let fits = |pending: u128, posted: u128| pending.checked_add(posted)?.checked_add(applied);
        if fits(d.balance.debits_pending, d.balance.debits_posted).is_none()
            || fits(c.balance.credits_pending, c.balance.credits_posted).is_none()
        {
            return Err(LedgerError::Overflow);
        }
        let clock = self.now.checked_add(timeout).ok_or(LedgerError::TimeoutOverflow)?;
        if let Some(room) = d.debit_room().filter(|&room| applied > room) {
            return Err(LedgerError::ExceedsCredits { room });
        }
        if let Some(room) = c.credit_room().filter(|&room| applied > room) {
            return Err(LedgerError::ExceedsDebits { room });
        }
        self.check_not_full()?;
        Ok(Record { requested, applied, timeout, clock, balancing, ..self.blank(debit_at, credit_at) })
    }

    /// A record between two accounts with nothing else filled in.
    fn blank(&self, debit: u32, credit: u32) -> Record {
        Record {
            id: 0,
            requested: 0,
            applied: 0,
            created: self.now,
            timeout: 0,
            clock: 0,
            debit,
            credit,
            link: 0,
            code: 0,
            kind: Kind::Transfer,
            state: PendingState::Open,
            balancing: false,
        }
    }

    /// The pending of this id, if it can be posted or voided.
    pub(super) fn open_pending(&self, pending: TransferId) -> Result<u32, LedgerError> {
        let at = self.record_of(pending).ok_or(LedgerError::PendingNotFound)?;
        let record = &self.records[at as usize];
        if record.kind != Kind::Pending {
            return Err(LedgerError::NotPending);
        }
        match record.state {
            PendingState::Open => Ok(at),
            PendingState::Posted => Err(LedgerError::AlreadyPosted),
            PendingState::Voided => Err(LedgerError::AlreadyVoided),
            PendingState::Expired => Err(LedgerError::Expired),
            PendingState::Held => Err(LedgerError::Held),
        }
    }

    fn check_not_frozen(&self, debit: u32, credit: u32) -> Result<(), LedgerError> {
        if self.accounts[debit as usize].state == AccountState::Frozen {
            return Err(LedgerError::DebitFrozen);
        }
        if self.accounts[credit as usize].state == AccountState::Frozen {
            return Err(LedgerError::CreditFrozen);
        }
        Ok(())
    }

    fn check_not_full(&self) -> Result<(), LedgerError> {
        if self.records.len() < MAX_RECORDS { Ok(()) } else { Err(LedgerError::LedgerFull) }
    }

    /// Whether this deadline still means its pending.
    pub(super) fn is_due(&self, deadline: u64, at: u32) -> bool {
        self.records.get(at as usize).is_some_and(|r| {
            r.kind == Kind::Pending && r.state == PendingState::Open && r.timeout > 0 && r.clock == deadline
        })
    }

    /// Gives back what an open pending reserved and leaves it in `state`.
    pub(super) fn release(&mut self, at: u32, state: PendingState) {
        let record = &mut self.records[at as usize];
        record.state = state;
        let (debit, credit, amount, place) = (record.debit, record.credit, record.applied, record.link as usize);
        self.accounts[debit as usize].balance.debits_pending -= amount;
        self.accounts[credit as usize].balance.credits_pending -= amount;
        self.leave_open(place);
    }

    fn leave_open(&mut self, place: usize) {
        self.open.swap_remove(place);
        if let Some(&moved) = self.open.get(place) {
            self.records[moved as usize].link = place as u32;
        }
    }

    /// Takes back the transfers after the first `mark`, last first. The journal says all there is to undo: deadlines left
    /// behind no longer mean anything, and time does not move within a chain.
    fn undo_to(&mut self, mark: usize) {
        while self.records.len() > mark {
            self.index.remove_last(&self.records);
            let Some(r) = self.records.pop() else { return };
            let (debit, credit) = (r.debit as usize, r.credit as usize);
            match r.kind {
                Kind::Transfer => {
                    self.accounts[debit].balance.debits_posted -= r.applied;
                    self.accounts[credit].balance.credits_posted -= r.applied;
                }
                Kind::Pending => {
                    self.accounts[debit].balance.debits_pending -= r.applied;
                    self.accounts[credit].balance.credits_pending -= r.applied;
                    self.leave_open(r.link as usize);
                }
                Kind::Post | Kind::Void => {
                    let place = self.open.len() as u32;
                    self.open.push(r.link);
                    let pending = &mut self.records[r.link as usize];
                    pending.state = PendingState::Open;
                    pending.link = place;
                    let reserved = pending.applied;
                    let posted = if r.kind == Kind::Post { r.applied } else { 0 };
                    let d = &mut self.accounts[debit].balance;
                    d.debits_posted -= posted;
                    d.debits_pending += reserved;
                    let c = &mut self.accounts[credit].balance;
                    c.credits_posted -= posted;
                    c.credits_pending += reserved;
                }
            }
        }
    }
}
