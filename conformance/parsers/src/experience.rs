//! Contents, log entries, checkpoints and proofs of the library of experience.

use hanzo_experience::aggregate::{Fixed, Prior};
use hanzo_experience::crdt::{Record, SignedVote, Vote};
use hanzo_experience::grpo::{
    Aliases, Author, Contribution, Group, Recorded, Rollout, Round, RoundConfig, ScriptedLlm, Stage, TrainingConfig,
    TrainingFreeGrpo, TrainingState, Transcript, parse_operations,
};
use hanzo_experience::merkle::{
    Checkpoint, ConsistencyProof, Hash, InclusionProof, Log, MultiProof, SignedCheckpoint, leaf_hash, verify_multi,
};
use hanzo_experience::sync::{Bound, Frame, Hello, Range, RangeKind};
use hanzo_experience::{
    Content, Domain, Draft, Entry, ExperienceId, Library, LibraryConfig, Mode, Operation, Snapshot, Stamp, Text,
};

use crate::{Parser, canonical, canonical_text};

pub(crate) const PARSERS: &[Parser] = &[
    Parser { name: "experience/content", samples: contents, read: content, memory: 64 },
    Parser { name: "experience/content_json", samples: contents, read: content_json, memory: 64 },
    Parser { name: "experience/entry", samples: entries, read: entry, memory: 64 },
    Parser { name: "experience/checkpoint", samples: checkpoints, read: canonical_text::<Checkpoint>, memory: 64 },
    Parser { name: "experience/note", samples: notes, read: canonical_text::<SignedCheckpoint>, memory: 64 },
    Parser { name: "experience/id", samples: ids, read: canonical_text::<ExperienceId>, memory: 64 },
    Parser {
        name: "experience/domain",
        samples: || vec![b"math.algebra".to_vec()],
        read: canonical_text::<Domain>,
        memory: 64,
    },
    Parser { name: "experience/inclusion", samples: inclusions, read: inclusion, memory: 64 },
    Parser { name: "experience/consistency", samples: consistencies, read: consistency, memory: 64 },
    Parser { name: "experience/multiproof", samples: multiproofs, read: multiproof, memory: 64 },
    Parser { name: "experience/record", samples: records, read: record, memory: 64 },
    Parser { name: "experience/frame", samples: frames, read: frame, memory: 64 },
    Parser { name: "experience/snapshot", samples: snapshots, read: snapshot, memory: 64 },
    Parser { name: "experience/contribution", samples: contributions, read: contribution, memory: 64 },
    Parser { name: "experience/prior", samples: priors, read: prior, memory: 64 },
    Parser { name: "experience/reply", samples: replies, read: reply, memory: 256 },
    Parser { name: "experience/training", samples: trainings, read: training, memory: 64 },
    Parser { name: "experience/transcript", samples: transcripts, read: transcript, memory: 64 },
];

fn library() -> Library {
    let config = LibraryConfig::new("example.com/parsers".parse().expect("an origin")).dedup(None);
    let mut library = Library::new(config).expect("a valid configuration");
    let draft = |text: &str| {
        let domain = "math".parse().expect("a domain");
        Operation::Add(Draft::new(Text::new(text).expect("a short text"), domain, "alice", 1_000))
    };
    let operations = [draft("Check small cases first."), draft("Say \"unknown\" rather than guess: \u{e9}.")];
    library.apply(&Stamp::new(5, "alice"), Mode::Atomic, &operations).expect("two new texts");
    library
}

fn contents() -> Vec<Vec<u8>> {
    library().iter().map(|(_, content)| content.to_canonical()).collect()
}

fn entries() -> Vec<Vec<u8>> {
    library().entries().iter().map(Entry::to_canonical).collect()
}

fn checkpoints() -> Vec<Vec<u8>> {
    vec![library().checkpoint().to_string().into_bytes()]
}

fn notes() -> Vec<Vec<u8>> {
    let mut note = format!("{}\n", library().checkpoint());
    note.push_str("\u{2014} example.com/parsers AAAAAQID\n\u{2014} other AAAAAgMEBQ==\n");
    vec![note.into_bytes()]
}

fn ids() -> Vec<Vec<u8>> {
    library().iter().map(|(id, _)| id.to_string().into_bytes()).collect()
}

fn log() -> Log {
    Log::from_leaves((0..21u8).map(|byte| leaf_hash(&[byte])).collect())
}

fn inclusions() -> Vec<Vec<u8>> {
    vec![log().prove_inclusion(5, 21).expect("a leaf of the log").to_bytes()]
}

fn consistencies() -> Vec<Vec<u8>> {
    vec![log().prove_consistency(6, 21).expect("an older size").to_bytes()]
}

