//! A library of lessons that anyone can check; `--help` says how to call it.
//!
//! The tour: build, prove, retrieve, govern, share between two replicas, register, keep, and verify in a second process.

mod lessons;
mod options;
mod shared;

use std::error::Error;
use std::path::Path;
use std::process::ExitCode;

use hanzo::experience::governance::{Choice, Event, Governance, GovernanceConfig, PowerSnapshot, ProposalKind};
use hanzo::experience::merkle::{Hash, leaf_hash};
use hanzo::experience::{
    Account, Effect, ExperienceId, Library, LibraryConfig, Mode, Operation, Outcome, Search, Snapshot, Stamp, render,
    within_budget,
};
use hanzo_examples::{program, say};

use crate::lessons::Lesson;
use crate::options::{Command, HELP, Options};

type Result<T, E = Box<dyn Error>> = std::result::Result<T, E>;

/// When the tour takes place, so that each run writes the same bytes.
const NOW: u64 = 1_760_702_400;

fn main() -> ExitCode {
    program::main("experience_library", HELP, options::parse, act)
}

fn act(command: &Command) -> Result<()> {
    match command {
        Command::Show(options) => show(options),
        Command::Verify { file, commitment } => verify(file, commitment),
    }
}

fn show(options: &Options) -> Result<()> {
    let lessons = lessons::read(&options.files)?;
    let drafts = Drafts::of(&lessons)?;
    let temporary = std::env::temp_dir().join(format!("experience-library-{}", std::process::id()));
    let folder = options.out.as_deref().unwrap_or(&temporary);
    std::fs::create_dir_all(folder).map_err(|error| format!("cannot make {}: {error}", folder.display()))?;
    let done = tour(&drafts, options, folder);
    if options.out.is_none() {
        let _ = std::fs::remove_dir_all(&temporary);
    }
    done
}

fn tour(drafts: &Drafts<'_>, options: &Options, folder: &Path) -> Result<()> {
    let mut library = build(drafts)?;
    prove(&library)?;
    retrieve(&library, options)?;
    govern(&mut library)?;
    shared::sync(&mut library)?;
    keep(folder, &library)
}

/// Lessons as they can be taken, and those that cannot.
struct Drafts<'a> {
    operations: Vec<Operation>,
    refused: Vec<(&'a Lesson, hanzo::experience::Error)>,
}

impl<'a> Drafts<'a> {
    fn of(lessons: &'a [Lesson]) -> Result<Self> {
        let (mut operations, mut refused) = (Vec::new(), Vec::new());
        for lesson in lessons {
            match lessons::draft(lesson, NOW) {
                Ok(draft) => operations.push(Operation::Add(draft)),
                Err(error) => refused.push((lesson, error)),
            }
        }
        if operations.is_empty() {
            return Err("no lesson can be taken: each needs 1 to 32 words".into());
        }
        Ok(Self { operations, refused })
    }
}

/// One batch of additions; what cannot be taken is counted, not lost.
fn build(drafts: &Drafts<'_>) -> Result<Library> {
    let Drafts { operations, refused } = drafts;
    let config = LibraryConfig::new("example.com/experience/tour".parse()?).replica("first");
    let mut library = Library::new(config.encoder(lessons::ENCODER, lessons::DIMENSION))?;
    let applied = library.apply(&Stamp::new(NOW, "tour"), Mode::Lenient, operations)?;
    say!("build");
    say!("  {} texts, {} refused", operations.len() + refused.len(), refused.len());
    if let Some((lesson, error)) = refused.first() {
        say!("  the first of them: {error}: {:.60}..", lesson.text);
    }
    for (operation, outcome) in operations.iter().zip(&applied.outcomes) {
        if let (Some(draft), Outcome::Merged { from, .. }) = (operation.draft(), outcome) {
            let new = draft.text.as_str();
            let texts = from.iter().filter_map(|id| library.archived(id)).map(|content| content.text().as_str());
            for known in texts.filter(|text| *text != new) {
                say!("  near copies were merged, {} % the same words:", lessons::overlap(new, known));
                say!("    {known:.90}\n    {new:.90}");
            }
        }
    }
    say!("  {} active, state {}", library.len(), library.state_root().commitment());
    say!("  log of {} entries, root {}", library.log().size(), library.log().root());
    Ok(library)
}

/// Proofs that a stranger can check against what the library published.
fn prove(library: &Library) -> Result<()> {
    let state = library.state_root();
    let ids: Vec<ExperienceId> = library.iter().map(|(id, _)| *id).step_by(3).collect();
    let one = library.state().prove_present(&ids[0])?;
    state.verify_present(&ids[0], &one)?;
    let many = library.state().prove_many(&ids)?;
    state.verify_many(&ids, &many)?;
    let stranger: ExperienceId = leaf_hash(b"never learned").into();
    let absent = library.state().prove_absent(&stranger)?;
    state.verify_absent(&stranger, &absent)?;

    let (log, checkpoint) = (library.log(), library.checkpoint());
    let entry = library.entries()[0].leaf();
    checkpoint.verify_inclusion(0, &entry, &log.prove_inclusion(0, checkpoint.size())?)?;
    say!("prove");
    say!("  one experience is there: {} hashes", one.path.hashes().len());
    say!("  {} are there: {} hashes in one proof", ids.len(), many.siblings.hashes().len());
    say!("  a stranger is not there: two neighbours");
    let mut forged = one.clone();
    forged.index += 1;
    match state.verify_present(&ids[0], &forged) {
        Ok(()) => return Err("a forged proof was accepted".into()),
        Err(error) => say!("  the proof moved by one: {error}"),
    }
    Ok(())
}

