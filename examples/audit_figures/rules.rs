//! Audit rules, simulated: uniform, by check cost, screened, escalated, weighted.

use std::fmt::Write as _;
use std::time::Instant;

use hanzo_examples::chart::{Line, Lines};
use hanzo_poai::simulate::{
    Convicts, Escalation, Fleet, Reputation, Rule, Scenario, Values, by_reputation, by_value, exact_count,
    null_streams, play, screened, uniform,
};
use hanzo_poai::{EProcess, EconomicConfig, theory};

use crate::Result;

/// The tables as text, and the charts.
pub(crate) struct Figures {
    pub(crate) text: String,
    pub(crate) charts: Vec<(String, String)>,
}

const SHARE: f64 = 0.003;
const JOBS: u64 = 10_000;
const EPOCHS: u64 = 10;
const COSTS: [f64; 4] = [1.0, 0.1, 0.03, 0.01];

/// Plays every table.
pub(crate) fn figures(workers: u64, seed: u64) -> Result<Figures> {
    let fleet = Fleet { workers, epochs: EPOCHS, jobs: JOBS };
    let mut text = format!("{workers} workers, {EPOCHS} epochs of {JOBS} jobs, 0.3 % of compute unless said\n");
    uniform_tables(&mut text, fleet, seed)?;
    rule_table(&mut text, fleet, seed)?;
    let cheap = cheap_table(&mut text, fleet, seed)?;
    null_table(&mut text, seed)?;
    weight_table(&mut text, seed)?;
    let _ = writeln!(
        text,
        "\nDeterrence at a stake of 84,128 job prices\n{}",
        EconomicConfig::new(1_000_000, 84_128_000_000).certify()?
    );
    let charts =
        vec![("Conviction within ten epochs, by check cost c".to_owned(), detection_chart(fleet, seed)?), cheap];
    Ok(Figures { text, charts })
}

fn uniform_tables(text: &mut String, fleet: Fleet, seed: u64) -> Result<()> {
    let _ = writeln!(text, "\nUniform audits (share of bad jobs: found, exact law, paper)");
    for (delta, paper) in [(0.01, "0.953"), (0.019_334_7, "0.997")] {
        let found = uniform(seed, fleet, SHARE, delta)?.rate();
        let law = theory::detection_iid(SHARE, delta, EPOCHS * JOBS)?;
        let _ = writeln!(text, "  {:>8.4} %  {found:.4}  {law:.4}  {paper}", 100.0 * delta);
    }
    let found = uniform(seed, Fleet { jobs: 23, ..fleet }, SHARE, 1.0)?.rate();
    let _ = writeln!(text, "  all of 23 jobs an epoch: {found:.4}  {:.4}", theory::detection_exact_count(SHARE, 230)?);
    let _ = writeln!(
        text,
        "\nBy cost of a check beside a job (found)\n  share of bad jobs {}",
        COSTS.map(|c| format!("{c:>7}")).concat()
    );
    for delta in [1e-3, 1e-4] {
        let row = COSTS
            .into_iter()
            .map(|cost| {
                Ok(format!(
                    "{:>7.3}",
                    exact_count(seed, fleet.workers, (delta * 1e5) as u64, (SHARE / cost).min(1.0))?.rate()
                ))
            })
            .collect::<Result<String>>()?;
        let _ = writeln!(text, "  {:>15} % {row}", 100.0 * delta);
    }
    let _ = writeln!(text, "\nBehind a screen (hits, false alarms, bad jobs: found)");
    for (tpr, fpr, bad) in [(0.5, 0.001, 10), (0.05, 0.0001, 100)] {
        let _ = writeln!(
            text,
            "  {tpr:>5} {fpr:>7} {bad:>4}  {:.4}",
            screened(seed, fleet.workers, bad, tpr, fpr, SHARE)?.rate()
        );
    }
    Ok(())
}

fn e_process(p0_ppb: u32, rate: f64, escalation: Option<(f64, u64)>) -> Result<Rule> {
    let process = EProcess::new(p0_ppb)?;
    let escalation = match escalation {
        Some((rate, look_every)) => Some(Escalation { rate, boundary: process.escalates(64)?, look_every }),
        None => None,
    };
    Ok(Rule { rate, convicts: Convicts::EProcess(process.convicts(1_000_000, 64)?), escalation })
}

fn rule_table(text: &mut String, fleet: Fleet, seed: u64) -> Result<()> {
    let _ = writeln!(text, "\nWhat convicts (false mismatches 4.76e-4 of audits, 1 % of jobs bad)");
    let _ = writeln!(text, "  {:<28} {:>8} {:>16} {:>9}", "rule", "cheaters", "honest convicted", "overhead");
    let rules = [
        ("one mismatch (the paper's)", Rule { rate: SHARE, convicts: Convicts::Mismatches(1), escalation: None }),
        ("two mismatches", Rule { rate: SHARE, convicts: Convicts::Mismatches(2), escalation: None }),
        ("e-process at 1e-6", e_process(952_000, SHARE, None)?),
        ("e-process and escalation", e_process(952_000, SHARE, Some((0.1, 1)))?),
    ];
    for (name, rule) in rules {
        let cheating = Scenario { fleet, delta: 0.01, power: 0.95, p0: 4.76e-4 };
        let honest = Scenario { fleet: Fleet { workers: 20 * fleet.workers, ..fleet }, delta: 0.0, ..cheating };
        let (caught, innocent) = (play(seed, &cheating, &rule)?, play(seed + 1, &honest, &rule)?);
        let _ = writeln!(
            text,
            "  {name:<28} {:>8.3} {:>8} {:>7.4} {:>7.2} %",
            caught.convicted().rate(),
            innocent.convicted,
            innocent.convicted().rate(),
            100.0 * innocent.overhead(1.0)
        );
    }
    Ok(())
}

