//! What a validator of both tracks costs: processor time of one node, without signatures and with ML-DSA-65.
//!
//! ```sh
//! cargo run --release -p hanzo-benches --bin dual_cost -- [NODES [MATCHES_A_SECOND [SECONDS [ONE_WAY_MS]]]]
//! ```
//!
//! Nodes in one thread, over links with one delay, all up. What some of them were given is then given once more to a node by itself, as a
//! validator has a machine, and its caches, to itself; it must say the same again. Its processor time is what it spends in decoding, handling,
//! hashing and encoding its messages, every message from its bytes and every answer to bytes; the links, and what a store takes, are not in it.
//! Signatures are empty and all valid, but counted: what they would cost is their number times what ML-DSA-65 takes in this run, one by one.

use std::cell::Cell;
use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::error::Error;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use hanzo_benches::cpu::thread_time;
use hanzo_pqc::{SignatureAlgorithm, SigningKey};
use hanzo_snow::fastpath::{ConflictKey, Tx};
use hanzo_snow::settlement::{Memory, Root};
use hanzo_snow::{
    Committee, DualConfig, DualInput, DualMessage, DualOutput, DualTrack, NodeId, Sign, Signature, SignatureError,
    Timestamp, ValidatorSet, VerifyAll,
};

const MS: u64 = 1_000_000;
/// Bytes of a match.
const MATCH_BYTES: usize = 256;
/// Simulated time before anything is counted: until as many rounds have settled as are kept, so that memory is used again.
const WARM_UP: u64 = 11_000 * MS;
/// Settled rounds that a node keeps.
const KEEP: u64 = 64;
/// Until records are durable.
const PERSIST: u64 = MS;
/// Nodes whose cost is measured, evenly spread.
const MEASURED: usize = 8;

/// Counts, and signs and checks nothing.
#[derive(Debug, Clone, Default)]
struct Counting(Rc<(Cell<u64>, Cell<u64>)>);

impl Sign for Counting {
    fn sign(&self, _: &[u8]) -> Result<Signature, SignatureError> {
        self.0.0.set(self.0.0.get() + 1);
        Ok(Signature::from([]))
    }
}

impl VerifyAll for Counting {
    fn verify_all(&self, items: &[(NodeId, &[u8], &[u8])]) -> Result<(), SignatureError> {
        self.0.1.set(self.0.1.get() + items.len() as u64);
        Ok(())
    }
}

/// What a node is given.
#[derive(Clone)]
enum Given {
    Message { from: NodeId, bytes: Arc<[u8]> },
    Tick,
    Persisted(u64),
    Submit(u64),
}

impl Given {
    fn input(self) -> Option<DualInput> {
        Some(match self {
            Self::Message { from, bytes } => {
                let (_, epoch, message) = DualMessage::decode(&bytes).ok()?;
                DualInput::Message { from, epoch, message }
            }
            Self::Tick => DualInput::Tick,
            Self::Persisted(token) => DualInput::Persisted(token),
            Self::Submit(number) => {
                let mut bytes = vec![0; MATCH_BYTES];
                bytes[..8].copy_from_slice(&number.to_be_bytes());
                DualInput::Submit(Tx::new([ConflictKey::new(b"match", number)], bytes).ok()?)
            }
        })
    }
}

/// A node and what comes out of it.
struct Node {
    track: DualTrack<Counting>,
    chain: [u8; 32],
    others: u64,
    /// Bytes sent, once for each receiver.
    sent: u64,
    settled: u64,
    refused: u64,
}

/// What a node wants done.
enum Wanted {
    /// To one, or to all others.
    Send {
        to: Option<NodeId>,
        bytes: Arc<[u8]>,
    },
    Persist(u64),
}

impl Node {
    fn new(id: &NodeId, committee: &Committee, keys: &Counting) -> Result<Self, Box<dyn Error>> {
        let config = DualConfig::new(*id).keep_rounds(KEEP);
        let fresh = Memory::Fresh(Root::default());
        let track = DualTrack::new(config, committee.clone(), keys.clone(), fresh, 7, Timestamp::from_nanos(0))?;
        let others = committee.validators().nodes().len() as u64 - 1;
        Ok(Self { track, chain: *committee.chain(), others, sent: 0, settled: 0, refused: 0 })
    }

    fn give(&mut self, now: u64, given: Given) {
        let submitted = matches!(given, Given::Submit(_));
        let taken = given.input().is_some_and(|input| self.track.handle(Timestamp::from_nanos(now), input).is_ok());
        self.refused += u64::from(submitted && !taken);
    }

