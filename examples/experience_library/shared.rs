//! Two replicas with signed votes, and a registry of what they share.

use hanzo::experience::crdt::{SignedVote, vote_message};
use hanzo::experience::registry::{Event, Registry, RegistryConfig, Submission};
use hanzo::experience::sync::Session;
use hanzo::experience::{Account, ExperienceId, Library, Mode, Operation, Stamp, Vote};
use hanzo::pqc::{Signature, SignatureAlgorithm, SigningKey, VerifyingKey};
use hanzo_examples::say;

use crate::lessons::{self, Lesson};
use crate::{NOW, Result, money};

/// A second replica learns the library, adds a lesson of its own and a signed vote, and the first learns them.
pub(crate) fn sync(library: &mut Library) -> Result<()> {
    let key = SigningKey::from_seed(SignatureAlgorithm::MlDsa65, &[7; 32])?;
    let public = key.verifying_key().clone();
    let verifier = |voter: &str, message: &[u8], signature: &[u8]| voter == "ann" && holds(&public, message, signature);
    let at = library.entries().last().map_or(NOW, |entry| entry.at());
    let mut replica = Library::new(library.config().clone().replica("second"))?;

    say!("share");
    let bytes = exchange(library, &mut replica, at, &verifier)?;
    say!("  the second replica learned {} experiences with {bytes} bytes", replica.len());

    let (id, domain) = {
        let (id, content) = library.iter().next().ok_or("the library is empty")?;
        (*id, content.domain().clone())
    };
    let text = "When a tool fails twice in the same way, change the plan instead of the arguments.".to_owned();
    let lesson = Operation::Add(lessons::draft(&Lesson { domain, text }, at)?);
    replica.apply(&Stamp::new(at, "second"), Mode::Atomic, &[lesson])?;
    replica.record_signed_vote(&id, "ann", vote(library, &key, &id)?, &verifier)?;
    library.record_use(&id, 3)?;
    let bytes = exchange(library, &mut replica, at, &verifier)?;
    let (ours, theirs) = (library.state_root(), replica.state_root());
    if ours != theirs || !library.records().eq(replica.records()) {
        return Err("the replicas differ".into());
    }
    say!("  one lesson, one vote and three uses later: {bytes} bytes, and both have state {}", ours.commitment());

    let forged = SignedVote::new(2, Vote::Down, vec![0; 3_309])?;
    match replica.record_signed_vote(&id, "ann", forged, &verifier) {
        Ok(_) => return Err("a forged vote was taken".into()),
        Err(_) => say!("  a vote that ann did not sign was refused"),
    }
    Ok(())
}

fn vote(library: &Library, key: &SigningKey, id: &ExperienceId) -> Result<SignedVote> {
    let message = vote_message(library.config().origin(), id, 1, Vote::Up);
    Ok(SignedVote::new(1, Vote::Up, key.sign_deterministic(&message)?.as_bytes().to_vec())?)
}

fn holds(key: &VerifyingKey, message: &[u8], signature: &[u8]) -> bool {
    Signature::from_bytes(signature).is_ok_and(|signature| key.verify(message, &signature).is_ok())
}

/// One session, both ways; the bytes it took.
fn exchange(
    a: &mut Library,
    b: &mut Library,
    at: u64,
    verifier: &impl Fn(&str, &[u8], &[u8]) -> bool,
) -> Result<usize> {
    let (mut left, mut right) = (Session::new(a), Session::new(b));
    let mut bytes = 0;
    let mut to_right = left.start();
    while !to_right.is_empty() {
        let mut to_left = Vec::new();
        for frame in to_right.drain(..) {
            bytes += frame.len();
            to_left.extend(right.on_frame(&frame)?);
        }
        for frame in to_left {
            bytes += frame.len();
            to_right.extend(left.on_frame(&frame)?);
        }
    }
    let (for_a, for_b) = (left.finish(), right.finish());
    a.merge(&Stamp::new(at, "first"), &for_a, verifier)?;
    b.merge(&Stamp::new(at, "second"), &for_b, verifier)?;
    b.embed_missing(&lessons::encoder())?;
    a.embed_missing(&lessons::encoder())?;
    Ok(bytes)
}

/// The library is registered with a bond; a newcomer takes the file that the registry names, and no other.
pub(crate) fn register(library: &Library, file: &[u8]) -> Result<()> {
    let account = |name: &str| name.parse::<Account>();
    let Some(cid) = library.snapshot().cid() else {
        say!("register: skipped, the file is larger than one block");
        return Ok(());
    };
    let mut registry = Registry::new(RegistryConfig::new(1_000_000));
    let submission = Submission {
        submitter: account("first")?,
        commitment: library.state_root().commitment(),
        state: library.state_root(),
        cid: cid.to_string(),
        schema: 0,
        attestation: [0; 32],
        bond: 25_000_000,
    };
    let mut effects = registry.on(NOW, Event::Submit(submission))?;
    let own = Event::Vote { entry: 0, voter: account("first")?, score: 1_000, stake: 1 };
    let refused = registry.on(NOW, own).err().ok_or("a vote on the own entry was taken")?;
    for (voter, score, stake) in [("ann", 900, 30), ("bob", 700, 20), ("cat", 200, 10)] {
        effects.extend(registry.on(NOW, Event::Vote { entry: 0, voter: account(voter)?, score, stake })?);
    }
    let mut newcomer = Library::new(library.config().clone().replica("newcomer"))?;
    say!("register");
    say!("  a vote on the own entry: {refused}");
    for number in registry.to_fetch() {
        let Some(entry) = registry.entry(number) else { continue };
        let snapshot = entry.check_file(file)?;
        let mut other = file.to_vec();
        other[0] ^= 1;
        if entry.check_file(&other).is_ok() {
            return Err("another file was taken".into());
        }
        let stamp = Stamp::new(NOW, "newcomer").reference(format!("entry/{number}"));
        let applied = newcomer.import_state(&stamp, snapshot.contents().iter().cloned(), &entry.submission().state)?;
        let quality = entry.quality().unwrap_or(0);
        say!(
            "  entry {number}, quality {quality}: a newcomer checked the file and took {} lessons",
            applied.added.len()
        );
    }
    let unlocked = NOW + 604_800;
    effects.extend(registry.on(unlocked, Event::Withdraw { entry: 0, by: account("first")? })?);
    say!("  bond: {}", money(&effects));
    Ok(())
}
