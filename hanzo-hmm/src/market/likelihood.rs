//! What is believed about the quality of each model's answers.
//!
//! `y = base_u + v_u . z(x) + b_{r,u} + noise` in regime `r`; a degraded model gives a fixed part of that quality, a model that fails to
//! answer gives none. `z(x)` is short: the request's shares of a few dozen [`Prototypes`] and the few features that are no hashed words. So
//! each outcome teaches about all requests of its kind, and a decision costs little. By default what is learned about one model says
//! nothing about another: on real outcomes a part `w . z(x)` shared by all models takes away the benefit of the doubt, and helps in some scenarios
//! and harms in others. A caller may ask for it, and for one more number in `z`: what the nearest outcomes of the model say beyond the regression.

use std::ops::Range;

use super::aging::{Aging, Discount};
use super::beliefs::Beliefs;
use super::coefficients::{Coefficients, Example};
use super::free_energy::binary_entropy;
use super::health::DEGRADED_QUALITY;
use super::linear::dot;
use super::memory::{Memory, Remembered};
use super::prototypes::{Fit, MOST, Prototypes, Sample};
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
    pub(crate) regime: &'a [f64],
    pub(crate) healthy: f64,
    pub(crate) availability: f64,
    pub(crate) threshold: f64,
}

/// Probabilities of regime and health after an outcome.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Responsibility {
    /// Likelihood of the outcome in each regime, health averaged out.
    pub(crate) by_regime: Beliefs,
    /// Posterior of the regime at the time of the decision.
    pub(crate) regime: Beliefs,
    /// Posterior probability that the model was healthy.
    pub(crate) healthy: f64,
}

/// How a [`QualityModel`] learns.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Learning {
    /// Outcomes count less by this factor with each later one.
    pub(crate) forgetting: f64,
    pub(crate) discount: Discount,
    /// Whether models have a part of their quality in common.
    pub(crate) shared: bool,
    /// Outcomes among which neighbours are looked for.
    pub(crate) neighbours: usize,
}

impl Default for Learning {
    fn default() -> Self {
        Self { forgetting: 1.0, discount: Discount::default(), shared: false, neighbours: 0 }
    }
}

/// The quality model of all models of a catalogue.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct QualityModel {
    prototypes: Prototypes,
    coefficients: Coefficients,
    base: Vec<f64>,
    shape: Shape,
    memory: Memory,
    refitting: bool,
}

/// What the regressions see of a request: linear features, shares of the prototypes, what the neighbours say, probabilities of the regimes.
#[derive(Debug, Clone, PartialEq)]
struct Shape {
    dim: usize,
    linear: Range<usize>,
    regimes: usize,
    /// Whether neighbours are asked.
    local: bool,
}

impl Shape {
    /// Numbers that all models see alike; what the neighbours say comes after them.
    fn common(&self) -> usize {
        self.linear.len() + MOST
    }

    /// Prior precisions of a model's own coefficients, in noise units.
    fn prior(&self, shared: bool) -> Vec<f64> {
        let mut out = vec![if shared { OWN_PRIOR } else { PRIOR }; self.common()];
        out.resize(self.common() + usize::from(self.local), PRIOR);
        out.resize(out.len() + self.regimes, REGIME_PRIOR);
        out
    }

    /// Of those that models share.
    fn shared_prior(&self) -> Vec<f64> {
        vec![SHARED_PRIOR; self.common()]
    }
}

/// A request as the regressions see it.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) struct Represented {
    z: Vec<f64>,
    /// What the neighbours say of each model, if they are asked.
    local: Vec<f64>,
    near: Vec<(f64, f64)>,
}

impl QualityModel {
    /// `dim` features, of which those in `linear` enter the regression as they are, a number of regimes, and one prior mean quality a model.
    pub(crate) fn new(
        dim: usize,
        linear: Range<usize>,
        regimes: usize,
        base: Vec<f64>,
        learning: Learning,
    ) -> Result<Self> {
        let linear = linear.start.min(dim)..linear.end.min(dim);
        let shape = Shape { dim, linear, regimes, local: learning.neighbours > 0 };
        let aging = Aging::new(learning.forgetting, learning.discount, regimes);
        let shared = if learning.shared { shape.shared_prior() } else { Vec::new() };
        Ok(Self {
            prototypes: Prototypes::new(dim),
            coefficients: Coefficients::new(base.len(), regimes, shape.prior(learning.shared), &shared, aging)?,
            base,
            shape,
            memory: Memory::new(learning.neighbours),
            refitting: false,
        })
    }

