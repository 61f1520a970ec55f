//! The M-step of transitions whose stationary distribution is also the start.

use crate::Result;
use crate::model::dense::invert;
use crate::model::{NO_MASS, Transitions};

/// What the expected counts say about the transitions.
pub(super) struct Evidence<'c> {
    /// Expected transitions, pseudocounts included, `S x S`.
    pub(super) counts: &'c [f64],
    /// Expected starts.
    pub(super) starts: &'c [f64],
    /// Entries that must not move.
    pub(super) frozen: Option<&'c [bool]>,
}

/// Transitions that improve `sum counts ln A + sum starts ln pi(A)` over both `old` and the ordinary update.
///
/// Ordinary updates with the start plugged in afterwards are not EM, and their likelihood falls. Here the gradient of
/// the stationary distribution comes from the fundamental matrix `Z = (I - A + 1 pi')^-1`, and a step is halved until
/// it improves.
pub(super) fn improve(old: &Transitions, ordinary: Transitions, evidence: &Evidence<'_>) -> Result<Transitions> {
    let mut best = old.clone();
    let mut value = objective(&best, evidence);
    let other = objective(&ordinary, evidence);
    if other > value {
        (best, value) = (ordinary, other);
    }
    for _ in 0..STEPS {
        let Some(direction) = direction(&best, evidence) else { break };
        let mut size = 1.0;
        let better = loop {
            let next = step(&best, &direction, size);
            let reached = objective(&next, evidence);
            if reached > value {
                break Some((next, reached));
            }
            size *= 0.5;
            if size < 1e-12 {
                break None;
            }
        };
        let Some((next, reached)) = better else { break };
        let gain = reached - value;
        (best, value) = (next, reached);
        if gain <= SMALLEST_GAIN * value.abs() {
            break;
        }
    }
    Ok(best)
}

/// The objective, `-inf` where the chain has no stationary distribution.
fn objective(a: &Transitions, evidence: &Evidence<'_>) -> f64 {
    let Ok(pi) = a.stationary_distribution() else { return f64::NEG_INFINITY };
    let terms = |counts: &[f64], p: &[f64]| -> f64 {
        counts.iter().zip(p).filter(|(count, _)| **count > 0.0).map(|(count, p)| count * p.ln()).sum()
    };
    let value = terms(evidence.counts, a.probabilities()) + terms(evidence.starts, &pi);
    if value.is_nan() { f64::NEG_INFINITY } else { value }
}

/// An ascent direction whose rows add up to 0: the gradient in the tangent space of each row, over the row's counts, so
/// that without starts a step of 1 is the ordinary update.
fn direction(a: &Transitions, evidence: &Evidence<'_>) -> Option<Vec<f64>> {
    let n = a.n_states();
    let p = a.probabilities();
    let pi = a.stationary_distribution().ok()?;
    let mut z: Vec<f64> = (0..n * n).map(|k| if k / n == k % n { 1.0 } else { 0.0 } - p[k] + pi[k % n]).collect();
    z = invert(z, n)?;
    let r: Vec<f64> = evidence.starts.iter().zip(&pi).map(|(g, p)| g / p).collect();
    let pull: Vec<f64> = z.chunks_exact(n).map(|row| row.iter().zip(&r).map(|(z, r)| z * r).sum()).collect();
    let mut direction = vec![0.0; n * n];
    for i in 0..n {
        let row = i * n..(i + 1) * n;
        let (counts, old) = (&evidence.counts[row.clone()], &p[row.clone()]);
        let mass: f64 = counts.iter().sum();
        let free = |j: usize| old[j] > 0.0 && evidence.frozen.is_none_or(|frozen| !frozen[i * n + j]);
        let share: f64 = (0..n).filter(|j| free(*j)).map(|j| old[j]).sum();
        if mass <= NO_MASS || share <= 0.0 {
            continue;
        }
        // A_ij G_ij = counts_ij + A_ij pi_i pull_j, without the quotient.
        let weighted = |j: usize| counts[j] + old[j] * pi[i] * pull[j];
        let mean = (0..n).filter(|j| free(*j)).map(weighted).sum::<f64>() / share;
        for j in (0..n).filter(|j| free(*j)) {
            direction[i * n + j] = (weighted(j) - old[j] * mean) / mass;
        }
    }
    direction.iter().all(|d| d.is_finite()).then_some(direction)
}

/// A step along the direction, shortened where an entry would lose its sign.
fn step(a: &Transitions, direction: &[f64], size: f64) -> Transitions {
    let n = a.n_states();
    let mut p = a.probabilities().to_vec();
    for (row, direction) in p.chunks_exact_mut(n).zip(direction.chunks_exact(n)) {
        let most = row.iter().zip(direction).filter(|(_, d)| **d < 0.0).map(|(p, d)| -p / d);
        let size = most.fold(size, |size, most| size.min(0.999 * most));
        for (p, d) in row.iter_mut().zip(direction) {
            *p += size * d;
        }
        let sum: f64 = row.iter().sum();
        if sum > 0.0 && direction.iter().any(|d| *d != 0.0) {
            row.iter_mut().for_each(|p| *p /= sum);
        }
    }
    Transitions::from_checked(p, n)
}

/// At most this many steps an iteration.
const STEPS: usize = 50;
/// A gain below this share of the objective is rounding.
const SMALLEST_GAIN: f64 = 1e-15;
