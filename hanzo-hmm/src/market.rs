//! The market maker: prices, quotes and routing.
//!
//! [`MarketMaker`] puts the parts together, and says how a gateway calls it; each part can be used alone:
//! - regimes: [`RegimeModel`], [`RegimeFilter`];
//! - price dynamics: [`PhaseSpace`], [`Potential`], [`TodaWells`], and the integrators [`Verlet`], [`Yoshida4`], [`Suzuki4`];
//! - trade in integers: [`Curve`] ([`ConstantProduct`], [`WeightedProduct`], [`YieldSpace`], [`LmsrCurve`]), [`Pool`], [`ContextPool`], [`Quote`];
//! - a market of outcomes: [`Lmsr`];
//! - expected free energy of any discrete model: [`GenerativeModel`];
//! - learning: [`Likelihood`], [`Featuriser`], [`HashedText`], [`BayesianLinear`];
//! - what is asked of the caller: [`Admission`] to budgets, [`TenantAdapter`] ([`SignTable`]), [`Store`] for snapshots;
//! - routers to compare with: [`Router`], [`EfeRouter`], and the baselines; off-policy estimates and the evaluation protocol with the feature `evaluate`;
//! - node selection: [`RoundRobin`], [`StakeWeighted`], [`Performance`], [`EfeNodes`];
//! - opcodes of a virtual machine: [`Opcodes`].

mod adapter;
mod admission;
mod aging;
mod baseline;
mod beliefs;
mod builder;
mod calibration;
mod catalogue;
mod categorical;
mod coefficients;
mod config;
mod context_pool;
mod contextual;
mod cooldown;
mod curve;
mod decision_log;
mod dirichlet;
mod efe_router;
mod eligibility;
mod entropy;
#[cfg(feature = "evaluate")]
mod evaluate;
mod features;
mod fixed_point;
mod free_energy;
mod generative;
mod hamiltonian;
mod health;
mod integrator;
mod learner;
mod likelihood;
mod linear;
mod lmsr;
mod lmsr_curve;
mod market_maker;
mod memory;
mod opcodes;
mod planning;
mod pool;
mod pool_curve;
mod price_dynamics;
mod prototypes;
mod quote;
mod regime;
mod regime_means;
mod request;
mod router;
mod routing;
mod scoring;
mod selection;
mod service;
mod shelf;
mod sign_table;
mod snapshot;
mod splitmix;
mod store;
mod weighted;
#[cfg(feature = "serde")]
mod wire;
mod yield_space;

pub use adapter::TenantAdapter;
pub use admission::{Admission, AdmissionRequest, Denial};
pub use aging::Discount;
pub use baseline::{Cheapest, Choice, Context, EpsilonGreedy, Feedback, Fixed, Random, Router, Thompson, Ucb1};
pub use builder::MarketMakerBuilder;
pub use calibration::{CalibrationReport, LabelledOutcome};
pub use catalogue::{ModelSpec, Precision, default_catalogue};
pub use config::Config;
pub use context_pool::ContextPool;
pub use contextual::{Knn, LinThompson, LinUcb};
pub use cooldown::{CooldownPolicy, ServiceState};
pub use curve::{ConstantProduct, Curve, Invariant, Reserves};
pub use dirichlet::dirichlet_novelty;
pub use efe_router::EfeRouter;
pub use eligibility::{Rejection, RejectionReason};
#[cfg(feature = "evaluate")]
pub use evaluate::{
    Logged, OutcomeTable, Run, Scenario, Trial, arena_score, average_improvement, off_policy_value, paired_difference,
};
pub use features::{Featuriser, HashedText};
pub use free_energy::Efe;
pub use generative::{EfeWorkspace, Evaluation, Gain, GenerativeModel, Policies};
pub use hamiltonian::{PhaseSpace, Potential, TodaWells};
pub use integrator::{Integration, Integrator, Suzuki4, Verlet, Yoshida4};
pub use learner::{Classes, Likelihood};
pub use linear::BayesianLinear;
pub use lmsr::Lmsr;
pub use lmsr_curve::LmsrCurve;
pub use market_maker::{MarketMaker, QuoteRequest};
pub use opcodes::{OpcodeQuote, Opcodes};
pub use planning::{Plan, SwitchCost};
pub use pool::{Pool, QuoteDetails, QuoteTerms, Receipt, Side};
pub use pool_curve::PoolCurve;
pub use price_dynamics::{EnergyReport, Load, RegimeConstants};
pub use quote::{Mid, Millis, Quote};
pub use regime::{Regime, RegimeFilter, RegimeModel};
pub use request::{
    Candidate, DecisionId, Outcome, PerformanceRequirements, RouteOptions, RoutingDecision, RoutingRequest, Status,
    UserPreferences,
};
pub use selection::{EfeNodes, Node, NodeId, NodeSelector, Performance, RoundRobin, StakeWeighted};
pub use service::ServiceReport;
pub use sign_table::SignTable;
pub use splitmix::SplitMix64;
pub use store::{Store, StoreError};
pub use weighted::WeightedProduct;
#[cfg(feature = "serde")]
pub use wire::{RouteAnswer, RouteCall, RouteCallPreferences};
pub use yield_space::YieldSpace;
