#![doc = include_str!("../README.md")]
#![cfg_attr(docsrs, feature(doc_cfg))]
#![cfg_attr(not(feature = "std"), no_std)]

extern crate alloc;

mod adapter;
mod apply;
#[cfg(feature = "std")]
mod cache;
mod delta;
mod digest;
#[cfg(feature = "std")]
mod distill;
mod dtype;
mod element;
mod error;
#[cfg(feature = "std")]
#[cfg_attr(docsrs, doc(cfg(feature = "std")))]
pub mod fit;
mod format;
mod kernel;
mod layout;
#[cfg(feature = "mmap")]
mod map;
mod matrix;
mod online;
mod options;
mod pack;
mod prior;
mod product;
mod report;
mod tiles;
mod workspace;

pub use adapter::bound::BoundAdapter;
pub use adapter::builder::AdapterBuilder;
pub use adapter::selection::{Selection, Treatment};
pub use adapter::{Adapter, Entry, RawTensor, ZeroTensor};
#[cfg(feature = "std")]
#[cfg_attr(docsrs, doc(cfg(feature = "std")))]
pub use cache::{AdapterCache, AdapterKey, AdapterStore, CacheConfig, CacheStats, DirectoryStore, MemoryStore};
pub use delta::{PackedDelta, PackedSpec};
pub use digest::{AdapterId, BaseDigest, TensorView, base_digest};
#[cfg(feature = "std")]
#[cfg_attr(docsrs, doc(cfg(feature = "std")))]
pub use distill::{DistillOptions, DistillReport, Scales, Teacher, TeacherFn, distill, mean_squared_error};
pub use dtype::{Dtype, ScaleDtype};
pub use element::{Bf16, Element, F16};
pub use error::{Error, Extent, Result};
pub use format::{ReadOptions, Verify};
pub use kernel::Backend;
pub use layout::Layout;
pub use matrix::{MatMut, MatRef};
pub use online::{ErrorFeedback, OnlineDelta};
pub use options::{Granularity, PackOptions, PlaneFit, SignZero};
pub use prior::{PriorReplica, PriorStream};
pub use product::batch::{Job, batched_matvec_acc, fused_batched_matvec_acc};
pub use product::dense::dense_matvec_acc;
pub use report::{Fidelity, StorageAccount, StorageReport};
pub use workspace::Workspace;
