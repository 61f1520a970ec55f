//! Settings of a simulation of both tracks, and faults drawn from a seed.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;

use rand_core::Rng;
use sha2::{Digest, Sha256};

use super::keys::SimulatedKeys;
use super::report::DualReport;
use super::{DualSimulation, Event, Peer, node_id};
use crate::committee::{Committee, NodeId, Sign, VerifyAll};
use crate::dual::DualConfig;
use crate::fastpath::{ConflictKey, MAX_TX_BYTES, Tx};
use crate::sampler::ValidatorSet;
use crate::sampler::units::below;
use crate::settlement::{Memory, Root};
use crate::simulate::SimulateError;
use crate::simulate::agenda::Agenda;
use crate::simulate::builder::stream;
use crate::simulate::links::{Fault, Faults, Latency};
use crate::store::MemoryStore;

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
    changes: Vec<(u64, Vec<u64>)>,
    config: fn(DualConfig) -> DualConfig,
}

impl DualSimulationBuilder {
    pub(super) fn new(stakes: Vec<u64>) -> Self {
        Self {
            stakes,
            seed: 0,
            latency: Latency::Constant(1_000_000),
            links: Faults::default(),
            persist: 1_000_000,
            keyed: false,
            twins: Vec::new(),
            weakness: Weakness::None,
            plan: Vec::new(),
            load: Vec::new(),
            changes: Vec::new(),
            config: |config| config,
        }
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

    /// Runs validators twice, each pair with one identity: two nodes that do not know of each other and so contradict each other.
    /// The twins of the first, second, .. of `nodes` are nodes n, n + 1, .. of partitions and faults. Further calls add more.
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

    /// Asks for other validators at a moment, in nanoseconds: the stake of each node, 0 for one that shall be none. All nodes are
    /// told, those that are down when they begin again.
    #[must_use]
    pub fn validators(mut self, at: u64, stakes: impl IntoIterator<Item = u64>) -> Self {
        self.changes.push((at, stakes.into_iter().collect()));
        self
    }

    /// `count` transactions of `bytes` bytes with a key of their own, one every `interval` nanoseconds from `start` on, to the
    /// nodes in turn. None where `bytes` is more than [`MAX_TX_BYTES`].
    #[must_use]
    pub fn submit_every(mut self, start: u64, interval: u64, count: u64, bytes: usize) -> Self {
        let nodes = self.stakes.len().max(1) as u64;
        let first = self.load.len() as u64;
        for i in 0..count {
            let key = ConflictKey::new(b"load", first + i);
            let mut payload = alloc::vec![0; bytes.min(MAX_TX_BYTES + 1)];
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
        let keyed = self.keyed;
        self.build_with(|own| if keyed { SimulatedKeys::Keyed(own) } else { SimulatedKeys::Unsigned })
    }

    /// The name of a node, by position.
    #[must_use]
    pub fn name(position: u32) -> NodeId {
        node_id(position)
    }

    /// The same with signatures of any scheme: what each validator, by [`name`](Self::name), signs and verifies with. Twins share
    /// theirs.
    ///
    /// # Errors
    /// [`SimulateError`] for refused stakes or latency, or a node that is not there.
    pub fn build_with<A: Sign + VerifyAll + Clone>(
        self,
        mut authority: impl FnMut(NodeId) -> A,
    ) -> Result<DualSimulation<A>, SimulateError> {
        let nodes = self.stakes.len();
        let instances = nodes + self.twins.len();
        let set = |stakes: &[u64]| ValidatorSet::from_stakes((0_u32..).map(node_id).zip(stakes.iter().copied()), 1);
        let validators = set(&self.stakes)?;
        self.latency.check(nodes)?;
        let faulted = self.plan.iter().filter_map(|(_, fault)| fault.node()).filter(|node| *node >= instances);
        let loaded = self.load.iter().map(|(_, node, _)| *node).filter(|node| *node >= instances);
        let twinned = self.twins.iter().copied().filter(|node| *node >= nodes);
        let changed = self.changes.iter().map(|(_, stakes)| stakes.len()).filter(|stakes| *stakes > nodes);
        if let Some(node) = faulted.chain(loaded).chain(twinned).chain(changed).next() {
            return Err(SimulateError::UnknownNode { node, nodes });
        }
        let mut committee = Committee::new([0x5c; 32], 0, validators)?;
        if let Weakness::Quorum(stake) = self.weakness {
            committee = committee.with_quorum(stake);
        }
        let authorities: Vec<A> = (0_u32..).map(node_id).take(nodes).map(&mut authority).collect();
        let mut simulation = DualSimulation {
            config: self.config,
            committee,
            weakness: self.weakness,
            peers: Vec::new(),
            latency: self.latency,
            links: self.links,
            persist: self.persist,
            plan: Vec::new(),
            load: Vec::new(),
            changes: Vec::new(),
            wanted: None,
            groups: None,
            agenda: Agenda::new(),
            network: stream(self.seed, "dual network"),
            trace: Sha256::new(),
            committed: BTreeMap::new(),
            settled: BTreeMap::new(),
            keys: BTreeMap::new(),
            submitted: BTreeMap::new(),
            sent: BTreeMap::new(),
            certified: BTreeSet::new(),
            settled_txs: BTreeSet::new(),
            broken: None,
            report: DualReport::default(),
        };
        for identity in (0..nodes).chain(self.twins.iter().copied()) {
            simulation.peers.push(Peer {
                identity,
                authority: authorities[identity].clone(),
                byzantine: self.twins.contains(&identity),
                told: None,
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
            simulation.agenda.enter(at, Event::Fault(simulation.plan.len() - 1));
        }
        for (at, node, tx) in self.load {
            simulation.load.push((node, tx));
            simulation.agenda.enter(at, Event::Submit(simulation.load.len() - 1));
        }
        for (at, stakes) in self.changes {
            let next = set(&stakes)?;
            simulation.changes.push(next.nodes().iter().copied().zip(next.stakes().iter().copied()).collect());
            simulation.agenda.enter(at, Event::Change(simulation.changes.len() - 1));
        }
        Ok(simulation)
    }
}

impl Fault {
    /// The node it befalls, where it is one.
    pub(in crate::simulate) const fn node(&self) -> Option<usize> {
        match self {
            Self::Crash(node) | Self::Restart(node) | Self::RestartEmpty(node) => Some(*node),
            Self::Slow(node, _) | Self::ClockJump(node, _) => Some(*node),
            Self::Partition(_) | Self::Heal => None,
        }
    }
}

impl DualSimulationBuilder {
    /// Draws faults from a seed, in place of the links set so far: links that lose, duplicate and reorder, up to `down` nodes at a
    /// time that crash and begin again from their store, partitions, slow nodes, clocks that jump ahead; everything is whole
    /// again at `until`, in nanoseconds. Links go on losing.
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
            let end = at.saturating_add(length).min(until);
            match below(5, &mut rng) {
                0 | 1 if down > 0 => {
                    let first = below(nodes as u64, &mut rng) as usize;
                    for i in 0..1 + below(down.min(nodes) as u64, &mut rng) as usize {
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
            at = end.saturating_add(rng.next_u64() % (until / 8 + 1));
        }
        self
    }
}
