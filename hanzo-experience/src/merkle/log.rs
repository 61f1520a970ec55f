use std::sync::OnceLock;

use super::multiproof::{check_indices, walk};
use super::{Checkpoint, ConsistencyProof, Hash, InclusionProof, MultiProof, Origin, empty_root, leaf_hash, node_hash};
use crate::{Error, Result};

/// An append-only Merkle log (RFC 9162 section 2.1) that keeps every node of its perfect subtrees.
///
/// Appending costs one node hash on average. The first root or proof after it costs O(log n) hashes, the next ones at
/// that size none; every earlier size stays provable, in O(log n) hashes. Space is 64 bytes a leaf.
///
/// ```
/// use hanzo_experience::merkle::{Log, leaf_hash, verify_consistency, verify_inclusion};
///
/// let mut log = Log::new();
/// for text in ["one", "two", "three"] {
///     log.append_data(text.as_bytes());
/// }
/// let old = log.root();
/// log.append_data(b"four");
///
/// let proof = log.prove_inclusion(1, log.size())?;
/// verify_inclusion(1, 4, &leaf_hash(b"two"), &proof, &log.root())?;
/// verify_consistency(3, &old, 4, &log.root(), &log.prove_consistency(3, 4)?)?;
/// # Ok::<(), hanzo_experience::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct Log {
    /// `levels[k][i]` is the root of leaves `i * 2^k .. (i + 1) * 2^k`, for every such range that is full.
    levels: Vec<Vec<Hash>>,
    /// `edge[i]` is the root over the last `i + 1` peaks: the nodes of the present size that no level holds.
    edge: OnceLock<Vec<Hash>>,
    /// The root over all leaves, once it was asked for.
    root: OnceLock<Hash>,
}

impl Log {
    /// The empty log.
    pub fn new() -> Self {
        Self::from_leaves(Vec::new())
    }

    /// A log of these leaf hashes, in n - 1 node hashes; with the feature `rayon` on several threads where there are many.
    pub fn from_leaves(leaves: Vec<Hash>) -> Self {
        let mut levels = vec![leaves];
        while let Some(below) = levels.last().filter(|level| level.len() > 1) {
            levels.push(parents(below));
        }
        Self { levels, edge: OnceLock::new(), root: OnceLock::new() }
    }

    /// Appends a leaf hash and returns its index.
    pub fn append(&mut self, leaf: Hash) -> u64 {
        let index = self.size();
        self.edge.take();
        self.root.take();
        let mut node = leaf;
        let mut level = 0;
        loop {
            if level == self.levels.len() {
                self.levels.push(Vec::new());
            }
            let nodes = &mut self.levels[level];
            nodes.push(node);
            if nodes.len() % 2 == 1 {
                return index;
            }
            node = node_hash(&nodes[nodes.len() - 2], &node);
            level += 1;
        }
    }

    /// Appends the leaf of `data` and returns its index.
    pub fn append_data(&mut self, data: &[u8]) -> u64 {
        self.append(leaf_hash(data))
    }

    /// Number of leaves.
    pub fn size(&self) -> u64 {
        self.levels[0].len() as u64
    }

    /// Whether there are no leaves.
    pub fn is_empty(&self) -> bool {
        self.levels[0].is_empty()
    }

    /// All leaf hashes.
    pub fn leaves(&self) -> &[Hash] {
        &self.levels[0]
    }

    /// Index of the first leaf with this hash: a scan, O(n) comparisons.
    pub fn index_of(&self, leaf: &Hash) -> Option<u64> {
        self.leaves().iter().position(|hash| hash == leaf).map(|index| index as u64)
    }

    /// Root over all leaves.
    pub fn root(&self) -> Hash {
        *self.root.get_or_init(|| {
            // Without the edge, which proofs need and roots do not: nothing is allocated.
            let mut rest = self.levels[0].len();
            let mut root = None;
            while rest > 0 {
                let level = rest.trailing_zeros() as usize;
                rest -= 1 << level;
                let peak = self.levels[level][rest >> level];
                root = Some(root.map_or(peak, |right| node_hash(&peak, &right)));
            }
            root.unwrap_or_else(empty_root)
        })
    }

