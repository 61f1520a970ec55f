//! The model: initial distribution, transitions and emissions.

mod categorical;
pub(crate) mod dense;
mod distribution;
mod emission;
mod gaussian;
mod hmm;
mod labels;
mod mixture;
mod observations;
mod poisson;
mod product;
mod state_moments;
mod stationary;
mod symbol_table;
mod transitions;

pub use categorical::{Categorical, CategoricalPrior, CategoricalStats};
pub use emission::Emission;
pub use gaussian::{
    GaussianDiag, GaussianDiagStats, GaussianFull, GaussianFullStats, GaussianSpherical, GaussianTied, VarianceFloor,
};
pub use hmm::{Hmm, Initial};
pub use labels::{Labelled, Labels};
pub use mixture::{GaussianMixture, MixturePrior, MixtureStats};
pub use observations::{Observations, Rows};
pub use poisson::{Poisson, PoissonPrior, PoissonStats};
pub use product::{Pairs, Product};
pub use state_moments::StateMoments;
pub use symbol_table::SymbolTable;
pub use transitions::Transitions;

pub(crate) use distribution::{NO_MASS, check_counts, check_distribution, draw, flatten, normalise_counts, update_row};
pub(crate) use state_moments::mixed;
pub(crate) use transitions::{Shape, SparseRows};
