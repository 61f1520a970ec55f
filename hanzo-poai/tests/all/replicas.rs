//! Jobs of several replicas, and jobs with a succinct proof.

use crate::support::common;

use crate::support::common::{CHAIN, EPOCH, INPUT, MODEL, claim, directory, key, party, reproducible};
use hanzo_poai::*;
use proptest::prelude::*;

const HOUR: u64 = 3_600_000;
const PRICE: u128 = 90;

fn spec(k: u8) -> JobSpec {
    let assurance = if k == 1 { Assurance::Proof } else { Assurance::Redundant };
    JobSpec::builder(MODEL, INPUT)
        .assurance(assurance)
        .replicas(k)
        .dtype(DType::Integer)
        .sla_ms(10_000)
        .max_price(100)
        .build()
        .unwrap()
}

fn acceptance(worker: u8) -> Acceptance {
    Acceptance {
        worker: party(worker),
        price: PRICE,
        quote_expires: Millis::new(20_000),
        free_exposure: 500,
        standby: vec![party(worker + 100)],
    }
}

fn at(job: &mut ReplicatedJob, now: u64, replica: usize, event: Event) -> Vec<Output> {
    let outputs = job.apply(replica, event, Millis::new(now)).unwrap();
    outputs.into_iter().map(|(_, output)| output).collect()
}

fn running(k: u8) -> ReplicatedJob {
    let mut job = ReplicatedJob::new(JobPolicy::default(), &CHAIN, &party(1), 0, spec(k), Millis::new(0)).unwrap();
    for replica in 0..k {
        let outputs = at(&mut job, 1_000, replica.into(), Event::Accept(acceptance(10 + replica)));
        assert_eq!(outputs, [Output::HoldEscrow(PRICE)]);
    }
    for replica in 0..k {
        let outputs = at(&mut job, 2_000, replica.into(), Event::EscrowHeld(PRICE));
        if replica + 1 < k {
            assert_eq!(outputs, []);
            assert_eq!(job.state(), JobState::Matching);
        } else {
            let assigned = (0..k).map(|i| Output::Assign { worker: party(10 + i), assignment: i.into() });
            assert_eq!(outputs, assigned.collect::<Vec<_>>());
        }
    }
    for replica in 0..k {
        at(&mut job, 3_000, replica.into(), Event::Started(party(10 + replica)));
    }
    job
}

fn attestation(job: &ReplicatedJob, replica: usize, output: u8) -> Attestation {
    let leg = &job.replicas()[replica];
    let mut raw = claim(0, *leg.id()).output([output; 32]).worker(leg.worker().unwrap());
    raw = raw.assignment(leg.assignment());
    raw.build().unwrap()
}

/// All replicas attest these outputs; committed and not drawn.
fn attested(outputs: &[u8]) -> (ReplicatedJob, Vec<Attestation>) {
    let mut job = running(outputs.len() as u8);
    let claims: Vec<Attestation> =
        (0..).zip(outputs).map(|(replica, output)| attestation(&job, replica, *output)).collect();
    for (replica, claim) in claims.iter().enumerate() {
        at(&mut job, 4_000, replica, Event::Attest(Box::new(claim.clone())));
        at(&mut job, 5_000, replica, Event::Committed);
        at(&mut job, 6_000, replica, Event::Beacon { drawn: false });
    }
    (job, claims)
}

fn same_output(job: &ReplicatedJob) -> impl Fn(usize, usize) -> bool + use<> {
    let outputs: Vec<Option<Hash>> = job.replicas().iter().map(Job::output).collect();
    move |a, b| outputs[a] == outputs[b]
}

