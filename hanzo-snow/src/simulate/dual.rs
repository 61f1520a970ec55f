//! Nodes of both tracks that send each other messages: latency, loss, faults, twins, other validators.

mod builder;
mod keys;
mod report;
mod schedule;

use alloc::boxed::Box;
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::sync::Arc;
use alloc::vec::Vec;

use rand_chacha::ChaCha8Rng;
use sha2::{Digest, Sha256};

pub use builder::{DualSimulationBuilder, Weakness};
pub use keys::SimulatedKeys;
pub use report::DualReport;
pub use schedule::FaultSchedule;

use super::SimulateError;
use super::agenda::Agenda;
use super::links::{Fault, Faults, Latency, happens};
use crate::checkpoint::Hash;
use crate::committee::{Committee, NodeId, Sign, VerifyAll};
use crate::dual::{DualConfig, DualInput, DualMessage, DualOutput, DualTrack, settled_from_store};
use crate::engine::Timestamp;
use crate::fastpath::{ConflictKey, FastMessage, Tx};
use crate::sampler::units::below;
use crate::settlement::{Memory, Message, Root, VoteState, chain_from_store};
use crate::store::{BlockStore, EntryKind, MemoryStore, Record};

/// The id of the validator at a position.
fn node_id(position: u32) -> NodeId {
    let mut id = [0; 32];
    id[..4].copy_from_slice(&position.to_be_bytes());
    id[31] = 1;
    id
}

#[derive(Debug)]
struct Peer<A> {
    identity: usize,
    authority: A,
    byzantine: bool,
    /// The last checkpoint told, by epoch and sequence.
    told: Option<(u64, u64)>,
    node: Option<Box<DualTrack<A>>>,
    store: MemoryStore<Hash>,
    incarnation: u32,
    clock: i64,
    slow: u32,
    wake: Option<u64>,
}

#[derive(Debug)]
enum Event {
    Deliver { from: usize, to: usize, epoch: u64, message: Arc<DualMessage> },
    Wake(usize),
    Persisted { instance: usize, incarnation: u32, token: u64, records: Vec<Record<Hash>> },
    Fault(usize),
    Submit(usize),
    Change(usize),
}

/// A network of [`DualTrack`] nodes over simulated links, event by event.
///
/// The same settings give the same trace on every platform. After every event it is checked that honest nodes have committed
/// the same settlement blocks and settled the same checkpoints, told in order and none left out, that no two transactions with
/// a common key are certified in an epoch, and that no vote, timeout or acknowledgement leaves before it is durable.
///
/// ```
/// use hanzo_snow::simulate::{DualSimulation, Latency};
///
/// let mut network = DualSimulation::builder([1; 4])
///     .latency(Latency::Uniform { min: 20_000_000, max: 60_000_000 })
///     .submit_every(0, 10_000_000, 100, 32)
///     .build()?;
/// network.run_until(10_000_000_000)?;
/// assert_eq!(network.report().settled, 100);
/// assert_eq!(network.certified_unsettled(), 0);
/// # Ok::<(), hanzo_snow::Error>(())
/// ```
#[derive(Debug)]
pub struct DualSimulation<A = SimulatedKeys> {
    config: fn(DualConfig) -> DualConfig,
    committee: Committee,
    weakness: Weakness,
    peers: Vec<Peer<A>>,
    latency: Latency,
    links: Faults,
    persist: u64,
    plan: Vec<Fault>,
    load: Vec<(usize, Tx)>,
    changes: Vec<Arc<[(NodeId, u64)]>>,
    /// The last change that was asked for.
    wanted: Option<usize>,
    groups: Option<Vec<usize>>,
    agenda: Agenda<Event>,
    network: ChaCha8Rng,
    trace: Sha256,
    /// The settlement block committed at each height.
    committed: BTreeMap<u64, Hash>,
    /// Digest of each checkpoint by epoch and sequence.
    settled: BTreeMap<(u64, u64), Hash>,
    /// The transaction certified for each key of an epoch.
    keys: BTreeMap<(u64, ConflictKey), Hash>,
    /// When a transaction was given to a node, by its first key.
    submitted: BTreeMap<ConflictKey, u64>,
    /// When a vertex first left its author, by instance, epoch and round.
    sent: BTreeMap<(usize, u64, u64), u64>,
    /// Transactions certified somewhere, and settled somewhere, by first key and bytes.
    certified: BTreeSet<(ConflictKey, Arc<[u8]>)>,
    settled_txs: BTreeSet<(ConflictKey, Arc<[u8]>)>,
    broken: Option<SimulateError>,
    report: DualReport,
}

