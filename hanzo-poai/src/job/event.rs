//! What a job takes in and gives out.

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::ops::Range;

use crate::attestation::Attestation;
use crate::conviction::Outcome;
use crate::dispute::{Bond, Resolved};
use crate::evidence::Evidence;
use crate::hash::{AttestationHash, Hash, PartyId};
use crate::job::assurance::ProvenOutput;
use crate::panel::Panel;
use crate::units::Millis;

/// Where a job is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(rename_all = "snake_case"))]
pub enum JobState {
    /// A worker is looked for, or the escrow is awaited.
    Matching,
    /// The price is held.
    Escrowed,
    /// A worker computes.
    Running,
    /// The worker has attested.
    Attested,
    /// Verifiers re-execute.
    Sampled,
    /// Nothing is left but the window.
    Verified,
    /// A dispute is open.
    Disputed,
    /// The worker was paid.
    Settled,
    /// The worker was found guilty and the client refunded.
    Slashed,
    /// The client was refunded, and nobody found guilty of this output.
    Expired,
}

impl JobState {
    /// Whether no event leads out of it.
    pub const fn is_terminal(self) -> bool {
        matches!(self, Self::Settled | Self::Slashed | Self::Expired)
    }

    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Matching => "matching",
            Self::Escrowed => "escrowed",
            Self::Running => "running",
            Self::Attested => "attested",
            Self::Sampled => "sampled",
            Self::Verified => "verified",
            Self::Disputed => "disputed",
            Self::Settled => "settled",
            Self::Slashed => "slashed",
            Self::Expired => "expired",
        }
    }
}

/// A worker's acceptance, whose signature the caller has checked.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(deny_unknown_fields))]
pub struct Acceptance {
    /// The worker.
    pub worker: PartyId,
    /// The price, base units.
    pub price: u128,
    /// Last millisecond at which the quote stands.
    pub quote_expires: Millis,
    /// Value the worker's stake still covers, base units.
    pub free_exposure: u128,
    /// Workers who signed for the same price and take over if this one is absent, in order.
    pub standby: Vec<PartyId>,
}

/// What can happen to a job.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event {
    /// A worker accepts.
    Accept(Acceptance),
    /// The escrow holds this amount.
    EscrowHeld(u128),
    /// The client gives up.
    Cancel,
    /// The worker has started.
    Started(PartyId),
    /// An attestation that passed [`Admission`](crate::Admission).
    Attest(Box<Attestation>),
    /// The batch that holds the attestation is committed to.
    Committed,
    /// The beacon of the attestation's epoch is revealed; whether the job was drawn.
    Beacon {
        /// Whether the draw selected this job.
        drawn: bool,
    },
    /// The panel of an audit of this attestation is closed.
    Verdicts(Panel),
    /// A succinct proof of the attested output was accepted.
    ProofAccepted(ProvenOutput),
    /// This replica does not agree with the others.
    ReplicasDisagree,
    /// Somebody challenges the output; the bond is held.
    Challenge(Bond),
    /// The open dispute over this attestation is resolved.
    Resolved(Resolved),
    /// The worker was convicted, over this job's audits or others.
    WorkerConvicted,
    /// Time passes.
    Tick,
}

impl Event {
    pub(super) const fn name(&self) -> &'static str {
        match self {
            Self::Accept(_) => "accept",
            Self::EscrowHeld(_) => "escrow held",
            Self::Cancel => "cancel",
            Self::Started(_) => "started",
            Self::Attest(_) => "attest",
            Self::Committed => "committed",
            Self::Beacon { .. } => "beacon",
            Self::Verdicts(_) => "verdicts",
            Self::ProofAccepted(_) => "proof accepted",
            Self::ReplicasDisagree => "replicas disagree",
            Self::Challenge(_) => "challenge",
            Self::Resolved(_) => "resolved",
            Self::WorkerConvicted => "worker convicted",
            Self::Tick => "tick",
        }
    }
}

/// What has to be done about it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Output {
    /// Hold the price in escrow.
    HoldEscrow(u128),
    /// Drop the hold that was asked for.
    ReleaseHold(u128),
    /// Give the job to a worker.
    Assign {
        /// The worker.
        worker: PartyId,
        /// Which assignment it is.
        assignment: u32,
    },
    /// Pay the worker from escrow.
    ReleaseEscrow {
        /// The worker.
        worker: PartyId,
        /// How much.
        amount: u128,
    },
    /// Give the escrow back to the client.
    Refund(u128),
    /// Submit this to the registry.
    Offence(Evidence),
    /// The result came after the service level.
    Late,
    /// Draw verifiers for these slots ([`assign_verifiers`](crate::assign_verifiers)) and let them check.
    RequestAudit {
        /// The attestation.
        attestation: AttestationHash,
        /// Slots of the draw.
        slots: Range<u32>,
    },
    /// Count this outcome on the worker's [`Record`](crate::Record).
    CountAudit {
        /// The worker.
        worker: PartyId,
        /// The outcome.
        outcome: Outcome,
    },
    /// Audit this worker more often.
    Escalate(PartyId),
    /// Open a dispute; without a bond when an audit found the mismatch.
    OpenDispute {
        /// The attestation.
        attestation: AttestationHash,
        /// The challenger's bond.
        bond: Option<Bond>,
    },
    /// Give the client this output, that of the lowest assignment which a majority of the replicas matches.
    Deliver {
        /// Hash of the output.
        output: Hash,
    },
    /// The challenger loses its bond.
    ForfeitBond(Bond),
    /// The challenger gets its bond back.
    ReturnBond(Bond),
    /// Feed the worker's [`Quality`](crate::Quality).
    UpdateQuality {
        /// The worker.
        worker: PartyId,
        /// The result, Q0.32.
        result_q32: u64,
    },
}

/// Times and limits of the lifecycle.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(deny_unknown_fields))]
pub struct JobPolicy {
    /// Length of an audit epoch.
    pub epoch_ms: u64,
    /// From commitment to payment.
    pub window_ms: u64,
    /// How long a match may take.
    pub matching_ms: u64,
    /// How long a worker may take to start.
    pub start_ms: u64,
    /// Workers who may take over.
    pub reassignments: u32,
    /// Verifiers of an audit.
    pub audit_slots: u32,
    /// Verifiers added after a mismatch.
    pub extra_slots: u32,
}

impl Default for JobPolicy {
    /// Epoch and window of an hour, 30 s to match, 60 s to start, one reassignment, one verifier and two more.
    fn default() -> Self {
        Self {
            epoch_ms: 3_600_000,
            window_ms: 3_600_000,
            matching_ms: 30_000,
            start_ms: 60_000,
            reassignments: 1,
            audit_slots: 1,
            extra_slots: 2,
        }
    }
}
