//! Snowman for one node without I/O: events in, requests and decisions out.

mod blocks;
mod config;
mod messages;
mod polling;

use alloc::collections::{BTreeMap, BTreeSet, VecDeque};
use alloc::vec::Vec;

use rand_core::Rng;

pub use config::EngineConfig;
pub use messages::{EngineError, Failure, Input, Load, Outcome, Output, Reason, StallReport, Timestamp};

use crate::block::{BlockId, BlockRef};
use crate::poll::PollSet;
use crate::sampler::{StakeTable, ValidatorSet};
use crate::snowman::{AddError, Decision, Snowman};
use crate::store::{Block, Record};
use crate::votes::VoteBag;
use blocks::Blocks;
use polling::OpenPoll;

/// One node of a Snowman network: polls, votes, fetches, decisions and timers, but no network, clock, store or thread.
///
/// Give every event to [`handle`](Self::handle), then do what [`poll_output`](Self::poll_output) says until it says nothing,
/// and call again with [`Input::Tick`] no later than [`poll_timeout`](Self::poll_timeout). The same seed and events give the
/// same outputs.
///
/// - `Query { poll, to, block, push }`: send it. Its receiver gives `push`, if it is there, as [`Input::Block`], and then
///   [`Input::Query`] with `poll` as its `request`.
/// - `Respond { to, request, .. }`: send it. Its receiver gives [`Input::Vote`] with `request` as its `poll`.
/// - `Fetch { from, id }`: ask for the block. Who is asked looks in [`block`](Self::block), then in its store. Give
///   [`Input::Block`], or [`Input::FetchFailed`].
/// - `Verify(id)`: look at [`block`](Self::block), then give [`Input::Verified`].
/// - `Persist { token, records }`: [`append`](crate::BlockStore::append) and [`sync`](crate::BlockStore::sync), then give
///   [`Input::Persisted`].
/// - `BuildBlock { parent, height }`: build one, then give [`Input::Block`] with `from: None`.
/// - `Gossip { id, height }`: send it to a few peers, who give [`Input::Tip`].
/// - `Accepted`, `Rejected`, `Confirmed`: apply, in order.
/// - `Stalled`: tell an operator or a liveness module; the engine goes on.
///
/// After a restart begin with the store's [`tip`](crate::BlockStore::tip), and say again who is connected. A block is told as
/// `Accepted` at most once: where a node ends between keeping and telling, its application is behind the tip and catches up
/// from the store. A node whose store is lost begins at genesis, or at a block it has from somebody it trusts: nothing that it has
/// said binds it.
///
/// Peers cannot make it grow: it takes messages of connected peers only, holds at most
/// [`BLOCKS_PER_PEER`](Self::BLOCKS_PER_PEER) undecided blocks and answers at most
/// [`QUERIES_PER_PEER`](Self::QUERIES_PER_PEER) waiting queries of each, and at most
/// [`Params::max_outstanding`](crate::Params::max_outstanding) blocks without a parent, fetches and polls in all. Outputs
/// wait until they are taken.
///
/// A node that is more than that behind comes up slowly, as each block is fetched by its child: bring it to a recent tip
/// first.
///
/// ```
/// use hanzo_snow::{Block, BlockRef, Engine, EngineConfig, Input, Output, Params, Timestamp, ValidatorSet};
/// use rand::{SeedableRng, rngs::SmallRng};
///
/// # fn main() -> Result<(), hanzo_snow::Error> {
/// let genesis = BlockRef { id: [0; 32], parent: [0; 32], height: 0 };
/// let config = EngineConfig::new("me", Params::SINGLE).include_self(true);
/// let validators = ValidatorSet::new([("me", 100)])?;
/// let mut node = Engine::new(config, validators, genesis, SmallRng::seed_from_u64(1))?;
///
/// let header = BlockRef { id: [1; 32], parent: genesis.id, height: 1 };
/// let block = Block { header, bytes: (*b"payload").into() };
/// let now = Timestamp::from_nanos(0);
/// node.handle(now, Input::Block { block, from: None })?;
/// let Some(Output::Persist { token, .. }) = node.poll_output() else { panic!("the block is decided") };
/// assert_eq!(node.poll_output(), None, "but not told before it is durable");
/// node.handle(now, Input::Persisted(token))?;
/// assert_eq!(node.poll_output(), Some(Output::Accepted { id: header.id, height: 1 }));
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct Engine<Id, N, R> {
    config: EngineConfig<N>,
    rng: R,
    now: Timestamp,
    chain: Snowman<Id>,
    validators: ValidatorSet<N>,
    sampler: StakeTable<N>,
    connected: BTreeSet<N>,
    connected_stake: u64,
    blocks: Blocks<Id, N>,
    polls: PollSet<Id, N>,
    /// Polls whose result was not taken, by number.
    open: BTreeMap<u64, OpenPoll<Id, N>>,
    last_polls: VecDeque<VoteBag<Id>>,
    /// No poll is opened before this, where the last one could not be sent to anybody.
    retry_at: Option<Timestamp>,
    fetches: BTreeMap<Id, (N, Timestamp)>,
    /// Queries of each peer whose response was not taken.
    open_queries: BTreeMap<N, u32>,
    /// What is told once its records are durable, oldest first.
    persisting: VecDeque<Persisting<Id, N>>,
    next_token: u64,
    durable: BlockRef<Id>,
    /// Processing blocks in the order they came, with the moment; decided ones leave at the front.
    ages: VecDeque<(Id, Timestamp)>,
    stall_at: Option<Timestamp>,
    gossip_at: Timestamp,
    pending: bool,
    frozen: bool,
    failure: Option<Failure>,
    ignored: BTreeMap<Reason, u64>,
    outputs: VecDeque<Output<Id, N>>,
    decisions: Vec<Decision<Id>>,
}

