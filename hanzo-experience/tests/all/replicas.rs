//! Replicas that converge: laws of records, votes that travel signed, sessions over lossy channels, and what they cost.

use hanzo_experience::crdt::{SignedVote, vote_message};
use hanzo_experience::sync::{Bound, Frame, Hello, Range, RangeKind, Session};
use hanzo_experience::{
    Delta, Draft, Error, ExperienceId, Library, LibraryConfig, Mode, Operation, Outcome, Record, Stamp, Text, Vote,
};
use proptest::prelude::*;
use sha2::{Digest, Sha256};

const ORIGIN: &str = "example.com/shared";

fn library(name: &str) -> Library {
    let config = LibraryConfig::new(ORIGIN.parse().unwrap()).replica(name).capacity(20_000).dedup(None);
    Library::new(config).unwrap()
}

fn draft(text: &str) -> Draft {
    Draft::new(Text::new(text).unwrap(), "math".parse().unwrap(), "alice", 1_000)
}

fn add(library: &mut Library, texts: impl IntoIterator<Item = String>) -> Vec<ExperienceId> {
    let batch: Vec<Operation> = texts.into_iter().map(|text| Operation::Add(draft(&text))).collect();
    let applied = library.apply(&Stamp::new(1, "tester"), Mode::Atomic, &batch).unwrap();
    let id = |outcome: &Outcome| match outcome {
        Outcome::Added { id } | Outcome::Unchanged { id } => *id,
        other => panic!("{other:?}"),
    };
    applied.outcomes.iter().map(id).collect()
}

/// Stands for a signature scheme: a hash of name and message.
fn sign(voter: &str, message: &[u8]) -> Vec<u8> {
    Sha256::new().chain_update(voter).chain_update(message).finalize().to_vec()
}

fn verifier(voter: &str, message: &[u8], signature: &[u8]) -> bool {
    sign(voter, message) == signature
}

fn vote(id: &ExperienceId, voter: &str, lamport: u64, value: Vote) -> SignedVote {
    let message = vote_message(&ORIGIN.parse().unwrap(), id, lamport, value);
    SignedVote::new(lamport, value, sign(voter, &message)).unwrap()
}

/// Runs a session over a perfect channel; what each side received, and the bytes that went each way.
fn exchange(a: &Library, b: &Library) -> (Delta, Delta, usize) {
    let (mut left, mut right) = (Session::new(a), Session::new(b));
    let (mut bytes, mut rounds) = (0, 0);
    let mut to_right = left.start();
    while !to_right.is_empty() {
        let mut to_left = Vec::new();
        for frame in to_right.drain(..) {
            bytes += frame.len();
            to_left.extend(right.on_frame(&frame).unwrap());
        }
        for frame in to_left {
            bytes += frame.len();
            to_right.extend(left.on_frame(&frame).unwrap());
        }
        rounds += 1;
        assert!(rounds < 20, "a session does not end");
    }
    assert!(left.is_finished() && right.is_finished());
    assert_eq!(left.peer().unwrap().state_root, *b.state_root().root());
    (left.finish(), right.finish(), bytes)
}

fn sync(a: &mut Library, b: &mut Library) -> usize {
    let (for_a, for_b, bytes) = exchange(a, b);
    let at = |library: &Library| library.entries().last().map_or(1, |entry| entry.at());
    a.merge(&Stamp::new(at(a), "a"), &for_a, &verifier).unwrap();
    b.merge(&Stamp::new(at(b), "b"), &for_b, &verifier).unwrap();
    bytes
}

/// All that replicas must agree on, as bytes.
fn bytes_of(library: &Library) -> Vec<u8> {
    let mut bytes = library.state_root().commitment().as_bytes().to_vec();
    library.records().for_each(|record| bytes.extend(record.to_canonical()));
    library.iter().for_each(|(_, content)| bytes.extend(content.to_canonical()));
    bytes
}

