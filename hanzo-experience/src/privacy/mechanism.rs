use rand_core::CryptoRng;

use super::sampler::{discrete_gaussian, discrete_laplace};
use super::{Accountant, Loss};
use crate::{Error, Result};

/// Which data sets count as neighbours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Adjacency {
    /// One record more or less: a clipped vector moves a sum by its norm at most.
    AddRemove,
    /// One record in place of another: by twice that.
    ReplaceOne,
}

impl Adjacency {
    fn factor(self) -> f64 {
        match self {
            Self::AddRemove => 1.0,
            Self::ReplaceOne => 2.0,
        }
    }
}

/// The least standard deviation of Gaussian noise that makes a sum of this Euclidean sensitivity (epsilon, delta)-private:
/// the analytic calibration of Balle and Wang, to 10^-9 of itself, rounded up.
///
/// ```
/// let sigma = hanzo_experience::privacy::gaussian_sigma(1.0, 1e-5, 1.0)?;
/// assert!((sigma - 3.7306316).abs() < 1e-6);
/// # Ok::<(), hanzo_experience::Error>(())
/// ```
///
/// # Errors
/// [`Error::OutOfRange`] unless `0.001 <= epsilon <= 64`, `10^-12 <= delta <= 0.5` and the sensitivity is positive and at
/// most 10^12.
pub fn gaussian_sigma(epsilon: f64, delta: f64, sensitivity: f64) -> Result<f64> {
    if !(1e-3..=64.0).contains(&epsilon) {
        return Err(Error::OutOfRange { field: "epsilon" });
    }
    if !(1e-12..=0.5).contains(&delta) {
        return Err(Error::OutOfRange { field: "delta" });
    }
    if sensitivity.is_nan() || sensitivity <= 0.0 || sensitivity > 1e12 {
        return Err(Error::OutOfRange { field: "sensitivity" });
    }
    // In units of the sensitivity; the delta needed falls as sigma grows.
    let needed = |sigma: f64| {
        let (half, shift) = (0.5 / sigma, epsilon * sigma);
        normal(half - shift) - epsilon.exp() * normal(-half - shift)
    };
    // Above what the rounding of the difference could hide.
    let private = |sigma: f64| needed(sigma) <= delta * (1.0 - 1e-10) - 1e-15;
    let (mut low, mut high) = (1e-3, 1e5);
    while high - low > 1e-10 * low {
        let middle = 0.5 * (low + high);
        if private(middle) {
            high = middle;
        } else {
            low = middle;
        }
    }
    Ok(high * sensitivity)
}

/// The distribution function of the standard normal distribution.
fn normal(x: f64) -> f64 {
    0.5 * libm::erfc(-x * core::f64::consts::FRAC_1_SQRT_2)
}

/// Gaussian noise for vectors of a bounded norm.
///
/// A vector is scaled down to the norm, rounded to a lattice (about a millionth of sigma), and gets discrete Gaussian
/// noise in every coordinate. The calibration counts in what rounding can add to the sensitivity. Concentrated privacy
/// is exact for the lattice; the calibration by epsilon and delta is that of continuous noise, from which noise on so
/// fine a lattice does not differ measurably.
#[derive(Debug, Clone, PartialEq)]
pub struct GaussianMechanism {
    clip: f64,
    dimension: usize,
    /// Distance of lattice points, a power of two.
    step: f64,
    /// Sigma in steps.
    sigma: u32,
    loss: Loss,
}

impl GaussianMechanism {
    /// Noise for vectors of this dimension, scaled down to norm `clip` where they are longer.
    ///
    /// # Errors
    /// [`Error::OutOfRange`] unless `1 <= dimension <= 65,536` and `10^-6 <= clip <= 10^6`; those of [`gaussian_sigma`].
    pub fn new(epsilon: f64, delta: f64, clip: f64, adjacency: Adjacency, dimension: usize) -> Result<Self> {
        if !(1..=65_536).contains(&dimension) {
            return Err(Error::OutOfRange { field: "dimension" });
        }
        if !(1e-6..=1e6).contains(&clip) {
            return Err(Error::OutOfRange { field: "clip" });
        }
        let plain = clip * adjacency.factor();
        let step = gaussian_sigma(epsilon, delta, plain)?.log2().floor().exp2() / STEPS;
        // Each of two neighbours is off by half a step in each coordinate at most; scaling rounds in the last bits.
        let sensitivity = plain * (1.0 + 1e-12) + step * (dimension as f64).sqrt();
        let wanted = gaussian_sigma(epsilon, delta, sensitivity)? / step;
        // At most about 2^22: the lattice adds less than 256 / 2^20 of sigma.
        let sigma = wanted.ceil() as u32;
        let rho = 0.5 * (sensitivity / (f64::from(sigma) * step)).powi(2);
        Ok(Self { clip, dimension, step, sigma, loss: Loss { epsilon, delta, rho } })
    }

    /// Standard deviation of the noise in each coordinate.
    pub fn sigma(&self) -> f64 {
        f64::from(self.sigma) * self.step
    }

