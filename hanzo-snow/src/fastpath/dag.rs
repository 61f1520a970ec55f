//! The certificates that are held, and the order in which a checkpoint settles what they certify.

use alloc::boxed::Box;
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;

use hashbrown::{HashMap, HashSet};

use super::certificate::Certificate;
use super::vertex::{Tx, Vertex};
use crate::checkpoint::{Hash, Leaf};
use crate::committee::Committee;

/// Ids are hashes of what others write: the index is keyed.
type Hasher = foldhash::fast::SeedableRandomState;

/// The place of a certificate that is held, until it is forgotten.
type Slot = u32;

#[derive(Debug, Clone)]
pub(super) struct Held {
    id: Hash,
    /// Slots of the parents, to be read only above the round after the floor: below, they may be others' by now.
    parents: Box<[Slot]>,
    pub(super) certificate: Certificate,
    pub(super) vertex: Vertex,
    pub(super) certified: Vec<u32>,
    /// Whether a later certificate stands on it.
    covered: bool,
    settled: bool,
}

/// The parents of a vertex, all held, of the round before, one an author, with a quorum of stake.
#[derive(Debug)]
pub(super) struct Parents(Box<[Slot]>);

/// Why a vertex has no [`Parents`] here.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum ParentsError {
    /// Parents that are not held.
    Missing(Vec<Hash>),
    /// They are not of the round before, two are of one author, or they are less than a quorum.
    Unfit,
}

/// Certificates with their vertices, each with all it stands on down to the floor.
#[derive(Debug, Clone)]
pub struct Dag {
    index: HashMap<Hash, Slot, Hasher>,
    slots: Vec<Option<Held>>,
    free: Vec<Slot>,
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
    pub(super) fn new(hasher: Hasher) -> Self {
        Self {
            index: HashMap::with_hasher(hasher),
            slots: Vec::new(),
            free: Vec::new(),
            rounds: BTreeMap::new(),
            stakes: BTreeMap::new(),
            full: 0,
            open: 0,
            floor: 0,
        }
    }

    /// The last round of which nothing is needed any more.
    #[must_use]
    pub const fn floor(&self) -> u64 {
        self.floor
    }

    /// Number of certificates.
    #[must_use]
    pub fn len(&self) -> usize {
        self.index.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.index.is_empty()
    }

    /// A certificate with its vertex.
    #[must_use]
    pub fn get(&self, id: &Hash) -> Option<(&Certificate, &Vertex)> {
        self.held(id).map(|held| (&held.certificate, &held.vertex))
    }

    pub(super) fn contains(&self, id: &Hash) -> bool {
        self.index.contains_key(id)
    }

    pub(super) fn held(&self, id: &Hash) -> Option<&Held> {
        self.at(*self.index.get(id)?)
    }

    fn at(&self, slot: Slot) -> Option<&Held> {
        self.slots.get(slot as usize)?.as_ref()
    }

    fn at_mut(&mut self, slot: Slot) -> Option<&mut Held> {
        self.slots.get_mut(slot as usize)?.as_mut()
    }

