//! Certificates: parsed by `x509-cert`, their signed bytes sliced out as received, never encoded again.

use alloc::vec::Vec;

use p384::ecdsa::{Signature, VerifyingKey};
use sha2::{Digest, Sha256, Sha384};
use signature::hazmat::PrehashVerifier;
use x509_cert::TbsCertificate;
use x509_cert::der::asn1::{BitStringRef, ObjectIdentifier};
use x509_cert::der::{Decode, Encode, Header, Reader, SliceReader, Tag};
use x509_cert::spki::AlgorithmIdentifierOwned;

use super::{AttestationError, UnixTime};

/// A certificate whose signature is not verified yet.
pub(super) struct Certificate<'a> {
    pub(super) tbs: TbsCertificate,
    pub(super) signed: &'a [u8],
    pub(super) algorithm: AlgorithmIdentifierOwned,
    pub(super) signature: &'a [u8],
    pub(super) spki: Vec<u8>,
}

impl<'a> Certificate<'a> {
    /// Reads a certificate in DER; nothing may follow it.
    pub(super) fn parse(bytes: &'a [u8]) -> Result<Self, AttestationError> {
        Self::read(bytes).map_err(|_| AttestationError::Endorsement)
    }

    fn read(bytes: &'a [u8]) -> Result<Self, x509_cert::der::Error> {
        let mut reader = SliceReader::new(bytes)?;
        let header = Header::decode(&mut reader)?;
        header.tag().assert_eq(Tag::Sequence)?;
        if header.length() != reader.remaining_len() {
            return Err(Tag::Sequence.length_error().into());
        }
        let signed = reader.tlv_bytes()?;
        let algorithm = AlgorithmIdentifierOwned::decode(&mut reader)?;
        let signature = BitStringRef::decode(&mut reader)?;
        reader.finish()?;
        let tbs = TbsCertificate::from_der(signed)?;
        if *tbs.signature() != algorithm {
            return Err(Tag::Sequence.value_error().into());
        }
        let signature = signature.as_bytes().ok_or_else(|| Tag::BitString.value_error())?;
        let spki = tbs.subject_public_key_info().to_der()?;
        Ok(Self { tbs, signed, algorithm, signature, spki })
    }

    /// SHA-256 of the SubjectPublicKeyInfo, which is how keys are pinned and revoked.
    pub(super) fn key_digest(&self) -> [u8; 32] {
        Sha256::digest(&self.spki).into()
    }

    pub(super) fn dates(&self) -> Dates {
        let validity = self.tbs.validity();
        Dates {
            from: validity.not_before.to_unix_duration().as_secs(),
            to: validity.not_after.to_unix_duration().as_secs(),
        }
    }

    /// The P-384 key inside.
    pub(super) fn p384(&self) -> Result<VerifyingKey, AttestationError> {
        let info = self.tbs.subject_public_key_info();
        let curve = info.algorithm.parameters.as_ref().and_then(|any| any.decode_as::<ObjectIdentifier>().ok());
        if info.algorithm.oid != EC_PUBLIC_KEY || curve != Some(SECP384R1) {
            return Err(AttestationError::Endorsement);
        }
        let point = info.subject_public_key.as_bytes().ok_or(AttestationError::Endorsement)?;
        VerifyingKey::from_sec1_bytes(point).map_err(|_| AttestationError::Endorsement)
    }

    /// Verifies this certificate's ECDSA-SHA384 signature.
    #[cfg(feature = "nvidia")]
    pub(super) fn verify_p384(&self, issuer: &VerifyingKey) -> Result<(), AttestationError> {
        if self.algorithm.oid != ECDSA_WITH_SHA384 || self.algorithm.parameters.is_some() {
            return Err(AttestationError::Endorsement);
        }
        let signature = Signature::from_der(self.signature).map_err(|_| AttestationError::Chain)?;
        verify_p384(issuer, self.signed, &signature).map_err(|()| AttestationError::Chain)
    }

    /// The content of an extension that may stand once.
    pub(super) fn extension(&self, oid: ObjectIdentifier) -> Result<Option<&[u8]>, AttestationError> {
        let extensions = self.tbs.extensions().map_or(&[][..], |list| list.as_slice());
        let mut found = extensions.iter().filter(|extension| extension.extn_id == oid);
        let first = found.next().map(|extension| extension.extn_value.as_bytes());
        if found.next().is_some() { Err(AttestationError::Endorsement) } else { Ok(first) }
    }
}

/// When a certificate is good, both ends included, in Unix seconds.
#[derive(Debug, Clone, Copy)]
pub(super) struct Dates {
    from: u64,
    to: u64,
}

impl Dates {
    pub(super) fn check(self, now: UnixTime) -> Result<(), AttestationError> {
        if (self.from..=self.to).contains(&now.as_seconds()) { Ok(()) } else { Err(AttestationError::Expired) }
    }
}

/// Verifies ECDSA P-384 with SHA-384 over `message`.
pub(super) fn verify_p384(key: &VerifyingKey, message: &[u8], signature: &Signature) -> Result<(), ()> {
    key.verify_prehash(&Sha384::digest(message), signature).map_err(|_| ())
}

const EC_PUBLIC_KEY: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.2.1");
const SECP384R1: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.132.0.34");
#[cfg(feature = "nvidia")]
const ECDSA_WITH_SHA384: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.4.3.3");
