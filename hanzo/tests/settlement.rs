//! Jobs played to their end against a treasury that is audited after every effect.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking, its helpers too")]

use std::collections::BTreeSet;

use hanzo::glue::{JobEscrow, SettlementError, account_of, slash};
use hanzo::metering::{
    AccountId, Effect, EscrowState, FeeSchedule, Role, Status, Timestamp, TransferId, Treasury, TreasuryConfig,
};
use hanzo::poai::{
    Acceptance, Attestation, AttestationHash, Bond, ChainId, Claim, ComparatorKind, DType, Decision, DisputeBody,
    DisputeMessage, DisputePolicy, Environment, Epoch, Event, Evidence, Family, Job, JobId, JobPolicy, JobSpec,
    JobState, Millis, ModelHash, Output, OutputDispute, Panel, PartyId, Registry, Resolution, Resolved, Side,
    SlashPolicy, StateHash, Suite, Verdict, dispute_id,
};
use proptest::collection::vec;
use proptest::prelude::*;

const CHAIN: ChainId = ChainId::new([0xc4; 32]);
const MODEL: ModelHash = ModelHash::new([0x30; 32]);
const INPUT: [u8; 32] = [0x11; 32];
const EPOCH: Epoch = Epoch::new(9);
/// Beyond the hours that any job here lives, so that each of its offences falls into an epoch the treasury knows.
const LAST_EPOCH: u64 = 20;
const HOUR: u64 = 3_600_000;
const PRICE: u128 = 900;
const BOND: u128 = 1_800;
const SUPPLY: u128 = 50_000;

const CLIENT: PartyId = PartyId::new([1; 32]);
const WORKER: PartyId = PartyId::new([7; 32]);
const CHALLENGER: PartyId = PartyId::new([60; 32]);
const VALIDATORS: PartyId = PartyId::new([70; 32]);
const VERIFIERS: PartyId = PartyId::new([71; 32]);
const PROVIDERS: PartyId = PartyId::new([72; 32]);
const ALL: [PartyId; 6] = [CLIENT, WORKER, CHALLENGER, VALIDATORS, VERIFIERS, PROVIDERS];

fn nanos(ms: u64) -> Timestamp {
    Timestamp::from_nanos(ms * 1_000_000)
}

/// Wallets with money, and 1,000 of the worker's at stake in the epoch of its offence.
fn treasury() -> Treasury {
    let mut treasury = Treasury::new(TreasuryConfig::new(1, [FeeSchedule::aci()])).unwrap();
    for (party, id) in ALL.iter().zip(1..) {
        let to = treasury.open_party(Timestamp::ZERO, party.as_bytes()).unwrap().get();
        if id <= 3 {
            let amount = if *party == CLIENT { 10_000 } else { 20_000 };
            treasury.apply(Timestamp::ZERO, &Effect::Mint { id, to, amount }).unwrap();
        }
    }
    treasury.bond_stake(Timestamp::ZERO, 10, account_of(&WORKER), 1_000).unwrap();
    (1..=LAST_EPOCH).for_each(|epoch| treasury.begin_epoch(epoch).unwrap());
    assert_eq!(treasury.audit().unwrap().supply, SUPPLY);
    treasury
}

fn recipients() -> [(Role, AccountId); 3] {
    [(Role::Validator, VALIDATORS), (Role::Verifier, VERIFIERS), (Role::LiquidityProvider, PROVIDERS)]
        .map(|(role, party)| (role, account_of(&party)))
}

fn environment() -> Environment {
    Environment {
        dtype: DType::Integer,
        batch_invariant: true,
        fixed_reduction_order: true,
        kernel_class: 1,
        tensor_parallel: 1,
        device_class: 2,
        runtime: [0x77; 32],
    }
}

/// One job, its escrow and a treasury.
struct World {
    job: Job,
    escrow: JobEscrow,
    treasury: Treasury,
    registry: Registry,
    applied: Vec<Effect>,
}

impl World {
    fn new() -> Self {
        let spec = JobSpec::builder(MODEL, INPUT).dtype(DType::Integer).max_tokens(64).sla_ms(10_000);
        let spec = spec.max_price(1_000).build().unwrap();
        let job = Job::new(JobPolicy::default(), &CHAIN, &CLIENT, 0, spec, Millis::new(0)).unwrap();
        let escrow = JobEscrow::new(job.id(), account_of(&CLIENT)).with_timeout_ns(100 * HOUR * 1_000_000);
        let registry = Registry::new(SlashPolicy::default());
        Self { job, escrow, treasury: treasury(), registry, applied: Vec::new() }
    }

