//! What a node does.

use std::time::Duration;

use hanzo_snow::{
    BlockStore, Engine, EngineConfig, EngineError, Failure, Input, Load, MemoryStore, Outcome, Output, Params, Reason,
    Record, SampleError, ValidatorSet,
};
use rand::SeedableRng;
use rand::rngs::SmallRng;

use super::*;

#[test]
fn a_block_is_queried_pushed_once_and_told_when_durable() {
    let mut node = node(3);
    own(&mut node, block(1, 0, 1));
    let first = drain(&mut node);
    assert!(
        first.iter().all(
            |output| matches!(output, Output::Query { push: Some(pushed), block, .. } if pushed.header.id == *block)
        )
    );
    let mut rest = Vec::new();
    for (poll, to) in queries(&first) {
        vote(&mut node, at(0), poll, to, 1);
    }
    rest.extend(answer_all(&mut node, 1));
    let [Output::Persist { token: 0, records }] = &rest[..] else { panic!("{rest:?}") };
    assert_eq!(records[..], [Record::Block(block(1, 0, 1)), Record::Tip(block(1, 0, 1).header)]);
    assert_eq!((node.chain().last_accepted(), node.durable().height), ((id(1), 1), 0));

    // A query is answered with what is durable.
    node.handle(at(0), Input::Query { from: 3, request: 9, block: id(1) }).unwrap();
    let responded =
        |height, accepted| Output::Respond { to: 3, request: 9, preferred: id(1), accepted, accepted_height: height };
    assert_eq!(node.poll_output(), Some(responded(0, id(0))));
    assert_eq!(node.handle(at(0), Input::Persisted(1)), Ok(Outcome::Ignored(Reason::Unexpected)));
    node.handle(at(0), Input::Persisted(0)).unwrap();
    assert_eq!(drain(&mut node), [Output::Accepted { id: id(1), height: 1 }]);
    node.handle(at(0), Input::Query { from: 3, request: 9, block: id(1) }).unwrap();
    assert_eq!(node.poll_output(), Some(responded(1, id(1))));
    assert_eq!(node.handle(at(0), Input::Persisted(0)), Ok(Outcome::Ignored(Reason::Unexpected)), "twice");
}

#[test]
fn b21_an_application_error_poisons_the_node() {
    for failure in [Failure::Application, Failure::Store] {
        let mut node = node(1);
        own(&mut node, block(1, 0, 1));
        answer_all(&mut node, 1);
        node.handle(at(0), Input::Failed(failure)).unwrap();
        assert_eq!(node.poll_output(), None);
        for input in [Input::Tick, Input::Persisted(0), Input::Pending] {
            assert_eq!(node.handle(at(1), input), Err(EngineError::Poisoned(failure)));
        }
        assert_eq!(node.adopt(&[]), Err(EngineError::Poisoned(failure)));
        assert_eq!((node.poll_output(), node.poll_timeout()), (None, None));
    }
}

#[test]
fn a_vote_for_an_unknown_block_waits_until_it_comes() {
    let mut node = node(1);
    own(&mut node, block(1, 0, 1));
    let asked = queries(&drain(&mut node));
    for &(poll, to) in &asked {
        assert_eq!(vote(&mut node, at(0), poll, to, 2), Outcome::Taken);
    }
    assert_eq!(node.load().held_votes, asked.len());
    let fetches: Vec<_> = drain(&mut node);
    let [Output::Fetch { from, id: fetched }] = fetches[..] else { panic!("one fetch: {fetches:?}") };
    assert_eq!((from, fetched), (asked[0].1, id(2)));
    node.handle(at(0), Input::Block { block: block(2, 0, 1), from: Some(from) }).unwrap();
    assert_eq!(drain(&mut node), [Output::Verify(id(2))]);
    node.handle(at(0), Input::Verified { id: id(2), ok: true }).unwrap();
    let outputs = drain(&mut node);
    let Output::Persist { records, .. } = &outputs[0] else { panic!("{outputs:?}") };
    assert_eq!(records[0], Record::Block(block(2, 0, 1)));
    node.handle(at(0), Input::Persisted(0)).unwrap();
    let decided = [Output::Accepted { id: id(2), height: 1 }, Output::Rejected { id: id(1), height: 1 }];
    assert_eq!(drain(&mut node), decided);
    assert_eq!(node.load(), Load::default());
}

