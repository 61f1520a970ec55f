//! Two parties agree on session keys under ML-KEM and X25519 together; every changed message is refused.

use std::io::{self, Write};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use hanzo::pqc::rand_core::SeedableRng;
use hanzo::pqc::{Error, PrivacyTier, SigningKey};
use hanzo_examples::program;
use lexopt::prelude::*;
use party::{Accepted, Client, Session};
use rand_chacha::ChaCha20Rng;

mod party;

const HELP: &str = "\
Two parties shake hands at each privacy tier: a hybrid key is encapsulated to under the transcript, the server signs, both
prove that they have the secret. Then a bit is changed in every byte of the reply and the last message and in every seventh of
the first, and the handshake must fail. Prints sizes, times (the shortest of the rounds) and the number of changes refused.

Usage: cargo run --release --example hybrid_handshake -- [OPTIONS]

Options:
  --rounds N   handshakes that are timed, 1 to 100000 [default: 50]
  --seed N     same seed, same messages [default: 1]
  --help       print this
";

struct Options {
    rounds: u32,
    seed: u64,
}

fn options(mut parser: lexopt::Parser) -> Result<Option<Options>, lexopt::Error> {
    let mut options = Options { rounds: 50, seed: 1 };
    while let Some(argument) = parser.next()? {
        match argument {
            Long("rounds") => options.rounds = program::number(&mut parser, "rounds", 1..=100_000)?,
            Long("seed") => options.seed = parser.value()?.parse()?,
            Long("help") | Short('h') => return Ok(None),
            other => return Err(other.unexpected()),
        }
    }
    Ok(Some(options))
}

fn main() -> ExitCode {
    program::main("hybrid_handshake", HELP, options, |options| run(options, &mut program::Output))
}

