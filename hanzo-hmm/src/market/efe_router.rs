//! The market maker's way of choosing, as a [`Router`].

use super::baseline::{Choice, Context, Feedback, Router, best, is_arm};
use super::beliefs::Beliefs;
use super::free_energy::binary_entropy;
use super::health::Health;
use super::likelihood::{Circumstances, Learning, QualityModel, Represented};
use super::linear::check_features;
use super::memory::MOST_NEIGHBOURS;
use super::regime::{RegimeFilter, RegimeModel};

/// Routes by expected free energy with the quality model of [`MarketMaker`](crate::MarketMaker), and nothing else of it: no filters, latencies or
/// tenants.
///
/// `G(u) = z_q (cost - E[y]) - I(r, h; y | u) - w_nov (1/2) ln(1 + z' P_u z)`; the arm of least `G` is chosen, the first among equals. The
/// quality model regresses each arm's scores on the request's shares of up to 32 kinds, found by k-means in the requests seen so
/// far (without outcomes), on the features from [`bias`](Self::bias) on, and on the regime; a two-state chain of each model's health makes
/// outages cheap to notice and worth probing again. For `D` features and `z` of length `d` a choice costs `O(32 D + M d^2)` time, an
/// update `O(d^2)`; a refit of the kinds after 32, 64, 128, 256, 512 requests, then every 400th, and later every eighth of all, some 10,000 times `32 D`.
///
/// Features of another length, or more arms, than before start the quality model afresh. Features that are not finite, or beyond 10^6, are
/// sent to arm 0 and teach nothing, nor does a score outside [0, 1].
///
/// ```
/// use hanzo_hmm::market::{Context, EfeRouter, Feedback, Router};
///
/// let mut router = EfeRouter::new();
/// for i in 0..100 {
///     let x = [1.0, if i % 2 == 0 { 1.0 } else { -1.0 }];
///     for arm in 0..2 {
///         let score = 0.5 + 0.4 * x[1] * if arm == 0 { 1.0 } else { -1.0 };
///         router.update(&Feedback { arm, features: &x, observations: &[], score });
///     }
/// }
/// let ask = |x: &[f64]| router.clone().choose(&Context { features: x, observations: &[], costs: &[0.0, 0.0] }).arm;
/// assert_eq!((ask(&[1.0, 1.0]), ask(&[1.0, -1.0])), (0, 1));
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct EfeRouter {
    settings: Settings,
    learning: Learning,
    bias: Option<usize>,
    priors: Vec<f64>,
    regimes: Option<RegimeModel>,
    filter: Option<RegimeFilter>,
    quality: Option<QualityModel>,
    health: Vec<Health>,
    seen: Represented,
    /// The request learned from last, until the first choice: examples given beforehand are requests seen, too.
    example: Option<Vec<f64>>,
}

/// What the router weighs.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Settings {
    quality_weight: f64,
    novelty_weight: f64,
    health: bool,
}

impl Default for EfeRouter {
    fn default() -> Self {
        Self::new()
    }
}

impl EfeRouter {
    /// With the defaults of [`Config`](crate::Config).
    pub fn new() -> Self {
        Self {
            settings: Settings { quality_weight: 10.0, novelty_weight: NOVELTY, health: true },
            learning: Learning::default(),
            bias: None,
            priors: Vec::new(),
            regimes: None,
            filter: None,
            quality: None,
            health: Vec::new(),
            seen: Represented::default(),
            example: Some(Vec::new()),
        }
    }

    /// Place of the feature that is always 1. It and those after it enter the regression as they are, those before it (hashed words)
    /// by the kind of the request only. Default: all features do both.
    #[must_use]
    pub fn bias(mut self, feature: usize) -> Self {
        self.bias = Some(feature);
        self
    }

    /// Quality expected of each arm before its first outcome, taken into [0, 1]; 0.5 for arms without one.
    #[must_use]
    pub fn priors(mut self, quality: &[f64]) -> Self {
        self.priors = quality.iter().map(|q| if q.is_nan() { 0.5 } else { q.clamp(0.0, 1.0) }).collect();
        self
    }

    /// Filters the regime from observations instead of taking them for features.
    #[must_use]
    pub fn regimes(mut self, model: RegimeModel) -> Self {
        self.filter = Some(model.filter());
        self.regimes = Some(model);
        self
    }

    /// Weight of the information to be gained about a model's coefficients, in nats a nat, taken into [0, 10^6]. Default 1.
    #[must_use]
    pub fn novelty(mut self, weight: f64) -> Self {
        self.settings.novelty_weight = weight.max(0.0).clamp(0.0, 1e6);
        self
    }

