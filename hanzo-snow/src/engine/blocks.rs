//! Undecided blocks: those in the chain, and those that wait for their parent or for verification.

use alloc::collections::{BTreeMap, BTreeSet, VecDeque};
use alloc::vec::Vec;

use rand_core::Rng;

use super::Engine;
use super::messages::{Outcome, Output, Reason};
use crate::block::BlockId;
use crate::snowman::AddError;
use crate::store::Block;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// Its parent is not in the chain.
    Orphan,
    /// Given to the application.
    Verifying,
    Processing,
}

#[derive(Debug, Clone)]
struct Held<Id, N> {
    block: Block<Id>,
    /// Who brought it; nobody for an own one.
    from: Option<N>,
    state: State,
}

/// The undecided blocks of a node, and the last ones it has decided.
#[derive(Debug, Clone)]
pub(super) struct Blocks<Id, N> {
    held: BTreeMap<Id, Held<Id, N>>,
    /// Blocks that wait, by parent.
    above: BTreeMap<Id, BTreeSet<Id>>,
    /// Orphans, oldest first; some may be gone.
    orphans: VecDeque<Id>,
    waiting: usize,
    per_peer: BTreeMap<N, u32>,
    /// Ids decided lately, so that a vote for one is not taken for an unknown block.
    recent: BTreeSet<Id>,
    recent_order: VecDeque<Id>,
    limit: usize,
    /// Own blocks not yet sent to anybody.
    unsent: BTreeSet<Id>,
}

impl<Id: BlockId, N: Clone + Ord> Blocks<Id, N> {
    pub(super) const fn new(limit: usize) -> Self {
        Self {
            held: BTreeMap::new(),
            above: BTreeMap::new(),
            orphans: VecDeque::new(),
            waiting: 0,
            per_peer: BTreeMap::new(),
            recent: BTreeSet::new(),
            recent_order: VecDeque::new(),
            limit,
            unsent: BTreeSet::new(),
        }
    }

    pub(super) fn get(&self, id: &Id) -> Option<&Block<Id>> {
        self.held.get(id).map(|held| &held.block)
    }

    pub(super) fn is_recent(&self, id: &Id) -> bool {
        self.recent.contains(id)
    }

    pub(super) const fn waiting_len(&self) -> usize {
        self.waiting
    }

    fn has_room(&self, peer: &N, most: u32) -> bool {
        self.per_peer.get(peer).copied().unwrap_or(0) < most
    }

    fn insert(&mut self, block: Block<Id>, from: Option<N>, state: State) {
        if let Some(peer) = &from {
            *self.per_peer.entry(peer.clone()).or_insert(0) += 1;
        }
        let (id, parent) = (block.header.id, block.header.parent);
        if state != State::Processing {
            self.waiting += 1;
            self.above.entry(parent).or_default().insert(id);
        }
        if state == State::Orphan {
            self.orphans.push_back(id);
            // Entries of blocks that are gone make room first.
            if self.orphans.len() > 2 * self.limit {
                let held = &self.held;
                self.orphans.retain(|orphan| *orphan == id || held.contains_key(orphan));
            }
        }
        self.held.insert(id, Held { block, from, state });
    }

    pub(super) fn insert_processing(&mut self, block: Block<Id>, from: Option<N>) {
        self.insert(block, from, State::Processing);
    }

    fn set_state(&mut self, id: &Id, state: State) {
        let Some(held) = self.held.get_mut(id) else { return };
        held.state = state;
        if state == State::Processing {
            self.waiting -= 1;
            let parent = held.block.header.parent;
            self.unlink(&parent, id);
        }
    }

    fn unlink(&mut self, parent: &Id, id: &Id) {
        if let Some(siblings) = self.above.get_mut(parent) {
            siblings.remove(id);
            if siblings.is_empty() {
                self.above.remove(parent);
            }
        }
    }

    fn remove(&mut self, id: &Id) -> Option<Block<Id>> {
        let held = self.held.remove(id)?;
        if let Some(peer) = &held.from
            && let Some(count) = self.per_peer.get_mut(peer)
        {
            *count -= 1;
            if *count == 0 {
                self.per_peer.remove(peer);
            }
        }
        if held.state != State::Processing {
            self.waiting -= 1;
            self.unlink(&held.block.header.parent, id);
        }
        self.unsent.remove(id);
        Some(held.block)
    }

    /// Removes a block that waits; one in the chain stays.
    pub(super) fn forget_waiting(&mut self, id: &Id) -> Option<Block<Id>> {
        if self.held.get(id).is_some_and(|held| held.state != State::Processing) { self.remove(id) } else { None }
    }

    /// Removes a block because it is decided, and remembers that for a while.
    pub(super) fn decide(&mut self, id: &Id) -> Option<Block<Id>> {
        if self.recent.insert(*id) {
            self.recent_order.push_back(*id);
            if self.recent_order.len() > 2 * self.limit
                && let Some(oldest) = self.recent_order.pop_front()
            {
                self.recent.remove(&oldest);
            }
        }
        self.remove(id)
    }

