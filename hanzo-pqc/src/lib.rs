#![doc = include_str!("../README.md")]
#![cfg_attr(docsrs, feature(doc_cfg))]
#![cfg_attr(not(feature = "std"), no_std)]
#![forbid(unsafe_code)]

extern crate alloc;
#[cfg(all(test, not(feature = "std")))]
extern crate std;

#[cfg(any(feature = "composite", feature = "unstable-slh-dsa"))]
mod composite;
#[cfg(feature = "hybrid")]
mod config;
mod dsa;
#[cfg(feature = "hybrid")]
mod envelope;
mod error;
#[cfg(feature = "json")]
mod exchange;
#[cfg(feature = "hazmat")]
mod hazmat;
mod hybrid;
#[cfg(feature = "hybrid")]
mod kdf;
mod kem;
#[cfg(feature = "getrandom")]
mod os_rng;
#[cfg(feature = "pkcs8")]
mod pkcs8;
#[cfg(feature = "serde")]
mod serde_impls;
mod suite;
mod tier;
#[cfg(feature = "hybrid")]
mod wire;

pub mod backend;
pub mod typed;

#[cfg(feature = "kbs")]
#[cfg_attr(docsrs, doc(cfg(feature = "kbs")))]
pub mod attestation;
#[cfg(feature = "kbs")]
#[cfg_attr(docsrs, doc(cfg(feature = "kbs")))]
pub mod kbs;

#[cfg(any(feature = "composite", feature = "unstable-slh-dsa"))]
#[cfg_attr(docsrs, doc(cfg(any(feature = "composite", feature = "unstable-slh-dsa"))))]
pub use composite::{CompositeAlgorithm, CompositeSignature, CompositeSigningKey, CompositeVerifyingKey};
#[cfg(feature = "hybrid")]
#[cfg_attr(docsrs, doc(cfg(feature = "hybrid")))]
pub use config::PqcConfig;
pub use dsa::{Context, Signature, SignatureAlgorithm, SigningKey, VerifyingKey};
#[cfg(feature = "hybrid")]
#[cfg_attr(docsrs, doc(cfg(feature = "hybrid")))]
pub use envelope::{Aead, Dek, Envelope, EnvelopeHeader, KeyId, VaultKey};
pub use error::{Error, Result};
#[cfg(feature = "json")]
#[cfg_attr(docsrs, doc(cfg(feature = "json")))]
pub use exchange::{EncapsulateRequest, EncapsulateResponse, MAX_JSON_LEN};
pub use hybrid::{Ciphertext, DecapsulationKey, EncapsulationKey, SharedSecret};
#[cfg(feature = "hybrid")]
#[cfg_attr(docsrs, doc(cfg(feature = "hybrid")))]
pub use kdf::{KdfHash, derive};
pub use kem::KemAlgorithm;
#[cfg(feature = "getrandom")]
#[cfg_attr(docsrs, doc(cfg(feature = "getrandom")))]
pub use os_rng::OsRng;
pub use suite::HybridSuite;
pub use tier::{EvidenceRequirement, PrivacyTier};

pub use rand_core;
pub use signature;
