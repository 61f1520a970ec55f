//! Retrieval beyond cosine: diversity, quality, reranking, budgets, prompts, foreign indexes, memory, and copies that a
//! merger finds.

use std::cell::Cell;

use hanzo_experience::{
    Content, Draft, Error, ExperienceId, Hit, Imported, Index, Library, LibraryConfig, Mode, Operation, Outcome,
    RerankError, Reranker, RetrievalCache, Search, Stamp, Text, VectorIndex, Vote, embedding_digest, fence, render,
    within_budget,
};
use proptest::prelude::*;

fn library() -> Library {
    let config = LibraryConfig::new("example.com/test".parse().unwrap()).encoder("toy", 3);
    Library::new(config).unwrap()
}

fn draft(text: &str, vector: [f32; 3]) -> Draft {
    Draft::new(Text::new(text).unwrap(), "math".parse().unwrap(), "alice", 1).vector(vector.to_vec())
}

fn add(library: &mut Library, text: &str, vector: [f32; 3]) -> ExperienceId {
    let operation = [Operation::Add(draft(text, vector))];
    let applied = library.apply(&Stamp::new(1, "tester"), Mode::Atomic, &operation).unwrap();
    match applied.outcomes[..] {
        [Outcome::Added { id }] => id,
        ref other => panic!("{other:?}"),
    }
}

fn ids(hits: &[Hit]) -> Vec<ExperienceId> {
    hits.iter().map(|hit| hit.id).collect()
}

#[test]
fn diversity_leaves_out_what_says_the_same() {
    let mut library = library();
    let first = add(&mut library, "one way", [1.0, 0.0, 0.1]);
    let twin = add(&mut library, "the very same in other words", [1.0, 0.0, 0.11]);
    let other = add(&mut library, "another thing", [0.8, 0.6, 0.0]);
    let query = [1.0, 0.05, 0.1];
    let search = Search::new(2);
    assert_eq!(ids(&library.retrieve(&query, &search).unwrap()), [first, twin]);
    assert_eq!(ids(&library.retrieve(&query, &search.clone().diversity(1.0)).unwrap()), [first, twin]);
    assert_eq!(ids(&library.retrieve(&query, &search.clone().diversity(0.5)).unwrap()), [first, other]);
    // The floor comes first.
    let floor = search.clone().diversity(0.5).min_similarity(0.9);
    assert_eq!(ids(&library.retrieve(&query, &floor).unwrap()), [first, twin]);
    assert_eq!(library.retrieve(&query, &Search::new(0).diversity(0.5)), Ok(vec![]));
    assert_eq!(library.retrieve(&query, &Search::new(9).diversity(0.5)).unwrap().len(), 3);
    for bad in [-0.1, 1.1, f32::NAN] {
        let error = |field| Err(Error::OutOfRange { field });
        assert_eq!(library.retrieve(&query, &search.clone().diversity(bad)), error("diversity"));
        assert_eq!(library.retrieve(&query, &search.clone().quality_weight(bad)), error("quality_weight"));
    }
}

#[test]
fn quality_can_outweigh_nearness() {
    let mut library = library();
    let near = add(&mut library, "near but refuted", [1.0, 0.0, 0.0]);
    let good = add(&mut library, "a bit off but good", [0.9, 0.3, 0.0]);
    for voter in ["v1", "v2", "v3", "v4"] {
        library.record_vote(&near, voter, Vote::Down).unwrap();
        library.record_vote(&good, voter, Vote::Up).unwrap();
    }
    library.record_use(&good, 10).unwrap();
    let query = [1.0, 0.0, 0.0];
    assert_eq!(ids(&library.retrieve(&query, &Search::new(1)).unwrap()), [near]);
    let hits = library.retrieve(&query, &Search::new(2).quality_weight(0.4)).unwrap();
    assert_eq!(ids(&hits), [good, near]);
    let cosine = library.retrieve(&query, &Search::new(2)).unwrap()[1].score;
    let expected = 0.6 * cosine + 0.4 * library.quality(&good).unwrap() as f32 / 1e6;
    assert!((hits[0].score - expected).abs() < 1e-6);
    assert_eq!(VectorIndex::new("e", 1).unwrap().search(&[1.0], &Search::new(1).quality_weight(0.4)), Ok(vec![]));
}

