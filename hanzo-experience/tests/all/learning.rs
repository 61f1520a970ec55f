//! Training-Free GRPO: the stages of a round.

use crate::support::data::{data, list, number, text};
use crate::support::lessons::{config, library, texts, with};
use hanzo_experience::grpo::{
    Aliases, Completion, Event, Group, ParsedOperation, Prompt, Rollout, Round, ScriptedLlm, SkipCause, Stage,
    Template, Templates, group_advantages, parse_operations,
};
use hanzo_experience::{Error, ExperienceId, Operation, Stamp};

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
