//! Bisection over a committed trace, against every schedule an adversary can choose.

use crate::support::common;

use crate::support::common::{CHAIN, EPOCH, INPUT, MODEL, claim, directory, key, party, spec};
use hanzo_poai::*;
use proptest::prelude::*;
use sha2::{Digest as _, Sha256};

const WORKER: u8 = 7;
const CHALLENGER: u8 = 60;

/// A job of `ops` steps of a 64-bit mixer. A state is the hash of position and value; the value is the operand.
#[derive(Clone, Copy)]
struct Mixer {
    ops: u64,
}

fn state(at: u64, value: u64) -> StateHash {
    StateHash::new(Sha256::digest([at.to_be_bytes(), value.to_be_bytes()].concat()).into())
}

fn mix(value: u64) -> u64 {
    (value ^ value >> 29).wrapping_mul(0xbf58_476d_1ce4_e5b9).rotate_left(17)
}

fn output(value: u64) -> Hash {
    Sha256::digest(value.to_be_bytes()).into()
}

const START: u64 = 42;

impl Mixer {
    /// Values at every point, with an error slipped in before `wrong`.
    fn values(&self, wrong: Option<u64>) -> Vec<u64> {
        let mut values = vec![START];
        for op in 0..self.ops {
            let next = mix(*values.last().unwrap());
            values.push(if wrong == Some(op) { next ^ 1 } else { next });
        }
        values
    }
}

impl StepExecutor for Mixer {
    fn ops(&self, _: &JobSpec) -> u64 {
        self.ops
    }

    fn initial(&self, _: &JobSpec) -> StateHash {
        state(0, START)
    }

    fn binds_output(&self, last: &StateHash, out: &Hash) -> bool {
        // The output is the hash of the last value; states of a test are few enough to carry it in the clear.
        KNOWN.with(|known| known.borrow().get(last.as_bytes()).is_some_and(|value| output(*value) == *out))
    }

    fn step(&self, op: u64, before: &StateHash, operands: &[u8], after: &StateHash) -> StepResult {
        let Ok(raw) = <[u8; 8]>::try_from(operands) else { return StepResult::Differs };
        let value = u64::from_be_bytes(raw);
        let right = state(op, value) == *before && state(op + 1, mix(value)) == *after;
        if right { StepResult::Equal } else { StepResult::Differs }
    }
}

thread_local! {
    static KNOWN: std::cell::RefCell<std::collections::HashMap<Hash, u64>> = Default::default();
}

/// A worker's or challenger's view of a run.
struct Run {
    values: Vec<u64>,
    trace: Trace,
}

impl Run {
    fn new(values: Vec<u64>) -> Self {
        let states: Vec<StateHash> = values.iter().zip(0u64..).map(|(value, at)| state(at, *value)).collect();
        let last = *values.last().unwrap();
        KNOWN.with(|known| known.borrow_mut().insert(*states.last().unwrap().as_bytes(), last));
        Self { values, trace: Trace::new(states).unwrap() }
    }

    fn last(&self) -> StateHash {
        self.trace.open(self.trace.ops()).unwrap().state
    }

    fn attestation(&self) -> Attestation {
        let job = spec().job_id(&CHAIN, &party(1), 0);
        claim(WORKER, job)
            .output(output(*self.values.last().unwrap()))
            .trace(Some(self.trace.hash().into()))
            .build()
            .unwrap()
    }

    fn respond(&self, id: DisputeId, task: &Dispute<Respond>, arity: u32) -> DisputeMessage {
        let (lo, hi) = task.ends();
        let mut at = split_points(lo, hi, arity).unwrap();
        if task.round() == 0 {
            at.insert(0, lo);
            at.push(hi);
        }
        let points = at.into_iter().map(|at| self.trace.open(at).unwrap()).collect();
        message(Side::Worker, id, task.round(), DisputeBody::Respond { lo, hi, points })
    }

