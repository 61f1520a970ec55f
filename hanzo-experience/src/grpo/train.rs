use core::future::Future;

use super::{AsyncLlm, Event, Group, Llm, Report, Round, RoundConfig, Step, TrainingFreeGrpo, Verdict};
use crate::{Error, Library, Stamp};

/// What a training needs of its surroundings: attempts at questions with their rewards, scores, and the time.
///
/// It gets the same model as the rounds, so that budgets and records of it cover all calls.
pub trait Environment<L> {
    /// Why attempting or scoring failed.
    type Error;

    /// Attempts question `query` (from 0), `attempts` times, with experiences of the library as it sees fit.
    ///
    /// # Errors
    /// What ends the training; the library is then as it was before the batch.
    fn attempt(
        &mut self,
        llm: &mut L,
        library: &Library,
        query: u32,
        attempts: u32,
        temperature: f32,
    ) -> Result<Group, Self::Error>;

    /// Scores the library on questions held out, in parts per million, if there are such.
    ///
    /// # Errors
    /// What ends the training.
    fn score(&mut self, llm: &mut L, library: &Library, temperature: f32) -> Result<Option<u32>, Self::Error>;

    /// Unix seconds, for log entries and contents; never before an earlier answer.
    fn now(&mut self) -> u64;

    /// Is told what happens.
    fn event(&mut self, _event: &Event) {}

    /// Is given the state and the library after each step, to keep both.
    ///
    /// # Errors
    /// What ends the training.
    fn checkpoint(&mut self, _training: &TrainingFreeGrpo, _library: &Library) -> Result<(), Self::Error> {
        Ok(())
    }
}

/// As [`Environment`], for an [`AsyncLlm`].
pub trait AsyncEnvironment<L> {
    /// Why attempting or scoring failed.
    type Error;

    /// As [`Environment::attempt`].
    fn attempt(
        &mut self,
        llm: &mut L,
        library: &Library,
        query: u32,
        attempts: u32,
        temperature: f32,
    ) -> impl Future<Output = Result<Group, Self::Error>> + Send;

    /// As [`Environment::score`].
    fn score(
        &mut self,
        llm: &mut L,
        library: &Library,
        temperature: f32,
    ) -> impl Future<Output = Result<Option<u32>, Self::Error>> + Send;

    /// As [`Environment::now`].
    fn now(&mut self) -> u64;

    /// As [`Environment::event`].
    fn event(&mut self, _event: &Event) {}

    /// As [`Environment::checkpoint`].
    ///
    /// # Errors
    /// What ends the training.
    fn checkpoint(&mut self, _training: &TrainingFreeGrpo, _library: &Library) -> Result<(), Self::Error> {
        Ok(())
    }
}

/// Why a training ended early. The library is as it was before the step; what was done before stays.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TrainError<E, L> {
    /// The environment failed.
    #[error("the environment failed")]
    Environment(E),
    /// A call failed in a way that ends the run.
    #[error("the model failed")]
    Llm(L),
    /// The library refused a step.
    #[error(transparent)]
    Refused(#[from] Error),
}

/// What a training did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TrainingReport {
    /// What each batch did.
    pub rounds: Vec<Report>,
    /// Each score in parts per million, with its epoch and what it led to.
    pub scores: Vec<(u32, u32, Verdict)>,
}

