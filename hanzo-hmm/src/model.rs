//! The model: initial distribution, transitions and emissions.

mod categorical;
mod distribution;
mod emission;
mod gaussian;
mod hmm;
mod observations;
mod symbol_table;
mod transitions;

pub use categorical::{Categorical, CategoricalPrior, CategoricalStats};
pub use emission::Emission;
pub use gaussian::{GaussianDiag, GaussianDiagStats, VarianceFloor};
pub use hmm::{Hmm, Initial};
pub use observations::{Observations, Rows};
pub use symbol_table::SymbolTable;
pub use transitions::Transitions;

pub(crate) use distribution::{NO_MASS, check_distribution, draw, flatten, normalise_counts};
pub(crate) use transitions::{Shape, SparseRows};
