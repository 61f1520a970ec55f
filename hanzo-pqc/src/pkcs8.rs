//! Keys as PKCS#8 (RFC 5958) and SubjectPublicKeyInfo (RFC 5280): ML-KEM as RFC 9935 has it, ML-DSA as RFC 9881, composites as
//! draft-ietf-lamps-pq-composite-sigs. Written in the seed form; read in the seed, expanded and both forms.

use alloc::vec::Vec;

use ::pkcs8::der::asn1::{AnyRef, BitStringRef, OctetStringRef};
use ::pkcs8::der::{Decode, Encode, Reader, SliceReader, Tag, TagNumber, Tagged};
use ::pkcs8::spki::{AlgorithmIdentifierRef, SubjectPublicKeyInfoRef};
use ::pkcs8::{ObjectIdentifier, PrivateKeyInfoRef};
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

use crate::backend::{DsaBackend, KemBackend};
#[cfg(any(feature = "composite", feature = "unstable-slh-dsa"))]
use crate::composite::{CompositeAlgorithm, CompositeSigningKey, CompositeVerifyingKey};
use crate::dsa::{SignatureAlgorithm, SigningKey, VerifyingKey};
use crate::error::{Error, Result};
use crate::hybrid::{DecapsulationKey, EncapsulationKey};
use crate::kem::KemAlgorithm;
use crate::suite::HybridSuite;

/// The suites that have an object identifier.
const SUITES: [HybridSuite; 3] = [HybridSuite::MlKem512, HybridSuite::MlKem768, HybridSuite::MlKem1024];

impl<B: KemBackend> DecapsulationKey<B> {
    /// The key in PKCS#8 DER, in the seed form of RFC 9935.
    ///
    /// # Errors
    ///
    /// [`Error::Unsupported`] for a hybrid suite, which has no object identifier, and for a key that was imported without its seed.
    pub fn to_pkcs8_der(&self) -> Result<Zeroizing<Vec<u8>>> {
        let oid = suite_oid(self.suite())?;
        private_info(oid, self.expose_seed().ok_or(Error::Unsupported { what: "export without a seed" })?)
    }
}

impl DecapsulationKey {
    /// Reads an ML-KEM key in PKCS#8 DER: seed, expanded key, or both, which must agree.
    ///
    /// ```
    /// use hanzo_pqc::{DecapsulationKey, HybridSuite};
    ///
    /// let key = DecapsulationKey::from_seed(HybridSuite::MlKem768, &[7; 64])?;
    /// let read = DecapsulationKey::from_pkcs8_der(&key.to_pkcs8_der()?)?;
    /// assert_eq!(read.encapsulation_key(), key.encapsulation_key());
    /// # Ok::<(), hanzo_pqc::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::Malformed`] for bytes that are no PKCS#8, [`Error::InvalidKey`] where the algorithm has parameters, is no ML-KEM, the two
    /// forms disagree, or the expanded form fails the check of FIPS 203 section 7.3.
    pub fn from_pkcs8_der(der: &[u8]) -> Result<Self> {
        let (oid, private) = read_private(der)?;
        let suite = SUITES.into_iter().find(|suite| suite_oid(*suite) == Ok(oid)).ok_or(Error::InvalidKey)?;
        let (seed, expanded) = forms(private)?;
        match (seed, expanded) {
            (Some(seed), None) => Self::from_seed(suite, seed).map_err(|_| Error::InvalidKey),
            (None, Some(expanded)) => Self::from_expanded(suite, expanded).map_err(|_| Error::InvalidKey),
            (Some(seed), Some(expanded)) => {
                let key = Self::from_seed(suite, seed).map_err(|_| Error::InvalidKey)?;
                if bool::from(key.expanded().ct_eq(expanded)) { Ok(key) } else { Err(Error::InvalidKey) }
            }
            (None, None) => Err(Error::InvalidKey),
        }
    }
}

