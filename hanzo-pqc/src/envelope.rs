//! Data keys, and the envelope that carries one to a recipient or into a vault.

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::fmt;

use rand_core::CryptoRng;
use subtle::ConstantTimeEq;
use zeroize::{ZeroizeOnDrop, Zeroizing};

use crate::backend::KemBackend;
use crate::error::{Error, Result};
use crate::hybrid::{Ciphertext, DecapsulationKey, EncapsulationKey};
use crate::kdf;
use crate::suite::HybridSuite;
use crate::tier::PrivacyTier;
use crate::wire::{Reader, put_lp16, put_lp32};
use aead::TAG_LEN;

mod aead;

pub use aead::Aead;

/// A wrapped data key, in one versioned byte format whose header is authenticated.
///
/// ```text
/// header = "HPQE" 01 ‖ u8 tier ‖ u16 suite (0 = vault key) ‖ u8 aead ‖ 00 ‖ lp16(key id) ‖ policy digest 32 ‖ context digest 32
/// bytes  = header ‖ lp32(ciphertext) ‖ nonce (0, 24, 12 bytes for aead 1, 2, 3) ‖ lp32(sealed key)
/// KEK    = HKDF(salt "hanzo-pqc/v1/kek", shared secret, header ‖ H(ek) ‖ H(ct))          for a recipient
///          HKDF(salt "hanzo-pqc/v1/kek", vault key, header)                              for a vault
/// ```
///
/// A recipient's envelope uses ChaCha20-Poly1305 with a zero nonce: its key-encryption key is used once, because every envelope
/// encapsulates afresh and no function takes such a key. A vault's uses XChaCha20-Poly1305 with a random nonce. With the feature
/// `aws-lc`, a recipient's can use AES-256-GCM ([`EnvelopeHeader::with_aead`]), key and nonce from the module: for FIPS mode.
///
/// ```
/// # #[cfg(feature = "getrandom")] {
/// use hanzo_pqc::{DecapsulationKey, Dek, Envelope, EnvelopeHeader, KeyId, OsRng, PrivacyTier};
///
/// let tier = PrivacyTier::CpuTee;
/// let recipient = DecapsulationKey::generate(tier.suite(), &mut OsRng);
/// let header = EnvelopeHeader::new(tier, tier.suite(), KeyId::new("tenant-7/model-0")?)?;
/// let dek = Dek::generate(&mut OsRng);
///
/// let envelope = Envelope::seal(header, recipient.encapsulation_key(), &dek, &mut OsRng)?;
/// let received = Envelope::from_bytes(&envelope.to_bytes())?;
/// assert!(received.open(&recipient)?.ct_eq(&dek));
/// # }
/// # Ok::<(), hanzo_pqc::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Envelope {
    header: EnvelopeHeader,
    /// None in a vault's envelope.
    ciphertext: Option<Ciphertext>,
    /// As long as the AEAD says.
    nonce: Box<[u8]>,
    sealed: Box<[u8]>,
}

impl Envelope {
    /// Wraps a data key for the holder of a decapsulation key. Takes from `rng` what [`EncapsulationKey::encapsulate`] takes.
    ///
    /// # Errors
    ///
    /// [`Error::SuiteMismatch`] where the key is of another suite than the header, [`Error::Unsupported`] for a vault's header, and as
    /// [`EncapsulationKey::encapsulate`].
    pub fn seal<B: KemBackend, R: CryptoRng + ?Sized>(
        header: EnvelopeHeader,
        key: &EncapsulationKey<B>,
        dek: &Dek,
        rng: &mut R,
    ) -> Result<Self> {
        let suite = header.suite.ok_or(Error::Unsupported { what: "a recipient key" })?;
        suite.check_same(key.suite())?;
        let (ciphertext, shared) = key.encapsulate(&[], rng)?;
        let aad = header.to_bytes();
        let kek = kdf::kek::<B>(suite, shared.expose_bytes(), &aad, key.as_bytes(), ciphertext.as_bytes())?;
        let (nonce, sealed) = aead::seal(header.aead, &kek, &[], &aad, dek.expose_bytes())?;
        Ok(Self { header, ciphertext: Some(ciphertext), nonce, sealed })
    }