#[test]
fn two_replicas_become_one() {
    let (mut a, mut b) = (library("a"), library("b"));
    let common: Vec<String> = (0..40).map(|n| format!("lesson {n}")).collect();
    let ids = add(&mut a, common.clone());
    add(&mut b, common);
    add(&mut a, ["only a knows".into()]);
    add(&mut b, ["only b knows".into()]);
    a.record_use(&ids[0], 3).unwrap();
    b.record_use(&ids[0], 4).unwrap();
    b.set_label(&ids[1], "G1").unwrap();
    b.record_signed_vote(&ids[2], "carol", vote(&ids[2], "carol", 1, Vote::Up), &verifier).unwrap();
    let delete = [Operation::Delete { id: ids[3] }];
    a.apply(&Stamp::new(2, "a"), Mode::Atomic, &delete).unwrap();
    let entries = b.entries().len();

    sync(&mut a, &mut b);
    assert_eq!(bytes_of(&a), bytes_of(&b));
    assert_eq!((a.len(), a.state_root()), (41, b.state_root()));
    assert_eq!(a.record(&ids[0]).unwrap().usage(), 7);
    assert_eq!(a.record(&ids[1]).unwrap().label().text(), "G1");
    assert_eq!(a.record(&ids[2]).unwrap().up(), 1);
    assert!(b.get(&ids[3]).is_none() && b.archived(&ids[3]).is_some());
    assert_eq!(b.entries().len(), entries + 1);
    assert_eq!(b.entries().last().unwrap().kind().as_str(), "sync");

    // Nothing more to say: a hello, a fingerprint and a farewell each.
    let idle = sync(&mut a, &mut b);
    assert!(idle < 400, "{idle}");
    assert_eq!(b.entries().len(), entries + 1);

    // Added again after removal, it is back on both; removal elsewhere in the same epoch does not undo it.
    let again = [Operation::Add(draft("lesson 3"))];
    a.apply(&Stamp::new(3, "a"), Mode::Atomic, &again).unwrap();
    sync(&mut a, &mut b);
    assert!(b.get(&ids[3]).is_some());
    assert_eq!(b.record(&ids[3]).unwrap().presence().epoch(), 1);
}

/// Bytes of a sync of `k` differences among `n` records.
#[test]
fn differences_cost_their_number() {
    println!("n      k     bytes   per k   bound 3000 log16(n)");
    for (n, k) in [(1_000, 1), (1_000, 8), (1_000, 64), (10_000, 1), (10_000, 64)] {
        let (mut a, mut b) = (library("a"), library("b"));
        let common: Vec<String> = (0..n - k).map(|number| format!("lesson {number}")).collect();
        add(&mut a, common.clone());
        add(&mut b, common);
        add(&mut a, (0..k / 2).map(|number| format!("of a {number}")));
        add(&mut b, (k / 2..k).map(|number| format!("of b {number}")));
        let bytes = sync(&mut a, &mut b);
        assert_eq!(bytes_of(&a), bytes_of(&b));
        let bound = 3_000.0 * k as f64 * (n as f64).log(16.0);
        println!("{n:<6} {k:<5} {bytes:<7} {:<7} {:.0}", bytes / k, bound / k as f64);
        assert!((bytes as f64) < bound, "{n} {k}: {bytes}");
    }
}

#[test]
fn pruning_is_a_local_view() {
    let (mut a, mut b) = (library("a"), library("b"));
    add(&mut a, (0..5).map(|n| format!("lesson {n}")));
    sync(&mut a, &mut b);
    a.prune(&Stamp::new(5, "a"), 2).unwrap();
    sync(&mut a, &mut b);
    assert_eq!((a.len(), b.len()), (2, 5));
    sync(&mut b, &mut a);
    assert_eq!((a.len(), b.len()), (2, 5));
    let small = LibraryConfig::new(ORIGIN.parse().unwrap()).replica("c").capacity(3);
    let mut c = Library::new(small).unwrap();
    sync(&mut b, &mut c);
    assert_eq!(c.len(), 3);
    let kinds: Vec<&str> = c.entries().iter().map(|entry| entry.kind().as_str()).collect();
    assert_eq!(kinds, ["sync", "prune"]);
}

