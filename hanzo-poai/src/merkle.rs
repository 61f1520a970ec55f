//! Merkle trees in the shape of RFC 9162 section 2.1.1, with a tagged node hash.

use alloc::vec::Vec;

use crate::encoding::Reader;
use crate::error::{Error, Result};
use crate::hash::{Hash, Tag};

/// A proof that a leaf stands at `index` of a batch of `count`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InclusionProof {
    index: u32,
    count: u32,
    path: Vec<Hash>,
}

impl InclusionProof {
    /// A proof from its parts; the path must be as long as `(index, count)` implies.
    ///
    /// # Errors
    /// [`Error::BatchSize`] for a count of 0 or above 2^20; [`Error::BadProof`] for an index past the
    /// count or another path length.
    pub fn new(index: u32, count: u32, path: Vec<Hash>) -> Result<Self> {
        if count == 0 || count > MAX_LEAVES {
            return Err(Error::BatchSize { got: count.into(), max: MAX_LEAVES.into() });
        }
        if index >= count || path.len() != path_len(index.into(), count.into()) {
            return Err(Error::BadProof);
        }
        Ok(Self { index, count, path })
    }

    /// Position of the leaf.
    pub const fn index(&self) -> u32 {
        self.index
    }

    /// Leaves of the batch.
    pub const fn count(&self) -> u32 {
        self.count
    }

    /// Sibling hashes, from the leaf up.
    pub fn path(&self) -> &[Hash] {
        &self.path
    }

    /// Wire form: index u32, count u32, length u8, hashes.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(9 + 32 * self.path.len());
        out.extend_from_slice(&self.index.to_be_bytes());
        out.extend_from_slice(&self.count.to_be_bytes());
        out.push(self.path.len() as u8);
        out.extend(self.path.iter().flatten());
        out
    }

    /// Strict decoding of [`InclusionProof::encode`].
    ///
    /// # Errors
    /// [`Error::Length`], or what [`InclusionProof::new`] refuses.
    pub fn decode(bytes: &[u8]) -> Result<Self> {
        let mut reader = Reader::new(bytes);
        let (index, count) = (reader.u32()?, reader.u32()?);
        let path = read_path(&mut reader)?;
        reader.finish()?;
        Self::new(index, count, path)
    }

    /// Checks the proof for the hash of an attestation (or of leaf bytes) against a batch root.
    ///
    /// # Errors
    /// [`Error::BadProof`].
    pub fn verify(&self, leaf: &Hash, root: &Hash) -> Result<()> {
        let node = Tag::new(BATCH_NODE);
        let got = climb(&node, self.index.into(), self.count.into(), leaf, &self.path)?;
        if got == *root { Ok(()) } else { Err(Error::BadProof) }
    }
}

/// All levels of a tree, leaves first. Nodes without a sibling move up unchanged, which gives the
/// shape of RFC 9162: the largest power of two below n on the left.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Tree {
    levels: Vec<Vec<Hash>>,
}

impl Tree {
    /// The tree over `leaves`, 1 to `max` of them.
    pub(crate) fn new(label: &str, leaves: Vec<Hash>, max: u64) -> Result<Self> {
        if leaves.is_empty() || leaves.len() as u64 > max {
            return Err(Error::BatchSize { got: leaves.len() as u64, max });
        }
        let node = Tag::new(label);
        let mut levels = Vec::new();
        let mut level = leaves;
        while level.len() > 1 {
            let next = level
                .chunks(2)
                .map(|pair| match pair {
                    [left, right] => node.hash(&[left, right]),
                    rest => rest.first().copied().unwrap_or([0; 32]),
                })
                .collect();
            levels.push(core::mem::replace(&mut level, next));
        }
        levels.push(level);
        Ok(Self { levels })
    }

    pub(crate) fn root(&self) -> Hash {
        self.levels.last().and_then(|top| top.first()).copied().unwrap_or([0; 32])
    }

    pub(crate) fn leaves(&self) -> &[Hash] {
        self.levels.first().map_or(&[], Vec::as_slice)
    }

