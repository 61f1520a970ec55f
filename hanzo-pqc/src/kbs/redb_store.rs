//! Keys and sessions that outlive the process, in a file of `redb`.

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt;
use core::ops::Bound;
use std::path::Path;

use redb::{Database, ReadableDatabase, ReadableTable, ReadableTableMetadata, TableDefinition};

use super::challenge_store::{ChallengeStore, Session, Taken};
use super::error::KbsError;
use super::key_store::KeyTable;
use super::message::{Challenge, Request, SessionId};
use crate::attestation::UnixTime;
use crate::error::Result as FormatResult;
use crate::wire::{Reader, put_lp32};

/// An open file, for [`RedbTable`] and [`RedbChallengeStore`]. One process opens it at a time; clones share it.
///
/// ```
/// use hanzo_pqc::attestation::UnixTime;
/// use hanzo_pqc::kbs::{KeyStore, Policy, RedbFile, RedbTable, VaultKeyStore};
/// use hanzo_pqc::{Dek, KeyId, VaultKey};
/// # use hanzo_pqc::rand_core::SeedableRng;
/// # let mut rng = rand_chacha::ChaCha20Rng::seed_from_u64(1);
/// # let path = std::env::temp_dir().join(format!("hanzo-pqc-redb-file-{}.redb", std::process::id()));
///
/// let (name, dek) = (KeyId::new("tenant-7/model")?, Dek::generate(&mut rng));
/// let file = RedbFile::open(&path)?;
/// let mut store = VaultKeyStore::open(RedbTable::new(&file)?, VaultKey::from_bytes(&[7; 32]));
/// store.put(name.clone(), &dek, Policy::default(), &mut rng)?;
/// drop((store, file));
///
/// // After a restart.
/// let file = RedbFile::open(&path)?;
/// let store = VaultKeyStore::open(RedbTable::new(&file)?, VaultKey::from_bytes(&[7; 32]));
/// let kept = store.data_key(&name, UnixTime::from_seconds(1_800_000_000))?;
/// assert!(kept.is_some_and(|kept| kept.ct_eq(&dek)));
/// # drop((store, file));
/// # std::fs::remove_file(&path).unwrap();
/// # Ok::<(), hanzo_pqc::kbs::KbsError>(())
/// ```
#[derive(Clone)]
pub struct RedbFile(Arc<Database>);

impl RedbFile {
    /// Opens a file, or makes it. After a crash it is as the last finished change left it.
    ///
    /// # Errors
    ///
    /// [`KbsError::StoreUnavailable`] where it is no such file, is open elsewhere or cannot be written.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, KbsError> {
        Database::create(path).map(|database| Self(Arc::new(database))).map_err(|_| KbsError::StoreUnavailable)
    }
}

/// A [`KeyTable`] in a database: [`VaultKeyStore::open`](super::VaultKeyStore::open) makes a key store of it. The file holds policies and wrapped keys, and no secret.
///
/// Each change is one transaction, on disk before it returns.
#[derive(Clone)]
pub struct RedbTable(Arc<Database>);

impl RedbTable {
    /// Uses the table `hanzo-kbs/v1/keys` of a file, made at the first use.
    ///
    /// # Errors
    ///
    /// [`KbsError::StoreUnavailable`].
    pub fn new(file: &RedbFile) -> Result<Self, KbsError> {
        write(&file.0, |transaction| Ok(transaction.open_table(KEYS).map(|_| ())?))?;
        Ok(Self(Arc::clone(&file.0)))
    }
}

impl KeyTable for RedbTable {
    fn get(&self, name: &[u8]) -> Result<Option<Vec<u8>>, KbsError> {
        let read = || -> Fallible<_> {
            let table = self.0.begin_read()?.open_table(KEYS)?;
            Ok(table.get(name)?.map(|bytes| bytes.value().to_vec()))
        };
        read().map_err(|Fault| KbsError::StoreUnavailable)
    }

    fn put(&mut self, name: &[u8], bytes: &[u8]) -> Result<(), KbsError> {
        write(&self.0, |transaction| Ok(transaction.open_table(KEYS)?.insert(name, bytes).map(|_| ())?))
    }

    fn remove(&mut self, name: &[u8]) -> Result<bool, KbsError> {
        write(&self.0, |transaction| Ok(transaction.open_table(KEYS)?.remove(name)?.is_some()))
    }

    fn after(&self, name: Option<&[u8]>) -> Result<Option<Vec<u8>>, KbsError> {
        let read = || -> Fallible<_> {
            let table = self.0.begin_read()?.open_table(KEYS)?;
            let from = name.map_or(Bound::Unbounded, Bound::Excluded);
            let first = table.range::<&[u8]>((from, Bound::Unbounded))?.next().transpose()?;
            Ok(first.map(|(name, _)| name.value().to_vec()))
        };
        read().map_err(|Fault| KbsError::StoreUnavailable)
    }
}

/// Sessions in a database, for brokers that restart: a consumption is on disk before the evidence is looked at, so that a crash after it burns the challenge and
/// never releases twice.
///
/// Brokers of one process may share the file.
pub struct RedbChallengeStore {
    database: Arc<Database>,
    limit: u64,
}

impl RedbChallengeStore {
    /// Uses the tables `hanzo-kbs/v1/sessions`, `hanzo-kbs/v1/ends` and `hanzo-kbs/v1/clock` of a file, made at the first use, for at most `limit` sessions.
    ///
    /// # Errors
    ///
    /// [`KbsError::StoreUnavailable`].
    pub fn new(file: &RedbFile, limit: u64) -> Result<Self, KbsError> {
        write(&file.0, |transaction| {
            transaction.open_table(SESSIONS)?;
            transaction.open_table(ENDS)?;
            transaction.open_table(CLOCK)?;
            Ok(())
        })?;
        Ok(Self { database: Arc::clone(&file.0), limit })
    }
}

