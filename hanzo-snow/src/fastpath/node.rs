//! One validator's part in the fast path of one epoch.

mod certified;
mod receive;
mod restore;
mod wanted;

use alloc::collections::btree_map::Entry;
use alloc::collections::{BTreeMap, BTreeSet, VecDeque};
use alloc::vec::Vec;
use core::time::Duration;

use hashbrown::{HashMap, HashSet};

use super::certificate::{Ack, Certificate};
use super::dag::Dag;
use super::messages::{FastConfig, FastInput, FastMessage, FastOutput};
use super::vertex::{ConflictKey, Tx, Vertex};
use crate::checkpoint::{Hash, Leaf};
use crate::committee::{Committee, MessageError, Sign, VerifyAll};
use crate::engine::Timestamp;
use crate::evidence::{Evidence, EvidenceKind};
use crate::store::Record;
use wanted::Wanted;

/// Rounds over which transactions spread that have met a rival in an earlier epoch.
const SPREAD: u8 = 16;
/// Round timeouts that a full round is waited in at most.
const MAX_PATIENCE: u32 = 16;

type Map<K, V> = HashMap<K, V, foldhash::fast::SeedableRandomState>;

/// A vertex that waits for its parents, and one of them, which is looked for before all others.
#[derive(Debug, Clone)]
struct Waiting {
    vertex: Vertex,
    lacks: Hash,
}

/// One validator's fast path in one epoch: no network, clock, store or thread.
///
/// Give every event to [`handle`](Self::handle), do what [`poll_output`](Self::poll_output) says, and call again with
/// [`FastInput::Tick`] no later than [`poll_timeout`](Self::poll_timeout). What was certified is settled by whoever orders the
/// checkpoints, who calls [`settle`](Self::settle); [`DualTrack`](crate::DualTrack) does all that, and shows the loop. After a
/// restart in the same epoch [`restore`](Self::restore) comes before all else: a node that has forgotten what it acknowledged
/// contradicts itself, and has to [`close`](Self::close) until the next epoch.
#[derive(Debug, Clone)]
pub struct FastPath<A> {
    config: FastConfig,
    authority: A,
    committee: Committee,
    own: Option<u32>,
    now: Timestamp,
    dag: Dag,
    round: u64,
    entered_at: Timestamp,
    /// When a quorum of the round was first seen.
    full_since: Option<Timestamp>,
    /// How long a full round is waited in for the certificate of the own vertex.
    patience: Duration,
    proposed: bool,
    own_vertex: Option<(Hash, Vertex)>,
    own_acks: BTreeMap<u32, Ack>,
    /// With the token of the record after which it may leave.
    own_certificate: Option<(Certificate, u64)>,
    resend_at: Timestamp,
    /// By round and author: the vertex acknowledged, the acknowledgement, and the token of its record.
    acked: BTreeMap<(u64, u32), (Hash, Ack, u64)>,
    vertices: BTreeMap<Hash, Vertex>,
    /// Vertices whose parents are missing.
    waiting: BTreeMap<(u64, u32), Waiting>,
    /// Certificates whose parents are missing, with their vertices.
    incomplete: BTreeMap<Hash, (Certificate, Vertex)>,
    /// Certificates whose vertex is missing.
    bare: BTreeMap<(u64, u32), Certificate>,
    wanted: Wanted,
    /// The transaction that each key is locked by.
    locks: Map<ConflictKey, Hash>,
    out_of_locks: bool,
    /// Transactions by the time at which they locked their keys, but for the first of which something certified is known.
    undecided: VecDeque<(Timestamp, Hash)>,
    /// First certificate seen that carries a key, with the place in its vertex.
    claims: Map<ConflictKey, (Hash, Hash, u32)>,
    /// Transactions told to be certified, or known to have settled.
    decided: HashSet<Hash, foldhash::fast::SeedableRandomState>,
    pool: VecDeque<Tx>,
    /// Transactions for vertices from a round on.
    later: BTreeMap<u64, Vec<Tx>>,
    /// Own transactions that a certificate of this epoch has left out.
    contested: BTreeSet<Hash>,
    /// Own transactions that are in a vertex and not settled.
    in_flight: BTreeMap<Hash, (u64, Tx)>,
    closing: bool,
    held: VecDeque<(u64, Vec<FastOutput>)>,
    next_token: u64,
    /// Records with a lower token are durable.
    durable: u64,
    outputs: VecDeque<FastOutput>,
    local: VecDeque<FastMessage>,
    accused: BTreeSet<(u32, EvidenceKind, u64)>,
}

