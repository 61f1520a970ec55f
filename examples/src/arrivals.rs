//! When requests come and how long they are: a hidden Markov model fitted to public traces.
//!
//! A step of the model is a request, an observation its three [`FEATURES`]. The example `fit_arrivals` makes the embedded
//! file.

use hanzo::hmm::{GaussianDiag, Hmm};
use rand::{Rng, RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

use crate::trace::Request;

/// A model of requests, where it comes from, and how far it may reach.
///
/// ```
/// use hanzo_examples::arrivals::Arrivals;
///
/// let arrivals = Arrivals::embedded()?;
/// let requests = arrivals.generate(1000, 7);
/// assert_eq!(requests, arrivals.generate(1000, 7));
/// assert!(requests.is_sorted_by_key(|request| request.at_ms));
/// assert!(requests.iter().all(|request| request.tokens_in <= arrivals.limits().tokens_in));
/// # Ok::<(), hanzo_examples::arrivals::ArrivalsError>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct Arrivals {
    command: String,
    traces: Vec<Origin>,
    limits: Limits,
    model: Hmm<GaussianDiag>,
}

/// A trace that a model was fitted to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Origin {
    /// Name of the file, without folders.
    pub file: String,
    /// Requests in it.
    pub requests: usize,
    /// Who published it, where, and what to cite.
    pub source: String,
    /// Its licence.
    pub licence: String,
}

/// The largest values that are generated: those of the traces. The tails of a normal distribution reach further.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Limits {
    /// Milliseconds between requests.
    pub gap_ms: u64,
    /// Tokens of a prompt.
    pub tokens_in: u32,
    /// Tokens of an answer.
    pub tokens_out: u32,
}

/// Why a file is no arrival model.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ArrivalsError {
    /// Not the JSON of a model, or a model that `hanzo-hmm` refuses.
    #[error("not an arrival model: {reason}")]
    Json {
        /// Line, from 1; 0 where the whole value is wrong.
        line: usize,
        /// Column, from 1; 0 where the whole value is wrong.
        column: usize,
        /// What is wrong, with the place.
        reason: String,
    },
    /// A model of other features.
    #[error("the features are not `{}`", FEATURES.join("`, `"))]
    Features,
    /// A model of more or fewer features.
    #[error("an observation has {found} coordinates, not {}", FEATURES.len())]
    Coordinates {
        /// How many it has.
        found: usize,
    },
    /// A limit of 0 tokens.
    #[error("the limit of `{what}` is 0")]
    Limit {
        /// The limit.
        what: &'static str,
    },
}

impl Arrivals {
    /// The model of `examples/arrivals.json`.
    ///
    /// # Errors
    /// As for [`from_json`](Self::from_json); a test holds that there is none.
    pub fn embedded() -> Result<Self, ArrivalsError> {
        Self::from_json(EMBEDDED)
    }

    /// A model from parts.
    ///
    /// # Errors
    /// A model whose observations are not the three [`FEATURES`], or a limit of 0 tokens.
    pub fn new(
        model: Hmm<GaussianDiag>,
        limits: Limits,
        traces: Vec<Origin>,
        command: String,
    ) -> Result<Self, ArrivalsError> {
        if model.emission().dim() != FEATURES.len() {
            return Err(ArrivalsError::Coordinates { found: model.emission().dim() });
        }
        for (what, limit) in [("tokens_in", limits.tokens_in), ("tokens_out", limits.tokens_out)] {
            if limit == 0 {
                return Err(ArrivalsError::Limit { what });
            }
        }
        Ok(Self { command, traces, limits, model })
    }

    /// Reads what [`to_json`](Self::to_json) wrote.
    ///
    /// # Errors
    /// Text that is no such file, other features, or what [`new`](Self::new) refuses.
    pub fn from_json(text: &str) -> Result<Self, ArrivalsError> {
        let file: File = serde_json::from_str(text).map_err(ArrivalsError::json)?;
        if file.features != FEATURES {
            return Err(ArrivalsError::Features);
        }
        Self::new(file.model, file.limits, file.traces, file.command)
    }

