//! Bad keys, signatures and bytes, row by row: what is refused, and with which error.

use hanzo_pqc::attestation::{Evidence, EvidenceKind};
use hanzo_pqc::kbs::{EvidenceMessage, Policy, Request, SessionId};
use hanzo_pqc::rand_core::{Rng, SeedableRng};
use hanzo_pqc::{
    Ciphertext, Context, DecapsulationKey, Dek, EncapsulationKey, Envelope, EnvelopeHeader, Error, HybridSuite, KeyId,
    PrivacyTier, Signature, SignatureAlgorithm, SigningKey, VaultKey, VerifyingKey,
};
use rand_chacha::ChaCha12Rng;

const TIER: PrivacyTier = PrivacyTier::AtRest;

#[test]
fn keys_and_ciphertexts_of_wrong_length() {
    let wrong = |error: Option<Error>, expected: usize, actual: usize| match error {
        Some(Error::InvalidLength { expected: e, actual: a, .. }) => (e, a) == (expected, actual),
        _ => false,
    };
    for suite in HybridSuite::ALL.iter().copied() {
        let (seed, ek, ct) = (suite.seed_len(), suite.encapsulation_key_len(), suite.ciphertext_len());
        for delta in [-1_isize, 1, 31, 32] {
            let off = |len: usize| len.saturating_add_signed(delta);
            let got = DecapsulationKey::from_seed(suite, &vec![0; off(seed)]).err();
            assert!(wrong(got, seed, off(seed)));
            let got = EncapsulationKey::from_bytes(suite, &vec![0; off(ek)]).err();
            assert!(wrong(got, ek, off(ek)));
            let got = Ciphertext::from_bytes(suite, &vec![0; off(ct)]).err();
            assert!(wrong(got, ct, off(ct)));
        }
        assert!(EncapsulationKey::from_bytes(suite, &[]).is_err());
    }
    for algorithm in SignatureAlgorithm::ALL {
        assert!(wrong(SigningKey::from_seed(algorithm, &[0; 31]).err(), 32, 31));
        let len = algorithm.verifying_key_len();
        let got = VerifyingKey::from_bytes(algorithm, &vec![0; len + 1]).err();
        assert!(wrong(got, len, len + 1));
        let len = algorithm.signature_len();
        assert_eq!(Signature::from_bytes(&vec![0; len - 1]), Err(Error::InvalidSignature));
    }
}

#[test]
fn a_coefficient_that_is_not_reduced() {
    for suite in HybridSuite::ALL.iter().copied() {
        let mut ek = vec![0; suite.encapsulation_key_len()];
        // The first 12-bit coefficient is 3329 = q.
        (ek[0], ek[1]) = (0x01, 0x0D);
        assert_eq!(EncapsulationKey::from_bytes(suite, &ek), Err(Error::InvalidKey));
        ek[0] = 0x00;
        assert!(EncapsulationKey::from_bytes(suite, &ek).is_ok());
    }
}

#[test]
fn an_expanded_key_with_a_wrong_hash() {
    let suite = HybridSuite::MlKem768;
    assert_eq!(DecapsulationKey::from_expanded(suite, &[0; 2400]).err(), Some(Error::InvalidKey));
    assert!(matches!(
        DecapsulationKey::from_expanded(suite, &[0; 2399]).err(),
        Some(Error::InvalidLength { expected: 2400, actual: 2399, .. })
    ));
    assert!(matches!(
        DecapsulationKey::from_expanded(HybridSuite::MlKem768X25519, &[0; 2400]).err(),
        Some(Error::Unsupported { .. })
    ));
}

#[test]
fn contexts_over_their_limits() {
    assert_eq!(Context::new(&[0; 256]), Err(Error::InvalidContext { len: 256 }));
    assert!(Context::new(&[0; 255]).is_ok());
    let mut rng = ChaCha12Rng::seed_from_u64(1);
    let dk = DecapsulationKey::generate(HybridSuite::MlKem768X25519, &mut rng);
    let before = rng.clone();
    let got = dk.encapsulation_key().encapsulate(&[0; 65_536], &mut rng);
    assert_eq!(got.err(), Some(Error::InvalidContext { len: 65_536 }));
    assert_eq!(rng.next_u64(), before.clone().next_u64(), "no randomness was drawn");
    let (ct, sent) = dk.encapsulation_key().encapsulate(&[0; 65_535], &mut rng).unwrap();
    assert!(dk.decapsulate(&ct, &[0; 65_535]).unwrap().ct_eq(&sent));
}

