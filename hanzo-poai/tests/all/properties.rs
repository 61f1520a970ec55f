//! Laws that hold for every input.

use crate::support::common;

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::support::common::{CHAIN, EPOCH, chain, claim, party, reproducible, spec};
use hanzo_poai::*;
use proptest::prelude::*;

fn cases(count: u32) -> ProptestConfig {
    ProptestConfig { cases: count, failure_persistence: None, ..ProptestConfig::default() }
}

/// `encode(decode(b)) = b` for every accepted b, and no panic for the others.
fn strict<T: Signable + PartialEq + std::fmt::Debug>(bytes: &[u8]) -> Option<T> {
    let value = T::from_bytes(bytes).ok()?;
    assert_eq!(value.to_bytes(), bytes);
    Some(value)
}

fn probe(bytes: &[u8]) {
    strict::<Attestation>(bytes);
    strict::<BatchHeader>(bytes);
    strict::<Verdict>(bytes);
    strict::<TaskReport>(bytes);
    strict::<Contribution>(bytes);
    strict::<DisputeMessage>(bytes);
    if let Ok(spec) = JobSpec::decode(bytes) {
        assert_eq!(spec.encode().as_slice(), bytes);
    }
    if let Ok(environment) = Environment::decode(bytes) {
        assert_eq!(environment.encode().as_slice(), bytes);
    }
    if let Ok(proof) = InclusionProof::decode(bytes) {
        assert_eq!(proof.encode(), bytes);
    }
    if let Ok(set) = EvidenceSet::decode(bytes) {
        assert_eq!(set.encode(), bytes);
    }
    let _ = decode_signature::<common::Sig>(bytes);
    let _ = Signed::<Verdict, common::Sig>::decode(bytes);
}

fn samples() -> Vec<Vec<u8>> {
    let claims = chain(7, 3);
    let batch = Batch::new(&claims, BatchHash::new([0; 32])).unwrap();
    let verdict = Verdict {
        decision: Decision::Match,
        comparator: ComparatorKind::Exact,
        verifier: party(2),
        attestation: claims[0].hash(),
        epoch: EPOCH,
        score_q32: 0,
        transcript: [4; 32],
    };
    let report = TaskReport {
        schema: 1,
        worker: party(1),
        job: claims[0].job(),
        delta_i_q32: -5,
        delta_u_q32: 9,
        evaluation: [1; 32],
        prior: [2; 32],
    };
    let trace = Trace::new((0..9u8).map(|i| StateHash::new([i; 32])).collect()).unwrap();
    let points = vec![trace.open(3).unwrap(), trace.open(6).unwrap()];
    let id = DisputeId::new([3; 32]);
    let message = |side, body| DisputeMessage::new(side, id, 1, body).unwrap().encode();
    let set = EvidenceSet::new(vec![(EvidenceItem::Tokens, vec![1, 2]), (EvidenceItem::Fingerprint, vec![])]);
    vec![
        claims[1].encode().to_vec(),
        batch.header().encode().to_vec(),
        verdict.encode().to_vec(),
        report.encode().to_vec(),
        spec().encode().to_vec(),
        reproducible().encode().to_vec(),
        batch.proof(2).unwrap().encode(),
        message(Side::Worker, DisputeBody::Respond { lo: 0, hi: 8, points }),
        message(Side::Worker, DisputeBody::Prove { op: 3, operands: vec![7; 40] }),
        message(Side::Challenger, DisputeBody::Concede),
        set.unwrap().encode(),
    ]
}

