//! The tables of the design, played out: each count has to be compatible with the stated figure.

use hanzo_poai::simulate::*;
use hanzo_poai::{EProcess, Epoch, Outcome, Record, RungId, Standing, theory};

const TEN_EPOCHS: Fleet = Fleet { workers: 20_000, epochs: 10, jobs: 10_000 };
const LEVEL: u64 = 1_000_000;

/// The exact law lies in the interval of the count, and the stated figure is that law to its digits.
fn law(found: Estimate, exact: f64, stated: f64, digits: f64) {
    assert!(found.holds(exact), "{} of {} is not {exact}", found.hits, found.trials);
    assert!((exact - stated).abs() <= digits, "{exact} is stated as {stated}");
}

/// A stated figure that was itself counted, in `trials` trials.
fn counted(found: Estimate, stated: f64, trials: u64) {
    let stated_hits = (stated * trials as f64).round() as u64;
    let (low, high) = Estimate { hits: stated_hits, trials }.interval(1.0 - 1e-3).unwrap();
    let (ours_low, ours_high) = found.interval(1.0 - 1e-3).unwrap();
    assert!(ours_low <= high && low <= ours_high, "{} is not {stated} of {trials}", found.rate());
}

#[test]
fn s1_uniform() {
    for (delta, stated) in [(0.01, 0.9502), (0.019_334_7, 0.9970)] {
        let found = uniform(1, TEN_EPOCHS, 0.003, delta).unwrap();
        law(found, theory::detection_iid(0.003, delta, 100_000).unwrap(), stated, 5e-5);
    }
    let few = uniform(1, Fleet { jobs: 23, ..TEN_EPOCHS }, 0.003, 1.0).unwrap();
    law(few, theory::detection_exact_count(0.003, 230).unwrap(), 0.4989, 5e-5);
    let honest = Scenario { fleet: TEN_EPOCHS, delta: 0.0, power: 1.0, p0: 0.0 };
    let plain = Rule { rate: 0.003, convicts: Convicts::Mismatches(1), escalation: None };
    let ledger = play(1, &honest, &plain).unwrap();
    assert_eq!((ledger.convicted, ledger.jobs), (0, 20_000 * 100_000));
    assert!((ledger.overhead(1.0) - 0.003).abs() < 1e-5);
}

#[test]
fn s2_check_cost() {
    for (delta, row) in [(1e-3, [0.260, 0.952, 1.000, 1.000]), (1e-4, [0.030, 0.263, 0.651, 0.972])] {
        for (cost, stated) in [1.0, 0.1, 0.03, 0.01].into_iter().zip(row) {
            let (alpha, bad) = ((0.003f64 / cost).min(1.0), (delta * 1e5) as u64);
            let found = exact_count(2, 20_000, bad, alpha).unwrap();
            law(found, theory::detection_exact_count(alpha, bad).unwrap(), stated, 6e-4);
        }
    }
}

#[test]
fn s3_screen() {
    for (tpr, fpr, bad, stated) in [(0.5, 0.001, 10, 0.9990), (0.05, 0.0001, 100, 0.9956)] {
        let found = screened(3, 20_000, bad, tpr, fpr, 0.003).unwrap();
        let p = theory::screened_rate(tpr, fpr, 0.003).unwrap();
        law(found, theory::detection_exact_count(p, bad).unwrap(), stated, 6e-5);
    }
}

fn e_process(p0_ppb: u32, rate: f64, escalation: Option<(f64, u64)>) -> Rule {
    let process = EProcess::new(p0_ppb).unwrap();
    Rule {
        rate,
        convicts: Convicts::EProcess(process.convicts(LEVEL, 64).unwrap()),
        escalation: escalation.map(|(rate, look_every)| Escalation {
            rate,
            boundary: process.escalates(64).unwrap(),
            look_every,
        }),
    }
}

#[test]
fn s4_rules() {
    let p0 = 4.76e-4;
    let rules = [
        Rule { rate: 0.003, convicts: Convicts::Mismatches(1), escalation: None },
        Rule { rate: 0.003, convicts: Convicts::Mismatches(2), escalation: None },
        e_process(952_000, 0.003, None),
        e_process(952_000, 0.003, Some((0.1, 1))),
    ];
    let honest = Scenario { fleet: Fleet { workers: 100_000, ..TEN_EPOCHS }, delta: 0.0, power: 0.95, p0 };
    let cheating = Scenario { fleet: Fleet { workers: 5_000, ..TEN_EPOCHS }, delta: 0.01, power: 0.95, p0 };
    for (rule, (caught, slashed, cost)) in
        rules.iter().zip([(0.947, 0.133, 0.30), (0.800, 0.009, 0.30), (0.032, 0.0, 0.30), (0.926, 0.0, 0.38)])
    {
        counted(play(4, &cheating, rule).unwrap().convicted(), caught, 5_000);
        let innocent = play(5, &honest, rule).unwrap();
        counted(innocent.convicted(), slashed, 100_000);
        // Overhead of a rule that stops at the first conviction counts only the work done.
        assert!((100.0 * innocent.overhead(1.0) - cost).abs() < 0.006, "{}", 100.0 * innocent.overhead(1.0));
    }
}

