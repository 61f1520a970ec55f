use super::super::Templates;
use crate::{Domain, Draft, Text};

/// Who and what new experiences name as their origin.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Author {
    domain: Domain,
    created_by: String,
    model: String,
    created_at: u64,
    confidence_ppm: u32,
}

impl Author {
    /// An author without model name, with confidence 500,000 ppm. Lessons that replace others keep their domain; `domain`
    /// is for new ones, and for merges across domains.
    pub fn new(domain: Domain, created_by: impl Into<String>, created_at: u64) -> Self {
        Self { domain, created_by: created_by.into(), model: String::new(), created_at, confidence_ppm: 500_000 }
    }

    /// Names the model that learned.
    pub fn model(mut self, model: impl Into<String>) -> Self {
        self.model = model.into();
        self
    }

    /// Sets the confidence of new experiences.
    pub fn confidence_ppm(mut self, ppm: u32) -> Self {
        self.confidence_ppm = ppm;
        self
    }

    pub(super) fn draft(&self, text: Text, domain: Option<Domain>) -> Draft {
        let domain = domain.unwrap_or_else(|| self.domain.clone());
        Draft::new(text, domain, self.created_by.clone(), self.created_at)
            .model(self.model.clone())
            .confidence_ppm(self.confidence_ppm)
    }
}

/// How a round asks.
#[derive(Debug, Clone, PartialEq)]
pub struct RoundConfig {
    pub(super) author: Author,
    pub(super) templates: Templates,
    pub(super) temperature: f32,
    pub(super) max_operations: usize,
    pub(super) repair_attempts: u32,
}

impl RoundConfig {
    /// Temperature 0.7, three operations a group, one request for repair a reply, the default prompts.
    pub fn new(author: Author) -> Self {
        Self { author, templates: Templates::default(), temperature: 0.7, max_operations: 3, repair_attempts: 1 }
    }

    /// Sets the prompts.
    pub fn templates(mut self, templates: Templates) -> Self {
        self.templates = templates;
        self
    }

    /// Sets the temperature of its prompts.
    pub fn temperature(mut self, temperature: f32) -> Self {
        self.temperature = temperature;
        self
    }

    /// Sets how many operations a group may propose; a consolidation may have as many for each group that proposed any.
    pub fn max_operations(mut self, max: usize) -> Self {
        self.max_operations = max;
        self
    }

    /// Sets the time of new experiences.
    pub(in crate::grpo) fn created_at(mut self, at: u64) -> Self {
        self.author.created_at = at;
        self
    }

    /// Sets how often a reply with errors goes back.
    pub fn repair_attempts(mut self, attempts: u32) -> Self {
        self.repair_attempts = attempts;
        self
    }
}
