//! The categorical model by labels: states and symbols of any type.

use std::collections::{HashMap, HashSet};
use std::fmt::Debug;
use std::hash::Hash;

use rand::SeedableRng;
use rand::rngs::Xoshiro256PlusPlus;
use rand_core::Rng;

use crate::learning::{BaumWelch, FitSummary};
use crate::model::{Categorical, Hmm, Initial, Transitions};
use crate::{Error, Lattice, Result};

/// A hidden Markov model whose states and symbols are values of the caller's own types.
///
/// ```
/// use hanzo_hmm::HiddenMarkovModel;
///
/// let clinic = HiddenMarkovModel::new(
///     vec!["healthy", "fever"],
///     vec!["normal", "cold", "dizzy"],
///     vec![0.6, 0.4],
///     vec![vec![0.7, 0.3], vec![0.4, 0.6]],
///     vec![vec![0.5, 0.4, 0.1], vec![0.1, 0.3, 0.6]],
/// )?;
/// let visits = ["normal", "cold", "dizzy"];
/// assert_eq!(clinic.viterbi(&visits)?, ["healthy", "healthy", "fever"]);
/// assert!((clinic.forward(&visits)? - 0.03628).abs() < 1e-15);
/// # Ok::<(), hanzo_hmm::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct HiddenMarkovModel<S, O> {
    states: Vec<S>,
    symbols: Vec<O>,
    index: HashMap<O, usize>,
    model: Hmm<Categorical>,
    seed: u64,
}

