//! The state that routing decisions read and outcomes change.

use std::collections::HashMap;
use std::sync::Arc;

use super::beliefs::Beliefs;
use super::config::Config;
use super::decision_log::{DecisionLog, OpenDecision};
use super::eligibility::{Refusal, Rejection};
use super::free_energy::Preferences;
use super::hamiltonian::{all_finite, non_negative};
use super::learner::{Judged, Kind, Learner, Standing};
use super::likelihood::{Refit, Refitted};
use super::quote::Millis;
use super::regime::{RegimeFilter, RegimeModel};
use super::regime_means::RegimeMeans;
use super::request::{Candidate, DecisionId, Outcome, RouteOptions, RoutingDecision, RoutingRequest};
use super::router::rank;
use super::scoring::{Scoring, Scratch, Surroundings, habits, latency_limit};
use super::service::ServiceRecord;
use super::snapshot::{Reader, Writer, bad};
use crate::{Error, Result};

/// What is left to do when a decision is made and the state is free again.
#[derive(Debug, Default)]
pub(crate) struct Leftovers {
    /// What was set aside for a decision that is forgotten for this one.
    pub(crate) reservation: Option<u64>,
    /// Memory that is free again.
    pub(crate) features: Vec<f64>,
    /// Work that no other decision has to wait for.
    pub(crate) refit: Option<Refit>,
}

/// What is left to do when an outcome is learned and the state is free again.
#[derive(Debug, Default)]
pub(crate) struct Settled {
    /// What was set aside for the decision.
    pub(crate) reservation: Option<u64>,
    /// Dollars spent on it.
    pub(crate) usd: f64,
    /// Memory that is free again.
    pub(crate) features: Vec<f64>,
    /// For the tenant's adapter.
    pub(crate) told: Option<Told>,
}

/// How far a score was from what was expected.
#[derive(Debug)]
pub(crate) struct Told {
    pub(crate) tenant: Arc<str>,
    pub(crate) regime: Beliefs,
    pub(crate) class: usize,
    pub(crate) model: usize,
    pub(crate) surprise: f64,
}

/// Beliefs about regimes, models and tenants, and the open decisions.
#[derive(Debug, Clone)]
pub(crate) struct Routing {
    learner: Learner,
    regimes: Arc<RegimeModel>,
    /// Where the means of the regimes are learned.
    means: Option<RegimeMeans>,
    classes: usize,
    service: Vec<ServiceRecord>,
    market: RegimeFilter,
    tenants: Vec<Tenant>,
    by_name: HashMap<Arc<str>, usize>,
    shares: Vec<Share>,
    log: DecisionLog,
    clock: Millis,
    scratch: Scratch,
}

#[derive(Debug, Clone, PartialEq)]
struct Tenant {
    name: Arc<str>,
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
    /// `classes` of requests, 1 where there are none.
    pub(crate) fn new(config: &Config, regimes: RegimeModel, learner: Learner, classes: usize) -> Self {
        Self {
            learner,
            classes,
            service: config.models.iter().map(|m| ServiceRecord::new(m.latency_ms)).collect(),
            market: regimes.filter(),
            means: config.learn_regimes.then(|| RegimeMeans::new(&regimes)),
            regimes: Arc::new(regimes),
            tenants: Vec::new(),
            by_name: HashMap::new(),
            shares: vec![Share::default(); config.models.len()],
            log: DecisionLog::new(config.max_decisions),
            clock: 0,
            scratch: Scratch::default(),
        }
    }

    /// Beliefs about the regime of the whole market.
    pub(crate) fn market(&self) -> &RegimeFilter {
        &self.market
    }

    /// Number of features.
    pub(crate) fn dim(&self) -> usize {
        self.learner.dim()
    }

    /// Latest time seen.
    pub(crate) fn clock(&self) -> Millis {
        self.clock
    }

    pub(crate) fn service(&self) -> &[ServiceRecord] {
        &self.service
    }

