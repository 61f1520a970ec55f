//! The market maker: one object that prices, quotes, routes and learns.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use arc_swap::ArcSwap;

use super::adapter::TenantAdapter;
use super::admission::{Admission, AdmissionRequest};
use super::builder::{MarketMakerBuilder, reference};
use super::calibration::{self, CalibrationReport, LabelledOutcome};
use super::catalogue::ModelSpec;
use super::config::Config;
use super::features::Featuriser;
use super::free_energy::Preferences;
use super::linear::check_features;
use super::pool::{Pool, QuoteDetails, Receipt};
use super::pool_curve::PoolCurve;
use super::price_dynamics::{EnergyReport, Load, MAX_LOG_PRICE, PriceDynamics};
use super::quote::{Mid, Millis, Quote};
use super::regime::{Regime, RegimeModel};
use super::request::{DecisionId, Outcome, RouteOptions, RoutingDecision, RoutingRequest};
use super::routing::{Leftovers, Routing, Settled, check_request};
use super::scoring::{Surroundings, worst_case};
use super::service::ServiceReport;
use super::snapshot::{self, Reader, Writer, bad};
use crate::{Error, Result};

/// Prices models, sells their capacity, and sends each request to the model with the least expected free energy.
///
/// All methods take `&self`. What decisions read and outcomes change is one state behind a mutex, so that decisions and
/// outcomes have one order, and the same calls in the same order give the same results, byte for byte; a decision holds it for its
/// scoring only, not for reading the text, and not while it finds the kinds of requests afresh. Prices are published as a whole by
/// [`tick`](Self::tick) and read without a lock; each pool has a lock of its own. Nothing is stored, no clock is read, and no random number is
/// drawn except from a seed that is given.
///
/// # In a gateway
/// - [`route`](Self::route) every request, with the [time](RouteOptions::now): without it no model is taken out of service. An
///   [`Admission`] sets the worst cost aside before the decision.
/// - Call the model; if it fails, the next of the decision's fallbacks, which are eligible, too.
/// - [`record_outcome`](Self::record_outcome) for every decision, failures and timeouts included, or [`record_calls`](Self::record_calls) where
///   fallbacks were called: they learn, end cooldowns, and commit what was set aside. A decision whose outcome never comes teaches nothing and
///   keeps its features and its reservation until [`Config::max_decisions`](crate::Config::max_decisions) more have been made; a worker that is
///   lost needs an outcome from you ([`Status::Timeout`](super::Status::Timeout)).
/// - [`tick`](Self::tick) now and then with the loads, from one place: prices stand still without it, and move for the seconds that it is given.
/// - Keep a [`snapshot`](Self::snapshot) now and then, and one at the end; read [there](Self::snapshot) what is to be heeded after a crash.
///
/// ```
/// use hanzo_hmm::market::{Outcome, RouteOptions};
/// use hanzo_hmm::{Config, MarketMaker, RoutingRequest};
///
/// let market = MarketMaker::builder(Config::default()).build()?;
/// let request = RoutingRequest { input: "Prove that 2 is irrational.".into(), ..RoutingRequest::default() };
/// let decision = market.route("tenant-42", &request, &RouteOptions::default())?;
/// market.record_outcome(decision.id, &Outcome::success(0.7, 310, decision.estimated_cost_usd))?;
/// assert!(market.record_outcome(decision.id, &Outcome::success(0.7, 310, 0.0)).is_err()); // once only
/// # Ok::<(), hanzo_hmm::Error>(())
/// ```
pub struct MarketMaker {
    pub(super) config: Config,
    pub(super) preferences: Preferences,
    pub(super) featuriser: Box<dyn Featuriser + Send + Sync>,
    /// Features of a text, as the featuriser had them when the market maker was built.
    pub(super) text_features: usize,
    /// Whether the likelihood reads features.
    pub(super) reads_features: bool,
    pub(super) adapter: Option<Box<dyn TenantAdapter + Send + Sync>>,
    pub(super) admission: Option<Box<dyn Admission + Send + Sync>>,
    pub(super) routing: Mutex<Routing>,
    pub(super) dynamics: Mutex<PriceDynamics>,
    pub(super) board: ArcSwap<PriceBoard>,
    pub(super) counters: Vec<Mutex<Counter>>,
    /// Memory for the features of requests.
    pub(super) spare: Mutex<Vec<Vec<f64>>>,
}

