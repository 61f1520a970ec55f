//! What a simulation of both tracks has seen.

use alloc::collections::BTreeSet;
use alloc::vec::Vec;

use crate::evidence::{Evidence, EvidenceKind};

/// What a [`DualSimulation`](super::DualSimulation) has seen. Times are nanoseconds since the transaction was given to its author.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct DualReport {
    /// Messages sent, those lost included.
    pub messages: u64,
    /// Messages lost.
    pub lost: u64,
    /// Transactions given to nodes that were up.
    pub submitted: u64,
    /// Of these, refused because a queue was full.
    pub refused: u64,
    /// Transactions settled somewhere.
    pub settled: u64,
    /// Until a vertex had its certificate, from when its author first sent it.
    pub certificates: Vec<u64>,
    /// Until the author had the certificate.
    pub formed: Vec<u64>,
    /// Until a node knew it certified (first level), for each node.
    pub certified: Vec<u64>,
    /// Until a node knew it settled (second level), for each node.
    pub settlement: Vec<u64>,
    /// The moments at which a checkpoint was first settled, with its leaves.
    pub checkpoints: Vec<(u64, u64)>,
    /// Evidence told by honest nodes: by whom, against which position, of what kind.
    pub evidence: BTreeSet<(usize, u32, EvidenceKind)>,
    /// The evidence itself, one of each.
    pub proofs: Vec<Evidence>,
    /// Reports that settlement does not get on.
    pub stalls: u64,
    /// Epochs begun, the first not counted, at the node that saw most.
    pub epochs: u64,
}

/// The `per_mille` quantile of some times; `None` for none.
fn quantile(times: &[u64], per_mille: u32) -> Option<u64> {
    let mut times = times.to_vec();
    let last = times.len().checked_sub(1)? as u64;
    let at = (last * u64::from(per_mille.min(1_000)) / 1_000) as usize;
    Some(*times.select_nth_unstable(at).1)
}

impl DualReport {
    /// Quantile of the time from when a vertex was sent until it had its certificate.
    #[must_use]
    pub fn certificate_quantile(&self, per_mille: u32) -> Option<u64> {
        quantile(&self.certificates, per_mille)
    }

    /// Quantile of the time until the author had the certificate.
    #[must_use]
    pub fn formed_quantile(&self, per_mille: u32) -> Option<u64> {
        quantile(&self.formed, per_mille)
    }

    /// Quantile of the time until a node knew a transaction certified.
    #[must_use]
    pub fn certified_quantile(&self, per_mille: u32) -> Option<u64> {
        quantile(&self.certified, per_mille)
    }

    /// Quantile of the time until a node knew a transaction settled.
    #[must_use]
    pub fn settlement_quantile(&self, per_mille: u32) -> Option<u64> {
        quantile(&self.settlement, per_mille)
    }
}
