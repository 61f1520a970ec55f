//! AMD SEV-SNP: the report's signed bytes as received, under keys that AMD's pinned issuers certify.

use alloc::boxed::Box;
use alloc::collections::BTreeSet;

use p384::ecdsa::VerifyingKey;
use sha2::{Digest, Sha256};

use super::cache::Cache;
use super::x509::{Certificate, Dates, verify_p384};
use super::{
    AttestationError, Binding, Claims, Evidence, EvidenceKind, EvidenceVerifier, SnpClaims, SnpSigner, UnixTime,
};
use certificate::SigningCertificate;
use report::Report;

mod certificate;
mod issuer;
mod report;

/// Verifies SEV-SNP reports of versions 2 to 5 with their VCEK or VLEK certificate (DER), offline. Every other kind is
/// [`AttestationError::Unsupported`].
///
/// Built in are the public keys of AMD's ASK and ASVK for Milan, Genoa and Turin; no other key can certify. In order: the report's form, with every reserved
/// byte zero; debug off; the certificate's signature by the issuer (RSA-4096 PSS, SHA-384), dates, revocation; kind of key and product the same on both sides;
/// the signature over bytes 0 to 0x29F of the report as received (P-384, SHA-384); TCB and chip of the certificate equal to those of the report.
///
/// A certificate that verified is remembered by its digest (4096 of them at most), so that the next report of the chip costs one P-384 verification; dates
/// and revocation are checked at every use.
///
/// The issuers' own chain to AMD's root key is not walked: the issuer is the pin. Nothing is fetched; CRLs are the operator's, as [`Self::revoked_keys`].
///
/// Source: SEV Secure Nested Paging Firmware ABI Specification (AMD 56860), VCEK Certificate and KDS Interface Specification (57230).
///
/// ```
/// use hanzo_pqc::attestation::{AttestationError, SnpVerifier, UnixTime};
///
/// let verifier = SnpVerifier::new().revoked_keys([[0xAB; 32]]);
/// let now = UnixTime::from_seconds(1_800_000_000);
/// // `report` comes from the guest's /dev/sev-guest, `vcek` from AMD's key server or the machine's own certificate table.
/// let (report, vcek) = ([0; SnpVerifier::REPORT_LEN], []);
/// assert_eq!(verifier.verify_report(&report, &vcek, now), Err(AttestationError::Malformed { offset: 0 }));
/// ```
#[derive(Debug, Clone, Default)]
pub struct SnpVerifier {
    revoked: BTreeSet<[u8; 32]>,
    cache: Cache<SigningCertificate>,
}

impl SnpVerifier {
    /// The length of a report, in bytes.
    pub const REPORT_LEN: usize = report::LEN;

    /// A verifier that revokes nothing.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Refuses certificates with these keys, by the SHA-256 of their SubjectPublicKeyInfo; a second call adds.
    #[must_use]
    pub fn revoked_keys(mut self, digests: impl IntoIterator<Item = [u8; 32]>) -> Self {
        self.revoked.extend(digests);
        self
    }

    /// Verifies a report without asking what it is bound to: for a recorded report. The caller compares the report data.
    ///
    /// # Errors
    ///
    /// What is wrong with report or certificate.
    pub fn verify_report(
        &self,
        report: &[u8],
        certificate: &[u8],
        now: UnixTime,
    ) -> Result<SnpClaims, AttestationError> {
        let report = Report::parse(report)?;
        if report.claims.policy & DEBUG != 0 {
            return Err(AttestationError::Debug);
        }
        let certificate = self.certificate(certificate)?;
        certificate.dates.check(now)?;
        if self.revoked.contains(&certificate.key_digest) {
            return Err(AttestationError::Revoked);
        }
        if certificate.vlek() != report.signed_by_vlek {
            return Err(AttestationError::KeyKindMismatch);
        }
        if report.product.is_some_and(|product| product != certificate.product) {
            return Err(AttestationError::ProductMismatch);
        }
        let signature = report.signature()?;
        verify_p384(&certificate.key, report.signed, &signature).map_err(|()| AttestationError::Signature)?;
        let claims = report.claims_for(certificate.product);
        if certificate.tcb != claims.reported_tcb {
            return Err(AttestationError::TcbMismatch);
        }
        if certificate.chip.as_ref().is_some_and(|chip| claims.chip_id.is_some_and(|id| id != *chip)) {
            return Err(AttestationError::ChipMismatch);
        }
        Ok(SnpClaims {
            signer: certificate.csp_id.map_or(SnpSigner::Vcek, |csp_id| SnpSigner::Vlek { csp_id }),
            ..claims
        })
    }

    fn certificate(&self, bytes: &[u8]) -> Result<SigningCertificate, AttestationError> {
        let digest = Sha256::digest(bytes).into();
        if let Some(known) = self.cache.get(&digest) {
            return Ok(known);
        }
        let certificate = SigningCertificate::verify(bytes)?;
        self.cache.insert(digest, certificate.clone());
        Ok(certificate)
    }
}

impl EvidenceVerifier for SnpVerifier {
    fn verify(&self, evidence: &Evidence, bound: &Binding, now: UnixTime) -> Result<Claims, AttestationError> {
        if evidence.kind() != EvidenceKind::Snp {
            return Err(AttestationError::Unsupported { kind: evidence.kind() });
        }
        let claims = Claims::Snp(Box::new(self.verify_report(evidence.report(), evidence.endorsement(), now)?));
        if claims.carry(bound) { Ok(claims) } else { Err(AttestationError::Binding) }
    }
}

/// Bit 19 of the guest policy.
const DEBUG: u64 = 1 << 19;
