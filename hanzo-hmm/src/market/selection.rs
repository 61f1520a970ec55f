//! Which node does the work: round-robin, by stake, by performance, or by expected free energy.

use std::cmp::Reverse;
use std::collections::BTreeSet;

use rand::rngs::Xoshiro256PlusPlus;
use rand_core::{Rng, SeedableRng};

use crate::{Error, Result};

/// A party, 32 bytes.
pub type NodeId = [u8; 32];

/// What is known about a node.
#[derive(Debug, Clone, Copy, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Node {
    /// The party.
    pub id: NodeId,
    /// Its stake, in base units.
    pub stake: u128,
    /// Jobs done well.
    pub successes: u64,
    /// Jobs failed.
    pub failures: u64,
    /// Moving average of its latency in milliseconds; a negative one counts as 0.
    pub latency_ms: f64,
}

impl Node {
    /// A node without history.
    pub fn new(id: NodeId, stake: u128) -> Self {
        Self { id, stake, successes: 0, failures: 0, latency_ms: 0.0 }
    }
}

/// A rule that picks nodes. `O(n log n)` time for `n` nodes (`O(n k)` for [`StakeWeighted`] and two choices), besides the check for duplicates.
///
/// # Guarantees
/// An implementation returns `k` distinct nodes of the list or an error, and depends on nothing but its state, its arguments and what
/// it draws from `rng`.
pub trait NodeSelector {
    /// Picks `k` distinct nodes.
    ///
    /// # Errors
    /// `NotEnoughNodes` if fewer than `k` can be drawn, `OutOfRange { what: "duplicate node" }` if an id occurs twice, and those of
    /// the rule. The selector's state is unchanged then.
    fn select<R: Rng + ?Sized>(&mut self, nodes: &[Node], k: usize, rng: &mut R) -> Result<Vec<NodeId>>;
}

/// Every node in turn, in the order of the list.
///
/// ```
/// use hanzo_hmm::market::{Node, NodeSelector, RoundRobin};
/// use rand::{SeedableRng, rngs::Xoshiro256PlusPlus};
///
/// let mut rng = Xoshiro256PlusPlus::seed_from_u64(1); // not drawn from by this rule
/// let nodes = [Node::new([1; 32], 0), Node::new([2; 32], 0), Node::new([3; 32], 0)];
/// let mut turn = RoundRobin::default();
/// assert_eq!(turn.select(&nodes, 2, &mut rng)?, [[1; 32], [2; 32]]);
/// assert_eq!(turn.select(&nodes, 2, &mut rng)?, [[3; 32], [1; 32]]);
/// # Ok::<(), hanzo_hmm::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct RoundRobin {
    cursor: usize,
}

impl NodeSelector for RoundRobin {
    fn select<R: Rng + ?Sized>(&mut self, nodes: &[Node], k: usize, _rng: &mut R) -> Result<Vec<NodeId>> {
        check(nodes, k)?;
        let n = nodes.len().max(1);
        let start = self.cursor % n;
        self.cursor = (start + k) % n;
        Ok(nodes.iter().cycle().skip(start).take(k).map(|node| node.id).collect())
    }
}

/// Nodes drawn in proportion to their stake, exactly: `u128` sums and rejection sampling.
///
/// A draw below the total stake takes two 64-bit words of the generator, the high one first, keeps the lowest `ceil(log2 total)` bits, and draws
/// again what is not below it; it falls to the first node of the list at which the sum of stakes exceeds it. Further nodes are drawn from those
/// that remain, in the same way. A node without stake is never drawn. With [`select_by_beacon`](Self::select_by_beacon) anyone who knows the beacon
/// and the list in its order can repeat the draw.
///
/// ```
/// use hanzo_hmm::market::{Node, StakeWeighted};
///
/// let nodes = [Node::new([1; 32], 1_000), Node::new([2; 32], 0), Node::new([3; 32], 500)];
/// let drawn = StakeWeighted.select_by_beacon(&nodes, 2, &[9; 32])?;
/// assert!(drawn.contains(&[1; 32]) && drawn.contains(&[3; 32]));
/// # Ok::<(), hanzo_hmm::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct StakeWeighted;

