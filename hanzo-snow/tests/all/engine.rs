//! One node: what it asks, tells, keeps and refuses.

use std::time::Duration;

use hanzo_snow::{
    Block, BlockRef, BlockStore, Engine, EngineConfig, EngineError, Failure, Input, Load, MemoryStore, Outcome, Output,
    Params, PollId, Reason, Record, SampleError, Timestamp, ValidatorSet,
};
use proptest::prelude::*;
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};

type Id = [u8; 32];
type Node = Engine<Id, u32, SmallRng>;
type Out = Output<Id, u32>;

const SECOND: u64 = 1_000_000_000;

fn id(n: u64) -> Id {
    let mut id = [0; 32];
    id[..8].copy_from_slice(&n.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_le_bytes());
    id
}

fn block(n: u64, parent: u64, height: u64) -> Block<Id> {
    Block { header: BlockRef { id: id(n), parent: id(parent), height }, bytes: (*b"x").into() }
}

fn at(seconds: u64) -> Timestamp {
    Timestamp::from_nanos(seconds * SECOND)
}

fn params(beta: u32) -> Params {
    Params::builder()
        .k(5)
        .alpha_preference(4)
        .conditions([(4, beta)])
        .concurrent_repolls(1)
        .max_outstanding(40)
        .build()
        .unwrap()
}

fn genesis() -> BlockRef<Id> {
    BlockRef { id: id(0), parent: id(0), height: 0 }
}

/// Node 0 of `n` alike, all others connected.
fn node_with(params: Params, n: u32) -> Node {
    let validators = ValidatorSet::new((0..n).map(|node| (node, 1_000))).unwrap();
    let mut node =
        Engine::new(EngineConfig::new(0, params), validators, genesis(), SmallRng::seed_from_u64(7)).unwrap();
    for peer in 1..n {
        node.handle(at(0), Input::Connected(peer)).unwrap();
    }
    node
}

fn node(beta: u32) -> Node {
    node_with(params(beta), 12)
}

fn drain(node: &mut Node) -> Vec<Out> {
    std::iter::from_fn(|| node.poll_output()).collect()
}

fn own(node: &mut Node, block: Block<Id>) {
    assert_eq!(node.handle(at(0), Input::Block { block, from: None }), Ok(Outcome::Taken));
}

fn vote(node: &mut Node, now: Timestamp, poll: PollId, from: u32, preferred: u64) -> Outcome {
    node.handle(now, Input::Vote { poll, from, preferred: id(preferred), accepted: id(0), accepted_height: 0 }).unwrap()
}

/// Answers every query with one preference until no more come; everything else that came out.
fn answer_all(node: &mut Node, preferred: u64) -> Vec<Out> {
    let mut rest = Vec::new();
    for _ in 0..10_000 {
        let Some(output) = node.poll_output() else { return rest };
        match output {
            Output::Query { poll, to, .. } => {
                vote(node, at(0), poll, to, preferred);
            }
            other => rest.push(other),
        }
    }
    panic!("no end of queries")
}

fn queries(outputs: &[Out]) -> Vec<(PollId, u32)> {
    outputs
        .iter()
        .filter_map(|output| match output {
            Output::Query { poll, to, .. } => Some((*poll, *to)),
            _ => None,
        })
        .collect()
}

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
fn duplicate_late_and_strange_votes_are_counted_and_nothing_else() {
    let mut node = node(2);
    own(&mut node, block(1, 0, 1));
    let asked = queries(&drain(&mut node));
    let (poll, first) = asked[0];
    let stranger = (1..12).find(|peer| asked.iter().all(|(_, asked)| asked != peer)).unwrap();
    let unexpected = Outcome::Ignored(Reason::UnexpectedVote);
    assert_eq!(vote(&mut node, at(0), PollId::from_u64(99), first, 1), unexpected);
    assert_eq!(vote(&mut node, at(0), poll, stranger, 77), unexpected);
    assert_eq!(vote(&mut node, at(0), poll, 1_000, 77), unexpected);
    assert_eq!(node.load().fetches, 0, "a stranger makes nobody fetch");
    assert_eq!(vote(&mut node, at(0), poll, first, 1), Outcome::Taken);
    // A validator that says two things is heard once.
    assert_eq!(vote(&mut node, at(0), poll, first, 2), unexpected);
    assert_eq!(node.handle(at(0), Input::QueryFailed { poll, from: first }), Ok(unexpected));
    // The same where the first answer is held.
    let second = asked[1].1;
    assert_eq!(vote(&mut node, at(0), poll, second, 60), Outcome::Taken);
    assert_eq!(vote(&mut node, at(0), poll, second, 1), unexpected);
    let mut ended = 0;
    for &(poll, to) in &asked[2..] {
        ended += u64::from(node.handle(at(0), Input::QueryFailed { poll, from: to }).unwrap() == unexpected);
    }
    node.handle(at(0), Input::FetchFailed { id: id(60) }).unwrap();
    assert_eq!(vote(&mut node, at(0), poll, asked[2].1, 1), unexpected, "after the end");
    assert_eq!(node.ignored(Reason::UnexpectedVote), 7 + ended);
}

