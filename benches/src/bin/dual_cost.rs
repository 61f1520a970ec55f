//! What a validator of both tracks costs: processor time of one node, without signatures and with ML-DSA-65.
//!
//! ```sh
//! cargo run --release -p hanzo-benches --bin dual_cost -- [NODES [MATCHES_A_SECOND [SECONDS [ONE_WAY_MS]]]]
//! ```
//!
//! Nodes in one thread, over links with one delay, all up. The processor time is what one node spends in decoding, handling, hashing and encoding
//! its messages, every message from its bytes and every answer to bytes; the links, and what a store takes, are not in it. Signatures are
//! empty and all valid, but counted: what they would cost is their number times what ML-DSA-65 takes in this run, one by one.

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

enum Event {
    Deliver { to: usize, from: NodeId, bytes: Arc<[u8]> },
    Wake(usize),
    Persisted(usize, u64),
    Submit(u64),
}

struct Network {
    nodes: Vec<DualTrack<Counting>>,
    ids: Vec<NodeId>,
    committee: Committee,
    keys: Counting,
    one_way: u64,
    now: u64,
    queue: BinaryHeap<Reverse<(u64, u64)>>,
    events: BTreeMap<u64, Event>,
    sequence: u64,
    wakes: Vec<u64>,
    busy: Duration,
    bytes: u64,
    settled: u64,
    certified: u64,
    refused: u64,
}

