//! The one error type of the crate.

use alloc::boxed::Box;

use crate::environment::DType;
use crate::equivocation::Equivocation;

/// What can be wrong with an input. An `Err` leaves every argument as it was.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// An encoding has one exact length, and this is another.
    #[error("encoding is {got} bytes, not {want}")]
    Length {
        /// Bytes the encoding must have.
        want: u64,
        /// Bytes it has.
        got: u64,
    },
    /// The first four bytes do not name this encoding.
    #[error("wrong magic bytes")]
    BadMagic,
    /// Reserved bytes or flags are not zero.
    #[error("reserved bytes are not zero")]
    Reserved,
    /// A version this crate does not know.
    #[error("unknown version {0}")]
    UnknownVersion(u16),
    /// A signature suite this crate does not know.
    #[error("unknown signature suite {0}")]
    UnknownSuite(u16),
    /// An enum field holds a value outside its list.
    #[error("unknown value {value} of {field}")]
    UnknownVariant {
        /// The field.
        field: &'static str,
        /// What it held.
        value: u64,
    },
    /// Fields that are well formed one by one do not go together.
    #[error("inconsistent field {0}")]
    InvalidField(&'static str),
    /// A builder was finished without a field it needs.
    #[error("missing field {0}")]
    MissingField(&'static str),
    /// Two entries of a set have the same key.
    #[error("duplicate {0}")]
    Duplicate(&'static str),
    /// No key of that party and suite is known.
    #[error("no key is known for the party and suite")]
    UnknownKey,
    /// A signature does not verify, or cannot be made or parsed.
    #[error("bad signature")]
    BadSignature,
    /// An inclusion proof does not lead from the leaf to the root.
    #[error("bad inclusion proof")]
    BadProof,
    /// A tree, batch or list has no entry or too many.
    #[error("{got} entries, where 1 to {max} are allowed")]
    BatchSize {
        /// Entries given.
        got: u64,
        /// Most entries allowed.
        max: u64,
    },
    /// A sequence number is not the next one.
    #[error("sequence number {got}, not {want}")]
    Sequence {
        /// The next sequence number.
        want: u64,
        /// The one given.
        got: u64,
    },
    /// `prev` is not the hash of the attestation before.
    #[error("previous hash does not match")]
    PrevMismatch,
    /// Two different bodies stand at one place of a worker's chain.
    #[error("two bodies at sequence number {}", .0.seq())]
    Equivocation(Box<Equivocation>),
    /// The attestation belongs to another chain.
    #[error("attestation of another chain")]
    WrongChain,
    /// An epoch lies outside the window that is open now.
    #[error("epoch {epoch} is outside {earliest}..={latest}")]
    Epoch {
        /// The epoch given.
        epoch: u64,
        /// First epoch accepted.
        earliest: u64,
        /// Last epoch accepted.
        latest: u64,
    },
    /// The job is not known, or not assigned to this worker under this assignment.
    #[error("job is not assigned to this worker")]
    NotAssigned,
    /// A field of the attestation differs from the job's spec.
    #[error("{0} differs from the job spec")]
    SpecMismatch(&'static str),
    /// A quote is asked for and absent, or does not match its hash, or does not verify.
    #[error("quote missing or not valid")]
    BadQuote,
    /// A claimed measurement is not possible.
    #[error("implausible {check}: {value} against a limit of {limit}")]
    Implausible {
        /// Which check failed.
        check: &'static str,
        /// The value claimed.
        value: u128,
        /// The limit it breaks.
        limit: u128,
    },
    /// The beacon of the epoch is not revealed yet.
    #[error("beacon of epoch {epoch} is missing")]
    BeaconMissing {
        /// The epoch.
        epoch: u64,
    },
    /// A batch header came after the beacon of its epoch.
    #[error("batch header came after the beacon of epoch {epoch}")]
    LateCommitment {
        /// The epoch.
        epoch: u64,
    },
    /// Fewer parties revealed than the beacon needs.
    #[error("{got} reveals, {need} needed")]
    TooFewReveals {
        /// Reveals needed.
        need: u64,
        /// Reveals there are.
        got: u64,
    },
    /// An opening does not match its commitment, or there is no commitment.
    #[error("opening does not match a commitment")]
    BadReveal,
    /// A probability outside its range, or a ratio with a zero denominator.
    #[error("probability out of range")]
    InvalidProbability,
    /// A significance level outside (0, 1), or levels that sum past the bound.
    #[error("significance level out of range")]
    InvalidLevel,
    /// A parameter or a measured value is NaN or infinite.
    #[error("value is not finite")]
    NonFinite,
    /// The floor of an audit plan alone costs more than the budget.
    #[error("audit floor costs more than the budget of {budget}")]
    BudgetBelowFloor {
        /// The budget, in units of cost.
        budget: u64,
    },
    /// Fewer verifiers may check this job than are asked for.
    #[error("{eligible} eligible verifiers, {need} needed")]
    NoEligibleVerifier {
        /// Verifiers asked for.
        need: u64,
        /// Verifiers with weight and another owner.
        eligible: u64,
    },
    /// A sum or product leaves its integer type.
    #[error("integer overflow")]
    Overflow,
    /// Reference and claim differ in length or element type.
    #[error("shape or element type differs: {want} values against {got}")]
    ShapeMismatch {
        /// Values of the reference.
        want: u64,
        /// Values of the claim.
        got: u64,
    },
    /// A comparison over too few tokens says nothing.
    #[error("{got} tokens, {need} needed")]
    TooFewTokens {
        /// Tokens needed.
        need: u64,
        /// Tokens there are.
        got: u64,
    },
    /// No comparator is calibrated for this element type.
    #[error("no comparator is calibrated for {0:?}")]
    Uncalibrated(DType),
    /// The same evidence was submitted before.
    #[error("duplicate evidence")]
    DuplicateEvidence,
    /// The evidence shows no offence.
    #[error("evidence shows no offence")]
    NoOffence,
    /// An amount is above its limit.
    #[error("amount {amount} above the limit {limit}")]
    AboveLimit {
        /// The amount.
        amount: u128,
        /// Its limit.
        limit: u128,
    },
    /// An amount differs from the one asked for.
    #[error("amount {got}, not {want}")]
    AmountMismatch {
        /// The amount asked for.
        want: u128,
        /// The amount given.
        got: u128,
    },
    /// The event came too late.
    #[error("deadline {deadline_ms} passed at {now_ms}")]
    DeadlinePassed {
        /// Milliseconds of the deadline.
        deadline_ms: u64,
        /// Milliseconds now.
        now_ms: u64,
    },
    /// Time went backwards.
    #[error("clock went back from {last_ms} to {now_ms}")]
    ClockBackwards {
        /// Latest time seen.
        last_ms: u64,
        /// Time given.
        now_ms: u64,
    },
    /// The state machine has no such transition.
    #[error("illegal transition: {event} in state {state}")]
    IllegalTransition {
        /// The state.
        state: &'static str,
        /// The event.
        event: &'static str,
    },
    /// This party may not act now.
    #[error("not this party's turn")]
    OutOfTurn,
    /// A job of several replicas where one is run, or the other way round.
    #[error("this lifecycle does not run that number of replicas")]
    UnsupportedAssurance,
}

/// `Result` with this crate's [`enum@Error`].
pub type Result<T, E = Error> = core::result::Result<T, E>;
