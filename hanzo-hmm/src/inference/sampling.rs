//! Drawing paths from the posterior: filter forwards, sample backwards.

use rand_core::Rng;

use super::forward_backward::check_all;
use crate::kernel::{Chain, Workspace, log, scaled};
use crate::model::{Emission, Hmm, Observations, draw};
use crate::{Error, Result};

impl<E: Emission> Hmm<E> {
    /// Draws a path through the states from its distribution given the observations. O(T S^2) time, O(T S) space.
    ///
    /// ```
    /// use hanzo_hmm::{Categorical, Hmm, Initial, Transitions};
    /// use rand::{SeedableRng, rngs::Xoshiro256PlusPlus};
    ///
    /// let hmm = Hmm::new(
    ///     Initial::Free(vec![0.5, 0.5]),
    ///     Transitions::new(vec![vec![0.7, 0.3], vec![0.3, 0.7]])?,
    ///     Categorical::new(vec![vec![1.0, 0.0], vec![0.5, 0.5]])?,
    /// )?;
    /// let path = hmm.sample_posterior([0, 1, 0], &mut Xoshiro256PlusPlus::seed_from_u64(1))?;
    /// assert_eq!(path[1], 1); // only state 1 can emit symbol 1
    /// # Ok::<(), hanzo_hmm::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// The family's error for a bad observation; [`Error::ImpossibleSequence`] for a sequence of probability 0.
    pub fn sample_posterior<'a, Q, R>(&self, observations: Q, rng: &mut R) -> Result<Vec<usize>>
    where
        Q: Observations<E::Obs<'a>>,
        R: Rng + ?Sized,
    {
        let mut path = Vec::new();
        self.sample_posterior_with(&mut Workspace::new(), observations, rng, &mut path)?;
        Ok(path)
    }

    /// [`sample_posterior`](Self::sample_posterior) in the memory of `workspace` and into `out`, whose memory the
    /// workspace takes in exchange.
    ///
    /// # Errors
    ///
    /// As for [`sample_posterior`](Self::sample_posterior); `out` is then unchanged.
    pub fn sample_posterior_with<'a, Q, R>(
        &self,
        workspace: &mut Workspace,
        observations: Q,
        rng: &mut R,
        out: &mut Vec<usize>,
    ) -> Result<()>
    where
        Q: Observations<E::Obs<'a>>,
        R: Rng + ?Sized,
    {
        check_all(self, &observations)?;
        let scaled = self.fill_scaled(workspace, &observations).is_ok();
        let Workspace { weights, log_carry, lattice, backward: choice, path, .. } = workspace;
        if scaled && self.draw_backwards(lattice, false, rng, choice, path).is_some() {
            std::mem::swap(out, path);
            return Ok(());
        }
        weights.fill_logs(self, &observations, 0..observations.len());
        lattice.clear();
        log_carry.begin();
        let block = weights.log_block(self.emission().table());
        log::forward(Chain::of(self), log_carry, block, |values| lattice.extend_from_slice(values))
            .map_err(|log::Dead(position)| Error::ImpossibleSequence { sequence: 0, position })?;
        self.draw_backwards(lattice, true, rng, choice, path)
            .ok_or(Error::ImpossibleSequence { sequence: 0, position: 0 })?;
        std::mem::swap(out, path);
        Ok(())
    }

    fn fill_scaled<'a, Q>(&self, workspace: &mut Workspace, observations: &Q) -> Result<(), scaled::Lost>
    where
        Q: Observations<E::Obs<'a>>,
    {
        let (chain, level) = (Chain::of(self), workspace.level());
        let Workspace { weights, carry, lattice, exponents, .. } = workspace;
        weights.begin();
        carry.begin(chain);
        lattice.resize(observations.len() * self.n_states(), 0.0);
        exponents.resize(observations.len(), 0);
        weights.fill(level, self, observations, 0..observations.len())?;
        let block = weights.block(self.emission().table());
        scaled::forward(level, chain, carry, block, Some((lattice, exponents)))
    }

    /// Draws the last state from the last forward values, and each one before given its successor. `None` where the
    /// values leave no choice.
    fn draw_backwards<R: Rng + ?Sized>(
        &self,
        lattice: &[f64],
        in_logs: bool,
        rng: &mut R,
        choice: &mut Vec<f64>,
        path: &mut Vec<usize>,
    ) -> Option<()> {
        let n = self.n_states();
        path.clear();
        path.resize(lattice.len() / n, 0);
        choice.clear();
        choice.resize(n, 0.0);
        let mut next: Option<usize> = None;
        for (row, place) in lattice.chunks_exact(n).zip(path).rev() {
            choice.copy_from_slice(row);
            if let Some(next) = next {
                let (plain, logs) = (self.transitions().transposed(), self.transitions().logs_transposed());
                let column = if in_logs { logs } else { plain }.get(next * n..(next + 1) * n)?;
                for (choice, step) in choice.iter_mut().zip(column) {
                    *choice = if in_logs { *choice + step } else { *choice * step };
                }
            }
            if in_logs {
                let max = choice.iter().copied().fold(f64::NEG_INFINITY, f64::max);
                choice.iter_mut().for_each(|l| *l = if max.is_finite() { (*l - max).exp() } else { 0.0 });
            }
            // Sums that are next to nothing have lost digits.
            let total: f64 = choice.iter().sum();
            if !(total > SMALLEST && total.is_finite()) {
                return None;
            }
            *place = draw(choice, rng);
            next = Some(*place);
        }
        Some(())
    }
}

/// Smallest sum of weights of a draw.
const SMALLEST: f64 = 1e-280;
