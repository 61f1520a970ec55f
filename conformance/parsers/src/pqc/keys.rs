//! Keys, signatures and ciphertexts in bytes and in files, the exchange in JSON, and `pqc.toml`.

use std::sync::LazyLock;

use hanzo_pqc::kbs::KbsConfig;
use hanzo_pqc::rand_core::SeedableRng;
use hanzo_pqc::{
    Ciphertext, CompositeAlgorithm, CompositeSignature, CompositeSigningKey, CompositeVerifyingKey, DecapsulationKey,
    EncapsulateRequest, EncapsulateResponse, EncapsulationKey, HybridSuite, PqcConfig, PrivacyTier, SignatureAlgorithm,
    SigningKey, VerifyingKey,
};
use rand_chacha::ChaCha12Rng;

use crate::{Parser, canonical};

/// An expanded ML-DSA-87 key has 47 KiB, ML-KEM tables less; a short input may make one.
const KEY_MEMORY: usize = 1 << 10;

pub(super) const PKCS8_KEM: Parser = Parser {
    name: "pqc/pkcs8_kem",
    samples: || vec![kem().to_pkcs8_der().expect("a seed").to_vec()],
    read: |bytes| match DecapsulationKey::from_pkcs8_der(bytes) {
        // Other forms than the seed are read, and only the seed form is written.
        Ok(key) => key.to_pkcs8_der().is_err() || DecapsulationKey::from_pkcs8_der(bytes).is_ok(),
        Err(_) => false,
    },
    memory: KEY_MEMORY,
};

pub(super) const PKCS8_DSA: Parser = Parser {
    name: "pqc/pkcs8_dsa",
    samples: || vec![dsa().to_pkcs8_der().expect("a seed").to_vec()],
    read: |bytes| match SigningKey::from_pkcs8_der(bytes) {
        Ok(key) => {
            let again = key.to_pkcs8_der().ok().map(|der| SigningKey::from_pkcs8_der(&der));
            assert!(again.is_none_or(|again| again.is_ok_and(|again| again.verifying_key() == key.verifying_key())));
            true
        }
        Err(_) => false,
    },
    memory: KEY_MEMORY,
};

pub(super) const PKCS8_COMPOSITE: Parser = Parser {
    name: "pqc/pkcs8_composite",
    samples: || vec![composite().to_pkcs8_der().expect("a seed").to_vec()],
    read: |bytes| {
        canonical(bytes, CompositeSigningKey::from_pkcs8_der(bytes), |key| key.to_pkcs8_der().expect("a seed").to_vec())
    },
    memory: KEY_MEMORY,
};

/// The first byte chooses whose.
pub(super) const SPKI: Parser = Parser {
    name: "pqc/spki",
    samples: || {
        let infos = [
            kem().encapsulation_key().to_spki_der().expect("a plain suite"),
            dsa().verifying_key().to_spki_der().expect("every algorithm has one"),
            composite().verifying_key().to_spki_der().expect("every algorithm has one"),
        ];
        (0_u8..).zip(infos).map(|(which, info)| [&[which], &info[..]].concat()).collect()
    },
    read: |bytes| {
        let Some((which, der)) = bytes.split_first() else { return false };
        match which {
            0 => canonical(der, EncapsulationKey::from_spki_der(der), |key: &EncapsulationKey| {
                key.to_spki_der().expect("a plain suite")
            }),
            1 => canonical(der, VerifyingKey::from_spki_der(der), |key: &VerifyingKey| {
                key.to_spki_der().expect("every algorithm has one")
            }),
            _ => canonical(der, CompositeVerifyingKey::from_spki_der(der), |key| {
                key.to_spki_der().expect("every algorithm has one")
            }),
        }
    },
    memory: KEY_MEMORY,
};

pub(super) const PEM: Parser = Parser {
    name: "pqc/pem",
    samples: || {
        vec![
            dsa().to_pkcs8_pem().expect("a seed").as_bytes().to_vec(),
            dsa().verifying_key().to_spki_pem().expect("every algorithm has one").into_bytes(),
        ]
    },
    read: |bytes| {
        let Ok(text) = std::str::from_utf8(bytes) else { return false };
        let private = SigningKey::from_pkcs8_pem(text);
        let public = VerifyingKey::<hanzo_pqc::backend::RustCrypto>::from_spki_pem(text);
        private.is_ok() || public.is_ok()
    },
    memory: KEY_MEMORY,
};

fn suite_key(suite: HybridSuite, bytes: &[u8]) -> bool {
    canonical(bytes, EncapsulationKey::from_bytes(suite, bytes), |key: &EncapsulationKey| key.as_bytes().to_vec())
}

/// A key, then a ciphertext, told apart by length; a ciphertext that is read is decapsulated.
pub(super) const X_WING: Parser = Parser {
    name: "pqc/x_wing",
    samples: || encapsulated(&X_WING_KEY),
    read: |bytes| encapsulation(&X_WING_KEY, bytes),
    memory: KEY_MEMORY,
};

