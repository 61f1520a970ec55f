//! Composite signatures: the draft's vectors, our own, and everything that must be refused.

use crate::support::data::{bytes, cases, load};
use base64ct::{Base64, Encoding};
use hanzo_pqc::{
    CompositeAlgorithm, CompositeSignature, CompositeSigningKey, CompositeVerifyingKey, Context, Error, SigningKey,
};

const ED25519: [CompositeAlgorithm; 2] = [CompositeAlgorithm::MlDsa44Ed25519, CompositeAlgorithm::MlDsa65Ed25519];

#[test]
fn computed_vectors() {
    let Some(file) = load("computed/composite.json") else {
        return;
    };
    for case in cases(&file) {
        let algorithm = CompositeAlgorithm::from_name(case["name"].as_str().unwrap()).unwrap();
        let key = CompositeSigningKey::from_seed(algorithm, &bytes(case, "seed")).unwrap();
        assert_eq!(key.verifying_key().as_bytes(), bytes(case, "public_key"));
        let (message, ctx) = (bytes(case, "message"), bytes(case, "ctx"));
        let context = Context::new(&ctx).unwrap();
        let signature = key.sign_deterministic_with_context(&message, &context).unwrap();
        assert_eq!(signature.as_bytes(), bytes(case, "signature_deterministic"));
        let read = CompositeVerifyingKey::from_bytes(algorithm, &bytes(case, "public_key")).unwrap();
        assert_eq!(read.verify_with_context(&message, &context, &signature), Ok(()));
    }
    assert_eq!(cases(&file).len(), 4);
}

/// Keys, signatures and PKCS#8 of draft-ietf-lamps-pq-composite-sigs, and those of ML-DSA alone in the same file.
#[test]
fn lamps_vectors() {
    let Some(file) = load("lamps/composite_sigs.json") else {
        return;
    };
    let field = |value: &serde_json::Value| Base64::decode_vec(value.as_str().unwrap()).unwrap();
    let (message, ctx) = (field(&file["m"]), field(&file["ctx"]));
    let context = Context::new(&ctx).unwrap();
    let mut counts = (0, 0);
    for case in file["tests"].as_array().unwrap() {
        let name = case["tcId"].as_str().unwrap().trim_start_matches("id-");
        let (pk, sk) = (field(&case["pk"]), field(&case["sk"]));
        let (plain, under) = (field(&case["s"]), field(&case["sWithContext"]));
        if let Ok(algorithm) = hanzo_pqc::SignatureAlgorithm::from_name(name) {
            let key = SigningKey::from_seed(algorithm, &sk).unwrap();
            assert_eq!(key.verifying_key().as_bytes(), pk, "{name}");
            let (plain, under) = (plain.as_slice().try_into().unwrap(), under.as_slice().try_into().unwrap());
            assert_eq!(key.verifying_key().verify(&message, &plain), Ok(()), "{name}");
            assert_eq!(key.verifying_key().verify_with_context(&message, &context, &under), Ok(()), "{name}");
            counts.0 += 1;
            continue;
        }
        let algorithm = CompositeAlgorithm::from_name(name).unwrap();
        let key = CompositeSigningKey::from_seed(algorithm, &sk).unwrap();
        assert_eq!(key.verifying_key().as_bytes(), pk, "{name}");
        let (plain, under) = (plain.as_slice().try_into().unwrap(), under.as_slice().try_into().unwrap());
        assert_eq!(key.verifying_key().verify(&message, &plain), Ok(()), "{name}");
        assert_eq!(key.verifying_key().verify_with_context(&message, &context, &under), Ok(()), "{name}");
        assert_eq!(key.verifying_key().verify(&message, &under), Err(Error::InvalidSignature), "{name}");
        counts.1 += 1;
    }
    assert_eq!(counts, (3, 2));
}

#[test]
fn every_bit_of_a_signature_counts() {
    let key = CompositeSigningKey::from_seed(CompositeAlgorithm::MlDsa65Ed25519, &[3; 64]).unwrap();
    let mut bytes = key.sign_deterministic(b"m").unwrap().as_bytes().to_vec();
    for bit in 0..bytes.len() * 8 {
        bytes[bit / 8] ^= 1 << (bit % 8);
        let flipped = CompositeSignature::from_bytes(&bytes).unwrap();
        assert_eq!(key.verifying_key().verify(b"m", &flipped), Err(Error::InvalidSignature), "bit {bit}");
        bytes[bit / 8] ^= 1 << (bit % 8);
    }
    let same = CompositeSignature::from_bytes(&bytes).unwrap();
    assert_eq!(key.verifying_key().verify(b"m", &same), Ok(()));
}

