//! Where the algorithms come from: the seam between this crate's types and an implementation of ML-KEM, ML-DSA and X25519.
//!
//! A key carries its backend as a type parameter, [`RustCrypto`] by default; so two backends can stand in one program and be compared.
//! The traits are sealed: they name what a backend must do and are implemented here only.

#[cfg(feature = "aws-lc")]
#[expect(
    missing_debug_implementations,
    reason = "types inside the sealed traits, never seen; the keys around them print themselves"
)]
pub(crate) mod aws_lc;
#[expect(
    missing_debug_implementations,
    reason = "types inside the sealed traits, never seen; the keys around them print themselves"
)]
pub(crate) mod rustcrypto;

/// ML-KEM (and, for the hybrids, X25519) as [`DecapsulationKey`](crate::DecapsulationKey) and
/// [`EncapsulationKey`](crate::EncapsulationKey) use it. Sealed.
///
/// # Guarantees
///
/// Two backends give the same keys from the same seeds and the same secret from the same key and ciphertext; both refuse the same keys.
pub trait KemBackend: sealed::Kem {}

/// ML-DSA as [`SigningKey`](crate::SigningKey) and [`VerifyingKey`](crate::VerifyingKey) use it. Sealed.
///
/// # Guarantees
///
/// Two backends give the same verifying key from the same seed and accept the same signatures under the empty context.
pub trait DsaBackend: sealed::Dsa {}

/// The default backend: `ml-kem`, `ml-dsa` and `x25519-dalek`, in Rust alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct RustCrypto;

impl KemBackend for RustCrypto {}
impl DsaBackend for RustCrypto {}

/// AWS-LC through `aws-lc-rs`: several times faster, and needs a C compiler to build.
///
/// The module draws ML-KEM's m and ML-DSA's rnd from its own generator, which no argument replaces. It takes no ML-DSA context:
/// signing or verifying under one is [`Error::Unsupported`](crate::Error::Unsupported).
///
/// ```
/// # #[cfg(feature = "getrandom")] {
/// use hanzo_pqc::backend::AwsLc;
/// use hanzo_pqc::{DecapsulationKey, EncapsulationKey, HybridSuite, OsRng};
///
/// let key = DecapsulationKey::<AwsLc>::generate_in(HybridSuite::MlKem768X25519, &mut OsRng)?;
/// // The other side may well use the default backend.
/// let bytes = key.encapsulation_key().as_bytes();
/// let peer = EncapsulationKey::from_bytes(HybridSuite::MlKem768X25519, bytes)?;
/// let (ciphertext, sent) = peer.encapsulate(b"session 1", &mut OsRng)?;
/// assert!(key.decapsulate(&ciphertext, b"session 1")?.ct_eq(&sent));
/// # }
/// # Ok::<(), hanzo_pqc::Error>(())
/// ```
#[cfg(feature = "aws-lc")]
#[cfg_attr(docsrs, doc(cfg(feature = "aws-lc")))]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct AwsLc;

#[cfg(feature = "aws-lc")]
impl KemBackend for AwsLc {}
#[cfg(feature = "aws-lc")]
impl DsaBackend for AwsLc {}

/// Whether a FIPS build of AWS-LC is linked: asked of the module at run time. False without the feature `aws-lc`.
///
/// The build is the user's choice: `aws-lc-rs = { version = "1.19", features = ["fips"] }` beside this crate's feature `aws-lc`.
#[must_use]
pub fn fips_module() -> bool {
    #[cfg(feature = "aws-lc")]
    {
        aws_lc_rs::try_fips_mode().is_ok()
    }
    #[cfg(not(feature = "aws-lc"))]
    {
        false
    }
}

pub(crate) mod sealed {
    use alloc::vec::Vec;

    use rand_core::{CryptoRng, TryCryptoRng};
    use zeroize::Zeroizing;

