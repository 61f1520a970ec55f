//! Figures to choose an audit policy by.
//!
//! Simulated: detection, overhead and false convictions of uniform, screened, escalated and weighted rules. Measured, from
//! files: false-positive and detection curves of each comparator and element type. `--help` lists the options.

mod curves;
mod network;
mod options;
mod rules;

use std::path::Path;
use std::process::ExitCode;

use hanzo_examples::chart::escape;
use options::{HELP, Options};

/// One line for the user.
pub(crate) type Result<T, E = Box<dyn std::error::Error>> = std::result::Result<T, E>;

fn main() -> ExitCode {
    let done = match options::parse(lexopt::Parser::from_env()) {
        Ok(None) => {
            print!("{HELP}");
            Ok(())
        }
        Ok(Some(options)) => run(&options),
        Err(error) => Err(format!("{error} (--help shows the options)").into()),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("audit_figures: {error}");
            ExitCode::from(2)
        }
    }
}

fn run(options: &Options) -> Result<()> {
    let mut measured = Vec::new();
    if let Some(path) = &options.responses {
        measured.push(("Measured responses", curves::from_responses(path)?));
    }
    if let Some(path) = &options.network {
        measured.push((
            "A network, 300 responses of 32 inputs, two honest orders of summation",
            curves::from_network(path, options.seed)?,
        ));
    }
    let rules::Figures { mut text, mut charts } = rules::figures(options.workers, options.seed)?;
    for (title, measured) in &measured {
        text += &curves::table(title, measured)?;
        charts.extend(curves::charts(measured)?);
    }
    print!("{text}");
    if let Some(folder) = &options.report {
        write(folder, &text, &charts)?;
        println!("\nwrote {}", folder.join("figures.html").display());
    }
    Ok(())
}

fn write(folder: &Path, text: &str, charts: &[(String, String)]) -> Result<()> {
    let mut page = String::from(HEAD);
    for (title, chart) in charts {
        page += &format!("<h2>{}</h2>{chart}", escape(title));
    }
    page += &format!("<h2>All figures</h2><pre>{}</pre></body></html>", escape(text));
    std::fs::create_dir_all(folder).map_err(|error| format!("{}: {error}", folder.display()))?;
    let file = folder.join("figures.html");
    std::fs::write(&file, page).map_err(|error| format!("{}: {error}", file.display()).into())
}

const HEAD: &str = "<!DOCTYPE html><html lang='en'><head><meta charset='utf-8'><title>audit_figures</title><style>\
body{font:15px/1.5 system-ui,sans-serif;max-width:900px;margin:2rem auto;padding:0 1rem;color:#222;background:#fff}\
h1{font-size:1.5rem;margin-bottom:0}h2{font-size:1.1rem;margin:2rem 0 0}p{margin:.25rem 0 .75rem;color:#555}\
svg{width:100%;height:auto}svg text{font:12px system-ui,sans-serif;fill:#444}.grid{stroke:#ddd;stroke-width:1}\
pre{font-size:12px;line-height:1.45;overflow-x:auto;background:#f6f6f6;padding:1rem}</style></head><body>\
<h1>audit_figures</h1>";
