//! Invariant curves over integer reserves.
//!
//! Amounts are `u128`; every intermediate is exact (a product of two amounts and a fee needs at most 276 bits).
//! Rounding always favours the reserves: what the trader gets is floored, what the trader pays is rounded up.

use std::fmt;

use ruint::aliases::{U256, U320};

use crate::{Error, Result};

/// The two sides of a pool as one trade sees them.
///
/// A plain pair: which side is the input is the caller's choice, trade by trade.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Reserves {
    /// Reserve of what the trader pays in.
    pub input: u128,
    /// Reserve of what the trader takes out.
    pub output: u128,
}

impl Reserves {
    /// The pair (`input`, `output`).
    pub fn new(input: u128, output: u128) -> Self {
        Self { input, output }
    }

    /// The same reserves for a trade in the other direction.
    #[must_use]
    pub fn flipped(self) -> Self {
        Self::new(self.output, self.input)
    }

    /// What every curve asks of a payment of `dx` before it prices it.
    pub(super) fn may_take(&self, dx: u128) -> Result<()> {
        if dx == 0 {
            return Err(Error::ZeroAmount);
        }
        if self.input == 0 || self.output == 0 {
            return Err(Error::InsufficientLiquidity);
        }
        self.input.checked_add(dx).map(drop).ok_or(Error::Overflow)
    }

    /// What every curve asks of `dy`, which is to be bought, before it prices it.
    pub(super) fn may_give(&self, dy: u128) -> Result<()> {
        if dy == 0 {
            return Err(Error::ZeroAmount);
        }
        if self.input == 0 || dy >= self.output {
            return Err(Error::InsufficientLiquidity);
        }
        Ok(())
    }
}

/// The value of a curve's invariant, or of an increasing function of it: a 256-bit integer.
///
/// Comparable and printable; no arithmetic is offered on it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Invariant(U256);

impl Invariant {
    /// The product of two amounts.
    pub fn product(a: u128, b: u128) -> Self {
        Self(U256::from(a) * U256::from(b))
    }

    pub(super) fn from_amount(amount: u128) -> Self {
        Self(U256::from(amount))
    }

    pub(super) fn from_integer(value: U256) -> Self {
        Self(value)
    }

    /// Big-endian bytes.
    pub fn to_be_bytes(&self) -> [u8; 32] {
        self.0.to_be_bytes()
    }

    /// The largest integer whose square is not above the invariant.
    ///
    /// For a product of two amounts this is their geometric mean, which the first mint of a pool issues as shares.
    pub fn isqrt(&self) -> u128 {
        // Bit by bit from the top: (root + bit)^2 never needs more than 256 bits.
        let mut root = 0u128;
        for shift in (0..128).rev() {
            let trial = root | (1u128 << shift);
            if U256::from(trial) * U256::from(trial) <= self.0 {
                root = trial;
            }
        }
        root
    }
}

impl fmt::Debug for Invariant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Invariant({})", self.0)
    }
}

impl fmt::Display for Invariant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

/// A rule that prices one reserve in units of the other.
///
/// [`ConstantProduct`], [`WeightedProduct`](super::WeightedProduct), [`YieldSpace`](super::YieldSpace) and [`LmsrCurve`](super::LmsrCurve) are
/// curves; [`Pool`](super::Pool) trades on any. The shares of a pool take for granted that scaling both reserves leaves the price alone, which
/// holds for all but the last of these.
///
/// # Guarantees
/// An implementation must keep, for every reserve and amount it accepts:
/// - applying a trade never lowers [`invariant`](Self::invariant);
/// - `amount_out(amount_in(dy)) >= dy`: paying the asked price buys at least what was asked for;
/// - both methods are pure: the same arguments give the same result.
pub trait Curve {
    /// What `dx` paid into `r.input` takes out of `r.output`, rounded down; may be 0.
    ///
    /// # Errors
    /// `ZeroAmount` for `dx = 0`, `InsufficientLiquidity` for an empty reserve, or for a payment that is worth more than the output reserve on a
    /// curve that can be emptied, `Overflow` when the input reserve would leave `u128`.
    fn amount_out(&self, r: &Reserves, dx: u128) -> Result<u128>;

    /// What has to be paid into `r.input` to take `dy` out of `r.output`, rounded up.
    ///
    /// # Errors
    /// `ZeroAmount` for `dy = 0`, `InsufficientLiquidity` for an empty reserve, for `dy >= r.output`, or for more than any payment buys,
    /// `Overflow` when the input reserve would leave `u128`.
    fn amount_in(&self, r: &Reserves, dy: u128) -> Result<u128>;

    /// The quantity that trades never lower.
    fn invariant(&self, r: &Reserves) -> Invariant;

    /// The part of a payment that is fee, rounded down.
    fn fee_of(&self, paid: u128) -> u128;
}

