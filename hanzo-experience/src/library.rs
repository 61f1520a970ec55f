//! The library: active experiences, what is known of them, and the log of how they came about.

mod config;
mod exchange;
mod operation;
mod plan;

pub use config::LibraryConfig;
pub use exchange::{Delta, Merged};
pub use operation::{Applied, Mode, Operation, Outcome, SkipReason, Stamp};

use std::collections::{BTreeMap, BTreeSet};

use plan::{Changes, Plan};

use crate::content::check_printable;
use crate::crdt::{Record, SignedVote, Vote, VoteVerifier, vote_message};
use crate::merkle::{Checkpoint, Log, Origin, StateRoot, StateTree};
use crate::retrieval::dot;
use crate::{
    Content, EmbedError, Embedder, Entry, Error, ExperienceId, Hit, Index, Merger, Result, Search, Snapshot, TokenSet,
    VectorIndex,
};

/// A bounded, verifiable library of experiences, in memory.
///
/// Every change goes through [`apply`](Self::apply) and leaves entries in an append-only log; the state tree commits to
/// the set of active experiences. Replaced and deleted contents stay archived, so that any earlier state can be
/// [restored](Self::restore). A call that returns an error has changed nothing.
///
/// ```
/// use hanzo_experience::{Draft, Library, LibraryConfig, Mode, Operation, Outcome, Search, Stamp, Text};
///
/// let config = LibraryConfig::new("example.com/experience/main".parse()?).encoder("toy-2d", 2);
/// let mut library = Library::new(config)?;
/// let before = library.checkpoint();
///
/// let text = Text::new("substitute small numbers first")?;
/// let draft = Draft::new(text, "math".parse()?, "alice", 1_760_702_400).vector(vec![0.6, 0.8]);
/// let applied = library.apply(&Stamp::new(1_760_702_460, "alice"), Mode::Atomic, &[Operation::Add(draft)])?;
/// let [Outcome::Added { id }] = applied.outcomes[..] else { panic!() };
///
/// assert_eq!(library.retrieve(&[1.0, 1.0], &Search::new(3))?[0].id, id);
/// library.state_root().verify_present(&id, &library.state().prove_present(&id)?)?;
/// let proof = library.log().prove_inclusion(applied.entries[0], applied.checkpoint.size())?;
/// let leaf = library.entries()[0].leaf();
/// applied.checkpoint.verify_inclusion(0, &leaf, &proof)?;
/// assert!(applied.checkpoint.size() > before.size());
/// # Ok::<(), hanzo_experience::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct Library {
    config: LibraryConfig,
    /// Every content ever active, and those that were merged while being added.
    contents: BTreeMap<ExperienceId, Content>,
    /// What is known of each content, and of contents that only other replicas have.
    records: BTreeMap<ExperienceId, Record>,
    active: BTreeSet<ExperienceId>,
    /// Tokens of the active texts, if copies are looked for.
    tokens: BTreeMap<ExperienceId, TokenSet>,
    /// Rows of active contents, if there is an encoder.
    vectors: Option<VectorIndex>,
    archived_rows: BTreeMap<ExperienceId, Vec<f32>>,
    entries: Vec<Entry>,
    log: Log,
    state: StateTree,
    revision: Revision,
}

/// Counts changes of what retrieval depends on outside the state; not part of what a library is.
#[derive(Debug, Clone, Copy, Default)]
struct Revision(u64);