impl Network {
    fn new(nodes: usize, one_way: u64) -> Result<Self, Box<dyn Error>> {
        let ids: Vec<NodeId> = (0..nodes as u64)
            .map(|node| {
                let mut id = [1; 32];
                id[..8].copy_from_slice(&node.to_be_bytes());
                id
            })
            .collect();
        let committee = Committee::new([9; 32], 0, ValidatorSet::new(ids.iter().map(|id| (*id, 1)))?)?;
        let keys = Counting::default();
        let node = |id: &NodeId| {
            let fresh = Memory::Fresh(Root::default());
            let config = DualConfig::new(*id).keep_rounds(KEEP);
            DualTrack::new(config, committee.clone(), keys.clone(), fresh, 7, Timestamp::from_nanos(0))
        };
        let tracks = ids.iter().map(node).collect::<Result<Vec<_>, _>>()?;
        Ok(Self {
            wakes: vec![u64::MAX; nodes],
            nodes: tracks,
            ids,
            committee,
            keys,
            one_way,
            now: 0,
            queue: BinaryHeap::new(),
            events: BTreeMap::new(),
            sequence: 0,
            busy: Duration::ZERO,
            bytes: 0,
            settled: 0,
            certified: 0,
            refused: 0,
        })
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
                Some(Event::Deliver { to, from, bytes }) => {
                    let begin = thread_time();
                    let message = DualMessage::decode(&bytes);
                    self.busy += thread_time() - begin;
                    if let Ok((_, epoch, message)) = message {
                        self.give(to, DualInput::Message { from, epoch, message });
                    }
                }
                Some(Event::Wake(node)) => {
                    self.wakes[node] = u64::MAX;
                    self.give(node, DualInput::Tick);
                }
                Some(Event::Persisted(node, token)) => self.give(node, DualInput::Persisted(token)),
                Some(Event::Submit(number)) => {
                    let mut bytes = vec![0; MATCH_BYTES];
                    bytes[..8].copy_from_slice(&number.to_be_bytes());
                    if let Ok(tx) = Tx::new([ConflictKey::new(b"match", number)], bytes) {
                        self.give((number % self.nodes.len() as u64) as usize, DualInput::Submit(tx));
                    }
                }
                None => {}
            }
        }
        self.now = until;
    }

    fn give(&mut self, node: usize, input: DualInput) {
        let submitted = matches!(input, DualInput::Submit(_));
        let begin = thread_time();
        let taken = self.nodes[node].handle(Timestamp::from_nanos(self.now), input).is_ok();
        self.busy += thread_time() - begin;
        self.refused += u64::from(submitted && !taken);
        self.drain(node);
    }

    fn drain(&mut self, node: usize) {
        loop {
            let begin = thread_time();
            let output = self.nodes[node].poll_output();
            let chain = *self.committee.chain();
            let sent = match &output {
                Some(DualOutput::Send { epoch, message, .. } | DualOutput::Broadcast { epoch, message }) => {
                    Some(Arc::from(message.encode(&chain, *epoch)))
                }
                _ => None,
            };
            self.busy += thread_time() - begin;
            match output {
                None => break,
                Some(DualOutput::Send { to, .. }) => {
                    let to = self.ids.iter().position(|id| *id == to);
                    self.send(node, to, sent);
                }
                Some(DualOutput::Broadcast { .. }) => {
                    for to in (0..self.nodes.len()).filter(|to| *to != node) {
                        self.send(node, Some(to), sent.clone());
                    }
                }
                Some(DualOutput::Persist { token, .. }) => {
                    self.schedule(self.now + PERSIST, Event::Persisted(node, token));
                }
                Some(DualOutput::Settled(settled)) if node == 0 => self.settled += settled.txs.len() as u64,
                Some(DualOutput::Certified(_)) if node == 0 => self.certified += 1,
                Some(_) => {}
            }
        }
        let due = self.nodes[node].poll_timeout().as_nanos().max(self.now + 1);
        if due < self.wakes[node] {
            self.wakes[node] = due;
            self.schedule(due, Event::Wake(node));
        }
    }

    fn send(&mut self, from: usize, to: Option<usize>, bytes: Option<Arc<[u8]>>) {
        if let (Some(to), Some(bytes)) = (to, bytes) {
            self.bytes += bytes.len() as u64;
            let event = Event::Deliver { to, from: self.ids[from], bytes };
            self.schedule(self.now + self.one_way, event);
        }
    }
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
    let (nodes, rate, seconds, one_way) = (number(100)?, number(12_000)?, number(3)?, number(40)?);
    if !(4..=200).contains(&nodes) || rate == 0 || seconds == 0 || one_way == 0 {
        return Err("4 to 200 nodes, and some matches, seconds and milliseconds".into());
    }
    let mut network = Network::new(nodes as usize, one_way * MS)?;
    let until = WARM_UP + seconds * 1_000 * MS;
    for match_number in 0..rate * until / (1_000 * MS) {
        network.schedule(match_number * 1_000 * MS / rate, Event::Submit(match_number));
    }
    for node in 0..network.nodes.len() {
        network.drain(node);
    }
    network.run_until(WARM_UP);
    let round = |network: &Network| network.nodes[0].fast_path().dag().last_full_round();
    let before = (network.settled, round(&network), network.nodes[0].replica().committed().height);
    network.busy = Duration::ZERO;
    network.bytes = 0;
    network.keys.0.0.set(0);
    network.keys.0.1.set(0);
    network.run_until(until);

    let each = |count: u64| count as f64 / (nodes * seconds) as f64;
    let busy = network.busy.as_secs_f64() / (nodes * seconds) as f64;
    let settled = (network.settled - before.0) as f64 / seconds as f64;
    let (signed, verified) = (each(network.keys.0.0.get()), each(network.keys.0.1.get()));
    println!(
        "{nodes} validators, {rate} matches of {MATCH_BYTES} bytes a second, links of {one_way} ms one way, {seconds} s"
    );
    println!(
        "settled a second at one node {settled:.0}, refused {}; rounds a second {:.1}, settlement blocks a second {:.1}",
        network.refused,
        (round(&network) - before.1) as f64 / seconds as f64,
        (network.nodes[0].replica().committed().height - before.2) as f64 / seconds as f64,
    );
    println!("sent by one node: {:.1} MB a second, signatures (empty here) not counted", each(network.bytes) / 1e6);
    println!(
        "one node without signatures: {:.1} % of a core (goal 10), {:.2} us a match",
        100.0 * busy,
        1e6 * busy / settled
    );
    let (sign, verify) = signatures()?;
    println!(
        "signatures a node: {signed:.0} made and {verified:.0} checked a second, {:.2} and {:.2} a match",
        signed / settled,
        verified / settled
    );
    let cost = (signed * sign + verified * verify) / 1e6;
    println!(
        "ML-DSA-65 here: {sign:.0} us to sign, {verify:.0} us to check: {:.0} % of a core more, {:.0} us a match",
        100.0 * cost,
        1e6 * cost / settled
    );
    Ok(())
}
