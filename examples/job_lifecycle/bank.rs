//! Everybody's money: wallets, stakes, escrow, and where each base unit went.

use std::collections::BTreeMap;

use hanzo::metering::{
    AccountId, Carry, Effect, FeeSchedule, Meter, MeterConfig, Reading, Resources, Role, RuntimeKind, Tariff, TeeKind,
    Timestamp, Treasury, TreasuryAudit, TreasuryConfig, Value, Window,
};
use hanzo::poai::PartyId;

use crate::Result;

/// Base units in a dollar, as the market counts.
pub(crate) const BASE_UNITS_PER_USD: u128 = 1_000_000_000;
/// What a worker has at stake, and so the most it may be paid for while nothing is settled.
pub(crate) const WORKER_STAKE: u128 = 1_000 * BASE_UNITS_PER_USD;
/// Base units minted for a CU-hour, beside the price: about a tenth of what clients pay.
const MINT_PER_CU_HOUR: u128 = 10_000_000;

/// What a party is to the money.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Class {
    /// Pays.
    Client,
    /// Computes.
    Worker,
    /// Re-executes.
    Verifier,
    /// Proposes and votes on blocks.
    Validator,
    /// Stands behind the pools.
    LiquidityProvider,
}

/// Base units that reached each kind of recipient out of escrow.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize)]
pub(crate) struct Fees {
    /// To workers.
    pub(crate) workers: u128,
    /// To the validators who proposed.
    pub(crate) validators: u128,
    /// To the verifiers.
    pub(crate) verifiers: u128,
    /// To the liquidity providers.
    pub(crate) liquidity_providers: u128,
    /// Out of the supply.
    pub(crate) burned: u128,
}

/// Base units that moved, by reason.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize)]
pub(crate) struct Flows {
    /// Given to clients and stakers at the start.
    pub(crate) genesis: u128,
    /// Minted for metered work.
    pub(crate) emission: u128,
    /// Put into escrow by clients.
    pub(crate) locked: u128,
    /// Paid out of escrow.
    pub(crate) paid: u128,
    /// Given back out of escrow.
    pub(crate) refunded: u128,
    /// Taken from stakes.
    pub(crate) slashed: u128,
    /// Of that, to those who proved the offence.
    pub(crate) rewards: u128,
}

/// The treasury and what the program counts beside it.
#[derive(Debug)]
pub(crate) struct Bank {
    treasury: Treasury,
    now: Timestamp,
    classes: BTreeMap<AccountId, Class>,
    liquidity: AccountId,
    verifiers: AccountId,
    tariff: Tariff,
    next_id: u128,
    /// What left escrow, and to whom.
    pub(crate) fees: Fees,
    /// What moved at all.
    pub(crate) flows: Flows,
}

/// How every base unit is accounted for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
pub(crate) struct Balance {
    /// Base units ever made.
    pub(crate) minted: u128,
    /// Base units taken out of the supply.
    pub(crate) burned: u128,
    /// In wallets, summed account by account.
    pub(crate) wallets: u128,
    /// At stake.
    pub(crate) staked: u128,
    /// In fee carries and bonds.
    pub(crate) carried: u128,
    /// Escrows still open.
    pub(crate) open_escrows: usize,
}

impl Balance {
    /// Whether what came in is what went out and what is held.
    pub(crate) fn holds(&self) -> bool {
        self.minted == self.burned + self.wallets + self.staked + self.carried
    }
}

impl Bank {
    /// A treasury with the fee schedule of the AI chain.
    pub(crate) fn new(liquidity: &PartyId, verifier_pool: &PartyId) -> Result<Self> {
        let mut treasury = Treasury::new(TreasuryConfig::new(1, [FeeSchedule::aci()]))?;
        let now = Timestamp::from_nanos(1);
        let liquidity = treasury.open_party(now, liquidity.as_bytes())?;
        let verifiers = treasury.open_party(now, verifier_pool.as_bytes())?;
        let classes = [(liquidity, Class::LiquidityProvider), (verifiers, Class::Verifier)].into();
        let tariff = Tariff::hanzo(BASE_UNITS_PER_USD).with_mint(MINT_PER_CU_HOUR);
        let (fees, flows) = (Fees::default(), Flows::default());
        Ok(Self { treasury, now, classes, liquidity, verifiers, tariff, next_id: 1, fees, flows })
    }

