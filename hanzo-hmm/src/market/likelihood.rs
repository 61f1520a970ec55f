//! What is believed about the quality of each model's answers.
//!
//! `y = base_u + w.x + v_u.x + b_{r,u} + noise` in regime `r`, where `w` is shared by all models and `v_u`, `b_{r,u}` belong to
//! model `u`; a degraded model gives a fixed part of that quality, a model that fails to answer gives none. `w` is regressed on
//! the outcomes of all models, `v_u` and `b_{r,u}` on what `w` leaves of their own: one after the other, not jointly, so that an
//! outcome costs a few rank-one updates of one model. While `w` still moves, early residuals of a model count too much; the excess
//! fades like `ln(n) / n`.

use super::free_energy::binary_entropy;
use super::linear::BayesianLinear;
use super::regime::Regime;
use super::snapshot::{Reader, Writer, bad};
use crate::Result;

/// Summary of the quality one model is expected to give to one request.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct QualityForecast {
    /// Probability of a good answer, over regimes, health and availability.
    pub(crate) mean: f64,
    /// Expected entropy of "good or bad" once regime and health are known.
    pub(crate) conditional_entropy: f64,
    /// Probability that the quality reaches the asked one.
    pub(crate) meets: f64,
    /// Variance of the model's own coefficients along the features, in noise units.
    pub(crate) leverage: f64,
}

/// Beliefs of the moment that a forecast is conditioned on.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Circumstances<'a> {
    pub(crate) regime: &'a [f64; Regime::COUNT],
    pub(crate) healthy: f64,
    pub(crate) availability: f64,
    pub(crate) threshold: f64,
}

/// Probabilities of regime and health after an outcome.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Responsibility {
    /// Likelihood of the outcome in each regime, health averaged out.
    pub(crate) by_regime: [f64; Regime::COUNT],
    /// Posterior of the regime at the time of the decision.
    pub(crate) regime: [f64; Regime::COUNT],
    /// Posterior probability that the model was healthy.
    pub(crate) healthy: f64,
}

/// Prior precisions of the coefficients, in noise units.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Priors {
    /// Of what all models share.
    pub(crate) shared: f64,
    /// Of the shared bias.
    pub(crate) shared_bias: f64,
    /// Of a model's own.
    pub(crate) own: f64,
    /// Of a model's own bias.
    pub(crate) bias: f64,
    /// Of the offset of a regime.
    pub(crate) regime: f64,
}

impl Default for Priors {
    fn default() -> Self {
        Self { shared: 3.0, shared_bias: 3.0, own: 20.0, bias: 0.5, regime: 1.0 }
    }
}

/// The linear quality model of all models of a catalogue.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct QualityModel {
    shared: BayesianLinear,
    own: Vec<BayesianLinear>,
    base: Vec<f64>,
    dim: usize,
}

impl QualityModel {
    /// `dim` features, of which `bias` is always 1, and one prior mean quality a model.
    pub(crate) fn new(dim: usize, bias: Option<usize>, base: Vec<f64>, priors: &Priors) -> Result<Self> {
        let mut own_prior = vec![priors.own; dim];
        let mut shared = vec![priors.shared; dim];
        if let Some(prior) = bias.and_then(|i| own_prior.get_mut(i)) {
            *prior = priors.bias;
        }
        if let Some(prior) = bias.and_then(|i| shared.get_mut(i)) {
            *prior = priors.shared_bias;
        }
        own_prior.extend([priors.regime; Regime::COUNT]);
        let own = BayesianLinear::new(&own_prior)?;
        Ok(Self { shared: BayesianLinear::new(&shared)?, own: vec![own; base.len()], base, dim })
    }

    /// Number of features.
    pub(crate) fn dim(&self) -> usize {
        self.dim
    }

    pub(crate) fn save(&self, w: &mut Writer) {
        self.shared.save(w);
        self.own.iter().for_each(|own| own.save(w));
    }

    pub(crate) fn load(&mut self, r: &mut Reader<'_>) -> Result<()> {
        self.shared.load(r)?;
        self.own.iter_mut().try_for_each(|own| own.load(r))
    }

    /// Number of models.
    pub(crate) fn models(&self) -> usize {
        self.own.len()
    }

