//! Suites: which key encapsulation, combined how.

use core::fmt;

use crate::error::{Error, Result};
use crate::kem::KemAlgorithm;

/// How a shared secret is made: plain ML-KEM, or ML-KEM and an elliptic curve together, which stays secure while either of the two is.
///
/// | code | suite | secret seed | encapsulation key | ciphertext | hash | context |
/// |---|---|---|---|---|---|---|
/// | 0x0040, 41, 42 | ML-KEM-512, -768, -1024 | 64 | 800, 1184, 1568 | 768, 1088, 1568 | SHA-256, -256, -384 | no |
/// | 0x0051 | MLKEM1024-P384 (feature `p384`) | 32 | 1665 | 1665 | SHA-384 | no |
/// | 0x647A | X-Wing | 32 | 1216 | 1120 | SHA-256 | no |
/// | 0xF001 | MLKEM512-X25519-HKDF-SHA256 | 96 | 832 | 800 | SHA-256 | yes |
/// | 0xF002 | MLKEM768-X25519-HKDF-SHA256 | 96 | 1216 | 1120 | SHA-256 | yes |
/// | 0xF003 | MLKEM1024-X25519-HKDF-SHA384 | 96 | 1600 | 1600 | SHA-384 | yes |
///
/// The 0xF0 codes are this crate's own, the others HPKE's. A hybrid key or ciphertext is the ML-KEM part, then the curve's (32 bytes of
/// X25519, or a P-384 point of 97). The hash is that of key confirmation and of envelopes; how the shared secret itself is made:
///
/// - 0xF001 to 0xF003: HKDF over both secrets, bound to both ciphertexts, both public keys, the suite and a context (SP 800-56C r2).
/// - X-Wing: SHA3-256 of both secrets, the X25519 ciphertext and key, and a label (draft-connolly-cfrg-xwing-kem), the seed expanded by
///   SHAKE256; so interoperable with other X-Wing implementations, but for X25519 points of small order, which are refused here.
/// - MLKEM1024-P384: the same form with P-384 (draft-irtf-cfrg-concrete-hybrid-kems).
///
/// ```
/// use hanzo_pqc::{HybridSuite, KemAlgorithm};
///
/// let suite = HybridSuite::from_code(0x0041)?;
/// assert_eq!((suite.name(), suite.kem()), ("ML-KEM-768", KemAlgorithm::MlKem768));
/// assert_eq!((suite.encapsulation_key_len(), suite.ciphertext_len()), (1184, 1088));
/// assert!(!suite.is_hybrid() && !suite.takes_context());
/// # Ok::<(), hanzo_pqc::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum HybridSuite {
    /// ML-KEM-512 alone; satisfies no privacy tier.
    MlKem512,
    /// ML-KEM-768 alone.
    MlKem768,
    /// ML-KEM-1024 alone.
    MlKem1024,
    /// ML-KEM-1024 and P-384.
    #[cfg(feature = "p384")]
    #[cfg_attr(docsrs, doc(cfg(feature = "p384")))]
    MlKem1024P384,
    /// X-Wing: ML-KEM-768 and X25519 through SHA3-256.
    #[cfg(feature = "hybrid")]
    #[cfg_attr(docsrs, doc(cfg(feature = "hybrid")))]
    XWing,
    /// ML-KEM-512 and X25519; satisfies no privacy tier.
    #[cfg(feature = "hybrid")]
    #[cfg_attr(docsrs, doc(cfg(feature = "hybrid")))]
    MlKem512X25519,
    /// ML-KEM-768 and X25519, the default of tiers 0 to 2.
    #[cfg(feature = "hybrid")]
    #[cfg_attr(docsrs, doc(cfg(feature = "hybrid")))]
    MlKem768X25519,
    /// ML-KEM-1024 and X25519, the default of tiers 3 and 4.
    #[cfg(feature = "hybrid")]
    #[cfg_attr(docsrs, doc(cfg(feature = "hybrid")))]
    MlKem1024X25519,
}

