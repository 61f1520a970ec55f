//! Canonical content: one byte form, hence one id, per experience.

mod domain;
mod draft;
mod text;

pub use domain::Domain;
pub use draft::{Draft, Example};
pub use text::Text;

use serde::Serialize;

use crate::json;
use crate::merkle::leaf_hash;
use crate::{Cid, Error, ExperienceId, Result};

/// An experience as it is hashed: immutable, always valid, with exactly one byte form.
///
/// Votes and usage are in a [record](crate::Record), vectors in the library's index: they change without changing the
/// id. The canonical bytes are RFC 8785 JSON of nine members, all required: `confidence_ppm`, `created_at`,
/// `created_by`, `domain`, `examples`, `model`, `parents`, `text`, `v`.
///
/// ```
/// use hanzo_experience::{Content, Draft, Text};
///
/// let text = Text::normalize("when  the bound is tight,\n test both ends")?;
/// let content = Content::new(Draft::new(text, "math.algebra".parse()?, "alice", 1_760_702_400), vec![])?;
/// let bytes = content.to_canonical();
/// assert!(bytes.starts_with(br#"{"confidence_ppm":500000,"created_at":1760702400,"#));
/// assert_eq!(Content::from_canonical(&bytes)?, content);
/// assert!(content.cid().starts_with("bagaaiera"));
/// # Ok::<(), hanzo_experience::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Content {
    confidence_ppm: u32,
    created_at: u64,
    created_by: String,
    domain: Domain,
    examples: Vec<Example>,
    model: String,
    parents: Vec<ExperienceId>,
    text: Text,
}

impl Content {
    /// Largest number of examples.
    pub const MAX_EXAMPLES: usize = 8;
    /// Largest number of parents.
    pub const MAX_PARENTS: usize = 16;
    /// Largest creation time: the last second of the year 9999.
    pub const MAX_TIME: u64 = 253_402_300_799;

    /// Content from a draft and the ids it replaces, which must ascend strictly.
    ///
    /// # Errors
    /// [`Error::OutOfRange`] for confidence, time, an empty author, or the number of examples or parents, and for
    /// parents out of order; [`Error::TooManyBytes`] and [`Error::ForbiddenChar`] for strings.
    pub fn new(draft: Draft, parents: Vec<ExperienceId>) -> Result<Self> {
        if draft.confidence_ppm > 1_000_000 {
            return Err(Error::OutOfRange { field: "confidence_ppm" });
        }
        if draft.created_at > Self::MAX_TIME {
            return Err(Error::OutOfRange { field: "created_at" });
        }
        check_printable("created_by", &draft.created_by, 1)?;
        check_printable("model", &draft.model, 0)?;
        if draft.examples.len() > Self::MAX_EXAMPLES {
            return Err(Error::OutOfRange { field: "examples" });
        }
        draft.examples.iter().try_for_each(Example::check)?;
        if parents.len() > Self::MAX_PARENTS || !parents.is_sorted_by(|a, b| a < b) {
            return Err(Error::OutOfRange { field: "parents" });
        }
        Ok(Self {
            confidence_ppm: draft.confidence_ppm,
            created_at: draft.created_at,
            created_by: draft.created_by,
            domain: draft.domain,
            examples: draft.examples,
            model: draft.model,
            parents,
            text: draft.text,
        })
    }

    /// Content from JSON with its members in any order and any spacing.
    ///
    /// # Errors
    /// [`Error::DuplicateMember`], [`Error::UnknownMember`], [`Error::MissingMember`], [`Error::NotAnInteger`],
    /// [`Error::MalformedJson`], or the error of the member that breaks its rule.
    pub fn from_json(json: &[u8]) -> Result<Self> {
        let (draft, parents) = json::read::<ContentMembers>(json)?.check()?;
        Self::new(draft, parents)
    }

    /// Content from its canonical bytes and no others.
    ///
    /// # Errors
    /// Those of [`from_json`](Self::from_json), and [`Error::NotCanonical`] when the bytes mean a content but are not
    /// its canonical bytes.
    pub fn from_canonical(bytes: &[u8]) -> Result<Self> {
        let content = Self::from_json(bytes)?;
        if content.to_canonical() == bytes { Ok(content) } else { Err(Error::NotCanonical) }
    }

    /// The canonical bytes (RFC 8785).
    pub fn to_canonical(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(512);
        self.write_canonical(&mut bytes);
        bytes
    }

    /// Appends the canonical bytes to `out`.
    pub fn write_canonical(&self, out: &mut Vec<u8>) {
        json::write(out, &self.form());
    }

