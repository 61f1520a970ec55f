//! How safe and how live a setting is, before it runs.
//!
//! The closed forms hold the share `p` of the stake that answers for a choice fixed: drift of preferences while polls
//! go on is not in them. [`LumpedChain`] follows a whole network with its drift, [`Report`] puts the closed forms for one
//! setting together, and [`decentralization`] counts who holds what.

mod chain;
mod classes;
mod decentralization;
mod report;
mod runs;

use alloc::collections::VecDeque;
use core::f64::consts::{LN_2, LN_10};

pub use chain::{Answers, Ends, LumpedChain};
pub use decentralization::{Decentralization, Targets, TargetsMet, decentralization};
pub use report::{ConditionReport, Report, SafetyRow};
pub use runs::{Forecast, LumpedRuns, RunEnd};

/// A probability with its complement and logarithm, each precise where the others round to 0 or 1.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Probability {
    ln: f64,
    value: f64,
    complement: f64,
}

impl Probability {
    const ZERO: Self = Self { ln: f64::NEG_INFINITY, value: 0.0, complement: 1.0 };

    /// The probability, in `0..=1`; 0 below about 1e-308.
    #[must_use]
    pub const fn value(&self) -> f64 {
        self.value
    }

    /// One minus it.
    #[must_use]
    pub const fn complement(&self) -> f64 {
        self.complement
    }

    /// Its decimal logarithm; `None` for probability 0.
    #[must_use]
    pub fn log10(&self) -> Option<f64> {
        (self.ln > f64::NEG_INFINITY).then_some(self.ln / LN_10)
    }

    /// The union bound of two events.
    fn or_at_most(&self, other: &Self) -> Self {
        let (more, less) = if self.ln >= other.ln { (self.ln, other.ln) } else { (other.ln, self.ln) };
        if less == f64::NEG_INFINITY {
            return if self.ln >= other.ln { *self } else { *other };
        }
        let ln = (more + libm::log1p(libm::exp(less - more))).min(0.0);
        Self { ln, value: libm::exp(ln), complement: -libm::expm1(ln) }
    }

    fn from_parts(part: Scaled, rest: Scaled) -> Self {
        // The two are computed apart, so each keeps its relative precision.
        let (value, complement) = (part.value().min(1.0), rest.value().min(1.0));
        let ln = if value < 0.5 { part.ln() } else { libm::log1p(-complement) };
        Self { ln, value, complement }
    }
}

/// P[at least `alpha` of `k` independent answers support], each with probability `p`. O(k).
///
/// # Errors
/// [`AnalysisError::Alpha`] unless `1 <= alpha <= k`, [`AnalysisError::Share`] unless `p` is in `0..=1`.
///
/// ```
/// use hanzo_snow::analysis::{expected_polls, poll_success};
///
/// let silent_quarter = poll_success(20, 15, 0.75)?;
/// let polls = expected_polls(&silent_quarter, 20)?.expect("not infinite");
/// assert!((40_000.0..41_000.0).contains(&polls));
/// # Ok::<(), hanzo_snow::analysis::AnalysisError>(())
/// ```
pub fn poll_success(k: u16, alpha: u16, p: f64) -> Result<Probability, AnalysisError> {
    check_alpha(k, alpha)?;
    if !(0.0..=1.0).contains(&p) {
        return Err(AnalysisError::Share { p });
    }
    let q = 1.0 - p;
    if p == 0.0 {
        return Ok(Probability::from_parts(Scaled::ZERO, Scaled::ONE));
    }
    if q == 0.0 {
        return Ok(Probability::from_parts(Scaled::ONE, Scaled::ZERO));
    }
    // P[exactly j], by factors that keep every partial product in range.
    let exactly = |j: u16| {
        let mut term = Scaled::ONE;
        for i in 1..=j {
            term = term.times(f64::from(k - j + i) / f64::from(i)).times(p);
        }
        for _ in j..k {
            term = term.times(q);
        }
        term
    };
    // Each tail is summed outwards from the threshold, by the ratio of neighbouring terms.
    let mut success = Scaled::ZERO;
    let mut term = exactly(alpha);
    for j in alpha..=k {
        success = success.plus(term);
        if j < k {
            term = term.times(f64::from(k - j) / f64::from(j + 1)).times(p).over(q);
        }
    }
    let mut failure = Scaled::ZERO;
    let mut term = exactly(alpha - 1);
    for j in (0..alpha).rev() {
        failure = failure.plus(term);
        if j > 0 {
            term = term.times(f64::from(j) / f64::from(k - j + 1)).times(q).over(p);
        }
    }
    Ok(Probability::from_parts(success, failure))
}

