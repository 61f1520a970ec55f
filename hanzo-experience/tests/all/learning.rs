//! Training-Free GRPO: the stages, the course of a training, and models around models.

use std::convert::Infallible;
use std::pin::pin;
use std::task::{Context, Poll, Waker};

use crate::support::data::{data, list, number, text};
use hanzo_experience::grpo::{
    Aliases, AsyncEnvironment, Author, BudgetError, Budgeted, Completion, Contribution, Environment, Event,
    FederatedRound, Group, Llm, ParsedOperation, Prompt, Recorded, Retrying, Rollout, Round, RoundConfig, ScriptError,
    ScriptedLlm, SkipCause, Stage, Step, Template, Templates, TrainError, TrainingConfig, TrainingFreeGrpo,
    TrainingState, Transcript, Verdict, group_advantages, parse_operations, train, train_async,
};
use hanzo_experience::{
    Draft, Error, ExperienceId, Library, LibraryConfig, Mode, Operation, Outcome, SkipReason, Stamp, Text,
};

fn library(capacity: usize) -> Library {
    Library::new(LibraryConfig::new("example.com/learning".parse().unwrap()).capacity(capacity)).unwrap()
}

fn draft(lesson: &str) -> Draft {
    Draft::new(Text::new(lesson).unwrap(), "math".parse().unwrap(), "alice", 1)
}

fn with(lessons: &[&str]) -> Library {
    let mut library = library(100);
    let operations: Vec<Operation> = lessons.iter().map(|lesson| Operation::Add(draft(lesson))).collect();
    library.apply(&Stamp::new(1, "alice"), Mode::Atomic, &operations).unwrap();
    library
}

fn config() -> RoundConfig {
    RoundConfig::new(Author::new("math".parse().unwrap(), "trainer", 5).model("toy-1"))
}

fn texts(library: &Library) -> Vec<&str> {
    library.iter().map(|(_, content)| content.text().as_str()).collect()
}

/// Polls a future of ready parts to its end, as a runtime would.
fn block_on<F: Future>(future: F) -> F::Output {
    let mut future = pin!(future);
    loop {
        if let Poll::Ready(output) = future.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            return output;
        }
    }
}

#[test]
fn shared_vectors_of_advantages_and_replies() {
    let Some(file) = data("computed/advantage.json") else { return };
    for case in list(&file, "cases") {
        let rewards: Vec<f64> = list(case, "rewards").iter().map(|x| x.as_f64().unwrap()).collect();
        let got = group_advantages(&rewards).unwrap();
        let want: Option<Vec<f64>> =
            case["advantages"].as_array().map(|list| list.iter().map(|x| x.as_f64().unwrap()).collect());
        assert_eq!(got.is_some(), want.is_some());
        for (got, want) in got.iter().flatten().zip(want.iter().flatten()) {
            assert!((got - want).abs() <= 1e-12 * want.abs(), "{got} {want}");
        }
    }
    let Some(file) = data("computed/grpo_parse.json") else { return };
    for case in list(&file, "cases") {
        let ids: Vec<ExperienceId> =
            (0..number(case, "library_size")).map(|n| ExperienceId::from_bytes([n as u8; 32])).collect();
        let aliases = Aliases::from_ids(ids);
        let parsed = match parse_operations(text(case, "response"), &aliases) {
            Ok(parsed) => parsed,
            Err(error) => {
                assert_eq!((error, case["error"].as_str()), (Error::NoJson, Some("NoJson")));
                continue;
            }
        };
        assert!(case["error"].is_null());
        let names = |ids: &[ExperienceId]| ids.iter().map(|id| aliases.name(id).unwrap()).collect::<Vec<_>>();
        let got: Vec<_> = parsed
            .operations
            .iter()
            .map(|(_, operation)| match operation {
                ParsedOperation::Add { text } => ("add", vec![], Some(text.to_string())),
                ParsedOperation::Modify { id, text } => ("modify", names(&[*id]), Some(text.to_string())),
                ParsedOperation::Merge { ids, text } => ("merge", names(ids), Some(text.to_string())),
                ParsedOperation::Delete { id } => ("delete", names(&[*id]), None),
                _ => ("keep", vec![], None),
            })
            .collect();
        let want: Vec<_> = list(case, "ops")
            .iter()
            .map(|op| {
                let ids = list(op, "ids").iter().map(|id| id.as_str().unwrap().to_owned()).collect();
                (text(op, "op"), ids, op["text"].as_str().map(str::to_owned))
            })
            .collect();
        assert_eq!(got, want, "{case}");
        // `TooManyWords { .. }` is `TooManyWords` there.
        let name = |error: &dyn core::fmt::Debug| {
            let name = format!("{error:?}");
            let name = name.strip_prefix("Text(").unwrap_or(&name).to_owned();
            name.split([' ', '(', ')']).next().unwrap().to_owned()
        };
        let got: Vec<_> = parsed.rejected.iter().map(|one| (one.index as u64, name(&one.error))).collect();
        let want: Vec<_> =
            list(case, "rejected").iter().map(|one| (number(one, "index"), text(one, "error").to_owned())).collect();
        assert_eq!(got, want, "{case}");
    }
}