fn fraud(att: &Attestation) -> Evidence {
    let challenger = party(60);
    let body = DisputeBody::Open {
        attestation: att.hash(),
        challenger,
        claim: Claim::OutputOnly,
        n_ops: 0,
        final_state: StateHash::new([0; 32]),
        nonce: 0,
    };
    let message = DisputeMessage::new(Side::Challenger, dispute_id(&att.hash(), &challenger, 0), 0, body).unwrap();
    let names = [51, 52, 53];
    let panel = Panel::new(att.hash(), EPOCH, &names.map(party)).unwrap();
    let policy = DisputePolicy::default();
    let mut dispute = OutputDispute::open(&policy, &message, att, &reproducible(), panel, &[], Millis::new(0)).unwrap();
    let verdict = |name| Verdict {
        decision: Decision::Mismatch,
        comparator: ComparatorKind::Exact,
        verifier: party(name),
        attestation: att.hash(),
        epoch: EPOCH,
        score_q32: 0,
        transcript: [1; 32],
    };
    for name in names {
        dispute.commit(&party(name), verdict(name).commit(&[name; 32]), Millis::new(1)).unwrap();
    }
    for name in names {
        dispute.reveal(verdict(name), &[name; 32], Millis::new(2)).unwrap();
    }
    match dispute.resolved().unwrap().unwrap().resolution {
        Resolution::WorkerWrong(evidence) => evidence,
        other => panic!("{other:?}"),
    }
}

fn resolved(att: &Attestation, resolution: Resolution) -> Event {
    Event::Resolved(Resolved { attestation: att.hash(), resolution, withheld: Vec::new() })
}

#[test]
fn all_agree_and_all_are_paid() {
    let (mut job, _) = attested(&[7, 7, 7]);
    // Nothing falls due before the comparison.
    assert_eq!(job.tick(Millis::new(2 * HOUR)).unwrap(), []);
    assert_eq!(job.state(), JobState::Attested);
    let outputs = job.compare(same_output(&job), Millis::new(2 * HOUR)).unwrap();
    assert_eq!(outputs, [(0, Output::Deliver { output: [7; 32] })]);
    assert_eq!(job.delivered(), Some(&[7; 32]));
    let again = job.compare(|_, _| true, Millis::new(2 * HOUR));
    assert_eq!(again, Err(Error::IllegalTransition { state: "attested", event: "compare" }));
    assert_eq!(job.tick(Millis::new(2 * HOUR)).unwrap(), []);
    let paid = job.tick(Millis::new(2 * HOUR)).unwrap();
    let want: Vec<_> =
        (0..3u8).map(|i| (i.into(), Output::ReleaseEscrow { worker: party(10 + i), amount: PRICE })).collect();
    assert_eq!((paid, job.state()), (want, JobState::Settled));
}

#[test]
fn the_odd_one_is_disputed_and_slashed_alone() {
    let (mut job, claims) = attested(&[7, 8, 7]);
    let outputs = job.compare(same_output(&job), Millis::new(7_000)).unwrap();
    let hash = claims[1].hash();
    let want = [(0, Output::Deliver { output: [7; 32] }), (1, Output::OpenDispute { attestation: hash, bond: None })];
    assert_eq!((outputs.as_slice(), job.state()), (&want[..], JobState::Disputed));
    let evidence = fraud(&claims[1]);
    let outputs = at(&mut job, 8_000, 1, resolved(&claims[1], Resolution::WorkerWrong(evidence.clone())));
    assert_eq!(outputs, [Output::Refund(PRICE), Output::Offence(evidence)]);
    job.tick(Millis::new(5_000 + HOUR)).unwrap();
    let paid = job.tick(Millis::new(5_000 + HOUR)).unwrap();
    let payees: Vec<usize> = paid.iter().map(|(replica, _)| *replica).collect();
    assert_eq!((payees, job.state()), (vec![0, 2], JobState::Settled));
}

#[test]
fn a_bought_majority_slashes_nobody() {
    let (mut job, claims) = attested(&[8, 7, 8]);
    let outputs = job.compare(same_output(&job), Millis::new(7_000)).unwrap();
    assert_eq!(outputs[1], (1, Output::OpenDispute { attestation: claims[1].hash(), bond: None }));
    // The three fresh verifiers find the odd one right: it is paid.
    assert_eq!(at(&mut job, 8_000, 1, resolved(&claims[1], Resolution::WorkerRight)), []);
    assert_eq!(job.replicas()[1].state(), JobState::Verified);
    // The colluders are found out by anybody's challenge.
    let bond = Bond { challenger: party(60), amount: 5 };
    at(&mut job, 9_000, 0, Event::Challenge(bond));
    let evidence = fraud(&claims[0]);
    let outputs = at(&mut job, 9_000, 0, resolved(&claims[0], Resolution::WorkerWrong(evidence.clone())));
    assert_eq!(outputs, [Output::Refund(PRICE), Output::ReturnBond(bond), Output::Offence(evidence)]);
}