    pub(super) fn is_unsent(&self, id: &Id) -> bool {
        self.unsent.contains(id)
    }

    /// The block if it is an own one not yet sent; asked once.
    pub(super) fn take_unsent(&mut self, id: &Id) -> Option<Block<Id>> {
        if self.unsent.remove(id) { self.get(id).cloned() } else { None }
    }

    /// Blocks that wait for this one.
    fn children(&self, id: &Id) -> Vec<Id> {
        self.above.get(id).map_or_else(Vec::new, |children| children.iter().copied().collect())
    }

    /// Blocks that wait at this height or below it.
    pub(super) fn waiting_up_to(&self, height: u64) -> Vec<Id> {
        if self.waiting == 0 {
            return Vec::new();
        }
        let waiting = self.held.iter().filter(|(_, held)| held.state != State::Processing);
        waiting.filter(|(_, held)| held.block.header.height <= height).map(|(id, _)| *id).collect()
    }

    /// The oldest orphan, of one peer or of all where there are too many.
    fn orphan_to_drop(&self, peer: &N, most: u32, coming: State) -> Option<Id> {
        let orphan = |id: &Id| self.held.get(id).filter(|held| held.state == State::Orphan);
        if !self.has_room(peer, most) {
            return self
                .orphans
                .iter()
                .copied()
                .find(|id| orphan(id).is_some_and(|held| held.from.as_ref() == Some(peer)));
        }
        let count = self.orphans.iter().filter(|id| orphan(id).is_some()).count();
        if coming != State::Orphan || count < self.limit {
            None
        } else {
            self.orphans.iter().copied().find(|id| orphan(id).is_some())
        }
    }
}

impl<Id: BlockId, N: Clone + Ord, R: Rng> Engine<Id, N, R> {
    /// Whether the block needs no fetching.
    pub(super) fn is_known(&self, id: &Id) -> bool {
        self.blocks.held.contains_key(id) || self.is_decidable(id)
    }

    /// Whether a vote for the block can be counted as it stands.
    pub(super) fn is_decidable(&self, id: &Id) -> bool {
        self.chain.is_processing(id) || self.chain.last_accepted().0 == *id || self.blocks.is_recent(id)
    }

    /// Asks for a block that a peer has named by itself. Such fetches leave half of the room to those for votes.
    pub(super) fn fetch_unasked(&mut self, id: Id, from: &N) {
        let most = u64::from(self.config.params.max_outstanding());
        if !self.is_known(&id) && (self.fetches.len() as u64) < most.div_ceil(2) {
            self.fetch(id, from);
        }
    }

    /// Asks for a block unless it is asked for; false if no more may be asked.
    pub(super) fn fetch(&mut self, id: Id, from: &N) -> bool {
        if self.fetches.contains_key(&id) {
            return true;
        }
        let of_peer = self.fetches.values().filter(|(other, _)| other == from).count();
        let full = self.fetches.len() as u64 >= u64::from(self.config.params.max_outstanding());
        if full || of_peer >= Self::BLOCKS_PER_PEER as usize || !self.connected.contains(from) {
            return false;
        }
        self.fetches.insert(id, (from.clone(), self.now.after(self.config.params.query_timeout())));
        self.outputs.push_back(Output::Fetch { from: from.clone(), id });
        true
    }

    pub(super) fn fetch_failed(&mut self, id: &Id) -> Outcome {
        if self.fetches.remove(id).is_none() {
            return Outcome::Ignored(Reason::Unexpected);
        }
        self.release_votes(id);
        // What stands on it cannot be verified; it may be fetched again when it is voted for.
        self.drop_waiting_above(id);
        Outcome::Taken
    }

    /// Drops the blocks that wait on this one, and theirs.
    pub(super) fn drop_waiting_above(&mut self, id: &Id) {
        let mut all = self.blocks.children(id);
        let mut seen: BTreeSet<Id> = all.iter().copied().collect();
        let mut at = 0;
        while let Some(block) = all.get(at) {
            let children = self.blocks.children(block);
            all.extend(children.into_iter().filter(|child| seen.insert(*child)));
            at += 1;
        }
        // Votes first, while the way down to what they stand on is there.
        for block in &all {
            self.release_votes(block);
        }
        for block in &all {
            self.blocks.forget_waiting(block);
        }
    }

    /// Drops one waiting block, and what waits on it.
    fn drop_waiting(&mut self, id: &Id) {
        self.drop_waiting_above(id);
        self.release_votes(id);
        self.blocks.forget_waiting(id);
    }

