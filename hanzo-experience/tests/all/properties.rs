//! Laws that hold for every input, checked against plain references.

use std::collections::BTreeSet;

use hanzo_experience::merkle::{
    Checkpoint, CompactRange, ConsistencyProof, Hash, InclusionProof, Log, MultiProof, SignedCheckpoint, StateTree,
    empty_root, leaf_hash, node_hash, verify_consistency, verify_inclusion,
};
use hanzo_experience::{
    Content, Domain, Draft, Entry, ExperienceId, Imported, Library, LibraryConfig, Mode, Operation, Outcome, Search,
    Snapshot, Stamp, Text, VectorIndex, Vote,
};
use proptest::prelude::*;

/// RFC 9162 section 2.1.1, word for word.
fn tree_hash(leaves: &[Hash]) -> Hash {
    match leaves {
        [] => empty_root(),
        [leaf] => *leaf,
        _ => {
            let (left, right) = leaves.split_at(split(leaves.len()));
            node_hash(&tree_hash(left), &tree_hash(right))
        }
    }
}

/// RFC 9162 section 2.1.3.1.
fn path(index: usize, leaves: &[Hash]) -> Vec<Hash> {
    if leaves.len() == 1 {
        return vec![];
    }
    let k = split(leaves.len());
    let (left, right) = leaves.split_at(k);
    let (mut hashes, sibling) =
        if index < k { (path(index, left), tree_hash(right)) } else { (path(index - k, right), tree_hash(left)) };
    hashes.push(sibling);
    hashes
}

/// RFC 9162 section 2.1.4.1.
fn subproof(old: usize, leaves: &[Hash], whole: bool) -> Vec<Hash> {
    if old == leaves.len() {
        return if whole { vec![] } else { vec![tree_hash(leaves)] };
    }
    let k = split(leaves.len());
    let (left, right) = leaves.split_at(k);
    let (mut hashes, sibling) = if old <= k {
        (subproof(old, left, whole), tree_hash(right))
    } else {
        (subproof(old - k, right, false), tree_hash(left))
    };
    hashes.push(sibling);
    hashes
}

fn split(n: usize) -> usize {
    n.next_power_of_two() / 2
}

fn leaves(n: usize) -> Vec<Hash> {
    (0..n).map(|index| leaf_hash(&index.to_be_bytes())).collect()
}

/// Every way to spoil a list of hashes by one step: a bit flipped, one dropped, doubled, swapped, or added.
fn spoiled(hashes: &[Hash]) -> Vec<Vec<Hash>> {
    let mut all = Vec::new();
    for index in 0..hashes.len() {
        let mut flipped = hashes.to_vec();
        let mut bytes = *flipped[index].as_bytes();
        bytes[index % 32] ^= 1 << (index % 8);
        flipped[index] = bytes.into();
        all.push(flipped);
        let mut dropped = hashes.to_vec();
        dropped.remove(index);
        all.push(dropped);
        let mut doubled = hashes.to_vec();
        doubled.insert(index, hashes[index]);
        all.push(doubled);
        if index > 0 && hashes[index] != hashes[index - 1] {
            let mut swapped = hashes.to_vec();
            swapped.swap(index, index - 1);
            all.push(swapped);
        }
    }
    for end in [0, hashes.len()] {
        let mut longer = hashes.to_vec();
        longer.insert(end, leaf_hash(b"surplus"));
        all.push(longer);
    }
    all
}

