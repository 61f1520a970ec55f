//! What counts how much, and what may go.

use alloc::sync::Arc;
use core::sync::atomic::{AtomicU32, Ordering::Relaxed};

use super::{AdapterKey, CacheConfig, Counts};
use crate::adapter::Adapter;

/// An adapter in memory.
#[derive(Debug)]
pub(super) struct Resident {
    pub(super) adapter: Adapter,
    pub(super) weight: u64,
    /// While this is not 0 the adapter is not evicted.
    pub(super) pins: AtomicU32,
}

impl Resident {
    pub(super) fn new(adapter: Adapter, config: CacheConfig) -> Self {
        let weight = config.weight(&adapter);
        Self { adapter, weight, pins: AtomicU32::new(0) }
    }
}

#[derive(Debug, Clone)]
pub(super) struct Weight;

impl quick_cache::Weighter<AdapterKey, Arc<Resident>> for Weight {
    fn weight(&self, _: &AdapterKey, resident: &Arc<Resident>) -> u64 {
        resident.weight
    }
}

#[derive(Debug, Clone)]
pub(super) struct Lifecycle(Arc<Counts>);

impl quick_cache::Lifecycle<AdapterKey, Arc<Resident>> for Lifecycle {
    type RequestState = ();

    fn is_pinned(&self, _: &AdapterKey, resident: &Arc<Resident>) -> bool {
        resident.pins.load(Relaxed) > 0
    }

    fn on_evict(&self, (): &mut (), _: AdapterKey, _: Arc<Resident>) {
        self.0.evictions.fetch_add(1, Relaxed);
    }
}

/// An empty cache of the configured size.
pub(super) fn cache(
    config: CacheConfig,
    counts: Arc<Counts>,
) -> quick_cache::sync::Cache<AdapterKey, Arc<Resident>, Weight, std::hash::RandomState, Lifecycle> {
    // One shard: a budget that is split into parts is not the budget.
    let entries = usize::try_from(config.max_entries.clamp(1, MAX_ESTIMATE)).unwrap_or(1);
    // What was asked for once has the rest as its place to wait; a single entry has the whole budget.
    let hot = if entries == 1 { 1.0 } else { HOT };
    let options = quick_cache::OptionsBuilder::new()
        .estimated_items_capacity(entries)
        .weight_capacity(config.max_bytes)
        .shards(1)
        .hot_allocation(hot)
        .build();
    let state = std::hash::RandomState::new();
    match options {
        Ok(options) => quick_cache::sync::Cache::with_options(options, Weight, state, Lifecycle(counts)),
        // All required options are given above; this is their plain form.
        Err(_) => quick_cache::sync::Cache::with(entries, config.max_bytes, Weight, state, Lifecycle(counts)),
    }
}

/// Entries that room is made for at the start.
const MAX_ESTIMATE: u64 = 1 << 16;
/// Share of the budget for adapters that were asked for again; one that is larger by itself is not kept.
const HOT: f64 = 0.99;
