//! Scheduling of a cluster: order and plan of one tick, and a state machine around them that survives crashes.

mod job;
mod plan;

pub use job::{Action, Event, Intent, JobRecord, JobSpec, JobState, Outcome, ScheduleError, StopReason};
pub(crate) use plan::Order;
pub use plan::{Plan, PlanRules, Planner, QueuedJob, RunningJob};

use crate::{Cluster, Demand, NodeId, NodeSpec, Selection, Status, Timestamp};
use alloc::collections::BTreeMap;
use alloc::vec;
use alloc::vec::Vec;

/// How a [`Scheduler`] works.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SchedulerConfig {
    /// The nodes.
    pub nodes: Vec<NodeSpec>,
    /// Which of them a replica goes to.
    pub selection: Selection,
    /// Most jobs that wait.
    pub queue_limit: usize,
    /// How long a job waits before it goes first.
    pub max_wait_ns: u64,
    /// Blocks between bills; not 0.
    pub interval_blocks: u64,
    /// Attempts to deploy a job; not 0.
    pub max_attempts: u32,
    /// Height up to which everything is billed.
    pub billed_to: u64,
    /// Weights of tenants; 1 where none is given.
    pub weights: BTreeMap<u128, u16>,
}

impl SchedulerConfig {
    /// One node, number 0, with 100,000 places in the queue, a wait of 200 s (100 blocks of 2 s), bills every 100 blocks, 5
    /// attempts.
    pub fn new(capacity: Demand) -> Self {
        Self::cluster(vec![NodeSpec::new(NodeId::new(0), capacity)])
    }

    /// The same with these nodes, each replica going where it fits best.
    pub const fn cluster(nodes: Vec<NodeSpec>) -> Self {
        Self {
            nodes,
            selection: Selection::BestFit,
            queue_limit: 100_000,
            max_wait_ns: 200_000_000_000,
            interval_blocks: 100,
            max_attempts: 5,
            billed_to: 0,
            weights: BTreeMap::new(),
        }
    }
}

/// The scheduler of a node or a cluster, as a state machine: events in, actions out, no input or output of its own.
///
/// A job's room is reserved and its intent recorded before it is deployed, and the outcome is recorded after. So after a
/// crash at any point [`recover`](Self::recover) knows each job that may run, asks about those whose outcome is
/// unknown, and neither forgets a running job nor starts one twice. Bills go by a watermark: one per boundary, however
/// many blocks were missed.
///
/// ```
/// use hanzo_metering::{Action, Demand, Event, JobSpec, Resources, Scheduler, SchedulerConfig, Timestamp};
/// # fn main() -> Result<(), hanzo_metering::Error> {
/// let t = Timestamp::from_nanos;
/// let r = Resources::new(2_000, 4 << 30, 0)?;
/// let mut scheduler = Scheduler::new(SchedulerConfig::new(Demand { resources: r, slots: 100 }))?;
/// let actions = scheduler.tick(t(1), &[Event::Submit(JobSpec::new(7, 1, r)), Event::Submit(JobSpec::new(8, 1, r))])?;
/// assert!(matches!(&actions[..], [Action::RecordIntent(intent)] if intent.spec.id == 7));
/// let actions = scheduler.tick(t(2), &[Event::IntentRecorded { job: 7 }])?;
/// assert_eq!(actions, [Action::Deploy { job: 7, attempt: 1 }]);
/// # Ok(()) }
/// ```
#[derive(Debug, Clone)]
pub struct Scheduler {
    config: SchedulerConfig,
    cluster: Cluster,
    now: Timestamp,
    height: u64,
    watermark: u64,
    next_seq: u64,
    jobs: BTreeMap<u128, Job>,
    queued: usize,
    /// Whether something happened that may let a job start.
    stirred: bool,
    /// The next time at which a job may start without anything else happening.
    wake: Option<Timestamp>,
    /// The next time at which a job may have run too long.
    next_end: Option<Timestamp>,
    /// Jobs to be probed after a restart.
    to_probe: Vec<u128>,
}

