//! Emission probabilities of the steps of a sequence, in the form that the kernels read.

use std::ops::Range;

use super::arith::{Sum, exp_on, exponent, folded, pow2};
use super::dispatch::{Arch, Level, Task};
use super::scaled::Lost;
use super::width::larger;
use super::{Chain, resize};
use crate::Result;
use crate::model::{Emission, Hmm, Labels, Observations, Shape, SymbolTable};

/// Weights (or logs) of a run of steps: step `t` reads row `index[t]` of `table`.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Block<'a> {
    pub(crate) table: &'a [f64],
    pub(crate) index: &'a [usize],
    /// How many states are possible at each step; empty for a dense model.
    pub(crate) possible: &'a [usize],
}

/// The emission side of a run of steps.
#[derive(Debug, Clone, Default)]
pub(crate) struct Weights {
    rows: Vec<f64>,
    index: Vec<usize>,
    possible: Vec<usize>,
    /// Whether the index points into the family's own table.
    tabulated: bool,
    exponent: i64,
    shift: Sum,
    live: Live,
}

impl Weights {
    /// Forgets the sequence before.
    pub(crate) fn begin(&mut self) {
        self.exponent = 0;
        self.shift = Sum::default();
        self.live.started = false;
    }

    /// [`begin`](Self::begin) for a dense model's steps that come after the first one.
    pub(crate) fn begin_inside(&mut self) {
        self.begin();
        self.live.started = true;
    }

    /// What [`fill`](Self::fill) has to know of the steps before.
    pub(crate) fn live(&self) -> &Live {
        &self.live
    }

    /// Goes back to an earlier step.
    pub(crate) fn resume(&mut self, live: &Live) {
        self.live.clone_from(live);
    }

    /// Sum of the shifts of all steps since [`begin`](Self::begin), in nats, except for powers of two.
    pub(crate) fn shift(&self) -> f64 {
        self.shift.value()
    }

    /// Sum of the powers of two of all steps since [`begin`](Self::begin).
    pub(crate) fn exponent(&self) -> i64 {
        self.exponent
    }

    /// The weights of the last [`fill`](Self::fill).
    pub(crate) fn block<'a>(&'a self, table: Option<&'a SymbolTable>) -> Block<'a> {
        let table = table.filter(|_| self.tabulated).map_or(self.rows.as_slice(), SymbolTable::scaled);
        Block { table, index: &self.index, possible: &self.possible }
    }

    /// The logs of the last [`fill_logs`](Self::fill_logs).
    pub(crate) fn log_block<'a>(&'a self, table: Option<&'a SymbolTable>) -> Block<'a> {
        let table = table.filter(|_| self.tabulated).map_or(self.rows.as_slice(), SymbolTable::logs);
        Block { table, index: &self.index, possible: &[] }
    }

    /// Reads the log-probabilities of the steps in `range`, already checked.
    pub(crate) fn fill_logs<'a, E, Q>(&mut self, model: &Hmm<E>, sequence: &Q, range: Range<usize>)
    where
        E: Emission,
        Q: Observations<E::Obs<'a>>,
    {
        self.possible.clear();
        match model.emission().table() {
            Some(table) => {
                self.read_symbols(model.emission(), table, sequence, range.clone());
                self.tabulated = sequence.labels().is_none();
                if !self.tabulated {
                    self.copy_rows(table.logs(), model.n_states());
                }
            }
            None => {
                self.tabulated = false;
                self.read_logs(model, sequence, range.clone());
            }
        }
        if let Some(labels) = sequence.labels() {
            mask(labels, range, &mut self.rows, model.n_states(), f64::NEG_INFINITY);
        }
    }

