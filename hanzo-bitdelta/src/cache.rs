//! Adapters of many tenants in bounded memory.

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt;
use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

use crate::adapter::Adapter;
use crate::digest::BaseDigest;
use crate::error::{Error, Result};

mod policy;
mod store;

pub use store::{AdapterStore, DirectoryStore, MemoryStore};

use policy::{Lifecycle, Resident, Weight};

/// What an adapter is known by: the base model it belongs to, a name, and a generation that grows when the adapter is
/// replaced. Two keys that differ in any of them are different adapters.
///
/// ```
/// use hanzo_bitdelta::{AdapterKey, BaseDigest};
/// let base = BaseDigest::from_bytes([7; 32]);
/// let key = AdapterKey::new(base, "tenant-1/chat", 3);
/// assert_eq!((key.base(), key.name(), key.generation()), (base, "tenant-1/chat", 3));
/// assert_ne!(key, AdapterKey::new(base, "tenant-1/chat", 4));
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct AdapterKey {
    base: BaseDigest,
    name: Arc<str>,
    generation: u64,
}

impl AdapterKey {
    /// The key of these parts.
    #[must_use]
    pub fn new(base: BaseDigest, name: &str, generation: u64) -> Self {
        Self { base, name: name.into(), generation }
    }

    /// Digest of the base model.
    #[must_use]
    pub fn base(&self) -> BaseDigest {
        self.base
    }

    /// Name of the adapter.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Generation of the adapter.
    #[must_use]
    pub fn generation(&self) -> u64 {
        self.generation
    }
}

/// How much a cache holds; the default is 100 adapters and 512 MiB.
///
/// ```
/// use hanzo_bitdelta::CacheConfig;
/// assert_ne!(CacheConfig::new().max_entries(1000).max_bytes(64 << 20), CacheConfig::default());
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(default))]
pub struct CacheConfig {
    max_entries: u64,
    max_bytes: u64,
}

impl CacheConfig {
    /// The default configuration.
    #[must_use]
    pub fn new() -> Self {
        Self { max_entries: 100, max_bytes: 512 << 20 }
    }

    /// Sets the largest number of adapters; 0 counts as 1.
    #[must_use]
    pub fn max_entries(mut self, entries: u64) -> Self {
        self.max_entries = entries;
        self
    }

    /// Sets the largest number of bytes; see [`Adapter::memory_bytes`]. With 0 nothing is kept.
    ///
    /// An adapter is counted when it is loaded. What it decodes later (raw tensors, signs in
    /// [`Layout::RowMajor64`](crate::Layout::RowMajor64)) is not counted; with [`Verify::Eager`](crate::Verify::Eager) all is.
    #[must_use]
    pub fn max_bytes(mut self, bytes: u64) -> Self {
        self.max_bytes = bytes;
        self
    }

    /// What an adapter counts: its bytes, or the share of one entry if that is more. Shares are rounded down, so that
    /// `max_entries` of them fit; one more does not unless `max_bytes` is below `max_entries * (max_entries + 1)`, where an
    /// adapter has its bytes counted anyway.
    fn weight(self, adapter: &Adapter) -> u64 {
        let share = self.max_bytes / self.max_entries.max(1);
        (adapter.memory_bytes() as u64).max(share).max(1)
    }
}

impl Default for CacheConfig {
    fn default() -> Self {
        Self::new()
    }
}

/// Counts of a cache since it was made, and what it holds now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct CacheStats {
    /// Adapters found in memory.
    pub hits: u64,
    /// Adapters not found in memory, also those that another caller was loading.
    pub misses: u64,
    /// Loads that gave an adapter.
    pub loads: u64,
    /// Loads that failed.
    pub load_errors: u64,
    /// Adapters let go to make room.
    pub evictions: u64,
    /// Adapters in memory.
    pub entries: u64,
    /// What they count: their bytes, or the share of an entry where that is more.
    pub bytes: u64,
    /// Pinned adapters.
    pub pinned: u64,
    /// What these count.
    pub pinned_bytes: u64,
}

/// Adapters in bounded memory, loaded from a store when they are first asked for.
///
/// - An adapter that is asked for by many at once is loaded once; the others wait. An error is given to all of them and not
///   kept.
/// - What [`get`](Self::get) gives is a handle of its own: eviction and invalidation never touch an adapter in use.
/// - An adapter of another base than the key says is [`BaseMismatch`](Error::BaseMismatch), and never handed out.
/// - Numbers of entries and bytes are both bounded. One that is too large for the cache is loaded and not kept. Which adapter
///   goes is decided by how recently and how often it was used; one pass over many adapters does not push out the ones in use.
///
/// All methods take `&self` and may be called by many threads; nothing is locked while the store loads.
///
/// ```
/// use hanzo_bitdelta::{Adapter, AdapterCache, AdapterKey, BaseDigest, CacheConfig, MemoryStore};
/// let base = BaseDigest::from_bytes([7; 32]);
/// let key = AdapterKey::new(base, "tenant-1", 0);
/// let store = MemoryStore::new();
/// store.put(key.clone(), Adapter::builder().base_digest(base).build()?);
///
/// let cache = AdapterCache::new(store, CacheConfig::default());
/// let adapter = cache.get(&key)?.bind(&base)?;
/// cache.get(&key)?;
/// assert_eq!((cache.stats().misses, cache.stats().hits), (1, 1));
/// assert!(cache.get(&AdapterKey::new(base, "tenant-2", 0)).is_err());
/// # let _ = adapter;
/// # Ok::<(), hanzo_bitdelta::Error>(())
/// ```
pub struct AdapterCache<S> {
    store: S,
    config: CacheConfig,
    resident: quick_cache::sync::Cache<AdapterKey, Arc<Resident>, Weight, std::hash::RandomState, Lifecycle>,
    state: Mutex<State>,
    counts: Arc<Counts>,
}