/// Of a second, in nanoseconds.
const QUARTER: u64 = 250_000_000;

impl DualSimulation {
    /// A network of one node for each stake; one with a stake of 0 is no validator at first.
    #[must_use]
    pub fn builder(stakes: impl IntoIterator<Item = u64>) -> DualSimulationBuilder {
        DualSimulationBuilder::new(stakes.into_iter().collect())
    }
}

impl<A: Sign + VerifyAll + Clone> DualSimulation<A> {
    /// Runs all events up to a moment, in nanoseconds since the start.
    ///
    /// # Errors
    /// [`SimulateError::Settlement`], [`SimulateError::Conflict`], [`SimulateError::Skipped`] and
    /// [`SimulateError::NotDurable`] once an invariant is broken, [`SimulateError::Store`] where a node does not begin again;
    /// every later call returns the same.
    pub fn run_until(&mut self, until: u64) -> Result<(), SimulateError> {
        while self.broken.is_none()
            && let Some(event) = self.agenda.next(until)
        {
            self.run(event);
        }
        self.broken.map_or(Ok(()), Err)
    }

    /// Runs until all that nodes have taken is settled, but no longer than to a moment; then whether it is. Load that is still to come
    /// does not count. It looks four times a simulated second.
    ///
    /// # Errors
    /// As [`run_until`](Self::run_until).
    pub fn run_until_settled(&mut self, until: u64) -> Result<bool, SimulateError> {
        loop {
            let given = self.report.submitted - self.report.refused;
            if self.report.settled >= given && self.certified_unsettled() == 0 {
                return Ok(true);
            }
            if self.now() >= until {
                return Ok(false);
            }
            self.run_until(until.min(self.now() + QUARTER))?;
        }
    }

    /// Nanoseconds since the start.
    #[must_use]
    pub const fn now(&self) -> u64 {
        self.agenda.now()
    }

    /// What was seen so far.
    #[must_use]
    pub const fn report(&self) -> &DualReport {
        &self.report
    }

    /// The first committee.
    #[must_use]
    pub const fn committee(&self) -> &Committee {
        &self.committee
    }

    /// What the first node verifies with.
    #[must_use]
    pub fn verifier(&self) -> &A {
        &self.peers[0].authority
    }

    /// A node that is up.
    #[must_use]
    pub fn node(&self, instance: usize) -> Option<&DualTrack<A>> {
        self.peers.get(instance)?.node.as_deref()
    }

    /// Transactions certified somewhere and settled nowhere yet.
    #[must_use]
    pub fn certified_unsettled(&self) -> usize {
        self.certified.difference(&self.settled_txs).count()
    }

    /// Settlement blocks that every honest node that is up has committed.
    #[must_use]
    pub fn committed_everywhere(&self) -> u64 {
        let honest = self.peers.iter().filter(|peer| !peer.byzantine);
        honest.filter_map(|peer| peer.node.as_ref()).map(|node| node.replica().committed().height).min().unwrap_or(0)
    }

    /// The height up to which every honest node that is up has carried out what was committed, and told what it settles.
    #[must_use]
    pub fn executed_everywhere(&self) -> u64 {
        let honest = self.peers.iter().filter(|peer| !peer.byzantine);
        honest.filter_map(|peer| peer.node.as_ref()).map(|node| node.executed()).min().unwrap_or(0)
    }

    /// SHA-256 over all events so far: equal for equal runs.
    #[must_use]
    pub fn trace_hash(&self) -> Hash {
        self.trace.clone().finalize().into()
    }

    fn start(&mut self, instance: usize, memory: Memory) {
        let identity = self.peers[instance].identity;
        let own = node_id(identity as u32);
        let authority = self.peers[instance].authority.clone();
        let config = (self.config)(DualConfig::new(own));
        let now = self.clock(instance);
        match DualTrack::new(config, self.committee.clone(), authority, memory, 7, now) {
            Ok(node) => {
                self.peers[instance].node = Some(Box::new(node));
                self.drain(instance);
                self.tell_change(instance);
            }
            Err(_) => self.broken = Some(SimulateError::Store { node: instance }),
        }
    }

