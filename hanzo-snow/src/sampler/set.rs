//! Validators and their stakes.

use alloc::vec::Vec;

/// A set of validators with stakes that sum to `1..=u64::MAX`, in the order given. Single stakes may be 0: such a validator
/// counts in [`len`](Self::len) and has a position, but is never sampled.
///
/// ```
/// use hanzo_snow::ValidatorSet;
///
/// let set = ValidatorSet::from_stakes([("ann", 60), ("bob", 5), ("cat", 40)], 10)?;
/// assert_eq!((set.len(), set.total_stake()), (2, 100));
/// assert_eq!(set.position(&"cat"), Some(1));
/// # Ok::<(), hanzo_snow::SetError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ValidatorSet<N> {
    nodes: Vec<N>,
    stakes: Vec<u64>,
    total: u64,
    /// Positions ascending by node.
    by_node: Vec<usize>,
}

impl<N: Ord> ValidatorSet<N> {
    /// A set of all given validators. O(n log n).
    ///
    /// # Errors
    /// [`SetError::EmptySet`] for no validator or no stake, [`SetError::StakeOverflow`] for a sum above `u64::MAX`,
    /// [`SetError::DuplicateValidator`] for a node given twice.
    pub fn new(validators: impl IntoIterator<Item = (N, u64)>) -> Result<Self, SetError> {
        Self::from_stakes(validators, 0)
    }

    /// A set of those with at least `min_stake`, the others left out. O(n log n).
    ///
    /// # Errors
    /// Those of [`new`](Self::new), for what is left: a node given twice is refused only if both stakes are large enough.
    pub fn from_stakes(validators: impl IntoIterator<Item = (N, u64)>, min_stake: u64) -> Result<Self, SetError> {
        let (nodes, stakes): (Vec<N>, Vec<u64>) =
            validators.into_iter().filter(|&(_, stake)| stake >= min_stake).unzip();
        let total =
            stakes.iter().try_fold(0_u64, |sum, &stake| sum.checked_add(stake)).ok_or(SetError::StakeOverflow)?;
        if total == 0 {
            return Err(SetError::EmptySet);
        }
        let mut by_node: Vec<usize> = (0..nodes.len()).collect();
        by_node.sort_by(|&a, &b| nodes[a].cmp(&nodes[b]));
        for pair in by_node.windows(2) {
            if nodes[pair[0]] == nodes[pair[1]] {
                return Err(SetError::DuplicateValidator { first: pair[0], second: pair[1] });
            }
        }
        Ok(Self { nodes, stakes, total, by_node })
    }

    /// Position of a validator. O(log n).
    #[must_use]
    pub fn position(&self, node: &N) -> Option<usize> {
        self.by_node.binary_search_by(|&at| self.nodes[at].cmp(node)).ok().map(|at| self.by_node[at])
    }

    /// Stake of a validator; `None` for a stranger. O(log n).
    #[must_use]
    pub fn stake(&self, node: &N) -> Option<u64> {
        self.position(node).map(|at| self.stakes[at])
    }
}

impl<N> ValidatorSet<N> {
    /// Number of validators, at least 1.
    #[must_use]
    #[expect(clippy::len_without_is_empty, reason = "never empty")]
    pub const fn len(&self) -> usize {
        self.nodes.len()
    }

    /// Sum of all stakes, at least 1.
    #[must_use]
    pub const fn total_stake(&self) -> u64 {
        self.total
    }

    /// The validators in the order given.
    #[must_use]
    pub fn nodes(&self) -> &[N] {
        &self.nodes
    }

    /// Their stakes, in the same order.
    #[must_use]
    pub fn stakes(&self) -> &[u64] {
        &self.stakes
    }
}

/// Why a validator set was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SetError {
    /// No validator, or none with stake.
    #[error("no validator has stake")]
    EmptySet,
    /// The stakes sum to more than `u64::MAX`.
    #[error("stakes sum to more than 2^64 - 1")]
    StakeOverflow,
    /// Two entries for one node.
    #[error("entries {first} and {second} name the same validator")]
    DuplicateValidator {
        /// Position of one entry among those with enough stake.
        first: usize,
        /// Position of the other.
        second: usize,
    },
    /// More validators than a [`Committee`](crate::Committee) takes, or nodes than a simulated network does.
    #[error("more than {limit} validators")]
    TooMany {
        /// The most.
        limit: usize,
    },
    /// A node that is not in the set.
    #[error("validator is not in the set")]
    UnknownValidator,
}
