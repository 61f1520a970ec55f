//! A hundred validators of both tracks: when matches are certified and settled, beside what was expected, and with a third of them down.
//!
//! `cargo test --release -p hanzo-snow --features simulate --test all scenarios:: -- --ignored --nocapture --test-threads 1`

use hanzo_snow::simulate::{DualReport, DualSimulationBuilder, Fault, Scenario};

const MS: u64 = 1_000_000;
const SECOND: u64 = 1_000 * MS;
const MATCHES: u64 = 100;

/// Runs until everything must have settled, and checks that it has.
fn run(builder: DualSimulationBuilder, seconds: u64, name: &str) -> DualReport {
    let mut network = builder.submit_every(1, 10 * MS, MATCHES, 256).build().unwrap();
    network.run_until(seconds * SECOND).unwrap();
    let report = network.report().clone();
    let ms = |time: Option<u64>| time.map_or(0, |time| time / MS);
    println!(
        "{name}: certificate p50 {} p90 {} max {}, formed p50 {} p90 {} max {}, certified p50 {} max {}, settled p50 {} max {} ms",
        ms(report.certificate_quantile(500)),
        ms(report.certificate_quantile(900)),
        ms(report.certificate_quantile(1_000)),
        ms(report.formed_quantile(500)),
        ms(report.formed_quantile(900)),
        ms(report.formed_quantile(1_000)),
        ms(report.certified_quantile(500)),
        ms(report.certified_quantile(1_000)),
        ms(report.settlement_quantile(500)),
        ms(report.settlement_quantile(1_000)),
    );
    assert_eq!((network.certified_unsettled(), report.refused), (0, 0), "{name}");
    assert_eq!(report.settled, report.submitted, "{name}");
    report
}

/// Half as much to half as much again.
fn near(name: &str, found: Option<u64>, expected: u64) {
    let (found, expected) = (found.unwrap(), expected * MS);
    assert!(found >= expected / 2 && found <= expected * 3 / 2, "{name}: {found} ns against {expected}");
}

#[test]
#[ignore = "a minute and gigabytes with --release: the command is at the top of scenarios.rs"]
fn a_hundred_validators_over_ten_regions_meet_their_expectations_slow_() {
    let report = run(Scenario::Aci100.dual(), 6, "aci_100");
    near("certificate p50", report.certificate_quantile(500), 170);
    near("certificate p90", report.certificate_quantile(900), 270);
    // Expected from when the vertex was sent; a match waits for the next one first.
    let waited = report.formed_quantile(500).unwrap() - report.certificate_quantile(500).unwrap();
    let since_sent = |per_mille| report.certified_quantile(per_mille).map(|time| time - waited);
    near("certified p50", since_sent(500), 400);
    near("certified max", since_sent(1_000), 600);
}

#[test]
#[ignore = "a minute and gigabytes with --release: the command is at the top of scenarios.rs"]
fn a_hundred_validators_in_one_region_certify_within_the_published_figures_slow_() {
    let report = run(Scenario::Aci100Near.dual(), 6, "aci_100_near");
    assert!(report.certificate_quantile(990).unwrap() < 87 * MS);
    assert!(report.certified_quantile(990).unwrap() < 198 * MS);
}

#[test]
#[ignore = "a minute and gigabytes with --release: the command is at the top of scenarios.rs"]
fn a_hundred_validators_settle_with_thirty_three_down_slow_() {
    let builder = (0..33).fold(Scenario::Aci100.dual(), |builder, i| builder.fault(0, Fault::Crash(3 * i)));
    let report = run(builder, 30, "33 of 100 down");
    assert_eq!(report.submitted, MATCHES - MATCHES * 33 / 100, "those given to nodes that are down are not counted");
    near("certificate p50", report.certificate_quantile(500), 270);
}
