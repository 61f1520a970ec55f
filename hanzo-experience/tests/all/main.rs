//! Every integration test of the crate in one program: one to link, and its tests run side by side.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking, its helpers too")]

mod support;

mod adversarial;
mod aggregate;
mod certificate_transparency;
mod economy;
mod federated;
mod forgeries;
mod learning;
mod library;
mod malformed;
mod oracles;
#[cfg(feature = "privacy")]
mod privacy;
mod product_of_experts;
mod properties;
mod replicas;
mod retrieval;
mod stores;
mod training;
mod vectors;
