//! One validator's part in settlement.

mod commit;
mod propose;
mod receive;
mod sync;

use alloc::collections::{BTreeMap, BTreeSet, VecDeque};
use alloc::vec::Vec;

use super::block::{Block, Header, Root};
use super::certificates::{QuorumCertificate, Timeout, TimeoutCertificate, Vote};
use super::messages::{Input, Message, Output, ReplicaConfig, ReplicaError, ReplicaStall, VoteState};
use super::safety::Safety;
use super::tree::Tree;
use crate::checkpoint::Hash;
use crate::committee::{Committee, MessageError, Sign, VerifyAll};
use crate::engine::Timestamp;
use crate::evidence::{Evidence, EvidenceKind};
use crate::store::{Entry, EntryKind};
use crate::wire::Signature;
use commit::encode_committee;
pub(crate) use commit::stored_committees;
use sync::Closed;
pub use sync::chain_from_store;

/// Views ahead of which votes are kept.
const AHEAD: u64 = 8;

/// What a replica begins with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Memory {
    /// Nothing, at the beginning of the chain. Never after a start that may have voted: what is voted is kept first, so where the
    /// store is there and has no entry, nothing was.
    Fresh(Root),
    /// What was kept: [all entries](crate::BlockStore::entries) of its store. Entries without a vote state among them, of a node
    /// that ended before it first voted, are taken to begin at [`Root::default`].
    Stored(Vec<Entry>),
    /// The store is lost: the replica follows, but neither votes nor proposes up to and including `epoch`, and keeps that in mind
    /// in what it stores from now on. From the next start on its memory is [`Stored`](Self::Stored) again.
    Lost {
        /// The beginning of the chain.
        root: Root,
        /// The last epoch in which it may have voted. One that is too low makes it contradict itself: where nothing else is known, take
        /// the highest that any other validator is in.
        epoch: u64,
    },
}

