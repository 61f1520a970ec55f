//! Where a caller keeps what a market maker has learned.

use std::collections::{BTreeMap, HashMap};
use std::convert::Infallible;
use std::hash::BuildHasher;

use super::builder::MarketMakerBuilder;
use super::market_maker::MarketMaker;
use crate::Error;

/// Keeps [snapshots](MarketMaker::snapshot) under keys. The crate opens no file and no database itself; maps of bytes are stores, and the rest is
/// the caller's.
///
/// # Guarantees
/// After [`save`](Self::save) has returned `Ok`, [`load`](Self::load) gives those bytes. After an error it gives them or the ones before, never
/// a mixture.
///
/// A folder of files, which a crash leaves whole:
///
/// ```
/// use std::fs::{File, rename};
/// use std::io::{ErrorKind, Write};
/// use std::path::PathBuf;
///
/// use hanzo_hmm::market::{Outcome, RouteOptions, Store};
/// use hanzo_hmm::{Config, MarketMaker, RoutingRequest};
///
/// struct Folder(PathBuf);
///
/// impl Store for Folder {
///     type Error = std::io::Error;
///
///     fn load(&mut self, key: &str) -> Result<Option<Vec<u8>>, Self::Error> {
///         match std::fs::read(self.0.join(key)) {
///             Ok(bytes) => Ok(Some(bytes)),
///             Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
///             Err(error) => Err(error),
///         }
///     }
///
///     fn save(&mut self, key: &str, bytes: &[u8]) -> Result<(), Self::Error> {
///         let new = self.0.join(format!("{key}.new"));
///         let mut file = File::create(&new)?;
///         file.write_all(bytes)?;
///         file.sync_all()?;
///         rename(new, self.0.join(key))
///     }
/// }
///
/// let folder = std::env::temp_dir().join(format!("hanzo-hmm-store-{}", std::process::id()));
/// std::fs::create_dir_all(&folder)?;
/// let mut store = Folder(folder.clone());
/// let config = Config::default().db_path("router.bin".into());
///
/// let market = MarketMaker::builder(config.clone()).open(&mut store)?; // nothing kept yet: a new one
/// let decision = market.route("tenant-42", &RoutingRequest::default(), &RouteOptions::default())?;
/// market.record_outcome(decision.id, &Outcome::success(0.9, 400, 0.001))?;
/// market.save(&mut store)?;
///
/// let again = MarketMaker::builder(config).open(&mut store)?;
/// assert_eq!(again.snapshot(), market.snapshot());
/// std::fs::remove_dir_all(folder)?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub trait Store {
    /// Why the store failed.
    type Error;

    /// The bytes kept under a key; `None` if there are none.
    ///
    /// # Errors
    /// The store's own.
    fn load(&mut self, key: &str) -> Result<Option<Vec<u8>>, Self::Error>;

    /// Keeps bytes under a key, in place of those before.
    ///
    /// # Errors
    /// The store's own.
    fn save(&mut self, key: &str, bytes: &[u8]) -> Result<(), Self::Error>;
}

/// Why a market maker was not opened from a [`Store`].
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError<E> {
    /// The store failed.
    #[error("store failed")]
    Store(#[source] E),
    /// The configuration, or what the store held, was refused.
    #[error(transparent)]
    Refused(#[from] Error),
}

impl MarketMaker {
    /// Keeps a [`snapshot`](Self::snapshot) under the key that the configuration names as `db_path`.
    ///
    /// # Errors
    /// The store's own.
    pub fn save<S: Store + ?Sized>(&self, store: &mut S) -> Result<(), S::Error> {
        store.save(self.config().storage_path(), &self.snapshot())
    }
}

impl MarketMakerBuilder {
    /// The market maker that was [saved](MarketMaker::save) in a store, or a new one if none was.
    ///
    /// # Errors
    /// Those of the store, of [`restore`](Self::restore) and of [`build`](Self::build).
    pub fn open<S: Store + ?Sized>(self, store: &mut S) -> Result<MarketMaker, StoreError<S::Error>> {
        let market = match store.load(self.storage_path()).map_err(StoreError::Store)? {
            Some(bytes) => self.restore(&bytes)?,
            None => self.build()?,
        };
        Ok(market)
    }
}

/// A map of bytes is a store that does not fail.
macro_rules! keep_in_map {
    ($map:ty $(, $hasher:ident)?) => {
        impl$(<$hasher: BuildHasher>)? Store for $map {
            type Error = Infallible;

            fn load(&mut self, key: &str) -> Result<Option<Vec<u8>>, Infallible> {
                Ok(self.get(key).cloned())
            }

            fn save(&mut self, key: &str, bytes: &[u8]) -> Result<(), Infallible> {
                self.insert(key.to_owned(), bytes.to_vec());
                Ok(())
            }
        }
    };
}

keep_in_map!(HashMap<String, Vec<u8>, H>, H);
keep_in_map!(BTreeMap<String, Vec<u8>>);
