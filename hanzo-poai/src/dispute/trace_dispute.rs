//! A bisection whose state is known at run time only.

use super::bisection::{BisectionPolicy, Choose, Dispute, Located, Open, Respond};
use super::executor::StepExecutor;
use super::{Bond, Resolved};
use crate::attestation::Attestation;
use crate::dispute_message::{DisputeBody, DisputeMessage, Side};
use crate::error::{Error, Result};
use crate::job_spec::JobSpec;
use crate::units::Millis;

/// Where a response leads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Responded {
    /// The challenger is on turn.
    Choose(Dispute<Choose>),
    /// The trace has one operation.
    Located(Dispute<Located>),
    /// An end of the trace decides.
    Resolved(Dispute<Resolved>),
}

/// Where a choice leads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Chosen {
    /// The worker opens more states.
    Respond(Dispute<Respond>),
    /// One operation is left.
    Located(Dispute<Located>),
}

/// A dispute over a trace that messages are simply fed to. After an `Err` it stands as before, and the clock of
/// the side on turn runs on.
///
/// ```
/// use hanzo_poai::{
///     dispute_id, Attestation, BisectionPolicy, Bond, ChainId, Claim, DisputeBody, DisputeMessage, Epoch, Hash, JobSpec,
///     Millis, ModelHash, PartyId, Resolution, Side, StateHash, StepExecutor, StepResult, Suite, Trace, TraceDispute,
/// };
///
/// /// Counts to 4. A state and the output are the number itself, so a step needs no operands.
/// struct Count;
/// fn number(i: u8) -> StateHash {
///     StateHash::new([i; 32])
/// }
/// impl StepExecutor for Count {
///     fn ops(&self, _: &JobSpec) -> u64 { 4 }
///     fn initial(&self, _: &JobSpec) -> StateHash { number(0) }
///     fn binds_output(&self, state: &StateHash, output: &Hash) -> bool { state.as_bytes() == output }
///     fn step(&self, _: u64, before: &StateHash, _: &[u8], after: &StateHash) -> StepResult {
///         let right = before.as_bytes()[0] + 1 == after.as_bytes()[0];
///         if right { StepResult::Equal } else { StepResult::Differs }
///     }
/// }
///
/// // The worker's third step is wrong, and it signs the trace that follows.
/// let trace = Trace::new([0, 1, 2, 7, 8].map(number).to_vec())?;
/// let spec = JobSpec::builder(ModelHash::new([1; 32]), [2; 32]).build()?;
/// let (chain, challenger) = (ChainId::new([3; 32]), PartyId::new([4; 32]));
/// let claim = Attestation::builder()
///     .suite(Suite::ML_DSA_65).chain(chain).epoch(Epoch::new(7)).worker(PartyId::new([5; 32]))
///     .job(spec.job_id(&chain, &PartyId::new([6; 32]), 0)).model(*spec.model()).input(*spec.input())
///     .output([8; 32]).environment([9; 32]).trace(Some(trace.hash().into()))
///     .build()?;
///
/// let attestation = claim.hash();
/// let id = dispute_id(&attestation, &challenger, 0);
/// let say = |side, round, body| DisputeMessage::new(side, id, round, body);
/// let open = DisputeBody::Open {
///     attestation, challenger, claim: Claim::Trace, n_ops: 4, final_state: number(4), nonce: 0,
/// };
/// let (open, bond) = (say(Side::Challenger, 0, open)?, Bond { challenger, amount: 200 });
/// let policy = BisectionPolicy::default();
/// let mut dispute = TraceDispute::open(&policy, &open, &claim, &spec, &Count, &bond, Millis::new(0))?;
///
/// // The worker shows its states, the challenger says where they part, the referee runs that one step.
/// let points = (0..=4).map(|i| trace.open(i)).collect::<Result<_, _>>()?;
/// dispute.apply(&say(Side::Worker, 0, DisputeBody::Respond { lo: 0, hi: 4, points })?, &Count, Millis::new(1))?;
/// dispute.apply(&say(Side::Challenger, 0, DisputeBody::Choose { lo: 2, hi: 3 })?, &Count, Millis::new(2))?;
/// assert_eq!(dispute.located().unwrap().op(), 2);
/// let prove = DisputeBody::Prove { op: 2, operands: vec![] };
/// dispute.apply(&say(Side::Worker, 1, prove)?, &Count, Millis::new(3))?;
/// assert!(matches!(dispute.outcome().unwrap().resolution, Resolution::WorkerWrong(_)));
/// # Ok::<(), hanzo_poai::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TraceDispute {
    state: State,
    now: Millis,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum State {
    Respond(Dispute<Respond>),
    Choose(Dispute<Choose>),
    Located(Dispute<Located>),
    Resolved(Dispute<Resolved>),
}

