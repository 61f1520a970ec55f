//! A broker at tier 1 with one key, and a recipient whose evidence it believes.
#![allow(dead_code, reason = "shared by several test programs, none of which uses all of it")]

use hanzo_pqc::attestation::{AttestationError, Binding, Claims, Evidence, EvidenceKind, SoftwareClaims, UnixTime};
use hanzo_pqc::kbs::{Broker, Challenged, KbsConfig, MemoryChallengeStore, MemoryKeyStore, Policy, Recipient, Request};
use hanzo_pqc::rand_core::SeedableRng;
use hanzo_pqc::{Dek, KeyId, PrivacyTier, SignatureAlgorithm, SigningKey, VaultKey, VerifyingKey};
use rand_chacha::ChaCha12Rng;

pub(crate) type Verifier = fn(&Evidence, &Binding, UnixTime) -> Result<Claims, AttestationError>;
pub(crate) type TestBroker = Broker<Verifier, MemoryKeyStore>;

pub(crate) const TIER: PrivacyTier = PrivacyTier::AtRest;
pub(crate) const START: u64 = 1_800_000_000;
pub(crate) const MEASUREMENT: [u8; 32] = [0x11; 32];
pub(crate) const KEY_DIGEST: [u8; 32] = [0x22; 32];

/// Reads report data ‖ measurement and believes it: so the broker's own comparison is what the tests see.
pub(crate) fn believe(evidence: &Evidence, _bound: &Binding, _now: UnixTime) -> Result<Claims, AttestationError> {
    if evidence.kind() != EvidenceKind::Software {
        return Err(AttestationError::Unsupported { kind: evidence.kind() });
    }
    let report = evidence.report();
    let (Ok(report_data), Ok(measurement)) =
        (report[..report.len().min(64)].try_into(), report[report.len().min(64)..].try_into())
    else {
        return Err(AttestationError::Malformed { offset: 0 });
    };
    Ok(Claims::Software(SoftwareClaims { report_data, measurement, key_digest: KEY_DIGEST }))
}

pub(crate) struct World {
    pub(crate) broker: TestBroker,
    pub(crate) pinned: VerifyingKey,
    pub(crate) rng: ChaCha12Rng,
    pub(crate) keys: Vec<KeyId>,
    pub(crate) deks: Vec<Dek>,
}

pub(crate) fn time(offset: u64) -> UnixTime {
    UnixTime::from_seconds(START + offset)
}

pub(crate) fn policy() -> Policy {
    Policy::builder()
        .tiers([TIER])
        .suites([TIER.suite()])
        .software_keys([KEY_DIGEST])
        .software_measurements([MEASUREMENT])
        .build()
        .unwrap()
}

pub(crate) fn item(report_data: &[u8; 64]) -> Evidence {
    let report = [&report_data[..], &MEASUREMENT].concat();
    Evidence::new(EvidenceKind::Software, &report, b"").unwrap()
}

impl World {
    pub(crate) fn new(seed: u64, keys: usize) -> Self {
        Self::with(seed, keys, KbsConfig::new().software_evidence(true), MemoryChallengeStore::new())
    }

    pub(crate) fn with(seed: u64, keys: usize, config: KbsConfig, sessions: MemoryChallengeStore) -> Self {
        let mut rng = ChaCha12Rng::seed_from_u64(seed);
        let signer = SigningKey::generate(SignatureAlgorithm::MlDsa65, &mut rng);
        let pinned = signer.verifying_key().clone();
        let mut store = MemoryKeyStore::new(VaultKey::generate(&mut rng));
        let keys: Vec<_> = (0..keys).map(|i| KeyId::new(format!("tenant-7/model-{i}")).unwrap()).collect();
        let deks: Vec<_> = keys.iter().map(|_| Dek::generate(&mut rng)).collect();
        for (key, dek) in keys.iter().zip(&deks) {
            store.put(key.clone(), dek, policy(), &mut rng).unwrap();
        }
        let broker = Broker::new(config, signer, believe as Verifier, store, sessions).unwrap();
        Self { broker, pinned, rng, keys, deks }
    }

    pub(crate) fn recipient(&self) -> Recipient {
        let request = Request::new(TIER, &[TIER.suite()], self.keys.clone()).unwrap();
        Recipient::new(request, self.pinned.clone()).unwrap()
    }

    pub(crate) fn session(&mut self, now: UnixTime) -> Challenged {
        let recipient = self.recipient();
        let challenge = self.broker.challenge(now, recipient.request(), &mut self.rng).unwrap();
        recipient.on_challenge(now, &challenge, &mut self.rng).unwrap()
    }
}
