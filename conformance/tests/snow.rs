//! Model checks of Snowflake (every interleaving of polls of four nodes, each of which asks the other three) and of a
//! Snowman chain (every order of adding four blocks and polling for them), and of settlement (four validators, one Byzantine).

use hanzo_snow::settlement::Safety;
use hanzo_snow::{BlockRef, Decision, Params, Snowflake, Snowman, Variant, VoteBag};
use stateright::{Checker, Model, Property};

/// Four nodes with a colour each; a poll sees the others as they were when it began.
struct Network {
    params: Params,
    initial: [bool; 4],
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct State {
    nodes: Vec<Snowflake<bool>>,
    /// Votes for `true` that a node has gathered and not yet recorded.
    gathered: Vec<Option<u32>>,
}

#[derive(Clone, Debug, PartialEq)]
enum Step {
    Ask(usize),
    Record(usize),
}

impl Model for Network {
    type State = State;
    type Action = Step;

    fn init_states(&self) -> Vec<State> {
        let nodes = self.initial.iter().map(|&colour| Snowflake::new(self.params, colour)).collect();
        vec![State { nodes, gathered: vec![None; 4] }]
    }

    fn actions(&self, state: &State, actions: &mut Vec<Step>) {
        for node in 0..4 {
            if state.gathered[node].is_some() {
                actions.push(Step::Record(node));
            } else if !state.nodes[node].is_finalized() {
                actions.push(Step::Ask(node));
            }
        }
    }

    fn next_state(&self, last: &State, step: Step) -> Option<State> {
        let mut state = last.clone();
        match step {
            Step::Ask(node) => {
                let others = last.nodes.iter().enumerate().filter(|&(other, _)| other != node);
                state.gathered[node] = Some(others.filter(|(_, other)| *other.preference()).count() as u32);
            }
            Step::Record(node) => {
                let ones = state.gathered[node].take()?;
                let (count, colour) = if ones >= 2 { (ones, true) } else { (3 - ones, false) };
                state.nodes[node].record_poll(count, colour);
            }
        }
        Some(state)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always("agreement", |_, state: &State| {
                let mut decided = state.nodes.iter().filter(|node| node.is_finalized()).map(Snowflake::preference);
                decided.next().is_none_or(|first| decided.all(|colour| colour == first))
            }),
            Property::sometimes("all decide", |_, state: &State| state.nodes.iter().all(Snowflake::is_finalized)),
        ]
    }
}

fn params(alpha_confidence: u16, beta: u32) -> Params {
    let builder = Params::builder().k(3).alpha_preference(2).conditions([(alpha_confidence, beta)]);
    builder.concurrent_repolls(1).build().expect("valid parameters")
}

#[test]
fn beta_1_disagrees_from_an_even_split() {
    let network = Network { params: params(2, 1), initial: [false, false, true, true] };
    // Four steps are enough: two nodes of different colours ask, then each records the other side's majority.
    let checker = network.checker().target_max_depth(6).spawn_bfs().join();
    checker.assert_any_discovery("agreement");
}

#[test]
fn beta_2_still_disagrees_when_answers_are_old() {
    let network = Network { params: params(2, 2), initial: [false, false, true, true] };
    let checker = network.checker().target_max_depth(12).spawn_bfs().join();
    checker.assert_any_discovery("agreement");
}

#[test]
fn one_colour_is_never_lost() {
    for (alpha_confidence, beta) in [(2, 1), (2, 3), (3, 2)] {
        let network = Network { params: params(alpha_confidence, beta), initial: [true; 4] };
        let checker = network.checker().spawn_bfs().join();
        checker.assert_properties();
    }
}

#[test]
fn one_dissenter_of_four_never_splits_unanimous_confidence() {
    // With alpha_confidence 3 of 3 a decision needs all three others on one colour.
    let network = Network { params: params(3, 1), initial: [false, true, true, true] };
    let checker = network.checker().spawn_bfs().join();
    checker.assert_no_discovery("agreement");
}

