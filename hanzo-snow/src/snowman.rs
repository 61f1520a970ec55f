//! Snowman: a chain of blocks, one tree instance for the children of each.

use alloc::collections::{BTreeSet, VecDeque};
use alloc::vec::Vec;
use core::hash::{Hash, Hasher};
use core::iter::once;
use core::mem::take;

use foldhash::SharedSeed;
use foldhash::fast::SeedableRandomState;
use hashbrown::HashMap;

use crate::block::{BlockId, BlockRef};
use crate::params::Params;
use crate::snowflake::Variant;
use crate::tree::Trie;
use crate::votes::{TooManyVotes, VoteBag};

/// Linear consensus: every accepted block extends the one accepted before.
///
/// A vote for a block counts for all its ancestors. Confidence that is lost is cleared lazily on the way down, so a
/// poll costs O(votes * depth + children on the polled path) and allocates nothing once its memory has grown. The
/// number of processing blocks is bounded by whoever calls [`add`](Self::add).
///
/// ```
/// use hanzo_snow::{BlockRef, Decision, Params, Snowman, Variant};
///
/// let genesis = BlockRef { id: [0; 32], parent: [0; 32], height: 0 };
/// let block = BlockRef { id: [1; 32], parent: [0; 32], height: 1 };
/// let mut chain = Snowman::new(Params::AVALANCHE, Variant::Snowflake, genesis, 0x5eed);
/// chain.add(block)?;
///
/// let votes = [block.id; 15].into_iter().collect();
/// let mut decisions = Vec::new();
/// for _ in 0..20 {
///     chain.record_poll(&votes, &mut decisions)?;
/// }
/// assert_eq!(decisions, [Decision::Accepted { id: block.id, height: 1 }]);
/// assert_eq!(chain.last_accepted(), (block.id, 1));
/// # Ok::<(), hanzo_snow::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct Snowman<Id> {
    params: Params,
    variant: Variant,
    blocks: Vec<Block<Id>>,
    free: Vec<Handle>,
    /// The last accepted block and every processing one.
    index: HashMap<Id, Handle, SeedableRandomState>,
    last_accepted: Handle,
    processing: usize,
    /// Preferred blocks above the last accepted one, ascending by height.
    preferred: VecDeque<Handle>,
    /// Rejected blocks above the last accepted height, so that their children are known to be decided.
    rejected: BTreeSet<(u64, Id)>,
    /// The last `confirmation_depth` accepted blocks, oldest first.
    unconfirmed: VecDeque<(Id, u64)>,
    /// Number of polls; marks the weights that belong to the present one.
    poll: u64,
    /// Working memory of a poll, empty between polls.
    votes: Vec<(Choice<Id>, u32)>,
    stack: Vec<Handle>,
}

impl<Id: BlockId> Snowman<Id> {
    /// A chain whose last accepted block is `last_accepted`, with nothing processing.
    ///
    /// `hash_seed` keys the index of ids: ids may be chosen by attackers, so take it from a random generator and keep
    /// it to yourself. It never changes a decision or an order.
    #[must_use]
    pub fn new(params: Params, variant: Variant, last_accepted: BlockRef<Id>, hash_seed: u64) -> Self {
        let hasher = SeedableRandomState::with_seed(hash_seed, SharedSeed::global_fixed());
        let mut index = HashMap::with_hasher(hasher);
        index.insert(last_accepted.id, 0);
        let mut root = Block::new(last_accepted.id, 0, last_accepted.height);
        root.preferred = true;
        Self {
            params,
            variant,
            blocks: alloc::vec![root],
            free: Vec::new(),
            index,
            last_accepted: 0,
            processing: 0,
            preferred: VecDeque::new(),
            rejected: BTreeSet::new(),
            unconfirmed: VecDeque::new(),
            poll: 0,
            votes: Vec::new(),
            stack: Vec::new(),
        }
    }

