//! Weighted means and squared deviations that can be merged without cancellation (Chan, Golub, LeVeque 1983).

use super::super::NO_MASS;
#[cfg(feature = "serde")]
use super::super::check_counts;
use super::tile::{self, Tile, Tiled};

/// Mass, mean and sum of squared deviations from the mean, of every row and coordinate.
///
/// Runs of steps are added in two passes, deviations being taken from the mean of the run; runs are then merged. A NaN
/// coordinate counts for nothing.
#[derive(Debug, Clone, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub(crate) struct Moments {
    pub(crate) dim: usize,
    pub(crate) mass: Vec<f64>,
    pub(crate) mean: Vec<f64>,
    pub(crate) square: Vec<f64>,
}

#[cfg(feature = "serde")]
crate::raw::checked_on_load!(Moments { dim: usize, mass: Vec<f64>, mean: Vec<f64>, square: Vec<f64> });

impl Moments {
    #[cfg(feature = "serde")]
    fn check(&self) -> crate::Result<()> {
        let size = self.mass.len();
        for found in [self.mean.len(), self.square.len(), self.dim * (size / self.dim.max(1))] {
            if found != size {
                return Err(crate::Error::DimensionMismatch { what: "moments", expected: size, found });
            }
        }
        check_counts("masses", &self.mass)?;
        check_counts("squared deviations", &self.square)?;
        if self.mean.iter().all(|x| x.is_finite()) { Ok(()) } else { Err(crate::Error::NotFinite { what: "means" }) }
    }

    pub(crate) fn new(rows: usize, dim: usize) -> Self {
        let zeros = || vec![0.0; rows * dim];
        Self { dim, mass: zeros(), mean: zeros(), square: zeros() }
    }

    /// Whether the shape is this one and every number makes sense.
    pub(crate) fn fits(&self, rows: usize, dim: usize) -> bool {
        let size = rows * dim;
        self.dim == dim
            && [&self.mass, &self.mean, &self.square].iter().all(|table| table.len() == size)
            && self.mass.iter().chain(&self.square).all(|x| x.is_finite() && *x >= 0.0)
            && self.mean.iter().all(|x| x.is_finite())
    }

    /// Adds a run of steps with one row of weights a step.
    pub(crate) fn add_run(&mut self, run: &[Option<&[f64]>], weights: &[f64]) {
        tile::add_run(self, run, weights);
    }

    #[inline(always)]
    fn fill_any(&mut self, run: &[Option<&[f64]>], weights: &[f64], rows: usize) {
        let dim = self.dim;
        let steps =
            || run.iter().zip(weights.chunks_exact(rows)).filter_map(|(o, weights)| Some((*o.as_ref()?, weights)));
        let origin: Vec<f64> =
            (0..dim).map(|d| steps().map(|(o, _)| o[d]).find(|x| !x.is_nan()).unwrap_or(0.0)).collect();
        for (o, weights) in steps() {
            let tables = self.mass.chunks_exact_mut(dim).zip(self.mean.chunks_exact_mut(dim));
            for ((mass, mean), &g) in tables.zip(weights) {
                for ((mass, mean), (x, origin)) in mass.iter_mut().zip(mean).zip(o.iter().zip(&origin)) {
                    *mass += if x.is_nan() { 0.0 } else { g };
                    *mean += if x.is_nan() { 0.0 } else { g * (x - origin) };
                }
            }
        }
        self.divide(&origin);
        for (o, weights) in steps() {
            let tables = self.square.chunks_exact_mut(dim).zip(self.mean.chunks_exact(dim));
            for ((square, mean), &g) in tables.zip(weights) {
                for (square, (x, mean)) in square.iter_mut().zip(o.iter().zip(mean)) {
                    let from = if x.is_nan() { 0.0 } else { x - mean };
                    *square += g * (from * from);
                }
            }
        }
    }

    /// Turns sums of differences from `origin` into means.
    fn divide(&mut self, origin: &[f64]) {
        for (masses, means) in self.mass.chunks_exact(self.dim).zip(self.mean.chunks_exact_mut(self.dim)) {
            for ((mean, mass), origin) in means.iter_mut().zip(masses).zip(origin) {
                *mean = origin + if *mass > NO_MASS { *mean / mass } else { 0.0 };
            }
        }
    }

    pub(crate) fn merge(&mut self, other: &Self) {
        self.merge_from(other, 0);
    }

    /// Adds the rows of `other` from `first` on.
    fn merge_from(&mut self, other: &Self, first: usize) {
        for k in first * self.dim..self.mass.len().min(other.mass.len()) {
            self.merge_entry(k, other.mass[k], other.mean[k], other.square[k]);
        }
    }