    fn next(&mut self) -> Option<Wanted> {
        loop {
            let (to, epoch, message) = match self.track.poll_output()? {
                DualOutput::Send { to, epoch, message } => (Some(to), epoch, message),
                DualOutput::Broadcast { epoch, message } => (None, epoch, message),
                DualOutput::Persist { token, .. } => return Some(Wanted::Persist(token)),
                DualOutput::Settled(settled) => {
                    self.settled += settled.txs.len() as u64;
                    continue;
                }
                _ => continue,
            };
            let bytes: Arc<[u8]> = message.encode(&self.chain, epoch).into();
            let receivers = if to.is_some() { 1 } else { self.others };
            self.sent += receivers * bytes.len() as u64;
            return Some(Wanted::Send { to, bytes });
        }
    }
}

enum Event {
    Give(usize, Given),
    Wake(usize),
}

struct Network {
    nodes: Vec<Node>,
    ids: Vec<NodeId>,
    one_way: u64,
    now: u64,
    queue: BinaryHeap<Reverse<(u64, u64)>>,
    events: BTreeMap<u64, Event>,
    sequence: u64,
    wakes: Vec<u64>,
    /// What the nodes to be measured were given, and when.
    given: BTreeMap<usize, Vec<(u64, Given)>>,
}

impl Network {
    fn new(committee: &Committee, keys: &Counting, one_way: u64) -> Result<Self, Box<dyn Error>> {
        let ids: Vec<NodeId> = committee.validators().nodes().to_vec();
        let nodes = ids.iter().map(|id| Node::new(id, committee, keys)).collect::<Result<Vec<_>, _>>()?;
        let step = ids.len().div_ceil(MEASURED);
        let mut network = Self {
            wakes: vec![u64::MAX; nodes.len()],
            given: (0..nodes.len()).step_by(step).map(|node| (node, Vec::new())).collect(),
            nodes,
            ids,
            one_way,
            now: 0,
            queue: BinaryHeap::new(),
            events: BTreeMap::new(),
            sequence: 0,
        };
        for node in 0..network.nodes.len() {
            network.drain(node);
        }
        Ok(network)
    }

    fn schedule(&mut self, at: u64, event: Event) {
        self.queue.push(Reverse((at, self.sequence)));
        self.events.insert(self.sequence, event);
        self.sequence += 1;
    }

    fn run_until(&mut self, until: u64) {
        while let Some(&Reverse((at, sequence))) = self.queue.peek().filter(|Reverse((at, _))| *at <= until) {
            self.queue.pop();
            self.now = at;
            match self.events.remove(&sequence) {
                Some(Event::Wake(node)) => {
                    self.wakes[node] = u64::MAX;
                    self.give(node, Given::Tick);
                }
                Some(Event::Give(node, given)) => self.give(node, given),
                None => {}
            }
        }
        self.now = until;
    }

    fn give(&mut self, node: usize, given: Given) {
        if let Some(all) = self.given.get_mut(&node) {
            all.push((self.now, given.clone()));
        }
        self.nodes[node].give(self.now, given);
        self.drain(node);
    }

    fn drain(&mut self, node: usize) {
        while let Some(wanted) = self.nodes[node].next() {
            match wanted {
                Wanted::Persist(token) => {
                    self.schedule(self.now + PERSIST, Event::Give(node, Given::Persisted(token)));
                }
                Wanted::Send { to, bytes } => {
                    for at in 0..self.ids.len() {
                        if at != node && to.is_none_or(|to| to == self.ids[at]) {
                            let given = Given::Message { from: self.ids[node], bytes: Arc::clone(&bytes) };
                            self.schedule(self.now + self.one_way, Event::Give(at, given));
                        }
                    }
                }
            }
        }
        let due = self.nodes[node].track.poll_timeout().as_nanos().max(self.now + 1);
        if due < self.wakes[node] {
            self.wakes[node] = due;
            self.schedule(due, Event::Wake(node));
        }
    }
}

/// Processor time of a node by itself, from the end of the warm-up, that is given what one of the network was given.
///
/// # Errors
///
/// If it does not send and settle what that did.
fn alone(mut node: Node, as_before: &Node, given: &[(u64, Given)]) -> Result<Duration, Box<dyn Error>> {
    let settle = |node: &mut Node| while node.next().is_some() {};
    settle(&mut node);
    let mut begin = None;
    for (at, given) in given {
        if *at > WARM_UP && begin.is_none() {
            begin = Some(thread_time());
        }
        node.give(*at, given.clone());
        settle(&mut node);
    }
    let spent = begin.map_or(Duration::ZERO, |begin| thread_time() - begin);
    let of = |node: &Node| (node.sent, node.settled, node.refused);
    if of(&node) == of(as_before) { Ok(spent) } else { Err("a node by itself did something else".into()) }
}

