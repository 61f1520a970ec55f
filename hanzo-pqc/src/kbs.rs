//! The key broker: releases data keys to machines that prove what they are.
//!
//! ```text
//! recipient                       broker
//! Request            ──────────►  challenge(now, request)     one-time nonce, tier, suite, evidence wanted
//!                    ◄──────────  Challenge
//! on_challenge: key pair, binding = hash(request, challenge, public key)
//! evidence over the binding
//! EvidenceMessage    ──────────►  release(now, message)       burns the challenge, verifies, asks the policy of every key
//!                    ◄──────────  Release: envelopes and a signed receipt
//! open: receipt checked against the pinned broker key, then the envelopes opened
//! ```
//!
//! Nothing here has a clock, a socket or a generator: `now`, messages and randomness come in as arguments. A key without a policy is denied, an empty
//! policy denies, and all keys of a request are released or none. What went wrong stays with the operator as a [`KbsError`]; the recipient is told
//! [`KbsError::refusal`] only.
//!
//! ```
//! # #[cfg(feature = "getrandom")] {
//! use hanzo_pqc::attestation::{NoEvidence, UnixTime};
//! use hanzo_pqc::kbs::{Broker, KbsConfig, MemoryChallengeStore, MemoryKeyStore, Policy, Recipient, Request};
//! use hanzo_pqc::{Dek, HybridSuite, KeyId, OsRng, PrivacyTier, SignatureAlgorithm, SigningKey, VaultKey};
//!
//! let (tier, now) = (PrivacyTier::AtRest, UnixTime::from_seconds(1_800_000_000));
//! let signer = SigningKey::generate(SignatureAlgorithm::MlDsa65, &mut OsRng);
//! let pinned = signer.verifying_key().clone();
//! let key = KeyId::new("tenant-7/model-0")?;
//!
//! // Without evidence, the policy names the very key the recipient will use, which it must know beforehand.
//! let recipient_key = hanzo_pqc::DecapsulationKey::generate(tier.suite(), &mut OsRng);
//! let policy = Policy::builder()
//!     .tiers([tier])
//!     .suites([tier.suite()])
//!     .recipients([recipient_key.encapsulation_key()])
//!     .build()?;
//! let mut keys = MemoryKeyStore::new(VaultKey::generate(&mut OsRng));
//! let dek = Dek::generate(&mut OsRng);
//! keys.put(key.clone(), &dek, policy, &mut OsRng)?;
//! let config = KbsConfig::new().attestation_required(false);
//! let mut broker = Broker::new(config, signer, NoEvidence, keys, MemoryChallengeStore::new())?;
//!
//! let recipient = Recipient::new(Request::new(tier, &[tier.suite()], vec![key])?, pinned)?;
//! let challenge = broker.challenge(now, recipient.request(), &mut OsRng)?;
//! let mut challenged = recipient.on_challenge_with_key(now, &challenge, recipient_key)?;
//! let message = challenged.evidence(vec![])?;
//! let release = broker.release(now, &message, &mut OsRng)?;
//! assert!(challenged.open(&release)?[0].1.ct_eq(&dek));
//! assert!(broker.release(now, &message, &mut OsRng).is_err(), "a challenge releases once");
//! # }
//! # Ok::<(), Box<dyn core::error::Error>>(())
//! ```

mod admission;
mod audit;
mod broker;
mod challenge_store;
mod error;
mod key_record;
mod key_store;
mod message;
mod policy;
mod receipt;
mod recipient;
#[cfg(feature = "redb")]
mod redb_store;
mod transcript;

pub use admission::{Admission, KeyRateLimit};
pub use audit::{AuditEvent, AuditKind, AuditLog, AuditRecord, AuditSink};
pub use broker::{Broker, KbsConfig};
pub use challenge_store::{ChallengeStore, MemoryChallengeStore, Session, Taken};
pub use error::{KbsError, Refusal};
pub use key_store::{KeyStore, KeyTable, MemoryKeyStore, MemoryTable, VaultKeyStore};
pub use message::{Challenge, CpuEvidence, EvidenceMessage, MAX_KEYS, MAX_SUITES, Request, SessionId};
pub use policy::{Denied, Facts, Policy, PolicyBuilder};
pub use receipt::{Receipt, ReceiptEntry, Release, broker_id};
pub use recipient::{Challenged, Recipient};
#[cfg(feature = "redb")]
#[cfg_attr(docsrs, doc(cfg(feature = "redb")))]
pub use redb_store::{RedbChallengeStore, RedbFile, RedbTable};
pub use transcript::Transcript;
