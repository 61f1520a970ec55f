//! Both consensus tracks between processes: validators over TCP on the loopback interface, each with a file, one of them killed under
//! load and begun again. `--help` lists the options.

mod keys;
mod lines;
mod links;
mod options;
mod trial;
mod validator;

use std::io;
use std::process::ExitCode;

use hanzo::snow::SetError;
use hanzo::snow::settlement::ReplicaError;
use hanzo_examples::program;
use hanzo_snow::RedbStoreError;

use options::{Command, HELP};

/// Why nothing came of it, in one line.
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error("{0}")]
    Usage(String),
    #[error("keys: {0}")]
    Keys(#[from] hanzo::pqc::Error),
    #[error("validators: {0}")]
    Set(#[from] SetError),
    #[error(transparent)]
    Store(#[from] RedbStoreError),
    #[error("consensus: {0}")]
    Consensus(#[from] ReplicaError),
    #[error("input or output: {0}")]
    Io(#[from] io::Error),
    #[error("validator {position}: {what}")]
    Wrong { position: usize, what: String },
}

fn main() -> ExitCode {
    program::main("dual_track_tcp", HELP, options::parse, |command| match command {
        Command::Trial(options) => trial::run(options).map(|text| program::show(&text)),
        Command::Validator(options) => validator::run(options),
    })
}
