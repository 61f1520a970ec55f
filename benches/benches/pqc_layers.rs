//! What hanzo-pqc adds to the crates it stands on: each operation beside the same one of the crate below, in turns of about a millisecond, so
//! that both see the same machine. The shortest turn of each counts; the last column is the bound, and `missed` where it does not hold.
//!
//! `cargo bench -p hanzo-benches --bench pqc_layers --features aws-lc [-- TURNS]`

use std::hint::black_box;

use hanzo_benches::turns::Turns;
use hanzo_pqc::{DecapsulationKey, HybridSuite, SignatureAlgorithm, SigningKey, VerifyingKey};
use ml_dsa::signature::Keypair;
use ml_kem::kem::{Decapsulate, Encapsulate};
use rand_chacha::ChaCha12Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

#[cfg(feature = "aws-lc")]
#[path = "pqc/aws_lc_layers.rs"]
mod aws_lc_layers;

macro_rules! kem {
    ($turns:expr, $suite:expr, $peer:ty) => {{
        let (suite, mut rng, mut other) = ($suite, rng(), rng());
        let seed = [7; 64];
        let dk = DecapsulationKey::from_seed(suite, &seed).expect("seed");
        let peer = ml_kem::DecapsulationKey::<$peer>::from_seed(seed.into());
        $turns.compare(
            &format!("{suite} key from seed / ml-kem"),
            1.05,
            || DecapsulationKey::from_seed(suite, black_box(&seed)),
            || ml_kem::DecapsulationKey::<$peer>::from_seed(black_box(seed).into()),
        );
        $turns.compare(
            &format!("{suite} encapsulate / ml-kem"),
            1.05,
            || dk.encapsulation_key().encapsulate(&[], &mut rng),
            || peer.encapsulation_key().encapsulate_with_rng(&mut other),
        );
        let (ct, _) = dk.encapsulation_key().encapsulate(&[], &mut rng).expect("encapsulate");
        let (peer_ct, _) = peer.encapsulation_key().encapsulate_with_rng(&mut other);
        $turns.compare(
            &format!("{suite} decapsulate / ml-kem"),
            1.05,
            || dk.decapsulate(black_box(&ct), &[]),
            || peer.decapsulate(black_box(&peer_ct)),
        );
    }};
}

/// Signing is deterministic and of one message on both sides, so that both reject as often. A key of ours holds its public half.
macro_rules! dsa {
    ($turns:expr, $algorithm:expr, $peer:ty) => {{
        let algorithm = $algorithm;
        let key = SigningKey::from_seed(algorithm, &[7; 32]).expect("seed");
        let peer = ml_dsa::SigningKey::<$peer>::from_seed(&[7; 32].into());
        let expanded = ml_dsa::ExpandedSigningKey::<$peer>::from_seed(&[7; 32].into());
        let message = message();
        $turns.compare(
            &format!("{algorithm} key pair from seed / ml-dsa"),
            1.05,
            || SigningKey::from_seed(algorithm, black_box(&[7; 32])),
            || {
                let key = ml_dsa::SigningKey::<$peer>::from_seed(&black_box([7; 32]).into());
                let public = key.verifying_key();
                (key, public)
            },
        );
        $turns.compare(
            &format!("{algorithm} sign / ml-dsa"),
            1.05,
            || key.sign_deterministic(black_box(&message)),
            || expanded.sign_deterministic(black_box(&message), &[]).map(|signature| signature.encode()),
        );
        let signature = key.sign_deterministic(&message).expect("sign");
        let peer_key = peer.verifying_key();
        $turns.compare(
            &format!("{algorithm} verify / ml-dsa"),
            1.05,
            || key.verifying_key().verify(black_box(&message), &signature),
            || {
                let signature = ml_dsa::Signature::<$peer>::try_from(signature.as_bytes()).expect("signature");
                peer_key.verify_with_context(black_box(&message), &[], &signature)
            },
        );
    }};
}

