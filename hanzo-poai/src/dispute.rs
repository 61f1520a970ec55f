//! Disputes: over the output alone by three fresh verifiers, or over a committed trace by bisection.

mod bisection;
mod clock;
mod executor;
mod output;
mod queue;
mod step_fraud;
mod trace_dispute;

use alloc::vec::Vec;

use crate::evidence::Evidence;
use crate::hash::{AttestationHash, PartyId};

pub use bisection::{BisectionPolicy, Choose, Dispute, Located, Open, Respond};
pub use executor::{StepExecutor, StepResult};
pub use output::{DisputePolicy, OutputDispute};
pub use queue::{Challenge, DisputeQueue};
pub use step_fraud::{StepFault, StepFraud};
pub use trace_dispute::{Chosen, Responded, TraceDispute};

/// What a challenger puts at stake.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(deny_unknown_fields))]
pub struct Bond {
    /// Who put it up.
    pub challenger: PartyId,
    /// How much, base units; above zero.
    pub amount: u128,
}

/// How a dispute ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Resolution {
    /// The output stands; a challenger loses its bond.
    WorkerRight,
    /// The output is wrong, and this proves it; a challenger gets its bond back.
    WorkerWrong(Evidence),
    /// Nothing was decided; nobody loses.
    Undetermined,
}

/// A resolved dispute.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resolved {
    /// The attestation it was about.
    pub attestation: AttestationHash,
    /// How it ended.
    pub resolution: Resolution,
    /// Evidence against verifiers who did not reveal.
    pub withheld: Vec<Evidence>,
}
