//! One proof for many leaves of one tree: the siblings that the leaves do not give themselves.

use super::{Hash, node_hash};
use crate::{Error, Result};

/// Proof that several leaves stand in one tree.
///
/// The hashes are the siblings that cannot be computed from the leaves, level by level from the leaves up, ascending
/// inside a level; a node without sibling is promoted. Indices are not part of the proof: they travel with the leaves.
///
/// ```
/// use hanzo_experience::merkle::{Log, leaf_hash};
///
/// let mut log = Log::new();
/// for byte in 0..100_u8 {
///     log.append_data(&[byte]);
/// }
/// let checkpoint = log.checkpoint(&"example.com/log".parse()?);
/// let indices = [3, 4, 98];
/// let leaves = indices.map(|index| leaf_hash(&[index as u8]));
/// let proof = log.prove_many(&indices, 100)?;
/// checkpoint.verify_many(&indices, &leaves, &proof)?;
/// // Three single proofs would hold 7 + 7 + 4 hashes.
/// assert_eq!(proof.hashes().len(), 10);
/// # Ok::<(), hanzo_experience::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MultiProof(Vec<Hash>);

impl MultiProof {
    /// A proof of its hashes.
    pub fn new(hashes: Vec<Hash>) -> Self {
        Self(hashes)
    }

    /// A proof from its wire form, the concatenated hashes.
    ///
    /// # Errors
    /// [`Error::ProofLength`] unless it is a whole number of hashes.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self> {
        let (hashes, rest) = bytes.as_chunks::<{ Hash::LEN }>();
        if !rest.is_empty() {
            return Err(Error::ProofLength { got: bytes.len() as u64, want: (hashes.len() * Hash::LEN) as u64 });
        }
        Ok(Self(hashes.iter().copied().map(Hash::from_bytes).collect()))
    }

    /// The wire form: the concatenated hashes.
    pub fn to_bytes(&self) -> Vec<u8> {
        self.0.iter().flat_map(Hash::as_bytes).copied().collect()
    }

    /// The hashes.
    pub fn hashes(&self) -> &[Hash] {
        &self.0
    }
}

/// Checks that `leaves[i]` stands at `indices[i]`, for all i, in the tree of `size` leaves with this root.
///
/// `indices` ascend strictly and are at least one. Costs O(k log size) hashes and the memory of the k leaves; the
/// length of the proof is checked before the first hash.
///
/// The size must come from the same trusted place as the root; prefer
/// [`Checkpoint::verify_many`](super::Checkpoint::verify_many).
///
/// # Errors
/// [`Error::OutOfRange`] for no index; [`Error::IndexOrder`] unless they ascend strictly; [`Error::IndexOutOfRange`];
/// [`Error::ProofLength`] for another number of leaves than indices, or surplus or missing hashes;
/// [`Error::RootMismatch`].
pub fn verify_multi(indices: &[u64], leaves: &[Hash], size: u64, proof: &MultiProof, root: &Hash) -> Result<()> {
    check_indices(indices, size)?;
    if leaves.len() != indices.len() {
        return Err(Error::ProofLength { got: leaves.len() as u64, want: indices.len() as u64 });
    }
    let mut want = 0_u64;
    walk(indices, size, |_, _| want += 1);
    let got = proof.0.len() as u64;
    if got != want {
        return Err(Error::ProofLength { got, want });
    }

    let mut siblings = proof.0.iter();
    let mut nodes: Vec<(u64, Hash)> = indices.iter().copied().zip(leaves.iter().copied()).collect();
    let mut width = size;
    while width > 1 {
        let (mut read, mut write) = (0, 0);
        while let Some(&(index, hash)) = nodes.get(read) {
            read += 1;
            let known = nodes.get(read).filter(|(next, _)| index & 1 == 0 && *next == index + 1);
            let parent = if let Some((_, right)) = known {
                read += 1;
                node_hash(&hash, right)
            } else if has_sibling(index, width) {
                let sibling = siblings.next().ok_or(Error::ProofLength { got, want })?;
                if index & 1 == 0 { node_hash(&hash, sibling) } else { node_hash(sibling, &hash) }
            } else {
                hash
            };
            nodes[write] = (index / 2, parent);
            write += 1;
        }
        nodes.truncate(write);
        width = width.div_ceil(2);
    }
    match nodes[..] {
        [(_, hash)] if hash == *root => Ok(()),
        _ => Err(Error::RootMismatch),
    }
}

/// Calls `need(level, index)` for each sibling that a proof of these leaves holds, in the order of the proof. The
/// indices ascend strictly and lie below `size`.
pub(super) fn walk(indices: &[u64], size: u64, mut need: impl FnMut(u32, u64)) {
    let mut nodes = indices.to_vec();
    let (mut width, mut level) = (size, 0);
    while width > 1 {
        let (mut read, mut write) = (0, 0);
        while let Some(&index) = nodes.get(read) {
            read += 1;
            if index & 1 == 0 && nodes.get(read) == Some(&(index + 1)) {
                read += 1;
            } else if has_sibling(index, width) {
                need(level, index ^ 1);
            }
            nodes[write] = index / 2;
            write += 1;
        }
        nodes.truncate(write);
        width = width.div_ceil(2);
        level += 1;
    }
}

pub(super) fn check_indices(indices: &[u64], size: u64) -> Result<()> {
    let Some(&last) = indices.last() else {
        return Err(Error::OutOfRange { field: "indices" });
    };
    if !indices.is_sorted_by(|a, b| a < b) {
        return Err(Error::IndexOrder);
    }
    if last >= size {
        return Err(Error::IndexOutOfRange { index: last, size });
    }
    Ok(())
}

/// Whether a node has a sibling among the `width` nodes of its level.
fn has_sibling(index: u64, width: u64) -> bool {
    index & 1 == 1 || index + 1 < width
}
