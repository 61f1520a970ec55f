//! From differences to sign bits and scales.

use alloc::string::ToString;
use alloc::vec;
use alloc::vec::Vec;

use crate::element::Element;
use crate::error::{Error, Result};
use crate::layout::{Grid, TILE_COLS, Tile};
use crate::matrix::MatRef;
use crate::options::{Granularity, PackOptions, PlaneFit, SignZero};
use crate::product::{LANES, halving_sum};

mod least_squares;
mod rank_one;

/// Where differences come from.
pub(crate) trait Source {
    /// Writes the differences of row `i`.
    fn row(&self, i: usize, out: &mut [f32]);

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
    fn row(&self, i: usize, out: &mut [f32]) {
        for ((d, fine), base) in out.iter_mut().zip(self.fine.row(i)).zip(self.base.row(i)) {
            *d = fine.to_f32() - base.to_f32();
        }
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
    fn row(&self, i: usize, out: &mut [f32]) {
        for (d, value) in out.iter_mut().zip(Self::row(self, i)) {
            *d = value.to_f32();
        }
    }

    fn culprit(&self, _: usize, _: usize) -> &str {
        "delta"
    }
}

/// Sign bits and scales of all planes.
#[derive(Debug)]
pub(crate) struct Packed {
    pub(crate) tiles: Vec<Tile>,
    pub(crate) scales: Vec<f32>,
}

/// Packs a matrix that is not empty.
pub(crate) fn pack(source: &impl Source, grid: Grid, options: &PackOptions) -> Result<Packed> {
    // One plane is packed as its rows come; what needs more than one pass over the differences keeps them.
    let keep = options.planes > 1 || options.granularity == Granularity::RowCol;
    let mut kept = Vec::new();
    if keep {
        kept.resize(grid.rows * grid.cols, 0.0);
        for (i, row) in kept.chunks_exact_mut(grid.cols).enumerate() {
            source.row(i, row);
        }
    }
    let mut tiles = vec![Tile::default(); options.planes * grid.tiles()];
    let mut scales: Vec<f32> = Vec::new();
    let mut scratch = vec![0.0; grid.cols];
    for (index, plane) in tiles.chunks_exact_mut(grid.tiles()).enumerate() {
        let mut sums = Sums::new(options.granularity, grid);
        for i in 0..grid.rows {
            let row = if keep {
                &kept[i * grid.cols..][..grid.cols]
            } else {
                source.row(i, &mut scratch);
                &scratch
            };
            if !sums.push(row, options.sign_zero, |c, word| grid.set_word(plane, i, c, word)) {
                return Err(not_finite(source, i, row, index));
            }
        }
        let exact = match options.granularity {
            Granularity::RowCol => rank_one::fit(&kept, grid),
            _ => sums.means(),
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
                subtract(row, i, plane, scales, grid, options.granularity);
            }
        }
    }
    let mut packed = Packed { tiles, scales };
    let joint = options.plane_fit == PlaneFit::LeastSquares && options.granularity != Granularity::RowCol;
    if options.planes > 1 && joint {
        for (i, row) in kept.chunks_exact_mut(grid.cols).enumerate() {
            source.row(i, row);
        }
        least_squares::refine(&kept, grid, options, &mut packed)?;
    }
    Ok(packed)
}

/// Signed element scales of one row of one plane, handed to `each` column by column.
#[inline(always)]
pub(crate) fn for_row(
    i: usize,
    plane: &[Tile],
    scales: &[f32],
    grid: Grid,
    granularity: Granularity,
    row: &mut [f32],
    each: impl Fn(&mut f32, f32),
) {
    let block = granularity.block_cols(grid.cols);
    let words = |c| grid.word(plane, i, c);
    match granularity {
        Granularity::Tensor => for_words(words, row, |_| |_| scales[0], each),
        Granularity::Row => for_words(words, row, |_| |_| scales[i], each),
        Granularity::Block(_) => {
            let own = &scales[i * grid.cols.div_ceil(block)..];
            for_words(
                words,
                row,
                |c| {
                    let scale = own[c * TILE_COLS / block];
                    move |_| scale
                },
                each,
            );
        }
        Granularity::Col => for_words(
            words,
            row,
            |c| {
                let own = &scales[c * TILE_COLS..];
                move |k: usize| own[k]
            },
            each,
        ),
        Granularity::RowCol => {
            let (row_scale, scales) = (scales[i], &scales[grid.rows..]);
            for_words(
                words,
                row,
                |c| {
                    let own = &scales[c * TILE_COLS..];
                    move |k: usize| row_scale * own[k]
                },
                each,
            );
        }
    }
}

