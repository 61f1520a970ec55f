//! The treasury: one asset, its supply, and every movement of it by effects that can be sent twice.

mod audit;
mod bond;
mod effect;
mod error;
mod escrow;
mod state;

pub use audit::TreasuryAudit;
pub use bond::BondState;
pub use effect::{Effect, Posting, Receipt};
pub use error::TreasuryError;
pub use escrow::EscrowState;

use crate::fees::{FeeAccrual, FeeError, FeeSchedule, Role, distribute};
use crate::stake::{SlashOrder, Slashed, Stakes};
use crate::{
    AccountFlag, AccountId, Entry, Ledger, LedgerError, LinkedError, NewAccount, Opened, Status, Timestamp, Transfer,
    TransferId,
};
use alloc::vec::Vec;
use bond::Bond;
use foldhash::fast::FixedState;
use hashbrown::HashMap;

/// How a [`Treasury`] is set up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TreasuryConfig {
    /// The asset: the ledger of all accounts.
    pub asset: u32,
    /// Fee schedules; [`Effect::Settle`] uses the first, [`Effect::Split`] names one by index.
    pub schedules: Vec<FeeSchedule>,
    /// Most base units that may ever be minted.
    pub max_supply: u128,
    /// How long a lock lasts that names no timeout; it must cover the job and the time to contest it.
    pub escrow_timeout_ns: u64,
    /// How long unbonding a stake takes; see [`Stakes::new`].
    pub unbonding_ns: u64,
    /// Seed of the hash tables; see [`Ledger::with_hash_seed`].
    pub hash_seed: u64,
}

impl TreasuryConfig {
    /// One asset with these schedules, no cap on the supply, locks of 24 hours and unbonding in 7 days.
    pub fn new(asset: u32, schedules: impl IntoIterator<Item = FeeSchedule>) -> Self {
        Self {
            asset,
            schedules: schedules.into_iter().collect(),
            max_supply: u128::MAX,
            escrow_timeout_ns: 24 * 3_600 * 1_000_000_000,
            unbonding_ns: 7 * 24 * 3_600 * 1_000_000_000,
            hash_seed: 0,
        }
    }

    /// The same with unbonding that takes no less than `min_delay_ns`: the longest time from an offence to its verdict
    /// (`hanzo-poai` computes it for its rules), so that nobody can leave with a stake that is about to be slashed.
    pub const fn covering(mut self, min_delay_ns: u64) -> Self {
        if self.unbonding_ns < min_delay_ns {
            self.unbonding_ns = min_delay_ns;
        }
        self
    }
}

/// One asset and everything that may happen to it.
///
/// It owns a [`Ledger`], the [`Stakes`], one [`FeeAccrual`] a schedule and five system accounts that no effect can name:
/// the mint (its debits are what was ever minted), the burn account (its credits are what was burned), the clearing
/// account (escrow on its way, and the suspense of the fees), the stake pool and the bond pool. All other accounts
/// are wallets that cannot go below zero.
///
/// ```
/// use hanzo_metering::{Effect, FeeSchedule, Role, Timestamp, Treasury, TreasuryConfig};
/// # fn main() -> Result<(), hanzo_metering::TreasuryError> {
/// let now = Timestamp::from_nanos(1);
/// let mut treasury = Treasury::new(TreasuryConfig::new(1, [FeeSchedule::hanzo()]))?;
/// let client = treasury.open_party(now, &[1; 32])?.get();
/// let operator = treasury.open_party(now, &[2; 32])?.get();
/// let validator = treasury.open_party(now, &[3; 32])?.get();
/// treasury.apply(now, &Effect::Mint { id: 1, to: client, amount: 1_000 })?;
/// treasury.apply(now, &Effect::Lock { id: 2, from: client, amount: 500, timeout_ns: 0 })?;
/// let settle = Effect::Settle {
///     id: 3, escrow: 2, bps: 10_000, recipients: vec![(Role::Operator, operator), (Role::Validator, validator)],
/// };
/// treasury.apply(now, &settle)?;
/// treasury.apply(now, &settle)?; // a second time changes nothing
/// assert_eq!(treasury.available(operator), 450);
/// assert_eq!(treasury.audit()?.supply, 1_000);
/// # Ok(()) }
/// ```
#[derive(Debug, Clone)]
pub struct Treasury {
    asset: u32,
    escrow_timeout_ns: u64,
    ledger: Ledger,
    stakes: Stakes,
    fees: Vec<FeeAccrual>,
    effects: HashMap<u128, (Effect, Option<Receipt>), FixedState>,
    bonds: HashMap<u128, Bond, FixedState>,
    /// By the id of the call: account, amount and release.
    unbondings: HashMap<u128, (AccountId, u128, Timestamp), FixedState>,
}

