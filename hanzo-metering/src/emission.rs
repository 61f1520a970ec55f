use crate::fees::{FeeError, distribute};
use crate::wide::mul_div;
use crate::wire::{Bytes, Wire, WireError};
use alloc::vec::Vec;

/// How much may be minted, by epoch and in all.
///
/// Without caps anyone who pays himself for compute mints freely: the network then relies on what compute costs.
///
/// ```
/// use hanzo_metering::Emission;
/// # fn main() -> Result<(), hanzo_metering::EmissionError> {
/// let mut emission = Emission::new(Some(100), None);
/// assert_eq!(emission.grant(&[150, 50], 1)?, [75, 25]);
/// assert_eq!(emission.grant(&[1], 1)?, [0]);
/// assert_eq!(emission.grant(&[1], 2)?, [1]);
/// # Ok(()) }
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Emission {
    epoch_cap: Option<u128>,
    max_supply: Option<u128>,
    minted: u128,
    epoch: u64,
    minted_in_epoch: u128,
}

impl Emission {
    /// Caps in base units; `None` is no cap.
    pub const fn new(epoch_cap: Option<u128>, max_supply: Option<u128>) -> Self {
        Self { epoch_cap, max_supply, minted: 0, epoch: 0, minted_in_epoch: 0 }
    }

    /// The Hanzo network, which names no cap.
    pub const fn hanzo() -> Self {
        Self::new(None, None)
    }

    /// Grants each request as far as there is room: all of them, or else the room by largest remainder over the
    /// requests. O(n log n).
    ///
    /// # Errors
    /// `EpochOrder` where the epoch is before one granted in; `Overflow` where the requests or the supply pass `u128`.
    pub fn grant(&mut self, requests: &[u128], epoch: u64) -> Result<Vec<u128>, EmissionError> {
        if epoch < self.epoch {
            return Err(EmissionError::EpochOrder { epoch, current: self.epoch });
        }
        let in_epoch = if epoch == self.epoch { self.minted_in_epoch } else { 0 };
        let cap = self.epoch_cap.map_or(u128::MAX, |cap| cap.saturating_sub(in_epoch));
        let room = self.max_supply.map_or(u128::MAX, |max| max.saturating_sub(self.minted)).min(cap);
        let mut sum: u128 = 0;
        for &r in requests {
            sum = sum.checked_add(r).ok_or(EmissionError::Overflow)?;
        }
        let total = sum.min(room);
        let minted = self.minted.checked_add(total).ok_or(EmissionError::Overflow)?;
        let grants = if sum <= room {
            requests.to_vec()
        } else {
            // The sum passes the room, so it is not 0 and it did not overflow.
            distribute(room, requests).map_err(|_: FeeError| EmissionError::Overflow)?
        };
        self.minted = minted;
        // Part of `minted`, so it cannot overflow.
        self.minted_in_epoch = in_epoch + total;
        self.epoch = epoch;
        Ok(grants)
    }

    /// Base units granted in all.
    pub const fn minted(&self) -> u128 {
        self.minted
    }
}

/// The reward for serving `queries` (004, 10.2.3): `floor(gamma q (T + s) / T)` for a stake `s` of the total `T`, and
/// `gamma q` where `T` is 0.
///
/// # Errors
/// `Overflow`.
pub fn inference_reward(gamma: u128, queries: u64, stake: u128, total_stake: u128) -> Result<u128, EmissionError> {
    let base = gamma.checked_mul(u128::from(queries)).ok_or(EmissionError::Overflow)?;
    if total_stake == 0 {
        return Ok(base);
    }
    let (bonus, _) = mul_div(base, stake, total_stake).ok_or(EmissionError::Overflow)?;
    base.checked_add(bonus).ok_or(EmissionError::Overflow)
}

/// What rewards came to, for display: parts per million of `base` per year, `rewards x 10^6 x year / (base x elapsed)`.
///
/// # Errors
/// `Overflow`; `NothingElapsed` where the base or the time is 0.
pub fn realized_ppm(rewards: u128, base: u128, elapsed_ns: u64) -> Result<u128, EmissionError> {
    if base == 0 || elapsed_ns == 0 {
        return Err(EmissionError::NothingElapsed);
    }
    let denominator = base.checked_mul(u128::from(elapsed_ns)).ok_or(EmissionError::Overflow)?;
    Ok(mul_div(rewards, PPM * YEAR_NS, denominator).ok_or(EmissionError::Overflow)?.0)
}

/// Why nothing was granted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
#[non_exhaustive]
pub enum EmissionError {
    /// The epoch is before the current one.
    #[error("epoch {epoch} is before epoch {current}")]
    EpochOrder {
        /// Epoch given.
        epoch: u64,
        /// Epoch of the last grant.
        current: u64,
    },
    /// A sum passes `u128`.
    #[error("amount overflows")]
    Overflow,
    /// A rate over no stake or no time.
    #[error("no base or no time elapsed")]
    NothingElapsed,
}

const PPM: u128 = 1_000_000;
/// Nanoseconds of 365 days.
const YEAR_NS: u128 = 365 * 24 * 3_600 * 1_000_000_000;

impl Emission {
    pub(crate) fn put_state(&self, out: &mut Vec<u8>) {
        (self.minted, self.epoch, self.minted_in_epoch).put(out);
    }

    pub(crate) fn take_state(&mut self, bytes: &mut Bytes<'_>) -> Result<(), WireError> {
        (self.minted, self.epoch, self.minted_in_epoch) = Wire::take(bytes)?;
        Ok(())
    }
}
