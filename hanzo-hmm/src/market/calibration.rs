//! A warm start from outcomes that are known for all models.

use super::beliefs::Beliefs;
use super::regime::RegimeModel;
use crate::{BaumWelch, Error, GaussianDiag, Hmm, Learn, Result, Rows};

/// A request with the scores that models gave it, as a labelled table has them.
#[derive(Debug, Clone, PartialEq, Default)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(default, deny_unknown_fields))]
pub struct LabelledOutcome {
    /// Text of the request.
    pub input: String,
    /// Features instead of those of the featuriser, as in [`RouteOptions`](super::RouteOptions::features).
    pub features: Option<Vec<f64>>,
    /// An embedding of the request, as [there](super::RouteOptions::embedding).
    pub embedding: Option<Vec<f64>>,
    /// Class of the request, as [there](super::RouteOptions::class).
    pub class: usize,
    /// Observations of the market at the time; empty if there are none.
    pub observations: Vec<f64>,
    /// Score in [0, 1] of every model, in catalogue order; `None` where it is not known.
    pub scores: Vec<Option<f64>>,
}

/// What [`MarketMaker::calibrate`](crate::MarketMaker::calibrate) did.
#[derive(Debug, Clone, PartialEq)]
pub struct CalibrationReport {
    /// Rows taken in.
    pub rows: usize,
    /// Scores learned.
    pub scores: usize,
    /// Mean squared error of the expected quality of these scores, before.
    pub error_before: f64,
    /// The same after; it is that of a fit to the same scores, not of new ones.
    pub error_after: f64,
    /// Log-likelihood of the observations after each iteration of Baum-Welch; empty where there were too few of them.
    pub log_likelihoods: Vec<f64>,
    /// Transitions between the regimes now, regimes by regimes, row by row.
    pub transitions: Vec<f64>,
}

/// Transitions fitted to the stretches of rows with observations, the rest of the model unchanged; with the log-likelihoods.
///
/// Half a transition of every kind counts as seen beforehand.
pub(crate) fn fit_transitions(
    model: &RegimeModel,
    rows: &[LabelledOutcome],
) -> Result<Option<(RegimeModel, Vec<f64>)>> {
    let mut flat: Vec<Vec<f64>> = Vec::new();
    for stretch in rows.chunk_by(|a, b| a.observations.is_empty() == b.observations.is_empty()) {
        if stretch.len() > 1 && !stretch[0].observations.is_empty() {
            flat.push(stretch.iter().flat_map(|row| row.observations.iter().copied()).collect());
        }
    }
    if flat.is_empty() {
        return Ok(None);
    }
    let sequences: Vec<Rows<'_, f64>> = flat.iter().map(|f| Rows::new(f, model.dim())).collect::<Result<_>>()?;
    let mut hmm: Hmm<GaussianDiag> = model.hmm().clone();
    let fit = BaumWelch::new()
        .learn(Learn::ALL.keep_initial().keep_emissions())
        .pseudocount(PSEUDOCOUNT)
        .max_iters(ITERATIONS)
        .fit(&mut hmm, &sequences)?;
    Ok(Some((model.with_hmm(hmm)?, fit.log_likelihoods)))
}

/// Checks what does not depend on the market maker's parts.
pub(crate) fn check(row: &LabelledOutcome, models: usize, observations: usize) -> Result<()> {
    super::hamiltonian::all_finite("observation", &row.observations)?;
    if !row.observations.is_empty() {
        super::hamiltonian::same_length("observations", observations, &row.observations)?;
    }
    if row.scores.len() != models {
        return Err(Error::DimensionMismatch { what: "scores", expected: models, found: row.scores.len() });
    }
    for score in row.scores.iter().flatten() {
        super::hamiltonian::all_finite("score", &[*score])?;
        if !(0.0..=1.0).contains(score) {
            return Err(Error::OutOfRange { what: "score" });
        }
    }
    Ok(())
}

/// Regime posterior of every row, filtered in the order of the rows.
pub(crate) fn filtered(model: &RegimeModel, rows: &[LabelledOutcome]) -> Result<Vec<Beliefs>> {
    let mut filter = model.filter();
    rows.iter()
        .map(|row| {
            model.update(&mut filter, &row.observations)?;
            Ok(filter.beliefs().clone())
        })
        .collect()
}

/// Of every kind of transition, seen beforehand.
const PSEUDOCOUNT: f64 = 0.5;
const ITERATIONS: usize = 50;