#[derive(Debug, Clone)]
struct Persisting<Id, N> {
    token: u64,
    tip: BlockRef<Id>,
    outputs: Vec<Output<Id, N>>,
}

impl<Id, N, R> Engine<Id, N, R> {
    /// Undecided blocks held of each peer; default, to be calibrated.
    pub const BLOCKS_PER_PEER: u32 = 16;
    /// Queries of each peer that may wait for their response to be taken; default, to be calibrated.
    pub const QUERIES_PER_PEER: u32 = 64;
}

impl<Id: BlockId, N: Clone + Ord, R: Rng> Engine<Id, N, R> {
    /// A node whose last accepted block is `tip`: genesis, or what [`BlockStore::tip`](crate::BlockStore::tip) says after a
    /// restart. Undecided blocks come back by themselves, as votes name them. A node that is not among the validators follows:
    /// it polls and accepts, and nobody asks it.
    ///
    /// # Errors
    /// [`EngineError::Sample`] if the validators hold too little stake for a sample.
    pub fn new(
        config: EngineConfig<N>,
        validators: ValidatorSet<N>,
        tip: BlockRef<Id>,
        mut rng: R,
    ) -> Result<Self, EngineError> {
        let params = config.params;
        let sampler = Self::sampler(&config, &validators)?;
        let chain = Snowman::new(params, config.variant, tip, rng.next_u64());
        let connected_stake = validators.stake(&config.own).unwrap_or(0);
        let gossip_at = Timestamp::default().after(config.gossip_period);
        Ok(Self {
            rng,
            now: Timestamp::default(),
            chain,
            validators,
            sampler,
            connected: BTreeSet::new(),
            connected_stake,
            blocks: Blocks::new(params.max_outstanding() as usize),
            polls: PollSet::new(params),
            open: BTreeMap::new(),
            last_polls: VecDeque::new(),
            retry_at: None,
            fetches: BTreeMap::new(),
            open_queries: BTreeMap::new(),
            persisting: VecDeque::new(),
            next_token: 0,
            durable: tip,
            ages: VecDeque::new(),
            stall_at: None,
            gossip_at,
            pending: false,
            frozen: false,
            failure: None,
            ignored: BTreeMap::new(),
            outputs: VecDeque::new(),
            decisions: Vec::new(),
            config,
        })
    }

    fn sampler(config: &EngineConfig<N>, validators: &ValidatorSet<N>) -> Result<StakeTable<N>, EngineError> {
        let mut own_stake = 0;
        let sampler = if config.include_self || validators.position(&config.own).is_none() {
            StakeTable::new(validators)
        } else {
            own_stake = validators.stake(&config.own).unwrap_or(0);
            StakeTable::excluding(validators, &config.own)?
        };
        let (total_stake, k) = (validators.total_stake() - own_stake, config.params.k());
        if total_stake < u64::from(k) {
            return Err(crate::sampler::SampleError::SampleTooLarge { total_stake, k }.into());
        }
        Ok(sampler)
    }

