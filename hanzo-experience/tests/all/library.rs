//! What each operation does to contents, annotations, vectors and log.

use hanzo_experience::{
    Content, Dedup, Draft, EntryKind, ExperienceId, FnEmbedder, Library, LibraryConfig, Mode, Operation, Outcome,
    PrunePolicy, Search, SkipReason, Stamp, Text, Vote,
};

fn draft(text: &str, at: u64) -> Draft {
    Draft::new(Text::new(text).unwrap(), "math".parse().unwrap(), "alice", at)
}

fn config() -> LibraryConfig {
    LibraryConfig::new("example.com/test".parse().unwrap()).encoder("toy", 2)
}

fn apply(library: &mut Library, at: u64, operation: Operation) -> Outcome {
    let applied = library.apply(&Stamp::new(at, "tester"), Mode::Atomic, &[operation]).unwrap();
    applied.outcomes[0].clone()
}

fn add(library: &mut Library, draft: Draft) -> ExperienceId {
    let at = draft.created_at;
    match apply(library, at, Operation::Add(draft)) {
        Outcome::Added { id } => id,
        other => panic!("{other:?}"),
    }
}

fn merge(ids: &[ExperienceId], draft: Option<Draft>) -> Operation {
    Operation::Merge { ids: ids.to_vec(), draft }
}

#[test]
fn adding_twice_changes_nothing() {
    let mut library = Library::new(config()).unwrap();
    let id = add(&mut library, draft("check the units", 1));
    let before = library.clone();
    let again = Operation::Add(draft("check the units", 1));
    assert_eq!(apply(&mut library, 2, again.clone()), Outcome::Unchanged { id });
    assert_eq!(library, before);

    // Deleted and added in one batch: deletions come first, so it stays, and nothing is left to record.
    let batch = [again, Operation::Delete { id }];
    let applied = library.apply(&Stamp::new(3, "tester"), Mode::Atomic, &batch).unwrap();
    assert_eq!((applied.added.len(), applied.removed.len()), (0, 0));
    assert!(library.get(&id).is_some());
    let kinds: Vec<EntryKind> = library.entries().iter().map(|entry| entry.kind()).collect();
    assert_eq!(kinds, [EntryKind::Add, EntryKind::Delete, EntryKind::Add]);
}

#[test]
fn modified_experiences_inherit_usage_not_votes() {
    let mut library = Library::new(config()).unwrap();
    let old = add(&mut library, draft("check the units", 1).vector(vec![1.0, 0.0]));
    library.record_use(&old, 7).unwrap();
    library.record_vote(&old, "bob", Vote::Up).unwrap();
    library.record_vote(&old, "bob", Vote::Down).unwrap();
    library.record_vote(&old, "eve", Vote::Down).unwrap();
    library.record_vote(&old, "eve", Vote::Abstain).unwrap();
    let votes = library.record(&old).unwrap();
    assert_eq!((votes.up(), votes.down(), votes.vote("eve").map(|vote| vote.value())), (0, 1, Some(Vote::Abstain)));
    let root = library.state_root();

    let outcome = apply(&mut library, 2, Operation::Modify { id: old, draft: draft("check units twice", 2) });
    let Outcome::Modified { from, into } = outcome else { panic!("{outcome:?}") };
    assert_eq!(from, old);
    assert_eq!(library.get(&into).unwrap().parents(), [old]);
    assert_eq!((library.get(&old), library.archived(&old).is_some()), (None, true));
    let record = library.record(&into).unwrap();
    assert_eq!((record.usage(), record.inherited(), record.down()), (7, 7, 0));
    assert_eq!(library.retrieve(&[1.0, 0.0], &Search::new(9)).unwrap(), []);

    // The vector of an archived experience comes back with it.
    library.restore(&Stamp::new(3, "tester"), &root).unwrap();
    assert_eq!(library.retrieve(&[1.0, 0.0], &Search::new(9)).unwrap()[0].id, old);
    assert_eq!(library.record(&old).unwrap().down(), 1);
    let last = library.entries().last().unwrap();
    assert_eq!((last.kind(), last.added(), last.removed()), (EntryKind::Restore, &[old][..], &[into][..]));
    assert_eq!(library.log().size(), 3);
}

