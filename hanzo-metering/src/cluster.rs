//! Nodes, what runs on them, and which node a replica goes to.

mod place;
mod plan;

pub use place::{Selection, select_by_stake};
pub use plan::{ClusterPlan, Start};

use crate::resources::{fits, zip};
use crate::{Demand, Resources, ScheduleError};
use alloc::collections::BTreeMap;
use alloc::vec::Vec;

/// Number of a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct NodeId(u32);

impl NodeId {
    /// The node of this number.
    pub const fn new(id: u32) -> Self {
        Self(id)
    }

    /// Its number.
    pub const fn get(self) -> u32 {
        self.0
    }
}

/// A node of a cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct NodeSpec {
    /// Its number.
    pub id: NodeId,
    /// What it has; a slot for each replica it may run.
    pub capacity: Demand,
    /// What its operator has at stake, for [`Selection::StakeWeighted`].
    pub stake: u128,
}

impl NodeSpec {
    /// A node with nothing at stake.
    pub const fn new(id: NodeId, capacity: Demand) -> Self {
        Self { id, capacity, stake: 0 }
    }
}

/// Nodes and what runs on them.
///
/// A job's replicas go to nodes one by one, all or none. [`plan`](Self::plan) says which waiting jobs start now and where:
/// priority, dominant resource fairness, EASY backfill and a longest wait, all in integers.
///
/// ```
/// use hanzo_metering::{Cluster, Demand, NodeId, NodeSpec, Resources, Selection};
/// # fn main() -> Result<(), hanzo_metering::Error> {
/// let capacity = Demand { resources: Resources::new(8_000, 16 << 30, 0)?, slots: 10 };
/// let nodes = [1, 2].map(|id| NodeSpec::new(NodeId::new(id), capacity));
/// let mut cluster = Cluster::new(nodes, Selection::BestFit)?;
/// let request = Demand { resources: Resources::new(3_000, 1 << 30, 0)?, slots: 1 };
/// // Two fit on each node: three replicas need both.
/// let placement = cluster.place(7, &request, 3).expect("there is room");
/// assert_eq!(placement, [(NodeId::new(1), 2), (NodeId::new(2), 1)]);
/// cluster.start(7, 1, request, placement)?;
/// assert!(cluster.place(8, &request, 2).is_none());
/// # Ok(()) }
/// ```
#[derive(Debug, Clone)]
pub struct Cluster {
    /// By rising number.
    nodes: Vec<Node>,
    selection: Selection,
    total: [u64; 4],
    running: BTreeMap<u128, Running>,
    /// Counts starts, for round robin.
    uses: u64,
}

#[derive(Debug, Clone)]
struct Node {
    id: NodeId,
    stake: u128,
    capacity: [u64; 4],
    free: [u64; 4],
    last_used: u64,
    latency_ns: u64,
}

#[derive(Debug, Clone)]
struct Running {
    tenant: u128,
    /// Of each replica.
    demand: [u64; 4],
    /// Place in the list of nodes, and replicas there.
    placement: Vec<(usize, u32)>,
}

impl Cluster {
    /// Nodes on which nothing runs.
    ///
    /// # Errors
    /// `KnownNode` where a number stands twice; `ResourceRange` where the nodes together have 2^56 or more of something.
    pub fn new(nodes: impl IntoIterator<Item = NodeSpec>, selection: Selection) -> Result<Self, ScheduleError> {
        let node = |n: NodeSpec| {
            let capacity = n.capacity.vector();
            Node { id: n.id, stake: n.stake, capacity, free: capacity, last_used: 0, latency_ns: 0 }
        };
        let mut nodes: Vec<Node> = nodes.into_iter().map(node).collect();
        nodes.sort_by_key(|n| n.id);
        if let Some(pair) = nodes.windows(2).find(|pair| pair[0].id == pair[1].id) {
            return Err(ScheduleError::KnownNode { node: pair[0].id });
        }
        let mut total = [0u64; 4];
        for node in &nodes {
            total = zip(total, node.capacity, u64::saturating_add);
        }
        if total.iter().any(|&sum| sum >= Resources::LIMIT) {
            return Err(ScheduleError::Unit(crate::UnitError::ResourceRange));
        }
        Ok(Self { nodes, selection, total, running: BTreeMap::new(), uses: 0 })
    }

    /// Where the replicas of a job would go now, by rising node number; `None` where there is no room for all. `request` is what
    /// one replica needs. O(nodes + replicas log nodes) by what is left over, O(nodes) a replica by the other rules.
    pub fn place(&self, job: u128, request: &Demand, replicas: u32) -> Option<Vec<(NodeId, u32)>> {
        let mut placer = place::Placer::new(self);
        let placement = placer.place(job, &request.vector(), replicas, &place::Allowed::all())?;
        Some(self.named(&placement))
    }