/// Prices as they were published last.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct PriceBoard {
    /// `exp(x)` of every model.
    pub(super) multipliers: Vec<f64>,
    pub(super) regime: Regime,
    pub(super) band_bps: u32,
}

/// Where one model is sold.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Counter {
    pub(super) pool: Pool<PoolCurve>,
    pub(super) quotes: u64,
}

/// What is to be quoted.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct QuoteRequest {
    /// Id of the model.
    pub model: String,
    /// Output tokens.
    pub units: u128,
    /// The caller's index of the party that would do the work.
    pub worker: u64,
}

impl MarketMaker {
    /// A market maker with the built-in parts. Never awaits.
    ///
    /// # Errors
    /// `InvalidConfig`.
    #[expect(clippy::unused_async, reason = "published as a future; it is ready at the first poll")]
    pub async fn new(config: Config) -> Result<Self> {
        Self::builder(config).build()
    }

    /// A market maker with parts of the caller's.
    pub fn builder(config: Config) -> MarketMakerBuilder {
        MarketMakerBuilder::new(config)
    }

    /// [`route`](Self::route) with default options, and so without a [time](RouteOptions::now). Never awaits.
    ///
    /// # Errors
    /// Those of [`route`](Self::route).
    #[expect(clippy::unused_async, reason = "published as a future; it is ready at the first poll")]
    pub async fn route_request(&self, tenant: &str, request: &RoutingRequest) -> Result<RoutingDecision> {
        self.route(tenant, request, &RouteOptions::default())
    }

    /// Sends a request to a model.
    ///
    /// The regime filters of tenant and market take the observations in; the hard filters drop models; of the others the one with the least
    /// expected free energy is chosen. `O(32 D + M d^2)` time for `M` models, `D` features and `d` numbers that the regression sees (the shares of
    /// 32 kinds of requests, the features from the bias on, and one a regime: 44 by default), `O(M)` with the categorical likelihood.
    ///
    /// # Errors
    /// `NotAdmitted`; `NoEligibleModel` with every filter not passed; `NotFinite`, `DimensionMismatch` and `OutOfRange` for a number of the request
    /// or its options, or of a featuriser or adapter of the caller's (and what else such a featuriser fails with); `TenantLimit` for a name over
    /// 256 bytes or one tenant too many; `ClockBackwards` for a time before that of an earlier decision. Nothing is changed then; what was reserved
    /// is released.
    pub fn route(&self, tenant: &str, request: &RoutingRequest, options: &RouteOptions) -> Result<RoutingDecision> {
        let mut decision = RoutingDecision::default();
        self.route_into(tenant, request, options, &mut decision)?;
        Ok(decision)
    }

