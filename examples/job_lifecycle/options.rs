//! The command line.

use std::fmt;
use std::path::PathBuf;

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

/// What the command line asked for.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Command {
    /// Run with these options.
    Run(Options),
    /// Print [`HELP`].
    Help,
}

/// Why the command line was refused, in one line.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct UsageError(String);

impl fmt::Display for UsageError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl From<lexopt::Error> for UsageError {
    fn from(error: lexopt::Error) -> Self {
        Self(error.to_string())
    }
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

    /// Parses the arguments after the program's name.
    pub(crate) fn parse(arguments: impl IntoIterator<Item = std::ffi::OsString>) -> Result<Command, UsageError> {
        let mut options = Self::default();
        let mut parser = lexopt::Parser::from_args(arguments);
        while let Some(argument) = parser.next()? {
            match argument {
                Long("trace") => options.trace = Some(parser.value()?.into()),
                Long("requests") => options.requests = Some(parser.value()?.parse()?),
                Long("workers") => options.workers = parser.value()?.parse()?,
                Long("cheaters") => options.cheaters = parser.value()?.parse()?,
                Long("tenants") => options.tenants = parser.value()?.parse()?,
                Long("validators") => options.validators = parser.value()?.parse()?,
                Long("audit-rate") => options.audit_ppm = ppm(&parser.value()?.string()?)?,
                Long("seed") => options.seed = parser.value()?.parse()?,
                Long("report") => options.report = Some(parser.value()?.into()),
                Long("help") | Short('h') => return Ok(Command::Help),
                other => return Err(other.unexpected().into()),
            }
        }
        options.check().map(Command::Run)
    }

    fn check(self) -> Result<Self, UsageError> {
        let limit = |name: &str, value: usize, least: usize, most: usize| {
            if (least..=most).contains(&value) {
                Ok(())
            } else {
                Err(UsageError(format!("--{name} is {value}, it must be {least} to {most}")))
            }
        };
        if let Some(requests) = self.requests {
            limit("requests", requests, 1, 1_000_000)?;
        }
        limit("workers", self.workers, 1, 10_000)?;
        limit("tenants", self.tenants, 1, 256)?;
        limit("validators", usize::from(self.validators), 1, 2_000)?;
        if self.cheaters > self.workers {
            return Err(UsageError(format!("{} cheaters among {} workers", self.cheaters, self.workers)));
        }
        Ok(self)
    }
}

fn ppm(text: &str) -> Result<u32, UsageError> {
    let rate: f64 = text.parse().map_err(|_| UsageError(format!("--audit-rate is `{text}`, not a number")))?;
    if (0.0..=1.0).contains(&rate) {
        Ok((rate * 1e6).round() as u32)
    } else {
        Err(UsageError(format!("--audit-rate is {text}, it must be 0 to 1")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Command, UsageError> {
        Options::parse(line.split_whitespace().map(Into::into))
    }

    #[test]
    fn no_argument_is_the_default() {
        assert_eq!(parse(""), Ok(Command::Run(Options::default())));
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
        assert_eq!(parse(line), Ok(Command::Run(expected)));
        assert_eq!(parse("--help"), Ok(Command::Help));
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
