//! Who may ask at all: a hook before each challenge, and a rate limit to put there.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use core::num::{NonZeroU32, NonZeroU64};

use super::message::Request;
use crate::attestation::UnixTime;
use crate::envelope::KeyId;

/// Asked before a challenge is made; a no is [`KbsError::Busy`](super::KbsError::Busy). Every closure of the same shape is one.
///
/// A request says who asks only as far as its keys do: limits by connection or account belong to the transport, which can stand in such a closure.
pub trait Admission {
    /// Whether this request may have a challenge now. Time never goes back.
    fn admit(&mut self, request: &Request, now: UnixTime) -> bool;
}

impl<F: FnMut(&Request, UnixTime) -> bool> Admission for F {
    fn admit(&mut self, request: &Request, now: UnixTime) -> bool {
        self(request, now)
    }
}

/// A token bucket for each key id: `burst` requests at once, then one more every `seconds`.
///
/// A request is admitted where all its keys have a token, and takes one of each then; otherwise it takes none. Names are remembered while their bucket is not full,
/// 65,536 at most: above that, names that are not remembered are refused until others have filled up, so that invented names cost no memory.
///
/// ```
/// use core::num::{NonZeroU32, NonZeroU64};
/// use hanzo_pqc::attestation::UnixTime;
/// use hanzo_pqc::kbs::{Admission, KeyRateLimit, Request};
/// use hanzo_pqc::{KeyId, PrivacyTier};
///
/// let mut limit = KeyRateLimit::new(NonZeroU32::new(2).unwrap(), NonZeroU64::new(30).unwrap());
/// let tier = PrivacyTier::AtRest;
/// let request = Request::new(tier, &[tier.suite()], vec![KeyId::new("model")?])?;
/// let at = |seconds: u64| UnixTime::from_seconds(1_800_000_000 + seconds);
/// assert!(limit.admit(&request, at(0)) && limit.admit(&request, at(0)) && !limit.admit(&request, at(29)));
/// assert!(limit.admit(&request, at(30)) && !limit.admit(&request, at(30)));
/// # Ok::<(), hanzo_pqc::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct KeyRateLimit {
    /// How long a full bucket takes to fill, and how long one token does, in seconds.
    span_s: u64,
    token_s: u64,
    /// When each bucket is full again.
    full_at: BTreeMap<KeyId, u64>,
}

impl KeyRateLimit {
    /// The most names that are remembered.
    pub const MAX_KEYS: usize = 65_536;

    /// A limit that nobody has used.
    #[must_use]
    pub const fn new(burst: NonZeroU32, seconds: NonZeroU64) -> Self {
        let token_s = seconds.get();
        Self { span_s: token_s.saturating_mul(burst.get() as u64), token_s, full_at: BTreeMap::new() }
    }

    fn next(&self, key: &KeyId, now: u64) -> Option<u64> {
        let full_at = self.full_at.get(key).map_or(now, |at| now.max(*at)).checked_add(self.token_s)?;
        (full_at - now <= self.span_s).then_some(full_at)
    }
}

impl Admission for KeyRateLimit {
    fn admit(&mut self, request: &Request, now: UnixTime) -> bool {
        let now = now.as_seconds();
        if self.full_at.len() + request.keys().len() > Self::MAX_KEYS {
            self.full_at.retain(|_, at| *at > now);
        }
        let new = request.keys().iter().filter(|key| !self.full_at.contains_key(*key)).count();
        if self.full_at.len() + new > Self::MAX_KEYS {
            return false;
        }
        let Some(next) = request.keys().iter().map(|key| self.next(key, now)).collect::<Option<Vec<_>>>() else {
            return false;
        };
        self.full_at.extend(request.keys().iter().cloned().zip(next));
        true
    }
}
