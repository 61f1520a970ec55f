//! How each model has served so far: health, failures, latency, spending.

use super::cooldown::{Cooldown, CooldownPolicy, ServiceState};
use super::free_energy::LATENCY_BINS;
use super::health::Health;
use super::quote::Millis;
use super::request::{Outcome, Status};
use super::snapshot::{Reader, Writer, bad};
use crate::Result;

/// What is known about the service of one model.
#[derive(Debug, Clone, PartialEq)]
pub struct ServiceReport {
    /// Id of the model.
    pub model: String,
    /// Whether it is in service.
    pub state: ServiceState,
    /// Probability that it is not degraded: a two-state chain, one step a decision (of any model), that scores speak for or against.
    pub healthy: f64,
    /// Probability that it answers: the share of its calls with an answer, 19 of 20 counted beforehand.
    pub availability: f64,
    /// Expected latency in milliseconds: the mean of its answers, the catalogue's value counted as four.
    pub expected_latency_ms: f64,
    /// Decisions that chose it.
    pub decisions: u64,
    /// Outcomes recorded, those as a fallback included.
    pub outcomes: u64,
    /// Mean of the scores recorded; `None` before the first.
    pub mean_score: Option<f64>,
    /// Dollars spent, as reported in outcomes.
    pub spent_usd: f64,
}

/// The running record behind a [`ServiceReport`].
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct ServiceRecord {
    pub(crate) health: Health,
    pub(crate) cooldown: Cooldown,
    prior_latency_ms: f64,
    answered: f64,
    failed: f64,
    latency_bins: [f64; LATENCY_BINS],
    latency_sum: f64,
    latency_count: f64,
    decisions: u64,
    outcomes: u64,
    score_sum: f64,
    scores: u64,
    spent_usd: f64,
}

impl ServiceRecord {
    pub(crate) fn new(prior_latency_ms: f64) -> Self {
        Self {
            health: Health::new(),
            cooldown: Cooldown::new(),
            prior_latency_ms,
            answered: PRIOR_ANSWERED,
            failed: PRIOR_FAILED,
            latency_bins: [0.0; LATENCY_BINS],
            latency_sum: 0.0,
            latency_count: 0.0,
            decisions: 0,
            outcomes: 0,
            score_sum: 0.0,
            scores: 0,
            spent_usd: 0.0,
        }
    }

    pub(crate) fn save(&self, w: &mut Writer) {
        w.f64(self.health.probability());
        self.cooldown.save(w);
        w.f64s(&[self.answered, self.failed]);
        w.f64s(&self.latency_bins);
        w.f64s(&[self.latency_sum, self.latency_count, self.score_sum, self.spent_usd]);
        [self.decisions, self.outcomes, self.scores].iter().for_each(|&n| w.u64(n));
    }

    pub(crate) fn load(&mut self, r: &mut Reader<'_>) -> Result<()> {
        self.health = Health::load(r)?;
        self.cooldown = Cooldown::load(r)?;
        (self.answered, self.failed) = (r.amount()?, r.amount()?);
        r.amounts(&mut self.latency_bins)?;
        (self.latency_sum, self.latency_count) = (r.amount()?, r.amount()?);
        (self.score_sum, self.spent_usd) = (r.amount()?, r.amount()?);
        (self.decisions, self.outcomes, self.scores) = (r.u64()?, r.u64()?, r.u64()?);
        if self.answered + self.failed > 0.0 { Ok(()) } else { bad("service") }
    }

    pub(crate) fn chosen(&mut self, now: Millis, policy: &CooldownPolicy) {
        self.decisions = self.decisions.saturating_add(1);
        self.cooldown.chosen(now, policy);
    }

