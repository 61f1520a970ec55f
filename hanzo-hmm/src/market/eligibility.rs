//! Hard filters: what a model must offer before it is scored.

use super::catalogue::ModelSpec;
use super::request::{RouteOptions, RoutingRequest};

/// Why a model was not eligible.
#[derive(Debug, Clone, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Rejection {
    /// Id of the model.
    pub model: String,
    /// The filter it did not pass.
    pub reason: RejectionReason,
    /// The limit, in the unit of the filter; for a yes-or-no filter what was wanted (1 or 0).
    pub limit: f64,
    /// What the model has.
    pub actual: f64,
}

/// The filters, in the order in which they are applied. All but the last are applied to every model; [`Quality`](Self::Quality) to those that pass
/// the others.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub enum RejectionReason {
    /// On the deny list of the request.
    Denied,
    /// Takes no images.
    Vision,
    /// Cannot call functions.
    FunctionCalling,
    /// Input and expected output do not fit; tokens.
    ContextLength,
    /// Needs more memory than there is; GB.
    Memory,
    /// Too slow; tokens a second.
    TokensPerSecond,
    /// A token is too dear, the dearer of input and output; dollars.
    CostPerToken,
    /// The request is too dear; dollars.
    CostPerRequest,
    /// Expected to answer too late; milliseconds.
    Latency,
    /// Out of service after failures; the limit is the time now, the actual value the time of return, in milliseconds.
    Cooldown,
    /// Probability of reaching the asked quality below one half, where the configuration makes it a filter.
    Quality,
}

/// A [`Rejection`] before it is spelt out.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Refusal {
    /// Place in the catalogue.
    pub(crate) model: usize,
    pub(crate) reason: RejectionReason,
    pub(crate) limit: f64,
    pub(crate) actual: f64,
}

/// What a model would cost and how it behaves now.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Estimate {
    pub(crate) usd: f64,
    pub(crate) usd_per_token: f64,
    pub(crate) latency_ms: f64,
    pub(crate) tokens: f64,
}

/// Appends every filter up to latency that the model does not pass; true if it passes all.
pub(crate) fn check(
    model: usize,
    spec: &ModelSpec,
    request: &RoutingRequest,
    options: &RouteOptions,
    estimate: &Estimate,
    out: &mut Vec<Refusal>,
) -> bool {
    use RejectionReason as R;
    let (wishes, needs) = (&request.preferences, &request.requirements);
    let before = out.len();
    let mut push = |reason, limit, actual| out.push(Refusal { model, reason, limit, actual });
    if options.denied_models.contains(&spec.id) {
        push(R::Denied, 0.0, 1.0);
    }
    if needs.requires_vision && !spec.vision {
        push(R::Vision, 1.0, 0.0);
    }
    if needs.requires_function_calling && !spec.function_calling {
        push(R::FunctionCalling, 1.0, 0.0);
    }
    let ceilings = [
        (R::ContextLength, estimate.tokens, Some(spec.context_tokens as f64)),
        (R::Memory, spec.memory_gb, needs.max_memory_gb),
        // A floor of the speed is a ceiling of its negative.
        (R::TokensPerSecond, -spec.tokens_per_second, needs.min_tokens_per_second.map(|least| -least)),
        (R::CostPerToken, estimate.usd_per_token, wishes.max_cost_per_token),
        (R::CostPerRequest, estimate.usd, options.max_cost_usd),
        (R::Latency, estimate.latency_ms, wishes.max_latency_ms.map(|ms| ms as f64)),
    ];
    for (reason, actual, limit) in ceilings {
        if let Some(limit) = limit.filter(|&limit| actual > limit) {
            push(reason, limit.abs(), actual.abs());
        }
    }
    out.len() == before
}
