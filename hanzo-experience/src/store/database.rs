use std::path::Path;

use redb::{Database, ReadableDatabase, ReadableTable, TableDefinition, TableError};

use super::{Change, Store, StoreError};
use crate::crdt::Record;
use crate::{Content, Entry, Error, ExperienceId, Result, Snapshot};

/// A redb database: a change costs as much as what it changes, in one transaction. redb itself keeps a second process
/// out.
#[derive(Debug)]
pub struct RedbStore {
    database: Database,
}

/// Failure of a redb database.
#[derive(Debug, thiserror::Error)]
#[error("redb: {0}")]
pub struct RedbError(redb::Error);

impl RedbError {
    fn of(error: impl Into<redb::Error>) -> Self {
        Self(error.into())
    }
}

impl RedbStore {
    /// The database at a path, made if there is none.
    ///
    /// # Errors
    /// Those of redb, such as another process that has the file.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, RedbError> {
        Database::create(path).map(|database| Self { database }).map_err(RedbError::of)
    }

    fn read(&self) -> Result<Option<Kept>, RedbError> {
        let transaction = self.database.begin_read().map_err(RedbError::of)?;
        let meta = match transaction.open_table(META) {
            Err(TableError::TableDoesNotExist(_)) => return Ok(None),
            table => table.map_err(RedbError::of)?,
        };
        let origin = meta.get(ORIGIN).map_err(RedbError::of)?.map(|origin| origin.value().to_vec());
        let mut kept = Kept { origin: origin.unwrap_or_default(), ..Kept::default() };
        for item in transaction.open_table(CONTENTS).map_err(RedbError::of)?.iter().map_err(RedbError::of)? {
            let (id, bytes) = item.map_err(RedbError::of)?;
            kept.contents.push((*id.value(), bytes.value().to_vec()));
        }
        for item in transaction.open_table(ENTRIES).map_err(RedbError::of)?.iter().map_err(RedbError::of)? {
            let (index, bytes) = item.map_err(RedbError::of)?;
            kept.entries.push((index.value(), bytes.value().to_vec()));
        }
        for item in transaction.open_table(RECORDS).map_err(RedbError::of)?.iter().map_err(RedbError::of)? {
            kept.records.push(item.map_err(RedbError::of)?.1.value().to_vec());
        }
        Ok(Some(kept))
    }

    fn write(&self, change: &Change<'_>) -> Result<(), redb::Error> {
        // Synchronised at commit, by default.
        let transaction = self.database.begin_write()?;
        {
            let origin = change.after().config().origin().as_str().as_bytes();
            transaction.open_table(META)?.insert(ORIGIN, origin)?;
            let mut contents = transaction.open_table(CONTENTS)?;
            for content in change.contents() {
                contents.insert(content.id().as_bytes(), content.to_canonical().as_slice())?;
            }
            let mut entries = transaction.open_table(ENTRIES)?;
            let (first, new) = change.entries();
            for (index, entry) in (first..).zip(new) {
                entries.insert(index, entry.to_canonical().as_slice())?;
            }
            let mut records = transaction.open_table(RECORDS)?;
            for record in change.records() {
                records.insert(record.id().as_bytes(), record.to_canonical().as_slice())?;
            }
        }
        transaction.commit()?;
        Ok(())
    }
}

impl Store for RedbStore {
    type Error = RedbError;

    fn load(&mut self) -> Result<Option<Snapshot>, StoreError<RedbError>> {
        match self.read().map_err(StoreError::Store)? {
            Some(kept) => Ok(Some(kept.check()?)),
            None => Ok(None),
        }
    }

    fn commit(&mut self, change: &Change<'_>) -> Result<(), RedbError> {
        self.write(change).map_err(RedbError)
    }
}

/// What the tables hold.
#[derive(Default)]
struct Kept {
    origin: Vec<u8>,
    contents: Vec<([u8; 32], Vec<u8>)>,
    entries: Vec<(u64, Vec<u8>)>,
    records: Vec<Vec<u8>>,
}

impl Kept {
    fn check(self) -> Result<Snapshot> {
        let origin = String::from_utf8(self.origin).map_err(|_| Error::WrongOrigin)?.parse()?;
        let content = |(id, bytes): ([u8; 32], Vec<u8>)| {
            let (id, content) = (ExperienceId::from_bytes(id), Content::from_canonical(&bytes)?);
            if content.id() == id { Ok((id, content)) } else { Err(Error::UnknownId { id }) }
        };
        let contents = self.contents.into_iter().map(content).collect::<Result<_>>()?;
        let entry = |(expected, (index, bytes)): (u64, (u64, Vec<u8>))| match index == expected {
            true => Entry::from_canonical(&bytes),
            false => Err(Error::IndexOutOfRange { index, size: expected }),
        };
        let entries = (0..).zip(self.entries).map(entry).collect::<Result<_>>()?;
        let records = self.records.iter().map(|bytes| Record::from_canonical(bytes)).collect::<Result<_>>()?;
        Snapshot::of_parts(origin, contents, entries, records)
    }
}

const META: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("meta");
const ORIGIN: &str = "origin";
const CONTENTS: TableDefinition<'_, &[u8; 32], &[u8]> = TableDefinition::new("contents");
const ENTRIES: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("entries");
const RECORDS: TableDefinition<'_, &[u8; 32], &[u8]> = TableDefinition::new("records");
