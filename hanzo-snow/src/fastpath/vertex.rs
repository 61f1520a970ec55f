//! Transactions and the vertices that carry them.

use alloc::sync::Arc;
use alloc::vec::Vec;

use sha2::{Digest, Sha256};

use crate::checkpoint::Hash;
use crate::committee::{Committee, MAX_VALIDATORS, MessageError, VerifyAll, verify_one};
use crate::wire::{Decoder, Encoder, Signature, WireError};

/// Most transactions of a vertex.
pub const MAX_TXS: usize = 1_024;
/// Most keys of a transaction.
pub const MAX_KEYS: usize = 16;
/// Most bytes of a transaction: 64 KiB.
pub const MAX_TX_BYTES: usize = 64 << 10;
/// Most bytes of all transactions of a vertex together, their keys included: 4 MiB.
pub const MAX_VERTEX_BYTES: usize = 4 << 20;

/// What two transactions must not both use, such as a match's worker slot or a grant's resource at one nonce.
///
/// A key is locked for one epoch. In a later one a transaction that has settled, or another with its key, can be certified and
/// settle again: whoever carries settled transactions out refuses a nonce that is used up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConflictKey(Hash);

impl ConflictKey {
    /// SHA-256("hanzo-snow/v1/key" 00 | resource | nonce u64).
    #[must_use]
    pub fn new(resource: &[u8], nonce: u64) -> Self {
        let hash = Sha256::new_with_prefix(b"hanzo-snow/v1/key\0").chain_update(resource);
        Self(hash.chain_update(nonce.to_be_bytes()).finalize().into())
    }

    /// From the hash itself.
    #[must_use]
    pub const fn from_bytes(bytes: Hash) -> Self {
        Self(bytes)
    }

    /// The hash.
    #[must_use]
    pub const fn as_bytes(&self) -> &Hash {
        &self.0
    }
}

/// A transaction: the keys it uses, and bytes that consensus never reads.
///
/// ```
/// use hanzo_snow::fastpath::{ConflictKey, Tx, TxError};
///
/// let slot = ConflictKey::new(b"worker 7", 41);
/// assert!(Tx::new([slot], *b"match 3 to worker 7").is_ok());
/// assert_eq!(Tx::new([slot, slot], *b""), Err(TxError::Keys { count: 2 }), "a key given twice");
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Tx {
    keys: Arc<[ConflictKey]>,
    bytes: Arc<[u8]>,
}

impl Tx {
    /// A transaction on 1 to [`MAX_KEYS`] different keys, which are sorted here, with at most [`MAX_TX_BYTES`] bytes.
    ///
    /// # Errors
    /// [`TxError::Keys`], [`TxError::TooLarge`].
    pub fn new(keys: impl IntoIterator<Item = ConflictKey>, bytes: impl Into<Arc<[u8]>>) -> Result<Self, TxError> {
        let mut keys: Vec<ConflictKey> = keys.into_iter().take(MAX_KEYS + 1).collect();
        keys.sort_unstable();
        let different = keys.windows(2).all(|pair| pair[0] != pair[1]);
        if keys.is_empty() || keys.len() > MAX_KEYS || !different {
            return Err(TxError::Keys { count: keys.len() });
        }
        let bytes = bytes.into();
        if bytes.len() > MAX_TX_BYTES {
            return Err(TxError::TooLarge { bytes: bytes.len() });
        }
        Ok(Self { keys: keys.into(), bytes })
    }

    /// Its keys, ascending.
    #[must_use]
    pub fn keys(&self) -> &[ConflictKey] {
        &self.keys
    }

    /// Its bytes.
    #[must_use]
    pub fn bytes(&self) -> &Arc<[u8]> {
        &self.bytes
    }

    /// What its id commits to.
    #[must_use]
    pub fn header(&self) -> TxHeader {
        TxHeader { keys: self.keys.clone(), bytes: Sha256::digest(&self.bytes).into() }
    }

    /// Its id in an epoch: another one in each. O(bytes).
    #[must_use]
    pub fn id(&self, committee: &Committee) -> Hash {
        self.header().id(committee)
    }

    fn size(&self) -> usize {
        8 + 32 * self.keys.len() + self.bytes.len()
    }

    pub(crate) fn write(&self, encoder: &mut Encoder) {
        encoder.length(self.keys.len());
        for key in self.keys.iter() {
            encoder.hash(&key.0);
        }
        encoder.bytes(&self.bytes);
    }

