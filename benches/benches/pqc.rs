//! Post-quantum keys beside the crates they are built on: what suites, formats and the broker cost on top.

use criterion::{BatchSize, Criterion, criterion_group, criterion_main};
use hanzo_pqc::attestation::{SoftwareAttester, SoftwareVerifier, UnixTime};
use hanzo_pqc::kbs::{
    Broker, EvidenceMessage, KbsConfig, MemoryChallengeStore, MemoryKeyStore, Policy, Recipient, Release, Request,
};
use hanzo_pqc::{
    CompositeAlgorithm, CompositeSigningKey, DecapsulationKey, Dek, EncapsulationKey, Envelope, EnvelopeHeader,
    HybridSuite, KeyId, PrivacyTier, SignatureAlgorithm, SigningKey, VaultKey, VerifyingKey,
};
use ml_dsa::signature::Keypair;
use ml_kem::kem::{Decapsulate, Encapsulate};
use rand_chacha::ChaCha12Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};
use std::hint::black_box;

fn rng() -> ChaCha12Rng {
    ChaCha12Rng::seed_from_u64(1)
}

/// ML-KEM through a suite without X25519, beside the backend crate.
macro_rules! kem_level {
    ($c:expr, $suite:expr, $peer:ty) => {{
        let (c, suite, mut rng): (&mut Criterion, HybridSuite, _) = ($c, $suite, rng());
        let id = |op: &str, who: &str| format!("kem::{op}/suite={suite} impl={who}");
        let mut seed = [0; 64];
        rng.fill_bytes(&mut seed);
        let dk = DecapsulationKey::from_seed(suite, &seed).expect("seed");
        let peer = ml_kem::DecapsulationKey::<$peer>::from_seed(seed.into());
        c.bench_function(&id("from_seed", "hanzo"), |b| {
            b.iter(|| DecapsulationKey::from_seed(suite, black_box(&seed)));
        });
        c.bench_function(&id("from_seed", "ml-kem"), |b| {
            b.iter(|| ml_kem::DecapsulationKey::<$peer>::from_seed(black_box(seed).into()));
        });
        c.bench_function(&id("encapsulate", "hanzo"), |b| {
            b.iter(|| dk.encapsulation_key().encapsulate(&[], &mut rng));
        });
        c.bench_function(&id("encapsulate", "ml-kem"), |b| {
            b.iter(|| peer.encapsulation_key().encapsulate_with_rng(&mut rng));
        });
        let (ct, _) = dk.encapsulation_key().encapsulate(&[], &mut rng).expect("encapsulate");
        let (peer_ct, _) = peer.encapsulation_key().encapsulate_with_rng(&mut rng);
        c.bench_function(&id("decapsulate", "hanzo"), |b| {
            b.iter(|| dk.decapsulate(black_box(&ct), &[]));
        });
        c.bench_function(&id("decapsulate", "ml-kem"), |b| {
            b.iter(|| peer.decapsulate(black_box(&peer_ct)));
        });
    }};
}

fn kem(c: &mut Criterion) {
    kem_level!(c, HybridSuite::MlKem512, ml_kem::MlKem512);
    kem_level!(c, HybridSuite::MlKem768, ml_kem::MlKem768);
    kem_level!(c, HybridSuite::MlKem1024, ml_kem::MlKem1024);
}

