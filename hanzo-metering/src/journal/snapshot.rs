use super::{Journal, JournalError};
use crate::wire::{Bytes, Wire};
use alloc::vec::Vec;

/// A snapshot: magic `HMSN`, version `u16` = 1, number of the next frame `u64`, hash of the journal, the state, and the BLAKE3 hash of
/// all that (`derive_key`, context `"hanzo-metering v1 snapshot"`).
pub(crate) fn seal_snapshot(journal: &Journal, state: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(HEADER + state.len() + HASH);
    out.extend_from_slice(MAGIC);
    VERSION.put(&mut out);
    journal.next_seq().put(&mut out);
    journal.hash().put(&mut out);
    out.extend_from_slice(state);
    let hash = blake3::derive_key(CONTEXT, &out);
    out.extend_from_slice(&hash);
    out
}

/// Where the journal stood, and the state.
pub(crate) fn open_snapshot(bytes: &[u8]) -> Result<(Journal, &[u8]), JournalError> {
    if !bytes.starts_with(MAGIC) {
        return Err(JournalError::BadMagic);
    }
    let mut head = Bytes(&bytes[MAGIC.len()..]);
    let version = u16::take(&mut head)?;
    if version != VERSION {
        return Err(JournalError::UnknownVersion { version });
    }
    let (sealed, hash) = bytes.split_last_chunk::<HASH>().ok_or(JournalError::Length)?;
    let state = sealed.get(HEADER..).ok_or(JournalError::Length)?;
    if blake3::derive_key(CONTEXT, sealed) != *hash {
        return Err(JournalError::BadHash);
    }
    let (next_seq, hash) = (u64::take(&mut head)?, head.array()?);
    Ok((Journal::at(next_seq, hash), state))
}

const MAGIC: &[u8] = b"HMSN";
const VERSION: u16 = 1;
const CONTEXT: &str = "hanzo-metering v1 snapshot";
const HASH: usize = 32;
const HEADER: usize = 4 + 2 + 8 + 32;
