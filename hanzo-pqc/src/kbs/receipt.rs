//! What the broker hands over: envelopes, and a signed receipt of what was released to whom.

use alloc::boxed::Box;
use alloc::collections::BTreeSet;
use alloc::vec::Vec;

use rand_core::CryptoRng;

use super::message::{MAX_KEYS, SessionId, read_key_id};
use crate::attestation::UnixTime;
use crate::backend::DsaBackend;
use crate::dsa::{Signature, SignatureAlgorithm, SigningKey, VerifyingKey};
use crate::envelope::{Envelope, KeyId};
use crate::error::{Error, Result};
use crate::suite::HybridSuite;
use crate::tier::PrivacyTier;
use crate::wire::{Reader, digest, put_lp16, put_lp32};

/// The name of a broker: SHA-256(lp16(`hanzo-kbs/v1/broker-id`) ‖ u8 signature code ‖ verifying key).
#[must_use]
pub fn broker_id<B: DsaBackend>(key: &VerifyingKey<B>) -> [u8; 32] {
    digest(b"hanzo-kbs/v1/broker-id", &[&[key.algorithm().code()], key.as_bytes()])
}

/// The broker's answer to good evidence.
///
/// Bytes: `HKRL` 01 ‖ session id 16 ‖ u8 k (1..=16) ‖ k × lp32(envelope), in request order ‖ lp32(receipt).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Release {
    session: SessionId,
    envelopes: Box<[Envelope]>,
    receipt: Receipt,
}

impl Release {
    /// `envelopes` come from a request, so they are 1 to 16.
    pub(super) fn new(session: SessionId, envelopes: Vec<Envelope>, receipt: Receipt) -> Self {
        Self { session, envelopes: envelopes.into(), receipt }
    }

    /// The session.
    #[must_use]
    pub const fn session(&self) -> SessionId {
        self.session
    }

    /// The wrapped keys, in request order.
    #[must_use]
    pub const fn envelopes(&self) -> &[Envelope] {
        &self.envelopes
    }

    /// The receipt.
    #[must_use]
    pub const fn receipt(&self) -> &Receipt {
        &self.receipt
    }

    /// The canonical bytes.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = Vec::new();
        out.extend_from_slice(b"HKRL\x01");
        out.extend_from_slice(self.session.as_bytes());
        // At most 16 by construction.
        out.push(self.envelopes.len() as u8);
        for envelope in &self.envelopes {
            put_lp32(&mut out, &envelope.to_bytes());
        }
        put_lp32(&mut out, &self.receipt.to_bytes());
        out
    }

    /// Reads a release; nothing of it is verified yet.
    ///
    /// # Errors
    ///
    /// As [`Envelope::from_bytes`] and [`Receipt::from_bytes`]; [`Error::Malformed`], [`Error::TooLong`].
    pub fn from_bytes(bytes: &[u8]) -> Result<Self> {
        let mut reader = Reader::new("release", bytes);
        reader.expect(b"HKRL\x01")?;
        let session = SessionId::from_bytes(reader.array()?);
        let count = reader.count(1, MAX_KEYS as u8)?;
        let envelopes =
            (0..count).map(|_| Envelope::from_bytes(reader.lp32("envelope", MAX_PART_LEN)?)).collect::<Result<_>>()?;
        let receipt = Receipt::from_bytes(reader.lp32("receipt", MAX_PART_LEN)?)?;
        reader.finish()?;
        Ok(Self { session, envelopes, receipt })
    }
}

/// A broker's signed statement of one release, which the recipient keeps and an auditor can check.
///
/// ```text
/// body  = "HKRC" 01 ‖ u8 signature code ‖ broker id 32 ‖ session id 16 ‖ u64 issued at ‖ u8 tier ‖ u16 suite ‖ context digest 32 ‖
///         evidence digest 32 ‖ u8 k ‖ k × (lp16(key id) ‖ policy digest 32 ‖ envelope digest 32)
/// bytes = body ‖ lp32(signature over lp16("hanzo-kbs/v1/receipt") ‖ body, empty FIPS 204 context)
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Receipt {
    body: ReceiptBody,
    signature: Signature,
}

/// The unsigned part.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ReceiptBody {
    pub(super) algorithm: SignatureAlgorithm,
    pub(super) broker_id: [u8; 32],
    pub(super) session: SessionId,
    pub(super) issued_at: UnixTime,
    pub(super) tier: PrivacyTier,
    pub(super) suite: HybridSuite,
    pub(super) context_digest: [u8; 32],
    pub(super) evidence_digest: [u8; 32],
    pub(super) entries: Box<[ReceiptEntry]>,
}

/// One released key in a receipt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReceiptEntry {
    /// The key.
    pub key: KeyId,
    /// The digest of the policy that allowed it.
    pub policy_digest: [u8; 32],
    /// The digest of the envelope that carries it.
    pub envelope_digest: [u8; 32],
}

impl Receipt {
    pub(super) fn sign<B: DsaBackend, R: CryptoRng + ?Sized>(
        body: ReceiptBody,
        key: &SigningKey<B>,
        rng: &mut R,
    ) -> Result<Self> {
        let signature = key.sign(&body.signed_message(), rng)?;
        Ok(Self { body, signature })
    }