fn retrieve(library: &Library, options: &Options) -> Result<()> {
    let query = options.query.as_deref().unwrap_or("the discriminant of this quadratic is negative, what do I answer?");
    let search = Search::new(options.k).diversity(0.7);
    let hits = library.retrieve_text(&lessons::encoder(), query, &search)?;
    let fitting = within_budget(library, &hits, options.tokens, |text| text.split(' ').count())?;
    say!("retrieve");
    say!("  {} lessons, {} within {} words", hits.len(), fitting.len(), options.tokens);
    for line in render(library, query, &fitting)?.lines() {
        say!("  | {line}");
    }
    Ok(())
}

/// A proposal changes the library only after a vote, and the log says which.
fn govern(library: &mut Library) -> Result<()> {
    let account = |name: &str| name.parse::<Account>();
    let mut governance = Governance::new(GovernanceConfig::new(1_000_000));
    let power = [(account("ann")?, 400), (account("bob")?, 300), (account("cat")?, 200)];
    let domain = library.iter().next().map(|(_, content)| content.domain().clone());
    let lesson = Lesson {
        domain: domain.ok_or("the library is empty")?,
        text: "When a result looks too good, repeat it with another seed before you report it.".into(),
    };
    let operations = vec![Operation::Add(lessons::draft(&lesson, NOW)?)];
    let kind = ProposalKind::Experience { operations, base: library.state_root() };
    let power = PowerSnapshot::new(1_000, power)?;
    let mut effects = governance.on(NOW, Event::Propose { proposer: account("ann")?, kind, start: NOW, power })?;
    for (voter, choice) in [("ann", Choice::Yes), ("bob", Choice::Yes), ("cat", Choice::No)] {
        effects.extend(governance.on(NOW + 60, Event::Vote { proposal: 0, voter: account(voter)?, choice })?);
    }
    let late = Event::Vote { proposal: 0, voter: account("cat")?, choice: Choice::No };
    let end = governance.proposal(0).map_or(0, |proposal| proposal.end());
    let refused = governance.on(end, late).err().ok_or("a late vote was taken")?;
    effects.extend(governance.on(end, Event::Finalize { proposal: 0 })?);
    let state = Some(library.state_root());
    effects.extend(governance.on(end, Event::Execute { proposal: 0, state })?);
    let proposal = governance.proposal(0).ok_or("no proposal")?;
    if let ProposalKind::Experience { operations, .. } = proposal.kind() {
        let stamp = Stamp::new(end, "governance").reference("proposal/0");
        library.apply(&stamp, Mode::Atomic, operations)?;
    }
    let settled = 2 * end - NOW;
    effects.extend(governance.on(settled, Event::Settle { proposal: 0 })?);
    say!("govern");
    let tally = proposal_tally(&governance);
    say!("  {tally}, a late vote: {refused}");
    say!("  stake: {}", money(&effects));
    say!("  {} active, entry {} refers to proposal/0", library.len(), library.log().size() - 1);
    Ok(())
}

fn proposal_tally(governance: &Governance) -> String {
    governance.proposal(0).map_or(String::new(), |proposal| {
        let tally = proposal.tally();
        let percent = f64::from(tally.turnout_bps) / 100.0;
        format!("yes {}, no {}, turnout {percent} %: {}", tally.yes, tally.no, proposal.status().as_str())
    })
}

/// What was locked, released, burned and paid, in base units.
pub(crate) fn money(effects: &[Effect]) -> String {
    let mut sums = [("locked", 0), ("released", 0), ("burned", 0), ("paid", 0)];
    for effect in effects {
        match effect {
            Effect::Lock { amount, .. } => sums[0].1 += amount,
            Effect::Release { amount, .. } => sums[1].1 += amount,
            Effect::Burn { amount, .. } => sums[2].1 += amount,
            Effect::Pay { amount, .. } => sums[3].1 += amount,
            _ => {}
        }
    }
    sums.map(|(what, sum)| format!("{what} {sum}")).join(", ")
}

/// Writes the snapshot, has a second process verify it, and lets a newcomer fetch it by way of a registry.
fn keep(folder: &Path, library: &Library) -> Result<()> {
    let file = folder.join("library.hxs");
    std::fs::write(&file, library.snapshot().to_bytes())
        .map_err(|error| format!("cannot write {}: {error}", file.display()))?;
    let commitment = library.state_root().commitment();
    let bytes = std::fs::metadata(&file)?.len();
    say!("keep");
    say!("  snapshot of {bytes} bytes, CID {}", library.snapshot().cid().map_or("-".into(), |cid| cid.to_string()));
    let second = std::process::Command::new(std::env::current_exe()?)
        .arg("--verify")
        .arg(&file)
        .args(["--commitment", &commitment.to_string()])
        .output()?;
    if !second.status.success() {
        return Err(format!("the second process: {}", String::from_utf8_lossy(&second.stderr).trim()).into());
    }
    say!("{}", String::from_utf8_lossy(&second.stdout).trim_end());
    shared::register(library, &std::fs::read(&file)?)
}

/// What the second process does: it trusts the commitment and nothing else.
fn verify(file: &Path, commitment: &Hash) -> Result<()> {
    let shown = file.display();
    let bytes = std::fs::read(file).map_err(|error| format!("cannot read {shown}: {error}"))?;
    let snapshot = Snapshot::from_bytes(&bytes).map_err(|error| format!("{shown}: {error}"))?;
    if snapshot.state_root().commitment() != *commitment {
        return Err(format!("{shown} holds another state").into());
    }
    let checkpoint = snapshot.checkpoint();
    say!(
        "  second process: {} experiences and {} log entries are as committed",
        snapshot.contents().len(),
        checkpoint.size()
    );
    Ok(())
}
