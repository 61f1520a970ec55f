use serde::Serialize;

use crate::content::{ContentForm, ContentMembers};
use crate::merkle::{Hash, StateRoot};
use crate::{Account, Content, Draft, Error, ExperienceId, Operation, Result, json};

/// What one participant learned from data of its own, for one state of the shared library.
///
/// The canonical bytes are RFC 8785 JSON of the members `base` (64 hex digits), `base_size`, `operations`, `submitter`,
/// `t` = `hanzo.experience.contribution` and `v` = 1. Each operation has the members `draft`, `op` and `targets`:
///
/// | `op` | `draft` | `targets` |
/// |---|---|---|
/// | `add` | a content | none |
/// | `modify` | a content | one id |
/// | `merge` | a content or `null` | 2..=16 ids, ascending |
/// | `delete` | `null` | one id |
/// | `keep` | `null` | none |
///
/// where a content is in the form of [`Content`] and has no parents. Vectors do not travel: who consolidates computes
/// them from the texts ([`Finished::embed`](super::Finished::embed)), so that nobody places a lesson where its text is not.
/// Whether the contribution is the submitter's is for the caller to check, by a signature over the canonical bytes.
///
/// ```
/// use hanzo_experience::grpo::Contribution;
/// use hanzo_experience::{Draft, Library, LibraryConfig, Operation, Text};
///
/// let library = Library::new(LibraryConfig::new("example.com/shared".parse()?))?;
/// let draft = Draft::new(Text::new("when stuck, draw a picture")?, "math".parse()?, "alice", 1_760_702_400);
/// let operations = vec![Operation::Add(draft)];
/// let sent = Contribution { base: library.state_root(), submitter: "alice".parse()?, operations };
/// let received = Contribution::from_canonical(&sent.to_canonical()?)?;
/// assert_eq!(received, sent);
/// # Ok::<(), hanzo_experience::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct Contribution {
    /// The state that it started from.
    pub base: StateRoot,
    /// Who.
    pub submitter: Account,
    /// What it would do to the library: the operations of a [`Finished`](super::Finished) round, for example.
    pub operations: Vec<Operation>,
}

impl Contribution {
    /// The most bytes: 4 MiB.
    pub const MAX_BYTES: usize = 4 << 20;

    /// The canonical bytes (RFC 8785): those of a merge with its targets ascending, each once.
    ///
    /// # Errors
    /// [`Error::MergeTooSmall`]; [`Error::OutOfRange`] for a merge of more than 16; those of [`Content::new`] for a
    /// draft; [`Error::TooManyBytes`] above [`MAX_BYTES`](Self::MAX_BYTES).
    pub fn to_canonical(&self) -> Result<Vec<u8>> {
        // Declared in RFC 8785 order.
        #[derive(Serialize)]
        struct Canonical<'a> {
            base: String,
            base_size: u64,
            operations: Vec<OperationForm<'a>>,
            submitter: &'a str,
            t: &'a str,
            v: u8,
        }
        let drafts = self.operations.iter().map(check).collect::<Result<Vec<Option<Content>>>>()?;
        let operations = self.operations.iter().zip(&drafts).map(|(operation, draft)| OperationForm {
            draft: draft.as_ref().map(Content::form),
            op: name(operation),
            targets: targets(operation),
        });
        let form = Canonical {
            base: self.base.root().to_string(),
            base_size: self.base.size(),
            operations: operations.collect(),
            submitter: self.submitter.as_str(),
            t: TYPE,
            v: 1,
        };
        let mut bytes = Vec::new();
        json::write(&mut bytes, &form);
        bounded(bytes.len())?;
        Ok(bytes)
    }

    /// A contribution from its canonical bytes and no others, with memory in proportion to them.
    ///
    /// # Errors
    /// [`Error::TooManyBytes`] above [`MAX_BYTES`](Self::MAX_BYTES), before anything is read;
    /// [`Error::DuplicateMember`], [`Error::UnknownMember`], [`Error::MissingMember`], [`Error::NotAnInteger`],
    /// [`Error::MalformedJson`]; the error of the member that breaks its rule; [`Error::NotCanonical`].
    pub fn from_canonical(bytes: &[u8]) -> Result<Self> {
        bounded(bytes.len())?;
        let read: ContributionMembers = json::read(bytes)?;
        if read.t != TYPE {
            return Err(Error::OutOfRange { field: "t" });
        }
        if read.v != 1 {
            return Err(Error::OutOfRange { field: "v" });
        }
        let contribution = Self {
            base: StateRoot::new(read.base_size, read.base.parse::<Hash>()?)?,
            submitter: read.submitter.parse()?,
            operations: read.operations.into_iter().map(OperationMembers::check).collect::<Result<_>>()?,
        };
        if contribution.to_canonical()? == bytes { Ok(contribution) } else { Err(Error::NotCanonical) }
    }
}

