//! What is public, as it lies in files: canonical bytes of the library in hex, and nothing that an auditor would have
//! to believe.

use std::path::Path;

use hanzo::poai::signature::SignatureEncoding;
use hanzo::poai::{Hash, PartyId};
use hanzo::pqc::{SignatureAlgorithm, VerifyingKey};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::Result;

/// Bytes that are written as hex.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Default)]
pub(crate) struct Hex(pub(crate) Vec<u8>);

impl Hex {
    /// The 32 bytes of a hash or an id.
    pub(crate) fn hash(&self) -> Result<Hash> {
        self.0.as_slice().try_into().map_err(|_| format!("{} bytes where 32 belong", self.0.len()).into())
    }
}

impl<T: AsRef<[u8]>> From<T> for Hex {
    fn from(bytes: T) -> Self {
        Self(bytes.as_ref().to_vec())
    }
}

impl Serialize for Hex {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0.iter().map(|byte| format!("{byte:02x}")).collect::<String>())
    }
}

impl<'de> Deserialize<'de> for Hex {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let digits: Option<Vec<u8>> =
            text.chars().map(|c| c.to_digit(16).filter(|_| !c.is_ascii_uppercase()).map(|d| d as u8)).collect();
        match digits {
            Some(digits) if digits.len() % 2 == 0 => {
                Ok(Self(digits.chunks(2).map(|pair| pair[0] << 4 | pair[1]).collect()))
            }
            _ => Err(serde::de::Error::custom("not hex")),
        }
    }
}

/// The rules and the parties, known before the first epoch.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Policy {
    pub(crate) chain: Hex,
    pub(crate) client: Hex,
    pub(crate) model: Hex,
    pub(crate) epochs: u64,
    /// Base units: the price of a job, and the stake behind a worker.
    pub(crate) price: u64,
    pub(crate) stake: u64,
    /// Parts per million of all jobs.
    pub(crate) floor_ppm: u64,
    pub(crate) budget_ppm: u64,
    /// KL thresholds, Q32.32.
    pub(crate) flag_q32: u64,
    pub(crate) mismatch_q32: u64,
    pub(crate) workers: Vec<Member>,
    pub(crate) verifiers: Vec<Member>,
}

/// A party with its key.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Member {
    pub(crate) name: String,
    pub(crate) id: Hex,
    pub(crate) owner: Hex,
    pub(crate) key: Hex,
    /// A worker computes in whole numbers (0) or bfloat16 (5).
    pub(crate) dtype: u8,
}

impl Member {
    pub(crate) fn id(&self) -> Result<PartyId> {
        Ok(self.id.hash()?.into())
    }

    pub(crate) fn key(&self) -> Result<VerifyingKey> {
        Ok(VerifyingKey::from_bytes(SignatureAlgorithm::MlDsa65, &self.key.0)?)
    }
}

/// All that was published in one epoch, in the order it was.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Public {
    pub(crate) epoch: u64,
    /// Commitments to known answers, from before the work.
    pub(crate) canaries: Vec<Hex>,
    pub(crate) batches: Vec<PublicBatch>,
    /// Signed attestations that turned up elsewhere.
    pub(crate) strays: Vec<Hex>,
    pub(crate) contributions: Vec<PublicContribution>,
    pub(crate) panels: Vec<PublicPanel>,
    pub(crate) disputes: Vec<PublicDispute>,
    /// Openings of the canaries, from after the verdicts.
    pub(crate) openings: Vec<PublicCanary>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct PublicBatch {
    /// Signed header.
    pub(crate) header: Hex,
    /// The attestations, one after the other.
    pub(crate) attestations: Hex,
    /// Orders: job specs, in the same order; client nonces count on from the first.
    pub(crate) specs: Hex,
    pub(crate) first_nonce: u64,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct PublicContribution {
    pub(crate) party: Hex,
    pub(crate) commitment: Hex,
    /// Absent where it was withheld.
    pub(crate) opening: Option<Hex>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct PublicPanel {
    pub(crate) attestation: Hex,
    /// Numeric evidence the worker committed to, where there is some.
    pub(crate) evidence: Option<Hex>,
    pub(crate) seats: Vec<PublicSeat>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct PublicSeat {
    pub(crate) verifier: Hex,
    pub(crate) commitment: Hex,
    /// Signed verdict and salt; absent where it was not revealed.
    pub(crate) reveal: Option<(Hex, Hex)>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct PublicDispute {
    pub(crate) attestation: Hex,
    /// Messages and the millisecond each came at.
    pub(crate) messages: Vec<(u64, Hex)>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct PublicCanary {
    pub(crate) job: Hex,
    pub(crate) expected: Hex,
    pub(crate) salt: Hex,
}

/// The bytes of a signed body, in hex.
pub(crate) fn signed<T, S>(body: &hanzo::poai::Signed<T, S>) -> Result<Hex>
where
    T: hanzo::poai::Signable,
    S: SignatureEncoding,
{
    Ok(body.encode()?.into())
}

/// Text of a file: pretty, so that differences can be read.
pub(crate) fn text<T: Serialize>(value: &T) -> Result<String> {
    Ok(serde_json::to_string_pretty(value)? + "\n")
}

/// A value from a file.
pub(crate) fn read<T: DeserializeOwned>(path: &Path) -> Result<T> {
    let text = std::fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))?;
    serde_json::from_str(&text).map_err(|error| format!("{}: {error}", path.display()).into())
}
