use super::{Factor, Zero, check_logs, log_sum_exp};
use crate::{Error, Result};

/// A token that came, what the model gave it, and what each expert says at that place.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct HeldOut<'a> {
    /// Log probabilities of the whole vocabulary by the model alone; normalized here if they are not.
    pub log_p: &'a [f64],
    /// One factor an expert, in the same order at every place.
    pub factors: &'a [Factor],
    /// The token that came.
    pub target: u32,
}

/// Weights of experts, and how they were found.
#[derive(Debug, Clone, PartialEq)]
pub struct Calibration {
    /// One weight an expert, at least 0.
    pub alpha: Vec<f64>,
    /// Mean negative log likelihood of the tokens that came, in nats, with these weights.
    pub nll: f64,
    /// The same with all weights zero: the model alone.
    pub base_nll: f64,
    /// Steps taken.
    pub steps: usize,
    /// Whether no step within the last one's length made it better.
    pub converged: bool,
}

/// The weights, each at least 0, with the least mean negative log likelihood plus 10^-3 times the sum of their squares:
/// a convex problem, by projected gradient steps of spectral length with backtracking (Armijo), at most 200, from zero weights. A phi of 0
/// counts as the floor of `zero`, which must not be a veto.
///
/// After one pass over the vocabulary for each place, a step costs what the factors hold.
///
/// # Errors
/// [`Error::TooFew`] for no place; [`Error::DimensionMismatch`] for another number of factors than at the first place;
/// [`Error::IndexOutOfRange`] for a token beyond the vocabulary; [`Error::NonFinite`] for NaN or +infinity;
/// [`Error::AllVetoed`] for a target, or a whole vocabulary, that the model thinks impossible; [`Error::OutOfRange`] for
/// a floor out of 0..=1, or a veto.
pub fn calibrate(places: &[HeldOut<'_>], zero: Zero) -> Result<Calibration> {
    let floor = match zero {
        Zero::Veto => return Err(Error::OutOfRange { field: "floor" }),
        floor => floor.floor()?,
    };
    let experts = places.first().ok_or(Error::TooFew { need: 1, got: 0 })?.factors.len();
    let prepared: Vec<Place> = places.iter().map(|place| Place::new(place, experts, floor)).collect::<Result<_>>()?;
    let base_nll = prepared.iter().map(|place| place.base_nll).sum::<f64>() / prepared.len() as f64;

    let mut alpha = vec![0.0; experts];
    let (mut value, mut gradient) = objective(&prepared, &alpha);
    let (mut steps, mut converged, mut length) = (0, false, 1.0);
    while steps < MAX_STEPS && !converged {
        steps += 1;
        converged = loop {
            let next: Vec<f64> = alpha.iter().zip(&gradient).map(|(a, g)| (a - length * g).max(0.0)).collect();
            let (next_value, next_gradient) = objective(&prepared, &next);
            // Sufficient decrease for a projected step: by the gradient along the step really taken.
            let along: f64 = next.iter().zip(&alpha).zip(&gradient).map(|((n, a), g)| (n - a) * g).sum();
            let moved = next.iter().zip(&alpha).map(|(n, a)| (n - a).abs()).fold(0.0, f64::max);
            if moved <= TOLERANCE {
                break true;
            }
            if next_value <= value + 1e-4 * along {
                length = spectral(&alpha, &next, &gradient, &next_gradient).unwrap_or(4.0 * length);
                (alpha, value, gradient) = (next, next_value, next_gradient);
                break false;
            }
            length /= 2.0;
        };
    }
    let nll = value - RIDGE * alpha.iter().map(|a| a * a).sum::<f64>();
    Ok(Calibration { alpha, nll, base_nll, steps, converged })
}

/// The first length to try after a step (Barzilai and Borwein): that of a function whose gradient changes everywhere as it did along the step. `None` where it did not
/// change.
fn spectral(from: &[f64], to: &[f64], before: &[f64], after: &[f64]) -> Option<f64> {
    let steps = from.iter().zip(to).map(|(a, b)| b - a);
    let (square, change) = steps
        .zip(before.iter().zip(after))
        .fold((0.0, 0.0), |(square, change), (step, (b, a))| (square + step * step, change + step * (a - b)));
    let length = square / change;
    (change > 0.0 && length.is_finite()).then_some(length)
}

/// A place with what a step needs: the tokens that some expert speaks of.
struct Place {
    base_nll: f64,
    /// Probability of all tokens that no expert speaks of.
    rest: f64,
    /// Log probability of each token that some expert speaks of.
    log_p: Vec<f64>,
    /// For each expert, places in `log_p` with log phi.
    factors: Vec<Vec<(usize, f64)>>,
    /// Place of the target in `log_p`, if some expert speaks of it.
    target: Option<usize>,
}

impl Place {
    fn new(place: &HeldOut<'_>, experts: usize, floor: f64) -> Result<Self> {
        let HeldOut { log_p, factors, target } = *place;
        if factors.len() != experts {
            return Err(Error::DimensionMismatch { got: factors.len(), want: experts });
        }
        check_logs(log_p)?;
        let mut tokens: Vec<u32> = factors.iter().flat_map(Factor::iter).map(|(token, _)| token).collect();
        tokens.sort_unstable();
        tokens.dedup();
        let size = log_p.len();
        if let Some(token) = tokens.last().into_iter().chain([&target]).find(|token| **token as usize >= size) {
            return Err(Error::IndexOutOfRange { index: (*token).into(), size: size as u64 });
        }
        let normalizer = log_sum_exp(log_p);
        let base_nll = normalizer - log_p[target as usize];
        if normalizer == f64::NEG_INFINITY || base_nll == f64::INFINITY {
            return Err(Error::AllVetoed);
        }
        // Summed up rather than taken from one, which would lose a rest that is small.
        let mut spoken = tokens.iter().copied().peekable();
        let silent = (0_u32..).zip(log_p).filter(|(token, _)| spoken.next_if_eq(token).is_none());
        let rest = silent.map(|(_, log)| (log - normalizer).exp()).sum();
        let at = |token: u32| tokens.binary_search(&token).ok();
        let factors = factors
            .iter()
            .map(|factor| factor.iter().filter_map(|(token, log)| Some((at(token)?, log.max(floor)))).collect());
        Ok(Self {
            base_nll,
            rest,
            log_p: tokens.iter().map(|token| log_p[*token as usize] - normalizer).collect(),
            factors: factors.collect(),
            target: at(target),
        })
    }

    /// The negative log likelihood; adds its gradient. O(what the factors hold).
    fn nll(&self, alpha: &[f64], gradient: &mut [f64]) -> f64 {
        let mut sums = vec![0.0; self.log_p.len()];
        for (alpha, factor) in alpha.iter().zip(&self.factors) {
            for (at, log) in factor {
                sums[*at] += alpha * log;
            }
        }
        let logs: Vec<f64> = self.log_p.iter().zip(&sums).map(|(log, sum)| log + sum).collect();
        let max = logs.iter().copied().fold(if self.rest > 0.0 { self.rest.ln() } else { f64::NEG_INFINITY }, f64::max);
        let total = logs.iter().map(|log| (log - max).exp()).sum::<f64>() + self.rest * (-max).exp();
        let normalizer = max + total.ln();
        // d nll / d alpha_k: what the experts say on average, less what they say of the token that came.
        for (gradient, factor) in gradient.iter_mut().zip(&self.factors) {
            for (at, log) in factor {
                let expected = (logs[*at] - normalizer).exp();
                let came = if self.target == Some(*at) { 1.0 } else { 0.0 };
                *gradient += (expected - came) * log;
            }
        }
        normalizer + self.base_nll - self.target.map_or(0.0, |at| sums[at])
    }
}

/// Mean negative log likelihood with the penalty, and its gradient.
fn objective(places: &[Place], alpha: &[f64]) -> (f64, Vec<f64>) {
    let mut gradient = vec![0.0; alpha.len()];
    let sum: f64 = places.iter().map(|place| place.nll(alpha, &mut gradient)).sum();
    let n = places.len() as f64;
    for (gradient, alpha) in gradient.iter_mut().zip(alpha) {
        *gradient = *gradient / n + 2.0 * RIDGE * alpha;
    }
    (sum / n + RIDGE * alpha.iter().map(|a| a * a).sum::<f64>(), gradient)
}

const RIDGE: f64 = 1e-3;
const MAX_STEPS: usize = 200;
const TOLERANCE: f64 = 1e-9;
