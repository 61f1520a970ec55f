//! The outcome table from its three files.

use std::io::Read;
use std::path::Path;

use hanzo::hmm::market::{Featuriser, HashedText, OutcomeTable};
use serde_json::Value;

use crate::Failure;

/// Names of the models and what each request would have brought and cost.
pub(crate) struct Outcomes {
    pub(crate) models: Vec<String>,
    /// Quality expected of each model before its first outcome, from its size.
    pub(crate) priors: Vec<f64>,
    pub(crate) table: OutcomeTable,
}

/// Reads scores (CSV: a column `chars` and one of each priced model), prices (JSON: dollars for a million tokens, sizes like `7B`) and questions (one JSON
/// object with `q` a line, plain or gzipped).
pub(crate) fn read(scores: &Path, prices: &Path, questions: &Path, buckets: usize) -> Result<Outcomes, Failure> {
    let prices: Value = serde_json::from_slice(&bytes(prices)?)
        .map_err(|e| Failure::Input(prices.display().to_string(), e.to_string()))?;
    let questions = text(questions)?;
    let name = scores.display().to_string();
    let bad = |why: String| Failure::Input(name.clone(), why);
    let mut reader = csv::Reader::from_path(scores).map_err(|e| bad(e.to_string()))?;
    let header = reader.headers().map_err(|e| bad(e.to_string()))?.clone();
    let columns: Vec<usize> = (0..header.len()).filter(|&c| prices.get(&header[c]).is_some()).collect();
    if columns.is_empty() {
        return Err(bad("no column has the name of a priced model".into()));
    }
    let chars = header.iter().position(|h| h == "chars").ok_or_else(|| bad("no column `chars`".into()))?;
    let price = |c: usize, key: &str| {
        prices[&header[c]][key].as_f64().ok_or_else(|| bad(format!("no `{key}` of {}", &header[c])))
    };
    let per_token = columns
        .iter()
        .map(|&c| Ok((price(c, "input_usd_per_mtok")?, price(c, "output_usd_per_mtok")?)))
        .collect::<Result<Vec<(f64, f64)>, Failure>>()?;

    let featuriser = HashedText::new(buckets).map_err(|e| Failure::Market(e.to_string()))?;
    let (mut scored, mut usd, mut features) = (Vec::new(), Vec::new(), Vec::new());
    let mut lines = questions.lines();
    for (i, row) in reader.records().enumerate() {
        let row = row.map_err(|e| bad(e.to_string()))?;
        let cell = |c: usize| {
            let value = row.get(c).and_then(|v| v.parse::<f64>().ok());
            value.ok_or_else(|| bad(format!("row {}: `{}` is no number", i + 1, &header[c])))
        };
        for (&c, (input, output)) in columns.iter().zip(&per_token) {
            scored.push(cell(c)?);
            usd.push((0.25 * cell(chars)? * input + 200.0 * output) * 1e-6);
        }
        let question = lines.next().and_then(|l| serde_json::from_str::<Value>(l).ok());
        let question = question.as_ref().and_then(|q| q["q"].as_str());
        let question = question.ok_or_else(|| bad(format!("row {} has no question", i + 1)))?;
        let mut x = vec![0.0; featuriser.dim()];
        featuriser.features_into(question, &mut x).map_err(|e| Failure::Market(e.to_string()))?;
        features.extend(x);
    }
    let models = columns.iter().map(|&c| header[c].to_owned()).collect();
    let priors = columns.iter().map(|&c| prior(prices[&header[c]]["size"].as_str())).collect();
    let table = OutcomeTable::new(columns.len(), featuriser.dim(), scored, usd, features)
        .map_err(|e| Failure::Market(e.to_string()))?;
    Ok(Outcomes { models, priors, table })
}

/// One half for 8 billion parameters, 0.06 more for each factor of e; the slope was chosen on a third of the published table.
fn prior(size: Option<&str>) -> f64 {
    let billions = size.and_then(|s| s.strip_suffix('B')).and_then(|s| s.parse::<f64>().ok());
    billions.filter(|b| *b > 0.0).map_or(0.5, |b| (0.5 + 0.06 * (b / 8.0).ln()).clamp(0.05, 0.95))
}

fn bytes(path: &Path) -> Result<Vec<u8>, Failure> {
    std::fs::read(path).map_err(|e| Failure::Input(path.display().to_string(), e.to_string()))
}

fn text(path: &Path) -> Result<String, Failure> {
    let raw = bytes(path)?;
    let fail = |e: std::io::Error| Failure::Input(path.display().to_string(), e.to_string());
    let mut out = String::new();
    if raw.starts_with(&[0x1f, 0x8b]) {
        flate2::read::GzDecoder::new(&raw[..]).read_to_string(&mut out).map_err(fail)?;
    } else {
        (&raw[..]).read_to_string(&mut out).map_err(fail)?;
    }
    Ok(out)
}
