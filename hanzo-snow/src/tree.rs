//! A Patricia trie of unary and binary instances over the bits of ids.

use alloc::vec::Vec;

use crate::block::BlockId;
use crate::instance::{Binary, Unary};
use crate::params::{Params, Thresholds};
use crate::snowflake::Variant;
use crate::votes::{TooManyVotes, VoteBag};

/// Many choices decided bit by bit: ids that share a prefix share the confidence in it.
///
/// Votes may only name ids that were passed to [`new`](Self::new) or [`add`](Self::add); drop others first, as
/// [`Snowman`](crate::Snowman) does. A vote for another id would count for the bits that it shares with the choices.
///
/// ```
/// use hanzo_snow::{Params, Tree, Variant};
///
/// let params = Params::builder().k(3).alpha_preference(2).conditions([(2, 2)]).concurrent_repolls(1).build()?;
/// let mut tree = Tree::new(params, Variant::Snowflake, [0b0000_0000_u8]);
/// tree.add([0b0000_0001]);
/// for _ in 0..2 {
///     assert!(tree.record_poll(&[[1], [1], [0]].into_iter().collect())?);
/// }
/// assert!(tree.is_finalized());
/// assert_eq!(tree.preference(), [1]);
/// # Ok::<(), hanzo_snow::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct Tree<Id> {
    params: Params,
    variant: Variant,
    first: Id,
    trie: Trie<Id>,
    /// Working memory of a poll, empty between polls.
    votes: Vec<(Id, u32)>,
}

impl<Id: BlockId> Tree<Id> {
    /// An instance with one choice.
    #[must_use]
    pub fn new(params: Params, variant: Variant, first: Id) -> Self {
        let mut trie = Trie::new();
        trie.add(first);
        Self { params, variant, first, trie, votes: Vec::new() }
    }

    /// Adds a choice. O(BITS) time, at most three trie nodes, which stay until the tree is dropped.
    ///
    /// An id that is already there, or that contradicts what is decided, changes nothing, and neither does any id once the
    /// tree is final.
    pub fn add(&mut self, id: Id) {
        self.trie.add(id);
    }

    /// Takes the votes of a poll; true if the root took at least `alpha_preference` of them.
    ///
    /// O(votes * depth), no allocation once its working memory has grown.
    ///
    /// # Errors
    /// [`TooManyVotes`] if the bag holds more than `k` votes; nothing changes.
    pub fn record_poll(&mut self, votes: &VoteBag<Id>) -> Result<bool, TooManyVotes> {
        votes.check(self.params.k())?;
        self.votes.extend(votes.iter());
        let successful = self.trie.record_poll(self.params.thresholds(), &mut self.votes);
        self.votes.clear();
        Ok(successful)
    }

    /// A poll without result: every confidence is lost, lazily.
    pub const fn record_unsuccessful(&mut self) {
        self.trie.record_unsuccessful();
    }

    /// The preferred choice; the decision once final.
    #[must_use]
    pub fn preference(&self) -> Id {
        self.trie.preference(self.variant).copied().unwrap_or(self.first)
    }

    /// Whether one choice is decided for good.
    #[must_use]
    pub fn is_finalized(&self) -> bool {
        self.trie.is_finalized()
    }
}

/// The trie itself. Empty until the first id is added; parameters come with each call, so that a chain of many
/// tries holds them once.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Trie<Id> {
    /// Nodes that a decision cut off stay until the trie is cleared: at most three an added id.
    nodes: Vec<Node<Id>>,
    root: usize,
    /// The next poll starts with cleared counters.
    reset: bool,
}

impl<Id: BlockId> Trie<Id> {
    pub(crate) const fn new() -> Self {
        Self { nodes: Vec::new(), root: 0, reset: false }
    }

    /// Back to the empty trie, with its memory kept.
    pub(crate) fn clear(&mut self) {
        self.nodes.clear();
        self.root = 0;
        self.reset = false;
    }

    pub(crate) fn add(&mut self, id: Id) {
        let Some(root) = self.nodes.get(self.root) else {
            self.push(Node::Unary(UnaryNode::new(id, 0)));
            return;
        };
        if root.id().first_difference(&id, 0, root.decided()).is_some() {
            return;
        }
        let mut link = Link::Root;
        let mut at = self.root;
        loop {
            match &self.nodes[at] {
                Node::Unary(node) => {
                    if node.snow.confidence.is_finalized() {
                        return;
                    }
                    match (node.id.first_difference(&id, node.decided, node.common), node.child) {
                        (Some(difference), _) => {
                            let node = node.clone();
                            self.split(link, at, node, difference, id);
                            return;
                        }
                        (None, Some(child)) => {
                            link = Link::Child(at);
                            at = child;
                        }
                        (None, None) => return,
                    }
                }
                Node::Binary(node) => {
                    let side = usize::from(id.bit(node.bit));
                    match node.children[side] {
                        Some(child) if node.admits(side, &id, self.nodes[child].decided()) => {
                            link = Link::Side(at, side);
                            at = child;
                        }
                        _ => return,
                    }
                }
            }
        }
    }

