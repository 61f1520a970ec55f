//! One sequence in chunks: the associative scan of Hassan, Sarkka and Garcia-Fernandez (IEEE TSP 69:4875, 2021).
//!
//! A chunk of steps acts on the forward values as an `S x S` matrix, whose rows are forward recursions that begin in
//! one state each. The matrices of all chunks are computed side by side; a short recursion over the chunks then gives
//! the values at their ends, from which the chunks are finished side by side. The work is `S + 1` times that of the
//! ordinary recursion and the time that of a chunk, so that it pays with more cores than states. Nothing depends on the
//! number of threads.

use std::num::NonZeroUsize;
use std::ops::Range;

use super::decoding::Path;
use super::forward_backward::{Expected, log_of};
use crate::Result;
use crate::kernel::arith::{Sum, pow2};
use crate::kernel::weights::Weights;
use crate::kernel::{Block, Chain, Level, Workspace, dense, product, scaled, viterbi};
use crate::model::{Emission, Hmm, Observations};

/// Whether a sequence is one for the scaled scan: a dense model and more than one chunk.
pub(super) fn applies<E: Emission>(model: &Hmm<E>, steps: usize, chunk: NonZeroUsize) -> bool {
    dense::period(Chain::of(model)).is_some() && steps > chunk.get()
}

/// The log-likelihood of a checked sequence.
pub(super) fn log_likelihood<'a, E, Q>(
    model: &Hmm<E>,
    level: Level,
    observations: &Q,
    chunk: NonZeroUsize,
) -> Result<f64, scaled::Lost>
where
    E: Emission,
    Q: Observations<E::Obs<'a>>,
{
    let parts = parts(model, level, observations, chunk)?;
    let ends = ends(model, &parts)?;
    value(&parts, ends.last().ok_or(scaled::Lost)?)
}

/// Leaves the posteriors of a checked sequence in the workspace's lattice.
pub(super) fn smooth<'a, E, Q>(
    model: &Hmm<E>,
    workspace: &mut Workspace,
    observations: &Q,
    chunk: NonZeroUsize,
    expected: Option<&mut Expected>,
) -> Result<f64, scaled::Lost>
where
    E: Emission,
    Q: Observations<E::Obs<'a>>,
{
    let (n, level) = (model.n_states(), workspace.level());
    let parts = parts(model, level, observations, chunk)?;
    let ends = ends(model, &parts)?;
    let log_likelihood = value(&parts, ends.last().ok_or(scaled::Lost)?)?;
    let starts = starts(n, &parts)?;
    let Workspace { lattice, exponents, .. } = workspace;
    lattice.resize(observations.len() * n, 0.0);
    exponents.resize(observations.len(), 0);
    let memory = lattice.chunks_mut(chunk.get() * n).zip(exponents.chunks_mut(chunk.get()));
    let tasks: Vec<_> = parts.iter().zip(memory).zip(starts).enumerate().collect();
    let wanted = expected.is_some();
    let pairs = map_all(tasks, |(at, ((part, (lattice, exponents)), after))| {
        let before = at.checked_sub(1).and_then(|at| ends.get(at));
        finish(model, level, part, before, &after, (lattice, exponents), wanted)
    });
    let mut sums = vec![0.0; if wanted { n * n } else { 0 }];
    for pairs in pairs {
        sums.iter_mut().zip(pairs?).for_each(|(sum, pair)| *sum += pair);
    }
    if let Some(expected) = expected {
        expected.pairs.copy_from_slice(&sums);
        expected.add_pairs(model.transitions().probabilities());
    }
    Ok(log_likelihood)
}

