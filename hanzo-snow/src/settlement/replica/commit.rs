//! What is committed, and the end of an epoch.

use alloc::vec::Vec;

use super::Replica;
use super::sync::Closed;
use crate::checkpoint::Hash;
use crate::committee::{Committee, NodeId, Sign, VerifyAll};
use crate::sampler::ValidatorSet;
use crate::settlement::block::{Block, Root};
use crate::settlement::certificates::QuorumCertificate;
use crate::settlement::messages::{Message, Output};
use crate::settlement::safety::Safety;
use crate::settlement::tree::Tree;
use crate::store::{Entry, EntryKind};
use crate::wire::{Decoder, WireError};

impl<A: Sign + VerifyAll> Replica<A> {
    /// Commits a block and those below it.
    pub(super) fn commit(&mut self, id: &Hash, certificate: &QuorumCertificate) {
        let committed = *self.tree.committed();
        let path = self.tree.path(id, committed.height);
        let Some(path) = path.filter(|path| path.first().is_some_and(|(_, block)| block.justify.block == committed.id))
        else {
            // A certified block that conflicts with a committed one: more is faulty than may be.
            self.poisoned = true;
            return;
        };
        self.fruitless = 0;
        self.given_up = 0;
        self.set_deadline();
        let (mut entries, mut outputs) = (Vec::new(), Vec::new());
        for (id, block) in path {
            let root = Root { id, height: block.height };
            entries.push(self.block_entry(&id, &block));
            let next = block.next.clone();
            outputs.push(Output::Committed { id, block });
            self.tree.commit(root, self.config.window);
            if let Some(next) = next {
                self.close_epoch(root, &next, certificate, &mut entries, &mut outputs);
                break;
            }
        }
        self.persist(entries, outputs);
    }

    fn close_epoch(
        &mut self,
        root: Root,
        next: &[(NodeId, u64)],
        certificate: &QuorumCertificate,
        entries: &mut Vec<Entry>,
        outputs: &mut Vec<Output>,
    ) {
        let validators = ValidatorSet::new(next.iter().copied());
        let epoch = self.committee.epoch().checked_add(1);
        let committee = validators
            .ok()
            .zip(epoch)
            .and_then(|(validators, epoch)| Committee::new(*self.committee.chain(), epoch, validators).ok());
        let Some(committee) = committee else {
            // Checked when the block was taken, except for the last epoch there is.
            self.poisoned = true;
            return;
        };
        let path = self.tree.held_path(&certificate.block);
        let before = core::mem::replace(&mut self.committee, committee.clone());
        let end: Vec<Block> =
            path.iter().filter(|(_, block)| block.height >= root.height).map(|(_, block)| block.clone()).collect();
        let mut encoder = before.encoder("closed");
        Message::Chain { blocks: end, certificate: certificate.clone() }.write(&mut encoder);
        let number = before.epoch();
        entries.push(Entry { kind: EntryKind::Close, number, id: [0; 32], bytes: encoder.finish().into() });
        self.closed = Some(Closed { epoch: before.epoch(), path, certificate: certificate.clone() });
        entries.push(encode_committee(&committee));
        self.own = committee.position(&self.config.own);
        self.tree = Tree::new(root, self.config.rule);
        self.safety = Safety::default();
        self.last_proposed = 0;
        self.high = QuorumCertificate::root(root.id);
        self.votes.clear();
        self.timeouts.clear();
        self.proposals.clear();
        self.orphans.clear();
        self.accused.clear();
        self.missing = None;
        self.later_epoch = false;
        self.ask_at = None;
        self.view = 0;
        self.entry = None;
        outputs.push(Output::Epoch(committee));
        self.enter(1, None);
    }
}

pub(super) fn encode_committee(committee: &Committee) -> Entry {
    let mut encoder = committee.encoder("committee");
    encoder.length(committee.len());
    for (node, stake) in committee.validators().nodes().iter().zip(committee.validators().stakes()) {
        encoder.hash(node);
        encoder.u64(*stake);
    }
    let number = committee.epoch();
    Entry { kind: EntryKind::Committee, number, id: [0; 32], bytes: encoder.finish().into() }
}

/// The committees kept, ascending by epoch.
pub(crate) fn stored_committees(entries: &[Entry], chain: &Hash) -> Result<Vec<Committee>, WireError> {
    let kept = entries.iter().filter(|entry| entry.kind == EntryKind::Committee);
    let mut committees: Vec<Committee> =
        kept.map(|entry| decode_committee(&entry.bytes, chain)).collect::<Result<_, _>>()?;
    committees.sort_unstable_by_key(Committee::epoch);
    Ok(committees)
}

fn decode_committee(bytes: &[u8], chain: &Hash) -> Result<Committee, WireError> {
    let malformed = WireError::Malformed { field: "committee" };
    let (kind, found, epoch, mut decoder) = Decoder::open(bytes)?;
    if kind != b"committee" || found != *chain {
        return Err(malformed);
    }
    let validator = |decoder: &mut Decoder<'_>| Ok((decoder.hash("node")?, decoder.u64("stake")?));
    let validators = decoder.list(crate::committee::MAX_VALIDATORS, 40, "committee", validator)?;
    decoder.end()?;
    let validators = ValidatorSet::new(validators).map_err(|_| malformed)?;
    Committee::new(found, epoch, validators).map_err(|_| malformed)
}
