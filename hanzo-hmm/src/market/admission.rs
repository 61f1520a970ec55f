//! Whether a request may be served at all: the seam to budgets and rate limits.

use super::quote::Millis;

/// What is asked for before a decision.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct AdmissionRequest<'a> {
    /// The tenant.
    pub tenant: &'a str,
    /// What the dearest model of the catalogue, eligible or not, would cost at the prices of now with the expected output tokens, in dollars; the
    /// request's own limit where that is less. An answer longer than expected may cost more.
    pub usd: f64,
    /// Tokens of input and expected output, a quarter of a token for every character of input and context.
    pub tokens: f64,
    /// The time of the decision.
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
/// `reserve` sets the worst cost aside before a decision is made; each success is followed by at most one `commit` (an outcome was recorded, with
/// the dollars in it: 0 for [`Outcome::failure`](super::Outcome::failure)) or `release` (the decision failed, or was forgotten without an outcome),
/// with the number that `reserve` gave. There is no time after which an open decision is released: it is when
/// [`Config::max_decisions`](crate::Config::max_decisions) more have been made, so record an outcome for every decision, failures and timeouts
/// included. A market maker that is dropped releases nothing. A [restored](super::MarketMakerBuilder::restore) one commits and releases the numbers
/// that were open when its snapshot was taken, so keep those numbers together with the snapshot.
///
/// An implementation must make `reserve` atomic, so that concurrent requests cannot promise the same money, and must not call the market maker.
///
/// ```
/// use std::sync::{Arc, Mutex};
///
/// use hanzo_hmm::market::{Admission, AdmissionRequest, Denial, Outcome, RouteOptions, Status};
/// use hanzo_hmm::{Config, Error, MarketMaker, RoutingRequest};
///
/// /// Micro-dollars left, and what is set aside under each number.
/// #[derive(Clone)]
/// struct Budget(Arc<Mutex<(i64, Vec<i64>)>>);
///
/// impl Admission for Budget {
///     fn reserve(&self, request: &AdmissionRequest<'_>) -> Result<u64, Denial> {
///         let (left, held) = &mut *self.0.lock().unwrap();
///         let worst = (request.usd * 1e6).ceil() as i64;
///         if worst > *left {
///             return Err(Denial::Budget);
///         }
///         *left -= worst;
///         held.push(worst);
///         Ok(held.len() as u64 - 1)
///     }
///
///     fn commit(&self, reservation: u64, usd: f64) {
///         let (left, held) = &mut *self.0.lock().unwrap();
///         *left += held[reservation as usize] - (usd * 1e6).ceil() as i64;
///     }
///
///     fn release(&self, reservation: u64) {
///         self.commit(reservation, 0.0);
///     }
/// }
///
/// let budget = Budget(Arc::new(Mutex::new((60_000, Vec::new())))); // six cents
/// let market = MarketMaker::builder(Config::default()).admission(budget.clone()).build()?;
/// let ask = || market.route("tenant-42", &RoutingRequest::default(), &RouteOptions::default());
/// let decision = ask()?; // 200 tokens of the dearest model: five cents are set aside
/// assert_eq!(ask(), Err(Error::NotAdmitted { denial: Denial::Budget }));
/// market.record_outcome(decision.id, &Outcome::success(0.8, 400, 0.001))?; // a tenth of a cent was spent
/// let second = ask()?;
/// market.record_outcome(second.id, &Outcome::failure(Status::Timeout, 30_000))?; // nothing was
/// assert_eq!(budget.0.lock().unwrap().0, 59_000);
/// # Ok::<(), hanzo_hmm::Error>(())
/// ```
pub trait Admission {
    /// Sets aside the worst case and numbers it.
    ///
    /// # Errors
    /// Why not.
    fn reserve(&self, request: &AdmissionRequest<'_>) -> Result<u64, Denial>;

    /// Turns what was set aside into what was spent: with fallbacks called ([`record_calls`](crate::MarketMaker::record_calls)) the sum of all
    /// calls, which may be more than was set aside.
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