/// The best path of a checked sequence; `None` where no path is possible.
pub(super) fn best_path<'a, E, Q>(model: &Hmm<E>, level: Level, observations: &Q, chunk: NonZeroUsize) -> Option<Path>
where
    E: Emission,
    Q: Observations<E::Obs<'a>>,
{
    let (n, chain) = (model.n_states(), Chain::of(model));
    let table = model.emission().table();
    let logs = chain.transitions.logs();
    // The best score from every state before a chunk to every state at its end.
    let parts = map_all(ranges(observations.len(), chunk), |range| {
        let mut weights = Weights::default();
        weights.fill_logs(model, observations, range.clone());
        let (mut matrix, mut memory, mut scores) = (Vec::new(), Vec::new(), Vec::new());
        // The first chunk begins once, by the initial distribution.
        for row in logs.chunks_exact(n).take(if range.start == 0 { 0 } else { n }) {
            scores.clear();
            let chain = Chain { log_initial: row, ..chain };
            viterbi::forward(level, chain, &mut memory, weights.log_block(table), &mut scores).ok()?;
            matrix.extend_from_slice(&scores[scores.len() - n..]);
        }
        Some((weights, matrix))
    });
    let parts = parts.into_iter().collect::<Option<Vec<_>>>()?;
    let mut starts = vec![chain.log_initial.to_vec()];
    let mut scores = Vec::new();
    viterbi::forward(level, chain, &mut Vec::new(), parts.first()?.0.log_block(table), &mut scores).ok()?;
    let mut end = scores[scores.len() - n..].to_vec();
    for (_, matrix) in parts.iter().skip(1) {
        starts.push(max_product(&end, logs));
        end = max_product(&end, matrix);
    }
    let tasks: Vec<_> = parts.iter().zip(&starts).collect();
    let scores = map_all(tasks, |((weights, _), start)| {
        let mut scores = Vec::new();
        let chain = Chain { log_initial: start, ..chain };
        viterbi::forward(level, chain, &mut Vec::new(), weights.log_block(table), &mut scores).ok()?;
        Some(scores)
    });
    let scores = scores.into_iter().collect::<Option<Vec<_>>>()?;
    let (last, others) = scores.split_last()?;
    let mut end = Vec::new();
    let log_prob = viterbi::trace_back(level, chain, last, &mut end).ok()?;
    let mut states = vec![0; observations.len()];
    let (before, place) = states.split_at_mut(observations.len() - end.len());
    place.copy_from_slice(&end);
    let mut next = *end.first()?;
    for (scores, path) in others.iter().zip(before.chunks_mut(chunk.get())).rev() {
        viterbi::trace_from(level, chain, scores, path, next);
        next = *path.first()?;
    }
    Some(Path { states, log_prob })
}

fn max_product(x: &[f64], matrix: &[f64]) -> Vec<f64> {
    let mut y = vec![f64::NEG_INFINITY; x.len()];
    for (x, row) in x.iter().zip(matrix.chunks_exact(x.len())) {
        for (y, m) in y.iter_mut().zip(row) {
            *y = if x + m > *y { x + m } else { *y };
        }
    }
    y
}

/// A chunk: its emissions, and the forward values at its end from every state before it (from the start of the
/// sequence for the first chunk), over powers of two by row.
struct Part {
    weights: Weights,
    matrix: Vec<f64>,
    exponents: Vec<i64>,
}

impl Part {
    fn block<'p, E: Emission>(&'p self, model: &'p Hmm<E>) -> Block<'p> {
        self.weights.block(model.emission().table())
    }
}

/// Forward values over a power of two.
#[derive(Clone)]
struct Values {
    values: Vec<f64>,
    exponent: i64,
}

impl Values {
    fn rescaled(mut values: Vec<f64>, exponent: i64) -> Result<Self, scaled::Lost> {
        let shift = scaled::rescale(&mut values)?;
        Ok(Self { values, exponent: exponent + shift })
    }
}

fn parts<'a, E, Q>(
    model: &Hmm<E>,
    level: Level,
    observations: &Q,
    chunk: NonZeroUsize,
) -> Result<Vec<Part>, scaled::Lost>
where
    E: Emission,
    Q: Observations<E::Obs<'a>>,
{
    let chain = Chain::of(model);
    let compute = |range: Range<usize>| {
        let first = range.start == 0;
        let mut weights = Weights::default();
        if first {
            weights.begin();
        } else {
            weights.begin_inside();
        }
        weights.fill(level, model, observations, range)?;
        let mut part = Part { weights, matrix: Vec::new(), exponents: Vec::new() };
        let mut carry = scaled::Carry::default();
        let rows = if first { chain.initial } else { chain.transitions.probabilities() };
        for row in rows.chunks_exact(chain.n_states()) {
            let chain = Chain { initial: row, ..chain };
            carry.begin(chain);
            scaled::forward(level, chain, &mut carry, part.block(model), None)?;
            part.matrix.extend_from_slice(carry.values());
            part.exponents.push(carry.exponent());
        }
        Ok(part)
    };
    map_all(ranges(observations.len(), chunk), compute).into_iter().collect()
}

