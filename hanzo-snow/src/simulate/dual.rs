//! Nodes of both tracks that send each other messages: latency, loss, faults, twins.

use alloc::boxed::Box;
use alloc::collections::{BTreeMap, BTreeSet, BinaryHeap};
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::cmp::Reverse;

use rand_chacha::ChaCha8Rng;
use rand_core::Rng;
use sha2::{Digest, Sha256};

use super::SimulateError;
use super::builder::stream;
use super::links::{Fault, Faults, Latency, happens};
use crate::checkpoint::Hash;
use crate::committee::{Committee, NodeId, Sign, SignatureError, VerifyAll};
use crate::dual::{DualConfig, DualInput, DualMessage, DualOutput, DualTrack, settled_from_store};
use crate::engine::Timestamp;
use crate::evidence::{Evidence, EvidenceKind};
use crate::fastpath::{ConflictKey, FastMessage, Tx};
use crate::sampler::ValidatorSet;
use crate::sampler::units::below;
use crate::settlement::{Memory, Message, Root, VoteState, chain_from_store};
use crate::store::{BlockStore, EntryKind, MemoryStore, Record};
use crate::wire::Signature;

/// What signs in a simulation. No cryptography: a simulated adversary forges nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SimulatedKeys {
    /// Empty signatures, all valid: the cost of everything but signatures.
    Unsigned,
    /// SHA-256 of signer and message, which a validator named otherwise does not pass for.
    Keyed(NodeId),
}

impl SimulatedKeys {
    fn tag(node: &NodeId, message: &[u8]) -> Signature {
        let tag: Hash = Sha256::new().chain_update(node).chain_update(message).finalize().into();
        Signature::from(&tag[..16])
    }
}

impl Sign for SimulatedKeys {
    fn sign(&self, message: &[u8]) -> Result<Signature, SignatureError> {
        Ok(match self {
            Self::Unsigned => Signature::from([]),
            Self::Keyed(own) => Self::tag(own, message),
        })
    }
}

impl VerifyAll for SimulatedKeys {
    fn verify_all(&self, items: &[(NodeId, &[u8], &[u8])]) -> Result<(), SignatureError> {
        let valid = |(node, message, signature): &(NodeId, &[u8], &[u8])| *Self::tag(node, message) == **signature;
        match self {
            Self::Keyed(_) if !items.iter().all(valid) => Err(SignatureError),
            _ => Ok(()),
        }
    }
}

/// A fault put into the protocol itself, to see that the tests find it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Weakness {
    /// None.
    #[default]
    None,
    /// Nodes that begin again have forgotten their votes and acknowledgements, and do not know it.
    NoPersistence,
    /// This much stake makes a quorum.
    Quorum(u64),
}

/// Settings of a [`DualSimulation`].
#[derive(Debug)]
pub struct DualSimulationBuilder {
    stakes: Vec<u64>,
    seed: u64,
    latency: Latency,
    links: Faults,
    persist: u64,
    keyed: bool,
    twins: Vec<usize>,
    weakness: Weakness,
    plan: Vec<(u64, Fault)>,
    load: Vec<(u64, usize, Tx)>,
    config: fn(DualConfig) -> DualConfig,
}

impl DualSimulationBuilder {
    /// Seed of all that is drawn; 0 unless set.
    #[must_use]
    pub const fn seed(mut self, seed: u64) -> Self {
        self.seed = seed;
        self
    }

    /// Delay of messages; 1 ms unless set.
    #[must_use]
    pub fn latency(mut self, latency: Latency) -> Self {
        self.latency = latency;
        self
    }

    /// What else links do. Bandwidth is not simulated here.
    #[must_use]
    pub const fn links(mut self, links: Faults) -> Self {
        self.links = links;
        self
    }

    /// Nanoseconds that making records durable takes; 1 ms unless set.
    #[must_use]
    pub const fn persist_cost(mut self, nanos: u64) -> Self {
        self.persist = nanos;
        self
    }