    /// The file: indented, a row of numbers a line.
    ///
    /// # Errors
    /// None in practice; the type of `serde_json` cannot tell.
    pub fn to_json(&self) -> Result<String, ArrivalsError> {
        let file = File {
            command: self.command.clone(),
            traces: self.traces.clone(),
            features: FEATURES.map(String::from).to_vec(),
            limits: self.limits,
            model: self.model.clone(),
        };
        let mut text = serde_json::to_string_pretty(&file).map_err(ArrivalsError::json)?;
        text.push('\n');
        Ok(rows_on_lines(&text))
    }

    /// `n` requests; the first comes at 0 ms. Equal seeds give equal requests in one build; the `exp` of another platform
    /// may round differently.
    ///
    /// Features are turned back by `floor(e^y - 1)`, then kept between 1 token (0 ms) and the [`limits`](Self::limits).
    #[must_use]
    pub fn generate(&self, n: usize, seed: u64) -> Vec<Request> {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let mut at_ms: u64 = 0;
        let steps = self.model.sample(&mut rng, n).into_iter().enumerate();
        steps
            .map(|(i, (_, y))| {
                let count = |k: usize, least: u64, most: u64| {
                    // A float-to-integer `as` saturates: a huge draw becomes the limit, a negative one the least.
                    y.get(k).map_or(least, |y| (y.exp() - 1.0) as u64).clamp(least, most)
                };
                let tokens = |k: usize, most: u32| u32::try_from(count(k, 1, most.into())).unwrap_or(most);
                if i > 0 {
                    at_ms = at_ms.saturating_add(count(0, 0, self.limits.gap_ms));
                }
                Request {
                    at_ms,
                    tokens_in: tokens(1, self.limits.tokens_in),
                    tokens_out: tokens(2, self.limits.tokens_out),
                }
            })
            .collect()
    }

    /// The hidden Markov model.
    #[must_use]
    pub fn model(&self) -> &Hmm<GaussianDiag> {
        &self.model
    }

    /// The largest values that are generated.
    #[must_use]
    pub fn limits(&self) -> Limits {
        self.limits
    }

    /// The traces behind the model.
    #[must_use]
    pub fn traces(&self) -> &[Origin] {
        &self.traces
    }

    /// The command that made the file.
    #[must_use]
    pub fn command(&self) -> &str {
        &self.command
    }

    /// One line for whoever shows what was generated: sources and licences, each once.
    #[must_use]
    pub fn source(&self) -> String {
        let mut lines: Vec<String> = Vec::new();
        for trace in &self.traces {
            let line = format!("{} ({})", trace.source, trace.licence);
            if !lines.contains(&line) {
                lines.push(line);
            }
        }
        lines.join("; ")
    }
}

impl ArrivalsError {
    fn json(error: serde_json::Error) -> Self {
        Self::Json { line: error.line(), column: error.column(), reason: error.to_string() }
    }
}

/// The observations of a trace, three numbers a request, for [`Rows::with_missing`](hanzo::hmm::Rows::with_missing).
///
/// A count `x` becomes `ln(1 + x + u)` with `u` uniform in [0, 1). Without `u` the ties of a trace (equal times, prompts
/// cut at a limit) are point masses, and a state that sits on one has an unbounded density. With it the mean likelihood is
/// bounded by that of a model of the integers (Theis, van den Oord, Bethge, ICLR 2016), and rounding down takes `u` away.
///
/// The first gap is NaN, a missing value: nobody knows how long the first request was awaited.
pub fn features<R: Rng + ?Sized>(requests: &[Request], rng: &mut R) -> Vec<f64> {
    let mut previous = None;
    let mut rows = Vec::with_capacity(requests.len() * FEATURES.len());
    for request in requests {
        let gap = previous.map_or(f64::NAN, |at_ms| request.at_ms.saturating_sub(at_ms) as f64);
        previous = Some(request.at_ms);
        for count in [gap, request.tokens_in.into(), request.tokens_out.into()] {
            rows.push((1.0 + count + rng.random::<f64>()).ln());
        }
    }
    rows
}

