//! Vectors of the shared data, made by independent Python.

use crate::support::common::{absent, bytes, data, hash, json, number};
use hanzo_poai::{
    Assurance, Attestation, AttestationHash, AuditPlan, BasisPoints, Batch, BatchHash, BatchHeader, Beacon,
    Calibration, Candidate, ChainId, Claim, Commitments, Comparator as _, Contribution, DType, Decision, DisputeBody,
    DisputeMessage, EProcess, ElementWise, Environment, Epoch, Exposure, InclusionProof, JobId, JobSpec, Millis,
    ModelFile, ModelManifest, Observation, PartyId, Probability, Quality, QualityPolicy, Sampler, SamplingPolicy,
    ScorePolicy, Side, SignedKind, StateHash, Suite, TaskMetrics, TaskReport, TokenSampler, Trace, Verdict,
    assign_verifiers, dispute_id, signed_message, split_points, theory,
};
use serde_json::Value;

fn rows(value: &Value) -> &[Value] {
    value.as_array().unwrap()
}

fn dtype(value: &Value) -> DType {
    let all = [DType::Integer, DType::F64, DType::F32, DType::Tf32, DType::F16, DType::Bf16, DType::F8];
    all[number::<usize>(value)]
}

/// Relative on p and on 1 - p.
fn close(got: f64, want: f64, tolerance: f64) -> bool {
    let near = |a: f64, b: f64| (a - b).abs() <= tolerance * b.abs();
    near(got, want) && (want > 1.0 || near(1.0 - got, 1.0 - want) || (1.0 - want).abs() < 1e-4)
}

#[test]
fn job_specs_and_ids() {
    let Some(json) = json("computed/encodings.json") else { return };
    let cases = rows(&json["job_specs"]);
    assert_eq!(cases.len(), 4);
    for case in cases {
        let f = &case["fields"];
        let spec = JobSpec::builder(hash(&f["model"]), hash(&f["input"]))
            .assurance(
                [Assurance::Optimistic, Assurance::Redundant, Assurance::Proof][number::<usize>(&f["assurance"])],
            )
            .replicas(number(&f["replicas"]))
            .sampler([TokenSampler::Greedy, TokenSampler::GumbelV1][number::<usize>(&f["sampler"])])
            .dtype(dtype(&f["dtype"]))
            .kernel_class(number(&f["kernel_class"]))
            .temperature_q16(number(&f["temperature_q16"]))
            .top_k(number(&f["top_k"]))
            .top_p_q32(number(&f["top_p_q32"]))
            .max_tokens(number(&f["max_tokens"]))
            .sla_ms(number(&f["sla_ms"]))
            .adapter(absent(&f["adapter"]))
            .context(absent(&f["context"]))
            .max_price(number(&f["max_price"]))
            .build()
            .unwrap();
        let encoding = bytes(&case["encoding"]);
        assert_eq!(spec.encode().to_vec(), encoding);
        assert_eq!(JobSpec::decode(&encoding).unwrap(), spec);
        assert_eq!(spec.hash(), hash(&case["spec_hash"]));
        let (chain, client): (ChainId, PartyId) = (hash(&case["chain"]), hash(&case["client"]));
        let id = spec.job_id(&chain, &client, number(&case["nonce"]));
        assert_eq!(id, hash(&case["job_id"]));
        assert_eq!(id.seed(), hash(&case["seed"]));
    }
}

#[test]
fn environments() {
    let Some(json) = json("computed/encodings.json") else { return };
    let cases = rows(&json["environments"]);
    assert_eq!(cases.len(), 3);
    for case in cases {
        let f = &case["fields"];
        let flags: u8 = number(&f["flags"]);
        let environment = Environment {
            dtype: dtype(&f["dtype"]),
            batch_invariant: flags & 1 != 0,
            fixed_reduction_order: flags & 2 != 0,
            kernel_class: number(&f["kernel_class"]),
            tensor_parallel: number(&f["tensor_parallel"]),
            device_class: number(&f["device_class"]),
            runtime: hash(&f["runtime"]),
        };
        assert_eq!(environment.encode().to_vec(), bytes(&case["encoding"]));
        assert_eq!(Environment::decode(&bytes(&case["encoding"])).unwrap(), environment);
        assert_eq!(environment.hash(), hash::<[u8; 32]>(&case["hash"]));
    }
}

