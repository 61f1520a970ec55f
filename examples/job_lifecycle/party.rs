//! Who takes part: every party has an ML-DSA-65 key, and is known by the hash of it.

use hanzo::poai::{PartyId, Suite};
use hanzo::pqc::attestation::SoftwareAttester;
use hanzo::pqc::{SignatureAlgorithm, SigningKey, VerifyingKey};
use rand::Rng as _;
use rand_chacha::ChaCha20Rng;
use sha2::{Digest as _, Sha256};

use crate::Result;

/// Keys of the parties that sign, by party.
pub(crate) type Directory = std::collections::BTreeMap<(PartyId, Suite), VerifyingKey>;

/// What a machine of the network runs, as far as a software statement can say.
pub(crate) const MEASUREMENT: [u8; 32] = *b"job_lifecycle runtime, version 1";

/// A party with a key to sign with and a machine that states what it runs.
#[derive(Debug)]
pub(crate) struct Party {
    /// Who it is.
    pub(crate) id: PartyId,
    /// Signs attestations, batches and verdicts.
    pub(crate) key: SigningKey,
    /// Signs the statements by which its machine asks for keys.
    pub(crate) machine: SoftwareAttester,
}

impl Party {
    /// A party with fresh keys, whose machine states `measurement`.
    pub(crate) fn new(measurement: [u8; 32], rng: &mut ChaCha20Rng) -> Result<Self> {
        let key = SigningKey::generate(SignatureAlgorithm::MlDsa65, rng);
        let machine = SigningKey::generate(SignatureAlgorithm::MlDsa65, rng);
        let id = PartyId::new(Sha256::digest(key.verifying_key().as_bytes()).into());
        Ok(Self { id, key, machine: SoftwareAttester::new(machine, measurement)? })
    }

    /// Adds the party's key to a directory.
    pub(crate) fn enter(&self, directory: &mut Directory) {
        directory.insert((self.id, Suite::ML_DSA_65), self.key.verifying_key().clone());
    }
}

/// A party that only owns money or stake, and signs nothing here.
pub(crate) fn silent_party(role: &str, index: usize) -> PartyId {
    let name = format!("job_lifecycle/{role}/{index}");
    PartyId::new(Sha256::digest(name.as_bytes()).into())
}

/// How a worker cheats, if it does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Cheat {
    /// Computes the first position only and repeats its class.
    SkipWork,
    /// Hands out an earlier answer for the same tenant and level.
    Replay,
    /// Computes with weights rounded to bfloat16.
    LowPrecision,
}

impl Cheat {
    /// The kinds, which cheaters take in turn.
    pub(crate) const ALL: [Self; 3] = [Self::SkipWork, Self::Replay, Self::LowPrecision];

    /// For people to read.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::SkipWork => "skips work",
            Self::Replay => "replays answers",
            Self::LowPrecision => "lower precision",
        }
    }
}

/// A 32-byte secret.
pub(crate) fn secret(rng: &mut ChaCha20Rng) -> [u8; 32] {
    let mut bytes = [0; 32];
    rng.fill_bytes(&mut bytes);
    bytes
}
