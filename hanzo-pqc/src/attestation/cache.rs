//! Keys whose certificates were verified before, so that a chain is walked once.

use alloc::collections::BTreeMap;
use core::fmt;

/// At most `LIMIT` values by digest. Only what a verifier proved may go in; what changes with time (dates, revocation) is checked at every use.
pub(super) struct Cache<T>(Cell<BTreeMap<[u8; 32], T>>);

/// Enough for every chip of a large broker's fleet that answers within an hour, at about 400 bytes each.
const LIMIT: usize = 4096;

impl<T: Clone> Cache<T> {
    pub(super) fn get(&self, key: &[u8; 32]) -> Option<T> {
        self.0.with(|map| map.get(key).cloned()).flatten()
    }

    pub(super) fn insert(&self, key: [u8; 32], value: T) {
        self.0.with(|map| {
            if map.len() >= LIMIT && !map.contains_key(&key) {
                // Keys are digests: the smallest is any one of them.
                map.pop_first();
            }
            map.insert(key, value);
        });
    }
}

impl<T> Default for Cache<T> {
    fn default() -> Self {
        Self(Cell::new(BTreeMap::new()))
    }
}

/// A clone starts empty.
impl<T> Clone for Cache<T> {
    fn clone(&self) -> Self {
        Self::default()
    }
}

impl<T> fmt::Debug for Cache<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Cache")
    }
}

/// Interior mutability: a lock with `std`, a cell without.
#[cfg(feature = "std")]
struct Cell<T>(std::sync::Mutex<T>);
#[cfg(not(feature = "std"))]
struct Cell<T>(core::cell::RefCell<T>);

#[cfg(feature = "std")]
impl<T> Cell<T> {
    const fn new(value: T) -> Self {
        Self(std::sync::Mutex::new(value))
    }

    /// Of a lock whose holder panicked, nothing is believed.
    fn with<R>(&self, change: impl FnOnce(&mut T) -> R) -> Option<R> {
        self.0.lock().ok().map(|mut value| change(&mut value))
    }
}

#[cfg(not(feature = "std"))]
impl<T> Cell<T> {
    const fn new(value: T) -> Self {
        Self(core::cell::RefCell::new(value))
    }

    fn with<R>(&self, change: impl FnOnce(&mut T) -> R) -> Option<R> {
        self.0.try_borrow_mut().ok().map(|mut value| change(&mut value))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounded_and_newest_kept() {
        let cache = Cache::default();
        for i in 0..LIMIT as u32 + 10 {
            let mut key = [0; 32];
            key[..4].copy_from_slice(&i.to_be_bytes());
            cache.insert(key, i);
            assert_eq!(cache.get(&key), Some(i));
        }
        assert_eq!(cache.0.with(|map| map.len()), Some(LIMIT));
        assert_eq!(cache.clone().get(&[0; 32]), None);
    }
}
