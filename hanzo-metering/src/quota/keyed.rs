use super::{MAX_KEYS, QuotaError};
use crate::Timestamp;
use alloc::collections::BinaryHeap;
use core::cmp::{Ordering, Reverse};
use core::hash::Hash;
use foldhash::fast::FixedState;
use hashbrown::HashMap;

/// What is known of one key.
pub(super) trait State {
    /// From which nanosecond on the key is as good as new. Never falls while the key is kept.
    fn idle_at(&self) -> u128;
}

/// States by key, at most so many; where there is no room the key that is idle longest makes some.
#[derive(Debug, Clone)]
pub(super) struct Keyed<K, S> {
    states: HashMap<K, S, FixedState>,
    limits: HashMap<K, u32, FixedState>,
    /// One entry a key, with a lower bound of when it is idle.
    idle: BinaryHeap<Reverse<Idle<K>>>,
    max_keys: usize,
    now: Timestamp,
}

#[derive(Debug, Clone)]
struct Idle<K> {
    at: u128,
    key: K,
}

impl<K: Hash + Eq + Clone, S: State> Keyed<K, S> {
    pub(super) fn new() -> Self {
        Self::with(MAX_KEYS, 0)
    }

    pub(super) fn with(max_keys: usize, hash_seed: u64) -> Self {
        let state = FixedState::with_seed(hash_seed);
        Self {
            states: HashMap::with_hasher(state.clone()),
            limits: HashMap::with_hasher(state),
            idle: BinaryHeap::new(),
            max_keys,
            now: Timestamp::ZERO,
        }
    }

    pub(super) fn len(&self) -> usize {
        self.states.len()
    }

    pub(super) fn advance(&mut self, now: Timestamp) -> Result<(), QuotaError> {
        if now < self.now {
            return Err(QuotaError::ClockBackwards { now, last: self.now });
        }
        self.now = now;
        Ok(())
    }

    pub(super) fn limit(&self, key: &K) -> Option<u32> {
        // Most quotas set none.
        if self.limits.is_empty() { None } else { self.limits.get(key).copied() }
    }

    pub(super) fn set_limit(&mut self, key: K, limit: u32) -> Option<u32> {
        self.limits.insert(key, limit)
    }

    pub(super) fn get_mut(&mut self, key: &K) -> Option<&mut S> {
        self.states.get_mut(key)
    }

    /// Keeps a new key.
    pub(super) fn insert(&mut self, key: &K, state: S) -> Result<(), QuotaError> {
        if self.states.len() >= self.max_keys {
            self.drop_idle()?;
        }
        self.idle.push(Reverse(Idle { at: state.idle_at(), key: key.clone() }));
        self.states.insert(key.clone(), state);
        Ok(())
    }

    /// Drops one idle key. Every bound in the heap is at most the truth, so looking stops at the first that is not due.
    fn drop_idle(&mut self) -> Result<(), QuotaError> {
        let now = u128::from(self.now.as_nanos());
        while self.idle.peek().is_some_and(|Reverse(first)| first.at <= now) {
            let Some(Reverse(Idle { key, .. })) = self.idle.pop() else { break };
            let Some(state) = self.states.get(&key) else { continue };
            if state.idle_at() <= now {
                self.states.remove(&key);
                return Ok(());
            }
            self.idle.push(Reverse(Idle { at: state.idle_at(), key }));
        }
        Err(QuotaError::TooManyKeys { max_keys: self.max_keys })
    }
}

impl<K> PartialEq for Idle<K> {
    fn eq(&self, other: &Self) -> bool {
        self.at == other.at
    }
}

impl<K> Eq for Idle<K> {}

impl<K> PartialOrd for Idle<K> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl<K> Ord for Idle<K> {
    fn cmp(&self, other: &Self) -> Ordering {
        self.at.cmp(&other.at)
    }
}