    /// All certificates, in no order.
    pub(super) fn iter(&self) -> impl Iterator<Item = &Held> {
        self.slots.iter().flatten()
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

    /// Whether the parents of a vertex of this round are needed: they are not where they would be below the floor.
    const fn needs_parents(&self, round: u64) -> bool {
        round > self.floor.saturating_add(1)
    }

    /// Whether a parent of a vertex is not held and needed.
    pub(super) fn lacks(&self, vertex: &Vertex, parent: &Hash) -> bool {
        self.needs_parents(vertex.round()) && !self.contains(parent)
    }

    /// The first parent of a vertex that is needed and not held.
    pub(super) fn first_missing(&self, vertex: &Vertex) -> Option<Hash> {
        vertex.parents().iter().find(|parent| self.lacks(vertex, parent)).copied()
    }

    /// Finds the parents of a vertex; none where they would be below the floor. O(parents).
    pub(super) fn parents(&self, committee: &Committee, vertex: &Vertex) -> Result<Parents, ParentsError> {
        if !self.needs_parents(vertex.round()) {
            return Ok(Parents(Box::default()));
        }
        let slots: Vec<Slot> = vertex.parents().iter().filter_map(|id| self.index.get(id).copied()).collect();
        if slots.len() < vertex.parents().len() {
            let missing = vertex.parents().iter().filter(|id| !self.contains(id));
            return Err(ParentsError::Missing(missing.copied().collect()));
        }
        let mut seen = alloc::vec![false; committee.len()];
        let mut stake = 0;
        for held in slots.iter().filter_map(|slot| self.at(*slot)) {
            let author = held.certificate.author;
            let seen = seen.get_mut(author as usize).ok_or(ParentsError::Unfit)?;
            if held.certificate.round + 1 != vertex.round() || core::mem::replace(seen, true) {
                return Err(ParentsError::Unfit);
            }
            stake += committee.stake(author);
        }
        let enough = vertex.round() == 1 || committee.quorum().is_reached(stake);
        if enough { Ok(Parents(slots.into())) } else { Err(ParentsError::Unfit) }
    }

    /// Takes a certificate with the parents of its vertex, found just now.
    pub(super) fn insert(
        &mut self,
        committee: &Committee,
        id: Hash,
        certificate: Certificate,
        vertex: Vertex,
        parents: Parents,
    ) {
        if self.contains(&id) {
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
        let held = Held { id, parents: parents.0, certificate, vertex, certified, covered: false, settled: false };
        let slot = match self.free.pop() {
            Some(slot) => {
                self.slots[slot as usize] = Some(held);
                slot
            }
            None => {
                self.slots.push(Some(held));
                self.slots.len() as Slot - 1
            }
        };
        self.index.insert(id, slot);
    }

    /// Marks what a new certificate stands on, and returns what it is the first to stand on.
    pub(super) fn cover(&mut self, id: &Hash) -> Vec<Hash> {
        let mut newly = Vec::new();
        let mut next: Vec<Slot> = self.index.get(id).copied().into_iter().collect();
        while let Some(slot) = next.pop() {
            let Some(held) = self.at(slot).filter(|held| self.needs_parents(held.certificate.round)) else { continue };
            // Nearly all of them are covered by the certificate that came first.
            let is_new = |slot: &Slot| self.at(*slot).is_some_and(|held| !held.covered);
            let parents: Vec<Slot> = held.parents.iter().copied().filter(is_new).collect();
            for slot in parents {
                if let Some(held) = self.at_mut(slot) {
                    held.covered = true;
                    newly.push(held.id);
                    next.push(slot);
                }
            }
        }
        newly
    }

    /// Certificates that the given ones stand on, in rounds from `lowest` on, and that are not settled; the given ones, however low,
    /// included. The lower bound, and that what is settled is looked through, make what it certifies the same for all, whatever they
    /// have forgotten or know settled only from others. O(certificates x parents).
    ///
    /// # Errors
    /// Ids that are neither held nor settled long ago.
    pub(crate) fn history(&self, from: &[Hash], lowest: u64) -> Result<BTreeSet<Hash>, Vec<Hash>> {
        let mut history = BTreeSet::new();
        let mut missing = Vec::new();
        let mut seen = alloc::vec![false; self.slots.len()];
        let mut next: Vec<Slot> = Vec::new();
        for id in from {
            match self.index.get(id) {
                Some(&slot) if !core::mem::replace(&mut seen[slot as usize], true) => next.push(slot),
                Some(_) => {}
                None => missing.push(*id),
            }
        }
        while let Some(held) = next.pop().and_then(|slot| self.at(slot)) {
            if !held.settled {
                history.insert(held.id);
            }
            if held.certificate.round <= lowest {
                continue;
            }
            if !self.needs_parents(held.certificate.round) {
                missing.extend_from_slice(held.vertex.parents());
                continue;
            }
            for &slot in &held.parents {
                if !core::mem::replace(&mut seen[slot as usize], true) {
                    next.push(slot);
                }
            }
        }
        if missing.is_empty() { Ok(history) } else { Err(missing) }
    }

    /// The certified transactions of some certificates that `settled` does not name, in the order in which they settle:
    /// round, author, place in the vertex; one that appears twice, where it appears first.
    pub(crate) fn leaves(&self, of: &BTreeSet<Hash>, settled: impl Fn(&Hash) -> bool) -> (Vec<Leaf>, Vec<Tx>) {
        let mut found: Vec<(Leaf, &Tx)> = Vec::new();
        for held in of.iter().filter_map(|id| self.held(id)) {
            let (round, author) = (held.certificate.round, held.certificate.author);
            for &index in &held.certified {
                let place = index as usize;
                if let (Some(&tx), Some(body)) = (held.vertex.tx_ids().get(place), held.vertex.txs().get(place))
                    && !settled(&tx)
                {
                    found.push((Leaf { round, author, index, tx }, body));
                }
            }
        }
        found.sort_unstable_by_key(|(leaf, _)| *leaf);
        let mut seen = HashSet::with_capacity_and_hasher(found.len(), self.index.hasher().clone());
        found.retain(|(leaf, _)| seen.insert(leaf.tx));
        found.into_iter().map(|(leaf, tx)| (leaf, tx.clone())).unzip()
    }

    pub(super) fn settle(&mut self, ids: &BTreeSet<Hash>) {
        for id in ids {
            if let Some(held) = self.index.get(id).and_then(|slot| self.slots.get_mut(*slot as usize)?.as_mut()) {
                self.open -= usize::from(!held.settled && !held.certified.is_empty());
                held.settled = true;
            }
        }
    }

    /// Certificates up to a round that are neither settled nor in `history`, and certify something, ascending: nobody may ever build on them, if
    /// their author is further from the others than a round takes.
    pub(crate) fn late(&self, up_to: u64, history: &BTreeSet<Hash>) -> Vec<Hash> {
        let is_late = |held: &&Held| {
            let is_open = !held.settled && !held.certified.is_empty();
            is_open && held.certificate.round <= up_to && !history.contains(&held.id)
        };
        let mut late: Vec<Hash> = self.iter().filter(is_late).map(|held| held.id).collect();
        late.sort_unstable();
        late
    }

    /// Ids of all certificates that are not settled and certify something, ascending.
    #[must_use]
    pub fn unsettled(&self) -> Vec<Hash> {
        let is_open = |held: &&Held| !held.settled && !held.certified.is_empty();
        let mut ids: Vec<Hash> = self.iter().filter(is_open).map(|held| held.id).collect();
        ids.sort_unstable();
        ids
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
        for (slot, place) in (0..).zip(&mut self.slots) {
            let forgotten =
                |held: &Held| held.certificate.round <= floor && (held.settled || held.certified.is_empty());
            if let Some(held) = place.take_if(|held| forgotten(held)) {
                self.index.remove(&held.id);
                self.free.push(slot);
            }
        }
        self.stakes.retain(|round, _| *round > floor);
        let index = &self.index;
        self.rounds.retain(|round, authors| {
            if *round <= floor {
                authors.retain(|_, ids| {
                    ids.retain(|id| index.contains_key(id));
                    !ids.is_empty()
                });
            }
            !authors.is_empty()
        });
    }
}
