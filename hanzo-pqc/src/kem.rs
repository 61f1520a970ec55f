//! ML-KEM parameter sets (FIPS 203).

use core::fmt;

use crate::error::{Error, Result};

/// A parameter set of ML-KEM (FIPS 203), in ascending order of strength.
///
/// ```
/// use hanzo_pqc::KemAlgorithm;
///
/// assert_eq!(KemAlgorithm::MlKem768.encapsulation_key_len(), 1184);
/// assert!(KemAlgorithm::MlKem768 < KemAlgorithm::MlKem1024);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum KemAlgorithm {
    /// ML-KEM-512, NIST category 1.
    MlKem512,
    /// ML-KEM-768, NIST category 3.
    MlKem768,
    /// ML-KEM-1024, NIST category 5.
    MlKem1024,
}

impl KemAlgorithm {
    /// Every parameter set, weakest first.
    pub const ALL: [Self; 3] = [Self::MlKem512, Self::MlKem768, Self::MlKem1024];
    /// Length of the secret seed d ‖ z, in bytes.
    pub const SEED_LEN: usize = 64;
    /// Length of the shared secret, in bytes.
    pub const SHARED_SECRET_LEN: usize = 32;

    /// Length of an encapsulation key, in bytes.
    #[must_use]
    pub const fn encapsulation_key_len(self) -> usize {
        match self {
            Self::MlKem512 => 800,
            Self::MlKem768 => 1184,
            Self::MlKem1024 => 1568,
        }
    }

    /// Length of a ciphertext, in bytes.
    #[must_use]
    pub const fn ciphertext_len(self) -> usize {
        match self {
            Self::MlKem512 => 768,
            Self::MlKem768 => 1088,
            Self::MlKem1024 => 1568,
        }
    }

    /// Length of an expanded decapsulation key, the import form, in bytes.
    #[must_use]
    pub const fn expanded_key_len(self) -> usize {
        match self {
            Self::MlKem512 => 1632,
            Self::MlKem768 => 2400,
            Self::MlKem1024 => 3168,
        }
    }

    /// NIST security category: 1, 3 or 5.
    #[must_use]
    pub const fn security_category(self) -> u8 {
        match self {
            Self::MlKem512 => 1,
            Self::MlKem768 => 3,
            Self::MlKem1024 => 5,
        }
    }

    /// The parameter set of this name.
    ///
    /// # Errors
    ///
    /// [`Error::UnknownName`] for any other name.
    pub fn from_name(name: &str) -> Result<Self> {
        let found = Self::ALL.into_iter().find(|algorithm| algorithm.name() == name);
        found.ok_or(Error::UnknownName { what: "KEM" })
    }

    /// The name in FIPS 203.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::MlKem512 => "ML-KEM-512",
            Self::MlKem768 => "ML-KEM-768",
            Self::MlKem1024 => "ML-KEM-1024",
        }
    }
}

impl fmt::Display for KemAlgorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
