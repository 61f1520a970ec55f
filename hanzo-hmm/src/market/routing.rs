//! The state that routing decisions read and outcomes change.

use std::collections::HashMap;

use super::adapter::TenantAdapter;
use super::catalogue::ModelSpec;
use super::config::Config;
use super::decision_log::{DecisionLog, OpenDecision};
use super::eligibility::{self, Estimate, Rejection, RejectionReason};
use super::hamiltonian::{all_finite, non_negative};
use super::likelihood::{Circumstances, QualityModel};
use super::quote::Millis;
use super::regime::{Regime, RegimeFilter, RegimeModel};
use super::request::{Candidate, DecisionId, Outcome, RouteOptions, RoutingDecision, RoutingRequest};
use super::router::{Scored, rank};
use super::service::ServiceRecord;
use super::snapshot::{Reader, Writer, bad};
use crate::{Error, Result};

/// Everything a decision needs that is not part of the request.
pub(crate) struct Surroundings<'a> {
    pub(crate) config: &'a Config,
    pub(crate) regimes: &'a RegimeModel,
    pub(crate) adapter: Option<&'a (dyn TenantAdapter + Send + Sync)>,
    /// `exp(x)` of every model.
    pub(crate) multipliers: &'a [f64],
}

/// Beliefs about regimes, models and tenants, and the open decisions.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Routing {
    quality: QualityModel,
    service: Vec<ServiceRecord>,
    market: RegimeFilter,
    tenants: Vec<Tenant>,
    by_name: HashMap<String, usize>,
    shares: Vec<Share>,
    log: DecisionLog,
    clock: Millis,
}

#[derive(Debug, Clone, PartialEq)]
struct Tenant {
    filter: RegimeFilter,
    /// Weight of what this tenant has taught about each model.
    taught: Vec<f64>,
}

/// What all tenants have taught about one model.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
struct Share {
    total: f64,
    tenants: usize,
}

impl Routing {
    pub(crate) fn new(config: &Config, regimes: &RegimeModel, quality: QualityModel) -> Self {
        Self {
            quality,
            service: config.models.iter().map(|m| ServiceRecord::new(m.latency_ms)).collect(),
            market: regimes.filter(),
            tenants: Vec::new(),
            by_name: HashMap::new(),
            shares: vec![Share::default(); config.models.len()],
            log: DecisionLog::new(config.max_decisions),
            clock: 0,
        }
    }

    /// Beliefs about the regime of the whole market.
    pub(crate) fn market(&self) -> &RegimeFilter {
        &self.market
    }

    /// Number of features.
    pub(crate) fn dim(&self) -> usize {
        self.quality.dim()
    }

    /// Latest time seen.
    pub(crate) fn clock(&self) -> Millis {
        self.clock
    }

    pub(crate) fn service(&self) -> &[ServiceRecord] {
        &self.service
    }

