//! Meet in the middle: the recursions of a dense model from both ends at once.
//!
//! A step of either recursion waits for the one before it, so a processor does two independent ones in little more
//! than the time of one. The forward chain takes the first half of a sequence and the backward chain the second; for
//! posteriors each then goes on through the half of the other and turns what it finds there into posteriors, in place.
//! The arithmetic of a chain does not depend on whether they run interleaved or on two threads.

use super::arith::pow2;
use super::dispatch::{Arch, Level, Task};
use super::scaled::{CONSISTENT, Lost, SMALLEST_MASS, XI_BLOCK, add_outer, dot, multiply, rescale, scale};
use super::width::{Width, with_width};
use super::{Aligned, Block, Chain};
use crate::model::Shape;

/// The two chains of a sequence.
#[derive(Debug, Clone, Default)]
pub(crate) struct Meeting {
    front: End,
    back: End,
    /// Whether the first step has been taken.
    started: bool,
}

/// One chain: values over a power of two.
#[derive(Debug, Clone, Default)]
struct End {
    values: Vec<f64>,
    memory: Aligned,
    count: Count,
}

/// The power of two of a chain, and the steps since it was last changed.
#[derive(Debug, Clone, Copy, Default)]
struct Count {
    exponent: i64,
    since: usize,
}

impl Count {
    /// Counts a step, and rescales its values every `period` steps.
    #[inline(always)]
    fn rescale_at(&mut self, period: usize, values: &mut [f64]) -> Result<(), Lost> {
        self.since += 1;
        if self.since == period {
            self.exponent += rescale(values)?;
            self.since = 0;
        }
        Ok(())
    }
}

impl End {
    fn begin(&mut self, n_states: usize) {
        self.values.clear();
        self.values.resize(n_states, 1.0);
        self.memory.reset(2 * n_states, 0.0);
        self.count = Count::default();
    }
}

impl Meeting {
    /// Ready for both ends of a sequence.
    pub(crate) fn begin(&mut self, chain: Chain<'_>) {
        self.front.begin(chain.n_states());
        self.front.values.copy_from_slice(chain.initial);
        self.back.begin(chain.n_states());
        self.started = false;
    }

    /// Moves the forward chain on by the steps of `front`, in order, and the backward chain by those of `back`, last
    /// first.
    pub(crate) fn advance(
        &mut self,
        level: Level,
        chain: Chain<'_>,
        front: Block<'_>,
        back: Block<'_>,
    ) -> Result<(), Lost> {
        level.run(Advance { meeting: self, chain, front, back })
    }

    /// The likelihood, once the chains have met, and its exponent.
    pub(crate) fn likelihood(&self) -> (f64, i64) {
        self.likelihood_with(self)
    }

    /// The same where the backward chain is that of another one.
    pub(crate) fn likelihood_with(&self, other: &Self) -> (f64, i64) {
        let sum = self.front.values.iter().zip(&other.back.values).map(|(a, b)| a * b).sum();
        (sum, self.front.count.exponent + other.back.count.exponent)
    }
}

/// Whether the model is one for these kernels; the steps between two rescalings.
pub(crate) fn period(chain: Chain<'_>) -> Option<usize> {
    match chain.transitions.shape() {
        Shape::Dense { period } => Some(*period),
        Shape::Guarded { .. } => None,
    }
}

struct Advance<'k> {
    meeting: &'k mut Meeting,
    chain: Chain<'k>,
    front: Block<'k>,
    back: Block<'k>,
}

impl Task for Advance<'_> {
    type Output = Result<(), Lost>;

    #[inline(always)]
    fn run<A: Arch>(self, _arch: A) -> Result<(), Lost> {
        let Self { meeting, chain, front, back } = self;
        with_width!(chain.n_states(), w => advance_at::<A, _>(w, meeting, chain, front, back))
    }
}

