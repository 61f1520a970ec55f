//! Exact laws of detection, deterrence and beacon bias. Floats, for design and reporting: nothing parties
//! must agree on is computed here.
//!
//! ```
//! use hanzo_poai::theory;
//!
//! // 100 bad jobs at an audit rate of 0.3 % are found with probability 0.2595, not "almost surely".
//! let p = theory::detection_exact_count(0.003, 100)?;
//! assert!((p - 0.259_515_740_460).abs() < 1e-12);
//! assert_eq!(theory::jobs_for(0.003, 0.997)?, 1_934);
//! # Ok::<(), hanzo_poai::Error>(())
//! ```

pub use crate::clopper_pearson::clopper_pearson;
use crate::error::{Error, Result};

/// Probability that at least one of `bad` jobs is audited at rate `alpha`: `1 - (1 - alpha)^bad`.
///
/// # Errors
/// [`Error::InvalidProbability`] for `alpha` outside [0, 1].
pub fn detection_exact_count(alpha: f64, bad: u64) -> Result<f64> {
    let alpha = unit(alpha)?;
    if bad == 0 {
        return Ok(0.0);
    }
    Ok(-libm::expm1(bad as f64 * libm::log1p(-alpha)))
}

/// Detection when each of `jobs` is bad with probability `delta`: `1 - (1 - alpha delta)^jobs`.
///
/// # Errors
/// [`Error::InvalidProbability`] for a rate outside [0, 1].
pub fn detection_iid(alpha: f64, delta: f64, jobs: u64) -> Result<f64> {
    detection_exact_count(unit(alpha)? * unit(delta)?, jobs)
}

/// Detection when exactly `audits` of `jobs` are drawn and `bad` are bad:
/// `1 - C(jobs - bad, audits) / C(jobs, audits)`. `O(min(bad, audits))`.
///
/// # Errors
/// [`Error::InvalidProbability`] for more bad jobs or audits than jobs; [`Error::Overflow`] when both are
/// above 2^24.
pub fn detection_hypergeometric(jobs: u64, bad: u64, audits: u64) -> Result<f64> {
    if bad > jobs || audits > jobs {
        return Err(Error::InvalidProbability);
    }
    let (few, many) = (bad.min(audits), bad.max(audits));
    if few > 1 << 24 {
        return Err(Error::Overflow);
    }
    if few > jobs - many {
        return Ok(1.0);
    }
    let (mut sum, mut lost) = (0.0f64, 0.0f64);
    for i in 0..few {
        let term = libm::log1p(-(many as f64 / (jobs - i) as f64)) - lost;
        let next = sum + term;
        lost = (next - sum) - term;
        sum = next;
    }
    Ok(-libm::expm1(sum))
}

/// The audit rate left when a share `r` of the verifiers colludes with the worker, `k` of them check a job
/// and each finds a bad one with probability `w`: `alpha w (1 - r^k)`.
///
/// # Errors
/// [`Error::InvalidProbability`] for a rate outside [0, 1] or `k = 0`.
pub fn effective_rate(alpha: f64, r: f64, k: u32, w: f64) -> Result<f64> {
    let (alpha, r, w) = (unit(alpha)?, unit(r)?, unit(w)?);
    if k == 0 {
        return Err(Error::InvalidProbability);
    }
    Ok(alpha * w * (1.0 - libm::pow(r, k.into())))
}

/// [`detection_exact_count`] at [`effective_rate`].
///
/// # Errors
/// Those of the two.
pub fn detection_colluding(alpha: f64, r: f64, k: u32, w: f64, bad: u64) -> Result<f64> {
    detection_exact_count(effective_rate(alpha, r, k, w)?, bad)
}

/// Probability that one bad job is audited when a screen with that true- and false-positive rate picks
/// first and chance spends the rest of `budget`: `tpr + (1 - tpr) max(0, budget - fpr)`.
///
/// # Errors
/// [`Error::InvalidProbability`] for a rate outside [0, 1].
pub fn screened_rate(tpr: f64, fpr: f64, budget: f64) -> Result<f64> {
    let (tpr, fpr, budget) = (unit(tpr)?, unit(fpr)?, unit(budget)?);
    Ok(tpr + (1.0 - tpr) * (budget - fpr).max(0.0))
}

/// Bad jobs it takes until detection reaches `target`: `ceil(ln(1 - target) / ln(1 - alpha))`.
///
/// # Errors
/// [`Error::InvalidProbability`] for `alpha` outside (0, 1] or `target` outside [0, 1).
pub fn jobs_for(alpha: f64, target: f64) -> Result<u64> {
    let (alpha, target) = (unit(alpha)?, unit(target)?);
    if alpha == 0.0 || target == 1.0 {
        return Err(Error::InvalidProbability);
    }
    let jobs = libm::ceil(libm::log1p(-target) / libm::log1p(-alpha)) as u64;
    // At a rate of 1 the quotient is 0, but no job is found before there is one.
    Ok(jobs.max(u64::from(target > 0.0)))
}

