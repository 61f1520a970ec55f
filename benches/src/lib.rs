//! What the benchmarks share. They are themselves under `benches/`; README.md lists them with their peers.

pub mod bio_model;
pub mod cpu;
pub mod fma_peak;
pub mod ratios;
pub mod turns;
