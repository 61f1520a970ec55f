//! Release policies: who may have a key, in canonical bytes with a digest.

use alloc::boxed::Box;
use alloc::collections::BTreeSet;
use alloc::vec::Vec;

use sha2::{Digest, Sha256};

use crate::attestation::{Claims, SoftwareClaims};
use crate::error::{Error, Result};
use crate::hybrid::EncapsulationKey;
use crate::suite::HybridSuite;
use crate::tier::PrivacyTier;
use crate::wire::{Reader, digest, put_lp32};

/// The conditions under which one key is released. Deny is the default: a mandatory field that is absent denies, and so does an empty set.
///
/// Bytes: `HKPO` 01 ‖ fields (u8 tag ‖ u32 length ‖ value), tags strictly ascending, sets sorted without duplicates. The one byte 2A in place of a
/// set is "any"; only the functions named `dangerous_any_*` write it.
///
/// | tag | field | mandatory |
/// |---|---|---|
/// | 1 | name, UTF-8 of at most 64 bytes, a label only | no |
/// | 2 | tiers | yes |
/// | 3 | suites | yes |
/// | 5 | SHA-256 of the recipient keys | where the session shows no CPU evidence |
/// | 64 | SHA-256 of the verifying keys of software evidence | with software evidence |
/// | 65 | measurements in software evidence | with software evidence |
///
/// A tag that this version cannot enforce is refused, never ignored.
///
/// ```
/// use hanzo_pqc::kbs::{Facts, Policy};
/// use hanzo_pqc::PrivacyTier;
///
/// let tier = PrivacyTier::AtRest;
/// let policy = Policy::builder().name("tenant-7").tiers([tier]).suites([tier.suite()]).recipient_digests([[9; 32]]).build()?;
/// let facts = Facts { tier, suite: tier.suite(), recipient: [9; 32], claims: &[] };
/// assert!(policy.evaluate(&facts).is_ok());
/// assert_eq!(policy.evaluate(&Facts { recipient: [8; 32], ..facts }).unwrap_err().tag, 5);
/// assert_eq!(Policy::from_bytes(&policy.to_bytes())?, policy);
/// # Ok::<(), hanzo_pqc::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Policy {
    name: Option<Box<str>>,
    tiers: Option<Allowed<1>>,
    suites: Option<Allowed<2>>,
    recipients: Option<Allowed<32>>,
    software_keys: Option<Allowed<32>>,
    software_measurements: Option<Allowed<32>>,
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
        self.name.as_deref()
    }

    /// SHA-256(lp16(`hanzo-kbs/v1/policy`) ‖ bytes), which envelopes and receipts carry.
    #[must_use]
    pub fn digest(&self) -> [u8; 32] {
        digest(b"hanzo-kbs/v1/policy", &[&self.to_bytes()])
    }

    /// Says whether the policy allows a release, field by field in the order of tags.
    ///
    /// # Errors
    ///
    /// The first field that denies.
    pub fn evaluate(&self, facts: &Facts<'_>) -> Result<(), Denied> {
        demand(2, self.tiers.as_ref(), &[facts.tier.code()])?;
        demand(3, self.suites.as_ref(), &facts.suite.code().to_be_bytes())?;
        let shows_cpu = facts.claims.iter().any(|claims| claims.kind().is_cpu());
        if self.recipients.is_some() || !shows_cpu {
            demand(5, self.recipients.as_ref(), &facts.recipient)?;
        }
        for claims in facts.claims {
            match claims {
                Claims::Software(claims) => self.evaluate_software(facts.tier, claims)?,
            }
        }
        Ok(())
    }

    fn evaluate_software(&self, tier: PrivacyTier, claims: &SoftwareClaims) -> Result<(), Denied> {
        // A software key proves nothing of the machine: tiers that promise something of it are out of its reach.
        if tier > PrivacyTier::AtRest {
            return Err(Denied { tag: 64 });
        }
        demand(64, self.software_keys.as_ref(), &claims.key_digest)?;
        demand(65, self.software_measurements.as_ref(), &claims.measurement)
    }

    /// The canonical bytes.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = MAGIC.to_vec();
        if let Some(name) = &self.name {
            put_field(&mut out, 1, name.as_bytes());
        }
        put_allowed(&mut out, 2, self.tiers.as_ref());
        put_allowed(&mut out, 3, self.suites.as_ref());
        put_allowed(&mut out, 5, self.recipients.as_ref());
        put_allowed(&mut out, 64, self.software_keys.as_ref());
        put_allowed(&mut out, 65, self.software_measurements.as_ref());
        out
    }

    /// Reads a policy.
    ///
    /// # Errors
    ///
    /// [`Error::UnknownPolicyTag`] for a field this version cannot enforce, [`Error::UnknownTier`], [`Error::TooLong`] above 1 MiB, and
    /// [`Error::Malformed`] for any other bytes that no [`Self::to_bytes`] gives.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self> {
        if bytes.len() > MAX_LEN {
            return Err(TOO_LONG);
        }
        let mut reader = Reader::new(POLICY, bytes);
        reader.expect(MAGIC)?;
        let mut policy = Self::default();
        let mut last = 0;
        while !reader.is_empty() {
            let place = reader.malformed();
            let tag = reader.u8()?;
            if tag <= last {
                return Err(place);
            }
            last = tag;
            let value = reader.lp32("policy field", MAX_LEN)?;
            match tag {
                1 => policy.name = Some(read_name(value).ok_or(place)?),
                2 => policy.tiers = Some(read_tiers(value, place)?),
                3 => policy.suites = Some(Allowed::read(value).ok_or(place)?),
                5 => policy.recipients = Some(Allowed::read(value).ok_or(place)?),
                64 => policy.software_keys = Some(Allowed::read(value).ok_or(place)?),
                65 => policy.software_measurements = Some(Allowed::read(value).ok_or(place)?),
                _ => return Err(Error::UnknownPolicyTag(tag)),
            }
        }
        reader.finish()?;
        Ok(policy)
    }
}