    /// The model of the regimes.
    pub(crate) fn regimes(&self) -> &Arc<RegimeModel> {
        &self.regimes
    }

    /// Decides where a request with features `x` goes. Everything that can fail comes before the first change.
    #[expect(clippy::too_many_arguments, reason = "one decision's inputs, used once")]
    pub(crate) fn route(
        &mut self,
        around: &Surroundings<'_>,
        tenant: &str,
        request: &RoutingRequest,
        options: &RouteOptions,
        x: Vec<f64>,
        reservation: Option<u64>,
        out: &mut RoutingDecision,
    ) -> Result<Leftovers> {
        let mut scratch = std::mem::take(&mut self.scratch);
        let made = self.decide(around, tenant, request, options, x, reservation, &mut scratch, out);
        self.scratch = scratch;
        made
    }

    #[expect(clippy::too_many_arguments, reason = "one decision's inputs, used once")]
    fn decide(
        &mut self,
        around: &Surroundings<'_>,
        tenant: &str,
        request: &RoutingRequest,
        options: &RouteOptions,
        x: Vec<f64>,
        reservation: Option<u64>,
        scratch: &mut Scratch,
        out: &mut RoutingDecision,
    ) -> Result<Leftovers> {
        let config = around.config;
        let now = options.now.unwrap_or(self.clock);
        if now < self.clock {
            return Err(Error::ClockBackwards { seen: self.clock, now });
        }
        let known = self.by_name.get(tenant).copied();
        if known.is_none() && self.tenants.len() >= config.max_tenants {
            return Err(Error::TenantLimit);
        }
        let regimes = &*self.regimes;
        let mut filter = known.map_or_else(|| regimes.filter(), |t| self.tenants[t].filter.clone());
        regimes.update(&mut filter, &request.observations)?;
        let mut market = self.market.clone();
        regimes.update(&mut market, &request.observations)?;

        let regime = filter.beliefs().clone();
        let class = self.learner.classify(&x, options.class)?;
        habits(around, tenant, request, options, &regime, &mut scratch.log_habit)?;
        let kind = Kind { features: &x, class, regime: &regime };
        let Self { learner, service, .. } = &*self;
        Scoring { learner, service, regimes, around, request, options, now }.run(&kind, scratch);
        if scratch.scored.is_empty() {
            let rejections = scratch.refused.iter().map(|r| spell_out(config, r)).collect();
            return Err(Error::NoEligibleModel { rejections });
        }
        rank(&mut scratch.scored, config.gamma, config.efe_precision, options.seed);
        let chosen = scratch.scored[0];

        let tenant = known.unwrap_or_else(|| {
            let name: Arc<str> = tenant.into();
            self.by_name.insert(name.clone(), self.tenants.len());
            self.tenants.push(Tenant { name, filter: filter.clone(), taught: vec![0.0; config.models.len()] });
            self.tenants.len() - 1
        });
        self.market = market;
        self.clock = now;
        if let Some(means) = self.means.as_mut().filter(|_| !request.observations.is_empty() && !self.market.outlier())
        {
            // What is no outlier is possible.
            if let Ok(Some(learned)) = means.learn(&self.regimes, &request.observations) {
                self.regimes = Arc::new(learned);
            }
        }
        for service in &mut self.service {
            service.health.step();
        }
        self.service[chosen.model].chosen(now, &config.cooldown);
        let refit = self.learner.observe(&x);
        let (id, forgotten) = self.log.push(OpenDecision {
            tenant,
            model: chosen.model,
            features: x,
            class,
            given_class: options.class,
            regime,
            limit_ms: latency_limit(config, request),
            usd: chosen.usd,
            quality: chosen.quality,
            made_at: now,
            reservation,
        });
        explain(config, DecisionId::from(id), &filter, scratch, out);
        self.tenants[tenant].filter = filter;
        let (reservation, features) = forgotten.map_or((None, Vec::new()), |d| (d.reservation, d.features));
        Ok(Leftovers { reservation, features, refit })
    }

