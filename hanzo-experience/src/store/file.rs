use std::ffi::OsString;
use std::fs::{self, File, TryLockError};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use super::{Change, Store, StoreError};
use crate::{Result, Snapshot};

/// A snapshot file (`.hxs`), replaced whole by each change: a temporary file beside it is written, synchronised and
/// renamed, and its directory synchronised. A change costs as much as the whole library.
///
/// The file `NAME.lock` beside it keeps a second process out. A left-over `NAME.tmp` is of a change that was never
/// acknowledged.
#[derive(Debug)]
pub struct FileStore {
    path: PathBuf,
    /// Locked while the store lives.
    _lock: File,
}

impl FileStore {
    /// The store at a path, whose directory must exist.
    ///
    /// # Errors
    /// [`io::ErrorKind::WouldBlock`] if another store has the path; those of the file system.
    pub fn open(path: impl Into<PathBuf>) -> io::Result<Self> {
        let path = path.into();
        let lock = File::create(beside(&path, ".lock"))?;
        match lock.try_lock() {
            Ok(()) => Ok(Self { path, _lock: lock }),
            Err(TryLockError::WouldBlock) => Err(io::ErrorKind::WouldBlock.into()),
            Err(TryLockError::Error(error)) => Err(error),
        }
    }
}

impl Store for FileStore {
    type Error = io::Error;

    fn load(&mut self) -> Result<Option<Snapshot>, StoreError<io::Error>> {
        match fs::read(&self.path) {
            Ok(bytes) => Ok(Some(Snapshot::from_bytes(&bytes)?)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(StoreError::Store(error)),
        }
    }

    fn commit(&mut self, change: &Change<'_>) -> io::Result<()> {
        replace(&self.path, &change.after().snapshot().to_bytes())
    }
}

/// Replaces the file at `path`, or leaves it as it was.
fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let temporary = beside(path, ".tmp");
    let mut file = File::create(&temporary)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    drop(file);
    fs::rename(&temporary, path)?;
    // Elsewhere a directory cannot be opened as a file, and renaming is durable by itself.
    if cfg!(unix) {
        let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty());
        File::open(directory.unwrap_or(Path::new(".")))?.sync_all()?;
    }
    Ok(())
}

/// The path with `suffix` after its name.
fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name: OsString = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}
