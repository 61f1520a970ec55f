//! The command line.

use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};

use hanzo_examples::program;
use lexopt::prelude::*;

/// What `--help` prints.
pub(crate) const HELP: &str = "\
Fits the arrival model of the examples to request traces: a hidden Markov model with Gaussian emissions of the logarithms
of the gap before a request, of its prompt tokens and of its answer tokens. The number of states is the one with the
lowest BIC of those tried.

Usage: cargo run --release --example fit_arrivals -- --out OUT FILE...

  FILE...      traces (CSV or gzip): Azure LLM inference 2023 or Mooncake, each one sequence

Options:
  --out OUT    where the model goes, as JSON
  --states N   fit N states only [default: try 2 to 8]
  --starts N   starts of the training for each number of states [default: 48]
  --seed N     same seed, same model [default: 1]
  --help       print this
";

/// Checked options.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Options {
    /// Where the model goes.
    pub(crate) out: PathBuf,
    /// The traces, at least one.
    pub(crate) traces: Vec<PathBuf>,
    /// Fit this many states only.
    pub(crate) only: Option<usize>,
    /// Starts for each number of states.
    pub(crate) starts: usize,
    /// Root of all randomness.
    pub(crate) seed: u64,
}

impl Options {
    const DEFAULT_STATES: RangeInclusive<usize> = 2..=8;
    const DEFAULT_STARTS: usize = 48;
    const DEFAULT_SEED: u64 = 1;

    /// Parses the arguments after the program's name; `None` asks for help.
    pub(crate) fn parse(mut parser: lexopt::Parser) -> Result<Option<Self>, lexopt::Error> {
        let (mut out, mut traces, mut only) = (None, Vec::new(), None);
        let (mut starts, mut seed) = (Self::DEFAULT_STARTS, Self::DEFAULT_SEED);
        while let Some(argument) = parser.next()? {
            match argument {
                Long("out") => out = Some(PathBuf::from(parser.value()?)),
                Long("states") => only = Some(program::number(&mut parser, "states", 1..=MOST_STATES)?),
                Long("starts") => starts = program::number(&mut parser, "starts", 1..=MOST_STARTS)?,
                Long("seed") => seed = parser.value()?.parse()?,
                Long("help") | Short('h') => return Ok(None),
                Value(file) => traces.push(PathBuf::from(file)),
                other => return Err(other.unexpected()),
            }
        }
        let out = out.ok_or("--out OUT is missing")?;
        if traces.is_empty() {
            return Err("no trace given".into());
        }
        if traces.contains(&out) {
            return Err(format!("--out {} is one of the traces", out.display()).into());
        }
        Ok(Some(Self { out, traces, only, starts, seed }))
    }

    /// The numbers of states to try.
    pub(crate) fn states(&self) -> RangeInclusive<usize> {
        self.only.map_or(Self::DEFAULT_STATES, |states| states..=states)
    }

    /// The command that does the same in the folder of the files: names only, nothing of this machine.
    pub(crate) fn command(&self) -> String {
        let mut command = format!("cargo run --release --example fit_arrivals -- --out {}", file_name(&self.out));
        if let Some(states) = self.only {
            command += &format!(" --states {states}");
        }
        if self.starts != Self::DEFAULT_STARTS {
            command += &format!(" --starts {}", self.starts);
        }
        if self.seed != Self::DEFAULT_SEED {
            command += &format!(" --seed {}", self.seed);
        }
        for trace in &self.traces {
            command += &format!(" {}", file_name(trace));
        }
        command
    }
}

/// The last part of a path.
pub(crate) fn file_name(path: &Path) -> String {
    path.file_name().unwrap_or(path.as_os_str()).to_string_lossy().into_owned()
}

const MOST_STATES: usize = 16;
const MOST_STARTS: usize = 1000;

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Option<Options>, lexopt::Error> {
        Options::parse(lexopt::Parser::from_args(line.split_whitespace()))
    }

    #[test]
    fn the_command_has_no_folder_and_no_default() {
        let options = parse("--out a/b.json /x/y/code.csv --starts 48 conv.csv.gz").unwrap().unwrap();
        let command = "cargo run --release --example fit_arrivals -- --out b.json code.csv conv.csv.gz";
        assert_eq!((options.command().as_str(), options.states()), (command, 2..=8));
        let options = parse("--out b.json --states 3 --seed 9 t.csv").unwrap().unwrap();
        let command = "cargo run --release --example fit_arrivals -- --out b.json --states 3 --seed 9 t.csv";
        assert_eq!((options.command().as_str(), options.states()), (command, 3..=3));
        assert_eq!(parse("--help").unwrap(), None);
    }

    #[test]
    fn bad_lines_are_refused() {
        for (line, part) in [
            ("", "--out OUT is missing"),
            ("--out o.json", "no trace"),
            ("t.csv", "--out OUT is missing"),
            ("--out t.csv t.csv", "one of the traces"),
            ("--out o.json --states 0 t.csv", "--states is 0, it must be 1 to 16"),
            ("--out o.json --states 17 t.csv", "--states is 17"),
            ("--out o.json --states two t.csv", "--states"),
            ("--out o.json --starts 0 t.csv", "--starts is 0"),
            ("--out o.json --seed -1 t.csv", "-1"),
            ("--out o.json --quick t.csv", "--quick"),
            ("--out", "--out"),
        ] {
            let error = parse(line).unwrap_err().to_string();
            assert!(error.contains(part) && !error.contains('\n'), "{line}: {error}");
        }
    }
}
