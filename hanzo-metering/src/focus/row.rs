use super::{FocusConfig, FocusCredit, FocusDeployment};
use crate::wide::mul_div;
use crate::{Basis, BillingError, Invoice, Line, LineKind, RuntimeKind, TeeKind, Timestamp, UnitError};
use alloc::borrow::Cow;
use alloc::format;
use alloc::string::{String, ToString};
use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use jiff::{ToSpan, Unit};

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
    cost: String,
    /// CU-hours and their price; a credit has neither.
    quantity: Option<(String, String)>,
    period: [String; 2],
    month: [String; 2],
}

impl<'a> Row<'a> {
    pub(super) fn new(
        config: &'a FocusConfig,
        deployment: &'a FocusDeployment,
        charge: Charge<'a>,
        cost: i128,
    ) -> Result<Self, BillingError> {
        let (from, to) = match charge {
            Charge::Line { line, .. } => match line.kind {
                LineKind::Usage(w) => (w.from, w.to),
                LineKind::Correction(c) => (c.from, c.to),
            },
            Charge::Credit(c) => (c.from, c.to),
        };
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
        let begin = second(from)?;
        let month = begin.date().first_of_month();
        let next = month.checked_add(1.month()).map_err(|_| UnitError::Overflow)?;
        Ok(Self {
            config,
            deployment,
            charge,
            cost: decimal(cost),
            quantity,
            period: [utc(begin), utc(second(to)?)],
            month: [utc(month.at(0, 0, 0, 0)), utc(next.at(0, 0, 0, 0))],
        })
    }

    /// The value of a column; empty is null.
    pub(super) fn field(&self, column: &str) -> Cow<'_, str> {
        let config = self.config;
        let usage = self.quantity.is_some();
        let only = |shown: bool, text: &'static str| Cow::from(if shown { text } else { "" });
        let quantity = || self.quantity.as_ref().map_or("", |q| &q.0).into();
        let price = || self.quantity.as_ref().map_or("", |q| &q.1).into();
        let named = self.deployment.namespace.as_ref();
        match column {
            "BilledCost" | "ContractedCost" | "EffectiveCost" | "ListCost" | "PricingCurrencyEffectiveCost" => {
                self.cost.as_str().into()
            }
            "BillingAccountId" => self.account_id().into(),
            "BillingAccountName" => match config.accounts.get(&self.account()) {
                Some(name) => text(name),
                None => self.account_id().into(),
            },
            "BillingAccountType" => "Wallet".into(),
            "BillingCurrency" | "PricingCurrency" => config.currency.code().into(),
            "BillingPeriodStart" => self.month[0].as_str().into(),
            "BillingPeriodEnd" => self.month[1].as_str().into(),
            "ChargePeriodStart" => self.period[0].as_str().into(),
            "ChargePeriodEnd" => self.period[1].as_str().into(),
            "ChargeCategory" | "ChargeType" => if usage { "Usage" } else { "Credit" }.into(),
            "ChargeClass" => only(self.is_correction(), "Correction"),
            "ChargeDescription" => self.description(),
            "ChargeFrequency" => if usage { "Usage-Based" } else { "One-Time" }.into(),
            "ConsumedQuantity" | "PricingQuantity" => quantity(),
            "ConsumedUnit" | "PricingUnit" => only(usage, "CU-Hours"),
            "ContractedUnitPrice"
            | "ListUnitPrice"
            | "PricingCurrencyContractedUnitPrice"
            | "PricingCurrencyListUnitPrice" => price(),
            "InvoiceId" => format!("inv-{:032x}", self.invoice()).into(),
            "InvoiceIssuerName" | "InvoiceIssuer" | "ProviderName" | "Provider" | "PublisherName" | "Publisher" => {
                text(&config.provider)
            }
            "PricingCategory" => only(usage, "Standard"),
            "ResourceId" | "ResourceID" => self.resource().into(),
            "ResourceName" => self.deployment.name.as_deref().map_or("".into(), |name| ascii(text(name))),
            "ResourceType" => "Deployment".into(),
            "ServiceCategory" => "Compute".into(),
            "ServiceName" => text(&config.service),
            "ServiceSubcategory" => "Containers".into(),
            "SkuId" => only(usage, runtime(self.deployment.runtime)),
            "SkuMeter" => only(usage, "Compute Units"),
            "SkuPriceDetails" => only(usage, "{}"),
            "SkuPriceId" if usage => {
                format!("{}-{}", runtime(self.deployment.runtime), tee(self.deployment.tee)).into()
            }
            "SubAccountId" | "SubAccountName" => named.map_or("".into(), |name| format!("ns-{name}").into()),
            "SubAccountType" => only(named.is_some(), "Namespace"),
            "Tags" => {
                let (runtime, tee) = (runtime(self.deployment.runtime), tee(self.deployment.tee));
                format!("{{\"runtime\":\"{runtime}\",\"tee\":\"{tee}\"}}").into()
            }
            "x_AmountBaseUnits" => match self.charge {
                Charge::Line { line, .. } => line.amount.to_string(),
                Charge::Credit(c) => format!("-{}", c.amount),
            }
            .into(),
            "x_Asset" => self.deployment.tariff.asset().to_string().into(),
            "x_FromHeight" => self.heights().map_or("".into(), |h| h.0.to_string().into()),
            "x_ToHeight" => self.heights().map_or("".into(), |h| h.1.to_string().into()),
            "x_Basis" => only(usage, basis(self.deployment.tariff.basis())),
            // Availability zones, regions, commitments, reservations: there are none.
            _ => "".into(),
        }
    }

    fn account(&self) -> crate::AccountId {
        match self.charge {
            Charge::Line { invoice, .. } => invoice.account,
            Charge::Credit(c) => c.account,
        }
    }

    fn account_id(&self) -> String {
        format!("acct-{:032x}", self.account().get())
    }

    fn invoice(&self) -> u128 {
        match self.charge {
            Charge::Line { invoice, .. } => invoice.id.get(),
            Charge::Credit(c) => c.invoice.get(),
        }
    }

    fn resource(&self) -> String {
        let deployment = match self.charge {
            Charge::Line { invoice, .. } => &invoice.deployment,
            Charge::Credit(c) => &c.deployment,
        };
        let mut id = String::from("dep-");
        for byte in deployment {
            id.push_str(&format!("{byte:02x}"));
        }
        id
    }

    fn heights(&self) -> Option<(u64, u64)> {
        match self.charge {
            Charge::Line { invoice, .. } => Some((invoice.from_height, invoice.to_height)),
            Charge::Credit(_) => None,
        }
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
    format!("{sign}{}.{:09}", magnitude / NANO, magnitude % NANO)
}

/// The second a time lies in, in UTC.
fn second(at: Timestamp) -> Result<DateTime, UnitError> {
    let at = jiff::Timestamp::from_nanosecond(at.as_nanos().into()).map_err(|_| UnitError::Overflow)?;
    let floor = jiff::TimestampRound::new().smallest(Unit::Second).mode(jiff::RoundMode::Floor);
    Ok(TimeZone::UTC.to_datetime(at.round(floor).map_err(|_| UnitError::Overflow)?))
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

const NANO: u128 = 1_000_000_000;
