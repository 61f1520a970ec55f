//! A batch worked out beside the library: whatever can fail fails here, before anything changes.

use std::collections::{BTreeMap, BTreeSet};

use super::{Delta, Library, Mode, Operation, Outcome, SkipReason, Stamp};
use crate::crdt::Record;
use crate::entry::check_stamp;
use crate::merkle::StateTree;
use crate::quality::best;
use crate::retrieval::dot;
use crate::{
    Content, Dedup, Draft, Entry, EntryKind, Error, ExperienceId, Merger, PruneItem, Result, TokenSet, prune_order,
};

/// What a plan changes in its library.
pub(super) struct Changes {
    pub(super) contents: BTreeMap<ExperienceId, Content>,
    pub(super) records: BTreeMap<ExperienceId, Record>,
    pub(super) tokens: BTreeMap<ExperienceId, TokenSet>,
    pub(super) rows: BTreeMap<ExperienceId, Vec<f32>>,
    pub(super) active: BTreeSet<ExperienceId>,
    pub(super) entries: Vec<Entry>,
    /// None if no entry changed the state.
    pub(super) state: Option<StateTree>,
}

/// A batch in the making.
pub(super) struct Plan<'a> {
    library: &'a Library,
    stamp: &'a Stamp,
    /// Ids active after the last entry.
    recorded: BTreeSet<ExperienceId>,
    /// Which operation has taken which id, all active before the batch.
    claims: BTreeMap<ExperienceId, usize>,
    merger: Option<&'a dyn Merger>,
    changes: Changes,
}

impl<'a> Plan<'a> {
    pub(super) fn new(library: &'a Library, stamp: &'a Stamp) -> Result<Self> {
        check_stamp(stamp.at, &stamp.by, &stamp.reference)?;
        if library.entries.last().is_some_and(|last| stamp.at < last.at()) {
            return Err(Error::OutOfRange { field: "at" });
        }
        Ok(Self {
            library,
            stamp,
            recorded: library.active.clone(),
            claims: BTreeMap::new(),
            merger: None,
            changes: Changes {
                contents: BTreeMap::new(),
                records: BTreeMap::new(),
                tokens: BTreeMap::new(),
                rows: BTreeMap::new(),
                active: library.active.clone(),
                entries: Vec::new(),
                state: None,
            },
        })
    }

    pub(super) fn merger(mut self, merger: &'a dyn Merger) -> Self {
        self.merger = Some(merger);
        self
    }

    pub(super) fn finish(self) -> Changes {
        self.changes
    }

    /// Works the operations out by precedence (delete, merge, modify, add), one log entry a kind.
    pub(super) fn operations(&mut self, mode: Mode, operations: &[Operation]) -> Result<Vec<Outcome>> {
        let mut outcomes = vec![Outcome::Kept; operations.len()];
        let mut plain = BTreeSet::new();
        for kind in [EntryKind::Delete, EntryKind::Merge, EntryKind::Modify, EntryKind::Add] {
            for (index, operation) in operations.iter().enumerate() {
                let outcome = match (kind, operation) {
                    (EntryKind::Delete, Operation::Delete { id }) => self.delete(index, *id),
                    (EntryKind::Merge, Operation::Merge { ids, draft }) => self.merge(index, ids, draft.as_ref()),
                    (EntryKind::Modify, Operation::Modify { id, draft }) => self.modify(index, *id, draft),
                    (EntryKind::Add, Operation::Add(draft)) => self.add(draft),
                    _ => continue,
                };
                outcomes[index] = match (outcome, mode) {
                    (Ok(outcome), _) => outcome,
                    (Err(error), Mode::Lenient) => Outcome::Rejected(error),
                    (Err(error), Mode::Atomic) => return Err(error),
                };
                if let Outcome::Added { id } = outcomes[index] {
                    plain.insert(id);
                }
            }
            if kind == EntryKind::Add {
                // Copies merged while adding are one merge after all plain additions.
                let grown = self.recorded.union(&plain).copied().collect();
                self.enter(EntryKind::Add, grown)?;
                self.enter(EntryKind::Merge, self.changes.active.clone())?;
            } else {
                self.enter(kind, self.changes.active.clone())?;
            }
        }
        Ok(outcomes)
    }

