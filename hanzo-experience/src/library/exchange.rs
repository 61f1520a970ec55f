//! What comes from outside: records and contents of other replicas, and contents of files.

use std::collections::BTreeMap;

use super::plan::Plan;
use super::{Applied, Library, Stamp, check_vote};
use crate::crdt::{Equivocation, Record, VoteVerifier};
use crate::merkle::StateRoot;
use crate::{Content, Error, ExperienceId, Result};

/// Records and contents of another replica, as [`Session`](crate::sync::Session) collects them.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Delta {
    pub(crate) contents: BTreeMap<ExperienceId, Content>,
    pub(crate) records: BTreeMap<ExperienceId, Record>,
}

impl Delta {
    /// Nothing.
    pub fn new() -> Self {
        Self::default()
    }

    /// Everything that a replica knows.
    pub fn of(library: &Library) -> Self {
        Self { contents: library.contents.clone(), records: library.records.clone() }
    }

    /// Adds a content.
    pub fn content(mut self, content: Content) -> Self {
        self.contents.insert(content.id(), content);
        self
    }

    /// Adds a record, joined with an earlier one of its id.
    pub fn record(mut self, record: Record) -> Self {
        self.join(record);
        self
    }

    pub(crate) fn join(&mut self, record: Record) {
        let id = *record.id();
        // Both are of one id.
        let joined = self.records.get(&id).and_then(|known| known.join(&record).ok());
        self.records.insert(id, joined.unwrap_or(record));
    }

    /// Number of records.
    pub fn len(&self) -> usize {
        self.records.len()
    }

    /// Whether there is neither a record nor a content.
    pub fn is_empty(&self) -> bool {
        self.records.is_empty() && self.contents.is_empty()
    }
}

/// What a merge of replicas did.
#[derive(Debug, Clone, PartialEq)]
pub struct Merged {
    /// The log entry and what became active or was archived.
    pub applied: Applied,
    /// Ids of the records that grew, ascending.
    pub changed: Vec<ExperienceId>,
    /// Voters caught with two votes at one logical time.
    pub equivocations: Vec<Equivocation>,
}

impl Library {
    /// Joins what another replica knows, then prunes down to the capacity. What becomes active or is archived by it is
    /// one `sync` entry of the log.
    ///
    /// An experience is active if its record says present and its content is known. Contents without a record are kept
    /// as archived. What this replica pruned stays pruned until it is added again. Near copies are not looked for: they
    /// would be found in another order on each replica.
    ///
    /// # Errors
    /// [`Error::BadVote`] for a vote that is new here and that the verifier refuses; those of the stamp, as for
    /// [`apply`](Self::apply). Nothing is changed then.
    pub fn merge<V: VoteVerifier + ?Sized>(&mut self, stamp: &Stamp, delta: &Delta, verifier: &V) -> Result<Merged> {
        let mut equivocations = Vec::new();
        for record in delta.records.values() {
            let known = self.records.get(record.id());
            for (voter, vote) in record.votes() {
                if known.and_then(|known| known.vote(voter)) != Some(vote) {
                    check_vote(self.config.origin(), record.id(), voter, vote, verifier)?;
                }
            }
            equivocations.extend(known.into_iter().flat_map(|known| known.equivocations(record)));
        }
        let mut plan = Plan::new(self, stamp)?;
        let changed = plan.absorb(delta)?;
        let pruned = plan.prune(self.config.capacity)?;
        let changes = plan.finish();
        Ok(Merged { applied: self.commit(changes, Vec::new(), pruned), changed, equivocations })
    }

    /// Adds contents as they are, with their ids and parents, as one `import` entry, then prunes down to the capacity.
    /// Near copies are not looked for. Those that are active already stay unchanged.
    ///
    /// # Errors
    /// Those of the stamp, as for [`apply`](Self::apply).
    pub fn import(&mut self, stamp: &Stamp, contents: impl IntoIterator<Item = Content>) -> Result<Applied> {
        let mut plan = Plan::new(self, stamp)?;
        plan.import(contents)?;
        let pruned = plan.prune(self.config.capacity)?;
        let changes = plan.finish();
        Ok(self.commit(changes, Vec::new(), pruned))
    }

    /// As [`import`](Self::import), but only if the contents are exactly those of a state that is trusted, such as one
    /// that a [registry](crate::registry) holds the commitment of.
    ///
    /// # Errors
    /// [`Error::RootMismatch`] if their ids do not make this state; those of the stamp.
    pub fn import_state(
        &mut self,
        stamp: &Stamp,
        contents: impl IntoIterator<Item = Content>,
        state: &StateRoot,
    ) -> Result<Applied> {
        let contents: Vec<Content> = contents.into_iter().collect();
        let tree = crate::merkle::StateTree::new(contents.iter().map(Content::id));
        if tree.root() != *state {
            return Err(Error::RootMismatch);
        }
        self.import(stamp, contents)
    }
}
