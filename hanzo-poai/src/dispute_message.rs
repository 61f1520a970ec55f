//! Messages of a dispute, and the points a trace is split at.

use alloc::vec::Vec;

use crate::encoding::{Reader, VERSION};
use crate::error::{Error, Result};
use crate::hash::{AttestationHash, DisputeId, Hash, PartyId, StateHash, tagged};
use crate::merkle::read_path;
use crate::signing::{Signable, SignedKind};
use crate::trace::StateOpening;

/// The id of a dispute: attestation, challenger and the challenger's nonce.
pub fn dispute_id(attestation: &AttestationHash, challenger: &PartyId, nonce: u64) -> DisputeId {
    let nonce = nonce.to_be_bytes();
    tagged("dispute", &[attestation.as_bytes(), challenger.as_bytes(), &nonce]).into()
}

/// The inner points `lo + floor(j (hi - lo) / k)`, `j = 1..k-1`, distinct and strictly inside.
///
/// # Errors
/// [`Error::InvalidField`] for `lo >= hi` or `k < 2`.
pub fn split_points(lo: u64, hi: u64, k: u32) -> Result<Vec<u64>> {
    if lo >= hi || k < 2 {
        return Err(Error::InvalidField("split"));
    }
    let width = u128::from(hi - lo);
    let mut points: Vec<u64> =
        (1..k).map(|j| lo + (u128::from(j) * width / u128::from(k)) as u64).filter(|point| *point > lo).collect();
    points.dedup();
    Ok(points)
}

/// Who speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(rename_all = "snake_case"))]
#[repr(u8)]
pub enum Side {
    /// The worker.
    Worker = 0,
    /// The challenger.
    Challenger = 1,
}

/// What a challenger claims.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(rename_all = "snake_case"))]
#[repr(u8)]
pub enum Claim {
    /// A step of the committed trace is wrong.
    Trace = 1,
    /// The output is wrong; there is no trace to search.
    OutputOnly = 2,
}

/// Body of a dispute message, by kind.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum DisputeBody {
    /// Kind 1: the challenge.
    Open {
        /// The attestation challenged.
        attestation: AttestationHash,
        /// The challenger.
        challenger: PartyId,
        /// What is claimed.
        claim: Claim,
        /// Operations of the trace.
        n_ops: u64,
        /// The last state as the challenger computed it.
        final_state: StateHash,
        /// The challenger's nonce.
        nonce: u64,
    },
    /// Kind 2: the worker's states between `lo` and `hi`.
    Respond {
        /// Left end.
        lo: u64,
        /// Right end.
        hi: u64,
        /// The states, at most 255.
        points: Vec<StateOpening>,
    },
    /// Kind 3: the challenger agrees at `lo` and differs at `hi`.
    Choose {
        /// Left end.
        lo: u64,
        /// Right end.
        hi: u64,
    },
    /// Kind 4: the operands of one operation, together at most 2^26 bytes.
    Prove {
        /// The operation.
        op: u64,
        /// Its operands.
        operands: Vec<u8>,
    },
    /// Kind 5: the side gives up.
    Concede,
}

/// One message of a dispute.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DisputeMessage {
    side: Side,
    dispute: DisputeId,
    round: u32,
    body: DisputeBody,
}

impl DisputeMessage {
    /// A message.
    ///
    /// # Errors
    /// [`Error::BatchSize`] for more than 255 points or hashes of a path; [`Error::Length`] for operands
    /// past 2^26 bytes; [`Error::InvalidField`] for an opening whose dispute id does not follow from it.
    pub fn new(side: Side, dispute: DisputeId, round: u32, body: DisputeBody) -> Result<Self> {
        match &body {
            DisputeBody::Open { attestation, challenger, nonce, .. } => {
                if dispute != dispute_id(attestation, challenger, *nonce) {
                    return Err(Error::InvalidField("dispute"));
                }
            }
            DisputeBody::Respond { points, .. } => {
                let longest = points.iter().map(|point| point.path.len()).max().unwrap_or(0);
                let got = points.len().max(longest);
                if got > MAX_POINTS {
                    return Err(Error::BatchSize { got: got as u64, max: MAX_POINTS as u64 });
                }
            }
            DisputeBody::Prove { operands, .. } => {
                if operands.len() > MAX_OPERANDS {
                    let (want, got) = (MAX_OPERANDS as u64, operands.len() as u64);
                    return Err(Error::Length { want, got });
                }
            }
            DisputeBody::Choose { .. } | DisputeBody::Concede => {}
        }
        Ok(Self { side, dispute, round, body })
    }

    /// Who speaks.
    pub const fn side(&self) -> Side {
        self.side
    }

    /// The dispute.
    pub const fn dispute(&self) -> &DisputeId {
        &self.dispute
    }

    /// Round of the exchange, from 0.
    pub const fn round(&self) -> u32 {
        self.round
    }

    /// The body.
    pub const fn body(&self) -> &DisputeBody {
        &self.body
    }

