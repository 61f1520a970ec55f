//! The keys and ciphertexts that carry a suite.

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::fmt;

use rand_core::CryptoRng;
use zeroize::{ZeroizeOnDrop, Zeroizing};

use crate::backend::{KemBackend, RustCrypto};
use crate::error::{Error, Result};
#[cfg(feature = "hybrid")]
use crate::kdf;
use crate::suite::HybridSuite;
use curve::{Curve, expand_seed};

#[cfg_attr(
    not(feature = "hybrid"),
    allow(dead_code, unused_variables, unused_imports, reason = "no suite has a curve")
)]
mod curve;
#[cfg(feature = "p384")]
mod p384;
mod shared_secret;

pub use shared_secret::SharedSecret;

/// A decapsulation key of any suite. Its canonical secret form is the seed; the expanded key is kept beside it, so a
/// decapsulation never expands the seed again.
///
/// `B` is the [backend](crate::backend). The constructors without `_in` make keys of the default one, so that `DecapsulationKey` alone names them.
///
/// Secret: wiped on drop, `Debug` shows the suite only, no `PartialEq`, no serialisation.
///
/// ```
/// # #[cfg(feature = "getrandom")] {
/// use hanzo_pqc::{DecapsulationKey, OsRng, PrivacyTier};
///
/// let key = DecapsulationKey::generate(PrivacyTier::CpuTee.suite(), &mut OsRng);
/// let (ciphertext, sent) = key.encapsulation_key().encapsulate(b"session 1", &mut OsRng)?;
/// let received = key.decapsulate(&ciphertext, b"session 1")?;
/// assert!(sent.ct_eq(&received));
/// # }
/// # Ok::<(), hanzo_pqc::Error>(())
/// ```
///
/// ```compile_fail,E0277
/// fn comparable<T: PartialEq>() {}
/// comparable::<hanzo_pqc::DecapsulationKey>();
/// ```
///
/// ```compile_fail,E0277
/// fn serialised(secret: &hanzo_pqc::DecapsulationKey) -> String {
///     serde_json::to_string(secret).unwrap()
/// }
/// ```
pub struct DecapsulationKey<B: KemBackend = RustCrypto> {
    seed: Option<Zeroizing<Vec<u8>>>,
    pq: B::Private,
    #[cfg_attr(not(feature = "hybrid"), allow(dead_code, reason = "no suite has a curve"))]
    curve: Curve<B>,
    encapsulation_key: EncapsulationKey<B>,
}

impl DecapsulationKey {
    /// Draws a new key on the default backend: the seed from `rng`, 64 bytes (d ‖ z) and then in an HKDF suite 32 more (the X25519
    /// secret), in two calls; 32 bytes in X-Wing and MLKEM1024-P384, where one seed in 2^192 gives no P-384 key and another is drawn.
    #[must_use]
    pub fn generate<R: CryptoRng + ?Sized>(suite: HybridSuite, rng: &mut R) -> Self {
        // The default backend takes every seed of the right length, so that P-384's rare refusal is the only second round.
        loop {
            if let Ok(key) = Self::generate_in(suite, rng) {
                return key;
            }
        }
    }

    /// Expands a seed on the default backend; see [`HybridSuite::seed_len`] for its parts.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidLength`] for any length but [`HybridSuite::seed_len`].
    pub fn from_seed(suite: HybridSuite, seed: &[u8]) -> Result<Self> {
        Self::from_seed_in(suite, seed)
    }

    /// Imports an expanded ML-KEM key (1632, 2400 or 3168 bytes) after the check of FIPS 203 section 7.3, on the default backend. It
    /// has no seed from then on.
    ///
    /// # Errors
    ///
    /// [`Error::Unsupported`] for a hybrid suite, [`Error::InvalidLength`], and [`Error::InvalidKey`] where the public key inside is
    /// not reduced or its hash differs.
    pub fn from_expanded(suite: HybridSuite, bytes: &[u8]) -> Result<Self> {
        Self::from_expanded_in(suite, bytes)
    }
}

#[cfg(feature = "pkcs8")]
impl DecapsulationKey {
    /// The long form of the ML-KEM part.
    pub(crate) fn expanded(&self) -> Zeroizing<Vec<u8>> {
        self.pq.to_expanded()
    }
}

impl<B: KemBackend> DecapsulationKey<B> {
    /// As [`DecapsulationKey::generate`], on a stated backend.
    ///
    /// # Errors
    ///
    /// [`Error::Backend`] where the backend's module fails.
    pub fn generate_in<R: CryptoRng + ?Sized>(suite: HybridSuite, rng: &mut R) -> Result<Self> {
        let mut seed = Zeroizing::new(alloc::vec![0; suite.seed_len()]);
        // The ML-KEM part and the curve's are drawn apart: which bytes a generator gives for each is part of the interface.
        let (pq, curve) = seed.split_at_mut(suite.seed_len().min(64));
        rng.fill_bytes(pq);
        if !curve.is_empty() {
            rng.fill_bytes(curve);
        }
        Self::expand(suite, seed)
    }