/// ML-DSA beside the backend crate. Signing is the mean over fresh messages: rejection sampling makes its time geometric.
macro_rules! dsa_level {
    ($c:expr, $algorithm:expr, $peer:ty) => {{
        let (c, algorithm, mut rng): (&mut Criterion, SignatureAlgorithm, _) = ($c, $algorithm, rng());
        let id = |op: &str, who: &str| format!("dsa::{op}/algorithm={algorithm} impl={who}");
        let seed = [7; 32];
        let key = SigningKey::from_seed(algorithm, &seed).expect("seed");
        let peer = ml_dsa::SigningKey::<$peer>::from_seed(&seed.into());
        let peer_expanded = ml_dsa::ExpandedSigningKey::<$peer>::from_seed(&seed.into());
        c.bench_function(&id("from_seed", "hanzo"), |b| {
            b.iter(|| SigningKey::from_seed(algorithm, black_box(&seed)));
        });
        c.bench_function(&id("from_seed", "ml-dsa"), |b| {
            b.iter(|| ml_dsa::SigningKey::<$peer>::from_seed(&black_box(seed).into()));
        });
        let mut messages = rng.clone();
        c.bench_function(&id("sign", "hanzo"), |b| {
            b.iter_batched(|| message(&mut messages), |message| key.sign(&message, &mut rng), BatchSize::SmallInput);
        });
        let mut messages = ChaCha12Rng::seed_from_u64(1);
        c.bench_function(&id("sign", "ml-dsa"), |b| {
            b.iter_batched(
                || message(&mut messages),
                |message| {
                    let signature = peer_expanded.sign_randomized(&message, &[], &mut rng);
                    signature.map(|signature| signature.encode())
                },
                BatchSize::SmallInput,
            );
        });
        let message = message(&mut rng);
        let signature = key.sign_deterministic(&message).expect("sign");
        let vk = key.verifying_key();
        c.bench_function(&id("verify", "hanzo"), |b| {
            b.iter(|| vk.verify(black_box(&message), &signature));
        });
        c.bench_function(&id("parse_and_verify", "hanzo"), |b| {
            b.iter(|| {
                let vk = VerifyingKey::from_bytes(algorithm, vk.as_bytes()).expect("key");
                vk.verify(black_box(&message), &signature)
            });
        });
        let peer_vk = peer.verifying_key();
        let encoded = signature.as_bytes();
        c.bench_function(&id("verify", "ml-dsa"), |b| {
            b.iter(|| {
                let signature = ml_dsa::Signature::<$peer>::try_from(encoded).expect("signature");
                peer_vk.verify_with_context(black_box(&message), &[], &signature)
            });
        });
    }};
}

fn message(rng: &mut ChaCha12Rng) -> [u8; 64] {
    let mut message = [0; 64];
    rng.fill_bytes(&mut message);
    message
}

fn dsa(c: &mut Criterion) {
    dsa_level!(c, SignatureAlgorithm::MlDsa44, ml_dsa::MlDsa44);
    dsa_level!(c, SignatureAlgorithm::MlDsa65, ml_dsa::MlDsa65);
    dsa_level!(c, SignatureAlgorithm::MlDsa87, ml_dsa::MlDsa87);
}

/// The hybrid beside the plain sum of its parts: an ML-KEM operation, and what X25519 does for it.
fn hybrid(c: &mut Criterion) {
    let mut rng = rng();
    let suite = HybridSuite::MlKem768X25519;
    let dk = DecapsulationKey::generate(suite, &mut rng);
    let seed: [u8; 64] = [5; 64];
    let peer = ml_kem::DecapsulationKey::<ml_kem::MlKem768>::from_seed(seed.into());
    let fixed = x25519_dalek::StaticSecret::from([9; 32]);
    let point = x25519_dalek::PublicKey::from(&fixed);
    c.bench_function("hybrid::encapsulate/suite=0xF002 impl=hanzo", |b| {
        b.iter(|| dk.encapsulation_key().encapsulate(&[], &mut rng));
    });
    c.bench_function("hybrid::encapsulate/suite=0xF002 impl=parts", |b| {
        b.iter(|| {
            let pq = peer.encapsulation_key().encapsulate_with_rng(&mut rng);
            let mut secret = [0; 32];
            rng.fill_bytes(&mut secret);
            let ephemeral = x25519_dalek::StaticSecret::from(secret);
            let public = x25519_dalek::PublicKey::from(&ephemeral);
            (pq, public, ephemeral.diffie_hellman(&point))
        });
    });
    let (ct, _) = dk.encapsulation_key().encapsulate(&[], &mut rng).expect("encapsulate");
    let (peer_ct, _) = peer.encapsulation_key().encapsulate_with_rng(&mut rng);
    c.bench_function("hybrid::decapsulate/suite=0xF002 impl=hanzo", |b| {
        b.iter(|| dk.decapsulate(black_box(&ct), &[]));
    });
    c.bench_function("hybrid::decapsulate/suite=0xF002 impl=parts", |b| {
        b.iter(|| (peer.decapsulate(black_box(&peer_ct)), fixed.diffie_hellman(&point)));
    });
    c.bench_function("hybrid::parse_key/suite=0xF002", |b| {
        let bytes = dk.encapsulation_key().as_bytes();
        b.iter(|| EncapsulationKey::from_bytes(suite, black_box(bytes)));
    });
}

