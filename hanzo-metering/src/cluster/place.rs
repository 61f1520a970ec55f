use super::{Cluster, NodeId};
use crate::resources::{fits, zip};
use crate::wide::mul_div;
use alloc::collections::BinaryHeap;
use alloc::vec::Vec;
use core::cmp::Reverse;
use foldhash::fast::FixedState;
use hashbrown::HashMap;

/// Which of the nodes that have room a replica goes to. Ties go to the lower number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum Selection {
    /// The one with the least left over: the sum over the three resources of `floor(65,536 (free - asked) / capacity)`.
    #[default]
    BestFit,
    /// The one with the most left over.
    LeastAllocated,
    /// The one used least recently (004, 8.2).
    RoundRobin,
    /// By lot, in proportion to stake (004, 8.2): [`select_by_stake`] with the first 16 bytes of
    /// `BLAKE3.derive_key("hanzo-metering v1 placement draw", seed, job (16 bytes), replica (4))`.
    StakeWeighted {
        /// Randomness of the network, such as a beacon's.
        seed: [u8; 32],
    },
    /// The one that answers fastest (004, 8.2), by [`Cluster::observe_latency`]; one never observed goes before all others.
    LowestLatency,
}

/// The first index at which the cumulative stake passes `floor(draw S / 2^128)`, `S` being all of it; `None` without stake.
///
/// ```
/// use hanzo_metering::select_by_stake;
/// assert_eq!(select_by_stake([10, 0, 30], [0x40; 16]), Some(2)); // a quarter of 40 is 10
/// assert_eq!(select_by_stake([0, 0], [7; 16]), None);
/// ```
pub fn select_by_stake(stakes: impl IntoIterator<Item = u128> + Clone, draw: [u8; 16]) -> Option<usize> {
    // Past 128 bits the last nodes are out of the draw.
    let sum = stakes.clone().into_iter().fold(0u128, u128::saturating_add);
    // floor(x S / 2^128) = floor(floor(x S / 2^127) / 2).
    let r = mul_div(u128::from_be_bytes(draw), sum, 1 << 127)?.0 / 2;
    let mut cumulative = 0u128;
    stakes.into_iter().position(|stake| {
        cumulative = cumulative.saturating_add(stake);
        cumulative > r
    })
}

/// Which nodes a replica may go to.
pub(super) struct Allowed<'a> {
    /// Nodes kept for another job, and what that leaves on each.
    pub(super) reserved: &'a [(usize, [u64; 4])],
}

impl Allowed<'_> {
    pub(super) const fn all() -> Self {
        Self { reserved: &[] }
    }

    fn admits(&self, node: usize, demand: &[u64; 4], taken: &[(usize, u32)]) -> bool {
        let Some((_, extra)) = self.reserved.iter().find(|r| r.0 == node) else { return true };
        // Replicas of this job that are on it already.
        let here = taken.iter().find(|t| t.0 == node).map_or(0, |t| t.1) + 1;
        super::times(demand, here).is_some_and(|all| fits(&all, extra))
    }
}

/// Finds places while room is being taken. Remembers for each size of replica how well it would sit on every node, and
/// looks again only at nodes that changed since.
pub(super) struct Placer<'a> {
    cluster: &'a Cluster,
    pub(super) free: Vec<[u64; 4]>,
    last_used: Vec<u64>,
    uses: u64,
    /// Nodes in the order in which they changed.
    changes: Vec<usize>,
    versions: Vec<u32>,
    sizes: HashMap<[u64; 4], Ranking, FixedState>,
}

/// The nodes that fit one size, best first, with entries that no longer hold.
#[derive(Default)]
struct Ranking {
    heap: BinaryHeap<Reverse<(u64, usize, u32)>>,
    /// Changes seen.
    seen: usize,
}

impl<'a> Placer<'a> {
    pub(super) fn new(cluster: &'a Cluster) -> Self {
        Self {
            cluster,
            free: cluster.nodes.iter().map(|n| n.free).collect(),
            last_used: cluster.nodes.iter().map(|n| n.last_used).collect(),
            uses: cluster.uses,
            changes: Vec::new(),
            versions: alloc::vec![0; cluster.nodes.len()],
            sizes: HashMap::with_hasher(FixedState::with_seed(0)),
        }
    }

    /// Takes room for all replicas, or for none. By rising node.
    pub(super) fn place(
        &mut self,
        job: u128,
        demand: &[u64; 4],
        replicas: u32,
        allowed: &Allowed<'_>,
    ) -> Option<Vec<(usize, u32)>> {
        let mut taken: Vec<(usize, u32)> = Vec::new();
        for replica in 0..replicas {
            let Some(node) = self.choose(job, replica, demand, allowed, &taken) else {
                for &(node, count) in &taken {
                    for _ in 0..count {
                        self.free[node] = zip(self.free[node], *demand, u64::saturating_add);
                    }
                    self.changed(node);
                }
                return None;
            };
            self.free[node] = zip(self.free[node], *demand, u64::saturating_sub);
            self.changed(node);
            self.uses += 1;
            self.last_used[node] = self.uses;
            match taken.iter_mut().find(|t| t.0 == node) {
                Some(t) => t.1 += 1,
                None => taken.push((node, 1)),
            }
        }
        taken.sort_unstable();
        Some(taken)
    }

