//! Privacy tiers: which algorithms and which evidence a workload demands.

use core::fmt;

use crate::dsa::SignatureAlgorithm;
use crate::error::{Error, Result};
use crate::kem::KemAlgorithm;
use crate::suite::HybridSuite;

/// How private a workload is, in ascending order. The order of the variants is the order of demands.
///
/// | tier | KEM at least | ML-DSA at least | default suite | CPU evidence, any one | GPU reports |
/// |---|---|---|---|---|---|
/// | `Open` | 768 | 65 | 0xF002 | none | 0 |
/// | `AtRest` | 768 | 65 | 0xF002 | none; TDX, SNP, SGX or software where the broker requires evidence | 0 |
/// | `CpuTee` | 768 | 65 | 0xF002 | TDX, SNP, SGX | 0 |
/// | `GpuCc` | 1024 | 87 | 0xF003 | TDX, SNP | 1 |
/// | `GpuTeeIo` | 1024 | 87 | 0xF003 | TDX, SNP | 1, with TEE-I/O |
///
/// ```
/// use hanzo_pqc::{Error, HybridSuite, KemAlgorithm, PrivacyTier};
///
/// assert_eq!(PrivacyTier::GpuCc.kem(), KemAlgorithm::MlKem1024);
/// assert_eq!(PrivacyTier::try_from(5), Err(Error::UnknownTier(5)));
/// assert!(PrivacyTier::GpuCc.check_suite(HybridSuite::MlKem768).is_err());
/// assert!(PrivacyTier::Open.check_suite(HybridSuite::MlKem1024).is_ok());
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum PrivacyTier {
    /// 0: open data; transport protection only.
    Open = 0,
    /// 1: encrypted at rest.
    AtRest = 1,
    /// 2: processed inside a CPU trusted execution environment.
    CpuTee = 2,
    /// 3: processed on a GPU in confidential-computing mode beside a CPU environment.
    GpuCc = 3,
    /// 4: as 3, with TEE-I/O between the two.
    GpuTeeIo = 4,
}

impl PrivacyTier {
    /// Every tier, least demanding first.
    pub const ALL: [Self; 5] = [Self::Open, Self::AtRest, Self::CpuTee, Self::GpuCc, Self::GpuTeeIo];

    /// The code used on the wire: 0 to 4.
    #[must_use]
    pub const fn code(self) -> u8 {
        self as u8
    }

    /// The weakest KEM parameter set the tier accepts.
    #[must_use]
    pub const fn kem(self) -> KemAlgorithm {
        match self {
            Self::Open | Self::AtRest | Self::CpuTee => KemAlgorithm::MlKem768,
            Self::GpuCc | Self::GpuTeeIo => KemAlgorithm::MlKem1024,
        }
    }

    /// The weakest signature algorithm the tier accepts.
    #[must_use]
    pub const fn dsa(self) -> SignatureAlgorithm {
        match self {
            Self::Open | Self::AtRest | Self::CpuTee => SignatureAlgorithm::MlDsa65,
            Self::GpuCc | Self::GpuTeeIo => SignatureAlgorithm::MlDsa87,
        }
    }

    /// The suite used where nothing else is asked for.
    #[cfg(feature = "hybrid")]
    #[cfg_attr(docsrs, doc(cfg(feature = "hybrid")))]
    #[must_use]
    pub const fn suite(self) -> HybridSuite {
        match self {
            Self::Open | Self::AtRest | Self::CpuTee => HybridSuite::MlKem768X25519,
            Self::GpuCc | Self::GpuTeeIo => HybridSuite::MlKem1024X25519,
        }
    }

    /// The evidence that a recipient of keys of this tier must show.
    #[must_use]
    pub const fn evidence(self) -> EvidenceRequirement {
        let (tdx_or_snp, sgx, gpu_reports) = match self {
            Self::Open | Self::AtRest => (false, false, 0),
            Self::CpuTee => (true, true, 0),
            Self::GpuCc | Self::GpuTeeIo => (true, false, 1),
        };
        EvidenceRequirement {
            tdx: tdx_or_snp,
            snp: tdx_or_snp,
            sgx,
            gpu_reports,
            tee_io: matches!(self, Self::GpuTeeIo),
        }
    }

    /// Accepts suites at least as strong as [`Self::kem`].
    ///
    /// # Errors
    ///
    /// [`Error::TierMismatch`] for a weaker suite.
    pub fn check_suite(self, suite: HybridSuite) -> Result<()> {
        if suite.kem() >= self.kem() {
            Ok(())
        } else {
            Err(Error::TierMismatch { requested: suite.name(), minimum: self.kem().name() })
        }
    }

    /// Accepts signature algorithms at least as strong as [`Self::dsa`].
    ///
    /// # Errors
    ///
    /// [`Error::TierMismatch`] for a weaker algorithm.
    pub fn check_signature_algorithm(self, algorithm: SignatureAlgorithm) -> Result<()> {
        if algorithm >= self.dsa() {
            Ok(())
        } else {
            Err(Error::TierMismatch { requested: algorithm.name(), minimum: self.dsa().name() })
        }
    }
}

impl TryFrom<u8> for PrivacyTier {
    type Error = Error;

    fn try_from(code: u8) -> Result<Self> {
        Ok(match code {
            0 => Self::Open,
            1 => Self::AtRest,
            2 => Self::CpuTee,
            3 => Self::GpuCc,
            4 => Self::GpuTeeIo,
            _ => return Err(Error::UnknownTier(code)),
        })
    }
}

impl From<PrivacyTier> for u8 {
    fn from(tier: PrivacyTier) -> Self {
        tier.code()
    }
}

impl fmt::Display for PrivacyTier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

/// What a tier asks a recipient to prove; see [`PrivacyTier::evidence`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EvidenceRequirement {
    /// A TDX quote is accepted as CPU evidence.
    pub tdx: bool,
    /// An SEV-SNP report is accepted as CPU evidence.
    pub snp: bool,
    /// An SGX quote is accepted as CPU evidence.
    pub sgx: bool,
    /// How many GPU reports are needed at least.
    pub gpu_reports: u8,
    /// A GPU report must prove TEE-I/O.
    pub tee_io: bool,
}

impl EvidenceRequirement {
    /// Whether one item of CPU evidence is needed.
    #[must_use]
    pub const fn cpu(&self) -> bool {
        self.tdx || self.snp || self.sgx
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn demands_never_fall_as_the_tier_rises() {
        for pair in PrivacyTier::ALL.windows(2) {
            assert!(pair[0] < pair[1] && pair[0].code() + 1 == pair[1].code());
            assert!(pair[0].kem() <= pair[1].kem() && pair[0].dsa() <= pair[1].dsa());
            assert!(pair[0].evidence().gpu_reports <= pair[1].evidence().gpu_reports);
            assert!(pair[0].evidence().cpu() <= pair[1].evidence().cpu());
        }
    }

    #[cfg(feature = "hybrid")]
    #[test]
    fn a_default_suite_satisfies_its_own_tier_and_is_hybrid() {
        for tier in PrivacyTier::ALL {
            assert!(tier.check_suite(tier.suite()).is_ok() && tier.suite().is_hybrid());
        }
    }

    #[test]
    fn no_tier_accepts_category_one_or_two() {
        for tier in PrivacyTier::ALL {
            assert!(matches!(
                tier.check_suite(HybridSuite::MlKem512),
                Err(Error::TierMismatch { requested: "ML-KEM-512", .. })
            ));
            assert!(tier.check_signature_algorithm(SignatureAlgorithm::MlDsa44).is_err());
        }
    }
}
