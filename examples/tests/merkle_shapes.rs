//! Three crates carry a Merkle tree each, on purpose; this holds their shapes equal to RFC 9162 section 2.1, and so to
//! each other.
//!
//! The reference splits after the largest power of two below the number of leaves and knows no hash function: every
//! root, every proof and every verifier is compared with it under the crate's own leaf and node hashes.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking, its helpers too")]

use std::ops::Range;

use hanzo::experience::merkle::{self, CompactRange, Log};
use hanzo::poai::{
    self, Attestation, AttestationHash, Batch, BatchHash, ChainId, Epoch, JobId, ModelHash, PartyId, Suite,
};
use hanzo::snow::checkpoint::{self, Checkpointer, Leaf};
use sha2::{Digest, Sha256};

type Hash = [u8; 32];
type Node = fn(&Hash, &Hash) -> Hash;

const SIZES: Range<usize> = 1..65;

/// The head of a tree over leaf hashes (RFC 9162 section 2.1.1).
fn head(node: Node, leaves: &[Hash]) -> Hash {
    match leaves {
        [leaf] => *leaf,
        _ => {
            let (left, right) = leaves.split_at(split(leaves.len()));
            node(&head(node, left), &head(node, right))
        }
    }
}

/// The largest power of two below `n`.
fn split(n: usize) -> usize {
    (0..).map(|k| 1 << k).take_while(|&power| power < n).last().unwrap()
}

/// The leaves under each sibling on the way from leaf `index` of `size` up (RFC 9162 section 2.1.3.1).
fn siblings(index: usize, size: usize) -> Vec<Range<usize>> {
    let (mut lo, mut hi, mut path) = (0, size, Vec::new());
    while hi - lo > 1 {
        let middle = lo + split(hi - lo);
        if index < middle {
            path.push(middle..hi);
            hi = middle;
        } else {
            path.push(lo..middle);
            lo = middle;
        }
    }
    path.reverse();
    path
}

fn path(node: Node, leaves: &[Hash], index: usize) -> Vec<Hash> {
    siblings(index, leaves.len()).into_iter().map(|range| head(node, &leaves[range])).collect()
}

/// SHA-256(01 || left || right), the node of RFC 9162.
fn plain(left: &Hash, right: &Hash) -> Hash {
    Sha256::digest([&[1], &left[..], right].concat()).into()
}

/// The tagged node of `hanzo-poai`: SHA-256(key || key || left || right) with key = SHA-256("hanzo-poai v1 node").
fn tagged(left: &Hash, right: &Hash) -> Hash {
    let key = Sha256::digest(b"hanzo-poai v1 node");
    Sha256::digest([&key[..], &key[..], left, right].concat()).into()
}

/// Figures of RFC 9162 section 2.1.5, whose seven leaves show each kind of node.
#[test]
fn the_reference_is_the_tree_of_the_rfc() {
    assert_eq!([2, 3, 4, 5, 7, 8, 9, 64, 65].map(split), [1, 2, 2, 4, 4, 4, 8, 32, 64]);
    assert_eq!(siblings(0, 7), [1..2, 2..4, 4..7]);
    assert_eq!(siblings(3, 7), [2..3, 0..2, 4..7]);
    assert_eq!(siblings(4, 7), [5..6, 6..7, 0..4]);
    assert_eq!(siblings(6, 7), [4..6, 0..4]);
    assert_eq!(siblings(0, 1), []);
}

#[test]
fn poai_batches() {
    let mut chain: Vec<Attestation> = Vec::new();
    for seq in 0..SIZES.end as u64 {
        let next = Attestation::builder()
            .suite(Suite::ML_DSA_65)
            .chain(ChainId::new([1; 32]))
            .epoch(Epoch::new(1))
            .seq(seq)
            .worker(PartyId::new([2; 32]))
            .job(JobId::new([3; 32]))
            .input([4; 32])
            .output([5; 32])
            .model(ModelHash::new([6; 32]))
            .environment([7; 32])
            .prev(chain.last().map(Attestation::hash));
        chain.push(next.build().unwrap());
    }
    let leaves: Vec<Hash> = chain.iter().map(|attestation| attestation.hash().into()).collect();
    for size in SIZES {
        let batch = Batch::new(&chain[..size], BatchHash::new([0; 32])).unwrap();
        let leaves = &leaves[..size];
        assert_eq!(*batch.header().root(), head(tagged, leaves), "size {size}");
        for index in 0..size {
            let expected = path(tagged, leaves, index);
            assert_eq!(batch.proof(index as u32).unwrap().path(), expected, "leaf {index} of {size}");
            let proof = poai::InclusionProof::new(index as u32, size as u32, expected).unwrap();
            let seq = batch.header().verify_inclusion(&AttestationHash::new(leaves[index]), &proof);
            assert_eq!(seq, Ok(index as u64), "leaf {index} of {size}");
        }
    }
}

