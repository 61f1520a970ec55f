//! A job from matching to its end, with ML-DSA-65 signatures throughout, and every branch that fails.

use crate::support::common;

use std::sync::Arc;

use crate::support::common::{CHAIN, EPOCH, INPUT, Sig, claim, directory, key, party, reproducible, spec};
use hanzo_poai::*;
use proptest::prelude::*;

const HOUR: u64 = 3_600_000;
const CLIENT: u8 = 1;
const WORKER: u8 = 7;
const STANDBY: u8 = 8;

fn acceptance() -> Acceptance {
    Acceptance {
        worker: party(WORKER),
        price: 900,
        quote_expires: Millis::new(20_000),
        free_exposure: 10_000,
        standby: vec![party(STANDBY)],
    }
}

fn job() -> Job {
    Job::new(JobPolicy::default(), &CHAIN, &party(CLIENT), 0, spec(), Millis::new(0)).unwrap()
}

fn at(job: &mut Job, now: u64, event: Event) -> Vec<Output> {
    job.apply(event, Millis::new(now)).unwrap()
}

fn running() -> Job {
    let mut job = job();
    assert_eq!(at(&mut job, 1_000, Event::Accept(acceptance())), [Output::HoldEscrow(900)]);
    let assigned = at(&mut job, 2_000, Event::EscrowHeld(900));
    assert_eq!(assigned, [Output::Assign { worker: party(WORKER), assignment: 0 }]);
    assert_eq!(at(&mut job, 3_000, Event::Started(party(WORKER))), []);
    assert_eq!(job.state(), JobState::Running);
    job
}

fn honest(job: &Job) -> Attestation {
    claim(WORKER, *job.id()).build().unwrap()
}

/// Attested and committed; the window ends an hour after 5 s.
fn committed() -> (Job, Attestation) {
    let mut job = running();
    let att = honest(&job);
    assert_eq!(at(&mut job, 4_000, Event::Attest(Box::new(att.clone()))), []);
    assert_eq!(at(&mut job, 5_000, Event::Committed), []);
    assert_eq!(job.settle_at(), Some(Millis::new(5_000 + HOUR)));
    (job, att)
}

fn sampled() -> (Job, Attestation) {
    let (mut job, att) = committed();
    let asked = at(&mut job, 6_000, Event::Beacon { drawn: true });
    assert_eq!(asked, [Output::RequestAudit { attestation: att.hash(), slots: 0..1 }]);
    (job, att)
}

fn verdict(att: &Attestation, verifier: PartyId, decision: Decision) -> Verdict {
    Verdict {
        decision,
        comparator: ComparatorKind::Exact,
        verifier,
        attestation: att.hash(),
        epoch: EPOCH,
        score_q32: u64::from(decision == Decision::Mismatch) << 32,
        transcript: [3; 32],
    }
}

fn panel(att: &Attestation, votes: &[(u8, Decision)]) -> Panel {
    let ids: Vec<PartyId> = votes.iter().map(|(name, _)| party(*name)).collect();
    let mut panel = Panel::new(att.hash(), EPOCH, &ids).unwrap();
    for (name, decision) in votes {
        panel.commit(&party(*name), verdict(att, party(*name), *decision).commit(&[*name; 32])).unwrap();
    }
    for (name, decision) in votes {
        panel.reveal(verdict(att, party(*name), *decision), &[*name; 32]).unwrap();
    }
    panel
}

fn resolved(att: &Attestation, resolution: Resolution) -> Event {
    Event::Resolved(Resolved { attestation: att.hash(), resolution, withheld: Vec::new() })
}

fn fraud(att: &Attestation) -> Evidence {
    let (mut dispute, challenger) = open(att, 40);
    run(&mut dispute, att, [Decision::Mismatch; 3]);
    assert_ne!(challenger, party(WORKER));
    match dispute.resolved().unwrap().unwrap().resolution {
        Resolution::WorkerWrong(evidence) => evidence,
        other => panic!("{other:?}"),
    }
}

