mod config;
mod finished;

pub use config::{Author, RoundConfig};
pub use finished::Finished;

use std::collections::{BTreeMap, BTreeSet};

use super::federated::consolidate;
use super::rollout::all_equal;
use super::{
    Aliases, AsyncLlm, Completion, Event, Group, Llm, Parsed, ParsedOperation, Prompt, Rejected, Report, SkipCause,
    Stage, parse_operations,
};
use crate::merkle::StateRoot;
use crate::{Content, Domain, Error, ExperienceId, Library, Operation, Result, fence};

/// A prompt that waits for its reply.
#[derive(Debug, Clone, PartialEq)]
pub struct Request {
    /// Names the prompt in [`Round::respond`].
    pub ticket: u64,
    /// The prompt.
    pub prompt: Prompt,
}

/// One batch, from groups of attempts to operations on the library, without input or output.
///
/// All [`requests`](Self::requests) may run at once; replies are folded in the order of tickets, so that the outcome does
/// not depend on when they arrive. The library is read when the round begins and changed by [`Finished::apply`] alone; a
/// round that is dropped has changed nothing.
#[derive(Debug, Clone)]
pub struct Round {
    config: RoundConfig,
    base: StateRoot,
    aliases: Aliases,
    /// The library as it is shown.
    lessons: String,
    domains: BTreeMap<ExperienceId, Domain>,
    groups: Vec<Learning>,
    /// Calls of this wave, with their replies.
    wave: Vec<Call>,
    next_ticket: u64,
    consolidated: Option<Parsed>,
    operations: Option<Vec<Operation>>,
    report: Report,
    events: Vec<Event>,
}

/// A group in the making.
#[derive(Debug, Clone)]
struct Learning {
    question: String,
    truth: Option<String>,
    rewards: Option<Vec<f64>>,
    /// Summaries that came, with the place of their attempt.
    summaries: Vec<(usize, String)>,
    skipped: bool,
    /// The reply with the fewest errors so far.
    best: Option<Parsed>,
    operations: Vec<Operation>,
}

#[derive(Debug, Clone)]
struct Call {
    ticket: u64,
    prompt: Prompt,
    /// What is asked for, without any request for repair.
    asked: String,
    place: Place,
    /// How many repairs were asked for before.
    repairs: u32,
    /// Whether it was answered, and with what.
    reply: Option<Option<Completion>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    Rollout { group: usize, rollout: usize },
    Group { group: usize },
    Batch,
}

impl Place {
    fn group(self) -> Option<usize> {
        match self {
            Self::Rollout { group, .. } | Self::Group { group } => Some(group),
            Self::Batch => None,
        }
    }
}

impl Round {
    /// A round over these groups.
    ///
    /// # Errors
    /// [`Error::OutOfRange`] for a reward outside 0..=1, or a group where only some attempts have one; those of
    /// [`Content::new`] for the author.
    pub fn new(library: &Library, groups: &[Group], config: RoundConfig) -> Result<Self> {
        let mut round = Self::empty(library, config)?;
        let mut attempts = Vec::new();
        for (index, group) in groups.iter().enumerate() {
            let rewards = group.rewards()?;
            round.groups.push(Learning {
                question: fence(&group.question),
                truth: group.truth.as_deref().map(fence),
                rewards: rewards.clone(),
                summaries: Vec::new(),
                skipped: false,
                best: None,
                operations: Vec::new(),
            });
            if group.rollouts.len() < 2 {
                round.skip(index, SkipCause::TooFewAttempts);
            } else if rewards.is_some_and(|rewards| all_equal(&rewards)) {
                round.skip(index, SkipCause::EqualRewards);
            } else {
                attempts.extend(group.rollouts.iter().enumerate().map(|(place, rollout)| (index, place, rollout)));
            }
        }
        for (group, place, rollout) in attempts {
            let learning = &round.groups[group];
            let used = Aliases::from_ids(rollout.used.iter().copied()).render(library);
            let values = [
                ("question", learning.question.as_str()),
                ("truth", learning.truth.as_deref().unwrap_or(UNKNOWN)),
                ("trajectory", &fence(&rollout.trajectory)),
                ("reward", &reward(rollout.reward)),
                ("experiences", &fence(&used)),
            ];
            let texts = round.config.templates.summarize.fill(&values);
            round.ask(Stage::Summarize, texts, Place::Rollout { group, rollout: place });
        }
        round.advance();
        Ok(round)
    }

