//! Which algorithms a deployment uses for a tier.

use crate::dsa::SignatureAlgorithm;
use crate::envelope::{Aead, EnvelopeHeader, KeyId};
use crate::error::{Error, Result};
use crate::kem::KemAlgorithm;
use crate::suite::HybridSuite;
use crate::tier::PrivacyTier;

#[cfg(feature = "config")]
mod file;

/// The choice of algorithms of one deployment. It can be stronger than a tier demands, never weaker.
///
/// ```
/// use hanzo_pqc::{Error, HybridSuite, PqcConfig, PrivacyTier};
///
/// let config = PqcConfig::default();
/// assert_eq!(config.suite(PrivacyTier::GpuCc)?, HybridSuite::MlKem1024X25519);
/// let fixed = PqcConfig { auto_privacy_tier: false, ..config };
/// assert_eq!(fixed.suite(PrivacyTier::CpuTee)?, HybridSuite::MlKem768X25519);
/// assert!(matches!(fixed.suite(PrivacyTier::GpuCc), Err(Error::TierMismatch { .. })));
/// # Ok::<(), Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PqcConfig {
    /// The KEM where the tier does not choose; ML-KEM-768 by default.
    pub default_kem: KemAlgorithm,
    /// The signature algorithm where the tier does not choose; ML-DSA-65 by default.
    pub default_dsa: SignatureAlgorithm,
    /// Whether X25519 stands beside ML-KEM; true by default.
    pub hybrid_mode: bool,
    /// Whether only a validated module may protect; false by default. Without a FIPS build of AWS-LC
    /// ([`backend::fips_module`](crate::backend::fips_module)) `true` refuses every choice.
    pub fips_mode: bool,
    /// Whether the tier chooses (true, the default) or the two defaults above do.
    pub auto_privacy_tier: bool,
}

impl PqcConfig {
    /// The suite for a tier.
    ///
    /// # Errors
    ///
    /// [`Error::TierMismatch`] where the configured KEM is weaker than the tier demands, [`Error::FipsUnavailable`] in FIPS mode.
    pub fn suite(&self, tier: PrivacyTier) -> Result<HybridSuite> {
        self.check_fips()?;
        let kem = if self.auto_privacy_tier { tier.kem() } else { self.default_kem };
        let suite = match (kem, self.hybrid_mode) {
            (KemAlgorithm::MlKem512, true) => HybridSuite::MlKem512X25519,
            (KemAlgorithm::MlKem768, true) => HybridSuite::MlKem768X25519,
            (KemAlgorithm::MlKem1024, true) => HybridSuite::MlKem1024X25519,
            (KemAlgorithm::MlKem512, false) => HybridSuite::MlKem512,
            (KemAlgorithm::MlKem768, false) => HybridSuite::MlKem768,
            (KemAlgorithm::MlKem1024, false) => HybridSuite::MlKem1024,
        };
        tier.check_suite(suite)?;
        Ok(suite)
    }

    /// The signature algorithm for a tier.
    ///
    /// # Errors
    ///
    /// [`Error::TierMismatch`] where the configured algorithm is weaker than the tier demands, [`Error::FipsUnavailable`] in FIPS mode.
    pub fn signature_algorithm(&self, tier: PrivacyTier) -> Result<SignatureAlgorithm> {
        self.check_fips()?;
        if self.auto_privacy_tier {
            return Ok(tier.dsa());
        }
        tier.check_signature_algorithm(self.default_dsa)?;
        Ok(self.default_dsa)
    }

    /// Accepts suites that this configuration may use at all: every one, or in FIPS mode those whose protection is the module's own
    /// (ML-KEM alone and the HKDF suites, where X25519 counts as one more input).
    ///
    /// # Errors
    ///
    /// [`Error::NotApproved`] for X-Wing and MLKEM1024-P384 in FIPS mode, [`Error::FipsUnavailable`] without a FIPS build.
    pub fn check_suite(&self, suite: HybridSuite) -> Result<()> {
        self.check_fips()?;
        not_approved(self.fips_mode && suite.is_hybrid() && !suite.takes_context(), suite.name())
    }

    /// The AEAD of envelopes for recipients: ChaCha20-Poly1305, in FIPS mode AES-256-GCM of the module.
    ///
    /// # Errors
    ///
    /// [`Error::FipsUnavailable`] in FIPS mode without a FIPS build.
    pub fn aead(&self) -> Result<Aead> {
        self.check_fips()?;
        #[cfg(feature = "aws-lc")]
        if self.fips_mode {
            return Ok(Aead::Aes256Gcm);
        }
        Ok(Aead::ChaCha20Poly1305)
    }

    /// Accepts AEADs that this configuration may use: every one, or in FIPS mode AES-256-GCM alone.
    ///
    /// # Errors
    ///
    /// [`Error::NotApproved`] for the ChaCha20 ciphers in FIPS mode, [`Error::FipsUnavailable`] without a FIPS build.
    pub fn check_aead(&self, aead: Aead) -> Result<()> {
        self.check_fips()?;
        not_approved(self.fips_mode && aead.code() != 3, aead.name())
    }

