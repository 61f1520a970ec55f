//! From differences to sign bits and scales.

use alloc::string::ToString;
use alloc::vec;
use alloc::vec::Vec;

use crate::apply::RowPlane;
use crate::element::Element;
use crate::error::{Error, Result};
use crate::kernel::{Engine, Isa, Op};
use crate::layout::{Grid, TILE_COLS, TILE_ROWS, Tile};
use crate::matrix::MatRef;
use crate::options::{Granularity, PackOptions, PlaneFit, SignZero};
use crate::product::{LANES, halving_sum};
use crate::tiles::TileBuffer;

mod least_squares;
mod rank_one;

/// Where differences come from.
pub(crate) trait Source: Sync {
    /// The differences of row `i`, in place or written to `out`.
    fn row<'a>(&'a self, i: usize, out: &'a mut [f32]) -> &'a [f32];

    /// Name of the input that makes element `(i, j)` not finite.
    fn culprit(&self, i: usize, j: usize) -> &str;
}

/// `fine - base`, in `f32`.
#[derive(Debug)]
pub(crate) struct Difference<'a, T> {
    pub(crate) base: MatRef<'a, T>,
    pub(crate) fine: MatRef<'a, T>,
}

impl<T: Element> Source for Difference<'_, T> {
    #[inline(always)]
    fn row<'a>(&'a self, i: usize, out: &'a mut [f32]) -> &'a [f32] {
        for ((d, fine), base) in out.iter_mut().zip(self.fine.row(i)).zip(self.base.row(i)) {
            *d = fine.to_f32() - base.to_f32();
        }
        out
    }

    fn culprit(&self, i: usize, j: usize) -> &str {
        let finite = |m: &MatRef<'_, T>| m.row(i).get(j).is_some_and(|w| w.to_f32().is_finite());
        match (finite(&self.base), finite(&self.fine)) {
            (false, _) => "base",
            (_, false) => "fine",
            _ => "difference",
        }
    }
}

/// Differences that the caller has.
impl<T: Element> Source for MatRef<'_, T> {
    #[inline(always)]
    fn row<'a>(&'a self, i: usize, out: &'a mut [f32]) -> &'a [f32] {
        let row = Self::row(self, i);
        if let Some(floats) = T::as_f32(row) {
            return floats;
        }
        for (d, value) in out.iter_mut().zip(row) {
            *d = value.to_f32();
        }
        out
    }

    fn culprit(&self, _: usize, _: usize) -> &str {
        "delta"
    }
}

/// Sign bits and scales of all planes.
#[derive(Debug)]
pub(crate) struct Packed {
    pub(crate) tiles: TileBuffer,
    pub(crate) scales: Vec<f32>,
}

/// Packs a matrix that is not empty.
pub(crate) fn pack(source: &impl Source, grid: Grid, options: &PackOptions, engine: Engine) -> Result<Packed> {
    // One plane is packed as its rows come; what needs more than one pass over the differences keeps them.
    let keep = options.planes > 1 || options.granularity == Granularity::RowCol;
    let mut kept = Vec::new();
    if keep {
        kept.resize(grid.rows * grid.cols, 0.0);
        copy_rows(source, &mut kept, grid, engine);
    }
    let mut tiles = TileBuffer::zeros(options.planes * grid.tiles());
    let mut scales: Vec<f32> = Vec::new();
    for (index, plane) in tiles.as_mut().chunks_exact_mut(grid.tiles()).enumerate() {
        let packed = if keep {
            let kept = MatRef::new(&kept, grid.rows, grid.cols)?;
            pack_plane(&kept, grid, options, plane, engine)
        } else {
            pack_plane(source, grid, options, plane, engine)
        };
        let sums = packed.map_err(|i| {
            let mut row = vec![0.0; grid.cols];
            let row = if keep { &kept[i * grid.cols..][..grid.cols] } else { source.row(i, &mut row) };
            not_finite(source, i, row, index)
        })?;
        let exact = match options.granularity {
            Granularity::RowCol => rank_one::fit(&kept, grid, engine),
            granularity => means(sums, grid, granularity),
        };
        for scale in exact {
            let value = scale as f32;
            let stored = value.is_finite().then(|| options.scale_dtype.round(value)).flatten();
            scales.push(stored.ok_or(Error::InvalidScale { index: scales.len(), value })?);
        }
        if index + 1 < options.planes {
            let count = scales.len() / (index + 1);
            let scales = &scales[index * count..];
            for (i, row) in kept.chunks_exact_mut(grid.cols).enumerate() {
                let plane = RowPlane::new(i, plane, scales, grid.rows, grid.cols, options.granularity);
                engine.run(Subtract { plane, row });
            }
        }
    }
    let mut packed = Packed { tiles, scales };
    let joint = options.plane_fit == PlaneFit::LeastSquares && options.granularity != Granularity::RowCol;
    if options.planes > 1 && joint {
        copy_rows(source, &mut kept, grid, engine);
        least_squares::refine(&kept, grid, options, &mut packed)?;
    }
    Ok(packed)
}

