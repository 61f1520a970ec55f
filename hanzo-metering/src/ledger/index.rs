use super::record::Record;
use alloc::vec::Vec;
use core::hash::BuildHasher;
use foldhash::fast::FixedState;
use hashbrown::HashTable;

/// Map from transfer ids to what became of them: an index into the journal, or into the list of refused ids.
/// Four bytes an id beside the record itself.
#[derive(Debug, Clone)]
pub(super) struct IdIndex {
    table: HashTable<u32>,
    refused: Vec<u128>,
    state: FixedState,
}

/// What is known of a transfer id.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Known {
    Record(u32),
    Refused,
}

impl IdIndex {
    pub(super) fn new(state: FixedState) -> Self {
        Self { table: HashTable::new(), refused: Vec::new(), state }
    }

    pub(super) fn get(&self, records: &[Record], id: u128) -> Option<Known> {
        let slot = *self.table.find(self.state.hash_one(id), |&slot| id_at(records, &self.refused, slot) == id)?;
        Some(if slot & REFUSED == 0 { Known::Record(slot) } else { Known::Refused })
    }

    /// Notes the last record; its id must be new.
    pub(super) fn push_record(&mut self, records: &[Record]) {
        if let Some(last) = records.last() {
            self.insert(records, last.id, records.len() as u32 - 1);
        }
    }

    /// Notes a refused id, which must be new.
    pub(super) fn push_refused(&mut self, records: &[Record], id: u128) {
        if self.refused.len() < MAX_RECORDS {
            self.refused.push(id);
            self.insert(records, id, (self.refused.len() as u32 - 1) | REFUSED);
        }
    }

    /// Forgets the last record before it is popped.
    pub(super) fn remove_last(&mut self, records: &[Record]) {
        let Some(last) = records.last() else { return };
        let at = records.len() as u32 - 1;
        if let Ok(entry) = self.table.find_entry(self.state.hash_one(last.id), |&slot| slot == at) {
            entry.remove();
        }
    }

    fn insert(&mut self, records: &[Record], id: u128, slot: u32) {
        let Self { table, refused, state } = self;
        table.insert_unique(state.hash_one(id), slot, |&slot| state.hash_one(id_at(records, refused, slot)));
    }
}

fn id_at(records: &[Record], refused: &[u128], slot: u32) -> u128 {
    let index = (slot & !REFUSED) as usize;
    // Slots are only made for entries that exist; 0 is no valid id, so an impossible miss matches nothing.
    if slot & REFUSED == 0 { records.get(index).map_or(0, |r| r.id) } else { refused.get(index).copied().unwrap_or(0) }
}

const REFUSED: u32 = 1 << 31;
/// Most records, and most refused ids, that a slot can number.
pub(super) const MAX_RECORDS: usize = REFUSED as usize;
