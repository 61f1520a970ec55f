//! Federated rounds: contributions, how they travel, and what they come to.

use crate::support::lessons::{config, draft, with};
use hanzo_experience::grpo::{Contribution, FederatedRound, ScriptedLlm, Stage};
use hanzo_experience::merkle::{Hash, StateRoot};
use hanzo_experience::{Draft, Error, Example, ExperienceId, Library, Operation, Outcome, SkipReason, Stamp, Text};
use proptest::prelude::*;
use sha2::{Digest, Sha256};

fn contribution(library: &Library, who: &str, operations: Vec<Operation>) -> Contribution {
    Contribution { base: library.state_root(), submitter: who.parse().unwrap(), operations }
}

/// Contributions in any order make the same state, with a model and without; each is bound to its base.
#[test]
fn federated_rounds() {
    let library = with(&["when counting, try small cases first", "when stuck, draw a picture"]);
    let ids: Vec<ExperienceId> = library.iter().map(|(id, _)| *id).collect();
    let contributions = [
        contribution(&library, "bob", vec![Operation::Delete { id: ids[0] }, Operation::Keep]),
        contribution(
            &library,
            "alice",
            vec![Operation::Modify { id: ids[0], draft: draft("when counting, find a bijection") }],
        ),
        contribution(&library, "dave", vec![Operation::Add(draft("when done, test the extremes"))]),
        contribution(
            &library,
            "carol",
            vec![Operation::Add(draft("when done test the extremes")), Operation::Delete { id: ids[0] }],
        ),
    ];
    let mut ends = Vec::new();
    for rotation in 0..4 {
        let mut round = FederatedRound::new(&library, 2);
        let mut order = contributions.to_vec();
        order.rotate_left(rotation);
        for contribution in order {
            round.submit(contribution).unwrap();
        }
        let mut next = library.clone();
        let finished = round.without_model();
        // The second delete is the same as the first.
        assert_eq!(finished.operations.len(), 4);
        let applied = finished.apply(&mut next, &Stamp::new(9, "coordinator")).unwrap();
        // Sorted by submitter: alice's modification, bob's delete, carol's and dave's addition.
        assert_eq!(applied.outcomes[0], Outcome::Skipped(SkipReason::Superseded { by: 1 }));
        assert!(matches!(applied.outcomes[3], Outcome::Merged { .. }));
        let mut by_model = round.with_model(&library, config()).unwrap();
        let prompt = by_model.requests().remove(0).prompt;
        assert_eq!(prompt.stage, Stage::Consolidate);
        by_model.run(&mut ScriptedLlm::new().then(r#"[{"option": "delete", "delete_id": "G0"}]"#)).unwrap();
        assert_eq!(by_model.finish().unwrap().operations, [Operation::Delete { id: ids[0] }]);
        ends.push((next.checkpoint(), prompt));
        assert!(round.with_model(&next, config()).is_err());
    }
    assert!(ends.windows(2).all(|pair| pair[0] == pair[1]));

    let mut round = FederatedRound::new(&library, 2);
    let other = with(&["else"]);
    let stale = contribution(&other, "eve", vec![]);
    assert_eq!(round.submit(stale), Err(Error::StaleBase));
    let many = contribution(&library, "eve", vec![Operation::Keep; 3]);
    assert_eq!(round.submit(many), Err(Error::OutOfRange { field: "operations" }));
    let unknown = other.iter().next().map(|(id, _)| *id).unwrap();
    let foreign = contribution(&library, "eve", vec![Operation::Delete { id: unknown }]);
    assert_eq!(round.submit(foreign), Err(Error::UnknownId { id: unknown }));
    let small = contribution(&library, "eve", vec![Operation::Merge { ids: vec![ids[0]; 2], draft: None }]);
    assert_eq!(round.submit(small), Err(Error::MergeTooSmall { got: 1 }));
    let mut bad = draft("fine");
    bad.confidence_ppm = 1_000_001;
    assert!(round.submit(contribution(&library, "eve", vec![Operation::Add(bad)])).is_err());
    assert_eq!(round.submitters().count(), 0);
    round.submit(contribution(&library, "eve", vec![])).unwrap();
    assert_eq!(round.submit(contribution(&library, "eve", vec![])), Err(Error::DuplicateSubmitter));
    // Nothing to consolidate costs no call.
    assert!(round.with_model(&library, config()).unwrap().is_done());
}

fn id(byte: u8) -> ExperienceId {
    ExperienceId::from_bytes([byte; 32])
}

/// One operation of each kind, with what a draft can hold.
fn every_kind() -> Contribution {
    let full =
        draft("when counting, try \"small\" cases").confidence_ppm(1_000_000).model("toy-1").example("1 + 1", "2\n");
    let operations = vec![
        Operation::Add(full),
        Operation::Modify { id: id(3), draft: draft("when stuck, draw a picture \u{e9}") },
        Operation::Merge { ids: vec![id(1), id(9)], draft: None },
        Operation::Merge { ids: vec![id(2), id(5), id(8)], draft: Some(draft("both")) },
        Operation::Delete { id: id(7) },
        Operation::Keep,
    ];
    let base = StateRoot::new(12, Hash::from([0xab; 32])).unwrap();
    Contribution { base, submitter: "alice".parse().unwrap(), operations }
}

/// The bytes are pinned: another version of this crate must read and sign the same.
#[test]
fn the_wire_form_is_pinned() {
    let contribution = every_kind();
    let bytes = contribution.to_canonical().unwrap();
    let digest = hex::encode(Sha256::digest(&bytes));
    let json = String::from_utf8(bytes.clone()).unwrap();
    assert!(json.starts_with(&format!(
        r#"{{"base":"{}","base_size":12,"operations":[{{"draft":{{"confidence_ppm":1000000,"#,
        "ab".repeat(32)
    )));
    let keep =
        r#"{"draft":null,"op":"keep","targets":[]}],"submitter":"alice","t":"hanzo.experience.contribution","v":1}"#;
    assert!(json.ends_with(keep), "{json}");
    assert_eq!(digest, "4963606c68a5916d288068caa9aaa7865a2759446b431deaf97299c9f577d8a6", "{json}");
    // RFC 8785, by another's writer.
    let value: serde_json::Value = serde_json::from_slice(&bytes).unwrap();
    assert_eq!(serde_json_canonicalizer::to_vec(&value).unwrap(), bytes);
    assert_eq!(Contribution::from_canonical(&bytes), Ok(contribution));
}

/// What was sent is what a coordinator consolidates; vectors and the order of merged ids do not travel.
#[test]
fn contributions_travel() {
    let library = with(&["when counting, try small cases first", "when stuck, draw a picture"]);
    let ids: Vec<ExperienceId> = library.iter().map(|(id, _)| *id).collect();
    let operations = vec![
        Operation::Merge { ids: vec![ids[1], ids[0], ids[1]], draft: None },
        Operation::Add(draft("when done, test the extremes").vector(vec![1.0, 0.0])),
    ];
    let sent = contribution(&library, "alice", operations);
    let bytes = sent.to_canonical().unwrap();
    let received = Contribution::from_canonical(&bytes).unwrap();
    assert_eq!(received.operations[0], Operation::Merge { ids: ids.clone(), draft: None });
    assert_eq!(received.operations[1].draft().unwrap().vector, None);
    assert_eq!(received.to_canonical().unwrap(), bytes);

    let end = |contribution: &Contribution| {
        let mut round = FederatedRound::new(&library, 2);
        round.submit(contribution.clone()).unwrap();
        let mut next = library.clone();
        round.without_model().apply(&mut next, &Stamp::new(9, "coordinator")).unwrap();
        next.state_root()
    };
    let plain = contribution(
        &library,
        "alice",
        vec![
            Operation::Merge { ids: vec![ids[1], ids[0], ids[1]], draft: None },
            Operation::Add(draft("when done, test the extremes")),
        ],
    );
    assert_eq!(end(&received), end(&plain));
}

/// Every other byte form is refused, by the rule that it breaks.
#[test]
fn contributions_are_read_strictly() {
    let json = String::from_utf8(every_kind().to_canonical().unwrap()).unwrap();
    let read = |from: &str, to: &str| {
        assert!(json.contains(from), "{from}");
        Contribution::from_canonical(json.replacen(from, to, 1).as_bytes()).unwrap_err()
    };
    let [one, two, three, nine] = [1, 2, 3, 9].map(|byte| format!("\"{}\"", id(byte)));
    assert_eq!(read(r#""v":1}"#, r#""v":1 }"#), Error::NotCanonical);
    assert_eq!(read(r#""op":"keep""#, r#""op":"\u006beep""#), Error::NotCanonical);
    assert_eq!(read(r#""base_size":12"#, r#""base_size":12.0"#), Error::NotAnInteger { member: "base_size" });
    assert_eq!(
        read(r#""base_size":12"#, r#""base_size":12,"base_size":12"#),
        Error::DuplicateMember { member: "base_size" }
    );
    assert_eq!(read(r#""op":"keep","#, ""), Error::MissingMember { member: "op" });
    assert_eq!(read(r#""op":"keep","#, r#""op":"keep","note":"","#), Error::UnknownMember { member: "note".into() });
    assert_eq!(read("hanzo.experience.contribution", "hanzo.experience.entry"), Error::OutOfRange { field: "t" });
    assert!(json.ends_with(r#""v":1}"#));
    assert_eq!(
        Contribution::from_canonical(format!("{}2}}", json.strip_suffix("1}").unwrap()).as_bytes()),
        Err(Error::OutOfRange { field: "v" })
    );
    assert_eq!(read(r#""op":"keep""#, r#""op":"Keep""#), Error::OutOfRange { field: "op" });
    // Drafts and targets belong to the operation, or not.
    assert_eq!(read(r#""op":"keep""#, r#""op":"add""#), Error::OutOfRange { field: "draft" });
    assert_eq!(read(r#""op":"add""#, r#""op":"delete""#), Error::OutOfRange { field: "draft" });
    assert_eq!(read(r#""op":"add""#, r#""op":"modify""#), Error::OutOfRange { field: "targets" });
    assert_eq!(read(r#""op":"modify""#, r#""op":"add""#), Error::OutOfRange { field: "targets" });
    assert_eq!(read(r#""op":"keep""#, r#""op":"delete""#), Error::OutOfRange { field: "targets" });
    assert_eq!(read(&format!("[{one},{nine}]"), &format!("[{one}]")), Error::MergeTooSmall { got: 1 });
    assert_eq!(read(&format!("[{one},{nine}]"), &format!("[{nine},{one}]")), Error::NotCanonical);
    assert_eq!(read(&format!("[{one},{nine}]"), &format!("[{one},{nine},{nine}]")), Error::NotCanonical);
    let many: Vec<String> = (1..=17).map(|byte| format!("\"{}\"", id(byte))).collect();
    assert_eq!(
        read(&format!("[{one},{nine}]"), &format!("[{}]", many.join(","))),
        Error::OutOfRange { field: "targets" }
    );
    assert_eq!(read(r#""parents":[]"#, &format!(r#""parents":[{two}]"#)), Error::OutOfRange { field: "parents" });
    assert!(matches!(read(&three, "\"exp_03\""), Error::MalformedId));
    // Drafts keep the rules of contents.
    assert_eq!(read("1000000", "1000001"), Error::OutOfRange { field: "confidence_ppm" });
    assert_eq!(read("draw a picture", "draw  a picture"), Error::NotNormalized);
    assert_eq!(read(r#""submitter":"alice""#, r#""submitter":"a b""#), Error::ForbiddenChar { ch: ' ' });
    for cut in 0..json.len() {
        assert!(Contribution::from_canonical(&json.as_bytes()[..cut]).is_err());
    }
    let long = vec![b' '; Contribution::MAX_BYTES + 1];
    let too_many = Error::TooManyBytes { got: long.len(), max: Contribution::MAX_BYTES };
    assert_eq!(Contribution::from_canonical(&long), Err(too_many));
}

/// What no peer would take is not written.
#[test]
fn contributions_are_written_strictly() {
    let write = |operation| Contribution { operations: vec![operation], ..every_kind() }.to_canonical();
    assert_eq!(write(Operation::Merge { ids: vec![id(1); 3], draft: None }), Err(Error::MergeTooSmall { got: 1 }));
    let ids = (0..17).map(id).collect();
    assert_eq!(write(Operation::Merge { ids, draft: None }), Err(Error::OutOfRange { field: "targets" }));
    assert!(write(Operation::Merge { ids: (0..16).map(id).collect(), draft: None }).is_ok());
    assert_eq!(
        write(Operation::Add(Draft::new(Text::new("a").unwrap(), "d".parse().unwrap(), "a b", 1))),
        Err(Error::ForbiddenChar { ch: ' ' })
    );
    let examples = vec![Example { input: "x".repeat(1_024), output: "y".repeat(1_024) }; 8];
    let large = Operation::Add(Draft { examples, ..draft("much") });
    let many = Contribution { operations: vec![large; 300], ..every_kind() };
    assert!(matches!(many.to_canonical(), Err(Error::TooManyBytes { max: Contribution::MAX_BYTES, .. })));
}

fn operations() -> impl Strategy<Value = Operation> {
    let text = "[a-z]{1,8}( [a-z\u{e9}\"\\\\]{1,8}){0,5}";
    let drafts = (text, 0_u32..=1_000_000, prop::collection::vec(("[ -~\n]{0,20}", "\\PC{0,20}"), 0..3)).prop_map(
        |(text, ppm, examples)| {
            let draft = draft(&text).confidence_ppm(ppm);
            examples.into_iter().fold(draft, |draft, (input, output)| draft.example(input, output))
        },
    );
    let ids = prop::collection::btree_set(any::<u8>(), 2..=16).prop_map(|bytes| bytes.into_iter().map(id).collect());
    prop_oneof![
        drafts.clone().prop_map(Operation::Add),
        (any::<u8>(), drafts.clone()).prop_map(|(byte, draft)| Operation::Modify { id: id(byte), draft }),
        (ids, prop::option::of(drafts)).prop_map(|(ids, draft)| Operation::Merge { ids, draft }),
        any::<u8>().prop_map(|byte| Operation::Delete { id: id(byte) }),
        Just(Operation::Keep),
    ]
}

proptest! {
    /// One byte form a contribution, and back; no flipped bit means the same.
    #[test]
    fn wire_forms_come_back(operations in prop::collection::vec(operations(), 0..6), flip in any::<prop::sample::Index>()) {
        let contribution = Contribution { operations, ..every_kind() };
        let mut bytes = contribution.to_canonical().unwrap();
        let read = Contribution::from_canonical(&bytes);
        prop_assert_eq!(read.as_ref(), Ok(&contribution));
        let bit = flip.index(bytes.len() * 8);
        bytes[bit / 8] ^= 1 << (bit % 8);
        if let Ok(other) = Contribution::from_canonical(&bytes) {
            prop_assert_ne!(&other, &contribution);
            prop_assert_eq!(other.to_canonical().unwrap(), bytes);
        }
    }
}