    /// Mean quality of model `u` in each regime when healthy, before it is clipped to [0, 1].
    fn means(&self, u: usize, x: &[f64]) -> Result<[f64; Regime::COUNT]> {
        let own = self.own[u].coefficients();
        let (slopes, offsets) = own.split_at(self.dim);
        let own_mean: f64 = slopes.iter().zip(x).map(|(v, x)| v * x).sum();
        let common = self.base[u] + self.shared.mean(x)? + own_mean;
        let mut out = [common; Regime::COUNT];
        for (m, b) in out.iter_mut().zip(offsets) {
            *m += b;
        }
        Ok(out)
    }

    /// The forecast for model `u`; `z` is `x` followed by the regime posterior.
    pub(crate) fn forecast(&self, u: usize, z: &[f64], now: &Circumstances<'_>) -> Result<QualityForecast> {
        let x = &z[..self.dim];
        let means = self.means(u, x)?;
        let leverage = self.own[u].leverage(z)?;
        let sd = (self.own[u].noise_variance() * (1.0 + leverage)).sqrt();
        let mut forecast = QualityForecast { mean: 0.0, conditional_entropy: 0.0, meets: 0.0, leverage };
        for (&f, raw) in now.regime.iter().zip(means) {
            for (h, factor) in [(now.healthy, 1.0), (1.0 - now.healthy, DEGRADED_QUALITY)] {
                let good = now.availability * raw.clamp(0.0, 1.0) * factor;
                forecast.mean += f * h * good;
                forecast.conditional_entropy += f * h * binary_entropy(good);
                forecast.meets += f * h * now.availability * normal_cdf((raw * factor - now.threshold) / sd);
            }
        }
        forecast.mean = forecast.mean.clamp(0.0, 1.0);
        // Even no answer meets a threshold of 0.
        forecast.meets = if now.threshold <= 0.0 { 1.0 } else { forecast.meets.clamp(0.0, 1.0) };
        Ok(forecast)
    }

    /// What a score says about regime and health, given the beliefs before it.
    pub(crate) fn judge(
        &self,
        u: usize,
        x: &[f64],
        score: f64,
        regime: &[f64; Regime::COUNT],
        healthy: f64,
    ) -> Result<Responsibility> {
        let mut by_regime = [0.0; Regime::COUNT];
        let mut posterior = *regime;
        let mut healthy_mass = 0.0;
        for (i, raw) in self.means(u, x)?.into_iter().enumerate() {
            let good = healthy * likelihood(score, raw);
            let bad = (1.0 - healthy) * likelihood(score, raw.clamp(0.0, 1.0) * DEGRADED_QUALITY);
            by_regime[i] = good + bad;
            posterior[i] *= by_regime[i];
            healthy_mass += regime[i] * good;
        }
        // Likelihoods are bounded away from 0, so the sum is positive.
        let total: f64 = posterior.iter().sum();
        for q in &mut posterior {
            *q /= total;
        }
        Ok(Responsibility { by_regime, regime: posterior, healthy: (healthy_mass / total).clamp(0.0, 1.0) })
    }

    /// Learns a score: weight `weight * P(healthy)` for `w`, times the responsibility of each regime for `v_u` and `b_{r,u}`.
    pub(crate) fn learn(
        &mut self,
        u: usize,
        x: &[f64],
        score: f64,
        responsibility: &Responsibility,
        weight: f64,
    ) -> Result<()> {
        let weight = weight * responsibility.healthy;
        let target = score - self.base[u];
        let own_target = target - self.shared.mean(x)?;
        self.shared.update(x, target, weight)?;
        let mut z = x.to_vec();
        z.resize(self.dim + Regime::COUNT, 0.0);
        for (r, &q) in responsibility.regime.iter().enumerate() {
            if q >= LEAST_RESPONSIBILITY {
                z[self.dim..].fill(0.0);
                z[self.dim + r] = 1.0;
                self.own[u].update(&z, own_target, weight * q)?;
            }
        }
        Ok(())
    }
}

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

/// Likelihood of a score in [0, 1] when its mean is `mean`, as a fractional Bernoulli outcome. The mean is kept away
/// from 0 and 1, so that no single score can rule a regime out.
fn likelihood(score: f64, mean: f64) -> f64 {
    let mean = mean.clamp(LEAST_MEAN, 1.0 - LEAST_MEAN);
    mean.powf(score) * (1.0 - mean).powf(1.0 - score)
}

fn normal_cdf(z: f64) -> f64 {
    0.5 * libm::erfc(-z / std::f64::consts::SQRT_2)
}

