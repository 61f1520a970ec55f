//! Expectation maximisation (Baum, Petrie, Soules, Weiss 1970; Dempster, Laird, Rubin 1977).

use crate::inference::{Expected, check_all, observed, smooth};
use crate::kernel::arith::Sum;
use crate::kernel::{Kernel, Workspace};
use crate::model::{Emission, Hmm, Initial, Observations, Transitions, normalise_counts};
use crate::{Error, Result};

/// Trains a model on sequences: the Baum-Welch algorithm, with priors.
///
/// The defaults are maximum likelihood: at most 200 iterations, until one gains less than 1e-6 nats an observed step.
/// Zeros of the initial distribution, the transitions and the symbol probabilities stay zeros; a row without expected
/// mass keeps its values.
///
/// ```
/// use hanzo_hmm::{BaumWelch, Categorical, Hmm, Initial, Transitions};
///
/// let mut hmm = Hmm::new(
///     Initial::Free(vec![0.5, 0.5]),
///     Transitions::new(vec![vec![0.7, 0.3], vec![0.3, 0.7]])?,
///     Categorical::new(vec![vec![0.9, 0.1], vec![0.2, 0.8]])?,
/// )?;
/// let sequences = [vec![0, 0, 0, 1, 1, 1, 0, 0], vec![1, 1, 1, 0, 0, 0]];
/// let fit = BaumWelch::new().max_iters(50).tolerance(1e-9).fit(&mut hmm, &sequences)?;
/// let history = &fit.log_likelihoods;
/// assert!(history.windows(2).all(|pair| pair[1] >= pair[0] - 1e-9));
/// # Ok::<(), hanzo_hmm::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct BaumWelch<E: Emission> {
    max_iters: usize,
    tolerance: Tolerance,
    pseudocount: f64,
    emission_prior: E::Prior,
    learn: Learn,
    kernel: Kernel,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Tolerance {
    PerStep(f64),
    Total(f64),
}

impl<E: Emission> BaumWelch<E> {
    /// Training with the defaults.
    #[must_use]
    pub fn new() -> Self {
        Self {
            max_iters: 200,
            tolerance: Tolerance::PerStep(1e-6),
            pseudocount: 0.0,
            emission_prior: E::Prior::default(),
            learn: Learn::ALL,
            kernel: Kernel::Auto,
        }
    }

    /// At most this many iterations; 0 leaves the model as it is.
    #[must_use]
    pub fn max_iters(self, max_iters: usize) -> Self {
        Self { max_iters, ..self }
    }

    /// Stops when an iteration changes the objective by less than this, in nats an observed step. 0 runs all
    /// iterations. The objective is the log-likelihood, plus the log-density of the priors where there are any.
    #[must_use]
    pub fn tolerance(self, nats_per_step: f64) -> Self {
        Self { tolerance: Tolerance::PerStep(nats_per_step), ..self }
    }

    /// Like [`tolerance`](Self::tolerance), in nats over all sequences together.
    #[must_use]
    pub fn total_tolerance(self, nats: f64) -> Self {
        Self { tolerance: Tolerance::Total(nats), ..self }
    }

    /// Adds this to the expected count of every initial state and every transition whose probability is not zero: a
    /// symmetric Dirichlet prior. Emissions have their own, [`emission_prior`](Self::emission_prior).
    #[must_use]
    pub fn pseudocount(self, pseudocount: f64) -> Self {
        Self { pseudocount, ..self }
    }

    /// The prior of the emission family: pseudocounts, floors.
    #[must_use]
    pub fn emission_prior(self, emission_prior: E::Prior) -> Self {
        Self { emission_prior, ..self }
    }

    /// Which parameters to learn.
    #[must_use]
    pub fn learn(self, learn: Learn) -> Self {
        Self { learn, ..self }
    }

    /// How the expectations are computed.
    #[must_use]
    pub fn kernel(self, kernel: Kernel) -> Self {
        Self { kernel, ..self }
    }

