//! A whole network in lock-step, lumped into classes of equal nodes.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use super::AnalysisError;
use super::classes::{Classes, Event, FINAL, Successes, successes};
use crate::params::Params;

/// A network of validators of stake 1 that decide between two colours in lock-step rounds.
///
/// Each honest node is a Snowflake that polls `k` of the `n - 1` others without replacement, on the state at the start of
/// the round. Nodes with the same preference and counters are alike, so only their number in each such class counts:
/// [`exact`](Self::exact) enumerates all futures of a small network, [`LumpedRuns`](super::LumpedRuns) draws one of a network of
/// any size, [`forecast`](Self::forecast) follows the mean.
///
/// ```
/// use hanzo_snow::Params;
/// use hanzo_snow::analysis::{Answers, LumpedChain};
///
/// let params = Params::builder().k(3).alpha_preference(2).conditions([(2, 2)]).concurrent_repolls(1).build()?;
/// let chain = LumpedChain::new(&params, 6, 1, Answers::Minority)?;
/// let ends = chain.exact(2, 3_000, 1e-13)?;
/// assert!((ends.disagreement - 0.460_424_175).abs() < 1e-8);
/// # Ok::<(), hanzo_snow::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct LumpedChain {
    pub(super) classes: Classes,
    pub(super) k: u16,
    pub(super) n: u64,
    pub(super) byzantine: u64,
    pub(super) answers: Answers,
}

/// What the Byzantine nodes of a [`LumpedChain`] answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Answers {
    /// Nothing.
    Silent,
    /// The colour that fewer honest nodes prefer at the start of the round (decided ones count; 0 at a tie).
    Minority,
}

/// How a small network ends.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Ends {
    /// P[every honest node decides 0].
    pub all_zero: f64,
    /// P[every honest node decides 1].
    pub all_one: f64,
    /// P[every honest node decides, not all alike].
    pub disagreement: f64,
    /// P[two honest nodes have decided differently], whether or not all have decided: the failure of safety.
    pub conflict: f64,
    /// Sum over the rounds of the round's number times the probability that the last node decides in it.
    pub expected_rounds: f64,
    /// P[not all have decided] when the count ended.
    pub undecided: f64,
    /// The part of `undecided` from which no future leads to an end: decided nodes of both colours block the others.
    pub stuck: f64,
    /// Rounds counted.
    pub rounds: u32,
}

impl LumpedChain {
    /// A network of `n` nodes of which `byzantine` answer as told.
    ///
    /// # Errors
    /// [`AnalysisError::Population`] unless `byzantine < n`, `k < n` and `n <= 2^53`, [`AnalysisError::TooLarge`] where the
    /// conditions allow more than 2^17 classes.
    pub fn new(params: &Params, n: u64, byzantine: u64, answers: Answers) -> Result<Self, AnalysisError> {
        if byzantine >= n || u64::from(params.k()) >= n || n > 1 << 53 {
            return Err(AnalysisError::Population {
                population: n.saturating_sub(1),
                support: n.saturating_sub(byzantine),
                k: params.k(),
            });
        }
        Ok(Self { classes: Classes::new(params)?, k: params.k(), n, byzantine, answers })
    }

    /// Number of honest nodes.
    #[must_use]
    pub const fn honest(&self) -> u64 {
        self.n - self.byzantine
    }

