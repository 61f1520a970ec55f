//! When audits convict: an e-process turned into integer boundaries.

mod default_tables;
mod e_process;

use alloc::sync::Arc;
use alloc::vec::Vec;

use crate::error::{Error, Result};
use crate::hash::AttestationHash;
use crate::units::Epoch;

pub use e_process::{BoundaryTable, EProcess};

/// Outcome of one drawn job: the majority of its verdicts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(rename_all = "snake_case"))]
pub enum Outcome {
    /// The claim stood.
    Match,
    /// The claim was wrong.
    Mismatch,
}

/// Where a worker stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(rename_all = "snake_case"))]
pub enum Standing {
    /// Nothing against it.
    Clear,
    /// Audited at a raised rate.
    Escalated,
    /// Convicted; this does not change any more, unless a contest voids it.
    Convicted,
}

/// Index of a rung of a [`ConvictionPolicy`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct RungId(u8);

impl RungId {
    /// The rung of that index.
    pub const fn new(index: u8) -> Self {
        Self(index)
    }

    /// The index.
    pub const fn get(self) -> u8 {
        self.0
    }
}

/// A class of comparators with one bound on false mismatches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(deny_unknown_fields))]
pub struct Rung {
    /// Bound on the probability that an audit of an honest worker is a mismatch, parts per billion.
    pub p0_ppb: u32,
    /// One over the level at which the rung convicts.
    pub inverse_level: u64,
}

/// Rungs with their boundary tables. Whatever the audit rate and whenever one stops, an honest worker is
/// convicted with probability at most 1e-6 over its whole life (Ville's inequality and a union over rungs
/// and runs).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConvictionPolicy {
    rungs: Vec<RungTables>,
    run_epochs: u64,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct RungTables {
    rung: Rung,
    /// By run: run `i` has level `a 2^-(i+1)`.
    convict: Vec<BoundaryTable>,
    escalate: BoundaryTable,
}

impl ConvictionPolicy {
    /// A policy with one to 16 rungs; a new run of counters opens every `run_epochs`. Builds 17 tables of
    /// 64 rows a rung in floats, in the log domain and in one fixed order.
    ///
    /// # Errors
    /// [`Error::BatchSize`] for no rung or more than 16; [`Error::InvalidProbability`] for a p0 of 0 or
    /// above 0.1; [`Error::InvalidLevel`] for levels that sum past 1e-6, or a level of 0 or below 2^-40;
    /// [`Error::InvalidField`] for `run_epochs` of 0.
    pub fn new(rungs: &[Rung], run_epochs: u64) -> Result<Self> {
        check_levels(rungs)?;
        if run_epochs == 0 {
            return Err(Error::InvalidField("run_epochs"));
        }
        let rungs = rungs
            .iter()
            .map(|rung| {
                let process = EProcess::new(rung.p0_ppb)?;
                let convict =
                    (1..=RUNS).map(|run| process.convicts(rung.inverse_level << run, ROWS)).collect::<Result<_>>()?;
                Ok(RungTables { rung: *rung, convict, escalate: process.escalates(ROWS)? })
            })
            .collect::<Result<_>>()?;
        Ok(Self { rungs, run_epochs })
    }

    /// The rung of an index.
    pub fn rung(&self, id: RungId) -> Option<&Rung> {
        self.rungs.get(usize::from(id.0)).map(|tables| &tables.rung)
    }

    /// Number of rungs.
    pub fn len(&self) -> usize {
        self.rungs.len()
    }

    /// Always false: a policy has at least one rung.
    pub fn is_empty(&self) -> bool {
        self.rungs.is_empty()
    }

    /// Epochs between two runs.
    pub const fn run_epochs(&self) -> u64 {
        self.run_epochs
    }
}

