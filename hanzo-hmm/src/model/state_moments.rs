//! Means and variances of what a state emits, for forecasts.

use super::{Emission, GaussianDiag, GaussianFull, GaussianMixture, GaussianSpherical, GaussianTied, Poisson, Product};

/// Families over vectors of numbers, every coordinate of which has a mean and a variance in every state. It is what
/// [`Hmm::predict_moments`](crate::Hmm::predict_moments) needs.
///
/// ```
/// use hanzo_hmm::{Poisson, StateMoments};
///
/// let counts = Poisson::new(vec![vec![2.0, 0.5], vec![7.0, 0.25]])?;
/// assert_eq!(counts.n_coordinates(), 2);
/// assert_eq!(counts.moments(1, 0), (7.0, 7.0));
/// # Ok::<(), hanzo_hmm::Error>(())
/// ```
pub trait StateMoments: Emission {
    /// Number of coordinates of an observation.
    fn n_coordinates(&self) -> usize;

    /// Mean and variance of a coordinate in a state.
    ///
    /// # Panics
    ///
    /// May panic, as a slice does, for a state or a coordinate that does not exist.
    fn moments(&self, state: usize, coordinate: usize) -> (f64, f64);
}

impl StateMoments for GaussianDiag {
    fn n_coordinates(&self) -> usize {
        self.dim()
    }

    fn moments(&self, state: usize, coordinate: usize) -> (f64, f64) {
        let at = state * self.dim() + coordinate;
        (self.means()[at], self.variances()[at])
    }
}

impl StateMoments for GaussianSpherical {
    fn n_coordinates(&self) -> usize {
        self.dim()
    }

    fn moments(&self, state: usize, coordinate: usize) -> (f64, f64) {
        (self.means()[state * self.dim() + coordinate], self.variances()[state])
    }
}

impl StateMoments for GaussianTied {
    fn n_coordinates(&self) -> usize {
        self.dim()
    }

    fn moments(&self, state: usize, coordinate: usize) -> (f64, f64) {
        let dim = self.dim();
        (self.means()[state * dim + coordinate], self.covariance()[coordinate * (dim + 1)])
    }
}

impl StateMoments for GaussianFull {
    fn n_coordinates(&self) -> usize {
        self.dim()
    }

    fn moments(&self, state: usize, coordinate: usize) -> (f64, f64) {
        let dim = self.dim();
        (self.means()[state * dim + coordinate], self.covariances()[state * dim * dim + coordinate * (dim + 1)])
    }
}

/// Variance inside of the components and between them.
impl StateMoments for GaussianMixture {
    fn n_coordinates(&self) -> usize {
        self.dim()
    }

    fn moments(&self, state: usize, coordinate: usize) -> (f64, f64) {
        let (dim, count) = (self.dim(), self.n_components());
        let parts = (state * count..(state + 1) * count).map(|part| {
            let at = if self.is_full() { part * dim * dim + coordinate * (dim + 1) } else { part * dim + coordinate };
            (self.weights()[part], (self.means()[part * dim + coordinate], self.covariances()[at]))
        });
        mixed(parts)
    }
}

impl StateMoments for Poisson {
    fn n_coordinates(&self) -> usize {
        self.dim()
    }

    fn moments(&self, state: usize, coordinate: usize) -> (f64, f64) {
        let rate = self.rates()[state * self.dim() + coordinate];
        (rate, rate)
    }
}

/// The coordinates of the first family, then those of the second.
impl<A: StateMoments + Clone, B: StateMoments + Clone> StateMoments for Product<A, B> {
    fn n_coordinates(&self) -> usize {
        self.first().n_coordinates() + self.second().n_coordinates()
    }

    fn moments(&self, state: usize, coordinate: usize) -> (f64, f64) {
        match coordinate.checked_sub(self.first().n_coordinates()) {
            None => self.first().moments(state, coordinate),
            Some(coordinate) => self.second().moments(state, coordinate),
        }
    }
}

/// Mean and variance of a mixture, from the weights, means and variances of its parts. Parts without weight do not
/// count, so that what overflows in them is not multiplied by 0.
pub(crate) fn mixed(parts: impl Iterator<Item = (f64, (f64, f64))> + Clone) -> (f64, f64) {
    let parts = parts.filter(|(weight, _)| *weight > 0.0);
    let mean = parts.clone().map(|(weight, (mean, _))| weight * mean).sum::<f64>();
    let spread = |(weight, (own, variance)): (f64, (f64, f64))| weight * (variance + (own - mean) * (own - mean));
    (mean, parts.map(spread).sum())
}