    /// Number of features.
    pub(crate) fn dim(&self) -> usize {
        self.shape.dim
    }

    /// Number of models.
    pub(crate) fn models(&self) -> usize {
        self.coefficients.models()
    }

    /// What the regressions see of a request. `O(32 d)`, and `O(n d)` where `n` outcomes are searched for neighbours.
    pub(crate) fn represent(&self, x: &[f64], regime: &[f64], out: &mut Represented) {
        let Represented { z, local, near } = out;
        self.describe(x, 0.0, regime, z);
        local.clear();
        if self.shape.local {
            self.memory.neighbours(x, self.prototypes.scale(), self.models(), near);
            // The mean of the neighbours shrunk to the regression, less the regression.
            local.extend(near.iter().enumerate().map(|(u, (mass, sum))| {
                let linear: f64 = self.means(u, z).zip(regime).map(|(mean, q)| q * mean).sum();
                (sum - mass * linear) / (mass + SHRINK)
            }));
        }
    }

    /// The same request in another regime.
    pub(crate) fn move_on(&self, regime: &[f64], out: &mut Represented) {
        let at = out.z.len() - self.shape.regimes;
        out.z[at..].copy_from_slice(regime);
    }

    fn describe(&self, x: &[f64], local: f64, regime: &[f64], z: &mut Vec<f64>) {
        let mut shares = [0.0; MOST];
        self.prototypes.shares(x, &mut shares);
        z.clear();
        z.extend(&x[self.shape.linear.clone()]);
        z.extend(shares);
        if self.shape.local {
            z.push(local);
        }
        z.extend(regime);
    }

