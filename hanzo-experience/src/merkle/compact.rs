use super::{Hash, empty_root, node_hash};
use crate::{Error, Result};

/// The roots of the perfect subtrees that cover a tree, largest first: enough to append and to know the root, in
/// O(log n) space.
///
/// ```
/// use hanzo_experience::merkle::{CompactRange, Log, leaf_hash};
///
/// let (mut range, mut log) = (CompactRange::new(), Log::new());
/// for data in [b"a", b"b", b"c"] {
///     range.append(leaf_hash(data));
///     log.append_data(data);
/// }
/// assert_eq!((range.size(), range.root()), (3, log.root()));
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CompactRange {
    size: u64,
    peaks: Vec<Hash>,
}

impl CompactRange {
    /// The range of the empty tree.
    pub fn new() -> Self {
        Self::default()
    }

    /// The range of a tree of `size` leaves from its peaks, largest first.
    ///
    /// # Errors
    /// [`Error::ProofLength`] unless there is one peak for each one bit of `size`.
    pub fn from_peaks(size: u64, peaks: Vec<Hash>) -> Result<Self> {
        let (got, want) = (peaks.len() as u64, u64::from(size.count_ones()));
        if got != want {
            return Err(Error::ProofLength { got, want });
        }
        Ok(Self { size, peaks })
    }

    /// Appends a leaf hash.
    pub fn append(&mut self, leaf: Hash) {
        let mut node = leaf;
        for _ in 0..self.size.trailing_ones() {
            if let Some(left) = self.peaks.pop() {
                node = node_hash(&left, &node);
            }
        }
        self.peaks.push(node);
        // 2^64 appends are out of reach.
        self.size = self.size.saturating_add(1);
    }

    /// Number of leaves.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// The peaks, largest first.
    pub fn peaks(&self) -> &[Hash] {
        &self.peaks
    }

    /// The root.
    pub fn root(&self) -> Hash {
        let fold = |right: Hash, left: &Hash| node_hash(left, &right);
        match self.peaks.split_last() {
            None => empty_root(),
            Some((last, rest)) => rest.iter().rev().fold(*last, fold),
        }
    }
}