impl PartialEq for Revision {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Library {
    /// An empty library.
    ///
    /// # Errors
    /// [`Error::OutOfRange`] for a capacity of 0, or a dimension of 0 or above 65,536; [`Error::OutOfRange`],
    /// [`Error::TooManyBytes`], [`Error::ForbiddenChar`] for the name of the replica.
    pub fn new(config: LibraryConfig) -> Result<Self> {
        check_printable("replica", &config.replica, 1)?;
        if config.capacity == 0 {
            return Err(Error::OutOfRange { field: "capacity" });
        }
        let vectors = match &config.encoder {
            Some((encoder, dimension)) => Some(VectorIndex::new(encoder, *dimension)?),
            None => None,
        };
        Ok(Self {
            config,
            contents: BTreeMap::new(),
            records: BTreeMap::new(),
            active: BTreeSet::new(),
            tokens: BTreeMap::new(),
            vectors,
            archived_rows: BTreeMap::new(),
            entries: Vec::new(),
            log: Log::new(),
            state: StateTree::default(),
            revision: Revision::default(),
        })
    }

    /// Applies a batch of operations, then prunes down to the capacity.
    ///
    /// Targets are those active before the batch. An id that several operations want goes to a delete before a merge
    /// before a modify, then to the first given; the others are reported as superseded. Additions come last. There is
    /// one log entry for each kind of change, in that order (additions that became merges after plain additions, pruning
    /// at the end), and none for what changes nothing.
    ///
    /// Each entry takes the root of the state after it, `O(n)` hashes of n active experiences; each addition is compared
    /// with every active text of its domain, unless [`LibraryConfig`] says otherwise.
    ///
    /// # Errors
    /// With [`Mode::Atomic`] the error of the first refused operation in that order: [`Error::UnknownId`],
    /// [`Error::MergeTooSmall`], [`Error::DomainMismatch`], those of [`Content::new`] and of the vector. In any mode
    /// [`Error::OutOfRange`], [`Error::TooManyBytes`] or [`Error::ForbiddenChar`] for the stamp.
    pub fn apply(&mut self, stamp: &Stamp, mode: Mode, operations: &[Operation]) -> Result<Applied> {
        let mut plan = Plan::new(self, stamp)?;
        let outcomes = plan.operations(mode, operations)?;
        let pruned = plan.prune(self.config.capacity)?;
        let changes = plan.finish();
        Ok(self.commit(changes, outcomes, pruned))
    }

    /// As [`apply`](Self::apply), where a merger may find copies that token sets do not show.
    ///
    /// # Errors
    /// Those of [`apply`](Self::apply).
    pub fn apply_with<M: Merger>(
        &mut self,
        stamp: &Stamp,
        mode: Mode,
        operations: &[Operation],
        merger: &M,
    ) -> Result<Applied> {
        let mut plan = Plan::new(self, stamp)?.merger(merger);
        let outcomes = plan.operations(mode, operations)?;
        let pruned = plan.prune(self.config.capacity)?;
        let changes = plan.finish();
        Ok(self.commit(changes, outcomes, pruned))
    }

    /// Prunes down to `keep` experiences, by the configured policy.
    ///
    /// # Errors
    /// Those of the stamp, as for [`apply`](Self::apply).
    pub fn prune(&mut self, stamp: &Stamp, keep: usize) -> Result<Applied> {
        let mut plan = Plan::new(self, stamp)?;
        let pruned = plan.prune(keep)?;
        let changes = plan.finish();
        Ok(self.commit(changes, Vec::new(), pruned))
    }

    /// Returns to the state with this root. The log goes on: it gets a `restore` entry, if anything changes.
    ///
    /// # Errors
    /// [`Error::UnknownState`] if there was none, or some of its contents are not kept; those of the stamp, as for [`apply`](Self::apply).
    pub fn restore(&mut self, stamp: &Stamp, root: &StateRoot) -> Result<Applied> {
        let mut plan = Plan::new(self, stamp)?;
        plan.restore(self.version(root)?)?;
        let changes = plan.finish();
        Ok(self.commit(changes, Vec::new(), Vec::new()))
    }

    /// Counts uses of an active experience, here.
    ///
    /// # Errors
    /// [`Error::UnknownId`]; [`Error::Overflow`] above 2^53 - 1.
    pub fn record_use(&mut self, id: &ExperienceId, times: u64) -> Result<()> {
        self.active_content(id)?;
        let Self { records, config, .. } = self;
        record_of(records, id)?.record_use(&config.replica, times)?;
        self.revision.0 += 1;
        Ok(())
    }

