//! Bad input, row by row of the table: a typed error, and nothing changes.

use crate::support::common;

use crate::support::common::{CHAIN, EPOCH, INPUT, MODEL, chain, claim, directory, key, party, reproducible, spec};
use hanzo_poai::*;

const DEVICE: DeviceLimits = DeviceLimits { peak_flops: 1_000_000_000_000, params: 1_000_000 };

fn order(worker: u8) -> WorkOrder {
    WorkOrder::new(&CHAIN, &party(1), 0, spec(), party(worker), 0)
}

#[test]
fn lengths_magics_versions_and_enums() {
    let good = claim(7, *order(7).job()).build().unwrap().encode();
    let with = |at: usize, byte: u8| {
        let mut bytes = good;
        bytes[at] = byte;
        Attestation::decode(&bytes)
    };
    assert_eq!(Attestation::decode(&good[..479]), Err(Error::Length { want: 480, got: 479 }));
    assert_eq!(Attestation::decode(&[&good[..], &[0]].concat()), Err(Error::Length { want: 480, got: 481 }));
    assert_eq!(Attestation::decode(&[]), Err(Error::Length { want: 480, got: 0 }));
    assert_eq!(with(0, b'Q'), Err(Error::BadMagic));
    assert_eq!(with(5, 2), Err(Error::UnknownVersion(2)));
    assert_eq!(with(7, 0), Err(Error::UnknownSuite(0)));
    assert_eq!(with(7, 4), Err(Error::UnknownSuite(4)));
    assert!(with(6, 0x80).is_ok());
    // prev without a sequence number, and the other way round
    assert_eq!(with(448, 1), Err(Error::InvalidField("prev")));
    assert_eq!(with(55, 1), Err(Error::InvalidField("prev")));

    let header = Batch::new(&chain(7, 1), BatchHash::new([0; 32])).unwrap().header().encode();
    let with = |at: usize, byte: u8| {
        let mut bytes = header;
        bytes[at] = byte;
        BatchHeader::decode(&bytes)
    };
    assert_eq!(with(95, 1), Err(Error::Reserved));
    assert_eq!(with(91, 0), Err(Error::BatchSize { got: 0, max: 1 << 20 }));
    assert_eq!(with(88, 1), Err(Error::BatchSize { got: (1 << 24) + 1, max: 1 << 20 }));

    let mut environment = reproducible().encode();
    environment[1] = 4;
    assert_eq!(Environment::decode(&environment), Err(Error::Reserved));
    environment[0] = 7;
    assert_eq!(Environment::decode(&environment), Err(Error::UnknownVariant { field: "dtype", value: 7 }));

    let good = spec().encode();
    for (at, byte, field) in [(6, 3, "assurance"), (8, 2, "sampler"), (9, 7, "dtype")] {
        let mut bytes = good;
        bytes[at] = byte;
        assert_eq!(JobSpec::decode(&bytes), Err(Error::UnknownVariant { field, value: byte.into() }));
    }
    for (at, byte, field) in [(7, 2, "replicas"), (7, 3, "replicas"), (15, 1, "temperature"), (8, 1, "temperature")] {
        let mut bytes = good;
        bytes[at] = byte;
        assert_eq!(JobSpec::decode(&bytes), Err(Error::InvalidField(field)));
    }
    let redundant = |n| JobSpec::builder(MODEL, INPUT).assurance(Assurance::Redundant).replicas(n).build();
    assert!([1, 3, 15].into_iter().all(|n| redundant(n).is_ok()));
    assert!([0, 2, 4, 17].into_iter().all(|n| redundant(n) == Err(Error::InvalidField("replicas"))));
    assert_eq!(JobSpec::builder(MODEL, INPUT).max_tokens(0).build(), Err(Error::InvalidField("max_tokens")));
    assert_eq!(JobSpec::builder(MODEL, INPUT).sla_ms(0).build(), Err(Error::InvalidField("sla_ms")));
    assert_eq!(JobSpec::builder(MODEL, INPUT).adapter(Some([0; 32])).build(), Err(Error::InvalidField("adapter")));
    assert_eq!(Attestation::builder().build(), Err(Error::MissingField("suite")));

    let id = DisputeId::new([1; 32]);
    let message = DisputeMessage::new(Side::Worker, id, 0, DisputeBody::Concede).unwrap().encode();
    for (at, byte, field) in [(6, 6, "kind"), (7, 2, "side")] {
        let mut bytes = message.clone();
        bytes[at] = byte;
        assert_eq!(DisputeMessage::decode(&bytes), Err(Error::UnknownVariant { field, value: byte.into() }));
    }
    assert!(DisputeMessage::decode(&[&message[..], &[0]].concat()).is_err());
}

