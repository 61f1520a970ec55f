//! A pool of compute against money: reserves, shares, quotes and swaps.

use std::collections::BTreeSet;

use super::curve::{ConstantProduct, Curve, Invariant, Reserves, mul_div_ceil, mul_div_floor};
use super::quote::{BASIS_POINTS, Mid, Millis, Quote, below_price_limit};
use super::regime::Regime;
use super::snapshot::{Reader, Writer, bad};
use crate::{Error, Result};

/// What happened in a swap.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Receipt {
    /// Reserves before the swap, as the trade saw them.
    pub before: Reserves,
    /// Reserves after it.
    pub after: Reserves,
    /// Invariant before the swap.
    pub k_before: Invariant,
    /// Invariant after it; never lower than before.
    pub k_after: Invariant,
    /// What was paid into `input`.
    pub paid: u128,
    /// What was taken out of `output`.
    pub got: u128,
}

/// Which side of a pool is paid in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// Compute units are paid in, money is taken out.
    Compute,
    /// Money is paid in, compute units are taken out.
    Money,
}

/// How long quotes hold and how far the price may move under them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct QuoteTerms {
    /// Life of a quote in milliseconds, at least 1. The number of every executed quote is kept that long.
    pub life_ms: u64,
    /// Slippage in basis points between `price` and `worst_price`, at most 10,000.
    pub slippage_bps: u32,
}

impl Default for QuoteTerms {
    /// 2,000 ms and 50 basis points.
    fn default() -> Self {
        Self { life_ms: 2_000, slippage_bps: 50 }
    }
}

/// What a quote says beside the price.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct QuoteDetails {
    /// Number of the quote.
    pub id: u64,
    /// Number that can be spent once in this pool.
    pub nonce: u64,
    /// The caller's index of the worker.
    pub worker: u64,
    /// Expected duration of the work in milliseconds.
    pub eta_ms: u64,
    /// Regime of the market.
    pub regime: Regime,
}

/// Reserves of compute and money behind a curve, with shares for those who provide them (the rules of Uniswap v2, in integers).
///
/// The pool counts; it moves no money. Fees stay in the reserves and so belong to the share holders.
/// Every method that fails leaves the pool as it was.
///
/// ```
/// use hanzo_hmm::market::{ConstantProduct, Mid, Pool, QuoteDetails, QuoteTerms, Regime};
///
/// let mut pool = Pool::new([7; 32], ConstantProduct::default(), QuoteTerms::default())?;
/// pool.mint(1_000_000, 5_000_000)?;
/// let mid = Mid::new(5.0, 10)?;
/// let details = QuoteDetails { id: 1, nonce: 1, worker: 3, eta_ms: 250, regime: Regime::Exploitation };
/// let quote = pool.quote(1_000, &mid, &details, 10_000)?;
/// let receipt = pool.swap(&quote, &mid, 10_500, quote.price)?;
/// assert_eq!(receipt.got, 1_000);
/// assert!(receipt.k_after >= receipt.k_before);
/// assert!(pool.swap(&quote, &mid, 10_501, quote.price).is_err()); // spent
/// # Ok::<(), hanzo_hmm::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct Pool<C = ConstantProduct> {
    model: [u8; 32],
    curve: C,
    terms: QuoteTerms,
    compute: u128,
    money: u128,
    supply: u128,
    version: u64,
    clock: Millis,
    /// Executed quotes that have not expired yet: (expiry, nonce).
    spent: BTreeSet<(Millis, u64)>,
}

impl<C: Curve> Pool<C> {
    /// Shares of the first mint that nobody can ever burn.
    pub const LOCKED: u128 = 1_000;

    /// An empty pool for one model.
    ///
    /// # Errors
    /// `InvalidConfig` for a life of 0 or a slippage above 10,000 basis points.
    pub fn new(model: [u8; 32], curve: C, terms: QuoteTerms) -> Result<Self> {
        if terms.life_ms == 0 {
            return Err(Error::InvalidConfig { field: "quote_life_ms" });
        }
        if terms.slippage_bps > BASIS_POINTS {
            return Err(Error::InvalidConfig { field: "slippage_bps" });
        }
        Ok(Self { model, curve, terms, compute: 0, money: 0, supply: 0, version: 0, clock: 0, spent: BTreeSet::new() })
    }

