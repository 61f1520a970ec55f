use core::fmt;
use core::str::FromStr;

use sha2::block_api::compress256;
use sha2::{Digest, Sha256};

use crate::{Error, Result};

/// A SHA-256 hash. Its text is 64 lower-case hex digits; nothing else parses.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Hash([u8; 32]);

impl Hash {
    /// Bytes of a hash.
    pub const LEN: usize = 32;

    /// A hash from its bytes.
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The bytes.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl From<[u8; 32]> for Hash {
    fn from(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }
}

impl From<Hash> for [u8; 32] {
    fn from(hash: Hash) -> Self {
        hash.0
    }
}

impl fmt::Display for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const DIGITS: &[u8; 16] = b"0123456789abcdef";
        let mut text = [0; 64];
        for (pair, byte) in text.chunks_exact_mut(2).zip(self.0) {
            pair[0] = DIGITS[usize::from(byte >> 4)];
            pair[1] = DIGITS[usize::from(byte & 15)];
        }
        f.write_str(core::str::from_utf8(&text).map_err(|_| fmt::Error)?)
    }
}

impl fmt::Debug for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Hash {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let digits: &[u8; 64] = text.as_bytes().try_into().map_err(|_| Error::MalformedId)?;
        let (pairs, _) = digits.as_chunks::<2>();
        let mut bytes = [0; 32];
        for (byte, pair) in bytes.iter_mut().zip(pairs) {
            *byte = hex_byte(*pair).ok_or(Error::MalformedId)?;
        }
        Ok(Self(bytes))
    }
}

/// The byte of two lower-case hex digits.
pub(crate) fn hex_byte(pair: [u8; 2]) -> Option<u8> {
    let digit = |byte: u8| match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        _ => None,
    };
    Some(digit(pair[0])? << 4 | digit(pair[1])?)
}

/// Hash of a leaf: SHA-256(00 || data).
pub fn leaf_hash(data: &[u8]) -> Hash {
    // With prefix, end mark and length in one or two blocks, as most leaves are: the same way as nodes.
    const TWO_BLOCKS: usize = 128 - 10;
    if data.len() > TWO_BLOCKS {
        return sha256(Sha256::new().chain_update([0]).chain_update(data));
    }
    let mut blocks = [[0; 64]; 2];
    let message = blocks.as_flattened_mut();
    message[1..=data.len()].copy_from_slice(data);
    short(blocks, data.len() + 1)
}

/// Hash of an inner node: SHA-256(01 || left || right).
pub fn node_hash(left: &Hash, right: &Hash) -> Hash {
    let mut blocks = [[0; 64]; 2];
    let message = blocks.as_flattened_mut();
    message[0] = 1;
    message[1..33].copy_from_slice(&left.0);
    message[33..65].copy_from_slice(&right.0);
    short(blocks, 65)
}

/// SHA-256 of the first `length` bytes, at most 119, of blocks that are zero behind them: padding written in place and
/// straight to the compression function, a fifth faster than the general hasher.
#[inline]
fn short(mut blocks: [[u8; 64]; 2], length: usize) -> Hash {
    let message = blocks.as_flattened_mut();
    message[length] = 0x80;
    let count = if length <= 64 - 9 { 1 } else { 2 };
    let end = 64 * count;
    // At most 952 bits.
    message[end - 2..end].copy_from_slice(&(length as u16 * 8).to_be_bytes());
    let mut state = INITIAL_STATE;
    compress256(&mut state, &blocks[..count]);
    let mut hash = [0; 32];
    for (bytes, word) in hash.chunks_exact_mut(4).zip(state) {
        bytes.copy_from_slice(&word.to_be_bytes());
    }
    Hash(hash)
}

/// Root of the tree without leaves: SHA-256 of nothing.
pub fn empty_root() -> Hash {
    sha256(Sha256::new())
}

/// Commitment to a sized root: SHA-256(tag || size, big-endian || root).
pub(super) fn commitment(tag: u8, size: u64, root: &Hash) -> Hash {
    let sized = Sha256::new().chain_update([tag]).chain_update(size.to_be_bytes());
    sha256(sized.chain_update(root.0))
}

fn sha256(hasher: Sha256) -> Hash {
    Hash(hasher.finalize().into())
}

/// Initial state of SHA-256 (FIPS 180-4 section 5.3.3).
const INITIAL_STATE: [u32; 8] =
    [0x6a09_e667, 0xbb67_ae85, 0x3c6e_f372, 0xa54f_f53a, 0x510e_527f, 0x9b05_688c, 0x1f83_d9ab, 0x5be0_cd19];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn leaf_hash_is_sha256_of_its_bytes() {
        let data: Vec<u8> = (1..=200).collect();
        for length in 0..=data.len() {
            let plain = Hash(Sha256::new().chain_update([0]).chain_update(&data[..length]).finalize().into());
            assert_eq!(leaf_hash(&data[..length]), plain, "{length}");
        }
    }

    #[test]
    fn node_hash_is_sha256_of_its_bytes() {
        let mut hash = empty_root();
        for byte in 0..=255_u8 {
            let other = leaf_hash(&[byte]);
            let bytes = [&[1], hash.0.as_slice(), &other.0].concat();
            let plain = Hash(Sha256::digest(bytes).into());
            hash = node_hash(&hash, &other);
            assert_eq!(hash, plain);
        }
    }
}