    /// [`route`](Self::route) into the memory of an earlier decision. Once tenants and models are known and as many requests are answered as come in,
    /// nothing is allocated, unless by parts of the caller's, for more than eight regimes, or when a refit of the kinds of requests is due.
    ///
    /// # Errors
    /// Those of [`route`](Self::route); the decision is unchanged then.
    pub fn route_into(
        &self,
        tenant: &str,
        request: &RoutingRequest,
        options: &RouteOptions,
        decision: &mut RoutingDecision,
    ) -> Result<()> {
        check_request(tenant, request, options)?;
        let mut x = lock(&self.spare).pop().unwrap_or_default();
        let given = (request.input.as_str(), options.features.as_deref(), options.embedding.as_deref());
        if let Err(error) = self.features_into(given, &mut x) {
            self.recycle(x);
            return Err(error);
        }
        let board = self.board.load();
        let around = Surroundings {
            config: &self.config,
            preferences: &self.preferences,
            adapter: self.adapter.as_deref(),
            multipliers: &board.multipliers,
        };
        let Some(admission) = &self.admission else {
            let found = lock(&self.routing).route(&around, tenant, request, options, x, None, decision);
            self.finish(found?);
            return Ok(());
        };
        let (usd, tokens) = worst_case(&self.config, &board.multipliers, request, options);
        let now = options.now.unwrap_or_else(|| lock(&self.routing).clock());
        let asked = AdmissionRequest { tenant, usd, tokens, now };
        let reservation = admission.reserve(&asked).map_err(|denial| Error::NotAdmitted { denial })?;
        let found = lock(&self.routing).route(&around, tenant, request, options, x, Some(reservation), decision);
        match found {
            Ok(leftovers) => {
                if let Some(forgotten) = leftovers.reservation {
                    admission.release(forgotten);
                }
                self.finish(leftovers);
                Ok(())
            }
            Err(error) => {
                admission.release(reservation);
                Err(error)
            }
        }
    }

    /// Learns from what came of a decision, once a decision, commits what an [`Admission`] has set aside for it, and tells the tenant's adapter of
    /// its score. Outcomes may come late and in any order. `O(d^2)` time for the `d` numbers that the regression sees, `O(1)` with the categorical
    /// likelihood.
    ///
    /// # Errors
    /// `DuplicateOutcome`; `UnknownDecision` for one never made or forgotten; `NotFinite` and `OutOfRange` for a score outside [0, 1] or dollars
    /// outside [0, 10^9]. Nothing is changed then, and the decision stays open.
    pub fn record_outcome(&self, id: DecisionId, outcome: &Outcome) -> Result<()> {
        let settled = lock(&self.routing).record_outcome(&self.config, id, outcome)?;
        self.settle(settled);
        Ok(())
    }

    /// [`record_outcome`](Self::record_outcome) where fallbacks were called: learns from every call, in their order, the chosen model first. The
    /// `latency_ms` of each is that of its own call, and the next call begins when it ends. An [`Admission`] commits the sum of their dollars.
    ///
    /// What a fallback was expected to cost is not kept, so that nothing is learned of whether it cost more; the tenant's adapter is told of the
    /// chosen model only.
    ///
    /// # Errors
    /// Those of `record_outcome`; `OutOfRange` (`calls`) for none, for a first one that is not of the chosen model, and for a model twice, and
    /// `OutOfRange` (`model`) for one that is not in the table. Nothing is changed then, and the decision stays open.
    ///
    /// ```
    /// use hanzo_hmm::market::{Outcome, RouteOptions, Status};
    /// use hanzo_hmm::{Config, MarketMaker, RoutingRequest};
    ///
    /// let market = MarketMaker::builder(Config::default()).build()?;
    /// let decision = market.route("tenant-42", &RoutingRequest::default(), &RouteOptions::default())?;
    /// let (first, next) = (decision.model.as_str(), decision.fallbacks[0].model.as_str());
    /// let calls = [(first, Outcome::failure(Status::Timeout, 30_000)), (next, Outcome::success(0.7, 310, 0.002))];
    /// market.record_calls(decision.id, &calls)?;
    /// # Ok::<(), hanzo_hmm::Error>(())
    /// ```
    pub fn record_calls(&self, id: DecisionId, calls: &[(&str, Outcome)]) -> Result<()> {
        let numbered = |(model, outcome): &(&str, Outcome)| Ok((self.find(|m| m.id == *model)?, *outcome));
        let calls = calls.iter().map(numbered).collect::<Result<Vec<_>>>()?;
        let settled = lock(&self.routing).record_calls(&self.config, id, &calls)?;
        self.settle(settled);
        Ok(())
    }

