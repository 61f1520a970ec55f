//! The command line.

use std::path::PathBuf;

use hanzo_examples::program;
use lexopt::prelude::*;

/// What `--help` prints.
pub(crate) const HELP: &str = "\
Figures to choose an audit policy by: detection, cost and false convictions of audit rules, simulated; and, from measured
work, how well each comparator tells honest from cheating.

Usage: cargo run --release --example audit_figures -- [OPTIONS]

Options:
  --workers N       workers of each simulated fleet, 100 to 1000000 [default: 5000]
  --seed N          same seed, same figures [default: 1]
  --responses FILE  scores of responses, CSV with columns variant, kind, ref, kl_mean_64tok, margin_mean_64tok
  --network FILE    a network to run honestly and with rounded weights: safetensors with fine.N.weight, fine.N.bias, x_test
  --report DIR      write figures.html into DIR
  --help            print this
";

/// Checked options.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Options {
    /// Workers of each fleet.
    pub(crate) workers: u64,
    /// Root of all randomness.
    pub(crate) seed: u64,
    /// Measured scores.
    pub(crate) responses: Option<PathBuf>,
    /// A network to run.
    pub(crate) network: Option<PathBuf>,
    /// Folder for the page.
    pub(crate) report: Option<PathBuf>,
}

/// Parses the arguments; `None` asks for help.
pub(crate) fn parse(mut parser: lexopt::Parser) -> crate::Result<Option<Options>> {
    let mut options = Options { workers: 5_000, seed: 1, responses: None, network: None, report: None };
    while let Some(argument) = parser.next()? {
        match argument {
            Long("workers") => options.workers = program::number(&mut parser, "workers", 100..=1_000_000)?,
            Long("seed") => options.seed = parser.value()?.parse()?,
            Long("responses") => options.responses = Some(parser.value()?.into()),
            Long("network") => options.network = Some(parser.value()?.into()),
            Long("report") => options.report = Some(parser.value()?.into()),
            Long("help") | Short('h') => return Ok(None),
            other => return Err(other.unexpected().into()),
        }
    }
    Ok(Some(options))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_checked() {
        let parse = |line: &str| parse(lexopt::Parser::from_args(line.split_whitespace()));
        assert_eq!(parse("--workers 100 --seed 3").unwrap().unwrap().seed, 3);
        assert_eq!(parse("--help").unwrap(), None);
        for bad in ["--workers 99", "--workers x", "--report", "file"] {
            let error = parse(bad).unwrap_err().to_string();
            assert!(!error.is_empty() && !error.contains('\n'), "{bad}: {error}");
        }
    }
}