    pub(crate) fn form(&self) -> ContentForm<'_> {
        ContentForm {
            confidence_ppm: self.confidence_ppm,
            created_at: self.created_at,
            created_by: &self.created_by,
            domain: self.domain.as_str(),
            examples: &self.examples,
            model: &self.model,
            parents: &self.parents,
            text: self.text.as_str(),
            v: 1,
        }
    }

    /// The id: the leaf hash of the canonical bytes, computed anew at each call.
    pub fn id(&self) -> ExperienceId {
        leaf_hash(&self.to_canonical()).into()
    }

    /// The CIDv1 (codec `json`, sha2-256) of the canonical bytes. Its digest is not the id, which has a prefix.
    pub fn cid(&self) -> String {
        Cid::json(&self.to_canonical()).to_string()
    }

    /// The lesson.
    pub fn text(&self) -> &Text {
        &self.text
    }

    /// The domain it belongs to.
    pub fn domain(&self) -> &Domain {
        &self.domain
    }

    /// The author's confidence, in parts per million.
    pub fn confidence_ppm(&self) -> u32 {
        self.confidence_ppm
    }

    /// Creation time, in Unix seconds.
    pub fn created_at(&self) -> u64 {
        self.created_at
    }

    /// The author.
    pub fn created_by(&self) -> &str {
        &self.created_by
    }

    /// The model that learned it; empty if a person wrote it.
    pub fn model(&self) -> &str {
        &self.model
    }

    /// Up to eight examples.
    pub fn examples(&self) -> &[Example] {
        &self.examples
    }

    /// The ids that this content replaces, ascending.
    pub fn parents(&self) -> &[ExperienceId] {
        &self.parents
    }
}

/// Printable ASCII `!`..`~`, at least `min` and at most 128 bytes.
pub(crate) fn check_printable(field: &'static str, text: &str, min: usize) -> Result<()> {
    const MAX: usize = 128;
    if text.len() < min {
        return Err(Error::OutOfRange { field });
    }
    if text.len() > MAX {
        return Err(Error::TooManyBytes { got: text.len(), max: MAX });
    }
    match text.chars().find(|ch| !ch.is_ascii_graphic()) {
        Some(ch) => Err(Error::ForbiddenChar { ch }),
        None => Ok(()),
    }
}

/// The members as they are written, declared in RFC 8785 order; strings and integers only, so that compact `serde_json`
/// output is canonical.
#[derive(Serialize)]
pub(crate) struct ContentForm<'a> {
    confidence_ppm: u32,
    created_at: u64,
    created_by: &'a str,
    domain: &'a str,
    examples: &'a [Example],
    model: &'a str,
    parents: &'a [ExperienceId],
    text: &'a str,
    v: u8,
}

json::shape! {
    /// The members as they are read.
    pub(crate) struct ContentMembers {
        confidence_ppm: u64,
        created_at: u64,
        created_by: String,
        domain: String,
        examples: Vec<Example>,
        model: String,
        parents: Vec<String>,
        text: String,
        v: u64,
    }
}

impl ContentMembers {
    /// Draft and parents, which become a content by [`Content::new`].
    pub(crate) fn check(self) -> Result<(Draft, Vec<ExperienceId>)> {
        if self.v != 1 {
            return Err(Error::OutOfRange { field: "v" });
        }
        let confidence_ppm =
            u32::try_from(self.confidence_ppm).map_err(|_| Error::OutOfRange { field: "confidence_ppm" })?;
        let parents: Result<_> = self.parents.iter().map(|id| id.parse()).collect();
        let draft = Draft {
            text: Text::new(&self.text)?,
            domain: self.domain.parse()?,
            created_by: self.created_by,
            model: self.model,
            created_at: self.created_at,
            confidence_ppm,
            examples: self.examples,
            vector: None,
        };
        Ok((draft, parents?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn json(confidence: &str, extra: &str) -> String {
        format!(
            r#"{{"v":1,"text":"a b","parents":[],"model":"","examples":[],"domain":"d","created_by":"x","created_at":0,"confidence_ppm":{confidence}{extra}}}"#
        )
    }

    #[test]
    fn numbers_are_plain_integers() {
        assert!(Content::from_json(json("7", "").as_bytes()).is_ok());
        let not_integer = Err(Error::NotAnInteger { member: "confidence_ppm" });
        for bad in ["7.0", "7e0", "-7", "-0", "9007199254740992", "18446744073709551616", "1e999"] {
            let got = Content::from_json(json(bad, "").as_bytes());
            if bad == "1e999" {
                assert!(got.is_err());
            } else {
                assert_eq!(got, not_integer, "{bad}");
            }
        }
        assert_eq!(
            Content::from_json(json("1000001", "").as_bytes()),
            Err(Error::OutOfRange { field: "confidence_ppm" })
        );
    }

    #[test]
    fn members_are_exact() {
        assert_eq!(
            Content::from_json(json("7", r#","confidence_ppm":7"#).as_bytes()),
            Err(Error::DuplicateMember { member: "confidence_ppm" })
        );
        assert_eq!(
            Content::from_json(json("7", r#","Text":"a""#).as_bytes()),
            Err(Error::UnknownMember { member: "Text".into() })
        );
        // The same name behind an escape is the same member.
        assert_eq!(
            Content::from_json(json("7", r#","\u0074ext":"a""#).as_bytes()),
            Err(Error::DuplicateMember { member: "text" })
        );
        assert_eq!(Content::from_json(b"{}"), Err(Error::MissingMember { member: "confidence_ppm" }));
        assert!(matches!(
            Content::from_json(json("7", "").replace("[]", "{}").as_bytes()),
            Err(Error::MalformedJson { line: 1, .. })
        ));
    }
}