    /// Canonical bytes: a header of 48 bytes and the body.
    pub fn encode(&self) -> Vec<u8> {
        let body = self.encode_body();
        let mut out = Vec::with_capacity(48 + body.len());
        out.extend_from_slice(MAGIC);
        out.extend_from_slice(&VERSION.to_be_bytes());
        out.push(self.kind());
        out.push(self.side as u8);
        out.extend_from_slice(self.dispute.as_bytes());
        out.extend_from_slice(&self.round.to_be_bytes());
        out.extend_from_slice(&(body.len() as u32).to_be_bytes());
        out.extend_from_slice(&body);
        out
    }

    /// Strict decoding of [`DisputeMessage::encode`].
    ///
    /// # Errors
    /// [`Error::Length`], [`Error::BadMagic`], [`Error::UnknownVersion`], [`Error::UnknownVariant`],
    /// and what [`DisputeMessage::new`] refuses.
    pub fn decode(bytes: &[u8]) -> Result<Self> {
        let mut reader = Reader::new(bytes);
        reader.header(MAGIC)?;
        let kind = reader.u8()?;
        let side = match reader.u8()? {
            0 => Side::Worker,
            1 => Side::Challenger,
            other => return Err(Error::UnknownVariant { field: "side", value: other.into() }),
        };
        let (dispute, round) = (reader.hash()?, reader.u32()?);
        let len = reader.u32()? as usize;
        let mut body = Reader::exact(reader.slice(reader.remaining())?, len)?;
        let decoded = decode_body(kind, &mut body)?;
        body.finish()?;
        Self::new(side, dispute, round, decoded)
    }

    /// Hash of the encoding.
    pub fn hash(&self) -> Hash {
        tagged("dispute message", &[&self.encode()])
    }

    const fn kind(&self) -> u8 {
        match self.body {
            DisputeBody::Open { .. } => 1,
            DisputeBody::Respond { .. } => 2,
            DisputeBody::Choose { .. } => 3,
            DisputeBody::Prove { .. } => 4,
            DisputeBody::Concede => 5,
        }
    }

    fn encode_body(&self) -> Vec<u8> {
        let mut out = Vec::new();
        match &self.body {
            DisputeBody::Open { attestation, challenger, claim, n_ops, final_state, nonce } => {
                out.extend_from_slice(attestation.as_bytes());
                out.extend_from_slice(challenger.as_bytes());
                out.push(*claim as u8);
                out.extend_from_slice(&n_ops.to_be_bytes());
                out.extend_from_slice(final_state.as_bytes());
                out.extend_from_slice(&nonce.to_be_bytes());
            }
            DisputeBody::Respond { lo, hi, points } => {
                out.extend_from_slice(&lo.to_be_bytes());
                out.extend_from_slice(&hi.to_be_bytes());
                out.push(points.len() as u8);
                for point in points {
                    out.extend_from_slice(&point.index.to_be_bytes());
                    out.extend_from_slice(point.state.as_bytes());
                    out.push(point.path.len() as u8);
                    out.extend(point.path.iter().flatten());
                }
            }
            DisputeBody::Choose { lo, hi } => {
                out.extend_from_slice(&lo.to_be_bytes());
                out.extend_from_slice(&hi.to_be_bytes());
            }
            DisputeBody::Prove { op, operands } => {
                out.extend_from_slice(&op.to_be_bytes());
                out.extend_from_slice(&(operands.len() as u32).to_be_bytes());
                out.extend_from_slice(operands);
            }
            DisputeBody::Concede => {}
        }
        out
    }
}

impl Signable for DisputeMessage {
    const KIND: SignedKind = SignedKind::DisputeMessage;

    fn signing_hash(&self) -> Hash {
        self.hash()
    }

    fn to_bytes(&self) -> Vec<u8> {
        self.encode()
    }

    fn from_bytes(bytes: &[u8]) -> Result<Self> {
        Self::decode(bytes)
    }
}

fn decode_body(kind: u8, reader: &mut Reader<'_>) -> Result<DisputeBody> {
    Ok(match kind {
        1 => DisputeBody::Open {
            attestation: reader.hash()?,
            challenger: reader.hash()?,
            claim: match reader.u8()? {
                1 => Claim::Trace,
                2 => Claim::OutputOnly,
                other => {
                    return Err(Error::UnknownVariant { field: "claim", value: other.into() });
                }
            },
            n_ops: reader.u64()?,
            final_state: reader.hash()?,
            nonce: reader.u64()?,
        },
        2 => {
            let (lo, hi, count) = (reader.u64()?, reader.u64()?, reader.u8()?);
            let points = (0..count)
                .map(|_| {
                    let (index, state) = (reader.u64()?, reader.hash()?);
                    Ok(StateOpening { index, state, path: read_path(reader)? })
                })
                .collect::<Result<_>>()?;
            DisputeBody::Respond { lo, hi, points }
        }
        3 => DisputeBody::Choose { lo: reader.u64()?, hi: reader.u64()? },
        4 => {
            let (op, len) = (reader.u64()?, reader.u32()? as usize);
            DisputeBody::Prove { op, operands: reader.slice(len)?.to_vec() }
        }
        5 => DisputeBody::Concede,
        other => return Err(Error::UnknownVariant { field: "kind", value: other.into() }),
    })
}

const MAGIC: &[u8; 4] = b"PoAD";
const MAX_POINTS: usize = 255;
const MAX_OPERANDS: usize = 1 << 26;
