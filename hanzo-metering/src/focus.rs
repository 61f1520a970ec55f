//! Export of invoices in the FinOps Open Cost and Usage Specification (FOCUS).

mod columns;
mod currency;
mod row;

pub use columns::FocusVersion;
pub use currency::Currency;

use crate::wide::{mul_add_div, mul_div};
use crate::{AccountId, BillingError, Invoice, RuntimeKind, Tariff, TeeKind, Timestamp, TransferId, UnitError};
use alloc::collections::BTreeMap;
use alloc::string::String;
use alloc::vec::Vec;
use row::{Charge, Field, Period, Row};
use std::io::Write;

/// What an export says beside the invoices.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FocusConfig {
    /// The currency costs are given in.
    pub currency: Currency,
    /// Billionths of the currency per base unit, as a ratio. With 0 as the second number nothing can be written.
    pub rate: (u128, u128),
    /// Who provides, publishes and bills: the provider's name.
    pub provider: String,
    /// The service's name.
    pub service: String,
    /// Whether the columns `x_AmountBaseUnits`, `x_Asset`, `x_FromHeight`, `x_ToHeight` and `x_Basis` follow.
    pub token_columns: bool,
    /// Names of accounts; one without a name is named by its id.
    pub accounts: BTreeMap<AccountId, String>,
    /// The deployments of the invoices.
    pub deployments: BTreeMap<[u8; 32], FocusDeployment>,
}

impl FocusConfig {
    /// Costs at `rate` billionths of `currency` per base unit, of the Hanzo Network's `Hanzo Compute`, with token columns.
    ///
    /// # Errors
    /// `NotIso4217`.
    pub fn new(currency: &str, rate: (u128, u128)) -> Result<Self, BillingError> {
        Ok(Self {
            currency: Currency::new(currency)?,
            rate,
            provider: "Hanzo Network".into(),
            service: "Hanzo Compute".into(),
            token_columns: true,
            accounts: BTreeMap::new(),
            deployments: BTreeMap::new(),
        })
    }
}

/// What an export says of a deployment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FocusDeployment {
    /// The tariff it is billed by.
    pub tariff: Tariff,
    /// What it runs in.
    pub runtime: RuntimeKind,
    /// Which trusted execution environments it is attested in.
    pub tee: TeeKind,
    /// Its name, if it has one.
    pub name: Option<String>,
    /// Its namespace, by which costs are summed (000, 5.2.2).
    pub namespace: Option<String>,
}

impl FocusDeployment {
    /// A deployment without name and namespace.
    pub const fn new(tariff: Tariff, runtime: RuntimeKind, tee: TeeKind) -> Self {
        Self { tariff, runtime, tee, name: None, namespace: None }
    }
}

/// A credit that is no line of an invoice's usage, such as goodwill.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FocusCredit {
    /// Who gets it.
    pub account: AccountId,
    /// For which deployment.
    pub deployment: [u8; 32],
    /// On which invoice.
    pub invoice: TransferId,
    /// Base units; a credit is written as a negative cost.
    pub amount: u128,
    /// What for.
    pub description: String,
    /// For which time.
    pub from: Timestamp,
    /// Until when.
    pub to: Timestamp,
}

