//! ML-DSA keys (FIPS 204).

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::fmt;

use ::signature::{Keypair, RandomizedSigner, Signer, Verifier};
use rand_core::{CryptoRng, TryCryptoRng};
use zeroize::{ZeroizeOnDrop, Zeroizing};

use crate::backend::rustcrypto::{DsaSecret, ZeroRnd};
use crate::backend::{DsaBackend, RustCrypto};
use crate::error::{Error, Result};

mod algorithm;
mod expanded;
mod signature;

pub use algorithm::SignatureAlgorithm;
pub use signature::{Context, Signature};

/// An ML-DSA signing key. Its canonical secret form is a 32-byte seed; the expanded key is kept beside it, and can be imported alone.
///
/// [`sign`](Self::sign) is the hedged variant, which mixes fresh randomness in and stays safe where the generator fails;
/// [`sign_deterministic`](Self::sign_deterministic) and the trait [`signature::Signer`](crate::signature::Signer), which has no generator, are the deterministic one.
/// The inherent `sign` hides the trait's: call `Signer::sign(&key, message)` or `key.try_sign(message)` for that.
///
/// `B` is the [backend](crate::backend); the deterministic variant and μ are the default one's alone.
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
pub struct SigningKey<B: DsaBackend = RustCrypto> {
    seed: Option<Zeroizing<[u8; 32]>>,
    secret: B::Signing,
    verifying_key: VerifyingKey<B>,
}

impl SigningKey {
    /// Draws a new key on the default backend: exactly 32 bytes from `rng`.
    #[must_use]
    pub fn generate<R: CryptoRng + ?Sized>(algorithm: SignatureAlgorithm, rng: &mut R) -> Self {
        let mut seed = Zeroizing::new([0; 32]);
        rng.fill_bytes(seed.as_mut_slice());
        let (secret, public) = DsaSecret::pair_from_seed(algorithm, &seed);
        Self::assemble(algorithm, Some(seed), secret, public)
    }

    /// Expands a 32-byte seed (FIPS 204's ξ) on the default backend.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidLength`] for any other length.
    pub fn from_seed(algorithm: SignatureAlgorithm, seed: &[u8]) -> Result<Self> {
        Self::from_seed_in(algorithm, seed)
    }

