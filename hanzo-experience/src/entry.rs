use core::fmt;
use core::str::FromStr;

use serde::Serialize;

use crate::content::check_printable;
use crate::json::{self, MAX_INTEGER};
use crate::merkle::{Hash, StateRoot, leaf_hash};
use crate::{Content, Error, ExperienceId, Result};

/// What kind of change a log entry records.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum EntryKind {
    /// New experiences.
    Add,
    /// Experiences replaced by better ones.
    Modify,
    /// Several experiences replaced by one.
    Merge,
    /// Experiences archived.
    Delete,
    /// Experiences archived to stay within capacity.
    Prune,
    /// Experiences received from a peer.
    Sync,
    /// Return to an earlier state.
    Restore,
    /// Experiences received from a file.
    Import,
}

impl EntryKind {
    const NAMES: [(Self, &'static str); 8] = [
        (Self::Add, "add"),
        (Self::Modify, "modify"),
        (Self::Merge, "merge"),
        (Self::Delete, "delete"),
        (Self::Prune, "prune"),
        (Self::Sync, "sync"),
        (Self::Restore, "restore"),
        (Self::Import, "import"),
    ];

    /// The name in canonical bytes.
    pub const fn as_str(self) -> &'static str {
        Self::NAMES[self as usize].1
    }
}

impl fmt::Display for EntryKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// # Errors
/// [`Error::OutOfRange`] for any other name.
impl FromStr for EntryKind {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let found = Self::NAMES.iter().find(|(_, name)| *name == text);
        found.map(|(kind, _)| *kind).ok_or(Error::OutOfRange { field: "kind" })
    }
}

/// One entry of a library's log: which ids became active and which were archived, and the state after it.
///
/// The canonical bytes are RFC 8785 JSON of the members `added`, `at`, `by`, `kind`, `ref`, `removed`, `state_root`,
/// `state_size`, `t` = `hanzo.experience.entry` and `v` = 1; the leaf of the log is their leaf hash.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    kind: EntryKind,
    at: u64,
    by: String,
    reference: String,
    added: Vec<ExperienceId>,
    removed: Vec<ExperienceId>,
    state: StateRoot,
}

impl Entry {
    /// An entry of its parts: `at` in Unix seconds, `by` 1..=128 and `reference` at most 128 bytes of printable ASCII,
    /// `added` and `removed` strictly ascending and disjoint, `state` after the entry.
    ///
    /// # Errors
    /// [`Error::OutOfRange`], [`Error::TooManyBytes`], [`Error::ForbiddenChar`].
    pub fn new(
        kind: EntryKind,
        at: u64,
        by: &str,
        reference: &str,
        added: Vec<ExperienceId>,
        removed: Vec<ExperienceId>,
        state: StateRoot,
    ) -> Result<Self> {
        check_stamp(at, by, reference)?;
        let ascends = |ids: &[ExperienceId]| ids.is_sorted_by(|a, b| a < b);
        if !ascends(&added) {
            return Err(Error::OutOfRange { field: "added" });
        }
        if !ascends(&removed) || removed.iter().any(|id| added.binary_search(id).is_ok()) {
            return Err(Error::OutOfRange { field: "removed" });
        }
        if state.size() > MAX_INTEGER {
            return Err(Error::OutOfRange { field: "state_size" });
        }
        Ok(Self { kind, at, by: by.to_owned(), reference: reference.to_owned(), added, removed, state })
    }

    /// An entry from JSON with its members in any order and any spacing.
    ///
    /// # Errors
    /// [`Error::DuplicateMember`], [`Error::UnknownMember`], [`Error::MissingMember`], [`Error::NotAnInteger`],
    /// [`Error::MalformedJson`], or the error of the member that breaks its rule.
    pub fn from_json(json: &[u8]) -> Result<Self> {
        let read: EntryMembers = json::read(json)?;
        if read.t != TYPE {
            return Err(Error::OutOfRange { field: "t" });
        }
        if read.v != 1 {
            return Err(Error::OutOfRange { field: "v" });
        }
        let ids = |texts: &[String]| texts.iter().map(|id| id.parse()).collect::<Result<Vec<_>>>();
        let root: Hash = read.state_root.parse()?;
        Self::new(
            read.kind.parse()?,
            read.at,
            &read.by,
            &read.reference,
            ids(&read.added)?,
            ids(&read.removed)?,
            StateRoot::new(read.state_size, root)?,
        )
    }