    /// Unwraps an envelope that was sealed for this key.
    ///
    /// # Errors
    ///
    /// [`Error::Decrypt`], whatever the reason.
    pub fn open<B: KemBackend>(&self, key: &DecapsulationKey<B>) -> Result<Dek> {
        let (Some(ciphertext), Some(suite)) = (&self.ciphertext, self.header.suite) else {
            return Err(Error::Decrypt);
        };
        if key.suite() != suite {
            return Err(Error::Decrypt);
        }
        let shared = key.decapsulate(ciphertext, &[]).map_err(|_| Error::Decrypt)?;
        let aad = self.header.to_bytes();
        let kek = kdf::kek::<B>(
            suite,
            shared.expose_bytes(),
            &aad,
            key.encapsulation_key().as_bytes(),
            ciphertext.as_bytes(),
        )
        .map_err(|_| Error::Decrypt)?;
        self.unseal(&kek, &aad)
    }

    /// Wraps a data key under a vault's own key, for storage. Takes 24 bytes from `rng`.
    ///
    /// # Errors
    ///
    /// [`Error::Unsupported`] for a recipient's header.
    pub fn seal_vault<R: CryptoRng + ?Sized>(
        header: EnvelopeHeader,
        key: &VaultKey,
        dek: &Dek,
        rng: &mut R,
    ) -> Result<Self> {
        if header.suite.is_some() {
            return Err(Error::Unsupported { what: "a vault key" });
        }
        let mut nonce = [0; 24];
        rng.fill_bytes(&mut nonce);
        let aad = header.to_bytes();
        let kek = kdf::vault_kek(&key.0, &aad)?;
        let (nonce, sealed) = aead::seal(header.aead, &kek, &nonce, &aad, dek.expose_bytes())?;
        Ok(Self { header, ciphertext: None, nonce, sealed })
    }

    /// Unwraps an envelope of this vault.
    ///
    /// # Errors
    ///
    /// [`Error::Decrypt`], whatever the reason.
    pub fn open_vault(&self, key: &VaultKey) -> Result<Dek> {
        if self.header.suite.is_some() {
            return Err(Error::Decrypt);
        }
        let aad = self.header.to_bytes();
        let kek = kdf::vault_kek(&key.0, &aad).map_err(|_| Error::Decrypt)?;
        self.unseal(&kek, &aad)
    }

    fn unseal(&self, kek: &[u8; 32], aad: &[u8]) -> Result<Dek> {
        Dek::from_vec(aead::open(self.header.aead, kek, &self.nonce, aad, &self.sealed)?).map_err(|_| Error::Decrypt)
    }

    /// The header; authenticated once the envelope has opened.
    #[must_use]
    pub const fn header(&self) -> &EnvelopeHeader {
        &self.header
    }

    /// The canonical bytes.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = self.header.to_bytes();
        put_lp32(&mut out, self.ciphertext.as_ref().map_or(&[], Ciphertext::as_bytes));
        out.extend_from_slice(&self.nonce);
        put_lp32(&mut out, &self.sealed);
        out
    }

    /// Reads an envelope; work and memory are linear in the input.
    ///
    /// # Errors
    ///
    /// [`Error::Malformed`], [`Error::UnknownTier`], [`Error::UnknownSuite`], [`Error::UnknownAead`], [`Error::TierMismatch`] and
    /// [`Error::TooLong`] for bytes that no [`Self::to_bytes`] gives.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self> {
        let mut reader = Reader::new("envelope", bytes);
        let header = EnvelopeHeader::read(&mut reader)?;
        let place = reader.malformed();
        let ciphertext = reader.lp32("ciphertext", MAX_CIPHERTEXT_LEN)?;
        let ciphertext = match header.suite {
            Some(suite) => Some(Ciphertext::from_bytes(suite, ciphertext).map_err(|_| place)?),
            None if ciphertext.is_empty() => None,
            None => return Err(place),
        };
        let nonce = reader.take(header.aead.nonce_len())?.into();
        let place = reader.malformed();
        let sealed = reader.lp32("sealed key", Dek::MAX_LEN + TAG_LEN)?;
        if sealed.len() <= TAG_LEN {
            return Err(place);
        }
        reader.finish()?;
        Ok(Self { header, ciphertext, nonce, sealed: sealed.into() })
    }
}

