#![doc = include_str!("../README.md")]
#![cfg_attr(docsrs, feature(doc_cfg))]
#![forbid(unsafe_code)]

mod cid;
mod content;
mod dedup;
mod entry;
mod error;
mod id;
mod json;
mod library;
mod quality;
mod retrieval;

pub mod merkle;

pub use content::{Content, Domain, Draft, Example, Text};
pub use dedup::{Dedup, TokenSet};
pub use entry::{Entry, EntryKind};
pub use error::{Error, Result};
pub use id::ExperienceId;
pub use library::{Annotations, Applied, Library, LibraryConfig, Mode, Operation, Outcome, SkipReason, Stamp, Vote};
pub use quality::{Evidence, PruneItem, PrunePolicy, Quality, UsageScale, VoteScore, log2_q32, prune_order};
pub use retrieval::{EmbedError, Embedder, FnEmbedder, Hit, Search, VectorIndex};

pub use signature;
