use std::collections::VecDeque;

use super::{Hit, Search};
use crate::merkle::StateRoot;
use crate::{Library, Result};

/// Remembers what was retrieved of one library, the least recently asked forgotten first. A change of the library that
/// may change an answer makes it forgotten.
///
/// ```
/// use hanzo_experience::{Library, LibraryConfig, RetrievalCache, Search};
///
/// let library = Library::new(LibraryConfig::new("example.com/library".parse()?).encoder("toy-2d", 2))?;
/// let mut cache = RetrievalCache::new(100);
/// for _ in 0..3 {
///     cache.retrieve(&library, &[0.5, 1.0], &Search::new(4))?;
/// }
/// assert_eq!((cache.hits(), cache.misses()), (2, 1));
/// # Ok::<(), hanzo_experience::Error>(())
/// ```
#[derive(Debug, Clone, Default)]
pub struct RetrievalCache {
    capacity: usize,
    /// The last asked at the back.
    kept: VecDeque<(Key, Vec<Hit>)>,
    hits: u64,
    misses: u64,
}

#[derive(Debug, Clone, PartialEq)]
struct Key {
    state: StateRoot,
    revision: u64,
    /// Bits of the query.
    query: Vec<u32>,
    search: Search,
}

impl RetrievalCache {
    /// A cache of so many answers; of none, it always asks the library. Looking up compares with each.
    pub fn new(capacity: usize) -> Self {
        Self { capacity, ..Self::default() }
    }

    /// [`Library::retrieve`], from memory where possible. One cache serves one library.
    ///
    /// # Errors
    /// Those of [`Library::retrieve`].
    pub fn retrieve(&mut self, library: &Library, query: &[f32], search: &Search) -> Result<Vec<Hit>> {
        let key = Key {
            state: library.state_root(),
            revision: library.revision(),
            query: query.iter().map(|x| x.to_bits()).collect(),
            search: search.clone(),
        };
        if let Some((key, hits)) =
            self.kept.iter().position(|(known, _)| *known == key).and_then(|place| self.kept.remove(place))
        {
            self.hits += 1;
            self.kept.push_back((key, hits.clone()));
            return Ok(hits);
        }
        let hits = library.retrieve(query, search)?;
        self.misses += 1;
        if self.capacity > 0 {
            if self.kept.len() == self.capacity {
                self.kept.pop_front();
            }
            self.kept.push_back((key, hits.clone()));
        }
        Ok(hits)
    }

    /// Answers from memory.
    pub fn hits(&self) -> u64 {
        self.hits
    }

    /// Answers of the library.
    pub fn misses(&self) -> u64 {
        self.misses
    }
}