#[test]
fn model_manifests() {
    let Some(json) = json("computed/encodings.json") else { return };
    let cases = rows(&json["models"]);
    assert_eq!(cases.len(), 2);
    for case in cases {
        let mut files: Vec<ModelFile> = rows(&case["files_any_order"])
            .iter()
            .map(|file| ModelFile {
                name: file["name"].as_str().unwrap().into(),
                size: number(&file["size"]),
                sha256: hash(&file["sha256"]),
            })
            .collect();
        files.reverse();
        let manifest = ModelManifest::new(files).unwrap();
        assert_eq!(*manifest.root(), hash::<[u8; 32]>(&case["root"]));
        assert_eq!(manifest.hash(), hash(&case["model"]));
    }
}

fn attestation(f: &Value) -> Attestation {
    Attestation::builder()
        .suite(Suite::new(number(&f["suite"])).unwrap())
        .chain(hash(&f["chain"]))
        .epoch(Epoch::new(number(&f["epoch"])))
        .seq(number(&f["seq"]))
        .assignment(number(&f["assignment"]))
        .worker(hash(&f["worker"]))
        .job(hash(&f["job"]))
        .input(hash(&f["input"]))
        .output(hash(&f["output"]))
        .model(hash(&f["model"]))
        .trace(absent(&f["trace"]))
        .environment(hash(&f["environment"]))
        .evidence(absent(&f["evidence"]))
        .started(Millis::new(number(&f["started_ms"])))
        .duration_us(number(&f["duration_us"]))
        .gpu_util_ppm(number(&f["gpu_util_ppm"]))
        .mem_bytes(number(&f["mem_bytes"]))
        .flops(number(&f["flops"]))
        .net_bytes(number(&f["net_bytes"]))
        .energy_mj(number(&f["energy_mj"]))
        .tokens_in(number(&f["tokens_in"]))
        .tokens_out(number(&f["tokens_out"]))
        .report(absent(&f["report"]))
        .quote(absent(&f["quote"]))
        .prev(absent(&f["prev"]))
        .build()
        .unwrap()
}

#[test]
fn attestations_batches_and_proofs() {
    let Some(json) = json("computed/encodings.json") else { return };
    let cases = rows(&json["batches"]);
    assert_eq!(cases.len(), 4);
    let (mut attested, mut from_fields) = (0, 0);
    for case in cases {
        let mut all = Vec::new();
        for row in rows(&case["attestations"]) {
            let att = Attestation::decode(&bytes(&row["encoding"])).unwrap();
            if !row["fields"].is_null() {
                assert_eq!(attestation(&row["fields"]), att);
                from_fields += 1;
            }
            assert_eq!(att.encode().to_vec(), bytes(&row["encoding"]));
            assert_eq!(att.hash(), hash(&row["hash"]));
            let message = signed_message(SignedKind::Attestation, att.hash().as_bytes());
            assert_eq!(message.to_vec(), bytes(&row["signed_message"]));
            all.push(att);
            attested += 1;
        }
        let h = &case["header"];
        let batch = Batch::new(&all, hash(&h["prev_batch"])).unwrap();
        let header = batch.header();
        assert_eq!(*header.root(), hash::<[u8; 32]>(&h["root"]));
        assert_eq!(header.encode().to_vec(), bytes(&case["header_encoding"]));
        assert_eq!(BatchHeader::decode(&bytes(&case["header_encoding"])).unwrap(), *header);
        assert_eq!(header.hash(), hash::<BatchHash>(&case["batch_hash"]));
        let message = signed_message(SignedKind::Batch, header.hash().as_bytes());
        assert_eq!(message.to_vec(), bytes(&case["signed_message"]));
        for row in rows(&case["proofs"]) {
            let index: u32 = number(&row["index"]);
            let proof = batch.proof(index).unwrap();
            let path: Vec<[u8; 32]> = rows(&row["path"]).iter().map(hash).collect();
            assert_eq!(proof.path(), path);
            assert_eq!(proof.encode(), bytes(&row["wire"]));
            assert_eq!(InclusionProof::decode(&bytes(&row["wire"])).unwrap(), proof);
            let seq = header.verify_inclusion(&all[index as usize].hash(), &proof).unwrap();
            assert_eq!(seq, all[index as usize].seq());
        }
    }
    assert_eq!((attested, from_fields), (11, 7));
}