    /// Applies an event and all that follows from it.
    fn event(&mut self, ms: u64, event: Event) -> Vec<Output> {
        let outputs = self.job.apply(event, Millis::new(ms)).unwrap();
        for output in &outputs {
            if let Some(effect) = self.escrow.effect(output, &recipients()).unwrap() {
                self.effect(ms, &effect);
            }
            if let Output::Offence(evidence) = output {
                let order = self.registry.submit(evidence, CHALLENGER).unwrap();
                self.effect(ms, &slash(&order));
            }
        }
        outputs
    }

    /// Applies an effect twice, which has to be the same as once, and audits.
    fn effect(&mut self, ms: u64, effect: &Effect) {
        self.treasury.apply(nanos(ms), effect).unwrap_or_else(|error| panic!("{effect:?}: {error}"));
        let audit = self.treasury.audit().unwrap();
        assert_eq!(self.treasury.apply(nanos(ms), effect).unwrap().status, Status::Existing);
        assert_eq!(self.treasury.audit().unwrap(), audit);
        self.applied.push(effect.clone());
    }

    fn challenge(&mut self, ms: u64) -> Vec<Output> {
        let bond = Bond { challenger: CHALLENGER, amount: BOND };
        let effect = self.escrow.open_bond(bond).unwrap();
        self.effect(ms, &effect);
        self.event(ms, Event::Challenge(bond))
    }

    fn resolve(&mut self, ms: u64, attestation: &Attestation, resolution: Resolution) -> Vec<Output> {
        let resolved = Resolved { attestation: attestation.hash(), resolution, withheld: Vec::new() };
        self.event(ms, Event::Resolved(resolved))
    }

    fn escrowed(price: u128) -> Self {
        let mut world = Self::new();
        let acceptance = Acceptance {
            worker: WORKER,
            price,
            quote_expires: Millis::new(20_000),
            free_exposure: 10_000,
            standby: vec![],
        };
        world.event(1_000, Event::Accept(acceptance));
        world.event(2_000, Event::EscrowHeld(price));
        world
    }

    /// Attested and committed to; the window ends an hour after 5 s.
    fn committed(price: u128) -> (Self, Attestation) {
        let mut world = Self::escrowed(price);
        let attestation = attestation(*world.job.id());
        world.event(3_000, Event::Started(WORKER));
        world.event(4_000, Event::Attest(Box::new(attestation.clone())));
        world.event(5_000, Event::Committed);
        (world, attestation)
    }

    fn available(&self, party: PartyId) -> u128 {
        self.treasury.available(account_of(&party))
    }

    fn state(&self) -> (JobState, Option<EscrowState>) {
        (self.job.state(), self.treasury.escrow(self.escrow.id()))
    }
}

fn attestation(job: JobId) -> Attestation {
    Attestation::builder()
        .suite(Suite::ML_DSA_65)
        .chain(CHAIN)
        .epoch(EPOCH)
        .worker(WORKER)
        .job(job)
        .input(INPUT)
        .output([0x22; 32])
        .model(MODEL)
        .environment(environment().hash())
        .started(Millis::new(3_000))
        .duration_us(900_000)
        .build()
        .unwrap()
}

fn verdict(attestation: &Attestation, verifier: PartyId, decision: Decision) -> Verdict {
    Verdict {
        decision,
        comparator: ComparatorKind::Exact,
        verifier,
        attestation: attestation.hash(),
        epoch: EPOCH,
        score_q32: u64::from(decision == Decision::Mismatch) << 32,
        transcript: [3; 32],
    }
}

/// The closed panel of one verifier.
fn panel(attestation: &Attestation, decision: Decision) -> Panel {
    let verdict = verdict(attestation, PartyId::new([50; 32]), decision);
    let mut panel = Panel::new(attestation.hash(), EPOCH, &[verdict.verifier]).unwrap();
    panel.commit(&verdict.verifier, verdict.commit(&[8; 32])).unwrap();
    panel.reveal(verdict, &[8; 32]).unwrap();
    panel
}

