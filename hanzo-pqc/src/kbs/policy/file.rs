//! Policies as TOML, for people to write.

use alloc::boxed::Box;
use alloc::vec::Vec;

use toml::{Table, Value as Toml};

use super::field::{FIELDS, Kind, Value};
use super::{MAX_LEN, Policy, PolicyBuilder};
use crate::attestation::{SnpProduct, TcbStatus};
use crate::error::{Error, Result};
use crate::suite::HybridSuite;

impl Policy {
    /// Reads a policy file: the fields of the table of [`Policy`] by name, of which none is implied.
    ///
    /// Digests, measurements and serial numbers are lists of hex (of `sgx_mrsigner_product`: 32 bytes of signer, then 2 of product, big-endian); tiers, levels and
    /// flags lists of numbers; versions, advisories and providers lists of texts; `suites` and `tcb_statuses` lists of names; `snp_vlek_allowed` and
    /// `gpu_nvdec0_rule` true or false; `snp_minimum_tcb` a list of tables, `snp_platform_info` a table of `one` and `zero`, `gpu_measurements` a table from index to
    /// list. "Any" is the field's name in the list `dangerous_any`.
    ///
    /// ```
    /// use hanzo_pqc::kbs::Policy;
    ///
    /// let policy = Policy::from_toml(r#"
    ///     name = "tenant-7"
    ///     tiers = [2, 3]
    ///     suites = ["MLKEM768-X25519-HKDF-SHA256", "MLKEM1024-X25519-HKDF-SHA384"]
    ///     snp_measurements = ["11d4e2ed4a5b8c9f7b5a3c2d1e0f9a8b7c6d5e4f3a2b1c0d9e8f7a6b5c4d3e2f1a0b9c8d7e6f5a4b3c2d1e0f00112233"]
    ///     snp_minimum_tcb = [{ product = "Milan", bootloader = 4, snp = 24, microcode = 219 }]
    ///     gpu_driver_versions = ["550.90.07"]
    ///     gpu_measurements = { 9 = ["000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000"] }
    ///     dangerous_any = ["gpu_vbios_versions"]
    /// "#)?;
    /// assert_eq!(policy.name(), Some("tenant-7"));
    /// assert!(Policy::from_toml("tier = [2]").is_err());
    /// # Ok::<(), hanzo_pqc::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::Malformed`] with the place for what is no TOML, [`Error::TooLong`] above 1 MiB, [`Error::UnknownName`] for a field that this version does not know,
    /// [`Error::PolicyField`] and [`Error::UnknownTier`] for a value that is none of its field's.
    pub fn from_toml(text: &str) -> Result<Self> {
        if text.len() > MAX_LEN {
            return Err(Error::TooLong { what: FILE, limit: MAX_LEN });
        }
        let table: Table = toml::from_str(text)
            .map_err(|error| Error::Malformed { what: FILE, offset: error.span().map_or(0, |span| span.start) })?;
        let mut builder = Self::builder();
        for (name, value) in &table {
            if name == ANY {
                let malformed = Error::PolicyField { field: ANY };
                for name in value.as_array().ok_or(malformed)? {
                    let name = name.as_str().ok_or(malformed)?;
                    let (tag, field, kind) = named(name)?;
                    // Beside a list, or for a field that has no "any".
                    if table.contains_key(name) || matches!(kind, Kind::Label | Kind::Number(_) | Kind::Bits) {
                        return Err(Error::PolicyField { field });
                    }
                    builder = builder.put(tag, Value::Any);
                }
                continue;
            }
            let (tag, field, kind) = named(name)?;
            builder = read(builder, tag, kind, value).ok_or(Error::PolicyField { field })?;
        }
        builder.build()
    }
}

fn named(name: &str) -> Result<(u8, &'static str, Kind)> {
    FIELDS.iter().find(|field| field.1 == name).copied().ok_or(Error::UnknownName { what: "policy field" })
}

