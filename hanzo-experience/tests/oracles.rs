//! Trees and proofs beside independent crates: ct-merkle hash for hash, each verifier on the other's proofs, and
//! forgeries that rs_merkle accepts.

use ct_merkle::mem_backed_tree::MemoryBackedTree;
use ct_merkle::{ConsistencyProof as TheirConsistency, InclusionProof as TheirInclusion, RootHash};
use hanzo_experience::merkle::{
    ConsistencyProof, InclusionProof, Log, leaf_hash, node_hash, verify_consistency, verify_inclusion,
};
use sha2::Sha256;

const SIZE: usize = 66;

fn item(index: usize) -> Vec<u8> {
    vec![index as u8; index % 5]
}

#[test]
fn ct_merkle_agrees_on_every_root_and_proof() {
    let (mut ours, mut theirs) = (Log::new(), MemoryBackedTree::<Sha256, Vec<u8>>::new());
    let mut roots: Vec<RootHash<Sha256>> = vec![theirs.root()];
    for size in 1..=SIZE {
        let n = size as u64;
        ours.append_data(&item(size - 1));
        theirs.push(item(size - 1));
        let root = theirs.root();
        assert_eq!(ours.root().as_bytes().as_slice(), root.as_bytes().as_slice());

        for index in 0..size {
            let i = index as u64;
            let (mine, other) = (ours.prove_inclusion(i, n).unwrap(), theirs.prove_inclusion(index));
            assert_eq!(mine.to_bytes(), other.as_bytes());
            let other = InclusionProof::from_bytes(other.as_bytes()).unwrap();
            verify_inclusion(i, n, &leaf_hash(&item(index)), &other, &ours.root()).unwrap();
            let mine = TheirInclusion::try_from_bytes(mine.to_bytes()).unwrap();
            root.verify_inclusion(&item(index), i, &mine).unwrap();
        }
        for (old, old_root) in roots.iter().enumerate().skip(1) {
            let m = old as u64;
            let (mine, other) = (ours.prove_consistency(m, n).unwrap(), theirs.prove_consistency(size - old));
            assert_eq!(mine.to_bytes(), other.as_bytes());
            let other = ConsistencyProof::from_bytes(other.as_bytes()).unwrap();
            verify_consistency(m, &ours.root_at(m).unwrap(), n, &ours.root(), &other).unwrap();
            let mine = TheirConsistency::try_from_bytes(mine.to_bytes()).unwrap();
            root.verify_consistency(old_root, &mine).unwrap();
        }
        roots.push(root);
    }
}

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

/// What rs_merkle 1.5.0 accepts and this crate refuses: a surplus hash, and an index out of range.
#[test]
fn forgeries_that_a_peer_accepts_are_refused() {
    let leaves: Vec<[u8; 32]> = (0..4).map(|byte| leaf_hash(&[byte]).into()).collect();
    let theirs = rs_merkle::MerkleTree::<Rfc6962>::from_leaves(&leaves);
    let ours = Log::from_leaves(leaves.iter().map(|leaf| (*leaf).into()).collect());
    let (root, leaf) = (ours.root(), ours.leaves()[0]);
    assert_eq!(theirs.root(), Some(root.into()));
    let honest = ours.prove_inclusion(0, 4).unwrap();
    assert_eq!(theirs.proof(&[0]).to_bytes(), honest.to_bytes());

    let surplus = [honest.hashes(), &[leaf_hash(b"junk")]].concat();
    let plain: Vec<[u8; 32]> = surplus.iter().map(|hash| (*hash).into()).collect();
    assert!(rs_merkle::MerkleProof::<Rfc6962>::new(plain).verify(root.into(), &[0], &leaves[..1], 4));
    assert!(verify_inclusion(0, 4, &leaf, &InclusionProof::new(surplus).unwrap(), &root).is_err());

    let accepted = |index: usize| theirs.proof(&[0]).verify(root.into(), &[index], &leaves[..1], 2);
    assert!((4..16).any(accepted));
    assert!((4..16).all(|index| verify_inclusion(index, 2, &leaf, &honest, &root).is_err()));
}