    /// Tells a node of the validators that were asked for last, unless it has them.
    fn tell_change(&mut self, instance: usize) {
        let Some(next) = self.wanted.map(|at| self.changes[at].clone()) else { return };
        let Some(node) = self.peers[instance].node.as_ref() else { return };
        let set = node.committee().validators();
        if !set.nodes().iter().copied().zip(set.stakes().iter().copied()).eq(next.iter().copied()) {
            self.give(instance, DualInput::Next(next));
        }
    }

    fn clock(&self, instance: usize) -> Timestamp {
        Timestamp::from_nanos(self.agenda.now().saturating_add_signed(self.peers[instance].clock))
    }

    fn reaches(&self, from: usize, to: usize) -> bool {
        let group = |node: usize| self.groups.as_ref().map_or(0, |groups| groups.get(node).copied().unwrap_or(0));
        group(from) == group(to)
    }

    fn send(&mut self, from: usize, to: usize, epoch: u64, message: &Arc<DualMessage>) {
        self.report.messages += 1;
        if happens(self.links.drop_per_mille, &mut self.network) {
            self.report.lost += 1;
            return;
        }
        let copies = 1 + usize::from(happens(self.links.duplicate_per_mille, &mut self.network));
        for _ in 0..copies {
            let (a, b) = (self.peers[from].identity, self.peers[to].identity);
            let mut delay = self.latency.draw(a, b, &mut self.network);
            if happens(self.links.reorder_per_mille, &mut self.network) {
                delay = delay.saturating_mul(2 + below(3, &mut self.network));
            }
            let slow = self.peers[from].slow.max(self.peers[to].slow);
            delay = (delay.saturating_mul(u64::from(slow)) / 1_000).max(1);
            let event = Event::Deliver { from, to, epoch, message: message.clone() };
            self.agenda.enter_in(delay, event);
        }
    }

    fn run(&mut self, event: Event) {
        self.trace.update(self.agenda.now().to_be_bytes());
        match event {
            Event::Deliver { from, to, epoch, message } => {
                self.trace.update([0, from as u8, to as u8]);
                if !self.reaches(from, to) || self.peers[to].node.is_none() {
                    self.report.lost += 1;
                    return;
                }
                let from = node_id(self.peers[from].identity as u32);
                let message = Arc::unwrap_or_clone(message);
                self.give(to, DualInput::Message { from, epoch, message });
            }
            Event::Wake(instance) => {
                self.trace.update([1, instance as u8]);
                self.peers[instance].wake = None;
                self.give(instance, DualInput::Tick);
            }
            Event::Persisted { instance, incarnation, token, records } => {
                self.trace.update([2, instance as u8]);
                if self.peers[instance].incarnation == incarnation {
                    // Memory does not fail.
                    let _ = self.peers[instance].store.append(&records);
                    self.give(instance, DualInput::Persisted(token));
                }
            }
            Event::Fault(at) => self.befall(at),
            Event::Change(at) => {
                self.wanted = Some(at);
                for instance in 0..self.peers.len() {
                    self.tell_change(instance);
                }
            }
            Event::Submit(at) => {
                let (instance, tx) = self.load[at].clone();
                if self.peers[instance].node.is_some() {
                    self.report.submitted += 1;
                    self.submitted.entry(tx.keys()[0]).or_insert(self.agenda.now());
                    let now = self.clock(instance);
                    let node = self.peers[instance].node.as_mut();
                    if node.is_some_and(|node| node.handle(now, DualInput::Submit(tx)).is_err()) {
                        self.report.refused += 1;
                    }
                    self.drain(instance);
                }
            }
        }
    }