    /// Trains `model`. Empty sequences are skipped; steps without observation count for the transitions only.
    ///
    /// An iteration costs O(T S^2) time for T steps together, and O(T S) memory for the longest sequence; families that
    /// look twice at the data (Gaussians) keep O(T S) for all of them.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidOption`] for a negative or NaN tolerance or pseudocount; [`Error::NoData`] without any
    /// observation; the family's error for a bad observation; [`Error::ImpossibleSequence`] for a sequence of
    /// probability 0. The model is then unchanged.
    pub fn fit<'a, Q>(&self, model: &mut Hmm<E>, sequences: &[Q]) -> Result<FitSummary>
    where
        E: Clone,
        Q: Observations<E::Obs<'a>>,
    {
        let steps = observed(sequences);
        let tolerance = self.checked_tolerance(steps)?;
        sequences.iter().try_for_each(|sequence| check_all(model, sequence))?;
        if steps == 0 {
            return Err(Error::NoData);
        }
        let mut trained = model.clone();
        let mut expectation = Expectation::new(self.kernel);
        let mut summary = FitSummary::default();
        let mut previous: Option<f64> = None;
        while summary.iterations < self.max_iters && !summary.converged {
            let counts = expectation.run(&trained, sequences, self.learn.emissions)?;
            let objective = counts.log_likelihood + self.log_prior(&trained);
            summary.log_likelihoods.push(counts.log_likelihood);
            summary.floored |= self.maximise(&mut trained, &counts)?;
            summary.iterations += 1;
            summary.converged = previous.is_some_and(|previous| (objective - previous).abs() < tolerance);
            previous = Some(objective);
        }
        *model = trained;
        Ok(summary)
    }

    /// The tolerance in nats over all sequences, once every option is known to be in range.
    fn checked_tolerance(&self, steps: usize) -> Result<f64> {
        let (Tolerance::PerStep(value) | Tolerance::Total(value)) = self.tolerance;
        for (name, value) in [("tolerance", value), ("pseudocount", self.pseudocount)] {
            if !(value.is_finite() && value >= 0.0) {
                return Err(Error::InvalidOption { name });
            }
        }
        Ok(match self.tolerance {
            Tolerance::PerStep(value) => value * steps as f64,
            Tolerance::Total(value) => value,
        })
    }

    /// Log-density of the priors, up to a constant.
    fn log_prior(&self, model: &Hmm<E>) -> f64 {
        let emissions = model.emission().log_prior(&self.emission_prior);
        if self.pseudocount == 0.0 {
            return emissions;
        }
        let entries = model.initial_probabilities().iter().chain(model.transitions().probabilities());
        emissions + self.pseudocount * entries.filter(|p| **p > 0.0).map(|p| p.ln()).sum::<f64>()
    }

    fn maximise(&self, model: &mut Hmm<E>, counts: &Counts<E>) -> Result<bool> {
        if self.learn.initial && matches!(model.initial(), Initial::Free(_)) {
            let mut initial = model.initial_probabilities().to_vec();
            normalise_counts(&mut initial, &counts.initial, self.pseudocount);
            model.set_initial(&initial);
        }
        if self.learn.transitions {
            let n_states = model.n_states();
            let mut rows = model.transitions().probabilities().to_vec();
            let expected = counts.expected.transitions.chunks_exact(n_states);
            for (row, counts) in rows.chunks_exact_mut(n_states).zip(expected) {
                normalise_counts(row, counts, self.pseudocount);
            }
            model.set_transitions(Transitions::from_checked(rows, n_states));
        }
        if self.learn.emissions {
            return model.emission_mut().maximize(&counts.stats, &self.emission_prior);
        }
        Ok(false)
    }
}

impl<E: Emission> Default for BaumWelch<E> {
    fn default() -> Self {
        Self::new()
    }
}

/// Which parameters training changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Learn {
    initial: bool,
    transitions: bool,
    emissions: bool,
}

impl Learn {
    /// Everything.
    pub const ALL: Self = Self { initial: true, transitions: true, emissions: true };

    /// The same without the initial distribution.
    #[must_use]
    pub const fn keep_initial(self) -> Self {
        Self { initial: false, ..self }
    }

    /// The same without the transitions.
    #[must_use]
    pub const fn keep_transitions(self) -> Self {
        Self { transitions: false, ..self }
    }

    /// The same without the emissions.
    #[must_use]
    pub const fn keep_emissions(self) -> Self {
        Self { emissions: false, ..self }
    }
}

/// What training did.
#[derive(Debug, Clone, PartialEq, Default)]
#[non_exhaustive]
pub struct FitSummary {
    /// Number of iterations.
    pub iterations: usize,
    /// Whether the last iteration changed the objective by less than the tolerance.
    pub converged: bool,
    /// Log-likelihood of all sequences before each iteration.
    pub log_likelihoods: Vec<f64>,
    /// Whether a floor changed a parameter in some iteration; the likelihood may then fall.
    pub floored: bool,
}

