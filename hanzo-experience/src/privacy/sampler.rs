//! Exact samplers by integers (Canonne, Kamath and Steinke, algorithms 1 to 3).

use rand_core::CryptoRng;

/// Uniform in 0..bound; 0 for a bound of 0.
fn below<R: CryptoRng + ?Sized>(bound: u128, rng: &mut R) -> u128 {
    if bound <= 1 {
        return 0;
    }
    let mask = u128::MAX >> (bound - 1).leading_zeros();
    loop {
        let mut draw = u128::from(rng.next_u64());
        if mask > u128::from(u64::MAX) {
            draw |= u128::from(rng.next_u64()) << 64;
        }
        if draw & mask < bound {
            return draw & mask;
        }
    }
}

/// True with probability exp(-a/b), b > 0.
fn exp_minus<R: CryptoRng + ?Sized>(a: u128, b: u128, rng: &mut R) -> bool {
    let (whole, rest) = (a / b, a % b);
    (0..whole).all(|_| exp_minus_fraction(1, 1, rng)) && exp_minus_fraction(rest, b, rng)
}

/// True with probability exp(-a/b), a <= b.
fn exp_minus_fraction<R: CryptoRng + ?Sized>(a: u128, b: u128, rng: &mut R) -> bool {
    let mut k = 1_u128;
    // b is below 2^96, so that k would have to pass 2^32 to overflow; each step is at most half as likely as the last.
    while below(b.saturating_mul(k), rng) < a {
        k += 1;
    }
    k % 2 == 1
}

/// x with probability proportional to exp(-|x| s / t), s and t > 0.
pub(super) fn discrete_laplace<R: CryptoRng + ?Sized>(s: u128, t: u128, rng: &mut R) -> i128 {
    loop {
        let u = below(t, rng);
        if !exp_minus(u, t, rng) {
            continue;
        }
        let mut v = 0_u128;
        while exp_minus(1, 1, rng) {
            v += 1;
        }
        let magnitude = (u + t * v) / s;
        let negative = below(2, rng) == 1;
        if negative && magnitude == 0 {
            continue;
        }
        // t is below 2^64, and v passes 2^60 with a probability of exp(-2^60).
        let magnitude = magnitude as i128;
        return if negative { -magnitude } else { magnitude };
    }
}

/// x with probability proportional to exp(-x^2 / 2 sigma^2), 0 < sigma < 2^24.
pub(super) fn discrete_gaussian<R: CryptoRng + ?Sized>(sigma: u32, rng: &mut R) -> i128 {
    let variance = u128::from(sigma) * u128::from(sigma);
    let t = u128::from(sigma) + 1;
    loop {
        let y = discrete_laplace(1, t, rng);
        // (|y| - variance / t)^2 / (2 variance), with numbers below 2^24 * 2^25 * 2^8 and 2 * 2^48 * 2^50.
        let off = (y.unsigned_abs() * t).abs_diff(variance);
        if exp_minus(off * off, 2 * variance * t * t, rng) {
            return y;
        }
    }
}
