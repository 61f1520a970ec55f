//! Routers on a table of real outcomes: every scenario of the evaluation protocol, printed as one table.
//!
//! `cargo run --release --example route_models -- --data FOLDER`

mod routers;
mod table;

use std::path::PathBuf;
use std::process::ExitCode;

use hanzo::hmm::market::{Run, Scenario, Trial, arena_score, average_improvement, paired_difference};
use hanzo_examples::program;
use lexopt::prelude::*;

use routers::{Kind, Learning, build};
use table::Outcomes;

const HELP: &str = "\
Plays routers on a table of real outcomes, scenario by scenario, and prints the mean utility of each.

Usage: cargo run --release --example route_models -- [OPTIONS]

Options:
  --data FOLDER     folder with llmrouter_9models_scores.csv, llmrouter_9models_prices.json and llmrouter_questions.jsonl.gz
                    [default: market/ in the folder that HANZO_TEST_DATA names; without either, a small made-up table]
  --scores CSV --prices JSON --questions JSONL   the three files, if they have other names
  --seeds N         shuffled orders a scenario [default: 20]
  --buckets N       hashed text features [default: 256]
  --scenarios LIST  of cold, warm, file, outage, telemetry, feedback, parted by commas [default: all]
  --tune            rows i mod 3 = 0 and order seeds 100.. only, as settings may be chosen on
  --no-aiq          leave out AIQ, ten prices of a dollar on five orders
  --neighbours N    the EFE routers look for the nearest of the last N outcomes, at most 16384 [default: 0]
  --shared          the EFE routers learn a part of the quality that all models share
  --curves FILE     cumulative regret against the best fixed model, 50 points a router and scenario, as CSV
  --help            print this
";

/// Why the example stops.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    /// A file.
    #[error("{0}: {1}")]
    Input(String, String),
    /// The library refused something.
    #[error("{0}")]
    Market(String),
}

#[derive(Debug, Clone)]
struct Options {
    files: Option<[PathBuf; 3]>,
    seeds: u64,
    buckets: usize,
    scenarios: Vec<Scenario>,
    tune: bool,
    aiq: bool,
    curves: Option<PathBuf>,
    learning: Learning,
}

fn main() -> ExitCode {
    program::main("route_models", HELP, options, |options| report(options).map(|text| program::show(&text)))
}

/// `None` where only help was asked for.
fn options(mut parser: lexopt::Parser) -> Result<Option<Options>, lexopt::Error> {
    let mut data = std::env::var_os("HANZO_TEST_DATA")
        .filter(|root| !root.is_empty())
        .map(|root| PathBuf::from(root).join("market"));
    let mut named: [Option<PathBuf>; 3] = [None, None, None];
    let mut o = Options {
        files: None,
        seeds: 20,
        buckets: 256,
        scenarios: Scenario::ALL.to_vec(),
        tune: false,
        aiq: true,
        curves: None,
        learning: Learning::default(),
    };
    while let Some(argument) = parser.next()? {
        match argument {
            Long("help") | Short('h') => return Ok(None),
            Long("data") => data = Some(parser.value()?.into()),
            Long("scores") => named[0] = Some(parser.value()?.into()),
            Long("prices") => named[1] = Some(parser.value()?.into()),
            Long("questions") => named[2] = Some(parser.value()?.into()),
            Long("seeds") => o.seeds = program::number(&mut parser, "seeds", 1..=1_000)?,
            Long("buckets") => o.buckets = parser.value()?.parse()?,
            Long("tune") => o.tune = true,
            Long("no-aiq") => o.aiq = false,
            Long("neighbours") => {
                o.learning.neighbours = program::number(&mut parser, "neighbours", 0..=16_384)? as usize
            }
            Long("shared") => o.learning.shared = true,
            Long("curves") => o.curves = Some(parser.value()?.into()),
            Long("scenarios") => {
                let list = parser.value()?.string()?;
                o.scenarios = list
                    .split(',')
                    .map(|name| Scenario::ALL.into_iter().find(|s| s.name() == name))
                    .collect::<Option<_>>()
                    .ok_or_else(|| format!("unknown scenario in `{list}`"))?;
            }
            other => return Err(other.unexpected()),
        }
    }
    const NAMES: [&str; 3] =
        ["llmrouter_9models_scores.csv", "llmrouter_9models_prices.json", "llmrouter_questions.jsonl.gz"];
    o.files = match (named, data) {
        ([None, None, None], None) => None,
        (named, data) => {
            let mut files = Vec::new();
            for (given, name) in named.into_iter().zip(NAMES) {
                let found = given.or_else(|| data.as_ref().map(|folder| folder.join(name)));
                files.push(found.ok_or("--scores, --prices and --questions go together")?);
            }
            files.try_into().ok()
        }
    };
    Ok(Some(o))
}