fn open(att: &Attestation, nonce: u64) -> (OutputDispute, PartyId) {
    let challenger = party(60);
    let id = dispute_id(&att.hash(), &challenger, nonce);
    let body = DisputeBody::Open {
        attestation: att.hash(),
        challenger,
        claim: Claim::OutputOnly,
        n_ops: 0,
        final_state: StateHash::new([0; 32]),
        nonce,
    };
    let message = DisputeMessage::new(Side::Challenger, id, 0, body).unwrap();
    let panel = Panel::new(att.hash(), EPOCH, &[party(51), party(52), party(53)]).unwrap();
    let policy = DisputePolicy::new(1_000).unwrap();
    let dispute =
        OutputDispute::open(&policy, &message, att, &reproducible(), panel, &[party(50)], Millis::new(0)).unwrap();
    (dispute, challenger)
}

fn run(dispute: &mut OutputDispute, att: &Attestation, decisions: [Decision; 3]) {
    for (name, decision) in (51..).zip(decisions) {
        let commitment = verdict(att, party(name), decision).commit(&[name; 32]);
        dispute.commit(&party(name), commitment, Millis::new(1)).unwrap();
    }
    for (name, decision) in (51..).zip(decisions) {
        dispute.reveal(verdict(att, party(name), decision), &[name; 32], Millis::new(2)).unwrap();
    }
}

/// Algorithm 1 of the source, every part through its public type.
#[test]
fn matching_to_settled_through_every_part() {
    let keys = directory([WORKER, 50]);
    let mut job = running();
    let order = WorkOrder::new(&CHAIN, &party(CLIENT), 0, spec(), party(WORKER), 0);
    assert_eq!(order.job(), job.id());

    // The worker attests and signs its batch; the wire carries both.
    let att = honest(&job);
    let batch = Batch::new(std::slice::from_ref(&att), BatchHash::new([0; 32])).unwrap();
    let wire = batch.sign::<Sig>(&key(WORKER)).unwrap().encode().unwrap();
    let signed = SignedBatch::<Sig>::decode(&wire).unwrap();
    let proof = batch.proof(0).unwrap();
    let mut log = WorkerLog::new(CHAIN, party(WORKER));
    let device = DeviceLimits { peak_flops: 1_000_000_000_000, params: 1_000_000 };
    let context =
        AdmissionContext { directory: &keys, log: &log, order: Some(&order), device: &device, quote: None, now: EPOCH };
    let provenance = Provenance::Batch { batch: &signed, proof: &proof };
    let (admitted, _) = Admission::new(CHAIN).check(&att.encode(), &provenance, &context).unwrap();
    log.append(admitted.clone()).unwrap();
    at(&mut job, 4_000, Event::Attest(Box::new(admitted)));

    // Contributions are committed to, then the header, then the secrets are revealed.
    let mut open = Commitments::new(CHAIN, EPOCH);
    for name in 30..33 {
        open.commit(Contribution::new(CHAIN, EPOCH, party(name), &[name; 32])).unwrap();
    }
    at(&mut job, 5_000, Event::Committed);
    let mut round = open.close(*signed.body().hash().as_bytes(), None, 3).unwrap();
    for name in 30..33 {
        round.reveal(&party(name), &[name; 32]).unwrap();
    }
    let beacon = *round.finish().unwrap().beacon();
    let drawn = Sampler::new(&beacon).draw(job.id(), 0, Probability::ALWAYS).selected();
    let requested = at(&mut job, 6_000, Event::Beacon { drawn });
    assert_eq!(requested, [Output::RequestAudit { attestation: att.hash(), slots: 0..1 }]);

    // The drawn verifier re-executes, commits, reveals.
    let candidates = [
        Candidate { id: party(WORKER), owner: party(90), weight: 1_000_000 },
        Candidate { id: party(50), owner: party(91), weight: 1 },
    ];
    let chosen = assign_verifiers(&beacon, job.id(), 0, &party(90), &candidates, 1).unwrap();
    assert_eq!(chosen, [party(50)]);
    let comparator = DefaultComparator::new(&reproducible()).unwrap();
    let claimed = Observation::Digest(att.output());
    let judged = comparator.thresholds().judge(comparator.compare(&claimed, &claimed)).unwrap();
    let said = Verdict {
        decision: judged.decision,
        comparator: comparator.kind(),
        score_q32: judged.score_q32,
        ..verdict(&att, party(50), Decision::Unavailable)
    };
    let said = Signed::<_, Sig>::sign(said, &key(50)).unwrap();
    said.verify(&keys[&(party(50), Suite::ML_DSA_65)]).unwrap();
    let mut panel = Panel::new(att.hash(), EPOCH, &chosen).unwrap();
    panel.commit(&party(50), said.body().commit(&[5; 32])).unwrap();
    panel.reveal(said.into_body(), &[5; 32]).unwrap();
    let counted = at(&mut job, 7_000, Event::Verdicts(panel));
    assert_eq!(counted, [Output::CountAudit { worker: party(WORKER), outcome: Outcome::Match }]);
    let mut record = Record::new(Arc::new(ConvictionPolicy::default()), EPOCH);
    assert_eq!(record.observe(RungId::new(0), Outcome::Match), Ok(Standing::Clear));

    assert_eq!(at(&mut job, 4_999 + HOUR, Event::Tick), []);
    let paid = at(&mut job, 5_000 + HOUR, Event::Tick);
    assert_eq!(
        paid,
        [
            Output::ReleaseEscrow { worker: party(WORKER), amount: 900 },
            Output::UpdateQuality { worker: party(WORKER), result_q32: Quality::ONE },
        ]
    );
    assert_eq!(job.state(), JobState::Settled);
    let after = job.apply(Event::Tick, Millis::new(2 * HOUR));
    assert_eq!(after, Err(Error::IllegalTransition { state: "settled", event: "tick" }));
}

