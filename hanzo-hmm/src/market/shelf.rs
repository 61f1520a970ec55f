//! Many small records of one size by name, with little beside them.

use std::hash::{BuildHasher, RandomState};

/// Records that are added and overwritten, never removed. Beside record and name one costs some 16 to 32 bytes.
///
/// Hashing is keyed afresh in every process, so that chosen names cannot slow it down; nothing that can be seen depends on the key.
#[derive(Debug)]
pub(crate) struct Shelf {
    size: usize,
    per_block: usize,
    /// So many records each: growing moves none of them.
    blocks: Vec<Box<[u8]>>,
    names: Vec<u8>,
    /// Where each name ends.
    ends: Vec<u64>,
    /// Open addressing: a number of a record and 1 more, or 0; a power of two of places.
    index: Vec<u32>,
    hasher: RandomState,
}

impl Shelf {
    /// Of records of `size` bytes.
    pub(crate) fn new(size: usize) -> Self {
        Self {
            size,
            per_block: (BLOCK_BYTES / size.max(1)).clamp(1, 256),
            blocks: Vec::new(),
            names: Vec::new(),
            ends: Vec::new(),
            index: vec![0; 16],
            hasher: RandomState::new(),
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.ends.len()
    }

    pub(crate) fn get(&self, name: &str) -> Option<&[u8]> {
        Some(self.record(self.index[self.seek(name)].checked_sub(1)? as usize))
    }

    /// All records with their names, in the order in which they were added.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&str, &[u8])> {
        let named = (0..self.len()).filter_map(|record| Some((record, std::str::from_utf8(self.name(record)).ok()?)));
        named.map(|(record, name)| (name, self.record(record)))
    }

    fn record(&self, record: usize) -> &[u8] {
        let at = record % self.per_block * self.size;
        &self.blocks[record / self.per_block][at..at + self.size]
    }

    /// The record of this name, new ones zeroed.
    pub(crate) fn place(&mut self, name: &str) -> &mut [u8] {
        let mut place = self.seek(name);
        if self.index[place] == 0 {
            if 4 * (self.ends.len() + 1) > 3 * self.index.len() {
                self.index = vec![0; 2 * self.index.len()];
                for record in 0..self.ends.len() {
                    let free = self.free(self.hasher.hash_one(self.name(record)));
                    self.index[free] = record as u32 + 1;
                }
                place = self.seek(name);
            }
            if self.ends.len().is_multiple_of(self.per_block) {
                self.blocks.push(vec![0; self.per_block * self.size].into());
            }
            self.names.extend(name.as_bytes());
            self.ends.push(self.names.len() as u64);
            self.index[place] = self.ends.len() as u32;
        }
        let record = self.index[place] as usize - 1;
        let at = record % self.per_block * self.size;
        &mut self.blocks[record / self.per_block][at..at + self.size]
    }

    fn name(&self, record: usize) -> &[u8] {
        let start = if record == 0 { 0 } else { self.ends[record - 1] as usize };
        &self.names[start..self.ends[record] as usize]
    }

    /// The place of a name in the index, or the free one where it would go.
    fn seek(&self, name: &str) -> usize {
        let mask = self.index.len() - 1;
        let mut place = self.hasher.hash_one(name.as_bytes()) as usize & mask;
        while self.index[place] != 0 && self.name(self.index[place] as usize - 1) != name.as_bytes() {
            place = (place + 1) & mask;
        }
        place
    }

    fn free(&self, hash: u64) -> usize {
        let mask = self.index.len() - 1;
        let mut place = hash as usize & mask;
        while self.index[place] != 0 {
            place = (place + 1) & mask;
        }
        place
    }
}

/// A block is no larger, unless one record is.
const BLOCK_BYTES: usize = 1 << 17;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn large_records_take_little_more_than_themselves() {
        let mut shelf = Shelf::new(BLOCK_BYTES + 1);
        for name in ["a", "b"] {
            shelf.place(name)[BLOCK_BYTES] = name.as_bytes()[0];
        }
        assert_eq!(shelf.blocks.iter().map(|b| b.len()).sum::<usize>(), 2 * (BLOCK_BYTES + 1));
        assert_eq!(shelf.get("b").map(|r| r[BLOCK_BYTES]), Some(b'b'));
    }

    #[test]
    fn every_name_keeps_its_record() {
        let mut shelf = Shelf::new(4);
        assert!(shelf.get("").is_none());
        for i in 0..3_000u32 {
            shelf.place(&format!("tenant {}", i % 1_000)).copy_from_slice(&i.to_le_bytes());
        }
        shelf.place("").copy_from_slice(&[9; 4]);
        assert_eq!(shelf.len(), 1_001);
        assert_eq!(shelf.iter().nth(7), Some(("tenant 7", &2_007u32.to_le_bytes()[..])));
        assert_eq!(shelf.iter().count(), 1_001);
        for i in 0..1_000u32 {
            assert_eq!(shelf.get(&format!("tenant {i}")), Some(&(i + 2_000).to_le_bytes()[..]));
        }
        assert_eq!((shelf.get(""), shelf.get("tenant 1000")), (Some(&[9; 4][..]), None));
    }
}
