//! What a node must not forget.

#[cfg(feature = "redb")]
mod redb;

use alloc::collections::BTreeMap;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::convert::Infallible;

#[cfg(feature = "redb")]
pub use redb::{RedbStore, RedbStoreError};

use crate::block::BlockRef;

/// A block with its bytes, which consensus never reads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Block<Id> {
    /// Its place in the chain.
    pub header: BlockRef<Id>,
    /// Its bytes, shared rather than copied. Let them contain the header: [`BlockStore::get`] gives the bytes alone.
    pub bytes: Arc<[u8]>,
}

/// One thing to keep.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Record<Id> {
    /// An accepted block.
    Block(Block<Id>),
    /// The last accepted block. Follows the blocks it stands on.
    Tip(BlockRef<Id>),
    /// What settlement or the fast path must remember; replaces an entry of the same key.
    Entry(Entry),
    /// Entries of a kind with a number below this are no longer needed.
    Forget {
        /// The kind.
        kind: EntryKind,
        /// The first number still needed.
        below: u64,
    },
}

/// What an [`Entry`] is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum EntryKind {
    /// Last vote, last timeout, highest certificate, committed height. One.
    VoteState = 3,
    /// A block of the settlement chain, by height.
    Settlement = 4,
    /// An acknowledged vertex with the acknowledgement, by round.
    Ack = 5,
    /// A certificate with its vertex, by round.
    Certificate = 6,
    /// A settled checkpoint with its leaves and transactions, by sequence; the id begins with the epoch.
    Checkpoint = 7,
    /// The validators of an epoch, by epoch.
    Committee = 8,
    /// What committed the close of an epoch: the blocks from it on and the certificate of the last, by epoch.
    Close = 9,
}

impl EntryKind {
    /// All kinds.
    pub const ALL: [Self; 7] = [
        Self::VoteState,
        Self::Settlement,
        Self::Ack,
        Self::Certificate,
        Self::Checkpoint,
        Self::Committee,
        Self::Close,
    ];
}

/// One thing that settlement or the fast path must remember, under the key kind | number | id.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Entry {
    /// Of what.
    pub kind: EntryKind,
    /// Height, round, sequence or epoch, as the kind says.
    pub number: u64,
    /// Id; zeros where there is one only.
    pub id: [u8; 32],
    /// What it says.
    pub bytes: Arc<[u8]>,
}

/// Keeps accepted blocks, the tip, and what settlement and the fast path must not forget.
///
/// Accepted blocks stay for ever; of the entries [`Record::Forget`] removes what is no longer needed. A node that runs an
/// [`Engine`](crate::Engine) begins again with [`tip`](Self::tip), a [`DualTrack`](crate::DualTrack) with
/// [`entries`](Self::entries).
///
/// # Guarantees
/// An `append` of several records is all or nothing, and once `sync` has returned `Ok` all earlier appends survive a loss
/// of power. Appending a block that is there changes nothing. Tell an [`Engine`](crate::Engine) that its records are
/// persisted only after `sync`.
pub trait BlockStore<Id> {
    /// Why an operation failed.
    type Error;
    /// The bytes of a block, borrowed or owned.
    type Bytes<'a>: AsRef<[u8]>
    where
        Self: 'a;

    /// The bytes of an accepted block.
    ///
    /// # Errors
    /// The store's own.
    fn get(&self, id: &Id) -> Result<Option<Self::Bytes<'_>>, Self::Error>;

    /// The last accepted block; `None` in an empty store.
    ///
    /// # Errors
    /// The store's own.
    fn tip(&self) -> Result<Option<BlockRef<Id>>, Self::Error>;

    /// Keeps the records, all or none.
    ///
    /// # Errors
    /// The store's own; nothing is kept.
    fn append(&mut self, records: &[Record<Id>]) -> Result<(), Self::Error>;

    /// Moves the tip if it is `old`; whether it was. For tools beside a node, such as one that brings it to a recent tip: the
    /// node itself moves the tip with [`Record::Tip`].
    ///
    /// # Errors
    /// The store's own; the tip stays.
    fn compare_and_set_tip(&mut self, old: Option<Id>, new: BlockRef<Id>) -> Result<bool, Self::Error>;

    /// All entries of settlement and fast path, ascending by key: what a node begins with again. O(all that was kept), and
    /// settled checkpoints and settlement blocks are kept for ever.
    ///
    /// # Errors
    /// The store's own.
    fn entries(&self) -> Result<Vec<Entry>, Self::Error>;

