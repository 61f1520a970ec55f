//! The broker's state machine.

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::fmt;
use core::num::NonZeroU64;

use rand_core::CryptoRng;
use sha2::{Digest, Sha256};

use super::admission::Admission;
use super::audit::{AuditEvent, AuditKind, AuditLog, reason};
use super::challenge_store::{ChallengeStore, MemoryChallengeStore, Session, Taken};
use super::error::KbsError;
use super::key_store::KeyStore;
use super::message::{Challenge, CpuEvidence, EvidenceMessage, Request, SessionId};
use super::policy::Facts;
use super::receipt::{Receipt, ReceiptBody, ReceiptEntry, Release, broker_id, envelope_digest};
use super::transcript::Transcript;
use crate::attestation::{Claims, EvidenceKind, EvidenceVerifier, UnixTime};
use crate::backend::{DsaBackend, KemBackend, RustCrypto};
use crate::dsa::{SigningKey, VerifyingKey};
use crate::envelope::{Dek, Envelope, EnvelopeHeader, KeyId};
use crate::error::Error;
use crate::hybrid::EncapsulationKey;
use crate::suite::HybridSuite;
use crate::tier::PrivacyTier;

/// What a broker grants. The defaults: evidence from tier 1 up, tiers up to 3, the suites 0xF002 and 0xF003 (ML-KEM with X25519 through
/// HKDF), 60 s to answer, no software evidence.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KbsConfig {
    attestation_required: bool,
    gpu_cc_enabled: bool,
    tee_io_enabled: bool,
    software_evidence: bool,
    ttl_s: NonZeroU64,
    suites: Vec<HybridSuite>,
}

impl KbsConfig {
    /// The defaults.
    #[must_use]
    pub fn new() -> Self {
        Self {
            attestation_required: true,
            gpu_cc_enabled: true,
            tee_io_enabled: false,
            software_evidence: false,
            ttl_s: DEFAULT_TTL_S,
            suites: alloc::vec![HybridSuite::MlKem768X25519, HybridSuite::MlKem1024X25519],
        }
    }

    /// Whether tier 1 needs evidence too; tiers 2 and up always do, tier 0 never.
    #[must_use]
    pub const fn attestation_required(mut self, required: bool) -> Self {
        self.attestation_required = required;
        self
    }

    /// Whether tiers 3 and 4 are granted.
    #[must_use]
    pub const fn gpu_cc_enabled(mut self, enabled: bool) -> Self {
        self.gpu_cc_enabled = enabled;
        self
    }

    /// Whether tier 4 is granted, where [`Self::gpu_cc_enabled`] is on too. No built-in verifier proves its TEE-I/O.
    #[must_use]
    pub const fn tee_io_enabled(mut self, enabled: bool) -> Self {
        self.tee_io_enabled = enabled;
        self
    }

    /// Whether tier 1 accepts evidence signed by a software key, under policies that name the key. It has no effect where
    /// [`Self::attestation_required`] is off: tier 1 then takes no evidence at all.
    #[must_use]
    pub const fn software_evidence(mut self, accepted: bool) -> Self {
        self.software_evidence = accepted;
        self
    }

    /// How many seconds a recipient has between challenge and release.
    #[must_use]
    pub const fn ttl_s(mut self, seconds: NonZeroU64) -> Self {
        self.ttl_s = seconds;
        self
    }

    /// The suites on offer; those too weak for a tier are never chosen for it.
    #[must_use]
    pub fn suites(mut self, suites: impl IntoIterator<Item = HybridSuite>) -> Self {
        self.suites = suites.into_iter().collect();
        self
    }

    fn offers(&self, tier: PrivacyTier) -> bool {
        match tier {
            PrivacyTier::Open | PrivacyTier::AtRest | PrivacyTier::CpuTee => true,
            PrivacyTier::GpuCc => self.gpu_cc_enabled,
            PrivacyTier::GpuTeeIo => self.gpu_cc_enabled && self.tee_io_enabled,
        }
    }

    fn cpu_evidence(&self, tier: PrivacyTier) -> CpuEvidence {
        use EvidenceKind::{Sgx, Snp, Software, Tdx};
        if tier == PrivacyTier::AtRest && self.attestation_required {
            let software = self.software_evidence.then_some(Software);
            return CpuEvidence::of([Tdx, Snp, Sgx].into_iter().chain(software));
        }
        let wanted = tier.evidence();
        let kinds = [(wanted.tdx, Tdx), (wanted.snp, Snp), (wanted.sgx, Sgx)];
        CpuEvidence::of(kinds.into_iter().filter(|(on, _)| *on).map(|(_, kind)| kind))
    }