    /// Takes an event at a moment; time that goes back stands still.
    ///
    /// What a peer does wrong is no error: it is ignored, counted and named by the [`Outcome`]. After [`Input::Failed`] the
    /// outputs that were not taken are gone, and nothing further comes: begin again from the store.
    ///
    /// # Errors
    /// [`EngineError::Poisoned`] after [`Input::Failed`], [`EngineError::Sample`] for [`Input::Validators`] with too little
    /// stake; nothing changes.
    pub fn handle(&mut self, now: Timestamp, input: Input<Id, N>) -> Result<Outcome, EngineError> {
        if let Some(failure) = self.failure {
            return Err(EngineError::Poisoned(failure));
        }
        if let Input::Validators(set) = &input {
            self.sampler = Self::sampler(&self.config, set)?;
        }
        self.now = self.now.max(now);
        let outcome = match input {
            Input::Block { block, from: Some(from) } => self.take_block(block, from),
            Input::Block { block, from: None } => self.take_own_block(block),
            Input::Query { from, request, block } => self.answer(from, request, block),
            Input::Vote { poll, from, preferred, accepted, .. } => self.vote(poll, &from, preferred, accepted),
            Input::QueryFailed { poll, from } => self.lose_voter(poll, &from),
            Input::Tip { from, id, height } => self.hear_tip(&from, id, height),
            Input::FetchFailed { id } => self.fetch_failed(&id),
            Input::Verified { id, ok } => self.verified(&id, ok),
            Input::Connected(node) => self.connect(node),
            Input::Disconnected(node) => self.disconnect(&node),
            Input::Validators(set) => {
                self.validators = set;
                self.count_stake();
                Outcome::Taken
            }
            Input::Persisted(token) => self.persisted(token),
            Input::Pending => {
                self.pending = true;
                Outcome::Taken
            }
            Input::Failed(failure) => {
                self.failure = Some(failure);
                self.outputs.clear();
                return Ok(Outcome::Taken);
            }
            Input::Tick => Outcome::Taken,
        };
        if let Outcome::Ignored(reason) = outcome {
            *self.ignored.entry(reason).or_insert(0) += 1;
        }
        self.advance();
        Ok(outcome)
    }

    /// The next thing to do, oldest first.
    pub fn poll_output(&mut self) -> Option<Output<Id, N>> {
        let output = self.outputs.pop_front()?;
        if let Output::Respond { to, .. } = &output
            && let Some(open) = self.open_queries.get_mut(to)
        {
            *open -= 1;
            if *open == 0 {
                self.open_queries.remove(to);
            }
        }
        Some(output)
    }

    /// When to call [`handle`](Self::handle) with [`Input::Tick`] at the latest; `None` after [`Input::Failed`]. O(open polls
    /// and fetches).
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Timestamp> {
        if self.failure.is_some() {
            return None;
        }
        let polls = self.open.values().map(|poll| poll.deadline);
        let fetches = self.fetches.values().map(|(_, deadline)| *deadline);
        polls.chain(fetches).chain(self.stall_at).chain(self.retry_at).chain([self.gossip_at]).min()
    }

    /// Stops polling, so that another module may decide, and returns the preferred chain above the last accepted block, lowest
    /// first. Polls under way come to nothing, and no block is to be built; queries are still answered. [`adopt`](Self::adopt) or
    /// [`thaw`](Self::thaw) go on.
    pub fn freeze(&mut self) -> Vec<Id> {
        self.frozen = true;
        let (_, accepted) = self.chain.last_accepted();
        (1..).map_while(|above| self.chain.preference_at(accepted.checked_add(above)?)).collect()
    }

    /// Goes on polling after [`freeze`](Self::freeze).
    pub fn thaw(&mut self) {
        self.frozen = false;
        self.advance();
    }

    /// Accepts a chain of blocks that another module has decided, lowest first, on top of the last accepted block, and
    /// goes on polling. The blocks are kept and told like others; they are not verified again.
    ///
    /// # Errors
    /// [`EngineError::NotAChain`] for the first block that does not extend the one before, or is decided; nothing changes.
    /// [`EngineError::Poisoned`] as in [`handle`](Self::handle).
    pub fn adopt(&mut self, blocks: &[Block<Id>]) -> Result<(), EngineError> {
        if let Some(failure) = self.failure {
            return Err(EngineError::Poisoned(failure));
        }
        let (mut parent, mut height) = self.chain.last_accepted();
        for (index, block) in blocks.iter().enumerate() {
            let header = block.header;
            let held_elsewhere = self.chain.parent(&header.id).is_some_and(|held| held != header.parent);
            // Decided before, where ids do not commit to what they stand on.
            let decided = header.id == parent || index == 0 && self.chain.check(&header) == Err(AddError::Decided);
            if header.parent != parent || height.checked_add(1) != Some(header.height) || held_elsewhere || decided {
                return Err(EngineError::NotAChain { index });
            }
            (parent, height) = (header.id, header.height);
        }
        for block in blocks {
            let id = block.header.id;
            if !self.chain.is_processing(&id) {
                self.blocks.forget_waiting(&id);
                self.blocks.insert_processing(block.clone(), None);
                // It extends the last accepted block, so it is taken.
                let _ = self.chain.add(block.header);
                self.ages.push_back((id, self.now));
            }
            self.chain.adopt(&id, &mut self.decisions);
        }
        self.apply_decisions();
        self.thaw();
        Ok(())
    }

