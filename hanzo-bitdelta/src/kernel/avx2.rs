//! AVX2: a table of the four sums of two columns fills half a register, so that one permute inside the halves looks up a
//! pair of bits for 8 rows.
#![allow(unsafe_code, reason = "vector loads and stores through pointers; the twin is `portable`")]

use core::arch::x86_64::{
    __m256, __m256i, _CMP_GT_OQ, _CMP_LT_OQ, _mm256_add_ps, _mm256_and_ps, _mm256_broadcast_ps, _mm256_castsi256_ps,
    _mm256_cmp_ps, _mm256_loadu_ps, _mm256_loadu_si256, _mm256_movemask_ps, _mm256_mul_ps, _mm256_permutevar_ps,
    _mm256_set1_epi32, _mm256_setzero_ps, _mm256_srli_epi32, _mm256_storeu_ps,
};

use super::{Isa, Line, Op, Plane, SEGMENT_WORDS, Scratch};
use crate::layout::{TILE_COLS, TILE_ROWS, Tile};

/// Proof that the code around it is compiled for AVX2.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Token(());

impl Token {
    #[inline(always)]
    pub(super) fn pack_words(
        self,
        words: &[[f32; TILE_COLS]],
        zero_is_positive: bool,
        r: usize,
        tiles: &mut [Tile],
        lanes: &mut [f32; TILE_COLS],
    ) {
        // SAFETY: only `run` makes a token, and it runs with these instructions.
        unsafe { pack_words(words, zero_is_positive, r, tiles, lanes) }
    }
}

impl Token {
    #[inline(always)]
    pub(super) fn dots<const N: usize>(
        self,
        row: &[[f32; TILE_COLS]],
        xs: [&[[f32; TILE_COLS]]; N],
        lanes: &mut [[f32; TILE_COLS]; N],
    ) {
        // SAFETY: as above.
        unsafe { dots(row, xs, lanes) }
    }
}

/// See [`Isa::dots`].
#[inline]
#[target_feature(enable = "avx2,f16c")]
fn dots<const N: usize>(row: &[[f32; TILE_COLS]], xs: [&[[f32; TILE_COLS]]; N], lanes: &mut [[f32; TILE_COLS]; N]) {
    let xs = xs.map(|x| &x[..row.len()]);
    let mut sums = [[_mm256_setzero_ps(); 4]; N];
    for (sums, lanes) in sums.iter_mut().zip(&*lanes) {
        for (sum, lanes) in sums.iter_mut().zip(lanes.as_chunks().0) {
            *sum = load(lanes);
        }
    }
    for (c, w) in row.iter().enumerate() {
        for (part, w) in w.as_chunks().0.iter().enumerate() {
            let w = load(w);
            for (sums, x) in sums.iter_mut().zip(&xs) {
                let x = load(&x[c].as_chunks().0[part]);
                sums[part] = _mm256_add_ps(sums[part], _mm256_mul_ps(w, x));
            }
        }
    }
    for (lanes, sums) in lanes.iter_mut().zip(&sums) {
        for (lanes, sum) in lanes.as_chunks_mut::<8>().0.iter_mut().zip(sums) {
            // SAFETY: `lanes` is 8 floats long; the store needs no alignment.
            unsafe { _mm256_storeu_ps(lanes.as_mut_ptr(), *sum) };
        }
    }
}

/// Compiles a loop for AVX2.
#[target_feature(enable = "avx2,f16c")]
pub(super) fn run<O: Op>(op: O) -> O::Output {
    op.run(Isa::Avx2(Token(())))
}

/// See [`Isa::pack_words`].
#[inline]
#[target_feature(enable = "avx2,f16c")]
fn pack_words(
    words: &[[f32; TILE_COLS]],
    zero_is_positive: bool,
    r: usize,
    tiles: &mut [Tile],
    lanes: &mut [f32; TILE_COLS],
) {
    let (zero, magnitude) = (_mm256_setzero_ps(), _mm256_castsi256_ps(_mm256_set1_epi32(i32::MAX)));
    let mut sums: [__m256; 4] = core::array::from_fn(|k| load(&lanes.as_chunks().0[k]));
    let flip = if zero_is_positive { u32::MAX } else { 0 };
    for (values, tile) in words.iter().zip(tiles) {
        let mut word = 0;
        for (k, (sum, part)) in sums.iter_mut().zip(values.as_chunks().0).enumerate() {
            let part = load(part);
            *sum = _mm256_add_ps(*sum, _mm256_and_ps(part, magnitude));
            let mask = if zero_is_positive {
                _mm256_cmp_ps::<_CMP_LT_OQ>(part, zero)
            } else {
                _mm256_cmp_ps::<_CMP_GT_OQ>(part, zero)
            };
            word |= _mm256_movemask_ps(mask).cast_unsigned() << (8 * k);
        }
        tile[r] = word ^ flip;
    }
    for (sum, lanes) in sums.into_iter().zip(lanes.as_chunks_mut::<8>().0) {
        // SAFETY: `lanes` is 8 floats long; the store needs no alignment.
        unsafe { _mm256_storeu_ps(lanes.as_mut_ptr(), sum) };
    }
}

