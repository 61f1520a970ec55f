//! Training-Free GRPO: lessons from groups of attempts, in place of gradients (arXiv 2510.08191).
//!
//! For each question the caller makes a [`Group`] of attempts with rewards. A [`Round`] then has a model summarize each
//! attempt, say for each group why the better attempts won, as at most three operations on the library, and consolidate
//! the operations of all groups; what comes out is applied to the [`Library`](crate::Library) in one batch. Groups whose
//! rewards are all equal teach nothing and cost no call. [`TrainingFreeGrpo`] repeats this over epochs, keeps the state
//! of the library that scored best on questions held out, and goes back to it when the score falls.
//!
//! Replies are read by a strict [grammar](parse_operations): every operation is applied or reported with its reason, and
//! a reply with errors gets one request for repair that lists them. Whatever a model or its data say, a batch changes the
//! library as a whole or not at all, ids stay, and no text gets past the bounds of [`Text`](crate::Text).
//!
//! [`Round`] and [`TrainingFreeGrpo`] do no input or output: they hand out prompts and take replies, in any order and
//! any number at once. [`Round::run`] and [`train`] are loops over them for an [`Llm`], [`Round::run_async`] and
//! [`train_async`] for an [`AsyncLlm`] under any runtime. [`Budgeted`], [`Retrying`] and [`Recorded`] wrap a model: the
//! first stops before a limit, the second tries again, the third answers what was answered before, so that a run that
//! was interrupted can be done again without paying twice.
//!
//! ```
//! use hanzo_experience::grpo::{Author, Group, Rollout, Round, RoundConfig, ScriptedLlm, Stage};
//! use hanzo_experience::{Library, LibraryConfig, Stamp};
//!
//! let mut library = Library::new(LibraryConfig::new("example.com/lessons".parse()?))?;
//! let attempts = [("guessed 7", 0.0), ("tried n = 1, 2, 3, saw the pattern, proved it", 1.0)];
//! let rollouts = attempts.map(|(trajectory, reward)| Rollout::new(trajectory).reward(reward));
//! let group = Group::new("How many ways to tile a 2 x n board with dominoes?", rollouts);
//!
//! let mut model = ScriptedLlm::new()
//!     .rule(Stage::Summarize, "guessed", "Guessed without checking.")
//!     .rule(Stage::Summarize, "proved", "Tried small cases, then proved the pattern.")
//!     .rule(Stage::Extract, "", r#"[{"option": "add", "experience": "When counting, try small cases first."}]"#)
//!     .rule(Stage::Consolidate, "", r#"[{"option": "add", "experience": "When counting, try small cases first."}]"#);
//! let author = Author::new("math.counting".parse()?, "trainer", 1_760_702_400);
//! let mut round = Round::new(&library, &[group], RoundConfig::new(author))?;
//! round.run(&mut model).expect("the script answers");
//! let finished = round.finish()?;
//! finished.apply(&mut library, &Stamp::new(1_760_702_400, "trainer"))?;
//! assert_eq!(library.iter().next().unwrap().1.text().as_str(), "When counting, try small cases first.");
//! assert_eq!(finished.report.calls, 4);
//! # Ok::<(), hanzo_experience::Error>(())
//! ```

mod contribution;
mod federated;
mod grammar;
mod llm;
mod prompts;
mod report;
mod rollout;
mod round;
mod scripted;
mod state;
mod train;
mod training;
mod wrappers;

pub use contribution::Contribution;
pub use federated::{FederatedRound, consolidate};
pub use grammar::{Aliases, OperationError, Parsed, ParsedOperation, Rejection, parse_operations};
pub use llm::{AsyncLlm, Completion, Llm, Prompt, Stage};
pub use prompts::{Template, Templates};
pub use report::{Event, Rejected, Report, SkipCause};
pub use rollout::{Group, Rollout, group_advantages};
pub use round::{Author, Finished, Request, Round, RoundConfig};
pub use scripted::{ScriptError, ScriptedLlm};
pub use state::{Best, TrainingState};
pub use train::{AsyncEnvironment, Environment, TrainError, TrainingReport, train, train_async};
pub use training::{Step, TrainingConfig, TrainingFreeGrpo, Verdict};
pub use wrappers::{BudgetError, Budgeted, Recorded, Retrying, Transcript};