/// Why there is no table, in one line.
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error("the handshake failed: {0}")]
    Handshake(#[from] Error),
    #[error("{accepted} of {changes} changed messages were accepted at tier {tier}")]
    Accepted { tier: PrivacyTier, accepted: usize, changes: usize },
    #[error("cannot print: {0}")]
    Print(#[from] io::Error),
}

fn run(options: &Options, out: &mut impl Write) -> Result<(), Failure> {
    writeln!(
        out,
        "{:<9} {:<28} {:<9} {:>5} {:>5} {:>6}  {:>8} {:>8} {:>8}  changes refused",
        "tier", "suite", "signature", "hello", "reply", "finish", "hello us", "reply us", "finish us"
    )?;
    for tier in PrivacyTier::ALL {
        let row = handshakes(tier, options)?;
        let us = |time: Duration| time.as_secs_f64() * 1e6;
        writeln!(
            out,
            "{:<9} {:<28} {:<9} {:>5} {:>5} {:>6}  {:>8.0} {:>8.0} {:>9.0}  {} of {}",
            tier.to_string(),
            tier.suite().name(),
            tier.dsa().name(),
            row.sizes[0],
            row.sizes[1],
            row.sizes[2],
            us(row.times[0]),
            us(row.times[1]),
            us(row.times[2]),
            row.refused,
            row.changes
        )?;
        if row.refused != row.changes {
            return Err(Failure::Accepted { tier, accepted: row.changes - row.refused, changes: row.changes });
        }
    }
    Ok(())
}

struct Row {
    sizes: [usize; 3],
    times: [Duration; 3],
    changes: usize,
    refused: usize,
}

fn handshakes(tier: PrivacyTier, options: &Options) -> Result<Row, Error> {
    let mut rng = ChaCha20Rng::seed_from_u64(options.seed);
    let signer = SigningKey::generate(tier.dsa(), &mut rng);
    let mut row = Row { sizes: [0; 3], times: [Duration::MAX; 3], changes: 0, refused: 0 };
    for _ in 0..options.rounds {
        let start = Instant::now();
        let client = Client::hello(tier, signer.verifying_key().clone(), &mut rng)?;
        let hello = Instant::now();
        let accepted = Accepted::reply(tier, &signer, &client.hello, &mut rng)?;
        let replied = Instant::now();
        let (proof, session) = client.finish(&accepted.reply)?;
        let finished = Instant::now();
        row.sizes = [client.hello.len(), accepted.reply.len(), proof.len()];
        if accepted.finished(&proof)? != session {
            return Err(Error::ConfirmationMismatch);
        }
        for (best, time) in row.times.iter_mut().zip([hello - start, replied - hello, finished - replied]) {
            *best = time.min(*best);
        }
    }
    tamper(tier, &signer, &mut rng, &mut row)?;
    Ok(row)
}

/// Changes one bit of each byte of each message in turn, and lets the rest of the handshake run.
fn tamper(tier: PrivacyTier, signer: &SigningKey, rng: &mut ChaCha20Rng, row: &mut Row) -> Result<(), Error> {
    let client = Client::hello(tier, signer.verifying_key().clone(), rng)?;
    let mut note = |refused: bool| {
        row.changes += 1;
        row.refused += usize::from(refused);
    };
    // Each changed hello costs the server a signature.
    for at in (0..client.hello.len()).step_by(7) {
        let got = Accepted::reply(tier, signer, &flipped(&client.hello, at), rng);
        note(got.and_then(|accepted| client.finish(&accepted.reply)).is_err());
    }
    let accepted = Accepted::reply(tier, signer, &client.hello, rng)?;
    for at in 0..accepted.reply.len() {
        note(client.finish(&flipped(&accepted.reply, at)).is_err());
    }
    let (proof, _) = client.finish(&accepted.reply)?;
    for at in 0..proof.len() {
        note(accepted.check(&flipped(&proof, at)).is_err());
    }
    // A signature of another server.
    let other = SigningKey::generate(tier.dsa(), rng);
    let forged = Accepted::reply(tier, &other, &client.hello, rng)?;
    note(client.finish(&forged.reply).map(|(_, session): (_, Session)| session).is_err());
    Ok(())
}

fn flipped(message: &[u8], at: usize) -> Vec<u8> {
    let mut message = message.to_vec();
    message[at] ^= 1 << (at % 8);
    message
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_sides_have_the_same_keys_and_every_change_is_refused() {
        for tier in [PrivacyTier::CpuTee, PrivacyTier::GpuCc] {
            let row = handshakes(tier, &Options { rounds: 1, seed: 3 }).unwrap();
            assert_eq!(row.refused, row.changes);
            assert_eq!(row.sizes[0], 39 + tier.suite().encapsulation_key_len());
            assert_eq!(row.sizes[1], tier.suite().ciphertext_len() + 32 + tier.dsa().signature_len());
        }
    }

    #[test]
    fn directions_have_different_keys() {
        let mut rng = ChaCha20Rng::seed_from_u64(1);
        let signer = SigningKey::generate(PrivacyTier::Open.dsa(), &mut rng);
        let client = Client::hello(PrivacyTier::Open, signer.verifying_key().clone(), &mut rng).unwrap();
        let accepted = Accepted::reply(PrivacyTier::Open, &signer, &client.hello, &mut rng).unwrap();
        let (_, session) = client.finish(&accepted.reply).unwrap();
        assert_ne!(session.to_client, session.to_server);
        assert!(Accepted::reply(PrivacyTier::GpuCc, &signer, &client.hello, &mut rng).is_err(), "another tier");
    }

    #[test]
    fn options_out_of_range() {
        let parse = |arguments: &[&str]| options(lexopt::Parser::from_args(arguments));
        assert!(parse(&["--rounds", "0"]).is_err() && parse(&["--rounds", "x"]).is_err());
        assert!(parse(&["--nonsense"]).is_err() && parse(&["--help"]).unwrap().is_none());
        assert_eq!(parse(&["--seed", "9"]).unwrap().unwrap().seed, 9);
    }
}
