//! Requests, decisions and outcomes: the plain structs that go in and out of the market maker.

use super::eligibility::Rejection;
use super::free_energy::Efe;
use super::quote::Millis;
use super::regime::Regime;

/// A request to be routed.
#[derive(Debug, Clone, PartialEq, Default)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct RoutingRequest {
    /// Text of the request. Every four characters of it and of the context count as an input token.
    pub input: String,
    /// Earlier text that is sent along; it counts as input tokens, and is not read otherwise.
    pub context: Vec<String>,
    /// What the user would like.
    pub preferences: UserPreferences,
    /// What the model must offer.
    pub requirements: PerformanceRequirements,
    /// Observations of the market for the regime filter (by default load, latency deviation, error rate, price pressure);
    /// empty if there are none.
    pub observations: Vec<f64>,
}

/// What the user would like.
#[derive(Debug, Clone, PartialEq, Default)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct UserPreferences {
    /// Models with a higher expected latency are not eligible. It also sets the scale on which latency is liked or not.
    pub max_latency_ms: Option<u64>,
    /// Models with a higher price for one token, in dollars, the dearer of input and output, are not eligible. Not negative.
    pub max_cost_per_token: Option<f64>,
    /// Models that get a bonus, by id; others stay eligible, and unknown ids are ignored.
    pub preferred_models: Vec<String>,
    /// Quality in [0, 1] that an answer should reach: a preference, unless the configuration makes it hard. 0 asks for none.
    pub quality_threshold: f64,
}

/// What the model must offer.
#[derive(Debug, Clone, PartialEq, Default)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct PerformanceRequirements {
    /// Least output tokens a second of the catalogue. Not negative.
    pub min_tokens_per_second: Option<f64>,
    /// Most memory of the catalogue, in GB. Not negative.
    pub max_memory_gb: Option<f64>,
    /// Whether function calling is needed.
    pub requires_function_calling: bool,
    /// Whether images are sent.
    pub requires_vision: bool,
}

/// Everything else a caller may say about one decision.
///
/// ```
/// use hanzo_hmm::market::RouteOptions;
/// use hanzo_hmm::{Config, MarketMaker, RoutingRequest};
///
/// let market = MarketMaker::builder(Config::default().switch_cost(2.0)).build()?;
/// let request = RoutingRequest::default();
/// let best = market.route("tenant-42", &request, &RouteOptions::default())?;
/// // The caches of this session are warm at another model. For one request it stays there, for many it moves.
/// let warm = Some(best.fallbacks[0].model.clone());
/// let session = |horizon| RouteOptions { session_model: warm.clone(), horizon, ..RouteOptions::default() };
/// assert_eq!(Some(market.route("tenant-42", &request, &session(1))?.model), warm);
/// assert_eq!(market.route("tenant-42", &request, &session(64))?.model, best.model);
/// # Ok::<(), hanzo_hmm::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(default, deny_unknown_fields))]
pub struct RouteOptions {
    /// Features instead of those of the featuriser, of the same number, each at most 10^6 in size.
    pub features: Option<Vec<f64>>,
    /// An embedding of the request, of [`Config::vector_dim`](crate::Config::vector_dim) numbers, if the configuration asks for
    /// [embeddings](crate::Config::embeddings) (else it is refused); it is divided by its Euclidean length. None counts as zeros.
    pub embedding: Option<Vec<f64>>,
    /// The caller's class of the request, handed to the tenant adapter and to a [categorical likelihood](super::Likelihood::Categorical), which
    /// refuses one that it does not have.
    pub class: usize,
    /// Most dollars for the whole request, as it is estimated. Not negative.
    pub max_cost_usd: Option<f64>,
    /// Tokens expected in the answer, up to 10^9. Default 200.
    pub expected_output_tokens: f64,
    /// Models that must not be used, by id; unknown ids are ignored.
    pub denied_models: Vec<String>,
    /// Id of the model that served this session last, whose caches are warm: every other one costs
    /// [`Config::switch_cost`](crate::Config::switch_cost) more. An unknown id counts as none.
    pub session_model: Option<String>,
    /// Requests of the session to plan for, this one included, 1 to 64: what this one gains is weighed against what leaving its model would cost
    /// later. Each further request costs one more evaluation of every model. Default 1.
    pub horizon: usize,
    /// The time of the decision, not before that of an earlier one (`ClockBackwards { seen, .. }`; where threads read a clock before they ask,
    /// ask again with `seen`). Without it, the latest time seen: give it always or never, as [cooldowns](super::CooldownPolicy) begin
    /// and end by it alone.
    pub now: Option<Millis>,
    /// If given, the model is drawn from the choice probabilities with this seed; otherwise the best one is taken. Use another seed for each
    /// decision.
    pub seed: Option<u64>,
}

impl Default for RouteOptions {
    /// 200 output tokens, a horizon of this request alone, nothing else.
    fn default() -> Self {
        Self {
            features: None,
            embedding: None,
            class: 0,
            max_cost_usd: None,
            expected_output_tokens: 200.0,
            denied_models: Vec::new(),
            session_model: None,
            horizon: 1,
            now: None,
            seed: None,
        }
    }
}

