use crate::wire::{wire_enum, wire_struct};
use crate::{NodeId, Resources, Timestamp, UnitError};
use alloc::vec::Vec;

/// What is to run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct JobSpec {
    /// Its id: a second submission of the same id is not a second job.
    pub id: u128,
    /// Whose it is.
    pub tenant: u128,
    /// Higher goes first; 128 is usual.
    pub priority: u8,
    /// What each replica needs.
    pub request: Resources,
    /// How many replicas; they start all or none.
    pub replicas: u32,
    /// How long it may run, in nanoseconds.
    pub max_duration_ns: Option<u64>,
    /// When it may start.
    pub not_before: Timestamp,
}

impl JobSpec {
    /// One replica of usual priority, without time limit, from now on.
    pub const fn new(id: u128, tenant: u128, request: Resources) -> Self {
        Self { id, tenant, priority: 128, request, replicas: 1, max_duration_ns: None, not_before: Timestamp::ZERO }
    }
}

/// Where a job stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum JobState {
    /// It waits.
    Queued,
    /// It has room; its intent is being recorded.
    Reserved,
    /// Its intent is durable; it is being deployed.
    Deploying,
    /// After a restart: whether it runs is being found out.
    Probing,
    /// It runs.
    Running,
    /// It is being stopped.
    Stopping,
    /// It ended, or was cancelled.
    Done,
    /// It could not be deployed in as many attempts as are made.
    Dead,
}

/// What has happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Event {
    /// Someone wants a job run.
    Submit(JobSpec),
    /// Someone wants it no more.
    Cancel {
        /// The job.
        job: u128,
    },
    /// The intent of the last [`Action::RecordIntent`] is durable.
    IntentRecorded {
        /// The job.
        job: u128,
    },
    /// The intent could not be recorded, for want of a deposit: the job does not run.
    IntentRefused {
        /// The job.
        job: u128,
    },
    /// The job runs.
    Deployed {
        /// The job.
        job: u128,
    },
    /// The job could not be deployed.
    DeployFailed {
        /// The job.
        job: u128,
        /// Whether it may be tried again.
        retry: bool,
    },
    /// The job has ended, by itself or because it was stopped.
    Finished {
        /// The job.
        job: u128,
    },
    /// Answer to [`Action::Probe`].
    Probed {
        /// The job.
        job: u128,
        /// Whether it runs.
        running: bool,
    },
    /// The last invoice of the job could not be paid.
    Unpaid {
        /// The job.
        job: u128,
    },
    /// A node answered after so many nanoseconds, for [`Selection::LowestLatency`](crate::Selection::LowestLatency).
    Latency {
        /// The node.
        node: NodeId,
        /// How long it took.
        nanos: u64,
    },
    /// A block of the chain that bills are counted by.
    Block {
        /// Its height.
        height: u64,
    },
}

/// What is to be done, by whoever drives the scheduler, in this order.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Action {
    /// Make the intent durable (with the lock of the job's escrow), then report [`Event::IntentRecorded`].
    RecordIntent(Intent),
    /// Deploy the job; a deployment of the same job that exists is to be kept.
    Deploy {
        /// The job.
        job: u128,
        /// Which attempt, from 1.
        attempt: u32,
    },
    /// Make the outcome of an intent durable.
    RecordOutcome {
        /// The job.
        job: u128,
        /// Which attempt.
        attempt: u32,
        /// How it went.
        outcome: Outcome,
    },
    /// Stop the job, then report [`Event::Finished`].
    Stop {
        /// The job.
        job: u128,
        /// Why.
        reason: StopReason,
    },
    /// Find out whether the job runs, then report [`Event::Probed`].
    Probe {
        /// The job.
        job: u128,
    },
    /// Read the job's meter for the bill that follows.
    CollectMetrics {
        /// The job.
        job: u128,
    },
    /// Bill everything up to this height.
    Bill {
        /// A multiple of the billing interval.
        boundary: u64,
    },
    /// Mint for what was billed up to this height and is paid.
    Mint {
        /// A multiple of the billing interval.
        boundary: u64,
    },
    /// An event was refused and changed nothing.
    Refused {
        /// Its index in the call.
        event: usize,
        /// Why.
        error: ScheduleError,
    },
}

