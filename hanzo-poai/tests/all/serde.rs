//! `serde` forms: what is written is read back, and what is not valid is not read.

use std::fmt::Debug;
use std::num::NonZeroU64;

use hanzo_poai::*;
use serde_json::{Value, from_value, json};

/// The JSON form, once it has come back as the same value.
fn form<T>(value: &T) -> Value
where
    T: serde::Serialize + serde::de::DeserializeOwned + PartialEq + Debug,
{
    let text = serde_json::to_string(value).unwrap();
    assert_eq!(&serde_json::from_str::<T>(&text).unwrap(), value);
    serde_json::from_str(&text).unwrap()
}

fn refuses<T: serde::de::DeserializeOwned + Debug>(forms: &[Value]) {
    for form in forms {
        assert!(from_value::<T>(form.clone()).is_err(), "{form}");
    }
}

fn spec() -> JobSpec {
    JobSpec::builder(ModelHash::new([1; 32]), [2; 32]).max_price(u128::MAX).build().unwrap()
}

#[test]
fn ids_and_encodings_are_hex() {
    let party = PartyId::new([0xab; 32]);
    assert_eq!(form(&party), json!("ab".repeat(32)));
    refuses::<PartyId>(&[json!("AB".repeat(32)), json!("ab".repeat(31)), json!("ab".repeat(33)), json!("a"), json!(7)]);

    let spec = spec();
    assert_eq!(form(&spec), json!(hex::encode(spec.encode())));
    let mut damaged = spec.encode();
    damaged[7] = 4;
    refuses::<JobSpec>(&[json!(hex::encode(damaged)), json!(""), json!(hex::encode(&spec.encode()[1..]))]);

    let chain = ChainId::new([3; 32]);
    let job = spec.job_id(&chain, &party, 0);
    let attestation = Attestation::builder()
        .suite(Suite::ED25519)
        .chain(chain)
        .epoch(Epoch::new(1))
        .worker(party)
        .job(job)
        .input([2; 32])
        .output([4; 32])
        .model(ModelHash::new([1; 32]))
        .environment([5; 32])
        .build()
        .unwrap();
    assert_eq!(form(&attestation), json!(hex::encode(attestation.encode())));
    let verdict = Verdict {
        decision: Decision::Mismatch,
        comparator: ComparatorKind::Kl,
        verifier: party,
        attestation: attestation.hash(),
        epoch: Epoch::new(1),
        score_q32: 9,
        transcript: [6; 32],
    };
    assert_eq!(form(&verdict), json!(hex::encode(verdict.encode())));
    let batch = Batch::new(&[attestation], BatchHash::new([0; 32])).unwrap();
    assert_eq!(form(&batch.proof(0).unwrap()), json!("0000000000000001".to_owned() + "00"));
    form(batch.header());
}

#[test]
fn units_and_names() {
    assert_eq!(form(&Epoch::new(7)), json!(7));
    assert_eq!(form(&Millis::new(8)), json!(8));
    assert_eq!(form(&Probability::ALWAYS), json!(u64::MAX));
    assert_eq!(form(&BasisPoints::ALL), json!(10_000));
    assert_eq!(form(&Suite::ML_DSA_65), json!(2));
    assert_eq!(form(&Family::InvalidAttestation), json!("invalid_attestation"));
    assert_eq!(form(&DType::Bf16), json!("bf16"));
    refuses::<BasisPoints>(&[json!(10_001), json!(-1), json!("1")]);
    refuses::<Suite>(&[json!(0), json!(4)]);
    refuses::<DType>(&[json!("bf17"), json!(5)]);

    let environment = Environment {
        dtype: DType::F16,
        batch_invariant: true,
        fixed_reduction_order: false,
        kernel_class: 1,
        tensor_parallel: 2,
        device_class: 3,
        runtime: [9; 32],
    };
    assert_eq!(form(&environment)["runtime"], json!("09".repeat(32)));
}