/// One validator's settlement state machine: no network, clock, store or thread.
///
/// Give every event to [`handle`](Self::handle), then do what [`poll_output`](Self::poll_output) says, in order, until it says
/// nothing; call again with [`Input::Tick`] no later than [`poll_timeout`](Self::poll_timeout). What must not leave before it is
/// durable does not come out before [`Input::Persisted`]. The same inputs give the same outputs.
///
/// Its memory is bounded by the committee and the window of blocks: of each validator it keeps one timeout, one block without
/// parent, and the votes of ten views.
///
/// A block is told as [`Output::Committed`] at most once. After a restart compare [`committed`](Self::committed) with the height
/// that the application has carried out, and take what lies between from [`chain_from_store`], up to [`MAX_CHAIN`](super::MAX_CHAIN)
/// blocks at a time; it also gives blocks above, which are not committed. [`DualTrack`](crate::DualTrack) does that by itself.
///
/// ```
/// use hanzo_snow::settlement::{Input, Memory, Output, Replica, ReplicaConfig, Root};
/// use hanzo_snow::{Committee, Sign, Signature, SignatureError, Timestamp, ValidatorSet, VerifyAll};
///
/// /// For a committee of one; see `Keys` for real signatures.
/// #[derive(Debug)]
/// struct Alone;
/// impl Sign for Alone {
///     fn sign(&self, _: &[u8]) -> Result<Signature, SignatureError> { Ok(Signature::from([])) }
/// }
/// impl VerifyAll for Alone {
///     fn verify_all(&self, _: &[([u8; 32], &[u8], &[u8])]) -> Result<(), SignatureError> { Ok(()) }
/// }
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let committee = Committee::new([9; 32], 0, ValidatorSet::new([([1; 32], 100)])?)?;
/// let mut now = Timestamp::from_nanos(0);
/// let memory = Memory::Fresh(Root::default());
/// let mut replica = Replica::new(ReplicaConfig::new([1; 32]), committee, Alone, memory, now)?;
/// replica.handle(now, Input::Pending(true))?;
/// let (mut waiting, mut settled) = (b"pay ann 5".to_vec(), Vec::new());
/// while settled.is_empty() {
///     while let Some(output) = replica.poll_output() {
///         match output {
///             Output::Persist { token, .. } => replica.handle(now, Input::Persisted(token))?,
///             Output::Build { view, .. } => {
///                 // With nothing left, blocks are empty, and the next waits for its time.
///                 let payload = std::mem::take(&mut waiting).into();
///                 replica.handle(now, Input::Payload { view, payload, next: None })?;
///                 replica.handle(now, Input::Pending(false))?;
///             }
///             Output::Validate { block } => replica.handle(now, Input::Validated { block, ok: true })?,
///             Output::Committed { block, .. } => settled.push(block),
///             _ => {}
///         }
///     }
///     now = replica.poll_timeout().expect("a replica always waits for something");
///     replica.handle(now, Input::Tick)?;
/// }
/// assert_eq!((settled[0].height, &settled[0].payload[..]), (1, &b"pay ann 5"[..]));
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct Replica<A> {
    config: ReplicaConfig,
    authority: A,
    committee: Committee,
    /// Own position; `None` where this epoch's committee leaves the node out.
    own: Option<u32>,
    /// The last epoch in which it takes no part, as its votes are forgotten.
    lost: Option<u64>,
    now: Timestamp,
    tree: Tree,
    safety: Safety,
    last_proposed: u64,
    view: u64,
    high: QuorumCertificate,
    /// The timeout certificate by which the view was entered, if it was.
    entry: Option<TimeoutCertificate>,
    /// Views in a row that ended without certificate.
    fruitless: u32,
    /// Deadlines in a row that passed without a commit.
    given_up: u32,
    /// When the view is given up, or the own timeout is sent again.
    deadline: Timestamp,
    /// First vote of each voter in a view.
    votes: BTreeMap<(u64, u32), Vote>,
    own_vote: Option<Vote>,
    /// The latest timeout of each voter.
    timeouts: BTreeMap<u32, Timeout>,
    /// With the token of its record.
    own_timeout: Option<(Timeout, u64)>,
    /// First proposal of each proposer in a view.
    proposals: BTreeMap<(u64, u32), (Header, Signature)>,
    /// The latest block of each proposer whose parent is missing.
    orphans: BTreeMap<u32, Block>,
    /// The highest certificate whose block is missing.
    missing: Option<QuorumCertificate>,
    /// When to ask for missing blocks again, and whom.
    ask_at: Option<Timestamp>,
    ask_next: u32,
    later_epoch: bool,
    building: Option<u64>,
    pending: bool,
    /// When this replica proposes though nothing waits.
    propose_at: Option<Timestamp>,
    last_block_at: Timestamp,
    held: VecDeque<(u64, Vec<Output>)>,
    next_token: u64,
    outputs: VecDeque<Output>,
    /// Own messages that have become durable.
    local: VecDeque<(u64, Message)>,
    accused: BTreeSet<(u32, EvidenceKind, u64)>,
    /// The end of the epoch before, for those who are still in it.
    closed: Option<Closed>,
    poisoned: bool,
    committee_kept: bool,
}

