//! What each example does as a program: read its command line, print, and end with the exit code that says how it went.
//!
//! ```no_run
//! # struct Options;
//! # fn parse(_: lexopt::Parser) -> Result<Option<Options>, lexopt::Error> { Ok(None) }
//! # fn run(_: &Options) -> std::io::Result<()> { Ok(()) }
//! use std::process::ExitCode;
//!
//! fn main() -> ExitCode {
//!     hanzo_examples::program::main("name", "what --help prints\n", parse, run)
//! }
//! ```

use std::fmt::{Arguments, Display};
use std::io::{self, ErrorKind, Write};
use std::ops::RangeInclusive;
use std::process::ExitCode;
use std::str::FromStr;

use indicatif::{ProgressBar, ProgressStyle};

/// Reads the command line and does the work. `parse` gives `None` where help was asked for.
///
/// Whatever is wrong, with the command line or in the work, is one line on standard error and exit code 2.
pub fn main<O, P: Display, E: Display>(
    name: &str,
    help: &str,
    parse: impl FnOnce(lexopt::Parser) -> Result<Option<O>, P>,
    run: impl FnOnce(&O) -> Result<(), E>,
) -> ExitCode {
    let options = match parse(lexopt::Parser::from_env()) {
        Ok(None) => {
            show(help);
            return ExitCode::SUCCESS;
        }
        Ok(Some(options)) => options,
        Err(error) => return refuse(name, &format_args!("{error} (--help shows the options)")),
    };
    match run(&options) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => refuse(name, &error),
    }
}

/// One line on standard error, and the exit code of bad input: 2.
pub fn refuse(name: &str, error: &dyn Display) -> ExitCode {
    complain(name, error);
    ExitCode::from(2)
}

/// One line on standard error, whatever the error's own line breaks.
pub fn complain(name: &str, error: &dyn Display) {
    let line = error.to_string();
    // Where nobody takes errors either, there is nothing left to say.
    let _ = writeln!(io::stderr(), "{name}: {}", line.split('\n').map(str::trim).collect::<Vec<_>>().join(" "));
}

/// Prints a text as it is, like `print!`; a reader who has seen enough is no error.
pub fn show(text: &str) {
    print(format_args!("{text}"));
}

/// Prints to standard output by way of [`Output`]; ends the program with exit code 2 where that fails, as on a full disk.
pub fn print(text: Arguments<'_>) {
    if let Err(error) = Output.write_fmt(text) {
        complain("cannot print", &error);
        std::process::exit(2);
    }
}

/// Prints a line, like `println!`; a reader who has seen enough (`| head`) is no error, and the program goes on in silence.
#[macro_export]
macro_rules! say {
    () => { $crate::program::print(format_args!("\n")) };
    ($($line:tt)*) => { $crate::program::print(format_args!("{}\n", format_args!($($line)*))) };
}

/// Standard output for which a reader who has seen enough is no error: what comes after goes nowhere.
#[derive(Debug, Clone, Copy, Default)]
pub struct Output;

impl Write for Output {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        unless_closed(io::stdout().write(bytes), bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        unless_closed(io::stdout().flush(), ())
    }
}

fn unless_closed<T>(written: io::Result<T>, all: T) -> io::Result<T> {
    match written {
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(all),
        other => other,
    }
}

/// The number after an option, which must lie in `range`.
///
/// # Errors
///
/// One line that names the option: no number there, or one outside the range.
pub fn number<T>(parser: &mut lexopt::Parser, option: &str, range: RangeInclusive<T>) -> Result<T, lexopt::Error>
where
    T: FromStr<Err: Display> + PartialOrd + Display,
{
    let given = parser.value()?;
    let (least, most) = (range.start(), range.end());
    let text = given.to_string_lossy();
    let value: T = text.parse().map_err(|error| format!("--{option} is '{text}': {error}"))?;
    if range.contains(&value) {
        Ok(value)
    } else {
        Err(format!("--{option} is {value}, it must be {least} to {most}").into())
    }
}

/// A progress bar over `length` things of a kind, on standard error, and only where that is a terminal.
#[must_use]
pub fn progress(length: u64, things: &str) -> ProgressBar {
    let bar = ProgressBar::new(length);
    match ProgressStyle::with_template(&format!("[{{bar:40}}] {{pos}}/{{len}} {things}, {{eta}} left {{msg}}")) {
        Ok(style) => bar.with_style(style.progress_chars("=> ")),
        Err(_) => bar,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_held_to_their_range() {
        let read = |text: &str| number(&mut lexopt::Parser::from_args([text]).skipped(), "blocks", 1..=1_000_u64);
        assert_eq!(read("--blocks=7").unwrap(), 7);
        assert_eq!(read("--blocks=1000").unwrap(), 1_000);
        for (text, part) in [
            ("--blocks=0", "--blocks is 0, it must be 1 to 1000"),
            ("--blocks=1001", "it must be 1 to 1000"),
            ("--blocks=-1", "--blocks is '-1'"),
            ("--blocks=many", "--blocks is 'many'"),
            ("--blocks=", "--blocks"),
            ("--blocks", "--blocks"),
        ] {
            let error = read(text).unwrap_err().to_string();
            assert!(error.contains(part) && !error.contains('\n'), "{text}: {error}");
        }
        let share = |text: &str| number(&mut lexopt::Parser::from_args([text]).skipped(), "rate", 0.0..=1.0);
        assert_eq!(share("--rate=0.25").unwrap(), 0.25);
        assert!(share("--rate=NaN").is_err() && share("--rate=1.5").is_err());
    }

    trait Skipped {
        fn skipped(self) -> Self;
    }

    impl Skipped for lexopt::Parser {
        /// Past the option, at its value.
        fn skipped(mut self) -> Self {
            self.next().unwrap();
            self
        }
    }

    #[test]
    fn a_reader_who_has_seen_enough_is_no_error() {
        let closed = || Err(ErrorKind::BrokenPipe.into());
        assert_eq!(unless_closed(closed(), 3).unwrap(), 3);
        assert_eq!(unless_closed(Ok(2), 3).unwrap(), 2);
        assert!(unless_closed(Err(ErrorKind::StorageFull.into()), 3).is_err());
    }
}
