//! The most likely paths, best first: lazy enumeration (Huang and Chiang, IWPT 2005, algorithm 3).

use std::cmp::Ordering;
use std::collections::BinaryHeap;

use super::decoding::Path;
use super::forward_backward::check_all;
use crate::kernel::{Block, Chain, Workspace, viterbi};
use crate::model::{Emission, Hmm, Observations};
use crate::{Error, Result};

impl<E: Emission> Hmm<E> {
    /// The `k` most likely distinct paths, best first; fewer when fewer are possible. The first is the path of
    /// [`viterbi`](Self::viterbi), or one that rounding made as likely; of equally likely paths the one with the lower index
    /// at the last difference comes first.
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
        let mut paths = Vec::new();
        self.k_best_with(&mut Workspace::new(), observations, k, &mut paths)?;
        Ok(paths)
    }

    /// [`k_best`](Self::k_best) in the memory of `workspace` and of the paths in `out`.
    ///
    /// # Errors
    ///
    /// As for [`k_best`](Self::k_best); `out` is then unchanged.
    pub fn k_best_with<'a, Q>(
        &self,
        workspace: &mut Workspace,
        observations: Q,
        k: usize,
        out: &mut Vec<Path>,
    ) -> Result<()>
    where
        Q: Observations<E::Obs<'a>>,
    {
        check_all(self, &observations)?;
        if k == 0 || observations.is_empty() {
            out.clear();
            out.resize_with(k.min(1), Path::default);
            return Ok(());
        }
        let (chain, level) = (Chain::of(self), workspace.level());
        let Workspace { weights, backward, lattice, path, k_best, .. } = workspace;
        weights.fill_logs(self, &observations, 0..observations.len());
        let block = weights.log_block(self.emission().table());
        lattice.clear();
        viterbi::forward(level, chain, backward, block, lattice)?;
        viterbi::trace_back(level, chain, lattice, path)
            .map_err(|position| Error::ImpossibleSequence { sequence: 0, position })?;
        Search::new(chain, block, lattice, k_best).run(k, out);
        Ok(())
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
#[derive(Debug, Clone, Default)]
struct Node {
    known: Vec<Way>,
    candidates: BinaryHeap<Way>,
    /// Whether the last known way still has to be followed by its predecessor's next one.
    open: bool,
}

/// Memory of a search.
#[derive(Debug, Clone, Default)]
pub(crate) struct KBest {
    /// For every step and state, and for the place beyond the end that all paths lead to, where its node is, plus 1; 0
    /// where it was not asked for yet.
    places: Vec<usize>,
    nodes: Vec<Node>,
    used: usize,
    stack: Vec<(usize, usize)>,
    /// In the place of a node that is not kept.
    spare: Node,
}

struct Search<'s> {
    chain: Chain<'s>,
    block: Block<'s>,
    scores: &'s [f64],
    memory: &'s mut KBest,
}

impl<'s> Search<'s> {
    fn new(chain: Chain<'s>, block: Block<'s>, scores: &'s [f64], memory: &'s mut KBest) -> Self {
        memory.places.clear();
        memory.places.resize(scores.len() + 1, 0);
        memory.used = 0;
        Self { chain, block, scores, memory }
    }

    fn run(mut self, k: usize, out: &mut Vec<Path>) {
        let end = self.scores.len();
        let mut found = 0;
        while found < k
            && let Some(way) = self.way(end, found)
        {
            if found == out.len() {
                out.push(Path::default());
            }
            self.write_path(way, &mut out[found]);
            found += 1;
        }
        out.truncate(found);
    }

    /// The node, if it was asked for before.
    fn node(&self, node: usize) -> Option<&Node> {
        self.memory.nodes.get(self.memory.places[node].checked_sub(1)?)
    }

    /// The `rank`-th best way to `node`, if there are so many. What it needs of earlier steps is worked off from a
    /// stack, not by recursion, which could be as deep as the sequence is long.
    fn way(&mut self, node: usize, rank: usize) -> Option<Way> {
        let mut stack = std::mem::take(&mut self.memory.stack);
        stack.clear();
        stack.push((node, rank));
        while let Some(&(node, rank)) = stack.last() {
            let place = self.place(node);
            let mut own = std::mem::take(&mut self.memory.nodes[place]);
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
            self.memory.nodes[place] = own;
            match needed {
                Some(request) => stack.push(request),
                None => {
                    stack.pop();
                }
            }
        }
        self.memory.stack = stack;
        self.node(node)?.known.as_slice().get(rank).copied()
    }

    /// Where the node is, which is made if it was not asked for before.
    fn place(&mut self, node: usize) -> usize {
        if let Some(place) = self.memory.places[node].checked_sub(1) {
            return place;
        }
        let place = self.memory.used;
        self.memory.used += 1;
        self.memory.places[node] = self.memory.used;
        if place == self.memory.nodes.len() {
            self.memory.nodes.push(Node::default());
        }
        let mut own = std::mem::take(&mut self.memory.nodes[place]);
        self.begin(node, &mut own);
        self.memory.nodes[place] = own;
        place
    }

    /// What is known of a way without computing anything.
    fn known(&self, node: usize, rank: usize) -> Known {
        match self.node(node) {
            None => Known::NotYet,
            Some(own) => match own.known.as_slice().get(rank) {
                Some(way) => Known::Way(*way),
                None if own.candidates.is_empty() && !own.open => Known::None,
                None => Known::NotYet,
            },
        }
    }

    /// Writes the best way from every state before to a node.
    fn begin(&self, node: usize, own: &mut Node) {
        let n = self.chain.n_states();
        own.known.clear();
        own.candidates.clear();
        own.open = false;
        if node < n {
            if self.scores[node] > f64::NEG_INFINITY {
                own.candidates.push(Way { score: self.scores[node], from: 0, rank: 0 });
            }
            return;
        }
        for from in 0..n {
            let score = self.scores[self.before(node, from)];
            let way = self.extend(node, Way { score, from: 0, rank: 0 }, from, 0);
            if way.score > f64::NEG_INFINITY {
                own.candidates.push(way);
            }
        }
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

    /// Writes the states of a way to the end.
    fn write_path(&mut self, end: Way, path: &mut Path) {
        let n = self.chain.n_states();
        path.states.clear();
        path.states.resize(self.scores.len() / n, 0);
        path.log_prob = end.score;
        let mut spare = std::mem::take(&mut self.memory.spare);
        let mut way = end;
        for (t, place) in path.states.iter_mut().enumerate().rev() {
            *place = way.from;
            let node = t * n + way.from;
            // The best way to a state may have been used without being asked for.
            let known = self.node(node).and_then(|own| own.known.as_slice().get(way.rank).copied());
            if known.is_none() {
                self.begin(node, &mut spare);
            }
            if let Some(next) = known.or_else(|| spare.candidates.pop()) {
                way = next;
            }
        }
        self.memory.spare = spare;
    }
}

enum Known {
    Way(Way),
    None,
    NotYet,
}
