//! AMD's issuers of signing certificates, built in.

use alloc::string::ToString;

use rsa::RsaPublicKey;
use rsa::pkcs8::DecodePublicKey;
use rsa::pss::{Signature, VerifyingKey};
use rsa::signature::Verifier;
use sha2::Sha384;

use super::{AttestationError, Certificate};
use crate::attestation::SnpProduct;
use x509_cert::der::asn1::ObjectIdentifier;

/// The key that certifies the chips (ASK) or the providers' keys (ASVK) of one product.
#[derive(Debug)]
pub(super) struct Issuer {
    common_name: &'static str,
    pub(super) product: SnpProduct,
    pub(super) vlek: bool,
    spki: &'static [u8],
}

/// SHA-256 of the SubjectPublicKeyInfos, in this order: 42491669..38ebb6, 66450a12..535e33, 0324d55b..c9ebb8, 7d163325..59264e, 0000ead3..e7d3a9,
/// bfc44140..54d386. The roots (ARK) that sign them: 9f056bee..089cb9, 429a69c9..863831, 4f125410..d7ad08.
const ISSUERS: [Issuer; 6] = [
    Issuer {
        common_name: "CN=SEV-Milan",
        product: SnpProduct::Milan,
        vlek: false,
        spki: include_bytes!("milan_ask.spki.der"),
    },
    Issuer {
        common_name: "CN=SEV-VLEK-Milan",
        product: SnpProduct::Milan,
        vlek: true,
        spki: include_bytes!("milan_asvk.spki.der"),
    },
    Issuer {
        common_name: "CN=SEV-Genoa",
        product: SnpProduct::Genoa,
        vlek: false,
        spki: include_bytes!("genoa_ask.spki.der"),
    },
    Issuer {
        common_name: "CN=SEV-VLEK-Genoa",
        product: SnpProduct::Genoa,
        vlek: true,
        spki: include_bytes!("genoa_asvk.spki.der"),
    },
    Issuer {
        common_name: "CN=SEV-Turin",
        product: SnpProduct::Turin,
        vlek: false,
        spki: include_bytes!("turin_ask.spki.der"),
    },
    Issuer {
        common_name: "CN=SEV-VLEK-Turin",
        product: SnpProduct::Turin,
        vlek: true,
        spki: include_bytes!("turin_asvk.spki.der"),
    },
];

/// Finds the issuer that a certificate names and verifies its signature: RSASSA-PSS with SHA-384 and 48 bytes of salt, whatever parameters it states.
pub(super) fn verify(certificate: &Certificate<'_>) -> Result<&'static Issuer, AttestationError> {
    let name = certificate.tbs.issuer().to_string();
    let named = |issuer: &&Issuer| name.split(',').any(|part| part == issuer.common_name);
    let issuer = ISSUERS.iter().find(named).ok_or(AttestationError::UntrustedRoot)?;
    if certificate.algorithm.oid != RSASSA_PSS {
        return Err(AttestationError::Endorsement);
    }
    let key = RsaPublicKey::from_public_key_der(issuer.spki).map_err(|_| AttestationError::UntrustedRoot)?;
    let signature = Signature::try_from(certificate.signature).map_err(|_| AttestationError::Chain)?;
    VerifyingKey::<Sha384>::new_with_salt_len(key, 48)
        .verify(certificate.signed, &signature)
        .map_err(|_| AttestationError::Chain)?;
    Ok(issuer)
}

const RSASSA_PSS: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.10");

#[cfg(test)]
mod tests {
    use super::*;
    use sha2::{Digest, Sha256};

    /// The pins, which AMD's certificates give: held here so that no file can change unseen.
    #[test]
    fn the_files_are_the_pins() {
        let pins = [
            "42491669ccb851d627ea9846cd24eccbeb7de7c2a62740120fff88001d38ebb6",
            "66450a123ea5876206df67f2514a4fea224c0f63b18313423078b0edc4535e33",
            "0324d55bcd48ba877a8fd87c0e1b4934dec8448e3807a24384a34dc6a6c9ebb8",
            "7d1633252ebbadaa75f96e9b4e6f7d43a90ceb3f843937482630f8da2459264e",
            "0000ead352025f208bf55297c4192c34cd1b878002107366d8f2065a9ae7d3a9",
            "bfc441408b2f806c5dbf180bd8920e6e60dd404d82141780d85dbf962954d386",
        ];
        for (issuer, pin) in ISSUERS.iter().zip(pins) {
            assert_eq!(hex::encode(Sha256::digest(issuer.spki)), pin, "{}", issuer.common_name);
            assert!(RsaPublicKey::from_public_key_der(issuer.spki).is_ok());
        }
    }
}
