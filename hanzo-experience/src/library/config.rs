use crate::merkle::Origin;
use crate::{Dedup, PrunePolicy, Quality};

/// How a [`Library`](crate::Library) behaves.
#[derive(Debug, Clone, PartialEq)]
pub struct LibraryConfig {
    pub(super) origin: Origin,
    pub(super) replica: String,
    pub(super) capacity: usize,
    pub(super) quality: Quality,
    pub(super) prune_policy: PrunePolicy,
    pub(super) dedup: Option<Dedup>,
    pub(super) encoder: Option<(String, usize)>,
}

impl LibraryConfig {
    /// Default capacity.
    pub const DEFAULT_CAPACITY: usize = 1000;
    /// Default name of the replica.
    pub const DEFAULT_REPLICA: &str = "local";

    /// Defaults for a log of this name: 1000 experiences, default quality, pruning without protection, default
    /// [`Dedup`], no vectors.
    pub fn new(origin: Origin) -> Self {
        Self {
            origin,
            replica: Self::DEFAULT_REPLICA.to_owned(),
            capacity: Self::DEFAULT_CAPACITY,
            quality: Quality::default(),
            prune_policy: PrunePolicy::default(),
            dedup: Some(Dedup::default()),
            encoder: None,
        }
    }

    /// Names this replica, 1..=128 bytes of printable ASCII, unlike any other of the same origin: usage is counted under
    /// its name.
    pub fn replica(mut self, name: impl Into<String>) -> Self {
        self.replica = name.into();
        self
    }

    /// Sets how many experiences may be active.
    pub fn capacity(mut self, capacity: usize) -> Self {
        self.capacity = capacity;
        self
    }

    /// Sets how quality is computed.
    pub fn quality(mut self, quality: Quality) -> Self {
        self.quality = quality;
        self
    }

    /// Sets what is pruned last.
    pub fn prune_policy(mut self, policy: PrunePolicy) -> Self {
        self.prune_policy = policy;
        self
    }

    /// Sets the gate against copies; `None` adds everything.
    pub fn dedup(mut self, dedup: Option<Dedup>) -> Self {
        self.dedup = dedup;
        self
    }

    /// Keeps vectors of this encoder and dimension.
    pub fn encoder(mut self, id: impl Into<String>, dimension: usize) -> Self {
        self.encoder = Some((id.into(), dimension));
        self
    }

    /// The name of the log.
    pub fn origin(&self) -> &Origin {
        &self.origin
    }

    /// The name of this replica.
    pub fn replica_name(&self) -> &str {
        &self.replica
    }
}