    /// Adds liquidity and returns the shares issued for it.
    ///
    /// First mint: `isqrt(compute * money) - 1000`, and 1,000 more stay locked. Later:
    /// `min(floor(compute * S / C), floor(money * S / M))`; what exceeds the pool's ratio is a gift to all shares.
    ///
    /// # Errors
    /// `ZeroAmount` if a side or the result is 0, `InsufficientLiquidity` if the first mint is not above 1,000, `Overflow`.
    pub fn mint(&mut self, compute: u128, money: u128) -> Result<u128> {
        if compute == 0 || money == 0 {
            return Err(Error::ZeroAmount);
        }
        let after_compute = self.compute.checked_add(compute).ok_or(Error::Overflow)?;
        let after_money = self.money.checked_add(money).ok_or(Error::Overflow)?;
        let (shares, locked) = if self.supply == 0 {
            let shares = Invariant::product(compute, money).isqrt().saturating_sub(Self::LOCKED);
            if shares == 0 {
                return Err(Error::InsufficientLiquidity);
            }
            (shares, Self::LOCKED)
        } else {
            let shares =
                mul_div_floor(compute, self.supply, self.compute)?.min(mul_div_floor(money, self.supply, self.money)?);
            if shares == 0 {
                return Err(Error::ZeroAmount);
            }
            (shares, 0)
        };
        let supply = self.supply.checked_add(shares).and_then(|s| s.checked_add(locked)).ok_or(Error::Overflow)?;
        self.version = self.version.checked_add(1).ok_or(Error::Overflow)?;
        (self.compute, self.money, self.supply) = (after_compute, after_money, supply);
        Ok(shares)
    }

    /// Takes liquidity out: `floor(shares * reserve / S)` of each side, as (compute, money).
    ///
    /// # Errors
    /// `ZeroAmount` for no shares, `InsufficientLiquidity` for more than exist outside the lock.
    pub fn burn(&mut self, shares: u128) -> Result<(u128, u128)> {
        if shares == 0 {
            return Err(Error::ZeroAmount);
        }
        if shares > self.supply.saturating_sub(Self::LOCKED) {
            return Err(Error::InsufficientLiquidity);
        }
        let compute = mul_div_floor(shares, self.compute, self.supply)?;
        let money = mul_div_floor(shares, self.money, self.supply)?;
        self.version = self.version.checked_add(1).ok_or(Error::Overflow)?;
        self.compute -= compute;
        self.money -= money;
        self.supply -= shares;
        Ok((compute, money))
    }

    /// Pays `amount` into `side` and takes the curve's amount of the other.
    ///
    /// # Errors
    /// Those of [`Curve::amount_out`]; `ZeroAmount` if nothing would come out;
    /// `SlippageExceeded { limit: amount, actual: what min_out would cost }` if less than `min_out` would come out, or the error of
    /// [`Curve::amount_in`] where `min_out` cannot be had at all.
    pub fn swap_exact_in(&mut self, side: Side, amount: u128, min_out: u128) -> Result<Receipt> {
        let reserves = self.reserves(side);
        let out = self.curve.amount_out(&reserves, amount)?;
        if out < min_out {
            return Err(Error::SlippageExceeded { limit: amount, actual: self.curve.amount_in(&reserves, min_out)? });
        }
        self.settle(side, amount, out)
    }

    /// Takes `amount` of the side opposite to `side`, paying at most `max_in` into `side`.
    ///
    /// # Errors
    /// Those of [`Curve::amount_in`]; `SlippageExceeded` if it costs more than `max_in`.
    pub fn swap_exact_out(&mut self, side: Side, amount: u128, max_in: u128) -> Result<Receipt> {
        let paid = self.curve.amount_in(&self.reserves(side), amount)?;
        if paid > max_in {
            return Err(Error::SlippageExceeded { limit: max_in, actual: paid });
        }
        self.settle(side, paid, amount)
    }

