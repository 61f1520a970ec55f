//! Reports of real machines, and a verifier that lets them play a part in a session.

use std::io;
use std::path::{Path, PathBuf};

use hanzo::pqc::attestation::{
    AttestationError, Binding, Claims, Evidence, EvidenceKind, EvidenceVerifier, NvidiaClaims, NvidiaVerifier,
    SnpClaims, SnpVerifier, UnixTime,
};

use crate::broker::Verify;

/// 2025-02-01, when every certificate of the samples is good.
pub(crate) const NOW: UnixTime = UnixTime::from_seconds(1_738_368_000);

/// One recorded report.
#[derive(Clone)]
pub(crate) struct Recorded {
    pub(crate) report: Vec<u8>,
    pub(crate) endorsement: Vec<u8>,
}

impl Recorded {
    pub(crate) fn evidence(&self, kind: EvidenceKind) -> Result<Evidence, hanzo::pqc::Error> {
        Evidence::new(kind, &self.report, &self.endorsement)
    }

    /// With one bit of the report changed.
    pub(crate) fn flipped(&self, byte: usize, bit: u8) -> Self {
        let mut changed = self.clone();
        if let Some(byte) = changed.report.get_mut(byte) {
            *byte ^= bit;
        }
        changed
    }
}

pub(crate) struct Samples {
    pub(crate) milan: Recorded,
    pub(crate) vlek: Recorded,
    pub(crate) hopper: Recorded,
}

impl Samples {
    pub(crate) fn load(root: &Path) -> Result<Self, Missing> {
        let folder = root.join("pqc/attest");
        let read = |name: &str| {
            let path = folder.join(name);
            std::fs::read(&path).map_err(|error| Missing { path, error })
        };
        let pair =
            |report: &str, endorsement: &str| Ok(Recorded { report: read(report)?, endorsement: read(endorsement)? });
        let mut hopper = pair("nvidia/hopper_a.report.hex", "nvidia/hopper_a.chain.pem")?;
        hopper.report = hex(&hopper.report).ok_or_else(|| Missing {
            path: folder.join("nvidia/hopper_a.report.hex"),
            error: io::Error::new(io::ErrorKind::InvalidData, "not hex"),
        })?;
        Ok(Self {
            milan: pair("snp/milan_v3.report.bin", "snp/milan_v3.vcek.der")?,
            vlek: pair("snp/milan_v3_vlek.report.bin", "snp/milan_v3_vlek.vlek.der")?,
            hopper,
        })
    }

    pub(crate) fn snp_claims(&self) -> Result<SnpClaims, AttestationError> {
        SnpVerifier::new().verify_report(&self.milan.report, &self.milan.endorsement, NOW)
    }

    pub(crate) fn gpu_claims(&self) -> Result<NvidiaClaims, AttestationError> {
        NvidiaVerifier::new().verify_report(&self.hopper.report, &self.hopper.endorsement, NOW)
    }
}

#[derive(Debug, thiserror::Error)]
#[error("{}: {error}", .path.display())]
pub(crate) struct Missing {
    path: PathBuf,
    error: io::Error,
}

/// What a broker really runs.
pub(crate) fn genuine() -> Verify {
    let verifier = (SnpVerifier::new(), NvidiaVerifier::new());
    Box::new(move |evidence, bound, now| verifier.verify(evidence, bound, now))
}

/// The same verifiers over recorded reports. A recorded report speaks of a session long gone: after everything in it was verified, the bytes that bind it are taken
/// as if the machine had been asked now. Good for a demonstration, and for nothing else.
pub(crate) fn recorded() -> Verify {
    let (snp, nvidia) = (SnpVerifier::new(), NvidiaVerifier::new());
    Box::new(move |evidence: &Evidence, bound: &Binding, now| match evidence.kind() {
        EvidenceKind::Snp => {
            let claims = snp.verify_report(evidence.report(), evidence.endorsement(), now)?;
            Ok(Claims::Snp(Box::new(SnpClaims { report_data: bound.report_data, ..claims })))
        }
        EvidenceKind::NvidiaGpu => {
            let claims = nvidia.verify_report(evidence.report(), evidence.endorsement(), now)?;
            Ok(Claims::NvidiaGpu(Box::new(NvidiaClaims { nonce: bound.gpu_nonce, ..claims })))
        }
        kind => Err(AttestationError::Unsupported { kind }),
    })
}

fn hex(text: &[u8]) -> Option<Vec<u8>> {
    let text = std::str::from_utf8(text).ok()?.trim();
    let pairs = (0..text.len()).step_by(2).map(|at| text.get(at..at + 2));
    pairs.map(|pair| u8::from_str_radix(pair?, 16).ok()).collect()
}