impl StakeWeighted {
    /// Draws from the generator `xoshiro256++` (Blackman and Vigna, ACM Trans. Math. Softw. 47:36, 2021), whose state is the 32 bytes of a public
    /// beacon as four little-endian words (32 zeros: the first four numbers of [`SplitMix64`](super::SplitMix64) from 0).
    ///
    /// # Errors
    /// Those of [`NodeSelector::select`], and `Overflow` if the stakes add up to 2^128 or more.
    pub fn select_by_beacon(&self, nodes: &[Node], k: usize, beacon: &[u8; 32]) -> Result<Vec<NodeId>> {
        self.draw(nodes, k, &mut Xoshiro256PlusPlus::from_seed(*beacon))
    }

    fn draw<R: Rng + ?Sized>(&self, nodes: &[Node], k: usize, rng: &mut R) -> Result<Vec<NodeId>> {
        check(nodes, k)?;
        let mut total = 0u128;
        for node in nodes {
            total = total.checked_add(node.stake).ok_or(Error::Overflow)?;
        }
        let mut left: Vec<&Node> = nodes.iter().filter(|node| node.stake > 0).collect();
        if left.len() < k {
            return Err(Error::NotEnoughNodes { available: left.len(), wanted: k });
        }
        let mut drawn = Vec::with_capacity(k);
        for _ in 0..k {
            let ticket = below(total, rng);
            let mut sum = 0u128;
            // The ticket is below the sum of all stakes left, so the search always ends inside the list.
            let Some(winner) = left.iter().position(|node| {
                sum += node.stake;
                ticket < sum
            }) else {
                return Err(Error::NotEnoughNodes { available: drawn.len(), wanted: k });
            };
            let winner = left.remove(winner);
            total -= winner.stake;
            drawn.push(winner.id);
        }
        Ok(drawn)
    }
}

impl NodeSelector for StakeWeighted {
    fn select<R: Rng + ?Sized>(&mut self, nodes: &[Node], k: usize, rng: &mut R) -> Result<Vec<NodeId>> {
        self.draw(nodes, k, rng)
    }
}

/// Nodes by their record: `(successes + 1) / (successes + failures + 2) * exp(-latency / scale)`.
///
/// The default takes the best; [`two_choices`](Self::two_choices) takes the better of two drawn at random, which
/// spreads load. Ties go to the earlier node of the list.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Performance {
    latency_scale_ms: f64,
    two_choices: bool,
}

impl Performance {
    /// The best nodes first, with the latency in milliseconds that costs a factor e.
    ///
    /// # Errors
    /// `InvalidConfig` unless the scale is positive and finite.
    pub fn new(latency_scale_ms: f64) -> Result<Self> {
        if !(latency_scale_ms.is_finite() && latency_scale_ms > 0.0) {
            return Err(Error::InvalidConfig { field: "latency_scale_ms" });
        }
        Ok(Self { latency_scale_ms, two_choices: false })
    }

    /// Turns the power of two choices on.
    #[must_use]
    pub fn two_choices(mut self) -> Self {
        self.two_choices = true;
        self
    }

    /// The score of a node, in [0, 1]; a latency that is no number counts as 0 here, and is refused by `select`.
    pub fn score(&self, node: &Node) -> f64 {
        let good = node.successes as f64 + 1.0;
        let rate = good / (good + node.failures as f64 + 1.0);
        rate * (-node.latency_ms.max(0.0) / self.latency_scale_ms).exp()
    }
}

impl Default for Performance {
    /// A scale of 1,000 ms, best first.
    fn default() -> Self {
        Self { latency_scale_ms: 1_000.0, two_choices: false }
    }
}

