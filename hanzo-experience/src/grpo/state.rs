use serde::Serialize;

use crate::merkle::{Hash, StateRoot};
use crate::{Error, Result, json};

/// The best state of a library so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Best {
    /// Its score, in parts per million.
    pub score_ppm: u32,
    /// The state.
    pub state: StateRoot,
}

/// Where a training is between two batches: enough, with the library, to go on later.
///
/// Its bytes are canonical JSON with members `base`, `base_size`, `batch`, `best`, `best_score`, `best_size`, `calls`,
/// `epoch`, `phase`, `t`, `tokens` and `v`; hashes are 64 hex digits, `best` is empty where no state was scored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TrainingState {
    pub(super) epoch: u32,
    pub(super) batch: u32,
    pub(super) phase: Phase,
    /// State of the library.
    pub(super) base: StateRoot,
    pub(super) best: Option<Best>,
    pub(super) calls: u64,
    pub(super) tokens: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    /// To be scored before anything is learned.
    Baseline,
    /// To learn the batch.
    Batch,
    /// To be scored after the batch.
    Score,
    Done,
}

impl TrainingState {
    /// The epoch, from 0.
    pub fn epoch(&self) -> u32 {
        self.epoch
    }

    /// The batch of the epoch, from 0.
    pub fn batch(&self) -> u32 {
        self.batch
    }

    /// The state of the library that it belongs to.
    pub fn base(&self) -> &StateRoot {
        &self.base
    }

    /// The best state so far, if any was scored.
    pub fn best(&self) -> Option<Best> {
        self.best
    }

    /// Calls of rounds so far.
    pub fn calls(&self) -> u64 {
        self.calls
    }

    /// Tokens of rounds so far, read and written.
    pub fn tokens(&self) -> u64 {
        self.tokens
    }

    /// The canonical bytes.
    pub fn to_bytes(&self) -> Vec<u8> {
        let best = self.best;
        let shape = StateShape {
            base: self.base.root().to_string(),
            base_size: self.base.size(),
            batch: self.batch.into(),
            best: best.map_or_else(String::new, |best| best.state.root().to_string()),
            best_score: best.map_or(0, |best| best.score_ppm.into()),
            best_size: best.map_or(0, |best| best.state.size()),
            calls: self.calls.min(json::MAX_INTEGER),
            epoch: self.epoch.into(),
            phase: match self.phase {
                Phase::Baseline => 0,
                Phase::Batch => 1,
                Phase::Score => 2,
                Phase::Done => 3,
            },
            t: TAG.to_owned(),
            tokens: self.tokens.min(json::MAX_INTEGER),
            v: 1,
        };
        let mut bytes = Vec::new();
        json::write(&mut bytes, &shape);
        bytes
    }

    /// Reads the bytes of [`to_bytes`](Self::to_bytes).
    ///
    /// # Errors
    /// [`Error::MalformedJson`] and its kind; [`Error::OutOfRange`] for a member out of its range;
    /// [`Error::MalformedId`] for a hash; [`Error::NotCanonical`] for any other bytes of the same meaning.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self> {
        let shape: StateShape = json::read(bytes)?;
        if shape.t != TAG {
            return Err(Error::OutOfRange { field: "t" });
        }
        if shape.v != 1 {
            return Err(Error::OutOfRange { field: "v" });
        }
        let small = |field, value: u64| u32::try_from(value).map_err(|_| Error::OutOfRange { field });
        let best = if shape.best.is_empty() {
            None
        } else {
            let score_ppm = small("best_score", shape.best_score)?;
            if score_ppm > 1_000_000 {
                return Err(Error::OutOfRange { field: "best_score" });
            }
            Some(Best { score_ppm, state: StateRoot::new(shape.best_size, shape.best.parse::<Hash>()?)? })
        };
        let state = Self {
            epoch: small("epoch", shape.epoch)?,
            batch: small("batch", shape.batch)?,
            phase: match shape.phase {
                0 => Phase::Baseline,
                1 => Phase::Batch,
                2 => Phase::Score,
                3 => Phase::Done,
                _ => return Err(Error::OutOfRange { field: "phase" }),
            },
            base: StateRoot::new(shape.base_size, shape.base.parse::<Hash>()?)?,
            best,
            calls: shape.calls,
            tokens: shape.tokens,
        };
        if state.to_bytes() == bytes { Ok(state) } else { Err(Error::NotCanonical) }
    }
}

json::shape! {
    #[derive(Serialize)]
    struct StateShape {
        base: String,
        base_size: u64,
        batch: u64,
        best: String,
        best_score: u64,
        best_size: u64,
        calls: u64,
        epoch: u64,
        phase: u64,
        t: String,
        tokens: u64,
        v: u64,
    }
}

const TAG: &str = "hanzo.experience.training";
