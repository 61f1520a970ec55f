//! The readings a meter keeps: by key, and of each kind by time.

use super::Value;
use crate::Timestamp;
use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::vec::Vec;
use core::hash::BuildHasher;
use foldhash::fast::FixedState;
use hashbrown::HashTable;

/// Readings by source and id. Each has a place that it keeps.
#[derive(Debug, Clone)]
pub(super) struct Readings {
    places: Vec<Kept>,
    free: Vec<u32>,
    /// Hashes beside the places, so that a table that grows looks at nothing else.
    by_key: HashTable<(u32, u32)>,
    state: FixedState,
}

/// A reading, or one that was forgotten and whose place is free.
#[derive(Debug, Clone)]
pub(super) struct Kept {
    pub(super) key: Key,
    pub(super) at: Timestamp,
    pub(super) value: Value,
}

/// What to insert under a key that is not known.
#[derive(Debug, Clone, Copy)]
pub(super) struct Vacant<'a> {
    hash: u32,
    source: &'a [u8],
    id: &'a [u8],
}

impl Readings {
    pub(super) const fn new() -> Self {
        Self { places: Vec::new(), free: Vec::new(), by_key: HashTable::new(), state: FixedState::with_seed(0) }
    }

    pub(super) fn len(&self) -> usize {
        self.by_key.len()
    }

    /// The reading of a key, or what it takes to insert one.
    pub(super) fn find<'a>(&self, source: &'a [u8], id: &'a [u8]) -> Result<&Kept, Vacant<'a>> {
        let hash = self.hash(source, id);
        let same = |&(other, place): &_| other == hash && self.places[place as usize].key.parts() == (source, id);
        match self.by_key.find(spread(hash), same) {
            Some(&(_, place)) => Ok(&self.places[place as usize]),
            None => Err(Vacant { hash, source, id }),
        }
    }

    /// Keeps a reading and gives its place.
    pub(super) fn insert(&mut self, vacant: Vacant<'_>, at: Timestamp, value: Value) -> u32 {
        let kept = Kept { key: Key::new(vacant.source, vacant.id), at, value };
        let place = match self.free.pop() {
            Some(place) => {
                self.places[place as usize] = kept;
                place
            }
            None => {
                self.places.push(kept);
                self.places.len() as u32 - 1
            }
        };
        self.by_key.insert_unique(spread(vacant.hash), (vacant.hash, place), |&(hash, _)| spread(hash));
        place
    }

    /// Forgets the reading at a place.
    pub(super) fn remove(&mut self, place: u32) {
        let (source, id) = self.places[place as usize].key.parts();
        let hash = self.hash(source, id);
        if let Ok(entry) = self.by_key.find_entry(spread(hash), |&other| other == (hash, place)) {
            entry.remove();
            self.free.push(place);
        }
    }

    /// All readings, in no order.
    pub(super) fn iter(&self) -> impl Iterator<Item = &Kept> {
        self.by_key.iter().map(|&(_, place)| &self.places[place as usize])
    }

    /// Half of a hash is enough to tell 2^16 keys apart mostly.
    fn hash(&self, source: &[u8], id: &[u8]) -> u32 {
        self.state.hash_one((source, id)) as u32
    }
}

/// A table takes its slots from the low bits of a hash and its tags from the high ones.
const fn spread(hash: u32) -> u64 {
    (hash as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15)
}

/// Source and id of a reading, in place where they are short.
#[derive(Debug, Clone)]
pub(super) enum Key {
    Short { source: u8, len: u8, bytes: [u8; SHORT] },
    Long { source: usize, bytes: Box<[u8]> },
}

/// A number, or a UUID of 16 bytes and the name of its source.
const SHORT: usize = 29;

impl Key {
    fn new(source: &[u8], id: &[u8]) -> Self {
        let len = source.len().saturating_add(id.len());
        let mut bytes = [0; SHORT];
        match bytes.get_mut(..len) {
            Some(used) => {
                let (head, tail) = used.split_at_mut(source.len());
                head.copy_from_slice(source);
                tail.copy_from_slice(id);
                Self::Short { source: source.len() as u8, len: len as u8, bytes }
            }
            None => Self::Long { source: source.len(), bytes: [source, id].concat().into() },
        }
    }

    /// Source and id.
    pub(super) fn parts(&self) -> (&[u8], &[u8]) {
        match self {
            Self::Short { source, len, bytes } => bytes[..usize::from(*len)].split_at((*source).into()),
            Self::Long { source, bytes } => bytes.split_at(*source),
        }
    }
}

/// Values by (time, source, id), in chunks of at most [`CHUNK`]: what comes in order is appended, what is late moves one chunk.
#[derive(Debug, Clone)]
pub(super) struct Series<V> {
    /// All but the last chunk; none is empty.
    full: VecDeque<Vec<Point<V>>>,
    /// The last chunk, at hand because most values go there; empty in an empty series alone.
    tail: Vec<Point<V>>,
}

#[derive(Debug, Clone, Copy)]
pub(super) struct Point<V> {
    pub(super) at: u64,
    place: u32,
    pub(super) value: V,
}

const CHUNK: usize = 256;

impl<V: Copy> Series<V> {
    pub(super) const fn new() -> Self {
        Self { full: VecDeque::new(), tail: Vec::new() }
    }