/// What an envelope says of itself, in the clear and authenticated.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EnvelopeHeader {
    tier: PrivacyTier,
    suite: Option<HybridSuite>,
    aead: Aead,
    key_id: KeyId,
    policy_digest: [u8; 32],
    context_digest: [u8; 32],
}

impl EnvelopeHeader {
    /// The header of an envelope for a recipient, with both digests zero.
    ///
    /// # Errors
    ///
    /// [`Error::TierMismatch`] where the suite is weaker than the tier demands.
    pub fn new(tier: PrivacyTier, suite: HybridSuite, key_id: KeyId) -> Result<Self> {
        tier.check_suite(suite)?;
        let aead = Aead::ChaCha20Poly1305;
        Ok(Self { tier, suite: Some(suite), aead, key_id, policy_digest: [0; 32], context_digest: [0; 32] })
    }

    /// The header of an envelope in a vault, with both digests zero.
    #[must_use]
    pub const fn vault(tier: PrivacyTier, key_id: KeyId) -> Self {
        let aead = Aead::XChaCha20Poly1305;
        Self { tier, suite: None, aead, key_id, policy_digest: [0; 32], context_digest: [0; 32] }
    }

    /// Chooses the AEAD: for a recipient's envelope ChaCha20-Poly1305 (the default) or AES-256-GCM, for a vault's XChaCha20-Poly1305 alone.
    ///
    /// # Errors
    ///
    /// [`Error::Unsupported`] for any other.
    pub fn with_aead(mut self, aead: Aead) -> Result<Self> {
        if aead.is_for_vault() != self.suite.is_none() {
            return Err(Error::Unsupported { what: "this aead" });
        }
        self.aead = aead;
        Ok(self)
    }

    /// Sets the digest of the policy under which the key was released.
    #[must_use]
    pub const fn with_policy_digest(mut self, digest: [u8; 32]) -> Self {
        self.policy_digest = digest;
        self
    }

    /// Sets the digest of the session or other context the envelope belongs to.
    #[must_use]
    pub const fn with_context_digest(mut self, digest: [u8; 32]) -> Self {
        self.context_digest = digest;
        self
    }

    /// The privacy tier.
    #[must_use]
    pub const fn tier(&self) -> PrivacyTier {
        self.tier
    }

    /// The suite of the recipient's key; `None` for a vault's envelope.
    #[must_use]
    pub const fn suite(&self) -> Option<HybridSuite> {
        self.suite
    }

    /// The AEAD.
    #[must_use]
    pub const fn aead(&self) -> Aead {
        self.aead
    }

    /// The name of the wrapped key.
    #[must_use]
    pub const fn key_id(&self) -> &KeyId {
        &self.key_id
    }

    /// The digest of the release policy; zero outside the broker.
    #[must_use]
    pub const fn policy_digest(&self) -> &[u8; 32] {
        &self.policy_digest
    }

    /// The digest of the context; zero or the caller's.
    #[must_use]
    pub const fn context_digest(&self) -> &[u8; 32] {
        &self.context_digest
    }

