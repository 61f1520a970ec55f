//! RFC 9162 trees with strict verifiers: an append-only [`Log`], a [`StateTree`] of what is present, and sized
//! [`Checkpoint`]s that proofs are checked against.
//!
//! Leaf: SHA-256(00 || data). Node: SHA-256(01 || left || right), split at the largest power of two below the number
//! of leaves. Empty tree: SHA-256 of nothing (RFC 9162 section 2.1.1).
//!
//! A proof is only as good as the size it is checked under: a correct verifier cannot tell size 3 from size 4 for
//! index 0. So sizes always travel with roots, in a [`Checkpoint`] or a [`StateRoot`], or hashed with them in their
//! commitments.
//!
//! ```
//! use hanzo_experience::merkle::{Log, Origin, leaf_hash};
//!
//! let mut log = Log::new();
//! log.append_data(b"first");
//! let origin: Origin = "example.com/log".parse()?;
//! let old = log.checkpoint(&origin);
//! let index = log.append_data(b"second");
//! let new = log.checkpoint(&origin);
//!
//! let proof = log.prove_inclusion(index, new.size())?;
//! new.verify_inclusion(index, &leaf_hash(b"second"), &proof)?;
//! new.verify_extends(&old, &log.prove_consistency(old.size(), new.size())?)?;
//! # Ok::<(), hanzo_experience::Error>(())
//! ```

mod checkpoint;
mod compact;
mod hash;
mod log;
mod multiproof;
mod note;
mod proof;
mod state;

pub use checkpoint::{Checkpoint, Origin};
pub use compact::CompactRange;
pub(crate) use hash::hex_byte;
pub use hash::{Hash, empty_root, leaf_hash, node_hash};
pub use log::Log;
pub use multiproof::{MultiProof, verify_multi};
pub use note::{NoteSignature, SignedCheckpoint};
pub use proof::{ConsistencyProof, InclusionProof, verify_consistency, verify_inclusion};
pub use state::{AbsenceProof, MembershipProof, MembershipProofs, Neighbour, StateRoot, StateTree};
