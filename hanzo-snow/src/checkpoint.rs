//! Checkpoints: a chained commitment to the transactions that settled in a range of rounds.
//!
//! leaf = SHA-256(00 | chain | epoch u64 | round u64 | author u32 | index u32 | tx), node = SHA-256(01 | left | right),
//! integers big-endian, in the tree shape of RFC 9162 section 2.1.1; no leaf: SHA-256 of nothing.

use alloc::vec::Vec;

use sha2::{Digest, Sha256};

/// A 32-byte hash.
pub type Hash = [u8; 32];

/// One settled transaction and where it was proposed.
///
/// Ordered by round, author and index, as leaves of a checkpoint are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Leaf {
    /// Round of the vertex that carried it.
    pub round: u64,
    /// Position of the vertex's author in the validator set.
    pub author: u32,
    /// Position in the vertex.
    pub index: u32,
    /// Id of the transaction.
    pub tx: Hash,
}

impl Leaf {
    /// The leaf's hash in the tree of a chain's epoch.
    #[must_use]
    pub fn hash(&self, chain: &Hash, epoch: u64) -> Hash {
        Sha256::new()
            .chain_update([0x00])
            .chain_update(chain)
            .chain_update(epoch.to_be_bytes())
            .chain_update(self.round.to_be_bytes())
            .chain_update(self.author.to_be_bytes())
            .chain_update(self.index.to_be_bytes())
            .chain_update(self.tx)
            .finalize()
            .into()
    }
}

/// Hash of an inner node.
#[must_use]
pub fn node_hash(left: &Hash, right: &Hash) -> Hash {
    Sha256::new().chain_update([0x01]).chain_update(left).chain_update(right).finalize().into()
}

/// Root of the tree over leaf hashes. O(n) time, O(log n) space.
#[must_use]
pub fn root(leaves: &[Hash]) -> Hash {
    // Complete subtrees, largest first: (number of leaves, hash). Merging equal sizes as they appear, then the rest
    // from the right, gives the largest power of two on every left.
    let mut subtrees: Vec<(usize, Hash)> = Vec::new();
    for &leaf in leaves {
        let mut subtree = (1, leaf);
        while let Some(left) = subtrees.pop_if(|left| left.0 == subtree.0) {
            subtree = (2 * left.0, node_hash(&left.1, &subtree.1));
        }
        subtrees.push(subtree);
    }
    let whole = subtrees.into_iter().map(|(_, hash)| hash).rev().reduce(|right, left| node_hash(&left, &right));
    whole.unwrap_or_else(|| Sha256::digest([]).into())
}

/// Builds the checkpoints of one epoch in order.
///
/// ```
/// use hanzo_snow::checkpoint::{Checkpointer, InclusionProof, Leaf};
///
/// let leaves: Vec<Leaf> = (0..5).map(|index| Leaf { round: 3, author: 0, index, tx: [index as u8; 32] }).collect();
/// let mut checkpointer = Checkpointer::new([9; 32], 1, 0);
/// let checkpoint = checkpointer.seal(9, &leaves)?;
/// let proof = InclusionProof::new(&checkpoint, &leaves, 3)?;
/// assert!(proof.verify(&checkpoint, &leaves[3]).is_ok());
/// assert!(proof.verify(&checkpoint, &leaves[2]).is_err());
/// assert_eq!(checkpointer.seal(19, &[])?.previous, checkpoint.digest());
/// # Ok::<(), hanzo_snow::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checkpointer {
    chain: Hash,
    epoch: u64,
    sequence: u64,
    first_round: u64,
    previous: Hash,
}

impl Checkpointer {
    /// For an epoch whose first round is `first_round`.
    #[must_use]
    pub const fn new(chain: Hash, epoch: u64, first_round: u64) -> Self {
        Self { chain, epoch, sequence: 0, first_round, previous: [0; 32] }
    }

