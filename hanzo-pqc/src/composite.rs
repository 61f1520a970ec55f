//! Composite signatures: ML-DSA and a second algorithm over one message, valid only where both are.

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::fmt;

use ::signature::{Keypair, RandomizedSigner, SignatureEncoding, Signer, Verifier};
use rand_core::{CryptoRng, TryCryptoRng};
use sha2::{Digest, Sha512};
use zeroize::{ZeroizeOnDrop, Zeroizing};

use crate::backend::rustcrypto::ZeroRnd;
use crate::dsa::{Context, Signature, SigningKey, VerifyingKey};
use crate::error::{Error, Result};
use second::{Second, SecondPublic};

mod algorithm;
mod second;

pub use algorithm::CompositeAlgorithm;

/// The signing key of a composite. Its secret form is the ML-DSA seed (32 bytes), then the second algorithm's.
///
/// Both parts are made for this key and live in it only: a component's signature alone is worth nothing here, and neither
/// part signs anything but composites.
///
/// Secret: wiped on drop, `Debug` shows the algorithm only, no `PartialEq`, no serialisation.
///
#[cfg_attr(feature = "composite", doc = "```")]
#[cfg_attr(not(feature = "composite"), doc = "```ignore")]
/// use hanzo_pqc::{CompositeAlgorithm, CompositeSigningKey, Error};
///
/// let key = CompositeSigningKey::from_seed(CompositeAlgorithm::MlDsa65Ed25519, &[7; 64])?;
/// let signature = key.sign_deterministic(b"batch 1")?;
/// assert_eq!(signature.as_bytes().len(), 3309 + 64);
/// assert_eq!(key.verifying_key().verify(b"batch 1", &signature), Ok(()));
/// assert_eq!(key.verifying_key().verify(b"batch 2", &signature), Err(Error::InvalidSignature));
/// # Ok::<(), Error>(())
/// ```
///
/// ```compile_fail,E0277
/// fn comparable<T: PartialEq>() {}
/// comparable::<hanzo_pqc::CompositeSigningKey>();
/// ```
///
/// ```compile_fail,E0277
/// fn serialised(secret: &hanzo_pqc::CompositeSigningKey) -> String {
///     serde_json::to_string(secret).unwrap()
/// }
/// ```
pub struct CompositeSigningKey {
    seed: Zeroizing<Vec<u8>>,
    pq: SigningKey,
    second: Second,
    verifying_key: CompositeVerifyingKey,
}

impl CompositeSigningKey {
    /// Draws a new key: the seed from `rng` in one call.
    #[must_use]
    pub fn generate<R: CryptoRng + ?Sized>(algorithm: CompositeAlgorithm, rng: &mut R) -> Self {
        let mut seed = Zeroizing::new(alloc::vec![0; algorithm.seed_len()]);
        rng.fill_bytes(&mut seed);
        // Every seed of the right length is a key: this passes the first time.
        loop {
            if let Ok(key) = Self::from_seed(algorithm, &seed) {
                return key;
            }
        }
    }

    /// Expands a seed.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidLength`] for any length but [`CompositeAlgorithm::seed_len`].
    pub fn from_seed(algorithm: CompositeAlgorithm, seed: &[u8]) -> Result<Self> {
        let wrong = Error::InvalidLength { what: "composite seed", expected: algorithm.seed_len(), actual: seed.len() };
        if seed.len() != algorithm.seed_len() {
            return Err(wrong);
        }
        let (pq, rest) = seed.split_at_checked(32).ok_or(wrong)?;
        let pq = SigningKey::from_seed(algorithm.ml_dsa(), pq)?;
        let second = Second::from_seed(algorithm, rest)?;
        let public = second.public();
        let bytes = [pq.verifying_key().as_bytes(), &public.to_bytes()].concat().into_boxed_slice();
        let verifying_key = CompositeVerifyingKey { algorithm, pq: pq.verifying_key().clone(), second: public, bytes };
        Ok(Self { seed: Zeroizing::new(seed.to_vec()), pq, second, verifying_key })
    }

    /// The algorithm.
    #[must_use]
    pub const fn algorithm(&self) -> CompositeAlgorithm {
        self.verifying_key.algorithm
    }

