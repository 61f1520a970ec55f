//! Expectation maximisation (Baum, Petrie, Soules, Weiss 1970; Dempster, Laird, Rubin 1977).

use rand::SeedableRng;
use rand::rngs::Xoshiro256PlusPlus;
use rand_distr::{Distribution, Exp1};

use super::expectations::{Expectations, Pool, Settings, check_sequences, expect};
use super::stationary::{Evidence, improve};
use crate::kernel::{Kernel, Strategy};
use crate::model::{Emission, Hmm, Initial, Observations, Transitions, update_row};
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
    everywhere: bool,
    emission_prior: E::Prior,
    learn: Learn,
    frozen: Vec<(usize, usize)>,
    restarts: usize,
    seed: u64,
    kernel: Kernel,
    strategy: Strategy,
    memory: Memory,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Tolerance {
    PerStep(f64),
    Total(f64),
}

/// What an E-step keeps in memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Memory {
    /// The posteriors of the longest sequence, `T x S` numbers.
    #[default]
    Linear,
    /// Forward values of every `sqrt(T)`-th step; the rest is computed twice. Results agree with those of the other
    /// form up to rounding.
    SquareRoot,
}

impl<E: Emission> BaumWelch<E> {
    /// Training with the defaults.
    #[must_use]
    pub fn new() -> Self {
        Self {
            max_iters: 200,
            tolerance: Tolerance::PerStep(1e-6),
            pseudocount: 0.0,
            everywhere: false,
            emission_prior: E::Prior::default(),
            learn: Learn::ALL,
            frozen: Vec::new(),
            restarts: 1,
            seed: 0,
            kernel: Kernel::Auto,
            strategy: Strategy::Ends,
            memory: Memory::Linear,
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
        Self { pseudocount, everywhere: false, ..self }
    }

    /// Like [`pseudocount`](Self::pseudocount), for every initial state and transition: zeros come alive.
    #[must_use]
    pub fn dense_prior(self, pseudocount: f64) -> Self {
        Self { pseudocount, everywhere: true, ..self }
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

    /// Keeps these transitions, `(from, to)`, as they are; the others of a row share what is left of it. A second call
    /// replaces the first.
    #[must_use]
    pub fn freeze(self, transitions: impl IntoIterator<Item = (usize, usize)>) -> Self {
        Self { frozen: transitions.into_iter().collect(), ..self }
    }

    /// Trains this many times, first from the model as it is and then from random starts, and keeps the fit with the
    /// highest objective. What is not learned stays in every start. 1 by default.
    #[must_use]
    pub fn restarts(self, restarts: usize, seed: u64) -> Self {
        Self { restarts, seed, ..self }
    }

    /// How the expectations are computed.
    #[must_use]
    pub fn kernel(self, kernel: Kernel) -> Self {
        Self { kernel, ..self }
    }

    /// How one long sequence is spread over threads. [`Memory::SquareRoot`] goes through a sequence on one thread.
    #[must_use]
    pub fn strategy(self, strategy: Strategy) -> Self {
        Self { strategy, ..self }
    }

    /// What is kept in memory.
    #[must_use]
    pub fn memory(self, memory: Memory) -> Self {
        Self { memory, ..self }
    }

    /// Trains `model`. Empty sequences are skipped; steps without observation count for the transitions only.
    ///
    /// An iteration costs O(T S^2) time for T steps together; for the memory see [`Memory`]. With the feature `rayon`
    /// sequences are spread over threads, with the same result to the last bit for any number of them.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidOption`] for a negative or NaN tolerance or pseudocount, no restart, a frozen transition that does
    /// not exist; [`Error::NoData`] without any observation; the family's error for a bad observation;
    /// [`Error::ImpossibleSequence`] for a sequence of probability 0; [`Error::NotErgodic`] when a chain that starts
    /// stationary falls apart; the family's error when its M-step finds no valid parameters. The model is then unchanged.
    pub fn fit<'a, Q>(&self, model: &mut Hmm<E>, sequences: &[Q]) -> Result<FitSummary>
    where
        E: Clone,
        Q: Observations<E::Obs<'a>>,
    {
        self.fit_with(model, sequences, |_| true)
    }

    /// [`fit`](Self::fit) that reports each iteration to `progress` and stops when that returns `false`; what was learned
    /// so far then counts.
    ///
    /// ```
    /// use hanzo_hmm::{BaumWelch, Categorical, Hmm, Initial, Transitions};
    ///
    /// let mut hmm = Hmm::new(
    ///     Initial::Free(vec![0.5, 0.5]),
    ///     Transitions::new(vec![vec![0.7, 0.3], vec![0.3, 0.7]])?,
    ///     Categorical::new(vec![vec![0.9, 0.1], vec![0.2, 0.8]])?,
    /// )?;
    /// let mut seen = Vec::new();
    /// let fit = BaumWelch::new().tolerance(0.0).fit_with(&mut hmm, &[[0, 0, 1, 1, 0, 1]], |progress| {
    ///     seen.push(progress.log_likelihood);
    ///     progress.iteration < 3
    /// })?;
    /// assert_eq!((fit.iterations, fit.log_likelihoods), (3, seen));
    /// # Ok::<(), hanzo_hmm::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// As for [`fit`](Self::fit).
    pub fn fit_with<'a, Q>(
        &self,
        model: &mut Hmm<E>,
        sequences: &[Q],
        mut progress: impl FnMut(Progress) -> bool,
    ) -> Result<FitSummary>
    where
        E: Clone,
        Q: Observations<E::Obs<'a>>,
    {
        self.checked_tolerance(model, 1)?;
        let steps = check_sequences(model, sequences)?;
        let tolerance = self.checked_tolerance(model, steps)?;
        if steps == 0 {
            return Err(Error::NoData);
        }
        let mut rng = Xoshiro256PlusPlus::seed_from_u64(self.seed);
        let mut best: Option<(f64, Hmm<E>, FitSummary)> = None;
        let mut going = true;
        for start in 0..self.restarts {
            let mut trained = model.clone();
            if start > 0 {
                self.randomise(&mut trained, sequences, &mut rng)?;
            }
            let fit = self.climb(&mut trained, sequences, tolerance, |iteration, log_likelihood| {
                going &= progress(Progress { start, iteration, log_likelihood });
                going
            });
            let (objective, summary) = match fit {
                Ok(fit) => fit,
                // A random start may be impossible for data that the model itself explains.
                Err(_) if start > 0 => continue,
                Err(error) => return Err(error),
            };
            if best.as_ref().is_none_or(|(value, ..)| objective > *value) {
                best = Some((objective, trained, summary));
            }
            if !going {
                break;
            }
        }
        let (_, trained, summary) = best.ok_or(Error::InvalidOption { name: "restarts" })?;
        *model = trained;
        Ok(summary)
    }

    /// The E-step alone: expected statistics of these sequences.
    ///
    /// # Errors
    ///
    /// The family's error for a bad observation; [`Error::ImpossibleSequence`] for a sequence of probability 0.
    pub fn expect<'a, Q>(&self, model: &Hmm<E>, sequences: &[Q]) -> Result<Expectations<E>>
    where
        Q: Observations<E::Obs<'a>>,
    {
        check_sequences(model, sequences)?;
        expect(model, sequences, self.settings(), &Pool::default())
    }

    /// The M-step alone: the parameters that these statistics ask for. Returns whether a floor changed one.
    ///
    /// # Errors
    ///
    /// As for [`fit`](Self::fit), and [`Error::DimensionMismatch`] when the statistics are not of such a model. The model is
    /// then unchanged.
    pub fn maximize(&self, model: &mut Hmm<E>, expectations: &Expectations<E>) -> Result<bool>
    where
        E: Clone,
    {
        self.checked_tolerance(model, 1)?;
        expectations.check(model)?;
        let mut trained = model.clone();
        let floored = self.update(&mut trained, expectations)?;
        *model = trained;
        Ok(floored)
    }

    /// Number of parameters that this training chooses: those of the model without the frozen ones and without what is
    /// not learned. It is the `k` of AIC and BIC for a model that it fitted.
    #[must_use]
    pub fn n_free_parameters(&self, model: &Hmm<E>) -> usize {
        let n = model.n_states();
        let mut count = 0;
        if let (true, Initial::Free(values)) = (self.learn.initial, model.initial()) {
            count += values.iter().filter(|p| **p > 0.0).count().saturating_sub(1);
        }
        if self.learn.transitions {
            for i in 0..n {
                let free = |(j, p): &(usize, &f64)| **p > 0.0 && !self.frozen.contains(&(i, *j));
                count += model.transitions().row(i).iter().enumerate().filter(free).count().saturating_sub(1);
            }
        }
        count + if self.learn.emissions { model.emission().n_free_parameters() } else { 0 }
    }

    /// One climb from `model`; the objective of the last E-step, and what happened.
    fn climb<'a, Q>(
        &self,
        model: &mut Hmm<E>,
        sequences: &[Q],
        tolerance: f64,
        mut progress: impl FnMut(usize, f64) -> bool,
    ) -> Result<(f64, FitSummary)>
    where
        Q: Observations<E::Obs<'a>>,
    {
        let mut summary = FitSummary::default();
        let mut previous: Option<f64> = None;
        let mut going = true;
        let pool = Pool::default();
        while summary.iterations < self.max_iters && !summary.converged && going {
            let expectations = expect(model, sequences, self.settings(), &pool)?;
            let objective = expectations.log_likelihood() + self.log_prior(model);
            summary.log_likelihoods.push(expectations.log_likelihood());
            summary.floored |= self.update(model, &expectations)?;
            summary.iterations += 1;
            summary.converged = previous.is_some_and(|previous| (objective - previous).abs() < tolerance);
            previous = Some(objective);
            going = progress(summary.iterations, expectations.log_likelihood());
        }
        Ok((previous.unwrap_or(f64::NEG_INFINITY), summary))
    }

