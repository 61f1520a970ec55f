//! k-ary bisection over a committed trace, in states that only allow what comes next.

use alloc::boxed::Box;
use alloc::vec::Vec;

use super::clock::Clock;
use super::executor::{StepExecutor, StepResult};
use super::step_fraud::{StepFault, StepFraud};
use super::trace_dispute::{Chosen, Responded};
use super::{Bond, Resolution, Resolved};
use crate::attestation::Attestation;
use crate::dispute_message::{Claim, DisputeBody, DisputeMessage, Side, split_points};
use crate::error::{Error, Result};
use crate::evidence::Evidence;
use crate::hash::{DisputeId, PartyId, StateHash, TraceHash};
use crate::job_spec::JobSpec;
use crate::trace::StateOpening;
use crate::units::{Epoch, Millis};

/// Arity and clock of a bisection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub struct BisectionPolicy {
    arity: u32,
    side_ms: u64,
    turn_ms: u64,
}

impl BisectionPolicy {
    /// Parts a round splits the trace into (2 to 254), milliseconds each side has in all, and the least it has
    /// at the start of a turn.
    ///
    /// # Errors
    /// [`Error::InvalidField`] for an arity out of range or a turn of 0.
    pub const fn new(arity: u32, side_ms: u64, turn_ms: u64) -> Result<Self> {
        // Round 0 opens the two ends besides the inner points, and a message holds 255.
        if arity < 2 || arity > 254 {
            return Err(Error::InvalidField("arity"));
        }
        if turn_ms == 0 {
            return Err(Error::InvalidField("turn_ms"));
        }
        Ok(Self { arity, side_ms, turn_ms })
    }

    /// Rounds until one of `ops` operations is left: `ceil(log_arity ops)`, at least 1.
    pub fn rounds(&self, ops: u64) -> u32 {
        let (mut rounds, mut width) = (0u32, ops.max(2));
        while width > 1 {
            width = width.div_ceil(self.arity.into());
            rounds += 1;
        }
        rounds
    }

    /// Milliseconds the longest dispute over that many operations takes: `2 (side + (rounds + 1) turn)`.
    pub fn longest_ms(&self, ops: u64) -> u64 {
        let turns = u64::from(self.rounds(ops)) + 1;
        self.side_ms.saturating_add(turns.saturating_mul(self.turn_ms)).saturating_mul(2)
    }
}

impl Default for BisectionPolicy {
    /// 16 parts, 30 minutes a side, at least 60 seconds a turn: 72 minutes for 2^20 operations.
    fn default() -> Self {
        Self { arity: 16, side_ms: 1_800_000, turn_ms: 60_000 }
    }
}

/// A dispute over a committed trace, in one of its states: [`Open`], [`Respond`] and [`Choose`] in turn,
/// [`Located`], and [`Resolved`] at the end. A method gives the next state and leaves this one as it was, so
/// after an `Err` the same side is still on turn and its clock runs on. The caller checks the signature of each
/// message.
///
/// The worker opens states of its trace; the challenger names two neighbours, agreeing at the first and
/// differing at the second; after `ceil(log_k n)` rounds one operation is left, and the referee runs only that.
/// A side that is silent past its clock loses. An honest side never does: an honest worker can open what it
/// committed to and its steps are right; an honest challenger knows the states and always has two neighbours to
/// name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dispute<S> {
    case: Box<Case>,
    state: S,
}

/// What does not change during a dispute.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Case {
    policy: BisectionPolicy,
    id: DisputeId,
    attestation: Attestation,
    trace: TraceHash,
    spec: JobSpec,
    ops: u64,
    challenger: PartyId,
    final_state: StateHash,
}

/// The challenge is well formed; the bond is awaited.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Open(());

/// The worker has to open states between two ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Respond {
    clock: Clock,
    round: u32,
    lo: u64,
    hi: u64,
    /// The ends, once the worker has opened them in round 0.
    ends: Option<[StateOpening; 2]>,
}

/// The challenger has to choose two neighbours.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Choose {
    clock: Clock,
    round: u32,
    /// The ends and what is between them, in order.
    points: Vec<StateOpening>,
}

/// One operation is left: the worker has to show its operands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Located {
    clock: Clock,
    round: u32,
    before: StateOpening,
    after: StateOpening,
}

