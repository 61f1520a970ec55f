//! The hidden Markov model itself.

use rand_core::Rng;

use super::{Emission, Transitions, check_distribution, draw};
use crate::{Error, Result};

/// Where the chain starts.
#[derive(Debug, Clone, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
#[non_exhaustive]
pub enum Initial {
    /// A distribution over the states that training may change.
    Free(Vec<f64>),
    /// A distribution over the states that training keeps.
    Fixed(Vec<f64>),
    /// The stationary distribution of the transitions, which must be irreducible. Training keeps it so.
    Stationary,
}

/// A hidden Markov model: a chain over `S` states and an observation that each step emits.
///
/// Inference methods take any [`Observations`](crate::Observations) of the emission family: slices, vectors or arrays,
/// of `Option`s where steps are missing, or [`Rows`](crate::Rows) of numbers.
///
/// ```
/// use hanzo_hmm::{Categorical, Hmm, Initial, Transitions};
///
/// // Russell and Norvig's umbrella world: rain or no rain, seen through an umbrella.
/// let hmm = Hmm::new(
///     Initial::Free(vec![0.5, 0.5]),
///     Transitions::new(vec![vec![0.7, 0.3], vec![0.3, 0.7]])?,
///     Categorical::new(vec![vec![0.9, 0.1], vec![0.2, 0.8]])?,
/// )?;
/// let posterior = hmm.posterior(&[0, 0])?;
/// assert!((posterior.gamma[(0, 0)] - 0.883).abs() < 5e-4);
/// // A missing observation is a `None`.
/// assert!((hmm.log_likelihood(&[Some(0), None])? - 0.55_f64.ln()).abs() < 1e-15);
/// # Ok::<(), hanzo_hmm::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct Hmm<E> {
    initial: Initial,
    start: Vec<f64>,
    log_initial: Vec<f64>,
    transitions: Transitions,
    emission: E,
}

impl<E: Emission> Hmm<E> {
    /// The model of these parts.
    ///
    /// # Errors
    ///
    /// [`Error::DimensionMismatch`] when the parts disagree on the number of states; [`Error::NotAProbability`] and
    /// [`Error::RowSum`] when `initial` is not a distribution; [`Error::NotErgodic`] for a stationary start of a chain that
    /// is not irreducible. A sum off by at most 1e-6 is normalised.
    pub fn new(mut initial: Initial, transitions: Transitions, emission: E) -> Result<Self> {
        let expected = transitions.n_states();
        if emission.n_states() != expected {
            return Err(Error::DimensionMismatch { what: "emission states", expected, found: emission.n_states() });
        }
        if let Some(table) = emission.table().filter(|table| table.n_states() != expected) {
            return Err(Error::DimensionMismatch { what: "symbol table states", expected, found: table.n_states() });
        }
        let start = match &mut initial {
            Initial::Free(values) | Initial::Fixed(values) => {
                if values.len() != expected {
                    return Err(Error::DimensionMismatch { what: INITIAL, expected, found: values.len() });
                }
                check_distribution(INITIAL, 0, values)?;
                values.clone()
            }
            Initial::Stationary => transitions.stationary_distribution()?,
        };
        let log_initial = start.iter().map(|p| p.ln()).collect();
        Ok(Self { initial, start, log_initial, transitions, emission })
    }

    /// Draws `n` steps: the state and the observation of each. States and symbols of probability 0 never occur.
    pub fn sample<R: Rng + ?Sized>(&self, rng: &mut R, n: usize) -> Vec<(usize, E::Owned)> {
        let mut weights = self.initial_probabilities();
        (0..n)
            .map(|_| {
                let state = draw(weights, rng);
                weights = self.transitions.row(state);
                (state, self.emission.sample(state, rng))
            })
            .collect()
    }

    /// Number of states `S`.
    #[must_use]
    pub fn n_states(&self) -> usize {
        self.transitions.n_states()
    }

    /// Where the chain starts, and whether training may change it.
    #[must_use]
    pub fn initial(&self) -> &Initial {
        &self.initial
    }

    /// Distribution of the first state.
    #[must_use]
    pub fn initial_probabilities(&self) -> &[f64] {
        &self.start
    }

    /// The transition matrix.
    #[must_use]
    pub fn transitions(&self) -> &Transitions {
        &self.transitions
    }

    /// The emission distributions.
    #[must_use]
    pub fn emission(&self) -> &E {
        &self.emission
    }

    /// Number of free parameters: of each distribution its non-zero entries less one, and those of the emissions. A
    /// fixed or stationary start has none.
    #[must_use]
    pub fn n_free_parameters(&self) -> usize {
        let free = |row: &[f64]| row.iter().filter(|p| **p > 0.0).count().saturating_sub(1);
        let start = match &self.initial {
            Initial::Free(values) => free(values),
            Initial::Fixed(_) | Initial::Stationary => 0,
        };
        let rows: usize = self.transitions.probabilities().chunks_exact(self.n_states()).map(free).sum();
        start + rows + self.emission.n_free_parameters()
    }

    pub(crate) fn log_initial(&self) -> &[f64] {
        &self.log_initial
    }

    pub(crate) fn emission_mut(&mut self) -> &mut E {
        &mut self.emission
    }

    /// Replaces the free start by `values`, already known to be a distribution.
    pub(crate) fn set_initial(&mut self, new: &[f64]) {
        if let Initial::Free(values) = &mut self.initial {
            values.copy_from_slice(new);
            self.start.copy_from_slice(new);
            self.log_initial = new.iter().map(|p| p.ln()).collect();
        }
    }

    pub(crate) fn set_transitions(&mut self, transitions: Transitions) -> Result<()> {
        if self.initial == Initial::Stationary {
            self.start = transitions.stationary_distribution()?;
            self.log_initial = self.start.iter().map(|p| p.ln()).collect();
        }
        self.transitions = transitions;
        Ok(())
    }
}

const INITIAL: &str = "initial";