#[test]
fn snow_checkpoints() {
    let chain = [9; 32];
    let all: Vec<Leaf> = SIZES.map(|i| Leaf { round: 1, author: 0, index: i as u32, tx: [i as u8; 32] }).collect();
    for size in SIZES {
        let leaves = &all[..size];
        let hashes: Vec<Hash> = leaves.iter().map(|leaf| leaf.hash(&chain, 0)).collect();
        let sealed = Checkpointer::new(chain, 0, 0).seal(1, leaves).unwrap();
        assert_eq!(sealed.root, head(plain, &hashes), "size {size}");
        assert_eq!(checkpoint::root(&hashes), sealed.root, "size {size}");
        for (index, leaf) in leaves.iter().enumerate() {
            let expected = checkpoint::InclusionProof { index: index as u64, path: path(plain, &hashes, index) };
            let proof = checkpoint::InclusionProof::new(&sealed, leaves, index as u64).unwrap();
            assert_eq!(proof, expected, "leaf {index} of {size}");
            assert_eq!(expected.verify(&sealed, leaf), Ok(()), "leaf {index} of {size}");
        }
    }
}

#[test]
fn experience_logs() {
    let hash = merkle::Hash::from_bytes;
    let all: Vec<Hash> = SIZES.map(|i| merkle::leaf_hash(&[i as u8]).into()).collect();
    let (mut grown, mut range) = (Log::new(), CompactRange::new());
    for size in SIZES {
        let leaves = &all[..size];
        grown.append(hash(leaves[size - 1]));
        range.append(hash(leaves[size - 1]));
        let root = hash(head(plain, leaves));
        let built = Log::from_leaves(leaves.iter().copied().map(hash).collect());
        assert_eq!([grown.root(), built.root(), range.root()], [root; 3], "size {size}");
        for (index, leaf) in leaves.iter().enumerate() {
            let expected: Vec<merkle::Hash> = path(plain, leaves, index).into_iter().map(hash).collect();
            for log in [&grown, &built] {
                let proof = log.prove_inclusion(index as u64, size as u64).unwrap();
                assert_eq!(proof.hashes(), expected, "leaf {index} of {size}");
            }
            let proof = merkle::InclusionProof::new(expected).unwrap();
            let verified = merkle::verify_inclusion(index as u64, size as u64, &hash(*leaf), &proof, &root);
            assert_eq!(verified, Ok(()), "leaf {index} of {size}");
        }
    }
    // A log proves every earlier size as it was.
    for (size, index) in SIZES.flat_map(|size| (0..size).map(move |index| (size, index))) {
        let expected: Vec<merkle::Hash> = path(plain, &all[..size], index).into_iter().map(hash).collect();
        assert_eq!(grown.prove_inclusion(index as u64, size as u64).unwrap().hashes(), expected, "{index} of {size}");
    }
}

/// snow and experience also hash alike, the tree without leaves included.
#[test]
fn snow_and_experience_have_the_same_heads() {
    let leaves: Vec<Hash> = SIZES.map(|i| [i as u8; 32]).collect();
    for size in 0..=leaves.len() {
        let log = Log::from_leaves(leaves[..size].iter().copied().map(merkle::Hash::from_bytes).collect());
        assert_eq!(checkpoint::root(&leaves[..size]), *log.root().as_bytes(), "size {size}");
    }
    assert_eq!(checkpoint::root(&[]), *merkle::empty_root().as_bytes());
}
