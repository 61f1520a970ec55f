//! Accumulated vectors: many keys, ciphertexts and signatures from one stream of SHAKE-128, their hash compared at the end.
//!
//! ML-DSA and the method are C2SP/CCTV's. CCTV's hashes for ML-KEM are of a draft of FIPS 203; the one here for ML-KEM-768 is that of the Go
//! standard library (`crypto/mlkem`, `TestAccumulated`), those for -512 and -1024 are what PQClean, kyber-py and CIRCL agree on.

use hanzo_pqc::{Ciphertext, DecapsulationKey, HybridSuite, SignatureAlgorithm, SigningKey};
use shake::{ExtendableOutput, Shake128, Update, XofReader};

fn digest(hash: Shake128) -> String {
    let mut out = [0; 32];
    hash.finalize_xof().read(&mut out);
    hex::encode(out)
}

/// Seed, m and a random ciphertext in; key, ciphertext, secret and implicit-rejection secret out.
fn ml_kem(suite: HybridSuite, rounds: usize) -> String {
    let mut stream = Shake128::default().finalize_xof();
    let mut out = Shake128::default();
    let (mut seed, mut m, mut random) = ([0; 64], [0; 32], vec![0; suite.ciphertext_len()]);
    for round in 0..rounds {
        stream.read(&mut seed);
        let key = DecapsulationKey::from_seed(suite, &seed).unwrap();
        out.update(key.encapsulation_key().as_bytes());
        stream.read(&mut m);
        let (ciphertext, sent) = key.encapsulation_key().encapsulate_derandomized(&[], &m).unwrap();
        out.update(ciphertext.as_bytes());
        out.update(sent.expose_bytes());
        assert!(key.decapsulate(&ciphertext, &[]).unwrap().ct_eq(&sent), "round {round}");
        stream.read(&mut random);
        let random = Ciphertext::from_bytes(suite, &random).unwrap();
        out.update(key.decapsulate(&random, &[]).unwrap().expose_bytes());
        #[cfg(feature = "aws-lc")]
        {
            let other = DecapsulationKey::<hanzo_pqc::backend::AwsLc>::from_seed_in(suite, &seed).unwrap();
            assert!(other.decapsulate(&ciphertext, &[]).unwrap().ct_eq(&sent), "round {round}");
            let rejected = other.decapsulate(&random, &[]).unwrap();
            assert!(rejected.ct_eq(&key.decapsulate(&random, &[]).unwrap()), "round {round}");
        }
    }
    digest(out)
}

/// Seed in; key and deterministic signature of the empty message out.
fn ml_dsa(algorithm: SignatureAlgorithm, rounds: usize) -> String {
    let mut stream = Shake128::default().finalize_xof();
    let mut out = Shake128::default();
    let mut seed = [0; 32];
    for round in 0..rounds {
        stream.read(&mut seed);
        let key = SigningKey::from_seed(algorithm, &seed).unwrap();
        out.update(key.verifying_key().as_bytes());
        let signature = key.sign_deterministic(&[]).unwrap();
        out.update(signature.as_bytes());
        assert_eq!(key.verifying_key().verify(&[], &signature), Ok(()), "round {round}");
    }
    digest(out)
}

#[test]
fn a_hundred_rounds() {
    for (suite, expected) in [
        (HybridSuite::MlKem512, "86b1b4703b8ffef6f7f3290c6dbce4ad954498a0673ded401a94828e8c519a59"),
        (HybridSuite::MlKem768, "1114b1b6699ed191734fa339376afa7e285c9e6acf6ff0177d346696ce564415"),
        (HybridSuite::MlKem1024, "800018fec3e2723f73f1d657fe239b4d5d8782efaade297e8cd448e54cc2ac00"),
    ] {
        assert_eq!(ml_kem(suite, 100), expected, "{suite}");
    }
    for (algorithm, expected) in [
        (SignatureAlgorithm::MlDsa44, "d51148e1f9f4fa1a723a6cf42e25f2a99eb5c1b378b3d2dbbd561b1203beeae4"),
        (SignatureAlgorithm::MlDsa65, "8358a1843220194417cadbc2651295cd8fc65125b5a5c1a239a16dc8b57ca199"),
        (SignatureAlgorithm::MlDsa87, "8c3ad714777622b8f21ce31bb35f71394f23bc0fcf3c78ace5d608990f3b061b"),
    ] {
        assert_eq!(ml_dsa(algorithm, 100), expected, "{algorithm}");
    }
}

#[test]
#[ignore = "a minute of work: cargo test --release -p hanzo-pqc --features hazmat --test all accumulated:: -- --ignored"]
fn ten_thousand_rounds_of_ml_kem() {
    for (suite, expected) in [
        (HybridSuite::MlKem512, "e0112db334d4240ca6feed5b0beab1318925edd4ff7d840c2ebe6d61971fc14c"),
        (HybridSuite::MlKem768, "8a518cc63da366322a8e7a818c7a0d63483cb3528d34a4cf42f35d5ad73f22fc"),
        (HybridSuite::MlKem1024, "f1a3925c9cf8538bb104c56efb2f5ecb74cc3df25087460b73f6c873e96bcb6a"),
    ] {
        assert_eq!(ml_kem(suite, 10_000), expected, "{suite}");
    }
}

#[test]
#[ignore = "a minute of work: cargo test --release -p hanzo-pqc --features hazmat --test all accumulated:: -- --ignored"]
fn ten_thousand_rounds_of_ml_dsa() {
    for (algorithm, expected) in [
        (SignatureAlgorithm::MlDsa44, "e7fd21f6a59bcba60d65adc44404bb29a7c00e5d8d3ec06a732c00a306a7d143"),
        (SignatureAlgorithm::MlDsa65, "5ff5e196f0b830c3b10a9eb5358e7c98a3a20136cb677f3ae3b90175c3ace329"),
        (SignatureAlgorithm::MlDsa87, "80a8cf39317f7d0be0e24972c51ac152bd2a3e09bc0c32ce29dd82c4e7385e60"),
    ] {
        assert_eq!(ml_dsa(algorithm, 10_000), expected, "{algorithm}");
    }
}
