//! Training-Free GRPO from end to end; `--help` says how to call it.
//!
//! A model attempts questions whose right answers follow a hidden rule, draws lessons from what won, and is scored on
//! questions held out. In one epoch rewards lie: the lessons drawn then do harm, the score falls, and the library goes
//! back to its best state.

mod client;
mod options;

use std::error::Error;
use std::fmt::{Display, Write as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use hanzo::experience::grpo::{
    Author, BudgetError, Budgeted, Event, Llm, Retrying, RoundConfig, TrainError, TrainingConfig, TrainingFreeGrpo,
    TrainingReport, Verdict, train,
};
use hanzo::experience::{Library, LibraryConfig};
use hanzo_examples::chart::{Line, Lines};
use hanzo_examples::moves::{Brain, World, total};
use hanzo_examples::page::{self, Page};
use hanzo_examples::{program, say};

use client::{ChatClient, ChatError};
use options::{HELP, Options};

type Result<T, E = Box<dyn Error>> = std::result::Result<T, E>;

/// What came of a training.
struct Trained {
    library: Library,
    course: TrainingFreeGrpo,
    report: TrainingReport,
    world: World,
    /// Whether the budget ended it.
    spent: bool,
    calls: u64,
}

fn main() -> ExitCode {
    program::main("training_free_grpo", HELP, options::parse, run)
}

fn run(options: &Options) -> Result<()> {
    let trained = match &options.server {
        None => learn(options, Brain::new(options.seed))?,
        Some(url) => {
            let client = ChatClient::new(url, &options.model, std::env::var("OPENAI_API_KEY").ok())?;
            learn(options, patient(client, Duration::from_secs(2)))?
        }
    };
    let text = summary(&trained, options)?;
    program::show(&text);
    if let Some(folder) = &options.report {
        let file = write_report(folder, &trained, &text)?;
        say!("\nwrote {}", file.display());
    }
    Ok(())
}

/// A client that asks up to three times more, after a pause, where that may help.
fn patient(client: ChatClient, pause: Duration) -> impl Llm<Error = ChatError> {
    Retrying::new(client, move |failures, error: &ChatError| {
        let again = failures <= 3 && error.is_passing();
        if again {
            std::thread::sleep(pause * failures);
        }
        again
    })
}

fn learn<L: Llm<Error: Display>>(options: &Options, llm: L) -> Result<Trained> {
    let config = LibraryConfig::new("example.com/training-free-grpo".parse()?).capacity(options.capacity);
    let mut library = Library::new(config)?;
    let training = TrainingConfig::new(options.questions)?.epochs(options.epochs).batch(options.batch)?;
    let mut course = TrainingFreeGrpo::new(training, &library);
    let mut world = World::new(options.poison.checked_sub(1));
    let mut llm = Budgeted::new(llm, options.calls, u64::MAX);
    let settings = RoundConfig::new(Author::new("moves".parse()?, "trainer", 0).model(options.model.clone()));
    let (report, spent) = match train(&mut course, &mut library, &mut world, &mut llm, &settings, "trainer") {
        Ok(report) => (report, false),
        Err(TrainError::Environment(BudgetError::Spent) | TrainError::Llm(BudgetError::Spent)) => {
            (TrainingReport::default(), true)
        }
        Err(TrainError::Refused(error)) => return Err(error.into()),
        Err(TrainError::Environment(BudgetError::Llm(error)) | TrainError::Llm(BudgetError::Llm(error))) => {
            return Err(format!("the model failed: {error}").into());
        }
        Err(_) => return Err("the training failed".into()),
    };
    let calls = options.calls - llm.calls();
    Ok(Trained { library, course, report, world, spent, calls })
}

fn summary(trained: &Trained, options: &Options) -> Result<String> {
    let Trained { library, course, report, world, .. } = trained;
    let mut text = String::new();
    if trained.spent {
        writeln!(text, "the budget of {} calls is spent; the library is as it was before the batch", options.calls)?;
    }
    writeln!(text, "epoch   held out")?;
    let mut first = true;
    for event in &world.events {
        match event {
            Event::Scored { epoch, score_ppm, best } => {
                let label = if first { "start".into() } else { (epoch + 1).to_string() };
                let note = if *best { "  best so far" } else { "" };
                writeln!(text, "{label:>5} {:>8.1} %{note}", f64::from(*score_ppm) / 1e4)?;
                first = false;
            }
            Event::Restored { score_ppm } => {
                writeln!(text, "      back to the state that scored {:.1} %", f64::from(*score_ppm) / 1e4)?;
            }
            _ => {}
        }
    }
    let sum = total(&report.rounds);
    writeln!(
        text,
        "\n{} calls in all; lessons took {} of them, with {} tokens read and {} written",
        trained.calls, sum.calls, sum.prompt_tokens, sum.completion_tokens
    )?;
    writeln!(
        text,
        "{} groups taught nothing; {} replies went back for repair, {} operations were refused for good",
        sum.skipped.len(),
        sum.repairs,
        sum.rejected.len()
    )?;
    let most = world.sizes.iter().max().copied().unwrap_or(0);
    writeln!(text, "{} lessons, never more than {most} (at most {})", library.len(), options.capacity)?;
    for (_, content) in library.iter() {
        writeln!(text, "  {}", content.text())?;
    }
    writeln!(text, "log of {} entries, state {}", library.log().size(), library.state_root().commitment())?;
    if let Some(best) = course.state().best() {
        let is = if library.state_root() == best.state { "is" } else { "is not yet" };
        writeln!(text, "the library {is} in its best state, {:.1} %", f64::from(best.score_ppm) / 1e4)?;
    }
    Ok(text)
}

fn write_report(folder: &Path, trained: &Trained, text: &str) -> Result<PathBuf, String> {
    let line = |name: &str, points, dashed| Line { name: name.into(), points, steps: false, dashed };
    let scores = &trained.report.scores;
    let score = |ppm: u32| f64::from(ppm) / 1e4;
    let held_out: Vec<(f64, f64)> = (0..).zip(scores).map(|(x, (_, ppm, _))| (f64::from(x), score(*ppm))).collect();
    // The score of the state that is kept after each epoch.
    let mut best = 0;
    let kept = scores.iter().map(|(_, ppm, verdict)| {
        best = if *verdict == Verdict::Best { *ppm } else { best };
        if *verdict == Verdict::Restored { best } else { *ppm }
    });
    let kept: Vec<(f64, f64)> = (0..).map(f64::from).zip(kept.map(score)).collect();
    let chart =
        |x: &str, y: &str, lines| Lines { x_label: x.into(), y_label: y.into(), lines, ..Lines::default() }.to_svg();
    let learning =
        chart("epoch", "right answers (%)", vec![line("held out", held_out, false), line("kept", kept, true)]);
    let sizes = trained.world.sizes.iter().enumerate().map(|(x, size)| (x as f64, *size as f64)).collect();
    let sizes = Line { steps: true, ..line("lessons", sizes, false) };
    let page = Page::new("Training-Free GRPO")
        .chart("Right answers to questions held out", &learning)
        .chart("Lessons after each step", &chart("step (a batch learned, or a score)", "lessons", vec![sizes]));
    page::write(folder, "training.html", &page.with_figures(text))
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead, BufReader, Read, Write as _};
    use std::net::{Ipv4Addr, TcpListener};

    use super::*;

    fn options(arguments: &[&str]) -> Options {
        options::parse(lexopt::Parser::from_args(arguments)).unwrap().unwrap()
    }

    #[test]
    fn it_learns_and_takes_harm_back() {
        let options = options(&[]);
        let trained = learn(&options, Brain::new(1)).unwrap();
        let scores = &trained.report.scores;
        let best = trained.course.state().best().unwrap();
        assert!(scores[0].1 < 500_000 && best.score_ppm > 800_000, "{scores:?}");
        assert!(scores.iter().any(|(epoch, _, verdict)| *epoch == 3 && *verdict == Verdict::Restored), "{scores:?}");
        assert_eq!(trained.library.state_root(), best.state);
        assert!(trained.world.sizes.iter().all(|size| *size <= 12));
        let again = learn(&options, Brain::new(1)).unwrap();
        assert_eq!(again.library.checkpoint(), trained.library.checkpoint());
        assert_ne!(learn(&options, Brain::new(2)).unwrap().library.checkpoint(), trained.library.checkpoint());
    }

    #[test]
    fn a_budget_ends_it() {
        let trained = learn(&options(&["--calls", "70"]), Brain::new(1)).unwrap();
        assert!(trained.spent && trained.calls == 70 && trained.library.is_empty());
    }

    /// The same loop over real HTTP, against a server that is busy at times and answers with lengths or in chunks: the
    /// library is the one that the same model makes without a server.
    #[test]
    fn a_server_makes_the_same_library() {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let url = format!("http://{}/v1", listener.local_addr().unwrap());
        let server = std::thread::spawn(move || {
            let mut brain = Brain::new(5);
            for (count, stream) in listener.incoming().enumerate() {
                let mut stream = stream.unwrap();
                let mut reader = BufReader::new(stream.try_clone().unwrap());
                let mut head = Vec::new();
                loop {
                    let mut line = String::new();
                    reader.read_line(&mut line).unwrap();
                    if line.trim().is_empty() {
                        break;
                    }
                    head.push(line.trim().to_lowercase());
                }
                if head.is_empty() {
                    return count;
                }
                assert_eq!(head[0], "post /v1/chat/completions http/1.1");
                assert!(head.contains(&"authorization: bearer secret".to_owned()));
                let length = head.iter().find_map(|line| line.strip_prefix("content-length: ")?.parse().ok()).unwrap();
                let mut body = vec![0; length];
                reader.read_exact(&mut body).unwrap();
                if count % 97 == 3 {
                    stream.write_all(b"HTTP/1.1 429 Busy\r\nContent-Length: 0\r\n\r\n").unwrap();
                    continue;
                }
                let body: serde_json::Value = serde_json::from_slice(&body).unwrap();
                assert_eq!(body["model"], "toy");
                let content = |index: usize| body["messages"][index]["content"].as_str().unwrap();
                let reply = brain.reply(content(0), content(1), body["temperature"].as_f64().unwrap());
                let reply = serde_json::json!({
                    "choices": [{"message": {"role": "assistant", "content": reply}}],
                    "usage": {"prompt_tokens": 7, "completion_tokens": 3},
                });
                let reply = reply.to_string();
                let message = if count % 2 == 0 {
                    format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{reply}", reply.len())
                } else {
                    let (a, b) = reply.split_at(9);
                    let size = b.len();
                    format!(
                        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n9\r\n{a}\r\n{size:x}\r\n{b}\r\n0\r\n\r\n"
                    )
                };
                stream.write_all(message.as_bytes()).unwrap();
            }
            unreachable!("a listener goes on")
        });
        let options = options(&["--model", "toy", "--epochs", "2", "--poison", "0"]);
        let client = ChatClient::new(&url, "toy", Some("secret".into())).unwrap();
        let trained = learn(&options, patient(client, Duration::ZERO)).unwrap();
        let local = learn(&options, Brain::new(5)).unwrap();
        assert_eq!(trained.library.checkpoint(), local.library.checkpoint());
        assert!(!trained.library.is_empty());
        let sum = total(&trained.report.rounds);
        assert_eq!((sum.prompt_tokens, sum.completion_tokens), (7 * sum.calls, 3 * sum.calls));
        // A connection without a request ends the server.
        drop(std::net::TcpStream::connect(url.trim_start_matches("http://").trim_end_matches("/v1")).unwrap());
        let served = server.join().unwrap() as u64;
        assert!(served > trained.calls, "{served} exchanges, some of them refused");
    }
}