    #[inline(always)]
    fn merge_entry(&mut self, k: usize, m: f64, x: f64, s: f64) {
        let total = self.mass[k] + m;
        if total > NO_MASS {
            let (share, delta) = (m / total, x - self.mean[k]);
            self.square[k] += s + delta * delta * (self.mass[k] * share);
            self.mean[k] += delta * share;
        }
        self.mass[k] = total;
    }

    pub(crate) fn scale(&mut self, factor: f64) {
        self.mass.iter_mut().chain(&mut self.square).for_each(|x| *x *= factor);
    }

    /// Variance of coordinate `d` over all rows together, 0 where there is no mass to speak of.
    pub(crate) fn data_variance(&self, d: usize) -> f64 {
        let mut all = Self::new(1, 1);
        for k in (d..self.mass.len()).step_by(self.dim) {
            all.merge_entry(0, self.mass[k], self.mean[k], self.square[k]);
        }
        all.variance_or(0, 0.0)
    }

    /// Mean of entry `k`, or `old` where there is no mass to speak of.
    pub(crate) fn mean_or(&self, k: usize, old: f64) -> f64 {
        if self.mass[k] > NO_MASS { self.mean[k] } else { old }
    }

    /// Variance of entry `k`, or `old` where there is no mass to speak of.
    pub(crate) fn variance_or(&self, k: usize, old: f64) -> f64 {
        if self.mass[k] > NO_MASS { self.square[k] / self.mass[k] } else { old }
    }
}

impl Tiled for Moments {
    fn shape(&self) -> (usize, usize) {
        (self.mass.len() / self.dim.max(1), self.dim)
    }

    #[inline(always)]
    fn add_tile<const T: usize, const D: usize>(&mut self, tile: Tile<'_, '_>) -> bool {
        // A run without an observation adds nothing.
        let Some((mass, mean)) = tile.means::<T, D>() else { return tile.run.iter().flatten().next().is_none() };
        if !mean.as_flattened().iter().all(|m| m.is_finite()) {
            return false;
        }
        let mut square = [[0.0; T]; D];
        for (o, weights) in tile.steps::<T, D>() {
            for d in 0..D {
                for t in 0..T {
                    let from = o[d] - mean[d][t];
                    square[d][t] += weights[t] * (from * from);
                }
            }
        }
        for t in 0..T {
            for d in 0..D {
                self.merge_entry((tile.first + t) * D + d, mass[t], mean[d][t], square[d][t]);
            }
        }
        true
    }

    fn add_rest(&mut self, run: &[Option<&[f64]>], weights: &[f64], first: usize) {
        let rows = self.shape().0;
        let mut part = Self::new(rows, self.dim);
        part.fill_any(run, weights, rows);
        self.merge_from(&part, first);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn large_offsets_do_not_cancel_and_merging_is_exact() {
        let data: Vec<[f64; 2]> = (0..100).map(|t| [1e9 + f64::from(t % 7), f64::from(t % 3)]).collect();
        let run: Vec<Option<&[f64]>> = data.iter().map(|x| Some(&x[..])).collect();
        let weights: Vec<f64> = (0..100).map(|t| 0.5 + f64::from(t % 2)).collect();
        let total: f64 = weights.iter().sum();
        let mean = data.iter().zip(&weights).map(|(x, w)| (x[0] - 1e9) * w).sum::<f64>() / total;
        let square: f64 = data.iter().zip(&weights).map(|(x, w)| (x[0] - 1e9 - mean).powi(2) * w).sum();
        let mut whole = Moments::new(1, 2);
        whole.add_run(&run, &weights);
        let mut parts = Moments::new(1, 2);
        for (run, weights) in run.chunks(7).zip(weights.chunks(7)) {
            let mut part = Moments::new(1, 2);
            part.add_run(run, weights);
            parts.merge(&part);
        }
        for moments in [&whole, &parts] {
            assert!((moments.mean[0] - 1e9 - mean).abs() < 1e-6);
            assert!((moments.square[0] - square).abs() < 1e-6 * square, "{} {square}", moments.square[0]);
            assert!(moments.fits(1, 2) && !moments.fits(2, 1));
        }
        let mut any = Moments::new(1, 2);
        any.fill_any(&run, &weights, 1);
        assert!((any.square[1] - whole.square[1]).abs() < 1e-9);
    }

    #[test]
    fn missing_coordinates_count_for_nothing() {
        let rows = [[f64::NAN, 1.0], [2.0, f64::NAN], [4.0, 3.0]];
        let run = [Some(&rows[0][..]), Some(&rows[1][..]), None, Some(&rows[2][..])];
        let mut moments = Moments::new(1, 2);
        moments.add_run(&run, &[1.0; 4]);
        assert_eq!((moments.mass[0], moments.mean[0], moments.square[0]), (2.0, 3.0, 2.0));
        assert_eq!((moments.mass[1], moments.mean[1], moments.square[1]), (2.0, 2.0, 2.0));
    }
}
