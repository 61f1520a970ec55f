//! The crate's one error type.

/// Why a call was refused. The arguments of a refused call are left as they were.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    // --- hidden Markov models ---
    /// A model without states or without symbols.
    #[error("the model has no states or no symbols")]
    EmptyModel,
    /// A length, a row or an observation has the wrong size.
    #[error("{what}: expected length {expected}, found {found}")]
    DimensionMismatch {
        /// What was measured.
        what: &'static str,
        /// The length that fits.
        expected: usize,
        /// The length that came.
        found: usize,
    },
    /// A negative, NaN or infinite probability.
    #[error("{what}[{row}][{col}] = {value} is not a probability")]
    NotAProbability {
        /// The table.
        what: &'static str,
        /// The row, 0 for a vector.
        row: usize,
        /// The column.
        col: usize,
        /// The offending value.
        value: f64,
    },
    /// A row that is not a distribution (off by more than 1e-6).
    #[error("{what} row {row} sums to {sum}, not 1")]
    RowSum {
        /// The table.
        what: &'static str,
        /// The row, 0 for a vector.
        row: usize,
        /// Its sum.
        sum: f64,
    },
    /// The same state or symbol label twice.
    #[error("{what} label {index} repeats an earlier one")]
    DuplicateLabel {
        /// `"state"` or `"symbol"`.
        what: &'static str,
        /// Index of the second occurrence.
        index: usize,
    },
    /// An observation outside the alphabet.
    #[error("the observation at position {position} is not in the alphabet")]
    UnknownObservation {
        /// Step of the observation.
        position: usize,
    },
    /// A NaN or infinite observation where no missing value is allowed.
    #[error("the observation at position {position} is not finite")]
    NonFiniteObservation {
        /// Step of the observation.
        position: usize,
    },
    /// A mean that is not finite, or a variance or rate that is not positive and finite.
    #[error("{what} of state {state} is outside its range")]
    InvalidParameter {
        /// The parameter.
        what: &'static str,
        /// The state.
        state: usize,
    },
    /// A covariance matrix that is not symmetric positive definite.
    #[error("the covariance of state {state} is not symmetric positive definite")]
    NotPositiveDefinite {
        /// The state.
        state: usize,
    },
    /// A chain that cannot reach every state from every other has no single stationary distribution to start from.
    #[error("the transition matrix is not irreducible")]
    NotErgodic,
    /// A sequence that the model gives probability 0.
    #[error("sequence {sequence} has probability 0 from position {position} on")]
    ImpossibleSequence {
        /// Index of the sequence, 0 for a single one.
        sequence: usize,
        /// First step that no live state survives.
        position: usize,
    },
    /// No observation to learn from.
    #[error("there is no observation to learn from")]
    NoData,
    /// An option outside its range.
    #[error("option `{name}` is out of range")]
    InvalidOption {
        /// The option.
        name: &'static str,
    },

    // --- market maker ---
    /// A NaN or infinite observation, feature, price or time step.
    #[error("{what} is not finite")]
    NotFinite {
        /// What was checked.
        what: &'static str,
    },
    /// A configuration value outside its range.
    #[error("configuration field `{field}` is invalid")]
    InvalidConfig {
        /// The field.
        field: &'static str,
    },
    /// No model passes the hard filters.
    #[error("no eligible model ({} rejected)", rejections.len())]
    NoEligibleModel {
        /// Every filter that some model did not pass, model by model.
        rejections: Vec<crate::market::Rejection>,
    },
    /// The caller's budget or rate limit does not allow the request.
    #[error("not admitted: {denial}")]
    NotAdmitted {
        /// Why.
        denial: crate::market::Denial,
    },
    /// A second outcome for one decision.
    #[error("decision {id} already has an outcome")]
    DuplicateOutcome {
        /// The decision.
        id: u64,
    },
    /// An outcome for a decision that was never made or is forgotten.
    #[error("decision {id} is unknown")]
    UnknownDecision {
        /// The decision.
        id: u64,
    },
    /// A value outside its closed range.
    #[error("{what} is out of range")]
    OutOfRange {
        /// What was checked.
        what: &'static str,
    },
    /// An amount of zero where something must be traded.
    #[error("the amount is zero")]
    ZeroAmount,
    /// The reserve cannot cover the trade.
    #[error("insufficient liquidity")]
    InsufficientLiquidity,
    /// A reserve, product or price leaves its integer type.
    #[error("integer overflow")]
    Overflow,
    /// The quote's life is over.
    #[error("the quote expired at {expires_at} ms")]
    QuoteExpired {
        /// First millisecond at which it no longer holds.
        expires_at: u64,
    },
    /// The quote was already executed.
    #[error("the quote was already executed")]
    QuoteReplayed,
    /// The price moved beyond what the quote or the caller allows.
    #[error("price {actual} exceeds the limit {limit}")]
    SlippageExceeded {
        /// Highest price that is allowed.
        limit: u128,
        /// Price now.
        actual: u128,
    },
    /// A time earlier than one already seen.
    #[error("the clock ran backwards: {now} ms after {seen} ms")]
    ClockBackwards {
        /// Latest time seen.
        seen: u64,
        /// The time that was passed.
        now: u64,
    },
    /// An integration step above the stability bound.
    #[error("step {h} is too large, the largest is {max}")]
    StepTooLarge {
        /// The step asked for.
        h: f64,
        /// The largest admissible one.
        max: f64,
    },
    /// The integration left its energy bound or the finite numbers.
    #[error("the integration diverged (energy error {energy_error})")]
    Diverged {
        /// Absolute energy error; infinite when a coordinate left the finite numbers.
        energy_error: f64,
    },
    /// Bytes that are no snapshot of this version, of this configuration, or of a possible state.
    #[error("bad snapshot: {what}")]
    BadSnapshot {
        /// What is wrong.
        what: &'static str,
    },
    /// A planning horizon that does not fall apart into steps.
    #[error("factor {factor} remembers its past under a control, so a horizon is not a sum of steps")]
    NotSeparable {
        /// The factor.
        factor: usize,
    },
    /// Fewer nodes than were asked for.
    #[error("{available} nodes cannot give {wanted} distinct ones")]
    NotEnoughNodes {
        /// Nodes that could be drawn.
        available: usize,
        /// Nodes asked for.
        wanted: usize,
    },
    /// A tenant name over 256 bytes, or one tenant too many.
    #[error("tenant limit reached")]
    TenantLimit,
}

/// The crate's result.
pub type Result<T, E = Error> = std::result::Result<T, E>;