#[test]
fn matching_and_escrow_branches() {
    let try_accept = |acceptance, now| job().apply(Event::Accept(acceptance), Millis::new(now));
    let dear = Acceptance { price: 1_001, ..acceptance() };
    assert_eq!(try_accept(dear, 0), Err(Error::AboveLimit { amount: 1_001, limit: 1_000 }));
    let thin = Acceptance { free_exposure: 899, ..acceptance() };
    assert_eq!(try_accept(thin, 0), Err(Error::AboveLimit { amount: 900, limit: 899 }));
    let late = Err(Error::DeadlinePassed { deadline_ms: 20_000, now_ms: 20_001 });
    assert_eq!(try_accept(acceptance(), 20_001), late);

    let mut open = job();
    assert_eq!(at(&mut open, 30_000, Event::Tick), []);
    assert_eq!(at(&mut open, 30_001, Event::Tick), []);
    assert_eq!(open.state(), JobState::Expired);

    let mut asked = job();
    at(&mut asked, 0, Event::Accept(acceptance()));
    let again = asked.apply(Event::Accept(acceptance()), Millis::new(1));
    assert_eq!(again, Err(Error::IllegalTransition { state: "matching", event: "accept" }));
    let short = asked.apply(Event::EscrowHeld(899), Millis::new(1));
    assert_eq!(short, Err(Error::AmountMismatch { want: 900, got: 899 }));
    assert_eq!(at(&mut asked.clone(), 1, Event::Cancel), [Output::ReleaseHold(900)]);
    assert_eq!(at(&mut asked.clone(), 30_001, Event::Tick), [Output::ReleaseHold(900)]);
    at(&mut asked, 5_000, Event::EscrowHeld(900));
    assert_eq!(at(&mut asked.clone(), 6_000, Event::Cancel), [Output::Refund(900)]);
    assert_eq!(asked.apply(Event::Started(party(9)), Millis::new(6_000)), Err(Error::NotAssigned));
    let back = asked.apply(Event::Tick, Millis::new(4_999));
    assert_eq!(back, Err(Error::ClockBackwards { last_ms: 5_000, now_ms: 4_999 }));
    let [Output::Refund(900), Output::Offence(offence)] = &at(&mut asked.clone(), 65_001, Event::Tick)[..] else {
        panic!("no refund and offence")
    };
    assert_eq!((offence.party(), offence.family()), (&party(WORKER), Family::Timeout));
    let passed_on = at(&mut asked, 6_000, Event::WorkerConvicted);
    assert_eq!(passed_on, [Output::Assign { worker: party(STANDBY), assignment: 1 }]);
    assert_eq!(asked.state(), JobState::Running);
    assert_eq!(at(&mut asked, 6_000, Event::WorkerConvicted), [Output::Refund(900)]);
    assert_eq!(asked.state(), JobState::Expired);

    let redundant = JobSpec::builder(common::MODEL, INPUT).assurance(Assurance::Redundant).replicas(3).build().unwrap();
    let refused = Job::new(JobPolicy::default(), &CHAIN, &party(1), 0, redundant, Millis::new(0));
    assert_eq!(refused, Err(Error::UnsupportedAssurance));
}

