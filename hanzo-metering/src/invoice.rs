use crate::meter::Changes;
use crate::wire::{Bytes, Wire, WireError, wire_enum, wire_struct};
use crate::{
    AccountId, Carry, Correction, Meter, MeterError, RuntimeKind, SignedQuanta, Status, Tariff, TeeKind, Timestamp,
    TransferId, UnitError, Window,
};
use alloc::collections::BTreeMap;
use alloc::vec::Vec;

/// A deployment that is billed.
#[derive(Debug, Clone)]
pub struct Deployment {
    /// Who pays.
    pub account: AccountId,
    /// By which tariff; it holds as long as the deployment.
    pub tariff: Tariff,
    /// What it runs in.
    pub runtime: RuntimeKind,
    /// Which trusted execution environments it is attested in.
    pub tee: TeeKind,
    /// Its meter.
    pub meter: Meter,
}

/// One line of an invoice.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Line {
    /// What it is for.
    pub kind: LineKind,
    /// The quantity; of a correction, the difference.
    pub quanta: SignedQuanta,
    /// Base units; below 0 for a credit.
    pub amount: i128,
    /// The carry of the deployment after this line.
    pub carry_after: Carry,
}

/// What a line is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum LineKind {
    /// The usage of the invoice's own window.
    Usage(Window),
    /// What late readings changed in an earlier window.
    Correction(Correction),
}

/// What one deployment owes for the heights `(from_height, to_height]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Invoice {
    /// Its id, and the id of the transfer that pays it.
    pub id: TransferId,
    /// Who pays.
    pub account: AccountId,
    /// The deployment.
    pub deployment: [u8; 32],
    /// Hash of the tariff.
    pub tariff: [u8; 32],
    /// Height up to which was billed before.
    pub from_height: u64,
    /// Height up to which is billed now.
    pub to_height: u64,
    /// The usage, then the corrections, oldest first.
    pub lines: Vec<Line>,
    /// Base units in all; a negative total is owed to the account.
    pub total: i128,
    /// Base units to be minted for it once it is paid; a negative number is set against a later one.
    pub mint: i128,
}

/// Invoices by block height: one a deployment and boundary, however many boundaries were missed, and never two.
///
/// ```
/// use hanzo_metering::{AccountId, Biller, Deployment, Meter, MeterConfig, Reading, Resources, RuntimeKind};
/// use hanzo_metering::{Tariff, TeeKind, Timestamp, Value};
/// # fn main() -> Result<(), hanzo_metering::Error> {
/// let t = Timestamp::from_nanos;
/// let meter = Meter::new(MeterConfig::default(), t(0));
/// let tariff = Tariff::hanzo(1_250_000);
/// let (runtime, tee) = (RuntimeKind::Docker, TeeKind::None);
/// let mut biller = Biller::new(100, 0)?;
/// biller.add([7; 32], Deployment { account: AccountId::new(9), tariff, runtime, tee, meter })?;
/// let value = Value::Reserved(Resources::new(2_000, 4 << 30, 0)?);
/// biller.meter(&[7; 32])?.record(t(0), Reading { source: b"node", id: b"1", at: t(0), value })?;
/// assert_eq!(biller.due(250), Some(200));
/// let (_, invoices) = biller.bill_through(200, t(400_000_000_000))?; // 200 blocks of 2 s
/// assert_eq!(invoices[0].total, 5_555_555);
/// # Ok(()) }
/// ```
#[derive(Debug, Clone)]
pub struct Biller {
    interval_blocks: u64,
    watermark: u64,
    deployments: BTreeMap<[u8; 32], Entry>,
    /// The invoices of the watermark.
    last: Option<(Timestamp, Vec<Invoice>)>,
}

#[derive(Debug, Clone)]
struct Entry {
    deployment: Deployment,
    price: Carry,
    mint: Carry,
}