/// P[at least `alpha` of `k` drawn without replacement support], where `support` of `population` units do. O(k).
///
/// # Errors
/// [`AnalysisError::Alpha`] unless `1 <= alpha <= k`, [`AnalysisError::Population`] unless
/// `support <= population` and `k <= population`.
pub fn poll_success_exact(k: u16, alpha: u16, population: u64, support: u64) -> Result<Probability, AnalysisError> {
    check_alpha(k, alpha)?;
    if support > population || u64::from(k) > population {
        return Err(AnalysisError::Population { population, support, k });
    }
    let others = population - support;
    let (mut success, mut failure) = (Scaled::ZERO, Scaled::ZERO);
    let least = u64::from(k).saturating_sub(others) as u16;
    let most = u64::from(k).min(support) as u16;
    let mut term = exactly_drawn(k, least, population, support);
    for j in least..=most {
        if j >= alpha {
            success = success.plus(term);
        } else {
            failure = failure.plus(term);
        }
        if j < most {
            let ahead = (support - u64::from(j)) as f64 * f64::from(k - j);
            let behind = f64::from(j + 1) * (others - u64::from(k - j) + 1) as f64;
            term = term.times(ahead / behind);
        }
    }
    Ok(Probability::from_parts(success, failure))
}

/// P[exactly `j` of `k` drawn without replacement support], `j` in range: C(k, j) (support)_j (others)_{k-j} / (population)_k,
/// in an order that stays in range.
fn exactly_drawn(k: u16, j: u16, population: u64, support: u64) -> Scaled {
    let (mut s, mut o) = (support, population - support);
    let mut left = population;
    let mut term = Scaled::ONE;
    for i in 1..=k {
        let share = if i <= j { &mut s } else { &mut o };
        term = term.times(*share as f64 / left as f64);
        *share = share.saturating_sub(1);
        left -= 1;
    }
    for i in 1..=j {
        term = term.times(f64::from(k - j + i) / f64::from(i));
    }
    term
}

/// `q^beta`: P[a given window of `beta` polls all succeed], which for the minority's choice is P[the window fails].
#[must_use]
pub fn window_failure(q: &Probability, beta: u32) -> Probability {
    if beta == 0 {
        return Probability { ln: 0.0, value: 1.0, complement: 0.0 };
    }
    let ln = q.ln * f64::from(beta);
    Probability { ln, value: libm::exp(ln), complement: -libm::expm1(ln) }
}

/// `min(1, nodes * polls * window)`: bound on P[any window of any node fails].
#[must_use]
pub fn union_bound(window: &Probability, nodes: u64, polls: u64) -> Probability {
    let ln = window.ln + libm::log(nodes as f64) + libm::log(polls as f64);
    if nodes == 0 || polls == 0 || window.ln == f64::NEG_INFINITY {
        return Probability::ZERO;
    }
    let ln = ln.min(0.0);
    Probability { ln, value: libm::exp(ln), complement: -libm::expm1(ln) }
}

/// Expected number of polls until `beta` succeed in a row, `(1 - q^beta) / ((1 - q) q^beta)`; `None` for infinity or
/// more than about 1.8e308.
///
/// # Errors
/// [`AnalysisError::Beta`] for `beta` 0.
pub fn expected_polls(q: &Probability, beta: u32) -> Result<Option<f64>, AnalysisError> {
    if beta == 0 {
        return Err(AnalysisError::Beta);
    }
    if q.complement == 0.0 {
        return Ok(Some(f64::from(beta)));
    }
    let ln = q.ln * f64::from(beta);
    let polls = -libm::expm1(ln) / q.complement * libm::exp(-ln);
    Ok(polls.is_finite().then_some(polls))
}

