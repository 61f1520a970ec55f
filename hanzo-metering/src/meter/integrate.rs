//! Integrals of step functions. A value is below 2^56 and all time below 2^64 ns, so an integral of a gauge is below
//! 2^120; a counter adds at most 2^64 x 1000 for each of its readings. No sum here can overflow.

use super::GapPolicy;
use super::readings::{Readings, Series};
use crate::{Resources, Timestamp, Usage};
use alloc::vec::Vec;

/// Readings of a value that holds until the next one.
#[derive(Debug, Clone)]
pub(super) struct Gauge {
    series: Series<Resources>,
    gap: GapPolicy,
    max_gap_ns: u64,
}

/// A stretch of time, in nanoseconds, in which a gauge holds one value.
#[derive(Debug, Clone, Copy)]
struct Step {
    from: u64,
    to: u64,
    value: Resources,
}

impl Gauge {
    pub(super) const fn new(gap: GapPolicy, max_gap_ns: u64) -> Self {
        Self { series: Series::new(), gap, max_gap_ns }
    }

    pub(super) fn insert(&mut self, readings: &Readings, place: u32, at: Timestamp, value: Resources) {
        self.series.insert(readings, place, at, value);
    }

    /// Usage and gap within `[from, to)`.
    pub(super) fn usage(&self, from: Timestamp, to: Timestamp) -> (Usage, u64) {
        let mut usage = Usage::default();
        let gap = self.steps(from, to, |step| add(&mut usage, &step.value.over(step.to - step.from)));
        (usage, gap)
    }

    /// Usage within `[from, to)` of the larger of two gauges at every instant.
    pub(super) fn usage_of_max(a: &Self, b: &Self, from: Timestamp, to: Timestamp) -> Usage {
        let mut steps = Vec::new();
        b.steps(from, to, |step| steps.push(step));
        let mut usage = Usage::default();
        let mut at = from.as_nanos();
        let mut rest = steps.into_iter().peekable();
        let zero = Resources::default();
        // Sweeps `[at, end)`, in which `a` holds `value`, over the steps of `b`, whose gaps are zero.
        let mut sweep = |at: &mut u64, end: u64, value: Resources| {
            while *at < end {
                let (until, other) = match rest.peek() {
                    Some(step) if step.from > *at => (step.from, zero),
                    Some(step) => (step.to, step.value),
                    None => (end, zero),
                };
                let until = until.min(end);
                add(&mut usage, &value.max(&other).over(until - *at));
                *at = until;
                while rest.peek().is_some_and(|step| step.to <= *at) {
                    rest.next();
                }
            }
        };
        a.steps(from, to, |step| {
            sweep(&mut at, step.from, zero);
            sweep(&mut at, step.to, step.value);
        });
        sweep(&mut at, to.as_nanos(), zero);
        usage
    }

    /// Forgets readings before `from` but the last.
    pub(super) fn forget(&mut self, from: Timestamp, forget: impl FnMut(u32)) {
        self.series.forget_before(from.as_nanos(), forget);
    }

    /// Calls `each` with the steps that make up `[from, to)`, in order, none of them empty; where there is none the value
    /// is 0. Returns the nanoseconds beyond the longest gap.
    fn steps(&self, from: Timestamp, to: Timestamp, mut each: impl FnMut(Step)) -> u64 {
        let (from, to) = (from.as_nanos(), to.as_nanos());
        let mut gap = 0;
        let mut emit = |at: u64, value: Resources, next: u64| {
            // The value holds in [at, fresh), and in a gap in [fresh, next).
            let fresh = at.saturating_add(self.max_gap_ns).min(next).max(from);
            let end = next.min(to);
            gap += end.saturating_sub(fresh);
            let end = if self.gap == GapPolicy::Hold { end } else { end.min(fresh) };
            let begin = at.max(from);
            if begin < end {
                each(Step { from: begin, to: end, value });
            }
        };
        let (mut last, readings) = self.series.split_at(from);
        for reading in readings.take_while(|reading| reading.at < to) {
            if let Some(held) = last {
                emit(held.at, held.value, reading.at);
            }
            last = Some(reading);
        }
        if let Some(held) = last {
            emit(held.at, held.value, to);
        }
        gap
    }
}

/// Readings of a sum that only grows, until it begins anew.
#[derive(Debug, Clone)]
pub(super) struct Counter {
    series: Series<u64>,
}

impl Counter {
    pub(super) const fn new() -> Self {
        Self { series: Series::new() }
    }

    pub(super) fn insert(&mut self, readings: &Readings, place: u32, at: Timestamp, value: u64) {
        self.series.insert(readings, place, at, value);
    }

    /// Millicore-nanoseconds of the steps whose later reading lies in `[from, to)`, and how many of them began anew. With
    /// a `floor`, each step is at least what that gauge has between its two readings.
    pub(super) fn usage(&self, from: Timestamp, to: Timestamp, floor: Option<&Gauge>) -> (u128, u64) {
        let (mut cpu, mut resets) = (0, 0);
        let (mut last, readings) = self.series.split_at(from.as_nanos());
        for reading in readings.take_while(|reading| reading.at < to.as_nanos()) {
            let value = reading.value;
            let step = match last {
                None => 0,
                Some(old) if value < old.value => {
                    resets += 1;
                    value
                }
                Some(old) => value - old.value,
            };
            // Core-nanoseconds to millicore-nanoseconds.
            let step = u128::from(step) * 1_000;
            let [since, at] = [last.map_or(0, |old| old.at), reading.at].map(Timestamp::from_nanos);
            cpu += floor.map_or(step, |gauge| step.max(gauge.usage(since, at).0.cpu));
            last = Some(reading);
        }
        (cpu, resets)
    }

    /// Forgets readings before `from` but the last. Returns the time of the first that is left.
    pub(super) fn forget(&mut self, from: Timestamp, forget: impl FnMut(u32)) -> Option<Timestamp> {
        self.series.forget_before(from.as_nanos(), forget);
        self.series.first()
    }
}

fn add(sum: &mut Usage, part: &Usage) {
    sum.cpu += part.cpu;
    sum.memory += part.memory;
    sum.gpu += part.gpu;
}
