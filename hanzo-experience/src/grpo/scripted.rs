use core::future::{Future, ready};
use std::collections::VecDeque;

use super::{AsyncLlm, Completion, Llm, Prompt, Stage};

/// A model whose replies are written down beforehand, for tests and demonstrations.
///
/// The queue answers first, in its order; then the first rule whose stage is the prompt's and whose text occurs in what
/// is asked. A prompt that nothing answers is an error. Tokens are counted as words. Keeps a record of all prompts.
///
/// ```
/// use hanzo_experience::grpo::{Llm, Prompt, ScriptError, ScriptedLlm, Stage};
///
/// let mut model = ScriptedLlm::new().then("first").rule(Stage::Extract, "dominoes", "[]");
/// let ask = |user: &str| Prompt { stage: Stage::Extract, system: String::new(), user: user.into(), temperature: 0.7 };
/// assert_eq!(model.complete(&ask("anything")).unwrap().text, "first");
/// assert_eq!(model.complete(&ask("tile with dominoes")).unwrap().text, "[]");
/// assert_eq!(model.complete(&ask("anything")), Err(ScriptError::Unmatched));
/// assert_eq!(model.record().len(), 3);
/// ```
#[derive(Debug, Clone, Default)]
pub struct ScriptedLlm {
    queue: VecDeque<Option<String>>,
    rules: Vec<(Stage, String, Rule)>,
    record: Vec<Prompt>,
}

#[derive(Debug, Clone)]
enum Rule {
    Reply(String),
    Compute(fn(&Prompt) -> String),
    Fail,
}

/// Why a script gave no reply.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ScriptError {
    /// Nothing answers this prompt.
    #[error("the script has no reply to this prompt")]
    Unmatched,
    /// The script says that this call fails.
    #[error("the call fails, as the script says")]
    Failed,
}

impl ScriptedLlm {
    /// A script that answers nothing.
    pub fn new() -> Self {
        Self::default()
    }

    /// Answers the next prompt that the queue has no reply to.
    pub fn then(mut self, reply: impl Into<String>) -> Self {
        self.queue.push_back(Some(reply.into()));
        self
    }

    /// Fails the next prompt that the queue has no reply to.
    pub fn then_fail(mut self) -> Self {
        self.queue.push_back(None);
        self
    }

    /// Answers prompts of this stage that hold this text.
    pub fn rule(mut self, stage: Stage, holds: impl Into<String>, reply: impl Into<String>) -> Self {
        self.rules.push((stage, holds.into(), Rule::Reply(reply.into())));
        self
    }

    /// Answers prompts of this stage that hold this text with what a function makes of them.
    pub fn rule_with(mut self, stage: Stage, holds: impl Into<String>, reply: fn(&Prompt) -> String) -> Self {
        self.rules.push((stage, holds.into(), Rule::Compute(reply)));
        self
    }

    /// Fails prompts of this stage that hold this text.
    pub fn fail_rule(mut self, stage: Stage, holds: impl Into<String>) -> Self {
        self.rules.push((stage, holds.into(), Rule::Fail));
        self
    }

    /// All prompts so far.
    pub fn record(&self) -> &[Prompt] {
        &self.record
    }

    fn answer(&mut self, prompt: &Prompt) -> Result<Completion, ScriptError> {
        self.record.push(prompt.clone());
        let rule = |(stage, holds, _): &&(Stage, String, Rule)| *stage == prompt.stage && prompt.user.contains(holds);
        let text = match self.queue.pop_front() {
            Some(reply) => reply.ok_or(ScriptError::Failed)?,
            None => match &self.rules.iter().find(rule).ok_or(ScriptError::Unmatched)?.2 {
                Rule::Reply(text) => text.clone(),
                Rule::Compute(reply) => reply(prompt),
                Rule::Fail => return Err(ScriptError::Failed),
            },
        };
        let words = |text: &str| text.split_whitespace().count() as u64;
        Ok(Completion {
            prompt_tokens: words(&prompt.system) + words(&prompt.user),
            completion_tokens: words(&text),
            text,
        })
    }
}

impl Llm for ScriptedLlm {
    type Error = ScriptError;

    fn complete(&mut self, prompt: &Prompt) -> Result<Completion, ScriptError> {
        self.answer(prompt)
    }
}

impl AsyncLlm for ScriptedLlm {
    type Error = ScriptError;

    fn complete(&mut self, prompt: &Prompt) -> impl Future<Output = Result<Completion, ScriptError>> + Send {
        ready(self.answer(prompt))
    }
}
