//! The configuration file of the source document (000, B.3), as plain data for any `serde` format.

use crate::{
    Demand, Disposition, Error, FeeError, FeeSchedule, Resources, Role, RuntimeKind, Share, Tariff, UnitError, Weights,
};
use alloc::string::String;
use core::fmt;
use serde::de::{Error as _, Unexpected, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// The whole file; what is left out has the values of B.3, and what is not known is refused.
///
/// ```
/// use hanzo_metering::{RuntimeConfig, RuntimeKind};
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let config: RuntimeConfig = serde_json::from_str(r#"{ "metering": { "validator_commission": "0.125" } }"#)?;
/// assert_eq!(config.metering.schedule()?.split(80), [70, 10]);
/// assert_eq!(config.runtime.default_type, RuntimeKind::Docker);
/// # Ok(()) }
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RuntimeConfig {
    /// `[runtime]`.
    pub runtime: RuntimeSection,
    /// `[metering]`.
    pub metering: MeteringSection,
}

/// `[runtime]`: which runtime, and how many deployments.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RuntimeSection {
    /// What a deployment runs in that names nothing: `docker`, `kubernetes`, `wasm` or `firecracker`.
    #[serde(with = "kind")]
    pub default_type: RuntimeKind,
    /// Slots of the pool.
    pub max_concurrent_deployments: u32,
    /// `[runtime.docker]`, for the adapter.
    pub docker: DockerSection,
    /// `[runtime.kubernetes]`, for the adapter.
    pub kubernetes: KubernetesSection,
    /// `[runtime.wasm]`, for the adapter.
    pub wasm: WasmSection,
}

/// `[runtime.docker]`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DockerSection {
    /// Path of the daemon's socket.
    pub socket: String,
    /// Whether containers may have GPUs.
    pub enable_gpu: bool,
}

/// `[runtime.kubernetes]`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct KubernetesSection {
    /// Path of the cluster's credentials, as written: `~` stays.
    pub kubeconfig: String,
    /// Namespace of the pods.
    pub namespace: String,
}

/// `[runtime.wasm]`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct WasmSection {
    /// Name of the engine.
    pub engine: String,
    /// Mebibytes of compiled modules that are kept.
    pub cache_size_mb: u64,
}

/// `[metering]`: what is billed and minted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct MeteringSection {
    /// Compute units of a core, a GiB and a GPU, as [`Weights::from_formula`] reads them.
    pub compute_unit_formula: String,
    /// Blocks between bills.
    pub billing_interval_blocks: u64,
    /// Tokens minted per CU-hour.
    pub token_mining_rate: Decimal,
    /// The validators' share of each payment.
    pub validator_commission: Decimal,
}

impl Default for RuntimeSection {
    fn default() -> Self {
        Self {
            default_type: RuntimeKind::Docker,
            max_concurrent_deployments: 100,
            docker: DockerSection::default(),
            kubernetes: KubernetesSection::default(),
            wasm: WasmSection::default(),
        }
    }
}

impl Default for DockerSection {
    fn default() -> Self {
        Self { socket: "/var/run/docker.sock".into(), enable_gpu: true }
    }
}

impl Default for KubernetesSection {
    fn default() -> Self {
        Self { kubeconfig: "~/.kube/config".into(), namespace: "hanzo".into() }
    }
}

impl Default for WasmSection {
    fn default() -> Self {
        Self { engine: "wasmtime".into(), cache_size_mb: 512 }
    }
}

impl Default for MeteringSection {
    fn default() -> Self {
        Self {
            compute_unit_formula: "cpu*10 + mem_gb*5 + gpu*100".into(),
            billing_interval_blocks: 100,
            token_mining_rate: Decimal { nano: 10 * NANO },
            validator_commission: Decimal { nano: NANO / 10 },
        }
    }
}

impl RuntimeSection {
    /// The capacity of a node: these resources, and a slot for each deployment.
    pub const fn capacity(&self, resources: Resources) -> Demand {
        Demand { resources, slots: self.max_concurrent_deployments }
    }
}

impl MeteringSection {
    /// The Hanzo tariff with these weights and this mint rate, at `price` base units of 9 decimals per CU-hour.
    ///
    /// # Errors
    /// `BadFormula`, `NotExact`, `ZeroWeights`.
    pub fn tariff(&self, price: u128) -> Result<Tariff, UnitError> {
        let weights = Weights::from_formula(&self.compute_unit_formula)?;
        Ok(Tariff::hanzo(price).with_weights(weights).with_mint(self.token_mining_rate.nano.into()))
    }

