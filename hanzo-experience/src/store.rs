//! Libraries that outlive their process: a [`Durable`] library acknowledges a change only once its [`Store`] has it.
//!
//! ```
//! use hanzo_experience::store::{Durable, MemoryStore};
//! use hanzo_experience::{Draft, LibraryConfig, Mode, Operation, Stamp, Text};
//!
//! let config = LibraryConfig::new("example.com/library".parse()?);
//! let mut durable = Durable::open(config.clone(), MemoryStore::new())?;
//! let draft = Draft::new(Text::new("check the units")?, "physics".parse()?, "alice", 7);
//! durable.update(|library| library.apply(&Stamp::new(7, "alice"), Mode::Atomic, &[Operation::Add(draft)]))?;
//!
//! let again = Durable::open(config, durable.into_store())?;
//! assert_eq!(again.library().len(), 1);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

use core::convert::Infallible;

#[cfg(feature = "redb")]
mod database;
mod file;

#[cfg(feature = "redb")]
#[cfg_attr(docsrs, doc(cfg(feature = "redb")))]
pub use database::{RedbError, RedbStore};
pub use file::FileStore;

use crate::crdt::Record;
use crate::{Content, EmbedError, Embedder, Entry, Error, Library, LibraryConfig, Result, Snapshot};

/// Where a [`Durable`] library is kept.
///
/// # Guarantees
/// After [`commit`](Self::commit) has returned `Ok`, [`load`](Self::load) gives the library after that change, also
/// after a crash. After it has returned an error, or has not returned, `load` gives the library before or after the
/// change, never a mixture.
pub trait Store {
    /// Why the store failed.
    type Error;

    /// The library as last committed; none in a new store.
    ///
    /// # Errors
    /// The store's own, or that of what it holds.
    fn load(&mut self) -> Result<Option<Snapshot>, StoreError<Self::Error>>;

    /// Keeps a change.
    ///
    /// # Errors
    /// The store's own.
    fn commit(&mut self, change: &Change<'_>) -> Result<(), Self::Error>;
}

/// Failure of a [`Store`], or of what it was for.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError<E> {
    /// The store failed.
    #[error("store failed")]
    Store(#[source] E),
    /// What the store holds, or the change, was refused.
    #[error(transparent)]
    Refused(#[from] Error),
}

/// A library before and after a change.
#[derive(Debug, Clone, Copy)]
pub struct Change<'a> {
    before: &'a Library,
    after: &'a Library,
}

impl<'a> Change<'a> {
    /// The library after the change.
    pub fn after(&self) -> &'a Library {
        self.after
    }

    /// Contents that are new, by ascending id; none is ever dropped.
    pub fn contents(&self) -> impl Iterator<Item = &'a Content> {
        let Self { before, after } = *self;
        let all = after.iter().chain(after.archive());
        all.filter(|(id, _)| before.get(id).or_else(|| before.archived(id)).is_none()).map(|(_, content)| content)
    }

    /// Index of the first new log entry, and the new ones.
    pub fn entries(&self) -> (u64, &'a [Entry]) {
        let first = self.before.entries().len();
        (first as u64, self.after.entries().get(first..).unwrap_or_default())
    }

    /// Records that are new or grew, by ascending id; none is ever dropped.
    pub fn records(&self) -> impl Iterator<Item = &'a Record> {
        let Self { before, after } = *self;
        after.records().filter(|record| before.record(record.id()) != Some(*record))
    }

    /// Whether nothing that is kept has changed.
    pub fn is_empty(&self) -> bool {
        self.entries().1.is_empty() && self.records().next().is_none() && self.contents().next().is_none()
    }
}

/// A library and the store that it is kept in.
#[derive(Debug)]
pub struct Durable<S> {
    library: Library,
    store: S,
}

impl<S: Store> Durable<S> {
    /// The library of a store, an empty one if the store is new.
    ///
    /// # Errors
    /// Those of the store, of [`Library::new`] and of [`Library::from_snapshot`].
    pub fn open(config: LibraryConfig, mut store: S) -> Result<Self, StoreError<S::Error>> {
        let library = match store.load()? {
            Some(snapshot) => Library::from_snapshot(config, &snapshot)?,
            None => Library::new(config)?,
        };
        Ok(Self { library, store })
    }

    /// Changes the library and keeps the change. Costs a copy of the library in memory, so that one that the store could
    /// not keep leaves it as it was.
    ///
    /// # Errors
    /// That of the change, or of the store. The library is then as before; the store may or may not have the change.
    pub fn update<T>(&mut self, change: impl FnOnce(&mut Library) -> Result<T>) -> Result<T, StoreError<S::Error>> {
        let mut after = self.library.clone();
        let value = change(&mut after)?;
        let change = Change { before: &self.library, after: &after };
        if !change.is_empty() {
            self.store.commit(&change).map_err(StoreError::Store)?;
        }
        self.library = after;
        Ok(value)
    }

    /// Embeds every active text that has no vector yet; how many. Vectors are not kept.
    ///
    /// # Errors
    /// Those of [`Library::embed_missing`].
    pub fn embed_missing<E: Embedder>(&mut self, embedder: &E) -> Result<usize, EmbedError<E::Error>> {
        self.library.embed_missing(embedder)
    }

    /// The library.
    pub fn library(&self) -> &Library {
        &self.library
    }

    /// The store, for example to open it again.
    pub fn into_store(self) -> S {
        self.store
    }
}

/// A store that ends with its process.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct MemoryStore {
    kept: Option<Snapshot>,
}

impl MemoryStore {
    /// An empty store.
    pub fn new() -> Self {
        Self::default()
    }
}

impl Store for MemoryStore {
    type Error = Infallible;

    fn load(&mut self) -> Result<Option<Snapshot>, StoreError<Infallible>> {
        Ok(self.kept.clone())
    }

    fn commit(&mut self, change: &Change<'_>) -> Result<(), Infallible> {
        self.kept = Some(change.after.snapshot());
        Ok(())
    }
}
