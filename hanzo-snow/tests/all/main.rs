//! Every integration test of the crate in one program: one to link, and its tests run side by side.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking, its helpers too")]

mod support;

mod adversarial;
mod behaviours;
#[cfg(feature = "simulate")]
mod directed;
#[cfg(feature = "simulate")]
mod dual;
mod engine;
mod extremes;
mod handover;
mod lumped;
mod properties;
mod sampler;
#[cfg(feature = "simulate")]
mod scenarios;
#[cfg(feature = "simulate")]
mod simulate;
#[cfg(feature = "simulate")]
mod simulation;
#[cfg(feature = "redb")]
mod store;
mod vectors;
mod wire;
