//! The error of the crate as a whole.

use crate::analysis::AnalysisError;
use crate::checkpoint::CheckpointError;
use crate::committee::{MessageError, SignatureError};
use crate::engine::EngineError;
use crate::fastpath::TxError;
use crate::params::ParamError;
use crate::poll::PollError;
use crate::quorum::QuorumError;
use crate::sampler::{SampleError, SetError};
use crate::settlement::ReplicaError;
use crate::snowman::AddError;
use crate::votes::TooManyVotes;
use crate::wire::WireError;

/// Result with the crate's [`Error`].
pub type Result<T, E = Error> = core::result::Result<T, E>;

/// Any error of this crate but those of a store: each operation returns its own narrower type, which converts into this one.
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
    /// A message was refused.
    #[error(transparent)]
    Message(#[from] MessageError),
    /// Bytes are no message.
    #[error(transparent)]
    Wire(#[from] WireError),
    /// A signature was refused or could not be made.
    #[error(transparent)]
    Signature(#[from] SignatureError),
    /// A transaction was refused.
    #[error(transparent)]
    Tx(#[from] TxError),
    /// A replica or a node of both tracks refused a call.
    #[error(transparent)]
    Replica(#[from] ReplicaError),
    /// A simulated network could not be built or run on.
    #[cfg(feature = "simulate")]
    #[error(transparent)]
    Simulate(#[from] crate::simulate::SimulateError),
}
