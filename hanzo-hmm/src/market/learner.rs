//! The likelihood that a market maker was built with.

use super::beliefs::Beliefs;
use super::categorical::{self, Counts, Now, QUALITIES, Seen};
use super::free_energy::{Assessment, LATENCY_BINS, Preferences};
use super::likelihood::{Circumstances, QualityModel, Refit, Represented, Responsibility};
use super::request::Outcome;
use super::snapshot::{Reader, Writer, bad};
use crate::Result;

/// What a [`MarketMaker`](crate::MarketMaker) learns about its models.
///
/// ```
/// use hanzo_hmm::market::{Classes, Likelihood, Outcome, RouteOptions};
/// use hanzo_hmm::{Config, MarketMaker, RoutingRequest};
///
/// let market = MarketMaker::builder(Config::default()).likelihood(Likelihood::Categorical(Classes::Given(12))).build()?;
/// let options = RouteOptions { class: 3, ..RouteOptions::default() }; // of a classifier of yours
/// let decision = market.route("tenant-42", &RoutingRequest::default(), &options)?;
/// market.record_outcome(decision.id, &Outcome::success(0.9, 400, decision.estimated_cost_usd))?;
/// # Ok::<(), hanzo_hmm::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Likelihood {
    /// Quality by Bayesian linear regression on the kind of the request, latency and answers by counts of the model. For requests that are told
    /// apart by their text. Outcomes without a score teach latency, answers and cooldown only.
    #[default]
    Linear,
    /// Dirichlet counts of quality (3 outcomes), latency (4), cost (4) and answers (2) for every regime, class of request and model: classes times
    /// models times regimes are at most 2^19. For requests that come in classes, and for speed: no text is read where the class is given.
    Categorical(Classes),
}

/// Where the classes of requests come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Classes {
    /// From the caller: [`RouteOptions::class`](super::RouteOptions::class) is below this number. Features and embeddings are not read.
    Given(usize),
    /// From sequential k-means on the features, with this number of centres.
    Found(usize),
}

impl Classes {
    pub(crate) fn number(self) -> usize {
        match self {
            Self::Given(n) | Self::Found(n) => n,
        }
    }
}

/// Beliefs about all models.
#[derive(Debug, Clone)]
pub(crate) enum Learner {
    Linear(Box<QualityModel>),
    Categorical(Counts),
}

/// A request as the likelihood sees it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Kind<'a> {
    pub(crate) features: &'a [f64],
    pub(crate) class: usize,
    pub(crate) regime: &'a [f64],
}

/// What one decision has computed once for all models.
#[derive(Debug, Clone, Default)]
pub(crate) struct Prepared {
    seen: Represented,
    log_quality: [f64; QUALITIES],
}

/// What is known about one model at the time of a decision.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Standing {
    pub(crate) healthy: f64,
    pub(crate) availability: f64,
    pub(crate) usd: f64,
    pub(crate) latency: [f64; LATENCY_BINS],
}

/// What an outcome is judged by.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Judged<'a> {
    pub(crate) outcome: &'a Outcome,
    pub(crate) limit_ms: f64,
    /// Expected cost.
    pub(crate) usd: f64,
    pub(crate) healthy: f64,
    /// Whether it comes too late to say anything about the regime.
    pub(crate) late: bool,
}

impl Learner {
    /// Number of features.
    pub(crate) fn dim(&self) -> usize {
        match self {
            Self::Linear(quality) => quality.dim(),
            Self::Categorical(counts) => counts.dim(),
        }
    }

    /// Class of a request.
    ///
    /// # Errors
    /// `OutOfRange` for a given class that does not exist.
    pub(crate) fn classify(&self, x: &[f64], given: usize) -> Result<usize> {
        match self {
            Self::Linear(_) => Ok(0),
            Self::Categorical(counts) => counts.classify(x, given),
        }
    }

    pub(crate) fn prepare(&self, kind: &Kind<'_>, preferences: &Preferences, threshold: f64, out: &mut Prepared) {
        match self {
            Self::Linear(quality) => quality.represent(kind.features, kind.regime, &mut out.seen),
            Self::Categorical(_) => out.log_quality = categorical::log_quality(preferences, threshold),
        }
    }

    /// Turns what was prepared for a request to the same request in another regime.
    pub(crate) fn move_on(&self, regime: &[f64], prepared: &mut Prepared) {
        if let Self::Linear(quality) = self {
            quality.move_on(regime, &mut prepared.seen);
        }
    }

