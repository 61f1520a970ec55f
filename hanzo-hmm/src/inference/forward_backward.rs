//! Likelihoods and posteriors.

use std::ops::Range;

use super::scan;
use crate::kernel::arith::{LN2_HIGH, LN2_LOW, Sum};
use crate::kernel::weights::Weights;
use crate::kernel::{Chain, Kernel, Lattice, Strategy, Workspace, dense, log, resize, scaled};
use crate::model::{Emission, Hmm, Observations};
use crate::{Error, Result};

/// Posterior distributions of the states, given the whole sequence.
///
/// ```
/// use hanzo_hmm::{Categorical, Hmm, Initial, Transitions};
///
/// let hmm = Hmm::new(
///     Initial::Free(vec![0.5, 0.5]),
///     Transitions::new(vec![vec![0.7, 0.3], vec![0.3, 0.7]])?,
///     Categorical::new(vec![vec![0.9, 0.1], vec![0.2, 0.8]])?,
/// )?;
/// let posterior = hmm.posterior(&[0, 0, 1, 0, 0])?;
/// assert!((posterior.gamma[(0, 2)] - 0.3075).abs() < 5e-5);
/// assert!((posterior.log_likelihood - 0.0343037005_f64.ln()).abs() < 1e-12);
/// # Ok::<(), hanzo_hmm::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Posterior {
    /// P(state at t given all observations), `T x S`.
    pub gamma: Lattice,
    /// ln P(observations).
    pub log_likelihood: f64,
}

impl<E: Emission> Hmm<E> {
    /// ln P(observations), `-inf` for an impossible sequence and 0 for an empty one. O(T S^2) time, O(S) space.
    ///
    /// # Errors
    ///
    /// The family's error for a bad observation.
    pub fn log_likelihood<'a, Q: Observations<E::Obs<'a>>>(&self, observations: Q) -> Result<f64> {
        self.log_likelihood_with(&mut Workspace::new(), observations)
    }

    /// [`log_likelihood`](Self::log_likelihood) in the memory of `workspace`.
    ///
    /// # Errors
    ///
    /// As for [`log_likelihood`](Self::log_likelihood).
    pub fn log_likelihood_with<'a, Q>(&self, workspace: &mut Workspace, observations: Q) -> Result<f64>
    where
        Q: Observations<E::Obs<'a>>,
    {
        check_all(self, &observations)?;
        if workspace.kernel != Kernel::Log
            && let Ok(value) = scaled_log_likelihood(self, workspace, &observations)
        {
            return Ok(value);
        }
        let Workspace { weights, log_carry, .. } = workspace;
        log_carry.begin();
        for range in blocks(observations.len()) {
            weights.fill_logs(self, &observations, range);
            let block = weights.log_block(self.emission().table());
            if log::forward(Chain::of(self), log_carry, block, |_| {}).is_err() {
                return Ok(f64::NEG_INFINITY);
            }
        }
        Ok(log_carry.log_likelihood())
    }

    /// ln p(observation at t given those before t) of every step, 0 for a missing one; they add up to the
    /// log-likelihood. Its negative is an anomaly score. O(T S^2) time, O(T) space.
    ///
    /// # Errors
    ///
    /// The family's error for a bad observation; [`Error::ImpossibleSequence`] where the condition has probability 0.
    pub fn log_predictive<'a, Q: Observations<E::Obs<'a>>>(&self, observations: Q) -> Result<Vec<f64>> {
        let mut values = Vec::new();
        self.log_predictive_with(&mut Workspace::new(), observations, &mut values)?;
        Ok(values)
    }

