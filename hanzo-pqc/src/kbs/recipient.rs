//! The other end: asks for keys, proves what it is, checks what it gets.

use alloc::vec::Vec;

use rand_core::CryptoRng;

use super::error::KbsError;
use super::message::{Challenge, EvidenceMessage, Request};
use super::receipt::{Release, envelope_digest};
use super::transcript::Transcript;
use crate::attestation::{Binding, Evidence, UnixTime};
use crate::dsa::VerifyingKey;
use crate::envelope::{Dek, KeyId};
use crate::hybrid::DecapsulationKey;

/// A recipient before its challenge: a request, and the pinned key of the broker it trusts. The module [`kbs`](crate::kbs) has an example.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recipient {
    request: Request,
    broker: VerifyingKey,
}

impl Recipient {
    /// How far ahead of the recipient's clock a challenge may have been issued, in seconds.
    pub const MAX_CLOCK_SKEW_S: u64 = 60;

    /// Takes the request and the broker's key.
    ///
    /// # Errors
    ///
    /// [`Error::TierMismatch`](crate::Error::TierMismatch) where the broker's key is weaker than the tier demands.
    pub fn new(request: Request, broker: VerifyingKey) -> Result<Self, KbsError> {
        request.tier().check_signature_algorithm(broker.algorithm())?;
        Ok(Self { request, broker })
    }

    /// The request to send.
    #[must_use]
    pub const fn request(&self) -> &Request {
        &self.request
    }

    /// Takes up a challenge with a key pair made for it, as [`DecapsulationKey::generate`].
    ///
    /// # Errors
    ///
    /// [`KbsError::ChallengeMismatch`] where it answers another request, names a suite that was not offered or is not yet issued;
    /// [`KbsError::ChallengeExpired`].
    pub fn on_challenge<R: CryptoRng + ?Sized>(
        &self,
        now: UnixTime,
        challenge: &Challenge,
        rng: &mut R,
    ) -> Result<Challenged, KbsError> {
        self.check(now, challenge)?;
        let key = DecapsulationKey::generate(challenge.suite(), rng);
        Ok(self.challenged(challenge, key))
    }

    /// Takes up a challenge with a key pair the recipient has: the one whose digest an allow-list names.
    ///
    /// # Errors
    ///
    /// As [`Self::on_challenge`]; [`KbsError::ChallengeMismatch`] where the key is of another suite than the challenge.
    pub fn on_challenge_with_key(
        &self,
        now: UnixTime,
        challenge: &Challenge,
        key: DecapsulationKey,
    ) -> Result<Challenged, KbsError> {
        self.check(now, challenge)?;
        if key.suite() != challenge.suite() {
            return Err(KbsError::ChallengeMismatch { what: "suite of the recipient's key" });
        }
        Ok(self.challenged(challenge, key))
    }

    fn check(&self, now: UnixTime, challenge: &Challenge) -> Result<(), KbsError> {
        let mismatch = |what| Err(KbsError::ChallengeMismatch { what });
        if *challenge.request_digest() != self.request.digest() {
            return mismatch("request digest");
        }
        if challenge.tier() != self.request.tier() {
            return mismatch("tier");
        }
        if !self.request.suites().contains(&challenge.suite().code()) {
            return mismatch("suite");
        }
        if now >= challenge.expires_at() {
            return Err(KbsError::ChallengeExpired);
        }
        if now.checked_add(Self::MAX_CLOCK_SKEW_S).is_some_and(|latest| challenge.issued_at() > latest) {
            return mismatch("issue time");
        }
        Ok(())
    }

    fn challenged(&self, challenge: &Challenge, key: DecapsulationKey) -> Challenged {
        let encoded = key.encapsulation_key().as_bytes();
        Challenged {
            transcript: Transcript::new(&self.request, challenge, encoded),
            recipient: self.clone(),
            challenge: challenge.clone(),
            key,
            evidence_digest: None,
        }
    }
}

/// A recipient that holds a challenge and the key pair of its session.
#[derive(Debug)]
pub struct Challenged {
    recipient: Recipient,
    challenge: Challenge,
    key: DecapsulationKey,
    transcript: Transcript,
    evidence_digest: Option<[u8; 32]>,
}

impl Challenged {
    /// The challenge: which evidence is wanted, until when.
    #[must_use]
    pub const fn challenge(&self) -> &Challenge {
        &self.challenge
    }

    /// What the evidence must carry.
    #[must_use]
    pub const fn binding(&self) -> &Binding {
        self.transcript.binding()
    }

    /// Makes the message to send; the release must then answer this message.
    ///
    /// # Errors
    ///
    /// As [`EvidenceMessage::new`].
    pub fn evidence(&mut self, items: Vec<Evidence>) -> Result<EvidenceMessage, KbsError> {
        let key = self.key.encapsulation_key().as_bytes();
        let message = EvidenceMessage::new(self.challenge.session(), key, items)?;
        self.evidence_digest = Some(message.digest());
        Ok(message)
    }

    /// Checks a release against the pinned broker key and everything of this session, then opens its envelopes. The session ends here, whatever comes of it.
    ///
    /// # Errors
    ///
    /// [`KbsError::ReceiptMismatch`] with the part that differs; [`KbsError::Crypto`] with
    /// [`Error::Decrypt`](crate::Error::Decrypt) where an envelope does not open.
    pub fn open(self, release: &Release) -> Result<Vec<(KeyId, Dek)>, KbsError> {
        let receipt = release.receipt();
        let require = |holds: bool, what| {
            if holds { Ok(()) } else { Err(KbsError::ReceiptMismatch { what }) }
        };
        let challenge = &self.challenge;
        require(receipt.verify(&self.recipient.broker).is_ok(), "broker signature")?;
        require(release.session() == challenge.session() && receipt.session() == challenge.session(), "session")?;
        require(receipt.tier() == challenge.tier(), "tier")?;
        require(receipt.suite() == challenge.suite(), "suite")?;
        require((challenge.issued_at()..challenge.expires_at()).contains(&receipt.issued_at()), "issue time")?;
        let context = self.transcript.context_digest();
        require(receipt.context_digest() == context, "context digest")?;
        require(Some(receipt.evidence_digest()) == self.evidence_digest.as_ref(), "evidence digest")?;
        let asked = self.recipient.request.keys();
        require(asked.len() == receipt.entries().len() && asked.len() == release.envelopes().len(), "number of keys")?;
        for ((key, entry), envelope) in asked.iter().zip(receipt.entries()).zip(release.envelopes()) {
            let header = envelope.header();
            require(*key == entry.key && *key == *header.key_id(), "key id")?;
            require(header.tier() == challenge.tier(), "tier")?;
            require(header.suite() == Some(challenge.suite()), "suite")?;
            require(header.context_digest() == context, "context digest")?;
            require(*header.policy_digest() == entry.policy_digest, "policy digest")?;
            require(envelope_digest(envelope) == entry.envelope_digest, "envelope digest")?;
        }
        asked
            .iter()
            .zip(release.envelopes())
            .map(|(key, envelope)| Ok((key.clone(), envelope.open(&self.key)?)))
            .collect()
    }
}
