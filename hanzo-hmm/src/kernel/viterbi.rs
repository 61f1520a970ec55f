//! The best path, in logs: add and maximum.
//!
//! For few states each step keeps the best predecessor of every state, one byte each; the comparisons that find it
//! happen beside the additions, which have to wait for the step before. For more states the scores are kept instead,
//! and the trace back repeats the additions for the states on its way. Both give the same path and score.

use std::hint::black_box;

use super::dispatch::{Arch, Level, Task};
use super::width::{Width, with_width};
use super::{Block, Chain};
use crate::{Error, Result};

/// Whether [`few_forward`] takes this number of states.
pub(crate) fn is_few(n_states: usize) -> bool {
    matches!(n_states, 2..=8 | 16)
}

/// The recursion for few states: `scores` are those of the last step, empty before the first one, and the best
/// predecessors of every state at every step of the block are appended to `before`.
///
/// The error is the first step, counted within the block, that no state survives.
pub(crate) fn few_forward(
    level: Level,
    chain: Chain<'_>,
    scores: &mut Vec<f64>,
    block: Block<'_>,
    before: &mut Vec<u8>,
) -> Result<(), usize> {
    let n_states = chain.n_states();
    let mut block = block;
    let start = before.len();
    before.resize(start + block.index.len() * n_states, 0);
    let mut places = &mut before[start..];
    let mut first = 0;
    if scores.is_empty() {
        let Some((&symbol, index)) = block.index.split_first() else { return Ok(()) };
        scores.resize(n_states, f64::NEG_INFINITY);
        add(scores, chain.log_initial, block.table.get(symbol * n_states..).unwrap_or_default());
        block.index = index;
        places = places.get_mut(n_states..).unwrap_or_default();
        first = 1;
        if is_dead(scores) {
            return Err(0);
        }
    }
    let mut kept = [0.0; MOST_FEW];
    kept.iter_mut().zip(&*scores).for_each(|(kept, score)| *kept = *score);
    level.run(FewForward { chain, scores, block, places });
    if is_dead(scores) {
        // Once more, step by step, to find out where.
        scores.iter_mut().zip(kept).for_each(|(score, kept)| *score = kept);
        for (t, symbol) in block.index.iter().enumerate() {
            let step = Block { index: std::slice::from_ref(symbol), ..block };
            level.run(FewForward {
                chain,
                scores,
                block: step,
                places: places.get_mut(..n_states).unwrap_or_default(),
            });
            if is_dead(scores) {
                return Err(first + t);
            }
        }
    }
    Ok(())
}

fn is_dead(scores: &[f64]) -> bool {
    scores.iter().all(|score| *score == f64::NEG_INFINITY)
}

struct FewForward<'k> {
    chain: Chain<'k>,
    scores: &'k mut [f64],
    block: Block<'k>,
    places: &'k mut [u8],
}

impl Task for FewForward<'_> {
    type Output = ();

    #[inline(always)]
    fn run<A: Arch>(self, _arch: A) {
        match self.chain.n_states() {
            2 => self.fixed::<2>(),
            3 => self.fixed::<3>(),
            4 => self.fixed::<4>(),
            5 => self.fixed::<5>(),
            6 => self.fixed::<6>(),
            7 => self.fixed::<7>(),
            8 => self.fixed::<8>(),
            _ => self.fixed::<16>(),
        };
    }
}

impl FewForward<'_> {
    #[inline(always)]
    fn fixed<const N: usize>(self) -> Option<()> {
        let matrix = self.chain.transitions.logs().as_chunks::<N>().0.first_chunk::<N>()?;
        let scores = self.scores.first_chunk_mut::<N>()?;
        let table = self.block.table.as_chunks::<N>().0;
        let mut now = *scores;
        for (&k, place) in self.block.index.iter().zip(self.places.as_chunks_mut::<N>().0) {
            let weights = table.get(k)?;
            let copy = now;
            let from = if N > 8 { black_box(&copy) } else { &copy };
            let (mut best, mut index) = four_best(from, matrix, 0);
            for start in (4..N).step_by(4) {
                let (other, place) = four_best(from, matrix, start);
                for j in 0..N {
                    index[j] = if other[j] > best[j] { place[j] } else { index[j] };
                    best[j] = if other[j] > best[j] { other[j] } else { best[j] };
                }
            }
            for j in 0..N {
                now[j] = best[j] + weights[j];
                place[j] = index[j] as u8;
            }
        }
        *scores = now;
        Some(())
    }
}

