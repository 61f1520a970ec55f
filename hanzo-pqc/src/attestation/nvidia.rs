//! NVIDIA GPUs: the SPDM exchange as received, under a chain to NVIDIA's pinned root.

use alloc::boxed::Box;
use alloc::collections::BTreeSet;

use sha2::{Digest, Sha256};

use super::cache::Cache;
use super::x509::{Certificate, Dates, verify_p384};
use super::{
    AttestationError, Binding, Claims, Evidence, EvidenceKind, EvidenceVerifier, GpuSwitch, NvidiaClaims, UnixTime,
};
use chain::Chain;
use report::{Opaque, Report};

mod chain;
mod report;

/// Verifies reports of NVIDIA Hopper GPUs (GET_MEASUREMENTS of SPDM 1.1, request and response) with their certificate chain in PEM, leaf first, offline.
/// Every other kind is [`AttestationError::Unsupported`]; chains of other architectures are [`AttestationError::UnsupportedGpu`].
///
/// In order: the report's form, every length of it ending where the next begins; the chain, of 3 to 8 certificates, link by link (ECDSA P-384 with SHA-384), roles,
/// dates and revocation, to the pinned key of NVIDIA's Device Identity CA; the firmware identity in the leaf equal to the report's, and the key beside it equal to
/// its issuer's; the signature over request and response as received.
///
/// A chain that verified is remembered by its digest (4096 of them at most), so that the next report of the GPU costs one P-384 verification.
///
/// What it does not say: no byte of the report is the confidential-computing mode. By NVIDIA's documentation a GPU gives reports in that mode alone; policies hold to
/// measurements, driver and VBIOS. TEE-I/O is never claimed, and NVIDIA's reference manifests (RIM) are not read: their index i is measurement i + 1 here.
/// Revocation is the operator's, as [`Self::revoked_serials`].
///
/// Source: DMTF DSP0274 1.1 (SPDM), TCG DICE Attestation Architecture (TcbInfo), NVIDIA's nvtrust for the opaque fields.
///
/// ```
/// use hanzo_pqc::attestation::{AttestationError, NvidiaVerifier, UnixTime};
///
/// let verifier = NvidiaVerifier::new().revoked_serials([[0x12, 0x34]]);
/// // Report and chain come from NVML: nvmlDeviceGetConfComputeGpuAttestationReport and .._GpuCertificate.
/// let got = verifier.verify_report(b"", b"", UnixTime::from_seconds(1_800_000_000));
/// assert!(matches!(got, Err(AttestationError::Malformed { .. })));
/// ```
#[derive(Debug, Clone, Default)]
pub struct NvidiaVerifier {
    revoked: BTreeSet<Box<[u8]>>,
    cache: Cache<Chain>,
}

impl NvidiaVerifier {
    /// The most unsigned bytes after a report.
    pub const MAX_TRAILING: usize = report::MAX_TRAILING;

    /// A verifier that revokes nothing.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Refuses chains that have a certificate with one of these serial numbers, big-endian without leading zero; a second call adds.
    #[must_use]
    pub fn revoked_serials<T: AsRef<[u8]>>(mut self, serials: impl IntoIterator<Item = T>) -> Self {
        self.revoked.extend(serials.into_iter().map(|serial| serial.as_ref().into()));
        self
    }

    /// Verifies a report without asking what it is bound to: for a recorded report. The caller compares the nonce.
    ///
    /// # Errors
    ///
    /// What is wrong with report or chain.
    pub fn verify_report(&self, report: &[u8], chain: &[u8], now: UnixTime) -> Result<NvidiaClaims, AttestationError> {
        let report = Report::parse(report)?;
        let opaque = Opaque::of(&report)?;
        let chain = self.chain(chain)?;
        chain.dates.iter().try_for_each(|dates| dates.check(now))?;
        if chain.serials.iter().any(|serial| self.revoked.contains(serial)) {
            return Err(AttestationError::Revoked);
        }
        if chain.fwid != opaque.fwid {
            return Err(AttestationError::FwidMismatch);
        }
        verify_p384(&chain.leaf, report.signed, &report.signature()?).map_err(|()| AttestationError::Signature)?;
        Ok(NvidiaClaims {
            nonce: *report.nonce,
            architecture: chain.architecture,
            driver_version: opaque.driver_version,
            vbios_version: opaque.vbios_version,
            measurements: report.measurements.iter().map(|value| **value).collect(),
            fwid: opaque.fwid,
            leaf_serial: chain.serials.into_iter().next().unwrap_or_default(),
            nvdec0: opaque.nvdec0,
            protected_pcie: opaque.protected_pcie,
            feature_flag: opaque.feature_flag,
            tee_io: false,
            opaque: report.opaque.iter().map(|&(kind, value)| (kind, value.into())).collect(),
            trailing: report.trailing,
        })
    }

    fn chain(&self, bytes: &[u8]) -> Result<Chain, AttestationError> {
        let digest = Sha256::digest(bytes).into();
        if let Some(known) = self.cache.get(&digest) {
            return Ok(known);
        }
        let chain = Chain::verify(bytes)?;
        self.cache.insert(digest, chain.clone());
        Ok(chain)
    }
}

impl EvidenceVerifier for NvidiaVerifier {
    fn verify(&self, evidence: &Evidence, bound: &Binding, now: UnixTime) -> Result<Claims, AttestationError> {
        if evidence.kind() != EvidenceKind::NvidiaGpu {
            return Err(AttestationError::Unsupported { kind: evidence.kind() });
        }
        let claims = self.verify_report(evidence.report(), evidence.endorsement(), now)?;
        let claims = Claims::NvidiaGpu(Box::new(claims));
        if claims.carry(bound) { Ok(claims) } else { Err(AttestationError::Binding) }
    }
}
