//! The models on offer.

use crate::{Error, Result};

/// A model on offer: what it costs, needs and can do.
///
/// Speed, latency and quality are what is expected before anything has been observed. A catalogue holds 1 to 1,024 models; what is outside the
/// ranges of the fields is refused, as `InvalidConfig`, when a market maker is built.
#[derive(Debug, Clone, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(deny_unknown_fields))]
pub struct ModelSpec {
    /// Name of the model, not empty, unique in a catalogue.
    pub id: String,
    /// Key of the model in quotes, not all zeros, unique in a catalogue.
    pub key: [u8; 32],
    /// Dollars for 1,000 input tokens, in [0, 10^6].
    pub input_usd_per_1k: f64,
    /// Dollars for 1,000 output tokens, in [0, 10^6]; the reference of the model's price.
    pub output_usd_per_1k: f64,
    /// Memory in GB, in (0, 10^12].
    pub memory_gb: f64,
    /// Output tokens a second, in (0, 10^12]. It is not learned.
    pub tokens_per_second: f64,
    /// Expected latency of a whole answer in milliseconds, in (0, 10^12]; it counts as four observations.
    pub latency_ms: f64,
    /// Prior mean quality in [0, 1].
    pub quality: f64,
    /// Tokens that input and output may have together, at least 1.
    pub context_tokens: u64,
    /// Whether it takes images.
    pub vision: bool,
    /// Whether it can call functions.
    pub function_calling: bool,
}

impl ModelSpec {
    /// A model with one price for input and output and middling properties: 1 GB, 50 tokens a second, 500 ms, quality 0.5, 32,768 tokens of
    /// context, function calling but no vision. Change the fields that differ.
    ///
    /// The key is the name padded with zeros; a name of more than 32 bytes gets a key of zeros, which no catalogue takes: give it one of your own.
    pub fn new(id: impl Into<String>, usd_per_1k: f64) -> Self {
        let id = id.into();
        let mut key = [0; 32];
        if let Some(head) = key.get_mut(..id.len()) {
            head.copy_from_slice(id.as_bytes());
        }
        Self {
            id,
            key,
            input_usd_per_1k: usd_per_1k,
            output_usd_per_1k: usd_per_1k,
            memory_gb: 1.0,
            tokens_per_second: 50.0,
            latency_ms: 500.0,
            quality: 0.5,
            context_tokens: 32_768,
            vision: false,
            function_calling: true,
        }
    }
}

/// Number format of the weights, which decides the memory a model needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Precision {
    /// 4 bits a weight.
    FourBit,
    /// 16-bit floats.
    Fp16,
}

/// The six models of the default configuration: Qwen3-4B, 7B, 14B, 32B, 72B and DeepSeek-V3.
///
/// Prices are read as dollars for 1,000 tokens. The price of the 14B model, and all speeds, latencies and qualities, are guesses.
pub fn default_catalogue(precision: Precision) -> Vec<ModelSpec> {
    DEFAULTS
        .iter()
        .map(|&(id, four_bit, fp16, usd, speed, latency_ms, quality)| ModelSpec {
            memory_gb: match precision {
                Precision::FourBit => four_bit,
                Precision::Fp16 => fp16,
            },
            tokens_per_second: speed,
            latency_ms,
            quality,
            ..ModelSpec::new(id, usd)
        })
        .collect()
}

/// Checks a catalogue: not empty, names and keys unique, every number in its range.
pub(crate) fn check(models: &[ModelSpec]) -> Result<()> {
    let bad = |field| Err(Error::InvalidConfig { field });
    if models.is_empty() || models.len() > MAX_MODELS {
        return bad("models");
    }
    for (i, m) in models.iter().enumerate() {
        if m.id.is_empty() || models[..i].iter().any(|other| other.id == m.id) {
            return bad("models.id");
        }
        if m.key == [0; 32] || models[..i].iter().any(|other| other.key == m.key) {
            return bad("models.key");
        }
        let price = 0.0..=MAX_USD_PER_1K;
        if !(price.contains(&m.input_usd_per_1k) && price.contains(&m.output_usd_per_1k)) {
            return bad("models.usd_per_1k");
        }
        let positive = |v: f64| v > 0.0 && v <= MAX_PROPERTY;
        if !positive(m.memory_gb) {
            return bad("models.memory_gb");
        }
        if !positive(m.tokens_per_second) {
            return bad("models.tokens_per_second");
        }
        if !positive(m.latency_ms) {
            return bad("models.latency_ms");
        }
        if !(0.0..=1.0).contains(&m.quality) {
            return bad("models.quality");
        }
        if m.context_tokens == 0 {
            return bad("models.context_tokens");
        }
    }
    Ok(())
}

/// Name, memory at 4 and at 16 bits, dollars for 1,000 tokens, tokens a second, latency, quality.
const DEFAULTS: [(&str, f64, f64, f64, f64, f64, f64); 6] = [
    ("Qwen3-4B", 3.0, 8.0, 0.005, 120.0, 250.0, 0.55),
    ("Qwen3-7B", 5.0, 14.0, 0.010, 100.0, 300.0, 0.62),
    ("Qwen3-14B", 9.0, 28.0, 0.015, 70.0, 400.0, 0.68),
    ("Qwen3-32B", 18.0, 64.0, 0.025, 45.0, 600.0, 0.76),
    ("Qwen3-72B", 38.0, 144.0, 0.050, 30.0, 900.0, 0.80),
    ("DeepSeek-V3", 350.0, 1_342.0, 0.250, 25.0, 1_200.0, 0.85),
];
const MAX_MODELS: usize = 1_024;
const MAX_USD_PER_1K: f64 = 1e6;
const MAX_PROPERTY: f64 = 1e12;
