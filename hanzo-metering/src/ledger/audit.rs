use super::record::Kind;
use super::{Balance, Ledger, LedgerError, PendingState};
use alloc::collections::BTreeMap;
use alloc::vec;
use alloc::vec::Vec;
use ruint::aliases::U256;

/// The sums of a ledger, recomputed from its journal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Audit {
    /// One entry an asset, by rising number.
    pub ledgers: Vec<LedgerTotals>,
    /// Pendings that are open or held.
    pub open_pendings: usize,
    /// Transfers in the journal.
    pub transfers: usize,
}

/// The sums over all accounts of one asset.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LedgerTotals {
    /// The asset.
    pub ledger: u32,
    /// Accounts that count in it.
    pub accounts: usize,
    /// Posted debits, which equal posted credits; `None` where the sum passes `u128` (it is compared in 256 bits).
    pub posted: Option<u128>,
    /// Pending debits, which equal pending credits; `None` where the sum passes `u128`.
    pub pending: Option<u128>,
}

impl Ledger {
    /// Recomputes every sum from the journal alone and compares it with what the accounts hold; checks that debits
    /// equal credits in each asset, posted and pending, that every open pending is counted once and that no
    /// limited account is past its limit.
    ///
    /// O(accounts + transfers) time and O(accounts) space.
    ///
    /// # Errors
    /// `AuditMismatch`; it would mean a defect of this crate or of the memory it runs in.
    pub fn audit(&self) -> Result<Audit, LedgerError> {
        let mut sums = vec![Balance::default(); self.accounts.len()];
        let mut open_pendings = 0;
        for r in &self.records {
            let (pending, posted) = match r.kind {
                Kind::Transfer | Kind::Post => (0, r.applied),
                Kind::Pending if r.state.is_open() => (r.applied, 0),
                Kind::Pending | Kind::Void => (0, 0),
            };
            if pending > 0 {
                open_pendings += 1;
            }
            let d = sums.get_mut(r.debit as usize).ok_or(LedgerError::AuditMismatch)?;
            add(&mut d.debits_pending, pending)?;
            add(&mut d.debits_posted, posted)?;
            let c = sums.get_mut(r.credit as usize).ok_or(LedgerError::AuditMismatch)?;
            add(&mut c.credits_pending, pending)?;
            add(&mut c.credits_posted, posted)?;
        }
        let mut totals: BTreeMap<u32, (usize, [U256; 4])> = BTreeMap::new();
        for (account, sum) in self.accounts.iter().zip(&sums) {
            let over = |room: Option<u128>, posted: u128, pending: u128, base: u128| {
                room.is_some() && posted.saturating_add(pending) > base.saturating_add(account.credit_limit)
            };
            if account.balance != *sum
                || over(account.debit_room(), sum.debits_posted, sum.debits_pending, sum.credits_posted)
                || over(account.credit_room(), sum.credits_posted, sum.credits_pending, sum.debits_posted)
            {
                return Err(LedgerError::AuditMismatch);
            }
            let (count, total) = totals.entry(account.ledger).or_default();
            *count += 1;
            let parts = [sum.debits_posted, sum.credits_posted, sum.debits_pending, sum.credits_pending];
            for (t, part) in total.iter_mut().zip(parts) {
                // At most 2^32 accounts of 2^128 each.
                *t += U256::from(part);
            }
        }
        let listed = self.open.iter().enumerate().all(|(place, &at)| {
            self.records.get(at as usize).is_some_and(|r| {
                r.kind == Kind::Pending
                    && matches!(r.state, PendingState::Open | PendingState::Held)
                    && r.link as usize == place
            })
        });
        if !listed || open_pendings != self.open.len() {
            return Err(LedgerError::AuditMismatch);
        }
        let mut ledgers = Vec::with_capacity(totals.len());
        for (ledger, (accounts, [debits, credits, debits_pending, credits_pending])) in totals {
            if debits != credits || debits_pending != credits_pending {
                return Err(LedgerError::AuditMismatch);
            }
            let narrow = |sum: U256| u128::try_from(sum).ok();
            ledgers.push(LedgerTotals { ledger, accounts, posted: narrow(debits), pending: narrow(debits_pending) });
        }
        Ok(Audit { ledgers, open_pendings, transfers: self.records.len() })
    }
}

fn add(sum: &mut u128, part: u128) -> Result<(), LedgerError> {
    *sum = sum.checked_add(part).ok_or(LedgerError::AuditMismatch)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{AccountFlag, AccountId, NewAccount, Timestamp, Transfer, TransferId};

    fn ledger() -> Ledger {
        let now = Timestamp::from_nanos(1);
        let mut ledger = Ledger::new();
        for id in [1, 2] {
            let flag = if id == 1 { AccountFlag::None } else { AccountFlag::DebitsLeCredits };
            ledger.open(now, NewAccount { flag, ..NewAccount::new(AccountId::new(id), 1) }).unwrap();
        }
        let (a, b) = (AccountId::new(1), AccountId::new(2));
        ledger.apply(now, &Transfer::new(TransferId::new(1), a, b, 50)).unwrap();
        ledger.apply(now, &Transfer::pending(TransferId::new(2), b, a, 20, 0)).unwrap();
        ledger
    }

    #[test]
    fn sums_are_those_of_the_journal() {
        let totals = LedgerTotals { ledger: 1, accounts: 2, posted: Some(50), pending: Some(20) };
        assert_eq!(ledger().audit(), Ok(Audit { ledgers: vec![totals], open_pendings: 1, transfers: 2 }));
    }

    #[test]
    fn any_tampering_is_found() {
        let tampers: [fn(&mut Ledger); 6] = [
            |l| l.accounts[1].balance.credits_posted += 1,
            |l| l.accounts[0].balance.debits_posted -= 1,
            |l| l.records[0].applied += 1,
            |l| l.records[1].state = PendingState::Voided,
            |l| l.open.clear(),
            // Both sides of a transfer past the wallet's limit.
            |l| {
                l.records[1].applied = 51;
                l.accounts[1].balance.debits_pending = 51;
                l.accounts[0].balance.credits_pending = 51;
            },
        ];
        for (i, tamper) in tampers.into_iter().enumerate() {
            let mut ledger = ledger();
            tamper(&mut ledger);
            assert_eq!(ledger.audit(), Err(LedgerError::AuditMismatch), "tampering {i}");
        }
    }
}
