//! Runs of a lumped network of any size, and its mean.

use alloc::vec::Vec;

use hashbrown::HashMap;
use rand_core::Rng;
use rand_distr::{Binomial, Distribution};

use super::chain::LumpedChain;
use super::classes::{Classes, Event, FINAL, Successes};
use super::{AnalysisError, poll_success};

/// Draws runs of a [`LumpedChain`], with the poll probabilities it has met kept for the next run.
///
/// Rounds cost O(classes in use), whatever the number of nodes. `cargo bench -p hanzo-benches --bench snow -- lumped` in the
/// repository prints what a run takes.
///
/// ```
/// use hanzo_snow::Params;
/// use hanzo_snow::analysis::{Answers, LumpedChain, LumpedRuns};
/// use rand::{SeedableRng, rngs::SmallRng};
///
/// let chain = LumpedChain::new(&Params::fast(), 1_000_000, 0, Answers::Minority)?;
/// let end = LumpedRuns::new(&chain).sample(500_000, 10_000, &mut SmallRng::seed_from_u64(1))?;
/// assert!(!end.disagrees() && end.undecided == 0);
/// # Ok::<(), hanzo_snow::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct LumpedRuns<'a> {
    chain: &'a LumpedChain,
    known: HashMap<[u64; 2], [Successes; 2], foldhash::fast::FixedState>,
    counts: Vec<u64>,
    after: Vec<u64>,
    moves: Vec<(usize, f64)>,
}

/// Where one run of a network ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct RunEnd {
    /// Rounds until the last node decided, or the most allowed.
    pub rounds: u32,
    /// Honest nodes that decided 0 and 1.
    pub decided: [u64; 2],
    /// Honest nodes without a decision.
    pub undecided: u64,
}

impl RunEnd {
    /// Whether two honest nodes decided differently.
    #[must_use]
    pub const fn disagrees(&self) -> bool {
        self.decided[0] > 0 && self.decided[1] > 0
    }
}

impl<'a> LumpedRuns<'a> {
    /// A source of runs.
    #[must_use]
    pub fn new(chain: &'a LumpedChain) -> Self {
        Self {
            chain,
            known: HashMap::with_hasher(foldhash::fast::FixedState::default()),
            counts: Vec::new(),
            after: Vec::new(),
            moves: Vec::new(),
        }
    }

    /// One run from `ones` honest nodes that prefer 1 and the rest 0, of at most `max_rounds`.
    ///
    /// The same words give the same run on the same platform; binomial draws compute with floats.
    ///
    /// # Errors
    /// [`AnalysisError::Ones`] for more ones than honest nodes; nothing is drawn.
    pub fn sample<R: Rng + ?Sized>(
        &mut self,
        ones: u64,
        max_rounds: u32,
        rng: &mut R,
    ) -> Result<RunEnd, AnalysisError> {
        const KEPT: usize = 1 << 14;
        let chain = self.chain;
        self.counts = chain.start(ones)?;
        self.after.clear();
        self.after.resize(self.counts.len(), 0);
        // Classes beyond the last one in use are not looked at.
        let mut used = FINAL.len() + 2;
        let mut rounds = 0;
        while rounds < max_rounds && chain.undecided(&self.counts) > 0 {
            rounds += 1;
            let answering = chain.answering(&self.counts[..used]);
            if self.known.len() >= KEPT {
                self.known.clear();
            }
            let outcomes = self.known.entry(answering).or_insert_with(|| chain.outcomes(answering));
            for final_class in FINAL {
                self.after[final_class] = self.counts[final_class];
            }
            let mut most = used;
            for class in FINAL.len()..used {
                let mut nodes = core::mem::take(&mut self.counts[class]);
                if nodes == 0 {
                    continue;
                }
                chain.moves(class, outcomes, &mut self.moves);
                // The likeliest last: it takes what is left, and the others are small draws.
                self.moves.sort_unstable_by(|a, b| a.1.total_cmp(&b.1));
                let mut left = 1.0;
                let last = self.moves.len() - 1;
                for (at, &(to, p)) in self.moves.iter().enumerate() {
                    let taken = if at == last { nodes } else { binomial(nodes, p / left, rng) };
                    left -= p;
                    nodes -= taken;
                    if taken > 0 {
                        self.after[to] += taken;
                        most = most.max(to + 1);
                    }
                    if nodes == 0 {
                        break;
                    }
                }
            }
            used = most;
            for final_class in FINAL {
                self.counts[final_class] = 0;
            }
            core::mem::swap(&mut self.counts, &mut self.after);
        }
        let decided = FINAL.map(|class| self.counts[class]);
        Ok(RunEnd { rounds, decided, undecided: chain.undecided(&self.counts) })
    }
}

