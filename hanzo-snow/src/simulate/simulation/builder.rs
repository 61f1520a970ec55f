//! Settings of a [`Simulation`].

use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use sha2::{Digest, Sha256};

use super::{Event, Peer, Simulation, SimulationReport};
use crate::block::BlockRef;
use crate::params::Params;
use crate::sampler::ValidatorSet;
use crate::simulate::SimulateError;
use crate::simulate::adversary::Adversary;
use crate::simulate::agenda::Agenda;
use crate::simulate::builder::stream;
use crate::simulate::links::{Fault, Faults, Latency};
use crate::store::MemoryStore;

/// Settings of a [`Simulation`].
#[derive(Debug)]
pub struct SimulationBuilder {
    stakes: Vec<u64>,
    params: Params,
    include_self: bool,
    seed: u64,
    latency: Latency,
    links: Faults,
    verify: u64,
    persist: u64,
    block_bytes: usize,
    plan: Vec<(u64, Fault)>,
    proposals: Vec<(u64, usize)>,
    byzantine: BTreeMap<usize, Box<dyn Adversary>>,
    twins: Vec<usize>,
}

impl SimulationBuilder {
    pub(super) const fn new(stakes: Vec<u64>) -> Self {
        Self {
            stakes,
            params: Params::AVALANCHE,
            include_self: false,
            seed: 0,
            latency: Latency::Constant(1_000_000),
            links: Faults {
                drop_per_mille: 0,
                duplicate_per_mille: 0,
                reorder_per_mille: 0,
                uplink_bytes_per_second: 0,
            },
            verify: 100_000,
            persist: 1_000_000,
            block_bytes: 1_000,
            plan: Vec::new(),
            proposals: Vec::new(),
            byzantine: BTreeMap::new(),
            twins: Vec::new(),
        }
    }

    /// Parameters of every node; the production setting unless set.
    #[must_use]
    pub const fn params(mut self, params: Params) -> Self {
        self.params = params;
        self
    }

    /// Whether nodes sample their own stake.
    #[must_use]
    pub const fn include_self(mut self, include: bool) -> Self {
        self.include_self = include;
        self
    }

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

    /// What else links do.
    #[must_use]
    pub const fn links(mut self, links: Faults) -> Self {
        self.links = links;
        self
    }

    /// Nanoseconds that verifying a block and making it durable take; 0.1 and 1 ms unless set.
    #[must_use]
    pub const fn costs(mut self, verify: u64, persist: u64) -> Self {
        self.verify = verify;
        self.persist = persist;
        self
    }

    /// Bytes of a block; 1,000 unless set.
    #[must_use]
    pub const fn block_bytes(mut self, bytes: usize) -> Self {
        self.block_bytes = bytes;
        self
    }

    /// Lets something happen at a moment, in nanoseconds.
    #[must_use]
    pub fn fault(mut self, at: u64, fault: Fault) -> Self {
        self.plan.push((at, fault));
        self
    }

    /// Gives a node something to build a block of, at a moment in nanoseconds.
    #[must_use]
    pub fn propose(mut self, at: u64, node: usize) -> Self {
        self.proposals.push((at, node));
        self
    }

    /// `count` proposals, one every `interval` nanoseconds, the nodes in turn.
    #[must_use]
    pub fn propose_every(mut self, interval: u64, count: u64) -> Self {
        let nodes = self.stakes.len().max(1) as u64;
        self.proposals.extend((0..count).map(|i| (i.saturating_mul(interval), (i % nodes) as usize)));
        self
    }

    /// Makes a node Byzantine.
    #[must_use]
    pub fn byzantine(mut self, node: usize, adversary: impl Adversary + 'static) -> Self {
        self.byzantine.insert(node, Box::new(adversary));
        self
    }

    /// Runs validators twice, each pair with one identity: two engines that do not know of each other, get the same messages, and so
    /// contradict each other. The twins of the first, second, .. of `nodes` are nodes n, n + 1, .. of faults, partitions and proposals.
    /// What twins accept is not held against them.
    #[must_use]
    pub fn twins(mut self, nodes: impl IntoIterator<Item = usize>) -> Self {
        self.twins.extend(nodes);
        self
    }

    /// Builds the network, all nodes up and connected at time 0.
    ///
    /// # Errors
    /// [`SimulateError`] for refused stakes or latency, a node that is not there, is Byzantine and a twin, or has two twins, no honest
    /// node, or a sample that cannot be drawn.
    pub fn build(self) -> Result<Simulation, SimulateError> {
        let nodes = self.stakes.len();
        let validators = ValidatorSet::new(self.stakes.into_iter().enumerate())?;
        self.latency.check(nodes)?;
        let instances = nodes + self.twins.len();
        let proposers = self.proposals.iter().map(|(_, node)| *node);
        let faulted = self.plan.iter().filter_map(|(_, fault)| fault.node());
        let unknown = proposers.chain(faulted).filter(|node| *node >= instances);
        let taken =
            |at: usize| self.byzantine.contains_key(&self.twins[at]) || self.twins[..at].contains(&self.twins[at]);
        let twice = (0..self.twins.len()).filter(|at| taken(*at)).map(|at| self.twins[at]);
        let identities = self.byzantine.keys().chain(&self.twins).copied().filter(|node| *node >= nodes);
        if let Some(node) = unknown.chain(identities).chain(twice).next() {
            return Err(SimulateError::UnknownNode { node, nodes });
        }
        if self.byzantine.len() + self.twins.len() == nodes {
            return Err(SimulateError::NoHonestNode);
        }
        let genesis = BlockRef { id: [0; 32], parent: [0; 32], height: 0 };
        let mut simulation = Simulation {
            params: self.params,
            include_self: self.include_self,
            validators,
            peers: Vec::new(),
            latency: self.latency,
            links: self.links,
            verify: self.verify,
            persist: self.persist,
            block_bytes: self.block_bytes,
            plan: Vec::new(),
            groups: None,
            agenda: Agenda::new(),
            network: stream(self.seed, "network"),
            seeds: stream(self.seed, "nodes"),
            gossip: stream(self.seed, "gossip"),
            trace: Sha256::new(),
            genesis,
            blocks: BTreeMap::new(),
            accepted: Vec::new(),
            broken: None,
            report: SimulationReport::default(),
        };
        let mut byzantine = self.byzantine;
        for identity in (0..nodes).chain(self.twins.iter().copied()) {
            let adversary = byzantine.remove(&identity);
            let engine = if adversary.is_none() { Some(Box::new(simulation.engine(identity, genesis)?)) } else { None };
            simulation.peers.push(Peer {
                identity,
                honest: adversary.is_none() && !self.twins.contains(&identity),
                engine,
                adversary,
                store: MemoryStore::default(),
                incarnation: 0,
                clock: 0,
                slow: 1_000,
                wake: None,
                busy_until: 0,
            });
        }
        for node in 0..instances {
            simulation.connect_all(node);
        }
        for (at, fault) in self.plan {
            simulation.plan.push(fault);
            simulation.agenda.enter(at, Event::Fault(simulation.plan.len() - 1));
        }
        for (at, node) in self.proposals {
            simulation.agenda.enter(at, Event::Propose(node));
        }
        Ok(simulation)
    }
}