    /// A round over operations that were worked out elsewhere, one list a participant: consolidation alone.
    pub(super) fn of_operations(library: &Library, lists: Vec<Vec<Operation>>, config: RoundConfig) -> Result<Self> {
        let mut round = Self::empty(library, config)?;
        round.groups = lists
            .into_iter()
            .map(|operations| Learning {
                question: String::new(),
                truth: None,
                rewards: None,
                summaries: Vec::new(),
                skipped: false,
                best: None,
                operations,
            })
            .collect();
        round.consolidate();
        Ok(round)
    }

    fn empty(library: &Library, config: RoundConfig) -> Result<Self> {
        // Whether drafts of this author can become contents.
        Content::new(config.author.draft(crate::Text::new("text")?, None), Vec::new())?;
        let aliases = Aliases::new(library);
        Ok(Self {
            base: library.state_root(),
            lessons: fence(&aliases.render(library)),
            domains: library.iter().map(|(id, content)| (*id, content.domain().clone())).collect(),
            aliases,
            config,
            groups: Vec::new(),
            wave: Vec::new(),
            next_ticket: 0,
            consolidated: None,
            operations: None,
            report: Report::default(),
            events: Vec::new(),
        })
    }

    /// Prompts that wait for a reply, by ascending ticket; none when the round is done.
    pub fn requests(&self) -> Vec<Request> {
        self.waiting().map(|call| Request { ticket: call.ticket, prompt: call.prompt.clone() }).collect()
    }

    /// Takes a reply, or none if the call failed for good.
    ///
    /// # Errors
    /// [`Error::OutOfRange`] for a ticket that does not wait.
    pub fn respond(&mut self, ticket: u64, reply: Option<Completion>) -> Result<()> {
        let call = self.wave.iter_mut().find(|call| call.ticket == ticket && call.reply.is_none());
        let call = call.ok_or(Error::OutOfRange { field: "ticket" })?;
        let stage = call.prompt.stage;
        self.report.calls += 1;
        match &reply {
            Some(reply) => {
                self.report.prompt_tokens = self.report.prompt_tokens.saturating_add(reply.prompt_tokens);
                self.report.completion_tokens = self.report.completion_tokens.saturating_add(reply.completion_tokens);
            }
            None => self.report.failed_calls += 1,
        }
        let ok = reply.is_some();
        call.reply = Some(reply);
        let waiting = self.waiting().count();
        self.events.push(Event::Called { stage, ok, waiting });
        self.advance();
        Ok(())
    }

    /// Whether it waits for nothing more.
    pub fn is_done(&self) -> bool {
        self.operations.is_some()
    }

    /// What happened since the last call of this.
    pub fn take_events(&mut self) -> Vec<Event> {
        core::mem::take(&mut self.events)
    }

    /// Answers all prompts by a model, one after the other.
    ///
    /// # Errors
    /// The model's error if it is [fatal](Llm::is_fatal). The round can go on with another call of this.
    pub fn run<L: Llm>(&mut self, llm: &mut L) -> Result<(), L::Error> {
        self.run_watched(llm, &mut |_| ())
    }

