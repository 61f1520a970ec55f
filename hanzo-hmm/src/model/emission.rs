//! What a family of emission distributions must offer.

use rand_core::Rng;

use super::{Observations, SymbolTable};
use crate::Result;

/// The emission distributions of all states of a model.
///
/// The crate's families implement it, and so can yours: inference needs [`check`](Self::check) and
/// [`log_prob_into`](Self::log_prob_into), training the statistics, and sampling [`sample`](Self::sample).
///
/// # Guarantees
///
/// An implementation keeps these; where it does not, results are wrong or an error, never undefined.
///
/// - Every method takes and returns exactly [`n_states`](Self::n_states) values a step.
/// - After a successful [`check`](Self::check), log-probabilities are never NaN and never `+inf`; `-inf` is probability 0.
/// - [`maximize`](Self::maximize) with statistics of the same model returns parameters that are valid again.
///
/// # Example
///
/// A family that counts: the observation is a number of successes in three trials.
///
/// ```
/// use hanzo_hmm::{Emission, Error, Hmm, Initial, Result, Transitions};
/// # use rand_core::Rng;
///
/// #[derive(Debug, Clone, PartialEq)]
/// struct ThreeTrials {
///     success: Vec<f64>,
/// }
///
/// impl Emission for ThreeTrials {
///     type Obs<'a> = u32;
///     type Owned = u32;
///     type Stats = Vec<(f64, f64)>; // expected trials and successes of every state
///     type Prior = ();
///
///     fn n_states(&self) -> usize {
///         self.success.len()
///     }
///
///     fn check(&self, o: u32, position: usize, _partial: bool) -> Result<()> {
///         if o <= 3 { Ok(()) } else { Err(Error::UnknownObservation { position }) }
///     }
///
///     fn log_prob_into(&self, o: u32, out: &mut [f64]) {
///         let ways: f64 = [1.0, 3.0, 3.0, 1.0][o as usize];
///         for (out, p) in out.iter_mut().zip(&self.success) {
///             *out = ways.ln() + p.ln() * f64::from(o) + (1.0 - p).ln() * f64::from(3 - o);
///         }
///     }
///
///     fn sample<R: Rng + ?Sized>(&self, state: usize, rng: &mut R) -> u32 {
///         (0..3).map(|_| u32::from((rng.next_u32() as f64) < self.success[state] * 4294967296.0)).sum()
///     }
///
///     fn new_stats(&self) -> Self::Stats {
///         vec![(0.0, 0.0); self.success.len()]
///     }
///
///     fn accumulate(&self, stats: &mut Self::Stats, o: u32, gamma: &[f64]) {
///         for (stat, g) in stats.iter_mut().zip(gamma) {
///             stat.0 += 3.0 * g;
///             stat.1 += f64::from(o) * g;
///         }
///     }
///
///     fn merge(into: &mut Self::Stats, from: &Self::Stats) {
///         for (a, b) in into.iter_mut().zip(from) {
///             *a = (a.0 + b.0, a.1 + b.1);
///         }
///     }
///
///     fn scale(stats: &mut Self::Stats, factor: f64) {
///         stats.iter_mut().for_each(|stat| *stat = (stat.0 * factor, stat.1 * factor));
///     }
///
///     fn maximize(&mut self, stats: &Self::Stats, _prior: &()) -> Result<bool> {
///         for (p, stat) in self.success.iter_mut().zip(stats) {
///             if stat.0 > 0.0 {
///                 *p = (stat.1 / stat.0).clamp(1e-9, 1.0 - 1e-9);
///             }
///         }
///         Ok(false)
///     }
///
///     fn n_free_parameters(&self) -> usize {
///         self.success.len()
///     }
/// }
///
/// let hmm = Hmm::new(
///     Initial::Free(vec![0.5, 0.5]),
///     Transitions::new(vec![vec![0.9, 0.1], vec![0.1, 0.9]])?,
///     ThreeTrials { success: vec![0.2, 0.8] },
/// )?;
/// assert_eq!(hmm.viterbi(&[0_u32, 1, 3, 3])?.states, [0, 0, 1, 1]);
/// # Ok::<(), hanzo_hmm::Error>(())
/// ```
pub trait Emission: Send + Sync {
    /// One observation: an index, a slice of numbers.
    type Obs<'a>: Copy + Send + Sync;
    /// One sampled observation.
    type Owned;
    /// Expected sufficient statistics.
    type Stats: Clone + Send + Sync;
    /// What training believes beforehand: pseudocounts, floors. The default is the family's plain fit.
    type Prior: Default + Send + Sync;