#[test]
fn proofs_batches_and_files() {
    let claims = chain(7, 5);
    let batch = Batch::new(&claims, BatchHash::new([0; 32])).unwrap();
    let proof = batch.proof(4).unwrap();
    assert_eq!(batch.proof(5), Err(Error::BadProof));
    assert_eq!(InclusionProof::new(5, 5, vec![]), Err(Error::BadProof));
    assert_eq!(InclusionProof::new(0, 0, vec![]), Err(Error::BatchSize { got: 0, max: 1 << 20 }));
    let longer = [proof.path(), &[[0; 32]]].concat();
    assert_eq!(InclusionProof::new(4, 5, longer), Err(Error::BadProof));
    assert_eq!(InclusionProof::decode(&proof.encode()[..40]), Err(Error::Length { want: 41, got: 40 }));
    // the same path for a larger tree of the same depth
    let wider = InclusionProof::new(4, 6, vec![[0; 32]; 2]).unwrap();
    assert_eq!(batch.header().verify_inclusion(&claims[4].hash(), &wider), Err(Error::BadProof));

    assert_eq!(Batch::new(&[], BatchHash::new([0; 32])), Err(Error::BatchSize { got: 0, max: 1 << 20 }));
    let gap = [claims[0].clone(), claims[2].clone()];
    assert_eq!(Batch::new(&gap, BatchHash::new([0; 32])), Err(Error::Sequence { want: 1, got: 2 }));
    let stray = claim(7, claims[1].job()).seq(1).prev(Some(AttestationHash::new([9; 32]))).build().unwrap();
    assert_eq!(Batch::new(&[claims[0].clone(), stray], BatchHash::new([0; 32])), Err(Error::PrevMismatch));

    let file = |name: &str| ModelFile { name: name.into(), size: 1, sha256: [0; 32] };
    assert_eq!(ModelManifest::new(vec![file("a"), file("b"), file("a")]), Err(Error::Duplicate("file name")));
    assert!(matches!(ModelManifest::new(vec![]), Err(Error::BatchSize { .. })));
    assert!(matches!(Trace::new(vec![StateHash::new([0; 32])]), Err(Error::BatchSize { .. })));
    let item = || (EvidenceItem::Tokens, vec![1]);
    assert_eq!(EvidenceSet::new(vec![item(), item()]), Err(Error::Duplicate("evidence kind")));
    assert!(EvidenceSet::decode(&[0, 3, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0]).is_err());
}

