//! What a verifier says about an attestation.

use alloc::vec::Vec;

use crate::compare::ComparatorKind;
use crate::encoding::{Reader, Writer};
use crate::error::{Error, Result};
use crate::hash::{AttestationHash, Hash, PartyId, tagged};
use crate::signing::{Signable, SignedKind};
use crate::units::Epoch;

/// The outcome of one check.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(rename_all = "snake_case"))]
#[repr(u8)]
pub enum Decision {
    /// The claim stands.
    Match = 0,
    /// The claim is wrong.
    Mismatch = 1,
    /// The check cannot decide.
    Undetermined = 2,
    /// Input, model or evidence could not be had.
    Unavailable = 3,
}

/// A verifier's verdict on one attestation (120 bytes).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verdict {
    /// The outcome.
    pub decision: Decision,
    /// The comparator used.
    pub comparator: ComparatorKind,
    /// The verifier.
    pub verifier: PartyId,
    /// The attestation checked.
    pub attestation: AttestationHash,
    /// Audit epoch of the check.
    pub epoch: Epoch,
    /// Score of the comparator, Q32.32, floor, saturating.
    pub score_q32: u64,
    /// Hash of the re-execution transcript.
    pub transcript: Hash,
}

impl Verdict {
    /// Length of the encoding.
    pub const LEN: usize = 120;

    /// The 120 canonical bytes.
    pub fn encode(&self) -> [u8; Self::LEN] {
        Writer::versioned(MAGIC)
            .u8(self.decision as u8)
            .u8(self.comparator as u8)
            .put(self.verifier.as_bytes())
            .put(self.attestation.as_bytes())
            .u64(self.epoch.get())
            .u64(self.score_q32)
            .put(&self.transcript)
            .finish()
    }

    /// Strict decoding of [`Verdict::encode`].
    ///
    /// # Errors
    /// [`Error::Length`], [`Error::BadMagic`], [`Error::UnknownVersion`], [`Error::UnknownVariant`].
    pub fn decode(bytes: &[u8]) -> Result<Self> {
        let mut reader = Reader::versioned(bytes, Self::LEN, MAGIC)?;
        let decision = match reader.u8()? {
            0 => Decision::Match,
            1 => Decision::Mismatch,
            2 => Decision::Undetermined,
            3 => Decision::Unavailable,
            other => {
                return Err(Error::UnknownVariant { field: "verdict", value: other.into() });
            }
        };
        Ok(Self {
            decision,
            comparator: ComparatorKind::from_code(reader.u8()?)?,
            verifier: reader.hash()?,
            attestation: reader.hash()?,
            epoch: Epoch::new(reader.u64()?),
            score_q32: reader.u64()?,
            transcript: reader.array()?,
        })
    }

    /// Hash of the encoding.
    pub fn hash(&self) -> Hash {
        tagged("verdict", &[&self.encode()])
    }

    /// The commitment that is published before any verdict is revealed. The salt must be secret and fresh.
    pub fn commit(&self, salt: &[u8; 32]) -> Hash {
        tagged("verdict commit", &[&self.hash(), salt])
    }
}

impl Signable for Verdict {
    const KIND: SignedKind = SignedKind::Verdict;

    fn signing_hash(&self) -> Hash {
        self.hash()
    }

    fn to_bytes(&self) -> Vec<u8> {
        self.encode().to_vec()
    }

    fn from_bytes(bytes: &[u8]) -> Result<Self> {
        Self::decode(bytes)
    }
}

const MAGIC: &[u8; 4] = b"PoAV";