    /// Imports an expanded key (2560, 4032 or 4896 bytes; FIPS 204 algorithm 24) on the default backend. It has no seed from then on.
    ///
    /// Checked: every coefficient of s1 and s2 is in range, and a signature made with the key verifies under the public key that follows
    /// from ρ, s1 and s2, so that tr is its hash. What FIPS 204 leaves to nothing but the seed is not: K can be any 32 bytes, and a t0 that
    /// is wrong in a few low bits costs a rare signature that does not verify.
    ///
    /// ```
    /// use hanzo_pqc::{Error, SignatureAlgorithm, SigningKey};
    ///
    /// let got = SigningKey::from_expanded(SignatureAlgorithm::MlDsa65, &[0xFF; 4032]);
    /// assert!(matches!(got, Err(Error::InvalidKey)));
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::InvalidLength`], and [`Error::InvalidKey`] where a check fails.
    pub fn from_expanded(algorithm: SignatureAlgorithm, bytes: &[u8]) -> Result<Self> {
        Self::from_expanded_in(algorithm, bytes)
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
        self.sign_bytes(message, context.as_bytes(), &mut ZeroRnd)
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
}

#[cfg(feature = "pkcs8")]
impl SigningKey {
    /// The long form.
    pub(crate) fn expanded(&self) -> Zeroizing<Vec<u8>> {
        self.secret.to_expanded()
    }
}

impl<B: DsaBackend> SigningKey<B> {
    /// As [`SigningKey::generate`], on a stated backend.
    ///
    /// # Errors
    ///
    /// [`Error::Backend`] where the backend's module fails.
    pub fn generate_in<R: CryptoRng + ?Sized>(algorithm: SignatureAlgorithm, rng: &mut R) -> Result<Self> {
        let mut seed = Zeroizing::new([0; 32]);
        rng.fill_bytes(seed.as_mut_slice());
        Self::expand(algorithm, seed)
    }

    /// As [`SigningKey::from_seed`], on a stated backend.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidLength`] for any length but 32, [`Error::Backend`] where the backend's module fails.
    pub fn from_seed_in(algorithm: SignatureAlgorithm, seed: &[u8]) -> Result<Self> {
        let seed: [u8; 32] = seed.try_into().map_err(|_| Error::InvalidLength {
            what: "ML-DSA seed",
            expected: SignatureAlgorithm::SEED_LEN,
            actual: seed.len(),
        })?;
        Self::expand(algorithm, Zeroizing::new(seed))
    }

    /// As [`SigningKey::from_expanded`], on a stated backend.
    ///
    /// # Errors
    ///
    /// As there.
    pub fn from_expanded_in(algorithm: SignatureAlgorithm, bytes: &[u8]) -> Result<Self> {
        let expected = algorithm.expanded_key_len();
        if bytes.len() != expected {
            return Err(Error::InvalidLength { what: "expanded signing key", expected, actual: bytes.len() });
        }
        if !expanded::in_range(algorithm, bytes) {
            return Err(Error::InvalidKey);
        }
        let secret = B::signing_from_expanded(algorithm, bytes)?;
        let public = B::verifying(&secret).map_err(|_| Error::InvalidKey)?;
        let key = Self::assemble(algorithm, None, secret, public);
        let signature = key.sign_bytes(&[], &[], &mut ZeroRnd).map_err(|_| Error::InvalidKey)?;
        key.verifying_key.verify(&[], &signature).map_err(|_| Error::InvalidKey)?;
        Ok(key)
    }

    fn expand(algorithm: SignatureAlgorithm, seed: Zeroizing<[u8; 32]>) -> Result<Self> {
        let (secret, public) = B::pair_from_seed(algorithm, &seed)?;
        Ok(Self::assemble(algorithm, Some(seed), secret, public))
    }

    fn assemble(
        algorithm: SignatureAlgorithm,
        seed: Option<Zeroizing<[u8; 32]>>,
        secret: B::Signing,
        public: B::Verifying,
    ) -> Self {
        Self { seed, secret, verifying_key: VerifyingKey::from_public(algorithm, public) }
    }

    /// The parameter set.
    #[must_use]
    pub const fn algorithm(&self) -> SignatureAlgorithm {
        self.verifying_key.algorithm
    }

    /// The public half.
    #[must_use]
    pub const fn verifying_key(&self) -> &VerifyingKey<B> {
        &self.verifying_key
    }

    /// The secret seed, for storage in a vault; `None` for a key imported in its expanded form.
    #[must_use]
    pub fn expose_seed(&self) -> Option<&[u8; 32]> {
        self.seed.as_deref()
    }

    /// Signs with an empty context, hedged; takes exactly 32 bytes from `rng` on the default backend.
    ///
    /// # Errors
    ///
    /// [`Error::SigningFailed`] where FIPS 204's loop runs past the backend's bound, which does not happen for honest keys.
    pub fn sign<R: CryptoRng + ?Sized>(&self, message: &[u8], rng: &mut R) -> Result<Signature> {
        self.sign_with_context(message, &Context::default(), rng)
    }

    /// Signs under a context, hedged; takes exactly 32 bytes from `rng` on the default backend.
    ///
    /// # Errors
    ///
    /// As [`Self::sign`], and [`Error::Unsupported`] where the backend takes no context.
    pub fn sign_with_context<R: CryptoRng + ?Sized>(
        &self,
        message: &[u8],
        context: &Context<'_>,
        rng: &mut R,
    ) -> Result<Signature> {
        self.sign_bytes(message, context.as_bytes(), rng)
    }

    pub(crate) fn sign_bytes<R: TryCryptoRng + ?Sized>(
        &self,
        message: &[u8],
        context: &[u8],
        rng: &mut R,
    ) -> Result<Signature> {
        Ok(self.signature(B::sign(&self.secret, message, context, rng)?))
    }

    fn signature(&self, bytes: Vec<u8>) -> Signature {
        Signature { algorithm: self.algorithm(), bytes: bytes.into_boxed_slice() }
    }
}

impl<B: DsaBackend> fmt::Debug for SigningKey<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SigningKey")
            .field("algorithm", &self.algorithm())
            .field("seed", &format_args!("[redacted]"))
            .finish()
    }
}

// The seed wipes itself and the backend's key wipes itself; the verifying key is public.
impl<B: DsaBackend> ZeroizeOnDrop for SigningKey<B> {}

/// The deterministic variant with an empty context: the trait passes no generator. The default backend only.
impl Signer<Signature> for SigningKey {
    fn try_sign(&self, message: &[u8]) -> Result<Signature, ::signature::Error> {
        self.sign_deterministic(message).map_err(|_| ::signature::Error::new())
    }
}

