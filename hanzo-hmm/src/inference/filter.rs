//! Filtering and prediction: one observation at a time.

use std::hint::black_box;

use crate::kernel::arith::{exp_nonpositive, exp_on, folded, log_sum_exp, vecmat};
use crate::kernel::{Arch, Fixed, Level, Task, Weighted, Width, Workspace, product};
use crate::model::{Categorical, Emission, Hmm, Labels, Shape, StateMoments, mixed};
use crate::{Error, Result};

/// What a filter knows after the observations so far: the distribution of the current state and the log-likelihood.
///
/// Made by [`Hmm::filter`], moved on by [`Hmm::update`]. It owns all memory that an update needs.
///
/// ```
/// use hanzo_hmm::{Categorical, Hmm, Initial, Transitions};
///
/// let hmm = Hmm::new(
///     Initial::Free(vec![0.5, 0.5]),
///     Transitions::new(vec![vec![0.7, 0.3], vec![0.3, 0.7]])?,
///     Categorical::new(vec![vec![0.9, 0.1], vec![0.2, 0.8]])?,
/// )?;
/// let mut state = hmm.filter();
/// for umbrella in [Some(0), Some(0), None] {
///     hmm.update(&mut state, umbrella)?;
/// }
/// assert_eq!(state.steps(), 3);
/// assert!((state.log_likelihood() - hmm.log_likelihood(&[0, 0])?).abs() < 1e-15);
/// assert!((state.belief()[0] - 0.6533).abs() < 1e-4);
/// # Ok::<(), hanzo_hmm::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct FilterState {
    belief: Vec<f64>,
    /// Logs of the beliefs, in use only while a state that may come back is too unlikely for `belief`.
    log_belief: Vec<f64>,
    in_logs: bool,
    log_likelihood: f64,
    steps: u64,
    scratch: Scratch,
}

impl FilterState {
    /// Probability of each state after the last step; the initial distribution before the first one.
    #[must_use]
    pub fn belief(&self) -> &[f64] {
        &self.belief
    }

    /// ln P(observations so far).
    #[must_use]
    pub fn log_likelihood(&self) -> f64 {
        self.log_likelihood
    }

    /// Number of steps so far, missing ones included.
    #[must_use]
    pub fn steps(&self) -> u64 {
        self.steps
    }

    /// Mean of -ln p(observation given the past) over the steps so far, missing ones included: a running anomaly score
    /// in nats a step, 0 before the first step.
    #[must_use]
    pub fn mean_anomaly(&self) -> f64 {
        if self.steps == 0 { 0.0 } else { -self.log_likelihood / self.steps as f64 }
    }

    /// Writes the logs of the beliefs.
    pub(super) fn write_log_belief(&self, out: &mut [f64]) {
        for (out, (belief, log)) in out.iter_mut().zip(self.belief.iter().zip(&self.log_belief)) {
            *out = if self.in_logs { *log } else { belief.ln() };
        }
    }

    fn at_start(initial: &[f64], log_initial: &[f64]) -> Self {
        Self {
            belief: initial.to_vec(),
            log_belief: log_initial.to_vec(),
            in_logs: true,
            log_likelihood: 0.0,
            steps: 0,
            scratch: Scratch::new(initial.len()),
        }
    }

    fn position(&self) -> usize {
        usize::try_from(self.steps).unwrap_or(usize::MAX)
    }

    /// Takes over the new beliefs, which stand in the scratch memory.
    fn commit(&mut self, in_logs: bool, gain: f64) -> f64 {
        std::mem::swap(&mut self.belief, &mut self.scratch.belief);
        if in_logs {
            std::mem::swap(&mut self.log_belief, &mut self.scratch.log_belief);
        }
        self.in_logs = in_logs;
        self.log_likelihood += gain;
        self.steps = self.steps.saturating_add(1);
        gain
    }

    /// Beliefs as logs, present while the plain ones would lose a state.
    #[cfg(feature = "serde")]
    pub(crate) fn log_belief(&self) -> Option<&[f64]> {
        self.in_logs.then_some(&self.log_belief)
    }

