//! AVX-512: a table of 16 sums fills one register, so that one permute looks up a nibble for 16 rows.
#![allow(unsafe_code, reason = "vector loads and stores through pointers; the twin is `portable`")]

use core::arch::x86_64::{
    __m512, __m512i, _CMP_GT_OQ, _CMP_LT_OQ, _MM_HINT_T0, _mm_prefetch, _mm_sfence, _mm_stream_ps, _mm512_abs_ps,
    _mm512_add_ps, _mm512_castps_si512, _mm512_castsi512_ps, _mm512_cmp_ps_mask, _mm512_extractf32x4_ps,
    _mm512_loadu_ps, _mm512_loadu_si512, _mm512_mul_ps, _mm512_permutexvar_ps, _mm512_set1_ps, _mm512_setr_epi32,
    _mm512_setzero_ps, _mm512_srli_epi32, _mm512_storeu_ps, _mm512_stream_ps, _mm512_xor_si512,
};

use super::{Isa, Line, Op, Plane, SEGMENT_WORDS, Scratch};
use crate::layout::{TILE_COLS, TILE_ROWS, Tile};

/// Proof that the code around it is compiled for AVX-512.
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
    /// `out = base + values`, past the caches where `out` is aligned to 16 bytes, as the vectors of most allocators are.
    #[inline(always)]
    pub(super) fn stream_sum(self, base: &[f32; TILE_COLS], values: &[f32; TILE_COLS], out: &mut [f32; TILE_COLS]) {
        // SAFETY: as above.
        unsafe { stream_sum(base, values, out) }
    }

    #[inline(always)]
    pub(super) fn dots<const R: usize, const N: usize>(
        self,
        rows: [&[[f32; TILE_COLS]]; R],
        xs: [&[[f32; TILE_COLS]]; N],
        lanes: &mut [[[f32; TILE_COLS]; N]; R],
    ) {
        // SAFETY: as above.
        unsafe { dots(rows, xs, lanes) }
    }

    /// Asks for what a stream of weights will read a page later.
    #[inline(always)]
    pub(super) fn ahead<T>(self, values: &[T]) {
        // SAFETY: as above.
        unsafe { ahead(values) }
    }

    /// Orders streamed stores before those that follow.
    #[inline(always)]
    pub(super) fn end_stream(self) {
        // SAFETY: the instruction is part of x86-64.
        unsafe { _mm_sfence() }
    }
}

/// See [`Isa::dots`].
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,f16c")]
fn dots<const R: usize, const N: usize>(
    rows: [&[[f32; TILE_COLS]]; R],
    xs: [&[[f32; TILE_COLS]]; N],
    lanes: &mut [[[f32; TILE_COLS]; N]; R],
) {
    if R == 1 {
        half_dots::<R, N, 2>(rows, xs, lanes, 0);
    } else {
        // One half of the lanes after the other: registers are there for the sums of more rows, so that the inputs, which
        // come from the second-level cache, are loaded less often.
        for half in 0..2 {
            half_dots::<R, N, 1>(rows, xs, lanes, half);
        }
    }
}

/// The sums of `H` halves of the lanes, from `first` on.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,f16c")]
fn half_dots<const R: usize, const N: usize, const H: usize>(
    rows: [&[[f32; TILE_COLS]]; R],
    xs: [&[[f32; TILE_COLS]]; N],
    lanes: &mut [[[f32; TILE_COLS]; N]; R],
    first: usize,
) {
    let len = rows[0].len();
    let (rows, xs) = (rows.map(|row| &row[..len]), xs.map(|x| &x[..len]));
    let mut sums = [[[_mm512_setzero_ps(); H]; N]; R];
    for (sums, lanes) in sums.as_flattened_mut().iter_mut().zip(lanes.as_flattened()) {
        for (sum, lanes) in sums.iter_mut().zip(&lanes.as_chunks::<16>().0[first..]) {
            *sum = load(lanes);
        }
    }
    for c in 0..len {
        for half in 0..H {
            let part = 16 * (first + half)..16 * (first + half) + 16;
            let mut w = [_mm512_setzero_ps(); R];
            for (w, row) in w.iter_mut().zip(&rows) {
                let values = &row[c][part.clone()];
                ahead(values);
                *w = load(values);
            }
            for (n, x) in xs.iter().enumerate() {
                let x = load(&x[c][part.clone()]);
                for (sums, w) in sums.iter_mut().zip(&w) {
                    sums[n][half] = _mm512_add_ps(sums[n][half], _mm512_mul_ps(*w, x));
                }
            }
        }
    }
    for (sums, lanes) in sums.as_flattened().iter().zip(lanes.as_flattened_mut()) {
        for (sum, lanes) in sums.iter().zip(&mut lanes.as_chunks_mut::<16>().0[first..]) {
            // SAFETY: `lanes` is 16 floats long; the store needs no alignment.
            unsafe { _mm512_storeu_ps(lanes.as_mut_ptr(), *sum) };
        }
    }
}

