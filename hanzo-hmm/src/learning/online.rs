//! Learning from one observation at a time (Cappe, J. Comput. Graph. Stat. 20:728, 2011).

use crate::kernel::product;
use crate::model::{Emission, Hmm, Transitions, update_row};
#[cfg(feature = "serde")]
use crate::model::{check_counts, check_distribution};
use crate::{Error, Result};

/// Online EM: parameters follow the observations, and nothing of the past is kept but averaged statistics.
///
/// The weight of observation `n`, counted from 0, is `n^-0.6` (1 for the first); parameters change from observation 20
/// on. A pseudocount, 1e-3 by default and weighted like an observation, keeps what was not seen in time possible. The start
/// distribution stays.
///
/// ```
/// use hanzo_hmm::{Categorical, Hmm, Initial, OnlineEm, Transitions};
///
/// let hmm = Hmm::new(
///     Initial::Free(vec![0.5, 0.5]),
///     Transitions::new(vec![vec![0.6, 0.4], vec![0.4, 0.6]])?,
///     Categorical::new(vec![vec![0.7, 0.3], vec![0.3, 0.7]])?,
/// )?;
/// let mut learner = OnlineEm::new(hmm);
/// for t in 0..2000 {
///     learner.update(Some(t / 10 % 2))?; // long runs of zeros and of ones
/// }
/// let row = learner.model().transitions().row(0);
/// assert!(row[0] > 0.8);
/// # Ok::<(), hanzo_hmm::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[cfg_attr(feature = "serde", serde(bound(serialize = "E: serde::Serialize, E::Stats: serde::Serialize")))]
pub struct OnlineEm<E: Emission> {
    model: Hmm<E>,
    pseudocount: f64,
    steps: u64,
    log_likelihood: f64,
    belief: Vec<f64>,
    /// Expected transitions given the current state: `S` tables of `S x S`.
    moves: Vec<f64>,
    /// Emission statistics given the current state.
    stats: Vec<E::Stats>,
}

impl<E: Emission + Clone> OnlineEm<E> {
    /// A learner that starts from `model`.
    #[must_use]
    pub fn new(model: Hmm<E>) -> Self {
        let n = model.n_states();
        Self {
            pseudocount: 1e-3,
            steps: 0,
            log_likelihood: 0.0,
            belief: model.initial_probabilities().to_vec(),
            moves: vec![0.0; n * n * n],
            stats: vec![model.emission().new_stats(); n],
            model,
        }
    }

    /// The same with another pseudocount, in observations. With 0, a symbol that is not seen in time becomes
    /// impossible for ever.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidOption`] when it is negative or not finite.
    pub fn with_pseudocount(self, pseudocount: f64) -> Result<Self> {
        if !(pseudocount.is_finite() && pseudocount >= 0.0) {
            return Err(Error::InvalidOption { name: "pseudocount" });
        }
        Ok(Self { pseudocount, ..self })
    }

    /// The learner with these parts, once they fit each other.
    #[cfg(feature = "serde")]
    pub(crate) fn from_parts(
        (model, pseudocount): (Hmm<E>, f64),
        (steps, log_likelihood): (u64, f64),
        (mut belief, moves, stats): (Vec<f64>, Vec<f64>, Vec<E::Stats>),
    ) -> Result<Self> {
        let n = model.n_states();
        for (what, expected, found) in [
            ("belief", n, belief.len()),
            ("averaged transitions", n * n * n, moves.len()),
            ("averaged statistics", n, stats.len()),
        ] {
            if expected != found {
                return Err(Error::DimensionMismatch { what, expected, found });
            }
        }
        check_distribution("belief", 0, &mut belief)?;
        check_counts("averaged transitions", &moves)?;
        if !log_likelihood.is_finite() {
            return Err(Error::NotFinite { what: "log-likelihood" });
        }
        if !stats.iter().all(|stats| model.emission().fits(stats)) {
            return Err(Error::DimensionMismatch { what: "emission statistics", expected: n, found: n });
        }
        Self { model, pseudocount: 0.0, steps, log_likelihood, belief, moves, stats }.with_pseudocount(pseudocount)
    }

