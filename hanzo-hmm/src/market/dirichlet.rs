//! Information to be gained about the parameters of a categorical distribution.

use crate::{Error, Result};

/// Mutual information between the next outcome and the parameters of a Dirichlet distribution, in nats.
///
/// With `a = alpha / alpha_0` it is `-sum a_o ln a_o + sum a_o (psi(alpha_o + 1) - psi(alpha_0 + 1))`: what one more outcome is expected to
/// teach. It is 0 for a single outcome and falls like `(K - 1) / (2 alpha_0)`. `O(K)` time.
///
/// # Errors
/// `NotFinite`, and `OutOfRange` for a count that is not positive or for no counts.
///
/// ```
/// use hanzo_hmm::market::dirichlet_novelty;
///
/// let new = dirichlet_novelty(&[1.0, 1.0])?;
/// let known = dirichlet_novelty(&[500.0, 500.0])?;
/// assert!((new - (2f64.ln() - 0.5)).abs() < 1e-12);
/// assert!(known < 0.001 * new.max(1.0));
/// # Ok::<(), hanzo_hmm::Error>(())
/// ```
pub fn dirichlet_novelty(alpha: &[f64]) -> Result<f64> {
    let total: f64 = alpha.iter().sum();
    if alpha.iter().any(|a| a.is_nan()) || !total.is_finite() {
        return Err(Error::NotFinite { what: "count" });
    }
    if alpha.is_empty() || alpha.iter().any(|&a| a <= 0.0) {
        return Err(Error::OutOfRange { what: "count" });
    }
    let top = digamma(total + 1.0);
    let sum: f64 = (alpha.iter().map(|&a| (a, a / total)))
        // A part too small for a double teaches nothing.
        .filter(|(_, part)| *part > 0.0)
        .map(|(a, part)| part * (digamma(a + 1.0) - top - part.ln()))
        .sum();
    Ok(sum.max(0.0))
}

/// The logarithmic derivative of the gamma function for `x > 0`: recurrence up to 10, then the asymptotic series.
pub(crate) fn digamma(mut x: f64) -> f64 {
    let mut shift = 0.0;
    while x < 10.0 {
        shift -= 1.0 / x;
        x += 1.0;
    }
    let r = 1.0 / (x * x);
    // Bernoulli numbers B_2k / 2k.
    let series = SERIES.iter().rev().fold(0.0, |acc, c| (acc + c) * r);
    shift + x.ln() - 0.5 / x - series
}

const SERIES: [f64; 8] = [
    1.0 / 12.0,
    -1.0 / 120.0,
    1.0 / 252.0,
    -1.0 / 240.0,
    1.0 / 132.0,
    -691.0 / 32_760.0,
    1.0 / 12.0,
    -3_617.0 / 8_160.0,
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digamma_equals_statrs() {
        for i in 1..4_000 {
            let x = f64::from(i) * 0.013;
            let wanted = statrs::function::gamma::digamma(x);
            assert!((digamma(x) - wanted).abs() <= 1e-12 * wanted.abs().max(1.0), "{x}");
        }
        assert!((digamma(1.0) + 0.577_215_664_901_532_9).abs() < 1e-14);
    }

    #[test]
    fn novelty_is_the_expected_gain() {
        // Two outcomes, by the definition: KL from prior to posterior, averaged over the outcome.
        let alpha = [2.5, 0.7];
        let (a0, mut gain) = (3.2f64, 0.0);
        for (o, &a) in alpha.iter().enumerate() {
            let mut post = alpha;
            post[o] += 1.0;
            // KL(Dir(post) || Dir(alpha)) with post = alpha + e_o.
            let kl = (a0 / a).ln() + digamma(post[o]) - digamma(a0 + 1.0);
            gain += a / a0 * kl;
        }
        assert!((dirichlet_novelty(&alpha).unwrap() - gain).abs() < 1e-12);
    }

    #[test]
    fn a_count_too_small_for_its_part_leaves_the_others() {
        let (three, two) = (dirichlet_novelty(&[5e-324, 1e5, 1e5]).unwrap(), dirichlet_novelty(&[1e5, 1e5]).unwrap());
        assert!(two > 0.0 && three == two, "{three} {two}");
    }

    #[test]
    fn bad_counts_are_refused() {
        assert!(dirichlet_novelty(&[]).is_err());
        assert!(dirichlet_novelty(&[0.0, 1.0]).is_err());
        assert!(dirichlet_novelty(&[f64::NAN]).is_err());
        assert!(dirichlet_novelty(&[f64::INFINITY]).is_err());
    }
}
