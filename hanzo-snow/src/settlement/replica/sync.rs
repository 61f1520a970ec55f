//! Blocks for those who are behind, and the own state after a restart.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use super::Replica;
use crate::checkpoint::Hash;
use crate::committee::{MessageError, NodeId, Sign, VerifyAll};
use crate::settlement::block::Block;
use crate::settlement::certificates::QuorumCertificate;
use crate::settlement::messages::{MAX_CHAIN, Message, Output, ReplicaError, VoteState};
use crate::store::{Entry, EntryKind};
use crate::wire::{Decoder, WireError};

/// The end of an epoch: its last blocks, up to the one whose certificate committed the close.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Closed {
    pub(super) epoch: u64,
    pub(super) path: Vec<(Hash, Block)>,
    pub(super) certificate: QuorumCertificate,
}

/// The answer to [`Output::Serve`] from all entries of a store: the certified chain of an epoch above a height, lowest block
/// first, at most [`MAX_CHAIN`] blocks. `None` where the store does not reach that far. O(entries), and decodes every settlement
/// block above the height: limit how often a peer may ask.
#[must_use]
pub fn chain_from_store(entries: &[Entry], epoch: u64, after: u64) -> Option<Message> {
    let of = |kind| entries.iter().filter(move |entry: &&Entry| entry.kind == kind);
    let mut blocks: BTreeMap<Hash, Block> = BTreeMap::new();
    for entry in of(EntryKind::Settlement).filter(|entry| entry.number > after) {
        let (_, _, found, mut decoder) = Decoder::open(&entry.bytes).ok()?;
        if found == epoch {
            blocks.insert(entry.id, Block::read(&mut decoder).ok()?);
        }
    }
    let (mut at, certificate, mut path) = match of(EntryKind::Close).find(|entry| entry.number == epoch) {
        Some(entry) => {
            let (.., mut decoder) = Decoder::open(&entry.bytes).ok()?;
            let Message::Chain { blocks: mut end, certificate } = Message::read(&mut decoder).ok()? else {
                return None;
            };
            end.retain(|block| block.height > after);
            end.reverse();
            let first = end.last().map(|block| block.justify.block)?;
            (first, certificate, end)
        }
        None => {
            let state = of(EntryKind::VoteState).find_map(|entry| VoteState::decode(&entry.bytes).ok())?;
            if state.epoch != epoch {
                return None;
            }
            (state.high.block, state.high, Vec::new())
        }
    };
    while let Some(block) = blocks.remove(&at) {
        at = block.justify.block;
        path.push(block);
    }
    path.reverse();
    if path.first()?.height != after.checked_add(1)? {
        return None;
    }
    let certificate = path.get(MAX_CHAIN).map_or(certificate, |next| next.justify.clone());
    path.truncate(MAX_CHAIN);
    Some(Message::Chain { blocks: path, certificate })
}

impl<A: Sign + VerifyAll> Replica<A> {
    /// Asks a peer for the chain above the highest certificate, or, where that was no help, above the committed block; unless that was
    /// done just now.
    pub(super) fn ask(&mut self, peer: Option<u32>) {
        if self.ask_at.is_some_and(|at| !at.is_due(self.now)) {
            return;
        }
        // The missing block may be no higher than the one certified here, on another branch: then nobody has anything above.
        let again = self.ask_at.is_some();
        let committed = self.tree.committed().height;
        let high = self.tree.get(&self.high.block).map_or(committed, |node| node.height);
        // The end of an epoch may lack no block, only the last certificate.
        let after = if self.later_epoch || again { committed } else { high };
        self.ask_above(peer, after);
    }

    fn ask_above(&mut self, peer: Option<u32>, after: u64) {
        self.ask_at = Some(self.now.after(self.config.base_timeout / 4));
        let n = self.committee.len() as u32;
        let peer = peer.filter(|peer| Some(*peer) != self.own).unwrap_or_else(|| {
            self.ask_next = (self.ask_next + 1) % n;
            if Some(self.ask_next) == self.own {
                self.ask_next = (self.ask_next + 1) % n;
            }
            self.ask_next
        });
        if let Some(&to) = self.committee.node(peer).filter(|to| **to != self.config.own) {
            let epoch = self.committee.epoch();
            self.outputs.push_back(Output::Send { to, epoch, message: Message::Request { after } });
        }
    }

    pub(super) fn ask_again(&mut self) {
        if !self.ask_at.is_some_and(|at| at.is_due(self.now)) {
            return;
        }
        let high = self.high.view;
        self.orphans.retain(|_, orphan| orphan.view > high);
        if self.missing.as_ref().is_some_and(|missing| missing.view <= high) {
            self.missing = None;
        }
        if self.missing.is_some() || !self.orphans.is_empty() || self.later_epoch {
            self.ask(None);
        } else {
            self.ask_at = None;
        }
    }