impl<A: Sign + VerifyAll> FastPath<A> {
    /// The fast path of an epoch, from its beginning; `seed` keys the index of conflict keys, which others choose: draw it at
    /// random. It changes no output. A node that is not in the committee follows.
    pub fn new(config: FastConfig, committee: Committee, authority: A, seed: u64, now: Timestamp) -> Self {
        let hasher = || foldhash::fast::SeedableRandomState::with_seed(seed, foldhash::SharedSeed::global_fixed());
        let own = committee.position(&config.own);
        Self {
            own,
            now,
            dag: Dag::new(hasher()),
            round: 1,
            entered_at: now,
            full_since: None,
            patience: config.round_timeout,
            proposed: false,
            own_vertex: None,
            own_acks: BTreeMap::new(),
            own_certificate: None,
            resend_at: now.after(config.resend),
            acked: BTreeMap::new(),
            vertices: BTreeMap::new(),
            waiting: BTreeMap::new(),
            incomplete: BTreeMap::new(),
            bare: BTreeMap::new(),
            wanted: Wanted::default(),
            locks: Map::with_hasher(hasher()),
            out_of_locks: false,
            undecided: VecDeque::new(),
            claims: Map::with_hasher(hasher()),
            decided: HashSet::with_hasher(hasher()),
            pool: VecDeque::new(),
            later: BTreeMap::new(),
            contested: BTreeSet::new(),
            in_flight: BTreeMap::new(),
            closing: false,
            held: VecDeque::new(),
            next_token: 1,
            durable: 1,
            outputs: VecDeque::new(),
            local: VecDeque::new(),
            accused: BTreeSet::new(),
            config,
            authority,
            committee,
        }
    }

    /// Handles an event; time that goes back stands still.
    ///
    /// # Errors
    /// [`MessageError::Busy`] for a transaction that finds the pool full. For a message that is refused, which is no reason to
    /// stop: [`MessageError::Stale`], [`MessageError::TooFarAhead`], [`MessageError::Malformed`], [`MessageError::WrongChain`],
    /// [`MessageError::WrongEpoch`], [`MessageError::UnknownValidator`], [`MessageError::Signature`] or
    /// [`MessageError::Quorum`]; of several certificates in one, those before the refused one are taken.
    /// [`MessageError::Signature`] also where an acknowledgement cannot be signed.
    pub fn handle(&mut self, now: Timestamp, input: FastInput) -> Result<(), MessageError> {
        self.now = self.now.max(now);
        let result = match input {
            FastInput::Message { from, message } => self.receive(from, message),
            FastInput::Submit(tx) => self.submit(tx),
            FastInput::Persisted(token) => {
                self.persisted(token);
                Ok(())
            }
            FastInput::Tick => Ok(()),
        };
        self.advance();
        while let Some(message) = self.local.pop_front() {
            if let Some(own) = self.own {
                // An own message is refused only where it is no longer of use.
                let _ = self.receive(own, message);
                self.advance();
            }
        }
        result
    }

    /// The next thing to do.
    pub fn poll_output(&mut self) -> Option<FastOutput> {
        self.outputs.pop_front()
    }

