//! Bytes that are signed, hashed, sent and kept.
//!
//! All begin with "hanzo-snow/v1/\<kind\>" 00 | chain 32 | epoch u64; then come the fields in order, integers big-endian, lists and
//! byte strings after their u32 length. An id is the SHA-256 of such bytes. A reader takes nothing on trust: a length is
//! checked against the limit of its field and against what is left before anything is allocated.

use alloc::sync::Arc;
use alloc::vec::Vec;

use sha2::{Digest, Sha256};

use crate::checkpoint::Hash;

const PREFIX: &[u8] = b"hanzo-snow/v1/";

/// The bytes of one signature, shared rather than copied. Empty where nothing is signed.
pub type Signature = Arc<[u8]>;

/// Most bytes of a signature: room for ML-DSA-87 (4,627).
pub const MAX_SIGNATURE: usize = 8_192;

#[derive(Debug)]
pub(crate) struct Encoder(Vec<u8>);

impl Encoder {
    pub(crate) fn new(kind: &str, chain: &Hash, epoch: u64) -> Self {
        let mut bytes = Vec::with_capacity(128);
        bytes.extend_from_slice(PREFIX);
        bytes.extend_from_slice(kind.as_bytes());
        bytes.push(0);
        bytes.extend_from_slice(chain);
        let mut encoder = Self(bytes);
        encoder.u64(epoch);
        encoder
    }

    pub(crate) fn u8(&mut self, value: u8) {
        self.0.push(value);
    }

    pub(crate) fn u32(&mut self, value: u32) {
        self.0.extend_from_slice(&value.to_be_bytes());
    }

    pub(crate) fn u64(&mut self, value: u64) {
        self.0.extend_from_slice(&value.to_be_bytes());
    }

    pub(crate) fn hash(&mut self, value: &Hash) {
        self.0.extend_from_slice(value);
    }

    /// The length of a list; every list in memory is bounded far below 2^32.
    pub(crate) fn length(&mut self, length: usize) {
        self.u32(u32::try_from(length).unwrap_or(u32::MAX));
    }

    pub(crate) fn bytes(&mut self, bytes: &[u8]) {
        self.length(bytes.len());
        self.0.extend_from_slice(bytes);
    }

    pub(crate) fn hashes(&mut self, hashes: &[Hash]) {
        self.length(hashes.len());
        for hash in hashes {
            self.hash(hash);
        }
    }

    pub(crate) fn finish(self) -> Vec<u8> {
        self.0
    }

    pub(crate) fn digest(&self) -> Hash {
        Sha256::digest(&self.0).into()
    }
}

#[derive(Debug, Clone)]
pub(crate) struct Decoder<'a>(&'a [u8]);

impl<'a> Decoder<'a> {
    /// Reads the tag, the chain and the epoch.
    pub(crate) fn open(bytes: &'a [u8]) -> Result<(&'a [u8], Hash, u64, Self), WireError> {
        let malformed = WireError::Malformed { field: "tag" };
        let rest = bytes.strip_prefix(PREFIX).ok_or(malformed)?;
        let end = rest.iter().take(32).position(|&byte| byte == 0).ok_or(malformed)?;
        let mut decoder = Self(&rest[end + 1..]);
        let chain = decoder.hash("chain")?;
        let epoch = decoder.u64("epoch")?;
        Ok((&rest[..end], chain, epoch, decoder))
    }

    fn take(&mut self, count: usize, field: &'static str) -> Result<&'a [u8], WireError> {
        let (taken, rest) = self.0.split_at_checked(count).ok_or(WireError::Malformed { field })?;
        self.0 = rest;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self, field: &'static str) -> Result<[u8; N], WireError> {
        let (array, rest) = self.0.split_first_chunk::<N>().ok_or(WireError::Malformed { field })?;
        self.0 = rest;
        Ok(*array)
    }

    pub(crate) fn u8(&mut self, field: &'static str) -> Result<u8, WireError> {
        self.array::<1>(field).map(|[byte]| byte)
    }

    pub(crate) fn flag(&mut self, field: &'static str) -> Result<bool, WireError> {
        match self.u8(field)? {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(WireError::Malformed { field }),
        }
    }

    pub(crate) fn u32(&mut self, field: &'static str) -> Result<u32, WireError> {
        self.array(field).map(u32::from_be_bytes)
    }

    pub(crate) fn u64(&mut self, field: &'static str) -> Result<u64, WireError> {
        self.array(field).map(u64::from_be_bytes)
    }

    pub(crate) fn hash(&mut self, field: &'static str) -> Result<Hash, WireError> {
        self.array(field)
    }

    /// The length of a list whose items take at least `least` bytes each.
    pub(crate) fn length(&mut self, limit: usize, least: usize, field: &'static str) -> Result<usize, WireError> {
        let length = self.u32(field)? as usize;
        if length > limit {
            return Err(WireError::TooLarge { field, limit });
        }
        if length.saturating_mul(least) > self.0.len() {
            return Err(WireError::Malformed { field });
        }
        Ok(length)
    }

    pub(crate) fn bytes(&mut self, limit: usize, field: &'static str) -> Result<&'a [u8], WireError> {
        let length = self.length(limit, 1, field)?;
        self.take(length, field)
    }

    pub(crate) fn signature(&mut self) -> Result<Signature, WireError> {
        self.bytes(MAX_SIGNATURE, "signature").map(Into::into)
    }

    pub(crate) fn signatures(&mut self, limit: usize) -> Result<Arc<[Signature]>, WireError> {
        self.list(limit, 4, "signatures", Self::signature).map(Into::into)
    }

    pub(crate) fn hashes(&mut self, limit: usize, field: &'static str) -> Result<Vec<Hash>, WireError> {
        self.list(limit, 32, field, |decoder| decoder.hash(field))
    }

    pub(crate) fn list<T>(
        &mut self,
        limit: usize,
        least: usize,
        field: &'static str,
        mut item: impl FnMut(&mut Self) -> Result<T, WireError>,
    ) -> Result<Vec<T>, WireError> {
        let length = self.length(limit, least, field)?;
        let mut list = Vec::new();
        for _ in 0..length {
            list.push(item(self)?);
        }
        Ok(list)
    }

    pub(crate) const fn end(&self) -> Result<(), WireError> {
        if self.0.is_empty() { Ok(()) } else { Err(WireError::Malformed { field: "end" }) }
    }
}

/// Why bytes are no message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum WireError {
    /// A field is cut off or holds what it cannot, or something follows the last.
    #[error("malformed {field}")]
    Malformed {
        /// The field.
        field: &'static str,
    },
    /// A field is longer than allowed.
    #[error("{field} is longer than {limit}")]
    TooLarge {
        /// The field.
        field: &'static str,
        /// What it may hold.
        limit: usize,
    },
}
