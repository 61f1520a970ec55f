//! Tagged SHA-256 and the names of what is hashed.

use core::fmt;

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
#[derive(Clone)]
pub(crate) struct Tag {
    midstate: Sha256,
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
        let mut midstate = Sha256::new();
        midstate.update(key);
        midstate.update(key);
        Self { midstate }
    }

    /// The hash of the concatenated parts.
    pub(crate) fn hash(&self, parts: &[&[u8]]) -> Hash {
        let mut hasher = self.midstate.clone();
        for part in parts {
            hasher.update(part);
        }
        hasher.finalize().into()
    }
}

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
    fn ids_print_as_hex() {
        assert_eq!(PartyId::new([0xab; 32]).to_string(), "ab".repeat(32));
    }
}