#[test]
fn floods_are_bounded_for_each_peer() {
    let mut node = node(2);
    for request in 0..1_000 {
        let outcome = node.handle(at(0), Input::Query { from: 3, request, block: id(5_000 + request) }).unwrap();
        let limit = u64::from(Node::QUERIES_PER_PEER);
        assert_eq!(outcome == Outcome::Taken, request < limit);
    }
    assert!(node.load().outputs < 100 && node.load().fetches <= 16, "{:?}", node.load());
    // Siblings, all with a known parent.
    for n in 0..1_000 {
        node.handle(at(0), Input::Block { block: block(100 + n, 0, 1), from: Some(4) }).unwrap();
    }
    assert_eq!((node.load().waiting, node.ignored(Reason::TooManyBlocks)), (16, 984));
    // Orphans: the oldest of the peer go.
    for n in 0..1_000 {
        node.handle(at(0), Input::Block { block: block(10_000 + n, 20_000 + n, 50), from: Some(5) }).unwrap();
    }
    assert!(node.load().waiting <= 32 && node.load().fetches <= 40, "{:?}", node.load());
    // Orphans of many peers: the oldest of all go.
    for peer in 1..12 {
        for n in 0..100 {
            let orphan = block(100_000 + 1_000 * u64::from(peer) + n, 300_000 + n % 3, 50);
            node.handle(at(0), Input::Block { block: orphan, from: Some(peer) }).unwrap();
        }
    }
    assert!(node.load().waiting <= 16 + 40 && node.load().fetches <= 40, "{:?}", node.load());
    // Strangers are not heard at all.
    let stranger = node.handle(at(0), Input::Block { block: block(7, 0, 1), from: Some(99) });
    assert_eq!(stranger, Ok(Outcome::Ignored(Reason::NotConnected)));
    let asks = node.handle(at(0), Input::Query { from: 99, request: 1, block: id(7) });
    assert_eq!(asks, Ok(Outcome::Ignored(Reason::NotConnected)));
    // Room is made for the peer's honest successors once its blocks are decided.
    own(&mut node, block(1, 0, 1));
    drain(&mut node);
    node.handle(at(5), Input::Tick).unwrap();
    answer_all(&mut node, 1);
    answer_all(&mut node, 1);
    assert_eq!((node.chain().last_accepted().0, node.load().fetches), (id(1), 0));
    let next = node.handle(at(5), Input::Block { block: block(2, 1, 2), from: Some(4) });
    assert_eq!(next, Ok(Outcome::Taken));
}

#[test]
fn blocks_that_cannot_be_are_refused() {
    let mut node = node(1);
    own(&mut node, block(1, 0, 1));
    let give = |node: &mut Node, block| node.handle(at(0), Input::Block { block, from: Some(2) }).unwrap();
    assert_eq!(give(&mut node, block(1, 0, 1)), Outcome::Ignored(Reason::Known));
    assert_eq!(give(&mut node, block(2, 1, 9)), Outcome::Ignored(Reason::WrongHeight));
    assert_eq!(give(&mut node, block(0, 0, 0)), Outcome::Ignored(Reason::Decided));
    assert_eq!(give(&mut node, block(3, 9, 1)), Outcome::Ignored(Reason::Decided));
    let unknown = node.handle(at(0), Input::Verified { id: id(9), ok: true });
    assert_eq!(unknown, Ok(Outcome::Ignored(Reason::Unexpected)));
    let apart = Input::Block { block: block(8, 7, 5), from: None };
    assert_eq!(node.handle(at(0), apart), Ok(Outcome::Ignored(Reason::Unexpected)));
    // An ancestor at another height than its child says is not asked for further.
    assert_eq!(give(&mut node, block(21, 20, 9)), Outcome::Taken);
    assert_eq!(give(&mut node, block(20, 19, 7)), Outcome::Ignored(Reason::WrongHeight));
    assert_eq!((node.load().waiting, node.load().fetches), (0, 0));
    // Blocks that name each other: ids that are no hashes.
    assert_eq!(give(&mut node, block(30, 31, 5)), Outcome::Taken);
    assert_eq!(give(&mut node, block(31, 30, 4)), Outcome::Taken);
    for (poll, to) in queries(&drain(&mut node)) {
        vote(&mut node, at(0), poll, to, 31);
    }
    node.handle(at(9), Input::Tick).unwrap();
    assert_eq!(node.load().held_votes, 0);
}

