//! Data keys, and the envelope that carries one to a recipient or into a vault.

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::fmt;

use chacha20poly1305::{AeadInOut, ChaCha20Poly1305, KeyInit, XChaCha20Poly1305};
use rand_core::CryptoRng;
use subtle::ConstantTimeEq;
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

use crate::backend::KemBackend;
use crate::error::{Error, Result};
use crate::hybrid::{Ciphertext, DecapsulationKey, EncapsulationKey};
use crate::kdf;
use crate::suite::HybridSuite;
use crate::tier::PrivacyTier;
use crate::wire::{Reader, put_lp16, put_lp32};

/// A wrapped data key, in one versioned byte format whose header is authenticated.
///
/// ```text
/// header = "HPQE" 01 ‖ u8 tier ‖ u16 suite (0 = vault key) ‖ u8 aead ‖ 00 ‖ lp16(key id) ‖ policy digest 32 ‖ context digest 32
/// bytes  = header ‖ lp32(ciphertext) ‖ nonce (0 or 24 bytes) ‖ lp32(sealed key)
/// KEK    = HKDF(salt "hanzo-pqc/v1/kek", shared secret, header ‖ H(ek) ‖ H(ct))          for a recipient
///          HKDF(salt "hanzo-pqc/v1/kek", vault key, header)                              for a vault
/// ```
///
/// A recipient's envelope uses ChaCha20-Poly1305 with a zero nonce: its key-encryption key is used once, because every envelope
/// encapsulates afresh and no function takes such a key. A vault's uses XChaCha20-Poly1305 with a random nonce.
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
    recipient: Recipient,
    sealed: Box<[u8]>,
}

/// What stands between header and sealed key.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Recipient {
    Key(Ciphertext),
    Vault { nonce: [u8; 24] },
}

impl Envelope {
    /// Wraps a data key for the holder of a decapsulation key. Takes from `rng` what [`EncapsulationKey::encapsulate`] takes.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidLength`] where the key is of another suite than the header, [`Error::Unsupported`] for a vault's header,
    /// [`Error::NonContributory`] for an X25519 point of small order.
    pub fn seal<B: KemBackend, R: CryptoRng + ?Sized>(
        header: EnvelopeHeader,
        key: &EncapsulationKey<B>,
        dek: &Dek,
        rng: &mut R,
    ) -> Result<Self> {
        let suite = header.suite.ok_or(Error::Unsupported { what: "a recipient key" })?;
        if key.suite() != suite {
            return Err(Error::InvalidLength {
                what: "encapsulation key",
                expected: suite.encapsulation_key_len(),
                actual: key.as_bytes().len(),
            });
        }
        let (ciphertext, shared) = key.encapsulate(&[], rng)?;
        let aad = header.to_bytes();
        let kek = kdf::kek(suite, shared.expose_bytes(), &aad, key.as_bytes(), ciphertext.as_bytes())?;
        let sealed = encrypt(&ChaCha20Poly1305::new((&*kek).into()), &[0; 12].into(), &aad, dek)?;
        Ok(Self { header, recipient: Recipient::Key(ciphertext), sealed })
    }

    /// Unwraps an envelope that was sealed for this key.
    ///
    /// # Errors
    ///
    /// [`Error::Decrypt`], whatever the reason.
    pub fn open<B: KemBackend>(&self, key: &DecapsulationKey<B>) -> Result<Dek> {
        let (Recipient::Key(ciphertext), Some(suite)) = (&self.recipient, self.header.suite) else {
            return Err(Error::Decrypt);
        };
        if key.suite() != suite {
            return Err(Error::Decrypt);
        }
        let shared = key.decapsulate(ciphertext, &[]).map_err(|_| Error::Decrypt)?;
        let aad = self.header.to_bytes();
        let kek =
            kdf::kek(suite, shared.expose_bytes(), &aad, key.encapsulation_key().as_bytes(), ciphertext.as_bytes())
                .map_err(|_| Error::Decrypt)?;
        decrypt(&ChaCha20Poly1305::new((&*kek).into()), &[0; 12].into(), &aad, &self.sealed)
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
        let sealed = encrypt(&XChaCha20Poly1305::new((&*kek).into()), &nonce.into(), &aad, dek)?;
        Ok(Self { header, recipient: Recipient::Vault { nonce }, sealed })
    }

