//! The certificates that are held, and the order in which a checkpoint settles what they certify.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;

use super::certificate::Certificate;
use super::vertex::Vertex;
use crate::checkpoint::{Hash, Leaf};
use crate::committee::Committee;

#[derive(Debug, Clone)]
pub(super) struct Held {
    pub(super) certificate: Certificate,
    pub(super) vertex: Vertex,
    pub(super) certified: Vec<u32>,
    /// Whether a later certificate stands on it.
    pub(super) covered: bool,
    settled: bool,
}

/// Certificates with their vertices, each with all it stands on down to the floor.
#[derive(Debug, Clone, Default)]
pub struct Dag {
    held: BTreeMap<Hash, Held>,
    rounds: BTreeMap<u64, BTreeMap<u32, Vec<Hash>>>,
    /// Stake of the authors of each round, and the last round in which that is a quorum.
    stakes: BTreeMap<u64, u64>,
    full: u64,
    /// Number of those that are not settled and certify something.
    open: usize,
    /// Rounds up to this are settled and forgotten.
    floor: u64,
}

impl Dag {
    /// The last round of which nothing is needed any more.
    #[must_use]
    pub const fn floor(&self) -> u64 {
        self.floor
    }

    /// Number of certificates.
    #[must_use]
    pub fn len(&self) -> usize {
        self.held.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.held.is_empty()
    }

    /// A certificate with its vertex.
    #[must_use]
    pub fn get(&self, id: &Hash) -> Option<(&Certificate, &Vertex)> {
        self.held.get(id).map(|held| (&held.certificate, &held.vertex))
    }

    pub(super) fn held(&self, id: &Hash) -> Option<&Held> {
        self.held.get(id)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&Hash, &Held)> {
        self.held.iter()
    }

    /// The first certificate of each author in a round.
    pub fn round(&self, round: u64) -> impl Iterator<Item = (u32, Hash)> {
        let authors = self.rounds.get(&round).into_iter().flatten();
        authors.filter_map(|(author, ids)| Some((*author, *ids.first()?)))
    }

    /// Stake of the authors that have a certificate in a round above the [floor](Self::floor).
    #[must_use]
    pub fn stake(&self, round: u64) -> u64 {
        self.stakes.get(&round).copied().unwrap_or(0)
    }

    /// The last round with certificates of a quorum, at least the [floor](Self::floor); 0 for none.
    #[must_use]
    pub const fn last_full_round(&self) -> u64 {
        if self.full > self.floor { self.full } else { self.floor }
    }

    /// Whether an author has a certificate in a round.
    #[must_use]
    pub fn has(&self, round: u64, author: u32) -> bool {
        self.rounds.get(&round).is_some_and(|authors| authors.contains_key(&author))
    }

