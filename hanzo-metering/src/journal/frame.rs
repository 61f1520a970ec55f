use super::JournalError;
use crate::Timestamp;
use crate::wire::{Bytes, Wire};
use alloc::vec::Vec;

/// What a frame is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
#[repr(u8)]
pub enum FrameKind {
    /// The end of a commit: how many frames it has, and the hash of the chain.
    Commit = 0,
    /// An account was opened.
    Account = 1,
    /// A transfer was applied.
    Transfer = 2,
    /// A pending transfer ran out.
    Expired = 3,
    /// A call was refused and used its id up.
    Refused = 4,
    /// A pending transfer was held.
    Hold = 5,
    /// A held one was released.
    Release = 6,
    /// An account was frozen, unfrozen or closed.
    AccountState = 7,
    /// A meter was read.
    Reading = 8,
    /// The windows of all meters were closed at a boundary.
    Window = 9,
    /// An invoice was made, and paid or not.
    Invoice = 10,
    /// A stake was changed, or an epoch of the stakes begun.
    Stake = 11,
    /// A stake was slashed.
    Slash = 12,
    /// What was earned was minted.
    Mint = 13,
    /// A job is about to be deployed.
    Intent = 14,
    /// How that went.
    Outcome = 15,
    /// An effect was applied.
    Effect = 16,
    /// A deployment was added or removed.
    Deployment = 17,
    /// The suspense of a fee schedule was paid out.
    Fees = 18,
}

impl FrameKind {
    fn of(code: u8) -> Result<Self, JournalError> {
        Ok(match code {
            0 => Self::Commit,
            1 => Self::Account,
            2 => Self::Transfer,
            3 => Self::Expired,
            4 => Self::Refused,
            5 => Self::Hold,
            6 => Self::Release,
            7 => Self::AccountState,
            8 => Self::Reading,
            9 => Self::Window,
            10 => Self::Invoice,
            11 => Self::Stake,
            12 => Self::Slash,
            13 => Self::Mint,
            14 => Self::Intent,
            15 => Self::Outcome,
            16 => Self::Effect,
            17 => Self::Deployment,
            18 => Self::Fees,
            kind => return Err(JournalError::UnknownKind { kind }),
        })
    }
}

/// One frame: 24 bytes of header (length of the body `u32`, kind `u8`, version `u8` = 1, zero `u16`, number `u64`, time
/// `u64`, all big-endian) and a body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Frame<'a> {
    /// What it is about.
    pub kind: FrameKind,
    /// Its number in the journal, from 0.
    pub seq: u64,
    /// When it happened.
    pub at: Timestamp,
    /// The rest, by kind.
    pub body: &'a [u8],
}

impl<'a> Frame<'a> {
    /// Bytes of a header.
    pub const HEADER: usize = 24;
    /// Longest body, in bytes: 16 MiB.
    pub const MAX_BODY: usize = 1 << 24;

    /// The first frame of `bytes`, and how long it is.
    ///
    /// # Errors
    /// `Length` where bytes are missing; `TooLong`, `UnknownVersion`, `UnknownKind`; `Corrupt` where the zero bytes are not.
    pub fn decode(bytes: &'a [u8]) -> Result<(Self, usize), JournalError> {
        let mut rest = Bytes(bytes);
        let len = u32::take(&mut rest)? as usize;
        let [kind, version] = rest.array()?;
        let zero = u16::take(&mut rest)?;
        let (seq, at) = (u64::take(&mut rest)?, u64::take(&mut rest)?);
        if version != VERSION {
            return Err(JournalError::UnknownVersion { version: version.into() });
        }
        if zero != 0 {
            return Err(JournalError::Corrupt { seq });
        }
        if len > Self::MAX_BODY {
            return Err(JournalError::TooLong { len });
        }
        let kind = FrameKind::of(kind)?;
        let body = rest.slice(len)?;
        Ok((Self { kind, seq, at: Timestamp::from_nanos(at), body }, Self::HEADER + len))
    }

    /// Appends its bytes. A body above [`MAX_BODY`](Self::MAX_BODY) makes bytes that nothing reads.
    pub fn encode(&self, out: &mut Vec<u8>) {
        let mut header = [0; Self::HEADER];
        // `Journaled` stores no longer ones.
        header[..4].copy_from_slice(&(self.body.len() as u32).to_be_bytes());
        header[4..6].copy_from_slice(&[self.kind as u8, VERSION]);
        header[8..16].copy_from_slice(&self.seq.to_be_bytes());
        header[16..].copy_from_slice(&self.at.as_nanos().to_be_bytes());
        out.extend_from_slice(&header);
        out.extend_from_slice(self.body);
    }
}

const VERSION: u8 = 1;