fn envelope(c: &mut Criterion) {
    let mut rng = rng();
    let tier = PrivacyTier::CpuTee;
    let dk = DecapsulationKey::generate(tier.suite(), &mut rng);
    let id = KeyId::new("tenant-7/model-0").expect("id");
    let header = EnvelopeHeader::new(tier, tier.suite(), id.clone()).expect("header");
    for len in [32, 4096] {
        let dek = Dek::new(&vec![3; len]).expect("key");
        c.bench_function(&format!("envelope::seal/len={len}"), |b| {
            b.iter_batched(
                || header.clone(),
                |header| Envelope::seal(header, dk.encapsulation_key(), &dek, &mut rng),
                BatchSize::SmallInput,
            );
        });
        let sealed = Envelope::seal(header.clone(), dk.encapsulation_key(), &dek, &mut rng);
        let sealed = sealed.expect("seal");
        c.bench_function(&format!("envelope::open/len={len}"), |b| {
            b.iter(|| sealed.open(&dk));
        });
        let bytes = sealed.to_bytes();
        c.bench_function(&format!("envelope::from_bytes/len={len}"), |b| {
            b.iter(|| Envelope::from_bytes(black_box(&bytes)));
        });
        let vault = VaultKey::generate(&mut rng);
        let stored = EnvelopeHeader::vault(tier, id.clone());
        let stored = Envelope::seal_vault(stored, &vault, &dek, &mut rng).expect("seal");
        c.bench_function(&format!("envelope::open_vault/len={len}"), |b| {
            b.iter(|| stored.open_vault(&vault));
        });
    }
}

type SoftwareBroker = Broker<SoftwareVerifier, MemoryKeyStore>;

/// A broker at tier 1 with `keys` data keys, and what its recipients need.
struct World {
    broker: SoftwareBroker,
    recipient: Recipient,
    attester: SoftwareAttester,
    rng: ChaCha12Rng,
}

const NOW: UnixTime = UnixTime::from_seconds(1_800_000_000);

impl World {
    fn new(keys: usize) -> Self {
        let mut rng = rng();
        let tier = PrivacyTier::AtRest;
        let algorithm = SignatureAlgorithm::MlDsa65;
        let attester = SoftwareAttester::new(SigningKey::generate(algorithm, &mut rng), [4; 32]);
        let attester = attester.expect("attester");
        let policy = Policy::builder()
            .tiers([tier])
            .suites([tier.suite()])
            .software_keys([attester.key_digest()])
            .software_measurements([[4; 32]])
            .build()
            .expect("policy");
        let mut store = MemoryKeyStore::new(VaultKey::generate(&mut rng));
        let ids: Vec<_> = (0..keys).map(|i| KeyId::new(format!("key-{i}")).expect("id")).collect();
        for id in &ids {
            let dek = Dek::generate(&mut rng);
            store.put(id.clone(), &dek, policy.clone(), &mut rng).expect("put");
        }
        let signer = SigningKey::generate(algorithm, &mut rng);
        let pinned = signer.verifying_key().clone();
        let sessions = MemoryChallengeStore::with_limit(usize::MAX);
        let config = KbsConfig::new().software_evidence(true);
        let broker = Broker::new(config, signer, SoftwareVerifier, store, sessions);
        let request = Request::new(tier, &[tier.suite()], ids).expect("request");
        Self {
            broker: broker.expect("broker"),
            recipient: Recipient::new(request, pinned).expect("recipient"),
            attester,
            rng,
        }
    }

    fn session(&mut self) -> (hanzo_pqc::kbs::Challenged, EvidenceMessage) {
        let challenge = self.broker.challenge(NOW, self.recipient.request(), &mut self.rng).expect("challenge");
        let mut session = self.recipient.on_challenge(NOW, &challenge, &mut self.rng).expect("session");
        let evidence = self.attester.attest(session.binding(), &mut self.rng);
        let message = session.evidence(vec![evidence.expect("evidence")]);
        (session, message.expect("message"))
    }

    fn release(&mut self, message: &EvidenceMessage) -> Release {
        self.broker.release(NOW, message, &mut self.rng).expect("release")
    }
}

