//! The command line.

use std::error::Error;
use std::path::PathBuf;
use std::time::Duration;

use hanzo::metering::Basis;
use hanzo_examples::program;
use hanzo_metering::Currency;
use lexopt::prelude::{Long, Short, ValueExt as _};

use crate::work::Work;

pub(crate) const HELP: &str = "\
Meters this machine while three child processes work (one hashes, one multiplies matrices now and then, one fills a cache), and
bills it. Processor time and memory are read from /proc, so this runs on Linux.

Usage: cargo run --release --example bill_a_day -- [OPTIONS]

Options:
  --seconds N       how long to work and meter; a day has 86400 [default: 24]
  --interval-ms N   how often to read the meters [default: 200]
  --basis WORD      what is billed: reserved, used or max [default: used]
  --price N         base units per CU-hour; a base unit is a billionth of a token [default: 1250000]
  --currency CODE   ISO 4217 code of the FOCUS files, a token being one of it [default: USD]
  --report DIR      write bill.html, focus_1_0.csv, focus_1_2.csv and journal.bin into DIR
  --help            print this
";

#[derive(Debug)]
pub(crate) struct Options {
    pub(crate) length: Duration,
    pub(crate) interval: Duration,
    pub(crate) basis: Basis,
    pub(crate) price: u128,
    pub(crate) currency: String,
    pub(crate) report: Option<PathBuf>,
}

/// What this process is to do.
#[derive(Debug)]
pub(crate) enum Mode {
    Worker(Work),
    Bill(Options),
}

/// What the arguments ask for; `None` where that is help.
pub(crate) fn parse(mut parser: lexopt::Parser) -> Result<Option<Mode>, Box<dyn Error>> {
    let mut options = Options {
        length: Duration::from_secs(24),
        interval: Duration::from_millis(200),
        basis: Basis::Used,
        price: 1_250_000,
        currency: "USD".into(),
        report: None,
    };
    while let Some(arg) = parser.next()? {
        match arg {
            Long("seconds") => {
                options.length = Duration::from_secs(program::number(&mut parser, "seconds", 1..=31 * 86_400)?)
            }
            Long("interval-ms") => {
                options.interval = Duration::from_millis(program::number(&mut parser, "interval-ms", 10..=60_000)?)
            }
            Long("basis") => {
                options.basis = match parser.value()?.string()?.as_str() {
                    "reserved" => Basis::Reserved,
                    "used" => Basis::Used,
                    "max" => Basis::MaxOfBoth,
                    other => return Err(format!("basis {other:?} is not reserved, used or max").into()),
                }
            }
            Long("price") => options.price = parser.value()?.parse()?,
            Long("currency") => options.currency = parser.value()?.string()?,
            Long("report") => options.report = Some(parser.value()?.into()),
            Long("worker") => {
                let name = parser.value()?.string()?;
                let work = Work::from_name(&name).ok_or_else(|| format!("no work is named {name:?}"))?;
                return Ok(Some(Mode::Worker(work)));
            }
            Long("help") | Short('h') => return Ok(None),
            other => return Err(other.unexpected().into()),
        }
    }
    Currency::new(&options.currency).map_err(|e| format!("{:?}: {e}", options.currency))?;
    if options.report.as_ref().is_some_and(|folder| folder.exists() && !folder.is_dir()) {
        return Err("--report names a file".into());
    }
    Ok(Some(Mode::Bill(options)))
}
