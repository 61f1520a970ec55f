use serde::Deserialize;

use crate::{Content, Draft, Error, Example, Result, Text};

/// An experience of the older JSON form, with `confidence` as a fraction, times as text and counters inside.
///
/// ```
/// use hanzo_experience::Imported;
///
/// let imported = Imported::from_json(br#"{
///     "id": "exp_abc123", "domain": "math.algebra", "text": "check the\n discriminant first", "confidence": 0.87,
///     "examples": [{"input": "x^2 + 2x + 5 = 0", "output": "No real solutions"}],
///     "metadata": {"created_at": "2025-10-17T12:00:00Z", "created_by": "0x742d35Cc",
///                  "votes": {"upvotes": 24, "downvotes": 2}, "usage_count": 156},
///     "embedding": [0.5, -0.25], "merkle_proof": "0xabc"
/// }"#)?;
/// assert_eq!(imported.draft.created_at, 1_760_702_400);
/// assert_eq!((imported.draft.confidence_ppm, imported.label.as_str(), imported.usage), (870_000, "exp_abc123", 156));
/// # Ok::<(), hanzo_experience::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct Imported {
    /// What is hashed, with white space in the text folded; the vector too, if there was one.
    pub draft: Draft,
    /// The `id` it had, which is only a name here: see [`Library::set_label`](crate::Library::set_label).
    pub label: String,
    /// Uses, for [`Library::record_use`](crate::Library::record_use).
    pub usage: u64,
    /// Votes for, by nobody in particular, so that they cannot be kept as votes.
    pub upvotes: u64,
    /// Votes against, likewise.
    pub downvotes: u64,
}

impl Imported {
    /// Reads one object. `embedding`, `merkle_proof`, `model`, votes and `usage_count` may be missing; the proof, which
    /// hashed itself, is dropped.
    ///
    /// # Errors
    /// [`Error::MalformedJson`] for anything that is not such an object, unknown and duplicate members included;
    /// [`Error::OutOfRange`] for a confidence outside 0..=1 or a time that is not exactly `YYYY-MM-DDTHH:MM:SSZ`; those of
    /// [`Text::normalize`] and [`Content::new`].
    pub fn from_json(json: &[u8]) -> Result<Self> {
        let read: Object = serde_json::from_slice(json)
            .map_err(|error| Error::MalformedJson { line: error.line(), column: error.column() })?;
        if !(0.0..=1.0).contains(&read.confidence) {
            return Err(Error::OutOfRange { field: "confidence" });
        }
        let created_at = seconds(&read.metadata.created_at).ok_or(Error::OutOfRange { field: "created_at" })?;
        let domain = read.domain.parse()?;
        let mut draft = Draft::new(Text::normalize(&read.text)?, domain, read.metadata.created_by, created_at)
            .model(read.model)
            // At most 10^6.
            .confidence_ppm((read.confidence * 1e6).round_ties_even() as u32);
        draft.examples =
            read.examples.into_iter().map(|ExampleForm { input, output }| Example { input, output }).collect();
        draft.vector = read.embedding;
        Content::new(draft.clone(), Vec::new())?;
        let VotesForm { upvotes, downvotes } = read.metadata.votes;
        Ok(Self { draft, label: read.id, usage: read.metadata.usage_count, upvotes, downvotes })
    }
}

