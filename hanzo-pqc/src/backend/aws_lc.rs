//! ML-KEM, ML-DSA and X25519 of AWS-LC: the only file that names `aws_lc_rs` but for the FIPS question.

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt;

#[cfg(feature = "hybrid")]
use aws_lc_rs::aead::{AES_256_GCM, Aad, Nonce, RandomizedNonceKey};
use aws_lc_rs::agreement;
#[cfg(feature = "hybrid")]
use aws_lc_rs::agreement::{UnparsedPublicKey, X25519};
#[cfg(feature = "hybrid")]
use aws_lc_rs::hkdf;
use aws_lc_rs::kem;
use aws_lc_rs::signature::{
    KeyPair, ML_DSA_44, ML_DSA_44_SIGNING, ML_DSA_65, ML_DSA_65_SIGNING, ML_DSA_87, ML_DSA_87_SIGNING, ParsedPublicKey,
    PqdsaKeyPair, PqdsaSigningAlgorithm, PqdsaVerificationAlgorithm,
};
use rand_core::{CryptoRng, TryCryptoRng};
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

use crate::backend::rustcrypto::KemSecret;
use crate::backend::{AwsLc, sealed};
use crate::dsa::SignatureAlgorithm;
use crate::error::{Error, Result};
#[cfg(feature = "hybrid")]
use crate::kdf::KdfHash;
use crate::kem::KemAlgorithm;

/// An imported decapsulation key, and beside it the public key, which the module does not give back.
pub struct KemPrivate {
    key: kem::DecapsulationKey,
    public: KemPublic,
}

/// A checked encapsulation key.
#[derive(Clone)]
pub struct KemPublic {
    key: Arc<kem::EncapsulationKey>,
    bytes: Arc<[u8]>,
}

impl fmt::Debug for KemPublic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("KemPublic").field(&self.bytes).finish()
    }
}

impl sealed::Kem for AwsLc {
    type Private = KemPrivate;
    type Public = KemPublic;
    type Dh = agreement::PrivateKey;

    fn from_seed(algorithm: KemAlgorithm, seed: &[u8; 64]) -> Result<KemPrivate> {
        // The module has no seed import: the seed is expanded outside, once a key.
        let expanded = KemSecret::from_seed(algorithm, seed).to_expanded();
        import(algorithm, &expanded)
    }

    fn from_expanded(algorithm: KemAlgorithm, bytes: &[u8]) -> Result<KemPrivate> {
        let expected = algorithm.expanded_key_len();
        if bytes.len() != expected {
            return Err(Error::InvalidLength { what: "expanded decapsulation key", expected, actual: bytes.len() });
        }
        // The module checks the size only; the hash is ours (FIPS 203 section 7.3).
        let (public, hash) = public_part(algorithm, bytes)?;
        let computed: [u8; 32] = sha3_256(public);
        if !bool::from(computed.ct_eq(hash)) {
            return Err(Error::InvalidKey);
        }
        import(algorithm, bytes)
    }

    fn public(private: &KemPrivate) -> KemPublic {
        private.public.clone()
    }

    fn public_from_bytes(algorithm: KemAlgorithm, bytes: &[u8]) -> Result<KemPublic> {
        let expected = algorithm.encapsulation_key_len();
        if bytes.len() != expected {
            return Err(Error::InvalidLength { what: "encapsulation key", expected, actual: bytes.len() });
        }
        // The last 32 bytes are the matrix's seed; the rest are 12-bit coefficients, two in three bytes.
        let reduced = bytes[..expected - 32].chunks_exact(3).all(|three| {
            let low = u16::from(three[0]) | (u16::from(three[1]) & 0x0F) << 8;
            let high = u16::from(three[1]) >> 4 | u16::from(three[2]) << 4;
            low < Q && high < Q
        });
        if !reduced {
            return Err(Error::InvalidKey);
        }
        let key = kem::EncapsulationKey::new(kem_algorithm(algorithm), bytes).map_err(|_| Error::InvalidKey)?;
        Ok(KemPublic { key: Arc::new(key), bytes: bytes.into() })
    }

    fn public_bytes(public: &KemPublic) -> Vec<u8> {
        public.bytes.to_vec()
    }

    fn decapsulate(private: &KemPrivate, ciphertext: &[u8]) -> Result<sealed::Secret> {
        let shared = private.key.decapsulate(ciphertext.into()).map_err(|_| Error::Backend)?;
        wrap(shared.as_ref())
    }

    fn encapsulate<R: CryptoRng + ?Sized>(public: &KemPublic, _: &mut R) -> Result<(Vec<u8>, sealed::Secret)> {
        let (ciphertext, shared) = public.key.encapsulate().map_err(|_| Error::Backend)?;
        Ok((ciphertext.as_ref().to_vec(), wrap(shared.as_ref())?))
    }