    /// The state with these values, already checked.
    #[cfg(feature = "serde")]
    pub(crate) fn from_checked(belief: Vec<f64>, logs: Option<Vec<f64>>, log_likelihood: f64, steps: u64) -> Self {
        Self {
            in_logs: logs.is_some(),
            log_belief: logs.unwrap_or_else(|| belief.iter().map(|p| p.ln()).collect()),
            scratch: Scratch::new(belief.len()),
            belief,
            log_likelihood,
            steps,
        }
    }
}

/// Compares what the filter knows; the memory it works in does not count.
impl PartialEq for FilterState {
    fn eq(&self, other: &Self) -> bool {
        self.belief == other.belief
            && self.in_logs == other.in_logs
            && (!self.in_logs || self.log_belief == other.log_belief)
            && self.log_likelihood == other.log_likelihood
            && self.steps == other.steps
    }
}

impl<E: Emission> Hmm<E> {
    /// A filter that has seen nothing yet.
    #[must_use]
    pub fn filter(&self) -> FilterState {
        FilterState::at_start(self.initial_probabilities(), self.log_initial())
    }

    /// Moves the filter on by one step, with an observation or, for `None`, without. Returns ln p(observation given
    /// the past), 0 for a missing one.
    ///
    /// O(S^2) and no allocation. Exact for every model: where a state that is still possible falls below 2^-400, the
    /// update works in logs, which costs S^2 exponentials.
    ///
    /// # Errors
    ///
    /// [`Error::DimensionMismatch`] when the filter belongs to a model of another size; the family's error for a bad
    /// observation; [`Error::ImpossibleSequence`] for one of probability 0. The filter is then unchanged.
    pub fn update(&self, filter: &mut FilterState, o: Option<E::Obs<'_>>) -> Result<f64> {
        self.advance(filter, o, false, None)
    }

    /// Like [`update`](Self::update), where NaN coordinates of the observation are missing and integrated out.
    ///
    /// # Errors
    ///
    /// As for [`update`](Self::update).
    pub fn update_partial(&self, filter: &mut FilterState, o: E::Obs<'_>) -> Result<f64> {
        self.advance(filter, Some(o), true, None)
    }

    /// Distribution of the state `steps` steps after the last observation, O(`steps` S^2). Before the first
    /// observation, 1 step ahead is the first state.
    ///
    /// # Errors
    ///
    /// [`Error::DimensionMismatch`] when the filter belongs to a model of another size.
    pub fn predict(&self, filter: &FilterState, steps: usize) -> Result<Vec<f64>> {
        let mut out = Vec::new();
        self.predict_with(&mut Workspace::new(), filter, steps, &mut out)?;
        Ok(out)
    }

    /// [`predict`](Self::predict) in the memory of `workspace` and of `out`.
    ///
    /// # Errors
    ///
    /// As for [`predict`](Self::predict); `out` is then unchanged.
    pub fn predict_with(
        &self,
        workspace: &mut Workspace,
        filter: &FilterState,
        steps: usize,
        out: &mut Vec<f64>,
    ) -> Result<()> {
        self.check_filter(filter)?;
        let (now, next) = (out, &mut workspace.backward);
        now.clone_from(&filter.belief);
        next.clear();
        next.resize(now.len(), 0.0);
        let moves = if filter.steps == 0 { steps.saturating_sub(1) } else { steps };
        for _ in 0..moves {
            product(now, self.transitions().probabilities(), next);
            std::mem::swap(now, next);
        }
        Ok(())
    }

    /// Sets a filter back to the start; one of another size is replaced.
    pub(super) fn restart(&self, filter: &mut FilterState) {
        if filter.belief.len() != self.n_states() {
            *filter = self.filter();
            return;
        }
        filter.belief.copy_from_slice(self.initial_probabilities());
        filter.log_belief.copy_from_slice(self.log_initial());
        (filter.in_logs, filter.log_likelihood, filter.steps) = (true, 0.0, 0);
    }