    /// Splits the unary node `at`, of which `node` is a copy, at bit `j`, where `id` leaves it.
    fn split(&mut self, link: Link, at: usize, mut node: UnaryNode<Id>, j: u32, id: Id) {
        let bit = node.id.bit(j);
        let (old, new) = (usize::from(bit), usize::from(!bit));
        let mut binary = BinaryNode {
            bit: j,
            ids: [node.id; 2],
            snow: node.snow.extend(bit),
            reset: [node.reset; 2],
            children: [None; 2],
        };
        binary.ids[new] = id;
        let at_first = j == node.decided;
        let at_last = j + 1 == node.common;
        if at_last {
            // The bits end here: below the binary node comes what was below the unary one.
            binary.children[old] = node.child;
            if node.child.is_some() {
                binary.children[new] = Some(self.push(Node::Unary(UnaryNode::new(id, j + 1))));
            }
            if at_first {
                self.nodes[at] = Node::Binary(binary);
            } else {
                node.common = j;
                node.child = Some(self.push(Node::Binary(binary)));
                self.nodes[at] = Node::Unary(node);
            }
            return;
        }
        binary.children[old] = Some(at);
        binary.children[new] = Some(self.push(Node::Unary(UnaryNode::new(id, j + 1))));
        let above = UnaryNode { common: j, reset: false, ..node.clone() };
        node.decided = j + 1;
        self.nodes[at] = Node::Unary(node);
        let mut top = self.push(Node::Binary(binary));
        if !at_first {
            top = self.push(Node::Unary(UnaryNode { child: Some(top), ..above }));
        }
        self.set_link(link, top);
    }

    /// Takes the `count` votes of a poll for all ids together, if only one id was ever let in; else does nothing.
    pub(crate) fn record_lone_poll(&mut self, thresholds: &Thresholds, count: u32) -> Option<bool> {
        let Some(Node::Unary(node @ UnaryNode { decided: 0, child: None, .. })) = self.nodes.get_mut(self.root) else {
            return None;
        };
        let successful = node.record_poll(thresholds, count, core::mem::take(&mut self.reset));
        // After a success nothing below has a reset to come.
        node.reset &= !successful;
        Some(successful)
    }

    /// Takes the votes of a poll and leaves in `votes` some part of them.
    pub(crate) fn record_poll(&mut self, thresholds: &Thresholds, votes: &mut Vec<(Id, u32)>) -> bool {
        let Some(root) = self.nodes.get(self.root) else { return false };
        let (id, decided) = (root.id(), root.decided());
        if decided > 0 {
            votes.retain(|(vote, _)| id.first_difference(vote, 0, decided).is_none());
        }
        let mut reset = core::mem::take(&mut self.reset);
        let mut link = Link::Root;
        let mut at = self.root;
        let mut successful = false;
        loop {
            let (child, finalized, side) = match &mut self.nodes[at] {
                Node::Unary(node) => {
                    if !node.record_poll(thresholds, total(votes.iter()), reset) {
                        return successful;
                    }
                    reset = core::mem::take(&mut node.reset);
                    (node.child, node.snow.confidence.is_finalized(), None)
                }
                Node::Binary(node) => {
                    let ones = total(votes.iter().filter(|(id, _)| id.bit(node.bit)));
                    let bit = thresholds.moves_preference(ones);
                    let side = usize::from(bit);
                    if reset {
                        node.snow.snowflake.confidence.clear();
                        node.reset[side] = true;
                    }
                    node.reset[1 - side] = true;
                    votes.retain(|(id, _)| id.bit(node.bit) == bit);
                    let count = total(votes.iter());
                    if !thresholds.moves_preference(count) {
                        node.snow.snowflake.confidence.clear();
                        node.reset[side] = true;
                        return successful;
                    }
                    node.snow.record(thresholds, count, bit);
                    reset = core::mem::take(&mut node.reset[side]);
                    (node.children[side], node.snow.is_finalized(), Some(side))
                }
            };
            successful = true;
            let Some(child) = child else { return successful };
            if let (Some(side), Node::Binary(node)) = (side, &self.nodes[at]) {
                let decided = self.nodes[child].decided();
                votes.retain(|(id, _)| node.admits(side, id, decided));
            }
            if finalized {
                self.set_link(link, child);
            } else {
                link = side.map_or(Link::Child(at), |side| Link::Side(at, side));
            }
            at = child;
        }
    }