#[test]
fn votes_for_what_never_comes_go_to_the_nearest_known_ancestor() {
    // 1 is known, 2 on it arrives but is invalid, 3 on 2 is refused: all count for 1.
    let mut node = node(1);
    own(&mut node, block(1, 0, 1));
    let asked = queries(&drain(&mut node));
    for (i, &(poll, to)) in asked.iter().enumerate() {
        vote(&mut node, at(0), poll, to, if i % 2 == 0 { 2 } else { 3 });
    }
    drain(&mut node);
    node.handle(at(0), Input::Block { block: block(3, 2, 3), from: Some(asked[0].1) }).unwrap();
    node.handle(at(0), Input::Block { block: block(2, 1, 2), from: Some(asked[0].1) }).unwrap();
    assert_eq!(drain(&mut node), [Output::Verify(id(2))]);
    assert_eq!(node.load().waiting, 2);
    node.handle(at(0), Input::Verified { id: id(2), ok: false }).unwrap();
    assert!(matches!(drain(&mut node)[0], Output::Persist { .. }), "1 is accepted");
    assert_eq!((node.chain().last_accepted().0, node.load().waiting), (id(1), 0));

    // What the voter has accepted is an ancestor too.
    let mut node = self::node(1);
    own(&mut node, block(1, 0, 1));
    for (poll, from) in queries(&drain(&mut node)) {
        let vote = Input::Vote { poll, from, preferred: id(50), accepted: id(1), accepted_height: 1 };
        node.handle(at(0), vote).unwrap();
    }
    assert_eq!(node.chain().processing_len(), 1);
    node.handle(at(0), Input::FetchFailed { id: id(50) }).unwrap();
    assert_eq!(node.chain().last_accepted().0, id(1));
    assert_eq!(node.handle(at(0), Input::FetchFailed { id: id(50) }), Ok(Outcome::Ignored(Reason::Unexpected)));

    // And if nothing is known, the vote is lost at the deadline.
    let mut node = self::node(1);
    own(&mut node, block(1, 0, 1));
    for (poll, from) in queries(&drain(&mut node)) {
        let vote = Input::Vote { poll, from, preferred: id(50), accepted: id(49), accepted_height: 9 };
        node.handle(at(0), vote).unwrap();
    }
    node.handle(at(2), Input::Tick).unwrap();
    assert_eq!((node.chain().processing_len(), node.load().held_votes, node.load().fetches), (1, 0, 0));
    assert!(!queries(&drain(&mut node)).is_empty(), "the next poll is out");
}

#[test]
fn missing_ancestors_are_fetched_down_to_a_known_one() {
    let mut node = node(1);
    // The tip of ten unknown blocks is told; each comes when asked for.
    node.handle(at(0), Input::Tip { from: 4, id: id(10), height: 10 }).unwrap();
    let mut verified = Vec::new();
    while let Some(output) = node.poll_output() {
        match output {
            Output::Fetch { from, id: wanted } => {
                let n = (1..=10).find(|&n| id(n) == wanted).unwrap();
                node.handle(at(0), Input::Block { block: block(n, n - 1, n), from: Some(from) }).unwrap();
            }
            Output::Verify(id) => {
                verified.push(id);
                node.handle(at(0), Input::Verified { id, ok: true }).unwrap();
            }
            _ => {}
        }
    }
    assert_eq!(verified, (1..=10).map(id).collect::<Vec<_>>());
    assert_eq!((node.chain().preference(), node.chain().processing_len()), (id(10), 10));
    assert_eq!(node.handle(at(0), Input::Tip { from: 4, id: id(10), height: 10 }), Ok(Outcome::Ignored(Reason::Known)));
}