#[test]
fn verdicts_and_commitments() {
    let Some(json) = json("computed/encodings.json") else { return };
    let cases = rows(&json["verdicts"]);
    assert_eq!(cases.len(), 3);
    for case in cases {
        let f = &case["fields"];
        let verdict = Verdict::decode(&bytes(&case["encoding"])).unwrap();
        let decisions = [Decision::Match, Decision::Mismatch, Decision::Undetermined, Decision::Unavailable];
        assert_eq!(verdict.decision, decisions[number::<usize>(&f["verdict"])]);
        assert_eq!(verdict.comparator as u8, number::<u8>(&f["comparator"]));
        assert_eq!(verdict.verifier, hash(&f["verifier"]));
        assert_eq!(verdict.attestation, hash(&f["attestation"]));
        assert_eq!(verdict.epoch.get(), number::<u64>(&f["epoch"]));
        assert_eq!(verdict.score_q32, number::<u64>(&f["score_q32"]));
        assert_eq!(verdict.transcript, hash::<[u8; 32]>(&f["transcript"]));
        assert_eq!(verdict.encode().to_vec(), bytes(&case["encoding"]));
        assert_eq!(verdict.hash(), hash::<[u8; 32]>(&case["hash"]));
        assert_eq!(verdict.commit(&hash(&case["salt"])), hash::<[u8; 32]>(&case["commitment"]));
    }
}

#[test]
fn traces() {
    let Some(json) = json("computed/encodings.json") else { return };
    let cases = rows(&json["traces"]);
    assert_eq!(cases.len(), 2);
    for case in cases {
        let states: Vec<StateHash> = rows(&case["states"]).iter().map(hash).collect();
        let trace = Trace::new(states).unwrap();
        let ops: u64 = number(&case["ops"]);
        assert_eq!(trace.ops(), ops);
        assert_eq!(trace.root(), hash::<[u8; 32]>(&case["root"]));
        assert_eq!(trace.hash(), hash(&case["trace"]));
        let opening = trace.open(number(&case["opened"])).unwrap();
        let path: Vec<[u8; 32]> = rows(&case["path"]).iter().map(hash).collect();
        assert_eq!(opening.path, path);
        opening.verify(&trace.hash(), ops).unwrap();
        assert!(opening.verify(&trace.hash(), ops + 1).is_err());
    }
}

#[test]
fn dispute_messages_and_split_points() {
    let Some(json) = json("computed/encodings.json") else { return };
    let cases = rows(&json["disputes"]);
    assert_eq!(cases.len(), 2);
    for case in cases {
        let (attestation, challenger) = (hash(&case["attestation"]), hash(&case["challenger"]));
        let nonce = number(&case["nonce"]);
        let id = dispute_id(&attestation, &challenger, nonce);
        assert_eq!(id, hash(&case["dispute_id"]));
        for round in rows(&case["rounds"]) {
            let (lo, hi) = (number(&round["lo"]), number(&round["hi"]));
            let points: Vec<u64> = rows(&round["points"]).iter().map(number).collect();
            assert_eq!(split_points(lo, hi, number(&case["arity"])).unwrap(), points);
            let choice = rows(&round["choice"]);
            let body = DisputeBody::Choose { lo: number(&choice[0]), hi: number(&choice[1]) };
            let message = DisputeMessage::new(Side::Challenger, id, number(&round["round"]), body).unwrap();
            assert_eq!(message.encode(), bytes(&round["choose_message"]));
            assert_eq!(message.hash(), hash::<[u8; 32]>(&round["choose_hash"]));
            assert_eq!(DisputeMessage::decode(&message.encode()).unwrap(), message);
        }
        let open = DisputeBody::Open {
            attestation,
            challenger,
            claim: Claim::Trace,
            n_ops: number(&case["ops"]),
            final_state: StateHash::new([1; 32]),
            nonce,
        };
        let message = DisputeMessage::new(Side::Challenger, id, 0, open).unwrap();
        assert_eq!(DisputeMessage::decode(&message.encode()).unwrap(), message);
    }
}

