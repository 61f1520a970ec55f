//! `gumbel-v1`: tokens drawn from logits with noise that follows from the job's seed alone.

use alloc::vec::Vec;

use super::logits::{all_finite, any_above};
use crate::error::{Error, Result};
use crate::hash::{Seed, Tag};
use crate::job_spec::{JobSpec, TokenSampler};

/// The sampler of a job. The same seed, position and logits give the same token on every machine, so a
/// verifier with logits of its own can say how far off a claimed token is.
///
/// Filters in this order: temperature, top-k, top-p (on the sorted probabilities, the smallest prefix that
/// reaches p); among the tokens left the largest `l_v + T G_v` wins. Scores within 1e-9 count as a tie, which
/// the lower id wins, so the logarithm in use does not matter. Greedy is the case `T = 0`.
///
/// ```
/// use hanzo_poai::{GumbelSampler, JobId, JobSpec, ModelHash, TokenSampler};
///
/// let spec = JobSpec::builder(ModelHash::new([1; 32]), [2; 32])
///     .sampler(TokenSampler::GumbelV1).temperature_q16(1 << 16).top_k(2).build()?;
/// let sampler = GumbelSampler::new(&spec, &JobId::new([3; 32]).seed());
/// let token = sampler.sample(0, &[0.1, 2.0, 1.9, -3.0])?;
/// assert!(token == 1 || token == 2);
/// assert_eq!(sampler.margin(0, &[0.1, 2.0, 1.9, -3.0], token)?, 0.0);
/// # Ok::<(), hanzo_poai::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct GumbelSampler {
    key: Tag,
    temperature: f64,
    top_k: u32,
    top_p: Option<f64>,
}

impl GumbelSampler {
    /// The sampler of a spec and a seed.
    pub fn new(spec: &JobSpec, seed: &Seed) -> Self {
        let temperature = match spec.sampler() {
            TokenSampler::Greedy => 0.0,
            TokenSampler::GumbelV1 => f64::from(spec.temperature_q16()) / 65_536.0,
        };
        let top_p = (spec.top_p_q32() != u32::MAX).then(|| f64::from(spec.top_p_q32()) / 4_294_967_296.0);
        Self { key: Tag::keyed(seed.as_bytes()), temperature, top_k: spec.top_k(), top_p }
    }

    /// The 64 random bits of a token at a position: bytes `8 (v mod 4)..` of `K(seed, t || v / 4)`.
    pub fn word(&self, position: u32, token: u32) -> u64 {
        Words::default().get(&self.key, position, token)
    }

    /// The Gumbel noise of a token: `-ln(-ln U)` with `U = ((word >> 11) + 1/2) 2^-53`.
    pub fn noise(&self, position: u32, token: u32) -> f64 {
        gumbel(self.word(position, token))
    }

    /// Draws the token of a position.
    ///
    /// # Errors
    /// [`Error::NonFinite`] for logits that are NaN or infinite; [`Error::ShapeMismatch`] for none or more
    /// than 2^32.
    pub fn sample(&self, position: u32, logits: &[f32]) -> Result<u32> {
        let scores = self.scores(position, logits)?;
        let best = scores.iter().fold(f64::NEG_INFINITY, |best, (_, score)| best.max(*score));
        let first = scores.iter().filter(|(_, score)| *score >= best - TIE).map(|(token, _)| *token).min();
        first.ok_or(Error::ShapeMismatch { want: 1, got: 0 })
    }

    /// How far the claimed token is from being drawn, in nats: the best score less its own, 0 within a tie,
    /// infinite for a token that the filters drop.
    ///
    /// # Errors
    /// Those of [`GumbelSampler::sample`]; [`Error::ShapeMismatch`] for a token outside the vocabulary.
    pub fn margin(&self, position: u32, logits: &[f32], claimed: u32) -> Result<f64> {
        if claimed as usize >= logits.len() {
            return Err(Error::ShapeMismatch { want: logits.len() as u64, got: claimed.into() });
        }
        let scores = self.scores(position, logits)?;
        let best = scores.iter().fold(f64::NEG_INFINITY, |best, (_, score)| best.max(*score));
        let own = scores.iter().find(|(token, _)| *token == claimed).map_or(f64::NEG_INFINITY, |(_, score)| *score);
        let margin = best - own;
        Ok(if margin <= TIE { 0.0 } else { margin })
    }

