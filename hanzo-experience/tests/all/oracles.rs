//! Trees and proofs beside ct-merkle, hash for hash, each verifier on the other's proofs. `forgeries.rs` does the same
//! with rs_merkle.

use ct_merkle::mem_backed_tree::MemoryBackedTree;
use ct_merkle::{ConsistencyProof as TheirConsistency, InclusionProof as TheirInclusion, RootHash};
use hanzo_experience::merkle::{
    ConsistencyProof, InclusionProof, Log, leaf_hash, verify_consistency, verify_inclusion,
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
