//! ML-DSA keys and signatures (FIPS 204).

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::fmt;

use rand_core::{CryptoRng, TryCryptoRng};
use signature::{Keypair, RandomizedSigner, SignatureEncoding, Signer, Verifier};
use zeroize::{ZeroizeOnDrop, Zeroizing};

use crate::backend::rustcrypto::{DsaPublic, DsaSecret, ZeroRnd};
use crate::error::{Error, Result};

/// A parameter set of ML-DSA (FIPS 204), in ascending order of strength.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum SignatureAlgorithm {
    /// ML-DSA-44, NIST category 2.
    MlDsa44,
    /// ML-DSA-65, NIST category 3.
    MlDsa65,
    /// ML-DSA-87, NIST category 5.
    MlDsa87,
}

impl SignatureAlgorithm {
    /// Every algorithm, weakest first.
    pub const ALL: [Self; 3] = [Self::MlDsa44, Self::MlDsa65, Self::MlDsa87];
    /// Length of the secret seed, in bytes.
    pub const SEED_LEN: usize = 32;

    /// The code used on the wire: 1, 2 or 3.
    #[must_use]
    pub const fn code(self) -> u8 {
        match self {
            Self::MlDsa44 => 1,
            Self::MlDsa65 => 2,
            Self::MlDsa87 => 3,
        }
    }

    /// The algorithm with this code.
    ///
    /// # Errors
    ///
    /// [`Error::UnknownSignatureAlgorithm`] for any other code.
    pub const fn from_code(code: u8) -> Result<Self> {
        Ok(match code {
            1 => Self::MlDsa44,
            2 => Self::MlDsa65,
            3 => Self::MlDsa87,
            _ => return Err(Error::UnknownSignatureAlgorithm(code)),
        })
    }

    /// Length of a verifying key, in bytes.
    #[must_use]
    pub const fn verifying_key_len(self) -> usize {
        match self {
            Self::MlDsa44 => 1312,
            Self::MlDsa65 => 1952,
            Self::MlDsa87 => 2592,
        }
    }

    /// Length of a signature, in bytes; the same for the hedged and the deterministic variant.
    #[must_use]
    pub const fn signature_len(self) -> usize {
        match self {
            Self::MlDsa44 => 2420,
            Self::MlDsa65 => 3309,
            Self::MlDsa87 => 4627,
        }
    }

    /// NIST security category: 2, 3 or 5.
    #[must_use]
    pub const fn security_category(self) -> u8 {
        match self {
            Self::MlDsa44 => 2,
            Self::MlDsa65 => 3,
            Self::MlDsa87 => 5,
        }
    }

    /// The name in FIPS 204.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::MlDsa44 => "ML-DSA-44",
            Self::MlDsa65 => "ML-DSA-65",
            Self::MlDsa87 => "ML-DSA-87",
        }
    }
}

impl fmt::Display for SignatureAlgorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A FIPS 204 context string: 0 to 255 bytes that separate one use of a key from another.
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

/// An ML-DSA signing key. Its canonical secret form is a 32-byte seed; the expanded key is kept beside it.
///
/// [`sign`](Self::sign) is the hedged variant, which mixes fresh randomness in and stays safe where the generator fails;
/// [`sign_deterministic`](Self::sign_deterministic) and the trait [`signature::Signer`], which has no generator, are the deterministic one.
/// The inherent `sign` hides the trait's: call `Signer::sign(&key, message)` or `key.try_sign(message)` for that.
///
/// Secret: wiped on drop, `Debug` shows the algorithm only, no `PartialEq`, no serialisation.
///
/// ```
/// use hanzo_pqc::{SignatureAlgorithm, SigningKey};
///
/// let key = SigningKey::from_seed(SignatureAlgorithm::MlDsa65, &[7; 32])?;
/// let signature = key.sign_deterministic(b"batch 1")?;
/// assert_eq!(signature.as_bytes().len(), 3309);
/// assert!(key.verifying_key().verify(b"batch 1", &signature).is_ok());
/// assert!(key.verifying_key().verify(b"batch 2", &signature).is_err());
/// # Ok::<(), hanzo_pqc::Error>(())
/// ```
///
/// ```compile_fail,E0277
/// fn comparable<T: PartialEq>() {}
/// comparable::<hanzo_pqc::SigningKey>();
/// ```
///
/// ```compile_fail,E0277
/// fn serialised(secret: &hanzo_pqc::SigningKey) -> String {
///     serde_json::to_string(secret).unwrap()
/// }
/// ```
pub struct SigningKey {
    seed: Zeroizing<[u8; 32]>,
    secret: DsaSecret,
    verifying_key: VerifyingKey,
}

impl SigningKey {
    /// Draws a new key: exactly 32 bytes from `rng`.
    #[must_use]
    pub fn generate<R: CryptoRng + ?Sized>(algorithm: SignatureAlgorithm, rng: &mut R) -> Self {
        let mut seed = Zeroizing::new([0; 32]);
        rng.fill_bytes(seed.as_mut_slice());
        Self::expand(algorithm, seed)
    }

