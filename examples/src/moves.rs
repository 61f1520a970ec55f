//! A task with a hidden rule, and a model that can find it: twelve kinds of questions, six moves, one right move for each
//! kind. Nothing in a question says which; lessons can.

use std::convert::Infallible;

use hanzo::experience::grpo::{
    Completion, Environment, Event, Group, Llm, Prompt, Report, Rollout, Stage, TrainingFreeGrpo,
};
use hanzo::experience::{Library, fence};
use rand_chacha::ChaCha20Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

/// Kinds of questions and moves.
const KINDS: u32 = 12;
const MOVES: u32 = 6;
/// Questions held out.
const HELD_OUT: u32 = 48;

/// The questions, their rewards, and what is noted along the way.
#[derive(Debug)]
pub struct World {
    /// The epoch in which rewards lie, from 0.
    poison: Option<u32>,
    epoch: u32,
    clock: u64,
    /// Size of the library after each step.
    pub sizes: Vec<usize>,
    /// What happened, in order.
    pub events: Vec<Event>,
}

impl World {
    /// A world in which rewards lie in this epoch, counted from 0, if in any.
    #[must_use]
    pub fn new(poison: Option<u32>) -> Self {
        // Log entries carry times; these are the same in every run.
        Self { poison, epoch: 0, clock: 1_760_702_400, sizes: Vec::new(), events: Vec::new() }
    }

    fn prompt(stage: Stage, library: &Library, question: &str, temperature: f32) -> Prompt {
        let lessons: Vec<&str> = library.iter().map(|(_, content)| content.text().as_str()).collect();
        Prompt {
            stage,
            system: "You choose a move for each question. Answer with one sentence that names it, such as: I choose \
                     move m0."
                .into(),
            user: format!("Lessons so far:\n{}\n\nThe moves are m0 to m5. {question}", fence(&lessons.join("\n"))),
            temperature,
        }
    }
}

fn question(kind: u32) -> String {
    format!("A question of kind {kind}.")
}

fn right(kind: u32) -> u32 {
    (kind * 5 + 1) % MOVES
}

/// The last move that a text names.
fn move_in(text: &str) -> Option<u32> {
    let mut named =
        text.split(|ch: char| !ch.is_ascii_alphanumeric()).filter_map(|word| word.strip_prefix('m')?.parse().ok());
    named.next_back()
}

impl<L: Llm> Environment<L> for World {
    type Error = L::Error;

    fn attempt(
        &mut self,
        llm: &mut L,
        library: &Library,
        query: u32,
        attempts: u32,
        temperature: f32,
    ) -> Result<Group, L::Error> {
        let kind = query % KINDS;
        let question = question(kind);
        let goal = if self.poison == Some(self.epoch) { (right(kind) + 3) % MOVES } else { right(kind) };
        let mut rollouts = Vec::new();
        for _ in 0..attempts {
            let reply = llm.complete(&Self::prompt(Stage::Rollout, library, &question, temperature))?.text;
            let reward = if move_in(&reply) == Some(goal) { 1.0 } else { 0.0 };
            rollouts.push(Rollout::new(reply).reward(reward).used(library.iter().map(|(id, _)| *id)));
        }
        Ok(Group::new(question, rollouts))
    }

    fn score(&mut self, llm: &mut L, library: &Library, temperature: f32) -> Result<Option<u32>, L::Error> {
        let mut hits = 0;
        for query in 0..HELD_OUT {
            let kind = query % KINDS;
            let reply = llm.complete(&Self::prompt(Stage::Evaluate, library, &question(kind), temperature))?.text;
            hits += u32::from(move_in(&reply) == Some(right(kind)));
        }
        Ok(Some(hits * 1_000_000 / HELD_OUT))
    }

    fn now(&mut self) -> u64 {
        self.clock += 60;
        self.clock
    }

    fn event(&mut self, event: &Event) {
        self.events.push(event.clone());
    }

    fn checkpoint(&mut self, training: &TrainingFreeGrpo, library: &Library) -> Result<(), L::Error> {
        self.epoch = training.state().epoch();
        self.sizes.push(library.len());
        Ok(())
    }
}

/// A model that follows lessons, tries moves by chance where there are none, and now and then writes a wrong list.
#[derive(Debug)]
pub struct Brain(ChaCha20Rng);

