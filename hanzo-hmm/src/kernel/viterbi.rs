//! The best path, in logs: add and maximum.

use super::width::{Width, with_width};
use super::{Block, Chain};
use crate::{Error, Result};

/// Appends the best score of every state at every step of a block to `scores`, which holds those of all steps before.
pub(crate) fn forward(chain: Chain<'_>, memory: &mut Vec<f64>, block: Block<'_>, scores: &mut Vec<f64>) -> Result<()> {
    memory.clear();
    memory.resize(chain.n_states() * 2, 0.0);
    with_width!(chain.n_states(), w => forward_at(w, chain, memory, block, scores))
}

#[inline(always)]
fn forward_at<W: Width>(
    w: W,
    chain: Chain<'_>,
    memory: &mut [f64],
    block: Block<'_>,
    scores: &mut Vec<f64>,
) -> Result<()> {
    let n_states = chain.n_states();
    // Only a foreign family's table can have the wrong size.
    let malformed = Error::DimensionMismatch { what: "emission table", expected: n_states, found: block.table.len() };
    let table = w.table(block.table);
    let matrix = w.matrix(chain.transitions.logs()).ok_or_else(|| malformed.clone())?;
    let mut index = block.index;
    let start = scores.len();
    scores.resize(start + index.len() * n_states, 0.0);
    let (before, out) = scores.split_at_mut(start);
    let mut out = out.chunks_exact_mut(n_states);
    let (low, high) = memory.split_at_mut(n_states);
    if let Some(last) = before.len().checked_sub(n_states) {
        low.copy_from_slice(&before[last..]);
    } else if let (Some((&first, rest)), Some(out)) = (index.split_first(), out.next()) {
        let weights = w.get(table, first).ok_or_else(|| malformed.clone())?;
        add(low, chain.log_initial, weights);
        out.copy_from_slice(low);
        index = rest;
    }
    let mut now = w.row(low).ok_or_else(|| malformed.clone())?;
    let mut next = w.row(high).ok_or_else(|| malformed.clone())?;
    for (&k, out) in index.iter().zip(out) {
        let weights = w.get(table, k).ok_or_else(|| malformed.clone())?;
        w.max_product(&now, matrix, &mut next);
        add(now.as_mut(), next.as_ref(), weights);
        out.copy_from_slice(now.as_ref());
    }
    Ok(())
}

/// Follows the scores back into the best path, lowest index first among equals. Returns its log-probability, or the
/// first step that no state survives.
pub(crate) fn trace_back(chain: Chain<'_>, scores: &[f64], path: &mut Vec<usize>) -> Result<f64, usize> {
    let n_states = chain.n_states();
    path.clear();
    path.resize(scores.len() / n_states, 0);
    let mut steps = scores.chunks_exact(n_states).zip(path.iter_mut()).rev();
    let Some((last, end)) = steps.next() else { return Ok(0.0) };
    let (mut state, best) = largest(last.iter().copied());
    if best == f64::NEG_INFINITY {
        let dead = |row: &[f64]| row.iter().all(|score| *score == f64::NEG_INFINITY);
        return Err(scores.chunks_exact(n_states).position(dead).unwrap_or(0));
    }
    *end = state;
    for (row, place) in steps {
        // The same additions as on the way forward, so the maximum is met exactly.
        let column = &chain.transitions.logs_transposed()[state * n_states..][..n_states];
        state = best_predecessor(row, column);
        *place = state;
    }
    Ok(best)
}

#[inline]
fn best_predecessor(row: &[f64], column: &[f64]) -> usize {
    largest(row.iter().zip(column).map(|(score, step)| score + step)).0
}

/// Index and value of the largest, the first among equals.
#[inline]
pub(crate) fn largest(values: impl Iterator<Item = f64>) -> (usize, f64) {
    let mut best = (0, f64::NEG_INFINITY);
    for (i, value) in values.enumerate() {
        best = if value > best.1 { (i, value) } else { best };
    }
    best
}

#[inline(always)]
fn add(out: &mut [f64], a: &[f64], b: &[f64]) {
    for ((out, a), b) in out.iter_mut().zip(a).zip(b) {
        *out = a + b;
    }
}
