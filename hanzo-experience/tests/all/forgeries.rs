//! Proofs that lie: what a peer's verifier accepts and this crate refuses, and many random mutations, none accepted.

use hanzo_experience::Error;
use hanzo_experience::merkle::{
    AbsenceProof, Checkpoint, ConsistencyProof, Hash, InclusionProof, Log, MembershipProofs, MultiProof, StateTree,
    leaf_hash, node_hash, verify_multi,
};
use proptest::prelude::*;

/// RFC 6962 hashing for rs_merkle: a node without a sibling is promoted.
#[derive(Clone)]
struct Rfc6962;

impl rs_merkle::Hasher for Rfc6962 {
    type Hash = [u8; 32];

    fn hash(data: &[u8]) -> [u8; 32] {
        leaf_hash(data).into()
    }

    fn concat_and_hash(left: &[u8; 32], right: Option<&[u8; 32]>) -> [u8; 32] {
        right.map_or(*left, |right| node_hash(&(*left).into(), &(*right).into()).into())
    }
}

fn leaves(n: u64) -> Vec<Hash> {
    (0..n).map(|index| leaf_hash(&index.to_be_bytes())).collect()
}

fn checkpoint(log: &Log) -> Checkpoint {
    log.checkpoint(&"example.com/log".parse().unwrap())
}

