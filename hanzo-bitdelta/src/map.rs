//! Adapter files mapped into memory. The one `unsafe` call of the crate outside the kernels.

use core::fmt;
use std::fs::File;
use std::io;
use std::path::Path;

/// A file that is part of the address space: its pages are read when they are first looked at.
pub(crate) struct Map(memmap2::Mmap);

impl Map {
    /// Maps a whole file.
    ///
    /// # Safety
    /// Nobody may change or shorten the file while the map is alive.
    #[expect(unsafe_code, reason = "a mapped file is a promise about the whole machine; the twin reads the file")]
    pub(crate) unsafe fn open(path: &Path) -> io::Result<Self> {
        let file = File::open(path)?;
        // SAFETY: the caller promises that the file stays as it is.
        unsafe { memmap2::Mmap::map(&file) }.map(Self)
    }

    pub(crate) fn as_slice(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for Map {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Map").field("len", &self.0.len()).finish()
    }
}
