//! Both consensus tracks in one simulated network: latency over regions, a surge, a third of the validators down, colluders, and seeded
//! schedules of faults. `--help` lists the options.

mod schedules;

use std::collections::BTreeSet;
use std::error::Error;
use std::process::ExitCode;
use std::time::Instant;

use hanzo::snow::simulate::{DualReport, DualSimulation, DualSimulationBuilder, Fault, Faults, Latency, Weakness};
use hanzo_examples::program;
use lexopt::ValueExt as _;
use schedules::Schedules;

const HELP: &str = "\
The certified fast path and its settlement, in one simulated network.

Usage: cargo run --release --example dual_track -- SCENARIO [OPTIONS]

Scenarios:
  regions     validators over ten regions: when transactions are certified and settled
  near        the same in one region
  surge       a quarter of the time at --rate, half of it at ten times that, the rest at --rate again
  down        a third of the validators crashed from the start
  colluders   a tenth of the validators run twice, with one identity
  schedules   many small networks, each under faults drawn from a number: crashes, partitions, twins, clocks, loss;
              an error if one contradicts itself, loses something or stops

Options:
  --nodes N      validators, of equal stake, 4 to 200 [default: 40]
  --rate N       transactions a second, all validators together, 1 to 20000 [default: 400]
  --seconds N    simulated seconds of load, 1 to 600 [default: 4]
  --seed N       same seed, same result [default: 0]
  --help         print this

Of schedules:
  --first N      the first one [default: 0]
  --count N      how many [default: 1000]
  --threads N    1 to 256 [default: 1]
  --change       the validators change twice while the faults last
  --forget       nodes forget their votes when they begin again: an error unless that is found out
";

const MS: u64 = 1_000_000;
const SECOND: u64 = 1_000 * MS;

struct Options {
    scenario: String,
    nodes: usize,
    rate: u64,
    seconds: u64,
    seed: u64,
    schedules: Schedules,
}

fn main() -> ExitCode {
    program::main("dual_track", HELP, parse, |options| {
        if options.scenario == "schedules" {
            return options.schedules.run();
        }
        run(options).map(|text| program::show(&text))
    })
}

fn parse(mut parser: lexopt::Parser) -> Result<Option<Options>, lexopt::Error> {
    use lexopt::Arg::{Long, Short, Value};
    let schedules =
        Schedules { first: 0, count: 1_000, weakness: Weakness::None, change_validators: false, threads: 1 };
    let mut options = Options { scenario: String::new(), nodes: 40, rate: 400, seconds: 4, seed: 0, schedules };
    while let Some(argument) = parser.next()? {
        match argument {
            Long("help") | Short('h') => return Ok(None),
            Long("nodes") => options.nodes = program::number(&mut parser, "nodes", 4..=200)?,
            Long("rate") => options.rate = program::number(&mut parser, "rate", 1..=20_000)?,
            Long("seconds") => options.seconds = program::number(&mut parser, "seconds", 1..=600)?,
            Long("seed") => options.seed = parser.value()?.parse()?,
            Long("first") => options.schedules.first = parser.value()?.parse()?,
            Long("count") => options.schedules.count = program::number(&mut parser, "count", 1..=u64::MAX)?,
            Long("threads") => options.schedules.threads = program::number(&mut parser, "threads", 1..=256)?,
            Long("change") => options.schedules.change_validators = true,
            Long("forget") => options.schedules.weakness = Weakness::NoPersistence,
            Value(scenario) if options.scenario.is_empty() => options.scenario = scenario.string()?,
            other => return Err(other.unexpected()),
        }
    }
    if !["regions", "near", "surge", "down", "colluders", "schedules"].contains(&options.scenario.as_str()) {
        return Err(format!("no scenario '{}'", options.scenario).into());
    }
    Ok(Some(options))
}

fn network(options: &Options) -> DualSimulationBuilder {
    let latency = if options.scenario == "near" {
        Latency::Uniform { min: 500_000, max: 2 * MS }
    } else {
        Latency::ten_regions(options.nodes)
    };
    let links = Faults { drop_per_mille: 1, ..Faults::default() };
    DualSimulation::builder(vec![1; options.nodes]).latency(latency).links(links).seed(options.seed)
}