#[test]
fn signatures_of_another_key_context_or_algorithm() {
    let key = SigningKey::from_seed(SignatureAlgorithm::MlDsa44, &[1; 32]).unwrap();
    let other = SigningKey::from_seed(SignatureAlgorithm::MlDsa44, &[2; 32]).unwrap();
    let stronger = SigningKey::from_seed(SignatureAlgorithm::MlDsa65, &[1; 32]).unwrap();
    let context = Context::new(b"a").unwrap();
    let signature = key.sign_deterministic_with_context(b"m", &context).unwrap();
    let vk = key.verifying_key();
    assert_eq!(vk.verify_with_context(b"m", &context, &signature), Ok(()));
    assert_eq!(vk.verify(b"m", &signature), Err(Error::InvalidSignature));
    for wrong in [other.verifying_key(), stronger.verifying_key()] {
        let got = wrong.verify_with_context(b"m", &context, &signature);
        assert_eq!(got, Err(Error::InvalidSignature));
    }
    for at in (0..signature.as_bytes().len()).step_by(97) {
        let mut bytes = signature.as_bytes().to_vec();
        bytes[at] ^= 1;
        let got = vk.verify_with_context(b"m", &context, &Signature::from_bytes(&bytes).unwrap());
        assert_eq!(got, Err(Error::InvalidSignature), "byte {at}");
    }
}

#[test]
fn envelope_headers_outside_the_table() {
    let mut rng = ChaCha12Rng::seed_from_u64(1);
    let suite = HybridSuite::MlKem768X25519;
    let dk = DecapsulationKey::generate(suite, &mut rng);
    let header = EnvelopeHeader::new(TIER, suite, KeyId::new("id").unwrap()).unwrap();
    let dek = Dek::new(&[1; 32]).unwrap();
    let good = Envelope::seal(header, dk.encapsulation_key(), &dek, &mut rng).unwrap().to_bytes();
    let with = |at: usize, bytes: &[u8]| {
        let mut changed = good.clone();
        changed[at..at + bytes.len()].copy_from_slice(bytes);
        Envelope::from_bytes(&changed).unwrap_err()
    };
    let malformed = |offset| Error::Malformed { what: "envelope", offset };
    assert_eq!(with(0, b"X"), malformed(0), "magic");
    assert_eq!(with(4, &[2]), malformed(0), "version");
    assert_eq!(with(5, &[5]), Error::UnknownTier(5));
    assert!(matches!(with(5, &[3]), Error::TierMismatch { minimum: "ML-KEM-1024", .. }));
    assert_eq!(with(6, &[0x12, 0x34]), Error::UnknownSuite(0x1234));
    assert!(matches!(with(6, &[0x00, 0x40]), Error::TierMismatch { requested: "ML-KEM-512", .. }));
    assert_eq!(with(6, &[0, 0]), malformed(8), "vault with aead 1");
    assert_eq!(with(8, &[2]), malformed(8), "recipient with aead 2");
    assert_eq!(with(8, &[4]), Error::UnknownAead(4));
    #[cfg(not(feature = "aws-lc"))]
    assert_eq!(with(8, &[3]), Error::UnknownAead(3));
    #[cfg(feature = "aws-lc")]
    assert!(matches!(with(8, &[3]), Error::TooLong { what: "sealed key", .. }), "a nonce was expected");
    assert_eq!(with(9, &[1]), malformed(9), "reserved byte");
    assert_eq!(with(10, &[0, 0]), malformed(10), "empty key id");
    let ct_len = 76 + 2;
    assert_eq!(with(ct_len, &[0, 0, 4, 0x5F]), malformed(ct_len), "short ciphertext");
    assert!(matches!(with(ct_len, &[0, 1, 0, 0]), Error::TooLong { .. }));
    let sealed = ct_len + 4 + 1120;
    assert_eq!(with(sealed, &[0, 0, 0, 16]), malformed(sealed), "tag without key");
    assert!(matches!(with(sealed, &[0xFF; 4]), Error::TooLong { limit: 4112, .. }));
}

