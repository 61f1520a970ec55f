//! Replicated jobs played to their end against a treasury that is audited after every effect.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking, its helpers too")]

use std::collections::BTreeSet;

use hanzo::glue::{JobEscrow, ReplicatedEscrow, SettlementError, account_of};
use hanzo::metering::{
    AccountId, Effect, EscrowState, FeeSchedule, Role, Status, Timestamp, TransferId, Treasury, TreasuryConfig,
};
use hanzo::poai::*;

const CHAIN: ChainId = ChainId::new([0xc4; 32]);
const MODEL: ModelHash = ModelHash::new([0x30; 32]);
const INPUT: [u8; 32] = [0x11; 32];
const CLIENT: PartyId = PartyId::new([1; 32]);
const CHALLENGER: PartyId = PartyId::new([60; 32]);
const HOUR: u64 = 3_600_000;
const PRICE: u128 = 900;
const BOND: Bond = Bond { challenger: CHALLENGER, amount: 1_800 };
const SUPPLY: u128 = 14_000;

fn worker(replica: usize) -> PartyId {
    PartyId::new([10 + replica as u8; 32])
}

fn recipients() -> [(Role, AccountId); 3] {
    [(Role::Validator, 70), (Role::Verifier, 71), (Role::LiquidityProvider, 72)]
        .map(|(role, party)| (role, account_of(&PartyId::new([party; 32]))))
}

struct World {
    job: ReplicatedJob,
    escrow: ReplicatedEscrow,
    treasury: Treasury,
}

impl World {
    /// Three replicas, and a client with this much money.
    fn new(money: u128) -> Self {
        let mut treasury = Treasury::new(TreasuryConfig::new(1, [FeeSchedule::aci()])).unwrap();
        let others = [CHALLENGER, worker(0), worker(1), worker(2)];
        let parties = [70, 71, 72].map(|party| PartyId::new([party; 32]));
        for party in [CLIENT].iter().chain(&others).chain(&parties) {
            treasury.open_party(Timestamp::ZERO, party.as_bytes()).unwrap();
        }
        let mint = |id, party: &PartyId, amount| Effect::Mint { id, to: account_of(party).get(), amount };
        treasury.apply(Timestamp::ZERO, &mint(1, &CLIENT, money)).unwrap();
        treasury.apply(Timestamp::ZERO, &mint(2, &CHALLENGER, SUPPLY - money)).unwrap();
        let spec = JobSpec::builder(MODEL, INPUT).assurance(Assurance::Redundant).replicas(3).dtype(DType::Integer);
        let spec = spec.sla_ms(10_000).max_price(1_000).build().unwrap();
        let job = ReplicatedJob::new(JobPolicy::default(), &CHAIN, &CLIENT, 0, spec, Millis::new(0)).unwrap();
        let escrow = ReplicatedEscrow::new(&job, account_of(&CLIENT)).with_timeout_ns(100 * HOUR * 1_000_000);
        Self { job, escrow, treasury }
    }

    /// Applies what follows from outputs, each effect twice, and audits. Gives the effects that were refused.
    fn settle(&mut self, ms: u64, outputs: &[(usize, Output)]) -> Vec<Effect> {
        let mut refused = Vec::new();
        for output in outputs {
            let Some(effect) = self.escrow.effect(output, &recipients()).unwrap() else { continue };
            if self.apply(ms, &effect).is_err() {
                self.escrow.refused(&effect);
                refused.push(effect);
            }
        }
        refused
    }

    fn apply(&mut self, ms: u64, effect: &Effect) -> Result<(), ()> {
        let now = Timestamp::from_nanos(ms * 1_000_000);
        let applied = self.treasury.apply(now, effect).map_err(drop)?;
        assert_eq!(applied.status, Status::New);
        assert_eq!(self.treasury.apply(now, effect).unwrap().status, Status::Existing);
        let audit = self.treasury.audit().unwrap();
        assert_eq!(audit.supply + audit.burned, SUPPLY);
        Ok(())
    }

    fn event(&mut self, ms: u64, replica: usize, event: Event) -> Vec<Effect> {
        let outputs = self.job.apply(replica, event, Millis::new(ms)).unwrap();
        self.settle(ms, &outputs)
    }

    fn tick(&mut self, ms: u64) {
        let outputs = self.job.tick(Millis::new(ms)).unwrap();
        assert!(self.settle(ms, &outputs).is_empty());
    }

    fn accepted(money: u128) -> (Self, Vec<Effect>) {
        let mut world = Self::new(money);
        let accept = |replica| {
            let quote_expires = Millis::new(20_000);
            let (free_exposure, standby) = (10_000, Vec::new());
            Event::Accept(Acceptance { worker: worker(replica), price: PRICE, quote_expires, free_exposure, standby })
        };
        let refused = (0..3).flat_map(|replica| world.event(1_000, replica, accept(replica))).collect();
        (world, refused)
    }

    /// All replicas attest these outputs and are committed.
    fn attested(outputs: [u8; 3]) -> (Self, Vec<Attestation>) {
        let (mut world, refused) = Self::accepted(10_000);
        assert!(refused.is_empty());
        assert_eq!(world.treasury.audit().unwrap().locked, 3 * PRICE);
        (0..3).for_each(|replica| assert!(world.event(2_000, replica, Event::EscrowHeld(PRICE)).is_empty()));
        let mut claims = Vec::new();
        for (replica, output) in outputs.into_iter().enumerate() {
            let claim = Attestation::builder()
                .suite(Suite::ML_DSA_65)
                .chain(CHAIN)
                .epoch(Epoch::new(0))
                .worker(worker(replica))
                .job(*world.job.id().unwrap())
                .assignment(replica as u32)
                .input(INPUT)
                .output([output; 32])
                .model(MODEL)
                .environment([5; 32])
                .started(Millis::new(3_000))
                .duration_us(900_000)
                .build()
                .unwrap();
            world.event(3_000, replica, Event::Started(worker(replica)));
            world.event(4_000, replica, Event::Attest(Box::new(claim.clone())));
            world.event(5_000, replica, Event::Committed);
            world.event(6_000, replica, Event::Beacon { drawn: false });
            claims.push(claim);
        }
        (world, claims)
    }

