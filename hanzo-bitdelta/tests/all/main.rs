//! Every integration test of the crate in one program: one to link, and its tests run side by side.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking, its helpers too")]

mod common;

mod adversarial;
mod cache;
mod digits;
mod online;
mod properties;
mod vectors;
