use super::hash::commitment;
use super::{Hash, InclusionProof, Log, MultiProof, empty_root, verify_inclusion, verify_multi};
use crate::{Error, ExperienceId, Result};

/// A tree over the ids that are present, in ascending order: its root depends on the set alone, not on how it came
/// about, and two adjacent leaves prove that nothing lies between them.
///
/// ```
/// use hanzo_experience::ExperienceId;
/// use hanzo_experience::merkle::StateTree;
///
/// let id = |byte| ExperienceId::from_bytes([byte; 32]);
/// let tree = StateTree::new([id(9), id(2), id(5)]);
/// let root = tree.root();
/// root.verify_present(&id(5), &tree.prove_present(&id(5))?)?;
/// root.verify_absent(&id(4), &tree.prove_absent(&id(4))?)?;
/// assert!(root.verify_absent(&id(6), &tree.prove_absent(&id(4))?).is_err());
/// # Ok::<(), hanzo_experience::Error>(())
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct StateTree {
    tree: Log,
}

impl StateTree {
    /// The tree of these ids, in any order; an id given twice counts once. O(n log n) comparisons, n - 1 hashes.
    pub fn new(ids: impl IntoIterator<Item = ExperienceId>) -> Self {
        let mut leaves: Vec<Hash> = ids.into_iter().map(|id| *id.as_hash()).collect();
        if !leaves.is_sorted_by(|a, b| a < b) {
            leaves.sort_unstable();
            leaves.dedup();
        }
        Self { tree: Log::from_leaves(leaves) }
    }

    /// Number of ids.
    pub fn size(&self) -> u64 {
        self.tree.size()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.tree.is_empty()
    }

    /// Size and root.
    pub fn root(&self) -> StateRoot {
        StateRoot { size: self.tree.size(), root: self.tree.root() }
    }

    /// Whether the id is present.
    pub fn contains(&self, id: &ExperienceId) -> bool {
        self.tree.leaves().binary_search(id.as_hash()).is_ok()
    }

    /// Proof that the id is present.
    ///
    /// # Errors
    /// [`Error::UnknownId`] if it is not.
    pub fn prove_present(&self, id: &ExperienceId) -> Result<MembershipProof> {
        match self.tree.leaves().binary_search(id.as_hash()) {
            Ok(index) => self.prove(index as u64),
            Err(_) => Err(Error::UnknownId { id: *id }),
        }
    }

    /// One proof that all these ids are present: at least one, strictly ascending.
    ///
    /// # Errors
    /// [`Error::OutOfRange`] for no id; [`Error::IndexOrder`] unless they ascend strictly; [`Error::UnknownId`].
    pub fn prove_many(&self, ids: &[ExperienceId]) -> Result<MembershipProofs> {
        if !ids.is_sorted_by(|a, b| a < b) {
            return Err(Error::IndexOrder);
        }
        let rank = |id: &ExperienceId| self.tree.leaves().binary_search(id.as_hash());
        let ranks = ids.iter().map(|id| rank(id).map(|rank| rank as u64).map_err(|_| Error::UnknownId { id: *id }));
        let indices: Vec<u64> = ranks.collect::<Result<_>>()?;
        let siblings = self.tree.prove_many(&indices, self.tree.size())?;
        Ok(MembershipProofs { indices, siblings })
    }

    /// Proof that the id is absent: its neighbours.
    ///
    /// # Errors
    /// [`Error::KnownId`] if it is present.
    pub fn prove_absent(&self, id: &ExperienceId) -> Result<AbsenceProof> {
        let Err(index) = self.tree.leaves().binary_search(id.as_hash()) else {
            return Err(Error::KnownId { id: *id });
        };
        let neighbour = |index: usize| match self.tree.leaves().get(index) {
            None => Ok(None),
            Some(&hash) => Ok(Some(Neighbour { id: hash.into(), proof: self.prove(index as u64)? })),
        };
        Ok(AbsenceProof { below: index.checked_sub(1).map_or(Ok(None), neighbour)?, above: neighbour(index)? })
    }