    use crate::dsa::SignatureAlgorithm;
    use crate::error::Result;
    #[cfg(feature = "hybrid")]
    use crate::kdf::KdfHash;
    use crate::kem::KemAlgorithm;

    /// A shared secret of one component, wiped on drop.
    pub(crate) type Secret = Zeroizing<[u8; 32]>;

    /// What an ML-KEM backend does.
    pub trait Kem: Copy + core::fmt::Debug + Send + Sync + 'static {
        /// An expanded decapsulation key.
        type Private: Send + Sync;
        /// A checked encapsulation key.
        type Public: Clone + Send + Sync;
        /// An X25519 secret.
        type Dh: Send + Sync;

        fn from_seed(algorithm: KemAlgorithm, seed: &[u8; 64]) -> Result<Self::Private>;
        /// Checked as FIPS 203 section 7.3 says.
        fn from_expanded(algorithm: KemAlgorithm, bytes: &[u8]) -> Result<Self::Private>;
        fn public(private: &Self::Private) -> Self::Public;
        /// Checked as FIPS 203 section 7.2 says.
        fn public_from_bytes(algorithm: KemAlgorithm, bytes: &[u8]) -> Result<Self::Public>;
        fn public_bytes(public: &Self::Public) -> Vec<u8>;
        /// A wrong ciphertext of the right length gives the implicit-rejection secret, never an error.
        fn decapsulate(private: &Self::Private, ciphertext: &[u8]) -> Result<Secret>;
        fn encapsulate<R: CryptoRng + ?Sized>(public: &Self::Public, rng: &mut R) -> Result<(Vec<u8>, Secret)>;

        #[cfg(feature = "hybrid")]
        fn dh_from_bytes(bytes: &[u8; 32]) -> Result<Self::Dh>;
        #[cfg(feature = "hybrid")]
        fn dh_public(dh: &Self::Dh) -> Result<[u8; 32]>;
        #[cfg(feature = "hybrid")]
        /// The all-zero result is [`crate::Error::NonContributory`].
        fn dh(dh: &Self::Dh, point: &[u8; 32]) -> Result<Secret>;
        #[cfg(feature = "hybrid")]
        /// HKDF (RFC 5869) over concatenations; no salt means HashLen zero bytes. Fills `out`, of at most 255 times the hash's length.
        fn hkdf(hash: KdfHash, salt: Option<&[u8]>, ikm: &[&[u8]], info: &[&[u8]], out: &mut [u8]) -> Result<()>;
        #[cfg(feature = "hybrid")]
        /// The hash of a public value.
        fn digest(hash: KdfHash, bytes: &[u8]) -> Vec<u8>;
    }

    /// What an ML-DSA backend does.
    pub trait Dsa: Copy + core::fmt::Debug + Send + Sync + 'static {
        /// An expanded signing key.
        type Signing: Send + Sync;
        /// A parsed verifying key.
        type Verifying: Clone + Send + Sync;

        fn pair_from_seed(algorithm: SignatureAlgorithm, seed: &[u8; 32]) -> Result<(Self::Signing, Self::Verifying)>;
        /// Takes the long form, whose length and ranges are checked; what else is wrong with it may still be.
        fn signing_from_expanded(algorithm: SignatureAlgorithm, bytes: &[u8]) -> Result<Self::Signing>;
        fn verifying(signing: &Self::Signing) -> Result<Self::Verifying>;
        fn verifying_from_bytes(algorithm: SignatureAlgorithm, bytes: &[u8]) -> Result<Self::Verifying>;
        fn verifying_bytes(verifying: &Self::Verifying) -> Vec<u8>;
        /// `context` is at most 255 bytes.
        fn sign<R: TryCryptoRng + ?Sized>(
            signing: &Self::Signing,
            message: &[u8],
            context: &[u8],
            rng: &mut R,
        ) -> Result<Vec<u8>>;
        fn verify(verifying: &Self::Verifying, message: &[u8], context: &[u8], signature: &[u8]) -> Result<()>;
    }
}