    pub(crate) fn read(decoder: &mut Decoder<'_>) -> Result<Self, WireError> {
        let keys = decoder.list(MAX_KEYS, 32, "keys", |decoder| decoder.hash("keys").map(ConflictKey))?;
        // Sorted and different, so that a transaction has one form.
        if keys.is_empty() || keys.windows(2).any(|pair| pair[0] >= pair[1]) {
            return Err(WireError::Malformed { field: "keys" });
        }
        let bytes = decoder.bytes(MAX_TX_BYTES, "transaction")?;
        Ok(Self { keys: keys.into(), bytes: bytes.into() })
    }
}

/// Why keys and bytes make no transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TxError {
    /// No key, too many, or one given twice.
    #[error("{count} keys are none, too many, or not all different")]
    Keys {
        /// Keys given, counted up to one too many.
        count: usize,
    },
    /// Too many bytes.
    #[error("{bytes} bytes are too many")]
    TooLarge {
        /// Bytes given.
        bytes: usize,
    },
}

/// A transaction's keys and the hash of its bytes.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct TxHeader {
    /// The keys, ascending.
    pub keys: Arc<[ConflictKey]>,
    /// SHA-256 of the bytes.
    pub bytes: Hash,
}

impl TxHeader {
    /// SHA-256("tx" | keys | hash of the bytes).
    #[must_use]
    pub fn id(&self, committee: &Committee) -> Hash {
        self.id_in(committee.chain(), committee.epoch())
    }

    fn id_in(&self, chain: &Hash, epoch: u64) -> Hash {
        let mut encoder = Encoder::new("tx", chain, epoch);
        encoder.length(self.keys.len());
        for key in self.keys.iter() {
            encoder.hash(&key.0);
        }
        encoder.hash(&self.bytes);
        encoder.digest()
    }
}

/// What the id of a vertex commits to and its author signs.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct VertexHeader {
    /// The round, from 1.
    pub round: u64,
    /// Position of the author.
    pub author: u32,
    /// Certificates of the round before, ascending; none in round 1.
    pub parents: Vec<Hash>,
    /// Ids of the transactions.
    pub txs: Vec<Hash>,
}

impl VertexHeader {
    fn encode(&self, committee: &Committee) -> Encoder {
        let mut encoder = committee.encoder("vertex");
        encoder.u64(self.round);
        encoder.u32(self.author);
        encoder.hashes(&self.parents);
        encoder.hashes(&self.txs);
        encoder
    }

    /// "vertex" | round | author | parents | ids of the transactions.
    #[must_use]
    pub fn signed_bytes(&self, committee: &Committee) -> Vec<u8> {
        self.encode(committee).finish()
    }

    /// SHA-256 of the signed bytes.
    #[must_use]
    pub fn id(&self, committee: &Committee) -> Hash {
        self.encode(committee).digest()
    }
}

/// A vertex without the transactions themselves.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct SignedVertexHeader {
    /// What is signed.
    pub header: VertexHeader,
    /// Signature of the author.
    pub signature: Signature,
}

impl SignedVertexHeader {
    /// Checks the signature.
    ///
    /// # Errors
    /// [`MessageError::UnknownValidator`], [`MessageError::Signature`].
    pub fn verify(&self, committee: &Committee, keys: &impl VerifyAll) -> Result<(), MessageError> {
        let bytes = self.header.signed_bytes(committee);
        verify_one(committee, keys, self.header.author, &bytes, &self.signature)
    }
}

/// One validator's transactions of a round, on certificates of the round before. The parts are shared, not copied.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Vertex(Arc<Content>);

#[derive(Debug, PartialEq, Eq, Hash)]
struct Content {
    signed: SignedVertexHeader,
    txs: Vec<Tx>,
    /// The chain and the epoch in which the header's ids are those of the transactions.
    chain: Hash,
    epoch: u64,
}

impl Vertex {
    /// A vertex signed by `sign`, of a round from 1 on. `parents`, which are sorted here, are certificates of the round before;
    /// none in round 1. O(bytes).
    ///
    /// # Errors
    /// [`MessageError::TooLarge`] above [`MAX_TXS`] transactions or [`MAX_VERTEX_BYTES`], [`MessageError::Malformed`] for a
    /// parent given twice, more than [`MAX_VALIDATORS`], or a number that does not fit the round, and what `sign` returns.
    pub fn new(
        committee: &Committee,
        round: u64,
        author: u32,
        mut parents: Vec<Hash>,
        txs: impl Into<Vec<Tx>>,
        sign: impl FnOnce(&[u8]) -> Result<Signature, MessageError>,
    ) -> Result<Self, MessageError> {
        let txs = txs.into();
        parents.sort_unstable();
        let header = VertexHeader { round, author, parents, txs: txs.iter().map(|tx| tx.id(committee)).collect() };
        let bytes = header.signed_bytes(committee);
        let signed = SignedVertexHeader { header, signature: sign(&bytes)? };
        let vertex = Self(Arc::new(Content { signed, txs, chain: *committee.chain(), epoch: committee.epoch() }));
        vertex.check_shape()?;
        Ok(vertex)
    }