    /// Makes all appends durable.
    ///
    /// # Errors
    /// The store's own.
    fn sync(&mut self) -> Result<(), Self::Error>;
}

/// Keeps everything in memory, until the process ends.
///
/// ```
/// use hanzo_snow::{Block, BlockRef, BlockStore, MemoryStore, Record};
///
/// let header = BlockRef { id: [1_u8; 32], parent: [0; 32], height: 1 };
/// let mut store = MemoryStore::default();
/// store.append(&[Record::Block(Block { header, bytes: (*b"payload").into() }), Record::Tip(header)])?;
/// assert_eq!(store.get(&[1; 32])?, Some(&b"payload"[..]));
/// assert_eq!(store.tip()?, Some(header));
/// assert!(!store.compare_and_set_tip(None, header)?);
/// # Ok::<(), core::convert::Infallible>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MemoryStore<Id> {
    blocks: BTreeMap<Id, Block<Id>>,
    tip: Option<BlockRef<Id>>,
    entries: BTreeMap<(EntryKind, u64, [u8; 32]), Arc<[u8]>>,
}

impl<Id> Default for MemoryStore<Id> {
    fn default() -> Self {
        Self { blocks: BTreeMap::new(), tip: None, entries: BTreeMap::new() }
    }
}

impl<Id: Copy + Ord> MemoryStore<Id> {
    /// An accepted block with its place.
    #[must_use]
    pub fn block(&self, id: &Id) -> Option<&Block<Id>> {
        self.blocks.get(id)
    }

    /// An entry's bytes.
    #[must_use]
    pub fn entry(&self, kind: EntryKind, number: u64, id: &[u8; 32]) -> Option<&[u8]> {
        self.entries.get(&(kind, number, *id)).map(|bytes| &**bytes)
    }

    /// The accepted blocks from just above `height` to the tip, lowest first, as far as they are there. O(blocks found).
    #[must_use]
    pub fn above(&self, height: u64) -> Vec<&Block<Id>> {
        let mut found = Vec::new();
        let mut at = self.tip.map(|tip| tip.id);
        while let Some(block) = at.and_then(|id| self.blocks.get(&id)).filter(|block| block.header.height > height) {
            found.push(block);
            at = Some(block.header.parent);
        }
        found.reverse();
        found
    }
}

impl<Id: Copy + Ord> BlockStore<Id> for MemoryStore<Id> {
    type Error = Infallible;
    type Bytes<'a>
        = &'a [u8]
    where
        Id: 'a;

    fn get(&self, id: &Id) -> Result<Option<&[u8]>, Infallible> {
        Ok(self.blocks.get(id).map(|block| &*block.bytes))
    }

    fn tip(&self) -> Result<Option<BlockRef<Id>>, Infallible> {
        Ok(self.tip)
    }

    fn append(&mut self, records: &[Record<Id>]) -> Result<(), Infallible> {
        for record in records {
            match record {
                Record::Block(block) => {
                    self.blocks.entry(block.header.id).or_insert_with(|| block.clone());
                }
                Record::Tip(tip) => self.tip = Some(*tip),
                Record::Entry(entry) => {
                    self.entries.insert((entry.kind, entry.number, entry.id), entry.bytes.clone());
                }
                Record::Forget { kind, below } => {
                    let gone: Vec<_> = self
                        .entries
                        .range((*kind, 0, [0; 32])..(*kind, *below, [0; 32]))
                        .map(|(key, _)| *key)
                        .collect();
                    for key in gone {
                        self.entries.remove(&key);
                    }
                }
            }
        }
        Ok(())
    }

    fn compare_and_set_tip(&mut self, old: Option<Id>, new: BlockRef<Id>) -> Result<bool, Infallible> {
        let is_old = self.tip.map(|tip| tip.id) == old;
        if is_old {
            self.tip = Some(new);
        }
        Ok(is_old)
    }

    fn entries(&self) -> Result<Vec<Entry>, Infallible> {
        let mut found = Vec::with_capacity(self.entries.len());
        for (&(kind, number, id), bytes) in &self.entries {
            found.push(Entry { kind, number, id, bytes: bytes.clone() });
        }
        Ok(found)
    }

    fn sync(&mut self) -> Result<(), Infallible> {
        Ok(())
    }
}
