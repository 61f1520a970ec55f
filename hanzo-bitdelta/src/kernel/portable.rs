//! Byte tables: for each group of 8 columns the 256 possible sums are laid out once and then looked up for every row.

use super::{Plane, SEGMENT_WORDS, Scratch};
use crate::layout::{TILE_COLS, TILE_ROWS, Tile};

/// Sets `totals[token][row]` to the sign sum of that row, for every row of every band, padding included.
///
/// `inputs` holds for each token one `f32` for each column of the plane's words, with zeros after the last column.
pub(super) fn block_totals(plane: &Plane<'_>, inputs: &[f32], scratch: &mut Scratch, totals: &mut [f32]) {
    let padded_cols = plane.grid.words() * TILE_COLS;
    let padded_rows = plane.grid.bands() * TILE_ROWS;
    scratch.bytes.resize(4 * WINDOW_WORDS, [0.0; 256]);
    scratch.sums.clear();
    scratch.sums.resize(totals.len(), 0.0);
    totals.fill(0.0);
    let mut start = plane.words.start;
    while start < plane.words.end {
        let segment_end = plane.words.end.min(start + SEGMENT_WORDS);
        while start < segment_end {
            let end = segment_end.min(start + WINDOW_WORDS);
            // Tokens inside the window: the tiles of the window are read from cache from the second token on.
            for (input, sums) in inputs.chunks_exact(padded_cols).zip(scratch.sums.chunks_exact_mut(padded_rows)) {
                let columns = &input[start * TILE_COLS..end * TILE_COLS];
                for (table, group) in scratch.bytes.iter_mut().zip(columns.as_chunks::<8>().0) {
                    fill(table, group);
                }
                let bands = plane.tiles.chunks_exact(plane.grid.words());
                for (band, sums) in bands.zip(sums.as_chunks_mut::<TILE_ROWS>().0) {
                    add_band(&band[start..end], &scratch.bytes, sums);
                }
            }
            start = end;
        }
        for (total, sum) in totals.iter_mut().zip(&mut scratch.sums) {
            *total += *sum;
            *sum = 0.0;
        }
    }
}

/// Adds to the sums of 16 rows the table entries that their sign bytes select.
#[inline]
fn add_band(tiles: &[Tile], tables: &[[f32; 256]], sums: &mut [f32; TILE_ROWS]) {
    let mut running = *sums;
    for (tile, [t0, t1, t2, t3]) in tiles.iter().zip(tables.as_chunks::<4>().0) {
        for (sum, &word) in running.iter_mut().zip(tile) {
            let [b0, b1, b2, b3] = word.to_le_bytes();
            let mut next = *sum + t0[usize::from(b0)];
            next += t1[usize::from(b1)];
            next += t2[usize::from(b2)];
            *sum = next + t3[usize::from(b3)];
        }
    }
    *sums = running;
}

/// The 256 signed sums of a group: `T4(low nibble) + T4(high nibble)`.
#[inline]
fn fill(table: &mut [f32; 256], group: &[f32; 8]) {
    let [a, b, c, d, e, f, g, h] = *group;
    let low = nibble_sums([a, b, c, d]);
    let high = nibble_sums([e, f, g, h]);
    for (row, high) in table.as_chunks_mut::<16>().0.iter_mut().zip(high) {
        for (entry, low) in row.iter_mut().zip(low) {
            *entry = low + high;
        }
    }
}

/// `T4[i] = (s0 x0 + s1 x1) + (s2 x2 + s3 x3)`, where `s` is +1 for a bit that is set in `i` and -1 otherwise.
#[inline]
pub(super) fn nibble_sums([a, b, c, d]: [f32; 4]) -> [f32; 16] {
    let low = [-a - b, a - b, b - a, a + b];
    let high = [-c - d, c - d, d - c, c + d];
    core::array::from_fn(|i| low[i & 3] + high[i >> 2])
}

/// See [`Isa::pack_words`](super::Isa::pack_words).
#[inline(always)]
pub(super) fn pack_words(
    words: &[[f32; TILE_COLS]],
    zero_is_positive: bool,
    r: usize,
    tiles: &mut [Tile],
    lanes: &mut [f32; TILE_COLS],
) {
    // The bits of a positive float are a positive integer; with the sign flipped, those of a negative one are. Compared as
    // integers, and without a branch.
    let flip = if zero_is_positive { 0x8000_0000 } else { 0 };
    let mut sums = *lanes;
    for (values, tile) in words.iter().zip(tiles) {
        let mut word = 0;
        for (value, bit) in values.iter().zip(&BITS) {
            let above = (value.to_bits() ^ flip).cast_signed() > 0;
            word |= u32::from(above).wrapping_neg() & bit;
        }
        tile[r] = if zero_is_positive { !word } else { word };
        for (sum, value) in sums.iter_mut().zip(values) {
            *sum += value.abs();
        }
    }
    *lanes = sums;
}

/// See [`Isa::dots`](super::Isa::dots).
#[inline(always)]
pub(super) fn dot(row: &[[f32; TILE_COLS]], x: &[[f32; TILE_COLS]], sums: &mut [f32; TILE_COLS]) {
    // A copy, which stays in registers.
    let mut lanes = *sums;
    for (w, x) in row.iter().zip(x) {
        for l in 0..TILE_COLS {
            lanes[l] += w[l] * x[l];
        }
    }
    *sums = lanes;
}

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

/// Words of columns whose tables are built at a time: 16 KiB of tables stay in the first-level cache.
const WINDOW_WORDS: usize = 4;
