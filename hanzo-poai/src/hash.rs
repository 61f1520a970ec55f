//! Tagged SHA-256 and the names of what is hashed.

use core::fmt;

use sha2::block_api::compress256;
use sha2::{Digest as _, Sha256};

/// A plain 32-byte digest: an input, an output, a file, a transcript.
pub type Hash = [u8; 32];

macro_rules! hash_types {
    ($($(#[$doc:meta])* $name:ident;)*) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name([u8; 32]);

        impl $name {
            /// Wraps 32 bytes.
            pub const fn new(bytes: [u8; 32]) -> Self {
                Self(bytes)
            }

            /// The 32 bytes.
            pub const fn as_bytes(&self) -> &[u8; 32] {
                &self.0
            }
        }

        impl From<[u8; 32]> for $name {
            fn from(bytes: [u8; 32]) -> Self {
                Self(bytes)
            }
        }

        impl From<$name> for [u8; 32] {
            fn from(value: $name) -> Self {
                value.0
            }
        }

        impl AsRef<[u8]> for $name {
            fn as_ref(&self) -> &[u8] {
                &self.0
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({})"), self)
            }
        }

        impl fmt::Display for $name {
            /// Lower-case hex.
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
            }
        }
    )*};
}

hash_types! {
    /// The network a message belongs to.
    ChainId;
    /// A party: worker, verifier, client, challenger, owner.
    PartyId;
    /// Hash of a [`JobSpec`](crate::JobSpec) encoding.
    SpecHash;
    /// A job: chain, client, the client's nonce and the spec.
    JobId;
    /// The sampling seed of a job, a function of its id alone.
    Seed;
    /// Root of a [`ModelManifest`](crate::ModelManifest).
    ModelHash;
    /// Hash of an [`Attestation`](crate::Attestation).
    AttestationHash;
    /// Hash of a [`BatchHeader`](crate::BatchHeader).
    BatchHash;
    /// One state of an execution trace.
    StateHash;
    /// Commitment to an execution trace.
    TraceHash;
    /// A dispute.
    DisputeId;
    /// Hash of one piece of [`Evidence`](crate::Evidence).
    EvidenceHash;
}

/// SHA-256 of `data`.
pub(crate) fn sha256(data: &[u8]) -> Hash {
    Sha256::digest(data).into()
}

/// `K(k, m) = SHA-256(k || k || m)` with the first block already absorbed.
///
/// Messages are short and their number is large, so they are padded on the stack and go to the compression
/// function of `sha2` in one call.
#[derive(Clone)]
pub(crate) struct Tag {
    key: [u8; 32],
    midstate: [u32; 8],
}

impl Tag {
    /// `D(label, .)`: the key is SHA-256 of `hanzo-poai v1 ` and the label (the tagged hash of BIP-340).
    pub(crate) fn new(label: &str) -> Self {
        let mut name = Sha256::new();
        name.update(b"hanzo-poai v1 ");
        name.update(label.as_bytes());
        Self::keyed(&name.finalize().into())
    }

    /// `K(key, .)`.
    pub(crate) fn keyed(key: &[u8; 32]) -> Self {
        let mut block = [0; BLOCK];
        block[..32].copy_from_slice(key);
        block[32..].copy_from_slice(key);
        let mut midstate = INITIAL;
        compress256(&mut midstate, &[block]);
        Self { key: *key, midstate }
    }

    /// The hash of the concatenated parts.
    pub(crate) fn hash(&self, parts: &[&[u8]]) -> Hash {
        let len: usize = parts.iter().map(|part| part.len()).sum();
        match len {
            0..=55 => self.padded::<1>(parts, len),
            56..=119 => self.padded::<2>(parts, len),
            120..=503 => self.padded::<8>(parts, len),
            _ => {
                let mut hasher = Sha256::new();
                hasher.update(self.key);
                hasher.update(self.key);
                for part in parts {
                    hasher.update(part);
                }
                hasher.finalize().into()
            }
        }
    }