fn read(builder: PolicyBuilder, tag: u8, kind: Kind, value: &Toml) -> Option<PolicyBuilder> {
    let number = |value: &Toml| value.as_integer().and_then(|number| u64::try_from(number).ok());
    let elements =
        |read: &dyn Fn(&Toml) -> Option<Box<[u8]>>| value.as_array()?.iter().map(read).collect::<Option<Vec<_>>>();
    let set = match kind {
        Kind::Label => return Some(builder.put(tag, Value::Text(value.as_str()?.into()))),
        Kind::Number(1) => {
            return Some(
                builder.put(tag, Value::Number(value.as_bool().map_or_else(|| number(value), |on| Some(on.into()))?)),
            );
        }
        Kind::Number(_) => return Some(builder.put(tag, Value::Number(number(value)?))),
        Kind::Bits => {
            let (one, zero) = (value.get("one").map_or(Some(0), number)?, value.get("zero").map_or(Some(0), number)?);
            only(value, &["one", "zero"])?;
            return Some(builder.put(tag, Value::Bits(one, zero)));
        }
        Kind::Set(_) if tag == 3 => elements(&|name| {
            let suite = HybridSuite::from_name(name.as_str()?).ok()?;
            Some(suite.code().to_be_bytes().into())
        })?,
        Kind::Set(_) if tag == 16 => elements(&|name| {
            let status = TcbStatus::ALL.into_iter().find(|status| Some(status.name()) == name.as_str())?;
            Some([status.code()].into())
        })?,
        Kind::Set(width @ ..8) => elements(&|element| {
            let bytes = number(element)?.to_be_bytes();
            let (zeros, bytes) = bytes.split_at(8 - width);
            zeros.iter().all(|byte| *byte == 0).then(|| bytes.into())
        })?,
        Kind::Set(_) => elements(&|element| hex(element.as_str()?))?,
        Kind::Texts if tag == 53 => elements(&|element| hex(element.as_str()?))?,
        Kind::Texts => elements(&|element| Some(element.as_str()?.as_bytes().into()))?,
        Kind::Tcbs => elements(&|element| {
            only(element, &["product", "fmc", "bootloader", "tee", "snp", "microcode"])?;
            let product = element.get("product")?.as_str()?;
            let product = SnpProduct::ALL.into_iter().find(|known| known.name() == product)?;
            let part = |name| element.get(name).map_or(Some(0), |part| u8::try_from(number(part)?).ok());
            let parts = [part("fmc")?, part("bootloader")?, part("tee")?, part("snp")?, part("microcode")?];
            Some([&[product.code()], &parts[..]].concat().into())
        })?,
        Kind::Measurements => {
            let mut entries = Vec::new();
            for (index, values) in value.as_table()? {
                let index: u8 = index.parse().ok()?;
                for value in values.as_array()? {
                    entries.push([&[index], &hex(value.as_str()?)?[..]].concat().into());
                }
            }
            entries
        }
    };
    Some(builder.add(tag, set))
}

/// Whether a table has these keys only.
fn only(value: &Toml, names: &[&str]) -> Option<()> {
    value.as_table()?.keys().all(|name| names.contains(&name.as_str())).then_some(())
}

fn hex(text: &str) -> Option<Box<[u8]>> {
    let digit = |byte: u8| char::from(byte).to_digit(16).map(|digit| digit as u8);
    let (pairs, rest) = text.as_bytes().as_chunks::<2>();
    let bytes: Option<Box<[u8]>> = pairs.iter().map(|[high, low]| Some(digit(*high)? << 4 | digit(*low)?)).collect();
    bytes.filter(|_| rest.is_empty())
}

