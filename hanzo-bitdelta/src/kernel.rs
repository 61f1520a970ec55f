//! The inner loops, one file a backend. All backends give the same bits.

use alloc::vec::Vec;

use crate::error::{Error, Result};
use crate::layout::{Grid, TILE_COLS, TILE_ROWS, Tile};

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
#[cfg(feature = "gemm")]
pub(crate) mod gemm;
#[cfg(all(target_arch = "aarch64", target_endian = "little"))]
mod neon;
mod portable;
#[cfg(test)]
mod tests;

/// Which machine instructions the inner loops use. Results do not depend on it.
///
/// With the feature `std` the machine is asked once, when a backend is first needed; without it a backend is there when the
/// build has its instructions turned on. No environment variable changes the choice.
///
/// ```
/// use hanzo_bitdelta::{Backend, Workspace};
/// assert!(Backend::available().contains(&Backend::best()));
/// for &backend in Backend::available() {
///     assert_eq!(Workspace::with_backend(backend)?.backend(), backend);
/// }
/// # Ok::<(), hanzo_bitdelta::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Backend {
    /// Plain Rust, on every machine.
    Portable,
    /// 256-bit vectors of x86-64.
    Avx2,
    /// 512-bit vectors of x86-64 (AVX-512 F, BW, DQ and VL).
    Avx512,
    /// 128-bit vectors of little-endian AArch64.
    Neon,
}

impl Backend {
    /// The fastest backend that runs here.
    #[must_use]
    pub fn best() -> Self {
        Self::available().last().copied().unwrap_or(Self::Portable)
    }

    /// All backends that run here, slowest first.
    #[must_use]
    pub fn available() -> &'static [Self] {
        #[cfg(feature = "std")]
        {
            static FOUND: std::sync::OnceLock<Vec<Backend>> = std::sync::OnceLock::new();
            FOUND.get_or_init(|| ALL.iter().copied().filter(|backend| backend.detect()).collect())
        }
        #[cfg(not(feature = "std"))]
        {
            // A prefix of the list: who has AVX-512 has AVX2.
            let count = ALL.iter().take_while(|backend| backend.detect()).count();
            &ALL[..count]
        }
    }

    #[cfg(target_arch = "x86_64")]
    fn detect(self) -> bool {
        #[cfg(feature = "std")]
        macro_rules! has {
            ($feature:tt) => {
                std::arch::is_x86_feature_detected!($feature)
            };
        }
        // Without `std`, what the build has turned on.
        #[cfg(not(feature = "std"))]
        macro_rules! has {
            ($feature:tt) => {
                self::has(cfg!(target_feature = $feature))
            };
        }
        let avx2 = has!("avx2") && has!("f16c");
        match self {
            Self::Portable => true,
            Self::Avx2 => avx2,
            Self::Avx512 => avx2 && has!("avx512f") && has!("avx512bw") && has!("avx512dq") && has!("avx512vl"),
            Self::Neon => false,
        }
    }

    #[cfg(not(target_arch = "x86_64"))]
    fn detect(self) -> bool {
        match self {
            Self::Portable => true,
            Self::Neon => cfg!(all(target_arch = "aarch64", target_endian = "little", target_feature = "neon")),
            Self::Avx2 | Self::Avx512 => false,
        }
    }
}

/// A constant of the build as a value.
#[cfg(all(target_arch = "x86_64", not(feature = "std")))]
fn has(instructions: bool) -> bool {
    instructions
}

/// All backends that this target can have, slowest first.
const ALL: &[Backend] = &[
    Backend::Portable,
    #[cfg(target_arch = "x86_64")]
    Backend::Avx2,
    #[cfg(target_arch = "x86_64")]
    Backend::Avx512,
    #[cfg(target_arch = "aarch64")]
    Backend::Neon,
];

/// A backend that is known to run here: the proof that `unsafe` calls of its code rest on. The field stays private to
/// this file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Engine(Backend);

