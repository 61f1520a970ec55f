//! Models around models: a budget, further attempts, a record of replies.

use core::future::Future;
use std::collections::{BTreeMap, VecDeque};

use serde::Serialize;

use super::{AsyncLlm, Completion, Llm, Prompt};
use crate::merkle::Hash;
use crate::{Error, Result, json};

/// A model that stops before a limit of calls or tokens.
///
/// The limit of tokens is checked before each call, against what the calls before it reported: the last call can go over
/// it by its own length. Running out is [fatal](Llm::is_fatal): a run ends, and goes on with more budget.
///
/// ```
/// use hanzo_experience::grpo::{BudgetError, Budgeted, Llm, Prompt, ScriptedLlm, Stage};
///
/// let mut model = Budgeted::new(ScriptedLlm::new().then("42").then("43"), 1, 1_000);
/// let prompt = Prompt { stage: Stage::Rollout, system: String::new(), user: "6 x 7?".into(), temperature: 0.7 };
/// assert_eq!(model.complete(&prompt).unwrap().text, "42");
/// assert_eq!(model.complete(&prompt), Err(BudgetError::Spent));
/// model.add(1, 0);
/// assert_eq!(model.complete(&prompt).unwrap().text, "43");
/// ```
#[derive(Debug, Clone)]
pub struct Budgeted<L> {
    llm: L,
    calls: u64,
    tokens: u64,
}

/// Why a [`Budgeted`] model gave no reply.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BudgetError<E> {
    /// No calls or no tokens are left.
    #[error("the budget is spent")]
    Spent,
    /// The model failed.
    #[error("the model failed")]
    Llm(E),
}

impl<L> Budgeted<L> {
    /// A model with this many calls and tokens left.
    pub fn new(llm: L, calls: u64, tokens: u64) -> Self {
        Self { llm, calls, tokens }
    }

    /// Calls left.
    pub fn calls(&self) -> u64 {
        self.calls
    }

    /// Tokens left.
    pub fn tokens(&self) -> u64 {
        self.tokens
    }

    /// Adds to what is left.
    pub fn add(&mut self, calls: u64, tokens: u64) {
        self.calls = self.calls.saturating_add(calls);
        self.tokens = self.tokens.saturating_add(tokens);
    }

    /// The model.
    pub fn into_inner(self) -> L {
        self.llm
    }

    fn begin<E>(&mut self) -> Result<(), BudgetError<E>> {
        if self.tokens == 0 {
            return Err(BudgetError::Spent);
        }
        self.calls = self.calls.checked_sub(1).ok_or(BudgetError::Spent)?;
        Ok(())
    }

    fn end<E>(&mut self, reply: Result<Completion, E>) -> Result<Completion, BudgetError<E>> {
        let reply = reply.map_err(BudgetError::Llm)?;
        self.tokens = self.tokens.saturating_sub(reply.prompt_tokens.saturating_add(reply.completion_tokens));
        Ok(reply)
    }
}

impl<L: Llm> Llm for Budgeted<L> {
    type Error = BudgetError<L::Error>;

    fn complete(&mut self, prompt: &Prompt) -> Result<Completion, Self::Error> {
        self.begin()?;
        let reply = self.llm.complete(prompt);
        self.end(reply)
    }

    fn is_fatal(&self, error: &Self::Error) -> bool {
        match error {
            BudgetError::Spent => true,
            BudgetError::Llm(error) => self.llm.is_fatal(error),
        }
    }
}

impl<L: AsyncLlm<Error: Send> + Send> AsyncLlm for Budgeted<L> {
    type Error = BudgetError<L::Error>;

    async fn complete(&mut self, prompt: &Prompt) -> Result<Completion, Self::Error> {
        self.begin()?;
        let reply = self.llm.complete(prompt).await;
        self.end(reply)
    }

    fn is_fatal(&self, error: &Self::Error) -> bool {
        match error {
            BudgetError::Spent => true,
            BudgetError::Llm(error) => self.llm.is_fatal(error),
        }
    }
}