/// What stands beside ML-KEM, and how the two secrets become one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Combiner {
    /// ML-KEM alone.
    Plain,
    /// X25519 through HKDF.
    #[cfg(feature = "hybrid")]
    Hkdf,
    /// X25519 through SHA3-256, from one expanded seed.
    #[cfg(feature = "hybrid")]
    XWing,
    /// P-384 through SHA3-256, from one expanded seed.
    #[cfg(feature = "p384")]
    P384,
}

impl HybridSuite {
    /// Every suite of this build, by ascending code.
    pub const ALL: &'static [Self] = &[
        Self::MlKem512,
        Self::MlKem768,
        Self::MlKem1024,
        #[cfg(feature = "p384")]
        Self::MlKem1024P384,
        #[cfg(feature = "hybrid")]
        Self::XWing,
        #[cfg(feature = "hybrid")]
        Self::MlKem512X25519,
        #[cfg(feature = "hybrid")]
        Self::MlKem768X25519,
        #[cfg(feature = "hybrid")]
        Self::MlKem1024X25519,
    ];

    /// The code used on the wire.
    #[must_use]
    pub const fn code(self) -> u16 {
        match self {
            Self::MlKem512 => 0x0040,
            Self::MlKem768 => 0x0041,
            Self::MlKem1024 => 0x0042,
            #[cfg(feature = "p384")]
            Self::MlKem1024P384 => 0x0051,
            #[cfg(feature = "hybrid")]
            Self::XWing => 0x647A,
            #[cfg(feature = "hybrid")]
            Self::MlKem512X25519 => 0xF001,
            #[cfg(feature = "hybrid")]
            Self::MlKem768X25519 => 0xF002,
            #[cfg(feature = "hybrid")]
            Self::MlKem1024X25519 => 0xF003,
        }
    }

    /// The suite with this code.
    ///
    /// # Errors
    ///
    /// [`Error::UnknownSuite`] for a code that this build does not know.
    pub fn from_code(code: u16) -> Result<Self> {
        Self::ALL.iter().copied().find(|suite| suite.code() == code).ok_or(Error::UnknownSuite(code))
    }

    /// The ML-KEM parameter set.
    #[must_use]
    pub const fn kem(self) -> KemAlgorithm {
        match self {
            Self::MlKem512 => KemAlgorithm::MlKem512,
            Self::MlKem768 => KemAlgorithm::MlKem768,
            Self::MlKem1024 => KemAlgorithm::MlKem1024,
            #[cfg(feature = "p384")]
            Self::MlKem1024P384 => KemAlgorithm::MlKem1024,
            #[cfg(feature = "hybrid")]
            Self::MlKem512X25519 => KemAlgorithm::MlKem512,
            #[cfg(feature = "hybrid")]
            Self::XWing | Self::MlKem768X25519 => KemAlgorithm::MlKem768,
            #[cfg(feature = "hybrid")]
            Self::MlKem1024X25519 => KemAlgorithm::MlKem1024,
        }
    }

    /// Whether a curve stands beside ML-KEM.
    #[must_use]
    pub const fn is_hybrid(self) -> bool {
        !matches!(self, Self::MlKem512 | Self::MlKem768 | Self::MlKem1024)
    }

    /// Whether a context can be bound into the shared secret: in the HKDF suites.
    #[must_use]
    pub const fn takes_context(self) -> bool {
        match self.combiner() {
            #[cfg(feature = "hybrid")]
            Combiner::Hkdf => true,
            _ => false,
        }
    }

    /// Length of the secret seed, in bytes: d ‖ z; d ‖ z and the X25519 secret in an HKDF suite; one seed for both in the others.
    #[must_use]
    pub const fn seed_len(self) -> usize {
        match self.combiner() {
            Combiner::Plain => KemAlgorithm::SEED_LEN,
            #[cfg(feature = "hybrid")]
            Combiner::Hkdf => KemAlgorithm::SEED_LEN + 32,
            #[cfg(feature = "hybrid")]
            Combiner::XWing => 32,
            #[cfg(feature = "p384")]
            Combiner::P384 => 32,
        }
    }

    /// Length of an encapsulation key, in bytes.
    #[must_use]
    pub const fn encapsulation_key_len(self) -> usize {
        self.kem().encapsulation_key_len() + self.point_len()
    }

    /// Length of a ciphertext, in bytes.
    #[must_use]
    pub const fn ciphertext_len(self) -> usize {
        self.kem().ciphertext_len() + self.point_len()
    }

    /// The suite's name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::MlKem512 => "ML-KEM-512",
            Self::MlKem768 => "ML-KEM-768",
            Self::MlKem1024 => "ML-KEM-1024",
            #[cfg(feature = "p384")]
            Self::MlKem1024P384 => "MLKEM1024-P384",
            #[cfg(feature = "hybrid")]
            Self::XWing => "X-Wing",
            #[cfg(feature = "hybrid")]
            Self::MlKem512X25519 => "MLKEM512-X25519-HKDF-SHA256",
            #[cfg(feature = "hybrid")]
            Self::MlKem768X25519 => "MLKEM768-X25519-HKDF-SHA256",
            #[cfg(feature = "hybrid")]
            Self::MlKem1024X25519 => "MLKEM1024-X25519-HKDF-SHA384",
        }
    }

    /// The suite of this name.
    ///
    /// # Errors
    ///
    /// [`Error::UnknownName`] for a name that this build does not know.
    pub fn from_name(name: &str) -> Result<Self> {
        let found = Self::ALL.iter().copied().find(|suite| suite.name() == name);
        found.ok_or(Error::UnknownName { what: "suite" })
    }

    /// Refuses any other suite.
    pub(crate) fn check_same(self, found: Self) -> Result<()> {
        if self == found {
            return Ok(());
        }
        Err(Error::SuiteMismatch { expected: self.name(), found: found.name() })
    }

    pub(crate) const fn combiner(self) -> Combiner {
        match self {
            Self::MlKem512 | Self::MlKem768 | Self::MlKem1024 => Combiner::Plain,
            #[cfg(feature = "p384")]
            Self::MlKem1024P384 => Combiner::P384,
            #[cfg(feature = "hybrid")]
            Self::XWing => Combiner::XWing,
            #[cfg(feature = "hybrid")]
            Self::MlKem512X25519 | Self::MlKem768X25519 | Self::MlKem1024X25519 => Combiner::Hkdf,
        }
    }

    /// Length of the curve's part of a key or ciphertext.
    const fn point_len(self) -> usize {
        match self.combiner() {
            Combiner::Plain => 0,
            #[cfg(feature = "hybrid")]
            Combiner::Hkdf | Combiner::XWing => 32,
            #[cfg(feature = "p384")]
            Combiner::P384 => 97,
        }
    }
}

impl fmt::Display for HybridSuite {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_of_lengths() {
        let expected = [
            (0x0040, 64, 800, 768),
            (0x0041, 64, 1184, 1088),
            (0x0042, 64, 1568, 1568),
            (0x0051, 32, 1665, 1665),
            (0x647A, 32, 1216, 1120),
            (0xF001, 96, 832, 800),
            (0xF002, 96, 1216, 1120),
            (0xF003, 96, 1600, 1600),
        ];
        for suite in HybridSuite::ALL.iter().copied() {
            let row = (suite.code(), suite.seed_len(), suite.encapsulation_key_len(), suite.ciphertext_len());
            assert!(expected.contains(&row), "{row:?}");
            assert_eq!(HybridSuite::from_code(suite.code()), Ok(suite));
            assert_eq!(HybridSuite::from_name(suite.name()), Ok(suite));
        }
        assert_eq!(HybridSuite::from_code(0), Err(Error::UnknownSuite(0)));
        assert!(HybridSuite::from_name("ML-KEM-2048").is_err());
    }
}