proptest! {
    #![proptest_config(cases(256))]

    #[test]
    fn decoders_take_any_bytes(bytes in proptest::collection::vec(any::<u8>(), 0..600)) {
        probe(&bytes);
    }

    #[test]
    fn decoders_take_damaged_bytes(
        pick in any::<prop::sample::Index>(), at in any::<prop::sample::Index>(), flip in 1u8.., cut in 0usize..4,
    ) {
        let all = samples();
        let mut bytes = pick.get(&all).clone();
        let at = at.index(bytes.len());
        bytes[at] ^= flip;
        bytes.truncate(bytes.len() - cut.min(bytes.len()));
        probe(&bytes);
    }

    #[test]
    fn one_bit_changes_the_hash(at in 0usize..480 * 8) {
        let honest = chain(7, 2).remove(1);
        let mut bytes = honest.encode();
        bytes[at / 8] ^= 1 << (at % 8);
        if let Ok(other) = Attestation::decode(&bytes) {
            prop_assert_ne!(other.hash(), honest.hash());
        }
    }

    /// The fast path over bytes gives the batch, or the error, of decoding first.
    #[test]
    fn batches_of_bytes_are_batches_of_attestations(
        count in 1usize..20, damage in proptest::option::of((any::<prop::sample::Index>(), 1u8..)), cut in 0usize..2,
    ) {
        let claims = chain(7, count);
        let mut wire: Vec<u8> = claims.iter().flat_map(Attestation::encode).collect();
        let whole = Batch::new(&claims, BatchHash::new([4; 32])).unwrap();
        prop_assert_eq!(whole.header().verify_wire(&wire), Ok(()));
        if let Some((at, flip)) = &damage {
            let at = at.index(wire.len());
            wire[at] ^= flip;
        }
        wire.truncate(wire.len() - cut);
        let slow = || {
            let (bodies, rest) = wire.as_chunks::<480>();
            if !rest.is_empty() {
                return Err(Error::Length { want: (wire.len() - rest.len()) as u64, got: wire.len() as u64 });
            }
            let decoded = bodies.iter().map(|body| Attestation::decode(body)).collect::<Result<Vec<_>, _>>()?;
            Batch::new(&decoded, BatchHash::new([4; 32]))
        };
        let (fast, slow) = (Batch::from_wire(&wire, BatchHash::new([4; 32])), slow());
        // Several things may be wrong with a damaged chain; which is named first may differ.
        prop_assert_eq!(fast.is_ok(), slow.is_ok(), "{:?} {:?}", fast, slow);
        if let (Ok(fast), Ok(slow)) = (fast, slow) {
            prop_assert_eq!(&fast, &slow);
            prop_assert_eq!(whole.header().verify_wire(&wire).is_ok(), fast == whole);
        } else {
            prop_assert!(whole.header().verify_wire(&wire).is_err());
        }
    }

    #[test]
    fn a_proof_holds_for_its_own_place_only(count in 1usize..40, i in any::<prop::sample::Index>(), j in any::<prop::sample::Index>()) {
        let claims = chain(7, count);
        let batch = Batch::new(&claims, BatchHash::new([0; 32])).unwrap();
        let (i, j) = (i.index(count), j.index(count));
        let proof = batch.proof(i as u32).unwrap();
        prop_assert_eq!(batch.header().verify_inclusion(&claims[i].hash(), &proof), Ok(i as u64));
        if i != j {
            prop_assert!(batch.header().verify_inclusion(&claims[j].hash(), &proof).is_err());
            let moved = InclusionProof::new(j as u32, count as u32, proof.path().to_vec());
            let holds = moved.is_ok_and(|moved| batch.header().verify_inclusion(&claims[i].hash(), &moved).is_ok());
            prop_assert!(!holds);
        }
    }

    #[test]
    fn draws_are_monotone(job in any::<[u8; 32]>(), at in any::<u32>(), a in any::<u64>(), b in any::<u64>()) {
        let sampler = Sampler::new(&Beacon::new(EPOCH, [5; 32]));
        let draw = |t| sampler.draw(&JobId::new(job), at, Probability::from_threshold(t)).selected();
        prop_assert!(draw(a.min(b)) <= draw(a.max(b)));
        prop_assert!(!draw(0));
        prop_assert!(draw(u64::MAX));
    }

    #[test]
    fn plans_keep_floor_and_budget(
        rows in proptest::collection::vec((any::<u64>(), any::<u64>(), 0u64..1 << 40, any::<Option<u64>>()), 0..30),
        floor in 0u64..=u64::MAX, kappa in any::<u32>(), budget in any::<u64>(),
    ) {
        let floor = Probability::from_threshold(floor);
        let jobs: Vec<Exposure> = rows.iter().zip(0u8..).map(|((gain, stake, cost, screen), i)| Exposure {
            attestation: AttestationHash::new([i; 32]),
            gain: (*gain).into(),
            stake: u128::from(*stake) << (i % 60),
            cost: *cost,
            screen: *screen,
            clean: 0,
        }).collect();
        let policy = SamplingPolicy::new(floor).kappa_q16(kappa);
        match AuditPlan::new(&policy, &jobs, budget) {
            Ok(plan) => {
                prop_assert!(plan.expected_cost_q64() <= u128::from(budget) << 64);
                prop_assert!(plan.probabilities().iter().all(|p| *p >= floor));
            }
            Err(error) => {
                let total: u128 = jobs.iter().map(|job| u128::from(job.cost)).sum();
                prop_assert_eq!(error, Error::BudgetBelowFloor { budget });
                prop_assert!(floor.as_q64() * total > u128::from(budget) << 64);
            }
        }
    }

    #[test]
    fn verifiers_are_fresh_and_order_does_not_matter(
        weights in proptest::collection::vec((any::<u32>(), 0u8..5), 1..30), count in 0u32..12, beacon in any::<[u8; 32]>(),
    ) {
        let mut candidates: Vec<Candidate> = weights.iter().zip(0u8..).map(|((weight, owner), id)| Candidate {
            id: party(id), owner: party(100 + owner), weight: (*weight).into(),
        }).collect();
        let (beacon, job, owner) = (Beacon::new(EPOCH, beacon), JobId::new([1; 32]), party(100));
        let assign = |c: &[Candidate], count| assign_verifiers(&beacon, &job, 0, &owner, c, count);
        let chosen = assign(&candidates, count);
        candidates.reverse();
        prop_assert_eq!(assign(&candidates, count), chosen.clone());
        let eligible = candidates.iter().filter(|c| c.weight > 0 && c.owner != owner).count() as u64;
        match chosen {
            Ok(chosen) => {
                prop_assert_eq!(chosen.iter().collect::<BTreeSet<_>>().len(), count as usize);
                for id in &chosen {
                    prop_assert!(candidates.iter().any(|c| c.id == *id && c.owner != owner && c.weight > 0));
                }
                let fewer = assign(&candidates, count / 2).unwrap();
                prop_assert_eq!(&chosen[..fewer.len()], &fewer[..]);
            }
            Err(error) => prop_assert_eq!(error, Error::NoEligibleVerifier { need: count.into(), eligible }),
        }
    }
}

