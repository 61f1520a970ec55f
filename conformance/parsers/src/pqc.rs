//! Envelopes, keys in every form, evidence, policies, records and the messages of the key broker.

mod keys;
mod reports;

use hanzo_pqc::attestation::{AttestationError, Binding, Claims, Evidence, EvidenceKind, SoftwareClaims, UnixTime};
use hanzo_pqc::kbs::{
    AuditEvent, AuditKind, AuditLog, AuditRecord, Broker, Challenge, EvidenceMessage, KbsConfig, KeyStore, KeyTable,
    MemoryChallengeStore, MemoryKeyStore, MemoryTable, Policy, Receipt, Recipient, Release, Request, VaultKeyStore,
};
use hanzo_pqc::rand_core::SeedableRng;
use hanzo_pqc::{Dek, Envelope, KeyId, PrivacyTier, SignatureAlgorithm, SigningKey, VaultKey, VerifyingKey};
use rand_chacha::ChaCha12Rng;

use crate::{Parser, canonical};

pub(crate) const PARSERS: &[Parser] = &[
    keys::PKCS8_KEM,
    keys::PKCS8_DSA,
    keys::PKCS8_COMPOSITE,
    keys::SPKI,
    keys::PEM,
    keys::X_WING,
    keys::P384,
    keys::COMPOSITE_KEY,
    keys::COMPOSITE_SIGNATURE,
    keys::JSON_REQUEST,
    keys::JSON_RESPONSE,
    keys::CONFIG,
    reports::SNP,
    reports::SNP_CERTIFICATE,
    reports::NVIDIA,
    reports::NVIDIA_CHAIN,
    reports::TDX,
    reports::TDX_COLLATERAL,
    reports::SOFTWARE,
    Parser { name: "pqc/policy_file", samples: || vec![POLICY_FILE.into()], read: policy_file, memory: 1 << 10 },
    Parser { name: "pqc/audit_record", samples: || vec![audit()], read: audit_record, memory: 64 },
    Parser { name: "pqc/key_record", samples: || vec![record()], read: key_record, memory: 128 },
    Parser { name: "pqc/request", samples: || vec![session().request], read: request, memory: 64 },
    Parser { name: "pqc/challenge", samples: || vec![session().challenge], read: challenge, memory: 64 },
    Parser { name: "pqc/evidence", samples: || vec![session().item], read: evidence, memory: 64 },
    Parser { name: "pqc/evidence_message", samples: || vec![session().message], read: message, memory: 64 },
    Parser { name: "pqc/release", samples: || vec![session().release], read: release, memory: 64 },
    Parser { name: "pqc/receipt", samples: || vec![session().receipt], read: receipt, memory: 64 },
    Parser { name: "pqc/envelope", samples: || vec![session().envelope], read: envelope, memory: 64 },
    Parser { name: "pqc/policy", samples: || vec![policy().to_bytes()], read: read_policy, memory: 64 },
    Parser {
        name: "pqc/verifying_key",
        samples: || vec![session().verifying_key],
        read: verifying_key,
        memory: 1 << 10,
    },
];

/// Every message of one release, in bytes.
struct Session {
    request: Vec<u8>,
    challenge: Vec<u8>,
    item: Vec<u8>,
    message: Vec<u8>,
    release: Vec<u8>,
    receipt: Vec<u8>,
    envelope: Vec<u8>,
    verifying_key: Vec<u8>,
}

const TIER: PrivacyTier = PrivacyTier::AtRest;

fn policy() -> Policy {
    let builder = Policy::builder().name("parsers").tiers([TIER]).suites([TIER.suite()]);
    let builder = builder.snp_measurements([[3; 48]]).gpu_driver_versions(["550.90.07"]).gpu_measurement(9, [[4; 48]]);
    builder.software_keys([[2; 32]]).software_measurements([[1; 32]]).build().expect("a policy of one tier")
}

/// Believes what the report says: here the messages matter and not the machine.
fn believe(evidence: &Evidence, _bound: &Binding, _now: UnixTime) -> Result<Claims, AttestationError> {
    let report = evidence.report().try_into().map_err(|_| AttestationError::Malformed { offset: 0 })?;
    Ok(Claims::Software(SoftwareClaims { report_data: report, measurement: [1; 32], key_digest: [2; 32] }))
}

fn session() -> Session {
    let now = UnixTime::from_seconds(1_800_000_000);
    let mut rng = ChaCha12Rng::seed_from_u64(1);
    let signer = SigningKey::generate(SignatureAlgorithm::MlDsa65, &mut rng);
    let pinned = signer.verifying_key().clone();
    let mut store = MemoryKeyStore::new(VaultKey::generate(&mut rng));
    let key = KeyId::new("tenant-7/model").expect("a short name");
    store.put(key.clone(), &Dek::generate(&mut rng), policy(), &mut rng).expect("a new key");
    let config = KbsConfig::new().software_evidence(true);
    let mut broker = Broker::new(config, signer, believe, store, MemoryChallengeStore::new()).expect("a valid setting");
    let request = Request::new(TIER, &[TIER.suite()], vec![key]).expect("one key");
    let recipient = Recipient::new(request.clone(), pinned.clone()).expect("a suite of the request");
    let challenge = broker.challenge(now, &request, &mut rng).expect("an open broker");
    let mut challenged = recipient.on_challenge(now, &challenge, &mut rng).expect("a challenge of this broker");
    let item = Evidence::new(EvidenceKind::Software, &challenged.binding().report_data, b"").expect("a short report");
    let message = challenged.evidence(vec![item.clone()]).expect("one item");
    let release = broker.release(now, &message, &mut rng).expect("an admitted machine");
    Session {
        request: request.to_bytes(),
        challenge: challenge.to_bytes(),
        item: item.to_bytes(),
        message: message.to_bytes(),
        receipt: release.receipt().to_bytes(),
        envelope: release.envelopes()[0].to_bytes(),
        release: release.to_bytes(),
        verifying_key: pinned.as_bytes().to_vec(),
    }
}