    /// Goes on after a checkpoint of the same epoch. `None` if no round or sequence number is left.
    #[must_use]
    pub fn after(checkpoint: &Checkpoint) -> Option<Self> {
        Some(Self {
            chain: checkpoint.chain,
            epoch: checkpoint.epoch,
            sequence: checkpoint.sequence.checked_add(1)?,
            first_round: checkpoint.last_round.checked_add(1)?,
            previous: checkpoint.digest(),
        })
    }

    /// Closes the rounds up to `last_round` over `leaves`; a checkpoint may be empty. O(n) hashes.
    ///
    /// A leaf that was certified late may lie in a round before the checkpoint's first.
    ///
    /// # Errors
    /// [`CheckpointError::Rounds`] if `last_round` is before the first open round or the last that can be counted,
    /// [`CheckpointError::LeafRound`] for a leaf after it, [`CheckpointError::LeafOrder`] unless the places
    /// (round, author, index) of the leaves ascend strictly. Nothing changes then.
    pub fn seal(&mut self, last_round: u64, leaves: &[Leaf]) -> Result<Checkpoint, CheckpointError> {
        let rounds = CheckpointError::Rounds { first: self.first_round, last: last_round };
        if last_round < self.first_round {
            return Err(rounds);
        }
        for (index, leaf) in leaves.iter().enumerate() {
            if leaf.round > last_round {
                return Err(CheckpointError::LeafRound { index, round: leaf.round, last: last_round });
            }
            let place = |leaf: &Leaf| (leaf.round, leaf.author, leaf.index);
            if index > 0 && place(&leaves[index - 1]) >= place(leaf) {
                return Err(CheckpointError::LeafOrder { index });
            }
        }
        let hashes: Vec<Hash> = leaves.iter().map(|leaf| leaf.hash(&self.chain, self.epoch)).collect();
        let checkpoint = Checkpoint {
            chain: self.chain,
            epoch: self.epoch,
            sequence: self.sequence,
            first_round: self.first_round,
            last_round,
            leaf_count: leaves.len() as u64,
            root: root(&hashes),
            previous: self.previous,
        };
        *self = Self::after(&checkpoint).ok_or(rounds)?;
        Ok(checkpoint)
    }
}

/// A commitment to what settled in a range of rounds, chained to the one before.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Checkpoint {
    /// The chain.
    pub chain: Hash,
    /// The epoch.
    pub epoch: u64,
    /// Position in the epoch, from 0.
    pub sequence: u64,
    /// First round it closes.
    pub first_round: u64,
    /// Last round it closes.
    pub last_round: u64,
    /// Number of leaves.
    pub leaf_count: u64,
    /// Root of the tree over them.
    pub root: Hash,
    /// Digest of the checkpoint before; zeros at first.
    pub previous: Hash,
}

impl Checkpoint {
    /// SHA-256("hanzo-snow/v1/checkpoint" 00 | fields in order), to which the next checkpoint's `previous` commits.
    ///
    /// Nobody signs it: a checkpoint is settled by the certificates on the settlement block that carries it.
    #[must_use]
    pub fn digest(&self) -> Hash {
        let mut hash = Sha256::new_with_prefix(b"hanzo-snow/v1/checkpoint\0").chain_update(self.chain);
        for number in [self.epoch, self.sequence, self.first_round, self.last_round, self.leaf_count] {
            hash.update(number.to_be_bytes());
        }
        hash.chain_update(self.root).chain_update(self.previous).finalize().into()
    }
}

/// Proof that a leaf lies at a position of a checkpoint's tree (RFC 9162 section 2.1.3).
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct InclusionProof {
    /// Position of the leaf.
    pub index: u64,
    /// Sibling hashes from the leaf upwards. One longer than the tree is high, 64 at most, is refused.
    pub path: Vec<Hash>,
}

