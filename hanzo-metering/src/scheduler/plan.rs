use crate::resources::Share;
use crate::{Cluster, Demand, NodeId, NodeSpec, Selection, Timestamp};
use alloc::collections::{BTreeMap, BinaryHeap, VecDeque};
use alloc::vec;
use alloc::vec::Vec;
use core::cmp::{Ordering, Reverse};

/// A job that waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct QueuedJob {
    /// Its id.
    pub id: u128,
    /// Its place in the order of submission, which breaks ties.
    pub seq: u64,
    /// Whose it is.
    pub tenant: u128,
    /// Higher goes first.
    pub priority: u8,
    /// Since when it waits.
    pub submitted: Timestamp,
    /// What each replica needs.
    pub demand: Demand,
    /// How many replicas it has, all or none of which start.
    pub replicas: u32,
    /// How long it may run, in nanoseconds.
    pub max_duration_ns: Option<u64>,
}

/// A job that runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RunningJob {
    /// Its id.
    pub id: u128,
    /// Whose it is.
    pub tenant: u128,
    /// What it has.
    pub demand: Demand,
    /// When it will have ended at the latest.
    pub end: Option<Timestamp>,
}

/// Which jobs start now.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Plan {
    /// The jobs to start, in order.
    pub started: Vec<u128>,
    /// The first job in order that does not fit: room is kept for it.
    pub head: Option<u128>,
    /// When the head will fit at the latest, if that is known.
    pub shadow: Option<Timestamp>,
}

/// What the order of a queue depends on.
#[derive(Debug, Clone, Copy)]
pub struct PlanRules<'a> {
    /// How long a job waits before it goes first.
    pub max_wait_ns: u64,
    /// Weights of tenants; 1 where none is given, and for 0.
    pub weights: &'a BTreeMap<u128, u16>,
}

/// Order and room of one pool: priority, dominant resource fairness and EASY backfill, in integers.
///
/// Order: jobs that have waited `max_wait_ns`, by submission; then by priority, then the smaller dominant share of the
/// tenant (the largest fraction of a resource it has, over its weight), then submission. Shares are taken anew after each start.
///
/// It is [`Cluster::plan`] for one node.
///
/// ```
/// use hanzo_metering::{Demand, Planner, QueuedJob, Resources, RunningJob, Timestamp};
/// # fn main() -> Result<(), hanzo_metering::Error> {
/// let t = Timestamp::from_nanos;
/// let cores = |n: u64| Ok::<_, hanzo_metering::Error>(Demand { resources: Resources::new(n * 1_000, 0, 0)?, slots: 1 });
/// let job = |id: u128, demand, max_duration_ns| {
///     QueuedJob { id, seq: id as u64, tenant: id, priority: 128, submitted: t(0), demand, replicas: 1, max_duration_ns }
/// };
/// let capacity = Demand { slots: 10, ..cores(4)? };
/// let planner = Planner { capacity, max_wait_ns: 1_000_000, weights: Default::default() };
/// let running = [RunningJob { id: 1, tenant: 1, demand: cores(3)?, end: Some(t(100)) }];
/// // Job 2 waits for the end of job 1; job 3 ends before that and may go first, job 4 would make it wait longer.
/// let queued = [job(2, cores(4)?, None), job(3, cores(1)?, Some(50)), job(4, cores(1)?, Some(500))];
/// let plan = planner.plan(t(0), &running, &queued);
/// assert_eq!((plan.started, plan.head, plan.shadow), (vec![3], Some(2), Some(t(100))));
/// # Ok(()) }
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Planner {
    /// What the pool has.
    pub capacity: Demand,
    /// How long a job waits before it goes first.
    pub max_wait_ns: u64,
    /// Weights of tenants; 1 where none is given, and for 0.
    pub weights: BTreeMap<u128, u16>,
}

