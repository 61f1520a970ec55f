//! What inference is paid with (004): fees by model, and credits earned by contributing.

use crate::units::HOUR_NS;
use crate::wide::mul_add_div;
use crate::{
    AccountFlag, AccountId, Carry, Ledger, LedgerError, NewAccount, Opened, Status, Timestamp, Transfer, TransferId,
    UnitError,
};

/// Models of the Zoo network, whose fee a query 004, 10.1 names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Model {
    /// Qwen3 with 4 billion parameters.
    Qwen3_4B,
    /// Qwen3 with 7 billion parameters.
    Qwen3_7B,
    /// Qwen3 with 32 billion parameters.
    Qwen3_32B,
    /// Qwen3 with 72 billion parameters.
    Qwen3_72B,
    /// DeepSeek-V3.
    DeepSeekV3,
}

impl Model {
    /// All of them, by rising fee.
    pub const ALL: [Self; 5] = [Self::Qwen3_4B, Self::Qwen3_7B, Self::Qwen3_32B, Self::Qwen3_72B, Self::DeepSeekV3];

    /// The name in the table.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Qwen3_4B => "Qwen3-4B",
            Self::Qwen3_7B => "Qwen3-7B",
            Self::Qwen3_32B => "Qwen3-32B",
            Self::Qwen3_72B => "Qwen3-72B",
            Self::DeepSeekV3 => "DeepSeek-V3",
        }
    }

    /// The model of a name in the table.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|model| model.name() == name)
    }

    /// The fee of one query in base units of KEEPER, of 9 decimals: 0.01, 0.02, 0.05, 0.1 and 0.5.
    ///
    /// ```
    /// use hanzo_metering::Model;
    /// assert_eq!(Model::from_name("Qwen3-32B").map(Model::fee), Some(50_000_000));
    /// ```
    pub const fn fee(self) -> u128 {
        match self {
            Self::Qwen3_4B => 10_000_000,
            Self::Qwen3_7B => 20_000_000,
            Self::Qwen3_32B => 50_000_000,
            Self::Qwen3_72B => 100_000_000,
            Self::DeepSeekV3 => 500_000_000,
        }
    }

    /// The fee of several queries.
    ///
    /// # Errors
    /// `Overflow`, which 2^64 queries do not reach.
    pub fn fee_of(self, queries: u64) -> Result<u128, UnitError> {
        self.fee().checked_mul(u128::from(queries)).ok_or(UnitError::Overflow)
    }
}

/// Inference credits (004, 6.3): an asset of its own, 1,000 for a contributed hour and 1 a query, which cannot be transferred.
///
/// Contributed time is integrated as compute is: each stretch of `n` nanoseconds earns `floor((c + 1000 n) / H)` with the carry `c`
/// of the account, so no cutting into stretches earns more or less than the whole.
///
/// ```
/// use hanzo_metering::{InferenceCredits, AccountId, Timestamp, TransferId};
/// # fn main() -> Result<(), hanzo_metering::LedgerError> {
/// let (now, ann) = (Timestamp::from_nanos(1), AccountId::new(9));
/// let mut credits = InferenceCredits::new(2)?;
/// credits.open(now, ann, [7; 32])?;
/// assert_eq!(credits.contribute(now, TransferId::new(1), ann, 3_600_000_000_000)?, 1_000);
/// credits.spend(now, TransferId::new(2), ann, 1)?;
/// assert_eq!(credits.balance(ann), 999);
/// # Ok(()) }
/// ```
#[derive(Debug, Clone)]
pub struct InferenceCredits {
    ledger: Ledger,
    asset: u32,
    earned: alloc::collections::BTreeMap<AccountId, Carry>,
    /// By id: account, time and credits of a contribution.
    contributions: alloc::collections::BTreeMap<TransferId, (AccountId, u64, u128)>,
}

impl InferenceCredits {
    /// Credits for a contributed hour.
    pub const PER_HOUR: u128 = 1_000;

    /// No accounts, in the asset of this number.
    ///
    /// # Errors
    /// None: a new ledger takes both of its own accounts.
    pub fn new(asset: u32) -> Result<Self, LedgerError> {
        let mut ledger = Ledger::new();
        for id in [ISSUED, SPENT] {
            ledger.open(Timestamp::ZERO, NewAccount::new(id, asset))?;
        }
        Ok(Self { ledger, asset, earned: Default::default(), contributions: Default::default() })
    }

    /// Opens the account of a contributor.
    ///
    /// # Errors
    /// As [`Ledger::open`]; 1 and 2 are the ids of the issued and the spent credits.
    pub fn open(&mut self, now: Timestamp, id: AccountId, owner: [u8; 32]) -> Result<Opened, LedgerError> {
        let flag = AccountFlag::DebitsLeCredits;
        self.ledger.open(now, NewAccount { flag, owner, ..NewAccount::new(id, self.asset) })
    }

    /// Credits an account for `nanos` of contribution, and returns how many; the same id again gives the same answer.
    ///
    /// # Errors
    /// `IdConflict` where the id is known for something else; as [`Ledger::apply`].
    pub fn contribute(
        &mut self,
        now: Timestamp,
        id: TransferId,
        account: AccountId,
        nanos: u64,
    ) -> Result<u128, LedgerError> {
        self.ledger.advance(now)?;
        if let Some(&(known, time, credits)) = self.contributions.get(&id) {
            return match (known == account, time == nanos) {
                (true, true) => Ok(credits),
                (false, _) => Err(LedgerError::IdConflict { field: crate::Field::Credit }),
                (true, false) => Err(LedgerError::IdConflict { field: crate::Field::Amount }),
            };
        }
        if self.ledger.transfer(id).is_some() {
            return Err(LedgerError::IdConflict { field: crate::Field::Kind });
        }
        if [ISSUED, SPENT].contains(&account) || self.ledger.handle(account).is_none() {
            return Err(LedgerError::CreditNotFound);
        }
        let carry = self.earned.get(&account).copied().unwrap_or_default();
        let earned = mul_add_div(u128::from(nanos), Self::PER_HOUR, carry.raw(), HOUR_NS);
        let (credits, rest) = earned.ok_or(LedgerError::Overflow)?;
        if credits > 0 {
            self.ledger.apply(now, &Transfer::new(id, ISSUED, account, credits))?;
        }
        self.earned.insert(account, Carry::from_raw(rest));
        self.contributions.insert(id, (account, nanos, credits));
        Ok(credits)
    }

    /// Takes one credit for each of `queries`; the same id again changes nothing.
    ///
    /// # Errors
    /// `ExceedsCredits` where fewer are left, `IdConflict`, and as [`Ledger::apply`].
    pub fn spend(
        &mut self,
        now: Timestamp,
        id: TransferId,
        account: AccountId,
        queries: u64,
    ) -> Result<Status, LedgerError> {
        if self.contributions.contains_key(&id) {
            return Err(LedgerError::IdConflict { field: crate::Field::Kind });
        }
        if [ISSUED, SPENT].contains(&account) {
            return Err(LedgerError::DebitNotFound);
        }
        Ok(self.ledger.apply(now, &Transfer::new(id, account, SPENT, u128::from(queries)))?.status)
    }

    /// How many queries an account can still spend; 0 for one that was never credited.
    pub fn balance(&self, account: AccountId) -> u128 {
        self.ledger.balance_of(account).map_or(0, |b| b.available())
    }

    /// The ledger, to read and to audit.
    pub const fn ledger(&self) -> &Ledger {
        &self.ledger
    }
}

const ISSUED: AccountId = AccountId::new(1);
const SPENT: AccountId = AccountId::new(2);
