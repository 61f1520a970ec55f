//! Integers whose products need 256 bits.

use core::cmp::Ordering;

use crate::{Error, Result};

/// A product of two `u128`: high and low half.
pub(crate) fn product(a: u128, b: u128) -> (u128, u128) {
    const LOW: u128 = u64::MAX as u128;
    let (a1, a0, b1, b0) = (a >> 64, a & LOW, b >> 64, b & LOW);
    let low = a0 * b0;
    let middle = a1 * b0 + (low >> 64);
    let (middle, carry) = (a0 * b1).overflowing_add(middle);
    let high = a1 * b1 + (middle >> 64) + (u128::from(carry) << 64);
    (high, middle << 64 | low & LOW)
}

/// Compares a * b with c * d.
pub(crate) fn compare(a: u128, b: u128, c: u128, d: u128) -> Ordering {
    product(a, b).cmp(&product(c, d))
}

/// Quotient and remainder of a * b / divisor.
pub(crate) fn div_rem(a: u128, b: u128, divisor: u128) -> Result<(u128, u128)> {
    let (high, low) = product(a, b);
    if high >= divisor {
        // The quotient has more than 128 bits, or the divisor is 0.
        return Err(Error::Overflow);
    }
    if high == 0 {
        return Ok((low / divisor, low % divisor));
    }
    let (mut quotient, mut rest) = (0_u128, high);
    for bit in (0..128).rev() {
        let over = rest >> 127 == 1;
        rest = rest << 1 | low >> bit & 1;
        quotient <<= 1;
        // The true value of the remainder is below twice the divisor, so that the subtraction is exact also where the
        // shift lost its top bit.
        if over || rest >= divisor {
            rest = rest.wrapping_sub(divisor);
            quotient |= 1;
        }
    }
    Ok((quotient, rest))
}

/// a * bps / 10^4, rounded up; at most `a` for `bps` up to 10^4.
pub(crate) fn ceil_bps(a: u128, bps: u16) -> Result<u128> {
    let (quotient, rest) = div_rem(a, bps.into(), 10_000)?;
    Ok(quotient + u128::from(rest > 0))
}

#[cfg(test)]
mod tests {
    use num_bigint::BigUint;
    use proptest::prelude::*;

    use super::*;

    fn any_width() -> impl Strategy<Value = u128> {
        (any::<u128>(), 0..128_u32).prop_map(|(x, shift)| x >> shift)
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn as_big_integers_have_it(a in any_width(), b in any_width(), c in any_width(), d in any_width()) {
            let big = |x: u128| BigUint::from(x);
            let (high, low) = product(a, b);
            prop_assert_eq!((big(high) << 128) + big(low), big(a) * big(b));
            prop_assert_eq!(compare(a, b, c, d), (big(a) * big(b)).cmp(&(big(c) * big(d))));
            match div_rem(a, b, c) {
                Ok((quotient, rest)) => {
                    prop_assert_eq!(big(quotient) * big(c) + big(rest), big(a) * big(b));
                    prop_assert!(rest < c);
                }
                Err(_) => prop_assert!(c == 0 || big(a) * big(b) / big(c) > big(u128::MAX)),
            }
        }
    }

    #[test]
    fn extremes() {
        let max = u128::MAX;
        assert_eq!(div_rem(max, max, max), Ok((max, 0)));
        assert_eq!(div_rem(max - 1, max, max), Ok((max - 1, 0)));
        assert_eq!(div_rem(max, 2, 1), Err(Error::Overflow));
        assert_eq!(div_rem(0, 0, 0), Err(Error::Overflow));
        assert_eq!(ceil_bps(1, 5_000), Ok(1));
        assert_eq!(ceil_bps(max, 10_000), Ok(max));
    }
}