    /// As [`DecapsulationKey::from_seed`], on a stated backend.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidLength`] for any length but [`HybridSuite::seed_len`], [`Error::Backend`] where the backend's module fails.
    pub fn from_seed_in(suite: HybridSuite, seed: &[u8]) -> Result<Self> {
        Self::expand(suite, Zeroizing::new(seed.to_vec()))
    }

    /// As [`DecapsulationKey::from_expanded`], on a stated backend.
    ///
    /// # Errors
    ///
    /// As there, and [`Error::Backend`] where the backend's module fails.
    pub fn from_expanded_in(suite: HybridSuite, bytes: &[u8]) -> Result<Self> {
        if suite.is_hybrid() {
            return Err(Error::Unsupported { what: "an expanded key" });
        }
        let pq = B::from_expanded(suite.kem(), bytes)?;
        Self::assemble(suite, None, pq, Curve::None)
    }

    fn expand(suite: HybridSuite, seed: Zeroizing<Vec<u8>>) -> Result<Self> {
        let parts = expand_seed(suite, &seed)?;
        let (pq, curve) = parts.split_first_chunk().ok_or(Error::InvalidKey)?;
        Self::assemble(suite, Some(seed), B::from_seed(suite.kem(), pq)?, Curve::from_seed(suite, curve)?)
    }

    fn assemble(suite: HybridSuite, seed: Option<Zeroizing<Vec<u8>>>, pq: B::Private, curve: Curve<B>) -> Result<Self> {
        let public = B::public(&pq);
        let mut bytes = B::public_bytes(&public);
        curve.put_public(&mut bytes)?;
        let encapsulation_key = EncapsulationKey { suite, pq: public, bytes: bytes.into_boxed_slice() };
        Ok(Self { seed, pq, curve, encapsulation_key })
    }

    /// The suite.
    #[must_use]
    pub const fn suite(&self) -> HybridSuite {
        self.encapsulation_key.suite
    }

    /// The public half.
    #[must_use]
    pub const fn encapsulation_key(&self) -> &EncapsulationKey<B> {
        &self.encapsulation_key
    }

    /// The secret seed, for storage in a vault; `None` for a key imported in its expanded form.
    #[must_use]
    pub fn expose_seed(&self) -> Option<&[u8]> {
        self.seed.as_deref().map(Vec::as_slice)
    }

    /// Recovers the shared secret. A wrong ciphertext of the right length gives another secret, not an error (implicit rejection).
    ///
    /// # Errors
    ///
    /// [`Error::SuiteMismatch`] for a ciphertext of another suite, [`Error::Unsupported`] for a context where the suite has none
    /// ([`HybridSuite::takes_context`]), [`Error::InvalidContext`] above 65,535 bytes, [`Error::NonContributory`] for an X25519 point of
    /// small order, [`Error::InvalidKey`] for bytes that are no point of P-384, [`Error::Backend`] where the backend's module fails.
    pub fn decapsulate(&self, ciphertext: &Ciphertext, ctx: &[u8]) -> Result<SharedSecret> {
        let suite = self.suite();
        suite.check_same(ciphertext.suite)?;
        check_context(suite, ctx)?;
        let (pq_part, curve_part) =
            split(&ciphertext.bytes, suite.kem().ciphertext_len(), suite.ciphertext_len(), "ciphertext")?;
        let pq_secret = B::decapsulate(&self.pq, pq_part)?;
        #[cfg(feature = "hybrid")]
        if let Some(curve_secret) = self.curve.agree(curve_part)? {
            let (ct, ek) = (&ciphertext.bytes, &self.encapsulation_key.bytes);
            return kdf::combine::<B>(suite, &pq_secret, &curve_secret, ct, ek, ctx).map(SharedSecret);
        }
        let _ = curve_part;
        Ok(SharedSecret(pq_secret))
    }
}

impl<B: KemBackend> fmt::Debug for DecapsulationKey<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DecapsulationKey")
            .field("suite", &self.suite())
            .field("seed", &format_args!("[redacted]"))
            .finish()
    }
}

// Every secret field wipes itself; the encapsulation key is public.
impl<B: KemBackend> ZeroizeOnDrop for DecapsulationKey<B> {}

