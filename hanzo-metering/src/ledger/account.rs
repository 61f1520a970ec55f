use crate::{AccountId, Status};

/// Which side of an account may not outgrow the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum AccountFlag {
    /// No limit on either side: an issuer, an outside bank.
    #[default]
    None,
    /// Debits (posted and pending) stay within posted credits plus the limit: a wallet.
    DebitsLeCredits,
    /// Credits (posted and pending) stay within posted debits plus the limit: a loan.
    CreditsLeDebits,
}

/// Whether an account takes part in transfers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum AccountState {
    /// It does.
    #[default]
    Active,
    /// Not now; only a void may release what it has pending.
    Frozen,
    /// Never again.
    Closed,
}

/// An account to be opened.
///
/// ```
/// use hanzo_metering::{AccountFlag, AccountId, NewAccount};
/// let wallet = NewAccount { flag: AccountFlag::DebitsLeCredits, ..NewAccount::new(AccountId::new(5), 1) };
/// assert_eq!(wallet.credit_limit, 0);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct NewAccount {
    /// Its id; 0 and `u128::MAX` are refused.
    pub id: AccountId,
    /// The asset it counts in; transfers never cross assets.
    pub ledger: u32,
    /// A number for the caller's own use.
    pub code: u16,
    /// Who owns it.
    pub owner: [u8; 32],
    /// Its limit rule.
    pub flag: AccountFlag,
    /// How far the limited side may pass the other, in base units.
    pub credit_limit: u128,
}

impl NewAccount {
    /// An account without limit rule, code or owner.
    pub const fn new(id: AccountId, ledger: u32) -> Self {
        Self { id, ledger, code: 0, owner: [0; 32], flag: AccountFlag::None, credit_limit: 0 }
    }
}

/// Dense number of an account in one ledger, in order of opening.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AccountHandle(pub(crate) u32);

/// The answer to an accepted [`Ledger::open`](crate::Ledger::open).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Opened {
    /// `Existing` where the same account was open already.
    pub status: Status,
    /// Its handle.
    pub handle: AccountHandle,
}

/// The four sums of an account, in base units, as of ledger time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Balance {
    /// Reserved to leave.
    pub debits_pending: u128,
    /// Left.
    pub debits_posted: u128,
    /// Reserved to enter.
    pub credits_pending: u128,
    /// Entered.
    pub credits_posted: u128,
}

impl Balance {
    /// Posted credits less posted debits, 0 where debits are larger.
    pub const fn net(&self) -> u128 {
        self.credits_posted.saturating_sub(self.debits_posted)
    }

    /// What can leave a wallet without credit: posted credits less posted and pending debits.
    pub const fn available(&self) -> u128 {
        self.net().saturating_sub(self.debits_pending)
    }
}

/// What transfers read of an account, in two cache lines at most; how it was opened stands apart.
#[derive(Debug, Clone)]
#[repr(align(32))]
pub(super) struct Account {
    pub(super) balance: Balance,
    pub(super) credit_limit: u128,
    pub(super) ledger: u32,
    pub(super) flag: AccountFlag,
    pub(super) state: AccountState,
}

impl Account {
    pub(super) fn new(new: &NewAccount, state: AccountState) -> Self {
        let &NewAccount { credit_limit, ledger, flag, .. } = new;
        Self { balance: Balance::default(), credit_limit, ledger, flag, state }
    }

    /// What more may be debited; `None` where nothing limits it.
    pub(super) fn debit_room(&self) -> Option<u128> {
        let b = &self.balance;
        (self.flag == AccountFlag::DebitsLeCredits)
            .then(|| room(b.credits_posted, self.credit_limit, b.debits_posted, b.debits_pending))
    }

    /// What more may be credited; `None` where nothing limits it.
    pub(super) fn credit_room(&self) -> Option<u128> {
        let b = &self.balance;
        (self.flag == AccountFlag::CreditsLeDebits)
            .then(|| room(b.debits_posted, self.credit_limit, b.credits_posted, b.credits_pending))
    }
}

fn room(base: u128, limit: u128, posted: u128, pending: u128) -> u128 {
    base.saturating_add(limit).saturating_sub(posted).saturating_sub(pending)
}
