//! The books of a network or a node: treasury, meters, invoices and mint as one state under one journal.

mod command;
mod state;

pub use command::{Answer, BilledInvoice, BooksError, Command, Deposit, Minted};

use crate::journal::{Frame, FrameKind, JournalStore, Journaled, JournaledError, Machine, Sink};
use crate::wire::{Bytes, Wire, WireError, wire_struct};
use crate::{
    AccountId, Biller, Deployment, Effect, Emission, Invoice, JobRecord, JournalError, Reading, Receipt, Recorded,
    Role, Status, Timestamp, Treasury, TreasuryConfig,
};
use alloc::collections::BTreeMap;
use alloc::vec::Vec;

/// Who is paid what a client pays for an invoice.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Payout {
    /// The operator of the deployment, all of it.
    Operator,
    /// The recipients of a fee schedule, with its carries (000, equation 13: the validator's tenth is a share inside the price).
    Split {
        /// Number of the schedule in the treasury.
        schedule: u32,
        /// The operator's role in it.
        operator: Role,
        /// The other recipients.
        others: Vec<(Role, u128)>,
    },
}

/// How [`Books`] are set up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BooksConfig {
    /// The treasury.
    pub treasury: TreasuryConfig,
    /// Blocks between bills.
    pub interval_blocks: u64,
    /// Height up to which is billed at the start.
    pub billed_to: u64,
    /// Caps on what is minted for compute.
    pub emission: Emission,
    /// Who is paid.
    pub payout: Payout,
}

impl BooksConfig {
    /// A bill every 100 blocks from height 0, no caps, operators paid whole.
    pub const fn new(treasury: TreasuryConfig) -> Self {
        let emission = Emission::hanzo();
        Self { treasury, interval_blocks: 100, billed_to: 0, emission, payout: Payout::Operator }
    }
}

/// Treasury, biller, emission and the records of jobs, as one state machine that a journal can replay.
///
/// Each call is a [`Command`]; [`Journaled`] books have a method for each. A bill closes every meter's window, pays every
/// invoice by the transfer or split of its id, and says which could not be paid: their deployments are to be stopped, and
/// nothing more is reserved for them. What is minted is what was paid.
///
/// In the journal a command is one frame, whose kind says what it is about and whose body is the command: a tag and the
/// fields in order, big-endian. Expiries come before it, invoices after it; replay compares both.
///
/// ```
/// use hanzo_metering::{
///     Books, BooksConfig, Deployment, Effect, Journaled, MemoryStore, Meter, MeterConfig, Reading, Resources, RuntimeKind,
///     Tariff, TeeKind, Timestamp, TreasuryConfig, Value,
/// };
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let t = |s: u64| Timestamp::from_nanos(s * 1_000_000_000);
/// let config = BooksConfig::new(TreasuryConfig::new(1, []));
/// let mut books = Journaled::new(Books::new(config.clone())?, MemoryStore::default());
/// let client = books.open_party(t(0), &[1; 32])?;
/// let operator = books.open_party(t(0), &[2; 32])?;
/// books.apply(t(0), &Effect::Mint { id: 1, to: client.get(), amount: 10_000_000 })?;
///
/// let meter = Meter::new(MeterConfig::default(), t(0));
/// let (tariff, runtime, tee) = (Tariff::hanzo(1_250_000), RuntimeKind::Docker, TeeKind::None);
/// books.add_deployment(t(0), [7; 32], operator, Deployment { account: client, tariff, runtime, tee, meter })?;
/// let value = Value::Reserved(Resources::new(2_000, 4 << 30, 0)?);
/// books.record(t(0), [7; 32], Reading { source: b"node", id: b"1", at: t(0), value })?;
/// let bills = books.bill(t(200), 100)?; // block 100 at 200 s
/// assert_eq!((bills[0].invoice.total, bills[0].paid), (2_777_777, true));
/// assert_eq!(books.mint(t(200), 0)?[0].amount, 22_222_222_222);
///
/// let again = Journaled::recover(Books::new(config)?, books.into_store())?.0;
/// assert_eq!(again.state().treasury().available(operator), 2_777_777 + 22_222_222_222);
/// # Ok(()) }
/// ```
#[derive(Debug, Clone)]
pub struct Books {
    treasury: Treasury,
    biller: Biller,
    emission: Emission,
    payout: Payout,
    operators: BTreeMap<[u8; 32], AccountId>,
    /// The last bill: which invoices of the watermark were paid.
    paid: BTreeMap<u128, bool>,
    /// Of paid invoices, not yet minted, by operator.
    earned: BTreeMap<AccountId, i128>,
    /// The last intent and outcome of each job, and what was locked for it.
    jobs: BTreeMap<u128, Job>,
    mints: u64,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Job {
    intent: crate::Intent,
    outcome: Option<crate::Outcome>,
    /// The escrow of its deposit.
    deposit: Option<u128>,
}

impl Books {
    /// Empty books.
    ///
    /// # Errors
    /// As [`Treasury::new`] and [`Biller::new`].
    pub fn new(config: BooksConfig) -> Result<Self, BooksError> {
        let BooksConfig { treasury, interval_blocks, billed_to, emission, payout } = config;
        Ok(Self {
            treasury: Treasury::new(treasury)?,
            biller: Biller::new(interval_blocks, billed_to)?,
            emission,
            payout,
            operators: BTreeMap::new(),
            paid: BTreeMap::new(),
            earned: BTreeMap::new(),
            jobs: BTreeMap::new(),
            mints: 0,
        })
    }

