//! Training-Free GRPO: the course of a training, and models around models.

use std::convert::Infallible;
use std::pin::pin;
use std::task::{Context, Poll, Waker};

use crate::support::lessons::{config, draft, library, with};
use hanzo_experience::grpo::{
    AsyncEnvironment, BudgetError, Budgeted, Environment, Event, Group, Llm, Prompt, Recorded, Retrying, Rollout,
    Round, ScriptError, ScriptedLlm, Stage, Step, TrainError, TrainingConfig, TrainingFreeGrpo, TrainingState,
    Transcript, Verdict, train, train_async,
};
use hanzo_experience::{Error, Library, Mode, Operation, Stamp};

/// Polls a future of ready parts to its end, as a runtime would.
fn block_on<F: Future>(future: F) -> F::Output {
    let mut future = pin!(future);
    loop {
        if let Poll::Ready(output) = future.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            return output;
        }
    }
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
