//! The command line.

use std::path::PathBuf;

use lexopt::prelude::*;

/// What `--help` prints.
pub(crate) const HELP: &str = "\
Goes through the headline claims of the papers, runs the experiment or the arithmetic, and says of each whether it holds.

Usage: cargo run --release --example claims -- [OPTIONS]

Options:
  --quick        smaller experiments, for checks
  --seed N       same seed, same figures, but for timings, which are marked [default: 1]
  --html FILE    write the table as a page too
  --help         print this
";

/// Checked options.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Options {
    /// Smaller experiments.
    pub(crate) quick: bool,
    /// Root of all that is drawn.
    pub(crate) seed: u64,
    /// The page.
    pub(crate) html: Option<PathBuf>,
}

/// The options of these arguments; `None` where help was asked for.
///
/// # Errors
///
/// What is wrong, in one line.
pub(crate) fn parse(mut arguments: lexopt::Parser) -> Result<Option<Options>, lexopt::Error> {
    let mut options = Options { quick: false, seed: 1, html: None };
    while let Some(argument) = arguments.next()? {
        match argument {
            Long("quick") => options.quick = true,
            Long("seed") => options.seed = arguments.value()?.parse()?,
            Long("html") => options.html = Some(arguments.value()?.into()),
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
        let options = of(&["--quick", "--seed", "7", "--html", "page.html"]).unwrap().unwrap();
        assert_eq!(options, Options { quick: true, seed: 7, html: Some("page.html".into()) });
        assert!(of(&["--help"]).unwrap().is_none());
        for bad in [&["--seed", "x"][..], &["--html"], &["--slow"], &["page.html"]] {
            assert!(of(bad).is_err(), "{bad:?}");
        }
    }
}