    /// [`log_predictive`](Self::log_predictive) in the memory of `workspace` and into `out`, whose memory the workspace
    /// takes in exchange.
    ///
    /// # Errors
    ///
    /// As for [`log_predictive`](Self::log_predictive); `out` is then unchanged.
    pub fn log_predictive_with<'a, Q>(
        &self,
        workspace: &mut Workspace,
        observations: Q,
        out: &mut Vec<f64>,
    ) -> Result<()>
    where
        Q: Observations<E::Obs<'a>>,
    {
        check_all(self, &observations)?;
        let Workspace { filter, lattice, .. } = workspace;
        let filter = filter.get_or_insert_with(|| self.filter());
        self.restart(filter);
        let (partial, labels) = (observations.is_partial(), observations.labels());
        lattice.clear();
        lattice.reserve(observations.len());
        for t in 0..observations.len() {
            lattice.push(self.advance(filter, observations.get(t), partial, labels.map(|labels| (labels, t)))?);
        }
        std::mem::swap(out, lattice);
        Ok(())
    }

    /// ln of [`backward`](Self::backward).
    ///
    /// # Errors
    ///
    /// The family's error for a bad observation.
    pub fn backward_log<'a, Q: Observations<E::Obs<'a>>>(&self, observations: Q) -> Result<Lattice> {
        let mut lattice = Lattice::default();
        self.backward_log_with(&mut Workspace::new(), observations, &mut lattice)?;
        Ok(lattice)
    }

    /// [`backward_log`](Self::backward_log) in the memory of `workspace` and into `out`, whose memory the workspace takes
    /// in exchange.
    ///
    /// # Errors
    ///
    /// The family's error for a bad observation; `out` is then unchanged.
    pub fn backward_log_with<'a, Q>(&self, workspace: &mut Workspace, observations: Q, out: &mut Lattice) -> Result<()>
    where
        Q: Observations<E::Obs<'a>>,
    {
        check_all(self, &observations)?;
        let Workspace { weights, log_carry, backward, .. } = workspace;
        weights.fill_logs(self, &observations, 0..observations.len());
        log::backward(Chain::of(self), log_carry, weights.log_block(self.emission().table()), backward);
        out.swap(backward, self.n_states());
        Ok(())
    }

    /// beta: P(observations after t given the state at t), 1 at the last step. Values are not scaled: they underflow to
    /// 0 (or, for densities, overflow to infinity) on long sequences, where [`backward_log`](Self::backward_log) does not.
    /// O(T S^2) time, O(T S) space.
    ///
    /// # Errors
    ///
    /// The family's error for a bad observation.
    pub fn backward<'a, Q: Observations<E::Obs<'a>>>(&self, observations: Q) -> Result<Lattice> {
        let mut lattice = Lattice::default();
        self.backward_with(&mut Workspace::new(), observations, &mut lattice)?;
        Ok(lattice)
    }

    /// [`backward`](Self::backward) in the memory of `workspace` and into `out`, whose memory the workspace takes in
    /// exchange.
    ///
    /// # Errors
    ///
    /// The family's error for a bad observation; `out` is then unchanged.
    pub fn backward_with<'a, Q>(&self, workspace: &mut Workspace, observations: Q, out: &mut Lattice) -> Result<()>
    where
        Q: Observations<E::Obs<'a>>,
    {
        self.backward_log_with(workspace, observations, out)?;
        out.exponentiate();
        Ok(())
    }

    /// The posterior distribution of the state at every step. O(T S^2) time, O(T S) space.
    ///
    /// # Errors
    ///
    /// The family's error for a bad observation; [`Error::ImpossibleSequence`] for a sequence of probability 0.
    pub fn posterior<'a, Q: Observations<E::Obs<'a>>>(&self, observations: Q) -> Result<Posterior> {
        let mut posterior = Posterior::default();
        self.posterior_with(&mut Workspace::new(), observations, &mut posterior)?;
        Ok(posterior)
    }

    /// [`posterior`](Self::posterior) in the memory of `workspace` and into `out`, whose memory the workspace takes in
    /// exchange.
    ///
    /// # Errors
    ///
    /// As for [`posterior`](Self::posterior); `out` is then unchanged.
    pub fn posterior_with<'a, Q>(&self, workspace: &mut Workspace, observations: Q, out: &mut Posterior) -> Result<()>
    where
        Q: Observations<E::Obs<'a>>,
    {
        check_all(self, &observations)?;
        out.log_likelihood = smooth(self, workspace, &observations, None)?;
        out.gamma.swap(&mut workspace.lattice, self.n_states());
        Ok(())
    }

    /// Akaike's criterion of the model for these sequences, `2 k - 2 ln P` with `k` of
    /// [`n_free_parameters`](Self::n_free_parameters); smaller is better, and an impossible sequence makes it infinite.
    ///
    /// # Errors
    ///
    /// [`Error::NoData`] when no step is observed; the family's error for a bad observation.
    pub fn aic<'a, Q: Observations<E::Obs<'a>>>(&self, sequences: &[Q]) -> Result<f64> {
        let (log_likelihood, _) = self.total(sequences)?;
        Ok(2.0 * self.n_free_parameters() as f64 - 2.0 * log_likelihood)
    }

    /// The Bayesian criterion of the model for these sequences, `k ln N - 2 ln P` with N observed steps; smaller is
    /// better.
    ///
    /// # Errors
    ///
    /// As for [`aic`](Self::aic).
    pub fn bic<'a, Q: Observations<E::Obs<'a>>>(&self, sequences: &[Q]) -> Result<f64> {
        let (log_likelihood, observed) = self.total(sequences)?;
        Ok(self.n_free_parameters() as f64 * (observed as f64).ln() - 2.0 * log_likelihood)
    }

    /// Log-likelihood and number of observed steps of all sequences.
    fn total<'a, Q: Observations<E::Obs<'a>>>(&self, sequences: &[Q]) -> Result<(f64, usize)> {
        let mut workspace = Workspace::new();
        let mut sum = 0.0;
        for sequence in sequences {
            sum += self.log_likelihood_with(&mut workspace, sequence)?;
        }
        match observed(sequences) {
            0 => Err(Error::NoData),
            n => Ok((sum, n)),
        }
    }
}