/// What a policy judges: one session, after its evidence was verified.
#[derive(Debug, Clone, Copy)]
pub struct Facts<'a> {
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
#[error("policy denies at tag {tag}")]
pub struct Denied {
    /// The field that denies.
    pub tag: u8,
}

/// Collects the fields of a [`Policy`]. A setter that is called again adds to its set.
#[derive(Debug, Clone, Default)]
pub struct PolicyBuilder {
    policy: Policy,
}

impl PolicyBuilder {
    /// Labels the policy; the label decides nothing.
    #[must_use]
    pub fn name(mut self, name: &str) -> Self {
        self.policy.name = Some(name.into());
        self
    }

    /// Allows these tiers.
    #[must_use]
    pub fn tiers(mut self, tiers: impl IntoIterator<Item = PrivacyTier>) -> Self {
        let codes = tiers.into_iter().map(|tier| [tier.code()]);
        Allowed::add(&mut self.policy.tiers, codes);
        self
    }

    /// Allows these suites.
    #[must_use]
    pub fn suites(mut self, suites: impl IntoIterator<Item = HybridSuite>) -> Self {
        let codes = suites.into_iter().map(|suite| suite.code().to_be_bytes());
        Allowed::add(&mut self.policy.suites, codes);
        self
    }

    /// Allows these recipient keys.
    #[must_use]
    pub fn recipients<'a>(self, keys: impl IntoIterator<Item = &'a EncapsulationKey>) -> Self {
        self.recipient_digests(keys.into_iter().map(|key| Sha256::digest(key.as_bytes()).into()))
    }

    /// Allows recipient keys by the SHA-256 of their encoding.
    #[must_use]
    pub fn recipient_digests(mut self, digests: impl IntoIterator<Item = [u8; 32]>) -> Self {
        Allowed::add(&mut self.policy.recipients, digests);
        self
    }

    /// Allows software evidence under these verifying keys, by the SHA-256 of their encoding.
    #[must_use]
    pub fn software_keys(mut self, digests: impl IntoIterator<Item = [u8; 32]>) -> Self {
        Allowed::add(&mut self.policy.software_keys, digests);
        self
    }

    /// Allows software evidence with these measurements.
    #[must_use]
    pub fn software_measurements(mut self, digests: impl IntoIterator<Item = [u8; 32]>) -> Self {
        Allowed::add(&mut self.policy.software_measurements, digests);
        self
    }

    /// Allows every tier.
    #[must_use]
    pub fn dangerous_any_tier(mut self) -> Self {
        self.policy.tiers = Some(Allowed::Any);
        self
    }

    /// Allows every suite that the tier accepts.
    #[must_use]
    pub fn dangerous_any_suite(mut self) -> Self {
        self.policy.suites = Some(Allowed::Any);
        self
    }

    /// Allows every recipient key: without evidence, whoever asks.
    #[must_use]
    pub fn dangerous_any_recipient(mut self) -> Self {
        self.policy.recipients = Some(Allowed::Any);
        self
    }

    /// Allows software evidence under any key: whoever makes one.
    #[must_use]
    pub fn dangerous_any_software_key(mut self) -> Self {
        self.policy.software_keys = Some(Allowed::Any);
        self
    }

    /// Allows software evidence with any measurement.
    #[must_use]
    pub fn dangerous_any_software_measurement(mut self) -> Self {
        self.policy.software_measurements = Some(Allowed::Any);
        self
    }

    /// Finishes the policy.
    ///
    /// # Errors
    ///
    /// [`Error::TooLong`] for a name above 64 bytes or a policy above 1 MiB.
    pub fn build(self) -> Result<Policy> {
        if self.policy.name().is_some_and(|name| name.len() > MAX_NAME_LEN) {
            return Err(Error::TooLong { what: "policy name", limit: MAX_NAME_LEN });
        }
        if self.policy.to_bytes().len() > MAX_LEN {
            return Err(TOO_LONG);
        }
        Ok(self.policy)
    }
}

