//! Commitment to the states of an execution.

use alloc::vec::Vec;

use crate::error::{Error, Result};
use crate::hash::{Hash, StateHash, Tag, TraceHash, tagged};
use crate::merkle::{Tree, climb};

/// The states `0..=n` of `n` operations, under one hash.
///
/// ```
/// use hanzo_poai::{StateHash, Trace};
///
/// let trace = Trace::new((0..=4).map(|i| StateHash::new([i; 32])).collect())?; // 4 operations
/// let opening = trace.open(2)?; // the state after two of them
/// opening.verify(&trace.hash(), trace.ops())?;
/// assert_eq!(opening.state, StateHash::new([2; 32]));
/// # Ok::<(), hanzo_poai::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trace {
    states: Vec<StateHash>,
    tree: Tree,
}

impl Trace {
    /// A trace of at least two states: before and after each operation. `O(n)` hashes.
    ///
    /// # Errors
    /// [`Error::BatchSize`] for fewer than two states or more than 2^32.
    pub fn new(states: Vec<StateHash>) -> Result<Self> {
        if states.len() < 2 {
            return Err(Error::BatchSize { got: states.len() as u64, max: MAX_STATES });
        }
        let leaf = Tag::new(LEAF);
        let leaves = states.iter().zip(0u64..).map(|(state, index)| leaf_hash(&leaf, index, state));
        let tree = Tree::new(NODE, leaves.collect(), MAX_STATES)?;
        Ok(Self { states, tree })
    }

    /// Number of operations.
    pub fn ops(&self) -> u64 {
        self.states.len().saturating_sub(1) as u64
    }

    /// Root of the tree over the states.
    pub fn root(&self) -> Hash {
        self.tree.root()
    }

    /// The commitment an attestation carries: binds the number of operations and the root.
    pub fn hash(&self) -> TraceHash {
        trace_hash(self.ops(), &self.tree.root())
    }

    /// Opens the state at `index`, 0 to [`Trace::ops`]. `O(log n)`.
    ///
    /// # Errors
    /// [`Error::BadProof`] past the last state.
    pub fn open(&self, index: u64) -> Result<StateOpening> {
        let at = usize::try_from(index).map_err(|_| Error::BadProof)?;
        let state = *self.states.get(at).ok_or(Error::BadProof)?;
        let path = self.tree.path(at).ok_or(Error::BadProof)?;
        Ok(StateOpening { index, state, path })
    }
}

/// One state of a trace and its path to the commitment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StateOpening {
    /// Position: the state after that many operations.
    pub index: u64,
    /// The state.
    pub state: StateHash,
    /// Sibling hashes, from the leaf up.
    pub path: Vec<Hash>,
}

impl StateOpening {
    /// Checks the opening against the commitment to a trace of `ops` operations.
    ///
    /// # Errors
    /// [`Error::BadProof`].
    pub fn verify(&self, trace: &TraceHash, ops: u64) -> Result<()> {
        let count = ops.checked_add(1).ok_or(Error::BadProof)?;
        let leaf = leaf_hash(&Tag::new(LEAF), self.index, &self.state);
        let root = climb(&Tag::new(NODE), self.index, count, &leaf, &self.path)?;
        if trace_hash(ops, &root) == *trace { Ok(()) } else { Err(Error::BadProof) }
    }
}

fn leaf_hash(leaf: &Tag, index: u64, state: &StateHash) -> Hash {
    leaf.hash(&[&index.to_be_bytes(), state.as_bytes()])
}

fn trace_hash(ops: u64, root: &Hash) -> TraceHash {
    tagged("trace", &[&ops.to_be_bytes(), root]).into()
}

const LEAF: &str = "trace leaf";
const NODE: &str = "trace node";
const MAX_STATES: u64 = 1 << 32;
