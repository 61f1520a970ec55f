//! The exact interval of a binomial proportion.

use crate::error::{Error, Result};

/// The two-sided Clopper-Pearson interval of `hits` in `trials`, found by bisection on the exact binomial
/// tail down to neighbouring floats. `O(sqrt(trials))` for each of about 64 steps.
///
/// # Errors
/// [`Error::InvalidProbability`] for no trial, more hits than trials, or a confidence outside (0, 1);
/// [`Error::Overflow`] for more than 2^32 trials.
pub fn clopper_pearson(hits: u64, trials: u64, confidence: f64) -> Result<(f64, f64)> {
    if trials == 0 || hits > trials || !(confidence > 0.0 && confidence < 1.0) {
        return Err(Error::InvalidProbability);
    }
    if trials > 1 << 32 {
        return Err(Error::Overflow);
    }
    let tail = (1.0 - confidence) / 2.0;
    let lower = if hits == 0 { 0.0 } else { lower_end(hits, trials, tail) };
    // The upper end mirrors the lower end of the misses; 1 - x alone would lose small intervals.
    let upper = if hits == trials { 1.0 } else { upper_end(hits, trials, tail) };
    Ok((lower, upper))
}

/// The p at which P(X >= hits) = tail; that probability rises with p.
fn lower_end(hits: u64, trials: u64, tail: f64) -> f64 {
    if hits == trials {
        return libm::exp(libm::log(tail) / trials as f64);
    }
    bisect(|p| upper_tail(hits, trials, p, 1.0 - p) < tail)
}

/// The p at which P(X <= hits) = tail; that probability falls with p.
fn upper_end(hits: u64, trials: u64, tail: f64) -> f64 {
    if hits == 0 {
        return -libm::expm1(libm::log(tail) / trials as f64);
    }
    bisect(|p| upper_tail(trials - hits, trials, 1.0 - p, p) > tail)
}

/// The largest float in [0, 1] up to which `below` holds; positive floats order like their bits.
fn bisect(below: impl Fn(f64) -> bool) -> f64 {
    let (mut low, mut high) = (0u64, 1.0f64.to_bits());
    while high - low > 1 {
        let middle = low + (high - low) / 2;
        if below(f64::from_bits(middle)) {
            low = middle;
        } else {
            high = middle;
        }
    }
    f64::from_bits(low)
}

/// P(X >= k) for X binomial(n, p) with q = 1 - p and 1 <= k <= n - 1.
fn upper_tail(k: u64, n: u64, p: f64, q: f64) -> f64 {
    if p <= 0.0 {
        return 0.0;
    }
    if q <= 0.0 {
        return 1.0;
    }
    let mean = n as f64 * p;
    if (k as f64) < mean {
        // Sum the shorter side: 1 - P(X <= k - 1), walking down from k - 1.
        return 1.0 - walk(k - 1, n, p, q, false);
    }
    walk(k, n, p, q, true)
}

/// Sum of the probabilities of `k` and all values above it (or below it), from the largest on.
fn walk(k: u64, n: u64, p: f64, q: f64, up: bool) -> f64 {
    let first = probability(k, n, p, q);
    let (mut term, mut sum, mut at) = (1.0f64, 1.0f64, k);
    while if up { at < n } else { at > 0 } {
        let (have, miss) = (at as f64, (n - at) as f64);
        term *= if up { miss / (have + 1.0) * (p / q) } else { have / (miss + 1.0) * (q / p) };
        at = if up { at + 1 } else { at - 1 };
        sum += term;
        if term < sum * 1e-18 {
            break;
        }
    }
    first * sum
}

/// Binomial probability by Loader's saddle-point form: no cancellation of large log-gammas.
fn probability(k: u64, n: u64, p: f64, q: f64) -> f64 {
    let (kf, nf, mf) = (k as f64, n as f64, (n - k) as f64);
    if k == 0 {
        let ln_q = if p < 0.5 { libm::log1p(-p) } else { libm::log(q) };
        return libm::exp(nf * ln_q);
    }
    if k == n {
        let ln_p = if q < 0.5 { libm::log1p(-q) } else { libm::log(p) };
        return libm::exp(nf * ln_p);
    }
    let exponent =
        stirling_error(nf) - stirling_error(kf) - stirling_error(mf) - deviance(kf, nf * p) - deviance(mf, nf * q);
    libm::exp(exponent) * libm::sqrt(nf / (2.0 * core::f64::consts::PI * kf * mf))
}

/// `ln n! - (ln sqrt(2 pi n) + n ln n - n)` for an integer n >= 1.
fn stirling_error(n: f64) -> f64 {
    if n < 16.0 {
        let ln_factorial = libm::lgamma(n + 1.0);
        let half_ln_2pi = 0.918_938_533_204_672_7;
        return ln_factorial - (n + 0.5) * libm::log(n) + n - half_ln_2pi;
    }
    let nn = n * n;
    (1.0 / 12.0 - (1.0 / 360.0 - (1.0 / 1260.0 - (1.0 / 1680.0 - 1.0 / 1188.0 / nn) / nn) / nn) / nn) / n
}

/// `x ln(x / m) + m - x`, accurate where x is near m.
fn deviance(x: f64, m: f64) -> f64 {
    if (x - m).abs() < 0.1 * (x + m) {
        let v = (x - m) / (x + m);
        let mut sum = (x - m) * v;
        let (mut power, mut odd) = (2.0 * x * v, 1.0);
        loop {
            power *= v * v;
            odd += 2.0;
            let next = sum + power / odd;
            if next == sum {
                return sum;
            }
            sum = next;
        }
    }
    x * libm::log(x / m) + m - x
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tail_agrees_with_the_plain_sum() {
        for (n, p) in [(10u64, 0.3f64), (25, 0.5), (40, 0.02)] {
            for k in 1..n {
                let mut plain = 0.0;
                for i in k..=n {
                    let choose: f64 = (0..i).map(|j| (n - j) as f64 / (j + 1) as f64).product();
                    plain += choose * p.powi(i as i32) * (1.0 - p).powi((n - i) as i32);
                }
                let got = upper_tail(k, n, p, 1.0 - p);
                assert!((got / plain - 1.0).abs() < 1e-12, "{n} {k} {p}: {got} {plain}");
            }
        }
    }

    #[test]
    fn series_and_log_gamma_meet() {
        let direct = libm::lgamma(17.0) - 16.5 * libm::log(16.0) + 16.0 - 0.918_938_533_204_672_7;
        assert!((stirling_error(16.0) - direct).abs() < 1e-13);
    }
}