/// The forward values at the end of every chunk.
fn ends<E: Emission>(model: &Hmm<E>, parts: &[Part]) -> Result<Vec<Values>, scaled::Lost> {
    let n = model.n_states();
    let mut ends: Vec<Values> = Vec::with_capacity(parts.len());
    for part in parts {
        let end = match ends.last() {
            None => Values::rescaled(part.matrix.clone(), part.exponents.first().copied().ok_or(scaled::Lost)?)?,
            Some(before) => {
                let largest = part.exponents.iter().copied().max().ok_or(scaled::Lost)?;
                let mut values = vec![0.0; n];
                let rows = part.matrix.chunks_exact(n).zip(&part.exponents);
                for (a, (row, exponent)) in before.values.iter().zip(rows) {
                    let a = a * pow2(i32::try_from(exponent - largest).unwrap_or(i32::MIN));
                    values.iter_mut().zip(row).for_each(|(value, p)| *value += a * p);
                }
                Values::rescaled(values, before.exponent + largest)?
            }
        };
        ends.push(end);
    }
    Ok(ends)
}

/// The backward values at the last step of every chunk, without their exponents, which do not matter.
fn starts(n: usize, parts: &[Part]) -> Result<Vec<Vec<f64>>, scaled::Lost> {
    let mut beta = vec![1.0; n];
    let mut all = vec![beta.clone()];
    for part in parts.iter().skip(1).rev() {
        let largest = part.exponents.iter().copied().max().ok_or(scaled::Lost)?;
        let rows = part.matrix.chunks_exact(n).zip(&part.exponents);
        let entry = |(row, exponent): (&[f64], &i64)| {
            let sum: f64 = row.iter().zip(&beta).map(|(p, b)| p * b).sum();
            sum * pow2(i32::try_from(exponent - largest).unwrap_or(i32::MIN))
        };
        beta = Values::rescaled(rows.map(entry).collect(), 0)?.values;
        all.push(beta.clone());
    }
    all.reverse();
    Ok(all)
}

/// Posteriors of a chunk between the forward values before it and the backward values at its end, and the sums of
/// products of its transitions, those into it included.
fn finish<E: Emission>(
    model: &Hmm<E>,
    level: Level,
    part: &Part,
    before: Option<&Values>,
    after: &[f64],
    (lattice, exponents): (&mut [f64], &mut [i64]),
    wanted: bool,
) -> Result<Vec<f64>, scaled::Lost> {
    let (n, chain) = (model.n_states(), Chain::of(model));
    let mut prediction = chain.initial.to_vec();
    if let Some(before) = before {
        product(&before.values, chain.transitions.probabilities(), &mut prediction);
    }
    let (mut carry, mut back) = (scaled::Carry::default(), scaled::Back::default());
    let inner = Chain { initial: &prediction, ..chain };
    carry.begin(inner);
    scaled::forward(level, inner, &mut carry, part.block(model), Some((&mut *lattice, &mut *exponents)))?;
    let mut pairs = vec![0.0; if wanted { n * n } else { 0 }];
    back.begin_at(after);
    let xi = wanted.then_some(pairs.as_mut_slice());
    scaled::backward(level, inner, part.block(model), (lattice, exponents), &mut back, xi)?;
    if wanted {
        back.finish(&mut pairs);
        if let Some(before) = before {
            let weighted = back.weighted();
            let sum: f64 = prediction.iter().zip(weighted).map(|(p, w)| p * w).sum();
            if !(sum >= scaled::SMALLEST_MASS && sum.is_finite()) {
                return Err(scaled::Lost);
            }
            for (row, a) in pairs.chunks_exact_mut(n).zip(&before.values) {
                row.iter_mut().zip(weighted).for_each(|(pair, w)| *pair += a * w / sum);
            }
        }
    }
    Ok(pairs)
}

fn value(parts: &[Part], end: &Values) -> Result<f64, scaled::Lost> {
    let (mut exponent, mut shift) = (end.exponent, Sum::default());
    for part in parts {
        exponent += part.weights.exponent();
        shift.add(part.weights.shift());
    }
    let value = log_of(end.values.iter().sum(), exponent, [shift.value(), 0.0]);
    if value.is_finite() { Ok(value) } else { Err(scaled::Lost) }
}

fn ranges(steps: usize, chunk: NonZeroUsize) -> Vec<Range<usize>> {
    (0..steps).step_by(chunk.get()).map(|start| start..steps.min(start.saturating_add(chunk.get()))).collect()
}

/// The results of all tasks, in order.
#[cfg(feature = "rayon")]
fn map_all<T: Send, U: Send>(tasks: Vec<T>, f: impl Fn(T) -> U + Sync + Send) -> Vec<U> {
    use rayon::prelude::*;
    tasks.into_par_iter().map(f).collect()
}

#[cfg(not(feature = "rayon"))]
fn map_all<T, U>(tasks: Vec<T>, f: impl Fn(T) -> U) -> Vec<U> {
    tasks.into_iter().map(f).collect()
}
