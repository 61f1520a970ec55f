//! ML-DSA parameter sets (FIPS 204).

use core::fmt;

use crate::error::{Error, Result};

/// A parameter set of ML-DSA (FIPS 204), in ascending order of strength.
///
/// ```
/// use hanzo_pqc::SignatureAlgorithm;
///
/// assert_eq!(SignatureAlgorithm::MlDsa65.signature_len(), 3309);
/// assert_eq!(SignatureAlgorithm::from_name("ML-DSA-87"), Ok(SignatureAlgorithm::MlDsa87));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum SignatureAlgorithm {
    /// ML-DSA-44, NIST category 2.
    MlDsa44,
    /// ML-DSA-65, NIST category 3.
    MlDsa65,
    /// ML-DSA-87, NIST category 5.
    MlDsa87,
}

impl SignatureAlgorithm {
    /// Every algorithm, weakest first.
    pub const ALL: [Self; 3] = [Self::MlDsa44, Self::MlDsa65, Self::MlDsa87];
    /// Length of the secret seed, in bytes.
    pub const SEED_LEN: usize = 32;

    /// The code used on the wire: 1, 2 or 3.
    #[must_use]
    pub const fn code(self) -> u8 {
        match self {
            Self::MlDsa44 => 1,
            Self::MlDsa65 => 2,
            Self::MlDsa87 => 3,
        }
    }

    /// The algorithm with this code.
    ///
    /// # Errors
    ///
    /// [`Error::UnknownSignatureAlgorithm`] for any other code.
    pub const fn from_code(code: u8) -> Result<Self> {
        Ok(match code {
            1 => Self::MlDsa44,
            2 => Self::MlDsa65,
            3 => Self::MlDsa87,
            _ => return Err(Error::UnknownSignatureAlgorithm(code)),
        })
    }

    /// Length of a verifying key, in bytes.
    #[must_use]
    pub const fn verifying_key_len(self) -> usize {
        match self {
            Self::MlDsa44 => 1312,
            Self::MlDsa65 => 1952,
            Self::MlDsa87 => 2592,
        }
    }

    /// Length of an expanded signing key, the import form, in bytes.
    #[must_use]
    pub const fn expanded_key_len(self) -> usize {
        match self {
            Self::MlDsa44 => 2560,
            Self::MlDsa65 => 4032,
            Self::MlDsa87 => 4896,
        }
    }

    /// Length of a signature, in bytes; the same for the hedged and the deterministic variant.
    #[must_use]
    pub const fn signature_len(self) -> usize {
        match self {
            Self::MlDsa44 => 2420,
            Self::MlDsa65 => 3309,
            Self::MlDsa87 => 4627,
        }
    }

    /// NIST security category: 2, 3 or 5.
    #[must_use]
    pub const fn security_category(self) -> u8 {
        match self {
            Self::MlDsa44 => 2,
            Self::MlDsa65 => 3,
            Self::MlDsa87 => 5,
        }
    }

    /// The algorithm of this name.
    ///
    /// # Errors
    ///
    /// [`Error::UnknownName`] for any other name.
    pub fn from_name(name: &str) -> Result<Self> {
        let found = Self::ALL.into_iter().find(|algorithm| algorithm.name() == name);
        found.ok_or(Error::UnknownName { what: "signature algorithm" })
    }

    /// The name in FIPS 204.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::MlDsa44 => "ML-DSA-44",
            Self::MlDsa65 => "ML-DSA-65",
            Self::MlDsa87 => "ML-DSA-87",
        }
    }
}

impl fmt::Display for SignatureAlgorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_round_trip() {
        for algorithm in SignatureAlgorithm::ALL {
            assert_eq!(SignatureAlgorithm::from_code(algorithm.code()), Ok(algorithm));
        }
        assert_eq!(SignatureAlgorithm::from_code(4), Err(Error::UnknownSignatureAlgorithm(4)));
    }
}
