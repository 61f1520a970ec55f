//! Engines that send each other messages: latency, loss, faults, adversaries.

mod builder;

use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use rand_chacha::ChaCha8Rng;
use rand_core::Rng;
use sha2::{Digest, Sha256};

use super::adversary::{Adversary, Chains, Query, Service, View};
use super::agenda::Agenda;
use super::links::{Fault, Faults, Latency, happens};
use super::{Id, SimulateError};
use crate::block::BlockRef;
use crate::engine::{Engine, EngineConfig, Input, Output, StallReport, Timestamp};
use crate::params::Params;
use crate::poll::PollId;
use crate::sampler::ValidatorSet;
use crate::sampler::units::below;
use crate::snowman::Snowman;
use crate::store::{Block, BlockStore, MemoryStore, Record};

pub use builder::SimulationBuilder;

type Node = Engine<Id, usize, ChaCha8Rng>;

/// A network of [`Engine`]s over simulated links, event by event.
///
/// Integers only, and one random stream for each purpose: the same settings give the same trace on every platform. After
/// every event two things are checked: no two honest nodes accept different blocks at a height, and no honest node tells of
/// an acceptance that is not durable.
///
/// ```
/// use hanzo_snow::simulate::{Byzantine, Latency, Simulation};
/// use hanzo_snow::Params;
///
/// let params = Params::builder().k(10).alpha_preference(7).conditions([(7, 8)]).build()?;
/// let mut network = Simulation::builder([1_000; 12])
///     .params(params)
///     .latency(Latency::Uniform { min: 20_000_000, max: 60_000_000 })
///     .byzantine(11, Byzantine::Minority)
///     .propose_every(500_000_000, 4)
///     .build()?;
/// network.run_until(20_000_000_000)?;
/// assert_eq!(network.accepted_everywhere(), 4);
/// # Ok::<(), hanzo_snow::Error>(())
/// ```
#[derive(Debug)]
pub struct Simulation {
    params: Params,
    include_self: bool,
    validators: ValidatorSet<usize>,
    peers: Vec<Peer>,
    latency: Latency,
    links: Faults,
    verify: u64,
    persist: u64,
    block_bytes: usize,
    plan: Vec<Fault>,
    groups: Option<Vec<usize>>,
    agenda: Agenda<Event>,
    network: ChaCha8Rng,
    seeds: ChaCha8Rng,
    gossip: ChaCha8Rng,
    trace: Sha256,
    genesis: BlockRef<Id>,
    /// Every valid block, with the moment it was made.
    blocks: BTreeMap<Id, (Block<Id>, u64)>,
    /// The block accepted at each height above genesis, and by whom first.
    accepted: Vec<(Id, usize)>,
    broken: Option<SimulateError>,
    report: SimulationReport,
}

/// What a [`Simulation`] has seen.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct SimulationReport {
    /// Messages sent, those lost included.
    pub messages: u64,
    /// Messages lost to links, partitions and nodes that were down.
    pub lost: u64,
    /// Bytes sent, by a rough size of each message.
    pub bytes: u64,
    /// Blocks built.
    pub built: u64,
    /// For each acceptance of a block by a node: nanoseconds since the block was built. In order of acceptance.
    pub finality: Vec<u64>,
    /// Reports of stalls: when, by whom, what.
    pub stalls: Vec<(u64, usize, StallReport<Id>)>,
}

impl SimulationReport {
    /// The `per_mille` quantile of the time to finality, in nanoseconds; `None` where nothing was accepted.
    #[must_use]
    pub fn finality_quantile(&self, per_mille: u32) -> Option<u64> {
        let mut times = self.finality.clone();
        times.sort_unstable();
        let last = times.len().checked_sub(1)?;
        times.get((last as u64 * u64::from(per_mille.min(1_000)) / 1_000) as usize).copied()
    }
}

#[derive(Debug)]
struct Peer {
    /// The validator that it is; twins share one.
    identity: usize,
    /// Neither Byzantine nor a twin.
    honest: bool,
    /// `None` while down, and for Byzantine nodes.
    engine: Option<Box<Node>>,
    adversary: Option<Box<dyn Adversary>>,
    store: MemoryStore<Id>,
    /// Events of an earlier life are void.
    incarnation: u32,
    /// What the node's clock is ahead.
    clock: i64,
    slow: u32,
    wake: Option<u64>,
    busy_until: u64,
}

impl Peer {
    fn clock_at(&self, now: u64) -> Timestamp {
        Timestamp::from_nanos(now.saturating_add_signed(self.clock))
    }
}