    fn prove(&self, index: u64) -> Result<MembershipProof> {
        let path = self.tree.prove_inclusion(index, self.tree.size())?;
        Ok(MembershipProof { index, path })
    }
}

/// Size and root of a [`StateTree`]: what its proofs are checked against.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct StateRoot {
    size: u64,
    root: Hash,
}

impl StateRoot {
    /// A state root received from elsewhere.
    ///
    /// # Errors
    /// [`Error::RootMismatch`] if the size is 0 and the root is not that of the empty tree.
    pub fn new(size: u64, root: Hash) -> Result<Self> {
        if size == 0 && root != empty_root() {
            return Err(Error::RootMismatch);
        }
        Ok(Self { size, root })
    }

    /// Number of ids.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Root over the ids.
    pub fn root(&self) -> &Hash {
        &self.root
    }

    /// 32 bytes that stand for size and root: SHA-256(03 || size, 8 bytes big-endian || root).
    pub fn commitment(&self) -> Hash {
        commitment(3, self.size, &self.root)
    }

    /// Checks that the id is present.
    ///
    /// # Errors
    /// [`Error::IndexOutOfRange`], [`Error::ProofLength`], [`Error::RootMismatch`].
    pub fn verify_present(&self, id: &ExperienceId, proof: &MembershipProof) -> Result<()> {
        verify_inclusion(proof.index, self.size, id.as_hash(), &proof.path, &self.root)
    }

    /// Checks that all these ids are present.
    ///
    /// # Errors
    /// Those of [`verify_multi`].
    pub fn verify_many(&self, ids: &[ExperienceId], proof: &MembershipProofs) -> Result<()> {
        let leaves: Vec<Hash> = ids.iter().map(|id| *id.as_hash()).collect();
        verify_multi(&proof.indices, &leaves, self.size, &proof.siblings, &self.root)
    }

    /// Checks that the id is absent from a tree whose leaves ascend, as those of [`StateTree`] do.
    ///
    /// # Errors
    /// [`Error::IndexOrder`] unless the neighbours are adjacent (or the first, or the last alone) and enclose the id;
    /// [`Error::IndexOutOfRange`], [`Error::ProofLength`], [`Error::RootMismatch`] for their proofs.
    pub fn verify_absent(&self, id: &ExperienceId, proof: &AbsenceProof) -> Result<()> {
        // The first index not yet accounted for, and the end of the leaves that are.
        let from = match &proof.below {
            None => 0,
            Some(below) if below.id < *id => {
                self.verify_present(&below.id, &below.proof)?;
                below.proof.index + 1
            }
            Some(_) => return Err(Error::IndexOrder),
        };
        let to = match &proof.above {
            None => self.size,
            Some(above) if *id < above.id => {
                self.verify_present(&above.id, &above.proof)?;
                above.proof.index
            }
            Some(_) => return Err(Error::IndexOrder),
        };
        if from == to { Ok(()) } else { Err(Error::IndexOrder) }
    }
}

/// Proof that an id is in a [`StateTree`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MembershipProof {
    /// Rank of the id.
    pub index: u64,
    /// Sibling hashes from the leaf up.
    pub path: InclusionProof,
}

/// One proof that several ids are in a [`StateTree`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MembershipProofs {
    /// Ranks of the ids, strictly ascending.
    pub indices: Vec<u64>,
    /// Sibling hashes that the ids do not give themselves.
    pub siblings: MultiProof,
}

/// Proof that an id is not in a [`StateTree`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AbsenceProof {
    /// The greatest id below; none if there is none.
    pub below: Option<Neighbour>,
    /// The least id above; none if there is none.
    pub above: Option<Neighbour>,
}

/// An id in a [`StateTree`] with its proof.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Neighbour {
    /// The id.
    pub id: ExperienceId,
    /// Its proof.
    pub proof: MembershipProof,
}
