//! What the broker and its recipients refuse, and how much of it the other side learns.

use super::policy::field_name;
use crate::attestation::{AttestationError, EvidenceKind};
use crate::envelope::KeyId;
use crate::error::Error;

/// Why a broker denied, for its operator; or why a recipient refused a broker's answer.
///
/// A broker tells the recipient [`Self::refusal`] and nothing else.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum KbsError {
    /// No live session has this id.
    #[error("no live session has this id")]
    ChallengeUnknown,
    /// The challenge is past its end.
    #[error("challenge has expired")]
    ChallengeExpired,
    /// The challenge was used before.
    #[error("challenge was used before")]
    ReplayedNonce,
    /// Too many sessions are live.
    #[error("too many live sessions")]
    Busy,
    /// The broker does not grant this tier.
    #[error("tier is not offered")]
    TierNotOffered,
    /// No suite of the request is offered.
    #[error("no suite of the request is offered")]
    SuiteNotOffered,
    /// Evidence of a kind that was not asked for, or more of it than allowed.
    #[error("evidence of kind {kind:?} was not asked for")]
    UnexpectedEvidence {
        /// The kind.
        kind: EvidenceKind,
    },
    /// Evidence that the challenge asks for is not there.
    #[error("evidence that the challenge asks for is missing")]
    EvidenceMissing,
    /// Evidence does not verify.
    #[error("evidence does not verify: {0}")]
    Evidence(AttestationError),
    /// Evidence verifies, but is bound to another session or key.
    #[error("evidence is bound to another session")]
    ReportDataMismatch,
    /// Tier 4 needs GPU evidence that proves TEE-I/O, which the built-in verifier never finds proven: no published format names the byte.
    #[error("no gpu evidence proves tee-i/o, which tier 4 needs")]
    TeeIoNotProven,
    /// The policy of a key denies.
    #[error("policy of {key} denies at tag {tag}, {}", field_name(*tag))]
    PolicyDenied {
        /// The key.
        key: KeyId,
        /// The field that denies; 0 where the key has no policy at all.
        tag: u8,
    },
    /// No such key is stored.
    #[error("key {key} is not stored")]
    KeyNotFound {
        /// The key.
        key: KeyId,
    },
    /// The key, or the version that was asked for, is revoked for good.
    #[error("key {key} is revoked")]
    KeyRevoked {
        /// The key.
        key: KeyId,
    },
    /// A name that no key can have: it ends like a version's, or no version's number fits behind it.
    #[error("{key} cannot be the name of a key")]
    ReservedKeyId {
        /// The name.
        key: KeyId,
    },
    /// A store could not answer.
    #[error("store is unavailable")]
    StoreUnavailable,
    /// The clock is too near the end of its range to add a lifetime.
    #[error("clock is out of range")]
    ClockOutOfRange,
    /// A challenge does not answer the recipient's request.
    #[error("challenge does not fit the request: {what}")]
    ChallengeMismatch {
        /// The part that differs.
        what: &'static str,
    },
    /// A release does not fit the recipient's session.
    #[error("release does not fit the session: {what}")]
    ReceiptMismatch {
        /// The part that differs.
        what: &'static str,
    },
    /// A key, signature or format is not acceptable.
    #[error("{0}")]
    Crypto(Error),
}

impl KbsError {
    /// What the recipient may be told. Every failure after the session was found live is [`Refusal::Denied`], so that an answer says
    /// nothing of keys, policies or evidence.
    #[must_use]
    pub const fn refusal(&self) -> Refusal {
        match self {
            Self::ChallengeUnknown => Refusal::ChallengeUnknown,
            Self::ChallengeExpired => Refusal::ChallengeExpired,
            Self::ReplayedNonce => Refusal::ReplayedNonce,
            Self::Busy | Self::ClockOutOfRange => Refusal::Busy,
            Self::TierNotOffered => Refusal::TierNotOffered,
            Self::SuiteNotOffered => Refusal::SuiteNotOffered,
            _ => Refusal::Denied,
        }
    }
}

impl From<Error> for KbsError {
    fn from(error: Error) -> Self {
        Self::Crypto(error)
    }
}

impl From<AttestationError> for KbsError {
    fn from(error: AttestationError) -> Self {
        match error {
            AttestationError::Binding => Self::ReportDataMismatch,
            error => Self::Evidence(error),
        }
    }
}

/// A broker's answer when it does not release: all that may leave the broker.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
#[non_exhaustive]
pub enum Refusal {
    /// No live session has this id.
    #[error("challenge unknown")]
    ChallengeUnknown,
    /// The challenge is past its end.
    #[error("challenge expired")]
    ChallengeExpired,
    /// The challenge was used before.
    #[error("challenge used before")]
    ReplayedNonce,
    /// Try again later.
    #[error("busy")]
    Busy,
    /// The broker does not grant this tier.
    #[error("tier not offered")]
    TierNotOffered,
    /// The broker offers none of the suites.
    #[error("suite not offered")]
    SuiteNotOffered,
    /// Everything else.
    #[error("denied")]
    Denied,
}