    fn choose(&self, id: DisputeId, task: &Dispute<Choose>) -> Option<DisputeMessage> {
        let differs = |point: &StateOpening| self.trace.open(point.index).unwrap().state != point.state;
        let pair = task.points().windows(2).find(|pair| !differs(&pair[0]) && differs(&pair[1]))?;
        let body = DisputeBody::Choose { lo: pair[0].index, hi: pair[1].index };
        Some(message(Side::Challenger, id, task.round(), body))
    }

    fn prove(&self, id: DisputeId, task: &Dispute<Located>) -> DisputeMessage {
        let operands = self.values[task.op() as usize].to_be_bytes().to_vec();
        message(Side::Worker, id, task.round(), DisputeBody::Prove { op: task.op(), operands })
    }
}

fn message(side: Side, id: DisputeId, round: u32, body: DisputeBody) -> DisputeMessage {
    DisputeMessage::new(side, id, round, body).unwrap()
}

fn opening(attestation: &Attestation, ops: u64, final_state: StateHash) -> DisputeMessage {
    let (hash, challenger) = (attestation.hash(), party(CHALLENGER));
    let body =
        DisputeBody::Open { attestation: hash, challenger, claim: Claim::Trace, n_ops: ops, final_state, nonce: 3 };
    message(Side::Challenger, dispute_id(&hash, &challenger, 3), 0, body)
}

const BOND: Bond = Bond { challenger: PartyId::new([CHALLENGER; 32]), amount: 200 };

fn open(policy: &BisectionPolicy, mixer: &Mixer, worker: &Run, challenger: &Run) -> TraceDispute {
    let att = worker.attestation();
    let opening = opening(&att, mixer.ops, challenger.last());
    TraceDispute::open(policy, &opening, &att, &spec(), mixer, &BOND, Millis::new(0)).unwrap()
}

/// Plays both sides as they are, in time, and returns the number of choices made.
fn play(dispute: &mut TraceDispute, mixer: &Mixer, worker: &Run, challenger: &Run, arity: u32) -> u32 {
    let mut choices = 0;
    for now in 1.. {
        let now = Millis::new(now);
        let (id, next);
        if let Some(task) = dispute.responding() {
            id = *task.id();
            next = worker.respond(id, task, arity);
        } else if let Some(task) = dispute.choosing() {
            id = *task.id();
            next = challenger.choose(id, task).unwrap();
            choices += 1;
        } else if let Some(task) = dispute.located() {
            id = *task.id();
            next = worker.prove(id, task);
        } else {
            break;
        }
        // Every message survives the wire.
        let next = DisputeMessage::decode(&next.encode()).unwrap();
        dispute.apply(&next, mixer, now).unwrap();
    }
    choices
}

