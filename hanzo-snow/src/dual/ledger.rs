//! What has settled in an epoch, and what may settle next.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::sync::Arc;
use alloc::vec::Vec;

use hashbrown::HashSet;

use super::messages::DualMessage;
use super::payload::{CheckpointBody, CloseReport, read_checkpoint, write_checkpoint};
use crate::checkpoint::{Checkpoint, Checkpointer, Hash, Leaf, root};
use crate::committee::{Committee, NodeId};
use crate::fastpath::{Dag, Tx};
use crate::settlement::{Block, ReplicaError, Root};
use crate::store::{Entry, EntryKind};
use crate::wire::{Decoder, Encoder, WireError};

/// Rounds below the first of a checkpoint in which the history of its anchors is still looked for.
const DEPTH: u64 = 32;

/// A checkpoint that fits what has settled so far.
#[derive(Debug, Clone)]
pub(super) struct Plan {
    pub(super) checkpoint: Checkpoint,
    pub(super) leaves: Vec<Leaf>,
    /// The transactions of the leaves.
    pub(super) txs: Vec<Tx>,
    pub(super) history: BTreeSet<Hash>,
}

#[derive(Debug, Clone)]
pub(super) struct Ledger {
    committee: Committee,
    root: Root,
    checkpointer: Checkpointer,
    sequence: u64,
    first_round: u64,
    settled: HashSet<Hash, foldhash::fast::SeedableRandomState>,
    closing: Option<Arc<[(NodeId, u64)]>>,
    reports: BTreeMap<u32, CloseReport>,
}

impl Ledger {
    pub(super) fn new(committee: &Committee, root: Root, seed: u64) -> Self {
        let hasher = foldhash::fast::SeedableRandomState::with_seed(seed, foldhash::SharedSeed::global_fixed());
        Self {
            checkpointer: Checkpointer::new(*committee.chain(), committee.epoch(), 1),
            committee: committee.clone(),
            root,
            sequence: 0,
            first_round: 1,
            settled: HashSet::with_hasher(hasher),
            closing: None,
            reports: BTreeMap::new(),
        }
    }

    /// From what was kept; with the height up to which blocks were carried out, and the certificates settled.
    pub(super) fn restore(
        committee: &Committee,
        root: Root,
        seed: u64,
        entries: &[Entry],
    ) -> Result<(Self, u64, BTreeSet<Hash>), ReplicaError> {
        let mut ledger = Self::new(committee, root, seed);
        let mut executed = root.height;
        let mut settled = BTreeSet::new();
        // Ascending by sequence, as keys are.
        for entry in entries.iter().filter(|entry| entry.kind == EntryKind::Checkpoint) {
            let (kind, chain, epoch, mut decoder) = Decoder::open(&entry.bytes)?;
            if kind != b"settled" || chain != *committee.chain() {
                return Err(WireError::Malformed { field: "checkpoint" }.into());
            }
            if epoch != committee.epoch() {
                continue;
            }
            let record = SettledRecord::read(&mut decoder, chain, epoch)?;
            let history = decoder.hashes(usize::MAX, "history")?;
            decoder.end()?;
            executed = record.height;
            let history = history.into_iter().collect();
            ledger.settle(&record, &history);
            settled.extend(history);
        }
        Ok((ledger, executed, settled))
    }

    pub(super) const fn committee(&self) -> &Committee {
        &self.committee
    }

    pub(super) const fn sequence(&self) -> u64 {
        self.sequence
    }

    pub(super) const fn first_round(&self) -> u64 {
        self.first_round
    }

    pub(super) const fn root_height(&self) -> u64 {
        self.root.height
    }

    pub(super) const fn closing(&self) -> Option<&Arc<[(NodeId, u64)]>> {
        self.closing.as_ref()
    }

    pub(super) fn open_close(&mut self, next: Arc<[(NodeId, u64)]>) {
        self.closing = Some(next);
    }

    pub(super) fn has_settled(&self, tx: &Tx) -> bool {
        self.settled.contains(&tx.id(&self.committee))
    }

    /// Ids of all that has settled in the epoch, in no order.
    pub(super) fn settled(&self) -> impl Iterator<Item = Hash> {
        self.settled.iter().copied()
    }

    /// The present validators, as a next set.
    pub(super) fn validators(&self) -> Arc<[(NodeId, u64)]> {
        let set = self.committee.validators();
        set.nodes().iter().copied().zip(set.stakes().iter().copied()).collect()
    }

    /// The last round that is no longer needed, if `keep` settled ones are kept.
    pub(super) const fn floor(&self, keep: u64) -> u64 {
        // Never above what the next checkpoint may look at.
        let keep = if keep < DEPTH + 2 { DEPTH + 2 } else { keep };
        self.first_round.saturating_sub(1).saturating_sub(keep)
    }

    /// Takes a report; the certificates it names.
    pub(super) fn report(&mut self, report: CloseReport) -> Vec<Hash> {
        let named = report.certificates.to_vec();
        self.reports.insert(report.reporter, report);
        named
    }

