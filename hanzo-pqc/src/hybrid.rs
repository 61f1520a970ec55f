//! Suites, and the keys and ciphertexts that carry one.

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::fmt;

use rand_core::CryptoRng;
use subtle::ConstantTimeEq;
use zeroize::{ZeroizeOnDrop, Zeroizing};

#[cfg(feature = "hybrid")]
use crate::backend::rustcrypto::X25519Secret;
use crate::backend::rustcrypto::{KemPublic, KemSecret};
use crate::error::{Error, Result};
#[cfg(feature = "hybrid")]
use crate::kdf;
use crate::kem::KemAlgorithm;

/// How a shared secret is made: plain ML-KEM, or ML-KEM and X25519 through HKDF, which stays secure while either of the two is.
///
/// | code | suite | secret seed | encapsulation key | ciphertext | hash |
/// |---|---|---|---|---|---|
/// | 0x0040, 41, 42 | ML-KEM-512, -768, -1024 | 64 | 800, 1184, 1568 | 768, 1088, 1568 | SHA-256, -256, -384 |
/// | 0xF001 | MLKEM512-X25519-HKDF-SHA256 | 96 | 832 | 800 | SHA-256 |
/// | 0xF002 | MLKEM768-X25519-HKDF-SHA256 | 96 | 1216 | 1120 | SHA-256 |
/// | 0xF003 | MLKEM1024-X25519-HKDF-SHA384 | 96 | 1600 | 1600 | SHA-384 |
///
/// The 0x00 codes are HPKE's; the 0xF0 codes are this crate's own. A hybrid key or ciphertext is the ML-KEM part, then the 32 bytes of X25519.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum HybridSuite {
    /// ML-KEM-512 alone; satisfies no privacy tier.
    MlKem512,
    /// ML-KEM-768 alone.
    MlKem768,
    /// ML-KEM-1024 alone.
    MlKem1024,
    /// ML-KEM-512 and X25519; satisfies no privacy tier.
    #[cfg(feature = "hybrid")]
    #[cfg_attr(docsrs, doc(cfg(feature = "hybrid")))]
    MlKem512X25519,
    /// ML-KEM-768 and X25519, the default of tiers 0 to 2.
    #[cfg(feature = "hybrid")]
    #[cfg_attr(docsrs, doc(cfg(feature = "hybrid")))]
    MlKem768X25519,
    /// ML-KEM-1024 and X25519, the default of tiers 3 and 4.
    #[cfg(feature = "hybrid")]
    #[cfg_attr(docsrs, doc(cfg(feature = "hybrid")))]
    MlKem1024X25519,
}

impl HybridSuite {
    /// Every suite of this build, by ascending code.
    pub const ALL: &'static [Self] = &[
        Self::MlKem512,
        Self::MlKem768,
        Self::MlKem1024,
        #[cfg(feature = "hybrid")]
        Self::MlKem512X25519,
        #[cfg(feature = "hybrid")]
        Self::MlKem768X25519,
        #[cfg(feature = "hybrid")]
        Self::MlKem1024X25519,
    ];

    /// The code used on the wire.
    #[must_use]
    pub const fn code(self) -> u16 {
        match self {
            Self::MlKem512 => 0x0040,
            Self::MlKem768 => 0x0041,
            Self::MlKem1024 => 0x0042,
            #[cfg(feature = "hybrid")]
            Self::MlKem512X25519 => 0xF001,
            #[cfg(feature = "hybrid")]
            Self::MlKem768X25519 => 0xF002,
            #[cfg(feature = "hybrid")]
            Self::MlKem1024X25519 => 0xF003,
        }
    }

    /// The suite with this code.
    ///
    /// # Errors
    ///
    /// [`Error::UnknownSuite`] for a code that this build does not know.
    pub fn from_code(code: u16) -> Result<Self> {
        Self::ALL.iter().copied().find(|suite| suite.code() == code).ok_or(Error::UnknownSuite(code))
    }

    /// The ML-KEM parameter set.
    #[must_use]
    pub const fn kem(self) -> KemAlgorithm {
        match self {
            Self::MlKem512 => KemAlgorithm::MlKem512,
            Self::MlKem768 => KemAlgorithm::MlKem768,
            Self::MlKem1024 => KemAlgorithm::MlKem1024,
            #[cfg(feature = "hybrid")]
            Self::MlKem512X25519 => KemAlgorithm::MlKem512,
            #[cfg(feature = "hybrid")]
            Self::MlKem768X25519 => KemAlgorithm::MlKem768,
            #[cfg(feature = "hybrid")]
            Self::MlKem1024X25519 => KemAlgorithm::MlKem1024,
        }
    }

    /// Whether X25519 stands beside ML-KEM.
    #[must_use]
    pub const fn is_hybrid(self) -> bool {
        !matches!(self, Self::MlKem512 | Self::MlKem768 | Self::MlKem1024)
    }

    /// Length of the secret seed, in bytes: d ‖ z, and the X25519 secret in a hybrid.
    #[must_use]
    pub const fn seed_len(self) -> usize {
        KemAlgorithm::SEED_LEN + self.traditional_len()
    }

    /// Length of an encapsulation key, in bytes.
    #[must_use]
    pub const fn encapsulation_key_len(self) -> usize {
        self.kem().encapsulation_key_len() + self.traditional_len()
    }

    /// Length of a ciphertext, in bytes.
    #[must_use]
    pub const fn ciphertext_len(self) -> usize {
        self.kem().ciphertext_len() + self.traditional_len()
    }

    /// The suite's name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::MlKem512 => "ML-KEM-512",
            Self::MlKem768 => "ML-KEM-768",
            Self::MlKem1024 => "ML-KEM-1024",
            #[cfg(feature = "hybrid")]
            Self::MlKem512X25519 => "MLKEM512-X25519-HKDF-SHA256",
            #[cfg(feature = "hybrid")]
            Self::MlKem768X25519 => "MLKEM768-X25519-HKDF-SHA256",
            #[cfg(feature = "hybrid")]
            Self::MlKem1024X25519 => "MLKEM1024-X25519-HKDF-SHA384",
        }
    }

    const fn traditional_len(self) -> usize {
        if self.is_hybrid() { 32 } else { 0 }
    }
}