/// The constant-product curve `x * y = K` with a fee on the input that stays in the reserves. Two divisions a call, of 320 bits where 128 are too
/// few.
///
/// With fee `f` of `D`:
/// `out = floor(dx (D - f) y / (x D + dx (D - f)))` and `in = floor(x dy D / ((y - dy)(D - f))) + 1` (Uniswap v2).
///
/// ```
/// use hanzo_hmm::market::{ConstantProduct, Curve, Reserves};
///
/// let curve = ConstantProduct::new(3, 1_000)?;
/// let reserves = Reserves::new(1_000_000, 1_000_000);
/// assert_eq!(curve.amount_out(&reserves, 9_999)?, 9_870);
/// assert_eq!(curve.amount_in(&reserves, 9_870)?, 9_999);
/// # Ok::<(), hanzo_hmm::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ConstantProduct {
    fee: Fee,
}

/// A part of every payment that stays in the reserves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Fee {
    fee: u32,
    denominator: u32,
}

impl Fee {
    pub(super) fn new(fee: u32, denominator: u32) -> Result<Self> {
        if denominator == 0 || denominator > MAX_DENOMINATOR {
            return Err(Error::InvalidConfig { field: "fee_denominator" });
        }
        if fee >= denominator {
            return Err(Error::InvalidConfig { field: "fee" });
        }
        Ok(Self { fee, denominator })
    }

    pub(super) fn denominator(self) -> u32 {
        self.denominator
    }

    /// Of `denominator` units, those that trade.
    pub(super) fn kept(self) -> u32 {
        self.denominator - self.fee
    }

    /// The fee in a payment, rounded down.
    pub(super) fn of(self, paid: u128) -> u128 {
        // fee < denominator, so the quotient is at most `paid`.
        mul_div_floor(paid, u128::from(self.fee), u128::from(self.denominator)).unwrap_or(paid)
    }

    pub(super) fn constant_product(self) -> ConstantProduct {
        ConstantProduct { fee: self }
    }
}

impl ConstantProduct {
    /// A curve that keeps `fee` of every `denominator` units paid in.
    ///
    /// # Errors
    /// `InvalidConfig` unless `fee < denominator <= 1_000_000`.
    pub fn new(fee: u32, denominator: u32) -> Result<Self> {
        Ok(Self { fee: Fee::new(fee, denominator)? })
    }

    /// Numerator of the fee.
    pub fn fee(&self) -> u32 {
        self.fee.fee
    }

    /// Denominator of the fee.
    pub fn denominator(&self) -> u32 {
        self.fee.denominator
    }

    fn kept(&self) -> u128 {
        u128::from(self.fee.kept())
    }

    fn parts(&self) -> u128 {
        u128::from(self.fee.denominator)
    }
}

/// The formulas where every product fits into 128 bits, which is the case for most amounts; `None` where it does not.
impl ConstantProduct {
    fn amount_out_in_words(&self, r: &Reserves, dx: u128) -> Option<u128> {
        let dx = dx.checked_mul(self.kept())?;
        let denominator = r.input.checked_mul(self.parts())?.checked_add(dx)?;
        Some(quotient(dx.checked_mul(r.output)?, denominator))
    }

    fn quotient_in_words(&self, r: &Reserves, dy: u128) -> Option<u128> {
        let denominator = (r.output - dy).checked_mul(self.kept())?;
        Some(quotient(r.input.checked_mul(dy)?.checked_mul(self.parts())?, denominator))
    }
}

impl Default for ConstantProduct {
    /// 30 of 10,000.
    fn default() -> Self {
        Self { fee: Fee { fee: 30, denominator: 10_000 } }
    }
}

impl Curve for ConstantProduct {
    fn amount_out(&self, r: &Reserves, dx: u128) -> Result<u128> {
        r.may_take(dx)?;
        if let Some(fits) = self.amount_out_in_words(r, dx) {
            return Ok(fits);
        }
        let dx = U320::from(dx) * U320::from(self.kept());
        let numerator = dx * U320::from(r.output);
        let denominator = U320::from(r.input) * U320::from(self.parts()) + dx;
        narrow(numerator / denominator)
    }

    fn amount_in(&self, r: &Reserves, dy: u128) -> Result<u128> {
        r.may_give(dy)?;
        let quotient = match self.quotient_in_words(r, dy) {
            Some(fits) => fits,
            None => {
                let numerator = U320::from(r.input) * U320::from(dy) * U320::from(self.parts());
                narrow(numerator / (U320::from(r.output - dy) * U320::from(self.kept())))?
            }
        };
        let dx = quotient.checked_add(1).ok_or(Error::Overflow)?;
        r.input.checked_add(dx).ok_or(Error::Overflow)?;
        Ok(dx)
    }

    fn invariant(&self, r: &Reserves) -> Invariant {
        Invariant::product(r.input, r.output)
    }

    fn fee_of(&self, paid: u128) -> u128 {
        self.fee.of(paid)
    }
}

/// `floor(a * b / c)`.
pub(crate) fn mul_div_floor(a: u128, b: u128, c: u128) -> Result<u128> {
    if c == 0 {
        return Err(Error::InsufficientLiquidity);
    }
    match a.checked_mul(b) {
        Some(product) => Ok(quotient(product, c)),
        None => narrow(U320::from(a) * U320::from(b) / U320::from(c)),
    }
}