impl<A: Sign + VerifyAll> Replica<A> {
    /// A replica of the node named in `config`, at `now`. `committee` is the one of the chain's first epoch; what is stored may go on
    /// in a later one.
    ///
    /// # Errors
    /// [`ReplicaError::Stored`] and [`ReplicaError::StoredBlock`] for entries that do not fit together.
    pub fn new(
        config: ReplicaConfig,
        committee: Committee,
        authority: A,
        memory: Memory,
        now: Timestamp,
    ) -> Result<Self, ReplicaError> {
        let (root, entries, lost) = match memory {
            Memory::Fresh(root) => (root, Vec::new(), None),
            Memory::Lost { root, epoch } => (root, Vec::new(), Some(epoch)),
            Memory::Stored(entries) => (Root::default(), entries, None),
        };
        let one = |kind| entries.iter().find(|entry: &&Entry| entry.kind == kind);
        // The fast path may have kept something before settlement kept anything.
        let stored = stored_committees(&entries, committee.chain())?.pop();
        let (committee_kept, committee) = (stored.is_some(), stored.unwrap_or(committee));
        let state = one(EntryKind::VoteState).map(|entry| VoteState::decode(&entry.bytes)).transpose()?;
        let state = state.unwrap_or_else(|| VoteState {
            epoch: committee.epoch(),
            root,
            safety: Safety::default(),
            last_proposed: 0,
            high: QuorumCertificate::root(root.id),
            entry: None,
            committed: root,
            lost,
        });
        let own = committee.position(&config.own);
        let mut replica = Self {
            tree: Tree::new(state.root, config.rule),
            own,
            now,
            safety: state.safety,
            lost: state.lost,
            last_proposed: state.last_proposed,
            view: 0,
            high: QuorumCertificate::root(state.root.id),
            entry: None,
            fruitless: 0,
            given_up: 0,
            deadline: now,
            votes: BTreeMap::new(),
            own_vote: None,
            timeouts: BTreeMap::new(),
            own_timeout: None,
            proposals: BTreeMap::new(),
            orphans: BTreeMap::new(),
            missing: None,
            ask_at: None,
            ask_next: own.map_or(0, |own| own + 1),
            later_epoch: false,
            building: None,
            pending: false,
            propose_at: None,
            last_block_at: now,
            held: VecDeque::new(),
            next_token: 0,
            outputs: VecDeque::new(),
            local: VecDeque::new(),
            accused: BTreeSet::new(),
            closed: None,
            poisoned: false,
            committee_kept,
            config,
            authority,
            committee,
        };
        replica.restore(&entries, &state)?;
        let by_timeout = state.entry.filter(|entry| entry.view > state.high.view);
        if lost.is_some() {
            // It must not be taken for a new one when it begins again.
            replica.persist(Vec::new(), Vec::new());
        }
        let over = by_timeout.as_ref().map_or(state.high.view, |entry| entry.view);
        replica.enter(over.saturating_add(1), by_timeout);
        Ok(replica)
    }

    /// Handles an event; time that goes back stands still.
    ///
    /// # Errors
    /// [`ReplicaError::Message`] for a message that is refused, which is no reason to stop; of a [`Message::Chain`] the blocks before
    /// the refused one are taken. [`ReplicaError::NotBuilding`] for a payload nobody waits for, [`ReplicaError::Message`] for one
    /// that is too large or closes the epoch with validators that make no committee; nothing changes.
    /// [`ReplicaError::Poisoned`] once the replica has stopped: after [`Input::Failed`], where it could not sign, or where a
    /// certified block conflicts with a committed one. What was not taken of its outputs may still be done.
    pub fn handle(&mut self, now: Timestamp, input: Input) -> Result<(), ReplicaError> {
        if self.poisoned {
            return Err(ReplicaError::Poisoned);
        }
        self.now = self.now.max(now);
        match input {
            Input::Message { from, epoch, message } => {
                let sender = self.committee.position(&from);
                self.receive(from, sender, epoch, message)?;
            }
            Input::Validated { block, ok } => {
                if self.tree.set_valid(&block, ok) {
                    self.consider(&block);
                }
            }
            Input::Pending(pending) => {
                self.pending = pending;
                self.try_propose();
            }
            Input::Payload { view, payload, next } => self.propose(view, payload, next)?,
            Input::Persisted(token) => self.persisted(token),
            Input::Failed(_) => self.poisoned = true,
            Input::Tick => {}
        }
        self.advance();
        while let Some((epoch, message)) = self.local.pop_front() {
            if let Some(own) = self.own {
                // An own message is refused only where it is no longer of use.
                let _ = self.receive(self.config.own, Some(own), epoch, message);
            }
        }
        Ok(())
    }

