use super::{Frame, FrameKind, JournalError};
use crate::Timestamp;
use crate::wire::{Bytes, Wire, WireError};
use alloc::vec::Vec;

/// The end of a journal: the number of the next frame and the hash of the last commit.
///
/// A commit is some frames and a last one of kind `Commit`, whose body is their count (`u32`) and
/// `BLAKE3.derive_key("hanzo-metering v1 journal", previous hash, all frames since)`; the first previous hash is zero.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Journal {
    next_seq: u64,
    hash: [u8; 32],
}

/// What was found in the bytes of a journal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Recovered {
    /// Commits that were replayed.
    pub commits: u64,
    /// Bytes of a torn commit at the end, which was never acknowledged and is left out.
    pub torn: usize,
}

impl Journal {
    /// An empty journal.
    pub fn new() -> Self {
        Self::default()
    }

    /// A journal that ends with this commit.
    pub(crate) const fn at(next_seq: u64, hash: [u8; 32]) -> Self {
        Self { next_seq, hash }
    }

    /// The number of the next frame.
    pub const fn next_seq(&self) -> u64 {
        self.next_seq
    }

    /// The hash of the last commit.
    pub const fn hash(&self) -> [u8; 32] {
        self.hash
    }

    /// Writes frames, given by kind, time and body, as one commit at this time, and returns its bytes. No body may be above
    /// [`Frame::MAX_BODY`], or the commit cannot be read.
    pub fn write<'a>(
        &mut self,
        frames: impl IntoIterator<Item = (FrameKind, Timestamp, &'a [u8])>,
        at: Timestamp,
    ) -> Vec<u8> {
        self.write_into(Vec::new(), frames, at)
    }

    fn write_into<'a>(
        &mut self,
        mut out: Vec<u8>,
        frames: impl IntoIterator<Item = (FrameKind, Timestamp, &'a [u8])>,
        at: Timestamp,
    ) -> Vec<u8> {
        let mut count: u32 = 0;
        for (kind, at, body) in frames {
            Frame { kind, seq: self.next_seq, at, body }.encode(&mut out);
            self.next_seq += 1;
            count += 1;
        }
        self.hash = chain(&self.hash, &out);
        let mut body = [0; COMMIT];
        body[..4].copy_from_slice(&count.to_be_bytes());
        body[4..].copy_from_slice(&self.hash);
        Frame { kind: FrameKind::Commit, seq: self.next_seq, at, body: &body }.encode(&mut out);
        self.next_seq += 1;
        out
    }

    pub(crate) fn commit(&mut self, at: Timestamp, sink: &Sink) -> Vec<u8> {
        let len = sink.bytes.len() + Frame::HEADER * (sink.frames.len() + 1) + COMMIT;
        self.write_into(Vec::with_capacity(len), sink.frames().map(|(kind, body)| (kind, at, body)), at)
    }
}

