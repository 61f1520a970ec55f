//! Whether a request may be served at all: the seam to budgets and rate limits.

use super::quote::Millis;

/// What is asked for before a decision.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct AdmissionRequest<'a> {
    /// The tenant.
    pub tenant: &'a str,
    /// The most that the dearest eligible model would cost, in dollars.
    pub usd: f64,
    /// Tokens of input and expected output.
    pub tokens: f64,
    /// The time.
    pub now: Millis,
}

/// Why a request was not admitted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Denial {
    /// The budget is spent or reserved.
    #[error("out of budget")]
    Budget,
    /// Too many requests or tokens.
    #[error("rate limited")]
    RateLimit {
        /// When to try again, if that is known.
        retry_at: Option<Millis>,
    },
    /// Not allowed for another reason of the caller's.
    #[error("refused")]
    Refused,
}

/// Budgets and rate limits, kept by somebody else.
///
/// Closures `Fn(&AdmissionRequest) -> Result<(), Denial>` implement it where nothing is reserved.
///
/// # Guarantees
/// `reserve` sets the worst cost aside before a decision is made; each success is followed by exactly one `commit` (the outcome came, with
/// what it cost) or `release` (the decision failed, or was forgotten without an outcome), with the number that `reserve` gave. An implementation
/// must make `reserve` atomic, so that concurrent requests cannot promise the same money, and must not call the market maker.
pub trait Admission {
    /// Sets aside the worst case and numbers it.
    ///
    /// # Errors
    /// Why not.
    fn reserve(&self, request: &AdmissionRequest<'_>) -> Result<u64, Denial>;

    /// Turns what was set aside into what was spent.
    fn commit(&self, reservation: u64, usd: f64);

    /// Gives back what was set aside.
    fn release(&self, reservation: u64);
}

impl<F: Fn(&AdmissionRequest<'_>) -> Result<(), Denial>> Admission for F {
    fn reserve(&self, request: &AdmissionRequest<'_>) -> Result<u64, Denial> {
        self(request).map(|()| 0)
    }

    fn commit(&self, _: u64, _: f64) {}

    fn release(&self, _: u64) {}
}