impl Default for ConvictionPolicy {
    /// p0 of 2e-5, 2e-4 and 9.52e-4, each at level 1/3,000,000, and a run every 720 epochs. From constant
    /// tables: no float is touched.
    fn default() -> Self {
        let rungs = DEFAULT_RUNGS
            .iter()
            .zip(default_tables::CONVICT.iter().zip(&default_tables::ESCALATE))
            .map(|(rung, (convict, escalate))| RungTables {
                rung: *rung,
                convict: convict.iter().map(|rows| BoundaryTable::from_rows(rows)).collect(),
                escalate: BoundaryTable::from_rows(escalate),
            })
            .collect();
        Self { rungs, run_epochs: 720 }
    }
}

/// One outcome in a worker's list of audits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(deny_unknown_fields))]
pub struct AuditEntry {
    /// The attestation audited.
    pub attestation: AttestationHash,
    /// Epoch of the audit.
    pub epoch: Epoch,
    /// Rung of the comparator.
    pub rung: RungId,
    /// The outcome.
    pub outcome: Outcome,
}

/// The counters of one worker. They are never reset: a reset would break the bound. A fresh run of counters
/// opens at fixed times instead, at half the level of the run before, so that a long clean past does not
/// shield a worker who starts to cheat.
///
/// ```
/// use std::sync::Arc;
/// use hanzo_poai::{ConvictionPolicy, Epoch, Outcome, Record, RungId, Standing};
///
/// let mut record = Record::new(Arc::new(ConvictionPolicy::default()), Epoch::new(0));
/// let rung = RungId::new(0);
/// assert_eq!(record.observe(rung, Outcome::Match)?, Standing::Clear);
/// assert_eq!(record.observe(rung, Outcome::Mismatch)?, Standing::Escalated);
/// assert_eq!(record.observe(rung, Outcome::Mismatch)?, Standing::Convicted);
/// # Ok::<(), hanzo_poai::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    policy: Arc<ConvictionPolicy>,
    now: Epoch,
    next_run: u64,
    /// By run, then by rung.
    runs: Vec<Vec<Counter>>,
    /// By rung.
    convicted: Vec<bool>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Counter {
    audits: u64,
    mismatches: u64,
}

impl Record {
    /// A clean record that starts at an epoch.
    pub fn new(policy: Arc<ConvictionPolicy>, start: Epoch) -> Self {
        let next_run = start.get().saturating_add(policy.run_epochs);
        let first = alloc::vec![Counter::default(); policy.len()];
        let convicted = alloc::vec![false; policy.len()];
        Self { policy, now: start, next_run, runs: alloc::vec![first], convicted }
    }

    /// Opens the runs that are due at `epoch`: one every [`ConvictionPolicy::run_epochs`], 16 in all. The
    /// result does not depend on how often this is called, as long as it is before each observation.
    ///
    /// # Errors
    /// [`Error::Epoch`] when the epoch lies before one seen already.
    pub fn advance(&mut self, epoch: Epoch) -> Result<()> {
        if epoch < self.now {
            return Err(Error::Epoch { epoch: epoch.get(), earliest: self.now.get(), latest: u64::MAX });
        }
        self.now = epoch;
        while self.runs.len() < RUNS as usize && self.next_run <= epoch.get() {
            self.open_run();
            self.next_run = self.next_run.saturating_add(self.policy.run_epochs);
        }
        Ok(())
    }

    /// Opens one run now, for a new calibration. Does nothing once 16 are open.
    pub fn open_run(&mut self) {
        if self.runs.len() < RUNS as usize {
            self.runs.push(alloc::vec![Counter::default(); self.policy.len()]);
        }
    }

