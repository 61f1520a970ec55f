//! Decoding with experiences as experts: p(y) proportional to p0(y) times the product of phi_k(y)^alpha_k, alpha_k >= 0.
//!
//! A [`Factor`] gives phi for the tokens that it says something about; all others have phi = 1, so that applying factors
//! costs what they hold, not the vocabulary. [`ProductOfExperts::apply`] adds to logits in place, for any sampler;
//! [`calibrate`] finds the weights that make held-out tokens most likely.
//!
//! ```
//! use hanzo_experience::product_of_experts::{Factor, ProductOfExperts, Zero};
//!
//! // Twice as likely, with full weight; and half as likely, with half of it.
//! let factors = vec![(1.0, Factor::new([(2, 2.0)])?), (0.5, Factor::new([(0, 0.5)])?)];
//! let experts = ProductOfExperts::new(factors, Zero::default())?;
//! let mut logits = vec![0.0_f32; 4];
//! experts.apply(&mut logits)?;
//! assert_eq!(logits[2], 2_f32.ln());
//! assert_eq!(logits[1], 0.0);
//! # Ok::<(), hanzo_experience::Error>(())
//! ```
//!
//! Sources: Hinton (2002) for products of experts.

mod calibration;

use std::collections::BTreeMap;

pub use calibration::{Calibration, HeldOut, calibrate};

use crate::{Error, Result};

/// What one expert says of some tokens: log phi, by ascending token.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Factor(Vec<(u32, f64)>);

impl Factor {
    /// A factor from phi by token; tokens not given have phi = 1. phi = 0 forbids a token, as [`Zero`] says.
    ///
    /// # Errors
    /// [`Error::OutOfRange`] for a phi that is negative, infinite or NaN; [`Error::IndexOrder`] for a token given twice.
    pub fn new(phi: impl IntoIterator<Item = (u32, f64)>) -> Result<Self> {
        let mut logs = Vec::new();
        for (token, phi) in phi {
            if !(0.0..f64::INFINITY).contains(&phi) {
                return Err(Error::OutOfRange { field: "phi" });
            }
            logs.push((token, phi.ln()));
        }
        logs.sort_unstable_by_key(|(token, _)| *token);
        if logs.windows(2).any(|pair| pair[0].0 == pair[1].0) {
            return Err(Error::IndexOrder);
        }
        Ok(Self(logs))
    }

    /// A factor from the attempts of a group: log phi(y) is the mean over attempts of advantage times whether y occurs in
    /// it, within -1..=1. Tokens may be given more than once and in any order.
    ///
    /// # Errors
    /// [`Error::TooFew`] for no attempt; [`Error::NonFinite`] for an advantage.
    pub fn from_advantages(attempts: &[(&[u32], f64)]) -> Result<Self> {
        if attempts.is_empty() {
            return Err(Error::TooFew { need: 1, got: 0 });
        }
        if let Some(index) = attempts.iter().position(|(_, advantage)| !advantage.is_finite()) {
            return Err(Error::NonFinite { index });
        }
        let mut sums: BTreeMap<u32, f64> = BTreeMap::new();
        for (tokens, advantage) in attempts {
            let mut tokens = tokens.to_vec();
            tokens.sort_unstable();
            tokens.dedup();
            for token in tokens {
                *sums.entry(token).or_default() += advantage;
            }
        }
        let n = attempts.len() as f64;
        Ok(Self(sums.into_iter().map(|(token, sum)| (token, (sum / n).clamp(-1.0, 1.0))).collect()))
    }

    /// Number of tokens that it says something about.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether it says nothing.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Tokens, ascending, with log phi, which is -infinity for phi = 0.
    pub fn iter(&self) -> impl Iterator<Item = (u32, f64)> {
        self.0.iter().copied()
    }
}

/// What phi = 0 means.
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
pub enum Zero {
    /// As this small number, in 0..=1 without 0.
    Floor(f64),
    /// The token is impossible under any positive weight.
    Veto,
}

/// A floor of 10^-6.
impl Default for Zero {
    fn default() -> Self {
        Self::Floor(1e-6)
    }
}

impl Zero {
    fn floor(self) -> Result<f64> {
        match self {
            Self::Veto => Ok(f64::NEG_INFINITY),
            Self::Floor(floor) if floor > 0.0 && floor <= 1.0 => Ok(floor.ln()),
            Self::Floor(_) => Err(Error::OutOfRange { field: "floor" }),
        }
    }
}