#[test]
fn clock_jumps_cost_polls_and_no_more() {
    let mut node = node(2);
    own(&mut node, block(1, 0, 1));
    let asked = queries(&drain(&mut node));
    node.handle(at(1_000_000), Input::Tick).unwrap();
    let again = drain(&mut node);
    assert!(!queries(&again).is_empty() && again.iter().any(|output| matches!(output, Output::Stalled(_))));
    assert_eq!(vote(&mut node, at(0), asked[0].0, asked[0].1, 1), Outcome::Ignored(Reason::UnexpectedVote));
    assert!(node.poll_timeout().unwrap() > at(1_000_000), "time stands still when it goes back");
    for (poll, to) in queries(&again) {
        vote(&mut node, at(5), poll, to, 1);
    }
    answer_all(&mut node, 1);
    assert_eq!(node.chain().last_accepted().0, id(1));
    node.handle(Timestamp::from_nanos(u64::MAX), Input::Tick).unwrap();
    own(&mut node, block(2, 1, 2));
    answer_all(&mut node, 2);
    answer_all(&mut node, 2);
    assert_eq!(node.chain().last_accepted().0, id(2), "the end of time decides like any other");
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
    for (chain, index) in
        [(vec![block(3, 1, 2)], 0), (vec![block(2, 0, 1), block(5, 2, 9)], 1), (vec![block(11, 0, 1)], 0)]
    {
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

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    /// Anything in any order: no panic, bounded memory, and the accepted chain is a chain.
    #[test]
    fn arbitrary_inputs_are_survived(seed in any::<u64>(), steps in 1_usize..600) {
        let mut rng = SmallRng::seed_from_u64(seed);
        let mut node = node(2);
        let mut told = Vec::new();
        let mut asked: Vec<(PollId, u32)> = Vec::new();
        let mut now = 0;
        for _ in 0..steps {
            let word = rng.next_u64();
            let (n, peer) = (word % 23, (word >> 8) as u32 % 14);
            // Consistent headers for most ids, nonsense for the rest.
            let parent = if n == 0 { 0 } else { n / 2 };
            let height = 64 - u64::from(n.leading_zeros());
            let good = Block { header: BlockRef { id: id(n), parent: id(parent), height }, bytes: [].into() };
            let input = match (word >> 16) % 16 {
                0 | 1 => Input::Block { block: good, from: Some(peer) },
                2 => Input::Block { block: good, from: None },
                3 => Input::Block { block: block(word >> 40, word >> 50, (word >> 30) % 9), from: Some(peer) },
                4 => Input::Query { from: peer, request: word, block: id(n) },
                5..=8 if !asked.is_empty() => {
                    let (poll, from) = asked[(word >> 24) as usize % asked.len()];
                    Input::Vote { poll, from, preferred: id(n), accepted: id(n / 4), accepted_height: word % 5 }
                }
                9 => Input::QueryFailed { poll: PollId::from_u64(word >> 20 & 15), from: peer },
                10 => Input::FetchFailed { id: id(n) },
                11 => Input::Verified { id: id(n), ok: word >> 60 > 2 },
                12 => if word >> 61 == 0 { Input::Disconnected(peer) } else { Input::Connected(peer) },
                13 => Input::Tip { from: peer, id: id(n), height: word % 7 },
                14 => Input::Persisted(word >> 30 & 7),
                _ => {
                    now += word >> 34;
                    Input::Tick
                }
            };
            node.handle(Timestamp::from_nanos(now), input).unwrap();
            let load = node.load();
            prop_assert!(load.fetches <= 40 && load.polls <= 40 && load.held_votes <= 5 * load.polls, "{load:?}");
            prop_assert!(load.waiting <= 16 * 14 && load.processing <= 16 * 14 + 23, "{load:?}");
            for output in drain(&mut node) {
                match output {
                    Output::Query { poll, to, .. } => {
                        asked.push((poll, to));
                        if asked.len() > 12 { asked.remove(0); }
                    }
                    Output::Accepted { id, height } => told.push((id, height)),
                    _ => {}
                }
            }
        }
        for (at, (accepted, height)) in told.iter().enumerate() {
            prop_assert_eq!(*height, at as u64 + 1);
            prop_assert!(told[..at].iter().all(|(other, _)| other != accepted));
        }
    }
}