impl ChallengeStore for RedbChallengeStore {
    fn insert(&mut self, now: UnixTime, session: Session) -> Result<(), KbsError> {
        let id = session.challenge.session();
        let mut bytes = Vec::new();
        put_lp32(&mut bytes, &session.request.to_bytes());
        put_lp32(&mut bytes, &session.challenge.to_bytes());
        let inserted = write(&self.database, |transaction| {
            advance(transaction, now)?;
            let mut sessions = transaction.open_table(SESSIONS)?;
            let mut ends = transaction.open_table(ENDS)?;
            loop {
                let first = ends.first()?.map(|(end, _)| (end.value().0, *end.value().1));
                let Some((end, ended)) = first.filter(|(end, _)| *end <= now.as_seconds()) else {
                    break;
                };
                ends.remove((end, &ended))?;
                sessions.remove(&ended)?;
            }
            if sessions.len()? >= self.limit || sessions.get(id.as_bytes())?.is_some() {
                return Ok(false);
            }
            sessions.insert(id.as_bytes(), &bytes[..])?;
            ends.insert((session.challenge.expires_at().as_seconds(), id.as_bytes()), ())?;
            Ok(true)
        })?;
        if inserted { Ok(()) } else { Err(KbsError::Busy) }
    }

    fn take(&mut self, now: UnixTime, session: SessionId) -> Result<Taken, KbsError> {
        let look = || -> Fallible<_> {
            let table = self.database.begin_read()?.open_table(SESSIONS)?;
            Ok(table.get(session.as_bytes())?.map(|bytes| bytes.value().is_empty()))
        };
        // Whoever sends made-up sessions costs no write.
        match look().map_err(|Fault| KbsError::StoreUnavailable)? {
            None => return Ok(Taken::Unknown),
            Some(true) => return Ok(Taken::Consumed),
            Some(false) => {}
        }
        let found = write(&self.database, |transaction| {
            let mut sessions = transaction.open_table(SESSIONS)?;
            let found = sessions.get(session.as_bytes())?.map(|bytes| bytes.value().to_vec());
            if found.as_ref().is_some_and(|bytes| !bytes.is_empty()) {
                advance(transaction, now)?;
                // Nothing is left of a consumed session but its id.
                sessions.insert(session.as_bytes(), &[][..])?;
            }
            Ok(found)
        })?;
        match found.as_deref() {
            None => Ok(Taken::Unknown),
            Some([]) => Ok(Taken::Consumed),
            Some(bytes) => read_session(bytes).map(Taken::Live).map_err(|_| KbsError::StoreUnavailable),
        }
    }

    fn latest(&self) -> Result<UnixTime, KbsError> {
        let read = || -> Fallible<_> {
            let table = self.database.begin_read()?.open_table(CLOCK)?;
            Ok(table.get(())?.map_or(0, |seconds| seconds.value()))
        };
        read().map(UnixTime::from_seconds).map_err(|Fault| KbsError::StoreUnavailable)
    }
}

/// Moves the clock on, never back.
fn advance(transaction: &redb::WriteTransaction, now: UnixTime) -> Fallible<()> {
    let mut clock = transaction.open_table(CLOCK)?;
    let latest = clock.get(())?.map_or(0, |seconds| seconds.value());
    if now.as_seconds() > latest {
        clock.insert((), now.as_seconds())?;
    }
    Ok(())
}

fn read_session(bytes: &[u8]) -> FormatResult<Session> {
    let mut reader = Reader::new("session", bytes);
    let request = Request::from_bytes(reader.lp32("request", 8192)?)?;
    let challenge = Challenge::from_bytes(reader.lp32("challenge", 8192)?)?;
    reader.finish()?;
    Ok(Session { request, challenge })
}

/// One transaction, committed to disk; nothing of it stays where `change` fails.
fn write<T>(database: &Database, change: impl FnOnce(&redb::WriteTransaction) -> Fallible<T>) -> Result<T, KbsError> {
    let run = || {
        let transaction = database.begin_write()?;
        let value = change(&transaction)?;
        transaction.commit()?;
        Ok(value)
    };
    run().map_err(|Fault| KbsError::StoreUnavailable)
}

/// Any of the many errors of `redb`.
struct Fault;

type Fallible<T> = Result<T, Fault>;

impl<E: Into<redb::Error>> From<E> for Fault {
    fn from(_: E) -> Self {
        Self
    }
}

impl fmt::Debug for RedbFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RedbFile")
    }
}

impl fmt::Debug for RedbTable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RedbTable")
    }
}

impl fmt::Debug for RedbChallengeStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedbChallengeStore").field("limit", &self.limit).finish_non_exhaustive()
    }
}

const KEYS: TableDefinition<'_, &[u8], &[u8]> = TableDefinition::new("hanzo-kbs/v1/keys");
const SESSIONS: TableDefinition<'_, &[u8; 16], &[u8]> = TableDefinition::new("hanzo-kbs/v1/sessions");
const ENDS: TableDefinition<'_, (u64, &[u8; 16]), ()> = TableDefinition::new("hanzo-kbs/v1/ends");
const CLOCK: TableDefinition<'_, (), u64> = TableDefinition::new("hanzo-kbs/v1/clock");