/// Best predecessors among four states from `start` on, the lowest index first among equals.
#[inline(always)]
fn four_best<const N: usize>(now: &[f64; N], matrix: &[[f64; N]; N], start: usize) -> ([f64; N], [u64; N]) {
    let (mut best, mut index) = ([[f64::NEG_INFINITY; N]; 2], [[0_u64; N]; 2]);
    for half in 0..2 {
        let first = start + 2 * half;
        for j in 0..N {
            if first < N {
                best[half][j] = now[first] + matrix[first][j];
                index[half][j] = first as u64;
            }
            if first + 1 < N {
                let score = now[first + 1] + matrix[first + 1][j];
                index[half][j] = if score > best[half][j] { first as u64 + 1 } else { index[half][j] };
                best[half][j] = if score > best[half][j] { score } else { best[half][j] };
            }
        }
    }
    for j in 0..N {
        index[0][j] = if best[1][j] > best[0][j] { index[1][j] } else { index[0][j] };
        best[0][j] = if best[1][j] > best[0][j] { best[1][j] } else { best[0][j] };
    }
    (best[0], index[0])
}

/// Follows the predecessors back from the best of the last scores. Returns its log-probability.
pub(crate) fn few_trace_back(scores: &[f64], before: &[u8], path: &mut Vec<usize>) -> f64 {
    let n_states = scores.len();
    path.clear();
    if n_states == 0 {
        return 0.0;
    }
    let (state, best) = largest(scores.iter().copied());
    path.resize(before.len() / n_states, 0);
    match n_states {
        2 => follow::<2>(before, path, state),
        3 => follow::<3>(before, path, state),
        4 => follow::<4>(before, path, state),
        5 => follow::<5>(before, path, state),
        6 => follow::<6>(before, path, state),
        7 => follow::<7>(before, path, state),
        8 => follow::<8>(before, path, state),
        _ => follow::<16>(before, path, state),
    }
    best
}

fn follow<const N: usize>(before: &[u8], path: &mut [usize], last: usize) {
    let mut state = last;
    for (before, place) in before.as_chunks::<N>().0.iter().zip(path).rev() {
        *place = state;
        state = before.get(state).map_or(0, |state| usize::from(*state));
    }
}

/// Appends the best score of every state at every step of a block to `scores`, which holds those of all steps before.
pub(crate) fn forward(
    level: Level,
    chain: Chain<'_>,
    memory: &mut Vec<f64>,
    block: Block<'_>,
    scores: &mut Vec<f64>,
) -> Result<()> {
    memory.clear();
    memory.resize(chain.n_states() * 2, 0.0);
    level.run(Forward { chain, memory, block, scores })
}

struct Forward<'k> {
    chain: Chain<'k>,
    memory: &'k mut [f64],
    block: Block<'k>,
    scores: &'k mut Vec<f64>,
}

impl Task for Forward<'_> {
    type Output = Result<()>;

    #[inline(always)]
    fn run<A: Arch>(self, _arch: A) -> Result<()> {
        let Self { chain, memory, block, scores } = self;
        with_width!(chain.n_states(), w => forward_at::<A, _>(w, chain, memory, block, scores))
    }
}

#[inline(always)]
fn forward_at<A: Arch, W: Width>(
    w: W,
    chain: Chain<'_>,
    memory: &mut [f64],
    block: Block<'_>,
    scores: &mut Vec<f64>,
) -> Result<()> {
    let n_states = w.n();
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
        w.max_product::<A>(&now, matrix, &mut next);
        add(now.as_mut(), next.as_ref(), weights);
        out.copy_from_slice(now.as_ref());
    }
    Ok(())
}

/// Follows the scores back into the best path, lowest index first among equals. Returns its log-probability, or the
/// first step that no state survives.
pub(crate) fn trace_back(level: Level, chain: Chain<'_>, scores: &[f64], path: &mut Vec<usize>) -> Result<f64, usize> {
    let n_states = chain.n_states();
    path.clear();
    path.resize(scores.len() / n_states, 0);
    let Some((before, last)) = scores.len().checked_sub(n_states).map(|at| scores.split_at(at)) else { return Ok(0.0) };
    let (state, best) = largest(last.iter().copied());
    if best == f64::NEG_INFINITY {
        let dead = |row: &[f64]| row.iter().all(|score| *score == f64::NEG_INFINITY);
        return Err(scores.chunks_exact(n_states).position(dead).unwrap_or(0));
    }
    if let Some((end, path)) = path.split_last_mut() {
        *end = state;
        level.run(TraceBack { chain, scores: before, path, state });
    }
    Ok(best)
}

