use core::fmt;

use serde::de::{Deserialize, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::Value;

use crate::{Error, ExperienceId, Library, Result, Text};

/// Short names `G0`, `G1`, .. of the active experiences, in the order of their ids; they hold for one prompt.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Aliases(Vec<ExperienceId>);

impl Aliases {
    /// Names for what is active now.
    pub fn new(library: &Library) -> Self {
        Self(library.iter().map(|(id, _)| *id).collect())
    }

    /// Names for these ids, in their order.
    pub fn from_ids(ids: impl IntoIterator<Item = ExperienceId>) -> Self {
        Self(ids.into_iter().collect())
    }

    /// The id of `G<n>` or `[G<n>]`; letter case, white space around it and a final dot are ignored.
    pub fn resolve(&self, alias: &str) -> Option<ExperienceId> {
        let alias = alias.trim();
        let alias = alias.strip_suffix('.').unwrap_or(alias);
        let alias = alias.strip_prefix('[').and_then(|inner| inner.strip_suffix(']')).unwrap_or(alias);
        let digits = alias.strip_prefix(['G', 'g'])?;
        let plain = digits.bytes().all(|byte| byte.is_ascii_digit()) && (digits == "0" || !digits.starts_with('0'));
        let index: usize = digits.parse().ok().filter(|_| plain)?;
        self.0.get(index).copied()
    }

    /// The name of an id.
    pub fn name(&self, id: &ExperienceId) -> Option<String> {
        self.0.iter().position(|known| known == id).map(|index| format!("G{index}"))
    }

    /// Lines `[G0]. text` of those ids that a library holds.
    pub fn render(&self, library: &Library) -> String {
        let lines = self.0.iter().enumerate().filter_map(|(index, id)| {
            let text = library.get(id)?.text();
            Some(format!("[G{index}]. {text}"))
        });
        lines.collect::<Vec<_>>().join("\n")
    }
}

/// An operation as a model gave it, with its target resolved and its text within bounds.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum ParsedOperation {
    /// A new lesson.
    Add {
        /// The lesson.
        text: Text,
    },
    /// A lesson in place of another.
    Modify {
        /// The one replaced.
        id: ExperienceId,
        /// What replaces it.
        text: Text,
    },
    /// A lesson in place of several.
    Merge {
        /// Those replaced, ascending.
        ids: Vec<ExperienceId>,
        /// What replaces them.
        text: Text,
    },
    /// A lesson no more.
    Delete {
        /// Which.
        id: ExperienceId,
    },
    /// Nothing.
    Keep,
}

/// Why an operation of a reply was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum OperationError {
    /// The element is no object.
    #[error("not an object")]
    NotAnObject,
    /// The object names a member twice.
    #[error("a member is given twice")]
    DuplicateMember,
    /// Neither `option` nor `operation`.
    #[error("member option is missing")]
    MissingOperation,
    /// The operation is none of those allowed.
    #[error("unknown operation")]
    UnknownOperation,
    /// No target is named.
    #[error("the target is missing")]
    MissingTarget,
    /// The target is not in the list.
    #[error("the target is not in the list of lessons")]
    UnknownAlias,
    /// A merge of fewer than two.
    #[error("a merge needs at least two different targets")]
    MergeTooSmall,
    /// There is no text, or it is blank.
    #[error("the text is missing")]
    MissingText,
    /// The text is out of bounds.
    #[error("the text is refused: {0}")]
    Text(Error),
    /// More operations than allowed; those before it stay.
    #[error("too many operations, at most {max} are allowed")]
    TooManyOperations {
        /// The limit.
        max: usize,
    },
}

/// A refused operation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rejection {
    /// Place in the list.
    pub index: usize,
    /// Why.
    pub error: OperationError,
}

/// A reply, read.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Parsed {
    /// Valid operations with their places in the list, ascending.
    pub operations: Vec<(usize, ParsedOperation)>,
    /// All other elements, ascending.
    pub rejected: Vec<Rejection>,
}