impl NodeSelector for Performance {
    fn select<R: Rng + ?Sized>(&mut self, nodes: &[Node], k: usize, rng: &mut R) -> Result<Vec<NodeId>> {
        check(nodes, k)?;
        if nodes.iter().any(|node| !node.latency_ms.is_finite()) {
            return Err(Error::NotFinite { what: "latency" });
        }
        let mut ranked: Vec<(f64, usize)> = nodes.iter().enumerate().map(|(i, node)| (self.score(node), i)).collect();
        ranked.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
        let mut chosen = Vec::with_capacity(k);
        for _ in 0..k {
            let place = if self.two_choices && ranked.len() > 1 {
                let first = below(ranked.len() as u128, rng) as usize;
                let second = below(ranked.len() as u128 - 1, rng) as usize;
                // The list is in order of rank, and `second` skips `first`.
                first.min(if second >= first { second + 1 } else { second })
            } else {
                0
            };
            chosen.push(nodes[ranked.remove(place).1].id);
        }
        Ok(chosen)
    }
}

/// Nodes by expected free energy: a good answer in time is preferred, and a node of which little is known is worth a try.
///
/// A job ends in time, late, or not at all. A node with `s` successes and `f` failures fails with the mean of a `Beta(f + 1, s + 1)` and is late
/// with probability `1 - exp(-latency / scale)`; the preferences are `z`, `z / 2` and 0 nats. `G = risk + ambiguity - w I`, where the state of a
/// node is known, so that `risk + ambiguity` is minus the expected log preference, and `I` is the [information](super::dirichlet_novelty) that one
/// more job would give about the failure rate. The least `G` first; ties go to the earlier node of the list.
///
/// ```
/// use hanzo_hmm::market::{EfeNodes, Node};
///
/// let known = Node { successes: 50, failures: 50, ..Node::new([1; 32], 0) };
/// let new = Node::new([2; 32], 0);
/// let rule = EfeNodes::default();
/// assert!(rule.free_energy(&new)? < rule.free_energy(&known)?); // as likely to fail, but unknown
/// # Ok::<(), hanzo_hmm::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct EfeNodes {
    answer_weight: f64,
    novelty_weight: f64,
    latency_scale_ms: f64,
}

impl EfeNodes {
    /// Nats of an answer in time, weight of the information, and the latency in milliseconds at which `1 / e` of the jobs are in time.
    ///
    /// # Errors
    /// `InvalidConfig` for a weight outside [0, 10^6], or a scale that is not positive and finite.
    pub fn new(answer_weight: f64, novelty_weight: f64, latency_scale_ms: f64) -> Result<Self> {
        let weight = |w: f64| (0.0..=1e6).contains(&w);
        if !weight(answer_weight) {
            return Err(Error::InvalidConfig { field: "answer_weight" });
        }
        if !weight(novelty_weight) {
            return Err(Error::InvalidConfig { field: "novelty_weight" });
        }
        if !(latency_scale_ms.is_finite() && latency_scale_ms > 0.0) {
            return Err(Error::InvalidConfig { field: "latency_scale_ms" });
        }
        Ok(Self { answer_weight, novelty_weight, latency_scale_ms })
    }

    /// `G` of a node in nats.
    ///
    /// # Errors
    /// `NotFinite` for its latency.
    pub fn free_energy(&self, node: &Node) -> Result<f64> {
        if !node.latency_ms.is_finite() {
            return Err(Error::NotFinite { what: "latency" });
        }
        let counts = [node.successes as f64 + 1.0, node.failures as f64 + 1.0];
        let answers = counts[0] / (counts[0] + counts[1]);
        let in_time = (-node.latency_ms.max(0.0) / self.latency_scale_ms).exp();
        let z = self.answer_weight;
        // ln of the normaliser of (z, z / 2, 0).
        let normaliser = z + ((-0.5 * z).exp() + (-z).exp()).ln_1p();
        let expected = answers * (in_time * z + (1.0 - in_time) * 0.5 * z) - normaliser;
        Ok(-expected - self.novelty_weight * super::dirichlet_novelty(&counts)?)
    }
}