/// What is recorded before a job is deployed.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Intent {
    /// The job.
    pub spec: JobSpec,
    /// Its place in the order of submission.
    pub seq: u64,
    /// When it was submitted.
    pub submitted: Timestamp,
    /// Which attempt, from 1.
    pub attempt: u32,
    /// On which nodes, and how many replicas on each.
    pub placement: Vec<(NodeId, u32)>,
}

/// How an intent turned out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// The job runs since then.
    Committed {
        /// Since when.
        started: Timestamp,
    },
    /// The job did not run; its escrow is to be given back.
    Voided {
        /// Height from which it is tried again; `None` if it is not.
        retry_at: Option<u64>,
    },
    /// The job has run and ended.
    Ended,
}

/// A durable record, for [`Scheduler::recover`](crate::Scheduler::recover).
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum JobRecord {
    /// From [`Action::RecordIntent`].
    Intent(Intent),
    /// From [`Action::RecordOutcome`].
    Outcome {
        /// The job.
        job: u128,
        /// Which attempt.
        attempt: u32,
        /// How it went.
        outcome: Outcome,
    },
}

/// Why a job is stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum StopReason {
    /// It was cancelled.
    Cancelled,
    /// It ran longer than it may.
    Overrun,
    /// Its last invoice could not be paid.
    Unpaid,
}

/// Why the pool or the scheduler refused something; it is as before.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
#[non_exhaustive]
pub enum ScheduleError {
    /// The call's time is before the scheduler's.
    #[error("clock went backwards: {now:?} is before {last:?}")]
    ClockBackwards {
        /// Time of the call.
        now: Timestamp,
        /// Latest time before.
        last: Timestamp,
    },
    /// The block is below one seen before.
    #[error("height {height} is below {last}")]
    HeightBackwards {
        /// Height given.
        height: u64,
        /// Highest before.
        last: u64,
    },
    /// The job needs more than the whole pool has.
    #[error("demand is more than the whole pool has")]
    NeverFits,
    /// The job has no replicas.
    #[error("no replicas")]
    NoReplicas,
    /// The pool has no room now.
    #[error("no room")]
    NoRoom,
    /// More was to be given back than is taken.
    #[error("more given back than is taken")]
    NotTaken,
    /// A node stands twice.
    #[error("{node:?} stands twice")]
    KnownNode {
        /// The node.
        node: NodeId,
    },
    /// No node has that number.
    #[error("unknown {node:?}")]
    UnknownNode {
        /// The node.
        node: NodeId,
    },
    /// The id is known with other content.
    #[error("job is known with other content")]
    IdConflict,
    /// As many jobs wait as may.
    #[error("{limit} jobs wait already")]
    QueueFull {
        /// Most jobs that wait.
        limit: usize,
    },
    /// No job has that id.
    #[error("unknown job")]
    UnknownJob,
    /// The event makes no sense where the job stands.
    #[error("event does not suit a job that is {state:?}")]
    IllegalEvent {
        /// Where it stands.
        state: JobState,
    },
    /// A record of an attempt without its intent.
    #[error("outcome without intent")]
    OutcomeWithoutIntent,
    /// A setting of 0 that must be more.
    #[error("setting must not be zero")]
    ZeroSetting,
    /// A resource passes its range.
    #[error(transparent)]
    Unit(#[from] UnitError),
}

wire_struct!(JobSpec { id, tenant, priority, request, replicas, max_duration_ns, not_before });
wire_struct!(Intent { spec, seq, submitted, attempt, placement });
wire_enum!(Outcome { 0 => Committed { started }, 1 => Voided { retry_at }, 2 => Ended });
wire_enum!(JobRecord { 0 => Intent(intent), 1 => Outcome { job, attempt, outcome } });
