use super::{FocusConfig, FocusCredit, FocusDeployment};
use crate::wide::mul_div;
use crate::{AccountId, Basis, BillingError, Invoice, Line, LineKind, RuntimeKind, TeeKind, Timestamp, UnitError};
use alloc::borrow::Cow;
use alloc::format;
use alloc::string::{String, ToString};
use jiff::ToSpan;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;

/// What a row charges for.
#[derive(Clone, Copy)]
pub(super) enum Charge<'a> {
    Line { invoice: &'a Invoice, line: &'a Line },
    Credit(&'a FocusCredit),
}

/// One row, of which any column can be asked.
pub(super) struct Row<'a> {
    config: &'a FocusConfig,
    deployment: &'a FocusDeployment,
    charge: Charge<'a>,
    account: String,
    resource: String,
    cost: String,
    /// CU-hours and their price; a credit has neither.
    quantity: Option<(String, String)>,
    period: &'a Period,
}

/// The value of a column in a row; empty is null.
pub(super) type Field = for<'r> fn(&'r Row<'r>) -> Cow<'r, str>;

/// The time of a charge, and the month that its begin lies in.
pub(super) struct Period {
    of: (Timestamp, Timestamp),
    begin: String,
    end: String,
    month: [String; 2],
}

impl Period {
    fn new(from: Timestamp, to: Timestamp) -> Result<Self, BillingError> {
        let begin = second(from)?;
        let month = begin.date().first_of_month();
        let next = month.checked_add(1.month()).map_err(|_| UnitError::Overflow)?;
        Ok(Self {
            of: (from, to),
            begin: utc(begin),
            end: utc(second(to)?),
            month: [utc(month.at(0, 0, 0, 0)), utc(next.at(0, 0, 0, 0))],
        })
    }

    /// The period of a charge, which is often that of the charge before.
    pub(super) fn of<'a>(last: &'a mut Option<Self>, charge: Charge<'_>) -> Result<&'a Self, BillingError> {
        let of = match charge {
            Charge::Line { line, .. } => match line.kind {
                LineKind::Usage(w) => (w.from, w.to),
                LineKind::Correction(c) => (c.from, c.to),
            },
            Charge::Credit(c) => (c.from, c.to),
        };
        let known = last.take().filter(|period| period.of == of);
        let period = known.map_or_else(|| Self::new(of.0, of.1), Ok)?;
        Ok(last.insert(period))
    }
}

impl<'a> Row<'a> {
    pub(super) fn new(
        config: &'a FocusConfig,
        deployment: &'a FocusDeployment,
        charge: Charge<'a>,
        period: &'a Period,
        cost: i128,
    ) -> Result<Self, BillingError> {
        let quantity = match charge {
            Charge::Line { line, .. } => {
                let FocusDeployment { tariff, runtime, tee, .. } = deployment;
                let hours = tariff.billable_nano(line.quanta.magnitude(), *runtime, *tee)?;
                let hours = i128::try_from(hours).map_err(|_| UnitError::Overflow)?;
                let (rate, per) = config.rate;
                let price = mul_div(tariff.price_per_cu_hour(), rate, per).ok_or(UnitError::Overflow)?.0;
                let price = i128::try_from(price).map_err(|_| UnitError::Overflow)?;
                Some((decimal(if line.quanta.is_negative() { -hours } else { hours }), decimal(price)))
            }
            Charge::Credit(_) => None,
        };
        let (account, resource) = match charge {
            Charge::Line { invoice, .. } => (invoice.account, &invoice.deployment),
            Charge::Credit(c) => (c.account, &c.deployment),
        };
        Ok(Self {
            config,
            deployment,
            charge,
            account: hex("acct-", &account.get().to_be_bytes()),
            resource: hex("dep-", resource),
            cost: decimal(cost),
            quantity,
            period,
        })
    }