#[test]
fn without_a_majority_all_are_disputed() {
    let (mut job, claims) = attested(&[6, 7, 8]);
    let outputs = job.compare(same_output(&job), Millis::new(7_000)).unwrap();
    let want: Vec<_> =
        (0..).zip(&claims).map(|(i, att)| (i, Output::OpenDispute { attestation: att.hash(), bond: None })).collect();
    assert_eq!((outputs, job.delivered()), (want, None));
    for (i, att) in claims.iter().enumerate() {
        at(&mut job, 8_000, i, resolved(att, Resolution::WorkerWrong(fraud(att))));
    }
    assert_eq!(job.state(), JobState::Slashed);

    // Matching need not be transitive: 0 and 2 match 1, which is lowest with a majority, but not each other.
    let (mut job, claims) = attested(&[6, 7, 8]);
    let outputs = job.compare(|a, b| a.abs_diff(b) < 2, Millis::new(7_000)).unwrap();
    assert_eq!(outputs[0], (0, Output::Deliver { output: [6; 32] }));
    assert_eq!(outputs[1], (2, Output::OpenDispute { attestation: claims[2].hash(), bond: None }));
}

#[test]
fn absent_and_convicted_workers_end_alone() {
    let mut job = running(3);
    let early = job.compare(|_, _| true, Millis::new(3_500));
    assert_eq!(early, Err(Error::IllegalTransition { state: "running", event: "compare" }));
    let (one, two) = (attestation(&job, 0, 7), attestation(&job, 2, 7));
    at(&mut job, 4_000, 0, Event::Attest(Box::new(one)));
    // Replica 1 is convicted while one is in: its stand-by takes over, with the next free assignment.
    let outputs = at(&mut job, 5_000, 1, Event::WorkerConvicted);
    assert_eq!(outputs, [Output::Assign { worker: party(111), assignment: 3 }]);
    at(&mut job, 5_000, 2, Event::Attest(Box::new(two)));
    // With two in, absence ends the third.
    let outputs = job.tick(Millis::new(26_000)).unwrap();
    let [(1, Output::Offence(offence)), (1, Output::Refund(PRICE))] = &outputs[..] else { panic!("{outputs:?}") };
    assert_eq!((offence.party(), offence.family()), (&party(111), Family::Timeout));
    for replica in [0, 2] {
        at(&mut job, 27_000, replica, Event::Committed);
        at(&mut job, 28_000, replica, Event::Beacon { drawn: false });
    }
    let outputs = job.compare(same_output(&job), Millis::new(29_000)).unwrap();
    assert_eq!(outputs, [(0, Output::Deliver { output: [7; 32] })]);

    // One alone of three is no majority.
    let mut job = running(3);
    let one = attestation(&job, 0, 7);
    at(&mut job, 4_000, 0, Event::Attest(Box::new(one.clone())));
    for _ in 0..2 {
        at(&mut job, 5_000, 1, Event::WorkerConvicted);
        at(&mut job, 5_000, 2, Event::WorkerConvicted);
    }
    let outputs = job.compare(|_, _| true, Millis::new(6_000)).unwrap();
    assert_eq!(outputs, [(0, Output::OpenDispute { attestation: one.hash(), bond: None })]);
}

