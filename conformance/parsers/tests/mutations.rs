//! Damaged and random bytes for every reader, a bounded number of them; `HANZO_MUTATIONS` sets how many a reader.
//!
//! No panic, no accepted bytes that are written otherwise, and no more memory than the reader's bound.

use hanzo_parsers::{CRATES, Parser, of};
use rand::seq::IndexedRandom;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// Allocations that any call may make, however short its input.
const BASE: u64 = 1 << 20;

fn mutations() -> usize {
    std::env::var("HANZO_MUTATIONS").ok().and_then(|text| text.parse().ok()).unwrap_or(400)
}

/// Reads, and holds the reader to its bound.
fn read(parser: &Parser, bytes: &[u8]) -> bool {
    let mut accepted = false;
    let memory = allocation_counter::measure(|| accepted = (parser.read)(bytes)).bytes_max;
    let bound = BASE + (parser.memory * bytes.len()) as u64;
    assert!(memory <= bound, "{}: {memory} bytes of memory for {} of input", parser.name, bytes.len());
    accepted
}

/// One change: a bit, a byte, a run of 0x00 or 0xff, a cut, a doubled part, or a part of another sample.
fn mutate(bytes: &mut Vec<u8>, samples: &[Vec<u8>], rng: &mut ChaCha8Rng) {
    let at = rng.random_range(0..=bytes.len());
    let length = rng.random_range(1..=8).min(bytes.len() - at);
    match rng.random_range(0..7) {
        0 | 1 if at < bytes.len() => bytes[at] ^= 1 << rng.random_range(0..8),
        2 if at < bytes.len() => bytes[at] = rng.random(),
        3 => bytes[at..at + length].fill(if rng.random() { 0xff } else { 0 }),
        4 => bytes.truncate(at),
        5 => {
            let part = bytes[at..at + length].to_vec();
            bytes.splice(at..at, part);
        }
        _ => {
            let Some(other) = samples.choose(rng) else { return };
            let from = rng.random_range(0..=other.len());
            let to = rng.random_range(from..=other.len());
            let end = rng.random_range(at..=bytes.len());
            bytes.splice(at..end, other[from..to].iter().copied());
        }
    }
}

fn check(crate_name: &str) {
    let mut table = String::new();
    for parser in of(crate_name) {
        assert!(parser.name.starts_with(crate_name), "{} belongs elsewhere", parser.name);
        let mut rng = ChaCha8Rng::seed_from_u64(parser.name.len() as u64);
        let samples = (parser.samples)();
        for sample in &samples {
            assert!(read(parser, sample), "{}: a sample is refused", parser.name);
        }
        let (mut tried, mut accepted) = (0, 0);
        for _ in 0..mutations() {
            let mut bytes = if rng.random_range(0..16) == 0 {
                let length = rng.random_range(0..300);
                (0..length).map(|_| rng.random()).collect()
            } else {
                samples.choose(&mut rng).cloned().unwrap_or_default()
            };
            for _ in 0..rng.random_range(1..4) {
                mutate(&mut bytes, &samples, &mut rng);
            }
            tried += 1;
            accepted += usize::from(read(parser, &bytes));
        }
        table += &format!("{:32} {tried} tried, {accepted} valid\n", parser.name);
    }
    assert!(!table.is_empty() && CRATES.contains(&crate_name), "no reader of {crate_name}");
    print!("{table}");
}

macro_rules! crates {
    ($($name:ident)*) => { $(
        #[test]
        fn $name() {
            check(stringify!($name));
        }
    )* };
}

crates! { bitdelta experience hmm metering poai pqc snow }
