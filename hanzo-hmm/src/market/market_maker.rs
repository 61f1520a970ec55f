//! The market maker: one object that prices, quotes, routes and learns.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use arc_swap::ArcSwap;

use super::adapter::TenantAdapter;
use super::admission::{Admission, AdmissionRequest};
use super::catalogue::ModelSpec;
use super::config::Config;
use super::features::{Featuriser, HashedText};
use super::likelihood::QualityModel;
use super::linear::check_features;
use super::pool::{Pool, QuoteDetails, Receipt};
use super::price_dynamics::{EnergyReport, Load, PriceDynamics, RegimeDynamics};
use super::quote::{Mid, Millis, Quote};
use super::regime::{Regime, RegimeModel};
use super::request::{DecisionId, Outcome, RouteOptions, RoutingDecision, RoutingRequest};
use super::routing::{Routing, Surroundings, check_request, worst_case};
use super::service::ServiceReport;
use super::snapshot::{Reader, Writer, bad};
use crate::{Error, Result};

/// Prices models, sells their capacity, and sends each request to the model with the least expected free energy.
///
/// All methods take `&self`. What decisions read and outcomes change is one state behind a mutex, so that decisions and
/// outcomes have one order, and the same calls in the same order give the same results, byte for byte; a decision holds it for its
/// scoring only, not for reading the text. Prices are published as a whole by [`tick`](Self::tick) and read without a lock; each
/// pool has a lock of its own. Nothing is stored, no clock is read, and no random number is drawn except from a seed that is given.
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
    config: Config,
    regimes: RegimeModel,
    featuriser: Box<dyn Featuriser + Send + Sync>,
    adapter: Option<Box<dyn TenantAdapter + Send + Sync>>,
    admission: Option<Box<dyn Admission + Send + Sync>>,
    routing: Mutex<Routing>,
    dynamics: Mutex<PriceDynamics>,
    board: ArcSwap<PriceBoard>,
    counters: Vec<Mutex<Counter>>,
}

/// Prices as they were published last.
#[derive(Debug, Clone, PartialEq)]
struct PriceBoard {
    /// `exp(x)` of every model.
    multipliers: Vec<f64>,
    regime: Regime,
    band_bps: u32,
}