#[test]
fn matching_is_for_all_or_none() {
    let new = || ReplicatedJob::new(JobPolicy::default(), &CHAIN, &party(1), 0, spec(3), Millis::new(0)).unwrap();
    let mut job = new();
    at(&mut job, 0, 0, Event::Accept(acceptance(10)));
    let twice = job.apply(1, Event::Accept(acceptance(10)), Millis::new(1));
    assert_eq!(twice, Err(Error::Duplicate("worker")));
    let standby = job.apply(1, Event::Accept(acceptance(110)), Millis::new(1));
    assert_eq!(standby, Err(Error::Duplicate("worker")));
    assert_eq!(job.apply(3, Event::Accept(acceptance(20)), Millis::new(1)), Err(Error::NotAssigned));
    at(&mut job, 2, 1, Event::Accept(acceptance(11)));
    assert_eq!(job.apply(0, Event::EscrowHeld(1), Millis::new(3)), Err(Error::AmountMismatch { want: PRICE, got: 1 }));
    at(&mut job, 3, 0, Event::EscrowHeld(PRICE));
    assert!(job.apply(0, Event::EscrowHeld(PRICE), Millis::new(3)).is_err());
    assert!(job.apply(2, Event::EscrowHeld(PRICE), Millis::new(3)).is_err());
    assert!(job.apply(0, Event::ReplicasDisagree, Millis::new(3)).is_err());
    // The third never comes: what was held goes back.
    let outputs = job.tick(Millis::new(30_001)).unwrap();
    assert_eq!(outputs, [(0, Output::ReleaseHold(PRICE)), (1, Output::ReleaseHold(PRICE))]);
    assert_eq!(job.state(), JobState::Expired);
    let mut job = running(3);
    assert!(job.apply(0, Event::Cancel, Millis::new(4_000)).is_err());
    let single = ReplicatedJob::new(JobPolicy::default(), &CHAIN, &party(1), 0, spec(1), Millis::new(0));
    assert_eq!(single, Err(Error::UnsupportedAssurance));
    assert_eq!(job.tick(Millis::new(0)), Err(Error::ClockBackwards { last_ms: 3_000, now_ms: 0 }));
}

fn proof_job(report: Option<&TaskReport>) -> (Job, Attestation) {
    let mut job = Job::new(JobPolicy::default(), &CHAIN, &party(1), 0, spec(1), Millis::new(0)).unwrap();
    let at = |job: &mut Job, now, event| job.apply(event, Millis::new(now)).unwrap();
    at(&mut job, 0, Event::Accept(acceptance(10)));
    at(&mut job, 0, Event::EscrowHeld(PRICE));
    at(&mut job, 0, Event::Started(party(10)));
    let att = claim(10, *job.id()).report(report.map(TaskReport::hash)).build().unwrap();
    at(&mut job, 1_000, Event::Attest(Box::new(att.clone())));
    (job, att)
}

#[test]
fn a_proof_settles_at_once_and_its_absence_costs() {
    // A stand-in for a proof system: the proof is the output itself.
    let system = |_: &ModelHash, _: &Hash, output: &Hash, proof: &[u8]| Ok(proof == output);
    let (job, att) = proof_job(None);
    assert_eq!(ProvenOutput::check(&att, b"?", &system), Err(Error::BadProof));
    let proven = ProvenOutput::check(&att, &att.output(), &system).unwrap();
    let mut early = job.clone();
    let uncommitted = early.apply(Event::ProofAccepted(proven), Millis::new(2_000));
    assert_eq!(uncommitted, Err(Error::IllegalTransition { state: "attested", event: "proof accepted" }));
    let mut job = job;
    job.apply(Event::Committed, Millis::new(2_000)).unwrap();
    let other = claim(10, *job.id()).output([9; 32]).build().unwrap();
    let foreign = ProvenOutput::check(&other, &[9; 32], &system).unwrap();
    assert_eq!(job.apply(Event::ProofAccepted(foreign), Millis::new(3_000)), Err(Error::NotAssigned));

    let mut paid = job.clone();
    paid.apply(Event::ProofAccepted(proven), Millis::new(3_000)).unwrap();
    assert_eq!((paid.state(), paid.settle_at()), (JobState::Verified, Some(Millis::new(3_000))));
    let outputs = paid.apply(Event::Tick, Millis::new(3_000)).unwrap();
    assert_eq!(outputs, [Output::ReleaseEscrow { worker: party(10), amount: PRICE }]);

    job.apply(Event::Beacon { drawn: false }, Millis::new(4_000)).unwrap();
    assert_eq!(job.apply(Event::Tick, Millis::new(HOUR)).unwrap(), []);
    let outputs = job.apply(Event::Tick, Millis::new(2_000 + HOUR)).unwrap();
    let [Output::Refund(PRICE), Output::Offence(offence)] = &outputs[..] else { panic!("{outputs:?}") };
    assert_eq!((offence.kind(), offence.family()), (EvidenceKind::ProofMissing, Family::InvalidAttestation));
    assert_eq!(job.state(), JobState::Expired);
    // An optimistic job takes no proof.
    let plain = JobSpec::builder(MODEL, INPUT).build().unwrap();
    assert_eq!(plain.assurance(), Assurance::Optimistic);
}