    /// The split of each payment between operator and validators.
    ///
    /// # Errors
    /// `NotExact` where the commission is no whole number of basis points; `BadSchedule` where it passes 1.
    pub fn schedule(&self) -> Result<FeeSchedule, Error> {
        let nano = self.validator_commission.nano;
        if !nano.is_multiple_of(NANO_PER_BPS) {
            return Err(UnitError::NotExact.into());
        }
        let bps = nano / NANO_PER_BPS;
        let validator = u16::try_from(bps).ok().filter(|&bps| bps <= 10_000);
        let validator = validator.ok_or(FeeError::BadSchedule { sum: bps })?;
        let share = |(role, bps)| Share { role, bps, disposition: Disposition::Pay };
        let shares = [(Role::Operator, 10_000 - validator), (Role::Validator, validator)];
        Ok(FeeSchedule::new(shares.map(share))?)
    }
}

/// A decimal number of at most 9 decimals, exactly: read from text, or from a float that is within 10^-9 of a whole number of
/// ten-thousandths.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Decimal {
    nano: u64,
}

impl Decimal {
    /// So many billionths.
    pub const fn from_nano(nano: u64) -> Self {
        Self { nano }
    }

    /// Its billionths.
    pub const fn nano(self) -> u64 {
        self.nano
    }

    fn from_float(x: f64) -> Option<Self> {
        let scaled = x * 1e4;
        if !(-0.5..1e13).contains(&scaled) {
            return None;
        }
        // The nearest whole number, without the float functions of `std`.
        let whole = (scaled + 0.5) as u64;
        let off = x - whole as f64 / 1e4;
        (-1e-9..=1e-9).contains(&off).then_some(Self { nano: whole * NANO_PER_BPS })
    }
}

impl fmt::Display for Decimal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{:09}", self.nano / NANO, self.nano % NANO)
    }
}

impl Serialize for Decimal {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Decimal {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Exact;
        impl Visitor<'_> for Exact {
            type Value = Decimal;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(
                    "a decimal number of at most 9 decimals, or a float that is a whole number of ten-thousandths",
                )
            }

            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Decimal, E> {
                let nano = crate::units::decimal(text, 9).and_then(|n| u64::try_from(n).ok());
                nano.map(Decimal::from_nano).ok_or_else(|| E::invalid_value(Unexpected::Str(text), &self))
            }

            fn visit_f64<E: serde::de::Error>(self, x: f64) -> Result<Decimal, E> {
                Decimal::from_float(x).ok_or_else(|| E::invalid_value(Unexpected::Float(x), &self))
            }

            fn visit_u64<E: serde::de::Error>(self, n: u64) -> Result<Decimal, E> {
                let nano = n.checked_mul(NANO);
                nano.map(Decimal::from_nano).ok_or_else(|| E::invalid_value(Unexpected::Unsigned(n), &self))
            }

            fn visit_i64<E: serde::de::Error>(self, n: i64) -> Result<Decimal, E> {
                let n = u64::try_from(n).map_err(|_| E::invalid_value(Unexpected::Signed(n), &self))?;
                self.visit_u64(n)
            }
        }
        deserializer.deserialize_any(Exact)
    }
}

mod kind {
    use super::*;

    const NAMES: [(&str, RuntimeKind); 4] = [
        ("docker", RuntimeKind::Docker),
        ("kubernetes", RuntimeKind::Kubernetes),
        ("wasm", RuntimeKind::Wasm),
        ("firecracker", RuntimeKind::Firecracker),
    ];

    pub(super) fn serialize<S: Serializer>(kind: &RuntimeKind, serializer: S) -> Result<S::Ok, S::Error> {
        let name = NAMES.iter().find(|n| n.1 == *kind).map_or("docker", |n| n.0);
        serializer.serialize_str(name)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<RuntimeKind, D::Error> {
        let name = String::deserialize(deserializer)?;
        let known = NAMES.iter().find(|n| n.0 == name).map(|n| n.1);
        known.ok_or_else(|| D::Error::unknown_variant(&name, &["docker", "kubernetes", "wasm", "firecracker"]))
    }
}

const NANO: u64 = 1_000_000_000;
const NANO_PER_BPS: u64 = 100_000;