    /// Takes the room of a job: `request` for each replica, on the nodes that `placement` names with numbers of replicas.
    ///
    /// # Errors
    /// `IdConflict` where the job is running; `UnknownNode`; `NoReplicas`; `NoRoom`. Nothing is then taken.
    pub fn start(
        &mut self,
        job: u128,
        tenant: u128,
        request: Demand,
        placement: Vec<(NodeId, u32)>,
    ) -> Result<(), ScheduleError> {
        if self.running.contains_key(&job) {
            return Err(ScheduleError::IdConflict);
        }
        let demand = request.vector();
        let mut places = Vec::with_capacity(placement.len());
        for &(id, replicas) in &placement {
            let at =
                self.nodes.binary_search_by_key(&id, |n| n.id).map_err(|_| ScheduleError::UnknownNode { node: id })?;
            let needed = times(&demand, replicas).ok_or(ScheduleError::NoRoom)?;
            if replicas == 0 || places.iter().any(|&(place, _)| place == at) {
                return Err(ScheduleError::NoReplicas);
            }
            if !fits(&needed, &self.nodes[at].free) {
                return Err(ScheduleError::NoRoom);
            }
            places.push((at, replicas));
        }
        if places.is_empty() {
            return Err(ScheduleError::NoReplicas);
        }
        for &(at, replicas) in &places {
            let needed = times(&demand, replicas).unwrap_or_default();
            let node = &mut self.nodes[at];
            node.free = zip(node.free, needed, u64::saturating_sub);
            self.uses += 1;
            node.last_used = self.uses;
        }
        self.running.insert(job, Running { tenant, demand, placement: places });
        Ok(())
    }

    /// Gives the room of a job back.
    ///
    /// # Errors
    /// `UnknownJob`.
    pub fn finish(&mut self, job: u128) -> Result<(), ScheduleError> {
        let Running { demand, placement, .. } = self.running.remove(&job).ok_or(ScheduleError::UnknownJob)?;
        for (at, replicas) in placement {
            let node = &mut self.nodes[at];
            node.free = zip(node.free, times(&demand, replicas).unwrap_or_default(), u64::saturating_add);
        }
        Ok(())
    }

    /// Notes how long a node took to answer: a moving average in which the newest counts for an eighth.
    ///
    /// # Errors
    /// `UnknownNode`.
    pub fn observe_latency(&mut self, node: NodeId, nanos: u64) -> Result<(), ScheduleError> {
        let at = self.nodes.binary_search_by_key(&node, |n| n.id).map_err(|_| ScheduleError::UnknownNode { node })?;
        let latency = &mut self.nodes[at].latency_ns;
        // The first is taken whole; in 128 bits nothing overflows.
        *latency = if *latency == 0 { nanos } else { ((u128::from(*latency) * 7 + u128::from(nanos)) / 8) as u64 };
        Ok(())
    }

    /// Whether an empty cluster would have room for so many replicas that each need `request`.
    pub fn could_fit(&self, request: &Demand, replicas: u32) -> bool {
        let demand = request.vector();
        let mut left = u64::from(replicas);
        for node in &self.nodes {
            left = left.saturating_sub(copies(&node.capacity, &demand));
        }
        left == 0
    }

    /// What is free in all: millicores, bytes, milli-GPUs, slots.
    pub fn free(&self) -> [u64; 4] {
        self.nodes.iter().fold([0; 4], |sum, n| zip(sum, n.free, u64::saturating_add))
    }

    /// What there is in all, in the same order.
    pub const fn capacity(&self) -> [u64; 4] {
        self.total
    }

    /// What is free on each node, by rising number.
    pub fn nodes(&self) -> impl ExactSizeIterator<Item = (NodeId, [u64; 4])> {
        self.nodes.iter().map(|n| (n.id, n.free))
    }

    /// Where a job runs.
    pub fn placement(&self, job: u128) -> Option<Vec<(NodeId, u32)>> {
        self.running.get(&job).map(|r| self.named(&r.placement))
    }

    fn named(&self, placement: &[(usize, u32)]) -> Vec<(NodeId, u32)> {
        placement.iter().map(|&(at, replicas)| (self.nodes[at].id, replicas)).collect()
    }
}

/// `demand` for so many replicas; `None` past 64 bits.
fn times(demand: &[u64; 4], replicas: u32) -> Option<[u64; 4]> {
    let mut all = [0; 4];
    for (all, d) in all.iter_mut().zip(demand) {
        *all = d.checked_mul(replicas.into())?;
    }
    Some(all)
}

/// How many times `demand` fits into `free`.
fn copies(free: &[u64; 4], demand: &[u64; 4]) -> u64 {
    free.iter().zip(demand).filter(|(_, d)| **d > 0).map(|(f, d)| f / d).min().unwrap_or(u64::MAX)
}

impl crate::wire::Wire for NodeId {
    fn put(&self, out: &mut Vec<u8>) {
        self.0.put(out);
    }
    fn take(bytes: &mut crate::wire::Bytes<'_>) -> Result<Self, crate::wire::WireError> {
        Ok(Self(u32::take(bytes)?))
    }
}