impl InclusionProof {
    /// Proves `leaves[index]` in the checkpoint over `leaves`. O(n) hashes.
    ///
    /// # Errors
    /// [`CheckpointError::Leaves`] if the checkpoint is not over these leaves, [`CheckpointError::Index`] beyond them.
    pub fn new(checkpoint: &Checkpoint, leaves: &[Leaf], index: u64) -> Result<Self, CheckpointError> {
        let hashes: Vec<Hash> = leaves.iter().map(|leaf| leaf.hash(&checkpoint.chain, checkpoint.epoch)).collect();
        if hashes.len() as u64 != checkpoint.leaf_count || root(&hashes) != checkpoint.root {
            return Err(CheckpointError::Leaves);
        }
        let beyond = CheckpointError::Index { index, count: checkpoint.leaf_count };
        let mut at = usize::try_from(index).ok().filter(|&at| at < hashes.len()).ok_or(beyond)?;
        let mut part = &hashes[..];
        let mut path = Vec::new();
        while part.len() > 1 {
            let (left, right) = part.split_at(part.len().next_power_of_two() / 2);
            if at < left.len() {
                path.push(root(right));
                part = left;
            } else {
                path.push(root(left));
                at -= left.len();
                part = right;
            }
        }
        path.reverse();
        Ok(Self { index, path })
    }

    /// Checks the proof against a checkpoint; the number of leaves is the checkpoint's. O(log n).
    ///
    /// # Errors
    /// [`CheckpointError::Index`] beyond the leaves, [`CheckpointError::PathLength`] for a path of the wrong length,
    /// [`CheckpointError::Root`] if the leaf is another.
    pub fn verify(&self, checkpoint: &Checkpoint, leaf: &Leaf) -> Result<(), CheckpointError> {
        let (mut at, count) = (self.index, checkpoint.leaf_count);
        if at >= count {
            return Err(CheckpointError::Index { index: at, count });
        }
        let wrong_length = CheckpointError::PathLength { length: self.path.len() };
        let mut last = count - 1;
        let mut hash = leaf.hash(&checkpoint.chain, checkpoint.epoch);
        for sibling in &self.path {
            if last == 0 {
                return Err(wrong_length);
            }
            if at & 1 == 1 || at == last {
                hash = node_hash(sibling, &hash);
                // A node without right sibling moves up unhashed until it is one.
                while at & 1 == 0 && at != 0 {
                    at >>= 1;
                    last >>= 1;
                }
            } else {
                hash = node_hash(&hash, sibling);
            }
            at >>= 1;
            last >>= 1;
        }
        if last != 0 {
            return Err(wrong_length);
        }
        if hash == checkpoint.root { Ok(()) } else { Err(CheckpointError::Root) }
    }
}

/// Why a checkpoint or proof was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CheckpointError {
    /// The rounds do not follow the last checkpoint's, or no further one could follow.
    #[error("no checkpoint over rounds {first} to {last}")]
    Rounds {
        /// The first open round.
        first: u64,
        /// The refused end.
        last: u64,
    },
    /// A leaf lies after the last round.
    #[error("leaf {index} is of round {round}, after {last}")]
    LeafRound {
        /// Position of the leaf.
        index: usize,
        /// Its round.
        round: u64,
        /// The last round of the checkpoint.
        last: u64,
    },
    /// A leaf's place does not follow the one before.
    #[error("leaf {index} does not follow the one before it")]
    LeafOrder {
        /// Position of the leaf.
        index: usize,
    },
    /// The leaves are not those of the checkpoint.
    #[error("checkpoint is over other leaves")]
    Leaves,
    /// A position beyond the last leaf.
    #[error("leaf {index} of {count}")]
    Index {
        /// The position.
        index: u64,
        /// The number of leaves.
        count: u64,
    },
    /// A path too long or too short for its position.
    #[error("a path of {length} hashes does not fit the position")]
    PathLength {
        /// Hashes in the path.
        length: usize,
    },
    /// The proof leads to another root.
    #[error("proof leads to another root")]
    Root,
}