    /// How a column is read.
    pub(super) fn field(column: &str) -> Field {
        match column {
            "BilledCost" | "ContractedCost" | "EffectiveCost" | "ListCost" | "PricingCurrencyEffectiveCost" => {
                |row| row.cost.as_str().into()
            }
            "BillingAccountId" => |row| row.account.as_str().into(),
            "BillingAccountName" => |row| match row.config.accounts.get(&row.account()) {
                Some(name) => text(name),
                None => row.account.as_str().into(),
            },
            "BillingAccountType" => |_| "Wallet".into(),
            "BillingCurrency" | "PricingCurrency" => |row| row.config.currency.code().into(),
            "BillingPeriodStart" => |row| row.period.month[0].as_str().into(),
            "BillingPeriodEnd" => |row| row.period.month[1].as_str().into(),
            "ChargePeriodStart" => |row| row.period.begin.as_str().into(),
            "ChargePeriodEnd" => |row| row.period.end.as_str().into(),
            "ChargeCategory" | "ChargeType" => |row| if row.is_usage() { "Usage" } else { "Credit" }.into(),
            "ChargeClass" => |row| only(row.is_correction(), "Correction"),
            "ChargeDescription" => |row| row.description(),
            "ChargeFrequency" => |row| if row.is_usage() { "Usage-Based" } else { "One-Time" }.into(),
            "ConsumedQuantity" | "PricingQuantity" => {
                |row| row.quantity.as_ref().map_or("", |quantity| &quantity.0).into()
            }
            "ConsumedUnit" | "PricingUnit" => |row| only(row.is_usage(), "CU-Hours"),
            "ContractedUnitPrice"
            | "ListUnitPrice"
            | "PricingCurrencyContractedUnitPrice"
            | "PricingCurrencyListUnitPrice" => |row| row.quantity.as_ref().map_or("", |quantity| &quantity.1).into(),
            "InvoiceId" => |row| hex("inv-", &row.invoice().to_be_bytes()).into(),
            "InvoiceIssuerName" | "InvoiceIssuer" | "ProviderName" | "Provider" | "PublisherName" | "Publisher" => {
                |row| text(&row.config.provider)
            }
            "PricingCategory" => |row| only(row.is_usage(), "Standard"),
            "ResourceId" | "ResourceID" => |row| row.resource.as_str().into(),
            "ResourceName" => |row| row.deployment.name.as_deref().map_or("".into(), |name| ascii(text(name))),
            "ResourceType" => |_| "Deployment".into(),
            "ServiceCategory" => |_| "Compute".into(),
            "ServiceName" => |row| text(&row.config.service),
            "ServiceSubcategory" => |_| "Containers".into(),
            "SkuId" => |row| only(row.is_usage(), runtime(row.deployment.runtime)),
            "SkuMeter" => |row| only(row.is_usage(), "Compute Units"),
            "SkuPriceDetails" => |row| only(row.is_usage(), "{}"),
            "SkuPriceId" => |row| match row.quantity {
                Some(_) => [runtime(row.deployment.runtime), "-", tee(row.deployment.tee)].concat().into(),
                None => "".into(),
            },
            "SubAccountId" | "SubAccountName" => {
                |row| row.deployment.namespace.as_deref().map_or("".into(), |name| ["ns-", name].concat().into())
            }
            "SubAccountType" => |row| only(row.deployment.namespace.is_some(), "Namespace"),
            "Tags" => |row| {
                let (runtime, tee) = (runtime(row.deployment.runtime), tee(row.deployment.tee));
                ["{\"runtime\":\"", runtime, "\",\"tee\":\"", tee, "\"}"].concat().into()
            },
            "x_AmountBaseUnits" => |row| {
                match row.charge {
                    Charge::Line { line, .. } => line.amount.to_string(),
                    Charge::Credit(c) => format!("-{}", c.amount),
                }
                .into()
            },
            "x_Asset" => |row| row.deployment.tariff.asset().to_string().into(),
            "x_FromHeight" => |row| row.heights().map_or("".into(), |h| h.0.to_string().into()),
            "x_ToHeight" => |row| row.heights().map_or("".into(), |h| h.1.to_string().into()),
            "x_Basis" => |row| only(row.is_usage(), basis(row.deployment.tariff.basis())),
            // Availability zones, regions, commitments, reservations: there are none.
            _ => |_| "".into(),
        }
    }

    fn account(&self) -> AccountId {
        match self.charge {
            Charge::Line { invoice, .. } => invoice.account,
            Charge::Credit(c) => c.account,
        }
    }

