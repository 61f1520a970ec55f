//! Where a cache loads adapters from.

use alloc::string::String;
use alloc::sync::Arc;
use core::fmt::Write;
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{PoisonError, RwLock};

use super::AdapterKey;
use crate::adapter::Adapter;
use crate::digest::{BaseDigest, Hex};
use crate::error::{Error, Result};
use crate::format::ReadOptions;

/// A place that holds adapters: a folder, a database, an object store. Called by the cache without a lock held, by several
/// threads at once.
///
/// # Guarantees
/// An implementor gives the adapter that was stored under exactly this key, or an error. Where loading is asynchronous,
/// load first and put the result into a [`MemoryStore`].
pub trait AdapterStore: Send + Sync {
    /// The adapter stored under this key.
    ///
    /// # Errors
    /// [`Error::MissingAdapter`] when there is none; whatever else goes wrong.
    fn load(&self, key: &AdapterKey) -> Result<Adapter>;
}

impl<S: AdapterStore + ?Sized> AdapterStore for Arc<S> {
    fn load(&self, key: &AdapterKey) -> Result<Adapter> {
        (**self).load(key)
    }
}

impl<S: AdapterStore + ?Sized> AdapterStore for &S {
    fn load(&self, key: &AdapterKey) -> Result<Adapter> {
        (**self).load(key)
    }
}

/// Adapters in memory, without a bound: for tests, and for adapters that arrive by other ways.
///
/// ```
/// use hanzo_bitdelta::{Adapter, AdapterKey, AdapterStore, BaseDigest, MemoryStore};
/// let key = AdapterKey::new(BaseDigest::from_bytes([0; 32]), "a", 0);
/// let store = MemoryStore::new();
/// store.put(key.clone(), Adapter::builder().build()?);
/// assert!(store.load(&key)?.is_empty());
/// assert!(store.remove(&key) && store.load(&key).is_err());
/// # Ok::<(), hanzo_bitdelta::Error>(())
/// ```
#[derive(Debug, Default)]
pub struct MemoryStore {
    adapters: RwLock<HashMap<AdapterKey, Adapter>>,
}

impl MemoryStore {
    /// An empty store.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Stores an adapter in place of what was under this key.
    pub fn put(&self, key: AdapterKey, adapter: Adapter) {
        self.adapters.write().unwrap_or_else(PoisonError::into_inner).insert(key, adapter);
    }

    /// Removes an adapter; false when there was none.
    pub fn remove(&self, key: &AdapterKey) -> bool {
        self.adapters.write().unwrap_or_else(PoisonError::into_inner).remove(key).is_some()
    }
}

impl AdapterStore for MemoryStore {
    fn load(&self, key: &AdapterKey) -> Result<Adapter> {
        let adapters = self.adapters.read().unwrap_or_else(PoisonError::into_inner);
        adapters.get(key).cloned().ok_or_else(|| Error::MissingAdapter(String::from(key.name())))
    }
}

/// Adapter files in a folder: `BASE/NAME.GENERATION.safetensors`, where `BASE` is the digest in hexadecimal digits and bytes of
/// the name other than letters, digits, `-` and `_` are written as `%` and two digits, so that no name leaves the folder. A
/// name with capital letters is followed by a mark of where they are: no two names share a file, whatever the file system
/// makes of case.
///
/// ```
/// use hanzo_bitdelta::{Adapter, AdapterKey, AdapterStore, BaseDigest, DirectoryStore, ReadOptions};
/// # let root = std::env::temp_dir().join(format!("bitdelta-store-{}", std::process::id()));
/// let store = DirectoryStore::new(&root, ReadOptions::default());
/// let base = BaseDigest::from_bytes([1; 32]);
/// let key = AdapterKey::new(base, "../tenant 1", 2);
/// let adapter = Adapter::builder().base_digest(base).build()?;
/// store.save(&key, &adapter)?;
/// assert_eq!(store.load(&key)?, adapter);
/// assert!(store.path(&key)?.ends_with("%2e%2e%2ftenant%201.2.safetensors"));
/// # std::fs::remove_dir_all(&root).unwrap();
/// # Ok::<(), hanzo_bitdelta::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct DirectoryStore {
    root: PathBuf,
    options: ReadOptions,
}

impl DirectoryStore {
    /// A store in this folder, whose files are read with these options.
    #[must_use]
    pub fn new(root: impl AsRef<Path>, options: ReadOptions) -> Self {
        Self { root: root.as_ref().to_path_buf(), options }
    }

    /// The file of a key.
    ///
    /// # Errors
    /// [`Error::TooLarge`] when the name, written as the file's, is above 160 bytes.
    pub fn path(&self, key: &AdapterKey) -> Result<PathBuf> {
        let mut name = String::new();
        for byte in key.name().bytes() {
            if byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_' {
                name.push(char::from(byte));
            } else {
                // Writing into a string does not fail.
                let _ = write!(name, "%{byte:02x}");
            }
        }
        if name.len() > MAX_NAME {
            return Err(Error::TooLarge { what: "file name", value: name.len() as u64, limit: MAX_NAME as u64 });
        }
        let case = case_digits(key.name());
        let generation = key.generation();
        Ok(self.folder(&key.base()).join(format!("{name}{case}.{generation}.safetensors")))
    }

    /// Writes an adapter: to a file of its own, which then takes the place of the old one in one step.
    ///
    /// # Errors
    /// [`Error::BaseMismatch`] or [`Error::Unbound`] when the adapter does not belong to the key's base; [`Error::Io`]; those
    /// of [`path`](Self::path) and [`Adapter::to_bytes`].
    pub fn save(&self, key: &AdapterKey, adapter: &Adapter) -> Result<()> {
        adapter.bind(&key.base())?;
        let (path, bytes) = (self.path(key)?, adapter.to_bytes()?);
        let write = || {
            std::fs::create_dir_all(self.folder(&key.base()))?;
            let partial = path.with_extension(format!("partial-{}", std::process::id()));
            std::fs::write(&partial, &bytes)?;
            std::fs::rename(&partial, &path)
        };
        write().map_err(|error| Error::Io { kind: error.kind() })
    }

    fn folder(&self, base: &BaseDigest) -> PathBuf {
        self.root.join(Hex(base.as_bytes()).to_string())
    }
}

impl AdapterStore for DirectoryStore {
    fn load(&self, key: &AdapterKey) -> Result<Adapter> {
        match Adapter::open(self.path(key)?, self.options) {
            Err(Error::Io { kind: std::io::ErrorKind::NotFound }) => {
                Err(Error::MissingAdapter(String::from(key.name())))
            }
            other => other,
        }
    }
}

/// Nothing for a name without capital letters; else which letters are, in hexadecimal digits.
fn case_digits(name: &str) -> String {
    let mut digits = String::new();
    if name.bytes().any(|byte| byte.is_ascii_uppercase()) {
        digits.push('.');
        for chunk in name.as_bytes().chunks(4) {
            let bits = chunk.iter().fold(0, |bits, byte| bits << 1 | u8::from(byte.is_ascii_uppercase()));
            let _ = write!(digits, "{bits:x}");
        }
    }
    digits
}

/// Longest name of a file, before the generation; file systems allow 255 bytes in all.
const MAX_NAME: usize = 160;
