//! Inference: filtering, smoothing, decoding.

mod decoding;
mod filter;
mod forward_backward;

pub use decoding::Path;
pub use filter::FilterState;
pub use forward_backward::Posterior;

pub(crate) use forward_backward::{Expected, check_all, observed, smooth};
