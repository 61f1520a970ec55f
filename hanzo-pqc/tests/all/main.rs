//! Every integration test of the crate in one program: one to link, and its tests run side by side.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking, its helpers too")]

mod support;

#[cfg(feature = "hazmat")]
mod accumulated;
#[cfg(feature = "kbs")]
mod adversarial;
#[cfg(feature = "hybrid")]
mod backends;
#[cfg(feature = "kbs")]
mod broker;
#[cfg(feature = "composite")]
mod composite;
#[cfg(all(feature = "snp", feature = "nvidia"))]
mod hardware;
#[cfg(feature = "kbs")]
mod lifecycle;
#[cfg(feature = "nvidia")]
mod nvidia;
#[cfg(feature = "pkcs8")]
mod pkcs8;
#[cfg(feature = "kbs")]
mod properties;
#[cfg(feature = "redb")]
mod redb;
#[cfg(all(feature = "serde", feature = "kbs"))]
mod serde_types;
#[cfg(feature = "snp")]
mod snp;
#[cfg(feature = "software-evidence")]
mod software_evidence;
#[cfg(feature = "tdx")]
mod tdx;
#[cfg(feature = "kbs")]
mod vectors;
mod wycheproof;