#[inline(always)]
fn advance_at<A: Arch, W: Width>(
    w: W,
    meeting: &mut Meeting,
    chain: Chain<'_>,
    front: Block<'_>,
    back: Block<'_>,
) -> Result<(), Lost> {
    let period = period(chain).ok_or(Lost)?;
    let n_states = w.n();
    let matrix = w.matrix(chain.transitions.probabilities()).ok_or(Lost)?;
    let transposed = w.matrix(chain.transitions.transposed()).ok_or(Lost)?;
    let (front_table, back_table) = (w.table(front.table), w.table(back.table));
    let mut ahead = front.index;
    if !meeting.started
        && let Some((&first, rest)) = ahead.split_first()
    {
        multiply_in(&mut meeting.front.values, w.get(front_table, first).ok_or(Lost)?);
        meeting.front.count.exponent += rescale(&mut meeting.front.values)?;
        meeting.started = true;
        ahead = rest;
    }
    let Meeting { front: End { values: front_values, memory, count: a }, back: later, .. } = meeting;
    let (low, high) = memory.split_at_mut(n_states);
    low.copy_from_slice(front_values);
    let (mut now, mut next) = (w.row(low).ok_or(Lost)?, w.row(high).ok_or(Lost)?);
    let End { values: back_values, memory, count: b } = later;
    let (low, high) = memory.split_at_mut(n_states);
    low.copy_from_slice(back_values);
    let (mut beta, mut weighted) = (w.row(low).ok_or(Lost)?, w.row(high).ok_or(Lost)?);
    let both = if interleaved(n_states) { ahead.len().min(back.index.len()) } else { 0 };
    let (behind_first, behind) = back.index.split_at(back.index.len() - both);
    let (ahead, ahead_rest) = ahead.split_at(both);
    for (&f, &k) in ahead.iter().zip(behind.iter().rev()) {
        let (weights, others) = (w.get(front_table, f).ok_or(Lost)?, w.get(back_table, k).ok_or(Lost)?);
        w.step_forward::<A>(&mut now, matrix, weights, &mut next);
        w.step_backward::<A>(&mut beta, others, transposed, &mut weighted);
        a.rescale_at(period, now.as_mut())?;
        b.rescale_at(period, beta.as_mut())?;
    }
    for &f in ahead_rest {
        w.step_forward::<A>(&mut now, matrix, w.get(front_table, f).ok_or(Lost)?, &mut next);
        a.rescale_at(period, now.as_mut())?;
    }
    for &k in behind_first.iter().rev() {
        w.step_backward::<A>(&mut beta, w.get(back_table, k).ok_or(Lost)?, transposed, &mut weighted);
        b.rescale_at(period, beta.as_mut())?;
    }
    front_values.copy_from_slice(now.as_ref());
    back_values.copy_from_slice(beta.as_ref());
    Ok(())
}

/// What smoothing works on.
pub(crate) struct Smoothing<'k> {
    pub(crate) chain: Chain<'k>,
    pub(crate) block: Block<'k>,
    /// `T x S`: gets the posteriors.
    pub(crate) lattice: &'k mut [f64],
    pub(crate) exponents: &'k mut [i64],
    pub(crate) memory: &'k mut Halves,
    /// Whether the sums over t of `alpha_t(i) W_t(j)` are asked for; they are left in `memory`.
    pub(crate) pairs: bool,
}

/// The memory of both chains of a smoothing pass.
#[derive(Debug, Clone, Default)]
pub(crate) struct Halves {
    front: Half,
    back: Half,
    /// In the place of a chain that does not run.
    spare: [Half; 2],
}

/// The memory of one chain.
#[derive(Debug, Clone, Default)]
struct Half {
    rows: Aligned,
    exponent: i64,
    since: usize,
    pairs: Aligned,
    filled: usize,
    /// Sums of outer products, `S x S`.
    sums: Aligned,
}

impl Half {
    fn begin(&mut self, n_states: usize, pairs: bool) {
        self.rows.reset(3 * n_states, 0.0);
        (self.exponent, self.since, self.filled) = (0, 0, 0);
        if pairs {
            self.pairs.reset(2 * XI_BLOCK * n_states, 0.0);
            self.sums.reset(n_states * n_states, 0.0);
        }
    }
}

impl Halves {
    /// Adds the sums of products to `into`, the front half first.
    pub(crate) fn add_pairs(&self, into: &mut [f64]) {
        for half in [&self.front, &self.back] {
            into.iter_mut().zip(&*half.sums).for_each(|(a, b)| *a += b);
        }
    }
}

