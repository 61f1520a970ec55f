//! Release policies: who may have a key, in canonical bytes with a digest.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use crate::attestation::{Claims, UnixTime};
use crate::error::{Error, Result};
use crate::suite::HybridSuite;
use crate::tier::PrivacyTier;
use crate::wire::{Reader, digest, put_lp32};
use field::Value;

mod builder;
mod evaluate;
mod field;
#[cfg(feature = "config")]
mod file;

pub use builder::PolicyBuilder;

/// The conditions under which one key is released. Deny is the default: a mandatory field that is absent denies, and so does an empty set.
///
/// Bytes: `HKPO` 01 ‖ fields (u8 tag ‖ u32 length ‖ value), tags strictly ascending, sets sorted without duplicates. The one byte 2A in place of a
/// set is "any"; only the functions named `dangerous_any_*` write it. "With X" is where the session shows evidence of kind X.
///
/// | tag | name | field | where absent |
/// |---|---|---|---|
/// | 1 | `name` | UTF-8 of at most 64 bytes, a label only | |
/// | 2, 3 | `tiers`, `suites` | tiers; suites | denied |
/// | 4 | `maximum_collateral_age_s` | the greatest age of DCAP collateral, s | 2,592,000 |
/// | 5 | `recipients` | SHA-256 of the recipient keys | denied where the session shows no CPU evidence |
/// | 16 | `tcb_statuses` | statuses of Intel platforms ([`crate::attestation::TcbStatus`]) | up to date alone |
/// | 17; 18 to 21 | `tdx_mrtd`; `tdx_rtmr0` to `tdx_rtmr3` | MRTD; RTMR0 to RTMR3 | denied with TDX |
/// | 22, 23, 24 | `tdx_mrconfigid`, `tdx_mrowner`, `tdx_mrseam` | MRCONFIGID, MROWNER, MRSEAM | not checked |
/// | 25 | `refused_advisories` | refused advisories | none |
/// | 26, 27 | `sgx_mrenclave`, `sgx_mrsigner_product` | MRENCLAVE; MRSIGNER and product | denied with SGX where both are absent |
/// | 28 | `sgx_minimum_svn` | the lowest ISVSVN | not checked |
/// | 33 | `snp_measurements` | SNP measurements | denied with SNP |
/// | 34 | `snp_minimum_tcb` | the lowest reported TCB of each product | denied with SNP |
/// | 35, 44 | `snp_vlek_allowed`, `snp_csp_ids` | whether VLEK signatures count, and whose | denied with VLEK |
/// | 36 | `snp_vmpl` | VMPL | 0 alone |
/// | 37, 38, 39 | `snp_host_data`, `snp_id_key_digests`, `snp_author_key_digests` | host data, identity key, author key | not checked |
/// | 40 | `snp_minimum_guest_svn` | the lowest guest SVN | not checked |
/// | 41 | `snp_forbidden_policy_bits` | forbidden bits of the guest policy; 19, debug, is always one of them | 18 |
/// | 42 | `snp_platform_info` | platform information: bits that must be one, bits that must be zero | not checked |
/// | 43 | `snp_chip_ids` | chips | not checked |
/// | 48, 49 | `gpu_driver_versions`, `gpu_vbios_versions` | GPU driver, VBIOS | denied with a GPU |
/// | 50 | `gpu_measurements` | GPU measurements: every index listed must match one of its values | denied with a GPU |
/// | 51 | `gpu_feature_flags` | GPU feature flags | 0 alone |
/// | 52, 53 | `gpu_fwids`, `gpu_leaf_serials` | GPU firmware identities, serial numbers | not checked |
/// | 54 | `gpu_nvdec0_rule` | whether index 36 is left out where the report says that decoder 0 is off | 1 |
/// | 64, 65 | `software_keys`, `software_measurements` | SHA-256 of the verifying keys of software evidence; its measurements | denied with software evidence |
///
/// A tag that this version cannot enforce is refused, never ignored. With the feature `config`, `Policy::from_toml` reads the fields by these names; a
/// denial gives them too ([`Denied::field`]).
///
/// ```
/// use hanzo_pqc::attestation::UnixTime;
/// use hanzo_pqc::kbs::{Facts, Policy};
/// use hanzo_pqc::PrivacyTier;
///
/// let tier = PrivacyTier::AtRest;
/// let policy = Policy::builder().name("tenant-7").tiers([tier]).suites([tier.suite()]).recipient_digests([[9; 32]]).build()?;
/// let now = UnixTime::from_seconds(1_800_000_000);
/// let facts = Facts { now, tier, suite: tier.suite(), recipient: [9; 32], claims: &[] };
/// assert!(policy.evaluate(&facts).is_ok());
/// let denied = policy.evaluate(&Facts { recipient: [8; 32], ..facts }).unwrap_err();
/// assert_eq!(denied.to_string(), "policy denies at tag 5, recipients");
/// assert_eq!(Policy::from_bytes(&policy.to_bytes())?, policy);
/// # Ok::<(), hanzo_pqc::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Policy {
    fields: BTreeMap<u8, Value>,
}

