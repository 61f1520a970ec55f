//! Software evidence from attester to release, with real signatures.

use hanzo_pqc::attestation::{
    AttestationError, Binding, Claims, Evidence, EvidenceKind, EvidenceVerifier, SoftwareAttester, SoftwareVerifier,
    UnixTime,
};
use hanzo_pqc::kbs::{Broker, KbsConfig, KbsError, MemoryChallengeStore, MemoryKeyStore, Policy, Recipient, Request};
use hanzo_pqc::rand_core::SeedableRng;
use hanzo_pqc::{Dek, Error, KeyId, PrivacyTier, SignatureAlgorithm, SigningKey, VaultKey};
use rand_chacha::ChaCha12Rng;

const NOW: UnixTime = UnixTime::from_seconds(1_800_000_000);
const BOUND: Binding = Binding { report_data: [7; 64], gpu_nonce: [8; 32] };

fn attester(algorithm: SignatureAlgorithm) -> SoftwareAttester {
    let key = SigningKey::from_seed(algorithm, &[5; 32]).unwrap();
    SoftwareAttester::new(key, [0x44; 32]).unwrap()
}

/// One whole release; the bytes of the release and whether the data key came out.
fn run(seed: u64, allowed_key: Option<[u8; 32]>, measurement: [u8; 32]) -> Result<Vec<u8>, KbsError> {
    let mut rng = ChaCha12Rng::seed_from_u64(seed);
    let tier = PrivacyTier::AtRest;
    let attester = attester(SignatureAlgorithm::MlDsa65);
    let policy = Policy::builder()
        .tiers([tier])
        .suites([tier.suite()])
        .software_keys([allowed_key.unwrap_or(attester.key_digest())])
        .software_measurements([measurement])
        .build()?;
    let key = KeyId::new("adapter")?;
    let dek = Dek::generate(&mut rng);
    let mut keys = MemoryKeyStore::new(VaultKey::generate(&mut rng));
    keys.put(key.clone(), &dek, policy, &mut rng)?;
    let signer = SigningKey::generate(SignatureAlgorithm::MlDsa65, &mut rng);
    let pinned = signer.verifying_key().clone();
    let config = KbsConfig::new().software_evidence(true);
    let sessions = MemoryChallengeStore::new();
    let mut broker = Broker::new(config, signer, SoftwareVerifier, keys, sessions)?;

    let recipient = Recipient::new(Request::new(tier, &[tier.suite()], vec![key])?, pinned)?;
    let challenge = broker.challenge(NOW, recipient.request(), &mut rng)?;
    let mut session = recipient.on_challenge(NOW, &challenge, &mut rng)?;
    let evidence = attester.attest(session.binding(), &mut rng)?;
    let message = session.evidence(vec![evidence])?;
    let release = broker.release(NOW, &message, &mut rng)?;
    assert!(session.open(&release)?[0].1.ct_eq(&dek));
    Ok(release.to_bytes())
}

#[test]
fn a_release_on_software_evidence() {
    let bytes = run(1, None, [0x44; 32]).unwrap();
    assert_eq!(run(1, None, [0x44; 32]).unwrap(), bytes, "same seed, same bytes");
    assert_ne!(run(2, None, [0x44; 32]).unwrap(), bytes);
    let denied = |got: Result<_, KbsError>, expected| match got {
        Err(KbsError::PolicyDenied { tag, .. }) => assert_eq!(tag, expected),
        other => panic!("{other:?}"),
    };
    denied(run(1, Some([0; 32]), [0x44; 32]), 64);
    denied(run(1, None, [0x45; 32]), 65);
}

#[test]
fn claims_repeat_what_was_stated() {
    let mut rng = ChaCha12Rng::seed_from_u64(3);
    for algorithm in [SignatureAlgorithm::MlDsa65, SignatureAlgorithm::MlDsa87] {
        let attester = attester(algorithm);
        let evidence = attester.attest(&BOUND, &mut rng).unwrap();
        assert_eq!(evidence.report().len(), 2 + 21 + 64 + 32 + 1 + 4 + algorithm.signature_len());
        let Claims::Software(claims) = SoftwareVerifier.verify(&evidence, &BOUND, NOW).unwrap() else {
            panic!("claims of another kind");
        };
        assert_eq!(claims.report_data, BOUND.report_data);
        assert_eq!(claims.measurement, *attester.measurement());
        assert_eq!(claims.key_digest, attester.key_digest());
        let other = Binding { report_data: [6; 64], ..BOUND };
        let got = SoftwareVerifier.verify(&evidence, &other, NOW);
        assert_eq!(got, Err(AttestationError::Binding));
    }
    let weak = SigningKey::from_seed(SignatureAlgorithm::MlDsa44, &[5; 32]).unwrap();
    assert!(matches!(SoftwareAttester::new(weak, [0; 32]).err(), Some(Error::TierMismatch { .. })));
}

/// Every bit of what is signed, one bit of every byte of the rest, every prefix: refused.
#[test]
fn no_change_is_accepted() {
    let mut rng = ChaCha12Rng::seed_from_u64(4);
    let evidence = attester(SignatureAlgorithm::MlDsa65).attest(&BOUND, &mut rng).unwrap();
    let verify = |report: &[u8], endorsement: &[u8]| {
        let evidence = Evidence::new(EvidenceKind::Software, report, endorsement).unwrap();
        SoftwareVerifier.verify(&evidence, &BOUND, NOW)
    };
    let (report, endorsement) = (evidence.report(), evidence.endorsement());
    assert!(verify(report, endorsement).is_ok());
    let signed = 2 + 21 + 64 + 32 + 1;
    for bit in (0..signed * 8).chain((signed..report.len()).step_by(5).map(|byte| byte * 8 + byte % 8)) {
        let mut changed = report.to_vec();
        changed[bit / 8] ^= 1 << (bit % 8);
        assert!(verify(&changed, endorsement).is_err(), "bit {bit}");
    }
    for byte in (0..endorsement.len()).step_by(7) {
        let mut changed = endorsement.to_vec();
        changed[byte] ^= 1;
        assert_eq!(verify(report, &changed), Err(AttestationError::Signature), "byte {byte}");
    }
    for len in (0..report.len()).step_by(3) {
        assert!(verify(&report[..len], endorsement).is_err(), "cut at {len}");
    }
    let longer = [report, &[0]].concat();
    let offset = report.len();
    assert_eq!(verify(&longer, endorsement), Err(AttestationError::Malformed { offset }));
    let snp = Evidence::new(EvidenceKind::Snp, report, endorsement).unwrap();
    let kind = EvidenceKind::Snp;
    assert_eq!(SoftwareVerifier.verify(&snp, &BOUND, NOW), Err(AttestationError::Unsupported { kind }));
}