    /// Learns from one observation, or moves on without one. Returns ln p(observation given the past) under the
    /// parameters before, 0 for a missing one.
    ///
    /// O(S^4) time, and O(S^2) merges of emission statistics (for `M` symbols O(S^3 M)).
    ///
    /// # Errors
    ///
    /// The family's error for a bad observation; [`Error::ImpossibleSequence`] for one of probability 0; for a stationary
    /// start [`Error::NotErgodic`]; the family's error when no valid parameters come out. The learner is then unchanged.
    pub fn update(&mut self, o: Option<E::Obs<'_>>) -> Result<f64> {
        let next = self.expect(o)?;
        if self.steps >= FIRST_UPDATE {
            self.model = self.maximize(&next)?;
        }
        Ok(self.commit(next))
    }

    /// The E-step of [`update`](Self::update) alone: averages follow the observation, parameters stay.
    pub(crate) fn follow(&mut self, o: Option<E::Obs<'_>>) -> Result<f64> {
        let next = self.expect(o)?;
        Ok(self.commit(next))
    }

    /// Belief and averages after one more step.
    fn expect(&self, o: Option<E::Obs<'_>>) -> Result<Next<E>> {
        let n = self.model.n_states();
        let position = usize::try_from(self.steps).unwrap_or(usize::MAX);
        let mut logs = vec![0.0; n];
        if let Some(o) = o {
            self.model.emission().check(o, position, false)?;
            self.model.emission().log_prob_into(o, &mut logs);
        }
        let a = self.model.transitions().probabilities();
        let mut prediction = self.belief.clone();
        if self.steps > 0 {
            product(&self.belief, a, &mut prediction);
        }
        let possible = prediction.iter().zip(&logs).filter(|(p, _)| **p > 0.0);
        let shift = possible.map(|(_, l)| *l).fold(f64::NEG_INFINITY, f64::max);
        let mut belief: Vec<f64> =
            prediction.iter().zip(&logs).map(|(p, l)| if *p > 0.0 { p * (l - shift).exp() } else { 0.0 }).collect();
        let total: f64 = belief.iter().sum();
        if !(shift.is_finite() && total > 0.0) {
            return Err(Error::ImpossibleSequence { sequence: 0, position });
        }
        belief.iter_mut().for_each(|b| *b /= total);
        let gain = if o.is_some() { total.ln() + shift } else { 0.0 };

        let weight = if self.steps == 0 { 1.0 } else { (self.steps as f64).powf(-EXPONENT) };
        let (moves, stats) = self.average(&prediction, o, weight);
        Ok(Next { belief, moves, stats, weight, gain })
    }

    fn commit(&mut self, next: Next<E>) -> f64 {
        (self.belief, self.moves, self.stats) = (next.belief, next.moves, next.stats);
        self.log_likelihood += next.gain;
        self.steps += 1;
        next.gain
    }

    /// Another model of as many states in place of the one learned so far; the averages stay.
    pub(crate) fn set_model(&mut self, model: Hmm<E>) {
        self.model = model;
    }

    /// Averaged emission statistics.
    pub(crate) fn averages(&self) -> E::Stats {
        self.total(&self.belief, &self.stats)
    }

    /// Steps, log-likelihood, belief, averaged transitions and statistics: everything but the parameters.
    pub(crate) fn state(&self) -> (u64, f64, &[f64], &[f64], &[E::Stats]) {
        (self.steps, self.log_likelihood, &self.belief, &self.moves, &self.stats)
    }