    /// An entry from its canonical bytes and no others.
    ///
    /// # Errors
    /// Those of [`from_json`](Self::from_json), and [`Error::NotCanonical`].
    pub fn from_canonical(bytes: &[u8]) -> Result<Self> {
        let entry = Self::from_json(bytes)?;
        if entry.to_canonical() == bytes { Ok(entry) } else { Err(Error::NotCanonical) }
    }

    /// The canonical bytes (RFC 8785).
    pub fn to_canonical(&self) -> Vec<u8> {
        // Declared in RFC 8785 order.
        #[derive(Serialize)]
        struct Canonical<'a> {
            added: &'a [ExperienceId],
            at: u64,
            by: &'a str,
            kind: &'a str,
            r#ref: &'a str,
            removed: &'a [ExperienceId],
            state_root: String,
            state_size: u64,
            t: &'a str,
            v: u8,
        }
        let mut bytes = Vec::new();
        json::write(
            &mut bytes,
            &Canonical {
                added: &self.added,
                at: self.at,
                by: &self.by,
                kind: self.kind.as_str(),
                r#ref: &self.reference,
                removed: &self.removed,
                state_root: self.state.root().to_string(),
                state_size: self.state.size(),
                t: TYPE,
                v: 1,
            },
        );
        bytes
    }

    /// The leaf hash of the canonical bytes.
    pub fn leaf(&self) -> Hash {
        leaf_hash(&self.to_canonical())
    }

    /// The kind of change.
    pub fn kind(&self) -> EntryKind {
        self.kind
    }

    /// When, in Unix seconds.
    pub fn at(&self) -> u64 {
        self.at
    }

    /// By whom.
    pub fn by(&self) -> &str {
        &self.by
    }

    /// What it refers to, such as a proposal; may be empty.
    pub fn reference(&self) -> &str {
        &self.reference
    }

    /// Ids that became active, ascending.
    pub fn added(&self) -> &[ExperienceId] {
        &self.added
    }

    /// Ids that were archived, ascending.
    pub fn removed(&self) -> &[ExperienceId] {
        &self.removed
    }

    /// The state after the entry.
    pub fn state(&self) -> &StateRoot {
        &self.state
    }
}

/// Checks the members that say when, by whom and why.
pub(crate) fn check_stamp(at: u64, by: &str, reference: &str) -> Result<()> {
    if at > Content::MAX_TIME {
        return Err(Error::OutOfRange { field: "at" });
    }
    check_printable("by", by, 1)?;
    check_printable("ref", reference, 0)
}

const TYPE: &str = "hanzo.experience.entry";

json::shape! {
    struct EntryMembers {
        added: Vec<String>,
        at: u64,
        by: String,
        kind: String,
        reference("ref"): String,
        removed: Vec<String>,
        state_root: String,
        state_size: u64,
        t: String,
        v: u64,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::merkle::StateTree;

    #[test]
    fn names_match_kinds() {
        for (index, (kind, name)) in EntryKind::NAMES.iter().enumerate() {
            assert_eq!(*kind as usize, index);
            assert_eq!(name.parse(), Ok(*kind));
            assert_eq!(kind.as_str(), *name);
        }
        assert!("Add".parse::<EntryKind>().is_err());
    }

    #[test]
    fn lists_ascend_and_are_disjoint() {
        let id = |byte| ExperienceId::from_bytes([byte; 32]);
        let new = |added: &[u8], removed: &[u8]| {
            let ids = |bytes: &[u8]| bytes.iter().map(|byte| id(*byte)).collect();
            let state = StateTree::default().root();
            Entry::new(EntryKind::Add, 5, "me", "", ids(added), ids(removed), state)
        };
        let entry = new(&[1, 3], &[2]).unwrap();
        assert_eq!(Entry::from_canonical(&entry.to_canonical()), Ok(entry));
        assert_eq!(new(&[1, 1], &[]), Err(Error::OutOfRange { field: "added" }));
        assert_eq!(new(&[], &[2, 1]), Err(Error::OutOfRange { field: "removed" }));
        assert_eq!(new(&[1, 2], &[2]), Err(Error::OutOfRange { field: "removed" }));
    }
}