#[test]
fn a_million_steps_in_five_rounds() {
    let (mixer, policy) = (Mixer { ops: 1 << 20 }, BisectionPolicy::default());
    assert_eq!((policy.rounds(1 << 20), policy.longest_ms(1 << 20)), (5, 72 * 60_000));
    let (honest, wrong) = (Run::new(mixer.values(None)), Run::new(mixer.values(Some(777_777))));
    let mut dispute = open(&policy, &mixer, &wrong, &honest);
    assert_eq!(play(&mut dispute, &mixer, &wrong, &honest, 16), 5);
    let outcome = dispute.outcome().unwrap();
    let Resolution::WorkerWrong(evidence) = &outcome.resolution else { panic!("{outcome:?}") };
    assert_eq!((evidence.kind(), evidence.family()), (EvidenceKind::StepFraud, Family::WrongOutput));
    assert!(evidence.body().len() < 4_096, "{} bytes", evidence.body().len());

    // Anybody checks the bytes alone.
    let fraud = StepFraud::decode(evidence.body()).unwrap();
    assert_eq!(fraud.encode(), evidence.body());
    let StepFault::Step { before, .. } = &fraud.fault else { panic!() };
    assert_eq!(before.index, 777_777);
    let signed = Signed::<_, common::Sig>::sign(fraud.attestation.clone(), &key(WORKER)).unwrap();
    let provenance = Provenance::Signature(signed.signature());
    let again = Evidence::step_fraud(&fraud, &provenance, &directory([WORKER]), &spec(), &mixer).unwrap();
    assert_eq!(&again, evidence);
    let order = Registry::new(SlashPolicy::default()).submit(&again, party(CHALLENGER)).unwrap();
    assert_eq!((order.bps, order.contest_ms), (BasisPoints::ALL, 0));

    // And nobody can make one against the honest run, or sell it as another's.
    let mut dispute = open(&policy, &mixer, &honest, &wrong);
    assert_eq!(play(&mut dispute, &mixer, &honest, &wrong, 16), 5);
    assert_eq!(dispute.outcome().unwrap().resolution, Resolution::WorkerRight);
    let att = honest.attestation();
    let operands = honest.values[5].to_be_bytes().to_vec();
    let [before, after] = [5, 6].map(|at| honest.trace.open(at).unwrap());
    let right = StepFraud {
        attestation: att.clone(),
        fault: StepFault::Step { before: before.clone(), after: after.clone(), operands: operands.clone() },
    };
    assert_eq!(right.verify(&spec(), &mixer), Err(Error::NoOffence));
    let foreign = StepFraud { attestation: att.clone(), fault: fraud.fault.clone() };
    assert_eq!(foreign.verify(&spec(), &mixer), Err(Error::BadProof));
    let skip = StepFault::Step { before, after: honest.trace.open(8).unwrap(), operands };
    assert_eq!(
        StepFraud { attestation: att.clone(), fault: skip }.verify(&spec(), &mixer),
        Err(Error::InvalidField("index"))
    );
    let start = StepFault::Start(honest.trace.open(0).unwrap());
    assert_eq!(StepFraud { attestation: att.clone(), fault: start }.verify(&spec(), &mixer), Err(Error::NoOffence));
    let end = StepFault::Output(honest.trace.open(1 << 20).unwrap());
    assert_eq!(StepFraud { attestation: att, fault: end }.verify(&spec(), &mixer), Err(Error::NoOffence));
    let other = JobSpec::builder(MODEL, [9; 32]).build().unwrap();
    assert_eq!(fraud.verify(&other, &mixer), Err(Error::InvalidField("spec")));
}

#[test]
fn ends_that_do_not_fit_lose_at_once() {
    let (mixer, policy) = (Mixer { ops: 20 }, BisectionPolicy::default());
    let honest = Run::new(mixer.values(None));
    // Another first state, though every step after it is right.
    let mut values = vec![START + 1];
    values.extend((0..20).scan(START + 1, |value, _| {
        *value = mix(*value);
        Some(*value)
    }));
    let elsewhere = Run::new(values);
    let mut dispute = open(&policy, &mixer, &elsewhere, &honest);
    play(&mut dispute, &mixer, &elsewhere, &honest, 16);
    let Resolution::WorkerWrong(evidence) = &dispute.outcome().unwrap().resolution else { panic!() };
    let fraud = StepFraud::decode(evidence.body()).unwrap();
    assert!(matches!(fraud.fault, StepFault::Start(_)));
    fraud.verify(&spec(), &mixer).unwrap();

    // A right trace under another output.
    let att = claim(WORKER, honest.attestation().job()).trace(Some(honest.trace.hash().into())).build().unwrap();
    let start = opening(&att, 20, state(20, 1));
    let mut dispute = TraceDispute::open(&policy, &start, &att, &spec(), &mixer, &BOND, Millis::new(0)).unwrap();
    let answer = honest.respond(*start.dispute(), dispute.responding().unwrap(), 16);
    dispute.apply(&answer, &mixer, Millis::new(1)).unwrap();
    let Resolution::WorkerWrong(evidence) = &dispute.outcome().unwrap().resolution else { panic!() };
    assert!(matches!(StepFraud::decode(evidence.body()).unwrap().fault, StepFault::Output(_)));

    // A challenger who agrees with the last state has no case.
    let mut dispute = open(&policy, &mixer, &honest, &honest);
    let answer = honest.respond(*start.dispute(), dispute.responding().unwrap(), 16);
    assert_eq!(dispute.apply(&answer, &mixer, Millis::new(1)), Err(Error::InvalidField("dispute")));
    let id = *dispute.responding().unwrap().id();
    let answer = honest.respond(id, dispute.responding().unwrap(), 16);
    dispute.apply(&answer, &mixer, Millis::new(1)).unwrap();
    assert_eq!(dispute.outcome().unwrap().resolution, Resolution::WorkerRight);

    // One operation needs no choice.
    let mixer = Mixer { ops: 1 };
    let (honest, wrong) = (Run::new(mixer.values(None)), Run::new(mixer.values(Some(0))));
    let mut dispute = open(&policy, &mixer, &wrong, &honest);
    assert_eq!(play(&mut dispute, &mixer, &wrong, &honest, 16), 0);
    assert!(matches!(dispute.outcome().unwrap().resolution, Resolution::WorkerWrong(_)));
}