impl Policy {
    /// Starts a policy that denies everything.
    #[must_use]
    pub fn builder() -> PolicyBuilder {
        PolicyBuilder::default()
    }

    /// The label.
    #[must_use]
    pub fn name(&self) -> Option<&str> {
        match self.get(1) {
            Some(Value::Text(name)) => Some(name),
            _ => None,
        }
    }

    /// SHA-256(lp16(`hanzo-kbs/v1/policy`) ‖ bytes), which envelopes and receipts carry.
    #[must_use]
    pub fn digest(&self) -> [u8; 32] {
        digest(b"hanzo-kbs/v1/policy", &[&self.to_bytes()])
    }

    /// The canonical bytes.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = MAGIC.to_vec();
        for (&tag, value) in &self.fields {
            if let Some((_, kind)) = field::field(tag) {
                out.push(tag);
                put_lp32(&mut out, &value.write(kind));
            }
        }
        out
    }

    /// Reads a policy.
    ///
    /// # Errors
    ///
    /// [`Error::UnknownPolicyTag`] for a field this version cannot enforce, [`Error::TooLong`] above 1 MiB, and
    /// [`Error::Malformed`] for any other bytes that no [`Self::to_bytes`] gives.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self> {
        if bytes.len() > MAX_LEN {
            return Err(TOO_LONG);
        }
        let mut reader = Reader::new(POLICY, bytes);
        reader.expect(MAGIC)?;
        let mut fields = BTreeMap::new();
        let mut last = 0;
        while !reader.is_empty() {
            let place = reader.malformed();
            let tag = reader.u8()?;
            if tag <= last {
                return Err(place);
            }
            last = tag;
            let value = reader.lp32("policy field", MAX_LEN)?;
            let (_, kind) = field::field(tag).ok_or(Error::UnknownPolicyTag(tag))?;
            let value = Value::read(kind, value).ok_or(place)?;
            value
                .check(tag, kind)
                .map_err(|error| if matches!(error, Error::UnknownTier(_)) { error } else { place })?;
            fields.insert(tag, value);
        }
        reader.finish()?;
        Ok(Self { fields })
    }

    fn get(&self, tag: u8) -> Option<&Value> {
        self.fields.get(&tag)
    }
}

/// What a policy judges: one session, after its evidence was verified.
#[derive(Debug, Clone, Copy)]
pub struct Facts<'a> {
    /// The time of the judgement.
    pub now: UnixTime,
    /// The tier of the request.
    pub tier: PrivacyTier,
    /// The suite of the session.
    pub suite: HybridSuite,
    /// SHA-256 of the recipient's encoded key.
    pub recipient: [u8; 32],
    /// The claims of all evidence shown.
    pub claims: &'a [Claims],
}

/// A policy's no.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("policy denies at tag {tag}, {}", field_name(*tag))]
pub struct Denied {
    /// The field that denies; 0 where there is no policy at all.
    pub tag: u8,
}

impl Denied {
    /// The field's name, as in policy files.
    #[must_use]
    pub fn field(&self) -> &'static str {
        field_name(self.tag)
    }
}

pub(super) fn field_name(tag: u8) -> &'static str {
    field::field(tag).map_or("no policy", |(name, _)| name)
}

const POLICY: &str = "policy";
const MAGIC: &[u8] = b"HKPO\x01";
const MAX_LEN: usize = 1024 * 1024;
const TOO_LONG: Error = Error::TooLong { what: POLICY, limit: MAX_LEN };
