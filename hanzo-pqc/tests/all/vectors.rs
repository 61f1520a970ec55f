//! The shared vectors of `pqc/computed`, byte for byte, through the public interface.

use crate::support::data::{Script, array, bytes, cases, load, number};
use hanzo_pqc::kbs::{Challenge, EvidenceMessage, Receipt, Recipient, Release, Request, Transcript, broker_id};
use hanzo_pqc::{
    Aead, Ciphertext, DecapsulationKey, Dek, EncapsulationKey, Envelope, EnvelopeHeader, Error, HybridSuite, KeyId,
    PrivacyTier, SignatureAlgorithm, SigningKey, VaultKey,
};
use serde_json::Value;

/// X-Wing's code: beside the chosen suite in the files' requests.
const X_WING: u16 = 0x647A;

fn suite(case: &Value) -> Result<HybridSuite, Error> {
    HybridSuite::from_code(number(case, "suite").try_into().unwrap())
}

#[test]
fn hybrid() {
    let Some(file) = load("computed/hybrid.json") else {
        return;
    };
    let mut passed = 0;
    for case in cases(&file) {
        let suite = suite(case).unwrap();
        assert_eq!(suite.code(), number(case, "suite") as u16);
        let ctx = bytes(case, "ctx");
        let dk = DecapsulationKey::from_seed(suite, &bytes(case, "seed")).unwrap();
        assert_eq!(dk.encapsulation_key().as_bytes(), bytes(case, "ek"));
        let ek = EncapsulationKey::from_bytes(suite, &bytes(case, "ek")).unwrap();
        let mut rng = Script::new(&[&bytes(case, "m"), &bytes(case, "ephemeral")]);
        let (ct, sent) = ek.encapsulate(&ctx, &mut rng).unwrap();
        assert!(rng.is_done());
        assert_eq!(ct.as_bytes(), bytes(case, "ct"));
        assert_eq!(sent.expose_bytes()[..], bytes(case, "key"));
        let received = dk.decapsulate(&ct, &ctx).unwrap();
        assert!(received.ct_eq(&sent));
        let confirm = array(case, "confirm");
        assert_eq!(received.key_confirmation(&ek, &ct).unwrap(), confirm);
        assert_eq!(sent.check_confirmation(&ek, &ct, &confirm), Ok(()));
        passed += 1;
    }
    assert_eq!(passed, 8);
}

#[test]
fn small_order_points_do_not_contribute() {
    let Some(file) = load("computed/combiner.json") else {
        return;
    };
    let points = file["low_order_x25519_points"].as_array().unwrap();
    for point in points {
        let point = hex::decode(point.as_str().unwrap()).unwrap();
        for suite in HybridSuite::ALL.iter().copied().filter(|s| s.is_hybrid()) {
            if suite.code() == 0x0051 {
                continue;
            }
            let dk = DecapsulationKey::from_seed(suite, &vec![3; suite.seed_len()]).unwrap();
            let mut ek = dk.encapsulation_key().as_bytes().to_vec();
            let at = ek.len() - 32;
            ek[at..].copy_from_slice(&point);
            let ek = EncapsulationKey::from_bytes(suite, &ek).unwrap();
            let sent = ek.encapsulate(b"", &mut Script::new(&[&[4; 64]]));
            assert_eq!(sent.unwrap_err(), Error::NonContributory);

            let mut ct = vec![0; suite.ciphertext_len()];
            let at = ct.len() - 32;
            ct[at..].copy_from_slice(&point);
            let ct = Ciphertext::from_bytes(suite, &ct).unwrap();
            let received = dk.decapsulate(&ct, b"");
            assert_eq!(received.unwrap_err(), Error::NonContributory);
        }
    }
    assert_eq!(points.len(), 7);
}

