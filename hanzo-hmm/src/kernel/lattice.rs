//! Values by state and step.

use std::ops::Index;

use crate::{Error, Result};

/// `T x S` values, one for each step and state; the states of one step are neighbours.
///
/// Indexed by `(state, t)`.
///
/// ```
/// use hanzo_hmm::Lattice;
///
/// let lattice = Lattice::new(vec![0.1, 0.9, 0.4, 0.6], 2)?; // two states at two steps
/// assert_eq!(lattice[(1, 0)], 0.9);
/// assert_eq!(lattice.step(1), [0.4, 0.6]);
/// assert_eq!(lattice.get(2, 0), None);
/// # Ok::<(), hanzo_hmm::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Lattice {
    n_states: usize,
    values: Vec<f64>,
}

impl Lattice {
    /// The lattice of these values, step after step.
    ///
    /// # Errors
    ///
    /// [`Error::EmptyModel`] for no states; [`Error::DimensionMismatch`] when they do not fill the last step.
    pub fn new(values: Vec<f64>, n_states: usize) -> Result<Self> {
        if n_states == 0 {
            return Err(Error::EmptyModel);
        }
        if !values.len().is_multiple_of(n_states) {
            let found = values.len() % n_states;
            return Err(Error::DimensionMismatch { what: "lattice step", expected: n_states, found });
        }
        Ok(Self { n_states, values })
    }

    /// Number of states `S`.
    #[must_use]
    pub fn n_states(&self) -> usize {
        self.n_states
    }

    /// Number of steps `T`.
    #[must_use]
    pub fn len(&self) -> usize {
        self.values.len().checked_div(self.n_states).unwrap_or(0)
    }

    /// Whether there is no step.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.values.is_empty()
    }

    /// The values of all states at step `t`, empty when there is no such step.
    #[must_use]
    pub fn step(&self, t: usize) -> &[f64] {
        self.values.chunks_exact(self.n_states.max(1)).nth(t).unwrap_or_default()
    }

    /// Step after step.
    pub fn steps(&self) -> impl ExactSizeIterator<Item = &[f64]> {
        self.values.chunks_exact(self.n_states.max(1))
    }

    /// The value of `state` at step `t`, if both exist.
    #[must_use]
    pub fn get(&self, state: usize, t: usize) -> Option<f64> {
        self.step(t).get(state).copied()
    }

    /// All values, step after step.
    #[must_use]
    pub fn as_slice(&self) -> &[f64] {
        &self.values
    }

    /// Replaces every value by its exponential.
    pub(crate) fn exponentiate(&mut self) {
        self.values.iter_mut().for_each(|value| *value = value.exp());
    }

    /// Exchanges the values with a buffer of the same meaning.
    pub(crate) fn swap(&mut self, values: &mut Vec<f64>, n_states: usize) {
        std::mem::swap(&mut self.values, values);
        self.n_states = n_states;
    }
}

/// # Panics
///
/// When the state or the step does not exist, as for a slice; [`Lattice::get`] does not.
impl Index<(usize, usize)> for Lattice {
    type Output = f64;

    fn index(&self, (state, t): (usize, usize)) -> &f64 {
        &self.step(t)[state]
    }
}
