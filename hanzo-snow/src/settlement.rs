//! Settlement: a replica of two-chain HotStuff (Jolteon, arXiv:2106.10362; HotStuff-2, ePrint 2023/397), without I/O.
//!
//! A leader proposes a [`Block`] on the block of its highest [`QuorumCertificate`]; replicas vote to the next leader; a block
//! is committed once it and a child of the very next view are certified. A view without certificate ends by a
//! [`TimeoutCertificate`]. Invariants, which the tests and the model check hold to:
//!
//! - An honest replica votes at most once a view, never in a view it has timed out of, and never below
//!   the highest certificate that a quorum has reported in a timeout ([`Safety`]).
//! - Its vote state, highest certificate and the voted block are durable before a vote or timeout leaves.
//! - Any two quorums share more than the faulty stake, so of two certified blocks of one view one does not exist.
//! - Committed blocks form one chain, heights +1, told once each and in order.

mod block;
mod certificates;
mod leader;
mod messages;
mod replica;
mod safety;
mod tree;

pub(crate) use certificates::write_signatures;
pub(crate) use replica::stored_committees;

pub use crate::evidence::{Evidence, EvidenceKind};
pub use block::{Block, Header, MAX_PAYLOAD, Proposal, Root};
pub use certificates::{QuorumCertificate, Timeout, TimeoutCertificate, Vote};
pub use leader::LeaderRule;
pub use messages::{Input, MAX_CHAIN, Message, Output, ReplicaConfig, ReplicaError, ReplicaStall, VoteState};
pub use replica::{Memory, Replica, chain_from_store};
pub use safety::Safety;
