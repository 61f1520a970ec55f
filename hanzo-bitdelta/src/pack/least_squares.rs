//! Joint least squares of several planes: in every group of entries that share their scales, find the `k` scales and
//! the `k` signs of each entry that leave the least squared error, by alternating exact steps.

use alloc::vec;
use alloc::vec::Vec;

use super::Packed;
use crate::error::{Error, Result};
use crate::layout::{Grid, TILE_COLS};
use crate::options::{Granularity, MAX_PLANES, PackOptions};

/// Improves greedy planes in place.
pub(super) fn refine(d: &[f32], grid: Grid, options: &PackOptions, packed: &mut Packed) -> Result<()> {
    let planes = options.planes;
    let count = packed.scales.len() / planes;
    let block = options.granularity.block_cols(grid.cols);
    let blocks = grid.cols.div_ceil(block);
    let mut group = Group::default();
    for index in 0..count {
        let (rows, cols) = match options.granularity {
            Granularity::Tensor => (0..grid.rows, 0..grid.cols),
            Granularity::Col => (0..grid.rows, index..index + 1),
            Granularity::Row | Granularity::RowCol => (index..index + 1, 0..grid.cols),
            Granularity::Block(_) => {
                let (row, start) = (index / blocks, index % blocks * block);
                (row..row + 1, start..grid.cols.min(start + block))
            }
        };
        let entries = || rows.clone().flat_map(|i| cols.clone().map(move |j| (i, j)));
        group.values.clear();
        group.codes.clear();
        for (i, j) in entries() {
            group.values.push(d[i * grid.cols + j]);
            let bit = |p: usize| {
                grid.word(&packed.tiles.as_slice()[p * grid.tiles()..], i, j / TILE_COLS) >> (j % TILE_COLS) & 1
            };
            group.codes.push((0..planes).map(|p| (bit(p) as u8) << p).sum());
        }
        group.scales = (0..planes).map(|p| f64::from(packed.scales[p * count + index])).collect();
        group.fit();
        for (p, &scale) in group.scales.iter().enumerate() {
            let at = p * count + index;
            let value = scale as f32;
            let stored = options.scale_dtype.round(value);
            packed.scales[at] = stored.ok_or(Error::InvalidScale { index: at, value })?;
        }
        for ((i, j), code) in entries().zip(&group.codes) {
            for p in 0..planes {
                let plane = &mut packed.tiles.as_mut()[p * grid.tiles()..];
                let (c, bit) = (j / TILE_COLS, 1 << (j % TILE_COLS));
                let word = grid.word(plane, i, c);
                grid.set_word(plane, i, c, if code >> p & 1 == 1 { word | bit } else { word & !bit });
            }
        }
    }
    Ok(())
}

/// Entries that share their scales; bit `p` of a code is the sign bit of plane `p`.
#[derive(Debug, Default)]
struct Group {
    values: Vec<f32>,
    codes: Vec<u8>,
    scales: Vec<f64>,
}

impl Group {
    fn fit(&mut self) {
        for _ in 0..ROUNDS {
            let Some(solution) = self.solve() else { break };
            self.scales = solution.iter().map(|scale| scale.abs()).collect();
            self.scales.sort_by(|a, b| b.total_cmp(a));
            if !self.recode() {
                break;
            }
        }
        if let Some(solution) = self.solve() {
            self.scales = solution;
        }
        self.order();
    }

