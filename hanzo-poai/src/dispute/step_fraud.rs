//! One wrong step of a committed trace, as a proof that stands alone.

use alloc::vec::Vec;

use crate::attestation::Attestation;
use crate::dispute::executor::{StepExecutor, StepResult};
use crate::encoding::Reader;
use crate::error::{Error, Result};
use crate::hash::TraceHash;
use crate::job_spec::JobSpec;
use crate::merkle::read_path;
use crate::trace::StateOpening;

/// What is wrong with a trace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StepFault {
    /// The first state is not the job's.
    Start(StateOpening),
    /// The last state does not hold the attested output.
    Output(StateOpening),
    /// An operation does not lead from one state to the next.
    Step {
        /// The state before it, at the operation's own index.
        before: StateOpening,
        /// The state after it.
        after: StateOpening,
        /// Operands that the worker showed, at most 2^26 bytes.
        operands: Vec<u8>,
    },
}

/// A fault of the trace that an attestation commits to: at most 4 KiB and the operands, for 2^32 operations.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StepFraud {
    /// The attestation.
    pub attestation: Attestation,
    /// The fault.
    pub fault: StepFault,
}

impl StepFraud {
    /// Checks the openings against the attested trace and runs the one operation.
    ///
    /// # Errors
    /// [`Error::InvalidField`] for an attestation without a trace, of another spec, or openings at other
    /// places; [`Error::BadProof`]; [`Error::NoOffence`] where the step is right or cannot be told.
    pub fn verify(&self, spec: &JobSpec, executor: &impl StepExecutor) -> Result<()> {
        if self.attestation.input() != *spec.input() || self.attestation.model() != *spec.model() {
            return Err(Error::InvalidField("spec"));
        }
        let trace = TraceHash::new(self.attestation.trace().ok_or(Error::InvalidField("trace"))?);
        let ops = executor.ops(spec);
        let wrong = match &self.fault {
            StepFault::Start(first) => {
                at(first, 0)?;
                first.verify(&trace, ops)?;
                first.state != executor.initial(spec)
            }
            StepFault::Output(last) => {
                at(last, ops)?;
                last.verify(&trace, ops)?;
                !executor.binds_output(&last.state, &self.attestation.output())
            }
            StepFault::Step { before, after, operands } => {
                at(after, before.index.checked_add(1).ok_or(Error::BadProof)?)?;
                before.verify(&trace, ops)?;
                after.verify(&trace, ops)?;
                executor.step(before.index, &before.state, operands, &after.state) == StepResult::Differs
            }
        };
        if wrong { Ok(()) } else { Err(Error::NoOffence) }
    }

    /// Canonical bytes: the attestation, the kind of fault (1 start, 2 output, 3 step), the openings (index
    /// u64, state, length u8, path) and for a step the operands with their length u32.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = self.attestation.encode().to_vec();
        match &self.fault {
            StepFault::Start(first) => {
                out.push(1);
                put(&mut out, first);
            }
            StepFault::Output(last) => {
                out.push(2);
                put(&mut out, last);
            }
            StepFault::Step { before, after, operands } => {
                out.push(3);
                put(&mut out, before);
                put(&mut out, after);
                out.extend_from_slice(&(operands.len() as u32).to_be_bytes());
                out.extend_from_slice(operands);
            }
        }
        out
    }

    /// Strict decoding of [`StepFraud::encode`].
    ///
    /// # Errors
    /// Whatever is wrong with the bytes; [`Error::Length`] for operands past 2^26 bytes.
    pub fn decode(bytes: &[u8]) -> Result<Self> {
        let mut reader = Reader::new(bytes);
        let attestation = Attestation::decode(reader.slice(Attestation::LEN)?)?;
        let fault = match reader.u8()? {
            1 => StepFault::Start(opening(&mut reader)?),
            2 => StepFault::Output(opening(&mut reader)?),
            3 => {
                let (before, after) = (opening(&mut reader)?, opening(&mut reader)?);
                let len = reader.u32()?;
                if len > MAX_OPERANDS {
                    return Err(Error::Length { want: MAX_OPERANDS.into(), got: len.into() });
                }
                StepFault::Step { before, after, operands: reader.slice(len as usize)?.to_vec() }
            }
            other => return Err(Error::UnknownVariant { field: "step fault", value: other.into() }),
        };
        reader.finish()?;
        Ok(Self { attestation, fault })
    }
}

const fn at(opening: &StateOpening, index: u64) -> Result<()> {
    if opening.index == index { Ok(()) } else { Err(Error::InvalidField("index")) }
}

fn put(out: &mut Vec<u8>, opening: &StateOpening) {
    out.extend_from_slice(&opening.index.to_be_bytes());
    out.extend_from_slice(opening.state.as_bytes());
    // A path that verifies has at most 64 hashes.
    out.push(opening.path.len() as u8);
    out.extend(opening.path.iter().flatten());
}

fn opening(reader: &mut Reader<'_>) -> Result<StateOpening> {
    Ok(StateOpening { index: reader.u64()?, state: reader.hash()?, path: read_path(reader)? })
}

const MAX_OPERANDS: u32 = 1 << 26;
