//! Plain models of the tree and the chain: one instance a bit, every reset at once, everything recomputed.

use std::collections::BTreeMap;

use hanzo_snow::{BlockId, Params, Variant, VoteBag};

pub(crate) type Id = [u8; 1];

/// One bit of a trie path. `sides` are the bits that some id has here.
#[derive(Clone, Default)]
struct Bit {
    sides: [bool; 2],
    counters: [u32; 8],
    finalized: bool,
    last: bool,
    strengths: [u32; 2],
    strongest: bool,
}

pub(crate) struct Tree {
    params: Params,
    variant: Variant,
    /// By (depth, bits above), bits as the number they have in the id.
    bits: BTreeMap<(u32, u8), Bit>,
}

fn prefix(id: Id, depth: u32) -> u8 {
    id[0] & ((1_u16 << depth) - 1) as u8
}

impl Tree {
    pub(crate) fn new(params: Params, variant: Variant, first: Id) -> Self {
        let mut tree = Self { params, variant, bits: BTreeMap::new() };
        tree.add(first);
        tree
    }

    pub(crate) fn add(&mut self, id: Id) {
        for depth in 0..8 {
            let side = id.bit(depth);
            let bit = self.bits.entry((depth, prefix(id, depth))).or_default();
            if bit.finalized && bit.last != side {
                return;
            }
            if bit.sides == [false; 2] {
                (bit.last, bit.strongest) = (side, side);
            }
            bit.sides[usize::from(side)] = true;
        }
    }

    fn preferred_bit(&self, bit: &Bit) -> bool {
        if self.variant == Variant::Snowball && !bit.finalized { bit.strongest } else { bit.last }
    }

    fn path(&self) -> Vec<&Bit> {
        let mut id = [0];
        let mut path = Vec::new();
        for depth in 0..8 {
            let bit = &self.bits[&(depth, prefix(id, depth))];
            id[0] |= u8::from(self.preferred_bit(bit)) << depth;
            path.push(bit);
        }
        path
    }

    pub(crate) fn preference(&self) -> Id {
        let bits = self.path();
        [bits.iter().enumerate().map(|(depth, bit)| u8::from(self.preferred_bit(bit)) << depth).sum()]
    }

    pub(crate) fn is_finalized(&self) -> bool {
        self.path().iter().all(|bit| bit.finalized)
    }

    pub(crate) fn clear(&mut self, depth: u32, above: u8) {
        for ((at, bits), bit) in &mut self.bits {
            if *at >= depth && prefix([*bits], depth) == above {
                bit.counters = [0; 8];
            }
        }
    }

    pub(crate) fn record_poll(&mut self, votes: &[(Id, u32)]) -> bool {
        let alpha = u32::from(self.params.alpha_preference());
        let mut above = 0_u8;
        let mut successful = false;
        for depth in 0..8 {
            let mut count = [0; 2];
            for (id, votes) in votes.iter().filter(|(id, _)| prefix(*id, depth) == above) {
                count[usize::from(id.bit(depth))] += votes;
            }
            let bit = self.bits.get_mut(&(depth, above)).unwrap();
            if bit.finalized {
                above |= u8::from(bit.last) << depth;
                continue;
            }
            let side = if bit.sides == [true; 2] { count[1] >= alpha } else { bit.sides[1] };
            let count = count[usize::from(side)];
            if count < alpha {
                self.clear(depth, above);
                return successful;
            }
            successful = true;
            bit.strengths[usize::from(side)] += 1;
            if bit.strengths[usize::from(side)] > bit.strengths[usize::from(!side)] {
                bit.strongest = side;
            }
            if bit.last != side {
                bit.last = side;
                bit.counters = [0; 8];
            }
            for (i, condition) in self.params.conditions().iter().enumerate() {
                if count < u32::from(condition.alpha_confidence) {
                    bit.counters[i..].fill(0);
                    break;
                }
                bit.counters[i] += 1;
                if bit.counters[i] >= condition.beta {
                    bit.finalized = true;
                    break;
                }
            }
            self.clear(depth + 1, above | u8::from(!side) << depth);
            above |= u8::from(side) << depth;
        }
        successful
    }
}