/// Factors with their weights, summed up by token.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct ProductOfExperts {
    /// Sum of alpha log phi by ascending token.
    sums: Vec<(u32, f64)>,
}

impl ProductOfExperts {
    /// Sums factors up. O(n log n) for n tokens given in all.
    ///
    /// # Errors
    /// [`Error::NegativeAlpha`] for a weight that is not finite and at least 0; [`Error::OutOfRange`] for the floor.
    pub fn new(factors: impl IntoIterator<Item = (f64, Factor)>, zero: Zero) -> Result<Self> {
        let floor = zero.floor()?;
        let mut sums: BTreeMap<u32, f64> = BTreeMap::new();
        for (index, (alpha, factor)) in factors.into_iter().enumerate() {
            check_alpha(index, alpha)?;
            for (token, log) in factor.0 {
                *sums.entry(token).or_default() += weighted(alpha, log, floor);
            }
        }
        Ok(Self { sums: sums.into_iter().collect() })
    }

    /// Number of tokens that it changes.
    pub fn len(&self) -> usize {
        self.sums.len()
    }

    /// Whether it changes nothing.
    pub fn is_empty(&self) -> bool {
        self.sums.is_empty()
    }

    /// Adds to the logits (or log probabilities) of a whole vocabulary, unnormalized. O(len), but for a vocabulary where
    /// one token after the other from the first is impossible.
    ///
    /// # Errors
    /// [`Error::IndexOutOfRange`] for a token beyond the vocabulary; [`Error::AllVetoed`] if no token is left possible.
    /// Nothing is changed then.
    pub fn apply(&self, logits: &mut [f32]) -> Result<()> {
        self.check(logits.len())?;
        let vetoed: Vec<u32> =
            self.sums.iter().filter(|(_, sum)| *sum == f64::NEG_INFINITY).map(|(token, _)| *token).collect();
        if !vetoed.is_empty() {
            let mut vetoed = vetoed.iter().copied().peekable();
            let possible = (0_u32..)
                .zip(logits.iter())
                .any(|(token, logit)| vetoed.next_if_eq(&token).is_none() && *logit > f32::NEG_INFINITY);
            if !possible {
                return Err(Error::AllVetoed);
            }
        }
        for (token, sum) in &self.sums {
            let logit = &mut logits[*token as usize];
            *logit = (f64::from(*logit) + sum) as f32;
        }
        Ok(())
    }

    /// The distribution from log probabilities or logits of a whole vocabulary. O(vocabulary).
    ///
    /// # Errors
    /// Those of [`apply`](Self::apply); [`Error::NonFinite`] for NaN or +infinity.
    pub fn posterior(&self, log_p: &[f64]) -> Result<Vec<f64>> {
        self.check(log_p.len())?;
        check_logs(log_p)?;
        let mut logs = log_p.to_vec();
        for (token, sum) in &self.sums {
            logs[*token as usize] += sum;
        }
        let normalizer = log_sum_exp(&logs);
        if normalizer == f64::NEG_INFINITY {
            return Err(Error::AllVetoed);
        }
        Ok(logs.into_iter().map(|log| (log - normalizer).exp()).collect())
    }

    fn check(&self, vocabulary: usize) -> Result<()> {
        match self.sums.last() {
            Some((token, _)) if *token as usize >= vocabulary => {
                Err(Error::IndexOutOfRange { index: (*token).into(), size: vocabulary as u64 })
            }
            _ => Ok(()),
        }
    }
}

/// log of the sum of exponentials; -infinity for nothing.
fn log_sum_exp(logs: &[f64]) -> f64 {
    let max = logs.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    if max == f64::NEG_INFINITY {
        return max;
    }
    max + logs.iter().map(|log| (log - max).exp()).sum::<f64>().ln()
}

fn check_logs(logs: &[f64]) -> Result<()> {
    match logs.iter().position(|log| log.is_nan() || *log == f64::INFINITY) {
        Some(index) => Err(Error::NonFinite { index }),
        None => Ok(()),
    }
}

fn check_alpha(index: usize, alpha: f64) -> Result<()> {
    if (0.0..f64::INFINITY).contains(&alpha) { Ok(()) } else { Err(Error::NegativeAlpha { index }) }
}

/// alpha log phi, where a weight of 0 silences a veto too.
fn weighted(alpha: f64, log: f64, floor: f64) -> f64 {
    if alpha == 0.0 { 0.0 } else { alpha * log.max(floor) }
}
