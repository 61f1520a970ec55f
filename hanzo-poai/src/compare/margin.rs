//! Seeded-token margin: were these the tokens that the seed and the logits give?

use super::gumbel::GumbelSampler;
use super::{Comparator, Observation, Score};
use crate::error::{Error, Result};

/// Compares claimed tokens with re-computed logits (Token-DiFR, arXiv 2511.20621): for each token the margin of
/// [`GumbelSampler::margin`], clipped at 8 nats; the score is the mean. The reference is
/// [`Observation::Logits`], the claim [`Observation::Tokens`]. `O(V)` a token, less with a top-k filter.
///
/// ```
/// use hanzo_poai::{Comparator, GumbelSampler, JobId, JobSpec, Logits, Margin, ModelHash, Observation, TokenSampler};
///
/// let spec = JobSpec::builder(ModelHash::new([1; 32]), [2; 32])
///     .sampler(TokenSampler::GumbelV1).temperature_q16(1 << 16)
///     .build()?;
/// let sampler = GumbelSampler::new(&spec, &JobId::new([3; 32]).seed());
/// let row = [0.0, 2.0, 1.0, -1.0];
/// let drawn = (0..64).map(|position| sampler.sample(position, &row)).collect::<Result<Vec<u32>, _>>()?;
///
/// let logits = row.repeat(64);
/// let reference = Observation::Logits(Logits::new(&logits, 4)?);
/// let margin = Margin::new(sampler);
/// assert_eq!(margin.compare(&reference, &Observation::Tokens(&drawn))?.value(), 0.0);
/// assert!(margin.compare(&reference, &Observation::Tokens(&[3; 64]))?.value() > 0.0);
/// # Ok::<(), hanzo_poai::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct Margin {
    sampler: GumbelSampler,
    first_position: u32,
    least_tokens: usize,
}

impl Margin {
    /// The comparator of a job's sampler, over at least 64 tokens from position 0 on.
    pub const fn new(sampler: GumbelSampler) -> Self {
        Self { sampler, first_position: 0, least_tokens: 64 }
    }

    /// The position of the first token compared.
    #[must_use]
    pub fn first_position(self, first_position: u32) -> Self {
        Self { first_position, ..self }
    }

    /// Fewest tokens that give a verdict. A mean over fewer is noisier than the thresholds allow for:
    /// calibrate with the same number.
    #[must_use]
    pub fn least_tokens(self, least_tokens: usize) -> Self {
        Self { least_tokens, ..self }
    }
}

impl Comparator for Margin {
    fn compare(&self, reference: &Observation<'_>, claimed: &Observation<'_>) -> Result<Score> {
        let (Observation::Logits(logits), Observation::Tokens(tokens)) = (reference, claimed) else {
            return Err(Error::ShapeMismatch { want: reference.len(), got: claimed.len() });
        };
        if logits.rows().len() != tokens.len() {
            return Err(Error::ShapeMismatch { want: logits.rows().len() as u64, got: tokens.len() as u64 });
        }
        if tokens.len() < self.least_tokens.max(1) {
            let (need, got) = (self.least_tokens as u64, tokens.len() as u64);
            return Err(Error::TooFewTokens { need, got });
        }
        let mut sum = 0.0;
        let (mut off, mut first) = (0u64, None);
        for ((row, token), index) in logits.rows().zip(*tokens).zip(0u32..) {
            let position = self.first_position.checked_add(index).ok_or(Error::Overflow)?;
            let margin = self.sampler.margin(position, row, *token)?.min(CLIP);
            sum += margin;
            if margin > 0.0 {
                off += 1;
                first = first.or(Some(index.into()));
            }
        }
        Ok(Score { value: sum / tokens.len() as f64, violations: off, first })
    }
}

const CLIP: f64 = 8.0;