proptest! {
    #![proptest_config(cases(16))]

    #[test]
    fn boundaries_rise_with_mismatches(p0_ppb in 1u32..100_000_000, level in 2u64..1 << 50) {
        let process = EProcess::new(p0_ppb).unwrap();
        let (convict, escalate) = (process.convicts(level, 24).unwrap(), process.escalates(24).unwrap());
        for table in [&convict, &escalate] {
            prop_assert!(table.rows().windows(2).all(|pair| pair[0] <= pair[1]));
        }
        prop_assert!(convict.rows().iter().zip(escalate.rows()).all(|(c, e)| c <= e));
        for (s, n) in (1..).zip(convict.rows()) {
            let ln_level = (level as f64).ln();
            if *n > 0 {
                prop_assert!(process.ln_e(*n, s).unwrap() >= ln_level);
                prop_assert!(process.ln_e(n + 1, s).unwrap() < ln_level);
            }
        }
    }

    /// Honest audits at exactly p0: the standing may escalate, and convictions stay out at this length.
    #[test]
    fn clean_records_stay_clear(audits in 1u32..5_000, epochs in 0u64..20_000) {
        let mut record = Record::new(Arc::new(ConvictionPolicy::default()), Epoch::new(0));
        record.advance(Epoch::new(epochs)).unwrap();
        prop_assert_eq!(record.runs() as u64, (1 + epochs / 720).min(16));
        for _ in 0..audits {
            prop_assert_eq!(record.observe(RungId::new(2), Outcome::Match).unwrap(), Standing::Clear);
        }
        prop_assert_eq!(record.counts(RungId::new(2)), Some((audits.into(), 0)));
    }
}

