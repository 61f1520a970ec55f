//! Snow and settlement together: where too little stake answers for Snow to decide, settlement decides, and Snow goes on from there.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::time::Duration;

use hanzo_snow::settlement::{self, Message, Replica, ReplicaConfig, Root};
use hanzo_snow::{
    Block, BlockRef, Committee, Engine, EngineConfig, Input, NodeId, Output, Params, PollId, Timestamp, ValidatorSet,
};
use rand::SeedableRng;
use rand::rngs::SmallRng;

use crate::support::unsigned::Unsigned;

type Id = [u8; 32];

const MS: u64 = 1_000_000;
const SECOND: u64 = 1_000 * MS;
const NODES: usize = 20;

fn name(node: usize) -> NodeId {
    [node as u8 + 1; 32]
}

fn header(n: u8, parent: u8, height: u64) -> BlockRef<Id> {
    let id = |n| if n == 0 { [0; 32] } else { [n; 32] };
    BlockRef { id: id(n), parent: id(parent), height }
}

enum Event {
    Snow(Input<Id, NodeId>),
    Settlement { from: usize, message: Message },
    Wake,
}

struct Peer {
    snow: Engine<Id, NodeId, SmallRng>,
    replica: Replica<Unsigned>,
    /// The chain that Snow preferred when it was stopped.
    frozen: Option<Vec<Id>>,
    accepted: Vec<Id>,
    stalls: u32,
    up: bool,
}

struct Network {
    peers: Vec<Peer>,
    blocks: BTreeMap<Id, Block<Id>>,
    queue: BinaryHeap<Reverse<(u64, u64)>>,
    events: BTreeMap<u64, (usize, Event)>,
    sequence: u64,
    now: u64,
    /// Whether settlement takes over where Snow stalls.
    hands_over: bool,
}

impl Network {
    fn new(down: std::ops::Range<usize>, hands_over: bool) -> Self {
        let times = |builder: hanzo_snow::ParamsBuilder| {
            builder.query_timeout(Duration::from_millis(100)).max_item_time(Duration::from_secs(5))
        };
        let params = times(Params::builder()).build().unwrap();
        let set = || ValidatorSet::new((0..NODES).map(|node| (name(node), 10))).unwrap();
        let committee = Committee::new([9; 32], 0, set()).unwrap();
        let genesis = header(0, 0, 0);
        let start = Timestamp::from_nanos(0);
        let peer = |node: usize| {
            let rng = SmallRng::seed_from_u64(node as u64);
            let mut snow = Engine::new(EngineConfig::new(name(node), params), set(), genesis, rng).unwrap();
            for other in (0..NODES).filter(|other| *other != node) {
                snow.handle(start, Input::Connected(name(other))).unwrap();
            }
            let config = ReplicaConfig::new(name(node)).base_timeout(Duration::from_millis(200));
            let memory = settlement::Memory::Fresh(Root::default());
            let replica = Replica::new(config, committee.clone(), Unsigned, memory, start).unwrap();
            Peer { snow, replica, frozen: None, accepted: Vec::new(), stalls: 0, up: !down.contains(&node) }
        };
        let peers = (0..NODES).map(peer).collect();
        let mut network = Self {
            peers,
            blocks: BTreeMap::new(),
            queue: BinaryHeap::new(),
            events: BTreeMap::new(),
            sequence: 0,
            now: 0,
            hands_over,
        };
        for node in 0..NODES {
            network.at(0, node, Event::Wake);
        }
        network
    }

    fn at(&mut self, delay: u64, node: usize, event: Event) {
        self.queue.push(Reverse((self.now + delay, self.sequence)));
        self.events.insert(self.sequence, (node, event));
        self.sequence += 1;
    }

    fn send(&mut self, to: NodeId, event: Event) {
        let node = usize::from(to[0]) - 1;
        self.at(10 * MS, node, event);
    }

    /// A node builds a block.
    fn build(&mut self, node: usize, header: BlockRef<Id>) {
        let block = Block { header, bytes: [].into() };
        self.blocks.insert(header.id, block.clone());
        self.at(0, node, Event::Snow(Input::Block { block, from: None }));
    }