/// The stake at which cheating once for `gain` at detection `p` does not pay: `gain (1 - p) / p`. With
/// payment in escrow to the end of the window this covers any number of jobs.
///
/// # Errors
/// [`Error::InvalidProbability`] for `p` outside (0, 1]; [`Error::NonFinite`] for a gain or a result that
/// is not finite, or a negative gain.
pub fn required_stake(gain: f64, p: f64) -> Result<f64> {
    let p = unit(p)?;
    if p == 0.0 {
        return Err(Error::InvalidProbability);
    }
    finite(gain * (1.0 - p) / p)
}

/// The detection probability at which cheating for `gain` does not pay at `stake`: `gain / (stake + gain)`.
///
/// # Errors
/// [`Error::NonFinite`] for values that are negative or not finite; [`Error::InvalidProbability`] when both
/// are zero.
pub fn required_detection(gain: f64, stake: f64) -> Result<f64> {
    let (gain, sum) = (finite(gain)?, finite(finite(gain)? + finite(stake)?)?);
    if sum == 0.0 {
        return Err(Error::InvalidProbability);
    }
    Ok(gain / sum)
}

/// Stake a sybil must bond to hold a fraction `f` of all workers beside `honest` others:
/// `f / (1 - f) honest minimum`.
///
/// # Errors
/// [`Error::InvalidProbability`] for `f` outside [0, 1); [`Error::NonFinite`] for a minimum or a result
/// that is negative or not finite.
pub fn sybil_cost(f: f64, honest: u64, minimum: f64) -> Result<f64> {
    if unit(f)? == 1.0 {
        return Err(Error::InvalidProbability);
    }
    finite(f / (1.0 - f) * honest as f64 * finite(minimum)?)
}

/// The most that `b` withholding parties can lift an event of probability `q` to: `min(1, 2^b q)`.
///
/// # Errors
/// [`Error::InvalidProbability`] for `q` outside [0, 1].
pub fn bias_bound(q: f64, b: u32) -> Result<f64> {
    let q = unit(q)?;
    // 0 times an overflowed power would be NaN.
    if q == 0.0 {
        return Ok(0.0);
    }
    Ok((q * libm::exp2(b.into())).min(1.0))
}

/// Probability that colluders who hold a `share` of all workers are the majority of `k` replicas:
/// `P(Binomial(k, share) >= (k + 1) / 2)`. Why a majority opens disputes and never slashes.
///
/// # Errors
/// [`Error::InvalidProbability`] for a share outside [0, 1], or `k` even or above 63.
pub fn replica_capture(share: f64, k: u32) -> Result<f64> {
    let r = unit(share)?;
    if k.is_multiple_of(2) || k > 63 {
        return Err(Error::InvalidProbability);
    }
    let mut choose = 1.0f64;
    let mut sum = 0.0;
    for have in 0..=k {
        if 2 * have > k {
            sum += choose * libm::pow(r, have.into()) * libm::pow(1.0 - r, (k - have).into());
        }
        choose *= f64::from(k - have) / f64::from(have + 1);
    }
    Ok(sum)
}

/// Probability that a verifier who always says match passes `audits` when a share `canaries` of them carry a
/// forced error: `(1 - canaries)^audits`.
///
/// # Errors
/// [`Error::InvalidProbability`] for a share outside [0, 1].
pub fn canary_survival(canaries: f64, audits: u64) -> Result<f64> {
    let c = unit(canaries)?;
    Ok(if audits == 0 { 1.0 } else { libm::exp(audits as f64 * libm::log1p(-c)) })
}

/// The most value that may be paid before its window ends when `jobs` of it are cheated on at detection `p`:
/// `stake (1 - (1 - p)^jobs)`.
///
/// # Errors
/// [`Error::InvalidProbability`] for `p` outside [0, 1]; [`Error::NonFinite`] for a bad stake.
pub fn unescrowed_cap(stake: f64, p: f64, jobs: u64) -> Result<f64> {
    Ok(finite(stake)? * detection_exact_count(p, jobs)?)
}

/// The stake of a role in base units: the largest of its minimum, `rate` a unit of capacity, and five months'
/// revenue (the paper: table 6, and section 6.3).
///
/// # Errors
/// [`Error::Overflow`] past 2^128.
pub fn role_stake(minimum: u128, rate: u128, capacity: u128, monthly_revenue: u128) -> Result<u128> {
    let by_capacity = rate.checked_mul(capacity).ok_or(Error::Overflow)?;
    let by_revenue = monthly_revenue.checked_mul(5).ok_or(Error::Overflow)?;
    Ok(minimum.max(by_capacity).max(by_revenue))
}

fn unit(p: f64) -> Result<f64> {
    if (0.0..=1.0).contains(&p) { Ok(p) } else { Err(Error::InvalidProbability) }
}

fn finite(x: f64) -> Result<f64> {
    if x.is_finite() && x >= 0.0 { Ok(x) } else { Err(Error::NonFinite) }
}
