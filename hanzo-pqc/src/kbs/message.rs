//! The messages up to the release: request, challenge, evidence.

use alloc::boxed::Box;
use alloc::collections::BTreeSet;
use alloc::vec::Vec;

use crate::attestation::{Evidence, EvidenceKind, UnixTime};
use crate::envelope::{Aead, KeyId};
use crate::error::{Error, Result};
use crate::suite::HybridSuite;
use crate::tier::PrivacyTier;
use crate::wire::{Reader, digest, put_lp16, put_lp32};

/// The most keys of one request.
pub const MAX_KEYS: usize = 16;
/// The most suites of one request.
pub const MAX_SUITES: usize = 16;

/// The random name of one session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SessionId([u8; 16]);

impl SessionId {
    /// Takes the bytes.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    /// The bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }
}

/// Asks for keys at a tier, with the suites the recipient can use, best first.
///
/// Bytes: `HKRQ` 01 ‖ u8 tier ‖ u8 n (1..=16) ‖ n × u16 suite ‖ u8 k (1..=16) ‖ k × lp16(key id), distinct.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    tier: PrivacyTier,
    suites: Box<[u16]>,
    keys: Box<[KeyId]>,
}

impl Request {
    /// Makes a request.
    ///
    /// # Errors
    ///
    /// [`Error::Malformed`] without a suite or key or with a key named twice, [`Error::TooLong`] above 16 of either.
    pub fn new(tier: PrivacyTier, suites: &[HybridSuite], keys: Vec<KeyId>) -> Result<Self> {
        Self::checked(tier, suites.iter().map(|suite| suite.code()).collect(), keys)
    }

    fn checked(tier: PrivacyTier, suites: Vec<u16>, keys: Vec<KeyId>) -> Result<Self> {
        let malformed = Error::Malformed { what: REQUEST, offset: 0 };
        if suites.is_empty() || keys.is_empty() {
            return Err(malformed);
        }
        if suites.len() > MAX_SUITES {
            return Err(Error::TooLong { what: "suites", limit: MAX_SUITES });
        }
        if keys.len() > MAX_KEYS {
            return Err(Error::TooLong { what: "keys", limit: MAX_KEYS });
        }
        if keys.iter().collect::<BTreeSet<_>>().len() != keys.len() {
            return Err(malformed);
        }
        Ok(Self { tier, suites: suites.into(), keys: keys.into() })
    }

    /// The tier.
    #[must_use]
    pub const fn tier(&self) -> PrivacyTier {
        self.tier
    }

    /// The codes of the suites, best first; a code this build does not know is kept, so that newer recipients can still ask.
    #[must_use]
    pub const fn suites(&self) -> &[u16] {
        &self.suites
    }

    /// The keys, all different.
    #[must_use]
    pub const fn keys(&self) -> &[KeyId] {
        &self.keys
    }

    /// SHA-256(lp16(`hanzo-kbs/v1/request`) ‖ bytes), which the challenge repeats.
    #[must_use]
    pub fn digest(&self) -> [u8; 32] {
        digest(b"hanzo-kbs/v1/request", &[&self.to_bytes()])
    }

    /// The canonical bytes.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = Vec::new();
        out.extend_from_slice(b"HKRQ\x01");
        out.push(self.tier.code());
        // Both counts are at most 16 by construction.
        out.push(self.suites.len() as u8);
        for suite in &self.suites {
            out.extend_from_slice(&suite.to_be_bytes());
        }
        out.push(self.keys.len() as u8);
        for key in &self.keys {
            put_lp16(&mut out, key.as_bytes());
        }
        out
    }

    /// Reads a request.
    ///
    /// # Errors
    ///
    /// [`Error::Malformed`], [`Error::UnknownTier`] for bytes that no [`Self::to_bytes`] gives.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self> {
        let mut reader = Reader::new(REQUEST, bytes);
        reader.expect(b"HKRQ\x01")?;
        let tier = PrivacyTier::try_from(reader.u8()?)?;
        let count = reader.count(1, MAX_SUITES as u8)?;
        let suites = (0..count).map(|_| reader.u16()).collect::<Result<_>>()?;
        let count = reader.count(1, MAX_KEYS as u8)?;
        let keys = (0..count).map(|_| read_key_id(&mut reader)).collect::<Result<_>>()?;
        reader.finish()?;
        Self::checked(tier, suites, keys)
    }
}

/// Which kinds of CPU evidence a session accepts: one item of any of them is needed. Where it is empty none is accepted.
///
/// Byte: bit 0 TDX, bit 1 SNP, bit 2 SGX, bit 7 software.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct CpuEvidence(u8);