#[test]
fn admission_in_order() {
    let keys = directory([7]);
    let order = order(7);
    let log = WorkerLog::new(CHAIN, party(7));
    let rules = Admission::new(CHAIN);
    let ask = |rules: &Admission, att: &Attestation, log: &WorkerLog, order: Option<&WorkOrder>, now, quote| {
        let signed = Signed::<_, common::Sig>::sign(att.clone(), &key(7)).unwrap();
        let context = AdmissionContext { directory: &keys, log, order, device: &DEVICE, quote, now: Epoch::new(now) };
        rules.check(&att.encode(), &Provenance::Signature(signed.signature()), &context).map(|(att, _)| att)
    };
    let good = claim(7, *order.job());
    let check = |att: AttestationBuilder| ask(&rules, &att.build().unwrap(), &log, Some(&order), 9, None);
    assert_eq!(check(good.clone()), Ok(good.clone().build().unwrap()));
    assert_eq!(check(good.clone().chain(ChainId::new([0; 32]))), Err(Error::WrongChain));
    let stale = Err(Error::Epoch { epoch: 7, earliest: 8, latest: 9 });
    assert_eq!(check(good.clone().epoch(Epoch::new(7))), stale);
    let future = Err(Error::Epoch { epoch: 10, earliest: 8, latest: 9 });
    assert_eq!(check(good.clone().epoch(Epoch::new(10))), future);
    assert_eq!(check(good.clone().suite(Suite::ED25519)), Err(Error::UnknownKey));
    let gap = good.clone().seq(3).prev(Some(AttestationHash::new([1; 32])));
    assert_eq!(check(gap), Err(Error::Sequence { want: 0, got: 3 }));
    assert_eq!(check(good.clone().assignment(1)), Err(Error::NotAssigned));
    assert_eq!(check(good.clone().input([0; 32])), Err(Error::SpecMismatch("input")));
    assert_eq!(check(good.clone().model(ModelHash::new([0; 32]))), Err(Error::SpecMismatch("model")));
    let implausible = |check, value, limit| Err(Error::Implausible { check, value, limit });
    assert_eq!(check(good.clone().duration_us(0)), implausible("duration_us", 0, 1));
    assert_eq!(check(good.clone().gpu_util_ppm(1_000_001)), implausible("gpu_util_ppm", 1_000_001, 1_000_000));
    let limit = 2_100_000_000_000;
    assert_eq!(check(good.clone().flops(limit + 1)), implausible("peak flops", limit + 1, limit));
    assert!(check(good.clone().flops(limit)).is_ok());
    assert_eq!(check(good.clone().flops(29_999_999)), implausible("flops", 29_999_999, 30_000_000));
    assert_eq!(check(good.clone().tokens_out(65)), implausible("tokens_out", 65, 64));
    assert_eq!(check(good.clone().flops(u128::MAX)), implausible("peak flops", u128::MAX, limit));
    let att = good.clone().build().unwrap();
    assert_eq!(ask(&rules, &att, &log, None, 9, None), Err(Error::NotAssigned));

    // signature of another key, and over another body
    let forged = Signed::<_, common::Sig>::sign(att.clone(), &key(8)).unwrap();
    let context =
        AdmissionContext { directory: &keys, log: &log, order: Some(&order), device: &DEVICE, quote: None, now: EPOCH };
    let outcome = rules.check(&att.encode(), &Provenance::Signature(forged.signature()), &context);
    assert_eq!(outcome, Err(Error::BadSignature));

    // quotes
    let asks = rules.clone().require_quote(true);
    let accepts = |_: &[u8], _: &[u8; 64]| Ok(Measurements(vec![1]));
    let refuses = |_: &[u8], _: &[u8; 64]| Err(QuoteError);
    assert_eq!(ask(&asks, &att, &log, Some(&order), 9, None), Err(Error::BadQuote));
    assert_eq!(ask(&asks, &att, &log, Some(&order), 9, Some((b"quote", &accepts))), Err(Error::BadQuote));
    use sha2::Digest as _;
    let quoted = good.quote(Some(sha2::Sha256::digest(b"quote").into())).build().unwrap();
    assert!(ask(&asks, &quoted, &log, Some(&order), 9, Some((b"quote", &accepts))).is_ok());
    assert_eq!(ask(&asks, &quoted, &log, Some(&order), 9, Some((b"quote", &refuses))), Err(Error::BadQuote));
    let bound = |_: &[u8], data: &[u8; 64]| {
        if *data == quoted.report_data() { Ok(Measurements(vec![])) } else { Err(QuoteError) }
    };
    assert!(ask(&asks, &quoted, &log, Some(&order), 9, Some((b"quote", &bound))).is_ok());
    assert_eq!(quoted.report_data()[..32], *att.report_data().first_chunk::<32>().unwrap());
}

#[test]
fn logs_replays_and_equivocation() {
    let claims = chain(7, 3);
    let mut log = WorkerLog::new(CHAIN, party(7));
    for att in &claims {
        log.append(att.clone()).unwrap();
    }
    let before = log.clone();
    assert_eq!(log.append(claims[2].clone()), Err(Error::Sequence { want: 3, got: 2 }));
    let other = claim(7, claims[1].job()).seq(1).prev(claims[1].prev()).output([9; 32]).build().unwrap();
    let Err(Error::Equivocation(pair)) = log.append(other.clone()) else { panic!("second body accepted") };
    assert_eq!(pair.seq(), 1);
    let stray = claim(7, claims[1].job()).seq(3).prev(Some(AttestationHash::new([1; 32]))).build().unwrap();
    assert_eq!(log.append(stray), Err(Error::PrevMismatch));
    assert_eq!(log, before);
    log.prune_before(2);
    assert_eq!(log.append(other.clone()), Err(Error::Sequence { want: 3, got: 1 }));
    assert_eq!((log.next_seq(), log.tip()), (3, Some(claims[2].hash())));

    let keys = directory([7]);
    let sign = |att: &Attestation, by| Signed::<_, common::Sig>::sign(att.clone(), &key(by)).unwrap();
    let (a, b) = (sign(pair.first(), 7), sign(pair.second(), 7));
    let proof = |a, b| Evidence::equivocation(&pair, &Provenance::Signature(a), &Provenance::Signature(b), &keys);
    let evidence = proof(a.signature(), b.signature()).unwrap();
    assert_eq!((evidence.party(), evidence.family()), (&party(7), Family::Equivocation));
    // A body that the worker did not sign convicts nobody.
    assert_eq!(proof(a.signature(), sign(pair.second(), 8).signature()), Err(Error::BadSignature));
    assert_eq!(Equivocation::new(claims[0].clone(), claims[0].clone()), Err(Error::NoOffence));
    assert_eq!(Equivocation::new(claims[0].clone(), claims[1].clone()), Err(Error::NoOffence));
    assert_eq!(Equivocation::new(other.clone(), claims[1].clone()), Equivocation::new(claims[1].clone(), other));
}