#[test]
fn beacons() {
    let Some(json) = json("computed/sampling.json") else { return };
    let cases = rows(&json["beacons"]);
    assert_eq!(cases.len(), 2);
    for case in cases {
        let (chain, epoch) = (hash(&case["chain"]), Epoch::new(number(&case["epoch"])));
        let contributions = rows(&case["contributions_any_order"]);
        let mut open = Commitments::new(chain, epoch);
        for row in contributions {
            let (party, commitment) = (hash(&row["party"]), hash(&row["commitment"]));
            open.commit(Contribution { chain, epoch, party, commitment }).unwrap();
        }
        let mut round = open.close(hash(&case["finality"]), absent(&case["external"]), 2).unwrap();
        for row in contributions.iter().filter(|row| !row["reveal"].is_null()) {
            let (party, reveal): (PartyId, [u8; 32]) = (hash(&row["party"]), hash(&row["reveal"]));
            round.reveal(&party, &reveal).unwrap();
            let again = Contribution::new(chain, epoch, party, &reveal);
            assert_eq!(again.commitment, hash::<[u8; 32]>(&row["commitment"]));
        }
        let outcome = round.finish().unwrap();
        assert_eq!(outcome.withheld().len(), number::<usize>(&case["withheld"]));
        assert_eq!(*outcome.beacon().value(), hash::<[u8; 32]>(&case["beacon"]));
    }
}

#[test]
fn draws_and_fixed_size_samples() {
    let Some(json) = json("computed/sampling.json") else { return };
    for row in rows(&json["ratios"]) {
        let p = Probability::from_ratio(number(&row["num"]), number(&row["den"])).unwrap();
        assert_eq!(p.threshold(), number::<u64>(&row["threshold"]));
    }
    assert_eq!(rows(&json["ratios"]).len(), 5);
    let mut drawn = 0;
    for case in rows(&json["epochs"]) {
        let sampler = Sampler::new(&Beacon::new(Epoch::new(0), hash(&case["beacon"])));
        let mut jobs: Vec<(JobId, u32)> = Vec::new();
        for row in rows(&case["draws"]) {
            let (job, assignment) = (hash(&row["job"]), number(&row["assignment"]));
            let p = Probability::from_ratio(number(&row["num"]), number(&row["den"])).unwrap();
            assert_eq!(p.threshold(), number::<u64>(&row["threshold"]));
            let draw = sampler.draw(&job, assignment, p);
            assert_eq!(draw.u(), number::<u64>(&row["u"]));
            assert_eq!(draw.selected(), row["selected"].as_bool().unwrap());
            jobs.push((job, assignment));
            drawn += 1;
        }
        let selected: Vec<(JobId, u32)> =
            rows(&case["fixed_size_selected"]).iter().map(|row| (hash(&row[0]), number(&row[1]))).collect();
        jobs.reverse();
        assert_eq!(sampler.fixed_size(&jobs, number(&case["fixed_size"])), selected);
    }
    assert_eq!(drawn, 24);
}