    /// What the regression of one model sees.
    fn of<'a>(&self, u: usize, seen: &'a mut Represented) -> &'a [f64] {
        if let Some(&local) = seen.local.get(u) {
            seen.z[self.shape.common()] = local;
        }
        &seen.z
    }

    /// Takes a request into the search for prototypes. Now and then a refit is due, which costs `O(32 d)` for each of a thousand sampled requests
    /// and eight thousand outcomes: it can [run](Refit::run) anywhere, and is then [installed](Self::install).
    pub(crate) fn observe(&mut self, x: &[f64]) -> Option<Refit> {
        let sample = self.prototypes.observe(x, self.refitting)?;
        self.refitting = true;
        let model = Self {
            prototypes: self.prototypes.without_sample(),
            coefficients: self.coefficients.clone(),
            base: self.base.clone(),
            shape: self.shape.clone(),
            memory: self.memory.clone(),
            refitting: true,
        };
        Some(Refit { sample, model })
    }

    /// [`observe`](Self::observe) with the refit on the spot.
    pub(crate) fn observe_and_fit(&mut self, x: &[f64]) {
        if let Some(refit) = self.observe(x) {
            self.install(refit.run());
        }
    }

    /// Takes over what a refit found, with the outcomes that have come since it began.
    pub(crate) fn install(&mut self, refitted: Refitted) {
        let Refitted { fit, mut found, remembered } = refitted;
        self.refitting = false;
        self.prototypes.install(fit);
        found.same_noise(&self.coefficients);
        if self.memory.since(remembered).next().is_some() {
            found.postpone(self.memory.since(remembered).map(|past| (past.model, &*past.regime, past.weight)));
            self.replay(false, || self.memory.since(remembered), &mut found);
        }
        self.coefficients = found;
    }

    /// Learns remembered outcomes, described by the prototypes of now.
    fn replay<'a, I: Iterator<Item = &'a Remembered>>(
        &'a self,
        aged: bool,
        outcomes: impl Fn() -> I,
        found: &mut Coefficients,
    ) {
        let (mut x, mut z) = (vec![0.0; self.shape.dim], Vec::new());
        found.absorb(aged, &mut |learn| {
            for past in outcomes() {
                for (x, &v) in x.iter_mut().zip(&*past.features) {
                    *x = f64::from(v);
                }
                self.describe(&x, past.local, &past.regime, &mut z);
                let target = past.score - self.base[past.model];
                learn(&Example { model: past.model, z: &z, regime: &past.regime, target, weight: past.weight });
            }
        });
    }

    /// Mean quality of model `u` in each regime when healthy, before it is clipped to [0, 1].
    fn means<'a>(&'a self, u: usize, z: &[f64]) -> impl Iterator<Item = f64> + use<'a> {
        let own = self.coefficients.own(u).coefficients();
        let (slopes, offsets) = own.split_at(own.len() - self.shape.regimes);
        let common = self.base[u] + self.coefficients.common(z) + dot(slopes, &z[..slopes.len()]);
        offsets.iter().map(move |b| common + b)
    }

    /// The forecast for model `u` from what [`represent`](Self::represent) gave.
    pub(crate) fn forecast(&self, u: usize, seen: &mut Represented, now: &Circumstances<'_>) -> QualityForecast {
        let z = self.of(u, seen);
        let means = self.means(u, z);
        let own = self.coefficients.own(u);
        let leverage = own.width(z);
        let sd = (own.noise_variance() * (1.0 + leverage)).sqrt();
        let mut forecast = QualityForecast { mean: 0.0, conditional_entropy: 0.0, meets: 0.0, leverage };
        for (&f, raw) in now.regime.iter().zip(means).filter(|(f, _)| **f > 0.0) {
            for (h, factor) in [(now.healthy, 1.0), (1.0 - now.healthy, DEGRADED_QUALITY)] {
                let good = now.availability * raw.clamp(0.0, 1.0) * factor;
                forecast.mean += f * h * good;
                forecast.conditional_entropy += f * h * binary_entropy(good);
                if now.threshold > 0.0 {
                    forecast.meets += f * h * now.availability * normal_cdf((raw * factor - now.threshold) / sd);
                }
            }
        }
        forecast.mean = forecast.mean.clamp(0.0, 1.0);
        // Even no answer meets a threshold of 0.
        forecast.meets = if now.threshold <= 0.0 { 1.0 } else { forecast.meets.clamp(0.0, 1.0) };
        forecast
    }

    /// What a score says about regime and health, given the beliefs before it. The less is known about the model's quality for such a
    /// request, the less a bad score speaks against its health.
    pub(crate) fn judge(
        &self,
        u: usize,
        seen: &mut Represented,
        score: f64,
        regime: &[f64],
        healthy: f64,
    ) -> Responsibility {
        let z = self.of(u, seen);
        let certainty = 1.0 / (1.0 + DOUBT * self.coefficients.own(u).width(z));
        let mut by_regime = Beliefs::filled(self.shape.regimes, 0.0);
        let mut posterior = Beliefs::of(regime);
        let mut healthy_mass = 0.0;
        for (i, raw) in self.means(u, z).enumerate() {
            let good = healthy * likelihood(score, raw).powf(certainty);
            let bad = (1.0 - healthy) * likelihood(score, raw.clamp(0.0, 1.0) * DEGRADED_QUALITY).powf(certainty);
            by_regime[i] = good + bad;
            posterior[i] *= by_regime[i];
            healthy_mass += regime[i] * good;
        }
        // Likelihoods are bounded away from 0, so the sum is positive.
        let total: f64 = posterior.iter().sum();
        for q in posterior.iter_mut() {
            *q /= total;
        }
        Responsibility { by_regime, regime: posterior, healthy: (healthy_mass / total).clamp(0.0, 1.0) }
    }

    /// Learns a score with weight `weight * P(healthy)` and the regime as it is held responsible.
    /// `seen` is what [`represent`](Self::represent) gave for `x`; its regime is replaced.
    ///
    /// # Errors
    /// Those of [`BayesianLinear::update`](super::BayesianLinear::update).
    pub(crate) fn learn(
        &mut self,
        u: usize,
        x: &[f64],
        score: f64,
        responsibility: &Responsibility,
        weight: f64,
        seen: &mut Represented,
    ) -> Result<()> {
        let weight = weight * responsibility.healthy;
        let regime = &responsibility.regime;
        self.move_on(regime, seen);
        let z = self.of(u, seen);
        self.coefficients.learn(&Example { model: u, z, regime, target: score - self.base[u], weight })?;
        if weight > 0.0 {
            self.memory.push(Remembered {
                features: x.iter().map(|&v| v as f32).collect(),
                regime: regime.clone(),
                model: u,
                score,
                weight,
                local: seen.local.get(u).copied().unwrap_or(0.0),
            });
        }
        Ok(())
    }

    pub(crate) fn save(&self, w: &mut Writer) {
        w.u64(self.coefficients.layout() << 1 | u64::from(self.shape.local));
        self.prototypes.save(w);
        self.coefficients.save(w);
        self.memory.save(w);
    }

    /// Takes over a saved state of the same size, learned in the same way.
    pub(crate) fn load(&mut self, r: &mut Reader<'_>) -> Result<()> {
        if r.u64()? != self.coefficients.layout() << 1 | u64::from(self.shape.local) {
            return bad("way of learning");
        }
        self.prototypes.load(r)?;
        self.coefficients.load(r)?;
        self.refitting = false;
        self.memory.load(r, [self.shape.dim, self.models(), self.shape.regimes])
    }
}