fn report(o: &Options) -> Result<String, Failure> {
    let mut outcomes = match &o.files {
        Some([scores, prices, questions]) => table::read(scores, prices, questions, o.buckets)?,
        None => routers::made_up()?,
    };
    let bias = if o.files.is_some() { o.buckets } else { 0 };
    if o.tune {
        outcomes.table = outcomes.table.filter(|i| i % 3 == 0).map_err(|e| Failure::Market(e.to_string()))?;
    }
    let mut out = format!(
        "{} requests, {} models: {}\n",
        outcomes.table.len(),
        outcomes.models.len(),
        outcomes.models.join(", ")
    );
    let mut curves = String::from("scenario,router,part,regret\n");
    for &scenario in &o.scenarios {
        if let Some(part) = scenario_table(o, &outcomes, scenario, bias, &mut curves)? {
            out.push_str(&part);
        }
    }
    if o.aiq {
        out.push_str(&aiq_table(o, &outcomes, bias)?);
    }
    if let Some(path) = &o.curves {
        std::fs::write(path, curves).map_err(|e| Failure::Input(path.display().to_string(), e.to_string()))?;
    }
    Ok(out)
}

/// The runs of one router, one a seed.
fn play(o: &Options, outcomes: &Outcomes, kind: Kind, bias: usize, trials: &[Trial]) -> Result<Vec<Run>, Failure> {
    let fail = |e: hanzo::hmm::Error| Failure::Market(e.to_string());
    std::thread::scope(|scope| {
        let workers = std::thread::available_parallelism().map_or(1, usize::from).min(trials.len().max(1));
        let threads: Vec<_> = (0..workers)
            .map(|w| {
                scope.spawn(move || {
                    let mine = trials.iter().enumerate().filter(|(i, _)| i % workers == w);
                    mine.map(|(i, t)| {
                        let mut router = build(kind, t, bias, &outcomes.priors, o.learning)?;
                        Ok((i, t.run(&outcomes.table, router.as_mut()).map_err(fail)?))
                    })
                    .collect::<Result<Vec<_>, Failure>>()
                })
            })
            .collect();
        let mut runs = Vec::new();
        for thread in threads {
            let part = thread.join().map_err(|_| Failure::Market("a thread of the evaluation stopped".into()))?;
            runs.extend(part?);
        }
        runs.sort_by_key(|(i, _)| *i);
        Ok(runs.into_iter().map(|(_, run)| run).collect())
    })
}

fn seeds(o: &Options) -> std::ops::Range<u64> {
    if o.tune { 100..100 + o.seeds.min(5) } else { 0..o.seeds }
}