impl Planner {
    /// The plan for now; the inputs may come in any order. O(n log n) in waiting and running jobs. Of running jobs that pass the pool, and of two with one id, the later
    /// ones are left out.
    pub fn plan(&self, now: Timestamp, running: &[RunningJob], queued: &[QueuedJob]) -> Plan {
        let node = NodeId::new(0);
        let Ok(mut cluster) = Cluster::new([NodeSpec::new(node, self.capacity)], Selection::BestFit) else {
            return Plan::default();
        };
        let mut ends = BTreeMap::new();
        for job in running {
            if cluster.start(job.id, job.tenant, job.demand, vec![(node, 1)]).is_ok() {
                ends.insert(job.id, job.end);
            }
        }
        let rules = PlanRules { max_wait_ns: self.max_wait_ns, weights: &self.weights };
        let plan = cluster.plan(now, &rules, |id| ends.get(&id).copied().flatten(), queued);
        Plan { started: plan.started.iter().map(|s| s.id).collect(), head: plan.head, shadow: plan.shadow }
    }
}

/// The queue in its order, which changes as jobs start.
pub(crate) struct Order<'a> {
    /// Waited long enough; by submission.
    overdue: VecDeque<&'a QueuedJob>,
    /// By falling priority.
    levels: BTreeMap<Reverse<u8>, Level<'a>>,
}

/// Jobs of one priority.
#[derive(Default)]
struct Level<'a> {
    /// By tenant, each by submission.
    tenants: BTreeMap<u128, VecDeque<&'a QueuedJob>>,
    /// Tenants by share, then by their first job; made when the level is reached.
    heap: Option<BinaryHeap<Reverse<Turn>>>,
    /// The tenant of the job that was given out last, whose share may have changed since.
    last: Option<u128>,
}

struct Turn {
    share: Share,
    seq: u64,
    tenant: u128,
}

impl<'a> Order<'a> {
    pub(crate) fn new(max_wait_ns: u64, now: Timestamp, queued: &'a [QueuedJob]) -> Self {
        let mut jobs: Vec<&QueuedJob> = queued.iter().collect();
        jobs.sort_unstable_by_key(|job| (job.seq, job.id));
        let mut order = Self { overdue: VecDeque::new(), levels: BTreeMap::new() };
        for job in jobs {
            if now.saturating_since(job.submitted) >= max_wait_ns {
                order.overdue.push_back(job);
            } else {
                let level = order.levels.entry(Reverse(job.priority)).or_default();
                level.tenants.entry(job.tenant).or_default().push_back(job);
            }
        }
        order.overdue.make_contiguous().sort_by_key(|job| job.submitted);
        order
    }

    /// Takes the next job off. Between two calls the share of no other tenant than the last job's may change.
    pub(crate) fn next(&mut self, share: impl Fn(u128) -> Share) -> Option<&'a QueuedJob> {
        if let Some(job) = self.overdue.pop_front() {
            return Some(job);
        }
        loop {
            let mut first = self.levels.first_entry()?;
            if let Some(job) = first.get_mut().next(&share) {
                return Some(job);
            }
            first.remove();
        }
    }
}

impl<'a> Level<'a> {
    fn next(&mut self, share: impl Fn(u128) -> Share) -> Option<&'a QueuedJob> {
        let Self { tenants, heap, last } = self;
        let turn = |tenant: u128, jobs: &VecDeque<&QueuedJob>| {
            jobs.front().map(|job| Reverse(Turn { share: share(tenant), seq: job.seq, tenant }))
        };
        let heap = heap.get_or_insert_with(|| tenants.iter().filter_map(|(&t, jobs)| turn(t, jobs)).collect());
        if let Some(tenant) = last.take() {
            heap.extend(tenants.get(&tenant).and_then(|jobs| turn(tenant, jobs)));
        }
        let Reverse(Turn { tenant, .. }) = heap.pop()?;
        *last = Some(tenant);
        tenants.get_mut(&tenant)?.pop_front()
    }
}

impl Ord for Turn {
    fn cmp(&self, other: &Self) -> Ordering {
        self.share.compare(&other.share).then(self.seq.cmp(&other.seq)).then(self.tenant.cmp(&other.tenant))
    }
}

impl PartialOrd for Turn {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Turn {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Turn {}