impl<S> Dispute<S> {
    /// The dispute's id.
    pub const fn id(&self) -> &DisputeId {
        &self.case.id
    }

    /// The attestation it is about.
    pub const fn attestation(&self) -> &Attestation {
        &self.case.attestation
    }

    /// The challenger.
    pub const fn challenger(&self) -> &PartyId {
        &self.case.challenger
    }

    /// Operations of the trace.
    pub const fn ops(&self) -> u64 {
        self.case.ops
    }

    fn next<T>(&self, state: T) -> Dispute<T> {
        Dispute { case: self.case.clone(), state }
    }

    fn resolved(&self, resolution: Resolution) -> Dispute<Resolved> {
        let attestation = self.case.attestation.hash();
        self.next(Resolved { attestation, resolution, withheld: Vec::new() })
    }

    fn fraud(&self, fault: StepFault) -> Result<Dispute<Resolved>> {
        let fraud = StepFraud { attestation: self.case.attestation.clone(), fault };
        Ok(self.resolved(Resolution::WorkerWrong(Evidence::of_step_fraud(&fraud)?)))
    }

    /// A side that gives up or is out of time has lost.
    fn lost_by(&self, side: Side, epoch: Epoch) -> Result<Dispute<Resolved>> {
        let case = &self.case;
        Ok(self.resolved(match side {
            Side::Worker => Resolution::WorkerWrong(Evidence::dispute_default(&case.attestation, epoch, &case.id)?),
            Side::Challenger => Resolution::WorkerRight,
        }))
    }

    /// Checks what all messages share, and that it is `side`'s turn in time.
    fn take(&self, clock: Clock, round: u32, message: &DisputeMessage, side: Side, now: Millis) -> Result<Clock> {
        let clock = clock.act(message.side(), now)?;
        match () {
            () if message.side() != side => Err(Error::OutOfTurn),
            () if *message.dispute() != self.case.id => Err(Error::InvalidField("dispute")),
            () if message.round() != round => Err(Error::Sequence { want: round.into(), got: message.round().into() }),
            () => Ok(clock),
        }
    }

    fn tick_at(&self, clock: Clock, now: Millis) -> Result<Option<Dispute<Resolved>>> {
        let clock = clock.at(now)?;
        if now <= clock.deadline() {
            return Ok(None);
        }
        self.lost_by(clock.turn(), self.case.attestation.epoch()).map(Some)
    }

    fn concede_at(&self, clock: Clock, round: u32, message: &DisputeMessage, now: Millis) -> Result<Dispute<Resolved>> {
        if !matches!(message.body(), DisputeBody::Concede) {
            return Err(Error::InvalidField("kind"));
        }
        let side = clock.turn();
        self.take(clock, round, message, side, now)?;
        self.lost_by(side, self.case.attestation.epoch())
    }
}

impl Dispute<Open> {
    /// A challenge of an attestation with a trace. `spec` is the job's.
    ///
    /// # Errors
    /// [`Error::InvalidField`] for a message that does not open a dispute over this attestation's trace, an
    /// attestation without one, another job's spec, or a number of operations that is not the job's;
    /// [`Error::OutOfTurn`] for a worker that challenges itself.
    pub fn new(
        policy: &BisectionPolicy,
        message: &DisputeMessage,
        attestation: &Attestation,
        spec: &JobSpec,
        executor: &impl StepExecutor,
    ) -> Result<Self> {
        let DisputeBody::Open { attestation: hash, challenger, claim, n_ops, final_state, .. } = message.body() else {
            return Err(Error::InvalidField("kind"));
        };
        let trace = attestation.trace().ok_or(Error::InvalidField("trace"))?;
        match () {
            () if message.side() != Side::Challenger => Err(Error::InvalidField("side")),
            () if *claim != Claim::Trace => Err(Error::InvalidField("claim")),
            () if *hash != attestation.hash() => Err(Error::InvalidField("attestation")),
            () if attestation.input() != *spec.input() => Err(Error::InvalidField("spec")),
            () if attestation.model() != *spec.model() => Err(Error::InvalidField("spec")),
            () if *n_ops == 0 || *n_ops != executor.ops(spec) => Err(Error::InvalidField("n_ops")),
            () if *challenger == attestation.worker() => Err(Error::OutOfTurn),
            () => Ok(()),
        }?;
        let case = Case {
            policy: *policy,
            id: *message.dispute(),
            attestation: attestation.clone(),
            trace: trace.into(),
            spec: spec.clone(),
            ops: *n_ops,
            challenger: *challenger,
            final_state: *final_state,
        };
        Ok(Self { case: Box::new(case), state: Open(()) })
    }