/// Posteriors of a whole sequence of at least [`SHORTEST`] steps. Returns its likelihood and the exponent of that.
pub(crate) fn smooth(level: Level, mut smoothing: Smoothing<'_>) -> Result<(f64, i64), Lost> {
    let n_states = smoothing.chain.n_states();
    let steps = smoothing.block.index.len();
    if steps < SHORTEST {
        return Err(Lost);
    }
    smoothing.memory.front.begin(n_states, smoothing.pairs);
    smoothing.memory.back.begin(n_states, smoothing.pairs);
    smoothing.memory.spare.iter_mut().for_each(|half| half.begin(n_states, false));
    let middle = steps / 2;
    let (left, right, spare) = split(&mut smoothing, middle, false);
    both(level, Phase::Outward, left, right, spare)?;
    let (likelihood, exponent) = meet(&smoothing, middle)?;
    let phase = Phase::Inward { likelihood, exponent };
    // The chains change sides.
    let (left, right, spare) = split(&mut smoothing, middle, true);
    both(level, phase, right, left, spare)?;
    Ok((likelihood, exponent))
}

/// The steps of one half of the sequence, and the chain that goes through them.
struct Side<'k> {
    chain: Chain<'k>,
    table: &'k [f64],
    /// Symbols of the half, and of the step after it.
    index: &'k [usize],
    lattice: &'k mut [f64],
    exponents: &'k mut [i64],
    half: &'k mut Half,
    pairs: bool,
}

#[derive(Clone, Copy)]
enum Phase {
    /// Each chain fills its own half.
    Outward,
    /// Each chain finishes the half of the other.
    Inward { likelihood: f64, exponent: i64 },
}

/// Both sides, with the chain that began there or, `crossed`, with the other one.
fn split<'s>(
    smoothing: &'s mut Smoothing<'_>,
    middle: usize,
    crossed: bool,
) -> (Side<'s>, Side<'s>, &'s mut [Half; 2]) {
    let Smoothing { chain, block, lattice, exponents, memory, pairs } = smoothing;
    let (chain, pairs, table) = (*chain, *pairs, block.table);
    let (left, right) = lattice.split_at_mut(middle * chain.n_states());
    let (early, late) = exponents.split_at_mut(middle);
    let (first, second) = block.index.split_at(middle);
    let Halves { front, back, spare } = &mut **memory;
    let (one, other) = if crossed { (back, front) } else { (front, back) };
    (
        Side { chain, table, index: first, lattice: left, exponents: early, half: one, pairs },
        Side { chain, table, index: second, lattice: right, exponents: late, half: other, pairs },
        spare,
    )
}

/// Likelihood at the meeting point: forward values before it, backward values after it.
fn meet(smoothing: &Smoothing<'_>, middle: usize) -> Result<(f64, i64), Lost> {
    let (chain, n) = (smoothing.chain, smoothing.chain.n_states());
    let alpha = &smoothing.memory.front.rows[..n];
    let weighted = &smoothing.memory.back.rows[..n];
    let rows = alpha.iter().zip(chain.transitions.probabilities().chunks_exact(n));
    let likelihood: f64 = rows.map(|(a, row)| a * row.iter().zip(weighted).map(|(p, v)| p * v).sum::<f64>()).sum();
    if !(likelihood >= SMALLEST_MASS && likelihood.is_finite()) {
        return Err(Lost);
    }
    debug_assert!(middle > 0);
    Ok((likelihood, smoothing.memory.front.exponent + smoothing.memory.back.exponent))
}

/// Runs the forward chain on one side and the backward chain on the other.
fn both(
    level: Level,
    phase: Phase,
    forward: Side<'_>,
    backward: Side<'_>,
    [spare, other]: &mut [Half; 2],
) -> Result<(), Lost> {
    #[cfg(feature = "rayon")]
    if forward.index.len() >= PARALLEL && rayon::current_num_threads() > 1 {
        let (a, b) = rayon::join(
            || level.run(Run { phase, forward: Some(forward), backward: None, spare }),
            || level.run(Run { phase, forward: None, backward: Some(backward), spare: other }),
        );
        return a.and(b);
    }
    if !interleaved(forward.chain.n_states()) {
        level.run(Run { phase, forward: Some(forward), backward: None, spare })?;
        return level.run(Run { phase, forward: None, backward: Some(backward), spare: other });
    }
    level.run(Run { phase, forward: Some(forward), backward: Some(backward), spare })
}

/// Whether both matrices fit into the first cache together; larger ones would push each other out.
#[inline(always)]
fn interleaved(n_states: usize) -> bool {
    n_states <= 40
}

struct Run<'k> {
    phase: Phase,
    forward: Option<Side<'k>>,
    backward: Option<Side<'k>>,
    spare: &'k mut Half,
}

