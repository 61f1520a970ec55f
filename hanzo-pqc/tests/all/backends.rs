//! Two backends side by side: each must read what the other makes; and X-Wing beside another crate's.

#[cfg(feature = "aws-lc")]
use hanzo_pqc::EncapsulationKey;
use hanzo_pqc::rand_core::SeedableRng;
use hanzo_pqc::{Ciphertext, DecapsulationKey, HybridSuite};
use proptest::prelude::*;
use rand_chacha::ChaCha12Rng;

fn config(cases: u32) -> ProptestConfig {
    ProptestConfig { cases, failure_persistence: None, ..ProptestConfig::default() }
}

proptest! {
    #![proptest_config(config(32))]

    #[test]
    fn x_wing_as_the_crate_x_wing_has_it(seed in any::<[u8; 32]>(), rng in any::<u64>()) {
        use x_wing::{Decapsulate, Decapsulator, Encapsulate, KeyExport};
        let suite = HybridSuite::XWing;
        let ours = DecapsulationKey::from_seed(suite, &seed).unwrap();
        let theirs = x_wing::DecapsulationKey::from(seed);
        prop_assert_eq!(ours.encapsulation_key().as_bytes(), &theirs.encapsulation_key().to_bytes()[..]);
        let mut rng = ChaCha12Rng::seed_from_u64(rng);
        let (ct, sent) = ours.encapsulation_key().encapsulate(b"", &mut rng).unwrap();
        let received = theirs.decapsulate(&ct.as_bytes().try_into().unwrap());
        prop_assert_eq!(&received[..], &sent.expose_bytes()[..]);
        let (ct, sent) = theirs.encapsulation_key().encapsulate_with_rng(&mut rng);
        let received = ours.decapsulate(&Ciphertext::from_bytes(suite, &ct).unwrap(), b"").unwrap();
        prop_assert_eq!(&received.expose_bytes()[..], &sent[..]);
    }
}

/// Every single-bit change of a ciphertext gives another secret or an error.
#[test]
fn every_bit_of_a_ciphertext_counts() {
    for suite in [HybridSuite::XWing, HybridSuite::MlKem512X25519] {
        let key = DecapsulationKey::from_seed(suite, &vec![3; suite.seed_len()]).unwrap();
        let mut rng = ChaCha12Rng::seed_from_u64(7);
        let (ct, sent) = key.encapsulation_key().encapsulate(b"", &mut rng).unwrap();
        let mut bytes = ct.as_bytes().to_vec();
        for bit in 0..bytes.len() * 8 {
            bytes[bit / 8] ^= 1 << (bit % 8);
            let flipped = Ciphertext::from_bytes(suite, &bytes).unwrap();
            assert!(key.decapsulate(&flipped, b"").map_or(true, |got| !got.ct_eq(&sent)), "{suite}: bit {bit}");
            bytes[bit / 8] ^= 1 << (bit % 8);
        }
    }
}

#[cfg(feature = "p384")]
#[test]
fn p384_refuses_what_is_no_point() {
    use hanzo_pqc::Error;
    let suite = HybridSuite::MlKem1024P384;
    let key = DecapsulationKey::from_seed(suite, &[3; 32]).unwrap();
    let mut rng = ChaCha12Rng::seed_from_u64(7);
    let (ct, sent) = key.encapsulation_key().encapsulate(b"", &mut rng).unwrap();
    assert!(key.decapsulate(&ct, b"").unwrap().ct_eq(&sent));
    let at = suite.kem().ciphertext_len();
    // Off the curve; compressed; the point at infinity in 97 bytes.
    for (place, value) in [(at + 96, ct.as_bytes()[at + 96] ^ 1), (at, 2), (at, 0)] {
        let mut bytes = ct.as_bytes().to_vec();
        bytes[place] = value;
        let wrong = Ciphertext::from_bytes(suite, &bytes).unwrap();
        assert_eq!(key.decapsulate(&wrong, b"").err(), Some(Error::InvalidKey));
    }
}

#[cfg(feature = "aws-lc")]
mod aws_lc {
    use super::*;
    use hanzo_pqc::backend::AwsLc;
    use hanzo_pqc::signature::RandomizedSigner;
    use hanzo_pqc::{
        Context, Dek, Envelope, EnvelopeHeader, Error, KeyId, PrivacyTier, Signature, SignatureAlgorithm, SigningKey,
        VerifyingKey,
    };

