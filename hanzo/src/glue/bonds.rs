//! What `hanzo-experience` decides about bonds, stakes and rewards, as effects that `hanzo-metering` applies.

use alloc::borrow::ToOwned;
use alloc::collections::BTreeMap;
use alloc::string::String;

use hanzo_experience::merkle::leaf_hash;
use hanzo_experience::{Account, Effect};
use hanzo_metering::{AccountId, Effect as Transfer};

/// The account of a name: of the party, where the name is the 64 lower-case hex digits of its 32 bytes; else none, since
/// only the caller knows whom other names mean.
///
/// ```
/// use hanzo::{glue::account_of_name, metering::AccountId};
/// assert_eq!(account_of_name(&"07".repeat(32).parse()?), Some(AccountId::of_party(&[7; 32])));
/// assert_eq!(account_of_name(&"alice".parse()?), None);
/// # Ok::<(), hanzo::experience::Error>(())
/// ```
pub fn account_of_name(name: &Account) -> Option<AccountId> {
    let hash: hanzo_experience::merkle::Hash = name.as_str().parse().ok()?;
    Some(AccountId::of_party(hash.as_bytes()))
}

/// Turns the effects of governance, the registry and rewards into those of a treasury, one for one and in their order.
///
/// | effect | becomes |
/// |---|---|
/// | `Lock` | `Bond` of the account |
/// | `Release`, and `Pay` under a key that has a lock | `DrawBond` to the account |
/// | `Burn` | `DrawBond` to nobody: out of the supply |
/// | `Pay` under any other key | `Pay` from the pool |
/// | `Mint` | `Mint` |
/// | `Event` | nothing |
///
/// Ids are the first 16 bytes of the RFC 9162 leaf hash of `hanzo.glue.experience.v1`, a zero byte, the scope, a zero byte, the
/// key, a zero byte and the number of the effect under that key (from 0, four bytes, big-endian), read big-endian. So the same effects in
/// the same order give the same transfers, which a treasury applies once. Keys are unique within one machine only, so that
/// each machine needs a scope of its own, without zero bytes.
///
/// ```
/// use hanzo::experience::Effect;
/// use hanzo::glue::{Bonds, account_of_name};
/// use hanzo::metering::{FeeSchedule, Timestamp, Treasury, TreasuryConfig};
///
/// let (submitter, challenger) = ([7; 32], [8; 32]);
/// let now = Timestamp::from_nanos(1);
/// let mut treasury = Treasury::new(TreasuryConfig::new(1, [FeeSchedule::aci()]))?;
/// let wallet = treasury.open_party(now, &submitter)?;
/// let other = treasury.open_party(now, &challenger)?;
/// treasury.apply(now, &hanzo::metering::Effect::Mint { id: 1, to: wallet.get(), amount: 100 })?;
///
/// let (account, key) = ("07".repeat(32).parse()?, String::from("entry/0"));
/// let effects = [
///     Effect::Lock { account, amount: 25, key: key.clone() },
///     Effect::Burn { account: "07".repeat(32).parse()?, amount: 13, key: key.clone() },
///     Effect::Pay { account: "08".repeat(32).parse()?, amount: 12, key },
/// ];
/// let mut bonds = Bonds::new("registry", wallet);
/// for effect in &effects {
///     if let Some(transfer) = bonds.transfer(effect, account_of_name)? {
///         treasury.apply(now, &transfer)?;
///     }
/// }
/// assert_eq!((treasury.available(wallet), treasury.available(other)), (75, 12));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bonds {
    scope: String,
    pool: AccountId,
    keys: BTreeMap<String, Key>,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Key {
    effects: u32,
    bond: Option<u128>,
}

/// Why an effect has no transfer. The bonds are as they were.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum BondError {
    /// Nobody knows whose account this is.
    UnknownAccount(Account),
    /// Released or burned under a key without a lock, or locked under one that has a lock.
    WrongKey(String),
}

impl core::fmt::Display for BondError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::UnknownAccount(account) => write!(f, "unknown account {account}"),
            Self::WrongKey(key) => write!(f, "key {key} is locked already, or not locked"),
        }
    }
}

impl core::error::Error for BondError {}

impl Bonds {
    /// No bonds yet. Payments that come out of no bond come out of `pool`.
    pub fn new(scope: impl Into<String>, pool: AccountId) -> Self {
        Self { scope: scope.into(), pool, keys: BTreeMap::new() }
    }

    /// The transfer of an effect, if it moves money; `resolve` says whose account a name is.
    ///
    /// # Errors
    /// [`BondError`].
    pub fn transfer(
        &mut self,
        effect: &Effect,
        resolve: impl FnOnce(&Account) -> Option<AccountId>,
    ) -> Result<Option<Transfer>, BondError> {
        let (account, amount) = match effect {
            Effect::Lock { account, amount, .. }
            | Effect::Release { account, amount, .. }
            | Effect::Burn { account, amount, .. }
            | Effect::Pay { account, amount, .. }
            | Effect::Mint { account, amount, .. } => (account, *amount),
            _ => return Ok(None),
        };
        let to = resolve(account).ok_or_else(|| BondError::UnknownAccount(account.clone()))?.get();
        let name = effect.key();
        let mut key = self.keys.get(name).copied().unwrap_or_default();
        let id = self.id(name, key.effects);
        let wrong = || BondError::WrongKey(name.to_owned());
        let transfer = match (effect, key.bond) {
            (Effect::Lock { .. }, None) => {
                key.bond = Some(id);
                Transfer::Bond { id, account: to, amount }
            }
            (Effect::Lock { .. }, Some(_)) => return Err(wrong()),
            (Effect::Release { .. } | Effect::Pay { .. }, Some(bond)) => {
                Transfer::DrawBond { id, bond, to: Some(to), amount }
            }
            (Effect::Burn { .. }, Some(bond)) => Transfer::DrawBond { id, bond, to: None, amount },
            (Effect::Release { .. } | Effect::Burn { .. }, None) => return Err(wrong()),
            (Effect::Mint { .. }, _) => Transfer::Mint { id, to, amount },
            (_, _) => Transfer::Pay { id, from: self.pool.get(), to, amount },
        };
        key.effects = key.effects.checked_add(1).ok_or_else(wrong)?;
        self.keys.insert(name.to_owned(), key);
        Ok(Some(transfer))
    }

    fn id(&self, key: &str, number: u32) -> u128 {
        let mut data = b"hanzo.glue.experience.v1\0".to_vec();
        for part in [self.scope.as_str(), key] {
            data.extend(part.bytes());
            data.push(0);
        }
        data.extend(number.to_be_bytes());
        leaf_hash(&data).as_bytes().iter().take(16).fold(0, |id, byte| id << 8 | u128::from(*byte))
    }
}