#[derive(Debug, Clone)]
struct Job {
    spec: JobSpec,
    /// Of the present attempt.
    placement: Vec<(NodeId, u32)>,
    seq: u64,
    submitted: Timestamp,
    state: JobState,
    attempt: u32,
    /// Since when the present attempt runs, if it was seen to.
    started: Option<Timestamp>,
    /// Height from which it may be tried again.
    retry_at: u64,
}

impl Scheduler {
    /// An empty scheduler at time 0.
    ///
    /// # Errors
    /// `ZeroSetting` where the interval or the attempts are 0; as [`Cluster::new`].
    pub fn new(config: SchedulerConfig) -> Result<Self, ScheduleError> {
        if config.interval_blocks == 0 || config.max_attempts == 0 {
            return Err(ScheduleError::ZeroSetting);
        }
        Ok(Self {
            cluster: Cluster::new(config.nodes.iter().copied(), config.selection)?,
            now: Timestamp::ZERO,
            height: config.billed_to,
            watermark: config.billed_to,
            next_seq: 0,
            jobs: BTreeMap::new(),
            queued: 0,
            stirred: false,
            wake: None,
            next_end: None,
            to_probe: Vec::new(),
            config,
        })
    }

    /// A scheduler with the jobs of durable records, oldest first: committed jobs run, intents without outcome are
    /// probed by the next tick, voided ones wait again or are dead. Jobs that only waited are to be submitted again.
    ///
    /// # Errors
    /// `ZeroSetting`; `OutcomeWithoutIntent`; `NeverFits` or `NoRoom` where the jobs do not fit the pool.
    pub fn recover(
        config: SchedulerConfig,
        records: impl IntoIterator<Item = JobRecord>,
    ) -> Result<Self, ScheduleError> {
        let mut scheduler = Self::new(config)?;
        for record in records {
            scheduler.replay(record)?;
        }
        for (&id, job) in &scheduler.jobs {
            scheduler.next_end = job.end().map_or(scheduler.next_end, |end| earlier(scheduler.next_end, end));
            match job.state {
                JobState::Probing => scheduler.to_probe.push(id),
                JobState::Queued => scheduler.queued += 1,
                _ => {}
            }
            if matches!(job.state, JobState::Probing | JobState::Running) {
                let placement = job.placement.clone();
                scheduler.cluster.start(id, job.spec.tenant, replica(&job.spec), placement)?;
            }
        }
        scheduler.stirred = true;
        Ok(scheduler)
    }

    /// Takes events in order and says what is to be done. An event that is refused changes nothing and shows as
    /// [`Action::Refused`]; the others count.
    ///
    /// # Errors
    /// `ClockBackwards`, before any event.
    pub fn tick(&mut self, now: Timestamp, events: &[Event]) -> Result<Vec<Action>, ScheduleError> {
        if now < self.now {
            return Err(ScheduleError::ClockBackwards { now, last: self.now });
        }
        self.now = now;
        let mut actions: Vec<Action> = self.to_probe.drain(..).map(|job| Action::Probe { job }).collect();
        for (event, e) in events.iter().enumerate() {
            if let Err(error) = self.handle(e, &mut actions) {
                actions.push(Action::Refused { event, error });
            }
        }
        self.stop_overruns(&mut actions);
        if self.queued > 0 && (self.stirred || self.wake.is_some_and(|wake| wake <= now)) {
            self.start_jobs(&mut actions);
        }
        self.stirred = false;
        Ok(actions)
    }

    /// Puts a job in the queue.
    ///
    /// # Errors
    /// `IdConflict`, `NoReplicas`, `ResourceRange`, `NeverFits` where an empty cluster has no room for it, `QueueFull`.
    pub fn submit(&mut self, spec: JobSpec) -> Result<Status, ScheduleError> {
        if let Some(job) = self.jobs.get(&spec.id) {
            return if job.spec == spec { Ok(Status::Existing) } else { Err(ScheduleError::IdConflict) };
        }
        self.check(&spec)?;
        if self.queued >= self.config.queue_limit {
            return Err(ScheduleError::QueueFull { limit: self.config.queue_limit });
        }
        let job = Job {
            spec,
            placement: Vec::new(),
            seq: self.next_seq,
            submitted: self.now,
            state: JobState::Queued,
            attempt: 0,
            started: None,
            retry_at: 0,
        };
        self.next_seq += 1;
        self.jobs.insert(spec.id, job);
        self.queued += 1;
        self.stirred = true;
        Ok(Status::New)
    }

