use crate::wide::{BPS, bps_of};
use crate::wire::{Bytes, Wire, WireError, wire_struct};
use crate::{AccountId, Status, Timestamp};
use alloc::collections::{BTreeMap, VecDeque};
use alloc::vec::Vec;

/// Stakes of accounts: bonded, unbonding and withdrawn, with the base of each epoch that slashing is measured by.
///
/// It counts; the money itself is moved by [`Treasury`](crate::Treasury), which owns one of these.
///
/// ```
/// use hanzo_metering::{AccountId, SlashOrder, Stakes, Timestamp};
/// # fn main() -> Result<(), hanzo_metering::StakeError> {
/// let worker = AccountId::new(1);
/// let mut stakes = Stakes::new(1_000);
/// stakes.bond(worker, 3)?;
/// stakes.begin_epoch(1)?;
/// stakes.unbond(Timestamp::from_nanos(5), worker, 3)?; // still at stake until withdrawn
/// let order = |bps, n| SlashOrder { account: worker, epoch: 1, bps, evidence: [n; 32], reporter: None, reward_bps: 0 };
/// assert_eq!(stakes.slash(&order(5_000, 1))?.1.taken, 1);
/// assert_eq!(stakes.slash(&order(5_000, 2))?.1.taken, 2); // 10,000 bp of 3 in all
/// # Ok(()) }
/// ```
#[derive(Debug, Clone)]
pub struct Stakes {
    delay_ns: u64,
    /// Epochs begun, the last [`Self::EPOCHS_KEPT`] of them.
    epochs: VecDeque<u64>,
    accounts: BTreeMap<AccountId, Stake>,
    slashes: BTreeMap<[u8; 32], (SlashOrder, Slashed)>,
}

/// An order to take a part of what an account had at stake in an epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct SlashOrder {
    /// Whose stake.
    pub account: AccountId,
    /// The epoch of the offence.
    pub epoch: u64,
    /// Basis points of the epoch's base; 0 is recorded and takes nothing.
    pub bps: u16,
    /// What identifies the offence; an order is carried out once per evidence.
    pub evidence: [u8; 32],
    /// Who is rewarded.
    pub reporter: Option<AccountId>,
    /// Basis points of what is taken that go to the reporter; the rest is burned.
    pub reward_bps: u16,
}

/// What a [`SlashOrder`] took.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Slashed {
    /// Base units taken: reward plus burned.
    pub taken: u128,
    /// To the reporter.
    pub reward: u128,
    /// Out of the supply.
    pub burned: u128,
    /// What should have been taken but was no longer there; it is not collected later.
    pub short: u128,
}

/// For what a least stake is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum StakePurpose {
    /// AI chain (003, table 6): a validator, 100,000 tokens.
    AciValidator,
    /// AI chain: a verifier, 50,000 tokens.
    AciVerifier,
    /// AI chain: a worker, 10,000 tokens or `per_cu` base units for each compute unit of its capacity, whichever is more.
    AciWorker {
        /// Compute units it offers.
        capacity_cu: u64,
        /// Base units for each.
        per_cu: u128,
    },
    /// AI chain: a liquidity provider, 1,000 tokens.
    AciLiquidityProvider,
    /// Zoo network (004, B.1): a node, 1,000 tokens.
    ZooNode,
    /// Zoo network: a proposal, 1,000 tokens.
    ZooProposal,
    /// Zoo network: an experience, 100 tokens.
    ZooExperience,
    /// The bond of an experience in a DSO (002, 7.2), 25 tokens.
    DsoBond,
}

/// The least stake for a purpose in base units, for a token of `token` base units (10^9 for 9 decimals).
///
/// # Errors
/// `Overflow`.
///
/// ```
/// use hanzo_metering::{StakePurpose, minimum_stake};
/// let worker = StakePurpose::AciWorker { capacity_cu: 500, per_cu: 30_000_000_000 };
/// assert_eq!(minimum_stake(worker, 1_000_000_000), Ok(15_000_000_000_000));
/// ```
pub fn minimum_stake(purpose: StakePurpose, token: u128) -> Result<u128, StakeError> {
    let tokens = |n: u128| n.checked_mul(token).ok_or(StakeError::Overflow);
    match purpose {
        StakePurpose::AciValidator => tokens(100_000),
        StakePurpose::AciVerifier => tokens(50_000),
        StakePurpose::AciWorker { capacity_cu, per_cu } => {
            let by_capacity = per_cu.checked_mul(u128::from(capacity_cu)).ok_or(StakeError::Overflow)?;
            Ok(tokens(10_000)?.max(by_capacity))
        }
        StakePurpose::AciLiquidityProvider | StakePurpose::ZooNode | StakePurpose::ZooProposal => tokens(1_000),
        StakePurpose::ZooExperience => tokens(100),
        StakePurpose::DsoBond => tokens(25),
    }
}