#[derive(Debug)]
enum Event {
    Deliver { from: usize, to: usize, message: Message },
    Wake(usize),
    Verified { node: usize, incarnation: u32, id: Id },
    Persisted { node: usize, incarnation: u32, token: u64, records: Vec<Record<Id>> },
    Fault(usize),
    Propose(usize),
}

#[derive(Debug, Clone)]
enum Message {
    Query { poll: u64, block: Id, push: Option<Block<Id>> },
    Vote { poll: u64, preferred: Id, accepted: Id, accepted_height: u64 },
    Get(Id),
    Block(Block<Id>),
    Missing(Id),
    Tip { id: Id, height: u64 },
}

impl Message {
    /// Bytes on the wire: ids of 32, numbers of 8, an envelope of 64.
    fn size(&self) -> u64 {
        64 + match self {
            Self::Query { push, .. } => 40 + push.as_ref().map_or(0, |block| block.bytes.len() as u64),
            Self::Vote { .. } => 80,
            Self::Get(_) | Self::Missing(_) => 32,
            Self::Block(block) => 72 + block.bytes.len() as u64,
            Self::Tip { .. } => 40,
        }
    }
}

impl Chains for Vec<Peer> {
    fn nodes(&self) -> usize {
        self.iter().enumerate().take_while(|(at, peer)| peer.identity == *at).count()
    }

    fn chain(&self, node: usize) -> Option<&Snowman<Id>> {
        self.get(node).filter(|peer| peer.honest)?.engine.as_ref().map(|engine| engine.chain())
    }
}

impl Simulation {
    /// A network of one node for each stake; node `i` is the validator with the `i`th stake.
    #[must_use]
    pub fn builder(stakes: impl IntoIterator<Item = u64>) -> SimulationBuilder {
        SimulationBuilder::new(stakes.into_iter().collect())
    }

    /// Runs all events up to a moment, in nanoseconds since the start.
    ///
    /// # Errors
    /// [`SimulateError::Disagreement`] and [`SimulateError::NotDurable`] once an invariant is broken; every later call
    /// returns the same.
    pub fn run_until(&mut self, until: u64) -> Result<(), SimulateError> {
        while self.broken.is_none()
            && let Some(event) = self.agenda.next(until)
        {
            self.run(event);
        }
        self.broken.map_or(Ok(()), Err)
    }

    /// Nanoseconds since the start.
    #[must_use]
    pub const fn now(&self) -> u64 {
        self.agenda.now()
    }

    /// How many blocks above genesis every honest node that is up has accepted.
    #[must_use]
    pub fn accepted_everywhere(&self) -> u64 {
        self.peers
            .iter()
            .filter(|peer| peer.honest)
            .filter_map(|peer| peer.engine.as_ref())
            .map(|engine| engine.durable().height)
            .min()
            .unwrap_or(0)
    }

    /// How many blocks above genesis some honest node has accepted.
    #[must_use]
    pub const fn accepted_somewhere(&self) -> u64 {
        self.accepted.len() as u64
    }

    /// The engine of a node that is up and runs one: of honest ones and twins.
    #[must_use]
    pub fn engine_of(&self, node: usize) -> Option<&Engine<Id, usize, impl Rng + use<>>> {
        self.peers.get(node)?.engine.as_deref()
    }

    /// What was seen so far.
    #[must_use]
    pub const fn report(&self) -> &SimulationReport {
        &self.report
    }

    /// SHA-256 over all events so far: equal for equal runs.
    #[must_use]
    pub fn trace_hash(&self) -> [u8; 32] {
        self.trace.clone().finalize().into()
    }

    fn engine(&mut self, identity: usize, tip: BlockRef<Id>) -> Result<Node, SimulateError> {
        let config = EngineConfig::new(identity, self.params).include_self(self.include_self);
        let mut seed = [0; 32];
        self.seeds.fill_bytes(&mut seed);
        let rng = <ChaCha8Rng as rand_core::SeedableRng>::from_seed(seed);
        Engine::new(config, self.validators.clone(), tip, rng).map_err(|error| match error {
            crate::engine::EngineError::Sample(error) => error.into(),
            _ => SimulateError::NoHonestNode,
        })
    }

    fn is_up(&self, node: usize) -> bool {
        self.peers[node].engine.is_some() || self.peers[node].adversary.is_some()
    }

    /// The nodes of an identity: itself and its twin, if there is one.
    fn nodes_of(&self, identity: usize) -> impl Iterator<Item = usize> + use<> {
        let twin = (self.validators.len()..self.peers.len()).find(|twin| self.peers[*twin].identity == identity);
        [Some(identity), twin].into_iter().flatten()
    }