/// Follows the scores of some steps back from the state of the step after them.
pub(crate) fn trace_from(level: Level, chain: Chain<'_>, scores: &[f64], path: &mut [usize], next: usize) {
    level.run(TraceBack { chain, scores, path, state: next });
}

struct TraceBack<'k> {
    chain: Chain<'k>,
    scores: &'k [f64],
    path: &'k mut [usize],
    state: usize,
}

impl Task for TraceBack<'_> {
    type Output = ();

    #[inline(always)]
    fn run<A: Arch>(self, _arch: A) {
        match self.chain.n_states() {
            2 => self.fixed::<2>(),
            3 => self.fixed::<3>(),
            4 => self.fixed::<4>(),
            5 => self.fixed::<5>(),
            6 => self.fixed::<6>(),
            8 => self.fixed::<8>(),
            16 => self.any(16),
            32 => self.any(32),
            64 => self.any(64),
            n => self.any(n),
        }
    }
}

/// The additions are those of the way forward, so the maximum is met exactly.
impl TraceBack<'_> {
    /// Best predecessors of all states for some steps at a time, which does not wait for the state of the step after,
    /// and then the way through them.
    #[inline(always)]
    fn fixed<const N: usize>(self) {
        let Some(matrix) = self.chain.transitions.logs().as_chunks::<N>().0.first_chunk::<N>() else { return };
        let mut state = self.state;
        let mut before = [[0_u64; N]; STEPS];
        for (rows, places) in self.scores.as_chunks::<N>().0.rchunks(STEPS).zip(self.path.rchunks_mut(STEPS)) {
            for (row, before) in rows.iter().zip(&mut before) {
                let (mut best, mut index) = ([f64::NEG_INFINITY; N], [0_u64; N]);
                for i in 0..N {
                    for j in 0..N {
                        let score = row[i] + matrix[i][j];
                        index[j] = if score > best[j] { i as u64 } else { index[j] };
                        best[j] = if score > best[j] { score } else { best[j] };
                    }
                }
                *before = index;
            }
            for (place, before) in places.iter_mut().zip(&before).rev() {
                state = before.get(state).map_or(0, |state| *state as usize);
                *place = state;
            }
        }
    }

    #[inline(always)]
    fn any(self, n_states: usize) {
        let mut state = self.state;
        for (row, place) in self.scores.chunks_exact(n_states).zip(self.path).rev() {
            let Some(column) = self.chain.transitions.logs_transposed().get(state * n_states..(state + 1) * n_states)
            else {
                return;
            };
            let (mut best, mut rest) = ([f64::NEG_INFINITY; 8], f64::NEG_INFINITY);
            let (rows, row_rest) = row.as_chunks::<8>();
            let (columns, column_rest) = column.as_chunks::<8>();
            for (row, column) in rows.iter().zip(columns) {
                for k in 0..8 {
                    let score = row[k] + column[k];
                    best[k] = if score > best[k] { score } else { best[k] };
                }
            }
            for (score, step) in row_rest.iter().zip(column_rest) {
                rest = if score + step > rest { score + step } else { rest };
            }
            let halves = |a: f64, b: f64| if b > a { b } else { a };
            let left = halves(halves(best[0], best[4]), halves(best[2], best[6]));
            let right = halves(halves(best[1], best[5]), halves(best[3], best[7]));
            let max = halves(halves(left, right), rest);
            // Each lane keeps its lowest index that meets the maximum.
            let mut first = [u64::MAX; 8];
            for (at, (row, column)) in rows.iter().zip(columns).enumerate().rev() {
                for k in 0..8 {
                    first[k] = if row[k] + column[k] == max { (8 * at + k) as u64 } else { first[k] };
                }
            }
            let mut lowest = first.into_iter().fold(u64::MAX, u64::min);
            for (at, (score, step)) in row_rest.iter().zip(column_rest).enumerate().rev() {
                let own = (8 * rows.len() + at) as u64;
                lowest = if score + step == max { lowest.min(own) } else { lowest };
            }
            state = usize::try_from(lowest).unwrap_or(0);
            *place = state;
        }
    }
}

/// The largest number of states that are few.
const MOST_FEW: usize = 16;
/// Steps whose predecessors are looked up together.
const STEPS: usize = 64;

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