#[test]
fn merging_takes_the_best_text_and_all_examples() {
    let mut library = Library::new(config()).unwrap();
    let numbered =
        |draft: Draft, from: u32, to: u32| (from..to).fold(draft, |draft, n| draft.example(format!("q{n}"), "a"));
    let a = add(&mut library, numbered(draft("first lesson", 1).confidence_ppm(100_000), 0, 5).vector(vec![1.0, 0.0]));
    let b = add(&mut library, numbered(draft("second advice", 2).confidence_ppm(900_000), 3, 9).vector(vec![0.0, 1.0]));
    for voter in ["v1", "v2", "v3"] {
        library.record_vote(&a, voter, Vote::Up).unwrap();
        library.record_vote(&b, voter, Vote::Down).unwrap();
    }
    library.record_use(&a, 2).unwrap();
    library.record_use(&b, 3).unwrap();
    assert!(library.quality(&a).unwrap() > library.quality(&b).unwrap());

    let outcome = apply(&mut library, 3, merge(&[b, a, b], None));
    let Outcome::Merged { from, into } = outcome else { panic!("{outcome:?}") };
    let mut sorted = [a, b];
    sorted.sort();
    assert_eq!(from, sorted);
    let content = library.get(&into).unwrap();
    assert_eq!((content.text().as_str(), content.created_at()), ("first lesson", 1));
    assert_eq!(content.confidence_ppm(), 900_000);
    assert_eq!(content.parents(), sorted);
    let inputs: Vec<&str> = content.examples().iter().map(|example| example.input.as_str()).collect();
    let mut union: Vec<String> = Vec::new();
    for id in sorted {
        for example in library.archived(&id).unwrap().examples() {
            if !union.contains(&example.input) {
                union.push(example.input.clone());
            }
        }
    }
    assert_eq!((union.len(), inputs), (9, union.iter().take(8).map(String::as_str).collect()));
    assert_eq!(library.record(&into).unwrap().inherited(), 5);
    // Same text, same vector.
    let hits = library.retrieve(&[1.0, 0.0], &Search::new(9)).unwrap();
    assert_eq!((hits.len(), hits[0].id, hits[0].score), (1, into, 1.0));
}

#[test]
fn equal_quality_merges_into_the_lowest_id() {
    let mut library = Library::new(config()).unwrap();
    let mut ids = [add(&mut library, draft("one thing", 1)), add(&mut library, draft("another matter", 2))];
    ids.sort();
    let text = library.get(&ids[0]).unwrap().text().clone();
    let outcome = apply(&mut library, 3, merge(&ids, None));
    let Outcome::Merged { into, .. } = outcome else { panic!("{outcome:?}") };
    assert_eq!(library.get(&into).unwrap().text(), &text);
}

#[test]
fn a_draft_names_the_domain_of_a_merge() {
    let mut library = Library::new(config()).unwrap();
    let a = add(&mut library, draft("check the units", 1).confidence_ppm(800_000).example("q1", "a"));
    let mut web = draft("read the page", 1).example("q2", "a");
    web.domain = "web".parse().unwrap();
    let b = add(&mut library, web);
    let mut general = draft("look twice", 5).confidence_ppm(1).example("q0", "a");
    general.domain = "general".parse().unwrap();
    let outcome = apply(&mut library, 5, merge(&[a, b], Some(general)));
    let Outcome::Merged { into, .. } = outcome else { panic!("{outcome:?}") };
    let content = library.get(&into).unwrap();
    assert_eq!((content.domain().as_str(), content.text().as_str()), ("general", "look twice"));
    assert_eq!((content.confidence_ppm(), content.examples().len()), (800_000, 3));
    assert_eq!(content.examples()[0].input, "q0");
}