    fn note(&mut self, kind: u8, a: usize, b: usize, id: &Id) {
        self.trace.update([kind]);
        for number in [self.agenda.now(), a as u64, b as u64] {
            self.trace.update(number.to_be_bytes());
        }
        self.trace.update(id);
    }

    /// Sends from a node to an identity.
    fn send(&mut self, from: usize, to: usize, message: Message, held_back: u64) {
        for to in self.nodes_of(to) {
            self.send_to(from, to, &message, held_back);
        }
    }

    fn send_to(&mut self, from: usize, to: usize, message: &Message, held_back: u64) {
        let size = message.size();
        self.report.messages += 1;
        self.report.bytes += size;
        let apart = self.groups.as_ref().is_some_and(|groups| {
            let group = |node: usize| groups.get(node).copied().unwrap_or(0);
            group(from) != group(to)
        });
        let lost = happens(self.links.drop_per_mille, &mut self.network);
        if apart || lost {
            self.report.lost += 1;
            return;
        }
        let mut leaves = self.agenda.now().saturating_add(held_back);
        let sending = size.saturating_mul(1_000_000_000).checked_div(self.links.uplink_bytes_per_second);
        if let Some(sending) = sending {
            leaves = leaves.max(self.peers[from].busy_until).saturating_add(sending);
            self.peers[from].busy_until = leaves;
        }
        let copies = 1 + u32::from(happens(self.links.duplicate_per_mille, &mut self.network));
        for _ in 0..copies {
            let (here, there) = (self.peers[from].identity, self.peers[to].identity);
            let mut delay = self.latency.draw(here, there, &mut self.network);
            if happens(self.links.reorder_per_mille, &mut self.network) {
                delay = delay.saturating_mul(1 + below(4, &mut self.network));
            }
            for slow in [self.peers[from].slow, self.peers[to].slow] {
                delay = (u128::from(delay) * u128::from(slow) / 1_000).min(u128::from(u64::MAX)) as u64;
            }
            self.agenda.enter(
                leaves.saturating_add(delay.max(1)),
                Event::Deliver { from: here, to, message: message.clone() },
            );
        }
    }

    fn run(&mut self, event: Event) {
        match event {
            Event::Deliver { from, to, message } => {
                if !self.is_up(to) {
                    self.report.lost += 1;
                } else if self.peers[to].adversary.is_some() {
                    self.deceive(from, to, &message);
                } else {
                    self.deliver(from, to, message);
                }
            }
            Event::Wake(node) => {
                if self.peers[node].wake == Some(self.agenda.now()) {
                    self.peers[node].wake = None;
                    self.tell(node, Input::Tick);
                }
            }
            Event::Verified { node, incarnation, id } if self.peers[node].incarnation == incarnation => {
                let ok = self.blocks.contains_key(&id);
                self.tell(node, Input::Verified { id, ok });
            }
            Event::Persisted { node, incarnation, token, records } if self.peers[node].incarnation == incarnation => {
                // Memory does not fail.
                let _ = self.peers[node].store.append(&records);
                self.tell(node, Input::Persisted(token));
            }
            Event::Verified { .. } | Event::Persisted { .. } => {}
            Event::Fault(at) => self.befall(self.plan[at].clone()),
            Event::Propose(node) => self.propose(node),
        }
    }

    fn deliver(&mut self, from: usize, to: usize, message: Message) {
        match message {
            Message::Query { poll, block, push } => {
                self.note(1, from, to, &block);
                if let Some(block) = push {
                    self.tell(to, Input::Block { block, from: Some(from) });
                }
                self.tell(to, Input::Query { from, request: poll, block });
            }
            Message::Vote { poll, preferred, accepted, accepted_height } => {
                self.note(2, from, to, &preferred);
                let poll = PollId::from_u64(poll);
                self.tell(to, Input::Vote { poll, from, preferred, accepted, accepted_height });
            }
            Message::Get(id) => {
                self.note(3, from, to, &id);
                let peer = &self.peers[to];
                let held = peer.engine.as_ref().and_then(|engine| engine.block(&id)).or_else(|| peer.store.block(&id));
                let answer = held.cloned().map_or(Message::Missing(id), Message::Block);
                self.send(to, from, answer, 0);
            }
            Message::Block(block) => {
                self.note(4, from, to, &block.header.id);
                self.tell(to, Input::Block { block, from: Some(from) });
            }
            Message::Missing(id) => {
                self.note(5, from, to, &id);
                self.tell(to, Input::FetchFailed { id });
            }
            Message::Tip { id, height } => {
                self.note(6, from, to, &id);
                self.tell(to, Input::Tip { from, id, height });
            }
        }
    }