    /// Opens a wallet with `funds` in it and `stake` at stake.
    pub(crate) fn open(&mut self, party: &PartyId, class: Class, funds: u128, stake: u128) -> Result<AccountId> {
        let account = self.treasury.open_party(self.now, party.as_bytes())?;
        self.classes.insert(account, class);
        if funds + stake > 0 {
            let mint = Effect::Mint { id: self.id(), to: account.get(), amount: funds + stake };
            self.treasury.apply(self.now, &mint)?;
            self.flows.genesis += funds + stake;
        }
        if stake > 0 {
            let id = self.id();
            self.treasury.bond_stake(self.now, id, account, stake)?;
        }
        Ok(account)
    }

    /// A number that no effect has had.
    pub(crate) fn id(&mut self) -> u128 {
        // Small numbers: ids made from hashes are far away.
        self.next_id += 1;
        self.next_id
    }

    /// Opens an audit epoch: stakes are slashed by what they were at its begin.
    pub(crate) fn begin_epoch(&mut self, epoch: u64) -> Result<()> {
        Ok(self.treasury.begin_epoch(epoch)?)
    }

    /// Base units a wallet can spend.
    pub(crate) fn available(&self, account: AccountId) -> u128 {
        self.treasury.available(account)
    }

    /// Who shares in the price of a job beside its worker.
    pub(crate) fn recipients(&self, proposer: AccountId) -> [(Role, AccountId); 3] {
        [(Role::Validator, proposer), (Role::Verifier, self.verifiers), (Role::LiquidityProvider, self.liquidity)]
    }

    /// Applies an effect at a time (never before the last one), and counts what it moved.
    pub(crate) fn apply(&mut self, at_ms: u64, effect: &Effect) -> Result<()> {
        self.now = self.now.max(timestamp(at_ms));
        let receipt = self.treasury.apply(self.now, effect)?;
        match effect {
            Effect::Lock { amount, .. } => self.flows.locked += amount,
            Effect::Mint { amount, .. } => self.flows.emission += amount,
            Effect::Refund { .. } => self.flows.refunded += receipt.released,
            Effect::Settle { .. } => {
                self.flows.refunded += receipt.released;
                for posting in &receipt.postings {
                    if self.classes.get(&posting.debit) == Some(&Class::Client) {
                        self.flows.paid += posting.amount;
                    } else {
                        self.count_fee(posting.credit, posting.amount);
                    }
                }
            }
            Effect::Slash { reporter, .. } => {
                for posting in &receipt.postings {
                    self.flows.slashed += posting.amount;
                    if reporter.is_some_and(|account| account == posting.credit.get()) {
                        self.flows.rewards += posting.amount;
                    }
                }
            }
            _ => {}
        }
        Ok(())
    }

    /// Pays out the fee carries and shares the verifiers' fees by the audits each has done.
    pub(crate) fn finish(&mut self, audits: &[(AccountId, u64)]) -> Result<()> {
        let id = self.id();
        for posting in self.treasury.finish_fees(self.now, id, 0)? {
            self.count_fee(posting.credit, posting.amount);
        }
        let amount = self.available(self.verifiers);
        if amount > 0 && audits.iter().any(|(_, done)| *done > 0) {
            let shares = audits.iter().map(|(account, done)| (account.get(), u128::from(*done))).collect();
            let share = Effect::Distribute { id: self.id(), from: self.verifiers.get(), shares, amount };
            self.treasury.apply(self.now, &share)?;
        }
        Ok(())
    }

    /// The accounts' own check of themselves, and the sum of all wallets one by one.
    pub(crate) fn balance(&self) -> Result<Balance> {
        let TreasuryAudit { minted, burned, staked, bonded, suspense, open_escrows, locked, .. } =
            self.treasury.audit()?;
        let spendable: u128 = self.classes.keys().map(|&account| self.available(account)).sum();
        Ok(Balance { minted, burned, wallets: spendable + locked, staked, carried: bonded + suspense, open_escrows })
    }