/// What one account has at stake.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct StakeBalance {
    /// Bonded.
    pub bonded: u128,
    /// Unbonding, not yet withdrawn.
    pub unbonding: u128,
}

/// What an order would do, computed before the money moves.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Assessed {
    pub(crate) outcome: Slashed,
    bps: u16,
    wanted: u128,
}

#[derive(Debug, Clone, Default)]
struct Stake {
    bonded: u128,
    /// By rising release, earlier entries first.
    unbonding: Vec<(Timestamp, u128)>,
    /// (epoch, what was at stake when it began), written at the first change within an epoch: an epoch without an
    /// entry began with what the next entry says, or with what is there now.
    bases: VecDeque<(u64, u128)>,
    /// Per epoch: basis points ordered and base units they made.
    tallies: BTreeMap<u64, Tally>,
}

/// Slashes so far of one base.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Tally {
    bps: u16,
    wanted: u128,
}

impl Stakes {
    /// How many epochs back an offence can be slashed.
    pub const EPOCHS_KEPT: usize = 64;

    /// Stakes whose unbonding takes `delay_ns`. It must cover the longest time from an offence to its verdict.
    /// Epoch 0 has begun, with nothing at stake.
    pub fn new(delay_ns: u64) -> Self {
        Self { delay_ns, epochs: [0].into(), accounts: BTreeMap::new(), slashes: BTreeMap::new() }
    }

    /// Puts `amount` at stake.
    ///
    /// # Errors
    /// `ZeroAmount`, `Overflow`.
    pub fn bond(&mut self, account: AccountId, amount: u128) -> Result<(), StakeError> {
        if amount == 0 {
            return Err(StakeError::ZeroAmount);
        }
        let total = self.balance(account).total().checked_add(amount).ok_or(StakeError::Overflow)?;
        let stake = self.changed(account);
        stake.bonded += amount;
        debug_assert_eq!(stake.balance().total(), total);
        Ok(())
    }

    /// Begins to take `amount` out; it can be withdrawn, and is at stake, until `now` plus the delay. Returns that time.
    ///
    /// # Errors
    /// `ZeroAmount`, `InsufficientStake`, `Overflow` of the clock.
    pub fn unbond(&mut self, now: Timestamp, account: AccountId, amount: u128) -> Result<Timestamp, StakeError> {
        if amount == 0 {
            return Err(StakeError::ZeroAmount);
        }
        let bonded = self.balance(account).bonded;
        if amount > bonded {
            return Err(StakeError::InsufficientStake { bonded });
        }
        let release = now.checked_add(self.delay_ns).ok_or(StakeError::Overflow)?;
        let stake = self.changed(account);
        stake.bonded -= amount;
        let at = stake.unbonding.partition_point(|&(r, _)| r <= release);
        stake.unbonding.insert(at, (release, amount));
        Ok(release)
    }

    /// What has matured by `now`, in base units; 0 for an account without stake. O(entries that have matured).
    pub fn withdrawable(&self, now: Timestamp, account: AccountId) -> u128 {
        let matured = |s: &Stake| s.unbonding.iter().take_while(|&&(r, _)| r <= now).map(|&(_, a)| a).sum();
        self.accounts.get(&account).map_or(0, matured)
    }

    /// Takes out what has matured by `now` and returns it, in base units; the caller moves it.
    pub fn withdraw(&mut self, now: Timestamp, account: AccountId) -> u128 {
        let amount = self.withdrawable(now, account);
        if amount > 0 {
            let stake = self.changed(account);
            let matured = stake.unbonding.partition_point(|&(r, _)| r <= now);
            stake.unbonding.drain(..matured);
        }
        amount
    }

    /// Begins an epoch: what an account has bonded and unbonding now is its base in it.
    ///
    /// # Errors
    /// `EpochOrder` unless it is after the current epoch.
    pub fn begin_epoch(&mut self, epoch: u64) -> Result<(), StakeError> {
        let current = self.epoch();
        if epoch <= current {
            return Err(StakeError::EpochOrder { epoch, current });
        }
        self.epochs.push_back(epoch);
        if self.epochs.len() > Self::EPOCHS_KEPT {
            self.epochs.pop_front();
        }
        Ok(())
    }