    #[cfg(feature = "hybrid")]
    fn dh_from_bytes(bytes: &[u8; 32]) -> Result<agreement::PrivateKey> {
        agreement::PrivateKey::from_private_key(&X25519, bytes).map_err(|_| Error::Backend)
    }

    #[cfg(feature = "hybrid")]
    fn dh_public(dh: &agreement::PrivateKey) -> Result<[u8; 32]> {
        let public = dh.compute_public_key().map_err(|_| Error::Backend)?;
        public.as_ref().try_into().map_err(|_| Error::Backend)
    }

    #[cfg(feature = "hybrid")]
    fn dh(dh: &agreement::PrivateKey, point: &[u8; 32]) -> Result<sealed::Secret> {
        // The module's only failure here is the all-zero result (RFC 7748 section 6.1).
        agreement::agree(dh, UnparsedPublicKey::new(&X25519, point), Error::NonContributory, wrap)
    }

    #[cfg(feature = "hybrid")]
    fn hkdf(hash: KdfHash, salt: Option<&[u8]>, ikm: &[&[u8]], info: &[&[u8]], out: &mut [u8]) -> Result<()> {
        let (algorithm, hash_len) = match hash {
            KdfHash::Sha256 => (hkdf::HKDF_SHA256, 32),
            KdfHash::Sha384 => (hkdf::HKDF_SHA384, 48),
            KdfHash::Sha512 => (hkdf::HKDF_SHA512, 64),
        };
        let ikm = Zeroizing::new(ikm.concat());
        // The module's own form of no salt is not approved in FIPS mode; the bytes it stands for are.
        let prk = hkdf::Salt::new(algorithm, salt.unwrap_or(&[0; 64][..hash_len])).extract(&ikm);
        let too_long = Error::TooLong { what: "derived key", limit: 255 * hash_len };
        let okm = prk.expand(info, OutputLen(out.len())).map_err(|_| too_long)?;
        okm.fill(out).map_err(|_| too_long)
    }

    #[cfg(feature = "hybrid")]
    fn digest(hash: KdfHash, bytes: &[u8]) -> Vec<u8> {
        let algorithm = match hash {
            KdfHash::Sha256 => &aws_lc_rs::digest::SHA256,
            KdfHash::Sha384 => &aws_lc_rs::digest::SHA384,
            KdfHash::Sha512 => &aws_lc_rs::digest::SHA512,
        };
        aws_lc_rs::digest::digest(algorithm, bytes).as_ref().to_vec()
    }
}

impl sealed::Dsa for AwsLc {
    type Signing = PqdsaKeyPair;
    type Verifying = ParsedPublicKey;

    fn pair_from_seed(algorithm: SignatureAlgorithm, seed: &[u8; 32]) -> Result<(PqdsaKeyPair, ParsedPublicKey)> {
        let signing = PqdsaKeyPair::from_seed(dsa_algorithm(algorithm).0, seed).map_err(|_| Error::Backend)?;
        let verifying = Self::verifying(&signing)?;
        Ok((signing, verifying))
    }

    fn signing_from_expanded(algorithm: SignatureAlgorithm, bytes: &[u8]) -> Result<PqdsaKeyPair> {
        PqdsaKeyPair::from_raw_private_key(dsa_algorithm(algorithm).0, bytes).map_err(|_| Error::InvalidKey)
    }

    fn verifying(signing: &PqdsaKeyPair) -> Result<ParsedPublicKey> {
        let bytes = signing.public_key().as_ref();
        let algorithm = SignatureAlgorithm::ALL
            .into_iter()
            .find(|algorithm| algorithm.verifying_key_len() == bytes.len())
            .ok_or(Error::Backend)?;
        Self::verifying_from_bytes(algorithm, bytes)
    }

    fn verifying_from_bytes(algorithm: SignatureAlgorithm, bytes: &[u8]) -> Result<ParsedPublicKey> {
        let expected = algorithm.verifying_key_len();
        if bytes.len() != expected {
            return Err(Error::InvalidLength { what: "verifying key", expected, actual: bytes.len() });
        }
        ParsedPublicKey::new(dsa_algorithm(algorithm).1, bytes).map_err(|_| Error::InvalidKey)
    }

    fn verifying_bytes(verifying: &ParsedPublicKey) -> Vec<u8> {
        verifying.as_ref().to_vec()
    }