#[test]
fn votes_travel_signed_or_not_at_all() {
    let (mut a, mut b) = (library("a"), library("b"));
    let ids = add(&mut a, ["one".into(), "two".into()]);
    sync(&mut a, &mut b);
    let forged = SignedVote::new(1, Vote::Up, b"forged".to_vec()).unwrap();
    let bad = |id: &ExperienceId| Error::BadVote { id: *id, voter: "carol".into() };
    assert_eq!(a.record_signed_vote(&ids[0], "carol", forged, &verifier), Err(bad(&ids[0])));
    // A vote on another experience, by another voter, at another time or of another value is not this vote.
    let good = vote(&ids[0], "carol", 5, Vote::Up);
    for wrong in [
        vote(&ids[1], "carol", 5, Vote::Up),
        vote(&ids[0], "dave", 5, Vote::Up),
        SignedVote::new(6, Vote::Up, good.signature().to_vec()).unwrap(),
        SignedVote::new(5, Vote::Down, good.signature().to_vec()).unwrap(),
    ] {
        assert_eq!(a.record_signed_vote(&ids[0], "carol", wrong, &verifier), Err(bad(&ids[0])));
    }
    assert_eq!(a.record_signed_vote(&ids[0], "carol", good.clone(), &verifier), Ok(true));
    assert_eq!(a.record_signed_vote(&ids[0], "carol", good, &verifier), Ok(false));
    let older = vote(&ids[0], "carol", 4, Vote::Down);
    assert_eq!(a.record_signed_vote(&ids[0], "carol", older, &verifier), Ok(false));

    // A peer with an unsigned vote is refused whole, and nothing changes here.
    let (mut c, mut d) = (a.clone(), b.clone());
    c.record_vote(&ids[1], "carol", Vote::Up).unwrap();
    let (_, for_d, _) = exchange(&c, &d);
    let before = d.clone();
    assert_eq!(d.merge(&Stamp::new(1, "d"), &for_d, &verifier), Err(bad(&ids[1])));
    assert_eq!(d, before);

    // Two votes at one time: both replicas keep the same one, and say who did it.
    b.record_signed_vote(&ids[0], "carol", vote(&ids[0], "carol", 5, Vote::Down), &verifier).unwrap();
    let (for_a, for_b, _) = exchange(&a, &b);
    let seen = a.merge(&Stamp::new(2, "a"), &for_a, &verifier).unwrap().equivocations;
    b.merge(&Stamp::new(2, "b"), &for_b, &verifier).unwrap();
    assert_eq!(bytes_of(&a), bytes_of(&b));
    assert_eq!((seen.len(), seen[0].voter.as_str(), seen[0].id), (1, "carol", ids[0]));
    assert_eq!(seen[0].votes.clone().map(|vote| vote.value()), [Vote::Down, Vote::Up]);
    assert_eq!(b.record(&ids[0]).unwrap().up(), 1);
}

