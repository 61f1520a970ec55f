use super::LedgerError;
use super::record::Record;
use alloc::vec::Vec;
use core::hash::BuildHasher;
use foldhash::fast::FixedState;
use hashbrown::{HashMap, HashTable};

/// How the ids of a ledger's transfers are made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum IdMode {
    /// Any number, each used once.
    #[default]
    Any,
    /// A source, below 2^63, in the upper half and a sequence number in the lower: 1, 2, 3.. without gaps for each
    /// source. No hash table of ids is kept, so transfers are faster and smaller. All else is as with `Any`.
    ///
    /// Where a chain is refused only the id of the refused leg is used up; the ids of the legs before it are still to be
    /// used, in any order, while the source goes on counting.
    Sequenced,
}

/// Map from transfer ids to what became of them.
#[derive(Debug, Clone)]
pub(super) enum IdIndex {
    Any(Table),
    Sequenced(Sequences),
}

/// What is known of a transfer id.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Known {
    Record(u32),
    Refused,
}

impl IdIndex {
    pub(super) fn new(mode: IdMode, state: FixedState) -> Self {
        match mode {
            IdMode::Any => Self::Any(Table { table: HashTable::new(), refused: Vec::new(), state }),
            IdMode::Sequenced => {
                let of = HashMap::with_hasher(state);
                Self::Sequenced(Sequences { of, sources: Vec::new(), last: 0 })
            }
        }
    }

    pub(super) const fn mode(&self) -> IdMode {
        match self {
            Self::Any(_) => IdMode::Any,
            Self::Sequenced(_) => IdMode::Sequenced,
        }
    }

    /// What became of an id.
    ///
    /// # Errors
    /// With sequenced ids `SourceRange` and `SequenceGap`.
    pub(super) fn get(&mut self, records: &[Record], id: u128) -> Result<Option<Known>, LedgerError> {
        match self {
            Self::Any(table) => Ok(table.get(records, id)),
            Self::Sequenced(sequences) => sequences.next(id),
        }
    }

    /// The same without an error: an id that was never used is not known.
    pub(super) fn peek(&self, records: &[Record], id: u128) -> Option<Known> {
        match self {
            Self::Any(table) => table.get(records, id),
            Self::Sequenced(sequences) => sequences.peek(id),
        }
    }

    /// Notes the last record; its id must be new.
    pub(super) fn push_record(&mut self, records: &[Record]) {
        let Some(last) = records.last() else { return };
        let at = records.len() as u32 - 1;
        match self {
            Self::Any(table) => table.insert(records, last.id, at),
            Self::Sequenced(sequences) => sequences.set(last.id, at),
        }
    }

    /// Notes a refused id, which must be new.
    pub(super) fn push_refused(&mut self, records: &[Record], id: u128) {
        match self {
            Self::Any(table) => table.push_refused(records, id),
            Self::Sequenced(sequences) => sequences.set(id, REFUSED),
        }
    }

    /// Whether an id can come next, or was left out by a chain that was refused; always so with arbitrary ids.
    pub(super) fn in_reach(&self, id: u128) -> bool {
        match self {
            Self::Any(_) => true,
            Self::Sequenced(sequences) => sequences.in_reach(id),
        }
    }

    /// Fills an empty index; `None` where an id stands twice or out of reach.
    pub(super) fn fill(&mut self, records: &[Record], refused: &[u128]) -> Option<()> {
        let known = (0..).zip(records).map(|(at, r)| (r.id, at));
        let mut ids: Vec<(u128, u32)> = known.chain(refused.iter().map(|&id| (id, REFUSED))).collect();
        ids.sort_unstable();
        for (id, slot) in ids {
            if id == 0 || !self.in_reach(id) || self.peek(records, id).is_some() {
                return None;
            }
            match (&mut *self, slot) {
                (Self::Any(table), REFUSED) => table.push_refused(records, id),
                (Self::Any(table), at) => table.insert(records, id, at),
                (Self::Sequenced(sequences), slot) => sequences.set(id, slot),
            }
        }
        Some(())
    }

    /// Forgets the last record before it is popped.
    pub(super) fn remove_last(&mut self, records: &[Record]) {
        let Some(last) = records.last() else { return };
        match self {
            Self::Any(table) => table.remove(last.id, records.len() as u32 - 1),
            Self::Sequenced(sequences) => sequences.unset(last.id),
        }
    }

    /// The refused ids, by rising number.
    pub(super) fn refused(&self) -> Vec<u128> {
        let mut refused = match self {
            Self::Any(table) => table.refused.clone(),
            Self::Sequenced(sequences) => sequences.refused(),
        };
        refused.sort_unstable();
        refused
    }
}

/// A hash table of 4 bytes an id beside the record itself.
#[derive(Debug, Clone)]
pub(super) struct Table {
    table: HashTable<u32>,
    refused: Vec<u128>,
    state: FixedState,
}

impl Table {
    fn get(&self, records: &[Record], id: u128) -> Option<Known> {
        let slot = *self.table.find(self.state.hash_one(id), |&slot| id_at(records, &self.refused, slot) == id)?;
        Some(if slot & REFUSED == 0 { Known::Record(slot) } else { Known::Refused })
    }