/// Hands `each` the values of a row with their signed scales; `scales` gives for a word of columns the scale of each.
#[inline(always)]
fn for_words<S: Fn(usize) -> f32>(
    words: impl Fn(usize) -> u32,
    row: &mut [f32],
    scales: impl Fn(usize) -> S,
    each: impl Fn(&mut f32, f32),
) {
    let (chunks, tail) = row.as_chunks_mut::<TILE_COLS>();
    let full = chunks.len();
    for (c, chunk) in chunks.iter_mut().enumerate() {
        // Scales first: a loop of fixed length that only reads.
        let scale = scales(c);
        let scales: [f32; TILE_COLS] = core::array::from_fn(scale);
        for_word(words(c), chunk, &scales, &each);
    }
    if !tail.is_empty() {
        let mut own = [0.0; TILE_COLS];
        let scale = scales(full);
        own.iter_mut().take(tail.len()).enumerate().for_each(|(k, own)| *own = scale(k));
        for_word(words(full), tail, &own, &each);
    }
}

/// Hands `each` the values of up to 32 columns with their signed scales.
#[inline(always)]
fn for_word(word: u32, part: &mut [f32], scales: &[f32; TILE_COLS], each: impl Fn(&mut f32, f32)) {
    for ((value, scale), bit) in part.iter_mut().zip(scales).zip(&BITS) {
        let sign = if word & bit == 0 { 0x8000_0000 } else { 0 };
        each(value, f32::from_bits(scale.to_bits() ^ sign));
    }
}

/// What a plane leaves over: `d - a s`.
fn subtract(row: &mut [f32], i: usize, plane: &[Tile], scales: &[f32], grid: Grid, granularity: Granularity) {
    for_row(i, plane, scales, grid, granularity, row, |d, signed| *d -= signed);
}

/// Sums of `|d|` of one plane, in the order of the file format's scales.
#[derive(Debug)]
struct Sums {
    granularity: Granularity,
    grid: Grid,
    /// Sums by scale; one a column for `Col`, unused for `RowCol`.
    sums: Vec<f64>,
}

impl Sums {
    fn new(granularity: Granularity, grid: Grid) -> Self {
        let columns = if granularity == Granularity::Col { grid.cols } else { 0 };
        Self { granularity, grid, sums: vec![0.0; columns] }
    }

    /// Packs one row and adds its magnitudes. False when a magnitude is not finite, or the sum that a scale needs.
    fn push(&mut self, row: &[f32], zero: SignZero, mut set: impl FnMut(usize, u32)) -> bool {
        let block = self.granularity.block_cols(self.grid.cols);
        let mut whole = 0.0;
        let mut finite = true;
        for (b, part) in row.chunks(block).enumerate() {
            let first = b * (block / TILE_COLS);
            let sum = pack_group(part, zero, |c, word| set(first + c, word));
            finite &= sum.is_finite();
            whole += sum;
            if matches!(self.granularity, Granularity::Block(_)) {
                self.sums.push(sum);
            }
        }
        match self.granularity {
            Granularity::Row => self.sums.push(whole),
            Granularity::Tensor => match self.sums.first_mut() {
                Some(sum) => *sum += whole,
                None => self.sums.push(whole),
            },
            Granularity::Col => self.sums.iter_mut().zip(row).for_each(|(sum, d)| *sum += f64::from(d.abs())),
            Granularity::RowCol | Granularity::Block(_) => {}
        }
        // Column sums are taken in f64 and cannot overflow: there only the values themselves count.
        let by_column = matches!(self.granularity, Granularity::Col | Granularity::RowCol);
        finite || by_column && row.iter().all(|d| d.is_finite())
    }

