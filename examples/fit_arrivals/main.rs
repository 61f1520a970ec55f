//! Fits the embedded arrival model of the examples; `--help` says how to call it.

mod fit;
mod options;
mod start;
mod table;

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use hanzo::hmm::{self, Rows};
use hanzo_examples::arrivals::{Arrivals, ArrivalsError, Limits, Origin, features};
use hanzo_examples::program;
use hanzo_examples::trace::{Kind, Trace, TraceError};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

use crate::options::{HELP, Options, file_name};
use crate::start::Starts;

fn main() -> ExitCode {
    program::main("fit_arrivals", HELP, Options::parse, |options| run(options, &mut program::Output))
}

/// Why there is no model, in one line.
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error("{0}")]
    Trace(#[from] TraceError),
    #[error("{requests} complete requests are too few for {states} states, at least {} each", ROWS_A_STATE)]
    TooFew { requests: usize, states: usize },
    #[error("cannot fit: {0}")]
    Fit(#[from] hmm::Error),
    #[error("cannot write the model: {0}")]
    Model(#[from] ArrivalsError),
    #[error("cannot write {}: {source}", path.display())]
    Write { path: PathBuf, source: io::Error },
    #[error("cannot print: {0}")]
    Print(#[from] io::Error),
}

fn run(options: &Options, out: &mut impl Write) -> Result<(), Failure> {
    check_out(&options.out)?;
    let traces: Vec<Trace> = options.traces.iter().map(|path| Trace::read(path)).collect::<Result<_, _>>()?;
    for (path, trace) in options.traces.iter().zip(&traces) {
        writeln!(out, "{}: {} requests", file_name(path), trace.requests().len())?;
    }

    let mut rng = ChaCha8Rng::seed_from_u64(options.seed);
    let data: Vec<Vec<f64>> = traces.iter().map(|trace| features(trace.requests(), &mut rng)).collect();
    let sequences = data.iter().map(|data| Ok(Rows::new(data, 3)?.with_missing())).collect::<hmm::Result<Vec<_>>>()?;
    let fits = fit_all(options, &sequences, &data.concat())?;
    let lowest = fits.iter().enumerate().min_by(|a, b| a.1.bic.total_cmp(&b.1.bic));
    let Some((chosen, best)) = lowest else { return Err(hmm::Error::NoData.into()) };
    let model = fit::written(&best.model)?;

    writeln!(out)?;
    table::fits(out, &fits, chosen, traces.iter().map(|trace| trace.requests().len()).sum())?;
    writeln!(out)?;
    table::regimes(out, &model, &traces, &sequences)?;

    let origins = options.traces.iter().zip(&traces).map(|(path, trace)| origin(path, trace)).collect();
    let text = Arrivals::new(model, limits(&traces), origins, options.command())?.to_json()?;
    replace(&options.out, &text).map_err(|source| Failure::Write { path: options.out.clone(), source })?;
    writeln!(out, "\nwrote {}", options.out.display())?;
    Ok(())
}

fn fit_all(options: &Options, sequences: &[Rows<'_>], data: &[f64]) -> Result<Vec<fit::Fit>, Failure> {
    let starts = Starts::new(data, fit::FLOOR, options.seed);
    let (requests, states) = (starts.len(), *options.states().end());
    if requests < ROWS_A_STATE * states {
        return Err(Failure::TooFew { requests, states });
    }
    let bar = program::progress((options.states().count() * options.starts) as u64, "starts");
    let fits = options.states().map(|states| {
        bar.set_message(format!("{states} states"));
        Ok(fit::best(sequences, &starts, states, options.starts, || bar.inc(1))?)
    });
    let fits = fits.collect();
    bar.finish_and_clear();
    fits
}

fn origin(path: &Path, trace: &Trace) -> Origin {
    let (source, licence) = match trace.kind() {
        Kind::Azure2023 => (
            "Azure LLM inference traces 2023, github.com/Azure/AzurePublicDataset; Patel et al., Splitwise, ISCA 2024",
            "CC-BY 4.0",
        ),
        Kind::Mooncake => {
            ("Mooncake traces, github.com/kvcache-ai/Mooncake; Qin et al., Mooncake, FAST 2025", "Apache-2.0")
        }
    };
    let requests = trace.requests().len();
    Origin { file: file_name(path), requests, source: source.into(), licence: licence.into() }
}

/// The largest values of the traces; at least one token, which is the least that is generated.
fn limits(traces: &[Trace]) -> Limits {
    let requests = || traces.iter().flat_map(Trace::requests);
    let gaps = traces.iter().flat_map(|trace| trace.requests().windows(2).map(|pair| pair[1].at_ms - pair[0].at_ms));
    Limits {
        gap_ms: gaps.max().unwrap_or(0),
        tokens_in: requests().map(|request| request.tokens_in).fold(1, u32::max),
        tokens_out: requests().map(|request| request.tokens_out).fold(1, u32::max),
    }
}

/// Finds a bad place before the work rather than after it.
fn check_out(path: &Path) -> Result<(), Failure> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let kind = if path.is_dir() {
        io::ErrorKind::IsADirectory
    } else if !folder.is_dir() {
        io::ErrorKind::NotFound
    } else {
        return Ok(());
    };
    Err(Failure::Write { path: path.to_owned(), source: kind.into() })
}

/// Writes all of `text` or leaves the file as it was.
fn replace(path: &Path, text: &str) -> io::Result<()> {
    let mut name = path.as_os_str().to_owned();
    name.push(".part");
    let part = PathBuf::from(name);
    let written = std::fs::write(&part, text).and_then(|()| std::fs::rename(&part, path));
    if written.is_err() {
        // The first error is the one to tell.
        let _ = std::fs::remove_file(&part);
    }
    written
}

/// Complete observations that a state needs at least.
const ROWS_A_STATE: usize = 10;

#[cfg(test)]
mod tests {
    use std::ffi::OsStr;

    use super::*;

    /// A folder of its own, removed at the end.
    struct Folder(PathBuf);

    impl Folder {
        fn new(name: &str) -> Self {
            let path = std::env::temp_dir().join(format!("hanzo-fit-arrivals-{name}-{}", std::process::id()));
            std::fs::create_dir_all(&path).unwrap();
            Self(path)
        }

        fn file(&self, name: &str, text: &str) -> PathBuf {
            std::fs::write(self.0.join(name), text).unwrap();
            self.0.join(name)
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            let _ = std::fs::remove_dir_all(&self.0);
        }
    }

    fn call(arguments: &[&dyn AsRef<OsStr>]) -> Result<String, Box<dyn std::error::Error>> {
        let options = Options::parse(lexopt::Parser::from_args(arguments.iter().map(|argument| argument.as_ref())))?;
        let mut out = Vec::new();
        run(&options.unwrap(), &mut out)?;
        Ok(String::from_utf8(out).unwrap())
    }

    /// Twenty short requests, twenty long ones, and so on.
    fn rows(n: u64) -> String {
        let row = |i: u64| match i / 20 % 2 {
            0 => format!("{},{},{}\n", i * 50, 100 + i % 7, 10 + i % 3),
            _ => format!("{},{},{}\n", i * 50 + 20, 3000 + i % 500, 400 + i % 90),
        };
        format!("timestamp_ms,input_length,output_length\n{}", (0..n).map(row).collect::<String>())
    }

    #[test]
    fn the_same_call_writes_the_same_model() {
        let folder = Folder::new("same");
        let trace = folder.file("t.csv", &rows(200));
        let mut texts = Vec::new();
        for name in ["a.json", "b.json"] {
            let out = folder.0.join(name);
            let printed = call(&[&"--out", &out, &"--states", &"2", &"--starts", &"3", &trace]).unwrap();
            assert!(printed.contains("t.csv: 200 requests") && printed.contains("<- lowest BIC"), "{printed}");
            texts.push(std::fs::read_to_string(out).unwrap());
        }
        // Only the name of the file itself differs.
        assert_eq!(texts[0], texts[1].replace("b.json", "a.json"));
        let arrivals = Arrivals::from_json(&texts[0]).unwrap();
        assert_eq!(arrivals.to_json().unwrap(), texts[0]);
        assert_eq!((arrivals.traces()[0].requests, arrivals.limits().tokens_out), (200, 479));
        assert!(!texts[0].contains(folder.0.to_str().unwrap()));
        assert_eq!(std::fs::read_dir(&folder.0).unwrap().count(), 3);
    }

    #[test]
    fn bad_input_is_one_line_and_writes_nothing() {
        let folder = Folder::new("bad");
        let good = folder.file("good.csv", &rows(200));
        let header = folder.file("header.csv", "a,b,c\n1,2,3\n");
        let few = folder.file("few.csv", &rows(30));
        let (out, missing) = (folder.0.join("out.json"), folder.0.join("missing.csv"));
        let cases: [(&[&dyn AsRef<OsStr>], &str); 7] = [
            (&[&"--out", &out, &missing], "cannot read"),
            (&[&"--out", &out, &good, &header], "unknown header `a,b,c`"),
            (&[&"--out", &out, &"--states", &"0", &good], "--states is 0"),
            (&[&"--out", &out, &few], "29 complete requests are too few for 8 states"),
            (&[&"--out", &out], "no trace given"),
            (&[&"--out", &missing.join("out.json"), &good], "cannot write"),
            (&[&"--out", &folder.0, &good], "cannot write"),
        ];
        for (arguments, part) in cases {
            let error = call(arguments).unwrap_err().to_string();
            assert!(error.contains(part) && !error.contains('\n'), "{error}");
        }
        assert_eq!(std::fs::read_dir(&folder.0).unwrap().count(), 3);
    }
}
