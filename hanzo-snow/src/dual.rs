//! Both tracks in one node: what the fast path certifies, settlement orders by checkpoints.

mod ledger;
mod messages;
mod payload;

use alloc::boxed::Box;
use alloc::collections::{BTreeMap, BTreeSet, VecDeque};
use alloc::sync::Arc;
use alloc::vec::Vec;

pub use ledger::{SettledRecord, settled_from_store};
pub use messages::{CheckpointPolicy, DualConfig, DualInput, DualMessage, DualOutput, Settled};
pub use payload::{CheckpointBody, Close, CloseReport, MAX_REPORTED, Payload};

use crate::checkpoint::Hash;
use crate::committee::{Committee, MessageError, NodeId, Sign, VerifyAll};
use crate::engine::Timestamp;
use crate::fastpath::{FastInput, FastOutput, FastPath, Tx};
use crate::settlement::{self, Block, Input, Memory, Output, Replica, ReplicaError, Root};
use crate::store::{EntryKind, Record};
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
/// What is told is told at least once: after a restart the last may come again, with the same sequence or height.
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
    /// Blocks whose payload settlement wants to know valid.
    validating: Vec<Hash>,
    /// The next epoch's validators, if this one shall end.
    next: Option<Arc<[(NodeId, u64)]>>,
    orders: VecDeque<Arc<[u8]>>,
    owners: VecDeque<(u64, Owner, Vec<DualOutput>)>,
    next_token: u64,
    pending: bool,
    check_at: Timestamp,
    /// Height of the step that waited when that was last looked at.
    waits: Option<u64>,
    ask_next: u32,
    stuck: bool,
    outputs: VecDeque<DualOutput>,
}