#[test]
fn envelope() {
    let Some(file) = load("computed/envelope.json") else {
        return;
    };
    let (mut passed, mut third) = (0, 0);
    for case in cases(&file) {
        let expected = bytes(case, "envelope");
        let code = number(case, "suite") as u16;
        if number(case, "aead") == 3 {
            aes_256_gcm(case, &expected);
            third += 1;
            continue;
        }
        let tier = PrivacyTier::try_from(number(case, "tier") as u8).unwrap();
        let id = KeyId::new(bytes(case, "key_id")).unwrap();
        let dek = Dek::new(&bytes(case, "dek")).unwrap();
        let header_bytes = bytes(case, "header");
        let digests = &header_bytes[header_bytes.len() - 64..];
        let header = match code {
            0 => EnvelopeHeader::vault(tier, id),
            _ => EnvelopeHeader::new(tier, suite(case).unwrap(), id).unwrap(),
        }
        .with_policy_digest(digests[..32].try_into().unwrap())
        .with_context_digest(digests[32..].try_into().unwrap());
        assert_eq!(header.to_bytes(), header_bytes);
        assert_eq!(u64::from(header.aead().code()), number(case, "aead"));

        let opened = if code == 0 {
            let vault = VaultKey::from_bytes(&array(case, "vault_key"));
            let mut rng = Script::new(&[&bytes(case, "nonce")]);
            let sealed = Envelope::seal_vault(header, &vault, &dek, &mut rng).unwrap();
            assert_eq!(sealed.to_bytes(), expected);
            Envelope::from_bytes(&expected).unwrap().open_vault(&vault)
        } else {
            let suite = suite(case).unwrap();
            let dk = DecapsulationKey::from_seed(suite, &bytes(case, "recipient_seed")).unwrap();
            let ephemeral = if suite.is_hybrid() { bytes(case, "ephemeral") } else { vec![] };
            let mut rng = Script::new(&[&bytes(case, "m"), &ephemeral]);
            let sealed = Envelope::seal(header, dk.encapsulation_key(), &dek, &mut rng).unwrap();
            assert!(rng.is_done());
            assert_eq!(sealed.to_bytes(), expected);
            Envelope::from_bytes(&expected).unwrap().open(&dk)
        };
        assert!(opened.unwrap().ct_eq(&dek));
        passed += 1;
    }
    assert_eq!((passed, third), (10, 2));
}

/// Only a build with AWS-LC has this cipher; its nonce is the module's own, so that sealing gives no vector.
#[cfg(not(feature = "aws-lc"))]
fn aes_256_gcm(_: &Value, expected: &[u8]) {
    assert_eq!(Envelope::from_bytes(expected), Err(Error::UnknownAead(3)));
}

#[cfg(feature = "aws-lc")]
fn aes_256_gcm(case: &Value, expected: &[u8]) {
    use hanzo_pqc::backend::AwsLc;
    let suite = suite(case).unwrap();
    let tier = PrivacyTier::try_from(number(case, "tier") as u8).unwrap();
    let dek = Dek::new(&bytes(case, "dek")).unwrap();
    let dk = DecapsulationKey::<AwsLc>::from_seed_in(suite, &bytes(case, "recipient_seed")).unwrap();
    let read = Envelope::from_bytes(expected).unwrap();
    assert_eq!(read.to_bytes(), expected);
    assert_eq!(read.header().to_bytes(), bytes(case, "header"));
    assert!(read.open(&dk).unwrap().ct_eq(&dek));
    // The key and its derivation are the same on the other backend.
    let other = DecapsulationKey::from_seed(suite, &bytes(case, "recipient_seed")).unwrap();
    assert!(read.open(&other).unwrap().ct_eq(&dek));

    let id = KeyId::new(bytes(case, "key_id")).unwrap();
    let header = EnvelopeHeader::new(tier, suite, id.clone()).unwrap().with_aead(Aead::Aes256Gcm).unwrap();
    let sealed = Envelope::seal(header, dk.encapsulation_key(), &dek, &mut Script::new(&[])).unwrap();
    assert_eq!(sealed.to_bytes().len(), expected.len());
    assert!(sealed.open(&dk).unwrap().ct_eq(&dek));
    let vault = EnvelopeHeader::vault(tier, id).with_aead(Aead::Aes256Gcm);
    assert!(matches!(vault, Err(Error::Unsupported { .. })), "a vault has one cipher");

    for bit in 0..expected.len() * 8 {
        let mut flipped = expected.to_vec();
        flipped[bit / 8] ^= 1 << (bit % 8);
        if let Ok(envelope) = Envelope::from_bytes(&flipped) {
            assert_eq!(envelope.open(&dk).unwrap_err(), Error::Decrypt, "bit {bit}");
        }
    }
}

