//! What a leader proposes, and what a validator votes for.

use alloc::sync::Arc;

use super::Replica;
use crate::checkpoint::Hash;
use crate::committee::{NodeId, Sign, VerifyAll};
use crate::settlement::block::{Block, Proposal};
use crate::settlement::certificates::Vote;
use crate::settlement::messages::{Message, Output, ReplicaError};
use crate::store::{Entry, EntryKind};

impl<A: Sign + VerifyAll> Replica<A> {
    pub(super) fn try_propose(&mut self) {
        let Some(own) = self.own.filter(|_| !self.follows() && self.view > self.last_proposed) else { return };
        let entered = self.high.view + 1 == self.view
            || self.entry.as_ref().is_some_and(|tc| tc.view + 1 == self.view && self.high.view >= tc.high_view());
        let leads = self.tree.leader(&self.committee, self.view, &self.high.block) == Some(own);
        if !entered || !leads || self.building == Some(self.view) {
            return;
        }
        if !self.pending && !self.tree.has_work(&self.high.block) {
            let at = self.last_block_at.after(self.config.block_interval);
            if !at.is_due(self.now) {
                self.propose_at = Some(at);
                return;
            }
        }
        self.propose_at = None;
        self.building = Some(self.view);
        if self.tree.get(&self.high.block).is_some_and(|node| node.closing) {
            // Only what commits the close of the epoch.
            let _ = self.propose(self.view, Arc::from([]), None);
        } else {
            self.outputs.push_back(Output::Build { view: self.view, parent: self.high.block });
        }
    }

    pub(super) fn propose(
        &mut self,
        view: u64,
        payload: Arc<[u8]>,
        next: Option<Arc<[(NodeId, u64)]>>,
    ) -> Result<(), ReplicaError> {
        let Some(own) = self.own.filter(|_| self.building == Some(view)) else {
            return Err(ReplicaError::NotBuilding { view });
        };
        let follows = self.high.view + 1 == view;
        let height = self.tree.get(&self.high.block).map_or(0, |node| node.height).saturating_add(1);
        let block = Block {
            view,
            height,
            proposer: own,
            justify: self.high.clone(),
            entry: if follows { None } else { self.entry.clone() },
            payload,
            next,
        };
        block.check_shape()?;
        let header = block.header();
        let Ok(signature) = self.authority.sign(&header.signed_bytes(&self.committee)) else {
            self.poisoned = true;
            return Err(ReplicaError::Poisoned);
        };
        self.building = None;
        self.last_proposed = view;
        let id = header.id(&self.committee);
        let epoch = self.committee.epoch();
        let entry = self.block_entry(&id, &block);
        self.tree.insert(&self.committee, id, block.clone());
        // What was built here need not be looked at again.
        self.tree.set_valid(&id, true);
        let message = Message::Proposal(Proposal { block, signature });
        self.persist(alloc::vec![entry], alloc::vec![Output::Broadcast { epoch, message }]);
        Ok(())
    }

    /// Votes for a block of this view, if it may be voted for.
    pub(super) fn consider(&mut self, id: &Hash) {
        let Some(own) = self.own.filter(|_| !self.follows()) else { return };
        let Some(node) = self.tree.get(id) else { return };
        let Some(block) = node.block.as_ref().filter(|block| block.view == self.view) else { return };
        let timeout = block.entry.as_ref().map(|entry| (entry.view, entry.high_view()));
        if !self.safety.may_vote(self.view, block.justify.view, timeout) {
            return;
        }
        match node.valid {
            None if block.payload.is_empty() && block.next.is_none() => {}
            None => {
                self.outputs.push_back(Output::Validate { block: *id });
                return;
            }
            Some(true) => {}
            Some(false) => return,
        }
        let block = block.clone();
        let Ok(signature) = self.authority.sign(&Vote::signed_bytes(&self.committee, self.view, id)) else {
            self.poisoned = true;
            return;
        };
        self.safety.voted(self.view);
        self.last_block_at = self.now;
        let vote = Vote { view: self.view, block: *id, voter: own, signature };
        self.own_vote = Some(vote.clone());
        let next = self.tree.leader(&self.committee, self.view + 1, id);
        let to = next.and_then(|next| self.committee.node(next).copied());
        let epoch = self.committee.epoch();
        let send = to.map(|to| Output::Send { to, epoch, message: Message::Vote(vote) });
        self.persist(alloc::vec![self.block_entry(id, &block)], send.into_iter().collect());
    }

    pub(super) fn block_entry(&self, id: &Hash, block: &Block) -> Entry {
        let mut encoder = self.committee.encoder("block");
        block.write(&mut encoder);
        Entry { kind: EntryKind::Settlement, number: block.height, id: *id, bytes: encoder.finish().into() }
    }
}
