use super::{BONDS, BURN, Legs, Receipt, Treasury, TreasuryError};
use crate::stake::Tally;
use crate::wire::wire_struct;
use crate::{AccountId, Status, Timestamp};
use alloc::vec::Vec;

/// A bond as it stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct BondState {
    /// Who gave it.
    pub account: AccountId,
    /// Base units it was opened with.
    pub amount: u128,
    /// Base units left of it.
    pub left: u128,
    /// Whether it was returned.
    pub returned: bool,
}

#[derive(Debug, Clone)]
pub(super) struct Bond {
    pub(super) state: BondState,
    tally: Tally,
    evidence: Vec<[u8; 32]>,
}

impl Treasury {
    /// The bond of this id.
    pub fn bond_state(&self, bond: u128) -> Option<BondState> {
        self.bonds.get(&bond).map(|b| b.state)
    }

    pub(super) fn bond(
        &mut self,
        now: Timestamp,
        id: u128,
        account: AccountId,
        amount: u128,
    ) -> Result<Receipt, TreasuryError> {
        let receipt = self.single(now, id, account, BONDS, amount)?;
        let state = BondState { account, amount, left: amount, returned: false };
        self.bonds.insert(id, Bond { state, tally: Tally::default(), evidence: Vec::new() });
        Ok(receipt)
    }

    pub(super) fn return_bond(&mut self, now: Timestamp, id: u128, bond: u128) -> Result<Receipt, TreasuryError> {
        let BondState { account, left, .. } = self.live_bond(bond)?.state;
        let mut legs = Legs::new(id);
        legs.push(0, BONDS, account, left)?;
        self.post_new(now, &legs.transfers)?;
        if let Some(bond) = self.bonds.get_mut(&bond) {
            bond.state.left = 0;
            bond.state.returned = true;
        }
        Ok(legs.receipt(Status::New))
    }

    pub(super) fn draw_bond(
        &mut self,
        now: Timestamp,
        id: u128,
        bond: u128,
        to: AccountId,
        amount: u128,
    ) -> Result<Receipt, TreasuryError> {
        let left = self.live_bond(bond)?.state.left;
        if amount > left {
            return Err(TreasuryError::InsufficientBond { left });
        }
        let receipt = self.single(now, id, BONDS, to, amount)?;
        if let Some(bond) = self.bonds.get_mut(&bond) {
            bond.state.left -= amount;
        }
        Ok(receipt)
    }

    #[expect(clippy::too_many_arguments, reason = "the fields of the effect")]
    pub(super) fn slash_bond(
        &mut self,
        now: Timestamp,
        id: u128,
        bond: u128,
        bps: u16,
        reporter: Option<AccountId>,
        reward_bps: u16,
        evidence: [u8; 32],
    ) -> Result<Receipt, TreasuryError> {
        let found = self.live_bond(bond)?;
        if found.evidence.contains(&evidence) {
            return Err(TreasuryError::EvidenceUsed);
        }
        let BondState { amount, left, .. } = found.state;
        let (tally, outcome) = found.tally.slash(amount, left, bps, reporter.is_some(), reward_bps)?;
        let mut legs = Legs::new(id);
        if let Some(reporter) = reporter {
            legs.push(0, BONDS, reporter, outcome.reward)?;
        }
        legs.push(1, BONDS, BURN, outcome.burned)?;
        self.post_new(now, &legs.transfers)?;
        if let Some(bond) = self.bonds.get_mut(&bond) {
            bond.state.left -= outcome.taken;
            bond.tally = tally;
            bond.evidence.push(evidence);
        }
        Ok(legs.receipt(Status::New).with_short(outcome.short))
    }

    fn live_bond(&self, bond: u128) -> Result<&Bond, TreasuryError> {
        let bond = self.bonds.get(&bond).ok_or(TreasuryError::UnknownBond)?;
        if bond.state.returned { Err(TreasuryError::BondReturned) } else { Ok(bond) }
    }
}

wire_struct!(BondState { account, amount, left, returned });
wire_struct!(Bond { state, tally, evidence });