fn copy_rows(source: &impl Source, kept: &mut [f32], grid: Grid, engine: Engine) {
    let mut scratch = vec![0.0; grid.cols];
    for (i, row) in kept.chunks_exact_mut(grid.cols).enumerate() {
        engine.run(CopyRow { source, i, row, scratch: &mut scratch });
    }
}

/// Copies a row of differences.
struct CopyRow<'a, S> {
    source: &'a S,
    i: usize,
    row: &'a mut [f32],
    scratch: &'a mut [f32],
}

impl<S: Source> Op for CopyRow<'_, S> {
    type Output = ();

    #[inline(always)]
    fn run(self, _: Isa) {
        self.row.copy_from_slice(self.source.row(self.i, self.scratch));
    }
}

/// What a plane leaves over of a row: `d - a s`.
struct Subtract<'a> {
    plane: RowPlane<'a>,
    row: &'a mut [f32],
}

impl Op for Subtract<'_> {
    type Output = ();

    #[inline(always)]
    fn run(self, _: Isa) {
        for (c, part) in self.row.chunks_mut(TILE_COLS).enumerate() {
            let signed = self.plane.signed(c, part.len());
            part.iter_mut().zip(&signed).for_each(|(d, signed)| *d -= signed);
        }
    }
}

/// Sets the bits of a plane and gives the sums of magnitudes in the order of the scales (nothing for `RowCol`), or the
/// first row whose sums are not finite.
fn pack_plane<S: Source>(
    source: &S,
    grid: Grid,
    options: &PackOptions,
    plane: &mut [Tile],
    engine: Engine,
) -> Result<Vec<f64>, usize> {
    let granularity = options.granularity;
    let block = granularity.block_cols(grid.cols);
    let blocks = grid.cols.div_ceil(block);
    let mut sums = vec![0.0; grid.rows * blocks];
    let by_column = matches!(granularity, Granularity::Col | Granularity::RowCol);
    let rule = Rule { zero: options.sign_zero, by_column, block, blocks };
    let columns = if granularity == Granularity::Col { grid.cols } else { 0 };
    let mut columns = vec![0.0; columns];
    #[cfg(feature = "rayon")]
    // Sums by column run over all rows in order: these stay on one thread.
    if columns.is_empty() && grid.tiles() >= PARALLEL_TILES && rayon::current_num_threads() > 1 {
        use rayon::prelude::*;
        let bad = plane
            .par_chunks_exact_mut(grid.words())
            .zip(sums.par_chunks_mut(TILE_ROWS * blocks))
            .enumerate()
            .map_init(
                || vec![0.0; grid.cols],
                |scratch, (index, (tiles, sums))| {
                    let first = index * TILE_ROWS;
                    let band = Band { source, rule, first, tiles, sums, scratch, columns: &mut [] };
                    engine.run(band).map(|r| first + r)
                },
            )
            .filter_map(|row| row)
            .min();
        return bad.map_or_else(|| Ok(by_scale(sums, granularity)), Err);
    }
    let mut scratch = vec![0.0; grid.cols];
    let parts = plane.chunks_exact_mut(grid.words()).zip(sums.chunks_mut(TILE_ROWS * blocks));
    for (index, (tiles, sums)) in parts.enumerate() {
        let first = index * TILE_ROWS;
        let band = Band { source, rule, first, tiles, sums, scratch: &mut scratch, columns: &mut columns };
        if let Some(r) = engine.run(band) {
            return Err(first + r);
        }
    }
    Ok(if granularity == Granularity::Col { columns } else { by_scale(sums, granularity) })
}

/// Sums of rows or blocks as sums of scales.
fn by_scale(sums: Vec<f64>, granularity: Granularity) -> Vec<f64> {
    match granularity {
        Granularity::Tensor => vec![sums.into_iter().fold(0.0, |sum, row| sum + row)],
        _ => sums,
    }
}

fn means(mut sums: Vec<f64>, grid: Grid, granularity: Granularity) -> Vec<f64> {
    let (rows, cols) = (grid.rows as f64, grid.cols as f64);
    let block = granularity.block_cols(grid.cols);
    let blocks = grid.cols.div_ceil(block);
    for (index, sum) in sums.iter_mut().enumerate() {
        *sum /= match granularity {
            Granularity::Tensor => rows * cols,
            Granularity::Row | Granularity::RowCol => cols,
            Granularity::Col => rows,
            Granularity::Block(_) => block.min(grid.cols - index % blocks * block) as f64,
        };
    }
    sums
}

/// What is the same for all bands.
#[derive(Debug, Clone, Copy)]
struct Rule {
    zero: SignZero,
    /// Whether the scales come from sums by column, which are taken in `f64`.
    by_column: bool,
    /// Columns of a block, and blocks of a row.
    block: usize,
    blocks: usize,
}

/// Packs the 16 rows (or fewer) of a band: their sign words, their sums by block, and what they add to the columns' sums.
/// Gives the first row whose sums, where scales need them, or else whose values, are not finite.
struct Band<'a, S> {
    source: &'a S,
    rule: Rule,
    first: usize,
    tiles: &'a mut [Tile],
    sums: &'a mut [f64],
    scratch: &'a mut [f32],
    columns: &'a mut [f64],
}

