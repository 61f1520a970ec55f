//! Two bodies at one place of a worker's chain.

use crate::attestation::Attestation;
use crate::error::{Error, Result};

/// Two different attestations with the same chain, worker and sequence number, in the order of their hashes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Equivocation {
    first: Attestation,
    second: Attestation,
}

impl Equivocation {
    /// The pair, given in any order. Signatures are checked by
    /// [`Evidence::equivocation`](crate::Evidence::equivocation).
    ///
    /// # Errors
    /// [`Error::NoOffence`] when the bodies are equal or stand at different places.
    pub fn new(a: Attestation, b: Attestation) -> Result<Self> {
        let place = |att: &Attestation| (att.chain(), att.worker(), att.seq());
        if a == b || place(&a) != place(&b) {
            return Err(Error::NoOffence);
        }
        let (first, second) = if a.hash() < b.hash() { (a, b) } else { (b, a) };
        Ok(Self { first, second })
    }

    /// The body with the smaller hash.
    pub const fn first(&self) -> &Attestation {
        &self.first
    }

    /// The body with the larger hash.
    pub const fn second(&self) -> &Attestation {
        &self.second
    }

    /// Sequence number of both.
    pub const fn seq(&self) -> u64 {
        self.first.seq()
    }
}
