//! One signature for many attestations.

use alloc::vec::Vec;

use signature::Signer;

use crate::attestation::Attestation;
use crate::encoding::{Reader, Writer};
use crate::error::{Error, Result};
use crate::hash::{AttestationHash, BatchHash, ChainId, Hash, PartyId, tagged};
use crate::merkle::{BATCH_NODE, InclusionProof, MAX_LEAVES, Tree, root_in_place};
use crate::signing::{Signable, Signed, SignedKind};
use crate::suite::Suite;
use crate::units::Epoch;

/// A signed batch header.
pub type SignedBatch<S> = Signed<BatchHeader, S>;

/// What a worker signs once for a run of attestations (160 bytes).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BatchHeader {
    suite: Suite,
    chain: ChainId,
    worker: PartyId,
    epoch: Epoch,
    first_seq: u64,
    count: u32,
    root: Hash,
    prev_batch: BatchHash,
}

impl BatchHeader {
    /// Length of the encoding.
    pub const LEN: usize = 160;

    /// The 160 canonical bytes.
    pub fn encode(&self) -> [u8; Self::LEN] {
        Writer::versioned(MAGIC)
            .u16(self.suite.code())
            .put(self.chain.as_bytes())
            .put(self.worker.as_bytes())
            .u64(self.epoch.get())
            .u64(self.first_seq)
            .u32(self.count)
            .u32(0)
            .put(&self.root)
            .put(self.prev_batch.as_bytes())
            .finish()
    }

    /// Strict decoding of [`BatchHeader::encode`].
    ///
    /// # Errors
    /// [`Error::Length`], [`Error::BadMagic`], [`Error::UnknownVersion`], [`Error::UnknownSuite`],
    /// [`Error::BatchSize`], [`Error::Reserved`], or [`Error::Overflow`] for sequence numbers past 2^64.
    pub fn decode(bytes: &[u8]) -> Result<Self> {
        let mut reader = Reader::versioned(bytes, Self::LEN, MAGIC)?;
        let suite = Suite::new(reader.u16()?)?;
        let (chain, worker) = (reader.hash()?, reader.hash()?);
        let (epoch, first_seq, count) = (Epoch::new(reader.u64()?), reader.u64()?, reader.u32()?);
        if count == 0 || count > MAX_LEAVES {
            return Err(Error::BatchSize { got: count.into(), max: MAX_LEAVES.into() });
        }
        first_seq.checked_add(u64::from(count) - 1).ok_or(Error::Overflow)?;
        if reader.u32()? != 0 {
            return Err(Error::Reserved);
        }
        let (root, prev_batch) = (reader.array()?, reader.hash()?);
        Ok(Self { suite, chain, worker, epoch, first_seq, count, root, prev_batch })
    }

    /// Hash of the encoding.
    pub fn hash(&self) -> BatchHash {
        tagged("batch", &[&self.encode()]).into()
    }

    /// Checks that an attestation hash stands in this batch, and returns the sequence number of its place.
    ///
    /// # Errors
    /// [`Error::BadProof`].
    pub fn verify_inclusion(&self, leaf: &AttestationHash, proof: &InclusionProof) -> Result<u64> {
        if proof.count() != self.count {
            return Err(Error::BadProof);
        }
        proof.verify(leaf.as_bytes(), &self.root)?;
        self.first_seq.checked_add(proof.index().into()).ok_or(Error::Overflow)
    }

    /// Checks that encoded attestations, one after the other, are all of this batch: each well formed and in its
    /// place of the worker's chain, and the root theirs. One signature over the header then covers them all
    /// ([`Signed::verify`]). Decode those that are needed afterwards.
    ///
    /// # Errors
    /// [`Error::BatchSize`] for another number; [`Error::InvalidField`] for another suite, chain, worker, epoch
    /// or first sequence number; [`Error::BadProof`] for another root; those of [`Batch::from_wire`].
    pub fn verify_wire(&self, wire: &[u8]) -> Result<()> {
        let (first, count, leaves) = wire_leaves(wire)?;
        if count != self.count {
            return Err(Error::BatchSize { got: count.into(), max: self.count.into() });
        }
        let same = [
            ("suite", first.suite() == self.suite),
            ("chain", first.chain() == self.chain),
            ("worker", first.worker() == self.worker),
            ("epoch", first.epoch() == self.epoch),
            ("seq", first.seq() == self.first_seq),
        ];
        if let Some((field, _)) = same.into_iter().find(|(_, same)| !same) {
            return Err(Error::InvalidField(field));
        }
        if root_in_place(BATCH_NODE, leaves) == self.root { Ok(()) } else { Err(Error::BadProof) }
    }