#[test]
fn beacons_and_panels() {
    let contribution = |name: u8| Contribution::new(CHAIN, EPOCH, party(name), &[name; 32]);
    let mut open = Commitments::new(CHAIN, EPOCH);
    open.commit(contribution(1)).unwrap();
    assert_eq!(open.commit(contribution(1)), Err(Error::Duplicate("contribution")));
    let elsewhere = Contribution::new(ChainId::new([0; 32]), EPOCH, party(2), &[2; 32]);
    assert_eq!(open.commit(elsewhere), Err(Error::WrongChain));
    let later = Contribution::new(CHAIN, Epoch::new(10), party(2), &[2; 32]);
    assert_eq!(open.commit(later), Err(Error::Epoch { epoch: 10, earliest: 9, latest: 9 }));
    assert_eq!(open.clone().close([0; 32], None, 2), Err(Error::TooFewReveals { need: 2, got: 1 }));
    open.commit(contribution(2)).unwrap();
    open.commit(contribution(3)).unwrap();
    assert_eq!(open.clone().close([0; 32], None, 1), Err(Error::TooFewReveals { need: 2, got: 3 }));
    let mut round = open.close([0; 32], None, 2).unwrap();
    assert_eq!(round.reveal(&party(1), &[2; 32]), Err(Error::BadReveal));
    assert_eq!(round.reveal(&party(4), &[4; 32]), Err(Error::BadReveal));
    round.reveal(&party(1), &[1; 32]).unwrap();
    assert_eq!(round.finish(), Err(Error::TooFewReveals { need: 2, got: 1 }));
    round.reveal(&party(3), &[3; 32]).unwrap();
    let outcome = round.finish().unwrap();
    let offences = Evidence::beacon_withheld(&outcome);
    assert_eq!((offences.len(), offences[0].party()), (1, &party(2)));

    let attestation = AttestationHash::new([1; 32]);
    let verdict = |verifier| Verdict {
        decision: Decision::Match,
        comparator: ComparatorKind::Exact,
        verifier: party(verifier),
        attestation,
        epoch: EPOCH,
        score_q32: 0,
        transcript: [0; 32],
    };
    assert_eq!(Panel::new(attestation, EPOCH, &[party(1), party(1)]), Err(Error::Duplicate("verifier")));
    let mut panel = Panel::new(attestation, EPOCH, &[party(1), party(2)]).unwrap();
    panel.commit(&party(1), verdict(1).commit(&[5; 32])).unwrap();
    assert_eq!(panel.reveal(verdict(1), &[5; 32]), Err(Error::OutOfTurn));
    assert_eq!(panel.commit(&party(3), [0; 32]), Err(Error::OutOfTurn));
    assert_eq!(panel.commit(&party(1), [0; 32]), Err(Error::Duplicate("commitment")));
    // A copied commitment is worth nothing: the verdict names its verifier.
    panel.commit(&party(2), verdict(1).commit(&[5; 32])).unwrap();
    assert_eq!(panel.reveal(verdict(2), &[5; 32]), Err(Error::BadReveal));
    assert_eq!(panel.reveal(verdict(1), &[6; 32]), Err(Error::BadReveal));
    panel.reveal(verdict(1), &[5; 32]).unwrap();
    assert_eq!(panel.tally(), None);
    panel.end_phase();
    assert_eq!(panel.tally().unwrap().silent, [party(2)]);
    assert_eq!(Evidence::verdicts_withheld(&panel).len(), 1);
}

