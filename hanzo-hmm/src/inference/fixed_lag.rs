//! Smoothing with a fixed delay.

use super::filter::FilterState;
use crate::kernel::arith::{exp_nonpositive, log_sum_exp};
use crate::kernel::{Lattice, product};
use crate::model::{Emission, Hmm, Shape};
use crate::{Error, Result};

/// A smoother that follows a stream `lag` steps behind: P(state at t given the observations up to t + lag).
///
/// Made by [`Hmm::fixed_lag`]. O(lag S^2) an observation. [`push_into`](Self::push_into) allocates nothing once `lag + 1`
/// observations were seen.
///
/// ```
/// use hanzo_hmm::{Categorical, Hmm, Initial, Transitions};
///
/// let hmm = Hmm::new(
///     Initial::Free(vec![0.5, 0.5]),
///     Transitions::new(vec![vec![0.7, 0.3], vec![0.3, 0.7]])?,
///     Categorical::new(vec![vec![0.9, 0.1], vec![0.2, 0.8]])?,
/// )?;
/// let mut smoother = hmm.fixed_lag(2);
/// assert_eq!(smoother.push(Some(0))?, None);
/// assert_eq!(smoother.push(Some(0))?, None);
/// let first = smoother.push(Some(1))?.expect("two steps later");
/// assert!((first[0] - hmm.posterior([0, 0, 1])?.gamma[(0, 0)]).abs() < 1e-15);
/// assert_eq!(smoother.flush()?.len(), 2);
/// # Ok::<(), hanzo_hmm::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct FixedLag<'m, E> {
    model: &'m Hmm<E>,
    lag: usize,
    filter: FilterState,
    /// Beliefs of the last `lag + 1` steps, a ring, as they are and as logs.
    beliefs: Vec<f64>,
    log_beliefs: Vec<f64>,
    /// Log-emissions of the same steps.
    emissions: Vec<f64>,
    seen: usize,
    /// Backward values, weighted ones, and terms.
    scratch: [Vec<f64>; 3],
}

impl<E: Emission> Hmm<E> {
    /// A smoother that has seen nothing yet. With a lag of 0 it is the filter.
    #[must_use]
    pub fn fixed_lag(&self, lag: usize) -> FixedLag<'_, E> {
        let n = self.n_states();
        FixedLag {
            model: self,
            lag,
            filter: self.filter(),
            beliefs: Vec::new(),
            log_beliefs: Vec::new(),
            emissions: Vec::new(),
            seen: 0,
            scratch: [vec![0.0; n], vec![0.0; n], vec![0.0; n]],
        }
    }
}