    /// Counts one audited job. `O(runs)` table look-ups.
    ///
    /// # Errors
    /// [`Error::UnknownVariant`] for a rung the policy does not have; [`Error::Overflow`] past 2^64 audits.
    pub fn observe(&mut self, rung: RungId, outcome: Outcome) -> Result<Standing> {
        let unknown = Error::UnknownVariant { field: "rung", value: rung.0.into() };
        let tables = self.policy.rungs.get(usize::from(rung.0)).ok_or(unknown)?;
        // The first run has counted the longest; if it has room, all have.
        self.counts(rung).and_then(|(audits, _)| audits.checked_add(1)).ok_or(Error::Overflow)?;
        let counters = self.runs.iter_mut().filter_map(|run| run.get_mut(usize::from(rung.0)));
        for (counter, convict) in counters.zip(&tables.convict) {
            counter.audits += 1;
            counter.mismatches += u64::from(outcome == Outcome::Mismatch);
            if convict.contains(counter.audits, counter.mismatches)
                && let Some(convicted) = self.convicted.get_mut(usize::from(rung.0))
            {
                *convicted = true;
            }
        }
        Ok(self.standing())
    }

    /// Voids the counters of a rung, after a contest showed that its `p0` was wrong for this worker's class. The only
    /// way a counter ever goes back: any other reset breaks the bound.
    ///
    /// # Errors
    /// [`Error::UnknownVariant`] for a rung the policy does not have.
    pub fn void(&mut self, rung: RungId) -> Result<()> {
        let at = usize::from(rung.0);
        let unknown = Error::UnknownVariant { field: "rung", value: rung.0.into() };
        *self.convicted.get_mut(at).ok_or(unknown)? = false;
        for counter in self.runs.iter_mut().filter_map(|run| run.get_mut(at)) {
            *counter = Counter::default();
        }
        Ok(())
    }

    /// Where the worker stands: any run convicts, the newest one escalates.
    pub fn standing(&self) -> Standing {
        if self.convicted.contains(&true) {
            return Standing::Convicted;
        }
        let newest = self.runs.last().into_iter().flatten().zip(&self.policy.rungs);
        let escalated =
            newest.into_iter().any(|(counter, tables)| tables.escalate.contains(counter.audits, counter.mismatches));
        if escalated { Standing::Escalated } else { Standing::Clear }
    }

    /// Audits and mismatches of a rung over the whole life.
    pub fn counts(&self, rung: RungId) -> Option<(u64, u64)> {
        let counter = self.runs.first()?.get(usize::from(rung.0))?;
        Some((counter.audits, counter.mismatches))
    }

    /// Runs open.
    pub fn runs(&self) -> usize {
        self.runs.len()
    }
}

/// Checks that there are rungs and that their levels sum to at most 1e-6, exactly.
fn check_levels(rungs: &[Rung]) -> Result<()> {
    if rungs.is_empty() || rungs.len() > MAX_RUNGS {
        return Err(Error::BatchSize { got: rungs.len() as u64, max: MAX_RUNGS as u64 });
    }
    // sum 1/L as a reduced fraction
    let (mut num, mut den) = (0u128, 1u128);
    for rung in rungs {
        let level = u128::from(rung.inverse_level);
        if level == 0 || level > 1 << 40 {
            return Err(Error::InvalidLevel);
        }
        let left = num.checked_mul(level).ok_or(Error::InvalidLevel)?;
        num = left.checked_add(den).ok_or(Error::InvalidLevel)?;
        den = den.checked_mul(level).ok_or(Error::InvalidLevel)?;
        let (mut a, mut b) = (num, den);
        while b != 0 {
            (a, b) = (b, a % b);
        }
        num /= a;
        den /= a;
    }
    match num.checked_mul(1_000_000) {
        Some(scaled) if scaled <= den => Ok(()),
        _ => Err(Error::InvalidLevel),
    }
}

