//! What a tenant's own history adds to a choice.

/// A tenant's habits: log weights added to the choice of every model. [`SignTable`](super::SignTable) is one that learns.
///
/// Closures of the signature of [`adjust`](Self::adjust) are adapters.
///
/// # Guarantees
/// An implementation depends on nothing but its arguments and what it was told before, keeps every entry finite and at most 10^6 in size (else
/// [`route`](crate::MarketMaker::route) fails with `NotFinite` or `OutOfRange`), and does not call the market maker that asks it: that would wait
/// for itself. What it has learned is not in a market maker's snapshot.
///
/// ```
/// use hanzo_hmm::market::RouteOptions;
/// use hanzo_hmm::{Config, MarketMaker, RoutingRequest};
///
/// let house_style = |tenant: &str, _regime: &[f64], _class: usize, log_habit: &mut [f64]| {
///     if tenant == "tenant-42" {
///         log_habit[1] += 100.0; // Qwen3-7B, the second of the default catalogue: 100 / gamma nats of free energy
///     }
/// };
/// let market = MarketMaker::builder(Config::default()).adapter(house_style).build()?;
/// let ask = |tenant| market.route(tenant, &RoutingRequest::default(), &RouteOptions::default());
/// assert_eq!(ask("tenant-42")?.model, "Qwen3-7B");
/// assert_ne!(ask("someone else")?.model, "Qwen3-7B");
/// # Ok::<(), hanzo_hmm::Error>(())
/// ```
pub trait TenantAdapter {
    /// Changes `log_habit` (one entry a model, in catalogue order) for a request of `class` in a market with the given regime posterior.
    /// `ln E` grows by 1 where a model shall be `e` times as likely, other things equal.
    fn adjust(&self, tenant: &str, regime: &[f64], class: usize, log_habit: &mut [f64]);

    /// Told once of every outcome with a score: the answer of a model (its place in the catalogue) to a request of `class`, under the regime
    /// posterior of its decision, was better by `surprise` in [-1, 1] than all tenants together had led to expect. Does nothing unless implemented.
    fn learn_outcome(&self, tenant: &str, regime: &[f64], class: usize, model: usize, surprise: f64) {
        let _ = (tenant, regime, class, model, surprise);
    }
}

impl<F: Fn(&str, &[f64], usize, &mut [f64])> TenantAdapter for F {
    fn adjust(&self, tenant: &str, regime: &[f64], class: usize, log_habit: &mut [f64]) {
        self(tenant, regime, class, log_habit);
    }
}