#[derive(Default)]
struct State {
    flights: HashMap<AdapterKey, Arc<Flight>>,
    pinned: HashMap<AdapterKey, Arc<Resident>>,
    pinned_bytes: u64,
    invalidations: u64,
}

#[derive(Debug, Default)]
struct Counts {
    hits: AtomicU64,
    misses: AtomicU64,
    loads: AtomicU64,
    load_errors: AtomicU64,
    evictions: AtomicU64,
}

/// A load that is under way.
#[derive(Default)]
struct Flight {
    outcome: Mutex<Outcome>,
    done: Condvar,
    /// Set when the key is invalidated: the adapter goes to those who wait for it, and is not kept.
    stale: AtomicBool,
}

#[derive(Default)]
enum Outcome {
    #[default]
    Loading,
    Done(Result<Adapter>),
    /// The loader panicked: whoever waits tries again.
    Abandoned,
}

impl<S: AdapterStore> AdapterCache<S> {
    /// An empty cache over a store.
    #[must_use]
    pub fn new(store: S, config: CacheConfig) -> Self {
        let counts = Arc::new(Counts::default());
        Self { resident: policy::cache(config, counts.clone()), store, config, state: Mutex::default(), counts }
    }

    /// The adapter of this key, from memory or from the store.
    ///
    /// # Errors
    /// Those of the store; [`Error::BaseMismatch`] or [`Error::Unbound`] when what it gives does not belong to the key's base.
    pub fn get(&self, key: &AdapterKey) -> Result<Adapter> {
        if let Some(resident) = self.resident.get(key) {
            self.counts.hits.fetch_add(1, Relaxed);
            return Ok(resident.adapter.clone());
        }
        self.counts.misses.fetch_add(1, Relaxed);
        self.load(key)
    }

    /// The adapter of this key if it is in memory; counts neither as a hit nor as a use.
    #[must_use]
    pub fn peek(&self, key: &AdapterKey) -> Option<Adapter> {
        self.resident.peek(key).map(|resident| resident.adapter.clone())
    }

    /// [`get`](Self::get), and keeps the adapter in memory until it is unpinned as often as it was pinned, or invalidated.
    ///
    /// # Errors
    /// Those of [`get`](Self::get); [`Error::CacheFull`] when the pinned adapters would count more than the cache may hold.
    pub fn pin(&self, key: &AdapterKey) -> Result<Adapter> {
        let (adapter, mut state) = loop {
            let before = self.lock().invalidations;
            let adapter = self.get(key)?;
            let state = self.lock();
            // What was invalidated in between must not come back.
            if state.invalidations == before {
                break (adapter, state);
            }
        };
        if let Some(resident) = state.pinned.get(key) {
            resident.pins.fetch_add(1, Relaxed);
            return Ok(resident.adapter.clone());
        }
        let kept = self.resident.peek(key);
        let resident = kept.unwrap_or_else(|| Arc::new(Resident::new(adapter, self.config)));
        let needed = state.pinned_bytes.saturating_add(resident.weight);
        if needed > self.config.max_bytes {
            return Err(Error::CacheFull { needed, limit: self.config.max_bytes });
        }
        state.pinned_bytes = needed;
        resident.pins.fetch_add(1, Relaxed);
        // It may have been evicted before it was marked.
        if !self.resident.contains_key(key) {
            self.resident.insert(key.clone(), resident.clone());
        }
        state.pinned.insert(key.clone(), resident.clone());
        Ok(resident.adapter.clone())
    }

    /// Takes one pin back; false when the adapter is not pinned.
    pub fn unpin(&self, key: &AdapterKey) -> bool {
        let mut state = self.lock();
        let Some(resident) = state.pinned.get(key) else { return false };
        if resident.pins.fetch_sub(1, Relaxed) == 1 {
            state.pinned_bytes -= resident.weight;
            state.pinned.remove(key);
        }
        true
    }

    /// Forgets the adapter of this key, pinned or being loaded or not; whoever has it keeps it. True when it was in memory.
    pub fn invalidate(&self, key: &AdapterKey) -> bool {
        let mut state = self.lock();
        state.forget(|other| other == key);
        self.resident.remove(key).is_some()
    }