impl Default for EfeNodes {
    /// 4 nats, weight 1, 1,000 ms.
    fn default() -> Self {
        Self { answer_weight: 4.0, novelty_weight: 1.0, latency_scale_ms: 1_000.0 }
    }
}

impl NodeSelector for EfeNodes {
    fn select<R: Rng + ?Sized>(&mut self, nodes: &[Node], k: usize, _rng: &mut R) -> Result<Vec<NodeId>> {
        check(nodes, k)?;
        let mut ranked = Vec::with_capacity(nodes.len());
        for (i, node) in nodes.iter().enumerate() {
            ranked.push((self.free_energy(node)?, i));
        }
        ranked.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
        Ok(ranked[..k].iter().map(|(_, i)| nodes[*i].id).collect())
    }
}

fn check(nodes: &[Node], k: usize) -> Result<()> {
    let distinct: BTreeSet<_> = nodes.iter().map(|node| Reverse(node.id)).collect();
    if distinct.len() < nodes.len() {
        return Err(Error::OutOfRange { what: "duplicate node" });
    }
    if k > nodes.len() {
        return Err(Error::NotEnoughNodes { available: nodes.len(), wanted: k });
    }
    Ok(())
}

/// A uniform integer below `n > 0`: masked 128-bit draws (high word first), those that are too large drawn again.
fn below<R: Rng + ?Sized>(n: u128, rng: &mut R) -> u128 {
    let mask = u128::MAX.checked_shr((n - 1).leading_zeros()).unwrap_or(0);
    loop {
        let draw = (u128::from(rng.next_u64()) << 64 | u128::from(rng.next_u64())) & mask;
        if draw < n {
            return draw;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rng(seed: u64) -> Xoshiro256PlusPlus {
        Xoshiro256PlusPlus::seed_from_u64(seed)
    }

    fn nodes(n: u8) -> Vec<Node> {
        (0..n).map(|i| Node::new([i; 32], u128::from(i) * 10)).collect()
    }

    #[test]
    fn below_covers_its_range_evenly() {
        let mut rng = rng(5);
        for n in [1u128, 2, 3, 7, 10] {
            let mut seen = vec![0u32; n as usize];
            for _ in 0..4_000 {
                seen[below(n, &mut rng) as usize] += 1;
            }
            let mean = 4_000.0 / n as f64;
            assert!(seen.iter().all(|&s| (f64::from(s) - mean).abs() < 6.0 * mean.sqrt()), "{n}: {seen:?}");
        }
        assert!(below(u128::MAX, &mut rng) < u128::MAX);
    }

    #[test]
    fn stake_is_a_share_of_the_draws() {
        let nodes = nodes(5);
        let mut rng = rng(1);
        let mut hits = [0u32; 5];
        for _ in 0..20_000 {
            let id = StakeWeighted.select(&nodes, 1, &mut rng).unwrap()[0];
            hits[usize::from(id[0])] += 1;
        }
        assert_eq!(hits[0], 0);
        for (i, &h) in hits.iter().enumerate() {
            let expected = 20_000.0 * i as f64 / 10.0;
            assert!((f64::from(h) - expected).abs() < 5.0 * 100.0, "{hits:?}");
        }
    }

    #[test]
    fn round_robin_goes_round() {
        let nodes = nodes(3);
        let mut turn = RoundRobin::default();
        let firsts: Vec<u8> = (0..4).map(|_| turn.select(&nodes, 2, &mut rng(0)).unwrap()[0][0]).collect();
        assert_eq!(firsts, [0, 2, 1, 0]);
        assert_eq!(turn.select(&[], 0, &mut rng(0)), Ok(vec![]));
    }

    #[test]
    fn performance_ranks_by_record_and_latency() {
        let mut list = nodes(3);
        list[0].failures = 10;
        list[1].successes = 100;
        list[1].latency_ms = 100.0;
        list[2].successes = 100;
        list[2].latency_ms = 900.0;
        let ids = Performance::default().select(&list, 3, &mut rng(0)).unwrap();
        assert_eq!(ids.iter().map(|id| id[0]).collect::<Vec<_>>(), [1, 2, 0]);
        let mut spread = Performance::default().two_choices();
        let mut rng = rng(3);
        let worst = (0..600).filter(|_| spread.select(&list, 1, &mut rng).unwrap()[0][0] == 0).count();
        assert_eq!(worst, 0, "the worst of three never wins against one of the other two");
        let second = (0..600).filter(|_| spread.select(&list, 1, &mut rng).unwrap()[0][0] == 2).count();
        assert!((120..280).contains(&second), "{second}");
    }

    #[test]
    fn free_energy_prefers_the_reliable_the_fast_and_the_unknown() {
        let rule = EfeNodes::default();
        let node = |successes, failures, latency_ms| Node { successes, failures, latency_ms, ..Node::new([1; 32], 0) };
        let g = |n: Node| rule.free_energy(&n).unwrap();
        assert!(g(node(90, 10, 100.0)) < g(node(50, 50, 100.0)));
        assert!(g(node(90, 10, 100.0)) < g(node(90, 10, 900.0)));
        assert!(g(node(1, 1, 100.0)) < g(node(100, 100, 100.0)));
        // Without novelty G is the divergence from the preferred outcomes and their entropy, and so not negative.
        let plain = EfeNodes::new(4.0, 0.0, 1_000.0).unwrap();
        let z: f64 = [4.0f64, 2.0, 0.0].iter().map(|c| c.exp()).sum::<f64>().ln();
        let (a, t) = (0.75, f64::exp(-0.2));
        let wanted = -(a * t * 4.0 + a * (1.0 - t) * 2.0 - z);
        assert!((plain.free_energy(&node(2, 0, 200.0)).unwrap() - wanted).abs() < 1e-12 && wanted > 0.0);
        let mut list = nodes(4);
        list[2].successes = 10;
        list[0].failures = 10;
        list[3].latency_ms = 500.0;
        let ids = EfeNodes::default().select(&list, 4, &mut rng(0)).unwrap();
        assert_eq!(ids.iter().map(|id| id[0]).collect::<Vec<_>>(), [2, 1, 3, 0]);
        assert!(EfeNodes::new(-1.0, 0.0, 1.0).is_err() && EfeNodes::new(1.0, f64::NAN, 1.0).is_err());
        assert!(EfeNodes::new(1.0, 1.0, 0.0).is_err());
        list[1].latency_ms = f64::INFINITY;
        assert_eq!(EfeNodes::default().select(&list, 1, &mut rng(0)), Err(Error::NotFinite { what: "latency" }));
    }

    #[test]
    fn bad_lists_are_refused() {
        let mut list = nodes(3);
        assert_eq!(
            RoundRobin::default().select(&list, 4, &mut rng(0)),
            Err(Error::NotEnoughNodes { available: 3, wanted: 4 })
        );
        assert_eq!(StakeWeighted.select(&list, 3, &mut rng(0)), Err(Error::NotEnoughNodes { available: 2, wanted: 3 }));
        list[1].stake = u128::MAX;
        assert_eq!(StakeWeighted.select(&list, 1, &mut rng(0)), Err(Error::Overflow));
        list[1].latency_ms = f64::NAN;
        assert_eq!(Performance::default().select(&list, 1, &mut rng(0)), Err(Error::NotFinite { what: "latency" }));
        list[1].id = list[0].id;
        assert_eq!(
            RoundRobin::default().select(&list, 1, &mut rng(0)),
            Err(Error::OutOfRange { what: "duplicate node" })
        );
    }
}
