//! Collecting the fields of a policy.

use alloc::boxed::Box;
use alloc::collections::BTreeSet;

use sha2::{Digest, Sha256};

use super::field::{self, MAX_NAME_LEN, Value};
use super::{MAX_LEN, Policy, TOO_LONG};
use crate::attestation::{SnpProduct, SnpTcb, TcbStatus};
use crate::error::{Error, Result};
use crate::hybrid::EncapsulationKey;
use crate::suite::HybridSuite;
use crate::tier::PrivacyTier;

/// Collects the fields of a [`Policy`]. A setter of a set that is called again adds to it; one of a number replaces it.
#[derive(Debug, Clone, Default)]
pub struct PolicyBuilder {
    policy: Policy,
}

/// One setter a line: documentation, name, tag, width.
macro_rules! sets {
    ($($(#[$doc:meta])* $name:ident, $tag:literal, $width:literal;)*) => {
        $($(#[$doc])*
        #[must_use]
        pub fn $name(self, values: impl IntoIterator<Item = [u8; $width]>) -> Self {
            self.add($tag, values.into_iter().map(|value| value.into()))
        })*
    };
}

macro_rules! texts {
    ($($(#[$doc:meta])* $name:ident, $tag:literal;)*) => {
        $($(#[$doc])*
        #[must_use]
        pub fn $name<T: AsRef<str>>(self, values: impl IntoIterator<Item = T>) -> Self {
            self.add($tag, values.into_iter().map(|value| value.as_ref().as_bytes().into()))
        })*
    };
}

macro_rules! any {
    ($($(#[$doc:meta])* $name:ident, $tag:literal;)*) => {
        $($(#[$doc])*
        #[must_use]
        pub fn $name(self) -> Self {
            self.put($tag, Value::Any)
        })*
    };
}

impl PolicyBuilder {
    /// Labels the policy; the label decides nothing.
    #[must_use]
    pub fn name(self, name: &str) -> Self {
        self.put(1, Value::Text(name.into()))
    }

    /// Allows these tiers.
    #[must_use]
    pub fn tiers(self, tiers: impl IntoIterator<Item = PrivacyTier>) -> Self {
        self.add(2, tiers.into_iter().map(|tier| [tier.code()].into()))
    }

    /// Allows these suites.
    #[must_use]
    pub fn suites(self, suites: impl IntoIterator<Item = HybridSuite>) -> Self {
        self.add(3, suites.into_iter().map(|suite| suite.code().to_be_bytes().into()))
    }

    /// Allows these recipient keys.
    #[must_use]
    pub fn recipients<'a>(self, keys: impl IntoIterator<Item = &'a EncapsulationKey>) -> Self {
        self.recipient_digests(keys.into_iter().map(|key| Sha256::digest(key.as_bytes()).into()))
    }

    /// How old DCAP collateral may be, in seconds; 2,592,000 (30 days) where not set.
    #[must_use]
    pub fn maximum_collateral_age_s(self, seconds: u64) -> Self {
        self.put(4, Value::Number(seconds))
    }

    /// Allows these statuses of Intel platforms; up to date alone where not set.
    #[must_use]
    pub fn tcb_statuses(self, statuses: impl IntoIterator<Item = TcbStatus>) -> Self {
        self.add(16, statuses.into_iter().map(|status| [status.code()].into()))
    }

    /// Allows SGX enclaves of these signers (MRSIGNER) and products.
    #[must_use]
    pub fn sgx_mrsigner_product(self, pairs: impl IntoIterator<Item = ([u8; 32], u16)>) -> Self {
        let element = |(signer, product): ([u8; 32], u16)| [&signer[..], &product.to_be_bytes()].concat().into();
        self.add(27, pairs.into_iter().map(element))
    }

    /// The lowest security version of SGX enclaves.
    #[must_use]
    pub fn sgx_minimum_svn(self, svn: u16) -> Self {
        self.put(28, Value::Number(svn.into()))
    }

    /// Demands at least this reported TCB of a product; products without one are denied.
    #[must_use]
    pub fn snp_minimum_tcb(self, product: SnpProduct, tcb: SnpTcb) -> Self {
        let SnpTcb { fmc, bootloader, tee, snp, microcode } = tcb;
        self.add(34, [[product.code(), fmc, bootloader, tee, snp, microcode].into()])
    }

    /// Allows reports that these cloud providers' keys (VLEK) signed; chips' own keys (VCEK) are always allowed.
    #[must_use]
    pub fn snp_vlek_providers<T: AsRef<str>>(self, csp_ids: impl IntoIterator<Item = T>) -> Self {
        self.put(35, Value::Number(1)).add(44, csp_ids.into_iter().map(|id| id.as_ref().as_bytes().into()))
    }

    /// Allows reports asked for at these privilege levels; 0 alone where not set.
    #[must_use]
    pub fn snp_vmpl(self, levels: impl IntoIterator<Item = u32>) -> Self {
        self.add(36, levels.into_iter().map(|level| level.to_be_bytes().into()))
    }

    /// The lowest security version of SNP guests.
    #[must_use]
    pub fn snp_minimum_guest_svn(self, svn: u32) -> Self {
        self.put(40, Value::Number(svn.into()))
    }

    /// Forbids these bits of the guest policy; migration agents (18) where not set. Debug (19) is always forbidden.
    #[must_use]
    pub fn snp_forbidden_policy_bits(self, bits: u64) -> Self {
        self.put(41, Value::Number(bits))
    }

    /// Demands bits of the platform information to be one, and others to be zero.
    #[must_use]
    pub fn snp_platform_info(self, one: u64, zero: u64) -> Self {
        self.put(42, Value::Bits(one, zero))
    }

    /// Allows these values of one GPU measurement, of index 1 to 64.
    #[must_use]
    pub fn gpu_measurement(self, index: u8, values: impl IntoIterator<Item = [u8; 48]>) -> Self {
        self.add(50, values.into_iter().map(|value| [&[index], &value[..]].concat().into()))
    }

    /// Allows these feature flags of GPUs: 0 single GPU, 1 several, 2 protected PCIe; 0 alone where not set.
    #[must_use]
    pub fn gpu_feature_flags(self, flags: impl IntoIterator<Item = u8>) -> Self {
        self.add(51, flags.into_iter().map(|flag| [flag].into()))
    }

    /// Allows these GPUs, by the serial number of the leaf certificate, big-endian without leading zero.
    #[must_use]
    pub fn gpu_leaf_serials<T: AsRef<[u8]>>(self, serials: impl IntoIterator<Item = T>) -> Self {
        self.add(53, serials.into_iter().map(|serial| serial.as_ref().into()))
    }

    /// Whether the measurement of index 36 is left out where the report says that the decoder it measures is off; it is where this is not set.
    #[must_use]
    pub fn gpu_nvdec0_rule(self, on: bool) -> Self {
        self.put(54, Value::Number(on.into()))
    }

    sets! {
        /// Allows recipient keys by the SHA-256 of their encoding.
        recipient_digests, 5, 32;
        /// Allows TDX domains with these measurements at launch (MRTD).
        tdx_mrtd, 17, 48;
        /// Allows these values of RTMR0. All four registers need values.
        tdx_rtmr0, 18, 48;
        /// Allows these values of RTMR1.
        tdx_rtmr1, 19, 48;
        /// Allows these values of RTMR2.
        tdx_rtmr2, 20, 48;
        /// Allows these values of RTMR3.
        tdx_rtmr3, 21, 48;
        /// Allows these values of MRCONFIGID; unchecked where not set.
        tdx_mrconfigid, 22, 48;
        /// Allows these values of MROWNER; unchecked where not set.
        tdx_mrowner, 23, 48;
        /// Allows these TDX modules (MRSEAM); unchecked where not set.
        tdx_mrseam, 24, 48;
        /// Allows these SGX enclaves (MRENCLAVE).
        sgx_mrenclave, 26, 32;
        /// Allows SNP guests with these measurements at launch.
        snp_measurements, 33, 48;
        /// Allows these values of host data; unchecked where not set.
        snp_host_data, 37, 32;
        /// Allows guests whose identity block these keys signed; unchecked where not set.
        snp_id_key_digests, 38, 48;
        /// Allows guests whose identity key these keys signed; unchecked where not set.
        snp_author_key_digests, 39, 48;
        /// Allows these chips; unchecked where not set. A masked chip is none of them.
        snp_chip_ids, 43, 64;
        /// Allows GPUs with these firmware identities; unchecked where not set.
        gpu_fwids, 52, 48;
        /// Allows software evidence under these verifying keys, by the SHA-256 of their encoding.
        software_keys, 64, 32;
        /// Allows software evidence with these measurements.
        software_measurements, 65, 32;
    }

    texts! {
        /// Denies platforms to which one of these advisories applies, as `INTEL-SA-00615`.
        refused_advisories, 25;
        /// Allows these GPU drivers, as `550.90.07`.
        gpu_driver_versions, 48;
        /// Allows these VBIOS versions, as `96.00.9f.00.01`.
        gpu_vbios_versions, 49;
    }

    any! {
        /// Allows every tier.
        dangerous_any_tier, 2;
        /// Allows every suite that the tier accepts.
        dangerous_any_suite, 3;
        /// Allows every recipient key: without evidence, whoever asks.
        dangerous_any_recipient, 5;
        /// Allows Intel platforms of every status but revoked.
        dangerous_any_tcb_status, 16;
        /// Allows TDX domains with any measurement at launch.
        dangerous_any_tdx_mrtd, 17;
        /// Allows any value of RTMR0.
        dangerous_any_tdx_rtmr0, 18;
        /// Allows any value of RTMR1.
        dangerous_any_tdx_rtmr1, 19;
        /// Allows any value of RTMR2.
        dangerous_any_tdx_rtmr2, 20;
        /// Allows any value of RTMR3.
        dangerous_any_tdx_rtmr3, 21;
        /// Allows every SGX enclave.
        dangerous_any_sgx_mrenclave, 26;
        /// Allows SNP guests with any measurement.
        dangerous_any_snp_measurement, 33;
        /// Allows SNP machines with any TCB, however old.
        dangerous_any_snp_tcb, 34;
        /// Allows reports asked for at any privilege level.
        dangerous_any_snp_vmpl, 36;
        /// Allows every GPU driver.
        dangerous_any_gpu_driver, 48;
        /// Allows every VBIOS.
        dangerous_any_gpu_vbios, 49;
        /// Allows GPUs with any measurements.
        dangerous_any_gpu_measurement, 50;
        /// Allows software evidence under any key: whoever makes one.
        dangerous_any_software_key, 64;
        /// Allows software evidence with any measurement.
        dangerous_any_software_measurement, 65;
    }

    /// Finishes the policy.
    ///
    /// # Errors
    ///
    /// [`Error::TooLong`] for a name above 64 bytes or a policy above 1 MiB; [`Error::PolicyField`] for a value outside its field: an empty text or one above
    /// 255 bytes, an index outside 1 to 64 or with more than 255 values, a flag above 2, two minimum TCBs of one product, a bit that must be one and zero.
    pub fn build(self) -> Result<Policy> {
        if self.policy.name().is_some_and(|name| name.len() > MAX_NAME_LEN) {
            return Err(Error::TooLong { what: "policy name", limit: MAX_NAME_LEN });
        }
        for (&tag, value) in &self.policy.fields {
            // Setters write tags of the table only.
            let Some((name, kind)) = field::field(tag) else {
                return Err(Error::UnknownPolicyTag(tag));
            };
            value.check(tag, kind)?;
            if let (50, Value::Set(set)) = (tag, value)
                && !field::measurements_fit(set)
            {
                return Err(Error::PolicyField { field: name });
            }
        }
        if self.policy.to_bytes().len() > MAX_LEN {
            return Err(TOO_LONG);
        }
        Ok(self.policy)
    }

    pub(super) fn put(mut self, tag: u8, value: Value) -> Self {
        self.policy.fields.insert(tag, value);
        self
    }

    pub(super) fn add(mut self, tag: u8, elements: impl IntoIterator<Item = Box<[u8]>>) -> Self {
        // "Any" stays any.
        if let Value::Set(set) = self.policy.fields.entry(tag).or_insert_with(|| Value::Set(BTreeSet::new())) {
            set.extend(elements);
        }
        self
    }
}
