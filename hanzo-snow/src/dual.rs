//! Both tracks in one node: what the fast path certifies, settlement orders by checkpoints.

mod execute;
mod ledger;
mod messages;
mod payload;
mod propose;

use alloc::collections::{BTreeMap, VecDeque};
use alloc::sync::Arc;
use alloc::vec::Vec;

pub use ledger::{SettledRecord, settled_from_store};
pub use messages::{CheckpointPolicy, DualConfig, DualInput, DualMessage, DualOutput, Settled};
pub use payload::{CheckpointBody, Close, CloseReport, MAX_REPORTED, Payload};

use crate::checkpoint::Hash;
use crate::committee::{Committee, MAX_VALIDATORS, MessageError, NodeId, Sign, VerifyAll};
use crate::engine::Timestamp;
use crate::fastpath::{FastInput, FastOutput, FastPath};
use crate::sampler::ValidatorSet;
use crate::settlement::{self, Block, Input, Memory, Output, Replica, ReplicaError, Root};
use crate::store::Record;
use ledger::{Ledger, Plan};

/// Validators of the next epoch with their stakes.
type NextSet = Arc<[(NodeId, u64)]>;

/// A committed block or the epoch that follows one, not yet carried out.
#[derive(Debug, Clone)]
enum Step {
    Block(Hash, Block),
    Epoch(Committee),
}

impl Step {
    const fn height(&self) -> u64 {
        match self {
            Self::Block(_, block) => block.height,
            Self::Epoch(_) => u64::MAX,
        }
    }
}

#[derive(Debug, Clone, Copy)]
enum Owner {
    Fast(u64),
    Replica(u64),
    Ledger,
}