    fn changed(&mut self, node: usize) {
        self.changes.push(node);
        // Fewer changes than bytes of memory.
        self.versions[node] = self.versions[node].wrapping_add(1);
    }

    fn choose(
        &mut self,
        job: u128,
        replica: u32,
        demand: &[u64; 4],
        allowed: &Allowed<'_>,
        taken: &[(usize, u32)],
    ) -> Option<usize> {
        match self.cluster.selection {
            Selection::BestFit | Selection::LeastAllocated => self.ranked(demand, allowed, taken),
            Selection::RoundRobin => self.least(demand, allowed, taken, |at| self.last_used[at]),
            Selection::LowestLatency => self.least(demand, allowed, taken, |at| self.cluster.nodes[at].latency_ns),
            Selection::StakeWeighted { ref seed } => {
                let fitting: Vec<usize> = self.fitting(demand, allowed, taken).collect();
                let stakes = fitting.iter().map(|&at| self.cluster.nodes[at].stake);
                let draw = draw(seed, job, replica);
                // Without any stake the first will do.
                select_by_stake(stakes, draw).map_or(fitting.first().copied(), |at| fitting.get(at).copied())
            }
        }
    }

    fn fitting<'b>(
        &'b self,
        demand: &'b [u64; 4],
        allowed: &'b Allowed<'_>,
        taken: &'b [(usize, u32)],
    ) -> impl Iterator<Item = usize> + 'b {
        let fits_here = move |&at: &usize| fits(demand, &self.free[at]) && allowed.admits(at, demand, taken);
        (0..self.free.len()).filter(fits_here)
    }

    fn least(
        &self,
        demand: &[u64; 4],
        allowed: &Allowed<'_>,
        taken: &[(usize, u32)],
        key: impl Fn(usize) -> u64,
    ) -> Option<usize> {
        self.fitting(demand, allowed, taken).min_by_key(|&at| (key(at), at))
    }

    /// The best node by what is left over. O(log nodes) amortised for a size seen before, plus the nodes changed since.
    fn ranked(&mut self, demand: &[u64; 4], allowed: &Allowed<'_>, taken: &[(usize, u32)]) -> Option<usize> {
        let Self { cluster, free, changes, versions, sizes, .. } = self;
        let most = cluster.selection == Selection::LeastAllocated;
        let rank = |at: usize| {
            let left = left_over(&free[at], demand, &cluster.nodes[at].capacity);
            Reverse((if most { u64::MAX - left } else { left }, at, versions[at]))
        };
        let new = !sizes.contains_key(demand);
        let ranking = sizes.entry(*demand).or_default();
        if new {
            let all = (0..free.len()).filter(|&at| fits(demand, &free[at])).map(rank);
            ranking.heap = all.collect();
        } else {
            for &at in &changes[ranking.seen..] {
                if fits(demand, &free[at]) {
                    ranking.heap.push(rank(at));
                }
            }
        }
        ranking.seen = changes.len();
        // Nodes kept for another job are put aside, and back.
        let mut aside = Vec::new();
        let found = loop {
            let Some(&Reverse((_, at, version))) = ranking.heap.peek() else { break None };
            if version != versions[at] || !fits(demand, &free[at]) {
                ranking.heap.pop();
            } else if allowed.admits(at, demand, taken) {
                break Some(at);
            } else {
                aside.extend(ranking.heap.pop());
            }
        };
        ranking.heap.extend(aside);
        found
    }
}

/// Sum over the resources of `floor(65,536 (free - asked) / capacity)`; a resource that the node has none of adds nothing.
fn left_over(free: &[u64; 4], demand: &[u64; 4], capacity: &[u64; 4]) -> u64 {
    let part = |i: usize| {
        let left = free[i] - demand[i];
        match (capacity[i], left.checked_mul(SCALE)) {
            (0, _) => 0,
            (capacity, Some(scaled)) => scaled / capacity,
            // At most 65,536.
            (capacity, None) => (u128::from(left) * u128::from(SCALE) / u128::from(capacity)) as u64,
        }
    };
    part(0) + part(1) + part(2)
}

fn draw(seed: &[u8; 32], job: u128, replica: u32) -> [u8; 16] {
    let mut hasher = blake3::Hasher::new_derive_key("hanzo-metering v1 placement draw");
    hasher.update(seed).update(&job.to_be_bytes()).update(&replica.to_be_bytes());
    let mut draw = [0; 16];
    draw.copy_from_slice(&hasher.finalize().as_bytes()[..16]);
    draw
}

impl From<u32> for NodeId {
    fn from(id: u32) -> Self {
        Self::new(id)
    }
}

const SCALE: u64 = 65_536;