    /// Signatures that tell validators apart; none unless set.
    #[must_use]
    pub const fn keyed(mut self, keyed: bool) -> Self {
        self.keyed = keyed;
        self
    }

    /// Runs a validator twice, with one identity: two nodes that do not know of each other and so contradict each other. The twins of
    /// the first, second, .. of `nodes` are nodes n, n+1, .. of partitions and faults.
    #[must_use]
    pub fn twins(mut self, nodes: impl IntoIterator<Item = usize>) -> Self {
        self.twins.extend(nodes);
        self
    }

    /// Breaks the protocol.
    #[must_use]
    pub const fn weakness(mut self, weakness: Weakness) -> Self {
        self.weakness = weakness;
        self
    }

    /// Lets something happen at a moment, in nanoseconds.
    #[must_use]
    pub fn fault(mut self, at: u64, fault: Fault) -> Self {
        self.plan.push((at, fault));
        self
    }

    /// Gives a node a transaction at a moment, in nanoseconds.
    #[must_use]
    pub fn submit(mut self, at: u64, node: usize, tx: Tx) -> Self {
        self.load.push((at, node, tx));
        self
    }

    /// `count` transactions of `bytes` bytes with a key of their own, one every `interval` nanoseconds from `start` on, to the
    /// nodes in turn.
    #[must_use]
    pub fn submit_every(mut self, start: u64, interval: u64, count: u64, bytes: usize) -> Self {
        let nodes = self.stakes.len().max(1) as u64;
        let first = self.load.len() as u64;
        for i in 0..count {
            let key = ConflictKey::new(b"load", first + i);
            let mut payload = alloc::vec![0; bytes];
            for (to, from) in payload.iter_mut().zip((first + i).to_be_bytes()) {
                *to = from;
            }
            if let Ok(tx) = Tx::new([key], payload) {
                self.load.push((start.saturating_add(i.saturating_mul(interval)), (i % nodes) as usize, tx));
            }
        }
        self
    }

    /// Changes the settings of every node.
    #[must_use]
    pub fn config(mut self, change: fn(DualConfig) -> DualConfig) -> Self {
        self.config = change;
        self
    }

    /// Builds the network, all nodes up at time 0.
    ///
    /// # Errors
    /// [`SimulateError`] for refused stakes or latency, or a node that is not there.
    pub fn build(self) -> Result<DualSimulation, SimulateError> {
        let nodes = self.stakes.len();
        let instances = nodes + self.twins.len();
        let validators = ValidatorSet::new((0_u32..).map(node_id).zip(self.stakes))?;
        self.latency.check(nodes)?;
        let faulted = self.plan.iter().filter_map(|(_, fault)| fault.node()).filter(|node| *node >= instances);
        let loaded = self.load.iter().map(|(_, node, _)| *node).filter(|node| *node >= instances);
        let twinned = self.twins.iter().copied().filter(|node| *node >= nodes);
        if let Some(node) = faulted.chain(loaded).chain(twinned).next() {
            return Err(SimulateError::UnknownNode { node, nodes });
        }
        let mut committee = Committee::new([0x5c; 32], 0, validators)?;
        if let Weakness::Quorum(stake) = self.weakness {
            committee = committee.with_quorum(stake);
        }
        let mut simulation = DualSimulation {
            config: self.config,
            committee,
            keyed: self.keyed,
            weakness: self.weakness,
            peers: Vec::new(),
            latency: self.latency,
            links: self.links,
            persist: self.persist,
            plan: Vec::new(),
            load: Vec::new(),
            groups: None,
            queue: BinaryHeap::new(),
            events: BTreeMap::new(),
            sequence: 0,
            now: 0,
            network: stream(self.seed, "dual network"),
            trace: Sha256::new(),
            committed: BTreeMap::new(),
            settled: BTreeMap::new(),
            keys: BTreeMap::new(),
            submitted: BTreeMap::new(),
            certified: BTreeSet::new(),
            settled_keys: BTreeSet::new(),
            broken: None,
            report: DualReport::default(),
        };
        for identity in (0..nodes).chain(self.twins.iter().copied()) {
            let byzantine = self.twins.contains(&identity);
            simulation.peers.push(Peer {
                identity,
                byzantine,
                node: None,
                store: MemoryStore::default(),
                incarnation: 0,
                clock: 0,
                slow: 1_000,
                wake: None,
            });
        }
        for instance in 0..instances {
            simulation.start(instance, Memory::Fresh(Root::default()));
        }
        for (at, fault) in self.plan {
            simulation.plan.push(fault);
            simulation.schedule(at, Event::Fault(simulation.plan.len() - 1));
        }
        for (at, node, tx) in self.load {
            simulation.load.push((node, tx));
            simulation.schedule(at, Event::Submit(simulation.load.len() - 1));
        }
        Ok(simulation)
    }
}

