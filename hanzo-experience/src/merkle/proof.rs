//! The two proofs of a log and their verifiers, which neither allocate nor accept a hash more or less than needed.

use super::{Hash, node_hash};
use crate::{Error, Result};

/// Proof that a leaf is in a tree: sibling hashes from the leaf up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InclusionProof(Vec<Hash>);

/// Proof that one tree is a prefix of another (RFC 9162 section 2.1.4).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConsistencyProof(Vec<Hash>);

macro_rules! proof {
    ($name:ident, $max:literal) => {
        impl $name {
            /// The most hashes that a proof over a 64-bit size can hold.
            pub const MAX_HASHES: usize = $max;

            /// A proof from its hashes.
            ///
            /// # Errors
            /// [`Error::ProofLength`] for more than [`MAX_HASHES`](Self::MAX_HASHES).
            pub fn new(hashes: Vec<Hash>) -> Result<Self> {
                if hashes.len() > Self::MAX_HASHES {
                    return Err(Error::ProofLength { got: hashes.len() as u64, want: Self::MAX_HASHES as u64 });
                }
                Ok(Self(hashes))
            }

            /// A proof from its wire form, the concatenated hashes.
            ///
            /// # Errors
            /// [`Error::ProofLength`] unless it is a whole number of hashes, at most
            /// [`MAX_HASHES`](Self::MAX_HASHES).
            pub fn from_bytes(bytes: &[u8]) -> Result<Self> {
                let (hashes, rest) = bytes.as_chunks::<{ Hash::LEN }>();
                if !rest.is_empty() {
                    return Err(Error::ProofLength {
                        got: bytes.len() as u64,
                        want: (hashes.len() * Hash::LEN) as u64,
                    });
                }
                Self::new(hashes.iter().copied().map(Hash::from_bytes).collect())
            }

            /// The wire form: the concatenated hashes.
            pub fn to_bytes(&self) -> Vec<u8> {
                self.0.iter().flat_map(Hash::as_bytes).copied().collect()
            }

            /// The hashes.
            pub fn hashes(&self) -> &[Hash] {
                &self.0
            }

            pub(super) fn trusted(hashes: Vec<Hash>) -> Self {
                Self(hashes)
            }
        }
    };
}

proof!(InclusionProof, 64);
proof!(ConsistencyProof, 65);

/// Checks that leaf hash `leaf` stands at `index` in the tree of `size` leaves with this root
/// (RFC 9162 section 2.1.3.2). O(log size) hashes, no allocation.
///
/// The size must come from the same trusted place as the root; prefer
/// [`Checkpoint::verify_inclusion`](super::Checkpoint::verify_inclusion).
///
/// # Errors
/// [`Error::IndexOutOfRange`], [`Error::ProofLength`], [`Error::RootMismatch`].
pub fn verify_inclusion(index: u64, size: u64, leaf: &Hash, proof: &InclusionProof, root: &Hash) -> Result<()> {
    if index >= size {
        return Err(Error::IndexOutOfRange { index, size });
    }
    let inner = bit_length(index ^ (size - 1));
    let border = ones_from(index, inner);
    let (inner, border) = parts(&proof.0, inner, border)?;
    let hash = climb_border(climb(*leaf, inner, index), border);
    equal(&hash, root)
}

/// Checks that the tree of `old_size` leaves is a prefix of the tree of `new_size` leaves
/// (RFC 9162 section 2.1.4.2). O(log size) hashes, no allocation.
///
/// Prefer [`Checkpoint::verify_extends`](super::Checkpoint::verify_extends).
///
/// # Errors
/// [`Error::EmptyOldTree`], [`Error::SizeOrder`], [`Error::ProofLength`], [`Error::RootMismatch`].
pub fn verify_consistency(
    old_size: u64,
    old_root: &Hash,
    new_size: u64,
    new_root: &Hash,
    proof: &ConsistencyProof,
) -> Result<()> {
    if old_size == 0 {
        return Err(Error::EmptyOldTree);
    }
    if old_size > new_size {
        return Err(Error::SizeOrder { old: old_size, new: new_size });
    }
    if old_size == new_size {
        parts(&proof.0, 0, 0)?;
        return equal(old_root, new_root);
    }
    // The path of the old tree's last leaf, begun at the largest perfect subtree that ends with it.
    let last = old_size - 1;
    let skipped = old_size.trailing_zeros();
    let inner = bit_length(last ^ (new_size - 1));
    let border = ones_from(last, inner);
    let inner = inner - skipped;
    let (seed, path) = if old_size.is_power_of_two() {
        (*old_root, proof.0.as_slice())
    } else {
        match proof.0.split_first() {
            Some((seed, path)) => (*seed, path),
            None => return Err(wrong_length(0, inner + border + 1)),
        }
    };
    let (inner, border) = parts(path, inner, border)?;
    let mask = last >> skipped;
    let old_inner = inner.iter().enumerate().filter(|(level, _)| mask >> level & 1 == 1);
    let old = old_inner.fold(seed, |right, (_, left)| node_hash(left, &right));
    equal(&climb_border(old, border), old_root)?;
    equal(&climb_border(climb(seed, inner, mask), border), new_root)
}

/// Folds siblings below the point where the path joins the right edge: left or right by the bits of `index`.
fn climb(leaf: Hash, siblings: &[Hash], index: u64) -> Hash {
    let step = |hash: Hash, (level, sibling): (usize, &Hash)| {
        if index >> level & 1 == 0 { node_hash(&hash, sibling) } else { node_hash(sibling, &hash) }
    };
    siblings.iter().enumerate().fold(leaf, step)
}

/// Folds siblings along the right edge, all of them on the left.
fn climb_border(hash: Hash, siblings: &[Hash]) -> Hash {
    siblings.iter().fold(hash, |right, left| node_hash(left, &right))
}

/// Splits a path of exactly `inner + border` hashes.
fn parts(path: &[Hash], inner: u32, border: u32) -> Result<(&[Hash], &[Hash])> {
    if path.len() != (inner + border) as usize {
        return Err(wrong_length(path.len(), inner + border));
    }
    Ok(path.split_at(inner as usize))
}

fn wrong_length(got: usize, want: u32) -> Error {
    Error::ProofLength { got: got as u64, want: want.into() }
}

fn equal(got: &Hash, want: &Hash) -> Result<()> {
    if got == want { Ok(()) } else { Err(Error::RootMismatch) }
}

fn bit_length(x: u64) -> u32 {
    u64::BITS - x.leading_zeros()
}

/// One bits of `x` from bit `from` up; `from` may be 64.
fn ones_from(x: u64, from: u32) -> u32 {
    x.checked_shr(from).unwrap_or(0).count_ones()
}
