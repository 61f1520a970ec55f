//! Anti-entropy between two replicas: range fingerprints find the k records in which they differ with O(k log n) bytes.
//!
//! A [`Session`] does no input or output. [`start`](Session::start) gives the first frames, each frame from the peer
//! goes to [`on_frame`](Session::on_frame), and what that returns goes to the peer. A session only reads its library;
//! when it [`is_finished`](Session::is_finished), or is given up, [`finish`](Session::finish) hands out what was
//! received, which [`Library::merge`] joins. Lost or broken sessions cost bytes, not correctness: run another.
//!
//! Both sides order their records by id. A range travels as the RFC 9162 root of its record digests; where roots differ
//! the range is split in 16 by rank, or listed when it holds at most 16 records. Who sees a list sends the records that
//! the other lacks or has older, then asks for contents it lacks.
//!
//! A peer that withholds records is seen, not outvoted: fingerprints differ with any honest peer. So ask several peers,
//! and compare their signed checkpoints.
//!
//! ```
//! use hanzo_experience::sync::Session;
//! use hanzo_experience::{Draft, Library, LibraryConfig, Mode, Operation, Stamp, Text};
//!
//! let replica = |name: &str, text: &str| -> hanzo_experience::Result<Library> {
//!     let mut library = Library::new(LibraryConfig::new("example.com/shared".parse()?).replica(name))?;
//!     let draft = Draft::new(Text::new(text)?, "math".parse()?, name, 7);
//!     library.apply(&Stamp::new(7, name), Mode::Atomic, &[Operation::Add(draft)])?;
//!     Ok(library)
//! };
//! let (mut a, mut b) = (replica("a", "draw a picture")?, replica("b", "check the units")?);
//!
//! let (mut left, mut right) = (Session::new(&a), Session::new(&b));
//! let mut to_right = left.start();
//! while !to_right.is_empty() {
//!     let mut to_left = Vec::new();
//!     for frame in to_right.drain(..) {
//!         to_left.extend(right.on_frame(&frame)?);
//!     }
//!     for frame in to_left {
//!         to_right.extend(left.on_frame(&frame)?);
//!     }
//! }
//! assert!(left.is_finished() && right.is_finished());
//! let (for_a, for_b) = (left.finish(), right.finish());
//! let verifier = |_: &str, _: &[u8], _: &[u8]| false; // no votes yet
//! a.merge(&Stamp::new(8, "a"), &for_a, &verifier)?;
//! b.merge(&Stamp::new(8, "b"), &for_b, &verifier)?;
//! assert_eq!((a.len(), a.state_root()), (2, b.state_root()));
//! # Ok::<(), hanzo_experience::Error>(())
//! ```

mod frame;
mod session;

pub use frame::{Bound, Frame, Hello, Range, RangeKind};
pub use session::Session;

#[cfg(doc)]
use crate::Library;
