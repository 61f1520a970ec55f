//! Byzantine quorums of stake.

use alloc::vec::Vec;
use core::num::NonZeroU64;

use crate::sampler::ValidatorSet;

/// The stake any two quorums of which share more than the faulty third: `floor(2W/3) + 1` of a total of `W`.
///
/// `2f + 1` is no substitute where `W` is not `3f + 1`: with 99 units and 32 faulty ones two sets of 65 may share only 31.
///
/// ```
/// use core::num::NonZeroU64;
/// use hanzo_snow::Quorum;
///
/// let quorum = Quorum::of(NonZeroU64::new(99).expect("not zero"));
/// assert_eq!((quorum.stake(), quorum.max_faulty(), quorum.one_honest()), (67, 32, 33));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Quorum {
    total: u64,
    stake: u64,
}

impl Quorum {
    /// The quorum of a total stake.
    #[must_use]
    pub const fn of(total: NonZeroU64) -> Self {
        let total = total.get();
        // floor(2W/3) + 1 without leaving 64 bits.
        let stake = total / 3 * 2 + total % 3 * 2 / 3 + 1;
        Self { total, stake }
    }

    #[cfg(feature = "simulate")]
    pub(crate) const fn weakened(total: u64, stake: u64) -> Self {
        Self { total, stake }
    }

    /// Stake that makes a quorum.
    #[must_use]
    pub const fn stake(&self) -> u64 {
        self.stake
    }

    /// The whole stake.
    #[must_use]
    pub const fn total(&self) -> u64 {
        self.total
    }

    /// The most faulty stake with which a quorum is still reached by the others.
    #[must_use]
    pub const fn max_faulty(&self) -> u64 {
        self.total - self.stake
    }

    /// The least stake that holds honest stake for sure.
    #[must_use]
    pub const fn one_honest(&self) -> u64 {
        self.max_faulty() + 1
    }

    /// Whether `stake` is enough.
    #[must_use]
    pub const fn is_reached(&self, stake: u64) -> bool {
        stake >= self.stake
    }
}

impl<N> ValidatorSet<N> {
    /// The quorum of this set's stake.
    #[must_use]
    pub const fn quorum(&self) -> Quorum {
        match NonZeroU64::new(self.total_stake()) {
            Some(total) => Quorum::of(total),
            // A set always has stake.
            None => Quorum { total: 0, stake: 1 },
        }
    }
}

impl<N: Ord> ValidatorSet<N> {
    /// Checks that the signers are different members with a quorum of stake, and returns their stake. O(s log n).
    ///
    /// # Errors
    /// [`QuorumError`] for the first signer in the order given that is unknown or repeated, then for too little stake.
    pub fn check_quorum<'a>(&self, signers: impl IntoIterator<Item = &'a N>) -> Result<u64, QuorumError>
    where
        N: 'a,
    {
        let mut seen: Vec<bool> = alloc::vec![false; self.len()];
        let mut stake = 0;
        for (index, signer) in signers.into_iter().enumerate() {
            let at = self.position(signer).ok_or(QuorumError::UnknownSigner { index })?;
            if core::mem::replace(&mut seen[at], true) {
                return Err(QuorumError::DuplicateSigner { index });
            }
            // Different members, so within the total.
            stake += self.stakes()[at];
        }
        let quorum = self.quorum();
        if quorum.is_reached(stake) {
            Ok(stake)
        } else {
            Err(QuorumError::TooLittleStake { stake, quorum: quorum.stake() })
        }
    }
}

/// Why signers do not make a quorum.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum QuorumError {
    /// A signer appears twice.
    #[error("signer {index} is a repetition")]
    DuplicateSigner {
        /// Position of the repetition.
        index: usize,
    },
    /// A signer is not in the set.
    #[error("signer {index} is not in the set")]
    UnknownSigner {
        /// Position of the signer.
        index: usize,
    },
    /// The signers' stake is below the quorum.
    #[error("signers hold {stake} of the {quorum} units of a quorum")]
    TooLittleStake {
        /// Stake of the signers.
        stake: u64,
        /// Stake needed.
        quorum: u64,
    },
}