    /// The next thing to do.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// When to call with [`Input::Tick`] at the latest. A replica always waits for something: never `None`.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Timestamp> {
        // What was due by now has been done, or waits for something else.
        let propose_at = self.propose_at.filter(|at| *at > self.now);
        [Some(self.deadline), self.ask_at, propose_at].into_iter().flatten().min()
    }

    fn advance(&mut self) {
        if self.deadline.is_due(self.now) {
            self.give_up();
        }
        if self.propose_at.is_some_and(|at| at.is_due(self.now)) {
            self.try_propose();
        }
        self.ask_again();
    }

    /// Enters a view, if it is a later one.
    fn enter(&mut self, view: u64, entry: Option<TimeoutCertificate>) {
        if view <= self.view {
            return;
        }
        self.fruitless = if entry.is_some() { self.fruitless.saturating_add(1) } else { self.fruitless };
        self.view = view;
        self.entry = entry;
        self.own_vote = None;
        self.own_timeout = None;
        self.building = None;
        self.propose_at = None;
        self.set_deadline();
        self.votes = self.votes.split_off(&(view.saturating_sub(1), 0));
        self.proposals = self.proposals.split_off(&(view.saturating_sub(1), 0));
        self.accused.retain(|(_, _, number)| *number + AHEAD >= view);
        self.timeouts.retain(|_, timeout| timeout.view + 1 >= view);
        self.try_propose();
        self.try_timeouts();
    }

    /// Twice as long after every three views in a row without a commit: where a third of the leaders is down, one or two such views are as usual,
    /// and say nothing of the links.
    fn set_deadline(&mut self) {
        self.deadline = self.now.after(self.config.base_timeout.saturating_mul(1 << (self.fruitless / 3).min(5)));
    }

    /// Gives the view up, or says again that it has been. That the view took long is no reason to say it again later: it may have been lost.
    fn give_up(&mut self) {
        self.deadline = self.now.after(self.config.base_timeout);
        self.given_up = self.given_up.saturating_add(1);
        if self.given_up >= 4 {
            let heard = self.timeouts.values().filter(|timeout| timeout.view >= self.view);
            self.outputs.push_back(Output::Stalled(ReplicaStall {
                view: self.view,
                height: self.tree.committed().height,
                given_up: self.given_up,
                heard_stake: heard.map(|timeout| self.committee.stake(timeout.voter)).sum(),
                quorum: self.committee.quorum().stake(),
            }));
        }
        let Some(own) = self.own.filter(|_| !self.follows()) else { return };
        let epoch = self.committee.epoch();
        let best = self.best().clone();
        let said = |(timeout, _): &&(Timeout, u64)| timeout.view == self.view && timeout.high.view == best.view;
        if let Some((timeout, token)) = self.own_timeout.as_ref().filter(said) {
            if self.held.iter().any(|(held, _)| held == token) {
                // Not before it is durable: then it leaves by itself.
                return;
            }
            let message = Message::Timeout(timeout.clone());
            self.outputs.push_back(Output::Broadcast { epoch, message });
            return;
        }
        let bytes = Timeout::signed_bytes(&self.committee, self.view, best.view);
        let Ok(signature) = self.authority.sign(&bytes) else {
            self.poisoned = true;
            return;
        };
        self.safety.timed_out(self.view);
        let timeout = Timeout {
            view: self.view,
            high: best,
            entry: self.entry.clone(),
            vote: self.own_vote.clone(),
            voter: own,
            signature,
        };
        self.own_timeout = Some((timeout.clone(), self.next_token));
        let message = Message::Timeout(timeout);
        self.persist(Vec::new(), alloc::vec![Output::Broadcast { epoch, message }]);
    }

    /// Keeps the vote state and more, and holds outputs back until it is durable.
    fn persist(&mut self, mut entries: Vec<Entry>, outputs: Vec<Output>) {
        if !core::mem::replace(&mut self.committee_kept, true) {
            entries.push(encode_committee(&self.committee));
        }
        entries.push(self.vote_state().entry(self.committee.chain()));
        let token = self.next_token;
        self.next_token += 1;
        self.held.push_back((token, outputs));
        self.outputs.push_back(Output::Persist { token, entries });
    }

    fn persisted(&mut self, token: u64) {
        while self.held.front().is_some_and(|(held, _)| *held <= token) {
            let Some((_, outputs)) = self.held.pop_front() else { break };
            for output in outputs {
                match &output {
                    Output::Send { to, epoch, message } if *to == self.config.own => {
                        self.local.push_back((*epoch, message.clone()));
                        continue;
                    }
                    Output::Broadcast { epoch, message } => self.local.push_back((*epoch, message.clone())),
                    _ => {}
                }
                self.outputs.push_back(output);
            }
        }
    }

    /// What must be durable before the next vote.
    #[must_use]
    pub fn vote_state(&self) -> VoteState {
        VoteState {
            epoch: self.committee.epoch(),
            root: *self.tree.root(),
            safety: self.safety,
            last_proposed: self.last_proposed,
            high: self.best().clone(),
            entry: self.entry.clone(),
            committed: *self.tree.committed(),
            lost: self.lost,
        }
    }

    /// The highest certificate, be its block known or not.
    fn best(&self) -> &QuorumCertificate {
        self.missing.as_ref().filter(|missing| missing.view > self.high.view).unwrap_or(&self.high)
    }

    fn accuse(&mut self, evidence: Evidence) {
        if self.accused.insert((evidence.offender(), evidence.kind(), evidence.number())) {
            self.outputs.push_back(Output::Evidence(evidence));
        }
    }
}