impl fmt::Display for HybridSuite {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A decapsulation key of any suite. Its canonical secret form is the seed; the expanded key is kept beside it, so a
/// decapsulation never expands the seed again.
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
pub struct DecapsulationKey {
    seed: Option<Zeroizing<Vec<u8>>>,
    pq: KemSecret,
    #[cfg(feature = "hybrid")]
    traditional: Option<X25519Secret>,
    encapsulation_key: EncapsulationKey,
}

impl DecapsulationKey {
    /// Draws a new key: 64 bytes (d ‖ z) from `rng`, then in a hybrid suite 32 more (the X25519 secret), in two calls.
    #[must_use]
    pub fn generate<R: CryptoRng + ?Sized>(suite: HybridSuite, rng: &mut R) -> Self {
        let (mut pq, mut traditional) = (Zeroizing::new([0; 64]), Zeroizing::new([0; 32]));
        rng.fill_bytes(pq.as_mut_slice());
        if suite.is_hybrid() {
            rng.fill_bytes(traditional.as_mut_slice());
        }
        Self::expand(suite, &pq, &traditional)
    }

    /// Expands a seed: d ‖ z (64 bytes), then in a hybrid suite the X25519 secret (32).
    ///
    /// # Errors
    ///
    /// [`Error::InvalidLength`] for any length but [`HybridSuite::seed_len`].
    pub fn from_seed(suite: HybridSuite, seed: &[u8]) -> Result<Self> {
        let wrong = Error::InvalidLength { what: "secret seed", expected: suite.seed_len(), actual: seed.len() };
        if seed.len() != suite.seed_len() {
            return Err(wrong);
        }
        let (pq, rest) = seed.split_first_chunk().ok_or(wrong)?;
        let mut traditional = Zeroizing::new([0; 32]);
        if let Some(part) = rest.first_chunk::<32>() {
            *traditional = *part;
        }
        Ok(Self::expand(suite, pq, &traditional))
    }

    /// `traditional` is not read where the suite has no X25519.
    fn expand(suite: HybridSuite, pq_seed: &[u8; 64], traditional: &[u8; 32]) -> Self {
        let pq = KemSecret::from_seed(suite.kem(), pq_seed);
        let public = pq.public();
        #[cfg_attr(not(feature = "hybrid"), expect(unused_mut, reason = "hybrids append X25519"))]
        let mut bytes = public.to_bytes();
        let mut seed = Zeroizing::new(Vec::with_capacity(suite.seed_len()));
        seed.extend_from_slice(pq_seed);
        #[cfg(feature = "hybrid")]
        let secret = suite.is_hybrid().then(|| X25519Secret::from_bytes(traditional));
        if suite.is_hybrid() {
            seed.extend_from_slice(traditional);
            #[cfg(feature = "hybrid")]
            bytes.extend(secret.iter().flat_map(X25519Secret::public));
        }
        Self {
            seed: Some(seed),
            pq,
            #[cfg(feature = "hybrid")]
            traditional: secret,
            encapsulation_key: EncapsulationKey { suite, pq: public, bytes: bytes.into_boxed_slice() },
        }
    }

