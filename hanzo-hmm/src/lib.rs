#![doc = include_str!("../README.md")]
#![cfg_attr(docsrs, feature(doc_cfg))]

mod error;
pub mod hmm_core;
mod inference;
mod kernel;
mod learning;
pub mod market;
mod model;
#[cfg(feature = "serde")]
mod raw;

pub use error::{Error, Result};
pub use hmm_core::HiddenMarkovModel;
pub use inference::{FilterState, FixedLag, Path, Posterior};
pub use kernel::{Kernel, Lattice, Strategy, Workspace};
pub use learning::{BaumWelch, Expectations, FitSummary, Learn, Memory, OnlineEm, Progress};
pub use market::{Config, MarketMaker, PerformanceRequirements, RoutingRequest, UserPreferences};
pub use model::{
    Categorical, CategoricalPrior, CategoricalStats, Emission, GaussianDiag, GaussianDiagStats, GaussianFull,
    GaussianFullStats, GaussianMixture, GaussianSpherical, GaussianTied, Hmm, Initial, Labelled, Labels, MixturePrior,
    MixtureStats, Observations, Pairs, Poisson, PoissonPrior, PoissonStats, Product, Rows, StateMoments, SymbolTable,
    Transitions, VarianceFloor,
};
pub use rand_core;