    /// Expands a 32-byte seed (FIPS 204's ξ).
    ///
    /// # Errors
    ///
    /// [`Error::InvalidLength`] for any other length.
    pub fn from_seed(algorithm: SignatureAlgorithm, seed: &[u8]) -> Result<Self> {
        let seed: [u8; 32] = seed.try_into().map_err(|_| Error::InvalidLength {
            what: "ML-DSA seed",
            expected: SignatureAlgorithm::SEED_LEN,
            actual: seed.len(),
        })?;
        Ok(Self::expand(algorithm, Zeroizing::new(seed)))
    }

    fn expand(algorithm: SignatureAlgorithm, seed: Zeroizing<[u8; 32]>) -> Self {
        let secret = DsaSecret::from_seed(algorithm, &seed);
        let verifying_key = VerifyingKey::from_public(algorithm, secret.public());
        Self { seed, secret, verifying_key }
    }

    /// The parameter set.
    #[must_use]
    pub const fn algorithm(&self) -> SignatureAlgorithm {
        self.verifying_key.algorithm
    }

    /// The public half.
    #[must_use]
    pub const fn verifying_key(&self) -> &VerifyingKey {
        &self.verifying_key
    }

    /// The secret seed, for storage in a vault.
    #[must_use]
    pub fn expose_seed(&self) -> &[u8; 32] {
        &self.seed
    }

    /// Signs with an empty context, hedged; takes exactly 32 bytes from `rng`.
    ///
    /// # Errors
    ///
    /// [`Error::SigningFailed`] where FIPS 204's loop runs past the backend's bound, which does not happen for honest keys.
    pub fn sign<R: CryptoRng + ?Sized>(&self, message: &[u8], rng: &mut R) -> Result<Signature> {
        self.sign_with_context(message, &Context::default(), rng)
    }

    /// Signs under a context, hedged; takes exactly 32 bytes from `rng`.
    ///
    /// # Errors
    ///
    /// As [`Self::sign`].
    pub fn sign_with_context<R: CryptoRng + ?Sized>(
        &self,
        message: &[u8],
        context: &Context<'_>,
        rng: &mut R,
    ) -> Result<Signature> {
        self.sign_bytes(message, context, rng)
    }

    /// Signs with an empty context, deterministically (FIPS 204's rnd = 0): same message, same bytes.
    ///
    /// # Errors
    ///
    /// As [`Self::sign`].
    pub fn sign_deterministic(&self, message: &[u8]) -> Result<Signature> {
        self.sign_deterministic_with_context(message, &Context::default())
    }

    /// Signs under a context, deterministically.
    ///
    /// # Errors
    ///
    /// As [`Self::sign`].
    pub fn sign_deterministic_with_context(&self, message: &[u8], context: &Context<'_>) -> Result<Signature> {
        self.sign_bytes(message, context, &mut ZeroRnd)
    }

    /// Signs a message representative that was computed elsewhere ([`VerifyingKey::mu`]), hedged.
    ///
    /// # Errors
    ///
    /// As [`Self::sign`].
    pub fn sign_mu<R: CryptoRng + ?Sized>(&self, mu: &[u8; 64], rng: &mut R) -> Result<Signature> {
        Ok(self.signature(self.secret.sign_mu(mu, rng)?))
    }

    /// Signs a message representative that was computed elsewhere, deterministically.
    ///
    /// # Errors
    ///
    /// As [`Self::sign`].
    pub fn sign_mu_deterministic(&self, mu: &[u8; 64]) -> Result<Signature> {
        Ok(self.signature(self.secret.sign_mu(mu, &mut ZeroRnd)?))
    }

    fn sign_bytes<R: TryCryptoRng + ?Sized>(
        &self,
        message: &[u8],
        context: &Context<'_>,
        rng: &mut R,
    ) -> Result<Signature> {
        Ok(self.signature(self.secret.sign(message, context.0, rng)?))
    }

    fn signature(&self, bytes: Vec<u8>) -> Signature {
        Signature { algorithm: self.algorithm(), bytes: bytes.into_boxed_slice() }
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SigningKey")
            .field("algorithm", &self.algorithm())
            .field("seed", &format_args!("[redacted]"))
            .finish()
    }
}

// The seed wipes itself and the backend's key wipes itself; the verifying key is public.
impl ZeroizeOnDrop for SigningKey {}

/// The deterministic variant with an empty context: the trait passes no generator.
impl Signer<Signature> for SigningKey {
    fn try_sign(&self, message: &[u8]) -> Result<Signature, signature::Error> {
        self.sign_deterministic(message).map_err(|_| signature::Error::new())
    }
}

/// The hedged variant with an empty context.
impl RandomizedSigner<Signature> for SigningKey {
    fn try_sign_with_rng<R: TryCryptoRng + ?Sized>(
        &self,
        rng: &mut R,
        message: &[u8],
    ) -> Result<Signature, signature::Error> {
        self.sign_bytes(message, &Context::default(), rng).map_err(|_| signature::Error::new())
    }
}

impl Keypair for SigningKey {
    type VerifyingKey = VerifyingKey;

