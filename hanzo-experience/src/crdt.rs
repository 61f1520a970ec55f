//! Replicas that converge: what is known of an experience as a state-based CRDT, and votes that travel signed.
//!
//! A [`Library`](crate::Library) is a replica. Its [`Record`]s hold presence, usage, votes and label of each
//! experience; [`Record::join`] is a join of a semilattice, so that replicas which have seen the same records hold the
//! same bytes, whatever the order, loss and repetition of deliveries. [`sync`](crate::sync) finds the records in which
//! two replicas differ.

mod record;
mod vote;

pub use record::{Label, Presence, Record};
pub use vote::{Equivocation, SignedVote, Vote, VoteVerifier, vote_message};
