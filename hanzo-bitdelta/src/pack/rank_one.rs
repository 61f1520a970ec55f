//! Row scales times column scales: the rank-1 least-squares model of the magnitudes.

use alloc::vec;
use alloc::vec::Vec;

use crate::layout::Grid;

/// Row scales `u`, then column scales `v`, so that `u_i v_j` is near `|d_ij|`: ten rounds of alternating least squares from
/// the row means, all sums in `f64` in ascending order, then `mean(v) = 1`. All zeros when `d` is.
pub(super) fn fit(d: &[f32], grid: Grid) -> Vec<f64> {
    let (rows, cols) = (grid.rows, grid.cols);
    let mut u = vec![0.0; rows];
    let mut v = vec![1.0; cols];
    weighted_row_sums(d, &v, &mut u);
    u.iter_mut().for_each(|u| *u /= cols as f64);
    if u.iter().all(|&u| u == 0.0) {
        return vec![0.0; rows + cols];
    }
    for _ in 0..ROUNDS {
        v.fill(0.0);
        for (row, u) in d.chunks_exact(cols).zip(&u) {
            for (v, d) in v.iter_mut().zip(row) {
                *v += u * f64::from(d.abs());
            }
        }
        let norm = squares(&u);
        v.iter_mut().for_each(|v| *v /= norm);
        weighted_row_sums(d, &v, &mut u);
        let norm = squares(&v);
        u.iter_mut().for_each(|u| *u /= norm);
    }
    let mean = v.iter().sum::<f64>() / cols as f64;
    let rows = u.into_iter().map(|u| u * mean);
    rows.chain(v.into_iter().map(|v| v / mean)).collect()
}

/// `out_i = sum_j weights_j |d_ij|`, columns in ascending order.
fn weighted_row_sums(d: &[f32], weights: &[f64], out: &mut [f64]) {
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
        let fitted = fit(&d, Grid { rows: 3, cols: 4 });
        for (found, expected) in fitted.iter().zip(u.iter().chain(&v)) {
            assert!((found - f64::from(*expected)).abs() < 1e-12);
        }
    }
}