    /// Takes over what a refit found.
    pub(crate) fn install(&mut self, refitted: Refitted) {
        if let Learner::Linear(quality) = &mut self.learner {
            quality.install(refitted);
        }
    }

    /// Learns from the outcome of a decision; returns what is left to do.
    pub(crate) fn record_outcome(&mut self, config: &Config, id: DecisionId, outcome: &Outcome) -> Result<Settled> {
        let model = self.log.get(id.get())?.model;
        self.record_calls(config, id, &[(model, *outcome)])
    }

    /// Learns from all calls that a decision led to, by number of the model, in their order; returns what is left to do.
    pub(crate) fn record_calls(
        &mut self,
        config: &Config,
        id: DecisionId,
        calls: &[(usize, Outcome)],
    ) -> Result<Settled> {
        let decision = self.log.get(id.get())?;
        check_calls(decision.model, calls)?;
        let late = self.log.next_id() - id.get() > config.max_lag;
        let kind = Kind { features: &decision.features, class: decision.class, regime: &decision.regime };
        let mut at = decision.made_at;
        for &(model, ref outcome) in calls {
            let healthy = self.service[model].health.probability();
            // What a fallback was expected to cost is not kept.
            let usd = if model == decision.model { decision.usd } else { 0.0 };
            let judged = Judged { outcome, limit_ms: decision.limit_ms, usd, healthy, late };
            let prepared = &mut self.scratch.prepared;
            if let Some(mut evidence) = self.learner.judge(model, &kind, &judged, prepared) {
                let observed = self.tenants[decision.tenant].filter.observed();
                if !observed {
                    evidence.regime.clone_from(&decision.regime);
                }
                let weight = grant(&self.shares[model], &self.tenants[decision.tenant], config.tenant_cap, model);
                self.learner.learn(model, &kind, &judged, &evidence, weight, prepared)?;
                let share = &mut self.shares[model];
                let tenant = &mut self.tenants[decision.tenant];
                share.tenants += usize::from(tenant.taught[model] == 0.0 && weight > 0.0);
                share.total += weight;
                tenant.taught[model] += weight;
                if !late {
                    self.service[model].health.move_to(evidence.healthy, weight);
                    let mut likelihood = evidence.by_regime;
                    likelihood.iter_mut().for_each(|l| *l = l.powf(weight));
                    if observed {
                        self.regimes.weigh(&mut tenant.filter, &likelihood)?;
                    }
                    if self.market.observed() {
                        self.regimes.weigh(&mut self.market, &likelihood)?;
                    }
                }
            }
            at = at.saturating_add(outcome.latency_ms);
            self.service[model].outcome(outcome, decision.limit_ms, at, &config.cooldown);
        }
        let Some(closed) = self.log.take(id.get()) else { return Ok(Settled::default()) };
        let told = calls.first().and_then(|(_, outcome)| outcome.score).map(|score| Told {
            tenant: self.tenants[closed.tenant].name.clone(),
            regime: closed.regime,
            class: closed.given_class,
            model: closed.model,
            surprise: score - closed.quality,
        });
        let usd = calls.iter().map(|(_, outcome)| outcome.usd).sum();
        Ok(Settled { reservation: closed.reservation, usd, features: closed.features, told })
    }

    /// Learns the scores of all models for one request, as [`calibration`](super::calibration) found its regime.
    pub(crate) fn learn_row(&mut self, x: &[f64], class: usize, regime: &[f64], scores: &[Option<f64>]) -> Result<()> {
        if let Some(refit) = self.learner.observe(x) {
            self.install(refit.run());
        }
        let kind = Kind { features: x, class, regime };
        for (model, score) in scores.iter().enumerate() {
            if let Some(score) = *score {
                self.learner.learn_score(model, &kind, score, &mut self.scratch.prepared)?;
                self.shares[model].total += 1.0;
            }
        }
        Ok(())
    }