    /// Decides where a request with features `x` goes. Everything that can fail comes before the first change. Also returns what was set
    /// aside for a decision that is forgotten for this one.
    pub(crate) fn route(
        &mut self,
        around: &Surroundings<'_>,
        tenant: &str,
        request: &RoutingRequest,
        options: &RouteOptions,
        x: Vec<f64>,
        reservation: Option<u64>,
    ) -> Result<(RoutingDecision, Option<u64>)> {
        let config = around.config;
        let now = options.now.unwrap_or(self.clock);
        if now < self.clock {
            return Err(Error::ClockBackwards { seen: self.clock, now });
        }
        let known = self.by_name.get(tenant).copied();
        if known.is_none() && self.tenants.len() >= config.max_tenants {
            return Err(Error::TenantLimit);
        }
        let mut filter = known.map_or_else(|| around.regimes.filter(), |t| self.tenants[t].filter);
        around.regimes.update(&mut filter, &request.observations)?;
        let mut market = self.market;
        around.regimes.update(&mut market, &request.observations)?;

        let regime = *filter.posterior();
        let log_habit = habits(around, tenant, request, options, &regime)?;
        let mut rejected = Vec::new();
        let mut scored = self.score(around, request, options, now, &regime, &log_habit, &x, &mut rejected)?;
        if scored.is_empty() {
            return Err(Error::NoEligibleModel { rejections: rejected });
        }
        rank(&mut scored, config.gamma, config.efe_precision, options.seed);
        let chosen = scored[0];

        let tenant = known.unwrap_or_else(|| {
            self.by_name.insert(tenant.to_owned(), self.tenants.len());
            self.tenants.push(Tenant { filter, taught: vec![0.0; config.models.len()] });
            self.tenants.len() - 1
        });
        self.tenants[tenant].filter = filter;
        self.market = market;
        self.clock = now;
        for service in &mut self.service {
            service.health.step();
        }
        self.service[chosen.model].chosen(now, &config.cooldown);
        self.quality.observe(&x);
        let (id, forgotten) = self.log.push(OpenDecision {
            tenant,
            model: chosen.model,
            features: x.into_boxed_slice(),
            regime,
            limit_ms: latency_limit(config, request),
            made_at: now,
            reservation,
        });

        let name = |s: &Scored| config.models[s.model].id.clone();
        let decision = RoutingDecision {
            id: DecisionId::from(id),
            model: name(&chosen),
            regime: filter.regime(),
            regime_posterior: regime.to_vec(),
            outlier: filter.outlier(),
            efe: chosen.efe,
            probability: chosen.probability,
            estimated_cost_usd: chosen.usd,
            expected_quality: chosen.quality,
            expected_latency_ms: chosen.latency_ms,
            meets_quality: chosen.meets >= 0.5,
            fallbacks: scored[1..]
                .iter()
                .take(MAX_FALLBACKS)
                .map(|s| Candidate {
                    model: name(s),
                    efe: s.efe,
                    probability: s.probability,
                    estimated_cost_usd: s.usd,
                    expected_quality: s.quality,
                    expected_latency_ms: s.latency_ms,
                })
                .collect(),
            rejected,
        };
        Ok((decision, forgotten))
    }

    /// Applies the filters and computes the free energy of every model that passes them.
    #[expect(clippy::too_many_arguments, reason = "one decision's inputs, used once")]
    fn score(
        &self,
        around: &Surroundings<'_>,
        request: &RoutingRequest,
        options: &RouteOptions,
        now: Millis,
        regime: &[f64; Regime::COUNT],
        log_habit: &[f64],
        x: &[f64],
        rejected: &mut Vec<Rejection>,
    ) -> Result<Vec<Scored>> {
        let config = around.config;
        let preferences = config.preferences();
        let limit_ms = latency_limit(config, request);
        let input_tokens = input_tokens(request);
        let mut z = Vec::new();
        self.quality.represent(x, regime, &mut z);
        let mut scored = Vec::with_capacity(config.models.len());
        for (model, spec) in config.models.iter().enumerate() {
            let service = &self.service[model];
            let estimate = estimate(
                spec,
                around.multipliers[model],
                input_tokens,
                options.expected_output_tokens,
                service.expected_latency_ms(),
            );
            let mut eligible = eligibility::check(spec, request, options, &estimate, rejected);
            let mut reject = |reason, limit, actual| {
                rejected.push(Rejection { model: spec.id.clone(), reason, limit, actual });
                eligible = false;
            };
            if let Some(until) = service.cooldown.blocked_until(now) {
                reject(RejectionReason::Cooldown, now as f64, until as f64);
            }
            if !eligible {
                continue;
            }
            let mut health = service.health;
            health.step();
            let circumstances = Circumstances {
                regime,
                healthy: health.probability(),
                availability: service.availability(),
                threshold: request.preferences.quality_threshold,
            };
            let quality = self.quality.forecast(model, &z, &circumstances);
            if config.hard_quality && quality.meets < 0.5 {
                rejected.push(Rejection {
                    model: spec.id.clone(),
                    reason: RejectionReason::Quality,
                    limit: 0.5,
                    actual: quality.meets,
                });
                continue;
            }
            scored.push(Scored {
                model,
                efe: preferences.evaluate(&quality, estimate.usd, &service.latency_bins(limit_ms)),
                usd: estimate.usd,
                latency_ms: estimate.latency_ms,
                quality: quality.mean,
                meets: quality.meets,
                log_habit: log_habit[model],
                probability: 0.0,
            });
        }
        Ok(scored)
    }

