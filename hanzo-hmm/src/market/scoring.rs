//! What a decision weighs: which models may be chosen for a request, and the free energy of each.

use super::adapter::TenantAdapter;
use super::beliefs::Beliefs;
use super::catalogue::ModelSpec;
use super::config::Config;
use super::eligibility::{self, Estimate, Refusal, RejectionReason};
use super::free_energy::Preferences;
use super::hamiltonian::all_finite;
use super::health::Health;
use super::learner::{Kind, Learner, Prepared, Standing};
use super::planning::{Ahead, step_back};
use super::quote::Millis;
use super::regime::RegimeModel;
use super::request::{RouteOptions, RoutingRequest};
use super::router::Scored;
use super::service::ServiceRecord;
use crate::{Error, Result};

/// Everything a decision needs that is not part of the request.
pub(crate) struct Surroundings<'a> {
    pub(crate) config: &'a Config,
    pub(crate) preferences: &'a Preferences,
    pub(crate) adapter: Option<&'a (dyn TenantAdapter + Send + Sync)>,
    /// `exp(x)` of every model.
    pub(crate) multipliers: &'a [f64],
}

/// Memory of one decision after the other.
#[derive(Debug, Clone, Default)]
pub(crate) struct Scratch {
    pub(crate) prepared: Prepared,
    pub(crate) log_habit: Vec<f64>,
    pub(crate) scored: Vec<Scored>,
    pub(crate) refused: Vec<Refusal>,
    plan: Outlook,
}

/// Memory of what is expected beyond one request.
#[derive(Debug, Clone, Default)]
struct Outlook {
    /// Step by step, one number a model that may be chosen.
    costs: Vec<f64>,
    health: Vec<Health>,
    ahead: Vec<Ahead>,
}

/// One decision's inputs.
#[derive(Clone, Copy)]
pub(crate) struct Scoring<'a> {
    pub(crate) learner: &'a Learner,
    pub(crate) service: &'a [ServiceRecord],
    pub(crate) regimes: &'a RegimeModel,
    pub(crate) around: &'a Surroundings<'a>,
    pub(crate) request: &'a RoutingRequest,
    pub(crate) options: &'a RouteOptions,
    pub(crate) now: Millis,
}

impl Scoring<'_> {
    /// Fills the scratch with every model that may be chosen, scored, and with every filter that one did not pass.
    pub(crate) fn run(&self, kind: &Kind<'_>, scratch: &mut Scratch) {
        self.score(kind, scratch);
        if self.options.horizon > 1 {
            self.look_ahead(kind, scratch);
        }
    }

    /// Applies the filters and computes the free energy of every model that passes them.
    fn score(&self, kind: &Kind<'_>, scratch: &mut Scratch) {
        let Self { around, request, options, now, .. } = *self;
        let Scratch { prepared, log_habit, scored, refused, plan: _ } = scratch;
        scored.clear();
        refused.clear();
        let config = around.config;
        let preferences = around.preferences;
        let threshold = request.preferences.quality_threshold;
        let limit_ms = latency_limit(config, request);
        let input_tokens = input_tokens(request);
        let last = options.session_model.as_ref().and_then(|id| config.models.iter().position(|m| m.id == *id));
        self.learner.prepare(kind, preferences, threshold, prepared);
        for (model, spec) in config.models.iter().enumerate() {
            let service = &self.service[model];
            let estimate = estimate(
                spec,
                around.multipliers[model],
                input_tokens,
                options.expected_output_tokens,
                service.expected_latency_ms(),
            );
            let mut eligible = eligibility::check(model, spec, request, options, &estimate, refused);
            // At 0 nobody has said what time it is, and no pause would ever end.
            if let Some(until) = service.cooldown.blocked_until(now).filter(|_| now > 0) {
                let (limit, actual) = (now as f64, until as f64);
                refused.push(Refusal { model, reason: RejectionReason::Cooldown, limit, actual });
                eligible = false;
            }
            if !eligible {
                continue;
            }
            let mut health = service.health;
            health.step();
            let standing = standing(service, health, estimate.usd, limit_ms);
            let found = self.learner.assess(model, kind, prepared, &standing, preferences, threshold);
            if config.hard_quality && found.meets < 0.5 {
                refused.push(Refusal { model, reason: RejectionReason::Quality, limit: 0.5, actual: found.meets });
                continue;
            }
            scored.push(Scored {
                model,
                efe: found.efe,
                usd: estimate.usd,
                latency_ms: estimate.latency_ms,
                quality: found.quality,
                meets: found.meets,
                log_habit: log_habit[model],
                switch: if last.is_some_and(|last| last != model) { config.switch_cost } else { 0.0 },
                ahead: Ahead::default(),
                cost: 0.0,
                probability: 0.0,
            });
        }
    }

    /// Computes what each model that may be chosen leaves for the rest of the session: more requests of this kind, by the same models at the same
    /// prices, with the regime and the models' health as they are expected to move. What can be learned about a model is counted once, for this
    /// request.
    fn look_ahead(&self, kind: &Kind<'_>, scratch: &mut Scratch) {
        let Self { around, request, options, .. } = *self;
        let Scratch { prepared, scored, plan, .. } = scratch;
        let Outlook { costs, health, ahead } = plan;
        let config = around.config;
        let threshold = request.preferences.quality_threshold;
        let limit_ms = latency_limit(config, request);
        costs.clear();
        health.clear();
        health.extend(scored.iter().map(|s| {
            let mut health = self.service[s.model].health;
            health.step();
            health
        }));
        let mut regime = Beliefs::of(kind.regime);
        for _ in 1..options.horizon {
            regime = self.regimes.next(&regime);
            let kind = Kind { regime: &regime, ..*kind };
            self.learner.move_on(&regime, prepared);
            for (s, health) in scored.iter().zip(health.iter_mut()) {
                health.step();
                let standing = standing(&self.service[s.model], *health, s.usd, limit_ms);
                let efe = self.learner.assess(s.model, &kind, prepared, &standing, around.preferences, threshold).efe;
                costs.push(efe.risk + efe.ambiguity - s.log_habit / config.gamma);
            }
        }
        ahead.clear();
        ahead.resize(scored.len(), Ahead::default());
        // The costs of the last step come first; none are there where no model is.
        for now in costs.rchunks_exact(scored.len().max(1)) {
            step_back(ahead, now, config.switch_cost, config.gamma);
        }
        for (s, ahead) in scored.iter_mut().zip(ahead) {
            s.ahead = *ahead;
        }
    }
}