#[test]
fn inclusion_holds_for_every_leaf_and_no_mutation() {
    let all = leaves(70);
    let log = Log::from_leaves(all.clone());
    for size in 1..=all.len() {
        let root = tree_hash(&all[..size]);
        assert_eq!(log.root_at(size as u64), Ok(root));
        for index in 0..size {
            let (i, n) = (index as u64, size as u64);
            let proof = log.prove_inclusion(i, n).unwrap();
            assert_eq!(proof.hashes(), path(index, &all[..size]));
            assert_eq!(InclusionProof::from_bytes(&proof.to_bytes()).as_ref(), Ok(&proof));
            verify_inclusion(i, n, &all[index], &proof, &root).unwrap();
            assert!(verify_inclusion(i, n, &leaf_hash(b"other"), &proof, &root).is_err());
            assert!(verify_inclusion(i, n, &all[index], &proof, &leaf_hash(b"other")).is_err());
            for other in (0..n + 2).filter(|other| *other != i) {
                assert!(verify_inclusion(other, n, &all[index], &proof, &root).is_err(), "{i} as {other} of {n}");
            }
            for hashes in spoiled(proof.hashes()) {
                let proof = InclusionProof::new(hashes).unwrap();
                assert!(verify_inclusion(i, n, &all[index], &proof, &root).is_err());
            }
        }
    }
}

#[test]
fn consistency_holds_for_every_pair_and_no_mutation() {
    let all = leaves(70);
    let log = Log::from_leaves(all.clone());
    let roots: Vec<Hash> = (0..=all.len()).map(|size| tree_hash(&all[..size])).collect();
    for new in 1..=all.len() {
        for old in 1..=new {
            let (m, n) = (old as u64, new as u64);
            let proof = log.prove_consistency(m, n).unwrap();
            assert_eq!(proof.hashes(), subproof(old, &all[..new], true));
            assert_eq!(ConsistencyProof::from_bytes(&proof.to_bytes()).as_ref(), Ok(&proof));
            verify_consistency(m, &roots[old], n, &roots[new], &proof).unwrap();
            for wrong in [&roots[old - 1], &roots[(old + 1) % roots.len()], &leaf_hash(b"other")] {
                assert!(verify_consistency(m, wrong, n, &roots[new], &proof).is_err());
                assert!(wrong == &roots[new] || verify_consistency(m, &roots[old], n, wrong, &proof).is_err());
            }
            for hashes in spoiled(proof.hashes()) {
                let proof = ConsistencyProof::new(hashes).unwrap();
                assert!(verify_consistency(m, &roots[old], n, &roots[new], &proof).is_err(), "{m} {n}");
            }
        }
    }
}

#[test]
fn compact_range_has_the_root_at_every_size() {
    let all = leaves(300);
    let mut range = CompactRange::new();
    for (size, leaf) in all.iter().enumerate() {
        assert_eq!(range.root(), tree_hash(&all[..size]));
        let copy = CompactRange::from_peaks(range.size(), range.peaks().to_vec());
        assert_eq!(copy.as_ref(), Ok(&range));
        range.append(*leaf);
    }
    assert!(CompactRange::from_peaks(3, all[..1].to_vec()).is_err());
}

fn id() -> impl Strategy<Value = ExperienceId> {
    any::<[u8; 32]>().prop_map(ExperienceId::from_bytes)
}

/// Any text that an example may hold.
fn free_text() -> impl Strategy<Value = String> {
    let ch = prop_oneof![any::<char>(), Just('\n'), Just('\t'), Just('"'), Just('\\'), Just('\u{2028}')];
    let allowed = ch.prop_filter("control", |ch| !ch.is_control() || matches!(ch, '\n' | '\t'));
    prop::collection::vec(allowed, 0..40).prop_map(|chars| chars.into_iter().collect())
}

fn lesson() -> impl Strategy<Value = Text> {
    "[^ ]{1,10}( [^ ]{1,10}){0,9}".prop_filter_map("rules", |text| Text::normalize(&text).ok())
}

fn domain() -> impl Strategy<Value = Domain> {
    "[a-z0-9][a-z0-9_-]{0,8}(\\.[a-z0-9][a-z0-9_-]{0,8}){0,3}".prop_map(|text| text.parse().unwrap())
}

