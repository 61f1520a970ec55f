//! Where the sign bit of an element lies.

use alloc::vec::Vec;

use crate::error::{Error, Result};

/// How sign bits are laid out in a file. In memory they are always tiled.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub enum Layout {
    /// Tiles of 16 rows by 32 columns, 16 `u32` words each, as the kernels read them. Word `(t * K + c) * 16 + r` holds
    /// columns `32 c ..` of row `16 t + r`, lowest bit first, where `K = ceil(cols / 32)`.
    #[default]
    Tiled16,
    /// Rows of `u64` words: element `(i, j)` is bit `j mod 64`, lowest first, of word `i * ceil(cols / 64) + j / 64`.
    RowMajor64,
}

impl Layout {
    /// The word that stands for this layout in a file.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Tiled16 => "tiled16",
            Self::RowMajor64 => "rowmajor64",
        }
    }

    pub(crate) fn from_word(word: &str) -> Option<Self> {
        [Self::Tiled16, Self::RowMajor64].into_iter().find(|layout| layout.word() == word)
    }
}

/// One tile: the words of 16 rows at the same 32 columns, a cache line.
pub(crate) type Tile = [u32; TILE_ROWS];

/// Sizes of one plane of a `rows x cols` matrix.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Grid {
    pub(crate) rows: usize,
    pub(crate) cols: usize,
}

impl Grid {
    /// Rows of tiles.
    pub(crate) fn bands(self) -> usize {
        self.rows.div_ceil(TILE_ROWS)
    }

    /// Tiles in a band: `u32` words in a row.
    pub(crate) fn words(self) -> usize {
        self.cols.div_ceil(TILE_COLS)
    }

    /// Tiles in a plane.
    pub(crate) fn tiles(self) -> usize {
        self.bands() * self.words()
    }

    /// `u64` words of a row in [`Layout::RowMajor64`].
    pub(crate) fn wide_words(self) -> usize {
        self.cols.div_ceil(64)
    }

    /// The word of row `i`, columns `32 c ..`, in the tiles of one plane.
    #[inline(always)]
    pub(crate) fn word(self, plane: &[Tile], i: usize, c: usize) -> u32 {
        plane[i / TILE_ROWS * self.words() + c][i % TILE_ROWS]
    }

    /// Writes one row of words into the tiles of one plane.
    pub(crate) fn set_word(self, plane: &mut [Tile], i: usize, c: usize, word: u32) {
        plane[i / TILE_ROWS * self.words() + c][i % TILE_ROWS] = word;
    }

    /// Bits of word `c` that belong to columns of the matrix.
    pub(crate) fn mask(self, c: usize) -> u32 {
        match self.cols - c * TILE_COLS {
            left if left >= TILE_COLS => u32::MAX,
            left => (1 << left) - 1,
        }
    }

    /// Proves that all bits outside the matrix are 0, in the tiles of any number of planes.
    pub(crate) fn check_padding(self, planes: &[Tile]) -> Result<()> {
        let words = self.words().max(1);
        let rows_in_last = self.rows - self.bands().saturating_sub(1) * TILE_ROWS;
        let last_mask = self.mask(words - 1);
        for (index, band) in planes.chunks_exact(words).enumerate() {
            // Only the last column of tiles, and the last band, reach out of the matrix.
            let mut outside = 0;
            if let Some(tile) = band.last() {
                outside |= tile.iter().fold(0, |bits, word| bits | word) & !last_mask;
            }
            if index % self.bands() == self.bands() - 1 {
                outside |= band.iter().flat_map(|tile| &tile[rows_in_last..]).fold(0, |bits, word| bits | word);
            }
            if outside != 0 {
                return Err(Error::Malformed { reason: "a padding bit is set" });
            }
        }
        Ok(())
    }

    /// Rows of `u64` words of one plane.
    pub(crate) fn to_wide(self, plane: &[Tile]) -> Vec<u64> {
        let mut wide = Vec::with_capacity(self.rows * self.wide_words());
        for i in 0..self.rows {
            for w in 0..self.wide_words() {
                let low = u64::from(self.word(plane, i, 2 * w));
                let high = if 2 * w + 1 < self.words() { self.word(plane, i, 2 * w + 1) } else { 0 };
                wide.push(low | u64::from(high) << 32);
            }
        }
        wide
    }

    /// The tiles of one plane given as rows of `u64` words; `wide` has `rows * wide_words` of them.
    pub(crate) fn tiles_of_wide(self, wide: impl Iterator<Item = u64>, plane: &mut [Tile]) -> Result<()> {
        for (index, word) in wide.enumerate() {
            let (i, w) = (index / self.wide_words(), index % self.wide_words());
            self.set_word(plane, i, 2 * w, word as u32);
            let high = (word >> 32) as u32;
            if 2 * w + 1 < self.words() {
                self.set_word(plane, i, 2 * w + 1, high);
            } else if high != 0 {
                return Err(Error::Malformed { reason: "a padding bit is set" });
            }
        }
        self.check_padding(plane)
    }
}

pub(crate) const TILE_ROWS: usize = 16;
pub(crate) const TILE_COLS: usize = 32;