    fn run(&mut self, until: u64) {
        while let Some(&Reverse((at, sequence))) = self.queue.peek().filter(|Reverse((at, _))| *at <= until) {
            self.queue.pop();
            self.now = at;
            let (node, event) = self.events.remove(&sequence).unwrap();
            if !self.peers[node].up {
                continue;
            }
            let now = Timestamp::from_nanos(at);
            let peer = &mut self.peers[node];
            match event {
                Event::Snow(input) => {
                    peer.snow.handle(now, input).unwrap();
                }
                Event::Settlement { from, message } => {
                    let input = settlement::Input::Message { from: name(from), epoch: 0, message };
                    let _ = peer.replica.handle(now, input);
                }
                Event::Wake => {
                    peer.snow.handle(now, Input::Tick).unwrap();
                    peer.replica.handle(now, settlement::Input::Tick).unwrap();
                    self.at(10 * MS, node, Event::Wake);
                }
            }
            self.drain(node);
        }
        self.now = until;
    }

    fn drain(&mut self, node: usize) {
        loop {
            if let Some(output) = self.peers[node].snow.poll_output() {
                self.do_snow(node, output);
            } else if let Some(output) = self.peers[node].replica.poll_output() {
                self.do_settlement(node, output);
            } else {
                break;
            }
        }
    }

    fn do_snow(&mut self, node: usize, output: Output<Id, NodeId>) {
        let own = name(node);
        let now = Timestamp::from_nanos(self.now);
        match output {
            Output::Query { poll, to, block, push } => {
                if let Some(block) = push {
                    self.send(to, Event::Snow(Input::Block { block, from: Some(own) }));
                }
                self.send(to, Event::Snow(Input::Query { from: own, request: poll.to_u64(), block }));
            }
            Output::Respond { to, request, preferred, accepted, accepted_height } => {
                let poll = PollId::from_u64(request);
                let vote = Input::Vote { poll, from: own, preferred, accepted, accepted_height };
                self.send(to, Event::Snow(vote));
            }
            Output::Fetch { from, id } => {
                let answer = match self.blocks.get(&id) {
                    Some(block) => Input::Block { block: block.clone(), from: Some(from) },
                    None => Input::FetchFailed { id },
                };
                self.at(20 * MS, node, Event::Snow(answer));
            }
            Output::Verify(id) => {
                self.peers[node].snow.handle(now, Input::Verified { id, ok: true }).unwrap();
            }
            Output::Persist { token, .. } => {
                self.peers[node].snow.handle(now, Input::Persisted(token)).unwrap();
            }
            Output::Accepted { id, .. } => self.peers[node].accepted.push(id),
            Output::Gossip { id, height } => {
                for to in (0..NODES).filter(|to| *to != node) {
                    self.send(name(to), Event::Snow(Input::Tip { from: own, id, height }));
                }
            }
            Output::Stalled(report) => {
                let peer = &mut self.peers[node];
                peer.stalls += 1;
                assert!(report.age >= Duration::from_secs(5) && !report.split_votes, "{report:?}");
                if self.hands_over && peer.frozen.is_none() {
                    peer.frozen = Some(peer.snow.freeze());
                    peer.replica.handle(now, settlement::Input::Pending(true)).unwrap();
                }
            }
            _ => {}
        }
    }

    fn do_settlement(&mut self, node: usize, output: settlement::Output) {
        use settlement::{Input, Output};
        let now = Timestamp::from_nanos(self.now);
        let answer = match output {
            Output::Send { to, message, .. } => {
                return self.send(to, Event::Settlement { from: node, message });
            }
            Output::Broadcast { message, .. } => {
                for to in (0..NODES).filter(|to| *to != node) {
                    self.send(name(to), Event::Settlement { from: node, message: message.clone() });
                }
                return;
            }
            Output::Persist { token, .. } => Input::Persisted(token),
            Output::Build { view, .. } => Input::Payload { view, payload: self.proposal(node).into(), next: None },
            Output::Validate { block } => {
                let payload = &self.peers[node].replica.block(&block).unwrap().payload;
                Input::Validated { block, ok: self.extends_accepted(node, payload).is_some() }
            }
            Output::Committed { block, .. } => {
                if let Some(above) = self.extends_accepted(node, &block.payload) {
                    self.peers[node].snow.adopt(&above).unwrap();
                    self.peers[node].frozen = None;
                }
                Input::Pending(self.peers[node].frozen.is_some())
            }
            _ => return,
        };
        // Refused where the view is over.
        let _ = self.peers[node].replica.handle(now, answer);
    }