impl Task for Run<'_> {
    type Output = Result<(), Lost>;

    #[inline(always)]
    fn run<A: Arch>(self, _arch: A) -> Result<(), Lost> {
        let Some(chain) = self.forward.as_ref().or(self.backward.as_ref()).map(|side| side.chain) else {
            return Ok(());
        };
        with_width!(chain.n_states(), w => run_at::<A, _>(w, chain, self))
    }
}

/// One step of the forward chain: `now` moves on; what it passes is filled in or finished.
macro_rules! forward_step {
    ($arch:ty, $w:ident, $phase:expr, $now:ident, $next:ident, $matrix:ident, $table:ident, $half:ident,
     $pairs:expr, $row:expr, $exponent:expr, $symbol:expr, $period:ident) => {{
        let weights = $w.get($table, $symbol).ok_or(Lost)?;
        $w.product::<$arch>(&$now, $matrix, &mut $next);
        if let Phase::Inward { likelihood, exponent } = $phase {
            let sum = dot::<$arch>($row, $next.as_ref());
            let inverse = check(sum, likelihood, $half.exponent + *$exponent - exponent)?;
            if $pairs {
                remember::<$arch>($half, $now.as_ref(), $row, inverse);
            }
            let prediction = $next.as_ref();
            for (gamma, p) in $row.iter_mut().zip(prediction) {
                *gamma *= p * inverse;
            }
        }
        multiply($now.as_mut(), $next.as_ref(), weights);
        $half.since += 1;
        if $half.since == $period {
            $half.exponent += rescale($now.as_mut())?;
            $half.since = 0;
        }
        if let Phase::Outward = $phase {
            $row.copy_from_slice($now.as_ref());
            *$exponent = $half.exponent;
        }
    }};
}

/// One step of the backward chain, which carries backward values times the weights of their step.
macro_rules! backward_step {
    ($arch:ty, $w:ident, $phase:expr, $beta:ident, $weighted:ident, $matrix:ident, $table:ident, $half:ident,
     $pairs:expr, $row:expr, $exponent:expr, $symbol:expr, $period:ident) => {{
        let weights = $w.get($table, $symbol).ok_or(Lost)?;
        $w.product::<$arch>(&$weighted, $matrix, &mut $beta);
        if let Phase::Inward { likelihood, exponent } = $phase {
            let sum = dot::<$arch>($row, $beta.as_ref());
            let inverse = check(sum, likelihood, $half.exponent + *$exponent - exponent)?;
            if $pairs {
                remember::<$arch>($half, $row, $weighted.as_ref(), inverse);
            }
            for (gamma, b) in $row.iter_mut().zip($beta.as_ref()) {
                *gamma *= b * inverse;
            }
        }
        $half.since += 1;
        if $half.since == $period {
            $half.exponent += rescale($beta.as_mut())?;
            $half.since = 0;
        }
        multiply($weighted.as_mut(), $beta.as_ref(), weights);
        if let Phase::Outward = $phase {
            // Backward values and weights together are what the forward chain will need.
            $row.copy_from_slice($weighted.as_ref());
            *$exponent = $half.exponent;
        }
    }};
}

