//! The weighted-product curve.

use ruint::Uint;
use ruint::aliases::{U256, U512};

use super::curve::{Curve, Fee, Invariant, Reserves};
use super::fixed_point::{Fraction, Round, narrow};
use crate::{Error, Result};

/// The curve `x^wx y^wy = K` with a fee on the input that stays in the reserves (Balancer).
///
/// What comes out is never above the floor of `y (1 - (x / (x + dx_fee))^(wx/wy))` and short of it by at most
/// `max(1, 2^-60 y)`: fractions of 256 bits, rounded against the trader at each step. Equal weights are
/// [`ConstantProduct`](super::ConstantProduct), exactly. A call takes a root of 512-bit numbers where the weights differ. The weights belong to the
/// reserves of a trade as it sees them; the other direction is [`flipped`](Self::flipped).
///
/// ```
/// use hanzo_hmm::market::{Curve, Reserves, WeightedProduct};
///
/// let curve = WeightedProduct::new(4, 1, 3, 1_000)?; // the input side carries 80 % of the value
/// let r = Reserves::new(644_914_459_682_554_894, 1_080_639_558_695_685);
/// assert_eq!(curve.amount_out(&r, 64_491_445_968_255_489)?, 341_742_459_840_150);
/// # Ok::<(), hanzo_hmm::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WeightedProduct {
    input: u32,
    output: u32,
    fee: Fee,
}

impl WeightedProduct {
    /// A curve with these weights that keeps `fee` of every `denominator` units paid in.
    ///
    /// # Errors
    /// `InvalidConfig` for a weight of 0, weights that add up to more than 32 in lowest terms, or `fee >= denominator`,
    /// `denominator > 1_000_000`.
    pub fn new(weight_in: u32, weight_out: u32, fee: u32, denominator: u32) -> Result<Self> {
        let common = gcd(weight_in, weight_out).max(1);
        let (input, output) = (weight_in / common, weight_out / common);
        if input == 0 || output == 0 || input.saturating_add(output) > MAX_WEIGHTS {
            return Err(Error::InvalidConfig { field: "weights" });
        }
        Ok(Self { input, output, fee: Fee::new(fee, denominator)? })
    }

    /// The same curve for a trade in the other direction.
    #[must_use]
    pub fn flipped(self) -> Self {
        Self { input: self.output, output: self.input, fee: self.fee }
    }

    /// What is left of the output reserve after `dx`, rounded up.
    fn left(&self, r: &Reserves, dx: u128) -> U512 {
        let before = U256::from(r.input) * U256::from(self.fee.denominator());
        let after = before + U256::from(dx) * U256::from(self.fee.kept());
        Fraction::ratio(before, after, Round::Up)
            .power(self.input, self.output, Round::Up)
            .of(U256::from(r.output), Round::Up)
    }
}

impl Curve for WeightedProduct {
    fn amount_out(&self, r: &Reserves, dx: u128) -> Result<u128> {
        if self.input == self.output {
            return self.fee.constant_product().amount_out(r, dx);
        }
        r.may_take(dx)?;
        // The part is at most 1, so what is left is at most the reserve.
        let left = u128::try_from(self.left(r, dx)).unwrap_or(r.output);
        Ok(r.output.saturating_sub(left))
    }

    fn amount_in(&self, r: &Reserves, dy: u128) -> Result<u128> {
        if self.input == self.output {
            return self.fee.constant_product().amount_in(r, dy);
        }
        r.may_give(dy)?;
        let part = Fraction::ratio(U256::from(r.output - dy), U256::from(r.output), Round::Down).power(
            self.output,
            self.input,
            Round::Down,
        );
        let net = part.complement_over_self(U256::from(r.input)).and_then(narrow);
        let net = net.filter(|n| n.bit_len() <= 128).ok_or(Error::Overflow)?;
        let gross = (net * U256::from(self.fee.denominator())).div_ceil(U256::from(self.fee.kept()));
        let start = u128::try_from(gross).map_err(|_| Error::Overflow)?;
        at_least(self, r, start, dy)
    }

    /// `floor((x^wx y^wy)^(1 / (wx + wy)))`, exactly: the weighted geometric mean of the reserves.
    fn invariant(&self, r: &Reserves) -> Invariant {
        if self.input == self.output {
            return Invariant::product(r.input, r.output);
        }
        let power = |v: u128, n: u32| (0..n).fold(Wide::from(1), |p, _| p * Wide::from(v));
        let n = self.input + self.output;
        let k = power(r.input, self.input) * power(r.output, self.output);
        // The mean lies between the reserves; it is refined bit by bit from the highest that a double leaves open.
        let log2 = (f64::from(self.input) * log2(r.input) + f64::from(self.output) * log2(r.output)) / f64::from(n);
        if !log2.is_finite() {
            return Invariant::from_amount(0);
        }
        let mut root = (log2 - 1e-9 * log2.max(1.0)).exp2() as u128;
        while root > 0 && power(root, n) > k {
            root -= (root >> 24).max(1);
        }
        let mut step = 1u128 << (128 - (root >> 20).leading_zeros()).min(127);
        while step > 0 {
            while let Some(next) = root.checked_add(step).filter(|&next| power(next, n) <= k) {
                root = next;
            }
            step >>= 1;
        }
        Invariant::from_amount(root)
    }

    fn fee_of(&self, paid: u128) -> u128 {
        self.fee.of(paid)
    }
}

/// The first payment from `start` on, in growing steps, that buys at least `dy`.
pub(super) fn at_least(curve: &impl Curve, r: &Reserves, start: u128, dy: u128) -> Result<u128> {
    let mut dx = start.max(1);
    let mut step = 1u128;
    loop {
        r.input.checked_add(dx).ok_or(Error::Overflow)?;
        if curve.amount_out(r, dx)? >= dy {
            return Ok(dx);
        }
        dx = dx.checked_add(step).ok_or(Error::Overflow)?;
        step = step.saturating_mul(2);
    }
}

fn gcd(a: u32, b: u32) -> u32 {
    if b == 0 { a } else { gcd(b, a % b) }
}

fn log2(v: u128) -> f64 {
    (v as f64).log2()
}

/// 32 factors of 128 bits.
type Wide = Uint<4096, 64>;
const MAX_WEIGHTS: u32 = 32;
