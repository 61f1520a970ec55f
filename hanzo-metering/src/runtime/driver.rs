use super::{BlockingRuntime, DeploymentConfig, DeploymentId, Runtime};
use crate::{
    AccountId, Action, Answer, BilledInvoice, Books, BooksError, Command, Deployment, Deposit, Event, JobRecord,
    JobSpec, JobState, JournalStore, Journaled, JournaledError, Meter, MeterConfig, Minted, Outcome, Reading,
    Resources, ScheduleError, Scheduler, SchedulerConfig, Tariff, TeeKind, Timestamp, Value,
};
use alloc::boxed::Box;
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;
use core::future::Future;
use core::pin::pin;
use core::task::{Context, Poll, Waker};

/// What a job is run and billed by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JobTerms {
    /// What the runtime is asked for. Its id, resources and replicas are those of the job.
    pub config: DeploymentConfig,
    /// Who pays.
    pub payer: AccountId,
    /// Who is paid.
    pub operator: AccountId,
    /// The tariff.
    pub tariff: Tariff,
    /// Which trusted execution environments it is attested in.
    pub tee: TeeKind,
    /// How its meter reads; the basis is that of the tariff.
    pub meter: MeterConfig,
    /// Locked of the payer's wallet while it runs.
    pub deposit: Option<u128>,
}

/// How a [`Driver`] works.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DriverConfig {
    /// The scheduler.
    pub scheduler: SchedulerConfig,
    /// Blocks of an epoch of the emission; not 0.
    pub epoch_blocks: u64,
}

/// The daemon of a node (000, algorithm 3): a scheduler, books and a runtime, one step at a time.
///
/// It holds no clock, spawns nothing and sleeps nowhere: the caller brings time and blocks, and awaits each step. An
/// intent is durable before its job is deployed and an outcome after; what a crash leaves open is found out by
/// [`recover`](Self::recover) and the steps after it. Where the runtime does not answer, the next step asks again.
///
/// ```
/// use hanzo_metering::*;
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let t = |s: u64| Timestamp::from_nanos(s * 1_000_000_000);
/// let mut books = Journaled::new(Books::new(BooksConfig::new(TreasuryConfig::new(1, [])))?, MemoryStore::default());
/// let payer = books.open_party(t(0), &[1; 32])?;
/// let operator = books.open_party(t(0), &[2; 32])?;
/// books.apply(t(0), &Effect::Mint { id: 1, to: payer.get(), amount: 1_000_000_000 })?;
///
/// let resources = Resources::new(2_000, 4 << 30, 0)?;
/// let scheduler = SchedulerConfig::new(Demand { resources, slots: 1 });
/// let config = DriverConfig { scheduler, epoch_blocks: 1_000 };
/// let mut driver = Driver::new(config, books, FakeRuntime::new(7, Faults::default()))?;
/// let config = DeploymentConfig::new(DeploymentId::new(9), RuntimeKind::Docker, "app:1", resources);
/// let (tariff, tee, meter) = (Tariff::hanzo(1_250_000), TeeKind::None, MeterConfig::default());
/// driver.submit(JobSpec::new(9, 1, resources), JobTerms { config, payer, operator, tariff, tee, meter, deposit: None })?;
///
/// driver.runtime().set_now(t(0));
/// assert_eq!(driver.step_blocking(t(0), &[])?.started, [9]);
/// driver.runtime().set_now(t(200));
/// let report = driver.step_blocking(t(200), &[Event::Block { height: 100 }])?; // 100 blocks of 2 s
/// assert_eq!((report.bills[0].invoice.total, report.bills[0].paid), (2_777_777, true));
/// # Ok(()) }
/// ```
#[derive(Debug)]
pub struct Driver<R, S> {
    scheduler: Scheduler,
    books: Journaled<Books, S>,
    runtime: R,
    epoch_blocks: u64,
    terms: BTreeMap<u128, JobTerms>,
    /// Calls that got no answer.
    again: Vec<Action>,
    /// Jobs whose intent could not be recorded for want of a deposit, ended jobs, and so on: what the scheduler hears next.
    inbox: Vec<Event>,
    /// Ended, still to be billed once.
    ended: BTreeSet<u128>,
    /// Since when jobs run whose outcome is about to be recorded.
    since: BTreeMap<u128, Timestamp>,
}