#[test]
fn probabilities_levels_and_floats() {
    assert_eq!(Probability::from_ratio(1, 0), Err(Error::InvalidProbability));
    assert_eq!(Probability::from_ratio(2, 1), Err(Error::InvalidProbability));
    assert_eq!(EProcess::new(0), Err(Error::InvalidProbability));
    assert_eq!(EProcess::new(100_000_001), Err(Error::InvalidProbability));
    let process = EProcess::new(10_000).unwrap();
    assert_eq!(process.convicts(1, 5), Err(Error::InvalidLevel));
    assert_eq!(process.ln_e(1, 2), Err(Error::InvalidField("mismatches")));
    let rung = Rung { p0_ppb: 10_000, inverse_level: 999_999 };
    assert_eq!(ConvictionPolicy::new(&[rung], 720), Err(Error::InvalidLevel));
    let mut record = Record::new(std::sync::Arc::new(ConvictionPolicy::default()), EPOCH);
    let unknown = Err(Error::UnknownVariant { field: "rung", value: 3 });
    assert_eq!(record.observe(RungId::new(3), Outcome::Match), unknown);
    assert!(matches!(record.advance(Epoch::new(8)), Err(Error::Epoch { .. })));
    assert_eq!(Calibration::from_counts(0, 0), Err(Error::InvalidProbability));
    assert_eq!(Calibration::from_counts(2, 1), Err(Error::InvalidProbability));
    assert_eq!(Calibration::from_counts(5, 10), Err(Error::InvalidProbability));
    assert_eq!(ElementWise::new(f64::NAN, 0.0), Err(Error::NonFinite));
    assert_eq!(ElementWise::new(-1.0, 0.0), Err(Error::InvalidField("atol")));
    assert_eq!(ElementWise::new(0.0, 1.5), Err(Error::InvalidField("rtol")));
    assert_eq!(Thresholds::new(f64::INFINITY, 1.0), Err(Error::NonFinite));
    assert_eq!(Thresholds::new(2.0, 1.0), Err(Error::InvalidField("flag")));
    for bad in [f64::NAN, f64::INFINITY, -0.1, 1.1] {
        assert_eq!(theory::detection_exact_count(bad, 1), Err(Error::InvalidProbability));
        assert_eq!(theory::jobs_for(bad, 0.5), Err(Error::InvalidProbability));
        assert_eq!(theory::clopper_pearson(1, 2, bad), Err(Error::InvalidProbability));
    }
    assert_eq!((theory::jobs_for(1.0, 0.5), theory::jobs_for(0.5, 0.0)), (Ok(1), Ok(0)));
    assert_eq!(theory::jobs_for(0.0, 0.5), Err(Error::InvalidProbability));
    assert_eq!(theory::required_stake(f64::NAN, 0.5), Err(Error::NonFinite));
    assert_eq!(theory::detection_hypergeometric(10, 11, 1), Err(Error::InvalidProbability));
    assert_eq!(theory::detection_exact_count(1.0, 5), Ok(1.0));
    assert_eq!(theory::detection_exact_count(1.0, 0), Ok(0.0));
    assert_eq!(theory::bias_bound(0.0, 2_000), Ok(0.0));
    assert_eq!(theory::bias_bound(0.1, 3).map(|p| (p * 10.0).round()), Ok(8.0));
}

#[test]
fn plans_and_assignments() {
    let job = |cost, stake| Exposure {
        attestation: AttestationHash::new([1; 32]),
        gain: 1,
        stake,
        cost,
        screen: None,
        clean: 0,
    };
    let policy = SamplingPolicy::new(Probability::from_ratio(1, 2).unwrap());
    assert_eq!(AuditPlan::new(&policy, &[job(3, 1)], 1), Err(Error::BudgetBelowFloor { budget: 1 }));
    let over = (1 << 40) + 1;
    assert!(matches!(AuditPlan::new(&policy, &[job(over, 1)], 1), Err(Error::AboveLimit { .. })));
    assert_eq!(AuditPlan::new(&policy, &[job(1, (1 << 127) - 1)], 1), Err(Error::Overflow));
    let candidate = |id, owner, weight| Candidate { id: party(id), owner: party(owner), weight };
    let (beacon, job) = (Beacon::new(EPOCH, [0; 32]), JobId::new([0; 32]));
    let assign = |c: &[Candidate]| assign_verifiers(&beacon, &job, 0, &party(1), c, 1);
    let none = Err(Error::NoEligibleVerifier { need: 1, eligible: 0 });
    assert_eq!(assign(&[candidate(2, 1, 5), candidate(3, 9, 0)]), none);
    assert_eq!(assign(&[candidate(2, 8, u64::MAX), candidate(3, 9, 1)]), Err(Error::Overflow));
    assert_eq!(assign(&[candidate(2, 8, 1), candidate(2, 9, 1)]), Err(Error::Duplicate("verifier")));
}