    /// Forgets a job that is done or dead; its id is then new again.
    ///
    /// # Errors
    /// `UnknownJob`; `IllegalEvent` where it is neither.
    pub fn forget(&mut self, job: u128) -> Result<(), ScheduleError> {
        match self.state(job).ok_or(ScheduleError::UnknownJob)? {
            JobState::Done | JobState::Dead => {
                self.jobs.remove(&job);
                Ok(())
            }
            state => Err(ScheduleError::IllegalEvent { state }),
        }
    }

    /// Where a job stands.
    pub fn state(&self, job: u128) -> Option<JobState> {
        self.jobs.get(&job).map(|j| j.state)
    }

    /// The nodes and what runs on them.
    pub const fn cluster(&self) -> &Cluster {
        &self.cluster
    }

    /// How many jobs wait.
    pub const fn queued(&self) -> usize {
        self.queued
    }

    /// The height up to which bills were asked for.
    pub const fn billed_to(&self) -> u64 {
        self.watermark
    }

    fn handle(&mut self, event: &Event, actions: &mut Vec<Action>) -> Result<(), ScheduleError> {
        match *event {
            Event::Submit(spec) => self.submit(spec).map(|_| ()),
            Event::Block { height } => self.block(height, actions),
            Event::Latency { node, nanos } => self.cluster.observe_latency(node, nanos),
            Event::Unpaid { job } => match self.known(job)? {
                JobState::Reserved | JobState::Deploying | JobState::Probing | JobState::Running => {
                    self.set(job, JobState::Stopping);
                    actions.push(Action::Stop { job, reason: StopReason::Unpaid });
                    Ok(())
                }
                _ => Ok(()),
            },
            Event::Cancel { job } => match self.known(job)? {
                JobState::Queued => {
                    self.queued -= 1;
                    self.set(job, JobState::Done);
                    Ok(())
                }
                JobState::Reserved | JobState::Deploying | JobState::Probing | JobState::Running => {
                    self.set(job, JobState::Stopping);
                    actions.push(Action::Stop { job, reason: StopReason::Cancelled });
                    Ok(())
                }
                JobState::Stopping | JobState::Done | JobState::Dead => Ok(()),
            },
            Event::IntentRecorded { job } => match self.known(job)? {
                JobState::Reserved => {
                    self.set(job, JobState::Deploying);
                    let attempt = self.attempt(job);
                    actions.push(Action::Deploy { job, attempt });
                    Ok(())
                }
                // Cancelled meanwhile.
                JobState::Stopping => Ok(()),
                state => Err(ScheduleError::IllegalEvent { state }),
            },
            Event::IntentRefused { job } => match self.known(job)? {
                JobState::Reserved | JobState::Stopping => {
                    self.cluster.finish(job)?;
                    self.stirred = true;
                    self.set(job, JobState::Dead);
                    Ok(())
                }
                state => Err(ScheduleError::IllegalEvent { state }),
            },
            Event::Deployed { job } => match self.known(job)? {
                JobState::Deploying => {
                    self.commit(job, actions);
                    Ok(())
                }
                // Cancelled meanwhile, yet it ran and is to be billed.
                JobState::Stopping => {
                    self.commit(job, actions);
                    self.set(job, JobState::Stopping);
                    Ok(())
                }
                state => Err(ScheduleError::IllegalEvent { state }),
            },
            Event::DeployFailed { job, retry } => match self.known(job)? {
                JobState::Deploying => self.fail(job, retry, actions),
                JobState::Stopping => self.end(job, actions),
                state => Err(ScheduleError::IllegalEvent { state }),
            },
            Event::Finished { job } => match self.known(job)? {
                JobState::Running | JobState::Stopping => self.end(job, actions),
                state => Err(ScheduleError::IllegalEvent { state }),
            },
            Event::Probed { job, running } => match (self.known(job)?, running) {
                (JobState::Probing, true) => {
                    self.commit(job, actions);
                    Ok(())
                }
                (JobState::Probing, false) => self.fail(job, true, actions),
                (JobState::Stopping, true) => Ok(()),
                (JobState::Stopping, false) => self.end(job, actions),
                (state, _) => Err(ScheduleError::IllegalEvent { state }),
            },
        }
    }

