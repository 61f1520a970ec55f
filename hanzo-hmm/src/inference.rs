//! Inference: filtering, smoothing, decoding, sampling.

mod anomaly;
mod checkpoint;
mod decoding;
mod filter;
mod fixed_lag;
mod forward_backward;
mod k_best;
mod sampling;
mod scan;

pub use decoding::Path;
pub use filter::FilterState;
pub use fixed_lag::FixedLag;
pub use forward_backward::Posterior;
pub(crate) use k_best::KBest;

pub(crate) use checkpoint::smooth_in_blocks;
pub(crate) use forward_backward::{Expected, check_all, observed, smooth};