    fn settle(&self, settled: Settled) {
        self.recycle(settled.features);
        if let (Some(admission), Some(reservation)) = (&self.admission, settled.reservation) {
            admission.commit(reservation, settled.usd);
        }
        if let (Some(adapter), Some(told)) = (&self.adapter, settled.told) {
            adapter.learn_outcome(&told.tenant, &told.regime, told.class, told.model, told.surprise);
        }
    }

    /// Learns from requests whose scores are known for all models or for several: a warm start before the first decision, or later.
    ///
    /// The transitions between regimes are fitted to the observations (at most 50 iterations of Baum-Welch; means and variances stay), the regimes
    /// of the rows filtered, and the scores learned in the order of the rows, each with weight 1. Decisions and outcomes wait meanwhile: for as
    /// long as it takes to score every row twice and to learn its scores. The features of all rows are held in memory. Rows count as taught by
    /// nobody: they lower the part of every tenant.
    ///
    /// # Errors
    /// `DimensionMismatch`, `NotFinite`, `OutOfRange` (score, class, feature) and those of the featuriser and of Baum-Welch; nothing is learned then.
    ///
    /// ```
    /// use hanzo_hmm::market::{LabelledOutcome, ModelSpec, RouteOptions};
    /// use hanzo_hmm::{Config, MarketMaker, RoutingRequest};
    ///
    /// let models = vec![ModelSpec::new("small", 0.001), ModelSpec::new("large", 0.002)];
    /// let market = MarketMaker::builder(Config::default().models(models)).build()?;
    /// let rows: Vec<LabelledOutcome> = (0..40)
    ///     .map(|i| LabelledOutcome {
    ///         input: format!("question {i}"),
    ///         scores: vec![Some(0.2), Some(0.9)],
    ///         ..LabelledOutcome::default()
    ///     })
    ///     .collect();
    /// let report = market.calibrate(&rows)?;
    /// assert!(report.error_after < 0.1 * report.error_before);
    /// let request = RoutingRequest { input: "question 7".into(), ..RoutingRequest::default() };
    /// assert_eq!(market.route("tenant-42", &request, &RouteOptions::default())?.model, "large");
    /// # Ok::<(), hanzo_hmm::Error>(())
    /// ```
    pub fn calibrate(&self, rows: &[LabelledOutcome]) -> Result<CalibrationReport> {
        let mut routing = lock(&self.routing);
        let models = self.config.models.len();
        let mut features = Vec::with_capacity(rows.len());
        for row in rows {
            calibration::check(row, models, routing.regimes().dim())?;
            let mut x = Vec::new();
            self.features_into((&row.input, row.features.as_deref(), row.embedding.as_deref()), &mut x)?;
            routing.classify(&x, row.class)?;
            features.push(x);
        }
        let fitted = calibration::fit_transitions(routing.regimes(), rows)?;
        let mut log_likelihoods = Vec::new();
        let posteriors = match &fitted {
            Some((model, _)) => calibration::filtered(model, rows)?,
            None => calibration::filtered(routing.regimes(), rows)?,
        };
        if let Some((model, found)) = fitted {
            routing.set_regimes(model)?;
            log_likelihoods = found;
        }
        let mut expected = Vec::new();
        let mut error = |routing: &mut Routing| -> Result<(usize, f64)> {
            let (mut n, mut sum) = (0, 0.0);
            for ((row, x), regime) in rows.iter().zip(&features).zip(&posteriors) {
                let class = routing.classify(x, row.class)?;
                routing.expected(&self.preferences, x, class, regime, &mut expected);
                for (e, score) in expected.iter().zip(&row.scores) {
                    if let Some(score) = score {
                        n += 1;
                        sum += (e - score) * (e - score);
                    }
                }
            }
            Ok((n, sum / f64::from(u32::try_from(n.max(1)).unwrap_or(u32::MAX))))
        };
        let (_, error_before) = error(&mut routing)?;
        for ((row, x), regime) in rows.iter().zip(&features).zip(&posteriors) {
            let class = routing.classify(x, row.class)?;
            routing.learn_row(x, class, regime, &row.scores)?;
        }
        let (scores, error_after) = error(&mut routing)?;
        let transitions = routing.regimes().hmm().transitions().probabilities().to_vec();
        Ok(CalibrationReport { rows: rows.len(), scores, error_before, error_after, log_likelihoods, transitions })
    }

