//! Published and shared vectors. The data folder is named by `HANZO_TEST_DATA`; tests that need it say so and return
//! when it is not set.

use crate::support::data::{bytes, data, hash, hashes, list, number, text};
use hanzo_experience::crdt::Record;
use hanzo_experience::merkle::{
    Checkpoint, ConsistencyProof, Hash, InclusionProof, Log, StateRoot, StateTree, empty_root, leaf_hash,
    verify_consistency, verify_inclusion, verify_multi,
};
use hanzo_experience::sync::{Bound, Frame, RangeKind};
use hanzo_experience::{
    Content, Dedup, Draft, Entry, Error, Evidence, ExperienceId, PruneItem, PrunePolicy, Quality, Text, TokenSet,
    UsageScale, VoteScore, log2_q32, prune_order,
};
use serde_json::Value;
use sha2::{Digest, Sha256};

/// Inputs and root of the tree that Certificate Transparency logs test with (RFC 6962).
#[test]
fn certificate_transparency_reference_root() {
    let inputs = ["", "00", "10", "2021", "3031", "40414243", "5051525354555657"];
    let mut log = Log::new();
    for input in inputs {
        log.append_data(&hex::decode(input).unwrap());
    }
    log.append_data(&(0x60..0x70).collect::<Vec<u8>>());
    let root = "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328";
    assert_eq!(log.root().to_string(), root);
    let empty = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
    assert_eq!(empty_root().to_string(), empty);
}

#[test]
fn rfc6962_reference_tree() {
    let Some(file) = data("rfc6962/reference_tree.json") else { return };
    assert_eq!(hash(&file, "empty_root"), empty_root());
    let roots = hashes(&file, "root_hashes_hex_for_size_1_to_8");
    let inputs = list(&file, "leaf_inputs_hex");
    assert_eq!((roots.len(), inputs.len()), (8, 8));
    let mut log = Log::new();
    for (input, root) in inputs.iter().zip(roots) {
        log.append_data(&hex::decode(input.as_str().unwrap()).unwrap());
        assert_eq!(log.root(), root);
    }
}

/// A hash of a probe; none where it has another length, which our types cannot express.
fn probe_hash(value: &Value) -> Option<Hash> {
    use base64ct::{Base64, Encoding};
    let bytes = Base64::decode_vec(value.as_str().unwrap_or_default()).expect("base64");
    <[u8; 32]>::try_from(bytes).ok().map(Hash::from)
}

fn probe_proof(probe: &Value) -> Option<Vec<Hash>> {
    list(probe, "proof").iter().map(probe_hash).collect()
}

#[test]
fn rfc6962_probes() {
    let Some(file) = data("rfc6962/probes.json") else { return };
    let mut counts = [[0; 2]; 2];

    for probe in list(&file, "inclusion") {
        let parts = (probe_hash(&probe["leafHash"]), probe_hash(&probe["root"]), probe_proof(probe));
        let accepted = match parts {
            (Some(leaf), Some(root), Some(proof)) => InclusionProof::new(proof)
                .and_then(|proof| {
                    verify_inclusion(number(probe, "leafIdx"), number(probe, "treeSize"), &leaf, &proof, &root)
                })
                .is_ok(),
            _ => false,
        };
        assert_eq!(accepted, !probe["wantErr"].as_bool().unwrap(), "{}", probe["file"]);
        counts[0][usize::from(accepted)] += 1;
    }

    for probe in list(&file, "consistency") {
        let want = !probe["wantErr"].as_bool().unwrap();
        let parts = (probe_hash(&probe["root1"]), probe_hash(&probe["root2"]), probe_proof(probe));
        let accepted = match parts {
            (Some(old), Some(new), Some(proof)) => ConsistencyProof::new(proof)
                .and_then(|proof| {
                    verify_consistency(number(probe, "size1"), &old, number(probe, "size2"), &new, &proof)
                })
                .is_ok(),
            // The one probe that wants two equal "roots" of another length accepted.
            _ if want => {
                assert_eq!(probe["file"], "consistency/additional/sizes-are-equal-one-and-proof-is-empty.json");
                continue;
            }
            _ => false,
        };
        assert_eq!(accepted, want, "{}", probe["file"]);
        counts[1][usize::from(accepted)] += 1;
    }
    assert_eq!(counts, [[92, 6], [92, 5]]);
}