    pub(super) fn serve(&mut self, to: NodeId, epoch: u64, after: u64) {
        let found = if epoch == self.committee.epoch() {
            self.tree.path(&self.high.block, after).map(|path| (path, self.high.clone()))
        } else {
            self.closed.as_ref().filter(|closed| closed.epoch == epoch).map(|closed| {
                let above = closed.path.iter().filter(|(_, block)| block.height > after).cloned().collect();
                (above, closed.certificate.clone())
            })
        };
        let found =
            found.filter(|(path, _)| path.first().is_none_or(|(_, block)| after.checked_add(1) == Some(block.height)));
        let Some((path, mut certificate)) = found else {
            if epoch <= self.committee.epoch() {
                self.outputs.push_back(Output::Serve { to, epoch, after });
            }
            return;
        };
        if path.is_empty() {
            return;
        }
        if let Some((_, next)) = path.get(MAX_CHAIN) {
            certificate = next.justify.clone();
        }
        let blocks = path.into_iter().take(MAX_CHAIN).map(|(_, block)| block).collect();
        self.outputs.push_back(Output::Send { to, epoch, message: Message::Chain { blocks, certificate } });
    }

    pub(super) fn on_chain(
        &mut self,
        sender: Option<u32>,
        blocks: Vec<Block>,
        certificate: &QuorumCertificate,
    ) -> Result<(), MessageError> {
        // Nobody is answered who was not asked.
        if self.ask_at.is_none() {
            return Err(MessageError::Malformed { field: "chain" });
        }
        let Some(first) = blocks.first() else { return Err(MessageError::Malformed { field: "chain" }) };
        if self.tree.get(&first.justify.block).is_none() {
            let committed = self.tree.committed().height;
            if first.height > committed + 1 {
                // Certified here is another block at that height than there.
                self.ask_above(sender, committed);
            }
            return Ok(());
        }
        let ids: Vec<Hash> = blocks.iter().map(|block| block.id(&self.committee)).collect();
        for (at, block) in blocks.iter().enumerate() {
            block.check_shape()?;
            let links = at == 0 || block.justify.block == ids[at - 1];
            if !links {
                return Err(MessageError::Malformed { field: "chain" });
            }
        }
        if ids.last() != Some(&certificate.block) {
            return Err(MessageError::Malformed { field: "certificate" });
        }
        let more = blocks.last().filter(|_| blocks.len() == MAX_CHAIN).map(|last| last.height);
        let epoch = self.committee.epoch();
        for (id, block) in ids.into_iter().zip(blocks) {
            if self.tree.get(&id).is_none() {
                block.verify(&self.committee, &self.tree.root().id, &self.authority)?;
            }
            let justify = block.justify.clone();
            if self.tree.get(&justify.block).is_some() {
                self.on_certificate(&justify);
            }
            if self.committee.epoch() != epoch {
                return Ok(());
            }
            if block.height > self.tree.committed().height {
                self.take(id, block)?;
            }
            if self.committee.epoch() != epoch {
                return Ok(());
            }
        }
        certificate.verify(&self.committee, &self.tree.root().id, &self.authority)?;
        self.on_certificate(certificate);
        if let Some(last) = more.filter(|_| self.committee.epoch() == epoch) {
            // Above what was sent, not above the highest certificate, which may be of another branch.
            self.ask_above(sender, last);
        }
        Ok(())
    }

    /// Builds the tree of stored blocks again.
    pub(super) fn restore(&mut self, entries: &[Entry], state: &VoteState) -> Result<(), ReplicaError> {
        let mut blocks: BTreeMap<u64, Vec<(Hash, Block)>> = BTreeMap::new();
        for entry in entries.iter().filter(|entry| entry.kind == EntryKind::Settlement) {
            let (kind, chain, epoch, mut decoder) = Decoder::open(&entry.bytes)?;
            if kind != b"block" || chain != *self.committee.chain() {
                return Err(ReplicaError::StoredBlock { height: entry.number });
            }
            if epoch != self.committee.epoch() {
                continue;
            }
            let block = Block::read(&mut decoder)?;
            decoder.end()?;
            let fits = block.height == entry.number && block.id(&self.committee) == entry.id;
            if !fits {
                return Err(ReplicaError::StoredBlock { height: entry.number });
            }
            blocks.entry(block.height).or_default().push((entry.id, block));
        }
        if state.epoch != self.committee.epoch() {
            return Err(ReplicaError::Stored(WireError::Malformed { field: "epoch" }));
        }
        for (id, block) in blocks.into_values().flatten() {
            // A block voted for whose parent was never kept will be fetched.
            self.tree.insert(&self.committee, id, block);
        }
        if self.tree.get(&state.committed.id).is_none() {
            return Err(ReplicaError::StoredBlock { height: state.committed.height });
        }
        self.tree.commit(state.committed, self.config.window);
        if self.tree.get(&state.high.block).is_some() {
            self.high = state.high.clone();
        } else if state.high.view > 0 {
            self.missing = Some(state.high.clone());
            self.ask_at = Some(self.now);
        }
        Ok(())
    }
}
