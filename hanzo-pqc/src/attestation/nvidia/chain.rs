//! The certificates of a GPU, from the key that signs its reports to NVIDIA's root.

use alloc::boxed::Box;
use alloc::string::ToString;
use alloc::vec::Vec;

use p384::ecdsa::VerifyingKey;
use sha2::{Digest, Sha256};
use x509_cert::der::asn1::{ObjectIdentifier, OctetStringRef};
use x509_cert::der::{Decode, Reader, SliceReader, Tag};
use x509_cert::ext::pkix::{BasicConstraints, KeyUsage};

use super::{AttestationError, Certificate, Dates};
use crate::attestation::GpuArchitecture;

/// A chain whose links were verified up to the pinned root.
#[derive(Debug, Clone)]
pub(super) struct Chain {
    pub(super) leaf: VerifyingKey,
    pub(super) fwid: [u8; 48],
    pub(super) architecture: GpuArchitecture,
    /// Of every certificate, leaf first.
    pub(super) dates: Vec<Dates>,
    pub(super) serials: Vec<Box<[u8]>>,
}

impl Chain {
    pub(super) fn verify(pem: &[u8]) -> Result<Self, AttestationError> {
        let ders = read_pem(pem)?;
        let certificates = ders.iter().map(|der| Certificate::parse(der)).collect::<Result<Vec<_>, _>>()?;
        let [leaf, issuers @ ..] = certificates.as_slice() else {
            return Err(AttestationError::Endorsement);
        };
        let [issuer, .., root] = issuers else {
            return Err(AttestationError::Endorsement);
        };
        if root.key_digest() != ROOT {
            return Err(AttestationError::UntrustedRoot);
        }
        check_roles(leaf, issuers)?;
        let keys = certificates.iter().map(Certificate::p384).collect::<Result<Vec<_>, _>>()?;
        for (pair, key) in certificates.windows(2).zip(keys.iter().skip(1)) {
            if pair[0].tbs.issuer() != pair[1].tbs.subject() {
                return Err(AttestationError::Chain);
            }
            pair[0].verify_p384(key)?;
        }
        // A root that differs from the published one in a bit has to be signed by its key.
        let published = ders.last().is_some_and(|der| Sha256::digest(der)[..] == ROOT_CERTIFICATE);
        if let (false, Some(key)) = (published, keys.last()) {
            root.verify_p384(key)?;
        }
        let leaf_key = *keys.first().ok_or(AttestationError::Endorsement)?;
        Ok(Self {
            leaf: leaf_key,
            fwid: firmware_identity(leaf, issuer)?,
            architecture: architecture(issuers)?,
            dates: certificates.iter().map(Certificate::dates).collect(),
            serials: certificates.iter().map(serial).collect(),
        })
    }
}

/// 3 to 8 certificates; between them white space alone.
fn read_pem(pem: &[u8]) -> Result<Vec<Vec<u8>>, AttestationError> {
    let text = core::str::from_utf8(pem).map_err(|_| AttestationError::Endorsement)?;
    let mut rest = text.trim_ascii();
    let mut ders = Vec::new();
    while !rest.is_empty() {
        let end = rest.find(END).ok_or(AttestationError::Endorsement)? + END.len();
        if ders.len() == MAX_CERTIFICATES {
            return Err(AttestationError::Endorsement);
        }
        let (one, others) = rest.split_at(end);
        let (label, der) =
            x509_cert::der::pem::decode_vec(one.as_bytes()).map_err(|_| AttestationError::Endorsement)?;
        if label != "CERTIFICATE" {
            return Err(AttestationError::Endorsement);
        }
        ders.push(der);
        rest = others.trim_ascii_start();
    }
    if ders.len() < MIN_CERTIFICATES {
        return Err(AttestationError::Endorsement);
    }
    Ok(ders)
}

/// The issuers are CAs that sign certificates, far enough up for their path length; the leaf signs and is none.
fn check_roles(leaf: &Certificate<'_>, issuers: &[Certificate<'_>]) -> Result<(), AttestationError> {
    let usage = |certificate: &Certificate<'_>| {
        let content = certificate.extension(KEY_USAGE)?.ok_or(AttestationError::Endorsement)?;
        KeyUsage::from_der(content).map_err(|_| AttestationError::Endorsement)
    };
    let constraints = |certificate: &Certificate<'_>| {
        let content = certificate.extension(BASIC_CONSTRAINTS)?;
        content
            .map(|content| BasicConstraints::from_der(content).map_err(|_| AttestationError::Endorsement))
            .transpose()
    };
    for (below, certificate) in issuers.iter().enumerate() {
        let constraints = constraints(certificate)?.ok_or(AttestationError::Endorsement)?;
        let long = constraints.path_len_constraint.is_some_and(|limit| below > usize::from(limit));
        if !constraints.ca || long || !usage(certificate)?.key_cert_sign() {
            return Err(AttestationError::Endorsement);
        }
    }
    let is_ca = constraints(leaf)?.is_some_and(|constraints| constraints.ca);
    if is_ca || !usage(leaf)?.digital_signature() {
        return Err(AttestationError::Endorsement);
    }
    Ok(())
}