/// Three fresh verifiers all find another output.
fn fraud(attestation: &Attestation) -> Resolution {
    let (id, now) = (dispute_id(&attestation.hash(), &CHALLENGER, 0), Millis::new(0));
    let body = DisputeBody::Open {
        attestation: attestation.hash(),
        challenger: CHALLENGER,
        claim: Claim::OutputOnly,
        n_ops: 0,
        final_state: StateHash::new([0; 32]),
        nonce: 0,
    };
    let message = DisputeMessage::new(Side::Challenger, id, 0, body).unwrap();
    let seats = [51, 52, 53].map(|seat| PartyId::new([seat; 32]));
    let panel = Panel::new(attestation.hash(), EPOCH, &seats).unwrap();
    let policy = DisputePolicy::default();
    let mut dispute = OutputDispute::open(&policy, &message, attestation, &environment(), panel, &[], now).unwrap();
    let verdicts = seats.map(|seat| verdict(attestation, seat, Decision::Mismatch));
    verdicts.iter().for_each(|v| dispute.commit(&v.verifier, v.commit(&[8; 32]), now).unwrap());
    verdicts.into_iter().for_each(|v| assert!(dispute.reveal(v, &[8; 32], now).is_ok()));
    dispute.resolved().unwrap().unwrap().resolution
}

#[test]
fn a_job_is_settled_by_the_schedule() {
    let (mut world, attestation) = World::committed(PRICE);
    assert_eq!(world.treasury.audit().unwrap().locked, PRICE);
    world.event(6_000, Event::Beacon { drawn: true });
    world.event(7_000, Event::Verdicts(panel(&attestation, Decision::Match)));
    world.event(5_000 + HOUR, Event::Tick);
    assert_eq!(world.state(), (JobState::Settled, Some(EscrowState::Settled)));
    let paid = [CLIENT, WORKER, VALIDATORS, VERIFIERS, PROVIDERS].map(|party| world.available(party));
    // 80, 8, 5 and 4 % of 900; the treasury's 3 % are burned.
    assert_eq!(paid, [9_100, 19_000 + 720, 72, 45, 36]);
    let audit = world.treasury.audit().unwrap();
    assert_eq!((audit.burned, audit.locked, audit.suspense), (27, 0, 0));
}

#[test]
fn the_worker_can_be_paid_in_another_role() {
    let mut escrow = JobEscrow::new(&JobId::new([9; 32]), account_of(&CLIENT)).with_worker_role(Role::Operator);
    escrow.effect(&Output::HoldEscrow(5), &[]).unwrap();
    let settle = escrow.effect(&Output::ReleaseEscrow { worker: WORKER, amount: 5 }, &[]).unwrap();
    let Some(Effect::Settle { recipients, bps: 10_000, .. }) = settle else { panic!("{settle:?}") };
    assert_eq!(recipients, [(Role::Operator, account_of(&WORKER).get())]);
}

#[test]
fn a_job_that_ends_early_is_refunded() {
    let mut cancelled = World::escrowed(PRICE);
    assert_eq!(cancelled.available(CLIENT), 9_100);
    cancelled.event(3_000, Event::Cancel);
    assert_eq!(cancelled.state(), (JobState::Expired, Some(EscrowState::Refunded)));
    assert_eq!(cancelled.available(CLIENT), 10_000);

    // The worker was late once in its epoch, which is free; the order for 0 bp is recorded.
    let mut absent = World::escrowed(PRICE);
    absent.event(62_001, Event::Tick);
    assert_eq!(absent.available(CLIENT), 10_000);
    assert!(matches!(absent.applied.last(), Some(Effect::Slash { bps: 0, .. })));
    assert_eq!(absent.treasury.audit().unwrap().staked, 1_000);
}

#[test]
fn a_worker_in_the_wrong_is_slashed_and_the_reporter_rewarded() {
    let (mut world, attestation) = World::committed(PRICE);
    world.challenge(6_000);
    assert_eq!(world.state(), (JobState::Disputed, Some(EscrowState::Disputed)));
    assert_eq!(world.available(CHALLENGER), 20_000 - BOND);
    // The clock of the escrow stands still: its timeout of 100 hours does not end it.
    world.treasury.advance(nanos(200 * HOUR)).unwrap();
    world.resolve(200 * HOUR, &attestation, fraud(&attestation));
    assert_eq!(world.state(), (JobState::Slashed, Some(EscrowState::Refunded)));
    assert_eq!(world.available(CLIENT), 10_000);
    assert_eq!(world.available(CHALLENGER), 20_000 + 500, "bond back, and half of the stake");
    let audit = world.treasury.audit().unwrap();
    assert_eq!((audit.staked, audit.bonded, audit.burned, audit.locked), (0, 0, 500, 0));
}