    /// Siblings of leaf `index`, from the leaf up; `None` past the last leaf.
    pub(crate) fn path(&self, index: usize) -> Option<Vec<Hash>> {
        self.leaves().get(index)?;
        let mut path = Vec::new();
        for (height, level) in self.levels.iter().enumerate() {
            path.extend(level.get((index >> height) ^ 1));
        }
        Some(path)
    }
}

/// The root over `leaves`, level by level in their own place; zero for none.
pub(crate) fn root_in_place(label: &str, mut leaves: Vec<Hash>) -> Hash {
    let node = Tag::new(label);
    let mut len = leaves.len();
    while len > 1 {
        for at in 0..len / 2 {
            let [left, right] = [leaves[2 * at], leaves[2 * at + 1]];
            leaves[at] = node.hash(&[&left, &right]);
        }
        if len % 2 == 1 {
            leaves[len / 2] = leaves[len - 1];
        }
        len = len.div_ceil(2);
    }
    leaves.first().copied().unwrap_or([0; 32])
}

/// The root that `leaf` at `index` of `count` and its path imply (RFC 9162 section 2.1.3.2).
pub(crate) fn climb(node: &Tag, index: u64, count: u64, leaf: &Hash, path: &[Hash]) -> Result<Hash> {
    let mut last = count.checked_sub(1).ok_or(Error::BadProof)?;
    if index > last || path.len() != path_len(index, count) {
        return Err(Error::BadProof);
    }
    let (mut at, mut hash, mut path) = (index, *leaf, path.iter());
    while last > 0 {
        if at & 1 == 1 {
            hash = node.hash(&[path.next().ok_or(Error::BadProof)?, &hash]);
        } else if at < last {
            hash = node.hash(&[&hash, path.next().ok_or(Error::BadProof)?]);
        }
        at >>= 1;
        last >>= 1;
    }
    Ok(hash)
}

/// u8 length, then that many hashes.
pub(crate) fn read_path(reader: &mut Reader<'_>) -> Result<Vec<Hash>> {
    let len = reader.u8()?;
    (0..len).map(|_| reader.array()).collect()
}

/// Length of the path of leaf `index` among `count > index` leaves.
fn path_len(index: u64, count: u64) -> usize {
    let (mut at, mut last, mut len) = (index, count.saturating_sub(1), 0);
    while last > 0 {
        len += usize::from(at & 1 == 1 || at < last);
        at >>= 1;
        last >>= 1;
    }
    len
}

/// Most attestations of a batch: 2^20.
pub(crate) const MAX_LEAVES: u32 = 1 << 20;
/// Label of the nodes of a batch.
pub(crate) const BATCH_NODE: &str = "node";

#[cfg(test)]
mod tests {
    use alloc::vec;

    use super::*;
    use crate::hash::sha256;

    /// RFC 9162 section 2.1.1 as it is written: split at the largest power of two below n.
    fn plain_root(node: &Tag, leaves: &[Hash]) -> Hash {
        if let [leaf] = leaves {
            return *leaf;
        }
        let (left, right) = leaves.split_at(1 << (leaves.len() - 1).ilog2());
        node.hash(&[&plain_root(node, left), &plain_root(node, right)])
    }

    #[test]
    fn shape_is_the_one_of_rfc_9162_and_every_proof_verifies() {
        let node = Tag::new(BATCH_NODE);
        let leaves: Vec<Hash> = (0..70u8).map(|i| sha256(&[i])).collect();
        for count in 1..=leaves.len() {
            let tree = Tree::new(BATCH_NODE, leaves[..count].to_vec(), 70).unwrap();
            assert_eq!(tree.root(), plain_root(&node, &leaves[..count]));
            assert_eq!(tree.root(), root_in_place(BATCH_NODE, leaves[..count].to_vec()));
            for index in 0..count {
                let path = tree.path(index).unwrap();
                let proof = InclusionProof::new(index as u32, count as u32, path).unwrap();
                proof.verify(&leaves[index], &tree.root()).unwrap();
                assert!(proof.verify(&leaves[(index + 1) % 70], &tree.root()).is_err());
            }
            assert!(tree.path(count).is_none());
        }
    }

    #[test]
    fn size_limits() {
        assert!(Tree::new(BATCH_NODE, vec![], 4).is_err());
        assert!(Tree::new(BATCH_NODE, vec![[0; 32]; 5], 4).is_err());
    }
}