    /// The bond is held: the worker's clock starts.
    ///
    /// # Errors
    /// [`Error::InvalidField`] for a bond of 0 or of somebody else.
    pub fn bond_held(&self, bond: &Bond, now: Millis) -> Result<Dispute<Respond>> {
        if bond.amount == 0 || bond.challenger != self.case.challenger {
            return Err(Error::InvalidField("bond"));
        }
        let policy = &self.case.policy;
        let clock = Clock::start(policy.side_ms, policy.turn_ms, now);
        Ok(self.next(Respond { clock, round: 0, lo: 0, hi: self.case.ops, ends: None }))
    }
}

impl Dispute<Respond> {
    /// The worker opens the points between the ends, all of [`split_points`] and no other, in order; in round
    /// 0 also the ends themselves, before and after them. A first state that is not the job's or a last one
    /// that does not hold the output lose at once; a challenger who agrees with the last state has no case.
    ///
    /// # Errors
    /// [`Error::OutOfTurn`], [`Error::Sequence`] for another round, [`Error::InvalidField`] for other ends or
    /// points, [`Error::BadProof`], [`Error::DeadlinePassed`], [`Error::ClockBackwards`].
    pub fn respond(&self, message: &DisputeMessage, executor: &impl StepExecutor, now: Millis) -> Result<Responded> {
        let Respond { clock, round, lo, hi, ends } = &self.state;
        let clock = self.take(*clock, *round, message, Side::Worker, now)?;
        let DisputeBody::Respond { lo: said_lo, hi: said_hi, points } = message.body() else {
            return Err(Error::InvalidField("kind"));
        };
        if (said_lo, said_hi) != (lo, hi) {
            return Err(Error::InvalidField("ends"));
        }
        let mut want = split_points(*lo, *hi, self.case.policy.arity)?;
        if ends.is_none() {
            want.insert(0, *lo);
            want.push(*hi);
        }
        if !points.iter().map(|point| point.index).eq(want) {
            return Err(Error::InvalidField("points"));
        }
        for point in points {
            point.verify(&self.case.trace, self.case.ops)?;
        }
        let all = match ends {
            None => points.clone(),
            Some([first, last]) => {
                let mut all = Vec::with_capacity(points.len() + 2);
                all.push(first.clone());
                all.extend_from_slice(points);
                all.push(last.clone());
                all
            }
        };
        if ends.is_none() {
            let (Some(first), Some(last)) = (all.first(), all.last()) else {
                return Err(Error::InvalidField("points"));
            };
            if first.state != executor.initial(&self.case.spec) {
                return Ok(Responded::Resolved(self.fraud(StepFault::Start(first.clone()))?));
            }
            if !executor.binds_output(&last.state, &self.case.attestation.output()) {
                return Ok(Responded::Resolved(self.fraud(StepFault::Output(last.clone()))?));
            }
            if last.state == self.case.final_state {
                return Ok(Responded::Resolved(self.resolved(Resolution::WorkerRight)));
            }
        }
        if let [before, after] = all.as_slice() {
            let clock = clock.pass(Side::Worker);
            let located = Located { clock, round: *round, before: before.clone(), after: after.clone() };
            return Ok(Responded::Located(self.next(located)));
        }
        Ok(Responded::Choose(self.next(Choose { clock: clock.pass(Side::Challenger), round: *round, points: all })))
    }

    /// The ends the worker has to open states between.
    pub const fn ends(&self) -> (u64, u64) {
        (self.state.lo, self.state.hi)
    }
}