/// The id of the validator at a position.
fn node_id(position: u32) -> NodeId {
    let mut id = [0; 32];
    id[..4].copy_from_slice(&position.to_be_bytes());
    id[31] = 1;
    id
}

/// What a [`DualSimulation`] has seen. Times are nanoseconds since the transaction was given to its author.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct DualReport {
    /// Messages sent, those lost included.
    pub messages: u64,
    /// Messages lost.
    pub lost: u64,
    /// Transactions given to nodes that were up.
    pub submitted: u64,
    /// Of these, refused because a queue was full.
    pub refused: u64,
    /// Transactions settled somewhere.
    pub settled: u64,
    /// Until the author had the certificate.
    pub formed: Vec<u64>,
    /// Until a node knew it certified (first level), for each node.
    pub certified: Vec<u64>,
    /// Until a node knew it settled (second level), for each node.
    pub settlement: Vec<u64>,
    /// The moments at which a checkpoint was first settled, with its leaves.
    pub checkpoints: Vec<(u64, u64)>,
    /// Evidence told by honest nodes: by whom, against which position, of what kind.
    pub evidence: BTreeSet<(usize, u32, EvidenceKind)>,
    /// The evidence itself, one of each.
    pub proofs: Vec<Evidence>,
    /// Reports that settlement does not get on.
    pub stalls: u64,
    /// Epochs begun, the first not counted, at the node that saw most.
    pub epochs: u64,
}

/// The `per_mille` quantile of some times; `None` for none.
fn quantile(times: &[u64], per_mille: u32) -> Option<u64> {
    let mut times = times.to_vec();
    let last = times.len().checked_sub(1)? as u64;
    let at = (last * u64::from(per_mille.min(1_000)) / 1_000) as usize;
    Some(*times.select_nth_unstable(at).1)
}

impl DualReport {
    /// Quantile of the time until the author had the certificate.
    #[must_use]
    pub fn formed_quantile(&self, per_mille: u32) -> Option<u64> {
        quantile(&self.formed, per_mille)
    }

    /// Quantile of the time until a node knew a transaction certified.
    #[must_use]
    pub fn certified_quantile(&self, per_mille: u32) -> Option<u64> {
        quantile(&self.certified, per_mille)
    }

    /// Quantile of the time until a node knew a transaction settled.
    #[must_use]
    pub fn settlement_quantile(&self, per_mille: u32) -> Option<u64> {
        quantile(&self.settlement, per_mille)
    }
}

#[derive(Debug)]
struct Peer {
    identity: usize,
    byzantine: bool,
    node: Option<Box<DualTrack<SimulatedKeys>>>,
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
}

