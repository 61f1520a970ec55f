//! What the examples of the Hanzo SDK share: reading real traces, the arrival model, drawing, and what makes each of them a
//! program.

pub mod arrivals;
pub mod chart;
pub mod moves;
pub mod page;
pub mod program;
pub mod trace;

/// The code of the repository's README, which is tested here because no crate is of its name.
#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
pub struct Readme;
