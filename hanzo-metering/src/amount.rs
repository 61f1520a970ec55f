//! Amounts as decimal numbers, for import and display.

use crate::UnitError;
use rust_decimal::Decimal;

/// An amount of base units as a decimal number, where `decimals` of them make up one whole token.
///
/// # Errors
/// `NotExact` for an amount of more than 96 bits, or more than 28 decimals: a [`Decimal`] holds no more.
///
/// ```
/// use hanzo_metering::{UnitError, amount_of, decimal_of};
/// # fn main() -> Result<(), UnitError> {
/// let price = decimal_of(1_250_000, 9)?;
/// assert_eq!(price.to_string(), "0.001250000");
/// assert_eq!(amount_of(price, 9), Ok(1_250_000));
/// assert_eq!(amount_of(price, 4), Err(UnitError::NotExact)); // never rounded
/// # Ok(()) }
/// ```
pub fn decimal_of(amount: i128, decimals: u32) -> Result<Decimal, UnitError> {
    Decimal::try_from_i128_with_scale(amount, decimals).map_err(|_| UnitError::NotExact)
}

/// The base units of a decimal number, where `decimals` of them make up one whole token.
///
/// # Errors
/// `NotExact` for a number with other than zeros after that many decimals; `Overflow` past `i128`.
pub fn amount_of(value: Decimal, decimals: u32) -> Result<i128, UnitError> {
    let value = value.normalize();
    let more = decimals.checked_sub(value.scale()).ok_or(UnitError::NotExact)?;
    if value.is_zero() {
        return Ok(0);
    }
    let factor = 10i128.checked_pow(more).ok_or(UnitError::Overflow)?;
    value.mantissa().checked_mul(factor).ok_or(UnitError::Overflow)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn amounts_come_back(amount in -(1i128 << 96) + 1..1i128 << 96, decimals in 0u32..29) {
            prop_assert_eq!(amount_of(decimal_of(amount, decimals)?, decimals), Ok(amount));
        }

        #[test]
        fn more_decimals_only_append_zeros(amount in -1_000_000i128..1_000_000, decimals in 0u32..10, more in 0u32..9) {
            let value = decimal_of(amount, decimals)?;
            prop_assert_eq!(amount_of(value, decimals + more), Ok(amount * 10i128.pow(more)));
        }
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        assert_eq!(decimal_of(1 << 96, 0), Err(UnitError::NotExact));
        assert_eq!(decimal_of(-(1 << 96), 0), Err(UnitError::NotExact));
        assert_eq!(decimal_of(1, 29), Err(UnitError::NotExact));
        assert_eq!(amount_of(Decimal::new(15, 1), 0), Err(UnitError::NotExact));
        assert_eq!(amount_of(Decimal::new(150, 2), 1), Ok(15));
        assert_eq!(amount_of(Decimal::MAX, 11), Err(UnitError::Overflow));
        assert_eq!(amount_of(Decimal::ONE, 39), Err(UnitError::Overflow));
        assert_eq!(amount_of(Decimal::ZERO, u32::MAX), Ok(0));
    }
}
