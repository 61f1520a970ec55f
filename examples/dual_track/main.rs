//! Both consensus tracks in one simulated network: latency over regions, a surge, a third of the validators down, colluders, and seeded
//! schedules of faults. `--help` lists the options.

use std::collections::BTreeSet;
use std::error::Error;
use std::process::ExitCode;
use std::time::Instant;

use hanzo::snow::simulate::{DualSimulation, DualSimulationBuilder, Fault, Faults, Latency};
use lexopt::ValueExt as _;

const HELP: &str = "\
dual_track SCENARIO [OPTIONS]: the certified fast path and its settlement, in one simulated network

scenarios
  regions     validators over ten regions: when transactions are certified and settled
  near        the same in one region
  surge       a quarter of the time at --rate, half of it at ten times that, the rest at --rate again
  down        a third of the validators crashed from the start
  colluders   a tenth of the validators run twice, with one identity

options
  --nodes N      validators, of equal stake (40)
  --rate N       transactions a second, all validators together (400)
  --seconds N    simulated seconds of load (4)
  --seed N       (0)
";

const MS: u64 = 1_000_000;
const SECOND: u64 = 1_000 * MS;

/// Round trips between ten regions in milliseconds: a guess, near what large providers publish.
const ROUND_TRIPS: [[u64; 10]; 10] = [
    [2, 65, 75, 90, 100, 230, 165, 215, 200, 115],
    [65, 2, 135, 150, 150, 220, 110, 170, 140, 175],
    [75, 135, 2, 15, 25, 120, 220, 160, 250, 185],
    [90, 150, 15, 2, 15, 110, 230, 155, 250, 200],
    [100, 150, 25, 15, 2, 130, 240, 170, 270, 210],
    [230, 220, 120, 110, 130, 2, 120, 60, 150, 300],
    [165, 110, 220, 230, 240, 120, 2, 70, 105, 260],
    [215, 170, 160, 155, 170, 60, 70, 2, 95, 320],
    [200, 140, 250, 250, 270, 150, 105, 95, 2, 310],
    [115, 175, 185, 200, 210, 300, 260, 320, 310, 2],
];

struct Options {
    scenario: String,
    nodes: usize,
    rate: u64,
    seconds: u64,
    seed: u64,
}

fn main() -> ExitCode {
    let done = match parse(lexopt::Parser::from_env()) {
        Ok(None) => {
            print!("{HELP}");
            Ok(())
        }
        Ok(Some(options)) => run(&options).map(|text| print!("{text}")),
        Err(error) => Err(format!("{error} (--help shows the options)").into()),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("dual_track: {error}");
            ExitCode::from(2)
        }
    }
}

fn parse(mut parser: lexopt::Parser) -> Result<Option<Options>, lexopt::Error> {
    use lexopt::Arg::{Long, Short, Value};
    let mut options = Options { scenario: String::new(), nodes: 40, rate: 400, seconds: 4, seed: 0 };
    while let Some(argument) = parser.next()? {
        match argument {
            Long("help") | Short('h') => return Ok(None),
            Long("nodes") => options.nodes = parser.value()?.parse()?,
            Long("rate") => options.rate = parser.value()?.parse()?,
            Long("seconds") => options.seconds = parser.value()?.parse()?,
            Long("seed") => options.seed = parser.value()?.parse()?,
            Value(scenario) if options.scenario.is_empty() => options.scenario = scenario.string()?,
            other => return Err(other.unexpected()),
        }
    }
    let limits = (4..=200).contains(&options.nodes) && (1..=20_000).contains(&options.rate);
    if !limits || !(1..=600).contains(&options.seconds) {
        return Err("4 to 200 nodes, a rate of 1 to 20000 and 1 to 600 seconds".into());
    }
    if !["regions", "near", "surge", "down", "colluders"].contains(&options.scenario.as_str()) {
        return Err(format!("no scenario '{}'", options.scenario).into());
    }
    Ok(Some(options))
}

fn network(options: &Options) -> DualSimulationBuilder {
    let round_trips: Vec<Vec<u64>> = ROUND_TRIPS.iter().map(|row| row.to_vec()).collect();
    let latency = if options.scenario == "near" {
        Latency::Uniform { min: 500_000, max: 2 * MS }
    } else {
        Latency::regions(options.nodes, &round_trips, 100)
    };
    let links = Faults { drop_per_mille: 1, ..Faults::default() };
    DualSimulation::builder(vec![1; options.nodes]).latency(latency).links(links).seed(options.seed)
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
    network.run_until(load + 15 * SECOND)?;
    let wall = begin.elapsed().as_secs_f64();
    let report = network.report();
    let ms = |time: Option<u64>| time.map_or("-".into(), |time| format!("{}", time / MS));
    let mut text = format!(
        "{}: {nodes} validators, {faulty} of them faulty, {} s of load, seed {}\n\
         submitted {}, refused {}, settled {} ({:.2} %), certified and not settled {}\n\
         settlement blocks committed everywhere {}, epochs begun {}, reports of a stall {}\n\n\
         milliseconds since submission            p50     p99\n",
        options.scenario,
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
    for (name, p50, p99) in [
        ("certificate at the author", report.formed_quantile(500), report.formed_quantile(990)),
        ("certified (level 1), any node", report.certified_quantile(500), report.certified_quantile(990)),
        ("settled (level 2), any node", report.settlement_quantile(500), report.settlement_quantile(990)),
    ] {
        text += &format!("  {name:<36} {:>6}  {:>6}\n", ms(p50), ms(p99));
    }
    text += "  the paper, finality                      87     198\n";
    if let (Some(first), Some(last)) = (report.checkpoints.first(), report.checkpoints.last()) {
        let span = (last.0 - first.0).max(SECOND) as f64 / SECOND as f64;
        text += &format!(
            "settled a second between the first and the last checkpoint: {:.0}\n",
            report.settled as f64 / span
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
            let options = Options { scenario: scenario.into(), nodes: 4, rate: 40, seconds: 1, seed: 1 };
            let text = run(&options).expect("it runs");
            assert!(text.contains("certified and not settled 0"), "{text}");
        }
    }
}
