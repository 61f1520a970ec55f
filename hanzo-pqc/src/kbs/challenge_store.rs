//! Where a broker remembers its live sessions.

use alloc::collections::{BTreeMap, BTreeSet};

use super::error::KbsError;
use super::message::{Challenge, Request, SessionId};
use crate::attestation::UnixTime;

/// One live session: what was asked, and the challenge that answered it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Session {
    /// The request.
    pub request: Request,
    /// The challenge.
    pub challenge: Challenge,
}

/// The answer of [`ChallengeStore::take`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Taken {
    /// The session was live, and is consumed from now on.
    Live(Session),
    /// The session was consumed before.
    Consumed,
    /// No such session, or one that was forgotten.
    Unknown,
}

/// Remembers sessions from their challenge to their end.
///
/// # Guarantees
///
/// `take` is atomic: of any number of calls for one session, by any number of brokers that share the store, one at most returns
/// [`Taken::Live`]. A durable store records the consumption before it returns. A consumed session is remembered until its challenge
/// expires, and a session id that is remembered is never inserted again. The largest `now` of all insertions and consumptions
/// is remembered too: a broker that starts over the store with its clock set back does not revive a challenge that had expired.
pub trait ChallengeStore {
    /// Remembers a new session.
    ///
    /// # Errors
    ///
    /// [`KbsError::Busy`] where the store is full or the id is remembered, [`KbsError::StoreUnavailable`].
    fn insert(&mut self, now: UnixTime, session: Session) -> Result<(), KbsError>;

    /// Consumes a session.
    ///
    /// # Errors
    ///
    /// [`KbsError::StoreUnavailable`].
    fn take(&mut self, now: UnixTime, session: SessionId) -> Result<Taken, KbsError>;

    /// The largest `now` of any insertion or consumption; zero where there was none.
    ///
    /// # Errors
    ///
    /// [`KbsError::StoreUnavailable`].
    fn latest(&self) -> Result<UnixTime, KbsError>;
}

/// Sessions in memory, 65,536 of them at most by default; forgotten at the first insertion after their end.
///
/// Cost: O(log n) a call, and each session is purged once.
#[derive(Debug, Clone)]
pub struct MemoryChallengeStore {
    limit: usize,
    /// `None` once consumed.
    sessions: BTreeMap<SessionId, Option<Session>>,
    ends: BTreeSet<(UnixTime, SessionId)>,
    latest: UnixTime,
}

impl MemoryChallengeStore {
    /// The default limit.
    pub const DEFAULT_LIMIT: usize = 65_536;

    /// An empty store with the default limit.
    #[must_use]
    pub const fn new() -> Self {
        Self::with_limit(Self::DEFAULT_LIMIT)
    }

    /// An empty store for at most `limit` sessions, consumed ones included until they expire.
    #[must_use]
    pub const fn with_limit(limit: usize) -> Self {
        Self { limit, sessions: BTreeMap::new(), ends: BTreeSet::new(), latest: UnixTime::from_seconds(0) }
    }

    /// How many sessions are remembered.
    #[must_use]
    pub fn len(&self) -> usize {
        self.sessions.len()
    }

    /// Whether no session is remembered.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.sessions.is_empty()
    }

    fn purge(&mut self, now: UnixTime) {
        while let Some(&(end, session)) = self.ends.first() {
            if end > now {
                break;
            }
            self.ends.pop_first();
            self.sessions.remove(&session);
        }
    }
}

impl Default for MemoryChallengeStore {
    fn default() -> Self {
        Self::new()
    }
}

impl ChallengeStore for MemoryChallengeStore {
    fn insert(&mut self, now: UnixTime, session: Session) -> Result<(), KbsError> {
        self.latest = self.latest.max(now);
        self.purge(now);
        let id = session.challenge.session();
        if self.sessions.len() >= self.limit || self.sessions.contains_key(&id) {
            return Err(KbsError::Busy);
        }
        self.ends.insert((session.challenge.expires_at(), id));
        self.sessions.insert(id, Some(session));
        Ok(())
    }

    fn take(&mut self, now: UnixTime, session: SessionId) -> Result<Taken, KbsError> {
        let Some(slot) = self.sessions.get_mut(&session) else {
            return Ok(Taken::Unknown);
        };
        let Some(live) = slot.take() else {
            return Ok(Taken::Consumed);
        };
        self.latest = self.latest.max(now);
        Ok(Taken::Live(live))
    }
    fn latest(&self) -> Result<UnixTime, KbsError> {
        Ok(self.latest)
    }
}
