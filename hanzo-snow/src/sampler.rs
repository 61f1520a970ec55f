//! Whom to poll: samples without replacement, each validator in proportion to its stake.

mod heap;
mod set;
mod table;
mod tree;
pub(crate) mod units;

use alloc::vec::Vec;

use rand_core::Rng;

pub use heap::StakeHeap;
pub use set::{SetError, ValidatorSet};
pub use table::StakeTable;
pub use tree::StakeTree;
pub use units::{Uniform, sample_units};

/// Draws the validators of one poll.
///
/// # Guarantees
/// `out` holds exactly `k` nodes after `Ok`, a node once for each unit drawn from it; after `Err` neither `out` nor
/// the generator has changed. A validator without stake is never drawn. The same words give the same sample.
pub trait ValidatorSampler {
    /// What identifies a validator.
    type Node;

    /// Replaces the contents of `out` by a sample of `k`.
    ///
    /// # Errors
    /// [`SampleError::SampleTooLarge`] if there is less than `k` to draw from; `k` is never lowered.
    fn sample<R: Rng + ?Sized>(&self, k: u16, rng: &mut R, out: &mut Vec<Self::Node>) -> Result<(), SampleError>;
}

/// Why a sample could not be drawn.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SampleError {
    /// Fewer units than asked for.
    #[error("sample of {k} from {total_stake} units of stake")]
    SampleTooLarge {
        /// Units that could be drawn, the own stake left out where it is; of [`Uniform`] the validators.
        total_stake: u64,
        /// Units asked for.
        k: u16,
    },
}