/// What a step did.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct StepReport {
    /// Invoices made.
    pub bills: Vec<BilledInvoice>,
    /// Base units minted.
    pub minted: Vec<Minted>,
    /// Jobs that began to run.
    pub started: Vec<u128>,
    /// Jobs that ended.
    pub ended: Vec<u128>,
    /// Events that were refused.
    pub refused: Vec<ScheduleError>,
    /// Calls of the runtime that failed.
    pub failed_calls: usize,
}

/// Why a step could not be finished. What was recorded holds; recover from the store.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DriverError<E> {
    /// Of the scheduler.
    #[error(transparent)]
    Schedule(#[from] ScheduleError),
    /// Of the books or their store.
    #[error("{0:?}")]
    Books(JournaledError<BooksError, E>),
    /// A job without terms.
    #[error("job {job} has no terms")]
    UnknownTerms {
        /// The job.
        job: u128,
    },
    /// A future that should have been ready was not.
    #[error("a blocking runtime did not answer at once")]
    NotReady,
}

impl<R: Runtime, S: JournalStore> Driver<R, S> {
    /// A driver without jobs.
    ///
    /// # Errors
    /// As [`Scheduler::new`]; `ZeroSetting` where an epoch has no blocks.
    pub fn new(config: DriverConfig, books: Journaled<Books, S>, runtime: R) -> Result<Self, ScheduleError> {
        Self::recover(config, books, runtime, [])
    }

    /// A driver with the jobs that the books know, and the terms of all of them, which the caller keeps. Jobs that only
    /// waited are to be submitted again.
    ///
    /// # Errors
    /// As [`Scheduler::recover`]; `ZeroSetting` where an epoch has no blocks.
    pub fn recover(
        mut config: DriverConfig,
        books: Journaled<Books, S>,
        runtime: R,
        terms: impl IntoIterator<Item = JobTerms>,
    ) -> Result<Self, ScheduleError> {
        if config.epoch_blocks == 0 {
            return Err(ScheduleError::ZeroSetting);
        }
        config.scheduler.billed_to = books.state().biller().billed_to();
        let scheduler = Scheduler::recover(config.scheduler, books.state().job_records())?;
        let of_tariff = |mut terms: JobTerms| {
            terms.meter.basis = terms.tariff.basis();
            (terms.config.id.get(), terms)
        };
        let terms: BTreeMap<u128, JobTerms> = terms.into_iter().map(of_tariff).collect();
        // Ended, yet not billed to the end before the crash.
        let over = |job: &u128| matches!(scheduler.state(*job), Some(JobState::Done | JobState::Dead));
        let billed = |job: &u128| books.state().biller().contains(&deployment(*job));
        let ended = terms.keys().copied().filter(|job| over(job) && billed(job)).collect();
        let running = books.state().job_records().filter_map(|record| match record {
            JobRecord::Outcome { job, outcome: Outcome::Committed { .. }, .. } => Some(Action::Probe { job }),
            _ => None,
        });
        let (again, inbox) = (running.collect(), Vec::new());
        let (epoch_blocks, since) = (config.epoch_blocks, BTreeMap::new());
        Ok(Self { scheduler, books, runtime, epoch_blocks, terms, again, inbox, ended, since })
    }

    /// Hands in a job with its terms.
    ///
    /// # Errors
    /// As [`Scheduler::submit`].
    pub fn submit(&mut self, spec: JobSpec, mut terms: JobTerms) -> Result<(), ScheduleError> {
        terms.config.id = DeploymentId::new(spec.id);
        (terms.config.resources, terms.config.replicas) = (spec.request, spec.replicas);
        terms.meter.basis = terms.tariff.basis();
        self.scheduler.submit(spec)?;
        self.terms.insert(spec.id, terms);
        Ok(())
    }

    /// Takes events, does what they call for, and goes on until nothing more is to be done now.
    ///
    /// # Errors
    /// Those of the store, `ClockBackwards`, and `UnknownTerms`. A step that ended in an error, or was dropped, is to be
    /// followed by [`recover`](Self::recover).
    pub async fn step(&mut self, now: Timestamp, events: &[Event]) -> Result<StepReport, DriverError<S::Error>> {
        let mut report = StepReport::default();
        let mut actions = core::mem::take(&mut self.again);
        let mut inbox = core::mem::take(&mut self.inbox);
        inbox.extend_from_slice(events);
        loop {
            actions.extend(self.scheduler.tick(now, &inbox)?);
            inbox.clear();
            if actions.is_empty() {
                self.inbox = inbox;
                return Ok(report);
            }
            for action in core::mem::take(&mut actions) {
                self.act(now, action, &mut inbox, &mut report).await?;
            }
            if inbox.is_empty() {
                return Ok(report);
            }
        }
    }