    /// Takes over such a state of the same size.
    pub(crate) fn resume(&mut self, steps: u64, log_likelihood: f64, tables: (Vec<f64>, Vec<f64>, Vec<E::Stats>)) {
        (self.steps, self.log_likelihood) = (steps, log_likelihood);
        (self.belief, self.moves, self.stats) = tables;
    }

    fn total(&self, belief: &[f64], stats: &[E::Stats]) -> E::Stats {
        let mut total = self.model.emission().new_stats();
        for (b, stats) in belief.iter().zip(stats) {
            let mut part = stats.clone();
            E::scale(&mut part, *b);
            E::merge(&mut total, &part);
        }
        total
    }

    /// The model as learned so far.
    #[must_use]
    pub fn model(&self) -> &Hmm<E> {
        &self.model
    }

    /// Probability of each state after the last observation.
    #[must_use]
    pub fn belief(&self) -> &[f64] {
        &self.belief
    }

    /// Sum of ln p(observation given the past), each under the parameters of its time.
    #[must_use]
    pub fn log_likelihood(&self) -> f64 {
        self.log_likelihood
    }

    /// Number of steps so far, missing ones included.
    #[must_use]
    pub fn steps(&self) -> u64 {
        self.steps
    }

    /// The statistics after one more step.
    fn average(&self, prediction: &[f64], o: Option<E::Obs<'_>>, weight: f64) -> (Vec<f64>, Vec<E::Stats>) {
        let n = self.model.n_states();
        let emission = self.model.emission();
        let a = self.model.transitions().probabilities();
        let mut moves = vec![0.0; n * n * n];
        let mut stats = Vec::with_capacity(n);
        let mut own = vec![0.0; n];
        for k in 0..n {
            let mut stat = emission.new_stats();
            // Before the first observation there is no past to average with.
            if self.steps > 0 {
                let table = &mut moves[k * n * n..(k + 1) * n * n];
                for l in 0..n {
                    let back = if prediction[k] > 0.0 { self.belief[l] * a[l * n + k] / prediction[k] } else { 0.0 };
                    let factor = (1.0 - weight) * back;
                    for (new, old) in table.iter_mut().zip(&self.moves[l * n * n..]) {
                        *new += factor * old;
                    }
                    if factor > 0.0 {
                        let mut past = self.stats[l].clone();
                        E::scale(&mut past, factor);
                        E::merge(&mut stat, &past);
                    }
                    table[l * n + k] += weight * back;
                }
            }
            if let Some(o) = o {
                own.fill(0.0);
                own[k] = weight;
                emission.accumulate(&mut stat, o, &own);
            }
            stats.push(stat);
        }
        (moves, stats)
    }

    fn maximize(&self, next: &Next<E>) -> Result<Hmm<E>> {
        let n = self.model.n_states();
        let mut counts = vec![0.0; n * n];
        for (k, b) in next.belief.iter().enumerate() {
            for (count, rho) in counts.iter_mut().zip(&next.moves[k * n * n..]) {
                *count += b * rho;
            }
        }
        let total = self.total(&next.belief, &next.stats);
        let pseudocount = self.pseudocount * next.weight;
        let mut rows = self.model.transitions().probabilities().to_vec();
        for (row, counts) in rows.chunks_exact_mut(n).zip(counts.chunks_exact(n)) {
            update_row(row, counts, pseudocount, false, None);
        }
        let mut model = self.model.clone();
        model.set_transitions(Transitions::from_checked(rows, n))?;
        model.emission_mut().maximize(&total, &E::pseudocount(pseudocount))?;
        Ok(model)
    }
}

/// What an observation changes.
struct Next<E: Emission> {
    belief: Vec<f64>,
    moves: Vec<f64>,
    stats: Vec<E::Stats>,
    weight: f64,
    gain: f64,
}

/// The weight of observation `n` is `n` to the power of minus this.
const EXPONENT: f64 = 0.6;
/// Observations before the parameters first change.
pub(crate) const FIRST_UPDATE: u64 = 20;
