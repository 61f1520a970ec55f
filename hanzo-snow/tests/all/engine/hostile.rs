//! What a node refuses and survives.

use hanzo_snow::{Block, BlockRef, Input, Outcome, Output, PollId, Reason, Timestamp};
use proptest::prelude::*;
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};

use super::{Node, answer_all, at, block, drain, id, node, own, queries, vote};

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
