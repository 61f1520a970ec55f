//! Gaussian emissions: diagonal, spherical, full and tied covariances.

mod diag;
mod full;
mod moments;
mod scatter;
mod spherical;
mod start;
mod tied;
mod tile;

pub use diag::{GaussianDiag, GaussianDiagStats};
pub use full::GaussianFull;
pub use scatter::GaussianFullStats;
pub use spherical::GaussianSpherical;
pub use tied::GaussianTied;

pub(crate) use start::{Clusters, clusters};

use crate::{Error, Result};

/// The smallest variance that training may choose: `relative` times the variance of the coordinate over the training
/// data, plus `absolute`. Without it a state that holds a single point has an unbounded likelihood.
///
/// The default is 1e-6 and 1e-12. With a floor active the likelihood may fall, which
/// [`FitSummary::floored`](crate::FitSummary::floored) tells. For full and tied covariances the floor is that of the
/// pivots of the Cholesky factor; a matrix that does not reach it gets floor * 10^k added to its diagonal, with the
/// smallest k that helps. For spherical ones it is the mean of the coordinates' floors.
///
/// ```
/// use hanzo_hmm::VarianceFloor;
///
/// let floor = VarianceFloor::new(1e-4, 0.0)?; // a ten-thousandth of the variance of the data
/// assert_ne!(floor, VarianceFloor::default());
/// # Ok::<(), hanzo_hmm::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct VarianceFloor {
    relative: f64,
    absolute: f64,
}

impl VarianceFloor {
    /// The floor `relative * variance of the data + absolute`, in the squared unit of the coordinate.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidOption`] when either is negative or not finite.
    pub fn new(relative: f64, absolute: f64) -> Result<Self> {
        for (name, value) in [("relative variance floor", relative), ("absolute variance floor", absolute)] {
            if !(value.is_finite() && value >= 0.0) {
                return Err(Error::InvalidOption { name });
            }
        }
        Ok(Self { relative, absolute })
    }

    /// The floor of a coordinate with this variance over the data.
    fn of(&self, data_variance: f64) -> f64 {
        (self.relative * data_variance + self.absolute).clamp(f64::MIN_POSITIVE, f64::MAX)
    }
}

impl Default for VarianceFloor {
    fn default() -> Self {
        Self { relative: 1e-6, absolute: 1e-12 }
    }
}

/// Checks the length of an observation and that its numbers are finite, NaN aside where `partial`.
#[inline]
fn check_vector(o: &[f64], dim: usize, position: usize, partial: bool) -> Result<()> {
    if o.len() != dim {
        return Err(Error::DimensionMismatch { what: "observation", expected: dim, found: o.len() });
    }
    // A finite number times 0 is 0, any other is NaN.
    if o.iter().map(|x| x * 0.0).sum::<f64>() == 0.0 {
        return Ok(());
    }
    if o.iter().all(|x| x.is_finite() || (partial && x.is_nan())) {
        Ok(())
    } else {
        Err(Error::NonFiniteObservation { position })
    }
}

/// Checks that every mean is finite.
fn check_means(means: &[f64], dim: usize) -> Result<()> {
    match means.iter().position(|m| !m.is_finite()) {
        Some(at) => Err(Error::InvalidParameter { what: "mean", state: at / dim }),
        None => Ok(()),
    }
}

/// P(X < x) of a normal variable.
pub(crate) fn normal_cdf(x: f64, mean: f64, variance: f64) -> f64 {
    0.5 * libm::erfc((mean - x) / (2.0 * variance).sqrt())
}

const LN_2_PI: f64 = 1.837_877_066_409_345_3;
