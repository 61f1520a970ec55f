//! The journal: what happened, as frames in commits under a hash chain, with snapshots and exact replay.

mod frame;
mod ledger;
mod log;
#[cfg(feature = "redb")]
mod redb;
mod snapshot;
mod store;

pub use frame::{Frame, FrameKind};
pub use ledger::ChainCallError;
pub use log::{Journal, Recovered, recover};
#[cfg(feature = "redb")]
pub use redb::{RedbError, RedbStore};
pub use store::{JournalStore, MemoryStore};

pub(crate) use ledger::advance as ledger_advance;
pub(crate) use log::Sink;
pub(crate) use snapshot::{open_snapshot, seal_snapshot};

use crate::{LedgerError, Timestamp};
use alloc::vec::Vec;

/// A state that is kept by a journal: what changes it becomes frames, and frames change it again.
///
/// # Guarantees
/// `replay` of the frames that a call produced, on the state before it, gives the state after it, or an error; `restore` of
/// a `snapshot` gives an equal state. The crate implements it for [`Ledger`](crate::Ledger) and [`Books`](crate::Books).
pub trait Machine: Sized {
    /// Applies the frames of one commit, at its time.
    ///
    /// # Errors
    /// `Diverged` where they are not what this state would have produced, `Corrupt` where they cannot be read.
    fn replay(&mut self, frames: &[Frame<'_>]) -> Result<(), JournalError>;

    /// The canonical bytes of the state.
    fn snapshot(&self) -> Vec<u8>;

    /// The state of a snapshot, built on an empty state that is set up as the first one was.
    ///
    /// # Errors
    /// `Corrupt` where the bytes are no state.
    fn restore(self, bytes: &[u8]) -> Result<Self, JournalError>;
}

/// Why bytes were refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
#[non_exhaustive]
pub enum JournalError {
    /// Bytes of another length than what they stand for.
    #[error("bytes end early or late")]
    Length,
    /// No snapshot of this crate.
    #[error("not a snapshot")]
    BadMagic,
    /// A version this crate does not know.
    #[error("unknown version {version}")]
    UnknownVersion {
        /// The version found.
        version: u16,
    },
    /// A kind of frame this crate does not know.
    #[error("unknown kind of frame {kind}")]
    UnknownKind {
        /// The kind found.
        kind: u8,
    },
    /// A frame before a valid commit is not what was written.
    #[error("frame {seq} is corrupt")]
    Corrupt {
        /// The number of the frame, or of the first one of its commit.
        seq: u64,
    },
    /// A hash does not match its bytes.
    #[error("hash does not match")]
    BadHash,
    /// Replay came to another result than the journal: written by other code, or from another start.
    #[error("replay differs from the journal at frame {seq}")]
    Diverged {
        /// The number of the frame.
        seq: u64,
    },
    /// The body of a frame is too long.
    #[error("body of {len} bytes is too long")]
    TooLong {
        /// Bytes of the body.
        len: usize,
    },
}

/// Why a call on journaled state did not succeed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum JournaledError<C, E> {
    /// The call was refused; what it changed all the same (time, a used-up id) is in the journal.
    #[error("{0}")]
    Refused(C),
    /// The store failed. What it holds is not known, so the state in memory takes no further calls: recover it from the store.
    #[error("{0}")]
    Store(E),
    /// A frame of the call is longer than a journal holds. Nothing was stored, and the state in memory takes no further calls.
    #[error("a frame of {len} bytes is longer than {max}")]
    TooLong {
        /// Bytes of its body.
        len: usize,
        /// [`Frame::MAX_BODY`].
        max: usize,
    },
    /// An earlier call could not be stored.
    #[error("an earlier call could not be stored")]
    Poisoned,
}

/// State with a journal in a store: every call is durable before it is answered.
///
/// ```
/// use hanzo_metering::{AccountId, Journaled, Ledger, MemoryStore, NewAccount, Timestamp, Transfer, TransferId};
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let (now, a, b) = (Timestamp::from_nanos(1), AccountId::new(1), AccountId::new(2));
/// let mut ledger = Journaled::new(Ledger::new(), MemoryStore::default());
/// ledger.open(now, NewAccount::new(a, 1))?;
/// ledger.open(now, NewAccount::new(b, 1))?;
/// ledger.apply(now, &Transfer::new(TransferId::new(1), a, b, 5))?;
///
/// let store = ledger.into_store(); // the process ends here
/// let (again, torn) = Journaled::recover(Ledger::new(), store)?;
/// assert_eq!((again.state().len(), torn), (1, 0));
/// # Ok(()) }
/// ```
#[derive(Debug, Clone)]
pub struct Journaled<M, S> {
    state: M,
    journal: Journal,
    store: S,
    poisoned: bool,
}

/// Why state could not be recovered.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RecoverError<E> {
    /// What the store holds cannot be replayed.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// The store failed.
    #[error("{0}")]
    Store(E),
}

