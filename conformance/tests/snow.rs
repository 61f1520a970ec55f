//! Model checks of Snowflake (every interleaving of polls of four nodes, each of which asks the other three) and of a
//! Snowman chain (every order of adding four blocks and polling for them).

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