#[test]
fn sealing_with_the_wrong_kind_of_key() {
    let mut rng = ChaCha12Rng::seed_from_u64(1);
    let dk = DecapsulationKey::generate(HybridSuite::MlKem768, &mut rng);
    let dek = Dek::new(&[1; 32]).unwrap();
    let id = KeyId::new("id").unwrap();
    let hybrid = EnvelopeHeader::new(TIER, HybridSuite::MlKem768X25519, id.clone()).unwrap();
    let vault = EnvelopeHeader::vault(TIER, id);
    let ek = dk.encapsulation_key();
    let mismatch = Error::SuiteMismatch { expected: HybridSuite::MlKem768X25519.name(), found: "ML-KEM-768" };
    assert_eq!(Envelope::seal(hybrid.clone(), ek, &dek, &mut rng), Err(mismatch));
    assert_eq!(mismatch.to_string(), "ML-KEM-768 where MLKEM768-X25519-HKDF-SHA256 is needed");
    assert!(matches!(Envelope::seal(vault, ek, &dek, &mut rng), Err(Error::Unsupported { .. })));
    let key = VaultKey::generate(&mut rng);
    assert!(matches!(Envelope::seal_vault(hybrid, &key, &dek, &mut rng), Err(Error::Unsupported { .. })));
}

/// X-Wing and the HKDF suite have keys and ciphertexts of the same lengths: only the suite tells them apart.
#[test]
fn suites_of_the_same_lengths_do_not_mix() {
    let mut rng = ChaCha12Rng::seed_from_u64(1);
    let (ours, other) = (HybridSuite::MlKem768X25519, HybridSuite::XWing);
    let mismatch = Error::SuiteMismatch { expected: ours.name(), found: other.name() };
    let (key, foreign) = (DecapsulationKey::generate(ours, &mut rng), DecapsulationKey::generate(other, &mut rng));
    let (ciphertext, shared) = foreign.encapsulation_key().encapsulate(&[], &mut rng).unwrap();
    assert_eq!(ciphertext.as_bytes().len(), ours.ciphertext_len());
    assert_eq!(key.decapsulate(&ciphertext, &[]).err(), Some(mismatch));
    assert_eq!(shared.key_confirmation(key.encapsulation_key(), &ciphertext), Err(mismatch));
    let header = EnvelopeHeader::new(TIER, ours, KeyId::new("id").unwrap()).unwrap();
    let dek = Dek::new(&[1; 32]).unwrap();
    assert_eq!(Envelope::seal(header, foreign.encapsulation_key(), &dek, &mut rng), Err(mismatch));
    let typed = hanzo_pqc::typed::DecapsulationKey::<hanzo_pqc::typed::MlKem768X25519>::new(foreign);
    assert_eq!(typed.err(), Some(mismatch));
}

#[test]
fn messages_over_their_limits() {
    let id = |i: usize| KeyId::new(format!("{i}")).unwrap();
    let suite = TIER.suite();
    let many: Vec<_> = (0..17).map(id).collect();
    assert!(matches!(Request::new(TIER, &[suite], many), Err(Error::TooLong { limit: 16, .. })));
    assert!(matches!(Request::new(TIER, &[suite; 17], vec![id(0)]), Err(Error::TooLong { .. })));
    assert!(matches!(Request::new(TIER, &[], vec![id(0)]), Err(Error::Malformed { .. })));
    assert!(matches!(Request::new(TIER, &[suite], vec![]), Err(Error::Malformed { .. })));
    let twice = Request::new(TIER, &[suite], vec![id(0), id(0)]);
    assert!(matches!(twice, Err(Error::Malformed { .. })));
    let mut bytes = Request::new(TIER, &[suite], vec![id(0), id(1)]).unwrap().to_bytes();
    let last = bytes.len() - 1;
    bytes[last] = b'0';
    assert!(matches!(Request::from_bytes(&bytes), Err(Error::Malformed { .. })));

    let kind = EvidenceKind::Snp;
    assert!(Evidence::new(kind, &[0; 16_385], b"").is_err());
    assert!(Evidence::new(kind, b"", &[0; 65_537]).is_err());
    let full = Evidence::new(kind, &[0; 16_384], &[0; 65_536]).unwrap();
    assert_eq!(Evidence::from_bytes(&full.to_bytes()), Ok(full.clone()));
    // A length over the limit is refused by itself, whether or not the bytes are there.
    let long = [&[kind.code()], &16_385_u32.to_be_bytes()[..]].concat();
    assert_eq!(Evidence::from_bytes(&long), Err(Error::TooLong { what: "report", limit: 16_384 }));
    let long = [&[kind.code()], &0_u32.to_be_bytes()[..], &u32::MAX.to_be_bytes()].concat();
    assert_eq!(Evidence::from_bytes(&long), Err(Error::TooLong { what: "endorsement", limit: 65_536 }));
    assert_eq!(Evidence::from_bytes(&[9; 9]), Err(Error::Malformed { what: "evidence", offset: 0 }));
    let session = SessionId::from_bytes([0; 16]);
    assert!(EvidenceMessage::new(session, b"", vec![full.clone(); 12]).is_ok());
    let limit = EvidenceMessage::MAX_LEN;
    let what = "evidence message";
    assert_eq!(EvidenceMessage::new(session, b"", vec![full; 13]), Err(Error::TooLong { what, limit }));
    let small = Evidence::new(kind, b"", b"").unwrap();
    assert!(EvidenceMessage::new(session, b"", vec![small.clone(); 17]).is_ok());
    assert!(EvidenceMessage::new(session, b"", vec![small; 18]).is_err());
    assert_eq!(EvidenceMessage::from_bytes(&vec![0; limit + 1]), Err(Error::TooLong { what, limit }));
}