#[test]
fn verifier_assignments() {
    let Some(json) = json("computed/sampling.json") else { return };
    let cases = rows(&json["assignments"]);
    assert_eq!(cases.len(), 2);
    for case in cases {
        let beacon = Beacon::new(Epoch::new(0), hash(&case["beacon"]));
        let mut candidates: Vec<Candidate> = rows(&case["verifiers"])
            .iter()
            .map(|row| Candidate { id: hash(&row["id"]), owner: hash(&row["owner"]), weight: number(&row["weight"]) })
            .collect();
        let chosen: Vec<PartyId> = rows(&case["chosen"]).iter().map(hash).collect();
        for _ in 0..2 {
            let got = assign_verifiers(
                &beacon,
                &hash(&case["job"]),
                number(&case["assignment"]),
                &hash(&case["worker_owner"]),
                &candidates,
                number(&case["count"]),
            );
            assert_eq!(got.unwrap(), chosen);
            candidates.reverse();
        }
    }
}

#[test]
fn audit_plans() {
    let Some(json) = json("computed/audit_plan.json") else { return };
    let cases = rows(&json);
    assert_eq!(cases.len(), 2);
    for case in cases {
        let floor = Probability::from_threshold(number(&case["floor"]));
        let policy = SamplingPolicy::new(floor).kappa_q16(number(&case["kappa_q16"]));
        let jobs: Vec<Exposure> = rows(&case["jobs"])
            .iter()
            .map(|row| Exposure {
                attestation: hash::<AttestationHash>(&row["attestation"]),
                gain: number(&row["gain"]),
                stake: number(&row["stake"]),
                cost: number(&row["cost"]),
                screen: (!row["screen_score_q32"].is_null()).then(|| number(&row["screen_score_q32"])),
                clean: 0,
            })
            .collect();
        let budget: u64 = number(&case["budget"]);
        let plan = AuditPlan::new(&policy, &jobs, budget).unwrap();
        for ((row, job), p) in rows(&case["jobs"]).iter().zip(&jobs).zip(plan.probabilities()) {
            let deterrence = policy.deterrence(job.gain, job.stake).unwrap();
            assert_eq!(deterrence.threshold(), number::<u64>(&row["deterrence"]));
            assert_eq!(p.threshold(), number::<u64>(&row["probability"]));
        }
        assert!(plan.expected_cost_q64() <= u128::from(budget) << 64);
    }
}

#[test]
fn e_process_values_and_boundaries() {
    let Some(json) = json("computed/eprocess.json") else { return };
    let values = rows(&json["values"]);
    assert_eq!(values.len(), 18);
    for row in values {
        let process = EProcess::new(number(&row["p0_ppb"])).unwrap();
        let got = process.ln_e(number(&row["audits"]), number(&row["mismatches"])).unwrap();
        let want: f64 = number(&row["ln_e"]);
        assert!((got - want).abs() <= 1e-9 * want.abs().max(1.0), "{got} {want}");
    }
    let boundaries = rows(&json["boundaries"]);
    assert_eq!(boundaries.len(), 3);
    for row in boundaries {
        let process = EProcess::new(number(&row["p0_ppb"])).unwrap();
        assert_eq!(process.grid_size(), number::<usize>(&row["grid_size"]));
        let convict: Vec<u64> = rows(&row["convict_n_max"]).iter().map(number).collect();
        let escalate: Vec<u64> = rows(&row["escalated_n_max"]).iter().map(number).collect();
        let table = process.convicts(number(&row["inverse_level"]), 32).unwrap();
        assert_eq!(table.rows(), convict);
        assert_eq!(process.escalates(32).unwrap().rows(), escalate);
    }
}

