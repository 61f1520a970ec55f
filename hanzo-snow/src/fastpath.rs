//! The fast path: a certified DAG of vertices, in which transactions that name no common key are certified without a leader.
//!
//! Each validator makes one vertex a round on certificates of a quorum of the round before, and acknowledges one vertex of each author and
//! round, with one bit for each transaction: whether its keys were free. A key is locked by the first transaction that is
//! acknowledged and stays so for the epoch, so two transactions that share a key are never both certified. Invariants:
//!
//! - One acknowledgement of each (author, round), the same if asked again; durable, with its locks and the certificates of
//!   the parents, before it leaves.
//! - A certificate is acknowledgements of a quorum on one vertex; a transaction is certified if a quorum set its bit.
//! - A certificate is held only with all it stands on, down to what has settled.
//! - [`FastOutput::Certified`] is told when a later certified vertex stands on the certificate: then a quorum holds it.

mod certificate;
mod dag;
mod messages;
mod node;
mod vertex;

pub use certificate::{Ack, Certificate};
pub use dag::Dag;
pub use messages::{FastConfig, FastInput, FastMessage, FastOutput, MAX_GET, TxPlace};
pub use node::FastPath;
pub use vertex::{
    ConflictKey, MAX_KEYS, MAX_TX_BYTES, MAX_TXS, MAX_VERTEX_BYTES, SignedVertexHeader, Tx, TxError, TxHeader, Vertex,
    VertexHeader,
};