    /// Tokens that pass the filters, with `l_v + T G_v`.
    fn scores(&self, position: u32, logits: &[f32]) -> Result<Vec<(u32, f64)>> {
        let count = u32::try_from(logits.len()).map_err(|_| shape(logits))?;
        if count == 0 {
            return Err(shape(logits));
        }
        if self.temperature == 0.0 {
            check_finite(logits)?;
            // No filter drops the largest logit.
            return Ok(logits.iter().zip(0u32..).map(|(logit, token)| (token, (*logit).into())).collect());
        }
        let kept = self.filtered(logits, count)?;
        let mut words = Words::default();
        Ok(kept
            .into_iter()
            .map(|(token, logit)| {
                (token, f64::from(logit) + self.temperature * gumbel(words.get(&self.key, position, token)))
            })
            .collect())
    }

    /// Top-k, then top-p. In ascending order of the token where neither is on.
    fn filtered(&self, logits: &[f32], count: u32) -> Result<Vec<(u32, f32)>> {
        let k = if self.top_k == 0 { count } else { self.top_k.min(count) };
        if k == count && self.top_p.is_none() {
            check_finite(logits)?;
            return Ok((0..count).zip(logits.iter().copied()).collect());
        }
        let mut kept = if k < count {
            largest(logits, k as usize)?
        } else {
            check_finite(logits)?;
            sorted((0..count).zip(logits.iter().map(|logit| logit + 0.0)).collect())
        };
        if let Some(p) = self.top_p {
            let top = kept.first().map_or(0.0, |(_, logit)| f64::from(*logit));
            let weight = |logit: f32| libm::exp((f64::from(logit) - top) / self.temperature);
            let total: f64 = kept.iter().map(|(_, logit)| weight(*logit)).sum();
            let mut below = 0.0;
            let len = kept
                .iter()
                .take_while(|(_, logit)| {
                    let before = below < p * total;
                    below += weight(*logit);
                    before
                })
                .count();
            kept.truncate(len.max(1));
        }
        Ok(kept)
    }
}

/// Four tokens share one hash.
#[derive(Default)]
struct Words {
    at: Option<(u32, u32)>,
    hash: [u8; 32],
}

impl Words {
    fn get(&mut self, key: &Tag, position: u32, token: u32) -> u64 {
        let place = (position, token / 4);
        if self.at != Some(place) {
            self.hash = key.hash(&[&position.to_be_bytes(), &place.1.to_be_bytes()]);
            self.at = Some(place);
        }
        let at = 8 * (token % 4) as usize;
        self.hash.get(at..at + 8).and_then(|bytes| bytes.first_chunk()).map_or(0, |bytes| u64::from_be_bytes(*bytes))
    }
}

fn gumbel(word: u64) -> f64 {
    // 53 bits and a half: exact in f64, inside (0, 1).
    let uniform = ((word >> 11) as f64 + 0.5) * (1.0 / 9_007_199_254_740_992.0);
    -libm::log(-libm::log(uniform))
}

/// Descending logit, ascending token.
fn sorted(mut tokens: Vec<(u32, f32)>) -> Vec<(u32, f32)> {
    tokens.sort_unstable_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
    tokens
}

/// The `k` largest logits, the lower token first among equals; sorted. Blocks whose largest logit does not
/// reach the k-th so far are skipped whole, once all in them is known to be finite.
fn largest(logits: &[f32], k: usize) -> Result<Vec<(u32, f32)>> {
    const BLOCK: usize = 128;
    let mut kept: Vec<(u32, f32)> = Vec::with_capacity(2 * k + BLOCK);
    let mut threshold = f32::NEG_INFINITY;
    for (block, first) in logits.chunks(BLOCK).zip((0u32..).step_by(BLOCK)) {
        let above = any_above(block, threshold).ok_or(Error::NonFinite)?;
        if kept.len() >= k && !above {
            continue;
        }
        // Equal to the threshold loses to a lower token, which is in already.
        kept.extend(
            (first..).zip(block.iter().map(|logit| logit + 0.0)).filter(|(_, logit)| kept_enough(threshold, *logit)),
        );
        if kept.len() >= 2 * k {
            kept = sorted(kept);
            kept.truncate(k);
            threshold = kept.last().map_or(threshold, |(_, logit)| *logit);
        }
    }
    let mut kept = sorted(kept);
    kept.truncate(k);
    Ok(kept)
}