#[test]
fn detection_laws() {
    let Some(json) = json("computed/detection.json") else { return };
    let check = |got: f64, row: &Value| {
        assert!(close(got, number(&row["p"]), 1e-12), "{got} {row}");
    };
    for row in rows(&json["exact_count"]) {
        let (alpha, bad) = (number(&row["alpha"]), number(&row["bad"]));
        let p = theory::detection_exact_count(alpha, bad).unwrap();
        check(p, row);
        // 1 - p relative to 1e-12, where a float p can still show it
        let miss: f64 = number(&row["log10_miss"]);
        if miss > -2.0 {
            assert!(((1.0 - p).log10() - miss).abs() < 1e-12 * 10f64.powf(-miss));
        }
    }
    for row in rows(&json["iid"]) {
        let (alpha, delta) = (number(&row["alpha"]), number(&row["delta"]));
        check(theory::detection_iid(alpha, delta, number(&row["jobs"])).unwrap(), row);
    }
    for row in rows(&json["hypergeometric"]) {
        let (jobs, bad, audits) = (number(&row["jobs"]), number(&row["bad"]), number(&row["audits"]));
        check(theory::detection_hypergeometric(jobs, bad, audits).unwrap(), row);
    }
    for row in rows(&json["colluding"]) {
        let (alpha, r) = (number(&row["alpha"]), number(&row["colluding_share"]));
        let (k, w) = (number(&row["verifiers"]), number(&row["power"]));
        let rate = theory::effective_rate(alpha, r, k, w).unwrap();
        assert!(close(rate, number(&row["alpha_eff"]), 1e-12));
        check(theory::detection_colluding(alpha, r, k, w, number(&row["bad"])).unwrap(), row);
    }
    for row in rows(&json["screened"]) {
        let (tpr, fpr) = (number(&row["tpr"]), number(&row["fpr"]));
        let rate = theory::screened_rate(tpr, fpr, number(&row["reexecution_budget"])).unwrap();
        assert!(close(rate, number(&row["p_per_bad"]), 1e-12));
        check(theory::detection_exact_count(rate, number(&row["bad"])).unwrap(), row);
    }
    for row in rows(&json["jobs_for"]) {
        let jobs = theory::jobs_for(number(&row["alpha"]), number(&row["target"])).unwrap();
        assert_eq!(jobs, number::<u64>(&row["jobs"]));
    }
    for row in rows(&json["deterrence"]) {
        let (p, gain) = (number(&row["p"]), number(&row["gain"]));
        let stake = theory::required_stake(gain, p).unwrap();
        assert!(close(stake, number(&row["stake_min"]), 1e-12));
        let least = theory::required_detection(gain, 1_000.0).unwrap();
        assert!(close(least, number(&row["p_min_at_stake_1000"]), 1e-12));
    }
    for row in rows(&json["clopper_pearson"]) {
        let (hits, trials) = (number(&row["hits"]), number(&row["trials"]));
        let (lower, upper) = theory::clopper_pearson(hits, trials, number(&row["confidence"])).unwrap();
        assert!(close(lower, number(&row["lower"]), 1e-12), "{lower} {row}");
        assert!(close(upper, number(&row["upper"]), 1e-12), "{upper} {row}");
    }
}

#[test]
fn detection_table() {
    let Some(csv) = data("detection_exact.csv") else { return };
    let mut checked = 0;
    for line in csv.lines().skip(1) {
        let fields: Vec<&str> = line.split(',').collect();
        let (alpha, bad) = (fields[0].parse().unwrap(), fields[1].parse().unwrap());
        let got = theory::detection_exact_count(alpha, bad).unwrap();
        assert!(close(got, fields[2].parse().unwrap(), 1e-12), "{line}");
        checked += 1;
    }
    assert_eq!(checked, 40);
}