/// A chain of its own with two siblings, a child of each, and votes of a poll of two for any pair of them.
struct Chain;

/// What was done so far; the chain follows from it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct History(Vec<Move>);

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Move {
    Add(u8),
    Poll(u8, u8),
}

/// Block 0 is genesis; 1 and 2 stand on it, 3 on 1, 4 on 2.
fn block(n: u8) -> BlockRef<Id> {
    let parent = n.saturating_sub(2);
    BlockRef { id: [n], parent: [parent], height: u64::from(n > 0) + u64::from(n > 2) }
}

type Id = [u8; 1];

/// Plays a history: the chain, its decisions, and how many blocks it took.
fn play(history: &History) -> (Snowman<Id>, Vec<Decision<Id>>, usize) {
    let params = Params::builder().k(2).alpha_preference(2).conditions([(2, 2)]).concurrent_repolls(1);
    let params = params.build().expect("valid parameters");
    let mut chain = Snowman::new(params, Variant::Snowflake, block(0), 1);
    let (mut decisions, mut added) = (Vec::new(), 0);
    for step in &history.0 {
        match *step {
            Move::Add(n) => added += usize::from(chain.add(block(n)).is_ok()),
            Move::Poll(a, b) => {
                let votes: VoteBag<Id> = [[a], [b]].into_iter().collect();
                chain.record_poll(&votes, &mut decisions).expect("two votes");
            }
        }
    }
    (chain, decisions, added)
}

impl Model for Chain {
    type State = History;
    type Action = Move;

    fn init_states(&self) -> Vec<History> {
        vec![History(Vec::new())]
    }

    fn actions(&self, _: &History, actions: &mut Vec<Move>) {
        actions.extend((1..=4).map(Move::Add));
        actions.extend([(1, 1), (1, 2), (2, 2), (3, 3), (4, 4), (3, 4), (1, 3)].map(|(a, b)| Move::Poll(a, b)));
    }

    fn next_state(&self, last: &History, step: Move) -> Option<History> {
        let mut next = last.clone();
        next.0.push(step);
        Some(next)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always("the accepted blocks are a chain", |_, history: &History| {
                let mut tip = block(0);
                play(history).1.iter().all(|decision| match decision {
                    Decision::Accepted { id, height } => {
                        let next = block(id[0]);
                        let extends = next.parent == tip.id && *height == tip.height + 1;
                        tip = next;
                        extends
                    }
                    _ => true,
                })
            }),
            Property::always("what was added is processing or decided once", |_, history| {
                let (chain, decisions, added) = play(history);
                let mut ids: Vec<_> = decisions
                    .iter()
                    .map(|decision| match decision {
                        Decision::Accepted { id, .. } | Decision::Rejected { id, .. } => *id,
                        other => panic!("{other:?}"),
                    })
                    .collect();
                ids.sort_unstable();
                ids.dedup();
                ids.len() == decisions.len() && chain.processing_len() + decisions.len() == added
            }),
            Property::always("the preference stands on the last accepted block", |_, history| {
                let (chain, ..) = play(history);
                let (accepted, _) = chain.last_accepted();
                let mut at = chain.preference();
                while let Some(parent) = chain.parent(&at) {
                    at = parent;
                }
                at == accepted
            }),
            Property::sometimes("two blocks are accepted", |_, history| play(history).0.last_accepted().1 == 2),
        ]
    }
}

#[test]
fn every_short_history_of_a_chain_keeps_its_invariants() {
    let checker = Chain.checker().target_max_depth(6).spawn_bfs().join();
    checker.assert_properties();
    assert!(checker.unique_state_count() > 100_000);
}

