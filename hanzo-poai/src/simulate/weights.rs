//! Rates that differ by value and by reputation, at the cost of one uniform rate.

use alloc::vec::Vec;

use rand_distr::{Distribution as _, StandardNormal};
use rand_xoshiro::Xoshiro256PlusPlus;
use rand_xoshiro::rand_core::SeedableRng as _;

use super::{Estimate, Fleet, binomial, chance, unit};
use crate::error::{Error, Result};
use crate::hash::AttestationHash;
use crate::plan::{AuditPlan, Exposure, SamplingPolicy};
use crate::sampling::Probability;

/// How values are spread and what is cheated on.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Values {
    /// Standard deviation of the logarithm of a job's value.
    pub sigma: f64,
    /// The cheater takes the dearest jobs, worth this share of all value.
    pub stolen: f64,
}

/// Detection of a worker who cheats on the dearest jobs: at a uniform rate, and at rates of an
/// [`AuditPlan`] in proportion to value, at the same cost. Every job costs the same to check.
///
/// # Errors
/// [`Error::InvalidProbability`] for a rate outside [0, 1]; [`Error::InvalidField`] for a spread that is negative
/// or not finite; [`Error::Overflow`] for more than 2^24 jobs a worker.
pub fn by_value(seed: u64, fleet: Fleet, alpha: f64, values: Values) -> Result<[Estimate; 2]> {
    let (alpha, stolen) = (unit(alpha)?, unit(values.stolen)?);
    if !values.sigma.is_finite() || values.sigma < 0.0 {
        return Err(Error::InvalidField("sigma"));
    }
    let jobs = fleet.jobs.checked_mul(fleet.epochs).filter(|jobs| *jobs <= 1 << 24).ok_or(Error::Overflow)?;
    let mut rng = Xoshiro256PlusPlus::seed_from_u64(seed);
    let mut hits = [0u64; 2];
    for _ in 0..fleet.workers {
        let mut worth: Vec<f64> = (0..jobs)
            .map(|_| {
                let normal: f64 = StandardNormal.sample(&mut rng);
                libm::exp(values.sigma * normal)
            })
            .collect();
        worth.sort_unstable_by(|a, b| b.total_cmp(a));
        let mut left = stolen * worth.iter().sum::<f64>();
        let bad = worth
            .iter()
            .take_while(|value| {
                left -= **value;
                left >= 0.0
            })
            .count();
        let plan = proportional(&worth, (alpha * jobs as f64) as u64)?;
        let uniform = (0..bad).any(|_| chance(&mut rng) <= alpha);
        let weighted = plan.probabilities().iter().take(bad).any(|p| {
            let p = p.as_q64() as f64 / 18_446_744_073_709_551_616.0;
            chance(&mut rng) <= p
        });
        hits[0] += u64::from(uniform);
        hits[1] += u64::from(weighted);
    }
    Ok(hits.map(|hits| Estimate { hits, trials: fleet.workers }))
}

/// A plan without floor whose rates follow value: the stake is so far above every gain that `kappa gain / (stake +
/// gain)` is linear, and adds up to a third more than the budget, so that all of it is used.
fn proportional(worth: &[f64], budget: u64) -> Result<AuditPlan> {
    let gains: Vec<u128> = worth.iter().map(|value| (value * 1e6) as u128).collect();
    let kappa = u128::from(u32::MAX >> 16);
    let sum: u128 = gains.iter().sum();
    let stake = kappa * sum * 3 / (4 * u128::from(budget.max(1)));
    let jobs: Vec<Exposure> = gains
        .into_iter()
        .map(|gain| Exposure {
            attestation: AttestationHash::new([0; 32]),
            gain,
            stake,
            cost: 1,
            screen: None,
            clean: 0,
        })
        .collect();
    AuditPlan::new(&SamplingPolicy::new(Probability::NEVER).kappa_q16(u32::MAX), &jobs, budget)
}

/// A fleet in which rates fall with clean audits.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Reputation {
    /// Workers of one fleet.
    pub fleet: u64,
    /// Those of them who cheat.
    pub cheaters: u64,
    /// Clean audits of everybody else at the start.
    pub honest_clean: u64,
    /// Clean audits of a cheater at the start: 0 for newcomers.
    pub cheater_clean: u64,
    /// Least weight.
    pub least: f64,
    /// Share of bad jobs of a cheater.
    pub delta: f64,
}

/// Detection of cheaters when every worker's rate has weight `max(least, 1 / (1 + clean / 30))`, scaled so that
/// the fleet's audits cost what a uniform `alpha` would. Rates are set anew each epoch.
///
/// # Errors
/// [`Error::InvalidProbability`] for a rate outside [0, 1]; [`Error::InvalidField`] for more cheaters than workers
/// or a least weight of 0.
pub fn by_reputation(seed: u64, fleets: Fleet, alpha: f64, reputation: Reputation) -> Result<Estimate> {
    let Reputation { fleet, cheaters, honest_clean, cheater_clean, least, delta } = reputation;
    let (alpha, delta) = (unit(alpha)?, unit(delta)?);
    if cheaters > fleet {
        return Err(Error::InvalidField("cheaters"));
    }
    if unit(least)? == 0.0 {
        return Err(Error::InvalidField("least"));
    }
    let weight = |clean: f64| (1.0 / (1.0 + clean / 30.0)).max(least);
    let mut rng = Xoshiro256PlusPlus::seed_from_u64(seed);
    let mut hits = 0;
    for _ in 0..fleets.workers {
        let mut honest = honest_clean as f64;
        let mut rogues: Vec<(f64, bool)> = alloc::vec![(cheater_clean as f64, false); cheaters as usize];
        for _ in 0..fleets.epochs {
            // The honest all have the same clean audits on average, and their number does not matter beyond that.
            let open = rogues.iter().filter(|(_, found)| !found);
            let sum = weight(honest) * (fleet - cheaters) as f64 + open.map(|(clean, _)| weight(*clean)).sum::<f64>();
            let scale = alpha * fleet as f64 / sum;
            for (clean, found) in rogues.iter_mut().filter(|(_, found)| !found) {
                let rate = (scale * weight(*clean)).min(1.0);
                let audits = binomial(&mut rng, fleets.jobs, rate);
                let bad = binomial(&mut rng, audits, delta);
                *found = bad > 0;
                *clean += (audits - bad) as f64;
            }
            honest += (scale * weight(honest)).min(1.0) * fleets.jobs as f64;
        }
        hits += rogues.iter().filter(|(_, found)| *found).count() as u64;
    }
    Ok(Estimate { hits, trials: fleets.workers * cheaters })
}