#[test]
fn trees_and_mutated_proofs() {
    let Some(file) = data("computed/trees.json") else { return };
    let (mut honest, mut refused, mut resized) = (0, 0, 0);
    for tree in list(&file, "trees") {
        let n = number(tree, "n");
        let leaves = (0..n).map(|index| {
            let digest = Sha256::new().chain_update(text(tree, "tag")).chain_update(index.to_be_bytes());
            leaf_hash(&digest.finalize()[..(index % 33) as usize])
        });
        let log = Log::from_leaves(leaves.collect());
        assert_eq!(log.root(), hash(tree, "root"));

        for case in list(tree, "inclusion") {
            let (index, size, root) = (number(case, "index"), number(case, "size"), hash(case, "root"));
            let proof = log.prove_inclusion(index, size).unwrap();
            assert_eq!(proof.hashes(), hashes(case, "path"));
            assert_eq!(log.root_at(size), Ok(root));
            verify_inclusion(index, size, &log.leaves()[index as usize], &proof, &root).unwrap();
            honest += 1;
        }
        for case in list(tree, "consistency") {
            let (old, new) = (number(case, "old"), number(case, "new"));
            let proof = log.prove_consistency(old, new).unwrap();
            assert_eq!(proof.hashes(), hashes(case, "path"));
            verify_consistency(old, &hash(case, "old_root"), new, &hash(case, "new_root"), &proof).unwrap();
            honest += 1;
        }
        for case in list(tree, "mutated") {
            let (index, size, root) = (number(case, "index"), number(case, "size"), hash(case, "root"));
            let accepted = InclusionProof::new(hashes(case, "path"))
                .and_then(|proof| verify_inclusion(index, size, &hash(case, "leaf_hash"), &proof, &root))
                .is_ok();
            assert_eq!(accepted, case["accept"].as_bool().unwrap(), "{case}");
            if accepted {
                // Only a wrong size gets through, and no size but the true one has the log's commitment.
                let true_size = (1..=n).find(|size| log.root_at(*size) == Ok(root)).unwrap();
                assert_ne!(true_size, size, "{case}");
                resized += 1;
            } else {
                refused += 1;
            }
        }
    }
    assert_eq!(refused + resized, 589);
    assert!(honest > 0 && resized > 0, "{honest} {resized}");
}

#[test]
fn content_bytes_ids_and_cids() {
    let Some(file) = data("computed/content.json") else { return };
    let mut ids = Vec::new();
    for case in list(&file, "cases") {
        let content = Content::from_json(text(case, "input").as_bytes()).unwrap();
        let canonical = bytes(case, "canonical_hex");
        assert_eq!(content.to_canonical(), canonical);
        assert_eq!(Content::from_canonical(&canonical), Ok(content.clone()));
        assert_eq!(content.id().to_string(), text(case, "id"));
        assert_eq!(content.cid(), text(case, "cid"));
        if text(case, "input").as_bytes() != canonical {
            assert_eq!(Content::from_canonical(text(case, "input").as_bytes()), Err(Error::NotCanonical));
        }
        ids.push(content.id());
    }
    assert_eq!(ids.len(), 40);
    let state = StateTree::new(ids).root();
    assert_eq!(state.size(), number(&file, "state_size"));
    assert_eq!(*state.root(), hash(&file, "state_root"));
    assert_eq!(state.commitment(), hash(&file, "state_commitment"));
}

