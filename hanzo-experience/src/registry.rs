//! A register of shared libraries: who vouches for which state, with which bond, and how good others find it.
//!
//! A state machine without clock or ledger: time comes with each event, and money leaves as
//! [`Effect`](crate::Effect)s. A call that returns an error has changed nothing. Low quality alone slashes nobody; it
//! lets others challenge, and a verdict from outside decides.
//!
//! The bounty of a successful challenge can be won by the submitter under another name. What deters is the burned share
//! of the bond, not the bond.
//!
//! ```
//! use hanzo_experience::merkle::StateTree;
//! use hanzo_experience::registry::{Event, Registry, RegistryConfig, Status, Submission};
//! use hanzo_experience::Account;
//!
//! let mut registry = Registry::new(RegistryConfig::new(1_000));
//! let state = StateTree::default().root();
//! registry.on(0, Event::Submit(Submission {
//!     submitter: "ann".parse()?,
//!     commitment: state.commitment(),
//!     state,
//!     cid: "bafkreidon73zkcrwdb5iafqtijxildoonbwnpv7dyd6ef3qdgads2jc4su".into(),
//!     schema: 1,
//!     attestation: [0; 32],
//!     bond: 25_000,
//! }))?;
//! for (voter, score, stake) in [("bob", 900, 5), ("cat", 700, 5), ("dan", 100, 3)] {
//!     registry.on(1, Event::Vote { entry: 0, voter: voter.parse()?, score, stake })?;
//! }
//! let entry = registry.entry(0).unwrap();
//! assert_eq!((entry.status(), entry.quality()), (Status::Active, Some(700)));
//! # Ok::<(), hanzo_experience::Error>(())
//! ```

mod entry;
mod machine;

pub use entry::{History, Listing, Status, Submission};
pub use machine::{Event, Registry, RegistryConfig, Selected, Selection, aggregate_root};
