//! Content identifiers (CIDv1 with SHA-256): the names under which IPFS and its kin keep contents and files.

use core::fmt;

use sha2::{Digest, Sha256};

use crate::{Error, Result};

/// A CIDv1 over SHA-256: a codec and the digest of the bytes.
///
/// Its text is multibase base32, lower case without padding. The digest is that of the bytes as they are, so the CID of
/// a content is not its id, whose hash has a prefix. Reading CIDs from text takes the feature `cid`.
///
/// ```
/// use hanzo_experience::Cid;
///
/// let cid = Cid::raw(b"hello world");
/// assert_eq!(cid.to_string(), "bafkreifzjut3te2nhyekklss27nh3k72ysco7y32koao5eei66wof36n5e");
/// cid.verify(b"hello world")?;
/// assert!(cid.verify(b"hello worlds").is_err());
/// # Ok::<(), hanzo_experience::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Cid {
    codec: u64,
    digest: [u8; 32],
}

impl Cid {
    /// Codec `raw`: bytes of no stated form.
    pub const RAW: u64 = 0x55;
    /// Codec `dag-cbor`.
    pub const DAG_CBOR: u64 = 0x71;
    /// Codec `json`.
    pub const JSON: u64 = 0x0200;
    /// The largest block that peers exchange whole; a larger file needs a tree of blocks, hence another CID.
    pub const MAX_BLOCK: usize = 1 << 20;

    /// The CID of JSON bytes, such as a canonical content.
    pub fn json(data: &[u8]) -> Self {
        Self::of(Self::JSON, data)
    }

    /// The CID of a file as one block; at most [`MAX_BLOCK`](Self::MAX_BLOCK) bytes if peers are to fetch it.
    pub fn raw(data: &[u8]) -> Self {
        Self::of(Self::RAW, data)
    }

    /// The CID of bytes under any codec of the multicodec table.
    pub fn of(codec: u64, data: &[u8]) -> Self {
        Self { codec, digest: Sha256::digest(data).into() }
    }

    #[cfg(feature = "cid")]
    pub(crate) fn from_parts(codec: u64, digest: [u8; 32]) -> Self {
        Self { codec, digest }
    }

    /// The codec.
    pub fn codec(&self) -> u64 {
        self.codec
    }

    /// SHA-256 of the bytes.
    pub fn digest(&self) -> &[u8; 32] {
        &self.digest
    }

    /// Checks that these are the bytes.
    ///
    /// # Errors
    /// [`Error::RootMismatch`] if they are not.
    pub fn verify(&self, data: &[u8]) -> Result<()> {
        if Self::of(self.codec, data) == *self { Ok(()) } else { Err(Error::RootMismatch) }
    }

    /// The binary form: version, codec, hash function and length as varints, then the digest.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = vec![1];
        let mut codec = self.codec;
        while codec >= 0x80 {
            bytes.push(codec as u8 | 0x80);
            codec >>= 7;
        }
        bytes.extend([codec as u8, 0x12, 0x20]);
        bytes.extend(self.digest);
        bytes
    }
}

impl fmt::Display for Cid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const ALPHABET: &[u8; 32] = b"abcdefghijklmnopqrstuvwxyz234567";
        let mut text = String::with_capacity(64);
        text.push('b');
        let (mut bits, mut held) = (0_u32, 0_u32);
        for byte in self.to_bytes() {
            bits = (bits << 8) | u32::from(byte);
            held += 8;
            while held >= 5 {
                held -= 5;
                text.push(ALPHABET[(bits >> held) as usize & 31].into());
            }
        }
        if held > 0 {
            text.push(ALPHABET[(bits << (5 - held)) as usize & 31].into());
        }
        f.pad(&text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Strings of the tests of crate `cid` 0.11.3.
    #[test]
    fn agrees_with_published_cids() {
        let raw = "bafkreifzjut3te2nhyekklss27nh3k72ysco7y32koao5eei66wof36n5e";
        assert_eq!(Cid::raw(b"hello world").to_string(), raw);
        let cbor = "bafyreigbtj4x7ip5legnfznufuopl4sg4knzc2cof6duas4b3q2fy6swua";
        assert_eq!(Cid::of(Cid::DAG_CBOR, &[0xa0]).to_string(), cbor);
        // Version 1, codec `json` (0x0200 as varint 80 04), hash sha2-256 (12), 32 bytes (20).
        assert_eq!(Cid::json(b"").to_bytes()[..5], [0x01, 0x80, 0x04, 0x12, 0x20]);
    }
}
