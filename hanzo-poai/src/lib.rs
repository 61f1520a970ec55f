#![doc = include_str!("../README.md")]
#![cfg_attr(docsrs, feature(doc_cfg))]
#![cfg_attr(not(feature = "std"), no_std)]
#![forbid(unsafe_code)]

#[cfg(test)]
extern crate std;

extern crate alloc;

mod admission;
mod attestation;
mod audit_epoch;
mod batch;
mod beacon;
mod budget;
mod canary;
mod clopper_pearson;
mod compare;
mod contest;
mod contribution;
mod conviction;
mod dispute;
mod dispute_message;
#[cfg(feature = "drand")]
mod drand;
mod economics;
mod encoding;
mod environment;
mod equivocation;
mod error;
mod evidence;
mod evidence_set;
mod hash;
mod job;
mod job_spec;
mod merkle;
mod model;
mod panel;
mod plan;
mod proof_system;
mod quality;
mod sampling;
mod screen;
#[cfg(feature = "serde")]
mod serde_forms;
mod signing;
#[cfg(feature = "simulate")]
#[cfg_attr(docsrs, doc(cfg(feature = "simulate")))]
pub mod simulate;
mod slashing;
mod suite;
mod task_report;
pub mod theory;
mod trace;
mod units;
mod verdict;
mod verifier;
#[cfg(feature = "vrf")]
mod vrf;

pub use admission::{
    Admission, AdmissionContext, DeviceLimits, Measurements, Provenance, QuoteError, QuoteVerifier, WorkOrder,
    WorkerLog,
};
pub use attestation::{Attestation, AttestationBuilder};
pub use audit_epoch::AuditEpoch;
pub use batch::{Batch, BatchHeader, SignedBatch};
pub use beacon::{Beacon, BeaconOutcome, BeaconRound, Commitments};
pub use budget::AuditBudget;
pub use canary::Canary;
pub use compare::{
    Calibration, Comparator, ComparatorKind, Curve, CurvePoint, DefaultComparator, ElementWise, Exact, Fingerprint,
    FingerprintDistance, GumbelSampler, Judgement, Kl, Logits, Margin, Observation, Score, Thresholds, TopK,
};
pub use contest::{Contest, ContestedOrder};
pub use contribution::Contribution;
pub use conviction::{AuditEntry, BoundaryTable, ConvictionPolicy, EProcess, Outcome, Record, Rung, RungId, Standing};
pub use dispute::{
    BisectionPolicy, Bond, Challenge, Choose, Chosen, Dispute, DisputePolicy, DisputeQueue, Located, Open,
    OutputDispute, Resolution, Resolved, Respond, Responded, StepExecutor, StepFault, StepFraud, StepResult,
    TraceDispute,
};
pub use dispute_message::{Claim, DisputeBody, DisputeMessage, Side, dispute_id, split_points};
#[cfg(feature = "drand")]
#[cfg_attr(docsrs, doc(cfg(feature = "drand")))]
pub use drand::DrandNetwork;
pub use economics::{Certificate, EconomicConfig, Inequality, Violation};
pub use environment::{DType, Environment};
pub use equivocation::Equivocation;
pub use error::{Error, Result};
pub use evidence::{Evidence, EvidenceKind};
pub use evidence_set::{EvidenceItem, EvidenceSet};
pub use hash::{
    AttestationHash, BatchHash, ChainId, DisputeId, EvidenceHash, Hash, JobId, ModelHash, PartyId, Seed, SpecHash,
    StateHash, TraceHash,
};
pub use job::{Acceptance, AssurancePolicy, Event, Job, JobPolicy, JobState, Output, ProvenOutput, ReplicatedJob};
pub use job_spec::{Assurance, JobSpec, JobSpecBuilder, TokenSampler};
pub use merkle::InclusionProof;
pub use model::{ModelFile, ModelManifest};
pub use panel::{Panel, PanelPhase, Tally};
pub use plan::{AuditPlan, Exposure, SamplingPolicy};
pub use proof_system::ProofSystem;
pub use quality::{Quality, QualityPolicy};
pub use sampling::{Draw, Probability, Sampler};
pub use screen::Screen;
pub use signature;
pub use signing::{KeyDirectory, Signable, Signed, SignedKind, decode_signature, encode_signature, signed_message};
pub use slashing::{Family, Registry, SlashOrder, SlashPolicy};
pub use suite::Suite;
pub use task_report::{ScorePolicy, TaskMetrics, TaskReport};
pub use trace::{StateOpening, Trace};
pub use units::{BasisPoints, Epoch, Millis};
pub use verdict::{Decision, Verdict};
pub use verifier::{Candidate, assign_verifiers};
#[cfg(feature = "vrf")]
#[cfg_attr(docsrs, doc(cfg(feature = "vrf")))]
pub use vrf::{VrfKey, VrfSuite};