#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,f16c")]
fn stream_sum(base: &[f32; TILE_COLS], values: &[f32; TILE_COLS], out: &mut [f32; TILE_COLS]) {
    let low = _mm512_add_ps(load(&base[..16]), load(&values[..16]));
    let high = _mm512_add_ps(load(&base[16..]), load(&values[16..]));
    let at = out.as_mut_ptr();
    // SAFETY: `out` is 32 floats long, and each kind of store has the alignment that it needs.
    unsafe {
        if at.addr().is_multiple_of(64) {
            _mm512_stream_ps(at, low);
            _mm512_stream_ps(at.add(16), high);
        } else if at.addr().is_multiple_of(16) {
            for (part, sum) in [low, high].into_iter().enumerate() {
                let at = at.add(16 * part);
                _mm_stream_ps(at, _mm512_extractf32x4_ps::<0>(sum));
                _mm_stream_ps(at.add(4), _mm512_extractf32x4_ps::<1>(sum));
                _mm_stream_ps(at.add(8), _mm512_extractf32x4_ps::<2>(sum));
                _mm_stream_ps(at.add(12), _mm512_extractf32x4_ps::<3>(sum));
            }
        } else {
            _mm512_storeu_ps(at, low);
            _mm512_storeu_ps(at.add(16), high);
        }
    }
}

/// Compiles a loop for AVX-512.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,f16c")]
pub(super) fn run<O: Op>(op: O) -> O::Output {
    op.run(Isa::Avx512(Token(())))
}

/// See [`Isa::pack_words`].
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,f16c")]
fn pack_words(
    words: &[[f32; TILE_COLS]],
    zero_is_positive: bool,
    r: usize,
    tiles: &mut [Tile],
    lanes: &mut [f32; TILE_COLS],
) {
    let zero = _mm512_setzero_ps();
    let (mut first, mut second) = (load(&lanes[..16]), load(&lanes[16..]));
    let flip = if zero_is_positive { u32::MAX } else { 0 };
    for (values, tile) in words.iter().zip(tiles) {
        ahead(&values[..16]);
        ahead(&values[16..]);
        let (low, high) = (load(&values[..16]), load(&values[16..]));
        first = _mm512_add_ps(first, _mm512_abs_ps(low));
        second = _mm512_add_ps(second, _mm512_abs_ps(high));
        let (low, high) = if zero_is_positive {
            (_mm512_cmp_ps_mask::<_CMP_LT_OQ>(low, zero), _mm512_cmp_ps_mask::<_CMP_LT_OQ>(high, zero))
        } else {
            (_mm512_cmp_ps_mask::<_CMP_GT_OQ>(low, zero), _mm512_cmp_ps_mask::<_CMP_GT_OQ>(high, zero))
        };
        tile[r] = (u32::from(low) | u32::from(high) << 16) ^ flip;
    }
    let (low, high) = lanes.split_at_mut(16);
    // SAFETY: each half is 16 floats long; the stores need no alignment.
    unsafe {
        _mm512_storeu_ps(low.as_mut_ptr(), first);
        _mm512_storeu_ps(high.as_mut_ptr(), second);
    }
}

/// See [`Engine::block_totals`](super::Engine::block_totals).
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,f16c")]
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
                *line = table(group);
            }
        }
        // Tokens inside: the tiles of a few bands stay in the first-level cache from the second token on.
        for (index, bands) in plane.tiles.chunks(BANDS * words).enumerate() {
            let first = index * BANDS * TILE_ROWS;
            for (tables, totals) in scratch.lines.chunks_exact(size).zip(totals.chunks_exact_mut(padded_rows)) {
                let totals = &mut totals[first..];
                let mut parts = bands.chunks_exact(words).map(|band| &band[start..end]);
                if let [Some(a), Some(b), Some(c), Some(d)] = [parts.next(), parts.next(), parts.next(), parts.next()] {
                    add_bands([a, b, c, d], tables, totals);
                } else {
                    for (band, totals) in bands.chunks_exact(words).zip(totals.chunks_exact_mut(TILE_ROWS)) {
                        add_bands([&band[start..end]], tables, totals);
                    }
                }
            }
        }
        start = end;
    }
}

