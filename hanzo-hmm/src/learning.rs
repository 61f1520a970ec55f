//! Learning the parameters of a model from sequences.

mod baum_welch;
mod expectations;
mod online;
mod stationary;

pub use baum_welch::{BaumWelch, FitSummary, Learn, Memory, Progress};
pub use expectations::Expectations;
pub(crate) use online::FIRST_UPDATE;
pub use online::OnlineEm;