#[test]
fn late_and_absent_workers() {
    let mut job = running();
    let att = honest(&job);
    let stranger = claim(STANDBY, *job.id()).build().unwrap();
    assert_eq!(job.apply(Event::Attest(Box::new(stranger)), Millis::new(4_000)), Err(Error::NotAssigned));
    let late = at(&mut job.clone(), 13_001, Event::Attest(Box::new(att.clone())));
    assert_eq!(late, [Output::Late]);
    let missed = job.apply(Event::Attest(Box::new(att)), Millis::new(23_001));
    assert_eq!(missed, Err(Error::DeadlinePassed { deadline_ms: 23_000, now_ms: 23_001 }));
    assert_eq!(at(&mut job, 23_000, Event::Tick), []);
    let [Output::Offence(first), Output::Assign { worker, assignment: 1 }] = &at(&mut job, 23_001, Event::Tick)[..]
    else {
        panic!("not reassigned")
    };
    assert_eq!((first.party(), *worker, job.state()), (&party(WORKER), party(STANDBY), JobState::Running));
    let [Output::Offence(second), Output::Refund(900)] = &at(&mut job, 43_002, Event::Tick)[..] else {
        panic!("not refunded")
    };
    assert_eq!((second.party(), job.state()), (&party(STANDBY), JobState::Expired));
    // One timeout an epoch is free.
    let mut registry = Registry::new(SlashPolicy::default());
    assert_eq!(registry.submit(first, party(CLIENT)).unwrap().bps, BasisPoints::ZERO);
    assert_eq!(registry.submit(second, party(CLIENT)).unwrap().bps, BasisPoints::ZERO);
    let [Output::Refund(900), Output::Offence(third)] = &{
        let mut job = Job::new(JobPolicy::default(), &CHAIN, &party(2), 0, spec(), Millis::new(0)).unwrap();
        at(&mut job, 0, Event::Accept(acceptance()));
        at(&mut job, 0, Event::EscrowHeld(900));
        at(&mut job, 60_001, Event::Tick)
    }[..] else {
        panic!("no offence")
    };
    assert_eq!(registry.submit(third, party(CLIENT)).unwrap().bps.get(), 1_000);
}

#[test]
fn commitment_beacon_and_window() {
    let mut job = running();
    let att = honest(&job);
    at(&mut job, 4_000, Event::Attest(Box::new(att)));
    let early = job.apply(Event::Challenge(Bond { challenger: party(60), amount: 1 }), Millis::new(4_000));
    assert_eq!(early, Err(Error::IllegalTransition { state: "attested", event: "challenge" }));
    let mut uncommitted = job.clone();
    assert_eq!(at(&mut uncommitted, 5_000, Event::Beacon { drawn: false }), [Output::Refund(900)]);
    assert_eq!(uncommitted.state(), JobState::Expired);

    let (mut job, _) = committed();
    // The window alone pays nobody: the beacon has to have passed over the job.
    assert_eq!(at(&mut job.clone(), 10 * HOUR, Event::Tick), []);
    assert_eq!(at(&mut job, 6_000, Event::Beacon { drawn: false }), []);
    assert_eq!(job.state(), JobState::Attested);
    assert_eq!(at(&mut job, 7_000, Event::Beacon { drawn: true }), []);
    assert_eq!(job.state(), JobState::Attested, "a second beacon has no effect");
    assert_eq!(at(&mut job, 5_000 + HOUR, Event::Tick), []);
    assert_eq!(job.state(), JobState::Verified);
    let late = job.apply(Event::Challenge(Bond { challenger: party(60), amount: 1 }), Millis::new(5_000 + HOUR));
    assert!(matches!(late, Err(Error::DeadlinePassed { .. })));
    let paid = at(&mut job, 5_000 + HOUR, Event::Tick);
    assert_eq!(paid, [Output::ReleaseEscrow { worker: party(WORKER), amount: 900 }]);
}

