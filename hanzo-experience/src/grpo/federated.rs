use std::collections::BTreeMap;

use super::contribution::{check, targets};
use super::{Contribution, Round, RoundConfig};
use crate::merkle::StateRoot;
use crate::{Account, Error, ExperienceId, Library, Operation, Result};

/// A federated round: participants learn apart from one published state, their operations are consolidated together,
/// and the result is the next state. Data stay where they are; operations travel.
///
/// Contributions are taken in any order and consolidated in the order of their submitters.
///
/// ```
/// use hanzo_experience::grpo::{Contribution, FederatedRound};
/// use hanzo_experience::{Draft, Library, LibraryConfig, Operation, Stamp, Text};
///
/// let mut library = Library::new(LibraryConfig::new("example.com/shared".parse()?))?;
/// let mut round = FederatedRound::new(&library, 8);
/// for (who, lesson) in [("bob", "when stuck, draw a picture"), ("alice", "when done, test an extreme case")] {
///     let draft = Draft::new(Text::new(lesson)?, "math".parse()?, who, 1_760_702_400);
///     let operations = vec![Operation::Add(draft)];
///     round.submit(Contribution { base: library.state_root(), submitter: who.parse()?, operations })?;
/// }
/// let finished = round.without_model();
/// finished.apply(&mut library, &Stamp::new(1_760_702_400, "coordinator"))?;
/// assert_eq!(library.len(), 2);
/// // What was learned from the state before comes too late.
/// assert!(finished.apply(&mut library, &Stamp::new(1_760_702_401, "coordinator")).is_err());
/// # Ok::<(), hanzo_experience::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct FederatedRound {
    base: StateRoot,
    known: Vec<ExperienceId>,
    max_operations: usize,
    contributions: BTreeMap<Account, Vec<Operation>>,
}

impl FederatedRound {
    /// A round from the state of this library, with at most `max_operations` from each participant.
    pub fn new(library: &Library, max_operations: usize) -> Self {
        Self {
            base: library.state_root(),
            known: library.iter().map(|(id, _)| *id).collect(),
            max_operations,
            contributions: BTreeMap::new(),
        }
    }

    /// Takes a contribution, whole or not at all.
    ///
    /// # Errors
    /// [`Error::StaleBase`] for another state; [`Error::DuplicateSubmitter`]; [`Error::OutOfRange`] for more operations
    /// than allowed; [`Error::UnknownId`] for a target that is not in that state; those of
    /// [`Contribution::to_canonical`].
    pub fn submit(&mut self, contribution: Contribution) -> Result<()> {
        let Contribution { base, submitter, operations } = contribution;
        if base != self.base {
            return Err(Error::StaleBase);
        }
        if self.contributions.contains_key(&submitter) {
            return Err(Error::DuplicateSubmitter);
        }
        if operations.len() > self.max_operations {
            return Err(Error::OutOfRange { field: "operations" });
        }
        for operation in &operations {
            check(operation)?;
            if let Some(id) = targets(operation).iter().find(|id| self.known.binary_search(id).is_err()) {
                return Err(Error::UnknownId { id: *id });
            }
        }
        self.contributions.insert(submitter, operations);
        Ok(())
    }

    /// Who has contributed, ascending.
    pub fn submitters(&self) -> impl Iterator<Item = &Account> {
        self.contributions.keys()
    }

    /// The round in which a model consolidates the contributions. New drafts are by the author of `config`.
    ///
    /// # Errors
    /// [`Error::StaleBase`] if the library is in another state by now; those of [`Round::new`] for the author.
    pub fn with_model(&self, library: &Library, config: RoundConfig) -> Result<Round> {
        if library.state_root() != self.base {
            return Err(Error::StaleBase);
        }
        Round::of_operations(library, self.contributions.values().cloned().collect(), config)
    }

    /// The contributions as they are, under the library's own rules: see [`consolidate`].
    pub fn without_model(&self) -> super::Finished {
        let operations = consolidate(self.contributions.values().flatten().cloned());
        super::Finished { base: self.base, operations, report: super::Report::default() }
    }
}

/// One list of several, without a model: each operation once, in the order given, without those that keep.
///
/// Of operations that want the same experience, [`Library::apply`] prefers a delete to a merge to a modify, then the
/// first given; additions that are near copies are merged by its gate.
pub fn consolidate(operations: impl IntoIterator<Item = Operation>) -> Vec<Operation> {
    let mut kept: Vec<Operation> = Vec::new();
    for operation in operations {
        let again = |other: &Operation| same(other, &operation);
        if operation != Operation::Keep && !kept.iter().any(again) {
            kept.push(operation);
        }
    }
    kept
}

/// Whether two operations do the same, whoever proposes them.
fn same(a: &Operation, b: &Operation) -> bool {
    let text = |operation: &Operation| operation.draft().map(|draft| (draft.text.clone(), draft.domain.clone()));
    core::mem::discriminant(a) == core::mem::discriminant(b) && targets(a) == targets(b) && text(a) == text(b)
}