/// The DICE extension of the leaf: SEQUENCE { INTEGER 1, SubjectPublicKeyInfo of the issuer, SEQUENCE { OID SHA-384, OCTET STRING } }.
fn firmware_identity(leaf: &Certificate<'_>, issuer: &Certificate<'_>) -> Result<[u8; 48], AttestationError> {
    let content = leaf.extension(DICE_FWID)?.ok_or(AttestationError::Endorsement)?;
    let (key, hash, fwid) = read_identity(content).map_err(|_| AttestationError::Endorsement)?;
    if key != issuer.spki || hash != SHA_384 {
        return Err(AttestationError::FwidMismatch);
    }
    fwid.try_into().map_err(|_| AttestationError::Endorsement)
}

fn read_identity(content: &[u8]) -> Result<(&[u8], ObjectIdentifier, &[u8]), x509_cert::der::Error> {
    let mut reader = sequence(content)?;
    if u8::decode(&mut reader)? != 1 {
        return Err(Tag::Integer.value_error().into());
    }
    let key = reader.tlv_bytes()?;
    let mut inner = sequence(reader.tlv_bytes()?)?;
    reader.finish()?;
    let hash = ObjectIdentifier::decode(&mut inner)?;
    let fwid = <&OctetStringRef>::decode(&mut inner)?;
    inner.finish()?;
    Ok((key, hash, fwid.as_bytes()))
}

/// A reader of what one SEQUENCE holds, after which nothing stands.
fn sequence(bytes: &[u8]) -> Result<SliceReader<'_>, x509_cert::der::Error> {
    let any = x509_cert::der::asn1::AnyRef::from_der(bytes)?;
    x509_cert::der::Tagged::tag(&any).assert_eq(Tag::Sequence)?;
    SliceReader::new(any.value())
}

/// From the common names of the issuers, which NVIDIA signed.
fn architecture(issuers: &[Certificate<'_>]) -> Result<GpuArchitecture, AttestationError> {
    let hopper = issuers.iter().any(|issuer| {
        let name = issuer.tbs.subject().to_string();
        name.split(',').any(|part| part.starts_with("CN=NVIDIA GH100 ") || part.starts_with("CN=GH100 "))
    });
    if hopper { Ok(GpuArchitecture::Hopper) } else { Err(AttestationError::UnsupportedGpu) }
}

fn serial(certificate: &Certificate<'_>) -> Box<[u8]> {
    let bytes = certificate.tbs.serial_number().as_bytes();
    let zeros = bytes.iter().take_while(|byte| **byte == 0).count();
    bytes[zeros..].into()
}

/// SHA-256 of the SubjectPublicKeyInfo of NVIDIA's Device Identity CA.
const ROOT: [u8; 32] = [
    0xA9, 0x0C, 0x4E, 0xB5, 0xAC, 0xFD, 0x3E, 0x3D, 0x03, 0xA2, 0x5D, 0xB6, 0xA2, 0x6B, 0x84, 0xF7, 0x20, 0xAD, 0x05,
    0x03, 0x19, 0x6C, 0x62, 0x7C, 0x21, 0xDD, 0xD4, 0x8D, 0xD8, 0x5B, 0x06, 0xA4,
];
/// SHA-256 of its certificate.
const ROOT_CERTIFICATE: [u8; 32] = [
    0x10, 0x2B, 0xF6, 0x59, 0xD5, 0x41, 0x96, 0x14, 0xC9, 0xD8, 0xE6, 0xAE, 0xCE, 0xBC, 0x80, 0x45, 0x4E, 0xB2, 0x6B,
    0x1D, 0xF6, 0xA7, 0x69, 0xAC, 0x72, 0x0B, 0x9A, 0x69, 0x0B, 0x16, 0x7B, 0x48,
];
const MIN_CERTIFICATES: usize = 3;
const MAX_CERTIFICATES: usize = 8;
const END: &str = "-----END CERTIFICATE-----";
const KEY_USAGE: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.29.15");
const BASIC_CONSTRAINTS: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.29.19");
const DICE_FWID: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.23.133.5.4.1");
const SHA_384: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.16.840.1.101.3.4.2.2");
