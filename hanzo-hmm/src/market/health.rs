//! Whether a model is healthy or degraded.

use super::snapshot::{Reader, bad};
use crate::Result;

/// Belief about the health of one model: a two-state Markov chain, one step a request.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Health {
    healthy: f64,
}

impl Health {
    pub(crate) fn new() -> Self {
        Self { healthy: 1.0 }
    }

    pub(crate) fn step(&mut self) {
        self.healthy = self.healthy * STAY_HEALTHY + (1.0 - self.healthy) * (1.0 - STAY_DEGRADED);
    }

    /// Takes over a posterior, as far as the evidence counts (`weight` in [0, 1]).
    pub(crate) fn move_to(&mut self, posterior: f64, weight: f64) {
        self.healthy += weight * (posterior - self.healthy);
    }

    pub(crate) fn load(r: &mut Reader<'_>) -> Result<Self> {
        let healthy = r.amount()?;
        if healthy > 1.0 { bad("health") } else { Ok(Self { healthy }) }
    }

    pub(crate) fn probability(&self) -> f64 {
        self.healthy
    }
}

// With a stationary law far from 1, models that are not asked for a while would be written off unseen.
const STAY_HEALTHY: f64 = 0.999;
const STAY_DEGRADED: f64 = 0.99;
/// Part of its quality that a degraded model gives.
pub(crate) const DEGRADED_QUALITY: f64 = 0.35;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn health_decays_to_its_stationary_law_and_recovers() {
        let mut h = Health::new();
        for _ in 0..5_000 {
            h.step();
        }
        assert!((h.probability() - 0.01 / 0.011).abs() < 1e-9);
        h.move_to(1.0, 1.0);
        assert_eq!(h.probability(), 1.0);
    }
}