/// One validator of both tracks: no network, clock, store or thread.
///
/// Transactions given with [`DualInput::Submit`] come back as [`DualOutput::Certified`] (first level) and as part of a
/// [`DualOutput::Settled`] checkpoint (second level: total order). Give every event to [`handle`](Self::handle), do what
/// [`poll_output`](Self::poll_output) says in order, and call again no later than [`poll_timeout`](Self::poll_timeout). Records of
/// several [`DualOutput::Persist`] may be kept with one commit; say [`DualInput::Persisted`] with the last token.
///
/// What is told is told at least once: after a restart the last may come again, with the same epoch and sequence or the same
/// height. A crash may only leave out `CertificateFormed`, and `Certified` of what has settled by then.
///
/// The node is its store: of the records nothing may be left out, and after a restart [`Memory::Stored`] takes all entries.
/// A node whose store is lost has voted and acknowledged what it no longer knows: [`Memory::Lost`] makes it follow, without a vote,
/// up to the end of the last epoch in which it may have taken part.
///
/// ```
/// use std::collections::VecDeque;
/// use hanzo_snow::fastpath::{ConflictKey, Tx};
/// use hanzo_snow::settlement::{Memory, Root, chain_from_store};
/// use hanzo_snow::{
///     BlockStore, Committee, DualConfig, DualInput, DualMessage, DualOutput, DualTrack, MemoryStore, NodeId, Settled,
///     Timestamp, ValidatorSet, settled_from_store,
/// };
/// # use hanzo_snow::{Sign, Signature, SignatureError, VerifyAll};
/// # #[derive(Debug, Clone)]
/// # struct Unsigned;
/// # impl Sign for Unsigned {
/// #     fn sign(&self, _: &[u8]) -> Result<Signature, SignatureError> { Ok(Signature::from([])) }
/// # }
/// # impl VerifyAll for Unsigned {
/// #     fn verify_all(&self, _: &[(NodeId, &[u8], &[u8])]) -> Result<(), SignatureError> { Ok(()) }
/// # }
///
/// /// One validator with its store. `Unsigned` stands for its keys; see `Keys` for real ones.
/// struct Validator {
///     track: DualTrack<Unsigned>,
///     store: MemoryStore<[u8; 32]>,
///     settled: Vec<Settled>,
/// }
///
/// impl Validator {
///     /// Gives an event and does what comes out. Returns what to send, to one or to all others, as bytes.
///     fn give(&mut self, now: Timestamp, chain: &[u8; 32], input: DualInput) -> Vec<(Option<NodeId>, Vec<u8>)> {
///         let mut send = Vec::new();
///         // What is refused is of a peer that is behind, ahead or faulty: no reason to stop.
///         let _ = self.track.handle(now, input);
///         loop {
///             let (mut records, mut last) = (Vec::new(), None);
///             while let Some(output) = self.track.poll_output() {
///                 match output {
///                     DualOutput::Persist { token, records: more } => {
///                         records.extend(more);
///                         last = Some(token);
///                     }
///                     DualOutput::Send { to, epoch, message } => send.push((Some(to), message.encode(chain, epoch))),
///                     DualOutput::Broadcast { epoch, message } => send.push((None, message.encode(chain, epoch))),
///                     DualOutput::Serve { to, epoch, after } => {
///                         let entries = self.store.entries().expect("memory");
///                         let found = chain_from_store(&entries, epoch, after).map(DualMessage::Settlement);
///                         send.extend(found.map(|message| (Some(to), message.encode(chain, epoch))));
///                     }
///                     DualOutput::ServeSettled { to, epoch, sequence } => {
///                         let entries = self.store.entries().expect("memory");
///                         let found = settled_from_store(&entries, epoch, sequence);
///                         send.extend(found.map(|message| (Some(to), message.encode(chain, epoch))));
///                     }
///                     DualOutput::Settled(settled) => self.settled.push(settled),
///                     // First level, orders, epochs, evidence, stalls.
///                     _ => {}
///                 }
///             }
///             let Some(token) = last else { return send };
///             // One commit for all of them, before what depends on it comes out. Where it fails: `DualInput::Failed`.
///             self.store.append(&records).expect("memory");
///             self.store.sync().expect("memory");
///             let _ = self.track.handle(now, DualInput::Persisted(token));
///         }
///     }
/// }
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let (chain, names) = ([9; 32], [[1; 32], [2; 32], [3; 32], [4; 32]]);
/// let committee = Committee::new(chain, 0, ValidatorSet::new(names.map(|name| (name, 100)))?)?;
/// let begin = |name, memory, now| {
///     // The seed should be drawn at random.
///     DualTrack::new(DualConfig::new(name), committee.clone(), Unsigned, memory, 7, now)
/// };
/// let mut now = Timestamp::from_nanos(0);
/// let mut nodes = Vec::new();
/// for name in names {
///     let track = begin(name, Memory::Fresh(Root::default()), now)?;
///     nodes.push(Validator { track, store: MemoryStore::default(), settled: Vec::new() });
/// }
///
/// let tx = Tx::new([ConflictKey::new(b"worker 7", 41)], *b"match 3 to worker 7")?;
/// let mut inputs = VecDeque::from([(0, DualInput::Submit(tx.clone()))]);
/// while nodes.iter().any(|node| node.settled.iter().all(|settled| settled.txs.is_empty())) {
///     // With nothing under way, time passes.
///     if inputs.is_empty() {
///         now = nodes.iter().map(|node| node.track.poll_timeout()).min().expect("four nodes").max(now);
///         inputs.extend((0..nodes.len()).map(|node| (node, DualInput::Tick)));
///     }
///     let Some((at, input)) = inputs.pop_front() else { continue };
///     for (to, bytes) in nodes[at].give(now, &chain, input) {
///         let (of, epoch, message) = DualMessage::decode(&bytes)?;
///         assert_eq!(of, chain, "messages of another chain are not for this node");
///         for (other, name) in names.iter().enumerate().filter(|(other, _)| *other != at) {
///             if to.is_none_or(|to| to == *name) {
///                 let message = message.clone();
///                 inputs.push_back((other, DualInput::Message { from: names[at], epoch, message }));
///             }
///         }
///     }
/// }
/// let first: Vec<_> = nodes.iter().map(|node| &node.settled[0].checkpoint).collect();
/// assert!(first.iter().all(|checkpoint| *checkpoint == first[0]), "all settle the same");
///
/// // A restart: all that the store has, and the committee of the first epoch.
/// let node = &mut nodes[0];
/// let height = node.track.executed();
/// node.track = begin(names[0], Memory::Stored(node.store.entries()?), now)?;
/// assert_eq!(node.track.executed(), height);
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct DualTrack<A> {
    config: DualConfig,
    authority: A,
    seed: u64,
    now: Timestamp,
    replica: Replica<A>,
    fast: FastPath<A>,
    ledger: Ledger,
    /// The last block that was carried out.
    executed: Root,
    steps: VecDeque<Step>,
    /// The view that wants a payload, and the block on which, where commits are yet to become durable.
    building: Option<(u64, Hash)>,
    /// Blocks whose payload settlement wants to know valid.
    validating: Vec<Hash>,
    /// The certificates that blocks, by id, were found to wait for.
    lacking: BTreeMap<Hash, Vec<Hash>>,
    /// What the last block found valid settles, as long as nothing has settled since.
    planned: Option<(Hash, Plan)>,
    /// Whether acknowledgements of this epoch are forgotten, or of no more use.
    follows: bool,
    /// The next epoch's validators, if this one shall end.
    next: Option<Arc<[(NodeId, u64)]>>,
    orders: VecDeque<Arc<[u8]>>,
    owners: VecDeque<(u64, Owner, Vec<DualOutput>)>,
    next_token: u64,
    pending: bool,
    check_at: Timestamp,
    /// When to look next whether a step waits.
    ask_at: Timestamp,
    /// Height of the step that waited when that was last looked at.
    waits: Option<u64>,
    ask_next: u32,
    /// Who has given the last settled checkpoint, until it is asked for the next.
    served_by: Option<NodeId>,
    stuck: bool,
    outputs: VecDeque<DualOutput>,
}