    fn befall(&mut self, at: usize) {
        match self.plan[at].clone() {
            Fault::Crash(node) => self.crash(node),
            Fault::Restart(node) => {
                self.crash(node);
                let memory = if self.weakness == Weakness::NoPersistence {
                    Memory::Fresh(Root::default())
                } else {
                    // Memory does not fail.
                    Memory::Stored(self.peers[node].store.entries().unwrap_or_default())
                };
                self.start(node, memory);
            }
            Fault::RestartEmpty(node) => {
                let nodes = self.peers.iter().filter_map(|peer| peer.node.as_ref());
                let epoch = nodes.map(|node| node.replica().committee().epoch()).max().unwrap_or(0);
                self.crash(node);
                self.peers[node].store = MemoryStore::default();
                self.start(node, Memory::Lost { root: Root::default(), epoch });
            }
            Fault::Partition(groups) => self.groups = Some(groups),
            Fault::Heal => self.groups = None,
            Fault::Slow(node, per_mille) => self.peers[node].slow = per_mille,
            Fault::ClockJump(node, by) => {
                self.peers[node].clock = self.peers[node].clock.saturating_add(by);
                self.give(node, DualInput::Tick);
            }
        }
    }

    fn crash(&mut self, node: usize) {
        self.peers[node].node = None;
        self.peers[node].incarnation += 1;
        self.peers[node].wake = None;
    }

    fn give(&mut self, instance: usize, input: DualInput) {
        let now = self.clock(instance);
        let Some(node) = self.peers[instance].node.as_mut() else { return };
        // Refused messages are part of the game.
        let _ = node.handle(now, input);
        self.drain(instance);
    }

    fn drain(&mut self, instance: usize) {
        loop {
            let Some(node) = self.peers[instance].node.as_mut() else { return };
            let Some(output) = node.poll_output() else { break };
            self.carry_out(instance, output);
        }
        let Some(node) = self.peers[instance].node.as_ref() else { return };
        let committed = node.replica().committed();
        let poisoned = node.replica().is_poisoned();
        let due = node.poll_timeout().as_nanos().saturating_add_signed(self.peers[instance].clock.saturating_neg());
        let due = due.max(self.agenda.now().saturating_add(1));
        if !self.peers[instance].byzantine {
            let known = *self.committed.entry(committed.height).or_insert(committed.id);
            if known != committed.id || poisoned {
                self.broken = Some(SimulateError::Settlement { height: committed.height });
            }
        }
        if self.peers[instance].wake.is_none_or(|wake| due < wake) {
            self.peers[instance].wake = Some(due);
            self.agenda.enter(due, Event::Wake(instance));
        }
    }

    fn to_identity(&self, to: &NodeId) -> Vec<usize> {
        let is = |peer: &Peer<A>| node_id(peer.identity as u32) == *to;
        (0..self.peers.len()).filter(|at| is(&self.peers[*at])).collect()
    }