impl CpuEvidence {
    /// The set of these kinds; GPU reports are no CPU evidence and are left out.
    #[must_use]
    pub fn of(kinds: impl IntoIterator<Item = EvidenceKind>) -> Self {
        Self(kinds.into_iter().fold(0, |bits, kind| bits | bit(kind)))
    }

    /// Whether no evidence is asked for.
    #[must_use]
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Whether this kind is accepted.
    #[must_use]
    pub const fn contains(self, kind: EvidenceKind) -> bool {
        self.0 & bit(kind) != 0
    }

    /// The byte used on the wire.
    #[must_use]
    pub const fn bits(self) -> u8 {
        self.0
    }

    const fn from_bits(bits: u8) -> Option<Self> {
        if bits & !0b1000_0111 == 0 { Some(Self(bits)) } else { None }
    }
}

const fn bit(kind: EvidenceKind) -> u8 {
    match kind {
        EvidenceKind::Tdx => 1,
        EvidenceKind::Snp => 1 << 1,
        EvidenceKind::Sgx => 1 << 2,
        EvidenceKind::NvidiaGpu => 0,
        EvidenceKind::Software => 1 << 7,
    }
}

/// The broker's answer to a request: what to prove, over which nonce, until when.
///
/// Bytes: `HKCH` 01 ‖ session id 16 ‖ nonce 32 ‖ u64 issued at ‖ u64 expires at ‖ u8 tier ‖ u16 suite ‖ u8 aead ‖ u8 CPU evidence ‖
/// u8 GPU minimum ‖ request digest 32.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Challenge {
    pub(super) session: SessionId,
    pub(super) nonce: [u8; 32],
    pub(super) issued_at: UnixTime,
    pub(super) expires_at: UnixTime,
    pub(super) tier: PrivacyTier,
    pub(super) suite: HybridSuite,
    pub(super) cpu: CpuEvidence,
    pub(super) gpu_minimum: u8,
    pub(super) request_digest: [u8; 32],
}

impl Challenge {
    /// The session.
    #[must_use]
    pub const fn session(&self) -> SessionId {
        self.session
    }

    /// The one-time nonce.
    #[must_use]
    pub const fn nonce(&self) -> &[u8; 32] {
        &self.nonce
    }

    /// When the broker issued it.
    #[must_use]
    pub const fn issued_at(&self) -> UnixTime {
        self.issued_at
    }

    /// The first moment at which it is no longer good.
    #[must_use]
    pub const fn expires_at(&self) -> UnixTime {
        self.expires_at
    }

    /// The tier of the request.
    #[must_use]
    pub const fn tier(&self) -> PrivacyTier {
        self.tier
    }

    /// The suite the recipient's key must have.
    #[must_use]
    pub const fn suite(&self) -> HybridSuite {
        self.suite
    }

    /// The AEAD of the envelopes to come.
    #[must_use]
    pub const fn aead(&self) -> Aead {
        Aead::ChaCha20Poly1305
    }

    /// The CPU evidence that is accepted.
    #[must_use]
    pub const fn cpu_evidence(&self) -> CpuEvidence {
        self.cpu
    }

    /// How many GPU reports are needed at least; with 0, none is accepted.
    #[must_use]
    pub const fn gpu_minimum(&self) -> u8 {
        self.gpu_minimum
    }

    /// The digest of the request this answers.
    #[must_use]
    pub const fn request_digest(&self) -> &[u8; 32] {
        &self.request_digest
    }

    /// The canonical bytes, 107 of them.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(107);
        out.extend_from_slice(b"HKCH\x01");
        out.extend_from_slice(&self.session.0);
        out.extend_from_slice(&self.nonce);
        out.extend_from_slice(&self.issued_at.as_seconds().to_be_bytes());
        out.extend_from_slice(&self.expires_at.as_seconds().to_be_bytes());
        out.push(self.tier.code());
        out.extend_from_slice(&self.suite.code().to_be_bytes());
        out.push(self.aead().code());
        out.push(self.cpu.bits());
        out.push(self.gpu_minimum);
        out.extend_from_slice(&self.request_digest);
        out
    }

    /// Reads a challenge.
    ///
    /// # Errors
    ///
    /// [`Error::Malformed`] (an end not after the start included), [`Error::UnknownTier`], [`Error::UnknownSuite`], [`Error::UnknownAead`],
    /// [`Error::TierMismatch`] for bytes that no [`Self::to_bytes`] gives.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self> {
        let mut reader = Reader::new("challenge", bytes);
        reader.expect(b"HKCH\x01")?;
        let session = SessionId(reader.array()?);
        let nonce = reader.array()?;
        let issued_at = UnixTime::from_seconds(reader.u64()?);
        let place = reader.malformed();
        let expires_at = UnixTime::from_seconds(reader.u64()?);
        if expires_at <= issued_at {
            return Err(place);
        }
        let tier = PrivacyTier::try_from(reader.u8()?)?;
        let suite = HybridSuite::from_code(reader.u16()?)?;
        tier.check_suite(suite)?;
        let place = reader.malformed();
        if Aead::from_code(reader.u8()?)? != Aead::ChaCha20Poly1305 {
            return Err(place);
        }
        let place = reader.malformed();
        let cpu = CpuEvidence::from_bits(reader.u8()?).ok_or(place)?;
        let gpu_minimum = reader.u8()?;
        let request_digest = reader.array()?;
        reader.finish()?;
        Ok(Self { session, nonce, issued_at, expires_at, tier, suite, cpu, gpu_minimum, request_digest })
    }
}

