use super::{Disposition, FeeError, FeeSchedule, Role};
use crate::AccountId;
use crate::wide::BPS;
use crate::wire::{Bytes, Wire, WireError};
use alloc::collections::BTreeMap;
use alloc::vec;
use alloc::vec::Vec;

/// Fee splitting with memory: every recipient of a schedule is within one base unit of its exact share, over
/// any number of payments of any size, so cutting a payment into dust gains nobody anything.
///
/// For each role and account it keeps a carry in `[0, 10_000)`, in ten-thousandths of a base unit. Of an amount `a` a
/// share of `w` basis points is paid `floor((carry + a w) / 10_000)`. The carries always sum to a whole number of base
/// units, the suspense, which stays where the amounts come from until [`finish`](Self::finish).
///
/// ```
/// use hanzo_metering::{AccountId, FeeAccrual, FeeSchedule, Role};
/// # fn main() -> Result<(), hanzo_metering::FeeError> {
/// let (operator, validator) = (AccountId::new(1), AccountId::new(2));
/// let recipients = [(Role::Operator, operator), (Role::Validator, validator)];
/// let mut accrual = FeeAccrual::new(FeeSchedule::hanzo());
/// let mut paid = [0, 0];
/// for _ in 0..1_000 {
///     for (total, (_, part)) in paid.iter_mut().zip(accrual.pay(1, &recipients)?) {
///         *total += part;
///     }
/// }
/// assert_eq!(paid, [900, 100]);
/// # Ok(()) }
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FeeAccrual {
    schedule: FeeSchedule,
    /// One map a share, by account; a burned share has no account. Zero carries are not kept.
    carries: Vec<BTreeMap<Option<AccountId>, u16>>,
}

impl FeeAccrual {
    /// An accrual without carries.
    pub fn new(schedule: FeeSchedule) -> Self {
        let carries = vec![BTreeMap::new(); schedule.shares().len()];
        Self { schedule, carries }
    }

    /// The schedule.
    pub const fn schedule(&self) -> &FeeSchedule {
        &self.schedule
    }

    /// Splits one amount: for each share, in order, the account it goes to (`None`: burned) and what it is paid now.
    /// The parts sum to `amount` plus the old suspense less the new one.
    ///
    /// # Errors
    /// `MissingRole`, `UnknownRole`, `DuplicateRole` where the recipients do not match the schedule's paid shares;
    /// the carries are then unchanged.
    pub fn pay(
        &mut self,
        amount: u128,
        recipients: &[(Role, AccountId)],
    ) -> Result<Vec<(Option<AccountId>, u128)>, FeeError> {
        let parts = self.parts(amount, self.accounts(recipients)?);
        self.commit(&parts);
        Ok(parts.into_iter().map(|part| (part.account, part.amount)).collect())
    }

    /// What the carries sum to, in base units.
    pub fn suspense(&self) -> u128 {
        self.carries.iter().flat_map(BTreeMap::values).map(|&c| u128::from(c)).sum::<u128>() / BPS
    }

    /// The carry of one share and account, in ten-thousandths of a base unit.
    pub fn carry(&self, share: usize, account: Option<AccountId>) -> u16 {
        self.carries.get(share).and_then(|carries| carries.get(&account)).copied().unwrap_or(0)
    }

    /// Pays out the suspense, one base unit each to the largest carries (ties to the lower share, then the lower
    /// account), and forgets the carries.
    pub fn finish(&mut self) -> Vec<(Option<AccountId>, u128)> {
        let suspense = self.suspense();
        let mut carries: Vec<_> = self.carries.iter_mut().flat_map(core::mem::take).collect();
        // Stable, so ties stay in the order of shares and accounts.
        carries.sort_by_key(|&(_, carry)| core::cmp::Reverse(carry));
        // Each carry is below one base unit, so there are more carries than base units.
        carries.into_iter().zip(0..suspense).map(|((account, _), _)| (account, 1)).collect()
    }

    /// The account of each share, checked.
    pub(crate) fn accounts(&self, recipients: &[(Role, AccountId)]) -> Result<Vec<Option<AccountId>>, FeeError> {
        for (i, &(role, _)) in recipients.iter().enumerate() {
            if recipients[..i].iter().any(|&(r, _)| r == role) {
                return Err(FeeError::DuplicateRole { role });
            }
            let paid = |s: &super::Share| s.role == role && s.disposition == Disposition::Pay;
            if !self.schedule.shares().iter().any(paid) {
                return Err(FeeError::UnknownRole { role });
            }
        }
        let account = |share: &super::Share| match share.disposition {
            Disposition::Burn => Ok(None),
            Disposition::Pay => recipients
                .iter()
                .find(|&&(role, _)| role == share.role)
                .map(|&(_, account)| Some(account))
                .ok_or(FeeError::MissingRole { role: share.role }),
        };
        self.schedule.shares().iter().map(account).collect()
    }

    /// What each share would be paid of an amount, and the carry it would have then.
    pub(crate) fn parts(&self, amount: u128, accounts: Vec<Option<AccountId>>) -> Vec<Part> {
        // A remainder below 10,000 times at most 10,000, and a carry below 10,000: 32 bits hold it.
        let (whole, rest) = (amount / BPS, (amount % BPS) as u32);
        let shares = self.schedule.shares().iter().zip(accounts).enumerate();
        let part = |(share, (s, account)): (usize, (&super::Share, Option<AccountId>))| {
            let low = u32::from(self.carry(share, account)) + rest * u32::from(s.bps);
            let amount = whole * u128::from(s.bps) + u128::from(low / UNIT);
            // The carry is below 10,000 by the modulus.
            Part { share, account, amount, carry: (low % UNIT) as u16 }
        };
        shares.map(part).collect()
    }

    /// Makes the carries of `parts` the carries.
    pub(crate) fn commit(&mut self, parts: &[Part]) {
        for part in parts {
            let Some(carries) = self.carries.get_mut(part.share) else { continue };
            match part.carry {
                0 => carries.remove(&part.account),
                carry => carries.insert(part.account, carry),
            };
        }
    }
}

/// One share of one amount.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Part {
    pub(crate) share: usize,
    /// `None`: burned.
    pub(crate) account: Option<AccountId>,
    pub(crate) amount: u128,
    carry: u16,
}

/// Carries of one base unit.
const UNIT: u32 = BPS as u32;

/// The carries; the schedule is part of the treasury's configuration.
impl FeeAccrual {
    pub(crate) fn put_state(&self, out: &mut Vec<u8>) {
        self.carries.put(out);
    }

    pub(crate) fn take_state(&mut self, bytes: &mut Bytes<'_>) -> Result<(), WireError> {
        let carries = Vec::<BTreeMap<Option<AccountId>, u16>>::take(bytes)?;
        let in_range = |c: &u16| *c > 0 && u32::from(*c) < UNIT;
        if carries.len() != self.carries.len() || !carries.iter().flat_map(BTreeMap::values).all(in_range) {
            return Err(WireError::Value);
        }
        self.carries = carries;
        Ok(())
    }
}