    /// Sets the vote of a voter (1..=128 bytes of printable ASCII) on an active experience; the latest counts.
    ///
    /// Whether the voter is who it says is the caller's to check. The vote has no signature, so peers refuse it: in a
    /// library that is shared use [`record_signed_vote`](Self::record_signed_vote) alone.
    ///
    /// # Errors
    /// [`Error::UnknownId`]; [`Error::OutOfRange`], [`Error::TooManyBytes`], [`Error::ForbiddenChar`] for the name;
    /// [`Error::TooManyBytes`] for more votes than a record holds.
    pub fn record_vote(&mut self, id: &ExperienceId, voter: &str, vote: Vote) -> Result<()> {
        self.active_content(id)?;
        let record = record_of(&mut self.records, id)?;
        let lamport = record.vote(voter).map_or(1, |known| known.lamport() + 1);
        record.record_vote(voter, SignedVote::new(lamport, vote, Vec::new())?)?;
        self.revision.0 += 1;
        Ok(())
    }

    /// Takes a signed vote on an active experience; whether it is newer than the voter's vote so far.
    ///
    /// # Errors
    /// [`Error::BadVote`] if the verifier refuses it; those of [`record_vote`](Self::record_vote).
    pub fn record_signed_vote<V: VoteVerifier + ?Sized>(
        &mut self,
        id: &ExperienceId,
        voter: &str,
        vote: SignedVote,
        verifier: &V,
    ) -> Result<bool> {
        self.active_content(id)?;
        check_printable("voter", voter, 1)?;
        check_vote(self.config.origin(), id, voter, &vote, verifier)?;
        let newer = record_of(&mut self.records, id)?.record_vote(voter, vote)?;
        self.revision.0 += 1;
        Ok(newer)
    }

    /// Sets the label of an active experience, a short name for people.
    ///
    /// # Errors
    /// [`Error::UnknownId`]; those of [`Record::set_label`].
    pub fn set_label(&mut self, id: &ExperienceId, text: &str) -> Result<()> {
        self.active_content(id)?;
        let Self { records, config, .. } = self;
        record_of(records, id)?.set_label(&config.replica, text)
    }

    /// Sets the vector of an active experience.
    ///
    /// # Errors
    /// [`Error::UnknownId`]; [`Error::EncoderMismatch`] without an encoder; [`Error::DimensionMismatch`],
    /// [`Error::NonFinite`], [`Error::ZeroNorm`].
    pub fn set_vector(&mut self, id: &ExperienceId, vector: &[f32]) -> Result<()> {
        self.active_content(id)?;
        let index = self.vectors.as_mut().ok_or(Error::EncoderMismatch)?;
        index.insert(*id, vector)?;
        self.revision.0 += 1;
        Ok(())
    }

    /// Embeds every active text that has no vector yet; how many.
    ///
    /// # Errors
    /// [`Error::EncoderMismatch`] for another encoder; the embedder's error; those of its vectors.
    pub fn embed_missing<E: Embedder>(&mut self, embedder: &E) -> Result<usize, EmbedError<E::Error>> {
        let index = self.encoded_by(embedder)?;
        let mut rows = Vec::new();
        for (id, content) in self.iter().filter(|(id, _)| !index.contains(id)) {
            let vector = embedder.embed(content.text().as_str()).map_err(EmbedError::Embedder)?;
            rows.push((*id, index.unit(&vector)?));
        }
        if let Some(index) = &mut self.vectors {
            for (id, row) in &rows {
                index.insert_row(*id, row);
            }
        }
        self.revision.0 += 1;
        Ok(rows.len())
    }

