//! What is believed about the quality of each model's answers.
//!
//! `y = base_u + v_u . z(x) + b_{r,u} + noise` in regime `r`; a degraded model gives a fixed part of that quality, a model that fails to
//! answer gives none. `z(x)` is short: the request's shares of a few dozen [`Prototypes`] and the few features that are no hashed words. So
//! each outcome teaches about all requests of its kind, and a decision costs little. What is learned about one model says
//! nothing about another: on real outcomes a part shared by all models cost more by taking away the benefit of the doubt
//! than it saved.

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::Arc;

use super::beliefs::Beliefs;
use super::free_energy::binary_entropy;
use super::linear::{BayesianLinear, dot};
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

/// The quality model of all models of a catalogue.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct QualityModel {
    prototypes: Prototypes,
    own: Vec<BayesianLinear>,
    base: Vec<f64>,
    dim: usize,
    linear: Range<usize>,
    regimes: usize,
    forgetting: f64,
    /// Weight of the outcomes of each model by which its older ones are still to age.
    pending: Vec<f64>,
    /// The last outcomes, from which coefficients are found again when the prototypes have moved.
    memory: VecDeque<Remembered>,
    /// Outcomes remembered so far.
    remembered: u64,
    refitting: bool,
}

/// An outcome; the features are shared with a refit that is under way.
#[derive(Debug, Clone, PartialEq)]
struct Remembered {
    features: Arc<[f32]>,
    regime: Beliefs,
    model: usize,
    score: f64,
    weight: f64,
}

impl QualityModel {
    /// `dim` features, of which those in `linear` enter the regression as they are, a number of regimes, and one prior mean quality a model.
    pub(crate) fn new(dim: usize, linear: Range<usize>, regimes: usize, base: Vec<f64>) -> Result<Self> {
        let linear = linear.start.min(dim)..linear.end.min(dim);
        let own = BayesianLinear::new(&prior(linear.len(), regimes))?;
        let prototypes = Prototypes::new(dim);
        Ok(Self {
            prototypes,
            own: vec![own; base.len()],
            forgetting: 1.0,
            pending: vec![0.0; base.len()],
            base,
            dim,
            linear,
            regimes,
            memory: VecDeque::new(),
            remembered: 0,
            refitting: false,
        })
    }

    /// Outcomes count less by this factor with each later one of their model.
    pub(crate) fn forgetting(self, factor: f64) -> Self {
        Self { forgetting: factor, ..self }
    }

    /// Number of features.
    pub(crate) fn dim(&self) -> usize {
        self.dim
    }

    /// Number of models.
    pub(crate) fn models(&self) -> usize {
        self.own.len()
    }

    /// What the regression sees of a request: linear features, shares of the prototypes, probabilities of the regimes.
    pub(crate) fn represent(&self, x: &[f64], regime: &[f64], out: &mut Vec<f64>) {
        let mut shares = [0.0; MOST];
        self.prototypes.shares(x, &mut shares);
        out.clear();
        out.extend(&x[self.linear.clone()]);
        out.extend(shares);
        out.extend(regime);
    }

    /// Takes a request into the search for prototypes. Now and then a refit is due, which costs `O(32 d)` for each of a thousand sampled requests
    /// and eight thousand outcomes: it can [run](Refit::run) anywhere, and is then [installed](Self::install).
    pub(crate) fn observe(&mut self, x: &[f64]) -> Option<Refit> {
        let sample = self.prototypes.observe(x, self.refitting)?;
        self.refitting = true;
        Some(Refit { sample, model: self.clone_for_refit() })
    }

    /// [`observe`](Self::observe) with the refit on the spot.
    pub(crate) fn observe_and_fit(&mut self, x: &[f64]) {
        if let Some(refit) = self.observe(x) {
            self.install(refit.run());
        }
    }

    /// All but the sample of requests.
    fn clone_for_refit(&self) -> Self {
        Self {
            prototypes: self.prototypes.without_sample(),
            own: self.own.clone(),
            base: self.base.clone(),
            dim: self.dim,
            linear: self.linear.clone(),
            regimes: self.regimes,
            forgetting: self.forgetting,
            pending: Vec::new(),
            memory: self.memory.clone(),
            remembered: self.remembered,
            refitting: true,
        }
    }