    /// The canonical bytes, 76 and the key id.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(76 + self.key_id.as_bytes().len());
        out.extend_from_slice(MAGIC);
        out.push(self.tier.code());
        out.extend_from_slice(&self.suite.map_or(0, HybridSuite::code).to_be_bytes());
        out.push(self.aead.code());
        out.push(0);
        put_lp16(&mut out, self.key_id.as_bytes());
        out.extend_from_slice(&self.policy_digest);
        out.extend_from_slice(&self.context_digest);
        out
    }

    fn read(reader: &mut Reader<'_>) -> Result<Self> {
        reader.expect(MAGIC)?;
        let tier = PrivacyTier::try_from(reader.u8()?)?;
        let suite = match reader.u16()? {
            0 => None,
            code => Some(HybridSuite::from_code(code)?),
        };
        let place = reader.malformed();
        let aead = Aead::from_code(reader.u8()?)?;
        reader.expect(&[0])?;
        let id_place = reader.malformed();
        let key_id = KeyId::new(reader.lp16()?).map_err(|_| id_place)?;
        let header = match suite {
            Some(suite) => Self::new(tier, suite, key_id)?,
            None => Self::vault(tier, key_id),
        };
        let header = header.with_aead(aead).map_err(|_| place)?;
        Ok(header.with_policy_digest(reader.array()?).with_context_digest(reader.array()?))
    }
}

/// The name of a data key: 1 to 255 bytes, compared as bytes.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyId(Box<[u8]>);

impl KeyId {
    /// Takes a name.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidLength`] for an empty one, [`Error::TooLong`] above 255 bytes.
    pub fn new(bytes: impl AsRef<[u8]>) -> Result<Self> {
        let bytes = bytes.as_ref();
        match bytes.len() {
            0 => Err(Error::InvalidLength { what: "key id", expected: 1, actual: 0 }),
            1..=255 => Ok(Self(bytes.into())),
            _ => Err(Error::TooLong { what: "key id", limit: 255 }),
        }
    }

    /// The bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "KeyId({self})")
    }
}

/// Printable ASCII as it is, other bytes escaped.
impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0.escape_ascii())
    }
}

/// A data-encryption key: 1 to 4096 secret bytes.
///
/// Secret: wiped on drop, `Debug` shows nothing, no `PartialEq` but [`ct_eq`](Self::ct_eq), no serialisation.
///
/// ```compile_fail,E0277
/// fn comparable<T: PartialEq>() {}
/// comparable::<hanzo_pqc::Dek>();
/// ```
///
/// ```compile_fail,E0277
/// fn serialised(secret: &hanzo_pqc::Dek) -> String {
///     serde_json::to_string(secret).unwrap()
/// }
/// ```
pub struct Dek(Zeroizing<Vec<u8>>);

impl Dek {
    /// The longest key, in bytes.
    pub const MAX_LEN: usize = 4096;

    /// Takes the bytes of a key; the caller wipes its own copy.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidLength`] for an empty key, [`Error::TooLong`] above [`Self::MAX_LEN`].
    pub fn new(bytes: &[u8]) -> Result<Self> {
        Self::from_vec(Zeroizing::new(bytes.to_vec()))
    }

    /// Draws a 32-byte key.
    #[must_use]
    pub fn generate<R: CryptoRng + ?Sized>(rng: &mut R) -> Self {
        let mut bytes = Zeroizing::new(alloc::vec![0; 32]);
        rng.fill_bytes(&mut bytes);
        Self(bytes)
    }

    fn from_vec(bytes: Zeroizing<Vec<u8>>) -> Result<Self> {
        match bytes.len() {
            0 => Err(Error::InvalidLength { what: "data key", expected: 1, actual: 0 }),
            1..=Self::MAX_LEN => Ok(Self(bytes)),
            _ => Err(Error::TooLong { what: "data key", limit: Self::MAX_LEN }),
        }
    }

    /// The secret bytes.
    #[must_use]
    pub fn expose_bytes(&self) -> &[u8] {
        &self.0
    }