    /// Free energy and forecasts of a model.
    pub(crate) fn assess(
        &self,
        model: usize,
        kind: &Kind<'_>,
        prepared: &mut Prepared,
        standing: &Standing,
        preferences: &Preferences,
        threshold: f64,
    ) -> Assessment {
        let Standing { healthy, availability, usd, ref latency } = *standing;
        match self {
            Self::Linear(quality) => {
                let now = Circumstances { regime: kind.regime, healthy, availability, threshold };
                let forecast = quality.forecast(model, &mut prepared.seen, &now);
                Assessment {
                    efe: preferences.evaluate(&forecast, usd, latency),
                    quality: forecast.mean,
                    meets: forecast.meets,
                }
            }
            Self::Categorical(counts) => {
                let log_quality = &prepared.log_quality;
                let now = Now { regime: kind.regime, healthy, threshold, usd, preferences, log_quality };
                counts.assess(model, kind.class, &now)
            }
        }
    }

    /// Takes a request in; gives a refit that is due.
    pub(crate) fn observe(&mut self, x: &[f64]) -> Option<Refit> {
        match self {
            Self::Linear(quality) => quality.observe(x),
            Self::Categorical(counts) => {
                counts.observe(x);
                None
            }
        }
    }

    /// What an outcome says about regime and health; `None` if nothing.
    pub(crate) fn judge(
        &self,
        model: usize,
        kind: &Kind<'_>,
        judged: &Judged<'_>,
        prepared: &mut Prepared,
    ) -> Option<Responsibility> {
        match self {
            Self::Linear(quality) => {
                let score = judged.outcome.score?;
                quality.represent(kind.features, kind.regime, &mut prepared.seen);
                Some(quality.judge(model, &mut prepared.seen, score, kind.regime, judged.healthy))
            }
            // So that late outcomes give the same counts in any order.
            Self::Categorical(_) if judged.late => Some(certain(kind.regime)),
            Self::Categorical(counts) => {
                let seen = Seen::of(judged.outcome, judged.limit_ms, judged.usd);
                Some(counts.judge(model, kind.class, &seen, kind.regime, judged.healthy))
            }
        }
    }

    /// Learns an outcome that was judged last.
    ///
    /// # Errors
    /// Those of the regression; there are none for features that were checked.
    pub(crate) fn learn(
        &mut self,
        model: usize,
        kind: &Kind<'_>,
        judged: &Judged<'_>,
        evidence: &Responsibility,
        weight: f64,
        prepared: &mut Prepared,
    ) -> Result<()> {
        match self {
            Self::Linear(quality) => match judged.outcome.score {
                Some(score) => quality.learn(model, kind.features, score, evidence, weight, &mut prepared.seen),
                None => Ok(()),
            },
            Self::Categorical(counts) => {
                let seen = Seen::of(judged.outcome, judged.limit_ms, judged.usd);
                counts.learn(model, kind.class, &seen, evidence, weight);
                Ok(())
            }
        }
    }

    /// Learns a score and nothing else, of a request whose regime is known as well as it ever will be.
    pub(crate) fn learn_score(
        &mut self,
        model: usize,
        kind: &Kind<'_>,
        score: f64,
        prepared: &mut Prepared,
    ) -> Result<()> {
        let evidence = certain(kind.regime);
        match self {
            Self::Linear(quality) => {
                quality.represent(kind.features, kind.regime, &mut prepared.seen);
                quality.learn(model, kind.features, score, &evidence, 1.0, &mut prepared.seen)
            }
            Self::Categorical(counts) => {
                counts.learn(model, kind.class, &Seen::score(score), &evidence, 1.0);
                Ok(())
            }
        }
    }

    pub(crate) fn save(&self, w: &mut Writer) {
        match self {
            Self::Linear(quality) => {
                w.u64(0);
                quality.save(w);
            }
            Self::Categorical(counts) => {
                w.u64(1);
                counts.save(w);
            }
        }
    }

    /// Takes over a saved state of the same size.
    pub(crate) fn load(&mut self, r: &mut Reader<'_>) -> Result<()> {
        match (r.u64()?, self) {
            (0, Self::Linear(quality)) => quality.load(r),
            (1, Self::Categorical(counts)) => counts.load(r),
            _ => bad("likelihood"),
        }
    }
}

/// Of an outcome that says nothing about the regime or the model's health.
fn certain(regime: &[f64]) -> Responsibility {
    Responsibility { by_regime: Beliefs::filled(regime.len(), 1.0), regime: Beliefs::of(regime), healthy: 1.0 }
}