#[test]
fn bad_frames_are_refused() {
    let (mut a, b) = (library("a"), library("b"));
    let ids = add(&mut a, (0..3).map(|n| format!("lesson {n}")));
    let good = Session::new(&a).start();
    let mut session = Session::new(&b);
    for frame in &good {
        for end in 0..frame.len() {
            assert_eq!(session.on_frame(&frame[..end]), Err(Error::MalformedFrame));
        }
        let longer = [&frame[..], &[0]].concat();
        assert_eq!(session.on_frame(&longer), Err(Error::MalformedFrame));
    }
    let ranges = |list: &[(Bound, RangeKind)]| {
        let list = list.iter().map(|(bound, kind)| Range { bound: *bound, kind: kind.clone() });
        Frame::Ranges(list.collect()).to_bytes().unwrap()
    };
    // No hello yet.
    assert_eq!(session.on_frame(&good[1]), Err(Error::MalformedFrame));
    let hello = |origin: &str| {
        let root = *a.state_root().root();
        let origin = origin.parse().unwrap();
        let hello = Hello { origin, log_size: 1, log_root: root, state_size: 3, state_root: root };
        Frame::Hello(hello).to_bytes().unwrap()
    };
    assert_eq!(session.on_frame(&hello("example.com/other")), Err(Error::WrongOrigin));
    assert_eq!(session.on_frame(&hello(ORIGIN)).unwrap().len(), 1);

    let mut sorted = ids.clone();
    sorted.sort_unstable();
    let digest = *a.state_root().root();
    let item = |id| (id, digest);
    let end = Bound::END;
    for bad in [
        ranges(&[]),
        ranges(&[(Bound(sorted[0]), RangeKind::Skip)]),
        ranges(&[(end, RangeKind::Skip), (end, RangeKind::Skip)]),
        ranges(&[(Bound(sorted[1]), RangeKind::Skip), (Bound(sorted[0]), RangeKind::Skip), (end, RangeKind::Skip)]),
        ranges(&[(end, RangeKind::Items(vec![item(sorted[1]), item(sorted[0])]))]),
        ranges(&[(end, RangeKind::Items(vec![item(sorted[0]), item(sorted[0])]))]),
        ranges(&[(Bound(sorted[1]), RangeKind::Items(vec![item(sorted[1])])), (end, RangeKind::Skip)]),
        ranges(&[(Bound(sorted[1]), RangeKind::Skip), (end, RangeKind::Items(vec![item(sorted[0])]))]),
        Frame::Want(vec![sorted[1], sorted[0]]).to_bytes().unwrap(),
        Frame::Contents(vec![]).to_bytes().unwrap(), // none was wanted
        b"HXS2\x06\0\0\0\0".to_vec(),
        b"HXS1\x07\0\0\0\0".to_vec(),
        b"HXS1\x03\0\0\0\x04\xff\xff\xff\xff".to_vec(),
        b"HXS1\x02\0\0\0\x02\xff\xff".to_vec(),
    ] {
        assert_eq!(session.on_frame(&bad), Err(Error::MalformedFrame), "{bad:02x?}");
    }
    // Contents that were not wanted are refused, those that were are taken.
    let record = a.record(&ids[0]).unwrap().to_canonical();
    let replies = session.on_frame(&Frame::Records(vec![record]).to_bytes().unwrap()).unwrap();
    assert_eq!(replies, [Frame::Want(vec![ids[0]]).to_bytes().unwrap()]);
    let content = |id: &ExperienceId| a.get(id).unwrap().to_canonical();
    let contents = |list: Vec<Vec<u8>>| Frame::Contents(list).to_bytes().unwrap();
    assert_eq!(session.on_frame(&contents(vec![content(&ids[1])])), Err(Error::MalformedFrame));
    assert_eq!(session.on_frame(&contents(vec![content(&ids[0]), content(&ids[0])])), Err(Error::MalformedFrame));
    assert!(session.on_frame(&contents(vec![content(&ids[0])])).is_ok());
    assert!(session.on_frame(&Frame::Records(vec![b"{}".to_vec()]).to_bytes().unwrap()).is_err());
    let large = Frame::Records(vec![vec![b' '; Frame::MAX_BODY]]);
    assert_eq!(large.to_bytes(), Err(Error::TooManyBytes { got: Frame::MAX_BODY + 8, max: Frame::MAX_BODY }));
}