/// A chain by the same plain means.
pub(crate) struct Chain {
    params: Params,
    variant: Variant,
    pub(crate) last_accepted: (Id, u64),
    /// Parents and heights of the processing blocks.
    pub(crate) blocks: BTreeMap<Id, (Id, u64)>,
    trees: BTreeMap<Id, Tree>,
    /// `(accepted, id)` in order.
    pub(crate) decided: Vec<(bool, Id)>,
}

impl Chain {
    pub(crate) fn new(params: Params, variant: Variant, genesis: Id) -> Self {
        let last_accepted = (genesis, 0);
        Self { params, variant, last_accepted, blocks: BTreeMap::new(), trees: BTreeMap::new(), decided: Vec::new() }
    }

    /// False if the parent is neither processing nor last accepted.
    pub(crate) fn add(&mut self, id: Id, parent: Id) -> bool {
        let height = if parent == self.last_accepted.0 {
            self.last_accepted.1
        } else {
            match self.blocks.get(&parent) {
                Some(&(_, height)) => height,
                None => return false,
            }
        };
        self.blocks.insert(id, (parent, height + 1));
        let (params, variant) = (self.params, self.variant);
        self.trees.entry(parent).or_insert_with(|| Tree::new(params, variant, id)).add(id);
        true
    }

    fn children(&self, of: Id) -> Vec<Id> {
        self.blocks.iter().filter(|(_, (parent, _))| *parent == of).map(|(&id, _)| id).collect()
    }

    fn weight(&self, id: Id, votes: &VoteBag<Id>) -> u32 {
        votes.count(&id) + self.children(id).into_iter().map(|child| self.weight(child, votes)).sum::<u32>()
    }

    /// The preferred chain above the last accepted block.
    pub(crate) fn preferred(&self) -> Vec<Id> {
        let mut path = Vec::new();
        let mut at = self.last_accepted.0;
        while let Some(tree) = self.trees.get(&at) {
            at = tree.preference();
            path.push(at);
        }
        path
    }

    /// Whether the poll was a success; `None` where a final tree was polled again, whose answer means nothing.
    pub(crate) fn record_poll(&mut self, votes: &VoteBag<Id>) -> Option<bool> {
        let alpha = u32::from(self.params.alpha_preference());
        let mut visited = Vec::new();
        let mut at = Some(self.last_accepted.0);
        let mut successful = Some(false);
        while let Some(id) = at.take() {
            let weights: Vec<(Id, u32)> =
                self.children(id).into_iter().map(|child| (child, self.weight(child, votes))).collect();
            if weights.iter().map(|(_, weight)| weight).sum::<u32>() < alpha {
                break;
            }
            visited.push(id);
            at = weights
                .iter()
                .find(|(child, _)| {
                    self.children(*child).into_iter().map(|id| self.weight(id, votes)).sum::<u32>() >= alpha
                })
                .map(|&(child, _)| child);
            let tree = self.trees.get_mut(&id).unwrap();
            let was_final = tree.is_finalized();
            let polled = tree.record_poll(&weights);
            successful = successful.filter(|_| !was_final).map(|successful| successful | polled);
            if id == self.last_accepted.0 && tree.is_finalized() {
                let accepted = tree.preference();
                self.trees.remove(&id);
                for sibling in self.children(id) {
                    if sibling == accepted {
                        let (_, height) = self.blocks.remove(&sibling).unwrap();
                        self.last_accepted = (sibling, height);
                        self.decided.push((true, sibling));
                    }
                }
                for sibling in self.children(id) {
                    self.reject(sibling);
                }
                at = at.filter(|next| *next == accepted);
            }
        }
        for (id, tree) in &mut self.trees {
            if !visited.contains(id) {
                tree.clear(0, 0);
            }
        }
        successful
    }

    fn reject(&mut self, id: Id) {
        self.decided.push((false, id));
        for child in self.children(id) {
            self.reject(child);
        }
        self.blocks.remove(&id);
        self.trees.remove(&id);
    }
}