    /// Expected quality of every model for a request, while all are in service.
    pub(crate) fn expected(
        &mut self,
        preferences: &Preferences,
        x: &[f64],
        class: usize,
        regime: &[f64],
        out: &mut Vec<f64>,
    ) {
        let kind = Kind { features: x, class, regime };
        let prepared = &mut self.scratch.prepared;
        self.learner.prepare(&kind, preferences, 0.0, prepared);
        out.clear();
        for (model, service) in self.service.iter().enumerate() {
            let latency = service.latency_bins(1.0);
            let standing = Standing { healthy: 1.0, availability: 1.0, usd: 0.0, latency };
            out.push(self.learner.assess(model, &kind, prepared, &standing, preferences, 0.0).quality);
        }
    }

    /// Class of a request.
    ///
    /// # Errors
    /// `OutOfRange` for a given class that does not exist.
    pub(crate) fn classify(&self, x: &[f64], given: usize) -> Result<usize> {
        self.learner.classify(x, given)
    }

    /// Replaces the model of the regimes; beliefs stay.
    ///
    /// # Errors
    /// None for a model of as many regimes and observations.
    pub(crate) fn set_regimes(&mut self, regimes: RegimeModel) -> Result<()> {
        let learned = self.means.as_mut().map_or(Ok(None), |means| means.adopt(&regimes))?;
        self.regimes = Arc::new(learned.unwrap_or(regimes));
        Ok(())
    }

