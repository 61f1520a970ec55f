//! Evidence about a machine, and what verifying it proves.
//!
//! A verifier turns [`Evidence`] and the [`Binding`] it must carry into typed [`Claims`]; what the claims are worth is for a policy to say
//! ([`crate::kbs::Policy`]). Verifiers work without the broker too, for instance on the evidence inside a job attestation.

#[cfg(any(feature = "snp", feature = "nvidia"))]
mod cache;
mod claims;
mod error;
#[cfg(feature = "tdx")]
mod intel;
#[cfg(feature = "nvidia")]
mod nvidia;
#[cfg(feature = "snp")]
mod snp;
#[cfg(feature = "software-evidence")]
mod software;
#[cfg(any(feature = "snp", feature = "nvidia"))]
mod x509;

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::fmt;

use crate::error::{Error, Result};
use crate::wire::{Reader, put_lp32};

pub use claims::{
    Claims, GpuArchitecture, GpuSwitch, IntelPlatform, NvidiaClaims, SgxClaims, SnpClaims, SnpProduct, SnpSigner,
    SnpTcb, SoftwareClaims, TcbStatus, TdxClaims,
};
pub use error::AttestationError;
#[cfg(feature = "tdx")]
#[cfg_attr(docsrs, doc(cfg(feature = "tdx")))]
pub use intel::TdxVerifier;
#[cfg(feature = "nvidia")]
#[cfg_attr(docsrs, doc(cfg(feature = "nvidia")))]
pub use nvidia::NvidiaVerifier;
#[cfg(feature = "snp")]
#[cfg_attr(docsrs, doc(cfg(feature = "snp")))]
pub use snp::SnpVerifier;
#[cfg(feature = "software-evidence")]
#[cfg_attr(docsrs, doc(cfg(feature = "software-evidence")))]
pub use software::{SoftwareAttester, SoftwareVerifier};

/// Verifies evidence of one or more kinds.
///
/// Every closure of the same shape is a verifier, which is how an operator plugs one in.
///
/// ```
/// use hanzo_pqc::attestation::{
///     AttestationError, Binding, Claims, Evidence, EvidenceKind, EvidenceVerifier, NoEvidence, UnixTime,
/// };
///
/// // An operator's own rule for one kind; the next verifier is asked about the others.
/// let own = |evidence: &Evidence, _: &Binding, _: UnixTime| -> Result<Claims, AttestationError> {
///     match evidence.kind() {
///         EvidenceKind::Tdx => Err(AttestationError::Revoked),
///         kind => Err(AttestationError::Unsupported { kind }),
///     }
/// };
/// let verifier = (own, NoEvidence);
/// let bound = Binding { report_data: [0; 64], gpu_nonce: [0; 32] };
/// let ask = |kind| verifier.verify(&Evidence::new(kind, b"report", b"").unwrap(), &bound, UnixTime::from_seconds(0));
/// assert_eq!(ask(EvidenceKind::Tdx), Err(AttestationError::Revoked));
/// assert_eq!(ask(EvidenceKind::Snp), Err(AttestationError::Unsupported { kind: EvidenceKind::Snp }));
/// ```
///
/// # Guarantees
///
/// `Ok` means that the signatures of the evidence and of its endorsements are good at `now`, that nothing in it was in debug mode, and
/// that it carries the binding: [`Binding::report_data`] for a CPU, [`Binding::gpu_nonce`] for a GPU. The claims are of the same kind as the evidence and
/// repeat the bound bytes as they stood in it; the broker compares those once more.
pub trait EvidenceVerifier {
    /// Verifies one item.
    ///
    /// # Errors
    ///
    /// What is wrong with the evidence; [`AttestationError::Unsupported`] for a kind this verifier does not know.
    fn verify(&self, evidence: &Evidence, bound: &Binding, now: UnixTime) -> Result<Claims, AttestationError>;
}

impl<F> EvidenceVerifier for F
where
    F: Fn(&Evidence, &Binding, UnixTime) -> Result<Claims, AttestationError>,
{
    fn verify(&self, evidence: &Evidence, bound: &Binding, now: UnixTime) -> Result<Claims, AttestationError> {
        self(evidence, bound, now)
    }
}

/// Two verifiers as one: the second is asked about the kinds that the first does not support. Pairs nest.
impl<A: EvidenceVerifier, B: EvidenceVerifier> EvidenceVerifier for (A, B) {
    fn verify(&self, evidence: &Evidence, bound: &Binding, now: UnixTime) -> Result<Claims, AttestationError> {
        match self.0.verify(evidence, bound, now) {
            Err(AttestationError::Unsupported { .. }) => self.1.verify(evidence, bound, now),
            answer => answer,
        }
    }
}

/// The verifier of a broker that grants nothing on evidence: refuses every kind.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct NoEvidence;

impl EvidenceVerifier for NoEvidence {
    fn verify(&self, evidence: &Evidence, _bound: &Binding, _now: UnixTime) -> Result<Claims, AttestationError> {
        Err(AttestationError::Unsupported { kind: evidence.kind() })
    }
}

/// Seconds since 1970-01-01 00:00 UTC. The crate has no clock of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct UnixTime(u64);