    /// The first suite of the request that is on offer and strong enough.
    fn choose(&self, request: &Request) -> Result<HybridSuite, KbsError> {
        let (mut strong, mut weak) = (false, None);
        for code in request.suites() {
            let Ok(suite) = HybridSuite::from_code(*code) else {
                continue;
            };
            match request.tier().check_suite(suite) {
                Ok(()) if self.suites.contains(&suite) => return Ok(suite),
                Ok(()) => strong = true,
                Err(error) => weak = Some(error),
            }
        }
        // What would do is merely not on offer; only where nothing would is the request to blame.
        Err(weak.filter(|_| !strong).map_or(KbsError::SuiteNotOffered, KbsError::from))
    }
}

impl Default for KbsConfig {
    fn default() -> Self {
        Self::new()
    }
}

/// Issues challenges and releases keys against evidence: `V` verifies evidence, `K` holds keys and policies, `S` remembers sessions, and `B` is the
/// [backend](crate::backend) of the broker's key, which wraps and signs.
///
/// The broker keeps the largest time that it or its store of sessions has seen and never goes back behind it. The module [`kbs`](crate::kbs) has an example.
pub struct Broker<V, K, S = MemoryChallengeStore, B: DsaBackend + KemBackend = RustCrypto> {
    config: KbsConfig,
    signer: SigningKey<B>,
    verifier: V,
    keys: K,
    sessions: S,
    admission: Option<Box<dyn Admission + Send>>,
    audit: Option<AuditLog>,
    seen: UnixTime,
}

impl<V: EvidenceVerifier, K: KeyStore, S: ChallengeStore, B: DsaBackend + KemBackend> Broker<V, K, S, B> {
    /// Makes a broker. Its key caps the tiers it can grant: ML-DSA-65 signs receipts of tiers 0 to 2, ML-DSA-87 of all.
    ///
    /// # Errors
    ///
    /// [`Error::TierMismatch`] for an ML-DSA-44 key, which no tier accepts; [`KbsError::StoreUnavailable`].
    pub fn new(config: KbsConfig, signer: SigningKey<B>, verifier: V, keys: K, sessions: S) -> Result<Self, KbsError> {
        PrivacyTier::Open.check_signature_algorithm(signer.algorithm())?;
        let seen = sessions.latest()?;
        Ok(Self { config, signer, verifier, keys, sessions, admission: None, audit: None, seen })
    }

    /// Asks this before every challenge; without it, everyone may ask.
    #[must_use]
    pub fn with_admission(mut self, admission: impl Admission + Send + 'static) -> Self {
        self.admission = Some(Box::new(admission));
        self
    }

    /// Records every challenge, release and denial, each before it is answered; a record that cannot be stored stops what it describes.
    #[must_use]
    pub fn with_audit(mut self, log: AuditLog) -> Self {
        self.audit = Some(log);
        self
    }

    /// The audit log, for records of what an operator does with the store.
    #[must_use]
    pub const fn audit_mut(&mut self) -> Option<&mut AuditLog> {
        self.audit.as_mut()
    }

    /// The key that recipients pin.
    #[must_use]
    pub const fn verifying_key(&self) -> &VerifyingKey<B> {
        self.signer.verifying_key()
    }

    /// The key store.
    #[must_use]
    pub const fn keys(&self) -> &K {
        &self.keys
    }

    /// The key store, to add keys or change policies; a change binds challenges issued before it.
    #[must_use]
    pub const fn keys_mut(&mut self) -> &mut K {
        &mut self.keys
    }

    /// Answers a request, alike for keys that exist and keys that do not. Takes 16 bytes (session id), then 32 (nonce), from `rng`.
    ///
    /// # Errors
    ///
    /// [`KbsError::TierNotOffered`]; [`KbsError::SuiteNotOffered`], or [`Error::TierMismatch`] where all suites of the request that this build knows
    /// are too weak for the tier; [`KbsError::Busy`] where too many sessions are live or the admission says no; [`KbsError::ClockOutOfRange`];
    /// [`KbsError::StoreUnavailable`], and whatever the audit log's sink gives. No challenge is out then.
    pub fn challenge<R: CryptoRng + ?Sized>(
        &mut self,
        now: UnixTime,
        request: &Request,
        rng: &mut R,
    ) -> Result<Challenge, KbsError> {
        let now = now.max(self.seen);
        let answer = self.issue(now, request, rng);
        if self.audit.is_none() {
            return answer;
        }
        let (kind, session, detail) = match &answer {
            Ok(challenge) => (AuditKind::Challenge, challenge.session(), Box::default()),
            Err(error) => (AuditKind::Denial, NO_SESSION, reason(error)),
        };
        self.note(now, AuditEvent { kind, session, keys: request.keys().to_vec(), digests: Vec::new(), detail })?;
        answer
    }

