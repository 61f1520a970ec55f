//! Where tiles lie: in a buffer of their own, or in the bytes of a file.

use alloc::sync::Arc;
use alloc::vec;
use alloc::vec::Vec;
use core::ops::Range;

use crate::layout::{TILE_ROWS, Tile};

/// The tiles of all planes, shared and never changed.
#[derive(Debug, Clone)]
pub(crate) struct Tiles(Store);

#[derive(Debug, Clone)]
enum Store {
    Owned(Arc<TileBuffer>),
    /// A range of the file whose start is aligned to 4 bytes.
    File(FileBytes, Range<usize>),
}

impl Tiles {
    /// The tiles that a file holds in this range, without a copy; `None` where this machine cannot read them in place.
    pub(crate) fn of_file(file: &FileBytes, range: Range<usize>) -> Option<Self> {
        let bytes = file.as_slice().get(range.clone())?;
        let readable = cfg!(target_endian = "little") && bytemuck::try_cast_slice::<u8, u32>(bytes).is_ok();
        readable.then(|| Self(Store::File(file.clone(), range)))
    }

    pub(crate) fn as_slice(&self) -> &[Tile] {
        match &self.0 {
            Store::Owned(buffer) => buffer.as_slice(),
            Store::File(file, range) => {
                let bytes = file.as_slice().get(range.clone()).unwrap_or_default();
                // The cast was tried before, and the bytes do not move.
                bytemuck::try_cast_slice::<u8, u32>(bytes).unwrap_or_default().as_chunks().0
            }
        }
    }

    /// Bytes of the file that the tiles are part of, and that is held as a whole.
    pub(crate) fn file_len(&self) -> Option<usize> {
        match &self.0 {
            Store::Owned(_) => None,
            Store::File(file, _) => Some(file.as_slice().len()),
        }
    }
}

impl From<TileBuffer> for Tiles {
    fn from(buffer: TileBuffer) -> Self {
        Self(Store::Owned(Arc::new(buffer)))
    }
}

impl PartialEq for Tiles {
    fn eq(&self, other: &Self) -> bool {
        self.as_slice() == other.as_slice()
    }
}

/// Tiles on cache lines: a tile starts at a multiple of 64 bytes.
#[derive(Debug)]
pub(crate) struct TileBuffer {
    words: Vec<u32>,
    start: usize,
    len: usize,
}

impl TileBuffer {
    /// So many tiles of zeros.
    pub(crate) fn zeros(len: usize) -> Self {
        let words = vec![0; (len + 1) * TILE_ROWS];
        // The content of a vector stays where it is when the vector moves.
        let start = words.as_ptr().align_offset(64).min(TILE_ROWS);
        Self { words, start, len }
    }

    pub(crate) fn as_slice(&self) -> &[Tile] {
        &self.words[self.start..].as_chunks().0[..self.len]
    }

    pub(crate) fn as_mut(&mut self) -> &mut [Tile] {
        &mut self.words[self.start..].as_chunks_mut().0[..self.len]
    }
}

/// The bytes of an adapter file.
#[derive(Debug, Clone)]
pub(crate) enum FileBytes {
    /// Bytes that the caller has.
    Shared(Arc<[u8]>),
    /// Bytes read into a buffer that starts at a multiple of 64.
    #[cfg(feature = "std")]
    Buffer(Arc<AlignedBytes>),
    /// A mapped file.
    #[cfg(feature = "mmap")]
    Map(Arc<crate::map::Map>),
}

impl FileBytes {
    pub(crate) fn as_slice(&self) -> &[u8] {
        match self {
            Self::Shared(bytes) => bytes,
            #[cfg(feature = "std")]
            Self::Buffer(bytes) => bytes.as_slice(),
            #[cfg(feature = "mmap")]
            Self::Map(map) => map.as_slice(),
        }
    }
}

/// Bytes that start at a multiple of 64.
#[cfg(feature = "std")]
#[derive(Debug)]
pub(crate) struct AlignedBytes {
    words: Vec<u64>,
    start: usize,
    len: usize,
}

#[cfg(feature = "std")]
impl AlignedBytes {
    /// Reads a whole file; nothing is allocated beyond its size.
    pub(crate) fn read(path: &std::path::Path) -> std::io::Result<Self> {
        use std::io::Read;
        let mut file = std::fs::File::open(path)?;
        let too_large = || std::io::Error::from(std::io::ErrorKind::FileTooLarge);
        let len = usize::try_from(file.metadata()?.len()).map_err(|_| too_large())?;
        let mut words = Vec::new();
        let count = len.div_ceil(8).checked_add(8).ok_or_else(too_large)?;
        words.try_reserve_exact(count).map_err(|_| std::io::ErrorKind::OutOfMemory)?;
        words.resize(count, 0_u64);
        let start = 8 * words.as_ptr().align_offset(64).min(8);
        let mut bytes = Self { words, start, len };
        file.read_exact(&mut bytemuck::cast_slice_mut(&mut bytes.words)[start..][..len])?;
        // What was appended in between belongs to another file.
        if file.read(&mut [0])? != 0 {
            return Err(std::io::ErrorKind::InvalidData.into());
        }
        Ok(bytes)
    }

    pub(crate) fn as_slice(&self) -> &[u8] {
        &bytemuck::cast_slice(&self.words)[self.start..][..self.len]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buffers_start_on_cache_lines() {
        for len in [0, 1, 5, 1000] {
            let buffer = TileBuffer::zeros(len);
            assert_eq!(buffer.as_slice().len(), len);
            assert!(len == 0 || buffer.as_slice().as_ptr().addr().is_multiple_of(64));
        }
    }

    #[test]
    fn bytes_of_a_file_that_are_not_aligned_are_not_read_in_place() {
        let bytes: Arc<[u8]> = vec![1; 200].into();
        let file = FileBytes::Shared(bytes);
        let aligned = file.as_slice().as_ptr().align_offset(4);
        assert!(Tiles::of_file(&file, aligned..aligned + 128).is_some_and(|tiles| tiles.as_slice().len() == 2));
        assert!(Tiles::of_file(&file, aligned + 1..aligned + 129).is_none());
        assert!(Tiles::of_file(&file, 100..300).is_none());
    }
}