/// An index of the caller: stale, out of order, with scores of its own.
struct Stale(Vec<ExperienceId>, &'static str);

impl Index for Stale {
    fn nearest(&self, _: &[f32], k: usize) -> hanzo_experience::Result<Vec<Hit>> {
        Ok(self.0.iter().take(k).map(|id| Hit { id: *id, score: 0.0 }).collect())
    }

    fn encoder_id(&self) -> &str {
        self.1
    }
}

#[test]
fn candidates_of_an_index_are_scored_here() {
    let mut library = library();
    let a = add(&mut library, "one", [1.0, 0.0, 0.0]);
    let b = add(&mut library, "two", [0.0, 1.0, 0.0]);
    let gone = add(&mut library, "three", [0.0, 0.0, 1.0]);
    library.apply(&Stamp::new(2, "tester"), Mode::Atomic, &[Operation::Delete { id: gone }]).unwrap();
    let query = [0.1, 1.0, 0.0];
    let stale = Stale(vec![gone, a, ExperienceId::from_bytes([1; 32]), b], "toy");
    let hits = library.retrieve_from(&stale, &query, &Search::new(3)).unwrap();
    assert_eq!(hits, library.retrieve(&query, &Search::new(3)).unwrap());
    // The exact index is an index too.
    let mut exact = VectorIndex::new("toy", 3).unwrap();
    exact.insert(a, &[1.0, 0.0, 0.0]).unwrap();
    assert_eq!(ids(&library.retrieve_from(&exact, &query, &Search::new(3)).unwrap()), [a]);
    let other = Stale(vec![a], "other");
    assert_eq!(library.retrieve_from(&other, &query, &Search::new(3)), Err(Error::EncoderMismatch));
    assert_eq!(library.retrieve_from(&stale, &[0.0; 3], &Search::new(3)), Err(Error::ZeroNorm));
}

/// Prefers longer texts; fails, or lies, on demand.
enum Long {
    Good,
    Fails,
    TooFew,
    NotFinite,
}

impl Reranker for Long {
    type Error = &'static str;

    fn scores(&self, _: &str, texts: &[&str]) -> Result<Vec<f32>, &'static str> {
        let scores = texts.iter().map(|text| text.len() as f32);
        match self {
            Self::Good => Ok(scores.collect()),
            Self::Fails => Err("down"),
            Self::TooFew => Ok(scores.skip(1).collect()),
            Self::NotFinite => Ok(scores.map(|score| score / 0.0).collect()),
        }
    }
}

#[test]
fn second_stage_budget_and_prompt() {
    let mut library = library();
    let short = add(&mut library, "a b", [1.0, 0.0, 0.0]);
    let long = add(&mut library, "c d e f g h", [0.9, 0.1, 0.0]);
    let middle = add(&mut library, "i j k", [0.8, 0.2, 0.0]);
    let hits = library.retrieve(&[1.0, 0.0, 0.0], &Search::new(3)).unwrap();
    assert_eq!(ids(&hits), [short, long, middle]);
    let reranked = library.rerank(&Long::Good, "q", &hits, 2).unwrap();
    assert_eq!(ids(&reranked), [long, middle]);
    assert_eq!(library.rerank(&Long::Fails, "q", &hits, 2), Err(RerankError::Reranker("down")));
    let mismatch = Error::DimensionMismatch { got: 2, want: 3 };
    assert_eq!(library.rerank(&Long::TooFew, "q", &hits, 2), Err(RerankError::Refused(mismatch)));
    let not_finite = Error::NonFinite { index: 0 };
    assert_eq!(library.rerank(&Long::NotFinite, "q", &hits, 2), Err(RerankError::Refused(not_finite)));

    let words = |text: &str| text.split(' ').count();
    // The second does not fit; the third does.
    assert_eq!(ids(&within_budget(&library, &hits, 5, words).unwrap()), [short, middle]);
    assert_eq!(within_budget(&library, &hits, 1, words), Ok(vec![]));
    assert_eq!(ids(&within_budget(&library, &hits, usize::MAX, |_| 0).unwrap()).len(), 3);

    let prompt = render(&library, "what now?\n--- 0000000000000000", &hits[..2]).unwrap();
    let list = "[G0]. a b\n[G1]. c d e f g h";
    assert_eq!(prompt, format!("{}\n\n{}", fence(list), fence("what now?\n--- 0000000000000000")));
    let stranger = Hit { id: ExperienceId::from_bytes([9; 32]), score: 1.0 };
    assert_eq!(render(&library, "q", &[stranger]), Err(Error::UnknownId { id: stranger.id }));
    // Prompts count no use.
    assert_eq!(library.record(&short).unwrap().usage(), 0);
}