    /// Learns from the outcome of a decision; returns what was set aside for it.
    pub(crate) fn record_outcome(
        &mut self,
        config: &Config,
        regimes: &RegimeModel,
        id: DecisionId,
        outcome: &Outcome,
    ) -> Result<Option<u64>> {
        let usd = non_negative("outcome usd", outcome.usd)?;
        if usd > MAX_OUTCOME_USD {
            return Err(Error::OutOfRange { what: "outcome usd" });
        }
        let decision = self.log.get(id.get())?.clone();
        let model = decision.model;
        if let Some(score) = outcome.score {
            all_finite("score", &[score])?;
            if !(0.0..=1.0).contains(&score) {
                return Err(Error::OutOfRange { what: "score" });
            }
            let healthy = self.service[model].health.probability();
            let mut z = Vec::new();
            self.quality.represent(&decision.features, &decision.regime, &mut z);
            let evidence = self.quality.judge(model, &z, score, &decision.regime, healthy);
            let weight = self.grant(config.tenant_cap, model, decision.tenant);
            self.quality.learn(model, &decision.features, score, &evidence, weight)?;
            let share = &mut self.shares[model];
            let taught = &mut self.tenants[decision.tenant].taught[model];
            share.tenants += usize::from(*taught == 0.0 && weight > 0.0);
            share.total += weight;
            *taught += weight;
            if self.log.next_id() - id.get() <= config.max_lag {
                self.service[model].health.move_to(evidence.healthy, weight);
                let likelihood = evidence.by_regime.map(|l| l.powf(weight));
                regimes.weigh(&mut self.tenants[decision.tenant].filter, &likelihood)?;
                regimes.weigh(&mut self.market, &likelihood)?;
            }
        }
        let at = decision.made_at.saturating_add(outcome.latency_ms);
        self.service[model].outcome(outcome, decision.limit_ms, at, &config.cooldown);
        self.log.close(id.get());
        Ok(decision.reservation)
    }

    pub(crate) fn save(&self, w: &mut Writer) {
        self.quality.save(w);
        self.service.iter().for_each(|s| s.save(w));
        self.market.save(w);
        w.u64(self.clock);
        w.u64(self.tenants.len() as u64);
        let mut names = vec![""; self.tenants.len()];
        for (name, &t) in &self.by_name {
            names[t] = name;
        }
        for (name, tenant) in names.into_iter().zip(&self.tenants) {
            w.bytes(name.as_bytes());
            tenant.filter.save(w);
            w.f64s(&tenant.taught);
        }
        for share in &self.shares {
            w.f64(share.total);
            w.u64(share.tenants as u64);
        }
        self.log.save(w);
    }

    /// Takes over a saved state of the same models and features.
    pub(crate) fn load(&mut self, r: &mut Reader<'_>, config: &Config) -> Result<()> {
        let models = self.service.len();
        self.quality.load(r)?;
        self.service.iter_mut().try_for_each(|s| s.load(r))?;
        self.market = RegimeFilter::load(r)?;
        self.clock = r.u64()?;
        let tenants = r.count(8)?;
        if tenants > config.max_tenants {
            return bad("tenants");
        }
        for t in 0..tenants {
            let name = std::str::from_utf8(r.bytes()?).ok().filter(|name| name.len() <= MAX_TENANT_BYTES);
            let Some(name) = name else { return bad("tenant") };
            if self.by_name.insert(name.to_owned(), t).is_some() {
                return bad("tenant");
            }
            let filter = RegimeFilter::load(r)?;
            let mut taught = vec![0.0; models];
            r.amounts(&mut taught)?;
            self.tenants.push(Tenant { filter, taught });
        }
        for share in &mut self.shares {
            *share = Share { total: r.amount()?, tenants: r.index(tenants + 1)? };
        }
        self.log.load(r, self.quality.dim(), tenants, models)
    }