/// Expected transitions of a sequence, asked for with its posteriors.
#[derive(Debug, Clone)]
pub(crate) struct Expected {
    /// Sum over t of xi, `S x S`.
    pub(crate) transitions: Vec<f64>,
    pub(super) pairs: Vec<f64>,
}

impl Expected {
    pub(crate) fn new(n_states: usize) -> Self {
        Self { transitions: vec![0.0; n_states * n_states], pairs: vec![0.0; n_states * n_states] }
    }

    /// Adds the sums of products that the scaled kernel leaves, times the transitions.
    pub(super) fn add_pairs(&mut self, probabilities: &[f64]) {
        for (count, (pair, p)) in self.transitions.iter_mut().zip(self.pairs.iter().zip(probabilities)) {
            // Sums of impossible transitions are meaningless, and may be large.
            if *p > 0.0 {
                *count += pair * p;
            }
        }
    }
}

/// Leaves the posteriors of a checked sequence in the workspace's lattice, adds its expected transitions to `expected`
/// and returns its log-likelihood.
pub(crate) fn smooth<'a, E, Q>(
    model: &Hmm<E>,
    workspace: &mut Workspace,
    observations: &Q,
    expected: Option<&mut Expected>,
) -> Result<f64>
where
    E: Emission,
    Q: Observations<E::Obs<'a>>,
{
    let mut expected = expected;
    if workspace.kernel != Kernel::Log
        && let Ok(value) = scaled_smooth(model, workspace, observations, expected.as_deref_mut())
    {
        return Ok(value);
    }
    let chain = Chain::of(model);
    let Workspace { weights, log_carry, lattice, backward, .. } = workspace;
    weights.fill_logs(model, observations, 0..observations.len());
    let block = weights.log_block(model.emission().table());
    lattice.clear();
    log_carry.begin();
    log::forward(chain, log_carry, block, |values| lattice.extend_from_slice(values))
        .map_err(|log::Dead(position)| Error::ImpossibleSequence { sequence: 0, position })?;
    let log_likelihood = log_carry.log_likelihood();
    log::backward(chain, log_carry, block, backward);
    if let Some(expected) = expected {
        let counts = &mut expected.transitions;
        log::expected_transitions(chain, block, lattice, backward, log_likelihood, counts);
    }
    log::posteriors(lattice, backward, model.n_states());
    Ok(log_likelihood)
}

