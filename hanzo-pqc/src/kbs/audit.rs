//! What a broker did, as a chain of records that cannot be shortened or changed unseen.

use alloc::boxed::Box;
use alloc::string::ToString;
use alloc::vec::Vec;
use core::fmt;

use super::error::KbsError;
use super::message::{MAX_KEYS, SessionId, read_key_id};
use crate::attestation::UnixTime;
use crate::envelope::KeyId;
use crate::error::{Error, Result};
use crate::wire::{Reader, digest, put_lp16};

/// What happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
#[non_exhaustive]
pub enum AuditKind {
    /// 1: a challenge was issued.
    Challenge = 1,
    /// 2: keys were released.
    Release = 2,
    /// 3: a challenge or release was refused; the detail says why.
    Denial = 3,
    /// 4: a key was stored.
    Put = 4,
    /// 5: a key or the vault was rotated.
    Rotate = 5,
    /// 6: a key or a version was revoked.
    Revoke = 6,
    /// 7: a policy was replaced.
    SetPolicy = 7,
}

impl AuditKind {
    const ALL: [Self; 7] =
        [Self::Challenge, Self::Release, Self::Denial, Self::Put, Self::Rotate, Self::Revoke, Self::SetPolicy];

    /// The code in a record.
    #[must_use]
    pub const fn code(self) -> u8 {
        self as u8
    }
}

/// One thing that happened, before it has its place in a chain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditEvent {
    /// What happened.
    pub kind: AuditKind,
    /// The session; zero where there is none.
    pub session: SessionId,
    /// The keys it was about, 16 at most.
    pub keys: Vec<KeyId>,
    /// The evidence message, and for each key the policy and the envelope, where they are known; 33 at most.
    pub digests: Vec<[u8; 32]>,
    /// Why something was refused, or what the operator notes; 1024 bytes at most, longer ones are cut.
    pub detail: Box<str>,
}

impl AuditEvent {
    /// An event about keys alone, for what an operator does with a store.
    #[must_use]
    pub fn of_keys(kind: AuditKind, keys: Vec<KeyId>) -> Self {
        Self { kind, session: SessionId::from_bytes([0; 16]), keys, digests: Vec::new(), detail: "".into() }
    }
}

/// One record of an [`AuditLog`].
///
/// Bytes: `HKAU` 01 ‖ u64 number ‖ u64 seconds ‖ u8 kind ‖ session id 16 ‖ u8 k ‖ k × lp16(key id) ‖ u8 d ‖ d × digest 32 ‖ lp16(detail, UTF-8) ‖ SHA-256 of the record
/// before (zero for the first): SHA-256(lp16(`hanzo-kbs/v1/audit`) ‖ bytes).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditRecord {
    sequence: u64,
    at: UnixTime,
    event: AuditEvent,
    previous: [u8; 32],
}

impl AuditRecord {
    /// Its number in the chain, from 0.
    #[must_use]
    pub const fn sequence(&self) -> u64 {
        self.sequence
    }

    /// When it happened, by the broker's clock.
    #[must_use]
    pub const fn at(&self) -> UnixTime {
        self.at
    }

    /// What happened.
    #[must_use]
    pub const fn event(&self) -> &AuditEvent {
        &self.event
    }

    /// What the next record repeats.
    #[must_use]
    pub fn digest(&self) -> [u8; 32] {
        digest(b"hanzo-kbs/v1/audit", &[&self.to_bytes()])
    }

    /// The canonical bytes.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = MAGIC.to_vec();
        out.extend_from_slice(&self.sequence.to_be_bytes());
        out.extend_from_slice(&self.at.as_seconds().to_be_bytes());
        out.push(self.event.kind.code());
        out.extend_from_slice(self.event.session.as_bytes());
        // Both counts are checked when a record is made.
        out.push(self.event.keys.len() as u8);
        for key in &self.event.keys {
            put_lp16(&mut out, key.as_bytes());
        }
        out.push(self.event.digests.len() as u8);
        out.extend_from_slice(self.event.digests.as_flattened());
        put_lp16(&mut out, self.event.detail.as_bytes());
        out.extend_from_slice(&self.previous);
        out
    }

    /// Reads a record; its place in a chain is for [`AuditLog::verify`].
    ///
    /// # Errors
    ///
    /// [`Error::Malformed`] for bytes that no [`Self::to_bytes`] gives.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self> {
        let mut reader = Reader::new("audit record", bytes);
        reader.expect(MAGIC)?;
        let sequence = reader.u64()?;
        let at = UnixTime::from_seconds(reader.u64()?);
        let place = reader.malformed();
        let code = reader.u8()?;
        let kind = AuditKind::ALL.into_iter().find(|kind| kind.code() == code).ok_or(place)?;
        let session = SessionId::from_bytes(reader.array()?);
        let count = reader.count(0, MAX_KEYS as u8)?;
        let keys = (0..count).map(|_| read_key_id(&mut reader)).collect::<Result<_>>()?;
        let count = reader.count(0, MAX_DIGESTS)?;
        let digests = (0..count).map(|_| reader.array()).collect::<Result<_>>()?;
        let place = reader.malformed();
        let detail = reader.lp16()?;
        let detail = core::str::from_utf8(detail).ok().filter(|text| text.len() <= MAX_DETAIL_LEN).ok_or(place)?;
        let event = AuditEvent { kind, session, keys, digests, detail: detail.into() };
        let previous = reader.array()?;
        reader.finish()?;
        Ok(Self { sequence, at, event, previous })
    }
}