    /// The active experiences nearest to a vector; only those that have one.
    ///
    /// # Errors
    /// [`Error::EncoderMismatch`] without an encoder; those of [`VectorIndex::search`].
    pub fn retrieve(&self, query: &[f32], search: &Search) -> Result<Vec<Hit>> {
        let index = self.vectors.as_ref().ok_or(Error::EncoderMismatch)?;
        if search.quality_weight == 0.0 {
            return index.search(query, search);
        }
        search.check()?;
        let all = Search { k: index.len(), diversity: None, quality_weight: 0.0, ..search.clone() };
        let hits = index.search(query, &all)?;
        self.weigh(hits, search)
    }

    /// As [`retrieve`](Self::retrieve), among what an index of the caller finds near: 4k candidates, scored exactly
    /// here. Candidates that are not active are left out.
    ///
    /// # Errors
    /// [`Error::EncoderMismatch`] without an encoder, or for an index of another one; those of the index and of
    /// [`VectorIndex::search`].
    pub fn retrieve_from<I: Index + ?Sized>(&self, index: &I, query: &[f32], search: &Search) -> Result<Vec<Hit>> {
        let vectors = self.vectors.as_ref().ok_or(Error::EncoderMismatch)?;
        if vectors.encoder_id() != index.encoder_id() {
            return Err(Error::EncoderMismatch);
        }
        search.check()?;
        let unit = vectors.unit(query)?;
        let near = index.nearest(query, search.k.saturating_mul(4))?;
        let ids: BTreeSet<ExperienceId> = near.into_iter().map(|hit| hit.id).collect();
        let floor = search.min_similarity.unwrap_or(f32::MIN);
        let scored = ids.iter().filter_map(|id| Some(Hit { id: *id, score: dot(&unit, vectors.row(id)?) }));
        let mut hits: Vec<Hit> = scored.filter(|hit| hit.score >= floor).collect();
        hits.sort_unstable_by(Hit::order);
        self.weigh(hits, search)
    }

    /// Blends quality into scores and chooses.
    fn weigh(&self, mut hits: Vec<Hit>, search: &Search) -> Result<Vec<Hit>> {
        let weight = search.quality_weight;
        if weight > 0.0 {
            let max_usage = self.max_usage();
            for hit in &mut hits {
                let quality = self.quality_among(&hit.id, max_usage)? as f32 / 1e6;
                hit.score = (1.0 - weight) * hit.score + weight * quality;
            }
            hits.sort_unstable_by(Hit::order);
        }
        Ok(search.choose(hits, |id| self.row(id)))
    }

    /// The active experiences nearest to a text.
    ///
    /// # Errors
    /// [`Error::EncoderMismatch`] for another encoder; the embedder's error; those of [`VectorIndex::search`].
    pub fn retrieve_text<E: Embedder>(
        &self,
        embedder: &E,
        text: &str,
        search: &Search,
    ) -> Result<Vec<Hit>, EmbedError<E::Error>> {
        self.encoded_by(embedder)?;
        let query = embedder.embed(text).map_err(EmbedError::Embedder)?;
        Ok(self.retrieve(&query, search)?)
    }

    /// Changes whenever the answer of [`retrieve`](Self::retrieve) may change.
    pub(crate) fn revision(&self) -> u64 {
        self.revision.0
    }

    /// The configuration.
    pub fn config(&self) -> &LibraryConfig {
        &self.config
    }

    /// Number of active experiences.
    pub fn len(&self) -> usize {
        self.active.len()
    }

    /// Whether none is active.
    pub fn is_empty(&self) -> bool {
        self.active.is_empty()
    }

    /// The active experiences by ascending id.
    pub fn iter(&self) -> impl Iterator<Item = (&ExperienceId, &Content)> {
        self.active.iter().filter_map(|id| self.contents.get_key_value(id))
    }

    /// An active experience.
    pub fn get(&self, id: &ExperienceId) -> Option<&Content> {
        self.active_content(id).ok()
    }