#[test]
fn challenges_that_are_refused() {
    let (mixer, policy) = (Mixer { ops: 20 }, BisectionPolicy::default());
    let honest = Run::new(mixer.values(None));
    let att = honest.attestation();
    let new = |message: &DisputeMessage, att: &Attestation, spec: &JobSpec| {
        Dispute::<Open>::new(&policy, message, att, spec, &mixer).map(|_| ())
    };
    let good = opening(&att, 20, state(20, 1));
    assert_eq!(new(&good, &att, &spec()), Ok(()));
    // The number of operations is the job's: a challenger cannot make the worker's proofs fail with another.
    assert_eq!(new(&opening(&att, 21, state(20, 1)), &att, &spec()), Err(Error::InvalidField("n_ops")));
    let plain = claim(WORKER, att.job()).build().unwrap();
    assert_eq!(new(&opening(&plain, 20, state(20, 1)), &plain, &spec()), Err(Error::InvalidField("trace")));
    assert_eq!(new(&good, &plain, &spec()), Err(Error::InvalidField("trace")));
    let other = JobSpec::builder(MODEL, [9; 32]).build().unwrap();
    assert_eq!(new(&good, &att, &other), Err(Error::InvalidField("spec")));
    assert_ne!(INPUT, [9; 32]);
    let body = |challenger, claim| DisputeBody::Open {
        attestation: att.hash(),
        challenger,
        claim,
        n_ops: 20,
        final_state: state(0, 0),
        nonce: 0,
    };
    let made =
        |side, challenger, claim| message(side, dispute_id(&att.hash(), &challenger, 0), 0, body(challenger, claim));
    let only = made(Side::Challenger, party(CHALLENGER), Claim::OutputOnly);
    assert_eq!(new(&only, &att, &spec()), Err(Error::InvalidField("claim")));
    let by_worker = made(Side::Worker, party(CHALLENGER), Claim::Trace);
    assert_eq!(new(&by_worker, &att, &spec()), Err(Error::InvalidField("side")));
    let against_itself = made(Side::Challenger, party(WORKER), Claim::Trace);
    assert_eq!(new(&against_itself, &att, &spec()), Err(Error::OutOfTurn));
    let concede = message(Side::Challenger, *good.dispute(), 0, DisputeBody::Concede);
    assert_eq!(new(&concede, &att, &spec()), Err(Error::InvalidField("kind")));

    let dispute = Dispute::<Open>::new(&policy, &good, &att, &spec(), &mixer).unwrap();
    for bond in [Bond { amount: 0, ..BOND }, Bond { challenger: party(9), ..BOND }] {
        assert_eq!(dispute.bond_held(&bond, Millis::new(0)).map(|_| ()), Err(Error::InvalidField("bond")));
    }
    assert!(BisectionPolicy::new(1, 1, 1).is_err() && BisectionPolicy::new(255, 1, 1).is_err());
    assert!(BisectionPolicy::new(2, 0, 0).is_err() && BisectionPolicy::new(254, 0, 1).is_ok());
    assert_eq!([1, 2, 16, 17, 256, 257].map(|ops| policy.rounds(ops)), [1, 1, 1, 2, 2, 3]);
}

