//! Gaussian emissions with diagonal covariances.

use rand_core::Rng;
use rand_distr::{Distribution, StandardNormal};

use super::{Emission, NO_MASS, flatten};
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
    /// `D x S` copies of the means and of the inverse standard deviations: states are neighbours.
    columns: Vec<(f64, f64)>,
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

    fn from_tables(means: Vec<f64>, variances: Vec<f64>, dim: usize) -> Result<Self> {
        let n_states = means.len() / dim;
        if let Some(at) = means.iter().position(|m| !m.is_finite()) {
            return Err(Error::InvalidParameter { what: "mean", state: at / dim });
        }
        // Below the smallest normal number the inverse overflows.
        if let Some(at) = variances.iter().position(|v| !(v.is_finite() && *v >= f64::MIN_POSITIVE)) {
            return Err(Error::InvalidParameter { what: "variance", state: at / dim });
        }
        let mut family = Self {
            n_states,
            dim,
            columns: Vec::with_capacity(means.len()),
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
                family.columns.push((family.means[i * dim + d], variance.sqrt().recip()));
                family.constants.push(constant);
                *total += constant;
            }
        }
        Ok(family)
    }

    /// Log-densities for a fixed number of states, which lets the compiler keep them in registers.
    fn log_prob_fixed<const S: usize>(&self, o: &[f64], out: &mut [f64]) {
        let (Some(totals), Some(out)) = (self.totals.first_chunk::<S>(), out.first_chunk_mut::<S>()) else {
            return;
        };
        let mut squares = [0.0; S];
        for (&x, column) in o.iter().zip(self.columns.as_chunks::<S>().0) {
            for (square, &(mean, scale)) in squares.iter_mut().zip(column) {
                let z = (x - mean) * scale;
                *square += z * z;
            }
        }
        for ((out, total), square) in out.iter_mut().zip(totals).zip(squares) {
            *out = total - 0.5 * square;
        }
    }

    fn log_prob_any(&self, o: &[f64], out: &mut [f64]) {
        out.fill(0.0);
        for (&x, column) in o.iter().zip(self.columns.chunks_exact(self.n_states)) {
            for (square, &(mean, scale)) in out.iter_mut().zip(column) {
                let z = (x - mean) * scale;
                *square += z * z;
            }
        }
        for (out, total) in out.iter_mut().zip(&self.totals) {
            *out = total - 0.5 * *out;
        }
    }

    /// The same with NaN coordinates left out.
    fn log_prob_partial(&self, o: &[f64], out: &mut [f64]) {
        out.fill(0.0);
        let columns = self.columns.chunks_exact(self.n_states).zip(self.constants.chunks_exact(self.n_states));
        for (&x, (column, constants)) in o.iter().zip(columns).filter(|(x, _)| !x.is_nan()) {
            for ((out, &(mean, scale)), constant) in out.iter_mut().zip(column).zip(constants) {
                let z = (x - mean) * scale;
                *out += constant - 0.5 * (z * z);
            }
        }
    }
}

impl Emission for GaussianDiag {
    type Obs<'a> = &'a [f64];
    type Owned = Vec<f64>;
    type Stats = GaussianDiagStats;
    type Prior = VarianceFloor;

    /// Variances are taken about the new means: mean square less squared mean would cancel.
    const TWO_PASSES: bool = true;

    fn n_states(&self) -> usize {
        self.n_states
    }

    fn check(&self, o: &[f64], position: usize, partial: bool) -> Result<()> {
        if o.len() != self.dim {
            return Err(Error::DimensionMismatch { what: "observation", expected: self.dim, found: o.len() });
        }
        if o.iter().all(|x| x.is_finite() || (partial && x.is_nan())) {
            Ok(())
        } else {
            Err(Error::NonFiniteObservation { position })
        }
    }