/// The whole broker: a release verifies one ML-DSA-65 statement, wraps each key and signs the receipt.
fn kbs(c: &mut Criterion) {
    for keys in [1, 16] {
        let world = std::cell::RefCell::new(World::new(keys));
        c.bench_function(&format!("kbs::challenge/keys={keys}"), |b| {
            let world = &mut *world.borrow_mut();
            b.iter(|| world.broker.challenge(NOW, world.recipient.request(), &mut world.rng));
        });
        c.bench_function(&format!("kbs::release/keys={keys}"), |b| {
            b.iter_batched(
                || world.borrow_mut().session().1,
                |message| world.borrow_mut().release(&message),
                BatchSize::SmallInput,
            );
        });
        c.bench_function(&format!("kbs::open/keys={keys}"), |b| {
            b.iter_batched(
                || {
                    let world = &mut *world.borrow_mut();
                    let (session, message) = world.session();
                    (session, world.release(&message))
                },
                |(session, release)| session.open(&release).expect("open"),
                BatchSize::SmallInput,
            );
        });
    }
}

/// X-Wing with its expanded key kept, beside the crate that expands its seed at every decapsulation.
fn x_wing(c: &mut Criterion) {
    use x_wing::Decapsulator;
    let mut rng = rng();
    let suite = HybridSuite::XWing;
    let seed = [5; 32];
    let dk = DecapsulationKey::from_seed(suite, &seed).expect("seed");
    let peer = x_wing::DecapsulationKey::from(seed);
    c.bench_function("x_wing::from_seed/impl=hanzo", |b| {
        b.iter(|| DecapsulationKey::from_seed(suite, black_box(&seed)));
    });
    c.bench_function("x_wing::from_seed/impl=x-wing", |b| {
        b.iter(|| x_wing::DecapsulationKey::from(black_box(seed)));
    });
    c.bench_function("x_wing::encapsulate/impl=hanzo", |b| {
        b.iter(|| dk.encapsulation_key().encapsulate(&[], &mut rng));
    });
    c.bench_function("x_wing::encapsulate/impl=x-wing", |b| {
        b.iter(|| peer.encapsulation_key().encapsulate_with_rng(&mut rng));
    });
    let (ct, _) = dk.encapsulation_key().encapsulate(&[], &mut rng).expect("encapsulate");
    let (peer_ct, _) = peer.encapsulation_key().encapsulate_with_rng(&mut rng);
    c.bench_function("x_wing::decapsulate/impl=hanzo", |b| {
        b.iter(|| dk.decapsulate(black_box(&ct), &[]));
    });
    c.bench_function("x_wing::decapsulate/impl=x-wing", |b| {
        b.iter(|| peer.decapsulate(black_box(&peer_ct)));
    });
}

/// The composite beside the sum of its parts. Signing is the mean over fresh messages.
fn composite(c: &mut Criterion) {
    use ed25519_dalek::Signer;
    let mut rng = rng();
    let key = CompositeSigningKey::from_seed(CompositeAlgorithm::MlDsa65Ed25519, &[5; 64]).expect("seed");
    let part = SigningKey::from_seed(SignatureAlgorithm::MlDsa65, &[5; 32]).expect("seed");
    let second = ed25519_dalek::SigningKey::from_bytes(&[5; 32]);
    let mut messages = ChaCha12Rng::seed_from_u64(1);
    c.bench_function("composite::sign/impl=hanzo", |b| {
        b.iter_batched(|| message(&mut messages), |message| key.sign(&message, &mut rng), BatchSize::SmallInput);
    });
    let mut messages = ChaCha12Rng::seed_from_u64(1);
    c.bench_function("composite::sign/impl=parts", |b| {
        b.iter_batched(
            || message(&mut messages),
            |message| (part.sign(&message, &mut rng), second.sign(&message)),
            BatchSize::SmallInput,
        );
    });
    let message = message(&mut messages);
    let signature = key.sign_deterministic(&message).expect("sign");
    c.bench_function("composite::verify/impl=hanzo", |b| {
        b.iter(|| key.verifying_key().verify(black_box(&message), &signature));
    });
    let (first, other) = (part.sign_deterministic(&message).expect("sign"), second.sign(&message));
    let public = second.verifying_key();
    c.bench_function("composite::verify/impl=parts", |b| {
        b.iter(|| (part.verifying_key().verify(black_box(&message), &first), public.verify_strict(&message, &other)));
    });
}

#[cfg(feature = "aws-lc")]
#[path = "pqc/aws_lc.rs"]
mod aws_lc;

criterion_group!(benches, kem, dsa, hybrid, x_wing, composite, envelope, kbs);
#[cfg(feature = "aws-lc")]
criterion_main!(benches, aws_lc::benches);
#[cfg(not(feature = "aws-lc"))]
criterion_main!(benches);