/// Every string of the RFC 8785 cases that an example may hold is written with the same bytes.
#[test]
fn strings_are_written_as_rfc8785_has_them() {
    fn strings(value: &Value, out: &mut Vec<String>) {
        match value {
            Value::String(text) => out.push(text.clone()),
            Value::Array(items) => items.iter().for_each(|item| strings(item, out)),
            Value::Object(members) => {
                for (name, value) in members {
                    out.push(name.clone());
                    strings(value, out);
                }
            }
            _ => {}
        }
    }
    let (Some(file), Some(published)) = (data("computed/jcs.json"), data("rfc8785/triples.json")) else { return };
    let cases = list(&file, "cases").iter().map(|case| (case, "canonical_hex"));
    let triples = list(&published, "triples").iter().map(|case| (case, "output_hex"));
    assert_eq!(triples.len(), 6);
    let mut checked = 0;
    for (case, member) in cases.chain(triples) {
        let canonical = String::from_utf8(bytes(case, member)).unwrap();
        let mut found = Vec::new();
        strings(&serde_json::from_str(text(case, "input")).unwrap(), &mut found);
        for string in found {
            let draft = Draft::new(Text::new("a").unwrap(), "d".parse().unwrap(), "x", 0);
            let Ok(content) = Content::new(draft.example(string, ""), vec![]) else {
                continue;
            };
            let ours = String::from_utf8(content.to_canonical()).unwrap();
            let (_, rest) = ours.split_once(r#""examples":[{"input":"#).unwrap();
            let (literal, _) = rest.split_once(r#","output":""}],"model""#).unwrap();
            assert!(canonical.contains(literal), "{literal} not in {canonical}");
            checked += 1;
        }
    }
    assert!(checked > 500, "{checked}");
}

#[test]
fn text_rules() {
    let Some(file) = data("computed/text.json") else { return };
    let cases = list(&file, "cases");
    assert_eq!(cases.len(), 39);
    for case in cases {
        let given = text(case, "text");
        assert_eq!(given.split_whitespace().count() as u64, number(case, "words"));
        let verdict = match Text::new(given) {
            Ok(_) => "Ok",
            Err(Error::EmptyText) => "EmptyText",
            Err(Error::TooManyBytes { .. }) => "TooManyBytes",
            Err(Error::ForbiddenChar { .. }) => "ForbiddenChar",
            Err(Error::NotNormalized) => "NotNormalized",
            Err(Error::TooManyWords { .. }) => "TooManyWords",
            Err(other) => panic!("{other}"),
        };
        assert_eq!(verdict, text(case, "result"), "{given:?}");
    }
}

/// Texts that Training-Free GRPO learned: 13 of 73 exceed the word limit that its paper states.
#[test]
fn learned_texts_and_the_word_limit() {
    fn collect(value: &Value, out: &mut Vec<String>) {
        match value {
            Value::String(text) => out.push(text.clone()),
            Value::Array(items) => items.iter().for_each(|item| collect(item, out)),
            Value::Object(members) => members.values().for_each(|item| collect(item, out)),
            _ => {}
        }
    }
    let (Some(math), Some(web)) = (data("tfgrpo/math_experiences.json"), data("tfgrpo/web_experiences.json")) else {
        return;
    };
    for (file, all, too_long) in [(math, 27, 2), (web, 46, 11)] {
        let mut texts = Vec::new();
        collect(&file, &mut texts);
        // Sentences, as against ids and file names.
        texts.retain(|text| text.split_whitespace().count() > 4);
        assert_eq!(texts.len(), all);
        let refused = texts.iter().filter(|text| Text::normalize(text).is_err()).count();
        assert_eq!(refused, too_long);
    }
}

#[test]
fn log_entries_and_checkpoints() {
    let Some(file) = data("computed/log.json") else { return };
    let (mut log, mut old): (Log, Option<Checkpoint>) = (Log::new(), None);
    let cases = list(&file, "cases");
    assert_eq!(cases.len(), 15);
    for case in cases {
        let canonical = bytes(case, "canonical_hex");
        let entry = Entry::from_canonical(&canonical).unwrap();
        assert_eq!(entry.to_canonical(), canonical);
        assert_eq!(entry.leaf(), hash(case, "leaf"));
        let index = log.append(entry.leaf());
        assert_eq!(log.index_of(&entry.leaf()), Some(index));

        let checkpoint: Checkpoint = text(case, "checkpoint").parse().unwrap();
        assert_eq!(checkpoint, log.checkpoint(checkpoint.origin()));
        assert_eq!(checkpoint.to_string(), text(case, "checkpoint"));
        assert_eq!(checkpoint.commitment(), hash(case, "log_commitment"));
        let proof = log.prove_inclusion(index, checkpoint.size()).unwrap();
        checkpoint.verify_inclusion(index, &entry.leaf(), &proof).unwrap();
        if let Some(old) = &old {
            let proof = log.prove_consistency(old.size(), checkpoint.size()).unwrap();
            checkpoint.verify_extends(old, &proof).unwrap();
        }
        old = Some(checkpoint);
    }
}

#[test]
fn quality_and_prune_order() {
    let Some(file) = data("computed/quality.json") else { return };
    let small = |value: &Value, member: &str| u32::try_from(number(value, member)).unwrap();
    let cases = list(&file, "cases");
    assert_eq!(cases.len(), 40);
    for case in cases {
        let weights: Vec<u32> = list(case, "weights_ppm").iter().map(|w| w.as_u64().unwrap() as u32).collect();
        let (up, down) = (small(case, "up"), small(case, "down"));
        let smoothed =
            VoteScore::Smoothed { strength: small(case, "prior_strength"), prior_ppm: small(case, "prior_ppm") };
        let evidence = Evidence {
            up,
            down,
            usage: number(case, "usage"),
            max_usage: number(case, "max_usage"),
            confidence_ppm: small(case, "confidence_ppm"),
        };
        assert_eq!(smoothed.score(up, down), small(case, "vote_ppm"));
        assert_eq!(VoteScore::Wilson { z_milli: 1960 }.score(up, down), small(case, "wilson_1960"), "{case}");
        let usage = |scale: UsageScale| scale.score(evidence.usage, evidence.max_usage);
        assert_eq!(usage(UsageScale::Linear), small(case, "usage_ppm"));
        assert_eq!(usage(UsageScale::Log2), small(case, "usage_log_ppm"));
        let quality = Quality::new(weights[0], weights[1], weights[2]).unwrap().vote_score(smoothed);
        assert_eq!(quality.score(&evidence), small(case, "q_ppm"));
        assert_eq!(quality.usage_scale(UsageScale::Log2).score(&evidence), small(case, "q_log_ppm"));
    }

    let items: Vec<PruneItem> = list(&file, "prune_items")
        .iter()
        .map(|item| PruneItem {
            id: text(item, "id").parse().unwrap(),
            quality_ppm: small(item, "q_ppm"),
            created_at: number(item, "created_at"),
            usage: 0,
        })
        .collect();
    let order: Vec<String> =
        prune_order(&items, PrunePolicy::default(), 100).iter().map(ExperienceId::to_string).collect();
    assert_eq!(order.len(), 30);
    assert_eq!(order, list(&file, "prune_order").iter().map(|id| id.as_str().unwrap()).collect::<Vec<_>>());
}

#[test]
fn fixed_logarithm() {
    let Some(file) = data("computed/fixed_log.json") else { return };
    let cases = list(&file, "cases");
    assert_eq!(cases.len(), 34);
    let mut checked = 0;
    for case in cases {
        // Larger arguments belong to amounts of money.
        if let Ok(x) = text(case, "x").parse() {
            assert_eq!(log2_q32(x).to_string(), text(case, "log2_q32"));
            checked += 1;
        }
    }
    assert!(checked > 20, "{checked}");
}

#[test]
fn jaccard_gate() {
    let Some(file) = data("computed/jaccard.json") else { return };
    let cases = list(&file, "cases");
    assert_eq!(cases.len(), 30);
    for case in cases {
        let (a, b) = (TokenSet::new(text(case, "a")), TokenSet::new(text(case, "b")));
        let (both, either) = a.overlap(&b);
        assert_eq!((both as u64, either as u64), (number(case, "intersection"), number(case, "union")), "{case}");
        assert_eq!(Dedup::default().alike(&a, &b), case["duplicate"].as_bool().unwrap(), "{case}");
    }
}

/// A state root without its size is not a commitment.
#[test]
fn commitments_bind_the_size() {
    let root = leaf_hash(b"x");
    let (one, two) = (StateRoot::new(1, root).unwrap(), StateRoot::new(2, root).unwrap());
    assert_ne!(one.commitment(), two.commitment());
    assert_eq!(StateRoot::new(0, root), Err(Error::RootMismatch));
}

#[test]
fn multiproofs() {
    let Some(file) = data("computed/multiproof.json") else { return };
    let cases = list(&file, "cases");
    assert_eq!(cases.len(), 25);
    for case in cases {
        let n = number(case, "n");
        let leaves: Vec<Hash> = (0..n)
            .map(|index| {
                let digest = Sha256::new().chain_update(text(case, "tag")).chain_update(index.to_be_bytes());
                leaf_hash(&digest.finalize()[..(index % 33) as usize])
            })
            .collect();
        let log = Log::from_leaves(leaves.clone());
        let indices: Vec<u64> = list(case, "indices").iter().map(|index| index.as_u64().unwrap()).collect();
        let proof = log.prove_many(&indices, n).unwrap();
        assert_eq!(proof.hashes(), hashes(case, "hashes"));
        let chosen: Vec<Hash> = indices.iter().map(|index| leaves[*index as usize]).collect();
        verify_multi(&indices, &chosen, n, &proof, &hash(case, "root")).unwrap();
    }
}

#[test]
fn records_join_as_computed() {
    let Some(file) = data("computed/crdt.json") else { return };
    let record = |case: &Value, member: &str| Record::from_canonical(text(case, member).as_bytes()).unwrap();
    let cases = list(&file, "cases");
    assert_eq!(cases.len(), 20);
    for case in cases {
        let (a, b, merged) = (record(case, "a"), record(case, "b"), record(case, "merged"));
        assert_eq!(a.join(&b).as_ref(), Ok(&merged));
        assert_eq!(b.join(&a).as_ref(), Ok(&merged));
        assert_eq!(merged.digest(), hash(case, "digest"));
        assert_eq!(merged.to_canonical(), text(case, "merged").as_bytes());
    }
    // Frames over 40 records: hello, a fingerprint of the first 20 and a list of the others, three wanted, done.
    let items: Vec<(ExperienceId, Hash)> = list(&file, "records")
        .iter()
        .map(|pair| {
            let part = |index: usize| pair[index].as_str().unwrap().parse::<Hash>().unwrap();
            (part(0).into(), part(1))
        })
        .collect();
    assert_eq!(items.len(), 40);
    let frames: Vec<Frame> = list(&file, "frames")
        .iter()
        .map(|frame| {
            let read = Frame::from_bytes(&bytes(frame, "hex")).unwrap();
            assert_eq!(read.to_bytes().unwrap(), bytes(frame, "hex"));
            read
        })
        .collect();
    let [Frame::Hello(hello), Frame::Ranges(ranges), Frame::Want(ids), Frame::Done] = &frames[..] else {
        panic!("{frames:?}")
    };
    assert_eq!((hello.origin.as_str(), hello.log_size, hello.state_size), ("node-1/experience", 7, 40));
    let ids_of: Vec<ExperienceId> = items.iter().map(|(id, _)| *id).collect();
    assert_eq!(hello.state_root, *StateTree::new(ids_of.iter().copied()).root().root());
    let digests = items[..20].iter().map(|(_, digest)| *digest).collect();
    let fingerprint = RangeKind::Fingerprint { n: 20, root: Log::from_leaves(digests).root() };
    assert_eq!((ranges[0].bound, &ranges[0].kind), (Bound(ids_of[20]), &fingerprint));
    assert_eq!((ranges[1].bound, &ranges[1].kind), (Bound::END, &RangeKind::Items(items[20..].to_vec())));
    assert!(ids.iter().all(|id| ids_of.contains(id)));
}

#[cfg(feature = "cid")]
#[test]
fn foreign_cids() {
    use hanzo_experience::Cid;

    let Some(file) = data("cid/cid_vectors.json") else { return };
    for member in ["cidv1_raw_sha256_hello_world", "cidv1_dagcbor_empty_map"] {
        let case = &file[member];
        let data = match case["data_utf8"].as_str() {
            Some(text) => text.as_bytes().to_vec(),
            None => bytes(case, "data_hex"),
        };
        let cid: Cid = text(case, "cid").parse().unwrap();
        assert_eq!(cid.to_string(), text(case, "cid"));
        cid.verify(&data).unwrap();
        assert_eq!(cid.verify(b"other"), Err(Error::RootMismatch));
    }
    for cid in list(&file, "cid_crate_tests_v1") {
        let parsed: Cid = cid.as_str().unwrap().parse().unwrap();
        assert_eq!(parsed.to_string(), cid.as_str().unwrap());
    }
    for cid in list(&file, "cid_crate_tests_v0") {
        assert_eq!(cid.as_str().unwrap().parse::<Cid>(), Err(Error::MalformedCid));
    }
}

/// Roots of a pattern, computed apart from this crate by the rules of the reference client.
#[cfg(feature = "arweave")]
#[test]
fn arweave_data_roots() {
    use hanzo_experience::arweave::data_root;

    for (length, root) in [
        (0, "c7d6d46ef2f289196c38ea8294d90a5742c0a2115df8f7d77dbfd7a18a2c7d02"),
        (1, "1edff26615c60435197cbbf8383eb07bb164ae37290e918fc1064466010955f9"),
        (262_143, "853433852396b7c281be0a08e32906f5e6e5eb51809c3f196364699eb72f5aa4"),
        (262_144, "6a0bcd0656b69d92bb4647f32685d7d9b6108436faba324b34ef8a4759e98cd9"),
        (262_145, "da76de4bd39ebafb5310afa146c4fcc58099041a9bf5db38858844eb5ed64cb3"),
        (294_912, "3d5180a3586aa6fd1c09e23ed3b83c83148eeba90ceeb82076408cd4497c5c73"),
        (700_000, "fa5391cbfc8a532538906a07a83f80bcc8c1242a30437e11bea81d3a6920b077"),
        (1_048_576, "132cc21d492a02e02fb5709dc4a883f2d30020bb3a1643722d8d147c214bd643"),
    ] {
        let data: Vec<u8> = (0..length as usize).map(|i| (i * 7 + i / 251) as u8).collect();
        assert_eq!(data_root(&data).to_string(), root, "{length}");
    }
}

fn big(value: &Value, member: &str) -> u128 {
    value[member].as_str().and_then(|digits| digits.parse().ok()).unwrap_or_else(|| panic!("{member}: {value}"))
}

#[test]
fn splits() {
    use hanzo_experience::governance::{self, Choice, Governance, GovernanceConfig, PowerSnapshot, ProposalKind};
    use hanzo_experience::merkle::StateTree;
    use hanzo_experience::registry::{self, Registry, RegistryConfig, Submission};
    use hanzo_experience::rewards::largest_remainder;
    use hanzo_experience::{Account, Effect};

    let Some(file) = data("computed/splits.json") else { return };
    let account = |name: &str| name.parse::<Account>().unwrap();
    let state = StateTree::default().root();
    let submission = |bond| Submission {
        submitter: account("submitter"),
        commitment: state.commitment(),
        state,
        cid: "b".into(),
        schema: 0,
        attestation: [0; 32],
        bond,
    };
    let vote = |voter: &str, score, stake| registry::Event::Vote { entry: 0, voter: account(voter), score, stake };

    // The bond of an entry whose challenge is upheld.
    for case in list(&file, "bond") {
        let config = RegistryConfig::new(1).bonds(0, 0).min_voters(1);
        let sigma = u16::try_from(number(case, "sigma_bps")).unwrap();
        let mut registry = Registry::new(config.slash_bps(sigma).unwrap());
        registry.on(0, registry::Event::Submit(submission(big(case, "bond")))).unwrap();
        registry.on(0, vote("voter", 0, 1)).unwrap();
        let challenger = account("challenger");
        let challenge =
            registry::Event::Challenge { entry: 0, challenger: challenger.clone(), bond: 0, evidence: [0; 32] };
        registry.on(0, challenge).unwrap();
        let (mut burned, mut paid) = (0, 0);
        for effect in registry.on(0, registry::Event::Resolve { entry: 0, upheld: true }).unwrap() {
            match effect {
                Effect::Burn { amount, .. } => burned += amount,
                Effect::Pay { amount, account, .. } if account == challenger => paid += amount,
                Effect::Event { .. } => {}
                other => panic!("{other:?}"),
            }
        }
        assert_eq!((burned, paid), (big(case, "burn"), big(case, "challenger_reward")), "{case}");
    }
    for case in list(&file, "quality_median") {
        let mut registry = Registry::new(RegistryConfig::new(1).bonds(0, 0));
        registry.on(0, registry::Event::Submit(submission(0))).unwrap();
        for (index, pair) in list(case, "votes").iter().enumerate() {
            let score = u16::try_from(pair[0].as_u64().unwrap()).unwrap();
            let stake = pair[1].as_str().unwrap().parse().unwrap();
            registry.on(0, vote(&format!("voter-{index}"), score, stake)).unwrap();
        }
        let quality = registry.entry(0).unwrap().quality().unwrap();
        let expected = case["quality"].as_u64().or_else(|| case["quality"].as_str()?.parse().ok()).unwrap();
        assert_eq!(u64::from(quality), expected, "{case}");
    }
    for case in list(&file, "governance") {
        let sides = [("yes", Choice::Yes), ("no", Choice::No), ("abstain", Choice::Abstain)];
        let power = sides.map(|(side, _)| (account(side), big(case, side)));
        let power = PowerSnapshot::new(big(case, "supply"), power.clone()).unwrap();
        let mut governance = Governance::new(GovernanceConfig::new(1));
        let kind = ProposalKind::Upgrade { digest: [0; 32] };
        let propose = governance::Event::Propose { proposer: account("yes"), kind, start: 0, power };
        governance.on(0, propose).unwrap();
        for (side, choice) in sides.iter().filter(|(side, _)| big(case, side) > 0) {
            let vote = governance::Event::Vote { proposal: 0, voter: account(side), choice: *choice };
            governance.on(0, vote).unwrap();
        }
        governance.on(604_800, governance::Event::Finalize { proposal: 0 }).unwrap();
        let status = format!("{:?}", governance.proposal(0).unwrap().status());
        assert_eq!(status, text(case, "outcome"), "{case}");
    }
    for case in list(&file, "largest_remainder") {
        let numbers = |member: &str| -> Vec<u128> {
            list(case, member).iter().map(|number| number.as_str().unwrap().parse().unwrap()).collect()
        };
        assert_eq!(largest_remainder(big(case, "pool"), &numbers("weights")), Ok(numbers("shares")));
    }
}

#[test]
fn rewards_and_logarithms() {
    use hanzo_experience::ln_q32;
    use hanzo_experience::rewards::{Reputation, data_reward, experience_reward};

    let Some(file) = data("computed/rewards.json") else { return };
    let signed = |case: &Value, member: &str| case[member].as_i64().unwrap_or_else(|| panic!("{member}: {case}"));
    for case in list(&file, "cases") {
        let small = |member| u32::try_from(number(case, member)).unwrap();
        let reward = experience_reward(small("up"), small("down"), number(case, "usage"), big(case, "beta"));
        assert_eq!(reward, Ok(big(case, "keeper_exp")), "{case}");
        let reward = data_reward(big(case, "alpha"), number(case, "dataset_size"), signed(case, "dataset_q_ppm"));
        assert_eq!(reward, Ok(big(case, "keeper_data")), "{case}");
        let gains = [signed(case, "delta_info"), signed(case, "delta_utility"), signed(case, "cost")];
        let reputation = Reputation::default();
        assert_eq!(reputation.score(gains[0], gains[1], gains[2]), signed(case, "reputation").into(), "{case}");
        assert_eq!(reputation.emission(gains[0], gains[1], gains[2]), number(case, "emission").into(), "{case}");
    }
    let Some(file) = data("computed/fixed_log.json") else { return };
    for case in list(&file, "cases") {
        let x = u64::try_from(big(case, "x")).unwrap();
        assert_eq!(u128::from(log2_q32(x)), big(case, "log2_q32"));
        assert_eq!(u128::from(ln_q32(x)), big(case, "ln_q32"));
    }
}