/// P[some `beta` successive polls succeed within `trials` polls]. O(trials) time, O(min(beta, trials)) space.
///
/// # Errors
/// [`AnalysisError::Beta`] for `beta` 0, [`AnalysisError::Trials`] for more than 2^24 trials.
pub fn run_within(q: &Probability, beta: u32, trials: u32) -> Result<f64, AnalysisError> {
    const MOST: u32 = 1 << 24;
    if beta == 0 {
        return Err(AnalysisError::Beta);
    }
    if trials > MOST {
        return Err(AnalysisError::Trials { trials });
    }
    if trials < beta {
        return Ok(0.0);
    }
    let window = libm::exp(q.ln * f64::from(beta));
    let ending = window * q.complement;
    // P[within t], for t from beta on: a first run ends at t if the beta + 1 polls before t's end are one failure and
    // beta successes, with no run before them.
    let mut last = window;
    // The last ones, so that the first is that of beta + 1 polls ago.
    let mut within = VecDeque::from([window]);
    for _ in beta..trials {
        let before = if within.len() > beta as usize { within.pop_front().unwrap_or(0.0) } else { 0.0 };
        last = (last + ending * (1.0 - before)).min(1.0);
        within.push_back(last);
    }
    Ok(last)
}

const fn check_alpha(k: u16, alpha: u16) -> Result<(), AnalysisError> {
    if alpha == 0 || alpha > k { Err(AnalysisError::Alpha { alpha, k }) } else { Ok(()) }
}

/// A non-negative number `mantissa * 2^exponent` of any magnitude.
#[derive(Debug, Clone, Copy)]
struct Scaled {
    mantissa: f64,
    exponent: i32,
}

impl Scaled {
    const ZERO: Self = Self { mantissa: 0.0, exponent: 0 };
    const ONE: Self = Self { mantissa: 0.5, exponent: 1 };

    fn new(number: f64, exponent: i32) -> Self {
        let (mantissa, shift) = libm::frexp(number);
        if mantissa == 0.0 { Self::ZERO } else { Self { mantissa, exponent: exponent + shift } }
    }

    fn times(self, factor: f64) -> Self {
        let (mantissa, shift) = libm::frexp(factor);
        Self::new(self.mantissa * mantissa, self.exponent + shift)
    }

    fn over(self, divisor: f64) -> Self {
        let (mantissa, shift) = libm::frexp(divisor);
        Self::new(self.mantissa / mantissa, self.exponent - shift)
    }

    fn plus(self, other: Self) -> Self {
        if other.mantissa == 0.0 {
            return self;
        }
        if self.mantissa == 0.0 {
            return other;
        }
        let (large, small) = if self.exponent >= other.exponent { (self, other) } else { (other, self) };
        Self::new(large.mantissa + libm::ldexp(small.mantissa, small.exponent - large.exponent), large.exponent)
    }

    fn value(self) -> f64 {
        libm::ldexp(self.mantissa, self.exponent)
    }

    fn ln(self) -> f64 {
        libm::log(self.mantissa) + f64::from(self.exponent) * LN_2
    }
}

/// Why a figure cannot be computed.
#[derive(Debug, Clone, Copy, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum AnalysisError {
    /// A share that is not a probability.
    #[error("share {p} is not in 0..=1")]
    Share {
        /// The refused value.
        p: f64,
    },
    /// A threshold outside the sample.
    #[error("alpha {alpha} is not in 1..={k}")]
    Alpha {
        /// The refused value.
        alpha: u16,
        /// The sample size.
        k: u16,
    },
    /// A population smaller than its support or than the sample.
    #[error("{support} supporters and a sample of {k} in a population of {population}")]
    Population {
        /// Units in all.
        population: u64,
        /// Units that support.
        support: u64,
        /// The sample size.
        k: u16,
    },
    /// More nodes prefer 1 than are honest.
    #[error("{ones} of {honest} honest nodes prefer 1")]
    Ones {
        /// The refused number.
        ones: u64,
        /// Honest nodes.
        honest: u64,
    },
    /// Too many states or classes to enumerate.
    #[error("more than {most} states")]
    TooLarge {
        /// The most that are enumerated.
        most: usize,
    },
    /// A run of no polls.
    #[error("beta must be above zero")]
    Beta,
    /// More trials than are summed.
    #[error("{trials} trials are more than 2^24")]
    Trials {
        /// The refused number.
        trials: u32,
    },
}
