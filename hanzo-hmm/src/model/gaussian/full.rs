//! Gaussian emissions with full covariances.

use rand_core::Rng;
use rand_distr::{Distribution, StandardNormal};

use super::super::dense::{cholesky, invert_lower};
use super::super::{Emission, NO_MASS, Observations, flatten};
use super::scatter::GaussianFullStats;
use super::tile;
use super::{Clusters, LN_2_PI, VarianceFloor, check_means, check_vector, clusters, normal_cdf};
use crate::kernel::{Arch, Level, LogProbRun, Task};
use crate::{Error, Result};

/// Each state emits a vector of `D` normal coordinates with a covariance matrix of its own.
///
/// O(D^2) a state and observation. A missing coordinate is an error here: [`GaussianDiag`](crate::GaussianDiag) and
/// [`GaussianSpherical`](crate::GaussianSpherical) integrate it out.
///
/// ```
/// use hanzo_hmm::GaussianFull;
///
/// let covariance = vec![vec![2.0, 0.5], vec![0.5, 1.0]];
/// let family = GaussianFull::new(vec![vec![0.0, 1.0]], vec![covariance])?;
/// assert_eq!(family.covariances(), [2.0, 0.5, 0.5, 1.0]);
/// # Ok::<(), hanzo_hmm::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct GaussianFull {
    n_states: usize,
    dim: usize,
    means: Vec<f64>,
    covariances: Vec<f64>,
    /// Cholesky factors, `S x D x D`.
    factors: Vec<f64>,
    /// Means, `D x S`: states are neighbours.
    centers: Vec<f64>,
    /// Rows of the inverse factors up to the diagonal, `D (D + 1) / 2 x S`.
    inverse: Vec<f64>,
    /// ln of the normalising constants.
    totals: Vec<f64>,
}

impl GaussianFull {
    /// The family with one row of `D` means and one `D x D` matrix of covariances a state.
    ///
    /// # Errors
    ///
    /// [`Error::EmptyModel`] without states or coordinates; [`Error::DimensionMismatch`] for jagged or unequal tables;
    /// [`Error::InvalidParameter`] for a mean that is not finite; [`Error::NotPositiveDefinite`] for a matrix that is not
    /// symmetric positive definite.
    pub fn new(means: Vec<Vec<f64>>, covariances: Vec<Vec<Vec<f64>>>) -> Result<Self> {
        let n_states = means.len();
        let dim = means.first().map_or(0, Vec::len);
        if n_states == 0 || dim == 0 {
            return Err(Error::EmptyModel);
        }
        if covariances.len() != n_states {
            return Err(Error::DimensionMismatch { what: "covariances", expected: n_states, found: covariances.len() });
        }
        let means = flatten("means", means, dim)?;
        let mut tables = Vec::with_capacity(n_states * dim * dim);
        for (state, rows) in covariances.into_iter().enumerate() {
            tables.extend(covariance(rows, dim, state)?);
        }
        Self::from_tables(means, tables, dim)
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

    /// Covariances, row-major `S x D x D`.
    #[must_use]
    pub fn covariances(&self) -> &[f64] {
        &self.covariances
    }

    pub(crate) fn from_tables(means: Vec<f64>, covariances: Vec<f64>, dim: usize) -> Result<Self> {
        let n_states = means.len() / dim;
        check_means(&means, dim)?;
        let mut inverse = vec![0.0; dim * (dim + 1) / 2 * n_states];
        let mut factors = Vec::with_capacity(covariances.len());
        let mut totals = Vec::with_capacity(n_states);
        for (state, covariance) in covariances.chunks_exact(dim * dim).enumerate() {
            let wrong = Error::NotPositiveDefinite { state };
            let l = cholesky(covariance, &vec![0.0; dim]).ok_or_else(|| wrong.clone())?;
            let w = invert_lower(&l, dim).ok_or(wrong)?;
            let mut at = 0;
            for d in 0..dim {
                for e in 0..=d {
                    inverse[at * n_states + state] = w[d * dim + e];
                    at += 1;
                }
            }
            let ln_root: f64 = (0..dim).map(|d| l[d * dim + d].ln()).sum();
            totals.push(-0.5 * LN_2_PI * dim as f64 - ln_root);
            factors.extend(l);
        }
        let centers = (0..dim).flat_map(|d| means.iter().skip(d).step_by(dim).copied()).collect();
        Ok(Self { n_states, dim, means, covariances, factors, centers, inverse, totals })
    }

    /// Log-densities for a fixed number of states, which lets the compiler keep them in registers.
    #[inline(always)]
    fn log_prob_fixed<const S: usize>(&self, o: &[f64], out: &mut [f64]) {
        let (Some(totals), Some(out)) = (self.totals.first_chunk::<S>(), out.first_chunk_mut::<S>()) else {
            return;
        };
        let mut from = [[0.0; S]; SMALL];
        for ((from, x), center) in from.iter_mut().zip(o).zip(self.centers.as_chunks::<S>().0) {
            for s in 0..S {
                from[s] = x - center[s];
            }
        }
        let mut inverse = self.inverse.as_chunks::<S>().0;
        let mut squares = [0.0; S];
        for d in 0..self.dim {
            let Some((row, rest)) = inverse.split_at_checked(d + 1) else { return };
            inverse = rest;
            let mut z = [0.0; S];
            for (from, row) in from.iter().zip(row) {
                for s in 0..S {
                    z[s] += row[s] * from[s];
                }
            }
            for s in 0..S {
                squares[s] += z[s] * z[s];
            }
        }
        for s in 0..S {
            out[s] = density(totals[s], squares[s]);
        }
    }

    fn log_prob_any(&self, o: &[f64], out: &mut [f64]) {
        for (i, out) in out.iter_mut().enumerate() {
            let (mut square, mut at) = (0.0, i);
            for d in 0..self.dim {
                let mut z = 0.0;
                for (e, x) in o.iter().enumerate().take(d + 1) {
                    z += self.inverse[at] * (x - self.centers[e * self.n_states + i]);
                    at += self.n_states;
                }
                square += z * z;
            }
            *out = density(self.totals[i], square);
        }
    }
}

impl Emission for GaussianFull {
    type Obs<'a> = &'a [f64];
    type Owned = Vec<f64>;
    type Stats = GaussianFullStats;
    type Prior = VarianceFloor;

