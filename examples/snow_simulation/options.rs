//! The command line.

use std::path::PathBuf;

use hanzo::snow::simulate::Byzantine;
use hanzo_examples::program;
use lexopt::prelude::*;

/// What `--help` prints.
pub(crate) const HELP: &str = "\
Plays networks of Snowman nodes, message by message: three on a LAN, ten, fifty over ten regions.

Usage: cargo run --release --example snow_simulation -- [OPTIONS]

Options:
  --blocks N          blocks proposed in each network, 1 to 1000 [default: 20]
  --interval-ms N     time between proposals [default: 2000]
  --faulty PERCENT    nodes of the regional network that are Byzantine, 0 to 50 [default: 0]
  --strategy NAME     silent, minority, split, withhold, equivocate, lie or flood [default: silent]
  --drop PER-MILLE    messages lost, 0 to 500 [default: 0]
  --seed N            same seed, same result [default: 1]
  --report DIR        write snow.html into DIR
  --help              print this
";

/// Checked options.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Options {
    /// Proposals in each network.
    pub(crate) blocks: u64,
    /// Milliseconds between them.
    pub(crate) interval_ms: u64,
    /// Byzantine nodes, in per cent.
    pub(crate) faulty: usize,
    /// What they do.
    pub(crate) strategy: Byzantine,
    /// Lost messages of a thousand.
    pub(crate) drop: u32,
    /// Root of all randomness.
    pub(crate) seed: u64,
    /// Folder for the picture.
    pub(crate) report: Option<PathBuf>,
}

/// The options of these arguments; `None` where help was asked for.
///
/// # Errors
///
/// One line that says what is wrong.
pub(crate) fn parse(mut arguments: lexopt::Parser) -> Result<Option<Options>, lexopt::Error> {
    let strategy = Byzantine::Silent;
    let mut options = Options { blocks: 20, interval_ms: 2_000, faulty: 0, strategy, drop: 0, seed: 1, report: None };
    while let Some(argument) = arguments.next()? {
        match argument {
            Long("blocks") => options.blocks = program::number(&mut arguments, "blocks", 1..=1_000)?,
            Long("interval-ms") => options.interval_ms = program::number(&mut arguments, "interval-ms", 1..=1_000_000)?,
            Long("faulty") => options.faulty = program::number(&mut arguments, "faulty", 0..=50)?,
            Long("strategy") => {
                let name = arguments.value()?.string()?;
                options.strategy = match name.as_str() {
                    "silent" => Byzantine::Silent,
                    "minority" => Byzantine::Minority,
                    "split" => Byzantine::Split,
                    "withhold" => Byzantine::Withhold,
                    "equivocate" => Byzantine::Equivocate,
                    "lie" => Byzantine::Lie,
                    "flood" => Byzantine::Flood,
                    _ => return Err(format!("no strategy is called {name:?}").into()),
                };
            }
            Long("drop") => options.drop = program::number(&mut arguments, "drop", 0..=500)?,
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
        let options = of(&["--blocks", "3", "--faulty", "10", "--strategy", "lie"]).unwrap().unwrap();
        assert_eq!((options.blocks, options.faulty, options.strategy), (3, 10, Byzantine::Lie));
        assert_eq!(of(&["--help"]).unwrap(), None);
        for bad in [&["--blocks", "0"][..], &["--faulty", "51"], &["--strategy", "nice"], &["--drop", "501"], &["x"]] {
            assert!(of(bad).is_err(), "{bad:?}");
        }
    }
}
