//! Context tokens against inference credits.

use super::curve::{ConstantProduct, Invariant, Reserves};
use super::pool::{Pool, QuoteTerms, Receipt, Side};
use crate::Result;

/// A constant-product pool over context tokens (`Psi`) and inference credits (`Theta`): `Psi * Theta >= kappa`.
///
/// `kappa` is the product of the reserves; it changes with liquidity and grows by the fees. `h = ln Psi + ln Theta` is the Hamiltonian whose
/// flow, `d ln Psi = du` and `d ln Theta = -du`, is the trade without fee. That uncertainty falls as context grows is not claimed here: it is a
/// price rule.
///
/// ```
/// use hanzo_hmm::market::{ConstantProduct, ContextPool};
///
/// let mut pool = ContextPool::new(ConstantProduct::default())?;
/// pool.mint(1_000_000, 50_000)?;
/// let (kappa, h) = (pool.kappa(), pool.hamiltonian());
/// let receipt = pool.buy_context(500, u128::MAX)?; // pay credits, take context
/// assert_eq!((receipt.got, pool.context()), (500, 999_500));
/// assert!(pool.kappa() >= kappa && pool.hamiltonian() >= h);
/// # Ok::<(), hanzo_hmm::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct ContextPool {
    pool: Pool,
}

impl ContextPool {
    /// An empty pool.
    ///
    /// # Errors
    /// None today; the terms of quotes, which this pool does not give, are the default ones.
    pub fn new(curve: ConstantProduct) -> Result<Self> {
        Ok(Self { pool: Pool::new(*b"context tokens, inference credit", curve, QuoteTerms::default())? })
    }

    /// Adds context tokens and credits, as [`Pool::mint`].
    ///
    /// # Errors
    /// Those of [`Pool::mint`].
    pub fn mint(&mut self, context: u128, credits: u128) -> Result<u128> {
        self.pool.mint(context, credits)
    }

    /// Takes liquidity out as (context, credits), as [`Pool::burn`].
    ///
    /// # Errors
    /// Those of [`Pool::burn`].
    pub fn burn(&mut self, shares: u128) -> Result<(u128, u128)> {
        self.pool.burn(shares)
    }

    /// Takes `context` tokens for at most `limit` credits.
    ///
    /// # Errors
    /// Those of [`Pool::swap_exact_out`].
    pub fn buy_context(&mut self, context: u128, limit: u128) -> Result<Receipt> {
        self.pool.swap_exact_out(Side::Money, context, limit)
    }

    /// Gives `context` tokens back for at least `least` credits.
    ///
    /// # Errors
    /// Those of [`Pool::swap_exact_in`].
    pub fn sell_context(&mut self, context: u128, least: u128) -> Result<Receipt> {
        self.pool.swap_exact_in(Side::Compute, context, least)
    }

    /// Context tokens in reserve (`Psi`).
    pub fn context(&self) -> u128 {
        self.reserves().input
    }

    /// Inference credits in reserve (`Theta`).
    pub fn credits(&self) -> u128 {
        self.reserves().output
    }

    /// `Psi * Theta`.
    pub fn kappa(&self) -> Invariant {
        Invariant::product(self.context(), self.credits())
    }

    /// `ln Psi + ln Theta`; minus infinity for an empty pool.
    pub fn hamiltonian(&self) -> f64 {
        (self.context() as f64).ln() + (self.credits() as f64).ln()
    }

    fn reserves(&self) -> Reserves {
        self.pool.reserves(Side::Compute)
    }
}
