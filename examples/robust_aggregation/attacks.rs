//! Honest submitters, and attackers who know what all of them send.

use rand_chacha::ChaCha20Rng;
use rand_distr::{Distribution, StandardNormal, Uniform};

/// What attackers do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Attack {
    /// Minus five times the honest mean.
    SignFlip,
    /// The honest mean less as many standard deviations as keep most honest submitters farther out (Baruch et al. 2019).
    LittleIsEnough,
    /// Minus half the honest mean, so that the inner product with it turns negative (Xie et al. 2019).
    InnerProduct,
    /// Uniform noise, a hundred times as wide as honest submitters scatter.
    Random,
    /// As the first, from three times as many identities as there are submitters, with the same weight in all.
    Sybil,
}

impl Attack {
    pub(crate) const ALL: [Self; 5] =
        [Self::SignFlip, Self::LittleIsEnough, Self::InnerProduct, Self::Random, Self::Sybil];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::SignFlip => "sign flip",
            Self::LittleIsEnough => "ALIE",
            Self::InnerProduct => "inner product",
            Self::Random => "random",
            Self::Sybil => "Sybil",
        }
    }

    /// How many submit what attackers send, of `attackers` among `all`.
    pub(crate) fn identities(self, attackers: usize, all: usize) -> usize {
        if self == Self::Sybil && attackers > 0 { 3 * all } else { attackers }
    }

    /// One prior of an attacker.
    pub(crate) fn prior(self, crowd: &Crowd, attackers: usize, rng: &mut ChaCha20Rng) -> Vec<f64> {
        let shifted = |by: f64| crowd.mean.iter().zip(&crowd.deviation).map(|(m, s)| m - by * s).collect();
        let scaled = |by: f64| crowd.mean.iter().map(|m| by * m).collect();
        match self {
            Self::SignFlip | Self::Sybil => scaled(-5.0),
            Self::LittleIsEnough => shifted(little(crowd.rows.len() + attackers, attackers)),
            Self::InnerProduct => scaled(-0.5),
            Self::Random => {
                let wide = Uniform::new(-100.0 * SCATTER, 100.0 * SCATTER).expect("a range");
                crowd.mean.iter().map(|_| wide.sample(rng)).collect()
            }
        }
    }
}

/// Honest submitters.
pub(crate) struct Crowd {
    pub(crate) rows: Vec<Vec<f64>>,
    /// Mean and standard deviation of each element.
    pub(crate) mean: Vec<f64>,
    pub(crate) deviation: Vec<f64>,
}

/// Standard deviation of what honest submitters send.
const SCATTER: f64 = 0.5;

impl Crowd {
    /// Normal priors around a centre of their own.
    pub(crate) fn draw(count: usize, dimension: usize, rng: &mut ChaCha20Rng) -> Self {
        let normal = |rng: &mut ChaCha20Rng| -> f64 { StandardNormal.sample(rng) };
        let centre: Vec<f64> = (0..dimension).map(|_| 2.0 + normal(rng)).collect();
        let row = |rng: &mut ChaCha20Rng| centre.iter().map(|c| c + SCATTER * normal(rng)).collect();
        let rows: Vec<Vec<f64>> = (0..count).map(|_| row(rng)).collect();
        let n = count as f64;
        let mean: Vec<f64> = (0..dimension).map(|j| rows.iter().map(|row| row[j]).sum::<f64>() / n).collect();
        let variance = |j: usize| rows.iter().map(|row: &Vec<f64>| (row[j] - mean[j]).powi(2)).sum::<f64>() / n;
        let deviation = (0..dimension).map(|j| variance(j).sqrt()).collect();
        Self { rows, mean, deviation }
    }

    /// Root mean square distance to the honest mean, in standard deviations of an honest submitter.
    pub(crate) fn error(&self, point: &[f64]) -> f64 {
        let squares = point.iter().zip(&self.mean).map(|(x, m)| ((x - m) / SCATTER).powi(2));
        (squares.sum::<f64>() / point.len() as f64).sqrt()
    }

    /// Share of elements between the least and the greatest honest value, up to the rounding to 32 fractional bits.
    pub(crate) fn inside(&self, point: &[f64]) -> f64 {
        let inside = point.iter().enumerate().filter(|(j, x)| {
            let values = || self.rows.iter().map(|row| row[*j]);
            let (low, high) = (values().fold(f64::INFINITY, f64::min), values().fold(f64::NEG_INFINITY, f64::max));
            (low - 1e-9..=high + 1e-9).contains(*x)
        });
        inside.count() as f64 / point.len() as f64
    }
}

/// How many deviations attackers may shift so that, with the honest submitters beyond them, they are a majority:
/// the quantile of (n - f - s) / (n - f), where s = n/2 + 1 - f.
fn little(n: usize, f: usize) -> f64 {
    let (n, f) = (n as f64, f as f64);
    let s = (n / 2.0 + 1.0).floor() - f;
    let p = ((n - f - s) / (n - f)).clamp(0.5, 0.999);
    let (mut low, mut high) = (0.0, 4.0);
    for _ in 0..60 {
        let middle = 0.5 * (low + high);
        if normal(middle) < p { low = middle } else { high = middle }
    }
    low
}

/// The distribution function of the standard normal distribution for x >= 0 (Abramowitz and Stegun 26.2.17, to 10^-7).
fn normal(x: f64) -> f64 {
    let t = 1.0 / (1.0 + 0.231_641_9 * x);
    let series = [0.319_381_530, -0.356_563_782, 1.781_477_937, -1.821_255_978, 1.330_274_429];
    let tail = series.iter().rev().fold(0.0, |sum, b| (sum + b) * t);
    1.0 - (-0.5 * x * x).exp() / (2.0 * std::f64::consts::PI).sqrt() * tail
}