#[test]
fn copies_are_merged_or_skipped() {
    let mut library = Library::new(config()).unwrap();
    let first = add(&mut library, draft("always check both ends of the range", 1).example("q1", "a"));
    let copy = Operation::Add(draft("Always check both ends of the range!", 2).example("q2", "a"));
    let outcome = apply(&mut library, 2, copy.clone());
    let Outcome::Merged { from, into } = outcome else { panic!("{outcome:?}") };
    assert!(from.contains(&first) && from.len() == 2);
    assert_eq!(library.get(&into).unwrap().examples().len(), 2);
    // Both parents can be read, and the log names what was active.
    assert!(from.iter().all(|id| library.archived(id).is_some()));
    let last = library.entries().last().unwrap();
    assert_eq!((last.kind(), last.added(), last.removed()), (EntryKind::Merge, &[into][..], &[first][..]));
    // What is merged in already is not merged again.
    let before = library.clone();
    assert_eq!(apply(&mut library, 3, copy.clone()), Outcome::Unchanged { id: into });
    assert_eq!(library, before);

    // Another domain, other words, or an empty gate: no copy.
    let mut web = draft("always check both ends of the range", 1);
    web.domain = "web".parse().unwrap();
    assert!(matches!(apply(&mut library, 4, Operation::Add(web)), Outcome::Added { .. }));
    let other = draft("always check both ends of the interval", 1);
    assert!(matches!(apply(&mut library, 4, Operation::Add(other)), Outcome::Added { .. }));

    let mut skipping = Library::new(config().dedup(Some(Dedup::default().auto_merge(false)))).unwrap();
    let first = add(&mut skipping, draft("always check both ends of the range", 1));
    let outcome = apply(&mut skipping, 2, copy.clone());
    assert_eq!(outcome, Outcome::Skipped(SkipReason::Duplicate { of: first }));
    let mut open = Library::new(config().dedup(None)).unwrap();
    add(&mut open, draft("always check both ends of the range", 1));
    assert!(matches!(apply(&mut open, 2, copy), Outcome::Added { .. }));
}

#[test]
fn the_nearest_copy_is_merged_with_ties_to_the_lowest_id() {
    let mut library = Library::new(config()).unwrap();
    let mut ids = [add(&mut library, draft("a b c d e f x", 1)), add(&mut library, draft("a b c d e f y", 2))];
    ids.sort();
    let mut other = library.clone();
    // 7 of 8 tokens with either.
    let outcome = apply(&mut library, 3, Operation::Add(draft("a b c d e f x y", 3)));
    let Outcome::Merged { from, .. } = outcome else { panic!("{outcome:?}") };
    assert!(from.contains(&ids[0]) && !from.contains(&ids[1]));
    // All 7 tokens with the one, 6 of 8 with the other.
    let nearest = other.get(&ids[1]).unwrap().text().clone();
    let outcome = apply(&mut other, 3, Operation::Add(draft(nearest.as_str(), 3)));
    let Outcome::Merged { from, .. } = outcome else { panic!("{outcome:?}") };
    assert!(from.contains(&ids[1]));
}

#[test]
fn where_both_have_vectors_they_must_be_close_too() {
    for (vector, copy) in [(vec![1.0, 0.1], true), (vec![0.0, 1.0], false)] {
        let mut library = Library::new(config()).unwrap();
        add(&mut library, draft("check both ends", 1).vector(vec![1.0, 0.0]));
        let outcome = apply(&mut library, 2, Operation::Add(draft("check both ends", 2).vector(vector)));
        assert_eq!(matches!(outcome, Outcome::Merged { .. }), copy, "{outcome:?}");
    }
}

#[test]
fn several_copies_in_one_batch_end_as_one() {
    let mut library = Library::new(config()).unwrap();
    let copies = (1..=4).map(|at| Operation::Add(draft("check both ends of it", at)));
    let batch: Vec<Operation> = copies.chain([Operation::Add(draft("draw a picture", 1))]).collect();
    let applied = library.apply(&Stamp::new(9, "tester"), Mode::Atomic, &batch).unwrap();
    assert_eq!((library.len(), applied.added.len(), applied.entries.len()), (2, 2, 2));
    let kinds: Vec<EntryKind> = library.entries().iter().map(|entry| entry.kind()).collect();
    assert_eq!(kinds, [EntryKind::Add, EntryKind::Merge]);
}