    /// Archives what is over `capacity`, worst first.
    pub(super) fn prune(&mut self, capacity: usize) -> Result<Vec<ExperienceId>> {
        let excess = self.changes.active.len().saturating_sub(capacity);
        if excess == 0 {
            return Ok(Vec::new());
        }
        let max_usage = self.max_usage();
        let items: Result<Vec<PruneItem>> =
            self.changes.active.iter().map(|id| self.prune_item(id, max_usage)).collect();
        let mut order = prune_order(&items?, self.library.config.prune_policy, self.stamp.at);
        order.truncate(excess);
        for id in &order {
            self.changes.active.remove(id);
        }
        self.enter(EntryKind::Prune, self.changes.active.clone())?;
        Ok(order)
    }

    /// Goes to a set of ids that are all known.
    pub(super) fn restore(&mut self, active: BTreeSet<ExperienceId>) -> Result<()> {
        self.changes.active = active;
        self.enter(EntryKind::Restore, self.changes.active.clone())
    }

    /// Joins records, takes contents, and enters what follows for the active set; the ids of records that grew.
    pub(super) fn absorb(&mut self, delta: &Delta) -> Result<Vec<ExperienceId>> {
        for (id, content) in &delta.contents {
            if self.content(id).is_err() {
                self.changes.contents.insert(*id, content.clone());
            }
        }
        let mut changed = Vec::new();
        for (id, record) in &delta.records {
            let known = self.record(id);
            let joined = match known {
                Some(known) => known.join(record)?,
                None => record.clone(),
            };
            let moved = known.is_none_or(|known| known.presence() != joined.presence());
            let present = !joined.presence().is_removed() && self.content(id).is_ok();
            if known != Some(&joined) {
                changed.push(*id);
                self.changes.records.insert(*id, joined);
            }
            if !present {
                self.changes.active.remove(id);
            } else if moved {
                self.changes.active.insert(*id);
            }
        }
        // Contents that arrive after their records.
        let late = self.changes.contents.keys().filter(|id| !self.library.contents.contains_key(id));
        let late = late.filter(|id| self.record(id).is_some_and(|record| !record.presence().is_removed()));
        let late: Vec<ExperienceId> = late.copied().collect();
        self.changes.active.extend(late);
        self.enter(EntryKind::Sync, self.changes.active.clone())?;
        Ok(changed)
    }

    /// Makes contents active as they are.
    pub(super) fn import(&mut self, contents: impl IntoIterator<Item = Content>) -> Result<()> {
        for content in contents {
            let id = content.id();
            if !self.changes.active.contains(&id) {
                self.activate(id, content, None);
            }
        }
        self.enter(EntryKind::Import, self.changes.active.clone())
    }

    fn delete(&mut self, index: usize, id: ExperienceId) -> Result<Outcome> {
        if let Some(skipped) = self.taken(&[id])? {
            return Ok(skipped);
        }
        self.take(index, &[id]);
        Ok(Outcome::Deleted { id })
    }

    fn merge(&mut self, index: usize, ids: &[ExperienceId], draft: Option<&Draft>) -> Result<Outcome> {
        let from: BTreeSet<ExperienceId> = ids.iter().copied().collect();
        let from: Vec<ExperienceId> = from.into_iter().collect();
        if from.len() < 2 {
            return Err(Error::MergeTooSmall { got: from.len() });
        }
        if let Some(skipped) = self.taken(&from)? {
            return Ok(skipped);
        }
        let (content, row) = self.merged(&from, draft)?;
        self.take(index, &from);
        let into = self.replace(&from, content, row);
        Ok(Outcome::Merged { from, into })
    }

    fn modify(&mut self, index: usize, id: ExperienceId, draft: &Draft) -> Result<Outcome> {
        if let Some(skipped) = self.taken(&[id])? {
            return Ok(skipped);
        }
        let row = self.unit(draft)?;
        let content = Content::new(draft.clone(), vec![id])?;
        self.take(index, &[id]);
        let into = self.replace(&[id], content, row);
        Ok(Outcome::Modified { from: id, into })
    }