    /// All futures from `ones` honest nodes that prefer 1 and the rest 0, until less than `tolerance` of the probability
    /// is undecided or `max_rounds` are counted. O(rounds * transitions); where some of it is [stuck](Ends::stuck), all
    /// `max_rounds` are counted.
    ///
    /// The number of states grows like the number of ways to spread the honest nodes over the classes: up to about ten
    /// nodes with `beta` 2 or 3.
    ///
    /// # Errors
    /// [`AnalysisError::Ones`] for more ones than honest nodes, [`AnalysisError::TooLarge`] for more than 2^15 states (fewer
    /// where there are more than 1,024 classes, as each state counts them all) or 2^22 transitions.
    pub fn exact(&self, ones: u64, max_rounds: u32, tolerance: f64) -> Result<Ends, AnalysisError> {
        let graph = Graph::explore(self, self.start(ones)?)?;
        let can_end = graph.can_end();
        let mut mass = alloc::vec![0.0; graph.states.len()];
        mass[0] = 1.0;
        let absorbed = |mass: &[f64]| {
            let ends = graph.states.iter().zip(mass).filter(|(state, _)| self.undecided(state) == 0);
            ends.fold([0.0; 3], |mut sums, (state, p)| {
                let end = match (state[FINAL[0]], state[FINAL[1]]) {
                    (_, 0) => 0,
                    (0, _) => 1,
                    _ => 2,
                };
                sums[end] += p;
                sums
            })
        };
        let mut rounds = 0;
        let mut expected_rounds = 0.0;
        let mut ended: f64 = absorbed(&mass).iter().sum();
        let mut undecided = 1.0 - ended;
        while rounds < max_rounds && undecided > tolerance {
            rounds += 1;
            let mut after = alloc::vec![0.0; mass.len()];
            for (transitions, p) in graph.transitions.iter().zip(&mass).filter(|(_, p)| **p > 0.0) {
                for &(to, q) in transitions {
                    after[to as usize] += p * q;
                }
            }
            mass = after;
            let now: f64 = absorbed(&mass).iter().sum();
            expected_rounds += f64::from(rounds) * (now - ended);
            ended = now;
            undecided = graph.sum(&mass, |state| self.undecided(state) > 0);
        }
        let [all_zero, all_one, disagreement] = absorbed(&mass);
        let stuck = mass.iter().zip(&can_end).filter(|(_, can)| !**can).map(|(p, _)| p).sum();
        let conflict = graph.sum(&mass, |state| state[FINAL[0]] > 0 && state[FINAL[1]] > 0);
        Ok(Ends { all_zero, all_one, disagreement, conflict, expected_rounds, undecided, stuck, rounds })
    }

    /// States that are enumerated at most: 2^15, and no more than fit 256 MiB.
    fn most_states(&self) -> usize {
        const MOST_COUNTS: usize = 1 << 25;
        (MOST_COUNTS / self.classes.len()).min(1 << 15)
    }

    /// Number of nodes in each class at the start.
    pub(super) fn start(&self, ones: u64) -> Result<Vec<u64>, AnalysisError> {
        let zeros = self.honest().checked_sub(ones).ok_or(AnalysisError::Ones { ones, honest: self.honest() })?;
        let mut counts = alloc::vec![0; self.classes.len()];
        counts[Classes::fresh(0)] = zeros;
        counts[Classes::fresh(1)] = ones;
        Ok(counts)
    }

    pub(super) fn undecided(&self, counts: &[u64]) -> u64 {
        self.honest() - counts[FINAL[0]] - counts[FINAL[1]]
    }

    /// How many nodes answer 0 and 1, the Byzantine ones included.
    pub(super) fn answering(&self, counts: &[u64]) -> [u64; 2] {
        let ones: u64 =
            counts.iter().zip(&self.classes.colours).filter(|(_, colour)| **colour == 1).map(|(c, _)| c).sum();
        let mut answering = [self.honest() - ones, ones];
        if self.answers == Answers::Minority {
            let minority = usize::from(answering[1] < answering[0]);
            answering[minority] += self.byzantine;
        }
        answering
    }

    /// For nodes of each colour, what a poll may say; a node does not ask itself.
    pub(super) fn outcomes(&self, answering: [u64; 2]) -> [Successes; 2] {
        [0, 1].map(|own: usize| {
            let mut others = answering;
            // Where no node has the colour, none asks with it.
            others[own] = others[own].saturating_sub(1);
            let others = others.map(|support| support.min(self.n - 1));
            successes(&self.classes, self.k, self.n - 1, others)
        })
    }

    /// The classes that a node of `class` may be in next, and how likely; the last one takes the rest.
    pub(super) fn moves(&self, class: usize, outcomes: &[Successes; 2], out: &mut Vec<(usize, f64)>) {
        out.clear();
        let successes = &outcomes[usize::from(self.classes.colours[class])];
        let mut add = |to: usize, p: f64| match out.iter_mut().find(|(other, _)| *other == to) {
            Some((_, sum)) => *sum += p,
            None => out.push((to, p)),
        };
        let mut rest = 1.0;
        for (colour, levels) in successes.iter().enumerate() {
            for (level, &p) in levels.iter().enumerate().filter(|(_, p)| **p > 0.0) {
                add(self.classes.next(class, Event::Success { colour, level }), p);
                rest -= p;
            }
        }
        let failed = self.classes.next(class, Event::Failed);
        if rest > 1e-15 {
            add(failed, rest);
        }
    }
}

/// All states that can be reached, the first one first.
struct Graph {
    states: Vec<Vec<u64>>,
    transitions: Vec<Vec<(u32, f64)>>,
}

