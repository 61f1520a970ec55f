use core::fmt;

use crate::{Error, Result};

/// A number in -2^31..2^31 with 32 fractional bits (Q32.32), stored as an `i64`.
///
/// ```
/// use hanzo_experience::aggregate::Fixed;
///
/// assert_eq!(Fixed::from_f64(-1.5)?.to_raw(), -6_442_450_944);
/// assert_eq!(Fixed::from_f64(0.1)?.to_f64(), 0.10000000009313226);
/// assert!(Fixed::from_f64(f64::NAN).is_err());
/// # Ok::<(), hanzo_experience::Error>(())
/// ```
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Fixed(i64);

impl Fixed {
    /// Zero.
    pub const ZERO: Self = Self(0);

    /// The nearest number, ties to even; -0 is 0.
    ///
    /// # Errors
    /// [`Error::NonFinite`] (component 0) for NaN and infinities; [`Error::OutOfRange`] outside -2^31..2^31 after rounding.
    pub fn from_f64(x: f64) -> Result<Self> {
        if !x.is_finite() {
            return Err(Error::NonFinite { index: 0 });
        }
        // Scaling by a power of two is exact, or infinite.
        let scaled = (x * TWO_32).round_ties_even();
        if (-TWO_63..TWO_63).contains(&scaled) {
            Ok(Self(scaled as i64))
        } else {
            Err(Error::OutOfRange { field: "fixed" })
        }
    }

    /// The nearest `f64`.
    pub fn to_f64(self) -> f64 {
        self.0 as f64 / TWO_32
    }

    /// From the number times 2^32.
    pub const fn from_raw(raw: i64) -> Self {
        Self(raw)
    }

    /// The number times 2^32.
    pub const fn to_raw(self) -> i64 {
        self.0
    }

    /// floor((a + b) / 2).
    pub(super) fn midpoint(self, other: Self) -> Self {
        Self((self.0 & other.0) + ((self.0 ^ other.0) >> 1))
    }

    /// The mean `sum / count`, ties to even, of values whose raw numbers, each counted as often as its weight, sum to `sum`.
    pub(super) fn mean(sum: i128, count: u128) -> Result<Self> {
        let count = i128::try_from(count).ok().filter(|count| *count > 0).ok_or(Error::NoWeight)?;
        let (quotient, rest) = (sum.div_euclid(count), sum.rem_euclid(count));
        let up = rest > count - rest || (rest == count - rest && quotient & 1 == 1);
        i64::try_from(quotient + i128::from(up)).map(Self).map_err(|_| Error::Overflow)
    }
}

/// As a decimal number, rounded as `f64`.
impl fmt::Display for Fixed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.to_f64(), f)
    }
}

impl fmt::Debug for Fixed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Fixed({} / 2^32)", self.0)
    }
}

const TWO_32: f64 = 4_294_967_296.0;
const TWO_63: f64 = 9_223_372_036_854_775_808.0;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounds_and_ties() {
        let raw = |x: f64| Fixed::from_f64(x).map(Fixed::to_raw);
        assert_eq!(raw(-0.0), Ok(0));
        assert_eq!(raw(-2_147_483_648.0), Ok(i64::MIN));
        assert_eq!(raw(2_147_483_648.0), Err(Error::OutOfRange { field: "fixed" }));
        // The greatest double below 2^31 has 22 fractional bits, so nothing rounds up to the bound.
        assert_eq!(raw(2_147_483_648_f64.next_down()), Ok(i64::MAX - 1023));
        assert_eq!(raw(f64::MAX), Err(Error::OutOfRange { field: "fixed" }));
        assert_eq!(raw(f64::INFINITY), Err(Error::NonFinite { index: 0 }));
        let half = 0.5 / TWO_32;
        assert_eq!([raw(half), raw(3.0 * half), raw(-half), raw(-3.0 * half)], [Ok(0), Ok(2), Ok(0), Ok(-2)]);
    }

    #[test]
    fn means_round_half_to_even() {
        let mean = |sum, count| Fixed::mean(sum, count).map(Fixed::to_raw);
        assert_eq!([mean(1, 2), mean(3, 2), mean(-1, 2), mean(-3, 2)], [Ok(0), Ok(2), Ok(0), Ok(-2)]);
        assert_eq!([mean(2, 3), mean(-2, 3), mean(7, 7)], [Ok(1), Ok(-1), Ok(1)]);
        assert_eq!(mean(1, 0), Err(Error::NoWeight));
        assert_eq!(Fixed(i64::MIN).midpoint(Fixed(i64::MAX)), Fixed(-1));
        assert_eq!(Fixed(-3).midpoint(Fixed(-4)), Fixed(-4));
    }
}