impl Treasury {
    /// An empty treasury at time 0.
    ///
    /// # Errors
    /// `LedgerError::ZeroAmount` where the supply cap is 0.
    pub fn new(config: TreasuryConfig) -> Result<Self, TreasuryError> {
        if config.max_supply == 0 {
            return Err(LedgerError::ZeroAmount.into());
        }
        let mut ledger = Ledger::with_hash_seed(config.hash_seed);
        for id in SYSTEM {
            // The mint may be overdrawn by the supply cap; what the burn account gets never leaves it.
            let credit_limit = if id == MINT { config.max_supply } else { 0 };
            let flag = AccountFlag::DebitsLeCredits;
            ledger.open(Timestamp::ZERO, NewAccount { flag, credit_limit, ..NewAccount::new(id, config.asset) })?;
        }
        let state = FixedState::with_seed(config.hash_seed);
        Ok(Self {
            asset: config.asset,
            escrow_timeout_ns: config.escrow_timeout_ns,
            ledger,
            stakes: Stakes::new(config.unbonding_ns),
            fees: config.schedules.into_iter().map(FeeAccrual::new).collect(),
            effects: HashMap::with_hasher(state.clone()),
            bonds: HashMap::with_hasher(state.clone()),
            unbondings: HashMap::with_hasher(state),
        })
    }

    /// Opens the wallet of a 32-byte party, or finds it open.
    ///
    /// # Errors
    /// `ClockBackwards`; `OwnerMismatch` where another party's id is the same.
    pub fn open_party(&mut self, now: Timestamp, party: &[u8; 32]) -> Result<AccountId, TreasuryError> {
        let id = AccountId::of_party(party);
        self.open_wallet(now, id, *party)?;
        Ok(id)
    }

    /// Opens a wallet of this id and owner, or finds it open.
    ///
    /// # Errors
    /// `SystemAccount`, and as [`Ledger::open`].
    pub fn open_wallet(&mut self, now: Timestamp, id: AccountId, owner: [u8; 32]) -> Result<Opened, TreasuryError> {
        check_wallet(id)?;
        let flag = AccountFlag::DebitsLeCredits;
        Ok(self.ledger.open(now, NewAccount { flag, owner, ..NewAccount::new(id, self.asset) })?)
    }

    /// Applies an effect. The same effect again gives the same receipt, marked `Existing`; an id whose effect was refused
    /// for a reason that [depends on the state](TreasuryError::depends_on_state) is used up. A [`Effect::Slash`] is
    /// identified by its evidence, and may be tried again after a refusal.
    ///
    /// # Errors
    /// `ClockBackwards`; `IdConflict` and `IdAlreadyFailed`; what is wrong with the effect; what the ledger says.
    /// Nothing is changed save ledger time and the use of the id.
    pub fn apply(&mut self, now: Timestamp, effect: &Effect) -> Result<Receipt, TreasuryError> {
        self.ledger.advance(now)?;
        let id = match *effect {
            Effect::Slash { account, epoch, bps, evidence, reporter, reward_bps } => {
                let (account, reporter) = (wallet(account)?, reporter.map(wallet).transpose()?);
                return self.slash(now, &SlashOrder { account, epoch, bps, evidence, reporter, reward_bps });
            }
            _ => effect.id(),
        };
        match id {
            0 => return Err(LedgerError::ZeroId.into()),
            u128::MAX => return Err(LedgerError::MaxId.into()),
            _ => {}
        }
        match self.effects.get(&id) {
            Some((old, _)) if old != effect => return Err(TreasuryError::IdConflict),
            Some((_, None)) => return Err(LedgerError::IdAlreadyFailed.into()),
            Some((_, Some(receipt))) => return Ok(Receipt { status: Status::Existing, ..receipt.clone() }),
            None => {}
        }
        let result = self.apply_new(now, id, effect);
        match &result {
            Ok(receipt) => {
                self.effects.insert(id, (effect.clone(), Some(receipt.clone())));
            }
            Err(error) if error.depends_on_state() => {
                self.effects.insert(id, (effect.clone(), None));
            }
            Err(_) => {}
        }
        result
    }

