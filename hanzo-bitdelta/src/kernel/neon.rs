//! NEON: a table of 16 sums is 64 bytes, four registers, which a byte permute can look up at once for 4 rows.
#![allow(unsafe_code, reason = "vector loads and stores through pointers; the twin is `portable`")]

use core::arch::aarch64::{
    float32x4_t, uint8x16x4_t, uint32x4_t, vaddq_f32, vandq_u32, vdupq_n_f32, vdupq_n_u32, vld1q_f32, vld1q_u8_x4,
    vld1q_u32, vmlaq_u32, vqtbl4q_u8, vreinterpretq_f32_u8, vreinterpretq_u8_u32, vshrq_n_u32, vst1q_f32,
};

use super::{Line, Plane, SEGMENT_WORDS, Scratch, portable};
use crate::layout::{TILE_COLS, TILE_ROWS, Tile};

/// See [`Engine::block_totals`](super::Engine::block_totals).
#[target_feature(enable = "neon")]
pub(super) fn block_totals(plane: &Plane<'_>, inputs: &[f32], scratch: &mut Scratch, totals: &mut [f32]) {
    let words = plane.grid.words();
    let padded_cols = words * TILE_COLS;
    let padded_rows = plane.grid.bands() * TILE_ROWS;
    totals.fill(0.0);
    let mut start = plane.words.start;
    while start < plane.words.end {
        let end = plane.words.end.min(start + SEGMENT_WORDS);
        let size = TABLES * (end - start);
        scratch.lines.resize(size * (inputs.len() / padded_cols), Line::default());
        for (input, lines) in inputs.chunks_exact(padded_cols).zip(scratch.lines.chunks_exact_mut(size)) {
            let columns = &input[start * TILE_COLS..end * TILE_COLS];
            for (line, group) in lines.iter_mut().zip(columns.as_chunks::<4>().0) {
                *line = Line(portable::nibble_sums(*group));
            }
        }
        // Tokens inside: the tiles of a band stay in the first-level cache from the second token on.
        for (index, band) in plane.tiles.chunks_exact(words).enumerate() {
            for (tables, totals) in scratch.lines.chunks_exact(size).zip(totals.chunks_exact_mut(padded_rows)) {
                add_band(&band[start..end], tables, &mut totals[index * TILE_ROWS..][..TILE_ROWS]);
            }
        }
        start = end;
    }
}

/// Adds the sums of one segment to the totals of 16 rows.
#[inline]
#[target_feature(enable = "neon")]
fn add_band(band: &[Tile], tables: &[Line], totals: &mut [f32]) {
    let mut sums = [vdupq_n_f32(0.0); 4];
    for (tile, tables) in band.iter().zip(tables.as_chunks::<TABLES>().0) {
        let mut words: [uint32x4_t; 4] = words(tile);
        for [low, high] in tables.as_chunks::<2>().0 {
            let (low, high) = (table(low), table(high));
            for (sum, word) in sums.iter_mut().zip(&mut words) {
                let group = vaddq_f32(look_up(low, *word), look_up(high, vshrq_n_u32::<4>(*word)));
                *sum = vaddq_f32(*sum, group);
                *word = vshrq_n_u32::<8>(*word);
            }
        }
    }
    for (sum, totals) in sums.into_iter().zip(totals.as_chunks_mut::<4>().0) {
        // SAFETY: `totals` is 4 floats long; load and store need the alignment of one float only.
        unsafe {
            let total = vaddq_f32(vld1q_f32(totals.as_ptr()), sum);
            vst1q_f32(totals.as_mut_ptr(), total);
        }
    }
}

/// For each row the float that the low four bits of its word select.
#[inline]
#[target_feature(enable = "neon")]
fn look_up(table: uint8x16x4_t, words: uint32x4_t) -> float32x4_t {
    let nibbles = vandq_u32(words, vdupq_n_u32(15));
    // Bytes 4 n, 4 n + 1, 4 n + 2, 4 n + 3: at most 63, so that no byte carries into the next.
    let bytes = vmlaq_u32(vdupq_n_u32(0x0302_0100), nibbles, vdupq_n_u32(0x0404_0404));
    vreinterpretq_f32_u8(vqtbl4q_u8(table, vreinterpretq_u8_u32(bytes)))
}

#[inline]
#[target_feature(enable = "neon")]
fn table(line: &Line) -> uint8x16x4_t {
    // SAFETY: a line is 64 bytes long.
    unsafe { vld1q_u8_x4(line.0.as_ptr().cast()) }
}

#[inline]
#[target_feature(enable = "neon")]
fn words(tile: &Tile) -> [uint32x4_t; 4] {
    core::array::from_fn(|k| {
        // SAFETY: a tile is 16 words long.
        unsafe { vld1q_u32(tile.as_ptr().add(4 * k)) }
    })
}

/// Tables of a word of columns, one a nibble.
const TABLES: usize = TILE_COLS / 4;