/// A network of [`DualTrack`] nodes over simulated links, event by event.
///
/// The same settings give the same trace on every platform. After every event it is checked that honest nodes have committed the same
/// settlement blocks and settled the same checkpoints, that no two transactions with a common key are certified in an
/// epoch, and that no vote, timeout or acknowledgement leaves before it is durable.
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
pub struct DualSimulation {
    config: fn(DualConfig) -> DualConfig,
    committee: Committee,
    keyed: bool,
    weakness: Weakness,
    peers: Vec<Peer>,
    latency: Latency,
    links: Faults,
    persist: u64,
    plan: Vec<Fault>,
    load: Vec<(usize, Tx)>,
    groups: Option<Vec<usize>>,
    queue: BinaryHeap<Reverse<(u64, u64)>>,
    events: BTreeMap<u64, Event>,
    sequence: u64,
    now: u64,
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
    certified: BTreeSet<ConflictKey>,
    settled_keys: BTreeSet<ConflictKey>,
    broken: Option<SimulateError>,
    report: DualReport,
}

impl DualSimulation {
    /// A network of one validator for each stake.
    #[must_use]
    pub fn builder(stakes: impl IntoIterator<Item = u64>) -> DualSimulationBuilder {
        DualSimulationBuilder {
            stakes: stakes.into_iter().collect(),
            seed: 0,
            latency: Latency::Constant(1_000_000),
            links: Faults::default(),
            persist: 1_000_000,
            keyed: false,
            twins: Vec::new(),
            weakness: Weakness::None,
            plan: Vec::new(),
            load: Vec::new(),
            config: |config| config,
        }
    }

    /// Runs all events up to a moment, in nanoseconds since the start.
    ///
    /// # Errors
    /// [`SimulateError::Settlement`], [`SimulateError::Conflict`] and [`SimulateError::NotDurable`] once an invariant is
    /// broken, [`SimulateError::Store`] where a node does not begin again; every later call returns the same.
    pub fn run_until(&mut self, until: u64) -> Result<(), SimulateError> {
        while let Some(&Reverse((at, sequence))) = self.queue.peek().filter(|Reverse((at, _))| *at <= until) {
            if let Some(broken) = self.broken {
                return Err(broken);
            }
            self.queue.pop();
            self.now = at;
            if let Some(event) = self.events.remove(&sequence) {
                self.run(event);
            }
        }
        self.now = self.now.max(until);
        self.broken.map_or(Ok(()), Err)
    }

    /// Nanoseconds since the start.
    #[must_use]
    pub const fn now(&self) -> u64 {
        self.now
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

    /// Keys that verify what nodes of this simulation sign, where it is [keyed](DualSimulationBuilder::keyed).
    #[must_use]
    pub const fn verifier(&self) -> SimulatedKeys {
        if self.keyed { SimulatedKeys::Keyed([0; 32]) } else { SimulatedKeys::Unsigned }
    }

    /// A node that is up.
    #[must_use]
    pub fn node(&self, instance: usize) -> Option<&DualTrack<SimulatedKeys>> {
        self.peers.get(instance)?.node.as_deref()
    }

    /// Transactions certified somewhere and settled nowhere yet.
    #[must_use]
    pub fn certified_unsettled(&self) -> usize {
        self.certified.difference(&self.settled_keys).count()
    }

    /// Settlement blocks that every honest node that is up has committed.
    #[must_use]
    pub fn committed_everywhere(&self) -> u64 {
        let honest = self.peers.iter().filter(|peer| !peer.byzantine);
        honest.filter_map(|peer| peer.node.as_ref()).map(|node| node.replica().committed().height).min().unwrap_or(0)
    }

    /// SHA-256 over all events so far: equal for equal runs.
    #[must_use]
    pub fn trace_hash(&self) -> Hash {
        self.trace.clone().finalize().into()
    }

    fn start(&mut self, instance: usize, memory: Memory) {
        let identity = self.peers[instance].identity;
        let own = node_id(identity as u32);
        let keys = if self.keyed { SimulatedKeys::Keyed(own) } else { SimulatedKeys::Unsigned };
        let config = (self.config)(DualConfig::new(own));
        let now = self.clock(instance);
        match DualTrack::new(config, self.committee.clone(), keys, memory, 7, now) {
            Ok(node) => {
                self.peers[instance].node = Some(Box::new(node));
                self.drain(instance);
            }
            Err(_) => self.broken = Some(SimulateError::Store { node: instance }),
        }
    }

    fn clock(&self, instance: usize) -> Timestamp {
        Timestamp::from_nanos(self.now.saturating_add_signed(self.peers[instance].clock))
    }

    fn schedule(&mut self, at: u64, event: Event) {
        self.queue.push(Reverse((at.max(self.now), self.sequence)));
        self.events.insert(self.sequence, event);
        self.sequence += 1;
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
            delay = delay.saturating_mul(u64::from(slow)) / 1_000;
            let event = Event::Deliver { from, to, epoch, message: message.clone() };
            self.schedule(self.now.saturating_add(delay), event);
        }
    }

