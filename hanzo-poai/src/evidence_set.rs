//! Numeric evidence that a worker commits to with its attestation.

use alloc::vec::Vec;

use crate::encoding::Reader;
use crate::error::{Error, Result};
use crate::hash::{Hash, tagged};

/// Kind of one item of evidence.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u16)]
#[non_exhaustive]
pub enum EvidenceItem {
    /// Projection fingerprint of hidden states: [`Fingerprint::encode`](crate::Fingerprint::encode).
    Fingerprint = 1,
    /// Top-k log-probabilities: [`TopK::encode`](crate::TopK::encode).
    TopK = 2,
    /// Token ids, in a form that the network fixes; this crate does not read them.
    Tokens = 3,
}

/// Items of evidence, at most one of each kind, in ascending order of kind.
///
/// ```
/// use hanzo_poai::{EvidenceItem, EvidenceSet, Logits, TopK};
///
/// let top = TopK::from_logits(&Logits::new(&[0.0, 2.0, 1.0, -1.0], 4)?, 2)?;
/// let set = EvidenceSet::new(vec![(EvidenceItem::TopK, top.encode())])?;
/// assert_eq!(EvidenceSet::decode(&set.encode())?, set);
/// assert_eq!(TopK::decode(set.get(EvidenceItem::TopK).unwrap())?, top);
/// # Ok::<(), hanzo_poai::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EvidenceSet {
    items: Vec<(EvidenceItem, Vec<u8>)>,
}

impl EvidenceSet {
    /// A set of items given in any order.
    ///
    /// # Errors
    /// [`Error::BatchSize`] for no item, [`Error::Duplicate`] for a repeated kind, [`Error::Overflow`]
    /// for a body of 2^32 bytes or more.
    pub fn new(mut items: Vec<(EvidenceItem, Vec<u8>)>) -> Result<Self> {
        items.sort_by_key(|(kind, _)| *kind);
        if items.is_empty() {
            return Err(Error::BatchSize { got: 0, max: 3 });
        }
        if items.windows(2).any(|pair| matches!(pair, [a, b] if a.0 == b.0)) {
            return Err(Error::Duplicate("evidence kind"));
        }
        if items.iter().any(|(_, body)| u32::try_from(body.len()).is_err()) {
            return Err(Error::Overflow);
        }
        Ok(Self { items })
    }

    /// Canonical bytes: for each item kind u16, length u32, body.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        for (kind, body) in &self.items {
            out.extend_from_slice(&(*kind as u16).to_be_bytes());
            out.extend_from_slice(&(body.len() as u32).to_be_bytes());
            out.extend_from_slice(body);
        }
        out
    }

    /// Strict decoding of [`EvidenceSet::encode`].
    ///
    /// # Errors
    /// [`Error::Length`], [`Error::UnknownVariant`], [`Error::InvalidField`] for kinds out of order,
    /// and what [`EvidenceSet::new`] refuses.
    pub fn decode(bytes: &[u8]) -> Result<Self> {
        let mut reader = Reader::new(bytes);
        let mut items = Vec::new();
        while reader.remaining() > 0 {
            let kind = match reader.u16()? {
                1 => EvidenceItem::Fingerprint,
                2 => EvidenceItem::TopK,
                3 => EvidenceItem::Tokens,
                other => {
                    return Err(Error::UnknownVariant { field: "evidence kind", value: other.into() });
                }
            };
            if items.last().is_some_and(|(last, _)| *last >= kind) {
                return Err(Error::InvalidField("evidence kind"));
            }
            let len = reader.u32()? as usize;
            items.push((kind, reader.slice(len)?.to_vec()));
        }
        Self::new(items)
    }

    /// The commitment an attestation carries.
    pub fn hash(&self) -> Hash {
        tagged("evidence commit", &[&self.encode()])
    }

    /// The body of one kind.
    pub fn get(&self, kind: EvidenceItem) -> Option<&[u8]> {
        self.items.iter().find(|(have, _)| *have == kind).map(|(_, body)| body.as_slice())
    }
}
