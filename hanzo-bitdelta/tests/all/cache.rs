//! The cache under threads: one load for many, bounded memory, and never another tenant's adapter.

use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Barrier};
use std::thread;

use hanzo_bitdelta::{
    Adapter, AdapterCache, AdapterKey, AdapterStore, BaseDigest, CacheConfig, DirectoryStore, Entry, Error,
    Granularity, MatRef, MemoryStore, PackOptions, PackedDelta, ReadOptions, Result, Workspace,
};
use rand::rngs::Xoshiro256PlusPlus;
use rand::{RngExt, SeedableRng};

const BASE: BaseDigest = BaseDigest::from_bytes([3; 32]);

/// An adapter that answers with its own number.
fn adapter(number: u64) -> Adapter {
    let options = PackOptions::new().granularity(Granularity::Tensor);
    let value = number as f32 + 1.0;
    let delta = PackedDelta::from_delta(MatRef::new(&[value; 32], 1, 32).unwrap(), &options).unwrap();
    let built = Adapter::builder().base_digest(BASE).entry("w", delta).build().unwrap();
    // As from a file: tensors are decoded at first use.
    Adapter::from_bytes(built.to_bytes().unwrap().into(), ReadOptions::default()).unwrap()
}

fn number(adapter: &Adapter) -> u64 {
    let mut y = [0.0];
    adapter.bind(&BASE).unwrap().matvec_acc("w", &[1.0 / 32.0; 32], &mut y, &mut Workspace::new()).unwrap();
    y[0] as u64 - 1
}

fn key(tenant: u64, generation: u64) -> AdapterKey {
    AdapterKey::new(BASE, &format!("tenant-{tenant}"), generation)
}

/// Makes the adapter `1000 * generation + tenant`; counts.
#[derive(Default)]
struct Maker {
    loads: AtomicUsize,
    failures: AtomicUsize,
}

impl AdapterStore for Maker {
    fn load(&self, key: &AdapterKey) -> Result<Adapter> {
        self.loads.fetch_add(1, SeqCst);
        thread::yield_now();
        if key.name() == "broken" {
            thread::sleep(std::time::Duration::from_millis(50));
            self.failures.fetch_add(1, SeqCst);
            return Err(Error::MissingAdapter("broken".into()));
        }
        assert_ne!(key.name(), "panics", "a loader that panics");
        let tenant: u64 = key.name().strip_prefix("tenant-").unwrap().parse().unwrap();
        Ok(adapter(1000 * key.generation() + tenant))
    }
}

#[test]
fn a_thousand_adapters_under_a_budget_are_never_mixed_up() {
    let store = Arc::new(Maker::default());
    let size = adapter(0).memory_bytes() as u64;
    let config = CacheConfig::new().max_entries(50).max_bytes(50 * (size + 100));
    let cache = AdapterCache::new(store.clone(), config);
    thread::scope(|scope| {
        for seed in 0..8 {
            let cache = &cache;
            scope.spawn(move || {
                let mut rng = Xoshiro256PlusPlus::seed_from_u64(seed);
                let mut held: Vec<(u64, Adapter)> = Vec::new();
                for step in 0..4000 {
                    // Some tenants are asked for more than others.
                    let limit = if rng.random() { 20 } else { 1000 };
                    let (tenant, generation) = (rng.random_range(0..limit), rng.random_range(0..2));
                    let key = key(tenant, generation);
                    match rng.random_range(0..40) {
                        0 => drop(cache.invalidate(&key)),
                        1 => match cache.pin(&key) {
                            Ok(adapter) => {
                                assert_eq!(number(&adapter), 1000 * generation + tenant);
                                cache.unpin(&key);
                            }
                            Err(error) => assert!(matches!(error, Error::CacheFull { .. }), "{error}"),
                        },
                        _ => {
                            let adapter = cache.get(&key).unwrap();
                            assert_eq!(number(&adapter), 1000 * generation + tenant);
                            if step % 100 == 0 {
                                held.push((1000 * generation + tenant, adapter));
                            }
                        }
                    }
                }
                // What was in use all the time is what it was.
                assert!(held.iter().all(|(expected, adapter)| number(adapter) == *expected));
            });
        }
    });
    let stats = cache.stats();
    assert!(stats.entries <= 50 && stats.bytes <= 50 * (size + 100), "{stats:?}");
    assert!(stats.evictions > 0 && stats.hits > 0);
    assert_eq!((stats.pinned, stats.pinned_bytes), (0, 0));
    assert_eq!(stats.loads, store.loads.load(SeqCst) as u64);
}