    fn run(&mut self, event: Event) {
        self.trace.update(self.now.to_be_bytes());
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
            Event::Submit(at) => {
                let (instance, tx) = self.load[at].clone();
                if self.peers[instance].node.is_some() {
                    self.report.submitted += 1;
                    self.submitted.entry(tx.keys()[0]).or_insert(self.now);
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
                self.crash(node);
                self.peers[node].store = MemoryStore::default();
                self.start(node, Memory::Lost(Root::default()));
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
        let due = node.poll_timeout().as_nanos().saturating_add_signed(-self.peers[instance].clock).max(self.now + 1);
        if !self.peers[instance].byzantine {
            let known = *self.committed.entry(committed.height).or_insert(committed.id);
            if known != committed.id || poisoned {
                self.broken = Some(SimulateError::Settlement { height: committed.height });
            }
        }
        if self.peers[instance].wake.is_none_or(|wake| due < wake) {
            self.peers[instance].wake = Some(due);
            self.schedule(due, Event::Wake(instance));
        }
    }

    fn to_identity(&self, to: &NodeId) -> Vec<usize> {
        let is = |peer: &Peer| node_id(peer.identity as u32) == *to;
        (0..self.peers.len()).filter(|at| is(&self.peers[*at])).collect()
    }

    fn carry_out(&mut self, instance: usize, output: DualOutput) {
        let honest = !self.peers[instance].byzantine;
        match output {
            DualOutput::Send { to, epoch, message } => {
                self.check_durable(instance, &message);
                let message = Arc::new(message);
                for to in self.to_identity(&to) {
                    self.send(instance, to, epoch, &message);
                }
            }
            DualOutput::Broadcast { epoch, message } => {
                self.check_durable(instance, &message);
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
                self.schedule(self.now.saturating_add(self.persist), event);
            }
            DualOutput::CertificateFormed { id, certified, .. } if honest => {
                let Some(node) = self.peers[instance].node.as_ref() else { return };
                let Some((_, vertex)) = node.fast_path().dag().get(&id) else { return };
                for tx in certified.iter().filter_map(|index| vertex.txs().get(*index as usize)) {
                    if let Some(at) = self.submitted.get(&tx.keys()[0]) {
                        self.report.formed.push(self.now - at);
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
                self.certified.insert(place.tx.keys()[0]);
                if let Some(at) = self.submitted.get(&place.tx.keys()[0]) {
                    self.report.certified.push(self.now - at);
                }
            }
            DualOutput::Settled(settled) if honest => {
                let key = (settled.checkpoint.epoch, settled.checkpoint.sequence);
                let digest = settled.checkpoint.digest();
                if !self.settled.contains_key(&key) {
                    self.report.checkpoints.push((self.now, settled.leaves.len() as u64));
                }
                if *self.settled.entry(key).or_insert(digest) != digest || settled.txs.len() != settled.leaves.len() {
                    self.broken = Some(SimulateError::Settlement { height: settled.height });
                }
                for tx in &settled.txs {
                    if self.settled_keys.insert(tx.keys()[0]) {
                        self.report.settled += 1;
                    }
                    if let Some(at) = self.submitted.get(&tx.keys()[0]) {
                        self.report.settlement.push(self.now - at);
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

    /// Whether what a message says is durable at its sender.
    fn check_durable(&mut self, instance: usize, message: &DualMessage) {
        let entries = |kind: EntryKind| self.peers[instance].store.entry(kind, 0, &[0; 32]);
        let state = || entries(EntryKind::VoteState).and_then(|bytes| VoteState::decode(bytes).ok());
        let durable = match message {
            DualMessage::Settlement(Message::Vote(vote)) => {
                state().is_some_and(|state| state.safety.last_voted() >= vote.view || state.epoch > 0)
            }
            DualMessage::Settlement(Message::Timeout(timeout)) => {
                state().is_some_and(|state| state.safety.last_timeout() >= timeout.view || state.epoch > 0)
            }
            DualMessage::Settlement(Message::Proposal(proposal)) => {
                state().is_some_and(|state| state.last_proposed >= proposal.block.view || state.epoch > 0)
            }
            DualMessage::Fast(FastMessage::Ack(ack)) => {
                self.peers[instance].store.entry(EntryKind::Ack, ack.round, &ack.vertex).is_some()
            }
            _ => true,
        };
        if !durable {
            self.broken = Some(SimulateError::NotDurable { node: instance, height: 0 });
        }
    }
}

impl Fault {
    /// The node it befalls, where it is one.
    pub(super) const fn node(&self) -> Option<usize> {
        match self {
            Self::Crash(node) | Self::Restart(node) | Self::RestartEmpty(node) => Some(*node),
            Self::Slow(node, _) | Self::ClockJump(node, _) => Some(*node),
            Self::Partition(_) | Self::Heal => None,
        }
    }
}

impl DualSimulationBuilder {
    /// Draws faults from a seed: links that lose, duplicate and reorder, up to `down` nodes at a time that crash and begin again from
    /// their store, partitions, slow nodes, clocks that jump ahead; everything is whole again at `until`. Links go on losing.
    #[must_use]
    pub fn random_faults(mut self, seed: u64, down: usize, until: u64) -> Self {
        let mut rng = stream(seed, "dual faults");
        let nodes = self.stakes.len().max(1);
        let instances = (nodes + self.twins.len()) as u64;
        self.links = Faults {
            drop_per_mille: below(80, &mut rng) as u32,
            duplicate_per_mille: below(80, &mut rng) as u32,
            reorder_per_mille: below(200, &mut rng) as u32,
            uplink_bytes_per_second: 0,
        };
        let mut at = 0;
        while at < until {
            let length = 1 + below(until / 4, &mut rng);
            let end = (at + length).min(until);
            match below(5, &mut rng) {
                0 | 1 if down > 0 => {
                    let first = below(nodes as u64, &mut rng) as usize;
                    for i in 0..1 + below(down as u64, &mut rng) as usize {
                        let node = (first + i) % nodes;
                        self.plan.push((at, Fault::Crash(node)));
                        self.plan.push((end, Fault::Restart(node)));
                    }
                }
                2 => {
                    let groups = (0..instances).map(|_| below(2, &mut rng) as usize).collect();
                    self.plan.push((at, Fault::Partition(groups)));
                    self.plan.push((end, Fault::Heal));
                }
                3 => {
                    let node = below(instances, &mut rng) as usize;
                    self.plan.push((at, Fault::Slow(node, 1_000 + below(9_000, &mut rng) as u32)));
                    self.plan.push((end, Fault::Slow(node, 1_000)));
                }
                _ => {
                    let node = below(instances, &mut rng) as usize;
                    self.plan.push((at, Fault::ClockJump(node, below(2_000_000_000, &mut rng) as i64)));
                }
            }
            at = end + rng.next_u64() % (until / 8 + 1);
        }
        self
    }
}
