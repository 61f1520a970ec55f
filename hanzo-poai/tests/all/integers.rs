//! What two parties must agree on is decided without floats: no float type occurs in these modules, their tests aside.

macro_rules! without_floats {
    ($($file:literal)*) => {
        [$(($file, include_str!(concat!("../../src/", $file)))),*]
    };
}

#[test]
fn no_float_decides() {
    let modules = without_floats! {
        "admission.rs" "attestation.rs" "audit_epoch.rs" "batch.rs" "beacon.rs" "budget.rs" "canary.rs" "contest.rs"
        "contribution.rs" "conviction.rs" "conviction/default_tables.rs" "dispute.rs" "dispute/bisection.rs"
        "dispute/clock.rs" "dispute/output.rs" "dispute/queue.rs" "dispute/step_fraud.rs" "dispute/trace_dispute.rs"
        "dispute_message.rs" "economics.rs" "encoding.rs" "environment.rs" "equivocation.rs" "evidence.rs"
        "evidence_set.rs" "hash.rs" "job.rs" "job/assurance.rs" "job/event.rs" "job/replicas.rs" "job_spec.rs" "merkle.rs"
        "model.rs" "panel.rs" "plan.rs" "quality.rs" "sampling.rs" "screen.rs" "signing.rs" "slashing.rs" "suite.rs"
        "task_report.rs" "trace.rs" "units.rs" "verdict.rs" "verifier.rs"
    };
    for (name, text) in modules {
        let code = text.split("#[cfg(test)]").next().unwrap_or_default();
        for (number, line) in code.lines().enumerate() {
            // The name of a float type is no float.
            let line = line.split("//").next().unwrap_or_default().replace("Tf32", "");
            let float = ["f32", "f64", "libm::"].into_iter().find(|float| line.contains(float));
            assert_eq!(float, None, "{name}:{}: {line}", number + 1);
        }
    }
}