    /// Executes a quote, all or nothing.
    ///
    /// Checked in this order: clock, model, expiry, replay, price against `worst_price` (only if the pool has changed since
    /// the quote) and against the caller's `limit`, liquidity. The price is the quoted one while the pool is unchanged, else the
    /// present one. Whatever the quote says, never less is paid than the curve asks; that a quote was
    /// really issued by this pool is for its signature to show.
    ///
    /// # Errors
    /// `ClockBackwards`, `OutOfRange` (another model, or a life longer than the pool grants), `QuoteExpired`, `QuoteReplayed`,
    /// `SlippageExceeded { limit, actual }`, `InsufficientLiquidity`, `ZeroAmount`, `Overflow`.
    pub fn swap(&mut self, quote: &Quote, mid: &Mid, now: Millis, limit: u128) -> Result<Receipt> {
        self.check_clock(now)?;
        if now < quote.issued_at {
            return Err(Error::ClockBackwards { seen: quote.issued_at, now });
        }
        if quote.model != self.model {
            return Err(Error::OutOfRange { what: "quote model" });
        }
        if now >= quote.expires_at {
            return Err(Error::QuoteExpired { expires_at: quote.expires_at });
        }
        // Without this a forged expiry would keep its nonce in memory for ever.
        if quote.expires_at - now > self.terms.life_ms {
            return Err(Error::OutOfRange { what: "quote life" });
        }
        if self.spent.contains(&(quote.expires_at, quote.nonce)) {
            return Err(Error::QuoteReplayed);
        }
        let asked = self.curve.amount_in(&self.reserves(Side::Money), quote.units)?;
        let paid = if quote.pool_version == self.version && asked <= quote.price {
            quote.price
        } else {
            let fresh = below_price_limit(asked.max(mid.floor_price(quote.units)?))?;
            if fresh > quote.worst_price {
                return Err(Error::SlippageExceeded { limit: quote.worst_price, actual: fresh });
            }
            fresh
        };
        if paid > limit {
            return Err(Error::SlippageExceeded { limit, actual: paid });
        }
        let receipt = self.settle(Side::Money, paid, quote.units)?;
        self.clock = now;
        while self.spent.first().is_some_and(|(expiry, _)| *expiry <= now) {
            self.spent.pop_first();
        }
        self.spent.insert((quote.expires_at, quote.nonce));
        Ok(receipt)
    }

    /// Offers `units` of compute: a pure function of the pool and its arguments.
    ///
    /// `price = max(curve amount, ceil(mid * units * (1 - band)))` and `worst_price = price + ceil(price * slippage)`.
    ///
    /// # Errors
    /// `ClockBackwards` for a `now` before the last swap, `ZeroAmount`, `InsufficientLiquidity`, `Overflow` (also for a price of 2^120 or more).
    pub fn quote(&self, units: u128, mid: &Mid, details: &QuoteDetails, now: Millis) -> Result<Quote> {
        self.check_clock(now)?;
        let asked = self.curve.amount_in(&self.reserves(Side::Money), units)?;
        let price = below_price_limit(asked.max(mid.floor_price(units)?))?;
        let slippage = mul_div_ceil(price, u128::from(self.terms.slippage_bps), u128::from(BASIS_POINTS))?;
        Ok(Quote {
            id: details.id,
            pool_version: self.version,
            model: self.model,
            worker: details.worker,
            units,
            price,
            worst_price: price.checked_add(slippage).ok_or(Error::Overflow)?,
            fee: self.curve.fee_of(price),
            eta_ms: details.eta_ms,
            regime: details.regime,
            issued_at: now,
            expires_at: now.checked_add(self.terms.life_ms).ok_or(Error::Overflow)?,
            nonce: details.nonce,
        })
    }

    /// The reserves as a trade that pays into `side` sees them.
    pub fn reserves(&self, side: Side) -> Reserves {
        match side {
            Side::Compute => Reserves::new(self.compute, self.money),
            Side::Money => Reserves::new(self.money, self.compute),
        }
    }

    /// Shares in existence, the locked ones included.
    pub fn supply(&self) -> u128 {
        self.supply
    }

    /// Number of changes so far.
    pub fn version(&self) -> u64 {
        self.version
    }

