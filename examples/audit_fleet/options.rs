//! The command line.

use std::path::PathBuf;

use hanzo_examples::program;
use lexopt::prelude::*;

/// What `--help` prints.
pub(crate) const HELP: &str = "\
A fleet with named cheats, audited epoch by epoch; and, as a second command, an auditor who trusts nobody.

Usage: cargo run --release --example audit_fleet -- [--epochs N] [--jobs N] [--seed N] [--out DIR]
       cargo run --release --example audit_fleet -- --verify DIR

Options:
  --epochs N    epochs to play, 1 to 100 [default: 8]
  --jobs N      jobs of a worker and epoch, 2 to 1000 [default: 40]
  --seed N      same seed, same bytes [default: 1]
  --out DIR     write what is public, the rulings, the evidence and report.html into DIR
  --verify DIR  read what is public in DIR, and nothing else; rule again; compare every byte; check all evidence
  --help        print this
";

/// Checked options.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Options {
    /// Play a fleet.
    Play { epochs: u64, jobs: u64, seed: u64, out: Option<PathBuf> },
    /// Audit what another run left.
    Verify(PathBuf),
}

/// Parses the arguments; `None` asks for help.
pub(crate) fn parse(mut parser: lexopt::Parser) -> crate::Result<Option<Options>> {
    let (mut epochs, mut jobs, mut seed, mut out, mut verify) = (None, None, None, None, None);
    while let Some(argument) = parser.next()? {
        match argument {
            Long("epochs") => epochs = Some(program::number(&mut parser, "epochs", 1..=100)?),
            Long("jobs") => jobs = Some(program::number(&mut parser, "jobs", 2..=1000)?),
            Long("seed") => seed = Some(parser.value()?.parse()?),
            Long("out") => out = Some(PathBuf::from(parser.value()?)),
            Long("verify") => verify = Some(PathBuf::from(parser.value()?)),
            Long("help") | Short('h') => return Ok(None),
            other => return Err(other.unexpected().into()),
        }
    }
    match verify {
        Some(_) if epochs.is_some() || jobs.is_some() || seed.is_some() || out.is_some() => {
            Err("--verify takes no other option".into())
        }
        Some(folder) => Ok(Some(Options::Verify(folder))),
        None => Ok(Some(Options::Play {
            epochs: epochs.unwrap_or(8),
            jobs: jobs.unwrap_or(40),
            seed: seed.unwrap_or(1),
            out,
        })),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_checked() {
        let parse = |line: &str| parse(lexopt::Parser::from_args(line.split_whitespace()));
        let plain = Options::Play { epochs: 8, jobs: 40, seed: 1, out: None };
        assert_eq!(parse("").unwrap(), Some(plain));
        assert_eq!(parse("--verify x").unwrap(), Some(Options::Verify("x".into())));
        assert_eq!(parse("--help").unwrap(), None);
        for bad in
            ["--epochs 0", "--epochs 101", "--jobs 1", "--jobs x", "--verify", "--verify x --seed 1", "file", "--quick"]
        {
            let error = parse(bad).unwrap_err().to_string();
            assert!(!error.is_empty() && !error.contains('\n'), "{bad}: {error}");
        }
    }
}
