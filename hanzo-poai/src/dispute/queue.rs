//! One open dispute an attestation; later challengers wait.

use alloc::collections::VecDeque;
use alloc::vec::Vec;

use super::{Bond, Resolution};
use crate::dispute_message::{DisputeBody, DisputeMessage};
use crate::error::{Error, Result};
use crate::hash::AttestationHash;

/// A challenge with the bond that is held for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Challenge {
    /// The message that opens it.
    pub message: DisputeMessage,
    /// The bond.
    pub bond: Bond,
}

/// The challenges of one attestation. Only the first runs; the job's window stands still until none is left.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DisputeQueue {
    attestation: AttestationHash,
    waiting: VecDeque<Challenge>,
}

impl DisputeQueue {
    /// No challenge yet.
    pub const fn new(attestation: AttestationHash) -> Self {
        Self { attestation, waiting: VecDeque::new() }
    }

    /// Takes a challenge and says whether it is the one to run now.
    ///
    /// # Errors
    /// [`Error::InvalidField`] for a message that does not challenge this attestation, or a bond of 0 or of
    /// somebody else; [`Error::Duplicate`] for a dispute or a challenger that is in already.
    pub fn challenge(&mut self, challenge: Challenge) -> Result<bool> {
        let DisputeBody::Open { attestation, challenger, .. } = challenge.message.body() else {
            return Err(Error::InvalidField("kind"));
        };
        if *attestation != self.attestation {
            return Err(Error::InvalidField("attestation"));
        }
        if challenge.bond.amount == 0 || challenge.bond.challenger != *challenger {
            return Err(Error::InvalidField("bond"));
        }
        if self.waiting.iter().any(|other| other.bond.challenger == *challenger) {
            return Err(Error::Duplicate("challenger"));
        }
        self.waiting.push_back(challenge);
        Ok(self.waiting.len() == 1)
    }

    /// The challenge that runs.
    pub fn running(&self) -> Option<&Challenge> {
        self.waiting.front()
    }

    /// Ends the running dispute. Once the worker is found wrong nothing is left to dispute: all other bonds go
    /// back. Otherwise the next challenge runs.
    pub fn resolved(&mut self, resolution: &Resolution) -> Vec<Bond> {
        self.waiting.pop_front();
        match resolution {
            Resolution::WorkerWrong(_) => self.waiting.drain(..).map(|challenge| challenge.bond).collect(),
            Resolution::WorkerRight | Resolution::Undetermined => Vec::new(),
        }
    }
}