    /// Reads the weights of the steps in `range`, already checked; ranges come in order from 0.
    ///
    /// Weights are probabilities over a shift of each step: a power of two for tables, and else the largest
    /// log-probability among the states that the chain can be in. States it cannot be in have weight 0.
    pub(crate) fn fill<'a, E, Q>(
        &mut self,
        level: Level,
        model: &Hmm<E>,
        sequence: &Q,
        range: Range<usize>,
    ) -> Result<(), Lost>
    where
        E: Emission,
        Q: Observations<E::Obs<'a>>,
    {
        self.possible.clear();
        let chain = Chain::of(model);
        let dense = matches!(chain.transitions.shape(), Shape::Dense { .. });
        if let Some(table) = model.emission().table() {
            self.read_symbols(model.emission(), table, sequence, range.clone());
            self.exponent += self.index.iter().map(|&k| i64::from(table.exponents()[k])).sum::<i64>();
            self.tabulated = dense && sequence.labels().is_none();
            if self.tabulated {
                return Ok(());
            }
            self.copy_rows(table.scaled(), chain.n_states());
            return self.settle_rows(chain, sequence.labels(), range, dense);
        }
        self.tabulated = false;
        let n_states = chain.n_states();
        self.index.clear();
        self.index.extend(0..range.len());
        resize(&mut self.rows, range.len() * n_states);
        let mut run = [const { None }; RUN];
        for (rows, start) in self.rows.chunks_mut(RUN * n_states).zip(range.step_by(RUN)) {
            let steps = start..start + rows.len() / n_states;
            read_run(model.emission(), sequence, steps.clone(), &mut run, rows);
            if let Some(labels) = sequence.labels() {
                mask(labels, steps, rows, n_states, f64::NEG_INFINITY);
            }
            // Only the states that the chain can be in count for the shift.
            if !(dense && self.live.started) {
                for row in rows.chunks_exact_mut(n_states) {
                    let possible = self.live.advance(chain, row, f64::NEG_INFINITY);
                    if dense {
                        break;
                    }
                    self.possible.push(possible);
                }
            }
            let shift = level.run(Shift { rows, n_states });
            if !shift.is_finite() {
                return Err(Lost);
            }
            self.shift.add(shift);
        }
        Ok(())
    }

    fn read_symbols<'a, E, Q>(&mut self, emission: &E, table: &SymbolTable, sequence: &Q, range: Range<usize>)
    where
        E: Emission,
        Q: Observations<E::Obs<'a>>,
    {
        let missing = table.n_symbols();
        self.index.clear();
        self.index.extend(range.map(|t| match sequence.get(t) {
            // A symbol beyond the table, which a foreign family might return, must not be read.
            Some(o) => emission.symbol(o).min(missing),
            None => missing,
        }));
    }

    fn read_logs<'a, E, Q>(&mut self, model: &Hmm<E>, sequence: &Q, range: Range<usize>)
    where
        E: Emission,
        Q: Observations<E::Obs<'a>>,
    {
        let n_states = model.n_states();
        self.index.clear();
        self.index.extend(0..range.len());
        resize(&mut self.rows, range.len() * n_states);
        let mut run = [const { None }; RUN];
        for (rows, start) in self.rows.chunks_mut(RUN * n_states).zip(range.step_by(RUN)) {
            read_run(model.emission(), sequence, start..start + rows.len() / n_states, &mut run, rows);
        }
    }

    /// Replaces the index by copies of the rows that it names.
    fn copy_rows(&mut self, table: &[f64], n_states: usize) {
        self.rows.resize(self.index.len() * n_states, 0.0);
        for (t, (row, k)) in self.rows.chunks_exact_mut(n_states).zip(&mut self.index).enumerate() {
            row.copy_from_slice(&table[*k * n_states..][..n_states]);
            *k = t;
        }
    }

    /// Zeroes the states that are out of reach or not allowed, and makes up for the size of those that stay.
    fn settle_rows(
        &mut self,
        chain: Chain<'_>,
        labels: Option<&Labels>,
        range: Range<usize>,
        dense: bool,
    ) -> Result<(), Lost> {
        if let Some(labels) = labels {
            mask(labels, range, &mut self.rows, chain.n_states(), 0.0);
        }
        for row in self.rows.chunks_exact_mut(chain.n_states()) {
            if !dense {
                let possible = self.live.advance(chain, row, 0.0);
                if possible == 0 {
                    return Err(Lost);
                }
                self.possible.push(possible);
            }
            if labels.is_some() {
                let max = row.iter().copied().fold(0.0, f64::max);
                if max <= 0.0 {
                    return Err(Lost);
                }
                let shift = exponent(max).max(-1022);
                row.iter_mut().for_each(|weight| *weight *= pow2(-shift));
                self.exponent += i64::from(shift);
            }
        }
        Ok(())
    }
}

/// The states that the chain can be in, by the zeros of the model alone.
#[derive(Debug, Clone, Default)]
pub(crate) struct Live {
    started: bool,
    now: Vec<u64>,
    /// The set whose successors `reach` holds.
    known: Vec<u64>,
    reach: Vec<u64>,
}