    /// Adds a block to decide on. Amortised O(1), but for the bits of a conflicting sibling.
    ///
    /// A block on the preferred tip becomes preferred; a later sibling does not.
    ///
    /// # Errors
    /// Each [`AddError`]; nothing changes. Decided blocks are forgotten as soon as their height is, so that a block is
    /// judged by the height it claims: ids must commit to height and parent, as hashes of headers do.
    pub fn add(&mut self, block: BlockRef<Id>) -> Result<(), AddError> {
        let parent = self.find_parent(&block)?;
        let extends = parent == self.tip();
        let handle = if let Some(handle) = self.free.pop() {
            self.blocks[handle as usize].replace(block.id, parent, block.height);
            handle
        } else {
            let handle = Handle::try_from(self.blocks.len()).map_err(|_| AddError::Full)?;
            self.blocks.push(Block::new(block.id, parent, block.height));
            handle
        };
        let above = &mut self.blocks[parent as usize];
        above.children.push(handle);
        above.tree.add(Choice { id: block.id, handle });
        self.index.insert(block.id, handle);
        self.processing += 1;
        if extends {
            self.prefer(handle);
        }
        Ok(())
    }

    /// Whether [`add`](Self::add) would take the block.
    ///
    /// # Errors
    /// The error it would return, but for [`AddError::Full`].
    pub fn check(&self, block: &BlockRef<Id>) -> Result<(), AddError> {
        self.find_parent(block).map(|_| ())
    }

    /// Takes the votes of one poll and reports what it decides, in the order of decision: a block is accepted, then
    /// its siblings are rejected depth first, siblings ascending by id.
    ///
    /// True if the poll succeeded for the choice between the children of some block: of the last accepted one, or of one
    /// above it whose children together have at least `alpha_preference` votes. Votes for unknown, accepted or rejected
    /// ids are dropped.
    ///
    /// # Errors
    /// [`TooManyVotes`] if the bag holds more than `k` votes; nothing changes.
    pub fn record_poll(
        &mut self,
        votes: &VoteBag<Id>,
        decisions: &mut impl Extend<Decision<Id>>,
    ) -> Result<bool, TooManyVotes> {
        votes.check(self.params.k())?;
        self.poll += 1;
        if self.params.thresholds().moves_preference(votes.total()) {
            self.push_votes(votes);
        }
        if !self.has_majority(self.last_accepted) {
            // With nothing processing there is no confidence to lose.
            self.blocks[self.last_accepted as usize].falter |= self.processing > 0;
            return Ok(false);
        }
        Ok(self.walk(decisions))
    }

    /// Accepts a child of the last accepted block that was decided by other means, and rejects its siblings with all
    /// above them. False, and nothing happens, for any other block.
    ///
    /// For a liveness module beside Snow; votes play no part in it.
    pub fn adopt(&mut self, id: &Id, decisions: &mut impl Extend<Decision<Id>>) -> bool {
        let old = self.last_accepted;
        let Some(&handle) = self.index.get(id) else { return false };
        if handle == old || self.blocks[handle as usize].parent != old {
            return false;
        }
        let left_preferred_path = self.accept(old, handle, decisions);
        self.release(old);
        if left_preferred_path {
            self.rebuild_preferred(handle);
        }
        true
    }

    /// Tip of the preferred chain: the block to build on and to answer queries with.
    #[must_use]
    pub fn preference(&self) -> Id {
        self.blocks[self.tip() as usize].id
    }

    /// The preferred block at `height`, from the last accepted height up to the tip's.
    #[must_use]
    pub fn preference_at(&self, height: u64) -> Option<Id> {
        let above = height.checked_sub(self.blocks[self.last_accepted as usize].height)?;
        let handle = match above.checked_sub(1) {
            None => self.last_accepted,
            Some(at) => *self.preferred.get(usize::try_from(at).ok()?)?,
        };
        Some(self.blocks[handle as usize].id)
    }

    /// Id and height of the last accepted block.
    #[must_use]
    pub fn last_accepted(&self) -> (Id, u64) {
        let block = &self.blocks[self.last_accepted as usize];
        (block.id, block.height)
    }

    /// Whether the block was added and is neither accepted nor rejected.
    #[must_use]
    pub fn is_processing(&self, id: &Id) -> bool {
        self.index.get(id).is_some_and(|&handle| handle != self.last_accepted)
    }

    /// Whether the block is the last accepted one or lies on the preferred chain above it.
    #[must_use]
    pub fn is_preferred(&self, id: &Id) -> bool {
        self.index.get(id).is_some_and(|&handle| self.blocks[handle as usize].preferred)
    }