#[derive(Debug, Clone)]
enum Step {
    Accept(u128),
    Held,
    Cancel,
    Started,
    Attest,
    Committed,
    Beacon(bool),
    Verdicts(Decision),
    Challenge,
    Resolved(u8),
    Convicted,
    Tick,
}

fn step() -> impl Strategy<Value = (Step, u64)> {
    let decision =
        prop::sample::select(vec![Decision::Match, Decision::Mismatch, Decision::Undetermined, Decision::Unavailable]);
    let step = prop_oneof![
        3 => (0u128..1_100).prop_map(Step::Accept),
        3 => Just(Step::Held),
        1 => Just(Step::Cancel),
        3 => Just(Step::Started),
        3 => Just(Step::Attest),
        3 => Just(Step::Committed),
        3 => any::<bool>().prop_map(Step::Beacon),
        3 => decision.prop_map(Step::Verdicts),
        2 => Just(Step::Challenge),
        2 => (0u8..3).prop_map(Step::Resolved),
        1 => Just(Step::Convicted),
        4 => Just(Step::Tick),
    ];
    (step, prop_oneof![4 => 0u64..3_000, 1 => 0u64..4_000_000])
}

fn panel(attestation: AttestationHash, decision: Decision) -> Panel {
    let mut panel = Panel::new(attestation, EPOCH, &[party(50)]).unwrap();
    let verdict = Verdict {
        decision,
        comparator: ComparatorKind::Exact,
        verifier: party(50),
        attestation,
        epoch: EPOCH,
        score_q32: 0,
        transcript: [0; 32],
    };
    panel.commit(&party(50), verdict.commit(&[1; 32])).unwrap();
    if decision == Decision::Unavailable {
        panel.end_phase();
    } else {
        panel.reveal(verdict, &[1; 32]).unwrap();
    }
    panel
}

proptest! {
    #![proptest_config(cases(256))]

    /// Escrow asked = released + refunded, once, on every path; bonds too; nothing settles that was not
    /// attested and committed; an error changes nothing.
    #[test]
    fn money_is_conserved_on_every_path(steps in proptest::collection::vec(step(), 0..60)) {
        let mut job = Job::new(JobPolicy::default(), &CHAIN, &party(1), 0, spec(), Millis::new(0)).unwrap();
        let (mut now, mut asked, mut given, mut bonds, mut bonds_back) = (0u64, 0u128, 0u128, 0u128, 0u128);
        let (mut closed, mut attested, mut committed, mut counted) = (0, false, false, 0);
        let end = [(Step::Resolved(2), 0), (Step::Tick, 8_000_000), (Step::Tick, 8_000_000)];
        for (step, wait) in steps.into_iter().chain(end) {
            now += wait;
            let worker = job.worker().unwrap_or(party(9));
            let att = claim(worker.as_bytes()[0], *job.id()).assignment(job.assignment()).build().unwrap();
            let event = match step {
                Step::Accept(price) => Event::Accept(Acceptance {
                    worker: party(7),
                    price,
                    quote_expires: Millis::new(1_000_000),
                    free_exposure: 900,
                    standby: vec![party(8)],
                }),
                Step::Held => Event::EscrowHeld(asked),
                Step::Cancel => Event::Cancel,
                Step::Started => Event::Started(worker),
                Step::Attest => Event::Attest(Box::new(att)),
                Step::Committed => Event::Committed,
                Step::Beacon(drawn) => Event::Beacon { drawn },
                Step::Verdicts(decision) => Event::Verdicts(panel(att.hash(), decision)),
                Step::Challenge => Event::Challenge(Bond { challenger: party(60), amount: 5 }),
                Step::Resolved(which) => Event::Resolved(Resolved {
                    attestation: att.hash(),
                    resolution: match which {
                        0 => Resolution::WorkerRight,
                        1 => Resolution::WorkerWrong(
                            Evidence::outside(Family::Sybil, worker, EPOCH, b"", |_, _, _| true).unwrap(),
                        ),
                        _ => Resolution::Undetermined,
                    },
                    withheld: Vec::new(),
                }),
                Step::Convicted => Event::WorkerConvicted,
                Step::Tick => Event::Tick,
            };
            let before = job.clone();
            let (is_attest, is_commit) = (matches!(event, Event::Attest(_)), matches!(event, Event::Committed));
            match job.apply(event, Millis::new(now)) {
                Err(_) => prop_assert_eq!(&job, &before),
                Ok(outputs) => {
                    prop_assert!(!before.state().is_terminal());
                    attested |= is_attest;
                    committed |= is_commit;
                    for output in outputs {
                        match output {
                            Output::HoldEscrow(amount) => asked += amount,
                            Output::ReleaseHold(amount) | Output::Refund(amount) => {
                                given += amount;
                                closed += 1;
                                prop_assert!(matches!(job.state(), JobState::Expired | JobState::Slashed));
                            }
                            Output::ReleaseEscrow { amount, .. } => {
                                given += amount;
                                closed += 1;
                                prop_assert_eq!(job.state(), JobState::Settled);
                                prop_assert!(attested && committed);
                            }
                            Output::OpenDispute { bond, .. } => bonds += bond.map_or(0, |bond| bond.amount),
                            Output::ForfeitBond(bond) | Output::ReturnBond(bond) => bonds_back += bond.amount,
                            Output::CountAudit { .. } => counted += 1,
                            _ => {}
                        }
                    }
                }
            }
        }
        prop_assert!(counted <= 1);
        if job.state().is_terminal() {
            prop_assert_eq!((asked, bonds), (given, bonds_back));
            prop_assert!(closed <= 1);
        } else {
            prop_assert_eq!((given, closed), (0, 0));
        }
    }
}