    /// Whether a two-state chain follows the health of every model, for places where models fail in stretches. Default yes.
    #[must_use]
    pub fn health(mut self, follow: bool) -> Self {
        self.settings.health = follow;
        self
    }

    /// Whether arms have a part of their quality in common, as with [`Config::shared_quality`](crate::Config::shared_quality). Default no.
    #[must_use]
    pub fn shared_quality(mut self, share: bool) -> Self {
        self.learning.shared = share;
        self
    }

    /// Outcomes among which the nearest ones are looked for, as with [`Config::neighbours`](crate::Config::neighbours); more than 16,384 count as
    /// that many. Default none.
    #[must_use]
    pub fn neighbours(mut self, outcomes: usize) -> Self {
        self.learning.neighbours = outcomes.min(MOST_NEIGHBOURS);
        self
    }

    fn grow(&mut self, arms: usize, dim: usize) {
        let stale = self.quality.as_ref().is_none_or(|q| q.dim() != dim || q.models() < arms);
        if stale {
            let mut base = self.priors.clone();
            base.resize(arms, 0.5);
            let linear = self.bias.unwrap_or(0)..dim;
            self.quality = QualityModel::new(dim, linear, self.posterior().len(), base, self.learning).ok();
            self.health = vec![Health::new(); arms];
        }
    }

    /// The features without those observations that the regime filter takes.
    fn text<'a>(&self, features: &'a [f64], observations: &[f64]) -> &'a [f64] {
        let observed = if self.regimes.is_some() { observations.len() } else { 0 };
        &features[..features.len().saturating_sub(observed)]
    }

    fn posterior(&self) -> Beliefs {
        self.filter.as_ref().map_or_else(|| Beliefs::filled(1, 1.0), |f| f.beliefs().clone())
    }
}

impl Router for EfeRouter {
    fn choose(&mut self, context: &Context<'_>) -> Choice {
        let arms = context.costs.len();
        let text = self.text(context.features, context.observations);
        self.grow(arms, text.len());
        if let (Some(model), Some(filter)) = (&self.regimes, &mut self.filter) {
            // Observations of another length leave the belief as it is.
            let _ = model.update(filter, context.observations);
        }
        if self.settings.health {
            for health in &mut self.health {
                health.step();
            }
        }
        let regime = self.posterior();
        let Some(quality) = &mut self.quality else { return Choice { arm: 0, probability: None } };
        if check_features(text).is_err() {
            return Choice { arm: 0, probability: None };
        }
        self.example = None;
        quality.observe_and_fit(text);
        quality.represent(text, &regime, &mut self.seen);
        let (s, seen) = (&self.settings, &mut self.seen);
        let gain = |(u, cost): (usize, &f64)| {
            let now = Circumstances {
                regime: &regime,
                healthy: self.health[u].probability(),
                availability: 1.0,
                threshold: 0.0,
            };
            let f = quality.forecast(u, seen, &now);
            let information = (binary_entropy(f.mean) - f.conditional_entropy).max(0.0);
            s.quality_weight * (f.mean - cost) + information + s.novelty_weight * 0.5 * f.leverage.ln_1p()
        };
        Choice { arm: best(context.costs.iter().enumerate().map(gain)), probability: Some(1.0) }
    }

    fn update(&mut self, feedback: &Feedback<'_>) {
        let text = self.text(feedback.features, feedback.observations).to_vec();
        let u = feedback.arm;
        if !is_arm(u, self.health.len()) {
            return;
        }
        self.grow((u + 1).max(self.health.len()), text.len());
        let regime = self.posterior();
        let Some(quality) = &mut self.quality else { return };
        let healthy = if self.settings.health { self.health[u].probability() } else { 1.0 };
        if check_features(&text).is_err() || !(0.0..=1.0).contains(&feedback.score) {
            return;
        }
        if let Some(example) = self.example.as_mut().filter(|e| **e != text) {
            quality.observe_and_fit(&text);
            example.clone_from(&text);
        }
        let seen = &mut self.seen;
        quality.represent(&text, &regime, seen);
        let mut evidence = quality.judge(u, seen, feedback.score, &regime, healthy);
        let observed = self.filter.as_ref().is_some_and(RegimeFilter::observed);
        if !observed {
            evidence.regime = regime;
        }
        let learned = quality.learn(u, &text, feedback.score, &evidence, 1.0, seen);
        if learned.is_err() {
            return;
        }
        if self.settings.health {
            self.health[u].move_to(evidence.healthy, 1.0);
        }
        if let (Some(model), Some(filter), true) = (&self.regimes, &mut self.filter, observed) {
            let _ = model.weigh(filter, &evidence.by_regime);
        }
    }
}

/// Of [`Config::novelty_weight`](crate::Config::novelty_weight).
const NOVELTY: f64 = 1.0;