#[test]
fn rewards_are_checked() {
    for bad in [-0.1, 1.1, f64::NAN, f64::INFINITY] {
        assert_eq!(group_advantages(&[0.5, bad]), Err(Error::OutOfRange { field: "reward" }));
        let group = Group::new("q", [Rollout::new("a").reward(bad), Rollout::new("b").reward(0.0)]);
        assert!(Round::new(&library(9), &[group], config()).is_err());
    }
    let mixed = Group::new("q", [Rollout::new("a").reward(1.0), Rollout::new("b")]);
    assert_eq!(Round::new(&library(9), &[mixed], config()).unwrap_err(), Error::OutOfRange { field: "reward" });
    assert_eq!(group_advantages(&[]), Ok(None));
    assert_eq!(group_advantages(&[0.3]), Ok(None));
}

/// Equal rewards cost no call; without rewards every group is asked about.
#[test]
fn groups_without_variance_are_skipped() {
    let equal = Group::new("equal", [Rollout::new("a").reward(1.0), Rollout::new("b").reward(1.0)]);
    let single = Group::new("single", [Rollout::new("a").reward(1.0)]);
    let blind = Group::new("blind", [Rollout::new("a"), Rollout::new("b")]);
    let mut round = Round::new(&library(9), &[equal.clone(), single.clone()], config()).unwrap();
    assert!(round.is_done() && round.requests().is_empty());
    assert_eq!(round.take_events().len(), 2);
    let finished = round.finish().unwrap();
    assert_eq!(finished.report.calls, 0);
    assert_eq!(finished.report.skipped, [(0, SkipCause::EqualRewards), (1, SkipCause::TooFewAttempts)]);

    let mut model = ScriptedLlm::new().rule(Stage::Summarize, "", "s").rule(Stage::Extract, "", "[]");
    let mut round = Round::new(&library(9), &[equal, single, blind], config()).unwrap();
    round.run(&mut model).unwrap();
    assert_eq!(round.finish().unwrap().report.calls, 3);
    assert!(model.record().iter().all(|prompt| prompt.user.contains("blind")));
}

/// A summary that fails drops its attempt; what is left decides whether the group goes on.
#[test]
fn failed_calls_are_reported() {
    let rewards = [1.0, 0.0, 0.0];
    let attempts = || ["x", "y", "z"].iter().zip(rewards).map(|(text, reward)| Rollout::new(*text).reward(reward));
    let groups = ["one", "two", "three"].map(|question| Group::new(question, attempts()));
    let fenced = |question: &str, attempt: &str| (hanzo_experience::fence(question), hanzo_experience::fence(attempt));
    let mut model = |prompt: &Prompt| -> Result<Completion, &'static str> {
        let is = |question, attempt| {
            let (question, attempt) = fenced(question, attempt);
            prompt.user.contains(&question) && prompt.user.contains(&attempt)
        };
        match prompt.stage {
            // The first loses two of three attempts, the second the only good one, the third nothing.
            Stage::Summarize if is("one", "x") || is("one", "y") || is("two", "x") => Err("down"),
            Stage::Summarize => Ok(Completion::new("summary")),
            Stage::Extract => Err("down"),
            _ => unreachable!("there is nothing to consolidate"),
        }
    };
    let mut round = Round::new(&library(9), &groups, config()).unwrap();
    round.run(&mut model).unwrap();
    let report = round.finish().unwrap().report;
    assert_eq!(report.dropped, [(0, 0), (0, 1), (1, 0)]);
    let causes = [SkipCause::TooFewAttempts, SkipCause::EqualRewardsLeft, SkipCause::NoOperations];
    assert_eq!(report.skipped, [(0, causes[0]), (1, causes[1]), (2, causes[2])]);
    assert_eq!((report.calls, report.failed_calls, report.repairs), (10, 4, 0));
}