fn draft() -> impl Strategy<Value = Draft> {
    let numbers = (0..=Content::MAX_TIME, 0..=1_000_000_u32);
    let names = ("[!-~]{1,40}", "[!-~]{0,40}");
    let examples = prop::collection::vec((free_text(), free_text()), 0..=8);
    (lesson(), domain(), numbers, names, examples).prop_map(|(text, domain, (at, ppm), (by, model), examples)| {
        let draft = Draft::new(text, domain, by, at).model(model).confidence_ppm(ppm);
        examples.into_iter().fold(draft, |draft, (input, output)| draft.example(input, output))
    })
}

fn content() -> impl Strategy<Value = Content> {
    (draft(), prop::collection::btree_set(id(), 0..=16))
        .prop_map(|(draft, parents)| Content::new(draft, parents.into_iter().collect()).unwrap())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn content_has_one_form(content in content()) {
        let bytes = content.to_canonical();
        prop_assert_eq!(Content::from_canonical(&bytes), Ok(content.clone()));
        prop_assert_eq!(content.id(), ExperienceId::from(leaf_hash(&bytes)));
        // RFC 8785 as an independent crate writes it, from any member order.
        let value: serde_json::Value = serde_json::from_slice(&bytes).unwrap();
        prop_assert_eq!(serde_json_canonicalizer::to_vec(&value).unwrap(), bytes.clone());
        let pretty = serde_json::to_vec_pretty(&value).unwrap();
        prop_assert_eq!(Content::from_json(&pretty), Ok(content));
        prop_assert!(Content::from_canonical(&pretty).is_err());
    }

    #[test]
    fn parsers_never_panic(
        bytes in prop::collection::vec(any::<u8>(), 0..400),
        content in content(),
        edits in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
    ) {
        let mut edited = content.to_canonical();
        for (index, byte) in edits {
            let at = index.index(edited.len());
            edited[at] = byte;
        }
        for bytes in [&bytes, &edited] {
            let text = String::from_utf8_lossy(bytes);
            if let Ok(content) = Content::from_json(bytes) {
                prop_assert_eq!(Content::from_canonical(&content.to_canonical()), Ok(content));
            }
            if let Ok(text) = Text::normalize(&text) {
                prop_assert_eq!(Text::new(text.as_str()), Ok(text.clone()));
            }
            let _ = Content::from_canonical(bytes);
            let _ = Entry::from_json(bytes);
            let _ = Entry::from_canonical(bytes);
            let _ = Snapshot::from_bytes(bytes);
            let _ = Imported::from_json(bytes);
            let _ = MultiProof::from_bytes(bytes);
            #[cfg(feature = "cid")]
            {
                let _ = hanzo_experience::Manifest::from_dag_cbor(bytes);
                let _ = text.parse::<hanzo_experience::Cid>();
            }
            let _ = InclusionProof::from_bytes(bytes);
            let _ = ConsistencyProof::from_bytes(bytes);
            let _ = text.parse::<Checkpoint>();
            let _ = text.parse::<SignedCheckpoint>();
            let _ = text.parse::<ExperienceId>();
            let _ = text.parse::<Domain>();
        }
    }

    #[test]
    fn notes_have_one_form(text in "[a-c+/=0-9\n\u{2014} ]{0,60}", tail in "(\u{2014} [a-b]{1,2} [A-D]{8,12}={0,2}\n){0,3}") {
        let checkpoint = Log::from_leaves(leaves(3)).checkpoint(&"example.com/log".parse().unwrap());
        for text in [text.clone(), format!("{checkpoint}\n{tail}"), format!("{checkpoint}{text}")] {
            if let Ok(parsed) = text.parse::<Checkpoint>() {
                prop_assert_eq!(parsed.to_string(), text.clone());
            }
            if let Ok(parsed) = text.parse::<SignedCheckpoint>() {
                prop_assert_eq!(parsed.to_string(), text);
            }
        }
    }

    #[test]
    fn state_depends_on_the_set_alone(
        set in prop::collection::btree_set(id(), 0..40),
        seed in any::<u64>(),
        strangers in prop::collection::vec(id(), 4),
    ) {
        let ordered: Vec<ExperienceId> = set.iter().copied().collect();
        let mut shuffled = ordered.clone();
        shuffled.extend_from_slice(&ordered[..ordered.len() / 2]);
        shuffled.sort_by_key(|id| leaf_hash(&[id.as_bytes().as_slice(), &seed.to_be_bytes()].concat()));
        let tree = StateTree::new(shuffled);
        let root = tree.root();
        let hashes: Vec<Hash> = ordered.iter().map(|id| *id.as_hash()).collect();
        prop_assert_eq!(root.root(), &tree_hash(&hashes));
        prop_assert_eq!(root.size(), set.len() as u64);

        for id in &ordered {
            let proof = tree.prove_present(id).unwrap();
            prop_assert_eq!(root.verify_present(id, &proof), Ok(()));
            prop_assert!(tree.prove_absent(id).is_err());
            prop_assert!(root.verify_present(&strangers[0], &proof).is_err());
        }
        let edges = [ExperienceId::from_bytes([0; 32]), ExperienceId::from_bytes([255; 32])];
        for stranger in strangers.iter().chain(&edges).filter(|id| !set.contains(id)) {
            let proof = tree.prove_absent(stranger).unwrap();
            prop_assert_eq!(root.verify_absent(stranger, &proof), Ok(()));
            prop_assert!(tree.prove_present(stranger).is_err());
            // The proof holds for what lies between its neighbours and for nothing that is there.
            for id in &ordered {
                prop_assert!(root.verify_absent(id, &proof).is_err());
            }
            let mut one_sided = proof.clone();
            one_sided.above = None;
            if proof.above.is_some() {
                prop_assert!(root.verify_absent(stranger, &one_sided).is_err());
            }
            let mut wider = proof;
            wider.below = None;
            prop_assert_eq!(root.verify_absent(stranger, &wider).is_ok(), set.iter().next().is_none_or(|first| stranger < first));
        }
    }

    #[test]
    fn search_is_exact_and_ignores_insertion_order(
        vectors in prop::collection::vec(prop::collection::vec(-3_i8..=3, 19), 1..40),
        query in prop::collection::vec(-3_i8..=3, 19),
        k in 0_usize..45,
    ) {
        let float = |vector: &[i8]| vector.iter().map(|x| f32::from(*x)).collect::<Vec<f32>>();
        prop_assume!(query.iter().any(|x| *x != 0));
        let named: Vec<(ExperienceId, Vec<f32>)> = vectors.iter().enumerate()
            .filter(|(_, vector)| vector.iter().any(|x| *x != 0))
            .map(|(index, vector)| (leaf_hash(&[index as u8]).into(), float(vector))).collect();
        let mut forward = VectorIndex::new("e", 19).unwrap();
        let mut backward = VectorIndex::new("e", 19).unwrap();
        for (id, vector) in &named { forward.insert(*id, vector).unwrap(); }
        for (id, vector) in named.iter().rev() { backward.insert(*id, vector).unwrap(); }
        prop_assert_eq!(&forward, &backward);

        let query = float(&query);
        let hits = forward.search(&query, &Search::new(k)).unwrap();
        prop_assert_eq!(&hits, &backward.search(&query, &Search::new(k)).unwrap());
        prop_assert_eq!(hits.len(), k.min(named.len()));
        prop_assert!(hits.is_sorted_by(|a, b| a.score > b.score || (a.score == b.score && a.id < b.id)));

        let norm = |v: &[f32]| v.iter().map(|x| f64::from(*x).powi(2)).sum::<f64>().sqrt();
        let cosine = |v: &[f32]| v.iter().zip(&query).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum::<f64>() / norm(v) / norm(&query);
        let found: BTreeSet<ExperienceId> = hits.iter().map(|hit| hit.id).collect();
        for hit in &hits {
            let (_, vector) = named.iter().find(|(id, _)| *id == hit.id).unwrap();
            prop_assert!((f64::from(hit.score) - cosine(vector)).abs() < 1e-6);
        }
        if let Some(worst) = hits.last() {
            for (id, vector) in named.iter().filter(|(id, _)| !found.contains(id)) {
                prop_assert!(cosine(vector) < f64::from(worst.score) + 1e-6, "{} left out", id);
            }
            let floor = Search::new(k).min_similarity(worst.score);
            prop_assert_eq!(&forward.search(&query, &floor).unwrap(), &hits);
        }
    }
}

