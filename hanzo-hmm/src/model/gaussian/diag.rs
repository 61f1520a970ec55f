//! Gaussian emissions with diagonal covariances.

use rand_core::Rng;
use rand_distr::{Distribution, StandardNormal};

use super::super::{Emission, NO_MASS, Observations, flatten};
use super::moments::Moments;
use super::{Clusters, LN_2_PI, VarianceFloor, check_means, check_vector, clusters, normal_cdf};
use crate::kernel::{Arch, Level, LogProbRun, Task};
use crate::{Error, Result};

/// Each state emits a vector of `D` independent normal coordinates, with its own means and variances.
///
/// A NaN coordinate of [`Rows::with_missing`](crate::Rows::with_missing) is integrated out: it counts for nothing.
///
/// ```
/// use hanzo_hmm::{GaussianDiag, Hmm, Initial, Rows, Transitions};
///
/// let hmm = Hmm::new(
///     Initial::Free(vec![0.5, 0.5]),
///     Transitions::new(vec![vec![0.9, 0.1], vec![0.2, 0.8]])?,
///     GaussianDiag::new(vec![vec![0.0], vec![5.0]], vec![vec![1.0], vec![2.0]])?,
/// )?;
/// let path = hmm.viterbi(Rows::new(&[0.1, -0.3, 4.0, 6.0], 1)?)?;
/// assert_eq!(path.states, [0, 0, 1, 1]);
/// # Ok::<(), hanzo_hmm::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct GaussianDiag {
    n_states: usize,
    dim: usize,
    means: Vec<f64>,
    variances: Vec<f64>,
    /// `D x S` copies of the means: states are neighbours.
    centers: Vec<f64>,
    /// Inverse standard deviations, `D x S`.
    scales: Vec<f64>,
    /// ln of the normalising constant of each coordinate, `D x S`.
    constants: Vec<f64>,
    /// Sum of the constants of each state.
    totals: Vec<f64>,
}

impl GaussianDiag {
    /// The family with one row of `D` means and one of `D` variances a state.
    ///
    /// # Errors
    ///
    /// [`Error::EmptyModel`] without states or coordinates; [`Error::DimensionMismatch`] for jagged or unequal tables;
    /// [`Error::InvalidParameter`] for a mean that is not finite, or a variance that is not finite or below the
    /// smallest normal number, 2.3e-308.
    pub fn new(means: Vec<Vec<f64>>, variances: Vec<Vec<f64>>) -> Result<Self> {
        let n_states = means.len();
        let dim = means.first().map_or(0, Vec::len);
        if n_states == 0 || dim == 0 {
            return Err(Error::EmptyModel);
        }
        if variances.len() != n_states {
            return Err(Error::DimensionMismatch { what: "variances", expected: n_states, found: variances.len() });
        }
        let means = flatten("means", means, dim)?;
        let variances = flatten("variances", variances, dim)?;
        Self::from_tables(means, variances, dim)
    }

    /// Number of coordinates `D` of an observation.
    #[must_use]
    pub fn dim(&self) -> usize {
        self.dim
    }

    /// Means, row-major `S x D`.
    #[must_use]
    pub fn means(&self) -> &[f64] {
        &self.means
    }

    /// Variances, row-major `S x D`.
    #[must_use]
    pub fn variances(&self) -> &[f64] {
        &self.variances
    }

    pub(crate) fn from_tables(means: Vec<f64>, variances: Vec<f64>, dim: usize) -> Result<Self> {
        let n_states = means.len() / dim;
        check_means(&means, dim)?;
        // Below the smallest normal number the inverse overflows.
        if let Some(at) = variances.iter().position(|v| !(v.is_finite() && *v >= f64::MIN_POSITIVE)) {
            return Err(Error::InvalidParameter { what: "variance", state: at / dim });
        }
        let mut family = Self {
            n_states,
            dim,
            centers: Vec::with_capacity(means.len()),
            scales: Vec::with_capacity(means.len()),
            constants: Vec::with_capacity(means.len()),
            totals: vec![0.0; n_states],
            means,
            variances,
        };
        for d in 0..dim {
            for (i, total) in family.totals.iter_mut().enumerate() {
                let variance = family.variances[i * dim + d];
                // ln(2 pi) and ln v apart: their product could overflow.
                let constant = -0.5 * (LN_2_PI + variance.ln());
                family.centers.push(family.means[i * dim + d]);
                family.scales.push(variance.sqrt().recip());
                family.constants.push(constant);
                *total += constant;
            }
        }
        Ok(family)
    }

