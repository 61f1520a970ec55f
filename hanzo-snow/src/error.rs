//! The error of the crate as a whole.

use crate::analysis::AnalysisError;
use crate::checkpoint::CheckpointError;
use crate::engine::EngineError;
use crate::params::ParamError;
use crate::poll::PollError;
use crate::quorum::QuorumError;
use crate::sampler::{SampleError, SetError};
use crate::snowman::AddError;
use crate::votes::TooManyVotes;

/// Result with the crate's [`Error`].
pub type Result<T, E = Error> = core::result::Result<T, E>;

/// Any error of this crate; each operation returns its own narrower type, which converts into this one.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A parameter set was refused.
    #[error(transparent)]
    Param(#[from] ParamError),
    /// A block was refused.
    #[error(transparent)]
    Add(#[from] AddError),
    /// A poll held too many votes.
    #[error(transparent)]
    Votes(#[from] TooManyVotes),
    /// A poll was not opened.
    #[error(transparent)]
    Poll(#[from] PollError),
    /// A validator set was refused.
    #[error(transparent)]
    Set(#[from] SetError),
    /// A sample could not be drawn.
    #[error(transparent)]
    Sample(#[from] SampleError),
    /// A quorum was not reached.
    #[error(transparent)]
    Quorum(#[from] QuorumError),
    /// A checkpoint or proof was refused.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    /// A figure cannot be computed.
    #[error(transparent)]
    Analysis(#[from] AnalysisError),
    /// An engine refused a call.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// A simulated network could not be built or run on.
    #[cfg(feature = "simulate")]
    #[error(transparent)]
    Simulate(#[from] crate::simulate::SimulateError),
}