/// Takes records, each before the message it describes leaves the broker. Every closure of the same shape is one.
pub trait AuditSink {
    /// Stores a record for good.
    ///
    /// # Errors
    ///
    /// Any; the broker then refuses what it was about to do.
    fn store(&mut self, record: &AuditRecord) -> Result<(), KbsError>;
}

impl<F: FnMut(&AuditRecord) -> Result<(), KbsError>> AuditSink for F {
    fn store(&mut self, record: &AuditRecord) -> Result<(), KbsError> {
        self(record)
    }
}

/// Numbers records and chains them.
///
/// The chain shows removed and changed records. That it was not cut at its end, or written anew as a whole, shows only beside the digest of the last record, kept elsewhere.
///
/// ```
/// use std::sync::{Arc, Mutex};
///
/// use hanzo_pqc::KeyId;
/// use hanzo_pqc::attestation::UnixTime;
/// use hanzo_pqc::kbs::{AuditEvent, AuditKind, AuditLog, AuditRecord, KbsError};
///
/// let kept = Arc::new(Mutex::new(Vec::new()));
/// let sink = kept.clone();
/// let mut log = AuditLog::new(move |record: &AuditRecord| -> Result<(), KbsError> {
///     sink.lock().unwrap().push(record.clone());
///     Ok(())
/// });
/// let (now, key) = (UnixTime::from_seconds(1_800_000_000), KeyId::new("tenant-7/model")?);
/// log.append(now, AuditEvent::of_keys(AuditKind::Put, vec![key.clone()]))?;
/// log.append(now, AuditEvent::of_keys(AuditKind::Revoke, vec![key]))?;
///
/// let mut records = kept.lock().unwrap().clone();
/// assert_eq!(AuditLog::verify(&records)?, *log.head());
/// records.remove(0);
/// assert!(AuditLog::verify(&records).is_err());
/// # Ok::<(), KbsError>(())
/// ```
pub struct AuditLog {
    next: u64,
    previous: [u8; 32],
    sink: Box<dyn AuditSink + Send>,
}

impl AuditLog {
    /// A new chain.
    #[must_use]
    pub fn new(sink: impl AuditSink + Send + 'static) -> Self {
        Self { next: 0, previous: [0; 32], sink: Box::new(sink) }
    }

    /// Continues the chain that ends in this record.
    #[must_use]
    pub fn resume(last: &AuditRecord, sink: impl AuditSink + Send + 'static) -> Self {
        Self { next: last.sequence.saturating_add(1), previous: last.digest(), sink: Box::new(sink) }
    }

    /// Appends a record. The broker does so for challenges, releases and denials; what an operator does with a store is theirs to append.
    ///
    /// # Errors
    ///
    /// The sink's, and the chain is as before; [`Error::TooLong`] above 16 keys or 33 digests.
    pub fn append(&mut self, at: UnixTime, event: AuditEvent) -> Result<(), KbsError> {
        if event.keys.len() > MAX_KEYS {
            return Err(Error::TooLong { what: "keys", limit: MAX_KEYS }.into());
        }
        if event.digests.len() > usize::from(MAX_DIGESTS) {
            return Err(Error::TooLong { what: "digests", limit: MAX_DIGESTS.into() }.into());
        }
        let mut cut = event.detail.len().min(MAX_DETAIL_LEN);
        while !event.detail.is_char_boundary(cut) {
            cut -= 1;
        }
        let event = AuditEvent { detail: event.detail[..cut].into(), ..event };
        let record = AuditRecord { sequence: self.next, at, event, previous: self.previous };
        self.sink.store(&record)?;
        self.previous = record.digest();
        self.next = self.next.saturating_add(1);
        Ok(())
    }

    /// The digest of the last record, to keep elsewhere; zero for an empty chain.
    #[must_use]
    pub const fn head(&self) -> &[u8; 32] {
        &self.previous
    }

    /// Checks that records are a chain from its start, each the follower of the one before, and gives its head.
    ///
    /// # Errors
    ///
    /// [`Error::Malformed`] with the number of the first record that does not follow.
    pub fn verify<'a>(records: impl IntoIterator<Item = &'a AuditRecord>) -> Result<[u8; 32]> {
        let mut previous = [0; 32];
        for (offset, record) in records.into_iter().enumerate() {
            if record.previous != previous || usize::try_from(record.sequence) != Ok(offset) {
                return Err(Error::Malformed { what: "audit log", offset });
            }
            previous = record.digest();
        }
        Ok(previous)
    }
}

impl fmt::Debug for AuditLog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AuditLog").field("next", &self.next).finish_non_exhaustive()
    }
}

/// The reason of a denial, for the operator.
pub(super) fn reason(error: &KbsError) -> Box<str> {
    error.to_string().into()
}

const MAGIC: &[u8] = b"HKAU\x01";
/// Evidence, and for each of 16 keys its policy and its envelope.
const MAX_DIGESTS: u8 = 33;
const MAX_DETAIL_LEN: usize = 1024;
