//! Statements signed by a software key, for machines without a trusted execution environment.

use alloc::vec::Vec;

use rand_core::CryptoRng;
use sha2::{Digest, Sha256};

use super::{AttestationError, Binding, Claims, Evidence, EvidenceKind, EvidenceVerifier, SoftwareClaims, UnixTime};
use crate::dsa::{Signature, SignatureAlgorithm, SigningKey, VerifyingKey};
use crate::error::{Error, Result};
use crate::wire::{Reader, put_lp16, put_lp32};

/// Makes software evidence: a statement of report data and measurement under an ML-DSA-65 or -87 key.
///
/// ```text
/// report      = lp16("hanzo-kbs/v1/software") ‖ report data 64 ‖ measurement 32 ‖ u8 signature code ‖ lp32(signature over all before it)
/// endorsement = the verifying key
/// ```
///
/// It proves that someone holds the key, and nothing of the machine. A broker admits it at tier 1 at most, only where its configuration turns it on and
/// only for data keys whose policy names the verifying key and the measurement.
///
/// ```
/// use hanzo_pqc::attestation::{
///     AttestationError, Binding, Claims, EvidenceVerifier, SoftwareAttester, SoftwareVerifier, UnixTime,
/// };
/// use hanzo_pqc::{SignatureAlgorithm, SigningKey};
/// # use hanzo_pqc::rand_core::SeedableRng;
/// # let mut rng = rand_chacha::ChaCha20Rng::seed_from_u64(1);
///
/// let attester = SoftwareAttester::new(SigningKey::generate(SignatureAlgorithm::MlDsa65, &mut rng), [7; 32])?;
/// let bound = Binding { report_data: [1; 64], gpu_nonce: [0; 32] };
/// let evidence = attester.attest(&bound, &mut rng)?;
///
/// let now = UnixTime::from_seconds(1_800_000_000);
/// let claims = SoftwareVerifier.verify(&evidence, &bound, now);
/// assert!(matches!(claims, Ok(Claims::Software(claims)) if claims.measurement == [7; 32]));
/// let other = Binding { report_data: [2; 64], ..bound };
/// assert_eq!(SoftwareVerifier.verify(&evidence, &other, now), Err(AttestationError::Binding));
/// # Ok::<(), hanzo_pqc::Error>(())
/// ```
#[derive(Debug)]
pub struct SoftwareAttester {
    key: SigningKey,
    measurement: [u8; 32],
}

impl SoftwareAttester {
    /// Takes the key and what it says of its machine, by convention a SHA-256 of the software that runs there.
    ///
    /// # Errors
    ///
    /// [`Error::TierMismatch`] for an ML-DSA-44 key, which no tier accepts.
    pub fn new(key: SigningKey, measurement: [u8; 32]) -> Result<Self> {
        if key.algorithm() < SignatureAlgorithm::MlDsa65 {
            return Err(Error::TierMismatch {
                requested: key.algorithm().name(),
                minimum: SignatureAlgorithm::MlDsa65.name(),
            });
        }
        Ok(Self { key, measurement })
    }

    /// The digest by which a policy names this key ([`crate::kbs::PolicyBuilder::software_keys`]).
    #[must_use]
    pub fn key_digest(&self) -> [u8; 32] {
        Sha256::digest(self.key.verifying_key().as_bytes()).into()
    }

    /// The stated measurement.
    #[must_use]
    pub const fn measurement(&self) -> &[u8; 32] {
        &self.measurement
    }

    /// Signs the statement for one session.
    ///
    /// # Errors
    ///
    /// As [`SigningKey::sign`].
    pub fn attest<R: CryptoRng + ?Sized>(&self, bound: &Binding, rng: &mut R) -> Result<Evidence> {
        let mut report = statement(&bound.report_data, &self.measurement, self.key.algorithm());
        let signature = self.key.sign(&report, rng)?;
        put_lp32(&mut report, signature.as_bytes());
        Evidence::new(EvidenceKind::Software, &report, self.key.verifying_key().as_bytes())
    }
}

/// Verifies software evidence; every other kind is [`AttestationError::Unsupported`].
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct SoftwareVerifier;

impl EvidenceVerifier for SoftwareVerifier {
    fn verify(&self, evidence: &Evidence, bound: &Binding, _now: UnixTime) -> Result<Claims, AttestationError> {
        let unsupported = AttestationError::Unsupported { kind: evidence.kind() };
        if evidence.kind() != EvidenceKind::Software {
            return Err(unsupported);
        }
        let (algorithm, claims, signature) = parse(evidence).map_err(|error| match error {
            Error::Malformed { offset, .. } => AttestationError::Malformed { offset },
            Error::UnknownSignatureAlgorithm(_) => unsupported,
            _ => AttestationError::Signature,
        })?;
        if algorithm < SignatureAlgorithm::MlDsa65 {
            return Err(unsupported);
        }
        VerifyingKey::from_bytes(algorithm, evidence.endorsement())
            .and_then(|key| {
                let signed = statement(&claims.report_data, &claims.measurement, algorithm);
                key.verify(&signed, &signature)
            })
            .map_err(|_| AttestationError::Signature)?;
        let claims = Claims::Software(claims);
        if !claims.carry(bound) {
            return Err(AttestationError::Binding);
        }
        Ok(claims)
    }
}

fn parse(evidence: &Evidence) -> Result<(SignatureAlgorithm, SoftwareClaims, Signature)> {
    let mut reader = Reader::new("software evidence", evidence.report());
    let place = reader.malformed();
    if reader.lp16()? != LABEL {
        return Err(place);
    }
    let claims = SoftwareClaims {
        report_data: reader.array()?,
        measurement: reader.array()?,
        key_digest: Sha256::digest(evidence.endorsement()).into(),
    };
    let algorithm = SignatureAlgorithm::from_code(reader.u8()?)?;
    let signature = Signature::from_bytes(reader.lp32("signature", Evidence::MAX_REPORT_LEN)?)?;
    reader.finish()?;
    Ok((algorithm, claims, signature))
}

fn statement(report_data: &[u8; 64], measurement: &[u8; 32], algorithm: SignatureAlgorithm) -> Vec<u8> {
    let mut out = Vec::with_capacity(LABEL.len() + 103 + algorithm.signature_len());
    put_lp16(&mut out, LABEL);
    out.extend_from_slice(report_data);
    out.extend_from_slice(measurement);
    out.push(algorithm.code());
    out
}

const LABEL: &[u8] = b"hanzo-kbs/v1/software";
