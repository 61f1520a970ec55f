//! The fields a policy can have: one table of tags, and one form of value for each kind of field.

use alloc::boxed::Box;
use alloc::collections::BTreeSet;
use alloc::vec::Vec;

use crate::attestation::{SnpProduct, TcbStatus};
use crate::error::{Error, Result};
use crate::tier::PrivacyTier;
use crate::wire::{Reader, put_lp16};

/// The form of a field's value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// UTF-8 of at most 64 bytes.
    Label,
    /// A set of values of this many bytes.
    Set(usize),
    /// A set of texts, each with a u16 length.
    Texts,
    /// A number of this many bytes.
    Number(usize),
    /// Two u64: bits that must be one, bits that must be zero.
    Bits,
    /// A minimum TCB for each product.
    Tcbs,
    /// u8 index ‖ u8 n ‖ n × 48 bytes, indices ascending; in memory, index ‖ value.
    Measurements,
}

/// Tag, name (in policy files too) and kind of every field, by ascending tag.
pub(super) const FIELDS: &[(u8, &str, Kind)] = &[
    (1, "name", Kind::Label),
    (2, "tiers", Kind::Set(1)),
    (3, "suites", Kind::Set(2)),
    (4, "maximum_collateral_age_s", Kind::Number(8)),
    (5, "recipients", Kind::Set(32)),
    (16, "tcb_statuses", Kind::Set(1)),
    (17, "tdx_mrtd", Kind::Set(48)),
    (18, "tdx_rtmr0", Kind::Set(48)),
    (19, "tdx_rtmr1", Kind::Set(48)),
    (20, "tdx_rtmr2", Kind::Set(48)),
    (21, "tdx_rtmr3", Kind::Set(48)),
    (22, "tdx_mrconfigid", Kind::Set(48)),
    (23, "tdx_mrowner", Kind::Set(48)),
    (24, "tdx_mrseam", Kind::Set(48)),
    (25, "refused_advisories", Kind::Texts),
    (26, "sgx_mrenclave", Kind::Set(32)),
    (27, "sgx_mrsigner_product", Kind::Set(34)),
    (28, "sgx_minimum_svn", Kind::Number(2)),
    (33, "snp_measurements", Kind::Set(48)),
    (34, "snp_minimum_tcb", Kind::Tcbs),
    (35, "snp_vlek_allowed", Kind::Number(1)),
    (36, "snp_vmpl", Kind::Set(4)),
    (37, "snp_host_data", Kind::Set(32)),
    (38, "snp_id_key_digests", Kind::Set(48)),
    (39, "snp_author_key_digests", Kind::Set(48)),
    (40, "snp_minimum_guest_svn", Kind::Number(4)),
    (41, "snp_forbidden_policy_bits", Kind::Number(8)),
    (42, "snp_platform_info", Kind::Bits),
    (43, "snp_chip_ids", Kind::Set(64)),
    (44, "snp_csp_ids", Kind::Texts),
    (48, "gpu_driver_versions", Kind::Texts),
    (49, "gpu_vbios_versions", Kind::Texts),
    (50, "gpu_measurements", Kind::Measurements),
    (51, "gpu_feature_flags", Kind::Set(1)),
    (52, "gpu_fwids", Kind::Set(48)),
    (53, "gpu_leaf_serials", Kind::Texts),
    (54, "gpu_nvdec0_rule", Kind::Number(1)),
    (64, "software_keys", Kind::Set(32)),
    (65, "software_measurements", Kind::Set(32)),
];

/// Name and kind of a tag.
pub(super) fn field(tag: u8) -> Option<(&'static str, Kind)> {
    let at = FIELDS.binary_search_by_key(&tag, |&(tag, ..)| tag).ok()?;
    FIELDS.get(at).map(|&(_, name, kind)| (name, kind))
}

/// A value in the form of its field's kind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Value {
    /// The byte 2A in place of a set.
    Any,
    /// A label.
    Text(Box<str>),
    /// The elements of every kind of set.
    Set(BTreeSet<Box<[u8]>>),
    /// A number.
    Number(u64),
    /// Bits that must be one, bits that must be zero.
    Bits(u64, u64),
}

impl Value {
    pub(super) fn contains(&self, element: &[u8]) -> bool {
        match self {
            Self::Any => true,
            Self::Set(set) => set.contains(element),
            Self::Text(_) | Self::Number(_) | Self::Bits(..) => false,
        }
    }

    pub(super) fn write(&self, kind: Kind) -> Vec<u8> {
        match (self, kind) {
            (Self::Any, _) => ANY.to_vec(),
            (Self::Text(text), _) => text.as_bytes().to_vec(),
            (Self::Number(number), Kind::Number(width)) => number.to_be_bytes()[8 - width..].to_vec(),
            (Self::Number(number), _) => number.to_be_bytes().to_vec(),
            (Self::Bits(one, zero), _) => [one.to_be_bytes(), zero.to_be_bytes()].concat(),
            (Self::Set(set), Kind::Texts) => {
                let mut out = Vec::new();
                for text in set {
                    put_lp16(&mut out, text);
                }
                out
            }
            (Self::Set(set), Kind::Measurements) => write_measurements(set),
            (Self::Set(set), _) => set.iter().flat_map(|element| element.iter().copied()).collect(),
        }
    }

