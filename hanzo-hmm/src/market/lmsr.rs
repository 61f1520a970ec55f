//! The logarithmic market scoring rule.

use crate::{Error, Result};

/// An automatic market over outcomes of which one will come true: `C(q) = b ln sum exp(q_i / b)` (Hanson 2003).
///
/// A share of the outcome that comes true pays one unit. Buying `d` shares of outcome `i` costs `C(q + d e_i) - C(q)`, rounded up; selling
/// brings the same difference rounded down. Whatever is traded, the maker loses at most `b ln n` plus nothing for rounding. Quantities
/// are whole shares up to 2^53; costs are computed as `b ln(1 + p_i (exp(d / b) - 1))` to about 1e-15 of their size, and rounded outwards by
/// more than that.
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
    /// `InvalidConfig` for a depth of 0 or fewer than two outcomes, `Overflow` for numbers beyond 2^53.
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

    /// Prices of all outcomes: `exp(q_i / b)`, normalised; a distribution.
    pub fn prices(&self) -> Vec<f64> {
        let b = self.depth as f64;
        let top = self.sold.iter().copied().max().unwrap_or(0);
        // Differences of numbers up to 2^53 may round in the last place of numbers that no longer matter.
        let weights: Vec<f64> = self.sold.iter().map(|&q| ((q - top) as f64 / b).exp()).collect();
        let sum: f64 = weights.iter().sum();
        weights.iter().map(|w| w / sum).collect()
    }

    /// What `shares` more of an outcome cost before rounding; negative for shares given back.
    ///
    /// # Errors
    /// `OutOfRange` for an unknown outcome, `Overflow` where the shares sold would leave 2^53.
    pub fn cost(&self, outcome: usize, shares: i64) -> Result<f64> {
        let sold = *self.sold.get(outcome).ok_or(Error::OutOfRange { what: "outcome" })?;
        let after = sold.checked_add(shares).filter(|q| q.unsigned_abs() <= EXACT);
        after.ok_or(Error::Overflow)?;
        let (b, d) = (self.depth as f64, shares as f64);
        let p = self.prices()[outcome];
        let growth = (d / b).exp_m1();
        Ok(if growth.is_finite() {
            b * (p * growth).ln_1p()
        } else {
            // ln(1 + p (e^z - 1)) = z + ln(p + (1 - p) e^-z)
            d + b * (p + (1.0 - p) * (-d / b).exp()).ln()
        })
    }

    /// Sells `shares` of an outcome to a buyer who pays at most `limit`; returns the payment.
    ///
    /// # Errors
    /// `ZeroAmount`, `OutOfRange`, `Overflow`, `SlippageExceeded`; the market is unchanged then.
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

    /// Takes `shares` of an outcome back for at least `least`; returns what the seller gets.
    ///
    /// # Errors
    /// `ZeroAmount`, `OutOfRange`, `Overflow`, `InsufficientLiquidity` if it would bring less than `least`.
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

    /// The most the maker can lose from an even start: `b ln n`.
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

const EXACT: u64 = 1 << 53;