impl<B: KemBackend> EncapsulationKey<B> {
    /// The key as SubjectPublicKeyInfo in DER (RFC 9935).
    ///
    /// # Errors
    ///
    /// [`Error::Unsupported`] for a hybrid suite.
    pub fn to_spki_der(&self) -> Result<Vec<u8>> {
        public_info(suite_oid(self.suite())?, self.as_bytes())
    }

    /// Reads an ML-KEM key as SubjectPublicKeyInfo in DER, for the backend `B`.
    ///
    /// # Errors
    ///
    /// [`Error::Malformed`] for bytes that are none, [`Error::InvalidKey`] where the algorithm has parameters or is no ML-KEM, and as
    /// [`EncapsulationKey::from_bytes`].
    pub fn from_spki_der(der: &[u8]) -> Result<Self> {
        let (oid, bytes) = read_public(der)?;
        let suite = SUITES.into_iter().find(|suite| suite_oid(*suite) == Ok(oid)).ok_or(Error::InvalidKey)?;
        Self::from_bytes_in(suite, bytes)
    }
}

impl<B: DsaBackend> SigningKey<B> {
    /// The key in PKCS#8 DER, in the seed form of RFC 9881.
    ///
    /// # Errors
    ///
    /// [`Error::Unsupported`] for a key that was imported without its seed.
    pub fn to_pkcs8_der(&self) -> Result<Zeroizing<Vec<u8>>> {
        let seed = self.expose_seed().ok_or(Error::Unsupported { what: "export without a seed" })?;
        private_info(dsa_oid(self.algorithm()), seed)
    }
}

impl SigningKey {
    /// Reads an ML-DSA key in PKCS#8 DER: seed, expanded key, or both, which must agree.
    ///
    /// ```
    /// use hanzo_pqc::{SignatureAlgorithm, SigningKey};
    ///
    /// let key = SigningKey::from_seed(SignatureAlgorithm::MlDsa65, &[7; 32])?;
    /// let read = SigningKey::from_pkcs8_der(&key.to_pkcs8_der()?)?;
    /// assert_eq!(read.verifying_key(), key.verifying_key());
    /// # Ok::<(), hanzo_pqc::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::Malformed`] for bytes that are no PKCS#8, [`Error::InvalidKey`] where the algorithm has parameters, is no ML-DSA, the two
    /// forms disagree, or an expanded key alone fails the checks of [`Self::from_expanded`].
    pub fn from_pkcs8_der(der: &[u8]) -> Result<Self> {
        let (oid, private) = read_private(der)?;
        let mut all = SignatureAlgorithm::ALL.into_iter();
        let algorithm = all.find(|algorithm| dsa_oid(*algorithm) == oid).ok_or(Error::InvalidKey)?;
        let (seed, expanded) = forms(private)?;
        match (seed, expanded) {
            (Some(seed), None) => Self::from_seed(algorithm, seed).map_err(|_| Error::InvalidKey),
            (None, Some(expanded)) => Self::from_expanded(algorithm, expanded).map_err(|_| Error::InvalidKey),
            (Some(seed), Some(expanded)) => {
                let key = Self::from_seed(algorithm, seed).map_err(|_| Error::InvalidKey)?;
                if bool::from(key.expanded().ct_eq(expanded)) { Ok(key) } else { Err(Error::InvalidKey) }
            }
            (None, None) => Err(Error::InvalidKey),
        }
    }
}

impl<B: DsaBackend> VerifyingKey<B> {
    /// The key as SubjectPublicKeyInfo in DER (RFC 9881).
    ///
    /// # Errors
    ///
    /// None for a valid key.
    pub fn to_spki_der(&self) -> Result<Vec<u8>> {
        public_info(dsa_oid(self.algorithm()), self.as_bytes())
    }