    fn compare(&mut self, ms: u64) {
        let outputs: Vec<_> = self.job.replicas().iter().map(Job::output).collect();
        let outputs = self.job.compare(|a, b| outputs[a] == outputs[b], Millis::new(ms)).unwrap();
        assert!(self.settle(ms, &outputs).is_empty());
    }

    fn states(&self) -> Vec<Option<EscrowState>> {
        self.escrow.replicas().iter().map(|leg| self.treasury.escrow(leg.id())).collect()
    }

    fn available(&self, party: PartyId) -> u128 {
        self.treasury.available(account_of(&party))
    }
}

fn resolved(claim: &Attestation, resolution: Resolution) -> Event {
    Event::Resolved(Resolved { attestation: claim.hash(), resolution, withheld: Vec::new() })
}

#[test]
fn three_replicas_are_paid_three_times() {
    let (mut world, _) = World::attested([7, 7, 7]);
    world.compare(7_000);
    assert_eq!(world.job.delivered(), Some(&[7; 32]));
    world.tick(5_000 + HOUR);
    world.tick(5_000 + HOUR);
    assert_eq!(world.job.state(), JobState::Settled);
    assert_eq!(world.states(), [Some(EscrowState::Settled); 3]);
    // 80 % of 900 each; what the client has left is the rest of its 10,000.
    assert_eq!([0, 1, 2].map(|replica| world.available(worker(replica))), [720; 3]);
    assert_eq!(world.available(CLIENT), 10_000 - 3 * PRICE);
    let audit = world.treasury.audit().unwrap();
    assert_eq!((audit.locked, audit.burned), (0, 3 * 27));
}

#[test]
fn an_undecided_replica_is_refunded_alone() {
    let (mut world, claims) = World::attested([7, 8, 7]);
    world.compare(7_000);
    assert_eq!(world.states()[1], Some(EscrowState::Disputed));
    world.event(8_000, 1, resolved(&claims[1], Resolution::Undetermined));
    world.tick(5_000 + HOUR);
    world.tick(5_000 + HOUR);
    assert_eq!(world.states(), [Some(EscrowState::Settled), Some(EscrowState::Refunded), Some(EscrowState::Settled)]);
    assert_eq!([0, 1, 2].map(|replica| world.available(worker(replica))), [720, 0, 720]);
    assert_eq!(world.available(CLIENT), 10_000 - 2 * PRICE);
}

#[test]
fn each_replica_has_bonds_of_its_own() {
    let (mut world, claims) = World::attested([7, 7, 7]);
    world.compare(7_000);
    for (replica, claim) in claims.iter().enumerate().take(2) {
        let ms = 8_000 + 2_000 * replica as u64;
        let effect = world.escrow.open_bond(replica, BOND).unwrap();
        assert_eq!(world.escrow.open_bond(replica, BOND), Err(SettlementError::BondOpen));
        world.apply(ms, &effect).unwrap();
        world.event(ms, replica, Event::Challenge(BOND));
        world.event(ms + 1_000, replica, resolved(claim, Resolution::WorkerRight));
    }
    // Two bonds forfeited are two burned.
    assert_eq!(world.treasury.audit().unwrap().burned, 2 * BOND.amount);
    world.tick(5_000 + HOUR);
    world.tick(5_000 + HOUR);
    assert_eq!(world.states(), [Some(EscrowState::Settled); 3]);
}

#[test]
fn a_job_that_is_given_up_gives_all_back() {
    let (mut world, _) = World::accepted(10_000);
    assert_eq!(world.available(CLIENT), 10_000 - 3 * PRICE);
    world.event(2_000, 0, Event::Cancel);
    assert_eq!(world.job.state(), JobState::Expired);
    assert_eq!(world.states(), [Some(EscrowState::Refunded); 3]);
    assert_eq!(world.available(CLIENT), 10_000);
}

#[test]
fn a_lock_without_cover_ends_the_job_and_the_others_go_back() {
    // Money for two of three.
    let (mut world, refused) = World::accepted(2 * PRICE + 1);
    assert!(matches!(refused[..], [Effect::Lock { id, .. }] if id == world.escrow.replicas()[2].id()));
    world.event(2_000, 2, Event::Cancel);
    assert_eq!(world.states(), [Some(EscrowState::Refunded), Some(EscrowState::Refunded), None]);
    assert_eq!(world.available(CLIENT), 2 * PRICE + 1);
}

#[test]
fn ids_of_replicas_are_apart() {
    let world = World::new(10_000);
    let job = world.job.id().unwrap();
    let mut ids: BTreeSet<u128> = world.escrow.replicas().iter().map(JobEscrow::id).collect();
    ids.insert(JobEscrow::new(job, account_of(&CLIENT)).id());
    assert_eq!(ids.len(), 4);
    assert_eq!(world.escrow.replicas()[2].id(), TransferId::replica_escrow(job.as_bytes(), 2).get());
    let mut escrow = world.escrow;
    let unknown = Err(SettlementError::UnknownReplica { replica: 3 });
    assert_eq!(escrow.effect(&(3, Output::Late), &[]), unknown);
    assert_eq!(escrow.open_bond(3, BOND).map(Some), unknown);
}
