//! Units that could be mixed up: epochs, milliseconds, basis points.

use crate::error::{Error, Result};

/// Number of an audit epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Epoch(u64);

impl Epoch {
    /// The epoch of that number.
    pub const fn new(number: u64) -> Self {
        Self(number)
    }

    /// The epoch that holds `now`, where epoch 0 starts at time 0.
    ///
    /// # Errors
    /// [`Error::InvalidField`] for an epoch length of zero.
    pub const fn at(now: Millis, epoch_ms: u64) -> Result<Self> {
        match now.get().checked_div(epoch_ms) {
            Some(number) => Ok(Self(number)),
            None => Err(Error::InvalidField("epoch_ms")),
        }
    }

    /// Its number.
    pub const fn get(self) -> u64 {
        self.0
    }
}

/// A point in time: milliseconds since the network's start of time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Millis(u64);

impl Millis {
    /// The time of that many milliseconds.
    pub const fn new(ms: u64) -> Self {
        Self(ms)
    }

    /// Milliseconds.
    pub const fn get(self) -> u64 {
        self.0
    }

    /// This time plus `ms`; stays at the last representable time.
    pub const fn saturating_add(self, ms: u64) -> Self {
        Self(self.0.saturating_add(ms))
    }
}

/// Hundredths of a percent, 0 to 10,000.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub struct BasisPoints(u16);

impl BasisPoints {
    /// Nothing.
    pub const ZERO: Self = Self(0);
    /// All of it: 10,000.
    pub const ALL: Self = Self(10_000);

    /// That many basis points.
    ///
    /// # Errors
    /// [`Error::AboveLimit`] above 10,000.
    pub const fn new(bps: u16) -> Result<Self> {
        if bps > Self::ALL.0 {
            return Err(Error::AboveLimit { amount: bps as u128, limit: Self::ALL.0 as u128 });
        }
        Ok(Self(bps))
    }

    /// Basis points as a number.
    pub const fn get(self) -> u16 {
        self.0
    }

    pub(crate) const fn capped(bps: u32) -> Self {
        if bps > Self::ALL.0 as u32 { Self::ALL } else { Self(bps as u16) }
    }
}
