//! A packed row as a sum of scales times vectors: what least squares over scales works with.

use alloc::vec;
use alloc::vec::Vec;
use core::ops::Range;

use crate::delta::PackedDelta;
use crate::layout::TILE_COLS;
use crate::options::Granularity;

/// One vector `z` of a row, so that the row is the sum of `scale * z`; zero outside `cols`.
#[derive(Debug)]
pub(super) struct Vector {
    /// Index of the scale among all scales of the delta.
    pub(super) scale: usize,
    pub(super) cols: Range<usize>,
    /// Values of `z` at `cols`.
    pub(super) values: Vec<f64>,
}

/// The vectors of row `i`: its signs, times the column scales where there are row and column scales; one a plane, or one a
/// plane and block. [`Granularity::Col`] has one a plane and column.
pub(super) fn of_row(packed: &PackedDelta, i: usize) -> Vec<Vector> {
    let (cols, count) = (packed.cols(), packed.scales().len() / packed.planes());
    let mut vectors = Vec::new();
    for plane in 0..packed.planes() {
        let mut signs = signs(packed, plane, i);
        let first = plane * count;
        match packed.granularity() {
            Granularity::Tensor => vectors.push(Vector { scale: first, cols: 0..cols, values: signs }),
            Granularity::Row => vectors.push(Vector { scale: first + i, cols: 0..cols, values: signs }),
            Granularity::RowCol => {
                let scales = packed.column_scales(plane).unwrap_or_default();
                signs.iter_mut().zip(scales).for_each(|(s, &v)| *s *= f64::from(v));
                vectors.push(Vector { scale: first + i, cols: 0..cols, values: signs });
            }
            Granularity::Block(_) => {
                let block = packed.granularity().block_cols(cols);
                for (b, values) in signs.chunks(block).enumerate() {
                    let scale = first + i * packed.blocks() + b;
                    let cols = b * block..b * block + values.len();
                    vectors.push(Vector { scale, cols, values: values.to_vec() });
                }
            }
            Granularity::Col => {
                for (j, sign) in signs.into_iter().enumerate() {
                    vectors.push(Vector { scale: first + j, cols: j..j + 1, values: vec![sign] });
                }
            }
        }
    }
    vectors
}

/// The signs of row `i` of a plane, as +1 and -1.
pub(super) fn signs(packed: &PackedDelta, plane: usize, i: usize) -> Vec<f64> {
    let (grid, tiles) = (packed.grid(), packed.plane(plane));
    let bit = |j: usize| grid.word(tiles, i, j / TILE_COLS) >> (j % TILE_COLS) & 1;
    (0..packed.cols()).map(|j| if bit(j) == 1 { 1.0 } else { -1.0 }).collect()
}
