use serde::Serialize;

use super::{Domain, Text};
use crate::{Error, Result, json};

/// What an author gives for a new experience; checked when it becomes [`Content`](crate::Content).
#[derive(Debug, Clone, PartialEq)]
pub struct Draft {
    /// The lesson.
    pub text: Text,
    /// The domain it belongs to.
    pub domain: Domain,
    /// The author: 1..=128 bytes of printable ASCII.
    pub created_by: String,
    /// The model that learned it: at most 128 bytes of printable ASCII; empty if a person wrote it.
    pub model: String,
    /// Unix seconds, at most 253,402,300,799.
    pub created_at: u64,
    /// Confidence, 0..=1,000,000 parts per million.
    pub confidence_ppm: u32,
    /// At most eight examples.
    pub examples: Vec<Example>,
    /// Embedding of the text by the encoder of the library, if there is one. Not part of the content.
    pub vector: Option<Vec<f32>>,
}

impl Draft {
    /// A draft by a person, with confidence 500,000 ppm and no examples.
    pub fn new(text: Text, domain: Domain, created_by: impl Into<String>, created_at: u64) -> Self {
        Self {
            text,
            domain,
            created_by: created_by.into(),
            model: String::new(),
            created_at,
            confidence_ppm: 500_000,
            examples: Vec::new(),
            vector: None,
        }
    }

    /// Names the model that learned the lesson.
    pub fn model(mut self, model: impl Into<String>) -> Self {
        self.model = model.into();
        self
    }

    /// Sets the confidence, in parts per million.
    pub fn confidence_ppm(mut self, ppm: u32) -> Self {
        self.confidence_ppm = ppm;
        self
    }

    /// Adds an example.
    pub fn example(mut self, input: impl Into<String>, output: impl Into<String>) -> Self {
        self.examples.push(Example { input: input.into(), output: output.into() });
        self
    }

    /// Attaches the embedding of the text.
    pub fn vector(mut self, vector: Vec<f32>) -> Self {
        self.vector = Some(vector);
        self
    }
}

json::shape! {
    /// An example of the lesson: each side at most 1024 bytes, no control characters but tab and line feed.
    #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
    pub struct Example {
        /// What was asked.
        pub input: String,
        /// What to answer.
        pub output: String,
    }
}

impl Example {
    /// Largest number of bytes a side.
    pub const MAX_BYTES: usize = 1024;

    pub(super) fn check(&self) -> Result<()> {
        for side in [&self.input, &self.output] {
            if side.len() > Self::MAX_BYTES {
                return Err(Error::TooManyBytes { got: side.len(), max: Self::MAX_BYTES });
            }
            let forbidden = |ch: &char| ch.is_control() && !matches!(ch, '\n' | '\t');
            if let Some(ch) = side.chars().find(forbidden) {
                return Err(Error::ForbiddenChar { ch });
            }
        }
        Ok(())
    }
}