    /// The treasury, to read.
    pub const fn treasury(&self) -> &Treasury {
        &self.treasury
    }

    /// The invoices, to read.
    pub const fn biller(&self) -> &Biller {
        &self.biller
    }

    /// What was minted for compute.
    pub const fn emission(&self) -> &Emission {
        &self.emission
    }

    /// What an operator has earned that is not minted yet; below 0 after corrections.
    pub fn earned(&self, operator: AccountId) -> i128 {
        self.earned.get(&operator).copied().unwrap_or(0)
    }

    /// The records of jobs, for [`Scheduler::recover`](crate::Scheduler::recover), by rising job id.
    pub fn job_records(&self) -> impl Iterator<Item = JobRecord> {
        self.jobs.iter().flat_map(|(&job, j)| {
            let attempt = j.intent.attempt;
            let outcome = j.outcome.map(|outcome| JobRecord::Outcome { job, attempt, outcome });
            core::iter::once(JobRecord::Intent(j.intent.clone())).chain(outcome)
        })
    }

    /// Runs a command without a journal.
    ///
    /// # Errors
    /// Those of the command.
    pub fn execute(&mut self, now: Timestamp, command: &Command) -> Result<Answer, BooksError> {
        self.run(now, command, &mut Sink::new())
    }
}

impl<S: JournalStore> Journaled<Books, S> {
    /// Runs any command.
    ///
    /// # Errors
    /// `Refused` with the error of the command; those of the store.
    pub fn execute(
        &mut self,
        now: Timestamp,
        command: &Command,
    ) -> Result<Answer, JournaledError<BooksError, S::Error>> {
        self.run(now, |books, sink| books.run(now, command, sink))
    }

    /// Opens the wallet of a party, or finds it open.
    ///
    /// # Errors
    /// As [`Treasury::open_party`].
    pub fn open_party(
        &mut self,
        now: Timestamp,
        party: &[u8; 32],
    ) -> Result<AccountId, JournaledError<BooksError, S::Error>> {
        let id = AccountId::of_party(party);
        self.execute(now, &Command::OpenWallet { id, owner: *party })?;
        Ok(id)
    }

    /// Applies an effect, as [`Treasury::apply`].
    ///
    /// # Errors
    /// As there.
    pub fn apply(&mut self, now: Timestamp, effect: &Effect) -> Result<Receipt, JournaledError<BooksError, S::Error>> {
        match self.execute(now, &Command::Apply(effect.clone()))? {
            Answer::Receipt(receipt) => Ok(receipt),
            _ => Err(JournaledError::Refused(BooksError::Mismatch)),
        }
    }

    /// Bills a deployment from now on, and pays its operator.
    ///
    /// # Errors
    /// As [`Biller::add`]; `UnknownWallet` where the operator or the payer has no wallet; `DeploymentTooLong` for a meter with more
    /// readings than a frame holds.
    pub fn add_deployment(
        &mut self,
        now: Timestamp,
        id: [u8; 32],
        operator: AccountId,
        deployment: Deployment,
    ) -> Result<(), JournaledError<BooksError, S::Error>> {
        self.execute(now, &Command::AddDeployment { id, operator, deployment }).map(|_| ())
    }

    /// Bills a deployment no more. What was not billed is lost, so bill first.
    ///
    /// # Errors
    /// As [`Biller::remove`].
    pub fn remove_deployment(
        &mut self,
        now: Timestamp,
        id: [u8; 32],
    ) -> Result<(), JournaledError<BooksError, S::Error>> {
        self.execute(now, &Command::RemoveDeployment { id }).map(|_| ())
    }

    /// Takes a reading, as [`Meter::record`](crate::Meter::record).
    ///
    /// # Errors
    /// As there; `UnknownDeployment`; `ReadingTooLong` where source or id have more than 256 bytes.
    pub fn record(
        &mut self,
        now: Timestamp,
        deployment: [u8; 32],
        reading: Reading<'_>,
    ) -> Result<Recorded, JournaledError<BooksError, S::Error>> {
        let Reading { source, id, at, value } = reading;
        let (source, id) = (source.into(), id.into());
        match self.execute(now, &Command::Record { deployment, source, id, at, value })? {
            Answer::Recorded(recorded) => Ok(recorded),
            _ => Err(JournaledError::Refused(BooksError::Mismatch)),
        }
    }

    /// Bills every deployment up to a boundary, whose block has the time `now`, and pays the invoices.
    ///
    /// # Errors
    /// As [`Biller::bill_through`].
    pub fn bill(
        &mut self,
        now: Timestamp,
        boundary: u64,
    ) -> Result<Vec<BilledInvoice>, JournaledError<BooksError, S::Error>> {
        match self.execute(now, &Command::Bill { boundary })? {
            Answer::Bills(bills) => Ok(bills),
            _ => Err(JournaledError::Refused(BooksError::Mismatch)),
        }
    }

    /// Mints what was earned by paid invoices, as far as the caps allow; what they do not allow is not minted later.
    ///
    /// # Errors
    /// As [`Emission::grant`].
    pub fn mint(&mut self, now: Timestamp, epoch: u64) -> Result<Vec<Minted>, JournaledError<BooksError, S::Error>> {
        match self.execute(now, &Command::Mint { epoch })? {
            Answer::Minted(minted) => Ok(minted),
            _ => Err(JournaledError::Refused(BooksError::Mismatch)),
        }
    }
}
