//! Forward and backward recursions on scaled probabilities.
//!
//! Values are kept in range by exact powers of two. A dense model refills every state at each step, so a minority
//! state may underflow. Elsewhere an upper bound of the mass that underflow may have taken is carried along, and a
//! sequence for which it becomes visible is left to the log kernel, as is one whose likelihood is not the same at all
//! steps of the backward pass.

use super::arith::{exponent, folded, mul_add, pow2};
use super::dispatch::{Arch, Baseline, Level, Task};
use super::width::{Width, with_width};
use super::{Aligned, Block, Chain};
use crate::Result;
use crate::model::{Shape, SparseRows};

/// The scaled kernel cannot tell; the log kernel can.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Lost;

/// The forward recursion between two blocks of steps.
#[derive(Debug, Clone, Default)]
pub(crate) struct Carry {
    values: Vec<f64>,
    memory: Aligned,
    started: bool,
    /// The true values are `values * 2^exponent`, times the shifts of the emissions.
    exponent: i64,
    /// Sum of the values, and upper bound of the mass lost so far over it (both only for guarded models).
    mass: f64,
    lost: f64,
}

impl Carry {
    /// Ready for the first step of a sequence.
    pub(crate) fn begin(&mut self, chain: Chain<'_>) {
        self.values.clear();
        self.values.extend_from_slice(chain.initial);
        self.memory.reset(chain.n_states() * 2, 0.0);
        self.started = false;
        self.exponent = 0;
        self.mass = 1.0;
        self.lost = 0.0;
    }

    /// Forward values of the last step, without their power of two.
    pub(crate) fn values(&self) -> &[f64] {
        &self.values
    }

    pub(crate) fn exponent(&self) -> i64 {
        self.exponent
    }
}

/// Runs the forward recursion over a block; `store` gets the values of each step (`S` numbers) and their exponents.
pub(crate) fn forward(
    level: Level,
    chain: Chain<'_>,
    carry: &mut Carry,
    block: Block<'_>,
    store: Option<(&mut [f64], &mut [i64])>,
) -> Result<(), Lost> {
    level.run(Forward { chain, carry, block, store })
}

struct Forward<'k> {
    chain: Chain<'k>,
    carry: &'k mut Carry,
    block: Block<'k>,
    store: Option<(&'k mut [f64], &'k mut [i64])>,
}

impl Task for Forward<'_> {
    type Output = Result<(), Lost>;

    #[inline(always)]
    fn run<A: Arch>(self, _arch: A) -> Result<(), Lost> {
        let Self { chain, carry, block, store } = self;
        let (lattice, exponents) = store.unwrap_or_default();
        let mut places = lattice.chunks_exact_mut(chain.n_states()).zip(exponents);
        let sink = |values: &[f64], exponent: i64| {
            if let Some((place, place_exponent)) = places.next() {
                place.copy_from_slice(values);
                *place_exponent = exponent;
            }
        };
        with_width!(chain.n_states(), w => forward_at::<A, _>(w, chain, carry, block, sink))
    }
}

#[inline(always)]
fn forward_at<A: Arch, W: Width>(
    w: W,
    chain: Chain<'_>,
    carry: &mut Carry,
    block: Block<'_>,
    mut sink: impl FnMut(&[f64], i64),
) -> Result<(), Lost> {
    let (low, high) = carry.memory.split_at_mut(w.n());
    low.copy_from_slice(&carry.values);
    let mut now = w.row(low).ok_or(Lost)?;
    let mut next = w.row(high).ok_or(Lost)?;
    let matrix = w.matrix(chain.transitions.probabilities()).ok_or(Lost)?;
    let table = w.table(block.table);
    let mut index = block.index;
    let mut guard = Guard { mass: carry.mass, lost: carry.lost, exponent: carry.exponent };
    if let (false, Some((&first, rest))) = (carry.started, index.split_first()) {
        let weights = w.get(table, first).ok_or(Lost)?;
        for (a, weight) in now.as_mut().iter_mut().zip(weights) {
            *a *= weight;
        }
        guard.settle(now.as_mut(), weights, block.possible.first().copied())?;
        sink(now.as_ref(), guard.exponent);
        carry.started = true;
        index = rest;
    }
    match chain.transitions.shape() {
        Shape::Dense { period } => {
            for steps in index.chunks(*period) {
                let Some((&last, before)) = steps.split_last() else { break };
                for &k in before {
                    let weights = w.get(table, k).ok_or(Lost)?;
                    w.product::<A>(&now, matrix, &mut next);
                    multiply(now.as_mut(), next.as_ref(), weights);
                    sink(now.as_ref(), guard.exponent);
                }
                let weights = w.get(table, last).ok_or(Lost)?;
                w.product::<A>(&now, matrix, &mut next);
                multiply(now.as_mut(), next.as_ref(), weights);
                guard.exponent += rescale(now.as_mut())?;
                sink(now.as_ref(), guard.exponent);
            }
        }
        Shape::Guarded { sparse, .. } => {
            let possible = block.possible.iter().skip(block.index.len() - index.len());
            for (&k, &possible) in index.iter().zip(possible) {
                let weights = w.get(table, k).ok_or(Lost)?;
                match sparse {
                    Some(rows) => scatter(rows, now.as_ref(), next.as_mut()),
                    None => w.product::<A>(&now, matrix, &mut next),
                }
                multiply(now.as_mut(), next.as_ref(), weights);
                guard.settle(now.as_mut(), weights, Some(possible))?;
                sink(now.as_ref(), guard.exponent);
            }
        }
    }
    carry.values.copy_from_slice(now.as_ref());
    (carry.mass, carry.lost, carry.exponent) = (guard.mass, guard.lost, guard.exponent);
    Ok(())
}