#[test]
fn a_challenger_in_the_wrong_loses_its_bond_and_may_try_again() {
    let (mut world, attestation) = World::committed(PRICE);
    world.challenge(6_000);
    world.resolve(7_000, &attestation, Resolution::WorkerRight);
    assert_eq!(world.job.state(), JobState::Verified);
    let audit = world.treasury.audit().unwrap();
    assert_eq!((audit.burned, audit.bonded), (BOND, 0), "all of it is burned");

    world.challenge(8_000);
    assert_eq!(world.treasury.audit().unwrap().bonded, BOND);
    world.resolve(9_000, &attestation, Resolution::Undetermined);
    assert_eq!(world.state(), (JobState::Expired, Some(EscrowState::Refunded)));
    assert_eq!([CLIENT, CHALLENGER].map(|party| world.available(party)), [10_000, 20_000 - BOND]);
    let evidence: Vec<[u8; 32]> = world
        .applied
        .iter()
        .filter_map(|effect| if let Effect::SlashBond { evidence, .. } = effect { Some(*evidence) } else { None })
        .collect();
    assert_eq!(evidence, [*attestation.hash().as_bytes()]);
}

#[test]
fn a_bond_goes_back_when_the_job_refuses_the_challenge() {
    let (mut world, _) = World::committed(PRICE);
    let bond = Bond { challenger: CHALLENGER, amount: BOND };
    let opened = world.escrow.open_bond(bond).unwrap();
    world.effect(6_000, &opened);
    assert!(world.job.apply(Event::Challenge(bond), Millis::new(2 * HOUR)).is_err(), "the window is over");
    let back = world.escrow.effect(&Output::ReturnBond(bond), &[]).unwrap().unwrap();
    world.effect(6_000, &back);
    assert_eq!(world.available(CHALLENGER), 20_000);
}

#[test]
fn refused_locks_and_bonds_leave_nothing_to_give_back() {
    let mut world = World::new();
    let price = 900;
    let acceptance = Acceptance {
        worker: WORKER,
        price,
        quote_expires: Millis::new(20_000),
        free_exposure: 10_000,
        standby: vec![],
    };
    let spent = Effect::Burn { id: 20, from: account_of(&CLIENT).get(), amount: 9_500 };
    world.effect(0, &spent);
    let outputs = world.job.apply(Event::Accept(acceptance), Millis::new(0)).unwrap();
    let lock = world.escrow.effect(&outputs[0], &[]).unwrap().unwrap();
    assert!(world.treasury.apply(nanos(0), &lock).is_err(), "no cover");
    world.escrow.refused(&lock);
    let outputs = world.event(30_001, Event::Tick);
    assert_eq!((outputs, world.job.state()), (vec![Output::ReleaseHold(price)], JobState::Expired));
    assert_eq!(world.treasury.audit().unwrap().wallets, SUPPLY - 9_500 - 1_000);

    let (mut world, _) = World::committed(PRICE);
    let bond = Bond { challenger: CHALLENGER, amount: 20_001 };
    let opened = world.escrow.open_bond(bond).unwrap();
    assert!(world.treasury.apply(nanos(6_000), &opened).is_err(), "no cover");
    world.escrow.refused(&lock);
    assert_eq!(world.escrow.open_bond(bond), Err(SettlementError::BondOpen), "not the lock of this job");
    world.escrow.refused(&opened);
    assert_eq!(world.escrow.effect(&Output::ReturnBond(bond), &[]), Err(SettlementError::UnknownBond));
    world.challenge(7_000);
    assert_eq!(world.available(CHALLENGER), 20_000 - BOND);
}