    /// Moves `amount` of a wallet into its stake. `id` identifies the call as an effect's id does.
    ///
    /// # Errors
    /// `SystemAccount`, `StakeError::Overflow`, and as [`Ledger::apply`]; a refused id is not used up.
    pub fn bond_stake(
        &mut self,
        now: Timestamp,
        id: u128,
        account: AccountId,
        amount: u128,
    ) -> Result<Status, TreasuryError> {
        check_wallet(account)?;
        // The stake pool is one account, so its sum bounds every stake.
        let status = self.post(now, &[Transfer::new(TransferId::new(id), account, STAKE, amount)])?;
        if status == Status::New {
            self.stakes.bond(account, amount)?;
        }
        Ok(status)
    }

    /// Begins to take `amount` out of a stake; returns when it can be withdrawn. `id` identifies the call among those
    /// of this kind: the same call again gives the same answer.
    ///
    /// # Errors
    /// `ClockBackwards`; `IdConflict`; as [`Stakes::unbond`]; a refused id is not used up.
    pub fn unbond_stake(
        &mut self,
        now: Timestamp,
        id: u128,
        account: AccountId,
        amount: u128,
    ) -> Result<Timestamp, TreasuryError> {
        self.ledger.advance(now)?;
        match self.unbondings.get(&id) {
            Some(&(a, n, release)) if (a, n) == (account, amount) => return Ok(release),
            Some(_) => return Err(TreasuryError::IdConflict),
            None => {}
        }
        let release = self.stakes.unbond(now, account, amount)?;
        self.unbondings.insert(id, (account, amount, release));
        Ok(release)
    }

    /// Pays what has matured of a stake back into its wallet, and returns it; the same `id` again gives the same answer,
    /// unless nothing had matured.
    ///
    /// # Errors
    /// `IdConflict` where the id is known for something else; as [`Ledger::apply`]; a refused id is not used up.
    pub fn withdraw_stake(&mut self, now: Timestamp, id: u128, account: AccountId) -> Result<u128, TreasuryError> {
        self.ledger.advance(now)?;
        let id = TransferId::new(id);
        if let Some(Entry { transfer, amount, .. }) = self.ledger.transfer(id) {
            let same = Transfer::new(id, STAKE, account, amount) == transfer;
            return if same { Ok(amount) } else { Err(TreasuryError::IdConflict) };
        }
        let amount = self.stakes.withdrawable(now, account);
        if amount > 0 {
            self.post_new(now, &[Transfer::new(id, STAKE, account, amount)])?;
            self.stakes.withdraw(now, account);
        }
        Ok(amount)
    }

    /// Begins an epoch of the stakes.
    ///
    /// # Errors
    /// As [`Stakes::begin_epoch`].
    pub fn begin_epoch(&mut self, epoch: u64) -> Result<(), TreasuryError> {
        Ok(self.stakes.begin_epoch(epoch)?)
    }

    /// Pays out the suspense of a schedule, largest carry first, and forgets its carries. `id` identifies the call as
    /// an effect's id does.
    ///
    /// # Errors
    /// `UnknownSchedule`; as [`Ledger::apply_linked`], the carries then unchanged.
    pub fn finish_fees(&mut self, now: Timestamp, id: u128, schedule: u32) -> Result<Vec<Posting>, TreasuryError> {
        let mut finished = self.accrual(schedule)?.clone();
        let mut legs = Legs::new(id);
        for (i, (account, amount)) in finished.finish().into_iter().enumerate() {
            legs.push(i + 1, CLEARING, account.unwrap_or(BURN), amount)?;
        }
        self.post_new(now, &legs.transfers)?;
        if let Some(accrual) = self.fees.get_mut(schedule as usize) {
            *accrual = finished;
        }
        Ok(legs.postings)
    }

    /// Keeps a wallet out of all movements, or lets it take part again.
    ///
    /// # Errors
    /// `SystemAccount`; as [`Ledger::freeze`].
    pub fn set_frozen(&mut self, now: Timestamp, account: AccountId, frozen: bool) -> Result<(), TreasuryError> {
        check_wallet(account)?;
        if frozen {
            self.ledger.freeze(now, account)?
        } else {
            self.ledger.unfreeze(now, account)?
        }
        Ok(())
    }

    /// Moves time on, so that locks that are due expire. Returns how many did.
    ///
    /// # Errors
    /// `ClockBackwards`.
    pub fn advance(&mut self, now: Timestamp) -> Result<usize, TreasuryError> {
        Ok(self.ledger.advance(now)?)
    }

    /// What a wallet can spend; 0 for an unknown one.
    pub fn available(&self, account: impl Into<AccountId>) -> u128 {
        self.ledger.balance_of(account.into()).map_or(0, |b| b.available())
    }