fn check_finite(logits: &[f32]) -> Result<()> {
    if all_finite(logits) { Ok(()) } else { Err(Error::NonFinite) }
}

fn kept_enough(threshold: f32, logit: f32) -> bool {
    logit > threshold || threshold == f32::NEG_INFINITY
}

const fn shape(logits: &[f32]) -> Error {
    Error::ShapeMismatch { want: 1, got: logits.len() as u64 }
}

/// Scores this close count as equal.
const TIE: f64 = 1e-9;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hash::{JobId, ModelHash};

    fn sampler(top_k: u32, top_p_q32: u32) -> GumbelSampler {
        let spec = JobSpec::builder(ModelHash::new([1; 32]), [2; 32])
            .sampler(TokenSampler::GumbelV1)
            .temperature_q16(1 << 15)
            .top_k(top_k)
            .top_p_q32(top_p_q32)
            .build()
            .unwrap();
        GumbelSampler::new(&spec, &JobId::new([3; 32]).seed())
    }

    /// Logits with many ties, from a small generator.
    fn logits(count: usize, seed: u64) -> Vec<f32> {
        let mut state = seed;
        (0..count)
            .map(|_| {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                ((state >> 58) as f32) / 8.0
            })
            .collect()
    }

    #[test]
    fn the_fast_top_k_is_the_sorted_one() {
        for (count, k) in [(1, 1), (63, 5), (64, 64), (1_000, 1), (1_000, 40), (1_000, 999), (5_000, 700)] {
            for seed in 0..5 {
                let logits = logits(count, seed);
                let all = sorted((0u32..).zip(logits.iter().copied()).collect());
                assert_eq!(largest(&logits, k).unwrap(), all[..k], "{count} {k}");
            }
        }
    }

    #[test]
    fn top_p_keeps_the_smallest_prefix_that_reaches_it() {
        // Probabilities 1/2, 1/4, 1/4 at temperature 1/2.
        let logits = [0.0, 0.5 * core::f32::consts::LN_2, 0.0];
        let kept = |p: f64| -> Vec<u32> {
            let sampler = sampler(0, (p * 4_294_967_296.0) as u32);
            sampler.filtered(&logits, 3).unwrap().into_iter().map(|(token, _)| token).collect()
        };
        assert_eq!(kept(0.0), [1]);
        assert_eq!(kept(0.45), [1]);
        assert_eq!(kept(0.55), [1, 0]);
        assert_eq!(kept(0.8), [1, 0, 2]);
    }

    #[test]
    fn draws_follow_the_softmax() {
        let plain = sampler(0, u32::MAX);
        // At temperature 1/2 the odds are 1 : e^1.
        let drawn: u32 = (0..20_000).map(|t| plain.sample(t, &[0.0, 0.5]).unwrap()).sum();
        let want = 20_000.0 * libm::exp(1.0) / (1.0 + libm::exp(1.0));
        assert!((f64::from(drawn) - want).abs() < 6.0 * libm::sqrt(20_000.0 * 0.2), "{drawn} {want}");
    }

    #[test]
    fn bad_logits_are_refused() {
        let plain = sampler(0, u32::MAX);
        assert_eq!(plain.sample(0, &[]), Err(Error::ShapeMismatch { want: 1, got: 0 }));
        for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            for sampler in [&plain, &sampler(1, u32::MAX), &sampler(0, 1 << 31), &sampler(2, 1 << 31)] {
                assert_eq!(sampler.sample(0, &[1.0, bad]), Err(Error::NonFinite));
                let row = [&[1.0; 600][..], &[bad]].concat();
                assert_eq!(sampler.sample(0, &row), Err(Error::NonFinite));
            }
        }
        assert!(plain.sample(0, &[f32::MAX, f32::MAX]).is_ok());
        assert_eq!(plain.margin(0, &[1.0], 1), Err(Error::ShapeMismatch { want: 1, got: 1 }));
        assert_eq!(sampler(1, u32::MAX).margin(0, &[1.0, 2.0], 0), Ok(f64::INFINITY));
    }
}