    /// Signature suite of the worker's key.
    pub const fn suite(&self) -> Suite {
        self.suite
    }

    /// The network.
    pub const fn chain(&self) -> &ChainId {
        &self.chain
    }

    /// The worker.
    pub const fn worker(&self) -> &PartyId {
        &self.worker
    }

    /// Audit epoch of all its attestations.
    pub const fn epoch(&self) -> Epoch {
        self.epoch
    }

    /// Sequence number of the first attestation.
    pub const fn first_seq(&self) -> u64 {
        self.first_seq
    }

    /// Number of attestations, 1 to 2^20.
    pub const fn count(&self) -> u32 {
        self.count
    }

    /// Root of the tree over the attestation hashes.
    pub const fn root(&self) -> &Hash {
        &self.root
    }

    /// Hash of the worker's batch before; zero for the first.
    pub const fn prev_batch(&self) -> &BatchHash {
        &self.prev_batch
    }
}

impl Signable for BatchHeader {
    const KIND: SignedKind = SignedKind::Batch;

    fn signing_hash(&self) -> Hash {
        self.hash().into()
    }

    fn to_bytes(&self) -> Vec<u8> {
        self.encode().to_vec()
    }

    fn from_bytes(bytes: &[u8]) -> Result<Self> {
        Self::decode(bytes)
    }
}

/// A run of attestations of one worker and epoch, with the tree over their hashes.
///
/// ```
/// use hanzo_poai::signature::Keypair as _;
/// use hanzo_poai::{Attestation, Batch, BatchHash, ChainId, Epoch, JobId, ModelHash, PartyId, Suite};
/// use ml_dsa::{MlDsa65, SigningKey};
///
/// let mut done: Vec<Attestation> = Vec::new();
/// for seq in 0..3 {
///     let claim = Attestation::builder()
///         .suite(Suite::ML_DSA_65).chain(ChainId::new([1; 32])).epoch(Epoch::new(7))
///         .worker(PartyId::new([2; 32])).job(JobId::new([3; 32])).model(ModelHash::new([4; 32]))
///         .input([5; 32]).output([6; 32]).environment([7; 32])
///         .seq(seq).prev(done.last().map(Attestation::hash));
///     done.push(claim.build()?);
/// }
/// let batch = Batch::new(&done, BatchHash::new([0; 32]))?;
/// let key = SigningKey::<MlDsa65>::from_seed(&[7; 32].into());
/// let signed = batch.sign(&key)?; // one signature for the three
///
/// signed.verify(&key.verifying_key())?;
/// assert_eq!(signed.body().verify_inclusion(&done[1].hash(), &batch.proof(1)?)?, 1);
/// # Ok::<(), hanzo_poai::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Batch {
    header: BatchHeader,
    tree: Tree,
}