// With a stationary law far from 1, models that are not asked for a while would be written off unseen.
const STAY_HEALTHY: f64 = 0.9999;
const STAY_DEGRADED: f64 = 0.98;
const DEGRADED_QUALITY: f64 = 0.35;
const LEAST_MEAN: f64 = 0.02;
/// Regimes held less responsible than this learn nothing from an outcome.
const LEAST_RESPONSIBILITY: f64 = 1e-3;

#[cfg(test)]
mod tests {
    use super::*;

    const UNIFORM: [f64; 4] = [0.25; 4];

    fn model() -> QualityModel {
        QualityModel::new(2, Some(0), vec![0.5, 0.8], &Priors::default()).unwrap()
    }

    fn now(regime: &[f64; 4], threshold: f64) -> Circumstances<'_> {
        Circumstances { regime, healthy: 1.0, availability: 1.0, threshold }
    }

    fn forecast(m: &QualityModel, u: usize, x: [f64; 2], regime: &[f64; 4]) -> QualityForecast {
        let z: Vec<f64> = x.into_iter().chain(*regime).collect();
        m.forecast(u, &z, &now(regime, 0.6)).unwrap()
    }

    #[test]
    fn an_untaught_model_forecasts_its_prior() {
        let m = model();
        assert_eq!(forecast(&m, 0, [1.0, 0.0], &UNIFORM).mean, 0.5);
        let f = forecast(&m, 1, [1.0, 0.0], &UNIFORM);
        assert!((f.mean - 0.8).abs() < 1e-15);
        assert!(f.meets > 0.5);
        assert!((f.leverage - (1.0 / Priors::default().bias + 0.25 / Priors::default().regime)).abs() < 1e-12);
    }

    #[test]
    fn scores_move_the_forecast_and_shrink_the_leverage() {
        let mut m = model();
        let before = forecast(&m, 0, [1.0, 0.0], &UNIFORM);
        for _ in 0..50 {
            let r = m.judge(0, &[1.0, 0.0], 0.9, &UNIFORM, 1.0).unwrap();
            m.learn(0, &[1.0, 0.0], 0.9, &r, 1.0).unwrap();
        }
        let after = forecast(&m, 0, [1.0, 0.0], &UNIFORM);
        assert!((after.mean - 0.9).abs() < 0.06, "{after:?}");
        assert!(after.leverage < 0.1 * before.leverage);
        // The other model learns through the shared part only, so less.
        let other = forecast(&m, 1, [1.0, 0.0], &UNIFORM).mean - 0.8;
        assert!(other > 0.0 && other < 0.4);
    }

    #[test]
    fn regimes_learn_their_own_offsets() {
        let mut m = model();
        let (calm, crisis) = ([0.0, 1.0, 0.0, 0.0], [0.0, 0.0, 1.0, 0.0]);
        for _ in 0..100 {
            for (regime, score) in [(calm, 0.9), (crisis, 0.1)] {
                let r = m.judge(0, &[1.0, 0.0], score, &regime, 1.0).unwrap();
                assert_eq!(r.regime, regime);
                m.learn(0, &[1.0, 0.0], score, &r, 1.0).unwrap();
            }
        }
        let (good, bad) = (forecast(&m, 0, [1.0, 0.0], &calm).mean, forecast(&m, 0, [1.0, 0.0], &crisis).mean);
        assert!(good > 0.85 && bad < 0.15, "{good} {bad}");
    }

    #[test]
    fn a_bad_score_is_evidence_of_bad_health() {
        let m = model();
        let r = m.judge(1, &[1.0, 0.0], 0.0, &UNIFORM, 0.9).unwrap();
        // 0.9 * 0.2 against 0.1 * (1 - 0.35 * 0.8)
        let expected = 0.9 * 0.2 / (0.9 * 0.2 + 0.1 * 0.72);
        assert!((r.healthy - expected).abs() < 1e-12);
        assert!((r.regime.iter().sum::<f64>() - 1.0).abs() < 1e-12);
    }

    #[test]
    fn health_decays_to_its_stationary_law_and_recovers() {
        let mut h = Health::new();
        for _ in 0..5_000 {
            h.step();
        }
        assert!((h.probability() - 0.02 / 0.0201).abs() < 1e-9);
        h.move_to(1.0, 1.0);
        assert_eq!(h.probability(), 1.0);
    }

    #[test]
    fn the_normal_distribution_function_has_its_known_values() {
        assert_eq!(normal_cdf(0.0), 0.5);
        assert!((normal_cdf(1.959_963_984_540_054) - 0.975).abs() < 1e-12);
    }
}