    fn verifying_key(&self) -> VerifyingKey {
        self.verifying_key.clone()
    }
}

/// An ML-DSA verifying key, with the matrix of FIPS 204 expanded once at construction.
#[derive(Clone)]
pub struct VerifyingKey {
    algorithm: SignatureAlgorithm,
    public: DsaPublic,
    bytes: Box<[u8]>,
}

impl VerifyingKey {
    /// Reads a key of a stated algorithm. Every byte string of the right length is a key (FIPS 204 algorithm 23).
    ///
    /// # Errors
    ///
    /// [`Error::InvalidLength`] for any other length.
    pub fn from_bytes(algorithm: SignatureAlgorithm, bytes: &[u8]) -> Result<Self> {
        Ok(Self { algorithm, public: DsaPublic::from_bytes(algorithm, bytes)?, bytes: bytes.into() })
    }

    fn from_public(algorithm: SignatureAlgorithm, public: DsaPublic) -> Self {
        let bytes = public.to_bytes().into_boxed_slice();
        Self { algorithm, public, bytes }
    }

    /// The parameter set.
    #[must_use]
    pub const fn algorithm(&self) -> SignatureAlgorithm {
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
    /// [`Error::InvalidSignature`] where it does not verify or is of another algorithm.
    pub fn verify(&self, message: &[u8], signature: &Signature) -> Result<()> {
        self.verify_with_context(message, &Context::default(), signature)
    }

    /// Verifies a signature under a context.
    ///
    /// # Errors
    ///
    /// As [`Self::verify`].
    pub fn verify_with_context(&self, message: &[u8], context: &Context<'_>, signature: &Signature) -> Result<()> {
        accept(self.public.verify(message, context.0, &signature.bytes))
    }

    /// Verifies a signature of a message representative.
    ///
    /// # Errors
    ///
    /// As [`Self::verify`].
    pub fn verify_mu(&self, mu: &[u8; 64], signature: &Signature) -> Result<()> {
        accept(self.public.verify_mu(mu, &signature.bytes))
    }

    /// The message representative μ of FIPS 204 (algorithm 7, line 6) of the concatenation of `parts`: it lets a large message be
    /// hashed where it lies and only these 64 bytes be sent to the signer.
    ///
    /// # Errors
    ///
    /// None for a valid [`Context`]; the backend's own check is passed on as [`Error::InvalidContext`].
    pub fn mu(&self, context: &Context<'_>, parts: &[&[u8]]) -> Result<[u8; 64]> {
        self.public.mu(context.0, parts)
    }
}

impl PartialEq for VerifyingKey {
    fn eq(&self, other: &Self) -> bool {
        self.algorithm == other.algorithm && self.bytes == other.bytes
    }
}

impl Eq for VerifyingKey {}

impl fmt::Debug for VerifyingKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("VerifyingKey").field("algorithm", &self.algorithm).field("bytes", &self.bytes).finish()
    }
}

impl Verifier<Signature> for VerifyingKey {
    fn verify(&self, message: &[u8], signature: &Signature) -> Result<(), signature::Error> {
        Self::verify(self, message, signature).map_err(|_| signature::Error::new())
    }
}

/// The bytes of an ML-DSA signature. The three algorithms are told apart by length; whether the encoding is
/// canonical is part of verification, as in FIPS 204 algorithm 8.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Signature {
    algorithm: SignatureAlgorithm,
    bytes: Box<[u8]>,
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

fn accept(verified: bool) -> Result<()> {
    if verified { Ok(()) } else { Err(Error::InvalidSignature) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::format;

    #[test]
    fn debug_of_a_signing_key_shows_no_seed() {
        let key = SigningKey::from_seed(SignatureAlgorithm::MlDsa44, &[0xA5; 32]).unwrap();
        let shown = format!("{key:?}");
        assert!(shown.contains("[redacted]") && !shown.contains("165") && !shown.to_lowercase().contains("a5"));
    }

    #[test]
    fn the_traits_agree_with_the_methods() {
        let key = SigningKey::from_seed(SignatureAlgorithm::MlDsa65, &[1; 32]).unwrap();
        let by_trait: Signature = Signer::sign(&key, b"m");
        assert_eq!(by_trait, key.sign_deterministic(b"m").unwrap());
        assert_eq!(SignatureEncoding::to_vec(&by_trait), by_trait.as_bytes());
        let vk = Keypair::verifying_key(&key);
        assert!(Verifier::verify(&vk, b"m", &by_trait).is_ok());
        assert!(Verifier::verify(&vk, b"n", &by_trait).is_err());
        let hedged: Signature = RandomizedSigner::sign_with_rng(&key, &mut ZeroRnd, b"m");
        assert_eq!(hedged, by_trait, "rnd = 0 is the deterministic variant");
    }

    #[test]
    fn codes_round_trip() {
        for algorithm in SignatureAlgorithm::ALL {
            assert_eq!(SignatureAlgorithm::from_code(algorithm.code()), Ok(algorithm));
        }
        assert_eq!(SignatureAlgorithm::from_code(4), Err(Error::UnknownSignatureAlgorithm(4)));
    }
}
