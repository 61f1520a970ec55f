use super::place::{Allowed, Placer};
use super::{Cluster, NodeId, copies, times};
use crate::Timestamp;
use crate::resources::{Share, fits, zip};
use crate::scheduler::{Order, PlanRules, QueuedJob};
use alloc::vec::Vec;
use foldhash::fast::FixedState;
use hashbrown::{HashMap, HashSet};

/// Which jobs start now, and where.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ClusterPlan {
    /// The jobs to start, in order.
    pub started: Vec<Start>,
    /// The first job in order that does not fit: room is kept for it.
    pub head: Option<u128>,
    /// When the head will fit at the latest, if that is known.
    pub shadow: Option<Timestamp>,
}

/// A job that starts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Start {
    /// The job.
    pub id: u128,
    /// Its nodes, by rising number, and how many replicas go to each.
    pub placement: Vec<(NodeId, u32)>,
}

/// Place of a node that is kept for the head, and what the head leaves there.
type Reserved = (usize, [u64; 4]);

/// A job whose end is known: when, its id, its demand and its nodes.
struct Ending {
    end: Timestamp,
    id: u128,
    demand: [u64; 4],
    placement: Vec<(usize, u32)>,
}

impl Cluster {
    /// The plan for now, of waiting jobs in any order. `end` says when a running job will have ended at the latest.
    ///
    /// Jobs start in order while they fit. The first that does not is the head: it will fit at the shadow time, when
    /// enough running jobs will have ended, on nodes that are then kept for it. A later job that fits now starts only if
    /// it ends by then, or on nodes where it takes nothing that the head needs. Without a shadow time only jobs with a
    /// time limit start, and none once the head has waited `max_wait_ns`.
    ///
    /// O(waiting log waiting + running log running), and for each distinct size of replica O(nodes).
    pub fn plan(
        &self,
        now: Timestamp,
        rules: &PlanRules<'_>,
        end: impl Fn(u128) -> Option<Timestamp>,
        queued: &[QueuedJob],
    ) -> ClusterPlan {
        let mut used: HashMap<u128, [u64; 4], FixedState> = HashMap::with_hasher(FixedState::with_seed(0));
        let mut endings = Vec::new();
        for (&id, r) in &self.running {
            let replicas = r.placement.iter().map(|p| p.1).fold(0u32, u32::saturating_add);
            let all = times(&r.demand, replicas).unwrap_or([u64::MAX; 4]);
            let of = used.entry(r.tenant).or_default();
            *of = zip(*of, all, u64::saturating_add);
            if let Some(end) = end(id) {
                // An end in the past is now.
                endings.push(Ending { end: end.max(now), id, demand: r.demand, placement: r.placement.clone() });
            }
        }
        let mut planning = Planning {
            cluster: self,
            now,
            rules,
            placer: Placer::new(self),
            used,
            endings,
            plan: ClusterPlan::default(),
        };
        planning.run(queued);
        planning.plan
    }
}

struct Planning<'a> {
    cluster: &'a Cluster,
    now: Timestamp,
    rules: &'a PlanRules<'a>,
    placer: Placer<'a>,
    used: HashMap<u128, [u64; 4], FixedState>,
    endings: Vec<Ending>,
    plan: ClusterPlan,
}