/// The distribution of each latency, beside the paper's and with what follows from the distances.
fn latencies(scenario: &str, report: &DualReport) -> String {
    let quantiles = |times: &[u64]| {
        let mut times: Vec<u64> = times.to_vec();
        times.sort_unstable();
        let last = times.len().checked_sub(1)?;
        Some([10, 50, 90, 99, 100].map(|per_cent| times[last * per_cent / 100] as f64 / MS as f64))
    };
    let mut text = format!("milliseconds since given {:>18}", "");
    text += &["p10", "p50", "p90", "p99", "max"].map(|name| format!("{name:>8}")).concat();
    text.push('\n');
    for (name, times) in [
        ("certificate, since the vertex was sent", &report.certificates),
        ("certificate at the author", &report.formed),
        ("certified (level 1), every node", &report.certified),
        ("settled (level 2), every node", &report.settlement),
    ] {
        let row = quantiles(times).map_or("       -".into(), |row| row.map(|ms| format!("{ms:>8.1}")).concat());
        text += &format!("  {name:<40} {row}\n");
    }
    let paper = match scenario {
        "surge" => "  the paper, under the surge: 99.8 % within 420 ms at the median\n",
        "regions" | "near" => "  the paper, fast path: 87 ms at the median, 198 ms at p99; settlement 2.0 s\n",
        _ => "",
    };
    text += paper;
    if let Some(([_, half, _, most, _], "regions")) = quantiles(&report.formed).map(|row| (row, scenario)) {
        // A certificate is one round trip to two thirds of the stake; that it is known held takes three delays more.
        text += &format!(
            "  to reach them all distances would have to be {:.1} (p50) and {:.1} (p99) times shorter: a certificate cannot\n  \
             be there before the round trip to two thirds of the stake; `near` shows one region\n",
            (half / 87.0).max(1.0),
            (most / 198.0).max(1.0)
        );
    }
    text
}

fn run(options: &Options) -> Result<String, Box<dyn Error>> {
    let (nodes, load) = (options.nodes, options.seconds * SECOND);
    let (interval, count) = (SECOND / options.rate, options.rate * options.seconds);
    let mut builder = network(options);
    let mut faulty = 0;
    match options.scenario.as_str() {
        "surge" => {
            let quarter = load / 4;
            builder = builder.submit_every(0, interval, count / 4, 256);
            builder = builder.submit_every(quarter, (interval / 10).max(1), count * 5, 256);
            builder = builder.submit_every(3 * quarter, interval, count / 4, 256);
        }
        "down" => {
            // The most that leaves a quorum.
            faulty = (nodes - 1) / 3;
            builder = (0..faulty).fold(builder, |builder, i| builder.fault(0, Fault::Crash(3 * i)));
            builder = builder.submit_every(1, interval, count, 256);
        }
        "colluders" => {
            faulty = (nodes / 10).max(1);
            builder = builder.keyed(true).twins(0..faulty).submit_every(0, interval, count, 256);
        }
        _ => builder = builder.submit_every(0, interval, count, 256),
    }
    let mut network = builder.build()?;
    let begin = Instant::now();
    network.run_until(load)?;
    // And a second more, so that every node has said so.
    network.run_until_settled(load + 14 * SECOND)?;
    network.run_until(network.now() + SECOND)?;
    let wall = begin.elapsed().as_secs_f64();
    let report = network.report();
    let mut text = format!(
        "{}: {nodes} validators, {faulty} of them faulty, {} matches a second for {} s, seed {}\n\
         given {}, refused {}, settled {} ({:.2} %), certified and not settled {}\n\
         settlement blocks committed everywhere {}, epochs begun {}, reports of a stall {}\n\n",
        options.scenario,
        options.rate,
        options.seconds,
        options.seed,
        report.submitted,
        report.refused,
        report.settled,
        100.0 * report.settled as f64 / report.submitted.max(1) as f64,
        network.certified_unsettled(),
        network.committed_everywhere(),
        report.epochs,
        report.stalls
    );
    text += &latencies(&options.scenario, report);
    if let [first, .., last] = report.checkpoints[..] {
        // What the first one settled was given before it.
        let span = (last.0 - first.0).max(1) as f64 / SECOND as f64;
        text += &format!(
            "settled a second between the first and the last checkpoint: {:.0}{}\n",
            report.settled.saturating_sub(first.1) as f64 / span,
            if options.scenario == "down" { "; the paper: 1,200 of 2,000 a second" } else { "" }
        );
    }
    if options.scenario == "colluders" {
        let found: BTreeSet<u32> = report.evidence.iter().map(|(_, offender, _)| *offender).collect();
        let valid = report.proofs.iter().filter(|proof| proof.verify(network.committee(), network.verifier()).is_ok());
        text += &format!(
            "colluders found {} of {faulty}, by {} proofs, {} valid\n",
            found.len(),
            report.proofs.len(),
            valid.count()
        );
    }
    let simulated = network.now() as f64 / SECOND as f64;
    eprintln!(
        "{} messages; {wall:.2} s for {simulated:.0} s of {nodes} nodes: {:.2} % of one core a node, the simulator included",
        report.messages,
        100.0 * wall / simulated / nodes as f64
    );
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_scenarios_settle_what_they_certify() {
        for scenario in ["regions", "near", "surge", "down", "colluders"] {
            let arguments = [scenario, "--nodes", "4", "--rate", "40", "--seconds", "1", "--seed", "1"];
            let options = parse(lexopt::Parser::from_args(arguments)).expect("good usage").expect("no help");
            let text = run(&options).expect("it runs");
            assert!(text.contains("certified and not settled 0"), "{text}");
        }
    }
}
