use super::QuotaError;
use super::keyed::{Keyed, State};
use crate::Timestamp;
use crate::wide::mul_div;
use core::hash::Hash;

/// The generic cell rate algorithm (ITU-T I.371): `limit` a `period` on the long run, and `burst` at once. One number a key.
///
/// It counts in units of `1 / limit` nanoseconds, so the interval between two requests is exactly `period` of them and
/// nothing drifts. A burst of the limit admits up to twice the limit, less one, in the first period (199 of "100 per
/// hour"); where a limit must hold in every interval, use [`SlidingWindow`](crate::SlidingWindow). O(1) a request.
///
/// ```
/// use hanzo_metering::{Gcra, QuotaError, Timestamp};
/// # fn main() -> Result<(), QuotaError> {
/// let t = Timestamp::from_nanos;
/// let mut quota = Gcra::new(3, 1_000, 1)?; // one every 333 1/3 ns
/// quota.check(t(0), &7, 1)?;
/// assert_eq!(quota.check(t(1), &7, 1), Err(QuotaError::Denied { retry_at: t(334) }));
/// quota.check(t(334), &7, 1)?;
/// # Ok(()) }
/// ```
#[derive(Debug, Clone)]
pub struct Gcra<K> {
    limit: u32,
    period_ns: u64,
    burst: u32,
    keys: Keyed<K, Arrival>,
}

/// The theoretical arrival time of a key, in units of 1 / limit ns: below 2^96 + 2^96.
#[derive(Debug, Clone, Copy)]
struct Arrival {
    tat: u128,
    limit: u32,
}

impl State for Arrival {
    fn idle_at(&self) -> u128 {
        self.tat.div_ceil(u128::from(self.limit))
    }
}

impl<K: Hash + Eq + Clone> Gcra<K> {
    /// `limit` a `period_ns`, `burst` at once, for at most 65,536 keys at a time.
    ///
    /// # Errors
    /// `BadLimit` where one is 0.
    pub fn new(limit: u32, period_ns: u64, burst: u32) -> Result<Self, QuotaError> {
        if limit == 0 || period_ns == 0 || burst == 0 {
            return Err(QuotaError::BadLimit);
        }
        Ok(Self { limit, period_ns, burst, keys: Keyed::new() })
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

    /// Gives one key a limit of its own, from now on; the burst stays. What it has used is carried over, rounded up to the
    /// new unit.
    ///
    /// # Errors
    /// `BadLimit`.
    pub fn set_limit(&mut self, key: K, limit: u32) -> Result<(), QuotaError> {
        if limit == 0 {
            return Err(QuotaError::BadLimit);
        }
        if let Some(state) = self.keys.get_mut(&key) {
            // Below 2^97 x 2^32 / 1: the quotient may pass 2^128 only by a clock at its end.
            let (tat, rest) =
                mul_div(state.tat, u128::from(limit), u128::from(state.limit)).ok_or(QuotaError::BadLimit)?;
            *state = Arrival { tat: tat.saturating_add(u128::from(rest > 0)), limit };
        }
        self.keys.set_limit(key, limit);
        Ok(())
    }

    /// Admits a request, or says when to try again. A cost of 0 is always admitted.
    ///
    /// # Errors
    /// `ClockBackwards`, `NeverFits`, `Denied`, `TooManyKeys`.
    pub fn check(&mut self, now: Timestamp, key: &K, cost: u32) -> Result<(), QuotaError> {
        self.keys.advance(now)?;
        if cost > self.burst {
            return Err(QuotaError::NeverFits { cost, limit: self.burst });
        }
        if cost == 0 {
            return Ok(());
        }
        let limit = self.keys.limit(key).unwrap_or(self.limit);
        let period = u128::from(self.period_ns);
        let n = u128::from(now.as_nanos()) * u128::from(limit);
        if let Some(state) = self.keys.get_mut(key) {
            let earliest = state.tat.saturating_sub(u128::from(self.burst - cost) * period);
            if n < earliest {
                let at = earliest.div_ceil(u128::from(limit));
                return Err(QuotaError::Denied {
                    retry_at: Timestamp::from_nanos(u64::try_from(at).unwrap_or(u64::MAX)),
                });
            }
            state.tat = state.tat.max(n) + u128::from(cost) * period;
            return Ok(());
        }
        let state = Arrival { tat: n + u128::from(cost) * period, limit };
        self.keys.insert(key, state)
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
