//! The E-step: expected counts of the hidden paths.

use std::sync::{Mutex, PoisonError};

use crate::inference::{Expected, check_all, observed, smooth, smooth_in_blocks};
use crate::kernel::arith::Sum;
use crate::kernel::{Kernel, Strategy, Workspace};
use crate::model::{Emission, Hmm, Observations, check_counts};
use crate::{Error, Result};

/// Expected sufficient statistics of some sequences under a model: starts, transitions, emissions, log-likelihood.
///
/// They add up over sequences, so that an E-step can run wherever the data are: compute a part there with
/// [`BaumWelch::expect`](crate::BaumWelch::expect), send it (with feature `serde`), [`merge`](Self::merge) the parts and
/// change the model with [`BaumWelch::maximize`](crate::BaumWelch::maximize).
///
/// ```
/// use hanzo_hmm::{BaumWelch, Categorical, Expectations, Hmm, Initial, Transitions};
///
/// let mut hmm = Hmm::new(
///     Initial::Free(vec![0.5, 0.5]),
///     Transitions::new(vec![vec![0.7, 0.3], vec![0.3, 0.7]])?,
///     Categorical::new(vec![vec![0.9, 0.1], vec![0.2, 0.8]])?,
/// )?;
/// let training = BaumWelch::new();
/// let (here, there) = ([vec![0, 0, 1, 1]], [vec![1, 1, 1, 0, 0]]);
/// let mut all = Expectations::new(&hmm);
/// all.merge(&hmm, &training.expect(&hmm, &here)?)?;
/// all.merge(&hmm, &training.expect(&hmm, &there)?)?;
/// assert_eq!((all.sequences(), all.observed()), (2, 9));
/// training.maximize(&mut hmm, &all)?;
/// assert!(hmm.log_likelihood(&here[0])? + hmm.log_likelihood(&there[0])? > all.log_likelihood());
/// # Ok::<(), hanzo_hmm::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[cfg_attr(feature = "serde", serde(bound(serialize = "E::Stats: serde::Serialize")))]
pub struct Expectations<E: Emission> {
    pub(super) initial: Vec<f64>,
    pub(super) transitions: Vec<f64>,
    pub(super) emissions: E::Stats,
    log_likelihood: f64,
    observed: u64,
    sequences: u64,
}

impl<E: Emission> Expectations<E> {
    /// Those of no sequence at all.
    #[must_use]
    pub fn new(model: &Hmm<E>) -> Self {
        let n_states = model.n_states();
        Self {
            initial: vec![0.0; n_states],
            transitions: vec![0.0; n_states * n_states],
            emissions: model.emission().new_stats(),
            log_likelihood: 0.0,
            observed: 0,
            sequences: 0,
        }
    }

    /// Adds those of other sequences under the same `model`.
    ///
    /// # Errors
    ///
    /// [`Error::DimensionMismatch`] when either side does not have the shape of the model, or holds numbers that cannot
    /// be counts. Nothing is changed then.
    pub fn merge(&mut self, model: &Hmm<E>, part: &Self) -> Result<()> {
        self.check(model)?;
        part.check(model)?;
        self.add(part);
        Ok(())
    }

    /// ln P of the sequences.
    #[must_use]
    pub fn log_likelihood(&self) -> f64 {
        self.log_likelihood
    }

    /// Number of steps with an observation.
    #[must_use]
    pub fn observed(&self) -> u64 {
        self.observed
    }

    /// Number of sequences that are not empty.
    #[must_use]
    pub fn sequences(&self) -> u64 {
        self.sequences
    }

    /// Expected number of sequences that start in each state.
    #[must_use]
    pub fn initial(&self) -> &[f64] {
        &self.initial
    }

    /// Expected number of transitions, row-major `S x S`.
    #[must_use]
    pub fn transitions(&self) -> &[f64] {
        &self.transitions
    }

    /// Statistics of the emission family.
    #[must_use]
    pub fn emissions(&self) -> &E::Stats {
        &self.emissions
    }

