//! What the examples of the Hanzo SDK share: reading real traces, the arrival model, drawing.

pub mod arrivals;
pub mod chart;
pub mod trace;
