//! Audit rules played out on fleets of workers, with a seeded generator (xoshiro256++): the same seed gives the
//! same counts. Figures to design with; nothing here decides about anybody.
//!
//! Work is skipped over, not walked: the next audited job, or the next mismatch, is a geometric step away. So a
//! million worker-epochs of 10,000 jobs take a fraction of a second.
//!
//! ```
//! use hanzo_poai::simulate::{self, Fleet};
//!
//! // 1 % of 10,000 jobs an epoch are bad, 0.3 % are audited in full: ten epochs find the worker in 95 % of cases.
//! let found = simulate::uniform(7, Fleet { workers: 4_000, epochs: 10, jobs: 10_000 }, 0.003, 0.01)?;
//! assert!(found.holds(0.950_22));
//! # Ok::<(), hanzo_poai::Error>(())
//! ```

mod null;
mod rules;
mod weights;

use rand_distr::{Binomial, Distribution as _};
use rand_xoshiro::Xoshiro256PlusPlus;
use rand_xoshiro::rand_core::{Rng as _, SeedableRng as _};

use crate::clopper_pearson::clopper_pearson;
use crate::error::{Error, Result};
use crate::theory::screened_rate;

pub use null::{NullStreams, null_streams};
pub use rules::{Convicts, Escalation, Ledger, Rule, Scenario, play};
pub use weights::{Reputation, Values, by_reputation, by_value};

/// Workers and their work.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fleet {
    /// Workers, each simulated on its own.
    pub workers: u64,
    /// Epochs of each.
    pub epochs: u64,
    /// Jobs of a worker and epoch.
    pub jobs: u64,
}

/// A share that was counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Estimate {
    /// How often it happened.
    pub hits: u64,
    /// How often it could have.
    pub trials: u64,
}

impl Estimate {
    /// `hits / trials`, 0 to 1; 0 without trials.
    pub fn rate(&self) -> f64 {
        self.hits as f64 / self.trials.max(1) as f64
    }

    /// Whether a probability lies in the exact interval at confidence `1 - 1e-6`.
    pub fn holds(&self, probability: f64) -> bool {
        self.interval(1.0 - 1e-6).is_ok_and(|(low, high)| (low..=high).contains(&probability))
    }

    /// The exact (Clopper-Pearson) interval.
    ///
    /// # Errors
    /// Those of [`theory::clopper_pearson`](crate::theory::clopper_pearson).
    pub fn interval(&self, confidence: f64) -> Result<(f64, f64)> {
        clopper_pearson(self.hits, self.trials, confidence)
    }
}

/// Workers of whom a share `delta` of all jobs is bad, audited in full at rate `alpha` one by one: how many are
/// audited on a bad job at least once.
///
/// # Errors
/// [`Error::InvalidProbability`] for a rate outside [0, 1]; [`Error::Overflow`] for more than 2^63 jobs.
pub fn uniform(seed: u64, fleet: Fleet, alpha: f64, delta: f64) -> Result<Estimate> {
    let (alpha, delta) = (unit(alpha)?, unit(delta)?);
    let jobs = fleet.jobs.checked_mul(fleet.epochs).filter(|jobs| *jobs < 1 << 63).ok_or(Error::Overflow)?;
    let mut rng = Xoshiro256PlusPlus::seed_from_u64(seed);
    let mut hits = 0;
    for _ in 0..fleet.workers {
        let mut at = 0u64;
        loop {
            at = at.saturating_add(skip(&mut rng, alpha));
            if at > jobs {
                break;
            }
            if chance(&mut rng) < delta {
                hits += 1;
                break;
            }
        }
    }
    Ok(Estimate { hits, trials: fleet.workers })
}

/// Workers with exactly `bad` bad jobs, each audited with probability `p`.
///
/// # Errors
/// [`Error::InvalidProbability`] for a rate outside [0, 1].
pub fn exact_count(seed: u64, workers: u64, bad: u64, p: f64) -> Result<Estimate> {
    let mut rng = Xoshiro256PlusPlus::seed_from_u64(seed);
    let audited = Binomial::new(bad, unit(p)?).map_err(|_| Error::InvalidProbability)?;
    let hits = (0..workers).filter(|_| audited.sample(&mut rng) > 0).count() as u64;
    Ok(Estimate { hits, trials: workers })
}

/// [`exact_count`] behind a screen that flags bad jobs with `tpr` and good ones with `fpr` inside `budget`.
///
/// # Errors
/// [`Error::InvalidProbability`] for a rate outside [0, 1].
pub fn screened(seed: u64, workers: u64, bad: u64, tpr: f64, fpr: f64, budget: f64) -> Result<Estimate> {
    exact_count(seed, workers, bad, screened_rate(tpr, fpr, budget)?)
}

/// A number in (0, 1].
fn chance(rng: &mut Xoshiro256PlusPlus) -> f64 {
    ((rng.next_u64() >> 11) + 1) as f64 * (1.0 / 9_007_199_254_740_992.0)
}

/// Trials up to and with the next success: at least 1; never for a probability of 0.
fn skip(rng: &mut Xoshiro256PlusPlus, p: f64) -> u64 {
    if p >= 1.0 {
        return 1;
    }
    if p <= 0.0 {
        return u64::MAX;
    }
    ((libm::log(chance(rng)) / libm::log1p(-p)) as u64).saturating_add(1)
}

fn binomial(rng: &mut Xoshiro256PlusPlus, trials: u64, p: f64) -> u64 {
    Binomial::new(trials, p.clamp(0.0, 1.0)).map_or(0, |law| law.sample(rng))
}

fn unit(p: f64) -> Result<f64> {
    if (0.0..=1.0).contains(&p) { Ok(p) } else { Err(Error::InvalidProbability) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn skips_follow_the_geometric_law() {
        let mut rng = Xoshiro256PlusPlus::seed_from_u64(3);
        let (p, n) = (0.2, 20_000u64);
        let sum: u64 = (0..n).map(|_| skip(&mut rng, p)).sum();
        // Mean 5, variance 20.
        let off = sum as f64 - 5.0 * n as f64;
        assert!(off.abs() < 6.0 * libm::sqrt(20.0 * n as f64), "{off}");
        let ones = (0..n).filter(|_| skip(&mut rng, p) == 1).count() as u64;
        assert!(Estimate { hits: ones, trials: n }.holds(p));
        assert_eq!(skip(&mut rng, 1.0), 1);
        assert!(skip(&mut rng, 0.0) > 1 << 40);
        assert!(uniform(1, Fleet { workers: 1, epochs: u64::MAX, jobs: 2 }, 0.1, 0.1).is_err());
        assert!(exact_count(1, 1, 1, f64::NAN).is_err());
    }
}