#[test]
fn later_challengers_wait() {
    let mixer = Mixer { ops: 4 };
    let att = Run::new(mixer.values(None)).attestation();
    let challenge = |name: u8, amount| {
        let (hash, challenger) = (att.hash(), party(name));
        let body = DisputeBody::Open {
            attestation: hash,
            challenger,
            claim: Claim::Trace,
            n_ops: 4,
            final_state: state(0, 0),
            nonce: 0,
        };
        let message = message(Side::Challenger, dispute_id(&hash, &challenger, 0), 0, body);
        Challenge { message, bond: Bond { challenger, amount } }
    };
    let mut queue = DisputeQueue::new(att.hash());
    assert_eq!(queue.challenge(challenge(60, 5)), Ok(true));
    assert_eq!(queue.challenge(challenge(61, 6)), Ok(false));
    assert_eq!(queue.challenge(challenge(62, 7)), Ok(false));
    assert_eq!(queue.challenge(challenge(61, 6)), Err(Error::Duplicate("challenger")));
    assert_eq!(queue.challenge(challenge(63, 0)), Err(Error::InvalidField("bond")));
    let elsewhere = DisputeQueue::new(AttestationHash::new([0; 32])).challenge(challenge(60, 5));
    assert_eq!(elsewhere, Err(Error::InvalidField("attestation")));
    assert_eq!(queue.running().unwrap().bond.amount, 5);
    assert_eq!(queue.resolved(&Resolution::WorkerRight), []);
    assert_eq!(queue.running().unwrap().bond.amount, 6);
    let evidence = Evidence::outside(Family::Sybil, party(WORKER), EPOCH, b"", |_, _, _| true).unwrap();
    let back = queue.resolved(&Resolution::WorkerWrong(evidence));
    assert_eq!(back, [Bond { challenger: party(62), amount: 7 }]);
    assert_eq!(queue.running(), None);
}

/// What an adversary does when it is on turn; whatever fails leaves it on turn.
#[derive(Debug, Clone)]
enum Move {
    /// Plays on along its own lie.
    Play,
    /// Chooses some pair, or shows some operands.
    Any(prop::sample::Index),
    WrongRound,
    WrongSide,
    WrongEnds,
    WrongPoints,
    BadPath,
    WrongKind,
    Foreign,
    Back,
    Wait(u64),
    Silent,
    Concede,
}

fn moves() -> impl Strategy<Value = Vec<Move>> {
    let one = prop_oneof![
        6 => Just(Move::Play),
        4 => any::<prop::sample::Index>().prop_map(Move::Any),
        1 => Just(Move::WrongRound),
        1 => Just(Move::WrongSide),
        1 => Just(Move::WrongEnds),
        1 => Just(Move::WrongPoints),
        1 => Just(Move::BadPath),
        1 => Just(Move::WrongKind),
        1 => Just(Move::Foreign),
        1 => Just(Move::Back),
        2 => (0u64..2_000).prop_map(Move::Wait),
        1 => Just(Move::Silent),
        1 => Just(Move::Concede),
    ];
    proptest::collection::vec(one, 0..30)
}