    /// Accepts composites that this configuration may use: every one, or in FIPS mode none, because the second signature is made outside
    /// the module.
    ///
    /// # Errors
    ///
    /// [`Error::NotApproved`] in FIPS mode, [`Error::FipsUnavailable`] without a FIPS build.
    #[cfg(any(feature = "composite", feature = "unstable-slh-dsa"))]
    #[cfg_attr(docsrs, doc(cfg(any(feature = "composite", feature = "unstable-slh-dsa"))))]
    pub fn check_composite(&self, algorithm: crate::composite::CompositeAlgorithm) -> Result<()> {
        self.check_fips()?;
        not_approved(self.fips_mode, algorithm.name())
    }

    /// The header of an envelope for a recipient as this configuration seals it: suite and AEAD follow from the tier.
    ///
    /// In FIPS mode seal it for a key of the backend `AwsLc`: its derivations are the module's too.
    ///
    /// ```
    /// use hanzo_pqc::{Aead, HybridSuite, KeyId, PqcConfig, PrivacyTier};
    ///
    /// let header = PqcConfig::default().envelope_header(PrivacyTier::GpuCc, KeyId::new("model-0")?)?;
    /// assert_eq!(header.suite(), Some(HybridSuite::MlKem1024X25519));
    /// assert_eq!(header.aead(), Aead::ChaCha20Poly1305);
    /// # Ok::<(), hanzo_pqc::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// As [`Self::suite`].
    pub fn envelope_header(&self, tier: PrivacyTier, key_id: KeyId) -> Result<EnvelopeHeader> {
        EnvelopeHeader::new(tier, self.suite(tier)?, key_id)?.with_aead(self.aead()?)
    }

    fn check_fips(&self) -> Result<()> {
        if self.fips_mode && !crate::backend::fips_module() {
            return Err(Error::FipsUnavailable);
        }
        Ok(())
    }
}

const fn not_approved(refused: bool, what: &'static str) -> Result<()> {
    if refused { Err(Error::NotApproved { what }) } else { Ok(()) }
}

impl Default for PqcConfig {
    fn default() -> Self {
        Self {
            default_kem: KemAlgorithm::MlKem768,
            default_dsa: SignatureAlgorithm::MlDsa65,
            hybrid_mode: true,
            fips_mode: false,
            auto_privacy_tier: true,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_configuration_goes_below_a_tier() {
        for tier in PrivacyTier::ALL {
            for default_kem in KemAlgorithm::ALL {
                for default_dsa in SignatureAlgorithm::ALL {
                    for bits in 0..4 {
                        let config = PqcConfig {
                            default_kem,
                            default_dsa,
                            hybrid_mode: bits & 1 != 0,
                            auto_privacy_tier: bits & 2 != 0,
                            ..PqcConfig::default()
                        };
                        let suite = config.suite(tier);
                        let auto = config.auto_privacy_tier;
                        assert_eq!(suite.is_ok(), auto || default_kem >= tier.kem());
                        if let Ok(suite) = suite {
                            assert!(suite.kem() >= tier.kem());
                            assert_eq!(suite.is_hybrid(), config.hybrid_mode);
                        }
                        let dsa = config.signature_algorithm(tier);
                        assert_eq!(dsa.is_ok(), auto || default_dsa >= tier.dsa());
                        assert!(dsa.map_or(true, |dsa| dsa >= tier.dsa()));
                    }
                }
            }
        }
    }

    #[test]
    fn fips_mode_is_refused_rather_than_ignored() {
        let config = PqcConfig { fips_mode: true, ..PqcConfig::default() };
        let (suite, aead) = (HybridSuite::XWing, Aead::ChaCha20Poly1305);
        let key_id = KeyId::new("k").unwrap();
        let mut refusals = alloc::vec![
            config.suite(PrivacyTier::Open).err(),
            config.signature_algorithm(PrivacyTier::Open).err(),
            config.aead().err(),
            config.envelope_header(PrivacyTier::Open, key_id.clone()).err(),
        ];
        let not_approved =
            [(config.check_suite(suite), suite.name()), (config.check_aead(aead), aead.name())].into_iter();
        #[cfg(any(feature = "composite", feature = "unstable-slh-dsa"))]
        let not_approved = not_approved.chain(
            crate::composite::CompositeAlgorithm::ALL.iter().map(|&each| (config.check_composite(each), each.name())),
        );
        let not_approved: Vec<_> = not_approved.collect();
        if crate::backend::fips_module() {
            assert!(refusals.iter().all(Option::is_none));
            assert!(not_approved.iter().all(|(got, what)| *got == Err(Error::NotApproved { what })));
            assert_eq!(config.check_suite(HybridSuite::MlKem768X25519), Ok(()));
            assert_eq!(config.aead().map(Aead::code), Ok(3));
        } else {
            refusals.extend(not_approved.iter().map(|(got, _)| got.err()));
            assert!(refusals.iter().all(|got| *got == Some(Error::FipsUnavailable)));
        }
        let free = PqcConfig::default();
        assert_eq!((free.check_suite(suite), free.check_aead(aead)), (Ok(()), Ok(())));
        assert_eq!(free.envelope_header(PrivacyTier::Open, key_id).map(|header| header.aead()), Ok(aead));
    }

    /// What FIPS mode refuses of a build that has the module, asked without one.
    #[test]
    fn what_is_not_approved() {
        assert_eq!(not_approved(true, "X-Wing"), Err(Error::NotApproved { what: "X-Wing" }));
        assert_eq!(not_approved(false, "X-Wing"), Ok(()));
    }
}