    /// Log-densities for a fixed number of states, which lets the compiler keep them in registers.
    #[inline(always)]
    fn log_prob_fixed<const S: usize>(&self, o: &[f64], out: &mut [f64]) {
        match self.dim {
            1 => self.log_prob_square::<S, 1>(o, out),
            2 => self.log_prob_square::<S, 2>(o, out),
            4 => self.log_prob_square::<S, 4>(o, out),
            _ => self.log_prob_any(o, out),
        }
    }

    /// The same for a fixed number of coordinates.
    #[inline(always)]
    fn log_prob_square<const S: usize, const D: usize>(&self, o: &[f64], out: &mut [f64]) {
        let (Some(totals), Some(out)) = (self.totals.first_chunk::<S>(), out.first_chunk_mut::<S>()) else {
            return;
        };
        let centers = self.centers.as_chunks::<S>().0.first_chunk::<D>();
        let scales = self.scales.as_chunks::<S>().0.first_chunk::<D>();
        let (Some(o), Some(centers), Some(scales)) = (o.first_chunk::<D>(), centers, scales) else { return };
        let mut squares = [0.0; S];
        for d in 0..D {
            for s in 0..S {
                let z = (o[d] - centers[d][s]) * scales[d][s];
                squares[s] += z * z;
            }
        }
        for s in 0..S {
            out[s] = totals[s] - 0.5 * squares[s];
        }
    }

    #[inline(always)]
    fn log_prob_any(&self, o: &[f64], out: &mut [f64]) {
        out.fill(0.0);
        let columns = self.centers.chunks_exact(self.n_states).zip(self.scales.chunks_exact(self.n_states));
        for (&x, (centers, scales)) in o.iter().zip(columns) {
            for (square, (center, scale)) in out.iter_mut().zip(centers.iter().zip(scales)) {
                let z = (x - center) * scale;
                *square += z * z;
            }
        }
        for (out, total) in out.iter_mut().zip(&self.totals) {
            *out = total - 0.5 * *out;
        }
    }

    /// The same with NaN coordinates left out.
    #[cold]
    fn log_prob_partial(&self, o: &[f64], out: &mut [f64]) {
        out.fill(0.0);
        for (d, x) in o.iter().enumerate().filter(|(_, x)| !x.is_nan()) {
            for (i, out) in out.iter_mut().enumerate() {
                let at = d * self.n_states + i;
                let z = (x - self.centers[at]) * self.scales[at];
                *out += self.constants[at] - 0.5 * (z * z);
            }
        }
    }
}

impl Emission for GaussianDiag {
    type Obs<'a> = &'a [f64];
    type Owned = Vec<f64>;
    type Stats = GaussianDiagStats;
    type Prior = VarianceFloor;

    fn n_states(&self) -> usize {
        self.n_states
    }

    #[inline]
    fn check(&self, o: &[f64], position: usize, partial: bool) -> Result<()> {
        check_vector(o, self.dim, position, partial)
    }

    #[inline(always)]
    fn log_prob_into(&self, o: &[f64], out: &mut [f64]) {
        // As many as states; callers that know the length get one case alone.
        match out.len() {
            1 => self.log_prob_fixed::<1>(o, out),
            2 => self.log_prob_fixed::<2>(o, out),
            3 => self.log_prob_fixed::<3>(o, out),
            4 => self.log_prob_fixed::<4>(o, out),
            8 => self.log_prob_fixed::<8>(o, out),
            16 => self.log_prob_fixed::<16>(o, out),
            _ => self.log_prob_any(o, out),
        }
        // From memory, or the cases above would end in pieces of vectors.
        let out = std::hint::black_box(out);
        // Finite coordinates never give NaN: their differences may be infinite, and then so is the square.
        if out.first().is_some_and(|l| l.is_nan()) {
            self.log_prob_partial(o, out);
        }
    }

    fn log_prob_run(&self, run: &[Option<&[f64]>], out: &mut [f64]) {
        Level::best().run(DiagRun { family: self, run, out });
    }

