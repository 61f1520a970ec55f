//! Weighted means and scatter matrices that can be merged without cancellation.

use super::super::NO_MASS;
#[cfg(feature = "serde")]
use super::super::check_counts;
use super::tile::{Tile, Tiled};
#[cfg(feature = "serde")]
use crate::{Error, Result};

/// Expected masses, means and scatter matrices of every state, for [`GaussianFull`](crate::GaussianFull) and
/// [`GaussianTied`](crate::GaussianTied) to read.
#[derive(Debug, Clone, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub struct GaussianFullStats {
    pub(super) dim: usize,
    pub(super) mass: Vec<f64>,
    pub(super) mean: Vec<f64>,
    /// Sums of outer products of deviations from the mean, `S x D x D`.
    pub(super) scatter: Vec<f64>,
}

#[cfg(feature = "serde")]
crate::raw::checked_on_load!(GaussianFullStats { dim: usize, mass: Vec<f64>, mean: Vec<f64>, scatter: Vec<f64> });

impl GaussianFullStats {
    pub(super) fn new(rows: usize, dim: usize) -> Self {
        Self { dim, mass: vec![0.0; rows], mean: vec![0.0; rows * dim], scatter: vec![0.0; rows * dim * dim] }
    }

    /// Whether the shape is this one and every number makes sense.
    pub(super) fn fits(&self, rows: usize, dim: usize) -> bool {
        let sizes = [self.mass.len(), self.mean.len(), self.scatter.len()];
        self.dim == dim
            && sizes == [rows, rows * dim, rows * dim * dim]
            && self.mean.iter().chain(&self.scatter).all(|x| x.is_finite())
            && self.mass.iter().all(|m| m.is_finite() && *m >= 0.0)
    }

    #[cfg(feature = "serde")]
    fn check(&self) -> Result<()> {
        let (n, dim) = (self.mass.len(), self.dim);
        let fits =
            Some(self.mean.len()) == n.checked_mul(dim) && Some(self.scatter.len()) == self.mean.len().checked_mul(dim);
        if dim == 0 || !fits {
            return Err(Error::DimensionMismatch { what: "scatter matrices", expected: n, found: self.mean.len() });
        }
        check_counts("masses", &self.mass)?;
        for state in 0..n {
            let diagonal = self.scatter[state * dim * dim..][..dim * dim].iter().step_by(dim + 1).copied();
            check_counts("squared deviations", &diagonal.collect::<Vec<_>>())?;
        }
        let finite = self.mean.iter().chain(&self.scatter).all(|x| x.is_finite());
        if finite { Ok(()) } else { Err(Error::NotFinite { what: "scatter matrices" }) }
    }

    /// Adds the states of `other` from `first` on.
    pub(super) fn merge_from(&mut self, other: &Self, first: usize) {
        let dim = self.dim;
        let others = other.mass.iter().zip(other.mean.chunks_exact(dim)).zip(other.scatter.chunks_exact(dim * dim));
        for (state, ((mass, mean), scatter)) in others.enumerate().skip(first) {
            self.merge_row(state, *mass, mean, scatter);
        }
    }

    fn merge_row(&mut self, state: usize, m: f64, x: &[f64], s: &[f64]) {
        let dim = self.dim;
        let Some(mass) = self.mass.get_mut(state) else { return };
        let (mean, scatter) = (&mut self.mean[state * dim..], &mut self.scatter[state * dim * dim..]);
        let total = *mass + m;
        if total > NO_MASS {
            let share = m / total;
            for a in 0..dim {
                let delta = x[a] - mean[a];
                for b in 0..dim {
                    scatter[a * dim + b] += s[a * dim + b] + delta * (x[b] - mean[b]) * (*mass * share);
                }
            }
            for (mean, x) in mean.iter_mut().zip(x) {
                *mean += (x - *mean) * share;
            }
        }
        *mass = total;
    }

    /// Variance of coordinate `d` over all states together, 0 where there is no mass to speak of.
    pub(super) fn data_variance(&self, d: usize) -> f64 {
        let mut all = Self { dim: 1, mass: vec![0.0], mean: vec![0.0], scatter: vec![0.0] };
        for (state, mass) in self.mass.iter().enumerate() {
            let (mean, square) = (self.mean[state * self.dim + d], self.scatter[(state * self.dim + d) * self.dim + d]);
            all.merge_row(0, *mass, &[mean], &[square]);
        }
        if all.mass[0] > NO_MASS { all.scatter[0] / all.mass[0] } else { 0.0 }
    }