/// Where one model is sold.
#[derive(Debug, Clone, PartialEq)]
struct Counter {
    pool: Pool,
    quotes: u64,
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
        MarketMakerBuilder {
            config,
            regimes: None,
            featuriser: None,
            adapter: None,
            admission: None,
            substitutability: None,
        }
    }

    /// [`route`](Self::route) with default options. Never awaits.
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
    /// expected free energy is chosen. `O(M d^2)` time for `M` models and `d` features.
    ///
    /// # Errors
    /// `NotAdmitted`; `NoEligibleModel` with every filter not passed; `NotFinite`, `DimensionMismatch`, `OutOfRange`, `TenantLimit`, `ClockBackwards`.
    pub fn route(&self, tenant: &str, request: &RoutingRequest, options: &RouteOptions) -> Result<RoutingDecision> {
        check_request(tenant, request, options)?;
        let x = self.features(request, options)?;
        let board = self.board.load();
        let around = Surroundings {
            config: &self.config,
            regimes: &self.regimes,
            adapter: self.adapter.as_deref(),
            multipliers: &board.multipliers,
        };
        let Some(admission) = &self.admission else {
            return Ok(lock(&self.routing).route(&around, tenant, request, options, x, None)?.0);
        };
        let (usd, tokens) = worst_case(&self.config, &board.multipliers, request, options);
        let now = options.now.unwrap_or_else(|| lock(&self.routing).clock());
        let asked = AdmissionRequest { tenant, usd, tokens, now };
        let reservation = admission.reserve(&asked).map_err(|denial| Error::NotAdmitted { denial })?;
        let found = lock(&self.routing).route(&around, tenant, request, options, x, Some(reservation));
        match found {
            Ok((decision, forgotten)) => {
                if let Some(forgotten) = forgotten {
                    admission.release(forgotten);
                }
                Ok(decision)
            }
            Err(error) => {
                admission.release(reservation);
                Err(error)
            }
        }
    }

    /// Learns from what came of a decision, once a decision. Outcomes may come late and in any order.
    ///
    /// # Errors
    /// `DuplicateOutcome`; `UnknownDecision` for one never made or forgotten; `NotFinite` and `OutOfRange` for the score or the dollars.
    pub fn record_outcome(&self, id: DecisionId, outcome: &Outcome) -> Result<()> {
        let reservation = lock(&self.routing).record_outcome(&self.config, &self.regimes, id, outcome)?;
        if let (Some(admission), Some(reservation)) = (&self.admission, reservation) {
            admission.commit(reservation, outcome.usd);
        }
        Ok(())
    }

    /// Lets prices move for `dt` market seconds under new loads, one a model (none: the old ones), and publishes them.
    ///
    /// # Errors
    /// `NotFinite`, `OutOfRange`, `DimensionMismatch`, `StepTooLarge { h: dt, max }` for a `dt` of more than a million steps, `Diverged`.
    pub fn tick(&self, dt: f64, loads: &[Load]) -> Result<EnergyReport> {
        let mut dynamics = lock(&self.dynamics);
        let market = *lock(&self.routing).market();
        let report = dynamics.tick(dt, loads, market.posterior())?;
        self.board.store(Arc::new(PriceBoard {
            multipliers: dynamics.log_prices().iter().map(|x| x.exp()).collect(),
            regime: market.regime(),
            band_bps: RegimeDynamics::blend(market.posterior()).band_bps.round() as u32,
        }));
        Ok(report)
    }

    /// Dollars for 1,000 output tokens of every model, in catalogue order: the catalogue price times `exp(x)`.
    pub fn prices(&self) -> Vec<f64> {
        let board = self.board.load();
        self.config.models.iter().zip(&board.multipliers).map(|(m, e)| m.output_usd_per_1k * e).collect()
    }

    /// Offers output tokens of a model for money, in base units. A quote is a function of the pool, the published prices and `now`,
    /// besides its running number.
    ///
    /// # Errors
    /// `OutOfRange` for an unknown model, and those of [`Pool::quote`].
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
        counter.quotes += 1;
        Ok(quote)
    }

    /// Executes a quote at a price of at most `limit`, all or nothing.
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
    pub fn pool(&self, model: &str) -> Result<Pool> {
        let model = self.find(|m| m.id == model)?;
        Ok(lock(&self.counters[model]).pool.clone())
    }

    /// Regime reported for the whole market, with the probability of each.
    pub fn regime(&self) -> (Regime, [f64; Regime::COUNT]) {
        let market = *lock(&self.routing).market();
        (market.regime(), *market.posterior())
    }

    /// How every model has served so far, in catalogue order.
    pub fn service(&self) -> Vec<ServiceReport> {
        let routing = lock(&self.routing);
        self.config.models.iter().zip(routing.service()).map(|(m, record)| record.report(&m.id)).collect()
    }

    /// Everything learned, decided, priced and traded so far, as bytes for [`MarketMakerBuilder::restore`].
    ///
    /// Configuration and parts of the caller's are not in them. Calls made at the same time are in it or not, decision by decision and pool by pool; for
    /// one moment of the whole let no other calls run.
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
        let mut w = Writer::new();
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

    fn load(&self, bytes: &[u8]) -> Result<()> {
        let mut r = Reader::new(bytes)?;
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
        let regime = Regime::ALL[r.index(Regime::COUNT)?];
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

    /// Features of the text, or the caller's, followed by the embedding at length 1.
    fn features(&self, request: &RoutingRequest, options: &RouteOptions) -> Result<Vec<f64>> {
        let text = self.featuriser.dim();
        let embedding = if self.config.embeddings { self.config.vector_dim } else { 0 };
        let mut x = vec![0.0; text + embedding];
        match &options.features {
            Some(features) => {
                super::hamiltonian::same_length("features", text, features)?;
                x[..text].copy_from_slice(features);
            }
            None => self.featuriser.features_into(&request.input, &mut x[..text])?,
        }
        if let Some(given) = &options.embedding {
            super::hamiltonian::same_length("embedding", embedding, given)?;
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
        check_features(&x)?;
        Ok(x)
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

/// Parts of a [`MarketMaker`], checked by [`build`](Self::build).
pub struct MarketMakerBuilder {
    config: Config,
    regimes: Option<RegimeModel>,
    featuriser: Option<Box<dyn Featuriser + Send + Sync>>,
    adapter: Option<Box<dyn TenantAdapter + Send + Sync>>,
    admission: Option<Box<dyn Admission + Send + Sync>>,
    substitutability: Option<Vec<f64>>,
}

impl MarketMakerBuilder {
    /// Another regime model; its threshold takes the place of the configuration's.
    #[must_use]
    pub fn regime_model(mut self, model: RegimeModel) -> Self {
        self.regimes = Some(model);
        self
    }

    /// Another featuriser in place of [`HashedText`].
    #[must_use]
    pub fn featuriser(mut self, featuriser: impl Featuriser + Send + Sync + 'static) -> Self {
        self.featuriser = Some(Box::new(featuriser));
        self
    }

    /// A tenant adapter.
    #[must_use]
    pub fn adapter(mut self, adapter: impl TenantAdapter + Send + Sync + 'static) -> Self {
        self.adapter = Some(Box::new(adapter));
        self
    }

    /// Budgets and rate limits, asked before every decision.
    #[must_use]
    pub fn admission(mut self, admission: impl Admission + Send + Sync + 'static) -> Self {
        self.admission = Some(Box::new(admission));
        self
    }

    /// How far models replace each other: `M x M`, row major, symmetric, not negative. By default
    /// `exp(-10 |quality_i - quality_j|) / (M - 1)`, a guess.
    #[must_use]
    pub fn substitutability(mut self, weights: Vec<f64>) -> Self {
        self.substitutability = Some(weights);
        self
    }

    /// Builds the market maker in the state of a [`snapshot`](MarketMaker::snapshot). The configuration may differ in its weights, but not in its models or
    /// the number of features. Decisions go on byte for byte as they would have.
    ///
    /// # Errors
    /// Those of [`build`](Self::build), and `BadSnapshot` for bytes that are damaged, of another version or of other models.
    pub fn restore(self, bytes: &[u8]) -> Result<MarketMaker> {
        let market = self.build()?;
        market.load(bytes)?;
        Ok(market)
    }

    /// Checks everything and builds the market maker.
    ///
    /// # Errors
    /// `InvalidConfig`; `DimensionMismatch`, `NotFinite` and `OutOfRange` for the substitutability.
    pub fn build(self) -> Result<MarketMaker> {
        let config = self.config;
        config.check()?;
        let n = config.models.len();
        let regimes = match self.regimes {
            Some(model) => model,
            None => RegimeModel::standard(config.transition_threshold)?,
        };
        let featuriser = match self.featuriser {
            Some(featuriser) => featuriser,
            None => Box::new(HashedText::new(config.buckets)?),
        };
        let dim = featuriser.dim().saturating_add(if config.embeddings { config.vector_dim } else { 0 });
        if dim == 0 || dim > MAX_FEATURES {
            return Err(Error::InvalidConfig { field: "features" });
        }
        let base = config.models.iter().map(|m| m.quality).collect();
        let linear = featuriser.bias().unwrap_or(0)..dim;
        let quality = QualityModel::new(dim, linear, base)?;
        let weights = self.substitutability.unwrap_or_else(|| default_substitutability(&config.models));
        let dynamics = PriceDynamics::new(weights, n, config.energy_scale)?;
        let counters = (0..n).map(|model| open_counter(&config, model)).collect::<Result<_>>()?;
        let routing = Routing::new(&config, &regimes, quality);
        let board = PriceBoard {
            multipliers: vec![1.0; n],
            regime: routing.market().regime(),
            band_bps: RegimeDynamics::blend(routing.market().posterior()).band_bps.round() as u32,
        };
        Ok(MarketMaker {
            regimes,
            featuriser,
            adapter: self.adapter,
            admission: self.admission,
            routing: Mutex::new(routing),
            dynamics: Mutex::new(dynamics),
            board: ArcSwap::from_pointee(board),
            counters,
            config,
        })
    }
}

impl fmt::Debug for MarketMakerBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MarketMakerBuilder").field("config", &self.config).finish_non_exhaustive()
    }
}

/// A pool with the configured tokens and their value at the catalogue price.
fn open_counter(config: &Config, model: usize) -> Result<Mutex<Counter>> {
    let mut pool = config.empty_pool(config.models[model].key)?;
    let tokens = u128::from(config.pool_tokens);
    let unaffordable = |_| Error::InvalidConfig { field: "pool_tokens" };
    let money = Mid::new(reference(config, model), 0).and_then(|mid| mid.floor_price(tokens)).map_err(unaffordable)?;
    pool.mint(tokens, money.max(1)).map_err(unaffordable)?;
    Ok(Mutex::new(Counter { pool, quotes: 0 }))
}

/// Catalogue price of one output token in base units of money.
fn reference(config: &Config, model: usize) -> f64 {
    config.models[model].output_usd_per_1k / 1_000.0 * config.base_units_per_usd as f64
}

fn default_substitutability(models: &[ModelSpec]) -> Vec<f64> {
    let others = models.len().saturating_sub(1).max(1) as f64;
    let weight = |a: &ModelSpec, b: &ModelSpec| (-10.0 * (a.quality - b.quality).abs()).exp() / others;
    models.iter().flat_map(|a| models.iter().map(move |b| weight(a, b))).collect()
}

/// A panic of a caller's closure leaves the state whole: nothing is changed before the closures have returned.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Beyond this the covariance of one model would take more than 200 MB.
const MAX_FEATURES: usize = 5_000;
