//! Learning the parameters of a model from sequences.

mod baum_welch;

pub use baum_welch::{BaumWelch, FitSummary, Learn};
