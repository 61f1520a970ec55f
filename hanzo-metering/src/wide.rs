//! Products and quotients that may pass 128 bits on the way.

use ruint::aliases::U256;

/// Basis points of one whole.
pub(crate) const BPS: u128 = 10_000;

/// `a * b / d` and its remainder; `None` where the quotient passes `u128` or `d` is 0.
pub(crate) fn mul_div(a: u128, b: u128, d: u128) -> Option<(u128, u128)> {
    mul_add_div(a, b, 0, d)
}

/// `(a * b + c) / d` and its remainder; `None` where the quotient passes `u128` or `d` is 0.
pub(crate) fn mul_add_div(a: u128, b: u128, c: u128, d: u128) -> Option<(u128, u128)> {
    if d == 0 {
        return None;
    }
    if let Some(n) = a.checked_mul(b).and_then(|n| n.checked_add(c)) {
        // One division: `%` would make a second.
        let q = n / d;
        return Some((q, n - q * d));
    }
    // (2^128 - 1)^2 + (2^128 - 1) < 2^256: neither step can wrap.
    let n = U256::from(a) * U256::from(b) + U256::from(c);
    let (q, r) = n.div_rem(U256::from(d));
    Some((u128::try_from(q).ok()?, u128::try_from(r).ok()?))
}

/// `floor(amount * bps / 10_000)` for `bps <= 10_000`: at most `amount`, so it cannot overflow.
pub(crate) fn bps_of(amount: u128, bps: u16) -> u128 {
    let w = u128::from(bps);
    (amount / BPS) * w + (amount % BPS) * w / BPS
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wide_and_narrow_paths_agree_at_the_border() {
        assert_eq!(mul_div(1 << 64, 1 << 63, 3), Some(((1u128 << 127) / 3, (1u128 << 127) % 3)));
        assert_eq!(mul_div(u128::MAX, u128::MAX, u128::MAX), Some((u128::MAX, 0)));
        assert_eq!(mul_add_div(u128::MAX, 2, 5, 4), Some((u128::MAX / 2 + 1, 3)));
        assert_eq!(mul_div(u128::MAX, 2, 1), None);
        assert_eq!(mul_div(1, 1, 0), None);
        assert_eq!(bps_of(u128::MAX, 10_000), u128::MAX);
        assert_eq!(bps_of(3, 5_000), 1);
    }
}
