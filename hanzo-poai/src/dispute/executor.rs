//! The referee's one step.

use crate::hash::{Hash, StateHash};
use crate::job_spec::JobSpec;

/// What one operation comes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum StepResult {
    /// The operation leads from the state before to the state after.
    Equal,
    /// It does not, or the operands are not those of the state before.
    Differs,
    /// Within the bound on rounding nobody can tell.
    Undetermined,
}

/// Executes one operation of a job's fixed list. The only thing a referee has to be able to run.
///
/// # Guarantees
/// The list of operations, its length included, follows from the spec alone, never from the worker. A state
/// commits to everything the next operation reads, so `step` gives [`StepResult::Differs`] for operands that do
/// not open `before`: a worker who cannot show its operands has no case. All referees give the same answers.
pub trait StepExecutor {
    /// Number of operations of the job, at least 1.
    fn ops(&self, job: &JobSpec) -> u64;

    /// The state before the first operation.
    fn initial(&self, job: &JobSpec) -> StateHash;

    /// Whether a last state holds this output.
    fn binds_output(&self, state: &StateHash, output: &Hash) -> bool;

    /// Operation `op`, from 0, applied to the state before with operands that open it.
    fn step(&self, op: u64, before: &StateHash, operands: &[u8], after: &StateHash) -> StepResult;
}

impl<T: StepExecutor + ?Sized> StepExecutor for &T {
    fn ops(&self, job: &JobSpec) -> u64 {
        (**self).ops(job)
    }

    fn initial(&self, job: &JobSpec) -> StateHash {
        (**self).initial(job)
    }

    fn binds_output(&self, state: &StateHash, output: &Hash) -> bool {
        (**self).binds_output(state, output)
    }

    fn step(&self, op: u64, before: &StateHash, operands: &[u8], after: &StateHash) -> StepResult {
        (**self).step(op, before, operands, after)
    }
}