/// The hedged variant with an empty context.
impl<B: DsaBackend> RandomizedSigner<Signature> for SigningKey<B> {
    fn try_sign_with_rng<R: TryCryptoRng + ?Sized>(
        &self,
        rng: &mut R,
        message: &[u8],
    ) -> Result<Signature, ::signature::Error> {
        self.sign_bytes(message, &[], rng).map_err(|_| ::signature::Error::new())
    }
}

impl<B: DsaBackend> Keypair for SigningKey<B> {
    type VerifyingKey = VerifyingKey<B>;

    fn verifying_key(&self) -> VerifyingKey<B> {
        self.verifying_key.clone()
    }
}

/// An ML-DSA verifying key, with the matrix of FIPS 204 expanded once at construction.
///
/// ```
/// use hanzo_pqc::{Error, SignatureAlgorithm, SigningKey, VerifyingKey};
///
/// let signer = SigningKey::from_seed(SignatureAlgorithm::MlDsa44, &[7; 32])?;
/// let key = VerifyingKey::from_bytes(SignatureAlgorithm::MlDsa44, signer.verifying_key().as_bytes())?;
/// let signature = signer.sign_deterministic(b"batch 1")?;
/// assert_eq!(key.verify(b"batch 1", &signature), Ok(()));
/// assert_eq!(key.verify(b"batch 2", &signature), Err(Error::InvalidSignature));
/// # Ok::<(), Error>(())
/// ```
#[derive(Clone)]
pub struct VerifyingKey<B: DsaBackend = RustCrypto> {
    algorithm: SignatureAlgorithm,
    public: B::Verifying,
    bytes: Box<[u8]>,
}

impl VerifyingKey {
    /// Reads a key of a stated algorithm for the default backend. Every byte string of the right length is a key (FIPS 204 algorithm 23).
    ///
    /// # Errors
    ///
    /// [`Error::InvalidLength`] for any other length.
    pub fn from_bytes(algorithm: SignatureAlgorithm, bytes: &[u8]) -> Result<Self> {
        Self::from_bytes_in(algorithm, bytes)
    }

    /// Verifies a signature of a message representative.
    ///
    /// # Errors
    ///
    /// As [`Self::verify`].
    pub fn verify_mu(&self, mu: &[u8; 64], signature: &Signature) -> Result<()> {
        if self.public.verify_mu(mu, signature.as_bytes()) { Ok(()) } else { Err(Error::InvalidSignature) }
    }

    /// The message representative μ of FIPS 204 (algorithm 7, line 6) of the concatenation of `parts`: it lets a large message be
    /// hashed where it lies and only these 64 bytes be sent to the signer.
    ///
    /// # Errors
    ///
    /// None for a valid [`Context`]; the backend's own check is passed on as [`Error::InvalidContext`].
    pub fn mu(&self, context: &Context<'_>, parts: &[&[u8]]) -> Result<[u8; 64]> {
        self.public.mu(context.as_bytes(), parts)
    }
}

impl<B: DsaBackend> VerifyingKey<B> {
    /// As [`VerifyingKey::from_bytes`], for a stated backend.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidLength`] for any other length, [`Error::InvalidKey`] where the backend's module refuses the bytes.
    pub fn from_bytes_in(algorithm: SignatureAlgorithm, bytes: &[u8]) -> Result<Self> {
        Ok(Self { algorithm, public: B::verifying_from_bytes(algorithm, bytes)?, bytes: bytes.into() })
    }

    fn from_public(algorithm: SignatureAlgorithm, public: B::Verifying) -> Self {
        let bytes = B::verifying_bytes(&public).into_boxed_slice();
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
    /// As [`Self::verify`], and [`Error::Unsupported`] where the backend takes no context.
    pub fn verify_with_context(&self, message: &[u8], context: &Context<'_>, signature: &Signature) -> Result<()> {
        B::verify(&self.public, message, context.as_bytes(), signature.as_bytes())
    }
}

impl<B: DsaBackend> PartialEq for VerifyingKey<B> {
    fn eq(&self, other: &Self) -> bool {
        self.algorithm == other.algorithm && self.bytes == other.bytes
    }
}

impl<B: DsaBackend> Eq for VerifyingKey<B> {}

impl<B: DsaBackend> fmt::Debug for VerifyingKey<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("VerifyingKey").field("algorithm", &self.algorithm).field("bytes", &self.bytes).finish()
    }
}

impl<B: DsaBackend> Verifier<Signature> for VerifyingKey<B> {
    fn verify(&self, message: &[u8], signature: &Signature) -> Result<(), ::signature::Error> {
        Self::verify(self, message, signature).map_err(|_| ::signature::Error::new())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ::signature::SignatureEncoding;
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
}
