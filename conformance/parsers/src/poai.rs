//! Job specifications, attestations, batches, verdicts, evidence and disputes.

use hanzo_poai::{
    Attestation, Batch, BatchHash, BatchHeader, ChainId, ComparatorKind, DType, Decision, DisputeBody, DisputeId,
    DisputeMessage, Environment, Epoch, EvidenceItem, EvidenceSet, InclusionProof, JobSpec, Millis, ModelHash, PartyId,
    Side, StateHash, Suite, TaskReport, Trace, Verdict,
};

use crate::{Parser, canonical};

pub(crate) const PARSERS: &[Parser] = &[
    Parser { name: "poai/job_spec", samples: specs, read: job_spec, memory: 64 },
    Parser { name: "poai/environment", samples: environments, read: environment, memory: 64 },
    Parser {
        name: "poai/attestation",
        samples: || claims().iter().map(|c| c.encode().to_vec()).collect(),
        read: attestation,
        memory: 64,
    },
    Parser { name: "poai/batch_header", samples: headers, read: batch_header, memory: 64 },
    Parser { name: "poai/inclusion", samples: proofs, read: inclusion, memory: 64 },
    Parser { name: "poai/verdict", samples: verdicts, read: verdict, memory: 64 },
    Parser { name: "poai/task_report", samples: reports, read: task_report, memory: 64 },
    Parser { name: "poai/evidence", samples: sets, read: evidence, memory: 64 },
    Parser { name: "poai/dispute", samples: disputes, read: dispute, memory: 64 },
];

const CHAIN: ChainId = ChainId::new([0xc4; 32]);

fn party(name: u8) -> PartyId {
    PartyId::new([name; 32])
}

fn spec() -> JobSpec {
    let builder = JobSpec::builder(ModelHash::new([0x30; 32]), [0x11; 32]).dtype(DType::Integer).max_tokens(64);
    builder.sla_ms(10_000).max_price(1_000).build().expect("a valid specification")
}

fn setting() -> Environment {
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

/// A chain of three attestations.
fn claims() -> Vec<Attestation> {
    let mut done: Vec<Attestation> = Vec::new();
    for seq in 0..3 {
        let next = Attestation::builder()
            .suite(Suite::ML_DSA_65)
            .chain(CHAIN)
            .epoch(Epoch::new(9))
            .worker(party(7))
            .job(spec().job_id(&CHAIN, &party(1), seq))
            .input([0x11; 32])
            .output([0x22; 32])
            .model(ModelHash::new([0x30; 32]))
            .environment(setting().hash())
            .started(Millis::new(5))
            .duration_us(2_000_000)
            .tokens_in(10)
            .tokens_out(20)
            .seq(seq)
            .prev(done.last().map(Attestation::hash));
        done.push(next.build().expect("a plausible attestation"));
    }
    done
}

fn batch() -> Batch {
    Batch::new(&claims(), BatchHash::new([0; 32])).expect("a chain of attestations")
}

fn specs() -> Vec<Vec<u8>> {
    vec![spec().encode().to_vec()]
}

fn environments() -> Vec<Vec<u8>> {
    vec![setting().encode().to_vec()]
}

fn headers() -> Vec<Vec<u8>> {
    vec![batch().header().encode().to_vec()]
}

fn proofs() -> Vec<Vec<u8>> {
    vec![batch().proof(2).expect("an attestation of the batch").encode()]
}

fn verdicts() -> Vec<Vec<u8>> {
    let verdict = Verdict {
        decision: Decision::Match,
        comparator: ComparatorKind::Exact,
        verifier: party(2),
        attestation: claims()[0].hash(),
        epoch: Epoch::new(9),
        score_q32: 0,
        transcript: [4; 32],
    };
    vec![verdict.encode().to_vec()]
}

fn reports() -> Vec<Vec<u8>> {
    let report = TaskReport {
        schema: 1,
        worker: party(1),
        job: claims()[0].job(),
        delta_i_q32: -5,
        delta_u_q32: 9,
        evaluation: [1; 32],
        prior: [2; 32],
    };
    vec![report.encode().to_vec()]
}

fn sets() -> Vec<Vec<u8>> {
    let items = vec![(EvidenceItem::Tokens, vec![1, 2]), (EvidenceItem::Fingerprint, vec![])];
    vec![EvidenceSet::new(items).expect("different items").encode()]
}

fn disputes() -> Vec<Vec<u8>> {
    let trace = Trace::new((0..9u8).map(|i| StateHash::new([i; 32])).collect()).expect("nine states");
    let points = [3, 6].map(|at| trace.open(at).expect("a state of the trace")).to_vec();
    let message = |side, body| DisputeMessage::new(side, DisputeId::new([3; 32]), 1, body).expect("a message").encode();
    vec![
        message(Side::Worker, DisputeBody::Respond { lo: 0, hi: 8, points }),
        message(Side::Worker, DisputeBody::Prove { op: 3, operands: vec![7; 40] }),
        message(Side::Challenger, DisputeBody::Concede),
    ]
}

fn job_spec(bytes: &[u8]) -> bool {
    canonical(bytes, JobSpec::decode(bytes), |spec| spec.encode().to_vec())
}

fn environment(bytes: &[u8]) -> bool {
    canonical(bytes, Environment::decode(bytes), |environment| environment.encode().to_vec())
}

fn attestation(bytes: &[u8]) -> bool {
    canonical(bytes, Attestation::decode(bytes), |attestation| attestation.encode().to_vec())
}

fn batch_header(bytes: &[u8]) -> bool {
    canonical(bytes, BatchHeader::decode(bytes), |header| header.encode().to_vec())
}

/// A damaged proof proves nothing; the good one does.
fn inclusion(bytes: &[u8]) -> bool {
    let read = InclusionProof::decode(bytes);
    if let Ok(proof) = &read {
        let verified = batch().header().verify_inclusion(&claims()[2].hash(), proof).is_ok();
        assert_eq!(verified, bytes == proofs()[0], "a forged proof of inclusion");
    }
    canonical(bytes, read, InclusionProof::encode)
}

fn verdict(bytes: &[u8]) -> bool {
    canonical(bytes, Verdict::decode(bytes), |verdict| verdict.encode().to_vec())
}

fn task_report(bytes: &[u8]) -> bool {
    canonical(bytes, TaskReport::decode(bytes), |report| report.encode().to_vec())
}

fn evidence(bytes: &[u8]) -> bool {
    canonical(bytes, EvidenceSet::decode(bytes), EvidenceSet::encode)
}

fn dispute(bytes: &[u8]) -> bool {
    canonical(bytes, DisputeMessage::decode(bytes), DisputeMessage::encode)
}
