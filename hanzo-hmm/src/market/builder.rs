//! The parts of a market maker, put together and checked.

use std::fmt;
use std::sync::Mutex;

use arc_swap::ArcSwap;

use super::adapter::TenantAdapter;
use super::admission::Admission;
use super::catalogue::ModelSpec;
use super::categorical::Counts;
use super::config::Config;
use super::features::{Featuriser, HashedText};
use super::integrator::Integration;
use super::learner::{Classes, Learner, Likelihood};
use super::likelihood::{Learning, QualityModel};
use super::market_maker::{Counter, MarketMaker, PriceBoard};
use super::pool_curve::PoolCurve;
use super::price_dynamics::{PriceDynamics, RegimeConstants};
use super::quote::Mid;
use super::regime::RegimeModel;
use super::regime_means::MOST_LEARNED;
use super::routing::Routing;
use crate::{Error, Result};

/// Parts of a [`MarketMaker`], checked by [`build`](Self::build). Those that are not named are the built-in ones, under the [`Config`].
pub struct MarketMakerBuilder {
    config: Config,
    likelihood: Likelihood,
    curve: Option<PoolCurve>,
    integrator: Integration,
    regimes: Option<RegimeModel>,
    constants: Option<Vec<RegimeConstants>>,
    featuriser: Option<Box<dyn Featuriser + Send + Sync>>,
    adapter: Option<Box<dyn TenantAdapter + Send + Sync>>,
    admission: Option<Box<dyn Admission + Send + Sync>>,
    substitutability: Option<Vec<f64>>,
}

impl MarketMakerBuilder {
    pub(super) fn new(config: Config) -> Self {
        Self {
            config,
            likelihood: Likelihood::default(),
            curve: None,
            integrator: Integration::default(),
            regimes: None,
            constants: None,
            featuriser: None,
            adapter: None,
            admission: None,
            substitutability: None,
        }
    }

    pub(super) fn storage_path(&self) -> &str {
        self.config.storage_path()
    }

    /// Other models than the configuration's.
    #[must_use]
    pub fn models(mut self, models: Vec<ModelSpec>) -> Self {
        self.config = self.config.models(models);
        self
    }

    /// Another likelihood than the linear one.
    #[must_use]
    pub fn likelihood(mut self, likelihood: Likelihood) -> Self {
        self.likelihood = likelihood;
        self
    }

    /// Another curve for every pool than the constant product with the configuration's fee. Quotes are still at least the middle price less its band.
    ///
    /// ```
    /// use hanzo_hmm::market::{Suzuki4, YieldSpace};
    /// use hanzo_hmm::{Config, MarketMaker};
    ///
    /// let market = MarketMaker::builder(Config::default())
    ///     .curve(YieldSpace::new(1, 2, 30, 10_000)?)
    ///     .integrator(Suzuki4::default())
    ///     .build()?;
    /// # assert!(market.prices().len() == 6);
    /// # Ok::<(), hanzo_hmm::Error>(())
    /// ```
    #[must_use]
    pub fn curve(mut self, curve: impl Into<PoolCurve>) -> Self {
        self.curve = Some(curve.into());
        self
    }

    /// Another integrator of the prices than velocity Verlet.
    #[must_use]
    pub fn integrator(mut self, integrator: impl Into<Integration>) -> Self {
        self.integrator = integrator.into();
        self
    }

    /// Another regime model; its number of regimes and its threshold take the place of the configuration's.
    #[must_use]
    pub fn regime_model(mut self, model: RegimeModel) -> Self {
        self.regimes = Some(model);
        self
    }