#[test]
fn policies_out_of_order() {
    let read = |fields: &[&[u8]]| Policy::from_bytes(&[b"HKPO\x01", &fields.concat()[..]].concat());
    let tiers: &[u8] = &[2, 0, 0, 0, 2, 0, 1];
    let suites: &[u8] = &[3, 0, 0, 0, 2, 0xF0, 0x02];
    assert!(read(&[tiers, suites]).is_ok());
    let malformed = |offset| Err(Error::Malformed { what: "policy", offset });
    assert_eq!(read(&[suites, tiers]), malformed(12), "descending tags");
    assert_eq!(read(&[tiers, tiers]), malformed(12), "repeated tag");
    assert_eq!(read(&[&[2, 0, 0, 0, 2, 1, 0]]), malformed(5), "unsorted set");
    assert_eq!(read(&[&[2, 0, 0, 0, 2, 1, 1]]), malformed(5), "duplicate in set");
    assert_eq!(read(&[&[3, 0, 0, 0, 3, 0, 1, 2]]), malformed(5), "half an element");
    assert_eq!(read(&[&[1, 0, 0, 0, 1, 0xFF]]), malformed(5), "name that is not UTF-8");
    assert_eq!(read(&[&[1, 0, 0, 0, 65], &[b'a'; 65]]), malformed(5), "long name");
    assert_eq!(read(&[&[2, 0, 0, 0, 1, 5]]), Err(Error::UnknownTier(5)));
    assert_eq!(read(&[&[0, 0, 0, 0, 0]]), malformed(5), "tag zero");
    for tag in [6, 15, 29, 32, 45, 47, 55, 63, 66, 255] {
        assert_eq!(read(&[&[tag, 0, 0, 0, 0]]), Err(Error::UnknownPolicyTag(tag)));
    }
    let field = |tag: u8, value: &[u8]| read(&[&[&[tag, 0, 0, 0, value.len() as u8], value].concat()]);
    let rows: &[(u8, &[u8], &[u8])] = &[
        (16, &[0, 7], &[0, 8]),
        (28, &[1, 0], &[0]),
        (34, &[1, 0, 4, 0, 24, 219, 2, 0, 0, 0, 0, 0], &[1, 0, 4, 0, 24, 219, 1, 0, 9, 9, 9, 9]),
        (34, &[3, 1, 0, 0, 0, 0], &[4, 1, 0, 0, 0, 0]),
        (35, &[1], &[2]),
        (42, &[0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 2], &[0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 3]),
        (48, &[0, 1, b'5', 0, 2, b'5', b'.'], &[0, 1, b'6', 0, 1, b'5']),
        (48, &[0, 1, b'5'], &[0, 0]),
        (48, &[0x2A], &[0, 1, 0xFF]),
        (
            50,
            &[[1, 1].as_slice(), &[7; 48], &[2, 1], &[6; 48]].concat(),
            &[[2, 1].as_slice(), &[7; 48], &[1, 1], &[6; 48]].concat(),
        ),
        (50, &[[64, 1].as_slice(), &[7; 48]].concat(), &[[65, 1].as_slice(), &[7; 48]].concat()),
        (50, &[], &[1, 0]),
        (51, &[0, 1, 2], &[3]),
        (25, &[], &[0x2A]),
    ];
    for (tag, good, bad) in rows {
        assert!(field(*tag, good).is_ok_and(|policy| policy.to_bytes()[10..] == **good), "tag {tag}");
        assert_eq!(field(*tag, bad), malformed(5), "tag {tag}");
    }
    let wrong =
        |builder: hanzo_pqc::kbs::PolicyBuilder, field| assert_eq!(builder.build(), Err(Error::PolicyField { field }));
    wrong(Policy::builder().gpu_measurement(65, [[0; 48]]), "gpu_measurements");
    wrong(Policy::builder().gpu_measurement(1, (0..=255).map(|i| [i; 48])), "gpu_measurements");
    wrong(Policy::builder().gpu_driver_versions([""]), "gpu_driver_versions");
    wrong(Policy::builder().gpu_feature_flags([3]), "gpu_feature_flags");
    wrong(Policy::builder().snp_platform_info(1, 1), "snp_platform_info");
    assert!(Policy::builder().name(&"a".repeat(65)).build().is_err());
    assert_eq!(read(&[&[3, 0, 0, 0, 1, 0x2A]]), Policy::builder().dangerous_any_suite().build());
}