fn cheap_rule(cost: f64) -> Result<Rule> {
    e_process(20_000, (0.0027 / cost).min(1.0), Some((1.0, 64)))
}

fn cheap_table(text: &mut String, fleet: Fleet, seed: u64) -> Result<(String, String)> {
    let _ = writeln!(
        text,
        "\nCheap checks and escalation (false mismatches 1e-5; all audited after a mismatch until cleared)"
    );
    let mut lines = Vec::new();
    for cost in [0.01, 0.03] {
        let rule = cheap_rule(cost)?;
        let scenario = |delta| Scenario { fleet, delta, power: 0.95, p0: 1e-5 };
        let mut points = Vec::new();
        for step in 0..=20 {
            let delta = 1e-3 * f64::from(step) / 20.0;
            points.push((100.0 * delta, 100.0 * play(seed, &scenario(delta), &rule)?.convicted().rate()));
        }
        for delta in [1e-3, 5e-4, 2e-4, 1e-4] {
            let found = play(seed, &scenario(delta), &rule)?.convicted().rate();
            let _ = writeln!(text, "  c = {cost}, {:.2} % of jobs bad: convicted {found:.3}", 100.0 * delta);
        }
        let honest =
            play(seed, &Scenario { fleet: Fleet { workers: 20 * fleet.workers, ..fleet }, ..scenario(0.0) }, &rule)?;
        let overhead = 100.0 * honest.overhead(cost);
        let _ = writeln!(
            text,
            "  c = {cost}, honest: {} of {} convicted, {overhead:.3} % of compute",
            honest.convicted, honest.workers
        );
        lines.push(Line { name: format!("check costs {cost} of a job"), points, steps: false, dashed: false });
    }
    let chart =
        Lines { x_label: "share of bad jobs (%)".into(), y_label: "convicted (%)".into(), lines, ..Lines::default() };
    Ok(("Conviction with escalation".into(), chart.to_svg()))
}

fn null_table(text: &mut String, seed: u64) -> Result<()> {
    let streams =
        null_streams(seed, Fleet { workers: 2_000, epochs: 500, jobs: JOBS }, 0.1, 1e-5, 10_000, &[10.0, 100.0, 1e6])?;
    let rates: Vec<String> = streams.crossed.iter().map(|crossed| format!("{:.4}", crossed.rate())).collect();
    let _ = writeln!(
        text,
        "\nHonest workers exactly at the bound: 2,000 of 500 epochs whose E passed 10, 100, 10^6: {}",
        rates.join(", ")
    );
    let started = Instant::now();
    let long = null_streams(seed, Fleet { workers: 1, epochs: 1_000_000, jobs: JOBS }, 0.1, 1e-5, 10_000, &[1e6])?;
    let _ = writeln!(
        text,
        "  one of 1,000,000 epochs: {} audits, {} false mismatches, convicted {}, largest log10 E {:.2}",
        long.audits,
        long.mismatches,
        long.crossed.first().map_or(0, |crossed| crossed.hits),
        long.max_log10
    );
    // The clock is for people and stays out of what is compared.
    eprintln!("1,000,000 worker-epochs in {:.2} s", started.elapsed().as_secs_f64());
    Ok(())
}

fn weight_table(text: &mut String, seed: u64) -> Result<()> {
    let fleets = Fleet { workers: 100, epochs: EPOCHS, jobs: JOBS };
    let [flat, valued] = by_value(seed, fleets, SHARE, Values { sigma: 1.5, stolen: 0.01 })?;
    let _ = writeln!(
        text,
        "\nBy value (lognormal, sigma 1.5; the dearest jobs worth 1 % are bad): uniform {:.3}, by value {:.3}",
        flat.rate(),
        valued.rate()
    );
    let base = Reputation { fleet: 500, cheaters: 10, honest_clean: 10_000, cheater_clean: 0, least: 0.5, delta: 0.01 };
    let found = |reputation| Ok::<_, hanzo_poai::Error>(by_reputation(seed, fleets, SHARE, reputation)?.rate());
    let _ = writeln!(
        text,
        "By reputation (1 % of jobs bad): newcomers {:.3} and {:.3} at least weights 1/2 and 1/5, after a long clean past {:.3}",
        found(base)?,
        found(Reputation { least: 0.2, ..base })?,
        found(Reputation { cheater_clean: 10_000, ..base })?
    );
    Ok(())
}

fn detection_chart(fleet: Fleet, seed: u64) -> Result<String> {
    let mut lines = Vec::new();
    for cost in COSTS {
        let rule = e_process(20_000, (SHARE / cost).min(1.0), None)?;
        let mut points = Vec::new();
        for step in 0..=24 {
            let delta = 10f64.powf(-4.0 + f64::from(step) / 8.0);
            let scenario =
                Scenario { fleet: Fleet { workers: fleet.workers.min(2_000), ..fleet }, delta, power: 0.95, p0: 1e-5 };
            points.push((delta.log10(), 100.0 * play(seed, &scenario, &rule)?.convicted().rate()));
        }
        lines.push(Line { name: format!("c = {cost}"), points, steps: false, dashed: false });
    }
    Ok(Lines {
        x_label: "log10 of the share of bad jobs".into(),
        y_label: "convicted (%)".into(),
        lines,
        ..Lines::default()
    }
    .to_svg())
}