    /// Number of states.
    fn n_states(&self) -> usize;

    /// Checks an observation; `position` is its step, for the error. `partial` allows NaN coordinates as missing ones.
    ///
    /// # Errors
    ///
    /// The family's error for an observation outside its domain.
    fn check(&self, o: Self::Obs<'_>, position: usize, partial: bool) -> Result<()>;

    /// Writes the log-probability (density) of the checked observation in every state.
    fn log_prob_into(&self, o: Self::Obs<'_>, out: &mut [f64]);

    /// The same for a run of steps, one row of states a step; 0 where a step is missing.
    fn log_prob_run(&self, run: &[Option<Self::Obs<'_>>], out: &mut [f64]) {
        for (o, out) in run.iter().zip(out.chunks_exact_mut(self.n_states().max(1))) {
            match *o {
                Some(o) => self.log_prob_into(o, out),
                None => out.fill(0.0),
            }
        }
    }

    /// The ready table of a family with finitely many symbols, whose rows then replace
    /// [`log_prob_into`](Self::log_prob_into).
    fn table(&self) -> Option<&SymbolTable> {
        None
    }

    /// The row of [`table`](Self::table) that belongs to the checked observation.
    fn symbol(&self, _o: Self::Obs<'_>) -> usize {
        0
    }

    /// Writes P(X < o) + P(X = o) / 2 of every state for a family with one coordinate, and tells whether it can. It is
    /// what [`Hmm::pseudo_residual`](crate::Hmm::pseudo_residual) needs.
    fn mid_cdf_into(&self, _o: Self::Obs<'_>, _out: &mut [f64]) -> bool {
        false
    }

    /// Draws an observation of `state`, which is below [`n_states`](Self::n_states).
    fn sample<R: Rng + ?Sized>(&self, state: usize, rng: &mut R) -> Self::Owned;

    /// New parameters to start training from, drawn for these sequences. The default keeps the old ones.
    ///
    /// # Errors
    ///
    /// The family's error when no valid parameters come out.
    fn randomise<'a, Q, R>(&mut self, _sequences: &[Q], _rng: &mut R) -> Result<()>
    where
        Q: Observations<Self::Obs<'a>>,
        R: Rng + ?Sized,
    {
        Ok(())
    }

    /// Empty statistics.
    fn new_stats(&self) -> Self::Stats;

    /// Whether statistics, which may come from elsewhere, have the shape of this family.
    fn fits(&self, _stats: &Self::Stats) -> bool {
        true
    }

    /// Adds one observation with the posterior probabilities `gamma` of the states.
    fn accumulate(&self, stats: &mut Self::Stats, o: Self::Obs<'_>, gamma: &[f64]);

    /// Adds a run of steps, one row of `gamma` a step; missing steps add nothing.
    fn accumulate_run(&self, stats: &mut Self::Stats, run: &[Option<Self::Obs<'_>>], gamma: &[f64]) {
        for (o, gamma) in run.iter().zip(gamma.chunks_exact(self.n_states().max(1))) {
            if let Some(o) = *o {
                self.accumulate(stats, o, gamma);
            }
        }
    }

    /// Adds the statistics `from` to `into`.
    fn merge(into: &mut Self::Stats, from: &Self::Stats);

    /// Multiplies the weight of everything in the statistics by `factor`, which is not negative. Only
    /// [`OnlineEm`](crate::OnlineEm) needs it.
    fn scale(stats: &mut Self::Stats, factor: f64);

    /// Replaces the parameters by the maximum a posteriori ones. Returns whether a floor changed a value.
    ///
    /// # Errors
    ///
    /// The family's error when no valid parameters come out.
    fn maximize(&mut self, stats: &Self::Stats, prior: &Self::Prior) -> Result<bool>;

    /// The prior that adds this much to the expected count of every symbol, where the family has symbols.
    fn pseudocount(_pseudocount: f64) -> Self::Prior {
        Self::Prior::default()
    }

    /// Log-density of the parameters under the prior, up to a constant: what training adds to the log-likelihood.
    fn log_prior(&self, _prior: &Self::Prior) -> f64 {
        0.0
    }

    /// Number of parameters that training is free to choose.
    fn n_free_parameters(&self) -> usize;
}