#[test]
fn three_entries_and_eight_threads() {
    let cache = AdapterCache::new(Maker::default(), CacheConfig::new().max_entries(3));
    thread::scope(|scope| {
        for first in 0..8 {
            let cache = &cache;
            scope.spawn(move || {
                for step in 0..2000_u64 {
                    let tenant = (first + step * 7) % 11;
                    assert_eq!(number(&cache.get(&key(tenant, 0)).unwrap()), tenant);
                    assert!(cache.stats().entries <= 3);
                }
            });
        }
    });
}

/// Small adapters fill the cache to the number asked for, where that does not divide the bytes too.
#[test]
fn as_many_entries_as_configured() {
    for entries in [1, 3, 7, 100] {
        let cache = AdapterCache::new(Maker::default(), CacheConfig::new().max_entries(entries));
        for tenant in 0..3 * entries {
            cache.get(&key(tenant, 0)).unwrap();
            let held = cache.stats().entries;
            assert!(held <= entries, "{held} of {entries}");
        }
        assert_eq!(cache.stats().entries, entries);
    }
}

#[test]
fn many_callers_share_one_load_and_its_error() {
    for (name, expect_ok) in [("tenant-5", true), ("broken", false)] {
        let store = Arc::new(Maker::default());
        let cache = AdapterCache::new(store.clone(), CacheConfig::default());
        let barrier = Barrier::new(8);
        let key = AdapterKey::new(BASE, name, 0);
        let outcomes: Vec<bool> = thread::scope(|scope| {
            let handles: Vec<_> = (0..8)
                .map(|_| {
                    scope.spawn(|| {
                        barrier.wait();
                        cache.get(&key).is_ok()
                    })
                })
                .collect();
            handles.into_iter().map(|handle| handle.join().unwrap()).collect()
        });
        assert!(outcomes.iter().all(|&ok| ok == expect_ok));
        assert_eq!(store.loads.load(SeqCst), 1, "{name}");
        // An error is not kept.
        assert_eq!(cache.get(&key).is_ok(), expect_ok);
        assert_eq!(store.failures.load(SeqCst), if expect_ok { 0 } else { 2 });
    }
}

#[test]
fn a_loader_that_panics_leaves_the_cache_whole() {
    let cache = AdapterCache::new(Maker::default(), CacheConfig::default());
    let bad = AdapterKey::new(BASE, "panics", 0);
    for _ in 0..2 {
        let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| cache.get(&bad)));
        assert!(outcome.is_err());
    }
    assert_eq!(number(&cache.get(&key(1, 0)).unwrap()), 1);
}

#[test]
fn pins_hold_and_budgets_bind() {
    let size = adapter(0).memory_bytes() as u64;
    let cache = AdapterCache::new(Maker::default(), CacheConfig::new().max_entries(1000).max_bytes(4 * size));
    cache.pin(&key(0, 0)).unwrap();
    cache.pin(&key(0, 0)).unwrap();
    cache.pin(&key(1, 0)).unwrap();
    for tenant in 2..200 {
        cache.get(&key(tenant, 0)).unwrap();
    }
    assert!(cache.peek(&key(0, 0)).is_some() && cache.peek(&key(1, 0)).is_some());
    let stats = cache.stats();
    assert_eq!((stats.pinned, stats.pinned_bytes), (2, 2 * size));
    assert!(stats.bytes <= 4 * size);
    cache.pin(&key(2, 0)).unwrap();
    cache.pin(&key(3, 0)).unwrap();
    assert_eq!(cache.pin(&key(4, 0)).unwrap_err(), Error::CacheFull { needed: 5 * size, limit: 4 * size });
    // With everything pinned others are served all the same.
    assert_eq!(number(&cache.get(&key(9, 0)).unwrap()), 9);
    assert!(cache.unpin(&key(0, 0)) && cache.unpin(&key(0, 0)) && !cache.unpin(&key(0, 0)));
    assert!(cache.pin(&key(4, 0)).is_ok());
    assert!(cache.invalidate(&key(4, 0)) && !cache.unpin(&key(4, 0)));
    cache.invalidate_base(&BASE);
    assert_eq!((cache.stats().entries, cache.stats().pinned_bytes), (0, 0));

    // Too large for the cache: served, not kept.
    let tiny = AdapterCache::new(Maker::default(), CacheConfig::new().max_bytes(size - 1));
    assert_eq!(number(&tiny.get(&key(7, 0)).unwrap()), 7);
    assert_eq!(tiny.stats().entries, 0);
    let none = AdapterCache::new(Maker::default(), CacheConfig::new().max_bytes(0).max_entries(0));
    assert_eq!(number(&none.get(&key(7, 0)).unwrap()), 7);
}