impl<S, O> HiddenMarkovModel<S, O>
where
    S: Clone + Eq + Hash + Debug,
    O: Clone + Eq + Hash + Debug,
{
    /// The model with these labels, initial probabilities, transition rows (from, to) and emission rows
    /// (state, symbol).
    ///
    /// # Errors
    ///
    /// [`Error::EmptyModel`] without states or symbols; [`Error::DuplicateLabel`]; [`Error::DimensionMismatch`] for a
    /// wrong number of rows or a wrong length; [`Error::NotAProbability`] and [`Error::RowSum`] for a row that is not a
    /// distribution. A sum off by at most 1e-6 is normalised.
    pub fn new(
        states: Vec<S>,
        observations: Vec<O>,
        initial: Vec<f64>,
        transitions: Vec<Vec<f64>>,
        emissions: Vec<Vec<f64>>,
    ) -> Result<Self> {
        if states.is_empty() || observations.is_empty() {
            return Err(Error::EmptyModel);
        }
        let expected = states.len();
        for (what, found) in [("transitions", transitions.len()), ("emissions", emissions.len())] {
            if found != expected {
                return Err(Error::DimensionMismatch { what, expected, found });
            }
        }
        if let Some(row) = emissions.iter().find(|row| row.len() != observations.len()) {
            let (expected, found) = (observations.len(), row.len());
            return Err(Error::DimensionMismatch { what: "emissions", expected, found });
        }
        let model = Hmm::new(Initial::Free(initial), Transitions::new(transitions)?, Categorical::new(emissions)?)?;
        Self::from_model(states, observations, model)
    }

    /// Labels for a model of indices.
    ///
    /// # Errors
    ///
    /// [`Error::DuplicateLabel`]; [`Error::DimensionMismatch`] when the labels are not as many as the model's states
    /// and symbols.
    pub fn from_model(states: Vec<S>, observations: Vec<O>, model: Hmm<Categorical>) -> Result<Self> {
        let sizes = [
            ("state labels", model.n_states(), states.len()),
            ("symbol labels", model.emission().n_symbols(), observations.len()),
        ];
        for (what, expected, found) in sizes {
            if found != expected {
                return Err(Error::DimensionMismatch { what, expected, found });
            }
        }
        let mut seen = HashSet::with_capacity(states.len());
        if let Some(index) = states.iter().position(|state| !seen.insert(state)) {
            return Err(Error::DuplicateLabel { what: "state", index });
        }
        let mut index = HashMap::with_capacity(observations.len());
        for (i, symbol) in observations.iter().enumerate() {
            if index.insert(symbol.clone(), i).is_some() {
                return Err(Error::DuplicateLabel { what: "symbol", index: i });
            }
        }
        Ok(Self { states, symbols: observations, index, model, seed: 0 })
    }

    /// The same model, whose [`generate`](Self::generate) starts from `seed` (0 by default).
    #[must_use]
    pub fn with_seed(self, seed: u64) -> Self {
        Self { seed, ..self }
    }

    /// Trains on these sequences until the total log-likelihood changes by less than `tolerance` nats between two
    /// iterations, or `max_iterations` times. Maximum likelihood; [`BaumWelch`] has more choices.
    ///
    /// # Errors
    ///
    /// [`Error::UnknownObservation`]; [`Error::NoData`] without any observation; [`Error::InvalidOption`] for a
    /// negative or NaN tolerance; [`Error::ImpossibleSequence`]. The model is then unchanged.
    pub fn baum_welch(&mut self, sequences: &[Vec<O>], max_iterations: usize, tolerance: f64) -> Result<FitSummary> {
        let sequences = sequences.iter().map(|sequence| self.encode(sequence)).collect::<Result<Vec<_>>>()?;
        BaumWelch::new().max_iters(max_iterations).total_tolerance(tolerance).fit(&mut self.model, &sequences)
    }

    /// The most likely state sequence; empty for no observations.
    ///
    /// # Errors
    ///
    /// [`Error::UnknownObservation`]; [`Error::ImpossibleSequence`] when no state sequence is possible.
    pub fn viterbi(&self, observations: &[O]) -> Result<Vec<S>> {
        let path = self.model.viterbi(&self.encode(observations)?)?;
        Ok(path.states.into_iter().map(|state| self.states[state].clone()).collect())
    }

    /// P(observations), 1 for none. It underflows to 0 on sequences of a few hundred steps, where
    /// [`log_likelihood`](Self::log_likelihood) does not.
    ///
    /// # Errors
    ///
    /// [`Error::UnknownObservation`].
    pub fn forward(&self, observations: &[O]) -> Result<f64> {
        Ok(self.log_likelihood(observations)?.exp())
    }

    /// ln P(observations), `-inf` for an impossible sequence.
    ///
    /// # Errors
    ///
    /// [`Error::UnknownObservation`].
    pub fn log_likelihood(&self, observations: &[O]) -> Result<f64> {
        self.model.log_likelihood(&self.encode(observations)?)
    }

    /// P(observations after t given the state at t), indexed by `(state, t)`, 1 at the last step. Values are not
    /// scaled and underflow to 0 on long sequences, where [`backward_log`](Self::backward_log) does not.
    ///
    /// # Errors
    ///
    /// [`Error::UnknownObservation`].
    pub fn backward(&self, observations: &[O]) -> Result<Lattice> {
        self.model.backward(&self.encode(observations)?)
    }

    /// ln of [`backward`](Self::backward).
    ///
    /// # Errors
    ///
    /// [`Error::UnknownObservation`].
    pub fn backward_log(&self, observations: &[O]) -> Result<Lattice> {
        self.model.backward_log(&self.encode(observations)?)
    }

    /// `n` steps drawn from the model: state and symbol of each. The same call on the same model gives the same steps,
    /// from Xoshiro256++ with the model's [seed](Self::with_seed).
    #[must_use]
    pub fn generate(&self, n: usize) -> Vec<(S, O)> {
        self.generate_with(&mut Xoshiro256PlusPlus::seed_from_u64(self.seed), n)
    }

    /// `n` steps drawn with the caller's generator.
    pub fn generate_with<R: Rng + ?Sized>(&self, rng: &mut R, n: usize) -> Vec<(S, O)> {
        let label = |(state, symbol): (usize, usize)| (self.states[state].clone(), self.symbols[symbol].clone());
        self.model.sample(rng, n).into_iter().map(label).collect()
    }

    /// The indices of these symbols.
    ///
    /// # Errors
    ///
    /// [`Error::UnknownObservation`] with the position of the first one outside the alphabet.
    pub fn encode(&self, observations: &[O]) -> Result<Vec<usize>> {
        let index = |(position, symbol)| self.index.get(symbol).copied().ok_or(Error::UnknownObservation { position });
        observations.iter().enumerate().map(index).collect()
    }

    /// The labels of the states.
    #[must_use]
    pub fn states(&self) -> &[S] {
        &self.states
    }

    /// The labels of the symbols.
    #[must_use]
    pub fn observations(&self) -> &[O] {
        &self.symbols
    }

    /// The model on indices, which has every other operation.
    #[must_use]
    pub fn model(&self) -> &Hmm<Categorical> {
        &self.model
    }

    /// The seed of [`generate`](Self::generate).
    #[must_use]
    pub fn seed(&self) -> u64 {
        self.seed
    }
}

/// Equal labels, parameters and seed.
impl<S: PartialEq, O: PartialEq> PartialEq for HiddenMarkovModel<S, O> {
    fn eq(&self, other: &Self) -> bool {
        self.states == other.states
            && self.symbols == other.symbols
            && self.model == other.model
            && self.seed == other.seed
    }
}
