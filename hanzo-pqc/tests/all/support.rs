//! What several of the tests share.

pub(crate) mod data;
#[cfg(feature = "tdx")]
pub(crate) mod intel;
#[cfg(any(feature = "snp", feature = "nvidia", feature = "tdx"))]
pub(crate) mod samples;
#[cfg(feature = "kbs")]
pub(crate) mod world;
