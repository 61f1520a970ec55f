//! Data roots of Arweave transactions: what permanent storage calls a file.

use sha2::{Digest, Sha256};

use crate::merkle::Hash;

/// The `data_root` of an Arweave transaction that holds `data`.
///
/// Chunks are at most 256 KiB; where the last would be below 32 KiB, the last two share evenly. With H = SHA-256 and
/// 32-byte big-endian offsets, a leaf is H(H(H(chunk)) || H(end)), a branch H(H(left) || H(right) || H(end of left)),
/// and an odd node is passed up. Data of a whole number of full chunks ends with an empty chunk, as the reference
/// client has it; so does no data at all.
///
/// ```
/// let root = hanzo_experience::arweave::data_root(b"hello world");
/// assert_eq!(root, hanzo_experience::arweave::data_root(b"hello world"));
/// assert_ne!(root, hanzo_experience::arweave::data_root(b"hello worlds"));
/// ```
pub fn data_root(data: &[u8]) -> Hash {
    let (mut rest, mut end) = (data, 0_u64);
    let mut nodes = Vec::new();
    loop {
        let take = match rest.len() {
            short if short < MAX_CHUNK => short,
            long if (1..MIN_CHUNK).contains(&(long - MAX_CHUNK)) => long.div_ceil(2),
            _ => MAX_CHUNK,
        };
        let last = rest.len() < MAX_CHUNK;
        let (chunk, after) = rest.split_at(take);
        rest = after;
        end += take as u64;
        let leaf = hash(&[&hash(&[&hash(&[chunk])]), &hash(&[&note(end)])]);
        nodes.push((leaf, end));
        if last {
            break;
        }
    }
    while nodes.len() > 1 {
        let branch = |pair: &[([u8; 32], u64)]| match pair {
            [(left, end), (right, total)] => (hash(&[&hash(&[left]), &hash(&[right]), &hash(&[&note(*end)])]), *total),
            pair => pair[0],
        };
        nodes = nodes.chunks(2).map(branch).collect();
    }
    Hash::from_bytes(nodes[0].0)
}

/// An offset as 32 bytes, big-endian.
fn note(end: u64) -> [u8; 32] {
    let mut note = [0; 32];
    note[24..].copy_from_slice(&end.to_be_bytes());
    note
}

fn hash(parts: &[&[u8]]) -> [u8; 32] {
    let hasher = parts.iter().fold(Sha256::new(), |hasher, part| hasher.chain_update(part));
    hasher.finalize().into()
}

const MAX_CHUNK: usize = 256 * 1024;
const MIN_CHUNK: usize = 32 * 1024;