    fn settings(&self) -> Settings {
        Settings {
            kernel: self.kernel,
            strategy: self.strategy,
            checkpoints: self.memory == Memory::SquareRoot,
            emissions: self.learn.emissions,
        }
    }

    /// The tolerance in nats over all sequences, once every option is known to be in range.
    fn checked_tolerance(&self, model: &Hmm<E>, steps: usize) -> Result<f64> {
        let (Tolerance::PerStep(value) | Tolerance::Total(value)) = self.tolerance;
        for (name, value) in [("tolerance", value), ("pseudocount", self.pseudocount)] {
            if !(value.is_finite() && value >= 0.0) {
                return Err(Error::InvalidOption { name });
            }
        }
        if self.restarts == 0 {
            return Err(Error::InvalidOption { name: "restarts" });
        }
        let n = model.n_states();
        if self.frozen.iter().any(|(i, j)| *i >= n || *j >= n) {
            return Err(Error::InvalidOption { name: "frozen transitions" });
        }
        Ok(match self.tolerance {
            Tolerance::PerStep(value) => value * steps as f64,
            Tolerance::Total(value) => value,
        })
    }

    /// Draws a new start: flat Dirichlet rows, and what the family thinks fit.
    fn randomise<'a, Q>(&self, model: &mut Hmm<E>, sequences: &[Q], rng: &mut Xoshiro256PlusPlus) -> Result<()>
    where
        Q: Observations<E::Obs<'a>>,
    {
        let n = model.n_states();
        let mut draw = |row: &mut [f64], frozen: Option<&[bool]>| {
            let counts: Vec<f64> = row.iter().map(|_| Exp1.sample(rng)).collect();
            update_row(row, &counts, 0.0, self.everywhere, frozen);
        };
        if self.learn.initial {
            let mut initial = model.initial_probabilities().to_vec();
            draw(&mut initial, None);
            model.set_initial(&initial);
        }
        if self.learn.transitions {
            let frozen = self.mask(n);
            let mut rows = model.transitions().probabilities().to_vec();
            for (i, row) in rows.chunks_exact_mut(n).enumerate() {
                draw(row, frozen.as_deref().map(|mask| &mask[i * n..(i + 1) * n]));
            }
            model.set_transitions(Transitions::from_checked(rows, n))?;
        }
        if self.learn.emissions {
            model.emission_mut().randomise(sequences, rng)?;
        }
        Ok(())
    }

