//! Every kind of bad input has its own error, and forgeries do not pass.

use hanzo_experience::merkle::{
    Checkpoint, ConsistencyProof, Hash, InclusionProof, Log, Origin, SignedCheckpoint, leaf_hash, node_hash,
    verify_consistency, verify_inclusion,
};
use hanzo_experience::signature::{self, Keypair, SignatureEncoding, Signer};
use hanzo_experience::{
    Content, Dedup, Domain, Draft, EmbedError, Entry, Error, Example, ExperienceId, FnEmbedder, Library, LibraryConfig,
    Mode, Operation, Outcome, Quality, Search, SkipReason, Stamp, Text, VectorIndex, Vote,
};
use ml_dsa::{MlDsa44, Signature, SigningKey};

fn draft(text: &str) -> Draft {
    Draft::new(Text::new(text).unwrap(), "math".parse().unwrap(), "alice", 1_000)
}

fn library() -> Library {
    let config = LibraryConfig::new("example.com/test".parse().unwrap()).dedup(None).encoder("toy", 2);
    Library::new(config).unwrap()
}

fn stamp(at: u64) -> Stamp {
    Stamp::new(at, "alice")
}

/// Adds texts without vectors and returns their ids.
fn add(library: &mut Library, at: u64, texts: &[&str]) -> Vec<ExperienceId> {
    let operations: Vec<Operation> = texts.iter().map(|text| Operation::Add(draft(text))).collect();
    let applied = library.apply(&stamp(at), Mode::Atomic, &operations).unwrap();
    let ids = applied.outcomes.iter().map(|outcome| match outcome {
        Outcome::Added { id } => *id,
        other => panic!("{other:?}"),
    });
    ids.collect()
}

fn leaves(n: u8) -> Vec<Hash> {
    (0..n).map(|byte| leaf_hash(&[byte])).collect()
}

#[test]
fn members_of_a_content_have_bounds() {
    let out_of_range = |field| Err(Error::OutOfRange { field });
    let new = |draft: Draft| Content::new(draft, vec![]).map(|_| ());
    let over = |change: fn(&mut Draft)| {
        let mut draft = draft("a");
        change(&mut draft);
        new(draft)
    };
    assert_eq!(over(|d| d.confidence_ppm = 1_000_001), out_of_range("confidence_ppm"));
    assert_eq!(over(|d| d.created_at = 253_402_300_800), out_of_range("created_at"));
    assert_eq!(over(|d| d.created_by = String::new()), out_of_range("created_by"));
    assert_eq!(over(|d| d.created_by = "a b".into()), Err(Error::ForbiddenChar { ch: ' ' }));
    assert_eq!(over(|d| d.created_by = "é".into()), Err(Error::ForbiddenChar { ch: 'é' }));
    assert_eq!(over(|d| d.model = "\u{7f}".into()), Err(Error::ForbiddenChar { ch: '\u{7f}' }));
    assert_eq!(over(|d| d.model = "m".repeat(129)), Err(Error::TooManyBytes { got: 129, max: 128 }));
    assert_eq!(over(|d| d.examples = vec![Example::default(); 9]), out_of_range("examples"));
    assert_eq!(new(draft("a").example("\r", "")), Err(Error::ForbiddenChar { ch: '\r' }));
    assert_eq!(new(draft("a").example("", "\u{9f}")), Err(Error::ForbiddenChar { ch: '\u{9f}' }));
    assert_eq!(new(draft("a").example("x".repeat(1025), "")), Err(Error::TooManyBytes { got: 1025, max: 1024 }));
    assert_eq!(new(draft("a").example("\t\n", "x".repeat(1024))), Ok(()));

    let id = |byte| ExperienceId::from_bytes([byte; 32]);
    for parents in [vec![id(1), id(1)], vec![id(2), id(1)], (0..17).map(id).collect()] {
        assert_eq!(Content::new(draft("a"), parents).map(|_| ()), out_of_range("parents"));
    }
    assert!(Content::new(draft("a"), (0..16).map(id).collect()).is_ok());
    assert!("a.B".parse::<Domain>().is_err());
}