proptest! {
    #![proptest_config(cases(128))]

    /// For each party and epoch the orders add up to the total, the total is at most everything, and it does
    /// not depend on who submitted first.
    #[test]
    fn registry_totals_do_not_depend_on_order(
        rows in proptest::collection::vec((0u8..4, 0u8..2, 0u64..2, 0u8..4), 1..24), bps in proptest::array::uniform4(0u16..=10_000),
    ) {
        let families = [Family::Consensus, Family::Sybil, Family::Quality, Family::WrongOutput];
        let policy = families.into_iter().zip(bps).fold(SlashPolicy::default(), |policy, (family, bps)| {
            policy.with(family, BasisPoints::new(bps).unwrap())
        });
        let rules = Arc::new(ConvictionPolicy::default());
        let evidence: Vec<Evidence> = rows.iter().map(|(family, who, epoch, salt)| {
            let (who, epoch) = (party(*who), Epoch::new(*epoch));
            match family {
                0 => Evidence::outside(Family::Consensus, who, epoch, &[*salt], |_, _, _| true),
                1 => Evidence::outside(Family::Sybil, who, epoch, &[*salt], |_, _, _| true),
                2 => Evidence::low_quality(who, epoch, &Quality::new(u64::from(*salt), 50).unwrap(), &QualityPolicy::default()),
                _ => {
                    let audit = |i| AuditEntry {
                        attestation: AttestationHash::new([*salt ^ i; 32]), epoch, rung: RungId::new(0), outcome: Outcome::Mismatch,
                    };
                    Evidence::conviction(&rules, who, epoch, &[audit(64), audit(128)])
                }
            }.unwrap()
        }).collect();
        let run = |order: &mut dyn Iterator<Item = &Evidence>| {
            let mut registry = Registry::new(policy.clone());
            let (mut sums, mut seen) = (std::collections::BTreeMap::new(), BTreeSet::new());
            for one in order {
                let submitted = registry.submit(one, party(9));
                if seen.insert(one.hash()) {
                    let order = submitted.unwrap();
                    *sums.entry((order.party, order.epoch)).or_insert(0) += order.bps.get();
                } else {
                    assert_eq!(submitted, Err(Error::DuplicateEvidence));
                }
            }
            for ((party, epoch), sum) in &sums {
                assert_eq!(registry.total(party, *epoch).get(), *sum);
                assert!(*sum <= 10_000);
            }
            sums
        };
        prop_assert_eq!(run(&mut evidence.iter()), run(&mut evidence.iter().rev()));
    }
}
