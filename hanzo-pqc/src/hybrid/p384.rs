//! P-384 beside ML-KEM-1024 (draft-irtf-cfrg-concrete-hybrid-kems): scalars from 48-byte seeds, uncompressed points.

use alloc::vec::Vec;

use p384::elliptic_curve::sec1::ToSec1Point;
use p384::{NonZeroScalar, PublicKey, SecretKey};
use zeroize::Zeroizing;

use crate::error::{Error, Result};

/// A scalar in 1..n; wiped on drop by its crate.
pub(crate) struct Secret(SecretKey);

impl Secret {
    /// Takes the big-endian scalar. One seed in 2^192 is not below the group's order, and refused.
    pub(crate) fn from_seed(seed: &[u8]) -> Result<Self> {
        SecretKey::from_slice(seed).map(Self).map_err(|_| Error::InvalidKey)
    }

    /// 04 ‖ x ‖ y (SEC 1 section 2.3.3).
    pub(crate) fn public(&self) -> [u8; 97] {
        let mut out = [0; 97];
        out.copy_from_slice(self.0.public_key().to_sec1_point(false).as_bytes());
        out
    }

    /// The x coordinate of the shared point; points off the curve, at infinity or not in uncompressed form are refused.
    pub(crate) fn agree(&self, point: &[u8]) -> Result<Zeroizing<Vec<u8>>> {
        if point.len() != 97 {
            return Err(Error::InvalidKey);
        }
        let point = PublicKey::from_sec1_bytes(point).map_err(|_| Error::InvalidKey)?;
        let scalar: NonZeroScalar = self.0.to_nonzero_scalar();
        let shared = p384::ecdh::diffie_hellman(scalar, point.as_affine());
        Ok(Zeroizing::new(shared.raw_secret_bytes().to_vec()))
    }
}

/// Length of a scalar's seed.
pub(crate) const SEED_LEN: usize = 48;
