//! Gaussian emissions with one variance a state.

use rand_core::Rng;

use super::super::{Emission, NO_MASS, Observations};
use super::{GaussianDiag, GaussianDiagStats, VarianceFloor};
use crate::{Error, Result};

/// Each state emits a vector of `D` independent normal coordinates that share one variance.
///
/// NaN coordinates of [`Rows::with_missing`](crate::Rows::with_missing) are integrated out.
///
/// ```
/// use hanzo_hmm::GaussianSpherical;
///
/// let family = GaussianSpherical::new(vec![vec![0.0, 1.0], vec![5.0, 5.0]], vec![1.0, 0.25])?;
/// assert_eq!((family.dim(), family.variances()), (2, &[1.0, 0.25][..]));
/// # Ok::<(), hanzo_hmm::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct GaussianSpherical {
    variances: Vec<f64>,
    /// The same with the variance of each state repeated.
    wide: GaussianDiag,
}

impl GaussianSpherical {
    /// The family with one row of `D` means and one variance a state.
    ///
    /// # Errors
    ///
    /// As for [`GaussianDiag::new`].
    pub fn new(means: Vec<Vec<f64>>, variances: Vec<f64>) -> Result<Self> {
        if variances.len() != means.len() {
            return Err(Error::DimensionMismatch { what: "variances", expected: means.len(), found: variances.len() });
        }
        let dim = means.first().map_or(0, Vec::len);
        let wide = GaussianDiag::new(means, variances.iter().map(|v| vec![*v; dim]).collect())?;
        Ok(Self { variances, wide })
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

    /// One variance a state.
    #[must_use]
    pub fn variances(&self) -> &[f64] {
        &self.variances
    }

    fn set(&mut self, means: Vec<f64>, variances: Vec<f64>) -> Result<()> {
        let dim = self.dim();
        let repeated = variances.iter().flat_map(|v| std::iter::repeat_n(*v, dim)).collect();
        self.wide = GaussianDiag::from_tables(means, repeated, dim)?;
        self.variances = variances;
        Ok(())
    }
}

impl Emission for GaussianSpherical {
    type Obs<'a> = &'a [f64];
    type Owned = Vec<f64>;
    type Stats = GaussianDiagStats;
    type Prior = VarianceFloor;

    fn n_states(&self) -> usize {
        self.variances.len()
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
        let dim = self.dim();
        let variances = wide.variances().chunks_exact(dim).map(|v| v.iter().sum::<f64>() / dim as f64).collect();
        self.set(wide.means().to_vec(), variances)
    }

    fn new_stats(&self) -> GaussianDiagStats {
        self.wide.new_stats()
    }

    fn fits(&self, stats: &GaussianDiagStats) -> bool {
        self.wide.fits(stats)
    }

    fn accumulate(&self, stats: &mut GaussianDiagStats, o: &[f64], gamma: &[f64]) {
        self.wide.accumulate(stats, o, gamma);
    }

    fn accumulate_run(&self, stats: &mut GaussianDiagStats, run: &[Option<&[f64]>], gamma: &[f64]) {
        self.wide.accumulate_run(stats, run, gamma);
    }

    fn merge(into: &mut GaussianDiagStats, from: &GaussianDiagStats) {
        GaussianDiag::merge(into, from);
    }

    fn scale(stats: &mut GaussianDiagStats, factor: f64) {
        GaussianDiag::scale(stats, factor);
    }

    fn maximize(&mut self, stats: &GaussianDiagStats, prior: &VarianceFloor) -> Result<bool> {
        let (mut means, mut variances) = (self.means().to_vec(), self.variances.clone());
        let dim = self.dim();
        let floor = (0..dim).map(|d| prior.of(stats.states.data_variance(d))).sum::<f64>() / dim as f64;
        let mut floored = false;
        for (i, variance) in variances.iter_mut().enumerate() {
            let entries = i * dim..(i + 1) * dim;
            for k in entries.clone() {
                means[k] = stats.states.mean_or(k, means[k]);
            }
            // Over the coordinates that were seen: each squared deviation has the same variance.
            let mass: f64 = stats.states.mass[entries.clone()].iter().sum();
            if mass > NO_MASS {
                let new = stats.states.square[entries].iter().sum::<f64>() / mass;
                floored |= new < floor;
                *variance = new.max(floor);
            }
        }
        self.set(means, variances)?;
        Ok(floored)
    }

    fn n_free_parameters(&self) -> usize {
        self.variances.len() * (self.dim() + 1)
    }
}