    fn add(&mut self, draft: &Draft) -> Result<Outcome> {
        let row = self.unit(draft)?;
        let content = Content::new(draft.clone(), Vec::new())?;
        let id = content.id();
        if self.changes.active.contains(&id) {
            return Ok(Outcome::Unchanged { id });
        }
        let Some(dedup) = &self.library.config.dedup else {
            self.activate(id, content, row);
            return Ok(Outcome::Added { id });
        };
        let tokens = TokenSet::new(content.text().as_str());
        let row = row.or_else(|| self.row(&id).map(<[f32]>::to_vec));
        let copy = self.copy_of(dedup, &content, &tokens, row.as_deref());
        self.changes.tokens.insert(id, tokens);
        let Some(copy) = copy else {
            self.activate(id, content, row);
            return Ok(Outcome::Added { id });
        };
        if self.content(&copy)?.parents().contains(&id) {
            return Ok(Outcome::Unchanged { id: copy });
        }
        if !dedup.merges() {
            return Ok(Outcome::Skipped(SkipReason::Duplicate { of: copy }));
        }
        let from = if id < copy { vec![id, copy] } else { vec![copy, id] };
        // The new content is kept as archived, so that the parents of the merged one can be read.
        self.changes.contents.insert(id, content);
        self.record_mut(&id).remove();
        self.changes.rows.extend(row.map(|row| (id, row)));
        let (content, row) = self.merged(&from, None)?;
        self.changes.active.remove(&copy);
        let into = self.replace(&from, content, row);
        Ok(Outcome::Merged { from, into })
    }

    /// The active content of the same domain that is most like this one and passes the gates; ties to the lowest id.
    fn copy_of(
        &self,
        dedup: &Dedup,
        content: &Content,
        tokens: &TokenSet,
        row: Option<&[f32]>,
    ) -> Option<ExperienceId> {
        let mut found: Option<(ExperienceId, usize, usize)> = None;
        for id in &self.changes.active {
            let same_domain = self.content(id).is_ok_and(|other| other.domain() == content.domain());
            let Some(other) = self.tokens(id).filter(|_| same_domain) else {
                continue;
            };
            let cosine = row.zip(self.row(id)).map(|(a, b)| dot(a, b));
            let alike = match cosine {
                Some(cosine) if !dedup.close(cosine) => false,
                // What is close may be a copy in other words.
                Some(_) => dedup.alike(tokens, other) || self.same(id, content),
                None => dedup.alike(tokens, other),
            };
            if !alike {
                continue;
            }
            let (both, either) = tokens.overlap(other);
            // Texts are at most 1024 bytes, so that the products are small.
            if found.is_none_or(|(_, best_both, best_either)| both * best_either > best_both * either) {
                found = Some((*id, both, either));
            }
        }
        found.map(|(id, _, _)| id)
    }

    /// The merger's verdict; without one, no.
    fn same(&self, id: &ExperienceId, content: &Content) -> bool {
        let verdict = self.merger.zip(self.content(id).ok());
        verdict.is_some_and(|(merger, other)| merger.same(other, content))
    }

    /// What replaces these ids, and its row.
    fn merged(&self, from: &[ExperienceId], draft: Option<&Draft>) -> Result<(Content, Option<Vec<f32>>)> {
        let contents: Vec<&Content> = from.iter().map(|id| self.content(id)).collect::<Result<_>>()?;
        let (mut merged, row) = match draft {
            Some(draft) => (draft.clone(), self.unit(draft)?),
            None => {
                if contents.windows(2).any(|pair| pair[0].domain() != pair[1].domain()) {
                    return Err(Error::DomainMismatch);
                }
                let max_usage = self.max_usage();
                let rated: Result<Vec<_>> = from.iter().map(|id| Ok((*id, self.quality(id, max_usage)?))).collect();
                let base = best(rated?).ok_or(Error::MergeTooSmall { got: from.len() })?;
                let content = self.content(&base)?;
                let draft = Draft::new(
                    content.text().clone(),
                    content.domain().clone(),
                    content.created_by(),
                    content.created_at(),
                );
                let draft = draft.model(content.model()).confidence_ppm(content.confidence_ppm());
                (draft, self.row(&base).map(<[f32]>::to_vec))
            }
        };
        for content in &contents {
            merged.confidence_ppm = merged.confidence_ppm.max(content.confidence_ppm());
            for example in content.examples() {
                if merged.examples.len() < Content::MAX_EXAMPLES && !merged.examples.contains(example) {
                    merged.examples.push(example.clone());
                }
            }
        }
        Ok((Content::new(merged, from.to_vec())?, row))
    }

    /// Makes `content` active with the usage of `from`; cannot fail.
    fn replace(&mut self, from: &[ExperienceId], content: Content, row: Option<Vec<f32>>) -> ExperienceId {
        let usage = from.iter().fold(0_u64, |sum, id| sum.saturating_add(self.usage(id)));
        let into = content.id();
        self.record_mut(&into).inherit(usage);
        self.activate(into, content, row);
        into
    }

