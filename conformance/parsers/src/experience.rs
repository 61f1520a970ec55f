//! Contents, log entries, checkpoints and proofs of the library of experience.

use hanzo_experience::merkle::{Checkpoint, ConsistencyProof, Hash, InclusionProof, Log, SignedCheckpoint, leaf_hash};
use hanzo_experience::{
    Content, Domain, Draft, Entry, ExperienceId, Library, LibraryConfig, Mode, Operation, Stamp, Text,
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
