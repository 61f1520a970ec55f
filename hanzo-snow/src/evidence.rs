//! Proof that a validator has contradicted itself.

use crate::checkpoint::Hash;
use crate::committee::{Committee, MessageError, VerifyAll, verify_one};
use crate::fastpath::{Ack, SignedVertexHeader, TxHeader};
use crate::settlement::{Header, Timeout, Vote};
use crate::wire::Signature;

/// What a validator did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum EvidenceKind {
    /// Two votes in one view.
    Votes,
    /// Two proposals in one view.
    Proposals,
    /// A vote in a view it had given up, or a timeout that conceals a certificate it had voted on.
    VoteAgainstTimeout,
    /// Two vertices in one round.
    Vertices,
    /// Two acknowledgements of one vertex.
    Acks,
    /// Acknowledged two transactions that share a key.
    Conflict,
}

/// Two signed statements of one validator that no honest validator makes.
///
/// Anybody with the epoch's [`Committee`] and keys can check it; what it costs the offender is decided elsewhere. It names
/// validators by position, so keep the epoch with it. It has no form in bytes yet.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Evidence {
    /// Two votes in one view for different blocks.
    Votes {
        /// One.
        first: Vote,
        /// The other.
        second: Vote,
    },
    /// Two proposals in one view.
    Proposals {
        /// One.
        first: (Header, Signature),
        /// The other.
        second: (Header, Signature),
    },
    /// A vote for a block on a certificate above the highest that a timeout of the same or a later view reports. Whichever
    /// came first, the other was forbidden.
    VoteAgainstTimeout {
        /// The vote.
        vote: Vote,
        /// The header of the block voted for.
        header: Header,
        /// View of the timeout.
        timeout_view: u64,
        /// The certificate it reports.
        high_view: u64,
        /// Signature of the timeout.
        signature: Signature,
    },
    /// Two vertices of one author in one round.
    Vertices {
        /// One.
        first: SignedVertexHeader,
        /// The other.
        second: SignedVertexHeader,
    },
    /// Two different acknowledgements of one vertex.
    Acks {
        /// One.
        first: Ack,
        /// The other.
        second: Ack,
    },
    /// Acknowledgements of two transactions that share a key.
    Conflict {
        /// An acknowledgement, the vertex, the place of the transaction in it, and the transaction.
        first: (Ack, SignedVertexHeader, u32, TxHeader),
        /// The other.
        second: (Ack, SignedVertexHeader, u32, TxHeader),
    },
}

impl Evidence {
    /// What it is evidence of.
    #[must_use]
    pub const fn kind(&self) -> EvidenceKind {
        match self {
            Self::Votes { .. } => EvidenceKind::Votes,
            Self::Proposals { .. } => EvidenceKind::Proposals,
            Self::VoteAgainstTimeout { .. } => EvidenceKind::VoteAgainstTimeout,
            Self::Vertices { .. } => EvidenceKind::Vertices,
            Self::Acks { .. } => EvidenceKind::Acks,
            Self::Conflict { .. } => EvidenceKind::Conflict,
        }
    }

    /// Position of the validator that is accused.
    #[must_use]
    pub const fn offender(&self) -> u32 {
        match self {
            Self::Votes { first, .. } => first.voter,
            Self::Proposals { first, .. } => first.0.proposer,
            Self::VoteAgainstTimeout { vote, .. } => vote.voter,
            Self::Vertices { first, .. } => first.header.author,
            Self::Acks { first, .. } => first.acker,
            Self::Conflict { first, .. } => first.0.acker,
        }
    }

    /// The view or round it is of.
    #[must_use]
    pub const fn number(&self) -> u64 {
        match self {
            Self::Votes { first, .. } => first.view,
            Self::Proposals { first, .. } => first.0.view,
            Self::VoteAgainstTimeout { vote, .. } => vote.view,
            Self::Vertices { first, .. } => first.header.round,
            Self::Acks { first, .. } => first.round,
            Self::Conflict { first, .. } => first.0.round,
        }
    }

    /// Checks both statements, their signatures and that they contradict each other; returns the offender's position. Two to
    /// four signatures.
    ///
    /// # Errors
    /// [`MessageError::Malformed`] where nothing is contradicted, [`MessageError::Signature`] and
    /// [`MessageError::UnknownValidator`] for a statement nobody made.
    pub fn verify(&self, committee: &Committee, keys: &impl VerifyAll) -> Result<u32, MessageError> {
        let offender = self.offender();
        let contradicts = match self {
            Self::Votes { first, second } => {
                first.verify(committee, keys)?;
                second.verify(committee, keys)?;
                second.voter == offender && first.view == second.view && first.block != second.block
            }
            Self::Proposals { first, second } => {
                for (header, signature) in [first, second] {
                    verify_one(committee, keys, header.proposer, &header.signed_bytes(committee), signature)?;
                }
                second.0.proposer == offender && first.0.view == second.0.view && first.0 != second.0
            }
            Self::VoteAgainstTimeout { vote, header, timeout_view, high_view, signature } => {
                vote.verify(committee, keys)?;
                let bytes = Timeout::signed_bytes(committee, *timeout_view, *high_view);
                verify_one(committee, keys, offender, &bytes, signature)?;
                vote.block == header.id(committee)
                    && vote.view == header.view
                    && vote.view <= *timeout_view
                    && header.justify_view > *high_view
            }
            Self::Vertices { first, second } => {
                first.verify(committee, keys)?;
                second.verify(committee, keys)?;
                let (first, second) = (&first.header, &second.header);
                second.author == offender && first.round == second.round && first != second
            }
            Self::Acks { first, second } => {
                first.verify(committee, keys)?;
                second.verify(committee, keys)?;
                second.acker == offender && first.vertex == second.vertex && first.bitmap != second.bitmap
            }
            Self::Conflict { first, second } => {
                let mut ids: [Hash; 2] = [[0; 32]; 2];
                for ((ack, vertex, index, tx), id) in [first, second].into_iter().zip(&mut ids) {
                    ack.verify(committee, keys)?;
                    vertex.verify(committee, keys)?;
                    *id = tx.id(committee);
                    let is_of = ack.vertex == vertex.header.id(committee)
                        && vertex.header.txs.get(*index as usize) == Some(id)
                        && ack.has(*index);
                    if !is_of {
                        return Err(MessageError::Malformed { field: "evidence" });
                    }
                }
                second.0.acker == offender
                    && ids[0] != ids[1]
                    && first.3.keys.iter().any(|key| second.3.keys.contains(key))
            }
        };
        if contradicts { Ok(offender) } else { Err(MessageError::Malformed { field: "evidence" }) }
    }
}