    fn activate(&mut self, id: ExperienceId, content: Content, row: Option<Vec<f32>>) {
        self.changes.contents.insert(id, content);
        self.changes.rows.extend(row.map(|row| (id, row)));
        if self.library.config.dedup.is_some() && self.tokens(&id).is_none() {
            let tokens = self.content(&id).map(|content| TokenSet::new(content.text().as_str()));
            self.changes.tokens.extend(tokens.map(|tokens| (id, tokens)));
        }
        self.changes.active.insert(id);
    }

    /// Whether an operation before has one of these ids.
    fn taken(&self, ids: &[ExperienceId]) -> Result<Option<Outcome>> {
        for id in ids {
            if !self.library.active.contains(id) {
                return Err(Error::UnknownId { id: *id });
            }
        }
        let by = ids.iter().find_map(|id| self.claims.get(id).copied());
        Ok(by.map(|by| Outcome::Skipped(SkipReason::Superseded { by })))
    }

    fn take(&mut self, index: usize, ids: &[ExperienceId]) {
        for id in ids {
            self.claims.insert(*id, index);
            self.changes.active.remove(id);
        }
    }

    /// Adds the entry that leads to `active`, if it changes anything.
    fn enter(&mut self, kind: EntryKind, active: BTreeSet<ExperienceId>) -> Result<()> {
        let added: Vec<_> = active.difference(&self.recorded).copied().collect();
        let removed: Vec<_> = self.recorded.difference(&active).copied().collect();
        if added.is_empty() && removed.is_empty() {
            return Ok(());
        }
        // Pruning is a view of this replica, and what came from others brings its presence along.
        if !matches!(kind, EntryKind::Prune | EntryKind::Sync) {
            for id in &added {
                self.record_mut(id).add()?;
            }
            for id in &removed {
                self.record_mut(id).remove();
            }
        }
        let state = StateTree::new(active.iter().copied());
        let Stamp { at, by, reference } = self.stamp;
        let entry = Entry::new(kind, *at, by, reference, added, removed, state.root())?;
        self.changes.entries.push(entry);
        self.changes.state = Some(state);
        self.recorded = active;
        Ok(())
    }

    fn content(&self, id: &ExperienceId) -> Result<&Content> {
        let changed = self.changes.contents.get(id);
        let content = changed.or_else(|| self.library.contents.get(id));
        content.ok_or(Error::UnknownId { id: *id })
    }

    fn record(&self, id: &ExperienceId) -> Option<&Record> {
        self.changes.records.get(id).or_else(|| self.library.records.get(id))
    }

    /// The record of an id, to be changed; a new one if there is none.
    fn record_mut(&mut self, id: &ExperienceId) -> &mut Record {
        let known = self.library.records.get(id);
        self.changes.records.entry(*id).or_insert_with(|| known.cloned().unwrap_or_else(|| Record::new(*id)))
    }

    fn tokens(&self, id: &ExperienceId) -> Option<&TokenSet> {
        let changed = self.changes.tokens.get(id);
        changed.or_else(|| self.library.tokens.get(id))
    }

    fn row(&self, id: &ExperienceId) -> Option<&[f32]> {
        let changed = self.changes.rows.get(id).map(Vec::as_slice);
        changed.or_else(|| self.library.row(id))
    }

    /// The row of a draft's vector, if it has one.
    fn unit(&self, draft: &Draft) -> Result<Option<Vec<f32>>> {
        match (&draft.vector, &self.library.vectors) {
            (None, _) => Ok(None),
            (Some(_), None) => Err(Error::EncoderMismatch),
            (Some(vector), Some(index)) => index.unit(vector).map(Some),
        }
    }

    fn usage(&self, id: &ExperienceId) -> u64 {
        self.record(id).map_or(0, Record::usage)
    }

    fn max_usage(&self) -> u64 {
        self.changes.active.iter().map(|id| self.usage(id)).max().unwrap_or(0)
    }

    fn quality(&self, id: &ExperienceId, max_usage: u64) -> Result<u32> {
        let unknown = Record::new(*id);
        let evidence = self.record(id).unwrap_or(&unknown).evidence(self.content(id)?, max_usage);
        Ok(self.library.config.quality.score(&evidence))
    }

    fn prune_item(&self, id: &ExperienceId, max_usage: u64) -> Result<PruneItem> {
        Ok(PruneItem {
            id: *id,
            quality_ppm: self.quality(id, max_usage)?,
            created_at: self.content(id)?.created_at(),
            usage: self.usage(id),
        })
    }
}