    fn invoice(&self) -> u128 {
        match self.charge {
            Charge::Line { invoice, .. } => invoice.id.get(),
            Charge::Credit(c) => c.invoice.get(),
        }
    }

    fn heights(&self) -> Option<(u64, u64)> {
        match self.charge {
            Charge::Line { invoice, .. } => Some((invoice.from_height, invoice.to_height)),
            Charge::Credit(_) => None,
        }
    }

    const fn is_usage(&self) -> bool {
        self.quantity.is_some()
    }

    const fn is_correction(&self) -> bool {
        matches!(self.charge, Charge::Line { line: Line { kind: LineKind::Correction(_), .. }, .. })
    }

    fn description(&self) -> Cow<'_, str> {
        match self.charge {
            Charge::Credit(c) => text(&c.description),
            Charge::Line { .. } if self.is_correction() => "late readings of an earlier window".into(),
            Charge::Line { invoice, .. } => {
                let (runtime, basis) = (runtime(self.deployment.runtime), basis(self.deployment.tariff.basis()));
                format!("{runtime}, {basis}, blocks {} to {}", invoice.from_height, invoice.to_height).into()
            }
        }
    }
}

/// Billionths as a decimal number.
fn decimal(nano: i128) -> String {
    let magnitude = nano.unsigned_abs();
    let sign = if nano < 0 { "-" } else { "" };
    // Numbers of 64 bits are written, and divided, much faster.
    match u64::try_from(magnitude) {
        Ok(magnitude) => format!("{sign}{}.{:09}", magnitude / NANO, magnitude % NANO),
        Err(_) => format!("{sign}{}.{:09}", magnitude / u128::from(NANO), magnitude % u128::from(NANO)),
    }
}

/// Bytes in hex behind a prefix.
fn hex(prefix: &str, bytes: &[u8]) -> String {
    let mut out = String::with_capacity(prefix.len() + 2 * bytes.len());
    out.push_str(prefix);
    let digits = bytes.iter().flat_map(|byte| [byte >> 4, byte & 15]);
    out.extend(digits.filter_map(|digit| char::from_digit(digit.into(), 16)));
    out
}

fn only<'r>(shown: bool, text: &'static str) -> Cow<'r, str> {
    if shown { text } else { "" }.into()
}

/// The second a time lies in, in UTC.
fn second(at: Timestamp) -> Result<DateTime, UnitError> {
    let seconds = i64::try_from(at.as_nanos() / NANO).map_err(|_| UnitError::Overflow)?;
    let at = jiff::Timestamp::from_second(seconds).map_err(|_| UnitError::Overflow)?;
    Ok(TimeZone::UTC.to_datetime(at))
}

fn utc(time: DateTime) -> String {
    format!("{time}Z")
}

/// A name that is neither a formula nor a number to a spreadsheet.
fn text(name: &str) -> Cow<'_, str> {
    let formula = name.starts_with(['=', '+', '-', '@', '\t', '\r']);
    if formula || name.parse::<f64>().is_ok() { format!("'{name}").into() } else { name.into() }
}

/// The validator of 1.2 wants the names of resources in ASCII: other characters become `\u{..}`.
fn ascii(name: Cow<'_, str>) -> Cow<'_, str> {
    if name.is_ascii() {
        return name;
    }
    let escape = |c: char| if c.is_ascii() { c.to_string() } else { c.escape_unicode().to_string() };
    name.chars().map(escape).collect::<String>().into()
}

const fn runtime(kind: RuntimeKind) -> &'static str {
    match kind {
        RuntimeKind::Docker => "docker",
        RuntimeKind::Kubernetes => "kubernetes",
        RuntimeKind::Wasm => "wasm",
        RuntimeKind::Firecracker => "firecracker",
    }
}

const fn tee(kind: TeeKind) -> &'static str {
    match kind {
        TeeKind::None => "none",
        TeeKind::Cpu => "cpu",
        TeeKind::GpuConfidential => "gpu_confidential",
        TeeKind::CpuAndGpu => "cpu_and_gpu",
    }
}

const fn basis(basis: Basis) -> &'static str {
    match basis {
        Basis::Reserved => "reserved",
        Basis::Used => "used",
        Basis::MaxOfBoth => "max_of_both",
    }
}

const NANO: u64 = 1_000_000_000;
