//! The backend `AwsLc` beside aws-lc-rs itself.

use std::hint::black_box;

use aws_lc_rs::agreement::{self, UnparsedPublicKey, X25519};
use aws_lc_rs::kem;
use aws_lc_rs::signature::{
    KeyPair, ML_DSA_44, ML_DSA_44_SIGNING, ML_DSA_65, ML_DSA_65_SIGNING, ML_DSA_87, ML_DSA_87_SIGNING, ParsedPublicKey,
    PqdsaKeyPair,
};
use hanzo_pqc::backend::AwsLc;
use hanzo_pqc::{DecapsulationKey, HybridSuite, SignatureAlgorithm, SigningKey};
use rand_chacha::rand_core::Rng;

use hanzo_benches::turns::Turns;

use super::{message, rng};

pub(crate) fn all(turns: &Turns) {
    for (suite, algorithm) in [
        (HybridSuite::MlKem512, &kem::ML_KEM_512),
        (HybridSuite::MlKem768, &kem::ML_KEM_768),
        (HybridSuite::MlKem1024, &kem::ML_KEM_1024),
    ] {
        let mut rng = rng();
        let dk = DecapsulationKey::<AwsLc>::generate_in(suite, &mut rng).expect("key");
        let peer = kem::DecapsulationKey::generate(algorithm).expect("key");
        let peer_ek = peer.encapsulation_key().expect("key");
        turns.compare(
            &format!("{suite} encapsulate / aws-lc-rs"),
            1.05,
            || dk.encapsulation_key().encapsulate(&[], &mut rng),
            || peer_ek.encapsulate(),
        );
        let (ct, _) = dk.encapsulation_key().encapsulate(&[], &mut rng).expect("encapsulate");
        let (peer_ct, _) = peer_ek.encapsulate().expect("encapsulate");
        turns.compare(
            &format!("{suite} decapsulate / aws-lc-rs"),
            1.05,
            || dk.decapsulate(black_box(&ct), &[]),
            || peer.decapsulate(black_box(peer_ct.as_ref()).into()),
        );
    }
    for (algorithm, signing, verifying) in [
        (SignatureAlgorithm::MlDsa44, &ML_DSA_44_SIGNING, &ML_DSA_44),
        (SignatureAlgorithm::MlDsa65, &ML_DSA_65_SIGNING, &ML_DSA_65),
        (SignatureAlgorithm::MlDsa87, &ML_DSA_87_SIGNING, &ML_DSA_87),
    ] {
        let mut rng = rng();
        let key = SigningKey::<AwsLc>::from_seed_in(algorithm, &[7; 32]).expect("seed");
        let peer = PqdsaKeyPair::from_seed(signing, &[7; 32]).expect("seed");
        let message = message();
        // The module draws rnd itself: of many single calls the shortest is one without a rejection, on both sides.
        Turns(20 * turns.0).run(
            &format!("{algorithm} sign, no rejection / aws-lc-rs"),
            1.05,
            1,
            || key.sign(&message, &mut rng),
            || {
                let mut signature = vec![0; signing.signature_len()];
                peer.sign(&message, &mut signature).map(|_| signature)
            },
        );
        let signature = key.sign(&message, &mut rng).expect("sign");
        let public = ParsedPublicKey::new(verifying, peer.public_key().as_ref()).expect("key");
        turns.compare(
            &format!("{algorithm} verify / aws-lc-rs"),
            1.05,
            || key.verifying_key().verify(black_box(&message), &signature),
            || public.verify_sig(black_box(&message), signature.as_bytes()),
        );
    }
    hybrid(turns);
}

fn hybrid(turns: &Turns) {
    let (mut rng, mut other) = (rng(), rng());
    let suite = HybridSuite::MlKem768X25519;
    let dk = DecapsulationKey::<AwsLc>::generate_in(suite, &mut rng).expect("key");
    let peer = kem::DecapsulationKey::generate(&kem::ML_KEM_768).expect("key");
    let peer_ek = peer.encapsulation_key().expect("key");
    let fixed = agreement::PrivateKey::from_private_key(&X25519, &[9; 32]).expect("key");
    let point = fixed.compute_public_key().expect("key");
    let agree = |secret: &agreement::PrivateKey| {
        agreement::agree(secret, UnparsedPublicKey::new(&X25519, point.as_ref()), (), |shared| {
            Ok(<[u8; 32]>::try_from(shared).unwrap_or_default())
        })
    };
    turns.compare(
        &format!("{suite} encapsulate / aws-lc-rs parts"),
        1.10,
        || dk.encapsulation_key().encapsulate(&[], &mut rng),
        || {
            let mut secret = [0; 32];
            other.fill_bytes(&mut secret);
            let ephemeral = agreement::PrivateKey::from_private_key(&X25519, &secret).expect("key");
            let shared = agree(&ephemeral);
            (peer_ek.encapsulate(), ephemeral.compute_public_key(), shared)
        },
    );
    let (ct, _) = dk.encapsulation_key().encapsulate(&[], &mut rng).expect("encapsulate");
    let (peer_ct, _) = peer_ek.encapsulate().expect("encapsulate");
    turns.compare(
        &format!("{suite} decapsulate / aws-lc-rs parts"),
        1.10,
        || dk.decapsulate(black_box(&ct), &[]),
        || (peer.decapsulate(black_box(peer_ct.as_ref()).into()), agree(&fixed)),
    );
    let dalek = x25519_dalek::StaticSecret::from([9; 32]);
    let dalek_point = x25519_dalek::PublicKey::from(&dalek);
    turns.compare(
        &format!("{suite} decapsulate / one X25519 of dalek"),
        0.90,
        || dk.decapsulate(black_box(&ct), &[]),
        || dalek.diffie_hellman(black_box(&dalek_point)),
    );
}