    /// The scheduler, to read.
    pub const fn scheduler(&self) -> &Scheduler {
        &self.scheduler
    }

    /// The books.
    pub const fn books(&self) -> &Journaled<Books, S> {
        &self.books
    }

    /// The books, for wallets and effects.
    pub const fn books_mut(&mut self) -> &mut Journaled<Books, S> {
        &mut self.books
    }

    /// The runtime.
    pub const fn runtime(&self) -> &R {
        &self.runtime
    }

    /// The books and the runtime.
    pub fn into_parts(self) -> (Journaled<Books, S>, R) {
        (self.books, self.runtime)
    }

    async fn act(
        &mut self,
        now: Timestamp,
        action: Action,
        inbox: &mut Vec<Event>,
        report: &mut StepReport,
    ) -> Result<(), DriverError<S::Error>> {
        // A call that is made again may have become needless.
        let needless = match action {
            Action::Deploy { job, .. } => self.scheduler.state(job) != Some(JobState::Deploying),
            Action::Stop { job, .. } => self.scheduler.state(job) != Some(JobState::Stopping),
            Action::Probe { job } => !matches!(self.scheduler.state(job), Some(JobState::Probing | JobState::Running)),
            _ => false,
        };
        if needless {
            return Ok(());
        }
        match action {
            Action::RecordIntent(intent) => {
                let job = intent.spec.id;
                let terms = self.terms(job)?;
                let deposit = terms.deposit.map(|amount| Deposit { account: terms.payer, amount, timeout_ns: 0 });
                match self.books.execute(now, &Command::RecordIntent { intent, deposit }) {
                    Ok(_) => inbox.push(Event::IntentRecorded { job }),
                    Err(JournaledError::Refused(_)) => inbox.push(Event::IntentRefused { job }),
                    Err(e) => return Err(DriverError::Books(e)),
                }
            }
            Action::Deploy { job, .. } => {
                let config = self.terms(job)?.config.clone();
                let deployed = self.runtime.deploy(&config).await;
                report.failed_calls += usize::from(deployed.is_err());
                // Without an answer it may run all the same, and with one it may have run before.
                match (self.runtime.probe(config.id).await, deployed) {
                    (Ok(Some(since)), _) => {
                        self.since.insert(job, since);
                        inbox.push(Event::Deployed { job });
                    }
                    (Ok(None), Err(error)) => {
                        inbox.push(Event::DeployFailed { job, retry: self.runtime.is_transient(&error) });
                    }
                    (Ok(None) | Err(_), _) => self.again.push(action),
                }
            }
            Action::RecordOutcome { job, attempt, outcome } => {
                let over = !matches!(outcome, Outcome::Committed { .. });
                if !over {
                    self.bill_from_start(now, job)?;
                    report.started.push(job);
                } else if self.books.state().biller().contains(&deployment(job)) && !self.ended.contains(&job) {
                    // It ended by itself; the runtime may know when. An attempt that is made again does not wait for that.
                    let stopped = self.runtime.stop(DeploymentId::new(job)).await;
                    if stopped.is_err() && outcome == Outcome::Ended {
                        report.failed_calls += 1;
                        self.again.push(action);
                        return Ok(());
                    }
                    self.stop_meter(now, job, stopped.ok().flatten().unwrap_or(now).min(now))?;
                }
                self.execute(now, &Command::RecordOutcome { job, attempt, outcome })?;
                if over {
                    report.ended.push(job);
                }
            }
            Action::Stop { job, .. } => match self.runtime.stop(DeploymentId::new(job)).await {
                Ok(stopped) => {
                    self.stop_meter(now, job, stopped.unwrap_or(now).min(now))?;
                    inbox.push(Event::Finished { job });
                }
                Err(_) => {
                    report.failed_calls += 1;
                    self.again.push(action);
                }
            },
            Action::Probe { job } => match self.runtime.probe(DeploymentId::new(job)).await {
                // After a restart, of a job that was known to run.
                Ok(since) if self.scheduler.state(job) == Some(JobState::Running) => {
                    if since.is_none() {
                        inbox.push(Event::Finished { job });
                    }
                }
                Ok(since) => {
                    self.since.extend(since.map(|since| (job, since)));
                    inbox.push(Event::Probed { job, running: since.is_some() });
                }
                Err(_) => {
                    report.failed_calls += 1;
                    self.again.push(action);
                }
            },
            Action::CollectMetrics { job } => match self.runtime.metrics(DeploymentId::new(job)).await {
                Ok(samples) => {
                    for sample in samples {
                        self.read(now, job, b"runtime", sample.at, sample.value)?;
                    }
                }
                // The meter holds its last reading.
                Err(_) => report.failed_calls += 1,
            },
            Action::Bill { boundary } => {
                let bills = self.books.bill(now, boundary).map_err(DriverError::Books)?;
                for job in core::mem::take(&mut self.ended) {
                    self.execute(now, &Command::RemoveDeployment { id: deployment(job) })?;
                }
                let unpaid = bills.iter().filter(|b| !b.paid).map(|b| job_of(&b.invoice.deployment));
                inbox.extend(unpaid.filter(|job| self.terms.contains_key(job)).map(|job| Event::Unpaid { job }));
                report.bills.extend(bills);
            }
            Action::Mint { boundary } => {
                let minted = self.books.mint(now, boundary / self.epoch_blocks).map_err(DriverError::Books)?;
                report.minted.extend(minted);
            }
            Action::Refused { error, .. } => report.refused.push(error),
        }
        Ok(())
    }