    /// The ledger, to read.
    pub const fn ledger(&self) -> &Ledger {
        &self.ledger
    }

    /// The stakes, to read.
    pub const fn stakes(&self) -> &Stakes {
        &self.stakes
    }

    /// The fee accruals, one a schedule, to read.
    pub fn fees(&self) -> &[FeeAccrual] {
        &self.fees
    }

    pub(crate) const fn ledger_mut(&mut self) -> &mut Ledger {
        &mut self.ledger
    }

    /// How many ids effects have used up, accepted or refused.
    pub(crate) fn uses(&self) -> usize {
        self.effects.len()
    }

    fn apply_new(&mut self, now: Timestamp, id: u128, effect: &Effect) -> Result<Receipt, TreasuryError> {
        match *effect {
            Effect::Pay { from, to, amount, .. } => self.single(now, id, wallet(from)?, wallet(to)?, amount),
            Effect::Burn { from, amount, .. } => self.single(now, id, wallet(from)?, BURN, amount),
            Effect::Mint { to, amount, .. } => self.single(now, id, MINT, wallet(to)?, amount),
            Effect::Split { from, schedule, ref recipients, amount, .. } => {
                self.split(now, id, wallet(from)?, schedule, recipients, amount)
            }
            Effect::Distribute { from, ref shares, amount, .. } => {
                self.distribute(now, id, wallet(from)?, shares, amount)
            }
            Effect::Lock { from, amount, timeout_ns, .. } => self.lock(now, id, wallet(from)?, amount, timeout_ns),
            Effect::Settle { escrow, bps, ref recipients, .. } => self.settle(now, escrow, bps, recipients),
            Effect::Refund { escrow, .. } => self.refund(now, escrow),
            Effect::Dispute { escrow, .. } => self.dispute(now, escrow),
            Effect::Resume { escrow, .. } => self.resume(now, escrow),
            Effect::Bond { account, amount, .. } => self.bond(now, id, wallet(account)?, amount),
            Effect::ReturnBond { bond, .. } => self.return_bond(now, id, bond),
            Effect::DrawBond { bond, to, amount, .. } => {
                let to = to.map_or(Ok(BURN), wallet)?;
                self.draw_bond(now, id, bond, to, amount)
            }
            Effect::SlashBond { bond, bps, reporter, reward_bps, evidence, .. } => {
                self.slash_bond(now, id, bond, bps, reporter.map(wallet).transpose()?, reward_bps, evidence)
            }
            // Its id is its evidence; `apply` has sent it to `slash`.
            Effect::Slash { .. } => Err(TreasuryError::IdConflict),
        }
    }

    fn slash(&mut self, now: Timestamp, order: &SlashOrder) -> Result<Receipt, TreasuryError> {
        if let Some(outcome) = self.stakes.known_slash(order)? {
            return Ok(slash_legs(order, &outcome).receipt(Status::Existing).with_short(outcome.short));
        }
        let assessed = self.stakes.assess(order)?;
        let legs = slash_legs(order, &assessed.outcome);
        self.post_new(now, &legs.transfers)?;
        self.stakes.commit(order, &assessed);
        Ok(legs.receipt(Status::New).with_short(assessed.outcome.short))
    }

    fn single(
        &mut self,
        now: Timestamp,
        id: u128,
        from: AccountId,
        to: AccountId,
        amount: u128,
    ) -> Result<Receipt, TreasuryError> {
        let mut legs = Legs::new(id);
        legs.push_as(TransferId::new(id), from, to, amount);
        self.post_new(now, &legs.transfers)?;
        Ok(legs.receipt(Status::New))
    }

    fn split(
        &mut self,
        now: Timestamp,
        id: u128,
        from: AccountId,
        schedule: u32,
        recipients: &[(Role, u128)],
        amount: u128,
    ) -> Result<Receipt, TreasuryError> {
        if amount == 0 {
            return Err(LedgerError::ZeroAmount.into());
        }
        let accrual = self.accrual(schedule)?;
        let parts = accrual.parts(amount, accrual.accounts(&wallets(recipients)?)?);
        let mut legs = Legs::new(id);
        legs.push(0, from, CLEARING, amount)?;
        for part in &parts {
            legs.push(part.share + 1, CLEARING, part.account.unwrap_or(BURN), part.amount)?;
        }
        self.post_new(now, &legs.transfers)?;
        self.fees[schedule as usize].commit(&parts);
        Ok(legs.receipt(Status::New))
    }