/// Reads the bytes of a journal that go on from `journal`, commit by commit, and moves it on.
///
/// What follows the last valid commit is a torn tail: a crash may have cut it anywhere, and it was never acknowledged.
///
/// # Errors
/// `Corrupt` where a bad frame is followed by the end of a later commit; what `replay` says.
pub fn recover(
    bytes: &[u8],
    journal: &mut Journal,
    mut replay: impl FnMut(&[Frame<'_>]) -> Result<(), JournalError>,
) -> Result<Recovered, JournalError> {
    let (mut recovered, mut from) = (Recovered::default(), 0);
    while from < bytes.len() {
        let Some((frames, end)) = next_commit(&bytes[from..], journal) else {
            // Torn, unless something whole comes after: then bytes in the middle were changed.
            if later_commit_follows(&bytes[from + 1..], journal.next_seq) {
                return Err(JournalError::Corrupt { seq: journal.next_seq });
            }
            recovered.torn = bytes.len() - from;
            return Ok(recovered);
        };
        replay(&frames)?;
        recovered.commits += 1;
        from += end;
    }
    Ok(recovered)
}

/// The frames of the commit that `bytes` begin with and its length, if it is whole and goes on from `journal`.
fn next_commit<'a>(bytes: &'a [u8], journal: &mut Journal) -> Option<(Vec<Frame<'a>>, usize)> {
    let (mut frames, mut at) = (Vec::new(), 0);
    loop {
        let (frame, len) = Frame::decode(&bytes[at..]).ok()?;
        if frame.seq != journal.next_seq.checked_add(frames.len() as u64)? {
            return None;
        }
        if frame.kind != FrameKind::Commit {
            frames.push(frame);
            at += len;
            continue;
        }
        let mut body = Bytes(frame.body);
        let (count, hash) = (u32::take(&mut body).ok()?, body.array().ok()?);
        body.finish().ok()?;
        if count as usize != frames.len() || hash != chain(&journal.hash, &bytes[..at]) {
            return None;
        }
        *journal = Journal { next_seq: frame.seq + 1, hash };
        return Some((frames, at + len));
    }
}

/// Whether `bytes`, which follow a commit that is not whole and begins with frame `first`, hold the end of a later commit, or of
/// one that others were written after: a commit is written when the one before it has been acknowledged.
fn later_commit_follows(bytes: &[u8], first: u64) -> bool {
    let mut from = 0;
    while bytes.len() - from >= Frame::HEADER + COMMIT {
        if let Some((seq, count, end)) = commit_at(&bytes[from..])
            && let Some(begin) = seq.checked_sub(count)
            && begin >= first
            // A frame has a header at least, so the bytes bound the number.
            && seq - first <= (bytes.len() / Frame::HEADER) as u64 + 1
        {
            let rest = &bytes[from + end..];
            if begin > first || Frame::decode(rest).is_ok_and(|(next, _)| next.seq == seq + 1) {
                return true;
            }
        }
        from += 1;
    }
    false
}

/// Number, count and length of the commit frame that `bytes` begin with.
fn commit_at(bytes: &[u8]) -> Option<(u64, u64, usize)> {
    // Cheap to refuse: this is asked at every byte.
    if bytes[..8] != [0, 0, 0, COMMIT as u8, 0, 1, 0, 0] {
        return None;
    }
    let (frame, len) = Frame::decode(bytes).ok()?;
    Some((frame.seq, u32::take(&mut Bytes(frame.body)).ok()?.into(), len))
}

fn chain(previous: &[u8; 32], frames: &[u8]) -> [u8; 32] {
    let mut hasher = blake3::Hasher::new_derive_key("hanzo-metering v1 journal");
    hasher.update(previous);
    hasher.update(frames);
    *hasher.finalize().as_bytes()
}

impl From<WireError> for JournalError {
    fn from(_: WireError) -> Self {
        Self::Length
    }
}

/// Frames of a call, before they have numbers.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Sink {
    bytes: Vec<u8>,
    /// Kind and end of each body.
    frames: Vec<(FrameKind, usize)>,
}

impl Sink {
    pub(crate) fn new() -> Self {
        Self::default()
    }

    /// Makes room for so many frames of so many bytes each.
    pub(crate) fn reserve(&mut self, frames: usize, body: usize) {
        self.bytes.reserve(frames.saturating_mul(body));
        self.frames.reserve(frames);
    }

    pub(crate) fn push(&mut self, kind: FrameKind, body: impl FnOnce(&mut Vec<u8>)) {
        body(&mut self.bytes);
        self.frames.push((kind, self.bytes.len()));
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.frames.is_empty()
    }

    /// Bytes of the longest body.
    pub(crate) fn longest(&self) -> usize {
        self.frames().map(|(_, body)| body.len()).max().unwrap_or(0)
    }

    pub(crate) fn frames(&self) -> impl Iterator<Item = (FrameKind, &[u8])> {
        let starts = core::iter::once(0).chain(self.frames.iter().map(|f| f.1));
        self.frames.iter().zip(starts).map(|(&(kind, end), start)| (kind, &self.bytes[start..end]))
    }

    /// The first of these frames that is not what was logged.
    pub(crate) fn differs_from(&self, logged: &[Frame<'_>]) -> Option<u64> {
        let mut mine = self.frames();
        for frame in logged {
            if mine.next() != Some((frame.kind, frame.body)) {
                return Some(frame.seq);
            }
        }
        mine.next().map(|_| logged.last().map_or(0, |f| f.seq + 1))
    }
}

/// Bytes of a commit's body.
const COMMIT: usize = 36;
