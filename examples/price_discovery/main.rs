//! A price shock and the recovery from it: a load step and an impulse on one model, with the energy ledger, as text and as a chart.
//!
//! `cargo run --release --example price_discovery`

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;

use hanzo::hmm::market::Load;
use hanzo::hmm::{Config, MarketMaker};
use hanzo_examples::chart::{Band, Line, Lines};
use lexopt::ValueExt;

const HELP: &str = "\
usage: price_discovery [--shock J] [--load U] [--seconds N] [--svg FILE]
  --shock J     impulse on the log price of the second model after 10 s, in [-100, 100] (default 1.5)
  --load U      utilisation of that model from 10 s to 40 s, in [0, 1] (default 0.95)
  --seconds N   market time (default 90)
  --svg FILE    draws the prices there
";

/// Why the example stops.
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error("{0}\n\n{HELP}")]
    Usage(String),
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
    svg: Option<PathBuf>,
}

fn main() -> ExitCode {
    match options(std::env::args_os().skip(1)).and_then(|o| o.map_or_else(|| Ok(HELP.to_owned()), |o| play(&o))) {
        Ok(text) => {
            print!("{text}");
            ExitCode::SUCCESS
        }
        Err(failure) => {
            eprintln!("{failure}");
            ExitCode::FAILURE
        }
    }
}

/// `None` where only help was asked for.
fn options(arguments: impl IntoIterator<Item = OsString>) -> Result<Option<Options>, Failure> {
    let usage = |e: lexopt::Error| Failure::Usage(e.to_string());
    let mut parser = lexopt::Parser::from_args(arguments);
    let mut o = Options { shock: 1.5, load: 0.95, seconds: 90, svg: None };
    while let Some(argument) = parser.next().map_err(usage)? {
        use lexopt::Arg::{Long, Short};
        match argument {
            Long("help") | Short('h') => return Ok(None),
            Long("shock") => o.shock = parser.value().and_then(|v| v.parse()).map_err(usage)?,
            Long("load") => o.load = parser.value().and_then(|v| v.parse()).map_err(usage)?,
            Long("seconds") => o.seconds = parser.value().and_then(|v| v.parse()).map_err(usage)?,
            Long("svg") => o.svg = Some(parser.value().map_err(usage)?.into()),
            other => return Err(usage(other.unexpected())),
        }
    }
    if !(1..=86_400).contains(&o.seconds) {
        return Err(Failure::Usage("--seconds must be from 1 to 86,400".into()));
    }
    Ok(Some(o))
}

fn play(o: &Options) -> Result<String, Failure> {
    let market = MarketMaker::builder(Config::default()).build()?;
    let start = market.prices();
    let names: Vec<String> = market.models().iter().map(|m| m.id.clone()).collect();
    let mut tracks: Vec<Vec<(f64, f64)>> = vec![vec![(0.0, 1.0)]; start.len()];
    let mut out = String::from("  second  price of the shocked model    energy      work      heat  imbalance\n");
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
        for _ in 1..TICKS as u32 {
            report = market.tick(1.0 / TICKS, &[])?;
            largest = largest.max(report.imbalance.abs());
        }
        let ratios: Vec<f64> = market.prices().iter().zip(&start).map(|(now, before)| now / before).collect();
        for (track, ratio) in tracks.iter_mut().zip(&ratios) {
            track.push((f64::from(second), *ratio));
        }
        if second % 5 == 0 || second == 11 {
            let bar = "#".repeat((ratios[SHOCKED].min(3.0) * 8.0).round() as usize);
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
    if let Some(path) = &o.svg {
        let lines = names
            .into_iter()
            .zip(tracks)
            .map(|(name, points)| Line { name, points, steps: false, dashed: false })
            .collect();
        let chart = Lines {
            x_label: "market time, s".into(),
            y_label: "price over catalogue price".into(),
            lines,
            bands: vec![Band { from: 10.0, to: 40.0, kind: 0 }],
            band_names: vec!["under load".into()],
        };
        std::fs::write(path, chart.to_svg()).map_err(|e| Failure::File(path.display().to_string(), e))?;
    }
    Ok(out)
}

const SHOCKED: usize = 1;
/// Ticks a second.
const TICKS: f64 = 20.0;

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &[&str]) -> Result<Option<Options>, Failure> {
        options(line.iter().map(OsString::from))
    }

    #[test]
    fn the_price_rises_and_comes_back() {
        let svg = std::env::temp_dir().join("price_discovery_test.svg");
        let text = play(&Options { shock: 1.5, load: 0.95, seconds: 90, svg: Some(svg.clone()) }).unwrap();
        let last = text.lines().last().unwrap();
        let figure = |after: &str| {
            let tail = &last[last.find(after).unwrap() + after.len()..];
            tail.split_whitespace().next().unwrap().trim_end_matches([';', ',']).parse::<f64>().unwrap()
        };
        assert!(figure("peak") > 1.2, "{last}");
        assert!((figure("at the end") - 1.0).abs() < 0.02, "{last}");
        assert!(figure("within") < 1e-2, "{last}");
        assert!(std::fs::read_to_string(&svg).unwrap().starts_with("<svg"));
        std::fs::remove_file(svg).unwrap();
    }

    #[test]
    fn bad_input_is_an_error() {
        assert!(matches!(parse(&["--seconds", "0"]), Err(Failure::Usage(_))));
        assert!(matches!(parse(&["--shock", "much"]), Err(Failure::Usage(_))));
        let wild = parse(&["--shock", "1e9"]).unwrap().unwrap();
        assert!(matches!(play(&wild), Err(Failure::Market(_))));
        assert!(parse(&["--help"]).unwrap().is_none());
    }
}