#[test]
fn records_are_strict() {
    let id = ExperienceId::from_bytes([7; 32]);
    let mut record = Record::new(id);
    record.record_use("r1", 5).unwrap();
    record.set_label("r1", "G0 \"x\"").unwrap();
    record.record_vote("carol", SignedVote::new(3, Vote::Down, vec![0xab, 0x01]).unwrap()).unwrap();
    let good = String::from_utf8(record.to_canonical()).unwrap();
    assert_eq!(Record::from_canonical(good.as_bytes()).as_ref(), Ok(&record));
    let with = |from: &str, to: &str| {
        assert!(good.contains(from), "{from} not in {good}");
        Record::from_canonical(good.replacen(from, to, 1).as_bytes()).map(|_| ())
    };
    let range = |field| Err(Error::OutOfRange { field });
    assert_eq!(with(r#""v":1"#, r#""v":2"#), range("v"));
    assert_eq!(with(r#""value":-1"#, r#""value":-2"#), range("value"));
    assert_eq!(with(r#""value":-1"#, r#""value":2"#), range("value"));
    assert_eq!(with(r#""value":-1"#, r#""value":1.0"#), Err(Error::NotAnInteger { member: "value" }));
    assert_eq!(with(r#""sig":"ab01""#, r#""sig":"AB01""#), range("sig"));
    assert_eq!(with(r#""sig":"ab01""#, r#""sig":"ab0""#), range("sig"));
    assert_eq!(with(r#""r1":5"#, r#""r1":5,"r1":5"#), Err(Error::DuplicateMember { member: "usage" }));
    assert_eq!(with(r#""r1":5"#, r#""r 1":5"#), Err(Error::ForbiddenChar { ch: ' ' }));
    assert_eq!(with(r#""r1":5"#, r#""":5"#), range("usage"));
    assert_eq!(with(r#""r1":5"#, r#""r1":-5"#), Err(Error::NotAnInteger { member: "usage" }));
    assert_eq!(with(r#""carol":"#, r#""ca rol":"#), Err(Error::ForbiddenChar { ch: ' ' }));
    assert_eq!(with(r#""replica":"r1""#, r#""replica":"""#), range("replica"));
    assert!(with(r#""removed":false"#, r#""removed":0"#).is_err());
    assert_eq!(with(r#""inherited":0,"#, ""), Err(Error::MissingMember { member: "inherited" }));
    assert_eq!(with(r#""inherited":0,"#, r#""inherited":0, "#), Err(Error::NotCanonical));
    assert!(record.join(&Record::new(ExperienceId::from_bytes([8; 32]))).is_err());
    assert_eq!(SignedVote::new(1 << 53, Vote::Up, vec![]), Err(Error::OutOfRange { field: "lamport" }));
    let long = Err(Error::TooManyBytes { got: 16_385, max: 16_384 });
    assert_eq!(SignedVote::new(1, Vote::Up, vec![0; 16_385]), long);
    // Votes end where a record does.
    let mut full = 0;
    let result = loop {
        let vote = SignedVote::new(1, Vote::Up, vec![0; 16_384]).unwrap();
        match full {
            1_000 => panic!("no end"),
            voter => match record.record_vote(&format!("v{voter}"), vote) {
                Ok(_) => full += 1,
                Err(error) => break error,
            },
        }
    };
    assert!(matches!(result, Error::TooManyBytes { max: Record::MAX_BYTES, .. }));
    assert!(record.to_canonical().len() <= Record::MAX_BYTES);
}

fn record() -> impl Strategy<Value = Record> {
    let voters = prop::collection::vec((0..4_u8, 0..4_u64, 0..3_u8, 0..2_u8), 0..5);
    let usage = prop::collection::vec((0..3_u8, 0..50_u64), 0..4);
    let labels = prop::collection::vec((0..3_u8, "[a-c]{0,2}"), 0..3);
    (voters, usage, labels, 0..3_u8).prop_map(|(voters, usage, labels, steps)| {
        // Presence moves through a library alone; records made by hand start present.
        let mut record = Record::new(ExperienceId::from_bytes([7; 32]));
        for (voter, lamport, value, signature) in voters {
            let value = [Vote::Down, Vote::Abstain, Vote::Up][usize::from(value)];
            let vote = SignedVote::new(lamport, value, vec![signature]).unwrap();
            record.record_vote(&format!("v{voter}"), vote).unwrap();
        }
        for (replica, times) in usage {
            record.record_use(&format!("r{replica}"), times).unwrap();
        }
        for (replica, text) in labels {
            record.set_label(&format!("r{replica}"), &text).unwrap();
        }
        let bytes = String::from_utf8(record.to_canonical()).unwrap();
        let presence = [r#""epoch":0,"removed":false"#, r#""epoch":0,"removed":true"#, r#""epoch":1,"removed":false"#];
        let bytes = bytes.replacen(presence[0], presence[usize::from(steps)], 1);
        Record::from_canonical(bytes.as_bytes()).unwrap()
    })
}

/// What happens to one of three replicas.
#[derive(Debug, Clone)]
enum Step {
    Add(usize, u8),
    Delete(usize, u8),
    Modify(usize, u8, u8),
    Restore(usize, u8),
    Use(usize, u8, u8),
    Vote(usize, u8, u8, u8),
    Label(usize, u8),
    /// A session whose frames may be lost, repeated or exchanged, by the bits of the number.
    Gossip(usize, usize, u64),
}

fn step() -> impl Strategy<Value = Step> {
    let who = 0..3_usize;
    prop_oneof![
        4 => (who.clone(), 0..12_u8).prop_map(|(who, what)| Step::Add(who, what)),
        2 => (who.clone(), any::<u8>()).prop_map(|(who, what)| Step::Delete(who, what)),
        1 => (who.clone(), any::<u8>(), 0..12_u8).prop_map(|(who, what, text)| Step::Modify(who, what, text)),
        1 => (who.clone(), any::<u8>()).prop_map(|(who, what)| Step::Restore(who, what)),
        1 => (who.clone(), any::<u8>(), any::<u8>()).prop_map(|(who, what, times)| Step::Use(who, what, times)),
        2 => (who.clone(), any::<u8>(), any::<u8>(), 0..3_u8).prop_map(|(who, what, voter, value)| Step::Vote(who, what, voter, value)),
        1 => (who.clone(), any::<u8>()).prop_map(|(who, what)| Step::Label(who, what)),
        4 => (who.clone(), who, any::<u64>()).prop_map(|(a, b, noise)| Step::Gossip(a, b, noise)),
    ]
}

/// A session over a channel that loses, repeats and exchanges frames; each side keeps what it got.
fn gossip(a: &mut Library, b: &mut Library, mut noise: u64) {
    let (mut left, mut right) = (Session::new(a), Session::new(b));
    let mut channel: Vec<(bool, Vec<u8>)> = left.start().into_iter().map(|frame| (true, frame)).collect();
    let mut delivered = 0;
    while let Some((to_right, frame)) = (!channel.is_empty()).then(|| channel.remove(0)) {
        noise = noise.rotate_left(7).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        delivered += 1;
        if delivered > 200 {
            break;
        }
        match noise >> 60 {
            0 => continue,                                // lost
            1 => channel.push((to_right, frame.clone())), // repeated, later
            2 => {
                channel.push((to_right, frame)); // late
                continue;
            }
            _ => {}
        }
        // A session may refuse what comes out of order; it then has less, not something wrong.
        let replies = if to_right { right.on_frame(&frame) } else { left.on_frame(&frame) };
        channel.extend(replies.unwrap_or_default().into_iter().map(|reply| (!to_right, reply)));
    }
    let (for_a, for_b) = (left.finish(), right.finish());
    let stamp = Stamp::new(1_000, "gossip");
    a.merge(&stamp, &for_a, &verifier).unwrap();
    // The same again changes nothing.
    let before = a.clone();
    a.merge(&stamp, &for_a, &verifier).unwrap();
    assert_eq!(*a, before);
    b.merge(&stamp, &for_b, &verifier).unwrap();
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn join_is_a_semilattice(a in record(), b in record(), c in record()) {
        let join = |x: &Record, y: &Record| x.join(y).unwrap();
        let ab = join(&a, &b);
        prop_assert_eq!(&ab, &join(&b, &a));
        prop_assert_eq!(join(&ab, &c), join(&a, &join(&b, &c)));
        prop_assert_eq!(&join(&a, &a), &a);
        // Monotone: a join is an upper bound, and what is below stays below.
        prop_assert_eq!(&join(&a, &ab), &ab);
        prop_assert_eq!(&join(&ab, &b), &ab);
        prop_assert_eq!(join(&join(&a, &c), &join(&ab, &c)), join(&ab, &c));
        prop_assert!(ab.usage() >= a.usage().max(b.usage()));
        prop_assert_eq!(&Record::from_canonical(&ab.to_canonical()).unwrap(), &ab);
    }

    #[test]
    fn frames_have_one_form(bytes in prop::collection::vec(any::<u8>(), 0..200), kind in 0..8_u8) {
        let mut framed = b"HXS1".to_vec();
        framed.push(kind);
        framed.extend((bytes.len() as u32).to_be_bytes());
        framed.extend(&bytes);
        for bytes in [&bytes, &framed] {
            if let Ok(frame) = Frame::from_bytes(bytes) {
                prop_assert_eq!(&frame.to_bytes().unwrap(), bytes);
            }
            let _ = Record::from_canonical(bytes);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, failure_persistence: None, ..ProptestConfig::default() })]

    /// Three replicas that work apart over a bad channel are byte-equal after good sessions, in any order of them.
    #[test]
    fn replicas_converge(steps in prop::collection::vec(step(), 1..40), order in any::<u8>()) {
        let mut replicas = [library("r0"), library("r1"), library("r2")];
        for step in steps {
            let stamp = Stamp::new(1_000, "tester");
            let pick = |library: &Library, what: u8| {
                let ids: Vec<ExperienceId> = library.iter().map(|(id, _)| *id).collect();
                (!ids.is_empty()).then(|| ids[usize::from(what) % ids.len()])
            };
            match step {
                Step::Add(who, what) => {
                    let add = [Operation::Add(draft(&format!("lesson {what}")))];
                    replicas[who].apply(&stamp, Mode::Atomic, &add).unwrap();
                }
                Step::Delete(who, what) => {
                    if let Some(id) = pick(&replicas[who], what) {
                        replicas[who].apply(&stamp, Mode::Atomic, &[Operation::Delete { id }]).unwrap();
                    }
                }
                Step::Modify(who, what, text) => {
                    if let Some(id) = pick(&replicas[who], what) {
                        let modify = [Operation::Modify { id, draft: draft(&format!("better {text}")) }];
                        replicas[who].apply(&stamp, Mode::Atomic, &modify).unwrap();
                    }
                }
                Step::Restore(who, what) => {
                    let library = &mut replicas[who];
                    if let Some(entry) = library.entries().get(usize::from(what) % library.entries().len().max(1)) {
                        let root = *entry.state();
                        // Contents that never arrived make a version unknown.
                        let _ = library.restore(&stamp, &root);
                    }
                }
                Step::Use(who, what, times) => {
                    if let Some(id) = pick(&replicas[who], what) {
                        replicas[who].record_use(&id, times.into()).unwrap();
                    }
                }
                Step::Vote(who, what, voter, value) => {
                    if let Some(id) = pick(&replicas[who], what) {
                        let (name, lamport) = (format!("v{}", voter % 4), u64::from(voter / 16));
                        let value = [Vote::Down, Vote::Abstain, Vote::Up][usize::from(value)];
                        let vote = vote(&id, &name, lamport, value);
                        replicas[who].record_signed_vote(&id, &name, vote, &verifier).unwrap();
                    }
                }
                Step::Label(who, what) => {
                    if let Some(id) = pick(&replicas[who], what) {
                        replicas[who].set_label(&id, &format!("G{what}")).unwrap();
                    }
                }
                Step::Gossip(a, b, noise) => {
                    if let Ok([a, b]) = replicas.get_disjoint_mut([a, b]) {
                        gossip(a, b, noise);
                    }
                }
            }
        }
        let pairs = [[(0, 1), (1, 2), (0, 1)], [(2, 1), (0, 2), (1, 2)], [(0, 2), (2, 1), (2, 0)]];
        for (a, b) in pairs[usize::from(order) % 3] {
            let [a, b] = replicas.get_disjoint_mut([a, b]).unwrap();
            sync(a, b);
        }
        let [first, second, third] = &replicas;
        prop_assert!(bytes_of(first) == bytes_of(second) && bytes_of(first) == bytes_of(third));
        prop_assert_eq!(first.state_root(), third.state_root());
        for library in &replicas {
            let present = library.records().filter(|record| !record.presence().is_removed()).count();
            prop_assert_eq!(present, library.len());
        }
    }
}