    /// An experience that was active, or was merged while being added.
    pub fn archived(&self, id: &ExperienceId) -> Option<&Content> {
        self.contents.get(id).filter(|_| !self.active.contains(id))
    }

    /// Presence, label, usage and votes of an experience, active, archived or known from other replicas alone.
    pub fn record(&self, id: &ExperienceId) -> Option<&Record> {
        self.records.get(id)
    }

    /// All records by ascending id.
    pub fn records(&self) -> impl Iterator<Item = &Record> {
        self.records.values()
    }

    /// Contents that are kept but not active, by ascending id.
    pub fn archive(&self) -> impl Iterator<Item = (&ExperienceId, &Content)> {
        self.contents.iter().filter(|(id, _)| !self.active.contains(id))
    }

    /// Quality of an active experience in ppm; usage counts relative to the most used active one, which is looked up in
    /// `O(n)`.
    ///
    /// # Errors
    /// [`Error::UnknownId`].
    pub fn quality(&self, id: &ExperienceId) -> Result<u32> {
        self.quality_among(id, self.max_usage())
    }

    pub(crate) fn quality_among(&self, id: &ExperienceId, max_usage: u64) -> Result<u32> {
        let content = self.active_content(id)?;
        let record = self.records.get(id).ok_or(Error::UnknownId { id: *id })?;
        Ok(self.config.quality.score(&record.evidence(content, max_usage)))
    }

    pub(crate) fn max_usage(&self) -> u64 {
        self.active.iter().filter_map(|id| self.records.get(id)).map(Record::usage).max().unwrap_or(0)
    }

    /// All log entries; entry i is leaf i of the log.
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// The log.
    pub fn log(&self) -> &Log {
        &self.log
    }

    /// The log's statement of its size and root.
    pub fn checkpoint(&self) -> Checkpoint {
        self.log.checkpoint(&self.config.origin)
    }

    /// The tree over the active ids.
    pub fn state(&self) -> &StateTree {
        &self.state
    }

    /// Size and root of the tree over the active ids.
    pub fn state_root(&self) -> StateRoot {
        self.state.root()
    }

    /// The whole library but its vectors, for a file. O(n).
    pub fn snapshot(&self) -> Snapshot {
        Snapshot::whole(self)
    }

    /// A library from a snapshot from entry 0 on. Vectors are set anew, by [`embed_missing`](Self::embed_missing) or
    /// [`set_vector`](Self::set_vector). It holds what it held, also above the capacity; the next change prunes.
    ///
    /// # Errors
    /// [`Error::WrongOrigin`] for another library; [`Error::PartialLog`] for a snapshot without its first entries; those
    /// of [`new`](Self::new).
    pub fn from_snapshot(config: LibraryConfig, snapshot: &Snapshot) -> Result<Self> {
        if *snapshot.checkpoint().origin() != config.origin {
            return Err(Error::WrongOrigin);
        }
        if snapshot.first() > 0 {
            return Err(Error::PartialLog { first: snapshot.first() });
        }
        let mut library = Self::new(config)?;
        for content in snapshot.contents() {
            let id = content.id();
            if library.config.dedup.is_some() {
                library.tokens.insert(id, TokenSet::new(content.text().as_str()));
            }
            library.active.insert(id);
            library.contents.insert(id, content.clone());
        }
        library.contents.extend(snapshot.archived().iter().map(|content| (content.id(), content.clone())));
        library.records.extend(snapshot.records().iter().map(|record| (*record.id(), record.clone())));
        for id in &library.active {
            library.records.entry(*id).or_insert_with(|| Record::new(*id));
        }
        library.entries = snapshot.entries().to_vec();
        library.log = Log::from_leaves(library.entries.iter().map(Entry::leaf).collect());
        library.state = StateTree::new(library.active.iter().copied());
        Ok(library)
    }