/// Expected counts of the hidden path.
struct Counts<E: Emission> {
    initial: Vec<f64>,
    expected: Expected,
    stats: E::Stats,
    log_likelihood: f64,
}

impl<E: Emission> Counts<E> {
    fn new(model: &Hmm<E>) -> Self {
        let n_states = model.n_states();
        Self {
            initial: vec![0.0; n_states],
            expected: Expected::new(n_states),
            stats: model.emission().new_stats(),
            log_likelihood: 0.0,
        }
    }
}

/// The memory of an E-step.
struct Expectation {
    workspace: Workspace,
    /// Posteriors of all sequences, for families that look twice.
    posteriors: Vec<f64>,
}

impl Expectation {
    fn new(kernel: Kernel) -> Self {
        Self { workspace: Workspace::with_kernel(kernel), posteriors: Vec::new() }
    }

    fn run<'a, E, Q>(&mut self, model: &Hmm<E>, sequences: &[Q], emissions: bool) -> Result<Counts<E>>
    where
        E: Emission,
        Q: Observations<E::Obs<'a>>,
    {
        let n_states = model.n_states();
        let keep = emissions && E::TWO_PASSES;
        let mut total = Counts::new(model);
        let mut log_likelihood = Sum::default();
        self.posteriors.clear();
        // Chunks of a fixed size, added in order: the result does not depend on who computes a chunk.
        for (chunk, group) in sequences.chunks(CHUNK).enumerate() {
            let mut part = Counts::new(model);
            for (at, sequence) in group.iter().enumerate().filter(|(_, sequence)| !sequence.is_empty()) {
                let value = smooth(model, &mut self.workspace, sequence, Some(&mut part.expected))
                    .map_err(|error| in_sequence(error, chunk * CHUNK + at))?;
                log_likelihood.add(value);
                let gamma = &self.workspace.lattice;
                add(&mut part.initial, gamma);
                if emissions {
                    each_observed(sequence, gamma, n_states, |o, gamma| {
                        model.emission().accumulate(&mut part.stats, o, gamma);
                    });
                }
                if keep {
                    self.posteriors.extend_from_slice(gamma);
                }
            }
            add(&mut total.initial, &part.initial);
            add(&mut total.expected.transitions, &part.expected.transitions);
            E::merge(&mut total.stats, &part.stats);
        }
        if keep {
            self.second_pass(model, sequences, &mut total.stats);
        }
        total.log_likelihood = log_likelihood.value();
        Ok(total)
    }

    fn second_pass<'a, E, Q>(&self, model: &Hmm<E>, sequences: &[Q], first: &mut E::Stats)
    where
        E: Emission,
        Q: Observations<E::Obs<'a>>,
    {
        let n_states = model.n_states();
        let mut posteriors = self.posteriors.as_slice();
        let parts: Vec<E::Stats> = sequences
            .chunks(CHUNK)
            .map(|group| {
                let mut stats = model.emission().second_pass(first);
                for sequence in group {
                    let (gamma, rest) = posteriors.split_at(sequence.len() * n_states);
                    posteriors = rest;
                    each_observed(sequence, gamma, n_states, |o, gamma| {
                        model.emission().accumulate_second(&mut stats, o, gamma);
                    });
                }
                stats
            })
            .collect();
        for part in &parts {
            E::merge(first, part);
        }
    }
}

/// Adds as many values as `into` has.
fn add(into: &mut [f64], from: &[f64]) {
    for (a, b) in into.iter_mut().zip(from) {
        *a += b;
    }
}

/// Calls `visit` for every step that has an observation.
fn each_observed<O, Q: Observations<O>>(
    sequence: &Q,
    gamma: &[f64],
    n_states: usize,
    mut visit: impl FnMut(O, &[f64]),
) {
    for (t, gamma) in gamma.chunks_exact(n_states).enumerate() {
        if let Some(o) = sequence.get(t) {
            visit(o, gamma);
        }
    }
}

/// Names the sequence in an error that counts from one sequence alone.
fn in_sequence(error: Error, sequence: usize) -> Error {
    match error {
        Error::ImpossibleSequence { position, .. } => Error::ImpossibleSequence { sequence, position },
        other => other,
    }
}

/// Sequences whose counts are added before they join the total.
const CHUNK: usize = 64;