    fn carry_out(&mut self, instance: usize, output: DualOutput) {
        let honest = !self.peers[instance].byzantine;
        match output {
            DualOutput::Send { to, epoch, message } => {
                self.check_durable(instance, epoch, &message);
                let message = Arc::new(message);
                for to in self.to_identity(&to) {
                    self.send(instance, to, epoch, &message);
                }
            }
            DualOutput::Broadcast { epoch, message } => {
                self.check_durable(instance, epoch, &message);
                if let DualMessage::Fast(FastMessage::Vertex(vertex)) = &message {
                    self.sent.entry((instance, epoch, vertex.round())).or_insert(self.agenda.now());
                }
                let message = Arc::new(message);
                let own = self.peers[instance].identity;
                for to in 0..self.peers.len() {
                    if self.peers[to].identity != own {
                        self.send(instance, to, epoch, &message);
                    }
                }
            }
            DualOutput::Persist { token, records } => {
                let incarnation = self.peers[instance].incarnation;
                let event = Event::Persisted { instance, incarnation, token, records };
                self.agenda.enter_in(self.persist, event);
            }
            DualOutput::CertificateFormed { id, round, certified } if honest => {
                let Some(node) = self.peers[instance].node.as_ref() else { return };
                if let Some(at) = self.sent.remove(&(instance, node.committee().epoch(), round)) {
                    self.report.certificates.push(self.agenda.now() - at);
                }
                let Some((_, vertex)) = node.fast_path().dag().get(&id) else { return };
                for tx in certified.iter().filter_map(|index| vertex.txs().get(*index as usize)) {
                    if let Some(at) = self.submitted.get(&tx.keys()[0]) {
                        self.report.formed.push(self.agenda.now() - at);
                    }
                }
            }
            DualOutput::Certified(place) if honest => {
                let Some(committee) = self.peers[instance].node.as_ref().map(|node| node.committee()) else { return };
                // The node may have begun the next epoch since.
                let before = u64::from(place.tx.id(committee) != place.id);
                let epoch = committee.epoch().saturating_sub(before);
                for key in place.tx.keys() {
                    if *self.keys.entry((epoch, *key)).or_insert(place.id) != place.id {
                        self.broken = Some(SimulateError::Conflict { epoch });
                    }
                }
                self.certified.insert((place.tx.keys()[0], place.tx.bytes().clone()));
                if let Some(at) = self.submitted.get(&place.tx.keys()[0]) {
                    self.report.certified.push(self.agenda.now() - at);
                }
            }
            DualOutput::Settled(settled) if honest => {
                let key = (settled.checkpoint.epoch, settled.checkpoint.sequence);
                let digest = settled.checkpoint.digest();
                // None is left out, and none goes back but after a restart.
                let before = self.settled.range(..key).next_back().map(|(before, _)| *before);
                let told = self.peers[instance].told.replace(key);
                if before > told {
                    self.broken = Some(SimulateError::Skipped { node: instance, epoch: key.0, sequence: key.1 });
                }
                if !self.settled.contains_key(&key) {
                    self.report.checkpoints.push((self.agenda.now(), settled.leaves.len() as u64));
                }
                if *self.settled.entry(key).or_insert(digest) != digest || settled.txs.len() != settled.leaves.len() {
                    self.broken = Some(SimulateError::Settlement { height: settled.height });
                }
                for tx in &settled.txs {
                    if self.settled_txs.insert((tx.keys()[0], tx.bytes().clone())) {
                        self.report.settled += 1;
                    }
                    if let Some(at) = self.submitted.get(&tx.keys()[0]) {
                        self.report.settlement.push(self.agenda.now() - at);
                    }
                }
            }
            DualOutput::Epoch(committee) if honest => self.report.epochs = self.report.epochs.max(committee.epoch()),
            DualOutput::Evidence(evidence)
                if honest && self.report.evidence.insert((instance, evidence.offender(), evidence.kind())) =>
            {
                self.report.proofs.push(evidence);
            }
            DualOutput::Serve { to, epoch, after } => {
                // Memory does not fail.
                let entries = self.peers[instance].store.entries().unwrap_or_default();
                if let Some(message) = chain_from_store(&entries, epoch, after) {
                    let output = DualOutput::Send { to, epoch, message: DualMessage::Settlement(message) };
                    self.carry_out(instance, output);
                }
            }
            DualOutput::ServeSettled { to, epoch, sequence } => {
                let entries = self.peers[instance].store.entries().unwrap_or_default();
                if let Some(message) = settled_from_store(&entries, epoch, sequence) {
                    self.carry_out(instance, DualOutput::Send { to, epoch, message });
                }
            }
            DualOutput::Stalled(_) if honest => self.report.stalls += 1,
            _ => {}
        }
    }

    /// Whether what a message of an epoch says is durable at its sender.
    fn check_durable(&mut self, instance: usize, epoch: u64, message: &DualMessage) {
        let store = &self.peers[instance].store;
        let state = store.entry(EntryKind::VoteState, 0, &[0; 32]).and_then(|bytes| VoteState::decode(bytes).ok());
        let kept = |says: &dyn Fn(&VoteState) -> bool| {
            state.as_ref().is_some_and(|state| state.epoch > epoch || state.epoch == epoch && says(state))
        };
        let durable = match message {
            DualMessage::Settlement(Message::Vote(vote)) => kept(&|state| state.safety.last_voted() >= vote.view),
            DualMessage::Settlement(Message::Timeout(timeout)) => {
                kept(&|state| state.safety.last_timeout() >= timeout.view)
            }
            DualMessage::Settlement(Message::Proposal(proposal)) => {
                kept(&|state| state.last_proposed >= proposal.block.view)
            }
            DualMessage::Fast(FastMessage::Ack(ack)) => store.entry(EntryKind::Ack, ack.round, &ack.vertex).is_some(),
            _ => true,
        };
        if !durable {
            self.broken = Some(SimulateError::NotDurable { node: instance, height: 0 });
        }
    }
}