    /// When to call with [`FastInput::Tick`] at the latest.
    #[must_use]
    pub fn poll_timeout(&self) -> Timestamp {
        let full = self.full_since.map(|since| since.after(self.patience));
        let next = self.full_since.map(|_| self.entered_at.after(self.config.round_interval));
        let idle = Some(self.entered_at.after(self.config.idle_interval)).filter(|_| !self.closing);
        // What was due by now has been done, or waits for something else.
        let later = [full, next, idle, self.wanted.next_due()].into_iter().flatten().filter(|at| *at > self.now);
        later.fold(self.resend_at, Timestamp::min)
    }

    fn submit(&mut self, tx: Tx) -> Result<(), MessageError> {
        if self.pool.len() >= self.config.max_pool {
            return Err(MessageError::Busy);
        }
        self.pool.push_back(tx);
        Ok(())
    }

    fn is_full(&self, round: u64) -> bool {
        self.committee.quorum().is_reached(self.dag.stake(round))
    }

    fn accuse(&mut self, evidence: Evidence) {
        if self.accused.insert((evidence.offender(), evidence.kind(), evidence.number())) {
            self.outputs.push_back(FastOutput::Evidence(evidence));
        }
    }

    fn persist(&mut self, records: Vec<Record<Hash>>, outputs: Vec<FastOutput>) {
        let token = self.next_token;
        self.next_token += 1;
        self.held.push_back((token, outputs));
        self.outputs.push_back(FastOutput::Persist { token, records });
    }

    fn persisted(&mut self, token: u64) {
        self.durable = self.durable.max(token.saturating_add(1));
        while self.held.front().is_some_and(|(held, _)| *held <= token) {
            let Some((_, outputs)) = self.held.pop_front() else { break };
            for output in outputs {
                match output {
                    FastOutput::Send { to, message } if Some(to) == self.own => self.local.push_back(message),
                    output => self.outputs.push_back(output),
                }
            }
        }
    }

    fn advance(&mut self) {
        if !self.wanted.is_empty() {
            self.fetch();
        }
        // A later round that is full is where the others are.
        loop {
            let ahead = self.dag.last_full_round();
            if ahead > self.round {
                self.enter(ahead);
                self.full_since = Some(self.now);
            }
            if !self.is_full(self.round) {
                break;
            }
            let since = *self.full_since.get_or_insert(self.now);
            let own = self.own.is_none_or(|own| self.dag.has(self.round, own));
            if !own && since.after(self.patience) > self.now {
                break;
            }
            if !self.proposed && own && self.closing {
                break;
            }
            if self.entered_at.after(self.config.round_interval) > self.now {
                break;
            }
            // Nobody hurries where nothing is to be done.
            if !self.has_work() && self.entered_at.after(self.config.idle_interval) > self.now {
                break;
            }
            self.enter(self.round.saturating_add(1));
        }
        self.propose();
        if self.resend_at <= self.now {
            self.resend_at = self.now.after(self.config.resend);
            self.want_again();
            let vertex = self.own_vertex.as_ref().filter(|(_, vertex)| {
                let acked = self.acked.get(&(vertex.round(), vertex.author()));
                self.own.is_some_and(|own| !self.dag.has(vertex.round(), own))
                    && acked.is_some_and(|(_, _, token)| *token < self.durable)
            });
            let again = match vertex {
                Some((_, vertex)) => Some(FastMessage::Vertex(vertex.clone())),
                None => {
                    let durable = self.own_certificate.as_ref().filter(|(_, token)| *token < self.durable);
                    durable.map(|(certificate, _)| FastMessage::Certificate(certificate.clone()))
                }
            };
            if let Some(message) = again {
                self.outputs.push_back(FastOutput::Broadcast(message));
            }
        }
    }

    fn has_work(&self) -> bool {
        !self.pool.is_empty() || !self.later.is_empty() || !self.in_flight.is_empty() || self.dag.has_work()
    }

    fn enter(&mut self, round: u64) {
        self.leave();
        self.round = round;
        self.entered_at = self.now;
        self.full_since = None;
        self.proposed = self.own.is_some_and(|own| self.acked.contains_key(&(round, own)));
    }