    #[inline(always)]
    fn fill_any(&mut self, run: &[Option<&[f64]>], gamma: &[f64], dim: usize) {
        let n_states = self.mass.len();
        let steps =
            || run.iter().zip(gamma.chunks_exact(n_states)).filter_map(|(o, gamma)| Some((*o.as_ref()?, gamma)));
        let Some((origin, _)) = steps().next() else { return };
        let mut from = vec![0.0; dim];
        for (o, gamma) in steps() {
            for ((mass, mean), g) in self.mass.iter_mut().zip(self.mean.chunks_exact_mut(dim)).zip(gamma) {
                *mass += g;
                for ((mean, x), origin) in mean.iter_mut().zip(o).zip(origin) {
                    *mean += g * (x - origin);
                }
            }
        }
        for (mean, mass) in self.mean.chunks_exact_mut(dim).zip(&self.mass) {
            for (mean, origin) in mean.iter_mut().zip(origin) {
                *mean = origin + if *mass > NO_MASS { *mean / mass } else { 0.0 };
            }
        }
        for (i, (scatter, mean)) in
            self.scatter.chunks_exact_mut(dim * dim).zip(self.mean.chunks_exact(dim)).enumerate()
        {
            for (o, gamma) in steps() {
                for ((from, x), mean) in from.iter_mut().zip(o).zip(mean) {
                    *from = x - mean;
                }
                for (row, a) in scatter.chunks_exact_mut(dim).zip(&from) {
                    let weighted = gamma[i] * a;
                    for (s, b) in row.iter_mut().zip(&from) {
                        *s += weighted * b;
                    }
                }
            }
        }
    }
}

impl Tiled for GaussianFullStats {
    fn shape(&self) -> (usize, usize) {
        (self.mass.len(), self.dim)
    }

    /// Means first, then products of the deviations from them.
    #[inline(always)]
    fn add_tile<const T: usize, const D: usize>(&mut self, tile: Tile<'_, '_>) -> bool {
        let Some((mass, mean)) = tile.means::<T, D>() else { return tile.run.iter().flatten().next().is_none() };
        if !mean.as_flattened().iter().all(|m| m.is_finite()) {
            return false;
        }
        // The upper triangle.
        let mut sums = [[[0.0; T]; D]; D];
        for (o, weights) in tile.steps::<T, D>() {
            let mut from = [[0.0; T]; D];
            for d in 0..D {
                for t in 0..T {
                    from[d][t] = o[d] - mean[d][t];
                }
            }
            for a in 0..D {
                let mut weighted = [0.0; T];
                for t in 0..T {
                    weighted[t] = weights[t] * from[a][t];
                }
                for b in a..D {
                    for t in 0..T {
                        sums[a][b][t] += weighted[t] * from[b][t];
                    }
                }
            }
        }
        for t in 0..T {
            let (mut center, mut scatter) = ([0.0; D], [[0.0; D]; D]);
            for a in 0..D {
                center[a] = mean[a][t];
                for b in 0..D {
                    scatter[a][b] = if a <= b { sums[a][b][t] } else { sums[b][a][t] };
                }
            }
            self.merge_row(tile.first + t, mass[t], &center, scatter.as_flattened());
        }
        true
    }

    fn add_rest(&mut self, run: &[Option<&[f64]>], weights: &[f64], first: usize) {
        let mut part = Self::new(self.mass.len(), self.dim);
        part.fill_any(run, weights, self.dim);
        self.merge_from(&part, first);
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::Emission;
    use super::super::{GaussianFull, VarianceFloor};

    #[test]
    fn statistics_agree_for_every_width() {
        let mut family = GaussianFull::new(
            vec![vec![0.0; 3]; 2],
            vec![vec![vec![1.0, 0.0, 0.0], vec![0.0, 1.0, 0.0], vec![0.0, 0.0, 1.0],]; 2],
        )
        .unwrap();
        let data: Vec<[f64; 3]> =
            (0..50).map(|t| [f64::from(t % 7), f64::from(t * t % 11), f64::from(t % 5) - 1e3]).collect();
        let run: Vec<Option<&[f64]>> = data.iter().map(|x| Some(&x[..])).collect();
        let gamma: Vec<f64> = (0..50).flat_map(|t| [f64::from(t % 3) / 2.0, 1.0 - f64::from(t % 3) / 2.0]).collect();
        let (mut whole, mut any) = (family.new_stats(), family.new_stats());
        family.accumulate_run(&mut whole, &run, &gamma);
        any.fill_any(&run, &gamma, 3);
        for (a, b) in whole.mass.iter().chain(&whole.scatter).zip(any.mass.iter().chain(&any.scatter)) {
            assert!((a - b).abs() < 1e-10 * b.abs().max(1.0));
        }
        let mut parts = family.new_stats();
        for (run, gamma) in run.chunks(9).zip(gamma.chunks(18)) {
            family.accumulate_run(&mut parts, run, gamma);
        }
        for (a, b) in whole.scatter.iter().zip(&parts.scatter) {
            assert!((a - b).abs() < 1e-10 * a.abs().max(1.0));
        }
        assert!(family.fits(&whole));
        assert!(!family.maximize(&whole, &VarianceFloor::default()).unwrap());
    }
}