impl<A: Sign + VerifyAll + Clone> DualTrack<A> {
    /// A node at `now`. `committee` is the one of the chain's first epoch, also after a restart. `seed` keys the index of conflict
    /// keys and should be drawn at random; it changes no output.
    ///
    /// # Errors
    /// [`ReplicaError::Stored`] and [`ReplicaError::StoredBlock`] for stored entries that do not fit together.
    pub fn new(
        config: DualConfig,
        committee: Committee,
        authority: A,
        memory: Memory,
        seed: u64,
        now: Timestamp,
    ) -> Result<Self, ReplicaError> {
        let entries = if let Memory::Stored(entries) = &memory { entries.clone() } else { Vec::new() };
        let replica = Replica::new(config.replica.clone(), committee, authority.clone(), memory, now)?;
        let state = replica.vote_state();
        // Epochs whose end was committed but not carried out, and the running one.
        let mut committees = settlement::stored_committees(&entries, replica.committee().chain())?;
        committees.retain(|committee| committee.epoch() < state.epoch);
        committees.push(replica.committee().clone());
        let behind = committees.len() > 1;
        let root = if behind { Root::default() } else { state.root };
        let (ledger, executed, settled) = Ledger::restore(&committees[0], root, seed, &entries)?;
        let mut fast = FastPath::new(config.fast.clone(), committees[0].clone(), authority.clone(), seed, now);
        fast.restore(&entries, ledger.floor(config.keep_rounds))?;
        fast.settle(&settled, &[], 0, 0);
        fast.decide(ledger.settled());
        let follows = replica.follows() || behind;
        if follows {
            fast.close();
        }
        let mut steps = VecDeque::new();
        let mut end = state.committed;
        for (at, committee) in committees.iter().enumerate().rev() {
            let above = if at == 0 { executed.max(root.height) } else { 0 };
            let (blocks, below) = ledger::committed_above(&entries, committee.epoch(), end, above)?;
            for (id, block) in blocks.into_iter().rev() {
                steps.push_front(Step::Block(id, block));
            }
            if at > 0 {
                steps.push_front(Step::Epoch(committee.clone()));
            }
            end = below;
        }
        let mut node = Self {
            config,
            authority,
            seed,
            now,
            replica,
            fast,
            ledger,
            executed: Root { id: [0; 32], height: executed },
            steps,
            building: None,
            validating: Vec::new(),
            lacking: BTreeMap::new(),
            planned: None,
            follows,
            next: None,
            orders: VecDeque::new(),
            owners: VecDeque::new(),
            next_token: 0,
            pending: false,
            check_at: now,
            ask_at: now,
            waits: None,
            ask_next: 0,
            served_by: None,
            stuck: false,
            outputs: VecDeque::new(),
        };
        node.advance();
        Ok(node)
    }

