//! Partly labelled sequences: which states each step allows.

use super::Observations;
use crate::{Error, Result};

/// The set of states that each step of a sequence allows. What is not said allows every state.
///
/// ```
/// use hanzo_hmm::{Categorical, Hmm, Initial, Labelled, Labels, Transitions};
///
/// let hmm = Hmm::new(
///     Initial::Free(vec![0.5, 0.5]),
///     Transitions::new(vec![vec![0.7, 0.3], vec![0.3, 0.7]])?,
///     Categorical::new(vec![vec![0.9, 0.1], vec![0.2, 0.8]])?,
/// )?;
/// let mut labels = Labels::free(2, 3)?;
/// labels.allow(1, &[1])?; // at step 1 the chain is known to be in state 1
/// assert_eq!(hmm.viterbi([0, 0, 0])?.states, [0, 0, 0]);
/// assert_eq!(hmm.viterbi(Labelled::new([0, 0, 0], &labels))?.states[1], 1);
/// # Ok::<(), hanzo_hmm::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Labels {
    n_states: usize,
    steps: usize,
    /// Bit sets of the allowed states, one a step.
    sets: Vec<u64>,
}

impl Labels {
    /// Labels for `steps` steps that allow everything, in `ceil(n_states / 64)` words of memory a step.
    ///
    /// # Errors
    ///
    /// [`Error::EmptyModel`] without states; [`Error::InvalidOption`] for more steps than memory holds.
    pub fn free(n_states: usize, steps: usize) -> Result<Self> {
        if n_states == 0 {
            return Err(Error::EmptyModel);
        }
        let words = n_states.div_ceil(64);
        let too_many = Error::InvalidOption { name: "steps" };
        let Some(size) = words.checked_mul(steps) else { return Err(too_many) };
        let mut sets = Vec::new();
        sets.try_reserve_exact(size).map_err(|_| too_many)?;
        sets.resize(size, u64::MAX);
        if !n_states.is_multiple_of(64) {
            let last = (1 << (n_states % 64)) - 1;
            sets.iter_mut().skip(words - 1).step_by(words).for_each(|word| *word = last);
        }
        Ok(Self { n_states, steps, sets })
    }

    /// Labels that name the state of some steps, one entry a step; `None` allows every state.
    ///
    /// # Errors
    ///
    /// [`Error::EmptyModel`] without states; [`Error::InvalidOption`] for a state that does not exist.
    pub fn known(n_states: usize, states: &[Option<usize>]) -> Result<Self> {
        let mut labels = Self::free(n_states, states.len())?;
        for (t, state) in states.iter().enumerate() {
            if let Some(state) = state {
                labels.allow(t, &[*state])?;
            }
        }
        Ok(labels)
    }

    /// Allows exactly these states at step `t`.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidOption`] for an empty set, a state or a step that does not exist. The labels are then unchanged.
    pub fn allow(&mut self, t: usize, states: &[usize]) -> Result<()> {
        let words = self.n_states.div_ceil(64);
        if states.is_empty() || t >= self.steps || states.iter().any(|state| *state >= self.n_states) {
            return Err(Error::InvalidOption { name: "allowed states" });
        }
        let set = &mut self.sets[t * words..(t + 1) * words];
        set.fill(0);
        for state in states {
            set[state / 64] |= 1 << (state % 64);
        }
        Ok(())
    }

    /// Number of states.
    #[must_use]
    pub fn n_states(&self) -> usize {
        self.n_states
    }

    /// Number of steps.
    #[must_use]
    pub fn len(&self) -> usize {
        self.steps
    }

    /// Whether there is no step.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.steps == 0
    }

    /// Whether step `t` allows `state`; steps beyond the end allow every state. A state that does not exist is never
    /// allowed.
    #[must_use]
    pub fn allows(&self, t: usize, state: usize) -> bool {
        if state >= self.n_states || t >= self.steps {
            return state < self.n_states;
        }
        let word = self.sets.as_slice().get(t * self.n_states.div_ceil(64) + state / 64);
        word.is_some_and(|word| word >> (state % 64) & 1 == 1)
    }

    /// Writes `zero` to the values of the states that step `t` does not allow.
    pub(crate) fn mask(&self, t: usize, values: &mut [f64], zero: f64) {
        let words = self.n_states.div_ceil(64);
        let Some(set) = self.sets.as_slice().get(t * words..(t + 1) * words) else { return };
        for (values, word) in values.chunks_mut(64).zip(set) {
            for (j, value) in values.iter_mut().enumerate() {
                if word >> j & 1 == 0 {
                    *value = zero;
                }
            }
        }
    }
}

/// A sequence with labels: every operation then only considers paths through the allowed states. A log-likelihood is
/// that of the observations and of the restriction together; training on fully labelled sequences is counting.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Labelled<'l, Q> {
    observations: Q,
    labels: &'l Labels,
}

impl<'l, Q> Labelled<'l, Q> {
    /// `observations` with `labels`. When their lengths, or the numbers of states, differ, the operation that gets
    /// them fails with [`Error::DimensionMismatch`].
    #[must_use]
    pub fn new(observations: Q, labels: &'l Labels) -> Self {
        Self { observations, labels }
    }
}

impl<O, Q: Observations<O>> Observations<O> for Labelled<'_, Q> {
    fn len(&self) -> usize {
        self.observations.len()
    }

    fn get(&self, t: usize) -> Option<O> {
        self.observations.get(t)
    }

    fn is_partial(&self) -> bool {
        self.observations.is_partial()
    }

    fn labels(&self) -> Option<&Labels> {
        Some(self.labels)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sets_are_kept_across_words() {
        let mut labels = Labels::free(70, 3).unwrap();
        labels.allow(1, &[0, 69]).unwrap();
        assert!((0..70).all(|j| labels.allows(0, j) && labels.allows(2, j)));
        assert_eq!((0..70).filter(|j| labels.allows(1, *j)).collect::<Vec<_>>(), [0, 69]);
        let mut values = vec![1.0; 70];
        labels.mask(1, &mut values, 0.0);
        assert_eq!((values.iter().sum::<f64>(), values[69]), (2.0, 1.0));
        assert!(labels.allow(1, &[]).is_err() && labels.allow(3, &[0]).is_err() && labels.allow(0, &[70]).is_err());
        assert!(Labels::free(0, 1).is_err());
        assert!(Labels::free(70, usize::MAX).is_err() && Labels::free(2, usize::MAX).is_err());
        assert!(labels.allows(usize::MAX, 69) && !labels.allows(0, 70) && !labels.allows(usize::MAX, 70));
        // Not the set of the next step.
        assert!(!Labels::free(2, 3).unwrap().allows(0, 64));
        assert!(Labels::known(2, &[Some(2)]).is_err());
    }
}