#[test]
fn a_proof_of_another_output_convicts() {
    let system = |_: &ModelHash, _: &Hash, output: &Hash, proof: &[u8]| Ok(proof == output);
    let (_, att) = proof_job(None);
    let signed = Signed::<_, common::Sig>::sign(att.clone(), &key(10)).unwrap();
    let provenance = Provenance::Signature(signed.signature());
    let keys = directory([10]);
    let refute = |environment: &Environment, output: Hash, proof: &[u8]| {
        Evidence::refuted_by_proof(&att, &provenance, &keys, environment, &output, proof, &system)
    };
    let evidence = refute(&reproducible(), [9; 32], &[9; 32]).unwrap();
    assert_eq!((evidence.kind(), evidence.family()), (EvidenceKind::RefutedByProof, Family::WrongOutput));
    assert_eq!(refute(&reproducible(), [9; 32], b"?"), Err(Error::NoOffence));
    assert_eq!(refute(&reproducible(), att.output(), &att.output()), Err(Error::NoOffence));
    let noisy = Environment { dtype: DType::Bf16, batch_invariant: false, ..reproducible() };
    assert_eq!(refute(&noisy, [9; 32], &[9; 32]), Err(Error::InvalidField("environment")));
}

#[test]
fn scores_are_for_verified_jobs_and_their_own_report() {
    let (job, _) = proof_job(None);
    let report = TaskReport {
        schema: 1,
        worker: party(10),
        job: *job.id(),
        delta_i_q32: 5 << 32,
        delta_u_q32: 2 << 32,
        evaluation: [1; 32],
        prior: [2; 32],
    };
    let policy = ScorePolicy::new(TaskMetrics { flops: 1_000_000_000, net_bytes: 1, energy_mj: 1 }).unwrap();
    let (mut job, att) = proof_job(Some(&report));
    let early = job.task_score_q32(&policy, &report);
    assert_eq!(early, Err(Error::IllegalTransition { state: "attested", event: "task score" }));
    job.apply(Event::Committed, Millis::new(2_000)).unwrap();
    let proven = ProvenOutput::check(&att, b"", &|_: &ModelHash, _: &Hash, _: &Hash, _: &[u8]| Ok(true)).unwrap();
    job.apply(Event::ProofAccepted(proven), Millis::new(3_000)).unwrap();
    // 5 + 2/2 - 1/10 of a third of 10^9 operations, in units of 10^9.
    let score = job.task_score_q32(&policy, &report).unwrap() as f64 / 4_294_967_296.0;
    assert!((score - (6.0 - 0.1 / 3.0)).abs() < 1e-8, "{score}");
    let better = TaskReport { delta_i_q32: 50 << 32, ..report };
    assert_eq!(job.task_score_q32(&policy, &better), Err(Error::SpecMismatch("report")));
}

#[derive(Debug, Clone)]
enum Step {
    Accept,
    Escrow,
    Cancel,
    Start,
    Attest(u8),
    Commit,
    Beacon(bool),
    Verdict(Decision),
    Challenge,
    Right,
    Wrong,
    Undetermined,
    Convicted,
    Compare,
    Tick,
}