    /// What a release costs.
    pub fn loss(&self) -> Loss {
        self.loss
    }

    /// The vector with noise.
    ///
    /// # Errors
    /// [`Error::DimensionMismatch`], [`Error::NonFinite`]; [`Error::BudgetExhausted`]. Nothing is spent or drawn then.
    pub fn release<R: CryptoRng + ?Sized>(
        &self,
        budget: &mut Accountant,
        vector: &[f32],
        rng: &mut R,
    ) -> Result<Vec<f32>> {
        if vector.len() != self.dimension {
            return Err(Error::DimensionMismatch { got: vector.len(), want: self.dimension });
        }
        if let Some(index) = vector.iter().position(|x| !x.is_finite()) {
            return Err(Error::NonFinite { index });
        }
        budget.spend(&self.loss)?;
        let norm = vector.iter().map(|x| f64::from(*x).powi(2)).sum::<f64>().sqrt();
        let scale = if norm > self.clip { self.clip / norm } else { 1.0 };
        let noisy = vector.iter().map(|x| {
            let place = (f64::from(*x) * scale / self.step).round_ties_even();
            let noisy = place as i128 + discrete_gaussian(self.sigma, rng);
            (noisy as f64 * self.step) as f32
        });
        Ok(noisy.collect())
    }
}

/// Discrete Laplace noise for counts: epsilon-private.
#[derive(Debug, Clone, PartialEq)]
pub struct DiscreteLaplace {
    /// Probabilities are proportional to exp(-|x| s / t).
    s: u128,
    t: u128,
    loss: Loss,
}

impl DiscreteLaplace {
    /// Noise for counts that one record moves by `sensitivity` at most, with epsilon = `numerator / denominator`.
    ///
    /// # Errors
    /// [`Error::OutOfRange`] if a number is 0.
    pub fn new(numerator: u32, denominator: u32, sensitivity: u32) -> Result<Self> {
        if numerator == 0 || denominator == 0 {
            return Err(Error::OutOfRange { field: "epsilon" });
        }
        if sensitivity == 0 {
            return Err(Error::OutOfRange { field: "sensitivity" });
        }
        let epsilon = f64::from(numerator) / f64::from(denominator);
        let loss = Loss { epsilon, delta: 0.0, rho: 0.5 * epsilon * epsilon };
        Ok(Self { s: numerator.into(), t: u128::from(denominator) * u128::from(sensitivity), loss })
    }

    /// What a release costs.
    pub fn loss(&self) -> Loss {
        self.loss
    }

    /// The count with noise; it may be negative.
    ///
    /// # Errors
    /// [`Error::BudgetExhausted`]; nothing is drawn then. [`Error::Overflow`] beyond 64 bits.
    pub fn release<R: CryptoRng + ?Sized>(&self, budget: &mut Accountant, count: i64, rng: &mut R) -> Result<i64> {
        budget.spend(&self.loss)?;
        add(count, discrete_laplace(self.s, self.t, rng))
    }
}

/// Discrete Gaussian noise for counts: concentrated privacy with rho = sensitivity^2 / 2 sigma^2, exactly.
#[derive(Debug, Clone, PartialEq)]
pub struct DiscreteGaussian {
    sigma: u32,
    loss: Loss,
}

impl DiscreteGaussian {
    /// Noise of this sigma for counts that one record moves by `sensitivity` at most. Under basic composition a release
    /// costs delta, and the epsilon that rho stands for at it.
    ///
    /// # Errors
    /// [`Error::OutOfRange`] unless `1 <= sigma < 2^24`, the sensitivity is positive and `10^-18 <= delta < 1`.
    pub fn new(sigma: u32, sensitivity: u32, delta: f64) -> Result<Self> {
        if !(1..1 << 24).contains(&sigma) {
            return Err(Error::OutOfRange { field: "sigma" });
        }
        if sensitivity == 0 {
            return Err(Error::OutOfRange { field: "sensitivity" });
        }
        if !(1e-18..1.0).contains(&delta) {
            return Err(Error::OutOfRange { field: "delta" });
        }
        let rho = 0.5 * (f64::from(sensitivity) / f64::from(sigma)).powi(2);
        Ok(Self { sigma, loss: Loss { epsilon: rho + 2.0 * (rho * -delta.ln()).sqrt(), delta, rho } })
    }

    /// What a release costs.
    pub fn loss(&self) -> Loss {
        self.loss
    }

    /// The count with noise; it may be negative.
    ///
    /// # Errors
    /// [`Error::BudgetExhausted`]; nothing is drawn then. [`Error::Overflow`] beyond 64 bits.
    pub fn release<R: CryptoRng + ?Sized>(&self, budget: &mut Accountant, count: i64, rng: &mut R) -> Result<i64> {
        budget.spend(&self.loss)?;
        add(count, discrete_gaussian(self.sigma, rng))
    }
}

fn add(count: i64, noise: i128) -> Result<i64> {
    i64::try_from(i128::from(count) + noise).map_err(|_| Error::Overflow)
}

/// Steps of the lattice in a sigma, up to a factor of two.
const STEPS: f64 = 1_048_576.0;
