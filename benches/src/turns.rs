//! Two operations timed in turns of about a millisecond, so that both see the same machine; the shortest turn of each counts.

use std::hint::black_box;
use std::time::{Duration, Instant};

/// Two operations in turns; the number of turns of each.
#[derive(Debug, Clone, Copy)]
pub struct Turns(pub usize);

impl Turns {
    /// What the columns of the printed lines are.
    pub const HEADER: &str =
        "operation                                                      ours us  other us  ratio  bound";

    /// The number on the command line, or `default`.
    #[must_use]
    pub fn from_arguments(default: usize) -> Self {
        Self(std::env::args().skip(1).find_map(|argument| argument.parse().ok()).unwrap_or(default))
    }

    /// Prints the shortest turn of each, their ratio and `missed` where the ratio is above `bound`; turns take about a millisecond.
    pub fn compare<A, B>(&self, name: &str, bound: f64, mut ours: impl FnMut() -> A, below: impl FnMut() -> B) {
        let once = turn(8, &mut ours).max(Duration::from_nanos(100));
        let calls = (Duration::from_millis(1).as_nanos() / once.as_nanos()).clamp(1, 10_000) as u32;
        self.run(name, bound, calls, ours, below);
    }

    /// The same with `calls` a turn.
    pub fn run<A, B>(
        &self,
        name: &str,
        bound: f64,
        calls: u32,
        mut ours: impl FnMut() -> A,
        mut below: impl FnMut() -> B,
    ) {
        let (mut best, mut best_below) = (Duration::MAX, Duration::MAX);
        for _ in 0..self.0 {
            best = best.min(turn(calls, &mut ours));
            best_below = best_below.min(turn(calls, &mut below));
        }
        let us = |time: Duration| time.as_secs_f64() * 1e6;
        let ratio = us(best) / us(best_below);
        let verdict = if ratio <= bound { "" } else { "missed" };
        println!("{name:<60} {:>9.2} {:>9.2} {ratio:>6.3}  <= {bound:.2} {verdict}", us(best), us(best_below));
    }
}

/// The time of one call, as the mean of `calls`.
fn turn<T>(calls: u32, run: &mut impl FnMut() -> T) -> Duration {
    let start = Instant::now();
    for _ in 0..calls {
        black_box(run());
    }
    start.elapsed() / calls
}