    /// What each regime of the model does to prices, one entry a regime. Default: [`RegimeConstants::of`] for the four named ones; those of another
    /// number have, in the order of the model, constants in equal steps from exploitation to crisis.
    #[must_use]
    pub fn regime_constants(mut self, constants: Vec<RegimeConstants>) -> Self {
        self.constants = Some(constants);
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

    /// Builds the market maker in the state of a [`snapshot`](MarketMaker::snapshot).
    ///
    /// The configuration may differ in its weights, and the models in their prices and properties, but not in the models' ids, keys and order, the
    /// number of regimes and of features, or what is learned in which way (the likelihood and its classes, `shared_quality`, `neighbours` and
    /// `learn_regimes` on or off, ages by regime); `max_decisions` and `max_tenants` must hold what was kept. Under the same configuration
    /// decisions go on byte for byte as they would have. What was decided and traded after the snapshot is not in it: see
    /// [there](MarketMaker::snapshot).
    ///
    /// # Errors
    /// Those of [`build`](Self::build), and `BadSnapshot` for bytes that are damaged, of another version, of other models, or learned in another way.
    pub fn restore(self, bytes: &[u8]) -> Result<MarketMaker> {
        let market = self.build()?;
        match market.load(bytes) {
            Ok(()) => Ok(market),
            Err(error @ Error::BadSnapshot { .. }) => Err(error),
            // Values that no part takes from anyone.
            Err(_) => Err(Error::BadSnapshot { what: "value" }),
        }
    }

    /// Checks everything and builds the market maker, with every pool full, every price that of the catalogue, and nothing learned. With the linear
    /// likelihood of `M` models and `d` numbers that its regression sees it takes `8 M d^2` bytes to begin with.
    ///
    /// # Errors
    /// `InvalidConfig` with the field of the configuration, or `features` for more than 5,000 of them or none where they are read, `classes` for
    /// none or for more than 2^19 counts (classes times models times regimes), `regime_constants` for constants out of range; `DimensionMismatch`
    /// for a number of constants that is not that of the regimes; `DimensionMismatch`, `NotFinite` and `OutOfRange` for the substitutability.
    pub fn build(self) -> Result<MarketMaker> {
        let config = self.config;
        config.check()?;
        let n = config.models.len();
        let regimes = match self.regimes {
            Some(model) => model,
            None => RegimeModel::with_regimes(config.num_regimes, config.transition_threshold)?,
        };
        let featuriser = match self.featuriser {
            Some(featuriser) => featuriser,
            None => Box::new(HashedText::new(config.buckets)?),
        };
        let text_features = featuriser.dim();
        let dim = text_features.saturating_add(if config.embeddings { config.vector_dim } else { 0 });
        let reads_features = !matches!(self.likelihood, Likelihood::Categorical(Classes::Given(_)));
        if reads_features && (dim == 0 || dim > MAX_FEATURES) {
            return Err(Error::InvalidConfig { field: "features" });
        }
        if config.learn_regimes && regimes.regimes() > MOST_LEARNED {
            return Err(Error::InvalidConfig { field: "learn_regimes" });
        }
        let (learner, classes) = match self.likelihood {
            Likelihood::Linear => {
                let base = config.models.iter().map(|m| m.quality).collect();
                let linear = featuriser.bias().unwrap_or(0)..dim;
                let learning = Learning {
                    forgetting: config.forgetting,
                    discount: config.discount,
                    shared: config.shared_quality,
                    neighbours: config.neighbours,
                };
                (Learner::Linear(Box::new(QualityModel::new(dim, linear, regimes.regimes(), base, learning)?)), 1)
            }
            Likelihood::Categorical(classes) => {
                let number = classes.number();
                if number == 0 || number.saturating_mul(n).saturating_mul(regimes.regimes()) > MAX_ROWS {
                    return Err(Error::InvalidConfig { field: "classes" });
                }
                let models = config.models.iter().map(|m| (m.quality, m.latency_ms));
                let limit = config.default_latency_ms as f64;
                let read = if reads_features { dim } else { 0 };
                (
                    Learner::Categorical(Counts::new(
                        [number, regimes.regimes()],
                        read,
                        (config.forgetting, config.discount),
                        models,
                        limit,
                    )),
                    number,
                )
            }
        };
        let weights = self.substitutability.unwrap_or_else(|| default_substitutability(&config.models));
        let constants = self.constants.unwrap_or_else(|| RegimeConstants::defaults(regimes.regimes()));
        if constants.len() != regimes.regimes() {
            let (expected, found) = (regimes.regimes(), constants.len());
            return Err(Error::DimensionMismatch { what: "regime constants", expected, found });
        }
        constants.iter().try_for_each(RegimeConstants::check)?;
        let market = regimes.filter();
        let dynamics = PriceDynamics::new(weights, n, config.energy_scale, constants, market.posterior())?
            .integrated_by(self.integrator);
        let curve = match self.curve {
            Some(curve) => curve,
            None => config.curve()?.into(),
        };
        let counters = (0..n).map(|model| open_counter(&config, model, curve)).collect::<Result<_>>()?;
        let routing = Routing::new(&config, regimes, learner, classes);
        let board = PriceBoard { multipliers: vec![1.0; n], regime: market.regime(), band_bps: dynamics.band_bps() };
        Ok(MarketMaker {
            preferences: config.preferences(),
            featuriser,
            text_features,
            reads_features,
            adapter: self.adapter,
            admission: self.admission,
            routing: Mutex::new(routing),
            dynamics: Mutex::new(dynamics),
            board: ArcSwap::from_pointee(board),
            counters,
            spare: Mutex::new(Vec::new()),
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
fn open_counter(config: &Config, model: usize, curve: PoolCurve) -> Result<Mutex<Counter>> {
    let mut pool = config.empty_pool(config.models[model].key, curve)?;
    let tokens = u128::from(config.pool_tokens);
    let unaffordable = |_| Error::InvalidConfig { field: "pool_tokens" };
    let money = Mid::new(reference(config, model), 0).and_then(|mid| mid.floor_price(tokens)).map_err(unaffordable)?;
    pool.mint(tokens, money.max(1)).map_err(unaffordable)?;
    Ok(Mutex::new(Counter { pool, quotes: 0 }))
}

/// Catalogue price of one output token in base units of money.
pub(super) fn reference(config: &Config, model: usize) -> f64 {
    config.models[model].output_usd_per_1k / 1_000.0 * config.base_units_per_usd as f64
}

fn default_substitutability(models: &[ModelSpec]) -> Vec<f64> {
    let others = models.len().saturating_sub(1).max(1) as f64;
    let weight = |a: &ModelSpec, b: &ModelSpec| (-10.0 * (a.quality - b.quality).abs()).exp() / others;
    models.iter().flat_map(|a| models.iter().map(move |b| weight(a, b))).collect()
}

/// Beyond this the covariance of one model would take more than 200 MB.
const MAX_FEATURES: usize = 5_000;
/// Counts of a class, a model and a regime, which take a quarter of a kilobyte.
const MAX_ROWS: usize = 1 << 19;