#[test]
fn audits_without_a_decision() {
    let (mut job, att) = sampled();
    let other = claim(WORKER, *job.id()).output([1; 32]).build().unwrap();
    let stray = job.apply(Event::Verdicts(panel(&other, &[(50, Decision::Match)])), Millis::new(7_000));
    assert_eq!(stray, Err(Error::NotAssigned));
    let mut silent = Panel::new(att.hash(), EPOCH, &[party(50)]).unwrap();
    assert_eq!(job.apply(Event::Verdicts(silent.clone()), Millis::new(7_000)), Err(Error::OutOfTurn));
    silent.end_phase();
    let outputs = at(&mut job, 7_000, Event::Verdicts(silent));
    let [Output::RequestAudit { slots, .. }, Output::Offence(offence)] = &outputs[..] else { panic!("{outputs:?}") };
    assert_eq!((slots, offence.family()), (&(1..2), Family::VerdictWithheld));
    assert_eq!(job.state(), JobState::Sampled);
    assert_eq!(at(&mut job, 7_000 + HOUR, Event::Tick), []);
    assert_eq!(at(&mut job, 7_001 + HOUR, Event::Tick), []);
    assert_eq!(job.state(), JobState::Attested);
    at(&mut job, 7_001 + HOUR, Event::Tick);
    assert_eq!(job.state(), JobState::Verified);
}

#[test]
fn a_mismatch_leads_to_a_slash() {
    let (mut job, att) = sampled();
    let outputs = at(&mut job, 7_000, Event::Verdicts(panel(&att, &[(50, Decision::Mismatch)])));
    assert_eq!(
        outputs,
        [
            Output::RequestAudit { attestation: att.hash(), slots: 1..3 },
            Output::Escalate(party(WORKER)),
            Output::OpenDispute { attestation: att.hash(), bond: None },
        ]
    );
    let two_more = panel(&att, &[(55, Decision::Mismatch), (56, Decision::Match)]);
    let counted = at(&mut job.clone(), 8_000, Event::Verdicts(two_more));
    assert_eq!(counted, [Output::CountAudit { worker: party(WORKER), outcome: Outcome::Mismatch }]);
    // Two honest verifiers outvote a lying one.
    let two_more = panel(&att, &[(55, Decision::Match), (56, Decision::Match)]);
    let counted = at(&mut job, 8_000, Event::Verdicts(two_more));
    assert_eq!(counted, [Output::CountAudit { worker: party(WORKER), outcome: Outcome::Match }]);

    let mut right = job.clone();
    assert_eq!(at(&mut right, 9_000, resolved(&att, Resolution::WorkerRight)), []);
    assert_eq!(right.state(), JobState::Verified);
    let mut unknown = job.clone();
    assert_eq!(at(&mut unknown, 9_000, resolved(&att, Resolution::Undetermined)), [Output::Refund(900)]);
    assert_eq!(unknown.state(), JobState::Expired);

    let evidence = fraud(&att);
    let foreign = Evidence::outside(Family::Sybil, party(2), EPOCH, b"", |_, _, _| true).unwrap();
    let refused = job.apply(resolved(&att, Resolution::WorkerWrong(foreign)), Millis::new(9_000));
    assert_eq!(refused, Err(Error::NotAssigned));
    let outputs = at(&mut job, 9_000, resolved(&att, Resolution::WorkerWrong(evidence.clone())));
    assert_eq!(outputs, [Output::Refund(900), Output::Offence(evidence.clone())]);
    assert_eq!(job.state(), JobState::Slashed);
    let order = Registry::new(SlashPolicy::default()).submit(&evidence, party(50)).unwrap();
    assert_eq!((order.party, order.family, order.bps), (party(WORKER), Family::WrongOutput, BasisPoints::ALL));
    assert_eq!((order.epoch, order.contest_ms), (EPOCH, 0));
}