    pub(super) fn reported_stake(&self) -> u64 {
        self.reports.keys().map(|reporter| self.committee.stake(*reporter)).sum()
    }

    /// Reports of a quorum all of whose certificates are here.
    pub(super) fn ready_reports(&self, held: impl Fn(&Hash) -> bool) -> Option<Vec<CloseReport>> {
        let ready = self.reports.values().filter(|report| report.certificates.iter().all(&held));
        let ready: Vec<CloseReport> = ready.cloned().collect();
        let stake = ready.iter().map(|report| self.committee.stake(report.reporter)).sum();
        self.committee.quorum().is_reached(stake).then_some(ready)
    }

    /// A checkpoint up to a round, of what is held.
    pub(super) fn propose(&self, dag: &Dag, last_round: u64) -> Option<CheckpointBody> {
        let mut anchors: Vec<Hash> = dag.round(last_round).map(|(_, id)| id).collect();
        anchors.sort_unstable();
        let history = dag.history(&anchors, self.lowest()).ok()?;
        let mut late = dag.late(last_round, &history);
        late.truncate(super::MAX_REPORTED);
        let plan = self.seal(dag, &anchors, &late, last_round).ok()??;
        Some(CheckpointBody { anchors, late, checkpoint: plan.checkpoint })
    }

    /// The lowest round in which the next checkpoint's history is looked for.
    const fn lowest(&self) -> u64 {
        self.first_round.saturating_sub(DEPTH)
    }

    /// What a proposed checkpoint settles; `None` if it does not fit.
    ///
    /// # Errors
    /// Certificates that are missing.
    pub(super) fn plan(&self, dag: &Dag, body: &CheckpointBody) -> Result<Option<Plan>, Vec<Hash>> {
        let last_round = body.checkpoint.last_round;
        let ascending = |ids: &[Hash]| ids.windows(2).all(|pair| pair[0] < pair[1]);
        if !ascending(&body.anchors) || !ascending(&body.late) {
            return Ok(None);
        }
        let named = || body.anchors.iter().chain(&body.late);
        let missing: Vec<Hash> = named().filter(|id| dag.get(id).is_none()).copied().collect();
        if !missing.is_empty() {
            return Err(missing);
        }
        let certificate = |id| dag.get(id).map(|(certificate, _)| certificate);
        let anchors: Vec<_> = body.anchors.iter().filter_map(certificate).collect();
        let authors: BTreeSet<u32> = anchors.iter().map(|anchor| anchor.author).collect();
        let stake = authors.iter().map(|author| self.committee.stake(*author)).sum();
        let fits = anchors.iter().all(|anchor| anchor.round == last_round)
            && authors.len() == anchors.len()
            && self.committee.quorum().is_reached(stake)
            && body.late.iter().filter_map(certificate).all(|late| late.round <= last_round);
        if !fits {
            return Ok(None);
        }
        let plan = self.seal(dag, &body.anchors, &body.late, last_round)?;
        Ok(plan.filter(|plan| plan.checkpoint == body.checkpoint))
    }

    fn seal(&self, dag: &Dag, anchors: &[Hash], late: &[Hash], last_round: u64) -> Result<Option<Plan>, Vec<Hash>> {
        let mut history = dag.history(anchors, self.lowest())?;
        // A late certificate stands for itself alone: what it stands on is named as well.
        history.extend(late);
        let (leaves, txs) = dag.leaves(&history, |tx| self.settled.contains(tx));
        let checkpoint = self.checkpointer.clone().seal(last_round, &leaves).ok();
        Ok(checkpoint.map(|checkpoint| Plan { checkpoint, leaves, txs, history }))
    }

    /// What the close of the epoch settles: everything certified by what the reports name.
    ///
    /// # Errors
    /// Certificates that are missing.
    pub(super) fn plan_close(&self, dag: &Dag, reports: &[CloseReport]) -> Result<Plan, Vec<Hash>> {
        let history: BTreeSet<Hash> = reports.iter().flat_map(|report| report.certificates.iter().copied()).collect();
        let missing: Vec<Hash> = history.iter().filter(|id| dag.get(id).is_none()).copied().collect();
        if !missing.is_empty() {
            return Err(missing);
        }
        let rounds = history.iter().filter_map(|id| dag.get(id)).map(|(certificate, _)| certificate.round);
        let last_round = rounds.fold(self.first_round, u64::max);
        let (leaves, txs) = dag.leaves(&history, |tx| self.settled.contains(tx));
        let checkpoint = self.checkpointer.clone().seal(last_round, &leaves);
        checkpoint.map(|checkpoint| Plan { checkpoint, leaves, txs, history }).map_err(|_| Vec::new())
    }