impl<M: Machine, S: JournalStore> Journaled<M, S> {
    /// A state and an empty store.
    pub fn new(state: M, store: S) -> Self {
        Self { state, journal: Journal::new(), store, poisoned: false }
    }

    /// The state of a store: its latest snapshot and the commits since, replayed on `empty`, which is set up as the first
    /// state was. Also returns how many bytes of an unfinished commit stood at the end; they are cut off the store.
    ///
    /// # Errors
    /// Those of the store; `Corrupt`, `BadHash`, `Diverged` and others of [`JournalError`].
    pub fn recover(empty: M, mut store: S) -> Result<(Self, usize), RecoverError<S::Error>> {
        let (mut state, mut journal) = (empty, Journal::new());
        if let Some(bytes) = store.latest_snapshot().map_err(RecoverError::Store)? {
            let (at, body) = open_snapshot(&bytes)?;
            state = state.restore(body)?;
            journal = at;
        }
        let bytes = store.read_from(journal.next_seq()).map_err(RecoverError::Store)?;
        let recovered = recover(&bytes, &mut journal, |frames| state.replay(frames))?;
        if recovered.torn > 0 {
            store.truncate(journal.next_seq()).map_err(RecoverError::Store)?;
        }
        Ok((Self { state, journal, store, poisoned: false }, recovered.torn))
    }

    /// The state, to read.
    pub const fn state(&self) -> &M {
        &self.state
    }

    /// The store, to read.
    pub const fn store(&self) -> &S {
        &self.store
    }

    /// Gives the store back.
    pub fn into_store(self) -> S {
        self.store
    }

    /// The hash of the last commit.
    pub const fn hash(&self) -> [u8; 32] {
        self.journal.hash()
    }

    /// Writes a snapshot to the store, so that recovery starts there. O(state).
    ///
    /// # Errors
    /// Those of the store; `Poisoned`.
    pub fn checkpoint(&mut self) -> Result<(), JournaledError<JournalError, S::Error>> {
        if self.poisoned {
            return Err(JournaledError::Poisoned);
        }
        let bytes = seal_snapshot(&self.journal, &self.state.snapshot());
        self.store.put_snapshot(&bytes).map_err(JournaledError::Store)
    }

    /// Runs a call that writes what it changed into a sink, and stores that before its answer is given.
    pub(crate) fn run<T, C>(
        &mut self,
        at: Timestamp,
        call: impl FnOnce(&mut M, &mut Sink) -> Result<T, C>,
    ) -> Result<T, JournaledError<C, S::Error>> {
        if self.poisoned {
            return Err(JournaledError::Poisoned);
        }
        let mut sink = Sink::new();
        let result = call(&mut self.state, &mut sink);
        if sink.longest() > Frame::MAX_BODY {
            self.poisoned = true;
            return Err(JournaledError::TooLong { len: sink.longest(), max: Frame::MAX_BODY });
        }
        if !sink.is_empty() {
            let commit = self.journal.commit(at, &sink);
            if let Err(error) = self.store.append(&commit) {
                self.poisoned = true;
                return Err(JournaledError::Store(error));
            }
        }
        result.map_err(JournaledError::Refused)
    }
}

/// A call on a journaled ledger was refused.
pub type LedgerCallError<E> = JournaledError<LedgerError, E>;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Ledger;

    #[test]
    fn a_frame_that_could_not_be_read_is_not_stored() {
        let mut ledger = Journaled::new(Ledger::new(), MemoryStore::default());
        let mut write = |len: usize| {
            ledger.run(Timestamp::ZERO, |_, sink| {
                sink.push(FrameKind::Account, |body| body.resize(len, 0));
                Ok::<(), LedgerError>(())
            })
        };
        assert_eq!(write(Frame::MAX_BODY), Ok(()));
        let (len, max) = (Frame::MAX_BODY + 1, Frame::MAX_BODY);
        assert_eq!(write(len), Err(JournaledError::TooLong { len, max }));
        assert_eq!(write(1), Err(JournaledError::Poisoned));
        let bytes = ledger.into_store().bytes().to_vec();
        assert_eq!(
            recover(&bytes, &mut Journal::new(), |_| Ok(())).map(|found| (found.commits, found.torn)),
            Ok((1, 0))
        );
    }
}