impl<A> Replica<A> {
    /// The committee of the running epoch.
    #[must_use]
    pub const fn committee(&self) -> &Committee {
        &self.committee
    }

    /// The present view.
    #[must_use]
    pub const fn view(&self) -> u64 {
        self.view
    }

    /// The last committed block.
    #[must_use]
    pub const fn committed(&self) -> Root {
        *self.tree.committed()
    }

    /// A block that is held: the last committed ones and those above.
    #[must_use]
    pub fn block(&self, id: &Hash) -> Option<&Block> {
        self.tree.get(id)?.block.as_ref()
    }

    /// The blocks from just above the committed one up to `tip`, lowest first; `None` if `tip` does not stand on it.
    #[must_use]
    pub fn uncommitted(&self, tip: &Hash) -> Option<Vec<Block>> {
        let committed = self.tree.committed();
        if !self.tree.stands_on(tip, committed) {
            return None;
        }
        Some(self.tree.path(tip, committed.height)?.into_iter().map(|(_, block)| block).collect())
    }

    /// Whether the chain up to a certified block commits by itself every block with a payload that is committed here. Where it does not,
    /// those who have not seen what did cannot tell what a payload on top of it must fit.
    #[must_use]
    pub fn shows_commits(&self, tip: &Hash) -> bool {
        self.tree.shows_commits(tip)
    }

    /// Whether the replica takes no part in this epoch, because it lost its store in this one or a later one.
    #[must_use]
    pub fn follows(&self) -> bool {
        self.follows_in(self.committee.epoch())
    }

    /// Whether it takes no part in an epoch.
    pub(crate) fn follows_in(&self, epoch: u64) -> bool {
        self.lost.is_some_and(|lost| epoch <= lost)
    }

    /// The leader of the present view on the highest certificate, where that block is known.
    #[must_use]
    pub fn leader(&self) -> Option<u32> {
        self.tree.leader(&self.committee, self.view, &self.high.block)
    }

    /// Whether the replica has stopped for good.
    #[must_use]
    pub const fn is_poisoned(&self) -> bool {
        self.poisoned
    }

    /// How many blocks, votes, timeouts and outputs are held.
    #[must_use]
    pub fn load(&self) -> usize {
        self.tree.len()
            + self.votes.len()
            + self.timeouts.len()
            + self.orphans.len()
            + self.outputs.len()
            + self.held.len()
    }
}

/// What a message refused for its epoch is told.
const fn wrong_epoch(expected: u64, found: u64) -> MessageError {
    MessageError::WrongEpoch { expected, found }
}
