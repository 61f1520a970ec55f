//! A price shock and the recovery from it: a load step and an impulse on one model, with the energy ledger, as text and as a chart.
//!
//! `cargo run --release --example price_discovery`

use std::path::PathBuf;
use std::process::ExitCode;

use hanzo::hmm::market::Load;
use hanzo::hmm::{Config, MarketMaker};
use hanzo_examples::chart::{Band, Line, Lines};
use hanzo_examples::page::Page;
use hanzo_examples::program;
use lexopt::prelude::*;

const HELP: &str = "\
One model's price under a step of load and an impulse: how far it moves, how it comes back, where the energy goes.

Usage: cargo run --release --example price_discovery -- [OPTIONS]

Options:
  --shock J       impulse on the log price of the second model after 10 s, -100 to 100 [default: 1.5]
  --load U        utilisation of that model from 10 s to 40 s, 0 to 1 [default: 0.95]
  --seconds N     market time [default: 90]
  --report FILE   write an HTML page with prices and energies drawn
  --help          print this
";

/// Why the example stops.
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error("{0}: {1}")]
    File(String, std::io::Error),
    #[error("{0}")]
    Market(#[from] hanzo::hmm::Error),
}

#[derive(Debug, Clone)]
struct Options {
    shock: f64,
    load: f64,
    seconds: u32,
    report: Option<PathBuf>,
}

fn main() -> ExitCode {
    program::main("price_discovery", HELP, options, |options| play(options).map(|text| program::show(&text)))
}

/// `None` where only help was asked for.
fn options(mut parser: lexopt::Parser) -> Result<Option<Options>, lexopt::Error> {
    let mut o = Options { shock: 1.5, load: 0.95, seconds: 90, report: None };
    while let Some(argument) = parser.next()? {
        match argument {
            Long("help") | Short('h') => return Ok(None),
            Long("shock") => o.shock = parser.value()?.parse()?,
            Long("load") => o.load = parser.value()?.parse()?,
            Long("seconds") => o.seconds = program::number(&mut parser, "seconds", 1..=86_400)?,
            Long("report") => o.report = Some(parser.value()?.into()),
            other => return Err(other.unexpected()),
        }
    }
    Ok(Some(o))
}

fn play(o: &Options) -> Result<String, Failure> {
    let market = MarketMaker::builder(Config::default()).build()?;
    let start = market.prices();
    let names: Vec<String> = market.models().iter().map(|m| m.id.clone()).collect();
    let mut tracks: Vec<Vec<(f64, f64)>> = vec![vec![(0.0, 1.0)]; start.len()];
    let mut out = String::from("  second  price of the shocked model    energy      work      heat  imbalance\n");
    let mut ledger: Vec<Track> =
        ["energy", "work done from outside", "heat"].map(|name| (name.to_owned(), vec![(0.0, 0.0)])).into();
    let mut largest = 0.0f64;
    for second in 1..=o.seconds {
        let mut loads = vec![Load::default(); start.len()];
        if (11..=40).contains(&second) {
            loads[SHOCKED].utilisation = o.load;
        }
        if second == 11 {
            loads[SHOCKED].shock = o.shock;
        }
        // Short ticks keep the error of the integration small; the impulse belongs to the first.
        let mut report = market.tick(1.0 / TICKS, &loads)?;
        largest = largest.max(report.imbalance.abs());
        for _ in 1..TICKS as u32 {
            report = market.tick(1.0 / TICKS, &[])?;
            largest = largest.max(report.imbalance.abs());
        }
        let ratios: Vec<f64> = market.prices().iter().zip(&start).map(|(now, before)| now / before).collect();
        for (track, ratio) in tracks.iter_mut().zip(&ratios) {
            track.push((f64::from(second), *ratio));
        }
        for ((_, track), value) in ledger.iter_mut().zip([report.energy, report.work, report.heat]) {
            track.push((f64::from(second), value));
        }
        if second % 5 == 0 || second == 11 {
            let bar = "#".repeat((ratios[SHOCKED].min(6.0) * 4.0).round() as usize);
            out.push_str(&format!(
                "{second:>8}  {:>5.3} {bar:<24}{:>9.5}{:>10.5}{:>10.5}{:>11.1e}\n",
                ratios[SHOCKED], report.energy, report.work, report.heat, report.imbalance
            ));
        }
    }
    let peak = tracks[SHOCKED].iter().fold(0.0f64, |top, p| top.max(p.1));
    let last = tracks[SHOCKED].last().map_or(1.0, |p| p.1);
    out.push_str(&format!("\n{}: peak {peak:.3} times its price, at the end {last:.3}; ", names[SHOCKED]));
    out.push_str(&format!("energy - work + heat stayed within {largest:.1e} of its start\n"));
    if let Some(path) = &o.report {
        let page = page(names.into_iter().zip(tracks).collect(), ledger, &out);
        std::fs::write(path, page).map_err(|e| Failure::File(path.display().to_string(), e))?;
    }
    Ok(out)
}

/// Points over market time, with their name.
type Track = (String, Vec<(f64, f64)>);

/// Both charts and the text.
fn page(prices: Vec<Track>, ledger: Vec<Track>, text: &str) -> String {
    let chart = |label: &str, tracks: Vec<Track>| {
        let line = |(name, points): Track| Line { name, points, steps: false, dashed: false };
        Lines {
            x_label: "market time, s".into(),
            y_label: label.into(),
            lines: tracks.into_iter().map(line).collect(),
            bands: vec![Band { from: 10.0, to: 40.0, kind: 0 }],
            band_names: vec!["under load".into()],
        }
        .to_svg()
    };
    Page::new("A price shock and the recovery")
        .element(&chart("price over catalogue price", prices))
        .chart("Where the energy goes", &chart("energy units", ledger))
        .with_figures(text)
}

const SHOCKED: usize = 1;
/// Ticks a second.
const TICKS: f64 = 20.0;

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &[&str]) -> Result<Option<Options>, lexopt::Error> {
        options(lexopt::Parser::from_args(line))
    }

    #[test]
    fn the_price_rises_and_comes_back() {
        let file = std::env::temp_dir().join("price_discovery_test.html");
        let text = play(&Options { shock: 1.5, load: 0.95, seconds: 90, report: Some(file.clone()) }).unwrap();
        let last = text.lines().last().unwrap();
        let figure = |after: &str| {
            let tail = &last[last.find(after).unwrap() + after.len()..];
            tail.split_whitespace().next().unwrap().trim_end_matches([';', ',']).parse::<f64>().unwrap()
        };
        assert!(figure("peak") > 1.2, "{last}");
        assert!((figure("at the end") - 1.0).abs() < 0.02, "{last}");
        assert!(figure("within") < 1e-2, "{last}");
        assert_eq!(std::fs::read_to_string(&file).unwrap().matches("<svg").count(), 2);
        std::fs::remove_file(file).unwrap();
    }

    #[test]
    fn bad_input_is_an_error() {
        assert!(parse(&["--seconds", "0"]).is_err());
        assert!(parse(&["--shock", "much"]).is_err());
        let wild = parse(&["--shock", "1e9"]).unwrap().unwrap();
        assert!(matches!(play(&wild), Err(Failure::Market(_))));
        assert!(parse(&["--help"]).unwrap().is_none());
    }
}
