use core::future::Future;

use sha2::{Digest, Sha256};

use crate::merkle::Hash;

/// What a prompt is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Stage {
    /// An attempt at a question, by the caller.
    Rollout,
    /// An attempt at a question held out, by the caller.
    Evaluate,
    /// What one attempt did and where it went wrong.
    Summarize,
    /// Why the better attempts of a group won, as operations.
    Extract,
    /// One list of operations from those of all groups.
    Consolidate,
}

impl Stage {
    /// Its name, in lower case.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Rollout => "rollout",
            Self::Evaluate => "evaluate",
            Self::Summarize => "summarize",
            Self::Extract => "extract",
            Self::Consolidate => "consolidate",
        }
    }
}

/// A question to a model.
#[derive(Debug, Clone, PartialEq)]
pub struct Prompt {
    /// What it is for.
    pub stage: Stage,
    /// What the model is told to be and do; holds no data.
    pub system: String,
    /// What it is asked; data stand between [fences](crate::fence).
    pub user: String,
    /// Sampling temperature.
    pub temperature: f32,
}

impl Prompt {
    /// SHA-256 over stage, temperature, and both texts with their lengths: equal for equal prompts alone.
    pub fn digest(&self) -> Hash {
        let mut hasher = Sha256::new().chain_update(b"hanzo.experience.prompt.v1\0");
        for text in [self.stage.as_str(), &self.system, &self.user] {
            hasher.update((text.len() as u64).to_be_bytes());
            hasher.update(text);
        }
        hasher.update(self.temperature.to_be_bytes());
        Hash::from_bytes(hasher.finalize().into())
    }
}

/// A model's reply, and what it cost.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Completion {
    /// The text.
    pub text: String,
    /// Tokens read.
    pub prompt_tokens: u64,
    /// Tokens written.
    pub completion_tokens: u64,
}

impl Completion {
    /// A reply that says nothing about tokens.
    pub fn new(text: impl Into<String>) -> Self {
        Self { text: text.into(), prompt_tokens: 0, completion_tokens: 0 }
    }
}

/// A language model. Any `FnMut(&Prompt) -> Result<Completion, E>` is one.
pub trait Llm {
    /// Why a call failed.
    type Error;

    /// Answers a prompt.
    ///
    /// # Errors
    /// Whatever the model reports.
    fn complete(&mut self, prompt: &Prompt) -> Result<Completion, Self::Error>;

    /// Whether further calls make no sense: a spent budget, a refused key. The run then ends, with the library as it was
    /// before the batch; after other errors it goes on without that reply.
    fn is_fatal(&self, _error: &Self::Error) -> bool {
        false
    }
}

impl<E, F: FnMut(&Prompt) -> Result<Completion, E>> Llm for F {
    type Error = E;

    fn complete(&mut self, prompt: &Prompt) -> Result<Completion, E> {
        self(prompt)
    }
}

/// As [`Llm`], for callers with an asynchronous client.
pub trait AsyncLlm {
    /// Why a call failed.
    type Error;

    /// Answers a prompt.
    fn complete(&mut self, prompt: &Prompt) -> impl Future<Output = Result<Completion, Self::Error>> + Send;

    /// As [`Llm::is_fatal`].
    fn is_fatal(&self, _error: &Self::Error) -> bool {
        false
    }
}
