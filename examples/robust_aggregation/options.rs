//! The command line.

use std::path::PathBuf;

use hanzo_examples::program;
use lexopt::prelude::*;

/// What `--help` prints.
pub(crate) const HELP: &str = "\
Aggregates priors of honest submitters and attackers by every rule, and shows at which share each rule breaks.

Usage: cargo run --release --example robust_aggregation -- [OPTIONS]

Options:
  --submitters N      honest ones and attackers together, 10 to 200 [default: 40]
  --dimension N       elements of a prior, 1 to 10000 [default: 32]
  --trials N          draws of the honest priors at each share, 1 to 1000 [default: 5]
  --seed N            same seed, same result [default: 1]
  --report DIR        write aggregation.html into DIR
  --help              print this
";

/// Checked options.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Options {
    /// Honest submitters and attackers.
    pub(crate) submitters: usize,
    /// Elements of a prior.
    pub(crate) dimension: usize,
    /// Draws at each share.
    pub(crate) trials: u64,
    /// Root of all randomness.
    pub(crate) seed: u64,
    /// Folder for the picture.
    pub(crate) report: Option<PathBuf>,
}

/// The options of these arguments; `None` where help was asked for.
///
/// # Errors
/// What is wrong, in one line.
pub(crate) fn parse(mut arguments: lexopt::Parser) -> Result<Option<Options>, lexopt::Error> {
    let mut options = Options { submitters: 40, dimension: 32, trials: 5, seed: 1, report: None };
    while let Some(argument) = arguments.next()? {
        match argument {
            Long("submitters") => options.submitters = program::number(&mut arguments, "submitters", 10..=200)?,
            Long("dimension") => options.dimension = program::number(&mut arguments, "dimension", 1..=10_000)?,
            Long("trials") => options.trials = program::number(&mut arguments, "trials", 1..=1_000)?,
            Long("seed") => options.seed = arguments.value()?.parse()?,
            Long("report") => options.report = Some(arguments.value()?.into()),
            Long("help") | Short('h') => return Ok(None),
            other => return Err(other.unexpected()),
        }
    }
    Ok(Some(options))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_are_read_and_checked() {
        let of = |arguments: &[&str]| parse(lexopt::Parser::from_args(arguments));
        let options = of(&["--submitters", "20", "--seed", "9"]).unwrap().unwrap();
        assert_eq!((options.submitters, options.seed, options.trials), (20, 9, 5));
        assert_eq!(of(&["--help"]).unwrap(), None);
        for bad in [&["--submitters", "9"][..], &["--dimension", "0"], &["--trials", "0"], &["--seed", "x"], &["x"]] {
            assert!(of(bad).is_err(), "{bad:?}");
        }
    }
}