    /// Unwraps an envelope of this vault.
    ///
    /// # Errors
    ///
    /// [`Error::Decrypt`], whatever the reason.
    pub fn open_vault(&self, key: &VaultKey) -> Result<Dek> {
        let Recipient::Vault { nonce } = &self.recipient else {
            return Err(Error::Decrypt);
        };
        let aad = self.header.to_bytes();
        let kek = kdf::vault_kek(&key.0, &aad).map_err(|_| Error::Decrypt)?;
        decrypt(&XChaCha20Poly1305::new((&*kek).into()), &(*nonce).into(), &aad, &self.sealed)
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
        match &self.recipient {
            Recipient::Key(ciphertext) => put_lp32(&mut out, ciphertext.as_bytes()),
            Recipient::Vault { nonce } => {
                put_lp32(&mut out, &[]);
                out.extend_from_slice(nonce);
            }
        }
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
        let recipient = match header.suite {
            Some(suite) => Recipient::Key(Ciphertext::from_bytes(suite, ciphertext).map_err(|_| place)?),
            None if ciphertext.is_empty() => Recipient::Vault { nonce: reader.array()? },
            None => return Err(place),
        };
        let place = reader.malformed();
        let sealed = reader.lp32("sealed key", Dek::MAX_LEN + TAG_LEN)?;
        if sealed.len() <= TAG_LEN {
            return Err(place);
        }
        reader.finish()?;
        Ok(Self { header, recipient, sealed: sealed.into() })
    }
}

/// What an envelope says of itself, in the clear and authenticated.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EnvelopeHeader {
    tier: PrivacyTier,
    suite: Option<HybridSuite>,
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
        Ok(Self { tier, suite: Some(suite), key_id, policy_digest: [0; 32], context_digest: [0; 32] })
    }

    /// The header of an envelope in a vault, with both digests zero.
    #[must_use]
    pub const fn vault(tier: PrivacyTier, key_id: KeyId) -> Self {
        Self { tier, suite: None, key_id, policy_digest: [0; 32], context_digest: [0; 32] }
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

    /// The AEAD: it follows from the kind of key.
    #[must_use]
    pub const fn aead(&self) -> Aead {
        match self.suite {
            Some(_) => Aead::ChaCha20Poly1305,
            None => Aead::XChaCha20Poly1305,
        }
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
        out.push(self.aead().code());
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
        if header.aead() != aead {
            return Err(place);
        }
        Ok(header.with_policy_digest(reader.array()?).with_context_digest(reader.array()?))
    }
}

/// The authenticated ciphers of the envelope.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Aead {
    /// ChaCha20-Poly1305 (RFC 8439), with a zero nonce under a key used once.
    ChaCha20Poly1305,
    /// XChaCha20-Poly1305, with a random 24-byte nonce under a vault's key.
    XChaCha20Poly1305,
}

impl Aead {
    /// The code used on the wire: 1 or 2.
    #[must_use]
    pub const fn code(self) -> u8 {
        match self {
            Self::ChaCha20Poly1305 => 1,
            Self::XChaCha20Poly1305 => 2,
        }
    }

    /// The AEAD with this code.
    ///
    /// # Errors
    ///
    /// [`Error::UnknownAead`] for any other code.
    pub const fn from_code(code: u8) -> Result<Self> {
        Ok(match code {
            1 => Self::ChaCha20Poly1305,
            2 => Self::XChaCha20Poly1305,
            _ => return Err(Error::UnknownAead(code)),
        })
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

fn encrypt<C: AeadInOut>(
    cipher: &C,
    nonce: &chacha20poly1305::aead::Nonce<C>,
    aad: &[u8],
    dek: &Dek,
) -> Result<Box<[u8]>> {
    // Room for the tag from the start: growing would leave a copy of the key behind.
    let mut buffer = Vec::with_capacity(dek.0.len() + TAG_LEN);
    buffer.extend_from_slice(&dek.0);
    if cipher.encrypt_in_place(nonce, aad, &mut buffer).is_err() {
        buffer.zeroize();
        return Err(Error::TooLong { what: "data key", limit: Dek::MAX_LEN });
    }
    Ok(buffer.into_boxed_slice())
}

fn decrypt<C: AeadInOut>(
    cipher: &C,
    nonce: &chacha20poly1305::aead::Nonce<C>,
    aad: &[u8],
    sealed: &[u8],
) -> Result<Dek> {
    let mut buffer = Zeroizing::new(sealed.to_vec());
    cipher.decrypt_in_place(nonce, aad, &mut *buffer).map_err(|_| Error::Decrypt)?;
    Dek::from_vec(buffer).map_err(|_| Error::Decrypt)
}

const MAGIC: &[u8] = b"HPQE\x01";
const TAG_LEN: usize = 16;
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
