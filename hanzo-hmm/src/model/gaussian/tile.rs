//! Statistics of a run of steps, a few rows at a time: the sums of a tile stay in registers.

use super::super::NO_MASS;
use crate::kernel::{Arch, Level, Task};

/// Statistics with one entry a row (a state or a component), which weighted observations of a few coordinates are added
/// to.
pub(super) trait Tiled {
    /// Rows and coordinates.
    fn shape(&self) -> (usize, usize);

    /// Adds the rows `tile.first..tile.first + T`; false, with nothing changed, where a coordinate is missing or
    /// differences overflow.
    fn add_tile<const T: usize, const D: usize>(&mut self, tile: Tile<'_, '_>) -> bool;

    /// Adds the rows from `first` on, whatever their number and that of the coordinates.
    fn add_rest(&mut self, run: &[Option<&[f64]>], weights: &[f64], first: usize);

    /// Adds four rows at a time, whose weights are neighbours. Returns the first row that has to be added in another
    /// way.
    #[inline(always)]
    fn add_tiles<const D: usize>(&mut self, run: &[Option<&[f64]>], weights: &[f64]) -> usize {
        let (rows, _) = self.shape();
        let mut tile = Tile { run, weights, rows, first: 0 };
        while rows - tile.first >= 4 {
            if !self.add_tile::<4, D>(tile) {
                return tile.first;
            }
            tile.first += 4;
        }
        let done = match rows - tile.first {
            3 => self.add_tile::<3, D>(tile),
            2 => self.add_tile::<2, D>(tile),
            1 => self.add_tile::<1, D>(tile),
            _ => true,
        };
        if done { rows } else { tile.first }
    }
}

/// Adds a run of steps with one row of weights a step.
pub(super) fn add_run<M: Tiled>(stats: &mut M, run: &[Option<&[f64]>], weights: &[f64]) {
    Level::best().run(AddRun { stats, run, weights });
}

/// Statistics of one run, compiled for several instruction sets; none of its sums is fused.
struct AddRun<'r, 'o, M> {
    stats: &'r mut M,
    run: &'r [Option<&'o [f64]>],
    weights: &'r [f64],
}

impl<M: Tiled> Task for AddRun<'_, '_, M> {
    type Output = ();

    #[inline(always)]
    fn run<A: Arch>(self, _arch: A) {
        let Self { stats, run, weights } = self;
        let (rows, dim) = stats.shape();
        let done = match dim {
            1 => stats.add_tiles::<1>(run, weights),
            2 => stats.add_tiles::<2>(run, weights),
            3 => stats.add_tiles::<3>(run, weights),
            4 => stats.add_tiles::<4>(run, weights),
            _ => 0,
        };
        if done < rows {
            stats.add_rest(run, weights, done);
        }
    }
}

/// A run of steps and the rows of weights from `first` on.
#[derive(Clone, Copy)]
pub(super) struct Tile<'r, 'o> {
    pub(super) run: &'r [Option<&'o [f64]>],
    pub(super) weights: &'r [f64],
    pub(super) rows: usize,
    pub(super) first: usize,
}

impl<'r, 'o> Tile<'r, 'o> {
    /// The steps with an observation, and the weights of `T` rows.
    #[inline(always)]
    pub(super) fn steps<const T: usize, const D: usize>(self) -> impl Iterator<Item = (&'o [f64; D], &'r [f64; T])> {
        let steps = self.run.iter().zip(self.weights.chunks_exact(self.rows));
        steps.filter_map(move |(o, weights)| {
            Some(((*o)?.first_chunk::<D>()?, weights.get(self.first..)?.first_chunk::<T>()?))
        })
    }

    /// Masses and weighted means of `T` rows, by differences from the first observation; `None` without one. A missing
    /// coordinate makes means NaN.
    #[inline(always)]
    pub(super) fn means<const T: usize, const D: usize>(self) -> Option<([f64; T], [[f64; T]; D])> {
        let origin = *self.steps::<T, D>().next()?.0;
        let (mut mass, mut mean) = ([0.0; T], [[0.0; T]; D]);
        for (o, weights) in self.steps::<T, D>() {
            for t in 0..T {
                mass[t] += weights[t];
            }
            for d in 0..D {
                let from = o[d] - origin[d];
                for t in 0..T {
                    mean[d][t] += weights[t] * from;
                }
            }
        }
        for d in 0..D {
            for t in 0..T {
                // NaN has to stay NaN.
                let from = if mass[t] > NO_MASS { mean[d][t] / mass[t] } else { mean[d][t] * 0.0 };
                mean[d][t] = origin[d] + from;
            }
        }
        Some((mass, mean))
    }
}