fn main() {
    let turns = Turns::from_arguments(300);
    println!("{}", Turns::HEADER);
    kem!(turns, HybridSuite::MlKem512, ml_kem::MlKem512);
    kem!(turns, HybridSuite::MlKem768, ml_kem::MlKem768);
    kem!(turns, HybridSuite::MlKem1024, ml_kem::MlKem1024);
    dsa!(turns, SignatureAlgorithm::MlDsa44, ml_dsa::MlDsa44);
    dsa!(turns, SignatureAlgorithm::MlDsa65, ml_dsa::MlDsa65);
    dsa!(turns, SignatureAlgorithm::MlDsa87, ml_dsa::MlDsa87);
    kept_key(&turns);
    hybrid(&turns);
    x_wing(&turns);
    #[cfg(feature = "aws-lc")]
    aws_lc_layers::all(&turns);
}

fn rng() -> ChaCha12Rng {
    ChaCha12Rng::seed_from_u64(1)
}

fn message() -> [u8; 64] {
    let mut message = [0; 64];
    rng().fill_bytes(&mut message);
    message
}

/// What keeping a parsed key saves.
fn kept_key(turns: &Turns) {
    let algorithm = SignatureAlgorithm::MlDsa65;
    let key = SigningKey::from_seed(algorithm, &[7; 32]).expect("seed");
    let message = message();
    let signature = key.sign_deterministic(&message).expect("sign");
    let bytes = key.verifying_key().as_bytes();
    turns.compare(
        &format!("{algorithm} verify / parse and verify, both ours"),
        0.55,
        || key.verifying_key().verify(black_box(&message), &signature),
        || VerifyingKey::from_bytes(algorithm, bytes).map(|key| key.verify(black_box(&message), &signature)),
    );
}

/// The hybrid beside the plain sum of its parts.
fn hybrid(turns: &Turns) {
    let (mut rng, mut other) = (rng(), rng());
    let suite = HybridSuite::MlKem768X25519;
    let dk = DecapsulationKey::generate(suite, &mut rng);
    let peer = ml_kem::DecapsulationKey::<ml_kem::MlKem768>::from_seed([7; 64].into());
    let fixed = x25519_dalek::StaticSecret::from([9; 32]);
    let point = x25519_dalek::PublicKey::from(&fixed);
    turns.compare(
        &format!("{suite} encapsulate / parts"),
        1.10,
        || dk.encapsulation_key().encapsulate(&[], &mut rng),
        || {
            let pq = peer.encapsulation_key().encapsulate_with_rng(&mut other);
            let mut secret = [0; 32];
            other.fill_bytes(&mut secret);
            let ephemeral = x25519_dalek::StaticSecret::from(secret);
            (pq, x25519_dalek::PublicKey::from(&ephemeral), ephemeral.diffie_hellman(&point))
        },
    );
    let (ct, _) = dk.encapsulation_key().encapsulate(&[], &mut rng).expect("encapsulate");
    let (peer_ct, _) = peer.encapsulation_key().encapsulate_with_rng(&mut other);
    turns.compare(
        &format!("{suite} decapsulate / parts"),
        1.10,
        || dk.decapsulate(black_box(&ct), &[]),
        || (peer.decapsulate(black_box(&peer_ct)), fixed.diffie_hellman(black_box(&point))),
    );
}

/// The crate x-wing expands its seed at every decapsulation.
fn x_wing(turns: &Turns) {
    use x_wing::Decapsulator;
    let (mut rng, mut other) = (rng(), rng());
    let dk = DecapsulationKey::from_seed(HybridSuite::XWing, &[5; 32]).expect("seed");
    let peer = x_wing::DecapsulationKey::from([5; 32]);
    let (ct, _) = dk.encapsulation_key().encapsulate(&[], &mut rng).expect("encapsulate");
    let (peer_ct, _) = peer.encapsulation_key().encapsulate_with_rng(&mut other);
    turns.compare(
        "X-Wing decapsulate / x-wing",
        0.70,
        || dk.decapsulate(black_box(&ct), &[]),
        || peer.decapsulate(black_box(&peer_ct)),
    );
}