impl TraceDispute {
    /// Opens a dispute whose bond is held.
    ///
    /// # Errors
    /// Those of [`Dispute::<Open>::new`] and [`Dispute::bond_held`].
    pub fn open(
        policy: &BisectionPolicy,
        message: &DisputeMessage,
        attestation: &Attestation,
        spec: &JobSpec,
        executor: &impl StepExecutor,
        bond: &Bond,
        now: Millis,
    ) -> Result<Self> {
        let open = Dispute::<Open>::new(policy, message, attestation, spec, executor)?;
        Ok(Self { state: State::Respond(open.bond_held(bond, now)?), now })
    }

    /// Takes a message whose signature the caller has checked. A message that comes after the deadline of the
    /// side on turn is not heard: let time pass with [`TraceDispute::tick`].
    ///
    /// # Errors
    /// Those of the state's own method; [`Error::OutOfTurn`] for a message that the state does not take or
    /// once the dispute is resolved.
    pub fn apply(&mut self, message: &DisputeMessage, executor: &impl StepExecutor, now: Millis) -> Result<()> {
        self.check_forward(now)?;
        let concede = matches!(message.body(), DisputeBody::Concede);
        let next = match &self.state {
            State::Respond(at) if concede => State::Resolved(at.concede(message, now)?),
            State::Choose(at) if concede => State::Resolved(at.concede(message, now)?),
            State::Located(at) if concede => State::Resolved(at.concede(message, now)?),
            State::Respond(at) => match at.respond(message, executor, now)? {
                Responded::Choose(next) => State::Choose(next),
                Responded::Located(next) => State::Located(next),
                Responded::Resolved(next) => State::Resolved(next),
            },
            State::Choose(at) => match at.choose(message, now)? {
                Chosen::Respond(next) => State::Respond(next),
                Chosen::Located(next) => State::Located(next),
            },
            State::Located(at) => State::Resolved(at.prove(message, executor, now)?),
            State::Resolved(_) => return Err(Error::OutOfTurn),
        };
        self.state = next;
        self.now = now;
        Ok(())
    }

    /// Lets time pass.
    ///
    /// # Errors
    /// [`Error::ClockBackwards`].
    pub fn tick(&mut self, now: Millis) -> Result<Option<&Resolved>> {
        self.check_forward(now)?;
        let resolved = match &self.state {
            State::Respond(at) => at.tick(now)?,
            State::Choose(at) => at.tick(now)?,
            State::Located(at) => at.tick(now)?,
            State::Resolved(_) => None,
        };
        self.now = now;
        if let Some(resolved) = resolved {
            self.state = State::Resolved(resolved);
        }
        Ok(self.outcome())
    }

    /// How it ended, once it has.
    pub const fn outcome(&self) -> Option<&Resolved> {
        match &self.state {
            State::Resolved(at) => Some(at.outcome()),
            _ => None,
        }
    }

    /// The side on turn, until the end.
    pub const fn turn(&self) -> Option<Side> {
        match &self.state {
            State::Respond(at) => Some(at.turn()),
            State::Choose(at) => Some(at.turn()),
            State::Located(at) => Some(at.turn()),
            State::Resolved(_) => None,
        }
    }

    /// The round, until the end.
    pub const fn round(&self) -> Option<u32> {
        match &self.state {
            State::Respond(at) => Some(at.round()),
            State::Choose(at) => Some(at.round()),
            State::Located(at) => Some(at.round()),
            State::Resolved(_) => None,
        }
    }

    /// Last millisecond of the side on turn, until the end.
    pub fn deadline(&self) -> Option<Millis> {
        match &self.state {
            State::Respond(at) => Some(at.deadline()),
            State::Choose(at) => Some(at.deadline()),
            State::Located(at) => Some(at.deadline()),
            State::Resolved(_) => None,
        }
    }

    /// The worker's task, where it is on turn to open states.
    pub const fn responding(&self) -> Option<&Dispute<Respond>> {
        match &self.state {
            State::Respond(at) => Some(at),
            _ => None,
        }
    }

    /// The challenger's task, where it is on turn.
    pub const fn choosing(&self) -> Option<&Dispute<Choose>> {
        match &self.state {
            State::Choose(at) => Some(at),
            _ => None,
        }
    }

    /// The operation that is left, once there is one.
    pub const fn located(&self) -> Option<&Dispute<Located>> {
        match &self.state {
            State::Located(at) => Some(at),
            _ => None,
        }
    }

    fn check_forward(&self, now: Millis) -> Result<()> {
        if now < self.now {
            return Err(Error::ClockBackwards { last_ms: self.now.get(), now_ms: now.get() });
        }
        Ok(())
    }
}
