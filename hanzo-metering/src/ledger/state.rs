//! The canonical bytes of a ledger, for snapshots.

use super::account::{Account, AccountFlag, AccountState, NewAccount};
use super::index::MAX_RECORDS;
use super::record::{Kind, Record};
use super::{Ledger, PendingState};
use crate::wire::{Bytes, Wire, WireError, wire_enum, wire_struct};
use crate::{AccountId, TransferId};
use alloc::vec::Vec;
use core::cmp::Reverse;

impl Ledger {
    /// Ledger time, accounts in order of opening, transfers in order, refused ids by rising number.
    pub(crate) fn put_state(&self, out: &mut Vec<u8>) {
        self.now.put(out);
        (self.accounts.len() as u32).put(out);
        for (account, opened) in self.accounts.iter().zip(&self.opened) {
            opened.put(out);
            account.state.put(out);
        }
        (self.records.len() as u32).put(out);
        for record in &self.records {
            record.put(out);
        }
        self.index.refused().put(out);
    }

    /// Fills an empty ledger. Sums are recomputed from the transfers, and audited.
    pub(crate) fn take_state(mut self, bytes: &mut Bytes<'_>) -> Result<Self, WireError> {
        self.now = u64::take(bytes)?;
        for handle in 0..u32::take(bytes)? {
            let (new, state) = (NewAccount::take(bytes)?, AccountState::take(bytes)?);
            if self.by_id.insert(new.id.get(), handle).is_some() {
                return Err(WireError::Value);
            }
            self.accounts.push(Account::new(&new, state));
            self.opened.push(new);
        }
        for at in 0..u32::take(bytes)? {
            let record = Record::take(bytes)?;
            self.restore_record(at, record)?;
        }
        let refused = Vec::<u128>::take(bytes)?;
        self.index.fill(&self.records, &refused).ok_or(WireError::Value)?;
        self.audit().map_err(|_| WireError::Value)?;
        Ok(self)
    }

    /// Forgets everything: the ledger is as when it was made.
    pub(crate) fn clear(&mut self) {
        let state = self.by_id.hasher().clone();
        let fresh = Self::with_ids(self.id_mode(), 0);
        let index = super::index::IdIndex::new(self.id_mode(), state.clone());
        *self = Self { by_id: hashbrown::HashMap::with_hasher(state), index, ..fresh };
    }

    /// Uses an id up; `false` where it is known already.
    pub(crate) fn refuse(&mut self, id: TransferId) -> bool {
        let new = id.get() != 0 && self.index.in_reach(id.get()) && self.index.peek(&self.records, id.get()).is_none();
        if new {
            self.index.push_refused(&self.records, id.get());
        }
        new
    }

    fn restore_record(&mut self, at: u32, mut record: Record) -> Result<(), WireError> {
        if at as usize >= MAX_RECORDS {
            return Err(WireError::Value);
        }
        let linked = matches!(record.kind, Kind::Post | Kind::Void);
        if linked && self.records.get(record.link as usize).is_none_or(|p| p.kind != Kind::Pending) {
            return Err(WireError::Value);
        }
        let (pending, posted) = match record.kind {
            Kind::Transfer | Kind::Post => (0, record.applied),
            Kind::Pending if record.state.is_open() => (record.applied, 0),
            Kind::Pending | Kind::Void => (0, 0),
        };
        if record.kind == Kind::Pending && record.state.is_open() {
            record.link = self.open.len() as u32;
            self.open.push(at);
            if record.timeout > 0 && record.state == PendingState::Open {
                self.deadlines.push(Reverse((record.clock, at)));
            }
        }
        let add = |sum: &mut u128, part: u128| {
            *sum = sum.checked_add(part).ok_or(WireError::Value)?;
            Ok(())
        };
        let debit = &mut self.accounts.get_mut(record.debit as usize).ok_or(WireError::Value)?.balance;
        add(&mut debit.debits_pending, pending)?;
        add(&mut debit.debits_posted, posted)?;
        let credit = &mut self.accounts.get_mut(record.credit as usize).ok_or(WireError::Value)?.balance;
        add(&mut credit.credits_pending, pending)?;
        add(&mut credit.credits_posted, posted)?;
        self.records.push(record);
        Ok(())
    }
}

impl Wire for NewAccount {
    fn put(&self, out: &mut Vec<u8>) {
        self.id.put(out);
        self.ledger.put(out);
        self.code.put(out);
        match self.flag {
            AccountFlag::None => 0u16,
            AccountFlag::DebitsLeCredits => 1,
            AccountFlag::CreditsLeDebits => 2,
        }
        .put(out);
        self.credit_limit.put(out);
        self.owner.put(out);
    }

    fn take(bytes: &mut Bytes<'_>) -> Result<Self, WireError> {
        Ok(Self {
            id: AccountId::take(bytes)?,
            ledger: u32::take(bytes)?,
            code: u16::take(bytes)?,
            flag: match u16::take(bytes)? {
                0 => AccountFlag::None,
                1 => AccountFlag::DebitsLeCredits,
                2 => AccountFlag::CreditsLeDebits,
                _ => return Err(WireError::Value),
            },
            credit_limit: u128::take(bytes)?,
            owner: bytes.array()?,
        })
    }
}

impl Wire for Record {
    fn put(&self, out: &mut Vec<u8>) {
        self.id.put(out);
        (self.debit, self.credit).put(out);
        (self.requested, self.applied).put(out);
        // The link of a pending is its place in a list that has no order.
        if self.kind == Kind::Pending { 0 } else { self.link }.put(out);
        (self.created, self.timeout, self.clock).put(out);
        (self.kind, self.state).put(out);
        (self.balancing, self.code).put(out);
    }

    fn take(bytes: &mut Bytes<'_>) -> Result<Self, WireError> {
        let id = u128::take(bytes)?;
        let (debit, credit) = Wire::take(bytes)?;
        let (requested, applied) = Wire::take(bytes)?;
        let link = u32::take(bytes)?;
        let (created, timeout, clock) = Wire::take(bytes)?;
        let (kind, state) = Wire::take(bytes)?;
        let (balancing, code) = Wire::take(bytes)?;
        Ok(Self { id, requested, applied, created, timeout, clock, debit, credit, link, code, kind, state, balancing })
    }
}

wire_enum!(AccountState { 0 => Active, 1 => Frozen, 2 => Closed });
wire_enum!(Kind { 0 => Transfer, 1 => Pending, 2 => Post, 3 => Void });
wire_enum!(PendingState { 0 => Open, 1 => Held, 2 => Posted, 3 => Voided, 4 => Expired });
wire_struct!(crate::Posting { debit, credit, amount });

impl Wire for AccountId {
    fn put(&self, out: &mut Vec<u8>) {
        self.get().put(out);
    }
    fn take(bytes: &mut Bytes<'_>) -> Result<Self, WireError> {
        Ok(Self::new(u128::take(bytes)?))
    }
}

impl Wire for TransferId {
    fn put(&self, out: &mut Vec<u8>) {
        self.get().put(out);
    }
    fn take(bytes: &mut Bytes<'_>) -> Result<Self, WireError> {
        Ok(Self::new(u128::take(bytes)?))
    }
}