/// What an operation replaces or deletes: distinct, ascending.
pub(super) fn targets(operation: &Operation) -> Vec<ExperienceId> {
    match operation {
        Operation::Modify { id, .. } | Operation::Delete { id } => vec![*id],
        Operation::Merge { ids, .. } => {
            let mut ids = ids.clone();
            ids.sort_unstable();
            ids.dedup();
            ids
        }
        Operation::Add(_) | Operation::Keep => Vec::new(),
    }
}

/// Checks what can be told without the library; the content of the draft, without parents.
pub(super) fn check(operation: &Operation) -> Result<Option<Content>> {
    if matches!(operation, Operation::Merge { .. }) {
        let got = targets(operation).len();
        if got < 2 {
            return Err(Error::MergeTooSmall { got });
        }
        if got > Content::MAX_PARENTS {
            return Err(Error::OutOfRange { field: "targets" });
        }
    }
    operation.draft().map(|draft| Content::new(draft.clone(), Vec::new())).transpose()
}

fn bounded(got: usize) -> Result<()> {
    let max = Contribution::MAX_BYTES;
    if got > max { Err(Error::TooManyBytes { got, max }) } else { Ok(()) }
}

const fn name(operation: &Operation) -> &'static str {
    match operation {
        Operation::Add(_) => "add",
        Operation::Modify { .. } => "modify",
        Operation::Merge { .. } => "merge",
        Operation::Delete { .. } => "delete",
        Operation::Keep => "keep",
    }
}

const TYPE: &str = "hanzo.experience.contribution";

/// Declared in RFC 8785 order.
#[derive(Serialize)]
struct OperationForm<'a> {
    draft: Option<ContentForm<'a>>,
    op: &'a str,
    targets: Vec<ExperienceId>,
}

json::shape! {
    struct ContributionMembers {
        base: String,
        base_size: u64,
        operations: Vec<OperationMembers>,
        submitter: String,
        t: String,
        v: u64,
    }
}

json::shape! {
    struct OperationMembers {
        draft: Option<ContentMembers>,
        op: String,
        targets: Vec<String>,
    }
}

impl OperationMembers {
    fn check(self) -> Result<Operation> {
        let ids = self.targets.iter().map(|id| id.parse()).collect::<Result<Vec<ExperienceId>>>()?;
        let draft = self.draft.map(Self::draft).transpose()?;
        match (self.op.as_str(), draft, ids.as_slice()) {
            ("add", Some(draft), []) => Ok(Operation::Add(draft)),
            ("modify", Some(draft), [id]) => Ok(Operation::Modify { id: *id, draft }),
            ("merge", draft, _) => Ok(Operation::Merge { ids, draft }),
            ("delete", None, [id]) => Ok(Operation::Delete { id: *id }),
            ("keep", None, []) => Ok(Operation::Keep),
            ("add" | "modify", None, _) | ("delete" | "keep", Some(_), _) => Err(Error::OutOfRange { field: "draft" }),
            ("add" | "modify" | "delete" | "keep", ..) => Err(Error::OutOfRange { field: "targets" }),
            _ => Err(Error::OutOfRange { field: "op" }),
        }
    }

    fn draft(members: ContentMembers) -> Result<Draft> {
        match members.check()? {
            (draft, parents) if parents.is_empty() => Ok(draft),
            _ => Err(Error::OutOfRange { field: "parents" }),
        }
    }
}