    fn distribute(
        &mut self,
        now: Timestamp,
        id: u128,
        from: AccountId,
        shares: &[(u128, u128)],
        amount: u128,
    ) -> Result<Receipt, TreasuryError> {
        if amount == 0 {
            return Err(LedgerError::ZeroAmount.into());
        }
        let weights: Vec<u128> = shares.iter().map(|&(_, weight)| weight).collect();
        let mut legs = Legs::new(id);
        for (i, (part, &(to, _))) in distribute(amount, &weights)?.into_iter().zip(shares).enumerate() {
            let to = wallet(to)?;
            // A share of one's own stays where it is.
            if to != from {
                legs.push(i, from, to, part)?;
            }
        }
        self.post_new(now, &legs.transfers)?;
        Ok(legs.receipt(Status::New))
    }

    fn accrual(&self, schedule: u32) -> Result<&FeeAccrual, TreasuryError> {
        Ok(self.fees.get(schedule as usize).ok_or(FeeError::UnknownSchedule { schedule })?)
    }

    /// Applies a chain of transfers that must be new; an empty one does nothing.
    fn post_new(&mut self, now: Timestamp, legs: &[Transfer]) -> Result<(), TreasuryError> {
        match legs {
            [] => Ok(()),
            legs => match self.post(now, legs)? {
                Status::New => Ok(()),
                Status::Existing => Err(TreasuryError::IdConflict),
            },
        }
    }

    /// Applies a chain of transfers; what used an id up is kept track of by effect, so none is used up here.
    fn post(&mut self, now: Timestamp, legs: &[Transfer]) -> Result<Status, TreasuryError> {
        self.ledger.chain(now, legs).map_err(|LinkedError { error, .. }| error.into())
    }
}

/// The legs of one effect, as transfers and as what its receipt says.
struct Legs {
    id: u128,
    transfers: Vec<Transfer>,
    postings: Vec<Posting>,
}

impl Legs {
    const fn new(id: u128) -> Self {
        Self { id, transfers: Vec::new(), postings: Vec::new() }
    }

    /// A leg of the effect's id and this number; an amount of 0 makes none.
    fn push(&mut self, leg: usize, debit: AccountId, credit: AccountId, amount: u128) -> Result<(), TreasuryError> {
        let too_long = LedgerError::ChainTooLong { len: leg, max: Ledger::MAX_CHAIN };
        let leg = u16::try_from(leg).map_err(|_| too_long)?;
        if amount > 0 {
            self.push_as(TransferId::escrow_leg(self.id, leg), debit, credit, amount);
        }
        Ok(())
    }

    fn push_as(&mut self, id: TransferId, debit: AccountId, credit: AccountId, amount: u128) {
        self.transfers.push(Transfer::new(id, debit, credit, amount));
        self.postings.push(Posting { debit, credit, amount });
    }

    fn receipt(&self, status: Status) -> Receipt {
        Receipt { status, postings: self.postings.clone(), released: 0, short: 0 }
    }
}

fn slash_legs(order: &SlashOrder, outcome: &Slashed) -> Legs {
    let mut legs = Legs::new(0);
    if let Some(reporter) = order.reporter.filter(|_| outcome.reward > 0) {
        legs.push_as(TransferId::slash_leg(&order.evidence, 0), STAKE, reporter, outcome.reward);
    }
    if outcome.burned > 0 {
        legs.push_as(TransferId::slash_leg(&order.evidence, 1), STAKE, BURN, outcome.burned);
    }
    legs
}

fn wallets(recipients: &[(Role, u128)]) -> Result<Vec<(Role, AccountId)>, TreasuryError> {
    recipients.iter().map(|&(role, id)| Ok((role, wallet(id)?))).collect()
}

fn wallet(id: u128) -> Result<AccountId, TreasuryError> {
    let id = AccountId::new(id);
    check_wallet(id)?;
    Ok(id)
}

fn check_wallet(account: AccountId) -> Result<(), TreasuryError> {
    if SYSTEM.contains(&account) { Err(TreasuryError::SystemAccount { account }) } else { Ok(()) }
}

/// Debited for what is minted.
const MINT: AccountId = AccountId::new(1);
/// Credited with what is burned.
const BURN: AccountId = AccountId::new(2);
/// Escrow on its way, and the suspense of the fees.
const CLEARING: AccountId = AccountId::new(3);
/// What is staked.
const STAKE: AccountId = AccountId::new(4);
/// What is bonded.
const BONDS: AccountId = AccountId::new(5);
const SYSTEM: [AccountId; 5] = [MINT, BURN, CLEARING, STAKE, BONDS];
