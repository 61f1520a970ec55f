use super::{BONDS, BURN, CLEARING, MINT, STAKE, Treasury, TreasuryError};
use crate::AccountId;

/// Where every base unit is, recomputed from the journal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TreasuryAudit {
    /// Ever minted.
    pub minted: u128,
    /// Ever burned.
    pub burned: u128,
    /// `minted - burned`, which is `wallets + staked + bonded + suspense`.
    pub supply: u128,
    /// In wallets, what is locked in escrow included.
    pub wallets: u128,
    /// At stake.
    pub staked: u128,
    /// In bonds.
    pub bonded: u128,
    /// Carries of the fees, in clearing.
    pub suspense: u128,
    /// Of the wallets, locked in escrow.
    pub locked: u128,
    /// Escrows that are locked or disputed.
    pub open_escrows: usize,
    /// Transfers in the journal.
    pub transfers: usize,
}

impl Treasury {
    /// [Audits the ledger](crate::Ledger::audit) and then compares it with the stakes, bonds, escrows and carries, so that
    /// every base unit ever minted is found burned or in exactly one place. O(accounts + transfers).
    ///
    /// # Errors
    /// `AuditMismatch`; it would mean a defect of this crate or of the memory it runs in.
    pub fn audit(&self) -> Result<TreasuryAudit, TreasuryError> {
        let ledger = self.ledger.audit()?;
        let balance = |id: AccountId| self.ledger.balance_of(id).ok_or(TreasuryError::AuditMismatch);
        let (minted, burned) = (balance(MINT)?.debits_posted, balance(BURN)?.credits_posted);
        let (staked, bonded) = (balance(STAKE)?.net(), balance(BONDS)?.net());
        let clearing = balance(CLEARING)?;
        let mut wallets: u128 = 0;
        let mut locked: u128 = 0;
        for (_, account, b) in self.ledger.accounts() {
            if super::check_wallet(account.id).is_ok() {
                let net = b.credits_posted.checked_sub(b.debits_posted).ok_or(TreasuryError::AuditMismatch)?;
                wallets = wallets.checked_add(net).ok_or(TreasuryError::AuditMismatch)?;
                locked = locked.checked_add(b.debits_pending).ok_or(TreasuryError::AuditMismatch)?;
            }
        }
        let supply = minted.checked_sub(burned).ok_or(TreasuryError::AuditMismatch)?;
        let suspense = sum(self.fees.iter().map(|f| f.suspense()))?;
        let places = sum([wallets, staked, bonded, suspense])?;
        let bonds = sum(self.bonds.values().map(|b| b.state.left))?;
        if places != supply
            || clearing.net() != suspense
            || clearing.credits_pending != locked
            || self.stakes.total() != Some(staked)
            || bonds != bonded
        {
            return Err(TreasuryError::AuditMismatch);
        }
        Ok(TreasuryAudit {
            minted,
            burned,
            supply,
            wallets,
            staked,
            bonded,
            suspense,
            locked,
            open_escrows: ledger.open_pendings,
            transfers: ledger.transfers,
        })
    }
}

fn sum(parts: impl IntoIterator<Item = u128>) -> Result<u128, TreasuryError> {
    let add = |sum: u128, part| sum.checked_add(part);
    parts.into_iter().try_fold(0, add).ok_or(TreasuryError::AuditMismatch)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Effect, FeeSchedule, Role, Timestamp, TreasuryConfig};
    use alloc::vec;

    #[test]
    fn every_unit_is_in_one_place_and_tampering_is_found() {
        let now = Timestamp::from_nanos(1);
        let mut treasury = Treasury::new(TreasuryConfig::new(1, [FeeSchedule::hanzo()])).unwrap();
        let a = treasury.open_party(now, &[1; 32]).unwrap();
        let b = treasury.open_party(now, &[2; 32]).unwrap().get();
        let from = a.get();
        let recipients = vec![(Role::Operator, b), (Role::Validator, b)];
        for effect in [
            Effect::Mint { id: 10, to: from, amount: 1_000 },
            Effect::Burn { id: 11, from, amount: 1 },
            Effect::Lock { id: 12, from, amount: 30, timeout_ns: 0 },
            Effect::Bond { id: 13, account: from, amount: 200 },
            Effect::Split { id: 14, from, schedule: 0, recipients, amount: 1 },
        ] {
            treasury.apply(now, &effect).unwrap();
        }
        treasury.bond_stake(now, 15, a, 100).unwrap();
        let audit = TreasuryAudit {
            minted: 1_000,
            burned: 1,
            supply: 999,
            wallets: 698,
            staked: 100,
            bonded: 200,
            suspense: 1,
            locked: 30,
            open_escrows: 1,
            transfers: 6,
        };
        assert_eq!(treasury.audit(), Ok(audit));
        let tampers: [fn(&mut Treasury, AccountId); 3] = [
            |t, a| t.stakes.bond(a, 1).unwrap(),
            |t, _| t.bonds.get_mut(&13).unwrap().state.left -= 1,
            |t, _| drop(t.fees[0].finish()),
        ];
        for tamper in tampers {
            let mut treasury = treasury.clone();
            tamper(&mut treasury, a);
            assert_eq!(treasury.audit(), Err(TreasuryError::AuditMismatch));
        }
    }
}
