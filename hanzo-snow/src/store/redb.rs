//! Blocks, tip and entries in a file of `redb`.

use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use std::path::Path;

use redb::{Database, Durability, ReadOnlyTable, ReadableDatabase, ReadableTable, TableDefinition};

use super::{BlockStore, Entry, EntryKind, Record};
use crate::block::BlockRef;

/// Id: parent 32 | height u64 | bytes.
const BLOCKS: TableDefinition<'_, &[u8], &[u8]> = TableDefinition::new("blocks");
/// Kind u8 | number u64 | id 32: bytes.
const ENTRIES: TableDefinition<'_, &[u8], &[u8]> = TableDefinition::new("entries");
/// "tip": id | parent | height.
const META: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("meta");

const ID: usize = 32;

/// Keeps everything in a file of redb, each append with one durable commit. Ids are of 32 bytes.
///
/// Every append is durable when it returns, so `sync` has nothing left to do: put the records of all waiting persist
/// outputs into one append, which is one commit.
///
/// ```
/// use hanzo_snow::{Block, BlockRef, BlockStore, Record, RedbStore};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let folder = std::env::temp_dir().join(format!("hanzo-snow-doc-{}", std::process::id()));
/// std::fs::create_dir_all(&folder)?;
/// let header = BlockRef { id: [1_u8; 32], parent: [0; 32], height: 1 };
/// let mut store = RedbStore::open(folder.join("chain.redb"))?;
/// store.append(&[Record::Block(Block { header, bytes: (*b"payload").into() }), Record::Tip(header)])?;
/// drop(store);
/// let store = RedbStore::open(folder.join("chain.redb"))?;
/// assert_eq!(store.get(&[1; 32])?.as_deref(), Some(&b"payload"[..]));
/// assert_eq!(store.tip()?, Some(header));
/// # drop(store);
/// # std::fs::remove_dir_all(folder)?;
/// # Ok(())
/// # }
/// ```
pub struct RedbStore {
    database: Database,
    /// The blocks as of the last commit, so that a read opens nothing. Not there while something is written: pages that a
    /// reader holds are not used again.
    blocks: Option<Blocks>,
}

type Blocks = ReadOnlyTable<&'static [u8], &'static [u8]>;

impl core::fmt::Debug for RedbStore {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("RedbStore").field("database", &self.database).finish_non_exhaustive()
    }
}

/// Why a [`RedbStore`] failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RedbStoreError {
    /// The database failed; what it says is for people.
    #[error("store: {message}")]
    Database {
        /// What the database says.
        message: String,
    },
    /// A row is not what this crate writes.
    #[error("malformed row in table {table}")]
    Malformed {
        /// The table.
        table: &'static str,
    },
}

fn failed(error: impl core::fmt::Display) -> RedbStoreError {
    RedbStoreError::Database { message: alloc::format!("{error}") }
}

type Result<T> = core::result::Result<T, RedbStoreError>;

impl RedbStore {
    /// Opens a file, or makes it in a folder that is there. One process at a time may have it open.
    ///
    /// # Errors
    /// [`RedbStoreError::Database`] where the file is no store, or open elsewhere, or cannot be made.
    pub fn open(path: impl AsRef<Path>) -> Result<Self> {
        let database = Database::create(path).map_err(failed)?;
        let write = database.begin_write().map_err(failed)?;
        write.open_table(BLOCKS).map_err(failed)?;
        write.open_table(ENTRIES).map_err(failed)?;
        write.open_table(META).map_err(failed)?;
        write.commit().map_err(failed)?;
        let mut store = Self { database, blocks: None };
        store.blocks = Some(store.open_blocks()?);
        Ok(store)
    }

    fn open_blocks(&self) -> Result<Blocks> {
        self.database.begin_read().map_err(failed)?.open_table(BLOCKS).map_err(failed)
    }

    fn change(
        &mut self,
        change: impl FnOnce(&redb::WriteTransaction) -> core::result::Result<bool, RedbStoreError>,
    ) -> Result<bool> {
        self.blocks = None;
        let mut write = self.database.begin_write().map_err(failed)?;
        write.set_durability(Durability::Immediate).map_err(failed)?;
        let changed = change(&write)?;
        if changed {
            write.commit().map_err(failed)?;
        } else {
            write.abort().map_err(failed)?;
        }
        // What is written is written: a failure here only leaves each read to open the table.
        self.blocks = self.open_blocks().ok();
        Ok(changed)
    }
}

fn entry_key(kind: u8, number: u64, id: &[u8; ID]) -> [u8; 41] {
    let mut key = [0; 41];
    key[0] = kind;
    key[1..9].copy_from_slice(&number.to_be_bytes());
    key[9..].copy_from_slice(id);
    key
}