    fn n_states(&self) -> usize {
        self.n_states
    }

    #[inline]
    fn check(&self, o: &[f64], position: usize, _partial: bool) -> Result<()> {
        check_vector(o, self.dim, position, false)
    }

    #[inline(always)]
    fn log_prob_into(&self, o: &[f64], out: &mut [f64]) {
        match out.len() {
            _ if self.dim > SMALL => self.log_prob_any(o, out),
            1 => self.log_prob_fixed::<1>(o, out),
            2 => self.log_prob_fixed::<2>(o, out),
            3 => self.log_prob_fixed::<3>(o, out),
            4 => self.log_prob_fixed::<4>(o, out),
            8 => self.log_prob_fixed::<8>(o, out),
            16 => self.log_prob_fixed::<16>(o, out),
            _ => self.log_prob_any(o, out),
        }
    }

    fn log_prob_run(&self, run: &[Option<&[f64]>], out: &mut [f64]) {
        Level::best().run(FullRun { family: self, run, out });
    }

    fn mid_cdf_into(&self, o: &[f64], out: &mut [f64]) -> bool {
        for (out, (mean, variance)) in out.iter_mut().zip(self.means.iter().zip(&self.covariances)) {
            *out = o.first().map_or(0.5, |x| normal_cdf(*x, *mean, *variance));
        }
        self.dim == 1
    }

    fn sample<R: Rng + ?Sized>(&self, state: usize, rng: &mut R) -> Vec<f64> {
        let normals: Vec<f64> = (0..self.dim).map(|_| StandardNormal.sample(rng)).collect();
        let means = self.means.chunks_exact(self.dim).nth(state).unwrap_or_default();
        let factor = self.factors.chunks_exact(self.dim * self.dim).nth(state).unwrap_or_default();
        let rows = means.iter().zip(factor.chunks_exact(self.dim));
        rows.map(|(mean, row)| mean + row.iter().zip(&normals).map(|(l, z)| l * z).sum::<f64>()).collect()
    }

    fn randomise<'a, Q, R>(&mut self, sequences: &[Q], rng: &mut R) -> Result<()>
    where
        Q: Observations<&'a [f64]>,
        R: Rng + ?Sized,
    {
        if let Some(Clusters { centers, variances }) = clusters(sequences, self.dim, self.n_states, rng) {
            let mut covariances = vec![0.0; self.covariances.len()];
            for (covariance, variances) in
                covariances.chunks_exact_mut(self.dim * self.dim).zip(variances.chunks_exact(self.dim))
            {
                covariance.iter_mut().step_by(self.dim + 1).zip(variances).for_each(|(c, v)| *c = *v);
            }
            *self = Self::from_tables(centers, covariances, self.dim)?;
        }
        Ok(())
    }

