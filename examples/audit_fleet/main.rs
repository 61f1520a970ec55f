//! A fleet with named cheats, audited epoch by epoch.
//!
//! Workers attest, a beacon draws, verifiers execute again, disputes find the wrong step, and evidence goes into files.
//! A second command reads what was public and nothing else, comes to the same rulings byte for byte, and checks every
//! piece of evidence. `--help` lists the options.

mod fleet;
mod judge;
mod model;
mod options;
mod proof;
mod public;
mod report;

use std::path::Path;
use std::process::ExitCode;

use fleet::Fleet;
use hanzo_examples::{program, say};
use judge::{Book, Ruling};
use options::{HELP, Options};
use proof::ProofFile;
use public::{Policy, Public, read, text};

/// One line for the user.
pub(crate) type Result<T, E = Box<dyn std::error::Error>> = std::result::Result<T, E>;

fn main() -> ExitCode {
    program::main("audit_fleet", HELP, options::parse, act)
}

fn act(options: &Options) -> Result<()> {
    match options {
        Options::Play { epochs, jobs, seed, out } => play(*epochs, *jobs, *seed, out.as_deref()),
        Options::Verify(folder) => verify(folder),
    }
}

/// One epoch's files.
struct Done {
    public: Public,
    ruling: Ruling,
    proofs: Vec<ProofFile>,
}

fn play(epochs: u64, jobs: u64, seed: u64, out: Option<&Path>) -> Result<()> {
    if let Some(out) = out
        && out.exists()
    {
        return Err(format!("{}: exists already", out.display()).into());
    }
    let (policy, done) = run(epochs, jobs, seed)?;
    program::show(&report::summary(&policy, &done));
    if let Some(out) = out {
        write(out, &policy, &done)?;
        say!("\nwrote {}", out.display());
    }
    Ok(())
}

fn run(epochs: u64, jobs: u64, seed: u64) -> Result<(Policy, Vec<Done>)> {
    let (mut fleet, policy) = Fleet::new(seed, epochs)?;
    let mut book = Book::new(policy.clone())?;
    let mut done = Vec::new();
    for epoch in 0..epochs {
        let public = fleet.epoch(&book, epoch, jobs)?;
        let (ruling, proofs) = book.judge(&public)?;
        done.push(Done { public, ruling, proofs });
    }
    Ok((policy, done))
}

fn write(out: &Path, policy: &Policy, done: &[Done]) -> Result<()> {
    let put = |name: String, text: String| -> Result<()> {
        let path = out.join(name);
        std::fs::write(&path, text).map_err(|error| format!("{}: {error}", path.display()).into())
    };
    let folder = out.join("evidence");
    std::fs::create_dir_all(&folder).map_err(|error| format!("{}: {error}", folder.display()))?;
    put("policy.json".into(), text(policy)?)?;
    for Done { public, ruling, proofs } in done {
        put(format!("epoch-{:03}.json", public.epoch), text(public)?)?;
        put(format!("ruling-{:03}.json", public.epoch), text(ruling)?)?;
        for (at, proof) in proofs.iter().enumerate() {
            put(evidence_name(public.epoch, at), text(proof)?)?;
        }
    }
    put("report.html".into(), report::html(policy, done))
}

fn evidence_name(epoch: u64, at: usize) -> String {
    format!("evidence/{epoch:03}-{at:02}.json")
}

/// Reads policy, public bytes and evidence; everything else is worked out.
fn verify(folder: &Path) -> Result<()> {
    let policy: Policy = read(&folder.join("policy.json"))?;
    let mut book = Book::new(policy.clone())?;
    let (mut draws, mut verdicts, mut evidence) = (0, 0, 0);
    for epoch in 0..policy.epochs {
        let public: Public = read(&folder.join(format!("epoch-{epoch:03}.json")))?;
        if public.epoch != epoch {
            return Err(format!("epoch {epoch}: the file is of epoch {}", public.epoch).into());
        }
        let (ruling, proofs) = book.judge(&public).map_err(|error| format!("epoch {epoch}: {error}"))?;
        same(&folder.join(format!("ruling-{epoch:03}.json")), &text(&ruling)?)?;
        for (at, proof) in proofs.iter().enumerate() {
            let path = folder.join(evidence_name(epoch, at));
            same(&path, &text(proof)?)?;
            // And by itself, from the file and the keys alone.
            let file: ProofFile = read(&path)?;
            file.check(&policy, book.keys(), book.model()).map_err(|error| format!("{}: {error}", path.display()))?;
            evidence += 1;
        }
        draws += ruling.draws.len();
        verdicts += ruling.outcomes.iter().map(|row| row.verdicts).sum::<u64>();
    }
    say!("{} epochs: {draws} draws, {verdicts} verdicts, {evidence} pieces of evidence", policy.epochs);
    say!("every ruling came out the same, byte for byte");
    Ok(())
}

fn same(path: &Path, want: &str) -> Result<()> {
    let got = std::fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))?;
    if got == want { Ok(()) } else { Err(format!("{}: differs from what the public bytes say", path.display()).into()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_guilty_and_only_the_guilty() {
        let (policy, done) = run(6, 40, 3).unwrap();
        let mut book = Book::new(policy.clone()).unwrap();
        let mut slashed = std::collections::BTreeMap::new();
        for epoch in &done {
            // Bytes alone lead to the same ruling.
            let public: Public = serde_json::from_str(&text(&epoch.public).unwrap()).unwrap();
            let (ruling, proofs) = book.judge(&public).unwrap();
            assert_eq!((&ruling, &proofs), (&epoch.ruling, &epoch.proofs));
            for order in &ruling.orders {
                *slashed.entry(order.party.clone()).or_insert(0u32) += u32::from(order.bps);
            }
        }
        for honest in ["ada", "bea", "cleo", "examiner", "vera", "viktor", "vilma", "vito", "volker"] {
            assert_eq!(slashed.get(honest), None, "{honest}");
        }
        for cheat in ["lazy", "downgrader", "boaster", "two-faced", "sleeper", "rubber-stamp", "mute"] {
            assert!(slashed.get(cheat).is_some_and(|bps| *bps > 0), "{cheat}: {slashed:?}");
        }
    }

    #[test]
    fn a_changed_byte_is_noticed() {
        let (policy, done) = run(2, 20, 5).unwrap();
        let good = text(&done[0].public).unwrap();
        let before = text(&done[0].ruling).unwrap();
        let mut noticed = 0;
        for at in (good.find("\"attestations\"").unwrap() + 20..good.len()).step_by(good.len() / 40) {
            let mut bytes = good.clone().into_bytes();
            if !bytes[at].is_ascii_digit() {
                continue;
            }
            bytes[at] = if bytes[at] == b'0' { b'1' } else { b'0' };
            let Ok(public) = serde_json::from_slice::<Public>(&bytes) else { continue };
            let ruled = Book::new(policy.clone()).unwrap().judge(&public);
            assert!(ruled.map_or(true, |(ruling, _)| text(&ruling).unwrap() != before), "byte {at}");
            noticed += 1;
        }
        assert!(noticed > 10);
    }
}