    fn push_refused(&mut self, records: &[Record], id: u128) {
        if self.refused.len() < MAX_RECORDS {
            self.refused.push(id);
            self.insert(records, id, (self.refused.len() as u32 - 1) | REFUSED);
        }
    }

    fn remove(&mut self, id: u128, at: u32) {
        if let Ok(entry) = self.table.find_entry(self.state.hash_one(id), |&slot| slot == at) {
            entry.remove();
        }
    }

    fn insert(&mut self, records: &[Record], id: u128, slot: u32) {
        let Self { table, refused, state } = self;
        table.insert_unique(state.hash_one(id), slot, |&slot| state.hash_one(id_at(records, refused, slot)));
    }
}

/// One dense table a source: entry `n - 1` is the record of sequence number `n`, `REFUSED` or `UNUSED`.
#[derive(Debug, Clone)]
pub(super) struct Sequences {
    of: HashMap<u64, u32, FixedState>,
    sources: Vec<(u64, Vec<u32>)>,
    /// The source looked up last, which is often the next.
    last: usize,
}

impl Sequences {
    fn next(&mut self, id: u128) -> Result<Option<Known>, LedgerError> {
        let (source, seq) = parts(id);
        if source >= 1 << 63 {
            return Err(LedgerError::SourceRange);
        }
        let table = match self.find(source) {
            Some(at) => {
                self.last = at;
                &self.sources[at].1
            }
            None if seq == 1 => return Ok(None),
            None => return Err(LedgerError::SequenceGap { expected: 1 }),
        };
        // A table holds at most 2^32 entries.
        let high = table.len() as u64;
        match seq.checked_sub(1).filter(|&at| at <= high) {
            Some(at) => Ok(table.get(at as usize).and_then(|&slot| known(slot))),
            None => Err(LedgerError::SequenceGap { expected: high + 1 }),
        }
    }

    /// A refused chain leaves out less than its length.
    fn in_reach(&self, id: u128) -> bool {
        let (source, seq) = parts(id);
        let high = self.find(source).map_or(0, |at| self.sources[at].1.len() as u64);
        source < 1 << 63 && seq > 0 && seq <= (high + super::Ledger::MAX_CHAIN as u64).min(MAX_RECORDS as u64)
    }

    fn peek(&self, id: u128) -> Option<Known> {
        let (source, seq) = parts(id);
        let table = &self.sources[self.find(source)?].1;
        known(*table.get(usize::try_from(seq.checked_sub(1)?).ok()?)?)
    }

    fn find(&self, source: u64) -> Option<usize> {
        if self.sources.get(self.last).is_some_and(|s| s.0 == source) {
            return Some(self.last);
        }
        self.of.get(&source).map(|&at| at as usize)
    }

    fn set(&mut self, id: u128, slot: u32) {
        let (source, seq) = parts(id);
        let at = self.find(source).unwrap_or_else(|| {
            self.of.insert(source, self.sources.len() as u32);
            self.sources.push((source, Vec::new()));
            self.sources.len() - 1
        });
        let table = &mut self.sources[at].1;
        let place = (seq - 1) as usize;
        // The sequence number was checked, so it is at most one past the end, or further where a chain was undone.
        if place >= table.len() {
            table.resize(place, UNUSED);
            table.push(slot);
        } else {
            table[place] = slot;
        }
    }

    fn unset(&mut self, id: u128) {
        let (source, seq) = parts(id);
        let Some(at) = self.find(source) else { return };
        let table = &mut self.sources[at].1;
        if seq == table.len() as u64 {
            table.pop();
        } else if let Some(slot) = table.get_mut((seq - 1) as usize) {
            *slot = UNUSED;
        }
    }

    fn refused(&self) -> Vec<u128> {
        let of = |(source, table): &(u64, Vec<u32>)| {
            let source = u128::from(*source) << 64;
            let refused = (1u128..).zip(table).filter(|&(_, &slot)| slot == REFUSED);
            refused.map(move |(seq, _)| source | seq).collect::<Vec<_>>()
        };
        self.sources.iter().flat_map(of).collect()
    }
}

fn parts(id: u128) -> (u64, u64) {
    ((id >> 64) as u64, id as u64)
}

fn known(slot: u32) -> Option<Known> {
    match slot {
        UNUSED => None,
        REFUSED => Some(Known::Refused),
        at => Some(Known::Record(at)),
    }
}

fn id_at(records: &[Record], refused: &[u128], slot: u32) -> u128 {
    let index = (slot & !REFUSED) as usize;
    // Slots are only made for entries that exist; 0 is no valid id, so an impossible miss matches nothing.
    if slot & REFUSED == 0 { records.get(index).map_or(0, |r| r.id) } else { refused.get(index).copied().unwrap_or(0) }
}

const REFUSED: u32 = 1 << 31;
const UNUSED: u32 = u32::MAX;
/// Most records, and most refused ids, that a slot can number.
pub(super) const MAX_RECORDS: usize = REFUSED as usize;
