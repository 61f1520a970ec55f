//! The blocks a replica holds: the committed chain's end and what stands on it.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::sync::Arc;
use alloc::vec::Vec;

use super::block::{Block, Root};
use super::leader::{LeaderRule, leader};
use crate::checkpoint::Hash;
use crate::committee::Committee;

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Node {
    /// `None` for the root, whose block belongs to the epoch before.
    pub(super) block: Option<Block>,
    pub(super) view: u64,
    pub(super) height: u64,
    pub(super) parent: Hash,
    /// Whether the application found the payload valid; `None` until it has said.
    pub(super) valid: Option<bool>,
    /// Whether this block or one below it that was not committed when it came closes the epoch.
    pub(super) closing: bool,
    /// Skipped views of the last 2n, latest first, with who led them.
    skipped: Arc<[(u64, u32)]>,
    left_out: BTreeSet<u32>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Tree {
    nodes: BTreeMap<Hash, Node>,
    root: Root,
    committed: Root,
    rule: LeaderRule,
}

impl Tree {
    pub(super) fn new(root: Root, rule: LeaderRule) -> Self {
        let node = Node {
            block: None,
            view: 0,
            height: root.height,
            parent: [0; 32],
            valid: Some(true),
            closing: false,
            skipped: Arc::from([]),
            left_out: BTreeSet::new(),
        };
        Self { nodes: BTreeMap::from([(root.id, node)]), root, committed: root, rule }
    }

    pub(super) const fn root(&self) -> &Root {
        &self.root
    }

    pub(super) const fn committed(&self) -> &Root {
        &self.committed
    }

    pub(super) fn get(&self, id: &Hash) -> Option<&Node> {
        self.nodes.get(id)
    }

    pub(super) fn len(&self) -> usize {
        self.nodes.len()
    }

    pub(super) fn set_valid(&mut self, id: &Hash, valid: bool) -> bool {
        self.nodes.get_mut(id).map(|node| node.valid = Some(valid)).is_some()
    }

    /// Takes a block whose parent is there; whether it fits. A block that is there is not taken again.
    pub(super) fn insert(&mut self, committee: &Committee, id: Hash, block: Block) -> bool {
        if self.nodes.contains_key(&id) {
            return true;
        }
        let Some(parent) = self.nodes.get(&block.justify.block) else { return false };
        let fits = parent.view == block.justify.view
            && parent.height.checked_add(1) == Some(block.height)
            // Above a block that closes the epoch there is nothing but what commits it.
            && !(parent.closing && (!block.payload.is_empty() || block.next.is_some()));
        if !fits {
            return false;
        }
        let (skipped, left_out) = self.reputation(committee, parent, block.view);
        let node = Node {
            view: block.view,
            height: block.height,
            parent: block.justify.block,
            valid: None,
            closing: parent.closing || block.next.is_some(),
            skipped,
            left_out,
            block: Some(block),
        };
        self.nodes.insert(id, node);
        true
    }

    fn reputation(&self, committee: &Committee, parent: &Node, view: u64) -> (Arc<[(u64, u32)]>, BTreeSet<u32>) {
        if self.rule == LeaderRule::RoundRobin {
            return (Arc::from([]), BTreeSet::new());
        }
        let floor = view.saturating_sub(2 * committee.len() as u64);
        if view == parent.view + 1 && parent.skipped.last().is_none_or(|(view, _)| *view >= floor) {
            return (parent.skipped.clone(), parent.left_out.clone());
        }
        let new =
            (floor.max(parent.view + 1)..view).rev().map(|view| (view, leader(committee, view, &parent.left_out)));
        let skipped: Arc<[(u64, u32)]> =
            new.chain(parent.skipped.iter().copied().filter(|(view, _)| *view >= floor)).collect();
        let mut left_out = BTreeSet::new();
        let mut stake = 0;
        for (_, who) in skipped.iter() {
            let with = stake + committee.stake(*who);
            if !left_out.contains(who) && with <= committee.quorum().max_faulty() {
                left_out.insert(*who);
                stake = with;
            }
        }
        (skipped, left_out)
    }

    /// The leader of a view on a block.
    pub(super) fn leader(&self, committee: &Committee, view: u64, on: &Hash) -> Option<u32> {
        self.nodes.get(on).map(|node| leader(committee, view, &node.left_out))
    }

    /// Whether something waits to be committed on the way from the last committed block to this one.
    pub(super) fn has_work(&self, tip: &Hash) -> bool {
        let mut at = *tip;
        while let Some(node) = self.nodes.get(&at).filter(|node| node.height > self.committed.height) {
            if node.block.as_ref().is_some_and(|block| !block.payload.is_empty() || block.next.is_some()) {
                return true;
            }
            at = node.parent;
        }
        false
    }

    /// Whether a certified block and its parent of the view before stand above every committed block that settles something.
    pub(super) fn shows_commits(&self, tip: &Hash) -> bool {
        let mut at = self.committed.id;
        let least = loop {
            // What is held reaches no further down: any two blocks that are held will do.
            let Some(node) = self.nodes.get(&at) else { break 0 };
            match &node.block {
                None => return true,
                Some(block) if !block.payload.is_empty() || block.next.is_some() => break node.height,
                Some(_) => at = node.parent,
            }
        };
        let mut above = self.nodes.get(tip);
        while let Some(node) = above {
            let parent = self.nodes.get(&node.parent).filter(|parent| parent.height >= least);
            if parent.is_some_and(|parent| parent.view + 1 == node.view) {
                return true;
            }
            above = parent;
        }
        false
    }

    /// The way down from a block to just above a height, lowest first; `None` if a block is missing.
    pub(super) fn path(&self, tip: &Hash, above: u64) -> Option<Vec<(Hash, Block)>> {
        let mut path = Vec::new();
        let mut at = *tip;
        loop {
            let node = self.nodes.get(&at)?;
            if node.height <= above {
                break;
            }
            path.push((at, node.block.clone()?));
            at = node.parent;
        }
        path.reverse();
        Some(path)
    }

    /// The way down from a block as far as blocks are held, lowest first.
    pub(super) fn held_path(&self, tip: &Hash) -> Vec<(Hash, Block)> {
        let mut path = Vec::new();
        let mut at = *tip;
        while let Some(Node { block: Some(block), parent, .. }) = self.nodes.get(&at) {
            path.push((at, block.clone()));
            at = *parent;
        }
        path.reverse();
        path
    }

    /// Whether a block stands on another.
    pub(super) fn stands_on(&self, tip: &Hash, below: &Root) -> bool {
        let mut at = *tip;
        while let Some(node) = self.nodes.get(&at) {
            if node.height <= below.height {
                return at == below.id;
            }
            at = node.parent;
        }
        false
    }

    /// Moves the committed block and forgets what conflicts with it and what is more than `window` below.
    pub(super) fn commit(&mut self, committed: Root, window: u64) {
        self.committed = committed;
        let floor = committed.height.saturating_sub(window);
        let mut chain = BTreeSet::new();
        let mut at = committed.id;
        while let Some(node) = self.nodes.get(&at).filter(|node| node.height >= floor) {
            chain.insert(at);
            if node.block.is_none() {
                // The root, whose parent is of another epoch.
                break;
            }
            at = node.parent;
        }
        let above: Vec<(u64, Hash)> = {
            let mut above: Vec<(u64, Hash)> = self
                .nodes
                .iter()
                .filter(|(_, node)| node.height > committed.height)
                .map(|(id, node)| (node.height, *id))
                .collect();
            above.sort_unstable();
            above
        };
        for (_, id) in above {
            if self.nodes.get(&id).is_some_and(|node| chain.contains(&node.parent)) {
                chain.insert(id);
            }
        }
        self.nodes.retain(|id, _| chain.contains(id));
    }
}