/// What a random caller does; numbers choose among what is there.
#[derive(Debug, Clone)]
enum Step {
    Apply { lenient: bool, late: bool, operations: Vec<(u8, u8, u8)> },
    Use(u8, u8),
    Vote(u8, u8),
    Prune(u8),
    Restore(u8),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let operation = (0..9_u8, any::<u8>(), any::<u8>());
    let apply = (any::<bool>(), prop::bool::weighted(0.1), prop::collection::vec(operation, 0..6));
    let apply = apply.prop_map(|(lenient, late, operations)| Step::Apply { lenient, late, operations });
    let step = prop_oneof![
        6 => apply,
        1 => any::<(u8, u8)>().prop_map(|(which, times)| Step::Use(which, times)),
        1 => any::<(u8, u8)>().prop_map(|(which, vote)| Step::Vote(which, vote)),
        1 => (0..12_u8).prop_map(Step::Prune),
        1 => any::<u8>().prop_map(Step::Restore),
    ];
    prop::collection::vec(step, 1..25)
}

const CAPACITY: usize = 8;

/// A draft out of few texts, so that copies and equal contents turn up.
fn small_draft(choice: u8, at: u64) -> Draft {
    const WORDS: [&str; 6] = ["check", "units", "first", "both", "ends", "always"];
    let mut words: Vec<&str> = WORDS.into_iter().cycle().skip(usize::from(choice % 4)).take(4).collect();
    if choice & 16 != 0 {
        words.rotate_left(1);
    }
    let domain = if choice & 32 == 0 { "math" } else { "web" };
    let draft = Draft::new(Text::new(&words.join(" ")).unwrap(), domain.parse().unwrap(), "a", at);
    let draft = draft.confidence_ppm(u32::from(choice) * 3_000).example(format!("q{choice}"), "a");
    match choice % 5 {
        0 => draft,
        1 => draft.vector(vec![1.0, f32::from(choice), -1.0]),
        2 => draft.vector(vec![0.0; 3]), // refused
        3 => draft.vector(vec![1.0, 0.5, 0.25]),
        _ => draft.confidence_ppm(if choice > 240 { 2_000_000 } else { 1 }), // sometimes refused
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 192, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn library_keeps_its_word(steps in steps()) {
        let config = LibraryConfig::new("example.com/test".parse().unwrap()).capacity(CAPACITY).encoder("e", 3);
        let mut library = Library::new(config).unwrap();
        let mut checkpoints = vec![library.checkpoint()];
        let mut versions = vec![(library.state_root(), BTreeSet::new())];
        for (round, step) in steps.into_iter().enumerate() {
            let before = library.clone();
            let at = 1_000 + 10 * round as u64;
            let stamp = Stamp::new(at, "tester");
            let ids: Vec<ExperienceId> = library.iter().map(|(id, _)| *id).collect();
            let pick = |choice: u8| match usize::from(choice) % (ids.len() + 1) {
                0 => ExperienceId::from_bytes([choice; 32]),
                index => ids[index - 1],
            };
            let result = match step {
                Step::Apply { lenient, late, operations } => {
                    let operations: Vec<Operation> = operations.into_iter().map(|(kind, a, b)| match kind {
                        0..=3 => Operation::Add(small_draft(a, at)),
                        4 => Operation::Modify { id: pick(a), draft: small_draft(b, at) },
                        5 => Operation::Merge { ids: vec![pick(a), pick(b)], draft: None },
                        6 => Operation::Merge { ids: vec![pick(a), pick(b), pick(a)], draft: Some(small_draft(b, at)) },
                        7 => Operation::Delete { id: pick(a) },
                        _ => Operation::Keep,
                    }).collect();
                    let mode = if lenient { Mode::Lenient } else { Mode::Atomic };
                    let stamp = if late { Stamp::new(0, "tester") } else { stamp };
                    let applied = library.apply(&stamp, mode, &operations);
                    if let Ok(applied) = &applied {
                        prop_assert_eq!(applied.outcomes.len(), operations.len());
                        prop_assert!(lenient || applied.rejected().next().is_none());
                        for outcome in &applied.outcomes {
                            if let Outcome::Modified { from, into } = outcome {
                                prop_assert_eq!(library.archived(into).or(library.get(into)).unwrap().parents(), &[*from]);
                            }
                            if let Outcome::Merged { from, into } = outcome {
                                prop_assert_eq!(library.archived(into).or(library.get(into)).unwrap().parents(), &from[..]);
                            }
                        }
                    }
                    applied.map(Some)
                }
                Step::Use(which, times) => library.record_use(&pick(which), times.into()).map(|()| None),
                Step::Vote(which, vote) => {
                    let kind = [Vote::Up, Vote::Down, Vote::Abstain][usize::from(vote % 3)];
                    library.record_vote(&pick(which), &format!("v{}", vote % 5), kind).map(|()| None)
                }
                Step::Prune(keep) => library.prune(&stamp, keep.into()).map(Some),
                Step::Restore(which) => {
                    let (root, active) = versions[usize::from(which) % versions.len()].clone();
                    let applied = library.restore(&stamp, &root).map(Some);
                    let now: BTreeSet<ExperienceId> = library.iter().map(|(id, _)| *id).collect();
                    prop_assert_eq!(now, active);
                    applied
                }
            };
            let active: BTreeSet<ExperienceId> = library.iter().map(|(id, _)| *id).collect();
            match result {
                Err(_) => prop_assert_eq!(&library, &before),
                Ok(None) => prop_assert_eq!(library.checkpoint(), before.checkpoint()),
                Ok(Some(applied)) => {
                    let was: BTreeSet<ExperienceId> = before.iter().map(|(id, _)| *id).collect();
                    prop_assert_eq!(&applied.added, &active.difference(&was).copied().collect::<Vec<_>>());
                    prop_assert_eq!(&applied.removed, &was.difference(&active).copied().collect::<Vec<_>>());
                    prop_assert_eq!(&applied.checkpoint, &library.checkpoint());
                    for index in &applied.entries {
                        let leaf = library.entries()[*index as usize].leaf();
                        let proof = library.log().prove_inclusion(*index, applied.checkpoint.size()).unwrap();
                        prop_assert_eq!(applied.checkpoint.verify_inclusion(*index, &leaf, &proof), Ok(()));
                    }
                }
            }

            // The log tells the whole story, and every version of it extends the ones before.
            prop_assert!(library.len() <= CAPACITY);
            prop_assert_eq!(library.state(), &StateTree::new(active.iter().copied()));
            let mut replayed = BTreeSet::new();
            for entry in library.entries() {
                for id in entry.removed() { prop_assert!(replayed.remove(id)); }
                for id in entry.added() { prop_assert!(replayed.insert(*id)); }
                prop_assert_eq!(entry.state(), &StateTree::new(replayed.iter().copied()).root());
            }
            prop_assert_eq!(&replayed, &active);
            let checkpoint = library.checkpoint();
            for old in checkpoints.iter().filter(|old| old.size() > 0) {
                let proof = library.log().prove_consistency(old.size(), checkpoint.size()).unwrap();
                prop_assert_eq!(checkpoint.verify_extends(old, &proof), Ok(()));
            }
            checkpoints.push(checkpoint);
            versions.push((library.state_root(), active.clone()));

            for (id, content) in library.iter() {
                prop_assert_eq!(content.id(), *id);
                prop_assert!(library.quality(id).unwrap() <= 1_000_000);
            }
            for hit in library.retrieve(&[1.0, 1.0, 0.0], &Search::new(99)).unwrap() {
                prop_assert!(active.contains(&hit.id));
            }
        }
    }
}