    fn block(&mut self, height: u64, actions: &mut Vec<Action>) -> Result<(), ScheduleError> {
        if height < self.height {
            return Err(ScheduleError::HeightBackwards { height, last: self.height });
        }
        self.height = height;
        // A job may be due for another attempt.
        self.stirred = true;
        let boundary = height - height % self.config.interval_blocks;
        if boundary > self.watermark {
            let running = |j: &&Job| matches!(j.state, JobState::Running | JobState::Stopping);
            let metered = self.jobs.values().filter(running);
            actions.extend(metered.map(|j| Action::CollectMetrics { job: j.spec.id }));
            actions.extend([Action::Bill { boundary }, Action::Mint { boundary }]);
            self.watermark = boundary;
        }
        Ok(())
    }

    fn stop_overruns(&mut self, actions: &mut Vec<Action>) {
        if self.next_end.is_none_or(|end| end > self.now) {
            return;
        }
        self.next_end = None;
        for (&id, job) in &mut self.jobs {
            match job.end().filter(|_| job.state == JobState::Running) {
                Some(end) if end <= self.now => {
                    job.state = JobState::Stopping;
                    actions.push(Action::Stop { job: id, reason: StopReason::Overrun });
                }
                Some(end) => self.next_end = earlier(self.next_end, end),
                None => {}
            }
        }
    }

    fn start_jobs(&mut self, actions: &mut Vec<Action>) {
        let mut queue = Vec::with_capacity(self.queued);
        self.wake = None;
        for (&id, job) in self.jobs.iter().filter(|(_, job)| job.state == JobState::Queued) {
            // A job does not wait before it may start.
            let submitted = job.submitted.max(job.spec.not_before);
            let overdue = submitted.checked_add(self.config.max_wait_ns);
            for at in overdue.into_iter().chain([submitted]).filter(|&at| at > self.now) {
                self.wake = earlier(self.wake, at);
            }
            if job.spec.not_before <= self.now && job.retry_at <= self.height {
                queue.push(QueuedJob {
                    id,
                    seq: job.seq,
                    tenant: job.spec.tenant,
                    priority: job.spec.priority,
                    submitted,
                    demand: replica(&job.spec),
                    replicas: job.spec.replicas,
                    max_duration_ns: job.spec.max_duration_ns,
                });
            }
        }
        let (jobs, now) = (&self.jobs, self.now);
        let end = |id: u128| {
            let job = jobs.get(&id)?;
            match job.state {
                JobState::Running => job.end(),
                JobState::Stopping => Some(now),
                // Not started yet: counted as if they did now.
                JobState::Reserved | JobState::Deploying | JobState::Probing => job.end_from(now),
                JobState::Queued | JobState::Done | JobState::Dead => None,
            }
        };
        let rules = PlanRules { max_wait_ns: self.config.max_wait_ns, weights: &self.config.weights };
        for start in self.cluster.plan(now, &rules, end, &queue).started {
            let Some(job) = self.jobs.get_mut(&start.id) else { continue };
            // The plan starts what fits, so there is room.
            let taken = self.cluster.start(start.id, job.spec.tenant, replica(&job.spec), start.placement.clone());
            if taken.is_ok() {
                job.state = JobState::Reserved;
                job.attempt = job.attempt.saturating_add(1);
                job.started = None;
                job.placement = start.placement.clone();
                self.queued -= 1;
                let Job { spec, seq, submitted, attempt, .. } = *job;
                let placement = start.placement;
                actions.push(Action::RecordIntent(Intent { spec, seq, submitted, attempt, placement }));
            }
        }
    }

    fn commit(&mut self, id: u128, actions: &mut Vec<Action>) {
        let started = self.now;
        if let Some(job) = self.jobs.get_mut(&id) {
            job.state = JobState::Running;
            job.started = Some(started);
            self.next_end = job.end().map_or(self.next_end, |end| earlier(self.next_end, end));
            actions.push(outcome(id, job.attempt, Outcome::Committed { started }));
        }
    }