impl Engine {
    /// The fastest.
    pub(crate) fn best() -> Self {
        Self(Backend::best())
    }

    pub(crate) fn new(backend: Backend) -> Result<Self> {
        if Backend::available().contains(&backend) { Ok(Self(backend)) } else { Err(Error::Unavailable(backend)) }
    }

    pub(crate) fn backend(self) -> Backend {
        self.0
    }

    /// Sign sums of one plane over the columns `32 words.start .. 32 words.end`, in the order that all backends share:
    /// segments of 1024 columns, inside them groups of 8, all in ascending order. Sets `totals[token][row]` for every row
    /// of every band, padding included.
    ///
    /// `inputs` holds for each token one `f32` for each column of the plane's words, with zeros after the last column.
    pub(crate) fn block_totals(self, plane: &Plane<'_>, inputs: &[f32], scratch: &mut Scratch, totals: &mut [f32]) {
        // The kernels trust these sizes.
        let (padded_cols, padded_rows) = (plane.grid.words() * TILE_COLS, plane.grid.bands() * TILE_ROWS);
        let tokens = totals.len() / padded_rows.max(1);
        assert!(plane.tiles.len() == plane.grid.tiles() && plane.words.end <= plane.grid.words());
        assert!(totals.len() == tokens * padded_rows && inputs.len() == tokens * padded_cols);
        match self.0 {
            #[cfg(target_arch = "x86_64")]
            // SAFETY: an engine exists only for a backend whose instructions were found here.
            #[expect(unsafe_code, reason = "a call of code for instructions that were found")]
            Backend::Avx512 => unsafe { avx512::block_totals(plane, inputs, scratch, totals) },
            #[cfg(target_arch = "x86_64")]
            // SAFETY: as above.
            #[expect(unsafe_code, reason = "a call of code for instructions that were found")]
            Backend::Avx2 => unsafe { avx2::block_totals(plane, inputs, scratch, totals) },
            #[cfg(all(target_arch = "aarch64", target_endian = "little"))]
            // SAFETY: as above.
            #[expect(unsafe_code, reason = "a call of code for instructions that were found")]
            Backend::Neon => unsafe { neon::block_totals(plane, inputs, scratch, totals) },
            _ => portable::block_totals(plane, inputs, scratch, totals),
        }
    }

    /// Runs a loop of plain Rust, compiled for the instructions of this backend. No result depends on them: Rust neither
    /// fuses nor re-orders float operations.
    #[inline(always)]
    pub(crate) fn run<O: Op>(self, op: O) -> O::Output {
        match self.0 {
            #[cfg(target_arch = "x86_64")]
            // SAFETY: an engine exists only for a backend whose instructions were found here.
            #[expect(unsafe_code, reason = "a call of code for instructions that were found")]
            Backend::Avx512 => unsafe { avx512::run(op) },
            #[cfg(target_arch = "x86_64")]
            // SAFETY: as above.
            #[expect(unsafe_code, reason = "a call of code for instructions that were found")]
            Backend::Avx2 => unsafe { avx2::run(op) },
            // NEON is part of every AArch64 build.
            _ => op.run(Isa::Portable),
        }
    }
}

/// A loop that every backend compiles for itself. `run` has to be `#[inline(always)]`, and what it calls too.
pub(crate) trait Op {
    type Output;

    fn run(self, isa: Isa) -> Self::Output;
}

/// Instructions that the code around a value of this type is compiled for.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Isa {
    Portable,
    #[cfg(target_arch = "x86_64")]
    Avx2(avx2::Token),
    #[cfg(target_arch = "x86_64")]
    Avx512(avx512::Token),
}