/// Everything a refit needs, taken out of a [`QualityModel`].
#[derive(Debug)]
pub(crate) struct Refit {
    sample: Sample,
    model: QualityModel,
}

/// What a refit found.
#[derive(Debug)]
pub(crate) struct Refitted {
    fit: Option<Fit>,
    found: Coefficients,
    /// Outcomes that are in it.
    remembered: u64,
}

impl Refit {
    /// Finds the prototypes afresh, and the coefficients from the remembered outcomes.
    pub(crate) fn run(self) -> Refitted {
        let Self { sample, mut model } = self;
        let fit = sample.fit();
        model.prototypes.install(fit.clone());
        let mut found = model.coefficients.clone().restarted(&model.shape.shared_prior());
        model.replay(true, || model.memory.iter(), &mut found);
        Refitted { fit, found, remembered: model.memory.count() }
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

const LEAST_MEAN: f64 = 0.02;
/// By how much the variance of a forecast, in noise units, weakens what a score says about health.
const DOUBT: f64 = 20.0;
// In noise units, chosen on a third of a table of real outcomes.
const PRIOR: f64 = 2.0;
const REGIME_PRIOR: f64 = 1.0;
/// Of what models share, and of what is then left to each.
const SHARED_PRIOR: f64 = 3.0;
const OWN_PRIOR: f64 = 20.0;
/// Neighbours that the regression counts for.
const SHRINK: f64 = 5.0;

#[cfg(test)]
mod tests {
    use super::*;

    const UNIFORM: [f64; 4] = [0.25; 4];

    fn learning(how: Learning) -> QualityModel {
        QualityModel::new(2, 0..2, 4, vec![0.5, 0.8], how).unwrap()
    }

    fn model() -> QualityModel {
        learning(Learning::default())
    }

    fn now(regime: &[f64; 4], threshold: f64) -> Circumstances<'_> {
        Circumstances { regime, healthy: 1.0, availability: 1.0, threshold }
    }

    fn seen(m: &QualityModel, x: [f64; 2], regime: &[f64; 4]) -> Represented {
        let mut seen = Represented::default();
        m.represent(&x, regime, &mut seen);
        seen
    }

    fn forecast(m: &QualityModel, u: usize, x: [f64; 2], regime: &[f64; 4]) -> QualityForecast {
        m.forecast(u, &mut seen(m, x, regime), &now(regime, 0.6))
    }

    fn teach(m: &mut QualityModel, u: usize, x: [f64; 2], score: f64, regime: &[f64; 4]) {
        let mut z = seen(m, x, regime);
        let r = m.judge(u, &mut z, score, regime, 1.0);
        m.learn(u, &x, score, &r, 1.0, &mut z).unwrap();
    }

    #[test]
    fn an_untaught_model_forecasts_its_prior() {
        let m = model();
        assert_eq!(forecast(&m, 0, [1.0, 0.0], &UNIFORM).mean, 0.5);
        let f = forecast(&m, 1, [1.0, 0.0], &UNIFORM);
        assert!((f.mean - 0.8).abs() < 1e-15);
        assert!(f.meets > 0.5);
        assert!((f.leverage - (1.0 / PRIOR + 0.25 / REGIME_PRIOR)).abs() < 1e-12);
    }

    #[test]
    fn scores_move_the_forecast_and_shrink_the_leverage() {
        let mut m = model();
        let before = forecast(&m, 0, [1.0, 0.0], &UNIFORM);
        for _ in 0..100 {
            teach(&mut m, 0, [1.0, 0.0], 0.9, &UNIFORM);
        }
        let after = forecast(&m, 0, [1.0, 0.0], &UNIFORM);
        assert!((after.mean - 0.9).abs() < 0.03, "{after:?}");
        assert!(after.leverage < 0.1 * before.leverage);
        assert_eq!(forecast(&m, 1, [1.0, 0.0], &UNIFORM).mean, 0.8, "another model is judged by its own outcomes");
    }

    #[test]
    fn regimes_learn_their_own_offsets() {
        let mut m = model();
        let (calm, crisis) = ([0.0, 1.0, 0.0, 0.0], [0.0, 0.0, 1.0, 0.0]);
        for _ in 0..100 {
            teach(&mut m, 0, [1.0, 0.0], 0.9, &calm);
            teach(&mut m, 0, [1.0, 0.0], 0.1, &crisis);
        }
        let (good, bad) = (forecast(&m, 0, [1.0, 0.0], &calm).mean, forecast(&m, 0, [1.0, 0.0], &crisis).mean);
        assert!(good > 0.85 && bad < 0.15, "{good} {bad}");
    }

    /// Two kinds of requests that no line tells apart: near the origin and around it.
    #[test]
    fn kinds_of_requests_are_learned_apart() {
        let mut m = model();
        let mut rng = crate::market::SplitMix64::new(4);
        let ask = |rng: &mut crate::market::SplitMix64| {
            let (outer, turn) = (rng.unit() < 0.5, 6.3 * rng.unit());
            let r = if outer { 5.0 } else { 0.3 };
            ([r * f64::cos(turn), r * f64::sin(turn)], outer)
        };
        for _ in 0..1_200 {
            let (x, outer) = ask(&mut rng);
            m.observe_and_fit(&x);
            teach(&mut m, 0, x, if outer { 0.9 } else { 0.2 }, &UNIFORM);
        }
        for _ in 0..50 {
            let (x, outer) = ask(&mut rng);
            let found = forecast(&m, 0, x, &UNIFORM).mean;
            assert!((found - if outer { 0.9 } else { 0.2 }).abs() < 0.12, "{x:?} {found}");
        }
    }

    /// What is learned while a refit runs elsewhere is not lost, and a second one does not begin.
    #[test]
    fn a_refit_may_run_while_the_model_learns() {
        let mut rng = crate::market::SplitMix64::new(9);
        let mut inline = model();
        let mut aside = model();
        let mut waiting: Option<(Refit, usize)> = None;
        let mut refits = 0;
        for i in 0..500 {
            let x = [rng.unit(), 4.0 * rng.unit()];
            inline.observe_and_fit(&x);
            if let Some(refit) = aside.observe(&x) {
                assert!(waiting.is_none(), "one at a time");
                waiting = Some((refit, i));
            }
            let score = rng.unit();
            teach(&mut inline, i % 2, x, score, &UNIFORM);
            teach(&mut aside, i % 2, x, score, &UNIFORM);
            if let Some((refit, _)) = waiting.take_if(|(_, since)| i > *since + 5) {
                aside.install(refit.run());
                refits += 1;
            }
        }
        assert!(refits > 3 && waiting.is_none());
        // Requests 485 to 500 saw no refit: both hold the same centres and outcomes.
        for x in [[0.1, 0.2], [0.5, 3.0], [0.9, 1.0]] {
            let (a, b) = (forecast(&inline, 0, x, &UNIFORM), forecast(&aside, 0, x, &UNIFORM));
            assert!((a.mean - b.mean).abs() < 1e-9 && (a.leverage - b.leverage).abs() < 1e-9, "{a:?} {b:?}");
        }
    }

    #[test]
    fn a_bad_score_is_evidence_of_bad_health_where_good_ones_were_expected() {
        let mut m = model();
        let judge = |m: &QualityModel| m.judge(1, &mut seen(m, [1.0, 0.0], &UNIFORM), 0.0, &UNIFORM, 0.9);
        let r = judge(&m);
        // 0.9 * 0.2 against 0.1 * (1 - 0.35 * 0.8), both to the power of 1 / (1 + 20 * (1/2 + 1/4)).
        let certainty = 1.0 / 16.0;
        let (good, bad) = (0.9 * f64::powf(0.2, certainty), 0.1 * f64::powf(0.72, certainty));
        assert!((r.healthy - good / (good + bad)).abs() < 1e-12);
        assert!((r.regime.iter().sum::<f64>() - 1.0).abs() < 1e-12);
        for _ in 0..200 {
            teach(&mut m, 1, [1.0, 0.0], 0.8, &UNIFORM);
        }
        assert!(judge(&m).healthy < r.healthy - 0.1);
    }

    #[test]
    fn the_normal_distribution_function_has_its_known_values() {
        assert_eq!(normal_cdf(0.0), 0.5);
        assert!((normal_cdf(1.959_963_984_540_054) - 0.975).abs() < 1e-12);
    }
}
