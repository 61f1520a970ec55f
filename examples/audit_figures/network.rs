//! A trained network, run in several element types and orders of summation, honestly and with rounded weights.

use std::path::Path;

use hanzo_poai::{
    Comparator as _, ElementWise, Fingerprint, FingerprintDistance, GumbelSampler, JobId, JobSpec, Kl, Logits, Margin,
    ModelHash, Observation, TokenSampler, TopK,
};
use rand::{RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;
use safetensors::{Dtype, SafeTensors};

use crate::Result;
use crate::curves::Measured;

/// Layers of weights with biases, ReLU between them, and inputs to run it on.
pub(crate) struct Network {
    layers: Vec<(Vec<f32>, Vec<f32>)>,
    inputs: Vec<Vec<f32>>,
}

/// Element type of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    F32,
    F16,
    Bf16,
}

impl Network {
    /// Reads `fine.N.weight`, `fine.N.bias` for N = 0, 1, .. and `x_test`, all f32.
    pub(crate) fn read(path: &Path) -> Result<Self> {
        let bytes = std::fs::read(path).map_err(|error| format!("{}: {error}", path.display()))?;
        let file = SafeTensors::deserialize(&bytes).map_err(|error| format!("{}: {error}", path.display()))?;
        let tensor = |name: &str| -> Option<(Vec<usize>, Vec<f32>)> {
            let view = file.tensor(name).ok().filter(|view| view.dtype() == Dtype::F32)?;
            let values = view.data().as_chunks::<4>().0.iter().map(|raw| f32::from_le_bytes(*raw)).collect();
            Some((view.shape().to_vec(), values))
        };
        let mut layers = Vec::new();
        while let (Some((_, weight)), Some((_, bias))) =
            (tensor(&format!("fine.{}.weight", layers.len())), tensor(&format!("fine.{}.bias", layers.len())))
        {
            layers.push((weight, bias));
        }
        let (shape, inputs) = tensor("x_test").ok_or_else(|| format!("{}: no x_test", path.display()))?;
        let width = *shape
            .get(1)
            .filter(|width| **width > 0)
            .ok_or_else(|| format!("{}: x_test is no matrix", path.display()))?;
        let fits = layers.iter().try_fold(width, |width, (weight, bias)| {
            (!bias.is_empty() && weight.len() == width * bias.len()).then_some(bias.len())
        });
        if layers.len() < 2 || fits.is_none() || inputs.len() < 64 * width {
            return Err(format!("{}: no network of two layers or more with 64 inputs", path.display()).into());
        }
        Ok(Self { layers, inputs: inputs.chunks(width).map(<[f32]>::to_vec).collect() })
    }

    /// Logits and last hidden state of every input.
    fn run(&self, kind: Kind, block: usize, bits: Option<u32>) -> Vec<(Vec<f32>, Vec<f32>)> {
        let layers: Vec<(Vec<f32>, &[f32])> = self
            .layers
            .iter()
            .map(|(weight, bias)| (rounded(weight, bits).iter().map(|w| kind.round(*w)).collect(), bias.as_slice()))
            .collect();
        self.inputs
            .iter()
            .map(|input| {
                let (mut x, mut hidden) = (input.clone(), Vec::new());
                for (at, (weight, bias)) in layers.iter().enumerate() {
                    let width = x.len();
                    let y = weight.chunks(width).zip(*bias).map(|(row, bias)| {
                        let parts = row.chunks(block).zip(x.chunks(block));
                        let sum = parts.fold(0.0, |sum: f32, (row, x)| {
                            kind.round(sum + row.iter().zip(x).map(|(w, x)| w * x).sum::<f32>())
                        });
                        kind.round(sum + bias)
                    });
                    let y: Vec<f32> = if at + 1 < layers.len() { y.map(|y| y.max(0.0)).collect() } else { y.collect() };
                    hidden = std::mem::replace(&mut x, y);
                }
                (x, hidden)
            })
            .collect()
    }
}

impl Kind {
    fn round(self, value: f32) -> f32 {
        match self {
            Self::F32 => value,
            Self::Bf16 => {
                let bits = value.to_bits();
                f32::from_bits((bits + 0x7fff + (bits >> 16 & 1)) & 0xffff_0000)
            }
            // Eleven bits of significand; the values of this network are far from both ends of the range.
            Self::F16 => {
                let bits = value.to_bits();
                f32::from_bits((bits + 0x0fff + (bits >> 13 & 1)) & 0xffff_e000)
            }
        }
    }

    const fn name(self) -> &'static str {
        match self {
            Self::F32 => "f32",
            Self::F16 => "f16",
            Self::Bf16 => "bf16",
        }
    }
}

/// Weights in so many bits, one scale for each 32 of them.
fn rounded(weight: &[f32], bits: Option<u32>) -> Vec<f32> {
    let Some(bits) = bits else { return weight.to_vec() };
    let levels = ((1u32 << (bits - 1)) - 1) as f32;
    weight
        .chunks(32)
        .flat_map(|group| {
            let scale = group.iter().fold(0.0f32, |top, w| top.max(w.abs())) / levels;
            group.iter().map(move |w| if scale > 0.0 { (w / scale).round() * scale } else { 0.0 }).collect::<Vec<_>>()
        })
        .collect()
}

