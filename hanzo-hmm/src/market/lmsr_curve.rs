//! The logarithmic market scoring rule as a curve between the shares of two outcomes.

use ruint::aliases::{U256, U512};

use super::curve::{Curve, Fee, Invariant, Reserves};
use super::weighted::at_least;
use crate::{Error, Result};

/// The curve `exp(-x / b) + exp(-y / b) = K` with a fee on the input that stays in the reserves: the shares of one outcome against those of
/// another, as [`Lmsr`](super::Lmsr) trades them when its money stays as it is (`x = -q_1`, `y = -q_2`, `C(q) = b ln K`; Hanson, Information
/// Systems Frontiers 5:107, 2003).
///
/// The price of one share in the other is `exp((y - x) / b)`: it depends on the difference of the reserves, and `b` alone says how deep the
/// market is. A payment of any size buys at most `b ln(1 + exp((y - x) / b))`. Unlike [`Lmsr`](super::Lmsr) it never sells more than its
/// reserve, and refuses what would (`InsufficientLiquidity`).
///
/// All laws of a [`Curve`] hold. What does not hold is that twice the reserves are the same market, only deeper, which the shares of a
/// [`Pool`](super::Pool) take for granted: adding to both sides in proportion moves the price. So a pool on this curve is for one provider, and it
/// is no [`PoolCurve`](super::PoolCurve).
///
/// Exponentials and logarithms are integers of 256 binary digits with bounds on their error, always taken against the trader: what comes out
/// is the exact floor, or one less where the exact amount is that close to a whole number (`b 2^-150`). A call takes some 300 products of 512 bits.
///
/// ```
/// use hanzo_hmm::market::{Curve, LmsrCurve, Reserves};
///
/// let curve = LmsrCurve::new(1_000, 0, 1)?;
/// let even = Reserves::new(5_000, 5_000);
/// assert_eq!(curve.amount_out(&even, 1)?, 0); // just below one for one
/// assert_eq!(curve.amount_out(&even, 1_000)?, 489); // 1000 ln(2 - 1/e)
/// assert_eq!(curve.amount_out(&even, 1_000_000)?, 693); // at most 1000 ln 2
/// assert!(curve.amount_in(&even, 694).is_err());
/// # Ok::<(), hanzo_hmm::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LmsrCurve {
    depth: u64,
    fee: Fee,
}

impl LmsrCurve {
    /// A curve of depth `b` that keeps `fee` of every `denominator` units paid in.
    ///
    /// # Errors
    /// `InvalidConfig` for a depth of 0 or beyond 2^53 (`depth`), and unless `fee < denominator <= 1_000_000`.
    pub fn new(depth: u64, fee: u32, denominator: u32) -> Result<Self> {
        if depth == 0 || depth > MAX_DEPTH {
            return Err(Error::InvalidConfig { field: "depth" });
        }
        Ok(Self { depth, fee: Fee::new(fee, denominator)? })
    }

    /// `-b ln v` as an amount to be added to `to`, rounded up, for a `v` that is off by at most `3 ERROR`. `None` below 0, or beyond 256 bits.
    fn up(&self, to: u128, v: U512) -> Option<U256> {
        let (positive, log) = ln(v.checked_sub(U512::from(3 * ERROR)).filter(|v| v.bit_len() > LEAST_BITS)?);
        let (b, error) = (U512::from(self.depth), U512::from(ERROR));
        // The least that b ln v may be.
        if positive && log > error {
            let least = (b * (log - error)) >> 256;
            U256::from(to).checked_sub(U256::wrapping_from(least))
        } else {
            let most: U512 = b * (log + error);
            let whole: U512 = most >> 256;
            Some(U256::from(to) + U256::wrapping_from(whole) + U256::from(1))
        }
    }
}

impl Curve for LmsrCurve {
    fn amount_out(&self, r: &Reserves, dx: u128) -> Result<u128> {
        r.may_take(dx)?;
        let scale = U256::from(self.fee.denominator());
        let part = U256::from(self.depth) * scale;
        let (x, y) = (U256::from(r.input) * scale, U256::from(r.output) * scale);
        let after = x + U256::from(dx) * U256::from(self.fee.kept());
        // exp(-y' / b) = exp(-x / b) + exp(-y / b) - exp(-x' / b), all times exp(least / b).
        let least = x.min(y);
        let v = exp(x - least, part) + exp(y - least, part);
        let v = v.checked_sub(exp(after - least, part)).ok_or(Error::InsufficientLiquidity)?;
        let left = self.up(r.input.min(r.output), v).ok_or(Error::InsufficientLiquidity)?;
        // From where the reserves trade places on, however far apart they are, no more is left than there was of the other.
        let left = if after >= y { left.min(U256::from(r.input)) } else { left };
        Ok(u128::try_from(left).map_or(0, |left| r.output.saturating_sub(left)))
    }

    fn amount_in(&self, r: &Reserves, dy: u128) -> Result<u128> {
        r.may_give(dy)?;
        let part = U256::from(self.depth);
        let (x, y, after) = (r.input, r.output, r.output - dy);
        let least = x.min(after);
        let of = |v: u128| exp(U256::from(v - least), part);
        let v = (of(x) + of(y)).checked_sub(of(after)).ok_or(Error::InsufficientLiquidity)?;
        // Where the reserves trade places, what has to be paid is known exactly, however far apart they are.
        let then = if after == x { Some(U256::from(y)) } else { self.up(least, v) };
        let then = then.ok_or(Error::InsufficientLiquidity)?;
        let net = then.saturating_sub(U256::from(x));
        if net.bit_len() > 128 {
            return Err(Error::Overflow);
        }
        let gross = (net * U256::from(self.fee.denominator())).div_ceil(U256::from(self.fee.kept()));
        at_least(self, r, u128::try_from(gross).map_err(|_| Error::Overflow)?, dy)
    }

