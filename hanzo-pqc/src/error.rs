//! The error of keys, signatures and envelopes.

/// What this crate's keys, ciphertexts, signatures and formats refuse.
///
/// The broker has an error of its own, `kbs::KbsError`, which wraps this one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A key, seed or ciphertext has the wrong length for its algorithm.
    #[error("{what} is {actual} bytes long, not {expected}")]
    InvalidLength {
        /// What was read.
        what: &'static str,
        /// The length the algorithm fixes.
        expected: usize,
        /// The length that was given.
        actual: usize,
    },
    /// A key of the right length fails its check: a coefficient of an ML-KEM key is not reduced (FIPS 203 section 7.2),
    /// the hash inside an expanded decapsulation key does not match (section 7.3), an expanded ML-DSA key does not fit together,
    /// a point is not on its curve or an Ed25519 one of small order, or a key file is of another algorithm.
    #[error("key fails its validity check")]
    InvalidKey,
    /// A key or ciphertext is of another suite than the one it meets.
    #[error("{found} where {expected} is needed")]
    SuiteMismatch {
        /// Name of the suite that fits.
        expected: &'static str,
        /// Name of the suite that came.
        found: &'static str,
    },
    /// A signature does not verify, or is no signature of this algorithm.
    #[error("signature does not verify")]
    InvalidSignature,
    /// The context is longer than its limit: 255 bytes for signatures, 65,535 for encapsulation.
    #[error("context of {len} bytes is too long")]
    InvalidContext {
        /// The length that was given.
        len: usize,
    },
    /// X25519 gave the all-zero secret: the other side's point has small order.
    #[error("x25519 public key has small order")]
    NonContributory,
    /// An envelope does not open: tampered with, or sealed for another key. Deliberately says no more.
    #[error("envelope does not open")]
    Decrypt,
    /// A key confirmation value is not the expected one.
    #[error("key confirmation does not match")]
    ConfirmationMismatch,
    /// The signing loop of FIPS 204 found no signature within the backend's bound.
    #[error("no signature found within the bound of the signing loop")]
    SigningFailed,
    /// No privacy tier has this code.
    #[error("unknown privacy tier {0}")]
    UnknownTier(u8),
    /// No suite of this build has this code.
    #[error("unknown suite {0:#06x}")]
    UnknownSuite(u16),
    /// No AEAD of this build has this code.
    #[error("unknown aead {0}")]
    UnknownAead(u8),
    /// No signature algorithm of this build has this code.
    #[error("unknown signature algorithm {0}")]
    UnknownSignatureAlgorithm(u8),
    /// A release policy has a field that this build cannot enforce.
    #[error("unknown policy tag {0}")]
    UnknownPolicyTag(u8),
    /// A field of a release policy has a value outside its range or form.
    #[error("policy field {field} has no valid value")]
    PolicyField {
        /// The field.
        field: &'static str,
    },
    /// Bytes do not follow their format.
    #[error("malformed {what} at byte {offset}")]
    Malformed {
        /// The format that was read.
        what: &'static str,
        /// Where reading stopped.
        offset: usize,
    },
    /// Something is larger than its format allows.
    #[error("{what} is over its limit of {limit}")]
    TooLong {
        /// What was too large.
        what: &'static str,
        /// The limit, in bytes or entries.
        limit: usize,
    },
    /// An algorithm is weaker than the privacy tier demands.
    #[error("{requested} is weaker than {minimum}, the tier's minimum")]
    TierMismatch {
        /// The algorithm that was asked for.
        requested: &'static str,
        /// The weakest algorithm the tier accepts.
        minimum: &'static str,
    },
    /// FIPS mode is asked for, and no validated module is there.
    #[error("no validated module is available for fips mode")]
    FipsUnavailable,
    /// FIPS mode is asked for, and the algorithm is none that a validated module protects with.
    #[error("{what} is not approved in fips mode")]
    NotApproved {
        /// The algorithm.
        what: &'static str,
    },
    /// No algorithm of this build has the name that was read.
    #[error("unknown name of a {what}")]
    UnknownName {
        /// What should have been named.
        what: &'static str,
    },
    /// The backend's module failed at something that does not fail for valid arguments: out of memory, or its self-test.
    #[error("the backend's module failed")]
    Backend,
    /// The algorithm has no such operation or parameter.
    #[error("{what} is not supported by this algorithm")]
    Unsupported {
        /// The operation or parameter.
        what: &'static str,
    },
}

/// A result with this crate's [`Error`].
pub type Result<T, E = Error> = core::result::Result<T, E>;