impl UnixTime {
    /// A point in time, in seconds.
    #[must_use]
    pub const fn from_seconds(seconds: u64) -> Self {
        Self(seconds)
    }

    /// The seconds.
    #[must_use]
    pub const fn as_seconds(self) -> u64 {
        self.0
    }

    /// The time `seconds` later; `None` past the end of the 64-bit range.
    #[must_use]
    pub const fn checked_add(self, seconds: u64) -> Option<Self> {
        match self.0.checked_add(seconds) {
            Some(sum) => Some(Self(sum)),
            None => None,
        }
    }
}

/// The kinds of evidence the formats name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
#[non_exhaustive]
pub enum EvidenceKind {
    /// 1: an Intel TDX quote.
    Tdx = 1,
    /// 2: an Intel SGX quote.
    Sgx = 2,
    /// 3: an AMD SEV-SNP report.
    Snp = 3,
    /// 4: an NVIDIA GPU report.
    NvidiaGpu = 4,
    /// 128: a statement signed by a software key, which proves the key and nothing of the machine.
    Software = 128,
}

impl EvidenceKind {
    /// Every kind, by ascending code.
    pub const ALL: [Self; 5] = [Self::Tdx, Self::Sgx, Self::Snp, Self::NvidiaGpu, Self::Software];

    /// The code used on the wire.
    #[must_use]
    pub const fn code(self) -> u8 {
        self as u8
    }

    /// The kind with this code.
    #[must_use]
    pub fn from_code(code: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.code() == code)
    }

    /// Whether this is CPU evidence, of which a session shows one item at most.
    #[must_use]
    pub const fn is_cpu(self) -> bool {
        !matches!(self, Self::NvidiaGpu)
    }
}

/// One item of evidence: a report and what endorses it.
///
/// The endorsement is DCAP collateral (TDX, SGX; may be empty), the VCEK or VLEK certificate (SNP), the certificate chain (GPU), or the verifying key (software).
#[derive(Clone, PartialEq, Eq)]
pub struct Evidence {
    kind: EvidenceKind,
    report: Box<[u8]>,
    endorsement: Box<[u8]>,
}

impl Evidence {
    /// The longest report, in bytes.
    pub const MAX_REPORT_LEN: usize = 16 * 1024;
    /// The longest endorsement, in bytes.
    pub const MAX_ENDORSEMENT_LEN: usize = 64 * 1024;

    /// Takes a report and its endorsement, unverified.
    ///
    /// # Errors
    ///
    /// [`Error::TooLong`] over the limits.
    pub fn new(kind: EvidenceKind, report: &[u8], endorsement: &[u8]) -> Result<Self> {
        if report.len() > Self::MAX_REPORT_LEN {
            return Err(Error::TooLong { what: "report", limit: Self::MAX_REPORT_LEN });
        }
        if endorsement.len() > Self::MAX_ENDORSEMENT_LEN {
            return Err(Error::TooLong { what: "endorsement", limit: Self::MAX_ENDORSEMENT_LEN });
        }
        Ok(Self { kind, report: report.into(), endorsement: endorsement.into() })
    }

    /// The kind.
    #[must_use]
    pub const fn kind(&self) -> EvidenceKind {
        self.kind
    }

    /// The report, as the machine gave it.
    #[must_use]
    pub const fn report(&self) -> &[u8] {
        &self.report
    }

    /// What endorses the report.
    #[must_use]
    pub const fn endorsement(&self) -> &[u8] {
        &self.endorsement
    }

    /// The canonical bytes, as the broker's messages carry them: u8 kind ‖ lp32(report) ‖ lp32(endorsement).
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(9 + self.report.len() + self.endorsement.len());
        self.put(&mut out);
        out
    }

    /// Reads one item, unverified. Nothing is allocated for lengths over the limits or past the end.
    ///
    /// # Errors
    ///
    /// [`Error::Malformed`], [`Error::TooLong`] for bytes that no [`Self::to_bytes`] gives.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self> {
        let mut reader = Reader::new("evidence", bytes);
        let evidence = Self::read(&mut reader)?;
        reader.finish()?;
        Ok(evidence)
    }

    pub(crate) fn put(&self, out: &mut Vec<u8>) {
        out.push(self.kind.code());
        put_lp32(out, &self.report);
        put_lp32(out, &self.endorsement);
    }

    pub(crate) fn read(reader: &mut Reader<'_>) -> Result<Self> {
        let place = reader.malformed();
        let kind = EvidenceKind::from_code(reader.u8()?).ok_or(place)?;
        let report = reader.lp32("report", Self::MAX_REPORT_LEN)?;
        let endorsement = reader.lp32("endorsement", Self::MAX_ENDORSEMENT_LEN)?;
        Self::new(kind, report, endorsement)
    }
}

impl fmt::Debug for Evidence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Evidence")
            .field("kind", &self.kind)
            .field("report_len", &self.report.len())
            .field("endorsement_len", &self.endorsement.len())
            .finish()
    }
}

/// What evidence must carry to count for one session: hashes of the whole exchange, the recipient's key included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Binding {
    /// The report data of CPU evidence.
    pub report_data: [u8; 64],
    /// The SPDM nonce of GPU evidence.
    pub gpu_nonce: [u8; 32],
}
