//! Which assurance a price calls for, and proofs that were checked.

use crate::attestation::Attestation;
use crate::error::{Error, Result};
use crate::hash::AttestationHash;
use crate::job_spec::Assurance;
use crate::proof_system::ProofSystem;

/// Picks the assurance of a spec by its price. A recommendation to clients: the spec's own byte binds.
///
/// ```
/// use hanzo_poai::{Assurance, AssurancePolicy};
///
/// let policy = AssurancePolicy { redundant_from: Some(1_000), proof_from: Some(1_000_000) };
/// assert_eq!(policy.pick(999), Assurance::Optimistic);
/// assert_eq!(policy.pick(1_000), Assurance::Redundant);
/// assert_eq!(policy.pick(u128::MAX), Assurance::Proof);
/// assert_eq!(AssurancePolicy::default().pick(u128::MAX), Assurance::Optimistic);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(deny_unknown_fields))]
pub struct AssurancePolicy {
    /// Least price, in base units, at which several workers compute.
    pub redundant_from: Option<u128>,
    /// Least price at which a succinct proof is asked for; it comes before redundancy.
    pub proof_from: Option<u128>,
}

impl AssurancePolicy {
    /// The assurance for a price.
    pub fn pick(&self, price: u128) -> Assurance {
        let reached = |least: Option<u128>| least.is_some_and(|least| price >= least);
        if reached(self.proof_from) {
            Assurance::Proof
        } else if reached(self.redundant_from) {
            Assurance::Redundant
        } else {
            Assurance::Optimistic
        }
    }
}

/// A succinct proof that was accepted for the output of an attestation; made only by checking it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ProvenOutput {
    attestation: AttestationHash,
}

impl ProvenOutput {
    /// Checks a proof of what the attestation claims.
    ///
    /// # Errors
    /// [`Error::BadProof`] for a proof that does not verify; whatever the system says where it cannot tell.
    pub fn check(attestation: &Attestation, proof: &[u8], system: &impl ProofSystem) -> Result<Self> {
        let holds = system.verify(&attestation.model(), &attestation.input(), &attestation.output(), proof)?;
        if holds { Ok(Self { attestation: attestation.hash() }) } else { Err(Error::BadProof) }
    }

    /// The attestation.
    pub const fn attestation(&self) -> &AttestationHash {
        &self.attestation
    }
}