/// Replies in any order make the same batch, and the texts say who is meant.
#[test]
fn replies_may_come_in_any_order() {
    let library = with(&["when counting, try small cases first", "when stuck, draw a picture"]);
    let groups = ["one", "two"].map(|question| {
        let used = library.iter().map(|(id, _)| *id);
        Group::new(question, [Rollout::new("a").reward(1.0).used(used), Rollout::new("b").reward(0.25)]).truth("42")
    });
    let reply = |prompt: &Prompt| -> String {
        match prompt.stage {
            Stage::Summarize => format!("summary of {}", &prompt.digest().to_string()[..8]),
            Stage::Extract if prompt.user.contains("\none\n") => {
                r#"[{"option": "modify", "modified_from": "G1", "experience": "first"}]"#.into()
            }
            Stage::Extract => r#"[{"option": "merge", "merged_from": ["G0", "G1"], "experience": "second"}]"#.into(),
            _ => prompt
                .user
                .lines()
                .find(|line| line.starts_with("{\"experience\":\"second\""))
                .map(|line| format!("[{line}]"))
                .unwrap(),
        }
    };
    let mut outcomes = Vec::new();
    for backwards in [false, true] {
        let mut round = Round::new(&library, &groups, config()).unwrap();
        let mut prompts = Vec::new();
        while !round.is_done() {
            let mut requests = round.requests();
            if backwards {
                requests.reverse();
            }
            for request in requests {
                assert!(!round.is_done());
                round.respond(request.ticket, Some(Completion::new(reply(&request.prompt)))).unwrap();
                assert_eq!(round.respond(request.ticket, None), Err(Error::OutOfRange { field: "ticket" }));
                prompts.push((request.ticket, request.prompt));
            }
        }
        prompts.sort_by_key(|(ticket, _)| *ticket);
        outcomes.push((prompts, round.finish().unwrap()));
    }
    assert_eq!(outcomes[0], outcomes[1]);
    let (prompts, finished) = &outcomes[0];
    assert_eq!(prompts.len(), 7);
    let summarize = &prompts[0].1.user;
    assert!(summarize.contains("\na\n") && summarize.contains("reward 1 ") && summarize.contains("\n42\n"));
    assert!(summarize.contains("[G1]. "));
    let extract = &prompts[4].1.user;
    assert!(extract.contains("Attempt 2, reward 0.25:") && extract.contains("at most 3 operations"));
    let [Operation::Merge { ids, draft: Some(draft) }] = &finished.operations[..] else { panic!("{finished:?}") };
    assert_eq!(ids.len(), 2);
    assert_eq!((draft.model.as_str(), draft.created_by.as_str(), draft.created_at), ("toy-1", "trainer", 5));
    let mut changed = library.clone();
    finished.apply(&mut changed, &Stamp::new(5, "trainer")).unwrap();
    assert_eq!(texts(&changed), ["second"]);
    // What was worked out for a state is not applied to another.
    assert_eq!(finished.apply(&mut changed, &Stamp::new(6, "trainer")), Err(Error::StaleBase));
    assert!(Round::new(&library, &groups, config()).unwrap().finish().is_err());
}

/// A repaired reply counts if it is no worse; a worse one does not replace what was good.
#[test]
fn repairs() {
    let group = [Group::new("q", [Rollout::new("a").reward(1.0), Rollout::new("b").reward(0.0)])];
    let bad = r#"[{"option": "add", "experience": "good"}, {"option": "delete", "delete_id": "G5"}]"#;
    let run = |second: &str, attempts| {
        let mut model = ScriptedLlm::new().then("s").then("s").then(bad).then(second).rule(
            Stage::Consolidate,
            "",
            r#"[{"option": "add", "experience": "good"}]"#,
        );
        let mut round = Round::new(&library(9), &group, config().repair_attempts(attempts)).unwrap();
        let mut events = Vec::new();
        round.run_watched(&mut model, &mut |event| events.push(event.clone())).unwrap();
        (round.finish().unwrap(), events, model.record().to_vec())
    };
    let (finished, events, record) = run("[{\"option\": \"add\", \"experience\": \"good\"}]", 1);
    assert_eq!((finished.report.repairs, finished.report.rejected.len(), finished.operations.len()), (1, 0, 1));
    assert!(events.contains(&Event::Repair { stage: Stage::Extract, group: Some(0) }));
    assert!(record[3].user.contains("element 1: the target is not in the list of lessons"));
    let (finished, ..) = run("sorry", 1);
    assert_eq!((finished.report.repairs, finished.report.rejected.len(), finished.operations.len()), (1, 1, 1));
    // Without repairs the second reply goes to the consolidation.
    let (finished, ..) = run("sorry", 0);
    assert_eq!((finished.report.repairs, finished.report.rejected.len()), (0, 1));
}