impl Dispute<Choose> {
    /// The challenger agrees at `lo` and differs at `hi`, two neighbours of what was opened.
    ///
    /// # Errors
    /// [`Error::OutOfTurn`], [`Error::Sequence`], [`Error::InvalidField`] for points that are no neighbours,
    /// [`Error::DeadlinePassed`], [`Error::ClockBackwards`].
    pub fn choose(&self, message: &DisputeMessage, now: Millis) -> Result<Chosen> {
        let Choose { clock, round, points } = &self.state;
        let clock = self.take(*clock, *round, message, Side::Challenger, now)?;
        let DisputeBody::Choose { lo, hi } = message.body() else {
            return Err(Error::InvalidField("kind"));
        };
        let pair = points.windows(2).find(|pair| matches!(pair, [a, b] if (a.index, b.index) == (*lo, *hi)));
        let Some([before, after]) = pair else {
            return Err(Error::InvalidField("neighbours"));
        };
        let (clock, round) = (clock.pass(Side::Worker), round.checked_add(1).ok_or(Error::Overflow)?);
        let (before, after) = (before.clone(), after.clone());
        if hi - lo == 1 {
            return Ok(Chosen::Located(self.next(Located { clock, round, before, after })));
        }
        let ends = Some([before, after]);
        Ok(Chosen::Respond(self.next(Respond { clock, round, lo: *lo, hi: *hi, ends })))
    }

    /// The opened states in order, ends included.
    pub fn points(&self) -> &[StateOpening] {
        &self.state.points
    }
}

impl Dispute<Located> {
    /// The worker shows the operands of the one operation, and the referee runs it.
    ///
    /// # Errors
    /// [`Error::OutOfTurn`], [`Error::Sequence`], [`Error::InvalidField`] for another operation,
    /// [`Error::DeadlinePassed`], [`Error::ClockBackwards`].
    pub fn prove(
        &self,
        message: &DisputeMessage,
        executor: &impl StepExecutor,
        now: Millis,
    ) -> Result<Dispute<Resolved>> {
        let Located { clock, round, before, after } = &self.state;
        self.take(*clock, *round, message, Side::Worker, now)?;
        let DisputeBody::Prove { op, operands } = message.body() else {
            return Err(Error::InvalidField("kind"));
        };
        if *op != before.index {
            return Err(Error::InvalidField("op"));
        }
        match executor.step(*op, &before.state, operands, &after.state) {
            StepResult::Equal => Ok(self.resolved(Resolution::WorkerRight)),
            StepResult::Undetermined => Ok(self.resolved(Resolution::Undetermined)),
            StepResult::Differs => {
                let (before, after, operands) = (before.clone(), after.clone(), operands.clone());
                self.fraud(StepFault::Step { before, after, operands })
            }
        }
    }

    /// The operation that is left.
    pub const fn op(&self) -> u64 {
        self.state.before.index
    }
}

macro_rules! on_the_clock {
    ($($state:ident)*) => {$(
        impl Dispute<$state> {
            /// The round, from 0.
            pub const fn round(&self) -> u32 {
                self.state.round
            }

            /// The side on turn.
            pub const fn turn(&self) -> Side {
                self.state.clock.turn()
            }

            /// Its last millisecond.
            pub fn deadline(&self) -> Millis {
                self.state.clock.deadline()
            }

            /// Lets time pass: past its deadline the side on turn has lost.
            ///
            /// # Errors
            /// [`Error::ClockBackwards`].
            pub fn tick(&self, now: Millis) -> Result<Option<Dispute<Resolved>>> {
                self.tick_at(self.state.clock, now)
            }

            /// The side on turn gives up.
            ///
            /// # Errors
            /// [`Error::OutOfTurn`], [`Error::Sequence`], [`Error::InvalidField`], [`Error::DeadlinePassed`],
            /// [`Error::ClockBackwards`].
            pub fn concede(&self, message: &DisputeMessage, now: Millis) -> Result<Dispute<Resolved>> {
                self.concede_at(self.state.clock, self.state.round, message, now)
            }
        }
    )*};
}

on_the_clock! { Respond Choose Located }

impl Dispute<Resolved> {
    /// How it ended.
    pub const fn outcome(&self) -> &Resolved {
        &self.state
    }

    /// How it ended, for [`Event::Resolved`](crate::Event::Resolved).
    pub fn into_outcome(self) -> Resolved {
        self.state
    }
}