    /// Reads an ML-DSA key as SubjectPublicKeyInfo in DER, for the backend `B`.
    ///
    /// # Errors
    ///
    /// [`Error::Malformed`] for bytes that are none, [`Error::InvalidKey`] where the algorithm has parameters or is no ML-DSA, and
    /// [`Error::InvalidLength`].
    pub fn from_spki_der(der: &[u8]) -> Result<Self> {
        let (oid, bytes) = read_public(der)?;
        let mut all = SignatureAlgorithm::ALL.into_iter();
        let algorithm = all.find(|algorithm| dsa_oid(*algorithm) == oid).ok_or(Error::InvalidKey)?;
        Self::from_bytes_in(algorithm, bytes)
    }
}

#[cfg(any(feature = "composite", feature = "unstable-slh-dsa"))]
impl CompositeSigningKey {
    /// The key in PKCS#8 DER: both seeds, bare, as the draft has it.
    ///
    /// # Errors
    ///
    /// [`Error::Unsupported`] for the composites with SLH-DSA, which have no object identifier.
    pub fn to_pkcs8_der(&self) -> Result<Zeroizing<Vec<u8>>> {
        private_der(composite_oid(self.algorithm())?, self.expose_seed())
    }

    /// Reads a composite key in PKCS#8 DER.
    ///
    /// # Errors
    ///
    /// [`Error::Malformed`] for bytes that are no PKCS#8, [`Error::InvalidKey`] where the algorithm has parameters, is no composite of this
    /// build, or the secret has another length.
    pub fn from_pkcs8_der(der: &[u8]) -> Result<Self> {
        let (oid, private) = read_private(der)?;
        Self::from_seed(composite(oid)?, private).map_err(|_| Error::InvalidKey)
    }
}

#[cfg(any(feature = "composite", feature = "unstable-slh-dsa"))]
impl CompositeVerifyingKey {
    /// The key as SubjectPublicKeyInfo in DER.
    ///
    /// # Errors
    ///
    /// [`Error::Unsupported`] for the composites with SLH-DSA.
    pub fn to_spki_der(&self) -> Result<Vec<u8>> {
        public_info(composite_oid(self.algorithm())?, self.as_bytes())
    }

    /// Reads a composite key as SubjectPublicKeyInfo in DER.
    ///
    /// # Errors
    ///
    /// [`Error::Malformed`] for bytes that are none, [`Error::InvalidKey`] where the algorithm has parameters or is no composite of this
    /// build, and as [`CompositeVerifyingKey::from_bytes`].
    pub fn from_spki_der(der: &[u8]) -> Result<Self> {
        let (oid, bytes) = read_public(der)?;
        Self::from_bytes(composite(oid)?, bytes)
    }
}

/// The PEM forms of the DER methods above.
#[cfg(feature = "pem")]
mod pem {
    use alloc::string::String;

    use ::pkcs8::der::pem::{LineEnding, PemLabel, decode_vec, encode_string};
    use ::pkcs8::{PrivateKeyInfoRef, SubjectPublicKeyInfoRef};

    use super::*;

    macro_rules! private {
        ([$($generics:tt)*] $key:ty, $plain:ty) => {
            impl<$($generics)*> $key {
                /// [`Self::to_pkcs8_der`] in PEM.
                ///
                /// # Errors
                ///
                /// As there.
                pub fn to_pkcs8_pem(&self) -> Result<Zeroizing<String>> {
                    encode(PrivateKeyInfoRef::PEM_LABEL, &self.to_pkcs8_der()?).map(Zeroizing::new)
                }
            }

            impl $plain {
                /// [`Self::from_pkcs8_der`] of PEM.
                ///
                /// # Errors
                ///
                /// As there, and [`Error::Malformed`] for text that is no PEM of a private key.
                pub fn from_pkcs8_pem(pem: &str) -> Result<Self> {
                    Self::from_pkcs8_der(&Zeroizing::new(decode(PrivateKeyInfoRef::PEM_LABEL, pem)?))
                }
            }
        };
    }

