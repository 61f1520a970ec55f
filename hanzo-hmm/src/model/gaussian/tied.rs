//! Gaussian emissions whose states share one covariance matrix.

use rand_core::Rng;

use super::super::{Emission, NO_MASS, Observations};
use super::full::{covariance, raise};
use super::{GaussianFull, GaussianFullStats, VarianceFloor};
use crate::{Error, Result};

/// Each state emits a vector of `D` normal coordinates; all states share one covariance matrix.
///
/// ```
/// use hanzo_hmm::GaussianTied;
///
/// let means = vec![vec![0.0, 0.0], vec![3.0, 1.0]];
/// let family = GaussianTied::new(means, vec![vec![1.0, 0.2], vec![0.2, 1.0]])?;
/// assert_eq!(family.covariance(), [1.0, 0.2, 0.2, 1.0]);
/// # Ok::<(), hanzo_hmm::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct GaussianTied {
    /// The matrix repeated for every state.
    wide: GaussianFull,
}

impl GaussianTied {
    /// The family with one row of `D` means a state and one `D x D` matrix of covariances.
    ///
    /// # Errors
    ///
    /// As for [`GaussianFull::new`].
    pub fn new(means: Vec<Vec<f64>>, covariance_rows: Vec<Vec<f64>>) -> Result<Self> {
        let dim = means.first().map_or(0, Vec::len);
        if dim == 0 {
            return Err(Error::EmptyModel);
        }
        let table = covariance(covariance_rows, dim, 0)?;
        let means = super::super::flatten("means", means, dim)?;
        Self::from_tables(means, &table, dim)
    }

    /// Number of coordinates `D` of an observation.
    #[must_use]
    pub fn dim(&self) -> usize {
        self.wide.dim()
    }

    /// Means, row-major `S x D`.
    #[must_use]
    pub fn means(&self) -> &[f64] {
        self.wide.means()
    }

    /// The covariance matrix, row-major `D x D`.
    #[must_use]
    pub fn covariance(&self) -> &[f64] {
        self.wide.covariances().get(..self.dim() * self.dim()).unwrap_or_default()
    }

    fn from_tables(means: Vec<f64>, covariance: &[f64], dim: usize) -> Result<Self> {
        let n_states = means.len() / dim;
        Ok(Self { wide: GaussianFull::from_tables(means, covariance.repeat(n_states), dim)? })
    }
}

impl Emission for GaussianTied {
    type Obs<'a> = &'a [f64];
    type Owned = Vec<f64>;
    type Stats = GaussianFullStats;
    type Prior = VarianceFloor;

    fn n_states(&self) -> usize {
        self.wide.n_states()
    }

    #[inline]
    fn check(&self, o: &[f64], position: usize, partial: bool) -> Result<()> {
        self.wide.check(o, position, partial)
    }

    fn log_prob_into(&self, o: &[f64], out: &mut [f64]) {
        self.wide.log_prob_into(o, out);
    }

    fn log_prob_run(&self, run: &[Option<&[f64]>], out: &mut [f64]) {
        self.wide.log_prob_run(run, out);
    }

    fn mid_cdf_into(&self, o: &[f64], out: &mut [f64]) -> bool {
        self.wide.mid_cdf_into(o, out)
    }

    fn sample<R: Rng + ?Sized>(&self, state: usize, rng: &mut R) -> Vec<f64> {
        self.wide.sample(state, rng)
    }

    fn randomise<'a, Q, R>(&mut self, sequences: &[Q], rng: &mut R) -> Result<()>
    where
        Q: Observations<&'a [f64]>,
        R: Rng + ?Sized,
    {
        let mut wide = self.wide.clone();
        wide.randomise(sequences, rng)?;
        let (size, n) = (self.dim() * self.dim(), self.n_states() as f64);
        let pooled: Vec<f64> =
            (0..size).map(|k| wide.covariances().iter().skip(k).step_by(size).sum::<f64>() / n).collect();
        *self = Self::from_tables(wide.means().to_vec(), &pooled, self.dim())?;
        Ok(())
    }

    fn new_stats(&self) -> GaussianFullStats {
        self.wide.new_stats()
    }

    fn fits(&self, stats: &GaussianFullStats) -> bool {
        self.wide.fits(stats)
    }

    fn accumulate(&self, stats: &mut GaussianFullStats, o: &[f64], gamma: &[f64]) {
        self.wide.accumulate(stats, o, gamma);
    }

    fn accumulate_run(&self, stats: &mut GaussianFullStats, run: &[Option<&[f64]>], gamma: &[f64]) {
        self.wide.accumulate_run(stats, run, gamma);
    }

    fn merge(into: &mut GaussianFullStats, from: &GaussianFullStats) {
        GaussianFull::merge(into, from);
    }

    fn scale(stats: &mut GaussianFullStats, factor: f64) {
        GaussianFull::scale(stats, factor);
    }

    fn maximize(&mut self, stats: &GaussianFullStats, prior: &VarianceFloor) -> Result<bool> {
        let dim = self.dim();
        let (mut means, mut pooled) = (self.means().to_vec(), self.covariance().to_vec());
        for (state, _) in stats.mass.iter().enumerate().filter(|(_, mass)| **mass > NO_MASS) {
            means[state * dim..][..dim].copy_from_slice(&stats.mean[state * dim..][..dim]);
        }
        let total: f64 = stats.mass.iter().sum();
        let mut floored = false;
        if total > NO_MASS {
            for (k, c) in pooled.iter_mut().enumerate() {
                *c = stats.scatter.iter().skip(k).step_by(dim * dim).sum::<f64>() / total;
            }
            let floors: Vec<f64> = (0..dim).map(|d| prior.of(stats.data_variance(d))).collect();
            floored = raise(&mut pooled, &floors, 0)?;
        }
        *self = Self::from_tables(means, &pooled, dim)?;
        Ok(floored)
    }

    fn n_free_parameters(&self) -> usize {
        self.n_states() * self.dim() + self.dim() * (self.dim() + 1) / 2
    }
}