    /// Handles an event; time that goes back stands still.
    ///
    /// # Errors
    /// [`ReplicaError::Message`] for a message that is refused, which is no reason to stop: those of
    /// [`Replica::handle`] and [`FastPath::handle`], and [`MessageError::WrongEpoch`] and [`MessageError::UnknownValidator`]
    /// for what is of another epoch or of no validator. The same with [`MessageError::Busy`] for a transaction or an order that
    /// finds no room, [`MessageError::TooLarge`] for an order and [`MessageError::Malformed`] for next validators that make no
    /// committee. [`ReplicaError::Poisoned`] once settlement has stopped for good:
    /// end the node and begin again from its store.
    pub fn handle(&mut self, now: Timestamp, input: DualInput) -> Result<(), ReplicaError> {
        if self.replica.is_poisoned() {
            return Err(ReplicaError::Poisoned);
        }
        self.now = self.now.max(now);
        let result = self.take(input);
        self.advance();
        result
    }

    fn take(&mut self, input: DualInput) -> Result<(), ReplicaError> {
        match input {
            DualInput::Message { from, epoch, message: DualMessage::Settlement(message) } => {
                self.replica.handle(self.now, Input::Message { from, epoch, message })?;
            }
            DualInput::Message { from, epoch, message: DualMessage::GetSettled { sequence } } => {
                self.outputs.push_back(DualOutput::ServeSettled { to: from, epoch, sequence });
            }
            DualInput::Message { from, epoch, message } => {
                let committee = self.ledger.committee();
                if epoch != committee.epoch() {
                    return Err(MessageError::WrongEpoch { expected: committee.epoch(), found: epoch }.into());
                }
                let unknown = MessageError::UnknownValidator { position: u32::MAX };
                let name = from;
                let from = committee.position(&from).ok_or(unknown)?;
                match message {
                    DualMessage::Fast(message) => {
                        self.fast.handle(self.now, FastInput::Message { from, message })?;
                    }
                    DualMessage::Report(report) => {
                        report.verify(committee, &self.authority)?;
                        if self.ledger.closing().is_none() {
                            return Err(MessageError::Stale { found: epoch, current: epoch }.into());
                        }
                        for id in self.ledger.report(report) {
                            self.fast.want(id, u64::MAX, from);
                        }
                    }
                    DualMessage::Settled(record) => self.take_settled(record, name),
                    DualMessage::Settlement(_) | DualMessage::GetSettled { .. } => {}
                }
            }
            DualInput::Submit(tx) => self.fast.handle(self.now, FastInput::Submit(tx))?,
            DualInput::Order(bytes) => {
                if bytes.len() > payload::MAX_ORDER {
                    return Err(MessageError::TooLarge { field: "order" }.into());
                }
                if self.orders.len() >= self.config.max_orders {
                    return Err(MessageError::Busy.into());
                }
                self.orders.push_back(bytes);
            }
            DualInput::Next(next) => {
                // An epoch that is closed for validators who make no committee would never end.
                let is_set = ValidatorSet::new(next.iter().copied()).is_ok() && next.len() <= MAX_VALIDATORS;
                if !is_set {
                    return Err(MessageError::Malformed { field: "next validators" }.into());
                }
                self.next = Some(next);
            }
            DualInput::Persisted(token) => {
                while self.owners.front().is_some_and(|(held, ..)| *held <= token) {
                    let Some((_, owner, outputs)) = self.owners.pop_front() else { break };
                    match owner {
                        Owner::Fast(token) => self.fast.handle(self.now, FastInput::Persisted(token))?,
                        Owner::Replica(token) => self.replica.handle(self.now, Input::Persisted(token))?,
                        Owner::Ledger => {}
                    }
                    self.outputs.extend(outputs);
                }
            }
            DualInput::Failed(failure) => self.replica.handle(self.now, Input::Failed(failure))?,
            DualInput::Tick => {}
        }
        Ok(())
    }

    /// The next thing to do.
    pub fn poll_output(&mut self) -> Option<DualOutput> {
        self.outputs.pop_front()
    }

    /// When to call with [`DualInput::Tick`] at the latest.
    #[must_use]
    pub fn poll_timeout(&self) -> Timestamp {
        let replica = self.replica.poll_timeout().unwrap_or(self.check_at);
        replica.min(self.fast.poll_timeout()).min(self.check_at).min(self.ask_at)
    }