/// Microseconds to sign and to verify with ML-DSA-65, the least of many.
fn signatures() -> Result<(f64, f64), Box<dyn Error>> {
    let key = SigningKey::from_seed(SignatureAlgorithm::MlDsa65, &[7; 32])?;
    let (mut sign, mut verify) = (Duration::ZERO, Duration::MAX);
    let rounds = 200;
    for round in 0..rounds {
        let message = [round as u8; 160];
        let begin = thread_time();
        let signature = key.sign_deterministic(&message)?;
        // Signing takes a number of attempts that depends on the message: the mean counts.
        sign += (thread_time() - begin) / rounds;
        let begin = thread_time();
        key.verifying_key().verify(&message, &signature)?;
        verify = verify.min(thread_time() - begin);
    }
    Ok((sign.as_secs_f64() * 1e6, verify.as_secs_f64() * 1e6))
}

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let mut number = |or: u64| arguments.next().map_or(Ok(or), |word| word.parse());
    let (nodes, rate, seconds, one_way) = (number(100)?, number(12_000)?, number(4)?, number(40)?);
    if !(4..=200).contains(&nodes) || rate == 0 || seconds == 0 || one_way == 0 {
        return Err("4 to 200 nodes, and some matches, seconds and milliseconds".into());
    }
    let ids = (0..nodes).map(|node| {
        let mut id = [1; 32];
        id[..8].copy_from_slice(&node.to_be_bytes());
        (id, 1)
    });
    let committee = Committee::new([9; 32], 0, ValidatorSet::new(ids)?)?;
    let keys = Counting::default();
    let mut network = Network::new(&committee, &keys, one_way * MS)?;
    let until = WARM_UP + seconds * 1_000 * MS;
    for number in 0..rate * until / (1_000 * MS) {
        network.schedule(number * 1_000 * MS / rate, Event::Give((number % nodes) as usize, Given::Submit(number)));
    }
    network.run_until(WARM_UP);
    let so_far = |network: &Network| {
        let track = &network.nodes[0].track;
        let (round, height) = (track.fast_path().dag().last_full_round(), track.replica().committed().height);
        let sent: u64 = network.nodes.iter().map(|node| node.sent).sum();
        let of = [network.nodes[0].settled, round, height, sent, keys.0.0.get(), keys.0.1.get()];
        of.map(|count| count as f64)
    };
    let before = so_far(&network);
    network.run_until(until);
    let after = so_far(&network);
    let [settled, rounds, blocks, sent, signed, verified] = std::array::from_fn(|at| {
        let members = if at < 3 { 1 } else { nodes };
        (after[at] - before[at]) / (members * seconds) as f64
    });
    println!(
        "{nodes} validators, {rate} matches of {MATCH_BYTES} bytes a second, links of {one_way} ms one way, {seconds} s"
    );
    println!(
        "settled a second at one node {settled:.0}, refused {}; rounds a second {rounds:.1}, settlement blocks a second {blocks:.1}",
        network.nodes.iter().map(|node| node.refused).sum::<u64>(),
    );
    println!("sent by one node: {:.1} MB a second, signatures (empty here) not counted", sent / 1e6);
    let of_each = network.given.iter().map(|(at, given)| {
        let node = Node::new(&network.ids[*at], &committee, &keys)?;
        Ok(alone(node, &network.nodes[*at], given)?.as_secs_f64() / seconds as f64)
    });
    let of_each: Vec<f64> = of_each.collect::<Result<_, Box<dyn Error>>>()?;
    let busy = of_each.iter().sum::<f64>() / of_each.len() as f64;
    println!(
        "one node without signatures: {:.1} % of a core (goal 10), {:.2} us a match; {} of them, each by itself: {:.1} to {:.1} %",
        100.0 * busy,
        1e6 * busy / rate as f64,
        of_each.len(),
        100.0 * of_each.iter().copied().fold(f64::INFINITY, f64::min),
        100.0 * of_each.iter().copied().fold(0.0, f64::max),
    );
    let (sign, verify) = signatures()?;
    println!(
        "signatures a node: {signed:.0} made and {verified:.0} checked a second, {:.2} and {:.2} a match",
        signed / rate as f64,
        verified / rate as f64
    );
    let cost = (signed * sign + verified * verify) / 1e6;
    println!(
        "ML-DSA-65 here: {sign:.0} us to sign, {verify:.0} us to check: {:.0} % of a core more, {:.0} us a match",
        100.0 * cost,
        1e6 * cost / rate as f64
    );
    Ok(())
}