    /// Meters a job from when it began.
    fn bill_from_start(&mut self, now: Timestamp, job: u128) -> Result<(), DriverError<S::Error>> {
        let since = self.since.remove(&job).unwrap_or(now).min(now);
        if self.books.state().biller().contains(&deployment(job)) {
            // From before a crash, or from an attempt that ended.
            self.ended.remove(&job);
            let value = self.reserved(job)?;
            return self.read(now, job, b"start", since, value);
        }
        let value = self.reserved(job)?;
        let terms = self.terms(job)?;
        let JobTerms { payer, operator, tariff, tee, .. } = *terms;
        let meter = Meter::new(terms.meter.clone(), since);
        let deployed = Deployment { account: payer, tariff, runtime: terms.config.runtime, tee, meter };
        let add = Command::AddDeployment { id: deployment(job), operator, deployment: deployed };
        self.execute(now, &add)?;
        self.read(now, job, b"start", since, value)
    }

    fn reserved(&self, job: u128) -> Result<Value, DriverError<S::Error>> {
        let config = &self.terms(job)?.config;
        // Checked when the job was submitted.
        Ok(Value::Reserved(config.resources.checked_mul(config.replicas).unwrap_or_default()))
    }

    fn stop_meter(&mut self, now: Timestamp, job: u128, at: Timestamp) -> Result<(), DriverError<S::Error>> {
        if self.books.state().biller().contains(&deployment(job)) {
            self.read(now, job, b"stop", at, Value::Reserved(Resources::default()))?;
            self.ended.insert(job);
        }
        Ok(())
    }

    fn read(
        &mut self,
        now: Timestamp,
        job: u128,
        source: &[u8],
        at: Timestamp,
        value: Value,
    ) -> Result<(), DriverError<S::Error>> {
        let id = at.as_nanos().to_be_bytes();
        match self.books.record(now, deployment(job), Reading { source, id: &id, at, value }) {
            // A reading that comes too late, or beyond a ceiling, is not billed.
            Ok(_) | Err(JournaledError::Refused(_)) => Ok(()),
            Err(e) => Err(DriverError::Books(e)),
        }
    }

    fn execute(&mut self, now: Timestamp, command: &Command) -> Result<Answer, DriverError<S::Error>> {
        self.books.execute(now, command).map_err(DriverError::Books)
    }

    fn terms(&self, job: u128) -> Result<&JobTerms, DriverError<S::Error>> {
        self.terms.get(&job).ok_or(DriverError::UnknownTerms { job })
    }
}

impl<R: BlockingRuntime, S: JournalStore> Driver<R, S> {
    /// [`step`](Self::step) without an executor, for a runtime that blocks.
    ///
    /// # Errors
    /// As there.
    pub fn step_blocking(&mut self, now: Timestamp, events: &[Event]) -> Result<StepReport, DriverError<S::Error>> {
        let mut step = pin!(Box::pin(self.step(now, events)));
        match step.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(result) => result,
            Poll::Pending => Err(DriverError::NotReady),
        }
    }
}

/// The id of a job's deployment in the books.
fn deployment(job: u128) -> [u8; 32] {
    let mut id = [0; 32];
    id[16..].copy_from_slice(&job.to_be_bytes());
    id
}

fn job_of(deployment: &[u8; 32]) -> u128 {
    deployment.last_chunk().map_or(0, |job| u128::from_be_bytes(*job))
}
