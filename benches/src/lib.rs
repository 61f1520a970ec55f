//! The benchmarks themselves are under `benches/`; README.md lists them with their peers.