    /// The public half.
    #[must_use]
    pub const fn verifying_key(&self) -> &CompositeVerifyingKey {
        &self.verifying_key
    }

    /// The secret seed, for storage in a vault.
    #[must_use]
    pub fn expose_seed(&self) -> &[u8] {
        &self.seed
    }

    /// Signs with an empty context, ML-DSA hedged; takes exactly 32 bytes from `rng`.
    ///
    /// # Errors
    ///
    /// As [`SigningKey::sign`].
    pub fn sign<R: CryptoRng + ?Sized>(&self, message: &[u8], rng: &mut R) -> Result<CompositeSignature> {
        self.sign_bytes(message, &Context::default(), rng)
    }

    /// Signs under a context, ML-DSA hedged.
    ///
    /// # Errors
    ///
    /// As [`SigningKey::sign`].
    pub fn sign_with_context<R: CryptoRng + ?Sized>(
        &self,
        message: &[u8],
        context: &Context<'_>,
        rng: &mut R,
    ) -> Result<CompositeSignature> {
        self.sign_bytes(message, context, rng)
    }

    /// Signs with an empty context, deterministically.
    ///
    /// # Errors
    ///
    /// As [`SigningKey::sign`].
    pub fn sign_deterministic(&self, message: &[u8]) -> Result<CompositeSignature> {
        self.sign_bytes(message, &Context::default(), &mut ZeroRnd)
    }

    /// Signs under a context, deterministically.
    ///
    /// # Errors
    ///
    /// As [`SigningKey::sign`].
    pub fn sign_deterministic_with_context(&self, message: &[u8], context: &Context<'_>) -> Result<CompositeSignature> {
        self.sign_bytes(message, context, &mut ZeroRnd)
    }

    fn sign_bytes<R: TryCryptoRng + ?Sized>(
        &self,
        message: &[u8],
        context: &Context<'_>,
        rng: &mut R,
    ) -> Result<CompositeSignature> {
        let algorithm = self.algorithm();
        let representative = algorithm.representative(message, context);
        let mut bytes: Vec<u8> = self.pq.sign_bytes(&representative, algorithm.ml_dsa_context(), rng)?.into();
        bytes.extend_from_slice(&self.second.sign(&representative)?);
        Ok(CompositeSignature { algorithm, bytes: bytes.into_boxed_slice() })
    }
}

impl fmt::Debug for CompositeSigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CompositeSigningKey")
            .field("algorithm", &self.algorithm())
            .field("seed", &format_args!("[redacted]"))
            .finish()
    }
}

// Seed and both parts wipe themselves; the verifying key is public.
impl ZeroizeOnDrop for CompositeSigningKey {}

/// The deterministic variant with an empty context: the trait passes no generator.
impl Signer<CompositeSignature> for CompositeSigningKey {
    fn try_sign(&self, message: &[u8]) -> Result<CompositeSignature, ::signature::Error> {
        self.sign_deterministic(message).map_err(|_| ::signature::Error::new())
    }
}

/// The hedged variant with an empty context.
impl RandomizedSigner<CompositeSignature> for CompositeSigningKey {
    fn try_sign_with_rng<R: TryCryptoRng + ?Sized>(
        &self,
        rng: &mut R,
        message: &[u8],
    ) -> Result<CompositeSignature, ::signature::Error> {
        self.sign_bytes(message, &Context::default(), rng).map_err(|_| ::signature::Error::new())
    }
}

impl Keypair for CompositeSigningKey {
    type VerifyingKey = CompositeVerifyingKey;

    fn verifying_key(&self) -> CompositeVerifyingKey {
        self.verifying_key.clone()
    }
}

/// The verifying key of a composite: the ML-DSA key, then the second algorithm's.
///
#[cfg_attr(feature = "composite", doc = "```")]
#[cfg_attr(not(feature = "composite"), doc = "```ignore")]
/// use hanzo_pqc::{CompositeAlgorithm, CompositeSigningKey, CompositeVerifyingKey};
///
/// let algorithm = CompositeAlgorithm::MlDsa65Ed25519;
/// let signer = CompositeSigningKey::from_seed(algorithm, &[7; 64])?;
/// let key = CompositeVerifyingKey::from_bytes(algorithm, signer.verifying_key().as_bytes())?;
/// assert_eq!(&key, signer.verifying_key());
/// # Ok::<(), hanzo_pqc::Error>(())
/// ```
#[derive(Clone)]
pub struct CompositeVerifyingKey {
    algorithm: CompositeAlgorithm,
    pq: VerifyingKey,
    second: SecondPublic,
    bytes: Box<[u8]>,
}

