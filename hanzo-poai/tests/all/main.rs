//! Every integration test of the crate in one program: one to link, and its tests run side by side.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking, its helpers too")]

mod support;

mod adversarial;
mod claims;
mod comparators;
mod contests;
mod disputes;
mod integers;
mod lifecycle;
mod properties;
mod replicas;
#[cfg(feature = "serde")]
mod serde;
#[cfg(feature = "simulate")]
mod simulate;
mod vectors;
