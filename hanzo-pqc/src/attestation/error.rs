//! Why evidence proves nothing.

use super::EvidenceKind;

/// Why evidence proves nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AttestationError {
    /// The evidence does not follow its format.
    #[error("malformed evidence at byte {offset}")]
    Malformed {
        /// Where reading stopped.
        offset: usize,
    },
    /// A byte that the format keeps zero is not zero.
    #[error("reserved byte {offset} of the report is not zero")]
    ReservedNonZero {
        /// Where.
        offset: usize,
    },
    /// A certificate or collateral of the endorsement is not of its form, or not what its place in the chain demands.
    #[error("malformed endorsement")]
    Endorsement,
    /// A signature over the report does not verify.
    #[error("signature over the report does not verify")]
    Signature,
    /// A signature between certificates does not verify.
    #[error("certificate chain does not verify")]
    Chain,
    /// The chain ends at a key that is not built in.
    #[error("certificate chain ends at no trusted root")]
    UntrustedRoot,
    /// A certificate is outside its dates.
    #[error("certificate is outside its dates")]
    Expired,
    /// DCAP collateral is outside its dates.
    #[error("collateral is outside its dates")]
    CollateralExpired,
    /// The operator's list of revoked keys or serial numbers has a certificate of the chain.
    #[error("certificate is revoked")]
    Revoked,
    /// The processor named in the report is not the one whose issuer signed the certificate.
    #[error("report and certificate are of different products")]
    ProductMismatch,
    /// The report names another kind of signing key than its certificate is of.
    #[error("report and certificate name different kinds of signing key")]
    KeyKindMismatch,
    /// The TCB in the certificate is not the one in the report.
    #[error("report and certificate have different TCBs")]
    TcbMismatch,
    /// The chip in the certificate is not the one in the report.
    #[error("report and certificate are of different chips")]
    ChipMismatch,
    /// The firmware identity in the certificate is not the one in the report.
    #[error("report and certificate have different firmware identities")]
    FwidMismatch,
    /// The machine is in debug mode, where its memory can be read from outside.
    #[error("machine is in debug mode")]
    Debug,
    /// A migratable or otherwise attached service can change the machine after its report.
    #[error("machine is bound to a service domain")]
    ServiceDomain,
    /// A GPU whose report format this version does not know: only Hopper's is established.
    #[error("reports of this GPU architecture are not supported; only Hopper's are")]
    UnsupportedGpu,
    /// The evidence is good, but for another session or key.
    #[error("evidence is bound to another session")]
    Binding,
    /// The verifier does not handle this kind, or not with these algorithms.
    #[error("evidence of kind {kind:?} is not supported")]
    Unsupported {
        /// The kind.
        kind: EvidenceKind,
    },
}
