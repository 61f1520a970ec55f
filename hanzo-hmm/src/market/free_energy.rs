//! Expected free energy of sending a request to a model.

use std::ops::AddAssign;

use super::likelihood::QualityForecast;

/// Expected free energy of one choice, in nats, with its parts. Less is better.
///
/// In a decision with the [linear](super::Likelihood::Linear) likelihood the outcome has four modalities: quality (a good or a bad answer), whether
/// the asked quality is met, latency (four bins) and money. Each has a preferred distribution `P~`; for money it is exponential and, as the amount
/// is certain, its normaliser, equal for all models, is left out. With the [categorical](super::Likelihood::Categorical) one they are quality
/// (three outcomes), latency, money (four bins each) and whether there is an answer; in a [`GenerativeModel`](super::GenerativeModel) its own.
///
/// Always `risk + ambiguity = -(pragmatic + epistemic)` and `total = risk + ambiguity - novelty`, up to rounding; `risk` and
/// `ambiguity` are not negative, so `total` is negative only through `novelty` (Friston et al., Neural Computation 29:1, 2017; Parr, Pezzulo and
/// Friston, Active Inference, 2022).
#[derive(Debug, Clone, Copy, PartialEq, Default)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Efe {
    /// `risk + ambiguity - novelty`.
    pub total: f64,
    /// How far the expected outcomes are from the preferred ones, `KL(q(o) || P~(o))`: summed over the modalities with the linear likelihood and
    /// [`Gain::PerModality`](super::Gain::PerModality), of the joint outcome with the categorical one and [`Gain::Joint`](super::Gain::Joint).
    pub risk: f64,
    /// Uncertainty of the outcome that remains when the hidden state `s` (regime and health) is known: `E_q[H(o | s)]`.
    pub ambiguity: f64,
    /// Information about the hidden state to be gained from the outcome, `I(s; o)`; with the linear likelihood from the quality alone.
    pub epistemic: f64,
    /// Expected log preference of the outcomes, `sum E_q[ln P~(o)]`; not positive.
    pub pragmatic: f64,
    /// Weighted information to be gained about parameters: about the coefficients of this model with the linear likelihood,
    /// `w_nov (1/2) ln(1 + z' P z)`, otherwise about the counts ([`dirichlet_novelty`](super::dirichlet_novelty)).
    pub novelty: f64,
}

impl Efe {
    pub(crate) const ZERO: Self =
        Self { total: 0.0, risk: 0.0, ambiguity: 0.0, epistemic: 0.0, pragmatic: 0.0, novelty: 0.0 };
}

impl AddAssign for Efe {
    fn add_assign(&mut self, other: Self) {
        self.total += other.total;
        self.risk += other.risk;
        self.ambiguity += other.ambiguity;
        self.epistemic += other.epistemic;
        self.pragmatic += other.pragmatic;
        self.novelty += other.novelty;
    }
}

/// Weights of what is preferred.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Preferences {
    /// Log odds of a good answer against a bad one (`z_q`).
    pub(crate) quality: f64,
    /// Log odds of meeting the asked quality against missing it.
    pub(crate) threshold: f64,
    /// Quality that a dollar is worth (`lambda`).
    pub(crate) usd: f64,
    /// `w_nov`.
    pub(crate) novelty: f64,
    /// `ln P~` of the latency bins.
    pub(crate) log_latency: [f64; LATENCY_BINS],
    /// `ln P~` of an answer and of none, which is as bad as a bad one.
    pub(crate) log_answer: [f64; 2],
    /// `ln P~` of a good answer and of a met threshold.
    log_best: [f64; 2],
}

/// What a decision needs to know of one model.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Assessment {
    pub(crate) efe: Efe,
    /// Expected quality.
    pub(crate) quality: f64,
    /// Probability that the quality reaches the asked one.
    pub(crate) meets: f64,
}

impl Preferences {
    /// From the weights, with the logarithms that every decision needs.
    pub(crate) fn new(quality: f64, threshold: f64, latency: f64, usd: f64, novelty: f64) -> Self {
        let costs = LATENCY_COSTS.map(|cost| -latency * cost);
        // The first bin costs nothing, so the sum is at least 1.
        let normaliser = costs.iter().map(|c| c.exp()).sum::<f64>().ln();
        let log_best = [quality, threshold].map(|odds: f64| -(-odds).exp().ln_1p());
        Self {
            quality,
            threshold,
            usd,
            novelty,
            log_latency: costs.map(|c| c - normaliser),
            log_answer: [log_best[0], log_best[0] - quality],
            log_best,
        }
    }