    /// The least-squares scales for the codes; `None` when the system is singular.
    fn solve(&self) -> Option<Vec<f64>> {
        let k = self.scales.len();
        let mut sums = [0.0_f64; 1 << MAX_PLANES];
        let mut counts = [0_u64; 1 << MAX_PLANES];
        for (&value, &code) in self.values.iter().zip(&self.codes) {
            sums[usize::from(code)] += f64::from(value);
            counts[usize::from(code)] += 1;
        }
        // Rows of the augmented normal equations S^T S a = S^T d.
        let mut system = vec![vec![0.0; k + 1]; k];
        for (code, (&sum, &count)) in sums.iter().zip(&counts).enumerate() {
            for (p, row) in system.iter_mut().enumerate() {
                for (q, entry) in row.iter_mut().take(k).enumerate() {
                    *entry += sign(code, p) * sign(code, q) * count as f64;
                }
                row[k] += sign(code, p) * sum;
            }
        }
        let tolerance = 1e-9 * self.values.len() as f64;
        for p in 0..k {
            let pivot = (p..k).max_by(|&a, &b| system[a][p].abs().total_cmp(&system[b][p].abs()))?;
            if system[pivot][p].abs() <= tolerance {
                return None;
            }
            system.swap(p, pivot);
            let row = system[p].clone();
            for other in system.iter_mut().skip(p + 1) {
                let factor = other[p] / row[p];
                other.iter_mut().zip(&row).skip(p).for_each(|(x, y)| *x -= factor * y);
            }
        }
        let mut solution = vec![0.0; k];
        for p in (0..k).rev() {
            let known: f64 = (p + 1..k).map(|q| system[p][q] * solution[q]).sum();
            solution[p] = (system[p][k] - known) / system[p][p];
        }
        Some(solution)
    }

    /// Gives each value the code of the nearest level, the lower one at a tie; whether a code changed.
    fn recode(&mut self) -> bool {
        let k = self.scales.len();
        let mut levels: Vec<(f64, u8)> = (0..1_u8 << k)
            .map(|code| (self.scales.iter().enumerate().map(|(p, a)| sign(usize::from(code), p) * a).sum(), code))
            .collect();
        levels.sort_by(|a, b| a.0.total_cmp(&b.0));
        let bounds: Vec<f64> = levels.windows(2).map(|pair| pair[0].0 + (pair[1].0 - pair[0].0) / 2.0).collect();
        let mut changed = false;
        for (&value, code) in self.values.iter().zip(&mut self.codes) {
            let level = bounds.iter().filter(|&&bound| bound < f64::from(value)).count();
            changed |= *code != levels[level].1;
            *code = levels[level].1;
        }
        changed
    }

    /// Flips planes with a negative scale and puts the largest scale first.
    fn order(&mut self) {
        let mut planes: Vec<(f64, usize)> = self.scales.iter().copied().zip(0..).collect();
        planes.sort_by(|a, b| b.0.abs().total_cmp(&a.0.abs()));
        for code in &mut self.codes {
            let old = *code;
            *code = 0;
            for (p, &(scale, from)) in planes.iter().enumerate() {
                let bit = old >> from & 1;
                *code |= if scale < 0.0 { 1 - bit } else { bit } << p;
            }
        }
        // `abs` also turns -0.0, which no file may hold, into 0.0.
        self.scales = planes.iter().map(|(scale, _)| scale.abs()).collect();
    }
}

fn sign(code: usize, plane: usize) -> f64 {
    if code >> plane & 1 == 1 { 1.0 } else { -1.0 }
}

const ROUNDS: usize = 20;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_on_four_levels_are_found_exactly() {
        // Levels +-3 +-1: greedy starts from the wrong scales when the levels are not equally frequent.
        let values = vec![4.0, 4.0, 2.0, -2.0, -4.0, 4.0, 4.0, 2.0];
        let mut group = Group { codes: vec![3, 3, 1, 0, 0, 3, 3, 1], values, scales: vec![3.25, 0.9] };
        group.fit();
        assert_eq!(group.scales, [3.0, 1.0]);
        assert_eq!(group.codes, [3, 3, 1, 2, 0, 3, 3, 1]);
    }

    #[test]
    fn a_singular_group_keeps_its_greedy_planes() {
        let mut group = Group { values: vec![0.0; 5], codes: vec![0; 5], scales: vec![0.0, 0.0] };
        group.fit();
        assert_eq!((group.scales, group.codes), (vec![0.0, 0.0], vec![0; 5]));
    }
}