    /// The chain being decided.
    #[must_use]
    pub const fn chain(&self) -> &Snowman<Id> {
        &self.chain
    }

    /// The last accepted block that is durable.
    #[must_use]
    pub const fn durable(&self) -> BlockRef<Id> {
        self.durable
    }

    /// An undecided block, to verify it or to answer a peer that fetches it; accepted ones are in the store.
    #[must_use]
    pub fn block(&self, id: &Id) -> Option<&Block<Id>> {
        self.blocks.get(id)
    }

    /// Inputs ignored for a reason so far.
    #[must_use]
    pub fn ignored(&self, reason: Reason) -> u64 {
        self.ignored.get(&reason).copied().unwrap_or(0)
    }

    /// Whether enough stake is connected for polls to keep succeeding.
    #[must_use]
    pub fn has_enough_stake(&self) -> bool {
        self.config.params.has_enough_stake(self.connected_stake, self.validators.total_stake())
    }

    /// How much is held.
    #[must_use]
    pub fn load(&self) -> Load {
        Load {
            processing: self.chain.processing_len(),
            waiting: self.blocks.waiting_len(),
            held_votes: self.open.values().map(|poll| poll.held.len()).sum(),
            fetches: self.fetches.len(),
            polls: self.polls.len(),
            persisting: self.persisting.len(),
            outputs: self.outputs.len(),
        }
    }

    fn connect(&mut self, node: N) -> Outcome {
        if node == self.config.own || self.connected.contains(&node) {
            return Outcome::Ignored(Reason::Known);
        }
        self.connected_stake += self.validators.stake(&node).unwrap_or(0);
        self.connected.insert(node);
        Outcome::Taken
    }

    fn disconnect(&mut self, node: &N) -> Outcome {
        if !self.connected.remove(node) {
            return Outcome::Ignored(Reason::NotConnected);
        }
        self.connected_stake -= self.validators.stake(node).unwrap_or(0);
        self.open_queries.remove(node);
        self.outputs.retain(|output| !matches!(output, Output::Respond { to, .. } if to == node));
        let fetched: Vec<Id> = self.fetches.iter().filter(|(_, (from, _))| from == node).map(|(id, _)| *id).collect();
        for id in fetched {
            self.fetch_failed(&id);
        }
        self.lose_everywhere(node);
        Outcome::Taken
    }

    fn count_stake(&mut self) {
        let Self { validators, connected, config, .. } = self;
        let stakes = validators.nodes().iter().zip(validators.stakes());
        let up = stakes.filter(|(node, _)| **node == config.own || connected.contains(*node));
        self.connected_stake = up.map(|(_, stake)| stake).sum();
    }

    fn answer(&mut self, from: N, request: u64, block: Id) -> Outcome {
        if !self.connected.contains(&from) {
            return Outcome::Ignored(Reason::NotConnected);
        }
        let open = self.open_queries.entry(from.clone()).or_insert(0);
        if *open >= Self::QUERIES_PER_PEER {
            return Outcome::Ignored(Reason::TooManyQueries);
        }
        *open += 1;
        self.outputs.push_back(Output::Respond {
            to: from.clone(),
            request,
            preferred: self.chain.preference(),
            accepted: self.durable.id,
            accepted_height: self.durable.height,
        });
        self.fetch_unasked(block, &from);
        Outcome::Taken
    }

    fn hear_tip(&mut self, from: &N, id: Id, height: u64) -> Outcome {
        if !self.connected.contains(from) {
            return Outcome::Ignored(Reason::NotConnected);
        }
        if height <= self.chain.last_accepted().1 || self.is_known(&id) {
            return Outcome::Ignored(Reason::Known);
        }
        self.fetch_unasked(id, from);
        Outcome::Taken
    }