    /// Takes over what a refit found, with the outcomes that have come since it began.
    pub(crate) fn install(&mut self, refitted: Refitted) {
        let Refitted { fit, mut own, remembered } = refitted;
        self.refitting = false;
        self.prototypes.install(fit);
        let since = usize::try_from(self.remembered - remembered).unwrap_or(usize::MAX).min(self.memory.len());
        self.pending.fill(0.0);
        for (new, old) in own.iter_mut().zip(&self.own) {
            new.same_noise(old);
        }
        if since > 0 {
            let mut x = vec![0.0; self.dim];
            let mut z = Vec::new();
            for past in self.memory.range(self.memory.len() - since..) {
                past.absorb(self, 1.0, &mut x, &mut z, &mut own);
                self.pending[past.model] += past.weight;
            }
            own.iter_mut().for_each(BayesianLinear::refresh);
        }
        self.own = own;
    }

    /// Mean quality of model `u` in each regime when healthy, before it is clipped to [0, 1].
    fn means<'a>(&'a self, u: usize, z: &[f64]) -> impl Iterator<Item = f64> + use<'a> {
        let own = self.own[u].coefficients();
        let (slopes, offsets) = own.split_at(own.len() - self.regimes);
        let common = self.base[u] + dot(slopes, &z[..slopes.len()]);
        offsets.iter().map(move |b| common + b)
    }

    /// The forecast for model `u` from what [`represent`](Self::represent) gave.
    pub(crate) fn forecast(&self, u: usize, z: &[f64], now: &Circumstances<'_>) -> QualityForecast {
        let means = self.means(u, z);
        let leverage = self.own[u].width(z);
        let sd = (self.own[u].noise_variance() * (1.0 + leverage)).sqrt();
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
    pub(crate) fn judge(&self, u: usize, z: &[f64], score: f64, regime: &[f64], healthy: f64) -> Responsibility {
        let certainty = 1.0 / (1.0 + DOUBT * self.own[u].width(z));
        let mut by_regime = Beliefs::filled(self.regimes, 0.0);
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
    /// `z` is memory.
    ///
    /// # Errors
    /// Those of [`BayesianLinear::update`].
    pub(crate) fn learn(
        &mut self,
        u: usize,
        x: &[f64],
        score: f64,
        responsibility: &Responsibility,
        weight: f64,
        z: &mut Vec<f64>,
    ) -> Result<()> {
        let weight = weight * responsibility.healthy;
        self.represent(x, &responsibility.regime, z);
        self.own[u].update(z, score - self.base[u], weight)?;
        if self.forgetting < 1.0 {
            self.pending[u] += weight;
            if self.pending[u] >= AGING {
                let keep = self.forgetting.powf(std::mem::take(&mut self.pending[u]));
                self.own[u].forget(keep, &prior(self.linear.len(), self.regimes));
            }
        }
        if weight > 0.0 {
            if self.memory.len() >= MOST_REMEMBERED {
                self.memory.pop_front();
            }
            self.remembered += 1;
            self.memory.push_back(Remembered {
                features: x.iter().map(|&v| v as f32).collect(),
                regime: responsibility.regime.clone(),
                model: u,
                score,
                weight,
            });
        }
        Ok(())
    }

    pub(crate) fn save(&self, w: &mut Writer) {
        self.prototypes.save(w);
        self.own.iter().for_each(|own| own.save(w));
        w.f64s(&self.pending);
        w.u64(self.memory.len() as u64);
        for past in &self.memory {
            w.floats(&past.features);
            w.f64s(&past.regime);
            w.u64(past.model as u64);
            w.f64s(&[past.score, past.weight]);
        }
    }

    pub(crate) fn load(&mut self, r: &mut Reader<'_>) -> Result<()> {
        self.prototypes.load(r)?;
        self.own.iter_mut().try_for_each(|own| own.load(r))?;
        r.amounts(&mut self.pending)?;
        self.memory.clear();
        self.refitting = false;
        for _ in 0..r.index(MOST_REMEMBERED + 1)? {
            let features = r.floats(self.dim)?;
            if features.len() != self.dim || features.iter().any(|v| v.abs() > 1e6) {
                return bad("memory");
            }
            let mut regime = Beliefs::filled(self.regimes, 0.0);
            r.distribution(&mut regime)?;
            let model = r.index(self.own.len())?;
            let (score, weight) = (r.amount()?, r.amount()?);
            if score > 1.0 || weight > 1.0 {
                return bad("memory");
            }
            self.memory.push_back(Remembered { features: features.into(), regime, model, score, weight });
        }
        Ok(())
    }
}

impl Remembered {
    /// Adds a part of the outcome to the model it came from, represented as `by` does it.
    fn absorb(&self, by: &QualityModel, part: f64, x: &mut [f64], z: &mut Vec<f64>, own: &mut [BayesianLinear]) {
        for (x, &v) in x.iter_mut().zip(&*self.features) {
            *x = f64::from(v);
        }
        by.represent(x, &self.regime, z);
        own[self.model].absorb(z, self.score - by.base[self.model], part * self.weight);
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
    own: Vec<BayesianLinear>,
    /// Outcomes that are in it.
    remembered: u64,
}

impl Refit {
    /// Finds the prototypes afresh, and the coefficients from the remembered outcomes.
    pub(crate) fn run(self) -> Refitted {
        let Self { sample, mut model } = self;
        let fit = sample.fit();
        model.prototypes.install(fit.clone());
        let prior = prior(model.linear.len(), model.regimes);
        let mut own = std::mem::take(&mut model.own);
        own.iter_mut().for_each(|own| own.restart(&prior));
        let (mut x, mut z) = (vec![0.0; model.dim], Vec::new());
        let mut later = vec![0.0; own.len()];
        model.memory.iter().for_each(|past| later[past.model] += past.weight);
        for past in &model.memory {
            later[past.model] -= past.weight;
            past.absorb(&model, model.forgetting.powf(later[past.model].max(0.0)), &mut x, &mut z, &mut own);
        }
        own.iter_mut().for_each(BayesianLinear::refresh);
        Refitted { fit, own, remembered: model.remembered }
    }
}

/// Prior precisions, in noise units, for so many linear features and regimes.
fn prior(linear: usize, regimes: usize) -> Vec<f64> {
    let mut out = vec![PRIOR; linear + MOST];
    out.resize(linear + MOST + regimes, REGIME_PRIOR);
    out
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
const STAY_HEALTHY: f64 = 0.999;
const STAY_DEGRADED: f64 = 0.99;
pub(crate) const DEGRADED_QUALITY: f64 = 0.35;
const LEAST_MEAN: f64 = 0.02;
/// By how much the variance of a forecast, in noise units, weakens what a score says about health.
const DOUBT: f64 = 20.0;
/// Outcomes of a model after which its older ones age together.
const AGING: f64 = 32.0;
/// Outcomes from which coefficients are found again.
const MOST_REMEMBERED: usize = 8_192;
// In noise units, chosen on a third of a table of real outcomes.
const PRIOR: f64 = 2.0;
const REGIME_PRIOR: f64 = 1.0;

#[cfg(test)]
mod tests {
    use super::*;

    const UNIFORM: [f64; 4] = [0.25; 4];

    fn model() -> QualityModel {
        QualityModel::new(2, 0..2, 4, vec![0.5, 0.8]).unwrap()
    }

    fn now(regime: &[f64; 4], threshold: f64) -> Circumstances<'_> {
        Circumstances { regime, healthy: 1.0, availability: 1.0, threshold }
    }

    fn seen(m: &QualityModel, x: [f64; 2], regime: &[f64; 4]) -> Vec<f64> {
        let mut z = Vec::new();
        m.represent(&x, regime, &mut z);
        z
    }

    fn forecast(m: &QualityModel, u: usize, x: [f64; 2], regime: &[f64; 4]) -> QualityForecast {
        m.forecast(u, &seen(m, x, regime), &now(regime, 0.6))
    }

    fn teach(m: &mut QualityModel, u: usize, x: [f64; 2], score: f64, regime: &[f64; 4]) {
        let r = m.judge(u, &seen(m, x, regime), score, regime, 1.0);
        m.learn(u, &x, score, &r, 1.0, &mut Vec::new()).unwrap();
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
        let judge = |m: &QualityModel| m.judge(1, &seen(m, [1.0, 0.0], &UNIFORM), 0.0, &UNIFORM, 0.9);
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
    fn health_decays_to_its_stationary_law_and_recovers() {
        let mut h = Health::new();
        for _ in 0..5_000 {
            h.step();
        }
        assert!((h.probability() - 0.01 / 0.011).abs() < 1e-9);
        h.move_to(1.0, 1.0);
        assert_eq!(h.probability(), 1.0);
    }

    #[test]
    fn the_normal_distribution_function_has_its_known_values() {
        assert_eq!(normal_cdf(0.0), 0.5);
        assert!((normal_cdf(1.959_963_984_540_054) - 0.975).abs() < 1e-12);
    }
}