    /// A failed attempt: again after 2^n blocks for n attempts, at most 64, or never.
    fn fail(&mut self, id: u128, retry: bool, actions: &mut Vec<Action>) -> Result<(), ScheduleError> {
        let job = self.jobs.get_mut(&id).ok_or(ScheduleError::UnknownJob)?;
        self.cluster.finish(id)?;
        self.stirred = true;
        let again = retry && job.attempt < self.config.max_attempts;
        let retry_at = again.then(|| self.height.saturating_add(1 << job.attempt.min(MAX_BACKOFF_LOG)));
        actions.push(outcome(id, job.attempt, Outcome::Voided { retry_at }));
        match retry_at {
            Some(height) => {
                job.state = JobState::Queued;
                job.retry_at = height;
                self.queued += 1;
            }
            None => job.state = JobState::Dead,
        }
        Ok(())
    }

    /// The end of a job; one that was never seen to run is voided for good.
    fn end(&mut self, id: u128, actions: &mut Vec<Action>) -> Result<(), ScheduleError> {
        let job = self.jobs.get_mut(&id).ok_or(ScheduleError::UnknownJob)?;
        self.cluster.finish(id)?;
        self.stirred = true;
        job.state = JobState::Done;
        let how = if job.started.is_some() { Outcome::Ended } else { Outcome::Voided { retry_at: None } };
        actions.push(outcome(id, job.attempt, how));
        Ok(())
    }

    fn replay(&mut self, record: JobRecord) -> Result<(), ScheduleError> {
        match record {
            JobRecord::Intent(Intent { spec, seq, submitted, attempt, placement }) => {
                self.check(&spec)?;
                let (started, retry_at) = (None, 0);
                let state = JobState::Probing;
                self.jobs.insert(spec.id, Job { spec, placement, seq, submitted, state, attempt, started, retry_at });
                self.next_seq = self.next_seq.max(seq.saturating_add(1));
                self.now = self.now.max(submitted);
            }
            JobRecord::Outcome { job, attempt, outcome } => {
                let job = self.jobs.get_mut(&job).filter(|j| j.attempt == attempt);
                let job = job.ok_or(ScheduleError::OutcomeWithoutIntent)?;
                match outcome {
                    Outcome::Committed { started } => {
                        job.state = JobState::Running;
                        job.started = Some(started);
                        self.now = self.now.max(started);
                    }
                    Outcome::Voided { retry_at: None } => job.state = JobState::Dead,
                    Outcome::Voided { retry_at: Some(height) } => {
                        job.state = JobState::Queued;
                        job.retry_at = height;
                    }
                    Outcome::Ended => job.state = JobState::Done,
                }
            }
        }
        Ok(())
    }

    fn check(&self, spec: &JobSpec) -> Result<(), ScheduleError> {
        Demand::replicated(&spec.request, spec.replicas)?;
        let fits = self.cluster.could_fit(&replica(spec), spec.replicas);
        if fits { Ok(()) } else { Err(ScheduleError::NeverFits) }
    }

    fn known(&self, job: u128) -> Result<JobState, ScheduleError> {
        self.state(job).ok_or(ScheduleError::UnknownJob)
    }

    fn set(&mut self, job: u128, state: JobState) {
        if let Some(job) = self.jobs.get_mut(&job) {
            job.state = state;
        }
    }

    fn attempt(&self, job: u128) -> u32 {
        self.jobs.get(&job).map_or(0, |j| j.attempt)
    }
}

impl Job {
    /// When it will have run as long as it may; `None` while it does not run, and without a limit.
    fn end(&self) -> Option<Timestamp> {
        self.started.and_then(|since| self.end_from(since))
    }

    fn end_from(&self, since: Timestamp) -> Option<Timestamp> {
        self.spec.max_duration_ns.and_then(|limit| since.checked_add(limit))
    }
}

/// What each replica of a job needs.
const fn replica(spec: &JobSpec) -> Demand {
    Demand { resources: spec.request, slots: 1 }
}

fn earlier(time: Option<Timestamp>, other: Timestamp) -> Option<Timestamp> {
    Some(time.map_or(other, |time| time.min(other)))
}

const fn outcome(job: u128, attempt: u32, outcome: Outcome) -> Action {
    Action::RecordOutcome { job, attempt, outcome }
}

const MAX_BACKOFF_LOG: u32 = 6;
