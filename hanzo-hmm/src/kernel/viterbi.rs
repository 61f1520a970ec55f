//! The best path, in logs: add and maximum.

use super::dispatch::{Arch, Level, Task};
use super::width::{Width, with_width};
use super::{Block, Chain};
use crate::{Error, Result};

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
