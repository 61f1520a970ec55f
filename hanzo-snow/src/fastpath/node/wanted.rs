//! Certificates that are asked for.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use core::time::Duration;

use crate::checkpoint::Hash;
use crate::engine::Timestamp;

#[derive(Debug, Clone)]
struct Want {
    /// A round that the certificate is not above.
    round: u64,
    /// Who named it.
    named_by: u32,
    at: Timestamp,
    next: u32,
    asked: u32,
}

/// Ids of certificates that are asked for, each first of the peer that named it, then of the others in turn, at most twice of each.
///
/// A bounded number is held in the name of each peer: who names what does not exist keeps nobody else from being heard.
#[derive(Debug, Clone, Default)]
pub(super) struct Wanted {
    wants: BTreeMap<Hash, Want>,
    named: BTreeMap<u32, usize>,
}

impl Wanted {
    pub(super) fn len(&self) -> usize {
        self.wants.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.wants.is_empty()
    }

    pub(super) fn contains(&self, id: &Hash) -> bool {
        self.wants.contains_key(id)
    }

    /// Wants a certificate of a round no higher than `round`, unless `limit` are wanted in the name of that peer already.
    pub(super) fn insert(&mut self, id: Hash, round: u64, named_by: u32, now: Timestamp, limit: usize) {
        let named = self.named.entry(named_by).or_default();
        if *named < limit && !self.wants.contains_key(&id) {
            *named += 1;
            self.wants.insert(id, Want { round, named_by, at: now, next: named_by, asked: 0 });
        }
    }

    pub(super) fn remove(&mut self, id: &Hash) {
        if let Some(want) = self.wants.remove(id) {
            self.release(want.named_by);
        }
    }

    fn release(&mut self, named_by: u32) {
        if let Some(named) = self.named.get_mut(&named_by) {
            *named -= 1;
        }
    }

    fn retain(&mut self, keep: impl Fn(&Want) -> bool) {
        let gone: Vec<Hash> = self.wants.iter().filter(|(_, want)| !keep(want)).map(|(id, _)| *id).collect();
        for id in gone {
            self.remove(&id);
        }
    }

    /// Forgets what is not above a round.
    pub(super) fn forget(&mut self, up_to: u64) {
        self.retain(|want| want.round > up_to);
    }

    /// When the next is to be asked for.
    pub(super) fn next_due(&self) -> Option<Timestamp> {
        self.wants.values().map(|want| want.at).min()
    }

    /// What is to be asked now, of whom among `n`; asked again after `again`, until everybody has been asked twice in vain.
    pub(super) fn due(
        &mut self,
        now: Timestamp,
        n: u32,
        own: Option<u32>,
        again: Duration,
    ) -> BTreeMap<u32, Vec<Hash>> {
        let mut asks: BTreeMap<u32, Vec<Hash>> = BTreeMap::new();
        for (id, want) in self.wants.iter_mut().filter(|(_, want)| want.at <= now) {
            if Some(want.next) == own {
                want.next = (want.next + 1) % n;
            }
            if Some(want.next) != own {
                asks.entry(want.next).or_default().push(*id);
            }
            want.next = (want.next + 1) % n;
            want.asked += 1;
            want.at = now.after(again);
        }
        self.retain(|want| want.asked <= 2 * n);
        asks
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: u64) -> Timestamp {
        Timestamp::from_nanos(millis * 1_000_000)
    }

    #[test]
    fn everybody_is_asked_in_turn_and_then_nobody() {
        let mut wanted = Wanted::default();
        wanted.insert([1; 32], 5, 2, at(0), 8);
        let second = Duration::from_secs(1);
        let asked: Vec<u32> = (0..20)
            .flat_map(|i| wanted.due(at(i * 1_000), 4, Some(0), second).into_keys().collect::<Vec<_>>())
            .collect();
        assert_eq!(asked, [2, 3, 1, 2, 3, 1, 2, 3, 1]);
        assert!(wanted.is_empty());
        assert!(wanted.due(at(60_000), 4, Some(0), second).is_empty());
    }

    #[test]
    fn nothing_is_asked_again_too_soon() {
        let mut wanted = Wanted::default();
        wanted.insert([1; 32], 5, 2, at(0), 8);
        assert_eq!(wanted.due(at(0), 4, None, Duration::from_secs(1)).len(), 1);
        assert!(wanted.due(at(999), 4, None, Duration::from_secs(1)).is_empty());
        assert_eq!(wanted.next_due(), Some(at(1_000)));
    }

    #[test]
    fn a_peer_that_names_much_keeps_nobody_from_being_heard() {
        let mut wanted = Wanted::default();
        for id in 0..100 {
            wanted.insert([id; 32], 5, 1, at(0), 8);
        }
        wanted.insert([200; 32], 5, 2, at(0), 8);
        assert_eq!(wanted.len(), 9);
        assert!(wanted.contains(&[200; 32]));
        wanted.remove(&[0; 32]);
        wanted.insert([201; 32], 6, 1, at(0), 8);
        assert!(wanted.contains(&[201; 32]), "there is room again");
        wanted.forget(5);
        assert_eq!(wanted.len(), 1);
        for id in 0..100 {
            wanted.insert([id; 32], 7, 1, at(0), 8);
        }
        assert_eq!(wanted.len(), 8, "what is forgotten makes room");
    }
}