/// Checks every observation and returns how many there are.
pub(crate) fn check_all<'a, E, Q>(model: &Hmm<E>, observations: &Q) -> Result<usize>
where
    E: Emission,
    Q: Observations<E::Obs<'a>>,
{
    let partial = observations.is_partial();
    if let Some(labels) = observations.labels() {
        let sizes = [
            ("labels", observations.len(), labels.len()),
            ("states of the labels", model.n_states(), labels.n_states()),
        ];
        for (what, expected, found) in sizes {
            if expected != found {
                return Err(Error::DimensionMismatch { what, expected, found });
            }
        }
    }
    let mut observed = 0;
    for t in 0..observations.len() {
        if let Some(o) = observations.get(t) {
            model.emission().check(o, t, partial)?;
            observed += 1;
        }
    }
    Ok(observed)
}

/// Steps with an observation.
pub(crate) fn observed<O, Q: Observations<O>>(sequences: &[Q]) -> usize {
    sequences.iter().map(|s| (0..s.len()).filter(|&t| s.get(t).is_some()).count()).sum()
}

pub(super) fn scaled_log_likelihood<'a, E, Q>(
    model: &Hmm<E>,
    workspace: &mut Workspace,
    observations: &Q,
) -> Result<f64, scaled::Lost>
where
    E: Emission,
    Q: Observations<E::Obs<'a>>,
{
    let (chain, level) = (Chain::of(model), workspace.level());
    if let Strategy::Scan { chunk } = workspace.strategy
        && scan::applies(model, observations.len(), chunk)
    {
        return scan::log_likelihood(model, level, observations, chunk);
    }
    if dense::period(chain).is_some() && observations.len() >= dense::SHORTEST {
        return met_log_likelihood(model, workspace, observations);
    }
    let Workspace { weights, carry, .. } = workspace;
    weights.begin();
    carry.begin(chain);
    for range in blocks(observations.len()) {
        weights.fill(level, model, observations, range)?;
        scaled::forward(level, chain, carry, weights.block(model.emission().table()), None)?;
    }
    Ok(scaled_value(workspace, observations.len()))
}

/// The log-likelihood of a dense model, from both ends.
fn met_log_likelihood<'a, E, Q>(
    model: &Hmm<E>,
    workspace: &mut Workspace,
    observations: &Q,
) -> Result<f64, scaled::Lost>
where
    E: Emission,
    Q: Observations<E::Obs<'a>>,
{
    let (chain, level, table) = (Chain::of(model), workspace.level(), model.emission().table());
    #[cfg(feature = "rayon")]
    let late_meeting = &mut workspace.late_meeting;
    let Workspace { weights, late_weights, meeting, .. } = workspace;
    weights.begin();
    late_weights.begin_inside();
    meeting.begin(chain);
    #[cfg(feature = "rayon")]
    if observations.len() >= 2 * dense::PARALLEL && rayon::current_num_threads() > 1 {
        late_meeting.begin(chain);
        let nothing = crate::kernel::Block { table: &[], index: &[], possible: &[] };
        let (front, back) = rayon::join(
            || {
                meeting_blocks(observations.len()).try_for_each(|(ahead, _)| {
                    weights.fill(level, model, observations, ahead)?;
                    meeting.advance(level, chain, weights.block(table), nothing)
                })
            },
            || {
                meeting_blocks(observations.len()).try_for_each(|(_, behind)| {
                    late_weights.fill(level, model, observations, behind)?;
                    late_meeting.advance(level, chain, nothing, late_weights.block(table))
                })
            },
        );
        front.and(back)?;
        return met_value(meeting.likelihood_with(late_meeting), [weights, late_weights]);
    }
    for (ahead, behind) in meeting_blocks(observations.len()) {
        weights.fill(level, model, observations, ahead)?;
        late_weights.fill(level, model, observations, behind)?;
        meeting.advance(level, chain, weights.block(table), late_weights.block(table))?;
    }
    met_value(meeting.likelihood(), [weights, late_weights])
}

/// The log-likelihood of chains that have met.
fn met_value((likelihood, exponent): (f64, i64), [weights, late_weights]: [&Weights; 2]) -> Result<f64, scaled::Lost> {
    if !(likelihood > 0.0 && likelihood.is_finite()) {
        return Err(scaled::Lost);
    }
    let exponent = exponent + weights.exponent() + late_weights.exponent();
    Ok(log_of(likelihood, exponent, [weights.shift(), late_weights.shift()]))
}

