//! The library: active experiences, what is known of them, and the log of how they came about.

mod annotations;
mod config;
mod operation;
mod plan;

pub use annotations::{Annotations, Vote};
pub use config::LibraryConfig;
pub use operation::{Applied, Mode, Operation, Outcome, SkipReason, Stamp};

use std::collections::{BTreeMap, BTreeSet};

use plan::{Changes, Plan};

use crate::merkle::{Checkpoint, Log, StateRoot, StateTree};
use crate::{Content, EmbedError, Embedder, Entry, Error, ExperienceId, Hit, Result, Search, TokenSet, VectorIndex};

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
    annotations: BTreeMap<ExperienceId, Annotations>,
    active: BTreeSet<ExperienceId>,
    /// Tokens of the active texts, if copies are looked for.
    tokens: BTreeMap<ExperienceId, TokenSet>,
    /// Rows of active contents, if there is an encoder.
    vectors: Option<VectorIndex>,
    archived_rows: BTreeMap<ExperienceId, Vec<f32>>,
    entries: Vec<Entry>,
    log: Log,
    state: StateTree,
}

impl Library {
    /// An empty library.
    ///
    /// # Errors
    /// [`Error::OutOfRange`] for a capacity of 0, or a dimension of 0 or above 65,536.
    pub fn new(config: LibraryConfig) -> Result<Self> {
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
            annotations: BTreeMap::new(),
            active: BTreeSet::new(),
            tokens: BTreeMap::new(),
            vectors,
            archived_rows: BTreeMap::new(),
            entries: Vec::new(),
            log: Log::new(),
            state: StateTree::default(),
        })
    }

    /// Applies a batch of operations, then prunes down to the capacity.
    ///
    /// Targets are those active before the batch. An id that several operations want goes to a delete before a merge
    /// before a modify, then to the first given; the others are reported as superseded. Additions come last. There is
    /// one log entry for each kind of change, in that order (additions that became merges after plain additions, pruning
    /// at the end), and none for what changes nothing.
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
    /// [`Error::UnknownState`] if there was none; those of the stamp, as for [`apply`](Self::apply).
    pub fn restore(&mut self, stamp: &Stamp, root: &StateRoot) -> Result<Applied> {
        let mut plan = Plan::new(self, stamp)?;
        plan.restore(self.version(root)?)?;
        let changes = plan.finish();
        Ok(self.commit(changes, Vec::new(), Vec::new()))
    }

    /// Counts uses of an active experience.
    ///
    /// # Errors
    /// [`Error::UnknownId`]; [`Error::Overflow`] above 2^53 - 1.
    pub fn record_use(&mut self, id: &ExperienceId, times: u64) -> Result<()> {
        self.annotations_mut(id)?.record_use(times)
    }

    /// Sets the vote of a voter (1..=128 bytes of printable ASCII) on an active experience; the latest counts.
    ///
    /// Whether the voter is who it says is the caller's to check.
    ///
    /// # Errors
    /// [`Error::UnknownId`]; [`Error::OutOfRange`], [`Error::TooManyBytes`], [`Error::ForbiddenChar`] for the name.
    pub fn record_vote(&mut self, id: &ExperienceId, voter: &str, vote: Vote) -> Result<()> {
        self.annotations_mut(id)?.record_vote(voter, vote)
    }

    /// Sets the vector of an active experience.
    ///
    /// # Errors
    /// [`Error::UnknownId`]; [`Error::EncoderMismatch`] without an encoder; [`Error::DimensionMismatch`],
    /// [`Error::NonFinite`], [`Error::ZeroNorm`].
    pub fn set_vector(&mut self, id: &ExperienceId, vector: &[f32]) -> Result<()> {
        self.active_content(id)?;
        let index = self.vectors.as_mut().ok_or(Error::EncoderMismatch)?;
        index.insert(*id, vector)
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
        Ok(rows.len())
    }

    /// The active experiences nearest to a vector; only those that have one.
    ///
    /// # Errors
    /// [`Error::EncoderMismatch`] without an encoder; those of [`VectorIndex::search`].
    pub fn retrieve(&self, query: &[f32], search: &Search) -> Result<Vec<Hit>> {
        self.vectors.as_ref().ok_or(Error::EncoderMismatch)?.search(query, search)
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
        let index = self.encoded_by(embedder)?;
        let query = embedder.embed(text).map_err(EmbedError::Embedder)?;
        Ok(index.search(&query, search)?)
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

    /// Votes and usage of an experience, active or archived.
    pub fn annotations(&self, id: &ExperienceId) -> Option<&Annotations> {
        self.annotations.get(id)
    }

    /// Quality of an active experience in ppm; usage counts relative to the most used active one.
    ///
    /// # Errors
    /// [`Error::UnknownId`].
    pub fn quality(&self, id: &ExperienceId) -> Result<u32> {
        let content = self.active_content(id)?;
        let annotations = self.annotations.get(id).ok_or(Error::UnknownId { id: *id })?;
        let usages = self.active.iter().filter_map(|id| self.annotations.get(id)).map(Annotations::usage);
        let evidence = annotations.evidence(content, usages.max().unwrap_or(0));
        Ok(self.config.quality.score(&evidence))
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
        Ok(active)
    }

    /// Takes over what a plan worked out; cannot fail.
    fn commit(&mut self, changes: Changes, outcomes: Vec<Outcome>, pruned: Vec<ExperienceId>) -> Applied {
        let Changes { contents, annotations, mut tokens, rows, active, entries, state } = changes;
        let added: Vec<_> = active.difference(&self.active).copied().collect();
        let removed: Vec<_> = self.active.difference(&active).copied().collect();
        for id in contents.keys() {
            self.annotations.entry(*id).or_default();
        }
        self.contents.extend(contents);
        self.annotations.extend(annotations);
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

    fn annotations_mut(&mut self, id: &ExperienceId) -> Result<&mut Annotations> {
        let annotations = self.annotations.get_mut(id).filter(|_| self.active.contains(id));
        annotations.ok_or(Error::UnknownId { id: *id })
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
