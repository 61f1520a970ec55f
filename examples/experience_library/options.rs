//! The command line.

use std::error::Error;
use std::path::PathBuf;

use hanzo::experience::merkle::Hash;
use hanzo_examples::program;
use lexopt::prelude::*;

/// What `--help` prints.
pub(crate) const HELP: &str = "\
A library of lessons that anyone can check: built, proven, retrieved from, governed, shared, kept and verified.

Usage: cargo run --release --example experience_library -- [OPTIONS] [FILE..]

  FILE                a JSON list of texts, such as the lessons that Training-Free GRPO published; each file is a
                      domain of the name of the file
  (nothing)           a small library that is built in

Options:
  --query TEXT        what to retrieve lessons for [default: a question about quadratics]
  --k N               lessons to retrieve [default: 3]
  --tokens N          words that the retrieved lessons may take in a prompt [default: 80]
  --out DIR           keep the snapshot files there; else they are removed at the end
  --verify FILE --commitment HEX
                      what the second process does: reads a snapshot file and checks that its state has this commitment
  --help              print this
";

/// What to do.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Command {
    /// The whole tour.
    Show(Options),
    /// Check a snapshot against a commitment received by other means.
    Verify { file: PathBuf, commitment: Hash },
}

/// Checked options of the tour.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Options {
    /// Files of texts; none for the library that is built in.
    pub(crate) files: Vec<PathBuf>,
    /// What to retrieve for.
    pub(crate) query: Option<String>,
    /// How many lessons.
    pub(crate) k: usize,
    /// How many words of them.
    pub(crate) tokens: usize,
    /// Where files stay.
    pub(crate) out: Option<PathBuf>,
}

/// The command of these arguments; `None` where help was asked for.
///
/// # Errors
/// What is wrong, in one line.
pub(crate) fn parse(mut arguments: lexopt::Parser) -> Result<Option<Command>, Box<dyn Error>> {
    let mut options = Options { files: Vec::new(), query: None, k: 3, tokens: 80, out: None };
    let (mut verify, mut commitment) = (None, None);
    while let Some(argument) = arguments.next()? {
        match argument {
            Long("query") => options.query = Some(arguments.value()?.string()?),
            Long("k") => options.k = program::number(&mut arguments, "k", 1..=1_000_000)?,
            Long("tokens") => options.tokens = arguments.value()?.parse()?,
            Long("out") => options.out = Some(arguments.value()?.into()),
            Long("verify") => verify = Some(PathBuf::from(arguments.value()?)),
            Long("commitment") => {
                let text = arguments.value()?.string()?;
                commitment = Some(text.parse().map_err(|_| "--commitment must be 64 hex digits")?);
            }
            Long("help") | Short('h') => return Ok(None),
            Value(path) => options.files.push(path.into()),
            other => return Err(other.unexpected().into()),
        }
    }
    match (verify, commitment) {
        (None, None) => Ok(Some(Command::Show(options))),
        (Some(file), Some(commitment)) if options.files.is_empty() && options.out.is_none() => {
            Ok(Some(Command::Verify { file, commitment }))
        }
        _ => Err("--verify and --commitment go together, and alone".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(arguments: &[&str]) -> Result<Option<Command>, Box<dyn Error>> {
        parse(lexopt::Parser::from_args(arguments))
    }

    #[test]
    fn options_are_read_and_checked() {
        let Command::Show(options) = of(&["a.json", "--k", "5", "b.json"]).unwrap().unwrap() else { panic!() };
        assert_eq!((options.files.len(), options.k, options.tokens), (2, 5, 80));
        let zeros = "0".repeat(64);
        let verify = of(&["--verify", "f", "--commitment", &zeros]).unwrap().unwrap();
        assert!(matches!(verify, Command::Verify { .. }));
        assert!(of(&["--help"]).unwrap().is_none());
        for bad in [
            &["--k", "0"][..],
            &["--k", "many"],
            &["--tokens", "-1"],
            &["--verify", "f"],
            &["--commitment", &zeros],
            &["--verify", "f", "--commitment", "00"],
            &["--verify", "f", "--commitment", &zeros, "a.json"],
            &["--what"],
        ] {
            assert!(of(bad).is_err(), "{bad:?}");
        }
    }
}
