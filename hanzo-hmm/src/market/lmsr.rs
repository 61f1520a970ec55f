//! The logarithmic market scoring rule.

use crate::{Error, Result};

/// An automatic market over outcomes of which one will come true: `C(q) = b ln sum exp(q_i / b)` (Hanson, Information Systems Frontiers 5:107, 2003).
///
/// A share of the outcome that comes true pays one unit. Buying `d` shares of outcome `i` costs `C(q + d e_i) - C(q)`, rounded up; selling
/// brings the same difference rounded down, so that rounding never costs the maker anything. From an even start (all outcomes sold alike) the
/// maker loses at most [`b ln n`](Self::loss_bound), whatever is traded; from another start `b ln(1 / p)`, with `p` the least of the
/// [prices](Self::prices) then. Quantities are whole shares up to 2^53. Costs are doubles, off by less than 1e-12 of their size, and rounded
/// outwards by that. To trade the shares of two outcomes for each other, in integers, use [`LmsrCurve`](super::LmsrCurve).
///
/// ```
/// use hanzo_hmm::market::Lmsr;
///
/// let mut market = Lmsr::new(5, vec![-10, 4])?;
/// assert!((market.cost(0, 5)? - 0.4699).abs() < 1e-3);
/// let prices = market.prices();
/// assert_eq!(market.buy(0, 5, 1)?, 1); // rounded up
/// assert!(market.prices()[0] > prices[0]);
/// assert!(market.buy(1, 5, 3).is_err()); // dearer than the limit
/// # Ok::<(), hanzo_hmm::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lmsr {
    depth: u64,
    sold: Vec<i64>,
}

impl Lmsr {
    /// A market of depth `b` with the shares sold so far, one entry an outcome.
    ///
    /// # Errors
    /// `InvalidConfig` (`depth`, `outcomes`) for a depth of 0 or fewer than two outcomes, `Overflow` for numbers beyond 2^53.
    pub fn new(depth: u64, sold: Vec<i64>) -> Result<Self> {
        if depth == 0 {
            return Err(Error::InvalidConfig { field: "depth" });
        }
        if sold.len() < 2 {
            return Err(Error::InvalidConfig { field: "outcomes" });
        }
        if depth > EXACT || sold.iter().any(|q| q.unsigned_abs() > EXACT) {
            return Err(Error::Overflow);
        }
        Ok(Self { depth, sold })
    }

    /// Prices of all outcomes, in units for a share that pays one: `exp(q_i / b)`, normalised, so that they are a distribution. `O(n)` time.
    pub fn prices(&self) -> Vec<f64> {
        let b = self.depth as f64;
        let top = self.sold.iter().copied().max().unwrap_or(0);
        // Differences of numbers up to 2^53 may round in the last place of numbers that no longer matter.
        let weights: Vec<f64> = self.sold.iter().map(|&q| ((q - top) as f64 / b).exp()).collect();
        let sum: f64 = weights.iter().sum();
        weights.iter().map(|w| w / sum).collect()
    }

    /// What `shares` more of an outcome cost before rounding; negative for shares given back. `O(n)` time for `n` outcomes.
    ///
    /// # Errors
    /// `OutOfRange` for an unknown outcome, `Overflow` where the shares sold would leave 2^53.
    pub fn cost(&self, outcome: usize, shares: i64) -> Result<f64> {
        let sold = *self.sold.get(outcome).ok_or(Error::OutOfRange { what: "outcome" })?;
        let after = sold.checked_add(shares).filter(|q| q.unsigned_abs() <= EXACT).ok_or(Error::Overflow)?;
        let b = self.depth as f64;
        let others = || self.sold.iter().enumerate().filter(|(i, _)| *i != outcome).map(|(_, &q)| q);
        let top = others().max().unwrap_or(0);
        let rest = others().map(|q| ((q - top) as f64 / b).exp()).sum::<f64>().ln();
        // Log odds of the outcome with so many shares sold.
        let odds = |q: i64| (q - top) as f64 / b - rest;
        // What is given back costs what it would cost to buy it again.
        let (low, high) = (odds(sold.min(after)), odds(sold.max(after)));
        let z = shares.unsigned_abs() as f64 / b;
        // ln(1 + e^high) - ln(1 + e^low), in the form that does not cancel and does not leave the range of a double.
        let nats = if z <= 1.0 {
            (sigmoid(low) * z.exp_m1()).ln_1p()
        } else if low > 0.0 {
            z + (-high).exp().ln_1p() - (-low).exp().ln_1p()
        } else {
            softplus(high) - softplus(low)
        };
        Ok(if shares < 0 { -b * nats } else { b * nats })
    }