const RUNS: u32 = 16;
const ROWS: u32 = 64;
const MAX_RUNGS: usize = 16;
const DEFAULT_RUNGS: [Rung; 3] = [
    Rung { p0_ppb: 20_000, inverse_level: 3_000_000 },
    Rung { p0_ppb: 200_000, inverse_level: 3_000_000 },
    Rung { p0_ppb: 952_000, inverse_level: 3_000_000 },
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn default_tables_are_the_computed_ones() {
        let computed = ConvictionPolicy::new(&DEFAULT_RUNGS, 720).unwrap();
        assert_eq!(computed, ConvictionPolicy::default());
    }

    #[test]
    fn levels_sum_to_at_most_one_in_a_million() {
        let rung = |inverse_level| Rung { p0_ppb: 10_000, inverse_level };
        assert!(check_levels(&[rung(1_000_000)]).is_ok());
        assert!(check_levels(&[rung(3_000_000); 3]).is_ok());
        assert_eq!(check_levels(&[rung(999_999)]), Err(Error::InvalidLevel));
        assert_eq!(check_levels(&[rung(3_000_000), rung(3_000_000), rung(2_999_999)]), Err(Error::InvalidLevel));
        assert_eq!(check_levels(&[rung(0)]), Err(Error::InvalidLevel));
        assert!(check_levels(&[]).is_err());
    }

    /// The probability that an honest worker at exactly p0 ever crosses a boundary, by exact recursion over
    /// (audits, mismatches): Ville's bound must hold, with some of it used.
    fn crossing(table: &BoundaryTable, p0: f64) -> f64 {
        let mut at = [0.0f64; 96];
        at[0] = 1.0;
        let mut crossed = 0.0;
        let last = table.rows().last().copied().unwrap();
        for n in 1..=last {
            for s in (0..at.len()).rev() {
                let risen = if s > 0 { at[s - 1] * p0 } else { 0.0 };
                at[s] = at[s] * (1.0 - p0) + risen;
                if table.contains(n, s as u64) {
                    crossed += at[s];
                    at[s] = 0.0;
                }
            }
        }
        crossed
    }

    #[test]
    fn honest_workers_cross_no_more_often_than_the_level() {
        let policy = ConvictionPolicy::default();
        for tables in &policy.rungs {
            let p0 = f64::from(tables.rung.p0_ppb) / 1e9;
            let runs = if p0 > 5e-4 { RUNS as usize } else { 1 };
            for (run, table) in tables.convict.iter().enumerate().take(runs) {
                let level = 1.0 / (tables.rung.inverse_level << (run + 1)) as f64;
                let crossed = crossing(table, p0);
                assert!(crossed <= level, "p0 {p0} run {run}: {crossed} above {level}");
                assert!(crossed > level / 1e3, "p0 {p0} run {run}: {crossed} far below {level}");
            }
        }
    }

    #[test]
    fn a_long_clean_past_does_not_shield_a_late_cheater() {
        let rung = RungId::new(0);
        let mut shielded = Record::new(Arc::new(ConvictionPolicy::default()), Epoch::new(0));
        for _ in 0..1_000_000 {
            shielded.observe(rung, Outcome::Match).unwrap();
        }
        let mut fresh = shielded.clone();
        fresh.advance(Epoch::new(720)).unwrap();
        for _ in 0..3 {
            shielded.observe(rung, Outcome::Mismatch).unwrap();
            fresh.observe(rung, Outcome::Mismatch).unwrap();
        }
        assert_eq!(shielded.standing(), Standing::Clear);
        assert_eq!(fresh.standing(), Standing::Convicted);
        assert_eq!((shielded.runs(), fresh.runs()), (1, 2));
    }

    #[test]
    fn runs_open_on_schedule_however_often_one_looks() {
        let policy = Arc::new(ConvictionPolicy::default());
        let mut once = Record::new(Arc::clone(&policy), Epoch::new(5));
        let mut often = once.clone();
        for epoch in 5..=5 + 3 * 720 {
            often.advance(Epoch::new(epoch)).unwrap();
        }
        once.advance(Epoch::new(5 + 3 * 720)).unwrap();
        assert_eq!((once.runs(), &once), (4, &often));
        once.advance(Epoch::new(u64::MAX)).unwrap();
        assert_eq!(once.runs(), 16);
    }
}
