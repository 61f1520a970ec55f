#![doc = include_str!("../README.md")]
#![cfg_attr(docsrs, feature(doc_cfg))]

mod cid;
mod content;
mod dedup;
mod effect;
mod entry;
mod error;
mod id;
mod import;
mod json;
mod library;
#[cfg(feature = "cid")]
mod manifest;
mod quality;
mod retrieval;
mod snapshot;
mod wide;

pub mod aggregate;
#[cfg(feature = "arweave")]
#[cfg_attr(docsrs, doc(cfg(feature = "arweave")))]
pub mod arweave;
pub mod crdt;
pub mod governance;
pub mod grpo;
pub mod merkle;
#[cfg(feature = "privacy")]
#[cfg_attr(docsrs, doc(cfg(feature = "privacy")))]
pub mod privacy;
pub mod product_of_experts;
pub mod registry;
pub mod rewards;
pub mod store;
pub mod sync;

pub use cid::Cid;
pub use content::{Content, Domain, Draft, Example, Text};
pub use crdt::{Record, Vote};
pub use dedup::{Dedup, Merger, TokenSet};
pub use effect::{Account, Effect};
pub use entry::{Entry, EntryKind};
pub use error::{Error, Result};
pub use id::ExperienceId;
pub use import::Imported;
pub use library::{Applied, Delta, Library, LibraryConfig, Merged, Mode, Operation, Outcome, SkipReason, Stamp};
#[cfg(feature = "cid")]
#[cfg_attr(docsrs, doc(cfg(feature = "cid")))]
pub use manifest::Manifest;
pub use quality::{Evidence, PruneItem, PrunePolicy, Quality, UsageScale, VoteScore, ln_q32, log2_q32, prune_order};
pub use retrieval::{
    EmbedError, Embedder, FnEmbedder, Hit, Index, RerankError, Reranker, RetrievalCache, Search, VectorIndex,
    embedding_digest, fence, render, within_budget,
};
pub use snapshot::Snapshot;

#[cfg(feature = "privacy")]
#[cfg_attr(docsrs, doc(cfg(feature = "privacy")))]
pub use rand_core;
pub use signature;