#[test]
fn a_stall_is_reported_with_its_reasons() {
    let stall = |outputs: &[Out]| {
        outputs.iter().find_map(|output| match output {
            Output::Stalled(report) => Some(*report),
            _ => None,
        })
    };
    // Nobody answers.
    let mut node = node(2);
    own(&mut node, block(1, 0, 1));
    let mut report = None;
    for second in 0..=30 {
        node.handle(at(second), Input::Tick).unwrap();
        report = report.or(stall(&drain(&mut node)));
    }
    let report = report.unwrap();
    assert_eq!((report.oldest, report.height, report.age), (id(1), 1, Duration::from_secs(30)));
    assert_eq!((report.connected_stake, report.total_stake, report.votes), (12_000, 12_000, 0));
    assert!(report.no_answers && !report.split_votes && !report.too_little_stake && !report.too_many_processing);
    // Nobody is there.
    for peer in 3..12 {
        node.handle(at(31), Input::Disconnected(peer)).unwrap();
    }
    assert!(!node.has_enough_stake());
    let mut report = None;
    for second in 31..=61 {
        node.handle(at(second), Input::Tick).unwrap();
        report = report.or(stall(&drain(&mut node)));
    }
    assert!(report.unwrap().too_little_stake && !report.unwrap().no_answers);
    assert_eq!(report.unwrap().connected_stake, 3_000);

    // Everybody answers, for two blocks.
    let mut node = self::node(100);
    own(&mut node, block(1, 0, 1));
    own(&mut node, block(2, 0, 1));
    let mut report = None;
    for second in 0..=30 {
        node.handle(at(second), Input::Tick).unwrap();
        let outputs = drain(&mut node);
        report = report.or(stall(&outputs));
        for (poll, to) in queries(&outputs) {
            vote(&mut node, at(second), poll, to, 1 + u64::from(to % 2));
        }
    }
    assert!(report.is_some_and(|report| report.split_votes && !report.no_answers), "{report:?}");
}

#[test]
fn new_validators_are_asked_in_new_polls_only() {
    let mut node = node(2);
    own(&mut node, block(1, 0, 1));
    let old = queries(&drain(&mut node));
    let set = ValidatorSet::new((100..120).map(|node| (node, 10))).unwrap();
    node.handle(at(0), Input::Validators(set)).unwrap();
    for peer in 100..120 {
        node.handle(at(0), Input::Connected(peer)).unwrap();
    }
    assert!(queries(&drain(&mut node)).is_empty());
    for &(poll, to) in &old {
        vote(&mut node, at(0), poll, to, 1);
    }
    let new = queries(&drain(&mut node));
    assert!(!new.is_empty() && new.iter().all(|(_, to)| (100..120).contains(to)));

    let few = ValidatorSet::new([(0, 900), (1, 4)]).unwrap();
    let error = EngineError::Sample(SampleError::SampleTooLarge { total_stake: 4, k: 5 });
    assert_eq!(node.handle(at(0), Input::Validators(few.clone())), Err(error));
    assert_eq!(
        Engine::<Id, _, _>::new(EngineConfig::new(0, params(1)), few, genesis(), SmallRng::seed_from_u64(1))
            .map(|_| ()),
        Err(error)
    );
    for (poll, to) in new {
        vote(&mut node, at(0), poll, to, 1);
    }
    assert_eq!(node.chain().last_accepted().0, id(1), "the refused set has changed nothing");
}

#[test]
fn a_node_goes_on_from_its_store() {
    let mut store = MemoryStore::default();
    let mut node = node(1);
    for n in 1..=3 {
        own(&mut node, block(n, n - 1, n));
        for output in answer_all(&mut node, n) {
            // The third block is decided, and the node ends before its records are kept.
            if let Output::Persist { token, records } = output
                && n < 3
            {
                store.append(&records).unwrap();
                store.sync().unwrap();
                node.handle(at(0), Input::Persisted(token)).unwrap();
            }
        }
    }
    assert_eq!((node.chain().last_accepted().1, node.durable().height), (3, 2));
    let tip = store.tip().unwrap().unwrap();
    assert_eq!((tip, store.above(0).len()), (block(2, 1, 2).header, 2));
    let validators = ValidatorSet::new((0..12).map(|node| (node, 1_000))).unwrap();
    let mut node = Engine::new(EngineConfig::new(0, params(1)), validators, tip, SmallRng::seed_from_u64(8)).unwrap();
    for peer in 1..12 {
        node.handle(at(0), Input::Connected(peer)).unwrap();
    }
    // The lost block comes back with the first query that names it.
    node.handle(at(0), Input::Query { from: 1, request: 1, block: id(3) }).unwrap();
    let outputs = drain(&mut node);
    assert!(outputs.contains(&Output::Fetch { from: 1, id: id(3) }));
    node.handle(at(0), Input::Block { block: block(3, 2, 3), from: Some(1) }).unwrap();
    node.handle(at(0), Input::Verified { id: id(3), ok: true }).unwrap();
    answer_all(&mut node, 3);
    assert_eq!(node.chain().last_accepted(), (id(3), 3));
}