impl<A: Sign + VerifyAll + Clone> DualTrack<A> {
    /// A node at `now`. `seed` keys the index of conflict keys and should be drawn at random; it changes no output.
    ///
    /// # Errors
    /// [`ReplicaError`] for stored entries that do not fit together.
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
        // The epoch before, if its end was committed but not carried out.
        let mut committees = settlement::stored_committees(&entries, replica.committee().chain())?;
        committees.retain(|committee| committee.epoch() < state.epoch);
        let before = committees.pop();
        let root = if before.is_some() { Root::default() } else { state.root };
        let committee = before.clone().unwrap_or_else(|| replica.committee().clone());
        let (ledger, executed, settled) = Ledger::restore(&committee, root, seed, &entries)?;
        let mut fast = FastPath::new(config.fast.clone(), committee.clone(), authority.clone(), seed, now);
        fast.restore(&entries, ledger.floor(config.keep_rounds))?;
        fast.settle(&settled, &[], 0, 0);
        let end = if before.is_some() { state.root } else { state.committed };
        let blocks = |blocks: Vec<(Hash, Block)>| blocks.into_iter().map(|(id, block)| Step::Block(id, block));
        let mut steps: VecDeque<Step> =
            blocks(ledger::committed_above(&entries, &committee, end, executed.max(root.height))?).collect();
        if before.is_some() {
            steps.push_back(Step::Epoch(replica.committee().clone()));
            steps.extend(blocks(ledger::committed_above(
                &entries,
                replica.committee(),
                state.committed,
                state.root.height,
            )?));
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
            validating: Vec::new(),
            next: None,
            orders: VecDeque::new(),
            owners: VecDeque::new(),
            next_token: 0,
            pending: false,
            check_at: now,
            waits: None,
            ask_next: 0,
            stuck: false,
            outputs: VecDeque::new(),
        };
        node.advance();
        Ok(node)
    }

    /// Handles an event.
    ///
    /// # Errors
    /// [`ReplicaError`]; nothing has changed, and a refused message is no reason to stop.
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
                            self.fast.want(id, from);
                        }
                    }
                    DualMessage::Settled(record) => self.take_settled(record),
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
            DualInput::Next(next) => self.next = Some(next),
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
        replica.min(self.fast.poll_timeout()).min(self.check_at)
    }

    /// Lets both tracks act until nothing more comes of it.
    fn advance(&mut self) {
        // Either track refuses a tick only when it has stopped for good.
        let _ = self.fast.handle(self.now, FastInput::Tick);
        let _ = self.replica.handle(self.now, Input::Tick);
        if self.check_at <= self.now {
            self.check_at = self.now.after(self.config.unlock_after / 8);
            let since = self.fast.stuck_since();
            self.stuck = since.is_some_and(|since| since.after(self.config.unlock_after) <= self.now);
            if self.ledger.closing().is_some() {
                self.send_report();
            }
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
            Output::Build { view, parent } => {
                let (payload, next) = self.build(&parent);
                // Refused only if the view is over by now.
                let _ = self.replica.handle(self.now, Input::Payload { view, payload, next });
                return;
            }
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

    fn has_pending(&self) -> bool {
        if !self.steps.is_empty() {
            return false;
        }
        if self.ledger.closing().is_some() {
            return self.ledger.reported_stake() >= self.ledger.committee().quorum().stake();
        }
        !self.orders.is_empty() || self.next.is_some() || self.stuck || self.checkpoint_due().is_some()
    }

    fn checkpoint_due(&self) -> Option<u64> {
        let full = self.fast.dag().last_full_round(self.ledger.committee());
        let due = self.ledger.first_round().saturating_add(self.config.policy.period().saturating_sub(1));
        (full >= due).then_some(full)
    }

    /// What to settle on a block.
    fn build(&mut self, parent: &Hash) -> (Arc<[u8]>, Option<NextSet>) {
        let empty = || (Arc::from([]), None);
        if !self.is_current(parent) {
            return empty();
        }
        let mut payload = Payload::default();
        let mut next = None;
        if let Some(opened) = self.ledger.closing().cloned() {
            let held = |id: &Hash| self.fast.dag().get(id).is_some();
            let Some(reports) = self.ledger.ready_reports(held) else { return empty() };
            let Ok(plan) = self.ledger.plan_close(self.fast.dag(), &reports) else { return empty() };
            payload.close = Some(Close::Final { reports, checkpoint: plan.checkpoint });
            next = Some(opened);
        } else if self.wants_to_close() {
            let set = self.next.clone().unwrap_or_else(|| self.ledger.validators());
            payload.close = Some(Close::Open { next: set });
        } else if let Some(last_round) = self.checkpoint_due() {
            payload.checkpoint = self.ledger.propose(self.fast.dag(), last_round).map(Box::new);
        }
        if next.is_none() {
            payload.order = self.orders.pop_front();
        }
        if payload == Payload::default() {
            return empty();
        }
        (payload.encode(self.ledger.committee()).into(), next)
    }

    fn wants_to_close(&self) -> bool {
        let old_enough =
            self.replica.committed().height.saturating_sub(self.ledger.root_height()) >= self.config.min_epoch_blocks;
        self.next.is_some() || self.stuck && old_enough
    }

    /// Whether all below a block is carried out, so that the ledger is what a block on it must fit.
    fn is_current(&self, parent: &Hash) -> bool {
        self.steps.is_empty()
            && self.ledger.committee().epoch() == self.replica.committee().epoch()
            && self.replica.uncommitted(parent).is_some_and(|path| path.iter().all(|block| block.payload.is_empty()))
    }

    /// Answers what settlement asks, where the answer is known; whether any was given.
    fn validate(&mut self) -> bool {
        let mut answered = false;
        for id in core::mem::take(&mut self.validating) {
            let Some(block) = self.replica.block(&id).cloned() else { continue };
            if !self.steps.is_empty() || self.ledger.committee().epoch() != self.replica.committee().epoch() {
                self.validating.push(id);
                continue;
            }
            match self.check(&block) {
                Ok(ok) => {
                    answered = true;
                    let _ = self.replica.handle(self.now, Input::Validated { block: id, ok });
                }
                Err(missing) => {
                    for certificate in missing {
                        self.fast.want(certificate, block.proposer);
                    }
                    self.validating.push(id);
                }
            }
        }
        // One block of each proposer is enough to wait for.
        let excess = self.validating.len().saturating_sub(self.ledger.committee().len());
        self.validating.drain(..excess);
        answered
    }

    /// Whether a block's payload may be settled.
    ///
    /// # Errors
    /// Certificates that are missing to say so.
    fn check(&self, block: &Block) -> Result<bool, Vec<Hash>> {
        let committee = self.ledger.committee();
        if !self.is_current(&block.justify.block) {
            return Ok(false);
        }
        let Ok(payload) = Payload::decode(&block.payload, committee) else { return Ok(false) };
        let closes = matches!(payload.close, Some(Close::Final { .. }));
        if closes != block.next.is_some() {
            return Ok(false);
        }
        let closing = self.ledger.closing();
        match &payload.close {
            None if closing.is_some() => return Ok(payload.checkpoint.is_none()),
            None => {}
            Some(Close::Open { next }) => {
                let asked_for = self.next.as_ref() == Some(next);
                let height = block.height.saturating_sub(self.ledger.root_height());
                let unlock = *next == self.ledger.validators() && height >= self.config.min_epoch_blocks;
                return Ok(closing.is_none() && payload.checkpoint.is_none() && (asked_for || unlock));
            }
            Some(Close::Final { reports, checkpoint }) => {
                if closing != block.next.as_ref() || payload.checkpoint.is_some() {
                    return Ok(false);
                }
                let stake = |report: &CloseReport| committee.stake(report.reporter);
                let different: BTreeSet<u32> = reports.iter().map(|report| report.reporter).collect();
                let enough = committee.quorum().is_reached(reports.iter().map(stake).sum());
                let signed = || reports.iter().all(|report| report.verify(committee, &self.authority).is_ok());
                if different.len() != reports.len() || !enough || !signed() {
                    return Ok(false);
                }
                return match self.ledger.plan_close(self.fast.dag(), reports) {
                    Ok(plan) => Ok(plan.checkpoint == *checkpoint),
                    Err(missing) => Err(missing),
                };
            }
        }
        match &payload.checkpoint {
            None => Ok(true),
            Some(body) => Ok(self.ledger.plan(self.fast.dag(), body)?.is_some()),
        }
    }

    /// Carries out committed blocks, as far as their certificates are here; whether any was.
    fn execute(&mut self) -> bool {
        let mut any = false;
        while let Some(step) = self.steps.front().cloned() {
            let (id, block) = match step {
                Step::Block(id, block) => (id, block),
                Step::Epoch(committee) => {
                    self.steps.pop_front();
                    self.begin(committee);
                    any = true;
                    continue;
                }
            };
            let committee = self.ledger.committee().clone();
            let payload = if block.payload.is_empty() {
                Ok(Payload::default())
            } else {
                Payload::decode(&block.payload, &committee)
            };
            // A quorum has found the payload valid.
            let payload = payload.unwrap_or_default();
            let plan = match (&payload.checkpoint, &payload.close) {
                (Some(body), _) => self.ledger.plan(self.fast.dag(), body),
                (None, Some(Close::Final { reports, .. })) => {
                    self.ledger.plan_close(self.fast.dag(), reports).map(Some)
                }
                _ => Ok(None),
            };
            let plan = match plan {
                Ok(plan) => plan,
                Err(missing) => {
                    for certificate in missing {
                        self.fast.want(certificate, block.proposer);
                    }
                    break;
                }
            };
            self.steps.pop_front();
            any = true;
            self.executed = Root { id, height: block.height };
            if let Some(bytes) = payload.order {
                self.outputs.push_back(DualOutput::Ordered { height: block.height, bytes });
            }
            if let Some(plan) = plan {
                self.settle_plan(plan, id, block.height);
            }
            if let Some(Close::Open { next }) = payload.close {
                self.fast.close();
                self.ledger.open_close(next);
                self.send_report();
            }
        }
        any
    }

    /// Asks a peer for the checkpoint that could not be carried out since the last time.
    fn ask_settled(&mut self) {
        let waits = core::mem::replace(&mut self.waits, self.steps.front().map(|step| step.height()));
        let committee = self.ledger.committee();
        if waits.is_none() || waits != self.waits {
            return;
        }
        let n = committee.len() as u32;
        self.ask_next = (self.ask_next + 1) % n;
        let epoch = committee.epoch();
        if let Some(&to) = committee.node(self.ask_next).filter(|to| **to != self.config.own) {
            let message = DualMessage::GetSettled { sequence: self.ledger.sequence() };
            self.outputs.push_back(DualOutput::Send { to, epoch, message });
        }
    }

    /// Takes a settled checkpoint from a peer, if it is the one to be carried out next.
    fn take_settled(&mut self, record: SettledRecord) {
        let Some(Step::Block(id, block)) = self.steps.front().cloned() else { return };
        let Ok(payload) = Payload::decode(&block.payload, self.ledger.committee()) else { return };
        let committed = match (&payload.checkpoint, &payload.close) {
            (Some(body), _) => body.checkpoint,
            (None, Some(Close::Final { checkpoint, .. })) => *checkpoint,
            _ => return,
        };
        if !self.ledger.check(&record, &committed) {
            return;
        }
        self.steps.pop_front();
        self.executed = Root { id, height: block.height };
        if let Some(bytes) = payload.order {
            self.outputs.push_back(DualOutput::Ordered { height: block.height, bytes });
        }
        let record = SettledRecord { height: block.height, ..record };
        self.settle(record, &BTreeSet::new(), id);
    }

    /// Settles a plan with the transactions of its certificates.
    fn settle_plan(&mut self, plan: Plan, block: Hash, height: u64) {
        let Plan { checkpoint, leaves, history } = plan;
        let mut by_place: BTreeMap<Hash, Tx> = BTreeMap::new();
        for (_, vertex) in history.iter().filter_map(|id| self.fast.dag().get(id)) {
            for (tx, id) in vertex.txs().iter().zip(vertex.tx_ids()) {
                by_place.entry(*id).or_insert_with(|| tx.clone());
            }
        }
        let txs = leaves.iter().filter_map(|leaf| by_place.remove(&leaf.tx)).collect();
        self.settle(SettledRecord { checkpoint, height, leaves, txs }, &history, block);
    }

    fn settle(&mut self, settled: SettledRecord, history: &BTreeSet<Hash>, block: Hash) {
        let record = self.ledger.settle(&settled, history);
        let SettledRecord { checkpoint, height, leaves, txs } = settled;
        let floor = self.ledger.floor(self.config.keep_rounds);
        self.fast.settle(history, &leaves, checkpoint.last_round, floor);
        let settled = DualOutput::Settled(Settled { checkpoint, leaves, txs, block, height });
        let forget = |kind| Record::Forget { kind, below: floor + 1 };
        let records = alloc::vec![Record::Entry(record), forget(EntryKind::Certificate)];
        self.token(Owner::Ledger, records, alloc::vec![settled]);
    }

    fn send_report(&mut self) {
        let committee = self.ledger.committee();
        let Some(own) = committee.position(&self.config.own) else { return };
        let mut certificates = self.fast.dag().unsettled();
        certificates.truncate(MAX_REPORTED);
        let bytes = CloseReport::signed_bytes(committee, own, &certificates);
        let Ok(signature) = self.authority.sign(&bytes) else { return };
        let report = CloseReport { reporter: own, certificates: certificates.into(), signature };
        let epoch = committee.epoch();
        self.ledger.report(report.clone());
        let broadcast = DualOutput::Broadcast { epoch, message: DualMessage::Report(report) };
        // Everything it names must be durable before.
        self.token(Owner::Ledger, Vec::new(), alloc::vec![broadcast]);
    }

    /// Begins an epoch.
    fn begin(&mut self, committee: Committee) {
        let pool = self.fast.take_pool();
        let settled = self.ledger.clone();
        let now = self.fast.now().max(self.now);
        // What the old fast path still had to say is of no use, but what it had to keep keeps the order of tokens.
        self.owners.iter_mut().for_each(|(_, owner, _)| {
            if matches!(owner, Owner::Fast(_)) {
                *owner = Owner::Ledger;
            }
        });
        let epoch = committee.epoch();
        self.fast = FastPath::new(self.config.fast.clone(), committee.clone(), self.authority.clone(), self.seed, now);
        self.ledger = Ledger::new(&committee, self.executed, self.seed);
        self.next = None;
        self.stuck = false;
        self.validating.clear();
        for tx in pool.into_iter().filter(|tx| !settled.has_settled(tx)) {
            // There is room: it comes from a pool of the same size.
            let _ = self.fast.handle(self.now, FastInput::Submit(tx));
        }
        let forget = |kind, below| Record::Forget { kind, below };
        let records = alloc::vec![
            forget(EntryKind::Ack, u64::MAX),
            forget(EntryKind::Certificate, u64::MAX),
            forget(EntryKind::Committee, epoch),
        ];
        self.token(Owner::Ledger, records, alloc::vec![DualOutput::Epoch(committee)]);
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

    /// Checkpoints settled in this epoch.
    #[must_use]
    pub const fn checkpoints(&self) -> u64 {
        self.ledger.sequence()
    }
}