#[inline(always)]
fn run_at<A: Arch, W: Width>(w: W, chain: Chain<'_>, run: Run<'_>) -> Result<(), Lost> {
    let period = period(chain).ok_or(Lost)?;
    let n = w.n();
    let matrix = w.matrix(chain.transitions.probabilities()).ok_or(Lost)?;
    let transposed = w.matrix(chain.transitions.transposed()).ok_or(Lost)?;
    let phase = run.phase;
    let mut spare = Some(run.spare);
    let mut empty = || {
        let half = spare.take().ok_or(Lost)?;
        Ok(Side { chain, table: &[], index: &[], lattice: &mut [], exponents: &mut [], half, pairs: false })
    };
    let forward = run.forward.map_or_else(&mut empty, Ok)?;
    let backward = run.backward.map_or_else(&mut empty, Ok)?;
    let (a, b) = (forward.half, backward.half);
    let pairs = (forward.pairs, backward.pairs);
    let (front_table, back_table) = (w.table(forward.table), w.table(backward.table));
    let mut front = forward.lattice.chunks_exact_mut(n).zip(forward.exponents).zip(forward.index.iter().copied());
    let mut back =
        backward.lattice.chunks_exact_mut(n).zip(backward.exponents).zip(backward.index.iter().copied()).rev();
    // The first third is the state between two phases.
    let (mut front_rows, mut back_rows) = (std::mem::take(&mut a.rows), std::mem::take(&mut b.rows));
    let (front_state, memory) = front_rows.split_at_mut(n);
    let (low, high) = memory.split_at_mut(n);
    low.copy_from_slice(front_state);
    let (mut now, mut next) = (w.row(low).ok_or(Lost)?, w.row(high).ok_or(Lost)?);
    let (back_state, memory) = back_rows.split_at_mut(n);
    let (low, high) = memory.split_at_mut(n);
    low.copy_from_slice(back_state);
    let (mut weighted, mut beta) = (w.row(low).ok_or(Lost)?, w.row(high).ok_or(Lost)?);
    if let Phase::Outward = phase {
        // The first and the last step of the sequence have no step before and after them.
        if let Some(((row, exponent), symbol)) = front.next() {
            multiply(now.as_mut(), chain.initial, w.get(front_table, symbol).ok_or(Lost)?);
            a.exponent += rescale(now.as_mut())?;
            row.copy_from_slice(now.as_ref());
            *exponent = a.exponent;
        }
        if let Some(((row, exponent), symbol)) = back.next() {
            weighted.as_mut().copy_from_slice(w.get(back_table, symbol).ok_or(Lost)?);
            row.copy_from_slice(weighted.as_ref());
            *exponent = 0;
        }
    } else if let Some(((row, exponent), symbol)) = back.next() {
        // The step before the meeting point, whose pair the forward chain has taken.
        backward_step!(A, w, phase, beta, weighted, transposed, back_table, b, false, row, exponent, symbol, period);
    }
    for _ in 0..front.len().min(back.len()) {
        let (Some(((row, exponent), symbol)), Some(((other, other_exponent), other_symbol))) =
            (front.next(), back.next())
        else {
            break;
        };
        forward_step!(A, w, phase, now, next, matrix, front_table, a, pairs.0, row, exponent, symbol, period);
        backward_step!(
            A,
            w,
            phase,
            beta,
            weighted,
            transposed,
            back_table,
            b,
            pairs.1,
            other,
            other_exponent,
            other_symbol,
            period
        );
    }
    for ((row, exponent), symbol) in front {
        forward_step!(A, w, phase, now, next, matrix, front_table, a, pairs.0, row, exponent, symbol, period);
    }
    for ((row, exponent), symbol) in back {
        backward_step!(A, w, phase, beta, weighted, transposed, back_table, b, pairs.1, row, exponent, symbol, period);
    }
    for half in [&mut *a, &mut *b] {
        if half.filled > 0 {
            let (alphas, others) = half.pairs.split_at_mut(XI_BLOCK * n);
            alphas[half.filled * n..].fill(0.0);
            add_outer::<A>(&mut half.sums, alphas, others, n);
            half.filled = 0;
        }
    }
    front_state.copy_from_slice(now.as_ref());
    back_state.copy_from_slice(weighted.as_ref());
    drop((now, next, weighted, beta));
    (a.rows, b.rows) = (front_rows, back_rows);
    Ok(())
}

/// One over the likelihood of a step, which has to be the same at all steps.
#[inline(always)]
fn check(sum: f64, likelihood: f64, difference: i64) -> Result<f64, Lost> {
    let scaled = sum * pow2(i32::try_from(difference).unwrap_or(i32::MAX));
    if sum >= SMALLEST_MASS && (scaled - likelihood).abs() <= CONSISTENT * likelihood {
        return Ok(sum.recip());
    }
    Err(Lost)
}

/// Keeps a pair of vectors for the sum of their outer products.
#[inline(always)]
fn remember<A: Arch>(half: &mut Half, alpha: &[f64], weighted: &[f64], inverse: f64) {
    let n = alpha.len();
    let (alphas, others) = half.pairs.split_at_mut(XI_BLOCK * n);
    alphas[half.filled * n..][..n].copy_from_slice(alpha);
    others[half.filled * n..][..n].copy_from_slice(weighted);
    scale(&mut others[half.filled * n..][..n], inverse);
    half.filled += 1;
    if half.filled == XI_BLOCK {
        add_outer::<A>(&mut half.sums, alphas, others, n);
        half.filled = 0;
    }
}

#[inline(always)]
fn multiply_in(values: &mut [f64], weights: &[f64]) {
    for (value, weight) in values.iter_mut().zip(weights) {
        *value *= weight;
    }
}

/// Fewer steps are left to the ordinary recursion.
pub(crate) const SHORTEST: usize = 8;
/// Steps of a half from which a second thread pays.
#[cfg(feature = "rayon")]
pub(crate) const PARALLEL: usize = 4096;
