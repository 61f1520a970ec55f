//! Fractions of 256 bits and their rational powers, with a rounding direction that is kept through every step.

use ruint::aliases::{U256, U512};

/// A number in [0, 1] as an integer multiple of `2^-256`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Fraction(U512);

/// Which way a result that does not fit is rounded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Round {
    Down,
    Up,
}

impl Fraction {
    pub(crate) fn one() -> Self {
        Self(U512::from(1) << 256)
    }

    /// `a / b` for `a <= b`, `b > 0`.
    pub(crate) fn ratio(a: U256, b: U256, round: Round) -> Self {
        Self(divide(U512::from(a) << 256, U512::from(b), round))
    }

    /// `self^(numerator / denominator)`; the root is taken first, so that small numbers keep their digits.
    pub(crate) fn power(self, numerator: u32, denominator: u32, round: Round) -> Self {
        self.root(denominator, round).integer_power(numerator, round)
    }

    fn integer_power(self, mut exponent: u32, round: Round) -> Self {
        let (mut base, mut out) = (self, Self::one());
        while exponent > 0 {
            if exponent & 1 == 1 {
                out = out.times(base, round);
            }
            exponent >>= 1;
            if exponent > 0 {
                base = base.times(base, round);
            }
        }
        out
    }

    fn times(self, other: Self, round: Round) -> Self {
        // 1 * 1 alone would need 513 bits.
        if self == Self::one() {
            return other;
        }
        if other == Self::one() {
            return self;
        }
        let product = self.0 * other.0;
        Self(upper_half(product, round))
    }

    /// The `n`-th root: Newton from a double, then single steps until the direction holds for certain.
    fn root(self, n: u32, round: Round) -> Self {
        if n <= 1 || self.0.is_zero() || self == Self::one() {
            return self;
        }
        let mut z = self.guess(n);
        for _ in 0..4 {
            let slope = z.integer_power(n - 1, Round::Up);
            // z' = ((n - 1) z + r / z^(n-1)) / n, capped at 1.
            let (above, below): (U512, U512) = (self.0 << 255, slope.0 >> 1);
            let quotient = above.checked_div(below).unwrap_or(Self::one().0).min(Self::one().0);
            z = Self((z.0 * U512::from(n - 1) + quotient) / U512::from(n)).min(Self::one());
        }
        let mut step = U512::from(1);
        match round {
            Round::Up => {
                while z.integer_power(n, Round::Down) < self && z < Self::one() {
                    z = Self(z.0.saturating_add(step)).min(Self::one());
                    step <<= 1;
                }
            }
            Round::Down => {
                while z.integer_power(n, Round::Up) > self {
                    z = Self(z.0.saturating_sub(step));
                    step <<= 1;
                }
            }
        }
        z
    }

    /// The root to the digits of a double.
    fn guess(self, n: u32) -> Self {
        let bits = self.0.bit_len();
        let shift = bits.saturating_sub(53);
        // At most 53 bits.
        let head = (self.0 >> shift).as_limbs()[0] as f64;
        let log2 = head.log2() + shift as f64 - 256.0;
        let root = log2 / f64::from(n);
        let whole = root.floor();
        // In [2^52, 2^53): the cast is exact.
        let digits = ((root - whole).exp2() * (1u64 << 52) as f64) as u64;
        let place = 256.0 + whole - 52.0;
        let guess =
            if place >= 0.0 { U512::from(digits) << (place as usize) } else { U512::from(digits) >> (-place as usize) };
        Self(guess.max(U512::from(1))).min(Self::one())
    }

    /// `amount * self`.
    pub(crate) fn of(self, amount: U256, round: Round) -> U512 {
        // At most 129 + 257 bits.
        let product = U512::from(amount) * self.0;
        upper_half(product, round)
    }

    pub(crate) fn checked_sub(self, other: Self) -> Option<Self> {
        self.0.checked_sub(other.0).map(Self)
    }

    pub(crate) fn saturating_add(self, other: Self) -> Self {
        Self(self.0 + other.0).min(Self::one())
    }

    /// `amount * (1 - self) / self`, rounded up; `None` where it exceeds 512 bits.
    pub(crate) fn complement_over_self(self, amount: U256) -> Option<U512> {
        if self.0.is_zero() {
            return None;
        }
        let numerator = U512::from(amount) * (Self::one().0 - self.0);
        Some(divide(numerator, self.0, Round::Up))
    }

    /// Half the sum of two fractions as a 256-bit integer, rounded down.
    pub(crate) fn half_sum(self, other: Self) -> U256 {
        let half: U512 = (self.0 + other.0) >> 1;
        // At most 2^256, reached only by 1 + 1.
        narrow(half).unwrap_or(U256::MAX)
    }
}

/// `v / 2^256`.
fn upper_half(v: U512, round: Round) -> U512 {
    let whole: U512 = v >> 256;
    let rest = v.as_limbs()[..4].iter().any(|&limb| limb != 0);
    whole + U512::from(u8::from(round == Round::Up && rest))
}

/// The number in 256 bits, if it fits.
pub(crate) fn narrow(v: U512) -> Option<U256> {
    (v.bit_len() <= 256).then(|| U256::wrapping_from(v))
}

fn divide(a: U512, b: U512, round: Round) -> U512 {
    let (quotient, rest) = a.div_rem(b);
    quotient + U512::from(u8::from(round == Round::Up && !rest.is_zero()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn powers_enclose_the_truth() {
        for (a, b) in [(1u64, 2u64), (1, 3), (999_999, 1_000_000), (1, u64::MAX), (123, 456)] {
            for (p, q) in [(1u32, 1u32), (1, 2), (3, 7), (9, 10), (31, 1), (1, 31), (10, 9)] {
                let f = |round| Fraction::ratio(U256::from(a), U256::from(b), round).power(p, q, round);
                let (low, high) = (f(Round::Down), f(Round::Up));
                assert!(low <= high, "{a}/{b} to {p}/{q}");
                let wanted = (a as f64 / b as f64).powf(f64::from(p) / f64::from(q));
                for v in [low, high] {
                    let shift = v.0.bit_len().saturating_sub(60);
                    let found = (v.0 >> shift).as_limbs()[0] as f64 * (shift as f64 - 256.0).exp2();
                    assert!((found - wanted).abs() <= 1e-13 * wanted + 1e-70, "{found} {wanted}");
                }
                // Close together: at least 200 digits agree where the root is not tiny.
                let gap = high.0 - low.0;
                assert!(gap <= (low.0 >> 120) + U512::from(64), "{a}/{b} to {p}/{q}: {gap}");
            }
        }
    }

    #[test]
    fn roots_of_powers_come_back() {
        let r = Fraction::ratio(U256::from(5), U256::from(8), Round::Down);
        let back = r.integer_power(7, Round::Down).root(7, Round::Down);
        assert!(r.0 - back.0 < U512::from(1_000));
        assert!(Fraction::one().power(3, 5, Round::Up) == Fraction::one());
    }
}