fn content(bytes: &[u8]) -> bool {
    canonical(bytes, Content::from_canonical(bytes), Content::to_canonical)
}

/// Any form of the JSON: what comes out is canonical.
fn content_json(bytes: &[u8]) -> bool {
    let Ok(content) = Content::from_json(bytes) else { return false };
    assert_eq!(Content::from_canonical(&content.to_canonical()).as_ref(), Ok(&content));
    true
}

fn entry(bytes: &[u8]) -> bool {
    canonical(bytes, Entry::from_canonical(bytes), Entry::to_canonical)
}

/// A damaged proof proves nothing; the good one does.
fn inclusion(bytes: &[u8]) -> bool {
    let read = InclusionProof::from_bytes(bytes);
    if let Ok(proof) = &read {
        let verified =
            hanzo_experience::merkle::verify_inclusion(5, 21, &leaf_hash(&[5]), proof, &log().root()).is_ok();
        assert_eq!(verified, bytes == inclusions()[0], "a forged proof of inclusion");
    }
    canonical(bytes, read, InclusionProof::to_bytes)
}

fn consistency(bytes: &[u8]) -> bool {
    let read = ConsistencyProof::from_bytes(bytes);
    if let Ok(proof) = &read {
        let log = log();
        let old: Hash = log.root_at(6).expect("an older size");
        let verified = hanzo_experience::merkle::verify_consistency(6, &old, 21, &log.root(), proof).is_ok();
        assert_eq!(verified, bytes == consistencies()[0], "a forged proof of consistency");
    }
    canonical(bytes, read, ConsistencyProof::to_bytes)
}

fn multiproofs() -> Vec<Vec<u8>> {
    vec![log().prove_many(&[2, 3, 17], 21).expect("leaves of the log").to_bytes()]
}

fn multiproof(bytes: &[u8]) -> bool {
    let read = MultiProof::from_bytes(bytes);
    if let Ok(proof) = &read {
        let leaves = [2, 3, 17].map(|byte| leaf_hash(&[byte]));
        let verified = verify_multi(&[2, 3, 17], &leaves, 21, proof, &log().root()).is_ok();
        assert_eq!(verified, bytes == multiproofs()[0], "a forged proof of several leaves");
    }
    canonical(bytes, read, MultiProof::to_bytes)
}

fn records() -> Vec<Vec<u8>> {
    let mut record = Record::new(ExperienceId::from_bytes([7; 32]));
    record.record_use("replica-a", 3).expect("a small count");
    record.set_label("replica-b", "G0").expect("a short label");
    for (voter, vote) in [("alice", Vote::Up), ("bob", Vote::Down), ("carol", Vote::Abstain)] {
        let signed = SignedVote::new(5, vote, vec![0xab; 9]).expect("a short signature");
        record.record_vote(voter, signed).expect("a short name");
    }
    let library = library();
    library.records().chain([&record]).map(Record::to_canonical).collect()
}

fn record(bytes: &[u8]) -> bool {
    canonical(bytes, Record::from_canonical(bytes), Record::to_canonical)
}

fn frames() -> Vec<Vec<u8>> {
    let id = |byte| ExperienceId::from_bytes([byte; 32]);
    let hello = Hello {
        origin: "example.com/parsers".parse().expect("an origin"),
        log_size: 2,
        log_root: leaf_hash(b"log"),
        state_size: 1,
        state_root: leaf_hash(b"state"),
    };
    let ranges = vec![
        Range { bound: Bound(id(3)), kind: RangeKind::Skip },
        Range { bound: Bound(id(9)), kind: RangeKind::Items(vec![(id(3), leaf_hash(b"3")), (id(4), leaf_hash(b"4"))]) },
        Range { bound: Bound::END, kind: RangeKind::Fingerprint { n: 40, root: leaf_hash(b"rest") } },
    ];
    let frames = [
        Frame::Hello(hello),
        Frame::Ranges(ranges),
        Frame::Want(vec![id(1), id(2)]),
        Frame::Contents(contents()),
        Frame::Records(records()),
        Frame::Done,
    ];
    frames.iter().map(|frame| frame.to_bytes().expect("a short body")).collect()
}

fn frame(bytes: &[u8]) -> bool {
    canonical(bytes, Frame::from_bytes(bytes), |frame| frame.to_bytes().expect("no longer than what was read"))
}

fn snapshots() -> Vec<Vec<u8>> {
    let mut library = library();
    let first = *library.iter().next().expect("two lessons").0;
    library.apply(&Stamp::new(6, "alice"), Mode::Atomic, &[Operation::Delete { id: first }]).expect("an active lesson");
    let since = Snapshot::since(&library, 1).expect("an entry of the log");
    vec![library.snapshot().to_bytes(), since.to_bytes()]
}