/// An allow-list of values of N bytes, or all of them.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Allowed<const N: usize> {
    Any,
    Only(BTreeSet<[u8; N]>),
}

impl<const N: usize> Allowed<N> {
    fn add(field: &mut Option<Self>, values: impl IntoIterator<Item = [u8; N]>) {
        match field.get_or_insert_with(|| Self::Only(BTreeSet::new())) {
            Self::Any => {}
            Self::Only(set) => set.extend(values),
        }
    }

    fn contains(&self, value: &[u8; N]) -> bool {
        match self {
            Self::Any => true,
            Self::Only(set) => set.contains(value),
        }
    }

    /// `None` for anything but the byte 2A or sorted, distinct values.
    fn read(value: &[u8]) -> Option<Self> {
        if value == ANY {
            return Some(Self::Any);
        }
        let (values, rest) = value.as_chunks::<N>();
        let sorted = values.is_sorted_by(|a, b| a < b);
        (rest.is_empty() && sorted).then(|| Self::Only(values.iter().copied().collect()))
    }
}

fn demand<const N: usize>(tag: u8, field: Option<&Allowed<N>>, value: &[u8; N]) -> Result<(), Denied> {
    if field.is_some_and(|allowed| allowed.contains(value)) { Ok(()) } else { Err(Denied { tag }) }
}

fn read_name(value: &[u8]) -> Option<Box<str>> {
    let name = core::str::from_utf8(value).ok()?;
    (name.len() <= MAX_NAME_LEN).then(|| name.into())
}

fn read_tiers(value: &[u8], place: Error) -> Result<Allowed<1>> {
    let tiers = Allowed::read(value).ok_or(place)?;
    if let Allowed::Only(set) = &tiers {
        for [code] in set {
            PrivacyTier::try_from(*code)?;
        }
    }
    Ok(tiers)
}

fn put_allowed<const N: usize>(out: &mut Vec<u8>, tag: u8, field: Option<&Allowed<N>>) {
    match field {
        None => {}
        Some(Allowed::Any) => put_field(out, tag, ANY),
        Some(Allowed::Only(set)) => put_field(out, tag, set.iter().copied().collect::<Vec<_>>().as_flattened()),
    }
}

fn put_field(out: &mut Vec<u8>, tag: u8, value: &[u8]) {
    out.push(tag);
    put_lp32(out, value);
}

const POLICY: &str = "policy";
const MAGIC: &[u8] = b"HKPO\x01";
/// No tier has this code, and every other set has values of two bytes or more: the byte is never an element.
const ANY: &[u8] = &[0x2A];
const MAX_NAME_LEN: usize = 64;
const MAX_LEN: usize = 1024 * 1024;
const TOO_LONG: Error = Error::TooLong { what: POLICY, limit: MAX_LEN };