/// How many of `nodes` take a way of probability `p`.
fn binomial<R: Rng + ?Sized>(nodes: u64, p: f64, rng: &mut R) -> u64 {
    if p <= 0.0 {
        return 0;
    }
    // A share computed from differences may exceed 1 by a rounding error.
    if p >= 1.0 {
        return nodes;
    }
    if p > 0.5 {
        return nodes - binomial(nodes, 1.0 - p, rng);
    }
    let mean = nodes as f64 * p;
    if mean >= 10.0 {
        return Binomial::new(nodes, p).map_or(0, |law| law.sample(rng));
    }
    // By inversion (Kachitvichyanukul and Schmeiser 1988, BINV), of which most draws need only the first bound.
    let mut u = (rng.next_u64() >> 11) as f64 * (1.0 / (1_u64 << 53) as f64);
    if u < 1.0 - mean {
        return 0;
    }
    let odds = p / (1.0 - p);
    let mut term = libm::exp(nodes as f64 * libm::log1p(-p));
    for taken in 0..nodes {
        if u < term {
            return taken;
        }
        u -= term;
        term *= odds * (nodes - taken) as f64 / (taken + 1) as f64;
        // What rounding has left over.
        if term < 1e-300 {
            return taken;
        }
    }
    nodes
}

/// The mean course of a network and what follows for its safety.
#[derive(Debug, Clone, PartialEq)]
pub struct Forecast {
    /// Share of the honest nodes that prefer or have decided 1, at the start and after each round.
    pub ones: Vec<f64>,
    /// Share of the honest nodes that decide 0 and 1 in the end.
    pub decided: [f64; 2],
    /// P[two honest nodes decide differently], each node deciding for itself along the mean course.
    pub disagreement: f64,
}

impl LumpedChain {
    /// Follows the mean of the network from `ones` honest nodes that prefer 1, until all but `1e-15` of it has decided or
    /// `max_rounds` are over. O(rounds * classes) time, O(rounds + classes) space.
    ///
    /// Good where many nodes make the course nearly certain. It knows no chance: from an exact balance it stays in balance,
    /// where a real network tips over.
    ///
    /// # Errors
    /// [`AnalysisError::Ones`] for more ones than honest nodes.
    pub fn forecast(&self, ones: u64, max_rounds: u32) -> Result<Forecast, AnalysisError> {
        self.start(ones)?;
        let classes = &self.classes;
        let honest = self.honest() as f64;
        let mut shares = alloc::vec![0.0; classes.len()];
        shares[Classes::fresh(1)] = ones as f64 / honest;
        shares[Classes::fresh(0)] = 1.0 - shares[Classes::fresh(1)];
        let of_ones = |shares: &[f64]| -> f64 {
            shares.iter().zip(&classes.colours).filter(|(_, colour)| **colour == 1).map(|(share, _)| share).sum()
        };
        let mut course = alloc::vec![of_ones(&shares)];
        let mut rounds = 0;
        while rounds < max_rounds && shares[FINAL.len()..].iter().sum::<f64>() > 1e-15 {
            rounds += 1;
            let ones = of_ones(&shares).clamp(0.0, 1.0);
            let mut answering = [(1.0 - ones) * honest, ones * honest];
            if self.answers == super::Answers::Minority {
                answering[usize::from(answering[1] < answering[0])] += self.byzantine as f64;
            }
            let mut outcomes: [Successes; 2] = [[Vec::new(), Vec::new()], [Vec::new(), Vec::new()]];
            for (own, outcomes) in outcomes.iter_mut().enumerate() {
                for (colour, levels) in outcomes.iter_mut().enumerate() {
                    let others = (answering[colour] - f64::from(u8::from(own == colour))).max(0.0);
                    let p = (others / (self.n - 1) as f64).min(1.0);
                    // P[at least the votes of each level], then the differences.
                    let mut above = 0.0;
                    for &alpha in classes.levels[..classes.levels.len() - 1].iter().rev() {
                        // All but the last are thresholds of a poll of k.
                        let reached = poll_success(self.k, alpha as u16, p)?.value();
                        levels.push((reached - above).max(0.0));
                        above = reached;
                    }
                    levels.reverse();
                }
            }
            let mut after = alloc::vec![0.0; shares.len()];
            for (class, &share) in shares.iter().enumerate().filter(|(_, share)| **share > 0.0) {
                let mut rest = 1.0;
                for (colour, levels) in outcomes[usize::from(classes.colours[class])].iter().enumerate() {
                    for (level, &p) in levels.iter().enumerate() {
                        after[classes.next(class, Event::Success { colour, level })] += share * p;
                        rest -= p;
                    }
                }
                after[classes.next(class, Event::Failed)] += share * rest.max(0.0);
            }
            shares = after;
            course.push(of_ones(&shares));
        }
        let decided = FINAL.map(|class| shares[class].clamp(0.0, 1.0));
        // (1 - share)^honest: P[no node decides this way].
        let none = |share: f64| libm::exp(honest * libm::log1p(-share));
        let neither = none((decided[0] + decided[1]).min(1.0));
        let disagreement = (1.0 - none(decided[0]) - none(decided[1]) + neither).clamp(0.0, 1.0);
        Ok(Forecast { ones: course, decided, disagreement })
    }
}