    fn persisted(&mut self, token: u64) -> Outcome {
        if token >= self.next_token || self.persisting.front().is_none_or(|oldest| oldest.token > token) {
            return Outcome::Ignored(Reason::Unexpected);
        }
        while self.persisting.front().is_some_and(|oldest| oldest.token <= token)
            && let Some(done) = self.persisting.pop_front()
        {
            self.durable = done.tip;
            self.outputs.extend(done.outputs);
        }
        Outcome::Taken
    }

    /// Passes the chain's decisions on: first to the store, then, once durable, to the application.
    fn apply_decisions(&mut self) {
        let mut records = Vec::new();
        let mut outputs = Vec::new();
        let mut tip = None;
        for decision in core::mem::take(&mut self.decisions) {
            match decision {
                Decision::Accepted { id, height } => {
                    if let Some(block) = self.blocks.decide(&id) {
                        tip = Some(block.header);
                        records.push(Record::Block(block));
                    }
                    outputs.push(Output::Accepted { id, height });
                }
                Decision::Rejected { id, height } => {
                    self.blocks.decide(&id);
                    self.drop_waiting_above(&id);
                    outputs.push(Output::Rejected { id, height });
                }
                Decision::Confirmed { id, height } => outputs.push(Output::Confirmed { id, height }),
            }
        }
        let Some(tip) = tip else { return };
        for id in self.blocks.waiting_up_to(tip.height) {
            // Too low to be decided otherwise than against.
            self.blocks.decide(&id);
            self.drop_waiting_above(&id);
            self.release_votes(&id);
        }
        records.push(Record::Tip(tip));
        let token = self.next_token;
        self.next_token += 1;
        self.persisting.push_back(Persisting { token, tip, outputs });
        self.outputs.push_back(Output::Persist { token, records });
    }

    /// Does what is due.
    fn advance(&mut self) {
        let now = self.now;
        let late: Vec<Id> = self.fetches.iter().filter(|(_, (_, at))| at.is_due(now)).map(|(id, _)| *id).collect();
        for id in late {
            self.fetch_failed(&id);
        }
        self.expire_polls();
        self.run_polls();
        while self.ages.front().is_some_and(|(id, _)| !self.chain.is_processing(id)) {
            self.ages.pop_front();
        }
        self.check_stall();
        if self.gossip_at.is_due(now) {
            self.gossip_at = now.after(self.config.gossip_period);
            self.outputs.push_back(Output::Gossip { id: self.durable.id, height: self.durable.height });
        }
        let processing = self.chain.processing_len() as u64;
        if self.pending && !self.frozen && processing < u64::from(self.config.params.optimal_processing()) {
            let parent = self.chain.preference();
            let (_, accepted) = self.chain.last_accepted();
            let above = self.blocks.get(&parent).map_or(accepted, |block| block.header.height);
            if let Some(height) = above.checked_add(1) {
                self.pending = false;
                self.outputs.push_back(Output::BuildBlock { parent, height });
            }
        }
    }

    fn check_stall(&mut self) {
        let limit = self.config.params.max_item_time();
        let Some(&(oldest, since)) = self.ages.front() else {
            self.stall_at = None;
            return;
        };
        let due = since.after(limit);
        let at = *self.stall_at.get_or_insert(due);
        // A younger block has become the oldest.
        let at = at.max(due);
        self.stall_at = Some(at);
        if !at.is_due(self.now) {
            return;
        }
        self.stall_at = Some(self.now.after(limit));
        let params = &self.config.params;
        let polls = self.last_polls.len() as u32;
        let alpha = u32::from(params.alpha_preference());
        let (mut split, mut short) = (0, 0);
        for votes in &self.last_polls {
            short += u32::from(votes.total() < alpha);
            split += u32::from(votes.total() >= alpha && self.leading(votes) < alpha);
        }
        let enough = self.has_enough_stake();
        let report = StallReport {
            oldest,
            height: self.blocks.get(&oldest).map_or(0, |block| block.header.height),
            age: self.now.since(since),
            connected_stake: self.connected_stake,
            total_stake: self.validators.total_stake(),
            polls,
            votes: self.last_polls.iter().map(VoteBag::total).sum(),
            too_little_stake: !enough,
            split_votes: 2 * split > polls,
            no_answers: enough && 2 * short >= polls,
            too_many_processing: self.chain.processing_len() as u64 > u64::from(params.optimal_processing()),
        };
        self.outputs.push_back(Output::Stalled(report));
    }
}
