//! Every reader of untrusted bytes in the Hanzo SDK, as one table.
//!
//! A [`Parser`] takes any bytes: what it accepts must come out again as the same bytes, what it refuses it refuses with an error,
//! and it never panics nor asks for much more memory than its input has. `tests/mutations.rs` tries damaged and random bytes in the
//! gate; `conformance/fuzz` gives the same table to libFuzzer.

mod bitdelta;
mod experience;
mod hmm;
mod market;
mod metering;
mod poai;
mod pqc;
mod snow;

/// One reader.
#[derive(Debug)]
pub struct Parser {
    /// Crate and type, such as `poai/attestation`.
    pub name: &'static str,
    /// Bytes that it accepts.
    pub samples: fn() -> Vec<Vec<u8>>,
    /// Reads, and checks what it read; panics where the reader is wrong. Whether the bytes were accepted.
    pub read: fn(&[u8]) -> bool,
    /// Bytes it may allocate for each byte of input.
    pub memory: usize,
}

/// The crates that have readers.
pub const CRATES: [&str; 7] = ["bitdelta", "experience", "hmm", "metering", "poai", "pqc", "snow"];

/// The readers of one crate.
pub fn of(name: &str) -> impl Iterator<Item = &'static Parser> {
    let parsers = match name {
        "bitdelta" => bitdelta::PARSERS,
        "experience" => experience::PARSERS,
        "hmm" => hmm::PARSERS,
        "metering" => metering::PARSERS,
        "poai" => poai::PARSERS,
        "pqc" => pqc::PARSERS,
        "snow" => snow::PARSERS,
        _ => &[],
    };
    parsers.iter()
}

/// Gives the bytes to a reader of one crate, the first of them choosing which.
///
/// # Panics
/// Where the reader is wrong, and where the crate has none.
pub fn fuzz(name: &str, data: &[u8]) {
    let count = of(name).count();
    assert!(count > 0, "no reader of {name}");
    if let Some((which, bytes)) = data.split_first()
        && let Some(parser) = of(name).nth(usize::from(*which) % count)
    {
        (parser.read)(bytes);
    }
}

/// Checks that an accepted value is written as it was read.
fn canonical<T, E>(bytes: &[u8], read: Result<T, E>, write: impl FnOnce(&T) -> Vec<u8>) -> bool {
    match read {
        Ok(value) => {
            assert_eq!(write(&value), bytes, "accepted bytes come out otherwise");
            true
        }
        Err(_) => false,
    }
}

/// The same for texts: bytes that are not UTF-8 are refused before.
fn canonical_text<T: std::str::FromStr + std::fmt::Display>(bytes: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(bytes) else { return false };
    canonical(bytes, text.parse::<T>(), |value| value.to_string().into_bytes())
}

fn text(bytes: &[u8]) -> std::borrow::Cow<'_, str> {
    String::from_utf8_lossy(bytes)
}

/// JSON of a type that checks itself: what is accepted is written and read again as the same.
fn json<T: serde::Serialize + serde::de::DeserializeOwned + PartialEq>(bytes: &[u8]) -> bool {
    let Ok(value) = serde_json::from_slice::<T>(bytes) else { return false };
    let again = serde_json::to_vec(&value).expect("what was read can be written");
    let same = serde_json::from_slice::<T>(&again).is_ok_and(|other| other == value);
    assert!(same, "written JSON reads otherwise: {} -> {}", text(bytes), text(&again));
    true
}