/// The recipient's key and its evidence.
///
/// Bytes: `HKEV` 01 ‖ session id 16 ‖ lp32(ek) ‖ u8 n (0..=17) ‖ n × (u8 kind ‖ lp32(report) ‖ lp32(endorsement)); 1 MiB at most.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EvidenceMessage {
    session: SessionId,
    encapsulation_key: Box<[u8]>,
    items: Box<[Evidence]>,
}

impl EvidenceMessage {
    /// The most items: one CPU and 16 GPUs.
    pub const MAX_ITEMS: usize = 17;
    /// The longest message, in bytes.
    pub const MAX_LEN: usize = 1024 * 1024;

    /// Makes a message. The key is checked by the broker, which knows the session's suite.
    ///
    /// # Errors
    ///
    /// [`Error::TooLong`] over the limits.
    pub fn new(session: SessionId, encapsulation_key: &[u8], items: Vec<Evidence>) -> Result<Self> {
        if items.len() > Self::MAX_ITEMS {
            return Err(Error::TooLong { what: "evidence items", limit: Self::MAX_ITEMS });
        }
        if encapsulation_key.len() > MAX_KEY_LEN {
            return Err(Error::TooLong { what: "encapsulation key", limit: MAX_KEY_LEN });
        }
        let parts: usize = items.iter().map(|item| 9 + item.report().len() + item.endorsement().len()).sum();
        // 26 bytes: magic and version, session, key length, count.
        if 26 + encapsulation_key.len() + parts > Self::MAX_LEN {
            return Err(TOO_LONG);
        }
        Ok(Self { session, encapsulation_key: encapsulation_key.into(), items: items.into() })
    }

    /// The session.
    #[must_use]
    pub const fn session(&self) -> SessionId {
        self.session
    }

    /// The recipient's encoded encapsulation key, unchecked.
    #[must_use]
    pub const fn encapsulation_key(&self) -> &[u8] {
        &self.encapsulation_key
    }

    /// The evidence, unverified.
    #[must_use]
    pub const fn items(&self) -> &[Evidence] {
        &self.items
    }

    /// SHA-256(lp16(`hanzo-kbs/v1/evidence`) ‖ bytes), which the receipt repeats. Never a key of a replay check: evidence is malleable
    /// outside its signed bytes.
    #[must_use]
    pub fn digest(&self) -> [u8; 32] {
        digest(b"hanzo-kbs/v1/evidence", &[&self.to_bytes()])
    }

    /// The canonical bytes.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = Vec::new();
        out.extend_from_slice(b"HKEV\x01");
        out.extend_from_slice(&self.session.0);
        put_lp32(&mut out, &self.encapsulation_key);
        // At most 17 by construction.
        out.push(self.items.len() as u8);
        for item in &self.items {
            item.put(&mut out);
        }
        out
    }

    /// Reads a message.
    ///
    /// # Errors
    ///
    /// [`Error::Malformed`], [`Error::TooLong`] for bytes that no [`Self::to_bytes`] gives.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self> {
        if bytes.len() > Self::MAX_LEN {
            return Err(TOO_LONG);
        }
        let mut reader = Reader::new("evidence message", bytes);
        reader.expect(b"HKEV\x01")?;
        let session = SessionId(reader.array()?);
        let encapsulation_key = reader.lp32("encapsulation key", MAX_KEY_LEN)?;
        let count = reader.count(0, Self::MAX_ITEMS as u8)?;
        let items = (0..count).map(|_| Evidence::read(&mut reader)).collect::<Result<_>>()?;
        reader.finish()?;
        Self::new(session, encapsulation_key, items)
    }
}

pub(super) fn read_key_id(reader: &mut Reader<'_>) -> Result<KeyId> {
    let place = reader.malformed();
    KeyId::new(reader.lp16()?).map_err(|_| place)
}

const REQUEST: &str = "request";
/// Above every suite's key; the suite itself is known to the session only.
const MAX_KEY_LEN: usize = 4096;
const TOO_LONG: Error = Error::TooLong { what: "evidence message", limit: EvidenceMessage::MAX_LEN };
