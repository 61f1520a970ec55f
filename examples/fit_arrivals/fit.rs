//! Training, the criterion, and the form that is written down.

use hanzo::hmm::{self, BaumWelch, GaussianDiag, Hmm, Initial, Rows, Transitions, VarianceFloor};
use hanzo_examples::arrivals::stationary;

use crate::start::Starts;

/// The best model of some number of states.
#[derive(Debug, Clone)]
pub(crate) struct Fit {
    /// The model.
    pub(crate) model: Hmm<GaussianDiag>,
    /// Log-likelihood of all traces, in nats.
    pub(crate) log_likelihood: f64,
    /// Bayesian information criterion: less is better.
    pub(crate) bic: f64,
    /// Iterations of the best start.
    pub(crate) iterations: usize,
    /// Whether the best start converged.
    pub(crate) converged: bool,
    /// States with a variance at the floor.
    pub(crate) floored: usize,
}

/// The likeliest model of `states` states that training reaches from `n` starts; `done` is called after each.
///
/// Every start is trained a little, the most promising ones to the end (em-EM: Biernacki, Celeux, Govaert, Comput. Stat.
/// Data Anal. 41:561, 2003): optima are many, and most starts lead to poor ones.
pub(crate) fn best(
    sequences: &[Rows<'_>],
    starts: &Starts,
    states: usize,
    n: usize,
    mut done: impl FnMut(),
) -> hmm::Result<Fit> {
    let training = BaumWelch::new().pseudocount(PSEUDOCOUNT).emission_prior(VarianceFloor::new(0.0, FLOOR)?);
    let short = training.clone().max_iters(SHORT_ITERATIONS).tolerance(TOLERANCE);
    let mut tried: Vec<(f64, usize, Hmm<GaussianDiag>)> = Vec::with_capacity(n);
    for start in 0..n {
        let mut model = starts.model(states, start)?;
        let iterations = short.fit(&mut model, sequences)?.iterations;
        tried.push((log_likelihood(&model, sequences)?, iterations, model));
        done();
    }
    // Stable: of equal ones the first start.
    tried.sort_by(|a, b| b.0.total_cmp(&a.0));
    let long = training.max_iters(MAX_ITERATIONS).tolerance(TOLERANCE);
    let mut best: Option<Fit> = None;
    for (_, before, mut model) in tried.into_iter().take(FINALISTS) {
        let summary = long.fit(&mut model, sequences)?;
        let log_likelihood = log_likelihood(&model, sequences)?;
        if best.as_ref().is_none_or(|best| log_likelihood > best.log_likelihood) {
            let bic = model.bic(sequences)?;
            let at_floor = |state: &&[f64]| state.iter().any(|v| *v <= FLOOR * (1.0 + 1e-9));
            let floored = model.emission().variances().chunks_exact(3).filter(at_floor).count();
            let (iterations, converged) = (before + summary.iterations, summary.converged);
            best = Some(Fit { model, log_likelihood, bic, iterations, converged, floored });
        }
    }
    best.ok_or(hmm::Error::NoData)
}

fn log_likelihood(model: &Hmm<GaussianDiag>, sequences: &[Rows<'_>]) -> hmm::Result<f64> {
    sequences.iter().map(|sequence| model.log_likelihood(sequence)).sum()
}

/// The same model as it is written: states by falling long-run share, numbers with nine decimals.
///
/// Nine decimals keep the file short, and every JSON reader gets them back exactly. The largest entry of a distribution
/// takes what rounding left, so that its sum stays 1.
pub(crate) fn written(model: &Hmm<GaussianDiag>) -> hmm::Result<Hmm<GaussianDiag>> {
    let share = stationary(model);
    let mut order: Vec<usize> = (0..model.n_states()).collect();
    order.sort_by(|a, b| share[*b].total_cmp(&share[*a]));
    let pick = |row: &[f64]| -> Vec<f64> { order.iter().map(|i| row[*i]).collect() };
    let table = |values: &[f64]| -> Vec<Vec<f64>> {
        let rows: Vec<&[f64]> = values.chunks_exact(model.emission().dim()).collect();
        order.iter().map(|i| rows[*i].iter().map(|x| rounded(*x)).collect()).collect()
    };
    Hmm::new(
        Initial::Free(distribution(&pick(model.initial_probabilities()))),
        Transitions::new(order.iter().map(|i| distribution(&pick(model.transitions().row(*i)))).collect())?,
        GaussianDiag::new(table(model.emission().means()), table(model.emission().variances()))?,
    )
}

fn rounded(x: f64) -> f64 {
    (x * UNIT).round() / UNIT
}

fn distribution(row: &[f64]) -> Vec<f64> {
    let mut units: Vec<f64> = row.iter().map(|p| (p * UNIT).round()).collect();
    let left = UNIT - units.iter().sum::<f64>();
    if let Some(largest) = units.iter_mut().max_by(|a, b| a.total_cmp(b)) {
        *largest += left;
    }
    units.iter().map(|u| u / UNIT).collect()
}

/// Smallest variance of a logarithm: a standard deviation of 0.1, that is 10 %.
///
/// Prompts made from one template differ by 4 to 7 %, those cut at a context limit not at all. Without a floor a state
/// shrinks onto the latter; with one of 2 % the likelihood of such spikes still outbids the bursts and pauses that a load
/// has to have, and code traffic becomes a single state.
pub(crate) const FLOOR: f64 = 0.01;

/// Added to every transition count. The traces never change from code to conversation, so that without it the chain falls
/// into parts that do not reach each other. Equal counts both ways keep the share of each part that of its trace.
const PSEUDOCOUNT: f64 = 1.0;
/// Iterations of every start.
const SHORT_ITERATIONS: usize = 40;
/// Starts that are trained to the end.
const FINALISTS: usize = 8;
const MAX_ITERATIONS: usize = 500;
/// Nats a request.
const TOLERANCE: f64 = 1e-6;
/// One over the last decimal that is written.
const UNIT: f64 = 1e9;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rounding_keeps_sums() {
        for row in [vec![1.0 / 3.0; 3], vec![0.999_999_999_9, 1e-10, 0.0], vec![1.0]] {
            let written = distribution(&row);
            assert!((written.iter().sum::<f64>() - 1.0).abs() < 1e-15);
            assert!(written.iter().zip(&row).all(|(a, b)| (a - b).abs() < 2e-9));
        }
    }

    #[test]
    fn two_levels_are_found_and_ordered() {
        // Nine requests of one kind, then three of the other; the last feature is the same throughout.
        let data: Vec<f64> = (0..400).flat_map(|i| [f64::from(i % 7), f64::from(i / 3 % 4 / 3) * 9.0, 1.0]).collect();
        let sequences = [Rows::new(&data, 3).unwrap()];
        let mut done = 0;
        let fit = best(&sequences, &Starts::new(&data, FLOOR, 1), 2, 4, || done += 1).unwrap();
        assert_eq!((done, fit.converged, fit.floored), (4, true, 2));
        let model = written(&fit.model).unwrap();
        let means = model.emission().means();
        assert!(means[1].abs() < 1e-9 && (means[4] - 9.0).abs() < 1e-9, "{means:?}");
        assert_eq!(written(&model).unwrap(), model);
    }
}