    /// A message reaches a Byzantine node.
    fn deceive(&mut self, from: usize, to: usize, message: &Message) {
        let Some(mut adversary) = self.peers[to].adversary.take() else { return };
        let query_timeout = u64::try_from(self.params.query_timeout().as_nanos()).unwrap_or(u64::MAX);
        let view = View { now: self.agenda.now(), query_timeout, chains: &self.peers };
        match message {
            Message::Query { poll, block, .. } => {
                let answers = adversary.answer(&view, &Query { node: to, from, block: *block });
                let made_up = adversary.flood();
                self.note(7, from, to, block);
                for answer in answers {
                    let vote = Message::Vote {
                        poll: *poll,
                        preferred: answer.preferred,
                        accepted: self.genesis.id,
                        accepted_height: 0,
                    };
                    self.send(to, from, vote, answer.delay);
                }
                for _ in 0..made_up {
                    let mut block = [0; 32];
                    self.network.fill_bytes(&mut block);
                    self.send(to, from, Message::Query { poll: u64::MAX, block, push: None }, 0);
                }
            }
            Message::Get(id) => {
                let block = self.blocks.get(id).map(|(block, _)| block.clone());
                match (adversary.serve(&view, id), block) {
                    (Service::Honest, Some(block)) => self.send(to, from, Message::Block(block), 0),
                    (Service::Honest, None) => self.send(to, from, Message::Missing(*id), 0),
                    (Service::Garbage, _) => {
                        let mut header = BlockRef { id: *id, parent: *id, height: 1_000 + self.agenda.now() % 7 };
                        self.network.fill_bytes(&mut header.parent);
                        self.send(to, from, Message::Block(Block { header, bytes: [].into() }), 0);
                    }
                    (Service::Silence, _) => {}
                }
            }
            _ => {}
        }
        self.peers[to].adversary = Some(adversary);
    }

    /// Gives an input to an honest node and does what it wants.
    fn tell(&mut self, node: usize, input: Input<Id, usize>) {
        let clock = self.peers[node].clock_at(self.agenda.now());
        let Some(engine) = self.peers[node].engine.as_mut() else { return };
        // Refused is only a changed validator set, of which there is none.
        let _ = engine.handle(clock, input);
        let incarnation = self.peers[node].incarnation;
        while let Some(output) = self.peers[node].engine.as_mut().and_then(|engine| engine.poll_output()) {
            match output {
                Output::Query { poll, to, block, push } => {
                    self.send(node, to, Message::Query { poll: poll.to_u64(), block, push }, 0);
                }
                Output::Respond { to, request, preferred, accepted, accepted_height } => {
                    let durable = self.peers[node].store.tip().ok().flatten().map_or(0, |tip| tip.height);
                    if accepted_height > durable && self.peers[node].honest {
                        self.broken.get_or_insert(SimulateError::NotDurable { node, height: accepted_height });
                    }
                    let vote = Message::Vote { poll: request, preferred, accepted, accepted_height };
                    self.send(node, to, vote, 0);
                }
                Output::Fetch { from, id } => self.send(node, from, Message::Get(id), 0),
                Output::Verify(id) => {
                    self.agenda.enter_in(self.verify, Event::Verified { node, incarnation, id });
                }
                Output::Persist { token, records } => {
                    self.agenda.enter_in(self.persist, Event::Persisted { node, incarnation, token, records });
                }
                Output::Accepted { id, height } => self.accept(node, id, height),
                Output::BuildBlock { parent, height } => {
                    let block = self.build(node, parent, height, 0);
                    if let Some(engine) = self.peers[node].engine.as_mut() {
                        let _ = engine.handle(clock, Input::Block { block, from: None });
                    }
                }
                Output::Gossip { id, height } => {
                    for _ in 0..self.validators.len().min(4) {
                        let to = below(self.validators.len() as u64, &mut self.gossip) as usize;
                        if to != self.peers[node].identity {
                            self.send(node, to, Message::Tip { id, height }, 0);
                        }
                    }
                }
                Output::Stalled(report) => self.report.stalls.push((self.agenda.now(), node, report)),
                Output::Rejected { .. } | Output::Confirmed { .. } => {}
            }
        }
        let peer = &self.peers[node];
        let timeout = peer.engine.as_ref().and_then(|engine| engine.poll_timeout());
        if let Some(timeout) = timeout {
            // At least a nanosecond on, so that time passes.
            let at = i128::from(timeout.as_nanos()) - i128::from(peer.clock);
            let at = u64::try_from(at.max(i128::from(self.agenda.now()) + 1)).unwrap_or(u64::MAX);
            if peer.wake.is_none_or(|wake| at < wake) {
                self.peers[node].wake = Some(at);
                self.agenda.enter(at, Event::Wake(node));
            }
        }
    }

