//! Votes on what the library learns: proposals with stakes, quorum and approval, as a state machine without clock or
//! ledger.
//!
//! Time comes with each event, and money leaves as [`Effect`]s. A call that returns an error has changed nothing.
//!
//! ```
//! use hanzo_experience::governance::{Choice, Event, Governance, GovernanceConfig, PowerSnapshot, ProposalKind, Status};
//! use hanzo_experience::{Account, Effect};
//!
//! let account = |name: &str| name.parse::<Account>();
//! let mut governance = Governance::new(GovernanceConfig::new(1_000_000));
//! let power = PowerSnapshot::new(100, [(account("ann")?, 30), (account("bob")?, 20)])?;
//! let propose = Event::Propose {
//!     proposer: account("ann")?,
//!     kind: ProposalKind::Upgrade { digest: [7; 32] },
//!     start: 50,
//!     power,
//! };
//! let effects = governance.on(10, propose)?;
//! assert!(matches!(effects[0], Effect::Lock { amount: 1_000_000_000, .. }));
//! for (voter, choice) in [("ann", Choice::Yes), ("bob", Choice::Abstain)] {
//!     governance.on(60, Event::Vote { proposal: 0, voter: account(voter)?, choice })?;
//! }
//! governance.on(50 + 604_800, Event::Finalize { proposal: 0 })?;
//! let proposal = governance.proposal(0).unwrap();
//! assert_eq!((proposal.status(), proposal.tally().turnout_bps), (Status::Approved, 5_000));
//! # Ok::<(), hanzo_experience::Error>(())
//! ```

mod machine;
mod proposal;

pub use machine::{Event, Governance, GovernanceConfig, RejectPolicy};
pub use proposal::{Choice, Parameter, PowerSnapshot, Proposal, ProposalKind, Status, Tally};

#[cfg(doc)]
use crate::Effect;