fn request(bytes: &[u8]) -> bool {
    canonical(bytes, Request::from_bytes(bytes), Request::to_bytes)
}

fn challenge(bytes: &[u8]) -> bool {
    canonical(bytes, Challenge::from_bytes(bytes), Challenge::to_bytes)
}

fn evidence(bytes: &[u8]) -> bool {
    canonical(bytes, Evidence::from_bytes(bytes), Evidence::to_bytes)
}

fn message(bytes: &[u8]) -> bool {
    canonical(bytes, EvidenceMessage::from_bytes(bytes), EvidenceMessage::to_bytes)
}

fn release(bytes: &[u8]) -> bool {
    canonical(bytes, Release::from_bytes(bytes), Release::to_bytes)
}

fn receipt(bytes: &[u8]) -> bool {
    canonical(bytes, Receipt::from_bytes(bytes), Receipt::to_bytes)
}

fn envelope(bytes: &[u8]) -> bool {
    canonical(bytes, Envelope::from_bytes(bytes), Envelope::to_bytes)
}

fn read_policy(bytes: &[u8]) -> bool {
    canonical(bytes, Policy::from_bytes(bytes), Policy::to_bytes)
}

fn verifying_key(bytes: &[u8]) -> bool {
    let key = VerifyingKey::from_bytes(SignatureAlgorithm::MlDsa65, bytes);
    canonical(bytes, key, |key| key.as_bytes().to_vec())
}

const POLICY_FILE: &str = r#"name = "tenant-7"
tiers = [2, 3]
suites = ["MLKEM768-X25519-HKDF-SHA256"]
tcb_statuses = ["UpToDate"]
snp_minimum_tcb = [{ product = "Milan", bootloader = 4, snp = 24, microcode = 219 }]
snp_platform_info = { one = 1, zero = 8 }
gpu_measurements = { 9 = [] }
gpu_driver_versions = ["550.90.07"]
gpu_leaf_serials = ["0a1b"]
dangerous_any = ["gpu_vbios_versions"]
"#;

/// What a file says comes out again as bytes that are read alike.
fn policy_file(bytes: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(bytes) else { return false };
    let Ok(policy) = Policy::from_toml(text) else { return false };
    assert_eq!(Policy::from_bytes(&policy.to_bytes()), Ok(policy), "{text}");
    true
}

fn audit() -> Vec<u8> {
    let records = std::sync::Arc::new(std::sync::Mutex::new(Vec::new()));
    let sink = records.clone();
    let mut log = AuditLog::new(move |record: &AuditRecord| {
        sink.lock().expect("one thread").push(record.to_bytes());
        Ok(())
    });
    let mut event = AuditEvent::of_keys(AuditKind::Release, vec![KeyId::new("model").expect("a short name")]);
    event.digests = vec![[5; 32], [6; 32]];
    event.detail = "a note".into();
    log.append(UnixTime::from_seconds(1_800_000_000), event).expect("an open sink");
    let mut records = records.lock().expect("one thread");
    records.remove(0)
}

fn audit_record(bytes: &[u8]) -> bool {
    canonical(bytes, AuditRecord::from_bytes(bytes), AuditRecord::to_bytes)
}

/// What a store keeps under a name: two versions, one retired.
fn record() -> Vec<u8> {
    let mut rng = ChaCha12Rng::seed_from_u64(2);
    let mut store = MemoryKeyStore::new(VaultKey::generate(&mut rng));
    let key = KeyId::new("model").expect("a short name");
    store.put(key.clone(), &Dek::generate(&mut rng), policy(), &mut rng).expect("a new key");
    store.rotate(&key, &Dek::generate(&mut rng), UnixTime::from_seconds(9), &mut rng).expect("a live key");
    store.table().get(key.as_bytes()).expect("memory").expect("stored")
}

/// A record that somebody else put into the table: it is read, and opens under no other vault key.
fn key_record(bytes: &[u8]) -> bool {
    let key = KeyId::new("model").expect("a short name");
    let mut table = MemoryTable::default();
    table.put(key.as_bytes(), bytes).expect("memory");
    let store = VaultKeyStore::open(table, VaultKey::from_bytes(&[0; 32]));
    let policy = store.policy(&key);
    let opened = store.data_key(&key, UnixTime::from_seconds(0));
    assert!(!matches!(opened, Ok(Some(_))), "a key of another vault opens");
    policy.is_ok()
}
