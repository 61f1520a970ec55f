//! The YieldSpace curve.

use ruint::aliases::{U256, U512};

use super::curve::{Curve, Fee, Invariant, Reserves};
use super::fixed_point::{Fraction, Round, narrow};
use super::weighted::at_least;
use crate::{Error, Result};

/// The curve `x^(1-t) + y^(1-t) = K`, from the sum at `t = 0` to the product at `t = 1` (Niemerg, Robinson and Livnev, "YieldSpace", 2020).
///
/// For capacity reserved for later: with `t` the time to delivery as a part of the longest, the price of one side in the other goes
/// to 1 as the delivery comes near. Rounding is against the trader at each step, at least one unit where the result is not whole. A call takes
/// three powers of 512-bit numbers between the ends of the family, and a few divisions at them.
///
/// ```
/// use hanzo_hmm::market::{Curve, Reserves, YieldSpace};
///
/// let r = Reserves::new(950_026_339_987_625, 2_389_314_619_888_350);
/// let far = YieldSpace::new(1, 2, 0, 1)?.amount_out(&r, 19_000_526_799_752)?;
/// assert_eq!(far, 29_889_214_557_366);
/// assert_eq!(YieldSpace::new(0, 1, 0, 1)?.amount_out(&r, 5_000)?, 5_000); // due: one for one
/// # Ok::<(), hanzo_hmm::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct YieldSpace {
    /// `1 - t` in lowest terms.
    numerator: u32,
    denominator: u32,
    fee: Fee,
}

impl YieldSpace {
    /// A curve with `t = time / longest` that keeps `fee` of every `denominator` units paid in.
    ///
    /// # Errors
    /// `InvalidConfig` unless `time <= longest <= 1_000`, `longest > 0`, and `fee < denominator <= 1_000_000`.
    pub fn new(time: u32, longest: u32, fee: u32, denominator: u32) -> Result<Self> {
        if longest == 0 || longest > MAX_TIME || time > longest {
            return Err(Error::InvalidConfig { field: "time" });
        }
        let rest = longest - time;
        let common = (1..=longest).rev().find(|d| rest.is_multiple_of(*d) && longest.is_multiple_of(*d)).unwrap_or(1);
        Ok(Self { numerator: rest / common, denominator: longest / common, fee: Fee::new(fee, denominator)? })
    }

    fn power(&self, amount: U256, unit: U256, round: Round) -> Fraction {
        Fraction::ratio(amount, unit, round).power(self.numerator, self.denominator, round)
    }
}

impl Curve for YieldSpace {
    fn amount_out(&self, r: &Reserves, dx: u128) -> Result<u128> {
        if self.numerator == 0 {
            return self.fee.constant_product().amount_out(r, dx);
        }
        r.may_take(dx)?;
        let net = U256::from(dx) * U256::from(self.fee.kept());
        let scale = U256::from(self.fee.denominator());
        if self.numerator == self.denominator {
            let out = u128::try_from(net / scale).map_err(|_| Error::Overflow)?;
            return if out > r.output { Err(Error::InsufficientLiquidity) } else { Ok(out) };
        }
        let (x, y) = (U256::from(r.input) * scale, U256::from(r.output) * scale);
        let unit = y.max(x + net);
        // (x + dx)^p - x^p from below: what the output side gives up.
        let gain = self.power(x + net, unit, Round::Down).checked_sub(self.power(x, unit, Round::Up));
        let gain = gain.unwrap_or(Fraction::one().checked_sub(Fraction::one()).unwrap_or(Fraction::one()));
        let left = self.power(y, unit, Round::Up).checked_sub(gain).ok_or(Error::InsufficientLiquidity)?;
        let left = left.saturating_add(margin()).power(self.denominator, self.numerator, Round::Up);
        let left = (left.of(unit, Round::Up)).div_ceil(U512::from(scale));
        let left = u128::try_from(left).unwrap_or(r.output);
        Ok(r.output.saturating_sub(left))
    }

    fn amount_in(&self, r: &Reserves, dy: u128) -> Result<u128> {
        if self.numerator == 0 {
            return self.fee.constant_product().amount_in(r, dy);
        }
        r.may_give(dy)?;
        let (x, y) = (U256::from(r.input), U256::from(r.output));
        let scale = U256::from(self.fee.denominator());
        let net = if self.numerator == self.denominator {
            U256::from(dy)
        } else {
            // The unit is the largest input reserve that the curve can reach: x^p + y^p at an empty output side.
            let unit = (x + y) << (self.denominator / self.numerator).min(64) as usize;
            let give = self.power(y, unit, Round::Up).checked_sub(self.power(y - U256::from(dy), unit, Round::Down));
            let give = give.ok_or(Error::Overflow)?;
            let target = self.power(x, unit, Round::Up).saturating_add(give);
            let after = target.power(self.denominator, self.numerator, Round::Up).of(unit, Round::Up);
            let after = narrow(after).ok_or(Error::Overflow)?;
            after.saturating_sub(x)
        };
        if net.bit_len() > 129 {
            return Err(Error::Overflow);
        }
        let gross = (net * scale).div_ceil(U256::from(self.fee.kept()));
        let start = u128::try_from(gross).map_err(|_| Error::Overflow)?;
        at_least(self, r, start, dy)
    }

    /// `(x / 2^128)^(1-t) + (y / 2^128)^(1-t)` as a fraction of 2, in units of `2^-255`; the product at `t = 1`.
    fn invariant(&self, r: &Reserves) -> Invariant {
        if self.numerator == 0 {
            return Invariant::product(r.input, r.output);
        }
        let unit = U256::from(1) << 128;
        let part = |v: u128| self.power(U256::from(v), unit, Round::Down);
        Invariant::from_integer(part(r.input).half_sum(part(r.output)))
    }

    fn fee_of(&self, paid: u128) -> u128 {
        self.fee.of(paid)
    }
}

/// More than the invariant's own rounding, less than a unit of any reserve.
fn margin() -> Fraction {
    Fraction::ratio(U256::from(1), U256::from(1) << 200, Round::Up)
}

const MAX_TIME: u32 = 1_000;