    pub(crate) const fn record_unsuccessful(&mut self) {
        self.reset = true;
    }

    pub(crate) fn preference(&self, variant: Variant) -> Option<&Id> {
        let mut node = self.nodes.get(self.root)?;
        loop {
            let (id, child) = match node {
                Node::Unary(unary) => (&unary.id, unary.child),
                Node::Binary(binary) => {
                    let side = usize::from(binary.snow.preference(variant));
                    (&binary.ids[side], binary.children[side])
                }
            };
            match child {
                Some(child) => node = &self.nodes[child],
                None => return Some(id),
            }
        }
    }

    pub(crate) fn is_finalized(&self) -> bool {
        self.nodes.get(self.root).is_some_and(|root| match root {
            Node::Unary(node) => node.snow.confidence.is_finalized(),
            Node::Binary(node) => node.snow.is_finalized(),
        })
    }

    fn push(&mut self, node: Node<Id>) -> usize {
        self.nodes.push(node);
        self.nodes.len() - 1
    }

    fn set_link(&mut self, link: Link, to: usize) {
        match link {
            Link::Root => self.root = to,
            Link::Child(at) => {
                if let Node::Unary(node) = &mut self.nodes[at] {
                    node.child = Some(to);
                }
            }
            Link::Side(at, side) => {
                // The id that stands for the side must share every bit decided below it.
                let id = self.nodes[to].id();
                if let Node::Binary(node) = &mut self.nodes[at] {
                    node.children[side] = Some(to);
                    node.ids[side] = id;
                }
            }
        }
    }
}

#[derive(Debug, Clone, PartialEq)]
enum Node<Id> {
    Unary(UnaryNode<Id>),
    Binary(BinaryNode<Id>),
}

impl<Id: BlockId> Node<Id> {
    /// An id that shares the decided bits of everything below this node.
    const fn id(&self) -> Id {
        match self {
            Self::Unary(node) => node.id,
            Self::Binary(node) => node.ids[0],
        }
    }

    const fn decided(&self) -> u32 {
        match self {
            Self::Unary(node) => node.decided,
            Self::Binary(node) => node.bit,
        }
    }
}

/// All ids below share the bits before `common`; the instance votes on `decided..common` at once.
#[derive(Debug, Clone, PartialEq)]
struct UnaryNode<Id> {
    id: Id,
    decided: u32,
    common: u32,
    snow: Unary,
    /// The child's counters are to be cleared before its next poll.
    reset: bool,
    child: Option<usize>,
}

impl<Id: BlockId> UnaryNode<Id> {
    const fn new(id: Id, decided: u32) -> Self {
        Self { id, decided, common: Id::BITS, snow: Unary::new(), reset: false, child: None }
    }

    /// Whether there were enough votes; the child's reset stays pending.
    fn record_poll(&mut self, thresholds: &Thresholds, count: u32, reset: bool) -> bool {
        let enough = thresholds.moves_preference(count);
        if reset || !enough {
            self.snow.confidence.clear();
            self.reset = true;
        }
        if enough {
            self.snow.record(thresholds, count);
        }
        enough
    }
}

/// Votes on one bit.
#[derive(Debug, Clone, PartialEq)]
struct BinaryNode<Id> {
    bit: u32,
    /// For each side an id that shares the decided bits of everything below it.
    ids: [Id; 2],
    snow: Binary,
    reset: [bool; 2],
    children: [Option<usize>; 2],
}

impl<Id: BlockId> BinaryNode<Id> {
    /// Whether `id`, which has the bit of this side, agrees with all that is decided above the side's child.
    fn admits(&self, side: usize, id: &Id, child_decided: u32) -> bool {
        self.ids[side].first_difference(id, self.bit + 1, child_decided).is_none()
    }
}

/// Where a node hangs.
#[derive(Debug, Clone, Copy)]
enum Link {
    Root,
    Child(usize),
    Side(usize, usize),
}

fn total<'a, Id: 'a>(votes: impl Iterator<Item = &'a (Id, u32)>) -> u32 {
    // A bag was checked against k, so the sum stays below 2^16.
    votes.map(|(_, count)| count).sum()
}