#[test]
fn templates_are_data() {
    let template = |user: &str| Template::new("", user);
    let new = |summarize: &str, extract: &str| {
        Templates::new(
            template(summarize),
            template(extract),
            template("{operations}{experiences}"),
            template("{errors}"),
        )
    };
    assert_eq!(new("", "{attempts}{experiences}"), Err(Error::MissingPlace { place: "trajectory" }));
    assert_eq!(new("{trajectory}", "{attempts}"), Err(Error::MissingPlace { place: "experiences" }));
    let templates = new("{{trajectory}} {unknown} {", "{attempts}{experiences}").unwrap();
    let group = [Group::new("q", [Rollout::new("{reward}").reward(1.0), Rollout::new("b").reward(0.0)])];
    let round = Round::new(&library(9), &group, config().templates(templates).temperature(0.1)).unwrap();
    let prompt = &round.requests()[0].prompt;
    assert_eq!(prompt.user, format!("{{{}}} {{unknown}} {{", hanzo_experience::fence("{reward}")));
    assert_eq!(prompt.temperature, 0.1);
}

/// A world with one right move for each of eight kinds of question. Attempts find it by chance, or in a lesson.
struct World {
    seed: u64,
    clock: u64,
    /// From this epoch on, the right move is thought to be another one.
    poisoned: Option<u32>,
    epoch: u32,
    events: Vec<Event>,
    states: Vec<(Vec<u8>, Vec<u8>)>,
}

const KINDS: u64 = 8;

impl World {
    fn new(seed: u64, poisoned: Option<u32>) -> Self {
        Self { seed, clock: 1_000, poisoned, epoch: 0, events: Vec::new(), states: Vec::new() }
    }

    fn chance(&mut self, of: u64) -> u64 {
        // splitmix64
        self.seed = self.seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.seed;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % of
    }

    fn lesson(kind: u64, library: &Library) -> Option<u64> {
        let start = format!("for kind {kind} questions choose move m");
        library.iter().find_map(|(_, content)| content.text().as_str().strip_prefix(&start)?.parse().ok())
    }

    fn move_of(&mut self, kind: u64, library: &Library) -> u64 {
        Self::lesson(kind, library).unwrap_or_else(|| self.chance(4))
    }

    fn group(&mut self, library: &Library, query: u32, attempts: u32) -> Group {
        let kind = u64::from(query) % KINDS;
        let right = if self.poisoned.is_some_and(|from| self.epoch >= from) { 3 - kind % 4 } else { kind % 4 };
        let rollouts: Vec<Rollout> = (0..attempts)
            .map(|_| {
                // Some of the attempts look for something new.
                let tried = if self.chance(3) == 0 { self.chance(4) } else { self.move_of(kind, library) };
                Rollout::new(format!("kind {kind}, chose move m{tried}")).reward(f64::from(u8::from(tried == right)))
            })
            .collect();
        Group::new(format!("A question of kind {kind}."), rollouts)
    }

    fn held_out(&mut self, library: &Library) -> u32 {
        let mut right = 0;
        for query in 0..400_u64 {
            let kind = query % KINDS;
            right += u32::from(self.move_of(kind, library) == kind % 4);
        }
        right * 2_500
    }

    fn note(&mut self, event: &Event) {
        if let Event::Scored { epoch, .. } = event {
            self.epoch = epoch + 1;
        }
        self.events.push(event.clone());
    }
}

impl<L> Environment<L> for World {
    type Error = Infallible;

    fn attempt(
        &mut self,
        _: &mut L,
        library: &Library,
        query: u32,
        attempts: u32,
        temperature: f32,
    ) -> Result<Group, Infallible> {
        assert_eq!((attempts, temperature), (5, 0.7));
        Ok(self.group(library, query, attempts))
    }

    fn score(&mut self, _: &mut L, library: &Library, temperature: f32) -> Result<Option<u32>, Infallible> {
        assert_eq!(temperature, 0.3);
        Ok(Some(self.held_out(library)))
    }

    fn now(&mut self) -> u64 {
        self.clock += 1;
        self.clock
    }

    fn event(&mut self, event: &Event) {
        self.note(event);
    }

    fn checkpoint(&mut self, training: &TrainingFreeGrpo, library: &Library) -> Result<(), Infallible> {
        assert!(library.len() <= 6);
        self.states.push((training.state().to_bytes(), library.snapshot().to_bytes()));
        Ok(())
    }
}

impl<L: Send> AsyncEnvironment<L> for World {
    type Error = Infallible;

    async fn attempt(
        &mut self,
        _: &mut L,
        library: &Library,
        query: u32,
        attempts: u32,
        _: f32,
    ) -> Result<Group, Infallible> {
        core::future::ready(Ok(self.group(library, query, attempts))).await
    }