    macro_rules! public {
        ([$($generics:tt)*] $key:ty) => {
            impl<$($generics)*> $key {
                /// [`Self::to_spki_der`] in PEM.
                ///
                /// # Errors
                ///
                /// As there.
                pub fn to_spki_pem(&self) -> Result<String> {
                    encode(SubjectPublicKeyInfoRef::PEM_LABEL, &self.to_spki_der()?)
                }

                /// [`Self::from_spki_der`] of PEM.
                ///
                /// # Errors
                ///
                /// As there, and [`Error::Malformed`] for text that is no PEM of a public key.
                pub fn from_spki_pem(pem: &str) -> Result<Self> {
                    Self::from_spki_der(&decode(SubjectPublicKeyInfoRef::PEM_LABEL, pem)?)
                }
            }
        };
    }

    private!([B: KemBackend] DecapsulationKey<B>, DecapsulationKey);
    private!([B: DsaBackend] SigningKey<B>, SigningKey);
    public!([B: KemBackend] EncapsulationKey<B>);
    public!([B: DsaBackend] VerifyingKey<B>);
    #[cfg(any(feature = "composite", feature = "unstable-slh-dsa"))]
    private!([] CompositeSigningKey, CompositeSigningKey);
    #[cfg(any(feature = "composite", feature = "unstable-slh-dsa"))]
    public!([] CompositeVerifyingKey);

    fn encode(label: &'static str, der: &[u8]) -> Result<String> {
        encode_string(label, LineEnding::LF, der).map_err(|_| Error::Malformed { what: "PEM", offset: 0 })
    }

    fn decode(label: &str, pem: &str) -> Result<Vec<u8>> {
        let malformed = Error::Malformed { what: "PEM", offset: 0 };
        if pem.len() > 2 * MAX_DER_LEN {
            return Err(Error::TooLong { what: "PEM", limit: 2 * MAX_DER_LEN });
        }
        match decode_vec(pem.as_bytes()) {
            Ok((found, der)) if found == label => Ok(der),
            _ => Err(malformed),
        }
    }
}

/// The private key of RFC 9935 and RFC 9881 in the seed form: [0] IMPLICIT OCTET STRING.
fn private_info(oid: ObjectIdentifier, seed: &[u8]) -> Result<Zeroizing<Vec<u8>>> {
    let inner = AnyRef::new(SEED_TAG, seed).and_then(|any| any.to_der()).map(Zeroizing::new);
    private_der(oid, &inner.map_err(der_error)?)
}

fn private_der(oid: ObjectIdentifier, private: &[u8]) -> Result<Zeroizing<Vec<u8>>> {
    let algorithm = AlgorithmIdentifierRef { oid, parameters: None };
    let private = OctetStringRef::new(private).map_err(der_error)?;
    PrivateKeyInfoRef::new(algorithm, private).to_der().map(Zeroizing::new).map_err(der_error)
}

fn public_info(oid: ObjectIdentifier, bytes: &[u8]) -> Result<Vec<u8>> {
    let algorithm = AlgorithmIdentifierRef { oid, parameters: None };
    let subject_public_key = BitStringRef::new(0, bytes).map_err(der_error)?;
    SubjectPublicKeyInfoRef { algorithm, subject_public_key }.to_der().map_err(der_error)
}

fn read_private(der: &[u8]) -> Result<(ObjectIdentifier, &[u8])> {
    check_len(der)?;
    let info = PrivateKeyInfoRef::from_der(der).map_err(der_error)?;
    if info.algorithm.parameters.is_some() {
        return Err(Error::InvalidKey);
    }
    Ok((info.algorithm.oid, info.private_key.as_bytes()))
}

fn read_public(der: &[u8]) -> Result<(ObjectIdentifier, &[u8])> {
    check_len(der)?;
    let info = SubjectPublicKeyInfoRef::from_der(der).map_err(der_error)?;
    if info.algorithm.parameters.is_some() {
        return Err(Error::InvalidKey);
    }
    Ok((info.algorithm.oid, info.subject_public_key.as_bytes().ok_or(Error::InvalidKey)?))
}

/// A seed and an expanded key, at least one of them.
type Forms<'a> = (Option<&'a [u8]>, Option<&'a [u8]>);