/// A model that is asked again when a call fails and `again` says so; fatal errors are never tried again.
///
/// `again` is given the number of failures of this prompt, from 1, and the error. It is also where a caller waits: for
/// an [`Llm`] it returns whether to go on, for an [`AsyncLlm`] a future of that.
#[derive(Debug, Clone)]
pub struct Retrying<L, F> {
    llm: L,
    again: F,
}

impl<L, F> Retrying<L, F> {
    /// A model that is asked again.
    pub fn new(llm: L, again: F) -> Self {
        Self { llm, again }
    }

    /// The model.
    pub fn into_inner(self) -> L {
        self.llm
    }
}

impl<L: Llm, F: FnMut(u32, &L::Error) -> bool> Llm for Retrying<L, F> {
    type Error = L::Error;

    fn complete(&mut self, prompt: &Prompt) -> Result<Completion, L::Error> {
        let mut failures = 0_u32;
        loop {
            match self.llm.complete(prompt) {
                Ok(reply) => return Ok(reply),
                Err(error) => {
                    failures = failures.saturating_add(1);
                    if self.llm.is_fatal(&error) || !(self.again)(failures, &error) {
                        return Err(error);
                    }
                }
            }
        }
    }

    fn is_fatal(&self, error: &L::Error) -> bool {
        self.llm.is_fatal(error)
    }
}

impl<L, F, W> AsyncLlm for Retrying<L, F>
where
    L: AsyncLlm<Error: Send + Sync> + Send + Sync,
    F: FnMut(u32, &L::Error) -> W + Send + Sync,
    W: Future<Output = bool> + Send,
{
    type Error = L::Error;

    async fn complete(&mut self, prompt: &Prompt) -> Result<Completion, L::Error> {
        let mut failures = 0_u32;
        loop {
            match self.llm.complete(prompt).await {
                Ok(reply) => return Ok(reply),
                Err(error) => {
                    failures = failures.saturating_add(1);
                    if self.llm.is_fatal(&error) || !(self.again)(failures, &error).await {
                        return Err(error);
                    }
                }
            }
        }
    }

    fn is_fatal(&self, error: &L::Error) -> bool {
        self.llm.is_fatal(error)
    }
}

/// A model whose replies are kept in a [`Transcript`], and taken from there when the same prompt comes again.
///
/// A run that was interrupted is done again from the state before it: prompts that were answered cost nothing, and the
/// outcome is as if it had not stopped. A prompt that occurs several times has several replies, in their order.
///
/// ```
/// use hanzo_experience::grpo::{Llm, Prompt, Recorded, ScriptedLlm, Stage, Transcript};
///
/// let prompt = Prompt { stage: Stage::Rollout, system: String::new(), user: "6 x 7?".into(), temperature: 0.7 };
/// let mut first = Recorded::new(ScriptedLlm::new().then("42"), Transcript::new());
/// assert_eq!(first.complete(&prompt).unwrap().text, "42");
///
/// // Another run with the same replies needs no model.
/// let mut again = Recorded::new(ScriptedLlm::new(), first.into_parts().0);
/// assert_eq!(again.complete(&prompt).unwrap().text, "42");
/// ```
#[derive(Debug, Clone)]
pub struct Recorded<L> {
    llm: L,
    transcript: Transcript,
    /// How often each prompt came since the run began.
    asked: BTreeMap<Hash, usize>,
}

impl<L> Recorded<L> {
    /// A model that goes on from a transcript; an empty one for the first run.
    pub fn new(llm: L, transcript: Transcript) -> Self {
        Self { llm, transcript, asked: BTreeMap::new() }
    }

    /// The replies so far.
    pub fn transcript(&self) -> &Transcript {
        &self.transcript
    }

    /// The replies, and the model.
    pub fn into_parts(self) -> (Transcript, L) {
        (self.transcript, self.llm)
    }

