//! The slot for succinct proofs of inference, whose systems this crate does not contain.

use crate::error::Result;
use crate::hash::{Hash, ModelHash};

/// Verifies succinct proofs. Closures implement this trait.
///
/// # Guarantees
/// An implementor accepts a proof only if the model gives `output` for `input`, up to the soundness error of its
/// system, and gives the same answer everywhere. A proof it cannot parse is `Ok(false)`.
pub trait ProofSystem {
    /// Whether the proof shows that the model gives this output for this input.
    ///
    /// # Errors
    /// Only where nothing can be said, for instance about a model whose verifying key is not there.
    fn verify(&self, model: &ModelHash, input: &Hash, output: &Hash, proof: &[u8]) -> Result<bool>;
}

impl<F> ProofSystem for F
where
    F: Fn(&ModelHash, &Hash, &Hash, &[u8]) -> Result<bool>,
{
    fn verify(&self, model: &ModelHash, input: &Hash, output: &Hash, proof: &[u8]) -> Result<bool> {
        self(model, input, output, proof)
    }
}