#[test]
fn policies_go_through_their_constructors() {
    form(&JobPolicy::default());
    form(&QualityPolicy::default());
    form(&Quality::default());
    form(&Screen::default());
    form(&DisputePolicy::default());
    form(&AssurancePolicy { redundant_from: Some(u128::MAX), proof_from: None });
    form(&Thresholds::new(3e-4, 1e-3).unwrap());
    form(&AuditBudget::new(Probability::from_threshold(5), Probability::ALWAYS).unwrap());
    form(&SamplingPolicy::new(Probability::from_threshold(5)).kappa_q16(7).reputation(NonZeroU64::MIN, 9));
    form(&ScorePolicy::new(TaskMetrics { flops: 1, net_bytes: 2, energy_mj: 3 }).unwrap().weights(1, 2, 3, [4, 5, 6]));
    assert_eq!(form(&BisectionPolicy::default()), json!({ "arity": 16, "side_ms": 1_800_000, "turn_ms": 60_000 }));

    refuses::<QualityPolicy>(&[
        json!({ "eta_q32": 0, "threshold_q32": 0, "grace": 0 }),
        json!({ "eta_q32": 1, "threshold_q32": (1u64 << 32) + 1, "grace": 0 }),
        json!({ "eta_q32": 1, "threshold_q32": 1 }),
        json!({ "eta_q32": 1, "threshold_q32": 1, "grace": 0, "grase": 0 }),
    ]);
    refuses::<BisectionPolicy>(&[json!({ "arity": 255, "side_ms": 1, "turn_ms": 1 })]);
    refuses::<Screen>(&[json!({ "threshold_q32": 1, "least_group": 2 })]);
    refuses::<Thresholds>(&[json!({ "flag": 2.0, "mismatch": 1.0 }), json!({ "flag": null, "mismatch": 1.0 })]);
    refuses::<DisputePolicy>(&[json!({ "phase_ms": 0 })]);
    refuses::<JobPolicy>(&[json!({ "epoch_ms": 1 })]);
}

#[test]
fn slashing_names_every_family() {
    let policy = SlashPolicy::default().with(Family::Timeout, BasisPoints::ZERO);
    let written = form(&policy);
    assert_eq!(written["bps"]["timeout"], json!(0));
    assert_eq!(written["bps"]["wrong_output"], json!(10_000));
    let mut part = written.clone();
    part["bps"].as_object_mut().unwrap().remove("quality");
    let mut greedy = written;
    greedy["reward"] = json!(10_000);
    refuses::<SlashPolicy>(&[part, greedy]);
}

#[test]
fn convictions_come_with_the_same_tables() {
    let default = ConvictionPolicy::default();
    let written = form(&default);
    assert_eq!(written["rungs"][0], json!({ "p0_ppb": 20_000, "inverse_level": 3_000_000 }));
    form(&ConvictionPolicy::new(&[Rung { p0_ppb: 10_000, inverse_level: 1_000_000 }], 90).unwrap());
    refuses::<ConvictionPolicy>(&[
        json!({ "rungs": [], "run_epochs": 1 }),
        json!({ "rungs": [{ "p0_ppb": 10_000, "inverse_level": 999_999 }], "run_epochs": 1 }),
        json!({ "rungs": [{ "p0_ppb": 10_000, "inverse_level": 1_000_000 }], "run_epochs": 0 }),
    ]);
}

#[test]
fn orders_of_a_registry() {
    let party = PartyId::new([7; 32]);
    let evidence = Evidence::outside(Family::Consensus, party, Epoch::new(3), b"two votes", |_, _, _| true).unwrap();
    let order = Registry::new(SlashPolicy::default()).submit(&evidence, PartyId::new([8; 32])).unwrap();
    let written = form(&order);
    assert_eq!((&written["bps"], &written["family"]), (&json!(10_000), &json!("consensus")));
}