impl Parsed {
    /// Keeps the first `max` operations, not counting those that keep; the others are rejected.
    pub fn limit(mut self, max: usize) -> Self {
        let mut counted = 0;
        let (kept, over): (Vec<_>, Vec<_>) = self.operations.into_iter().partition(|(_, operation)| {
            counted += usize::from(*operation != ParsedOperation::Keep);
            *operation == ParsedOperation::Keep || counted <= max
        });
        self.operations = kept;
        let over = over.into_iter().map(|(index, _)| (index, OperationError::TooManyOperations { max }));
        self.rejected.extend(over.map(|(index, error)| Rejection { index, error }));
        self.rejected.sort_by_key(|rejection| rejection.index);
        self
    }
}

/// Largest reply, in bytes.
pub(super) const MAX_REPLY: usize = 64 * 1024;

/// Reads operations from a model's reply.
///
/// The reply is a JSON list, or holds one in a block of three backticks with the label `json` or none; the last block
/// that is a JSON list counts. Elements are
///
/// - `{"option": .., "experience", "modified_from", "merged_from": [..], "delete_id"}` with `add`, `modify`, `merge`,
///   `delete`, `keep` or `none`, or
/// - `{"operation": .., "id", "content"}` with `ADD`, `UPDATE`, `DELETE` or `NONE`,
///
/// operations in any letter case. Other members are ignored. White space in texts is folded.
///
/// ```
/// use hanzo_experience::grpo::{Aliases, OperationError, parse_operations};
///
/// let reply = r#"[{"option": "add", "experience": "Check units."}, {"option": "delete", "delete_id": "G9"}]"#;
/// let parsed = parse_operations(reply, &Aliases::default())?;
/// assert_eq!(parsed.operations.len(), 1);
/// assert_eq!(parsed.rejected[0].error, OperationError::UnknownAlias);
/// # Ok::<(), hanzo_experience::Error>(())
/// ```
///
/// # Errors
/// [`Error::TooManyBytes`] above 64 KiB; [`Error::NoJson`] without a JSON list.
pub fn parse_operations(reply: &str, aliases: &Aliases) -> Result<Parsed> {
    if reply.len() > MAX_REPLY {
        return Err(Error::TooManyBytes { got: reply.len(), max: MAX_REPLY });
    }
    let elements = list(reply.trim()).or_else(|| blocks(reply).into_iter().rev().find_map(list));
    let mut parsed = Parsed::default();
    for (index, element) in elements.ok_or(Error::NoJson)?.into_iter().enumerate() {
        match element.operation(aliases) {
            Ok(operation) => parsed.operations.push((index, operation)),
            Err(error) => parsed.rejected.push(Rejection { index, error }),
        }
    }
    Ok(parsed)
}

fn list(text: &str) -> Option<Vec<Element>> {
    // Anything else would be refused as well, after it was read.
    text.starts_with('[').then(|| serde_json::from_str(text).ok()).flatten()
}

/// What stands between lines of three backticks with the label `json` or none, and the next such line without label.
fn blocks(reply: &str) -> Vec<&str> {
    let mut found = Vec::new();
    // Where the block in the making begins, and whether its label is right.
    let mut open: Option<(usize, bool)> = None;
    let mut place = 0;
    for line in reply.split_inclusive('\n') {
        let start = place;
        place += line.len();
        let Some(label) = line.trim().strip_prefix("```") else { continue };
        match open {
            None => open = Some((place, label.is_empty() || label.eq_ignore_ascii_case("json"))),
            Some((from, right)) if label.is_empty() => {
                found.extend(right.then(|| reply[from..start].trim()));
                open = None;
            }
            // A block that was not closed.
            Some(_) => open = Some((place, label.eq_ignore_ascii_case("json"))),
        }
    }
    found
}

/// An element of the list: its members, or nothing if it is no object.
struct Element(Option<Vec<(String, Value)>>);