    fn issue<R: CryptoRng + ?Sized>(
        &mut self,
        now: UnixTime,
        request: &Request,
        rng: &mut R,
    ) -> Result<Challenge, KbsError> {
        if self.admission.as_mut().is_some_and(|admission| !admission.admit(request, now)) {
            return Err(KbsError::Busy);
        }
        let tier = request.tier();
        let signs = tier.check_signature_algorithm(self.signer.algorithm()).is_ok();
        if !self.config.offers(tier) || !signs {
            return Err(KbsError::TierNotOffered);
        }
        let suite = self.config.choose(request)?;
        let expires_at = now.checked_add(self.config.ttl_s.get()).ok_or(KbsError::ClockOutOfRange)?;
        let (mut session, mut nonce) = ([0; 16], [0; 32]);
        rng.fill_bytes(&mut session);
        rng.fill_bytes(&mut nonce);
        let challenge = Challenge {
            session: SessionId::from_bytes(session),
            nonce,
            issued_at: now,
            expires_at,
            tier,
            suite,
            cpu: self.config.cpu_evidence(tier),
            gpu_minimum: tier.evidence().gpu_reports,
            request_digest: request.digest(),
        };
        self.sessions.insert(now, Session { request: request.clone(), challenge: challenge.clone() })?;
        self.seen = now;
        Ok(challenge)
    }

    /// Releases every key of a session's request, or none. A failure after the session was found burns its challenge and changes nothing
    /// else.
    ///
    /// In order, stopping at the first failure: the session is looked up and consumed; its end is checked; the key is read for its suite; the kinds of
    /// evidence are counted; each item is verified; each binding is compared; tier 4's TEE-I/O is looked for; the policy of every key is asked; the keys
    /// are fetched, wrapped, and the receipt is signed. Takes from `rng` what [`Envelope::seal`] takes for each key in turn, then 32 bytes for the signature.
    ///
    /// # Errors
    ///
    /// The first failure, for the operator; the recipient may be told its [`KbsError::refusal`].
    pub fn release<R: CryptoRng + ?Sized>(
        &mut self,
        now: UnixTime,
        message: &EvidenceMessage,
        rng: &mut R,
    ) -> Result<Release, KbsError> {
        let now = now.max(self.seen);
        let mut keys = Vec::new();
        let answer = self.answer(now, message, rng, &mut keys);
        if self.audit.is_none() {
            return answer;
        }
        let event = match &answer {
            Ok(release) => {
                let entries = release.receipt().entries().iter();
                let digests = entries.flat_map(|entry| [entry.policy_digest, entry.envelope_digest]);
                let digests = core::iter::once(*release.receipt().evidence_digest()).chain(digests).collect();
                AuditEvent {
                    kind: AuditKind::Release,
                    session: release.session(),
                    keys,
                    digests,
                    detail: Box::default(),
                }
            }
            Err(error) => {
                let (session, digests) = (message.session(), alloc::vec![message.digest()]);
                AuditEvent { kind: AuditKind::Denial, session, keys, digests, detail: reason(error) }
            }
        };
        self.note(now, event)?;
        answer
    }

    /// `keys` receives the keys of the session, once it is found.
    fn answer<R: CryptoRng + ?Sized>(
        &mut self,
        now: UnixTime,
        message: &EvidenceMessage,
        rng: &mut R,
        keys: &mut Vec<KeyId>,
    ) -> Result<Release, KbsError> {
        let Session { request, challenge } = match self.sessions.take(now, message.session())? {
            Taken::Live(session) => session,
            Taken::Consumed => return Err(KbsError::ReplayedNonce),
            Taken::Unknown => return Err(KbsError::ChallengeUnknown),
        };
        self.seen = now;
        *keys = request.keys().to_vec();
        if now >= challenge.expires_at() {
            return Err(KbsError::ChallengeExpired);
        }
        let key = EncapsulationKey::<B>::from_bytes_in(challenge.suite(), message.encapsulation_key())?;
        check_kinds(&challenge, message)?;
        let transcript = Transcript::new(&request, &challenge, key.as_bytes());
        let claims = self.verify(message, &transcript, now)?;
        if challenge.tier().evidence().tee_io && !claims.iter().all(proves_tee_io) {
            return Err(KbsError::TeeIoNotProven);
        }
        let facts = Facts {
            now,
            tier: challenge.tier(),
            suite: challenge.suite(),
            recipient: Sha256::digest(key.as_bytes()).into(),
            claims: &claims,
        };
        let policies = self.check_policies(&request, &facts)?;
        let deks = self.fetch(&request, now)?;
        let envelopes = request
            .keys()
            .iter()
            .zip(policies.iter().zip(&deks))
            .map(|(id, (policy_digest, dek))| {
                let header = EnvelopeHeader::new(challenge.tier(), challenge.suite(), id.clone())?
                    .with_policy_digest(*policy_digest)
                    .with_context_digest(*transcript.context_digest());
                Envelope::seal(header, &key, dek, rng)
            })
            .collect::<Result<Vec<_>, Error>>()?;
        let entries = envelopes
            .iter()
            .map(|envelope| ReceiptEntry {
                key: envelope.header().key_id().clone(),
                policy_digest: *envelope.header().policy_digest(),
                envelope_digest: envelope_digest(envelope),
            })
            .collect();
        let body = ReceiptBody {
            algorithm: self.signer.algorithm(),
            broker_id: broker_id(self.signer.verifying_key()),
            session: challenge.session(),
            issued_at: now,
            tier: challenge.tier(),
            suite: challenge.suite(),
            context_digest: *transcript.context_digest(),
            evidence_digest: message.digest(),
            entries,
        };
        let receipt = Receipt::sign(body, &self.signer, rng)?;
        Ok(Release::new(challenge.session(), envelopes, receipt))
    }