    /// Inserts the value of a reading that was just kept.
    pub(super) fn insert(&mut self, readings: &Readings, place: u32, at: Timestamp, value: V) {
        let point = Point { at: at.as_nanos(), place, value };
        if self.tail.last().is_none_or(|last| last.at < point.at) {
            if self.tail.len() >= CHUNK {
                self.full.push_back(core::mem::take(&mut self.tail));
            }
            self.tail.push(point);
            return;
        }
        let key = |place: u32| readings.places[place as usize].key.parts();
        let precedes =
            |other: &Point<V>| other.at < point.at || other.at == point.at && key(other.place) < key(point.place);
        let at = self.full.partition_point(|chunk| chunk.last().is_some_and(precedes));
        let chunk = self.full.get_mut(at).unwrap_or(&mut self.tail);
        let within = chunk.partition_point(precedes);
        chunk.insert(within, point);
        if chunk.len() > CHUNK {
            let after = chunk.split_off(CHUNK / 2);
            if at < self.full.len() {
                self.full.insert(at + 1, after);
            } else {
                self.full.push_back(core::mem::replace(&mut self.tail, after));
            }
        }
    }

    /// The last value before `from`, and those from then on.
    pub(super) fn split_at(&self, from: u64) -> (Option<&Point<V>>, impl Iterator<Item = &Point<V>>) {
        let at = self.full.partition_point(|chunk| chunk.last().is_some_and(|last| last.at < from));
        let chunk = self.full.get(at).unwrap_or(&self.tail);
        let (before, after) = chunk.split_at(chunk.partition_point(|point| point.at < from));
        let earlier = || self.full.get(at.checked_sub(1)?)?.last();
        let rest = self.full.range(self.full.len().min(at + 1)..).flatten();
        let tail: &[_] = if at < self.full.len() { &self.tail } else { &[] };
        (before.last().or_else(earlier), after.iter().chain(rest).chain(tail))
    }

    /// Drops what lies before `from` but the last, calling `each` with the places.
    pub(super) fn forget_before(&mut self, from: u64, mut each: impl FnMut(u32)) {
        while !self.full.is_empty()
            && self.full.get(1).unwrap_or(&self.tail).first().is_some_and(|point| point.at < from)
        {
            for point in self.full.pop_front().into_iter().flatten() {
                each(point.place);
            }
        }
        let chunk = self.full.front_mut().unwrap_or(&mut self.tail);
        let before = chunk.partition_point(|point| point.at < from);
        for point in chunk.drain(..before.saturating_sub(1)) {
            each(point.place);
        }
    }

    /// The earliest time there is a value for.
    pub(super) fn first(&self) -> Option<Timestamp> {
        Some(Timestamp::from_nanos(self.full.front().unwrap_or(&self.tail).first()?.at))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::collections::BTreeMap;
    use proptest::prelude::*;

    #[test]
    fn keys_are_pairs_at_every_length() {
        let text = [7; 80];
        let mut keys = Vec::new();
        for source in 0..40 {
            for id in 0..40 {
                let key = Key::new(&text[..source], &text[..id]);
                assert_eq!(key.parts(), (&text[..source], &text[..id]));
                keys.push(key);
            }
        }
        // The same bytes cut elsewhere are another key.
        let mut readings = Readings::new();
        for key in &keys {
            let (source, id) = key.parts();
            let vacant = readings.find(source, id).unwrap_err();
            readings.insert(vacant, Timestamp::ZERO, Value::CpuTime(0));
        }
        assert_eq!(readings.len(), keys.len());
    }

    proptest! {
        #[test]
        fn a_series_is_a_sorted_map(
            points in proptest::collection::vec((0u64..60, 0u8..60), 1..1_200),
            from in 0u64..61,
        ) {
            let (mut readings, mut series, mut map) = (Readings::new(), Series::new(), BTreeMap::new());
            for (n, (at, key)) in points.into_iter().enumerate() {
                let (source, id) = ([key], [at as u8]);
                let Err(vacant) = readings.find(&source, &id) else { continue };
                let time = Timestamp::from_nanos(at);
                let place = readings.insert(vacant, time, Value::CpuTime(n as u64));
                series.insert(&readings, place, time, n);
                map.insert((at, key), n);
            }
            let check = |series: &Series<usize>, map: &BTreeMap<(u64, u8), usize>| {
                let (before, after) = series.split_at(from);
                let expected = map.range(..(from, 0)).next_back().map(|(_, n)| *n);
                prop_assert_eq!(before.map(|point| point.value), expected);
                let after: Vec<usize> = after.map(|point| point.value).collect();
                let expected: Vec<usize> = map.range((from, 0)..).map(|(_, n)| *n).collect();
                prop_assert_eq!(after, expected);
                let chunks = series.full.iter().chain([&series.tail]);
                prop_assert!(map.is_empty() || chunks.clone().all(|chunk| (1..=CHUNK).contains(&chunk.len())));
                Ok(())
            };
            check(&series, &map)?;
            let total = readings.len();
            series.forget_before(from, |place| readings.remove(place));
            if let Some(last) = map.range(..(from, 0)).next_back().map(|(key, _)| *key) {
                map = map.split_off(&last);
            }
            check(&series, &map)?;
            prop_assert_eq!(readings.len(), map.len());
            prop_assert_eq!(readings.free.len(), total - map.len());
            prop_assert_eq!(series.first().map(Timestamp::as_nanos), map.keys().next().map(|key| key.0));
        }
    }
}