impl Biller {
    /// Bills at multiples of `interval_blocks`, from the height `billed_to` on.
    ///
    /// # Errors
    /// `ZeroInterval`.
    pub const fn new(interval_blocks: u64, billed_to: u64) -> Result<Self, BillingError> {
        if interval_blocks == 0 {
            return Err(BillingError::ZeroInterval);
        }
        Ok(Self { interval_blocks, watermark: billed_to, deployments: BTreeMap::new(), last: None })
    }

    /// Bills a deployment from now on; its meter's open window is its first.
    ///
    /// # Errors
    /// `BasisMismatch` where meter and tariff have different bases: the invoice names the tariff; `KnownDeployment`.
    pub fn add(&mut self, id: [u8; 32], deployment: Deployment) -> Result<(), BillingError> {
        if deployment.meter.config().basis != deployment.tariff.basis() {
            return Err(BillingError::BasisMismatch);
        }
        if self.deployments.contains_key(&id) {
            return Err(BillingError::KnownDeployment);
        }
        self.deployments.insert(id, Entry { deployment, price: Carry::default(), mint: Carry::default() });
        Ok(())
    }

    /// Bills a deployment no more, and gives it back; what was not billed is in its meter.
    ///
    /// # Errors
    /// `UnknownDeployment`.
    pub fn remove(&mut self, id: &[u8; 32]) -> Result<Deployment, BillingError> {
        Ok(self.deployments.remove(id).ok_or(BillingError::UnknownDeployment)?.deployment)
    }

    /// How many deployments are billed.
    pub fn len(&self) -> usize {
        self.deployments.len()
    }

    /// Whether none is.
    pub fn is_empty(&self) -> bool {
        self.deployments.is_empty()
    }

    /// Whether a deployment is billed.
    pub fn contains(&self, id: &[u8; 32]) -> bool {
        self.deployments.contains_key(id)
    }

    /// The meter of a deployment, for its readings. Windows are closed by [`bill_through`](Self::bill_through).
    ///
    /// # Errors
    /// `UnknownDeployment`.
    pub fn meter(&mut self, id: &[u8; 32]) -> Result<&mut Meter, BillingError> {
        Ok(&mut self.deployments.get_mut(id).ok_or(BillingError::UnknownDeployment)?.deployment.meter)
    }

    /// The greatest boundary up to `height` that is not billed.
    pub const fn due(&self, height: u64) -> Option<u64> {
        let boundary = height - height % self.interval_blocks;
        if boundary > self.watermark { Some(boundary) } else { None }
    }

    /// Height up to which everything is billed.
    pub const fn billed_to(&self) -> u64 {
        self.watermark
    }

    /// Bills every deployment up to `boundary`, whose block has the time `at`: one invoice each, by rising deployment id. The last
    /// boundary again gives its invoices again, as `Existing`.
    ///
    /// # Errors
    /// `NotABoundary`, `AlreadyBilled`, `WindowClosed` where a meter is past `at`, `Overflow`. Nothing is then billed.
    pub fn bill_through(&mut self, boundary: u64, at: Timestamp) -> Result<(Status, Vec<Invoice>), BillingError> {
        if !boundary.is_multiple_of(self.interval_blocks) {
            return Err(BillingError::NotABoundary { interval_blocks: self.interval_blocks });
        }
        match &self.last {
            Some((then, invoices)) if boundary == self.watermark && *then == at => {
                return Ok((Status::Existing, invoices.clone()));
            }
            _ if boundary <= self.watermark => return Err(BillingError::AlreadyBilled { watermark: self.watermark }),
            _ => {}
        }
        let bill = |(id, entry): (&[u8; 32], &Entry)| entry.bill(*id, self.watermark, boundary, at);
        let bills: Vec<Bill> = self.deployments.iter().map(bill).collect::<Result<_, _>>()?;
        let mut invoices = Vec::with_capacity(bills.len());
        for (entry, bill) in self.deployments.values_mut().zip(bills) {
            invoices.push(entry.accept(bill));
        }
        self.watermark = boundary;
        self.last = Some((at, invoices.clone()));
        Ok((Status::New, invoices))
    }
}

/// An invoice, and what its deployment will be once it is made.
struct Bill {
    invoice: Invoice,
    window: Window,
    changes: Changes,
    price: Carry,
    mint: Carry,
}

