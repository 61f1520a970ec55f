//! Figures to choose an audit policy by.
//!
//! Simulated: detection, overhead and false convictions of uniform, screened, escalated and weighted rules. Measured, from
//! files: false-positive and detection curves of each comparator and element type. `--help` lists the options.

mod curves;
mod network;
mod options;
mod rules;

use std::process::ExitCode;

use hanzo_examples::page::{self, Page};
use hanzo_examples::{program, say};
use options::{HELP, Options};

/// One line for the user.
pub(crate) type Result<T, E = Box<dyn std::error::Error>> = std::result::Result<T, E>;

fn main() -> ExitCode {
    program::main("audit_figures", HELP, options::parse, run)
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
        charts.extend(curves::charts(title.split(',').next().unwrap_or(title), measured)?);
    }
    program::show(&text);
    if let Some(folder) = &options.report {
        let page = Page::new("audit_figures").text(
            "Charts of comparators show how many cheating runs are flagged over how many honest ones. Where all of the former are flagged and none \
             of the latter, a curve lies on the left and upper edge, over those before it.",
        );
        let page = charts.iter().fold(page, |page, (title, svg)| page.chart(title, svg));
        let file = page::write(folder, "figures.html", &page.with_figures(&text))?;
        say!("\nwrote {}", file.display());
    }
    Ok(())
}