    /// As [`run`](Self::run), telling what happens.
    ///
    /// # Errors
    /// Those of [`run`](Self::run).
    pub fn run_watched<L: Llm>(&mut self, llm: &mut L, watch: &mut dyn FnMut(&Event)) -> Result<(), L::Error> {
        loop {
            self.take_events().iter().for_each(&mut *watch);
            let Some(ticket) = self.next_ticket() else { return Ok(()) };
            let reply = llm.complete(&ticket.prompt);
            self.settle(ticket.ticket, reply, |error| llm.is_fatal(error))?;
        }
    }

    /// As [`run`](Self::run), under any runtime. To have several calls under way, hand out [`requests`](Self::requests)
    /// yourself.
    ///
    /// # Errors
    /// Those of [`run`](Self::run).
    pub async fn run_async<L: AsyncLlm>(&mut self, llm: &mut L) -> Result<(), L::Error> {
        while let Some(ticket) = self.next_ticket() {
            let reply = llm.complete(&ticket.prompt).await;
            self.settle(ticket.ticket, reply, |error| llm.is_fatal(error))?;
        }
        Ok(())
    }

    /// What came of it.
    ///
    /// # Errors
    /// [`Error::WrongState`] while prompts wait.
    pub fn finish(self) -> Result<Finished> {
        let operations = self.operations.ok_or(Error::WrongState { state: "waiting for replies" })?;
        Ok(Finished { base: self.base, operations, report: self.report })
    }

    fn next_ticket(&self) -> Option<Request> {
        self.waiting().next().map(|call| Request { ticket: call.ticket, prompt: call.prompt.clone() })
    }

    fn settle<E>(&mut self, ticket: u64, reply: Result<Completion, E>, fatal: impl Fn(&E) -> bool) -> Result<(), E> {
        let reply = match reply {
            Ok(reply) => Some(reply),
            Err(error) if fatal(&error) => return Err(error),
            Err(_) => None,
        };
        // The ticket waits.
        let _ = self.respond(ticket, reply);
        Ok(())
    }

    fn waiting(&self) -> impl Iterator<Item = &Call> {
        self.wave.iter().filter(|call| call.reply.is_none())
    }

    /// Goes on as long as every call of the wave is answered.
    fn advance(&mut self) {
        while self.operations.is_none() && self.wave.iter().all(|call| call.reply.is_some()) {
            let wave = core::mem::take(&mut self.wave);
            match wave.first().map(|call| call.prompt.stage) {
                Some(Stage::Summarize) => {
                    self.fold_summaries(wave);
                    self.extract();
                }
                Some(Stage::Extract) => self.fold_extractions(wave),
                Some(Stage::Consolidate) => self.fold_consolidation(wave),
                // No group has anything to ask.
                _ => self.operations = Some(Vec::new()),
            }
        }
    }

    fn fold_summaries(&mut self, wave: Vec<Call>) {
        for call in wave {
            let Place::Rollout { group, rollout } = call.place else { continue };
            match call.reply.flatten().map(|reply| reply.text).filter(|text| !text.trim().is_empty()) {
                Some(text) => self.groups[group].summaries.push((rollout, text)),
                None => self.report.dropped.push((group, rollout)),
            }
        }
        for group in 0..self.groups.len() {
            let Learning { summaries, rewards, skipped, .. } = &self.groups[group];
            let left: Option<Vec<f64>> =
                rewards.as_ref().map(|rewards| summaries.iter().map(|(rollout, _)| rewards[*rollout]).collect());
            if *skipped {
                continue;
            } else if summaries.len() < 2 {
                self.skip(group, SkipCause::TooFewAttempts);
            } else if left.is_some_and(|left| all_equal(&left)) {
                self.skip(group, SkipCause::EqualRewardsLeft);
            }
        }
    }