impl Entry {
    fn bill(&self, id: [u8; 32], from: u64, to: u64, at: Timestamp) -> Result<Bill, BillingError> {
        let Deployment { account, tariff, runtime, tee, ref meter } = self.deployment;
        let (changes, window) = (meter.changes()?, meter.window_to(at)?);
        let mut items = Vec::with_capacity(1 + changes.corrections.len());
        items.push((LineKind::Usage(window), tariff.quanta(&window.usage)?.into()));
        for &c in &changes.corrections {
            items.push((LineKind::Correction(c), tariff.signed_quanta(&c.delta)?));
        }
        let (mut price, mut mint) = (self.price, self.mint);
        let (mut lines, mut total, mut minted) = (Vec::with_capacity(items.len()), 0i128, 0i128);
        for (kind, quanta) in items {
            let amount = tariff.price(quanta, runtime, tee, &mut price)?;
            let reward = tariff.mint(quanta, runtime, tee, &mut mint)?;
            total = total.checked_add(amount).ok_or(UnitError::Overflow)?;
            minted = minted.checked_add(reward).ok_or(UnitError::Overflow)?;
            lines.push(Line { kind, quanta, amount, carry_after: price });
        }
        let tariff = tariff.hash();
        let invoice = Invoice {
            id: TransferId::invoice(account, &id, &tariff, from, to),
            account,
            deployment: id,
            tariff,
            from_height: from,
            to_height: to,
            lines,
            total,
            mint: minted,
        };
        Ok(Bill { invoice, window, changes, price, mint })
    }

    fn accept(&mut self, bill: Bill) -> Invoice {
        self.deployment.meter.accept(&bill.changes);
        self.deployment.meter.push(bill.window);
        self.price = bill.price;
        self.mint = bill.mint;
        bill.invoice
    }
}

/// Why nothing was billed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
#[non_exhaustive]
pub enum BillingError {
    /// The height is no multiple of the interval.
    #[error("height is not a multiple of {interval_blocks}")]
    NotABoundary {
        /// Blocks between bills.
        interval_blocks: u64,
    },
    /// The height was billed before.
    #[error("billed up to {watermark} already")]
    AlreadyBilled {
        /// Height up to which is billed.
        watermark: u64,
    },
    /// No deployment has that id.
    #[error("unknown deployment")]
    UnknownDeployment,
    /// The meter of a deployment has another basis than its tariff.
    #[error("meter and tariff have different bases")]
    BasisMismatch,
    /// The deployment is billed already.
    #[error("deployment is billed already")]
    KnownDeployment,
    /// The currency of an export has no code of ISO 4217.
    #[error("not a currency code of ISO 4217")]
    NotIso4217,
    /// An export could not be written.
    #[error("export could not be written")]
    Write,
    /// An interval of 0 blocks.
    #[error("interval of zero blocks")]
    ZeroInterval,
    /// A meter could not be read.
    #[error(transparent)]
    Meter(#[from] MeterError),
    /// An amount could not be made.
    #[error(transparent)]
    Unit(#[from] UnitError),
}

/// The watermark, the deployments and the invoices of the watermark.
impl Biller {
    pub(crate) fn put_state(&self, out: &mut Vec<u8>) {
        self.watermark.put(out);
        self.deployments.put(out);
        self.last.put(out);
    }

    pub(crate) fn take_state(&mut self, bytes: &mut Bytes<'_>) -> Result<(), WireError> {
        self.watermark = u64::take(bytes)?;
        self.deployments = Wire::take(bytes)?;
        self.last = Wire::take(bytes)?;
        Ok(())
    }
}

wire_struct!(Entry { deployment, price, mint });
wire_struct!(Deployment { account, tariff, runtime, tee, meter });
wire_enum!(LineKind { 0 => Usage(window), 1 => Correction(correction) });
wire_struct!(Line { kind, quanta, amount, carry_after });
wire_struct!(Invoice { id, account, deployment, tariff, from_height, to_height, lines, total, mint });