    fn build(&mut self, node: usize, parent: Id, height: u64, variant: u8) -> Block<Id> {
        let id = Sha256::new()
            .chain_update(parent)
            .chain_update(height.to_be_bytes())
            .chain_update((node as u64).to_be_bytes())
            .chain_update(self.report.built.to_be_bytes())
            .chain_update([variant])
            .finalize();
        let block = Block {
            header: BlockRef { id: id.into(), parent, height },
            bytes: alloc::vec![variant; self.block_bytes].into(),
        };
        self.report.built += 1;
        self.blocks.insert(block.header.id, (block.clone(), self.agenda.now()));
        block
    }

    fn accept(&mut self, node: usize, id: Id, height: u64) {
        self.note(8, node, 0, &id);
        if !self.peers[node].honest {
            return;
        }
        if let Some((_, built)) = self.blocks.get(&id) {
            self.report.finality.push(self.agenda.now() - built);
        }
        let at = (height - 1) as usize;
        if at == self.accepted.len() {
            self.accepted.push((id, node));
        }
        let known = self.accepted.get(at).copied();
        if let Some((_, first)) = known.filter(|(other, _)| *other != id) {
            self.broken.get_or_insert(SimulateError::Disagreement { height, first, second: node });
        }
    }

    fn propose(&mut self, node: usize) {
        let Some(adversary) = self.peers[node].adversary.as_mut() else {
            self.tell(node, Input::Pending);
            return;
        };
        let count = adversary.conflicting_blocks();
        let view = View { now: self.agenda.now(), query_timeout: 0, chains: &self.peers };
        let Some(parent) = view.majority().filter(|_| count > 0) else { return };
        let height = 1 + self.blocks.get(&parent).map_or(0, |(block, _)| block.header.height);
        let blocks: Vec<Block<Id>> = (0..count).map(|i| self.build(node, parent, height, i as u8)).collect();
        for to in (0..self.validators.len()).filter(|&to| to != node) {
            self.send(node, to, Message::Block(blocks[to % count].clone()), 0);
        }
    }

    /// Whether a node of an identity is up.
    fn answers(&self, identity: usize) -> bool {
        self.nodes_of(identity).any(|node| self.is_up(node))
    }

    fn connect_all(&mut self, node: usize) {
        for other in 0..self.validators.len() {
            if other != self.peers[node].identity && self.answers(other) {
                self.tell(node, Input::Connected(other));
            }
        }
    }

    fn befall(&mut self, fault: Fault) {
        match fault {
            Fault::Crash(node) => {
                if self.peers[node].engine.take().is_some() {
                    self.peers[node].incarnation += 1;
                    let identity = self.peers[node].identity;
                    for other in 0..if self.answers(identity) { 0 } else { self.peers.len() } {
                        self.tell(other, Input::Disconnected(identity));
                    }
                }
            }
            Fault::Restart(node) => self.restart(node),
            Fault::RestartEmpty(node) => {
                self.peers[node].store = MemoryStore::default();
                self.restart(node);
            }
            Fault::Partition(groups) => self.groups = Some(groups),
            Fault::Heal => self.groups = None,
            Fault::Slow(node, per_mille) => self.peers[node].slow = per_mille,
            Fault::ClockJump(node, by) => {
                self.peers[node].clock = self.peers[node].clock.saturating_add(by);
                self.peers[node].wake = None;
                self.tell(node, Input::Tick);
            }
        }
    }

    fn restart(&mut self, node: usize) {
        if self.peers[node].adversary.is_some() {
            return;
        }
        let tip = self.peers[node].store.tip().ok().flatten().unwrap_or(self.genesis);
        // The same settings built a node before.
        let identity = self.peers[node].identity;
        let Ok(engine) = self.engine(identity, tip) else { return };
        self.peers[node].incarnation += 1;
        self.peers[node].wake = None;
        self.peers[node].engine = Some(Box::new(engine));
        self.connect_all(node);
        for other in 0..self.peers.len() {
            if self.peers[other].identity != identity {
                self.tell(other, Input::Connected(identity));
            }
        }
    }
}