/// An encapsulation key of any suite, checked and expanded at construction.
///
/// ```
/// use hanzo_pqc::{DecapsulationKey, EncapsulationKey, Error, HybridSuite};
///
/// let suite = HybridSuite::XWing;
/// let key = DecapsulationKey::from_seed(suite, &[7; 32])?;
/// let sent = key.encapsulation_key().as_bytes();
/// assert_eq!(&EncapsulationKey::from_bytes(suite, sent)?, key.encapsulation_key());
/// assert!(matches!(EncapsulationKey::from_bytes(suite, &sent[1..]), Err(Error::InvalidLength { expected: 1216, .. })));
/// # Ok::<(), Error>(())
/// ```
#[derive(Clone)]
pub struct EncapsulationKey<B: KemBackend = RustCrypto> {
    suite: HybridSuite,
    pq: B::Public,
    bytes: Box<[u8]>,
}

impl EncapsulationKey {
    /// Reads a key of a stated suite, for the default backend. A curve's point (of small order, or none at all) is refused at the first
    /// use, not here.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidLength`], and [`Error::InvalidKey`] where a coefficient is not below q (FIPS 203 section 7.2).
    pub fn from_bytes(suite: HybridSuite, bytes: &[u8]) -> Result<Self> {
        Self::from_bytes_in(suite, bytes)
    }
}

impl<B: KemBackend> EncapsulationKey<B> {
    /// As [`EncapsulationKey::from_bytes`], for a stated backend.
    ///
    /// # Errors
    ///
    /// As there.
    pub fn from_bytes_in(suite: HybridSuite, bytes: &[u8]) -> Result<Self> {
        let (pq_part, _) =
            split(bytes, suite.kem().encapsulation_key_len(), suite.encapsulation_key_len(), "encapsulation key")?;
        Ok(Self { suite, pq: B::public_from_bytes(suite.kem(), pq_part)?, bytes: bytes.into() })
    }

    /// The suite.
    #[must_use]
    pub const fn suite(&self) -> HybridSuite {
        self.suite
    }

    /// The encoded key.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Makes a fresh shared secret and its ciphertext. Both sides must pass the same `ctx`, which only the HKDF suites take.
    ///
    /// Takes 32 bytes (ML-KEM's m) from `rng` on the default backend, then 32 more for X25519's ephemeral secret or 48 for P-384's, in two
    /// calls.
    ///
    /// # Errors
    ///
    /// [`Error::Unsupported`] for a context where the suite has none, [`Error::InvalidContext`] above 65,535 bytes,
    /// [`Error::NonContributory`] for an X25519 point of small order, [`Error::InvalidKey`] for bytes that are no point of P-384,
    /// [`Error::Backend`] where the backend's module fails.
    pub fn encapsulate<R: CryptoRng + ?Sized>(&self, ctx: &[u8], rng: &mut R) -> Result<(Ciphertext, SharedSecret)> {
        check_context(self.suite, ctx)?;
        let (mut bytes, pq_secret) = B::encapsulate(&self.pq, rng)?;
        let ephemeral = Curve::<B>::ephemeral(self.suite, rng)?;
        ephemeral.put_public(&mut bytes)?;
        #[cfg(feature = "hybrid")]
        {
            let point = self.bytes.get(self.suite.kem().encapsulation_key_len()..).unwrap_or_default();
            if let Some(curve_secret) = ephemeral.agree(point)? {
                let key = kdf::combine::<B>(self.suite, &pq_secret, &curve_secret, &bytes, &self.bytes, ctx)?;
                return Ok((self.ciphertext(bytes), SharedSecret(key)));
            }
        }
        Ok((self.ciphertext(bytes), SharedSecret(pq_secret)))
    }

    /// Refuses a curve's point that no encapsulation could use.
    #[cfg(feature = "hybrid")]
    pub(crate) fn check_point(&self) -> Result<()> {
        let point = self.bytes.get(self.suite.kem().encapsulation_key_len()..).unwrap_or_default();
        // Any scalar shows a small order: X25519 clears the cofactor.
        let len = if point.len() == 32 { 32 } else { point.len() / 2 };
        Curve::<B>::from_seed(self.suite, &alloc::vec![1; len])?.agree(point).map(drop)
    }

    fn ciphertext(&self, bytes: Vec<u8>) -> Ciphertext {
        Ciphertext { suite: self.suite, bytes: bytes.into_boxed_slice() }
    }
}

impl<B: KemBackend> PartialEq for EncapsulationKey<B> {
    fn eq(&self, other: &Self) -> bool {
        self.suite == other.suite && self.bytes == other.bytes
    }
}

impl<B: KemBackend> Eq for EncapsulationKey<B> {}

impl<B: KemBackend> fmt::Debug for EncapsulationKey<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EncapsulationKey").field("suite", &self.suite).field("bytes", &self.bytes).finish()
    }
}

/// A ciphertext of any suite: the ML-KEM part, then in a hybrid the curve's ephemeral key.
///
/// ```
/// use hanzo_pqc::{Ciphertext, HybridSuite};
///
/// assert!(Ciphertext::from_bytes(HybridSuite::XWing, &[0; 1120]).is_ok());
/// assert!(Ciphertext::from_bytes(HybridSuite::XWing, &[0; 1121]).is_err());
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ciphertext {
    suite: HybridSuite,
    bytes: Box<[u8]>,
}

