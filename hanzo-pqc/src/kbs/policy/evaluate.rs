//! What a policy says to a session.

use super::{Denied, Facts, Policy, Value};
use crate::attestation::{
    Claims, GpuSwitch, IntelPlatform, NvidiaClaims, SgxClaims, SnpClaims, SnpSigner, SnpTcb, SoftwareClaims, TdxClaims,
};
use crate::tier::PrivacyTier;

type Answer = Result<(), Denied>;

impl Policy {
    /// Says whether the policy allows a release, field by field in the order of tags for each item of evidence.
    ///
    /// # Errors
    ///
    /// The first field that denies.
    pub fn evaluate(&self, facts: &Facts<'_>) -> Result<(), Denied> {
        self.demand(2, &[facts.tier.code()])?;
        self.demand(3, &facts.suite.code().to_be_bytes())?;
        let shows_cpu = facts.claims.iter().any(|claims| claims.kind().is_cpu());
        if self.has(5) || !shows_cpu {
            self.demand(5, &facts.recipient)?;
        }
        facts.claims.iter().try_for_each(|claims| match claims {
            Claims::Tdx(claims) => self.evaluate_tdx(facts, claims),
            Claims::Sgx(claims) => self.evaluate_sgx(facts, claims),
            Claims::Snp(claims) => self.evaluate_snp(claims),
            Claims::NvidiaGpu(claims) => self.evaluate_gpu(claims),
            Claims::Software(claims) => self.evaluate_software(facts.tier, claims),
        })
    }

    fn evaluate_platform(&self, facts: &Facts<'_>, platform: &IntelPlatform) -> Answer {
        let age = facts.now.as_seconds().saturating_sub(platform.collateral_issued.as_seconds());
        require(4, age <= self.number(4).unwrap_or(DEFAULT_COLLATERAL_AGE_S))?;
        let status = [platform.status.code()];
        require(16, self.get(16).map_or(status == [0], |allowed| allowed.contains(&status)))?;
        let refused = |advisory: &str| self.get(25).is_some_and(|list| list.contains(advisory.as_bytes()));
        require(25, !platform.advisories.iter().any(|advisory| refused(advisory)))
    }

    fn evaluate_tdx(&self, facts: &Facts<'_>, claims: &TdxClaims) -> Answer {
        self.evaluate_platform(facts, &claims.platform)?;
        // Debug has no override, whoever verified the quote.
        require(17, claims.attributes & 1 == 0)?;
        self.demand(17, &claims.mr_td)?;
        for (tag, value) in (18..).zip(&claims.rtmr) {
            self.demand(tag, value)?;
        }
        self.demand_if_present(22, &claims.mr_config_id)?;
        self.demand_if_present(23, &claims.mr_owner)?;
        self.demand_if_present(24, &claims.mr_seam)
    }

    fn evaluate_sgx(&self, facts: &Facts<'_>, claims: &SgxClaims) -> Answer {
        self.evaluate_platform(facts, &claims.platform)?;
        require(26, self.has(26) || self.has(27))?;
        self.demand_if_present(26, &claims.mr_enclave)?;
        self.demand_if_present(27, &[&claims.mr_signer[..], &claims.product_id.to_be_bytes()].concat())?;
        require(28, self.number(28).is_none_or(|minimum| u64::from(claims.svn) >= minimum))
    }

