//! Regimes of a series of numbers: a column of a CSV file in, fitted regimes and a picture out.
//!
//! Models with 1, 2, 3, .. states are trained from several starts each; the one with the lowest Bayesian information
//! criterion says when which regime reigned. `--help` lists the options.

mod options;
mod series;

use std::error::Error;
use std::fmt::Write as _;
use std::path::Path;
use std::process::ExitCode;

use hanzo::hmm::{BaumWelch, Emission, GaussianDiag, Hmm, Initial, Observations, Poisson, Transitions};
use hanzo_examples::chart::{Band, Bar, Line, Lines, bars};
use hanzo_examples::page::{self, Page};
use hanzo_examples::{program, say};
use indicatif::{ProgressBar, ProgressStyle};

use options::{HELP, Options};
use series::Series;

/// One state of the chosen model.
struct Regime {
    mean: f64,
    deviation: f64,
    /// Expected steps of a visit.
    dwell: f64,
    /// Share of the steps.
    share: f64,
}

/// What came out.
struct Outcome {
    /// BIC and log-likelihood of 1, 2, .. states.
    scores: Vec<(f64, f64)>,
    regimes: Vec<Regime>,
    /// Most likely regime of every step.
    path: Vec<usize>,
    transitions: Vec<Vec<f64>>,
}

fn main() -> ExitCode {
    program::main("hmm_regimes", HELP, options::parse, run)
}

fn run(options: &Options) -> Result<(), Box<dyn Error>> {
    let mut series = match &options.csv {
        Some(path) => series::read(path, options.column.as_deref())?,
        None => series::drawn(options.seed)?,
    };
    if options.differences {
        series = series::differences(series);
    }
    let outcome = if options.counts { counts(&series, options)? } else { numbers(&series, options)? };
    program::show(&summary(&series, &outcome));
    if let Some(folder) = &options.report {
        let file = write_report(folder, &series, &outcome)?;
        say!("\nwrote {}", file.display());
    }
    Ok(())
}

/// Gaussian regimes.
fn numbers(series: &Series, options: &Options) -> Result<Outcome, Box<dyn Error>> {
    let known: Vec<f64> = series.values.iter().flatten().copied().collect();
    let mean = known.iter().sum::<f64>() / known.len().max(1) as f64;
    let variance = known.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / known.len().max(1) as f64;
    let mut sorted = known;
    sorted.sort_by(f64::total_cmp);
    let rows: Vec<Option<[f64; 1]>> = series.values.iter().map(|x| x.map(|x| [x])).collect();
    let steps: Vec<Option<&[f64]>> = rows.iter().map(|x| x.as_ref().map(|x| &x[..])).collect();
    let start = |k: usize| {
        let means = (0..k).map(|i| vec![quantile(&sorted, i, k)]).collect();
        GaussianDiag::new(means, vec![vec![variance.max(1e-12)]; k])
    };
    search(&steps, options, start, |model, state| (model.means()[state], model.variances()[state].sqrt()))
}

/// Poisson regimes.
fn counts(series: &Series, options: &Options) -> Result<Outcome, Box<dyn Error>> {
    let whole = |x: f64| (x >= 0.0 && x.fract() == 0.0 && x < 9e15).then_some(x as u64);
    let rows = series.values.iter().map(|x| match x {
        None => Ok(None),
        Some(x) => whole(*x).map(|x| Some([x])).ok_or_else(|| format!("{x} is not a count")),
    });
    let rows = rows.collect::<Result<Vec<_>, _>>()?;
    let mut sorted: Vec<f64> = series.values.iter().flatten().copied().collect();
    sorted.sort_by(f64::total_cmp);
    let steps: Vec<Option<&[u64]>> = rows.iter().map(|x| x.as_ref().map(|x| &x[..])).collect();
    let start = |k: usize| Poisson::new((0..k).map(|i| vec![quantile(&sorted, i, k) + 0.5]).collect());
    search(&steps, options, start, |model, state| (model.rates()[state], model.rates()[state].sqrt()))
}

/// The middle of the i-th of k equal parts.
fn quantile(sorted: &[f64], i: usize, k: usize) -> f64 {
    sorted.get((2 * i + 1) * sorted.len() / (2 * k)).copied().unwrap_or(0.0)
}