/// Number of a decision.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct DecisionId(u64);

impl DecisionId {
    /// The number.
    pub fn get(self) -> u64 {
        self.0
    }
}

impl From<u64> for DecisionId {
    fn from(id: u64) -> Self {
        Self(id)
    }
}

/// Where a request goes, and why.
#[derive(Debug, Clone, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct RoutingDecision {
    /// Number under which the outcome is to be recorded.
    pub id: DecisionId,
    /// Id of the model.
    pub model: String,
    /// Regime reported for the tenant.
    pub regime: Regime,
    /// Probability of each regime, in the order of the [`RegimeModel`](super::RegimeModel).
    pub regime_posterior: Vec<f64>,
    /// Whether the observations were too far from every regime to be used.
    pub outlier: bool,
    /// Expected free energy of the choice for this request, without habits and switches.
    pub efe: Efe,
    /// Choice probability `q(u)` of the model, over all courses of the horizon that begin with it, among the eligible ones: the propensity when
    /// a seed was given, else how clear the choice is.
    pub probability: f64,
    /// Expected cost of the request in dollars: input and expected output tokens at the prices of now.
    pub estimated_cost_usd: f64,
    /// Expected quality in [0, 1].
    pub expected_quality: f64,
    /// Expected latency in milliseconds: the mean of the model's answers so far, with the catalogue's value as four of them.
    pub expected_latency_ms: f64,
    /// Whether the asked quality is reached with a probability of at least one half.
    pub meets_quality: bool,
    /// The next best eligible models, best first, at most 8.
    pub fallbacks: Vec<Candidate>,
    /// Every filter that some model did not pass.
    pub rejected: Vec<Rejection>,
}

impl Default for RoutingDecision {
    /// Nothing decided yet: memory for [`MarketMaker::route_into`](crate::MarketMaker::route_into).
    fn default() -> Self {
        Self {
            id: DecisionId(0),
            model: String::new(),
            regime: Regime::Exploration,
            regime_posterior: Vec::new(),
            outlier: false,
            efe: Efe::ZERO,
            probability: 0.0,
            estimated_cost_usd: 0.0,
            expected_quality: 0.0,
            expected_latency_ms: 0.0,
            meets_quality: false,
            fallbacks: Vec::new(),
            rejected: Vec::new(),
        }
    }
}

/// An eligible model with its score.
#[derive(Debug, Clone, PartialEq, Default)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Candidate {
    /// Id of the model.
    pub model: String,
    /// Its expected free energy for this request, without habits and switches.
    pub efe: Efe,
    /// Its choice probability.
    pub probability: f64,
    /// Expected cost of the request in dollars.
    pub estimated_cost_usd: f64,
    /// Expected quality in [0, 1].
    pub expected_quality: f64,
    /// Expected latency in milliseconds.
    pub expected_latency_ms: f64,
}

/// What came of a decision.
///
/// Record one for every decision, failures included; if fallbacks were called too,
/// [one for each call](crate::MarketMaker::record_calls).
#[derive(Debug, Clone, Copy, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Outcome {
    /// Quality of the answer in [0, 1]; `None` if there was none or nobody judged it.
    pub score: Option<f64>,
    /// Time of the call in milliseconds, from the decision on; the outcome counts as come at the decision's time plus this.
    pub latency_ms: u64,
    /// Dollars spent, in [0, 10^9].
    pub usd: f64,
    /// How the call ended.
    pub status: Status,
}

impl Outcome {
    /// A successful answer of this quality.
    pub fn success(score: f64, latency_ms: u64, usd: f64) -> Self {
        Self { score: Some(score), latency_ms, usd, status: Status::Success }
    }

    /// A call that gave no answer and cost nothing; it has no score, which is what teaches the quality of a model under the linear likelihood.
    pub fn failure(status: Status, latency_ms: u64) -> Self {
        Self { score: None, latency_ms, usd: 0.0, status }
    }
}

/// How a call ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub enum Status {
    /// With an answer.
    Success,
    /// No answer in time.
    Timeout,
    /// HTTP 5xx.
    ServerError,
    /// HTTP 429.
    RateLimited {
        /// Pause the server asked for, in milliseconds, cut to [`CooldownPolicy::max_ms`](super::CooldownPolicy::max_ms).
        retry_after_ms: Option<u64>,
    },
    /// The connection failed.
    Connection,
    /// HTTP 402.
    OutOfBudget {
        /// Time until the budget is renewed, in milliseconds.
        reset_ms: Option<u64>,
    },
    /// HTTP 400: the request was at fault.
    BadRequest,
    /// HTTP 404 of something the request named.
    NotFound,
    /// Refused by a content filter.
    ContentFiltered,
}

impl Status {
    /// Whether the model is to blame, so that it counts towards a pause.
    pub(crate) fn counts_as_failure(self) -> bool {
        matches!(self, Self::Timeout | Self::ServerError | Self::RateLimited { .. } | Self::Connection)
    }
}
