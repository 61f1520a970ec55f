//! The bytes of stored tensors.

use alloc::vec::Vec;

use crate::delta::{PackedDelta, PackedSpec};
use crate::dtype::ScaleDtype;
use crate::element::{Bf16, Element, F16};
use crate::error::Result;
use crate::layout::{Layout, TILE_ROWS, Tile};

/// Sign bytes of a delta in a layout.
pub(crate) fn sign_bytes(delta: &PackedDelta, layout: Layout) -> Vec<u8> {
    match layout {
        Layout::Tiled16 => delta.tiles().iter().flat_map(|tile| tile.0).flat_map(u32::to_le_bytes).collect(),
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

/// The delta in bytes whose lengths are those that the spec and the layout call for.
pub(crate) fn decode(
    spec: &PackedSpec,
    shape: &[usize],
    layout: Layout,
    sign: &[u8],
    scale: &[u8],
) -> Result<PackedDelta> {
    let grid = spec.grid();
    let tiles = match layout {
        Layout::Tiled16 => {
            let mut tiles = Vec::with_capacity(sign.len() / size_of::<Tile>());
            for bytes in sign.chunks_exact(size_of::<Tile>()) {
                let mut tile = [0; TILE_ROWS];
                for (word, bytes) in tile.iter_mut().zip(bytes.as_chunks::<4>().0) {
                    *word = u32::from_le_bytes(*bytes);
                }
                tiles.push(Tile(tile));
            }
            grid.check_padding(&tiles)?;
            tiles
        }
        Layout::RowMajor64 => {
            let mut tiles = Vec::with_capacity(spec.planes * grid.tiles());
            let size = 8 * grid.rows * grid.wide_words();
            for plane in sign.chunks_exact(size.max(1)) {
                let words = plane.as_chunks::<8>().0.iter().map(|bytes| u64::from_le_bytes(*bytes));
                tiles.append(&mut grid.tiles_of_wide(words)?);
            }
            tiles
        }
    };
    let halves = || scale.as_chunks::<2>().0.iter().map(|bytes| u16::from_le_bytes(*bytes));
    let scales: Vec<f32> = match spec.scale_dtype {
        ScaleDtype::F32 => scale.as_chunks::<4>().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect(),
        ScaleDtype::F16 => halves().map(|bits| F16::from_bits(bits).to_f32()).collect(),
        ScaleDtype::Bf16 => halves().map(|bits| Bf16::from_bits(bits).to_f32()).collect(),
    };
    PackedDelta::from_parts(spec, shape.to_vec(), tiles, &scales)
}
