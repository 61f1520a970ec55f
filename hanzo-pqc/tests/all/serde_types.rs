//! Public types through `serde`: what is printed reads back, what is read is checked.

use hanzo_pqc::kbs::{Policy, Request};
use hanzo_pqc::rand_core::SeedableRng;
use hanzo_pqc::{
    Ciphertext, DecapsulationKey, Dek, EncapsulationKey, Envelope, EnvelopeHeader, HybridSuite, KemAlgorithm, KeyId,
    PrivacyTier, Signature, SignatureAlgorithm, SigningKey, VerifyingKey,
};
use rand_chacha::ChaCha12Rng;
use serde::Serialize;
use serde::de::DeserializeOwned;

fn round_trip<T: Serialize + DeserializeOwned + PartialEq + core::fmt::Debug>(value: &T) -> String {
    let text = serde_json::to_string(value).unwrap();
    assert_eq!(&serde_json::from_str::<T>(&text).unwrap(), value);
    text
}

#[test]
fn every_public_type_reads_back() {
    let mut rng = ChaCha12Rng::seed_from_u64(1);
    for algorithm in KemAlgorithm::ALL {
        assert_eq!(round_trip(&algorithm), format!("\"{algorithm}\""));
    }
    for algorithm in SignatureAlgorithm::ALL {
        assert_eq!(round_trip(&algorithm), format!("\"{algorithm}\""));
        let key = SigningKey::generate(algorithm, &mut rng);
        round_trip::<VerifyingKey>(key.verifying_key());
        round_trip(&key.sign(b"m", &mut rng).unwrap());
    }
    for suite in HybridSuite::ALL.iter().copied() {
        assert_eq!(round_trip(&suite), format!("\"{suite}\""));
        let key = DecapsulationKey::generate(suite, &mut rng);
        round_trip::<EncapsulationKey>(key.encapsulation_key());
        round_trip(&key.encapsulation_key().encapsulate(b"", &mut rng).unwrap().0);
    }
    for tier in PrivacyTier::ALL {
        assert_eq!(round_trip(&tier), tier.code().to_string());
    }
    let tier = PrivacyTier::CpuTee;
    let id = KeyId::new([0xFF, 0]).unwrap();
    assert_eq!(round_trip(&id), "\"/wA=\"");
    let key = DecapsulationKey::generate(tier.suite(), &mut rng);
    let header = EnvelopeHeader::new(tier, tier.suite(), id.clone()).unwrap();
    let dek = Dek::new(&[0xA5; 32]).unwrap();
    round_trip(&Envelope::seal(header, key.encapsulation_key(), &dek, &mut rng).unwrap());
    round_trip(&Request::new(tier, &[tier.suite()], vec![id]).unwrap());
    round_trip(&Policy::builder().tiers([tier]).build().unwrap());
}

#[test]
fn what_is_read_is_checked() {
    fn refused<T: DeserializeOwned + core::fmt::Debug>(text: &str) {
        assert!(serde_json::from_str::<T>(text).is_err(), "{text}");
    }
    refused::<KemAlgorithm>("\"ML-KEM-769\"");
    refused::<HybridSuite>("61442");
    refused::<PrivacyTier>("5");
    refused::<PrivacyTier>("\"CpuTee\"");
    refused::<KeyId>("\"\"");
    refused::<KeyId>("\"_wA=\"");
    refused::<Signature>("\"AAAA\"");
    refused::<Envelope>("\"AAAA\"");
    refused::<Ciphertext>("{\"algorithm\":\"X-Wing\",\"bytes\":\"AAAA\"}");
    refused::<VerifyingKey>("{\"algorithm\":\"ML-DSA-44\",\"bytes\":\"AAAA\"}");
    let key = DecapsulationKey::from_seed(HybridSuite::MlKem768, &[1; 64]).unwrap();
    let text = serde_json::to_string(key.encapsulation_key()).unwrap();
    assert!(serde_json::from_str::<EncapsulationKey>(&text).is_ok());
    refused::<EncapsulationKey>(&text.replace("ML-KEM-768", "ML-KEM-512"));
    refused::<EncapsulationKey>(&text.replace("\"bytes\"", "\"extra\":1,\"bytes\""));
    // A coefficient that is not reduced.
    let mut bytes = serde_json::from_str::<serde_json::Value>(&text).unwrap();
    bytes["bytes"] = serde_json::Value::String("////".repeat(394) + "//8=");
    refused::<EncapsulationKey>(&bytes.to_string());
}