    /// Sells `shares` of an outcome to a buyer who pays at most `limit`; returns the payment.
    ///
    /// # Errors
    /// `ZeroAmount` for no shares, `OutOfRange` for an unknown outcome, `Overflow` beyond 2^53 shares, `SlippageExceeded` if it costs more than
    /// `limit`; the market is unchanged then.
    pub fn buy(&mut self, outcome: usize, shares: u64, limit: u128) -> Result<u128> {
        let shares = self.shares(shares)?;
        let cost = self.cost(outcome, shares)?;
        // At most 2^54: the cast is exact once rounded.
        let price = ((cost + self.slack(cost)).ceil().max(0.0)) as u128;
        if price > limit {
            return Err(Error::SlippageExceeded { limit, actual: price });
        }
        self.sold[outcome] += shares;
        Ok(price)
    }

    /// Takes `shares` of an outcome back for at least `least`; returns what the seller gets. Shares that were never sold may be given, too (a seller
    /// who is short of them): who holds which is for the caller to know.
    ///
    /// # Errors
    /// Those of [`buy`](Self::buy), but `InsufficientLiquidity` if it would bring less than `least`; the market is unchanged then.
    pub fn sell(&mut self, outcome: usize, shares: u64, least: u128) -> Result<u128> {
        let shares = self.shares(shares)?;
        let worth = -self.cost(outcome, -shares)?;
        let got = ((worth - self.slack(worth)).floor().max(0.0)) as u128;
        if got < least {
            return Err(Error::InsufficientLiquidity);
        }
        self.sold[outcome] -= shares;
        Ok(got)
    }

    /// The most the maker can lose from an even start, in units: `b ln n`.
    pub fn loss_bound(&self) -> f64 {
        self.depth as f64 * (self.sold.len() as f64).ln()
    }

    /// Shares sold, one entry an outcome.
    pub fn sold(&self) -> &[i64] {
        &self.sold
    }

    fn shares(&self, shares: u64) -> Result<i64> {
        if shares == 0 {
            return Err(Error::ZeroAmount);
        }
        i64::try_from(shares).ok().filter(|&s| s as u64 <= EXACT).ok_or(Error::Overflow)
    }

    /// More than the rounding of a cost.
    fn slack(&self, cost: f64) -> f64 {
        1e-12 * (cost.abs() + 1e-6)
    }
}

/// `1 / (1 + e^-t)`, accurate at both ends.
fn sigmoid(t: f64) -> f64 {
    if t < 0.0 { t.exp() / (1.0 + t.exp()) } else { 1.0 / (1.0 + (-t).exp()) }
}

/// `ln(1 + e^t)` without overflow.
fn softplus(t: f64) -> f64 {
    t.max(0.0) + (-t.abs()).exp().ln_1p()
}

const EXACT: u64 = 1 << 53;

#[cfg(test)]
mod tests {
    use super::*;

    /// `C(q)` in a form that only cancels in the last digits of numbers of the size of `q`.
    fn potential(b: f64, q: &[i64]) -> f64 {
        let top = *q.iter().max().unwrap();
        top as f64 + b * q.iter().map(|&q| ((q - top) as f64 / b).exp()).sum::<f64>().ln()
    }

    #[test]
    fn costs_are_right_where_one_outcome_is_all_but_certain() {
        for (b, sold, shares) in [
            (10, vec![1_000, 0], -990), // exp(-100) of a share is not 0 any more afterwards
            (10, vec![300, 0, 7], -300),
            (1, vec![0, 1_000], 1_100), // exp(-1000) is no double
            (1, vec![0, 746], 750),
            (7, vec![5_000, -5_000], -10_000),
            (3, vec![0, 0], 1 << 50),
            (3, vec![1 << 53, 0], -(1 << 53)),
        ] {
            let market = Lmsr::new(b, sold.clone()).unwrap();
            let mut after = sold.clone();
            after[0] += shares;
            let wanted = potential(b as f64, &after) - potential(b as f64, &sold);
            let found = market.cost(0, shares).unwrap();
            assert!((found - wanted).abs() <= 1e-9 * wanted.abs().max(1.0), "{b} {sold:?} {shares}: {found}, {wanted}");
            let back = Lmsr::new(b, after).unwrap().cost(0, -shares).unwrap();
            assert!((found + back).abs() <= 1e-12 * found.abs());
        }
    }

    #[test]
    fn there_and_back_never_pays() {
        let mut rng = crate::market::SplitMix64::new(11);
        for _ in 0..20_000 {
            let b = 1 + rng.below(50) as u64;
            let reach = [10, 1_000, 100_000][rng.below(3)];
            let mut market = Lmsr::new(b, (0..3).map(|_| rng.below(reach) as i64).collect()).unwrap();
            let shares = 1 + rng.below(reach) as u64;
            let outcome = rng.below(3);
            let paid = market.buy(outcome, shares, u128::MAX).unwrap();
            assert!(paid <= u128::from(shares) + 1);
            assert!(market.sell(outcome, shares, 0).unwrap() <= paid);
            let got = market.sell(outcome, shares, 0).unwrap();
            assert!(got <= u128::from(shares), "{got} for {shares}");
            assert!(market.buy(outcome, shares, u128::MAX).unwrap() >= got);
        }
    }
}