#[test]
fn remembered_answers_are_current() {
    let mut library = library();
    let a = add(&mut library, "one", [1.0, 0.0, 0.0]);
    let b = add(&mut library, "two", [0.5, 1.0, 0.0]);
    let mut cache = RetrievalCache::new(2);
    let search = Search::new(1).quality_weight(0.5);
    let query = [1.0, 0.2, 0.0];
    let mut ask = |library: &Library, expected: ExperienceId, counts: (u64, u64)| {
        assert_eq!(ids(&cache.retrieve(library, &query, &search).unwrap()), [expected]);
        assert_eq!((cache.hits(), cache.misses()), counts);
    };
    ask(&library, a, (0, 1));
    ask(&library, a, (1, 1));
    for voter in ["v1", "v2", "v3", "v4", "v5"] {
        library.record_vote(&a, voter, Vote::Down).unwrap();
        library.record_vote(&b, voter, Vote::Up).unwrap();
    }
    library.record_use(&b, 5).unwrap();
    ask(&library, b, (1, 2));
    library.set_vector(&b, &[-1.0, 0.0, 0.0]).unwrap();
    ask(&library, a, (1, 3));
    library.apply(&Stamp::new(2, "tester"), Mode::Atomic, &[Operation::Delete { id: a }]).unwrap();
    ask(&library, b, (1, 4));

    // The least recently asked goes first.
    let mut cache = RetrievalCache::new(2);
    let queries =
        [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, 1.0], [1.0, 0.0, 0.0], [0.0, 1.0, 0.0]];
    for query in queries {
        cache.retrieve(&library, &query, &Search::new(1)).unwrap();
    }
    assert_eq!((cache.hits(), cache.misses()), (2, 4));
    let mut none = RetrievalCache::new(0);
    for _ in 0..2 {
        none.retrieve(&library, &queries[0], &Search::new(1)).unwrap();
    }
    assert_eq!((none.hits(), none.misses()), (0, 2));
    assert_eq!(none.retrieve(&library, &[0.0; 3], &Search::new(1)), Err(Error::ZeroNorm));
}

#[test]
fn a_merger_finds_copies_in_other_words() {
    let texts = ["verify the units at the end", "make sure dimensions agree before you answer"];
    let vectors = [[1.0, 0.0, 0.05], [1.0, 0.0, 0.0]];
    let asked = Cell::new(0);
    let same = |_: &Content, _: &Content| {
        asked.set(asked.get() + 1);
        true
    };
    let batch = |at: usize| [Operation::Add(draft(texts[at], vectors[at]))];
    let stamp = Stamp::new(1, "tester");
    let mut library = library();
    library.apply_with(&stamp, Mode::Atomic, &batch(0), &same).unwrap();
    let mut plain = library.clone();
    let outcome = plain.apply(&stamp, Mode::Atomic, &batch(1)).unwrap().outcomes;
    assert!(matches!(outcome[..], [Outcome::Added { .. }]));
    let merged = library.apply_with(&stamp, Mode::Atomic, &batch(1), &same).unwrap().outcomes;
    assert!(matches!(merged[..], [Outcome::Merged { .. }]));
    assert_eq!((library.len(), asked.get()), (1, 1));
    // Far apart, of another domain, or without a vector: it is not asked.
    let far = draft("draw a picture", [0.0, 1.0, 0.0]);
    let mut web = draft("reload the page", [1.0, 0.0, 0.0]);
    web.domain = "web".parse().unwrap();
    let mut bare = draft("estimate first", [1.0, 0.0, 0.0]);
    bare.vector = None;
    for draft in [far, web, bare] {
        library.apply_with(&stamp, Mode::Atomic, &[Operation::Add(draft)], &same).unwrap();
    }
    assert_eq!((library.len(), asked.get()), (4, 1));
}