#[test]
fn challenges_and_bonds() {
    let bond = Bond { challenger: party(60), amount: 1_800 };
    let (job, att) = committed();
    let mut none = job.clone();
    let empty = none.apply(Event::Challenge(Bond { amount: 0, ..bond }), Millis::new(6_000));
    assert_eq!(empty, Err(Error::InvalidField("bond")));
    let disputed = || {
        let mut job = job.clone();
        let outputs = at(&mut job, 6_000, Event::Challenge(bond));
        assert_eq!(outputs, [Output::OpenDispute { attestation: att.hash(), bond: Some(bond) }]);
        job
    };
    let mut right = disputed();
    let outputs = at(&mut right, 2 * HOUR, resolved(&att, Resolution::WorkerRight));
    assert_eq!(outputs, [Output::ForfeitBond(bond)]);
    // The window was outlasted and ends now.
    assert_eq!((right.state(), right.settle_at()), (JobState::Verified, Some(Millis::new(2 * HOUR))));
    let paid = at(&mut right, 2 * HOUR, Event::Tick);
    assert_eq!(paid, [Output::ReleaseEscrow { worker: party(WORKER), amount: 900 }]);
    let outputs = at(&mut disputed(), 7_000, resolved(&att, Resolution::Undetermined));
    assert_eq!(outputs, [Output::Refund(900), Output::ReturnBond(bond)]);
    let evidence = fraud(&att);
    let outputs = at(&mut disputed(), 7_000, resolved(&att, Resolution::WorkerWrong(evidence.clone())));
    assert_eq!(outputs, [Output::Refund(900), Output::ReturnBond(bond), Output::Offence(evidence)]);
    let mut convicted = disputed();
    let outputs = at(&mut convicted, 7_000, Event::WorkerConvicted);
    assert_eq!(outputs, [Output::Refund(900), Output::ReturnBond(bond)]);
    assert_eq!(convicted.state(), JobState::Slashed);

    // Challenging one's own drawn job does not hide its audit.
    let (mut job, att) = sampled();
    at(&mut job, 7_000, Event::Challenge(bond));
    let counted = at(&mut job, 8_000, Event::Verdicts(panel(&att, &[(50, Decision::Mismatch)])));
    assert_eq!(counted, [Output::CountAudit { worker: party(WORKER), outcome: Outcome::Mismatch }]);
}

/// A dispute that ends before the audit's last verdicts still leaves one outcome, and a just one.
#[test]
fn a_drawn_job_counts_once_whatever_comes_first() {
    let counted = |outcome| Output::CountAudit { worker: party(WORKER), outcome };
    let (mut job, att) = sampled();
    let mut challenged = job.clone();
    at(&mut challenged, 7_000, Event::Challenge(Bond { challenger: party(60), amount: 1 }));
    let outputs = at(&mut challenged, 8_000, resolved(&att, Resolution::WorkerRight));
    assert_eq!(outputs[0], counted(Outcome::Match));
    at(&mut job, 7_000, Event::Verdicts(panel(&att, &[(50, Decision::Mismatch)])));
    for (resolution, outcome) in [
        (Resolution::WorkerRight, Outcome::Match),
        (Resolution::WorkerWrong(fraud(&att)), Outcome::Mismatch),
        (Resolution::Undetermined, Outcome::Mismatch),
    ] {
        let outputs = at(&mut job.clone(), 8_000, resolved(&att, resolution));
        assert_eq!(outputs.iter().filter(|output| matches!(output, Output::CountAudit { .. })).count(), 1);
        assert_eq!(outputs[0], counted(outcome));
    }
}