impl Element {
    fn operation(self, aliases: &Aliases) -> Result<ParsedOperation, OperationError> {
        let members = self.0.ok_or(OperationError::NotAnObject)?;
        let mut names: Vec<&str> = members.iter().map(|(name, _)| name.as_str()).collect();
        names.sort_unstable();
        if names.windows(2).any(|pair| pair[0] == pair[1]) {
            return Err(OperationError::DuplicateMember);
        }
        let member = |name: &str| members.iter().find(|(known, _)| known == name).map(|(_, value)| value);
        let target = |name: &str| resolve(member(name), aliases);
        let (operation, option) = match (member("option"), member("operation")) {
            (Some(option), _) => (option, true),
            (None, Some(operation)) => (operation, false),
            (None, None) => return Err(OperationError::MissingOperation),
        };
        let operation = operation.as_str().ok_or(OperationError::UnknownOperation)?.to_ascii_lowercase();
        match (operation.as_str(), option) {
            ("add", true) => Ok(ParsedOperation::Add { text: text(member("experience"))? }),
            ("add", false) => Ok(ParsedOperation::Add { text: text(member("content"))? }),
            ("modify", true) => {
                Ok(ParsedOperation::Modify { id: target("modified_from")?, text: text(member("experience"))? })
            }
            ("update", false) => Ok(ParsedOperation::Modify { id: target("id")?, text: text(member("content"))? }),
            ("merge", true) => {
                let named = member("merged_from").and_then(Value::as_array).ok_or(OperationError::MissingTarget)?;
                let ids: Result<Vec<_>, _> = named.iter().map(|alias| resolve(Some(alias), aliases)).collect();
                let mut ids = ids?;
                ids.sort_unstable();
                ids.dedup();
                if ids.len() < 2 {
                    return Err(OperationError::MergeTooSmall);
                }
                Ok(ParsedOperation::Merge { ids, text: text(member("experience"))? })
            }
            ("delete", true) => Ok(ParsedOperation::Delete { id: target("delete_id")? }),
            ("delete", false) => Ok(ParsedOperation::Delete { id: target("id")? }),
            ("keep" | "none", true) | ("none", false) => Ok(ParsedOperation::Keep),
            _ => Err(OperationError::UnknownOperation),
        }
    }
}

fn resolve(value: Option<&Value>, aliases: &Aliases) -> Result<ExperienceId, OperationError> {
    match value {
        None | Some(Value::Null) => Err(OperationError::MissingTarget),
        Some(Value::String(alias)) if alias.trim().is_empty() => Err(OperationError::MissingTarget),
        Some(Value::String(alias)) => aliases.resolve(alias).ok_or(OperationError::UnknownAlias),
        Some(_) => Err(OperationError::UnknownAlias),
    }
}

fn text(value: Option<&Value>) -> Result<Text, OperationError> {
    let text = value.and_then(Value::as_str).filter(|text| !text.trim().is_empty());
    Text::normalize(text.ok_or(OperationError::MissingText)?).map_err(OperationError::Text)
}

impl<'de> Deserialize<'de> for Element {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ElementVisitor)
    }
}

struct ElementVisitor;

impl<'de> Visitor<'de> for ElementVisitor {
    type Value = Element;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any value")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Element, A::Error> {
        let mut members = Vec::new();
        while let Some(member) = map.next_entry()? {
            members.push(member);
        }
        Ok(Element(Some(members)))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Element, A::Error> {
        while list.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Element(None))
    }

    fn visit_bool<E>(self, _: bool) -> Result<Element, E> {
        Ok(Element(None))
    }

    fn visit_i64<E>(self, _: i64) -> Result<Element, E> {
        Ok(Element(None))
    }

    fn visit_u64<E>(self, _: u64) -> Result<Element, E> {
        Ok(Element(None))
    }

    fn visit_f64<E>(self, _: f64) -> Result<Element, E> {
        Ok(Element(None))
    }

    fn visit_str<E>(self, _: &str) -> Result<Element, E> {
        Ok(Element(None))
    }

    fn visit_unit<E>(self) -> Result<Element, E> {
        Ok(Element(None))
    }
}