/// Adds the sums of one segment to the totals of `N` bands, 16 rows each.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,f16c")]
fn add_bands<const N: usize>(bands: [&[Tile]; N], tables: &[Line], totals: &mut [f32]) {
    let mut sums = [_mm512_setzero_ps(); N];
    let last = bands[0].len().saturating_sub(1);
    let (before, end) = tables.as_chunks::<TABLES>().0.split_at(last);
    for (c, tables) in before.iter().enumerate() {
        for (byte, [low, high]) in tables.as_chunks::<2>().0.iter().enumerate() {
            let (low, high) = (load(&low.0), load(&high.0));
            for (sum, band) in sums.iter_mut().zip(&bands) {
                *sum = add_byte(*sum, words_from(band, c, byte), low, high);
            }
        }
    }
    // Nothing may be read beyond the last tile.
    for (c, tables) in end.iter().enumerate() {
        let mut words: [__m512i; N] = core::array::from_fn(|n| words(&bands[n][last + c]));
        for [low, high] in tables.as_chunks::<2>().0 {
            let (low, high) = (load(&low.0), load(&high.0));
            for (sum, word) in sums.iter_mut().zip(&mut words) {
                *sum = add_byte(*sum, *word, low, high);
                *word = _mm512_srli_epi32::<8>(*word);
            }
        }
    }
    for (sum, totals) in sums.into_iter().zip(totals.as_chunks_mut::<TILE_ROWS>().0) {
        let total = _mm512_add_ps(load(totals), sum);
        // SAFETY: `totals` is 16 floats long; the store needs no alignment.
        unsafe { _mm512_storeu_ps(totals.as_mut_ptr(), total) };
    }
}

/// Adds the sums of 8 columns, whose signs are the low bytes of `word`.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,f16c")]
fn add_byte(sum: __m512, word: __m512i, low: __m512, high: __m512) -> __m512 {
    // A permute reads the low four bits of each index.
    let next = _mm512_srli_epi32::<4>(word);
    _mm512_add_ps(sum, _mm512_add_ps(_mm512_permutexvar_ps(word, low), _mm512_permutexvar_ps(next, high)))
}

/// `T[i] = (s0 x0 + s1 x1) + (s2 x2 + s3 x3)`, where `s` is +1 for a bit that is set in `i` and -1 otherwise.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,f16c")]
fn table([a, b, c, d]: &[f32; 4]) -> Line {
    const M: i32 = i32::MIN;
    let signed = |x: f32, signs: __m512i| -> __m512 {
        _mm512_castsi512_ps(_mm512_xor_si512(_mm512_castps_si512(_mm512_set1_ps(x)), signs))
    };
    let a = signed(*a, _mm512_setr_epi32(M, 0, M, 0, M, 0, M, 0, M, 0, M, 0, M, 0, M, 0));
    let b = signed(*b, _mm512_setr_epi32(M, M, 0, 0, M, M, 0, 0, M, M, 0, 0, M, M, 0, 0));
    let c = signed(*c, _mm512_setr_epi32(M, M, M, M, 0, 0, 0, 0, M, M, M, M, 0, 0, 0, 0));
    let d = signed(*d, _mm512_setr_epi32(M, M, M, M, M, M, M, M, 0, 0, 0, 0, 0, 0, 0, 0));
    let mut line = Line::default();
    let sums = _mm512_add_ps(_mm512_add_ps(a, b), _mm512_add_ps(c, d));
    // SAFETY: a line is 16 floats long; the store needs no alignment.
    unsafe { _mm512_storeu_ps(line.0.as_mut_ptr(), sums) };
    line
}

/// Asks for what a stream of weights will read a page later: the processor's own prefetching stops at pages.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,f16c")]
fn ahead<T>(values: &[T]) {
    // SAFETY: a prefetch of any address, mapped or not, has no effect but on caches.
    #[allow(unused_unsafe, reason = "a safe function in newer releases of Rust")]
    unsafe {
        _mm_prefetch::<_MM_HINT_T0>(values.as_ptr().cast::<i8>().wrapping_add(4096))
    };
}

#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,f16c")]
fn load(values: &[f32]) -> __m512 {
    let values = &values[..16];
    // SAFETY: 16 floats are there; the load needs no alignment.
    unsafe { _mm512_loadu_ps(values.as_ptr()) }
}

#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,f16c")]
fn words(tile: &Tile) -> __m512i {
    // SAFETY: a tile is 16 words long; the load needs no alignment.
    unsafe { _mm512_loadu_si512(tile.as_ptr().cast()) }
}

/// The words of tile `c`, which is not the last one, from byte `byte` on: loading them so takes the place of a shift,
/// whose ports the additions need. Above the bytes left of a word stand those of the next.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,f16c")]
fn words_from(band: &[Tile], c: usize, byte: usize) -> __m512i {
    let tiles = band[c..c + 2].as_flattened();
    let byte = byte % size_of::<u32>();
    // SAFETY: two tiles are 128 bytes long, of which 64 are read from the third at the latest; the load needs no
    // alignment.
    unsafe { _mm512_loadu_si512(tiles.as_ptr().cast::<u8>().add(byte).cast()) }
}

/// Tables of a word of columns, one a nibble.
const TABLES: usize = TILE_COLS / 4;

/// Bands that share a load of the tables.
const BANDS: usize = 4;
