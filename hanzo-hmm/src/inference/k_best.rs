//! The most likely paths, best first: lazy enumeration (Huang and Chiang, IWPT 2005, algorithm 3).

use std::cmp::Ordering;
use std::collections::BinaryHeap;

use super::decoding::Path;
use super::forward_backward::check_all;
use crate::kernel::{Block, Chain, Level, Workspace, viterbi};
use crate::model::{Emission, Hmm, Observations};
use crate::{Error, Result};

impl<E: Emission> Hmm<E> {
    /// The `k` most likely distinct paths, best first; fewer when fewer are possible. The first is the path of
    /// [`viterbi`](Self::viterbi); of equally likely paths the one with the lower index at the last difference comes
    /// first.
    ///
    /// O(T S^2 + k T log(k S)) time, O(T S + k T) space.
    ///
    /// ```
    /// use hanzo_hmm::{Categorical, Hmm, Initial, Transitions};
    ///
    /// let hmm = Hmm::new(
    ///     Initial::Free(vec![0.6, 0.4]),
    ///     Transitions::new(vec![vec![0.7, 0.3], vec![0.4, 0.6]])?,
    ///     Categorical::new(vec![vec![0.5, 0.4, 0.1], vec![0.1, 0.3, 0.6]])?,
    /// )?;
    /// let best = hmm.k_best([0, 1, 2], 20)?;
    /// assert_eq!(best.len(), 8); // two states, three steps
    /// assert_eq!(best[0], hmm.viterbi([0, 1, 2])?);
    /// let total: f64 = best.iter().map(|path| path.log_prob.exp()).sum();
    /// assert!((total - 0.03628).abs() < 1e-15);
    /// # Ok::<(), hanzo_hmm::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// The family's error for a bad observation; [`Error::ImpossibleSequence`] for a sequence of probability 0.
    pub fn k_best<'a, Q: Observations<E::Obs<'a>>>(&self, observations: Q, k: usize) -> Result<Vec<Path>> {
        check_all(self, &observations)?;
        if k == 0 {
            return Ok(Vec::new());
        }
        if observations.is_empty() {
            return Ok(vec![Path::default()]);
        }
        let chain = Chain::of(self);
        let Workspace { mut weights, mut backward, mut lattice, mut path, .. } = Workspace::new();
        weights.fill_logs(self, &observations, 0..observations.len());
        let block = weights.log_block(self.emission().table());
        viterbi::forward(Level::best(), chain, &mut backward, block, &mut lattice)?;
        viterbi::trace_back(Level::best(), chain, &lattice, &mut path)
            .map_err(|position| Error::ImpossibleSequence { sequence: 0, position })?;
        Ok(Search::new(chain, block, &lattice).run(k))
    }
}

/// A way to reach a state: from the `rank`-th best way to reach `from` one step before.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Way {
    score: f64,
    from: usize,
    rank: usize,
}

impl Eq for Way {}

impl PartialOrd for Way {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// Better ways are greater: a higher score, then a lower state, then a lower rank.
impl Ord for Way {
    fn cmp(&self, other: &Self) -> Ordering {
        let by_score = self.score.total_cmp(&other.score);
        by_score.then(other.from.cmp(&self.from)).then(other.rank.cmp(&self.rank))
    }
}

/// The best ways to reach a state at a step, as far as they were asked for.
#[derive(Debug, Default)]
struct Node {
    known: Vec<Way>,
    candidates: BinaryHeap<Way>,
    /// Whether the last known way still has to be followed by its predecessor's next one.
    open: bool,
}

struct Search<'s> {
    chain: Chain<'s>,
    block: Block<'s>,
    scores: &'s [f64],
    /// One a step and state, made when first asked for, and one beyond the end that all paths lead to.
    nodes: Vec<Option<Box<Node>>>,
}

impl<'s> Search<'s> {
    fn new(chain: Chain<'s>, block: Block<'s>, scores: &'s [f64]) -> Self {
        Self { chain, block, scores, nodes: (0..=scores.len()).map(|_| None).collect() }
    }