    /// The current epoch.
    pub fn epoch(&self) -> u64 {
        self.epochs.back().copied().unwrap_or(0)
    }

    /// The base of an account in an epoch that has begun.
    ///
    /// # Errors
    /// `UnknownEpoch`, `EvidenceTooOld`.
    pub fn base(&self, account: AccountId, epoch: u64) -> Result<u128, StakeError> {
        let oldest = self.epochs.front().copied().unwrap_or(0);
        if epoch < oldest {
            return Err(StakeError::EvidenceTooOld { epoch, oldest });
        }
        if !self.epochs.contains(&epoch) {
            return Err(StakeError::UnknownEpoch { epoch });
        }
        let Some(stake) = self.accounts.get(&account) else { return Ok(0) };
        let at = stake.bases.partition_point(|&(e, _)| e < epoch);
        Ok(stake.bases.get(at).map_or_else(|| stake.balance().total(), |&(_, base)| base))
    }

    /// Carries out an order. Of a base `b` in an epoch the orders together want `floor(b (sum of bps) / 10_000)`; this one
    /// takes what is not wanted yet, first from the bonded part, then from the unbonding, latest release first.
    ///
    /// # Errors
    /// In this order: `IdConflict` where the evidence is known with other content, `BadBps`, `EvidenceTooOld`,
    /// `UnknownEpoch`, `BpsOver`. None uses up the evidence.
    pub fn slash(&mut self, order: &SlashOrder) -> Result<(Status, Slashed), StakeError> {
        if let Some(outcome) = self.known_slash(order)? {
            return Ok((Status::Existing, outcome));
        }
        let assessed = self.assess(order)?;
        self.commit(order, &assessed);
        Ok((Status::New, assessed.outcome))
    }

    /// What an account has at stake.
    pub fn balance(&self, account: AccountId) -> StakeBalance {
        self.accounts.get(&account).map_or_else(StakeBalance::default, Stake::balance)
    }

    /// What all accounts have at stake, in 128 bits; `None` past that.
    pub fn total(&self) -> Option<u128> {
        self.accounts.values().try_fold(0u128, |sum, s| sum.checked_add(s.balance().total()))
    }

    /// The outcome of an order that was carried out.
    pub(crate) fn known_slash(&self, order: &SlashOrder) -> Result<Option<Slashed>, StakeError> {
        match self.slashes.get(&order.evidence) {
            Some((old, outcome)) if old == order => Ok(Some(*outcome)),
            Some(_) => Err(StakeError::IdConflict),
            None => Ok(None),
        }
    }

    /// What a new order would do.
    pub(crate) fn assess(&self, order: &SlashOrder) -> Result<Assessed, StakeError> {
        let base = self.base(order.account, order.epoch)?;
        let stake = self.accounts.get(&order.account);
        let tally = stake.and_then(|s| s.tallies.get(&order.epoch)).copied().unwrap_or_default();
        let left = self.balance(order.account).total();
        let (tally, outcome) = tally.slash(base, left, order.bps, order.reporter.is_some(), order.reward_bps)?;
        Ok(Assessed { outcome, bps: tally.bps, wanted: tally.wanted })
    }

    /// Takes what was assessed.
    pub(crate) fn commit(&mut self, order: &SlashOrder, assessed: &Assessed) {
        let oldest = self.epochs.front().copied().unwrap_or(0);
        let stake = self.changed(order.account);
        let mut left = assessed.outcome.taken;
        let from_bonded = left.min(stake.bonded);
        stake.bonded -= from_bonded;
        left -= from_bonded;
        while left > 0
            && let Some((_, amount)) = stake.unbonding.last_mut()
        {
            let part = left.min(*amount);
            *amount -= part;
            left -= part;
            if *amount == 0 {
                stake.unbonding.pop();
            }
        }
        stake.tallies.retain(|&epoch, _| epoch >= oldest);
        stake.tallies.insert(order.epoch, Tally { bps: assessed.bps, wanted: assessed.wanted });
        self.slashes.insert(order.evidence, (*order, assessed.outcome));
    }

