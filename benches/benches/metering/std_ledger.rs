//! The ledger that hanzo-metering is measured beside.

use std::collections::{BTreeMap, HashMap};

use hanzo_metering::{Timestamp, Transfer, TransferKind};

use super::NOW;

/// What a careful developer writes first: maps by id, limit check, idempotent ids, two phases, expiry, a journal.
#[derive(Clone, Default)]
pub(crate) struct StdLedger {
    pub(crate) accounts: HashMap<u128, StdAccount>,
    transfers: HashMap<u128, (Transfer, bool)>,
    expiry: BTreeMap<(u64, u128), ()>,
    journal: Vec<Transfer>,
}

#[derive(Clone, Copy, Default)]
pub(crate) struct StdAccount {
    pub(crate) debits_pending: u128,
    pub(crate) debits_posted: u128,
    pub(crate) credits_pending: u128,
    pub(crate) credits_posted: u128,
    pub(crate) limited: bool,
}

impl StdLedger {
    fn reserve(&mut self, debit: u128, credit: u128, amount: u128, pending: bool) -> Option<()> {
        let (d, c) = (self.accounts.get(&debit)?, self.accounts.get(&credit)?);
        let sum = d.debits_pending.checked_add(d.debits_posted)?.checked_add(amount)?;
        c.credits_pending.checked_add(c.credits_posted)?.checked_add(amount)?;
        if debit == credit || amount == 0 || (d.limited && sum > d.credits_posted) {
            return None;
        }
        let d = self.accounts.get_mut(&debit)?;
        *(if pending { &mut d.debits_pending } else { &mut d.debits_posted }) += amount;
        let c = self.accounts.get_mut(&credit)?;
        *(if pending { &mut c.credits_pending } else { &mut c.credits_posted }) += amount;
        Some(())
    }

    fn release(&mut self, pending: u128, post: bool) -> Option<()> {
        let (t, open) = self.transfers.get_mut(&pending)?;
        let TransferKind::Pending { debit, credit, amount, timeout_ns, .. } = t.kind else { return None };
        if !std::mem::take(open) {
            return None;
        }
        self.expiry.remove(&(NOW.as_nanos() + timeout_ns, pending));
        let d = self.accounts.get_mut(&debit.get())?;
        d.debits_pending -= amount;
        d.debits_posted += if post { amount } else { 0 };
        let c = self.accounts.get_mut(&credit.get())?;
        c.credits_pending -= amount;
        c.credits_posted += if post { amount } else { 0 };
        Some(())
    }

    pub(crate) fn advance(&mut self, now: Timestamp) {
        while let Some((&(at, pending), ())) = self.expiry.first_key_value() {
            if at > now.as_nanos() {
                return;
            }
            self.release(pending, false).unwrap();
        }
    }

    pub(crate) fn apply(&mut self, t: &Transfer) -> Option<()> {
        let id = t.id.get();
        if let Some((old, _)) = self.transfers.get(&id) {
            return (old == t).then_some(());
        }
        let mut open = false;
        match t.kind {
            TransferKind::Transfer { debit, credit, amount, .. } => {
                self.reserve(debit.get(), credit.get(), amount, false)?;
            }
            TransferKind::Pending { debit, credit, amount, timeout_ns, .. } => {
                self.reserve(debit.get(), credit.get(), amount, true)?;
                self.expiry.insert((NOW.as_nanos() + timeout_ns, id), ());
                open = true;
            }
            TransferKind::Post { pending, .. } => self.release(pending.get(), true)?,
            TransferKind::Void { pending } => self.release(pending.get(), false)?,
        }
        self.transfers.insert(id, (*t, open));
        self.journal.push(*t);
        Some(())
    }
}