impl Live {
    /// Moves on by one step with these emissions, where `zero` is impossible; writes it to the states out of reach and
    /// returns how many states are possible.
    fn advance(&mut self, chain: Chain<'_>, row: &mut [f64], zero: f64) -> usize {
        let words = chain.n_states().div_ceil(64);
        if !self.started {
            self.started = true;
            self.known.clear();
            self.reach.clear();
            self.reach.resize(words, 0);
            self.now.clear();
            self.now.resize(words, 0);
            for (j, _) in chain.initial.iter().enumerate().filter(|(_, p)| **p > 0.0) {
                self.reach[j / 64] |= 1 << (j % 64);
            }
        } else if self.known != self.now {
            self.known.clone_from(&self.now);
            self.reach.fill(0);
            if let Shape::Guarded { successors, .. } = chain.transitions.shape() {
                for (i, row) in successors.chunks_exact(words).enumerate() {
                    if self.now[i / 64] >> (i % 64) & 1 == 1 {
                        self.reach.iter_mut().zip(row).for_each(|(reach, bits)| *reach |= bits);
                    }
                }
            }
        }
        let mut possible = 0;
        for ((values, now), reach) in row.chunks_mut(64).zip(&mut self.now).zip(&self.reach) {
            *now = 0;
            for (j, value) in values.iter_mut().enumerate() {
                if reach >> j & 1 == 1 && *value > zero {
                    *now |= 1 << j;
                } else {
                    *value = zero;
                }
            }
            possible += now.count_ones() as usize;
        }
        possible
    }
}

/// Predictions times the probabilities of some logs over a shift; a state out of reach may exceed the shift by any
/// amount, and its prediction is 0.
pub(crate) struct Weighted<'r> {
    pub(crate) predictions: &'r [f64],
    pub(crate) logs: &'r [f64],
    pub(crate) shift: f64,
    pub(crate) out: &'r mut [f64],
}

impl Task for Weighted<'_> {
    type Output = ();

    #[inline(always)]
    fn run<A: Arch>(self, _arch: A) {
        for (out, (p, l)) in self.out.iter_mut().zip(self.predictions.iter().zip(self.logs)) {
            let below = l - self.shift;
            *out = p * exp_on::<A>(if below < 0.0 { below } else { 0.0 });
        }
    }
}

/// Reads the log-probabilities of some steps into rows of states; `run` is memory for the observations.
fn read_run<'a, E, Q>(
    emission: &E,
    sequence: &Q,
    steps: Range<usize>,
    run: &mut [Option<E::Obs<'a>>; RUN],
    rows: &mut [f64],
) where
    E: Emission,
    Q: Observations<E::Obs<'a>>,
{
    let run = &mut run[..steps.len().min(RUN)];
    for (o, t) in run.iter_mut().zip(steps) {
        *o = sequence.get(t);
    }
    emission.log_prob_run(run, rows);
}

/// Zeroes the states that the labels do not allow.
fn mask(labels: &Labels, range: Range<usize>, rows: &mut [f64], n_states: usize, zero: f64) {
    for (row, t) in rows.chunks_exact_mut(n_states).zip(range) {
        labels.mask(t, row, zero);
    }
}

/// Replaces the log-probabilities of at most [`RUN`] steps by probabilities over the largest one of each step, and
/// returns the sum of those, which is not finite when one of them is not.
struct Shift<'r> {
    rows: &'r mut [f64],
    n_states: usize,
}

impl Task for Shift<'_> {
    type Output = f64;

    #[inline(always)]
    fn run<A: Arch>(self, _arch: A) -> f64 {
        let mut shifts = [0.0; RUN];
        match self.n_states {
            2 => subtract_largest::<2>(self.rows, &mut shifts),
            3 => subtract_largest::<3>(self.rows, &mut shifts),
            4 => subtract_largest::<4>(self.rows, &mut shifts),
            5 => subtract_largest::<5>(self.rows, &mut shifts),
            6 => subtract_largest::<6>(self.rows, &mut shifts),
            8 => subtract_largest::<8>(self.rows, &mut shifts),
            16 => subtract_largest::<16>(self.rows, &mut shifts),
            n => {
                for (row, shift) in self.rows.chunks_exact_mut(n).zip(&mut shifts) {
                    *shift = row.iter().copied().fold(f64::NEG_INFINITY, larger);
                    for l in row {
                        *l -= *shift;
                    }
                }
            }
        }
        for l in self.rows.iter_mut() {
            *l = exp_on::<A>(*l);
        }
        // In eight sums, for their rounding and for the time they take.
        let mut sums = [0.0; 8];
        for shifts in shifts.as_chunks::<8>().0 {
            for k in 0..8 {
                sums[k] += shifts[k];
            }
        }
        ((sums[0] + sums[4]) + (sums[2] + sums[6])) + ((sums[1] + sums[5]) + (sums[3] + sums[7]))
    }
}

#[inline(always)]
fn subtract_largest<const N: usize>(rows: &mut [f64], shifts: &mut [f64; RUN]) {
    for (row, shift) in rows.as_chunks_mut::<N>().0.iter_mut().zip(shifts) {
        *shift = folded(*row, larger);
        for l in row {
            *l -= *shift;
        }
    }
}

/// Steps that the emission family sees together.
const RUN: usize = 64;
