//! Kullback-Leibler divergence of token distributions.

use super::exponential::exp_not_positive;
use super::logits::largest_finite;
use super::{Comparator, Observation, Score};
use crate::error::{Error, Result};

/// `KL(reference || claimed)` of the softmax of each row of logits, in nats; the score is the mean over the
/// tokens. Against [`Observation::TopK`] the tokens that are not listed are one lumped bucket, which gives a
/// lower bound. Two passes over each row, `O(V)` a token; sums run in eight lanes and then a fixed tree, in f64, with the
/// same bits on every processor.
///
/// ```
/// use hanzo_poai::{Comparator, Kl, Logits, Observation};
///
/// let (reference, claimed) = ([0.0f32, 1.0, 2.0], [0.0f32, 1.0, 2.5]);
/// let kl = Kl::new().least_tokens(1);
/// let score = kl.compare(
///     &Observation::Logits(Logits::new(&reference, 3)?), &Observation::Logits(Logits::new(&claimed, 3)?),
/// )?;
/// assert!((score.value() - 0.026141).abs() < 1e-6);
/// # Ok::<(), hanzo_poai::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Kl {
    least_tokens: usize,
}

impl Kl {
    /// The comparator over at least 32 tokens.
    pub const fn new() -> Self {
        Self { least_tokens: 32 }
    }

    /// Fewest tokens that give a verdict. A mean over fewer is noisier than the thresholds allow for:
    /// calibrate with the same number.
    #[must_use]
    pub const fn least_tokens(self, least_tokens: usize) -> Self {
        Self { least_tokens }
    }

    fn mean(&self, rows: impl ExactSizeIterator<Item = Result<f64>>) -> Result<Score> {
        let count = rows.len();
        if count < self.least_tokens.max(1) {
            return Err(Error::TooFewTokens { need: self.least_tokens as u64, got: count as u64 });
        }
        let mut sum = 0.0;
        for row in rows {
            sum += row?;
        }
        Ok(Score { value: sum / count as f64, violations: 0, first: None })
    }
}

impl Default for Kl {
    fn default() -> Self {
        Self::new()
    }
}

impl Comparator for Kl {
    fn compare(&self, reference: &Observation<'_>, claimed: &Observation<'_>) -> Result<Score> {
        let shape = Error::ShapeMismatch { want: reference.len(), got: claimed.len() };
        match (reference, claimed) {
            (Observation::Logits(a), Observation::Logits(b)) => {
                if a.vocabulary() != b.vocabulary() || a.rows().len() != b.rows().len() {
                    return Err(shape);
                }
                self.mean(a.rows().zip(b.rows()).map(|(p, q)| row(p, q)))
            }
            (Observation::Logits(a), Observation::TopK(b)) => {
                if a.rows().len() != b.rows().len() {
                    return Err(shape);
                }
                self.mean(a.rows().zip(b.rows()).map(|(p, listed)| lumped(p, listed)))
            }
            _ => Err(shape),
        }
    }
}

/// KL of two rows, with one exponential for each of their elements.
fn row(reference: &[f32], claimed: &[f32]) -> Result<f64> {
    let (top_p, top_q) = (largest(reference)?, largest(claimed)?);
    let (mut sum_p, mut sum_q, mut cross) = (Sum::default(), Sum::default(), Sum::default());
    let (mut p, mut q) = (Block::default(), Block::default());
    for (reference, claimed) in reference.chunks(BLOCK).zip(claimed.chunks(BLOCK)) {
        p.fill(reference, top_p);
        q.fill(claimed, top_q);
        sum_p.add(&p.exponentials);
        sum_q.add(&q.exponentials);
        let mut products = [0.0; BLOCK];
        for (at, product) in products.iter_mut().enumerate() {
            *product = p.exponentials[at] * (p.shifted[at] - q.shifted[at]);
        }
        cross.add(&products);
    }
    let [sum_p, sum_q, cross] = [sum_p, sum_q, cross].map(Sum::total);
    // Never negative but for rounding.
    Ok((cross / sum_p - libm::log(sum_p) + libm::log(sum_q)).max(0.0))
}