    /// Lets prices move for `dt >= 0` market seconds under new loads, one a model (none: the old ones, without their shocks), and publishes them.
    /// Prices move by this alone. `O(M^2)` time a step for `M` models, with as many steps as the stiffness asks for ([`EnergyReport::steps`]).
    ///
    /// # Errors
    /// `NotFinite` and `OutOfRange` for `dt` or a load, `DimensionMismatch` for another number of loads, `StepTooLarge { h: dt, max }` for a `dt`
    /// of more than 2^20 steps, `Diverged` where a price would go beyond `exp(600)` times the catalogue's, or below that part of it. Prices stay as
    /// they were then.
    pub fn tick(&self, dt: f64, loads: &[Load]) -> Result<EnergyReport> {
        let mut dynamics = lock(&self.dynamics);
        let market = lock(&self.routing).market().clone();
        let report = dynamics.tick(dt, loads, market.posterior())?;
        self.board.store(Arc::new(PriceBoard {
            multipliers: dynamics.log_prices().iter().map(|x| x.exp()).collect(),
            regime: market.regime(),
            band_bps: dynamics.band_bps(),
        }));
        Ok(report)
    }

    /// Dollars for 1,000 output tokens of every model, in catalogue order: the catalogue price times `exp(x)`.
    pub fn prices(&self) -> Vec<f64> {
        let board = self.board.load();
        self.config.models.iter().zip(&board.multipliers).map(|(m, e)| m.output_usd_per_1k * e).collect()
    }

    /// Offers output tokens of a model for money, in base units. A quote is a function of the pool, the published prices and `now`,
    /// besides its running number. Nothing is set aside for it.
    ///
    /// # Errors
    /// `OutOfRange` for an unknown model, and those of [`Pool::quote`]; `ClockBackwards` for a `now` before the last swap of this model.
    pub fn quote(&self, request: &QuoteRequest, now: Millis) -> Result<Quote> {
        let model = self.find(|m| m.id == request.model)?;
        let spec = &self.config.models[model];
        let (mid, regime) = self.mid(model)?;
        let duration = spec.latency_ms + request.units as f64 * 1_000.0 / spec.tokens_per_second;
        let mut counter = lock(&self.counters[model]);
        let number = counter.quotes;
        let details = QuoteDetails {
            id: number,
            nonce: number,
            worker: request.worker,
            // The cast saturates.
            eta_ms: duration.ceil() as u64,
            regime,
        };
        let quote = counter.pool.quote(request.units, &mid, &details, now)?;
        counter.quotes = number.checked_add(1).ok_or(Error::Overflow)?;
        Ok(quote)
    }

    /// Executes a quote at a price of at most `limit`, all or nothing, and counts it in the pool; moving the money is the caller's.
    ///
    /// # Errors
    /// `OutOfRange` for an unknown model, and those of [`Pool::swap`].
    pub fn swap(&self, quote: &Quote, now: Millis, limit: u128) -> Result<Receipt> {
        let model = self.find(|m| m.key == quote.model)?;
        let (mid, _) = self.mid(model)?;
        lock(&self.counters[model]).pool.swap(quote, &mid, now, limit)
    }

    /// Adds liquidity to the pool of a model and returns the shares, as [`Pool::mint`].
    ///
    /// # Errors
    /// `OutOfRange` for an unknown model, and those of [`Pool::mint`].
    pub fn add_liquidity(&self, model: &str, compute: u128, money: u128) -> Result<u128> {
        let model = self.find(|m| m.id == model)?;
        lock(&self.counters[model]).pool.mint(compute, money)
    }

