//! Settings of a network.

use alloc::boxed::Box;
use alloc::collections::{BTreeMap, VecDeque};
use alloc::vec::Vec;

use rand_chacha::ChaCha8Rng;
use rand_core::{Rng, SeedableRng};
use sha2::{Digest, Sha256};

use super::{Id, Network, Node, SimulateError, Strategy};
use crate::block::BlockRef;
use crate::params::Params;
use crate::sampler::{SampleError, StakeTable, ValidatorSet};
use crate::snowflake::Variant;
use crate::snowman::Snowman;
use crate::votes::VoteBag;

/// Collects the settings of a [`Network`]; see [`Network::builder`].
///
/// Without other parameters one node takes [`Params::SINGLE`], 2 to 19 nodes [`Params::for_small_set`], both with the own
/// stake in the sample, and more nodes [`Params::AVALANCHE`] without it.
///
/// Where stakes are so small that a sample is the whole set, everybody sees the same votes, and an even split lasts for
/// ever; give stakes well above 1.
#[derive(Debug, Clone, PartialEq)]
pub struct NetworkBuilder {
    stakes: Vec<u64>,
    params: Option<Params>,
    variant: Variant,
    include_self: Option<bool>,
    seed: u64,
    genesis: BlockRef<Id>,
    byzantine: Vec<(usize, Strategy)>,
}

impl NetworkBuilder {
    pub(super) const fn new(stakes: Vec<u64>) -> Self {
        Self {
            stakes,
            params: None,
            variant: Variant::Snowflake,
            include_self: None,
            seed: 0,
            genesis: BlockRef { id: [0; 32], parent: [0; 32], height: 0 },
            byzantine: Vec::new(),
        }
    }

    /// Parameters of every node.
    #[must_use]
    pub const fn params(mut self, params: Params) -> Self {
        self.params = Some(params);
        self
    }

    /// Variant of every node; Snowflake unless set.
    #[must_use]
    pub const fn variant(mut self, variant: Variant) -> Self {
        self.variant = variant;
        self
    }

    /// Whether a node may sample its own stake; unless set, only in networks of less than 20.
    #[must_use]
    pub const fn include_self(mut self, include: bool) -> Self {
        self.include_self = Some(include);
        self
    }

    /// Seed of all that is drawn; 0 unless set.
    #[must_use]
    pub const fn seed(mut self, seed: u64) -> Self {
        self.seed = seed;
        self
    }

    /// The block accepted at the start; id zero at height 0 unless set.
    #[must_use]
    pub const fn genesis(mut self, genesis: BlockRef<Id>) -> Self {
        self.genesis = genesis;
        self
    }

    /// Makes nodes Byzantine; further calls add more.
    #[must_use]
    pub fn byzantine(mut self, nodes: impl IntoIterator<Item = usize>, strategy: Strategy) -> Self {
        self.byzantine.extend(nodes.into_iter().map(|node| (node, strategy)));
        self
    }

    /// Builds the network. O(n).
    ///
    /// # Errors
    /// [`SimulateError`] for refused stakes, a sample that some honest node cannot draw, a Byzantine node that is
    /// not there or named twice, or no honest node.
    pub fn build(self) -> Result<Network, SimulateError> {
        let n = self.stakes.len();
        let set = ValidatorSet::new(self.stakes.into_iter().enumerate())?;
        let small = n < 20;
        let params = match self.params {
            Some(params) => params,
            None if n == 1 => Params::SINGLE,
            None if small => Params::for_small_set(n as u16)?,
            None => Params::AVALANCHE,
        };
        let include_self = self.include_self.unwrap_or(small);
        let mut strategies = alloc::vec![None; n];
        let mut byzantine_stake = 0;
        for (node, strategy) in self.byzantine {
            let free = strategies.get_mut(node).filter(|slot| slot.is_none());
            *free.ok_or(SimulateError::UnknownNode { node, nodes: n })? = Some(strategy);
            byzantine_stake += set.stakes()[node];
        }
        let mut seeds = stream(self.seed, "hash");
        let mut nodes = Vec::with_capacity(n);
        let mut honest = 0;
        for (node, strategy) in strategies.into_iter().enumerate() {
            // Each node keys its index for itself, so that the choice of one leaves the others as they are.
            let hash_seed = seeds.next_u64();
            nodes.push(match strategy {
                Some(strategy) => Node::Byzantine(strategy),
                None => {
                    honest += 1;
                    let own = if include_self { 0 } else { set.stakes()[node] };
                    let total_stake = set.total_stake() - own;
                    if total_stake < u64::from(params.k()) {
                        return Err(SampleError::SampleTooLarge { total_stake, k: params.k() }.into());
                    }
                    Node::Honest(Box::new(Snowman::new(params, self.variant, self.genesis, hash_seed)))
                }
            });
        }
        if honest == 0 {
            return Err(SimulateError::NoHonestNode);
        }
        Ok(Network {
            params,
            include_self,
            nodes,
            honest,
            sampler: StakeTable::new(&set),
            byzantine_stake,
            children: BTreeMap::new(),
            genesis_height: self.genesis.height,
            accepted: Vec::new(),
            everywhere: 0,
            genesis: self.genesis.id,
            round: 0,
            broken: None,
            events: VecDeque::new(),
            trace: Sha256::new(),
            sampling: stream(self.seed, "sampling"),
            delivery: stream(self.seed, "delivery"),
            answers: Vec::new(),
            positions: Vec::new(),
            votes: VoteBag::new(),
            decisions: Vec::new(),
        })
    }
}

/// A stream of its own for each purpose: seed = SHA-256(seed u64 big-endian | label).
pub(super) fn stream(seed: u64, label: &str) -> ChaCha8Rng {
    ChaCha8Rng::from_seed(Sha256::new().chain_update(seed.to_be_bytes()).chain_update(label).finalize().into())
}