pub(super) const P384: Parser = Parser {
    name: "pqc/mlkem1024_p384",
    samples: || encapsulated(&P384_KEY),
    read: |bytes| encapsulation(&P384_KEY, bytes),
    memory: KEY_MEMORY,
};

static X_WING_KEY: LazyLock<DecapsulationKey> =
    LazyLock::new(|| DecapsulationKey::from_seed(HybridSuite::XWing, &[5; 32]).expect("a seed"));
static P384_KEY: LazyLock<DecapsulationKey> = LazyLock::new(|| {
    let mut rng = ChaCha12Rng::seed_from_u64(5);
    DecapsulationKey::generate(HybridSuite::MlKem1024P384, &mut rng)
});

fn encapsulated(key: &DecapsulationKey) -> Vec<Vec<u8>> {
    let mut rng = ChaCha12Rng::seed_from_u64(6);
    let (ciphertext, _) = key.encapsulation_key().encapsulate(&[], &mut rng).expect("a good key");
    vec![key.encapsulation_key().as_bytes().to_vec(), ciphertext.as_bytes().to_vec()]
}

fn encapsulation(key: &DecapsulationKey, bytes: &[u8]) -> bool {
    match Ciphertext::from_bytes(key.suite(), bytes) {
        Ok(ciphertext) => key.decapsulate(&ciphertext, &[]).is_ok(),
        Err(_) => suite_key(key.suite(), bytes),
    }
}

pub(super) const COMPOSITE_KEY: Parser = Parser {
    name: "pqc/composite_key",
    samples: || vec![composite().verifying_key().as_bytes().to_vec()],
    read: |bytes| {
        let key = CompositeVerifyingKey::from_bytes(CompositeAlgorithm::MlDsa65Ed25519, bytes);
        canonical(bytes, key, |key| key.as_bytes().to_vec())
    },
    memory: KEY_MEMORY,
};

pub(super) const COMPOSITE_SIGNATURE: Parser = Parser {
    name: "pqc/composite_signature",
    samples: || vec![composite().sign_deterministic(b"message").expect("a key").as_bytes().to_vec()],
    read: |bytes| canonical(bytes, CompositeSignature::from_bytes(bytes), |signature| signature.as_bytes().to_vec()),
    memory: 64,
};

pub(super) const JSON_REQUEST: Parser = Parser {
    name: "pqc/json_request",
    samples: || vec![request().to_json().into_bytes()],
    read: |bytes| {
        let Ok(text) = std::str::from_utf8(bytes) else { return false };
        let Ok(request) = EncapsulateRequest::from_json(text) else { return false };
        assert_eq!(EncapsulateRequest::from_json(&request.to_json()), Ok(request), "written JSON reads otherwise");
        true
    },
    memory: KEY_MEMORY,
};

pub(super) const JSON_RESPONSE: Parser = Parser {
    name: "pqc/json_response",
    samples: || {
        let (response, _) = request().encapsulate(&mut ChaCha12Rng::seed_from_u64(6)).expect("a good key");
        vec![response.to_json().into_bytes()]
    },
    read: |bytes| {
        let Ok(text) = std::str::from_utf8(bytes) else { return false };
        EncapsulateResponse::from_json(PrivacyTier::CpuTee.suite(), text).is_ok()
    },
    memory: 64,
};

pub(super) const CONFIG: Parser = Parser {
    name: "pqc/config",
    samples: || {
        vec![b"[pqc]\ndefault_kem = \"ML-KEM-1024\"\nhybrid_mode = true\n\n[kbs]\ngpu_cc_enabled = false\n".to_vec()]
    },
    read: |bytes| {
        let Ok(text) = std::str::from_utf8(bytes) else { return false };
        let kbs = KbsConfig::from_toml(text).is_ok();
        let pqc = PqcConfig::from_toml(text).is_ok();
        assert!(kbs || !pqc, "a file is read for one section and refused for the other");
        pqc
    },
    memory: KEY_MEMORY,
};

fn kem() -> DecapsulationKey {
    DecapsulationKey::from_seed(HybridSuite::MlKem768, &[7; 64]).expect("a seed")
}

fn dsa() -> SigningKey {
    SigningKey::from_seed(SignatureAlgorithm::MlDsa65, &[7; 32]).expect("a seed")
}

fn composite() -> CompositeSigningKey {
    CompositeSigningKey::from_seed(CompositeAlgorithm::MlDsa65Ed25519, &[7; 64]).expect("a seed")
}

fn request() -> EncapsulateRequest {
    let key = DecapsulationKey::from_seed(PrivacyTier::CpuTee.suite(), &[7; 96]).expect("a seed");
    EncapsulateRequest::new(key.encapsulation_key().clone(), PrivacyTier::CpuTee).expect("the tier's suite")
}