    /// What a node wants settled: the preferred chain on top of what it has accepted, from genesis.
    fn proposal(&self, node: usize) -> Vec<u8> {
        let peer = &self.peers[node];
        let Some(preferred) = &peer.frozen else { return Vec::new() };
        peer.accepted.iter().chain(preferred).flatten().copied().collect()
    }

    /// The blocks that a payload has above those a node has accepted; `None` where it contradicts them or names what is no chain.
    fn extends_accepted(&self, node: usize, payload: &[u8]) -> Option<Vec<Block<Id>>> {
        let chain: Vec<Id> = payload.as_chunks().0.to_vec();
        let (last, height) = self.peers[node].snow.chain().last_accepted();
        let height = height as usize;
        if height > 0 && chain.get(height - 1) != Some(&last) {
            return None;
        }
        let above: Vec<Block<Id>> = chain.get(height..)?.iter().filter_map(|id| self.blocks.get(id).cloned()).collect();
        let mut parent = last;
        for block in &above {
            if block.header.parent != parent {
                return None;
            }
            parent = block.header.id;
        }
        (!above.is_empty() && above.len() == chain.len() - height).then_some(above)
    }

    /// Asserts that no two nodes have accepted different blocks, and returns the fewest blocks that one which is up has accepted.
    fn agreed(&self) -> usize {
        let longest = self.peers.iter().map(|peer| &peer.accepted).max_by_key(|accepted| accepted.len()).unwrap();
        assert!(self.peers.iter().all(|peer| longest.starts_with(&peer.accepted)));
        self.peers.iter().filter(|peer| peer.up).map(|peer| peer.accepted.len()).min().unwrap()
    }
}

/// Two rivals, and a child of the first.
fn rivals(network: &mut Network) {
    network.build(0, header(1, 0, 1));
    network.build(1, header(2, 0, 1));
    network.run(SECOND);
    network.build(0, header(3, 1, 2));
}

#[test]
fn snow_alone_stalls_where_six_of_twenty_are_silent() {
    let mut network = Network::new(14..NODES, false);
    rivals(&mut network);
    network.run(40 * SECOND);
    assert!(network.peers.iter().all(|peer| peer.accepted.is_empty()));
    assert!(network.peers.iter().filter(|peer| peer.up).all(|peer| peer.stalls > 0));
}

#[test]
fn settlement_decides_what_snow_cannot_and_snow_goes_on_from_there() {
    let mut network = Network::new(14..NODES, true);
    rivals(&mut network);
    // Until the first has stalled; one of the others is told by some luck of its own what most prefer.
    while network.peers.iter().all(|peer| peer.frozen.is_none()) {
        network.run(network.now + 10 * MS);
    }
    let lucky = (0..14).find(|node| network.peers[*node].frozen.is_none()).unwrap_or(0);
    let preferred = network.peers[lucky].snow.chain().preference_at(1).unwrap();
    let block = network.blocks[&preferred].clone();
    network.peers[lucky].snow.adopt(&[block]).unwrap();
    network.drain(lucky);
    network.run(40 * SECOND);
    let decided = network.agreed();
    assert!(decided >= 1, "settlement has decided");
    assert_eq!(network.peers[0].accepted[0], preferred);
    assert!(network.peers.iter().all(|peer| peer.frozen.is_none()));

    // The others come up, and Snow decides again, without settlement.
    network.hands_over = false;
    for node in 14..NODES {
        network.peers[node].up = true;
        network.at(0, node, Event::Wake);
    }
    let committed = network.peers[0].replica.committed().height;
    let (tip, height) = network.peers[0].snow.chain().last_accepted();
    network.build(0, BlockRef { id: [50; 32], parent: tip, height: height + 1 });
    network.run(80 * SECOND);
    assert_eq!(network.agreed(), decided + 1);
    let settled: Vec<u64> = network.peers[..14].iter().map(|peer| peer.replica.committed().height).collect();
    assert!(settled.iter().all(|height| *height >= committed));
}
