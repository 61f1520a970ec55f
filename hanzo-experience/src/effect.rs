use core::fmt;
use core::str::FromStr;

use crate::content::check_printable;
use crate::{Error, Result};

/// An account: 1..=128 bytes of printable ASCII; a party of 32 bytes is its 64 hex digits.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Account(String);

impl Account {
    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// # Errors
/// [`Error::OutOfRange`] if empty, [`Error::TooManyBytes`], [`Error::ForbiddenChar`].
impl FromStr for Account {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        check_printable("account", text, 1)?;
        Ok(Self(text.to_owned()))
    }
}

impl fmt::Display for Account {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Account {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

/// What a state machine asks of the ledger that moves the money, in base units.
///
/// Amounts locked under a key are released, burned and paid under the same key, and when it is settled the sums agree:
/// locked = released + burned + paid. Keys are `proposal/N`, `entry/N` and `challenge/N/M`. Payments without a lock come
/// out of the treasury (`treasury/N`), and what is minted (`mint/..`) out of nothing; whether that is covered is the
/// ledger's to say.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Effect {
    /// Take from the account, and hold.
    Lock {
        /// Whose it is.
        account: Account,
        /// Base units.
        amount: u128,
        /// What it is held for.
        key: String,
    },
    /// Give what is held back to the account.
    Release {
        /// Whose it is.
        account: Account,
        /// Base units.
        amount: u128,
        /// What it was held for.
        key: String,
    },
    /// Destroy what is held of the account.
    Burn {
        /// Whose it was.
        account: Account,
        /// Base units.
        amount: u128,
        /// What it was held for.
        key: String,
    },
    /// Give to the account.
    Pay {
        /// Who gets it.
        account: Account,
        /// Base units.
        amount: u128,
        /// Where it comes from.
        key: String,
    },
    /// Create for the account.
    Mint {
        /// Who gets it.
        account: Account,
        /// Base units.
        amount: u128,
        /// Why.
        key: String,
    },
    /// Something that happened, for those who watch.
    Event {
        /// Who did it.
        account: Account,
        /// What.
        event: &'static str,
        /// To what.
        key: String,
    },
}

impl Effect {
    /// Its key.
    pub fn key(&self) -> &str {
        match self {
            Self::Lock { key, .. }
            | Self::Release { key, .. }
            | Self::Burn { key, .. }
            | Self::Pay { key, .. }
            | Self::Mint { key, .. }
            | Self::Event { key, .. } => key,
        }
    }
}

/// Effects under one key; amounts of zero are left out.
pub(crate) struct Effects {
    key: String,
    list: Vec<Effect>,
}

impl Effects {
    pub(crate) fn new(key: String) -> Self {
        Self { key, list: Vec::new() }
    }

    pub(crate) fn event(mut self, account: &Account, event: &'static str) -> Self {
        self.list.push(Effect::Event { account: account.clone(), event, key: self.key.clone() });
        self
    }

    pub(crate) fn lock(self, account: &Account, amount: u128) -> Self {
        self.money(account, amount, |account, amount, key| Effect::Lock { account, amount, key })
    }

    pub(crate) fn release(self, account: &Account, amount: u128) -> Self {
        self.money(account, amount, |account, amount, key| Effect::Release { account, amount, key })
    }

    pub(crate) fn burn(self, account: &Account, amount: u128) -> Self {
        self.money(account, amount, |account, amount, key| Effect::Burn { account, amount, key })
    }

    pub(crate) fn pay(self, account: &Account, amount: u128) -> Self {
        self.money(account, amount, |account, amount, key| Effect::Pay { account, amount, key })
    }

    pub(crate) fn mint(self, account: &Account, amount: u128) -> Self {
        self.money(account, amount, |account, amount, key| Effect::Mint { account, amount, key })
    }

    /// Goes on under another key.
    pub(crate) fn under(mut self, key: String) -> Self {
        self.key = key;
        self
    }

    pub(crate) fn finish(self) -> Vec<Effect> {
        self.list
    }

    fn money(mut self, account: &Account, amount: u128, effect: fn(Account, u128, String) -> Effect) -> Self {
        if amount > 0 {
            self.list.push(effect(account.clone(), amount, self.key.clone()));
        }
        self
    }
}