    fn extract(&mut self) {
        for group in 0..self.groups.len() {
            let learning = &self.groups[group];
            if learning.skipped {
                continue;
            }
            let attempt = |(rollout, summary): &(usize, String)| {
                let reward = reward(learning.rewards.as_ref().map(|rewards| rewards[*rollout]));
                format!("Attempt {}, reward {reward}:\n{}", rollout + 1, fence(summary))
            };
            let attempts: Vec<String> = learning.summaries.iter().map(attempt).collect();
            let values = [
                ("question", learning.question.as_str()),
                ("truth", learning.truth.as_deref().unwrap_or(UNKNOWN)),
                ("attempts", &attempts.join("\n")),
                ("experiences", &self.lessons),
                ("limit", &self.config.max_operations.to_string()),
            ];
            let texts = self.config.templates.extract.fill(&values);
            self.ask(Stage::Extract, texts, Place::Group { group });
        }
        if self.wave.is_empty() {
            self.consolidate();
        }
    }

    fn fold_extractions(&mut self, wave: Vec<Call>) {
        for call in wave {
            let Place::Group { group } = call.place else { continue };
            let mut best = self.groups[group].best.take();
            self.fold(call, self.config.max_operations, &mut best);
            self.groups[group].best = best;
        }
        if self.wave.is_empty() {
            self.consolidate();
        }
    }

    fn consolidate(&mut self) {
        for group in 0..self.groups.len() {
            if self.groups[group].skipped {
                continue;
            }
            match self.groups[group].best.take() {
                Some(best) => {
                    self.reject(Stage::Extract, Some(group), &best);
                    self.groups[group].operations = self.operations_of(best);
                }
                None if self.groups[group].operations.is_empty() => self.skip(group, SkipCause::NoOperations),
                None => {}
            }
        }
        let lists: Vec<(usize, &Operation)> = (0..)
            .zip(&self.groups)
            .flat_map(|(group, learning)| learning.operations.iter().map(move |operation| (group, operation)))
            .collect();
        if lists.is_empty() {
            self.operations = Some(Vec::new());
            return;
        }
        let lines: Vec<String> = lists.iter().map(|(group, operation)| self.describe(*group, operation)).collect();
        let operations = fence(&lines.join("\n"));
        let values = [("operations", operations.as_str()), ("experiences", &self.lessons)];
        let texts = self.config.templates.consolidate.fill(&values);
        self.ask(Stage::Consolidate, texts, Place::Batch);
    }

    fn fold_consolidation(&mut self, wave: Vec<Call>) {
        let proposing = self.groups.iter().filter(|learning| !learning.operations.is_empty()).count();
        let max = self.config.max_operations.max(1).saturating_mul(proposing);
        let given = self.groups.iter().map(|learning| learning.operations.len()).sum();
        for call in wave {
            let mut best = self.consolidated.take();
            self.fold(call, max.max(given), &mut best);
            self.consolidated = best;
        }
        if !self.wave.is_empty() {
            return;
        }
        let best = self.consolidated.take();
        if let Some(best) = &best {
            self.reject(Stage::Consolidate, None, best);
        }
        self.operations = Some(match best {
            // A list of errors alone is no list.
            Some(best) if !best.operations.is_empty() || best.rejected.is_empty() => self.operations_of(best),
            _ => {
                self.report.fallback = true;
                self.events.push(Event::Fallback);
                consolidate(self.groups.iter().flat_map(|learning| learning.operations.iter().cloned()))
            }
        });
    }

    /// Reads a reply, keeps it if it has fewer errors than the best before it, and asks for repair if it has any.
    fn fold(&mut self, call: Call, max: usize, best: &mut Option<Parsed>) {
        let Some(reply) = call.reply.flatten() else { return };
        let (errors, shown) = match parse_operations(&reply.text, &self.aliases).map(|parsed| parsed.limit(max)) {
            Ok(parsed) => {
                let errors: Vec<String> =
                    parsed.rejected.iter().map(|one| format!("element {}: {}", one.index, one.error)).collect();
                if best.as_ref().is_none_or(|best| parsed.rejected.len() <= best.rejected.len()) {
                    *best = Some(parsed);
                }
                (errors, reply.text)
            }
            Err(error @ Error::TooManyBytes { .. }) => (vec![error.to_string()], String::new()),
            Err(error) => (vec![error.to_string()], reply.text),
        };
        if errors.is_empty() || call.repairs >= self.config.repair_attempts {
            return;
        }
        let stage = call.prompt.stage;
        self.report.repairs += 1;
        self.events.push(Event::Repair { stage, group: call.place.group() });
        let values =
            [("prompt", call.asked.as_str()), ("reply", &fence(&shown)), ("errors", &fence(&errors.join("\n")))];
        let texts = self.config.templates.repair.fill(&values);
        self.ask(stage, texts, call.place);
        if let Some(last) = self.wave.last_mut() {
            last.asked = call.asked;
            last.repairs = call.repairs + 1;
        }
    }