    fn check_filter(&self, filter: &FilterState) -> Result<()> {
        if filter.belief.len() == self.n_states() {
            return Ok(());
        }
        Err(Error::DimensionMismatch { what: "filter", expected: self.n_states(), found: filter.belief.len() })
    }

    /// One step; only the states that the labels allow at their step are possible after it.
    pub(super) fn advance(
        &self,
        filter: &mut FilterState,
        o: Option<E::Obs<'_>>,
        partial: bool,
        allowed: Option<(&Labels, usize)>,
    ) -> Result<f64> {
        self.check_filter(filter)?;
        if let Some(o) = o {
            self.emission().check(o, filter.position(), partial)?;
        }
        // At the first step both forms are exact, so only the result decides.
        if (!filter.in_logs || filter.steps == 0)
            && let Some(gain) = self.advance_plain(filter, o, allowed)
        {
            return Ok(gain);
        }
        self.advance_in_logs(filter, o, allowed)
    }

    /// One step on plain probabilities; `None`, with the filter untouched, where they are not exact enough.
    fn advance_plain(
        &self,
        filter: &mut FilterState,
        o: Option<E::Obs<'_>>,
        allowed: Option<(&Labels, usize)>,
    ) -> Option<f64> {
        if let (Some(o), None, true) = (o, allowed, filter.steps > 0)
            && let Some((total, shift)) =
                Level::best().run(Step { model: self, o, belief: &filter.belief, out: &mut filter.scratch.belief })
        {
            return Some(filter.commit(false, total.ln() + shift));
        }
        let Scratch { prediction, belief, log_emission, .. } = &mut filter.scratch;
        let transitions = self.transitions();
        if filter.steps == 0 {
            prediction.copy_from_slice(self.initial_probabilities());
        } else {
            product(&filter.belief, transitions.probabilities(), prediction);
        }
        if let Some((labels, t)) = allowed {
            labels.mask(t, prediction, 0.0);
        }
        // `log_emission` first holds the logs or weights, then tells which states the observation allows.
        let mut shift = 0.0;
        let mut impossible = f64::NEG_INFINITY;
        match (o, self.emission().table()) {
            (None, _) => {
                belief.copy_from_slice(prediction);
                log_emission.fill(0.0);
            }
            (Some(o), Some(table)) => {
                let symbol = self.emission().symbol(o);
                shift = f64::from(*table.exponents().get(symbol)?) * std::f64::consts::LN_2;
                impossible = 0.0;
                log_emission.copy_from_slice(table.scaled().get(symbol * belief.len()..)?.get(..belief.len())?);
                for ((b, p), weight) in belief.iter_mut().zip(&*prediction).zip(&*log_emission) {
                    *b = p * weight;
                }
            }
            (Some(o), None) => {
                self.emission().log_prob_into(o, log_emission);
                shift = f64::NEG_INFINITY;
                for (p, l) in prediction.iter().zip(&*log_emission) {
                    shift = if *p > 0.0 && *l > shift { *l } else { shift };
                }
                if !shift.is_finite() {
                    return None;
                }
                Level::best().run(Weighted { predictions: prediction, logs: log_emission, shift, out: belief });
            }
        }
        let total: f64 = belief.iter().sum();
        if !(total >= SMALLEST_TOTAL && total.is_finite()) {
            return None;
        }
        let scale = total.recip();
        for b in belief.iter_mut() {
            *b *= scale;
        }
        if let Shape::Guarded { smallest, .. } = transitions.shape() {
            let mut states = prediction.iter().zip(&*log_emission).zip(&*belief);
            let lost = |((p, l), b): ((&f64, &f64), &f64)| *p > 0.0 && *l > impossible && *b < SMALLEST_BELIEF;
            if *smallest < SMALLEST_ENTRY || states.any(lost) {
                return None;
            }
        }
        let gain = if o.is_none() && allowed.is_none() { 0.0 } else { total.ln() + shift };
        Some(filter.commit(false, gain))
    }