#[test]
fn wrong_lengths_and_weak_keys() {
    for algorithm in CompositeAlgorithm::ALL.iter().copied() {
        let (seed, key, signature) = (algorithm.seed_len(), algorithm.verifying_key_len(), algorithm.signature_len());
        for delta in [-1_isize, 1] {
            let off = |len: usize| len.saturating_add_signed(delta);
            let got = CompositeSigningKey::from_seed(algorithm, &vec![0; off(seed)]).err();
            assert!(matches!(got, Some(Error::InvalidLength { expected, .. }) if expected == seed));
            let got = CompositeVerifyingKey::from_bytes(algorithm, &vec![0; off(key)]).err();
            assert!(matches!(got, Some(Error::InvalidLength { expected, .. }) if expected == key));
            assert_eq!(CompositeSignature::from_bytes(&vec![0; off(signature)]), Err(Error::InvalidSignature));
        }
        assert_eq!(CompositeAlgorithm::from_name(algorithm.name()), Ok(algorithm));
    }
    for algorithm in ED25519 {
        let mut bytes = vec![0; algorithm.verifying_key_len()];
        let at = bytes.len() - 32;
        bytes[at] = 1;
        assert_eq!(CompositeVerifyingKey::from_bytes(algorithm, &bytes), Err(Error::InvalidKey), "the neutral element");
        bytes[at] = 2;
        assert_eq!(CompositeVerifyingKey::from_bytes(algorithm, &bytes), Err(Error::InvalidKey), "no point");
    }
}

/// A component of a composite signature is no signature of the component alone, and the other way round.
#[test]
fn components_do_not_cross_over() {
    let seed = [5; 64];
    let composite = CompositeSigningKey::from_seed(CompositeAlgorithm::MlDsa65Ed25519, &seed).unwrap();
    let alone = SigningKey::from_seed(hanzo_pqc::SignatureAlgorithm::MlDsa65, &seed[..32]).unwrap();
    let signature = composite.sign_deterministic(b"m").unwrap();
    let part = signature.as_bytes()[..3309].try_into().unwrap();
    assert_eq!(alone.verifying_key().verify(b"m", &part), Err(Error::InvalidSignature));
    let label = Context::new(b"COMPSIG-MLDSA65-Ed25519-SHA512").unwrap();
    assert_eq!(alone.verifying_key().verify_with_context(b"m", &label, &part), Err(Error::InvalidSignature));
    let mut forged = alone.sign_deterministic(b"m").unwrap().as_bytes().to_vec();
    forged.extend_from_slice(&signature.as_bytes()[3309..]);
    let forged = CompositeSignature::from_bytes(&forged).unwrap();
    assert_eq!(composite.verifying_key().verify(b"m", &forged), Err(Error::InvalidSignature));
    let under = composite.sign_deterministic_with_context(b"m", &Context::new(b"x").unwrap()).unwrap();
    assert_eq!(composite.verifying_key().verify(b"m", &under), Err(Error::InvalidSignature));
}

/// The construction is this crate's own: no vectors exist, so it is held to itself.
#[cfg(feature = "unstable-slh-dsa")]
#[test]
fn slh_dsa_composites_sign_and_verify() {
    let algorithm = CompositeAlgorithm::MlDsa65SlhDsaShake192s;
    let seed: Vec<u8> = (0..algorithm.seed_len()).map(|i| i as u8).collect();
    let key = CompositeSigningKey::from_seed(algorithm, &seed).unwrap();
    let signature = key.sign_deterministic(b"m").unwrap();
    assert_eq!(signature.as_bytes().len(), algorithm.signature_len());
    let read = CompositeVerifyingKey::from_bytes(algorithm, key.verifying_key().as_bytes()).unwrap();
    assert_eq!(read.verify(b"m", &signature), Ok(()));
    assert_eq!(read.verify(b"n", &signature), Err(Error::InvalidSignature));
    for at in [0, 3308, 3309, 3309 + 8000, signature.as_bytes().len() - 1] {
        let mut bytes = signature.as_bytes().to_vec();
        bytes[at] ^= 0x10;
        let flipped = CompositeSignature::from_bytes(&bytes).unwrap();
        assert_eq!(read.verify(b"m", &flipped), Err(Error::InvalidSignature), "byte {at}");
    }
}