    /// What is signed, with the signature.
    #[must_use]
    pub fn signed(&self) -> &SignedVertexHeader {
        &self.0.signed
    }

    /// The round.
    #[must_use]
    pub fn round(&self) -> u64 {
        self.0.signed.header.round
    }

    /// Position of the author.
    #[must_use]
    pub fn author(&self) -> u32 {
        self.0.signed.header.author
    }

    /// Certificates it stands on, ascending.
    #[must_use]
    pub fn parents(&self) -> &[Hash] {
        &self.0.signed.header.parents
    }

    /// The transactions.
    #[must_use]
    pub fn txs(&self) -> &[Tx] {
        &self.0.txs
    }

    /// The ids of the transactions.
    #[must_use]
    pub fn tx_ids(&self) -> &[Hash] {
        &self.0.signed.header.txs
    }

    /// Its id.
    #[must_use]
    pub fn id(&self, committee: &Committee) -> Hash {
        self.0.signed.header.id(committee)
    }

    fn check_shape(&self) -> Result<(), MessageError> {
        let header = &self.0.signed.header;
        if header.round == 0 || (header.round == 1) != header.parents.is_empty() {
            return Err(MessageError::Malformed { field: "round" });
        }
        if header.parents.windows(2).any(|pair| pair[0] >= pair[1]) || header.parents.len() > MAX_VALIDATORS {
            return Err(MessageError::Malformed { field: "parents" });
        }
        let size: usize = self.0.txs.iter().map(Tx::size).sum();
        if self.0.txs.len() > MAX_TXS || size > MAX_VERTEX_BYTES {
            return Err(MessageError::TooLarge { field: "transactions" });
        }
        Ok(())
    }

    /// Checks the chain, the epoch and the signature, not the parents. The shape, and that the ids are those of the transactions,
    /// hold for every vertex.
    ///
    /// # Errors
    /// [`MessageError::WrongChain`], [`MessageError::WrongEpoch`], [`MessageError::UnknownValidator`],
    /// [`MessageError::Signature`].
    pub fn verify(&self, committee: &Committee, keys: &impl VerifyAll) -> Result<(), MessageError> {
        if self.0.chain != *committee.chain() {
            return Err(MessageError::WrongChain);
        }
        if self.0.epoch != committee.epoch() {
            return Err(MessageError::WrongEpoch { expected: committee.epoch(), found: self.0.epoch });
        }
        self.0.signed.verify(committee, keys)
    }

    pub(crate) fn write(&self, encoder: &mut Encoder) {
        encoder.u64(self.round());
        encoder.u32(self.author());
        encoder.hashes(self.parents());
        encoder.length(self.0.txs.len());
        for tx in &self.0.txs {
            tx.write(encoder);
        }
        encoder.bytes(&self.0.signed.signature);
    }

    /// Reads a vertex; the ids of its transactions are computed, for the chain and epoch of the message.
    pub(crate) fn read(decoder: &mut Decoder<'_>, chain: &Hash, epoch: u64) -> Result<Self, WireError> {
        let round = decoder.u64("round")?;
        let author = decoder.u32("author")?;
        let parents = decoder.hashes(MAX_VALIDATORS, "parents")?;
        let mut size = 0;
        let txs = decoder.list(MAX_TXS, 40, "transactions", |decoder| {
            let tx = Tx::read(decoder)?;
            size += tx.size();
            if size > MAX_VERTEX_BYTES {
                return Err(WireError::TooLarge { field: "transactions", limit: MAX_VERTEX_BYTES });
            }
            Ok(tx)
        })?;
        let header = VertexHeader {
            round,
            author,
            parents,
            txs: txs.iter().map(|tx| tx.header().id_in(chain, epoch)).collect(),
        };
        let signed = SignedVertexHeader { header, signature: decoder.signature()? };
        let vertex = Self(Arc::new(Content { signed, txs, chain: *chain, epoch }));
        vertex.check_shape().map_err(|_| WireError::Malformed { field: "vertex" })?;
        Ok(vertex)
    }
}