fn step() -> impl Strategy<Value = (Step, usize, u64)> {
    let decision = prop_oneof![Just(Decision::Match), Just(Decision::Mismatch), Just(Decision::Unavailable)];
    let step = prop_oneof![
        Just(Step::Accept),
        Just(Step::Escrow),
        Just(Step::Cancel),
        Just(Step::Start),
        (0u8..2).prop_map(Step::Attest),
        Just(Step::Commit),
        any::<bool>().prop_map(Step::Beacon),
        decision.prop_map(Step::Verdict),
        Just(Step::Challenge),
        Just(Step::Right),
        Just(Step::Wrong),
        Just(Step::Undetermined),
        Just(Step::Convicted),
        Just(Step::Compare),
        Just(Step::Tick),
    ];
    (step, 0usize..3, prop_oneof![6 => 0u64..5_000, 1 => Just(25_000u64), 1 => Just(HOUR)])
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..ProptestConfig::default() })]

    /// Whatever happens to which replica: the escrow of each leaves exactly once and is paid only when settled.
    #[test]
    fn money_is_conserved_for_every_replica(
        start in any::<bool>(), steps in proptest::collection::vec(step(), 0..80),
    ) {
        let mut job = if start {
            running(3)
        } else {
            ReplicatedJob::new(JobPolicy::default(), &CHAIN, &party(1), 0, spec(3), Millis::new(0)).unwrap()
        };
        let mut balance = if start { [(PRICE, 0u128); 3] } else { [(0, 0); 3] };
        let (mut now, mut bonds) = (3_000u64, [0u128; 3]);
        for (step, replica, wait) in steps {
            now += wait;
            let leg = &job.replicas()[replica];
            let att = leg.worker().map(|_| attestation(&job, replica, 7));
            let stored = (0..2).filter_map(|output| leg.worker().map(|_| attestation(&job, replica, output)))
                .find(|att| Some(att.output()) == leg.output()).or(att);
            let bond = Bond { challenger: party(60), amount: 3 };
            let before = job.clone();
            let result = match (&step, stored) {
                (Step::Compare, _) => job.compare(same_output(&before), Millis::new(now)),
                (Step::Tick, _) => job.tick(Millis::new(now)),
                (step, stored) => {
                    let resolve = |resolution| stored.as_ref().map(|att| resolved(att, resolution));
                    let event = match step {
                        Step::Accept => Some(Event::Accept(acceptance(10 + replica as u8))),
                        Step::Escrow => Some(Event::EscrowHeld(PRICE)),
                        Step::Cancel => Some(Event::Cancel),
                        Step::Start => leg.worker().map(Event::Started),
                        Step::Attest(output) => leg.worker().map(|_| Event::Attest(Box::new(attestation(&job, replica, *output)))),
                        Step::Commit => Some(Event::Committed),
                        Step::Beacon(drawn) => Some(Event::Beacon { drawn: *drawn }),
                        Step::Verdict(decision) => stored.as_ref().map(|att| {
                            let mut panel = Panel::new(att.hash(), EPOCH, &[party(50)]).unwrap();
                            let verdict = Verdict {
                                decision: *decision,
                                comparator: ComparatorKind::Exact,
                                verifier: party(50),
                                attestation: att.hash(),
                                epoch: EPOCH,
                                score_q32: 0,
                                transcript: [0; 32],
                            };
                            panel.commit(&party(50), verdict.commit(&[0; 32])).unwrap();
                            panel.reveal(verdict, &[0; 32]).unwrap();
                            Event::Verdicts(panel)
                        }),
                        Step::Challenge => Some(Event::Challenge(bond)),
                        Step::Right => resolve(Resolution::WorkerRight),
                        Step::Undetermined => resolve(Resolution::Undetermined),
                        Step::Wrong => stored.as_ref().map(|att| resolved(att, Resolution::WorkerWrong(fraud(att)))),
                        _ => Some(Event::WorkerConvicted),
                    };
                    let Some(event) = event else { continue };
                    job.apply(replica, event, Millis::new(now))
                }
            };
            let Ok(outputs) = result else {
                prop_assert_eq!(&job, &before);
                continue;
            };
            if matches!(step, Step::Challenge) {
                bonds[replica] += bond.amount;
            }
            for (replica, output) in outputs {
                let state = job.replicas()[replica].state();
                match output {
                    Output::HoldEscrow(amount) => balance[replica].0 += amount,
                    Output::ReleaseHold(amount) | Output::Refund(amount) => balance[replica].1 += amount,
                    Output::ReleaseEscrow { amount, .. } => {
                        prop_assert_eq!(state, JobState::Settled);
                        balance[replica].1 += amount;
                    }
                    Output::ReturnBond(bond) | Output::ForfeitBond(bond) => bonds[replica] -= bond.amount,
                    _ => {}
                }
            }
            for (leg, (asked, left)) in job.replicas().iter().zip(balance) {
                prop_assert_eq!(if leg.state().is_terminal() { asked } else { 0 }, left);
            }
        }
        for (leg, bond) in job.replicas().iter().zip(bonds) {
            prop_assert!(!leg.state().is_terminal() || bond == 0);
        }
    }
}