impl CompositeVerifyingKey {
    /// Reads a key of a stated algorithm.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidLength`], and [`Error::InvalidKey`] where the second part is no key: no point of Edwards25519, or one of small order.
    pub fn from_bytes(algorithm: CompositeAlgorithm, bytes: &[u8]) -> Result<Self> {
        let expected = algorithm.verifying_key_len();
        if bytes.len() != expected {
            return Err(Error::InvalidLength { what: "composite verifying key", expected, actual: bytes.len() });
        }
        let (pq, second) = bytes.split_at(algorithm.ml_dsa().verifying_key_len());
        let pq = VerifyingKey::from_bytes(algorithm.ml_dsa(), pq)?;
        Ok(Self { algorithm, pq, second: SecondPublic::from_bytes(algorithm, second)?, bytes: bytes.into() })
    }

    /// The algorithm.
    #[must_use]
    pub const fn algorithm(&self) -> CompositeAlgorithm {
        self.algorithm
    }

    /// The encoded key.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Verifies a signature with an empty context.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidSignature`] where either part does not verify, or the signature is of another algorithm.
    pub fn verify(&self, message: &[u8], signature: &CompositeSignature) -> Result<()> {
        self.verify_with_context(message, &Context::default(), signature)
    }

    /// Verifies a signature under a context. Both parts are always checked.
    ///
    /// # Errors
    ///
    /// As [`Self::verify`].
    pub fn verify_with_context(
        &self,
        message: &[u8],
        context: &Context<'_>,
        signature: &CompositeSignature,
    ) -> Result<()> {
        if signature.algorithm != self.algorithm {
            return Err(Error::InvalidSignature);
        }
        let representative = self.algorithm.representative(message, context);
        let (pq, second) = signature.bytes.split_at(self.algorithm.ml_dsa().signature_len());
        let context = Context::new(self.algorithm.ml_dsa_context())?;
        let pq = Signature::from_bytes(pq)
            .and_then(|signature| self.pq.verify_with_context(&representative, &context, &signature));
        let second = self.second.verify(&representative, second);
        if pq.is_ok() & second { Ok(()) } else { Err(Error::InvalidSignature) }
    }
}

impl PartialEq for CompositeVerifyingKey {
    fn eq(&self, other: &Self) -> bool {
        self.algorithm == other.algorithm && self.bytes == other.bytes
    }
}

impl Eq for CompositeVerifyingKey {}

impl fmt::Debug for CompositeVerifyingKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CompositeVerifyingKey").field("algorithm", &self.algorithm).field("bytes", &self.bytes).finish()
    }
}

impl Verifier<CompositeSignature> for CompositeVerifyingKey {
    fn verify(&self, message: &[u8], signature: &CompositeSignature) -> Result<(), ::signature::Error> {
        Self::verify(self, message, signature).map_err(|_| ::signature::Error::new())
    }
}

/// The bytes of a composite signature: ML-DSA's, then the second algorithm's. The algorithms are told apart by length.
///
#[cfg_attr(feature = "composite", doc = "```")]
#[cfg_attr(not(feature = "composite"), doc = "```ignore")]
/// use hanzo_pqc::{CompositeAlgorithm, CompositeSignature};
///
/// let signature = CompositeSignature::from_bytes(&[0; 3309 + 64])?;
/// assert_eq!(signature.algorithm(), CompositeAlgorithm::MlDsa65Ed25519);
/// assert!(CompositeSignature::from_bytes(&[0; 3309]).is_err());
/// # Ok::<(), hanzo_pqc::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct CompositeSignature {
    algorithm: CompositeAlgorithm,
    bytes: Box<[u8]>,
}