    fn sample<R: Rng + ?Sized>(&self, state: usize, rng: &mut R) -> Vec<f64> {
        let means = self.means.chunks_exact(self.dim).nth(state).unwrap_or_default();
        let variances = self.variances.chunks_exact(self.dim).nth(state).unwrap_or_default();
        means
            .iter()
            .zip(variances)
            .map(|(mean, variance)| {
                let z: f64 = StandardNormal.sample(rng);
                mean + variance.sqrt() * z
            })
            .collect()
    }

    fn mid_cdf_into(&self, o: &[f64], out: &mut [f64]) -> bool {
        for (out, (mean, variance)) in out.iter_mut().zip(self.means.iter().zip(&self.variances)) {
            *out = o.first().map_or(0.5, |x| normal_cdf(*x, *mean, *variance));
        }
        self.dim == 1
    }

    fn randomise<'a, Q, R>(&mut self, sequences: &[Q], rng: &mut R) -> Result<()>
    where
        Q: Observations<&'a [f64]>,
        R: Rng + ?Sized,
    {
        if let Some(Clusters { centers, variances }) = clusters(sequences, self.dim, self.n_states, rng) {
            *self = Self::from_tables(centers, variances, self.dim)?;
        }
        Ok(())
    }

    fn new_stats(&self) -> GaussianDiagStats {
        GaussianDiagStats { states: Moments::new(self.n_states, self.dim) }
    }

    fn fits(&self, stats: &GaussianDiagStats) -> bool {
        stats.states.fits(self.n_states, self.dim)
    }

    fn accumulate(&self, stats: &mut GaussianDiagStats, o: &[f64], gamma: &[f64]) {
        self.accumulate_run(stats, &[Some(o)], gamma);
    }

    fn accumulate_run(&self, stats: &mut GaussianDiagStats, run: &[Option<&[f64]>], gamma: &[f64]) {
        stats.states.add_run(run, gamma);
    }

    fn merge(into: &mut GaussianDiagStats, from: &GaussianDiagStats) {
        into.states.merge(&from.states);
    }

    fn scale(stats: &mut GaussianDiagStats, factor: f64) {
        stats.states.scale(factor);
    }

    fn maximize(&mut self, stats: &GaussianDiagStats, prior: &VarianceFloor) -> Result<bool> {
        let (mut means, mut variances) = (self.means.clone(), self.variances.clone());
        let floors: Vec<f64> = (0..self.dim).map(|d| prior.of(stats.states.data_variance(d))).collect();
        let mut floored = false;
        for (k, (mean, variance)) in means.iter_mut().zip(&mut variances).enumerate() {
            let floor = floors[k % self.dim];
            *mean = stats.states.mean_or(k, *mean);
            let new = stats.states.variance_or(k, *variance);
            let low = stats.states.mass[k] > NO_MASS && new < floor;
            floored |= low;
            *variance = if low { floor } else { new };
        }
        *self = Self::from_tables(means, variances, self.dim)?;
        Ok(floored)
    }

    fn n_free_parameters(&self) -> usize {
        2 * self.n_states * self.dim
    }
}

/// Log-densities of a run of steps. For few states and coordinates the parameters stay in registers.
struct DiagRun<'r, 'o> {
    family: &'r GaussianDiag,
    run: &'r [Option<&'o [f64]>],
    out: &'r mut [f64],
}

impl Task for DiagRun<'_, '_> {
    type Output = ();

    #[inline(always)]
    fn run<A: Arch>(self, arch: A) {
        match (self.family.n_states, self.family.dim) {
            (2, 1) => self.fixed::<2, 1>(),
            (2, 2) => self.fixed::<2, 2>(),
            (3, 1) => self.fixed::<3, 1>(),
            (3, 2) => self.fixed::<3, 2>(),
            (4, 1) => self.fixed::<4, 1>(),
            (4, 2) => self.fixed::<4, 2>(),
            (4, 4) => self.fixed::<4, 4>(),
            _ => LogProbRun { family: self.family, run: self.run, out: self.out }.run(arch),
        }
    }
}

