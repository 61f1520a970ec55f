//! The bytes of stored tensors.

use alloc::vec::Vec;
use core::ops::Range;

use crate::delta::{PackedDelta, PackedSpec};
use crate::dtype::ScaleDtype;
use crate::element::{Bf16, Element, F16};
use crate::error::Result;
use crate::layout::{Layout, Tile};
use crate::tiles::{FileBytes, TileBuffer, Tiles};

/// Sign bytes of a delta in a layout.
pub(crate) fn sign_bytes(delta: &PackedDelta, layout: Layout) -> Vec<u8> {
    match layout {
        Layout::Tiled16 => delta.tiles().as_flattened().iter().copied().flat_map(u32::to_le_bytes).collect(),
        Layout::RowMajor64 => delta.to_rowmajor64().into_iter().flat_map(u64::to_le_bytes).collect(),
    }
}

/// Scale bytes of a delta.
pub(crate) fn scale_bytes(delta: &PackedDelta) -> Vec<u8> {
    let scales = delta.scales().iter().copied();
    match delta.spec().scale_dtype {
        ScaleDtype::F32 => scales.flat_map(f32::to_le_bytes).collect(),
        ScaleDtype::F16 => scales.flat_map(|scale| F16::from_f32(scale).to_bits().to_le_bytes()).collect(),
        ScaleDtype::Bf16 => scales.flat_map(|scale| Bf16::from_f32(scale).to_bits().to_le_bytes()).collect(),
    }
}

/// The delta in ranges of a file whose lengths are those that the spec and the layout call for.
pub(crate) fn decode(
    spec: &PackedSpec,
    shape: &[usize],
    layout: Layout,
    file: &FileBytes,
    [sign, scale]: [&Range<usize>; 2],
) -> Result<PackedDelta> {
    let grid = spec.grid();
    let in_place = Tiles::of_file(file, sign.clone());
    let bytes = file.as_slice();
    let (sign, scale) = (bytes.get(sign.clone()).unwrap_or_default(), bytes.get(scale.clone()).unwrap_or_default());
    let tiles = match layout {
        Layout::Tiled16 => match in_place {
            Some(tiles) => tiles,
            None => {
                let mut tiles = TileBuffer::zeros(sign.len() / size_of::<Tile>());
                for (word, bytes) in tiles.as_mut().as_flattened_mut().iter_mut().zip(sign.as_chunks::<4>().0) {
                    *word = u32::from_le_bytes(*bytes);
                }
                tiles.into()
            }
        },
        Layout::RowMajor64 => {
            let mut tiles = TileBuffer::zeros(spec.planes * grid.tiles());
            let size = 8 * grid.rows * grid.wide_words();
            let planes = tiles.as_mut().chunks_exact_mut(grid.tiles().max(1));
            for (bytes, plane) in sign.chunks_exact(size.max(1)).zip(planes) {
                let words = bytes.as_chunks::<8>().0.iter().map(|bytes| u64::from_le_bytes(*bytes));
                grid.tiles_of_wide(words, plane)?;
            }
            tiles.into()
        }
    };
    grid.check_padding(tiles.as_slice())?;
    let halves = || scale.as_chunks::<2>().0.iter().map(|bytes| u16::from_le_bytes(*bytes));
    let scales: Vec<f32> = match spec.scale_dtype {
        ScaleDtype::F32 => scale.as_chunks::<4>().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect(),
        ScaleDtype::F16 => halves().map(|bits| F16::from_bits(bits).to_f32()).collect(),
        ScaleDtype::Bf16 => halves().map(|bits| Bf16::from_bits(bits).to_f32()).collect(),
    };
    PackedDelta::from_parts(spec, shape.to_vec(), tiles, &scales)
}
