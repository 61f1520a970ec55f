//! What a tenant's own history adds to a choice.

/// A tenant's habits: log weights added to the choice of every model.
///
/// Closures of the same signature are adapters.
///
/// # Guarantees
/// An implementation must be pure, keep every entry finite, and not call the market maker that asks it.
pub trait TenantAdapter {
    /// Changes `log_habit` (one entry a model, in catalogue order) for a request of `class` in a market with the given regime posterior.
    /// `ln E` grows by 1 where a model shall be `e` times as likely, other things equal.
    fn adjust(&self, tenant: &str, regime: &[f64], class: usize, log_habit: &mut [f64]);
}

impl<F: Fn(&str, &[f64], usize, &mut [f64])> TenantAdapter for F {
    fn adjust(&self, tenant: &str, regime: &[f64], class: usize, log_habit: &mut [f64]) {
        self(tenant, regime, class, log_habit);
    }
}