    fn sign<R: TryCryptoRng + ?Sized>(
        signing: &PqdsaKeyPair,
        message: &[u8],
        context: &[u8],
        _: &mut R,
    ) -> Result<Vec<u8>> {
        no_context(context)?;
        let mut signature = alloc::vec![0; signing.algorithm().signature_len()];
        signing.sign(message, &mut signature).map_err(|_| Error::SigningFailed)?;
        Ok(signature)
    }

    fn verify(verifying: &ParsedPublicKey, message: &[u8], context: &[u8], signature: &[u8]) -> Result<()> {
        no_context(context)?;
        verifying.verify_sig(message, signature).map_err(|_| Error::InvalidSignature)
    }
}

/// How much key material to derive, in the form the module asks for it.
#[cfg(feature = "hybrid")]
struct OutputLen(usize);

#[cfg(feature = "hybrid")]
impl hkdf::KeyType for OutputLen {
    fn len(&self) -> usize {
        self.0
    }
}

/// Appends the tag; the nonce is the module's own (FIPS 140-3 IG C.H).
#[cfg(feature = "hybrid")]
pub(crate) fn aes_256_gcm_seal(key: &[u8; 32], aad: &[u8], buffer: &mut Vec<u8>) -> Result<[u8; 12]> {
    let key = RandomizedNonceKey::new(&AES_256_GCM, key).map_err(|_| Error::Backend)?;
    let nonce = key.seal_in_place_append_tag(Aad::from(aad), buffer).map_err(|_| Error::Backend)?;
    Ok(*nonce.as_ref())
}

/// Takes the tag off.
#[cfg(feature = "hybrid")]
pub(crate) fn aes_256_gcm_open(key: &[u8; 32], nonce: &[u8; 12], aad: &[u8], buffer: &mut Vec<u8>) -> Result<()> {
    let key = RandomizedNonceKey::new(&AES_256_GCM, key).map_err(|_| Error::Backend)?;
    let opened = key.open_in_place(Nonce::from(nonce), Aad::from(aad), buffer).map_err(|_| Error::Decrypt)?.len();
    buffer.truncate(opened);
    Ok(())
}

const fn no_context(context: &[u8]) -> Result<()> {
    if context.is_empty() { Ok(()) } else { Err(Error::Unsupported { what: "a context" }) }
}

fn import(algorithm: KemAlgorithm, expanded: &[u8]) -> Result<KemPrivate> {
    let (public, _) = public_part(algorithm, expanded)?;
    let public = <AwsLc as sealed::Kem>::public_from_bytes(algorithm, public)?;
    let key = kem::DecapsulationKey::new(kem_algorithm(algorithm), expanded).map_err(|_| Error::Backend)?;
    Ok(KemPrivate { key, public })
}

/// The public key and its hash inside an expanded key: dk_pke ‖ ek ‖ H(ek) ‖ z (FIPS 203 algorithm 16).
fn public_part(algorithm: KemAlgorithm, expanded: &[u8]) -> Result<(&[u8], &[u8; 32])> {
    let (rest, _z) = expanded.split_last_chunk::<32>().ok_or(Error::InvalidKey)?;
    let (rest, hash) = rest.split_last_chunk::<32>().ok_or(Error::InvalidKey)?;
    let at = rest.len().checked_sub(algorithm.encapsulation_key_len()).ok_or(Error::InvalidKey)?;
    Ok((&rest[at..], hash))
}

fn sha3_256(bytes: &[u8]) -> [u8; 32] {
    let mut out = [0; 32];
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA3_256, bytes);
    out.copy_from_slice(digest.as_ref());
    out
}

fn wrap(secret: &[u8]) -> Result<sealed::Secret> {
    let mut out = Zeroizing::new([0; 32]);
    if secret.len() != out.len() {
        return Err(Error::Backend);
    }
    out.copy_from_slice(secret);
    Ok(out)
}

const fn kem_algorithm(algorithm: KemAlgorithm) -> &'static kem::Algorithm {
    match algorithm {
        KemAlgorithm::MlKem512 => &kem::ML_KEM_512,
        KemAlgorithm::MlKem768 => &kem::ML_KEM_768,
        KemAlgorithm::MlKem1024 => &kem::ML_KEM_1024,
    }
}

const fn dsa_algorithm(
    algorithm: SignatureAlgorithm,
) -> (&'static PqdsaSigningAlgorithm, &'static PqdsaVerificationAlgorithm) {
    match algorithm {
        SignatureAlgorithm::MlDsa44 => (&ML_DSA_44_SIGNING, &ML_DSA_44),
        SignatureAlgorithm::MlDsa65 => (&ML_DSA_65_SIGNING, &ML_DSA_65),
        SignatureAlgorithm::MlDsa87 => (&ML_DSA_87_SIGNING, &ML_DSA_87),
    }
}

/// The modulus of ML-KEM.
const Q: u16 = 3329;