    fn new_stats(&self) -> GaussianFullStats {
        GaussianFullStats::new(self.n_states, self.dim)
    }

    fn fits(&self, stats: &GaussianFullStats) -> bool {
        stats.fits(self.n_states, self.dim)
    }

    fn accumulate(&self, stats: &mut GaussianFullStats, o: &[f64], gamma: &[f64]) {
        self.accumulate_run(stats, &[Some(o)], gamma);
    }

    fn accumulate_run(&self, stats: &mut GaussianFullStats, run: &[Option<&[f64]>], gamma: &[f64]) {
        tile::add_run(stats, run, gamma);
    }

    fn merge(into: &mut GaussianFullStats, from: &GaussianFullStats) {
        into.merge_from(from, 0);
    }

    fn scale(stats: &mut GaussianFullStats, factor: f64) {
        stats.mass.iter_mut().chain(&mut stats.scatter).for_each(|x| *x *= factor);
    }

    fn maximize(&mut self, stats: &GaussianFullStats, prior: &VarianceFloor) -> Result<bool> {
        let (mut means, mut covariances) = (self.means.clone(), self.covariances.clone());
        let floors: Vec<f64> = (0..self.dim).map(|d| prior.of(stats.data_variance(d))).collect();
        let mut floored = false;
        let size = self.dim * self.dim;
        for (state, mass) in stats.mass.iter().enumerate().filter(|(_, mass)| **mass > NO_MASS) {
            means[state * self.dim..][..self.dim].copy_from_slice(&stats.mean[state * self.dim..][..self.dim]);
            let covariance = &mut covariances[state * size..][..size];
            for (c, s) in covariance.iter_mut().zip(&stats.scatter[state * size..]) {
                *c = s / mass;
            }
            floored |= raise(covariance, &floors, state)?;
        }
        *self = Self::from_tables(means, covariances, self.dim)?;
        Ok(floored)
    }

    fn n_free_parameters(&self) -> usize {
        self.n_states * (self.dim + self.dim * (self.dim + 1) / 2)
    }
}

/// Log-densities of a run of steps. For few states and coordinates the parameters stay in registers.
struct FullRun<'r, 'o> {
    family: &'r GaussianFull,
    run: &'r [Option<&'o [f64]>],
    out: &'r mut [f64],
}

impl Task for FullRun<'_, '_> {
    type Output = ();

    #[inline(always)]
    fn run<A: Arch>(self, arch: A) {
        match (self.family.n_states, self.family.dim) {
            (2, 2) => self.fixed::<2, 2>(),
            (3, 2) => self.fixed::<3, 2>(),
            (3, 3) => self.fixed::<3, 3>(),
            (4, 2) => self.fixed::<4, 2>(),
            (4, 4) => self.fixed::<4, 4>(),
            _ => LogProbRun { family: self.family, run: self.run, out: self.out }.run(arch),
        }
    }
}

impl FullRun<'_, '_> {
    #[inline(always)]
    fn fixed<const S: usize, const D: usize>(self) {
        let family = self.family;
        let centers = family.centers.as_chunks::<S>().0.first_chunk::<D>();
        let (Some(totals), Some(centers)) = (family.totals.first_chunk::<S>(), centers) else { return };
        let (totals, centers) = (*totals, *centers);
        let mut rows = family.inverse.as_chunks::<S>().0.iter();
        // Lower triangles.
        let mut inverse = [[[0.0; S]; D]; D];
        for (d, triangle) in inverse.iter_mut().enumerate() {
            for (own, row) in triangle.iter_mut().zip(rows.by_ref().take(d + 1)) {
                *own = *row;
            }
        }
        for (o, out) in self.run.iter().zip(self.out.as_chunks_mut::<S>().0) {
            let Some(o) = o else {
                *out = [0.0; S];
                continue;
            };
            let Some(point) = o.first_chunk::<D>() else { continue };
            let (mut from, mut squares) = ([[0.0; S]; D], [0.0; S]);
            for d in 0..D {
                for s in 0..S {
                    from[d][s] = point[d] - centers[d][s];
                }
            }
            for (d, triangle) in inverse.iter().enumerate() {
                let mut z = [0.0; S];
                for (own, from) in triangle.iter().zip(&from).take(d + 1) {
                    for s in 0..S {
                        z[s] += own[s] * from[s];
                    }
                }
                for s in 0..S {
                    squares[s] += z[s] * z[s];
                }
            }
            for s in 0..S {
                out[s] = density(totals[s], squares[s]);
            }
        }
    }
}

