//! The backend `AwsLc` beside aws-lc-rs itself. Both draw from the module's own generator.

use std::hint::black_box;

use aws_lc_rs::agreement::{self, UnparsedPublicKey, X25519};
use aws_lc_rs::kem;
use aws_lc_rs::signature::{
    KeyPair, ML_DSA_44, ML_DSA_44_SIGNING, ML_DSA_65, ML_DSA_65_SIGNING, ML_DSA_87, ML_DSA_87_SIGNING, ParsedPublicKey,
    PqdsaKeyPair,
};
use criterion::{BatchSize, Criterion, criterion_group};
use hanzo_pqc::backend::AwsLc;
use hanzo_pqc::{DecapsulationKey, HybridSuite, SignatureAlgorithm, SigningKey};
use rand_chacha::ChaCha12Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

use super::{message, rng};

fn kem(c: &mut Criterion) {
    let levels = [
        (HybridSuite::MlKem512, &kem::ML_KEM_512),
        (HybridSuite::MlKem768, &kem::ML_KEM_768),
        (HybridSuite::MlKem1024, &kem::ML_KEM_1024),
    ];
    for (suite, algorithm) in levels {
        let mut rng = rng();
        let id = |op: &str, who: &str| format!("kem::{op}/suite={suite} impl={who}");
        let dk = DecapsulationKey::<AwsLc>::generate_in(suite, &mut rng).expect("key");
        let peer = kem::DecapsulationKey::generate(algorithm).expect("key");
        let peer_ek = peer.encapsulation_key().expect("key");
        c.bench_function(&id("encapsulate", "hanzo-aws-lc"), |b| {
            b.iter(|| dk.encapsulation_key().encapsulate(&[], &mut rng));
        });
        c.bench_function(&id("encapsulate", "aws-lc-rs"), |b| b.iter(|| peer_ek.encapsulate()));
        let (ct, _) = dk.encapsulation_key().encapsulate(&[], &mut rng).expect("encapsulate");
        c.bench_function(&id("decapsulate", "hanzo-aws-lc"), |b| b.iter(|| dk.decapsulate(black_box(&ct), &[])));
        let (peer_ct, _) = peer_ek.encapsulate().expect("encapsulate");
        c.bench_function(&id("decapsulate", "aws-lc-rs"), |b| {
            b.iter(|| peer.decapsulate(black_box(peer_ct.as_ref()).into()));
        });
    }
}

fn dsa(c: &mut Criterion) {
    let levels = [
        (SignatureAlgorithm::MlDsa44, &ML_DSA_44_SIGNING, &ML_DSA_44),
        (SignatureAlgorithm::MlDsa65, &ML_DSA_65_SIGNING, &ML_DSA_65),
        (SignatureAlgorithm::MlDsa87, &ML_DSA_87_SIGNING, &ML_DSA_87),
    ];
    for (algorithm, signing, verifying) in levels {
        let mut rng = rng();
        let id = |op: &str, who: &str| format!("dsa::{op}/algorithm={algorithm} impl={who}");
        let key = SigningKey::<AwsLc>::from_seed_in(algorithm, &[7; 32]).expect("seed");
        let peer = PqdsaKeyPair::from_seed(signing, &[7; 32]).expect("seed");
        let mut messages = ChaCha12Rng::seed_from_u64(1);
        c.bench_function(&id("sign", "hanzo-aws-lc"), |b| {
            b.iter_batched(|| message(&mut messages), |message| key.sign(&message, &mut rng), BatchSize::SmallInput);
        });
        let mut messages = ChaCha12Rng::seed_from_u64(1);
        c.bench_function(&id("sign", "aws-lc-rs"), |b| {
            b.iter_batched(
                || message(&mut messages),
                |message| {
                    let mut signature = vec![0; signing.signature_len()];
                    peer.sign(&message, &mut signature).map(|_| signature)
                },
                BatchSize::SmallInput,
            );
        });
        let message = message(&mut messages);
        let signature = key.sign(&message, &mut rng).expect("sign");
        c.bench_function(&id("verify", "hanzo-aws-lc"), |b| {
            b.iter(|| key.verifying_key().verify(black_box(&message), &signature));
        });
        let public = ParsedPublicKey::new(verifying, peer.public_key().as_ref()).expect("key");
        c.bench_function(&id("verify", "aws-lc-rs"), |b| {
            b.iter(|| public.verify_sig(black_box(&message), signature.as_bytes()));
        });
    }
}

/// The hybrid beside the sum of its parts.
fn hybrid(c: &mut Criterion) {
    let mut rng = rng();
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
    c.bench_function("hybrid::encapsulate/suite=0xF002 impl=hanzo-aws-lc", |b| {
        b.iter(|| dk.encapsulation_key().encapsulate(&[], &mut rng));
    });
    c.bench_function("hybrid::encapsulate/suite=0xF002 impl=aws-lc-rs-parts", |b| {
        b.iter(|| {
            let mut secret = [0; 32];
            rng.fill_bytes(&mut secret);
            let ephemeral = agreement::PrivateKey::from_private_key(&X25519, &secret).expect("key");
            let shared = agree(&ephemeral);
            (peer_ek.encapsulate(), ephemeral.compute_public_key(), shared)
        });
    });
    let (ct, _) = dk.encapsulation_key().encapsulate(&[], &mut rng).expect("encapsulate");
    let (peer_ct, _) = peer_ek.encapsulate().expect("encapsulate");
    c.bench_function("hybrid::decapsulate/suite=0xF002 impl=hanzo-aws-lc", |b| {
        b.iter(|| dk.decapsulate(black_box(&ct), &[]));
    });
    c.bench_function("hybrid::decapsulate/suite=0xF002 impl=aws-lc-rs-parts", |b| {
        b.iter(|| (peer.decapsulate(black_box(peer_ct.as_ref()).into()), agree(&fixed)));
    });
}

criterion_group!(benches, kem, dsa, hybrid);