/// The backward recursion between two blocks of steps, which come last first.
#[derive(Debug, Clone, Default)]
pub(crate) struct Back {
    /// Backward values of the first step so far, then the same times the weights of that step.
    values: Vec<f64>,
    memory: Aligned,
    /// Forward and backward vectors whose outer products are still to be added.
    pairs: Aligned,
    filled: usize,
    exponent: i64,
    since: usize,
    /// Likelihood at the last step, and its exponent.
    end: Option<(f64, i64)>,
}

impl Back {
    /// Ready for the last step of a sequence.
    pub(crate) fn begin(&mut self, chain: Chain<'_>) {
        let n_states = chain.n_states();
        self.values.clear();
        self.values.resize(n_states, 1.0);
        self.reset(n_states);
    }

    /// Ready for a last step with these backward values.
    pub(crate) fn begin_at(&mut self, values: &[f64]) {
        self.values.clear();
        self.values.extend_from_slice(values);
        self.reset(values.len());
    }

    fn reset(&mut self, n_states: usize) {
        self.values.resize(2 * n_states, 1.0);
        self.memory.reset(2 * n_states, 0.0);
        self.pairs.reset(2 * XI_BLOCK * n_states, 0.0);
        (self.filled, self.exponent, self.since, self.end) = (0, 0, 0, None);
    }

    /// Backward values of the first step so far, times its weights, over some power of two.
    pub(crate) fn weighted(&self) -> &[f64] {
        &self.values[self.values.len() / 2..]
    }

    /// Adds what is left to `xi`, after the first step.
    pub(crate) fn finish(&mut self, xi: &mut [f64]) {
        let n_states = self.values.len() / 2;
        let (alphas, others) = self.pairs.split_at_mut(XI_BLOCK * n_states);
        alphas[self.filled * n_states..].fill(0.0);
        add_outer::<Baseline>(xi, alphas, others, n_states);
        self.filled = 0;
    }
}

/// Turns the forward values of a block into posteriors, in place, by the backward recursion.
///
/// `xi`, when asked for, grows by the sums over t of `alpha_t(i) W_t(j)`; times `A_ij` they are the expected
/// transitions. 3 `S^2` multiply-adds a step with it, 2 without.
pub(crate) fn backward(
    level: Level,
    chain: Chain<'_>,
    block: Block<'_>,
    (alpha, exponents): (&mut [f64], &[i64]),
    back: &mut Back,
    xi: Option<&mut [f64]>,
) -> Result<(), Lost> {
    level.run(Backward { chain, block, alpha, exponents, back, xi })
}

struct Backward<'k> {
    chain: Chain<'k>,
    block: Block<'k>,
    alpha: &'k mut [f64],
    exponents: &'k [i64],
    back: &'k mut Back,
    xi: Option<&'k mut [f64]>,
}

impl Task for Backward<'_> {
    type Output = Result<(), Lost>;

    #[inline(always)]
    fn run<A: Arch>(self, _arch: A) -> Result<(), Lost> {
        let Self { chain, block, alpha, exponents, back, xi } = self;
        with_width!(chain.n_states(), w => backward_at::<A, _>(w, chain, block, alpha, exponents, back, xi))
    }
}