/// Settlement of four validators, one of them Byzantine: what honest validators may sign, by the rules of [`Safety`], in every order.
///
/// Validators 0 to 2 are honest, 3 signs anything at any time, so its votes and timeouts count from the start. A proposal is a
/// block on a certified one; leaders are anybody, and the Byzantine one proposes twice. Messages are lost or late at will: who
/// has not signed has not received. A validator that crashes and begins again has what it kept, which is all it has signed.
struct Settlement {
    views: u8,
    quorum: u32,
    broken: Broken,
}

/// What is wrong on purpose, to see that the check finds it.
#[derive(Clone, Copy, PartialEq)]
enum Broken {
    Nothing,
    /// A validator that begins again has forgotten its votes.
    Forgets,
    /// A vote after a timeout certificate heeds no certificate that it reports.
    Unlocked,
    /// A block is committed by its own certificate.
    OneChain,
}

/// A block: its view, which of two of that view, and the block below, by index.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
struct Proposed {
    view: u8,
    twin: bool,
    parent: u8,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Replicas {
    /// Block 0 is the root, of view 0.
    blocks: Vec<Proposed>,
    /// For each block, the honest validators that voted.
    votes: Vec<[bool; 3]>,
    safety: [Safety; 3],
    /// The view of the highest certificate that each has seen.
    high: [u8; 3],
    /// For each view, what each honest validator reported in its timeout.
    timeouts: Vec<[Option<u8>; 3]>,
    crashes: u8,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Act {
    Propose(Proposed),
    Vote(usize, usize),
    Timeout(usize, u8),
    Crash(usize),
}

impl Settlement {
    fn is_certified(&self, state: &Replicas, block: usize) -> bool {
        block == 0 || 1 + state.votes[block].iter().filter(|voted| **voted).count() as u32 >= self.quorum
    }

    /// The lowest report of the highest certificate that a timeout certificate of a view can be made with.
    fn timeout_high(&self, state: &Replicas, view: u8) -> Option<u8> {
        let mut reports: Vec<u8> = state.timeouts.get(usize::from(view))?.iter().flatten().copied().collect();
        reports.sort_unstable();
        // The Byzantine one reports nothing.
        let honest = self.quorum as usize - 1;
        let heeded = if self.broken == Broken::Unlocked { 0 } else { honest };
        let high = heeded.checked_sub(1).and_then(|last| reports.get(last)).copied();
        (reports.len() >= honest).then(|| high.unwrap_or(0))
    }

    fn stands_on(state: &Replicas, mut block: usize, below: usize) -> bool {
        loop {
            if block == below {
                return true;
            }
            if block == 0 {
                return false;
            }
            block = usize::from(state.blocks[block].parent);
        }
    }

    fn committed(&self, state: &Replicas) -> Vec<usize> {
        if self.broken == Broken::OneChain {
            return (1..state.blocks.len()).filter(|block| self.is_certified(state, *block)).collect();
        }
        let is_commit = |child: &usize| {
            let parent = usize::from(state.blocks[*child].parent);
            *child > 0
                && self.is_certified(state, *child)
                && self.is_certified(state, parent)
                && state.blocks[parent].view + 1 == state.blocks[*child].view
        };
        let children = (0..state.blocks.len()).filter(is_commit);
        children.map(|child| usize::from(state.blocks[child].parent)).collect()
    }
}

impl Model for Settlement {
    type State = Replicas;
    type Action = Act;

    fn init_states(&self) -> Vec<Replicas> {
        vec![Replicas {
            blocks: vec![Proposed { view: 0, twin: false, parent: 0 }],
            votes: vec![[true; 3]],
            safety: [Safety::default(); 3],
            high: [0; 3],
            timeouts: vec![[None; 3]; usize::from(self.views) + 1],
            crashes: 0,
        }]
    }

    fn actions(&self, state: &Replicas, actions: &mut Vec<Act>) {
        for view in 1..=self.views {
            for twin in [false, true] {
                if state.blocks.iter().any(|block| block.view == view && block.twin == twin) {
                    continue;
                }
                // The second only after the first: they are alike.
                if twin && !state.blocks.iter().any(|block| block.view == view) {
                    continue;
                }
                for parent in (0..state.blocks.len()).filter(|parent| self.is_certified(state, *parent)) {
                    let justify = state.blocks[parent].view;
                    let entered = justify + 1 == view
                        || justify < view && self.timeout_high(state, view - 1).is_some_and(|high| justify >= high);
                    if entered {
                        actions.push(Act::Propose(Proposed { view, twin, parent: parent as u8 }));
                    }
                }
            }
        }
        for replica in 0..3 {
            for (index, block) in state.blocks.iter().enumerate().skip(1) {
                let justify = state.blocks[usize::from(block.parent)].view;
                let high = self.timeout_high(state, block.view - 1);
                let timeout = high.map(|high| (u64::from(block.view - 1), u64::from(high)));
                if state.safety[replica].may_vote(u64::from(block.view), u64::from(justify), timeout) {
                    actions.push(Act::Vote(replica, index));
                }
            }
            for view in 1..self.views {
                if state.timeouts[usize::from(view)][replica].is_none()
                    && u64::from(view) > state.safety[replica].last_timeout()
                {
                    actions.push(Act::Timeout(replica, view));
                }
            }
            if self.broken == Broken::Forgets && state.crashes == 0 && state.safety[replica] != Safety::default() {
                actions.push(Act::Crash(replica));
            }
        }
    }

    fn next_state(&self, last: &Replicas, act: Act) -> Option<Replicas> {
        let mut state = last.clone();
        match act {
            Act::Propose(block) => {
                state.blocks.push(block);
                state.votes.push([false; 3]);
            }
            Act::Vote(replica, index) => {
                let block = state.blocks[index];
                state.votes[index][replica] = true;
                state.safety[replica].voted(u64::from(block.view));
                state.high[replica] = state.high[replica].max(state.blocks[usize::from(block.parent)].view);
            }
            Act::Timeout(replica, view) => {
                state.safety[replica].timed_out(u64::from(view));
                state.timeouts[usize::from(view)][replica] = Some(state.high[replica].min(view - 1));
            }
            Act::Crash(replica) => {
                state.crashes += 1;
                state.safety[replica] = Safety::default();
                state.high[replica] = 0;
            }
        }
        Some(state)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always("committed blocks are one chain", |model: &Self, state: &Replicas| {
                let committed = model.committed(state);
                committed
                    .iter()
                    .all(|&a| committed.iter().all(|&b| Self::stands_on(state, a, b) || Self::stands_on(state, b, a)))
            }),
            Property::sometimes("a block is committed", |model, state| {
                model.committed(state).iter().any(|block| *block > 0)
            }),
        ]
    }
}

#[test]
fn settlement_agrees_whatever_one_of_four_does() {
    let model = Settlement { views: 4, quorum: 3, broken: Broken::Nothing };
    let checker = model.checker().target_max_depth(11).spawn_bfs().join();
    checker.assert_properties();
    assert!(checker.unique_state_count() > 50_000, "{}", checker.unique_state_count());
    println!("{} states", checker.unique_state_count());
}

/// Looks for two committed blocks that are not of one chain, down to a depth.
fn finds_a_split(views: u8, quorum: u32, broken: Broken, depth: usize) {
    let checker = Settlement { views, quorum, broken }.checker().target_max_depth(depth).spawn_dfs().join();
    checker.assert_any_discovery("committed blocks are one chain");
}

#[test]
fn settlement_splits_where_a_rule_is_broken() {
    finds_a_split(3, 2, Broken::Nothing, 12);
    finds_a_split(2, 3, Broken::Forgets, 15);
    finds_a_split(2, 3, Broken::OneChain, 10);
}

#[test]
#[ignore = "50 million states: cargo test --release -p hanzo-conformance --test snow -- --ignored"]
fn settlement_splits_without_locks_slow_() {
    finds_a_split(4, 3, Broken::Unlocked, 16);
}
