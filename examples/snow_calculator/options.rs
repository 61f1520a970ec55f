//! The command line.

use hanzo::snow::Params;
use lexopt::prelude::*;

/// What `--help` prints.
pub(crate) const HELP: &str = "\
Says how safe and how live a Snow setting is: closed forms, whole networks drawn, and small ones computed exactly.

Usage: cargo run --release --example snow_calculator -- [OPTIONS]

Options:
  --preset NAME       avalanche, fast, error-driven or small [default: avalanche]; small takes k from --nodes
  --k N               sample size
  --alpha N           votes that move the preference
  --condition A,B     A votes in each of B successive polls decide; may be given up to 8 times, A ascending
  --nodes N           nodes of equal stake [default: 1000]
  --stakes A,B,..     stakes of the nodes instead: polls draw units of stake; closed forms, and who can stop or split it
  --faulty N          faulty ones, or with --stakes faulty stake [default: a tenth]
  --ones N            honest nodes that start on the other choice [default: half of them]
  --polls N           polls of each node that the bound of a network counts [default: 1000000]
  --runs N            networks to draw [default: 1000]
  --max-rounds N      rounds of each at most [default: 10000]
  --seed N            same seed, same result [default: 1]
  --help              print this
";

/// Checked options.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Options {
    /// The setting.
    pub(crate) params: Params,
    /// Nodes in all, or units of stake.
    pub(crate) nodes: u64,
    /// The stake of each node, if they differ.
    pub(crate) stakes: Vec<u64>,
    /// Faulty ones.
    pub(crate) faulty: u64,
    /// Honest nodes on the other side.
    pub(crate) ones: u64,
    /// Polls that the bound counts.
    pub(crate) polls: u64,
    /// Networks to draw.
    pub(crate) runs: u32,
    /// Rounds of each.
    pub(crate) max_rounds: u32,
    /// Root of all randomness.
    pub(crate) seed: u64,
}

#[derive(Default)]
struct Given {
    preset: Option<String>,
    k: Option<u16>,
    alpha: Option<u16>,
    conditions: Vec<(u16, u32)>,
    nodes: Option<u64>,
    stakes: Vec<u64>,
    faulty: Option<u64>,
    ones: Option<u64>,
    polls: Option<u64>,
    runs: Option<u32>,
    max_rounds: Option<u32>,
    seed: Option<u64>,
}

/// The options of these arguments; `None` where help was asked for.
///
/// # Errors
///
/// One line that says what is wrong.
pub(crate) fn parse(arguments: lexopt::Parser) -> Result<Option<Options>, String> {
    let Some(given) = read(arguments).map_err(|error| error.to_string())? else { return Ok(None) };
    let stakes = given.stakes;
    let nodes = match (given.nodes, &stakes[..]) {
        (nodes, []) => nodes.unwrap_or(1_000),
        (Some(_), _) => return Err("either --nodes or --stakes".into()),
        (None, stakes) => stakes.iter().try_fold(0_u64, |sum, stake| sum.checked_add(*stake)).unwrap_or(u64::MAX),
    };
    let base = match given.preset.as_deref() {
        None | Some("avalanche") => Params::AVALANCHE,
        Some("fast") => Params::fast(),
        Some("error-driven") => Params::error_driven(),
        Some("small") => {
            let n = if stakes.is_empty() { nodes } else { stakes.len() as u64 };
            let n = u16::try_from(n).unwrap_or(u16::MAX);
            Params::for_small_set(n).map_err(|error| error.to_string())?
        }
        Some(other) => return Err(format!("no preset is called {other:?}")),
    };
    let mut conditions = given.conditions;
    if conditions.is_empty() {
        conditions = base.conditions().iter().map(|c| (c.alpha_confidence, c.beta)).collect();
    }
    let builder = Params::builder().k(given.k.unwrap_or(base.k())).conditions(conditions).concurrent_repolls(1);
    let builder = builder.alpha_preference(given.alpha.unwrap_or(base.alpha_preference()));
    let params = builder.build().map_err(|error| error.to_string())?;
    let faulty = given.faulty.unwrap_or(nodes / 10);
    let honest = nodes.checked_sub(faulty).filter(|&honest| honest > 0).ok_or("at least one node must be honest")?;
    if u64::from(params.k()) >= nodes {
        return Err(format!("a sample of {} from {} other nodes", params.k(), nodes - 1));
    }
    let ones = given.ones.unwrap_or(honest / 2);
    if ones > honest {
        return Err(format!("--ones must be at most the {honest} honest nodes"));
    }
    let most = 1 << 40;
    if nodes > most {
        return Err(format!("at most {most} nodes or units of stake"));
    }
    Ok(Some(Options {
        params,
        nodes,
        stakes,
        faulty,
        ones,
        polls: given.polls.unwrap_or(1_000_000),
        runs: given.runs.unwrap_or(1_000),
        max_rounds: given.max_rounds.unwrap_or(10_000),
        seed: given.seed.unwrap_or(1),
    }))
}