#[test]
fn comparisons_that_never_match() {
    let near = ElementWise::new(1e-4, 0.0).unwrap();
    let thresholds = Thresholds::new(1.0, 1.0).unwrap();
    let judge = |a: &Observation<'_>, b: &Observation<'_>| thresholds.judge(near.compare(a, b)).unwrap();
    let reference = Observation::F32(&[1.0, 2.0]);
    assert_eq!(judge(&reference, &reference).decision, Decision::Match);
    for bad in [
        Observation::F32(&[1.0]),
        Observation::F64(&[1.0, 2.0]),
        Observation::Bytes(&[1, 2]),
        Observation::F32(&[1.0, f32::NAN]),
        Observation::F32(&[1.0, f32::INFINITY]),
        Observation::F32(&[1.0, 2.001]),
    ] {
        assert_eq!(judge(&reference, &bad).decision, Decision::Mismatch);
    }
    let nan = Observation::F32(&[f32::NAN]);
    assert_eq!(judge(&nan, &nan).cause, Some(Error::NonFinite));
    assert_eq!(judge(&reference, &Observation::F32(&[1.0])).cause, Some(Error::ShapeMismatch { want: 2, got: 1 }));
    let zero = judge(&Observation::F64(&[0.0]), &Observation::F64(&[-0.0]));
    assert_eq!((zero.decision, zero.score_q32), (Decision::Match, 0));
    // suspicion between the two thresholds
    let wide = Thresholds::new(1.0, 3.0).unwrap();
    let judged = wide.judge(near.compare(&Observation::F64(&[0.0]), &Observation::F64(&[2e-4]))).unwrap();
    assert_eq!((judged.decision, judged.suspect, judged.score_q32), (Decision::Match, true, 2 << 32));

    let low = Environment { dtype: DType::Bf16, batch_invariant: false, ..reproducible() };
    let default = DefaultComparator::new(&low).unwrap();
    assert_eq!((default.kind(), default.thresholds()), (ComparatorKind::Kl, Thresholds::new(3e-4, 1e-3).unwrap()));
    let with = |dtype| Environment { dtype, ..low };
    let none = Some(Error::Uncalibrated(DType::F8));
    assert_eq!(DefaultComparator::new(&with(DType::F8)).err(), none);
    assert_eq!(DefaultComparator::logits(&with(DType::F8)).err(), none);
    let tokens = |dtype| DefaultComparator::tokens(&with(dtype), &spec(), &JobId::new([1; 32]).seed());
    assert_eq!(tokens(DType::F16).err(), Some(Error::Uncalibrated(DType::F16)));
    assert_eq!(tokens(DType::Bf16).unwrap().kind(), ComparatorKind::Margin);
    assert_eq!(thresholds.judge(Err(Error::Uncalibrated(DType::F8))), Err(Error::Uncalibrated(DType::F8)));
    let exact = DefaultComparator::new(&reproducible()).unwrap();
    assert_eq!(exact.kind(), ComparatorKind::Exact);
    use sha2::Digest as _;
    let digest = Observation::Digest(sha2::Sha256::digest(b"out").into());
    let judged = |claimed: &[u8]| {
        exact.thresholds().judge(exact.compare(&digest, &Observation::Bytes(claimed))).unwrap().decision
    };
    assert_eq!((judged(b"out"), judged(b"oud")), (Decision::Match, Decision::Mismatch));
    let f64s = Environment { dtype: DType::F64, batch_invariant: false, ..reproducible() };
    assert_eq!(DefaultComparator::new(&f64s).unwrap().kind(), ComparatorKind::ElementWise);
    let closure = |_: &Observation<'_>, _: &Observation<'_>| Exact.compare(&digest, &digest);
    assert_eq!(closure.compare(&digest, &digest).unwrap().value(), 0.0);
}

