//! Signatures, and the context they are made under.

use alloc::boxed::Box;
use alloc::vec::Vec;

use signature::SignatureEncoding;

use super::SignatureAlgorithm;
use crate::error::{Error, Result};

/// A FIPS 204 context string: 0 to 255 bytes that separate one use of a key from another.
///
/// ```
/// use hanzo_pqc::{Context, Error};
///
/// assert!(Context::new(b"invoice").is_ok());
/// assert_eq!(Context::new(&[0; 256]), Err(Error::InvalidContext { len: 256 }));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Context<'a>(&'a [u8]);

impl<'a> Context<'a> {
    /// Takes the bytes of a context.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidContext`] for more than 255 bytes.
    pub const fn new(bytes: &'a [u8]) -> Result<Self> {
        if bytes.len() > 255 {
            return Err(Error::InvalidContext { len: bytes.len() });
        }
        Ok(Self(bytes))
    }

    /// The bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &'a [u8] {
        self.0
    }
}

/// The bytes of an ML-DSA signature. The three algorithms are told apart by length; whether the encoding is
/// canonical is part of verification, as in FIPS 204 algorithm 8.
///
/// ```
/// use hanzo_pqc::{Signature, SignatureAlgorithm};
///
/// let signature = Signature::from_bytes(&[0; 2420])?;
/// assert_eq!(signature.algorithm(), SignatureAlgorithm::MlDsa44);
/// assert!(Signature::from_bytes(&[0; 2421]).is_err());
/// # Ok::<(), hanzo_pqc::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Signature {
    pub(super) algorithm: SignatureAlgorithm,
    pub(super) bytes: Box<[u8]>,
}

impl Signature {
    /// Takes signature bytes.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidSignature`] where no algorithm has signatures of this length.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self> {
        let algorithm = SignatureAlgorithm::ALL
            .into_iter()
            .find(|algorithm| algorithm.signature_len() == bytes.len())
            .ok_or(Error::InvalidSignature)?;
        Ok(Self { algorithm, bytes: bytes.into() })
    }

    /// The algorithm, told by the length.
    #[must_use]
    pub const fn algorithm(&self) -> SignatureAlgorithm {
        self.algorithm
    }

    /// The bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }
}

impl TryFrom<&[u8]> for Signature {
    type Error = Error;

    fn try_from(bytes: &[u8]) -> Result<Self> {
        Self::from_bytes(bytes)
    }
}

impl From<Signature> for Vec<u8> {
    fn from(signature: Signature) -> Self {
        signature.bytes.into_vec()
    }
}

impl AsRef<[u8]> for Signature {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl SignatureEncoding for Signature {
    type Repr = Vec<u8>;
}
