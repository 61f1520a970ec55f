use core::num::NonZeroU32;
use core::ops::Range;

use super::state::Phase;
use super::{Best, Finished, TrainingState};
use crate::{Applied, Error, Library, Result, Stamp};

/// How long and on what a model learns.
#[derive(Debug, Clone, PartialEq)]
pub struct TrainingConfig {
    queries: NonZeroU32,
    epochs: u32,
    batch: NonZeroU32,
    attempts: u32,
    temperature: f32,
    evaluation_temperature: f32,
    max_drop_ppm: u32,
    baseline: bool,
    each_batch: bool,
}

impl TrainingConfig {
    /// Over `queries` questions, with the published settings: three epochs of batches of 50, five attempts a question at
    /// temperature 0.7, evaluation at 0.3. The library is scored before the first batch and after each epoch, and goes
    /// back to its best state when the score falls by more than 50,000 ppm.
    ///
    /// # Errors
    /// [`Error::OutOfRange`] for no question.
    pub fn new(queries: u32) -> Result<Self> {
        let queries = NonZeroU32::new(queries).ok_or(Error::OutOfRange { field: "queries" })?;
        Ok(Self {
            queries,
            epochs: 3,
            batch: NonZeroU32::MIN.saturating_add(49),
            attempts: 5,
            temperature: 0.7,
            evaluation_temperature: 0.3,
            max_drop_ppm: 50_000,
            baseline: true,
            each_batch: false,
        })
    }

    /// Sets how often all questions are gone through.
    pub fn epochs(mut self, epochs: u32) -> Self {
        self.epochs = epochs;
        self
    }

    /// Sets how many questions make a batch.
    ///
    /// # Errors
    /// [`Error::OutOfRange`] for 0.
    pub fn batch(mut self, questions: u32) -> Result<Self> {
        self.batch = NonZeroU32::new(questions).ok_or(Error::OutOfRange { field: "batch" })?;
        Ok(self)
    }

    /// Sets how often each question is attempted.
    pub fn attempts(mut self, attempts: u32) -> Self {
        self.attempts = attempts;
        self
    }

    /// Sets the temperatures of attempts and of evaluation.
    pub fn temperatures(mut self, attempts: f32, evaluation: f32) -> Self {
        self.temperature = attempts;
        self.evaluation_temperature = evaluation;
        self
    }

    /// Sets by how much the score may fall below the best one before the library goes back to that state.
    pub fn max_drop_ppm(mut self, drop: u32) -> Self {
        self.max_drop_ppm = drop;
        self
    }

    /// Whether the library is scored before it learns; without, the first epoch cannot be taken back.
    pub fn baseline(mut self, baseline: bool) -> Self {
        self.baseline = baseline;
        self
    }

    /// Whether the library is scored after each batch rather than after each epoch.
    pub fn score_each_batch(mut self, each: bool) -> Self {
        self.each_batch = each;
        self
    }

    fn batches(&self) -> u32 {
        self.queries.get().div_ceil(self.batch.get())
    }
}

/// What is to be done next.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum Step {
    /// Attempt these questions, put the groups into a [`Round`](super::Round), and hand in what comes of it.
    Learn {
        /// Epoch, from 0.
        epoch: u32,
        /// Batch of the epoch, from 0.
        batch: u32,
        /// Questions by number, from 0.
        queries: Range<u32>,
        /// Attempts at each.
        attempts: u32,
        /// Sampling temperature.
        temperature: f32,
    },
    /// Score the library on questions held out, and hand in the score.
    Score {
        /// Epoch, from 0.
        epoch: u32,
        /// Sampling temperature.
        temperature: f32,
    },
    /// Nothing.
    Done,
}

/// What a score led to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Verdict {
    /// There was none: nothing is compared or taken back.
    Unscored,
    /// As good as any before.
    Best,
    /// Worse, within what is allowed.
    Kept,
    /// The library went back to its best state.
    Restored,
}

/// The course of a training, without input or output: what to do [next](Self::step), and where the best state is.
///
/// It changes the library in [`learned`](Self::learned) and [`scored`](Self::scored) alone. [`train`](super::train) is
/// the loop over it.
#[derive(Debug, Clone, PartialEq)]
pub struct TrainingFreeGrpo {
    config: TrainingConfig,
    state: TrainingState,
}

impl TrainingFreeGrpo {
    /// A training from the state of this library.
    pub fn new(config: TrainingConfig, library: &Library) -> Self {
        let phase = match (config.epochs, config.baseline) {
            (0, _) => Phase::Done,
            (_, true) => Phase::Baseline,
            (_, false) => Phase::Batch,
        };
        let base = library.state_root();
        let state = TrainingState { epoch: 0, batch: 0, phase, base, best: None, calls: 0, tokens: 0 };
        Self { config, state }
    }