    pub(crate) fn save(&self, w: &mut Writer) {
        w.u64(self.regimes.regimes() as u64);
        self.learner.save(w);
        w.f64s(self.regimes.hmm().transitions().probabilities());
        w.u64(u64::from(self.means.is_some()));
        if let Some(means) = &self.means {
            means.save(w);
        }
        self.service.iter().for_each(|s| s.save(w));
        self.market.save(w);
        w.u64(self.clock);
        w.u64(self.tenants.len() as u64);
        for tenant in &self.tenants {
            w.bytes(tenant.name.as_bytes());
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
        let regimes = self.regimes.regimes();
        if r.u64()? != regimes as u64 {
            return bad("regimes");
        }
        self.learner.load(r)?;
        let mut transitions = vec![0.0; regimes * regimes];
        r.f64s(&mut transitions)?;
        let Ok(model) = self.regimes.with_transitions(&transitions) else { return bad("transitions") };
        // Rows that had to be repaired are not those of a snapshot.
        if model.hmm().transitions().probabilities() != transitions {
            return bad("transitions");
        }
        if r.flag()? != self.means.is_some() {
            return bad("way of learning");
        }
        if let Some(means) = &mut self.means {
            means.load(r)?;
        }
        self.set_regimes(model)?;
        self.service.iter_mut().try_for_each(|s| s.load(r))?;
        self.market = RegimeFilter::load(r, regimes)?;
        self.clock = r.u64()?;
        let tenants = r.count(8)?;
        if tenants > config.max_tenants {
            return bad("tenants");
        }
        for t in 0..tenants {
            let name = std::str::from_utf8(r.bytes()?).ok().filter(|name| name.len() <= MAX_TENANT_BYTES);
            let Some(name) = name else { return bad("tenant") };
            let name: Arc<str> = name.into();
            if self.by_name.insert(name.clone(), t).is_some() {
                return bad("tenant");
            }
            let filter = RegimeFilter::load(r, regimes)?;
            let mut taught = vec![0.0; models];
            r.amounts(&mut taught)?;
            self.tenants.push(Tenant { name, filter, taught });
        }
        for share in &mut self.shares {
            *share = Share { total: r.amount()?, tenants: r.index(tenants + 1)? };
        }
        self.log.load(r, self.learner.dim(), [tenants, models, self.classes, regimes])
    }
}

/// Weight in [0, 1] that a tenant's next outcome may have: with it, the tenant's part of all that was taught about the model stays
/// within the cap, or within twice an equal share while there are few tenants. (Within one equal share,
/// tenants who have taught equally much could never teach again.)
fn grant(share: &Share, tenant: &Tenant, cap: f64, model: usize) -> f64 {
    let Share { total, tenants } = *share;
    let taught = tenant.taught[model];
    let heard = tenants + usize::from(taught == 0.0);
    let cap = cap.max(2.0 / heard as f64);
    if cap >= 1.0 {
        return 1.0;
    }
    ((cap * total - taught) / (1.0 - cap)).clamp(0.0, 1.0)
}

fn spell_out(config: &Config, r: &Refusal) -> Rejection {
    Rejection { model: config.models[r.model].id.clone(), reason: r.reason, limit: r.limit, actual: r.actual }
}

/// Writes a decision into the memory of an older one.
fn explain(config: &Config, id: DecisionId, filter: &RegimeFilter, scratch: &Scratch, out: &mut RoutingDecision) {
    let name = |model: usize| &config.models[model].id;
    let chosen = &scratch.scored[0];
    out.id = id;
    out.model.clone_from(name(chosen.model));
    out.regime = filter.regime();
    out.regime_posterior.clear();
    out.regime_posterior.extend(filter.posterior());
    out.outlier = filter.outlier();
    out.efe = chosen.efe;
    out.probability = chosen.probability;
    out.estimated_cost_usd = chosen.usd;
    out.expected_quality = chosen.quality;
    out.expected_latency_ms = chosen.latency_ms;
    out.meets_quality = chosen.meets >= 0.5;

    let others = &scratch.scored[1..];
    let others = &others[..others.len().min(MAX_FALLBACKS)];
    out.fallbacks.resize_with(others.len(), Candidate::default);
    for (out, s) in out.fallbacks.iter_mut().zip(others) {
        out.model.clone_from(name(s.model));
        out.efe = s.efe;
        out.probability = s.probability;
        out.estimated_cost_usd = s.usd;
        out.expected_quality = s.quality;
        out.expected_latency_ms = s.latency_ms;
    }
    let kept = scratch.refused.len().min(out.rejected.len());
    out.rejected.truncate(kept);
    for (out, r) in out.rejected.iter_mut().zip(&scratch.refused) {
        out.model.clone_from(name(r.model));
        (out.reason, out.limit, out.actual) = (r.reason, r.limit, r.actual);
    }
    out.rejected.extend(scratch.refused[kept..].iter().map(|r| spell_out(config, r)));
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
    if !(1..=MAX_HORIZON).contains(&options.horizon) {
        return Err(Error::OutOfRange { what: "horizon" });
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

/// Whether calls are those of a decision for `model`: that one first, none twice, with outcomes that can be learned from.
fn check_calls(model: usize, calls: &[(usize, Outcome)]) -> Result<()> {
    let twice = |n: usize| calls[..n].iter().any(|(before, _)| *before == calls[n].0);
    if calls.first().is_none_or(|(first, _)| *first != model) || (1..calls.len()).any(twice) {
        return Err(Error::OutOfRange { what: "calls" });
    }
    for (_, outcome) in calls {
        if non_negative("outcome usd", outcome.usd)? > MAX_OUTCOME_USD {
            return Err(Error::OutOfRange { what: "outcome usd" });
        }
        if let Some(score) = outcome.score {
            all_finite("score", &[score])?;
            if !(0.0..=1.0).contains(&score) {
                return Err(Error::OutOfRange { what: "score" });
            }
        }
    }
    Ok(())
}

const MAX_FALLBACKS: usize = 8;
const MAX_TENANT_BYTES: usize = 256;
/// Requests of a session that are planned for.
const MAX_HORIZON: usize = 64;
const MAX_TOKENS: f64 = 1e9;
const MAX_OUTCOME_USD: f64 = 1e9;
