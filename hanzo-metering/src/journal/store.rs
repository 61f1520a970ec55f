use alloc::vec::Vec;
use core::convert::Infallible;

/// Where a journal is kept.
///
/// # Guarantees
/// When `append` returns `Ok`, the commit survives a crash; after an `Err` or a crash during the call, `read_from` gives the
/// commits acknowledged before, followed by nothing or by a prefix of this one. `latest_snapshot` gives the last one
/// acknowledged, or a later one.
pub trait JournalStore {
    /// Why the store failed.
    type Error;

    /// Adds a commit at the end.
    ///
    /// # Errors
    /// Those of the store.
    fn append(&mut self, commit: &[u8]) -> Result<(), Self::Error>;

    /// The bytes of all commits whose first frame is number `seq` or later, in order.
    ///
    /// # Errors
    /// Those of the store.
    fn read_from(&self, seq: u64) -> Result<Vec<u8>, Self::Error>;

    /// Drops everything from frame number `seq` on: what is left of a commit that was never acknowledged.
    ///
    /// # Errors
    /// Those of the store.
    fn truncate(&mut self, seq: u64) -> Result<(), Self::Error>;

    /// Keeps a snapshot; earlier ones, and commits before it, may be dropped.
    ///
    /// # Errors
    /// Those of the store.
    fn put_snapshot(&mut self, snapshot: &[u8]) -> Result<(), Self::Error>;

    /// The last snapshot.
    ///
    /// # Errors
    /// Those of the store.
    fn latest_snapshot(&self) -> Result<Option<Vec<u8>>, Self::Error>;
}

/// A journal in memory, which ends with the process: for tests, and for callers that move the bytes themselves.
///
/// ```
/// use hanzo_metering::{AccountId, Journaled, Ledger, MemoryStore, NewAccount, Timestamp};
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let mut ledger = Journaled::new(Ledger::new(), MemoryStore::default());
/// ledger.open(Timestamp::from_nanos(1), NewAccount::new(AccountId::new(5), 1))?;
/// let bytes = ledger.store().bytes();
/// // A crash while the commit was written: it was never acknowledged.
/// let cut = MemoryStore::from_bytes(bytes[..bytes.len() - 1].to_vec(), None);
/// let (again, torn) = Journaled::recover(Ledger::new(), cut)?;
/// assert_eq!((again.state().handle(AccountId::new(5)), torn), (None, bytes.len() - 1));
/// # Ok(()) }
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct MemoryStore {
    bytes: Vec<u8>,
    /// First frame and place of each commit.
    commits: Vec<(u64, usize)>,
    snapshot: Option<Vec<u8>>,
}

impl MemoryStore {
    /// A store of the bytes that another one had, cut anywhere, with its snapshot.
    ///
    /// Commits are told apart by their frames; bytes after the last whole one belong to a torn commit.
    pub fn from_bytes(bytes: Vec<u8>, snapshot: Option<Vec<u8>>) -> Self {
        let (mut commits, mut at, mut begins, mut next) = (Vec::<(u64, usize)>::new(), 0, true, None);
        while let Ok((frame, len)) = super::Frame::decode(&bytes[at..]) {
            // The numbers of damaged frames say nothing, and those that are looked up have to rise.
            if next.is_some_and(|next| frame.seq != next) {
                break;
            }
            if begins {
                commits.push((frame.seq, at));
            }
            begins = frame.kind == super::FrameKind::Commit;
            next = frame.seq.checked_add(1);
            at += len;
        }
        if at < bytes.len() {
            // Damaged, or cut short: whoever reads on, from whatever number, finds out which.
            match commits.last_mut().filter(|_| !begins) {
                Some(last) => last.0 = u64::MAX,
                None => commits.push((u64::MAX, at)),
            }
        }
        Self { bytes, commits, snapshot }
    }

    /// All that was written.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The snapshot, if there is one.
    pub fn snapshot(&self) -> Option<&[u8]> {
        self.snapshot.as_deref()
    }
}

impl JournalStore for MemoryStore {
    type Error = Infallible;

    fn append(&mut self, commit: &[u8]) -> Result<(), Infallible> {
        if let Ok((frame, _)) = super::Frame::decode(commit) {
            self.commits.push((frame.seq, self.bytes.len()));
        }
        self.bytes.extend_from_slice(commit);
        Ok(())
    }

    fn read_from(&self, seq: u64) -> Result<Vec<u8>, Infallible> {
        let at = self.commits.partition_point(|c| c.0 < seq);
        let from = self.commits.get(at).map_or(self.bytes.len(), |c| c.1);
        Ok(self.bytes[from..].to_vec())
    }

    fn truncate(&mut self, seq: u64) -> Result<(), Infallible> {
        let at = self.commits.partition_point(|c| c.0 < seq);
        if let Some(&(_, from)) = self.commits.get(at) {
            self.bytes.truncate(from);
            self.commits.truncate(at);
        }
        Ok(())
    }

    fn put_snapshot(&mut self, snapshot: &[u8]) -> Result<(), Infallible> {
        self.snapshot = Some(snapshot.to_vec());
        Ok(())
    }

    fn latest_snapshot(&self) -> Result<Option<Vec<u8>>, Infallible> {
        Ok(self.snapshot.clone())
    }
}
