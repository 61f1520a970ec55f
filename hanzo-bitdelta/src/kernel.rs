//! The inner loops, one file a backend. All backends give the same bits.

use alloc::vec::Vec;

use crate::layout::{Grid, Tile};

mod portable;

/// Which machine instructions the inner loops use. Results do not depend on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Backend {
    /// Plain Rust, on every machine.
    Portable,
}

impl Backend {
    /// The fastest backend that runs here.
    #[must_use]
    pub fn best() -> Self {
        Self::Portable
    }

    /// All backends that run here, slowest first.
    #[must_use]
    pub fn available() -> &'static [Self] {
        &[Self::Portable]
    }

    /// Sign sums of one plane over the columns `32 words.start .. 32 words.end`, in the order that all backends share:
    /// segments of 1024 columns, inside them groups of 8, all in ascending order.
    pub(crate) fn block_totals(self, plane: &Plane<'_>, inputs: &[f32], scratch: &mut Scratch, totals: &mut [f32]) {
        match self {
            Self::Portable => portable::block_totals(plane, inputs, scratch, totals),
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
    tables: Vec<[f32; 256]>,
    /// Sums of the running segment, one a row and token.
    sums: Vec<f32>,
}

/// Columns of a segment, in words.
const SEGMENT_WORDS: usize = 1024 / 32;
