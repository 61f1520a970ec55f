//! Jobs whose answer is known, to check the checkers.

use crate::hash::{ChainId, Hash, JobId, tagged};
use crate::units::Epoch;

/// A job with a known output. Its commitment is published first, and it is opened after the verdicts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Canary {
    /// The network.
    pub chain: ChainId,
    /// The epoch it runs in.
    pub epoch: Epoch,
    /// The job.
    pub job: JobId,
    /// Hash of the right output.
    pub expected: Hash,
    /// A secret salt.
    pub salt: [u8; 32],
}

impl Canary {
    /// The commitment.
    pub fn commitment(&self) -> Hash {
        let epoch = self.epoch.get().to_be_bytes();
        let parts: [&[u8]; 5] = [self.chain.as_bytes(), &epoch, self.job.as_bytes(), &self.expected, &self.salt];
        tagged("canary", &parts)
    }
}