fn array<const N: usize>(bytes: &[u8], at: usize, table: &'static str) -> Result<[u8; N]> {
    let part = bytes.get(at..).and_then(|rest| rest.first_chunk::<N>());
    part.copied().ok_or(RedbStoreError::Malformed { table })
}

fn tip_row(tip: &BlockRef<[u8; ID]>) -> [u8; 72] {
    let mut row = [0; 72];
    row[..32].copy_from_slice(&tip.id);
    row[32..64].copy_from_slice(&tip.parent);
    row[64..].copy_from_slice(&tip.height.to_be_bytes());
    row
}

fn read_tip(row: &[u8]) -> Result<BlockRef<[u8; ID]>> {
    let height = u64::from_be_bytes(array(row, 64, "meta")?);
    Ok(BlockRef { id: array(row, 0, "meta")?, parent: array(row, 32, "meta")?, height })
}

impl BlockStore<[u8; ID]> for RedbStore {
    type Error = RedbStoreError;
    type Bytes<'a> = Vec<u8>;

    fn get(&self, id: &[u8; ID]) -> Result<Option<Vec<u8>>> {
        let opened;
        let blocks = match &self.blocks {
            Some(blocks) => blocks,
            None => {
                opened = self.open_blocks()?;
                &opened
            }
        };
        let Some(row) = blocks.get(&id[..]).map_err(failed)? else { return Ok(None) };
        let bytes = row.value().get(40..).ok_or(RedbStoreError::Malformed { table: "blocks" })?;
        Ok(Some(bytes.to_vec()))
    }

    fn tip(&self) -> Result<Option<BlockRef<[u8; ID]>>> {
        let read = self.database.begin_read().map_err(failed)?;
        let meta = read.open_table(META).map_err(failed)?;
        let row = meta.get("tip").map_err(failed)?;
        row.map(|row| read_tip(row.value())).transpose()
    }

    fn append(&mut self, records: &[Record<[u8; ID]>]) -> Result<()> {
        if records.is_empty() {
            return Ok(());
        }
        self.change(|write| {
            let mut blocks = write.open_table(BLOCKS).map_err(failed)?;
            let mut entries = write.open_table(ENTRIES).map_err(failed)?;
            let mut meta = write.open_table(META).map_err(failed)?;
            for record in records {
                match record {
                    Record::Block(block) => {
                        let key = &block.header.id[..];
                        if blocks.get(key).map_err(failed)?.is_none() {
                            let mut row = Vec::with_capacity(40 + block.bytes.len());
                            row.extend_from_slice(&block.header.parent);
                            row.extend_from_slice(&block.header.height.to_be_bytes());
                            row.extend_from_slice(&block.bytes);
                            blocks.insert(key, &row[..]).map_err(failed)?;
                        }
                    }
                    Record::Tip(tip) => {
                        meta.insert("tip", &tip_row(tip)[..]).map_err(failed)?;
                    }
                    Record::Entry(entry) => {
                        let key = entry_key(entry.kind as u8, entry.number, &entry.id);
                        entries.insert(&key[..], &entry.bytes[..]).map_err(failed)?;
                    }
                    Record::Forget { kind, below } => {
                        let first = entry_key(*kind as u8, 0, &[0; ID]);
                        let end = entry_key(*kind as u8, *below, &[0; ID]);
                        entries.retain_in(&first[..]..&end[..], |_, _| false).map_err(failed)?;
                    }
                }
            }
            Ok(true)
        })?;
        Ok(())
    }

    fn compare_and_set_tip(&mut self, old: Option<[u8; ID]>, new: BlockRef<[u8; ID]>) -> Result<bool> {
        self.change(|write| {
            let mut meta = write.open_table(META).map_err(failed)?;
            let now = meta.get("tip").map_err(failed)?.map(|row| read_tip(row.value())).transpose()?;
            let is_old = now.map(|tip| tip.id) == old;
            if is_old {
                meta.insert("tip", &tip_row(&new)[..]).map_err(failed)?;
            }
            Ok(is_old)
        })
    }

    fn entries(&self) -> Result<Vec<Entry>> {
        let read = self.database.begin_read().map_err(failed)?;
        let entries = read.open_table(ENTRIES).map_err(failed)?;
        let mut found = Vec::new();
        for row in entries.iter().map_err(failed)? {
            let (key, value) = row.map_err(failed)?;
            let (key, table) = (key.value(), "entries");
            let [kind] = array(key, 0, table)?;
            let kind = EntryKind::ALL.into_iter().find(|known| *known as u8 == kind);
            found.push(Entry {
                kind: kind.ok_or(RedbStoreError::Malformed { table })?,
                number: u64::from_be_bytes(array(key, 1, table)?),
                id: array(key, 9, table)?,
                bytes: Arc::from(value.value()),
            });
        }
        Ok(found)
    }

    fn sync(&mut self) -> Result<()> {
        Ok(())
    }
}