    fn evaluate_snp(&self, claims: &SnpClaims) -> Answer {
        self.demand(33, &claims.measurement)?;
        require(34, self.tcb_suffices(claims))?;
        if let SnpSigner::Vlek { csp_id } = &claims.signer {
            require(35, self.number(35) == Some(1))?;
            self.demand(44, csp_id.as_bytes())?;
        }
        let vmpl = claims.vmpl.to_be_bytes();
        require(36, self.get(36).map_or(vmpl == [0; 4], |allowed| allowed.contains(&vmpl)))?;
        self.demand_if_present(37, &claims.host_data)?;
        self.demand_if_present(38, &claims.id_key_digest)?;
        self.demand_if_present(39, &claims.author_key_digest)?;
        require(40, self.number(40).is_none_or(|minimum| u64::from(claims.guest_svn) >= minimum))?;
        let forbidden = self.number(41).unwrap_or(MIGRATION_AGENT) | DEBUG;
        require(41, claims.policy & forbidden == 0)?;
        if let Some(Value::Bits(one, zero)) = self.get(42) {
            require(42, claims.platform_info & one == *one && claims.platform_info & zero == 0)?;
        }
        // A masked chip is none of those listed.
        let chip = claims.chip_id.as_ref().map_or(&[][..], |id| &id[..]);
        self.demand_if_present(43, chip)
    }

    fn tcb_suffices(&self, claims: &SnpClaims) -> bool {
        match self.get(34) {
            Some(Value::Any) => true,
            Some(Value::Set(minimums)) => minimums.iter().any(|entry| match **entry {
                [product, fmc, bootloader, tee, snp, microcode] => {
                    let minimum = SnpTcb { fmc, bootloader, tee, snp, microcode };
                    product == claims.product.code() && claims.reported_tcb.is_at_least(&minimum)
                }
                _ => false,
            }),
            _ => false,
        }
    }

    fn evaluate_gpu(&self, claims: &NvidiaClaims) -> Answer {
        self.demand(48, claims.driver_version.as_bytes())?;
        self.demand(49, claims.vbios_version.as_bytes())?;
        require(50, self.measurements_match(claims))?;
        let flag = u8::try_from(claims.feature_flag).unwrap_or(u8::MAX);
        require(51, self.get(51).map_or(flag == 0, |allowed| allowed.contains(&[flag])))?;
        self.demand_if_present(52, &claims.fwid)?;
        self.demand_if_present(53, &claims.leaf_serial)
    }

    /// Each index that the policy lists has one of its values; index 36 is left out where the report says that the decoder it measures is off.
    fn measurements_match(&self, claims: &NvidiaClaims) -> bool {
        let skipped = |index: u8| index == 36 && claims.nvdec0 == GpuSwitch::Off && self.number(54).unwrap_or(1) == 1;
        let measured = |index: u8| claims.measurements.get(usize::from(index) - 1);
        match self.get(50) {
            Some(Value::Any) => true,
            Some(Value::Set(set)) => {
                let listed = |index: u8| set.iter().any(|entry| entry.first() == Some(&index));
                let matches = |index| {
                    measured(index).is_some_and(|value| set.contains([&[index], &value[..]].concat().as_slice()))
                };
                !set.is_empty() && (1..=64).all(|index| !listed(index) || skipped(index) || matches(index))
            }
            _ => false,
        }
    }

    fn evaluate_software(&self, tier: PrivacyTier, claims: &SoftwareClaims) -> Answer {
        // A software key proves nothing of the machine: tiers that promise something of it are out of its reach.
        require(64, tier <= PrivacyTier::AtRest)?;
        self.demand(64, &claims.key_digest)?;
        self.demand(65, &claims.measurement)
    }

    fn has(&self, tag: u8) -> bool {
        self.get(tag).is_some()
    }

    fn number(&self, tag: u8) -> Option<u64> {
        match self.get(tag) {
            Some(Value::Number(number)) => Some(*number),
            _ => None,
        }
    }

    fn demand(&self, tag: u8, value: &[u8]) -> Answer {
        require(tag, self.get(tag).is_some_and(|allowed| allowed.contains(value)))
    }

    fn demand_if_present(&self, tag: u8, value: &[u8]) -> Answer {
        require(tag, self.get(tag).is_none_or(|allowed| allowed.contains(value)))
    }
}

const fn require(tag: u8, holds: bool) -> Answer {
    if holds { Ok(()) } else { Err(Denied { tag }) }
}

const DEFAULT_COLLATERAL_AGE_S: u64 = 2_592_000;
const MIGRATION_AGENT: u64 = 1 << 18;
const DEBUG: u64 = 1 << 19;
