//! Forward and backward recursions in logs: slow, and exact for every model. `-inf` stays `-inf`.

use super::arith::{exp_nonpositive, log_sum_exp};
use super::{Block, Chain};

/// The first step, counted within the block, that no state survives.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Dead(pub(crate) usize);

/// The recursions' memory, and the forward values between two blocks of steps.
#[derive(Debug, Clone, Default)]
pub(crate) struct Carry {
    /// Empty before the first step.
    now: Vec<f64>,
    before: Vec<f64>,
    terms: Vec<f64>,
}

impl Carry {
    /// Ready for the first step of a sequence.
    pub(crate) fn begin(&mut self) {
        self.now.clear();
    }

    /// ln P of the steps so far.
    pub(crate) fn log_likelihood(&self) -> f64 {
        if self.now.is_empty() { 0.0 } else { log_sum_exp(&self.now) }
    }
}

/// Runs the forward recursion over a block; `sink` gets the log values of each step.
pub(crate) fn forward(
    chain: Chain<'_>,
    carry: &mut Carry,
    block: Block<'_>,
    mut sink: impl FnMut(&[f64]),
) -> Result<(), Dead> {
    let n_states = chain.n_states();
    let Carry { now, before, terms } = carry;
    before.resize(n_states, 0.0);
    terms.resize(n_states, 0.0);
    for (t, k) in block.index.iter().enumerate() {
        if now.is_empty() {
            now.extend_from_slice(chain.log_initial);
        } else {
            before.copy_from_slice(now);
            for (next, column) in now.iter_mut().zip(chain.transitions.logs_transposed().chunks_exact(n_states)) {
                for (term, (a, step)) in terms.iter_mut().zip(before.iter().zip(column)) {
                    *term = a + step;
                }
                *next = log_sum_exp(terms);
            }
        }
        for (next, l) in now.iter_mut().zip(&block.table[k * n_states..]) {
            *next += l;
        }
        if now.iter().all(|a| *a == f64::NEG_INFINITY) {
            return Err(Dead(t));
        }
        sink(now);
    }
    Ok(())
}

/// Writes the logs of the backward values of a whole sequence to `beta`, `T x S`.
pub(crate) fn backward(chain: Chain<'_>, carry: &mut Carry, block: Block<'_>, beta: &mut Vec<f64>) {
    let n_states = chain.n_states();
    beta.clear();
    beta.resize(block.index.len() * n_states, 0.0);
    let Carry { before: weighted, terms, .. } = carry;
    weighted.resize(n_states, 0.0);
    terms.resize(n_states, 0.0);
    let mut rows = beta.chunks_exact_mut(n_states).zip(block.index).rev();
    let Some((mut after, &(mut symbol))) = rows.next() else { return };
    for (row, &own_symbol) in rows {
        for ((v, b), l) in weighted.iter_mut().zip(&*after).zip(&block.table[symbol * n_states..]) {
            *v = b + l;
        }
        for (out, steps) in row.iter_mut().zip(chain.transitions.logs().chunks_exact(n_states)) {
            for (term, (v, step)) in terms.iter_mut().zip(weighted.iter().zip(steps)) {
                *term = v + step;
            }
            *out = log_sum_exp(terms);
        }
        (after, symbol) = (row, own_symbol);
    }
}

/// Adds the expected transitions of a sequence to `counts`, `S x S`.
pub(crate) fn expected_transitions(
    chain: Chain<'_>,
    block: Block<'_>,
    alpha: &[f64],
    beta: &[f64],
    log_likelihood: f64,
    counts: &mut [f64],
) {
    let n_states = chain.n_states();
    let steps = alpha.chunks_exact(n_states).zip(beta.chunks_exact(n_states).zip(block.index).skip(1));
    for (alpha, (beta, symbol)) in steps {
        let weights = &block.table[symbol * n_states..];
        let rows = counts.chunks_exact_mut(n_states).zip(chain.transitions.logs().chunks_exact(n_states));
        for (a, (counts, row)) in alpha.iter().zip(rows) {
            for ((count, step), (b, l)) in counts.iter_mut().zip(row).zip(beta.iter().zip(weights)) {
                // Rounding may lift a certain transition a hair above 0.
                *count += exp_nonpositive((a + step + l + b - log_likelihood).min(0.0));
            }
        }
    }
}

/// The backward recursion between two blocks of steps, which come last first.
#[derive(Debug, Clone, Default)]
pub(crate) struct Back {
    /// Log backward values of the first step so far; empty before the last step.
    values: Vec<f64>,
    /// The same and the emissions of that step.
    weighted: Vec<f64>,
    terms: Vec<f64>,
}

/// Turns the log forward values of a block into posteriors, in place, and adds its expected transitions to `counts`.
pub(crate) fn backward_block(
    chain: Chain<'_>,
    block: Block<'_>,
    alpha: &mut [f64],
    log_likelihood: f64,
    back: &mut Back,
    counts: &mut [f64],
) {
    let n_states = chain.n_states();
    let Back { values, weighted, terms } = back;
    terms.resize(n_states, 0.0);
    weighted.resize(n_states, 0.0);
    for (alpha, symbol) in alpha.chunks_exact_mut(n_states).zip(block.index).rev() {
        if values.is_empty() {
            values.resize(n_states, 0.0);
        } else {
            let rows = counts.chunks_exact_mut(n_states).zip(chain.transitions.logs().chunks_exact(n_states));
            for ((out, a), (counts, row)) in values.iter_mut().zip(&*alpha).zip(rows) {
                for ((term, count), (v, step)) in terms.iter_mut().zip(counts).zip(weighted.iter().zip(row)) {
                    *term = v + step;
                    *count += exp_nonpositive((a + *term - log_likelihood).min(0.0));
                }
                *out = log_sum_exp(terms);
            }
        }
        posteriors(alpha, values, n_states);
        for ((out, b), l) in weighted.iter_mut().zip(&*values).zip(&block.table[symbol * n_states..]) {
            *out = b + l;
        }
    }
}

/// Turns log forward values into posteriors, in place.
pub(crate) fn posteriors(alpha: &mut [f64], beta: &[f64], n_states: usize) {
    for (alpha, beta) in alpha.chunks_exact_mut(n_states).zip(beta.chunks_exact(n_states)) {
        for (a, b) in alpha.iter_mut().zip(beta) {
            *a += b;
        }
        let max = alpha.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        for a in alpha.iter_mut() {
            *a = exp_nonpositive(*a - max);
        }
        let sum: f64 = alpha.iter().sum();
        for a in alpha.iter_mut() {
            *a /= sum;
        }
    }
}