#[inline(always)]
fn backward_at<A: Arch, W: Width>(
    w: W,
    chain: Chain<'_>,
    block: Block<'_>,
    alpha: &mut [f64],
    exponents: &[i64],
    back: &mut Back,
    mut xi: Option<&mut [f64]>,
) -> Result<(), Lost> {
    let n_states = w.n();
    let table = w.table(block.table);
    let transposed = w.matrix(chain.transitions.transposed()).ok_or(Lost)?;
    let (period, sparse) = match chain.transitions.shape() {
        Shape::Dense { period } => (*period, None),
        Shape::Guarded { sparse, .. } => (1, sparse.as_ref()),
    };
    let Back { values, memory, pairs, filled, exponent, since, end } = back;
    memory.copy_from_slice(values);
    let (low, high) = memory.split_at_mut(n_states);
    let mut beta = w.row(low).ok_or(Lost)?;
    let mut weighted = w.row(high).ok_or(Lost)?;
    for ((alpha, &alpha_exponent), &symbol) in alpha.chunks_exact_mut(n_states).zip(exponents).zip(block.index).rev() {
        if let Some((likelihood, last_exponent)) = *end {
            match sparse {
                Some(rows) => gather(rows, weighted.as_ref(), beta.as_mut()),
                None => w.product::<A>(&weighted, transposed, &mut beta),
            }
            let sum = dot::<A>(alpha, beta.as_ref());
            // The likelihood is the same at every step, or digits were lost.
            let difference = alpha_exponent + *exponent - last_exponent;
            let ratio = sum * pow2(i32::try_from(difference).unwrap_or(i32::MAX)) / likelihood;
            if !(sum >= SMALLEST_MASS && (ratio - 1.0).abs() <= CONSISTENT) {
                return Err(Lost);
            }
            let inverse = sum.recip();
            if let Some(xi) = xi.as_deref_mut() {
                let (alphas, others) = pairs.split_at_mut(XI_BLOCK * n_states);
                alphas[*filled * n_states..][..n_states].copy_from_slice(alpha);
                for (out, v) in others[*filled * n_states..][..n_states].iter_mut().zip(weighted.as_ref()) {
                    *out = v * inverse;
                }
                *filled += 1;
                if *filled == XI_BLOCK {
                    add_outer::<A>(xi, alphas, others, n_states);
                    *filled = 0;
                }
            }
            for (a, b) in alpha.iter_mut().zip(beta.as_ref()) {
                *a *= b * inverse;
            }
            *since += 1;
            if *since == period {
                *exponent += rescale(beta.as_mut())?;
                *since = 0;
            }
        } else {
            let likelihood: f64 = alpha.iter().zip(beta.as_ref()).map(|(a, b)| a * b).sum();
            if !(likelihood >= SMALLEST_MASS && likelihood.is_finite()) {
                return Err(Lost);
            }
            for (a, b) in alpha.iter_mut().zip(beta.as_ref()) {
                *a *= b * likelihood.recip();
            }
            *end = Some((likelihood, alpha_exponent));
        }
        multiply(weighted.as_mut(), beta.as_ref(), w.get(table, symbol).ok_or(Lost)?);
    }
    let (first, second) = values.split_at_mut(n_states);
    first.copy_from_slice(beta.as_ref());
    second.copy_from_slice(weighted.as_ref());
    Ok(())
}

/// Running bound of the mass that underflow took, and the exponent.
struct Guard {
    mass: f64,
    lost: f64,
    exponent: i64,
}

impl Guard {
    /// Checks and rescales the values of a step; `possible` is the number of states the chain can be in, `None` where a
    /// lost state would be refilled.
    #[inline(always)]
    fn settle(&mut self, values: &mut [f64], weights: &[f64], possible: Option<usize>) -> Result<(), Lost> {
        let mass: f64 = values.iter().sum();
        if !(mass >= SMALLEST_MASS && mass.is_finite()) {
            return Err(Lost);
        }
        if let Some(possible) = possible {
            let kept = values.iter().filter(|a| **a >= SMALLEST_VALUE).count();
            let gone = possible.saturating_sub(kept);
            if gone > 0 || self.lost > 0.0 {
                let growth = weights.iter().copied().fold(0.0, f64::max) * self.mass / mass;
                let lost = self.lost * growth + gone as f64 * (SMALLEST_VALUE / mass);
                if lost > VISIBLE || lost.is_nan() {
                    return Err(Lost);
                }
                // Never back to zero: what is lost may grow again.
                self.lost = lost.max(SMALLEST_BOUND);
            }
        }
        let shift = exponent(mass);
        let factor = pow2(-shift);
        scale(values, factor);
        self.mass = mass * factor;
        self.exponent += i64::from(shift);
        Ok(())
    }
}

/// Divides by the power of two of the maximum and returns its exponent.
#[inline(always)]
pub(crate) fn rescale(values: &mut [f64]) -> Result<i64, Lost> {
    let larger = |max, v| if v > max { v } else { max };
    let (rows, rest) = values.as_chunks::<4>();
    let mut lanes = [0.0; 4];
    for row in rows {
        for k in 0..4 {
            lanes[k] = larger(lanes[k], row[k]);
        }
    }
    let max = rest.iter().copied().fold(folded(lanes, larger), larger);
    if !(max >= SMALLEST_MASS && max.is_finite()) {
        return Err(Lost);
    }
    let shift = exponent(max);
    scale(values, pow2(-shift));
    Ok(i64::from(shift))
}

