//! Model check of Snowflake: every interleaving of polls of four nodes, each of which asks the other three.

use hanzo_snow::{Params, Snowflake};
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