    /// Number of blocks added and neither accepted nor rejected.
    #[must_use]
    pub const fn processing_len(&self) -> usize {
        self.processing
    }

    /// Parent of a processing block.
    #[must_use]
    pub fn parent(&self, id: &Id) -> Option<Id> {
        let &handle = self.index.get(id)?;
        (handle != self.last_accepted).then(|| self.blocks[self.blocks[handle as usize].parent as usize].id)
    }

    /// The parameters in use.
    #[must_use]
    pub const fn params(&self) -> &Params {
        &self.params
    }

    fn find_parent(&self, block: &BlockRef<Id>) -> Result<Handle, AddError> {
        let accepted = self.blocks[self.last_accepted as usize].height;
        if let Some(&handle) = self.index.get(&block.id) {
            return Err(if handle == self.last_accepted { AddError::Decided } else { AddError::Duplicate });
        }
        if self.rejected.contains(&(block.height, block.id)) {
            return Err(AddError::Decided);
        }
        if let Some(&parent) = self.index.get(&block.parent) {
            let expected = self.blocks[parent as usize].height.checked_add(1);
            return match expected {
                Some(expected) if expected == block.height => Ok(parent),
                _ => Err(AddError::WrongHeight { expected: expected.unwrap_or(u64::MAX) }),
            };
        }
        // Below or beside the last accepted block everything is decided.
        let parent_height = block.height.saturating_sub(1);
        if parent_height <= accepted || self.rejected.contains(&(parent_height, block.parent)) {
            return Err(AddError::Decided);
        }
        Err(AddError::UnknownParent)
    }

    fn tip(&self) -> Handle {
        self.preferred.back().copied().unwrap_or(self.last_accepted)
    }

    fn prefer(&mut self, handle: Handle) {
        self.blocks[handle as usize].preferred = true;
        self.preferred.push_back(handle);
    }

    /// Adds each vote to its block and to every processing ancestor of it.
    fn push_votes(&mut self, votes: &VoteBag<Id>) {
        let poll = self.poll;
        for (id, count) in votes.iter() {
            let Some(&voted) = self.index.get(&id) else { continue };
            let mut at = voted;
            while at != self.last_accepted {
                let block = self.blocks[at as usize].in_poll(poll);
                block.weight += count;
                at = block.parent;
                self.blocks[at as usize].in_poll(poll).children_weight += count;
            }
        }
    }

    fn has_majority(&self, handle: Handle) -> bool {
        let block = &self.blocks[handle as usize];
        block.poll == self.poll && self.params.thresholds().moves_preference(block.children_weight)
    }

    /// Polls the trees from the last accepted block upwards, along the one path whose blocks' children have enough
    /// votes (`alpha_preference` is more than half of `k`).
    fn walk(&mut self, decisions: &mut impl Extend<Decision<Id>>) -> bool {
        let mut at = self.last_accepted;
        let mut candidate = at;
        let mut on_preferred_path = true;
        let mut left_preferred_path = false;
        let mut successful = false;
        loop {
            let block = &mut self.blocks[at as usize];
            let faltered = take(&mut block.falter);
            if faltered {
                block.tree.record_unsuccessful();
            }
            successful |= match block.tree.record_lone_poll(self.params.thresholds(), block.children_weight) {
                Some(successful) => successful,
                None => self.poll_tree(at),
            };
            let block = &self.blocks[at as usize];
            let next = block.children.iter().copied().find(|&child| self.has_majority(child));
            let Some(&Choice { handle: preferred, .. }) = block.tree.preference(self.variant) else { break };
            let accepts = at == self.last_accepted && block.tree.is_finalized();
            if accepts {
                left_preferred_path |= self.accept(at, preferred, decisions);
            }
            if on_preferred_path {
                candidate = preferred;
                on_preferred_path = next == Some(preferred);
            }
            if accepts {
                // Only the accepted child survives.
                self.blocks[preferred as usize].falter |= faltered || next != Some(preferred);
                self.release(at);
            } else {
                self.falter_children(at, next.filter(|_| !faltered));
            }
            match next {
                Some(next) if self.blocks[next as usize].live => at = next,
                _ => break,
            }
        }
        if left_preferred_path || !self.blocks[candidate as usize].preferred {
            self.rebuild_preferred(candidate);
        }
        successful
    }