    /// Root over the first `size` leaves.
    ///
    /// # Errors
    /// [`Error::SizeOrder`] if there are fewer leaves.
    pub fn root_at(&self, size: u64) -> Result<Hash> {
        Ok(self.range_hash(0, self.checked(size)?))
    }

    /// The log's own statement of its size and root.
    pub fn checkpoint(&self, origin: &Origin) -> Checkpoint {
        Checkpoint::trusted(origin.clone(), self.size(), self.root())
    }

    /// Proof that leaf `index` is in the tree of the first `size` leaves (RFC 9162 section 2.1.3.1).
    ///
    /// # Errors
    /// [`Error::SizeOrder`] if there are fewer leaves than `size`; [`Error::IndexOutOfRange`] unless `index < size`.
    pub fn prove_inclusion(&self, index: u64, size: u64) -> Result<InclusionProof> {
        let end = self.checked(size)?;
        if index >= size {
            return Err(Error::IndexOutOfRange { index, size });
        }
        let index = index as usize;
        let (mut lo, mut hi) = (0, end);
        let mut path = Vec::with_capacity(depth(end));
        while hi - lo > 1 {
            let mid = split(lo, hi);
            if index < mid {
                path.push(self.range_hash(mid, hi));
                hi = mid;
            } else {
                path.push(self.range_hash(lo, mid));
                lo = mid;
            }
        }
        path.reverse();
        Ok(InclusionProof::trusted(path))
    }

    /// Proof that the first `old` leaves are a prefix of the first `new` ones (RFC 9162 section 2.1.4.1).
    ///
    /// # Errors
    /// [`Error::EmptyOldTree`] for `old = 0`; [`Error::SizeOrder`] unless `old <= new` and there are `new` leaves.
    pub fn prove_consistency(&self, old: u64, new: u64) -> Result<ConsistencyProof> {
        if old == 0 {
            return Err(Error::EmptyOldTree);
        }
        if old > new {
            return Err(Error::SizeOrder { old, new });
        }
        let (old, end) = (self.checked(old)?, self.checked(new)?);
        let (mut lo, mut hi) = (0, end);
        let mut path = Vec::with_capacity(depth(end) + 1);
        while hi != old {
            let mid = split(lo, hi);
            if old <= mid {
                path.push(self.range_hash(mid, hi));
                hi = mid;
            } else {
                path.push(self.range_hash(lo, mid));
                lo = mid;
            }
        }
        // The verifier knows the old root, so it is sent only where it is not this subtree.
        if lo != 0 {
            path.push(self.range_hash(lo, hi));
        }
        path.reverse();
        Ok(ConsistencyProof::trusted(path))
    }

    /// Proof that the leaves at `indices` are in the tree of the first `size` leaves: at least one index, strictly
    /// ascending.
    ///
    /// # Errors
    /// [`Error::SizeOrder`] if there are fewer leaves than `size`; [`Error::OutOfRange`] for no index;
    /// [`Error::IndexOrder`] unless they ascend strictly; [`Error::IndexOutOfRange`].
    pub fn prove_many(&self, indices: &[u64], size: u64) -> Result<MultiProof> {
        let end = self.checked(size)?;
        check_indices(indices, size)?;
        let mut hashes = Vec::new();
        walk(indices, size, |level, index| {
            let lo = (index as usize) << level;
            hashes.push(self.range_hash(lo, end.min(lo + (1 << level))));
        });
        Ok(MultiProof::new(hashes))
    }

    /// `size` as an index, if there are so many leaves.
    fn checked(&self, size: u64) -> Result<usize> {
        if size > self.size() {
            return Err(Error::SizeOrder { old: size, new: self.size() });
        }
        Ok(size as usize)
    }

    /// Root of leaves `lo..hi`, where `lo` is a multiple of the largest power of two up to `hi - lo`.
    fn range_hash(&self, lo: usize, hi: usize) -> Hash {
        let peaks = (hi - lo).count_ones() as usize;
        match peaks {
            0 => empty_root(),
            1 => {
                let level = (hi - lo).trailing_zeros() as usize;
                self.levels[level][lo >> level]
            }
            _ if hi == self.levels[0].len() => {
                let edge = self.edge.get_or_init(|| self.edge_of(hi, hi.count_ones() as usize));
                edge[peaks - 1]
            }
            _ => self.edge_of(hi, peaks)[peaks - 1],
        }
    }

