//! One job's whole life, two thousand times: every crate of the SDK at its real work, in one process.
//!
//! A request comes in; the market detects its regime, routes it and quotes a price; the price goes into escrow; the key broker releases
//! the tenant's key to an attested worker; the worker computes with the tenant's 1-bit adapter on a shared base; its use is metered; it
//! signs an attestation; a beacon draws jobs that verifiers compute again; what is settled or slashed becomes final in a block that the
//! validators agree on; money moves; the library records what was learned and the router learns from the outcome.
//!
//! ```text
//! cargo run --release --example job_lifecycle
//! cargo run --release --example job_lifecycle -- --trace azure_llm_2023_code.csv.gz --report report
//! ```
//!
//! What is played: arrival times and token counts come from a real trace or a model fitted to two; texts do not exist in traces, so
//! requests name their tenant and sizes in words. Time is the trace's: a worker is busy for as long as its level's speed says.
//! The network that workers run is small (163,840 weights), its arithmetic real: one forward pass stands for up to 32 tokens of an
//! answer or 2,048 of a prompt. Machines prove themselves with software evidence, which proves a key and not a machine.

mod audit;
mod bank;
mod clocks;
mod custody;
mod market;
mod memory;
mod network;
mod options;
mod party;
mod report;
mod settlement;
mod simulation;
mod summary;
mod worker;

use std::path::Path;
use std::process::ExitCode;
use std::time::Instant;

use hanzo_examples::arrivals::Arrivals;
use hanzo_examples::trace::{Request, Trace};
use hanzo_examples::{page, program, say};
use options::{HELP, Options};

/// Whatever goes wrong, in words.
pub(crate) type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

fn main() -> ExitCode {
    // What the run itself says, beside whether it could be done at all.
    let mut defects = Vec::new();
    let code =
        program::main("job_lifecycle", HELP, Options::parse, |options| run(options).map(|found| defects = found));
    if defects.is_empty() {
        return code;
    }
    program::complain("job_lifecycle", &defects.join("; "));
    ExitCode::FAILURE
}

/// Everything; returns what is wrong with the result.
fn run(options: &Options) -> Result<Vec<String>> {
    let requests = input(options)?;
    // Before the work, so that a folder that cannot be made costs no time.
    if let Some(folder) = &options.report {
        std::fs::create_dir_all(folder).map_err(|error| format!("cannot write to {}: {error}", folder.display()))?;
    }
    play(options, &requests)
}

/// The requests to play.
fn input(options: &Options) -> Result<Vec<Request>> {
    match &options.trace {
        Some(path) => {
            let mut requests = Trace::read(path)?.requests().to_vec();
            requests.truncate(options.requests.unwrap_or(usize::MAX));
            Ok(requests)
        }
        None => {
            let count = options.requests.unwrap_or(Options::DEFAULT_REQUESTS);
            Ok(Arrivals::embedded()?.generate(count, options.seed))
        }
    }
}

/// Plays, prints the table, writes the report; returns what is wrong with the result.
fn play(options: &Options, requests: &[Request]) -> Result<Vec<String>> {
    let started = Instant::now();
    let bar = program::progress(requests.len() as u64, "requests");
    let simulation = simulation::Simulation::new(options, requests)?;
    let (summary, clocks) = simulation.run(requests, |done| bar.set_position(done as u64))?;
    bar.finish_and_clear();
    let table = summary.table(&clocks, started.elapsed().as_secs_f64());
    program::show(&table);
    if let Some(folder) = &options.report {
        write_report(folder, &summary, &table)?;
        say!("Report\n  {}\n  {}", folder.join("report.html").display(), folder.join("result.json").display());
    }
    Ok(summary.defects())
}

fn write_report(folder: &Path, summary: &summary::Summary, table: &str) -> Result<()> {
    let mut json = serde_json::to_string_pretty(summary)?;
    json.push('\n');
    page::write(folder, "result.json", &json)?;
    page::write(folder, "report.html", &report::html(summary, table))?;
    Ok(())
}