/// A forgery: what rs_merkle 1.5.0 says of it, and with which error this crate refuses it.
type Row = (&'static str, bool, hanzo_experience::Result<()>);

/// Eight ways to forge a proof over four leaves: the peer's verifier accepts five, ours refuses each with its own error.
#[test]
fn table_of_forgeries() {
    let leaves = leaves(4);
    let log = Log::from_leaves(leaves.clone());
    let ours = checkpoint(&log);
    let plain: Vec<[u8; 32]> = leaves.iter().map(|leaf| (*leaf).into()).collect();
    let theirs = rs_merkle::MerkleTree::<Rfc6962>::from_leaves(&plain);
    let root: [u8; 32] = log.root().into();
    assert_eq!(theirs.root(), Some(root));
    let fake = leaf_hash(b"fake");
    let peer = |hashes: &[Hash], indices: &[usize], leaves: &[Hash], size: usize| {
        let hashes = hashes.iter().map(|hash| (*hash).into()).collect();
        let leaves: Vec<[u8; 32]> = leaves.iter().map(|leaf| (*leaf).into()).collect();
        rs_merkle::MerkleProof::<Rfc6962>::new(hashes).verify(root, indices, &leaves, size)
    };
    let (one, pair) = (log.prove_many(&[0], 4).unwrap(), log.prove_many(&[0, 1], 4).unwrap());
    let (one, pair) = (one.hashes(), pair.hashes());
    let many = |hashes: &[Hash], indices: &[u64], leaves: &[Hash]| {
        ours.verify_many(indices, leaves, &MultiProof::new(hashes.to_vec()))
    };
    let surplus = [one, &[fake]].concat();
    let inner = node_hash(&leaves[0], &leaves[1]);
    let resized = Checkpoint::new("example.com/log".parse().unwrap(), 2, log.root()).unwrap();

    let rows: [Row; 8] = [
        (
            "a duplicate index carries a foreign leaf",
            peer(pair, &[0, 1, 1], &[leaves[0], leaves[1], fake], 4),
            many(pair, &[0, 1, 1], &[leaves[0], leaves[1], fake]),
        ),
        ("a surplus hash at the end", peer(&surplus, &[0], &leaves[..1], 4), many(&surplus, &[0], &leaves[..1])),
        (
            "an index out of range under a wrong size",
            (4..16).any(|index| peer(one, &[index], &leaves[..1], 2)),
            resized.verify_many(&[4], &leaves[..1], &MultiProof::new(one.to_vec())),
        ),
        (
            "an index out of range under the true size",
            (4..64).any(|index| peer(one, &[index], &leaves[..1], 4)),
            many(one, &[4], &leaves[..1]),
        ),
        (
            "an inner node as a leaf under a wrong size",
            peer(&pair[..1], &[0], &[inner], 2),
            many(&pair[..1], &[0], &[inner]),
        ),
        (
            "unsorted indices",
            peer(pair, &[1, 0], &[leaves[1], leaves[0]], 4),
            many(pair, &[1, 0], &[leaves[1], leaves[0]]),
        ),
        (
            "a leaf without an index",
            peer(pair, &[0, 1], &[leaves[0], leaves[1], fake], 4),
            many(pair, &[0, 1], &[leaves[0], leaves[1], fake]),
        ),
        ("a missing hash", peer(&one[..1], &[0], &leaves[..1], 4), many(&one[..1], &[0], &leaves[..1])),
    ];
    let length = |got, want| Err(Error::ProofLength { got, want });
    let expected = [
        (true, Err(Error::IndexOrder)),
        (true, length(3, 2)),
        (true, Err(Error::IndexOutOfRange { index: 4, size: 2 })),
        (false, Err(Error::IndexOutOfRange { index: 4, size: 4 })),
        (true, length(1, 2)),
        (true, Err(Error::IndexOrder)),
        (false, length(3, 2)),
        (false, length(1, 2)),
    ];
    for ((what, peer, ours), (peer_expected, ours_expected)) in rows.into_iter().zip(expected) {
        println!("{what}: rs_merkle {}, refused here: {}", if peer { "accepts" } else { "refuses" }, ours.is_err());
        assert_eq!((peer, ours), (peer_expected, ours_expected), "{what}");
    }
}

#[test]
fn multiproofs_are_checked_before_they_are_hashed() {
    let log = Log::from_leaves(leaves(6));
    let proof = log.prove_many(&[2, 5], 6).unwrap();
    let checkpoint = checkpoint(&log);
    let verify = |indices: &[u64], leaves: &[Hash]| checkpoint.verify_many(indices, leaves, &proof);
    let all = leaves(6);
    assert_eq!(verify(&[2, 5], &[all[2], all[5]]), Ok(()));
    assert_eq!(verify(&[], &[]), Err(Error::OutOfRange { field: "indices" }));
    assert_eq!(verify(&[2, 6], &[all[2], all[5]]), Err(Error::IndexOutOfRange { index: 6, size: 6 }));
    assert_eq!(verify(&[2, u64::MAX], &[all[2], all[5]]), Err(Error::IndexOutOfRange { index: u64::MAX, size: 6 }));
    assert_eq!(verify(&[2, 5], &[all[5], all[2]]), Err(Error::RootMismatch));
    assert_eq!(log.prove_many(&[2, 2], 6), Err(Error::IndexOrder));
    assert_eq!(log.prove_many(&[], 6), Err(Error::OutOfRange { field: "indices" }));
    assert_eq!(log.prove_many(&[0], 7), Err(Error::SizeOrder { old: 7, new: 6 }));
    assert_eq!(MultiProof::from_bytes(&[0; 33]), Err(Error::ProofLength { got: 33, want: 32 }));
    assert_eq!(MultiProof::from_bytes(&proof.to_bytes()).as_ref(), Ok(&proof));
    // Greatest sizes do not overflow.
    let long = MultiProof::new(vec![all[0]; 64]);
    assert_eq!(verify_multi(&[0], &all[..1], u64::MAX, &long, &log.root()), Err(Error::RootMismatch));
    assert!(verify_multi(&[u64::MAX - 1], &all[..1], u64::MAX, &long, &log.root()).is_err());
    let tree = StateTree::new(all.iter().map(|leaf| (*leaf).into()));
    let ids: Vec<_> = tree_ids(&tree, &all);
    assert_eq!(tree.prove_many(&[ids[1], ids[0]]), Err(Error::IndexOrder));
    let stranger = hanzo_experience::ExperienceId::from_bytes([0; 32]);
    assert_eq!(tree.prove_many(&[stranger]), Err(Error::UnknownId { id: stranger }));
}

fn tree_ids(tree: &StateTree, leaves: &[Hash]) -> Vec<hanzo_experience::ExperienceId> {
    let mut ids: Vec<hanzo_experience::ExperienceId> = leaves.iter().map(|leaf| (*leaf).into()).collect();
    ids.sort_unstable();
    assert!(ids.iter().all(|id| tree.contains(id)));
    ids
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, failure_persistence: None, ..ProptestConfig::default() })]

    /// Hash for hash those of rs_merkle, at every size of a log.
    #[test]
    fn multiproofs_agree_with_rs_merkle(n in 1_u64..70, picks in prop::collection::vec(any::<prop::sample::Index>(), 1..20)) {
        let all = leaves(n + 9);
        let log = Log::from_leaves(all.clone());
        let mut indices: Vec<u64> = picks.iter().map(|pick| pick.index(n as usize) as u64).collect();
        indices.sort_unstable();
        indices.dedup();
        let plain: Vec<[u8; 32]> = all[..n as usize].iter().map(|leaf| (*leaf).into()).collect();
        let theirs = rs_merkle::MerkleTree::<Rfc6962>::from_leaves(&plain);
        let usize_indices: Vec<usize> = indices.iter().map(|index| *index as usize).collect();
        let ours = log.prove_many(&indices, n).unwrap();
        prop_assert_eq!(ours.to_bytes(), theirs.proof(&usize_indices).to_bytes());
        let chosen: Vec<Hash> = usize_indices.iter().map(|index| all[*index]).collect();
        prop_assert_eq!(verify_multi(&indices, &chosen, n, &ours, &log.root_at(n).unwrap()), Ok(()));
        if let [index] = indices[..] {
            let single = log.prove_inclusion(index, n).unwrap();
            prop_assert_eq!(single.hashes(), ours.hashes());
        }
    }
}