#[test]
fn s5_least_detectable_share() {
    let grid = [5e-4, 1e-3, 2e-3, 3e-3, 4e-3, 5e-3, 0.01, 0.02, 0.03, 0.04, 0.05];
    let fleet = Fleet { workers: 20_000, ..TEN_EPOCHS };
    for (cost, stated) in [(1.0, 0.04), (0.1, 5e-3), (0.03, 2e-3), (0.01, 1e-3)] {
        let found = |delta: f64| {
            let mismatch = 0.95 * delta + (1.0 - delta) * 1e-5;
            let streams = null_streams(6, fleet, 0.003 / cost, mismatch, 10_000, &[LEVEL as f64]).unwrap();
            streams.crossed[0].rate()
        };
        let least = grid.into_iter().find(|delta| found(*delta) >= 0.997);
        assert_eq!(least, Some(stated), "check cost {cost}");
    }
}

#[test]
fn s6_honest_streams_stay_below_the_level() {
    let fleet = Fleet { workers: 2_000, epochs: 500, jobs: 10_000 };
    let streams = null_streams(7, fleet, 0.1, 1e-5, 10_000, &[10.0, 100.0, 1e6]).unwrap();
    let rates: Vec<f64> = streams.crossed.iter().map(Estimate::rate).collect();
    assert!(rates[0] <= 0.1 && rates[1] <= 0.01 && rates[2] == 0.0, "{rates:?}");
    assert!(rates[0] > 0.001, "some of the bound is used: {rates:?}");
}

#[test]
fn s7_a_million_worker_epochs_without_a_conviction() {
    let fleet = Fleet { workers: 1, epochs: 1_000_000, jobs: 10_000 };
    let stream = null_streams(8, fleet, 0.1, 1e-5, 10_000, &[1e6]).unwrap();
    assert_eq!(stream.crossed[0].hits, 0);
    assert!(stream.max_log10 < 6.0, "{}", stream.max_log10);
    assert!(stream.audits > 999_000_000 && stream.mismatches > 9_000);
}

#[test]
fn s8_cheap_checks_and_escalation() {
    let rule = |cost: f64| e_process(20_000, (0.0027 / cost).min(1.0), Some((1.0, 64)));
    let scenario = |delta| Scenario { fleet: Fleet { workers: 1_000, ..TEN_EPOCHS }, delta, power: 0.95, p0: 1e-5 };
    for (cost, rows) in
        [(0.01, [(5e-4, 1.000), (2e-4, 0.795), (1e-4, 0.084)]), (0.03, [(1e-3, 0.999), (5e-4, 0.970), (2e-4, 0.503)])]
    {
        for (delta, stated) in rows {
            counted(play(9, &scenario(delta), &rule(cost)).unwrap().convicted(), stated, 1_000);
        }
    }
    let honest = play(10, &scenario(0.0), &rule(0.01)).unwrap();
    assert_eq!(honest.convicted, 0);
    assert!((100.0 * honest.overhead(0.01) - 0.292).abs() < 0.01, "{}", 100.0 * honest.overhead(0.01));
    assert!(honest.overhead(0.01) < 0.003);
    // The goal: 99.7 % at a share of 0.05 %, inside 0.3 % of compute.
    let caught = play(11, &scenario(5e-4), &rule(0.01)).unwrap();
    assert!(caught.convicted().rate() >= 0.997);
}

