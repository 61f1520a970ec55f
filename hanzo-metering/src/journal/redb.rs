use super::{Frame, JournalStore};
use alloc::boxed::Box;
use alloc::vec::Vec;
use redb::{Database, ReadableDatabase, TableDefinition, TableError};
use std::path::Path;

/// A journal in a [`redb`] file: a commit that was acknowledged is on disk.
///
/// Two tables: commits by the number of their first frame, and the last snapshot. Commits are kept for ever.
///
/// ```no_run
/// use hanzo_metering::{Journaled, Ledger, RedbStore};
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let (ledger, _) = Journaled::recover(Ledger::new(), RedbStore::open("ledger.redb")?)?;
/// # Ok(()) }
/// ```
#[derive(Debug)]
pub struct RedbStore {
    database: Database,
}

/// What could not be done with the file, and why.
#[derive(Debug, thiserror::Error)]
#[error("store could not {action}: {source}")]
pub struct RedbError {
    action: &'static str,
    source: Box<dyn core::error::Error + Send + Sync>,
}

impl RedbStore {
    /// Opens a file, or makes it.
    ///
    /// # Errors
    /// Where the file cannot be opened, or is no store.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, RedbError> {
        Ok(Self { database: Database::create(path).map_err(failed("open"))? })
    }
}

impl JournalStore for RedbStore {
    type Error = RedbError;

    fn append(&mut self, commit: &[u8]) -> Result<(), RedbError> {
        let (first, _) = Frame::decode(commit).map_err(failed("read a commit"))?;
        let write = self.database.begin_write().map_err(failed("write"))?;
        {
            let mut table = write.open_table(COMMITS).map_err(failed("write"))?;
            table.insert(first.seq, commit).map_err(failed("write"))?;
        }
        write.commit().map_err(failed("commit"))
    }

    fn read_from(&self, seq: u64) -> Result<Vec<u8>, RedbError> {
        let read = self.database.begin_read().map_err(failed("read"))?;
        let table = match read.open_table(COMMITS) {
            Err(TableError::TableDoesNotExist(_)) => return Ok(Vec::new()),
            table => table.map_err(failed("read"))?,
        };
        let mut bytes = Vec::new();
        for entry in table.range(seq..).map_err(failed("read"))? {
            bytes.extend_from_slice(entry.map_err(failed("read"))?.1.value());
        }
        Ok(bytes)
    }

    fn truncate(&mut self, seq: u64) -> Result<(), RedbError> {
        let write = self.database.begin_write().map_err(failed("write"))?;
        {
            let mut table = write.open_table(COMMITS).map_err(failed("write"))?;
            table.retain_in(seq.., |_, _| false).map_err(failed("write"))?;
        }
        write.commit().map_err(failed("commit"))
    }

    fn put_snapshot(&mut self, snapshot: &[u8]) -> Result<(), RedbError> {
        let write = self.database.begin_write().map_err(failed("write"))?;
        {
            let mut table = write.open_table(SNAPSHOT).map_err(failed("write"))?;
            table.insert((), snapshot).map_err(failed("write"))?;
        }
        write.commit().map_err(failed("commit"))
    }

    fn latest_snapshot(&self) -> Result<Option<Vec<u8>>, RedbError> {
        let read = self.database.begin_read().map_err(failed("read"))?;
        let table = match read.open_table(SNAPSHOT) {
            Err(TableError::TableDoesNotExist(_)) => return Ok(None),
            table => table.map_err(failed("read"))?,
        };
        let snapshot = table.get(()).map_err(failed("read"))?;
        Ok(snapshot.map(|bytes| bytes.value().to_vec()))
    }
}

fn failed<E: core::error::Error + Send + Sync + 'static>(action: &'static str) -> impl Fn(E) -> RedbError {
    move |source| RedbError { action, source: Box::new(source) }
}

const COMMITS: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("commits");
const SNAPSHOT: TableDefinition<'_, (), &[u8]> = TableDefinition::new("snapshot");
