use crate::wire::{wire_enum, wire_struct};
use crate::{AccountId, Role, Status};
use alloc::vec::Vec;

/// A movement of money, in plain integers: the form in which verdicts and settlements of other crates come in.
///
/// Accounts are the numbers of [`AccountId`]; `id` identifies the effect (the evidence does for `Slash`), and the
/// effect of an id is applied once. The id of a `Lock` names the escrow, the id of a `Bond` the bond.
///
/// ```
/// use hanzo_metering::{Effect, FeeSchedule, Timestamp, Treasury, TreasuryConfig};
/// # fn main() -> Result<(), hanzo_metering::TreasuryError> {
/// let now = Timestamp::from_nanos(1);
/// let mut treasury = Treasury::new(TreasuryConfig::new(1, [FeeSchedule::hanzo()]))?;
/// let challenger = treasury.open_party(now, &[1; 32])?.get();
/// treasury.apply(now, &Effect::Mint { id: 1, to: challenger, amount: 100 })?;
/// treasury.apply(now, &Effect::Bond { id: 2, account: challenger, amount: 40 })?;
/// treasury.apply(now, &Effect::DrawBond { id: 3, bond: 2, to: None, amount: 10 })?; // burned
/// treasury.apply(now, &Effect::ReturnBond { id: 4, bond: 2 })?;
/// assert_eq!((treasury.available(challenger), treasury.audit()?.burned), (90, 10));
/// # Ok(()) }
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
#[non_exhaustive]
#[expect(missing_docs, reason = "the fields are explained at their variants")]
pub enum Effect {
    /// Moves `amount` from one wallet to another.
    Pay { id: u128, from: u128, to: u128, amount: u128 },
    /// Takes `amount` of a wallet out of the supply.
    Burn { id: u128, from: u128, amount: u128 },
    /// Makes `amount` in a wallet.
    Mint { id: u128, to: u128, amount: u128 },
    /// Splits `amount` of a wallet by fee schedule number `schedule`, with its carries.
    Split { id: u128, from: u128, schedule: u32, recipients: Vec<(Role, u128)>, amount: u128 },
    /// Splits `amount` of a wallet over `(account, weight)` by largest remainder.
    Distribute { id: u128, from: u128, shares: Vec<(u128, u128)>, amount: u128 },
    /// Reserves `amount` of a wallet in escrow until it is settled or refunded, or `timeout_ns` are over
    /// (0: the treasury's default), when the wallet has it back. A lock refused for lack of cover has used its id up, so
    /// that a late copy of it cannot lock after all: lock again under a new id.
    Lock { id: u128, from: u128, amount: u128, timeout_ns: u64 },
    /// Pays `floor(price bps / 10_000)` of an escrow out by fee schedule 0 and gives the rest back. Ends a dispute.
    Settle { id: u128, escrow: u128, bps: u16, recipients: Vec<(Role, u128)> },
    /// Gives an escrow back. Ends a dispute.
    Refund { id: u128, escrow: u128 },
    /// Stops the clock of an escrow until it is settled, refunded or resumed.
    Dispute { id: u128, escrow: u128 },
    /// Takes a dispute back: the escrow is locked again, with the time it had left.
    Resume { id: u128, escrow: u128 },
    /// Moves `amount` of a wallet into a bond.
    Bond { id: u128, account: u128, amount: u128 },
    /// Gives back what is left of a bond and ends it.
    ReturnBond { id: u128, bond: u128 },
    /// Pays `amount` of a bond `to` a wallet, or burns it.
    DrawBond { id: u128, bond: u128, to: Option<u128>, amount: u128 },
    /// Takes `bps` of what a bond was opened with (all slashes of it together as if at once), as far as it is left;
    /// `reward_bps` of that go to the reporter, the rest is burned.
    SlashBond { id: u128, bond: u128, bps: u16, reporter: Option<u128>, reward_bps: u16, evidence: [u8; 32] },
    /// Takes `bps` of what an account had at stake when `epoch` began; see [`Stakes::slash`](crate::Stakes::slash).
    Slash { account: u128, epoch: u64, bps: u16, evidence: [u8; 32], reporter: Option<u128>, reward_bps: u16 },
}

impl Effect {
    /// The id; 0 for a `Slash`, which is identified by its evidence.
    pub const fn id(&self) -> u128 {
        match *self {
            Self::Pay { id, .. }
            | Self::Burn { id, .. }
            | Self::Mint { id, .. }
            | Self::Split { id, .. }
            | Self::Distribute { id, .. }
            | Self::Lock { id, .. }
            | Self::Settle { id, .. }
            | Self::Refund { id, .. }
            | Self::Dispute { id, .. }
            | Self::Resume { id, .. }
            | Self::Bond { id, .. }
            | Self::ReturnBond { id, .. }
            | Self::DrawBond { id, .. }
            | Self::SlashBond { id, .. } => id,
            Self::Slash { .. } => 0,
        }
    }
}

/// What an effect did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Receipt {
    /// `Existing` where it had been applied before.
    pub status: Status,
    /// What was moved, leg by leg; a lock moves nothing yet.
    pub postings: Vec<Posting>,
    /// Base units of an escrow that the client can spend again.
    pub released: u128,
    /// Base units a slash should have taken that were no longer there.
    pub short: u128,
}

impl Receipt {
    pub(super) fn with_short(self, short: u128) -> Self {
        Self { short, ..self }
    }
}

/// One movement between two accounts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Posting {
    /// Account the amount left.
    pub debit: AccountId,
    /// Account the amount entered.
    pub credit: AccountId,
    /// Base units.
    pub amount: u128,
}

wire_enum!(Effect {
    0 => Pay { id, from, to, amount },
    1 => Burn { id, from, amount },
    2 => Mint { id, to, amount },
    3 => Split { id, from, schedule, recipients, amount },
    4 => Distribute { id, from, shares, amount },
    5 => Lock { id, from, amount, timeout_ns },
    6 => Settle { id, escrow, bps, recipients },
    7 => Refund { id, escrow },
    8 => Dispute { id, escrow },
    9 => Bond { id, account, amount },
    10 => ReturnBond { id, bond },
    11 => DrawBond { id, bond, to, amount },
    12 => SlashBond { id, bond, bps, reporter, reward_bps, evidence },
    13 => Slash { account, epoch, bps, evidence, reporter, reward_bps },
    14 => Resume { id, escrow },
});
wire_struct!(Receipt { status, postings, released, short });