/// The message of a move; `None` for one without a message.
fn adversarial(dispute: &TraceDispute, side: Side, run: &Run, arity: u32, step: &Move) -> Option<DisputeMessage> {
    let round = dispute.round()?;
    let id = match (dispute.responding(), dispute.choosing(), dispute.located()) {
        (Some(task), ..) => *task.id(),
        (_, Some(task), _) => *task.id(),
        (.., Some(task)) => *task.id(),
        _ => return None,
    };
    let played = || {
        if let Some(task) = dispute.responding() {
            return Some(run.respond(id, task, arity));
        }
        if let Some(task) = dispute.located() {
            return Some(run.prove(id, task));
        }
        // A liar without a difference to show names the first pair.
        let task = dispute.choosing()?;
        let body = DisputeBody::Choose { lo: task.points()[0].index, hi: task.points()[1].index };
        Some(run.choose(id, task).unwrap_or_else(|| message(side, id, round, body)))
    };
    let with = |change: &dyn Fn(&mut u64, &mut u64, &mut Vec<StateOpening>)| {
        let (mut lo, mut hi, mut points) = match played()?.body().clone() {
            DisputeBody::Respond { lo, hi, points } => (lo, hi, points),
            DisputeBody::Choose { lo, hi } => (lo, hi, Vec::new()),
            _ => (0, 1, Vec::new()),
        };
        change(&mut lo, &mut hi, &mut points);
        let body =
            if side == Side::Worker { DisputeBody::Respond { lo, hi, points } } else { DisputeBody::Choose { lo, hi } };
        Some(message(side, id, round, body))
    };
    let played_body = played()?.body().clone();
    match step {
        Move::Play => played(),
        Move::Any(index) => {
            if let Some(task) = dispute.choosing() {
                let at = index.index(task.points().len() - 1);
                let body = DisputeBody::Choose { lo: task.points()[at].index, hi: task.points()[at + 1].index };
                return Some(message(side, id, round, body));
            }
            if let Some(task) = dispute.located() {
                let operands = (index.index(usize::MAX) as u64).to_be_bytes().to_vec();
                return Some(message(side, id, round, DisputeBody::Prove { op: task.op(), operands }));
            }
            played()
        }
        Move::WrongRound => Some(message(side, id, round + 1, played_body)),
        Move::WrongSide => {
            let other = if side == Side::Worker { Side::Challenger } else { Side::Worker };
            Some(message(other, id, round, played_body))
        }
        Move::WrongEnds => with(&|lo, hi, _| {
            *lo += 1;
            *hi += 1;
        }),
        Move::WrongPoints => with(&|lo, _, points| {
            if points.pop().is_none() {
                *lo = lo.wrapping_sub(1);
            }
        }),
        Move::BadPath => with(&|lo, _, points| match points.first_mut() {
            Some(point) => point.state = StateHash::new([9; 32]),
            None => *lo += 3,
        }),
        Move::WrongKind => {
            let body = match played_body {
                DisputeBody::Choose { .. } => DisputeBody::Prove { op: 0, operands: vec![] },
                _ => DisputeBody::Choose { lo: 0, hi: 1 },
            };
            Some(message(side, id, round, body))
        }
        Move::Foreign => Some(message(side, DisputeId::new([1; 32]), round, played_body)),
        Move::Concede => Some(message(side, id, round, DisputeBody::Concede)),
        Move::Back | Move::Wait(_) | Move::Silent => None,
    }
}