    fn advance_in_logs(
        &self,
        filter: &mut FilterState,
        o: Option<E::Obs<'_>>,
        allowed: Option<(&Labels, usize)>,
    ) -> Result<f64> {
        let position = filter.position();
        let from_plain = !filter.in_logs;
        let Scratch { belief, log_belief, log_emission, terms, prediction } = &mut filter.scratch;
        if let Some(o) = o {
            self.emission().log_prob_into(o, log_emission);
        } else {
            log_emission.fill(0.0);
        }
        if let Some((labels, t)) = allowed {
            labels.mask(t, log_emission, f64::NEG_INFINITY);
        }
        let transitions = self.transitions();
        if filter.steps == 0 {
            log_belief.copy_from_slice(self.log_initial());
        } else {
            for (now, old) in prediction.iter_mut().zip(filter.belief.iter().zip(&filter.log_belief)) {
                *now = if from_plain { old.0.ln() } else { *old.1 };
            }
            let columns = transitions.logs_transposed().chunks_exact(terms.len());
            for (next, column) in log_belief.iter_mut().zip(columns) {
                for (term, (now, step)) in terms.iter_mut().zip(prediction.iter().zip(column)) {
                    *term = now + step;
                }
                *next = log_sum_exp(terms);
            }
        }
        for (next, l) in log_belief.iter_mut().zip(log_emission) {
            *next += *l;
        }
        let total = log_sum_exp(log_belief);
        if total == f64::NEG_INFINITY {
            return Err(Error::ImpossibleSequence { sequence: 0, position });
        }
        for (b, l) in belief.iter_mut().zip(log_belief.iter_mut()) {
            *l -= total;
            *b = exp_nonpositive(l.min(0.0));
        }
        let sum: f64 = belief.iter().sum();
        for b in belief.iter_mut() {
            *b /= sum;
        }
        let in_logs = match transitions.shape() {
            Shape::Dense { .. } => false,
            Shape::Guarded { smallest, .. } => {
                let lost = |l: &f64| *l > f64::NEG_INFINITY && *l < SMALLEST_BELIEF.ln();
                *smallest < SMALLEST_ENTRY || log_belief.iter().any(lost)
            }
        };
        let gain = if o.is_none() && allowed.is_none() { 0.0 } else { total };
        Ok(filter.commit(in_logs, gain))
    }
}

/// An update of few states with dense transitions: everything in registers.
struct Step<'s, 'o, E: Emission> {
    model: &'s Hmm<E>,
    o: E::Obs<'o>,
    belief: &'s [f64],
    out: &'s mut [f64],
}

impl<E: Emission> Task for Step<'_, '_, E> {
    /// The probability of the observation over `e^shift`, and the shift; `None` where more care is needed.
    type Output = Option<(f64, f64)>;

    #[inline(always)]
    fn run<A: Arch>(self, _arch: A) -> Option<(f64, f64)> {
        match self.belief.len() {
            2 => self.fixed::<A, 2>(),
            3 => self.fixed::<A, 3>(),
            4 => self.fixed::<A, 4>(),
            5 => self.fixed::<A, 5>(),
            6 => self.fixed::<A, 6>(),
            8 => self.fixed::<A, 8>(),
            _ => None,
        }
    }
}

