//! Configuration of a market maker.

use super::aging::Discount;
use super::catalogue::{self, ModelSpec, Precision, default_catalogue};
use super::cooldown::CooldownPolicy;
use super::curve::{ConstantProduct, Curve};
use super::free_energy::Preferences;
use super::memory::MOST_NEIGHBOURS;
use super::pool::{Pool, QuoteTerms};
use super::regime::{Regime, RegimeModel};
use super::regime_means::MOST_LEARNED;
use crate::{Error, Result};

/// Declares the fields of [`Config`] once: the struct, its defaults, its setters, and the form that is read before it is checked.
macro_rules! config {
    ($($(#[$doc:meta])* $name:ident: $type:ty = $default:expr;)*) => {
        /// Settings of a market maker, with defaults for all of them.
        ///
        /// Setters can be chained and check nothing; the whole is checked when a market maker is built from it, and when it is deserialised, and
        /// what is out of range is refused as `InvalidConfig` with its name. Weights and nats are in [0, 10^6] unless it is said otherwise. Eight
        /// keys (`num_regimes`, `transition_threshold`, `energy_scale`, `quantization_bits`, `efe_precision`, `db_path`, `vector_dim`,
        /// `adapter_cache_size`) are those of the `[hllm]` table; unknown keys are refused.
        ///
        /// ```
        /// use hanzo_hmm::{Config, MarketMaker};
        ///
        /// let market = MarketMaker::builder(Config::default().gamma(32.0).hard_quality(true)).build()?;
        /// assert_eq!(market.prices().len(), 6);
        /// assert!(MarketMaker::builder(Config::default().quantization_bits(2)).build().is_err());
        /// // Ways of learning that are off by default.
        /// let config = Config::default().forgetting(0.998).shared_quality(true).neighbours(4_096).learn_regimes(true);
        /// assert!(MarketMaker::builder(config).build().is_ok());
        /// # Ok::<(), hanzo_hmm::Error>(())
        /// ```
        #[derive(Debug, Clone, PartialEq)]
        #[cfg_attr(
            feature = "serde",
            derive(serde::Serialize, serde::Deserialize),
            serde(try_from = "Unchecked")
        )]
        pub struct Config {
            $(pub(super) $name: $type,)*
        }

        impl Default for Config {
            fn default() -> Self {
                Self { $($name: $default,)* }
            }
        }

        impl Config {
            $(
                $(#[$doc])*
                #[must_use]
                pub fn $name(mut self, $name: $type) -> Self {
                    self.$name = $name;
                    self
                }
            )*
        }

        #[cfg(feature = "serde")]
        #[derive(serde::Deserialize)]
        #[serde(default, deny_unknown_fields)]
        struct Unchecked {
            $($name: $type,)*
        }

        #[cfg(feature = "serde")]
        impl Default for Unchecked {
            fn default() -> Self {
                let Config { $($name,)* } = Config::default();
                Self { $($name,)* }
            }
        }

        #[cfg(feature = "serde")]
        impl TryFrom<Unchecked> for Config {
            type Error = Error;

            fn try_from(raw: Unchecked) -> Result<Self> {
                let config = Self { $($name: raw.$name,)* };
                config.check()?;
                Ok(config)
            }
        }
    };
}

config! {
    /// Number of regimes, 1 to [`Regime::MOST`]; a [`regime_model`](crate::market::MarketMakerBuilder::regime_model) brings its own. Default 4, the
    /// named ones; others are those of [`RegimeModel::with_regimes`].
    num_regimes: usize = Regime::COUNT;
    /// Lead in probability by which another regime takes over as the reported one, in [0, 1]. Default 0.15.
    transition_threshold: f64 = 0.15;
    /// Whether the means of the regimes follow the observations of all requests, by online EM: a mean moves by what is held to belong to its
    /// regime, against the weight of 20 observations for the mean that it began with. For up to 16 regimes, at `O(S^4 + S^3 D)` a decision with `D`
    /// observations in `S` regimes, with allocation; whoever sends observations moves the means. Default no.
    learn_regimes: bool = false;
    /// Factor on the potential energy of prices, in (0, 10^6]. Default 1.
    energy_scale: f64 = 1.0;
    /// Bits a weight of quantised tenant adapters; only 1 exists. Default 1.
    quantization_bits: u32 = 1;
    /// Free energies within this many nats of the least count as equal, and the cheapest model is taken; without effect on choices that are drawn
    /// with a seed. Default 0.01.
    efe_precision: f64 = 0.01;
    /// Where the caller keeps its data: the key under which a [`Store`](crate::market::Store) is asked. Default `./hllm_storage.db`.
    db_path: String = "./hllm_storage.db".to_owned();
    /// Length of an embedding, 1 to 16,384, where [`embeddings`](Self::embeddings) are on. Default 768.
    vector_dim: usize = 768;
    /// Tenants whose adapters a caller's [`TenantAdapter`](crate::market::TenantAdapter) should keep at hand, at least 1; the market maker itself
    /// makes nothing of it. Default 100.
    adapter_cache_size: usize = 100;
    /// The models. Default: [`default_catalogue`] with 4-bit weights.
    models: Vec<ModelSpec> = default_catalogue(Precision::FourBit);
    /// Whether requests carry embeddings, which are appended to their features. Default no.
    embeddings: bool = false;
    /// Buckets of the hashed text features, a power of two up to 65,536. Default 256.
    buckets: usize = 256;
    /// Precision of the choice, in [10^-6, 10^6]: `q(u)` is proportional to `E(u) exp(-gamma G(u))`. Default 16.
    gamma: f64 = 16.0;
    /// Nats that a good answer is worth against a bad one. Default 10, to be calibrated.
    quality_weight: f64 = 10.0;
    /// Nats that meeting the asked quality is worth against missing it. Default 2, a guess.
    threshold_weight: f64 = 2.0;
    /// Nats a unit of latency cost: an answer within half the limit costs 0 units, within the limit 1/4, within twice the limit 1, later or never 2.
    /// Default 1, to be calibrated.
    latency_weight: f64 = 1.0;
    /// Quality that one dollar is worth. Default 200, to be calibrated.
    usd_weight: f64 = 200.0;
    /// Weight of the information to be gained about a model. Default 1, calibrated on a third of a table of real outcomes.
    novelty_weight: f64 = 1.0;
    /// Nats of habit (`ln E`) for a preferred model; in free energy they count `1 / gamma`. Default 0.5, to be calibrated.
    preference_bonus: f64 = 0.5;
    /// Nats of free energy for another model than the one that served the session last. Default 0.5, a guess.
    switch_cost: f64 = 0.5;
    /// Whether the quality threshold of a request is a hard filter. Default no.
    hard_quality: bool = false;
    /// Latency limit in milliseconds, at least 1, for requests that name none; it only sets the scale of the latency bins. Default 2,000.
    default_latency_ms: u64 = 2_000;
    /// Outcomes later than this many decisions teach quality, but no longer regime and health. Default 256.
    max_lag: u64 = 256;
    /// Last decisions that are kept for their outcome, answered ones included, at least 1. Older ones are forgotten, and what was reserved for them
    /// is released; no time does that. One that waits keeps its features (2 kB by default), here and in snapshots. Default 65,536.
    max_decisions: usize = 65_536;
    /// Tenants that may be known, at least 1. None is ever forgotten: decisions for further names are refused (`TenantLimit`), so check who asks
    /// before names are taken from requests. Default 65,536.
    max_tenants: usize = 65_536;
    /// Largest part of what a model has learned that may come from one tenant; never less than twice an equal share among
    /// the tenants heard so far. In (0, 1]; 1 turns the cap off. Default 0.05.
    tenant_cap: f64 = 0.05;
    /// Factor by which old outcomes count less with each new one of their model (and class, with the categorical likelihood), in [0.995, 1].
    /// Default 1: none is forgotten.
    forgetting: f64 = 1.0;
    /// Whether outcomes age by the later ones of their regime or by all. Default: by those of their regime.
    discount: Discount = Discount::Regime;
    /// Whether the linear likelihood takes a part of the quality to be common to all models, learned from the outcomes of all. Default no: on a
    /// table of real outcomes it helps in some scenarios and harms in others.
    shared_quality: bool = false;
    /// Last outcomes among which the linear likelihood looks for the nearest ones to a request, up to 16,384; what they say beyond the regression
    /// is one more feature of each model. Every decision and outcome goes through all of them, in `O(n D)` for `n` outcomes of `D` features.
    /// Default 0: none.
    neighbours: usize = 0;
    /// When a failing model is taken out of service; at least one failure. It needs the [time](crate::market::RouteOptions::now) of every decision.
    cooldown: CooldownPolicy = CooldownPolicy::default();
    /// Swap fee of the pools in basis points, below 10,000; a [`curve`](crate::market::MarketMakerBuilder::curve) brings its own. Default 30.
    fee_bps: u32 = 30;
    /// Life of a quote in milliseconds, at least 1; numbers of executed quotes are kept in memory for that long. Default 2,000.
    quote_life_ms: u64 = 2_000;
    /// Slippage in basis points that a quote allows, up to 10,000. Default 50.
    slippage_bps: u32 = 50;
    /// Base units of money in a dollar, at least 1. Default 10^9.
    base_units_per_usd: u64 = 1_000_000_000;
    /// Tokens in each pool at the start, at least 1, with their value at the catalogue price on the other side, and enough of both for a first mint
    /// (their product above 1,001 squared, and below the limits of a price). Default 10^9.
    pool_tokens: u64 = 1_000_000_000;
}

impl Config {
    /// The path given as `db_path`: the key under which [`save`](crate::MarketMaker::save) and [`open`](crate::market::MarketMakerBuilder::open)
    /// ask a store.
    pub fn storage_path(&self) -> &str {
        &self.db_path
    }

    /// The size given as `adapter_cache_size`, for the caller's own adapters.
    pub fn adapters_cached(&self) -> usize {
        self.adapter_cache_size
    }

    pub(super) fn check(&self) -> Result<()> {
        let require = |holds: bool, field| if holds { Ok(()) } else { Err(Error::InvalidConfig { field }) };
        let weight = |value: f64| (0.0..=MAX_WEIGHT).contains(&value);
        require(self.quantization_bits == 1, "quantization_bits")?;
        require(self.energy_scale > 0.0 && self.energy_scale <= MAX_WEIGHT, "energy_scale")?;
        require(weight(self.efe_precision), "efe_precision")?;
        require((1..=MAX_EMBEDDING).contains(&self.vector_dim), "vector_dim")?;
        require(self.adapter_cache_size > 0, "adapter_cache_size")?;
        require(self.gamma >= LEAST_GAMMA && weight(self.gamma), "gamma")?;
        require(weight(self.quality_weight), "quality_weight")?;
        require(weight(self.threshold_weight), "threshold_weight")?;
        require(weight(self.latency_weight), "latency_weight")?;
        require(weight(self.usd_weight), "usd_weight")?;
        require(weight(self.novelty_weight), "novelty_weight")?;
        require(weight(self.preference_bonus), "preference_bonus")?;
        require(weight(self.switch_cost), "switch_cost")?;
        require(self.default_latency_ms > 0, "default_latency_ms")?;
        require(self.max_decisions > 0, "max_decisions")?;
        require(self.max_tenants > 0, "max_tenants")?;
        require(self.tenant_cap > 0.0 && self.tenant_cap <= 1.0, "tenant_cap")?;
        require((0.995..=1.0).contains(&self.forgetting), "forgetting")?;
        require(self.neighbours <= MOST_NEIGHBOURS, "neighbours")?;
        require(!self.learn_regimes || self.num_regimes <= MOST_LEARNED, "learn_regimes")?;
        require(self.cooldown.failures > 0, "cooldown")?;
        require(self.base_units_per_usd > 0, "base_units_per_usd")?;
        require(self.pool_tokens > 0, "pool_tokens")?;
        catalogue::check(&self.models)?;
        self.empty_pool([1; 32], self.curve()?)?;
        RegimeModel::with_regimes(self.num_regimes, self.transition_threshold)?;
        Ok(())
    }

    pub(super) fn empty_pool<C: Curve>(&self, model: [u8; 32], curve: C) -> Result<Pool<C>> {
        Pool::new(model, curve, QuoteTerms { life_ms: self.quote_life_ms, slippage_bps: self.slippage_bps })
    }

    pub(super) fn preferences(&self) -> Preferences {
        Preferences::new(
            self.quality_weight,
            self.threshold_weight,
            self.latency_weight,
            self.usd_weight,
            self.novelty_weight,
        )
    }

    pub(super) fn curve(&self) -> Result<ConstantProduct> {
        ConstantProduct::new(self.fee_bps, 10_000).map_err(|_| Error::InvalidConfig { field: "fee_bps" })
    }
}

const MAX_WEIGHT: f64 = 1e6;
/// So that habits over gamma, summed over a horizon, stay numbers.
const LEAST_GAMMA: f64 = 1e-6;
const MAX_EMBEDDING: usize = 16_384;