impl Ciphertext {
    /// Reads a ciphertext of a stated suite.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidLength`] for any length but [`HybridSuite::ciphertext_len`].
    pub fn from_bytes(suite: HybridSuite, bytes: &[u8]) -> Result<Self> {
        split(bytes, 0, suite.ciphertext_len(), "ciphertext")?;
        Ok(Self { suite, bytes: bytes.into() })
    }

    /// The suite.
    #[must_use]
    pub const fn suite(&self) -> HybridSuite {
        self.suite
    }

    /// The bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }
}

fn check_context(suite: HybridSuite, ctx: &[u8]) -> Result<()> {
    if !suite.takes_context() && !ctx.is_empty() {
        return Err(Error::Unsupported { what: "a context" });
    }
    if ctx.len() > usize::from(u16::MAX) {
        return Err(Error::InvalidContext { len: ctx.len() });
    }
    Ok(())
}

/// Checks the whole length and splits at `at`, which is at most `expected`.
fn split<'a>(bytes: &'a [u8], at: usize, expected: usize, what: &'static str) -> Result<(&'a [u8], &'a [u8])> {
    if bytes.len() != expected {
        return Err(Error::InvalidLength { what, expected, actual: bytes.len() });
    }
    Ok(bytes.split_at(at))
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::format;

    /// The composite KEMs of draft-ietf-lamps-pq-composite-kem combine as X-Wing and MLKEM1024-P384 do; their keys are not expanded from a seed.
    #[cfg(feature = "hybrid")]
    #[test]
    fn lamps_composite_kems() {
        use crate::backend::rustcrypto::KemSecret;
        use base64ct::{Base64, Encoding};
        let Some(root) = std::env::var_os("HANZO_TEST_DATA") else {
            std::eprintln!("skipped: pqc/lamps; set HANZO_TEST_DATA to the folder of the SDK's test data");
            return;
        };
        let path = std::path::PathBuf::from(root).join("pqc/lamps/composite_kem.json");
        let file: serde_json::Value = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
        let mut count = 0;
        for case in file["tests"].as_array().unwrap() {
            let bytes = |key: &str| Base64::decode_vec(case[key].as_str().unwrap()).unwrap();
            let (suite, curve) = match case["tcId"].as_str().unwrap() {
                "id-alg-ml-kem-768" => (HybridSuite::MlKem768, 0..0),
                "id-alg-ml-kem-1024" => (HybridSuite::MlKem1024, 0..0),
                "id-MLKEM768-X25519-SHA3-256" => (HybridSuite::XWing, 64..96),
                // Seed, then ECPrivateKey in DER: 30 3e 02 01 01 04 30 and the scalar.
                #[cfg(feature = "p384")]
                "id-MLKEM1024-ECDH-P384-SHA3-256" => (HybridSuite::MlKem1024P384, 71..119),
                _ => continue,
            };
            let dk = bytes("dk");
            let pq = KemSecret::from_seed(suite.kem(), dk[..64].try_into().unwrap());
            let curve = Curve::<RustCrypto>::from_seed(suite, &dk[curve]).unwrap();
            let key = DecapsulationKey::assemble(suite, None, pq, curve).unwrap();
            assert_eq!(key.encapsulation_key().as_bytes(), bytes("ek"), "{suite}");
            let ciphertext = Ciphertext::from_bytes(suite, &bytes("c")).unwrap();
            assert_eq!(key.decapsulate(&ciphertext, &[]).unwrap().expose_bytes()[..], bytes("k"), "{suite}");
            count += 1;
        }
        assert_eq!(count, if cfg!(feature = "p384") { 4 } else { 3 });
    }

    #[test]
    fn debug_of_secrets_shows_nothing() {
        let key = DecapsulationKey::from_seed(HybridSuite::MlKem512, &[0xA5; 64]).unwrap();
        let shown = format!("{key:?} {:?}", SharedSecret(Zeroizing::new([0xA5; 32])));
        assert_eq!(shown.matches("[redacted]").count(), 2);
        assert!(!shown.contains("165"));
    }

    #[test]
    fn plain_ml_kem_takes_no_context() {
        let key = DecapsulationKey::from_seed(HybridSuite::MlKem768, &[1; 64]).unwrap();
        let ciphertext = Ciphertext::from_bytes(HybridSuite::MlKem768, &[0; 1088]).unwrap();
        assert!(key.decapsulate(&ciphertext, b"").is_ok());
        assert!(matches!(key.decapsulate(&ciphertext, b"x"), Err(Error::Unsupported { .. })));
    }
}