    /// The active ids of the state with this root, which determines them.
    fn version(&self, root: &StateRoot) -> Result<BTreeSet<ExperienceId>> {
        let last = self.entries.iter().position(|entry| entry.state() == root);
        let replayed = match last {
            Some(last) => &self.entries[..=last],
            None if *root == StateTree::default().root() => &[],
            None => return Err(Error::UnknownState { root: *root.root() }),
        };
        let mut active = BTreeSet::new();
        for entry in replayed {
            for id in entry.removed() {
                active.remove(id);
            }
            active.extend(entry.added());
        }
        if active.iter().any(|id| !self.contents.contains_key(id)) {
            return Err(Error::UnknownState { root: *root.root() });
        }
        Ok(active)
    }

    /// Takes over what a plan worked out; cannot fail.
    fn commit(&mut self, changes: Changes, outcomes: Vec<Outcome>, pruned: Vec<ExperienceId>) -> Applied {
        self.revision.0 += 1;
        let Changes { contents, records, mut tokens, rows, active, entries, state } = changes;
        let added: Vec<_> = active.difference(&self.active).copied().collect();
        let removed: Vec<_> = self.active.difference(&active).copied().collect();
        self.contents.extend(contents);
        self.records.extend(records);
        for id in &removed {
            self.tokens.remove(id);
            let row = self.vectors.as_mut().and_then(|index| index.take_row(id));
            self.archived_rows.extend(row.map(|row| (*id, row)));
        }
        for id in &added {
            if let (Some(content), true) = (self.contents.get(id), self.config.dedup.is_some()) {
                let tokens = tokens.remove(id);
                let tokens = tokens.unwrap_or_else(|| TokenSet::new(content.text().as_str()));
                self.tokens.insert(*id, tokens);
            }
            if let (Some(row), Some(index)) = (self.archived_rows.remove(id), &mut self.vectors) {
                index.insert_row(*id, &row);
            }
        }
        for (id, row) in rows {
            match &mut self.vectors {
                Some(index) if active.contains(&id) => index.insert_row(id, &row),
                _ => {
                    self.archived_rows.insert(id, row);
                }
            }
        }
        self.active = active;
        let entry_indices = entries.iter().map(|entry| self.log.append(entry.leaf())).collect();
        self.entries.extend(entries);
        if let Some(state) = state {
            self.state = state;
        }
        Applied { outcomes, entries: entry_indices, added, removed, pruned, checkpoint: self.checkpoint() }
    }

    fn active_content(&self, id: &ExperienceId) -> Result<&Content> {
        let content = self.contents.get(id).filter(|_| self.active.contains(id));
        content.ok_or(Error::UnknownId { id: *id })
    }

    /// The row of a content, active or archived.
    fn row(&self, id: &ExperienceId) -> Option<&[f32]> {
        let active = self.vectors.as_ref().and_then(|index| index.row(id));
        active.or_else(|| self.archived_rows.get(id).map(Vec::as_slice))
    }

    fn encoded_by<E: Embedder>(&self, embedder: &E) -> Result<&VectorIndex> {
        let index = self.vectors.as_ref().ok_or(Error::EncoderMismatch)?;
        if index.encoder_id() == embedder.encoder_id() { Ok(index) } else { Err(Error::EncoderMismatch) }
    }
}

fn record_of<'a>(records: &'a mut BTreeMap<ExperienceId, Record>, id: &ExperienceId) -> Result<&'a mut Record> {
    records.get_mut(id).ok_or(Error::UnknownId { id: *id })
}

/// Checks the signature of a vote.
fn check_vote<V: VoteVerifier + ?Sized>(
    origin: &Origin,
    id: &ExperienceId,
    voter: &str,
    vote: &SignedVote,
    verifier: &V,
) -> Result<()> {
    let message = vote_message(origin, id, vote.lamport(), vote.value());
    if verifier.verify(voter, &message, vote.signature()) {
        Ok(())
    } else {
        Err(Error::BadVote { id: *id, voter: voter.to_owned() })
    }
}