    /// Goes on where a training stopped, with the same configuration and the library as it was then.
    ///
    /// # Errors
    /// [`Error::StaleBase`] if the library is in another state; [`Library::restore`] brings it back to
    /// [`TrainingState::base`]. [`Error::OutOfRange`] for an epoch or batch that the configuration does not have.
    pub fn resume(config: TrainingConfig, state: TrainingState, library: &Library) -> Result<Self> {
        if library.state_root() != state.base {
            return Err(Error::StaleBase);
        }
        if state.phase != Phase::Done && (state.epoch >= config.epochs || state.batch >= config.batches()) {
            return Err(Error::OutOfRange { field: "epoch" });
        }
        Ok(Self { config, state })
    }

    /// Where it is; to be kept with the library between steps.
    pub fn state(&self) -> &TrainingState {
        &self.state
    }

    /// What is to be done next.
    pub fn step(&self) -> Step {
        let TrainingState { epoch, batch, phase, .. } = self.state;
        match phase {
            Phase::Batch => {
                let size = self.config.batch.get();
                // Below the number of queries.
                let start = batch * size;
                let queries = start..start.saturating_add(size).min(self.config.queries.get());
                let (attempts, temperature) = (self.config.attempts, self.config.temperature);
                Step::Learn { epoch, batch, queries, attempts, temperature }
            }
            Phase::Baseline | Phase::Score => Step::Score { epoch, temperature: self.config.evaluation_temperature },
            Phase::Done => Step::Done,
        }
    }

    /// Applies what the batch came to, and goes on.
    ///
    /// # Errors
    /// [`Error::WrongState`] if the next step is another; those of [`Finished::apply`]. Nothing is changed then.
    pub fn learned(&mut self, library: &mut Library, stamp: &Stamp, finished: &Finished) -> Result<Applied> {
        if self.state.phase != Phase::Batch {
            return Err(Error::WrongState { state: "not at a batch" });
        }
        self.check(library)?;
        let applied = finished.apply(library, stamp)?;
        self.state.base = library.state_root();
        self.state.calls = self.state.calls.saturating_add(finished.report.calls);
        let tokens = finished.report.prompt_tokens.saturating_add(finished.report.completion_tokens);
        self.state.tokens = self.state.tokens.saturating_add(tokens);
        if self.config.each_batch || self.last_batch() {
            self.state.phase = Phase::Score;
        } else {
            self.state.batch += 1;
        }
        Ok(applied)
    }

    /// Takes the score (at most 1,000,000 ppm) of the library, if there is one, and goes on: a state as good as any
    /// before becomes the best; one that is worse by more than allowed, or at the end by anything, is left for it.
    ///
    /// # Errors
    /// [`Error::WrongState`] if the next step is another; [`Error::OutOfRange`] for the score; [`Error::UnknownState`] if
    /// the best state is not of this library; those of the stamp. Nothing is changed then.
    pub fn scored(&mut self, library: &mut Library, stamp: &Stamp, score_ppm: Option<u32>) -> Result<Verdict> {
        if !matches!(self.state.phase, Phase::Baseline | Phase::Score) {
            return Err(Error::WrongState { state: "not at a score" });
        }
        if score_ppm.is_some_and(|score| score > 1_000_000) {
            return Err(Error::OutOfRange { field: "score" });
        }
        self.check(library)?;
        let state = self.state.base;
        let last = self.state.phase == Phase::Score && self.last_batch() && self.state.epoch + 1 >= self.config.epochs;
        let verdict = match (score_ppm, self.state.best) {
            (None, None) => Verdict::Unscored,
            // Nothing says that the last state is as good as the best.
            (None, Some(best)) if last && best.state != state => self.restore(library, stamp, best)?,
            (None, Some(_)) => Verdict::Unscored,
            (Some(score_ppm), best) if best.is_none_or(|best| score_ppm >= best.score_ppm) => {
                self.state.best = Some(Best { score_ppm, state });
                Verdict::Best
            }
            (Some(score), Some(best)) if last || score.saturating_add(self.config.max_drop_ppm) < best.score_ppm => {
                self.restore(library, stamp, best)?
            }
            (Some(_), _) => Verdict::Kept,
        };
        let state = &mut self.state;
        match state.phase {
            Phase::Baseline => state.phase = Phase::Batch,
            _ if last => state.phase = Phase::Done,
            _ if state.batch + 1 >= self.config.batches() => {
                (state.epoch, state.batch, state.phase) = (state.epoch + 1, 0, Phase::Batch);
            }
            _ => (state.batch, state.phase) = (state.batch + 1, Phase::Batch),
        }
        Ok(verdict)
    }

    fn restore(&mut self, library: &mut Library, stamp: &Stamp, best: Best) -> Result<Verdict> {
        library.restore(stamp, &best.state)?;
        self.state.base = best.state;
        Ok(Verdict::Restored)
    }

    fn last_batch(&self) -> bool {
        self.state.batch + 1 >= self.config.batches()
    }

    fn check(&self, library: &Library) -> Result<()> {
        if library.state_root() == self.state.base { Ok(()) } else { Err(Error::StaleBase) }
    }
}