impl<E: Emission> FixedLag<'_, E> {
    /// Takes the next observation, or a missing one. Returns the distribution of the state `lag` steps ago, once there
    /// is one.
    ///
    /// # Errors
    ///
    /// As for [`Hmm::update`]; the smoother is then unchanged.
    pub fn push(&mut self, o: Option<E::Obs<'_>>) -> Result<Option<Vec<f64>>> {
        let mut out = vec![0.0; self.model.n_states()];
        Ok(self.push_into(o, &mut out)?.then_some(out))
    }

    /// [`push`](Self::push) that writes to `out` and tells whether it did.
    ///
    /// # Errors
    ///
    /// As for [`push`](Self::push), and [`Error::DimensionMismatch`] when `out` does not hold one number a state.
    pub fn push_into(&mut self, o: Option<E::Obs<'_>>, out: &mut [f64]) -> Result<bool> {
        let n = self.model.n_states();
        if out.len() != n {
            return Err(Error::DimensionMismatch { what: "output", expected: n, found: out.len() });
        }
        self.model.update(&mut self.filter, o)?;
        // The rings grow to their size only as the stream does: a lag may be longer than it.
        let at = self.seen % (self.lag.saturating_add(1)) * n;
        for ring in [&mut self.beliefs, &mut self.log_beliefs, &mut self.emissions] {
            if ring.len() < at + n {
                ring.resize(at + n, 0.0);
            }
        }
        self.beliefs[at..at + n].copy_from_slice(self.filter.belief());
        self.filter.write_log_belief(&mut self.log_beliefs[at..at + n]);
        let emissions = &mut self.emissions[at..at + n];
        match o {
            Some(o) => self.model.emission().log_prob_into(o, emissions),
            None => emissions.fill(0.0),
        }
        self.seen += 1;
        let ready = self.seen > self.lag;
        if ready {
            self.smooth(self.lag, out)?;
        }
        Ok(ready)
    }

    /// The distributions of the steps that are still waiting, oldest first, given all observations.
    ///
    /// # Errors
    ///
    /// [`Error::ImpossibleSequence`] never occurs for a stream that was accepted so far; it stands for numbers beyond
    /// all range.
    pub fn flush(mut self) -> Result<Lattice> {
        let n = self.model.n_states();
        let waiting = self.lag.min(self.seen);
        let mut values = vec![0.0; waiting * n];
        for (row, back) in values.chunks_exact_mut(n).zip((0..waiting).rev()) {
            self.smooth(back, row)?;
        }
        Lattice::new(values, n)
    }

    /// What the filter knows after the last observation.
    #[must_use]
    pub fn filter(&self) -> &FilterState {
        &self.filter
    }

    /// Writes the distribution of the state `back` steps before the last one.
    fn smooth(&mut self, back: usize, out: &mut [f64]) -> Result<()> {
        let dense = matches!(self.model.transitions().shape(), Shape::Dense { .. });
        if (dense && self.smooth_plain(back, out)) || self.smooth_in_logs(back, out) {
            return Ok(());
        }
        Err(Error::ImpossibleSequence { sequence: 0, position: self.seen - 1 - back })
    }

    fn place(&self, back: usize) -> usize {
        (self.seen - 1 - back) % (self.lag.saturating_add(1)) * self.model.n_states()
    }

    fn smooth_plain(&mut self, back: usize, out: &mut [f64]) -> bool {
        let n = self.model.n_states();
        let [mut beta, mut weighted, terms] = std::mem::take(&mut self.scratch);
        beta.fill(1.0);
        for step in 0..back {
            let at = self.place(step);
            let row = &self.emissions[at..at + n];
            let max = row.iter().copied().fold(f64::NEG_INFINITY, f64::max);
            for ((w, b), l) in weighted.iter_mut().zip(&beta).zip(row) {
                *w = if max.is_finite() { b * exp_nonpositive(l - max) } else { 0.0 };
            }
            product(&weighted, self.model.transitions().transposed(), &mut beta);
            let scale = beta.iter().copied().fold(0.0, f64::max).recip();
            beta.iter_mut().for_each(|b| *b *= scale);
        }
        let at = self.place(back);
        for ((out, b), belief) in out.iter_mut().zip(&beta).zip(&self.beliefs[at..at + n]) {
            *out = b * belief;
        }
        self.scratch = [beta, weighted, terms];
        let total: f64 = out.iter().sum();
        out.iter_mut().for_each(|p| *p /= total);
        total > SMALLEST && total.is_finite()
    }

    fn smooth_in_logs(&mut self, back: usize, out: &mut [f64]) -> bool {
        let n = self.model.n_states();
        let [mut beta, mut weighted, mut terms] = std::mem::take(&mut self.scratch);
        beta.fill(0.0);
        for step in 0..back {
            let at = self.place(step);
            for ((w, b), l) in weighted.iter_mut().zip(&beta).zip(&self.emissions[at..at + n]) {
                *w = b + l;
            }
            for (b, row) in beta.iter_mut().zip(self.model.transitions().logs().chunks_exact(n)) {
                terms.iter_mut().zip(weighted.iter().zip(row)).for_each(|(term, (w, step))| *term = w + step);
                *b = log_sum_exp(&terms);
            }
        }
        let at = self.place(back);
        for ((term, b), belief) in terms.iter_mut().zip(&beta).zip(&self.log_beliefs[at..at + n]) {
            *term = b + belief;
        }
        let total = log_sum_exp(&terms);
        for (out, term) in out.iter_mut().zip(&terms) {
            *out = if total.is_finite() { exp_nonpositive((term - total).min(0.0)) } else { 0.0 };
        }
        self.scratch = [beta, weighted, terms];
        let sum: f64 = out.iter().sum();
        out.iter_mut().for_each(|p| *p /= sum);
        total.is_finite()
    }
}

/// Smallest sum that has all its digits.
const SMALLEST: f64 = 1e-280;