    /// Forgets all adapters of a base model.
    pub fn invalidate_base(&self, base: &BaseDigest) {
        let mut state = self.lock();
        state.forget(|key| key.base == *base);
        self.resident.retain(|key, _| key.base != *base);
    }

    /// Counts and sizes.
    #[must_use]
    pub fn stats(&self) -> CacheStats {
        let state = self.lock();
        CacheStats {
            hits: self.counts.hits.load(Relaxed),
            misses: self.counts.misses.load(Relaxed),
            loads: self.counts.loads.load(Relaxed),
            load_errors: self.counts.load_errors.load(Relaxed),
            evictions: self.counts.evictions.load(Relaxed),
            entries: self.resident.len() as u64,
            bytes: self.resident.weight(),
            pinned: state.pinned.len() as u64,
            pinned_bytes: state.pinned_bytes,
        }
    }

    /// The store.
    #[must_use]
    pub fn store(&self) -> &S {
        &self.store
    }

    fn load(&self, key: &AdapterKey) -> Result<Adapter> {
        loop {
            let mut state = self.lock();
            // It may have come while this caller waited for the lock.
            if let Some(resident) = self.resident.get(key) {
                return Ok(resident.adapter.clone());
            }
            let Some(flight) = state.flights.get(key).cloned() else {
                let flight = Arc::new(Flight::default());
                state.flights.insert(key.clone(), flight.clone());
                drop(state);
                return self.fly(key, &flight);
            };
            drop(state);
            let outcome = flight.outcome.lock().unwrap_or_else(PoisonError::into_inner);
            let outcome = flight.done.wait_while(outcome, |outcome| matches!(outcome, Outcome::Loading));
            match &*outcome.unwrap_or_else(PoisonError::into_inner) {
                Outcome::Done(result) => return result.clone(),
                Outcome::Loading | Outcome::Abandoned => {}
            }
        }
    }

    /// Loads for everyone who waits for this flight.
    fn fly(&self, key: &AdapterKey, flight: &Arc<Flight>) -> Result<Adapter> {
        let landing = Landing { cache: self, key, flight };
        let loaded = self.store.load(key).and_then(|adapter| {
            let expected = key.base;
            let found = adapter.base_digest().ok_or(Error::Unbound)?;
            if found == expected { Ok(adapter) } else { Err(Error::BaseMismatch { expected: found, found: expected }) }
        });
        let count = if loaded.is_ok() { &self.counts.loads } else { &self.counts.load_errors };
        count.fetch_add(1, Relaxed);
        {
            // Under the lock, so that no invalidation falls between the question and the answer.
            let _state = self.lock();
            if let (Ok(adapter), false) = (&loaded, flight.stale.load(Relaxed)) {
                let resident = Resident::new(adapter.clone(), self.config);
                if resident.weight <= self.config.max_bytes {
                    self.resident.insert(key.clone(), Arc::new(resident));
                }
            }
        }
        flight.land(Outcome::Done(loaded.clone()));
        drop(landing);
        loaded
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing panics while it holds the lock: the state is whole.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn forget(&mut self, mut which: impl FnMut(&AdapterKey) -> bool) {
        self.invalidations += 1;
        let gone: Vec<AdapterKey> = self.pinned.keys().filter(|key| which(key)).cloned().collect();
        for key in gone {
            if let Some(resident) = self.pinned.remove(&key) {
                resident.pins.store(0, Relaxed);
                self.pinned_bytes -= resident.weight;
            }
        }
        self.flights.retain(|key, flight| {
            let hit = which(key);
            flight.stale.fetch_or(hit, Relaxed);
            !hit
        });
    }
}

impl Flight {
    fn land(&self, outcome: Outcome) {
        *self.outcome.lock().unwrap_or_else(PoisonError::into_inner) = outcome;
        self.done.notify_all();
    }
}

/// Takes a flight off the list, also when the loader panics.
struct Landing<'a, S: AdapterStore> {
    cache: &'a AdapterCache<S>,
    key: &'a AdapterKey,
    flight: &'a Arc<Flight>,
}

impl<S: AdapterStore> Drop for Landing<'_, S> {
    fn drop(&mut self) {
        let mut state = self.cache.lock();
        // After an invalidation there may be a younger flight under the same key.
        if state.flights.get(self.key).is_some_and(|flight| Arc::ptr_eq(flight, self.flight)) {
            state.flights.remove(self.key);
        }
        drop(state);
        let mut outcome = self.flight.outcome.lock().unwrap_or_else(PoisonError::into_inner);
        if matches!(*outcome, Outcome::Loading) {
            *outcome = Outcome::Abandoned;
            drop(outcome);
            self.flight.done.notify_all();
        }
    }
}

impl<S: fmt::Debug> fmt::Debug for AdapterCache<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AdapterCache").field("store", &self.store).field("config", &self.config).finish_non_exhaustive()
    }
}
