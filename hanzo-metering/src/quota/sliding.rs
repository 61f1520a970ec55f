use super::keyed::{Keyed, State};
use super::{HOUR_NS, QuotaError};
use crate::Timestamp;
use alloc::boxed::Box;
use alloc::collections::VecDeque;
use core::hash::Hash;

/// An exact sliding window: of every key, requests of at most `limit` in cost are admitted in **every** interval of
/// length `window`, half-open to the left.
///
/// A request at time `t` is admitted if the costs admitted in `(t - window, t]` and its own sum to at most `limit`. A fixed
/// window admits twice the limit around its border, and GCRA ([`Gcra`](crate::Gcra)) with a burst of the limit nearly twice
/// in its first period; this admits the limit. It keeps the times of admitted requests, at most `limit` a key; O(1)
/// a request, amortised.
///
/// ```
/// use hanzo_metering::{QuotaError, SlidingWindow, Timestamp};
/// # fn main() -> Result<(), QuotaError> {
/// let t = |s: u64| Timestamp::from_nanos(s * 1_000_000_000);
/// let mut quota = SlidingWindow::per_hour(100)?;
/// for second in 0..100 {
///     quota.check(t(second), &"ann", 1)?;
/// }
/// assert_eq!(quota.check(t(100), &"ann", 1), Err(QuotaError::Denied { retry_at: t(3_600) }));
/// quota.check(t(100), &"bob", 1)?; // keys do not share
/// quota.check(t(3_600), &"ann", 1)?;
/// # Ok(()) }
/// ```
#[derive(Debug, Clone)]
pub struct SlidingWindow<K> {
    limit: u32,
    window_ns: u64,
    keys: Keyed<K, Admitted>,
}

/// Requests of one key that may still count.
#[derive(Debug, Clone, Default)]
struct Admitted {
    /// In order.
    times: VecDeque<u64>,
    /// Beside the times; absent while every cost is 1, as most are.
    #[expect(clippy::box_collection, reason = "8 bytes in place of 32 for each key, most of which have none")]
    costs: Option<Box<VecDeque<u32>>>,
    /// Their sum.
    cost: u32,
    window_ns: u64,
}

impl State for Admitted {
    fn idle_at(&self) -> u128 {
        // An entry at exactly now - window no longer counts.
        self.times.back().map_or(0, |&at| u128::from(at) + u128::from(self.window_ns))
    }
}

impl<K: Hash + Eq + Clone> SlidingWindow<K> {
    /// Largest limit.
    pub const MAX_LIMIT: u32 = 65_535;

    /// Costs of `limit` (1 to 65,535) in any `window_ns`, for at most 65,536 keys at a time.
    ///
    /// # Errors
    /// `BadLimit`.
    pub fn new(limit: u32, window_ns: u64) -> Result<Self, QuotaError> {
        check_limit(limit)?;
        if window_ns == 0 {
            return Err(QuotaError::BadLimit);
        }
        Ok(Self { limit, window_ns, keys: Keyed::new() })
    }

    /// Costs of `limit` in any hour; 100 is the free tier of the Zoo network (004, 11.2.4).
    ///
    /// # Errors
    /// `BadLimit`.
    pub fn per_hour(limit: u32) -> Result<Self, QuotaError> {
        Self::new(limit, HOUR_NS)
    }

    /// The same keeping at most `max_keys`, with hash tables keyed by `hash_seed`: a secret one where strangers choose
    /// keys. Forgets all keys and their limits.
    ///
    /// # Errors
    /// `BadLimit` where no key may be kept.
    pub fn with_keys(self, max_keys: usize, hash_seed: u64) -> Result<Self, QuotaError> {
        if max_keys == 0 {
            return Err(QuotaError::BadLimit);
        }
        Ok(Self { keys: Keyed::with(max_keys, hash_seed), ..self })
    }

