//! The command line.

use std::path::PathBuf;

use hanzo_examples::program::number;
use lexopt::prelude::*;

/// What `--help` prints.
pub(crate) const HELP: &str = "\
One job's whole life, two thousand times: a market of clients, workers (some of them cheat), verifiers and validators.

Usage: cargo run --release --example job_lifecycle -- [OPTIONS]

Options:
  --trace FILE        requests of a real trace (CSV or gzip): Azure LLM inference 2023 or Mooncake;
                      without it they are drawn from a hidden Markov model fitted to the Azure traces
  --requests N        how many requests [default: 2000, or the whole trace]
  --workers N         machines that serve them [default: 50]
  --cheaters N        how many of these cheat [default: 5]
  --tenants N         clients, each with an adapter of its own [default: 8]
  --validators N      members of the settlement network [default: 10]
  --audit-rate P      share of the jobs that is executed again [default: 0.1]
  --seed N            same seed, same result [default: 1]
  --report DIR        write result.json and report.html into DIR
  --help              print this
";

/// Checked options.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Options {
    /// A trace to replay, or the arrival model.
    pub(crate) trace: Option<PathBuf>,
    /// Most requests to play; `None` is the whole trace.
    pub(crate) requests: Option<usize>,
    /// Machines that serve.
    pub(crate) workers: usize,
    /// Machines that cheat, the first ones by index after shuffling.
    pub(crate) cheaters: usize,
    /// Clients.
    pub(crate) tenants: usize,
    /// Members of the settlement network.
    pub(crate) validators: u16,
    /// Audited jobs in a million, so that nothing downstream depends on how a float is printed.
    pub(crate) audit_ppm: u32,
    /// Root of all randomness.
    pub(crate) seed: u64,
    /// Folder for the report.
    pub(crate) report: Option<PathBuf>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            trace: None,
            requests: None,
            workers: 50,
            cheaters: 5,
            tenants: 8,
            validators: 10,
            audit_ppm: 100_000,
            seed: 1,
            report: None,
        }
    }
}

impl Options {
    /// Requests to play when no trace limits them.
    pub(crate) const DEFAULT_REQUESTS: usize = 2000;

    /// Reads the arguments; `None` asks for help.
    pub(crate) fn parse(mut parser: lexopt::Parser) -> Result<Option<Self>, lexopt::Error> {
        let mut options = Self::default();
        while let Some(argument) = parser.next()? {
            match argument {
                Long("trace") => options.trace = Some(parser.value()?.into()),
                Long("requests") => options.requests = Some(number(&mut parser, "requests", 1..=1_000_000)?),
                Long("workers") => options.workers = number(&mut parser, "workers", 1..=10_000)?,
                Long("cheaters") => options.cheaters = parser.value()?.parse()?,
                Long("tenants") => options.tenants = number(&mut parser, "tenants", 1..=256)?,
                Long("validators") => options.validators = number(&mut parser, "validators", 1..=2_000)?,
                Long("audit-rate") => {
                    options.audit_ppm = (number(&mut parser, "audit-rate", 0.0_f64..=1.0)? * 1e6).round() as u32;
                }
                Long("seed") => options.seed = parser.value()?.parse()?,
                Long("report") => options.report = Some(parser.value()?.into()),
                Long("help") | Short('h') => return Ok(None),
                other => return Err(other.unexpected()),
            }
        }
        if options.cheaters > options.workers {
            return Err(format!("{} cheaters among {} workers", options.cheaters, options.workers).into());
        }
        Ok(Some(options))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Option<Options>, lexopt::Error> {
        Options::parse(lexopt::Parser::from_args(line.split_whitespace()))
    }

    #[test]
    fn no_argument_is_the_default() {
        assert_eq!(parse("").unwrap(), Some(Options::default()));
    }

    #[test]
    fn every_option_is_read() {
        let line = "--trace t.csv --requests=7 --workers 6 --cheaters 6 --tenants 2 --validators 1 --audit-rate 0.25 --seed 9 --report r";
        let expected = Options {
            trace: Some("t.csv".into()),
            requests: Some(7),
            workers: 6,
            cheaters: 6,
            tenants: 2,
            validators: 1,
            audit_ppm: 250_000,
            seed: 9,
            report: Some("r".into()),
        };
        assert_eq!(parse(line).unwrap(), Some(expected));
        assert_eq!(parse("--help").unwrap(), None);
    }

    #[test]
    fn impossible_options_are_refused_in_one_line() {
        for line in [
            "--cheaters 51",
            "--workers 0",
            "--requests 0",
            "--tenants 0",
            "--validators 0",
            "--validators 70000",
            "--audit-rate 1.5",
            "--audit-rate NaN",
            "--audit-rate x",
            "--seed -1",
            "--requests",
            "--unknown",
            "stray",
        ] {
            let error = parse(line).expect_err(line);
            assert!(!error.to_string().contains('\n'), "{error}");
        }
    }
}