    /// Compares in constant time for keys of one length.
    #[must_use]
    pub fn ct_eq(&self, other: &Self) -> bool {
        self.0.ct_eq(&other.0).into()
    }
}

impl fmt::Debug for Dek {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Dek([redacted])")
    }
}

impl ZeroizeOnDrop for Dek {}

/// The 32-byte key of a vault, under which data keys are stored.
///
/// Secret: wiped on drop, `Debug` shows nothing, no `PartialEq`, no serialisation.
///
/// ```
/// use hanzo_pqc::{Dek, Envelope, EnvelopeHeader, Error, KeyId, PrivacyTier, VaultKey};
/// # use hanzo_pqc::rand_core::SeedableRng;
/// # let mut rng = rand_chacha::ChaCha20Rng::seed_from_u64(1);
///
/// let (vault, dek) = (VaultKey::generate(&mut rng), Dek::generate(&mut rng));
/// let header = EnvelopeHeader::vault(PrivacyTier::AtRest, KeyId::new("tenant-7/model-0")?);
/// let stored = Envelope::seal_vault(header, &vault, &dek, &mut rng)?;
/// assert!(stored.open_vault(&vault)?.ct_eq(&dek));
/// assert_eq!(stored.open_vault(&VaultKey::generate(&mut rng)).err(), Some(Error::Decrypt));
/// # Ok::<(), Error>(())
/// ```
///
/// ```compile_fail,E0277
/// fn comparable<T: PartialEq>() {}
/// comparable::<hanzo_pqc::VaultKey>();
/// ```
///
/// ```compile_fail,E0277
/// fn serialised(secret: &hanzo_pqc::VaultKey) -> String {
///     serde_json::to_string(secret).unwrap()
/// }
/// ```
pub struct VaultKey(Zeroizing<[u8; 32]>);

impl VaultKey {
    /// Takes the bytes of a key; the caller wipes its own copy.
    #[must_use]
    pub fn from_bytes(bytes: &[u8; 32]) -> Self {
        Self(Zeroizing::new(*bytes))
    }

    /// Draws a key.
    #[must_use]
    pub fn generate<R: CryptoRng + ?Sized>(rng: &mut R) -> Self {
        let mut bytes = Zeroizing::new([0; 32]);
        rng.fill_bytes(bytes.as_mut_slice());
        Self(bytes)
    }

    /// The secret bytes.
    #[must_use]
    pub fn expose_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Debug for VaultKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("VaultKey([redacted])")
    }
}

impl ZeroizeOnDrop for VaultKey {}

const MAGIC: &[u8] = b"HPQE\x01";
/// The longest ciphertext of any suite, in a build of every feature: 0x0051's.
const MAX_CIPHERTEXT_LEN: usize = 1665;

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::format;

    #[test]
    fn no_suite_has_a_longer_ciphertext() {
        let longest = HybridSuite::ALL.iter().map(|s| s.ciphertext_len()).max();
        assert!(longest <= Some(MAX_CIPHERTEXT_LEN));
        #[cfg(feature = "p384")]
        assert_eq!(longest, Some(MAX_CIPHERTEXT_LEN));
    }

    #[test]
    fn lengths_of_ids_and_keys_are_bounded() {
        assert!(KeyId::new([0; 255]).is_ok() && KeyId::new([0; 256]).is_err());
        assert!(KeyId::new("").is_err());
        assert!(Dek::new(&[0; 4096]).is_ok() && Dek::new(&[0; 4097]).is_err());
        assert!(Dek::new(&[]).is_err());
    }

    #[test]
    fn debug_of_secrets_shows_nothing() {
        let shown = format!("{:?} {:?}", Dek::new(&[0xA5; 32]).unwrap(), VaultKey::from_bytes(&[0xA5; 32]));
        assert_eq!(shown, "Dek([redacted]) VaultKey([redacted])");
    }
}
