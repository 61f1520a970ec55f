//! Every integration test of the crate in one program: one to link, and its tests run side by side.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking, its helpers too")]

mod support;

mod adversarial;
mod arbitrary;
mod families;
mod levels;
mod market_admission;
mod market_adversarial;
mod market_categorical;
mod market_curves;
mod market_free_energy;
mod market_properties;
mod market_protocol;
#[cfg(feature = "evaluate")]
mod market_routers;
mod market_snapshot;
mod market_traces;
mod market_vectors;
mod paths;
mod properties;
mod scan;
#[cfg(feature = "serde")]
mod serde;
mod vectors;