    /// The first eight bytes of the hash of a 36-byte message, as a number. One compression and nothing else.
    #[inline]
    pub(crate) fn draw(&self, head: &[u8; 32], tail: u32) -> u64 {
        const BITS: u64 = (BLOCK as u64 + 36) * 8;
        let mut block = [0u8; BLOCK];
        block[..32].copy_from_slice(head);
        block[32..36].copy_from_slice(&tail.to_be_bytes());
        block[36] = 0x80;
        block[BLOCK - 8..].copy_from_slice(&BITS.to_be_bytes());
        let mut state = self.midstate;
        compress256(&mut state, &[block]);
        u64::from(state[0]) << 32 | u64::from(state[1])
    }

    /// Messages that fit into `N` blocks with their padding: a one bit, zeros, the length in bits, which counts
    /// the block of the key (FIPS 180-4 section 5.1.1).
    fn padded<const N: usize>(&self, parts: &[&[u8]], len: usize) -> Hash {
        let mut blocks = [[0u8; BLOCK]; N];
        let bytes = blocks.as_flattened_mut();
        let mut at = 0;
        for part in parts {
            let end = at + part.len();
            bytes[at..end].copy_from_slice(part);
            at = end;
        }
        bytes[len] = 0x80;
        let used = (len + 9).div_ceil(BLOCK);
        let bits = ((BLOCK + len) as u64) * 8;
        bytes[used * BLOCK - 8..used * BLOCK].copy_from_slice(&bits.to_be_bytes());
        let mut state = self.midstate;
        compress256(&mut state, &blocks[..used]);
        to_bytes(&state)
    }
}

fn to_bytes(state: &[u32; 8]) -> Hash {
    let mut hash = [0; 32];
    for (bytes, word) in hash.as_chunks_mut::<4>().0.iter_mut().zip(state) {
        *bytes = word.to_be_bytes();
    }
    hash
}

const BLOCK: usize = 64;
/// Initial hash value of SHA-256 (FIPS 180-4 section 5.3.3).
const INITIAL: [u32; 8] =
    [0x6a09_e667, 0xbb67_ae85, 0x3c6e_f372, 0xa54f_f53a, 0x510e_527f, 0x9b05_688c, 0x1f83_d9ab, 0x5be0_cd19];

impl fmt::Debug for Tag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Tag")
    }
}

/// `D(label, parts)` for a label used once.
pub(crate) fn tagged(label: &str, parts: &[&[u8]]) -> Hash {
    Tag::new(label).hash(parts)
}

#[cfg(test)]
mod tests {
    use alloc::string::ToString as _;
    use alloc::vec::Vec;

    use super::*;

    #[test]
    fn tagged_hash_is_sha256_of_key_key_message() {
        let key = sha256(b"hanzo-poai v1 job");
        let mut plain = key.to_vec();
        plain.extend_from_slice(&key);
        plain.extend_from_slice(b"abc");
        assert_eq!(tagged("job", &[b"a", b"bc"]), sha256(&plain));
        assert_ne!(tagged("seed", &[b"abc"]), sha256(&plain));
    }

    #[test]
    fn every_length_agrees_with_plain_sha256() {
        let key = sha256(b"key");
        let tag = Tag::keyed(&key);
        let message: Vec<u8> = (0..700u32).map(|i| (i * 7) as u8).collect();
        for len in 0..message.len() {
            let mut plain = [key, key].concat();
            plain.extend_from_slice(&message[..len]);
            let (left, right) = message[..len].split_at(len / 3);
            assert_eq!(tag.hash(&[left, &[], right]), sha256(&plain), "{len}");
        }
        let whole = tag.hash(&[&key, &7u32.to_be_bytes()]);
        assert_eq!(tag.draw(&key, 7).to_be_bytes(), whole[..8]);
    }

    #[test]
    fn ids_print_as_hex() {
        assert_eq!(PartyId::new([0xab; 32]).to_string(), "ab".repeat(32));
    }
}