/// Writes invoices and credits as a FOCUS file: a header, a row for each line of each invoice, then the credits.
///
/// Costs are billionths of the currency, rounded down with a carry from row to row, so a cost column sums to the whole
/// rounded down once. Quantities are CU-hours after the multipliers of the price: quantity times unit price is the cost
/// within a billionth for each factor. Times are whole seconds, rounded down. Names that a spreadsheet would take for a
/// formula or a number get an apostrophe in front, and in names of resources characters beyond ASCII are written `\u{..}`,
/// which FOCUS 1.2 asks for.
///
/// # Errors
/// `UnknownDeployment` where the configuration lacks one; `Overflow`, also for a rate over 0; `Write` where `out` fails. Rows before may have been
/// written.
///
/// ```
/// # use hanzo_metering::*;
/// # fn main() -> Result<(), BillingError> {
/// # let t = |s: u64| Timestamp::from_nanos(s * 1_000_000_000);
/// # let (tariff, runtime, tee) = (Tariff::hanzo(1_250_000), RuntimeKind::Docker, TeeKind::None);
/// # let mut meter = Meter::new(MeterConfig::default(), t(0));
/// # let value = Value::Reserved(Resources::new(2_000, 4 << 30, 0)?);
/// # meter.record(t(0), Reading { source: b"node", id: b"1", at: t(0), value })?;
/// # let mut biller = Biller::new(100, 0)?;
/// # biller.add([7; 32], Deployment { account: AccountId::new(42), tariff, runtime, tee, meter })?;
/// # let invoices = biller.bill_through(100, t(3_600))?.1;
/// // 9 decimals: a base unit is a billionth of a token worth one dollar.
/// let mut config = FocusConfig::new("USD", (1, 1))?;
/// config.deployments.insert([7; 32], FocusDeployment::new(tariff, runtime, tee));
/// let mut file = Vec::new();
/// write_focus(&mut file, FocusVersion::V1_2, &config, &invoices, &[])?;
/// assert!(String::from_utf8_lossy(&file).contains(",0.050000000,"));
/// # Ok(()) }
/// ```
pub fn write_focus<W: Write>(
    out: W,
    version: FocusVersion,
    config: &FocusConfig,
    invoices: &[Invoice],
    credits: &[FocusCredit],
) -> Result<(), BillingError> {
    let mut csv = csv::Writer::from_writer(out);
    let mut costs = Costs { rate: config.rate, carry: 0 };
    let columns: Vec<&str> = columns::header(version, config.token_columns).collect();
    csv.write_record(&columns).map_err(|_| BillingError::Write)?;
    let fields: Vec<Field> = columns.into_iter().map(Row::field).collect();
    let mut period = None;
    let mut write = |deployment: &[u8; 32], charge: Charge<'_>, amount: i128| {
        let deployment = config.deployments.get(deployment).ok_or(BillingError::UnknownDeployment)?;
        let period = Period::of(&mut period, charge)?;
        let row = Row::new(config, deployment, charge, period, costs.of(amount)?)?;
        for field in &fields {
            csv.write_field(field(&row).as_bytes()).map_err(|_| BillingError::Write)?;
        }
        csv.write_record(None::<&[u8]>).map_err(|_| BillingError::Write)
    };
    for invoice in invoices {
        for line in &invoice.lines {
            write(&invoice.deployment, Charge::Line { invoice, line }, line.amount)?;
        }
    }
    for credit in credits {
        let amount = i128::try_from(credit.amount).map_err(|_| UnitError::Overflow)?;
        write(&credit.deployment, Charge::Credit(credit), -amount)?;
    }
    csv.flush().map_err(|_| BillingError::Write)
}

/// Base units to billionths of the currency, with a carry.
struct Costs {
    rate: (u128, u128),
    /// Below the second number of the rate.
    carry: u128,
}

impl Costs {
    fn of(&mut self, amount: i128) -> Result<i128, UnitError> {
        let (rate, per) = self.rate;
        let magnitude = amount.unsigned_abs();
        let signed = |n: u128| i128::try_from(n).map_err(|_| UnitError::Overflow);
        let (cost, carry) = if amount >= 0 {
            let (cost, carry) = mul_add_div(magnitude, rate, self.carry, per).ok_or(UnitError::Overflow)?;
            (signed(cost)?, carry)
        } else {
            let (cost, rest) = mul_div(magnitude, rate, per).ok_or(UnitError::Overflow)?;
            if rest <= self.carry {
                (-signed(cost)?, self.carry - rest)
            } else {
                (-signed(cost)? - 1, per - (rest - self.carry))
            }
        };
        self.carry = carry;
        Ok(cost)
    }
}
