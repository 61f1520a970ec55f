use crate::resources::{Share, fits, zip};
use crate::{Demand, Timestamp};
use alloc::collections::{BTreeMap, VecDeque};
use alloc::vec::Vec;
use core::cmp::Reverse;

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
    /// What it needs.
    pub demand: Demand,
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

/// Order and room of one pool: priority, dominant resource fairness and EASY backfill, in integers.
///
/// Order: jobs that have waited `max_wait_ns`, by submission; then by priority, then the smaller dominant share of the
/// tenant (the largest fraction of a resource it has, over its weight), then submission. Shares are taken anew after each start.
///
/// Jobs start in order while they fit. The first that does not is the head: it will fit at the shadow time, when
/// enough running jobs will have ended. A later job that fits now starts only if it ends by then or needs no more than
/// the head leaves. Without a shadow time only jobs with a time limit start, and none once the head has waited `max_wait_ns`.
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
    /// The plan for now. O((queued + running) log + queued x tenants); the inputs may come in any order.
    pub fn plan(&self, now: Timestamp, running: &[RunningJob], queued: &[QueuedJob]) -> Plan {
        let mut room = Room::new(self, now, running);
        let mut order = Order::new(self, now, queued);
        let mut plan = Plan::default();
        let head = loop {
            let Some(job) = order.next(&room) else { return plan };
            if !fits(&job.demand.vector(), &room.free) {
                break job;
            }
            room.start(job);
            plan.started.push(job.id);
        };
        plan.head = Some(head.id);
        let (shadow, mut extra) = match room.shadow(&head.demand.vector()) {
            Some((shadow, extra)) => (Some(shadow), extra),
            // Nothing may outlast a time that is not known.
            None => (None, [0; 4]),
        };
        plan.shadow = shadow;
        if shadow.is_none() && now.saturating_since(head.submitted) >= self.max_wait_ns {
            return plan;
        }
        while let Some(job) = order.next(&room) {
            let demand = job.demand.vector();
            if !fits(&demand, &room.free) {
                continue;
            }
            let ends_in_time = match (room.end(job), shadow) {
                (Some(end), Some(shadow)) => end <= shadow,
                (Some(_), None) => true,
                (None, _) => false,
            };
            if !ends_in_time {
                if shadow.is_none() || !fits(&demand, &extra) {
                    continue;
                }
                extra = zip(extra, demand, u64::saturating_sub);
            }
            room.start(job);
            plan.started.push(job.id);
        }
        plan
    }
}

/// What is free and used while a plan is made.
struct Room<'a> {
    planner: &'a Planner,
    now: Timestamp,
    capacity: [u64; 4],
    free: [u64; 4],
    used: BTreeMap<u128, [u64; 4]>,
    /// Jobs whose end is known.
    ends: Vec<(Timestamp, u128, [u64; 4])>,
}

impl<'a> Room<'a> {
    fn new(planner: &'a Planner, now: Timestamp, running: &[RunningJob]) -> Self {
        let capacity = planner.capacity.vector();
        let mut room = Self { planner, now, capacity, free: capacity, used: BTreeMap::new(), ends: Vec::new() };
        for job in running {
            room.add(job.id, job.tenant, &job.demand, job.end.map(|end| end.max(now)));
        }
        room
    }

    fn start(&mut self, job: &QueuedJob) {
        self.add(job.id, job.tenant, &job.demand, self.end(job));
    }

    fn add(&mut self, id: u128, tenant: u128, demand: &Demand, end: Option<Timestamp>) {
        let demand = demand.vector();
        self.free = zip(self.free, demand, u64::saturating_sub);
        let used = self.used.entry(tenant).or_default();
        *used = zip(*used, demand, u64::saturating_add);
        self.ends.extend(end.map(|end| (end, id, demand)));
    }

    /// When a job ends if it starts now; at the end of the clock for one that would outlast it.
    fn end(&self, job: &QueuedJob) -> Option<Timestamp> {
        let limit = job.max_duration_ns?;
        Some(self.now.checked_add(limit).unwrap_or(Timestamp::from_nanos(u64::MAX)))
    }

    fn share(&self, tenant: u128) -> Share {
        let used = self.used.get(&tenant).copied().unwrap_or_default();
        let weight = self.planner.weights.get(&tenant).copied().unwrap_or(1);
        Share::dominant(&used, &self.capacity, weight)
    }

    /// When `head` fits at the latest, and what it then leaves.
    fn shadow(&mut self, head: &[u64; 4]) -> Option<(Timestamp, [u64; 4])> {
        self.ends.sort_unstable_by_key(|&(end, id, _)| (end, id));
        let mut free = self.free;
        for &(end, _, demand) in &self.ends {
            free = zip(free, demand, u64::saturating_add);
            if fits(head, &free) {
                return Some((end, zip(free, *head, u64::saturating_sub)));
            }
        }
        None
    }
}

/// The queue in its order, which changes as jobs start.
struct Order<'a> {
    /// Waited long enough; by submission.
    overdue: VecDeque<&'a QueuedJob>,
    /// By falling priority, then tenant; each by submission.
    rest: BTreeMap<Reverse<u8>, BTreeMap<u128, VecDeque<&'a QueuedJob>>>,
}

impl<'a> Order<'a> {
    fn new(planner: &Planner, now: Timestamp, queued: &'a [QueuedJob]) -> Self {
        let mut jobs: Vec<&QueuedJob> = queued.iter().collect();
        jobs.sort_unstable_by_key(|job| (job.seq, job.id));
        let mut order = Self { overdue: VecDeque::new(), rest: BTreeMap::new() };
        for job in jobs {
            if now.saturating_since(job.submitted) >= planner.max_wait_ns {
                order.overdue.push_back(job);
            } else {
                let tenants = order.rest.entry(Reverse(job.priority)).or_default();
                tenants.entry(job.tenant).or_default().push_back(job);
            }
        }
        order.overdue.make_contiguous().sort_by_key(|job| job.submitted);
        order
    }

    /// Takes the next job off.
    fn next(&mut self, room: &Room<'_>) -> Option<&'a QueuedJob> {
        if let Some(job) = self.overdue.pop_front() {
            return Some(job);
        }
        loop {
            let mut first = self.rest.first_entry()?;
            let tenants = first.get_mut();
            let next = tenants
                .iter()
                .filter_map(|(&tenant, jobs)| Some((room.share(tenant), jobs.front()?.seq, tenant)))
                .min_by(|(a, a_seq, _), (b, b_seq, _)| a.compare(b).then(a_seq.cmp(b_seq)));
            let Some((_, _, tenant)) = next else {
                first.remove();
                continue;
            };
            let jobs = tenants.get_mut(&tenant)?;
            let job = jobs.pop_front();
            if jobs.is_empty() {
                tenants.remove(&tenant);
            }
            return job;
        }
    }
}
