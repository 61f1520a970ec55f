//! Every integration test of the crate in one program: one to link, and its tests run side by side.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking, its helpers too")]

mod adversarial;
mod cluster;
#[cfg(feature = "serde")]
mod config;
mod driver;
#[cfg(feature = "focus")]
mod focus;
mod histories;
mod journal;
#[cfg(feature = "metrics")]
mod metrics;
mod properties;
mod quotas;
#[cfg(feature = "redb")]
mod redb;
mod sequenced;
mod simulation;
mod vectors;