    /// All items are verified before any binding is compared, and the comparison does not rely on the verifier's own.
    fn verify(
        &self,
        message: &EvidenceMessage,
        transcript: &Transcript,
        now: UnixTime,
    ) -> Result<Vec<Claims>, KbsError> {
        let claims = message
            .items()
            .iter()
            .map(|item| {
                let claims = self.verifier.verify(item, transcript.binding(), now)?;
                if claims.kind() == item.kind() {
                    Ok(claims)
                } else {
                    Err(KbsError::UnexpectedEvidence { kind: claims.kind() })
                }
            })
            .collect::<Result<Vec<_>, _>>()?;
        if claims.iter().all(|claims| claims.carry(transcript.binding())) {
            Ok(claims)
        } else {
            Err(KbsError::ReportDataMismatch)
        }
    }

    /// The digests of the policies, in request order; a key without a policy is denied.
    fn check_policies(&self, request: &Request, facts: &Facts<'_>) -> Result<Vec<[u8; 32]>, KbsError> {
        request
            .keys()
            .iter()
            .map(|key| {
                let denied = |tag| KbsError::PolicyDenied { key: key.clone(), tag };
                let policy = self.keys.policy(key)?.ok_or_else(|| denied(0))?;
                policy.evaluate(facts).map_err(|no| denied(no.tag))?;
                Ok(policy.digest())
            })
            .collect()
    }

    fn fetch(&self, request: &Request, now: UnixTime) -> Result<Vec<Dek>, KbsError> {
        request
            .keys()
            .iter()
            .map(|key| self.keys.data_key(key, now)?.ok_or_else(|| KbsError::KeyNotFound { key: key.clone() }))
            .collect()
    }
}

impl<V, K, S, B: DsaBackend + KemBackend> Broker<V, K, S, B> {
    fn note(&mut self, at: UnixTime, event: AuditEvent) -> Result<(), KbsError> {
        self.audit.as_mut().map_or(Ok(()), |log| log.append(at, event))
    }
}

impl<V, K: fmt::Debug, S: fmt::Debug, B: DsaBackend + KemBackend> fmt::Debug for Broker<V, K, S, B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Broker")
            .field("config", &self.config)
            .field("signer", &self.signer)
            .field("keys", &self.keys)
            .field("sessions", &self.sessions)
            .field("seen", &self.seen)
            .finish_non_exhaustive()
    }
}

/// One item of CPU evidence of an accepted kind where any is asked for, none otherwise; GPU reports only where asked for, and enough of them.
fn check_kinds(challenge: &Challenge, message: &EvidenceMessage) -> Result<(), KbsError> {
    let (mut cpus, mut gpus) = (0_usize, 0_usize);
    for item in message.items() {
        let kind = item.kind();
        let accepted = if kind.is_cpu() {
            cpus += 1;
            challenge.cpu_evidence().contains(kind) && cpus == 1
        } else {
            gpus += 1;
            challenge.gpu_minimum() > 0
        };
        if !accepted {
            return Err(KbsError::UnexpectedEvidence { kind });
        }
    }
    let cpu_missing = !challenge.cpu_evidence().is_empty() && cpus == 0;
    if cpu_missing || gpus < usize::from(challenge.gpu_minimum()) {
        return Err(KbsError::EvidenceMissing);
    }
    Ok(())
}

/// Every GPU of the session must: the key may be used on any of them.
const fn proves_tee_io(claims: &Claims) -> bool {
    match claims {
        Claims::NvidiaGpu(claims) => claims.tee_io,
        _ => true,
    }
}

const NO_SESSION: SessionId = SessionId::from_bytes([0; 16]);
const DEFAULT_TTL_S: NonZeroU64 = NonZeroU64::MIN.saturating_add(59);