    /// Verifies the receipt against the key of the broker that should have signed it.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidSignature`] where another key signed, or the signature does not verify.
    pub fn verify<B: DsaBackend>(&self, broker: &VerifyingKey<B>) -> Result<()> {
        if self.body.algorithm != broker.algorithm() || self.body.broker_id != broker_id(broker) {
            return Err(Error::InvalidSignature);
        }
        broker.verify(&self.body.signed_message(), &self.signature)
    }

    /// The algorithm of the signature.
    #[must_use]
    pub const fn algorithm(&self) -> SignatureAlgorithm {
        self.body.algorithm
    }

    /// The name of the broker; see [`broker_id`].
    #[must_use]
    pub const fn broker_id(&self) -> &[u8; 32] {
        &self.body.broker_id
    }

    /// The session.
    #[must_use]
    pub const fn session(&self) -> SessionId {
        self.body.session
    }

    /// When the keys were released.
    #[must_use]
    pub const fn issued_at(&self) -> UnixTime {
        self.body.issued_at
    }

    /// The tier.
    #[must_use]
    pub const fn tier(&self) -> PrivacyTier {
        self.body.tier
    }

    /// The suite.
    #[must_use]
    pub const fn suite(&self) -> HybridSuite {
        self.body.suite
    }

    /// The digest of request, challenge and recipient key.
    #[must_use]
    pub const fn context_digest(&self) -> &[u8; 32] {
        &self.body.context_digest
    }

    /// The digest of the evidence message.
    #[must_use]
    pub const fn evidence_digest(&self) -> &[u8; 32] {
        &self.body.evidence_digest
    }

    /// The released keys, in request order.
    #[must_use]
    pub const fn entries(&self) -> &[ReceiptEntry] {
        &self.body.entries
    }

    /// The signature.
    #[must_use]
    pub const fn signature(&self) -> &Signature {
        &self.signature
    }

    /// The canonical bytes.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = self.body.to_bytes();
        put_lp32(&mut out, self.signature.as_bytes());
        out
    }

    /// Reads a receipt; the signature is not verified yet.
    ///
    /// # Errors
    ///
    /// [`Error::Malformed`] and the errors of its codes, [`Error::TierMismatch`] where suite or signature algorithm is weaker than the
    /// tier demands, [`Error::InvalidSignature`] where the signature has not its algorithm's length.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self> {
        let mut reader = Reader::new("receipt", bytes);
        let body = ReceiptBody::read(&mut reader)?;
        let signature = Signature::from_bytes(reader.lp32("signature", MAX_PART_LEN)?)?;
        reader.finish()?;
        if signature.algorithm() != body.algorithm {
            return Err(Error::InvalidSignature);
        }
        Ok(Self { body, signature })
    }
}

impl ReceiptBody {
    fn signed_message(&self) -> Vec<u8> {
        let mut out = Vec::new();
        put_lp16(&mut out, b"hanzo-kbs/v1/receipt");
        out.extend_from_slice(&self.to_bytes());
        out
    }

    fn to_bytes(&self) -> Vec<u8> {
        let mut out = Vec::new();
        out.extend_from_slice(b"HKRC\x01");
        out.push(self.algorithm.code());
        out.extend_from_slice(&self.broker_id);
        out.extend_from_slice(self.session.as_bytes());
        out.extend_from_slice(&self.issued_at.as_seconds().to_be_bytes());
        out.push(self.tier.code());
        out.extend_from_slice(&self.suite.code().to_be_bytes());
        out.extend_from_slice(&self.context_digest);
        out.extend_from_slice(&self.evidence_digest);
        // At most 16 by construction.
        out.push(self.entries.len() as u8);
        for entry in &self.entries {
            put_lp16(&mut out, entry.key.as_bytes());
            out.extend_from_slice(&entry.policy_digest);
            out.extend_from_slice(&entry.envelope_digest);
        }
        out
    }

    fn read(reader: &mut Reader<'_>) -> Result<Self> {
        reader.expect(b"HKRC\x01")?;
        let algorithm = SignatureAlgorithm::from_code(reader.u8()?)?;
        let broker_id = reader.array()?;
        let session = SessionId::from_bytes(reader.array()?);
        let issued_at = UnixTime::from_seconds(reader.u64()?);
        let tier = PrivacyTier::try_from(reader.u8()?)?;
        let suite = HybridSuite::from_code(reader.u16()?)?;
        tier.check_suite(suite)?;
        tier.check_signature_algorithm(algorithm)?;
        let context_digest = reader.array()?;
        let evidence_digest = reader.array()?;
        let place = reader.malformed();
        let count = reader.count(1, MAX_KEYS as u8)?;
        let entries = (0..count)
            .map(|_| {
                Ok(ReceiptEntry {
                    key: read_key_id(reader)?,
                    policy_digest: reader.array()?,
                    envelope_digest: reader.array()?,
                })
            })
            .collect::<Result<Box<[_]>>>()?;
        let distinct = entries.iter().map(|entry| &entry.key).collect::<BTreeSet<_>>().len();
        if distinct != entries.len() {
            return Err(place);
        }
        Ok(Self { algorithm, broker_id, session, issued_at, tier, suite, context_digest, evidence_digest, entries })
    }
}

/// SHA-256(lp16(`hanzo-kbs/v1/envelope`) ‖ bytes).
pub(super) fn envelope_digest(envelope: &Envelope) -> [u8; 32] {
    digest(b"hanzo-kbs/v1/envelope", &[&envelope.to_bytes()])
}

/// Above every envelope (6,100 bytes) and every receipt (10,000).
const MAX_PART_LEN: usize = 16 * 1024;
