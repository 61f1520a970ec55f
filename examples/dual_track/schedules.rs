//! Seeded schedules of faults, many at a time: nothing may contradict itself, be lost or stop, unless the protocol is broken on purpose.

use std::error::Error;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use hanzo::snow::simulate::{FaultSchedule, SimulateError, Weakness};
use hanzo_examples::program;

/// Failures of which more is said than their number.
const NAMED: usize = 20;

pub(crate) struct Schedules {
    pub(crate) first: u64,
    pub(crate) count: u64,
    pub(crate) weakness: Weakness,
    pub(crate) change_validators: bool,
    pub(crate) threads: usize,
}

#[derive(Default)]
struct Tally {
    contradicted: u64,
    stopped: u64,
    failures: Vec<(u64, SimulateError)>,
    settled: u64,
    epochs: u64,
    evidence: u64,
    with_twin: u64,
}

impl Schedules {
    /// Prints what was seen.
    ///
    /// # Errors
    ///
    /// One line if it is not as it should be: no failure in the protocol as it is, and some where it is broken.
    pub(crate) fn run(&self) -> Result<(), Box<dyn Error>> {
        let (text, good) = self.play()?;
        program::show(&text);
        let broken = self.weakness != Weakness::None;
        let what =
            if broken { "votes were forgotten, and no schedule found it out" } else { "not all schedules passed" };
        if good { Ok(()) } else { Err(what.into()) }
    }

    /// What was seen, and whether it is as it should be.
    fn play(&self) -> Result<(String, bool), Box<dyn Error>> {
        let begin = Instant::now();
        let (next, tally) = (AtomicU64::new(self.first), Mutex::new(Tally::default()));
        let end = self.first.checked_add(self.count).ok_or("the last schedule is beyond 2^64")?;
        std::thread::scope(|scope| {
            for _ in 0..self.threads {
                scope.spawn(|| {
                    loop {
                        let number = next.fetch_add(1, Ordering::Relaxed);
                        if number >= end {
                            break;
                        }
                        let schedule = FaultSchedule::new(number)
                            .weakness(self.weakness)
                            .changing_validators(self.change_validators);
                        let result = schedule.run();
                        let Ok(mut tally) = tally.lock() else { break };
                        tally.with_twin += u64::from(schedule.has_twin());
                        match result {
                            Ok(report) => {
                                tally.settled += report.settled;
                                tally.epochs += report.epochs;
                                tally.evidence += report.proofs.len() as u64;
                            }
                            Err(error) => {
                                let stopped = matches!(error, SimulateError::NoProgress { .. });
                                tally.stopped += u64::from(stopped);
                                tally.contradicted += u64::from(!stopped);
                                tally.failures.push((number, error));
                            }
                        }
                    }
                });
            }
        });
        let mut tally = tally.into_inner().map_err(|_| "a thread has stopped")?;
        tally.failures.sort_unstable_by_key(|(number, _)| *number);
        let changes = if self.change_validators { ", validators changing" } else { "" };
        let broken = if self.weakness == Weakness::None { "" } else { ", votes forgotten at every restart" };
        let mut text = format!(
            "{} schedules from {} on{changes}{broken}: {} with a twin\n\
             contradicted, or sent before it was durable: {}\n\
             stopped, or certified and never settled: {}\n\
             settled {}, epochs begun {}, proofs against twins {}\n",
            self.count,
            self.first,
            tally.with_twin,
            tally.contradicted,
            tally.stopped,
            tally.settled,
            tally.epochs,
            tally.evidence
        );
        for (number, error) in tally.failures.iter().take(NAMED) {
            text += &format!("schedule {number}: {error}\n");
        }
        let seconds = begin.elapsed().as_secs_f64();
        eprintln!(
            "{seconds:.1} s, {:.1} ms a schedule and thread",
            1e3 * seconds * self.threads as f64 / self.count as f64
        );
        let found = !tally.failures.is_empty();
        Ok((text, found == (self.weakness != Weakness::None)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sound_schedules_pass_and_broken_ones_do_not() {
        let schedules = |weakness, count| Schedules { first: 0, count, weakness, change_validators: false, threads: 2 };
        let (text, sound) = schedules(Weakness::None, 40).play().expect("it runs");
        assert!(sound && text.contains("contradicted, or sent before it was durable: 0\n"), "{text}");
        let (text, caught) = schedules(Weakness::NoPersistence, 100).play().expect("it runs");
        assert!(caught && !text.contains("contradicted, or sent before it was durable: 0\n"), "{text}");
    }
}