/// The seed and the expanded key of the CHOICE: [0] seed, OCTET STRING expanded, SEQUENCE of both.
fn forms(private: &[u8]) -> Result<Forms<'_>> {
    let any = AnyRef::from_der(private).map_err(der_error)?;
    if any.tag() == SEED_TAG {
        return Ok((Some(any.value()), None));
    }
    match any.tag() {
        Tag::OctetString => Ok((None, Some(any.value()))),
        Tag::Sequence => {
            let mut reader = SliceReader::new(any.value()).map_err(der_error)?;
            let seed = <&OctetStringRef>::decode(&mut reader).map_err(der_error)?;
            let expanded = <&OctetStringRef>::decode(&mut reader).map_err(der_error)?;
            reader.finish().map_err(der_error)?;
            Ok((Some(seed.as_bytes()), Some(expanded.as_bytes())))
        }
        _ => Err(Error::InvalidKey),
    }
}

const fn check_len(der: &[u8]) -> Result<()> {
    if der.len() > MAX_DER_LEN { Err(Error::TooLong { what: "DER", limit: MAX_DER_LEN }) } else { Ok(()) }
}

fn der_error(error: ::pkcs8::der::Error) -> Error {
    let offset = error.position().map_or(0, |at| usize::try_from(at).unwrap_or(usize::MAX));
    Error::Malformed { what: "DER", offset }
}

fn suite_oid(suite: HybridSuite) -> Result<ObjectIdentifier> {
    if suite.is_hybrid() {
        return Err(Error::Unsupported { what: "an object identifier" });
    }
    Ok(match suite.kem() {
        KemAlgorithm::MlKem512 => ObjectIdentifier::new_unwrap("2.16.840.1.101.3.4.4.1"),
        KemAlgorithm::MlKem768 => ObjectIdentifier::new_unwrap("2.16.840.1.101.3.4.4.2"),
        KemAlgorithm::MlKem1024 => ObjectIdentifier::new_unwrap("2.16.840.1.101.3.4.4.3"),
    })
}

const fn dsa_oid(algorithm: SignatureAlgorithm) -> ObjectIdentifier {
    match algorithm {
        SignatureAlgorithm::MlDsa44 => ObjectIdentifier::new_unwrap("2.16.840.1.101.3.4.3.17"),
        SignatureAlgorithm::MlDsa65 => ObjectIdentifier::new_unwrap("2.16.840.1.101.3.4.3.18"),
        SignatureAlgorithm::MlDsa87 => ObjectIdentifier::new_unwrap("2.16.840.1.101.3.4.3.19"),
    }
}

#[cfg(any(feature = "composite", feature = "unstable-slh-dsa"))]
const fn composite_oid(algorithm: CompositeAlgorithm) -> Result<ObjectIdentifier> {
    match algorithm {
        #[cfg(feature = "composite")]
        CompositeAlgorithm::MlDsa44Ed25519 => Ok(ObjectIdentifier::new_unwrap("1.3.6.1.5.5.7.6.39")),
        #[cfg(feature = "composite")]
        CompositeAlgorithm::MlDsa65Ed25519 => Ok(ObjectIdentifier::new_unwrap("1.3.6.1.5.5.7.6.48")),
        #[cfg(feature = "unstable-slh-dsa")]
        _ => Err(Error::Unsupported { what: "an object identifier" }),
    }
}

#[cfg(any(feature = "composite", feature = "unstable-slh-dsa"))]
fn composite(oid: ObjectIdentifier) -> Result<CompositeAlgorithm> {
    let mut all = CompositeAlgorithm::ALL.iter().copied();
    all.find(|algorithm| composite_oid(*algorithm) == Ok(oid)).ok_or(Error::InvalidKey)
}

const SEED_TAG: Tag = Tag::ContextSpecific { constructed: false, number: TagNumber(0) };
/// No key of this crate is longer in DER; bounds what the parsers read.
const MAX_DER_LEN: usize = 16_384;