    fn means(self) -> Vec<f64> {
        let (rows, cols) = (self.grid.rows as f64, self.grid.cols as f64);
        let block = self.granularity.block_cols(self.grid.cols);
        let blocks = self.grid.cols.div_ceil(block);
        let mut sums = self.sums;
        for (index, sum) in sums.iter_mut().enumerate() {
            *sum /= match self.granularity {
                Granularity::Tensor => rows * cols,
                Granularity::Row | Granularity::RowCol => cols,
                Granularity::Col => rows,
                Granularity::Block(_) => block.min(self.grid.cols - index % blocks * block) as f64,
            };
        }
        sums
    }
}

/// Sign words of a group, handed to `set` with their index, and the sum of its magnitudes: chunks of 2048 columns, in
/// them 32 lanes in `f32` that are added in halves; the chunks in `f64`.
#[inline]
fn pack_group(part: &[f32], zero: SignZero, mut set: impl FnMut(usize, u32)) -> f64 {
    let mut sum = 0.0;
    let mut c = 0;
    for chunk in part.chunks(SUM_CHUNK) {
        let (words, tail) = chunk.as_chunks::<LANES>();
        let mut lanes = [0.0_f32; LANES];
        for values in words {
            for l in 0..LANES {
                lanes[l] += values[l].abs();
            }
            set(c, sign_word(values, zero));
            c += 1;
        }
        if tail.is_empty() {
            sum += f64::from(halving_sum(&lanes));
            continue;
        }
        // Copies, so that the lanes above stay in registers. The sign of a missing column is masked.
        let (mut last, mut values) = (lanes, [0.0; LANES]);
        values[..tail.len()].copy_from_slice(tail);
        for l in 0..LANES {
            last[l] += values[l].abs();
        }
        set(c, sign_word(&values, zero) & ((1 << tail.len()) - 1));
        sum += f64::from(halving_sum(&last));
    }
    sum
}

/// Sign bits of 32 values that are not NaN: compared as integers, without a branch.
#[inline(always)]
fn sign_word(values: &[f32; TILE_COLS], zero: SignZero) -> u32 {
    // The bits of a positive float are a positive integer; with the sign flipped, those of a negative one are.
    let flip = match zero {
        SignZero::Negative => 0,
        SignZero::Positive => 0x8000_0000,
    };
    let mut word = 0;
    for (value, bit) in values.iter().zip(&BITS) {
        let above = (value.to_bits() ^ flip).cast_signed() > 0;
        word |= u32::from(above).wrapping_neg() & bit;
    }
    match zero {
        SignZero::Negative => word,
        SignZero::Positive => !word,
    }
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

/// The bit of each column of a word.
const BITS: [u32; TILE_COLS] = {
    let mut bits = [0; TILE_COLS];
    let mut k = 0;
    while k < TILE_COLS {
        bits[k] = 1 << k;
        k += 1;
    }
    bits
};

#[cfg(test)]
mod tests {
    use super::*;

    fn packed(delta: &[f32], rows: usize, cols: usize, options: &PackOptions) -> Result<Packed> {
        pack(&MatRef::new(delta, rows, cols)?, Grid { rows, cols }, options)
    }

    #[test]
    fn zero_and_subnormal_follow_the_sign_rule() {
        let delta = [0.0, -0.0, 1e-45, -1e-45, 1.0, -1.0];
        let options = PackOptions::new().granularity(Granularity::Tensor);
        let negative = packed(&delta, 1, 6, &options).unwrap();
        assert_eq!(negative.tiles[0].0[0], 0b010100);
        let positive = packed(&delta, 1, 6, &options.sign_zero(SignZero::Positive)).unwrap();
        assert_eq!(positive.tiles[0].0[0], 0b010111);
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