impl<S: Source> Op for Band<'_, S> {
    type Output = Option<usize>;

    #[inline(always)]
    fn run(self, isa: Isa) -> Option<usize> {
        let Rule { zero, by_column, block, blocks } = self.rule;
        for (r, sums) in self.sums.chunks_exact_mut(blocks).enumerate() {
            let row = self.source.row(self.first + r, self.scratch);
            let mut finite = true;
            for (b, (part, sum)) in row.chunks(block).zip(sums).enumerate() {
                let tiles = &mut self.tiles[b * (block / TILE_COLS)..];
                *sum = pack_group(part, zero, r, tiles, isa);
                finite &= sum.is_finite();
            }
            for (sum, d) in self.columns.iter_mut().zip(row) {
                *sum += f64::from(d.abs());
            }
            // Column sums are taken in f64 and cannot overflow: there only the values themselves count.
            if !(finite || by_column && row.iter().all(|d| d.is_finite())) {
                return Some(r);
            }
        }
        None
    }
}

/// Writes the sign words of a group to row `r` of the tiles; gives the sum of its magnitudes: chunks of 2048 columns, in
/// them 32 lanes in `f32` that are added in halves; the chunks in `f64`.
#[inline(always)]
fn pack_group(part: &[f32], zero: SignZero, r: usize, tiles: &mut [Tile], isa: Isa) -> f64 {
    let mut sum = 0.0;
    for (chunk, tiles) in part.chunks(SUM_CHUNK).zip(tiles.chunks_mut(SUM_CHUNK / TILE_COLS)) {
        let (words, tail) = chunk.as_chunks::<LANES>();
        let mut lanes = [0.0_f32; LANES];
        isa.pack_words(words, zero == SignZero::Positive, r, tiles, &mut lanes);
        if tail.is_empty() {
            sum += f64::from(halving_sum(&lanes));
            continue;
        }
        // Copies, so that the lanes above stay in registers. The sign of a missing column is masked.
        let (mut last, mut values) = (lanes, [0.0; LANES]);
        values[..tail.len()].copy_from_slice(tail);
        let tiles = &mut tiles[words.len()..];
        isa.pack_words(&[values], zero == SignZero::Positive, r, tiles, &mut last);
        tiles[0][r] &= (1 << tail.len()) - 1;
        sum += f64::from(halving_sum(&last));
    }
    sum
}

/// The error for a row whose magnitudes do not add up to a finite sum.
fn not_finite(source: &impl Source, i: usize, row: &[f32], plane: usize) -> Error {
    match row.iter().position(|d| !d.is_finite()) {
        Some(col) if plane == 0 => Error::NonFinite { tensor: source.culprit(i, col).to_string(), row: i, col },
        _ => Error::Overflow { what: "sum of magnitudes" },
    }
}

/// Columns whose magnitudes are added in `f32`.
const SUM_CHUNK: usize = 2048;

/// Tiles that are worth waking a thread for.
#[cfg(feature = "rayon")]
const PARALLEL_TILES: usize = 1024;

#[cfg(test)]
mod tests {
    use super::*;

    fn packed(delta: &[f32], rows: usize, cols: usize, options: &PackOptions) -> Result<Packed> {
        pack(&MatRef::new(delta, rows, cols)?, Grid { rows, cols }, options, Engine::best())
    }

    #[test]
    fn zero_and_subnormal_follow_the_sign_rule() {
        let delta = [0.0, -0.0, 1e-45, -1e-45, 1.0, -1.0];
        let options = PackOptions::new().granularity(Granularity::Tensor);
        let negative = packed(&delta, 1, 6, &options).unwrap();
        assert_eq!(negative.tiles.as_slice()[0][0], 0b010100);
        let positive = packed(&delta, 1, 6, &options.sign_zero(SignZero::Positive)).unwrap();
        assert_eq!(positive.tiles.as_slice()[0][0], 0b010111);
    }

    #[test]
    fn a_mean_counts_zeros_and_a_short_block_its_own_length() {
        let mut delta = [0.0; 40];
        delta[0] = 32.0;
        delta[39] = 4.0;
        let scales = |g| packed(&delta, 1, 40, &PackOptions::new().granularity(g)).unwrap().scales;
        assert_eq!(scales(Granularity::Row), [0.9]);
        assert_eq!(scales(Granularity::block(32).unwrap()), [1.0, 0.5]);
        assert_eq!(scales(Granularity::Col)[39], 4.0);
    }

    #[test]
    fn sums_that_leave_f32_are_an_error_only_where_they_are_needed() {
        let delta = [f32::MAX; 64];
        let row = PackOptions::new().granularity(Granularity::Row);
        assert_eq!(packed(&delta, 1, 64, &row).unwrap_err(), Error::Overflow { what: "sum of magnitudes" });
        let col = PackOptions::new().granularity(Granularity::Col);
        assert_eq!(packed(&delta, 1, 64, &col).unwrap().scales, delta);
    }
}