    proptest! {
        #![proptest_config(config(16))]

        #[test]
        fn the_backends_agree_on_every_suite(seed in any::<u64>(), ctx in proptest::collection::vec(any::<u8>(), 0..20)) {
            let mut rng = ChaCha12Rng::seed_from_u64(seed);
            for suite in HybridSuite::ALL.iter().copied() {
                let ctx = if suite.takes_context() { &ctx[..] } else { &[] };
                let rust = DecapsulationKey::generate(suite, &mut rng);
                let aws = DecapsulationKey::<AwsLc>::from_seed_in(suite, rust.expose_seed().unwrap()).unwrap();
                let bytes = rust.encapsulation_key().as_bytes();
                prop_assert_eq!(aws.encapsulation_key().as_bytes(), bytes);
                let read = EncapsulationKey::<AwsLc>::from_bytes_in(suite, bytes).unwrap();
                let (ct, sent) = read.encapsulate(ctx, &mut rng).unwrap();
                prop_assert!(rust.decapsulate(&ct, ctx).unwrap().ct_eq(&sent));
                let (ct, sent) = rust.encapsulation_key().encapsulate(ctx, &mut rng).unwrap();
                prop_assert!(aws.decapsulate(&ct, ctx).unwrap().ct_eq(&sent));
                // Implicit rejection gives the same secret on both.
                let mut wrong = ct.as_bytes().to_vec();
                wrong[3] ^= 1;
                let wrong = Ciphertext::from_bytes(suite, &wrong).unwrap();
                prop_assert!(aws.decapsulate(&wrong, ctx).unwrap().ct_eq(&rust.decapsulate(&wrong, ctx).unwrap()));
                let confirm = sent.key_confirmation(aws.encapsulation_key(), &ct).unwrap();
                prop_assert_eq!(sent.check_confirmation(rust.encapsulation_key(), &ct, &confirm), Ok(()));
            }
        }

        #[test]
        fn the_backends_agree_on_signatures(seed in any::<[u8; 32]>(), message in proptest::collection::vec(any::<u8>(), 0..99)) {
            let mut rng = ChaCha12Rng::seed_from_u64(1);
            for algorithm in SignatureAlgorithm::ALL {
                let rust = SigningKey::from_seed(algorithm, &seed).unwrap();
                let aws = SigningKey::<AwsLc>::from_seed_in(algorithm, &seed).unwrap();
                prop_assert_eq!(aws.verifying_key().as_bytes(), rust.verifying_key().as_bytes());
                let signature = aws.sign(&message, &mut rng).unwrap();
                prop_assert_eq!(rust.verifying_key().verify(&message, &signature), Ok(()));
                let signature = rust.sign(&message, &mut rng).unwrap();
                prop_assert_eq!(aws.verifying_key().verify(&message, &signature), Ok(()));
                prop_assert!(aws.verifying_key().verify(b"another", &signature).is_err());
            }
        }
    }

    #[test]
    fn small_order_points_do_not_contribute() {
        let mut rng = ChaCha12Rng::seed_from_u64(1);
        for suite in [HybridSuite::XWing, HybridSuite::MlKem768X25519] {
            let key = DecapsulationKey::<AwsLc>::generate_in(suite, &mut rng).unwrap();
            for first in [0, 1] {
                let mut point = [0; 32];
                point[0] = first;
                let mut bytes = key.encapsulation_key().as_bytes().to_vec();
                let at = bytes.len() - 32;
                bytes[at..].copy_from_slice(&point);
                let ek = EncapsulationKey::<AwsLc>::from_bytes_in(suite, &bytes).unwrap();
                assert_eq!(ek.encapsulate(b"", &mut rng).err(), Some(Error::NonContributory));
                let mut bytes = vec![0; suite.ciphertext_len()];
                let at = bytes.len() - 32;
                bytes[at..].copy_from_slice(&point);
                let ct = Ciphertext::from_bytes(suite, &bytes).unwrap();
                assert_eq!(key.decapsulate(&ct, b"").err(), Some(Error::NonContributory));
            }
        }
    }

    #[test]
    fn what_the_module_does_not_offer_is_refused() {
        let mut rng = ChaCha12Rng::seed_from_u64(1);
        let key = SigningKey::<AwsLc>::generate_in(SignatureAlgorithm::MlDsa44, &mut rng).unwrap();
        let context = Context::new(b"x").unwrap();
        let unsupported = Err(Error::Unsupported { what: "a context" });
        assert_eq!(key.sign_with_context(b"m", &context, &mut rng), unsupported);
        let signature: Signature = key.sign_with_rng(&mut rng, b"m");
        let got = key.verifying_key().verify_with_context(b"m", &context, &signature);
        assert_eq!(got, Err(Error::Unsupported { what: "a context" }));
        let long = VerifyingKey::<AwsLc>::from_bytes_in(SignatureAlgorithm::MlDsa44, &[0; 1313]);
        assert!(matches!(long, Err(Error::InvalidLength { expected: 1312, actual: 1313, .. })));
        // This build is no FIPS build, and FIPS mode without one is an error.
        assert!(!hanzo_pqc::backend::fips_module());
    }

    #[test]
    fn an_expanded_key_is_checked_by_us() {
        let long = DecapsulationKey::<AwsLc>::from_expanded_in(HybridSuite::MlKem768, &[0; 2400]);
        assert_eq!(long.err(), Some(Error::InvalidKey), "the module would take it");
        let short = DecapsulationKey::<AwsLc>::from_expanded_in(HybridSuite::MlKem768, &[0; 2399]);
        assert!(matches!(short.err(), Some(Error::InvalidLength { expected: 2400, .. })));
    }

    #[test]
    fn an_envelope_crosses_over() {
        let mut rng = ChaCha12Rng::seed_from_u64(1);
        let tier = PrivacyTier::CpuTee;
        let key = DecapsulationKey::<AwsLc>::generate_in(tier.suite(), &mut rng).unwrap();
        let rust = DecapsulationKey::from_seed(tier.suite(), key.expose_seed().unwrap()).unwrap();
        let header = EnvelopeHeader::new(tier, tier.suite(), KeyId::new("id").unwrap()).unwrap();
        let dek = Dek::generate(&mut rng);
        for sealed in [
            Envelope::seal(header.clone(), key.encapsulation_key(), &dek, &mut rng).unwrap(),
            Envelope::seal(header.clone(), rust.encapsulation_key(), &dek, &mut rng).unwrap(),
        ] {
            assert!(sealed.open(&key).unwrap().ct_eq(&dek));
            assert!(sealed.open(&rust).unwrap().ct_eq(&dek));
        }
        assert!(!format!("{key:?}").contains("165"));
    }
}