    /// The free energy of a model with this forecast, a price in dollars and probabilities of the latency bins.
    pub(crate) fn evaluate(&self, quality: &QualityForecast, usd: f64, latency: &[f64; LATENCY_BINS]) -> Efe {
        let good = quality.mean;
        let q_pragmatic = self.log_best[0] - self.quality * (1.0 - good);
        let q_ambiguity = quality.conditional_entropy;
        let q_epistemic = (binary_entropy(good) - q_ambiguity).max(0.0);

        let t_pragmatic = self.log_best[1] - self.threshold * (1.0 - quality.meets);
        let t_ambiguity = binary_entropy(quality.meets);

        let l_pragmatic: f64 = latency.iter().zip(self.log_latency).map(|(p, c)| p * c).sum();
        let l_ambiguity: f64 = latency.iter().map(|&p| surprise(p)).sum();

        let money = self.quality * self.usd * usd;

        let pragmatic = q_pragmatic + t_pragmatic + l_pragmatic - money;
        let ambiguity = q_ambiguity + t_ambiguity + l_ambiguity;
        // Each difference is a Kullback-Leibler divergence; rounding may carry it a hair below 0.
        let risk = (-q_pragmatic - q_epistemic - q_ambiguity).max(0.0)
            + (-t_pragmatic - t_ambiguity).max(0.0)
            + (-l_pragmatic - l_ambiguity).max(0.0)
            + money;
        let novelty = self.novelty * 0.5 * quality.leverage.ln_1p();
        Efe { total: risk + ambiguity - novelty, risk, ambiguity, epistemic: q_epistemic, pragmatic, novelty }
    }
}

/// `H(p)` of a binary outcome in nats; 0 at both ends.
pub(crate) fn binary_entropy(p: f64) -> f64 {
    surprise(p) + surprise(1.0 - p)
}

/// `-p ln p`, exactly 0 at 0.
fn surprise(p: f64) -> f64 {
    if p > 0.0 { -p * p.ln() } else { 0.0 }
}

/// Latency bins: below half the limit, below the limit, below twice the limit, and later or never.
pub(crate) const LATENCY_BINS: usize = 4;

/// Cost of each bin in units of `z_l`; guesses.
const LATENCY_COSTS: [f64; LATENCY_BINS] = [0.0, 0.25, 1.0, 2.0];

#[cfg(test)]
mod tests {
    use super::*;

    fn weights() -> Preferences {
        Preferences::new(10.0, 2.0, 1.0, 200.0, 4.0)
    }

    fn forecast(means: &[(f64, f64)], meets: f64, leverage: f64) -> QualityForecast {
        QualityForecast {
            mean: means.iter().map(|(q, m)| q * m).sum(),
            conditional_entropy: means.iter().map(|(q, m)| q * binary_entropy(*m)).sum(),
            meets,
            leverage,
        }
    }

    /// The four modalities written out one outcome at a time.
    #[test]
    fn equals_the_sum_over_outcomes() {
        let states = [(0.4, 0.9), (0.3, 0.5), (0.3, 0.2)];
        let latency = [0.5, 0.3, 0.15, 0.05];
        let efe = weights().evaluate(&forecast(&states, 0.7, 0.8), 0.003, &latency);

        let mean: f64 = states.iter().map(|(q, m)| q * m).sum();
        let kl = |q: &[f64], p: &[f64]| -> f64 { q.iter().zip(p).map(|(q, p)| q * (q / p).ln()).sum() };
        let softmax = |c: &[f64]| -> Vec<f64> {
            let z: f64 = c.iter().map(|c| c.exp()).sum();
            c.iter().map(|c| c.exp() / z).collect()
        };
        let risk = kl(&[mean, 1.0 - mean], &softmax(&[10.0, 0.0]))
            + kl(&[0.7, 0.3], &softmax(&[2.0, 0.0]))
            + kl(&latency, &softmax(&[0.0, -0.25, -1.0, -2.0]))
            + 10.0 * 200.0 * 0.003;
        let entropy = |p: &[f64]| -> f64 { p.iter().map(|p| -p * p.ln()).sum() };
        let ambiguity = states.iter().map(|(q, m)| q * entropy(&[*m, 1.0 - m])).sum::<f64>()
            + entropy(&[0.7, 0.3])
            + entropy(&latency);
        assert!((efe.risk - risk).abs() < 1e-12);
        assert!((efe.ambiguity - ambiguity).abs() < 1e-12);
        let joint: f64 = states
            .iter()
            .flat_map(|&(q, m)| [(q, m, mean), (q, 1.0 - m, 1.0 - mean)])
            .map(|(q, p, marginal)| q * p * (p / marginal).ln())
            .sum();
        assert!((efe.epistemic - joint).abs() < 1e-12, "epistemic value is the mutual information");
        assert!((efe.novelty - 2.0 * 1.8f64.ln()).abs() < 1e-12);
        assert!((efe.risk + efe.ambiguity + efe.pragmatic + efe.epistemic).abs() < 1e-12);
        assert!((efe.total - (efe.risk + efe.ambiguity - efe.novelty)).abs() < 1e-12);
    }

    #[test]
    fn certain_outcomes_give_finite_parts() {
        for mean in [0.0, 1.0] {
            let efe = weights().evaluate(&forecast(&[(1.0, mean)], mean, 0.0), 0.0, &[1.0, 0.0, 0.0, 0.0]);
            assert!(efe.total.is_finite() && efe.total >= 0.0);
            assert_eq!((efe.ambiguity, efe.epistemic, efe.novelty), (0.0, 0.0, 0.0));
        }
    }
}