/// One checked covariance matrix, row-major. A difference between the two triangles of rounding size is evened out.
pub(super) fn covariance(rows: Vec<Vec<f64>>, dim: usize, state: usize) -> Result<Vec<f64>> {
    if rows.len() != dim {
        return Err(Error::DimensionMismatch { what: "covariances", expected: dim, found: rows.len() });
    }
    let mut table = flatten("covariances", rows, dim)?;
    for d in 0..dim {
        for e in 0..d {
            let (a, b) = (table[d * dim + e], table[e * dim + d]);
            let size = (table[d * dim + d] * table[e * dim + e]).sqrt();
            let near = a == b || (a - b).abs() <= ASYMMETRY * size;
            if !near {
                return Err(Error::NotPositiveDefinite { state });
            }
            let mean = a + 0.5 * (b - a);
            (table[d * dim + e], table[e * dim + d]) = (mean, mean);
        }
    }
    Ok(table)
}

/// Raises the diagonal of a trained covariance until every pivot reaches its floor; whether it had to.
pub(super) fn raise(covariance: &mut [f64], floors: &[f64], state: usize) -> Result<bool> {
    if cholesky(covariance, floors).is_some() {
        return Ok(false);
    }
    let before = covariance.to_vec();
    for k in 0..600 {
        covariance.copy_from_slice(&before);
        for (c, floor) in covariance.iter_mut().step_by(floors.len() + 1).zip(floors) {
            *c += floor * 10f64.powi(k);
        }
        if cholesky(covariance, floors).is_some() {
            return Ok(true);
        }
    }
    Err(Error::NotPositiveDefinite { state })
}

/// A log-density; differences that overflow, whose squares may be NaN, have density 0.
#[inline(always)]
fn density(total: f64, square: f64) -> f64 {
    // Written so that it compiles to one maximum instruction.
    let value = total - 0.5 * square;
    if value > f64::NEG_INFINITY { value } else { f64::NEG_INFINITY }
}

/// Coordinates up to which differences from the means are kept on the stack.
const SMALL: usize = 8;
/// Largest difference of two mirrored covariances over the standard deviations that counts as rounding.
const ASYMMETRY: f64 = 1e-10;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn log_density_is_the_normal_one() {
        let means = vec![vec![0.5, -1.0], vec![2.0, 0.0]];
        let family =
            GaussianFull::new(means, vec![vec![vec![2.0, 0.6], vec![0.6, 0.5]], vec![vec![1.0, 0.0], vec![0.0, 4.0]]])
                .unwrap();
        let (mut fixed, mut any) = ([0.0; 2], [0.0; 2]);
        family.log_prob_into(&[1.0, 1.0], &mut fixed);
        family.log_prob_any(&[1.0, 1.0], &mut any);
        assert_eq!(fixed, any);
        // By the definition: determinant 0.64, inverse [0.5 -0.6; -0.6 2] / 0.64.
        let square = (0.5 * 0.25 - 2.0 * 0.6 * 0.5 * 2.0 + 2.0 * 4.0) / 0.64;
        assert!((fixed[0] - (-LN_2_PI - 0.5 * 0.64_f64.ln() - 0.5 * square)).abs() < 1e-13);
        family.log_prob_into(&[1e308, -1e308], &mut fixed);
        assert_eq!(fixed, [f64::NEG_INFINITY; 2]);
    }

    #[test]
    fn refuses_bad_matrices() {
        let new = |rows: [[f64; 2]; 2]| {
            GaussianFull::new(vec![vec![0.0; 2]], vec![rows.iter().map(|r| r.to_vec()).collect()]).map(|_| ())
        };
        let wrong = Err(Error::NotPositiveDefinite { state: 0 });
        assert_eq!(new([[1.0, 0.5], [0.5, 1.0]]), Ok(()));
        for bad in [[[1.0, 2.0], [2.0, 1.0]], [[1.0, 0.5], [0.4, 1.0]], [[0.0, 0.0], [0.0, 1.0]], [[1.0, f64::NAN]; 2]]
        {
            assert_eq!(new(bad), wrong, "{bad:?}");
        }
        assert!(matches!(
            GaussianFull::new(vec![vec![0.0; 2]], vec![vec![vec![1.0]; 2]]),
            Err(Error::DimensionMismatch { .. })
        ));
    }

    #[test]
    fn a_flat_covariance_is_raised() {
        let mut flat = [1.0, 1.0, 1.0, 1.0];
        assert!(raise(&mut flat, &[1e-3, 1e-3], 0).unwrap());
        assert_eq!(flat, [1.001, 1.0, 1.0, 1.001]);
    }
}