#[test]
fn kbs() {
    let Some(file) = load("computed/kbs.json") else {
        return;
    };
    for case in cases(&file) {
        let suite = suite(case).unwrap();
        let tier = PrivacyTier::try_from(number(case, "tier") as u8).unwrap();
        let request = Request::from_bytes(&bytes(case, "request")).unwrap();
        assert_eq!(request.to_bytes(), bytes(case, "request"));
        assert_eq!(request.tier(), tier);
        assert_eq!(request.suites(), [suite.code(), X_WING]);
        let challenge = Challenge::from_bytes(&bytes(case, "challenge")).unwrap();
        assert_eq!(challenge.to_bytes(), bytes(case, "challenge"));
        assert_eq!(*challenge.request_digest(), request.digest());
        assert_eq!((challenge.tier(), challenge.suite()), (tier, suite));

        let dk = DecapsulationKey::from_seed(suite, &bytes(case, "recipient_seed")).unwrap();
        let ek = dk.encapsulation_key();
        assert_eq!(ek.as_bytes(), bytes(case, "ek"));
        let transcript = Transcript::new(&request, &challenge, ek.as_bytes());
        assert_eq!(transcript.binding().report_data, array(case, "report_data"));
        assert_eq!(transcript.binding().gpu_nonce, array(case, "gpu_nonce"));
        let context: [u8; 32] = array(case, "context_digest");
        assert_eq!(*transcript.context_digest(), context);

        let evidence = EvidenceMessage::from_bytes(&bytes(case, "evidence")).unwrap();
        assert_eq!(evidence.to_bytes(), bytes(case, "evidence"));
        assert_eq!(evidence.session(), challenge.session());
        assert_eq!(evidence.encapsulation_key(), ek.as_bytes());

        let release = Release::from_bytes(&bytes(case, "release")).unwrap();
        assert_eq!(release.to_bytes(), bytes(case, "release"));
        let keys = case["keys"].as_array().unwrap();
        assert_eq!(release.envelopes().len(), keys.len());
        let policy_digest = array(case, "policy_digest");
        for (key, envelope) in keys.iter().zip(release.envelopes()) {
            let id = KeyId::new(bytes(key, "key_id")).unwrap();
            let header = EnvelopeHeader::new(tier, suite, id)
                .unwrap()
                .with_policy_digest(policy_digest)
                .with_context_digest(context);
            let dek = Dek::new(&bytes(key, "dek")).unwrap();
            let mut rng = Script::new(&[&bytes(key, "m"), &bytes(key, "ephemeral")]);
            assert_eq!(Envelope::seal(header, ek, &dek, &mut rng).unwrap(), *envelope);
            assert_eq!(envelope.header().aead(), Aead::ChaCha20Poly1305);
        }

        let algorithm = SignatureAlgorithm::from_code(number(case, "broker_alg") as u8).unwrap();
        let signer = SigningKey::from_seed(algorithm, &bytes(case, "broker_seed")).unwrap();
        let receipt = Receipt::from_bytes(&bytes(case, "receipt_deterministic")).unwrap();
        assert_eq!(receipt.to_bytes(), bytes(case, "receipt_deterministic"));
        assert_eq!(receipt, *release.receipt());
        assert_eq!(receipt.verify(signer.verifying_key()), Ok(()));
        assert_eq!(*receipt.broker_id(), broker_id(signer.verifying_key()));
        assert_eq!(*receipt.evidence_digest(), evidence.digest());
        let label = b"hanzo-kbs/v1/receipt";
        let body = bytes(case, "receipt_body");
        let message = [&(label.len() as u16).to_be_bytes(), &label[..], &body].concat();
        let signature = signer.sign_deterministic(&message).unwrap();
        assert_eq!(signature, *receipt.signature());

        // The recipient accepts the whole of it: only its own evidence digest comes from sending.
        let recipient = Recipient::new(request, signer.verifying_key().clone()).unwrap();
        let now = challenge.issued_at();
        let mut challenged = recipient.on_challenge_with_key(now, &challenge, dk).unwrap();
        let sent = challenged.evidence(evidence.items().to_vec()).unwrap();
        assert_eq!(sent, evidence);
        let opened = challenged.open(&release).unwrap();
        for (key, (id, dek)) in keys.iter().zip(&opened) {
            assert_eq!(id.as_bytes(), bytes(key, "key_id"));
            assert_eq!(dek.expose_bytes(), bytes(key, "dek"));
        }
    }
    assert_eq!(cases(&file).len(), 2);
}