/// Unix seconds of `YYYY-MM-DDTHH:MM:SSZ`, from 1970 on.
fn seconds(text: &str) -> Option<u64> {
    let bytes: &[u8; 20] = text.as_bytes().try_into().ok()?;
    for (at, expected) in [(4, b'-'), (7, b'-'), (10, b'T'), (13, b':'), (16, b':'), (19, b'Z')] {
        if bytes[at] != expected {
            return None;
        }
    }
    let number = |from: usize, to: usize| {
        bytes[from..to]
            .iter()
            .try_fold(0_u64, |sum, byte| byte.is_ascii_digit().then(|| sum * 10 + u64::from(byte - b'0')))
    };
    let (year, month, day) = (number(0, 4)?, number(5, 7)?, number(8, 10)?);
    let (hour, minute, second) = (number(11, 13)?, number(14, 16)?, number(17, 19)?);
    let leap = |year: u64| year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
    let lengths = [31, if leap(year) { 29 } else { 28 }, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
    let before = lengths.get(..(month as usize).checked_sub(1)?)?;
    let length = *lengths.get(before.len())?;
    if year < 1970 || !(1..=length).contains(&day) || hour > 23 || minute > 59 || second > 59 {
        return None;
    }
    let days = (1970..year).map(|year| 365 + u64::from(leap(year))).sum::<u64>() + before.iter().sum::<u64>() + day - 1;
    Some(((days * 24 + hour) * 60 + minute) * 60 + second)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Object {
    id: String,
    domain: String,
    text: String,
    confidence: f64,
    #[serde(default)]
    examples: Vec<ExampleForm>,
    metadata: Metadata,
    #[serde(default)]
    model: String,
    #[serde(default)]
    embedding: Option<Vec<f32>>,
    #[serde(default, rename = "merkle_proof")]
    _merkle_proof: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ExampleForm {
    input: String,
    output: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Metadata {
    created_at: String,
    created_by: String,
    #[serde(default)]
    votes: VotesForm,
    #[serde(default)]
    usage_count: u64,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct VotesForm {
    upvotes: u64,
    downvotes: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_exact() {
        for (text, expected) in [
            ("1970-01-01T00:00:00Z", Some(0)),
            ("2000-02-29T23:59:59Z", Some(951_868_799)),
            ("2025-10-17T12:00:00Z", Some(1_760_702_400)),
            ("9999-12-31T23:59:59Z", Some(Content::MAX_TIME)),
            ("1969-12-31T23:59:59Z", None),
            ("2100-02-29T00:00:00Z", None),
            ("2025-13-01T00:00:00Z", None),
            ("2025-00-01T00:00:00Z", None),
            ("2025-01-00T00:00:00Z", None),
            ("2025-01-01T24:00:00Z", None),
            ("2025-01-01T00:00:60Z", None),
            ("2025-01-01t00:00:00Z", None),
            ("2025-01-01T00:00:00z", None),
            ("2025-01-01T00:00:00", None),
            ("+025-01-01T00:00:00Z", None),
        ] {
            assert_eq!(seconds(text), expected, "{text}");
        }
    }

    #[test]
    fn objects_are_strict() {
        let good = r#"{"id":"e","domain":"d","text":"a  b","confidence":0.5,"metadata":{"created_at":"1970-01-01T00:00:00Z","created_by":"x"}}"#;
        let with = |from: &str, to: &str| Imported::from_json(good.replacen(from, to, 1).as_bytes()).map(|_| ());
        assert_eq!(with("", ""), Ok(()));
        assert_eq!(with("0.5", "1.5"), Err(Error::OutOfRange { field: "confidence" }));
        assert_eq!(with("0.5", "-0.1"), Err(Error::OutOfRange { field: "confidence" }));
        assert_eq!(with("1970-01", "1970-02-30"), Err(Error::OutOfRange { field: "created_at" }));
        assert_eq!(with(r#""d""#, r#""D""#), Err(Error::ForbiddenChar { ch: 'D' }));
        assert_eq!(with("a  b", " "), Err(Error::EmptyText));
        assert_eq!(with(r#""x""#, r#""""#), Err(Error::OutOfRange { field: "created_by" }));
        for (from, to) in [(r#""id":"#, r#""id":"e","id":"#), (r#""id":"#, r#""ix":"#), ("}}", "}"), ("0.5", "\"x\"")] {
            assert!(matches!(with(from, to), Err(Error::MalformedJson { .. })), "{from}");
        }
        // Half to even.
        let ppm = |confidence: &str| {
            Imported::from_json(good.replacen("0.5", confidence, 1).as_bytes()).unwrap().draft.confidence_ppm
        };
        assert_eq!([ppm("0.5"), ppm("0.0000005"), ppm("0.0000015"), ppm("1"), ppm("0")], [500_000, 0, 2, 1_000_000, 0]);
    }
}