    /// Checks the shape, and that counts are counts.
    pub(super) fn check(&self, model: &Hmm<E>) -> Result<()> {
        let (expected, found) = (model.n_states(), self.initial.len());
        if expected != found {
            return Err(Error::DimensionMismatch { what: "expectations", expected, found });
        }
        self.check_numbers()?;
        if model.emission().fits(&self.emissions) {
            return Ok(());
        }
        Err(Error::DimensionMismatch { what: "emission statistics", expected, found })
    }

    /// What can be checked without the model.
    pub(crate) fn check_numbers(&self) -> Result<()> {
        let (expected, found) = (self.initial.len(), self.transitions.len());
        if Some(found) != expected.checked_mul(expected) {
            return Err(Error::DimensionMismatch { what: "expected transitions", expected, found });
        }
        check_counts("expected starts", &self.initial)?;
        check_counts("expected transitions", &self.transitions)?;
        if self.log_likelihood.is_finite() { Ok(()) } else { Err(Error::NotFinite { what: "log-likelihood" }) }
    }

    /// Those with these parts, not yet checked.
    #[cfg(feature = "serde")]
    pub(crate) fn from_parts(
        (initial, transitions, emissions): (Vec<f64>, Vec<f64>, E::Stats),
        log_likelihood: f64,
        observed: u64,
        sequences: u64,
    ) -> Self {
        Self { initial, transitions, emissions, log_likelihood, observed, sequences }
    }

    fn add(&mut self, part: &Self) {
        self.initial.iter_mut().zip(&part.initial).for_each(|(a, b)| *a += b);
        self.transitions.iter_mut().zip(&part.transitions).for_each(|(a, b)| *a += b);
        E::merge(&mut self.emissions, &part.emissions);
        self.log_likelihood += part.log_likelihood;
        self.observed = self.observed.saturating_add(part.observed);
        self.sequences = self.sequences.saturating_add(part.sequences);
    }
}

/// How an E-step is done.
#[derive(Debug, Clone, Copy)]
pub(super) struct Settings {
    pub(super) kernel: Kernel,
    pub(super) strategy: Strategy,
    /// Keep only every `sqrt(T)`-th step.
    pub(super) checkpoints: bool,
    /// Whether anything is to be learned about the emissions.
    pub(super) emissions: bool,
}

/// Workspaces that are not in use, for the next E-step.
#[derive(Debug, Default)]
pub(super) struct Pool(Mutex<Vec<Workspace>>);

impl Pool {
    /// Runs `f` with a workspace of the pool, or a new one.
    fn with<T>(&self, settings: Settings, f: impl FnOnce(&mut Workspace) -> T) -> T {
        let take = || self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let kept = take().pop();
        let mut workspace =
            kept.unwrap_or_else(|| Workspace::with_kernel(settings.kernel).with_strategy(settings.strategy));
        let result = f(&mut workspace);
        take().push(workspace);
        result
    }
}

/// Expectations of checked sequences. Chunks of a fixed size are added in order, so that the result does not depend on
/// who computes them.
pub(super) fn expect<'a, E, Q>(
    model: &Hmm<E>,
    sequences: &[Q],
    settings: Settings,
    pool: &Pool,
) -> Result<Expectations<E>>
where
    E: Emission,
    Q: Observations<E::Obs<'a>>,
{
    let mut total = Expectations::new(model);
    let mut log_likelihood = Sum::default();
    for (wave, group) in sequences.chunks(CHUNK * WAVE).enumerate() {
        for part in wave_parts(model, group, wave * CHUNK * WAVE, settings, pool) {
            let part = part?;
            log_likelihood.add(part.log_likelihood);
            total.add(&part);
        }
    }
    total.log_likelihood = log_likelihood.value();
    Ok(total)
}

#[cfg(feature = "rayon")]
fn wave_parts<'a, E, Q>(
    model: &Hmm<E>,
    group: &[Q],
    first: usize,
    settings: Settings,
    pool: &Pool,
) -> impl IntoIterator<Item = Result<Expectations<E>>>
where
    E: Emission,
    Q: Observations<E::Obs<'a>>,
{
    use rayon::prelude::*;
    let run = |(at, chunk): (usize, &[Q])| {
        pool.with(settings, |workspace| chunk_part(model, workspace, chunk, first + at * CHUNK, settings))
    };
    let parts: Vec<_> = group.par_chunks(CHUNK).enumerate().map(run).collect();
    parts
}