fn scaled_smooth<'a, E, Q>(
    model: &Hmm<E>,
    workspace: &mut Workspace,
    observations: &Q,
    expected: Option<&mut Expected>,
) -> Result<f64, scaled::Lost>
where
    E: Emission,
    Q: Observations<E::Obs<'a>>,
{
    let (chain, level) = (Chain::of(model), workspace.level());
    let n_states = model.n_states();
    if let Strategy::Scan { chunk } = workspace.strategy
        && scan::applies(model, observations.len(), chunk)
    {
        return scan::smooth(model, workspace, observations, chunk, expected);
    }
    let Workspace { weights, carry, lattice, exponents, back, halves, .. } = &mut *workspace;
    weights.begin();
    weights.fill(level, model, observations, 0..observations.len())?;
    let block = weights.block(model.emission().table());
    resize(lattice, observations.len() * n_states);
    resize(exponents, observations.len());
    if dense::period(chain).is_some() && observations.len() >= dense::SHORTEST {
        let pairs = expected.is_some();
        let smoothing = dense::Smoothing { chain, block, lattice, exponents, memory: halves, pairs };
        let (likelihood, exponent) = dense::smooth(level, smoothing)?;
        if let Some(expected) = expected {
            expected.pairs.fill(0.0);
            halves.add_pairs(&mut expected.pairs);
            expected.add_pairs(chain.transitions.probabilities());
        }
        return in_range(log_of(likelihood, exponent + weights.exponent(), [weights.shift(), 0.0]));
    }
    carry.begin(chain);
    scaled::forward(level, chain, carry, block, Some((lattice, exponents)))?;
    back.begin(chain);
    match expected {
        None => scaled::backward(level, chain, block, (lattice, exponents), back, None)?,
        Some(expected) => {
            expected.pairs.fill(0.0);
            scaled::backward(level, chain, block, (lattice, exponents), back, Some(&mut expected.pairs))?;
            back.finish(&mut expected.pairs);
            expected.add_pairs(chain.transitions.probabilities());
        }
    }
    in_range(scaled_value(workspace, observations.len()))
}

/// A sequence whose log-likelihood is beyond the range of the numbers counts as impossible, which the log kernel says.
fn in_range(log_likelihood: f64) -> Result<f64, scaled::Lost> {
    if log_likelihood.is_finite() { Ok(log_likelihood) } else { Err(scaled::Lost) }
}

/// The log-likelihood after the last block.
pub(super) fn scaled_value(workspace: &Workspace, steps: usize) -> f64 {
    let Workspace { weights, carry, .. } = workspace;
    if steps == 0 {
        return 0.0;
    }
    log_of(carry.values().iter().sum(), weights.exponent() + carry.exponent(), [weights.shift(), 0.0])
}

/// ln of `mass * 2^exponent * e^shifts`.
pub(super) fn log_of(mass: f64, exponent: i64, shifts: [f64; 2]) -> f64 {
    let exponent = exponent as f64;
    // ln 2 in two parts, because one rounded product of a large exponent would cost a digit.
    let mut sum = Sum::default();
    for term in [mass.ln(), exponent * LN2_HIGH, exponent * LN2_LOW].into_iter().chain(shifts) {
        sum.add(term);
    }
    sum.value()
}

/// Runs of steps for the chains from both ends, until they meet.
fn meeting_blocks(steps: usize) -> impl Iterator<Item = (Range<usize>, Range<usize>)> {
    let (mut start, mut end) = (0, steps);
    std::iter::from_fn(move || {
        if start >= end {
            return None;
        }
        let ahead = (end - start).div_ceil(2).min(BLOCK);
        let behind = (end - start - ahead).min(BLOCK);
        let runs = (start..start + ahead, end - behind..end);
        (start, end) = (runs.0.end, runs.1.start);
        Some(runs)
    })
}

/// Runs of steps that are processed together, in memory that does not grow with the sequence.
pub(crate) fn blocks(steps: usize) -> impl Iterator<Item = Range<usize>> {
    (0..steps).step_by(BLOCK).map(move |start| start..steps.min(start + BLOCK))
}

/// A multiple of every rescaling period.
const BLOCK: usize = 256;