    fn log_prob_into(&self, o: &[f64], out: &mut [f64]) {
        match self.n_states {
            _ if has_gap(o) => self.log_prob_partial(o, out),
            1 => self.log_prob_fixed::<1>(o, out),
            2 => self.log_prob_fixed::<2>(o, out),
            3 => self.log_prob_fixed::<3>(o, out),
            4 => self.log_prob_fixed::<4>(o, out),
            5 => self.log_prob_fixed::<5>(o, out),
            6 => self.log_prob_fixed::<6>(o, out),
            8 => self.log_prob_fixed::<8>(o, out),
            _ => self.log_prob_any(o, out),
        }
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

    fn new_stats(&self) -> GaussianDiagStats {
        GaussianDiagStats {
            mass: vec![0.0; self.means.len()],
            sum: vec![0.0; self.means.len()],
            square: vec![0.0; self.means.len()],
            centers: self.means.clone(),
            data_mean: vec![0.0; self.dim],
            data_square: vec![0.0; self.dim],
        }
    }

    fn accumulate(&self, stats: &mut GaussianDiagStats, o: &[f64], gamma: &[f64]) {
        match self.dim {
            _ if has_gap(o) => stats.add_partial(o, gamma),
            1 => stats.add::<1>(o, gamma),
            2 => stats.add::<2>(o, gamma),
            3 => stats.add::<3>(o, gamma),
            4 => stats.add::<4>(o, gamma),
            8 => stats.add::<8>(o, gamma),
            _ => stats.add_partial(o, gamma),
        }
    }

    fn second_pass(&self, first: &GaussianDiagStats) -> GaussianDiagStats {
        let mut stats = self.new_stats();
        for ((center, mass), sum) in stats.centers.iter_mut().zip(&first.mass).zip(&first.sum) {
            *center = mean_or(*sum, *mass, *center);
        }
        for (d, mean) in stats.data_mean.iter_mut().enumerate() {
            let column = |table: &[f64]| table.iter().skip(d).step_by(self.dim).sum::<f64>();
            *mean = mean_or(column(&first.sum), column(&first.mass), 0.0);
        }
        stats
    }

    fn accumulate_second(&self, stats: &mut GaussianDiagStats, o: &[f64], gamma: &[f64]) {
        match self.dim {
            _ if has_gap(o) => stats.add_squares_partial(o, gamma),
            1 => stats.add_squares::<1>(o, gamma),
            2 => stats.add_squares::<2>(o, gamma),
            3 => stats.add_squares::<3>(o, gamma),
            4 => stats.add_squares::<4>(o, gamma),
            8 => stats.add_squares::<8>(o, gamma),
            _ => stats.add_squares_partial(o, gamma),
        }
    }

    fn merge(into: &mut GaussianDiagStats, from: &GaussianDiagStats) {
        let add = |into: &mut [f64], from: &[f64]| into.iter_mut().zip(from).for_each(|(a, b)| *a += b);
        add(&mut into.mass, &from.mass);
        add(&mut into.sum, &from.sum);
        add(&mut into.square, &from.square);
        add(&mut into.data_square, &from.data_square);
    }

    fn maximize(&mut self, stats: &GaussianDiagStats, prior: &VarianceFloor) -> Result<bool> {
        let (mut means, mut variances) = (self.means.clone(), self.variances.clone());
        let mut floored = false;
        for d in 0..self.dim {
            let at = |i: usize| i * self.dim + d;
            let data_mass: f64 = (0..self.n_states).map(|i| stats.mass[at(i)]).sum();
            let data_variance = mean_or(stats.data_square[d], data_mass, 0.0);
            let floor = (prior.relative * data_variance + prior.absolute).clamp(f64::MIN_POSITIVE, f64::MAX);
            for k in (0..self.n_states).map(at) {
                let (mass, old) = (stats.mass[k], self.variances[k]);
                means[k] = mean_or(stats.sum[k], mass, means[k]);
                let variance = mean_or(stats.square[k], mass, old);
                if mass > NO_MASS && variance < floor {
                    floored = true;
                    variances[k] = floor;
                } else {
                    variances[k] = variance;
                }
            }
        }
        *self = Self::from_tables(means, variances, self.dim)?;
        Ok(floored)
    }

    fn n_free_parameters(&self) -> usize {
        2 * self.n_states * self.dim
    }
}

/// Expected masses, sums and squared deviations of every state and coordinate.
#[derive(Debug, Clone, PartialEq)]
pub struct GaussianDiagStats {
    mass: Vec<f64>,
    sum: Vec<f64>,
    square: Vec<f64>,
    /// What squared deviations are taken from.
    centers: Vec<f64>,
    data_mean: Vec<f64>,
    data_square: Vec<f64>,
}

impl GaussianDiagStats {
    /// A complete observation of `D` coordinates.
    fn add<const D: usize>(&mut self, o: &[f64], gamma: &[f64]) {
        let Some(o) = o.first_chunk::<D>() else { return };
        let rows = self.mass.as_chunks_mut::<D>().0.iter_mut().zip(self.sum.as_chunks_mut::<D>().0);
        for ((mass, sum), &g) in rows.zip(gamma) {
            for d in 0..D {
                mass[d] += g;
                sum[d] += g * o[d];
            }
        }
    }