#[cfg(not(feature = "rayon"))]
fn wave_parts<'a, 'm, E, Q>(
    model: &'m Hmm<E>,
    group: &'m [Q],
    first: usize,
    settings: Settings,
    pool: &'m Pool,
) -> impl IntoIterator<Item = Result<Expectations<E>>> + use<'a, 'm, E, Q>
where
    E: Emission,
    Q: Observations<E::Obs<'a>>,
{
    group.chunks(CHUNK).enumerate().map(move |(at, chunk)| {
        pool.with(settings, |workspace| chunk_part(model, workspace, chunk, first + at * CHUNK, settings))
    })
}

fn chunk_part<'a, E, Q>(
    model: &Hmm<E>,
    workspace: &mut Workspace,
    chunk: &[Q],
    first: usize,
    settings: Settings,
) -> Result<Expectations<E>>
where
    E: Emission,
    Q: Observations<E::Obs<'a>>,
{
    let n_states = model.n_states();
    let mut part = Expectations::new(model);
    let mut expected = Expected::new(n_states);
    let mut log_likelihood = Sum::default();
    let mut run = Vec::with_capacity(RUN);
    let mut seen = 0;
    let mut learn = |stats: &mut E::Stats, sequence: &Q, start: usize, gamma: &[f64]| {
        for (at, gamma) in gamma.chunks(RUN * n_states).enumerate() {
            let from = start + at * RUN;
            run.clear();
            run.extend((from..from + gamma.len() / n_states).map(|t| sequence.get(t)));
            seen += run.iter().flatten().count();
            model.emission().accumulate_run(stats, &run, gamma);
        }
    };
    for (at, sequence) in chunk.iter().enumerate().filter(|(_, sequence)| !sequence.is_empty()) {
        let value = if settings.checkpoints {
            // What a kernel that gives up half-way has added must not count.
            let (mut stats, mut initial) = (model.emission().new_stats(), vec![0.0; n_states]);
            let value = smooth_in_blocks(model, workspace, sequence, &mut expected, |event| match event {
                None => {
                    stats = model.emission().new_stats();
                }
                Some((start, gamma)) => {
                    if start == 0 {
                        initial.copy_from_slice(&gamma[..n_states]);
                    }
                    if settings.emissions {
                        learn(&mut stats, sequence, start, gamma);
                    }
                }
            });
            if value.is_ok() {
                E::merge(&mut part.emissions, &stats);
                part.initial.iter_mut().zip(&initial).for_each(|(a, b)| *a += b);
            }
            value
        } else {
            smooth(model, workspace, sequence, Some(&mut expected)).inspect(|_| {
                let gamma = workspace.gamma();
                part.initial.iter_mut().zip(gamma).for_each(|(a, b)| *a += b);
                if settings.emissions {
                    learn(&mut part.emissions, sequence, 0, gamma);
                }
            })
        };
        log_likelihood.add(value.map_err(|error| in_sequence(error, first + at))?);
    }
    part.transitions = expected.transitions;
    part.log_likelihood = log_likelihood.value();
    // What a kernel has given up was read twice.
    part.observed = if settings.emissions && !settings.checkpoints { seen } else { observed(chunk) } as u64;
    part.sequences = chunk.iter().filter(|sequence| !sequence.is_empty()).count() as u64;
    Ok(part)
}

/// Checks all sequences and returns how many observations they have.
pub(super) fn check_sequences<'a, E, Q>(model: &Hmm<E>, sequences: &[Q]) -> Result<usize>
where
    E: Emission,
    Q: Observations<E::Obs<'a>>,
{
    sequences.iter().map(|sequence| check_all(model, sequence)).sum()
}

/// Names the sequence in an error that counts from one sequence alone.
fn in_sequence(error: Error, sequence: usize) -> Error {
    match error {
        Error::ImpossibleSequence { position, .. } => Error::ImpossibleSequence { sequence, position },
        other => other,
    }
}

/// Sequences whose counts are added before they join the total.
const CHUNK: usize = 16;
/// Chunks whose counts are in memory at the same time.
const WAVE: usize = 64;
/// Steps that are handed to the emission family together.
const RUN: usize = 256;
