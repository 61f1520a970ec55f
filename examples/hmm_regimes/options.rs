//! The command line.

use std::path::PathBuf;

use hanzo_examples::program;
use lexopt::prelude::*;

/// What `--help` prints.
pub(crate) const HELP: &str = "\
Finds the regimes of a series of numbers: hidden Markov models with 1, 2, 3, .. states, the best one by BIC.

Usage: cargo run --release --example hmm_regimes -- [OPTIONS]

Options:
  --csv FILE          a table with a header line; without it a series with three regimes is drawn
  --column NAME       the column to read [default: the first one whose second line is a number]
  --differences       model the differences of neighbouring values (of logs, where all are positive)
  --counts            whole numbers: Poisson emissions instead of Gaussian ones
  --max-states N      the largest model to try, 1 to 12 [default: 5]
  --restarts N        starts of each fit, the first not random [default: 8]
  --seed N            same seed, same result [default: 1]
  --report DIR        write regimes.html into DIR
  --help              print this
";

/// Checked options.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Options {
    /// The table, or a drawn series.
    pub(crate) csv: Option<PathBuf>,
    /// Name of the column.
    pub(crate) column: Option<String>,
    /// Whether to model differences.
    pub(crate) differences: bool,
    /// Whether the values are counts.
    pub(crate) counts: bool,
    /// Largest number of states.
    pub(crate) max_states: usize,
    /// Starts of each fit.
    pub(crate) restarts: usize,
    /// Root of all randomness.
    pub(crate) seed: u64,
    /// Folder for the picture.
    pub(crate) report: Option<PathBuf>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            csv: None,
            column: None,
            differences: false,
            counts: false,
            max_states: 5,
            restarts: 8,
            seed: 1,
            report: None,
        }
    }
}

/// The options of these arguments; `None` where help was asked for.
///
/// # Errors
///
/// One line that says what is wrong.
pub(crate) fn parse(mut arguments: lexopt::Parser) -> Result<Option<Options>, lexopt::Error> {
    let mut options = Options::default();
    while let Some(argument) = arguments.next()? {
        match argument {
            Long("csv") => options.csv = Some(arguments.value()?.into()),
            Long("column") => options.column = Some(arguments.value()?.string()?),
            Long("differences") => options.differences = true,
            Long("counts") => options.counts = true,
            Long("max-states") => options.max_states = program::number(&mut arguments, "max-states", 1..=12)?,
            Long("restarts") => options.restarts = program::number(&mut arguments, "restarts", 1..=10_000)?,
            Long("seed") => options.seed = arguments.value()?.parse()?,
            Long("report") => options.report = Some(arguments.value()?.into()),
            Long("help") | Short('h') => return Ok(None),
            other => return Err(other.unexpected()),
        }
    }
    if options.counts && options.differences {
        return Err("--counts and --differences do not go together".into());
    }
    Ok(Some(options))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(arguments: &[&str]) -> Result<Option<Options>, lexopt::Error> {
        parse(lexopt::Parser::from_args(arguments))
    }

    #[test]
    fn options_are_read_and_checked() {
        let options = of(&["--csv", "a.csv", "--column", "x", "--max-states", "3", "--differences"]).unwrap().unwrap();
        assert_eq!((options.column.as_deref(), options.max_states, options.differences), (Some("x"), 3, true));
        assert_eq!(of(&["--help"]).unwrap(), None);
        for bad in [
            &["--max-states", "0"][..],
            &["--max-states", "x"],
            &["--restarts", "0"],
            &["--counts", "--differences"],
            &["--what"],
        ] {
            assert!(of(bad).is_err(), "{bad:?}");
        }
    }
}