#[inline(always)]
pub(super) fn scale(values: &mut [f64], factor: f64) {
    for value in values {
        *value *= factor;
    }
}

#[inline(always)]
pub(super) fn multiply(out: &mut [f64], a: &[f64], b: &[f64]) {
    for ((out, a), b) in out.iter_mut().zip(a).zip(b) {
        *out = a * b;
    }
}

/// A dot product in four interleaved sums.
#[inline(always)]
pub(super) fn dot<A: Arch>(a: &[f64], b: &[f64]) -> f64 {
    let (a4, a_rest) = a.as_chunks::<4>();
    let (b4, b_rest) = b.as_chunks::<4>();
    let mut sums = [0.0; 4];
    for (a, b) in a4.iter().zip(b4) {
        for k in 0..4 {
            sums[k] = mul_add::<A>(a[k], b[k], sums[k]);
        }
    }
    let rest: f64 = a_rest.iter().zip(b_rest).map(|(a, b)| a * b).sum();
    (sums[0] + sums[2]) + (sums[1] + sums[3]) + rest
}

/// `y = x A` over the non-zero entries.
fn scatter(rows: &SparseRows, x: &[f64], y: &mut [f64]) {
    y.fill(0.0);
    for (row, &x) in rows.rows().zip(x) {
        if x > 0.0 {
            for &(j, p) in row {
                y[j] += x * p;
            }
        }
    }
}

/// `y = A x` over the non-zero entries.
fn gather(rows: &SparseRows, x: &[f64], y: &mut [f64]) {
    for (y, row) in y.iter_mut().zip(rows.rows()) {
        *y = row.iter().fold(0.0, |sum, &(j, p)| sum + p * x[j]);
    }
}

/// `xi_ij += sum over k of a_k(i) b_k(j)`.
#[inline(always)]
pub(super) fn add_outer<A: Arch>(xi: &mut [f64], a: &[f64], b: &[f64], n_states: usize) {
    for (i, row) in xi.chunks_exact_mut(n_states).enumerate() {
        let mut factors = [0.0; XI_BLOCK];
        for (factor, a) in factors.iter_mut().zip(a.chunks_exact(n_states)) {
            *factor = a[i];
        }
        let mut start = 0;
        if A::BLOCK >= 64 {
            while n_states - start >= 64 {
                add_outer_columns::<A, 64>(row, &factors, b, start);
                start += 64;
            }
        }
        if A::BLOCK >= 32 {
            while n_states - start >= 32 {
                add_outer_columns::<A, 32>(row, &factors, b, start);
                start += 32;
            }
        }
        while n_states - start >= 16 {
            add_outer_columns::<A, 16>(row, &factors, b, start);
            start += 16;
        }
        while n_states - start >= 4 {
            add_outer_columns::<A, 4>(row, &factors, b, start);
            start += 4;
        }
        while start < n_states {
            add_outer_columns::<A, 1>(row, &factors, b, start);
            start += 1;
        }
    }
}

/// The columns `start..start + B` of a row, whose sums stay in registers.
#[inline(always)]
fn add_outer_columns<A: Arch, const B: usize>(row: &mut [f64], factors: &[f64; XI_BLOCK], b: &[f64], start: usize) {
    let n_states = row.len();
    let Some(out) = row.get_mut(start..).and_then(|row| row.first_chunk_mut::<B>()) else { return };
    let mut sums = *out;
    for (factor, b) in factors.iter().zip(b.chunks_exact(n_states)) {
        if let Some(b) = b.get(start..).and_then(|b| b.first_chunk::<B>()) {
            for (sum, b) in sums.iter_mut().zip(b) {
                *sum = mul_add::<A>(*factor, *b, *sum);
            }
        }
    }
    *out = sums;
}

/// Steps whose outer products are added together.
pub(super) const XI_BLOCK: usize = 8;
/// Smallest sum of a step, 2^-900: below, values have lost digits to subnormal numbers.
pub(crate) const SMALLEST_MASS: f64 = 1.183_052_186_166_774_7e-271;
/// A value below 2^-960 counts as lost.
const SMALLEST_VALUE: f64 = 1.026_134_200_324_594_1e-289;
/// Smallest positive bound of the lost mass, 2^-1000.
const SMALLEST_BOUND: f64 = 9.332_636_185_032_189e-302;
/// Lost mass that might show in a result, 2^-60.
const VISIBLE: f64 = 8.673_617_379_884_035e-19;
/// Largest relative deviation of the likelihood between the steps of the backward pass.
pub(super) const CONSISTENT: f64 = 1e-9;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn constants_are_the_stated_powers() {
        assert_eq!(SMALLEST_MASS, pow2(-900));
        assert_eq!(SMALLEST_VALUE, pow2(-960));
        assert_eq!(SMALLEST_BOUND, pow2(-1000));
        assert_eq!(VISIBLE, pow2(-60));
    }
}