#[test]
fn evidence_and_registry() {
    let keys = directory([7]);
    let honest = chain(7, 3);
    let order = WorkOrder::new(&CHAIN, &party(1), 1, spec(), party(7), 0);
    let batch = Batch::new(&honest, BatchHash::new([0; 32])).unwrap();
    let signed = batch.sign::<common::Sig>(&key(7)).unwrap();
    let proof = batch.proof(1).unwrap();
    let accuse = |leaf: &[u8], device: &DeviceLimits| {
        Evidence::invalid_attestation(&signed, &proof, leaf, Some((&order, device)), &keys)
    };
    assert_eq!(accuse(&honest[1].encode(), &DEVICE), Err(Error::NoOffence));
    assert_eq!(accuse(&honest[2].encode(), &DEVICE), Err(Error::BadProof));
    let slow = DeviceLimits { peak_flops: 1, params: 1 };
    let evidence = accuse(&honest[1].encode(), &slow).unwrap();
    assert_eq!((evidence.family(), evidence.epoch()), (Family::InvalidAttestation, EPOCH));
    let forged = batch.sign::<common::Sig>(&key(8)).unwrap();
    let outcome = Evidence::invalid_attestation(&forged, &proof, &honest[1].encode(), Some((&order, &slow)), &keys);
    assert_eq!(outcome, Err(Error::BadSignature));

    let mut registry = Registry::new(SlashPolicy::default());
    let first = registry.submit(&evidence, party(2)).unwrap();
    assert_eq!((first.bps.get(), first.reward_bps.get(), first.contest_ms), (5_000, 5_000, 0));
    let before = registry.clone();
    assert_eq!(registry.submit(&evidence, party(3)), Err(Error::DuplicateEvidence));
    assert_eq!(registry, before);
    let outside = |proof: &[u8], ok| Evidence::outside(Family::Consensus, party(7), EPOCH, proof, |_, _, _| ok);
    assert_eq!(outside(b"x", false), Err(Error::NoOffence));
    let order = registry.submit(&outside(b"x", true).unwrap(), party(2)).unwrap();
    assert_eq!((order.bps.get(), registry.total(&party(7), EPOCH).get()), (5_000, 10_000));
    let wrong = Evidence::outside(Family::Quality, party(7), EPOCH, b"x", |_, _, _| true);
    assert_eq!(wrong, Err(Error::InvalidField("family")));
    assert!(SlashPolicy::default().reward(BasisPoints::ALL).is_err());
    assert!(BasisPoints::new(10_001).is_err());

    // statistics
    let policy = std::sync::Arc::new(ConvictionPolicy::default());
    let audit = |i, outcome| AuditEntry {
        attestation: AttestationHash::new([i; 32]),
        epoch: Epoch::new(i.into()),
        rung: RungId::new(0),
        outcome,
    };
    let convict = |audits: &[AuditEntry]| Evidence::conviction(&policy, party(7), Epoch::new(0), audits);
    assert_eq!(convict(&[audit(1, Outcome::Mismatch)]), Err(Error::NoOffence));
    assert_eq!(convict(&[audit(1, Outcome::Mismatch); 2]), Err(Error::Duplicate("audit")));
    let evidence = convict(&[audit(1, Outcome::Mismatch), audit(2, Outcome::Mismatch)]).unwrap();
    assert_eq!(evidence.epoch(), Epoch::new(2));
    assert_eq!(registry.submit(&evidence, party(2)).unwrap().contest_ms, 86_400_000);

    // quality
    let rules = QualityPolicy::default();
    let low = |audits| Evidence::low_quality(party(7), EPOCH, &Quality::new(1 << 30, audits).unwrap(), &rules);
    assert_eq!(low(19), Err(Error::NoOffence));
    assert_eq!(low(20).unwrap().family(), Family::Quality);
}

