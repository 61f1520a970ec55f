//! Signatures that are empty and always valid.

use hanzo_snow::{NodeId, Sign, Signature, SignatureError, VerifyAll};

/// Everybody is who he says: the networks of these tests do not lie.
#[derive(Debug, Clone)]
pub(crate) struct Unsigned;

impl Sign for Unsigned {
    fn sign(&self, _: &[u8]) -> Result<Signature, SignatureError> {
        Ok(Signature::from([]))
    }
}

impl VerifyAll for Unsigned {
    fn verify_all(&self, _: &[(NodeId, &[u8], &[u8])]) -> Result<(), SignatureError> {
        Ok(())
    }
}