#[test]
fn outputs_that_do_not_belong_are_refused_and_change_nothing() {
    let mut escrow = JobEscrow::new(&JobId::new([9; 32]), account_of(&CLIENT)).with_timeout_ns(7);
    let fresh = escrow.clone();
    let attestation = AttestationHash::new([3; 32]);
    let bond = Bond { challenger: CHALLENGER, amount: 5 };
    let release = |amount| Output::ReleaseEscrow { worker: WORKER, amount };
    for early in
        [Output::ReleaseHold(1), Output::Refund(1), release(1), Output::OpenDispute { attestation, bond: None }]
    {
        assert_eq!(escrow.effect(&early, &[]), Err(SettlementError::NoEscrow), "{early:?}");
    }
    for stray in [Output::ReturnBond(bond), Output::ForfeitBond(bond)] {
        assert_eq!(escrow.effect(&stray, &[]), Err(SettlementError::UnknownBond), "{stray:?}");
    }
    assert_eq!(escrow, fresh);

    let lock = escrow.effect(&Output::HoldEscrow(90), &[]).unwrap();
    assert_eq!(
        lock,
        Some(Effect::Lock { id: escrow.id(), from: account_of(&CLIENT).get(), amount: 90, timeout_ns: 7 })
    );
    assert_eq!(escrow.effect(&Output::HoldEscrow(90), &[]), Ok(lock), "asked for again");
    let held = escrow.clone();
    for other in [Output::HoldEscrow(91), Output::ReleaseHold(91), Output::Refund(91), release(91)] {
        assert_eq!(escrow.effect(&other, &[]), Err(SettlementError::Amount { want: 90, got: 91 }), "{other:?}");
    }
    let dispute = Output::OpenDispute { attestation, bond: Some(bond) };
    assert_eq!(escrow.effect(&dispute, &[]), Err(SettlementError::UnknownBond));
    assert_eq!(escrow, held);

    escrow.open_bond(bond).unwrap();
    assert_eq!(escrow.open_bond(bond), Err(SettlementError::BondOpen));
    assert_eq!(escrow.effect(&Output::ForfeitBond(bond), &[]), Err(SettlementError::UnknownBond), "no dispute");
    let larger = Bond { amount: 6, ..bond };
    assert_eq!(escrow.effect(&Output::ReturnBond(larger), &[]), Err(SettlementError::UnknownBond));
    escrow.effect(&dispute, &[]).unwrap();
    escrow.effect(&Output::ForfeitBond(bond), &[]).unwrap();
    for _ in 1..JobEscrow::MAX_BONDS {
        escrow.open_bond(bond).unwrap();
        escrow.effect(&Output::ReturnBond(bond), &[]).unwrap();
    }
    let max = JobEscrow::MAX_BONDS;
    assert_eq!(escrow.open_bond(bond), Err(SettlementError::TooManyBonds { max }));
    for silent in [Output::Late, Output::Escalate(WORKER), Output::Assign { worker: WORKER, assignment: 0 }] {
        assert_eq!(escrow.effect(&silent, &[]), Ok(None));
    }
}

#[test]
fn a_job_for_nothing_moves_nothing_but_bonds() {
    let (mut world, attestation) = World::committed(0);
    world.event(6_000, Event::Beacon { drawn: false });
    world.challenge(7_000);
    world.resolve(8_000, &attestation, Resolution::WorkerRight);
    world.event(5_000 + HOUR, Event::Tick);
    assert_eq!(world.state(), (JobState::Settled, None));
    let kinds: Vec<bool> = world.applied.iter().map(|e| matches!(e, Effect::SlashBond { .. })).collect();
    assert_eq!(kinds, [false, true]);
}

/// The derivation the documentation states, so that another implementation finds the same ids.
#[test]
fn ids_are_derived_from_the_job_id() {
    let job = JobId::new(core::array::from_fn(|i| i as u8));
    let mut escrow = JobEscrow::new(&job, account_of(&CLIENT));
    assert_eq!(escrow.id(), 0x0001_0203_0405_0607_0809_0a0b_0c0d_0e0f);
    let leg = |number| TransferId::escrow_leg(escrow.id(), number).get();
    let expected: Vec<u128> = [65_535, 65_534, 65_533, 65_532, 65_531, 65_529, 65_527].map(leg).to_vec();

    let (attestation, bond) = (AttestationHash::new([3; 32]), Bond { challenger: CHALLENGER, amount: 5 });
    let mut of = |output: Output| escrow.effect(&output, &[]).unwrap().unwrap().id();
    of(Output::HoldEscrow(90));
    let mut ids = vec![
        of(Output::ReleaseEscrow { worker: WORKER, amount: 90 }),
        of(Output::Refund(90)),
        of(Output::OpenDispute { attestation, bond: None }),
    ];
    ids.push(escrow.open_bond(bond).unwrap().id());
    ids.push(escrow.effect(&Output::ReturnBond(bond), &[]).unwrap().unwrap().id());
    ids.push(escrow.open_bond(bond).unwrap().id());
    escrow.effect(&Output::OpenDispute { attestation, bond: Some(bond) }, &[]).unwrap();
    ids.push(escrow.effect(&Output::ForfeitBond(bond), &[]).unwrap().unwrap().id());
    assert_eq!(ids, expected);
    assert_eq!(ids.iter().collect::<BTreeSet<_>>().len(), ids.len());
}