fn lumped(reference: &[f32], listed: &[(u32, f32)]) -> Result<f64> {
    let top = largest(reference)?;
    let (mut sum, mut block) = (Sum::default(), Block::default());
    for part in reference.chunks(BLOCK) {
        block.fill(part, top);
        sum.add(&block.exponentials);
    }
    let total = sum.total();
    let ln_total = libm::log(total);
    let (mut kl, mut rest_p, mut rest_q) = (0.0f64, 1.0f64, 1.0f64);
    for (token, ln_q) in listed {
        let size = reference.len() as u64;
        let logit = reference.get(*token as usize).ok_or(Error::ShapeMismatch { want: size, got: (*token).into() })?;
        let (ln_p, ln_q) = (f64::from(*logit) - top - ln_total, f64::from(*ln_q));
        let p = libm::exp(ln_p);
        kl += p * (ln_p - ln_q);
        rest_p -= p;
        rest_q -= libm::exp(ln_q);
    }
    if rest_q < -SLACK {
        // No distribution: more than 1 in all.
        return Err(Error::NonFinite);
    }
    if rest_p > SLACK {
        kl += rest_p * libm::log(rest_p / rest_q.max(SLACK));
    }
    Ok(kl.max(0.0))
}

/// The largest element of a row without NaN or infinity.
fn largest(row: &[f32]) -> Result<f64> {
    largest_finite(row).map(f64::from).ok_or(Error::NonFinite)
}

/// Some logits less the largest of their row, and the exponentials of that; 0 behind the last.
struct Block {
    shifted: [f64; BLOCK],
    exponentials: [f64; BLOCK],
}

impl Default for Block {
    fn default() -> Self {
        Self { shifted: [0.0; BLOCK], exponentials: [0.0; BLOCK] }
    }
}

impl Block {
    /// Takes at most `BLOCK` logits. A loop without branches, which becomes vectors.
    fn fill(&mut self, logits: &[f32], top: f64) {
        if logits.len() < BLOCK {
            *self = Self::default();
        }
        for ((shifted, exponential), logit) in self.shifted.iter_mut().zip(&mut self.exponentials).zip(logits) {
            *shifted = f64::from(*logit) - top;
            *exponential = exp_not_positive(*shifted);
        }
    }
}

/// A sum in eight lanes.
#[derive(Default)]
struct Sum([f64; 8]);

impl Sum {
    fn add(&mut self, terms: &[f64; BLOCK]) {
        for group in terms.as_chunks::<8>().0 {
            self.0.iter_mut().zip(group).for_each(|(sum, term)| *sum += term);
        }
    }

    /// Halves, quarters, pairs.
    fn total(self) -> f64 {
        let [a, b, c, d, e, f, g, h] = self.0;
        ((a + e) + (c + g)) + ((b + f) + (d + h))
    }
}

/// Logits taken at once.
const BLOCK: usize = 64;
/// Log-probabilities travel as f32; below this a remainder is rounding.
const SLACK: f64 = 1e-6;

#[cfg(test)]
mod tests {
    use alloc::vec::Vec;

    use super::super::{Logits, TopK};
    use super::*;

    #[test]
    fn rows_agree_with_the_definition() {
        let (a, b) = ([0.3f32, -2.0, 5.0, 1.5], [0.2f32, -1.0, 5.5, 1.0]);
        let softmax = |row: &[f32]| -> Vec<f64> {
            let sum: f64 = row.iter().map(|x| f64::from(*x).exp()).sum();
            row.iter().map(|x| f64::from(*x).exp() / sum).collect()
        };
        let (p, q) = (softmax(&a), softmax(&b));
        let plain: f64 = p.iter().zip(&q).map(|(p, q)| p * (p / q).ln()).sum();
        assert!((row(&a, &b).unwrap() - plain).abs() < 1e-15);
        assert_eq!(row(&a, &a), Ok(0.0));
        // Shifts do not matter, even far ones.
        let far: Vec<f32> = b.iter().map(|x| x + 1_024.0).collect();
        assert!((row(&a, &far).unwrap() - plain).abs() < 1e-4);
        assert_eq!(row(&a, &[0.0, f32::NAN, 0.0, 0.0]), Err(Error::NonFinite));
    }

    #[test]
    fn lumping_bounds_from_below_and_claims_must_be_a_distribution() {
        let (a, b) = ([0.3f32, -2.0, 5.0, 1.5], [0.2f32, -1.0, 5.5, 1.0]);
        let top = TopK::from_logits(&Logits::new(&b, 4).unwrap(), 2).unwrap();
        let listed = top.rows().next().unwrap();
        assert!(lumped(&a, listed).unwrap() <= row(&a, &b).unwrap());
        let all = TopK::from_logits(&Logits::new(&b, 4).unwrap(), 4).unwrap();
        assert!((lumped(&a, all.rows().next().unwrap()).unwrap() - row(&a, &b).unwrap()).abs() < 1e-6);
        assert_eq!(lumped(&a, &[(0, 0.0), (1, 0.0)]), Err(Error::NonFinite));
        assert_eq!(lumped(&a, &[(4, -1.0)]), Err(Error::ShapeMismatch { want: 4, got: 4 }));
    }
}