#[test]
fn invalidation_during_a_load_keeps_the_old_adapter_out() {
    struct Slow(Barrier, Barrier, AtomicUsize);
    impl AdapterStore for Slow {
        fn load(&self, _: &AdapterKey) -> Result<Adapter> {
            let load = self.2.fetch_add(1, SeqCst);
            if load == 0 {
                self.0.wait();
                self.1.wait();
            }
            Ok(adapter(load as u64))
        }
    }
    let cache = AdapterCache::new(Slow(Barrier::new(2), Barrier::new(2), AtomicUsize::new(0)), CacheConfig::new());
    let key = key(0, 0);
    thread::scope(|scope| {
        let first = scope.spawn(|| number(&cache.get(&key).unwrap()));
        cache.store().0.wait();
        assert!(!cache.invalidate(&key));
        // Who comes after the invalidation does not wait for the load before it.
        assert_eq!(number(&cache.get(&key).unwrap()), 1);
        cache.store().1.wait();
        assert_eq!(first.join().unwrap(), 0);
    });
    assert_eq!(number(&cache.get(&key).unwrap()), 1);
}

#[test]
fn another_base_is_never_handed_out() {
    let store = MemoryStore::new();
    let other = BaseDigest::from_bytes([4; 32]);
    let wrong = AdapterKey::new(other, "a", 0);
    store.put(wrong.clone(), adapter(1));
    let unbound = AdapterKey::new(BASE, "b", 0);
    store.put(unbound.clone(), Adapter::builder().build().unwrap());
    let cache = AdapterCache::new(store, CacheConfig::default());
    assert_eq!(cache.get(&wrong).unwrap_err(), Error::BaseMismatch { expected: BASE, found: other });
    assert_eq!(cache.get(&unbound).unwrap_err(), Error::Unbound);
    assert_eq!(cache.stats().load_errors, 2);
}

#[test]
fn a_folder_of_adapters() {
    let root = std::env::temp_dir().join(format!("hanzo-bitdelta-folder-{}", std::process::id()));
    let store = DirectoryStore::new(&root, ReadOptions::default());
    let names = ["a", "A", "..", "a/b", "a%2fb", "", "c.0", "é"];
    for (index, name) in names.iter().enumerate() {
        store.save(&AdapterKey::new(BASE, name, 0), &adapter(index as u64)).unwrap();
    }
    let mut paths: Vec<String> = names
        .iter()
        .map(|name| store.path(&AdapterKey::new(BASE, name, 0)).unwrap().to_str().unwrap().to_lowercase())
        .collect();
    paths.sort();
    paths.dedup();
    assert_eq!(paths.len(), names.len());
    for (index, name) in names.iter().enumerate() {
        let read = store.load(&AdapterKey::new(BASE, name, 0)).unwrap();
        assert_eq!(number(&read), index as u64);
        let Entry::Packed(_) = read.get("w").unwrap() else { panic!("not packed") };
    }
    assert_eq!(store.load(&AdapterKey::new(BASE, "a", 1)).unwrap_err(), Error::MissingAdapter("a".into()));
    let other = AdapterKey::new(BaseDigest::from_bytes([9; 32]), "a", 0);
    assert!(matches!(store.save(&other, &adapter(0)), Err(Error::BaseMismatch { .. })));
    assert!(matches!(store.path(&AdapterKey::new(BASE, &"/".repeat(60), 0)), Err(Error::TooLarge { .. })));
    std::fs::remove_dir_all(&root).unwrap();
}
