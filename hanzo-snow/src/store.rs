//! What a node must not forget.

use alloc::collections::BTreeMap;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::convert::Infallible;

use crate::block::BlockRef;

/// A block with its bytes, which consensus never reads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Block<Id> {
    /// Its place in the chain.
    pub header: BlockRef<Id>,
    /// Its bytes, shared rather than copied.
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
}

/// Keeps accepted blocks and the tip.
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

    /// Moves the tip if it is `old`; whether it was.
    ///
    /// # Errors
    /// The store's own; the tip stays.
    fn compare_and_set_tip(&mut self, old: Option<Id>, new: BlockRef<Id>) -> Result<bool, Self::Error>;

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
}

impl<Id> Default for MemoryStore<Id> {
    fn default() -> Self {
        Self { blocks: BTreeMap::new(), tip: None }
    }
}

impl<Id: Copy + Ord> MemoryStore<Id> {
    /// An accepted block with its place.
    #[must_use]
    pub fn block(&self, id: &Id) -> Option<&Block<Id>> {
        self.blocks.get(id)
    }

    /// The accepted blocks from just above `height` to the tip, lowest first, as far as they are there.
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

    fn sync(&mut self) -> Result<(), Infallible> {
        Ok(())
    }
}