/// `ln E` of every model: the bonus of preferred models, then the tenant's adapter.
pub(crate) fn habits(
    around: &Surroundings<'_>,
    tenant: &str,
    request: &RoutingRequest,
    options: &RouteOptions,
    regime: &[f64],
    log_habit: &mut Vec<f64>,
) -> Result<()> {
    let preferred = &request.preferences.preferred_models;
    let models = &around.config.models;
    log_habit.clear();
    log_habit
        .extend(models.iter().map(|m| if preferred.contains(&m.id) { around.config.preference_bonus } else { 0.0 }));
    if let Some(adapter) = around.adapter {
        adapter.adjust(tenant, regime, options.class, log_habit);
        all_finite("habit", log_habit)?;
        if log_habit.iter().any(|h| h.abs() > MAX_HABIT) {
            return Err(Error::OutOfRange { what: "habit" });
        }
    }
    Ok(())
}

/// The most that a request can cost in dollars, and its tokens.
pub(crate) fn worst_case(
    config: &Config,
    multipliers: &[f64],
    request: &RoutingRequest,
    options: &RouteOptions,
) -> (f64, f64) {
    let (input, output) = (input_tokens(request), options.expected_output_tokens);
    let dearest = (config.models.iter().zip(multipliers))
        .map(|(m, &e)| estimate(m, e, input, output, 0.0).usd)
        .fold(0.0, f64::max);
    (options.max_cost_usd.map_or(dearest, |limit| limit.min(dearest)), input + output)
}

/// A quarter of a token for every character of input and context.
fn input_tokens(request: &RoutingRequest) -> f64 {
    let characters: usize =
        std::iter::once(&request.input).chain(&request.context).map(|text| text.chars().count()).sum();
    0.25 * characters as f64
}

fn estimate(spec: &ModelSpec, multiplier: f64, input: f64, output: f64, latency_ms: f64) -> Estimate {
    Estimate {
        usd: (input * spec.input_usd_per_1k + output * spec.output_usd_per_1k) / 1_000.0 * multiplier,
        usd_per_token: spec.input_usd_per_1k.max(spec.output_usd_per_1k) / 1_000.0 * multiplier,
        latency_ms,
        tokens: input + output,
    }
}

fn standing(service: &ServiceRecord, health: Health, usd: f64, limit_ms: f64) -> Standing {
    let latency = service.latency_bins(limit_ms);
    Standing { healthy: health.probability(), availability: service.availability(), usd, latency }
}

/// Nats of a tenant's habit: far beyond any choice, far within a double.
const MAX_HABIT: f64 = 1e6;

pub(crate) fn latency_limit(config: &Config, request: &RoutingRequest) -> f64 {
    // A limit of 0 excludes every model before it could scale the bins.
    request.preferences.max_latency_ms.unwrap_or(config.default_latency_ms).max(1) as f64
}