impl Brain {
    /// One that draws from this seed.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self(ChaCha20Rng::seed_from_u64(seed))
    }

    /// Whether chance has it, once in `of`.
    fn once_in(&mut self, of: u32) -> bool {
        self.0.next_u32().is_multiple_of(of)
    }

    /// The reply to a prompt, as a server sees it.
    pub fn reply(&mut self, system: &str, user: &str, temperature: f64) -> String {
        match system.split(' ').nth(1) {
            Some("choose") => self.choose(user, temperature),
            Some("review") => summarize(user),
            Some("turn") => self.extract(user),
            Some("keep") => {
                let proposed: Vec<&str> = user.lines().filter(|line| line.contains("\"group\":")).collect();
                format!("One list.\n```json\n[{}]\n```", proposed.join(",\n"))
            }
            // Asked to correct a list: leaves out what was wrong.
            _ => extract(user),
        }
    }

    fn choose(&mut self, user: &str, temperature: f64) -> String {
        let lesson = user.lines().find(|line| kind_in(line) == kind_in(user.lines().last().unwrap_or_default()));
        let lesson = lesson.and_then(|line| line.contains("choose move").then(|| move_in(line)).flatten());
        let curious = temperature > 0.5 && self.once_in(3);
        let chosen = lesson.filter(|_| !curious).unwrap_or_else(|| self.0.next_u32() % MOVES);
        format!("I choose move m{chosen}.")
    }

    fn extract(&mut self, user: &str) -> String {
        let list = extract(user);
        if self.once_in(6) {
            // A target that is not in the list.
            return list.replace("\n]", ",\n{\"option\": \"delete\", \"delete_id\": \"G99\"}\n]").replace("[,", "[");
        }
        list
    }
}

impl Llm for Brain {
    type Error = Infallible;

    fn complete(&mut self, prompt: &Prompt) -> Result<Completion, Infallible> {
        let text = self.reply(&prompt.system, &prompt.user, prompt.temperature.into());
        let words = |text: &str| text.split_whitespace().count() as u64;
        Ok(Completion { prompt_tokens: words(&prompt.user), completion_tokens: words(&text), text })
    }
}

/// The kind that a line speaks of.
fn kind_in(line: &str) -> Option<u32> {
    let rest = line.split_once("kind ")?.1;
    rest.split(|ch: char| !ch.is_ascii_digit()).next()?.parse().ok()
}

fn summarize(user: &str) -> String {
    let kind = user.lines().find(|line| line.starts_with("A question of kind")).and_then(kind_in).unwrap_or(0);
    let chosen = user.lines().find(|line| line.starts_with("I choose move")).and_then(move_in);
    chosen.map_or_else(
        || "The attempt named no move.".into(),
        |chosen| format!("At kind {kind} it chose move m{chosen}."),
    )
}

fn extract(user: &str) -> String {
    let mut lines = user.lines();
    let mut list = Vec::new();
    while let Some(line) = lines.next() {
        if !(line.starts_with("Attempt ") && line.ends_with("reward 1:")) {
            continue;
        }
        let summary = lines.nth(1).unwrap_or_default();
        let Some((kind, chosen)) = kind_in(summary).zip(move_in(summary)) else { continue };
        let lesson = format!("when a question is of kind {kind}, choose move m{chosen}");
        let about = |line: &&str| line.starts_with("[G") && kind_in(line) == Some(kind);
        match user.lines().find(about).and_then(|line| line.split_once(". ")) {
            Some((_, text)) if text == lesson => {}
            Some((alias, _)) => list.push(format!(
                "{{\"option\": \"modify\", \"experience\": \"{lesson}\", \"modified_from\": \"{alias}\"}}"
            )),
            None => list.push(format!("{{\"option\": \"add\", \"experience\": \"{lesson}\"}}")),
        }
        break;
    }
    format!("What won is in the list.\n```json\n[{}\n]\n```", list.join(",\n"))
}

/// Sums of reports.
#[must_use]
pub fn total(reports: &[Report]) -> Report {
    let mut sum = Report::default();
    for report in reports {
        sum.calls += report.calls;
        sum.failed_calls += report.failed_calls;
        sum.repairs += report.repairs;
        sum.prompt_tokens += report.prompt_tokens;
        sum.completion_tokens += report.completion_tokens;
        sum.skipped.extend(report.skipped.iter().copied());
        sum.rejected.extend(report.rejected.iter().cloned());
    }
    sum
}