    /// Roots over the last 1, 2, .. `count` peaks of the tree of `size` leaves.
    fn edge_of(&self, size: usize, count: usize) -> Vec<Hash> {
        let (mut rest, mut edge) = (size, Vec::with_capacity(count));
        for _ in 0..count {
            let level = rest.trailing_zeros() as usize;
            rest -= 1 << level;
            let peak = self.levels[level][rest >> level];
            edge.push(match edge.last() {
                None => peak,
                Some(right) => node_hash(&peak, right),
            });
        }
        edge
    }
}

/// Equal leaves.
impl PartialEq for Log {
    fn eq(&self, other: &Self) -> bool {
        self.levels[0] == other.levels[0]
    }
}

impl Eq for Log {}

impl Default for Log {
    fn default() -> Self {
        Self::new()
    }
}

impl Extend<Hash> for Log {
    fn extend<I: IntoIterator<Item = Hash>>(&mut self, leaves: I) {
        for leaf in leaves {
            self.append(leaf);
        }
    }
}

/// The nodes above `below`; a last one without sibling is left out.
fn parents(below: &[Hash]) -> Vec<Hash> {
    #[cfg(feature = "rayon")]
    if below.len() >= PARALLEL {
        use rayon::prelude::*;

        return below
            .par_chunks_exact(2)
            .with_min_len(PARALLEL / 8)
            .map(|pair| node_hash(&pair[0], &pair[1]))
            .collect();
    }
    below.chunks_exact(2).map(|pair| node_hash(&pair[0], &pair[1])).collect()
}

/// Nodes of a level from which several threads pay: about a millisecond of hashing.
#[cfg(feature = "rayon")]
const PARALLEL: usize = 16_384;

/// Where the leaves `lo..hi`, at least two, are split: after the largest power of two below their number.
fn split(lo: usize, hi: usize) -> usize {
    lo + (1 << (hi - lo - 1).ilog2())
}

/// Length of the longest path in a tree of `size` leaves.
fn depth(size: usize) -> usize {
    (usize::BITS - size.saturating_sub(1).leading_zeros()) as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn appending_equals_building() {
        let mut grown = Log::new();
        for n in 0..40_u8 {
            assert_eq!(Log::from_leaves(grown.leaves().to_vec()).root(), grown.root());
            assert_eq!(grown.append_data(&[n]), u64::from(n));
        }
        assert_eq!(grown.index_of(&leaf_hash(&[7])), Some(7));
        assert_eq!(grown.index_of(&leaf_hash(b"x")), None);
        let mut extended = Log::from_leaves(grown.leaves()[..13].to_vec());
        extended.extend(grown.leaves()[13..].iter().copied());
        assert_eq!(extended.root(), grown.root());
    }

    /// Long enough for several threads, where there are.
    #[test]
    fn building_many_equals_appending_them() {
        let leaves: Vec<Hash> = (0..40_001_u32).map(|n| leaf_hash(&n.to_be_bytes())).collect();
        let mut grown = Log::new();
        grown.extend(leaves.iter().copied());
        let built = Log::from_leaves(leaves);
        assert_eq!(built.levels, grown.levels);
        assert_eq!(built.root(), grown.root());
        assert_eq!(built.root(), built.root_at(40_001).unwrap());
    }

    #[test]
    fn sizes_beyond_the_log_are_refused() {
        let log = Log::from_leaves(vec![leaf_hash(b"a"); 3]);
        assert_eq!(log.root_at(4), Err(Error::SizeOrder { old: 4, new: 3 }));
        assert_eq!(log.prove_inclusion(3, 3), Err(Error::IndexOutOfRange { index: 3, size: 3 }));
        assert_eq!(log.prove_consistency(0, 3), Err(Error::EmptyOldTree));
        assert_eq!(log.prove_consistency(3, 2), Err(Error::SizeOrder { old: 3, new: 2 }));
        assert_eq!(log.prove_consistency(2, u64::MAX), Err(Error::SizeOrder { old: u64::MAX, new: 3 }));
    }
}