/// A response of this many inputs, drawn with replacement.
const TOKENS: usize = 32;
const RESPONSES: usize = 300;

/// Every comparator in every element type: two honest orders of summation and three roundings of the weights against the
/// reference order.
pub(crate) fn measure(network: &Network, seed: u64) -> Result<Vec<Measured>> {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let responses: Vec<Vec<usize>> =
        (0..RESPONSES).map(|_| (0..TOKENS).map(|_| rng.random_range(0..network.inputs.len())).collect()).collect();
    let spec = JobSpec::builder(ModelHash::new([1; 32]), [2; 32])
        .sampler(TokenSampler::GumbelV1)
        .temperature_q16(1 << 16)
        .build()?;
    let mut all = Vec::new();
    for kind in [Kind::F32, Kind::F16, Kind::Bf16] {
        let reference = network.run(kind, 512, None);
        let mut measured: Vec<Measured> = ["element-wise", "fingerprint", "margin", "KL", "KL of top 4"]
            .map(|name| Measured { name: format!("{name}, {}", kind.name()), honest: Vec::new(), cheats: Vec::new() })
            .into();
        let runs =
            [("", 32, None), ("", 24, None), ("int8", 512, Some(8)), ("int6", 512, Some(6)), ("int4", 512, Some(4))];
        for (cheat, block, bits) in runs {
            let claimed = network.run(kind, block, bits);
            for (number, response) in responses.iter().enumerate() {
                let job = JobId::new([number as u8; 32]);
                let scores = scores(&reference, &claimed, response, &GumbelSampler::new(&spec, &job.seed()), &job)?;
                for (measured, score) in measured.iter_mut().zip(scores) {
                    if cheat.is_empty() {
                        measured.honest.push(score);
                        continue;
                    }
                    match measured.cheats.iter_mut().find(|(name, _)| name == cheat) {
                        Some((_, scores)) => scores.push(score),
                        None => measured.cheats.push((cheat.into(), vec![score])),
                    }
                }
            }
        }
        all.extend(measured);
    }
    Ok(all)
}

/// The scores of one response, comparator by comparator.
fn scores(
    reference: &[(Vec<f32>, Vec<f32>)],
    claimed: &[(Vec<f32>, Vec<f32>)],
    response: &[usize],
    sampler: &GumbelSampler,
    job: &JobId,
) -> Result<[f64; 5]> {
    let classes = reference.first().map_or(0, |(logits, _)| logits.len());
    let logits =
        |run: &[(Vec<f32>, Vec<f32>)]| -> Vec<f32> { response.iter().flat_map(|at| run[*at].0.clone()).collect() };
    let (a, b) = (logits(reference), logits(claimed));
    let (want, got) = (Logits::new(&a, classes)?, Logits::new(&b, classes)?);
    let tokens =
        (0u32..).zip(got.rows()).map(|(at, row)| sampler.sample(at, row)).collect::<hanzo_poai::Result<Vec<_>>>()?;
    let top = TopK::from_logits(&got, 4)?;
    // One window: the state of its last token.
    let last = response.last().copied().unwrap_or(0);
    let print = |run: &[(Vec<f32>, Vec<f32>)]| Fingerprint::new(&job.seed(), &run[last].1, run[last].1.len());
    let near = ElementWise::new(1e-4, 0.0)?.compare(&Observation::F32(&a), &Observation::F32(&b))?;
    let far = FingerprintDistance
        .compare(&Observation::Fingerprint(&print(reference)?), &Observation::Fingerprint(&print(claimed)?))?;
    let margin = Margin::new(sampler.clone())
        .least_tokens(TOKENS)
        .compare(&Observation::Logits(want), &Observation::Tokens(&tokens))?;
    let kl = Kl::new().compare(&Observation::Logits(want), &Observation::Logits(got))?;
    let lumped = Kl::new().compare(&Observation::Logits(want), &Observation::TopK(&top))?;
    Ok([near, far, margin, kl, lumped].map(|score| score.value()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rounding_keeps_the_ends_and_loses_bits() {
        let weight: Vec<f32> = (0..64).map(|i| (i as f32 - 31.5) / 31.5).collect();
        let error =
            |bits| rounded(&weight, Some(bits)).iter().zip(&weight).fold(0.0f32, |top, (a, b)| top.max((a - b).abs()));
        assert_eq!(rounded(&weight, None), weight);
        assert!(error(8) < 0.005 && error(4) > 0.02 && error(4) < 0.08);
        assert_eq!(Kind::Bf16.round(1.0 + 1.0 / 512.0), 1.0);
        assert_eq!(Kind::F16.round(1.0 + 1.0 / 1_024.0), 1.0 + 1.0 / 1_024.0);
    }
}