    /// Polls the tree of a block with the votes that this poll has for its children.
    fn poll_tree(&mut self, at: Handle) -> bool {
        for &child in &self.blocks[at as usize].children {
            let block = &self.blocks[child as usize];
            if block.poll == self.poll && block.weight > 0 {
                self.votes.push((Choice { id: block.id, handle: child }, block.weight));
            }
        }
        let successful = self.blocks[at as usize].tree.record_poll(self.params.thresholds(), &mut self.votes);
        self.votes.clear();
        successful
    }

    fn falter_children(&mut self, at: Handle, except: Option<Handle>) {
        for i in 0..self.blocks[at as usize].children.len() {
            let child = self.blocks[at as usize].children[i];
            if Some(child) != except {
                self.blocks[child as usize].falter = true;
            }
        }
    }

    /// Makes `accepted`, a child of the last accepted block `at`, the last accepted block and rejects its siblings.
    /// True if the preferred path did not lead through it.
    fn accept(&mut self, at: Handle, accepted: Handle, decisions: &mut impl Extend<Decision<Id>>) -> bool {
        let Block { id, height, .. } = self.blocks[accepted as usize];
        let old = self.blocks[at as usize].id;
        self.index.remove(&old);
        self.last_accepted = accepted;
        self.processing -= 1;
        decisions.extend(once(Decision::Accepted { id, height }));

        let left = self.preferred.front() != Some(&accepted);
        if left {
            self.clear_preferred();
            self.blocks[accepted as usize].preferred = true;
        } else {
            self.preferred.pop_front();
        }
        while self.rejected.first().is_some_and(|&(rejected, _)| rejected <= height) {
            self.rejected.pop_first();
        }
        self.stack.extend(self.blocks[at as usize].children.iter().filter(|&&child| child != accepted));
        self.reject_stack(height, decisions);
        self.confirm(id, height, decisions);
        left
    }

    /// Rejects the blocks on the stack and all above them.
    fn reject_stack(&mut self, accepted_height: u64, decisions: &mut impl Extend<Decision<Id>>) {
        let mut sorted = 0;
        loop {
            let Self { blocks, stack, .. } = self;
            stack[sorted..].sort_unstable_by(|&a, &b| blocks[b as usize].id.cmp(&blocks[a as usize].id));
            let Some(handle) = stack.pop() else { return };
            sorted = stack.len();
            let block = &blocks[handle as usize];
            let (id, height) = (block.id, block.height);
            stack.extend(&block.children);
            self.index.remove(&id);
            if height > accepted_height {
                self.rejected.insert((height, id));
            }
            self.processing -= 1;
            self.release(handle);
            decisions.extend(once(Decision::Rejected { id, height }));
        }
    }

    fn confirm(&mut self, id: Id, height: u64, decisions: &mut impl Extend<Decision<Id>>) {
        let depth = u64::from(self.params.confirmation_depth());
        if depth == 0 {
            return;
        }
        self.unconfirmed.push_back((id, height));
        // Heights are consecutive, so at most one block leaves.
        if self.unconfirmed.front().is_some_and(|&(_, oldest)| height - oldest >= depth)
            && let Some((id, height)) = self.unconfirmed.pop_front()
        {
            decisions.extend(once(Decision::Confirmed { id, height }));
        }
    }

    fn release(&mut self, handle: Handle) {
        let block = &mut self.blocks[handle as usize];
        block.live = false;
        block.preferred = false;
        block.children.clear();
        block.tree.clear();
        self.free.push(handle);
    }

    fn clear_preferred(&mut self) {
        while let Some(handle) = self.preferred.pop_back() {
            self.blocks[handle as usize].preferred = false;
        }
    }

