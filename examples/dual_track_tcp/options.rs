//! The command line.

use std::path::PathBuf;

use hanzo_examples::program;
use lexopt::prelude::*;

/// What `--help` prints.
pub(crate) const HELP: &str = "\
Validators of both consensus tracks as processes of their own, over TCP on the loopback interface, each with keys of ML-DSA-65 and
a file of its own. One after the other is killed (SIGKILL) under load and begun again from its file; a table of what settled.

Usage: cargo run --release --example dual_track_tcp -- [OPTIONS]

Options:
  --nodes N       validators, 4 to 16 [default: 4]
  --rate N        matches a second, all validators together, 1 to 2000 [default: 50]
  --seconds N     seconds of load, 1 to 3600 [default: 9]
  --kills N       validators killed and begun again, one at a time, 0 to 100 [default: 1]
  --seed N        of the keys [default: 0]
  --dir DIR       where the files of the validators go [default: a temporary folder, removed at the end]
  --help          print this

A validator by itself, as the trial starts it (it is told the ports of the others and its matches on standard input):
  dual_track_tcp validator --position N [--again] --nodes N --seed N --dir DIR
";

/// The trial: all validators, and who begins, kills and feeds them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Options {
    /// Validators.
    pub(crate) nodes: usize,
    /// Matches a second.
    pub(crate) rate: u64,
    /// Seconds of load.
    pub(crate) seconds: u64,
    /// Validators killed, one after the other.
    pub(crate) kills: usize,
    /// Root of the keys.
    pub(crate) seed: u64,
    /// Where the files go.
    pub(crate) dir: Option<PathBuf>,
}

/// One validator.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ValidatorOptions {
    /// Which one.
    pub(crate) position: usize,
    /// Whether it has run before: it must then have a file.
    pub(crate) again: bool,
    /// Validators in all.
    pub(crate) nodes: usize,
    /// Root of the keys.
    pub(crate) seed: u64,
    /// Where its file is.
    pub(crate) dir: PathBuf,
}

/// What to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Command {
    Trial(Options),
    Validator(ValidatorOptions),
}

/// The command of these arguments; `None` where help was asked for.
///
/// # Errors
///
/// One line that says what is wrong.
pub(crate) fn parse(mut arguments: lexopt::Parser) -> Result<Option<Command>, lexopt::Error> {
    let mut options = Options { nodes: 4, rate: 50, seconds: 9, kills: 1, seed: 0, dir: None };
    let (mut validator, mut position, mut again) = (false, None, false);
    while let Some(argument) = arguments.next()? {
        match argument {
            Value(word) if word == "validator" && !validator => validator = true,
            Long("position") if validator => position = Some(arguments.value()?.parse()?),
            Long("again") if validator => again = true,
            Long("nodes") => options.nodes = program::number(&mut arguments, "nodes", 4..=16)?,
            Long("rate") => options.rate = program::number(&mut arguments, "rate", 1..=2_000)?,
            Long("seconds") => options.seconds = program::number(&mut arguments, "seconds", 1..=3_600)?,
            Long("kills") => options.kills = program::number(&mut arguments, "kills", 0..=100)?,
            Long("seed") => options.seed = arguments.value()?.parse()?,
            Long("dir") => options.dir = Some(arguments.value()?.into()),
            Long("help") | Short('h') => return Ok(None),
            other => return Err(other.unexpected()),
        }
    }
    if !validator {
        return Ok(Some(Command::Trial(options)));
    }
    let (Some(position), Some(dir)) = (position, options.dir) else {
        return Err("a validator needs --position and --dir".into());
    };
    let Options { nodes, seed, .. } = options;
    if position >= nodes {
        return Err("--position must be below --nodes".into());
    }
    Ok(Some(Command::Validator(ValidatorOptions { position, again, nodes, seed, dir })))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_are_read_and_checked() {
        let of = |arguments: &[&str]| parse(lexopt::Parser::from_args(arguments));
        let Ok(Some(Command::Trial(options))) = of(&["--nodes", "7", "--kills", "2"]) else { panic!("a trial") };
        assert_eq!((options.nodes, options.rate, options.kills), (7, 50, 2));
        let Ok(Some(Command::Validator(options))) = of(&["validator", "--position", "3", "--dir", "x"]) else {
            panic!("a validator")
        };
        assert_eq!((options.position, options.again, options.nodes), (3, false, 4));
        assert_eq!(of(&["--help"]).unwrap(), None);
        let bad: [&[&str]; 9] = [
            &["--nodes", "3"],
            &["--nodes", "17"],
            &["--rate", "0"],
            &["--seconds", "0"],
            &["--kills", "101"],
            &["--position", "1"],
            &["validator", "--dir", "x"],
            &["validator", "--position", "4", "--dir", "x"],
            &["x"],
        ];
        for bad in bad {
            assert!(of(bad).is_err(), "{bad:?}");
        }
    }
}