/// `ceil(a * b / c)`.
pub(crate) fn mul_div_ceil(a: u128, b: u128, c: u128) -> Result<u128> {
    if c == 0 {
        return Err(Error::InsufficientLiquidity);
    }
    match a.checked_mul(b) {
        Some(product) => Ok(quotient_ceil(product, c)),
        None => narrow((U320::from(a) * U320::from(b)).div_ceil(U320::from(c))),
    }
}

/// `ceil(q * units * parts / (denominator * 2^64))` for a Q64.64 number `q`.
pub(crate) fn scale_q64_ceil(q: u128, units: u128, parts: u32, denominator: u32) -> Result<u128> {
    if let Some(numerator) = q.checked_mul(units).and_then(|n| n.checked_mul(u128::from(parts))) {
        // ceil(ceil(n / 2^64) / d) is ceil(n / (d 2^64)).
        return Ok(quotient_ceil(numerator.div_ceil(1 << 64), u128::from(denominator)));
    }
    let numerator = U320::from(q) * U320::from(units) * U320::from(parts);
    narrow(numerator.div_ceil(U320::from(denominator) << 64))
}

/// `floor(a / b)` for `b > 0`, in one machine division where both are short.
fn quotient(a: u128, b: u128) -> u128 {
    match (u64::try_from(a), u64::try_from(b)) {
        (Ok(a), Ok(b)) => u128::from(a / b),
        _ => a / b,
    }
}

/// `ceil(a / b)` for `b > 0`.
fn quotient_ceil(a: u128, b: u128) -> u128 {
    let floor = quotient(a, b);
    floor + u128::from(floor * b != a)
}

fn narrow(value: U320) -> Result<u128> {
    u128::try_from(value).map_err(|_| Error::Overflow)
}

const MAX_DENOMINATOR: u32 = 1_000_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn isqrt_is_the_floor_of_the_root() {
        for k in 0..2_000u128 {
            let root = Invariant::product(k, 1).isqrt();
            assert!(root * root <= k && (root + 1) * (root + 1) > k);
        }
        assert_eq!(Invariant::product(u128::MAX, u128::MAX).isqrt(), u128::MAX);
        assert_eq!(Invariant::product(u128::MAX, u128::MAX - 1).isqrt(), u128::MAX - 1);
    }

    #[test]
    fn invariants_compare_as_numbers() {
        assert!(Invariant::product(u128::MAX, 2) > Invariant::product(u128::MAX, 1));
        assert_eq!(Invariant::product(12, 12).to_string(), "144");
        assert_eq!(Invariant::product(1, 258).to_be_bytes()[30..], [1, 2]);
    }

    #[test]
    fn short_and_long_arithmetic_agree() {
        let curve = ConstantProduct::default();
        let mut rng = crate::market::SplitMix64::new(1);
        let (mut short, mut long) = (0, 0);
        for _ in 0..20_000 {
            let bits = 4 + rng.below(110) as u32;
            let mut draw = || (u128::from(rng.next_u64()) << 64 | u128::from(rng.next_u64())) >> (128 - bits) | 1;
            let (r, dx) = (Reserves::new(draw(), draw()), draw());
            let wide = {
                let dx = U320::from(dx) * U320::from(9_970u32);
                narrow(dx * U320::from(r.output) / (U320::from(r.input) * U320::from(10_000u32) + dx)).unwrap()
            };
            if curve.amount_out_in_words(&r, dx).is_some() {
                short += 1
            } else {
                long += 1
            }
            assert_eq!(curve.amount_out(&r, dx), Ok(wide));
            let dy = dx % r.output;
            if dy > 0
                && let Ok(found) = curve.amount_in(&r, dy)
            {
                let wide = U320::from(r.input) * U320::from(dy) * U320::from(10_000u32)
                    / (U320::from(r.output - dy) * U320::from(9_970u32));
                assert_eq!(found, narrow(wide).unwrap() + 1);
            }
            let (q, units) = (draw(), draw());
            let wide = (U320::from(q) * U320::from(units) * U320::from(9_990u32)).div_ceil(U320::from(10_000u32) << 64);
            assert_eq!(scale_q64_ceil(q, units, 9_990, 10_000), narrow(wide));
            let wide = (U320::from(q) * U320::from(units)).div_ceil(U320::from(dx));
            assert_eq!(mul_div_ceil(q, units, dx), narrow(wide));
        }
        assert!(short > 4_000 && long > 4_000, "{short} {long}");
    }

    #[test]
    fn fixed_point_scaling_rounds_up() {
        let half = 1u128 << 63;
        assert_eq!(scale_q64_ceil(half, 3, 1, 1).unwrap(), 2);
        assert_eq!(scale_q64_ceil(half, 4, 1, 1).unwrap(), 2);
        assert_eq!(mul_div_ceil(7, 3, 2).unwrap(), 11);
        assert_eq!(mul_div_floor(7, 3, 2).unwrap(), 10);
        assert_eq!(mul_div_floor(u128::MAX, 2, 1), Err(Error::Overflow));
    }
}
