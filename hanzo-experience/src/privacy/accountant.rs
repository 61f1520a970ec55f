use crate::{Error, Result};

/// What a release costs.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Loss {
    pub(super) epsilon: f64,
    pub(super) delta: f64,
    pub(super) rho: f64,
}

impl Loss {
    /// Epsilon of (epsilon, delta)-privacy.
    pub fn epsilon(&self) -> f64 {
        self.epsilon
    }

    /// Delta of (epsilon, delta)-privacy.
    pub fn delta(&self) -> f64 {
        self.delta
    }

    /// Rho of zero-concentrated privacy.
    pub fn rho(&self) -> f64 {
        self.rho
    }
}

/// A budget of privacy, and what is left of it.
///
/// Sums are integers: epsilon and rho in billionths, delta in units of 10^-18, losses rounded up and budgets down.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Accountant {
    rule: Rule,
    spent: (u64, u64),
    budget: (u64, u64),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Rule {
    /// Epsilons add up, and deltas.
    Basic,
    /// Rhos add up.
    Concentrated,
}

impl Accountant {
    /// A budget under basic composition: the epsilons of all releases sum to at most `epsilon`, the deltas to at most
    /// `delta`.
    ///
    /// # Errors
    /// [`Error::OutOfRange`] unless `0 <= epsilon <= 10^9` and `0 <= delta < 1`.
    pub fn basic(epsilon: f64, delta: f64) -> Result<Self> {
        let budget = (units("epsilon", epsilon, BILLION, f64::floor)?, delta_units(delta, f64::floor)?);
        Ok(Self { rule: Rule::Basic, spent: (0, 0), budget })
    }

    /// A budget under zero-concentrated privacy: the rhos of all releases sum to at most `rho`. Many releases cost about
    /// the square root of what basic composition says; [`epsilon`](Self::epsilon) converts.
    ///
    /// # Errors
    /// [`Error::OutOfRange`] unless `0 <= rho <= 10^9`.
    pub fn concentrated(rho: f64) -> Result<Self> {
        let budget = (units("rho", rho, BILLION, f64::floor)?, 0);
        Ok(Self { rule: Rule::Concentrated, spent: (0, 0), budget })
    }

    /// Takes a loss from the budget.
    ///
    /// # Errors
    /// [`Error::BudgetExhausted`] if it does not fit; nothing is taken then.
    pub fn spend(&mut self, loss: &Loss) -> Result<()> {
        let (first, second) = match self.rule {
            Rule::Basic => (units("epsilon", loss.epsilon, BILLION, f64::ceil)?, delta_units(loss.delta, f64::ceil)?),
            Rule::Concentrated => (units("rho", loss.rho, BILLION, f64::ceil)?, 0),
        };
        let fits = |spent: u64, more: u64, budget| spent.checked_add(more).filter(|sum| *sum <= budget);
        let sums = fits(self.spent.0, first, self.budget.0).zip(fits(self.spent.1, second, self.budget.1));
        self.spent = sums.ok_or(Error::BudgetExhausted)?;
        Ok(())
    }

    /// Epsilon spent so far, at this delta: under basic composition the sum, if the deltas spent are not more; under
    /// concentrated privacy rho + 2 sqrt(rho ln(1/delta)).
    ///
    /// # Errors
    /// [`Error::OutOfRange`] unless `0 < delta < 1`; [`Error::BudgetExhausted`] if more delta was spent.
    pub fn epsilon(&self, delta: f64) -> Result<f64> {
        if delta.is_nan() || delta <= 0.0 || delta >= 1.0 {
            return Err(Error::OutOfRange { field: "delta" });
        }
        let spent = self.spent.0 as f64 / BILLION;
        match self.rule {
            Rule::Basic if self.spent.1 as f64 / DELTA_UNIT > delta => Err(Error::BudgetExhausted),
            Rule::Basic => Ok(spent),
            Rule::Concentrated => Ok(spent + 2.0 * (spent * -delta.ln()).sqrt()),
        }
    }

    /// Epsilon (or rho) and delta left.
    pub fn left(&self) -> (f64, f64) {
        let left = |budget: u64, spent: u64, unit| (budget - spent) as f64 / unit;
        (left(self.budget.0, self.spent.0, BILLION), left(self.budget.1, self.spent.1, DELTA_UNIT))
    }
}

fn delta_units(delta: f64, round: fn(f64) -> f64) -> Result<u64> {
    if delta >= 1.0 { Err(Error::OutOfRange { field: "delta" }) } else { units("delta", delta, DELTA_UNIT, round) }
}

/// A number as an integer of parts.
fn units(field: &'static str, x: f64, unit: f64, round: fn(f64) -> f64) -> Result<u64> {
    if (0.0..=1e9).contains(&x) { Ok(round(x * unit) as u64) } else { Err(Error::OutOfRange { field }) }
}

const BILLION: f64 = 1e9;
const DELTA_UNIT: f64 = 1e18;