/// The long-run share of each state: the transitions applied until nothing moves.
///
/// Each step averages the shares before and after: the fixed point is the same, and a periodic chain settles too.
#[must_use]
pub fn stationary(model: &Hmm<GaussianDiag>) -> Vec<f64> {
    let n = model.n_states();
    let mut share = vec![1.0 / n as f64; n];
    for _ in 0..MAX_STEPS {
        let mut next: Vec<f64> = share.iter().map(|p| 0.5 * p).collect();
        for (i, p) in share.iter().enumerate() {
            for (next, q) in next.iter_mut().zip(model.transitions().row(i)) {
                *next += 0.5 * p * q;
            }
        }
        let moved: f64 = next.iter().zip(&share).map(|(a, b)| (a - b).abs()).sum();
        share = next;
        if moved < 1e-14 {
            break;
        }
    }
    share
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    command: String,
    traces: Vec<Origin>,
    features: Vec<String>,
    limits: Limits,
    model: Hmm<GaussianDiag>,
}

/// Indented JSON with every array of plain numbers on one line.
fn rows_on_lines(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    // A string holds no line feed, so this opens an array.
    while let Some(open) = rest.find("[\n") {
        let (before, after) = rest.split_at(open + 1);
        out.push_str(before);
        rest = after;
        if let Some(end) = after.find(['[', '{', '"', ']']).filter(|end| after[*end..].starts_with(']')) {
            let items: Vec<&str> = after[..end].split(',').map(str::trim).collect();
            out.push_str(&items.join(", "));
            rest = &after[end..];
        }
    }
    out + rest
}

/// The features, in the order of the coordinates; [`features`] says what `u` is for.
pub const FEATURES: [&str; 3] =
    ["ln(1 + gap_ms + u)", "ln(1 + tokens_in + u)", "ln(1 + tokens_out + u), u uniform in [0, 1)"];

/// Ends a search in a chain that hardly mixes.
const MAX_STEPS: usize = 1_000_000;
const EMBEDDED: &str = include_str!("../arrivals.json");

#[cfg(test)]
mod tests {
    use hanzo::hmm::{Initial, Transitions};

    use super::*;

    /// Two states that nearly alternate.
    fn model(mean: f64) -> Hmm<GaussianDiag> {
        Hmm::new(
            Initial::Free(vec![1.0, 0.0]),
            Transitions::new(vec![vec![0.0, 1.0], vec![0.75, 0.25]]).unwrap(),
            GaussianDiag::new(vec![vec![mean; 3]; 2], vec![vec![1e-6; 3]; 2]).unwrap(),
        )
        .unwrap()
    }

    #[test]
    fn shares_are_stationary() {
        let share = stationary(&model(0.0));
        assert!((share[0] - 3.0 / 7.0).abs() < 1e-12 && (share[1] - 4.0 / 7.0).abs() < 1e-12);
    }

    #[test]
    fn features_and_back() {
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        let requests = [(0, 5, 0), (0, 7435, 1), (4_000_000, 1, 99)];
        let requests = requests.map(|(at_ms, tokens_in, tokens_out)| Request { at_ms, tokens_in, tokens_out });
        let rows = features(&requests, &mut rng);
        assert!(rows[0].is_nan());
        let back: Vec<u64> = rows[1..].iter().map(|y| (y.exp() - 1.0) as u64).collect();
        assert_eq!(back, [5, 0, 0, 7435, 1, 4_000_000, 1, 99]);
    }

    #[test]
    fn draws_beyond_the_range_are_cut() {
        let limits = Limits { gap_ms: 9, tokens_in: 7, tokens_out: 8 };
        let arrivals = |mean| Arrivals::new(model(mean), limits, Vec::new(), String::new()).unwrap();
        let last = |mean| *arrivals(mean).generate(3, 1).last().unwrap();
        assert_eq!(last(900.0), Request { at_ms: 18, tokens_in: 7, tokens_out: 8 });
        assert_eq!(last(-900.0), Request { at_ms: 0, tokens_in: 1, tokens_out: 1 });
    }
}