/// Trains models of every size and takes the one with the lowest BIC.
fn search<'a, E, Q>(
    steps: &Q,
    options: &Options,
    start: impl Fn(usize) -> hanzo::hmm::Result<E>,
    describe: impl Fn(&E, usize) -> (f64, f64),
) -> Result<Outcome, Box<dyn Error>>
where
    E: Emission + Clone,
    Q: Observations<E::Obs<'a>>,
{
    let bar = ProgressBar::new((options.max_states * options.restarts) as u64);
    bar.set_style(ProgressStyle::with_template("{bar:30} {pos}/{len} fits  {msg}")?);
    let mut scores = Vec::new();
    let mut best: Option<(f64, Hmm<E>)> = None;
    for k in 1..=options.max_states {
        let stay = 0.9;
        let row = |i: usize| {
            (0..k)
                .map(|j| {
                    if k == 1 {
                        1.0
                    } else if i == j {
                        stay
                    } else {
                        (1.0 - stay) / (k - 1) as f64
                    }
                })
                .collect()
        };
        let transitions = Transitions::new((0..k).map(row).collect())?;
        let mut model = Hmm::new(Initial::Stationary, transitions, start(k)?)?;
        let done = ((k - 1) * options.restarts) as u64;
        let training = BaumWelch::new().restarts(options.restarts, options.seed).tolerance(1e-7).max_iters(500);
        training.fit_with(&mut model, &[steps], |progress| {
            bar.set_position(done + progress.start as u64);
            bar.set_message(format!("{k} states, iteration {}: {:.2}", progress.iteration, progress.log_likelihood));
            true
        })?;
        let bic = model.bic(&[steps])?;
        scores.push((bic, model.log_likelihood(steps)?));
        if best.as_ref().is_none_or(|(lowest, _)| bic < *lowest) {
            best = Some((bic, model));
        }
    }
    bar.finish_and_clear();
    let (_, model) = best.ok_or("no model")?;
    let k = model.n_states();
    let mut order: Vec<usize> = (0..k).collect();
    order.sort_by(|a, b| describe(model.emission(), *b).0.total_cmp(&describe(model.emission(), *a).0));
    let path = model.viterbi(steps)?.states;
    let dwell = model.transitions().expected_dwell_times();
    let regimes = order.iter().map(|&state| {
        let (mean, deviation) = describe(model.emission(), state);
        let share = path.iter().filter(|own| **own == state).count() as f64 / path.len().max(1) as f64;
        Regime { mean, deviation, dwell: dwell[state], share }
    });
    let place: Vec<usize> = (0..k).map(|state| order.iter().position(|o| *o == state).unwrap_or(0)).collect();
    let transitions = order.iter().map(|i| order.iter().map(|j| model.transitions().row(*i)[*j]).collect()).collect();
    Ok(Outcome { scores, regimes: regimes.collect(), path: path.iter().map(|s| place[*s]).collect(), transitions })
}

fn summary(series: &Series, outcome: &Outcome) -> String {
    let missing = series.values.iter().filter(|x| x.is_none()).count();
    let mut text = format!("{}: {} steps, {missing} missing\n\n", series.name, series.values.len());
    text.push_str("states        BIC  log-likelihood\n");
    for (k, (bic, ll)) in outcome.scores.iter().enumerate() {
        let mark = if k + 1 == outcome.regimes.len() { "  <- chosen" } else { "" };
        let _ = writeln!(text, "{:6} {bic:10.2} {ll:15.4}{mark}", k + 1);
    }
    text.push_str("\nregime        mean   deviation  steps a visit  share  to the others\n");
    for (i, (regime, row)) in outcome.regimes.iter().zip(&outcome.transitions).enumerate() {
        let Regime { mean, deviation, dwell, share } = regime;
        let _ = write!(text, "{:6} {mean:11.4} {deviation:11.4} {dwell:14.1} {:5.1}%", i + 1, share * 100.0);
        row.iter().for_each(|p| {
            let _ = write!(text, " {p:6.3}");
        });
        text.push('\n');
    }
    let changes = outcome.path.windows(2).filter(|pair| pair[0] != pair[1]).count();
    let _ = writeln!(text, "\n{changes} changes of regime on the most likely path");
    text
}

fn write_report(folder: &Path, series: &Series, outcome: &Outcome) -> Result<std::path::PathBuf, String> {
    let mut bands: Vec<Band> = Vec::new();
    for (t, regime) in outcome.path.iter().enumerate() {
        match bands.last_mut() {
            Some(band) if band.kind == *regime => band.to = (t + 1) as f64,
            _ => bands.push(Band { from: t as f64, to: (t + 1) as f64, kind: *regime }),
        }
    }
    let points = |f: &dyn Fn(usize) -> Option<f64>| -> Vec<(f64, f64)> {
        (0..series.values.len()).filter_map(|t| f(t).map(|y| (t as f64 + 0.5, y))).collect()
    };
    let line = |name: &str, points, steps| Line { name: name.into(), points, steps, dashed: steps };
    let chart = Lines {
        x_label: "step".into(),
        y_label: series.name.clone(),
        lines: vec![
            line(&series.name, points(&|t| series.values[t]), false),
            line("mean of the regime", points(&|t| Some(outcome.regimes[outcome.path[t]].mean)), true),
        ],
        bands,
        band_names: (1..=outcome.regimes.len()).map(|i| format!("regime {i}")).collect(),
    };
    let worst = outcome.scores.iter().map(|s| s.0).fold(f64::NEG_INFINITY, f64::max);
    let gains: Vec<Bar> = outcome
        .scores
        .iter()
        .enumerate()
        .map(|(k, (bic, _))| Bar {
            name: if k == 0 { "1 state".into() } else { format!("{} states", k + 1) },
            value: worst - bic,
            text: format!("BIC {bic:.1}"),
        })
        .collect();
    let page = Page::new(&format!("Regimes of {}", series.name))
        .element(&chart.to_svg())
        .chart("How much lower the criterion is than that of the worst model", &bars(&gains));
    page::write(folder, "regimes.html", &page.with_figures(&summary(series, outcome)))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The drawn series has three regimes, and the criterion finds them.
    #[test]
    fn three_regimes_are_found() {
        let options = Options { max_states: 4, restarts: 3, ..Options::default() };
        let outcome = numbers(&series::drawn(1).unwrap(), &options).unwrap();
        assert_eq!(outcome.regimes.len(), 3);
        let wanted = [(0.5, 0.4), (-0.2, 1.0), (-2.0, 6f64.sqrt())];
        for (regime, (mean, deviation)) in outcome.regimes.iter().zip(wanted) {
            assert!((regime.mean - mean).abs() < 0.5 && (regime.deviation - deviation).abs() < 0.4);
        }
    }

    #[test]
    fn counts_must_be_whole() {
        let series = Series { name: "x".into(), values: vec![Some(1.5)] };
        assert!(counts(&series, &Options::default()).is_err());
    }
}