#[test]
fn disputes_refuse_what_does_not_fit() {
    let att = honest(&job());
    let open = |att: &Attestation, environment: &Environment, claim, verifiers: [u8; 3], about: AttestationHash| {
        let challenger = party(60);
        let body = DisputeBody::Open {
            attestation: about,
            challenger,
            claim,
            n_ops: 0,
            final_state: StateHash::new([0; 32]),
            nonce: 0,
        };
        let message = DisputeMessage::new(Side::Challenger, dispute_id(&about, &challenger, 0), 0, body).unwrap();
        let panel = Panel::new(about, EPOCH, &verifiers.map(party)).unwrap();
        let policy = DisputePolicy::default();
        OutputDispute::open(&policy, &message, att, environment, panel, &[party(50)], Millis::new(0)).map(|_| ())
    };
    let (env, hash, only) = (reproducible(), att.hash(), Claim::OutputOnly);
    assert_eq!(open(&att, &env, only, [51, 52, 53], hash), Ok(()));
    assert_eq!(open(&att, &env, Claim::Trace, [51, 52, 53], hash), Err(Error::InvalidField("claim")));
    let other = AttestationHash::new([0; 32]);
    assert_eq!(open(&att, &env, only, [51, 52, 53], other), Err(Error::InvalidField("attestation")));
    let elsewhere = Environment { device_class: 9, ..env };
    assert_eq!(open(&att, &elsewhere, only, [51, 52, 53], hash), Err(Error::InvalidField("environment")));
    for stale in [50, 60, WORKER] {
        assert_eq!(open(&att, &env, only, [51, 52, stale], hash), Err(Error::Duplicate("verifier")));
    }
    let traced = claim(WORKER, *job().id()).trace(Some([1; 32])).build().unwrap();
    assert_eq!(open(&traced, &env, only, [51, 52, 53], traced.hash()), Err(Error::InvalidField("trace")));
    let wrong_id = DisputeBody::Open {
        attestation: hash,
        challenger: party(60),
        claim: only,
        n_ops: 0,
        final_state: StateHash::new([0; 32]),
        nonce: 1,
    };
    let id = dispute_id(&hash, &party(60), 0);
    assert_eq!(DisputeMessage::new(Side::Challenger, id, 0, wrong_id), Err(Error::InvalidField("dispute")));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, failure_persistence: None, ..ProptestConfig::default() })]

    /// With honest verifiers the right side wins; one dissent or absence decides nothing; and every dispute
    /// ends within two phases.
    #[test]
    fn disputes_are_just_and_end(
        wrong in any::<bool>(), odd in proptest::option::of(0usize..3), silent in proptest::option::of(0usize..3),
        exact in any::<bool>(),
    ) {
        let att = honest(&job());
        let (mut dispute, _) = open(&att, 7);
        let honest = if wrong { Decision::Mismatch } else { Decision::Match };
        let lie = if wrong { Decision::Match } else { Decision::Mismatch };
        let verdict_of = |i: usize| {
            let decision = if odd == Some(i) { lie } else { honest };
            let mut verdict = verdict(&att, party(51 + i as u8), decision);
            if !exact {
                verdict.comparator = ComparatorKind::ElementWise;
            }
            verdict
        };
        for i in (0..3).filter(|i| silent != Some(*i)) {
            let said = verdict_of(i);
            dispute.commit(&said.verifier, said.commit(&[1; 32]), Millis::new(10)).unwrap();
        }
        dispute.tick(Millis::new(1_001)).unwrap();
        for i in (0..3).filter(|i| silent != Some(*i)) {
            // Whoever is after the deadline is not heard.
            dispute.reveal(verdict_of(i), &[1; 32], Millis::new(1_001)).ok();
        }
        let outcome = dispute.tick(Millis::new(2_001)).unwrap().expect("ended within two phases");
        prop_assert_eq!(outcome.attestation, att.hash());
        let unanimous = odd.is_none() && silent.is_none();
        // With everybody committed at 10 the reveals end at 1,010.
        match outcome.resolution {
            Resolution::WorkerRight => prop_assert!(unanimous && !wrong),
            Resolution::WorkerWrong(evidence) => {
                prop_assert!(unanimous && wrong && exact);
                prop_assert_eq!(evidence.party(), &party(WORKER));
                prop_assert_eq!(evidence.kind(), EvidenceKind::ExactFraud);
            }
            Resolution::Undetermined => prop_assert!(!unanimous || (wrong && !exact)),
        }
        let unheard: Vec<PartyId> = outcome.withheld.iter().map(|evidence| *evidence.party()).collect();
        prop_assert_eq!(unheard, silent.map(|i| party(51 + i as u8)).into_iter().collect::<Vec<_>>());
    }
}

#[test]
fn reveals_after_the_deadline_are_not_heard() {
    let att = honest(&job());
    let (mut dispute, _) = open(&att, 1);
    let said = verdict(&att, party(51), Decision::Match);
    dispute.commit(&said.verifier, said.commit(&[1; 32]), Millis::new(10)).unwrap();
    let late = Err(Error::DeadlinePassed { deadline_ms: 1_000, now_ms: 1_001 });
    assert_eq!(dispute.commit(&party(52), [0; 32], Millis::new(1_001)), late);
    assert_eq!(dispute.tick(Millis::new(1_001)).unwrap(), None);
    let back = Err(Error::ClockBackwards { last_ms: 1_001, now_ms: 1_000 });
    assert_eq!(dispute.tick(Millis::new(1_000)), back);
    let late = dispute.reveal(said, &[1; 32], Millis::new(2_001));
    assert_eq!(late, Err(Error::DeadlinePassed { deadline_ms: 2_000, now_ms: 2_001 }));
    let outcome = dispute.tick(Millis::new(2_001)).unwrap().unwrap();
    assert_eq!((outcome.resolution, outcome.withheld.len()), (Resolution::Undetermined, 3));
}