    /// The preferred path through `candidate`: its ancestors, itself, then preferences up to a leaf.
    fn rebuild_preferred(&mut self, candidate: Handle) {
        self.clear_preferred();
        let mut at = candidate;
        while at != self.last_accepted {
            self.stack.push(at);
            at = self.blocks[at as usize].parent;
        }
        while let Some(handle) = self.stack.pop() {
            self.prefer(handle);
        }
        while let Some(choice) = self.blocks[self.tip() as usize].tree.preference(self.variant) {
            self.prefer(choice.handle);
        }
    }
}

type Handle = u32;

/// A slot of the slab; a free one keeps the memory of its lists.
#[derive(Debug, Clone)]
struct Block<Id> {
    id: Id,
    parent: Handle,
    height: u64,
    live: bool,
    preferred: bool,
    /// The counters of the children's tree are to be cleared before its next poll.
    falter: bool,
    children: Vec<Handle>,
    /// Decides between the children; empty until the first one.
    tree: Trie<Choice<Id>>,
    /// The poll that the weights belong to.
    poll: u64,
    /// Votes for this block and everything above it.
    weight: u32,
    /// Votes for everything above it.
    children_weight: u32,
}

impl<Id: BlockId> Block<Id> {
    fn new(id: Id, parent: Handle, height: u64) -> Self {
        Self {
            id,
            parent,
            height,
            live: true,
            preferred: false,
            falter: false,
            children: Vec::new(),
            tree: Trie::new(),
            poll: 0,
            weight: 0,
            children_weight: 0,
        }
    }

    /// Puts another block into a free slot.
    fn replace(&mut self, id: Id, parent: Handle, height: u64) {
        let (children, tree) = (take(&mut self.children), core::mem::replace(&mut self.tree, Trie::new()));
        *self = Self { children, tree, ..Self::new(id, parent, height) };
    }

    fn in_poll(&mut self, poll: u64) -> &mut Self {
        if self.poll != poll {
            self.poll = poll;
            self.weight = 0;
            self.children_weight = 0;
        }
        self
    }
}

/// An id in a tree, with the block it names.
#[derive(Debug, Clone, Copy)]
struct Choice<Id> {
    id: Id,
    handle: Handle,
}

impl<Id: BlockId> BlockId for Choice<Id> {
    const BITS: u32 = Id::BITS;

    fn bit(&self, i: u32) -> bool {
        self.id.bit(i)
    }

    fn first_difference(&self, other: &Self, from: u32, to: u32) -> Option<u32> {
        self.id.first_difference(&other.id, from, to)
    }
}

impl<Id: PartialEq> PartialEq for Choice<Id> {
    fn eq(&self, other: &Self) -> bool {
        self.id == other.id
    }
}

impl<Id: Eq> Eq for Choice<Id> {}

impl<Id: Ord> PartialOrd for Choice<Id> {
    fn partial_cmp(&self, other: &Self) -> Option<core::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl<Id: Ord> Ord for Choice<Id> {
    fn cmp(&self, other: &Self) -> core::cmp::Ordering {
        self.id.cmp(&other.id)
    }
}

impl<Id: Hash> Hash for Choice<Id> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.id.hash(state);
    }
}

/// What a poll decided.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Decision<Id> {
    /// The block is final; blocks come in the order of the chain.
    Accepted {
        /// Id of the block.
        id: Id,
        /// Its height.
        height: u64,
    },
    /// The block conflicts with an accepted one.
    Rejected {
        /// Id of the block.
        id: Id,
        /// Its height.
        height: u64,
    },
    /// As many blocks as [`Params::confirmation_depth`] were accepted on top of this accepted one.
    Confirmed {
        /// Id of the block.
        id: Id,
        /// Its height.
        height: u64,
    },
}

/// Why a block was not added.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AddError {
    /// The block is being decided already.
    #[error("block is already processing")]
    Duplicate,
    /// The parent is not known; fetch it first.
    #[error("parent block is unknown")]
    UnknownParent,
    /// The block or its parent is accepted (below the tip) or rejected, or conflicts with an accepted block.
    #[error("block or its parent is already decided")]
    Decided,
    /// The height is not the parent's plus one.
    #[error("height is not {expected}, the parent's plus one")]
    WrongHeight {
        /// The height it must have; on a parent of height `u64::MAX`, which takes no child, that again.
        expected: u64,
    },
    /// The chain already holds 2^32 blocks.
    #[error("no room for another block")]
    Full,
}
