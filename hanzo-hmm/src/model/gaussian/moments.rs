//! Weighted means and squared deviations that can be merged without cancellation (Chan, Golub, LeVeque 1983).

use super::super::NO_MASS;
use crate::kernel::{Arch, Level, Task};

/// Mass, mean and sum of squared deviations from the mean, of every row and coordinate.
///
/// Runs of steps are added in two passes, deviations being taken from the mean of the run; runs are then merged. A NaN
/// coordinate counts for nothing.
#[derive(Debug, Clone, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub(crate) struct Moments {
    pub(crate) dim: usize,
    pub(crate) mass: Vec<f64>,
    pub(crate) mean: Vec<f64>,
    pub(crate) square: Vec<f64>,
}

impl Moments {
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
        let mut other = Self::new(self.mass.len() / self.dim, self.dim);
        Level::best().run(Fill { moments: &mut other, run, weights });
        self.merge(&other);
    }

    /// Runs without a missing coordinate.
    #[inline(always)]
    fn fill<const D: usize>(&mut self, run: &Run<D>) {
        let tables = self.mass.as_chunks_mut::<D>().0.iter_mut().zip(self.mean.as_chunks_mut::<D>().0);
        for (row, ((mass, mean), square)) in tables.zip(self.square.as_chunks_mut::<D>().0).enumerate() {
            let weights = run.weights(row);
            let total = total(weights);
            let center = run.center(weights, total);
            let mut sums = [[0.0; D]; 4];
            for (points, weights) in run.points.as_chunks::<4>().0.iter().zip(weights.as_chunks::<4>().0) {
                for k in 0..4 {
                    for d in 0..D {
                        let from = points[k][d] - center[d];
                        sums[k][d] += weights[k] * (from * from);
                    }
                }
            }
            *mass = [total; D];
            for d in 0..D {
                mean[d] = run.origin[d] + center[d];
                square[d] = (sums[0][d] + sums[2][d]) + (sums[1][d] + sums[3][d]);
            }
        }
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
        let values = self.mass.iter_mut().zip(&mut self.mean).zip(&mut self.square);
        let others = other.mass.iter().zip(&other.mean).zip(&other.square);
        for (((mass, mean), square), ((m, x), s)) in values.zip(others) {
            let total = *mass + m;
            if total > NO_MASS {
                let (share, delta) = (m / total, x - *mean);
                *square += s + delta * delta * (*mass * share);
                *mean += delta * share;
            }
            *mass = total;
        }
    }

    pub(crate) fn scale(&mut self, factor: f64) {
        self.mass.iter_mut().chain(&mut self.square).for_each(|x| *x *= factor);
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

/// A run of steps as differences from its first observation, with the weights of each row together. Missing steps have
/// no weight, and their number is made up to a multiple of four.
pub(super) struct Run<const D: usize> {
    pub(super) origin: [f64; D],
    pub(super) points: Vec<[f64; D]>,
    weights: Vec<f64>,
}

impl<const D: usize> Run<D> {
    /// `None` when a coordinate is missing, or when there is no observation.
    #[inline(always)]
    pub(super) fn new(run: &[Option<&[f64]>], weights: &[f64]) -> Option<Self> {
        let origin = *run.iter().flatten().next()?.first_chunk::<D>()?;
        let (rows, length) = (weights.len() / run.len(), run.len().next_multiple_of(4));
        let mut points = vec![[0.0; D]; length];
        let mut columns = vec![0.0; rows * length];
        let mut sum = 0.0;
        for (t, (o, weights)) in run.iter().zip(weights.chunks_exact(rows)).enumerate() {
            let Some(o) = o else { continue };
            let (o, point) = (o.first_chunk::<D>()?, &mut points[t]);
            for d in 0..D {
                point[d] = o[d] - origin[d];
                sum += point[d];
            }
            for (column, weight) in columns.chunks_exact_mut(length).zip(weights) {
                column[t] = *weight;
            }
        }
        // One NaN makes the sum NaN; a sum that overflows takes the slower way, too.
        sum.is_finite().then_some(Self { origin, points, weights: columns })
    }

    /// The weights of a row.
    #[inline(always)]
    pub(super) fn weights(&self, row: usize) -> &[f64] {
        &self.weights[row * self.points.len()..][..self.points.len()]
    }

    /// Weighted mean, from the origin, of weights with this total.
    #[inline(always)]
    pub(super) fn center(&self, weights: &[f64], total: f64) -> [f64; D] {
        let mut sums = [[0.0; D]; 4];
        for (points, weights) in self.points.as_chunks::<4>().0.iter().zip(weights.as_chunks::<4>().0) {
            for k in 0..4 {
                for d in 0..D {
                    sums[k][d] += weights[k] * points[k][d];
                }
            }
        }
        let mut center = [0.0; D];
        for d in 0..D {
            let sum = (sums[0][d] + sums[2][d]) + (sums[1][d] + sums[3][d]);
            center[d] = if total > NO_MASS { sum / total } else { 0.0 };
        }
        center
    }
}

/// The sum of weights, whose number is a multiple of four.
#[inline(always)]
pub(super) fn total(weights: &[f64]) -> f64 {
    let mut sums = [0.0; 4];
    for weights in weights.as_chunks::<4>().0 {
        for k in 0..4 {
            sums[k] += weights[k];
        }
    }
    (sums[0] + sums[2]) + (sums[1] + sums[3])
}

/// Moments of one run, compiled for several instruction sets; none of its sums is fused.
struct Fill<'r, 'o> {
    moments: &'r mut Moments,
    run: &'r [Option<&'o [f64]>],
    weights: &'r [f64],
}

impl Fill<'_, '_> {
    #[inline(always)]
    fn fixed<const D: usize>(&mut self) -> bool {
        let run = Run::<D>::new(self.run, self.weights);
        if let Some(run) = &run {
            self.moments.fill(run);
        }
        run.is_some()
    }
}

impl Task for Fill<'_, '_> {
    type Output = ();

    #[inline(always)]
    fn run<A: Arch>(mut self, _arch: A) {
        let done = match self.moments.dim {
            1 => self.fixed::<1>(),
            2 => self.fixed::<2>(),
            3 => self.fixed::<3>(),
            4 => self.fixed::<4>(),
            8 => self.fixed::<8>(),
            _ => false,
        };
        if !done {
            let rows = self.moments.mass.len() / self.moments.dim;
            self.moments.fill_any(self.run, self.weights, rows);
        }
    }
}

/// Sum of each row of weights: the weight of the step itself.
pub(crate) fn totals(weights: &[f64], rows: usize) -> Vec<f64> {
    weights.chunks_exact(rows).map(|row| row.iter().sum()).collect()
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
