//! Trees, proofs and checkpoints of hanzo-experience beside tlog_tiles, an independent implementation of the Go
//! checksum database's logs that reads its nodes by the stored-hash numbering.

#![expect(clippy::unwrap_used, reason = "a helper that unwraps fails the test that called it")]

use hanzo_experience::Error;
use hanzo_experience::merkle::{
    Checkpoint, ConsistencyProof, Hash, InclusionProof, Log, leaf_hash, node_hash, verify_consistency, verify_inclusion,
};
use tlog_tiles::tlog;

/// Their stored hashes, in their order.
#[derive(Default)]
struct Stored(Vec<tlog::Hash>);

impl tlog::HashReader for Stored {
    fn read_hashes(&self, indexes: &[u64]) -> Result<Vec<tlog::Hash>, tlog::Error> {
        Ok(indexes.iter().map(|index| self.0[*index as usize]).collect())
    }
}

fn theirs(hash: &Hash) -> tlog::Hash {
    tlog::Hash(*hash.as_bytes())
}

fn ours(hash: &tlog::Hash) -> Hash {
    Hash::from_bytes(hash.0)
}

fn record(index: u64) -> Vec<u8> {
    format!("record {index}").repeat(index as usize % 4).into_bytes()
}

/// A log of `n` records in both.
fn logs(n: u64) -> (Log, Stored) {
    let (mut log, mut stored) = (Log::new(), Stored::default());
    for index in 0..n {
        log.append_data(&record(index));
        let new = tlog::stored_hashes(index, &record(index), &stored).unwrap();
        stored.0.extend(new);
    }
    (log, stored)
}

#[test]
fn hashes_agree() {
    let (a, b) = (leaf_hash(b"a"), leaf_hash(b"b"));
    assert_eq!(ours(&tlog::record_hash(b"a")), a);
    assert_eq!(ours(&tlog::node_hash(theirs(&a), theirs(&b))), node_hash(&a, &b));
    assert_eq!(ours(&tlog::EMPTY_HASH), Log::new().root());
}

#[test]
fn roots_and_proofs_agree_at_every_size() {
    let n = 75;
    let (log, stored) = logs(n);
    for size in 1..=n {
        let root = log.root_at(size).unwrap();
        let their_root = tlog::tree_hash(size, &stored).unwrap();
        assert_eq!(ours(&their_root), root);

        for index in 0..size {
            let leaf = &log.leaves()[index as usize];
            let proof = log.prove_inclusion(index, size).unwrap();
            let other = tlog::prove_record(size, index, &stored).unwrap();
            assert_eq!(proof.hashes(), other.iter().map(ours).collect::<Vec<_>>());
            tlog::check_record(&proof.hashes().iter().map(theirs).collect(), size, their_root, index, theirs(leaf))
                .unwrap();
        }
        for old in 1..=size {
            let proof = log.prove_consistency(old, size).unwrap();
            let other = tlog::prove_tree(size, old, &stored).unwrap();
            assert_eq!(proof.hashes(), other.iter().map(ours).collect::<Vec<_>>());
            let old_root = log.root_at(old).unwrap();
            let hashes = proof.hashes().iter().map(theirs).collect();
            tlog::check_tree(&hashes, size, their_root, old, theirs(&old_root)).unwrap();
            verify_consistency(old, &old_root, size, &root, &proof).unwrap();
        }
    }
}

/// Spoiled proofs: both verifiers give the same answer, whichever it is.
#[test]
fn verifiers_agree_on_spoiled_proofs() {
    let (log, _) = logs(40);
    let (mut accepted, mut refused) = (0, 0);
    for size in 1..=40 {
        let root = log.root_at(size).unwrap();
        for index in 0..size {
            let honest = log.prove_inclusion(index, size).unwrap().hashes().to_vec();
            let mut spoiled = vec![honest.clone()];
            for place in 0..honest.len() {
                let mut dropped = honest.clone();
                dropped.remove(place);
                let mut doubled = honest.clone();
                doubled.insert(place, honest[place]);
                let mut swapped = honest.clone();
                swapped.swap(place, 0);
                spoiled.extend([dropped, doubled, swapped]);
            }
            for hashes in spoiled {
                let their_proof: Vec<tlog::Hash> = hashes.iter().map(theirs).collect();
                let proof = InclusionProof::new(hashes).unwrap();
                // Right and wrong sizes and indices.
                for (claimed_index, claimed_size) in
                    [(index, size), (index, size + 1), (index + 1, size + 1), (index / 2, size)]
                {
                    let leaf = &log.leaves()[index as usize];
                    let mine = verify_inclusion(claimed_index, claimed_size, leaf, &proof, &root).is_ok();
                    let other =
                        tlog::check_record(&their_proof, claimed_size, theirs(&root), claimed_index, theirs(leaf))
                            .is_ok();
                    assert_eq!(mine, other, "{claimed_index} of {claimed_size}, in truth {index} of {size}");
                    if mine { accepted += 1 } else { refused += 1 }
                }
            }
        }
    }
    assert!(accepted >= 820 && refused > 10_000, "{accepted} {refused}");
}

#[test]
fn verifiers_agree_on_consistency_under_wrong_sizes() {
    let (log, _) = logs(24);
    for new in 1..=24 {
        for old in 1..=new {
            let proof = log.prove_consistency(old, new).unwrap();
            let hashes: Vec<tlog::Hash> = proof.hashes().iter().map(theirs).collect();
            let (old_root, new_root) = (log.root_at(old).unwrap(), log.root_at(new).unwrap());
            for claimed_old in 1..=25 {
                for claimed_new in claimed_old..=25 {
                    let mine = verify_consistency(claimed_old, &old_root, claimed_new, &new_root, &proof);
                    let other =
                        tlog::check_tree(&hashes, claimed_new, theirs(&new_root), claimed_old, theirs(&old_root));
                    assert_eq!(mine.is_ok(), other.is_ok(), "{claimed_old} in {claimed_new}, in truth {old} in {new}");
                }
            }
        }
    }
    let none = ConsistencyProof::new(vec![]).unwrap();
    let root = log.root();
    assert_eq!(verify_consistency(0, &root, 24, &root, &none), Err(Error::EmptyOldTree));
}

#[test]
fn checkpoint_text_agrees() {
    let (log, _) = logs(9);
    let checkpoint = log.checkpoint(&"example.com/log".parse().unwrap());
    let text = checkpoint.to_string();
    let other = tlog_tiles::checkpoint::Checkpoint::from_bytes(text.as_bytes()).unwrap();
    assert_eq!(
        (other.origin(), other.size(), ours(other.hash()), other.extension()),
        ("example.com/log", 9, log.root(), "")
    );
    assert_eq!(other.to_bytes(), text.as_bytes());
    for (from, to) in [("\n9\n", "\n09\n"), ("\n9\n", "\n+9\n"), ("=\n", "="), ("=\n", "\n"), ("example.com/log", "")] {
        let bad = text.replacen(from, to, 1);
        assert!(bad.parse::<Checkpoint>().is_err(), "{bad}");
        assert!(tlog_tiles::checkpoint::Checkpoint::from_bytes(bad.as_bytes()).is_err(), "{bad}");
    }
}