#[test]
fn task_scores_and_quality() {
    let Some(json) = json("computed/verdict_effects.json") else { return };
    let cases = rows(&json["task_scores"]);
    assert_eq!(cases.len(), 4);
    let metrics = |value: &Value| TaskMetrics {
        flops: number(&value["flops"]),
        net_bytes: number(&value["net_bytes"]),
        energy_mj: number(&value["energy_mj"]),
    };
    for case in cases {
        let f = &case["fields"];
        let report = TaskReport {
            schema: number(&f["schema"]),
            worker: hash(&f["worker"]),
            job: hash(&f["job"]),
            delta_i_q32: number(&f["delta_i_q32"]),
            delta_u_q32: number(&f["delta_u_q32"]),
            evaluation: hash(&f["evaluation"]),
            prior: hash(&f["prior"]),
        };
        assert_eq!(report.encode().to_vec(), bytes(&case["encoding"]));
        assert_eq!(TaskReport::decode(&bytes(&case["encoding"])).unwrap(), report);
        assert_eq!(report.hash(), hash::<[u8; 32]>(&case["hash"]));
        let weights = &case["weights_q32"];
        let policy = ScorePolicy::new(metrics(&case["reference_units"])).unwrap();
        let policy = policy.weights(
            number(&case["gamma_q32"]),
            number(&case["beta_q32"]),
            number(&case["lambda_q32"]),
            ["flops", "net_bytes", "energy_mj"].map(|name| number(&weights[name])),
        );
        let measured = metrics(&case["metrics"]);
        assert_eq!(policy.cost_q32(&measured).unwrap(), number::<u128>(&case["cost_q32"]));
        let score = policy.score_q32(&report, &measured).unwrap();
        assert_eq!(score, number::<u128>(&case["score_q32"]));
    }
    let cases = rows(&json["quality"]);
    assert_eq!(cases.len(), 2);
    for case in cases {
        let policy = QualityPolicy::new(number(&case["eta_q32"]), 1 << 31, 20).unwrap();
        let mut quality = Quality::new(number(&case["start_q32"]), 0).unwrap();
        for (result, want) in rows(&case["results_q32"]).iter().zip(rows(&case["quality_q32"])) {
            quality.update(&policy, number(result)).unwrap();
            assert_eq!(quality.value_q32(), number::<u64>(want));
        }
    }
}

#[test]
fn element_wise_comparisons() {
    let Some(json) = json("computed/comparators.json") else { return };
    let cases = rows(&json["elementwise"]);
    assert!(!cases.is_empty());
    for case in cases {
        let values = |name: &str| -> Vec<f64> { rows(&case[name]).iter().map(number).collect() };
        let (reference, claimed) = (values("reference"), values("claimed"));
        let near = ElementWise::new(number(&case["atol"]), number(&case["rtol"])).unwrap();
        let score = near.compare(&Observation::F64(&reference), &Observation::F64(&claimed)).unwrap();
        assert_eq!(score.violations(), number::<u64>(&case["violations"]));
        assert_eq!(score.first(), (score.violations() > 0).then(|| number(&case["first"])));
    }
}

/// Figures the sources print.
#[test]
fn published_figures() {
    let p = |bad| theory::detection_exact_count(0.003, bad).unwrap();
    assert!((p(100) - 0.25952).abs() < 5e-6);
    assert!((p(1_000) - 0.95044).abs() < 5e-6);
    let iid = |jobs| theory::detection_iid(0.003, 0.01, jobs).unwrap();
    assert!((iid(10_000) - 0.25919).abs() < 5e-6);
    assert!((iid(100_000) - 0.95022).abs() < 5e-6);
    let jobs = [0.003, 0.03, 0.1, 0.3].map(|alpha| theory::jobs_for(alpha, 0.997).unwrap());
    assert_eq!(jobs, [1_934, 191, 56, 17]);
    assert!((theory::required_stake(1.0, 0.003).unwrap() - 332.333).abs() < 1e-3);
    assert_eq!(Probability::from_ratio(3, 1_000).unwrap().threshold(), 55_340_232_221_128_654);
    // 368,887 clean trials are the fewest that show a rate of at most 1e-5.
    assert_eq!(Calibration::from_counts(0, 368_887).unwrap().p0_ppb(), 10_000);
    assert_eq!(Calibration::from_counts(0, 368_886).unwrap().p0_ppb(), 10_001);
    // Ten epochs of 500 basis points compound to 40.1 %.
    let quality = f64::from(BasisPoints::new(500).unwrap().get()) / 1e4;
    assert!((1.0 - (1.0 - quality).powi(10) - 0.401).abs() < 5e-4);
    let process = EProcess::new(10_000).unwrap();
    assert!((process.ln_e(1_000_000, 0).unwrap().exp() - 2.8e-6).abs() < 0.05e-6);
    assert_eq!(process.convicts(1_000_000, 5).unwrap().rows(), [0, 30, 567, 2_731, 7_471]);
}