    /// Gives one key a limit of its own, from now on.
    ///
    /// # Errors
    /// `BadLimit`.
    pub fn set_limit(&mut self, key: K, limit: u32) -> Result<(), QuotaError> {
        check_limit(limit)?;
        self.keys.set_limit(key, limit);
        Ok(())
    }

    /// Admits a request and counts its cost, or says when to try again. A cost of 0 is always admitted.
    ///
    /// # Errors
    /// `ClockBackwards`, `NeverFits`, `Denied`, `TooManyKeys`.
    pub fn check(&mut self, now: Timestamp, key: &K, cost: u32) -> Result<(), QuotaError> {
        self.keys.advance(now)?;
        let limit = self.keys.limit(key).unwrap_or(self.limit);
        if cost > limit {
            return Err(QuotaError::NeverFits { cost, limit });
        }
        if cost == 0 {
            return Ok(());
        }
        let (at, window_ns) = (now.as_nanos(), self.window_ns);
        if let Some(state) = self.keys.get_mut(key) {
            state.forget(at);
            if state.cost + cost > limit {
                return Err(QuotaError::Denied { retry_at: state.retry_at(cost, limit) });
            }
            state.admit(at, cost);
            return Ok(());
        }
        let mut state = Admitted { window_ns, ..Admitted::default() };
        state.admit(at, cost);
        self.keys.insert(key, state)
    }

    /// What a key has left now, without counting anything.
    pub fn left(&mut self, now: Timestamp, key: &K) -> u32 {
        let limit = self.keys.limit(key).unwrap_or(self.limit);
        let oldest = now.as_nanos().checked_sub(self.window_ns);
        let counts = |at: u64| oldest.is_none_or(|oldest| at > oldest);
        let used = self.keys.get_mut(key).map_or(0, |s| s.entries().filter(|e| counts(e.0)).map(|e| e.1).sum());
        limit.saturating_sub(used)
    }

    /// How many keys are kept.
    pub fn len(&self) -> usize {
        self.keys.len()
    }

    /// Whether no key is kept.
    pub fn is_empty(&self) -> bool {
        self.keys.len() == 0
    }
}

impl Admitted {
    fn admit(&mut self, at: u64, cost: u32) {
        // Both within the limit, which is below 2^16.
        self.cost += cost;
        if cost != 1 && self.costs.is_none() {
            self.costs = Some(Box::new(self.times.iter().map(|_| 1).collect()));
        }
        self.times.push_back(at);
        if let Some(costs) = &mut self.costs {
            costs.push_back(cost);
        }
    }

    /// Times and costs, in order.
    fn entries(&self) -> impl Iterator<Item = (u64, u32)> {
        let mut costs = self.costs.as_deref().map(VecDeque::iter);
        self.times.iter().map(move |&at| (at, costs.as_mut().map_or(Some(1), |c| c.next().copied()).unwrap_or(0)))
    }

    /// Drops what no longer counts at `now`.
    fn forget(&mut self, now: u64) {
        let Some(oldest) = now.checked_sub(self.window_ns) else { return };
        while self.times.front().is_some_and(|&at| at <= oldest) {
            self.times.pop_front();
            self.cost -= self.costs.as_mut().map_or(Some(1), |costs| costs.pop_front()).unwrap_or(0);
        }
    }

    /// When enough will have left for `cost` to fit.
    fn retry_at(&self, cost: u32, limit: u32) -> Timestamp {
        let mut left = self.cost;
        let leaves = |(at, c): (u64, u32)| {
            left -= c;
            (left + cost <= limit).then_some(at)
        };
        // With nothing left any cost within the limit fits.
        let at = self.entries().find_map(leaves).unwrap_or(0);
        Timestamp::from_nanos(at.saturating_add(self.window_ns))
    }
}

fn check_limit(limit: u32) -> Result<(), QuotaError> {
    if limit == 0 || limit > 65_535 { Err(QuotaError::BadLimit) } else { Ok(()) }
}