    /// Imports an expanded ML-KEM key (1632, 2400 or 3168 bytes) after the check of FIPS 203 section 7.3. It has no seed from then on.
    ///
    /// # Errors
    ///
    /// [`Error::Unsupported`] for a hybrid suite, [`Error::InvalidLength`], and [`Error::InvalidKey`] where the public key inside is
    /// not reduced or its hash differs.
    pub fn from_expanded(suite: HybridSuite, bytes: &[u8]) -> Result<Self> {
        if suite.is_hybrid() {
            return Err(Error::Unsupported { what: "an expanded key" });
        }
        let pq = KemSecret::from_expanded(suite.kem(), bytes)?;
        let public = pq.public();
        Ok(Self {
            seed: None,
            pq,
            #[cfg(feature = "hybrid")]
            traditional: None,
            encapsulation_key: EncapsulationKey { suite, bytes: public.to_bytes().into_boxed_slice(), pq: public },
        })
    }

    /// The suite.
    #[must_use]
    pub const fn suite(&self) -> HybridSuite {
        self.encapsulation_key.suite
    }

    /// The public half.
    #[must_use]
    pub const fn encapsulation_key(&self) -> &EncapsulationKey {
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
    /// [`Error::InvalidLength`] for a ciphertext of another suite, [`Error::Unsupported`] for a context where the suite has none (plain
    /// ML-KEM), [`Error::InvalidContext`] above 65,535 bytes, [`Error::NonContributory`] for an X25519 point of small order.
    pub fn decapsulate(&self, ciphertext: &Ciphertext, ctx: &[u8]) -> Result<SharedSecret> {
        let suite = self.suite();
        check_context(suite, ctx)?;
        let (pq_part, traditional_part) =
            split(&ciphertext.bytes, suite.kem().ciphertext_len(), suite.ciphertext_len(), "ciphertext")?;
        let pq_secret = self.pq.decapsulate(pq_part)?;
        #[cfg(feature = "hybrid")]
        if let Some(secret) = &self.traditional {
            let traditional_secret = secret.diffie_hellman(traditional_part)?;
            return kdf::combine(
                suite,
                &pq_secret,
                &traditional_secret,
                &ciphertext.bytes,
                &self.encapsulation_key.bytes,
                ctx,
            )
            .map(SharedSecret);
        }
        let _ = traditional_part;
        Ok(SharedSecret(pq_secret))
    }
}

impl fmt::Debug for DecapsulationKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DecapsulationKey")
            .field("suite", &self.suite())
            .field("seed", &format_args!("[redacted]"))
            .finish()
    }
}

// Every secret field wipes itself; the encapsulation key is public.
impl ZeroizeOnDrop for DecapsulationKey {}

/// An encapsulation key of any suite, checked and expanded at construction.
#[derive(Clone)]
pub struct EncapsulationKey {
    suite: HybridSuite,
    pq: KemPublic,
    bytes: Box<[u8]>,
}

impl EncapsulationKey {
    /// Reads a key of a stated suite. A hybrid's X25519 point of small order is refused at the first use, not here.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidLength`], and [`Error::InvalidKey`] where a coefficient is not below q (FIPS 203 section 7.2).
    pub fn from_bytes(suite: HybridSuite, bytes: &[u8]) -> Result<Self> {
        let (pq_part, _) =
            split(bytes, suite.kem().encapsulation_key_len(), suite.encapsulation_key_len(), "encapsulation key")?;
        Ok(Self { suite, pq: KemPublic::from_bytes(suite.kem(), pq_part)?, bytes: bytes.into() })
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

    /// Makes a fresh shared secret and its ciphertext. Both sides must pass the same `ctx`; plain ML-KEM takes none.
    ///
    /// Takes 32 bytes (ML-KEM's m) from `rng`, then in a hybrid suite 32 more (the ephemeral X25519 secret), in two calls.
    ///
    /// # Errors
    ///
    /// [`Error::Unsupported`] for a context where the suite has none, [`Error::InvalidContext`] above 65,535 bytes,
    /// [`Error::NonContributory`] for an X25519 point of small order.
    pub fn encapsulate<R: CryptoRng + ?Sized>(&self, ctx: &[u8], rng: &mut R) -> Result<(Ciphertext, SharedSecret)> {
        check_context(self.suite, ctx)?;
        #[cfg_attr(not(feature = "hybrid"), expect(unused_mut, reason = "hybrids append X25519"))]
        let (mut bytes, pq_secret) = self.pq.encapsulate(rng);
        #[cfg(feature = "hybrid")]
        if self.suite.is_hybrid() {
            let mut secret = Zeroizing::new([0; 32]);
            rng.fill_bytes(secret.as_mut_slice());
            let ephemeral = X25519Secret::from_bytes(&secret);
            let (_, point) = split(
                &self.bytes,
                self.suite.kem().encapsulation_key_len(),
                self.suite.encapsulation_key_len(),
                "encapsulation key",
            )?;
            let traditional_secret = ephemeral.diffie_hellman(point)?;
            bytes.extend_from_slice(&ephemeral.public());
            let key = kdf::combine(self.suite, &pq_secret, &traditional_secret, &bytes, &self.bytes, ctx)?;
            return Ok((self.ciphertext(bytes), SharedSecret(key)));
        }
        Ok((self.ciphertext(bytes), SharedSecret(pq_secret)))
    }

    fn ciphertext(&self, bytes: Vec<u8>) -> Ciphertext {
        Ciphertext { suite: self.suite, bytes: bytes.into_boxed_slice() }
    }
}

impl PartialEq for EncapsulationKey {
    fn eq(&self, other: &Self) -> bool {
        self.suite == other.suite && self.bytes == other.bytes
    }
}

impl Eq for EncapsulationKey {}

impl fmt::Debug for EncapsulationKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EncapsulationKey").field("suite", &self.suite).field("bytes", &self.bytes).finish()
    }
}