    /// The reply known for this occurrence of the prompt, or the digest to keep one under.
    fn known(&mut self, prompt: &Prompt) -> Result<Completion, Hash> {
        let digest = prompt.digest();
        let asked = self.asked.entry(digest).or_default();
        let reply = self.transcript.replies.get(&digest).and_then(|replies| replies.get(*asked)).cloned();
        match reply {
            Some(reply) => {
                *asked += 1;
                Ok(reply)
            }
            None => Err(digest),
        }
    }

    fn keep<E>(&mut self, digest: Hash, reply: Result<Completion, E>) -> Result<Completion, E> {
        let reply = reply?;
        *self.asked.entry(digest).or_default() += 1;
        self.transcript.replies.entry(digest).or_default().push_back(reply.clone());
        Ok(reply)
    }
}

impl<L: Llm> Llm for Recorded<L> {
    type Error = L::Error;

    fn complete(&mut self, prompt: &Prompt) -> Result<Completion, L::Error> {
        match self.known(prompt) {
            Ok(reply) => Ok(reply),
            Err(digest) => {
                let reply = self.llm.complete(prompt);
                self.keep(digest, reply)
            }
        }
    }

    fn is_fatal(&self, error: &L::Error) -> bool {
        self.llm.is_fatal(error)
    }
}

impl<L: AsyncLlm<Error: Send> + Send> AsyncLlm for Recorded<L> {
    type Error = L::Error;

    async fn complete(&mut self, prompt: &Prompt) -> Result<Completion, L::Error> {
        match self.known(prompt) {
            Ok(reply) => Ok(reply),
            Err(digest) => {
                let reply = self.llm.complete(prompt).await;
                self.keep(digest, reply)
            }
        }
    }

    fn is_fatal(&self, error: &L::Error) -> bool {
        self.llm.is_fatal(error)
    }
}

/// Replies by prompt.
///
/// Its bytes are JSON Lines, one object a reply with members `completion_tokens`, `prompt` (the digest in hex),
/// `prompt_tokens` and `text`, by ascending digest, replies to one prompt in their order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Transcript {
    replies: BTreeMap<Hash, VecDeque<Completion>>,
}

impl Transcript {
    /// No replies.
    pub fn new() -> Self {
        Self::default()
    }

    /// Number of replies.
    pub fn len(&self) -> usize {
        self.replies.values().map(VecDeque::len).sum()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.replies.is_empty()
    }

    /// The canonical bytes.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        for (digest, replies) in &self.replies {
            for reply in replies {
                let line = Line {
                    completion_tokens: reply.completion_tokens.min(json::MAX_INTEGER),
                    prompt: digest.to_string(),
                    prompt_tokens: reply.prompt_tokens.min(json::MAX_INTEGER),
                    text: reply.text.clone(),
                };
                json::write(&mut bytes, &line);
                bytes.push(b'\n');
            }
        }
        bytes
    }

    /// Reads the bytes of [`to_bytes`](Self::to_bytes).
    ///
    /// # Errors
    /// [`Error::MalformedTranscript`] with the first line that is not as it would be written.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self> {
        let mut transcript = Self::new();
        let mut last = None;
        for (index, line) in bytes.split_inclusive(|byte| *byte == b'\n').enumerate() {
            let malformed = Error::MalformedTranscript { line: index + 1 };
            let Some(text) = line.strip_suffix(b"\n") else { return Err(malformed) };
            let Ok(read) = json::read::<Line>(text) else { return Err(malformed) };
            let mut again = Vec::with_capacity(text.len());
            json::write(&mut again, &read);
            let Ok(digest) = read.prompt.parse::<Hash>() else { return Err(malformed) };
            if again != text || last > Some(digest) {
                return Err(malformed);
            }
            last = Some(digest);
            let Line { completion_tokens, prompt_tokens, text, .. } = read;
            let reply = Completion { text, prompt_tokens, completion_tokens };
            transcript.replies.entry(digest).or_default().push_back(reply);
        }
        Ok(transcript)
    }
}

json::shape! {
    #[derive(Serialize)]
    struct Line {
        completion_tokens: u64,
        prompt: String,
        prompt_tokens: u64,
        text: String,
    }
}