    /// `b - b ln(exp(-x / b) + exp(-y / b))` in units of `2^-64`, rounded down: `b` less a decreasing function of `K`.
    fn invariant(&self, r: &Reserves) -> Invariant {
        let part = U256::from(self.depth);
        let v = (U512::from(1) << 256) + exp(U256::from(r.input.abs_diff(r.output)), part);
        let (_, log) = ln(v + U512::from(ERROR));
        let most: U512 = (U512::from(self.depth) * (log + U512::from(ERROR))) >> 192;
        let whole: U256 = (U256::from(r.input.min(r.output)) + part) << 64;
        // b ln 2 at most.
        Invariant::from_integer(whole.saturating_sub(U256::wrapping_from(most) + U256::from(1)))
    }

    fn fee_of(&self, paid: u128) -> u128 {
        self.fee.of(paid)
    }
}

/// `exp(-n / d)` for `d < 2^74`, in units of `2^-256`, off by less than [`ERROR`] of them; exactly 1 for `n = 0`.
fn exp(n: U256, d: U256) -> U512 {
    if n / d >= U256::from(178) {
        // Below 2^-256.
        return U512::ZERO;
    }
    let z: U512 = (U512::from(n) << 256) / U512::from(d);
    // exp(-z) = 2^-halvings exp(-r) with r in [0, ln 2).
    let (halvings, r) = z.div_rem(U512::from(LN_2));
    let mut term: U512 = U512::from(1) << 256;
    let (mut even, mut odd) = (U512::ZERO, U512::ZERO);
    let mut i = 0u64;
    while !term.is_zero() {
        if i.is_multiple_of(2) {
            even += term;
        } else {
            odd += term;
        }
        i += 1;
        let product: U512 = (term * r) >> 256;
        term = product / U512::from(i);
    }
    // At most 257.
    (even - odd) >> halvings.as_limbs()[0] as usize
}

/// The size of `ln v` and whether it is positive, both in units of `2^-256`, off by less than [`ERROR`] of them, for `0 < v < 2^510` of them.
fn ln(v: U512) -> (bool, U512) {
    let doublings = v.bit_len() as i64 - 257;
    let m: U512 = if doublings < 0 { v << doublings.unsigned_abs() as usize } else { v >> doublings as usize };
    // m in [1, 2): ln m = 2 artanh((m - 1) / (m + 1)).
    let one: U512 = U512::from(1) << 256;
    let s: U512 = ((m - one) << 256) / (m + one);
    let square: U512 = (s * s) >> 256;
    let (mut power, mut sum, mut i) = (s, U512::ZERO, 1u64);
    while !power.is_zero() {
        sum += power / U512::from(i);
        power = (power * square) >> 256;
        i += 2;
    }
    let log: U512 = sum << 1;
    let whole = U512::from(LN_2) * U512::from(doublings.unsigned_abs());
    if doublings >= 0 { (true, whole + log) } else { (false, whole.saturating_sub(log)) }
}

/// More than all roundings of [`exp`] and of [`ln`]: some 60 and 160 steps of at most two units, and up to 510 times that of `ln 2`.
const ERROR: u64 = 2_048;
/// Below 2^-160 a sum of exponentials has lost too many digits for its logarithm.
const LEAST_BITS: usize = 96;
const MAX_DEPTH: u64 = 1 << 53;
const LN_2: U256 =
    U256::from_limbs([0x8a0d_175b_8baa_fa2b, 0x40f3_4326_7298_b62d, 0xc9e3_b398_03f2_f6af, 0xb172_17f7_d1cf_79ab]);

#[cfg(test)]
mod tests {
    use super::*;

    fn hex(digits: &str) -> U512 {
        U512::from_str_radix(digits, 16).unwrap()
    }

    /// Against values computed to 200 decimal digits.
    #[test]
    fn exponentials_and_logarithms_are_within_their_bound() {
        for (n, d, wanted) in [
            (0u64, 1u64, "10000000000000000000000000000000000000000000000000000000000000000"),
            (1, 1, "5e2d58d8b3bcdf1abadec7829054f90dda9805aab56c77333024b9d0a507daed"),
            (1, 3, "b76e989179752689c5984c9c50ebe4c9a86a1feb960e62121fe12615380ce967"),
            (100, 1, "d460f8a7157ae579eec89bae3a7e"),
            (355, 2, "0"),
            (u64::MAX, 1, "0"),
        ] {
            let found = exp(U256::from(n), U256::from(d));
            assert!(found.abs_diff(hex(wanted)) < U512::from(ERROR), "exp(-{n}/{d})");
        }
        let one: U512 = U512::from(1) << 256;
        for (v, positive, wanted) in [
            (one << 1, true, "b17217f7d1cf79abc9e3b39803f2f6af40f343267298b62d8a0d175b8baafa2b"),
            (one + (one >> 1), true, "67cc8fb2fe612fcada35d9bd014886067d20ffb34547d7c2b38ad78ec59e3b60"),
            ((one + (one >> 2)) >> 73, false, "326068e61b9ef56ea4463df87320d51363bdf83b829bde314aecca75256f018f3e"),
        ] {
            let found = ln(v);
            assert_eq!(found.0, positive);
            assert!(found.1.abs_diff(hex(wanted)) < U512::from(ERROR), "{v}");
        }
        assert_eq!(ln(one).1, U512::ZERO);
    }
}