    /// Meters a job that held these resources from `started_ms` to `finished_ms`.
    pub(crate) fn meter(
        &self,
        job: &[u8; 32],
        resources: Resources,
        started_ms: u64,
        finished_ms: u64,
    ) -> Result<Window> {
        let (start, end) = (timestamp(started_ms), timestamp(finished_ms));
        let mut meter = Meter::new(MeterConfig::default(), start);
        let value = Value::Reserved(resources);
        meter.record(start, Reading { source: b"worker", id: job, at: start, value })?;
        Ok(meter.close(end)?)
    }

    /// Base units minted for metered work.
    pub(crate) fn emission(&self, window: &Window, carry: &mut Carry) -> Result<u128> {
        let quanta = self.tariff.quanta(&window.usage)?;
        // Quanta of a window are not negative, so neither is what is minted for them.
        Ok(self.tariff.mint(quanta, RuntimeKind::Firecracker, TeeKind::None, carry)?.unsigned_abs())
    }

    fn count_fee(&mut self, to: AccountId, amount: u128) {
        let fees = &mut self.fees;
        match self.classes.get(&to) {
            Some(Class::Worker) => fees.workers += amount,
            Some(Class::Validator) => fees.validators += amount,
            Some(Class::Verifier) => fees.verifiers += amount,
            Some(Class::LiquidityProvider) => fees.liquidity_providers += amount,
            // The schedule's one share that is not paid is burned.
            Some(Class::Client) | None => fees.burned += amount,
        }
    }
}

/// Ledger time of a moment of the trace; 0 is before everything.
fn timestamp(ms: u64) -> Timestamp {
    Timestamp::from_nanos(ms.saturating_mul(1_000_000).saturating_add(1))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::party::silent_party;

    #[test]
    fn a_price_is_split_and_every_base_unit_found_again() {
        let [lp, pool, client, worker, validator] =
            ["lp", "pool", "client", "worker", "validator"].map(|r| silent_party(r, 0));
        let mut bank = Bank::new(&lp, &pool).unwrap();
        let client = bank.open(&client, Class::Client, 1_000, 0).unwrap();
        let worker = bank.open(&worker, Class::Worker, 0, 500).unwrap();
        let validator = bank.open(&validator, Class::Validator, 0, 0).unwrap();
        bank.apply(5, &Effect::Lock { id: 100, from: client.get(), amount: 700, timeout_ns: 0 }).unwrap();
        let mut recipients: Vec<_> = bank.recipients(validator).iter().map(|(role, a)| (*role, a.get())).collect();
        recipients.push((Role::Worker, worker.get()));
        bank.apply(9, &Effect::Settle { id: 101, escrow: 100, bps: 10_000, recipients }).unwrap();
        bank.finish(&[(validator, 1)]).unwrap();
        let fees = Fees { workers: 560, validators: 56, verifiers: 35, liquidity_providers: 28, burned: 21 };
        assert_eq!((bank.fees, bank.flows.paid, bank.flows.locked), (fees, 700, 700));
        assert_eq!(bank.available(validator), 56 + 35);
        let balance = bank.balance().unwrap();
        assert!(balance.holds(), "{balance:?}");
        assert_eq!((balance.minted, balance.burned, balance.staked), (1_500, 21, 500));
    }

    #[test]
    fn metered_work_is_minted_for() {
        let [lp, pool] = ["lp", "pool"].map(|r| silent_party(r, 0));
        let bank = Bank::new(&lp, &pool).unwrap();
        let resources = Resources::new(2_000, 8 << 30, 500).unwrap();
        let window = bank.meter(&[1; 32], resources, 1_000, 3_601_000).unwrap();
        let minted = bank.emission(&window, &mut Carry::default()).unwrap();
        // 2 cores, 8 GiB and half a GPU are 20 + 40 + 50 CU, and Firecracker counts 1.15.
        assert_eq!(minted, 110 * MINT_PER_CU_HOUR * 115 / 100);
    }
}