    /// The parents of a vertex that are not held; none where they would be below the floor.
    pub(super) fn missing<'v>(&self, vertex: &'v Vertex) -> impl Iterator<Item = &'v Hash> + use<'_, 'v> {
        vertex.parents().iter().filter(|parent| self.lacks(vertex, parent))
    }

    /// Whether a parent of a vertex is not held and needed.
    pub(super) fn lacks(&self, vertex: &Vertex, parent: &Hash) -> bool {
        vertex.round() > self.floor.saturating_add(1) && !self.held.contains_key(parent)
    }

    /// Whether the parents, all held, are of the round before, one an author, with a quorum of stake.
    pub(super) fn parents_fit(&self, committee: &Committee, vertex: &Vertex) -> bool {
        if vertex.round() <= self.floor.saturating_add(1) {
            return true;
        }
        let mut seen = alloc::vec![false; committee.len()];
        let mut stake = 0;
        for parent in vertex.parents() {
            let Some(held) = self.held.get(parent) else { return false };
            let author = held.certificate.author;
            let Some(seen) = seen.get_mut(author as usize) else { return false };
            if held.certificate.round + 1 != vertex.round() || core::mem::replace(seen, true) {
                return false;
            }
            stake += committee.stake(author);
        }
        vertex.round() == 1 || committee.quorum().is_reached(stake)
    }

    /// Takes a certificate whose parents are held.
    pub(super) fn insert(&mut self, committee: &Committee, id: Hash, certificate: Certificate, vertex: Vertex) {
        if self.held.contains_key(&id) {
            return;
        }
        let certified = certificate.certified(committee, vertex.txs().len());
        let (round, author) = (certificate.round, certificate.author);
        let of_author = self.rounds.entry(round).or_default().entry(author).or_default();
        if of_author.is_empty() {
            let stake = self.stakes.entry(round).or_default();
            *stake += committee.stake(author);
            if committee.quorum().is_reached(*stake) {
                self.full = self.full.max(round);
            }
        }
        of_author.push(id);
        self.open += usize::from(!certified.is_empty());
        self.held.insert(id, Held { certificate, vertex, certified, covered: false, settled: false });
    }

    /// Marks what a new certificate stands on, and returns what it is the first to stand on.
    pub(super) fn cover(&mut self, id: &Hash) -> Vec<Hash> {
        let mut newly = Vec::new();
        let mut next = alloc::vec![*id];
        while let Some(id) = next.pop() {
            let Some(held) = self.held.get(&id) else { continue };
            let is_new = |parent: &&Hash| self.held.get(*parent).is_some_and(|held| !held.covered);
            // Nearly all of them are covered by the certificate that came first.
            let parents: Vec<Hash> = held.vertex.parents().iter().filter(is_new).copied().collect();
            for parent in parents {
                if let Some(held) = self.held.get_mut(&parent).filter(|held| !held.covered) {
                    held.covered = true;
                    newly.push(parent);
                    next.push(parent);
                }
            }
        }
        newly
    }

    /// Certificates that the given ones stand on, in rounds from `lowest` on, and that are not settled; the given ones, however low,
    /// included. The lower bound, and that what is settled is looked through, make what it certifies the same for all, whatever they
    /// have forgotten or know settled only from others.
    ///
    /// # Errors
    /// Ids that are neither held nor settled long ago.
    pub fn history(&self, from: &[Hash], lowest: u64) -> Result<BTreeSet<Hash>, Vec<Hash>> {
        let mut history = BTreeSet::new();
        let mut seen = BTreeSet::new();
        let mut missing = Vec::new();
        let mut next: Vec<Hash> = from.to_vec();
        while let Some(id) = next.pop() {
            let Some(held) = self.held.get(&id) else {
                missing.push(id);
                continue;
            };
            if !seen.insert(id) {
                continue;
            }
            if !held.settled {
                history.insert(id);
            }
            if held.certificate.round > lowest {
                next.extend_from_slice(held.vertex.parents());
            }
        }
        if missing.is_empty() { Ok(history) } else { Err(missing) }
    }

    /// The certified transactions of some certificates that `settled` does not name, in the order in which they settle:
    /// round, author, place in the vertex; one that appears twice, where it appears first.
    pub fn leaves(&self, of: &BTreeSet<Hash>, settled: impl Fn(&Hash) -> bool) -> Vec<Leaf> {
        let mut leaves = Vec::new();
        for held in of.iter().filter_map(|id| self.held.get(id)) {
            let (round, author) = (held.certificate.round, held.certificate.author);
            for &index in &held.certified {
                if let Some(&tx) = held.vertex.tx_ids().get(index as usize).filter(|tx| !settled(tx)) {
                    leaves.push(Leaf { round, author, index, tx });
                }
            }
        }
        leaves.sort_unstable();
        let mut seen = BTreeSet::new();
        leaves.retain(|leaf| seen.insert(leaf.tx));
        leaves
    }

    pub(super) fn settle(&mut self, ids: &BTreeSet<Hash>) {
        for id in ids {
            if let Some(held) = self.held.get_mut(id) {
                self.open -= usize::from(!held.settled && !held.certified.is_empty());
                held.settled = true;
            }
        }
    }

    /// Covered certificates up to a round that are neither settled nor in `history`.
    #[must_use]
    pub fn late(&self, up_to: u64, history: &BTreeSet<Hash>) -> Vec<Hash> {
        let late = self.held.iter().filter(|(id, held)| {
            held.covered && !held.settled && held.certificate.round <= up_to && !history.contains(*id)
        });
        late.map(|(id, _)| *id).collect()
    }

    /// Ids of all certificates that are not settled and certify something.
    #[must_use]
    pub fn unsettled(&self) -> Vec<Hash> {
        self.held.iter().filter(|(_, held)| !held.settled && !held.certified.is_empty()).map(|(id, _)| *id).collect()
    }

    /// Whether a transaction is certified and not settled.
    #[must_use]
    pub const fn has_work(&self) -> bool {
        self.open > 0
    }

    /// Forgets settled certificates up to a round, and others that nothing stands on.
    pub(super) fn forget(&mut self, up_to: u64) {
        self.floor = self.floor.max(up_to);
        let floor = self.floor;
        self.held.retain(|_, held| held.certificate.round > floor || !held.settled && !held.certified.is_empty());
        self.stakes.retain(|round, _| *round > floor);
        let held = &self.held;
        self.rounds.retain(|round, authors| {
            if *round <= floor {
                authors.retain(|_, ids| {
                    ids.retain(|id| held.contains_key(id));
                    !ids.is_empty()
                });
            }
            !authors.is_empty()
        });
    }
}