    /// Settles a checkpoint that fits; what is to be kept of it.
    pub(super) fn settle(&mut self, record: &SettledRecord, history: &BTreeSet<Hash>) -> Entry {
        let SettledRecord { checkpoint, leaves, .. } = record;
        let mut encoder = self.committee.encoder("settled");
        record.write(&mut encoder);
        encoder.length(history.len());
        for id in history {
            encoder.hash(id);
        }
        self.settled.extend(leaves.iter().map(|leaf| leaf.tx));
        self.sequence = checkpoint.sequence + 1;
        self.first_round = checkpoint.last_round.saturating_add(1);
        if let Some(after) = Checkpointer::after(checkpoint) {
            self.checkpointer = after;
        }
        let (number, id) = (checkpoint.sequence, settled_key(checkpoint.epoch));
        Entry { kind: EntryKind::Checkpoint, number, id, bytes: encoder.finish().into() }
    }

    /// Checks a settled checkpoint that a peer has sent against the one that was committed.
    pub(super) fn check(&self, record: &SettledRecord, committed: &Checkpoint) -> bool {
        let hash = |leaf: &Leaf| leaf.hash(self.committee.chain(), self.committee.epoch());
        let hashes: Vec<Hash> = record.leaves.iter().map(hash).collect();
        record.checkpoint == *committed
            && hashes.len() as u64 == committed.leaf_count
            && root(&hashes) == committed.root
            && record.txs.len() == record.leaves.len()
            && record.leaves.iter().zip(&record.txs).all(|(leaf, tx)| tx.id(&self.committee) == leaf.tx)
    }
}

/// The id under which settled checkpoints of an epoch are kept.
fn settled_key(epoch: u64) -> Hash {
    let mut id = [0; 32];
    id[..8].copy_from_slice(&epoch.to_be_bytes());
    id
}

/// The answer to [`DualOutput::ServeSettled`](super::DualOutput::ServeSettled) from all entries of a store, or from its
/// [`EntryKind::Checkpoint`] entries alone; `None` where it is not there. O(entries): limit how often a peer may ask.
#[must_use]
pub fn settled_from_store(entries: &[Entry], epoch: u64, sequence: u64) -> Option<DualMessage> {
    let is = |entry: &&Entry| {
        entry.kind == EntryKind::Checkpoint && entry.number == sequence && entry.id == settled_key(epoch)
    };
    let (_, chain, epoch, mut decoder) = Decoder::open(&entries.iter().find(is)?.bytes).ok()?;
    SettledRecord::read(&mut decoder, chain, epoch).ok().map(DualMessage::Settled)
}

/// A settled checkpoint with all it settled.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct SettledRecord {
    /// The checkpoint.
    pub checkpoint: Checkpoint,
    /// Height of its block.
    pub height: u64,
    /// Its leaves.
    pub leaves: Vec<Leaf>,
    /// Their transactions, in the same order.
    pub txs: Vec<Tx>,
}

impl SettledRecord {
    pub(super) fn write(&self, encoder: &mut Encoder) {
        write_checkpoint(encoder, &self.checkpoint);
        encoder.u64(self.height);
        encoder.length(self.leaves.len());
        for (leaf, tx) in self.leaves.iter().zip(&self.txs) {
            encoder.u64(leaf.round);
            encoder.u32(leaf.author);
            encoder.u32(leaf.index);
            encoder.hash(&leaf.tx);
            tx.write(encoder);
        }
    }

    pub(super) fn read(decoder: &mut Decoder<'_>, chain: Hash, epoch: u64) -> Result<Self, WireError> {
        let checkpoint = read_checkpoint(decoder, chain, epoch)?;
        let height = decoder.u64("height")?;
        let mut txs = Vec::new();
        let leaves = decoder.list(usize::MAX, 88, "leaves", |decoder| {
            let (round, author) = (decoder.u64("leaves")?, decoder.u32("leaves")?);
            let leaf = Leaf { round, author, index: decoder.u32("leaves")?, tx: decoder.hash("leaves")? };
            txs.push(Tx::read(decoder)?);
            Ok(leaf)
        })?;
        Ok(Self { checkpoint, height, leaves, txs })
    }
}

/// The committed blocks of an epoch above a height, lowest first, from what was kept; and the one below them.
pub(super) fn committed_above(
    entries: &[Entry],
    epoch: u64,
    committed: Root,
    above: u64,
) -> Result<(Vec<(Hash, Block)>, Root), ReplicaError> {
    let blocks: BTreeMap<(u64, Hash), &Entry> = entries
        .iter()
        .filter(|entry| entry.kind == EntryKind::Settlement)
        .map(|entry| ((entry.number, entry.id), entry))
        .collect();
    let mut found = Vec::new();
    let mut at = committed;
    while at.height > above {
        let missing = ReplicaError::StoredBlock { height: at.height };
        let entry = blocks.get(&(at.height, at.id)).ok_or(missing)?;
        let (_, _, found_in, mut decoder) = Decoder::open(&entry.bytes)?;
        if found_in != epoch {
            break;
        }
        let block = Block::read(&mut decoder)?;
        let parent = Root { id: block.justify.block, height: at.height - 1 };
        found.push((at.id, block));
        at = parent;
    }
    found.reverse();
    Ok((found, at))
}
