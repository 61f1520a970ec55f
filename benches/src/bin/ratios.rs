//! Prints one table of ratios from criterion's last results and from the lines that the peers' scripts print; `--help` says how. `benches/run` calls it.

use std::path::PathBuf;
use std::process::ExitCode;
use std::{env, fs, io};

use hanzo_benches::ratios::{criterion, lines, listed, markdown, pairs, strays};

const HELP: &str = "\
One table of ratios: ours beside each peer that did the same work.

ratios [--criterion DIR] [--peers FILE ...] [--note TEXT] [--into FILE]
ratios --ids

  --criterion DIR   criterion's results [default: criterion/ in the target folder]
  --peers FILE      JSON lines that a peer's script printed
  --note TEXT       a line above the table: machine, date, settings
  --into FILE       writes the table between the two marks of this file, which keeps its other text
  --ids             reads what `cargo bench -- --list` prints, and fails where a peer would stand beside none of ours
";

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
    let (mut folder, mut into, mut note, mut peers) = (None, None, None, Vec::new());
    let mut arguments = env::args().skip(1);
    while let Some(argument) = arguments.next() {
        let mut value = || arguments.next().ok_or(format!("{argument} needs a value"));
        match argument.as_str() {
            "--criterion" => folder = Some(PathBuf::from(value()?)),
            "--peers" => peers.push(PathBuf::from(value()?)),
            "--note" => note = Some(value()?),
            "--into" => into = Some(PathBuf::from(value()?)),
            "--ids" => return ids(),
            "--help" => {
                print!("{HELP}");
                return Ok(());
            }
            other => return Err(format!("unknown argument {other} (--help shows the options)")),
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
    for peer in strays(&timings) {
        eprintln!("beside nothing of ours: {peer}");
    }
    let table = markdown(&ratios);
    let table = note.map_or_else(|| table.clone(), |note| format!("{note}\n\n{table}"));
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

/// Every benchmark of a list has its place in the table.
fn ids() -> Result<(), String> {
    let text = io::read_to_string(io::stdin()).map_err(|e| format!("standard input: {e}"))?;
    let all = listed(&text);
    let (count, alone) = (pairs(&all).len(), strays(&all));
    if all.is_empty() {
        return Err("no benchmark in the list".to_owned());
    }
    println!("{} benchmarks, {count} rows of ratios", all.len());
    if alone.is_empty() { Ok(()) } else { Err(format!("beside nothing of ours: {}", alone.join("; "))) }
}