#[inline]
#[target_feature(enable = "avx2,f16c")]
fn load(values: &[f32; 8]) -> __m256 {
    // SAFETY: 8 floats are there; the load needs no alignment.
    unsafe { _mm256_loadu_ps(values.as_ptr()) }
}

/// See [`Engine::block_totals`](super::Engine::block_totals).
#[target_feature(enable = "avx2,f16c")]
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
            for (line, group) in lines.iter_mut().zip(columns.as_chunks::<8>().0) {
                *line = table(group);
            }
        }
        // Tokens inside: the tiles of a few bands stay in the first-level cache from the second token on.
        for (index, bands) in plane.tiles.chunks(BANDS * words).enumerate() {
            let first = index * BANDS * TILE_ROWS;
            for (tables, totals) in scratch.lines.chunks_exact(size).zip(totals.chunks_exact_mut(padded_rows)) {
                let totals = &mut totals[first..];
                let mut parts = bands.chunks_exact(words).map(|band| &band[start..end]);
                if let [Some(a), Some(b)] = [parts.next(), parts.next()] {
                    add_bands([a, b], tables, totals);
                } else {
                    add_bands([&bands[start..end]], tables, totals);
                }
            }
        }
        start = end;
    }
}

/// Adds the sums of one segment to the totals of `N` bands, 16 rows each.
#[inline]
#[target_feature(enable = "avx2,f16c")]
fn add_bands<const N: usize>(bands: [&[Tile]; N], tables: &[Line], totals: &mut [f32]) {
    let mut sums = [[_mm256_setzero_ps(); 2]; N];
    for (c, tables) in tables.as_chunks::<TABLES>().0.iter().enumerate() {
        let mut words: [[__m256i; 2]; N] = core::array::from_fn(|n| words(&bands[n][c]));
        for table in tables {
            let [t0, t1, t2, t3] = pairs(table);
            for (sum, word) in sums.as_flattened_mut().iter_mut().zip(words.as_flattened_mut()) {
                // A permute reads the low two bits of each index.
                let w = *word;
                let low =
                    _mm256_add_ps(_mm256_permutevar_ps(t0, w), _mm256_permutevar_ps(t1, _mm256_srli_epi32::<2>(w)));
                let high = _mm256_add_ps(
                    _mm256_permutevar_ps(t2, _mm256_srli_epi32::<4>(w)),
                    _mm256_permutevar_ps(t3, _mm256_srli_epi32::<6>(w)),
                );
                *sum = _mm256_add_ps(*sum, _mm256_add_ps(low, high));
                *word = _mm256_srli_epi32::<8>(w);
            }
        }
    }
    for (sum, totals) in sums.as_flattened().iter().zip(totals.as_chunks_mut::<8>().0) {
        // SAFETY: `totals` is 8 floats long; load and store need no alignment.
        unsafe {
            let total = _mm256_add_ps(load(totals), *sum);
            _mm256_storeu_ps(totals.as_mut_ptr(), total);
        }
    }
}

/// The four sums of each of four pairs of columns.
#[inline(always)]
fn table(columns: &[f32; 8]) -> Line {
    let mut line = Line::default();
    for (sums, [a, b]) in line.0.as_chunks_mut::<4>().0.iter_mut().zip(columns.as_chunks::<2>().0) {
        *sums = [-a - b, a - b, b - a, a + b];
    }
    line
}

/// The four tables of 8 columns, each in both halves of a register.
#[inline]
#[target_feature(enable = "avx2,f16c")]
fn pairs(line: &Line) -> [__m256; 4] {
    core::array::from_fn(|k| {
        // SAFETY: a line is 4 times 4 floats long; the load needs no alignment.
        unsafe { _mm256_broadcast_ps(&*line.0.as_ptr().add(4 * k).cast()) }
    })
}

#[inline]
#[target_feature(enable = "avx2,f16c")]
fn words(tile: &Tile) -> [__m256i; 2] {
    // SAFETY: a tile is 16 words long; the loads need no alignment.
    unsafe { [_mm256_loadu_si256(tile.as_ptr().cast()), _mm256_loadu_si256(tile.as_ptr().add(8).cast())] }
}

/// Tables of a word of columns: one line of four for each 8 columns.
const TABLES: usize = TILE_COLS / 8;

/// Bands that share a load of the tables.
const BANDS: usize = 2;