/// A small generator, so that a count and a seed name the mutations.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut x = self.0;
        x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        x ^ (x >> 31)
    }

    fn below(&mut self, n: usize) -> usize {
        (self.next() % n as u64) as usize
    }

    /// Another list: a bit flipped, or a hash dropped, doubled, added, or swapped with a different one.
    fn spoil(&mut self, hashes: &[Hash]) -> Vec<Hash> {
        let mut spoiled = hashes.to_vec();
        if hashes.is_empty() {
            return vec![leaf_hash(&self.next().to_be_bytes())];
        }
        let at = self.below(hashes.len());
        match self.below(5) {
            0 => {
                let mut bytes = *hashes[at].as_bytes();
                bytes[self.below(32)] ^= 1 << self.below(8);
                spoiled[at] = bytes.into();
            }
            1 => {
                spoiled.remove(at);
            }
            2 => spoiled.insert(at, hashes[at]),
            3 => spoiled.insert(at, leaf_hash(&self.next().to_be_bytes())),
            _ => spoiled.swap(at, hashes.len() - 1 - at),
        }
        if spoiled == hashes { vec![leaf_hash(b"other"); hashes.len() + 1] } else { spoiled }
    }

    fn other(&mut self, value: u64, below: u64) -> u64 {
        loop {
            let other = match self.below(4) {
                0 => self.next(),
                1 => value ^ (1 << self.below(64)),
                _ => self.next() % (below + 3),
            };
            if other != value {
                return other;
            }
        }
    }
}

/// Spoils proofs of every kind in one place each and counts those that still pass.
fn accepted_mutations(count: usize, seed: u64) -> usize {
    let mut random = Random(seed);
    let (n, mut accepted) = (97, 0);
    let all = leaves(n);
    let log = Log::from_leaves(all.clone());
    let checkpoints: Vec<Checkpoint> =
        (1..=n).map(|size| checkpoint(&Log::from_leaves(all[..size as usize].to_vec()))).collect();
    let tree = StateTree::new(all.iter().map(|leaf| (*leaf).into()));
    let (state, ids) = (tree.root(), tree_ids(&tree, &all));
    for _ in 0..count {
        let size = 1 + random.below(n as usize) as u64;
        let (index, kind) = (random.next() % size, random.below(9));
        let at = &checkpoints[size as usize - 1];
        let leaf = all[index as usize];
        let result = match kind {
            0 | 1 => {
                let proof = log.prove_inclusion(index, size).unwrap();
                match kind {
                    0 => InclusionProof::new(random.spoil(proof.hashes()))
                        .and_then(|proof| at.verify_inclusion(index, &leaf, &proof)),
                    _ => at.verify_inclusion(random.other(index, size), &leaf, &proof),
                }
            }
            2 | 3 => {
                let old = 1 + random.next() % size;
                let proof = log.prove_consistency(old, size).unwrap();
                let old = &checkpoints[old as usize - 1];
                match kind {
                    2 => ConsistencyProof::new(random.spoil(proof.hashes()))
                        .and_then(|proof| at.verify_extends(old, &proof)),
                    _ => {
                        let other = random.other(old.size(), size);
                        let moved = Checkpoint::new(old.origin().clone(), other, *old.root());
                        moved.and_then(|moved| at.verify_extends(&moved, &proof))
                    }
                }
            }
            4..=6 => {
                let mut indices: Vec<u64> = (0..1 + random.below(9)).map(|_| random.next() % size).collect();
                indices.sort_unstable();
                indices.dedup();
                let proof = log.prove_many(&indices, size).unwrap();
                let mut chosen: Vec<Hash> = indices.iter().map(|index| all[*index as usize]).collect();
                let place = random.below(indices.len());
                match kind {
                    4 => at.verify_many(&indices, &chosen, &MultiProof::new(random.spoil(proof.hashes()))),
                    5 => {
                        indices[place] = random.other(indices[place], size);
                        at.verify_many(&indices, &chosen, &proof)
                    }
                    _ => {
                        chosen = random.spoil(&chosen);
                        at.verify_many(&indices, &chosen, &proof)
                    }
                }
            }
            7 => {
                let (first, second) = (random.below(ids.len()), random.below(ids.len()));
                let (first, second) = (first.min(second), first.max(second));
                let chosen = if first == second { vec![ids[first]] } else { vec![ids[first], ids[second]] };
                let MembershipProofs { indices, siblings } = tree.prove_many(&chosen).unwrap();
                let siblings = MultiProof::new(random.spoil(siblings.hashes()));
                state.verify_many(&chosen, &MembershipProofs { indices, siblings })
            }
            _ => {
                // The absence of what is there, by the proof of something else.
                let stranger = leaf_hash(&random.next().to_be_bytes()).into();
                let mut proof: AbsenceProof = tree.prove_absent(&stranger).unwrap();
                match random.below(3) {
                    0 => proof.below = None,
                    1 => proof.above = None,
                    _ => {}
                }
                state.verify_absent(&ids[random.below(ids.len())], &proof)
            }
        };
        accepted += usize::from(result.is_ok());
    }
    accepted
}

#[test]
fn no_mutated_proof_is_accepted() {
    assert_eq!(accepted_mutations(100_000, 1), 0);
}

#[test]
#[ignore = "ten million proofs: cargo test --release -p hanzo-experience --test all forgeries:: -- --ignored"]
fn no_mutated_proof_is_accepted_slow_() {
    assert_eq!(accepted_mutations(10_000_000, 2), 0);
}