impl<E: Emission> Step<'_, '_, E> {
    #[inline(always)]
    fn fixed<A: Arch, const N: usize>(self) -> Option<(f64, f64)> {
        let (model, transitions) = (self.model, self.model.transitions());
        if !matches!(transitions.shape(), Shape::Dense { .. }) {
            return None;
        }
        let (belief, out) = (self.belief.first_chunk::<N>()?, self.out.first_chunk_mut::<N>()?);
        let mut weights = [0.0; N];
        let shift = match model.emission().table() {
            Some(table) => {
                let symbol = model.emission().symbol(self.o);
                weights = *table.scaled().as_chunks::<N>().0.get(symbol)?;
                f64::from(*table.exponents().get(symbol)?) * std::f64::consts::LN_2
            }
            None => {
                model.emission().log_prob_into(self.o, &mut weights);
                // The states whose prediction is 0 would not count, so there must not be any.
                let shift = folded(*black_box(&weights), |a, b| if b > a { b } else { a });
                if !shift.is_finite() {
                    return None;
                }
                // In and out of memory, where numbers stand together as vectors; else they are computed in pieces.
                let logs = *black_box(&weights);
                for j in 0..N {
                    weights[j] = exp_on::<A>(logs[j] - shift);
                }
                weights = *black_box(&weights);
                shift
            }
        };
        let matrix = transitions.probabilities().as_chunks::<N>().0.first_chunk::<N>()?;
        let mut prediction = [0.0; N];
        Fixed::<N>.product::<A>(belief, matrix, &mut prediction);
        for j in 0..N {
            weights[j] *= prediction[j];
        }
        let smallest = folded(prediction, |a, b| if b < a { b } else { a });
        let total = folded(weights, |a, b| a + b);
        if !(smallest > 0.0 && total >= SMALLEST_TOTAL && total.is_finite()) {
            return None;
        }
        let scale = total.recip();
        for j in 0..N {
            out[j] = weights[j] * scale;
        }
        Some((total, shift))
    }
}

impl Hmm<Categorical> {
    /// Probability of every symbol `steps` steps after the last observation.
    ///
    /// # Errors
    ///
    /// As for [`predict`](Self::predict).
    pub fn predict_symbols(&self, filter: &FilterState, steps: usize) -> Result<Vec<f64>> {
        let states = self.predict(filter, steps)?;
        let mut symbols = vec![0.0; self.emission().n_symbols()];
        vecmat(&states, self.emission().probabilities(), &mut symbols);
        Ok(symbols)
    }
}

impl<E: StateMoments> Hmm<E> {
    /// Mean and variance of every coordinate of the observation `steps` steps after the last one.
    ///
    /// ```
    /// use hanzo_hmm::{Hmm, Initial, Poisson, Transitions};
    ///
    /// let hmm = Hmm::new(
    ///     Initial::Free(vec![0.5, 0.5]),
    ///     Transitions::new(vec![vec![0.75, 0.25], vec![0.25, 0.75]])?,
    ///     Poisson::new(vec![vec![2.0], vec![6.0]])?,
    /// )?;
    /// // Before any observation both states are as likely: a mean rate of 4, and a variance of 4 between them.
    /// let (means, variances) = hmm.predict_moments(&hmm.filter(), 1)?;
    /// assert_eq!((means[0], variances[0]), (4.0, 8.0));
    /// # Ok::<(), hanzo_hmm::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// As for [`predict`](Self::predict).
    pub fn predict_moments(&self, filter: &FilterState, steps: usize) -> Result<(Vec<f64>, Vec<f64>)> {
        let states = self.predict(filter, steps)?;
        let of = |d| mixed(states.iter().enumerate().map(move |(i, p)| (*p, self.emission().moments(i, d))));
        Ok((0..self.emission().n_coordinates()).map(of).unzip())
    }
}

/// Memory of an update. It holds nothing between two updates.
#[derive(Debug, Clone)]
struct Scratch {
    prediction: Vec<f64>,
    log_emission: Vec<f64>,
    belief: Vec<f64>,
    log_belief: Vec<f64>,
    terms: Vec<f64>,
}

impl Scratch {
    fn new(n_states: usize) -> Self {
        let zeros = || vec![0.0; n_states];
        Self { prediction: zeros(), log_emission: zeros(), belief: zeros(), log_belief: zeros(), terms: zeros() }
    }
}

/// Below this a total has lost digits to subnormal numbers.
const SMALLEST_TOTAL: f64 = 1e-290;
/// Smallest plain belief of a state that may matter again, 2^-400: its products with entries of at least
/// [`SMALLEST_ENTRY`] stay normal numbers.
const SMALLEST_BELIEF: f64 = 3.872_591_914_849_318e-121;
/// Smallest transition of the plain form, 2^-600.
const SMALLEST_ENTRY: f64 = 2.409_919_865_102_884e-181;
