//! The composites of this build.

use core::fmt;

use crate::dsa::SignatureAlgorithm;
use crate::error::{Error, Result};

/// Which two algorithms a composite joins.
///
/// | code | name | seed | key | signature | source |
/// |---|---|---|---|---|---|
/// | - | MLDSA44-Ed25519-SHA512 | 64 | 1344 | 2484 | draft-ietf-lamps-pq-composite-sigs |
/// | 4 | MLDSA65-Ed25519-SHA512 | 64 | 1984 | 3373 | the same |
/// | 5 | MLDSA65+SLHDSA-SHAKE-192s | 104 | 2000 | 19533 | this crate; unstable |
/// | 6 | MLDSA87+SLHDSA-SHAKE-256s | 128 | 2656 | 34419 | this crate; unstable |
///
/// With Ed25519 (feature `composite`): M' = `CompositeAlgorithmSignatures2025` ‖ label ‖ u8(len ctx) ‖ ctx ‖ SHA-512(M), signed by ML-DSA
/// under the label as its context and by Ed25519. With SLH-DSA (feature `unstable-slh-dsa`): lp16(`hanzo-pqc/v1/` name) ‖ u8(len ctx) ‖
/// ctx ‖ SHA-512(M), signed by both under an empty context.
///
#[cfg_attr(feature = "composite", doc = "```")]
#[cfg_attr(not(feature = "composite"), doc = "```ignore")]
/// use hanzo_pqc::{CompositeAlgorithm, SignatureAlgorithm};
///
/// let algorithm = CompositeAlgorithm::from_name("MLDSA65-Ed25519-SHA512")?;
/// assert_eq!((algorithm.code(), algorithm.ml_dsa()), (Some(4), SignatureAlgorithm::MlDsa65));
/// assert_eq!((algorithm.verifying_key_len(), algorithm.signature_len()), (1984, 3373));
/// # Ok::<(), hanzo_pqc::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum CompositeAlgorithm {
    /// ML-DSA-44 and Ed25519.
    #[cfg(feature = "composite")]
    #[cfg_attr(docsrs, doc(cfg(feature = "composite")))]
    MlDsa44Ed25519,
    /// ML-DSA-65 and Ed25519.
    #[cfg(feature = "composite")]
    #[cfg_attr(docsrs, doc(cfg(feature = "composite")))]
    MlDsa65Ed25519,
    /// ML-DSA-65 and SLH-DSA-SHAKE-192s. Unstable.
    #[cfg(feature = "unstable-slh-dsa")]
    #[cfg_attr(docsrs, doc(cfg(feature = "unstable-slh-dsa")))]
    MlDsa65SlhDsaShake192s,
    /// ML-DSA-87 and SLH-DSA-SHAKE-256s. Unstable.
    #[cfg(feature = "unstable-slh-dsa")]
    #[cfg_attr(docsrs, doc(cfg(feature = "unstable-slh-dsa")))]
    MlDsa87SlhDsaShake256s,
}

/// What an algorithm is made of.
struct Row {
    code: Option<u8>,
    label: &'static str,
    ml_dsa: SignatureAlgorithm,
    ed25519: bool,
    second: [usize; 3],
}

impl CompositeAlgorithm {
    /// Every composite of this build.
    pub const ALL: &'static [Self] = &[
        #[cfg(feature = "composite")]
        Self::MlDsa44Ed25519,
        #[cfg(feature = "composite")]
        Self::MlDsa65Ed25519,
        #[cfg(feature = "unstable-slh-dsa")]
        Self::MlDsa65SlhDsaShake192s,
        #[cfg(feature = "unstable-slh-dsa")]
        Self::MlDsa87SlhDsaShake256s,
    ];

    const fn row(self) -> Row {
        match self {
            #[cfg(feature = "composite")]
            Self::MlDsa44Ed25519 => Row {
                code: None,
                label: "COMPSIG-MLDSA44-Ed25519-SHA512",
                ml_dsa: SignatureAlgorithm::MlDsa44,
                ed25519: true,
                second: [32, 32, 64],
            },
            #[cfg(feature = "composite")]
            Self::MlDsa65Ed25519 => Row {
                code: Some(4),
                label: "COMPSIG-MLDSA65-Ed25519-SHA512",
                ml_dsa: SignatureAlgorithm::MlDsa65,
                ed25519: true,
                second: [32, 32, 64],
            },
            #[cfg(feature = "unstable-slh-dsa")]
            Self::MlDsa65SlhDsaShake192s => Row {
                code: Some(5),
                label: "hanzo-pqc/v1/MLDSA65+SLHDSA-SHAKE-192s",
                ml_dsa: SignatureAlgorithm::MlDsa65,
                ed25519: false,
                second: [72, 48, 16224],
            },
            #[cfg(feature = "unstable-slh-dsa")]
            Self::MlDsa87SlhDsaShake256s => Row {
                code: Some(6),
                label: "hanzo-pqc/v1/MLDSA87+SLHDSA-SHAKE-256s",
                ml_dsa: SignatureAlgorithm::MlDsa87,
                ed25519: false,
                second: [96, 64, 29792],
            },
        }
    }

    /// The code used on the wire; MLDSA44-Ed25519-SHA512 has none.
    #[must_use]
    pub const fn code(self) -> Option<u8> {
        self.row().code
    }

    /// The parameter set of the ML-DSA part.
    #[must_use]
    pub const fn ml_dsa(self) -> SignatureAlgorithm {
        self.row().ml_dsa
    }

    /// Length of the secret seed, in bytes.
    #[must_use]
    pub const fn seed_len(self) -> usize {
        SignatureAlgorithm::SEED_LEN + self.row().second[0]
    }

    /// Length of a verifying key, in bytes.
    #[must_use]
    pub const fn verifying_key_len(self) -> usize {
        self.ml_dsa().verifying_key_len() + self.row().second[1]
    }

    /// Length of a signature, in bytes.
    #[must_use]
    pub const fn signature_len(self) -> usize {
        self.ml_dsa().signature_len() + self.row().second[2]
    }

    /// The algorithm's name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            #[cfg(feature = "composite")]
            Self::MlDsa44Ed25519 => "MLDSA44-Ed25519-SHA512",
            #[cfg(feature = "composite")]
            Self::MlDsa65Ed25519 => "MLDSA65-Ed25519-SHA512",
            #[cfg(feature = "unstable-slh-dsa")]
            Self::MlDsa65SlhDsaShake192s => "MLDSA65+SLHDSA-SHAKE-192s",
            #[cfg(feature = "unstable-slh-dsa")]
            Self::MlDsa87SlhDsaShake256s => "MLDSA87+SLHDSA-SHAKE-256s",
        }
    }

    /// The algorithm of this name.
    ///
    /// # Errors
    ///
    /// [`Error::UnknownName`] for a name that this build does not know.
    pub fn from_name(name: &str) -> Result<Self> {
        let found = Self::ALL.iter().copied().find(|algorithm| algorithm.name() == name);
        found.ok_or(Error::UnknownName { what: "composite algorithm" })
    }

    pub(super) const fn label(self) -> &'static str {
        self.row().label
    }

    pub(super) const fn is_ed25519(self) -> bool {
        self.row().ed25519
    }
}

impl fmt::Display for CompositeAlgorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