    fn add_partial(&mut self, o: &[f64], gamma: &[f64]) {
        let rows = self.mass.chunks_exact_mut(o.len()).zip(self.sum.chunks_exact_mut(o.len()));
        for ((mass, sum), &g) in rows.zip(gamma) {
            for ((mass, sum), &x) in mass.iter_mut().zip(sum).zip(o).filter(|(_, x)| !x.is_nan()) {
                *mass += g;
                *sum += g * x;
            }
        }
    }

    /// Squared deviations of a complete observation.
    fn add_squares<const D: usize>(&mut self, o: &[f64], gamma: &[f64]) {
        let Some(o) = o.first_chunk::<D>() else { return };
        let rows = self.square.as_chunks_mut::<D>().0.iter_mut().zip(self.centers.as_chunks::<D>().0);
        for ((square, center), &g) in rows.zip(gamma) {
            for d in 0..D {
                square[d] += g * (o[d] - center[d]) * (o[d] - center[d]);
            }
        }
        for ((square, mean), x) in self.data_square.iter_mut().zip(&self.data_mean).zip(o) {
            *square += (x - mean) * (x - mean);
        }
    }

    fn add_squares_partial(&mut self, o: &[f64], gamma: &[f64]) {
        let rows = self.square.chunks_exact_mut(o.len()).zip(self.centers.chunks_exact(o.len()));
        for ((square, center), &g) in rows.zip(gamma) {
            for ((square, center), &x) in square.iter_mut().zip(center).zip(o).filter(|(_, x)| !x.is_nan()) {
                *square += g * (x - center) * (x - center);
            }
        }
        for ((square, mean), &x) in self.data_square.iter_mut().zip(&self.data_mean).zip(o) {
            if !x.is_nan() {
                *square += (x - mean) * (x - mean);
            }
        }
    }
}

/// The smallest variance that training may choose: `relative` times the variance of the coordinate over the training
/// data, plus `absolute`. Without it a state that holds a single point has an unbounded likelihood.
///
/// The default is 1e-6 and 1e-12. With a floor active the likelihood may fall, which
/// [`FitSummary::floored`](crate::FitSummary::floored) tells.
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
}

impl Default for VarianceFloor {
    fn default() -> Self {
        Self { relative: 1e-6, absolute: 1e-12 }
    }
}

/// Whether a coordinate may be missing: NaN in any makes the sum NaN. A sum that overflows takes the slower way, too.
fn has_gap(o: &[f64]) -> bool {
    !o.iter().sum::<f64>().is_finite()
}

/// `sum / mass`, or `old` where there is no mass to speak of.
fn mean_or(sum: f64, mass: f64, old: f64) -> f64 {
    if mass > NO_MASS { sum / mass } else { old }
}

const LN_2_PI: f64 = 1.837_877_066_409_345_3;

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