impl Batch {
    /// A batch of attestations in the order of their sequence numbers; `prev` is the hash of the
    /// worker's batch before, zero for the first. `O(n)` hashes, 64 bytes kept for each attestation.
    ///
    /// # Errors
    /// [`Error::BatchSize`] for none or more than 2^20; [`Error::Sequence`] or
    /// [`Error::PrevMismatch`] where the chain breaks; [`Error::InvalidField`] where suite, chain,
    /// worker or epoch changes.
    pub fn new(attestations: &[Attestation], prev: BatchHash) -> Result<Self> {
        let size = Error::BatchSize { got: attestations.len() as u64, max: MAX_LEAVES.into() };
        let first = attestations.first().ok_or(size)?;
        let tag = Attestation::tag();
        let mut leaves: Vec<Hash> = Vec::with_capacity(attestations.len());
        for (att, index) in attestations.iter().zip(0..) {
            let want = first.seq().checked_add(index).ok_or(Error::Overflow)?;
            if att.seq() != want {
                return Err(Error::Sequence { want, got: att.seq() });
            }
            if let Some(before) = leaves.last()
                && att.prev() != Some(AttestationHash::new(*before))
            {
                return Err(Error::PrevMismatch);
            }
            let same = [
                ("suite", att.suite() == first.suite()),
                ("chain", att.chain() == first.chain()),
                ("worker", att.worker() == first.worker()),
                ("epoch", att.epoch() == first.epoch()),
            ];
            if let Some((field, _)) = same.into_iter().find(|(_, same)| !same) {
                return Err(Error::InvalidField(field));
            }
            leaves.push(att.hash_with(&tag).into());
        }
        let tree = Tree::new(BATCH_NODE, leaves, MAX_LEAVES.into())?;
        let header = BatchHeader {
            suite: first.suite(),
            chain: first.chain(),
            worker: first.worker(),
            epoch: first.epoch(),
            first_seq: first.seq(),
            count: attestations.len() as u32,
            root: tree.root(),
            prev_batch: prev,
        };
        Ok(Self { header, tree })
    }

    /// The batch of encoded attestations, one after the other. Each is checked as [`Attestation::decode`] does
    /// and hashed where it lies, so this is faster than decoding them first; the result is the same.
    ///
    /// # Errors
    /// [`Error::Length`] for bytes that are not whole attestations; those of [`Attestation::decode`] and
    /// [`Batch::new`].
    pub fn from_wire(wire: &[u8], prev: BatchHash) -> Result<Self> {
        let (first, count, leaves) = wire_leaves(wire)?;
        let tree = Tree::new(BATCH_NODE, leaves, MAX_LEAVES.into())?;
        let header = BatchHeader {
            suite: first.suite(),
            chain: first.chain(),
            worker: first.worker(),
            epoch: first.epoch(),
            first_seq: first.seq(),
            count,
            root: tree.root(),
            prev_batch: prev,
        };
        Ok(Self { header, tree })
    }

    /// The proof of the attestation at `index`. `O(log n)`.
    ///
    /// # Errors
    /// [`Error::BadProof`] for an index past the last attestation.
    pub fn proof(&self, index: u32) -> Result<InclusionProof> {
        let path = self.tree.path(index as usize).ok_or(Error::BadProof)?;
        InclusionProof::new(index, self.header.count, path)
    }

    /// Signs the header.
    ///
    /// # Errors
    /// [`Error::BadSignature`] when the key fails to sign.
    pub fn sign<S>(&self, key: &impl Signer<S>) -> Result<SignedBatch<S>> {
        Signed::sign(self.header.clone(), key)
    }

    /// The header.
    pub const fn header(&self) -> &BatchHeader {
        &self.header
    }

    /// Hashes of the attestations, in order.
    pub fn leaves(&self) -> impl ExactSizeIterator<Item = AttestationHash> + '_ {
        self.tree.leaves().iter().copied().map(AttestationHash::new)
    }
}

/// The first attestation, the number of them, and the hash of each.
fn wire_leaves(wire: &[u8]) -> Result<(Attestation, u32, Vec<Hash>)> {
    let (bodies, rest) = wire.as_chunks::<{ Attestation::LEN }>();
    if !rest.is_empty() {
        return Err(Error::Length { want: (wire.len() - rest.len()) as u64, got: wire.len() as u64 });
    }
    let size = Error::BatchSize { got: bodies.len() as u64, max: MAX_LEAVES.into() };
    let count = u32::try_from(bodies.len()).ok().filter(|count| *count <= MAX_LEAVES).ok_or(size.clone())?;
    let first = Attestation::decode(bodies.first().ok_or(size)?)?;
    let tag = Attestation::tag();
    let mut leaves: Vec<Hash> = Vec::with_capacity(bodies.len());
    for (body, index) in bodies.iter().zip(0..) {
        let want = first.seq().checked_add(index).ok_or(Error::Overflow)?;
        Attestation::check_successor(body, &first, want, leaves.last())?;
        leaves.push(tag.hash(&[body]));
    }
    Ok((first, count, leaves))
}

const MAGIC: &[u8; 4] = b"PoAB";