/// A ciphertext of any suite: the ML-KEM part, then in a hybrid the ephemeral X25519 key.
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

/// The 32-byte secret of one encapsulation.
///
/// Secret: wiped on drop, `Debug` shows nothing, no `PartialEq` but [`ct_eq`](Self::ct_eq), no serialisation.
///
/// ```compile_fail,E0277
/// fn comparable<T: PartialEq>() {}
/// comparable::<hanzo_pqc::SharedSecret>();
/// ```
///
/// ```compile_fail,E0277
/// fn serialised(secret: &hanzo_pqc::SharedSecret) -> String {
///     serde_json::to_string(secret).unwrap()
/// }
/// ```
pub struct SharedSecret(Zeroizing<[u8; 32]>);

impl SharedSecret {
    /// The secret bytes.
    #[must_use]
    pub fn expose_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// Compares in constant time.
    #[must_use]
    pub fn ct_eq(&self, other: &Self) -> bool {
        self.0.as_slice().ct_eq(other.0.as_slice()).into()
    }

    /// A value that proves knowledge of the secret to the other side without giving it away:
    /// HKDF(salt `hanzo-pqc/v1/confirm`, secret, suite ‖ H(ek) ‖ H(ct)), with H the suite's hash.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidLength`] where key and ciphertext are of different suites.
    #[cfg(feature = "hybrid")]
    #[cfg_attr(docsrs, doc(cfg(feature = "hybrid")))]
    pub fn key_confirmation(&self, encapsulation_key: &EncapsulationKey, ciphertext: &Ciphertext) -> Result<[u8; 32]> {
        let suite = encapsulation_key.suite;
        split(&ciphertext.bytes, 0, suite.ciphertext_len(), "ciphertext")?;
        kdf::confirm(suite, &self.0, &encapsulation_key.bytes, &ciphertext.bytes).map(|value| *value)
    }

    /// Checks the other side's key confirmation, in constant time.
    ///
    /// # Errors
    ///
    /// [`Error::ConfirmationMismatch`], and as [`Self::key_confirmation`].
    #[cfg(feature = "hybrid")]
    #[cfg_attr(docsrs, doc(cfg(feature = "hybrid")))]
    pub fn check_confirmation(
        &self,
        encapsulation_key: &EncapsulationKey,
        ciphertext: &Ciphertext,
        confirmation: &[u8; 32],
    ) -> Result<()> {
        let expected = self.key_confirmation(encapsulation_key, ciphertext)?;
        if expected.ct_eq(confirmation).into() { Ok(()) } else { Err(Error::ConfirmationMismatch) }
    }
}

impl fmt::Debug for SharedSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SharedSecret([redacted])")
    }
}

impl ZeroizeOnDrop for SharedSecret {}

fn check_context(suite: HybridSuite, ctx: &[u8]) -> Result<()> {
    if !suite.is_hybrid() && !ctx.is_empty() {
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

    #[test]
    fn the_table_of_lengths() {
        let table: Vec<_> = HybridSuite::ALL
            .iter()
            .map(|s| (s.code(), s.seed_len(), s.encapsulation_key_len(), s.ciphertext_len()))
            .collect();
        assert_eq!(&table[..3], &[(0x0040, 64, 800, 768), (0x0041, 64, 1184, 1088), (0x0042, 64, 1568, 1568)]);
        #[cfg(feature = "hybrid")]
        assert_eq!(&table[3..], &[(0xF001, 96, 832, 800), (0xF002, 96, 1216, 1120), (0xF003, 96, 1600, 1600)]);
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