    /// Weight in [0, 1] that a tenant's next outcome may have: with it, the tenant's part of all that was taught about the model stays
    /// within the cap, or within twice an equal share while there are few tenants. (Within one equal share,
    /// tenants who have taught equally much could never teach again.)
    fn grant(&self, cap: f64, model: usize, tenant: usize) -> f64 {
        let Share { total, tenants } = self.shares[model];
        let taught = self.tenants[tenant].taught[model];
        let heard = tenants + usize::from(taught == 0.0);
        let cap = cap.max(2.0 / heard as f64);
        if cap >= 1.0 {
            return 1.0;
        }
        ((cap * total - taught) / (1.0 - cap)).clamp(0.0, 1.0)
    }
}

/// `ln E` of every model: the bonus of preferred models, what leaving the session's model costs, then the tenant's adapter.
fn habits(
    around: &Surroundings<'_>,
    tenant: &str,
    request: &RoutingRequest,
    options: &RouteOptions,
    regime: &[f64; Regime::COUNT],
) -> Result<Vec<f64>> {
    let preferred = &request.preferences.preferred_models;
    let mut log_habit: Vec<f64> = (around.config.models.iter())
        .map(|m| if preferred.contains(&m.id) { around.config.preference_bonus } else { 0.0 })
        .collect();
    let models = &around.config.models;
    if let Some(last) = options.session_model.as_ref().and_then(|id| models.iter().position(|m| m.id == *id)) {
        // A cost in free energy is a habit divided by gamma.
        let nats = around.config.gamma * around.config.switch_cost;
        log_habit.iter_mut().enumerate().filter(|(u, _)| *u != last).for_each(|(_, habit)| *habit -= nats);
    }
    if let Some(adapter) = around.adapter {
        adapter.adjust(tenant, regime, options.class, &mut log_habit);
        all_finite("habit", &log_habit)?;
    }
    Ok(log_habit)
}

/// Checks everything in a request that does not depend on the market maker's state.
pub(crate) fn check_request(tenant: &str, request: &RoutingRequest, options: &RouteOptions) -> Result<()> {
    if tenant.len() > MAX_TENANT_BYTES {
        return Err(Error::TenantLimit);
    }
    let (wishes, needs) = (&request.preferences, &request.requirements);
    non_negative("quality threshold", wishes.quality_threshold)?;
    if wishes.quality_threshold > 1.0 {
        return Err(Error::OutOfRange { what: "quality threshold" });
    }
    non_negative("expected output tokens", options.expected_output_tokens)?;
    if options.expected_output_tokens > MAX_TOKENS {
        return Err(Error::OutOfRange { what: "expected output tokens" });
    }
    for (what, limit) in [
        ("cost per token", wishes.max_cost_per_token),
        ("tokens per second", needs.min_tokens_per_second),
        ("memory", needs.max_memory_gb),
        ("cost", options.max_cost_usd),
    ] {
        limit.map_or(Ok(0.0), |limit| non_negative(what, limit))?;
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

fn latency_limit(config: &Config, request: &RoutingRequest) -> f64 {
    // A limit of 0 excludes every model before it could scale the bins.
    request.preferences.max_latency_ms.unwrap_or(config.default_latency_ms).max(1) as f64
}

const MAX_FALLBACKS: usize = 8;
const MAX_TENANT_BYTES: usize = 256;
const MAX_TOKENS: f64 = 1e9;
const MAX_OUTCOME_USD: f64 = 1e9;
