//! Random models, and the same ones for the crate `bio`.

use bio::stats::LogProb;
use bio::stats::hmm::{Model, State, StateIter, StateTransitionIter};
use rand::RngExt;
use rand::rngs::Xoshiro256PlusPlus;

/// `n` positive probabilities.
pub fn distribution(rng: &mut Xoshiro256PlusPlus, n: usize) -> Vec<f64> {
    let row: Vec<f64> = (0..n).map(|_| rng.random::<f64>() + 0.01).collect();
    let sum: f64 = row.iter().sum();
    row.into_iter().map(|x| x / sum).collect()
}

/// `n` distributions of `width` entries.
pub fn rows(rng: &mut Xoshiro256PlusPlus, n: usize, width: usize) -> Vec<Vec<f64>> {
    (0..n).map(|_| distribution(rng, width)).collect()
}

/// A categorical model for `bio`, on plain tables of log-probabilities.
#[derive(Debug)]
pub struct BioModel {
    initial: Vec<LogProb>,
    moves: Vec<Vec<LogProb>>,
    symbols: Vec<Vec<LogProb>>,
}

impl BioModel {
    /// The model with these probabilities.
    pub fn new(initial: &[f64], moves: &[Vec<f64>], symbols: &[Vec<f64>]) -> Self {
        let logs = |row: &[f64]| row.iter().map(|p| LogProb(p.ln())).collect::<Vec<_>>();
        let table = |rows: &[Vec<f64>]| rows.iter().map(|row| logs(row)).collect();
        Self { initial: logs(initial), moves: table(moves), symbols: table(symbols) }
    }
}

impl Model<usize> for BioModel {
    fn num_states(&self) -> usize {
        self.initial.len()
    }

    fn states(&self) -> StateIter {
        StateIter::new(self.initial.len())
    }

    fn transitions(&self) -> StateTransitionIter {
        StateTransitionIter::new(self.initial.len())
    }

    fn transition_prob(&self, from: State, to: State) -> LogProb {
        self.moves[*from][*to]
    }

    fn initial_prob(&self, state: State) -> LogProb {
        self.initial[*state]
    }

    fn observation_prob(&self, state: State, symbol: &usize) -> LogProb {
        self.symbols[*state][*symbol]
    }

    fn end_prob(&self, _state: State) -> LogProb {
        LogProb(0.0)
    }
}