#[test]
fn a_slash_order_maps_field_by_field() {
    let evidence = Evidence::outside(Family::Sybil, WORKER, EPOCH, b"ruling", |_, _, _| true).unwrap();
    let order = Registry::new(SlashPolicy::default()).submit(&evidence, CHALLENGER).unwrap();
    let expected = Effect::Slash {
        account: AccountId::of_party(WORKER.as_bytes()).get(),
        epoch: 9,
        bps: 10_000,
        evidence: *evidence.hash().as_bytes(),
        reporter: Some(AccountId::of_party(CHALLENGER.as_bytes()).get()),
        reward_bps: 5_000,
    };
    assert_eq!(slash(&order), expected);
}

/// An event in a life of a job that nobody directs.
#[derive(Debug, Clone, Copy)]
enum Move {
    Tick,
    Cancel,
    Start,
    Attest,
    Commit,
    Beacon(bool),
    Verdict(Decision),
    Challenge,
    Right,
    Wrong,
    Undetermined,
    Convicted,
}

fn moves() -> impl Strategy<Value = Vec<(Move, u64)>> {
    use Move::*;
    let one = prop_oneof![
        12 => Just(Tick),
        1 => Just(Cancel),
        6 => Just(Start),
        6 => Just(Attest),
        6 => Just(Commit),
        6 => any::<bool>().prop_map(Beacon),
        3 => prop_oneof![Just(Decision::Match), Just(Decision::Mismatch)].prop_map(Verdict),
        4 => Just(Challenge),
        3 => Just(Right),
        1 => Just(Wrong),
        1 => Just(Undetermined),
        1 => Just(Convicted),
    ];
    let wait = prop_oneof![6 => 0..2_000_u64, 3 => 0..HOUR / 2];
    vec((one, wait), 0..40)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..ProptestConfig::default() })]

    /// Whatever happens to a job, the treasury accepts every effect, no unit is lost, and nothing stays locked or
    /// bonded behind it.
    #[test]
    fn every_life_of_a_job_balances(committed in any::<bool>(), moves in moves()) {
        let mut world = if committed { World::committed(PRICE).0 } else { World::escrowed(PRICE) };
        let attestation = attestation(*world.job.id());
        let bond = Bond { challenger: CHALLENGER, amount: BOND };
        let mut ms = if committed { 5_000 } else { 2_000 };
        for (step, wait) in moves {
            ms += wait;
            let resolved = |resolution| {
                Event::Resolved(Resolved { attestation: attestation.hash(), resolution, withheld: Vec::new() })
            };
            let event = match step {
                Move::Tick => Event::Tick,
                Move::Cancel => Event::Cancel,
                Move::Start => Event::Started(WORKER),
                Move::Attest => Event::Attest(Box::new(attestation.clone())),
                Move::Commit => Event::Committed,
                Move::Beacon(drawn) => Event::Beacon { drawn },
                Move::Verdict(decision) => Event::Verdicts(panel(&attestation, decision)),
                Move::Challenge => Event::Challenge(bond),
                Move::Right => resolved(Resolution::WorkerRight),
                Move::Wrong => resolved(fraud(&attestation)),
                Move::Undetermined => resolved(Resolution::Undetermined),
                Move::Convicted => Event::WorkerConvicted,
            };
            // A bond is held before the challenge, and given back if the job does not take it.
            let opened = if matches!(step, Move::Challenge) { world.escrow.open_bond(bond).ok() } else { None };
            if let Some(effect) = &opened {
                world.effect(ms, effect);
            } else if matches!(step, Move::Challenge) {
                continue;
            }
            if world.job.clone().apply(event.clone(), Millis::new(ms)).is_ok() {
                world.event(ms, event);
            } else if opened.is_some() {
                let back = world.escrow.effect(&Output::ReturnBond(bond), &[]).unwrap().unwrap();
                world.effect(ms, &back);
            }
        }
        let audit = world.treasury.audit().unwrap();
        prop_assert_eq!(audit.minted, SUPPLY);
        if world.job.state().is_terminal() {
            prop_assert_eq!((audit.locked, audit.bonded), (0, 0));
        } else {
            prop_assert_eq!(audit.locked, PRICE);
        }
        let settled = world.job.state() == JobState::Settled;
        prop_assert_eq!(world.available(WORKER), if settled { 19_720 } else { 19_000 });
    }
}