#[test]
fn over_capacity_the_worst_go_first() {
    let policy = PrunePolicy { min_age: 10, min_uses: 0 };
    let mut library = Library::new(config().capacity(3).prune_policy(policy)).unwrap();
    let texts = ["alpha one", "beta two", "gamma three"];
    let ids: Vec<_> = texts.iter().map(|text| add(&mut library, draft(text, 1))).collect();
    library.record_vote(&ids[0], "bob", Vote::Up).unwrap();
    library.record_vote(&ids[1], "bob", Vote::Down).unwrap();
    library.record_use(&ids[2], 1).unwrap();
    // The newcomer has the least usage and no votes, but is too young to go.
    let applied =
        library.apply(&Stamp::new(100, "tester"), Mode::Atomic, &[Operation::Add(draft("delta four", 95))]).unwrap();
    assert_eq!(applied.pruned, [ids[1]]);
    assert_eq!((applied.added.len(), &applied.removed[..]), (1, &ids[1..2]));
    assert_eq!((library.len(), library.entries().last().unwrap().kind()), (3, EntryKind::Prune));
    assert!(library.archived(&ids[1]).is_some());

    let applied = library.prune(&Stamp::new(200, "tester"), 1).unwrap();
    assert_eq!((applied.pruned.len(), library.len()), (2, 1));
    assert!(library.get(&ids[2]).is_some() || library.get(&ids[0]).is_some());
    let applied = library.prune(&Stamp::new(200, "tester"), 1).unwrap();
    assert_eq!((applied.pruned, applied.entries), (vec![], vec![]));
    library.prune(&Stamp::new(200, "tester"), 0).unwrap();
    assert!(library.is_empty() && library.state().is_empty());
}

#[test]
fn equal_libraries_come_from_equal_calls() {
    let build = || {
        let mut library = Library::new(config()).unwrap();
        let a = add(&mut library, draft("alpha one", 1).vector(vec![1.0, 2.0]));
        let b = add(&mut library, draft("beta two", 2));
        let embedder = FnEmbedder::new("toy", |text: &str| Ok::<_, ()>(vec![text.len() as f32, 1.0]));
        assert_eq!(library.embed_missing(&embedder), Ok(1));
        apply(&mut library, 3, merge(&[a, b], None));
        library
    };
    let (left, right) = (build(), build());
    assert_eq!(left, right);
    assert_eq!(left.checkpoint().to_string(), right.checkpoint().to_string());
}

/// Pins the bytes of one short history, computed apart from this crate: any change of a format shows here.
#[test]
fn pinned_history() {
    let mut library = Library::new(config()).unwrap();
    let a = add(&mut library, draft("check the units", 1_760_702_400).model("qwen3-32b").example("1 km in m?", "1000"));
    let b = add(&mut library, draft("draw \"before\" computing", 1_760_702_401));
    apply(&mut library, 1_760_702_402, merge(&[a, b], None));
    let (merged, _) = library.iter().next().unwrap();
    let (id, draft) = (*merged, draft("estimate, then compute", 1_760_702_403));
    apply(&mut library, 1_760_702_403, Operation::Modify { id, draft });
    let content: &Content = library.iter().next().unwrap().1;
    assert_eq!(content.cid(), "bagaaierarhjfapkmpac7rlph6n4gnrgxfb7k2hdi5n3kmvsfrry3yafmgw6a");
    assert_eq!(library.checkpoint().to_string(), "example.com/test\n4\nmByUa69MpPpljvg3T0TE9Jd87Unzl48AJEZmZQKKuw0=\n");
    assert_eq!(
        library.state_root().commitment().to_string(),
        "84cd08773aefd7b123217fd9dac507ccf7e87418254a82b3c528e02dd80724eb"
    );
}