/// `None` for a scenario that needs more requests than there are.
fn scenario_table(
    o: &Options,
    outcomes: &Outcomes,
    scenario: Scenario,
    bias: usize,
    curves: &mut String,
) -> Result<Option<String>, Failure> {
    if scenario == Scenario::Warm && outcomes.table.len() <= 600 {
        return Ok(None);
    }
    let mut out = format!(
        "\n{}\n{:<24}{:>9}{:>8}{:>10}{:>10}{:>10}{:>20}{:>9}{:>12}{:>8}\n",
        scenario.name(),
        "router",
        "utility",
        "sd",
        "-fixed",
        "-oracle",
        "-regime",
        "to LinUCB (s.e.)",
        "quality",
        "usd/1000",
        "arena"
    );
    let trial = |seed| Trial { scenario, seed, lambda: 200.0 };
    let mut reference: Vec<f64> = Vec::new();
    for kind in Kind::ALL {
        let random = kind.is_random();
        // One order: only routers that draw differ from seed to seed.
        let trials: Vec<Trial> = match scenario {
            Scenario::File if random => seeds(o).take(5).map(trial).collect(),
            Scenario::File => vec![trial(0)],
            _ => seeds(o).map(trial).collect(),
        };
        let runs = play(o, outcomes, kind, bias, &trials)?;
        let mean = |of: fn(&Run) -> f64| runs.iter().map(of).sum::<f64>() / runs.len() as f64;
        let utilities: Vec<f64> = runs.iter().map(|r| r.utility).collect();
        let (utility, quality, usd) = (mean(|r| r.utility), mean(|r| r.quality), mean(|r| r.usd));
        let sd = (utilities.iter().map(|u| (u - utility).powi(2)).sum::<f64>() / runs.len() as f64).sqrt();
        if kind == Kind::ALL[0] {
            for (name, value) in [
                ("oracle", mean(|r| r.oracle)),
                ("best fixed in hindsight", mean(|r| r.best_fixed)),
                ("best fixed a regime", mean(|r| r.regime_fixed.unwrap_or(f64::NAN))),
            ] {
                if value.is_finite() {
                    out.push_str(&format!("{name:<24}{value:>9.4}\n"));
                }
            }
        }
        if kind == Kind::LinUcb {
            reference = utilities.clone();
        }
        let against = if reference.len() == utilities.len() && utilities.len() > 1 {
            let (difference, error) = paired_difference(&utilities, &reference);
            format!("{difference:+.4} ({error:.4})")
        } else {
            String::new()
        };
        let regime = runs[0]
            .regime_fixed
            .map_or(String::new(), |_| format!("{:.4}", mean(|r| r.regime_fixed.unwrap_or(f64::NAN) - r.utility)));
        out.push_str(&format!(
            "{:<24}{utility:>9.4}{sd:>8.4}{:>10.4}{:>10.4}{regime:>10}{against:>20}{quality:>9.4}{:>12.4}{:>8.4}\n",
            kind.name(),
            mean(|r| r.best_fixed - r.utility),
            mean(|r| r.oracle - r.utility),
            1_000.0 * usd,
            arena_score(quality, usd),
        ));
        let parts = runs.iter().map(|r| r.regret_curve.len()).min().unwrap_or(0);
        for part in 0..parts {
            let regret = runs.iter().map(|r| r.regret_curve[part]).sum::<f64>() / runs.len() as f64;
            curves.push_str(&format!("{},{},{},{regret:.4}\n", scenario.name(), kind.name(), part + 1));
        }
    }
    Ok(Some(out))
}

fn aiq_table(o: &Options, outcomes: &Outcomes, bias: usize) -> Result<String, Failure> {
    const LAMBDAS: [f64; 10] = [0.0, 25.0, 50.0, 100.0, 200.0, 400.0, 800.0, 1_600.0, 3_200.0, 6_400.0];
    let low = outcomes.table.cheapest();
    let high = outcomes.table.means().into_iter().fold(0.0, |top: f64, (_, usd)| top.max(usd));
    let mut out = format!("\n{:<24}{:>9}{:>12}\n", "AIQ", "aiq", "best arena");
    for kind in Kind::ALL.into_iter().filter(|k| k.in_aiq()) {
        let mut points = vec![low];
        let mut arena = 0.0f64;
        for lambda in LAMBDAS {
            let trials: Vec<Trial> =
                seeds(o).take(5).map(|seed| Trial { scenario: Scenario::Cold, seed, lambda }).collect();
            let runs = play(o, outcomes, kind, bias, &trials)?;
            let mean = |of: fn(&Run) -> f64| runs.iter().map(of).sum::<f64>() / runs.len() as f64;
            points.push((mean(|r| r.usd), mean(|r| r.quality)));
            arena = arena.max(arena_score(mean(|r| r.quality), mean(|r| r.usd)));
        }
        out.push_str(&format!("{:<24}{:>9.4}{arena:>12.4}\n", kind.name(), average_improvement(&points, low.0, high)));
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &[&str]) -> Result<Option<Options>, lexopt::Error> {
        options(lexopt::Parser::from_args(line))
    }

    #[test]
    fn a_small_table_is_evaluated() {
        let o = Options {
            files: None,
            seeds: 2,
            buckets: 16,
            scenarios: Scenario::ALL.to_vec(),
            tune: false,
            aiq: true,
            curves: None,
            learning: Learning { neighbours: 16, shared: true },
        };
        let text = report(&o).unwrap();
        for name in ["cold", "file", "outage", "telemetry", "feedback", "LinUCB", "EFE", "AIQ"] {
            assert!(text.contains(name), "{name} in\n{text}");
        }
        assert!(!text.contains("NaN"));
    }

    #[test]
    fn bad_input_is_an_error_with_its_place() {
        assert!(parse(&["--seeds", "0"]).is_err());
        assert!(parse(&["--scenarios", "cold,storm"]).is_err());
        assert!(parse(&["--what"]).is_err());
        assert!(parse(&["--help"]).unwrap().is_none());
        let o = parse(&["--data", "no such folder"]).unwrap().unwrap();
        assert!(matches!(report(&o), Err(Failure::Input(..))));
    }
}