    /// Leaves the round. Where the own vertex has no certificate yet, its transactions go into the next one, as only a vertex of the present
    /// round gets one; and a node that is far from the others waits longer from now on, or none of its vertices would ever have one.
    fn leave(&mut self) {
        let Some(own) = self.own.filter(|_| self.proposed) else { return };
        if self.dag.has(self.round, own) {
            self.patience = (self.patience - self.patience / 64).max(self.config.round_timeout);
            return;
        }
        self.patience = self.patience.saturating_mul(2).min(self.config.round_timeout.saturating_mul(MAX_PATIENCE));
        let Some((_, vertex)) = self.own_vertex.take() else { return };
        let round = vertex.round();
        for id in vertex.tx_ids().iter().rev() {
            if let Entry::Occupied(entry) = self.in_flight.entry(*id)
                && entry.get().0 == round
                && !self.decided.contains(id)
                && !is_lost(&self.locks, id, &entry.get().1)
            {
                self.pool.push_front(entry.remove().1);
            }
        }
    }

    /// Makes the vertex of the round.
    fn propose(&mut self) {
        let Some(own) = self.own.filter(|_| !self.proposed && !self.closing) else { return };
        let previous_full = self.round == 1 || self.is_full(self.round - 1);
        let due = self.has_work() || self.entered_at.after(self.config.idle_interval) <= self.now;
        if !previous_full || !due {
            return;
        }
        let parents = match self.round {
            1 => Vec::new(),
            round => self.dag.round(round - 1).map(|(_, id)| id).collect(),
        };
        let after = self.later.split_off(&(self.round + 1));
        for tx in core::mem::replace(&mut self.later, after).into_values().flatten() {
            self.pool.push_front(tx);
        }
        let mut txs: Vec<Tx> = Vec::new();
        let mut size = 0;
        while let Some(tx) = self.pool.front().filter(|_| txs.len() < self.config.max_txs) {
            size += tx.bytes().len() + 32 * tx.keys().len() + 8;
            if size > super::MAX_VERTEX_BYTES {
                break;
            }
            txs.extend(self.pool.pop_front());
        }
        let sign = |bytes: &[u8]| self.authority.sign(bytes).map_err(|_| MessageError::Signature);
        let Ok(vertex) = Vertex::new(&self.committee, self.round, own, parents, txs, sign) else {
            return;
        };
        self.proposed = true;
        let id = vertex.id(&self.committee);
        for (tx, id) in vertex.txs().iter().zip(vertex.tx_ids()) {
            self.in_flight.insert(*id, (vertex.round(), tx.clone()));
        }
        self.own_vertex = Some((id, vertex.clone()));
        self.own_acks.clear();
        self.resend_at = self.now.after(self.config.resend);
        // Its parents are certificates held here, so it is not refused.
        let _ = self.acknowledge(id, vertex);
    }

    /// Takes transactions for settled, of whose checkpoints nothing else is known here.
    pub fn decide(&mut self, txs: impl IntoIterator<Item = Hash>) {
        self.decided.extend(txs);
    }

    /// Marks what a checkpoint up to `last_round` has settled, forgets rounds up to `forget`, and puts own transactions that
    /// were left out into the next vertex. `history` are the certificates that the checkpoint settles, `leaves` what they
    /// certify.
    pub fn settle(&mut self, history: &BTreeSet<Hash>, leaves: &[Leaf], last_round: u64, forget: u64) {
        self.dag.settle(history);
        for leaf in leaves {
            self.in_flight.remove(&leaf.tx);
            self.contested.remove(&leaf.tx);
            self.decided.insert(leaf.tx);
        }
        let left: Vec<Hash> =
            self.in_flight.iter().filter(|(_, (round, _))| *round + 2 <= last_round).map(|(id, _)| *id).collect();
        for id in left {
            if let Some((_, tx)) = self.in_flight.remove(&id) {
                if !self.decided.contains(&id) && !is_lost(&self.locks, &id, &tx) {
                    self.pool.push_front(tx);
                } else {
                    self.contested.remove(&id);
                }
            }
        }
        if forget > self.dag.floor() {
            self.dag.forget(forget);
            self.acked = self.acked.split_off(&(forget + 1, 0));
            self.waiting = self.waiting.split_off(&(forget + 1, 0));
            self.bare = self.bare.split_off(&(forget + 1, 0));
            let old = self.dag.iter().filter(|held| held.certificate.round <= forget);
            let held: BTreeSet<Hash> = old.map(|held| held.certificate.vertex).collect();
            self.vertices.retain(|id, vertex| vertex.round() > forget || held.contains(id));
            self.accused.retain(|(_, _, round)| *round > forget);
            self.incomplete.retain(|_, (certificate, _)| certificate.round > forget);
            self.wanted.forget(forget);
            // What stood on forgotten rounds lacks nothing any more.
            self.take_up();
        }
    }