/// Plays two scripts against each other until the dispute ends; a side without a script plays honestly.
fn battle(
    policy: &BisectionPolicy,
    mixer: &Mixer,
    arity: u32,
    runs: [&Run; 2],
    scripts: [Option<Vec<Move>>; 2],
) -> (Resolution, u64) {
    let [worker, challenger] = runs;
    let mut dispute = open(policy, mixer, worker, challenger);
    let (mut now, mut scripts) = (0u64, scripts.map(|script| script.map(Vec::into_iter)));
    while let Some(side) = dispute.turn() {
        let run = if side == Side::Worker { worker } else { challenger };
        let script = scripts[side as usize].as_mut();
        let step = script.map_or(Move::Play, |script| script.next().unwrap_or(Move::Silent));
        let honest = scripts[side as usize].is_none();
        match &step {
            Move::Silent => {
                let deadline = dispute.deadline().unwrap();
                assert_eq!(dispute.tick(deadline).unwrap(), None, "not out of time at the deadline itself");
                now = deadline.get() + 1;
                assert!(dispute.tick(Millis::new(now)).unwrap().is_some());
            }
            Move::Wait(ms) => {
                now += ms;
                dispute.tick(Millis::new(now)).unwrap();
            }
            Move::Back if now > 0 => {
                dispute.tick(Millis::new(now)).unwrap();
                let before = dispute.clone();
                assert!(matches!(dispute.tick(Millis::new(now - 1)), Err(Error::ClockBackwards { .. })));
                assert_eq!(dispute, before);
            }
            step => {
                now += 1;
                let Some(next) = adversarial(&dispute, side, run, arity, step) else { continue };
                let result = dispute.apply(&next, mixer, Millis::new(now));
                if honest {
                    assert_eq!(result, Ok(()), "an honest side is never refused");
                }
                if matches!(result, Err(Error::DeadlinePassed { .. })) {
                    assert!(dispute.tick(Millis::new(now)).unwrap().is_some());
                }
            }
        }
    }
    (dispute.outcome().unwrap().resolution.clone(), now)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 192, failure_persistence: None, ..ProptestConfig::default() })]

    /// The honest side never loses its bond or its stake, and every dispute ends within the stated time.
    #[test]
    fn the_honest_side_never_loses(
        ops in 1u64..300, arity in 2u32..20, wrong in any::<prop::sample::Index>(), script in moves(), lying_worker in any::<bool>(),
    ) {
        let (mixer, policy) = (Mixer { ops }, BisectionPolicy::new(arity, 3_000, 500).unwrap());
        let wrong = wrong.index(ops as usize) as u64;
        let (honest, liar) = (Run::new(mixer.values(None)), Run::new(mixer.values(Some(wrong))));
        let (resolution, ended) = if lying_worker {
            battle(&policy, &mixer, arity, [&liar, &honest], [Some(script), None])
        } else {
            battle(&policy, &mixer, arity, [&honest, &liar], [None, Some(script)])
        };
        if lying_worker {
            let Resolution::WorkerWrong(evidence) = resolution else { panic!("an honest challenger lost: {resolution:?}") };
            prop_assert_eq!(evidence.family(), Family::WrongOutput);
            prop_assert_eq!(evidence.party(), &party(WORKER));
            if evidence.kind() == EvidenceKind::StepFraud {
                StepFraud::decode(evidence.body()).unwrap().verify(&spec(), &mixer).unwrap();
            } else {
                prop_assert_eq!(evidence.kind(), EvidenceKind::DisputeDefault);
            }
        } else {
            prop_assert_eq!(resolution, Resolution::WorkerRight);
        }
        prop_assert!(ended <= policy.longest_ms(ops) + 1, "{} past {}", ended, policy.longest_ms(ops));
    }

    /// Both lie: the dispute ends in time all the same, and whatever evidence comes out verifies.
    #[test]
    fn two_liars_end_too(ops in 1u64..300, a in any::<u64>(), b in any::<u64>(), one in moves(), two in moves()) {
        let (mixer, policy) = (Mixer { ops }, BisectionPolicy::new(4, 3_000, 500).unwrap());
        let (first, second) = (Run::new(mixer.values(Some(a % ops))), Run::new(mixer.values(Some(b % ops))));
        let (resolution, ended) = battle(&policy, &mixer, 4, [&first, &second], [Some(one), Some(two)]);
        if let Resolution::WorkerWrong(evidence) = resolution && evidence.kind() == EvidenceKind::StepFraud {
            StepFraud::decode(evidence.body()).unwrap().verify(&spec(), &mixer).unwrap();
        }
        prop_assert!(ended <= policy.longest_ms(ops) + 1);
    }

    #[test]
    fn step_frauds_take_any_bytes(bytes in proptest::collection::vec(any::<u8>(), 0..700), at in 0usize..480, kind in 0u8..5) {
        let mixer = Mixer { ops: 3 };
        let run = Run::new(mixer.values(None));
        let mut whole = run.attestation().encode().to_vec();
        whole.push(kind);
        whole.extend(&bytes);
        for bytes in [&bytes, &whole, &whole[..at].to_vec()] {
            if let Ok(fraud) = StepFraud::decode(bytes) {
                prop_assert_eq!(&fraud.encode(), bytes);
                prop_assert!(fraud.verify(&spec(), &mixer).is_err());
            }
        }
    }
}