    /// The stake of an account that is about to change: notes what the epoch began with.
    fn changed(&mut self, account: AccountId) -> &mut Stake {
        let (epoch, oldest) = (self.epoch(), self.epochs.front().copied().unwrap_or(0));
        let stake = self.accounts.entry(account).or_default();
        if stake.bases.back().is_none_or(|&(e, _)| e < epoch) {
            stake.bases.push_back((epoch, stake.balance().total()));
        }
        while stake.bases.front().is_some_and(|&(e, _)| e < oldest) {
            stake.bases.pop_front();
        }
        stake
    }
}

impl StakeBalance {
    /// Bonded and unbonding; a stake keeps it within `u128`.
    pub const fn total(&self) -> u128 {
        self.bonded.saturating_add(self.unbonding)
    }
}

impl Stake {
    fn balance(&self) -> StakeBalance {
        StakeBalance { bonded: self.bonded, unbonding: self.unbonding.iter().map(|&(_, a)| a).sum() }
    }
}

impl Tally {
    /// Adds a slash of `bps` of `base` of which `left` is there still.
    pub(crate) fn slash(
        self,
        base: u128,
        left: u128,
        bps: u16,
        rewarded: bool,
        reward_bps: u16,
    ) -> Result<(Self, Slashed), StakeError> {
        for bps in [bps, reward_bps] {
            if u128::from(bps) > BPS {
                return Err(StakeError::BadBps { bps });
            }
        }
        // Two numbers of at most 10,000.
        let sum = self.bps + bps;
        if u128::from(sum) > BPS {
            return Err(StakeError::BpsOver { sum });
        }
        let wanted = bps_of(base, sum);
        // `bps_of` rises with the sum.
        let want = wanted.saturating_sub(self.wanted);
        let taken = want.min(left);
        let reward = if rewarded { bps_of(taken, reward_bps) } else { 0 };
        let outcome = Slashed { taken, reward, burned: taken - reward, short: want - taken };
        Ok((Self { bps: sum, wanted }, outcome))
    }
}

/// Why a stake was left as it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
#[non_exhaustive]
pub enum StakeError {
    /// The amount is 0.
    #[error("amount is zero")]
    ZeroAmount,
    /// Less is bonded than was to be unbonded.
    #[error("only {bonded} bonded")]
    InsufficientStake {
        /// Base units bonded.
        bonded: u128,
    },
    /// More than 10,000 basis points.
    #[error("{bps} basis points pass 10000")]
    BadBps {
        /// Basis points given.
        bps: u16,
    },
    /// The slashes of one account in one epoch, or of one bond, would pass the whole.
    #[error("slashes sum to {sum} basis points")]
    BpsOver {
        /// What they would sum to.
        sum: u16,
    },
    /// The epoch has not begun, or was left out.
    #[error("epoch {epoch} did not begin")]
    UnknownEpoch {
        /// Epoch given.
        epoch: u64,
    },
    /// The epoch is too far back.
    #[error("epoch {epoch} is before epoch {oldest}, the oldest kept")]
    EvidenceTooOld {
        /// Epoch given.
        epoch: u64,
        /// Oldest epoch kept.
        oldest: u64,
    },
    /// An epoch was begun that is not after the current one.
    #[error("epoch {epoch} is not after epoch {current}")]
    EpochOrder {
        /// Epoch given.
        epoch: u64,
        /// Current epoch.
        current: u64,
    },
    /// The evidence is known with other content.
    #[error("evidence is known with other content")]
    IdConflict,
    /// An amount or a time passes its type.
    #[error("amount overflows")]
    Overflow,
}

impl Stakes {
    pub(crate) fn put_state(&self, out: &mut Vec<u8>) {
        self.epochs.put(out);
        self.accounts.put(out);
        self.slashes.put(out);
    }

    pub(crate) fn take_state(&mut self, bytes: &mut Bytes<'_>) -> Result<(), WireError> {
        self.epochs = Wire::take(bytes)?;
        self.accounts = Wire::take(bytes)?;
        self.slashes = Wire::take(bytes)?;
        let sums = |s: &Stake| {
            let unbonding = s.unbonding.iter().try_fold(s.bonded, |sum, &(_, a)| sum.checked_add(a));
            unbonding.is_some() && s.unbonding.is_sorted_by_key(|e| e.0)
        };
        if self.epochs.is_empty() || !self.accounts.values().all(sums) {
            return Err(WireError::Value);
        }
        Ok(())
    }
}

wire_struct!(SlashOrder { account, epoch, bps, evidence, reporter, reward_bps });
wire_struct!(Slashed { taken, reward, burned, short });
wire_struct!(Stake { bonded, unbonding, bases, tallies });
wire_struct!(Tally { bps, wanted });
