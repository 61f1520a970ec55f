//! Row scales times column scales: the rank-1 least-squares model of the magnitudes.

use alloc::vec;
use alloc::vec::Vec;

use crate::kernel::{Engine, Isa, Op};
use crate::layout::Grid;

/// Row scales `u`, then column scales `v`, so that `u_i v_j` is near `|d_ij|`: ten rounds of alternating least squares from
/// the row means, all sums in `f64` in ascending order, then `mean(v) = 1`. All zeros when `d` is.
pub(super) fn fit(d: &[f32], grid: Grid, engine: Engine) -> Vec<f64> {
    let (rows, cols) = (grid.rows, grid.cols);
    let mut u = vec![0.0; rows];
    let mut v = vec![1.0; cols];
    engine.run(RowSums { d, weights: &v, out: &mut u });
    u.iter_mut().for_each(|u| *u /= cols as f64);
    if u.iter().all(|&u| u == 0.0) {
        return vec![0.0; rows + cols];
    }
    for _ in 0..ROUNDS {
        v.fill(0.0);
        engine.run(ColumnSums { d, weights: &u, out: &mut v });
        let norm = squares(&u);
        v.iter_mut().for_each(|v| *v /= norm);
        engine.run(RowSums { d, weights: &v, out: &mut u });
        let norm = squares(&v);
        u.iter_mut().for_each(|u| *u /= norm);
    }
    let mean = v.iter().sum::<f64>() / cols as f64;
    let rows = u.into_iter().map(|u| u * mean);
    rows.chain(v.into_iter().map(|v| v / mean)).collect()
}

/// `out_j += sum_i weights_i |d_ij|`, rows in ascending order.
struct ColumnSums<'a> {
    d: &'a [f32],
    weights: &'a [f64],
    out: &'a mut [f64],
}

impl Op for ColumnSums<'_> {
    type Output = ();

    #[inline(always)]
    fn run(self, _: Isa) {
        let cols = self.out.len();
        // Four rows a pass: each column still adds them one after the other.
        let (quads, rest) = self.weights.as_chunks::<4>();
        let (head, tail) = self.d.split_at(4 * cols * quads.len());
        for (rows, weights) in head.chunks_exact(4 * cols).zip(quads) {
            let (a, rows) = rows.split_at(cols);
            let (b, rows) = rows.split_at(cols);
            let (c, d) = rows.split_at(cols);
            for ((((out, a), b), c), d) in self.out.iter_mut().zip(a).zip(b).zip(c).zip(d) {
                let mut sum = *out + weights[0] * f64::from(a.abs());
                sum += weights[1] * f64::from(b.abs());
                sum += weights[2] * f64::from(c.abs());
                *out = sum + weights[3] * f64::from(d.abs());
            }
        }
        for (row, weight) in tail.chunks_exact(cols).zip(rest) {
            for (out, d) in self.out.iter_mut().zip(row) {
                *out += weight * f64::from(d.abs());
            }
        }
    }
}

/// `out_i = sum_j weights_j |d_ij|`, columns in ascending order.
struct RowSums<'a> {
    d: &'a [f32],
    weights: &'a [f64],
    out: &'a mut [f64],
}

impl Op for RowSums<'_> {
    type Output = ();

    #[inline(always)]
    fn run(self, _: Isa) {
        let Self { d, weights, out } = self;
        let cols = weights.len();
        // Eight rows side by side: each keeps its own order, and the additions of different rows overlap.
        let mut bands = d.chunks_exact(8 * cols);
        let mut outs = out.chunks_exact_mut(8);
        for (band, out) in (&mut bands).zip(&mut outs) {
            let mut sums = [0.0; 8];
            let mut rows = [&band[..0]; 8];
            for (slot, row) in rows.iter_mut().zip(band.chunks_exact(cols)) {
                *slot = row;
            }
            for (j, weight) in weights.iter().enumerate() {
                for (sum, row) in sums.iter_mut().zip(&rows) {
                    *sum += weight * f64::from(row[j].abs());
                }
            }
            out.copy_from_slice(&sums);
        }
        for (row, out) in bands.remainder().chunks_exact(cols).zip(outs.into_remainder()) {
            *out = row.iter().zip(weights).map(|(d, weight)| weight * f64::from(d.abs())).fold(0.0, |a, b| a + b);
        }
    }
}

fn squares(values: &[f64]) -> f64 {
    values.iter().map(|value| value * value).sum()
}

const ROUNDS: usize = 10;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_exact_rank_one_matrix_is_found() {
        let (u, v) = ([1.0_f32, 2.0, 4.0], [0.5_f32, 1.0, 1.5, 1.0]);
        let d: Vec<f32> = u.iter().flat_map(|u| v.iter().map(move |v| -u * v)).collect();
        let fitted = fit(&d, Grid { rows: 3, cols: 4 }, Engine::best());
        for (found, expected) in fitted.iter().zip(u.iter().chain(&v)) {
            assert!((found - f64::from(*expected)).abs() < 1e-12);
        }
    }
}