    /// Takes liquidity out of the pool of a model as (compute, money), as [`Pool::burn`]. Whose shares they are is for the caller to know.
    ///
    /// # Errors
    /// `OutOfRange` for an unknown model, and those of [`Pool::burn`].
    pub fn remove_liquidity(&self, model: &str, shares: u128) -> Result<(u128, u128)> {
        let model = self.find(|m| m.id == model)?;
        lock(&self.counters[model]).pool.burn(shares)
    }

    /// The pool of a model as it is now.
    ///
    /// # Errors
    /// `OutOfRange` for an unknown model.
    pub fn pool(&self, model: &str) -> Result<Pool<PoolCurve>> {
        let model = self.find(|m| m.id == model)?;
        Ok(lock(&self.counters[model]).pool.clone())
    }

    /// Regime reported for the whole market, with the probability of each in the order of the [`regime_model`](Self::regime_model).
    pub fn regime(&self) -> (Regime, Vec<f64>) {
        let routing = lock(&self.routing);
        (routing.market().regime(), routing.market().posterior().to_vec())
    }

    /// The model of the regimes, which knows their names, with its transitions as they were [calibrated](Self::calibrate) last.
    pub fn regime_model(&self) -> Arc<RegimeModel> {
        lock(&self.routing).regimes().clone()
    }

    /// How every model has served so far, in catalogue order.
    pub fn service(&self) -> Vec<ServiceReport> {
        let routing = lock(&self.routing);
        self.config.models.iter().zip(routing.service()).map(|(m, record)| record.report(&m.id)).collect()
    }

    /// Everything learned, decided, priced and traded so far, as bytes for [`MarketMakerBuilder::restore`].
    ///
    /// Configuration and parts of the caller's (what a [`TenantAdapter`] has learned, what an [`Admission`] has set aside) are not in them. Calls
    /// made at the same time are in it or not, decision by decision and pool by pool; for one moment of the whole let no other calls run. The bytes
    /// carry a sum against damage, not against forgery: sign what travels.
    ///
    /// A market maker that is restored from an older snapshot, after a crash, knows nothing of what came after it, and gives the same numbers again
    /// to other decisions and quotes. So drop outcomes of decisions made since, release what was reserved for them, and let
    /// [`quote_life_ms`](crate::Config::quote_life_ms) pass before the first swap: a quote executed since could be executed again.
    ///
    /// ```
    /// use hanzo_hmm::market::RouteOptions;
    /// use hanzo_hmm::{Config, MarketMaker, RoutingRequest};
    ///
    /// let market = MarketMaker::builder(Config::default()).build()?;
    /// let ask = |m: &MarketMaker| m.route("tenant-42", &RoutingRequest::default(), &RouteOptions::default());
    /// ask(&market)?;
    /// let again = MarketMaker::builder(Config::default()).restore(&market.snapshot())?;
    /// assert_eq!(ask(&again)?, ask(&market)?);
    /// # Ok::<(), hanzo_hmm::Error>(())
    /// ```
    pub fn snapshot(&self) -> Vec<u8> {
        let mut w = Writer::new(snapshot::MARKET);
        let routing = lock(&self.routing);
        w.u64(self.config.models.len() as u64);
        for m in &self.config.models {
            w.bytes(m.id.as_bytes());
            w.bytes(&m.key);
        }
        w.u64(routing.dim() as u64);
        routing.save(&mut w);
        drop(routing);
        lock(&self.dynamics).save(&mut w);
        let board = self.board.load();
        w.f64s(&board.multipliers);
        w.u64(board.regime.index() as u64);
        w.u64(u64::from(board.band_bps));
        for counter in &self.counters {
            let counter = lock(counter);
            counter.pool.save(&mut w);
            w.u64(counter.quotes);
        }
        w.finish()
    }