    /// The frozen transitions as a table, `None` when there is none.
    fn mask(&self, n: usize) -> Option<Vec<bool>> {
        let mut mask = vec![false; n * n];
        self.frozen.iter().for_each(|(i, j)| mask[i * n + j] = true);
        (!self.frozen.is_empty()).then_some(mask)
    }

    /// Log-density of the priors, up to a constant.
    fn log_prior(&self, model: &Hmm<E>) -> f64 {
        let emissions = model.emission().log_prior(&self.emission_prior);
        if self.pseudocount == 0.0 {
            return emissions;
        }
        let start = match model.initial() {
            Initial::Free(values) => values.as_slice(),
            _ => &[],
        };
        let entries = start.iter().chain(model.transitions().probabilities());
        let counted = entries.filter(|p| self.everywhere || **p > 0.0);
        emissions + self.pseudocount * counted.map(|p| p.ln()).sum::<f64>()
    }

    fn update(&self, model: &mut Hmm<E>, counts: &Expectations<E>) -> Result<bool> {
        if self.learn.initial && matches!(model.initial(), Initial::Free(_)) {
            let mut initial = model.initial_probabilities().to_vec();
            update_row(&mut initial, &counts.initial, self.pseudocount, self.everywhere, None);
            model.set_initial(&initial);
        }
        if self.learn.transitions {
            let n = model.n_states();
            let frozen = self.mask(n);
            let mut rows = model.transitions().probabilities().to_vec();
            let expected = counts.transitions.chunks_exact(n);
            for (i, (row, counts)) in rows.chunks_exact_mut(n).zip(expected).enumerate() {
                let frozen = frozen.as_deref().map(|mask| &mask[i * n..(i + 1) * n]);
                update_row(row, counts, self.pseudocount, self.everywhere, frozen);
            }
            let mut transitions = Transitions::from_checked(rows, n);
            if *model.initial() == Initial::Stationary {
                let live = |p: f64| if p > 0.0 || self.everywhere { self.pseudocount } else { 0.0 };
                let old = model.transitions().probabilities();
                let raised: Vec<f64> = counts.transitions.iter().zip(old).map(|(c, p)| c + live(*p)).collect();
                let evidence = Evidence { counts: &raised, starts: &counts.initial, frozen: frozen.as_deref() };
                transitions = improve(model.transitions(), transitions, &evidence)?;
            }
            model.set_transitions(transitions)?;
        }
        if self.learn.emissions {
            return model.emission_mut().maximize(&counts.emissions, &self.emission_prior);
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
///
/// ```
/// use hanzo_hmm::{BaumWelch, Categorical, Hmm, Initial, Learn, Transitions};
///
/// let transitions = Transitions::new(vec![vec![0.7, 0.3], vec![0.3, 0.7]])?;
/// let emission = Categorical::new(vec![vec![0.9, 0.1], vec![0.2, 0.8]])?;
/// let mut hmm = Hmm::new(Initial::Free(vec![0.5, 0.5]), transitions.clone(), emission.clone())?;
/// BaumWelch::new().learn(Learn::ALL.keep_transitions()).fit(&mut hmm, &[[0, 0, 1, 1, 0, 1]])?;
/// assert!(*hmm.transitions() == transitions && *hmm.emission() != emission);
/// # Ok::<(), hanzo_hmm::Error>(())
/// ```
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

/// How far training is.
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
pub struct Progress {
    /// Which start it climbs from, 0 for the model as it was.
    pub start: usize,
    /// Iterations of this climb so far.
    pub iteration: usize,
    /// Log-likelihood of all sequences before this iteration.
    pub log_likelihood: f64,
}