    fn run(mut self, k: usize) -> Vec<Path> {
        let end = self.scores.len();
        (0..k).map_while(|rank| self.way(end, rank).map(|way| self.path(way))).collect()
    }

    /// The `rank`-th best way to `node`, if there are so many. What it needs of earlier steps is worked off from a
    /// stack, not by recursion, which could be as deep as the sequence is long.
    fn way(&mut self, node: usize, rank: usize) -> Option<Way> {
        let mut stack = vec![(node, rank)];
        while let Some(&(node, rank)) = stack.last() {
            let mut own = self.nodes[node].take().unwrap_or_else(|| self.first_node(node));
            let mut needed = None;
            while own.known.len() <= rank {
                if let (true, Some(last)) = (own.open, own.known.last().copied()) {
                    let before = self.before(node, last.from);
                    match self.known(before, last.rank + 1) {
                        Known::Way(way) => own.candidates.push(self.extend(node, way, last.from, last.rank + 1)),
                        Known::None => {}
                        Known::NotYet => {
                            needed = Some((before, last.rank + 1));
                            break;
                        }
                    }
                    own.open = false;
                }
                let Some(best) = own.candidates.pop() else { break };
                own.known.push(best);
                own.open = node >= self.chain.n_states();
            }
            self.nodes[node] = Some(own);
            match needed {
                Some(request) => stack.push(request),
                None => {
                    stack.pop();
                }
            }
        }
        self.nodes[node].as_ref()?.known.as_slice().get(rank).copied()
    }

    /// What is known of a way without computing anything.
    fn known(&self, node: usize, rank: usize) -> Known {
        match &self.nodes[node] {
            None => Known::NotYet,
            Some(own) => match own.known.as_slice().get(rank) {
                Some(way) => Known::Way(*way),
                None if own.candidates.is_empty() && !own.open => Known::None,
                None => Known::NotYet,
            },
        }
    }

    /// The node with the best way from every state before.
    fn first_node(&self, node: usize) -> Box<Node> {
        let n = self.chain.n_states();
        let mut own = Node::default();
        if node < n {
            if self.scores[node] > f64::NEG_INFINITY {
                own.candidates.push(Way { score: self.scores[node], from: 0, rank: 0 });
            }
            return Box::new(own);
        }
        for from in 0..n {
            let score = self.scores[self.before(node, from)];
            let way = self.extend(node, Way { score, from: 0, rank: 0 }, from, 0);
            if way.score > f64::NEG_INFINITY {
                own.candidates.push(way);
            }
        }
        Box::new(own)
    }

    /// The node of state `from` one step before `node`.
    fn before(&self, node: usize, from: usize) -> usize {
        let n = self.chain.n_states();
        (node / n - 1) * n + from
    }

    /// A way to `from`, prolonged to `node`, by the additions of the Viterbi recursion.
    fn extend(&self, node: usize, way: Way, from: usize, rank: usize) -> Way {
        let n = self.chain.n_states();
        if node == self.scores.len() {
            return Way { score: way.score, from, rank };
        }
        let (t, state) = (node / n, node % n);
        let moved = way.score + self.chain.transitions.logs()[from * n + state];
        Way { score: moved + self.block.table[self.block.index[t] * n + state], from, rank }
    }

    /// The states of a way to the end.
    fn path(&self, end: Way) -> Path {
        let n = self.chain.n_states();
        let mut states = vec![0; self.scores.len() / n];
        let mut way = end;
        for (t, place) in states.iter_mut().enumerate().rev() {
            *place = way.from;
            let node = t * n + way.from;
            // The best way to a state may have been used without being asked for.
            let known = self.nodes[node].as_ref().and_then(|own| own.known.as_slice().get(way.rank).copied());
            if let Some(next) = known.or_else(|| self.first_node(node).candidates.pop()) {
                way = next;
            }
        }
        Path { states, log_prob: end.score }
    }
}

enum Known {
    Way(Way),
    None,
    NotYet,
}
