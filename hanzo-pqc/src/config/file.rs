//! `pqc.toml`.

use serde::Deserialize;

use super::PqcConfig;
use crate::dsa::SignatureAlgorithm;
use crate::error::{Error, Result};
use crate::kem::KemAlgorithm;

/// The whole file; unknown sections and keys are refused, absent ones have their defaults.
#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
struct File {
    pqc: Pqc,
    kbs: Kbs,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Pqc {
    default_kem: KemAlgorithm,
    default_dsa: SignatureAlgorithm,
    hybrid_mode: bool,
    fips_mode: bool,
    auto_privacy_tier: bool,
}

impl Default for Pqc {
    fn default() -> Self {
        let PqcConfig { default_kem, default_dsa, hybrid_mode, fips_mode, auto_privacy_tier } = PqcConfig::default();
        Self { default_kem, default_dsa, hybrid_mode, fips_mode, auto_privacy_tier }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, default)]
#[cfg_attr(not(feature = "kbs"), allow(dead_code, reason = "read to be checked"))]
struct Kbs {
    attestation_required: bool,
    gpu_cc_enabled: bool,
    tee_io_enabled: bool,
}

impl Default for Kbs {
    fn default() -> Self {
        Self { attestation_required: true, gpu_cc_enabled: true, tee_io_enabled: false }
    }
}

impl PqcConfig {
    /// Reads the section `[pqc]` of a `pqc.toml`; the section `[kbs]` may stand beside it and is checked too. Absent keys have their
    /// defaults, unknown ones are refused.
    ///
    /// ```
    /// use hanzo_pqc::{KemAlgorithm, PqcConfig};
    ///
    /// let config = PqcConfig::from_toml("[pqc]\ndefault_kem = \"ML-KEM-1024\"\nauto_privacy_tier = false\n")?;
    /// assert_eq!(config.default_kem, KemAlgorithm::MlKem1024);
    /// assert!(PqcConfig::from_toml("[pqc]\ndefault_kme = \"ML-KEM-1024\"\n").is_err());
    /// # Ok::<(), hanzo_pqc::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::Malformed`] with the place, [`Error::TooLong`] above 64 KiB, [`Error::FipsUnavailable`] where FIPS mode is asked for and
    /// no FIPS build of the module is linked.
    pub fn from_toml(text: &str) -> Result<Self> {
        let Pqc { default_kem, default_dsa, hybrid_mode, fips_mode, auto_privacy_tier } = parse(text)?.pqc;
        let config = Self { default_kem, default_dsa, hybrid_mode, fips_mode, auto_privacy_tier };
        config.check_fips()?;
        Ok(config)
    }
}

#[cfg(feature = "kbs")]
impl crate::kbs::KbsConfig {
    /// Reads the section `[kbs]` of a `pqc.toml`; the section `[pqc]` may stand beside it and is checked too.
    ///
    /// ```
    /// use hanzo_pqc::kbs::KbsConfig;
    ///
    /// assert!(KbsConfig::from_toml("[kbs]\nattestation_required = true\ngpu_cc_enabled = false\n").is_ok());
    /// assert!(KbsConfig::from_toml("[kbs]\nattestation = false\n").is_err());
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::Malformed`] with the place, [`Error::TooLong`] above 64 KiB.
    pub fn from_toml(text: &str) -> Result<Self> {
        let Kbs { attestation_required, gpu_cc_enabled, tee_io_enabled } = parse(text)?.kbs;
        Ok(Self::new()
            .attestation_required(attestation_required)
            .gpu_cc_enabled(gpu_cc_enabled)
            .tee_io_enabled(tee_io_enabled))
    }
}

fn parse(text: &str) -> Result<File> {
    if text.len() > MAX_LEN {
        return Err(Error::TooLong { what: "pqc.toml", limit: MAX_LEN });
    }
    toml::from_str(text)
        .map_err(|error| Error::Malformed { what: "pqc.toml", offset: error.span().map_or(0, |span| span.start) })
}

const MAX_LEN: usize = 65_536;

#[cfg(test)]
mod tests {
    use super::*;

    const FULL: &str = r#"
[pqc]
default_kem = "ML-KEM-768"
default_dsa = "ML-DSA-65"
hybrid_mode = true
fips_mode = false
auto_privacy_tier = true

[kbs]
attestation_required = true
gpu_cc_enabled = true
tee_io_enabled = false
"#;

    #[test]
    fn the_documented_file_is_the_default() {
        assert_eq!(PqcConfig::from_toml(FULL), Ok(PqcConfig::default()));
        assert_eq!(PqcConfig::from_toml(""), Ok(PqcConfig::default()));
    }

    #[test]
    fn files_that_say_something_else() {
        for (from, to) in [
            ("hybrid_mode", "hybird_mode"),
            ("[kbs]", "[kms]"),
            ("\"ML-KEM-768\"", "\"ML-KEM-769\""),
            ("hybrid_mode = true", "hybrid_mode = 1"),
            ("hybrid_mode = true", "hybrid_mode = true\nhybrid_mode = true"),
            ("tee_io_enabled", "software_evidence"),
            ("[pqc]", "[pqc"),
        ] {
            let got = PqcConfig::from_toml(&FULL.replace(from, to));
            assert!(matches!(got, Err(Error::Malformed { what: "pqc.toml", .. })), "{to}: {got:?}");
        }
        let fips = PqcConfig::from_toml(&FULL.replace("fips_mode = false", "fips_mode = true"));
        assert_eq!(fips.is_err(), !crate::backend::fips_module());
        let long = "#".repeat(MAX_LEN + 1);
        assert!(matches!(PqcConfig::from_toml(&long), Err(Error::TooLong { .. })));
    }
}
