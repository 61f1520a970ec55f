//! How well comparators tell honest from cheating: false-positive and detection rates at every threshold.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;

use hanzo_examples::chart::{Line, Lines};
use hanzo_poai::Curve;

use crate::Result;
use crate::network::{self, Network};

/// A comparator on a kind of work: scores of honest runs, and of each cheat.
pub(crate) struct Measured {
    /// Comparator and element type.
    pub(crate) name: String,
    /// Scores of honest runs.
    pub(crate) honest: Vec<f64>,
    /// Scores by cheat.
    pub(crate) cheats: Vec<(String, Vec<f64>)>,
}

/// Scores from a CSV file.
pub(crate) fn from_responses(path: &Path) -> Result<Vec<Measured>> {
    let open = |error: csv::Error| format!("{}: {error}", path.display());
    let mut reader = csv::Reader::from_path(path).map_err(open)?;
    let header = reader.headers().map_err(open)?.clone();
    let column = |name: &str| {
        header.iter().position(|have| have == name).ok_or_else(|| format!("{}: no column {name}", path.display()))
    };
    let (variant, kind, reference) = (column("variant")?, column("kind")?, column("ref")?);
    let scores = [("KL", column("kl_mean_64tok")?), ("margin", column("margin_mean_64tok")?)];
    let mut found: BTreeMap<(String, String), Measured> = BTreeMap::new();
    for record in reader.records() {
        let record = record.map_err(open)?;
        let cell = |at: usize| record.get(at).unwrap_or_default();
        // A run in another type than its reference is a question of its own.
        if cell(kind) == "honest*" {
            continue;
        }
        for (name, at) in scores {
            let score: f64 =
                cell(at).parse().map_err(|_| format!("{}: {} is not a number", path.display(), cell(at)))?;
            let dtype = if cell(variant).contains("bf16") { "bf16" } else { cell(reference) };
            let measured = found.entry((name.into(), dtype.into())).or_insert_with(|| Measured {
                name: format!("{name}, {dtype}"),
                honest: Vec::new(),
                cheats: Vec::new(),
            });
            if cell(kind) == "honest" {
                measured.honest.push(score);
            } else {
                match measured.cheats.iter_mut().find(|(cheat, _)| cheat == cell(variant)) {
                    Some((_, scores)) => scores.push(score),
                    None => measured.cheats.push((cell(variant).into(), vec![score])),
                }
            }
        }
    }
    if found.is_empty() {
        return Err(format!("{}: no scores", path.display()).into());
    }
    Ok(found.into_values().collect())
}

/// Scores from running a network.
pub(crate) fn from_network(path: &Path, seed: u64) -> Result<Vec<Measured>> {
    network::measure(&Network::read(path)?, seed)
}

/// A table: area under the curve, and detection at the thresholds that no honest score, and that 1 % of them, exceeds.
pub(crate) fn table(title: &str, all: &[Measured]) -> Result<String> {
    let mut text = format!("\n{title}\n");
    let _ = writeln!(
        text,
        "  {:<20} {:<20} {:>6} {:>11} {:>9} {:>9}  p0 at most",
        "comparator", "cheat", "AUC", "threshold", "at 0 FP", "at 1 % FP"
    );
    for measured in all {
        for (cheat, scores) in &measured.cheats {
            let curve = Curve::new(&measured.honest, scores)?;
            let none = curve.at(curve.threshold_for(0));
            let some = curve.at(curve.threshold_for(measured.honest.len() / 100));
            let bound =
                none.calibration().map_or_else(|_| "-".into(), |c| format!("{:.1e}", f64::from(c.p0_ppb()) / 1e9));
            let _ = writeln!(
                text,
                "  {:<20} {cheat:<20} {:>6.3} {:>11.3e} {:>8.1} % {:>8.1} %  {bound}",
                measured.name,
                curve.auc(),
                none.threshold,
                100.0 * none.detection_rate(),
                100.0 * some.detection_rate()
            );
        }
    }
    Ok(text)
}

/// One chart a comparator, of what `of` names: detection over false positives.
pub(crate) fn charts(of: &str, all: &[Measured]) -> Result<Vec<(String, String)>> {
    all.iter()
        .map(|measured| {
            let lines = measured
                .cheats
                .iter()
                .take(6)
                .map(|(cheat, scores)| {
                    let curve = Curve::new(&measured.honest, scores)?;
                    let mut points: Vec<(f64, f64)> = curve
                        .points()
                        .iter()
                        .map(|at| (100.0 * at.false_positive_rate(), 100.0 * at.detection_rate()))
                        .collect();
                    points.push((100.0, 100.0));
                    points.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.total_cmp(&b.1)));
                    Ok(Line { name: cheat.clone(), points, steps: false, dashed: false })
                })
                .collect::<Result<Vec<_>>>()?;
            let chart = Lines {
                x_label: "honest runs flagged (%)".into(),
                y_label: "cheating runs flagged (%)".into(),
                lines,
                ..Lines::default()
            };
            Ok((format!("{of}: {}", measured.name), chart.to_svg()))
        })
        .collect()
}
