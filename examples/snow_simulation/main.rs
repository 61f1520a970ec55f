//! Snowman networks of several shapes, message by message, with what each can be expected to do beside what it does.
//!
//! Times are those of the simulated network: they follow from delays and polls, not from this machine. `--help` lists the
//! options.

mod options;

use std::error::Error;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use hanzo::snow::Params;
use hanzo::snow::analysis::Report;
use hanzo_examples::chart::{Bar, Line, Lines, bars};
use hanzo_examples::page::{self, Page};
use hanzo_examples::{program, say};
use hanzo_snow::simulate::{Faults, Latency, Simulation};

use options::{HELP, Options};

/// Nanoseconds of a millisecond.
const MS: u64 = 1_000_000;

/// Stake of each node.
const STAKE: u64 = 1_000;

/// A network to play, with what its source document claims and what follows from its round trips.
struct Topology {
    name: &'static str,
    nodes: usize,
    latency: Latency,
    claimed: &'static str,
    expected: &'static str,
}

/// What came out.
struct Played {
    name: &'static str,
    nodes: usize,
    faulty: usize,
    built: u64,
    accepted: u64,
    /// Milliseconds to finality of each block at each node, ascending.
    finality: Vec<f64>,
    messages: u64,
    stalls: usize,
    /// Expected polls to finality by the calculator, where it applies.
    polls: Option<f64>,
    claimed: &'static str,
    expected: &'static str,
}

fn main() -> ExitCode {
    program::main("snow_simulation", HELP, options::parse, run)
}

fn run(options: &Options) -> Result<(), Box<dyn Error>> {
    let played = play_all(options)?;
    program::show(&summary(&played, options));
    if let Some(folder) = &options.report {
        say!("\nwrote {}", write_report(folder, &played, options)?.display());
    }
    Ok(())
}

fn play_all(options: &Options) -> Result<Vec<Played>, Box<dyn Error>> {
    let lan = Latency::Constant(MS / 4);
    let topology = |name, nodes, latency, claimed, expected| Topology { name, nodes, latency, claimed, expected };
    [
        topology("3 nodes, LAN", 3, lan.clone(), "2.1 s", "10 to 15 ms in series, a quarter with 4 polls at once"),
        topology("10 nodes, LAN", 10, lan, "3.8 s", "10 to 15 ms in series, a quarter with 4 polls at once"),
        topology("50 nodes, 10 regions", 50, Latency::ten_regions(50), "8.2 s", "about 1.0 s"),
    ]
    .into_iter()
    .map(|topology| play(topology, options))
    .collect()
}

fn play(topology: Topology, options: &Options) -> Result<Played, Box<dyn Error>> {
    let Topology { name, nodes, latency, claimed, expected } = topology;
    let small = nodes < 20;
    let params = if small { Params::for_small_set(nodes as u16)? } else { Params::AVALANCHE };
    // Byzantine nodes are for the network that can bear some.
    let faulty = if small { 0 } else { nodes * options.faulty / 100 };
    let interval = options.interval_ms * MS;
    let mut network = Simulation::builder(vec![STAKE; nodes])
        .params(params)
        .include_self(small)
        .latency(latency)
        .links(Faults { drop_per_mille: options.drop, ..Faults::default() })
        .seed(options.seed)
        .propose_every(interval, options.blocks);
    for node in nodes - faulty..nodes {
        network = network.byzantine(node, options.strategy);
    }
    let mut network = network.build()?;
    network.run_until(options.blocks * interval + 60_000 * MS)?;
    let report = network.report();
    let mut finality: Vec<f64> = report.finality.iter().map(|nanos| *nanos as f64 / MS as f64).collect();
    finality.sort_by(f64::total_cmp);
    // Polls draw units of stake, of which every node has a thousand.
    let units = |nodes: usize| nodes as u64 * STAKE;
    let polls = if small { None } else { Report::new(&params, units(nodes), units(faulty), 1)?.expected_polls };
    Ok(Played {
        name,
        nodes,
        faulty,
        built: report.built,
        accepted: network.accepted_everywhere(),
        finality,
        messages: report.messages,
        stalls: report.stalls.len(),
        polls,
        claimed,
        expected,
    })
}

impl Played {
    fn quantile(&self, per_cent: usize) -> Option<f64> {
        let last = self.finality.len().checked_sub(1)?;
        self.finality.get(last * per_cent / 100).copied()
    }

    fn time(&self, per_cent: usize) -> String {
        self.quantile(per_cent).map_or_else(|| "never".to_owned(), |ms| format!("{ms:.1} ms"))
    }
}

fn summary(played: &[Played], options: &Options) -> String {
    let mut text =
        format!("{} blocks, one every {} ms, seed {}\n\n", options.blocks, options.interval_ms, options.seed);
    text.push_str("network               faulty  built  accepted   median finality          p99  messages  stalls\n");
    for net in played {
        let _ = writeln!(
            text,
            "{:20} {:7} {:6} {:9} {:>17} {:>12} {:9} {:7}",
            net.name,
            net.faulty,
            net.built,
            net.accepted,
            net.time(50),
            net.time(99),
            net.messages,
            net.stalls
        );
    }
    text.push_str(
        "\nwhat to expect (finality; the source's figures are not reproduced by any round trip of such a network)\n",
    );
    for net in played {
        let _ = writeln!(text, "{:20} source: {:6} from delays: {}", net.name, net.claimed, net.expected);
        if let Some(polls) = net.polls {
            let _ = writeln!(
                text,
                "{:20} calculator: {polls:.1} polls on average with the {} faulty silent (drift is not in it)",
                "", net.faulty
            );
        }
    }
    text
}

fn write_report(folder: &Path, played: &[Played], options: &Options) -> Result<PathBuf, String> {
    // How much of the acceptances is done by when; at most 200 points a line.
    let line = |net: &Played| {
        let count = net.finality.len();
        let step = count.div_ceil(200).max(1);
        let points = (0..count).step_by(step).chain(count.checked_sub(1));
        let points = points.map(|i| (net.finality[i], 100.0 * (i + 1) as f64 / count as f64)).collect();
        Line { name: net.name.into(), points, steps: true, dashed: false }
    };
    let chart = |lines: Vec<Line>| {
        let (x_label, y_label) = ("milliseconds since a block was built".into(), "accepted (%)".into());
        Lines { x_label, y_label, lines, ..Lines::default() }.to_svg()
    };
    let (small, large): (Vec<&Played>, Vec<&Played>) = played.iter().partition(|net| net.nodes < 20);
    let medians: Vec<Bar> = played
        .iter()
        .map(|net| Bar {
            name: net.name.into(),
            value: net.quantile(50).unwrap_or(0.0),
            text: format!("{}, source: {}", net.time(50), net.claimed),
        })
        .collect();
    let page = Page::new("Snowman networks")
        .chart("Finality on a LAN", &chart(small.into_iter().map(line).collect()))
        .chart("Finality over regions", &chart(large.into_iter().map(line).collect()))
        .chart("Median finality", &bars(&medians));
    page::write(folder, "snow.html", &page.with_figures(&summary(played, options)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_network_decides_and_the_seed_decides_the_text() {
        let arguments = ["--blocks", "2", "--faulty", "4", "--strategy", "minority"];
        let options = options::parse(lexopt::Parser::from_args(arguments)).unwrap().unwrap();
        let played = play_all(&options).unwrap();
        assert!(played.iter().all(|net| net.accepted == 2), "{}", summary(&played, &options));
        assert_eq!(summary(&played, &options), summary(&play_all(&options).unwrap(), &options));
    }
}
