//! The command line.

use std::path::PathBuf;

use hanzo_examples::program;
use lexopt::prelude::*;

/// What `--help` prints.
pub(crate) const HELP: &str = "\
Learns lessons by Training-Free GRPO: a model that is built in, or any server with the chat completions interface.

Usage: cargo run --release --example training_free_grpo -- [OPTIONS]

Options:
  --epochs N          times through all questions, 1 to 50 [default: 5]
  --questions N       questions to learn from, 1 to 1000 [default: 24]
  --batch N           questions in a batch [default: 8]
  --capacity N        lessons that the library may hold [default: 12]
  --poison N          epoch, from 1, in which rewards lie; 0 for none [default: 4]
  --seed N            same seed, same lessons [default: 1]
  --calls N           calls to the model that may be made [default: 100000]
  --server URL        ask this server instead, such as http://127.0.0.1:8080/v1; plain HTTP. A key is read from
                      OPENAI_API_KEY
  --model NAME        the server's model [default: default]
  --report DIR        write training.html into DIR
  --help              print this
";

/// Checked options.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Options {
    pub(crate) epochs: u32,
    pub(crate) questions: u32,
    pub(crate) batch: u32,
    pub(crate) capacity: usize,
    /// The epoch in which rewards lie, from 1.
    pub(crate) poison: u32,
    pub(crate) seed: u64,
    pub(crate) calls: u64,
    pub(crate) server: Option<String>,
    pub(crate) model: String,
    pub(crate) report: Option<PathBuf>,
}

/// The options of these arguments; `None` where help was asked for.
///
/// # Errors
/// What is wrong, in one line.
pub(crate) fn parse(mut arguments: lexopt::Parser) -> Result<Option<Options>, lexopt::Error> {
    let mut options = Options {
        epochs: 5,
        questions: 24,
        batch: 8,
        capacity: 12,
        poison: 4,
        seed: 1,
        calls: 100_000,
        server: None,
        model: "default".into(),
        report: None,
    };
    while let Some(argument) = arguments.next()? {
        match argument {
            Long("epochs") => options.epochs = program::number(&mut arguments, "epochs", 1..=50)?,
            Long("questions") => options.questions = program::number(&mut arguments, "questions", 1..=1_000)?,
            Long("batch") => options.batch = program::number(&mut arguments, "batch", 1..=1_000)?,
            Long("capacity") => options.capacity = program::number(&mut arguments, "capacity", 1..=1_000)?,
            Long("poison") => options.poison = arguments.value()?.parse()?,
            Long("seed") => options.seed = arguments.value()?.parse()?,
            Long("calls") => options.calls = arguments.value()?.parse()?,
            Long("server") => options.server = Some(arguments.value()?.string()?),
            Long("model") => options.model = arguments.value()?.string()?,
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
        let options = of(&["--epochs", "2", "--server", "http://localhost:1/v1"]).unwrap().unwrap();
        assert_eq!((options.epochs, options.server.as_deref()), (2, Some("http://localhost:1/v1")));
        assert_eq!(of(&["--help"]).unwrap(), None);
        for bad in [&["--epochs", "0"][..], &["--questions", "0"], &["--batch", "0"], &["--capacity", "0"], &["x"]] {
            assert!(of(bad).is_err(), "{bad:?}");
        }
    }
}