    /// Lets both tracks act until nothing more comes of it.
    fn advance(&mut self) {
        // Either track refuses a tick only when it has stopped for good.
        let _ = self.fast.handle(self.now, FastInput::Tick);
        let _ = self.replica.handle(self.now, Input::Tick);
        if self.check_at <= self.now {
            self.check_at = self.now.after(self.config.unlock_after / 8);
            let since = self.fast.stuck_since();
            self.stuck = since.is_some_and(|since| since.after(self.config.unlock_after) <= self.now)
                || self.fast.is_out_of_locks();
            if self.ledger.closing().is_some() {
                self.send_report();
            }
        }
        if self.ask_at <= self.now {
            self.ask_at = self.now.after(self.config.fast.resend);
            self.ask_settled();
        }
        loop {
            let mut quiet = true;
            while let Some(output) = self.fast.poll_output() {
                quiet = false;
                self.take_from_fast(output);
            }
            while let Some(output) = self.replica.poll_output() {
                quiet = false;
                self.take_from_replica(output);
            }
            quiet &= !self.execute();
            quiet &= !self.build();
            quiet &= !self.validate();
            let pending = self.has_pending();
            if pending != self.pending {
                self.pending = pending;
                let _ = self.replica.handle(self.now, Input::Pending(pending));
                quiet = false;
            }
            if quiet {
                break;
            }
        }
        self.ask_for_more();
    }

    fn token(&mut self, owner: Owner, records: Vec<Record<Hash>>, outputs: Vec<DualOutput>) {
        let token = self.next_token;
        self.next_token += 1;
        self.owners.push_back((token, owner, outputs));
        self.outputs.push_back(DualOutput::Persist { token, records });
    }

    fn take_from_fast(&mut self, output: FastOutput) {
        let epoch = self.ledger.committee().epoch();
        let output = match output {
            FastOutput::Send { to, message } => {
                let Some(&to) = self.ledger.committee().node(to) else { return };
                DualOutput::Send { to, epoch, message: DualMessage::Fast(message) }
            }
            FastOutput::Broadcast(message) => DualOutput::Broadcast { epoch, message: DualMessage::Fast(message) },
            FastOutput::Persist { token, records } => return self.token(Owner::Fast(token), records, Vec::new()),
            FastOutput::CertificateFormed { id, round, certified } => {
                DualOutput::CertificateFormed { id, round, certified }
            }
            FastOutput::Certified(place) => DualOutput::Certified(place),
            FastOutput::Evidence(evidence) => DualOutput::Evidence(evidence),
        };
        self.outputs.push_back(output);
    }

    fn take_from_replica(&mut self, output: Output) {
        let output = match output {
            Output::Send { to, epoch, message } => {
                DualOutput::Send { to, epoch, message: DualMessage::Settlement(message) }
            }
            Output::Broadcast { epoch, message } => {
                DualOutput::Broadcast { epoch, message: DualMessage::Settlement(message) }
            }
            Output::Validate { block } => {
                if !self.validating.contains(&block) {
                    self.validating.push(block);
                }
                return;
            }
            Output::Build { view, parent } => return self.building = Some((view, parent)),
            Output::Persist { token, entries } => {
                let records = entries.into_iter().map(Record::Entry).collect();
                return self.token(Owner::Replica(token), records, Vec::new());
            }
            Output::Committed { id, block } => return self.steps.push_back(Step::Block(id, block)),
            Output::Epoch(committee) => return self.steps.push_back(Step::Epoch(committee)),
            Output::Serve { to, epoch, after } => DualOutput::Serve { to, epoch, after },
            Output::Evidence(evidence) => DualOutput::Evidence(evidence),
            Output::Stalled(stall) => DualOutput::Stalled(stall),
        };
        self.outputs.push_back(output);
    }
}

impl<A> DualTrack<A> {
    /// The settlement replica.
    #[must_use]
    pub const fn replica(&self) -> &Replica<A> {
        &self.replica
    }

    /// The fast path.
    #[must_use]
    pub const fn fast_path(&self) -> &FastPath<A> {
        &self.fast
    }

    /// The committee of the epoch that is being carried out.
    #[must_use]
    pub const fn committee(&self) -> &Committee {
        self.ledger.committee()
    }

    /// Height of the last block that was carried out.
    #[must_use]
    pub const fn executed(&self) -> u64 {
        self.executed.height
    }

    /// Checkpoints settled in this epoch.
    #[must_use]
    pub const fn checkpoints(&self) -> u64 {
        self.ledger.sequence()
    }
}