/// A secret that ends in a failed `unwrap` is printed by the panic: nothing of it may show, as hex or as decimal bytes.
#[test]
fn no_secret_reaches_debug_or_a_panic_message() {
    #[expect(clippy::unnecessary_literal_unwrap, reason = "the panic is what is tested")]
    fn message<T: core::fmt::Debug>(secret: T) -> String {
        let caught = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| Err::<(), T>(secret).unwrap()));
        *caught.unwrap_err().downcast::<String>().unwrap()
    }
    let mut messages = Vec::new();
    for suite in HybridSuite::ALL.iter().copied() {
        let key = DecapsulationKey::from_seed(suite, &vec![0xA5; suite.seed_len()]).unwrap();
        let ct =
            Ciphertext::from_bytes(suite, key.encapsulation_key().encapsulate(&[], &mut rng()).unwrap().0.as_bytes());
        messages.push(message(key.decapsulate(&ct.unwrap(), &[]).unwrap()));
        messages.push(message(key));
    }
    for algorithm in SignatureAlgorithm::ALL {
        messages.push(message(SigningKey::from_seed(algorithm, &[0xA5; 32]).unwrap()));
    }
    messages.push(message(Dek::new(&[0xA5; 32]).unwrap()));
    messages.push(message(VaultKey::from_bytes(&[0xA5; 32])));
    #[cfg(feature = "composite")]
    for algorithm in hanzo_pqc::CompositeAlgorithm::ALL.iter().copied().take(2) {
        let key = hanzo_pqc::CompositeSigningKey::from_seed(algorithm, &vec![0xA5; algorithm.seed_len()]);
        messages.push(message(key.unwrap()));
    }
    for message in messages {
        assert!(message.contains("[redacted]"), "{message}");
        assert!(!message.contains("165") && !message.to_lowercase().contains("a5"), "{message}");
        assert!(message.len() < 200, "{message}");
    }
}

/// Every secret type says that it wipes itself: a field that does not would have to be looked at here.
#[test]
fn secrets_wipe_themselves() {
    fn wiped<T: zeroize::ZeroizeOnDrop>() {}
    wiped::<DecapsulationKey>();
    wiped::<hanzo_pqc::SharedSecret>();
    wiped::<SigningKey>();
    wiped::<Dek>();
    wiped::<VaultKey>();
    wiped::<hanzo_pqc::typed::DecapsulationKey<hanzo_pqc::typed::MlKem768>>();
    #[cfg(feature = "composite")]
    wiped::<hanzo_pqc::CompositeSigningKey>();
    #[cfg(feature = "aws-lc")]
    wiped::<DecapsulationKey<hanzo_pqc::backend::AwsLc>>();
    // And so do the parts they are made of, in the default backend.
    wiped::<ml_kem::DecapsulationKey<ml_kem::MlKem768>>();
    wiped::<ml_dsa::ExpandedSigningKey<ml_dsa::MlDsa65>>();
    wiped::<x25519_dalek::StaticSecret>();
    wiped::<x25519_dalek::SharedSecret>();
}

fn rng() -> ChaCha12Rng {
    ChaCha12Rng::seed_from_u64(1)
}