impl Isa {
    /// For each word of columns: writes the sign bits (`value > 0`, or `!(value < 0)` if `zero_is_positive`; of a NaN either)
    /// to row `r` of its tile, and adds the magnitudes to the lanes. There are at least as many tiles as words.
    #[inline(always)]
    pub(crate) fn pack_words(
        self,
        words: &[[f32; TILE_COLS]],
        zero_is_positive: bool,
        r: usize,
        tiles: &mut [Tile],
        lanes: &mut [f32; TILE_COLS],
    ) {
        match self {
            #[cfg(target_arch = "x86_64")]
            Self::Avx512(token) => token.pack_words(words, zero_is_positive, r, tiles, lanes),
            #[cfg(target_arch = "x86_64")]
            Self::Avx2(token) => token.pack_words(words, zero_is_positive, r, tiles, lanes),
            Self::Portable => portable::pack_words(words, zero_is_positive, r, tiles, lanes),
        }
    }
}

impl Isa {
    /// `out = base + values`, past the caches if `stream` and the machine can.
    #[inline(always)]
    pub(crate) fn add_word(
        self,
        base: &[f32; TILE_COLS],
        values: &[f32; TILE_COLS],
        out: &mut [f32; TILE_COLS],
        stream: bool,
    ) {
        match (self, stream) {
            #[cfg(target_arch = "x86_64")]
            (Self::Avx512(token), true) => token.stream_sum(base, values, out),
            _ => {
                for k in 0..TILE_COLS {
                    out[k] = base[k] + values[k];
                }
            }
        }
    }

    /// Asks for the cache lines a page behind these values, which are to be a word of a long stream.
    #[inline(always)]
    pub(crate) fn ahead<T>(self, values: &[T; TILE_COLS]) {
        #[cfg(target_arch = "x86_64")]
        if let Self::Avx512(token) = self {
            let (low, high) = values.split_at(TILE_COLS / 2);
            token.ahead(low);
            token.ahead(high);
        }
        #[cfg(not(target_arch = "x86_64"))]
        let _ = values;
    }

    /// Adds to the lanes of each row and input the products by column modulo 32, columns in ascending order.
    #[inline(always)]
    pub(crate) fn dots<const R: usize, const N: usize>(
        self,
        rows: [&[[f32; TILE_COLS]]; R],
        xs: [&[[f32; TILE_COLS]]; N],
        lanes: &mut [[[f32; TILE_COLS]; N]; R],
    ) {
        match self {
            #[cfg(target_arch = "x86_64")]
            Self::Avx512(token) => token.dots(rows, xs, lanes),
            #[cfg(target_arch = "x86_64")]
            Self::Avx2(token) => {
                for (row, lanes) in rows.iter().zip(lanes) {
                    token.dots(row, xs, lanes);
                }
            }
            Self::Portable => {
                for (row, lanes) in rows.iter().zip(lanes) {
                    for (x, lanes) in xs.iter().zip(lanes) {
                        portable::dot(row, x, lanes);
                    }
                }
            }
        }
    }

    /// To be called after the last streamed word, before anyone else may look.
    #[inline(always)]
    pub(crate) fn end_stream(self) {
        #[cfg(target_arch = "x86_64")]
        if let Self::Avx512(token) = self {
            token.end_stream();
        }
    }
}

/// The columns of one plane that one scale covers.
#[derive(Debug)]
pub(crate) struct Plane<'a> {
    pub(crate) grid: Grid,
    pub(crate) tiles: &'a [Tile],
    /// Column words `start..end` of the block.
    pub(crate) words: core::ops::Range<usize>,
}

/// Buffers of the kernels.
#[derive(Debug, Clone, Default)]
pub(crate) struct Scratch {
    /// One table of 256 sums for each group of 8 columns of a window.
    bytes: Vec<[f32; 256]>,
    /// Tables of 16 floats.
    #[cfg_attr(not(any(target_arch = "x86_64", target_arch = "aarch64")), expect(dead_code, reason = "for SIMD"))]
    lines: Vec<Line>,
    /// Sums of the running segment, one a row and token.
    sums: Vec<f32>,
}

/// 16 floats on a cache line.
#[derive(Debug, Clone, Copy, Default)]
#[repr(C, align(64))]
struct Line([f32; 16]);

/// Columns of a segment, in words.
const SEGMENT_WORDS: usize = 1024 / 32;
