//! Quotas by key: an exact sliding window, and the generic cell rate algorithm.

mod gcra;
mod keyed;
mod sliding;

pub use gcra::Gcra;
pub use sliding::SlidingWindow;

use crate::Timestamp;

/// Why a request was not admitted; the quota is as before, save that time moves on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
#[non_exhaustive]
pub enum QuotaError {
    /// The key has used up its quota.
    #[error("quota is used up until {retry_at:?}")]
    Denied {
        /// When the same request would be admitted if nothing else of the key is; the end of the clock where that is later.
        retry_at: Timestamp,
    },
    /// The request costs more than the key may ever have at once.
    #[error("cost {cost} is above the limit of {limit}")]
    NeverFits {
        /// Cost of the request.
        cost: u32,
        /// Most that is admitted at once.
        limit: u32,
    },
    /// The call's time is before an earlier call's.
    #[error("clock went backwards: {now:?} is before {last:?}")]
    ClockBackwards {
        /// Time of the call.
        now: Timestamp,
        /// Latest time before.
        last: Timestamp,
    },
    /// As many keys are in use as are kept, and none of them is idle.
    #[error("{max_keys} keys are in use already")]
    TooManyKeys {
        /// Most keys kept.
        max_keys: usize,
    },
    /// A limit, burst, period or number of keys is 0, or too large.
    #[error("limit, burst, period or number of keys is zero or too large")]
    BadLimit,
}

const HOUR_NS: u64 = 3_600_000_000_000;
/// Keys kept where nothing else is said.
const MAX_KEYS: usize = 65_536;