    /// Key of the model.
    pub fn model(&self) -> [u8; 32] {
        self.model
    }

    /// The curve.
    pub fn curve(&self) -> &C {
        &self.curve
    }

    pub(crate) fn save(&self, w: &mut Writer) {
        [self.compute, self.money, self.supply].iter().for_each(|&v| w.u128(v));
        w.u64(self.version);
        w.u64(self.clock);
        w.u64(self.spent.len() as u64);
        for &(expiry, nonce) in &self.spent {
            w.u64(expiry);
            w.u64(nonce);
        }
    }

    pub(crate) fn load(&mut self, r: &mut Reader<'_>) -> Result<()> {
        (self.compute, self.money, self.supply) = (r.u128()?, r.u128()?, r.u128()?);
        (self.version, self.clock) = (r.u64()?, r.u64()?);
        if self.supply < Self::LOCKED || self.compute == 0 || self.money == 0 {
            return bad("pool");
        }
        self.spent.clear();
        for _ in 0..r.count(16)? {
            let quote = (r.u64()?, r.u64()?);
            if self.spent.last().is_some_and(|last| *last >= quote) {
                return bad("spent quotes");
            }
            self.spent.insert(quote);
        }
        Ok(())
    }

    fn check_clock(&self, now: Millis) -> Result<()> {
        if now < self.clock {
            return Err(Error::ClockBackwards { seen: self.clock, now });
        }
        Ok(())
    }

    fn settle(&mut self, side: Side, paid: u128, got: u128) -> Result<Receipt> {
        if paid == 0 || got == 0 {
            return Err(Error::ZeroAmount);
        }
        let before = self.reserves(side);
        if got >= before.output {
            return Err(Error::InsufficientLiquidity);
        }
        let after = Reserves::new(before.input.checked_add(paid).ok_or(Error::Overflow)?, before.output - got);
        self.version = self.version.checked_add(1).ok_or(Error::Overflow)?;
        (self.compute, self.money) = match side {
            Side::Compute => (after.input, after.output),
            Side::Money => (after.output, after.input),
        };
        Ok(Receipt {
            before,
            after,
            k_before: self.curve.invariant(&before),
            k_after: self.curve.invariant(&after),
            paid,
            got,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pool() -> Pool {
        let mut pool = Pool::new([1; 32], ConstantProduct::default(), QuoteTerms::default()).unwrap();
        pool.mint(1_000_000, 2_000_000).unwrap();
        pool
    }

    fn details(nonce: u64) -> QuoteDetails {
        QuoteDetails { id: nonce, nonce, worker: 0, eta_ms: 1, regime: Regime::Crisis }
    }

    #[test]
    fn executed_nonces_are_forgotten_after_expiry() {
        let mut pool = pool();
        let mid = Mid::new(2.0, 0).unwrap();
        for nonce in 0..100 {
            let now = nonce * 1_000;
            let quote = pool.quote(10, &mid, &details(nonce), now).unwrap();
            pool.swap(&quote, &mid, now, u128::MAX).unwrap();
            assert!(pool.spent.len() <= 3);
        }
    }

    #[test]
    fn a_forged_low_price_pays_the_curve() {
        let mut pool = pool();
        let mid = Mid::new(0.0, 0).unwrap();
        let mut quote = pool.quote(1_000, &mid, &details(1), 0).unwrap();
        let honest = quote.price;
        quote.price = 1;
        let receipt = pool.swap(&quote, &mid, 0, u128::MAX).unwrap();
        assert_eq!(receipt.paid, honest);
        assert!(receipt.k_after >= receipt.k_before);
    }

    #[test]
    fn a_forged_life_is_refused() {
        let mut pool = pool();
        let mid = Mid::new(0.0, 0).unwrap();
        let mut quote = pool.quote(1_000, &mid, &details(1), 0).unwrap();
        quote.expires_at = u64::MAX;
        let before = pool.clone();
        assert_eq!(pool.swap(&quote, &mid, 0, u128::MAX), Err(Error::OutOfRange { what: "quote life" }));
        assert_eq!(pool, before);
    }
}