#[test]
fn a_decided_chain_is_adopted() {
    let mut node = node(20);
    own(&mut node, block(1, 0, 1));
    own(&mut node, block(11, 1, 2));
    own(&mut node, block(2, 0, 1));
    drain(&mut node);
    assert_eq!(node.freeze(), [id(1), id(11)]);
    node.handle(at(9), Input::Tick).unwrap();
    assert!(queries(&drain(&mut node)).is_empty());
    let load = node.load();
    for (chain, index) in [
        (vec![block(3, 1, 2)], 0),
        (vec![block(2, 0, 1), block(5, 2, 9)], 1),
        (vec![block(11, 0, 1)], 0),
        (vec![block(0, 0, 1)], 0),
        (vec![block(3, 0, 1), block(3, 3, 2)], 1),
    ] {
        assert_eq!(node.adopt(&chain), Err(EngineError::NotAChain { index }));
    }
    assert_eq!(node.load(), load);
    node.adopt(&[block(2, 0, 1), block(3, 2, 2), block(4, 3, 3)]).unwrap();
    let outputs = drain(&mut node);
    let [Output::Persist { token, records }] = &outputs[..] else { panic!("{outputs:?}") };
    assert_eq!(records.len(), 4);
    node.handle(at(9), Input::Persisted(*token)).unwrap();
    let told = drain(&mut node);
    let accepted = |n, height| Output::Accepted { id: id(n), height };
    let rejected = |n, height| Output::Rejected { id: id(n), height };
    assert_eq!(told, [accepted(2, 1), rejected(1, 1), rejected(11, 2), accepted(3, 2), accepted(4, 3)]);
    own(&mut node, block(5, 4, 4));
    assert!(!queries(&drain(&mut node)).is_empty());
    assert_eq!((node.chain().last_accepted(), node.load().processing), ((id(4), 3), 1));
}

#[test]
fn blocks_are_built_while_few_are_processing() {
    let small = Params::builder().k(5).alpha_preference(4).conditions([(4, 3)]).concurrent_repolls(1);
    let mut node = node_with(small.optimal_processing(2).build().unwrap(), 12);
    for n in 1..=2 {
        node.handle(at(0), Input::Pending).unwrap();
        let built = drain(&mut node).into_iter().find(|output| matches!(output, Output::BuildBlock { .. }));
        assert_eq!(built, Some(Output::BuildBlock { parent: id(n - 1), height: n }));
        own(&mut node, block(n, n - 1, n));
    }
    node.handle(at(0), Input::Pending).unwrap();
    assert!(!drain(&mut node).iter().any(|output| matches!(output, Output::BuildBlock { .. })));
    node.handle(at(2), Input::Tick).unwrap();
    let rest = answer_all(&mut node, 2);
    assert!(rest.contains(&Output::BuildBlock { parent: id(2), height: 3 }), "{rest:?}");
}

#[test]
fn small_sets_vote_for_themselves_and_do_not_spin_alone() {
    let validators = || ValidatorSet::new((0..4).map(|node| (node, 1_u64))).unwrap();
    let config = EngineConfig::new(0, Params::for_small_set(4).unwrap()).include_self(true);
    let mut node: Node = Engine::new(config, validators(), genesis(), SmallRng::seed_from_u64(1)).unwrap();
    own(&mut node, block(1, 0, 1));
    assert_eq!(drain(&mut node), []);
    assert_eq!(node.poll_timeout(), Some(at(2)), "nobody is connected: later");
    for peer in 1..3 {
        node.handle(at(0), Input::Connected(peer)).unwrap();
    }
    node.handle(at(2), Input::Tick).unwrap();
    // Two of three others and the node itself are the three of four it takes.
    assert!(matches!(answer_all(&mut node, 1)[..], [Output::Persist { .. }]));
}

#[test]
fn the_accepted_tip_is_told_around() {
    let mut node = node(1);
    node.handle(at(10), Input::Tick).unwrap();
    assert_eq!(drain(&mut node), [Output::Gossip { id: id(0), height: 0 }]);
    assert_eq!(node.poll_timeout(), Some(at(20)));
}