impl Planning<'_> {
    fn run(&mut self, queued: &[QueuedJob]) {
        let mut order = Order::new(self.rules.max_wait_ns, self.now, queued);
        let head = loop {
            let Some(job) = order.next(|tenant| self.share(tenant)) else { return };
            if !self.start(job, &Allowed::all()) {
                break job;
            }
        };
        self.plan.head = Some(head.id);
        let (shadow, mut reserved) = match self.shadow(&head.demand.vector(), head.replicas) {
            Some((shadow, reserved)) => (Some(shadow), reserved),
            None => (None, Vec::new()),
        };
        self.plan.shadow = shadow;
        if shadow.is_none() && self.now.saturating_since(head.submitted) >= self.rules.max_wait_ns {
            return;
        }
        // Room only shrinks while a plan is made: what did not fit will not.
        let mut hopeless: HashSet<([u64; 4], u32, bool), FixedState> = HashSet::with_hasher(FixedState::with_seed(0));
        while let Some(job) = order.next(|tenant| self.share(tenant)) {
            let ends_in_time = match (self.end(job), shadow) {
                (Some(end), Some(shadow)) => end <= shadow,
                (Some(_), None) => true,
                (None, None) => continue,
                (None, Some(_)) => false,
            };
            let size = (job.demand.vector(), job.replicas, ends_in_time);
            if hopeless.contains(&size) {
                continue;
            }
            let allowed = if ends_in_time { Allowed::all() } else { Allowed { reserved: &reserved } };
            if !self.start(job, &allowed) {
                hopeless.insert(size);
                continue;
            }
            let Some(started) = self.plan.started.last().filter(|_| !ends_in_time) else { continue };
            for &(node, replicas) in &started.placement {
                let here = reserved.iter_mut().find(|r| self.cluster.nodes[r.0].id == node);
                if let (Some((_, extra)), Some(taken)) = (here, times(&job.demand.vector(), replicas)) {
                    *extra = zip(*extra, taken, u64::saturating_sub);
                }
            }
        }
    }

    fn start(&mut self, job: &QueuedJob, allowed: &Allowed<'_>) -> bool {
        let demand = job.demand.vector();
        let Some(placement) = self.placer.place(job.id, &demand, job.replicas, allowed) else { return false };
        let used = self.used.entry(job.tenant).or_default();
        *used = zip(*used, times(&demand, job.replicas).unwrap_or([u64::MAX; 4]), u64::saturating_add);
        self.plan.started.push(Start { id: job.id, placement: self.cluster.named(&placement) });
        if let Some(end) = self.end(job) {
            self.endings.push(Ending { end, id: job.id, demand, placement });
        }
        true
    }

    /// When a job ends if it starts now; at the end of the clock for one that would outlast it.
    fn end(&self, job: &QueuedJob) -> Option<Timestamp> {
        let limit = job.max_duration_ns?;
        Some(self.now.checked_add(limit).unwrap_or(Timestamp::from_nanos(u64::MAX)))
    }

    fn share(&self, tenant: u128) -> Share {
        let used = self.used.get(&tenant).copied().unwrap_or_default();
        let weight = self.rules.weights.get(&tenant).copied().unwrap_or(1);
        Share::dominant(&used, &self.cluster.total, weight)
    }

    /// When all replicas of the head fit at the latest, and what it leaves on the nodes that are then its own.
    fn shadow(&mut self, head: &[u64; 4], replicas: u32) -> Option<(Timestamp, Vec<Reserved>)> {
        self.endings.sort_unstable_by_key(|e| (e.end, e.id));
        let mut free = self.placer.free.clone();
        let mut room: Vec<u64> = free.iter().map(|free| copies(free, head)).collect();
        let mut total = room.iter().fold(0u64, |sum, &n| sum.saturating_add(n));
        let mut endings = self.endings.iter().peekable();
        while let Some(ending) = endings.next() {
            for &(node, count) in &ending.placement {
                free[node] = zip(free[node], times(&ending.demand, count)?, u64::saturating_add);
                let now = copies(&free[node], head);
                total = total.saturating_add(now - room[node].min(now));
                room[node] = now;
            }
            if total < u64::from(replicas) {
                continue;
            }
            if replicas == 1 {
                // Of the nodes where it fits at the same time the lowest; each as it was when it first fitted.
                while let Some(next) = endings.next_if(|next| next.end == ending.end) {
                    for &(node, count) in &next.placement {
                        if room[node] > 0 {
                            continue;
                        }
                        free[node] = zip(free[node], times(&next.demand, count)?, u64::saturating_add);
                        room[node] = copies(&free[node], head);
                    }
                }
            }
            let mut left = u64::from(replicas);
            let mut reserved = Vec::new();
            for (node, &room) in room.iter().enumerate().filter(|(_, room)| **room > 0) {
                let here = room.min(left);
                if here == 0 {
                    break;
                }
                left -= here;
                let taken = times(head, here as u32)?;
                debug_assert!(fits(&taken, &free[node]));
                reserved.push((node, zip(free[node], taken, u64::saturating_sub)));
            }
            return Some((ending.end, reserved));
        }
        None
    }
}