    pub(super) fn load(&self, bytes: &[u8]) -> Result<()> {
        let mut r = Reader::new(snapshot::MARKET, bytes)?;
        let mut routing = lock(&self.routing);
        if r.u64()? != self.config.models.len() as u64 {
            return bad("models");
        }
        for m in &self.config.models {
            if r.bytes()? != m.id.as_bytes() || r.bytes()? != m.key {
                return bad("models");
            }
        }
        if r.u64()? != routing.dim() as u64 {
            return bad("features");
        }
        routing.load(&mut r, &self.config)?;
        lock(&self.dynamics).load(&mut r)?;
        let mut multipliers = vec![0.0; self.config.models.len()];
        r.amounts(&mut multipliers)?;
        if multipliers.iter().any(|e| *e <= 0.0 || *e > MAX_LOG_PRICE.exp()) {
            return bad("prices");
        }
        let regimes = routing.regimes().regimes();
        let Some(regime) = Regime::of(regimes, r.index(regimes)?) else { return bad("regime") };
        let band_bps = r.index(10_001)? as u32;
        self.board.store(Arc::new(PriceBoard { multipliers, regime, band_bps }));
        for counter in &self.counters {
            let mut counter = lock(counter);
            counter.pool.load(&mut r)?;
            counter.quotes = r.u64()?;
        }
        r.finish()
    }

    /// The models on offer, in catalogue order.
    pub fn models(&self) -> &[ModelSpec] {
        &self.config.models
    }

    /// The configuration.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// Features of the text, or the caller's, followed by the embedding at length 1; none where the likelihood reads none.
    fn features_into(
        &self,
        (input, features, embedding): (&str, Option<&[f64]>, Option<&[f64]>),
        x: &mut Vec<f64>,
    ) -> Result<()> {
        x.clear();
        if !self.reads_features {
            return Ok(());
        }
        let text = self.text_features;
        let length = if self.config.embeddings { self.config.vector_dim } else { 0 };
        x.resize(text + length, 0.0);
        match features {
            Some(features) => {
                super::hamiltonian::same_length("features", text, features)?;
                x[..text].copy_from_slice(features);
            }
            None => self.featuriser.features_into(input, &mut x[..text])?,
        }
        if let Some(given) = embedding {
            super::hamiltonian::same_length("embedding", length, given)?;
            // Scaled by the largest entry first, so that no square overflows.
            let largest = given.iter().fold(0.0f64, |a, v| a.max(v.abs()));
            if !largest.is_finite() || given.iter().any(|v| v.is_nan()) {
                return Err(Error::NotFinite { what: "embedding" });
            }
            if largest > 0.0 {
                let norm = given.iter().map(|v| (v / largest) * (v / largest)).sum::<f64>().sqrt();
                for (x, v) in x[text..].iter_mut().zip(given) {
                    *x = v / largest / norm;
                }
            }
        }
        check_features(x)
    }

    /// What a decision leaves to do outside the lock.
    fn finish(&self, leftovers: Leftovers) {
        self.recycle(leftovers.features);
        if let Some(refit) = leftovers.refit {
            let refitted = refit.run();
            lock(&self.routing).install(refitted);
        }
    }

    fn recycle(&self, memory: Vec<f64>) {
        let mut spare = lock(&self.spare);
        if memory.capacity() > 0 && spare.len() < MAX_SPARE {
            spare.push(memory);
        }
    }

    fn find(&self, wanted: impl Fn(&ModelSpec) -> bool) -> Result<usize> {
        self.config.models.iter().position(wanted).ok_or(Error::OutOfRange { what: "model" })
    }

    /// Price of one output token in base units of money.
    fn mid(&self, model: usize) -> Result<(Mid, Regime)> {
        let board = self.board.load();
        let price = reference(&self.config, model) * board.multipliers[model];
        Ok((Mid::new(price, board.band_bps)?, board.regime))
    }
}

impl fmt::Debug for MarketMaker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MarketMaker")
            .field("models", &self.config.models.len())
            .field("prices", &self.prices())
            .finish_non_exhaustive()
    }
}

/// A panic of a caller's closure leaves the state whole: nothing is changed before the closures have returned.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Buffers kept for requests to come.
const MAX_SPARE: usize = 64;