    fn reject(&mut self, stage: Stage, group: Option<usize>, parsed: &Parsed) {
        self.report.rejected.extend(parsed.rejected.iter().map(|one| Rejected::new(stage, group, one)));
    }

    fn skip(&mut self, group: usize, cause: SkipCause) {
        self.groups[group].skipped = true;
        self.report.skipped.push((group, cause));
        self.events.push(Event::Skipped { group, cause });
    }

    fn ask(&mut self, stage: Stage, (system, user): (String, String), place: Place) {
        let ticket = self.next_ticket;
        self.next_ticket += 1;
        let prompt = Prompt { stage, system, user: user.clone(), temperature: self.config.temperature };
        self.wave.push(Call { ticket, prompt, asked: user, place, repairs: 0, reply: None });
    }

    /// Operations on the library, without those that keep.
    fn operations_of(&self, parsed: Parsed) -> Vec<Operation> {
        let author = &self.config.author;
        let operations = parsed.operations.into_iter().filter_map(|(_, operation)| {
            Some(match operation {
                ParsedOperation::Add { text } => Operation::Add(author.draft(text, None)),
                ParsedOperation::Modify { id, text } => {
                    Operation::Modify { id, draft: author.draft(text, self.domains.get(&id).cloned()) }
                }
                ParsedOperation::Merge { ids, text } => {
                    let domains: BTreeSet<_> = ids.iter().filter_map(|id| self.domains.get(id)).collect();
                    let common = domains.first().filter(|_| domains.len() == 1).map(|domain| (*domain).clone());
                    Operation::Merge { ids, draft: Some(author.draft(text, common)) }
                }
                ParsedOperation::Delete { id } => Operation::Delete { id },
                ParsedOperation::Keep => return None,
            })
        });
        operations.collect()
    }

    /// An operation as a line of JSON, in the form that replies have.
    fn describe(&self, group: usize, operation: &Operation) -> String {
        let name = |id: &ExperienceId| self.aliases.name(id).unwrap_or_default();
        let text = operation.draft().map(|draft| draft.text.as_str());
        let value = match operation {
            Operation::Add(_) => serde_json::json!({"group": group, "option": "add", "experience": text}),
            Operation::Modify { id, .. } => {
                serde_json::json!({"group": group, "option": "modify", "experience": text, "modified_from": name(id)})
            }
            Operation::Merge { ids, .. } => {
                let names: Vec<String> = ids.iter().map(name).collect();
                serde_json::json!({"group": group, "option": "merge", "experience": text, "merged_from": names})
            }
            Operation::Delete { id } => serde_json::json!({"group": group, "option": "delete", "delete_id": name(id)}),
            Operation::Keep => serde_json::json!({"group": group, "option": "keep"}),
        };
        // Members in the order of their names, whichever order other crates of the build ask `serde_json` to keep.
        let members: BTreeMap<_, _> = value.as_object().into_iter().flatten().collect();
        serde_json::to_string(&members).unwrap_or_default()
    }
}

fn reward(reward: Option<f64>) -> String {
    reward.map_or_else(|| UNKNOWN.to_owned(), |reward| reward.to_string())
}

const UNKNOWN: &str = "(not known)";
