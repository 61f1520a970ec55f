//! The implementations of the standards, behind types that know nothing of suites, tiers or formats.

pub(crate) mod rustcrypto;