    pub(super) fn take_block(&mut self, block: Block<Id>, from: N) -> Outcome {
        if !self.connected.contains(&from) {
            return Outcome::Ignored(Reason::NotConnected);
        }
        let id = block.header.id;
        if self.blocks.held.contains_key(&id) {
            return Outcome::Ignored(Reason::Known);
        }
        let state = match self.chain.check(&block.header) {
            Ok(()) => State::Verifying,
            Err(AddError::UnknownParent) => State::Orphan,
            Err(error) => {
                if matches!(error, AddError::Decided) {
                    self.blocks.decide(&id);
                }
                self.fetches.remove(&id);
                self.release_votes(&id);
                self.drop_waiting_above(&id);
                let wrong = matches!(error, AddError::WrongHeight { .. });
                return Outcome::Ignored(if wrong { Reason::WrongHeight } else { Reason::Decided });
            }
        };
        if !self.fits_above(&block) {
            self.fetches.remove(&id);
            return Outcome::Ignored(Reason::WrongHeight);
        }
        if let Some(orphan) = self.blocks.orphan_to_drop(&from, Self::BLOCKS_PER_PEER, state) {
            // What waits on it goes on waiting, for it to be fetched again.
            self.release_votes(&orphan);
            self.blocks.forget_waiting(&orphan);
        }
        if !self.blocks.has_room(&from, Self::BLOCKS_PER_PEER) {
            self.fetches.remove(&id);
            self.release_votes(&id);
            return Outcome::Ignored(Reason::TooManyBlocks);
        }
        self.fetches.remove(&id);
        let parent = block.header.parent;
        self.blocks.insert(block, Some(from.clone()), state);
        match state {
            State::Verifying => self.outputs.push_back(Output::Verify(id)),
            _ if self.blocks.held.contains_key(&parent) => {}
            _ => {
                if !self.fetch(parent, &from) {
                    self.drop_waiting(&id);
                }
            }
        }
        Outcome::Taken
    }

    /// Drops the blocks that wait for this one and claim another height than the one above it. False if the block was
    /// wanted for nothing else: whoever invents ancestors cannot make a node ask on and on.
    fn fits_above(&mut self, block: &Block<Id>) -> bool {
        let id = &block.header.id;
        let children = self.blocks.children(id);
        let (good, bad): (Vec<Id>, Vec<Id>) = children.into_iter().partition(|child| {
            self.blocks.get(child).is_some_and(|child| Some(child.header.height) == block.header.height.checked_add(1))
        });
        for child in &bad {
            self.drop_waiting(child);
        }
        let voted_for = self.open.values().any(|open| open.held.values().any(|(preferred, _)| preferred == id));
        bad.is_empty() || !good.is_empty() || voted_for
    }

    pub(super) fn take_own_block(&mut self, block: Block<Id>) -> Outcome {
        let id = block.header.id;
        if self.blocks.held.contains_key(&id) {
            return Outcome::Ignored(Reason::Known);
        }
        match self.chain.add(block.header) {
            Ok(()) => {
                self.blocks.insert_processing(block, None);
                self.blocks.unsent.insert(id);
                self.ages.push_back((id, self.now));
                self.fetches.remove(&id);
                self.settle(id);
                Outcome::Taken
            }
            Err(AddError::Decided) => Outcome::Ignored(Reason::Decided),
            Err(AddError::WrongHeight { .. }) => Outcome::Ignored(Reason::WrongHeight),
            Err(_) => Outcome::Ignored(Reason::Unexpected),
        }
    }

    pub(super) fn verified(&mut self, id: &Id, ok: bool) -> Outcome {
        let Some(held) = self.blocks.held.get(id).filter(|held| held.state == State::Verifying) else {
            return Outcome::Ignored(Reason::Unexpected);
        };
        let header = held.block.header;
        if ok && self.chain.add(header).is_ok() {
            self.blocks.set_state(id, State::Processing);
            self.ages.push_back((*id, self.now));
            self.settle(*id);
        } else {
            // The votes go to what it stands on.
            self.drop_waiting(id);
        }
        Outcome::Taken
    }

    /// A block has come into the chain: its votes count, and what waits for it is next.
    fn settle(&mut self, id: Id) {
        self.release_votes(&id);
        for child in self.blocks.children(&id) {
            let Some(header) = self.blocks.get(&child).map(|block| block.header) else { continue };
            if self.chain.check(&header).is_ok() {
                self.blocks.set_state(&child, State::Verifying);
                self.outputs.push_back(Output::Verify(child));
            } else {
                self.drop_waiting(&child);
            }
        }
    }

    /// The block nearest below `id` that a vote can be counted for.
    pub(super) fn nearest_known(&self, id: &Id, accepted: &Id) -> Option<Id> {
        let mut at = *id;
        // Blocks that wait may name each other in a circle, where ids are no hashes.
        for _ in 0..=self.blocks.waiting_len() {
            if self.is_decidable(&at) {
                return Some(at);
            }
            match self.blocks.get(&at) {
                Some(block) => at = block.header.parent,
                None => break,
            }
        }
        self.is_decidable(accepted).then_some(*accepted)
    }
}
