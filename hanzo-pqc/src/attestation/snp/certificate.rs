//! VCEK and VLEK certificates.

use alloc::boxed::Box;

use x509_cert::der::Decode;
use x509_cert::der::asn1::{Ia5StringRef, ObjectIdentifier};

use super::{AttestationError, Certificate, Dates, VerifyingKey, issuer};
use crate::attestation::{SnpProduct, SnpTcb};

/// A certificate whose signature by a built-in issuer was verified.
#[derive(Debug, Clone)]
pub(super) struct SigningCertificate {
    pub(super) product: SnpProduct,
    pub(super) dates: Dates,
    pub(super) key: VerifyingKey,
    pub(super) key_digest: [u8; 32],
    pub(super) tcb: SnpTcb,
    /// A VCEK's chip.
    pub(super) chip: Option<[u8; 64]>,
    /// A VLEK's provider.
    pub(super) csp_id: Option<Box<str>>,
}

impl SigningCertificate {
    pub(super) const fn vlek(&self) -> bool {
        self.csp_id.is_some()
    }

    pub(super) fn verify(bytes: &[u8]) -> Result<Self, AttestationError> {
        let certificate = Certificate::parse(bytes)?;
        let issuer = issuer::verify(&certificate)?;
        let turin = issuer.product == SnpProduct::Turin;
        let version = |arc: u8| {
            let content = certificate.extension(arcs(&[3, arc])?)?;
            content.map(|content| u8::from_der(content).map_err(malformed)).transpose()
        };
        let required = |arc: u8| version(arc)?.ok_or(AttestationError::Endorsement);
        let tcb = SnpTcb {
            fmc: if turin { required(9)? } else { 0 },
            bootloader: required(1)?,
            tee: required(2)?,
            snp: required(3)?,
            microcode: required(8)?,
        };
        for spare in 4..=7 {
            if version(spare)?.is_some_and(|value| value != 0) {
                return Err(AttestationError::TcbMismatch);
            }
        }
        let hardware = certificate.extension(arcs(&[4])?)?;
        let provider = certificate.extension(arcs(&[5])?)?;
        let (chip, csp_id) = match (issuer.vlek, hardware, provider) {
            (false, Some(id), None) => (Some(chip_id(id, turin)?), None),
            (true, None, Some(name)) => (None, Some(Ia5StringRef::from_der(name).map_err(malformed)?.as_str().into())),
            _ => return Err(AttestationError::KeyKindMismatch),
        };
        Ok(Self {
            product: issuer.product,
            dates: certificate.dates(),
            key: certificate.p384()?,
            key_digest: certificate.key_digest(),
            tcb,
            chip,
            csp_id,
        })
    }
}

/// The bytes themselves, or an OCTET STRING of them; 8 bytes on Turin, 64 before.
fn chip_id(content: &[u8], turin: bool) -> Result<[u8; 64], AttestationError> {
    let len = if turin { 8 } else { 64 };
    let id = match content {
        [4, size, id @ ..] if usize::from(*size) == len && id.len() == len => id,
        id if id.len() == len => id,
        _ => return Err(AttestationError::Endorsement),
    };
    Ok(core::array::from_fn(|i| id.get(i).copied().unwrap_or(0)))
}

/// An identifier under AMD's own.
fn arcs(arcs: &[u8]) -> Result<ObjectIdentifier, AttestationError> {
    arcs.iter().try_fold(AMD, |id, arc| id.push_arc(u32::from(*arc))).map_err(malformed)
}

/// Whatever the encoding has wrong.
fn malformed<E>(_: E) -> AttestationError {
    AttestationError::Endorsement
}

const AMD: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.4.1.3704.1");