impl Graph {
    fn explore(chain: &LumpedChain, start: Vec<u64>) -> Result<Self, AnalysisError> {
        const MOST_TRANSITIONS: usize = 1 << 22;
        let most_states = chain.most_states();
        let mut index = BTreeMap::from([(start.clone(), 0_u32)]);
        let mut graph = Self { states: alloc::vec![start], transitions: Vec::new() };
        let mut count = 0;
        let mut moves = Vec::new();
        while let Some(state) = graph.states.get(graph.transitions.len()).cloned() {
            let mut spread = BTreeMap::from([(alloc::vec![0; state.len()], 1.0)]);
            if chain.undecided(&state) == 0 {
                spread = BTreeMap::from([(state.clone(), 1.0)]);
            } else {
                let outcomes = chain.outcomes(chain.answering(&state));
                for (class, &nodes) in state.iter().enumerate().filter(|(_, nodes)| **nodes > 0) {
                    if FINAL.contains(&class) {
                        moves.clear();
                        moves.push((class, 1.0));
                    } else {
                        chain.moves(class, &outcomes, &mut moves);
                    }
                    // Before they are listed: the ways to spread the nodes of one class alone.
                    let ways = (1..moves.len() as u64).fold(1.0, |ways, i| ways * (nodes + i) as f64 / i as f64);
                    if ways > most_states as f64 {
                        return Err(AnalysisError::TooLarge { most: most_states });
                    }
                    let mut after: BTreeMap<Vec<u64>, f64> = BTreeMap::new();
                    for (partial, p) in &spread {
                        multinomial(nodes, &moves, partial.clone(), *p, &mut after);
                        if after.len() > most_states {
                            return Err(AnalysisError::TooLarge { most: most_states });
                        }
                    }
                    spread = after;
                }
            }
            count += spread.len();
            let transitions = spread.into_iter().map(|(to, p)| {
                let at = *index.entry(to).or_insert_with_key(|state| {
                    graph.states.push(state.clone());
                    (graph.states.len() - 1) as u32
                });
                (at, p)
            });
            let transitions = transitions.collect();
            graph.transitions.push(transitions);
            if graph.states.len() > most_states {
                return Err(AnalysisError::TooLarge { most: most_states });
            }
            if count > MOST_TRANSITIONS {
                return Err(AnalysisError::TooLarge { most: MOST_TRANSITIONS });
            }
        }
        Ok(graph)
    }

    fn sum(&self, mass: &[f64], of: impl Fn(&[u64]) -> bool) -> f64 {
        self.states.iter().zip(mass).filter(|(state, _)| of(state)).map(|(_, p)| p).sum()
    }

    /// Which states some future leads from to an end. An end is a state that leads to itself only and has no node
    /// undecided: its one transition is the one given to it above.
    fn can_end(&self) -> Vec<bool> {
        let mut from: Vec<Vec<u32>> = alloc::vec![Vec::new(); self.states.len()];
        let mut open = Vec::new();
        let mut can = alloc::vec![false; self.states.len()];
        for (at, transitions) in self.transitions.iter().enumerate() {
            for &(to, _) in transitions {
                from[to as usize].push(at as u32);
            }
            let nodes: u64 = self.states[at].iter().sum();
            if self.states[at][FINAL[0]] + self.states[at][FINAL[1]] == nodes {
                can[at] = true;
                open.push(at);
            }
        }
        while let Some(at) = open.pop() {
            for &before in &from[at] {
                if !core::mem::replace(&mut can[before as usize], true) {
                    open.push(before as usize);
                }
            }
        }
        can
    }
}

/// Adds to `out` every way to spread `nodes` over the moves, times `p`.
fn multinomial(nodes: u64, moves: &[(usize, f64)], partial: Vec<u64>, p: f64, out: &mut BTreeMap<Vec<u64>, f64>) {
    let Some((&(to, q), rest)) = moves.split_first() else { return };
    if rest.is_empty() {
        let mut whole = partial;
        whole[to] += nodes;
        // The last move takes every node left.
        *out.entry(whole).or_insert(0.0) += p * power(q, nodes);
        return;
    }
    let mut ways = 1.0;
    for taken in 0..=nodes {
        let mut next = partial.clone();
        next[to] += taken;
        multinomial(nodes - taken, rest, next, p * ways * power(q, taken), out);
        ways *= (nodes - taken) as f64 / (taken + 1) as f64;
    }
}

fn power(base: f64, exponent: u64) -> f64 {
    (0..exponent).fold(1.0, |product, _| product * base)
}
