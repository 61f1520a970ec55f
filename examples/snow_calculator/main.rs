//! Any Snow setting answered: what it decides wrongly, how long it takes, and what stops it. `--help` lists the options.

mod options;

use std::error::Error;
use std::process::ExitCode;

use hanzo::snow::analysis::{AnalysisError, Answers, LumpedChain, LumpedRuns, Report, decentralization};
use hanzo_examples::program;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng as _;

use options::{HELP, Options};

fn main() -> ExitCode {
    program::main("snow_calculator", HELP, options::parse, |options| run(options).map(|text| program::show(&text)))
}

fn run(options: &Options) -> Result<String, Box<dyn Error>> {
    let Options { params, nodes, faulty, ones, .. } = options;
    let report = Report::new(params, *nodes, *faulty, options.polls)?;
    if !options.stakes.is_empty() {
        return Ok(format!("{report}\n\n{}", shares(&options.stakes)));
    }
    let mut text = format!("{report}\n\nwhole networks in lock-step, {ones} honest nodes start on the other choice\n");
    for (answers, name) in [(Answers::Silent, "silent"), (Answers::Minority, "voting for the minority")] {
        let chain = LumpedChain::new(params, *nodes, *faulty, answers)?;
        let forecast = chain.forecast(*ones, options.max_rounds)?;
        let mut runs = LumpedRuns::new(&chain);
        let mut rng = ChaCha8Rng::seed_from_u64(options.seed);
        let (mut splits, mut open, mut rounds) = (0, 0, 0_u64);
        for _ in 0..options.runs {
            let end = runs.sample(*ones, options.max_rounds, &mut rng)?;
            splits += u32::from(end.disagrees());
            open += u32::from(end.undecided > 0);
            rounds += u64::from(end.rounds);
        }
        let count = f64::from(options.runs.max(1));
        text += &format!(
            "  {faulty} {name}: {splits} of {} runs disagree (forecast along the mean: {:.4}), {open} undecided after {} \
             rounds, {:.1} rounds on average\n",
            options.runs,
            forecast.disagreement,
            options.max_rounds,
            rounds as f64 / count
        );
        match chain.exact(*ones, options.max_rounds, 1e-12) {
            Ok(ends) => {
                text += &format!(
                    "    exactly: all 0 {:.9}, all 1 {:.9}, disagreement {:.9}, blocked for ever {:.9}, {:.3} rounds\n",
                    ends.all_zero, ends.all_one, ends.disagreement, ends.stuck, ends.expected_rounds
                );
            }
            Err(AnalysisError::TooLarge { .. }) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(text)
}

/// Who holds how much: each stake is a node of an owner of its own.
fn shares(stakes: &[u64]) -> String {
    let of = decentralization(stakes.iter().enumerate().map(|(owner, stake)| (owner, (), *stake)));
    let owners = |threshold| of.nakamoto(threshold).map_or("no".into(), |owners: u64| owners.to_string());
    format!(
        "stake of {} nodes, the largest {} bps\n  {} of them hold a third and can stop a settlement by quorum, {} hold more than half\n",
        of.nodes,
        of.largest_bps.unwrap_or(0),
        owners(3_334),
        owners(5_001)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn small_networks_are_exact_and_large_ones_drawn() {
        let parse = |arguments: &[&str]| options::parse(lexopt::Parser::from_args(arguments)).unwrap().unwrap();
        let small = ["--k", "3", "--alpha", "2", "--condition", "2,2", "--nodes", "6", "--faulty", "1", "--ones", "2"];
        let text = run(&parse(&[&small[..], &["--runs", "50"]].concat())).unwrap();
        assert!(text.contains("disagreement 0.460424175"), "{text}");
        let text = run(&parse(&["--stakes", "400,300,200,100"])).unwrap();
        assert!(text.contains("the largest 4000 bps\n  1 of them hold a third"), "{text}");
        let text = run(&parse(&["--runs", "5", "--preset", "fast"])).unwrap();
        assert!(text.contains("0 of 5 runs disagree") && !text.contains("exactly"), "{text}");
        assert_eq!(text, run(&parse(&["--runs", "5", "--preset", "fast"])).unwrap());
    }
}