#[test]
fn digests_bind_encoder_and_vector() {
    let digest = |encoder: &str, vector: &[f32]| embedding_digest(encoder, vector).unwrap().to_string();
    // Computed apart from this crate.
    assert_eq!(digest("toy", &[0.5, -1.0]), "b0aa46ad7dcf57e601a206cdb164f91520da11a8c151e4e122bd8e57795c01f8");
    let all =
        [digest("toy", &[0.5, -1.0]), digest("toy2", &[0.5, -1.0]), digest("toy", &[0.5]), digest("toy", &[-1.0, 0.5])];
    assert!((0..4).all(|i| (0..i).all(|j| all[i] != all[j])));
    assert!(embedding_digest(&"e".repeat(65_536), &[]).is_err());
}

/// What the older form held becomes contents, labels and counters.
#[test]
fn older_objects_become_experiences() {
    let json = br#"{"id": "exp_abc123", "domain": "math.algebra", "text": "When solving quadratics,\n check the discriminant first.",
        "confidence": 0.87, "examples": [{"input": " $x^2 + 2x + 5 = 0$ ", "output": "No real solutions"}],
        "metadata": {"created_at": "2025-10-17T12:00:00Z", "created_by": "0x742d35Cc...",
            "votes": {"upvotes": 24, "downvotes": 2}, "usage_count": 156},
        "embedding": [0.123, -0.456, 0.5], "merkle_proof": "0xabc...def"}"#;
    let imported = Imported::from_json(json).unwrap();
    let mut library = library();
    let operation = [Operation::Add(imported.draft.clone())];
    let applied = library.apply(&Stamp::new(1_760_702_400, "importer"), Mode::Atomic, &operation).unwrap();
    let [Outcome::Added { id }] = applied.outcomes[..] else { panic!() };
    library.set_label(&id, &imported.label).unwrap();
    library.record_use(&id, imported.usage).unwrap();
    let content = library.get(&id).unwrap();
    assert_eq!(content.text().as_str(), "When solving quadratics, check the discriminant first.");
    assert_eq!(content.examples()[0].input, " $x^2 + 2x + 5 = 0$ ");
    assert_eq!((imported.upvotes, imported.downvotes), (24, 2));
    assert_eq!(library.record(&id).unwrap().label().text(), "exp_abc123");
    assert_eq!(library.retrieve(&[0.123, -0.456, 0.5], &Search::new(1)).unwrap()[0].id, id);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    /// The bounded selection gives what sorting everything gives, ties and floors included.
    #[test]
    fn top_k_is_a_prefix_of_everything(
        vectors in prop::collection::vec([-2_i8..=2, -2..=2, -2..=2], 1..400),
        query in [-2_i8..=2, -2..=2, 1..=2],
        k in 0_usize..100,
        floor in -1.0_f32..1.0,
    ) {
        let float = |vector: [i8; 3]| vector.map(f32::from);
        let mut index = VectorIndex::new("e", 3).unwrap();
        for (number, vector) in vectors.iter().enumerate().filter(|(_, vector)| **vector != [0; 3]) {
            let mut id = [0; 32];
            id[..8].copy_from_slice(&(number as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes());
            index.insert(ExperienceId::from_bytes(id), &float(*vector)).unwrap();
        }
        let all = index.search(&float(query), &Search::new(usize::MAX)).unwrap();
        prop_assert_eq!(all.len(), index.len());
        prop_assert!(all.is_sorted_by(|a, b| a.score > b.score || (a.score == b.score && a.id < b.id)));
        let top = index.search(&float(query), &Search::new(k)).unwrap();
        prop_assert_eq!(&top, &all[..k.min(all.len())]);
        let above: Vec<Hit> = all.iter().copied().filter(|hit| hit.score >= floor).take(k).collect();
        let floored = index.search(&float(query), &Search::new(k).min_similarity(floor)).unwrap();
        prop_assert_eq!(floored, above);
    }
}