const FILE: &str = "policy file";
const ANY: &str = "dangerous_any";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::attestation::SnpTcb;
    use crate::tier::PrivacyTier;
    use alloc::format;

    #[test]
    fn every_form_of_field() {
        let (m, d, c) = ("ab".repeat(48), "cd".repeat(32), "ef".repeat(34));
        let file = format!(
            r#"
            name = "all"
            tiers = [2]
            suites = ["MLKEM768-X25519-HKDF-SHA256"]
            maximum_collateral_age_s = 60
            tcb_statuses = ["UpToDate", "OutOfDate"]
            sgx_mrsigner_product = ["{c}"]
            snp_measurements = ["{m}"]
            snp_minimum_tcb = [{{ product = "Turin", fmc = 1, snp = 2 }}]
            snp_vlek_allowed = true
            snp_csp_ids = ["CN=cloud"]
            snp_vmpl = [0, 3]
            snp_host_data = ["{d}"]
            snp_platform_info = {{ one = 1 }}
            gpu_measurements = {{ 9 = ["{m}"], 10 = ["{m}"] }}
            gpu_feature_flags = [0, 2]
            gpu_leaf_serials = ["0A1b"]
            gpu_nvdec0_rule = false
            dangerous_any = ["gpu_driver_versions"]
            "#
        );
        let built = Policy::builder()
            .name("all")
            .tiers([PrivacyTier::CpuTee])
            .suites([HybridSuite::MlKem768X25519])
            .maximum_collateral_age_s(60)
            .tcb_statuses([TcbStatus::UpToDate, TcbStatus::OutOfDate])
            .sgx_mrsigner_product([([0xEF; 32], 0xEFEF)])
            .snp_measurements([[0xAB; 48]])
            .snp_minimum_tcb(SnpProduct::Turin, SnpTcb { fmc: 1, snp: 2, ..SnpTcb::default() })
            .snp_vlek_providers(["CN=cloud"])
            .snp_vmpl([0, 3])
            .snp_host_data([[0xCD; 32]])
            .snp_platform_info(1, 0)
            .gpu_measurement(9, [[0xAB; 48]])
            .gpu_measurement(10, [[0xAB; 48]])
            .gpu_feature_flags([0, 2])
            .gpu_leaf_serials([[0x0A, 0x1B]])
            .gpu_nvdec0_rule(false)
            .dangerous_any_gpu_driver();
        let read = Policy::from_toml(&file);
        assert_eq!(read, built.build());
        assert_eq!(Policy::from_bytes(&read.unwrap().to_bytes()), Policy::from_toml(&file));
    }

    #[test]
    fn files_that_say_something_else() {
        let field = |field| Err(Error::PolicyField { field });
        for (text, expected) in [
            ("tiers = 2", field("tiers")),
            ("tiers = [5]", Err(Error::UnknownTier(5))),
            ("tiers = [256]", field("tiers")),
            ("tiers = [-1]", field("tiers")),
            ("tier = [1]", Err(Error::UnknownName { what: "policy field" })),
            ("suites = [\"none\"]", field("suites")),
            ("snp_measurements = [\"ab\"]", field("snp_measurements")),
            ("snp_measurements = [\"a\"]", field("snp_measurements")),
            ("snp_measurements = [\"zz\"]", field("snp_measurements")),
            ("snp_minimum_tcb = [{ product = \"Rome\" }]", field("snp_minimum_tcb")),
            ("snp_minimum_tcb = [{ product = \"Milan\", snpp = 3 }]", field("snp_minimum_tcb")),
            ("snp_minimum_tcb = [{ product = \"Milan\" }, { product = \"Milan\", snp = 1 }]", field("snp_minimum_tcb")),
            ("snp_platform_info = { one = 1, zero = 1 }", field("snp_platform_info")),
            ("gpu_measurements = { x = [] }", field("gpu_measurements")),
            ("gpu_nvdec0_rule = 2", field("gpu_nvdec0_rule")),
            ("dangerous_any = [\"name\"]", field("name")),
            ("dangerous_any = [\"snp_host_data\"]", field("snp_host_data")),
            ("tiers = [1]\ndangerous_any = [\"tiers\"]", field("tiers")),
            ("dangerous_any = \"tiers\"", field("dangerous_any")),
            ("tiers = [1", Err(Error::Malformed { what: FILE, offset: 10 })),
        ] {
            assert_eq!(Policy::from_toml(text), expected, "{text}");
        }
    }
}