    /// Takes an outcome in; `limit_ms` is the latency limit of its request.
    pub(crate) fn outcome(&mut self, outcome: &Outcome, limit_ms: f64, at: Millis, policy: &CooldownPolicy) {
        self.outcomes = self.outcomes.saturating_add(1);
        self.spent_usd += outcome.usd;
        self.cooldown.outcome(outcome.status, at, policy);
        if let Some(score) = outcome.score {
            self.score_sum += score;
            self.scores = self.scores.saturating_add(1);
        }
        match outcome.status {
            Status::Success => {
                let latency = outcome.latency_ms as f64;
                self.answered += 1.0;
                self.latency_sum += latency;
                self.latency_count += 1.0;
                self.latency_bins[latency_bin(latency, limit_ms)] += 1.0;
            }
            Status::Timeout => {
                self.failed += 1.0;
                self.latency_bins[LATENCY_BINS - 1] += 1.0;
            }
            status if status.counts_as_failure() => self.failed += 1.0,
            _ => {}
        }
    }

    /// Posterior mean probability of an answer (a beta distribution).
    pub(crate) fn availability(&self) -> f64 {
        self.answered / (self.answered + self.failed)
    }

    /// Posterior mean latency; the catalogue's value counts as four observations.
    pub(crate) fn expected_latency_ms(&self) -> f64 {
        (LATENCY_PRIOR * self.prior_latency_ms + self.latency_sum) / (LATENCY_PRIOR + self.latency_count)
    }

    /// Posterior mean probabilities of the latency bins for a limit (a Dirichlet distribution); the prior lies in the bin of
    /// the expected latency.
    pub(crate) fn latency_bins(&self, limit_ms: f64) -> [f64; LATENCY_BINS] {
        let mut p = self.latency_bins;
        p[latency_bin(self.expected_latency_ms(), limit_ms)] += LATENCY_PRIOR;
        let total: f64 = p.iter().sum();
        p.map(|count| count / total)
    }

    pub(crate) fn report(&self, model: &str) -> ServiceReport {
        ServiceReport {
            model: model.to_owned(),
            state: self.cooldown.state(),
            healthy: self.health.probability(),
            availability: self.availability(),
            expected_latency_ms: self.expected_latency_ms(),
            decisions: self.decisions,
            outcomes: self.outcomes,
            mean_score: (self.scores > 0).then(|| self.score_sum / self.scores as f64),
            spent_usd: self.spent_usd,
        }
    }
}

/// The latency bin of a request with this limit.
pub(crate) fn latency_bin(latency_ms: f64, limit_ms: f64) -> usize {
    [0.5, 1.0, 2.0].iter().filter(|&&part| latency_ms >= part * limit_ms).count()
}

const PRIOR_ANSWERED: f64 = 19.0;
const PRIOR_FAILED: f64 = 1.0;
const LATENCY_PRIOR: f64 = 4.0;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn latency_bins_are_a_distribution_that_follows_what_is_seen() {
        let mut r = ServiceRecord::new(250.0);
        assert_eq!(r.latency_bins(1_000.0), [1.0, 0.0, 0.0, 0.0]);
        assert_eq!(r.latency_bins(300.0), [0.0, 1.0, 0.0, 0.0]);
        for latency in [100, 600, 1_500, 9_000] {
            r.outcome(&Outcome::success(1.0, latency, 0.0), 1_000.0, 0, &CooldownPolicy::default());
        }
        r.outcome(&Outcome::failure(Status::Timeout, 9), 1_000.0, 0, &CooldownPolicy::default());
        // Expected latency (4 * 250 + 11200) / 8 = 1525 lies in the third bin.
        assert_eq!(r.expected_latency_ms(), 1_525.0);
        assert_eq!(r.latency_bins(1_000.0), [1.0 / 9.0, 1.0 / 9.0, 5.0 / 9.0, 2.0 / 9.0]);
        assert_eq!(r.availability(), 23.0 / 25.0);
    }

    #[test]
    fn the_callers_own_errors_do_not_count_against_the_model() {
        let mut r = ServiceRecord::new(250.0);
        let before = r.availability();
        r.outcome(&Outcome::failure(Status::BadRequest, 1), 1_000.0, 0, &CooldownPolicy::default());
        r.outcome(&Outcome::failure(Status::ContentFiltered, 1), 1_000.0, 0, &CooldownPolicy::default());
        assert_eq!((r.availability(), r.report("m").outcomes), (before, 2));
    }
}
