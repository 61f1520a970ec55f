//! Signatures of a simulation.

use sha2::{Digest, Sha256};

use crate::checkpoint::Hash;
use crate::committee::{NodeId, Sign, SignatureError, VerifyAll};
use crate::wire::Signature;

/// What signs in a simulation. No cryptography: a simulated adversary forges nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SimulatedKeys {
    /// Empty signatures, all valid: the cost of everything but signatures.
    Unsigned,
    /// SHA-256 of signer and message, which a validator named otherwise does not pass for.
    Keyed(NodeId),
}

impl SimulatedKeys {
    fn tag(node: &NodeId, message: &[u8]) -> Signature {
        let tag: Hash = Sha256::new().chain_update(node).chain_update(message).finalize().into();
        Signature::from(&tag[..16])
    }
}

impl Sign for SimulatedKeys {
    fn sign(&self, message: &[u8]) -> Result<Signature, SignatureError> {
        Ok(match self {
            Self::Unsigned => Signature::from([]),
            Self::Keyed(own) => Self::tag(own, message),
        })
    }
}

impl VerifyAll for SimulatedKeys {
    fn verify_all(&self, items: &[(NodeId, &[u8], &[u8])]) -> Result<(), SignatureError> {
        let valid = |(node, message, signature): &(NodeId, &[u8], &[u8])| *Self::tag(node, message) == **signature;
        match self {
            Self::Keyed(_) if !items.iter().all(valid) => Err(SignatureError),
            _ => Ok(()),
        }
    }
}
