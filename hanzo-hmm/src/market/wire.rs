//! The JSON of the routing endpoint `POST /v1/hllm/route`.

use serde::{Deserialize, Serialize};

use super::regime::Regime;
use super::request::{RouteOptions, RoutingDecision, RoutingRequest};

/// Body of a call. Keys that are not its own are ignored, and values are checked by [`route`](crate::MarketMaker::route).
///
/// ```
/// use hanzo_hmm::market::{RouteAnswer, RouteCall, RouteOptions};
/// use hanzo_hmm::{Config, MarketMaker};
///
/// let body = r#"{ "user_id": "tenant-42", "input": "What is a lattice?", "preferences": { "min_quality": 0.7 } }"#;
/// let (tenant, request, options) = serde_json::from_str::<RouteCall>(body)?.into_parts();
/// let options = RouteOptions { now: Some(1_000), ..options }; // milliseconds of your clock
/// let market = MarketMaker::builder(Config::default()).build()?;
/// let answer = RouteAnswer::from(&market.route(&tenant, &request, &options)?);
/// assert!(serde_json::to_string(&answer)?.contains("\"expected_quality\":"));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RouteCall {
    /// The tenant.
    pub user_id: String,
    /// Text of the request.
    pub input: String,
    /// Earlier text that is sent along.
    #[serde(default)]
    pub context: Vec<String>,
    /// What the user would like.
    #[serde(default)]
    pub preferences: RouteCallPreferences,
}

/// What the user of a call would like.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub struct RouteCallPreferences {
    /// Most dollars for the whole request.
    #[serde(default)]
    pub max_cost_usd: Option<f64>,
    /// Quality in [0, 1] that an answer should reach.
    #[serde(default)]
    pub min_quality: Option<f64>,
}

impl RouteCall {
    /// The arguments of [`MarketMaker::route`](crate::MarketMaker::route): tenant, request and options. The time is not in them: set
    /// [`RouteOptions::now`].
    pub fn into_parts(self) -> (String, RoutingRequest, RouteOptions) {
        let mut request = RoutingRequest { input: self.input, context: self.context, ..RoutingRequest::default() };
        request.preferences.quality_threshold = self.preferences.min_quality.unwrap_or(0.0);
        let options = RouteOptions { max_cost_usd: self.preferences.max_cost_usd, ..RouteOptions::default() };
        (self.user_id, request, options)
    }
}

/// Body of the answer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RouteAnswer {
    /// Id of the model.
    pub model: String,
    /// Regime reported for the tenant.
    pub regime: Regime,
    /// Total expected free energy of the choice in nats.
    pub efe: f64,
    /// Expected cost of the request in dollars.
    pub estimated_cost_usd: f64,
    /// Expected quality in [0, 1].
    pub expected_quality: f64,
}

impl From<&RoutingDecision> for RouteAnswer {
    fn from(decision: &RoutingDecision) -> Self {
        Self {
            model: decision.model.clone(),
            regime: decision.regime,
            efe: decision.efe.total,
            estimated_cost_usd: decision.estimated_cost_usd,
            expected_quality: decision.expected_quality,
        }
    }
}