    /// Reads a value; `None` for bytes that [`Self::write`] does not give.
    pub(super) fn read(kind: Kind, bytes: &[u8]) -> Option<Self> {
        Some(match kind {
            Kind::Label => {
                let text = core::str::from_utf8(bytes).ok()?;
                return (text.len() <= MAX_NAME_LEN).then(|| Self::Text(text.into()));
            }
            Kind::Number(width) => Self::Number(number(bytes, width)?),
            Kind::Bits => {
                let (one, zero) = bytes.split_at_checked(8)?;
                Self::Bits(number(one, 8)?, number(zero, 8)?)
            }
            _ if bytes == ANY => Self::Any,
            Kind::Set(width) => Self::Set(read_set(bytes, width)?),
            Kind::Tcbs => Self::Set(read_set(bytes, 6)?),
            Kind::Texts => Self::Set(read_texts(bytes)?),
            Kind::Measurements => Self::Set(read_measurements(bytes)?),
        })
    }

    /// What else a field demands of its value, beyond its form.
    pub(super) fn check(&self, tag: u8, kind: Kind) -> Result<()> {
        let field = Error::PolicyField { field: field(tag).map_or("", |(name, _)| name) };
        let holds = match self {
            Self::Any => !UNCHECKED_IF_ABSENT.contains(&tag),
            Self::Text(text) => text.len() <= MAX_NAME_LEN,
            Self::Number(number) => match kind {
                Kind::Number(1) => *number <= 1,
                Kind::Number(width) => width == 8 || number >> (8 * width) == 0,
                _ => false,
            },
            Self::Bits(one, zero) => one & zero == 0,
            Self::Set(set) => {
                if tag == 2 {
                    for code in set {
                        PrivacyTier::try_from(code.first().copied().unwrap_or(u8::MAX))?;
                    }
                }
                set.iter().all(|element| element_holds(tag, kind, element))
                    && (kind != Kind::Tcbs
                        || set.iter().map(|tcb| tcb.first()).collect::<BTreeSet<_>>().len() == set.len())
            }
        };
        if holds { Ok(()) } else { Err(field) }
    }
}

fn element_holds(tag: u8, kind: Kind, element: &[u8]) -> bool {
    match (tag, kind) {
        (16, _) => matches!(element, [code] if TcbStatus::from_code(*code).is_some()),
        (34, _) => matches!(element, [code, ..] if element.len() == 6 && SnpProduct::from_code(*code).is_some()),
        (51, _) => matches!(element, [0..=2]),
        // A serial number is bytes; every other text is UTF-8.
        (53, _) => (1..=MAX_TEXT_LEN).contains(&element.len()),
        (_, Kind::Texts) => (1..=MAX_TEXT_LEN).contains(&element.len()) && core::str::from_utf8(element).is_ok(),
        (_, Kind::Measurements) => element.len() == 49 && (1..=64).contains(&element[0]),
        (_, Kind::Set(width)) => element.len() == width,
        _ => false,
    }
}

fn number(bytes: &[u8], width: usize) -> Option<u64> {
    (bytes.len() == width).then(|| bytes.iter().fold(0, |sum, byte| sum << 8 | u64::from(*byte)))
}

/// Elements of one width, strictly ascending.
fn read_set(bytes: &[u8], width: usize) -> Option<BTreeSet<Box<[u8]>>> {
    let chunks = bytes.chunks_exact(width);
    let whole = chunks.remainder().is_empty();
    let ascending = chunks.clone().is_sorted_by(|a, b| a < b);
    (whole && ascending).then(|| chunks.map(Into::into).collect())
}

fn read_texts(bytes: &[u8]) -> Option<BTreeSet<Box<[u8]>>> {
    let mut reader = Reader::new("policy", bytes);
    let mut set = BTreeSet::<Box<[u8]>>::new();
    while !reader.is_empty() {
        let text = reader.lp16().ok()?;
        if set.last().is_some_and(|last| **last >= *text) {
            return None;
        }
        set.insert(text.into());
    }
    Some(set)
}

fn read_measurements(bytes: &[u8]) -> Option<BTreeSet<Box<[u8]>>> {
    let mut reader = Reader::new("policy", bytes);
    let mut set = BTreeSet::<Box<[u8]>>::new();
    let mut last = 0;
    while !reader.is_empty() {
        let index = reader.u8().ok()?;
        let count = reader.count(1, u8::MAX).ok()?;
        if index <= last {
            return None;
        }
        last = index;
        for _ in 0..count {
            let element = [&[index], reader.take(48).ok()?].concat();
            if set.last().is_some_and(|last| **last >= *element) {
                return None;
            }
            set.insert(element.into());
        }
    }
    Some(set)
}

/// A policy has at most 255 values of an index: [`super::PolicyBuilder::build`] checks that.
fn write_measurements(set: &BTreeSet<Box<[u8]>>) -> Vec<u8> {
    let mut out = Vec::new();
    for index in 1..=64 {
        let values: Vec<_> = set.iter().filter(|element| element[0] == index).collect();
        if !values.is_empty() {
            out.extend([index, values.len() as u8]);
            values.iter().for_each(|element| out.extend_from_slice(&element[1..]));
        }
    }
    out
}

/// Most values of one GPU measurement.
pub(super) fn measurements_fit(set: &BTreeSet<Box<[u8]>>) -> bool {
    (1..=64).all(|index| set.iter().filter(|element| element.first() == Some(&index)).count() <= 255)
}

/// Fields whose absence already means that nothing is checked, or which list what is refused: "any" has no meaning there.
const UNCHECKED_IF_ABSENT: [u8; 10] = [22, 23, 24, 25, 37, 38, 39, 43, 52, 53];
/// No tier, status or flag has this code, and every other set has elements of two bytes or more: the byte is never an element.
const ANY: &[u8] = &[0x2A];
pub(super) const MAX_NAME_LEN: usize = 64;
const MAX_TEXT_LEN: usize = 255;