    /// Stops acknowledging and proposing, because the epoch closes; nothing certified here comes after what
    /// [`Dag::unsettled`] then says.
    pub fn close(&mut self) {
        self.closing = true;
    }

    /// Takes the transactions that wait or are not settled, to be given to the next epoch; and of them those that a certificate has
    /// left out, to be [retried](Self::retry) there.
    pub fn take_pool(&mut self) -> (Vec<Tx>, Vec<Tx>) {
        let in_flight = core::mem::take(&mut self.in_flight).into_values().map(|(_, tx)| tx);
        let waiting = in_flight.chain(core::mem::take(&mut self.pool));
        let left_out = core::mem::take(&mut self.contested);
        let (contested, waiting): (Vec<Tx>, _) =
            waiting.partition(|tx| !left_out.is_empty() && left_out.contains(&tx.id(&self.committee)));
        let later = core::mem::take(&mut self.later).into_values().flatten();
        (waiting, contested.into_iter().chain(later).collect())
    }

    /// Takes a transaction that has met a rival in an earlier epoch. It waits for up to 15 rounds, as its id in this epoch
    /// says: rivals that come again in the same round would lock their keys against each other once more.
    pub fn retry(&mut self, tx: Tx) {
        let wait = tx.id(&self.committee)[0] % SPREAD;
        self.later.entry(self.round.saturating_add(wait.into())).or_default().push(tx);
    }
}

impl<A> FastPath<A> {
    /// The certificates held.
    #[must_use]
    pub const fn dag(&self) -> &Dag {
        &self.dag
    }

    /// The present round.
    #[must_use]
    pub const fn round(&self) -> u64 {
        self.round
    }

    /// The oldest moment since which a key is locked by a transaction of which nothing certified is known here. O(1), spread over all
    /// transactions.
    pub fn stuck_since(&mut self) -> Option<Timestamp> {
        while self.undecided.front().is_some_and(|(_, tx)| self.decided.contains(tx)) {
            self.undecided.pop_front();
        }
        self.undecided.front().map(|(since, _)| *since)
    }

    /// Whether a transaction was not acknowledged because as many keys are locked as may be in an epoch: only the next one has room.
    #[must_use]
    pub const fn is_out_of_locks(&self) -> bool {
        self.out_of_locks
    }

    /// How many certificates, vertices, requests, transactions and outputs are held.
    #[must_use]
    pub fn load(&self) -> usize {
        self.dag.len()
            + self.vertices.len()
            + self.waiting.len()
            + self.incomplete.len()
            + self.wanted.len()
            + self.pool.len()
            + self.later.values().map(Vec::len).sum::<usize>()
            + self.outputs.len()
    }

    pub(crate) const fn now(&self) -> Timestamp {
        self.now
    }
}

/// Whether another transaction has locked a key of this one: it stays locked until the epoch ends.
fn is_lost(locks: &Map<ConflictKey, Hash>, id: &Hash, tx: &Tx) -> bool {
    tx.keys().iter().any(|key| locks.get(key).is_some_and(|locked| locked != id))
}
