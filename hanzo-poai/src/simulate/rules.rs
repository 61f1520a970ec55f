//! Rules of conviction, with and without escalation.

use rand_xoshiro::Xoshiro256PlusPlus;
use rand_xoshiro::rand_core::SeedableRng as _;

use super::{Estimate, Fleet, binomial, skip, unit};
use crate::conviction::BoundaryTable;
use crate::error::{Error, Result};

/// What convicts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Convicts {
    /// That many mismatches; with 1, the rule of the paper.
    Mismatches(u64),
    /// An e-process past its boundary.
    EProcess(BoundaryTable),
}

impl Convicts {
    fn after(&self, audits: u64, mismatches: u64) -> bool {
        match self {
            Self::Mismatches(most) => mismatches >= *most,
            Self::EProcess(table) => table.contains(audits, mismatches),
        }
    }
}

/// Audits after a mismatch.
#[derive(Debug, Clone, PartialEq)]
pub struct Escalation {
    /// Audit rate while escalated; 1 audits all.
    pub rate: f64,
    /// The boundary of escalation.
    pub boundary: BoundaryTable,
    /// Audits between two looks at it; 1 looks after each.
    pub look_every: u64,
}

/// When a worker is audited and when convicted.
#[derive(Debug, Clone, PartialEq)]
pub struct Rule {
    /// Audit rate.
    pub rate: f64,
    /// What convicts.
    pub convicts: Convicts,
    /// What a mismatch leads to.
    pub escalation: Option<Escalation>,
}

/// How a fleet behaves.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Scenario {
    /// The fleet.
    pub fleet: Fleet,
    /// Share of bad jobs.
    pub delta: f64,
    /// Probability that the audit of a bad job is a mismatch.
    pub power: f64,
    /// Probability that the audit of a good job is one.
    pub p0: f64,
}

/// What a fleet came to. A convicted worker does no more work.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Ledger {
    /// Workers.
    pub workers: u64,
    /// Workers convicted.
    pub convicted: u64,
    /// Jobs done.
    pub jobs: u64,
    /// Jobs audited.
    pub audits: u64,
}

impl Ledger {
    /// Share of the workers convicted.
    pub const fn convicted(&self) -> Estimate {
        Estimate { hits: self.convicted, trials: self.workers }
    }

    /// Share of all compute that audits took, where one costs `check_cost` of a job.
    pub fn overhead(&self, check_cost: f64) -> f64 {
        check_cost * self.audits as f64 / self.jobs.max(1) as f64
    }
}

/// Plays a rule on every worker of a fleet.
///
/// # Errors
/// [`Error::InvalidProbability`] for a rate outside [0, 1]; [`Error::InvalidField`] for looks every 0 audits;
/// [`Error::Overflow`] for more than 2^63 jobs a worker.
pub fn play(seed: u64, scenario: &Scenario, rule: &Rule) -> Result<Ledger> {
    let Scenario { fleet, delta, power, p0 } = *scenario;
    let jobs = fleet.jobs.checked_mul(fleet.epochs).filter(|jobs| *jobs < 1 << 63).ok_or(Error::Overflow)?;
    let mismatch = unit(delta)? * unit(power)? + (1.0 - delta) * unit(p0)?;
    unit(rule.rate)?;
    if let Some(escalation) = &rule.escalation {
        unit(escalation.rate)?;
        if escalation.look_every == 0 {
            return Err(Error::InvalidField("look_every"));
        }
    }
    let mut rng = Xoshiro256PlusPlus::seed_from_u64(seed);
    let mut ledger = Ledger { workers: fleet.workers, ..Ledger::default() };
    for _ in 0..fleet.workers {
        let mut worker = Worker { left: jobs, audits: 0, mismatches: 0, mismatch };
        ledger.convicted += u64::from(worker.run(&mut rng, rule));
        ledger.jobs += jobs - worker.left;
        ledger.audits += worker.audits;
    }
    Ok(ledger)
}

struct Worker {
    left: u64,
    audits: u64,
    mismatches: u64,
    mismatch: f64,
}

impl Worker {
    /// Works until convicted or done; says which.
    fn run(&mut self, rng: &mut Xoshiro256PlusPlus, rule: &Rule) -> bool {
        while self.left > 0 {
            if !self.until_mismatch(rng, rule.rate) {
                return false;
            }
            if rule.convicts.after(self.audits, self.mismatches) {
                return true;
            }
            if let Some(escalation) = &rule.escalation
                && self.escalated(rng, rule, escalation)
            {
                return true;
            }
        }
        false
    }

    /// Goes on at a rate up to and with the next mismatch; says whether there is one.
    fn until_mismatch(&mut self, rng: &mut Xoshiro256PlusPlus, rate: f64) -> bool {
        let hit = rate * self.mismatch;
        let jobs = skip(rng, hit);
        // Of the jobs before it, those audited came out clean.
        let clean = if hit < 1.0 { rate * (1.0 - self.mismatch) / (1.0 - hit) } else { 0.0 };
        if jobs > self.left {
            self.audits += binomial(rng, self.left, clean);
            self.left = 0;
            return false;
        }
        self.audits += binomial(rng, jobs - 1, clean) + 1;
        self.mismatches += 1;
        self.left -= jobs;
        true
    }

    /// Audits more often until the boundary is left behind; says whether that convicts.
    fn escalated(&mut self, rng: &mut Xoshiro256PlusPlus, rule: &Rule, escalation: &Escalation) -> bool {
        while self.left > 0 && escalation.boundary.contains(self.audits, self.mismatches) {
            for _ in 0..escalation.look_every {
                let jobs = skip(rng, escalation.rate);
                if jobs > self.left {
                    self.left = 0;
                    return false;
                }
                self.left -= jobs;
                self.audits += 1;
                if super::chance(rng) <= self.mismatch {
                    self.mismatches += 1;
                    if rule.convicts.after(self.audits, self.mismatches) {
                        return true;
                    }
                }
            }
        }
        false
    }
}
