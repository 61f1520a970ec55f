use super::{BURN, CLEARING, Legs, Posting, Receipt, Treasury, TreasuryError, wallets};
use crate::fees::Role;
use crate::wide::{BPS, bps_of};
use crate::{AccountId, PendingState, Status, Timestamp, Transfer, TransferId};

/// Where an escrow stands; the last three are for good.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum EscrowState {
    /// Reserved, the clock running.
    Locked,
    /// Reserved, the clock stopped.
    Disputed,
    /// Paid out, wholly or in part.
    Settled,
    /// Given back.
    Refunded,
    /// Given back by its timeout.
    Expired,
}

struct Escrow {
    client: AccountId,
    amount: u128,
    state: EscrowState,
}

impl Treasury {
    /// Where the escrow of this id stands, as of ledger time.
    pub fn escrow(&self, escrow: u128) -> Option<EscrowState> {
        self.find_escrow(escrow).map(|e| e.state)
    }

    pub(super) fn lock(
        &mut self,
        now: Timestamp,
        id: u128,
        from: AccountId,
        amount: u128,
        timeout_ns: u64,
    ) -> Result<Receipt, TreasuryError> {
        let timeout_ns = if timeout_ns == 0 { self.escrow_timeout_ns } else { timeout_ns };
        self.post_new(now, &[Transfer::pending(TransferId::new(id), from, CLEARING, amount, timeout_ns)])?;
        Ok(Legs::new(id).receipt(Status::New))
    }

    pub(super) fn settle(
        &mut self,
        now: Timestamp,
        escrow: u128,
        bps: u16,
        recipients: &[(Role, u128)],
    ) -> Result<Receipt, TreasuryError> {
        if u128::from(bps) > BPS {
            return Err(TreasuryError::BadBps { bps });
        }
        if bps == 0 {
            return self.refund(now, escrow);
        }
        let accrual = self.accrual(0)?;
        let accounts = accrual.accounts(&wallets(recipients)?)?;
        let Escrow { client, amount, state } = self.live_escrow(escrow)?;
        let paid = bps_of(amount, bps);
        if paid == 0 {
            return self.refund(now, escrow);
        }
        let parts = accrual.parts(paid, accounts);
        let mut legs = Legs::new(escrow);
        let post = TransferId::escrow_leg(escrow, 0);
        legs.transfers.push(Transfer::post(post, TransferId::new(escrow), Some(paid)));
        legs.postings.push(Posting { debit: client, credit: CLEARING, amount: paid });
        for part in &parts {
            legs.push(part.share + 1, CLEARING, part.account.unwrap_or(BURN), part.amount)?;
        }
        self.end_escrow(now, escrow, state, &legs.transfers)?;
        if let Some(accrual) = self.fees.first_mut() {
            accrual.commit(&parts);
        }
        Ok(Receipt { released: amount - paid, ..legs.receipt(Status::New) })
    }

    pub(super) fn refund(&mut self, now: Timestamp, escrow: u128) -> Result<Receipt, TreasuryError> {
        let Escrow { amount, state, .. } = self.live_escrow(escrow)?;
        let void = Transfer::void(TransferId::escrow_leg(escrow, 0), TransferId::new(escrow));
        self.end_escrow(now, escrow, state, &[void])?;
        Ok(Receipt { released: amount, ..Legs::new(escrow).receipt(Status::New) })
    }

    pub(super) fn dispute(&mut self, now: Timestamp, escrow: u128) -> Result<Receipt, TreasuryError> {
        if self.live_escrow(escrow)?.state == EscrowState::Disputed {
            return Err(TreasuryError::AlreadyDisputed);
        }
        self.ledger.hold(now, TransferId::new(escrow))?;
        Ok(Legs::new(escrow).receipt(Status::New))
    }

    pub(super) fn resume(&mut self, now: Timestamp, escrow: u128) -> Result<Receipt, TreasuryError> {
        if self.live_escrow(escrow)?.state != EscrowState::Disputed {
            return Err(TreasuryError::NotDisputed);
        }
        self.ledger.release_hold(now, TransferId::new(escrow))?;
        Ok(Legs::new(escrow).receipt(Status::New))
    }

    /// Applies the legs that end an escrow, out of a hold if need be; on an error the hold is as before.
    fn end_escrow(
        &mut self,
        now: Timestamp,
        escrow: u128,
        state: EscrowState,
        legs: &[Transfer],
    ) -> Result<(), TreasuryError> {
        let pending = TransferId::new(escrow);
        if state != EscrowState::Disputed {
            return self.post_new(now, legs);
        }
        self.ledger.release_hold(now, pending)?;
        let result = self.post_new(now, legs);
        if result.is_err() {
            // Time did not move in between, so the time left is the same.
            self.ledger.hold(now, pending)?;
        }
        result
    }

    fn live_escrow(&self, escrow: u128) -> Result<Escrow, TreasuryError> {
        let found = self.find_escrow(escrow).ok_or(TreasuryError::UnknownEscrow)?;
        match found.state {
            EscrowState::Locked | EscrowState::Disputed => Ok(found),
            state => Err(TreasuryError::Terminal { state }),
        }
    }

    /// Locks are the only pending transfers of a treasury, so the ledger knows all about them.
    fn find_escrow(&self, escrow: u128) -> Option<Escrow> {
        let entry = self.ledger.transfer(TransferId::new(escrow))?;
        let crate::TransferKind::Pending { debit, .. } = entry.transfer.kind else { return None };
        let state = match entry.pending? {
            PendingState::Open => EscrowState::Locked,
            PendingState::Held => EscrowState::Disputed,
            PendingState::Posted => EscrowState::Settled,
            PendingState::Voided => EscrowState::Refunded,
            PendingState::Expired => EscrowState::Expired,
        };
        Some(Escrow { client: debit, amount: entry.amount, state })
    }
}
