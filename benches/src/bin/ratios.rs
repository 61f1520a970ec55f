//! Prints one table of ratios from criterion's last results and from the lines that the peers' scripts print:
//! `cargo run --release -p hanzo-benches --bin ratios -- [--criterion DIR] [--peers FILE ...] [--into README.md]`.

use std::path::PathBuf;
use std::process::ExitCode;
use std::{env, fs};

use hanzo_benches::ratios::{criterion, lines, markdown, pairs};

const BEGIN: &str = "<!-- ratios: written by `ratios --into` -->\n";
const END: &str = "<!-- end of ratios -->\n";

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(reason) => {
            eprintln!("ratios: {reason}");
            ExitCode::from(2)
        }
    }
}

fn run() -> Result<(), String> {
    let (mut folder, mut into, mut peers) = (None, None, Vec::new());
    let mut arguments = env::args().skip(1);
    while let Some(argument) = arguments.next() {
        let mut value = || arguments.next().map(PathBuf::from).ok_or(format!("{argument} needs a value"));
        match argument.as_str() {
            "--criterion" => folder = Some(value()?),
            "--peers" => peers.push(value()?),
            "--into" => into = Some(value()?),
            "--help" => {
                println!(
                    "ratios [--criterion DIR] [--peers FILE ...] [--into FILE]\n\nDIR is target/criterion by default. FILE of --into keeps its text but for what stands between the two marks."
                );
                return Ok(());
            }
            other => return Err(format!("unknown argument {other}")),
        }
    }
    let target = env::var_os("CARGO_TARGET_DIR").map_or_else(|| PathBuf::from("target"), PathBuf::from);
    let folder = folder.unwrap_or_else(|| target.join("criterion"));
    let mut timings = criterion(&folder)
        .map_err(|e| format!("{}: {e}; run `cargo bench -p hanzo-benches` first", folder.display()))?;
    for file in peers {
        let text = fs::read_to_string(&file).map_err(|e| format!("{}: {e}", file.display()))?;
        timings.extend(lines(&text).map_err(|line| format!("{}: line {line} is not a peer's", file.display()))?);
    }
    let ratios = pairs(&timings);
    if ratios.is_empty() {
        return Err("nothing was timed beside a peer".to_owned());
    }
    let table = markdown(&ratios);
    print!("{table}");
    if let Some(file) = into {
        let text = fs::read_to_string(&file).map_err(|e| format!("{}: {e}", file.display()))?;
        let marks = text.find(BEGIN).and_then(|begin| Some((begin + BEGIN.len(), text.find(END)?)));
        let (begin, end) = marks
            .filter(|(begin, end)| begin <= end)
            .ok_or(format!("{}: the two marks are not there", file.display()))?;
        let new = format!("{}\n{table}\n{}", &text[..begin], &text[end..]);
        fs::write(&file, new).map_err(|e| format!("{}: {e}", file.display()))?;
    }
    Ok(())
}