/// The default rungs and runs are stricter than one table at 1e-6: the same cheater under a [`Record`].
#[test]
fn s8_under_the_default_policy() {
    let process = EProcess::new(20_000).unwrap();
    // Run 0 of rung 0 has level 1/(3,000,000 * 2).
    let strict = Rule {
        convicts: Convicts::EProcess(process.convicts(6_000_000, 64).unwrap()),
        ..e_process(20_000, 0.27, Some((1.0, 64)))
    };
    let scenario = Scenario { fleet: Fleet { workers: 1_000, ..TEN_EPOCHS }, delta: 5e-4, power: 0.95, p0: 1e-5 };
    let caught = play(12, &scenario, &strict).unwrap().convicted();
    assert!(caught.rate() >= 0.997, "{}", caught.rate());
    // Mismatches at audits 1 to 3, then clean ones: a record is convicted where that table says so.
    let (mut record, table) =
        (Record::new(Default::default(), Epoch::new(0)), process.convicts(6_000_000, 64).unwrap());
    let mut convicted = false;
    for audits in 1..=10u64 {
        let mismatches = audits.min(3);
        let outcome = if audits <= 3 { Outcome::Mismatch } else { Outcome::Match };
        convicted |= table.contains(audits, mismatches);
        assert_eq!(record.observe(RungId::new(0), outcome).unwrap() == Standing::Convicted, convicted);
    }
    assert!(convicted);
}

#[test]
fn s9_value_and_reputation() {
    let found = by_value(13, Fleet { workers: 200, ..TEN_EPOCHS }, 0.003, Values { sigma: 1.5, stolen: 0.01 }).unwrap();
    counted(found[0], 0.024, 1_000);
    counted(found[1], 0.981, 1_000);

    let fleet = Fleet { workers: 200, epochs: 10, jobs: 10_000 };
    let base = Reputation { fleet: 500, cheaters: 10, honest_clean: 10_000, cheater_clean: 0, least: 0.5, delta: 0.01 };
    // The first epoch of a newcomer is audited twice (five times) as often as it would be at a uniform rate; then its
    // own clean audits bring it to the least weight. The design's table says 0.992 and 0.995, whose definition is not
    // given; these follow from the weights: 329 and 409 audits in ten epochs.
    let newcomers = [0.5, 0.2].map(|least| by_reputation(14, fleet, 0.003, Reputation { least, ..base }).unwrap());
    for (found, audits) in newcomers.iter().zip([329u64, 409]) {
        let law = theory::detection_exact_count(0.01, audits).unwrap();
        assert!((found.rate() - law).abs() < 0.012, "{} is not {law}", found.rate());
    }
    let uniform = theory::detection_iid(0.003, 0.01, 100_000).unwrap();
    assert!(newcomers.iter().all(|found| found.rate() > uniform));
    let long_con = Reputation { cheater_clean: 10_000, ..base };
    let waited = by_reputation(15, fleet, 0.003, long_con).unwrap().rate();
    assert!((0.945..0.967).contains(&waited), "{waited}");
}

#[test]
fn bad_parameters_are_refused() {
    let fleet = Fleet { workers: 1, epochs: 1, jobs: 1 };
    let scenario = Scenario { fleet, delta: 0.5, power: 0.5, p0: 0.5 };
    let rule = Rule { rate: 0.5, convicts: Convicts::Mismatches(1), escalation: None };
    for bad in [-0.1, 1.1, f64::NAN] {
        assert!(play(1, &Scenario { delta: bad, ..scenario }, &rule).is_err());
        assert!(play(1, &scenario, &Rule { rate: bad, ..rule.clone() }).is_err());
        assert!(null_streams(1, fleet, bad, 0.1, 10, &[2.0]).is_err());
        assert!(uniform(1, fleet, bad, 0.1).is_err());
        assert!(by_value(1, fleet, bad, Values { sigma: 1.0, stolen: 0.1 }).is_err());
    }
    assert!(by_value(1, fleet, 0.1, Values { sigma: f64::NAN, stolen: 0.1 }).is_err());
    assert!(by_value(1, Fleet { jobs: u64::MAX, ..fleet }, 0.1, Values { sigma: 1.0, stolen: 0.1 }).is_err());
    assert!(null_streams(1, fleet, 0.1, 0.1, 0, &[2.0]).is_err());
    assert!(null_streams(1, fleet, 0.1, 0.1, 10, &[f64::NAN]).is_err());
    let reputation = Reputation { fleet: 1, cheaters: 2, honest_clean: 0, cheater_clean: 0, least: 0.5, delta: 0.1 };
    assert!(by_reputation(1, fleet, 0.1, reputation).is_err());
    let endless = Escalation { rate: 1.0, boundary: EProcess::new(10).unwrap().escalates(1).unwrap(), look_every: 0 };
    assert!(play(1, &scenario, &Rule { escalation: Some(endless), ..rule }).is_err());
}

#[test]
fn the_same_seed_gives_the_same_counts() {
    let run = |seed| uniform(seed, Fleet { workers: 500, ..TEN_EPOCHS }, 0.003, 0.001).unwrap();
    assert_eq!(run(5), run(5));
    assert_ne!(run(5), run(6));
}