#[test]
fn canaries() {
    let keys = directory([3]);
    let att = claim(7, *order(7).job()).build().unwrap();
    let canary = Canary { chain: CHAIN, epoch: EPOCH, job: att.job(), expected: [0x33; 32], salt: [1; 32] };
    let judged = |decision, canary: &Canary, published: &Hash| {
        let verdict = Verdict {
            decision,
            comparator: ComparatorKind::Exact,
            verifier: party(3),
            attestation: att.hash(),
            epoch: EPOCH,
            score_q32: 0,
            transcript: [0; 32],
        };
        let verdict = Signed::<_, common::Sig>::sign(verdict, &key(3)).unwrap();
        Evidence::canary_miss(canary, published, &att, &verdict, Suite::ML_DSA_65, &keys)
    };
    let published = canary.commitment();
    // The output differs from the known answer, so Match is the miss.
    assert_eq!(judged(Decision::Match, &canary, &published).unwrap().party(), &party(3));
    assert_eq!(judged(Decision::Mismatch, &canary, &published), Err(Error::NoOffence));
    assert_eq!(judged(Decision::Unavailable, &canary, &published), Err(Error::NoOffence));
    let other = Canary { expected: [0x22; 32], ..canary.clone() };
    assert_eq!(judged(Decision::Mismatch, &other, &published), Err(Error::BadReveal));
    assert!(judged(Decision::Mismatch, &other, &other.commitment()).is_ok());
}

#[test]
fn signatures_on_the_wire() {
    let att = claim(7, *order(7).job()).build().unwrap();
    let signed = Signed::<_, common::Sig>::sign(att.clone(), &key(7)).unwrap();
    let keys = directory([7, 8]);
    signed.verify(&keys[&(party(7), Suite::ML_DSA_65)]).unwrap();
    assert_eq!(signed.verify(&keys[&(party(8), Suite::ML_DSA_65)]), Err(Error::BadSignature));
    let wire = signed.encode().unwrap();
    assert_eq!(wire.len(), 4 + 480 + 4 + 3_309);
    assert_eq!(Signed::<Attestation, common::Sig>::decode(&wire).unwrap(), signed);
    assert!(Signed::<Attestation, common::Sig>::decode(&wire[..wire.len() - 1]).is_err());
    assert!(Signed::<Verdict, common::Sig>::decode(&wire).is_err());
    for len in [0u32, 65_537] {
        let empty = decode_signature::<common::Sig>(&len.to_be_bytes());
        assert_eq!(empty.err(), Some(Error::Length { want: 65_536, got: len.into() }));
    }
    let short = [&5u32.to_be_bytes()[..], &[0; 5]].concat();
    assert_eq!(decode_signature::<common::Sig>(&short).err(), Some(Error::BadSignature));
    // One key, two kinds of message: neither signature passes for the other.
    let header = Batch::new(std::slice::from_ref(&att), BatchHash::new([0; 32])).unwrap();
    let moved = Signed::from_parts(header.header().clone(), signed.signature().clone());
    assert_eq!(moved.verify(&keys[&(party(7), Suite::ML_DSA_65)]), Err(Error::BadSignature));
}

/// Every fault at once, then one less at a time: the checks report in their order.
#[test]
fn admission_reports_the_first_fault() {
    let (keys, order, log) = (directory([7]), order(7), WorkerLog::new(CHAIN, party(7)));
    let bad = claim(7, *order.job()).duration_us(0);
    let bad = bad.model(ModelHash::new([9; 32])).assignment(4).seq(2).prev(Some(AttestationHash::new([1; 32])));
    let worst = bad.clone().epoch(Epoch::new(20)).chain(ChainId::new([9; 32]));
    let first = |att: AttestationBuilder, signer| {
        let att = att.build().unwrap();
        let signed = Signed::<_, common::Sig>::sign(att.clone(), &key(signer)).unwrap();
        let context = AdmissionContext {
            directory: &keys,
            log: &log,
            order: Some(&order),
            device: &DEVICE,
            quote: None,
            now: EPOCH,
        };
        let provenance = Provenance::Signature(signed.signature());
        Admission::new(CHAIN).require_quote(true).check(&att.encode(), &provenance, &context).unwrap_err()
    };
    assert_eq!(first(worst.clone(), 8), Error::WrongChain);
    assert_eq!(first(worst.chain(CHAIN), 8), Error::Epoch { epoch: 20, earliest: 8, latest: 9 });
    assert_eq!(first(bad.clone(), 8), Error::BadSignature);
    assert_eq!(first(bad.clone(), 7), Error::Sequence { want: 0, got: 2 });
    let bad = bad.seq(0).prev(None);
    assert_eq!(first(bad.clone(), 7), Error::NotAssigned);
    assert_eq!(first(bad.clone().assignment(0), 7), Error::SpecMismatch("model"));
    assert_eq!(first(bad.assignment(0).model(MODEL), 7), Error::BadQuote);
}