#[test]
fn kbs_policies() {
    let Some(file) = load("computed/kbs.json") else {
        return;
    };
    for case in cases(&file) {
        use hanzo_pqc::attestation::{SnpProduct, SnpTcb};
        let encoded = bytes(case, "policy");
        let policy = hanzo_pqc::kbs::Policy::from_bytes(&encoded).unwrap();
        assert_eq!((policy.to_bytes(), policy.digest()), (encoded.clone(), array(case, "policy_digest")));
        // The same, from what the fields mean.
        let measurements: [[u8; 48]; 2] = core::array::from_fn(|i| encoded[43 + 48 * i..][..48].try_into().unwrap());
        let built = hanzo_pqc::kbs::Policy::builder()
            .name("tenant-7/snp")
            .tiers([PrivacyTier::CpuTee, PrivacyTier::GpuCc])
            .suites([HybridSuite::MlKem768X25519, HybridSuite::MlKem1024X25519])
            .snp_measurements(measurements)
            .snp_minimum_tcb(
                SnpProduct::Milan,
                SnpTcb { bootloader: 4, snp: 0x18, microcode: 0xDB, ..SnpTcb::default() },
            )
            .snp_vmpl([0])
            .snp_forbidden_policy_bits(1 << 18 | 1 << 19);
        assert_eq!(built.build(), Ok(policy));
    }
}

#[test]
fn x_wing() {
    let Some(file) = load("xwing/test-vectors.json") else {
        return;
    };
    let suite = HybridSuite::XWing;
    let cases = file.as_array().unwrap();
    for case in cases {
        let dk = DecapsulationKey::from_seed(suite, &bytes(case, "seed")).unwrap();
        assert_eq!(dk.encapsulation_key().as_bytes(), bytes(case, "pk"));
        let (ct, sent) = dk.encapsulation_key().encapsulate(b"", &mut Script::new(&[&bytes(case, "eseed")])).unwrap();
        assert_eq!(ct.as_bytes(), bytes(case, "ct"));
        assert_eq!(sent.expose_bytes()[..], bytes(case, "ss"));
        assert!(dk.decapsulate(&ct, b"").unwrap().ct_eq(&sent));
        assert_eq!(dk.expose_seed().unwrap(), bytes(case, "sk"), "the seed is the key, however it is expanded");
        assert!(matches!(dk.decapsulate(&ct, b"x"), Err(Error::Unsupported { .. })), "X-Wing has no context");
    }
    assert_eq!(cases.len(), 3);
}