fn snapshot(bytes: &[u8]) -> bool {
    canonical(bytes, Snapshot::from_bytes(bytes), Snapshot::to_bytes)
}

fn contributions() -> Vec<Vec<u8>> {
    let library = library();
    let ids: Vec<ExperienceId> = library.iter().map(|(id, _)| *id).collect();
    let draft = |text: &str| {
        let domain = "math".parse().expect("a domain");
        Draft::new(Text::new(text).expect("a short text"), domain, "bob", 1_000).example("1 + 1", "2\n")
    };
    let operations = vec![
        Operation::Add(draft("Check \"units\".")),
        Operation::Modify { id: ids[0], draft: draft("Check two small cases first.") },
        Operation::Merge { ids: ids.clone(), draft: None },
        Operation::Merge { ids: ids.clone(), draft: Some(draft("Both.")) },
        Operation::Delete { id: ids[1] },
        Operation::Keep,
    ];
    let contribution = |operations| {
        let submitter = "bob".parse().expect("an account");
        Contribution { base: library.state_root(), submitter, operations }
    };
    let sent = [contribution(operations), contribution(Vec::new())];
    sent.iter().map(|contribution| contribution.to_canonical().expect("valid operations")).collect()
}

fn contribution(bytes: &[u8]) -> bool {
    canonical(bytes, Contribution::from_canonical(bytes), |contribution| {
        contribution.to_canonical().expect("what was read can be written")
    })
}

fn priors() -> Vec<Vec<u8>> {
    let dense = Prior::dense(7, vec![Fixed::from_raw(i64::MIN), Fixed::ZERO]).expect("two elements");
    let sparse = Prior::new(u64::MAX, 9, [(2, Fixed::from_raw(5)), (8, Fixed::from_raw(-1))]).expect("two of nine");
    vec![dense.to_bytes(), sparse.to_bytes()]
}

fn prior(bytes: &[u8]) -> bool {
    canonical(bytes, Prior::from_bytes(bytes), Prior::to_bytes)
}

fn replies() -> Vec<Vec<u8>> {
    let list = r#"[{"option": "add", "experience": "Check units."}, {"option": "merge", "experience": "Both.", "merged_from": ["G0", "[G1]."]},
        {"operation": "UPDATE", "id": "G0", "content": "Again."}, {"option": "delete", "delete_id": "G1"}, {"option": "keep"}]"#;
    vec![list.into(), format!("Reasons.\n```json\n{list}\n```\nDone.").into_bytes()]
}

/// Every element is an operation or a rejection, once and in order, and the library takes what there is.
fn reply(bytes: &[u8]) -> bool {
    let Ok(text) = core::str::from_utf8(bytes) else { return false };
    let library = library();
    let Ok(parsed) = parse_operations(text, &Aliases::new(&library)) else { return false };
    let mut places: Vec<usize> = parsed.operations.iter().map(|(index, _)| *index).collect();
    places.extend(parsed.rejected.iter().map(|rejection| rejection.index));
    places.sort_unstable();
    assert!(places.iter().copied().eq(0..places.len()), "an element was lost");
    let limited = parsed.clone().limit(3);
    assert_eq!(limited.operations.len() + limited.rejected.len(), places.len());
    true
}

fn trainings() -> Vec<Vec<u8>> {
    let mut library = library();
    let mut course = TrainingFreeGrpo::new(TrainingConfig::new(3).expect("three questions"), &library);
    let start = course.state().to_bytes();
    course.scored(&mut library, &Stamp::new(6, "alice"), Some(500_000)).expect("a first score");
    vec![start, course.state().to_bytes()]
}

fn training(bytes: &[u8]) -> bool {
    canonical(bytes, TrainingState::from_bytes(bytes), TrainingState::to_bytes)
}

fn transcripts() -> Vec<Vec<u8>> {
    let model = ScriptedLlm::new().then("one \"quoted\"").then("two\n").rule(Stage::Extract, "", "[]");
    let mut recorded = Recorded::new(model, Transcript::new());
    let group = Group::new("q", [Rollout::new("a").reward(0.0), Rollout::new("a").reward(1.0)]);
    let author = Author::new("math".parse().expect("a domain"), "alice", 6);
    let mut round = Round::new(&library(), &[group], RoundConfig::new(author)).expect("two attempts");
    round.run(&mut recorded).expect("the script answers");
    vec![recorded.transcript().to_bytes(), Vec::new()]
}

fn transcript(bytes: &[u8]) -> bool {
    canonical(bytes, Transcript::from_bytes(bytes), Transcript::to_bytes)
}