fn read(mut arguments: lexopt::Parser) -> Result<Option<Given>, lexopt::Error> {
    let mut given = Given::default();
    while let Some(argument) = arguments.next()? {
        match argument {
            Long("preset") => given.preset = Some(arguments.value()?.string()?),
            Long("k") => given.k = Some(arguments.value()?.parse()?),
            Long("alpha") => given.alpha = Some(arguments.value()?.parse()?),
            Long("condition") => {
                let text = arguments.value()?.string()?;
                let pair = text.split_once(',').and_then(|(a, b)| Some((a.parse().ok()?, b.parse().ok()?)));
                given.conditions.push(pair.ok_or_else(|| format!("--condition {text:?} is not A,B"))?);
            }
            Long("nodes") => given.nodes = Some(arguments.value()?.parse()?),
            Long("stakes") => {
                for stake in arguments.value()?.string()?.split(',') {
                    given.stakes.push(stake.trim().parse().map_err(|_| format!("no stake: {stake:?}"))?);
                }
            }
            Long("faulty") => given.faulty = Some(arguments.value()?.parse()?),
            Long("ones") => given.ones = Some(arguments.value()?.parse()?),
            Long("polls") => given.polls = Some(arguments.value()?.parse()?),
            Long("runs") => given.runs = Some(arguments.value()?.parse()?),
            Long("max-rounds") => given.max_rounds = Some(arguments.value()?.parse()?),
            Long("seed") => given.seed = Some(arguments.value()?.parse()?),
            Long("help") | Short('h') => return Ok(None),
            other => return Err(other.unexpected()),
        }
    }
    Ok(Some(given))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(arguments: &[&str]) -> Result<Option<Options>, String> {
        parse(lexopt::Parser::from_args(arguments))
    }

    #[test]
    fn options_are_read_and_checked() {
        let options = of(&["--k", "10", "--alpha", "6", "--condition", "7,9", "--condition", "9,4", "--nodes", "50"]);
        let options = options.unwrap().unwrap();
        assert_eq!((options.params.k(), options.params.conditions().len(), options.faulty), (10, 2, 5));
        assert_eq!(of(&["--help"]), Ok(None));
        let bad = [
            &["--k", "0"][..],
            &["--alpha", "10"],
            &["--condition", "15"],
            &["--condition", "14,20"],
            &["--nodes", "20"],
            &["--nodes", "0"],
            &["--faulty", "1000"],
            &["--stakes", "5,x"],
            &["--stakes", "0,0"],
            &["--stakes", "5,600", "--nodes", "2"],
            &["--ones", "901"],
            &["--preset", "best"],
            &["--preset", "small"],
            &["--what"],
        ];
        for bad in bad {
            assert!(of(bad).is_err(), "{bad:?}");
        }
    }
}
