//! Weighted means and squared deviations that can be merged without cancellation (Chan, Golub, LeVeque 1983).

use super::super::NO_MASS;

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
        let rows = self.mass.len() / self.dim;
        let mut other = Self::new(rows, self.dim);
        match self.dim {
            1 => other.fill::<1>(run, weights, rows),
            2 => other.fill::<2>(run, weights, rows),
            3 => other.fill::<3>(run, weights, rows),
            4 => other.fill::<4>(run, weights, rows),
            8 => other.fill::<8>(run, weights, rows),
            _ => other.fill_any(run, weights, rows),
        }
        self.merge(&other);
    }

    fn fill<const D: usize>(&mut self, run: &[Option<&[f64]>], weights: &[f64], rows: usize) {
        let steps = || {
            let steps = run.iter().zip(weights.chunks_exact(rows));
            steps.filter_map(|(o, weights)| Some((o.as_ref()?.first_chunk::<D>()?, weights)))
        };
        let mut origin = [0.0; D];
        for (d, origin) in origin.iter_mut().enumerate() {
            *origin = steps().map(|(o, _)| o[d]).find(|x| !x.is_nan()).unwrap_or(0.0);
        }
        for (o, weights) in steps() {
            let (mut present, mut from) = ([1.0; D], [0.0; D]);
            for d in 0..D {
                present[d] = if o[d].is_nan() { 0.0 } else { 1.0 };
                from[d] = if o[d].is_nan() { 0.0 } else { o[d] - origin[d] };
            }
            let tables = self.mass.as_chunks_mut::<D>().0.iter_mut().zip(self.mean.as_chunks_mut::<D>().0);
            for ((mass, mean), &g) in tables.zip(weights) {
                for d in 0..D {
                    mass[d] += g * present[d];
                    mean[d] += g * from[d];
                }
            }
        }
        self.divide(&origin);
        for (o, weights) in steps() {
            let tables = self.square.as_chunks_mut::<D>().0.iter_mut().zip(self.mean.as_chunks::<D>().0);
            for ((square, mean), &g) in tables.zip(weights) {
                for d in 0..D {
                    let from = if o[d].is_nan() { 0.0 } else { o[d] - mean[d] };
                    square[d] += g * (from * from);
                }
            }
        }
    }

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