#[test]
fn json_is_strict() {
    let good = String::from_utf8(Content::new(draft("a"), vec![]).unwrap().to_canonical()).unwrap();
    let with = |from: &str, to: &str| {
        assert!(good.contains(from), "{from}");
        Content::from_canonical(good.replacen(from, to, 1).as_bytes())
    };
    assert!(Content::from_canonical(good.as_bytes()).is_ok());
    assert_eq!(with(r#""v":1"#, r#""v":2"#), Err(Error::OutOfRange { field: "v" }));
    assert_eq!(with(r#""v":1"#, r#""v":1,"v":1"#), Err(Error::DuplicateMember { member: "v" }));
    assert_eq!(with(r#","v":1"#, ""), Err(Error::MissingMember { member: "v" }));
    assert_eq!(with(r#""v":1"#, r#""v":1.0"#), Err(Error::NotAnInteger { member: "v" }));
    assert_eq!(
        with(r#""created_at":1000"#, r#""created_at":9007199254740992"#),
        Err(Error::NotAnInteger { member: "created_at" })
    );
    assert_eq!(
        with(r#""created_at":1000"#, r#""created_at":9007199254740991"#),
        Err(Error::OutOfRange { field: "created_at" })
    );
    assert_eq!(with(r#""v":1"#, r#""w":1,"v":1"#), Err(Error::UnknownMember { member: "w".into() }));
    assert_eq!(
        with(r#""examples":[]"#, r#""examples":[{"input":"","output":"","input":""}]"#),
        Err(Error::DuplicateMember { member: "input" })
    );
    assert_eq!(
        with(r#""examples":[]"#, r#""examples":[{"input":""}]"#),
        Err(Error::MissingMember { member: "output" })
    );
    assert_eq!(with(r#""parents":[]"#, r#""parents":["exp_0"]"#), Err(Error::MalformedId));
    for (from, to) in [(",", ", "), (r#""text":"a""#, r#""text":"\u0061""#), (r#""model":"""#, r#""model":"\u0021""#)] {
        assert_eq!(with(from, to), Err(Error::NotCanonical), "{to}");
    }
    for broken in [
        "",
        "[]",
        "null",
        &good[..good.len() - 1],
        &format!("{good}x"),
        &good.replace("\"a\"", "\"\\ud800\""),
        &good.replace("\"a\"", "7"),
        &"[".repeat(100_000),
        &format!(r#"{{"examples":{}"#, "[".repeat(100_000)),
    ] {
        assert!(matches!(Content::from_json(broken.as_bytes()), Err(Error::MalformedJson { .. })), "{broken:.60}");
    }
    assert!(Content::from_json(&good.replace("\"a\"", "\"\u{1}\"").into_bytes()).is_err());
    let mut invalid = good.clone().into_bytes();
    let at = good.find("\"a\"").unwrap() + 1;
    invalid[at] = 0xff;
    assert!(matches!(Content::from_json(&invalid), Err(Error::MalformedJson { .. })));
    assert_eq!(Content::from_canonical(format!("{good}\n").as_bytes()), Err(Error::NotCanonical));
}

#[test]
fn entries_are_strict() {
    let mut library = library();
    add(&mut library, 5, &["a"]);
    let good = String::from_utf8(library.entries()[0].to_canonical()).unwrap();
    let with = |from: &str, to: &str| {
        assert!(good.contains(from), "{from} not in {good}");
        Entry::from_canonical(good.replacen(from, to, 1).as_bytes())
    };
    assert_eq!(Entry::from_canonical(good.as_bytes()).as_ref(), Ok(&library.entries()[0]));
    assert_eq!(with(r#""kind":"add""#, r#""kind":"Add""#), Err(Error::OutOfRange { field: "kind" }));
    assert_eq!(with("hanzo.experience.entry", "hanzo.experience.other"), Err(Error::OutOfRange { field: "t" }));
    assert_eq!(with(r#""v":1"#, r#""v":0"#), Err(Error::OutOfRange { field: "v" }));
    assert_eq!(with(r#""state_size":1"#, r#""state_size":0"#), Err(Error::RootMismatch));
    assert_eq!(with(r#""by":"alice""#, r#""by":"""#), Err(Error::OutOfRange { field: "by" }));
    assert_eq!(with(r#""ref":"""#, r#""ref":" ""#), Err(Error::ForbiddenChar { ch: ' ' }));
    assert!(with(r#""at":5"#, r#""at":05"#).is_err());
    assert_eq!(with(r#""at":5"#, r#""at": 5"#), Err(Error::NotCanonical));
}

/// Forgeries that peers' verifiers accept; `forgeries.rs` shows which.
#[test]
fn forged_inclusion_proofs_are_refused() {
    let leaves = leaves(4);
    let log = Log::from_leaves(leaves.clone());
    let root = log.root();
    let honest = log.prove_inclusion(0, 4).unwrap();
    let verify = |index, size, leaf: &Hash, hashes: &[Hash]| {
        verify_inclusion(index, size, leaf, &InclusionProof::new(hashes.to_vec()).unwrap(), &root)
    };
    assert_eq!(verify(0, 4, &leaves[0], honest.hashes()), Ok(()));

    let trailing = [honest.hashes(), &[leaf_hash(b"junk")]].concat();
    assert_eq!(verify(0, 4, &leaves[0], &trailing), Err(Error::ProofLength { got: 3, want: 2 }));
    let missing = &honest.hashes()[..1];
    assert_eq!(verify(0, 4, &leaves[0], missing), Err(Error::ProofLength { got: 1, want: 2 }));
    for index in 4..16 {
        let expected = Err(Error::IndexOutOfRange { index, size: 4 });
        assert_eq!(verify(index, 4, &leaves[0], honest.hashes()), expected);
        assert!(verify(index, 2, &leaves[0], honest.hashes()).is_err());
    }
    assert!(verify(u64::MAX, u64::MAX, &leaves[0], honest.hashes()).is_err());
    assert!(verify(0, 0, &leaves[0], &[]).is_err());
    // An inner node offered as a leaf, under the true size and under the size where it would fit.
    let inner = node_hash(&leaves[0], &leaves[1]);
    assert!(verify(0, 4, &inner, &honest.hashes()[1..]).is_err());
    let checkpoint = log.checkpoint(&"o".parse().unwrap());
    let shorter = InclusionProof::new(honest.hashes()[1..].to_vec()).unwrap();
    assert!(checkpoint.verify_inclusion(0, &inner, &shorter).is_err());
    // Data made of two hashes is no node: leaves and nodes are hashed apart.
    let posing = leaf_hash(&[leaves[0].as_bytes().as_slice(), leaves[1].as_bytes()].concat());
    assert_ne!(posing, inner);
}

#[test]
fn proof_bytes_are_whole_hashes() {
    for bytes in [1, 31, 33, 65] {
        let want = bytes / 32 * 32;
        let expected = Error::ProofLength { got: bytes, want };
        assert_eq!(InclusionProof::from_bytes(&vec![0; bytes as usize]), Err(expected));
    }
    assert!(InclusionProof::from_bytes(&[0; 64 * 32]).is_ok());
    assert_eq!(InclusionProof::from_bytes(&[0; 65 * 32]), Err(Error::ProofLength { got: 65, want: 64 }));
    assert!(ConsistencyProof::from_bytes(&[0; 65 * 32]).is_ok());
    assert!(ConsistencyProof::from_bytes(&[0; 66 * 32]).is_err());
}

#[test]
fn consistency_needs_an_old_tree_and_order() {
    let log = Log::from_leaves(leaves(6));
    let (root, old) = (log.root(), log.root_at(4).unwrap());
    let none = ConsistencyProof::new(vec![]).unwrap();
    assert_eq!(verify_consistency(0, &old, 6, &root, &none), Err(Error::EmptyOldTree));
    assert_eq!(verify_consistency(0, &root, 0, &root, &none), Err(Error::EmptyOldTree));
    assert_eq!(verify_consistency(6, &root, 4, &old, &none), Err(Error::SizeOrder { old: 6, new: 4 }));
    assert_eq!(verify_consistency(6, &root, 6, &old, &none), Err(Error::RootMismatch));
    assert_eq!(verify_consistency(6, &root, 6, &root, &none), Ok(()));
    let surplus = ConsistencyProof::new(vec![root]).unwrap();
    let expected = Err(Error::ProofLength { got: 1, want: 0 });
    assert_eq!(verify_consistency(6, &root, 6, &root, &surplus), expected);
    // Greatest sizes: no overflow, and the longest proof there is.
    let long = ConsistencyProof::new(vec![root; 65]).unwrap();
    assert_eq!(verify_consistency(3, &old, u64::MAX, &root, &long), Err(Error::RootMismatch));
    assert!(verify_consistency(u64::MAX - 1, &old, u64::MAX, &root, &none).is_err());
    assert!(verify_consistency(1 << 63, &old, u64::MAX, &root, &none).is_err());
    let long = InclusionProof::new(vec![root; 64]).unwrap();
    assert_eq!(verify_inclusion(0, u64::MAX, &old, &long, &root), Err(Error::RootMismatch));
}

#[test]
fn checkpoint_text_is_strict() {
    let good = "example.com/log\n2\n47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=\n";
    assert_eq!(good.parse::<Checkpoint>().unwrap().to_string(), good);
    for (from, to, line) in [
        ("\n2", "\r\n2", 1),
        ("example", "exa mple", 1),
        ("example", "exa+mple", 1),
        ("example", "exa\u{a0}mple", 1),
        ("example", "exa\u{1}mple", 1),
        ("example.com/log", "", 1),
        ("\n2\n", "\n02\n", 2),
        ("\n2\n", "\n+2\n", 2),
        ("\n2\n", "\n-2\n", 2),
        ("\n2\n", "\n 2\n", 2),
        ("\n2\n", "\n2\r\n", 2),
        ("\n2\n", "\n18446744073709551616\n", 2),
        ("\n2\n", "\n\n", 2),
        ("FU=", "FU", 3),
        ("FU=", "FV=", 3), // the same bytes, with stray bits at the end
        ("FU=", "F=", 3),
        ("+/", "-_", 3),
        ("=\n", "=\r\n", 3),
        ("47DEQpj8", "", 3),
        ("47DEQpj8", "47DEQpj847DEQpj8", 3),
        ("=\n", "=", 4),
        ("=\n", "=\n\n", 4),
        ("=\n", "=\nextension\n", 4),
    ] {
        assert!(good.contains(from));
        let got = good.replacen(from, to, 1).parse::<Checkpoint>();
        assert_eq!(got, Err(Error::MalformedCheckpoint { line }), "{from:?} -> {to:?}");
    }
    // Size 0 has one root only.
    let zero = good.replacen("\n2\n", "\n0\n", 1);
    assert!(zero.parse::<Checkpoint>().is_ok());
    assert!(zero.replacen("47", "57", 1).parse::<Checkpoint>().is_err());
    let long = "o".repeat(256);
    assert_eq!(long.parse::<Origin>(), Err(Error::TooManyBytes { got: 256, max: 255 }));
    assert!(long[1..].parse::<Origin>().is_ok());
}

#[test]
fn forks_and_foreign_logs_are_seen() {
    let origin: Origin = "example.com/log".parse().unwrap();
    let (mut ours, mut theirs) = (Log::from_leaves(leaves(5)), Log::from_leaves(leaves(5)));
    let old = ours.checkpoint(&origin);
    ours.append_data(b"ours");
    theirs.append_data(b"theirs");
    let (left, right) = (ours.checkpoint(&origin), theirs.checkpoint(&origin));
    let proof = ours.prove_consistency(6, 6).unwrap();
    assert_eq!(left.verify_extends(&right, &proof), Err(Error::Fork { size: 6 }));
    let other = ours.checkpoint(&"example.com/other".parse().unwrap());
    let proof = ours.prove_consistency(5, 6).unwrap();
    assert_eq!(other.verify_extends(&old, &proof), Err(Error::WrongOrigin));
    assert_eq!(left.verify_extends(&old, &proof), Ok(()));
    assert_eq!(right.verify_extends(&old, &proof), Err(Error::RootMismatch));
    // A rewritten past does not extend what was shown.
    let mut rewritten = leaves(6);
    rewritten[2] = leaf_hash(b"rewritten");
    let rewritten = Log::from_leaves(rewritten);
    let proof = rewritten.prove_consistency(5, 6).unwrap();
    assert_eq!(rewritten.checkpoint(&origin).verify_extends(&old, &proof), Err(Error::RootMismatch));
}

#[test]
fn signatures_bind_body_name_and_key() {
    let origin: Origin = "example.com/log".parse().unwrap();
    let key = |seed: u8| SigningKey::<MlDsa44>::from_seed(&[seed; 32].into());
    let (ours, theirs) = (key(1), key(2));
    let mut signed = SignedCheckpoint::new(Log::from_leaves(leaves(3)).checkpoint(&origin));
    signed.sign::<Signature<MlDsa44>, _>(&origin, 7, &ours).unwrap();
    signed.sign::<Signature<MlDsa44>, _>(&"witness".parse().unwrap(), 8, &theirs).unwrap();
    let note = signed.to_string();
    let read: SignedCheckpoint = note.parse().unwrap();
    assert_eq!(read, signed);

    let verify = |read: &SignedCheckpoint, name: &str, id, key: &SigningKey<MlDsa44>| {
        let name = name.parse().unwrap();
        read.verify::<Signature<MlDsa44>, _>(&name, id, &key.verifying_key()).map(Checkpoint::size)
    };
    assert_eq!(verify(&read, "example.com/log", 7, &ours), Ok(3));
    assert_eq!(verify(&read, "witness", 8, &theirs), Ok(3));
    assert_eq!(verify(&read, "example.com/log", 7, &theirs), Err(Error::BadSignature { key_id: 7 }));
    assert_eq!(verify(&read, "example.com/log", 8, &theirs), Err(Error::UnknownSigner { key_id: 8 }));
    assert_eq!(verify(&read, "witness", 7, &ours), Err(Error::UnknownSigner { key_id: 7 }));

    let resized = note.replacen("\n3\n", "\n4\n", 1).parse().unwrap();
    assert_eq!(verify(&resized, "example.com/log", 7, &ours), Err(Error::BadSignature { key_id: 7 }));
    // A line copied under the same name and id must verify as well.
    let doubled = format!("{note}\u{2014} example.com/log AAAABwAA\n").parse().unwrap();
    assert_eq!(verify(&doubled, "example.com/log", 7, &ours), Err(Error::BadSignature { key_id: 7 }));

    let body = signed.unverified().to_string();
    for bad in [
        body.clone(),
        format!("{body}\n"),
        note.trim_end().to_owned(),
        format!("{note}\n"),
        note.replacen('\u{2014}', "-", 1),
        format!("{body}\n\u{2014} example.com/log\n"),
        format!("{body}\n\u{2014}  AAAABwAA\n"),
        format!("{body}\n\u{2014} a+b AAAABwAA\n"),
        format!("{body}\n\u{2014} a AAAABw==\n"), // key id and no signature
        format!("{body}\n\u{2014} a AAAABwAB=\n"),
        format!("{body}\n\u{2014} a AAAABwA\n"),
    ] {
        assert!(matches!(bad.parse::<SignedCheckpoint>(), Err(Error::MalformedNote { .. })), "{bad}");
    }
    let line = "\u{2014} a AAAABwAA\n";
    assert!(format!("{body}\n{}", line.repeat(100)).parse::<SignedCheckpoint>().is_ok());
    let most = format!("{body}\n{}", line.repeat(101)).parse::<SignedCheckpoint>();
    assert_eq!(most, Err(Error::MalformedNote { line: 105 }));
}

/// A signer that has lost its key.
struct Broken;

#[derive(Clone)]
struct NoSignature;

impl TryFrom<&[u8]> for NoSignature {
    type Error = signature::Error;

    fn try_from(_: &[u8]) -> Result<Self, signature::Error> {
        Ok(Self)
    }
}

impl From<NoSignature> for [u8; 0] {
    fn from(_: NoSignature) -> Self {
        []
    }
}

impl SignatureEncoding for NoSignature {
    type Repr = [u8; 0];
}

impl Signer<NoSignature> for Broken {
    fn try_sign(&self, message: &[u8]) -> Result<NoSignature, signature::Error> {
        if message.len() > 60 { Ok(NoSignature) } else { Err(signature::Error::new()) }
    }
}

#[test]
fn failing_signers_leave_no_line() {
    for origin in ["o", "a.long.origin.for.a.long.body"] {
        let origin: Origin = origin.parse().unwrap();
        let mut signed = SignedCheckpoint::new(Log::new().checkpoint(&origin));
        assert_eq!(signed.sign::<NoSignature, _>(&origin, 1, &Broken), Err(Error::SigningFailed));
        assert!(signed.signatures().is_empty());
    }
}

#[test]
fn vectors_are_checked() {
    let id = ExperienceId::from_bytes([1; 32]);
    let mut index = VectorIndex::new("toy", 3).unwrap();
    assert_eq!(index.insert(id, &[1.0; 2]), Err(Error::DimensionMismatch { got: 2, want: 3 }));
    assert_eq!(index.insert(id, &[1.0, f32::INFINITY, 0.0]), Err(Error::NonFinite { index: 1 }));
    assert_eq!(index.insert(id, &[0.0; 3]), Err(Error::ZeroNorm));
    assert!(index.is_empty());
    index.insert(id, &[1.0; 3]).unwrap();
    assert_eq!(index.search(&[f32::NAN; 3], &Search::new(1)), Err(Error::NonFinite { index: 0 }));
    for floor in [f32::NAN, f32::INFINITY] {
        let search = Search::new(1).min_similarity(floor);
        assert_eq!(index.search(&[1.0; 3], &search), Err(Error::OutOfRange { field: "min_similarity" }));
    }
    assert_eq!(index.search(&[1.0; 3], &Search::new(0)), Ok(vec![]));
    assert_eq!(index.search(&[1.0; 3], &Search::new(usize::MAX)).unwrap().len(), 1);
    assert_eq!(index.search(&[-1.0; 3], &Search::new(5).min_similarity(0.0)), Ok(vec![]));
    for dimension in [0, 65_537, usize::MAX] {
        assert_eq!(VectorIndex::new("toy", dimension), Err(Error::OutOfRange { field: "dimension" }));
    }

    let mut library = library();
    let ids = add(&mut library, 1, &["a", "b"]);
    let before = library.clone();
    let other = FnEmbedder::new("other", |_: &str| Ok::<_, ()>(vec![1.0, 0.0]));
    assert_eq!(library.embed_missing(&other), Err(EmbedError::Refused(Error::EncoderMismatch)));
    let search = Search::new(1);
    assert_eq!(library.retrieve_text(&other, "a", &search), Err(EmbedError::Refused(Error::EncoderMismatch)));
    // The second text fails: the first must not have got its vector.
    let calls = std::cell::Cell::new(0);
    let failing = FnEmbedder::new("toy", |_: &str| {
        calls.set(calls.get() + 1);
        if calls.get() < 2 { Ok(vec![1.0, 0.0]) } else { Err("down") }
    });
    assert_eq!(library.embed_missing(&failing), Err(EmbedError::Embedder("down")));
    assert_eq!(library, before);
    let good = FnEmbedder::new("toy", |text: &str| Ok::<_, ()>(vec![f32::from(text.as_bytes()[0]), 90.0]));
    assert_eq!(library.embed_missing(&good), Ok(2));
    assert_eq!(library.embed_missing(&good), Ok(0));
    assert_eq!(library.retrieve_text(&good, "b", &search).unwrap()[0].id, ids[1]);
    assert_eq!(library.set_vector(&ids[0], &[0.0; 2]), Err(Error::ZeroNorm));

    let mut plain = Library::new(LibraryConfig::new("o".parse().unwrap())).unwrap();
    assert_eq!(plain.retrieve(&[1.0], &search), Err(Error::EncoderMismatch));
    let operation = Operation::Add(draft("a").vector(vec![1.0]));
    assert_eq!(plain.apply(&stamp(1), Mode::Atomic, &[operation]), Err(Error::EncoderMismatch));
}

#[test]
fn refused_operations_change_nothing() {
    let mut library = library();
    let ids = add(&mut library, 100, &["a", "b"]);
    let stranger = ExperienceId::from_bytes([9; 32]);
    let web = Draft::new(Text::new("c").unwrap(), "web".parse().unwrap(), "alice", 1_000);
    let outcome = library.apply(&stamp(100), Mode::Atomic, &[Operation::Add(web)]).unwrap().outcomes;
    let [Outcome::Added { id: foreign }] = outcome[..] else { panic!("{outcome:?}") };
    let before = library.clone();

    let unknown = Err(Error::UnknownId { id: stranger });
    let merge = |ids: &[ExperienceId]| Operation::Merge { ids: ids.to_vec(), draft: None };
    let cases = [
        (Operation::Delete { id: stranger }, unknown.clone()),
        (Operation::Modify { id: stranger, draft: draft("x") }, unknown.clone()),
        (merge(&[ids[0], stranger]), unknown.clone()),
        (merge(&[]), Err(Error::MergeTooSmall { got: 0 })),
        (merge(&[ids[0], ids[0]]), Err(Error::MergeTooSmall { got: 1 })),
        (merge(&[ids[0], foreign]), Err(Error::DomainMismatch)),
        (Operation::Add(draft("x").confidence_ppm(1_000_001)), Err(Error::OutOfRange { field: "confidence_ppm" })),
        (Operation::Add(draft("x").vector(vec![1.0])), Err(Error::DimensionMismatch { got: 1, want: 2 })),
        (Operation::Modify { id: ids[0], draft: draft("x").vector(vec![0.0; 2]) }, Err(Error::ZeroNorm)),
    ];
    for (operation, expected) in cases {
        let batch = [Operation::Add(draft("good")), operation, Operation::Delete { id: ids[1] }];
        assert_eq!(library.apply(&stamp(200), Mode::Atomic, &batch).map(|_| ()), expected);
        assert_eq!(library, before);

        let mut lenient = library.clone();
        let applied = lenient.apply(&stamp(200), Mode::Lenient, &batch).unwrap();
        let rejected: Vec<_> = applied.rejected().map(|(index, error)| (index, error.clone())).collect();
        assert_eq!(rejected, [(1, expected.unwrap_err())]);
        assert_eq!((applied.added.len(), &applied.removed[..]), (1, &ids[1..]));
    }

    let nothing = [Operation::Keep];
    let batch = |stamp: &Stamp| before.clone().apply(stamp, Mode::Lenient, &nothing).map(|applied| applied.entries);
    assert_eq!(batch(&stamp(100)), Ok(vec![]));
    assert_eq!(batch(&stamp(99)), Err(Error::OutOfRange { field: "at" }));
    assert_eq!(batch(&stamp(u64::MAX)), Err(Error::OutOfRange { field: "at" }));
    assert_eq!(batch(&Stamp::new(100, "")), Err(Error::OutOfRange { field: "by" }));
    assert_eq!(batch(&stamp(100).reference("a b")), Err(Error::ForbiddenChar { ch: ' ' }));

    let root = hanzo_experience::merkle::StateRoot::new(1, leaf_hash(b"never")).unwrap();
    assert_eq!(library.restore(&stamp(200), &root).map(|_| ()), Err(Error::UnknownState { root: *root.root() }));
    assert_eq!(library.record_use(&stranger, 1), unknown);
    assert_eq!(library.record_use(&ids[0], u64::MAX), Err(Error::Overflow));
    assert_eq!(library.record_vote(&stranger, "v", Vote::Up), unknown);
    assert_eq!(library.record_vote(&ids[0], "", Vote::Up), Err(Error::OutOfRange { field: "voter" }));
    assert_eq!(library.set_vector(&stranger, &[1.0, 0.0]), unknown);
    assert_eq!(library.quality(&stranger), Err(Error::UnknownId { id: stranger }));
    assert_eq!(library, before);

    let config = LibraryConfig::new("o".parse().unwrap());
    assert_eq!(Library::new(config.clone().capacity(0)), Err(Error::OutOfRange { field: "capacity" }));
    assert_eq!(Library::new(config.encoder("e", 0)), Err(Error::OutOfRange { field: "dimension" }));
    assert!(Quality::new(0, 0, 0).is_err() && Dedup::new(0, 0.0).is_err());
}

#[test]
fn one_target_goes_to_one_operation() {
    let mut library = library();
    let ids = add(&mut library, 1, &["a", "b", "c", "d"]);
    let modify = |id, text| Operation::Modify { id, draft: draft(text) };
    let batch = [
        modify(ids[0], "a2"),
        Operation::Merge { ids: vec![ids[0], ids[1]], draft: None },
        Operation::Merge { ids: vec![ids[2], ids[3]], draft: None },
        modify(ids[1], "b2"),
        Operation::Delete { id: ids[3] },
        modify(ids[2], "c2"),
        modify(ids[2], "c3"),
        Operation::Delete { id: ids[3] },
    ];
    let applied = library.apply(&stamp(2), Mode::Atomic, &batch).unwrap();
    let superseded: Vec<_> = applied.skipped().collect();
    let by = |by| SkipReason::Superseded { by };
    assert_eq!(superseded, [(0, by(1)), (2, by(4)), (3, by(1)), (6, by(5)), (7, by(4))]);
    let kinds: Vec<&str> = library.entries()[1..].iter().map(|entry| entry.kind().as_str()).collect();
    assert_eq!(kinds, ["delete", "merge", "modify"]);
    assert_eq!(applied.entries, [1, 2, 3]);
    assert_eq!(library.len(), 2);
}