impl CompositeSignature {
    /// Takes signature bytes.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidSignature`] where no algorithm of this build has signatures of this length.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self> {
        let mut all = CompositeAlgorithm::ALL.iter().copied();
        let algorithm =
            all.find(|algorithm| algorithm.signature_len() == bytes.len()).ok_or(Error::InvalidSignature)?;
        Ok(Self { algorithm, bytes: bytes.into() })
    }

    /// The algorithm, told by the length.
    #[must_use]
    pub const fn algorithm(&self) -> CompositeAlgorithm {
        self.algorithm
    }

    /// The bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }
}

impl TryFrom<&[u8]> for CompositeSignature {
    type Error = Error;

    fn try_from(bytes: &[u8]) -> Result<Self> {
        Self::from_bytes(bytes)
    }
}

impl From<CompositeSignature> for Vec<u8> {
    fn from(signature: CompositeSignature) -> Self {
        signature.bytes.into_vec()
    }
}

impl SignatureEncoding for CompositeSignature {
    type Repr = Vec<u8>;
}

impl CompositeAlgorithm {
    /// What both parts sign: prefix ‖ label ‖ u8(len ctx) ‖ ctx ‖ SHA-512(M), or for SLH-DSA lp16(name) ‖ u8(len ctx) ‖ ctx ‖ SHA-512(M).
    fn representative(self, message: &[u8], context: &Context<'_>) -> Vec<u8> {
        let context = context.as_bytes();
        // A context has at most 255 bytes, a label fewer.
        let length = [context.len() as u8];
        let digest = Sha512::digest(message);
        if self.is_ed25519() {
            [PREFIX, self.label().as_bytes(), &length, context, &digest].concat()
        } else {
            let label = self.label().as_bytes();
            [&(label.len() as u16).to_be_bytes(), label, &length, context, &digest].concat()
        }
    }

    /// The context of the ML-DSA part: the label, or nothing beside SLH-DSA.
    const fn ml_dsa_context(self) -> &'static [u8] {
        if self.is_ed25519() { self.label().as_bytes() } else { &[] }
    }
}

const PREFIX: &[u8] = b"CompositeAlgorithmSignatures2025";

#[cfg(all(test, feature = "composite"))]
mod tests {
    use super::*;
    use alloc::format;

    #[test]
    fn debug_shows_no_seed() {
        let key = CompositeSigningKey::from_seed(CompositeAlgorithm::MlDsa44Ed25519, &[0xA5; 64]).unwrap();
        let shown = format!("{key:?}");
        assert!(shown.contains("[redacted]") && !shown.contains("165") && !shown.to_lowercase().contains("a5"));
    }

    #[test]
    fn the_traits_agree_with_the_methods() {
        let key = CompositeSigningKey::from_seed(CompositeAlgorithm::MlDsa44Ed25519, &[1; 64]).unwrap();
        let by_trait: CompositeSignature = Signer::sign(&key, b"m");
        assert_eq!(by_trait, key.sign_deterministic(b"m").unwrap());
        let vk = Keypair::verifying_key(&key);
        assert!(Verifier::verify(&vk, b"m", &by_trait).is_ok());
        assert!(Verifier::verify(&vk, b"n", &by_trait).is_err());
        let hedged: CompositeSignature = RandomizedSigner::sign_with_rng(&key, &mut ZeroRnd, b"m");
        assert_eq!(hedged, by_trait, "rnd = 0 is the deterministic variant");
    }

    /// Each part alone is of no use: a composite with one part of another key is refused.
    #[test]
    fn both_parts_must_verify() {
        let algorithm = CompositeAlgorithm::MlDsa44Ed25519;
        let key = CompositeSigningKey::from_seed(algorithm, &[1; 64]).unwrap();
        let other = CompositeSigningKey::from_seed(algorithm, &[2; 64]).unwrap();
        let (mine, theirs) = (key.sign_deterministic(b"m").unwrap(), other.sign_deterministic(b"m").unwrap());
        let at = algorithm.ml_dsa().signature_len();
        for mixed in [
            [&mine.as_bytes()[..at], &theirs.as_bytes()[at..]].concat(),
            [&theirs.as_bytes()[..at], &mine.as_bytes()[at..]].concat(),
        ] {
            let mixed = CompositeSignature::from_bytes(&mixed).unwrap();
            assert_eq!(key.verifying_key().verify(b"m", &mixed), Err(Error::InvalidSignature));
        }
    }
}