    async fn score(&mut self, _: &mut L, library: &Library, _: f32) -> Result<Option<u32>, Infallible> {
        core::future::ready(Ok(Some(self.held_out(library)))).await
    }

    fn now(&mut self) -> u64 {
        self.clock += 1;
        self.clock
    }

    fn event(&mut self, event: &Event) {
        self.note(event);
    }
}

/// A script that reads what it is asked, as a model would.
fn model() -> ScriptedLlm {
    fn summarize(prompt: &Prompt) -> String {
        prompt.user.lines().find(|line| line.starts_with("kind ")).unwrap_or_default().to_owned()
    }
    fn extract(prompt: &Prompt) -> String {
        let mut lines = prompt.user.lines();
        while let Some(line) = lines.next() {
            if !(line.starts_with("Attempt ") && line.ends_with("reward 1:")) {
                continue;
            }
            let summary = lines.nth(1).unwrap_or_default();
            let (kind, found) =
                summary.strip_prefix("kind ").and_then(|rest| rest.split_once(", chose move ")).unwrap();
            let lesson = format!("for kind {kind} questions choose move {found}");
            let known = prompt.user.lines().find(|line| line.contains(&format!("for kind {kind} ")));
            return match known.and_then(|line| line.split_once(". ")) {
                Some((_, text)) if text == lesson => r#"I see nothing new. ```json
[]
```"#
                    .replace("I see nothing new. ", "I see nothing new.\n"),
                Some((alias, _)) => {
                    format!(r#"[{{"option": "modify", "modified_from": "{alias}", "experience": "{lesson}"}}]"#)
                }
                None => format!("```json\n[{{\"option\": \"add\", \"experience\": \"{lesson}\"}}]\n```"),
            };
        }
        "[]".into()
    }
    fn consolidate(prompt: &Prompt) -> String {
        let lines: Vec<&str> = prompt.user.lines().filter(|line| line.contains("\"group\":")).collect();
        format!("[{}]", lines.join(","))
    }
    ScriptedLlm::new().rule_with(Stage::Summarize, "", summarize).rule_with(Stage::Extract, "", extract).rule_with(
        Stage::Consolidate,
        "",
        consolidate,
    )
}

fn training() -> TrainingConfig {
    TrainingConfig::new(16).unwrap().epochs(4).batch(8).unwrap()
}

/// Held-out reward rises, the library stays within its bound, a harmful epoch is taken back; same seed, same root.
#[test]
fn a_training_learns_and_takes_harm_back() {
    let run = |seed, poisoned| {
        let mut library = library(6);
        let mut world = World::new(seed, poisoned);
        let mut course = TrainingFreeGrpo::new(training(), &library);
        let report = train(&mut course, &mut library, &mut world, &mut model(), &config(), "trainer").unwrap();
        assert_eq!(course.step(), Step::Done);
        (library, world, course, report)
    };
    let (library, world, course, report) = run(7, None);
    let best = course.state().best().unwrap();
    let first = report.scores[0].1;
    // Six lessons of eight kinds: a quarter by chance, three quarters and a quarter of the rest with them.
    assert!(first < 350_000 && best.score_ppm > 700_000, "{:?}", report.scores);
    assert_eq!(library.state_root(), best.state);
    assert!(library.len() <= 6 && !library.is_empty());
    assert_eq!(report.rounds.len(), 8);
    assert!(world.events.iter().any(|event| matches!(event, Event::Applied { .. })));

    let again = run(7, None);
    assert_eq!((again.0.state_root(), again.0.checkpoint()), (library.state_root(), library.checkpoint()));
    assert_ne!(run(8, None).0.checkpoint(), library.checkpoint());

    // Rewards lie from the third epoch on.
    let (poisoned, world, course, report) = run(7, Some(2));
    let restored: Vec<_> = report.scores.iter().filter(|(.., verdict)| *verdict == Verdict::Restored).collect();
    assert!(!restored.is_empty() && restored.iter().all(|(epoch, ..)| *epoch >= 2), "{:?}", report.scores);
    let best = course.state().best().unwrap();
    assert_eq!(poisoned.state_root(), best.state);
    assert!(world.events.contains(&Event::Restored { score_ppm: best.score_ppm }));
    assert!(poisoned.entries().iter().any(|entry| entry.kind() == hanzo_experience::EntryKind::Restore));
    assert!(restored.iter().all(|(_, score, _)| score + 50_000 < best.score_ppm || *score < best.score_ppm));
}

#[test]
fn the_async_twin_does_the_same() {
    let (mut one, mut two) = (library(6), library(6));
    let mut course = TrainingFreeGrpo::new(training(), &one);
    let report = train(&mut course, &mut one, &mut World::new(7, Some(2)), &mut model(), &config(), "trainer").unwrap();
    let mut course = TrainingFreeGrpo::new(training(), &two);
    let mut world = World::new(7, Some(2));
    let mut llm = Budgeted::new(
        Retrying::new(Recorded::new(model(), Transcript::new()), |failures, _: &ScriptError| {
            core::future::ready(failures < 2)
        }),
        u64::MAX,
        u64::MAX,
    );
    let twin = block_on(train_async(&mut course, &mut two, &mut world, &mut llm, &config(), "trainer")).unwrap();
    assert_eq!(report, twin);
    assert_eq!(one.checkpoint(), two.checkpoint());
    assert!(llm.calls() < u64::MAX && llm.tokens() < u64::MAX);
}

/// A training that stops at any step goes on from its state and its library, and ends the same.
#[test]
fn a_training_resumes() {
    let mut whole = library(6);
    let mut world = World::new(3, None);
    let mut course = TrainingFreeGrpo::new(training(), &whole);
    train(&mut course, &mut whole, &mut world, &mut model(), &config(), "trainer").unwrap();
    assert_eq!(world.states.len(), 13);
    for (state, snapshot) in &world.states {
        let state = TrainingState::from_bytes(state).unwrap();
        let snapshot = hanzo_experience::Snapshot::from_bytes(snapshot).unwrap();
        let mut library = Library::from_snapshot(whole.config().clone(), &snapshot).unwrap();
        let mut course = TrainingFreeGrpo::resume(training(), state, &library).unwrap();
        assert_eq!(TrainingFreeGrpo::resume(training(), state, &with(&["else"])), Err(Error::StaleBase));
        let mut world = World { clock: 5_000, ..World::new(9, None) };
        train(&mut course, &mut library, &mut world, &mut model(), &config(), "trainer").unwrap();
        assert!(course.state().best().unwrap().score_ppm > 700_000);
    }
}

/// A budget that runs out ends the run before the batch is applied; with the transcript, going on pays no call twice.
#[test]
fn budgets_end_runs_and_transcripts_go_on() {
    let groups: Vec<Group> = (0..4).map(|query| World::new(query.into(), None).group(&library(6), query, 5)).collect();
    let empty = library(6);
    let mut free = Recorded::new(model(), Transcript::new());
    let mut round = Round::new(&empty, &groups, config()).unwrap();
    round.run(&mut free).unwrap();
    let whole = round.finish().unwrap();
    let calls = whole.report.calls;
    assert!(calls > 8 && free.transcript().len() as u64 == calls);

    let (mut transcript, mut paid) = (Transcript::new(), 0);
    for attempt in 0.. {
        let bytes = transcript.to_bytes();
        assert_eq!(Transcript::from_bytes(&bytes).as_ref(), Ok(&transcript));
        let mut llm = Recorded::new(Budgeted::new(model(), 3, u64::MAX), Transcript::from_bytes(&bytes).unwrap());
        let mut round = Round::new(&empty, &groups, config()).unwrap();
        let ended = round.run(&mut llm);
        let (known, budget) = llm.into_parts();
        paid += 3 - budget.calls();
        transcript = known;
        if ended.is_ok() {
            assert_eq!(round.finish().unwrap(), whole);
            assert_eq!((paid, attempt), (calls, (calls - 1) / 3));
            break;
        }
        assert_eq!(ended, Err(BudgetError::Spent));
        assert!(!round.is_done());
    }
    // The same round goes on as well.
    let mut llm = Budgeted::new(model(), 3, u64::MAX);
    let mut round = Round::new(&empty, &groups, config()).unwrap();
    assert_eq!(round.run(&mut llm), Err(BudgetError::Spent));
    llm.add(100, 0);
    round.run(&mut llm).unwrap();
    assert_eq!(round.finish().unwrap(), whole);
    // Tokens end it, too, and a training tells.
    let mut library = library(6);
    let mut course = TrainingFreeGrpo::new(training(), &library);
    let before = library.clone();
    let mut llm = Budgeted::new(model(), 1_000, 50);
    let ended = train(&mut course, &mut library, &mut World::new(1, None), &mut llm, &config(), "trainer");
    assert_eq!(ended, Err(TrainError::Llm(BudgetError::Spent)));
    assert_eq!(library, before);
}

#[test]
fn retries_ask_again() {
    let prompt = Prompt { stage: Stage::Extract, system: String::new(), user: String::new(), temperature: 0.0 };
    let mut llm = Retrying::new(ScriptedLlm::new().then_fail().then_fail().then("x"), |failures, _: &_| failures < 3);
    assert_eq!(Llm::complete(&mut llm, &prompt).unwrap().text, "x");
    let mut llm = Retrying::new(ScriptedLlm::new().then_fail().then_fail().then("x"), |failures, _: &_| failures < 2);
    assert_eq!(Llm::complete(&mut llm, &prompt), Err(ScriptError::Failed));
    // What is fatal is not tried again.
    let mut asked = 0;
    let mut llm = Retrying::new(Budgeted::new(ScriptedLlm::new(), 0, 1), |_, _: &_| {
        asked += 1;
        true
    });
    assert_eq!(Llm::complete(&mut llm, &prompt), Err(BudgetError::Spent));
    drop(llm);
    assert_eq!(asked, 0);
}

#[test]
fn transcripts_are_read_strictly() {
    let mut llm = Recorded::new(ScriptedLlm::new().then("é\n\"").then("b").then("c"), Transcript::new());
    for user in ["x", "x", "y"] {
        let prompt = Prompt { stage: Stage::Extract, system: String::new(), user: user.into(), temperature: 0.0 };
        Llm::complete(&mut llm, &prompt).unwrap();
    }
    let bytes = llm.transcript().to_bytes();
    assert_eq!(Transcript::from_bytes(&bytes).map(|read| read.len()), Ok(3));
    for cut in 0..bytes.len() {
        let whole = cut == 0 || bytes[cut - 1] == b'\n';
        assert_eq!(Transcript::from_bytes(&bytes[..cut]).is_ok(), whole);
    }
    let mut lines: Vec<&[u8]> = bytes.split_inclusive(|byte| *byte == b'\n').collect();
    lines.rotate_left(2);
    let swapped = lines.concat();
    assert!(Transcript::from_bytes(&swapped).is_err() || swapped == bytes);
    assert_eq!(Transcript::from_bytes(b"{}\n"), Err(Error::MalformedTranscript { line: 1 }));
    assert!(Transcript::from_bytes(&[b" ".as_slice(), &bytes].concat()).is_err());
}

#[test]
fn states_are_read_strictly() {
    let mut library = library(6);
    let mut course = TrainingFreeGrpo::new(training(), &library);
    course.scored(&mut library, &Stamp::new(1, "trainer"), Some(250_000)).unwrap();
    let bytes = course.state().to_bytes();
    assert_eq!(TrainingState::from_bytes(&bytes).as_ref(), Ok(course.state()));
    let state = String::from_utf8(bytes.clone()).unwrap();
    let read = |from: &str, to: &str| TrainingState::from_bytes(state.replace(from, to).as_bytes()).unwrap_err();
    assert_eq!(read("\"phase\":1", "\"phase\":4"), Error::OutOfRange { field: "phase" });
    assert_eq!(read("\"best_score\":250000", "\"best_score\":1000001"), Error::OutOfRange { field: "best_score" });
    assert_eq!(read("\"v\":1", "\"v\":2"), Error::OutOfRange { field: "v" });
    assert_eq!(read("\"epoch\":0", "\"epoch\":4294967296"), Error::OutOfRange { field: "epoch" });
    assert_eq!(read("\"epoch\":0", "\"epoch\":0.0"), Error::NotAnInteger { member: "epoch" });
    assert_eq!(read("\"epoch\":0", "\"epoch\": 0"), Error::NotCanonical);
    assert!((0..bytes.len()).all(|cut| TrainingState::from_bytes(&bytes[..cut]).is_err()));
    let far = TrainingState::from_bytes(state.replace("\"epoch\":0", "\"epoch\":9").as_bytes()).unwrap();
    assert_eq!(TrainingFreeGrpo::resume(training(), far, &library), Err(Error::OutOfRange { field: "epoch" }));
}

#[test]
fn steps_come_in_their_order() {
    let mut shared = library(6);
    let stamp = Stamp::new(1, "trainer");
    let mut course = TrainingFreeGrpo::new(training(), &shared);
    let finished = Round::new(&shared, &[], config()).unwrap().finish().unwrap();
    assert_eq!(
        course.learned(&mut shared, &stamp, &finished).unwrap_err(),
        Error::WrongState { state: "not at a batch" }
    );
    assert_eq!(course.scored(&mut shared, &stamp, Some(1_000_001)).unwrap_err(), Error::OutOfRange { field: "score" });
    assert_eq!(course.scored(&mut shared, &stamp, None), Ok(Verdict::Unscored));
    assert_eq!(course.scored(&mut shared, &stamp, None).unwrap_err(), Error::WrongState { state: "not at a score" });
    let Step::Learn { queries, .. } = course.step() else { panic!() };
    assert_eq!(queries, 0..8);
    course.learned(&mut shared, &stamp, &finished).unwrap();
    let Step::Learn { queries, batch, .. } = course.step() else { panic!() };
    assert_eq!((queries, batch), (8..16, 1));
    // A library that changed on the side is not taken for the one that was learned from.
    shared.apply(&stamp, Mode::Atomic, &[Operation::Add(draft("on the side"))]).unwrap();
    assert_eq!(course.learned(&mut shared, &stamp, &finished).unwrap_err(), Error::StaleBase);
    assert!(TrainingConfig::new(0).is_err() && training().batch(0).is_err());
    assert_eq!(TrainingFreeGrpo::new(training().epochs(0), &shared).step(), Step::Done);
}

fn contribution(library: &Library, who: &str, operations: Vec<Operation>) -> Contribution {
    Contribution { base: library.state_root(), submitter: who.parse().unwrap(), operations }
}

/// Contributions in any order make the same state, with a model and without; each is bound to its base.
#[test]
fn federated_rounds() {
    let library = with(&["when counting, try small cases first", "when stuck, draw a picture"]);
    let ids: Vec<ExperienceId> = library.iter().map(|(id, _)| *id).collect();
    let contributions = [
        contribution(&library, "bob", vec![Operation::Delete { id: ids[0] }, Operation::Keep]),
        contribution(
            &library,
            "alice",
            vec![Operation::Modify { id: ids[0], draft: draft("when counting, find a bijection") }],
        ),
        contribution(&library, "dave", vec![Operation::Add(draft("when done, test the extremes"))]),
        contribution(
            &library,
            "carol",
            vec![Operation::Add(draft("when done test the extremes")), Operation::Delete { id: ids[0] }],
        ),
    ];
    let mut ends = Vec::new();
    for rotation in 0..4 {
        let mut round = FederatedRound::new(&library, 2);
        let mut order = contributions.to_vec();
        order.rotate_left(rotation);
        for contribution in order {
            round.submit(contribution).unwrap();
        }
        let mut next = library.clone();
        let finished = round.without_model();
        // The second delete is the same as the first.
        assert_eq!(finished.operations.len(), 4);
        let applied = finished.apply(&mut next, &Stamp::new(9, "coordinator")).unwrap();
        // Sorted by submitter: alice's modification, bob's delete, carol's and dave's addition.
        assert_eq!(applied.outcomes[0], Outcome::Skipped(SkipReason::Superseded { by: 1 }));
        assert!(matches!(applied.outcomes[3], Outcome::Merged { .. }));
        let mut by_model = round.with_model(&library, config()).unwrap();
        let prompt = by_model.requests().remove(0).prompt;
        assert_eq!(prompt.stage, Stage::Consolidate);
        by_model.run(&mut ScriptedLlm::new().then(r#"[{"option": "delete", "delete_id": "G0"}]"#)).unwrap();
        assert_eq!(by_model.finish().unwrap().operations, [Operation::Delete { id: ids[0] }]);
        ends.push((next.checkpoint(), prompt));
        assert!(round.with_model(&next, config()).is_err());
    }
    assert!(ends.windows(2).all(|pair| pair[0] == pair[1]));

    let mut round = FederatedRound::new(&library, 2);
    let other = with(&["else"]);
    let stale = contribution(&other, "eve", vec![]);
    assert_eq!(round.submit(stale), Err(Error::StaleBase));
    let many = contribution(&library, "eve", vec![Operation::Keep; 3]);
    assert_eq!(round.submit(many), Err(Error::OutOfRange { field: "operations" }));
    let unknown = other.iter().next().map(|(id, _)| *id).unwrap();
    let foreign = contribution(&library, "eve", vec![Operation::Delete { id: unknown }]);
    assert_eq!(round.submit(foreign), Err(Error::UnknownId { id: unknown }));
    let small = contribution(&library, "eve", vec![Operation::Merge { ids: vec![ids[0]; 2], draft: None }]);
    assert_eq!(round.submit(small), Err(Error::MergeTooSmall { got: 1 }));
    let mut bad = draft("fine");
    bad.confidence_ppm = 1_000_001;
    assert!(round.submit(contribution(&library, "eve", vec![Operation::Add(bad)])).is_err());
    assert_eq!(round.submitters().count(), 0);
    round.submit(contribution(&library, "eve", vec![])).unwrap();
    assert_eq!(round.submit(contribution(&library, "eve", vec![])), Err(Error::DuplicateSubmitter));
    // Nothing to consolidate costs no call.
    assert!(round.with_model(&library, config()).unwrap().is_done());
}