/// Runs a training to its end.
///
/// New experiences are by the author of `settings`, at the time of the environment; log entries are `by` this name.
///
/// # Errors
/// [`TrainError`]; the training can go on with another call of this.
pub fn train<L: Llm, E: Environment<L>>(
    training: &mut TrainingFreeGrpo,
    library: &mut Library,
    environment: &mut E,
    llm: &mut L,
    settings: &RoundConfig,
    by: &str,
) -> Result<TrainingReport, TrainError<E::Error, L::Error>> {
    let mut report = TrainingReport::default();
    loop {
        match training.step() {
            Step::Learn { epoch, batch, queries, attempts, temperature } => {
                let mut groups = Vec::new();
                for query in queries {
                    let group = environment.attempt(llm, library, query, attempts, temperature);
                    groups.push(group.map_err(TrainError::Environment)?);
                }
                environment.event(&Event::Rollouts { epoch, batch, groups: groups.len() });
                let stamp = Stamp::new(environment.now(), by);
                let mut round = Round::new(library, &groups, at(settings, &stamp))?;
                round.run_watched(llm, &mut |event| environment.event(event)).map_err(TrainError::Llm)?;
                let event = learn(training, library, &stamp, round, &mut report)?;
                environment.event(&event);
            }
            Step::Score { epoch, temperature } => {
                let score = environment.score(llm, library, temperature).map_err(TrainError::Environment)?;
                let stamp = Stamp::new(environment.now(), by);
                for event in score_step(training, library, &stamp, epoch, score, &mut report)? {
                    environment.event(&event);
                }
            }
            Step::Done => return Ok(report),
        }
        environment.checkpoint(training, library).map_err(TrainError::Environment)?;
    }
}

/// As [`train`], under any runtime.
///
/// # Errors
/// Those of [`train`].
pub async fn train_async<L: AsyncLlm, E: AsyncEnvironment<L>>(
    training: &mut TrainingFreeGrpo,
    library: &mut Library,
    environment: &mut E,
    llm: &mut L,
    settings: &RoundConfig,
    by: &str,
) -> Result<TrainingReport, TrainError<E::Error, L::Error>> {
    let mut report = TrainingReport::default();
    loop {
        match training.step() {
            Step::Learn { epoch, batch, queries, attempts, temperature } => {
                let mut groups = Vec::new();
                for query in queries {
                    let group = environment.attempt(llm, library, query, attempts, temperature).await;
                    groups.push(group.map_err(TrainError::Environment)?);
                }
                environment.event(&Event::Rollouts { epoch, batch, groups: groups.len() });
                let stamp = Stamp::new(environment.now(), by);
                let mut round = Round::new(library, &groups, at(settings, &stamp))?;
                round.run_async(llm).await.map_err(TrainError::Llm)?;
                round.take_events().iter().for_each(|event| environment.event(event));
                let event = learn(training, library, &stamp, round, &mut report)?;
                environment.event(&event);
            }
            Step::Score { epoch, temperature } => {
                let score = environment.score(llm, library, temperature).await.map_err(TrainError::Environment)?;
                let stamp = Stamp::new(environment.now(), by);
                for event in score_step(training, library, &stamp, epoch, score, &mut report)? {
                    environment.event(&event);
                }
            }
            Step::Done => return Ok(report),
        }
        environment.checkpoint(training, library).map_err(TrainError::Environment)?;
    }
}

/// The settings, with the time of this batch.
fn at(settings: &RoundConfig, stamp: &Stamp) -> RoundConfig {
    settings.clone().created_at(stamp.at)
}

fn learn(
    training: &mut TrainingFreeGrpo,
    library: &mut Library,
    stamp: &Stamp,
    round: Round,
    report: &mut TrainingReport,
) -> Result<Event, Error> {
    let finished = round.finish()?;
    training.learned(library, stamp, &finished)?;
    report.rounds.push(finished.report);
    Ok(Event::Applied { operations: finished.operations.len(), size: library.len() })
}

fn score_step(
    training: &mut TrainingFreeGrpo,
    library: &mut Library,
    stamp: &Stamp,
    epoch: u32,
    score: Option<u32>,
    report: &mut TrainingReport,
) -> Result<Vec<Event>, Error> {
    let verdict = training.scored(library, stamp, score)?;
    let mut events = Vec::new();
    if let Some(score_ppm) = score {
        report.scores.push((epoch, score_ppm, verdict));
        events.push(Event::Scored { epoch, score_ppm, best: verdict == Verdict::Best });
    }
    if let (Verdict::Restored, Some(best)) = (verdict, training.state().best()) {
        events.push(Event::Restored { score_ppm: best.score_ppm });
    }
    Ok(events)
}