impl DiagRun<'_, '_> {
    #[inline(always)]
    fn fixed<const S: usize, const D: usize>(self) {
        let family = self.family;
        let centers = family.centers.as_chunks::<S>().0.first_chunk::<D>();
        let scales = family.scales.as_chunks::<S>().0.first_chunk::<D>();
        let (Some(totals), Some(centers), Some(scales)) = (family.totals.first_chunk::<S>(), centers, scales) else {
            return;
        };
        let (totals, centers, scales) = (*totals, *centers, *scales);
        for (o, out) in self.run.iter().zip(self.out.as_chunks_mut::<S>().0) {
            let Some(o) = o else {
                *out = [0.0; S];
                continue;
            };
            let Some(point) = o.first_chunk::<D>() else { continue };
            let mut squares = [0.0; S];
            for d in 0..D {
                for s in 0..S {
                    let z = (point[d] - centers[d][s]) * scales[d][s];
                    squares[s] += z * z;
                }
            }
            for s in 0..S {
                out[s] = totals[s] - 0.5 * squares[s];
            }
            if out[0].is_nan() {
                family.log_prob_partial(o, out);
            }
        }
    }
}

/// Expected masses, means and squared deviations of every state and coordinate, for [`GaussianDiag`] and
/// [`GaussianSpherical`](crate::GaussianSpherical) to read.
#[derive(Debug, Clone, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct GaussianDiagStats {
    pub(super) states: Moments,
}

impl GaussianDiagStats {
    /// Masses, means and sums of squared deviations, each row-major `S x D`.
    pub(crate) fn tables(&self) -> [&[f64]; 3] {
        [&self.states.mass, &self.states.mean, &self.states.square]
    }

    /// The statistics with these tables.
    pub(crate) fn from_tables(dim: usize, [mass, mean, square]: [Vec<f64>; 3]) -> Self {
        Self { states: Moments { dim, mass, mean, square } }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn family() -> GaussianDiag {
        GaussianDiag::new(vec![vec![0.0, 1.0], vec![-2.0, 3.0]], vec![vec![1.0, 4.0], vec![0.25, 9.0]]).unwrap()
    }

    #[test]
    fn log_density_is_the_normal_one() {
        let family = family();
        let mut fixed = [0.0; 2];
        family.log_prob_into(&[0.5, -1.0], &mut fixed);
        let normal =
            |x: f64, m: f64, v: f64| -0.5 * (2.0 * std::f64::consts::PI * v).ln() - (x - m).powi(2) / (2.0 * v);
        for (i, (means, variances)) in [([0.0, 1.0], [1.0, 4.0]), ([-2.0, 3.0], [0.25, 9.0])].iter().enumerate() {
            let expected = normal(0.5, means[0], variances[0]) + normal(-1.0, means[1], variances[1]);
            assert!((fixed[i] - expected).abs() < 1e-14);
        }
        let mut any = [0.0; 2];
        family.log_prob_any(&[0.5, -1.0], &mut any);
        assert_eq!(any, fixed);
        family.log_prob_into(&[f64::NAN, -1.0], &mut any);
        assert!((any[0] - normal(-1.0, 1.0, 4.0)).abs() < 1e-15);
        family.log_prob_into(&[f64::NAN, f64::NAN], &mut any);
        assert_eq!(any, [0.0, 0.0]);
    }

    #[test]
    fn extreme_parameters_give_no_nan() {
        let family =
            GaussianDiag::new(vec![vec![-1e308], vec![0.0]], vec![vec![1e308], vec![f64::MIN_POSITIVE]]).unwrap();
        let mut out = [0.0; 2];
        family.log_prob_into(&[1e308], &mut out);
        assert_eq!(out[1], f64::NEG_INFINITY);
        family.log_prob_into(&[0.0], &mut out);
        assert!(out.iter().all(|x| !x.is_nan()));
    }

    #[test]
    fn refuses_bad_parameters() {
        let one = vec![vec![0.0]];
        assert_eq!(GaussianDiag::new(vec![], vec![]), Err(Error::EmptyModel));
        assert_eq!(GaussianDiag::new(vec![vec![]], vec![vec![]]), Err(Error::EmptyModel));
        assert!(matches!(GaussianDiag::new(one.clone(), vec![]), Err(Error::DimensionMismatch { .. })));
        for bad in [0.0, -1.0, f64::NAN, f64::INFINITY, 1e-310] {
            assert_eq!(
                GaussianDiag::new(one.clone(), vec![vec![bad]]),
                Err(Error::InvalidParameter { what: "variance", state: 0 })
            );
        }
        assert!(matches!(
            GaussianDiag::new(vec![vec![f64::NAN]], one),
            Err(Error::InvalidParameter { what: "mean", state: 0 })
        ));
        assert!(VarianceFloor::new(-1.0, 0.0).is_err());
        assert!(VarianceFloor::new(0.0, f64::NAN).is_err());
    }
}
